"""Maximum likelihood of one LAND: quasi-Newton steps of the mean, the covariance profiled out."""

import warnings
from typing import Literal

import numpy as np

from landform._distances import pairwise_distances
from landform._metric import check_metric
from landform._numerics import as_floats, as_points, precise
from landform._results import ConvergenceError
from landform.stats._normalizer import default_samples, make_grid
from landform.stats._profile import Logs, Point, Setup, logarithms, profile
from landform.stats.land import LAND, Normalizer, check_normalizer

CovarianceType = Literal["full", "diag", "spherical"]
_CANDIDATES = 500  # data among which a start is looked for
_TRIALS = 8  # halvings of a step before the search gives up


def fit_land(
    metric, X, *, weights=None, init=None, covariance_type: CovarianceType = "full",
    normalizer: Normalizer = "exact", n_samples: int | None = None, max_iter: int = 50,
    tol: float = 1e-4, seed: int = 0, rtol: float = 1e-5, throw: bool = True,
) -> LAND:  # fmt: skip
    """The maximum-likelihood LAND of data.

    Minimises the negative log-likelihood per point, ½ tr(Σ⁻¹ S(μ)) + log C(μ, Σ) with S the second
    moment of Log_μ(X), over μ by BFGS steps with a line search, Σ being optimal for every μ. The
    normaliser uses the same directions throughout, so the objective is a smooth function, and only
    steps that lower it are taken.

    Parameters
    ----------
    metric
        The metric.
    X
        Data, shape ``(n, d)``, n ≥ 2.
    weights
        Weights of the points, shape ``(n,)``, not negative; None for equal ones.
    init
        Start of the mean, shape ``(d,)``; None takes the point of the data with the least sum of
        squared graph distances, or the average where the metric has no landmarks.
    covariance_type
        ``"full"``; ``"diag"``, diagonal in the chart; ``"spherical"``, a multiple of M(μ)⁻¹.
    normalizer, n_samples, seed, rtol
        As for `LAND`. With ``"paper"`` the gradient is taken by differences, 2d evaluations.
    max_iter
        Steps of the mean.
    tol
        Gain per point, in nats, that a further step must promise (half the squared norm of the
        gradient under Σ) and the last must have had.
    throw
        Raise if there is no convergence; with False warn and return the best iterate.

    Returns
    -------
    The `LAND` with its ``history``: the objective never increases.

    Raises
    ------
    TypeError, ValueError
        For a wrong metric, data that are not finite, fewer than two points or all equal, negative
        weights, or an unknown option.
    ConvergenceError
        If more than 5 % of the weight has no geodesic to the mean, or with ``throw=True`` without
        convergence.

    Notes
    -----
    The gradient is exact up to interpolation: with T = −∂Log_μ(x)/∂μ from the linearised geodesic
    equation it is E_p[Tᵀ Σ⁻¹ Log] − mean[Tᵀ Σ⁻¹ Log]; T = I gives the paper's direction. For given
    rays the best Σ is a convex problem. Failed logarithms are left out and counted in the history.
    Cost for each step: n geodesics from warm starts, `n_samples` rays. Arvanitidis, Hansen and
    Hauberg 2016 (arXiv:1606.02518), sec. 3.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> X = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    >>> land = lf.fit_land(lf.Euclidean(2), X)
    >>> land.mean.round(8).tolist(), land.covariance.round(8).tolist()
    ([1.0, 1.0], [[1.0, 0.0], [0.0, 1.0]])
    """
    check_metric(metric)
    check_normalizer(normalizer)
    check_kind(covariance_type)
    if max_iter < 1 or not tol > 0:
        raise ValueError(f"max_iter and tol must be positive, got {max_iter} and {tol}")
    return _fit_land(
        metric, X, weights, init, covariance_type, normalizer, n_samples, max_iter, tol, seed,
        rtol, throw,
    )  # fmt: skip


@precise
def _fit_land(
    metric, X, weights, init, kind, normalizer, n_samples, max_iter, tol, seed, rtol, throw
):
    X = check_data(metric, X)
    weights = check_weights(weights, len(X))
    n_samples = default_samples(X.shape[1]) if n_samples is None else int(n_samples)
    grid = make_grid(X.shape[1], n_samples, seed)
    setup = Setup(metric, X, grid, normalizer, kind, rtol)
    mean = central_point(metric, X, weights) if init is None else np.asarray(
        as_points("init", init, X.shape[1], ndim=(1,)), dtype=float
    )  # fmt: skip
    point = profile(setup, mean, weights, logarithms(setup, mean))
    search, history, converged = Search(), History(), False
    history.add(point, 0.0)
    for _ in range(max_iter):
        new, step = search.advance(setup, point, weights)
        gain = point.objective - new.objective
        small = 0.5 * new.slope**2 < tol
        point = new
        if step > 0:
            history.add(point, step)
        if (small and gain < tol) or step == 0:
            # A search without progress ends at the accuracy of the gradient.
            converged = small or 0.5 * point.slope**2 < 1e-3
            break
    if not converged:
        message = (
            f"fit_land did not converge in {len(history.rows) - 1} steps (the gradient promises "
            f"{0.5 * point.slope**2:.2g} nats per point); raise max_iter or n_samples"
        )
        if throw:
            raise ConvergenceError(message)
        warnings.warn(message, UserWarning, stacklevel=4)
    return land_at(setup, point, n_samples, seed, history.arrays())


