"""Spectral clustering from distances: neighbors' similarities with a scale for each point."""

import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np

from landform._core import display
from landform._core.arrays import is_traced, precise, to_jax
from landform._core.checks import as_count, as_points, as_weights, check_choice, host_rng
from landform._core.status import AbstractOutcome, Status, outcome, raise_if_failed
from landform._core.typing import Array, Bool, Float, Int, PRNGKeyArray
from landform.metrics.base import AbstractMetric, check_metric
from landform.solvers.base import AbstractSolver
from landform.stats.clustering.kmedoids import as_distances, bridged_distances

ASSIGNMENTS = ("cluster_qr", "kmeans", "discretize")


class SpectralClusters(AbstractOutcome):
    """A clustering by the spectrum of similarities, as `spectral_clusters` returns it.

    Attributes
    ----------
    labels
        The cluster of each point, shape ``(n,)``.
    affinity
        Similarities ``exp(−d² / (s_i s_j))``, symmetric, shape ``(n, n)``.
    scales
        The local scale s of each point, shape ``(n,)``.
    converged
        Whether no geodesic failed.
    status
        Why not, as a `Status` code; `reason` says it in words.
    n_failed
        Pairs of points whose geodesic failed and was bridged by a chain of others.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> x = np.array([0.0, 1.0, 2.0, 10.0, 11.0])
    >>> found = lf.spectral_clusters(np.abs(x[:, None] - x), 2, n_neighbors=1)
    >>> bool(found.converged), found.scales.tolist()
    (True, [1.0, 1.0, 1.0, 1.0, 1.0])
    """

    labels: Int[Array, " n"]
    affinity: Float[Array, "n n"]
    scales: Float[Array, " n"]
    converged: Bool[Array, ""]
    status: Int[Array, ""]
    n_failed: Int[Array, ""]

    def _summary(self):
        points = display.counted(len(self.labels), "point")
        if is_traced(self.labels):
            return [points]
        clusters = display.counted(len(np.unique(self.labels)), "cluster")
        return [clusters, points, outcome(self.status), *display.named(self, "n_failed")]


@precise
def spectral_clusters(
    distances,
    n_clusters: int,
    *,
    key: PRNGKeyArray | None = None,
    weights=None,
    n_neighbors: int = 7,
    assign_labels: str = "cluster_qr",
) -> SpectralClusters:
    """Spectral clustering on a matrix of distances: groups that are joined by chains of neighbors.

    Similarities are ``A_ij = exp(−d_ij² / (s_i s_j))`` with the local scale s_i, the distance of
    point i to its seventh neighbor: dense and sparse clusters are judged alike, and no bandwidth
    has to be chosen. Labels come from the first eigenvectors of the normalised Laplacian of A.

    Parameters
    ----------
    distances
        Distances ≥ 0, symmetric and 0 on the diagonal, shape ``(n, n)``.
    n_clusters
        Number of clusters k ≤ n.
    key
        A key of `jax.random` for the start of the eigensolver and of k-means; None for a fixed one.
    weights
        How often each point counts, shape ``(n,)``, not negative; None for once. They count
        neighbors in the local scale, and cuts weigh ``w_i w_j A_ij``. Points of weight zero join
        the cluster of the most similar point that has one.
    n_neighbors
        Which neighbor's distance is the local scale; 7 in the paper. At most n − 1 are used. Where
        that many points coincide, the scale is the distance to the nearest other point.
    assign_labels
        From eigenvectors to labels: ``"cluster_qr"`` (no random start), ``"kmeans"`` or
        ``"discretize"``, those of scikit-learn.

    Returns
    -------
    `SpectralClusters`.

    Raises
    ------
    TypeError, ValueError
        If the matrix is not square, symmetric, finite, ≥ 0 and 0 on the diagonal, or an argument is
        out of range. A matrix with NaN, such as `pairwise_distances` gives for failed pairs with
        ``throw=False``, is refused: `geodesic_spectral` bridges these.

    Notes
    -----
    Zelnik-Manor and Perona 2004 (Advances in Neural Information Processing Systems 17); the
    eigenproblem is scikit-learn's, O(n³) at worst.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> x = np.array([0.0, 1.0, 2.0, 10.0, 11.0])
    >>> labels = lf.spectral_clusters(np.abs(x[:, None] - x), 2, n_neighbors=1).labels
    >>> (labels == labels[0]).tolist()
    [True, True, True, False, False]
    """
    matrix = as_distances(distances, least=2)
    arguments = _check(len(matrix), n_clusters, key, weights, n_neighbors, assign_labels)
    return _package(matrix, *arguments, failures=0)


