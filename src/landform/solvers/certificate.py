"""What a curve is worth: its length, and how far it is from being a geodesic.

A curve with momentum p = M ċ is a geodesic exactly when ``p(t) − ∫_0^t ½ ∇_x(ċᵀ M ċ)`` is constant.
The deviation from the best constant, in the norm of M⁻¹ and relative to the curve's energy, is the
dual norm of the first variation of the energy: a residual that does not depend on how the curve was
found or discretised. Half its square bounds, to first order, the relative excess of the length over
the nearest local minimum wherever the second variation is not small.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._numerics import chunked, lagrange_matrix, lobatto, lobatto_integral, solve_spd
from landform._typing import Array, Float
from landform.solvers.elements import Rule, split

_CHUNK = 32  # curves measured together
_FINER = 2  # degrees by which the certificate's nodes are finer than the curve's


class Certificate(NamedTuple):
    """Measurements of one curve on nodes it was not computed with."""

    length: Float[Array, ""]
    energy: Float[Array, ""]
    residual: Float[Array, ""]  # relative dual norm of the first variation
    speed_drift: Float[Array, ""]  # (max − min) / mean of the speed
    velocity: Float[Array, " d"]  # at t = 0, from the conserved momentum
    final_velocity: Float[Array, " d"]  # at t = 1
    finite: Array


def certify_one(metric, rule: Rule, nodes: Float[Array, "T1 d"]) -> Certificate:
    """Measure one curve; NaN and ``finite=False`` where the metric is not finite on it."""
    m, p = rule
    q = p + _FINER
    fine, weight, derivative = lobatto(q)
    dtype = nodes.dtype
    refine = jnp.asarray(lagrange_matrix(lobatto(p)[0], fine), dtype)
    pieces = split(rule, nodes)
    offset = jnp.einsum("qj,mjd->mqd", refine, pieces - pieces[:, :1])
    x = pieces[:, :1] + offset
    v = jnp.einsum("rq,mqd->mrd", jnp.asarray(derivative * m, dtype), offset)
    matrix = jax.vmap(jax.vmap(metric))(x)
    force = 0.5 * jax.vmap(jax.vmap(metric.energy_gradient))(x, v)
    momentum = jnp.sum(matrix * v[:, :, None, :], axis=-1)
    square = jnp.sum(momentum * v, axis=-1)
    speed = jnp.sqrt(square)
    w = jnp.asarray(weight / m, dtype)
    inside = jnp.einsum("rq,mqd->mrd", jnp.asarray(lobatto_integral(q) / m, dtype), force)
    ends = inside[:, -1]
    before = jnp.cumsum(ends, axis=0) - ends
    gap = momentum - (before[:, None] + inside)
    inverse = solve_spd(matrix, jnp.broadcast_to(jnp.eye(x.shape[-1], dtype=dtype), matrix.shape))
    total = jnp.einsum("q,mqab->ab", w, inverse)
    constant = solve_spd(total, jnp.einsum("q,mqab,mqb->a", w, inverse, gap))
    off = gap - constant
    residual = jnp.einsum("q,mqa,mqab,mqb->", w, off, inverse, off)
    length, twice = jnp.sum(w * speed), jnp.sum(w * square)
    tiny = jnp.finfo(dtype).tiny
    velocity = solve_spd(matrix[0, 0], constant)
    final = solve_spd(matrix[-1, -1], constant + before[-1] + inside[-1, -1])
    finite = jnp.isfinite(length) & jnp.isfinite(residual) & jnp.all(jnp.isfinite(velocity))
    return Certificate(
        length=length,
        energy=0.5 * twice,
        residual=jnp.sqrt(residual / (twice + tiny)),
        speed_drift=(jnp.max(speed) - jnp.min(speed)) / (length + tiny),
        velocity=velocity,
        final_velocity=final,
        finite=finite,
    )


def certify(metric, rule: Rule, nodes: Float[Array, "n T1 d"]) -> Certificate:
    """`certify_one` for many curves, a bounded number at a time."""
    return chunked(lambda block: _certify_jit(metric, rule, block), _CHUNK, nodes)


@eqx.filter_jit
def _certify_jit(metric, rule, nodes):
    return jax.vmap(lambda c: certify_one(metric, rule, c))(nodes)


def subdivide(rule: Rule, nodes: np.ndarray) -> tuple[Rule, np.ndarray]:
    """The same curves on twice as many elements, exactly."""
    m, p = rule
    base = lobatto(p)[0]
    halves = np.stack([lagrange_matrix(base, 0.5 * base), lagrange_matrix(base, 0.5 * base + 0.5)])
    inner = nodes[..., :-1, :].reshape(*nodes.shape[:-2], m, p, nodes.shape[-1])
    last = nodes[..., p::p, :][..., None, :]
    pieces = np.concatenate([inner, last], axis=-2)
    fine = np.einsum("hqj,...mjd->...mhqd", halves, pieces)
    flat = fine[..., :-1, :].reshape(*nodes.shape[:-2], 2 * m * p, nodes.shape[-1])
    return Rule(2 * m, p), np.concatenate([flat, nodes[..., -1:, :]], axis=-2)
