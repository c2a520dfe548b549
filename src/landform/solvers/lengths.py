"""Lengths of straight segments and polylines of the chart under a metric."""

import itertools

import jax.numpy as jnp
import numpy as np

from landform._core.compilation import block_size, compiled, map_blocks
from landform._core.lanes import side_by_side
from landform._core.quadrature import gauss

_CHUNKS = (256, 2048)  # points measured per compiled call
_FINE_PIECES = 16  # first parts of an edge whose length must be certain
_CERTAIN = 1e-8  # what such a length may be off by, relative
_HALVINGS = 12


@compiled
def _speeds(metric, points, vectors):
    block = block_size(metric, points[0]) if metric.embeds else len(points)
    square = map_blocks(lambda x, v: metric.inner(x, v, v), block, points, vectors)
    return jnp.sqrt(square)


def by_blocks(program, metric, size: int, *rows: np.ndarray):
    """Results of ``program(metric, *rows)`` for `size` rows at a time, the last ones padded."""

    def arguments(start):
        block = [a[start : start + size] for a in rows]
        pad = ((0, size - block[0].shape[0]), (0, 0))
        return metric, *(np.pad(a, pad, mode="edge") for a in block)

    return side_by_side(program, arguments, range(0, rows[0].shape[0], size))


def speeds(metric, points: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """|v|_x at many points, in chunks of two sizes: one program for few and one for many."""
    count = points.shape[0]
    size = next((few for few in _CHUNKS if count <= few), _CHUNKS[-1])

    parts = list(by_blocks(_speeds, metric, size, points, vectors))
    return np.concatenate(parts)[:count] if parts else np.zeros(0)


def segment_lengths(metric, start, end, *, order: int = 4) -> np.ndarray:
    """Riemannian lengths of straight segments of the chart, ``(e, d)`` to ``(e,)``."""
    start, end = np.asarray(start), np.asarray(end)
    if start.shape[0] == 0:
        return np.zeros(0)
    nodes, weights = gauss(order)
    step = end - start
    points = start[:, None] + nodes[:, None].astype(step.dtype) * step[:, None]
    vectors = np.broadcast_to(step[:, None], points.shape)
    flat = (a.reshape(-1, step.shape[1]) for a in (points, vectors))
    return speeds(metric, *flat).reshape(-1, order) @ weights


def resolved_lengths(metric, start, end, rtol: float) -> np.ndarray:
    """`segment_lengths`, every part halved until that changes its length by less than `rtol`."""
    start, end = np.asarray(start), np.asarray(end)
    out, owner = np.zeros(start.shape[0]), np.arange(start.shape[0])
    whole = segment_lengths(metric, start, end)
    for _ in range(_HALVINGS):
        middle = 0.5 * (start + end)
        halves = segment_lengths(metric, *map(np.concatenate, ((start, middle), (middle, end))))
        halves = halves.reshape(2, -1)
        fine = halves.sum(axis=0)
        rough = np.abs(fine - whole) > rtol * fine
        np.add.at(out, owner[~rough], fine[~rough])
        if not rough.any():
            return out
        start = np.concatenate([start[rough], middle[rough]])
        end = np.concatenate([middle[rough], end[rough]])
        owner, whole = np.tile(owner[rough], 2), halves[:, rough].ravel()
    np.add.at(out, owner, whole)
    return out


def fine_length(metric, path: np.ndarray) -> float:
    """Length of a polyline by a quadrature that resolves what its edges jump over."""
    share = np.linspace(0.0, 1.0, _FINE_PIECES + 1)[:, None]
    points = np.concatenate([a + (b - a) * share for a, b in itertools.pairwise(path)])
    return float(np.sum(resolved_lengths(metric, points[:-1], points[1:], _CERTAIN)))


def at_shares(path: np.ndarray, travelled: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Points of a polyline at given shares of its length, which is `travelled` at its corners."""
    total = travelled[-1]
    share = travelled / total if total > 0 else np.linspace(0.0, 1.0, len(path))
    return np.stack([np.interp(times, share, column) for column in path.T], axis=1)
