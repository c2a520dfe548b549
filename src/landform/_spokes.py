"""Geodesics from centres to points, kept and followed while the centres move."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._curve import PolynomialCurve
from landform._geodesic import geodesic
from landform._numerics import chunked, to_jax, to_length
from landform._results import Status
from landform.metrics.analytic import AbstractClosedForm
from landform.solvers.elements import Rule
from landform.solvers.policy import EnergySolver

_SHORTER = 1e-3  # relative gain in length from which another curve replaces the one followed
_DEGREE = 4  # of the pieces that curves are kept as between solves
_CHUNK = 4096  # closed forms evaluated together


def solve_options(num_points, accuracy, solver) -> dict:
    """What every solve of geodesics in one computation shares."""
    return {
        "num_points": num_points,
        "accuracy": accuracy,
        "solver": EnergySolver() if solver is None else solver,
    }


class Spokes(NamedTuple):
    """Geodesics from one centre to n points, on the host."""

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
    """Geodesics from `center`, or from one centre for each point, to the rows of `data`.

    With `known` they start from these curves, their first ends moved to the centre. Points that
    coincide with their centre but for rounding are joined by the segment between them. Where
    logarithms are known in closed form nothing is solved, and the curves stay segments.
    """
    rule = Rule(max(1, -(-(options["num_points"] - 1) // _DEGREE)), _DEGREE)
    times = np.asarray(rule.times, dtype=data.dtype)
    centers = np.broadcast_to(center, data.shape)
    gap = data - centers
    out = Spokes(
        centers[:, None] + times[:, None] * gap[:, None], gap.copy(), np.zeros(len(data)),
        np.full(len(data), int(Status.CONVERGED)),
    )  # fmt: skip
    size = np.maximum(np.abs(data), np.abs(centers)).max(axis=1, initial=0.0)
    far = np.abs(gap).max(axis=1, initial=0.0) > 100.0 * np.finfo(data.dtype).eps * size
    if not far.any():
        return out
    if isinstance(metric, AbstractClosedForm):
        found = chunked(
            lambda a, b: _exact(metric, a, b), _CHUNK, *map(jnp.asarray, (centers, data))
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
