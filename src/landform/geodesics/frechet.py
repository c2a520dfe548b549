"""Fréchet means: the point with the least sum of squared geodesic distances to weighted data."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import is_traced, precise, to_jax
from landform._core.checks import as_count, as_points, as_tolerance, as_weights
from landform._core.linalg import bfgs_update
from landform._core.status import AbstractOutcome, Status, outcome, raise_if_failed, tally
from landform._core.typing import Array, Bool, Float, Int
from landform.geodesics._logarithms import Logarithms, connect, shorter, weighted_variance
from landform.geodesics._saddle import escape_saddle, tensor_at
from landform.metrics.base import AbstractMetric, check_dtype, check_metric
from landform.solvers.base import AbstractSolver

_ROUNDS = 4  # descents, each after a search for shorter curves from the mean found before
_MAX_HALVINGS = 10


class FrechetMean(AbstractOutcome):
    """A Fréchet mean with all that led to it.

    Attributes
    ----------
    point
        The mean, shape ``(d,)``.
    variance
        The weighted mean of the squared distances to it, Σ w d² / Σ w.
    logs
        Log_mean(x) for every point, shape ``(n, d)``; NaN where the geodesic failed, and at points
        of weight zero, which are not looked at.
    distances
        Distances from the mean, shape ``(n,)``; NaN at the same points.
    gradient
        |Σ w Log(x)| / Σ w over the square root of the variance, 0 at a mean.
    history
        The variance after each accepted step, shape ``(steps + 1,)``. Between descents, where
        shorter curves were found or a saddle was left, it drops without a step.
    converged
        Whether the gradient is below the tolerance and no geodesic failed.
    status
        Why not, as a `Status` code; `reason` says it in words.
    statuses
        That of each geodesic, shape ``(n,)``. Points whose geodesic failed were left out.

    Examples
    --------
    >>> import landform as lf
    >>> result = lf.fit_frechet_mean(lf.Euclidean(1), [[0.0], [2.0]])
    >>> result.point.tolist(), float(result.variance), bool(result.converged)
    ([1.0], 1.0, True)
    """

    point: Float[Array, " d"]
    variance: Float[Array, ""]
    logs: Float[Array, "n d"]
    distances: Float[Array, " n"]
    gradient: Float[Array, ""]
    history: Float[Array, " steps"]
    converged: Bool[Array, ""]
    status: Int[Array, ""]
    statuses: Int[Array, " n"]

    def _summary(self):
        values = display.named(self, "point", "variance")
        return [*values, outcome(self.status), f"logarithms: {tally(self.statuses)}"]


@precise
def frechet_mean(metric: AbstractMetric, X, weights=None, **kwargs) -> Float[Array, " d"]:
    """The Fréchet (Karcher) mean: a point with the least weighted sum of squared distances to X.

    Parameters
    ----------
    metric
        The metric.
    X
        Points, shape ``(n, d)``.
    weights
        Weights w ≥ 0 of any positive sum, shape ``(n,)``; equal by default.
    **kwargs
        Those of `fit_frechet_mean`.

    Returns
    -------
    The mean, shape ``(d,)``; NaN where it failed and ``throw=False``.

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As `fit_frechet_mean`.

    Notes
    -----
    The point of `fit_frechet_mean`, at the same cost.

    Examples
    --------
    >>> import landform as lf
    >>> data = [[0.0, 1.0], [0.0, 4.0]]  # on a vertical geodesic of the half-plane
    >>> lf.frechet_mean(lf.PoincareHalfPlane(), data).round(6).tolist()
    [0.0, 2.0]
    """
    result = fit_frechet_mean(metric, X, weights, **kwargs)
    return result.point if bool(result.converged) else jnp.full_like(result.point, jnp.nan)


@precise
def fit_frechet_mean(
    metric: AbstractMetric,
    X,
    weights=None,
    *,
    init=None,
    tol: float = 1e-8,
    max_steps: int = 50,
    num_points: int = 65,
    accuracy: float = 1e-6,
    solver: AbstractSolver | None = None,
    throw: bool = True,
    progress: Callable[[int], None] | None = None,
) -> FrechetMean:
    """The Fréchet (Karcher) mean of X, with its variance, logarithms, distances and statuses.

    A point with the least weighted sum of squared distances, ``argmin_m Σ_n w_n dist(m, x_n)²``,
    found where ``Σ_n w_n Log_m(x_n) = 0``, by quasi-Newton
    steps with a line search on the sum itself.

    Parameters
    ----------
    metric
        The metric.
    X
        Points, shape ``(n, d)``.
    weights
        Weights w ≥ 0 of any positive sum, shape ``(n,)``; equal by default.
    init
        Where to start, shape ``(d,)``. By default the better of the mean in the chart and the data
        point nearest to it: the former may lie in a hole or off the chart.
    tol
        Length of the mean logarithm, over the root mean square distance, at which to stop. A
        descent that can go no further counts as converged from ten times `accuracy`, which is what
        the curves are good for.
    max_steps
        Most steps.
    num_points, accuracy, solver
        As for `geodesic`. The solver's curves must converge: paths of graphs and grids have no
        logarithms.
    throw
        Raise on failure; with False the result says what failed.
    progress
        Called with the number of steps taken.

    Returns
    -------
    `FrechetMean`.

    Raises
    ------
    TypeError, ValueError
        For a wrong metric, shapes that do not fit, or values that are not finite.
    ConvergenceError
        With ``throw=True``, if a geodesic failed or the steps ran out; its ``result`` is a
        `FrechetMean`.

    Notes
    -----
    The mean is unique for data in a small enough ball and wherever the curvature is not positive;
    elsewhere this is a local minimum: a saddle, where symmetric data lead, is found out by trials
    in up to three directions, and left. Curves follow the moving mean, which makes each evaluation
    cheap; at the end they are compared with curves found afresh, and the descent goes on where
    those are shorter. Cost: 2 n geodesics, and then 2 to 3 Newton iterations for each point and
    step; about 5 steps, and the trials.

    Examples
    --------
    >>> import landform as lf
    >>> result = lf.fit_frechet_mean(lf.Euclidean(1), [[0.0], [4.0]], weights=[3.0, 1.0])
    >>> result.point.tolist(), float(result.variance)
    ([1.0], 3.0)
    """
    check_metric(metric)
    tol = as_tolerance("tol", tol)
    max_steps = as_count("max_steps", max_steps, 0)
    options = {"num_points": num_points, "accuracy": accuracy, "solver": solver}
    X = as_points("X", X, metric.dim, ndim=(2,))
    X = check_dtype(metric, X)
    if is_traced(metric, X, weights, init):
        raise ValueError("fit_frechet_mean cannot be called inside a transformation such as jit")
    weights = as_weights(weights, X.shape[0])
    center = None if init is None else as_points("init", init, X.shape[1], ndim=(1,))
    tol = max(tol, float(np.sqrt(jnp.finfo(X.dtype).eps)))
    used = weights > 0.0
    data, share = np.asarray(X)[used], weights[used] / weights.sum()
    descent = _search(metric, data, share, center, tol, max_steps, options, progress)
    logs = descent.logs
    status = int(np.max(logs.status, initial=int(descent.status)))

    def spread(values, fill):
        out = np.full((len(weights), *values.shape[1:]), fill, dtype=values.dtype)
        out[used] = values
        return to_jax(out)

    bad = ~logs.ok
    total = share[logs.ok].sum()
    result = FrechetMean(
        point=jnp.asarray(descent.center, X.dtype),
        variance=to_jax(weighted_variance(share, logs) / total if total > 0 else np.nan),
        logs=spread(np.where(bad[:, None], np.nan, logs.velocity), np.nan),
        distances=spread(np.where(bad, np.nan, logs.length), np.nan),
        gradient=to_jax(descent.gradient),
        history=to_jax(descent.history),
        converged=to_jax(status == Status.CONVERGED),
        status=to_jax(status),
        statuses=spread(logs.status.astype(int), int(Status.CONVERGED)),
    )
    if throw:
        raise_if_failed("Fréchet mean", result.status, result)
    return result


def _search(metric, data, weights, center, tol, max_steps, options, progress):
    """Descents from the start, until the curves followed are the shortest that are found."""
    if center is None:
        center, logs = _start(metric, data, weights, options)
    else:
        center = np.asarray(center, dtype=data.dtype)
        logs = connect(metric, center, data, options)
    descent = Descent(center, logs, np.inf, Status.MAX_STEPS, [])
    history: list[float] = []
    lower = None
    for _ in range(_ROUNDS):
        left = max_steps - max(len(history) - 1, 0)
        descent = descend(metric, data, weights, center, logs, options, tol=tol, max_steps=left)
        history += descent.history
        if progress is not None:
            progress(len(history) - 1)
        fresh = connect(metric, descent.center, data, options)
        merged, changed = shorter(descent.logs, fresh)
        descent = descent._replace(logs=merged)
        center, logs, lower = descent.center, merged, None
        if changed and descent.status != Status.MAX_STEPS:
            continue
        if descent.status == Status.CONVERGED:
            lower = escape_saddle(metric, data, weights, center, logs, options)
        if lower is None:
            break
        center, logs = lower
    if lower is not None:  # there is less variance beside the last one, too
        descent = descent._replace(status=Status.STALLED)
    return descent._replace(history=history)


def _start(metric, data, weights, options):
    """The better of the chart's mean and the data point nearest to it, with the curves from it."""
    flat = weights @ data / weights.sum()
    nearest = data[np.argmin(np.sum((data - flat) ** 2, axis=1))]
    choices = []
    for center in (flat, nearest):
        if tensor_at(metric, center) is not None:
            logs = connect(metric, center, data, options)
            missing = weights[~logs.ok].sum()
            choices.append((missing, weighted_variance(weights, logs), center, logs))
    if not choices:
        raise ValueError("X must lie where the metric is defined; it is not finite at the data")
    return min(choices, key=lambda choice: choice[:2])[2:]


