"""The intrinsic least-squares estimator: the baseline that LAND is compared with."""

import numpy as np

from landform._means import barycenter
from landform._metric import check_metric
from landform._numerics import precise
from landform.stats._fit import check_rays, weighted_data
from landform.stats.land import LAND, Normalizer, check_normalizer, euclidean_logs


def fit_least_squares(
    metric, X, *, weights=None, normalizer: Normalizer = "exact", n_samples: int | None = None,
    seed: int = 0, rtol: float = 1e-5, throw: bool = True,
) -> LAND:  # fmt: skip
    """The intrinsic least-squares normal: Fréchet mean and second moment of the logarithms.

    Minimises the sum of squared distances to the mean, with no regard to the normaliser; a baseline
    for `fit_land`, with which it agrees on flat metrics only.

    Parameters
    ----------
    metric
        The metric.
    X
        Data, shape ``(n, d)``, n ≥ 2, that span the space.
    weights
        Weights of the points, shape ``(n,)``, not negative; None for equal ones.
    normalizer, n_samples, seed, rtol
        As for `LAND`; the second moment is that of the normaliser's logarithms.
    throw
        Raise if the search for the mean or a geodesic fails; with False failed points are left out.

    Returns
    -------
    The `LAND` with this mean and covariance ``(1/N) Σ Log Logᵀ``.

    Raises
    ------
    TypeError, ValueError
        For a wrong metric, bad data or weights, or logarithms that do not span the space.
    ConvergenceError
        With ``throw=True``, as `frechet_mean`.

    Notes
    -----
    Cost: a Fréchet mean, and the rays of one normaliser. Pennec 2006; arXiv:1606.02518, sec. 5.

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
    rtol, n_samples = check_rays(rtol, n_samples)
    return _fit(metric, X, weights, normalizer, n_samples, seed, rtol, throw)


@precise
def _fit(metric, X, weights, normalizer, n_samples, seed, rtol, throw):
    X, weights, _ = weighted_data(metric, X, weights)
    found = barycenter(metric, X, weights, tol=1e-6, throw=throw)
    logs = np.asarray(found.logs)
    known = np.asarray(np.isfinite(logs).all(axis=1))
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
        metric, found.point, moment, normalizer=normalizer, n_samples=n_samples, seed=seed,
        rtol=rtol,
    )  # fmt: skip
