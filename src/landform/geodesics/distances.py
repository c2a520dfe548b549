"""All distances between two sets of points."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial import cKDTree

from landform._core.arrays import is_traced, precise, to_jax
from landform._core.checks import as_count, as_points
from landform._core.status import AbstractResult, Status, raise_if_failed
from landform._core.typing import Array, Bool, Float, Int
from landform.geodesics.geodesic import geodesic
from landform.metrics.base import AbstractMetric, check_dtype, check_metric
from landform.solvers.eikonal import box_around, grid_distances
from landform.solvers.energy import EnergySolver
from landform.solvers.graph import adjacency, build_graph, distances_between

_GRID_SIZE = {1: 501, 2: 101, 3: 21}
_BLOCK = 2048  # pairs solved per call, so that the curves of a large matrix are never all in memory


def pairwise_distances(
    metric: AbstractMetric,
    X,
    Y=None,
    *,
    method: Literal["geodesic", "graph", "grid"] = "geodesic",
    solver: EnergySolver | None = None,
    num_points: int = 65,
    accuracy: float = 1e-6,
    n_neighbors: int = 16,
    grid_size: int | None = None,
    throw: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Float[Array, "n m"]:
    """The matrix of geodesic distances between the rows of X and those of Y, or of X itself.

    Parameters
    ----------
    metric
        The metric.
    X, Y
        Points, shapes ``(n, d)`` and ``(m, d)``; Y = None stands for X, each pair solved once.
    method
        ``"geodesic"`` solves every pair. ``"graph"`` runs Dijkstra on a neighborhood graph over
        X, Y and the metric's landmarks: an upper bound, typically 2 to 6 % too long, for thousands
        of points at once; `graph_distances` measures by how much. ``"grid"``, in at most three
        dimensions, solves the eikonal equation on two regular grids from every row of X: some
        tenths of a percent off, in seconds a row, but the distance of all paths whatever in a box
        that leaves a quarter of its points' longest extent on every side, against which the other
        methods can be checked.
    solver, num_points, accuracy
        As for `geodesic`; used with ``method="geodesic"``.
    n_neighbors
        Neighbors of every point; used with ``method="graph"``.
    grid_size
        Nodes on the longest side of the coarser grid; used with ``method="grid"``. By default 501,
        101 and 21 in one, two and three dimensions.
    throw
        Raise if any pair fails; with False the failed ones are NaN.
    progress
        Called with the number of pairs finished.

    Returns
    -------
    Distances, shape ``(n, m)``; symmetric with a zero diagonal when Y is None. NaN marks failures.

    Raises
    ------
    TypeError, ValueError
        For a wrong metric, method, shapes that do not fit, or values that are not finite.
    ConvergenceError
        With ``throw=True``, if a pair failed; the matrix with its NaNs is the error's ``result``.

    Notes
    -----
    ``"geodesic"`` costs n (n − 1) / 2 solves; ``"graph"`` O(n (n k + n log n)) for k neighbors.

    Examples
    --------
    >>> import landform as lf
    >>> lf.pairwise_distances(lf.Euclidean(2), [[0.0, 0.0], [3.0, 4.0]]).round(9).tolist()
    [[0.0, 5.0], [5.0, 0.0]]
    """
    check_metric(metric)
    if method not in ("geodesic", "graph", "grid"):
        raise ValueError(f"method must be 'geodesic', 'graph' or 'grid', got {method!r}")
    if grid_size is not None:
        grid_size = as_count("grid_size", grid_size, 5)
    n_neighbors = as_count("n_neighbors", n_neighbors)
    return _pairwise(
        metric, X, Y, method, solver, num_points, accuracy, n_neighbors, grid_size, throw, progress
    )


@precise
def _pairwise(
    metric, X, Y, method, solver, num_points, accuracy, n_neighbors, grid_size, throw, progress
):
    X, other = _check_points(metric, X, Y)
    if method == "graph":
        matrix, status = _by_graph(metric, X, other, n_neighbors, Y is None)
    elif method == "grid":
        matrix, status = _by_grid(metric, X, other, Y is None, grid_size)
    else:
        matrix, status = _by_geodesics(
            metric, X, other, Y is None, solver, num_points, accuracy, progress
        )
    result = jax.device_put(matrix)
    if throw:
        raise_if_failed("distance", status, result)
    return result


def _check_points(metric, X, Y):
    X = as_points("X", X, metric.dim, ndim=(2,))
    other = X if Y is None else as_points("Y", Y, metric.dim, ndim=(2,))
    if X.shape[1] != other.shape[1]:
        raise ValueError(f"X and Y must have the same dimension, got {X.shape} and {other.shape}")
    if is_traced(metric, X, other):
        raise ValueError(
            "pairwise_distances cannot be called inside a transformation such as jit: "
            "use distance on the pairs you need"
        )
    dtype = jnp.result_type(check_dtype(metric, X), other)
    return X.astype(dtype), other.astype(dtype)


def _by_geodesics(metric, X, Y, symmetric, solver, num_points, accuracy, progress):
    n, m = X.shape[0], Y.shape[0]
    if symmetric:
        rows, columns = np.triu_indices(n, 1)
    else:
        rows, columns = (a.ravel() for a in np.indices((n, m)))
    lengths, statuses = np.zeros(rows.size), np.zeros(rows.size, dtype=int)
    for start in range(0, rows.size, _BLOCK):
        here = slice(start, start + _BLOCK)
        result = geodesic(
            metric,
            X[rows[here]],
            Y[columns[here]],
            solver=solver,
            num_points=num_points,
            accuracy=accuracy,
            throw=False,
        )
        statuses[here] = np.asarray(result.status)
        lengths[here] = np.where(np.asarray(result.converged), np.asarray(result.length), np.nan)
        if progress is not None:
            progress(min(start + _BLOCK, rows.size))
    matrix = np.zeros((n, m))
    matrix[rows, columns] = lengths
    if symmetric:
        matrix[columns, rows] = lengths
    return matrix.astype(X.dtype), statuses


class GraphDistances(AbstractResult):
    """Distances along a neighborhood graph, with what is known of their error.

    Attributes
    ----------
    matrix
        Distances, shape ``(n, m)``; NaN where there is no path.
    failed
        Where there is none, shape ``(n, m)``.
    pairs
        Indices of the pairs that were solved exactly, shape ``(k, 2)``.
    ratio
        Graph distance over geodesic distance for these pairs, shape ``(k,)``, sorted: what the
        matrix is too long by, as measured. NaN for pairs whose geodesic failed, at the end.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> points = np.random.default_rng(0).uniform(size=(300, 2))
    >>> found = lf.graph_distances(lf.Euclidean(2), points, probes=20)
    >>> bool(found.failed.any()), 1.0 <= float(found.ratio[10]) < 1.1
    (False, True)
    """

    matrix: Float[Array, "n m"]
    failed: Bool[Array, "n m"]
    pairs: Int[Array, "k 2"]
    ratio: Float[Array, " k"]


@precise
def graph_distances(
    metric: AbstractMetric,
    X,
    Y=None,
    *,
    n_neighbors: int = 16,
    probes: int = 50,
    random_state: int = 0,
) -> GraphDistances:
    """Distances along a neighborhood graph for up to 10⁵ points, with their error measured.

    Parameters
    ----------
    metric
        The metric.
    X, Y
        Points, shapes ``(n, d)`` and ``(m, d)``; Y = None stands for X. Both are vertices of the
        graph, so that with 10⁵ points on one side a few hundred on the other are the practical
        size of the matrix.
    n_neighbors
        Neighbors of every point; more of them bring the paths closer to geodesics.
    probes
        Random pairs that are solved exactly to measure the error; 0 for none.
    random_state
        Seed of the choice of these pairs.

    Returns
    -------
    `GraphDistances`.

    Raises
    ------
    TypeError, ValueError
        For a wrong metric, shapes that do not fit, or values that are not finite.

    Notes
    -----
    Distances are upper bounds, exact for the metric along the edges up to their quadrature.
    O(n k) metric evaluations and min(n, m) runs of Dijkstra's algorithm, O(n (k + log n)) each.

    Examples
    --------
    >>> import landform as lf
    >>> found = lf.graph_distances(lf.Euclidean(1), [[0.0], [1.0], [3.0]], probes=0)
    >>> found.matrix.round(12).tolist()
    [[0.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 2.0, 0.0]]
    """
    check_metric(metric)
    n_neighbors, probes = as_count("n_neighbors", n_neighbors), as_count("probes", probes, 0)
    X, other = _check_points(metric, X, Y)
    matrix, status = _by_graph(metric, X, other, n_neighbors, Y is None)
    n, m = matrix.shape
    usable = np.isfinite(matrix) & (matrix > 0.0)
    if Y is None:
        usable &= np.arange(n)[:, None] < np.arange(m)
    choices = np.flatnonzero(usable)
    rng = np.random.default_rng(random_state)
    chosen = rng.choice(choices, size=min(probes, choices.size), replace=False)
    pairs = np.stack(np.unravel_index(chosen, matrix.shape), axis=1)
    ratio = np.zeros(0)
    if chosen.size:
        exact = geodesic(metric, X[pairs[:, 0]], other[pairs[:, 1]], throw=False)
        length = np.where(np.asarray(exact.converged), np.asarray(exact.length), np.nan)
        ratio = matrix.ravel()[chosen] / length
        order = np.argsort(ratio)
        pairs, ratio = pairs[order], ratio[order]
    failed = status != int(Status.CONVERGED)
    return GraphDistances(*(to_jax(a) for a in (matrix, failed, pairs, ratio)))


def _by_graph(metric, X, Y, n_neighbors, symmetric):
    landmarks = metric.landmarks()
    points = [np.asarray(X), np.asarray(Y)]
    if landmarks is not None:
        points.append(np.asarray(landmarks))
    graph = build_graph(metric, np.concatenate(points), n_neighbors=n_neighbors)
    tree = cKDTree(graph.points)
    rows, columns = (tree.query(p)[1] for p in points[:2])
    distances = distances_between(adjacency(graph), rows, columns)
    if symmetric:  # the two directions of a path may be rounded differently
        distances = np.minimum(distances, distances.T)
    status = np.where(np.isfinite(distances), int(Status.CONVERGED), int(Status.DISCONNECTED))
    return np.where(np.isfinite(distances), distances, np.nan).astype(X.dtype), status


def _by_grid(metric, X, Y, symmetric, size):
    d = X.shape[1]
    if d > max(_GRID_SIZE):
        raise ValueError(f"method='grid' needs points with at most 3 coordinates, got {d}")
    size = _GRID_SIZE[d] if size is None else size
    x, y = np.asarray(X), np.asarray(Y)
    points = [x, y] if metric.landmarks() is None else [x, y, np.asarray(metric.landmarks())]
    box = box_around(np.concatenate(points), size)
    distances = grid_distances(metric, x, y, box).value
    if symmetric:
        distances = 0.5 * (distances + distances.T)
        np.fill_diagonal(distances, 0.0)
    status = np.where(np.isfinite(distances), int(Status.CONVERGED), int(Status.DISCONNECTED))
    return np.where(np.isfinite(distances), distances, np.nan).astype(X.dtype), status
