"""K-means with geodesic distances and Fréchet means."""

from collections.abc import Callable

import numpy as np

from landform._core import display
from landform._core.arrays import is_traced, precise, to_jax
from landform._core.checks import as_count, as_points, as_positive, as_weights, host_rng
from landform._core.status import AbstractOutcome, Status, outcome, raise_if_failed
from landform._core.typing import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray
from landform.geodesics._logarithms import connect
from landform.metrics.base import AbstractMetric, check_dtype, check_metric
from landform.solvers.base import AbstractSolver
from landform.stats.clustering.lloyd import DataGraph, Lloyd, plus_plus


class KMeansResult(AbstractOutcome):
    """A clustering by centers, as `geodesic_kmeans` returns it.

    Attributes
    ----------
    centers
        The centers, shape ``(k, d)``.
    labels
        The cluster of each point, shape ``(n,)``; −1 where every geodesic to a center failed.
    distances
        The distance of each point to its center, shape ``(n,)``; NaN where it has none.
    inertia
        Σ w d² over the points that have a cluster.
    history
        The inertia after each assignment, shape ``(iterations + 1,)``.
    converged
        Whether labels and centers settled and every point has a cluster.
    status
        Why not, as a `Status` code; `reason` says it in words.
    n_failed
        Pairs of point and center whose geodesic failed at the last attempt.
    n_solved
        Geodesics solved, of n · k in each iteration without bounds.
    metric
        The metric.

    Examples
    --------
    >>> import jax, landform as lf
    >>> data = [[0.0], [1.0], [10.0], [11.0]]
    >>> found = lf.geodesic_kmeans(lf.Euclidean(1), data, 2, key=jax.random.key(0))
    >>> sorted(found.centers.ravel().round(6).tolist()), round(float(found.inertia), 6)
    ([0.5, 10.5], 1.0)
    """

    centers: Float[Array, "k d"]
    labels: Int[Array, " n"]
    distances: Float[Array, " n"]
    inertia: Float[Array, ""]
    history: Float[Array, " iterations"]
    converged: Bool[Array, ""]
    status: Int[Array, ""]
    n_failed: Int[Array, ""]
    n_solved: Int[Array, ""]
    metric: AbstractMetric

    def _summary(self):
        sizes = [display.rows(self.centers, "center"), display.counted(len(self.labels), "point")]
        return [*sizes, outcome(self.status), *display.named(self, "inertia", "n_failed")]


@precise
def geodesic_kmeans(
    metric: AbstractMetric,
    X,
    n_clusters: int,
    *,
    key: PRNGKeyArray,
    weights=None,
    init: str | ArrayLike = "k-means++",
    n_init: int = 1,
    tol: float = 1e-3,
    max_iter: int = 100,
    num_points: int = 33,
    accuracy: float = 1e-4,
    solver: AbstractSolver | None = None,
    throw: bool = True,
    progress: Callable[[int], None] | None = None,
) -> KMeansResult:
    """K-means on a manifold: Lloyd's algorithm with geodesic distances and Fréchet means.

    Minimises ``Σ_n w_n min_k dist(x_n, c_k)²`` by giving each point its nearest center and taking
    each center towards the Fréchet mean of its points, in turn, until neither changes.

    Parameters
    ----------
    metric
        The metric.
    X
        Points, shape ``(n, d)``.
    n_clusters
        Number of clusters k ≤ n.
    key
        A key of `jax.random`.
    weights
        Weights w ≥ 0 of the points, shape ``(n,)``; equal by default.
    init
        ``"k-means++"``, on distances along a graph over the data; or centers, shape ``(k, d)``.
    n_init
        Runs from different seeds, of which the best is kept.
    tol
        Length of the mean logarithm of a cluster, over its root mean square distance, at which its
        center counts as settled.
    max_iter
        Most iterations of a run.
    num_points, accuracy, solver
        As for `geodesic`; less accurate by default than there, which changes no label in practice.
    throw
        Raise on failure. With False points without a cluster have the label −1.
    progress
        Called with the number of iterations of a run.

    Returns
    -------
    `KMeansResult`.

    Raises
    ------
    TypeError, ValueError
        For a wrong metric, shapes or numbers that do not fit, or values that are not finite.
    ConvergenceError
        With ``throw=True``, if the iterations ran out or a point has no cluster; the clustering is
        the error's ``result``.

    Notes
    -----
    Cost: n geodesics to begin with, then 2 to 3 Newton iterations for each point in each iteration,
    and the pairs near the borders between clusters. All others are ruled out by lower bounds: the
    triangle inequality, and graph distances divided by 1.1 times the largest stretch seen. An empty
    cluster restarts at the point farthest from its center. Like any k-means this is a local
    optimum. Latent spaces are clustered in this way in arXiv:1710.11379, §4.2.

    Examples
    --------
    >>> import jax, landform as lf
    >>> data = [[-3.0, 1.0], [-2.9, 1.0], [3.0, 1.0], [3.1, 1.0]]
    >>> found = lf.geodesic_kmeans(lf.PoincareHalfPlane(), data, 2, key=jax.random.key(0))
    >>> bool(found.labels[0] == found.labels[1] != found.labels[2] == found.labels[3])
    True
    """
    check_metric(metric)
    for name, value, least in (("n_init", n_init, 1), ("max_iter", max_iter, 1)):
        as_count(name, value, least)
    tol = float(as_positive("tol", tol))
    options = {"num_points": num_points, "accuracy": accuracy, "solver": solver}
    X = check_dtype(metric, as_points("X", X, metric.dim, ndim=(2,)))
    if is_traced(metric, X, weights):
        raise ValueError("geodesic_kmeans cannot be called inside a transformation such as jit")
    count = as_count("n_clusters", n_clusters, 1)
    if count > X.shape[0]:
        raise ValueError(f"n_clusters must be at most n_samples={X.shape[0]}, got {count}")
    weights = as_weights(weights, X.shape[0])
    data, rng = np.asarray(X), host_rng(key)
    given = None if isinstance(init, str) else as_points("init", init, X.shape[1], ndim=(2,))
    if given is None and init != "k-means++":
        raise ValueError(f"init must be 'k-means++' or an array of centers, got {init!r}")
    if given is not None and given.shape[0] != count:
        raise ValueError(f"init must hold {count} centers, got {given.shape[0]}")
    graph = DataGraph(metric, data)
    best = None
    for _ in range(n_init if given is None else 1):
        if given is None:
            seeds = plus_plus(rng, weights, lambda rows: graph.rows(data[rows]), count)
            start = data[seeds]
        else:
            start = np.asarray(given)
        state = Lloyd(metric, data, weights, start, options, graph)
        settled, history = state.run(tol=tol, max_iter=max_iter, progress=progress)
        lost = int(np.sum(state.labels < 0))
        rank = (lost, state.inertia)
        if best is None or rank < best[0]:
            best = (rank, state, settled, history)
    assert best is not None
    return _package(*best[1:], throw)


