"""Geodesics between points: curves, logarithms, distances, and the exponential map."""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import is_traced, precise
from landform._core.checks import as_count, as_points, as_tolerance
from landform._core.status import AbstractOutcome, Status, outcome, raise_if_failed, succeeded
from landform._core.typing import Array, Bool, Float, Int
from landform.geodesics.curve import PolynomialCurve, as_polynomial
from landform.metrics.base import AbstractMetric, check_dtype, check_metric
from landform.solvers.base import AbstractSolver, Request, Solution, certified
from landform.solvers.boundary_value import EnergySolver
from landform.solvers.elements import interpolation
from landform.solvers.guided import join_solutions, solve_guided
from landform.solvers.implicit import differentiable_nodes
from landform.solvers.residual import certify_one

_PAIRS_TOGETHER = 8192  # pairs solved at once; bounds the memory beside inputs and results
_POLISH = 1e-9  # relative error of the length; that of the velocity is at most ten times as large


class Geodesic(AbstractOutcome):
    """A geodesic, or a batch of n of them with a leading axis everywhere.

    Attributes
    ----------
    points
        Points at equal steps of t from x to y, shape ``(num_points, d)``.
    length, energy
        ∫ |ċ| dt and ½ ∫ |ċ|² dt, by quadrature finer than the solver's.
    velocity, final_velocity
        ċ(0), which is Log_x(y), and ċ(1), in chart coordinates.
    converged
        True where the curve is a geodesic to the requested accuracy and no longer than any known
        path between its end points.
    status
        Why not, as a `Status` code; `reason` says it in words.
    stats
        ``iterations`` of all starts together; ``evaluations``, the points at which the metric, or
        the generator's Jacobian, was evaluated for them and for measuring the curve; ``residual``,
        the relative dual norm of the first variation of the energy (0 for a geodesic);
        ``speed_drift``, (max − min) / mean speed; ``bound``, the length of the best known path
        (infinite without one); ``decrement``, the relative energy that the solver's last step
        predicted to gain.
    path
        The curve itself, a `PolynomialCurve`.

    Examples
    --------
    >>> import landform as lf
    >>> path = lf.geodesic(lf.PoincareHalfPlane(), [-1.0, 1.0], [1.0, 1.0])
    >>> bool(path.converged), path.curve(0.5).round(6).tolist()
    (True, [0.0, 1.414214])
    """

    points: Float[Array, "*batch T1 d"]
    length: Float[Array, "*batch"]
    energy: Float[Array, "*batch"]
    velocity: Float[Array, "*batch d"]
    final_velocity: Float[Array, "*batch d"]
    converged: Bool[Array, "*batch"]
    status: Int[Array, "*batch"]
    stats: dict[str, Array]
    path: PolynomialCurve

    def curve(self, t) -> Float[Array, "*batch d"]:
        """The point at t ∈ [0, 1], a number or shape ``(k,)``."""
        return self.path(t)

    def _summary(self):
        length, points = f"length={display.span(self.length)}", display.polylines(self.points)
        if self.points.ndim > 2:
            return [points, outcome(self.status), length]
        return [length, outcome(self.status), points]

    def _picture(self):
        if not display.is_plane(self.points):
            return None
        curves = np.reshape(self.points, (-1, *self.points.shape[-2:]))
        good = np.ravel(succeeded(self.status))
        return display.Picture(curves=curves[good], failed=curves[~good])


