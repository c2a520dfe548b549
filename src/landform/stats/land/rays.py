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
from scipy.integrate import RK45

from landform._core.arrays import to_length
from landform._core.linalg import solve_spd
from landform.metrics.analytic import Euclidean
from landform.metrics.base import AbstractMetric

_BATCH = 64  # rays in one program, which runs until the slowest of them has ended
_MAX_STEPS = 1500  # attempted steps, after which a ray counts as broken
_MIN_STEP = 1e-7  # relative to the last radius; a ray with shorter steps has left the chart
_STEP_TOLERANCE = 0.1  # share of the tolerance for one step: errors of all steps add up
_MAX_TOLERANCE = 1e-3  # at the outer radii
_MIN_ESCAPE = 1e-3  # share of its way that a ray to infinity covers in its shortest step
_MAX_SPEED_DRIFT = 1e-3  # relative, or if larger this many times the tolerance at a radius
_MAX_DRIFT_OVER_TOLERANCE = 30.0  # smooth metrics have up to about 8

# Dormand and Prince 1980: order 5, an embedded order 4, and an interpolant of order 4.
_STAGES = np.vstack([np.pad(RK45.A, ((0, 0), (0, 1))), RK45.B])
_ERROR, _INTERPOLANT = RK45.E, RK45.P


class Rays(NamedTuple):
    """K rays at R radii as NumPy arrays; NaN beyond the radius at which a ray broke."""

    points: np.ndarray  # (K, R, d): Exp_μ(s u)
    velocity: np.ndarray  # (K, R, d): d/ds Exp_μ(s u)
    matrix: np.ndarray  # (K, R, d, d): M at the points
    by_velocity: np.ndarray  # (K, R, d, d): ∂ Exp_μ(v) / ∂ v at v = s u
    by_mean: np.ndarray  # (K, R, d, d): ∂ Exp_μ(v) / ∂ μ at the same chart components v
    speed: np.ndarray  # (K,): |u| at μ
    reach: np.ndarray  # (K,): radius where a ray broke, else infinite
    escaped: np.ndarray  # (K,): broken on its way to infinity of the chart


def trace_rays(metric: AbstractMetric, mean, directions, radii, *, rtol: float = 1e-5) -> Rays:
    """Follow the geodesics from `mean` with velocities ``directions (K, d)`` to every radius.

    Hamilton's equations and their linearisation, ``ẋ = M⁻¹p, ṗ = ½∇(vᵀMv)``, by an embedded
    Runge–Kutta pair of order 5 with steps of its own choice, read off at the radii by its
    interpolant. Rays are independent and run in batches of 64, padded, so that one compilation
    serves every K; memory is O(K R d²) numbers.

    Radii are in standard deviations of a normal density, or about one: the tolerance grows as
    exp(s²/6), a third of what the density falls by, up to 1e-3, since the far tail need not be as
    exact as the center to count as little.

    A ray breaks where no step is short enough, as at the end of a chart, where it needs too many,
    or where its speed changes by more than the tolerance explains: the metric jumps there.

    In `Euclidean` space the rays are straight lines, and nothing is integrated.
    """
    directions, mean = np.asarray(directions), jnp.asarray(mean)
    if straight(metric):
        return _lines(np.asarray(mean), directions, np.asarray(radii))
    radii, tolerance = jnp.asarray(radii, mean.dtype), jnp.asarray(rtol, mean.dtype)
    count = directions.shape[0]
    parts = []
    for start in range(0, count, _BATCH):
        block = directions[start : start + _BATCH]
        size = block.shape[0]
        block = to_length(block, _BATCH)
        out = _trace(metric, mean, jnp.asarray(block, mean.dtype), radii, tolerance)
        parts.append([np.asarray(a)[:size] for a in out])
    points, velocity, matrix, by_velocity, by_mean, gram, reach, escaped = (
        np.concatenate(p) for p in zip(*parts, strict=True)
    )
    speed = np.sqrt(np.einsum("ki,kij,kj->k", directions, gram, directions))
    rays = Rays(points, velocity, matrix, by_velocity, by_mean, speed, reach, escaped)
    return _without_drift(rays, np.asarray(radii), rtol)


