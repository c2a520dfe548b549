"""The published experiments, run again: numbers, figures and a page for each."""

from landform.report.reproduce.circle import CircleSettings, run_circle
from landform.report.reproduce.groups import GroupSettings, run_motion, run_sleep
from landform.report.reproduce.oddity_interpolation import (
    InterpolationSettings,
    run_interpolation,
)
from landform.report.reproduce.oddity_kmeans import KMeansSettings, run_kmeans
from landform.report.reproduce.oddity_land import LandSettings, run_land
from landform.report.reproduce.oddity_variance import VarianceSettings, run_variance
from landform.report.reproduce.oddity_walk import WalkSettings, run_walk
from landform.report.reproduce.synthetic import SyntheticSettings, run_synthetic

__all__ = [
    "CircleSettings",
    "GroupSettings",
    "InterpolationSettings",
    "KMeansSettings",
    "LandSettings",
    "SyntheticSettings",
    "VarianceSettings",
    "WalkSettings",
    "run_circle",
    "run_interpolation",
    "run_kmeans",
    "run_land",
    "run_motion",
    "run_sleep",
    "run_synthetic",
    "run_variance",
    "run_walk",
]
