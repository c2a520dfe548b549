"""The published experiments, run again: numbers, figures and a page for each."""

from experiments.circle import CircleSettings, run_circle
from experiments.groups import GroupSettings, run_motion, run_sleep
from experiments.oddity_interpolation import InterpolationSettings, run_interpolation
from experiments.oddity_kmeans import KMeansSettings, run_kmeans
from experiments.oddity_land import LandSettings, run_land
from experiments.oddity_variance import VarianceSettings, run_variance
from experiments.oddity_walk import WalkSettings, run_walk
from experiments.synthetic import SyntheticSettings, run_synthetic

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
