"""Parameters of the local-variance metric, chosen from the data alone."""

import math
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial import cKDTree

from landform._core.arrays import precise
from landform._core.checks import as_points, as_positive
from landform.metrics.local_variance import LocalVariance
from landform.metrics.tabulated import Tabulated

_MIN_TABULATED_DATA = 2000  # data of a kernel metric above which a table pays
_TABLE_MARGIN = 6.0  # kernel widths around the data that the table covers
_NODES_PER_WIDTH = 8.0
_TABLE_SIZES = (64, 768)  # least and most nodes on a side
_TABLE_RTOL = 1e-3  # of the metric on the data, for the table to be used
_TABLE_PROBES = 2000  # data at which that is measured

_OFF_DATA_CONTRAST = 100.0  # squared length of a step off the data over that of the same on them
_MAX_LOCAL_WIDTH = 0.5  # share of the data's radius up to which a neighborhood is local
_OUTLIER_DISTANCE = 10.0  # to the k-th neighbor, in the data's size, beyond which a point is one
_MIN_KERNEL_SUM = 1e-4  # over the other points, below which a point has no neighbors
_MAX_KERNEL_MEAN = 0.5  # over the other points, above which a neighborhood is all data
_MAX_PROBES = 1000


@precise
def auto_sigma(X) -> float:
    """A width σ for `LocalVariance`: the mean distance to the k-th nearest neighbor, k = ⌈√n⌉.

    A neighborhood of √n points is large enough for a local variance and, as n grows, shrinks
    against the data. The rule is equivariant: data in other units give σ in other units. Far
    outliers do not count: points whose k-th neighbor is ten times as far as three quarters of the
    data are from their median.

    Parameters
    ----------
    X
        The data, shape ``(n, d)``. Points that coincide are counted once.

    Returns
    -------
    σ > 0, a float.

    Raises
    ------
    TypeError, ValueError
        If X is not numeric, finite and of shape ``(n, d)``, or all its points are equal.

    Warns
    -----
    UserWarning
        If σ exceeds half of the data's root mean square radius, far outliers left out, as with few
        points or many dimensions: a neighborhood is then much of the data, and the metric shows
        where their center is rather than what shape they have.

    See Also
    --------
    auto_rho : the other parameter.

    Notes
    -----
    A start, not an optimum: where it matters, choose σ by the likelihood of held-out data. Cost:
    one k-d tree, O(n log n) in few dimensions.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> angle = 2.0 * np.pi * np.arange(100) / 100
    >>> circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    >>> sigma = lf.auto_sigma(circle)  # the tenth neighbor is five steps away
    >>> bool(np.isclose(sigma, 2.0 * np.sin(5.0 * np.pi / 100)))
    True
    """
    data = np.unique(_as_data(X), axis=0)
    if len(data) < 2:
        raise ValueError("X must have at least 2 different points to choose sigma from")
    k = min(math.ceil(math.sqrt(len(data))), len(data) - 1)
    reach = cKDTree(data).query(data, k=[k + 1])[0].ravel()
    distance = np.linalg.norm(data - np.median(data, axis=0), axis=1)
    size = np.quantile(distance, 0.75, method="lower")
    limit = max(_OUTLIER_DISTANCE * size, float(np.median(reach)))  # of three points none is far
    near = reach <= limit
    sigma, data = float(np.mean(reach[near])), data[near]
    radius = float(np.sqrt(np.mean(np.sum((data - data.mean(axis=0)) ** 2, axis=1))))
    if sigma > _MAX_LOCAL_WIDTH * radius:
        warnings.warn(
            f"sigma = {sigma:.3g} is more than half of the data's radius, {radius:.3g}: the metric "
            "shows where the data's center is rather than what shape they have. Give sigma, or "
            "more points.",
            stacklevel=3,
        )
    return sigma


