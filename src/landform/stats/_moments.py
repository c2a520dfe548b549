"""One component with a covariance that is given, not profiled out: moments, and steps by Exp."""

import numpy as np

from landform._metric import metric_tensor
from landform._results import ConvergenceError
from landform.stats._logs import Logs
from landform.stats._normalizer import Table
from landform.stats._profile import Point, Setup, logarithms, second_moment, table_at
from landform.stats._rays import trace_rays


def moment_matched(setup: Setup, mean, weights, logs: Logs) -> Point:
    """A component whose covariance is the second moment of the logarithms."""
    gram = np.asarray(metric_tensor(setup.metric, mean))
    moment = second_moment(setup, mean, weights, logs, gram)[0]
    table = table_at(setup, mean, np.linalg.cholesky(moment))
    return evaluated(setup, weights, logs, table, np.linalg.inv(moment))


def evaluated(setup: Setup, weights, logs: Logs, table: Table, precision) -> Point:
    """A component by its rays and precision; its gradient is the paper's, without transport."""
    gram = np.asarray(metric_tensor(setup.metric, table.mean))
    moment, tangents, share = second_moment(setup, table.mean, weights, logs, gram)
    moments = table.moments(precision)
    objective = float(0.5 * np.sum(precision * moment) + moments.log_normalizer)
    model = np.einsum("kr,kri->i", moments.probability, table.tangents)
    slope = precision @ (model - share @ tangents)
    eye = np.eye(len(gram))
    return Point(table.mean, logs, table, eye, precision, moments, objective, slope)


def moved(setup: Setup, point: Point, vector) -> np.ndarray:
    """Exp of a tangent vector at the mean, in the normaliser's convention."""
    if not np.any(vector):
        return point.mean
    start = vector[None]
    if point.table.euclidean:
        start = start * point.table.stretch(start)[:, None]
    radii = np.ones_like(setup.grid.radii)  # in the shape of the program that is there
    end = trace_rays(setup.metric, point.mean, start, radii, rtol=setup.rtol).points[0, 0]
    if not np.isfinite(end).all():
        raise ConvergenceError("the step of the mean leaves the chart")
    return end


def least_squares_step(setup: Setup, point: Point, weights, least: float) -> Point:
    """Towards the Fréchet mean by the mean logarithm, with the second moment found there.

    The mean stays where a step would be shorter than `least`, in squared standard deviations.
    """
    gram = np.asarray(metric_tensor(setup.metric, point.mean))
    moment, tangents, share = second_moment(setup, point.mean, weights, point.logs, gram)
    step = share @ tangents
    length = float(np.sqrt(step @ np.linalg.solve(moment, step)))
    if length**2 < least:
        return moment_matched(setup, point.mean, weights, point.logs)
    mean = moved(setup, point, step / max(1.0, length))
    return moment_matched(setup, mean, weights, logarithms(setup, mean, point.logs))
