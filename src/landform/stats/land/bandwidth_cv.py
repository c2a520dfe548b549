"""The local-variance metric's parameters by cross-validated likelihood."""

import warnings
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import equinox as eqx
import numpy as np

from landform._core.arrays import precise, to_jax
from landform._core.checks import as_count, as_points, check_choice
from landform._core.status import ConvergenceError
from landform._core.typing import Array, Float
from landform.metrics.base import log_volume
from landform.metrics.local_variance import LocalVariance
from landform.stats.land.bandwidth import auto_rho, auto_sigma
from landform.stats.land.data import CovarianceType, check_kind, check_weights
from landform.stats.land.mixture import Estimator, fit_land_mixture

Rule = Literal["one-se", "flat-first", "best"]

_WIDTHS = (0.7, 1.2, 2.0)  # of the rule's σ
_BOUNDS = (100.0, 10.0, 1.0)  # of the rule's ρ, from nearly flat to the rule's
_FLAT = 1e6  # of the rule's ρ: a metric that varies by 1e-4, more where units differ widely
_LEVEL = 1e-3  # variation under which a metric is flat
_FAILED = 0.05  # share of held-out points without a density at which a candidate is out
_BEHIND = 2.0  # standard errors behind the best at which a candidate is given up
_ADVICE = "try larger ones, and see whether most of the data are copies of one point"