@precise
def geodesic_spectral(
    metric: AbstractMetric,
    X,
    n_clusters: int,
    *,
    key: PRNGKeyArray | None = None,
    weights=None,
    n_neighbors: int = 7,
    assign_labels: str = "cluster_qr",
    distances: Literal["geodesic", "graph"] = "geodesic",
    num_points: int = 33,
    accuracy: float = 1e-4,
    solver: AbstractSolver | None = None,
    throw: bool = True,
    progress: Callable[[int], None] | None = None,
) -> SpectralClusters:
    """Spectral clustering of points of a manifold, on their geodesic distances.

    Parameters
    ----------
    metric
        The metric.
    X
        Points, shape ``(n, d)``.
    n_clusters, key, weights, n_neighbors, assign_labels
        As for `spectral_clusters`.
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
    `SpectralClusters`. A pair whose geodesic failed gets the length of the shortest chain of the
    other geodesics, an upper bound, and is counted in ``n_failed``.

    Raises
    ------
    TypeError, ValueError
        For a wrong metric, shapes or numbers that do not fit, or values that are not finite.
    ConvergenceError
        With ``throw=True``, if a geodesic failed. Even with False, if some points are not joined
        by any chain of geodesics.

    Examples
    --------
    >>> import landform as lf
    >>> data = [[-3.0, 1.0], [-2.9, 1.0], [-2.8, 1.0], [3.0, 1.0], [3.1, 1.0]]
    >>> labels = lf.geodesic_spectral(lf.PoincareHalfPlane(), data, 2, n_neighbors=1).labels
    >>> (labels == labels[0]).tolist()
    [True, True, True, False, False]
    """
    check_metric(metric)
    X = as_points("X", X, metric.dim, ndim=(2,))
    if is_traced(metric, X):
        raise ValueError("geodesic_spectral cannot be called inside a transformation such as jit")
    arguments = _check(len(X), n_clusters, key, weights, n_neighbors, assign_labels)
    matrix, failures = bridged_distances(
        metric,
        X,
        distances,
        solver=solver,
        num_points=num_points,
        accuracy=accuracy,
        progress=progress,
    )
    result = _package(matrix, *arguments, failures=failures)
    if throw:
        raise_if_failed("spectral clustering", result.status, result)
    return result


def _check(n, n_clusters, key, weights, n_neighbors, assign_labels):
    count = as_count("n_clusters", n_clusters, 1)
    if count > n:
        raise ValueError(f"n_clusters must be at most n_samples={n}, got {count}")
    weights = as_weights(weights, n)
    if count > np.count_nonzero(weights):
        raise ValueError(
            "n_clusters must be at most the number of points with a weight, "
            f"{np.count_nonzero(weights)}, got {count}"
        )
    as_count("n_neighbors", n_neighbors, 1)
    check_choice("assign_labels", assign_labels, ASSIGNMENTS)
    seed = 0 if key is None else int(host_rng(key).integers(2**31))
    return count, weights, n_neighbors, assign_labels, seed


def local_scales(matrix: np.ndarray, n_neighbors: int, weights=None) -> np.ndarray:
    """The distance of each point to its k-th neighbor, and where this is zero to the nearest other
    point; 1 where all points coincide. A point of weight w is w neighbors, and w − 1 of its own."""
    counts = np.ones(len(matrix)) if weights is None else weights
    table = np.tile(counts, (len(matrix), 1))
    np.fill_diagonal(table, np.maximum(counts - 1.0, 0.0))
    order = np.argsort(matrix, axis=1, kind="stable")
    total = np.cumsum(np.take_along_axis(table, order, axis=1), axis=1)
    goal = np.minimum(n_neighbors, total[:, -1:])
    last = np.argmax(total >= goal * (1.0 - 1e-12), axis=1)
    rows = np.arange(len(matrix))
    scales = matrix[rows, order[rows, last]]
    positive = np.where(matrix > 0.0, matrix, np.inf).min(axis=1)
    scales = np.where(scales > 0.0, scales, positive)
    return np.where(np.isfinite(scales), scales, 1.0)


def _package(
    matrix, count, weights, n_neighbors, assign_labels, seed, *, failures
) -> SpectralClusters:
    from sklearn.cluster import spectral_clustering

    matrix = 0.5 * (matrix + matrix.T)
    np.fill_diagonal(matrix, 0.0)
    scales = local_scales(matrix, n_neighbors, weights)
    affinity = np.exp(-(matrix / scales) * (matrix / scales[:, None]))
    used = np.flatnonzero(weights)
    if count in (1, len(used)):  # nothing to solve
        found = np.arange(len(used)) % count
    else:
        similarity = affinity[np.ix_(used, used)] * weights[used] * weights[used][:, None]
        with warnings.catch_warnings():  # clusters whose similarities underflow are clusters
            warnings.filterwarnings("ignore", "Graph is not fully connected")
            found = spectral_clustering(
                similarity, n_clusters=count, assign_labels=assign_labels, random_state=seed
            )
    labels = found[np.argmax(affinity[:, used], axis=1)]
    labels[used] = found
    status = int(Status.UNRESOLVED) if failures else int(Status.CONVERGED)
    return SpectralClusters(
        labels=to_jax(labels),
        affinity=to_jax(affinity),
        scales=to_jax(scales),
        converged=to_jax(not failures),
        status=to_jax(status),
        n_failed=to_jax(failures),
    )
