"""Curvature of a metric at a point, from its Christoffel symbols and their derivative."""

import equinox as eqx
import jax
import jax.numpy as jnp

from landform._core.arrays import precise
from landform._core.checks import as_points
from landform._core.linalg import solve_spd
from landform._core.typing import Array, ArrayLike, Float, Point
from landform.metrics.base import (
    AbstractMetric,
    check_dtype,
    check_metric,
)


def riemann_at(metric: AbstractMetric, x) -> Float[Array, "d d d d"]:
    """``R[l, k, i, j]`` with R(u, v) w = R^l_{kij} w^k u^i v^j, at one point, without checks."""
    gamma = christoffel_at(metric, x)  # [l, j, k]
    slope = jax.jacfwd(lambda y: christoffel_at(metric, y))(x)  # [l, j, k, i] = ∂_i Γ^l_jk
    derivative = jnp.einsum("ljki->lkij", slope)
    product = jnp.einsum("lim,mjk->lkij", gamma, gamma)
    half = derivative + product
    return half - jnp.swapaxes(half, 2, 3)


def _ricci_at(metric, x):
    return jnp.einsum("ikij->kj", riemann_at(metric, x))


def _scalar_at(metric, x):
    return jnp.trace(solve_spd(metric(x), _ricci_at(metric, x)))


@eqx.filter_jit
def _map(function, metric, *arrays):
    return jax.vmap(lambda *a: function(metric, *a))(*arrays)


def _at_points(function, metric, x):
    check_metric(metric)
    x = check_dtype(metric, as_points("x", x, metric.dim))
    if x.ndim == 1:
        return _map(function, metric, x[None])[0]
    return _map(function, metric, x)


@precise
def riemann_curvature(metric: AbstractMetric, x) -> Float[Array, "*batch d d d d"]:
    """The Riemann curvature tensor, ``R[l, k, i, j]`` with ``R(u, v) w = R^l_{kij} w^k u^i v^j``.

    Parameters
    ----------
    metric
        The metric, three times differentiable for decoders (its own derivatives up to the second).
    x
        Points, shape ``(d,)`` or ``(n, d)``.

    Returns
    -------
    Array of shape ``(..., d, d, d, d)``.

    Examples
    --------
    >>> import landform as lf
    >>> round(float(lf.riemann_curvature(lf.PoincareHalfPlane(), [0.0, 1.0])[0, 1, 0, 1]), 9)
    -1.0
    """
    return _at_points(riemann_at, metric, x)


@precise
def scalar_curvature(metric: AbstractMetric, x) -> Float[Array, "*batch"]:
    """The scalar curvature, the trace of the Ricci tensor: d (d − 1) on the unit sphere.

    Parameters
    ----------
    metric
        The metric.
    x
        Points, shape ``(d,)`` or ``(n, d)``.

    Returns
    -------
    Array of shape ``()`` or ``(n,)``.

    Examples
    --------
    >>> import landform as lf
    >>> round(float(lf.scalar_curvature(lf.StereographicSphere(3), [0.1, 0.2, 0.3])), 9)
    6.0
    """
    return _at_points(_scalar_at, metric, x)


@precise
def gaussian_curvature(metric: AbstractMetric, x) -> Float[Array, "*batch"]:
    """The Gaussian curvature of a surface, half its scalar curvature; for d = 2 only.

    Parameters
    ----------
    metric
        A metric in two dimensions.
    x
        Points, shape ``(2,)`` or ``(n, 2)``.

    Returns
    -------
    Array of shape ``()`` or ``(n,)``.

    Raises
    ------
    ValueError
        If the points do not have two coordinates; use `sectional_curvature` then.

    Examples
    --------
    >>> import landform as lf
    >>> round(float(lf.gaussian_curvature(lf.PoincareHalfPlane(), [3.0, 2.0])), 9)
    -1.0
    """
    x = as_points("x", x, check_metric(metric).dim)
    if x.shape[-1] != 2:
        raise ValueError(
            f"gaussian_curvature needs points with 2 coordinates, got shape {x.shape}; "
            "use sectional_curvature or scalar_curvature"
        )
    return 0.5 * scalar_curvature(metric, x)


@precise
def sectional_curvature(metric: AbstractMetric, x, u, v) -> Float[Array, "*batch"]:
    """The curvature of the surface of geodesics through x that is spanned by u and v.

    ``K = ⟨R(u, v) v, u⟩ / (|u|² |v|² − ⟨u, v⟩²)``.

    Parameters
    ----------
    metric
        The metric.
    x, u, v
        A point and two tangent vectors, shape ``(d,)``; or n of each, shape ``(n, d)``.

    Returns
    -------
    Array of shape ``()`` or ``(n,)``; NaN where u and v are parallel.

    Examples
    --------
    >>> import landform as lf
    >>> sphere = lf.StereographicSphere(3)
    >>> round(float(lf.sectional_curvature(sphere, [0.1, 0.2, 0.3], [1, 0, 0], [0, 1, 1])), 9)
    1.0
    """
    check_metric(metric)
    points = [as_points(name, a, metric.dim) for name, a in (("x", x), ("u", u), ("v", v))]
    if len({p.shape for p in points}) > 1:
        raise ValueError(f"x, u and v must have one shape, got {[p.shape for p in points]}")
    x, u, v = (check_dtype(metric, p) for p in points)
    out = _map(_sectional_at, metric, *(jnp.atleast_2d(a) for a in (x, u, v)))
    return out[0] if x.ndim == 1 else out


def _sectional_at(metric, x, u, v):
    matrix = metric(x)
    turned = jnp.einsum("lkij,k,i,j->l", riemann_at(metric, x), v, u, v)
    area = (u @ matrix @ u) * (v @ matrix @ v) - (u @ matrix @ v) ** 2
    flat = area <= 1e-14 * (u @ matrix @ u) * (v @ matrix @ v)
    return jnp.where(flat, jnp.nan, (turned @ matrix @ u) / area)


def christoffel(metric: AbstractMetric, x: ArrayLike) -> Float[Array, "d d d"]:
    """Christoffel symbols ``Γ[k, i, j]`` of the second kind at one point.

    Parameters
    ----------
    metric
        The metric.
    x
        One point, shape ``(d,)``.

    Returns
    -------
    Array of shape ``(d, d, d)``; ``Γ[k, i, j] = ½ M^{kl}(∂_i M_lj + ∂_j M_li − ∂_l M_ij)``.

    Examples
    --------
    >>> import landform as lf
    >>> float(lf.christoffel(lf.PoincareHalfPlane(), [0.0, 2.0])[1, 0, 0])
    0.5
    """
    return _christoffel(check_metric(metric), x)


@precise
def _christoffel(metric, x):
    x = check_dtype(metric, as_points("x", x, metric.dim, ndim=(1,)))
    return _christoffel_jit(metric, x)


def christoffel_at(metric: AbstractMetric, x: Point) -> Float[Array, "d d d"]:
    """`christoffel` without checks, for use inside `jit`."""
    d_matrix = jax.jacfwd(metric)(x)  # [i, j, l] = ∂_l M_ij
    first = 0.5 * (jnp.swapaxes(d_matrix, 1, 2) + d_matrix - jnp.moveaxis(d_matrix, 2, 0))
    d = x.shape[0]
    return solve_spd(metric(x), first.reshape(d, d * d)).reshape(d, d, d)


_christoffel_jit = eqx.filter_jit(christoffel_at)
