"""Maximum likelihood of one LAND: quasi-Newton steps of the mean, the covariance profiled out."""

import warnings
from typing import Literal

import numpy as np

from landform._core.arrays import precise
from landform._core.checks import as_count, as_points, as_positive
from landform._core.status import ConvergenceError
from landform.geodesics._logarithms import accuracy_for
from landform.metrics.base import check_metric
from landform.stats.land.bandwidth import light
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
from landform.stats.land.updates import MeanSearch, paper_steps

Algorithm = Literal["bfgs", "paper"]

_ITERATIONS = {"bfgs": 50, "paper": 500}
_THIN = 1e-10  # least variance, as a share of the largest, of data that span the space
_SLIGHT = 1e-3  # nats per point that a search without a further step may leave with a warning
_COARSE_TOL = 1e-3  # gain at which the coarse level has done its part


def fit_land(
    metric,
    X,
    *,
    weights=None,
    init=None,
    covariance_type: CovarianceType = "full",
    normalizer: Normalizer = "exact",
    algorithm: Algorithm = "bfgs",
    n_directions: int | None = None,
    max_iter: int | None = None,
    tol: float = 1e-4,
    n_init: int = 1,
    seed: int = 0,
    rtol: float = 1e-5,
    throw: bool = True,
) -> LAND:
    """The maximum-likelihood LAND of data.

    Minimises the negative log-likelihood per point, ½ tr(Σ⁻¹ S(μ)) + log C(μ, Σ) with S the second
    moment of Log_μ(X), over μ by BFGS steps with a line search, Σ being optimal for every μ. The
    normalizer uses the same directions throughout, so the objective is a smooth function, and only
    steps that lower it are taken. Where many directions are asked for, a first approach takes few.

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
        Start of the mean, shape ``(d,)``; None takes the point of the data with the least sum of
        squared graph distances, none of which counts as more than ten times the median, or the
        average where the metric has no landmarks.
    covariance_type
        ``"full"``; ``"diag"``, diagonal in the chart; ``"spherical"``, a multiple of M(μ)⁻¹.
    normalizer, n_directions, seed, rtol
        As for `LAND`. With ``"paper"`` the gradient is taken by differences, 2d evaluations.
    algorithm
        ``"bfgs"``, as above; ``"paper"``: steps of the mean and of A, Σ⁻¹ = AᵀA, along their
        gradients in turn, 1.1 times as long after a success and 0.75 times after a failure, for
        full covariances. It needs many more geodesics; to compare with.
    max_iter
        Steps of the mean, as many for the approach; None is 50, and 500 for the paper's.
    tol
        Gain per point, in nats, that a further step must promise (half the squared norm of the
        gradient under Σ) and the last must have had. Where no step lowers the objective, a promise
        counts as kept that the tolerances of rays and lengths hide, `rtol` + d clip(`rtol`, 1e-6,
        1e-4): a smaller `tol` needs a smaller `rtol`.
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
    the approach with fewer directions, empty without one.

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
    The gradient is exact up to interpolation: with T = −∂Log_μ(x)/∂μ from the linearised geodesic
    equation it is E_p[Tᵀ Σ⁻¹ Log] − mean[Tᵀ Σ⁻¹ Log]; T = I gives the paper's direction. For given
    rays the best Σ is a convex problem. Failed logarithms are left out and counted in the history.
    Cost for each step: n geodesics from warm starts, 1024 at a time, `n_directions` rays. Over 512
    points the approach takes 512 of them; a local-variance metric of over 2000 points in the plane
    is replaced by a `Tabulated` one during the search, where that is accurate to a thousandth.
    Arvanitidis, Hansen and Hauberg 2016 (arXiv:1606.02518), sec. 3.

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
    if algorithm not in ("bfgs", "paper"):
        raise ValueError(f"algorithm must be 'bfgs' or 'paper', got {algorithm!r}")
    if algorithm == "paper" and covariance_type != "full":
        raise ValueError("covariance_type must be 'full' with algorithm='paper'")
    max_iter = _ITERATIONS[algorithm] if max_iter is None else max_iter
    as_count("max_iter", max_iter)
    as_count("n_init", n_init)
    rtol, n_directions = check_rays(rtol, n_directions)
    tol = float(as_positive("tol", tol))
    return _fit_land(
        metric,
        X,
        weights,
        init,
        covariance_type,
        normalizer,
        algorithm,
        n_directions,
        max_iter,
        tol,
        n_init,
        seed,
        rtol,
        throw,
    )


@precise
def _fit_land(
    metric,
    X,
    weights,
    init,
    kind,
    normalizer,
    algorithm,
    n_directions,
    max_iter,
    tol,
    n_init,
    seed,
    rtol,
    throw,
):
    X, weights, _ = weighted_data(metric, X, weights)
    n_directions = default_directions(X.shape[1]) if n_directions is None else n_directions
    grid = make_grid(X.shape[1], n_directions, seed)
    problem = FitProblem(
        light(metric, X), X, grid, normalizer, kind, rtol, accuracy=accuracy_for(rtol)
    )
    starts = _starts(metric, X, weights, init, n_init, seed)
    coarse = ()
    if algorithm == "paper":
        runs = _succeeding(lambda at: paper_steps(problem, at, weights, max_iter, tol), starts)
        point, history, converged = min(runs, key=lambda run: run[0].objective)
    else:
        point, search, coarse = _approach(problem, starts, weights, max_iter, tol, seed)
        point, history, converged = search.run(problem, point, weights, max_iter, tol)
    if not converged:
        stuck = algorithm == "bfgs" and len(history.rows) <= max_iter
        promise = 0.5 * point.slope**2
        message = (
            f"fit_land did not converge in {len(history.rows) - 1} steps (the gradient promises "
            f"{promise:.2g} nats per point); {_advice(X, stuck)}"
        )
        if throw and not (stuck and promise < _SLIGHT):
            raise ConvergenceError(message)
        warnings.warn(message, UserWarning, stacklevel=4)
    warn_of_lost(point.logs.ok, stacklevel=4)
    arrays = history.arrays() | {"coarse_objective": coarse}
    land = land_at(problem, metric, point, n_directions, seed, arrays)
    warn_of_unresolved([land], stacklevel=4)
    return land


def _advice(X, stuck: bool = False) -> str:
    """What to do about a search that came to no end."""
    values = np.linalg.eigvalsh(np.atleast_2d(np.cov(X.T)))
    if values[0] < _THIN * values[-1]:
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


def _approach(problem: FitProblem, starts, weights, max_iter, tol, seed):
    """The best of all starts on the coarse level, lifted to the fine one, with its search."""
    coarse = problem.coarser(weights, seed)
    if coarse is None and len(starts) == 1:
        return (
            profile(problem, starts[0], weights, problem.logarithms(starts[0])),
            MeanSearch(),
            (),
        )
    level, few = (problem, weights) if coarse is None else (coarse[0], coarse[2])

    def run(mean):
        search = MeanSearch()
        point = profile(level, mean, few, level.logarithms(mean))
        point, history, _ = search.run(level, point, few, max_iter, max(tol, _COARSE_TOL))
        return point, search, history.arrays()["objective"]

    found = sorted(_succeeding(run, starts), key=lambda run: run[0].objective)
    if coarse is None:
        return found[0]

    def lift(run):
        point, search, objective = run
        return lifted(problem, point, weights), search, objective

    return next(_succeeding(lift, found))


def _succeeding(run, starts):
    """What the starts lead to, in turn. One that fails does not count, unless all do."""
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
    problem: FitProblem, metric, point: ComponentFit, n_directions, seed, history=None
) -> LAND:
    """The distribution of a fitted point, under `metric` itself where the search had a table."""
    covariance = point.covariance
    return LAND(
        metric,
        point.mean,
        0.5 * (covariance + covariance.T),
        normalizer=problem.normalizer,
        n_directions=n_directions,
        seed=seed,
        rtol=problem.rtol,
        history=history,
        table=point.table if metric is problem.metric and covered(point) else None,
    )
