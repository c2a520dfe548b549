"""Shortest paths through a graph: starts of the energy solver, and a solver of their own."""

from typing import NamedTuple

import equinox as eqx
import numpy as np
import scipy.sparse as sp
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from landform._core.checks import as_count
from landform._core.status import Status
from landform.solvers.base import AbstractSolver, Request, Solution
from landform.solvers.graph import (
    Ends,
    Graph,
    adjacency,
    build_graph,
    distances_between,
    find_ends,
)
from landform.solvers.lengths import at_shares

STRETCH = 1.1  # how much longer than the graph's shortest path a start may be
_NUMBERS_TOGETHER = 4_000_000  # distances from end points to vertices that are held at once
_ZERO_LENGTH = 1e-300  # csgraph reads an explicit zero as no edge


class Routes(NamedTuple):
    """Paths between pairs of points through a graph: the shortest, then distinct alternatives."""

    owner: np.ndarray  # (r,) the pair each route belongs to
    vertices: list[np.ndarray]  # (k_i, d) each, both end points included
    travelled: list[np.ndarray]  # (k_i,) each, length along the route from its start
    shortest: np.ndarray  # (n,), infinite where unconnected
    clearance: float  # distance in coordinates up to which two paths count as one


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
    every route so far, as long as they are at most `stretch` times as long. Routes pass through
    vertices of the graph and never through the end points of other pairs, and memory does not grow
    with the number of pairs but for the routes.
    """
    n = x.shape[0]
    clearance = 0.05 * float(np.linalg.norm(np.ptp(graph.points, axis=0)))
    shortest = np.full(n, np.inf)
    owner, vertices, travelled = [], [], []
    base = adjacency(graph) + adjacency(graph).T
    block = max(1, _NUMBERS_TOGETHER // graph.points.shape[0] // 2)
    for start in range(0, n, block):
        rows = slice(start, min(start + block, n))
        points, which = np.unique(np.concatenate([x[rows], y[rows]]), axis=0, return_inverse=True)
        first, last = which.reshape(2, -1)
        ends = find_ends(metric, graph, points)
        search = _Search(base, ends)
        for i, a, b in zip(range(start, rows.stop), first, last, strict=True):
            shortest[i] = search.shortest(a, b)
            if not np.isfinite(shortest[i]):
                continue
            through = search.distance[a] + search.distance[b]
            through = np.where(through <= stretch * shortest[i], through, np.inf)
            route, along, length = search.route(a, b)
            for _ in range(alternatives + 1):
                beside = (along > _ZERO_LENGTH) & (along < length)  # not the end points themselves
                owner.append(i)
                inner = graph.points[route[beside]]
                vertices.append(np.concatenate([x[i, None], inner, y[i, None]]))
                travelled.append(np.concatenate([[0.0], along[beside], [length]]))
                candidates = np.flatnonzero(np.isfinite(through))
                near = is_near(vertices[-1], graph.points[candidates], clearance)
                through[candidates[near]] = np.inf
                middle = int(np.argmin(through))
                if not np.isfinite(through[middle]):
                    break
                route, along, length = search.detour(a, b, middle)
    return Routes(np.array(owner, dtype=int), vertices, travelled, shortest, clearance)


class _Search:
    """Distances from end points to the vertices of a graph, and the paths that have them.

    Edges lead from an end point into the graph and none back, so that no path passes through one.
    """

    def __init__(self, base, ends: Ends):
        count, points = base.shape[0], ends.near.shape[0]
        rows, columns = np.nonzero(np.isfinite(ends.lengths))
        out = sp.csr_matrix(
            (
                np.maximum(ends.lengths[rows, columns], _ZERO_LENGTH),
                (rows, ends.near[rows, columns]),
            ),
            (points, count),
        )
        matrix = sp.vstack([base, out]).tocsr()
        matrix.resize(count + points, count + points)
        self.ends = ends
        distance, self._previous = csgraph.dijkstra(
            matrix, indices=count + np.arange(points), return_predecessors=True
        )
        self.distance = distance[:, :count]

    def _last(self, a: int, b: int) -> tuple[int, float]:
        """The vertex from which the shortest path enters b, and the length of the path."""
        total = self.distance[a, self.ends.near[b]] + self.ends.lengths[b]
        best = int(np.argmin(total))
        return int(self.ends.near[b, best]), float(total[best])

    def shortest(self, a: int, b: int) -> float:
        """The length of the shortest path from a to b; infinite without one."""
        return self._last(a, b)[1]

    def _trace(self, a: int, end: int) -> np.ndarray:
        """The vertices of the shortest path from a to a vertex."""
        path, count = [end], self.distance.shape[1]
        while (before := self._previous[a, path[-1]]) < count:
            path.append(int(before))
        return np.array(path[::-1])

    def route(self, a: int, b: int) -> tuple[np.ndarray, np.ndarray, float]:
        """The vertices between a and b, their distances from a along the path, and its length."""
        last, length = self._last(a, b)
        path = self._trace(a, last)
        return path, self.distance[a, path], length

    def detour(self, a: int, b: int, middle: int) -> tuple[np.ndarray, np.ndarray, float]:
        """The same for the shortest path through a given vertex."""
        there, back = self._trace(a, middle), self._trace(b, middle)[::-1][1:]
        length = float(self.distance[a, middle] + self.distance[b, middle])
        along = np.concatenate([self.distance[a, there], length - self.distance[b, back]])
        return np.concatenate([there, back]), along, length


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


def resample(routes: Routes, times: np.ndarray) -> np.ndarray:
    """Points on routes at given shares of their lengths, ``(r, T + 1, d)``."""
    paths = zip(routes.vertices, routes.travelled, strict=True)
    return np.stack([at_shares(path, travelled, times) for path, travelled in paths])


class GraphSolver(AbstractSolver):
    """Shortest paths through a neighborhood graph over the metric's landmarks.

    Routes are polylines: upper bounds of the distance and no geodesics, whatever the number of
    landmarks. Their status is `Status.APPROXIMATE`. In two dimensions they are a few percent too
    long, in eight far more than that: `graph_distances` measures by how much.

    Parameters
    ----------
    n_neighbors
        Neighbors of every point of the graph; more of them bring the paths closer to geodesics.

    Raises
    ------
    TypeError, ValueError
        Unless `n_neighbors` is a positive integer; in `solve` for a metric without landmarks.

    Notes
    -----
    All distances between n and m points, by ``pairwise_distances(method="graph")``, take the points
    as vertices beside the landmarks: O((n + m) k) evaluations of the metric and min(n, m) runs of
    Dijkstra's algorithm.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> points = np.random.default_rng(0).uniform(size=(400, 2))
    >>> metric = lf.LocalVariance(points, sigma=1e3, rho=1.0)  # flat but for a factor
    >>> exact = lf.distance(metric, points[0], points[1])
    >>> found = lf.geodesic(metric, points[0], points[1], solver=lf.GraphSolver())
    >>> lf.Status(int(found.status)).name, 1.0 <= float(found.length / exact) < 1.1
    ('APPROXIMATE', True)
    """

    n_neighbors: int = eqx.field(static=True, default=16)

    def __check_init__(self):
        as_count("n_neighbors", self.n_neighbors)

    def solve(self, metric, x, y, request: Request) -> Solution:
        """The shortest route of every pair, at equal shares of its length."""
        landmarks = metric.landmarks()
        if landmarks is None:
            raise ValueError(
                f"GraphSolver needs landmarks, and {type(metric).__name__} has none: give the "
                "metric landmarks=, or use another solver"
            )
        graph = build_graph(metric, np.asarray(landmarks), n_neighbors=self.n_neighbors)
        routes = find_routes(metric, graph, x, y, alternatives=0)
        times = np.linspace(0.0, 1.0, request.num_points)
        nodes = x[:, None] + (y - x)[:, None] * times[:, None]
        status = np.full(x.shape[0], int(Status.DISCONNECTED))
        if routes.owner.size:
            nodes[routes.owner] = resample(routes, times)
            status[routes.owner] = int(Status.APPROXIMATE)
        return Solution(nodes, 1, status)

    def distances(self, metric, X, Y):
        """Distances between all points, which are vertices of the graph themselves."""
        landmarks = metric.landmarks()
        points = [X, Y] if landmarks is None else [X, Y, np.asarray(landmarks)]
        graph = build_graph(metric, np.concatenate(points), n_neighbors=self.n_neighbors)
        tree = cKDTree(graph.points)
        (gap_x, rows), (gap_y, columns) = (tree.query(p) for p in points[:2])
        far_x, far_y = gap_x > 0.0, gap_y > 0.0  # left out of the graph: they are no vertices
        rows, columns = np.where(far_x, 0, rows), np.where(far_y, 0, columns)
        distances = distances_between(adjacency(graph), rows, columns)
        distances[far_x], distances[:, far_y] = np.inf, np.inf
        if X is Y:  # the two directions of a path may be rounded differently
            distances = np.minimum(distances, distances.T)
        connected = np.isfinite(distances)
        status = np.where(connected, int(Status.APPROXIMATE), int(Status.DISCONNECTED))
        return np.where(connected, distances, np.nan), status
