"""Lloyd's algorithm on a manifold, with bounds that spare most of the geodesics.

A geodesic costs thousands of times as much as a Euclidean distance, so a pair of point and center
is solved only where it may decide a label. Two lower bounds on distances rule the others out: a
center that moves by δ shortens no distance by more than δ (Elkan 2003), and shortest paths on a
graph over the data are longer than geodesics by a factor whose largest value is observed on the
pairs solved.
"""

import numpy as np
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from landform._core.status import Status
from landform.geodesics._logarithms import Logarithms, connect, shorter
from landform.geodesics.frechet import descend
from landform.solvers.graph import attach, build_graph
from landform.solvers.lengths import segment_lengths

_NEIGHBORS = 16
_STRETCH_MARGIN = 1.1  # on the largest ratio of graph distance to distance that was seen


class DataGraph:
    """Distances from any points to the data along a graph over data and landmarks: upper bounds."""

    def __init__(self, metric, data: np.ndarray):
        self.metric = metric
        landmarks = metric.landmarks()
        points = data if landmarks is None else np.concatenate([data, np.asarray(landmarks)])
        self.graph = build_graph(metric, points, n_neighbors=_NEIGHBORS)
        self.vertex = cKDTree(self.graph.points).query(data)[1]

    def rows(self, centers: np.ndarray) -> np.ndarray:
        """Distances from each center to the data, ``(k, n)``; infinite where unconnected."""
        matrix, index, _ = attach(self.metric, self.graph, centers)
        return csgraph.dijkstra(matrix, directed=False, indices=index)[:, self.vertex]


def plus_plus(rng, weights: np.ndarray, rows, count: int) -> np.ndarray:
    """Indices of k-means++ seeds: each the best of a few drawn ∝ w d² (Arthur, Vassilvitskii 2007).

    `rows` gives the distances from some data points, ``(k,)`` indices to ``(k, n)``.
    """
    trials = 2 + int(np.log(count))
    chosen = [int(rng.choice(len(weights), p=weights / weights.sum()))]
    # Without a path: farther than all that are joined, and sums stay finite.
    nearest = np.minimum(rows(np.array(chosen))[0] ** 2, np.sqrt(np.finfo(float).max))
    for _ in range(count - 1):
        share = weights * nearest
        share[chosen] = 0.0
        if not share.sum() > 0.0:
            left = ~np.isin(np.arange(len(weights)), chosen)
            heavy = left & (weights > 0.0)
            share = (heavy if heavy.any() else left).astype(float)
        picks = rng.choice(len(weights), size=trials, p=share / share.sum())
        squares = np.minimum(nearest, rows(picks) ** 2)
        best = int(np.argmin(squares @ weights))
        chosen.append(int(picks[best]))
        nearest = squares[best]
    return np.array(chosen)


