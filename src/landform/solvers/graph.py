"""Neighborhood graphs of points of the chart, with the Riemannian lengths of their edges."""

import weakref
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from landform.solvers.lengths import resolved_lengths, segment_lengths

_COARSE, _FINE = (1000, 10), (16_000, 24)  # points between landmarks, neighbors of each
_LONG = 2.0  # times the median edge in coordinates: a gap, which a few points may jump over
_LONG_EDGE_RTOL = 1e-4
_MANY = 20_000  # vertices from which edges are measured at fewer points
_MAX_DISTANCE = 1e100  # between coordinates of vertices; squares and volumes do not overflow


class Graph(NamedTuple):
    """Points of the chart joined to their neighbors by straight segments of known length."""

    points: np.ndarray  # (k, d)
    edges: np.ndarray  # (e, 2), each undirected edge once
    lengths: np.ndarray  # (e,), Riemannian
    n_neighbors: int
    typical: float  # median length of the edges in coordinates; infinite where there are none


def _edge_lengths(metric, start, end, typical: float, order: int = 4) -> np.ndarray:
    """Lengths of edges; those that are long for the graph, across a gap, are resolved."""
    lengths = segment_lengths(metric, start, end, order=order)
    long = np.flatnonzero(np.linalg.norm(end - start, axis=1) > _LONG * typical)
    if long.size:
        lengths[long] = resolved_lengths(metric, start[long], end[long], _LONG_EDGE_RTOL)
    return lengths


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


def build_graph(metric, points, *, n_neighbors: int = 10, fill: int = 0) -> Graph:
    """Join every point to its nearest ones, bridge the components, and measure every edge.

    Points further from the others than `_MAX_DISTANCE` are left out.
    """
    points = np.unique(np.asarray(points, dtype=float), axis=0)
    with np.errstate(over="ignore"):
        offset = np.abs(points - np.sort(points, axis=0)[len(points) // 2])
    within = (offset < _MAX_DISTANCE).all(axis=1)
    points = points[within] if within.any() else points[:1]
    if fill:
        gap = np.median(cKDTree(points).query(points, k=min(2, len(points)))[0][:, -1])
        points = np.concatenate([points, filler(points, max(2.0 * float(gap), 1e-12), fill)])
    count = points.shape[0]
    k = min(n_neighbors, count - 1)
    if k == 0:
        return Graph(points, np.zeros((0, 2), dtype=int), np.zeros(0), n_neighbors, np.inf)
    near = cKDTree(points).query(points, k=k + 1)[1]
    pairs = np.stack([np.repeat(np.arange(count), k + 1), near.ravel()], axis=1)
    edges = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    edges = np.concatenate([edges, _bridges(points, edges)])
    # Among many points edges are short, and two Gauss points are enough.
    order = 4 if count <= _MANY else 2
    start, end = points[edges[:, 0]], points[edges[:, 1]]
    typical = float(np.median(np.linalg.norm(end - start, axis=1)))
    lengths = _edge_lengths(metric, start, end, typical, order)
    usable = np.isfinite(lengths)
    return Graph(points, edges[usable], lengths[usable], n_neighbors, typical)


_cache: dict[tuple[int, bool], tuple[weakref.ref, Graph]] = {}


def graph_of(metric, fine: bool = False) -> Graph | None:
    """The graph over the metric's landmarks, built once for each metric; None without a pair.

    A `fine` one has more points between the landmarks, and edges in more directions.
    """
    key = id(metric), fine
    known = _cache.get(key)
    if known is not None and known[0]() is metric:
        return known[1]
    landmarks = metric.landmarks()
    if landmarks is None or (np.asarray(landmarks) == np.asarray(landmarks)[:1]).all():
        return None
    fill, n_neighbors = _FINE if fine else _COARSE
    graph = build_graph(metric, np.asarray(landmarks), n_neighbors=n_neighbors, fill=fill)
    _cache[key] = (weakref.ref(metric, lambda _: _cache.pop(key, None)), graph)
    return graph


class Ends(NamedTuple):
    """Points beside a graph, with the edges that lead to its vertices."""

    near: np.ndarray  # (n, k) the nearest vertices
    lengths: np.ndarray  # (n, k), Riemannian; infinite where there is no edge


def find_ends(metric, graph: Graph, points: np.ndarray) -> Ends:
    """The edges of points to their nearest vertices; a point on a vertex is joined to it alone."""
    k = min(graph.n_neighbors, graph.points.shape[0])
    gap, near = cKDTree(graph.points).query(points, k=k)
    gap, near = gap.reshape(-1, k), near.reshape(-1, k)
    lengths = np.full(gap.shape, np.inf)
    there = gap[:, 0] == 0.0
    # Beyond the range of squares, distances are infinite and no vertex is the nearest.
    rows, columns = np.nonzero(np.isfinite(gap) & ~there[:, None])
    ends = graph.points[near[rows, columns]]
    lengths[rows, columns] = _edge_lengths(metric, points[rows], ends, graph.typical)
    lengths[there, 0] = 0.0
    near[~np.isfinite(gap)] = 0
    return Ends(near, np.where(np.isfinite(lengths), lengths, np.inf))


def attach(metric, graph: Graph, points: np.ndarray):
    """The graph's matrix with `points` joined to their nearest vertices, and their indices.

    A point that is a vertex stays that vertex.
    """
    base = graph.points.shape[0]
    unique, inverse = np.unique(points, axis=0, return_inverse=True)
    k = min(graph.n_neighbors, base)
    gap, near = cKDTree(graph.points).query(unique, k=k)
    gap, near = gap.reshape(-1, k), near.reshape(-1, k)
    within = np.isfinite(gap)  # beyond the range of squares no vertex is the nearest
    near[~within] = 0
    fresh = gap[:, 0] > 0.0
    added = unique[fresh]
    place = np.where(fresh, base - 1 + np.cumsum(fresh), near[:, 0])
    new = np.repeat(np.arange(added.shape[0]), k)
    old = near[fresh].ravel()
    lengths = np.full(new.size, np.inf)
    usable = within[fresh].ravel()
    ends = added[new[usable]], graph.points[old[usable]]
    lengths[usable] = _edge_lengths(metric, *ends, graph.typical)
    usable = np.isfinite(lengths)
    rows = np.concatenate([graph.edges[:, 0], base + new[usable]])
    columns = np.concatenate([graph.edges[:, 1], old[usable]])
    weights = np.concatenate([graph.lengths, lengths[usable]])
    size = base + added.shape[0]
    # csgraph reads an explicit zero as no edge; a point on a vertex is at a tiny distance instead.
    matrix = sp.csr_matrix((np.maximum(weights, 1e-300), (rows, columns)), (size, size))
    return matrix, place[inverse.ravel()], np.concatenate([graph.points, added])


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
