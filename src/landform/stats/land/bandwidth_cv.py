"""The local-variance metric's parameters by cross-validated likelihood."""

import warnings
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import numpy as np

from landform._core import display
from landform._core.arrays import precise, to_jax
from landform._core.checks import as_count, as_points, as_weights, check_choice, seed_of
from landform._core.status import ConvergenceError
from landform._core.typing import Array, Float, Int, PRNGKeyArray
from landform.metrics.base import log_volume
from landform.metrics.local_variance import LocalVariance
from landform.stats.land.bandwidth import auto_rho, auto_sigma
from landform.stats.land.data import CovarianceType, check_kind
from landform.stats.land.mixture import Estimator, fit_land_mixture

Rule = Literal["one-se", "flat-first", "best"]

_SIGMA_FACTORS = (0.7, 1.2, 2.0)  # times `auto_sigma`
_RHO_FACTORS = (100.0, 10.0, 1.0)  # times `auto_rho`, from nearly flat to rough
_FLAT_RHO_FACTOR = 1e6  # a metric that varies by 1e-4, more where units differ widely
_FLAT_VARIATION = 1e-3  # of log volume, below which a metric counts as flat
_MAX_FAILED = 0.05  # share of held-out points without a density, for a candidate to count
_MAX_BEHIND = 2.0  # standard errors behind the best, for a candidate to be tried further
_ADVICE = "try larger ones, and see whether most of the data are copies of one point"


class Bandwidth(display.AbstractDisplayed):
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
    n_scored: Int[Array, " c"]

    def _summary(self):
        tried = f"chosen from {display.counted(len(self.scores), 'pair')}"
        return [*display.named(self, "sigma", "rho"), tried]


@precise
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
    key: PRNGKeyArray | None = None,
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
    key
        A key of `jax.random` for the folds and the fits; None for a fixed one.
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
    weights = as_weights(weights, len(data))
    data, weights = data[weights > 0], weights[weights > 0]
    least = max(3 * n_folds, 2 * n_components)
    if len(data) < least:
        raise ValueError(f"X must have at least {least} points with a weight, got {len(data)}")
    if max_points < least:
        raise ValueError(
            f"max_points must be at least {least} for {n_folds} folds and {n_components} "
            f"component(s), got {max_points}"
        )
    options = Options(n_components, n_directions, key, estimator, covariance_type)
    race = _Race(data, weights, sigmas, rhos, n_folds, max_points, options)
    race.run_first_fold(progress)
    race.run_other_folds()
    return race.result(rule)


class Options(NamedTuple):
    """How candidates are scored."""

    n_components: int
    n_directions: int | None
    key: PRNGKeyArray | None = None
    estimator: Estimator = "likelihood"
    covariance_type: CovarianceType = "full"


