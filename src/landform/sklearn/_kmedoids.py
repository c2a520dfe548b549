"""Geodesic k-medoids as a scikit-learn estimator."""

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
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from landform.sklearn._base import (
    METRIC_CONSTRAINTS,
    SOLVE_CONSTRAINTS,
    PairwiseMixin,
    clustered,
    key_from,
    resolve_metric,
    validate_data,
    warn_unless_converged,
)
from landform.stats.clustering.kmeans import distances_to, nearest_centers
from landform.stats.clustering.kmedoids import geodesic_kmedoids, kmedoids


class GeodesicKMedoids(
    PairwiseMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator
):
    """K-medoids with geodesic distances: clusters around points of the data.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters.
    metric : {"local-variance", "euclidean", "precomputed"}, metric or callable, \
default="local-variance"
        The geometry, as for `GeodesicKMeans`; ``"precomputed"``: X is a matrix of distances.
    sigma, rho : float or "auto", default="auto"
        Parameters of the local-variance metric; see `landform.auto_sigma`, `landform.auto_rho`.
    distances : {"geodesic", "graph"}, default="geodesic"
        Solve every pair, or take shortest paths on a graph: fast for thousands of points, a few
        percent too long in the plane and far too long in eight dimensions.
    method : {"pam", "alternate"}, default="pam"
        Best exchanges, or the best medoid of each cluster in turn.
    init : {"build", "k-means++"}, default="build"
        How to start: greedily, or at random.
    n_init : int, default=1
        Starts with ``init="k-means++"``, of which the best is kept.
    max_iter : int, default=300
        Most exchanges, or rounds.
    num_points, accuracy : int, default=33; float, default=1e-4
        Resolution of the geodesics.
    random_state : int, RandomState instance or None, default=None
        Seed of ``init="k-means++"``.

    Attributes
    ----------
    medoid_indices_ : ndarray of shape (n_clusters,)
        Which points are the medoids.
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        The medoids; None with precomputed distances.
    labels_ : ndarray of shape (n_samples,)
        The cluster of each point.
    inertia_ : float
        Weighted sum of geodesic distances to the medoids.
    n_iter_ : int
        Exchanges, or rounds.
    converged_ : bool
        Whether none was left and no geodesic failed.
    n_failed_ : int
        Pairs whose geodesic failed and was bridged by a chain of others.
    metric_ : landform metric
        The geometry; None with precomputed distances.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X has names.

    Warns
    -----
    ConvergenceWarning
        If the exchanges ran out, a geodesic failed, or fewer points differ than `n_clusters`.

    See Also
    --------
    GeodesicKMeans : Centers anywhere.
    landform.geodesic_kmedoids : The function behind this class.

    Examples
    --------
    >>> from landform.sklearn import GeodesicKMedoids
    >>> X = [[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]]
    >>> model = GeodesicKMedoids(2, metric="euclidean").fit(X)
    >>> model.medoid_indices_.tolist(), round(model.inertia_, 6)
    ([1, 4], 4.0)
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        **METRIC_CONSTRAINTS,
        "metric": [StrOptions({"precomputed"}), *METRIC_CONSTRAINTS["metric"]],
        "distances": [StrOptions({"geodesic", "graph"})],
        "method": [StrOptions({"pam", "alternate"})],
        "init": [StrOptions({"build", "k-means++"})],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
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
        distances="geodesic",
        method="pam",
        init="build",
        n_init=1,
        max_iter=300,
        num_points=33,
        accuracy=1e-4,
        random_state=None,
    ):
        self.n_clusters = n_clusters
        self.metric = metric
        self.sigma = sigma
        self.rho = rho
        self.distances = distances
        self.method = method
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
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
        start = {
            "key": key_from(self.random_state),
            "weights": weights,
            "method": self.method,
            "init": self.init,
            "n_init": self.n_init,
            "max_iter": self.max_iter,
            "throw": False,
        }
        if self.__sklearn_tags__().input_tags.pairwise:
            self.metric_ = self.cluster_centers_ = None
            found = kmedoids(X, self.n_clusters, **start)
        else:
            self.metric_ = resolve_metric(
                self.metric, X[weights > 0], sigma=self.sigma, rho=self.rho
            )
            found = geodesic_kmedoids(
                self.metric_,
                X,
                self.n_clusters,
                distances=self.distances,  # type: ignore
                num_points=self.num_points,
                accuracy=self.accuracy,
                **start,
            )
            self.cluster_centers_ = X[np.asarray(found.medoids)]
        self.medoid_indices_ = np.asarray(found.medoids)
        self.labels_ = np.asarray(found.labels)
        self.inertia_ = float(found.inertia)
        self.n_iter_ = len(found.history)
        self.converged_ = bool(found.converged)
        self.n_failed_ = int(found.n_failed)
        self._n_features_out = len(self.medoid_indices_)
        warn_unless_converged(self, found)
        return self

    def predict(self, X):
        """The nearest medoid of each row of X; −1 where every geodesic failed.

        With precomputed distances X holds those to the data of `fit`.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        if self.metric_ is None:
            return np.argmin(X[:, self.medoid_indices_], axis=1)
        return nearest_centers(
            self.metric_,
            self.cluster_centers_,
            X,
            num_points=self.num_points,
            accuracy=self.accuracy,
        )[0]

    def transform(self, X):
        """Geodesic distances to the medoids, ``(n_samples, n_clusters)``; NaN for failures."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        if self.metric_ is None:
            return X[:, self.medoid_indices_]
        return distances_to(
            self.metric_,
            self.cluster_centers_,
            X,
            num_points=self.num_points,
            accuracy=self.accuracy,
        )
