"""Geodesics from a point and a velocity: initial value problems, adaptive or with fixed steps."""

from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

from landform._results import Status
from landform._typing import Array, Float

_DRIFT = 1e-3  # relative change of speed beyond which a "successful" integration is not a geodesic


class AdaptiveIVP(eqx.Module):
    """Adaptive integration of the geodesic equation (Dormand–Prince 8(7), through Diffrax).

    Parameters
    ----------
    rtol, atol
        Tolerances on position and velocity for each step.
    max_steps
        Steps after which the integration is reported as failed.

    Examples
    --------
    >>> import landform as lf
    >>> solver = lf.AdaptiveIVP(rtol=1e-10)
    >>> lf.exp(lf.PoincareHalfPlane(), [0.0, 1.0], [1.0, 0.0], solver=solver).round(9).tolist()
    [0.761594156, 0.648054274]
    """

    rtol: float = eqx.field(static=True, default=1e-9)
    atol: float = eqx.field(static=True, default=1e-9)
    max_steps: int = eqx.field(static=True, default=4096)


class FixedStepIVP(eqx.Module):
    """Classical Runge–Kutta of order 4 with equal steps: cheap to compile, fast in batches.

    Parameters
    ----------
    num_steps
        Number of steps; the error falls as its fourth power on smooth metrics.

    Examples
    --------
    >>> import landform as lf
    >>> solver = lf.FixedStepIVP(64)
    >>> lf.exp(lf.PoincareHalfPlane(), [0.0, 1.0], [1.0, 0.0], solver=solver).round(6).tolist()
    [0.761594, 0.648054]
    """

    num_steps: int = eqx.field(static=True, default=64)


class Shot(NamedTuple):
    """Where a geodesic ends."""

    point: Float[Array, " d"]
    velocity: Float[Array, " d"]
    status: Array
    speed_drift: Array
    steps: Array


def rk4(metric, x, v, num_steps: int):
    """End point and velocity after `num_steps` Runge–Kutta steps over t ∈ [0, 1]."""
    h = 1.0 / num_steps

    def field(state):
        position, velocity = state
        return velocity, metric.acceleration(position, velocity)

    def push(state, slope, factor):
        return jax.tree.map(lambda a, b: a + factor * b, state, slope)

    def step(state, _):
        k1 = field(state)
        k2 = field(push(state, k1, 0.5 * h))
        k3 = field(push(state, k2, 0.5 * h))
        k4 = field(push(state, k3, h))
        total = jax.tree.map(lambda a, b, c, d: a + 2.0 * b + 2.0 * c + d, k1, k2, k3, k4)
        return push(state, total, h / 6.0), None

    return jax.lax.scan(step, (x, v), None, length=num_steps)[0]


def _adaptive(metric, x, v, solver: AdaptiveIVP):
    def field(t, state, args):
        position, velocity = state
        return velocity, metric.acceleration(position, velocity)

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Dopri8(),
        t0=0.0,
        t1=1.0,
        dt0=None,
        y0=(x, v),
        stepsize_controller=diffrax.PIDController(rtol=solver.rtol, atol=solver.atol, dtmin=1e-9),
        saveat=diffrax.SaveAt(t1=True),
        max_steps=solver.max_steps,
        adjoint=diffrax.ForwardMode(),
        throw=False,
    )
    point, velocity = jax.tree.map(lambda leaf: leaf[-1], solution.ys)
    arrived = diffrax.is_successful(solution.result)
    return point, velocity, arrived, solution.stats["num_steps"]


def shoot_one(metric, x, v, solver) -> Shot:
    """Integrate one geodesic from x with velocity v over t ∈ [0, 1]."""
    if isinstance(solver, FixedStepIVP):
        point, velocity = rk4(metric, x, v, solver.num_steps)
        arrived, steps = jnp.asarray(True), jnp.asarray(solver.num_steps)
    else:
        point, velocity, arrived, steps = _adaptive(metric, x, v, solver)
    before, after = metric.inner(x, v, v), metric.inner(point, velocity, velocity)
    still = before == 0.0
    drift = jnp.abs(jnp.sqrt(after / jnp.where(still, 1.0, before)) - 1.0)
    drift = jnp.where(still, 0.0, drift)
    finite = jnp.all(jnp.isfinite(point)) & jnp.isfinite(after)
    status = jnp.where(
        jnp.isfinite(before) & (before >= 0),
        jnp.where(
            arrived & finite,
            jnp.where(drift <= _DRIFT, int(Status.CONVERGED), int(Status.UNRESOLVED)),
            int(Status.LEFT_DOMAIN),
        ),
        int(Status.BAD_METRIC),
    )
    return Shot(point, velocity, status.astype(jnp.int32), drift, steps)