@precise
def geodesic(
    metric: AbstractMetric,
    x,
    y,
    *,
    solver: AbstractSolver | None = None,
    init=None,
    guide: AbstractMetric | None = None,
    num_points: int = 65,
    accuracy: float = 1e-6,
    polish: float | None = None,
    max_steps: int | None = None,
    throw: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Geodesic:
    """The shortest curve found between two points, for one pair or many.

    Minimises the energy ½ ∫ ċᵀ M(c) ċ dt over piecewise polynomials by damped Newton steps, from
    the straight line and, for a metric with landmarks, from routes through a graph over them;
    doubles the number of elements where the result does not reach the accuracy.

    Parameters
    ----------
    metric
        The metric.
    x, y
        End points, shape ``(d,)`` or ``(n, d)``; a single point is paired with all of the other.
    solver
        Any `AbstractSolver`; an `EnergySolver` by default. Whatever the solver, a curve that it
        calls converged is measured and judged in the same way.
    init
        Start curves instead of the solver's own: a `Geodesic`, any `AbstractCurve`, or points at
        equal steps of t, shape ``(k, d)`` or ``(n, k, d)``.
    guide
        Another metric, such as a `Tabulated` one of a costly decoder, whose own geodesics are the
        start curves; what is returned is solved and certified on `metric` itself. For an
        `EnergySolver`, and without `init`.
    num_points
        Points on the curve, and with it the resolution that the solve begins with.
    accuracy
        Relative error of the length at which a curve counts as resolved, by its residual.
    polish
        Relative error of the length for which converged curves are refined once more where they
        miss it; unlike `accuracy` it decides nothing. None for no such step.
    max_steps
        Iterations per start, for an `EnergySolver`; by default the solver's (200).
    throw
        Raise if any pair fails. With False the batch always returns, each pair with its status.
    progress
        Called with the number of start curves finished, for long batches.

    Returns
    -------
    `Geodesic`, with a leading axis n for a batch.

    Raises
    ------
    TypeError, ValueError
        For a wrong metric or solver, shapes that do not fit, or values that are not finite.
    ConvergenceError
        With ``throw=True``, if a pair did not converge; the error carries the batch as ``result``.

    Notes
    -----
    Differentiable in x, y and the metric's arrays (implicit differentiation). Inside a
    transformation that traces its inputs, such as `jax.jit`, there is one start, the straight line
    or `init`, and no refinement. Cost: about 5 iterations of T evaluations of M and its
    first two derivatives per start, or T Jacobians for a pull-back. A learned metric has many local
    minima: a converged curve is a geodesic and the shortest of those found, not proven shortest.

    Examples
    --------
    >>> import landform as lf
    >>> path = lf.geodesic(lf.PoincareHalfPlane(), [0.0, 1.0], [0.0, 2.718281828459045])
    >>> round(float(path.length), 9)
    1.0
    """
    check_metric(metric)
    x, y, single = check_pair(metric, x, y, "y")
    solver = _check_solver(solver, max_steps)
    accuracy = as_tolerance("accuracy", accuracy)
    request = Request(
        as_count("num_points", num_points, 2),
        max(accuracy, float(np.sqrt(jnp.finfo(x.dtype).eps)) * 1e-2),
        None if polish is None else as_tolerance("polish", polish),
        None if init is None else _check_init(init, x),
        progress,
    )
    traced = is_traced(metric, x, y, init)
    frozen, a, b = _constant(metric, x, y) if traced else (metric, x, y)
    if guide is not None:
        solver = _check_guide(guide, solver, init)
        if is_traced(frozen, a, b, guide):
            raise TypeError("guide= works on values, which a traced function does not have")
        solution = solve_guided(frozen, np.asarray(a), np.asarray(b), guide, solver, request)
    elif is_traced(frozen, a, b, init):
        solution = solver.solve_traced(frozen, a, b, request)
    else:
        solution = _solve_blocks(frozen, np.asarray(a), np.asarray(b), solver, request)
    result = _package(metric, x, y, solution, solver.uses_chords(metric), request.num_points)
    if single:
        result = jax.tree.map(lambda leaf: leaf[0], result)
    if throw and not is_traced(result.status):
        raise_if_failed("geodesic", result.status, result)
    return result


def _check_solver(solver, max_steps) -> AbstractSolver:
    solver = EnergySolver() if solver is None else solver
    if not isinstance(solver, AbstractSolver):
        raise TypeError(
            f"solver must be an AbstractSolver such as EnergySolver(), got {type(solver).__name__}"
        )
    if max_steps is None:
        return solver
    if not isinstance(solver, EnergySolver):
        raise TypeError(f"max_steps is for an EnergySolver, and solver is {solver!r}")
    return dataclasses.replace(solver, max_steps=as_count("max_steps", max_steps, 1))


def _check_init(init, x):
    """Start curves as a function of t to points ``(n, k, d)``, checked against the pairs."""
    if isinstance(init, AbstractMetric):
        raise TypeError("init must hold curves; geodesics of another metric are had by guide=")
    curve = as_polynomial("init", init)
    nodes = curve.nodes
    count = nodes.shape[0] if nodes.ndim == 3 else 1
    if count not in (1, x.shape[0]) or nodes.shape[-1] != x.shape[-1]:
        raise ValueError(
            f"init must hold one curve or one for each of the {x.shape[0]} pairs in "
            f"{x.shape[-1]} dimensions, got {count} in {nodes.shape[-1]}"
        )
    return curve


def _check_guide(guide, solver, init) -> EnergySolver:
    check_metric(guide)
    if init is not None:
        raise ValueError("give init= or guide=, not both")
    if not isinstance(solver, EnergySolver):
        raise TypeError(f"guide= is for an EnergySolver, and solver is {solver!r}")
    return solver


def _solve_blocks(metric, x, y, solver, request: Request) -> Solution:
    """Solve and certify concrete pairs, so many at a time that memory does not grow with them."""
    parts = []
    for start in range(0, x.shape[0], _PAIRS_TOGETHER):
        rows = slice(start, start + _PAIRS_TOGETHER)
        some = request._replace(
            init=_some_curves(request.init, rows), progress=_shifted(request.progress, start)
        )
        found = solver.solve(metric, x[rows], y[rows], some)
        if not isinstance(found, Solution):
            raise TypeError(
                f"{type(solver).__name__}.solve must return a Solution, got {type(found).__name__}"
            )
        parts.append(certified(metric, x[rows], y[rows], found, request.accuracy))
    return join_solutions(np.arange(x.shape[0]), parts)


def _some_curves(curves, rows: slice):
    if (
        not isinstance(curves, PolynomialCurve)
        or curves.nodes.ndim == 2
        or curves.nodes.shape[0] == 1
    ):
        return curves
    return PolynomialCurve(curves.nodes[rows], curves.degree)


def _shifted(progress, done: int):
    return None if progress is None else lambda count: progress(done + count)


def _constant(*trees):
    """The same without derivatives; concrete values where only derivatives were traced."""
    arrays, rest = eqx.partition(trees, eqx.is_inexact_array)
    return eqx.combine(jax.lax.stop_gradient(arrays), rest)


def check_pair(metric, x, y, name):
    """Both arguments as ``(n, d)`` in one precision, and whether a single pair was asked for."""
    x = as_points("x", x, metric.dim)
    y = as_points(name, y, metric.dim)
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(f"x and {name} must have the same dimension, got {x.shape} and {y.shape}")
    single = x.ndim == 1 and y.ndim == 1
    x, y = jnp.atleast_2d(x), jnp.atleast_2d(y)
    if x.shape[0] != y.shape[0] and 1 not in (x.shape[0], y.shape[0]):
        raise ValueError(
            f"x and {name} must pair up: equal numbers of points or one on a side, got {x.shape} "
            f"and {y.shape}; use pairwise_distances for all combinations of points"
        )
    x, y = jnp.broadcast_arrays(x, y)
    dtype = jnp.result_type(check_dtype(metric, x), y)
    return x.astype(dtype), y.astype(dtype), single


def _package(metric, x, y, solution: Solution, chord: bool, num_points: int) -> Geodesic:
    rule, nodes, measured = solution.rule, solution.nodes, solution.measured
    xp = np
    if is_traced(metric, x, y, nodes):
        xp, nodes = jnp, jnp.asarray(nodes)
        nodes = jax.vmap(lambda a, b, c: differentiable_nodes(metric, rule, chord, a, b, c))(
            x, y, nodes
        )
        measured = jax.vmap(lambda c: certify_one(metric, rule, c))(nodes)
    weights = interpolation(rule, np.linspace(0.0, 1.0, num_points))[1:-1]
    with np.errstate(over="ignore", invalid="ignore"):  # a failed curve may leave the floats' range
        inner = xp.asarray(weights, nodes.dtype) @ nodes
    x, y = xp.asarray(x), xp.asarray(y)
    points = xp.concatenate([x[:, None], inner, y[:, None]], axis=1)
    stats = {
        "iterations": solution.iterations,
        "evaluations": solution.evaluations,
        "residual": measured.residual,
        "speed_drift": measured.speed_drift,
        "bound": solution.bound,
        "decrement": solution.decrement,
    }
    parts = {
        "points": points,
        "length": measured.length,
        "energy": measured.energy,
        "velocity": measured.velocity,
        "final_velocity": measured.final_velocity,
        "converged": solution.status == int(Status.CONVERGED),
        "status": solution.status,
        "stats": stats,
    }
    if xp is np:
        parts, nodes = jax.device_put((parts, nodes))
    return Geodesic(path=PolynomialCurve(nodes, rule.degree), **parts)


@precise
def where_succeeded(status, value):
    """`value`, with NaN where its computation failed."""
    good = succeeded(status)
    return jnp.where(jnp.expand_dims(good, range(good.ndim, value.ndim)), value, jnp.nan)


@precise
def log(metric: AbstractMetric, x, y, **kwargs) -> Float[Array, "*batch d"]:
    """The logarithm Log_x(y): the velocity at x of the geodesic that is at y at t = 1.

    ``|Log_x(y)|_x`` is the distance. Where the geodesic failed (with ``throw=False``) it is NaN.

    Parameters
    ----------
    metric
        The metric.
    x, y
        Points, shape ``(d,)`` or ``(n, d)``.
    **kwargs
        Those of `geodesic`.

    Returns
    -------
    Velocities in chart coordinates, shape ``(d,)`` or ``(n, d)``.

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As `geodesic`.

    Notes
    -----
    Taken from the conserved momentum of the whole curve, not from its first segment, and polished
    (``polish=1e-9`` by default): errors are below 1e-8 on smooth metrics, 1e-13 in the median.

    Examples
    --------
    >>> import landform as lf
    >>> lf.log(lf.PoincareHalfPlane(), [0.0, 1.0], [0.0, 2.718281828459045]).round(8).tolist()
    [0.0, 1.0]
    """
    result = geodesic(metric, x, y, **{"polish": _POLISH, **kwargs})
    return where_succeeded(result.status, result.velocity)


@precise
def distance(metric: AbstractMetric, x, y, **kwargs) -> Float[Array, "*batch"]:
    """The geodesic distance between points: the length of the shortest curve found.

    Parameters
    ----------
    metric
        The metric.
    x, y
        Points, shape ``(d,)`` or ``(n, d)``.
    **kwargs
        Those of `geodesic`.

    Returns
    -------
    Distances, shape ``()`` or ``(n,)``; NaN where the geodesic failed and ``throw=False``.

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As `geodesic`.

    Notes
    -----
    Differentiable in x, y and the metric's arrays; the gradient in y is the covector M ċ(1) / L. Of
    points that coincide, where there is none, it is 0, so that the square has its own. Second
    derivatives of the square are those of twice the energy of `geodesic`, there too.

    Examples
    --------
    >>> import landform as lf
    >>> round(float(lf.distance(lf.Euclidean(2), [0.0, 0.0], [3.0, 4.0])), 12)
    5.0
    """
    result = geodesic(metric, x, y, **kwargs)
    return where_succeeded(result.status, result.length)
