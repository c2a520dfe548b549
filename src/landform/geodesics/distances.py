"""All distances between two sets of points."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import is_traced, precise, to_jax
from landform._core.checks import as_count, as_points, check_choice, seed_of
from landform._core.status import AbstractResult, raise_if_failed, succeeded
from landform._core.typing import Array, Bool, Float, Int, PRNGKeyArray
from landform.geodesics.geodesic import geodesic, where_succeeded
from landform.metrics.base import AbstractMetric, check_dtype, check_metric
from landform.solvers.base import AbstractSolver
from landform.solvers.boundary_value import EnergySolver
from landform.solvers.eikonal import EikonalSolver
from landform.solvers.routes import GraphSolver

_BLOCK = 2048  # pairs solved per call, so that the curves of a large matrix are never all in memory


@precise
def pairwise_distances(
    metric: AbstractMetric,
    X,
    Y=None,
    *,
    method: Literal["geodesic", "graph", "grid"] = "geodesic",
    solver: AbstractSolver | None = None,
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
        A short name of a solver. ``"geodesic"``, an `EnergySolver`, solves every pair. ``"graph"``,
        a `GraphSolver`, runs Dijkstra on a neighborhood graph over X, Y and the metric's landmarks:
        upper bounds for thousands of points at once, a few percent too long in two dimensions and
        far too long in eight; `graph_distances` measures by how much. ``"grid"``, an
        `EikonalSolver`, works in at most three dimensions: some tenths of a percent off, in seconds
        a row, but the least length of all paths in a box around the points.
    solver
        Any `AbstractSolver`, in place of `method`.
    num_points, accuracy
        As for `geodesic`; for solvers that solve pair by pair.
    n_neighbors
        Neighbors of every point, for ``method="graph"``.
    grid_size
        Nodes on the longest side of the coarser grid, for ``method="grid"``; None for 501, 101 and
        21 in one, two and three dimensions.
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
    X, other = _check_points(metric, X, Y)
    solver = _solver(method, solver, n_neighbors, grid_size)
    x = np.asarray(X)
    found = solver.distances(metric, x, x if Y is None else np.asarray(other))
    if found is None:
        options = {"solver": solver, "num_points": num_points, "accuracy": accuracy}
        found = _by_pairs(metric, X, other, Y is None, options, progress)
    matrix, status = found
    result = jax.device_put(matrix.astype(X.dtype))
    if throw:
        raise_if_failed("distance", status, result)
    return result


def _solver(method, solver, n_neighbors, grid_size) -> AbstractSolver:
    """The solver that a short name or the caller names."""
    check_choice("method", method, ("geodesic", "graph", "grid"))
    named = {"graph": GraphSolver(n_neighbors), "grid": EikonalSolver(grid_size)}
    if method in named:
        if solver is not None:
            raise ValueError(f"give solver= or method={method!r}, not both")
        return named[method]
    solver = EnergySolver() if solver is None else solver
    if not isinstance(solver, AbstractSolver):
        raise TypeError(f"solver must be an AbstractSolver, got {type(solver).__name__}")
    return solver


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


def _by_pairs(metric, X, Y, symmetric, options, progress):
    n, m = X.shape[0], Y.shape[0]
    if symmetric:
        rows, columns = np.triu_indices(n, 1)
    else:
        rows, columns = (a.ravel() for a in np.indices((n, m)))
    lengths, statuses = np.zeros(rows.size), np.zeros(rows.size, dtype=int)
    for start in range(0, rows.size, _BLOCK):
        here = slice(start, start + _BLOCK)
        result = geodesic(metric, X[rows[here]], Y[columns[here]], throw=False, **options)
        statuses[here] = np.asarray(result.status)
        lengths[here] = np.asarray(where_succeeded(result.status, result.length))
        if progress is not None:
            progress(min(start + _BLOCK, rows.size))
    matrix = np.zeros((n, m))
    matrix[rows, columns] = lengths
    if symmetric:
        matrix[columns, rows] = lengths
    return matrix, statuses


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

    def _summary(self):
        failed = "traced" if is_traced(self.failed) else int(np.sum(self.failed))
        ratio = (
            f"graph/geodesic={display.span(self.ratio)}"
            if len(self.pairs)
            else "error not measured"
        )
        return [f"{display.sides(self.matrix.shape)} distances", f"{failed} without a path", ratio]


@precise
def graph_distances(
    metric: AbstractMetric,
    X,
    Y=None,
    *,
    n_neighbors: int = 16,
    probes: int = 50,
    key: PRNGKeyArray | None = None,
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
    key
        Random key of the choice of these pairs; None for one fixed choice.

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
    probes = as_count("probes", probes, 0)
    X, other = _check_points(metric, X, Y)
    x = np.asarray(X)
    solver = GraphSolver(n_neighbors)
    matrix, status = solver.distances(metric, x, x if Y is None else np.asarray(other))
    matrix = matrix.astype(x.dtype)
    n, m = matrix.shape
    usable = np.isfinite(matrix) & (matrix > 0.0)
    if Y is None:
        usable &= np.arange(n)[:, None] < np.arange(m)
    choices = np.flatnonzero(usable)
    rng = np.random.default_rng(seed_of(key))
    chosen = rng.choice(choices, size=min(probes, choices.size), replace=False)
    pairs = np.stack(np.unravel_index(chosen, matrix.shape), axis=1)
    ratio = np.zeros(0)
    if chosen.size:
        exact = geodesic(metric, X[pairs[:, 0]], other[pairs[:, 1]], throw=False)
        length = np.where(np.asarray(exact.converged), np.asarray(exact.length), np.nan)
        ratio = matrix.ravel()[chosen] / length
        order = np.argsort(ratio)
        pairs, ratio = pairs[order], ratio[order]
    failed = ~succeeded(status)
    return GraphDistances(*(to_jax(a) for a in (matrix, failed, pairs, ratio)))
