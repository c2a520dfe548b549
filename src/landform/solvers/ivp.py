"""Geodesics from a point and a velocity: initial value problems in lanes, or with fixed steps.

The adaptive method is the explicit Runge–Kutta pair of order 8 of Dormand and Prince with the
error estimate of Hairer, Nørsett and Wanner (*Solving Ordinary Differential Equations I*, §II.10).
Every geodesic has steps of its own: a lane that arrives takes the next geodesic from the queue, so
that none pays for the longest. A state is positions and velocities, ``(2, 1 + r, d)``: the geodesic
first, then r Jacobi fields along it, which take part in the choice of the steps.
"""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import DOP853

from landform._core.arrays import chunked, is_traced
from landform._core.checks import as_count, as_positive
from landform._core.compilation import compiled
from landform._core.lanes import AbstractMethod, run
from landform._core.module import AbstractModule, reduced
from landform._core.status import Status
from landform._core.typing import Array, Float, Int

_DRIFT = 1e-3  # relative change of speed beyond which a "successful" integration is not a geodesic
_FIRST = 1.0 / 16.0  # first step tried; one that is too long costs a rejection
_SMALLEST = 1e-10  # step below which the equation is taken to have no solution
_STAGES = DOP853.n_stages
_FEW = (1, 8, 64)  # batches up to these sizes have lanes of their own; larger ones share the most
_MOST_LANES = 256
_QUEUE = 1024  # geodesics per call of the compiled loop


