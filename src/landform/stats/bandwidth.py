"""Parameters of the local-variance metric, chosen from the data alone."""

import math
import warnings

import equinox as eqx
import jax
import numpy as np
from scipy.spatial import cKDTree

from landform._numerics import as_points, as_positive, precise
from landform.metrics.local import LocalVariance

_CONTRAST = 100.0  # squared length of a step off the data over that of the same step on them
_WIDE = 0.5  # share of the data's radius from which a neighbourhood is no longer local
_ALONE = 1e-3  # local variance, in σ², below which a point has no neighbours
_MAX_PROBES = 1000


def auto_sigma(X) -> float:
    """A width σ for `LocalVariance`: the mean distance to the k-th nearest neighbour, k = ⌈√n⌉.

    A neighbourhood of √n points is large enough for a local variance and, as n grows, shrinks
    against the data. The rule is equivariant: data in other units give σ in other units.

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
        If σ exceeds half of the data's root mean square radius, as with few points or many
        dimensions: the metric then hardly varies over the data, and geodesics are nearly straight.

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
    >>> sigma = lf.auto_sigma(circle)  # the tenth neighbour is five steps away
    >>> bool(np.isclose(sigma, 2.0 * np.sin(5.0 * np.pi / 100)))
    True
    """
    data = np.unique(_as_data(X), axis=0)
    if len(data) < 2:
        raise ValueError("X must have at least 2 different points to choose sigma from")
    k = min(math.ceil(math.sqrt(len(data))), len(data) - 1)
    reach = cKDTree(data).query(data, k=[k + 1])[0]
    sigma = float(np.mean(reach))
    radius = float(np.sqrt(np.mean(np.sum((data - data.mean(axis=0)) ** 2, axis=1))))
    if sigma > _WIDE * radius:
        warnings.warn(
            f"sigma = {sigma:.3g} is more than half of the data's radius, {radius:.3g}: the metric "
            "hardly varies over the data. Give sigma, or more points.",
            stacklevel=2,
        )
    return sigma


@precise
def auto_rho(X, sigma: float) -> float:
    """The bound ρ for `LocalVariance` that makes steps off the data ten times as long as on them.

    ``ρ = S / 100`` with S the median over the data and the coordinates of the local variance
    ``Σ_n w_n(x) (x_nj − x_j)²``, so that M far away is about a hundred times M on the data.

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
        If most points have no neighbours within σ: the metric is then flat but for a dent at each
        point. The rule falls back on ``ρ = σ² / 100``.

    Notes
    -----
    Evaluated at no more than 1000 of the points; O(n d) each.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> rho = lf.auto_rho(np.array([[-1.0], [1.0]]), sigma=2.0)
    >>> bool(np.isclose(rho, 4.0 * np.exp(-0.5) / 100))
    True
    """
    data = _as_data(X)
    width = float(as_positive("sigma", sigma))
    metric = LocalVariance(data, width, 1e-12 * width**2)
    probes = metric.data[:: -(-len(data) // _MAX_PROBES)]
    spread = float(np.median(np.asarray(_local_variances(metric, probes))))
    if spread < _ALONE * width**2:
        warnings.warn(
            f"sigma = {width:.3g} leaves most points without neighbours: the metric is flat but "
            "for a dent at each point. Give a larger sigma.",
            stacklevel=3,
        )
        spread = width**2
    return spread / _CONTRAST


@eqx.filter_jit
def _local_variances(metric, probes):
    return jax.lax.map(metric.local_variance, probes, batch_size=64)


def _as_data(X) -> np.ndarray:
    return np.asarray(as_points("X", X, ndim=(2,)), dtype=float)
