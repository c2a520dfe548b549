"""Geodesics from centers to points, kept and followed while the centers move."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core.arrays import chunked, to_jax, to_length
from landform._core.status import Status
from landform.geodesics.curve import PolynomialCurve
from landform.geodesics.geodesic import geodesic
from landform.metrics.analytic import AbstractClosedForm
from landform.metrics.base import AbstractMetric
from landform.solvers.boundary_value import EnergySolver
from landform.solvers.elements import Rule

_NUM_POINTS = 33  # nodes of the curves to data at first; those that need more are refined
_FEW_POINTS = 17  # the same for a loose accuracy
_LOOSE = 0.9e-5
_CHUNK = 1024  # data whose geodesics are solved together; bounds the memory

_SHORTER = 1e-3  # relative gain in length from which another curve replaces the one followed
_DEGREE = 4  # of the pieces that curves are kept as between solves
_CLOSED_FORMS_TOGETHER = 4096  # bounds the memory


def solve_options(num_points, accuracy, solver) -> dict:
    """What every solve of geodesics in one computation shares."""
    return {
        "num_points": num_points,
        "accuracy": accuracy,
        "solver": EnergySolver() if solver is None else solver,
    }


class Spokes(NamedTuple):
    """Geodesics from one center to n points, on the host."""

    nodes: np.ndarray  # (n, T + 1, d), at the nodes of one rule
    velocity: np.ndarray  # (n, d)
    length: np.ndarray  # (n,)
    status: np.ndarray  # (n,)

    @property
    def ok(self) -> np.ndarray:
        """Which of them converged."""
        return self.status == Status.CONVERGED

    def take(self, index) -> "Spokes":
        """Some of them."""
        return Spokes(*(a[index] for a in self))


def solve_spokes(metric, center, data, options, known: Spokes | None = None) -> Spokes:
    """Geodesics from `center`, or from one center for each point, to the rows of `data`.

    With `known` they start from these curves, their first ends moved to the center. Points that
    coincide with their center but for rounding are joined by the segment between them. Where
    logarithms are known in closed form nothing is solved, and the curves stay segments.
    """
    rule = Rule(max(1, -(-(options["num_points"] - 1) // _DEGREE)), _DEGREE)
    times = np.asarray(rule.times, dtype=data.dtype)
    centers = np.broadcast_to(center, data.shape)
    gap = data - centers
    out = Spokes(
        centers[:, None] + times[:, None] * gap[:, None],
        gap.copy(),
        np.zeros(len(data)),
        np.full(len(data), int(Status.CONVERGED)),
    )
    size = np.maximum(np.abs(data), np.abs(centers)).max(axis=1, initial=0.0)
    far = np.abs(gap).max(axis=1, initial=0.0) > 100.0 * np.finfo(data.dtype).eps * size
    if not far.any():
        return out
    if isinstance(metric, AbstractClosedForm):
        found = chunked(
            lambda a, b: _exact(metric, a, b),
            _CLOSED_FORMS_TOGETHER,
            *map(jnp.asarray, (centers, data)),
        )
        out.velocity[far], out.length[far] = (np.asarray(part)[far] for part in found)
        finite = np.isfinite(out.length) & np.isfinite(out.velocity).all(axis=1)
        out.status[~finite] = int(Status.BAD_METRIC)
        return out
    rows = np.flatnonzero(far)
    count = rows.size
    # Sizes of clusters differ in every iteration, and each new shape would compile anew.
    rows = to_length(rows, _rounded(count))
    init = None
    if known is not None:
        nodes = thinned(known, times.size).nodes  # they may be from a solve with another accuracy
        shift = centers - nodes[:, 0]
        init = nodes + (1.0 - times)[:, None] * shift[:, None, :]
        init = PolynomialCurve(jnp.asarray(init[rows], data.dtype), rule.degree)
    found = geodesic(metric, centers[rows], data[rows], init=init, throw=False, **options)
    same = (found.path.elements, found.path.degree) == tuple(rule)
    nodes = found.path.nodes if same else found.path(to_jax(times))
    parts = (nodes, found.velocity, found.length, found.status)
    for whole, part in zip(out, parts, strict=True):
        whole[far] = np.asarray(part)[:count]
    out.status[far & ~np.isfinite(out.length)] = int(Status.BAD_METRIC)
    return out


def thinned(spokes: Spokes, count: int) -> Spokes:
    """The same geodesics, kept at `count` nodes."""
    if spokes.nodes.shape[1] == count:
        return spokes
    times = Rule((count - 1) // _DEGREE, _DEGREE).times
    curve = PolynomialCurve(to_jax(spokes.nodes), _DEGREE)
    return spokes._replace(nodes=np.asarray(curve(jnp.asarray(times, spokes.nodes.dtype))))


def _rounded(count: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, 24, ...: few sizes, and not much larger."""
    power = 1 << (count - 1).bit_length()
    return 3 * power // 4 if count <= 3 * power // 4 else power


