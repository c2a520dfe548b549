"""Spectral clustering on geodesic distances as a scikit-learn estimator."""

from numbers import Integral
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions

from landform.sklearn._base import (
    METRIC_CONSTRAINTS,
    SOLVE_CONSTRAINTS,
    PairwiseMixin,
    clustered,
    key_from,
    resolve_metric,
    warn_unless_converged,
)
from landform.stats.clustering.spectral import ASSIGNMENTS, geodesic_spectral, spectral_clusters


class GeodesicSpectral(PairwiseMixin, ClusterMixin, BaseEstimator):
    """Spectral clustering with geodesic distances: groups joined by chains of neighbors.

    Similarities are ``exp(−d² / (s_i s_j))`` with s_i the geodesic distance of a point to its
    seventh neighbor.

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
    n_neighbors : int, default=7
        Which neighbor's distance is the local scale.
    assign_labels : {"cluster_qr", "kmeans", "discretize"}, default="cluster_qr"
        From eigenvectors to labels, as in scikit-learn's `SpectralClustering`.
    num_points, accuracy : int, default=33; float, default=1e-4
        Resolution of the geodesics.
    random_state : int, RandomState instance or None, default=None
        Seed of the eigensolver and of k-means.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,)
        The cluster of each point.
    affinity_matrix_ : ndarray of shape (n_samples, n_samples)
        The similarities.
    scales_ : ndarray of shape (n_samples,)
        The local scale of each point.
    converged_ : bool
        Whether no geodesic failed.
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
        If a geodesic failed, or fewer points differ than `n_clusters`.

    See Also
    --------
    GeodesicKMedoids : Clusters around points.
    landform.geodesic_spectral : The function behind this class.

    Examples
    --------
    >>> from landform.sklearn import GeodesicSpectral
    >>> X = [[0.0], [1.0], [2.0], [10.0], [11.0]]
    >>> labels = GeodesicSpectral(2, metric="euclidean", n_neighbors=1).fit_predict(X)
    >>> (labels == labels[0]).tolist()
    [True, True, True, False, False]
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        **METRIC_CONSTRAINTS,
        "metric": [StrOptions({"precomputed"}), *METRIC_CONSTRAINTS["metric"]],
        "distances": [StrOptions({"geodesic", "graph"})],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "assign_labels": [StrOptions(set(ASSIGNMENTS))],
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
        n_neighbors=7,
        assign_labels="cluster_qr",
        num_points=33,
        accuracy=1e-4,
        random_state=None,
    ):
        self.n_clusters = n_clusters
        self.metric = metric
        self.sigma = sigma
        self.rho = rho
        self.distances = distances
        self.n_neighbors = n_neighbors
        self.assign_labels = assign_labels
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
        options = {
            "key": key_from(self.random_state),
            "weights": weights,
            "n_neighbors": self.n_neighbors,
            "assign_labels": self.assign_labels,
        }
        if self.__sklearn_tags__().input_tags.pairwise:
            self.metric_ = None
            found = spectral_clusters(X, self.n_clusters, **options)
        else:
            self.metric_ = resolve_metric(
                self.metric, X[weights > 0], sigma=self.sigma, rho=self.rho
            )
            found = geodesic_spectral(
                self.metric_,
                X,
                self.n_clusters,
                distances=self.distances,  # type: ignore
                num_points=self.num_points,
                accuracy=self.accuracy,
                throw=False,
                **options,
            )
        self.labels_ = np.asarray(found.labels)
        self.affinity_matrix_ = np.asarray(found.affinity)
        self.scales_ = np.asarray(found.scales)
        self.converged_ = bool(found.converged)
        self.n_failed_ = int(found.n_failed)
        warn_unless_converged(self, found, "failed and were bridged by chains of others")
        return self
