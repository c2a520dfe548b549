"""Geodesics whose ends are free to move on submanifolds of the chart."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import precise
from landform._core.checks import as_count, as_points, as_tolerance
from landform._core.linalg import bfgs_update
from landform._core.status import AbstractOutcome, Status, outcome, raise_if_failed
from landform._core.typing import Array, Float, Int
from landform.geodesics.geodesic import Geodesic, geodesic
from landform.metrics.base import AbstractMetric, check_metric, metric_tensor

_ARMIJO = 1e-4
_MAX_HALVINGS = 20
_TOUCHING = 1e-10  # length over coordinates below which the ends have met
_NUDGE = 0.05  # of a curve's length, by which an end is moved to see whether others are shorter
_LOWER = 1e-6  # relative decrease of the energy that tells it


class FreeGeodesic(AbstractOutcome):
    """A shortest curve between two submanifolds, or a batch with a leading axis everywhere.

    Attributes
    ----------
    geodesic
        The curves, with their own statuses and measurements.
    start_at, end_at
        Parameters of the end points on their submanifolds, shape ``(*batch, k)``; k = 0 at an end
        that is held fixed.
    gap
        Largest cosine of an angle between the curve and a submanifold where they meet, in the
        metric: 0 where the curve is orthogonal to both, as a shortest one is.
    status
        How the solve ended, as a `Status` code; `reason` says it in words.
    iterations
        Moves of the end points.

    Examples
    --------
    >>> import jax.numpy as jnp, landform as lf
    >>> axis = lambda s: jnp.array([0.0, s[0]])
    >>> lf.free_geodesic(lf.Euclidean(2), [3.0, 1.0], axis, end_at=[0.0]).end_at.tolist()
    [1.0]
    """

    geodesic: Geodesic
    start_at: Float[Array, "*batch k"]
    end_at: Float[Array, "*batch m"]
    gap: Float[Array, "*batch"]
    status: Int[Array, "*batch"]
    iterations: Int[Array, "*batch"]

    def _summary(self):
        found = self.geodesic
        spans = [f"length={display.span(found.length)}", f"gap={display.span(self.gap)}"]
        return [display.polylines(found.points), outcome(self.status), *spans]


@precise
def free_geodesic(
    metric: AbstractMetric,
    start,
    end,
    *,
    start_at=None,
    end_at=None,
    tol: float = 1e-6,
    max_steps: int = 50,
    throw: bool = True,
    **solve,
) -> FreeGeodesic:
    """The shortest curve found from one submanifold to another, or from a point to one.

    At a stationary point of the energy over curves with free ends the curve is a geodesic and
    orthogonal to the submanifolds where it meets them. The ends move by quasi-Newton steps (BFGS,
    begun at the submanifolds' own metric) along the first variation of the energy, each curve
    being the start of the next.

    Parameters
    ----------
    metric
        The metric.
    start, end
        Where the curve begins and ends: a point ``(d,)``, points ``(n, d)``, or a differentiable
        function from parameters ``(k,)`` to a point of the chart ``(d,)``. At least one is a
        function.
    start_at, end_at
        For a function, the parameters to begin with, shape ``(k,)`` or ``(n, k)``.
    tol
        Cosine of the angle to a submanifold at which a curve counts as orthogonal.
    max_steps
        Moves of the end points.
    throw
        Raise if any curve fails. With False the batch returns, each curve with its status.
    **solve
        As for `geodesic`: `num_points`, `accuracy`, `solver`.

    Returns
    -------
    `FreeGeodesic`, with a leading axis n where an argument has one. Submanifolds that intersect
    have a curve of length zero.

    Raises
    ------
    TypeError, ValueError
        If no end is a function, parameters are missing or given for a fixed end, or do not fit.
    ConvergenceError
        With ``throw=True``, if a curve is not a geodesic or not orthogonal; it carries the result.

    Notes
    -----
    The first variation of the energy with free ends is the classical transversality condition
    (do Carmo 1992, chapter 9). Local: where there are several such curves, the parameters to begin
    with choose. Curves that are orthogonal from the start are tried with each parameter moved to
    either side, for they may be the longest. Cost: some ten batches of geodesics from good starts.

    Examples
    --------
    From a point of the half-plane to the vertical axis, arsinh(|x₁| / x₂):

    >>> import jax.numpy as jnp, landform as lf
    >>> axis = lambda s: jnp.array([0.0, jnp.exp(s[0])])
    >>> found = lf.free_geodesic(lf.PoincareHalfPlane(), [1.0, 1.0], axis, end_at=[0.0])
    >>> round(float(found.geodesic.length), 6), round(float(found.end_at[0]), 6)
    (0.881374, 0.346574)
    """
    check_metric(metric)
    tol = as_tolerance("tol", tol)
    max_steps = as_count("max_steps", max_steps)
    if "init" in solve:
        raise ValueError("init is not for curves with free ends: start_at and end_at say where")
    ends = _End("start", (start, start_at), metric.dim), _End("end", (end, end_at), metric.dim)
    if all(one.place is None for one in ends):
        raise TypeError("start or end must be a function; between two points there is geodesic")
    batch = np.broadcast_shapes(*(one.batch for one in ends))
    count = int(np.prod(batch))
    for one in ends:
        one.count = count
    parts = [np.broadcast_to(e.first, (*batch, e.width)).reshape(count, e.width) for e in ends]
    moves = _Moves(metric, ends, solve)
    found, p, gap, iterations = _descend(moves, np.concatenate(parts, axis=1), tol, max_steps)
    status = np.asarray(found.status)
    status = np.where((status == 0) & ~(gap <= tol), int(Status.MAX_STEPS), status)
    first, last = np.split(p, [moves.split], axis=1)
    result = FreeGeodesic(*jax.device_put((found, first, last, gap, status, iterations)))
    if not batch:
        result = jax.tree.map(lambda leaf: leaf[0], result)
    if throw:
        raise_if_failed("free_geodesic", result.status, result)
    return result


class _End:
    """One end of all curves: its points and tangents as functions of its parameters."""

    count: int = 1

    def __init__(self, name: str, end: tuple[Any, Any], dim: int | None):
        where, at = end
        self.place = place = where if callable(where) else None
        if place is None:
            if at is not None:
                raise ValueError(f"{name}_at is for a {name} that is a function; it is a point")
            self.points = np.asarray(as_points(name, where, dim))
            self.batch = self.points.shape[:-1]
            self.first = np.zeros((*self.batch, 0))
            return
        if at is None:
            raise ValueError(f"{name} is a function: give {name}_at, parameters to begin with")
        self.first = np.asarray(as_points(f"{name}_at", at), float)
        self.batch = self.first.shape[:-1]
        shape = jax.eval_shape(place, jnp.asarray(self.first.reshape(-1, self.width)[0])).shape
        if len(shape) != 1 or (dim is not None and shape[0] != dim):
            wanted = "(d,)" if dim is None else f"({dim},)"
            raise ValueError(f"{name} must return one point of shape {wanted}, got {shape}")
        self._both = eqx.filter_jit(jax.vmap(lambda s: (place(s), jax.jacfwd(place)(s))))

    @property
    def width(self) -> int:
        return self.first.shape[-1]

    def at(self, rows: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points ``(n, d)`` and tangents ``(n, d, k)`` of some rows."""
        if self.place is None:
            points = np.broadcast_to(self.points, (self.count, self.points.shape[-1]))[rows]
            return points, np.zeros((*points.shape, 0))
        points, tangents = self._both(jnp.asarray(s))
        return np.asarray(points), np.asarray(tangents)


class _Moves:
    """The state of all curves: parameters, curves, gradients and inverse second derivatives."""

    def __init__(self, metric, ends: tuple[_End, _End], solve: dict[str, Any]):
        self.metric, self.ends, self.solve = metric, ends, solve
        self.split = ends[0].width

    def measure(self, rows, p, init=None):
        """Curves between the ends at parameters p, energies, gradients, gaps and local metrics."""
        sides = [
            end.at(rows, part)
            for end, part in zip(self.ends, np.split(p, [self.split], axis=1), strict=True)
        ]
        x, y = sides[0][0], sides[1][0]
        if init is not None:
            t = np.linspace(0.0, 1.0, init.shape[1])[:, None]
            init = init + (1 - t) * (x - init[:, 0])[:, None] + t * (y - init[:, -1])[:, None]
        found = geodesic(self.metric, x, y, init=init, throw=False, **self.solve)
        gradient, scale = np.zeros(p.shape), np.zeros((*p.shape, p.shape[1]))
        gap = np.zeros(len(p))
        speed = np.maximum(np.asarray(found.length), np.finfo(float).tiny)
        starts = (found.velocity, found.final_velocity)
        spans = (slice(0, self.split), slice(self.split, None))
        for sign, (points, tangent), v, span in zip((-1, 1), sides, starts, spans, strict=True):
            if tangent.shape[-1] == 0:
                continue
            matrix = np.asarray(metric_tensor(self.metric, points))
            push = np.einsum("nak,nab->nkb", tangent, matrix)
            slope = np.einsum("nkb,nb->nk", push, np.asarray(v))
            inverse = np.linalg.pinv(push @ tangent)
            gradient[:, span] = sign * slope
            scale[:, span, span] = inverse
            cosine = np.sqrt(np.einsum("nk,nkl,nl->n", slope, inverse, slope).clip(0.0)) / speed
            gap = np.maximum(gap, cosine)
        reach = np.abs(x).max(axis=1) + np.abs(y).max(axis=1)
        gap = np.where(np.abs(x - y).max(axis=1) <= _TOUCHING * reach, 0.0, gap)
        return found, gradient, gap, scale


def _descend(moves: _Moves, p: np.ndarray, tol: float, max_steps: int):
    """BFGS in the parameters of the ends, for each curve with a step length of its own."""
    everyone = np.arange(len(p))
    found, gradient, gap, inverse = moves.measure(everyone, p)
    energy, points = np.array(found.energy), np.array(found.points)
    iterations = np.zeros(len(p), int)
    share, halvings = np.ones(len(p)), np.zeros(len(p), int)
    for rows, trial in _nudged(p, gap <= tol, np.asarray(found.length), inverse):
        fresh, slope, angle, metric = moves.measure(rows, trial, points[rows])
        after = np.asarray(fresh.energy)
        lower = (after < (1.0 - _LOWER) * energy[rows]) & np.asarray(fresh.converged)
        good = rows[lower]
        p[good], gradient[good], gap[good] = trial[lower], slope[lower], angle[lower]
        inverse[good], energy[good] = metric[lower], after[lower]
        points[good] = np.asarray(fresh.points)[lower]
    for _ in range(max_steps):
        usable = np.isfinite(gradient).all(axis=1) & np.isfinite(energy)
        rows = np.flatnonzero((gap > tol) & usable & (halvings < _MAX_HALVINGS))
        if rows.size == 0:
            break
        direction = -np.einsum("nij,nj->ni", inverse[rows], gradient[rows])
        slope = np.sum(direction * gradient[rows], axis=1)
        moved = p[rows] + share[rows, None] * direction
        fresh, gradient_there, gap_there, _ = moves.measure(rows, moved, points[rows])
        before, after = energy[rows], np.asarray(fresh.energy)
        accept = after <= before + _ARMIJO * share[rows] * slope + 1e-13 * before
        iterations[rows] += 1
        halvings[rows] = np.where(accept, 0, halvings[rows] + 1)
        share[rows] = np.where(accept, 1.0, 0.5 * share[rows])
        good = rows[accept]
        step, change = moved[accept] - p[good], gradient_there[accept] - gradient[good]
        inverse[good] = bfgs_update(inverse[good], step, change)
        p[good], gradient[good] = moved[accept], gradient_there[accept]
        gap[good] = gap_there[accept]
        energy[good], points[good] = after[accept], np.asarray(fresh.points)[accept]
    # Once more all together, for a batch shares its resolution.
    found, _, gap, _ = moves.measure(everyone, p, points)
    return found, p, gap, iterations


def _nudged(p: np.ndarray, stationary: np.ndarray, length: np.ndarray, inverse: np.ndarray):
    """Parameters to either side of those where a curve is orthogonal from the start.

    Such a curve may be the longest as well as the shortest, as from the far side of a circle, and
    no slope says which.
    """
    rows = np.flatnonzero(stationary & np.isfinite(length) & (length > 0.0))
    start = p[rows].copy()
    for j in range(p.shape[1]) if rows.size else ():
        step = _NUDGE * length[rows] * np.sqrt(inverse[rows, j, j].clip(0.0))
        for sign in (1.0, -1.0):
            trial = start.copy()
            trial[:, j] += sign * step
            yield rows, trial