@eqx.filter_jit
def _exact(metric, centers, data):
    return jax.vmap(metric._log)(centers, data), jax.vmap(metric._distance)(centers, data)


def shorter(known: Spokes, fresh: Spokes) -> tuple[Spokes, bool]:
    """The better curve of each pair, and whether a fresh one was clearly shorter."""
    gain = fresh.ok & (~known.ok | (fresh.length < (1.0 - _SHORTER) * known.length))
    merged = Spokes(
        *(
            np.where(gain.reshape(gain.shape + (1,) * (a.ndim - 1)), b, a)
            for a, b in zip(known, fresh, strict=True)
        )
    )
    return merged, bool(gain.any())


def variance(weights, spokes: Spokes, among=None) -> float:
    """``Σ w d²`` over the curves that converged, or over some of them."""
    among = spokes.ok if among is None else among
    return float(np.sum(weights[among] * spokes.length[among] ** 2))


def accuracy_for(rtol: float) -> float:
    """The relative error of lengths that goes with the tolerance of the rays in a fit.

    A length that is wrong by ε of itself changes a log-density by ε times the squared logarithm,
    which is d on average: a normalizer of tolerance ε is no better.
    """
    return float(np.clip(rtol, 1e-6, 1e-4))


class Logs(NamedTuple):
    """Logarithms of the data at one mean, with their curves for the next."""

    vectors: np.ndarray  # (N, d); those of failed points are zero
    usable: np.ndarray  # (N,)
    spokes: Spokes


def find_logs(metric: AbstractMetric, mean, X, accuracy: float, previous=None) -> Logs:
    """Log_mean(X): from earlier `Logs` of the same data where there are any, else by a search."""
    mean = np.asarray(mean, dtype=float)
    known = None if previous is None else previous.spokes
    return logs_of(solve_chunks(metric, mean, X, accuracy, known))


def solve_chunks(metric, mean, X, accuracy: float, known: Spokes | None = None) -> Spokes:
    """Geodesics from a mean to data, 1024 at a time.

    Those that known curves do not lead to, or that a loose accuracy's few nodes, however often
    refined, do not resolve, are looked for once more: afresh, and from more nodes.
    """
    count = _NUM_POINTS if accuracy < _LOOSE else _FEW_POINTS
    spokes = _solve_chunks(metric, mean, X, count, accuracy, known)
    lost = np.flatnonzero(~spokes.ok)
    if lost.size == 0 or (known is None and count == _NUM_POINTS):
        return spokes
    afresh = _solve_chunks(metric, mean, X[lost], _NUM_POINTS, accuracy)
    return replaced(spokes, lost, thinned(afresh, spokes.nodes.shape[1]), afresh.ok)


def _solve_chunks(metric, mean, X, count: int, accuracy: float, known: Spokes | None = None):
    """`solve_chunks` from one number of nodes."""
    options = solve_options(count, accuracy, None)
    parts = [
        solve_spokes(
            metric,
            mean,
            X[i : i + _CHUNK],
            options,
            None if known is None else known.take(slice(i, i + _CHUNK)),
        )
        for i in range(0, len(X), _CHUNK)
    ]
    return parts[0] if len(parts) == 1 else Spokes(*map(np.concatenate, zip(*parts, strict=True)))


def logs_of(spokes: Spokes) -> Logs:
    """The logarithms that curves begin with."""
    return Logs(np.where(spokes.ok[:, None], spokes.velocity, 0.0), spokes.ok, spokes)


def replaced(spokes: Spokes, rows, others: Spokes, which) -> Spokes:
    """Spokes with some rows taken from others."""
    parts = [a.copy() for a in spokes]
    for part, new in zip(parts, others, strict=True):
        part[rows[which]] = new[which]
    return Spokes(*parts)