class AdaptiveIVP(AbstractModule):
    """Adaptive integration of the geodesic equation (Dormand–Prince, order 8).

    Parameters
    ----------
    rtol, atol
        Tolerances on position and velocity for each step; `atol` in units of the chart, or of ten
        times the largest coordinate of start and velocity where that is less than 1.
    max_steps
        Steps after which the integration is reported as failed.

    Raises
    ------
    TypeError, ValueError
        Unless tolerances are positive and `max_steps` is a positive integer.

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

    def __check_init__(self):
        as_positive("rtol", self.rtol)
        as_positive("atol", self.atol)
        as_count("max_steps", self.max_steps)


class FixedStepIVP(AbstractModule):
    """Classical Runge–Kutta of order 4 with equal steps: cheap to compile, fast in batches.

    Parameters
    ----------
    num_steps
        Number of steps; the error falls as its fourth power on smooth metrics.

    Raises
    ------
    TypeError, ValueError
        Unless `num_steps` is a positive integer.

    Examples
    --------
    >>> import landform as lf
    >>> solver = lf.FixedStepIVP(64)
    >>> lf.exp(lf.PoincareHalfPlane(), [0.0, 1.0], [1.0, 0.0], solver=solver).round(6).tolist()
    [0.761594, 0.648054]
    """

    num_steps: int = eqx.field(static=True, default=64)

    def __check_init__(self):
        as_count("num_steps", self.num_steps)


class IVPResult(NamedTuple):
    """Where a geodesic ends."""

    point: Float[Array, " d"]
    velocity: Float[Array, " d"]
    status: Array
    speed_drift: Array
    steps: Array
    error: Array  # sum of the estimated errors of the steps in position; NaN with fixed steps

    def __reduce__(self):
        return reduced(self)


def acceleration_field(metric, state: Float[Array, "2 r1 d"]) -> Float[Array, "2 r1 d"]:
    """The geodesic equation and, for the rows after the first, its linearisation."""
    position, velocity = state
    if state.shape[1] == 1:
        return jnp.stack([velocity, metric.acceleration(position[0], velocity[0])[None]])

    def along(a, b):
        return jax.jvp(metric.acceleration, (position[0], velocity[0]), (a, b))

    bend, linear = jax.vmap(along, out_axes=(None, 0))(position[1:], velocity[1:])
    return jnp.stack([velocity, jnp.concatenate([bend[None], linear])])


class _Flight(NamedTuple):
    state: Float[Array, "2 r1 d"]
    time: Float[Array, ""]
    step: Float[Array, ""]
    error: Float[Array, ""]
    steps: Int[Array, ""]
    status: Int[Array, ""]
    running: Array
    unit: Float[Array, " r1"]  # of the absolute tolerance, for each row


class Landing(NamedTuple):
    """What an integration leaves: the state at t = 1, and how it got there."""

    state: Float[Array, "2 r1 d"]
    error: Float[Array, ""]
    steps: Int[Array, ""]
    status: Int[Array, ""]


class FlightMethod(AbstractMethod):
    """Dormand–Prince steps of order 8, one a time, until t = 1 or failure."""

    rtol: float = eqx.field(static=True)
    atol: float = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)

    def init(self, args, problem):
        """At t = 0; nothing is evaluated yet."""
        zero = jnp.zeros((), problem.dtype)
        # A chart may have small coordinates, beside which an absolute number is no tolerance.
        size = jax.lax.stop_gradient(jnp.max(jnp.abs(problem), axis=(0, 2)))
        return _Flight(
            problem,
            zero,
            zero + _FIRST,
            zero,
            jnp.asarray(0),
            jnp.asarray(int(Status.LEFT_DOMAIN)),
            jnp.asarray(True),
            jnp.where(size > 0.0, jnp.minimum(10.0 * size, 1.0), 1.0),
        )

    def step(self, args, state):
        """Try one step; keep it or shorten it by its estimated error."""
        y, remaining = state.state, 1.0 - state.time
        last = state.step >= remaining
        h = jnp.where(last, remaining, state.step)
        table = jnp.asarray(DOP853.A[:_STAGES, :_STAGES], y.dtype)

        def stage(i, slopes):
            moved = y + h * jnp.tensordot(table[i], slopes, axes=1)
            return slopes.at[i].set(acceleration_field(args, moved))

        slopes = jnp.zeros((_STAGES, *y.shape), y.dtype)
        # One copy of the metric's code for all stages: a twelfth of the time to compile.
        slopes = jax.lax.fori_loop(0, _STAGES, stage, slopes)
        weights = np.stack([DOP853.B, DOP853.E5[:_STAGES], DOP853.E3[:_STAGES]])
        new, fifth, third = h * jnp.tensordot(jnp.asarray(weights, y.dtype), slopes, axes=1)
        new = y + new
        least = self.atol * state.unit[:, None]
        scale = least + self.rtol * jnp.maximum(jnp.abs(y), jnp.abs(new))
        a, b = jnp.mean((fifth / scale) ** 2), jnp.mean((third / scale) ** 2)
        # A step without any error is as good as one with a tiny one, and has a derivative.
        error = jax.lax.stop_gradient(a / jnp.sqrt(a + 0.01 * b + jnp.finfo(y.dtype).tiny))
        sound = jnp.isfinite(error) & jnp.all(jnp.isfinite(new))
        accept = sound & (error <= 1.0)
        factor = jnp.clip(0.9 * jnp.maximum(error, 1e-12) ** -0.125, 0.2, 6.0)
        factor = jnp.where(sound, factor, 0.25)
        arrived = accept & last
        steps = state.steps + 1
        following = jax.lax.stop_gradient(h * factor)
        lost = ~accept & (following < _SMALLEST)
        local = error * jnp.max(jax.lax.stop_gradient(scale[0, 0]))
        return _Flight(
            state=jnp.where(accept, new, y),
            time=jnp.where(accept, state.time + h, state.time),
            step=following,
            error=state.error + jnp.where(accept, local, 0.0),
            steps=steps,
            status=jnp.where(arrived, int(Status.CONVERGED), int(Status.LEFT_DOMAIN)),
            running=~(arrived | lost | (steps >= self.max_steps)),
            unit=state.unit,
        )

    def done(self, state):
        """Arrived, lost, or out of steps."""
        return ~state.running

    def finish(self, state):
        """The state reached."""
        return Landing(state.state, state.error, state.steps, state.status)


def integrate(
    metric, states: Float[Array | np.ndarray, "n 2 r1 d"], solver: AdaptiveIVP
) -> Landing:
    """Integrate many states over t ∈ [0, 1], in lanes that are refilled."""
    method = FlightMethod(solver.rtol, solver.atol, solver.max_steps)
    n = states.shape[0]
    size = next((few for few in _FEW if n <= few), None)
    lanes, chunk = (size, size) if size else (_MOST_LANES, _QUEUE)
    if is_traced(metric, states):
        lanes, chunk = min(lanes, n), n
    return run(method, metric, states, lanes=lanes, chunk=chunk)


def rk4(metric, x, v, num_steps: int):
    """End point and velocity after `num_steps` Runge–Kutta steps over t ∈ [0, 1]."""
    h = 1.0 / num_steps

    def field(state):
        position, velocity = state
        return velocity, metric.acceleration(position, velocity)

    def push(state, slope, factor):
        return jax.tree.map(lambda a, b: a + factor * b, state, slope)

    def stage(carry, weights):
        start, slope, total = carry
        lead, share = weights
        slope = field(push(start, slope, lead * h))
        return (start, slope, push(total, slope, share)), None

    def step(state, _):
        zero = jax.tree.map(jnp.zeros_like, state)
        rows = jnp.array([[0.0, 0.5, 0.5, 1.0], [1.0, 2.0, 2.0, 1.0]], x.dtype).T
        total = jax.lax.scan(stage, (state, zero, zero), rows)[0][2]
        return push(state, total, h / 6.0), None

    return jax.lax.scan(step, (x, v), None, length=num_steps)[0]


@compiled
def _rk4_many(metric, x, v, num_steps):
    return jax.vmap(lambda a, b: rk4(metric, a, b, num_steps))(x, v)


def _judge(metric, x, v, point, velocity, arrived):
    before = jax.vmap(metric.inner)(x, v, v)
    after = jax.vmap(metric.inner)(point, velocity, velocity)
    still = before == 0.0
    drift = jnp.abs(jnp.sqrt(after / jnp.where(still, 1.0, before)) - 1.0)
    drift = jnp.where(still, 0.0, drift)
    finite = jnp.all(jnp.isfinite(point), axis=1) & jnp.isfinite(after)
    kept = jnp.where(drift <= _DRIFT, int(Status.CONVERGED), int(Status.UNRESOLVED))
    status = jnp.where(arrived & finite, kept, int(Status.LEFT_DOMAIN))
    sound = jnp.isfinite(before) & (before >= 0)
    return jnp.where(sound, status, int(Status.BAD_METRIC)).astype(jnp.int32), drift


_judge_jit = compiled(_judge)


def judge(metric, x, v, point, velocity, arrived):
    """Status and relative drift of the speed of geodesics from x with velocities v, ``(n, d)``.

    `UNRESOLVED` where the speed has changed by more than 1e-3: no geodesic, whatever the estimated
    error was; a metric that jumps does that.
    """
    if is_traced(metric, x, v, point):
        return _judge(metric, x, v, point, velocity, arrived)
    program = functools.partial(_judge_jit, metric)
    return chunked(program, _QUEUE, x, v, point, velocity, arrived, ladder=_FEW)


def shoot_many(metric, x, v, solver: AdaptiveIVP | FixedStepIVP) -> IVPResult:
    """Integrate geodesics from x with velocities v, ``(n, d)``, over t ∈ [0, 1]."""
    if isinstance(solver, FixedStepIVP):
        point, velocity = _rk4_many(metric, x, v, solver.num_steps)
        n = x.shape[0]
        arrived, steps = jnp.ones(n, bool), jnp.full(n, solver.num_steps)
        error = jnp.full(n, jnp.nan, x.dtype)
    else:
        landing = integrate(metric, jnp.stack([x, v], axis=1)[:, :, None], solver)
        point, velocity = landing.state[:, 0, 0], landing.state[:, 1, 0]
        arrived, steps = landing.status == int(Status.CONVERGED), landing.steps
        error = landing.error
    status, drift = judge(metric, x, v, point, velocity, arrived)
    return IVPResult(point, velocity, status, drift, steps, error)
