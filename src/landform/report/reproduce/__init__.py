"""The published experiments, run again: numbers, figures and a page for each."""

from landform.report.reproduce.groups import GroupSettings, run_motion, run_sleep
from landform.report.reproduce.synthetic import SyntheticSettings, run_synthetic

__all__ = ["GroupSettings", "SyntheticSettings", "run_motion", "run_sleep", "run_synthetic"]