def _without_drift(rays: Rays, radii, rtol) -> Rays:
    """The rays, broken at the last radius before their speed changes: no geodesic's does."""
    with np.errstate(invalid="ignore", divide="ignore"):
        square = np.einsum("kri,krij,krj->kr", rays.velocity, rays.matrix, rays.velocity)
        drift = np.abs(np.sqrt(square) / rays.speed[:, None] - 1.0)
        wrong = drift > np.maximum(
            _MAX_SPEED_DRIFT, _MAX_DRIFT_OVER_TOLERANCE * _tolerance(rtol, radii, np)
        )
    changed = wrong.any(axis=1)
    if not changed.any():
        return rays
    lost = np.cumsum(wrong, axis=1) > 0
    before = np.concatenate([[0.0], radii])[np.argmax(wrong, axis=1)]
    names = ("points", "velocity", "matrix", "by_velocity", "by_mean")
    blank = {n: np.where(_like(lost, getattr(rays, n)), np.nan, getattr(rays, n)) for n in names}
    reach, escaped = np.where(changed, before, rays.reach), rays.escaped & ~changed
    return rays._replace(**blank, reach=reach, escaped=escaped)


def _like(mask, array):
    return mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim))


def _tolerance(rtol, radius, xp=jnp):
    """The tolerance of the whole way to a radius."""
    return xp.minimum(rtol * xp.exp(xp.square(radius) / 6.0), xp.maximum(rtol, _MAX_TOLERANCE))


def straight(metric) -> bool:
    """Whether rays are known to be straight lines of unit speed, with nothing to integrate."""
    return type(metric) is Euclidean


def _lines(mean, directions, radii) -> Rays:
    """The rays of flat space; arrays that are constant along them are views of one entry."""
    start, steps = directions.astype(mean.dtype), radii.astype(mean.dtype)
    points = mean + steps[:, None] * start[:, None]
    eye = np.broadcast_to(np.eye(mean.size, dtype=mean.dtype), (*points.shape, mean.size))
    velocity = np.broadcast_to(start[:, None], points.shape)
    speed = np.linalg.norm(directions.astype(np.result_type(directions, mean)), axis=1)
    count = len(points)
    return Rays(
        points, velocity, eye, eye, eye, speed, np.full(count, np.inf), np.zeros(count, bool)
    )


class _Front(NamedTuple):
    """The state of one ray during the integration."""

    t: jax.Array
    y: jax.Array
    slope: jax.Array
    h: jax.Array
    out: jax.Array  # (R, outputs): position, momentum and the derivatives of the position


@eqx.filter_jit
def _trace(metric, mean, directions, radii, rtol):
    d, end = mean.shape[0], radii[-1]
    start, field, size = _equations(metric, mean, d)
    outputs = 2 * d + 2 * d * d

    def begin(direction):
        y = start(direction)
        empty = jnp.full((radii.shape[0], outputs), jnp.nan, mean.dtype)
        return _Front(jnp.zeros((), mean.dtype), y, jnp.zeros_like(y), 0.05 * end, empty)

    def unfinished(carry):
        state, count = carry
        return jnp.any(_running(state, end)) & (count < _MAX_STEPS)

    carry = (jax.vmap(begin)(directions), jnp.zeros((), int))

    def advance(carry):
        state, count = carry
        # The first stage of a step is the last stage of the step before.
        known = jnp.minimum(count, 1)
        return jax.vmap(lambda s: _step(field, size, s, known, radii, rtol))(state), count + 1

    state = jax.lax.while_loop(unfinished, advance, carry)[0]

    def finish(out):
        x, p, dx = out[:, :d], out[:, d : 2 * d], out[:, 2 * d :].reshape(-1, d, 2 * d)
        matrix = jax.vmap(metric)(x)
        by_velocity = dx[..., :d] / radii[:, None, None]
        return x, jax.vmap(solve_spd)(matrix, p), matrix, by_velocity, dx[..., d:]

    gram = jnp.broadcast_to(metric(mean), (directions.shape[0], d, d))
    arrived, stuck = state.t >= end, ~_running(state, end)
    way = jnp.max(jnp.abs(state.y[:, :d] - mean), axis=1)
    pace = jnp.max(jnp.abs(state.slope[:, :d]), axis=1)
    escaped = ~arrived & stuck & (pace * state.h > _MIN_ESCAPE * way)
    return *jax.lax.map(finish, state.out), gram, jnp.where(arrived, jnp.inf, state.t), escaped


