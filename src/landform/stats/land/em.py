"""Expectation maximisation for mixtures of LANDs, from one start."""

import numpy as np
from scipy.special import logsumexp

from landform._core.status import ConvergenceError
from landform.metrics.base import metric_tensor
from landform.stats.land.objective import (
    ComponentFit,
    FitProblem,
    profile,
    reweight,
    table_at,
    tangents_of,
)
from landform.stats.land.updates import (
    MeanSearch,
    evaluated,
    least_squares_step,
    moment_matched,
    moved,
)

_TRIAL_ITERATIONS = 1  # after which starts are compared
_MAX_BEHIND = 0.3  # nats per point behind the best, for a start to be followed
_MAX_FAILED = 0.05  # share of the logarithms that may fail
_MIN_VARIANCE = 1e-6  # of a component, as a share of the first components' average
_MIN_PROMISE = 0.1  # of the tolerance: gain that a step of a mean must promise
_POINT_VARIANCE = 1e-20  # share of the data's, below which components are single points
_MAX_TRIALS = 6  # lengths of a step of a mean whose covariance is kept


class EMState:
    """The components of one start, with their responsibilities' history.

    Weights are positive, and count points several times. A component with fewer than d + 1 points
    is `frozen`: its mean moves, its covariance stays, and the iterations do not converge.
    """

    def __init__(
        self,
        problem: FitProblem,
        components: list[ComponentFit],
        shares,
        weights,
        *,
        least_squares: bool = False,
    ):
        self.problem, self.components, self.shares = problem, components, shares
        self.weights = weights / weights.sum()
        self.least_squares = least_squares
        self.searches = [MeanSearch() for _ in components]
        self.frozen = np.zeros(len(components), dtype=bool)
        self.steps = 0
        self.bounds: list[float] = []
        self.coarse_bounds: list[float] = []
        self.posterior: np.ndarray | None = None
        self.converged = False
        self._check()

    def iterate(self, max_iter: int, tol: float) -> None:
        """Alternate E- and M-steps until the likelihood gains less than `tol` per point."""
        if self.posterior is None:
            self._expect()
        for _ in range(max_iter):
            self._maximise(self.posterior, tol)
            self._expect()
            self.steps += 1
            gain = self.bounds[-1] - self.bounds[-2]
            if (abs(gain) if self.least_squares else gain) < tol:
                self.converged = not self.frozen.any()
                return

    def refine(self, problem: FitProblem, weights) -> None:
        """Continue with all data, more directions and finer curves."""
        self.problem, self.weights = (
            problem._replace(floor=self.problem.floor),
            weights / weights.sum(),
        )
        for k, component in enumerate(self.components):
            same = len(component.logs.ok) == len(problem.X)
            logs = self.problem.logarithms(component.mean, component.logs if same else None)
            self.components[k] = component._replace(logs=logs, gradient=None)
        posterior = self._posterior()[0]
        self._freeze(posterior)
        soft = posterior * self.weights[:, None]
        for k, component in enumerate(self.components):
            if self.frozen[k]:
                new = _kept(self.problem, component, component.mean, component.logs, soft[:, k])
            elif self.least_squares:
                new = moment_matched(self.problem, component.mean, soft[:, k], component.logs)
            else:
                new = profile(
                    self.problem, component.mean, soft[:, k], component.logs, component.whiten
                )
            self.components[k] = new
        self.posterior, self.converged = None, False
        self.coarse_bounds, self.bounds = self.bounds, []

    def _freeze(self, posterior):
        """Find the components with too few points for a covariance, whichever weights these have.

        A single component has all points; where they are few, its variances have a floor.
        """
        size = posterior.sum(axis=0) ** 2 / np.maximum((posterior**2).sum(axis=0), 1e-300)
        self.frozen = (size < self.problem.X.shape[1] + 1) & (len(self.components) > 1)

    def _expect(self):
        self.posterior, bound = self._posterior()
        self.bounds.append(bound)

    def _posterior(self):
        """Responsibilities, and the mean log-likelihood per unit of weight against dM."""
        joint = np.stack([_log_density(self.problem, p) for p in self.components], axis=1)
        joint = joint + np.log(np.maximum(self.shares, 1e-300))
        known = np.asarray(np.isfinite(joint).any(axis=1))
        total = np.where(known, logsumexp(np.where(known[:, None], joint, 0.0), axis=1), 0.0)
        posterior = np.where(known[:, None], np.exp(joint - total[:, None]), 0.0)
        return posterior, float(self.weights @ total / self.weights[known].sum())

    def _maximise(self, posterior, tol):
        self._freeze(posterior)
        soft = posterior * self.weights[:, None]
        self.shares, least = soft.sum(axis=0) / soft.sum(), _MIN_PROMISE * tol
        for k, component in enumerate(self.components):
            if self.frozen[k]:
                self.components[k] = _shifted(
                    self.problem, component, soft[:, k], least, least_squares=self.least_squares
                )
                continue
            if self.least_squares:
                self.components[k] = least_squares_step(self.problem, component, soft[:, k], least)
                continue
            component = self.searches[k].prepared(
                self.problem, reweight(self.problem, component, soft[:, k]), soft[:, k]
            )
            if 0.5 * component.slope**2 * self.shares[k] > least:
                component, _ = self.searches[k].advance(self.problem, component, soft[:, k], least)
            self.components[k] = component
        self._check()

    def _check(self):
        failed = 1.0 - np.mean([self.weights @ p.logs.ok for p in self.components])
        if failed > _MAX_FAILED:
            raise ConvergenceError(
                f"{100 * failed:.0f} % of the geodesics between data and means failed (limit 5 %); "
                "the metric may be too rough: use a larger sigma or rho; or a component sits on "
                "points far from all others: leave these out"
            )


