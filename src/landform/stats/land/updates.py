"""One step of the mean after another: BFGS with a line search, the covariance profiled out."""

import numpy as np

from landform._core.linalg import bfgs_update
from landform._core.status import ConvergenceError
from landform.geodesics._logarithms import Logarithms
from landform.metrics.base import metric_tensor
from landform.stats.land.normalizer import RayTable
from landform.stats.land.objective import (
    ComponentFit,
    FitProblem,
    profile,
    second_moment,
    table_at,
    with_gradient,
)
from landform.stats.land.rays import trace_rays

_MAX_TRIALS = 8  # lengths of a step before the search gives up
_MIN_PROMISE = 0.1  # of the tolerance: gain that a step must promise to be tried


class History:
    """What happened in every accepted step."""

    def __init__(self):
        self.rows = []

    def add(self, point: ComponentFit, step):
        """One more accepted step."""
        failures = int((~point.logs.ok).sum())
        self.rows.append((point.objective, point.moments.stderr, step, point.slope, failures))

    def arrays(self) -> dict[str, np.ndarray]:
        """The columns by name."""
        names = ("objective", "stderr", "step", "gradient", "failures")
        return {n: np.asarray(c) for n, c in zip(names, zip(*self.rows, strict=True), strict=True)}


class MeanSearch:
    """BFGS with Σ as the first inverse Hessian, for one mean."""

    def __init__(self):
        self.inverse = None

    def run(self, problem: FitProblem, point: ComponentFit, weights, max_iter: int, tol: float):
        """Steps until one gains less than `tol` and the next promises less; a history with them.

        Without progress, along the gradient too, it ends: converged if what is promised is hidden
        by the objective's own error.
        """
        point = self.prepared(problem, point, weights)
        history = History()
        history.add(point, 0.0)
        hidden = problem.rtol + point.mean.size * problem.accuracy
        for _ in range(max_iter):
            fresh = self.inverse is None
            new, step = self.advance(problem, point, weights, _MIN_PROMISE * tol)
            gain = point.objective - new.objective
            small = 0.5 * new.slope**2 < tol
            point = new
            if step > 0:
                history.add(point, step)
            if small and gain < tol:
                return point, history, True
            if step == 0 and (fresh or 0.5 * point.slope**2 < hidden):
                return point, history, bool(0.5 * point.slope**2 < hidden)
        return point, history, False

    def prepared(self, problem: FitProblem, point: ComponentFit, weights) -> ComponentFit:
        """The point with its gradient, computed where it is not known yet."""
        if point.gradient is not None:
            return point
        if problem.normalizer == "paper":
            return self._with_differences(problem, point, weights)
        return with_gradient(problem, point, weights)

    def advance(
        self, problem: FitProblem, point: ComponentFit, weights, least=0.0
    ) -> tuple[ComponentFit, float]:
        """One step that lowers the objective, and its length in standard deviations; or neither.

        Steps that promise a gain under `least` are not tried.
        """
        point = self.prepared(problem, point, weights)
        assert point.gradient is not None
        if self.inverse is None or point.gradient @ self.inverse @ point.gradient <= 0:
            self.inverse = point.covariance
        direction = -self.inverse @ point.gradient
        size = np.sqrt(direction @ point.precision @ direction)
        if size > 1.0:
            direction, size = direction / size, 1.0
        slope, share = direction @ point.gradient, 1.0
        for _ in range(_MAX_TRIALS):
            new = self._attempt(problem, point, weights, share * direction)
            shorter = 0.25
            if new is not None:
                rise = new.objective - point.objective
                if rise < 1e-13:
                    new = self.prepared(problem, new, weights)
                    # At the minimum the objective only shows rounding; the gradient then decides.
                    if rise < 0 or new.slope < point.slope:
                        self._update(point, new)
                        return new, float(share * size)
                shorter = np.clip(-0.5 * slope * share / (rise - slope * share), 0.1, 0.5)
            share *= shorter
            if -slope * share < least:
                break
        self.inverse = None
        return point, 0.0

    def _with_differences(self, problem, point: ComponentFit, weights) -> ComponentFit:
        """The gradient by central differences, a fiftieth of a standard deviation apart.

        The derivative of the paper's constant is not an average that the rays give.
        """
        root = 0.02 * np.linalg.cholesky(point.covariance)
        slopes = np.zeros(len(root))
        for i, move in enumerate(root.T):
            ends = [self._attempt(problem, point, weights, sign * move) for sign in (1.0, -1.0)]
            if ends[0] is not None and ends[1] is not None:
                slopes[i] = 0.5 * (ends[0].objective - ends[1].objective)
        return point._replace(gradient=np.linalg.solve(root.T, slopes))

    def _attempt(self, problem, point: ComponentFit, weights, move) -> ComponentFit | None:
        mean = point.mean + move
        try:
            logs = problem.logarithms(mean, point.logs)
            return profile(problem, mean, weights, logs, point.whiten)
        except (ConvergenceError, ValueError, np.linalg.LinAlgError):
            return None  # too far: the line search goes on with a shorter step

    def _update(self, old: ComponentFit, new: ComponentFit):
        assert old.gradient is not None
        assert new.gradient is not None
        if self.inverse is not None:
            step, change = new.mean - old.mean, new.gradient - old.gradient
            self.inverse = bfgs_update(self.inverse, step, change)


