"""One step of the mean after another: BFGS with a line search, the covariance profiled out."""

import numpy as np

from landform._core.linalg import bfgs_update
from landform._core.status import ConvergenceError
from landform.geodesics._logarithms import Logarithms
from landform.metrics.base import metric_tensor
from landform.stats.land.normalizer import RayTable, stretch
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

    def add(self, component: ComponentFit, step):
        """One more accepted step."""
        failures = int((~component.logs.ok).sum())
        self.rows.append(
            (component.objective, component.moments.stderr, step, component.slope, failures)
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """The columns by name."""
        names = ("objective", "stderr", "step", "gradient", "failures")
        return {n: np.asarray(c) for n, c in zip(names, zip(*self.rows, strict=True), strict=True)}


class MeanSearch:
    """BFGS with Σ as the first inverse Hessian, for one mean."""

    def __init__(self):
        self.inverse = None

    def run(self, problem: FitProblem, component: ComponentFit, weights, max_iter: int, tol: float):
        """Steps until one gains less than `tol` and the next promises less; a history with them.

        It also ends if no step along the gradient makes progress; it has converged then if the
        gain that the gradient promises is below the objective's own error.
        """
        component = self.prepared(problem, component, weights)
        history = History()
        history.add(component, 0.0)
        hidden = problem.rtol + component.mean.size * problem.accuracy
        for _ in range(max_iter):
            fresh = self.inverse is None
            new, step = self.advance(problem, component, weights, _MIN_PROMISE * tol)
            gain = component.objective - new.objective
            small = 0.5 * new.slope**2 < tol
            component = new
            if step > 0:
                history.add(component, step)
            if small and gain < tol:
                return component, history, True
            if step == 0 and (fresh or 0.5 * component.slope**2 < hidden):
                return component, history, bool(0.5 * component.slope**2 < hidden)
        return component, history, False

    def prepared(self, problem: FitProblem, component: ComponentFit, weights) -> ComponentFit:
        """The component with its gradient, computed if it is not known yet."""
        if component.gradient is not None:
            return component
        if problem.normalizer == "paper":
            return self._with_differences(problem, component, weights)
        return with_gradient(problem, component, weights)

    def advance(
        self, problem: FitProblem, component: ComponentFit, weights, least=0.0
    ) -> tuple[ComponentFit, float]:
        """One step that lowers the objective, and its length in standard deviations, or no step.

        Steps that promise a gain under `least` are not tried.
        """
        component = self.prepared(problem, component, weights)
        assert component.gradient is not None
        if self.inverse is None or component.gradient @ self.inverse @ component.gradient <= 0:
            self.inverse = component.covariance
        direction = -self.inverse @ component.gradient
        size = np.sqrt(direction @ component.precision @ direction)
        if size > 1.0:
            direction, size = direction / size, 1.0
        slope, share = direction @ component.gradient, 1.0
        for _ in range(_MAX_TRIALS):
            new = self._attempt(problem, component, weights, share * direction)
            shorter = 0.25
            if new is not None:
                rise = new.objective - component.objective
                if rise < 1e-13:
                    new = self.prepared(problem, new, weights)
                    # At the minimum the objective only shows rounding; the gradient then decides.
                    if rise < 0 or new.slope < component.slope:
                        self._update(component, new)
                        return new, float(share * size)
                shorter = np.clip(-0.5 * slope * share / (rise - slope * share), 0.1, 0.5)
            share *= shorter
            if -slope * share < least:
                break
        self.inverse = None
        return component, 0.0

    def _with_differences(self, problem, component: ComponentFit, weights) -> ComponentFit:
        """The gradient by central differences, a fiftieth of a standard deviation apart.

        The derivative of the paper's constant is not an average that the rays give.
        """
        root = 0.02 * np.linalg.cholesky(component.covariance)
        slopes = np.zeros(len(root))
        for i, move in enumerate(root.T):
            ends = [self._attempt(problem, component, weights, sign * move) for sign in (1.0, -1.0)]
            if ends[0] is not None and ends[1] is not None:
                slopes[i] = 0.5 * (ends[0].objective - ends[1].objective)
        return component._replace(gradient=np.linalg.solve(root.T, slopes))

    def _attempt(self, problem, component: ComponentFit, weights, move) -> ComponentFit | None:
        mean = component.mean + move
        try:
            logs = problem.logarithms(mean, component.logs)
            return profile(problem, mean, weights, logs, component.whiten)
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


def moved(problem: FitProblem, component: ComponentFit, vector) -> np.ndarray:
    """Exp of a tangent vector at the mean, in the normalizer's convention."""
    if not np.any(vector):
        return component.mean
    start = vector[None]
    if component.table.euclidean:
        start = start * stretch(problem.metric, component.mean, start)[:, None]
    radii = np.ones_like(problem.grid.radii)  # one radius, repeated: this shape is compiled already
    end = trace_rays(problem.metric, component.mean, start, radii, rtol=problem.rtol).points[0, 0]
    if not np.isfinite(end).all():
        raise ConvergenceError("the step of the mean leaves the chart")
    return end


def least_squares_step(
    problem: FitProblem, component: ComponentFit, weights, least: float
) -> ComponentFit:
    """Towards the Fréchet mean by the mean logarithm, with the second moment found there.

    The mean stays where a step would be shorter than `least`, in squared standard deviations.
    """
    gram = np.asarray(metric_tensor(problem.metric, component.mean))
    moment, tangents, share = second_moment(problem, component.mean, weights, component.logs, gram)
    step = share @ tangents
    length = float(np.sqrt(step @ np.linalg.solve(moment, step)))
    if length**2 < least:
        return moment_matched(problem, component.mean, weights, component.logs)
    mean = moved(problem, component, step / max(1.0, length))
    return moment_matched(problem, mean, weights, problem.logarithms(mean, component.logs))