def _package(state: Lloyd, settled: bool, history, throw: bool) -> KMeansResult:
    lost = state.labels < 0
    status = int(Status.CONVERGED) if settled else int(Status.MAX_STEPS)
    if lost.any():
        status = int(np.max(state.reasons[lost]))
    result = KMeansResult(
        centers=to_jax(state.centers),
        labels=to_jax(state.labels),
        distances=to_jax(np.where(lost, np.nan, state.own)),
        inertia=to_jax(state.inertia),
        history=to_jax(history),
        converged=to_jax(status == Status.CONVERGED),
        status=to_jax(status),
        n_failed=to_jax(int(np.sum(np.isinf(state.lower)))),
        n_solved=to_jax(state.solved),
        metric=state.metric,
    )
    if throw:
        raise_if_failed("k-means", result.status, result)
    return result


@precise
def nearest_centers(
    metric: AbstractMetric,
    centers,
    X,
    *,
    num_points: int = 33,
    accuracy: float = 1e-4,
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest center of each row of X and the distance to it; −1 and NaN where all failed."""
    X = check_dtype(metric, as_points("X", X, metric.dim, ndim=(2,)))
    centers = np.asarray(as_points("centers", centers, X.shape[1], ndim=(2,)))
    options = {"num_points": num_points, "accuracy": accuracy}
    between = distances_to(metric, centers, centers, **options)
    state = Lloyd(metric, np.asarray(X), np.ones(X.shape[0]), centers, options, None)
    state.separate(np.nan_to_num(between, nan=0.0))
    state.assign()
    return state.labels, np.where(state.labels < 0, np.nan, state.own)


@precise
def distances_to(
    metric: AbstractMetric,
    centers,
    X,
    *,
    num_points: int = 33,
    accuracy: float = 1e-4,
    solver: AbstractSolver | None = None,
) -> np.ndarray:
    """Distances of the rows of X to the centers, ``(n, k)``; NaN where the geodesic failed."""
    X = check_dtype(metric, as_points("X", X, metric.dim, ndim=(2,)))
    centers = np.asarray(as_points("centers", centers, X.shape[1], ndim=(2,)))
    n, k = X.shape[0], len(centers)
    starts, ends = np.tile(centers, (n, 1)), np.repeat(np.asarray(X), k, axis=0)
    options = {"num_points": num_points, "accuracy": accuracy, "solver": solver}
    logs = connect(metric, starts, ends, options)
    return np.where(logs.ok, logs.length, np.nan).reshape(n, k)