def first_state(
    problem: FitProblem, centers, shares, weights, *, least_squares: bool = False
) -> EMState:
    """The components of a start, fitted to memberships ``(n, k)`` around centers ``(k, d)``."""
    logs = [problem.logarithms(center) for center in centers]
    soft = _reachable(shares, logs) * weights[:, None]
    spread, around = 0.0, np.inf
    for k, center in enumerate(centers):
        gram = np.asarray(metric_tensor(problem.metric, center))
        tangents = tangents_of(problem, center, logs[k])
        squares = np.einsum("ni,ij,nj->n", tangents, gram, tangents)
        spread += soft[:, k] @ squares / weights.sum()
        around = min(around, weights @ squares / weights.sum())
    if not spread > _POINT_VARIANCE * around:
        spread = around
    problem = problem._replace(floor=_MIN_VARIANCE * spread / centers.shape[1])
    fit = moment_matched if least_squares else profile
    components = [fit(problem, c, soft[:, k], logs[k]) for k, c in enumerate(centers)]
    shares = soft.sum(axis=0) / weights.sum()
    return EMState(problem, components, shares, weights, least_squares=least_squares)


def best_state(
    problem: FitProblem,
    starts,
    weights,
    max_iter: int,
    tol: float,
    *,
    follow: int,
    least_squares: bool,
) -> EMState:
    """The best of several starts; most are given up after one iteration.

    Short runs tell good starts from bad ones almost as well as long ones (Biernacki, Celeux and
    Govaert 2003). Up to `follow` starts within 0.3 nats of the most likely one go on, the earlier
    ones first. One that fails does not count, unless all do.
    """
    runs: list[EMState] = []
    error: Exception | None = None
    for centers, shares in starts:
        try:
            run = first_state(problem, centers, shares, weights, least_squares=least_squares)
            run.iterate(min(_TRIAL_ITERATIONS, max_iter), tol)
            runs.append(run)
        except (ConvergenceError, np.linalg.LinAlgError) as failure:
            error = failure
    highest = max((run.bounds[-1] for run in runs), default=0.0)
    runs.sort(key=lambda run: max(highest - run.bounds[-1] - _MAX_BEHIND, 0.0))  # stable
    ended: list[EMState] = []
    for run in runs:
        if len(ended) == follow or (ended and run.bounds[-1] < highest - _MAX_BEHIND):
            break
        try:
            if not run.converged:
                run.iterate(max_iter - run.steps, tol)
            ended.append(run)
        except (ConvergenceError, np.linalg.LinAlgError) as failure:
            error = failure
    if not ended:
        assert error is not None
        raise error
    return max(ended, key=lambda run: (run.bounds[-1], run.converged))


def _reachable(shares, logs) -> np.ndarray:
    """Shares of the points in components that have a geodesic to them, as the E-step gives them.

    A point without any counts for none; how many of these there may be is judged by all data.
    """
    left = shares * np.stack([log.ok for log in logs], axis=1)
    total = left.sum(axis=1, keepdims=True)
    if not (left.sum(axis=0) > 0.0).all():
        raise ConvergenceError(
            "no point of a component has a geodesic to its mean; the metric may be too rough: use "
            "a larger sigma or rho"
        )
    return np.divide(left, total, out=left, where=total > 0.0)


def _kept(problem: FitProblem, component: ComponentFit, mean, logs, weights) -> ComponentFit:
    """A component with another mean or other logarithms, and the covariance that it had."""
    precision = component.precision
    if problem.covariance_type == "spherical":
        before, after = (
            np.asarray(metric_tensor(problem.metric, at)) for at in (component.mean, mean)
        )
        precision = after * (np.trace(precision) / np.trace(before))
    table = table_at(problem, mean, np.linalg.cholesky(np.linalg.inv(precision)))
    if weights @ logs.ok > 0:
        return evaluated(problem, weights, logs, table, precision)
    return component._replace(table=table, precision=precision, moments=table.moments(precision))


def _shifted(
    problem: FitProblem, component: ComponentFit, weights, least: float, *, least_squares: bool
) -> ComponentFit:
    """A component after a step of its mean alone, by at most a standard deviation.

    It lowers the objective, or goes towards the Fréchet mean. One without points stays.
    """
    if not weights @ component.logs.ok > 0:
        return component
    if least_squares:
        new = least_squares_step(problem, component, weights, least)
        return _kept(problem, component, new.mean, new.logs, weights)
    here = evaluated(problem, weights, component.logs, component.table, component.precision)
    if 0.5 * here.slope**2 <= least:
        return here
    assert here.gradient is not None
    step = -here.covariance @ here.gradient / max(1.0, here.slope)
    for halving in range(_MAX_TRIALS):
        try:
            mean = moved(problem, here, 0.5**halving * step)
            new = _kept(problem, here, mean, problem.logarithms(mean, here.logs), weights)
        except (ConvergenceError, ValueError, np.linalg.LinAlgError):
            continue  # too far
        if new.objective < here.objective:
            return new
    return here


def _log_density(problem: FitProblem, component: ComponentFit):
    """log p(x_n) of one component, −∞ where its logarithm failed."""
    tangents = tangents_of(problem, component.mean, component.logs)
    form = np.einsum("ni,ij,nj->n", tangents, component.precision, tangents)
    return np.where(component.logs.ok, -0.5 * form - component.moments.log_normalizer, -np.inf)
