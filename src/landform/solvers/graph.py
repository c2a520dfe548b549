"""Shortest paths on a neighbourhood graph: starts for the local solvers, and distances at scale."""

import itertools
import weakref
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from landform._numerics import compiled, gauss

_CHUNKS = (256, 8192)  # points measured per compiled call
_MANY = 20_000  # vertices from which edges are measured at fewer points
STRETCH = 1.1  # how much longer than the graph's shortest path a start may be


class Graph(NamedTuple):
    """Points of the chart joined to their neighbours by straight segments of known length."""

    points: np.ndarray  # (k, d)
    edges: np.ndarray  # (e, 2), each undirected edge once
    lengths: np.ndarray  # (e,), Riemannian
    neighbours: int


@compiled
def _speeds(metric, points, vectors):
    return jnp.sqrt(jax.vmap(metric.inner)(points, vectors, vectors))


def speeds(metric, points: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """|v|_x at many points, in chunks of two sizes: one program for few and one for many."""
    count = points.shape[0]
    size = next((few for few in _CHUNKS if count <= few), _CHUNKS[-1])
    out = np.empty(count)
    for i in range(0, count, size):
        part = [a[i : i + size] for a in (points, vectors)]
        short = part[0].shape[0]
        part = [np.pad(a, ((0, size - short), (0, 0)), mode="edge") for a in part]
        out[i : i + size] = np.asarray(_speeds(metric, *part))[:short]
    return out


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


def _bridges(points: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Closest pairs between components, until the graph is connected."""
    added = []
    while True:
        count = points.shape[0]
        pairs = np.concatenate([edges, *added]) if added else edges
        matrix = sp.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (count, count))
        parts, label = csgraph.connected_components(matrix, directed=False)
        if parts == 1:
            return np.concatenate(added) if added else np.zeros((0, 2), dtype=int)
        new = set()
        for part in range(parts):
            inside, outside = np.flatnonzero(label == part), np.flatnonzero(label != part)
            gap, nearest = cKDTree(points[outside]).query(points[inside])
            i = int(np.argmin(gap))
            a, b = inside[i], outside[nearest[i]]
            new.add((min(a, b), max(a, b)))
        added.append(np.array(sorted(new)))


def filler(points: np.ndarray, spacing: float, limit: int) -> np.ndarray:
    """A regular grid over the bounding box for d <= 3, away from `points`; empty otherwise."""
    d = points.shape[1]
    low, high = points.min(axis=0) - spacing, points.max(axis=0) + spacing
    if d > 3:
        return np.zeros((0, d))
    while np.prod(np.floor((high - low) / spacing) + 1) > limit:
        spacing *= 1.1
    axes = [np.arange(a, b + spacing, spacing) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, d)
    far = cKDTree(points).query(grid)[0] > 0.5 * spacing
    return grid[far]


def build_graph(metric, points, *, neighbours: int = 10, fill: int = 0) -> Graph:
    """Join every point to its nearest ones, bridge the components, and measure every edge."""
    points = np.unique(np.asarray(points, dtype=float), axis=0)
    if fill:
        gap = np.median(cKDTree(points).query(points, k=min(2, len(points)))[0][:, -1])
        points = np.concatenate([points, filler(points, max(2.0 * float(gap), 1e-12), fill)])
    count = points.shape[0]
    k = min(neighbours, count - 1)
    if k == 0:
        return Graph(points, np.zeros((0, 2), dtype=int), np.zeros(0), neighbours)
    near = cKDTree(points).query(points, k=k + 1)[1]
    pairs = np.stack([np.repeat(np.arange(count), k + 1), near.ravel()], axis=1)
    edges = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    edges = np.concatenate([edges, _bridges(points, edges)])
    # Among many points edges are short, and two Gauss points are enough.
    order = 4 if count <= _MANY else 2
    lengths = segment_lengths(metric, points[edges[:, 0]], points[edges[:, 1]], order=order)
    usable = np.isfinite(lengths)
    return Graph(points, edges[usable], lengths[usable], neighbours)


_cache: dict[int, tuple[weakref.ref, Graph]] = {}


def graph_of(metric) -> Graph | None:
    """The graph over the metric's landmarks, built once for each metric; None without any."""
    known = _cache.get(id(metric))
    if known is not None and known[0]() is metric:
        return known[1]
    landmarks = metric.landmarks()
    if landmarks is None:
        return None
    graph = build_graph(metric, np.asarray(landmarks), fill=1000)
    key = id(metric)
    _cache[key] = (weakref.ref(metric, lambda _: _cache.pop(key, None)), graph)
    return graph


class Routes(NamedTuple):
    """Paths between pairs of points through a graph: the shortest, then distinct alternatives."""

    owner: np.ndarray  # (r,) the pair each route belongs to
    vertices: list[np.ndarray]  # (k_i, d) each, both end points included
    lengths: np.ndarray  # (r,)
    shortest: np.ndarray  # (n,), infinite where unconnected


def attach(metric, graph: Graph, points: np.ndarray):
    """The graph's matrix with `points` joined to their nearest vertices, and their indices."""
    base = graph.points.shape[0]
    unique, inverse = np.unique(points, axis=0, return_inverse=True)
    k = min(graph.neighbours, base)
    near = cKDTree(graph.points).query(unique, k=k)[1].reshape(unique.shape[0], k)
    new = np.repeat(np.arange(unique.shape[0]), k)
    old = near.ravel()
    lengths = segment_lengths(metric, unique[new], graph.points[old])
    usable = np.isfinite(lengths)
    rows = np.concatenate([graph.edges[:, 0], base + new[usable]])
    columns = np.concatenate([graph.edges[:, 1], old[usable]])
    weights = np.concatenate([graph.lengths, lengths[usable]])
    size = base + unique.shape[0]
    # csgraph reads an explicit zero as no edge; a point on a vertex is at a tiny distance instead.
    matrix = sp.csr_matrix((np.maximum(weights, 1e-300), (rows, columns)), (size, size))
    return matrix, base + inverse.ravel(), np.concatenate([graph.points, unique])


def find_routes(
    metric,
    graph: Graph,
    x: np.ndarray,
    y: np.ndarray,
    *,
    alternatives: int = 2,
    stretch: float = STRETCH,
) -> Routes:
    """The shortest path of every pair, and the shortest ones that keep clear of those found before.

    A learned metric has many locally shortest curves of nearly one length, and the graph's edges
    are straight, so its shortest path may run on the wrong side of a hole. Alternatives go through
    the vertex with the least ``d(x, w) + d(w, y)`` at a distance (5 % of the graph's diameter) from
    every route so far, as long as they are at most `stretch` times as long.
    """
    n = x.shape[0]
    matrix, index, points = attach(metric, graph, np.concatenate([x, y]))
    sources, which = np.unique(index, return_inverse=True)
    distance, previous = csgraph.dijkstra(
        matrix, directed=False, indices=sources, return_predecessors=True
    )
    shortest = distance[which[:n], index[n:]]
    clearance = 0.05 * float(np.linalg.norm(np.ptp(graph.points, axis=0)))
    owner, vertices, lengths = [], [], []
    for i in np.flatnonzero(np.isfinite(shortest)):
        a, b = which[i], which[n + i]
        route, length = _trace(previous[a], index[i], index[n + i]), shortest[i]
        through = distance[a] + distance[b]
        through = np.where(through <= stretch * length, through, np.inf)
        for _ in range(alternatives + 1):
            owner.append(i)
            vertices.append(points[route])
            lengths.append(length)
            candidates = np.flatnonzero(np.isfinite(through))
            near = cKDTree(_densify(points[route], clearance)).query(points[candidates])[0]
            through[candidates[near <= clearance]] = np.inf
            middle = int(np.argmin(through))
            length = through[middle]
            if not np.isfinite(length):
                break
            there = _trace(previous[a], index[i], middle)
            back = _trace(previous[b], index[n + i], middle)
            route = np.concatenate([there, back[::-1][1:]])
    return Routes(np.array(owner, dtype=int), vertices, np.array(lengths), shortest)


def _densify(path: np.ndarray, spacing: float) -> np.ndarray:
    """Points on a polyline no further than `spacing` apart."""
    parts = [path[:1]]
    for a, b in itertools.pairwise(path):
        count = int(np.linalg.norm(b - a) / max(spacing, 1e-300)) + 1
        parts.append(a + (b - a) * (np.arange(1, count + 1) / count)[:, None])
    return np.concatenate(parts)


def _trace(previous: np.ndarray, start: int, end: int) -> np.ndarray:
    path = [end]
    while path[-1] != start:
        path.append(previous[path[-1]])
    return np.array(path[::-1])


def resample(metric, paths: list[np.ndarray], times: np.ndarray) -> np.ndarray:
    """Points on polylines at given shares of their Riemannian lengths, ``(r, T + 1, d)``."""
    starts = np.concatenate([path[:-1] for path in paths])
    ends = np.concatenate([path[1:] for path in paths])
    lengths = segment_lengths(metric, starts, ends, order=2)
    breaks = np.cumsum([len(path) - 1 for path in paths])[:-1]
    out = np.empty((len(paths), times.size, starts.shape[1]))
    for curve, path, steps in zip(out, paths, np.split(lengths, breaks), strict=True):
        travelled = np.concatenate([[0.0], np.cumsum(steps)])
        share = travelled / travelled[-1] if travelled[-1] > 0 else np.linspace(0, 1, len(path))
        for k in range(path.shape[1]):
            curve[:, k] = np.interp(times, share, path[:, k])
    return out


def distances_between(matrix, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Graph distances from every start to every end vertex.

    Searches begin on the side with fewer vertices, in blocks that bound the memory.
    """
    if np.unique(end).size < np.unique(start).size:
        return distances_between(matrix, end, start).T
    sources, which = np.unique(start, return_inverse=True)
    block = max(1, int(2e7) // matrix.shape[0])
    rows = [
        csgraph.dijkstra(matrix, directed=False, indices=sources[i : i + block])[:, end]
        for i in range(0, sources.size, block)
    ]
    return np.concatenate(rows)[which]


def adjacency(graph: Graph):
    """The sparse matrix of the graph's edges, for `scipy.sparse.csgraph`."""
    count = graph.points.shape[0]
    rows, columns = graph.edges.T
    return sp.csr_matrix((np.maximum(graph.lengths, 1e-300), (rows, columns)), (count, count))