class Bandwidth(eqx.Module):
    """The outcome of `cv_bandwidth`.

    Attributes
    ----------
    sigma, rho
        The pair that was chosen.
    sigmas, rhos
        All pairs, shape ``(c,)``.
    scores
        Their mean held-out log-densities against Lebesgue measure, shape ``(c,)``, over the points
        on which they were scored; −∞ where a fit failed or more than 5 % of the held-out points
        have no density, NaN where a pair was not tried. With weights all of these are weighted.
    stderr
        Standard errors of their differences from the best score, paired point by point, shape
        ``(c,)``; 0 for the best.
    variation
        Standard deviations of log √det M over the data, shape ``(c,)``: 0 for a flat metric.
    n_scored
        Held-out points on which they were scored, shape ``(c,)``; fewer than all for pairs that
        were given up.

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
    variation: Float[Array, " c"]
    n_scored: Float[Array, " c"]


def cv_bandwidth(
    X,
    n_components: int = 1,
    *,
    weights=None,
    covariance_type: CovarianceType = "full",
    sigmas=None,
    rhos=None,
    n_folds: int = 3,
    max_points: int = 300,
    rule: Rule = "one-se",
    estimator: Estimator = "likelihood",
    n_directions: int | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Bandwidth:
    """The σ and ρ of `LocalVariance` under which mixtures of LANDs predict held-out data best.

    For every pair the metric and the mixture are learned from all folds but one and scored on that
    one by the log-density against Lebesgue measure, which alone compares different metrics, and so
    with the exact normalizer: the paper's makes no densities. The
    candidates end in a flat metric, under which a LAND is a normal distribution, and by default the
    flattest of those is taken that the data do not tell apart.

    Parameters
    ----------
    X
        The data, shape ``(n, d)``, n ≥ 3 `n_folds`.
    n_components
        Components of the mixtures.
    weights
        How often each point counts, in the fits and in the held-out means, shape ``(n,)``; None for
        equal weights. Points of weight zero are left out, also of the metric, which the other
        weights do not change.
    covariance_type
        Of the mixtures, as for `fit_land_mixture`.
    sigmas
        Candidates of σ; None takes 0.7, 1.2 and 2 times `auto_sigma`.
    rhos
        Candidates of ρ, each tried with every σ; None takes 1, 10 and 100 times `auto_rho`, and
        once a million times, which is flat.
    n_folds
        Number of folds, at least 2.
    max_points
        Most points that take part, drawn at random.
    rule
        ``"one-se"``: the flattest metric whose score is within one standard error of the best, the
        error being that of their difference, paired over the held-out points.
        ``"flat-first"``: the flat metric, one of variation under 1e-3 or the default candidates'
        first, if there is one within that error of the best, else the best; it asks only whether
        there is a curvature to speak of. ``"best"``: the highest score. With a dozen candidates the
        highest score is above the flat one's by chance also on data that are normal; one standard
        error is the usual price for not being fooled (Breiman et al. 1984, sec. 3.4.3).
    estimator
        As for `fit_land_mixture`: of maximum likelihood or least squares.
    n_directions
        Directions of the normalizers; None takes 32 in two dimensions and 128 from three on.
    seed
        Seed of the folds and the fits.
    progress
        Called with the number of pairs tried in the first fold.

    Returns
    -------
    `Bandwidth`.

    Raises
    ------
    TypeError, ValueError
        For bad data or weights, candidates that are not positive, an unknown option, or too few
        points.
    ConvergenceError
        If no candidate could be scored.

    Notes
    -----
    The sums in the metric grow with the number of points, and within folds ρ is scaled by it, so
    that the metric is the one that all points will have. For each σ the pairs are tried from flat
    to rough in the first fold, until one is two standard errors behind the best of that σ; those
    that are two behind the best of all are not tried in the other folds (a race, Maron and Moore
    1994). Cost: one to ``len(sigmas) × len(rhos)`` fits of loose tolerance in the first fold, a few
    in the others. The score of the best pair is optimistic: report the likelihood of other data.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> X = np.random.default_rng(0).standard_normal((30, 1))
    >>> found = lf.cv_bandwidth(X, sigmas=[0.01, 1.0], rhos=[10.0])
    >>> float(found.rho)
    10.0
    """
    for name, value in (("n_components", n_components), ("max_points", max_points)):
        as_count(name, value)
    as_count("n_folds", n_folds, 2)
    if n_directions is not None:
        as_count("n_directions", n_directions)
    check_choice("rule", rule, get_args(Rule))
    check_choice("estimator", estimator, get_args(Estimator))
    check_kind(covariance_type)
    if estimator == "least-squares" and covariance_type != "full":
        raise ValueError("covariance_type must be 'full' with estimator='least-squares'")
    data = np.asarray(as_points("X", X, ndim=(2,)), dtype=float)
    weights = check_weights(weights, len(data))
    data, weights = data[weights > 0], weights[weights > 0]
    least = max(3 * n_folds, 2 * n_components)
    if len(data) < least:
        raise ValueError(f"X must have at least {least} points with a weight, got {len(data)}")
    if max_points < least:
        raise ValueError(
            f"max_points must be at least {least} for {n_folds} folds and {n_components} "
            f"component(s), got {max_points}"
        )
    options = Options(n_components, n_directions, seed, estimator, covariance_type)
    return _select(data, weights, sigmas, rhos, n_folds, max_points, rule, options, progress)


class Options(NamedTuple):
    """How candidates are scored."""

    n_components: int
    n_directions: int | None
    seed: int
    estimator: Estimator = "likelihood"
    covariance_type: CovarianceType = "full"


@precise
def _select(X, weights, sigmas, rhos, n_folds, max_points, rule, options: Options, progress):
    order = np.random.default_rng(options.seed).permutation(len(X))[:max_points]
    count = len(order) // n_folds * n_folds
    rows = order[:count]  # equal folds share compiled programs
    data, weights = X[rows], weights[rows]
    chains = _chains(data, sigmas, rhos, len(X) / count)
    pairs = [pair for chain in chains for pair in chain]
    folds = np.arange(count) % n_folds
    values = np.full((len(pairs), count), np.nan)
    failed, tried = np.zeros(len(pairs), bool), 0

    def score(i, k) -> bool:
        """Fill in the densities of one pair on one fold; whether there are any."""
        test = folds == k
        sigma, rho = pairs[i]
        found = held_out_densities(
            data[~test],
            data[test],
            sigma,
            rho * np.sum(~test) / len(X),
            options,
            weights[~test],
            weights[test],
        )
        failed[i] = found is None
        if found is not None:
            values[i, test] = found
        return found is not None

    def mean(i) -> float:
        return _mean(values[i], weights)

    def behind(i, j) -> float:
        return _behind(values[i], values[j], weights)

    def leader(usable) -> int:
        """The usable candidate with the highest score on all that was held out so far."""
        return int(np.argmax([mean(i) if ok else -np.inf for i, ok in enumerate(usable)]))

    start = 0
    for chain in chains:
        best = None
        for i in range(start, start + len(chain)):
            good, tried = score(i, 0), tried + 1
            if progress is not None:
                progress(tried)
            if not good or (best is not None and behind(best, i) > _BEHIND):
                break  # rougher ones are worse still
            if best is None or mean(i) > mean(best):
                best = i
        start += len(chain)
    usable = ~failed & np.isfinite(values).any(axis=1)
    if not usable.any():
        raise ConvergenceError(
            f"no candidate of sigma and rho gave a mixture with densities; {_ADVICE}"
        )
    for k in range(1, n_folds):
        first = leader(usable)
        for i in np.flatnonzero(usable):
            usable[i] = behind(first, i) <= _BEHIND and score(i, k)
        if not usable.any():
            raise ConvergenceError(
                "no candidate of sigma and rho gave a mixture with densities in every fold; "
                f"{_ADVICE}"
            )
    best = leader(usable)
    scores, spread = np.full(len(pairs), np.nan), np.full(len(pairs), np.nan)
    spreads = np.array([variation(data, s, r * count / len(X)) for s, r in pairs])
    scores[failed] = -np.inf
    for i in np.flatnonzero(np.isfinite(values).any(axis=1) & ~failed):
        scores[i] = mean(i)
        spread[i] = 0.0 if i == best else _gap(values[best], values[i], weights)[1]
    close = [i for i in np.flatnonzero(usable) if behind(best, i) <= 1.0]
    flat = spreads < _LEVEL
    flat[0] |= rhos is None  # the first of the default candidates
    chosen = _chosen(best, close, spreads, flat, rule)
    return Bandwidth(
        sigma=pairs[chosen][0],
        rho=pairs[chosen][1],
        sigmas=to_jax([p[0] for p in pairs]),
        rhos=to_jax([p[1] for p in pairs]),
        scores=to_jax(scores),
        stderr=to_jax(spread),
        variation=to_jax(spreads),
        n_scored=to_jax(np.isfinite(values).sum(axis=1)),
    )


def _chosen(best: int, close, spreads, flat, rule: Rule) -> int:
    """The best candidate, or one that is close to it and flatter, as the rule says."""
    flattest = min([best, *close], key=lambda i: spreads[i])
    if rule == "one-se" or (rule == "flat-first" and flat[flattest]):
        return flattest
    return best


def _mean(values, weights) -> float:
    """The weighted mean of what is known."""
    known = ~np.isnan(values)
    return float(np.sum(np.where(known, weights * values, 0.0)) / np.sum(weights[known]))


def _gap(one, other, weights) -> tuple[float, float]:
    """Mean of the first minus the second on the points that both score, and its standard error."""
    both = np.isfinite(one) & np.isfinite(other)
    difference, share = (one - other)[both], weights[both]
    if difference.size < 2:
        return 0.0, np.inf
    mean = np.sum(share * difference) / np.sum(share)
    apart = difference.size * share / np.sum(share) * (difference - mean)
    error = np.sqrt(np.sum(apart**2) / (difference.size - 1)) / np.sqrt(difference.size)
    return float(mean), float(error)


def _behind(one, other, weights) -> float:
    """How many standard errors the second is behind the first."""
    mean, error = _gap(one, other, weights)
    return mean / error if error > 0 else np.inf * np.sign(mean) if mean else 0.0


def variation(data, sigma, rho) -> float:
    """Standard deviation of log √det M over the data: how far the metric is from flat."""
    return float(np.std(np.asarray(log_volume(LocalVariance(data, sigma, rho), data))))


def _chains(data, sigmas, rhos, share) -> list[list[tuple[float, float]]]:
    """The candidates for each σ from flat to rough, checked; a flat one first where none is set.

    The rule's ρ for some of the data is multiplied by `share`, all of them over these.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # candidates may be odd: they are compared
        width = auto_sigma(data) if sigmas is None or rhos is None else 1.0
        widths = [f * width for f in _WIDTHS] if sigmas is None else [float(s) for s in sigmas]
        if not widths or not all(np.isfinite(s) and s > 0 for s in widths):
            raise ValueError(f"sigmas must be positive numbers, got {sigmas!r}")
        if rhos is None:
            rules = [(s, share * auto_rho(data, s)) for s in widths]
            flat = (max(rules)[0], _FLAT * max(rules)[1])
            return [[flat], *([(s, f * r) for f in _BOUNDS] for s, r in rules)]
    bounds = [float(r) for r in rhos]
    if not bounds or not all(np.isfinite(r) and r > 0 for r in bounds):
        raise ValueError(f"rhos must be positive numbers, got {rhos!r}")
    return [[(s, r) for r in sorted(bounds, reverse=True)] for s in widths]


