"""Expectation maximisation for mixtures of LANDs, from one start."""

import numpy as np
from scipy.special import logsumexp

from landform._distances import pairwise_distances
from landform._metric import metric_tensor
from landform._results import ConvergenceError
from landform.stats._moments import least_squares_step, moment_matched
from landform.stats._profile import (
    Point,
    Setup,
    logarithms,
    profile,
    reweight,
    tangents_of,
)
from landform.stats._search import Search

_CANDIDATES = 500  # data among which the first means are looked for
_ROUNDS = 20
_FAILED = 0.05  # share of the logarithms that may fail
_REGULAR = 1e-6  # least variance of a component, as a share of the first components' average
_STILL = 0.1  # share of the tolerance under which a mean is left alone


def start_medoids(metric, X, count: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Points of the data and labels, by k-medoids under graph distances, spread out at first."""
    some = X if len(X) <= _CANDIDATES else X[rng.choice(len(X), _CANDIDATES, replace=False)]
    square = np.asarray(pairwise_distances(metric, some, method="graph", throw=False)) ** 2
    finite = square[np.isfinite(square)]
    square = np.where(np.isfinite(square), square, 10.0 * finite.max() + 1.0)
    chosen = [int(rng.integers(len(some)))]
    while len(chosen) < count:
        least = square[:, chosen].min(axis=1)
        least[chosen] = 0.0
        open_ = np.setdiff1d(np.arange(len(some)), chosen)
        odds = least if least.sum() > 0 else np.isin(np.arange(len(some)), open_).astype(float)
        chosen.append(int(rng.choice(len(some), p=odds / odds.sum())))
    for _ in range(_ROUNDS):
        label = square[:, chosen].argmin(axis=1)
        label[chosen] = np.arange(count)
        members = [np.flatnonzero(label == k) for k in range(count)]
        new = [int(m[square[np.ix_(m, m)].sum(axis=0).argmin()]) for m in members]
        if new == chosen:
            break
        chosen = new
    centres = some[chosen]
    gap = np.asarray(pairwise_distances(metric, X, centres, method="graph", throw=False))
    labels = np.where(np.isfinite(gap), gap, np.inf).argmin(axis=1)
    for k, centre in enumerate(centres):
        labels[np.flatnonzero((centre == X).all(axis=1))[0]] = k
    return centres, labels


class Run:
    """The components of one start, with their responsibilities' history."""

    def __init__(self, setup: Setup, centres, labels, weights, *, least_squares: bool = False):
        count = len(centres)
        logs = [logarithms(setup, centre) for centre in centres]
        hard = np.eye(count)[labels] * weights[:, None]
        self.weights = weights / weights.sum()
        spread = 0.0
        for k, centre in enumerate(centres):
            gram = np.asarray(metric_tensor(setup.metric, centre))
            tangents = tangents_of(setup, centre, logs[k])
            squares = np.einsum("ni,ij,nj->n", tangents, gram, tangents)
            spread += hard[:, k] @ squares / weights.sum()
        if not spread > 0:
            spread = 1.0
        self.setup = setup._replace(floor=_REGULAR * spread / centres.shape[1])
        self.least_squares = least_squares
        estimate = moment_matched if least_squares else profile
        self.points: list[Point] = [
            estimate(self.setup, centre, hard[:, k], logs[k]) for k, centre in enumerate(centres)
        ]
        self.searches = [Search() for _ in centres]
        self.shares = hard.sum(axis=0) / weights.sum()
        self.bounds: list[float] = []
        self.converged = False
        self._check()

    def iterate(self, max_iter: int, tol: float) -> None:
        """Alternate E- and M-steps until the likelihood gains less than `tol` per point."""
        posterior, bound = self._posterior()
        self.bounds.append(bound)
        for _ in range(max_iter):
            self._maximise(posterior, tol)
            posterior, bound = self._posterior()
            self.bounds.append(bound)
            gain = bound - self.bounds[-2]
            if (abs(gain) if self.least_squares else gain) < tol:
                self.converged = True
                return

    def refine(self, setup: Setup, weights) -> None:
        """Go on with all data, more directions and finer curves."""
        self.setup, self.weights = setup._replace(floor=self.setup.floor), weights / weights.sum()
        for k, point in enumerate(self.points):
            same = len(point.logs.usable) == len(setup.X)
            logs = logarithms(self.setup, point.mean, point.logs if same else None)
            self.points[k] = point._replace(logs=logs, gradient=None)
        soft = self._posterior()[0] * self.weights[:, None]
        for k, point in enumerate(self.points):
            if self.least_squares:
                new = moment_matched(self.setup, point.mean, soft[:, k], point.logs)
            else:
                new = profile(self.setup, point.mean, soft[:, k], point.logs, point.whiten)
            self.points[k] = new
        self.converged = False

    def _posterior(self):
        """Responsibilities, and the mean log-likelihood per unit of weight against dM."""
        joint = np.stack([_log_density(self.setup, p) for p in self.points], axis=1)
        joint = joint + np.log(np.maximum(self.shares, 1e-300))
        known = np.asarray(np.isfinite(joint).any(axis=1))
        total = np.where(known, logsumexp(np.where(known[:, None], joint, 0.0), axis=1), 0.0)
        posterior = np.where(known[:, None], np.exp(joint - total[:, None]), 0.0)
        return posterior, float(self.weights @ total / self.weights[known].sum())

    def _maximise(self, posterior, tol):
        d = self.setup.X.shape[1]
        soft = posterior * self.weights[:, None]
        self.shares = soft.sum(axis=0) / soft.sum()
        for k, point in enumerate(self.points):
            size = soft[:, k].sum() ** 2 / max((soft[:, k] ** 2).sum(), 1e-300)
            if size < d + 1:
                continue  # too few points for a shape; the component keeps the one it has
            if self.least_squares:
                self.points[k] = least_squares_step(self.setup, point, soft[:, k], _STILL * tol)
                continue
            point = self.searches[k].prepared(
                self.setup, reweight(self.setup, point, soft[:, k]), soft[:, k]
            )
            if 0.5 * point.slope**2 * self.shares[k] > _STILL * tol:
                point, _ = self.searches[k].advance(self.setup, point, soft[:, k], _STILL * tol)
            self.points[k] = point
        self._check()

    def _check(self):
        failed = 1.0 - np.mean([p.logs.usable for p in self.points])
        if failed > _FAILED:
            raise ConvergenceError(
                f"{100 * failed:.0f} % of the geodesics between data and means failed (limit 5 %); "
                "the metric may be too rough: use a larger sigma or rho"
            )


def _log_density(setup: Setup, point: Point):
    """log p(x_n) of one component, −∞ where its logarithm failed: no density is made up there."""
    tangents = tangents_of(setup, point.mean, point.logs)
    form = np.einsum("ni,ij,nj->n", tangents, point.precision, tangents)
    return np.where(point.logs.usable, -0.5 * form - point.moments.log_normalizer, -np.inf)
