"""Geodesic k-means as a scikit-learn estimator."""

import warnings
from numbers import Integral
from typing import ClassVar

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from landform.sklearn._base import (
    METRIC_CONSTRAINTS,
    SOLVE_CONSTRAINTS,
    Positive,
    clustered,
    key_from,
    resolve_metric,
    validate_data,
    warn_unless_converged,
)
from landform.stats.clustering.kmeans import distances_to, geodesic_kmeans, nearest_centers


class GeodesicKMeans(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator
):
    """K-means with geodesic distances and Fréchet means.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters.
    metric : {"local-variance", "euclidean"}, metric or callable, default="local-variance"
        The geometry: learned from the data with `sigma` and `rho`; flat; a landform metric, such as
        that of a generator's latent space; or a function from X to a metric.
    sigma, rho : float or "auto", default="auto"
        Parameters of the local-variance metric; see `landform.auto_sigma`, `landform.auto_rho`.
    init : {"k-means++"} or array of shape (n_clusters, n_features), default="k-means++"
        How to start.
    n_init : int, default=1
        Starts, of which the best is kept.
    max_iter : int, default=100
        Most iterations of a start.
    tol : float, default=1e-3
        Mean logarithm of a cluster, over its radius, at which its center is settled.
    num_points, accuracy : int, default=33; float, default=1e-4
        Resolution of the geodesics.
    random_state : int, RandomState instance or None, default=None
        Seed of the starts.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        The centers.
    labels_ : ndarray of shape (n_samples,)
        The cluster of each point; −1 where every geodesic to a center failed.
    inertia_ : float
        Weighted sum of squared geodesic distances to the centers, over the points that have a
        cluster.
    inertia_history_ : ndarray
        The inertia after each iteration.
    n_iter_ : int
        Iterations of the best start.
    converged_ : bool
        Whether labels and centers settled and no point was lost.
    n_failed_ : int
        Pairs of point and center whose geodesic failed.
    metric_ : landform metric
        The geometry.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X has names.

    Warns
    -----
    ConvergenceWarning
        If the iterations ran out, points were lost, or fewer points differ than `n_clusters`.

    See Also
    --------
    GeodesicKMedoids : Centers among the data.
    landform.geodesic_kmeans : The function behind this class.

    Examples
    --------
    >>> from landform.sklearn import GeodesicKMeans
    >>> X = [[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]]
    >>> model = GeodesicKMeans(2, metric="euclidean", random_state=0).fit(X)
    >>> round(model.inertia_, 6)
    1.0
    >>> bool(model.predict([[8.0, 0.0]])[0] == model.labels_[2])
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        **METRIC_CONSTRAINTS,
        "init": [StrOptions({"k-means++"}), "array-like"],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Positive()],
        **SOLVE_CONSTRAINTS,
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_clusters=8,
        *,
        metric="local-variance",
        sigma="auto",
        rho="auto",
        init="k-means++",
        n_init=1,
        max_iter=100,
        tol=1e-3,
        num_points=33,
        accuracy=1e-4,
        random_state=None,
    ):
        self.n_clusters = n_clusters
        self.metric = metric
        self.sigma = sigma
        self.rho = rho
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.num_points = num_points
        self.accuracy = accuracy
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Find the clusters of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The data; the metric, too, is learned from them.
        y : ignored
            Present for scikit-learn.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each point counts. Points of weight zero are left out of the metric, which the
            other weights do not change, and still get a label.

        Returns
        -------
        self
        """
        X, weights = clustered(self, X, sample_weight)
        self.metric_ = resolve_metric(self.metric, X[weights > 0], sigma=self.sigma, rho=self.rho)
        found = geodesic_kmeans(
            self.metric_,
            X,
            self.n_clusters,
            key=key_from(self.random_state),
            weights=weights,
            init=self.init,
            n_init=self.n_init,
            tol=self.tol,
            max_iter=self.max_iter,
            num_points=self.num_points,
            accuracy=self.accuracy,
            throw=False,
        )
        self.cluster_centers_ = np.asarray(found.centers)
        self.labels_ = np.asarray(found.labels)
        self.inertia_ = float(found.inertia)
        self.inertia_history_ = np.asarray(found.history)
        self.n_iter_ = len(self.inertia_history_) - 1
        self.converged_ = bool(found.converged)
        self.n_failed_ = int(found.n_failed)
        self._n_features_out = len(self.cluster_centers_)
        warn_unless_converged(self, found)
        return self

    def predict(self, X):
        """The nearest center of each row of X; −1 where every geodesic failed."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return self._nearest(X)[0]

    def transform(self, X):
        """Geodesic distances to the centers, ``(n_samples, n_clusters)``; NaN for failures."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return distances_to(
            self.metric_,
            self.cluster_centers_,
            X,
            num_points=self.num_points,
            accuracy=self.accuracy,
        )

    def score(self, X, y=None, sample_weight=None):
        """Minus the weighted sum of squared geodesic distances to the centers; `y` is ignored.

        −∞, with a `ConvergenceWarning`, if every geodesic from some point to a center failed: a
        sum over the others would rise with each point lost, and a search would choose such models.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
        distances = self._nearest(X)[1]
        lost = int(np.isnan(distances).sum())
        if lost:
            warnings.warn(
                f"{lost} of {len(X)} points have no geodesic to a center: the score is -inf",
                ConvergenceWarning,
                stacklevel=2,
            )
            return -np.inf
        return -float(np.sum(weights * distances**2))

    def _nearest(self, X):
        return nearest_centers(
            self.metric_,
            self.cluster_centers_,
            X,
            num_points=self.num_points,
            accuracy=self.accuracy,
        )