def land_at(setup: Setup, point: Point, n_samples, seed, history=None) -> LAND:
    """The distribution of a fitted point."""
    covariance = point.covariance
    return LAND(
        setup.metric, point.mean, 0.5 * (covariance + covariance.T), normalizer=setup.normalizer,
        n_samples=n_samples, seed=seed, rtol=setup.rtol, history=history,
    )  # fmt: skip


class History:
    """What happened in every accepted step."""

    def __init__(self):
        self.rows = []

    def add(self, point: Point, step):
        failures = int((~point.logs.usable).sum())
        stderr = point.moments.stderr
        self.rows.append((point.objective, stderr, step, point.slope, failures))

    def arrays(self):
        names = ("objective", "stderr", "step", "gradient", "failures")
        return {n: np.asarray(c) for n, c in zip(names, zip(*self.rows, strict=True), strict=True)}


class Search:
    """BFGS with Σ as the first inverse Hessian, for one mean."""

    def __init__(self):
        self.inverse = None
        self.differences = False

    def advance(self, setup: Setup, point: Point, weights) -> tuple[Point, float]:
        """One step that lowers the objective, and its length in standard deviations; or neither."""
        if setup.normalizer == "paper" and not self.differences:
            point, self.differences = self._with_differences(setup, point, weights), True
        return self._line_search(setup, point, weights)

    def _line_search(self, setup, point: Point, weights) -> tuple[Point, float]:
        if self.inverse is None or point.gradient @ self.inverse @ point.gradient <= 0:
            self.inverse = point.covariance
        direction = -self.inverse @ point.gradient
        size = np.sqrt(direction @ point.precision @ direction)
        if size > 1.0:
            direction, size = direction / size, 1.0
        slope, share = direction @ point.gradient, 1.0
        for _ in range(_TRIALS):
            new = self._attempt(setup, point, weights, share * direction)
            shorter = 0.25
            if new is not None:
                rise = new.objective - point.objective
                # At the minimum the objective only shows rounding; the gradient then decides.
                if rise < 0 or (rise < 1e-13 and new.slope < point.slope):
                    if self.differences:
                        new = self._with_differences(setup, new, weights)
                    self._update(point, new)
                    return new, float(share * size)
                shorter = np.clip(-0.5 * slope * share / (rise - slope * share), 0.1, 0.5)
            share *= shorter
        self.inverse = None
        return point, 0.0

    def _with_differences(self, setup, point: Point, weights) -> Point:
        """The gradient by central differences, a fiftieth of a standard deviation apart.

        The derivative of the paper's constant is not an average that the rays give.
        """
        root = 0.02 * np.linalg.cholesky(point.covariance)
        slopes = np.zeros(len(root))
        for i, move in enumerate(root.T):
            ends = [self._attempt(setup, point, weights, sign * move) for sign in (1.0, -1.0)]
            if ends[0] is not None and ends[1] is not None:
                slopes[i] = 0.5 * (ends[0].objective - ends[1].objective)
        return point._replace(gradient=np.linalg.solve(root.T, slopes))

    def _attempt(self, setup, point: Point, weights, move) -> Point | None:
        mean = point.mean + move
        try:
            logs: Logs = logarithms(setup, mean, point.logs, point.mean)
            return profile(setup, mean, weights, logs, point.whiten)
        except (ConvergenceError, ValueError, np.linalg.LinAlgError):
            return None  # too far: the line search goes on with a shorter step

    def _update(self, old: Point, new: Point):
        s, y = new.mean - old.mean, new.gradient - old.gradient
        if s @ y <= 1e-10 * np.linalg.norm(s) * np.linalg.norm(y) or self.inverse is None:
            return
        rho, eye = 1.0 / (s @ y), np.eye(s.size)
        left = eye - rho * np.outer(s, y)
        self.inverse = left @ self.inverse @ left.T + rho * np.outer(s, s)


def check_kind(kind) -> None:
    """Raise `ValueError` unless the kind of covariance is known."""
    if kind not in ("full", "diag", "spherical"):
        raise ValueError(f"covariance_type must be 'full', 'diag' or 'spherical', got {kind!r}")


def check_data(metric, X, least: int = 2) -> np.ndarray:
    """Data as a float64 array, checked."""
    X = np.asarray(as_points("X", X, metric.dim, ndim=(2,)), dtype=float)
    if len(X) < least:
        raise ValueError(f"X must have at least {least} points, got {len(X)}")
    if (X[0] == X).all():
        raise ValueError("X must have at least two different points")
    return X


def check_weights(weights, n) -> np.ndarray:
    """Weights as a float64 array, checked; ones for None."""
    if weights is None:
        return np.ones(n)
    weights = np.asarray(as_floats("weights", weights), dtype=float)
    if weights.shape != (n,):
        raise ValueError(f"weights must have shape ({n},), got {weights.shape}")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError("weights must be finite, not negative, and not all zero")
    return weights


def central_point(metric, X, weights) -> np.ndarray:
    """Where a search for the mean starts."""
    if metric.landmarks() is None:
        return np.average(X, axis=0, weights=weights)
    stride = -(-len(X) // _CANDIDATES)
    some, share = X[::stride], weights[::stride]
    distance = np.asarray(pairwise_distances(metric, some, method="graph", throw=False))
    cost = np.nan_to_num(distance, nan=np.inf) ** 2 @ np.where(share > 0, share, 1e-12)
    return some[int(np.argmin(cost))]
