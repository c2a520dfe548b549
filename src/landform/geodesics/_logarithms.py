"""Logarithms of data at one base point, with their curves kept for the next base point."""

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
from landform.solvers.elements import Rule

_NUM_POINTS = 33  # nodes at the first attempt; curves that need more are refined
_NUM_POINTS_LOOSE = 17  # the same for an accuracy of `_LOOSE_ACCURACY` or more
_LOOSE_ACCURACY = 0.9e-5
_DATA_CHUNK = 1024  # geodesics solved together; bounds the memory
_CLOSED_FORM_CHUNK = 4096
_MIN_RELATIVE_GAIN = 1e-3  # in length, for a new curve to replace the one followed
_DEGREE = 4  # of the pieces of the curves that are kept


class Logarithms(NamedTuple):
    """Geodesics from one base point to n points, on the host."""

    nodes: np.ndarray  # (n, T + 1, d), at the nodes of one rule
    velocity: np.ndarray  # (n, d): the logarithms
    length: np.ndarray  # (n,)
    status: np.ndarray  # (n,)

    @property
    def ok(self) -> np.ndarray:
        """Which of them converged."""
        return self.status == Status.CONVERGED

    @property
    def vectors(self) -> np.ndarray:
        """The logarithms, zero where the geodesic failed."""
        return np.where(self.ok[:, None], self.velocity, 0.0)

    def take(self, index) -> "Logarithms":
        """The logarithms of some of the points."""
        return Logarithms(*(a[index] for a in self))

    def replaced(self, rows, others: "Logarithms", which) -> "Logarithms":
        """A copy with `others[which]` in place of `rows[which]`."""
        parts = [a.copy() for a in self]
        for part, new in zip(parts, others, strict=True):
            part[rows[which]] = new[which]
        return Logarithms(*parts)

    @property
    def rule(self) -> Rule:
        """The elements whose nodes are kept."""
        return Rule((self.nodes.shape[1] - 1) // _DEGREE, _DEGREE)

    def resampled(self, count: int) -> "Logarithms":
        """The same geodesics, kept at `count` nodes."""
        if self.nodes.shape[1] == count:
            return self
        times = Rule((count - 1) // _DEGREE, _DEGREE).times
        curve = PolynomialCurve(to_jax(self.nodes), _DEGREE)
        return self._replace(nodes=np.asarray(curve(jnp.asarray(times, self.nodes.dtype))))


def logarithms(
    metric: AbstractMetric, base, X, accuracy: float, previous: Logarithms | None = None
) -> Logarithms:
    """Log_base(X), from earlier logarithms of the same data where there are any.

    Geodesics that these do not lead to, or that a loose accuracy's few nodes do not resolve,
    however often refined, are searched for once more: afresh, and with more nodes.
    """
    base = np.asarray(base, dtype=float)
    count = _NUM_POINTS if accuracy < _LOOSE_ACCURACY else _NUM_POINTS_LOOSE

    def solve(data, num_points, known):
        options = {"num_points": num_points, "accuracy": accuracy}
        parts = []
        for i in range(0, len(data), _DATA_CHUNK):
            rows = slice(i, i + _DATA_CHUNK)
            start = None if known is None else known.take(rows)
            parts.append(connect(metric, base, data[rows], options, start))
        return Logarithms(*map(np.concatenate, zip(*parts, strict=True)))

    found = solve(X, count, previous)
    lost = np.flatnonzero(~found.ok)
    if lost.size == 0 or (previous is None and count == _NUM_POINTS):
        return found
    fresh = solve(X[lost], _NUM_POINTS, None)
    return found.replaced(lost, fresh.resampled(found.nodes.shape[1]), fresh.ok)


def connect(metric, base, data, options, previous: Logarithms | None = None) -> Logarithms:
    """Geodesics from `base`, or from one base point for each row, to the rows of `data`.

    With `previous` they start from these curves, their first ends moved to the base. Points that
    coincide with their base up to rounding are joined by the segment between them. Where
    logarithms are known in closed form nothing is solved, and the curves stay segments. `options`
    are those of `geodesic`.
    """
    rule = Rule(max(1, -(-(options["num_points"] - 1) // _DEGREE)), _DEGREE)
    times = np.asarray(rule.times, dtype=data.dtype)
    bases = np.broadcast_to(base, data.shape)
    gap = data - bases
    out = Logarithms(
        bases[:, None] + times[:, None] * gap[:, None],
        gap.copy(),
        np.zeros(len(data)),
        np.full(len(data), int(Status.CONVERGED)),
    )
    size = np.maximum(np.abs(data), np.abs(bases)).max(axis=1, initial=0.0)
    far = np.abs(gap).max(axis=1, initial=0.0) > 100.0 * np.finfo(data.dtype).eps * size
    if not far.any():
        return out
    if isinstance(metric, AbstractClosedForm):
        found = chunked(
            lambda a, b: _closed_form(metric, a, b),
            _CLOSED_FORM_CHUNK,
            *map(jnp.asarray, (bases, data)),
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
    if previous is not None:
        nodes = previous.resampled(times.size).nodes  # they may have another accuracy
        shift = bases - nodes[:, 0]
        init = nodes + (1.0 - times)[:, None] * shift[:, None, :]
        init = PolynomialCurve(jnp.asarray(init[rows], data.dtype), rule.degree)
    found = geodesic(metric, bases[rows], data[rows], init=init, throw=False, **options)
    same = (found.path.elements, found.path.degree) == tuple(rule)
    nodes = found.path.nodes if same else found.path(to_jax(times))
    parts = (nodes, found.velocity, found.length, found.status)
    for whole, part in zip(out, parts, strict=True):
        whole[far] = np.asarray(part)[:count]
    out.status[far & ~np.isfinite(out.length)] = int(Status.BAD_METRIC)
    return out


def _rounded(count: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, 24, ...: few sizes, and not much larger."""
    power = 1 << (count - 1).bit_length()
    return 3 * power // 4 if count <= 3 * power // 4 else power


@eqx.filter_jit
def _closed_form(metric, bases, data):
    return jax.vmap(metric._log)(bases, data), jax.vmap(metric._distance)(bases, data)


def shorter(known: Logarithms, fresh: Logarithms) -> tuple[Logarithms, bool]:
    """The better curve of each pair, and whether any fresh one was clearly shorter."""
    gain = fresh.ok & (~known.ok | (fresh.length < (1.0 - _MIN_RELATIVE_GAIN) * known.length))
    return known.replaced(np.arange(len(gain)), fresh, gain), bool(gain.any())


def weighted_variance(weights, logs: Logarithms, among=None) -> float:
    """``Σ w d²`` over the curves that converged, or over some of them."""
    among = logs.ok if among is None else among
    return float(np.sum(weights[among] * logs.length[among] ** 2))


def accuracy_for(rtol: float) -> float:
    """The relative accuracy of lengths that goes with the tolerance of the rays in a fit.

    A length that is wrong by ε of itself changes a log-density by ε times the squared logarithm,
    which is d on average: a normalizer of tolerance ε is no better.
    """
    return float(np.clip(rtol, 1e-6, 1e-4))
