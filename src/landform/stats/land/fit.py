"""Maximum likelihood of one LAND: quasi-Newton steps of the mean, the covariance profiled out."""

import warnings

import numpy as np

from landform._core.arrays import precise
from landform._core.checks import as_count, as_points, as_positive, seed_of
from landform._core.status import ConvergenceError
from landform._core.typing import PRNGKeyArray
from landform.geodesics._logarithms import accuracy_for
from landform.metrics.base import check_metric
from landform.stats.land.bandwidth import tabulated_if_large
from landform.stats.land.data import (
    CovarianceType,
    check_kind,
    check_rays,
    warn_of_unresolved,
    weighted_data,
)
from landform.stats.land.density import LAND, Normalizer, check_normalizer
from landform.stats.land.normalizer import default_directions, make_grid
from landform.stats.land.objective import (
    ComponentFit,
    FitProblem,
    covered,
    lifted,
    profile,
    warn_of_lost,
)
from landform.stats.land.starts import central_point
from landform.stats.land.updates import MeanSearch

_MIN_VARIANCE_RATIO = 1e-10  # least over largest, of data that span the space
_NEGLIGIBLE_GAIN = 1e-3  # nats per point that a search without a further step may miss
_COARSE_TOL = 1e-3  # gain at which the coarse stage ends


