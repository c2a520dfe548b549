"""The intrinsic least-squares estimator: the baseline that LAND is compared with."""

import warnings

import numpy as np

from landform._core.arrays import precise
from landform._core.typing import PRNGKeyArray
from landform.geodesics.frechet import fit_frechet_mean
from landform.metrics.base import check_metric
from landform.stats.land.data import check_rays, weighted_data
from landform.stats.land.density import LAND, Normalizer, check_normalizer, euclidean_logs
from landform.stats.land.objective import check_lost, warn_of_lost

# Of the mean logarithm over the root mean square distance, at the mean.
_MEAN_TOL = 1e-6
_MEAN_TOL_WITH_FAILURES = 1e-5


@precise
def fit_least_squares(
    metric,
    X,
    *,
    weights=None,
    normalizer: Normalizer = "exact",
    n_directions: int | None = None,
    key: PRNGKeyArray | None = None,
    rtol: float = 1e-5,
    throw: bool = True,
) -> LAND:
    """The intrinsic least-squares normal: Fréchet mean and second moment of the logarithms.

    Minimises the sum of squared distances to the mean, with no regard to the normalizer; a baseline
    for `fit_land`, with which it agrees on flat metrics only.

    Parameters
    ----------
    metric
        The metric.
    X
        Data, shape ``(n, d)``, n ≥ 2, that span the space.
    weights
        Weights of the points, shape ``(n,)``, not negative; None for equal ones.
    normalizer, n_directions, key, rtol
        As for `LAND`; the second moment is that of the normalizer's logarithms.
    throw
        Raise if the search for the mean or a geodesic fails; with False warn, and leave failed
        points out.

    Returns
    -------
    The `LAND` with this mean and covariance ``(1/N) Σ Log Logᵀ``. Its ``history`` has the
    ``variance`` after each step of the mean, and at the end the ``gradient``, as of
    `fit_frechet_mean`, the number of ``failures``, points with a weight that were left out, and
    whether the search ``converged`` on the others, each of shape ``(1,)``.

    Raises
    ------
    TypeError, ValueError
        For a wrong metric, bad data or weights, or logarithms that do not span the space.
    ConvergenceError
        If more than 5 % of the weight has no geodesic to the mean, and with ``throw=True`` as
        `frechet_mean`.

    Warns
    -----
    UserWarning
        With ``throw=False``, if points have no geodesic to the mean, or the search for it did not
        converge.

    Notes
    -----
    Cost: a Fréchet mean, and the rays of one normalizer. Pennec 2006; arXiv:1606.02518, sec. 5.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> X = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    >>> land = lf.fit_least_squares(lf.Euclidean(2), X)
    >>> land.mean.round(8).tolist(), land.covariance.round(8).tolist()
    ([1.0, 1.0], [[1.0, 0.0], [0.0, 1.0]])
    """
    check_metric(metric)
    check_normalizer(normalizer)
    rtol, n_directions = check_rays(rtol, n_directions)
    X, weights, _ = weighted_data(metric, X, weights)
    found = fit_frechet_mean(metric, X, weights, tol=_MEAN_TOL, throw=throw)
    logs = np.asarray(found.logs)
    known = np.asarray(np.isfinite(logs).all(axis=1))
    check_lost(weights, known)
    lost = int((~known).sum())
    converged = bool(found.converged) or (
        lost > 0 and float(found.gradient) <= _MEAN_TOL_WITH_FAILURES
    )
    if not converged:
        warnings.warn(
            "fit_least_squares did not find the mean: at the point where the search ended the mean "
            f"logarithm is {float(found.gradient):.2g} of the root mean square distance",
            UserWarning,
            stacklevel=3,
        )
    warn_of_lost(known, stacklevel=3)
    share = np.where(known, weights, 0.0)
    logs = np.where(known[:, None], logs, 0.0)
    if normalizer == "paper":
        logs = np.asarray(euclidean_logs(metric, found.point, logs))
    moment = (logs * (share / share.sum())[:, None]).T @ logs
    values = np.linalg.eigvalsh(moment)
    if not values[0] > 1e-12 * values[-1]:
        raise ValueError(
            "X must span the space: its logarithms at the mean lie in a subspace, and a normal "
            "density needs a covariance of full rank"
        )
    return LAND(
        metric,
        found.point,
        moment,
        normalizer=normalizer,
        n_directions=n_directions,
        key=key,
        rtol=rtol,
        history={
            "variance": found.history,
            "gradient": np.array([found.gradient]),
            "failures": np.array([lost]),
            "converged": np.array([converged]),
        },
    )
