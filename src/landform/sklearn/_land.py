"""Mixtures of LANDs as a scikit-learn estimator."""

import warnings
from numbers import Integral
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
)

from landform._core.status import ConvergenceError
from landform.metrics.base import log_volume
from landform.metrics.local_variance import LocalVariance
from landform.sklearn._base import (
    METRIC_CONSTRAINTS,
    Positive,
    key_from,
    resolve_metric,
    validate_data,
)
from landform.stats.land.bandwidth import (
    check_varies,
    reaches_over_data,
    tabulated_if_large,
    too_wide,
)
from landform.stats.land.bandwidth_cv import cv_bandwidth
from landform.stats.land.mixture import fit_land_mixture
from landform.stats.land.starts import all_equal

_MAX_FAILED = 0.05  # refuse the mean score if more than this share has no density
_MIN_POINTS = 20  # per component and dimension, for a comparison with a Gaussian mixture
_MAX_BEHIND = 0.3  # nats per point behind the Gaussian mixture, without a warning


class LANDMixture(DensityMixin, BaseEstimator):
    """Mixture of locally adaptive normal distributions.

    Used like `sklearn.mixture.GaussianMixture`: each component is a normal distribution along the
    geodesics of a metric. Log-densities are with respect to Lebesgue measure, so that scores stand
    beside a Gaussian mixture's.

    Parameters
    ----------
    n_components : int, default=1
        Number of components.
    metric : {"local-variance", "euclidean"}, metric or callable, default="local-variance"
        The geometry: learned from the data with `sigma` and `rho`; flat; a landform metric, such as
        that of a generator's latent space; or a function from X to a metric.
    sigma : float, "auto" or "cv", default="auto"
        Width of the local-variance metric: by `landform.auto_sigma`, or with "cv" the one under
        which held-out points are most likely, by `landform.cv_bandwidth` with the same weights and
        covariances and the exact normalizer.
    rho : float or "auto", default="auto"
        Its bound: by `landform.auto_rho`, or with ``sigma="cv"`` chosen together with σ.
    covariance_type : {"full", "diag", "spherical"}, default="full"
        Any covariance; one that is diagonal in the features; or a multiple of the inverse metric.
    normalizer : {"exact", "paper"}, default="exact"
        The normalizer of `landform.LAND`.
    n_directions : int or None, default=None
        Directions in which it is integrated; None is 256 in two dimensions, 1024 in more.
    max_iter : int, default=100
        Most iterations of a start.
    tol : float, default=1e-3
        Gain of the mean log-likelihood at which the iterations stop.
    init : {"auto"} or array-like of shape (n_samples,) or (n_samples, n_components), default="auto"
        Where to start: several starts of `landform.fit_land_mixture`; or the component of each
        point, counted from 0; or memberships ≥ 0, such as `predict_proba` of another fit. What is
        given is the only start; ``sigma="cv"`` does not look at it.
    n_init : int, default=1
        Starts, of which the best is kept.
    random_state : int, RandomState instance or None, default=None
        Seed of the starts, of the integration and of `sample`.

    Attributes
    ----------
    means_ : ndarray of shape (n_components, n_features)
        The means.
    covariances_ : ndarray of shape (n_components, n_features, n_features)
        The covariances of the logarithms at the means, in the coordinates of the data.
    weights_ : ndarray of shape (n_components,)
        The shares.
    converged_ : bool
        Whether the likelihood settled.
    n_iter_ : int
        Iterations of the best start, those of the coarse stage included.
    lower_bound_ : float
        Mean log-likelihood of the data against the metric's volume, which the iterations raise.
    lower_bounds_ : ndarray
        The lower bound before the first iteration with all points and after each.
    n_failed_ : int
        Data without a geodesic to some mean; they do not count for that component.
    metric_ : landform metric
        The geometry; for a local-variance metric of over 2000 points in the plane, its table.
    model_ : landform.LANDMixtureModel
        The distribution itself.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X has names.

    Warns
    -----
    ConvergenceWarning
        If the iterations ran out, or some points have no geodesic to a mean.
    UserWarning
        If the local-variance metric hardly varies over the data, so that the fit is Gaussian, σ
        reaches over all the data, or a Gaussian mixture of as many components describes them better
        by 0.3 nats per point (not compared for few points, weights or the paper's normalizer).

    See Also
    --------
    landform.fit_land_mixture : The function behind this class.

    Examples
    --------
    >>> import numpy as np
    >>> from landform.sklearn import LANDMixture
    >>> X = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    >>> model = LANDMixture(metric="euclidean", random_state=0).fit(X)
    >>> model.means_.round(6).tolist()
    [[1.0, 1.0]]
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        **METRIC_CONSTRAINTS,
        "sigma": [StrOptions({"auto", "cv"}), Positive()],
        "covariance_type": [StrOptions({"full", "diag", "spherical"})],
        "normalizer": [StrOptions({"exact", "paper"})],
        "n_directions": [Interval(Integral, 1, None, closed="left"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Positive(zero=True)],
        "init": [StrOptions({"auto"}), "array-like"],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components=1,
        *,
        metric="local-variance",
        sigma="auto",
        rho="auto",
        covariance_type="full",
        normalizer="exact",
        n_directions=None,
        max_iter=100,
        tol=1e-3,
        init="auto",
        n_init=1,
        random_state=None,
    ):
        self.n_components = n_components
        self.metric = metric
        self.sigma = sigma
        self.rho = rho
        self.covariance_type = covariance_type
        self.normalizer = normalizer
        self.n_directions = n_directions
        self.max_iter = max_iter
        self.tol = tol
        self.init = init
        self.n_init = n_init
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Fit the mixture.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The data; the metric, too, is learned from them.
        y : ignored
            Present for scikit-learn.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each point counts. Points of weight zero are left out, also of the metric,
            which the other weights do not change.

        Returns
        -------
        self
        """
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        init = self.init if isinstance(self.init, str) else np.asarray(self.init)
        if not isinstance(init, str):
            check_consistent_length(X, init)
            init = init[weights > 0]
        X, weights = X[weights > 0], weights[weights > 0]
        if len(X) < max(2, self.n_components):
            raise ValueError(
                f"n_components = {self.n_components} must not exceed n_samples = {len(X)}, of "
                "which at least 2 must have a positive sample_weight"
            )
        key = key_from(self.random_state)
        sigma, rho = self.sigma, self.rho
        if sigma == "cv" and self.metric == "local-variance":
            check_varies(X)
            rhos = None if rho == "auto" else [rho]
            found = cv_bandwidth(
                X,
                self.n_components,
                weights=weights,
                rhos=rhos,
                key=key,
                covariance_type=self.covariance_type,  # pyright: ignore[reportArgumentType]
            )
            sigma, rho = found.sigma, found.rho
        self.metric_ = resolve_metric(self.metric, X, sigma=sigma, rho=rho)
        warned = isinstance(self.metric, str) and isinstance(rho, str)  # by auto_rho
        _warn_if_flat(self.metric_, X, warned)
        if isinstance(self.metric, str):
            self.metric_ = tabulated_if_large(self.metric_, X)
        model = fit_land_mixture(
            self.metric_,
            X,
            self.n_components,
            weights=weights,
            max_iter=self.max_iter,
            tol=self.tol,
            init=init,
            n_init=self.n_init,
            n_directions=self.n_directions,
            key=key,
            throw=False,
            covariance_type=self.covariance_type,  # pyright: ignore[reportArgumentType]
            normalizer=self.normalizer,  # pyright: ignore[reportArgumentType]
        )
        self.model_ = model
        self.means_ = np.stack([np.asarray(c.mean) for c in model.components])
        self.covariances_ = np.stack([np.asarray(c.covariance) for c in model.components])
        self.weights_ = np.asarray(model.weights)
        self.converged_, self.n_iter_ = bool(model.converged), int(model.n_iter)
        self.lower_bounds_ = np.asarray(model.history["lower_bound"])
        self.lower_bound_ = float(self.lower_bounds_[-1])
        self.n_failed_ = int(model.n_failed)
        if not self.converged_:
            warnings.warn(
                f"LANDMixture did not converge in {self.n_iter_} iterations; raise max_iter or "
                "tol, or lower n_components if one is left with hardly any points",
                ConvergenceWarning,
                stacklevel=2,
            )
        if self.n_failed_:
            warnings.warn(
                f"{self.n_failed_} of {len(X)} points have no geodesic to some mean and do not "
                "count for it, as points far from all others may be",
                ConvergenceWarning,
                stacklevel=2,
            )
        if self.normalizer == "exact" and all_equal(weights):
            _warn_if_worse(self, X)
        return self

    def predict_proba(self, X):
        """The posterior probability of each component, ``(n_samples, n_components)``.

        NaN where a geodesic failed, with one warning of how many.
        """
        probability = self._probability(X)
        _warn_of_failed(np.isnan(probability).any(axis=1), "their probabilities are NaN")
        return probability

    def predict(self, X):
        """The most probable component of each point; −1 where a geodesic failed, with a warning."""
        probability = self._probability(X)
        failed = np.isnan(probability).any(axis=1)
        _warn_of_failed(failed, "their label is -1")
        return np.where(failed, -1, np.nan_to_num(probability).argmax(axis=1))

    def fit_predict(self, X, y=None, sample_weight=None):
        """Fit the mixture and return the most probable component of each point."""
        return self.fit(X, sample_weight=sample_weight).predict(X)

    def score_samples(self, X):
        """The log-density of each point against Lebesgue measure.

        NaN where a geodesic failed, with one warning of how many.
        """
        values = self._densities(X)
        _warn_of_failed(np.isnan(values), "their log-density is NaN")
        return values

    def score(self, X, y=None):
        """The mean of `score_samples`, over the points that have a density.

        `landform.ConvergenceError` if more than 5 % have none.
        """
        return self._mean_density(X)[0]

    def sample(self, n_samples=1):
        """Draw points, shape ``(n_samples, n_features)``, and their components."""
        check_is_fitted(self)
        points, labels = self.model_.sample(key_from(self.random_state), n_samples)
        return np.asarray(points), np.asarray(labels)

    def bic(self, X):
        """Bayesian information criterion on X, of the Lebesgue density; lower is better.

        ``−2 n`` times `score`, with its limit, and the penalty of all n points: points without a
        density count as the average of the others.
        """
        mean, count = self._mean_density(X)
        return -2.0 * count * mean + float(self._n_parameters() * np.log(count))

    def aic(self, X):
        """Akaike information criterion on X, as `bic`; lower is better."""
        mean, count = self._mean_density(X)
        return -2.0 * count * mean + 2.0 * self._n_parameters()

    def _n_parameters(self):
        count, d = self.means_.shape
        shape = {"full": d * (d + 1) // 2, "diag": d, "spherical": 1}[self.covariance_type]
        return count - 1 + count * (d + shape)

    def _checked(self, X):
        check_is_fitted(self)
        return validate_data(self, X, reset=False, dtype=np.float64)

    def _probability(self, X):
        X = self._checked(X)
        return np.asarray(self.model_.responsibilities(X, throw=False))

    def _densities(self, X):
        X = self._checked(X)
        return np.asarray(self.model_.log_prob(X, "lebesgue", throw=False))

    def _mean_density(self, X):
        """The mean log-density over the points that have one, and the number of all points."""
        values = self._densities(X)
        failed = np.isnan(values)
        if failed.mean() > _MAX_FAILED:
            raise ConvergenceError(
                f"{failed.sum()} of {failed.size} points have no geodesic to a mean (limit 5 % for "
                "a mean density); score_samples gives those of the others"
            )
        _warn_of_failed(failed, "they do not count in the mean", stacklevel=4)
        return float(np.nanmean(values)), len(values)


def _warn_of_failed(failed, consequence, stacklevel=3):
    """Warn of points without a geodesic to a mean, and say what follows for the result."""
    if failed.any():
        warnings.warn(
            f"{failed.sum()} of {failed.size} points have no geodesic to a mean; {consequence}",
            ConvergenceWarning,
            stacklevel=stacklevel,
        )


def _warn_if_worse(land, X):
    """Warn where a Gaussian mixture of as many components describes the data much better.

    Heavy tails do this: steps off the data are long, and the components have to be wide.
    """
    count, kind = land.n_components, land.covariance_type
    if len(np.unique(X, axis=0)) < _MIN_POINTS * count * X.shape[1]:
        return  # a Gaussian would follow these few too closely
    floor = 1e-6 * float(X.var(axis=0).mean())
    centered = X - X.mean(axis=0)  # scikit-learn's variances lose all digits far from the origin
    peer = GaussianMixture(count, covariance_type=kind, reg_covar=floor, random_state=0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it need not have converged
            score = peer.fit(centered).score(centered)
    except ValueError:  # without a Gaussian mixture there is nothing to compare with
        return
    volume = float(np.mean(np.asarray(log_volume(land.metric_, X))))
    behind = score - (land.lower_bound_ + volume)
    if behind > _MAX_BEHIND:
        warnings.warn(
            f"a Gaussian mixture of {count} component(s) describes the data better, by "
            f"{behind:.2g} nats per point: the metric does not suit them, as with heavy tails; "
            "try sigma='cv', whose choices include a flat metric, or a larger rho",
            UserWarning,
            stacklevel=3,
        )


def _warn_if_flat(metric, X, warned):
    """Warn of a local-variance metric that does not follow the data's shape.

    It is constant over them, no lower than elsewhere, or its σ reaches over all of them; `auto_rho`
    may have `warned` of the last already.
    """
    if not isinstance(metric, LocalVariance):
        return
    wide = reaches_over_data(metric)
    if wide and not warned:
        warnings.warn(too_wide(float(metric.sigma)), UserWarning, stacklevel=3)
    here = np.asarray(log_volume(metric, X))
    away = -0.5 * X.shape[1] * float(np.log(metric.rho))
    if away - np.median(here) < 0.1:
        advice = "lower rho" if wide else "raise sigma or lower rho"
        warnings.warn(
            f"sigma saturates the metric: on the data, too, it is I / rho; {advice}",
            UserWarning,
            stacklevel=3,
        )
    elif np.std(here) < 0.02:
        warnings.warn(
            "sigma flattens the metric: its volume hardly varies over the data; lower sigma",
            UserWarning,
            stacklevel=3,
        )
