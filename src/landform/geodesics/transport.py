"""Parallel transport along geodesics."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core.arrays import precise
from landform._core.checks import as_points
from landform._core.linalg import solve_spd
from landform._core.typing import Array, Float
from landform.geodesics.geodesic import Geodesic
from landform.metrics.base import AbstractMetric, check_metric
from landform.solvers.elements import Rule, sample

_SUBSTEPS = 4  # Runge–Kutta steps on each polynomial piece


def connection(metric: AbstractMetric, x, u, v) -> Float[Array, " d"]:
    """``Γ(u, v)^k = Γ^k_ij u^i v^j`` without the array of Christoffel symbols."""
    _, along_u = jax.jvp(lambda y: metric(y) @ v, (x,), (u,))
    _, along_v = jax.jvp(lambda y: metric(y) @ u, (x,), (v,))
    gradient = jax.grad(lambda y: metric.inner(y, u, v))(x)
    return 0.5 * solve_spd(metric(x), along_u + along_v - gradient)


@precise
def parallel_transport(metric: AbstractMetric, geodesic: Geodesic, v) -> Float[Array, "*batch d"]:
    """Transport a tangent vector along a geodesic from its start to its end.

    Solves ``v̇ + Γ(ċ, v) = 0``: lengths and angles are kept, and ċ goes to ċ.

    Parameters
    ----------
    metric
        The metric the geodesic belongs to.
    geodesic
        What `geodesic` returned, for one pair or n.
    v
        Tangent vectors at the start, in chart coordinates: ``(d,)`` for every curve, or ``(n, d)``
        with one for each of n curves (or n vectors for a single curve).

    Returns
    -------
    Tangent vectors at the end, of the shape of `v` (``(n, d)`` for n curves); NaN where the
    geodesic did not converge.

    Raises
    ------
    TypeError, ValueError
        If `geodesic` is not a `Geodesic`, or the shapes do not fit.

    Notes
    -----
    Runge–Kutta of order 4, four steps on each polynomial piece.

    Examples
    --------
    >>> import landform as lf
    >>> metric = lf.PoincareHalfPlane()
    >>> path = lf.geodesic(metric, [0.0, 1.0], [0.0, 2.0])
    >>> lf.parallel_transport(metric, path, [1.0, 0.0]).round(8).tolist()
    [2.0, 0.0]
    """
    check_metric(metric)
    if not isinstance(geodesic, Geodesic):
        raise TypeError(f"geodesic must be a Geodesic, got {type(geodesic).__name__}")
    nodes = jnp.asarray(geodesic.path.nodes)
    v = as_points("v", v, nodes.shape[-1]).astype(nodes.dtype)
    single, flat = nodes.ndim == 2, v.ndim == 1
    nodes = nodes[None] if single else nodes
    vectors = jnp.atleast_2d(v)
    if nodes.shape[0] != vectors.shape[0] and 1 not in (nodes.shape[0], vectors.shape[0]):
        raise ValueError(
            f"v must hold one vector or one for each of {nodes.shape[0]} curves, got {v.shape}"
        )
    count = max(nodes.shape[0], vectors.shape[0])
    nodes = jnp.broadcast_to(nodes, (count, *nodes.shape[1:]))
    vectors = jnp.broadcast_to(vectors, (count, vectors.shape[1]))
    rule = Rule(geodesic.path.elements, geodesic.path.degree)
    out = _transport(metric, rule, nodes, vectors)
    good = jnp.broadcast_to(jnp.atleast_1d(jnp.asarray(geodesic.converged)), (count,))
    out = jnp.where(good[:, None], out, jnp.nan)
    return out[0] if single and flat else out


@eqx.filter_jit
def _transport(metric, rule, nodes, vectors):
    return jax.vmap(lambda c, v: _transport_one(metric, rule, c, v))(nodes, vectors)


def _transport_one(metric, rule, nodes, v):
    m = rule.elements
    h = 1.0 / (m * _SUBSTEPS)
    x, slope = sample(rule, nodes, np.linspace(0.0, 1.0, 2 * _SUBSTEPS + 1))

    def field(k, start, w):
        return -connection(metric, start[0][k], start[1][k], w)

    def step(w, stage):
        k1 = field(0, stage, w)
        k2 = field(1, stage, w + 0.5 * h * k1)
        k3 = field(1, stage, w + 0.5 * h * k2)
        k4 = field(2, stage, w + h * k3)
        return w + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4), None

    index = 2 * np.arange(_SUBSTEPS)[:, None] + np.arange(3)  # start, middle and end of each step

    def steps(a):
        return a[:, index].reshape(m * _SUBSTEPS, 3, a.shape[-1])

    return jax.lax.scan(step, v, (steps(x), steps(slope)))[0]