@precise
def auto_rho(X, sigma: float) -> float:
    """The bound ρ for `LocalVariance` that makes steps off the data ten times as long as on them.

    ``ρ = S / 100`` with S the median over the data and the coordinates of the local variance
    ``Σ_n w_n(x) (x_nj − x_j)²``, so that M far away is about a hundred times M on the data. A
    coordinate in which all data agree does not count.

    Parameters
    ----------
    X
        The data, shape ``(n, d)``.
    sigma
        The width σ that ρ goes with.

    Returns
    -------
    ρ > 0, a float.

    Raises
    ------
    TypeError, ValueError
        If X is not numeric, finite and of shape ``(n, d)`` with at least two points, or `sigma` is
        not positive.

    Warns
    -----
    UserWarning
        If most points have no neighbors within reach of σ, by the sum of the kernel w over the
        other points: the metric is then flat but for a dent at each point, and the rule falls back
        on ``ρ = σ² / 100``. If σ reaches over the data, by the mean of w over the other points of
        more than a half, about where σ exceeds the data's root mean square radius.

    Notes
    -----
    Evaluated at no more than 1000 of the points; O(n d) each. Far outliers do not change it.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> rho = lf.auto_rho(np.array([[-1.0], [1.0]]), sigma=1.0)
    >>> bool(np.isclose(rho, 4.0 * np.exp(-2.0) / 100))
    True
    """
    data = _as_data(X)
    width = float(as_positive("sigma", sigma))
    metric = LocalVariance(data, width, 1e-12 * min(width, float(np.ptp(data))) ** 2)
    probes = _probes(metric)
    total, share = _kernel_over_others(metric, probes)
    if np.median(np.asarray(total)) < _MIN_KERNEL_SUM:
        warnings.warn(
            f"sigma = {width:.3g} leaves most points without neighbors: the metric is flat but "
            "for a dent at each point. Give a larger sigma.",
            stacklevel=3,
        )
        return width**2 / _OFF_DATA_CONTRAST
    if np.median(np.asarray(share)) > _MAX_KERNEL_MEAN:
        warnings.warn(too_wide(width), stacklevel=3)
    varies = np.ptp(data, axis=0) > 0.0  # a constant feature has none
    variances = np.asarray(_local_variances(metric, probes))[:, varies]
    return float(np.median(variances)) / _OFF_DATA_CONTRAST


def local_variance(
    X, sigma: float | str = "auto", rho: float | str = "auto", *, name: str = "X", columns=()
) -> LocalVariance:
    """The local-variance metric of data, with `auto_sigma` and `auto_rho` for ``"auto"``.

    Raises
    ------
    ValueError
        If a feature is constant; the message calls the data `name`, and features by `columns`.
    """
    check_varies(X, name, columns)
    width = auto_sigma(X) if isinstance(sigma, str) else float(sigma)
    return LocalVariance(X, width, auto_rho(X, width) if isinstance(rho, str) else float(rho))


def check_varies(X, name: str = "X", columns=()) -> None:
    """Refuse constant features: a metric learned from them would be 1/ρ everywhere."""
    constant = np.flatnonzero(np.ptp(X, axis=0) == 0) if len(X) > 1 else np.zeros(0, int)
    if constant.size:
        which = ", ".join(str(columns[i]) if len(columns) else str(i) for i in constant[:5])
        more = f" and {constant.size - 5} more" if constant.size > 5 else ""
        raise ValueError(
            f"{name} has constant feature(s) {which}{more}, which say nothing about distances: "
            "leave them out, or give a metric"
        )


@precise
def reaches_over_data(metric: LocalVariance) -> bool:
    """Whether σ is so large that most points feel most of the data, wherever they are."""
    share = np.asarray(_kernel_over_others(metric, _probes(metric))[1])
    return bool(np.median(share) > _MAX_KERNEL_MEAN)


def too_wide(sigma: float) -> str:
    """The message for a σ that reaches over the data."""
    return (
        f"sigma = {sigma:.3g} reaches over all the data: the metric knows little more than their "
        "mean and variances, and steps are short far from the mean. Give a smaller sigma."
    )


def _probes(metric: LocalVariance):
    return metric.data[:: -(-metric.data.shape[0] // _MAX_PROBES)]


@eqx.filter_jit
def _local_variances(metric, probes):
    return jax.lax.map(metric.local_variance, probes, batch_size=64)


@eqx.filter_jit
def _kernel_over_others(metric, probes):
    """The sum and the mean of the kernel over the data at other places, for each probe."""
    counts = jnp.ones(metric.data.shape[0]) if metric.weights is None else metric.weights

    def at(x):
        square = jnp.sum((metric.data - x) ** 2, axis=1)
        others = jnp.where(square > 0.0, counts, 0.0)
        total = others @ jnp.exp(square / (-2.0 * metric.sigma**2))
        return total, total / jnp.sum(others)

    return jax.lax.map(at, probes, batch_size=64)


def _as_data(X) -> np.ndarray:
    return np.asarray(as_points("X", X, ndim=(2,)), dtype=float)


def tabulated_if_large(metric, X):
    """The metric, or its table for a local variance of more than 2000 data in up to two dimensions.

    The table reaches 6σ beyond the data, where the metric is constant to e^(−18), and is used only
    if its error on the data is under a thousandth.
    """
    if not isinstance(metric, LocalVariance) or metric.dim > 2:
        return metric
    if len(metric.data) <= _MIN_TABULATED_DATA:
        return metric
    sigma = float(metric.sigma)
    places = np.concatenate([np.asarray(metric.data), np.asarray(X)])
    margin = _TABLE_MARGIN * sigma
    low, high = places.min(axis=0) - margin, places.max(axis=0) + margin
    nodes = np.ceil(_NODES_PER_WIDTH * float(np.max(high - low)) / sigma)
    size = int(np.clip(nodes, *_TABLE_SIZES))
    table = Tabulated(metric, low, high, size=size)
    probes = places[:: -(-len(places) // _TABLE_PROBES)]
    error = float(np.max(np.asarray(table.error(metric, probes))))
    return table if error < _TABLE_RTOL else metric