class Descent(NamedTuple):
    """Where a descent ended; `status` is of the descent, not of its geodesics."""

    center: np.ndarray
    logs: Logarithms
    gradient: float
    status: Status
    history: list[float]


def descend(metric, data, weights, center, logs, options, *, tol, max_steps) -> Descent:
    """BFGS steps in the chart on ``F(m) = ½ Σ w dist(m, x)²``, started at the inverse metric.

    The first step is the mean of the logarithms. Points whose geodesic failed are left out.
    """
    total = weights.sum()
    noise = 4.0 * options["accuracy"]
    matrix = tensor_at(metric, center)
    if matrix is None:
        return Descent(center, logs, np.inf, Status.BAD_METRIC, [np.nan])
    slope, size = _gradient(weights, logs, matrix)
    inverse, renewed = np.linalg.inv(matrix) / total, True
    history = [weighted_variance(weights, logs) / total]
    for _ in range(max_steps):
        if size <= tol:
            return Descent(center, logs, size, Status.CONVERGED, history)
        step = -inverse @ slope
        if not step @ slope < 0.0:
            inverse, renewed = np.linalg.inv(matrix) / total, True
            step = -inverse @ slope
        blurred = size <= 10.0 * options["accuracy"]
        for halving in range(2 if blurred else _MAX_HALVINGS):
            factor = 0.5**halving
            trial = center + factor * step
            next_matrix = tensor_at(metric, trial)
            if next_matrix is None:
                continue
            moved = connect(metric, trial, data, options, logs)
            both = logs.ok & moved.ok
            old, new = (
                weighted_variance(weights, logs, both),
                weighted_variance(weights, moved, both),
            )
            next_slope, next_size = _gradient(weights, moved, next_matrix)
            falls = new <= old + 2e-4 * factor * (slope @ step)
            level = new <= (1.0 + noise) * old and next_size < 0.9 * size
            if both.any() and (falls or level):
                break
        else:
            if not (renewed or blurred):  # what was learned on the way may not hold here
                inverse, renewed = np.linalg.inv(matrix) / total, True
                continue
            ended = Status.CONVERGED if blurred else Status.STALLED
            return Descent(center, logs, size, ended, history)
        inverse, renewed = bfgs_update(inverse, factor * step, next_slope - slope), False
        center, logs, matrix = trial, moved, next_matrix
        slope, size = next_slope, next_size
        history.append(weighted_variance(weights, logs) / total)
    status = Status.CONVERGED if size <= tol else Status.MAX_STEPS
    return Descent(center, logs, size, status, history)


def _gradient(weights, logs, matrix):
    """The derivative of ½ Σ w d² in the chart, and its length relative to that of a typical log."""
    ok = logs.ok
    total = weights[ok].sum()
    if total == 0.0:
        return np.full(matrix.shape[0], np.nan), np.inf
    pull = weights[ok] @ logs.velocity[ok]
    scale = np.sqrt(weighted_variance(weights, logs) / total)
    length = np.sqrt(pull @ matrix @ pull) / total
    return -matrix @ pull, float(length / scale) if scale > 0 else 0.0
