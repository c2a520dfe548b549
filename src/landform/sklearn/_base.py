"""What the estimators share: from parameters to a metric, and from `random_state` to a key."""

import warnings
from collections.abc import Callable
from numbers import Integral, Real

import jax
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, validation
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight

from landform._core.checks import as_numpy
from landform.metrics.analytic import Euclidean
from landform.metrics.base import AbstractMetric
from landform.stats.land.bandwidth import local_variance


class Positive(Interval):
    """A positive number; arrays of no dimension, as of a metric or a `Bandwidth`, are numbers."""

    def __init__(self, *, zero: bool = False):
        super().__init__(Real, 0, None, closed="left" if zero else "neither")

    def is_satisfied_by(self, val) -> bool:
        if getattr(val, "shape", None) == () and np.asarray(val).dtype.kind in "iuf":
            val = float(val)
        known = super().is_satisfied_by(val) and not isinstance(val, bool)
        return known and bool(np.isfinite(val))


METRIC_CONSTRAINTS = {
    "metric": [StrOptions({"local-variance", "euclidean"}), AbstractMetric, callable],
    "sigma": [StrOptions({"auto"}), Positive()],
    "rho": [StrOptions({"auto"}), Positive()],
}


SOLVE_CONSTRAINTS = {
    "num_points": [Interval(Integral, 2, None, closed="left")],
    "accuracy": [Positive()],
}


class PairwiseMixin:
    """For estimators that take a matrix of distances with ``metric="precomputed"``."""

    metric: str | AbstractMetric | Callable

    def __sklearn_tags__(self):
        """Distances are no features: cross-validation must cut both axes of them."""
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.pairwise = isinstance(self.metric, str) and self.metric == "precomputed"
        return tags


def resolve_metric(
    metric: str | AbstractMetric | Callable,
    X,
    *,
    sigma: float | str = "auto",
    rho: float | str = "auto",
) -> AbstractMetric:
    """The metric that an estimator's parameters ask for.

    ``"local-variance"`` learns one from X, with `auto_sigma` and `auto_rho` for ``"auto"``;
    ``"euclidean"`` is flat; a landform metric is taken as it is; any other callable is given X.

    Raises
    ------
    TypeError, ValueError
        If a callable does not return a metric, the dimension does not match, or a metric is to be
        learned from a feature that is constant.
    """
    if isinstance(metric, str):
        if metric == "euclidean":
            return Euclidean(X.shape[1])
        return local_variance(X, sigma, rho)
    found = metric if isinstance(metric, AbstractMetric) else metric(X)
    if not isinstance(found, AbstractMetric):
        raise TypeError(f"metric must give a landform metric, got {type(found).__name__}")
    if found.dim not in (None, X.shape[1]):
        raise ValueError(f"metric has {found.dim} coordinate(s) and X has {X.shape[1]} features")
    return found


def key_from(random_state) -> jax.Array:
    """A JAX key from a seed, a NumPy RandomState or None."""
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    return jax.random.key(int(seed))


def validate_data(estimator, X, **options) -> np.ndarray:
    """scikit-learn's function, also for tensors of PyTorch that require gradients."""
    rows = X if isinstance(X, list | tuple) else [X]
    X = as_numpy(X) if any(hasattr(row, "detach") for row in rows) else X
    return validation.validate_data(estimator, X, **options)


def clustered(estimator, X, sample_weight) -> tuple[np.ndarray, np.ndarray]:
    """X and its weights as scikit-learn checks them, with at least as many rows as clusters.

    A `ConvergenceWarning` says so if fewer of those with a weight differ; rows of distances are
    equal where the points are.
    """
    X = validate_data(estimator, X, dtype=np.float64, ensure_min_samples=2)
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if len(X) < estimator.n_clusters:
        raise ValueError(f"n_samples={len(X)} must be at least n_clusters={estimator.n_clusters}")
    distinct = len(np.unique(X[weights > 0], axis=0))
    if distinct < estimator.n_clusters:
        warnings.warn(
            f"X has {distinct} distinct point(s), fewer than n_clusters={estimator.n_clusters}: "
            "clusters are empty or share a point",
            ConvergenceWarning,
            stacklevel=3,
        )
    return X, weights


def warn_unless_converged(estimator, found, done: str = "failed") -> None:
    """A `ConvergenceWarning` with the reason, and what was done of the geodesics that failed."""
    if not estimator.converged_:
        count = estimator.n_failed_
        failed = f" ({count} geodesics {done})" if count else ""
        warnings.warn(
            f"{type(estimator).__name__} did not converge: {found.reason}{failed}",
            ConvergenceWarning,
            stacklevel=3,
        )
