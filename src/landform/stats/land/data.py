"""Data and options of a LAND fit, checked."""

import warnings
from typing import Literal

import numpy as np

from landform._core.checks import as_count, as_points, as_positive, as_weights

_MAX_UNRESOLVED = 0.05  # mass beyond rays that break, relative to C, without a warning


CovarianceType = Literal["full", "diag", "spherical"]


def warn_of_unresolved(components, stacklevel: int) -> None:
    """Warn of components whose normalizer lacks mass that no ray reaches, from the caller's line.

    A search moves towards such places: what the normalizer lacks raises the likelihood.
    """
    lost = np.array([float(c.excluded["unresolved_mass"]) for c in components])
    if lost.max() > _MAX_UNRESOLVED:
        whose = "" if len(lost) == 1 else f" of component {lost.argmax()}"
        warnings.warn(
            f"{100 * lost.max():.0f} % of the mass{whose} lies where no ray from its mean could be "
            "followed, beyond the end of the chart or a jump of the metric, and is missing in its "
            f"normalizer: log-densities may be too high by {np.log1p(lost.max()):.2g}; use a "
            "smoother metric (a larger sigma or rho), or a chart that holds the data",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def check_kind(kind) -> None:
    """Raise `ValueError` unless the kind of covariance is known."""
    if kind not in ("full", "diag", "spherical"):
        raise ValueError(f"covariance_type must be 'full', 'diag' or 'spherical', got {kind!r}")


def check_rays(rtol, n_directions) -> tuple[float, int | None]:
    """The tolerance and the number of the normalizer's rays, checked before any work is done."""
    count = None if n_directions is None else as_count("n_directions", n_directions)
    as_positive("rtol", rtol)
    return float(rtol), count


def weighted_data(metric, X, weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Data and weights, checked, without the points of weight zero; and a mask of those left."""
    X = check_data(metric, X)
    weights = as_weights(weights, len(X))
    kept = weights > 0
    X, weights = X[kept], weights[kept]
    if (X[0] == X).all():
        raise ValueError("weights must be positive for at least two different points of X")
    return X, weights, kept


def check_data(metric, X) -> np.ndarray:
    """Data as a float64 array, checked."""
    X = np.asarray(as_points("X", X, metric.dim, ndim=(2,)), dtype=float)
    if len(X) < 2:
        raise ValueError(f"X must have at least 2 points, got {len(X)}")
    if (X[0] == X).all():
        raise ValueError("X must have at least two different points")
    return X
