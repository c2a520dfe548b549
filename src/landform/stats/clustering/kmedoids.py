"""K-medoids: clusters around data points, from distances alone."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.sparse import csgraph

from landform._core import display
from landform._core.arrays import is_traced, precise, to_jax
from landform._core.checks import (
    as_count,
    as_floats,
    as_numpy,
    as_points,
    as_weights,
    check_choice,
    check_finite,
    host_rng,
)
from landform._core.status import AbstractOutcome, Status, outcome, raise_if_failed
from landform._core.typing import Array, Bool, Float, Int, PRNGKeyArray
from landform.geodesics.distances import pairwise_distances
from landform.metrics.base import AbstractMetric, check_metric
from landform.solvers.base import AbstractSolver
from landform.stats.clustering.lloyd import plus_plus

_DIAGONAL_RTOL = 1e-3  # rounding of distances to itself, as of roots of differences
_SYMMETRY_RTOL = 1e-5  # rounding in single precision
_MIN_RELATIVE_GAIN = 1e-12  # of a swap; smaller ones are rounding


class KMedoidsResult(AbstractOutcome):
    """A clustering by medoids, as `kmedoids` and `geodesic_kmedoids` return it.

    Attributes
    ----------
    medoids
        Indices of the medoids, shape ``(k,)``.
    labels
        The cluster of each point, shape ``(n,)``.
    distances
        The distance of each point to its medoid, shape ``(n,)``.
    inertia
        Σ w d, the weighted sum of these.
    history
        The inertia at the start and after each improvement.
    converged
        Whether no improvement is left and, for `geodesic_kmedoids`, no geodesic failed.
    status
        Why not, as a `Status` code; `reason` says it in words.
    n_failed
        Pairs of points whose geodesic failed and was bridged by a chain of others.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> x = np.array([0.0, 1.0, 2.0, 10.0, 11.0])
    >>> found = lf.kmedoids(np.abs(x[:, None] - x), 2)
    >>> found.medoids.tolist(), float(found.inertia)
    ([1, 3], 3.0)
    """

    medoids: Int[Array, " k"]
    labels: Int[Array, " n"]
    distances: Float[Array, " n"]
    inertia: Float[Array, ""]
    history: Float[Array, " steps"]
    converged: Bool[Array, ""]
    status: Int[Array, ""]
    n_failed: Int[Array, ""]

    def _summary(self):
        medoids = display.counted(len(self.medoids), "medoid")
        points = display.counted(len(self.labels), "point")
        return [medoids, points, outcome(self.status), *display.named(self, "inertia", "n_failed")]


@precise
def kmedoids(
    distances,
    n_clusters: int,
    *,
    key: PRNGKeyArray | None = None,
    weights=None,
    method: Literal["pam", "alternate"] = "pam",
    init="build",
    n_init: int = 1,
    max_iter: int = 300,
    throw: bool = True,
) -> KMedoidsResult:
    """K-medoids on a matrix of distances: the k points with the least sum of distances to them.

    Parameters
    ----------
    distances
        Dissimilarities ≥ 0, symmetric and 0 on the diagonal, shape ``(n, n)``. Pass squares for an
        objective like that of k-means.
    n_clusters
        Number of clusters k ≤ n.
    key
        A key of `jax.random`; needed only with ``init="k-means++"``.
    weights
        How often each point counts, shape ``(n,)``, not negative; once by default. Points of weight
        zero are no medoids.
    method
        ``"pam"`` makes the best exchange of a medoid for another point until none helps;
        ``"alternate"`` takes the best medoid of each cluster in turn, faster and often worse.
    init
        ``"build"``, the greedy start of PAM; ``"k-means++"``; or k indices.
    n_init
        Starts with ``init="k-means++"``, of which the best is kept.
    max_iter
        Most exchanges, or rounds.
    throw
        Raise if these run out.

    Returns
    -------
    `KMedoidsResult`.

    Raises
    ------
    TypeError, ValueError
        If the matrix is not square, symmetric, finite, ≥ 0 and 0 on the diagonal, or a number is
        out of range.
    ConvergenceError
        With ``throw=True``, if `max_iter` was reached.

    Notes
    -----
    All k (n − k) exchanges are valued exactly in O(n²), by the nearest and second-nearest medoid of
    each point: Kaufman and Rousseeuw 1990; Schubert and Rousseeuw 2021 (FastPAM).

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> x = np.array([0.0, 1.0, 2.0, 10.0, 11.0])
    >>> lf.kmedoids(np.abs(x[:, None] - x), 2).labels.tolist()
    [0, 0, 0, 1, 1]
    """
    matrix = as_distances(distances)
    arguments = _check(len(matrix), n_clusters, key, weights, method, init, n_init, max_iter)
    return _package(matrix, *arguments, failures=None, throw=throw)


@precise
def geodesic_kmedoids(
    metric: AbstractMetric,
    X,
    n_clusters: int,
    *,
    key: PRNGKeyArray | None = None,
    weights=None,
    distances: Literal["geodesic", "graph"] = "geodesic",
    method: Literal["pam", "alternate"] = "pam",
    init="build",
    n_init: int = 1,
    max_iter: int = 300,
    num_points: int = 33,
    accuracy: float = 1e-4,
    solver: AbstractSolver | None = None,
    throw: bool = True,
    progress: Callable[[int], None] | None = None,
) -> KMedoidsResult:
    """K-medoids of points of a manifold, on their geodesic distances.

    Parameters
    ----------
    metric
        The metric.
    X
        Points, shape ``(n, d)``.
    n_clusters, key, weights, method, init, n_init, max_iter
        As for `kmedoids`.
    distances
        ``"geodesic"`` solves all n (n − 1) / 2 pairs; ``"graph"`` runs shortest paths on a graph,
        a few percent too long in the plane and far too long in eight dimensions, for thousands of
        points.
    num_points, accuracy, solver
        As for `pairwise_distances`.
    throw
        Raise on failure.
    progress
        Called with the number of pairs solved.

    Returns
    -------
    `KMedoidsResult`. A pair whose geodesic failed gets the length of the shortest chain of the
    other geodesics, an upper bound, and is counted in ``n_failed``.

    Raises
    ------
    TypeError, ValueError
        For a wrong metric, shapes or numbers that do not fit, or values that are not finite.
    ConvergenceError
        With ``throw=True``, if a geodesic failed or `max_iter` was reached. Even with False, if
        some points are not joined by any chain of geodesics.

    Examples
    --------
    >>> import landform as lf
    >>> data = [[-3.0, 1.0], [-2.9, 1.0], [-2.8, 1.0], [3.0, 1.0], [3.1, 1.0]]
    >>> lf.geodesic_kmedoids(lf.PoincareHalfPlane(), data, 2).labels.tolist()
    [0, 0, 0, 1, 1]
    """
    check_metric(metric)
    X = as_points("X", X, metric.dim, ndim=(2,))
    if is_traced(metric, X):
        raise ValueError("geodesic_kmedoids cannot be called inside a transformation such as jit")
    arguments = _check(len(X), n_clusters, key, weights, method, init, n_init, max_iter)
    matrix, failures = bridged_distances(
        metric,
        X,
        distances,
        solver=solver,
        num_points=num_points,
        accuracy=accuracy,
        progress=progress,
    )
    return _package(matrix, *arguments, failures=failures, throw=throw)


def bridged_distances(metric, X, distances: str, **solve) -> tuple[np.ndarray, int]:
    """All geodesic distances, failed pairs by the shortest chain of the others; and their number.

    Raises
    ------
    ValueError
        If `distances` is neither ``"geodesic"`` nor ``"graph"``.
    ConvergenceError
        If some points are not joined by any chain.
    """
    check_choice("distances", distances, ("geodesic", "graph"))
    found = pairwise_distances(metric, X, method=distances, throw=False, **solve)  # type: ignore
    matrix = np.array(found, dtype=float)
    failed = np.isnan(matrix)
    if failed.any():
        known = np.where(failed, 0.0, np.maximum(matrix, 1e-300))
        matrix = np.where(failed, csgraph.dijkstra(known, directed=False), matrix)
    if not np.isfinite(matrix).all():
        count = int(np.sum(np.isinf(matrix).all(axis=1) | np.isinf(matrix[0])))
        raise_if_failed("distance", np.full(max(count, 1), int(Status.DISCONNECTED)))
    return matrix, int(failed.sum()) // 2


def as_distances(distances, least: int = 1) -> np.ndarray:
    """A symmetric matrix of finite distances ≥ 0, 0 to itself, between at least so many points."""
    matrix = np.asarray(as_floats("distances", distances), dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < least:
        wanted = "(n, n)" + (f" with n ≥ {least}" if least > 1 else "")
        raise ValueError(f"distances must have shape {wanted}, got {matrix.shape}")
    check_finite("distances", matrix)
    if (matrix < 0.0).any():
        raise ValueError("distances must not be negative")
    largest = matrix.max()
    if not np.allclose(matrix, matrix.T, rtol=_SYMMETRY_RTOL, atol=_SYMMETRY_RTOL * largest):
        raise ValueError("distances must be symmetric; the mean of a matrix and its transpose is")
    if (np.diag(matrix) > _DIAGONAL_RTOL * largest).any():
        raise ValueError("distances must be 0 from a point to itself, and similarities are not")
    return matrix


def _check(n, n_clusters, key, weights, method, init, n_init, max_iter):
    count = as_count("n_clusters", n_clusters, 1)
    if count > n:
        raise ValueError(f"n_clusters must be at most n_samples={n}, got {count}")
    check_choice("method", method, ("pam", "alternate"))
    as_count("n_init", n_init, 1)
    as_count("max_iter", max_iter, 1)
    weights = as_weights(weights, n)
    if count > np.count_nonzero(weights):
        raise ValueError(
            "n_clusters must be at most the number of points with a weight, "
            f"{np.count_nonzero(weights)}, got {count}"
        )
    if not isinstance(init, str):
        given = as_numpy(init)
        if given.shape != (count,) or given.dtype.kind not in "iu" or len(set(given)) < count:
            raise ValueError(f"init must hold {count} different indices, got {init!r}")
        if given.min() < 0 or given.max() >= n:
            raise ValueError(f"init must hold indices from 0 to {n - 1}, got {init!r}")
        return count, weights, method, [given], max_iter
    if init == "build":
        return count, weights, method, [None], max_iter
    if init != "k-means++":
        raise ValueError(f"init must be 'build', 'k-means++' or indices, got {init!r}")
    if key is None:
        raise ValueError("key must be given with init='k-means++'")
    return count, weights, method, [host_rng(key)] * n_init, max_iter


def _package(
    matrix, count, weights, method, starts, max_iter, *, failures, throw
) -> KMedoidsResult:
    improve = _swap if method == "pam" else alternate
    best = None
    for start in starts:
        if isinstance(start, np.random.Generator):
            start = plus_plus(start, weights, lambda rows: np.sqrt(matrix[rows]), count)
        medoids = _build(matrix, weights, count) if start is None else np.array(start)
        history = [_cost(matrix, weights, medoids)]
        settled = False
        for _ in range(max_iter):
            medoids, settled = improve(matrix, weights, medoids)
            if settled:
                break
            history.append(_cost(matrix, weights, medoids))
        if best is None or history[-1] < best[1][-1]:
            best = (medoids, history, settled)
    assert best is not None
    medoids, history, settled = best
    medoids = np.sort(medoids)
    labels = np.argmin(matrix[medoids], axis=0)
    labels[medoids] = np.arange(count)
    status = int(Status.CONVERGED) if settled else int(Status.MAX_STEPS)
    status = max(status, int(Status.UNRESOLVED)) if failures else status
    result = KMedoidsResult(
        medoids=to_jax(medoids),
        labels=to_jax(labels),
        distances=to_jax(matrix[medoids[labels], np.arange(len(matrix))]),
        inertia=to_jax(_cost(matrix, weights, medoids)),
        history=to_jax(history),
        converged=to_jax(status == Status.CONVERGED),
        status=to_jax(status),
        n_failed=to_jax(failures or 0),
    )
    if throw:
        raise_if_failed("k-medoids", result.status, result)
    return result


def _cost(matrix, weights, medoids) -> float:
    return float(weights @ matrix[medoids].min(axis=0))


def _build(matrix, weights, count) -> np.ndarray:
    """PAM's greedy start: each medoid lowers the sum as far as one more can."""
    idle = weights == 0.0
    chosen = [int(np.argmin(np.where(idle, np.inf, matrix @ weights)))]
    nearest = matrix[chosen[0]]
    for _ in range(count - 1):
        totals = np.minimum(matrix, nearest) @ weights
        totals[idle] = totals[chosen] = np.inf
        chosen.append(int(np.argmin(totals)))
        nearest = np.minimum(nearest, matrix[chosen[-1]])
    return np.array(chosen)


