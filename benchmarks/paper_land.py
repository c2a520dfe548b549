"""The steps of arXiv:1606.02518, algorithm 1, for one LAND: what `fit_land` is compared with.

The mean moves along mean(Log) − E_p[v], without the derivative of the logarithm, and Σ⁻¹ = AᵀA
along the gradient by A, in turn. Rays and geodesics are landform's, so that only the steps differ.
"""

import numpy as np

from landform._core.arrays import precise
from landform._core.status import ConvergenceError
from landform.geodesics._logarithms import accuracy_for
from landform.metrics.base import metric_tensor
from landform.stats.land.data import weighted_data
from landform.stats.land.fit import land_at
from landform.stats.land.normalizer import default_directions, make_grid
from landform.stats.land.objective import (
    ComponentFit,
    FitProblem,
    covered,
    second_moment,
    table_at,
)
from landform.stats.land.starts import central_point
from landform.stats.land.updates import History, evaluated, moment_matched, moved

_LONGER, _SHORTER = 1.1, 0.75  # factors of a step after success and after failure
_MIN_STEP = 1e-6  # relative to the first, at which the search has stalled


@precise
def fit_by_the_paper(metric, X, *, n_directions=None, max_iter=500, tol=1e-4, rtol=1e-5):
    """A LAND of data by the paper's steps, and whether they converged."""
    X, weights, _ = weighted_data(metric, X, None)
    count = default_directions(X.shape[1]) if n_directions is None else n_directions
    grid = make_grid(X.shape[1], count)
    problem = FitProblem(metric, X, grid, "exact", "full", rtol, accuracy=accuracy_for(rtol))
    start = central_point(metric, X, weights)
    found, history, converged = _steps(problem, start, weights, max_iter, tol)
    return land_at(problem, metric, found, count, None, history.arrays()), converged


def _steps(problem: FitProblem, mean, weights, max_iter: int, tol: float):
    """A step is kept if it lowers the objective; ends when one with both kept gains little."""
    found = moment_matched(problem, mean, weights, problem.logarithms(mean))
    history = History()
    history.add(found, 0.0)
    steps = {"mean": 1.0, "root": 0.1 * float(np.trace(found.precision)) / len(found.mean)}
    least = {name: _MIN_STEP * step for name, step in steps.items()}
    for _ in range(max_iter):
        before, kept = found.objective, 0
        for name, move in (("mean", _move_mean), ("root", _move_root)):
            new = _attempt(move, problem, found, weights, steps[name])
            success = new is not None and new.objective < found.objective
            if success:
                assert new is not None
                found, kept = new, kept + 1
                history.add(found, steps[name])
            steps[name] *= _LONGER if success else _SHORTER
        if kept == 2 and before - found.objective < tol:
            return found, history, True
        if all(steps[name] < least[name] for name in steps):
            return found, history, 0.5 * found.slope**2 < tol
    return found, history, False


def _attempt(move, problem, found, weights, step) -> ComponentFit | None:
    try:
        return move(problem, found, weights, step)
    except (ConvergenceError, ValueError, np.linalg.LinAlgError):
        return None


def _move_mean(problem, found: ComponentFit, weights, step) -> ComponentFit:
    assert found.gradient is not None
    mean = moved(problem, found, -step * found.covariance @ found.gradient)
    table = table_at(problem, mean, np.linalg.cholesky(found.covariance))
    logs = problem.logarithms(mean, found.logs)
    return evaluated(problem, weights, logs, table, found.precision)


def _move_root(problem, found: ComponentFit, weights, step) -> ComponentFit:
    gram = np.asarray(metric_tensor(problem.metric, found.mean))
    moment, *_ = second_moment(problem, found.mean, weights, found.logs, gram)
    law, tangents = found.moments.probability, found.table.tangents
    model = np.einsum("kr,kri,krj->ij", law, tangents, tangents)
    root = np.linalg.cholesky(found.precision).T
    root = root - step * root @ (moment - model)
    precision = root.T @ root
    new = evaluated(problem, weights, found.logs, found.table, precision)
    if not covered(new):
        table = table_at(problem, found.mean, np.linalg.cholesky(np.linalg.inv(precision)))
        new = evaluated(problem, weights, found.logs, table, precision)
    return new
