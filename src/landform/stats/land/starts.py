"""Where expectation maximisation may begin: shares of the points in every component."""

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
_MIXTURE_TOL = 1e-6  # gain of an iteration, in nats per point, at which the mixture has converged
_MIXTURE_MAX_ITER = 2000
_MAX_DISTANCE = 10.0  # in median distances; larger ones count as this in the choice of a medoid


def drawn(weights, most: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """No more than `most` rows of weighted data, and the weights for which they stand.

    Rows so heavy that they would be drawn several times are all there. The others are drawn by
    weight, and share theirs evenly: they stand for all that are not there.
    """
    weights = np.asarray(weights, dtype=float)
    if len(weights) <= most:
        return np.arange(len(weights)), weights
    sure = np.zeros(len(weights), dtype=bool)
    while (more := ~sure & (weights * (most - sure.sum()) >= weights[~sure].sum())).any():
        sure |= more
    left = np.flatnonzero(~sure)
    light, count = weights[left], most - int(sure.sum())
    odds = None if even(light) else light / light.sum()
    some = rng.choice(left, count, replace=False, p=odds)
    rows = np.concatenate([np.flatnonzero(sure), some])
    return rows, np.concatenate([weights[sure], np.full(count, light.sum() / max(count, 1))])


def even(weights) -> bool:
    """Whether all weights are the same."""
    return bool((weights == weights[0]).all())


def capped(square) -> np.ndarray:
    """Squared distances of which those far over the median count as no more than that.

    Otherwise the middle of data with a far outlier would be the point that is nearest to it.
    """
    apart = square[np.isfinite(square) & (square > 0.0)]
    return np.minimum(square, _MAX_DISTANCE**2 * np.median(apart)) if apart.size else square


class Starts:
    """Starts for weighted data under a metric; the graph distances are found once.

    Where only some of the data are fitted at first, `everything` has all of them: a Gaussian
    mixture of all costs little, and one of some may be in another optimum.
    """

    def __init__(self, metric, X, rng, everything=None, *, weights=None, all_weights=None):
        self.metric, self.X, self.rng = metric, X, rng
        weights = np.ones(len(X)) if weights is None else weights
        self.everything = X if everything is None else everything
        self.all_weights = weights if all_weights is None else all_weights
        self.seed = int(rng.integers(np.iinfo(np.int32).max))
        self.some, self.weights = drawn(weights, _MAX_CANDIDATES, rng)
        points = X[self.some]
        square = np.asarray(pairwise_distances(metric, points, method="graph", throw=False)) ** 2
        finite = square[np.isfinite(square)]
        self.square = np.where(np.isfinite(square), square, 10.0 * finite.max() + 1.0)
        self.capped = capped(self.square)

    def several(self, count: int, medoids: int):
        """Different starts: `medoids` times k-medoids, and for a mixture a Gaussian one, second.

        Neither kind is best throughout. Medoids follow curves, but take every cluster to be round;
        a Gaussian mixture knows elongated and overlapping clusters, but nothing of curves.
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

        Clusters of no more than d points, as around a far outlier, do not found a component.
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
        """Memberships ``(n, k)`` in the best of some Gaussian mixtures, and the points amid them.

        None where there is none with more than d points in every component.
        """
        X, d, few, weights = self.X, self.X.shape[1], self.everything, self.all_weights
        if not even(weights):  # the mixture knows no weights: points count as often as drawn
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
        centers = self.amid(shares)
        return None if len(np.unique(centers, axis=0)) < count else (centers, shares)

    def amid(self, shares) -> np.ndarray:
        """Of the candidates, the medoid of every component, given memberships ``(n, k)``.

        Of a component to which no candidate belongs, the point that belongs to it most.
        """
        amid = self.some[np.argmin(self.capped * self.weights @ shares[self.some], axis=0)]
        return self.X[np.where(shares[self.some].any(axis=0), amid, shares.argmax(axis=0))]


@functools.lru_cache(maxsize=4)
def _best_mixture(data: bytes, shape: tuple[int, int], count: int, seed: int):
    """The likeliest Gaussian mixture of some starts, and the basis in which it was fitted.

    None for data too few or all equal. Kept, since the same data are fitted under many metrics
    where these are compared.
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
    """The best Gaussian mixture of some starts of each kind, with a least variance, to its end."""
    from sklearn.mixture import GaussianMixture

    options = {"n_init": _N_INIT, "reg_covar": floor, "random_state": seed}
    fits = [GaussianMixture(count, init_params=kind, **options).fit(X) for kind in _INIT_PARAMS]
    return [settled(fit, X) for fit in fits]


def settled(fit, X):
    """A Gaussian mixture of `X` iterated on from where another stopped, to a gain of 1e-6 nats.

    scikit-learn's tolerance of 1e-3 leaves mixtures of one optimum further apart than different
    optima are, so that the likeliest of several starts is a matter of luck.
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
    """Where a search for the mean starts."""
    if metric.landmarks() is None:
        return np.average(X, axis=0, weights=weights)
    stride = -(-len(X) // _MAX_CANDIDATES)
    rows, share = np.arange(0, len(X), stride), weights[::stride]
    if stride > 1 and not even(weights):
        rows, share = drawn(weights, _MAX_CANDIDATES, np.random.default_rng(0))
    some = X[rows]
    distance = np.asarray(pairwise_distances(metric, some, method="graph", throw=False))
    cost = capped(np.nan_to_num(distance, nan=np.inf) ** 2) @ share
    return some[int(np.argmin(cost))]
