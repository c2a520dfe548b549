"""The settings of the demonstration, and its data."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landform import datasets

TRIPLES = ((0, 1, 2), (3, 4, 7), (5, 6, 9), (1, 4, 8), (2, 3, 6))
"""The digit triples of the study; the first three are the paper's."""


@dataclass(frozen=True)
class Settings:
    """Everything that can be set; the defaults are those of `landform demo`.

    No choice here was made with labels: the decoder's layers, and the number and width of the
    centers of its uncertainty, are the ones, of a few tried, for which most geodesics between
    random codes are certified and more certain than straight lines; the rest are the library's
    defaults.
    """

    data: str = "digits"
    digits: tuple[int, ...] = (0, 1, 2)
    per_class: int | None = None
    seed: int = 0
    epochs: int = 200
    hidden: tuple[int, ...] = (64, 64)
    num_centers: int = 180
    width: float = 1.6
    rule: str = "pooled"
    table_size: int = 640
    map_size: int = 120
    pairs: int = 100
    matrix_points: int = 600
    land_points: int = 200
    draws: int = 2000
    walks: int = 8
    walk_steps: int = 2000
    walk_substeps: int = 4
    frames: int = 11


@dataclass(frozen=True)
class Sample:
    """Images (or vectors) in random order, and their classes where they are known."""

    X: np.ndarray
    y: np.ndarray | None
    name: str

    @property
    def classes(self) -> int:
        """Number of classes; 3 where they are not known."""
        return 3 if self.y is None else len(np.unique(self.y))


def load_sample(settings: Settings, table=None) -> Sample:
    """The data of the demonstration: by name, or those of a user's file, shuffled.

    Parameters
    ----------
    settings
        The settings; `digits` chooses classes of named data sets and of files with classes (empty
        for all classes), `per_class` the most points of each.
    table
        ``(X, y)`` of a user's file, y None where there are no classes.
    """
    if table is None:
        limit = settings.per_class or (1000 if settings.data == "mnist" else None)
        found = datasets.load(
            settings.data, classes=settings.digits or None, per_class=limit, seed=settings.seed
        )
        return Sample(found.X, found.y, found.name)
    X, y = (None if part is None else np.asarray(part) for part in table)
    assert X is not None
    rows = datasets.choose_rows(
        np.zeros(len(X), int) if y is None else y,
        classes=None if y is None else settings.digits or None,
        per_class=settings.per_class or None,
        seed=settings.seed,
    )
    X = X[rows]
    low, high = float(X.min()), float(X.max())
    if X.ndim > 2 and (low < 0 or high > 1):
        X = (X - low) / (high - low)
    return Sample(X, None if y is None else y[rows], Path(settings.data).name)
