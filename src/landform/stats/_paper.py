"""The steps of Arvanitidis, Hansen and Hauberg 2016, algorithm 1: mean and square root in turn."""

import numpy as np

from landform._metric import metric_tensor
from landform._results import ConvergenceError
from landform.stats._moments import evaluated, moment_matched, moved
from landform.stats._profile import Point, Setup, covered, logarithms, second_moment, table_at
from landform.stats._search import History

_LONGER, _SHORTER = 1.1, 0.75  # factors of a step after success and after failure
_LEAST = 1e-6  # step at which the search has stalled


def paper_steps(setup: Setup, mean, weights, max_iter: int, tol: float):
    """Steps of the mean along mean(Log) − E_p[v] and of A along the gradient, Σ⁻¹ = AᵀA.

    A step is kept if it lowers the objective, and the next is then 1.1 times as long, else 0.75
    times. Ends when an iteration with both steps kept gains less than `tol`.
    """
    point = moment_matched(setup, mean, weights, logarithms(setup, mean))
    history = History()
    history.add(point, 0.0)
    steps = {"mean": 1.0, "root": 0.1 * float(np.trace(point.precision)) / len(point.mean)}
    least = {name: _LEAST * step for name, step in steps.items()}
    for _ in range(max_iter):
        before, kept = point.objective, 0
        for name, move in (("mean", _move_mean), ("root", _move_root)):
            new = _attempt(move, setup, point, weights, steps[name])
            success = new is not None and new.objective < point.objective
            if success:
                assert new is not None
                point, kept = new, kept + 1
                history.add(point, steps[name])
            steps[name] *= _LONGER if success else _SHORTER
        if kept == 2 and before - point.objective < tol:
            return point, history, True
        if all(steps[name] < least[name] for name in steps):
            return point, history, 0.5 * point.slope**2 < tol
    return point, history, False


def _attempt(move, setup, point, weights, step) -> Point | None:
    try:
        return move(setup, point, weights, step)
    except (ConvergenceError, ValueError, np.linalg.LinAlgError):
        return None


def _move_mean(setup, point: Point, weights, step) -> Point:
    assert point.gradient is not None
    direction = -point.covariance @ point.gradient
    mean = moved(setup, point, step * direction)
    logs = logarithms(setup, mean, point.logs)
    table = table_at(setup, mean, np.linalg.cholesky(point.covariance))
    return evaluated(setup, weights, logs, table, point.precision)


def _move_root(setup, point: Point, weights, step) -> Point:
    gram = np.asarray(metric_tensor(setup.metric, point.mean))
    moment, *_ = second_moment(setup, point.mean, weights, point.logs, gram)
    law, tangents = point.moments.probability, point.table.tangents
    model = np.einsum("kr,kri,krj->ij", law, tangents, tangents)
    root = np.linalg.cholesky(point.precision).T
    root = root - step * root @ (moment - model)
    precision = root.T @ root
    new = evaluated(setup, weights, point.logs, point.table, precision)
    if not covered(new):
        table = table_at(setup, point.mean, np.linalg.cholesky(np.linalg.inv(precision)))
        new = evaluated(setup, weights, point.logs, table, precision)
    return new
