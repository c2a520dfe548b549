"""All distances between two sets of points."""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
import numpy as np

from landform._geodesic import geodesic
from landform._metric import AbstractMetric, check_metric
from landform._numerics import as_points, is_traced, precise
from landform._results import Status, raise_if_failed
from landform._typing import Array, Float
from landform.solvers.graph import attach, build_graph, distances_between
from landform.solvers.policy import EnergySolver

_BLOCK = 2048  # pairs solved per call, so that the curves of a large matrix are never all in memory


def pairwise_distances(
    metric: AbstractMetric,
    X,
    Y=None,
    *,
    method: Literal["geodesic", "graph"] = "geodesic",
    solver: EnergySolver | None = None,
    num_points: int = 65,
    accuracy: float = 1e-6,
    neighbours: int = 16,
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
        ``"geodesic"`` solves every pair. ``"graph"`` runs Dijkstra on a neighbourhood graph over
        X, Y and the metric's landmarks: an upper bound, typically 2 to 6 % too long, for thousands
        of points at once.
    solver, num_points, accuracy
        As for `geodesic`; used with ``method="geodesic"``.
    neighbours
        Neighbours of every point; used with ``method="graph"``.
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
    ``"geodesic"`` costs n (n − 1) / 2 solves; ``"graph"`` O(n (n k + n log n)) for k neighbours.

    Examples
    --------
    >>> import landform as lf
    >>> lf.pairwise_distances(lf.Euclidean(2), [[0.0, 0.0], [3.0, 4.0]]).round(9).tolist()
    [[0.0, 5.0], [5.0, 0.0]]
    """
    check_metric(metric)
    if method not in ("geodesic", "graph"):
        raise ValueError(f"method must be 'geodesic' or 'graph', got {method!r}")
    return _pairwise(
        metric, X, Y, method, solver, num_points, accuracy, neighbours, throw, progress
    )


@precise
def _pairwise(metric, X, Y, method, solver, num_points, accuracy, neighbours, throw, progress):
    X = as_points("X", X, metric.dim, ndim=(2,))
    other = X if Y is None else as_points("Y", Y, metric.dim, ndim=(2,))
    if X.shape[1] != other.shape[1]:
        raise ValueError(f"X and Y must have the same dimension, got {X.shape} and {other.shape}")
    if is_traced(metric, X, other):
        raise ValueError(
            "pairwise_distances cannot be called inside a transformation such as jit: "
            "use distance on the pairs you need"
        )
    if method == "graph":
        matrix, status = _by_graph(metric, X, other, neighbours)
    else:
        matrix, status = _by_geodesics(
            metric, X, other, Y is None, solver, num_points, accuracy, progress
        )
    result = jnp.asarray(matrix)
    if throw:
        raise_if_failed("distance", status, result)
    return result


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


def _by_graph(metric, X, Y, neighbours):
    landmarks = metric.landmarks()
    points = [np.asarray(X), np.asarray(Y)]
    if landmarks is not None:
        points.append(np.asarray(landmarks))
    graph = build_graph(metric, np.concatenate(points), neighbours=neighbours)
    matrix, index, _ = attach(metric, graph, np.concatenate(points[:2]))
    n = X.shape[0]
    distances = distances_between(matrix, index[:n], index[n:])
    status = np.where(np.isfinite(distances), int(Status.CONVERGED), int(Status.DISCONNECTED))
    return np.where(np.isfinite(distances), distances, np.nan).astype(X.dtype), status
