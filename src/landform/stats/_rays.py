"""Rays of the exponential map: geodesics from one point with their derivatives, at many radii.

One integration along a direction u gives Exp_μ(s u) and both derivatives of Exp for every s, so an
integral over the tangent space costs as many integrations as directions, not as samples.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from landform._metric import AbstractMetric
from landform._numerics import solve_spd

_BATCH = 64  # rays in one program: each radius takes as many steps as the ray that needs most
_SUBSTEPS = 400  # steps between two radii after which a ray has left the chart

# Dormand and Prince 1980, order 5 with an embedded order 4.
_STAGES = np.array(
    [
        [0, 0, 0, 0, 0, 0],
        [1 / 5, 0, 0, 0, 0, 0],
        [3 / 40, 9 / 40, 0, 0, 0, 0],
        [44 / 45, -56 / 15, 32 / 9, 0, 0, 0],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    ]
)
_ERROR = np.array(
    [71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40]
)  # fmt: skip


class Rays(NamedTuple):
    """K rays at R radii as NumPy arrays; NaN from where a ray left the chart of the metric."""

    points: np.ndarray  # (K, R, d): Exp_μ(s u)
    velocity: np.ndarray  # (K, R, d): d/ds Exp_μ(s u)
    matrix: np.ndarray  # (K, R, d, d): M at the points
    by_velocity: np.ndarray  # (K, R, d, d): ∂ Exp_μ(v) / ∂ v at v = s u
    by_mean: np.ndarray  # (K, R, d, d): ∂ Exp_μ(v) / ∂ μ at the same chart components v
    speed: np.ndarray  # (K,): |u| at μ


def trace_rays(metric: AbstractMetric, mean, directions, radii, *, rtol: float = 1e-5) -> Rays:
    """Follow the geodesics from `mean` with velocities ``directions (K, d)`` to every radius.

    Hamilton's equations and their linearisation, ``ẋ = M⁻¹p, ṗ = ½∇(vᵀMv)``, by an embedded
    Runge–Kutta pair of order 5 that lands on every radius. Rays are independent and run in batches
    of 64, padded, so that one compilation serves every K; memory is O(K R d²) numbers.
    """
    directions, mean = np.asarray(directions), jnp.asarray(mean)
    radii, tolerance = jnp.asarray(radii, mean.dtype), jnp.asarray(rtol, mean.dtype)
    count = directions.shape[0]
    parts = []
    for start in range(0, count, _BATCH):
        block = directions[start : start + _BATCH]
        size = block.shape[0]
        block = np.concatenate([block, np.repeat(block[:1], _BATCH - size, axis=0)])
        out = _trace(metric, mean, jnp.asarray(block, mean.dtype), radii, tolerance)
        parts.append([np.asarray(a)[:size] for a in out])
    points, velocity, matrix, by_velocity, by_mean = (
        np.concatenate(p) for p in zip(*parts, strict=True)
    )
    gram = np.asarray(_tensor(metric, mean))
    speed = np.sqrt(np.einsum("ki,ij,kj->k", directions, gram, directions))
    return Rays(points, velocity, matrix, by_velocity, by_mean, speed)


@eqx.filter_jit
def _tensor(metric, x):
    return metric(x)


@eqx.filter_jit
def _trace(metric, mean, directions, radii, rtol):
    return jax.vmap(lambda u: _one(metric, mean, u, radii, rtol))(directions)


def _one(metric, mean, direction, radii, rtol):
    d = mean.shape[0]
    terms = metric.energy_terms(mean, direction)
    eye, zero = jnp.eye(d, dtype=mean.dtype), jnp.zeros((d, d), mean.dtype)
    # The columns of the variation: δv = e_i at fixed μ, then δμ = e_i at fixed components of v.
    state = (
        mean,
        terms.matrix @ direction,
        jnp.concatenate([zero, eye], axis=1),
        jnp.concatenate([terms.matrix, terms.cross], axis=1),
    )
    flat, unravel = ravel_pytree(state)

    def field(y):
        x, p, dx, dp = unravel(y)
        matrix = metric(x)
        v = solve_spd(matrix, p)
        terms = metric.energy_terms(x, v)
        dv = solve_spd(matrix, dp - terms.cross @ dx)
        slope = (v, 0.5 * terms.gradient, dv, 0.5 * terms.hessian @ dx + terms.cross.T @ dv)
        return ravel_pytree(slope)[0]

    def size(y):
        # Each part of the state in its own units: near the end of a chart they differ by powers.
        return ravel_pytree(jax.tree.map(_largest, unravel(y)))[0]

    def reach(carry, radius):
        carry = _advance(field, size, carry, radius, rtol)
        x, p, dx, _ = unravel(carry[1])
        matrix = metric(x)
        velocity = solve_spd(matrix, p)
        out = (x, velocity, matrix, dx[:, :d] / radius, dx[:, d:])
        return carry, out

    carry = (jnp.zeros((), mean.dtype), flat, field(flat), radii[0])
    return jax.lax.scan(reach, carry, radii)[1]


def _largest(part):
    return jnp.full_like(part, jnp.max(jnp.abs(part)))


def _advance(field, size, carry, end, rtol):
    """Integrate from the carried time to `end`, keeping the step size for what follows."""
    stages, error = jnp.asarray(_STAGES, rtol.dtype), jnp.asarray(_ERROR, rtol.dtype)

    def attempt(y, slope, h):
        def stage(i, k):
            return k.at[i].set(field(y + h * (stages[i] @ k[:6])))

        k = jnp.zeros((7, y.shape[0]), y.dtype).at[0].set(slope)
        k = jax.lax.fori_loop(1, 7, stage, k)
        new = y + h * (stages[6] @ k[:6])
        scale = rtol * jnp.maximum(size(y), size(new))
        ratio = jnp.sqrt(jnp.mean(jnp.square(h * (error @ k) / scale)))
        return new, k[6], jnp.where(jnp.all(jnp.isfinite(k)), ratio, jnp.inf)

    def unfinished(state):
        return (state[0] < end) & (state[4] < _SUBSTEPS)

    def step(state):
        t, y, slope, h, count = state
        last = t + h >= end * (1.0 - 1e-12)
        now = jnp.where(last, end - t, h)
        new, new_slope, ratio = attempt(y, slope, now)
        good = ratio <= 1.0
        factor = jnp.clip(0.9 * jnp.maximum(ratio, 1e-10) ** -0.2, 0.2, 5.0)
        # A step cut short by the next radius says nothing against a longer one.
        proposal = jnp.where(last & good, jnp.maximum(h, now * factor), now * factor)
        t = jnp.where(good, jnp.where(last, end, t + now), t)
        y, slope = jnp.where(good, new, y), jnp.where(good, new_slope, slope)
        return t, y, slope, proposal, count + 1

    state = (*carry, jnp.zeros((), int))
    t, y, slope, h, _ = jax.lax.while_loop(unfinished, step, state)
    broken = t < end
    return jnp.where(broken, jnp.inf, t), jnp.where(broken, jnp.nan, y), slope, h