def swap_gains(matrix, weights, medoids) -> np.ndarray:
    """The change of the sum when medoid i gives way to point j, for all of them: ``(k, n)``."""
    count = len(medoids)
    columns = np.arange(matrix.shape[0])
    order = np.argsort(matrix[medoids], axis=0, kind="stable")
    nearest = order[0]
    first = matrix[medoids[nearest], columns]
    second = matrix[medoids[order[1]], columns] if count > 1 else np.full(len(columns), np.inf)
    joined = np.minimum(matrix - first, 0.0)  # [j, o]: what o gains if j becomes a medoid
    shared = joined @ weights
    # A point that loses its medoid goes to j or to its second nearest instead.
    lost = np.minimum(matrix, second) - first - joined
    member = (nearest == np.arange(count)[:, None]) * weights
    gains = shared + member @ lost.T
    gains[:, medoids] = gains[:, weights == 0.0] = np.inf
    return gains


def _swap(matrix, weights, medoids):
    """The best exchange; and whether there is none."""
    gains = swap_gains(matrix, weights, medoids)
    i, j = np.unravel_index(np.argmin(gains), gains.shape)
    if not gains[i, j] < -_MIN_RELATIVE_GAIN * max(_cost(matrix, weights, medoids), 1e-300):
        return medoids, True
    out = medoids.copy()
    out[i] = j
    return out, False


def alternate(matrix, weights, medoids, costs=None):
    """The best medoid of each cluster by `costs`, by default the matrix; whether all stay."""
    costs = matrix if costs is None else costs
    labels = np.argmin(matrix[medoids], axis=0)
    labels[medoids] = np.arange(len(medoids))
    out = medoids.copy()
    for i in range(len(medoids)):
        members = np.flatnonzero(labels == i)
        totals = costs[np.ix_(members, members)] @ weights[members]
        totals[weights[members] == 0.0] = np.inf
        here = int(np.flatnonzero(members == medoids[i])[0])
        j = int(np.argmin(totals))
        if np.isfinite(totals[j]) and totals[j] < totals[here] * (1.0 - _MIN_RELATIVE_GAIN):
            out[i] = members[j]
    return out, bool((out == medoids).all())