def _equations(metric, mean, d):
    """The start for a direction, the vector field, and the scale of errors, of flat states."""
    eye, zero = jnp.eye(d, dtype=mean.dtype), jnp.zeros((d, d), mean.dtype)
    blank = (mean, mean, jnp.zeros((d, 2 * d), mean.dtype), jnp.zeros((d, 2 * d), mean.dtype))
    unravel = ravel_pytree(blank)[1]

    def start(direction):
        terms = metric.energy_terms(mean, direction)
        # The columns of the variation: δv = e_i at fixed μ, then δμ = e_i at fixed components of v.
        columns = jnp.concatenate([zero, eye], axis=1)
        momenta = jnp.concatenate([terms.matrix, terms.cross], axis=1)
        return ravel_pytree((mean, terms.matrix @ direction, columns, momenta))[0]

    def field(y):
        x, p, dx, dp = unravel(y)
        matrix = metric(x)
        v = solve_spd(matrix, p)
        terms = metric.energy_terms(x, v)
        dv = solve_spd(matrix, dp - terms.cross @ dx)
        slope = (v, 0.5 * terms.gradient, dv, 0.5 * terms.hessian @ dx + terms.cross.T @ dv)
        return ravel_pytree(slope)[0]

    def size(y):
        # Each part of the state has its own scale: near the end of a chart these differ widely.
        return ravel_pytree(jax.tree.map(_largest, unravel(y)))[0]

    return start, field, size


def _largest(part):
    return jnp.full_like(part, jnp.max(jnp.abs(part)))


def _running(state, end):
    return (state.t < end) & (state.h > _MIN_STEP * end)


def _step(field, size, state: _Front, known, radii, rtol) -> _Front:
    """Attempt one step of which `known` stages are; if accepted, fill in the radii it passed."""
    t, y, slope, h, out = state
    stages, error = jnp.asarray(_STAGES, y.dtype), jnp.asarray(_ERROR, y.dtype)
    end = radii[-1]
    last = t + h >= end * (1.0 - 1e-12)
    now = jnp.where(last, end - t, h)

    def stage(i, k):
        return k.at[i].set(field(y + now * (stages[i] @ k[:6])))

    k = jnp.zeros((7, y.shape[0]), y.dtype).at[0].set(slope)
    k = jax.lax.fori_loop(known, 7, stage, k)
    new = y + now * (stages[6] @ k[:6])
    scale = _STEP_TOLERANCE * _tolerance(rtol, t + now) * jnp.maximum(size(y), size(new))
    ratio = jnp.sqrt(jnp.mean(jnp.square(now * (error @ k) / scale)))
    ratio = jnp.where(jnp.all(jnp.isfinite(k)) & (ratio == ratio), ratio, jnp.inf)
    running = _running(state, end)
    good = (ratio <= 1.0) & running
    factor = jnp.clip(0.9 * jnp.maximum(ratio, 1e-10) ** -0.2, 0.2, 5.0)

    reached = jnp.where(last, end, t + now)
    passed = good & (radii > t) & (radii <= reached)
    powers = ((radii - t) / now)[:, None] ** jnp.arange(1, _INTERPOLANT.shape[1] + 1)
    stage_weights = powers @ jnp.asarray(_INTERPOLANT, y.dtype).T
    m = out.shape[1]
    between = y[:m] + now * (stage_weights @ k[:, :m])
    return _Front(
        t=jnp.where(good, reached, t),
        y=jnp.where(good, new, y),
        slope=jnp.where(good, k[6], k[0]),
        h=jnp.where(running, now * factor, h),
        out=jnp.where(passed[:, None], between, out),
    )