class _Race:
    """The candidates with their densities of held-out points, NaN where they were not scored."""

    def __init__(self, X, weights, sigmas, rhos, n_folds, max_points, options: Options):
        order = np.random.default_rng(seed_of(options.key)).permutation(len(X))[:max_points]
        self.count = len(order) // n_folds * n_folds
        rows = order[: self.count]  # equal folds share compiled programs
        self.data, self.weights, self.total = X[rows], weights[rows], len(X)
        self.chains = _chains(self.data, sigmas, rhos, self.total / self.count)
        self.pairs = [pair for chain in self.chains for pair in chain]
        self.default_rhos = rhos is None
        self.n_folds, self.folds = n_folds, np.arange(self.count) % n_folds
        self.values = np.full((len(self.pairs), self.count), np.nan)
        self.failed = np.zeros(len(self.pairs), bool)
        self.usable = self.failed
        self.options = options

    def run_first_fold(self, progress) -> None:
        """Score the pairs of each σ from flat to rough, until one is far behind the best."""
        start = tried = 0
        for chain in self.chains:
            best = None
            for i in range(start, start + len(chain)):
                good, tried = self._score(i, 0), tried + 1
                if progress is not None:
                    progress(tried)
                if not good or (best is not None and self._behind(best, i) > _MAX_BEHIND):
                    break  # rougher ones are worse still
                if best is None or self._mean(i) > self._mean(best):
                    best = i
            start += len(chain)
        self.usable = ~self.failed & np.isfinite(self.values).any(axis=1)
        if not self.usable.any():
            raise ConvergenceError(
                f"no candidate of sigma and rho gave a mixture with densities; {_ADVICE}"
            )

    def run_other_folds(self) -> None:
        """Score the pairs that are not far behind the best so far."""
        for k in range(1, self.n_folds):
            first = self._leader()
            for i in np.flatnonzero(self.usable):
                near = self._behind(first, i) <= _MAX_BEHIND
                self.usable[i] = near and self._score(i, k)
            if not self.usable.any():
                raise ConvergenceError(
                    "no candidate of sigma and rho gave a mixture with densities in every fold; "
                    f"{_ADVICE}"
                )

    def result(self, rule: Rule) -> Bandwidth:
        """The pair that the rule chooses, with all scores."""
        best, share = self._leader(), self.count / self.total
        scores, stderr = np.full((2, len(self.pairs)), np.nan)
        variations = np.array([variation(self.data, s, r * share) for s, r in self.pairs])
        scores[self.failed] = -np.inf
        for i in np.flatnonzero(np.isfinite(self.values).any(axis=1) & ~self.failed):
            scores[i] = self._mean(i)
            gap = _gap(self.values[best], self.values[i], self.weights)
            stderr[i] = 0.0 if i == best else gap[1]
        close = [i for i in np.flatnonzero(self.usable) if self._behind(best, i) <= 1.0]
        flat = variations < _FLAT_VARIATION
        flat[0] |= self.default_rhos  # the first of the default candidates
        chosen = _chosen(best, close, variations, flat, rule)
        return Bandwidth(
            sigma=self.pairs[chosen][0],
            rho=self.pairs[chosen][1],
            sigmas=to_jax([p[0] for p in self.pairs]),
            rhos=to_jax([p[1] for p in self.pairs]),
            scores=to_jax(scores),
            stderr=to_jax(stderr),
            variation=to_jax(variations),
            n_scored=to_jax(np.isfinite(self.values).sum(axis=1)),
        )

    def _score(self, i, k) -> bool:
        """Fill in the densities of one pair on one fold; whether there are any."""
        test = self.folds == k
        sigma, rho = self.pairs[i]
        found = held_out_densities(
            self.data[~test],
            self.data[test],
            sigma,
            rho * np.sum(~test) / self.total,
            self.options,
            self.weights[~test],
            self.weights[test],
        )
        self.failed[i] = found is None
        if found is not None:
            self.values[i, test] = found
        return found is not None

    def _mean(self, i) -> float:
        """The weighted mean of the densities that are known."""
        values, known = self.values[i], ~np.isnan(self.values[i])
        total = np.sum(np.where(known, self.weights * values, 0.0))
        return float(total / np.sum(self.weights[known]))

    def _behind(self, i, j) -> float:
        """How many standard errors the second is behind the first."""
        mean, error = _gap(self.values[i], self.values[j], self.weights)
        return mean / error if error > 0 else np.inf * np.sign(mean) if mean else 0.0

    def _leader(self) -> int:
        """The usable candidate with the highest score on all that was held out so far."""
        means = [self._mean(i) if ok else -np.inf for i, ok in enumerate(self.usable)]
        return int(np.argmax(means))


def _chosen(best: int, close, spreads, flat, rule: Rule) -> int:
    """The best candidate, or one that is close to it and flatter, as the rule says."""
    flattest = min([best, *close], key=lambda i: spreads[i])
    if rule == "one-se" or (rule == "flat-first" and flat[flattest]):
        return flattest
    return best


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
        widths = (
            [f * width for f in _SIGMA_FACTORS] if sigmas is None else [float(s) for s in sigmas]
        )
        if not widths or not all(np.isfinite(s) and s > 0 for s in widths):
            raise ValueError(f"sigmas must be positive numbers, got {sigmas!r}")
        if rhos is None:
            rules = [(s, share * auto_rho(data, s)) for s in widths]
            flat = (max(rules)[0], _FLAT_RHO_FACTOR * max(rules)[1])
            return [[flat], *([(s, f * r) for f in _RHO_FACTORS] for s, r in rules)]
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
            key=options.key,
            estimator=options.estimator,
            covariance_type=options.covariance_type,
            throw=False,
        )
    except (ConvergenceError, ValueError, np.linalg.LinAlgError):
        return None
    density = np.asarray(model.log_prob(test, "lebesgue", throw=False))
    share = np.average(np.isfinite(density), weights=test_weights)
    return density if share >= 1.0 - _MAX_FAILED else None