@precise
def fit_land(
    metric,
    X,
    *,
    weights=None,
    init=None,
    covariance_type: CovarianceType = "full",
    normalizer: Normalizer = "exact",
    n_directions: int | None = None,
    max_iter: int = 50,
    tol: float = 1e-4,
    n_init: int = 1,
    key: PRNGKeyArray | None = None,
    rtol: float = 1e-5,
    throw: bool = True,
) -> LAND:
    """The maximum-likelihood LAND of data.

    Minimises the negative log-likelihood per point, ½ tr(Σ⁻¹ S(μ)) + log C(μ, Σ) with S the second
    moment of Log_μ(X), over μ by BFGS steps with a line search; Σ is optimal for every μ.

    Parameters
    ----------
    metric
        The metric.
    X
        Data, shape ``(n, d)``, n ≥ 2.
    weights
        How often each point counts, shape ``(n,)``, not negative; None for once. Points of weight
        zero are left out.
    init
        Start of the mean, shape ``(d,)``; None takes the point of the data that is most central by
        graph distances, or the average where the metric has no landmarks.
    covariance_type
        ``"full"``; ``"diag"``, diagonal in the chart; ``"spherical"``, a multiple of M(μ)⁻¹.
    normalizer, n_directions, key, rtol
        As for `LAND`; the key is also that of the starts. With ``"paper"`` the gradient is taken by
        differences, 2d evaluations.
    max_iter
        Most steps of the mean, in the coarse stage and after it.
    tol
        Gain per point, in nats, below which the search stops: both the last gain and the one that
        the gradient promises. A smaller `tol` needs a smaller `rtol`.
    n_init
        Starts: the one of `init`, then random points of the data. The best is kept; one that fails
        does not count, unless all do.
    throw
        Raise if there is no convergence; with False warn and return the best iterate. A search that
        finds no further step, as on rough metrics, only warns if its gradient promises less than
        1e-3 nats per point.

    Returns
    -------
    The `LAND` with its ``history``: the objective never increases. ``coarse_objective`` is that of
    a coarse stage with fewer directions and points, empty without one.

    Raises
    ------
    TypeError, ValueError
        For a wrong metric, data that are not finite, fewer than two points or all equal, negative
        weights, or an unknown option.
    ConvergenceError
        If from every start more than 5 % of the weight has no geodesic to the mean, or with
        ``throw=True`` without convergence.

    Warns
    -----
    UserWarning
        If points have no geodesic to the mean; if rays break before more than 5 % of the mass, so
        that the likelihood is too high; if there is no convergence and nothing is raised.

    Notes
    -----
    Cost of each step: n geodesics from warm starts, and `n_directions` rays. How the search works
    is described in the guide on point clouds. Arvanitidis, Hansen and Hauberg 2016
    (arXiv:1606.02518), sec. 3.

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
    as_count("max_iter", max_iter)
    as_count("n_init", n_init)
    rtol, n_directions = check_rays(rtol, n_directions)
    tol, seed = float(as_positive("tol", tol)), seed_of(key)
    X, weights, _ = weighted_data(metric, X, weights)
    n_directions = default_directions(X.shape[1]) if n_directions is None else n_directions
    problem = FitProblem(
        tabulated_if_large(metric, X),
        X,
        make_grid(X.shape[1], n_directions, seed),
        normalizer,
        covariance_type,
        rtol,
        accuracy=accuracy_for(rtol),
    )
    starts = _starts(metric, X, weights, init, n_init, seed)
    found, search, coarse = _coarse_stage(problem, starts, weights, max_iter, tol, seed)
    found, history, converged = search.run(problem, found, weights, max_iter, tol)
    if not converged:
        stuck = len(history.rows) <= max_iter
        promise = 0.5 * found.slope**2
        message = (
            f"fit_land did not converge in {len(history.rows) - 1} steps (the gradient promises "
            f"{promise:.2g} nats per point); {_advice(X, stuck)}"
        )
        if throw and not (stuck and promise < _NEGLIGIBLE_GAIN):
            raise ConvergenceError(message)
        warnings.warn(message, UserWarning, stacklevel=3)
    warn_of_lost(found.logs.ok, stacklevel=3)
    arrays = history.arrays() | {"coarse_objective": coarse}
    land = land_at(problem, metric, found, n_directions, key, arrays)
    warn_of_unresolved([land], stacklevel=3)
    return land


def _advice(X, stuck: bool = False) -> str:
    """What to do about a search that did not converge."""
    values = np.linalg.eigvalsh(np.atleast_2d(np.cov(X.T)))
    if values[0] < _MIN_VARIANCE_RATIO * values[-1]:
        return (
            "X lies in a subspace, or nearly so, and has no density there: leave dependent "
            "features out"
        )
    if stuck:
        return (
            "no step lowers the objective, which may be rough: raise n_directions, lower rtol, or "
            "raise tol"
        )
    return "raise max_iter or n_directions"


def _starts(metric, X, weights, init, n_init, seed):
    """Means to start from: the given or the most central one, then random points of the data."""
    if init is None:
        first = central_point(metric, X, weights)
    else:
        first = np.asarray(as_points("init", init, X.shape[1], ndim=(1,)), dtype=float)
    rng, odds = np.random.default_rng(seed), weights / weights.sum()
    return [first, *(X[i] for i in rng.choice(len(X), n_init - 1, p=odds))]


def _coarse_stage(problem: FitProblem, starts, weights, max_iter, tol, seed):
    """The best start after a search on the coarse level, lifted to the fine one; its search."""
    coarse = problem.coarser(weights, seed)
    if coarse is None and len(starts) == 1:
        mean = starts[0]
        return profile(problem, mean, weights, problem.logarithms(mean)), MeanSearch(), ()
    level, some_weights = (problem, weights) if coarse is None else (coarse[0], coarse[2])

    def run(mean):
        search = MeanSearch()
        found = profile(level, mean, some_weights, level.logarithms(mean))
        found, history, _ = search.run(level, found, some_weights, max_iter, max(tol, _COARSE_TOL))
        return found, search, history.arrays()["objective"]

    ranked = sorted(_succeeding(run, starts), key=lambda run: run[0].objective)
    if coarse is None:
        return ranked[0]

    def lift(run):
        found, search, objective = run
        return lifted(problem, found, weights), search, objective

    return next(_succeeding(lift, ranked))


def _succeeding(run, starts):
    """The results of `run` from the starts, in turn; failures are skipped, unless all fail."""
    error, succeeded = None, False
    for start in starts:
        try:
            found = run(start)
        except (ConvergenceError, np.linalg.LinAlgError) as failure:
            error = error or failure
            continue
        succeeded = True
        yield found
    if error is not None and not succeeded:
        raise error


def land_at(
    problem: FitProblem, metric, component: ComponentFit, n_directions, key, history=None
) -> LAND:
    """The distribution of a fitted component, under `metric` where the search had its table."""
    covariance = component.covariance
    shared = metric is problem.metric and covered(component)
    return LAND(
        metric,
        component.mean,
        0.5 * (covariance + covariance.T),
        normalizer=problem.normalizer,
        n_directions=n_directions,
        key=key,
        rtol=problem.rtol,
        history=history,
        table=component.table if shared else None,
    )
