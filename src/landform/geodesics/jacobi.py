"""Jacobi fields: how a geodesic moves with its start and its velocity, and D Exp with it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from landform._core import display
from landform._core.arrays import is_traced, precise
from landform._core.checks import as_points
from landform._core.compilation import compiled
from landform._core.module import reduced
from landform._core.status import Status, outcome, raise_if_failed
from landform._core.typing import Array, Float
from landform.geodesics.geodesic import check_pair, where_succeeded
from landform.geodesics.transport import connection
from landform.metrics.base import AbstractMetric, check_metric
from landform.solvers.ivp import AdaptiveIVP, integrate, judge


class JacobiField(NamedTuple):
    """A Jacobi field at the end of a geodesic.

    Attributes
    ----------
    point, velocity
        Where the geodesic is at t = 1, and its velocity there.
    field, derivative
        J(1) and its covariant derivative ∇J/dt at t = 1, in chart coordinates.
    status
        How the integration ended, as a `Status` code; all else is NaN unless it converged.

    Examples
    --------
    >>> import landform as lf
    >>> field = lf.jacobi_field(lf.Euclidean(2), [0.0, 0.0], [1.0, 0.0], slope=[0.0, 2.0])
    >>> field.field.tolist(), field.derivative.tolist()
    ([0.0, 2.0], [0.0, 2.0])
    """

    point: Float[Array, "*batch d"]
    velocity: Float[Array, "*batch d"]
    field: Float[Array, "*batch d"]
    derivative: Float[Array, "*batch d"]
    status: Array

    def _summary(self):
        values = display.named(self, "point", "field", "derivative")
        return [*values, outcome(self.status)]

    __repr__ = display.line

    def __reduce__(self):
        return reduced(self)


@precise
def jacobi_field(
    metric: AbstractMetric,
    x,
    v,
    *,
    start=None,
    slope=None,
    solver: AdaptiveIVP | None = None,
    throw: bool = True,
) -> JacobiField:
    """The Jacobi field along the geodesic from x with velocity v, at t = 1.

    J solves ``∇²J/dt² + R(J, ċ) ċ = 0``; it is the derivative of a family of geodesics. At a point
    γ(t) in between call with t v for v and t times the slope.

    Parameters
    ----------
    metric
        The metric.
    x, v
        Points and velocities, shape ``(d,)`` or ``(n, d)``.
    start
        J(0), of the shape of x; zero by default, for geodesics that leave one point.
    slope
        The covariant derivative ∇J/dt at t = 0, of the shape of x; zero by default.
    solver
        `AdaptiveIVP`, by default with tolerance 1e-9; it controls the error of the field as well.
    throw
        Raise if any integration fails; with False the failed ones are NaN.

    Returns
    -------
    `JacobiField`, with a leading axis for a batch.

    Raises
    ------
    TypeError, ValueError
        For a wrong metric or solver, shapes that do not fit, or values that are not finite.
    ConvergenceError
        With ``throw=True``, if an integration stopped before t = 1 or does not conserve speed to
        1e-3, as happens when the metric jumps (ReLU decoders).

    Notes
    -----
    Integrates the linearised geodesic equation with the geodesic itself, by forward derivatives of
    the acceleration: no curvature tensor is formed. do Carmo, *Riemannian Geometry*, chapter 5.

    Examples
    --------
    >>> import landform as lf
    >>> plane = lf.PoincareHalfPlane()  # across a geodesic fields grow as sinh t
    >>> field = lf.jacobi_field(plane, [0.0, 1.0], [0.0, 1.0], slope=[1.0, 0.0])
    >>> (field.field / field.point[1]).round(6).tolist()
    [1.175201, 0.0]
    """
    check_metric(metric)
    solver = _check_solver(solver)
    x, v, single = check_pair(metric, x, v, "v")
    ends = [
        jnp.zeros_like(x) if a is None else _like(name, a, x)
        for name, a in (("start", start), ("slope", slope))
    ]
    out = _fields(metric, x, v, ends[0][:, None], ends[1][:, None], solver)
    point, velocity, field, derivative, status = out
    result = JacobiField(point, velocity, field[:, 0], derivative[:, 0], status)
    return _hand_out("jacobi_field", result, single, throw)


@precise
def exp_differential(
    metric: AbstractMetric,
    x,
    v,
    *,
    solver: AdaptiveIVP | None = None,
    throw: bool = True,
) -> Float[Array, "*batch d d"]:
    """The differential D_v Exp_x(v) of the exponential map, as a matrix in chart coordinates.

    Column j is the Jacobi field with J(0) = 0 and slope e_j. Its determinant, times √det M at the
    end over √det M at x, is the factor by which Exp changes volumes; it vanishes at conjugate
    points.

    Parameters
    ----------
    metric
        The metric.
    x, v
        Points and velocities, shape ``(d,)`` or ``(n, d)``.
    solver
        `AdaptiveIVP`, by default with tolerance 1e-9; it controls the error of the matrix as well.
    throw
        Raise if any integration fails; with False the failed ones are NaN.

    Returns
    -------
    Matrices, shape ``(d, d)`` or ``(n, d, d)``.

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As `jacobi_field`.

    Notes
    -----
    O(d) times the cost of `exp`. To differentiate `exp` in x as well, see `jacobi_field`.

    Examples
    --------
    >>> import landform as lf
    >>> lf.exp_differential(lf.PoincareHalfPlane(), [0.0, 1.0], [0.0, 1.0]).round(6).tolist()
    [[3.194528, 0.0], [0.0, 2.718282]]
    """
    check_metric(metric)
    solver = _check_solver(solver)
    x, v, single = check_pair(metric, x, v, "v")
    n, d = x.shape
    slope = jnp.broadcast_to(jnp.eye(d, dtype=x.dtype), (n, d, d))
    point, velocity, field, derivative, status = _fields(
        metric, x, v, jnp.zeros_like(slope), slope, solver
    )
    result = JacobiField(point, velocity, jnp.swapaxes(field, 1, 2), derivative, status)
    return _hand_out("exp_differential", result, single, throw).field


def _check_solver(solver) -> AdaptiveIVP:
    if solver is not None and not isinstance(solver, AdaptiveIVP):
        raise TypeError(f"solver must be an AdaptiveIVP, got {type(solver).__name__}")
    return AdaptiveIVP() if solver is None else solver


def _like(name, value, x):
    value = jnp.atleast_2d(as_points(name, value, x.shape[1])).astype(x.dtype)
    if value.shape[0] not in (1, x.shape[0]):
        raise ValueError(f"{name} must hold one vector or one for each of {x.shape[0]} geodesics")
    return jnp.broadcast_to(value, x.shape)


def _hand_out(name, result: JacobiField, single, throw):
    values = [where_succeeded(result.status, a) for a in result[:-1]]
    result = JacobiField(values[0], values[1], values[2], values[3], result.status)
    if single:
        result = jax.tree.map(lambda leaf: leaf[0], result)
    if throw and not is_traced(result.status):
        raise_if_failed(name, result.status, result)
    return result


def _begin(metric, x, v, start, slope):
    """The state at t = 0; fields scaled to the size of the velocity, so that none rules the steps.

    In coordinates ``dJ/dt = ∇J/dt − Γ(ċ, J)``.
    """

    def one(point, speed, fields, slopes):
        rates = slopes - jax.vmap(lambda a: connection(metric, point, speed, a))(fields)
        size = jnp.max(jnp.abs(jnp.stack([fields, rates])), axis=(0, 2), keepdims=True)[0]
        size = jnp.where(size > 0.0, size, 1.0)
        position = jnp.concatenate([point[None], fields / size])
        return jnp.stack([position, jnp.concatenate([speed[None], rates / size])]), size

    return jax.vmap(one)(x, v, start, slope)


def _end(metric, state, size):
    """Point, velocity, fields and their covariant derivatives from the state at t = 1."""

    def one(state, size):
        (point, fields), (speed, rates) = ((a[0], a[1:] * size) for a in state)
        return (
            point,
            speed,
            fields,
            rates + jax.vmap(lambda a: connection(metric, point, speed, a))(fields),
        )

    return jax.vmap(one)(state, size)


_begin_jit, _end_jit = compiled(_begin), compiled(_end)


def _fields(metric, x, v, start, slope, solver):
    """Fields ``(n, r, d)`` along n geodesics: point, velocity, J(1), ∇J/dt(1) and status."""
    traced = is_traced(metric, x, v, start, slope)
    begin, end = (_begin, _end) if traced else (_begin_jit, _end_jit)
    state, size = begin(metric, x, v, start, slope)
    landing = integrate(metric, state, solver)
    point, velocity, *rest = end(metric, landing.state, size)
    arrived = landing.status == int(Status.CONVERGED)
    status, _ = judge(metric, x, v, point, velocity, arrived)
    return point, velocity, *rest, status
