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

_SHORT = 1  # iterations after which starts are compared
_NEAR = 0.3  # nats per point within which a start may still catch up
_FAILED = 0.05  # share of the logarithms that may fail
_REGULAR = 1e-6  # least variance of a component, as a share of the first components' average
_STILL = 0.1  # share of the tolerance under which a mean is left alone
_POINT = 1e-20  # share of the data's variance under which components are single points
_TRIALS = 6  # lengths of a step of a mean whose shape is kept


class EMState:
    """The components of one start, with their responsibilities' history.

    Weights are positive, and count points several times. A component that fewer than d + 1 points
    belong to is `frozen`: its mean moves, but its shape stays, and nothing has converged.
    """

    def __init__(
        self, problem: FitProblem, centers, shares, weights, *, least_squares: bool = False
    ):
        logs = [problem.logarithms(center) for center in centers]
        soft = _reachable(shares, logs) * weights[:, None]
        self.weights = weights / weights.sum()
        spread, around = 0.0, np.inf
        for k, center in enumerate(centers):
            gram = np.asarray(metric_tensor(problem.metric, center))
            tangents = tangents_of(problem, center, logs[k])
            squares = np.einsum("ni,ij,nj->n", tangents, gram, tangents)
            spread += soft[:, k] @ squares / weights.sum()
            around = min(around, weights @ squares / weights.sum())
        if not spread > _POINT * around:
            spread = around
        self.problem = problem._replace(floor=_REGULAR * spread / centers.shape[1])
        self.least_squares = least_squares
        estimate = moment_matched if least_squares else profile
        self.points: list[ComponentFit] = [
            estimate(self.problem, center, soft[:, k], logs[k]) for k, center in enumerate(centers)
        ]
        self.searches = [MeanSearch() for _ in centers]
        self.shares = soft.sum(axis=0) / weights.sum()
        self.frozen = np.zeros(len(centers), dtype=bool)
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
        """Go on with all data, more directions and finer curves."""
        self.problem, self.weights = (
            problem._replace(floor=self.problem.floor),
            weights / weights.sum(),
        )
        for k, point in enumerate(self.points):
            same = len(point.logs.ok) == len(problem.X)
            logs = self.problem.logarithms(point.mean, point.logs if same else None)
            self.points[k] = point._replace(logs=logs, gradient=None)
        posterior = self._posterior()[0]
        self._freeze(posterior)
        soft = posterior * self.weights[:, None]
        for k, point in enumerate(self.points):
            if self.frozen[k]:
                new = _kept(self.problem, point, point.mean, point.logs, soft[:, k])
            elif self.least_squares:
                new = moment_matched(self.problem, point.mean, soft[:, k], point.logs)
            else:
                new = profile(self.problem, point.mean, soft[:, k], point.logs, point.whiten)
            self.points[k] = new
        self.posterior, self.converged = None, False
        self.coarse_bounds, self.bounds = self.bounds, []

    def _freeze(self, posterior):
        """Find the components of too few points for a shape, however heavy these are.

        A single one has all points, and the floor under its variances where they are few.
        """
        size = posterior.sum(axis=0) ** 2 / np.maximum((posterior**2).sum(axis=0), 1e-300)
        self.frozen = (size < self.problem.X.shape[1] + 1) & (len(self.points) > 1)

    def _expect(self):
        self.posterior, bound = self._posterior()
        self.bounds.append(bound)

    def _posterior(self):
        """Responsibilities, and the mean log-likelihood per unit of weight against dM."""
        joint = np.stack([_log_density(self.problem, p) for p in self.points], axis=1)
        joint = joint + np.log(np.maximum(self.shares, 1e-300))
        known = np.asarray(np.isfinite(joint).any(axis=1))
        total = np.where(known, logsumexp(np.where(known[:, None], joint, 0.0), axis=1), 0.0)
        posterior = np.where(known[:, None], np.exp(joint - total[:, None]), 0.0)
        return posterior, float(self.weights @ total / self.weights[known].sum())

    def _maximise(self, posterior, tol):
        self._freeze(posterior)
        soft = posterior * self.weights[:, None]
        self.shares = soft.sum(axis=0) / soft.sum()
        for k, point in enumerate(self.points):
            if self.frozen[k]:
                self.points[k] = _shifted(
                    self.problem, point, soft[:, k], _STILL * tol, least_squares=self.least_squares
                )
                continue
            if self.least_squares:
                self.points[k] = least_squares_step(self.problem, point, soft[:, k], _STILL * tol)
                continue
            point = self.searches[k].prepared(
                self.problem, reweight(self.problem, point, soft[:, k]), soft[:, k]
            )
            if 0.5 * point.slope**2 * self.shares[k] > _STILL * tol:
                point, _ = self.searches[k].advance(self.problem, point, soft[:, k], _STILL * tol)
            self.points[k] = point
        self._check()

    def _check(self):
        failed = 1.0 - np.mean([self.weights @ p.logs.ok for p in self.points])
        if failed > _FAILED:
            raise ConvergenceError(
                f"{100 * failed:.0f} % of the geodesics between data and means failed (limit 5 %); "
                "the metric may be too rough: use a larger sigma or rho; or a component sits on "
                "points far from all others: leave these out"
            )


