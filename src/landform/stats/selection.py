"""The local-variance metric's parameters by cross-validated likelihood."""

import warnings
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from landform._numerics import as_points, precise
from landform._results import ConvergenceError
from landform._typing import Array, Float
from landform.metrics.local import LocalVariance
from landform.stats._fit import check_count
from landform.stats.bandwidth import auto_rho, auto_sigma
from landform.stats.mixture import fit_land_mixture

_WIDTHS = (0.7, 1.0, 1.5, 2.5)  # of the rule's σ
_BOUNDS = (1.0, 10.0, 100.0, 10000.0)  # of the rule's ρ; the last is almost flat
_FAILED = 0.05  # share of held-out points without a density at which a candidate is out


class Bandwidth(eqx.Module):
    """The outcome of `cv_bandwidth`.

    Attributes
    ----------
    sigma, rho
        The pair with the highest score.
    sigmas, rhos
        All pairs tried, shape ``(c,)``.
    scores
        Their mean held-out log-densities against Lebesgue measure, shape ``(c,)``; −∞ where a fit
        failed or more than 5 % of the held-out points have no density.
    stderr
        Standard errors of the scores over the folds, shape ``(c,)``.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> X = np.random.default_rng(0).standard_normal((30, 1))
    >>> found = lf.cv_bandwidth(X, sigmas=[1.0], rhos=[100.0])
    >>> float(found.sigma), float(found.rho), found.scores.shape
    (1.0, 100.0, (1,))
    """

    sigma: float
    rho: float
    sigmas: Float[Array, " c"]
    rhos: Float[Array, " c"]
    scores: Float[Array, " c"]
    stderr: Float[Array, " c"]


def cv_bandwidth(
    X, n_components: int = 1, *, sigmas=None, rhos=None, n_folds: int = 3, max_points: int = 300,
    n_samples: int | None = None, seed: int = 0, progress: Callable[[int], None] | None = None,
) -> Bandwidth:  # fmt: skip
    """The σ and ρ of `LocalVariance` under which mixtures of LANDs predict held-out data best.

    For every pair the metric and the mixture are learned from all folds but one and scored on that
    one by the log-density against Lebesgue measure, which alone compares different metrics.

    Parameters
    ----------
    X
        The data, shape ``(n, d)``, n ≥ 3 `n_folds`.
    n_components
        Components of the mixtures.
    sigmas
        Candidates of σ; None takes 0.7, 1, 1.5 and 2.5 times `auto_sigma`.
    rhos
        Candidates of ρ, each tried with every σ; None takes 1, 10, 100 and 10,000 times
        `auto_rho`, the last so flat that the LAND is nearly a normal distribution.
    n_folds
        Number of folds, at least 2.
    max_points
        Most points that take part, drawn at random.
    n_samples
        Directions of the normalisers; None takes 32 in two dimensions and 128 from three on.
    seed
        Seed of the folds and the fits.
    progress
        Called with the number of pairs finished.

    Returns
    -------
    `Bandwidth`.

    Raises
    ------
    TypeError, ValueError
        For bad data, candidates that are not positive, or too few points.
    ConvergenceError
        If no candidate could be scored.

    Notes
    -----
    Cost: ``len(sigmas) × len(rhos) × n_folds`` fits of loose tolerance. The score of the best pair
    is optimistic: report the likelihood of other data.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> X = np.random.default_rng(0).standard_normal((30, 1))
    >>> found = lf.cv_bandwidth(X, sigmas=[0.01, 1.0], rhos=[10.0])
    >>> float(found.rho)
    10.0
    """
    for name, value in (("n_components", n_components), ("max_points", max_points)):
        check_count(name, value)
    check_count("n_folds", n_folds)
    if n_folds < 2:
        raise ValueError(f"n_folds must be at least 2, got {n_folds}")
    data = np.asarray(as_points("X", X, ndim=(2,)), dtype=float)
    least = max(3 * n_folds, 2 * n_components)
    if min(len(data), max_points) < least:
        raise ValueError(f"X must have at least {least} points, got {len(data)}")
    return _select(data, n_components, sigmas, rhos, n_folds, max_points, n_samples, seed, progress)


@precise
def _select(data, K, sigmas, rhos, n_folds, max_points, n_samples, seed, progress):
    order = np.random.default_rng(seed).permutation(len(data))[:max_points]
    data = data[order[: len(order) // n_folds * n_folds]]  # equal folds share compiled programs
    pairs = _pairs(data, sigmas, rhos)
    if n_samples is None:
        n_samples = 32 if data.shape[1] <= 2 else 128
    folds = np.arange(len(data)) % n_folds
    scores = np.full((len(pairs), n_folds), -np.inf)
    for i, (sigma, rho) in enumerate(pairs):
        for k in range(n_folds):
            scores[i, k] = held_out(
                data[folds != k], data[folds == k], K, sigma, rho, n_samples, seed
            )
            if scores[i, k] == -np.inf:
                break
        if progress is not None:
            progress(i + 1)
    means = scores.mean(axis=1)
    if not np.isfinite(means).any():
        raise ConvergenceError(
            "no candidate of sigma and rho gave a mixture with densities; try larger ones"
        )
    best = int(np.argmax(means))
    with np.errstate(invalid="ignore"):
        spread = scores.std(axis=1, ddof=1) / np.sqrt(n_folds)
    return Bandwidth(
        sigma=pairs[best][0], rho=pairs[best][1],
        sigmas=jnp.asarray([p[0] for p in pairs]), rhos=jnp.asarray([p[1] for p in pairs]),
        scores=jnp.asarray(means), stderr=jnp.asarray(spread),
    )  # fmt: skip


def _pairs(data, sigmas, rhos) -> list[tuple[float, float]]:
    """All pairs of candidates, checked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # candidates may be odd: they are compared
        width = auto_sigma(data)
        widths = [f * width for f in _WIDTHS] if sigmas is None else [float(s) for s in sigmas]
        if not widths or not all(np.isfinite(s) and s > 0 for s in widths):
            raise ValueError(f"sigmas must be positive numbers, got {sigmas!r}")
        if rhos is None:
            return [(s, f * auto_rho(data, s)) for s in widths for f in _BOUNDS]
    bounds = [float(r) for r in rhos]
    if not bounds or not all(np.isfinite(r) and r > 0 for r in bounds):
        raise ValueError(f"rhos must be positive numbers, got {rhos!r}")
    return [(s, r) for s in widths for r in bounds]


def held_out(train, test, n_components, sigma, rho, n_samples, seed) -> float:
    """Mean Lebesgue log-density of `test` under a LAND mixture of `train`; −∞ where that fails."""
    metric = LocalVariance(train, sigma, rho)
    try:
        model = fit_land_mixture(
            metric, train, n_components, n_samples=n_samples, tol=1e-2, max_iter=30, rtol=1e-3,
            seed=seed, throw=False,
        )  # fmt: skip
    except (ConvergenceError, np.linalg.LinAlgError):
        return -np.inf
    density = np.asarray(model.log_prob(test, "lebesgue", throw=False))
    known = np.isfinite(density)
    return float(density[known].mean()) if known.mean() >= 1.0 - _FAILED else -np.inf
