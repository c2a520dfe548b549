"""Shortest paths on a neighborhood graph: starts for the local solvers, and distances at scale."""

import weakref
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from landform.solvers.lengths import resolved_lengths, segment_lengths

_COARSE, _FINE = (1000, 10), (16_000, 24)  # points between landmarks, neighbors of each
_LONG = 2.0  # times the median edge in coordinates: a gap, which a few points may jump over
_ABOUT = 1e-4  # what the length of a long edge may be off by, relative
_MANY = 20_000  # vertices from which edges are measured at fewer points
STRETCH = 1.1  # how much longer than the graph's shortest path a start may be


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
        lengths[long] = resolved_lengths(metric, start[long], end[long], _ABOUT)
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
    """Join every point to its nearest ones, bridge the components, and measure every edge."""
    points = np.unique(np.asarray(points, dtype=float), axis=0)
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


class Routes(NamedTuple):
    """Paths between pairs of points through a graph: the shortest, then distinct alternatives."""

    owner: np.ndarray  # (r,) the pair each route belongs to
    vertices: list[np.ndarray]  # (k_i, d) each, both end points included
    travelled: list[np.ndarray]  # (k_i,) each, length along the route from its start
    shortest: np.ndarray  # (n,), infinite where unconnected
    clearance: float  # distance in coordinates up to which two paths count as one


def attach(metric, graph: Graph, points: np.ndarray):
    """The graph's matrix with `points` joined to their nearest vertices, and their indices.

    A point that is a vertex stays that vertex.
    """
    base = graph.points.shape[0]
    unique, inverse = np.unique(points, axis=0, return_inverse=True)
    k = min(graph.n_neighbors, base)
    gap, near = cKDTree(graph.points).query(unique, k=k)
    gap, near = gap.reshape(-1, k), near.reshape(-1, k)
    fresh = gap[:, 0] > 0.0
    added = unique[fresh]
    place = np.where(fresh, base - 1 + np.cumsum(fresh), near[:, 0])
    new = np.repeat(np.arange(added.shape[0]), k)
    old = near[fresh].ravel()
    lengths = _edge_lengths(metric, added[new], graph.points[old], graph.typical)
    usable = np.isfinite(lengths)
    rows = np.concatenate([graph.edges[:, 0], base + new[usable]])
    columns = np.concatenate([graph.edges[:, 1], old[usable]])
    weights = np.concatenate([graph.lengths, lengths[usable]])
    size = base + added.shape[0]
    # csgraph reads an explicit zero as no edge; a point on a vertex is at a tiny distance instead.
    matrix = sp.csr_matrix((np.maximum(weights, 1e-300), (rows, columns)), (size, size))
    return matrix, place[inverse.ravel()], np.concatenate([graph.points, added])


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
    owner, vertices, travelled = [], [], []
    for i in np.flatnonzero(np.isfinite(shortest)):
        a, b = which[i], which[n + i]
        route = _trace(previous[a], index[i], index[n + i])
        along = distance[a][route]
        through = distance[a] + distance[b]
        through = np.where(through <= stretch * shortest[i], through, np.inf)
        for _ in range(alternatives + 1):
            owner.append(i)
            vertices.append(points[route])
            travelled.append(along)
            candidates = np.flatnonzero(np.isfinite(through))
            near = is_near(points[route], points[candidates], clearance)
            through[candidates[near]] = np.inf
            middle = int(np.argmin(through))
            if not np.isfinite(through[middle]):
                break
            there = _trace(previous[a], index[i], middle)
            back = _trace(previous[b], index[n + i], middle)[::-1][1:]
            along = np.concatenate([distance[a][there], through[middle] - distance[b][back]])
            route = np.concatenate([there, back])
    return Routes(np.array(owner, dtype=int), vertices, travelled, shortest, clearance)


def is_near(path: np.ndarray, points: np.ndarray, reach: float) -> np.ndarray:
    """Which points are within `reach` of a polyline."""
    # From the path's start, and with its end as a segment, for a path may be one point.
    path = np.asarray(path, dtype=float)
    a, points = path - path[0], points - path[0]
    u = np.diff(a, axis=0, append=a[-1:])
    square = np.maximum(np.sum(u**2, axis=1), 1e-300)
    gap = np.sum(points**2, axis=1)[:, None] - 2.0 * points @ a.T + np.sum(a**2, axis=1)
    along = points @ u.T - np.sum(a * u, axis=1)
    share = np.clip(along / square, 0.0, 1.0)
    return (gap + share * (share * square - 2.0 * along)).min(axis=1) <= reach**2


def _trace(previous: np.ndarray, start: int, end: int) -> np.ndarray:
    path = [end]
    while path[-1] != start:
        path.append(previous[path[-1]])
    return np.array(path[::-1])


def resample(routes: Routes, times: np.ndarray) -> np.ndarray:
    """Points on routes at given shares of their lengths, ``(r, T + 1, d)``."""
    out = np.empty((len(routes.vertices), times.size, routes.vertices[0].shape[1]))
    for curve, path, travelled in zip(out, routes.vertices, routes.travelled, strict=True):
        total = travelled[-1]
        share = travelled / total if total > 0 else np.linspace(0, 1, len(path))
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