def held_out_densities(
    train, test, sigma, rho, options: Options, weights=None, test_weights=None
) -> np.ndarray | None:
    """Lebesgue log-densities of `test` under a LAND mixture of `train`; None where that fails.

    Data may be at fault, too, such as a fold of equal points.
    """
    d = train.shape[1]
    n_directions = (32 if d <= 2 else 128) if options.n_directions is None else options.n_directions
    try:
        model = fit_land_mixture(
            LocalVariance(train, sigma, rho),
            train,
            options.n_components,
            weights=weights,
            n_directions=n_directions,
            tol=1e-2,
            max_iter=30,
            rtol=1e-3,
            seed=options.seed,
            estimator=options.estimator,
            covariance_type=options.covariance_type,
            throw=False,
        )
    except (ConvergenceError, ValueError, np.linalg.LinAlgError):
        return None
    density = np.asarray(model.log_prob(test, "lebesgue", throw=False))
    share = np.average(np.isfinite(density), weights=test_weights)
    return density if share >= 1.0 - _FAILED else None


def held_out(train, test, n_components, sigma, rho, n_directions, seed) -> float:
    """Mean Lebesgue log-density of `test` under a LAND mixture of `train`; −∞ where that fails."""
    found = held_out_densities(train, test, sigma, rho, Options(n_components, n_directions, seed))
    return -np.inf if found is None else float(np.nanmean(found))