def best_run(
    problem: FitProblem,
    starts,
    weights,
    max_iter: int,
    tol: float,
    *,
    follow: int,
    least_squares: bool,
) -> EMState:
    """The best of some starts, most of which are given up after one iteration.

    Short runs tell good starts from bad ones almost as well as long ones (Biernacki, Celeux and
    Govaert 2003). Up to `follow` starts within 0.3 nats of the most likely one go on, the earlier
    ones first. One that fails does not count, unless all do.
    """
    runs: list[EMState] = []
    error: Exception | None = None
    for centers, shares in starts:
        try:
            run = EMState(problem, centers, shares, weights, least_squares=least_squares)
            run.iterate(min(_SHORT, max_iter), tol)
            runs.append(run)
        except (ConvergenceError, np.linalg.LinAlgError) as failure:
            error = failure
    highest = max((run.bounds[-1] for run in runs), default=0.0)
    runs.sort(key=lambda run: max(highest - run.bounds[-1] - _NEAR, 0.0))  # stable
    ended: list[EMState] = []
    for run in runs:
        if len(ended) == follow or (ended and run.bounds[-1] < highest - _NEAR):
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


def _kept(problem: FitProblem, point: ComponentFit, mean, logs, weights) -> ComponentFit:
    """A component at another mean or on another level, with the covariance that it has."""
    precision = point.precision
    if problem.covariance_type == "spherical":
        before, after = (np.asarray(metric_tensor(problem.metric, at)) for at in (point.mean, mean))
        precision = after * (np.trace(precision) / np.trace(before))
    table = table_at(problem, mean, np.linalg.cholesky(np.linalg.inv(precision)))
    if weights @ logs.ok > 0:
        return evaluated(problem, weights, logs, table, precision)
    return point._replace(table=table, precision=precision, moments=table.moments(precision))


def _shifted(
    problem: FitProblem, point: ComponentFit, weights, least: float, *, least_squares: bool
) -> ComponentFit:
    """A component after a step of its mean alone, by at most a standard deviation.

    It lowers the objective, or goes towards the Fréchet mean. One without points stays.
    """
    if not weights @ point.logs.ok > 0:
        return point
    if least_squares:
        new = least_squares_step(problem, point, weights, least)
        return _kept(problem, point, new.mean, new.logs, weights)
    here = evaluated(problem, weights, point.logs, point.table, point.precision)
    if 0.5 * here.slope**2 <= least:
        return here
    assert here.gradient is not None
    step = -here.covariance @ here.gradient / max(1.0, here.slope)
    for halving in range(_TRIALS):
        try:
            mean = moved(problem, here, 0.5**halving * step)
            new = _kept(problem, here, mean, problem.logarithms(mean, here.logs), weights)
        except (ConvergenceError, ValueError, np.linalg.LinAlgError):
            continue  # too far
        if new.objective < here.objective:
            return new
    return here


def _log_density(problem: FitProblem, point: ComponentFit):
    """log p(x_n) of one component, −∞ where its logarithm failed: no density is made up there."""
    tangents = tangents_of(problem, point.mean, point.logs)
    form = np.einsum("ni,ij,nj->n", tangents, point.precision, tangents)
    return np.where(point.logs.ok, -0.5 * form - point.moments.log_normalizer, -np.inf)