def moment_matched(problem: FitProblem, mean, weights, logs: Logarithms) -> ComponentFit:
    """A component whose covariance is the second moment of the logarithms."""
    gram = np.asarray(metric_tensor(problem.metric, mean))
    moment = second_moment(problem, mean, weights, logs, gram)[0]
    table = table_at(problem, mean, np.linalg.cholesky(moment))
    return evaluated(problem, weights, logs, table, np.linalg.inv(moment))


def evaluated(
    problem: FitProblem, weights, logs: Logarithms, table: RayTable, precision
) -> ComponentFit:
    """A component by its rays and precision; its gradient is the paper's, without transport."""
    gram = np.asarray(metric_tensor(problem.metric, table.mean))
    moment, tangents, share = second_moment(problem, table.mean, weights, logs, gram)
    moments = table.moments(precision)
    objective = float(0.5 * np.sum(precision * moment) + moments.log_normalizer)
    model = np.einsum("kr,kri->i", moments.probability, table.tangents)
    slope = precision @ (model - share @ tangents)
    eye = np.eye(len(gram))
    return ComponentFit(table.mean, logs, table, eye, precision, moments, objective, slope)


def moved(problem: FitProblem, point: ComponentFit, vector) -> np.ndarray:
    """Exp of a tangent vector at the mean, in the normalizer's convention."""
    if not np.any(vector):
        return point.mean
    start = vector[None]
    if point.table.euclidean:
        start = start * point.table.stretch(start)[:, None]
    radii = np.ones_like(problem.grid.radii)  # in the shape of the program that is there
    end = trace_rays(problem.metric, point.mean, start, radii, rtol=problem.rtol).points[0, 0]
    if not np.isfinite(end).all():
        raise ConvergenceError("the step of the mean leaves the chart")
    return end


def least_squares_step(
    problem: FitProblem, point: ComponentFit, weights, least: float
) -> ComponentFit:
    """Towards the Fréchet mean by the mean logarithm, with the second moment found there.

    The mean stays where a step would be shorter than `least`, in squared standard deviations.
    """
    gram = np.asarray(metric_tensor(problem.metric, point.mean))
    moment, tangents, share = second_moment(problem, point.mean, weights, point.logs, gram)
    step = share @ tangents
    length = float(np.sqrt(step @ np.linalg.solve(moment, step)))
    if length**2 < least:
        return moment_matched(problem, point.mean, weights, point.logs)
    mean = moved(problem, point, step / max(1.0, length))
    return moment_matched(problem, mean, weights, problem.logarithms(mean, point.logs))