class Lloyd:
    """Centers, labels and the geodesics between them, on the host.

    Attributes
    ----------
    labels
        The cluster of each point; −1 where no geodesic to any center converged.
    logs
        For each point the geodesic from its center.
    lower
        Lower bounds on the distances, ``(n, k)``; infinite for pairs whose geodesic failed.
    """

    def __init__(self, metric, data, weights, centers, options, graph: DataGraph | None):
        self.metric, self.data, self.weights, self.options = metric, data, weights, options
        self.centers = np.array(centers, dtype=data.dtype)
        self.graph = graph
        self.solved = 0
        self.reasons = np.full(len(data), int(Status.CONVERGED))
        if graph is None:
            n, k = len(data), len(centers)
            pairs = np.repeat(data, k, axis=0), np.tile(self.centers, (n, 1))
            guess = segment_lengths(metric, *pairs, order=8).reshape(n, k)
        else:
            guess = graph.rows(self.centers).T
        self.lower = np.zeros(guess.shape)
        self.labels = np.argmin(np.where(np.isnan(guess), np.inf, guess), axis=1)
        self.logs = self._solve(np.arange(len(data)), self.labels)
        self._bound(guess if graph is not None else None)

    @property
    def own(self) -> np.ndarray:
        """The distance of each point to its center, infinite where it failed."""
        return np.where((self.labels >= 0) & self.logs.ok, self.logs.length, np.inf)

    @property
    def inertia(self) -> float:
        """Σ w d² over the points that have a cluster."""
        own = self.own
        found = np.isfinite(own)
        return float(np.sum(self.weights[found] * own[found] ** 2))

    def _solve(self, rows, columns) -> Logarithms:
        self.solved += len(rows)
        return connect(self.metric, self.centers[columns], self.data[rows], self.options)

    def _put(self, rows, logs: Logarithms) -> None:
        for old, new in zip(self.logs, logs, strict=True):
            old[rows] = new

    def _bound(self, paths=None) -> None:
        """Raise the lower bounds by graph distances."""
        if self.graph is None:
            return
        everyone = np.arange(len(self.data))
        paths = self.graph.rows(self.centers).T if paths is None else paths
        own = self.own
        typical = np.isfinite(own) & (own > 0.25 * np.median(own))
        if not typical.any():
            return
        ratio = paths[everyone, self.labels][typical] / own[typical]
        stretch = _STRETCH_MARGIN * max(1.0, float(np.max(ratio)))
        # A path that does not exist says nothing: an infinite bound stands for a failed geodesic.
        self.lower = np.fmax(self.lower, np.where(np.isfinite(paths), paths / stretch, 0.0))

    def separate(self, between: np.ndarray) -> None:
        """Raise the lower bounds by the triangle inequality from distances between the centers."""
        bound = between[self.labels] - self.own[:, None]
        self.lower = np.fmax(self.lower, np.where(np.isfinite(bound), bound, 0.0))

    def assign(self) -> int:
        """Give each point its nearest center; returns how many labels changed."""
        before = self.labels.copy()
        everyone = np.arange(len(self.data))
        again = np.flatnonzero(~self.logs.ok & (before >= 0))
        self._put(again, self._solve(again, before[again]))
        lost = ~self.logs.ok
        self.reasons[lost] = self.logs.status[lost]
        self.labels[lost] = -1
        tried = np.zeros(self.lower.shape, dtype=bool)
        had = before >= 0
        self.lower[everyone[lost & had], before[lost & had]] = np.inf
        tried[everyone[had], before[had]] = True
        while True:
            open_ = np.where(tried, np.inf, self.lower)
            column = np.argmin(open_, axis=1)
            own = self.own
            rows = np.flatnonzero(open_[everyone, column] < own)
            if rows.size == 0:
                break
            columns = column[rows]
            tried[rows, columns] = True
            found = self._solve(rows, columns)
            self.lower[rows, columns] = np.where(found.ok, found.length, np.inf)
            self.reasons[rows[~found.ok]] = found.status[~found.ok]
            better = found.ok & (found.length < own[rows])
            moved = rows[better]
            leaves = moved[self.labels[moved] >= 0]
            self.lower[leaves, self.labels[leaves]] = own[leaves]
            self.labels[moved] = columns[better]
            self._put(moved, found.take(better))
        return int(np.sum(self.labels != before))

    def fill_empty(self) -> int:
        """Move the centers of empty clusters to the points that are worst off."""
        count = 0
        for j in range(len(self.centers)):
            if (self.labels == j).any():
                continue
            sizes = np.bincount(self.labels[self.labels >= 0], minlength=len(self.centers))
            cost = np.where(
                self.labels >= 0, self.weights * np.nan_to_num(self.own, posinf=0) ** 2, 0
            )
            cost[sizes[self.labels] < 2] = 0.0
            i = int(np.argmax(cost))
            if not cost[i] > 0.0:
                continue
            self.lower[i, self.labels[i]] = self.own[i]
            self.centers[j] = self.data[i]
            self.labels[i] = j
            self._put(np.array([i]), self._solve(np.array([i]), np.array([j])))
            self.lower[:, j] = 0.0
            self._bound()
            count += 1
        return count

    def move(self, *, tol: float, max_steps: int) -> float:
        """Take each center towards its cluster's Fréchet mean; the largest gradient left."""
        largest = 0.0
        start = self.centers.copy()
        for j in range(len(self.centers)):
            rows = np.flatnonzero((self.labels == j) & (self.weights > 0))
            if rows.size == 0:
                continue
            end = descend(
                self.metric,
                self.data[rows],
                self.weights[rows],
                self.centers[j],
                self.logs.take(rows),
                self.options,
                tol=tol,
                max_steps=max_steps,
            )
            self.solved += rows.size * (len(end.history) - 1)
            self.centers[j] = end.center
            self._put(rows, end.logs)
            largest = max(largest, 0.0 if end.status == Status.CONVERGED else end.gradient)
        moved = np.flatnonzero((start != self.centers).any(axis=1))
        idle = np.isin(self.labels, moved) & (self.weights == 0)
        if idle.any():
            rows = np.flatnonzero(idle)
            self._put(rows, self._solve(rows, self.labels[rows]))
        shift = segment_lengths(self.metric, start[moved], self.centers[moved], order=8)
        left = np.maximum(self.lower[:, moved] - shift, 0.0)
        # A geodesic that failed says nothing of one from another place.
        self.lower[:, moved] = np.where(np.isinf(left), 0.0, left)
        if moved.size:
            self._bound()
        return largest

    def refresh(self) -> bool:
        """Search for shorter geodesics to the points' own centers; whether there were any."""
        rows = np.flatnonzero(self.labels >= 0)
        found, gained = shorter(self.logs.take(rows), self._solve(rows, self.labels[rows]))
        self._put(rows, found)
        return gained

    def run(self, *, tol: float, max_iter: int, progress=None) -> tuple[bool, list[float]]:
        """Alternate until nothing changes; whether it converged, and the inertia of each round."""
        history, checked = [], False
        for iteration in range(max_iter):
            changed = self.assign() + self.fill_empty()
            history.append(self.inertia)
            if progress is not None:
                progress(iteration + 1)
            gradient = self.move(tol=tol, max_steps=1 if changed else 3)
            if changed or gradient > tol:
                checked = False
                continue
            if not checked and self.refresh():
                checked = True
            elif self.assign() == 0:
                return True, [*history, self.inertia]
        return False, [*history, self.inertia]
