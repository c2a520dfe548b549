"""Starts of expectation maximisation: shares of the points in every component."""

import functools
import warnings

import numpy as np

from landform.geodesics.distances import pairwise_distances
from landform.stats.clustering.kmedoids import alternate
from landform.stats.clustering.lloyd import plus_plus

_MAX_CANDIDATES = 500  # data among which the first means are searched for
_MAX_ROUNDS = 20  # of k-medoids
_MAX_MIXTURE_DATA = 2000  # data of the Gaussian mixture
_DRAWS_PER_POINT = 4  # draws for the Gaussian mixture, where weights differ
_MIN_VARIANCE = 1e-6  # of the Gaussian mixture, as a share of the data's
_N_INIT = 5  # starts of the Gaussian mixture of each of these kinds
_INIT_PARAMS = ("kmeans", "k-means++", "random_from_data")
_MIXTURE_TOL = 1e-6  # gain of an iteration, in nats per point
_MIXTURE_MAX_ITER = 2000
_MAX_DISTANCE = 10.0  # in median distances; larger ones count as this in the choice of a medoid


def subsample(weights, most: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """No more than `most` rows of weighted data, and the weights for which they stand.

    Rows so heavy that they would be drawn several times are all taken. The others are drawn by
    weight, and the weight of all of them is spread evenly over those drawn.
    """
    weights = np.asarray(weights, dtype=float)
    if len(weights) <= most:
        return np.arange(len(weights)), weights
    sure = np.zeros(len(weights), dtype=bool)
    while (more := ~sure & (weights * (most - sure.sum()) >= weights[~sure].sum())).any():
        sure |= more
    left = np.flatnonzero(~sure)
    light, count = weights[left], most - int(sure.sum())
    odds = None if all_equal(light) else light / light.sum()
    some = rng.choice(left, count, replace=False, p=odds)
    rows = np.concatenate([np.flatnonzero(sure), some])
    return rows, np.concatenate([weights[sure], np.full(count, light.sum() / max(count, 1))])


def all_equal(weights) -> bool:
    """Whether all weights are the same."""
    return bool((weights == weights[0]).all())


def capped(square) -> np.ndarray:
    """Squared distances, those of more than ten times the median distance replaced by that.

    Otherwise the medoid of data with a far outlier would be the point nearest to the outlier.
    """
    apart = square[np.isfinite(square) & (square > 0.0)]
    return np.minimum(square, _MAX_DISTANCE**2 * np.median(apart)) if apart.size else square


class Starts:
    """Starts for weighted data under a metric; the graph distances are found once.

    In the coarse stage `everything` holds all data: a Gaussian mixture of all costs little, and one
    of a part may be in another optimum.
    """

    def __init__(self, metric, X, rng, everything=None, *, weights=None, all_weights=None):
        self.metric, self.X, self.rng = metric, X, rng
        weights = np.ones(len(X)) if weights is None else weights
        self.everything = X if everything is None else everything
        self.all_weights = weights if all_weights is None else all_weights
        self.seed = int(rng.integers(np.iinfo(np.int32).max))
        self.some, self.weights = subsample(weights, _MAX_CANDIDATES, rng)
        points = X[self.some]
        square = np.asarray(pairwise_distances(metric, points, method="graph", throw=False)) ** 2
        finite = square[np.isfinite(square)]
        self.square = np.where(np.isfinite(square), square, 10.0 * finite.max() + 1.0)
        self.capped = capped(self.square)

    def several(self, count: int, medoids: int):
        """Different starts: `medoids` by k-medoids; for several components the second is Gaussian.

        Neither kind is always better. Medoids follow curves, but assume that clusters are round; a
        Gaussian mixture models elongated and overlapping clusters, but no curves.
        """
        found = [self.medoids(count) for _ in range(medoids)]
        if count > 1 and (other := self.gaussian(count)) is not None:
            found.insert(1, other)
        seen = set()
        for centers, shares in found:
            key = centers.tobytes(), shares.argmax(axis=1).tobytes()
            if key not in seen:
                seen.add(key)
                yield centers, shares

    def medoids(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Points of the data and memberships ``(n, k)``, by k-medoids under graph distances.

        Clusters of at most d points, as around a far outlier, do not become a component.
        """
        few = self.X.shape[1] + 1
        inside = np.arange(len(self.some))
        while True:
            chosen, label = self._clusters(count, inside)
            small = np.bincount(label, minlength=count) < few
            rest = inside[~small[label]]
            if not small.any() or len(rest) < count * few:
                break
            inside = rest
        centers = self.X[self.some[np.sort(chosen)]]
        gap = pairwise_distances(self.metric, self.X, centers, method="graph", throw=False)
        gap = np.asarray(gap)
        labels = np.where(np.isfinite(gap), gap, np.inf).argmin(axis=1)
        for k, center in enumerate(centers):
            labels[np.flatnonzero((center == self.X).all(axis=1))[0]] = k
        return centers, np.eye(count)[labels]

    def _clusters(self, count: int, inside) -> tuple[np.ndarray, np.ndarray]:
        """Medoids among some of the candidates, spread out at first, and the labels of these."""
        some = np.ix_(inside, inside)
        square, costs, weights = self.square[some], self.capped[some], self.weights[inside]
        chosen = plus_plus(self.rng, weights, lambda rows: np.sqrt(square[rows]), count)
        for _ in range(_MAX_ROUNDS):
            chosen, settled = alternate(square, weights, chosen, costs)
            if settled:
                break
        label = square[:, chosen].argmin(axis=1)
        label[chosen] = np.arange(count)
        return inside[chosen], label

    def gaussian(self, count: int) -> tuple[np.ndarray, np.ndarray] | None:
        """The medoids of the best of some Gaussian mixtures, and its memberships ``(n, k)``.

        None if no mixture has more than d points in every component.
        """
        X, d, few, weights = self.X, self.X.shape[1], self.everything, self.all_weights
        if not all_equal(weights):  # scikit-learn's mixture has no weights: draw points by weight
            size = min(_DRAWS_PER_POINT * len(few), _MAX_MIXTURE_DATA)
            at = (np.arange(size) + self.rng.random()) / size
            few = few[np.searchsorted(np.cumsum(weights) / weights.sum(), at).clip(0, len(few) - 1)]
        elif len(few) > _MAX_MIXTURE_DATA:
            few = few[self.rng.choice(len(few), _MAX_MIXTURE_DATA, replace=False)]
        found = _best_mixture(few.tobytes(), few.shape, count, self.seed)
        if found is None:
            return None
        best, basis = found
        shares = best.predict_proba(X @ basis)
        if shares.sum(axis=0).min() < d + 1:
            return None
        centers = self.medoids_of(shares)
        return None if len(np.unique(centers, axis=0)) < count else (centers, shares)

    def medoids_of(self, shares) -> np.ndarray:
        """The candidate that is the medoid of each component, given memberships ``(n, k)``.

        For a component without candidates, the point that belongs to it most.
        """
        chosen = self.some[np.argmin(self.capped * self.weights @ shares[self.some], axis=0)]
        return self.X[np.where(shares[self.some].any(axis=0), chosen, shares.argmax(axis=0))]


@functools.lru_cache(maxsize=4)
def _best_mixture(data: bytes, shape: tuple[int, int], count: int, seed: int):
    """The likeliest Gaussian mixture of some starts, and the basis in which it was fitted.

    None if the data are too few or all equal. Cached, since a comparison of metrics fits the same
    data many times.
    """
    X = np.frombuffer(data).reshape(shape)
    d = shape[1]
    if len(X) < count * (d + 1):
        return None
    values, axes = np.linalg.eigh(np.atleast_2d(np.cov(X.T)))
    if not values[-1] > 0:
        return None
    round_ = axes / np.sqrt(np.maximum(values, _MIN_VARIANCE * values[-1]))
    fits = []
    for basis in (np.eye(d), round_):  # k-means sees the units, the mixture does not
        turned, shift = X @ basis, np.linalg.slogdet(basis)[1]
        floor = _MIN_VARIANCE * float(turned.var(axis=0).mean())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a start need not have converged
            for fit in gaussian_mixtures(turned, count, seed, floor):
                fits.append((fit.lower_bound_ + shift, len(fits), fit, basis))
    _, _, best, basis = max(fits)
    return best, basis


def gaussian_mixtures(X, count: int, seed: int, floor: float = 1e-6) -> list:
    """The best Gaussian mixture of some starts of each kind, iterated to convergence."""
    from sklearn.mixture import GaussianMixture

    options = {"n_init": _N_INIT, "reg_covar": floor, "random_state": seed}
    fits = [GaussianMixture(count, init_params=kind, **options).fit(X) for kind in _INIT_PARAMS]
    return [fully_converged(fit, X) for fit in fits]


def fully_converged(fit, X):
    """A Gaussian mixture of `X` started from another, iterated to a gain of 1e-6 nats.

    With scikit-learn's tolerance of 1e-3, mixtures of one optimum differ more in likelihood than
    different optima do, and the choice among starts would be arbitrary.
    """
    from sklearn.mixture import GaussianMixture

    return GaussianMixture(
        fit.n_components,
        tol=_MIXTURE_TOL,
        max_iter=_MIXTURE_MAX_ITER,
        reg_covar=fit.reg_covar,
        weights_init=fit.weights_,
        means_init=fit.means_,
        precisions_init=fit.precisions_,
    ).fit(X)


def central_point(metric, X, weights) -> np.ndarray:
    """The point with the least sum of squared graph distances, or the average without a graph."""
    if metric.landmarks() is None:
        return np.average(X, axis=0, weights=weights)
    stride = -(-len(X) // _MAX_CANDIDATES)
    rows, share = np.arange(0, len(X), stride), weights[::stride]
    if stride > 1 and not all_equal(weights):
        rows, share = subsample(weights, _MAX_CANDIDATES, np.random.default_rng(0))
    some = X[rows]
    distance = np.asarray(pairwise_distances(metric, some, method="graph", throw=False))
    cost = capped(np.nan_to_num(distance, nan=np.inf) ** 2) @ share
    return some[int(np.argmin(cost))]
