"""Geodesic clustering as scikit-learn sees it."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import landform as lf
from landform.sklearn import GeodesicKMeans, GeodesicKMedoids, GeodesicSpectral
from sklearn import config_context

_EQUIVALENCE = "check_sample_weight_equivalence_on_dense_data"
REASONS = {
    GeodesicKMeans: {
        _EQUIVALENCE: "k-means++ draws other starts among repeated points, as scikit-learn's KMeans"
    },
    GeodesicKMedoids: {
        _EQUIVALENCE: "clusters are numbered by the rows of their medoids, which the check shuffles"
    },
}
# Flat geodesics of few points: the checks are about the interface, and their data have many shapes.
COARSE = {"n_clusters": 3, "metric": "euclidean", "num_points": 5, "random_state": 0}


@parametrize_with_checks(
    [
        GeodesicKMeans(**COARSE),
        GeodesicKMedoids(**COARSE, distances="graph"),
        GeodesicSpectral(**COARSE, distances="graph"),
    ],
    expected_failed_checks=lambda estimator: REASONS.get(type(estimator), {}),
)
def test_estimators_pass_the_checks_of_scikit_learn(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)


@pytest.mark.parametrize("cls", [GeodesicKMeans, GeodesicKMedoids, GeodesicSpectral])
def test_a_weight_of_three_is_a_point_three_times(cls, rng):
    X = np.concatenate([rng.normal(size=(15, 2)), rng.normal(size=(15, 2)) + np.array([6.0, 0.0])])
    weights = rng.integers(0, 4, size=30)
    options = {"n_clusters": 2, "metric": "euclidean", "random_state": 0}
    model = cls(**options).fit(X, sample_weight=weights)
    rows = np.repeat(np.arange(30), weights)
    repeated = cls(**options).fit(X[rows])
    first, other = model.labels_[rows], repeated.labels_
    assert lf.f_measure(first, other) == 1.0
    assert model.labels_.shape == (30,)
    assert lf.f_measure(np.arange(30) < 15, model.labels_) == 1.0
    if cls is not GeodesicSpectral:
        assert model.inertia_ == pytest.approx(repeated.inertia_, rel=1e-4)
        np.testing.assert_allclose(
            np.sort(model.cluster_centers_, axis=0),
            np.sort(repeated.cluster_centers_, axis=0),
            atol=1e-4,
        )
    else:
        np.testing.assert_allclose(model.scales_[rows], repeated.scales_)


@pytest.mark.parametrize("cls", [GeodesicKMeans, GeodesicKMedoids, GeodesicSpectral])
def test_weights_are_routed_through_pipelines(cls, rng):
    X, weights = rng.normal(size=(20, 2)), rng.integers(1, 4, size=20)
    model = cls(2, metric="euclidean", random_state=0)
    alone = clone(model).fit(StandardScaler().fit_transform(X), sample_weight=weights)
    with config_context(enable_metadata_routing=True):
        scale = StandardScaler().set_fit_request(sample_weight=False)
        routed = make_pipeline(scale, model.set_fit_request(sample_weight=True))
        routed.fit(X, sample_weight=weights)
    np.testing.assert_array_equal(routed[-1].labels_, alone.labels_)


def test_the_score_of_k_means_is_minus_the_weighted_inertia(rng):
    X, weights = rng.normal(size=(20, 2)), rng.integers(0, 4, size=20)
    model = GeodesicKMeans(2, metric="euclidean", random_state=0).fit(X, sample_weight=weights)
    assert model.score(X, sample_weight=weights) == pytest.approx(-model.inertia_, rel=1e-9)


def test_points_of_weight_zero_do_not_change_the_learned_metric(rng):
    X = rng.normal(size=(30, 2))
    far = np.concatenate([X, [[50.0, 0.0]]])
    model = GeodesicKMedoids(2, sigma=1.0, rho=0.1, distances="graph")
    model.fit(far, sample_weight=np.r_[np.ones(30), 0.0])
    np.testing.assert_array_equal(model.metric_.data, X)
    assert 30 not in model.medoid_indices_


def test_the_flat_metric_gives_the_k_means_of_scikit_learn():
    X, _ = make_blobs(90, centers=3, cluster_std=1.5, random_state=1)
    flat = KMeans(3, n_init=10, random_state=0, tol=1e-12).fit(X)
    ours = GeodesicKMeans(3, metric="euclidean", n_init=3, random_state=0).fit(X)
    assert ours.converged_
    assert ours.inertia_ == pytest.approx(flat.inertia_, rel=1e-6)
    assert ours.score(X) == pytest.approx(-ours.inertia_, rel=1e-9)
    np.testing.assert_array_equal(ours.predict(X), ours.labels_)
    np.testing.assert_allclose(ours.transform(X).min(axis=1) ** 2 @ np.ones(90), ours.inertia_)
    assert ours.get_feature_names_out().tolist() == [f"geodesickmeans{i}" for i in range(3)]


def test_the_metric_can_be_an_object_or_a_function():
    X, _ = make_blobs(40, centers=2, random_state=1)
    for metric in (lf.Euclidean(2), lambda data: lf.Euclidean(data.shape[1])):
        model = GeodesicKMeans(2, metric=metric, random_state=0).fit(X)
        assert isinstance(model.metric_, lf.Euclidean)
    with pytest.raises(TypeError, match="metric"):
        GeodesicKMeans(2, metric=lambda data: data).fit(X)
    with pytest.raises(ValueError, match="metric"):
        GeodesicKMeans(2, metric=lf.Euclidean(3)).fit(X)


def test_the_local_variance_metric_takes_its_rules_or_numbers():
    X, _ = make_moons(120, noise=0.05, random_state=0)
    model = GeodesicKMedoids(2, distances="graph").fit(X)
    sigma = lf.auto_sigma(X)
    assert float(model.metric_.sigma) == sigma
    assert float(model.metric_.rho) == lf.auto_rho(X, sigma)
    model = GeodesicKMedoids(2, distances="graph", sigma=0.2, rho=0.01).fit(X)
    assert (float(model.metric_.sigma), float(model.metric_.rho)) == (0.2, 0.01)


def test_medoids_of_given_distances_are_those_of_the_metric():
    X, _ = make_blobs(40, centers=3, random_state=1)
    flat = lf.Euclidean(2).exact_distance(
        X[:, None].repeat(40, 1).reshape(-1, 2), np.tile(X, (40, 1))
    )
    matrix = np.asarray(flat).reshape(40, 40)
    given = GeodesicKMedoids(3, metric="precomputed").fit(matrix)
    np.testing.assert_allclose(given.inertia_, matrix[given.medoid_indices_].min(axis=0).sum())
    np.testing.assert_array_equal(given.predict(matrix), given.labels_)
    np.testing.assert_array_equal(given.transform(matrix), matrix[:, given.medoid_indices_])
    assert given.cluster_centers_ is None
    assert given.__sklearn_tags__().input_tags.pairwise
    with pytest.raises(ValueError, match="symmetric"):
        GeodesicKMedoids(3, metric="precomputed").fit(np.triu(matrix))


def test_too_few_iterations_warn():
    X, _ = make_blobs(90, centers=3, cluster_std=1.5, random_state=1)
    with pytest.warns(ConvergenceWarning, match="limit"):
        GeodesicKMeans(3, metric="euclidean", max_iter=1, random_state=0).fit(X)


def test_a_point_without_a_distance_has_the_worst_score():
    X = np.array([[-3.0, 1.0], [-2.9, 1.0], [3.0, 1.0], [3.1, 1.0]])
    model = GeodesicKMeans(2, metric=lf.PoincareHalfPlane(), random_state=0).fit(X)
    lost = np.concatenate([X[:3], [[3.1, -1.0]]])  # the last is off the half-plane
    with pytest.warns(ConvergenceWarning, match="1 of 4 points have no geodesic"):
        assert model.score(lost) == -np.inf
    assert np.isfinite(model.score(X))


@pytest.mark.parametrize(
    ("estimator", "metric"),
    [
        (GeodesicKMeans, "euclidean"),
        (GeodesicKMedoids, "euclidean"),
        (GeodesicKMedoids, "precomputed"),
        (GeodesicSpectral, "euclidean"),
        (GeodesicSpectral, "precomputed"),
    ],
)
def test_fewer_distinct_points_than_clusters_warn(estimator, metric):
    X = np.repeat([[0.0, 0.0], [1.0, 1.0]], 5, axis=0)
    if metric == "precomputed":
        X = np.linalg.norm(X[:, None] - X, axis=-1)
    with pytest.warns(ConvergenceWarning, match="X has 2 distinct point.* n_clusters=3"):
        estimator(3, metric=metric, random_state=0).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator(2, metric=metric, random_state=0).fit(X)


def test_spectral_clusters_are_those_of_the_function_and_follow_the_moons():
    X, y = make_moons(150, noise=0.05, random_state=0)
    model = GeodesicSpectral(2, distances="graph", random_state=0).fit(X)
    assert lf.f_measure(y, model.labels_) == 1.0
    assert model.affinity_matrix_.shape == (150, 150)
    assert (model.n_failed_, model.converged_) == (0, True)
    matrix = np.asarray(lf.pairwise_distances(model.metric_, X, method="graph"))
    given = GeodesicSpectral(2, metric="precomputed", random_state=0)
    assert lf.f_measure(y, given.fit_predict(matrix)) == 1.0
    assert given.metric_ is None
    assert given.__sklearn_tags__().input_tags.pairwise
    np.testing.assert_allclose(given.scales_, model.scales_)


@pytest.mark.parametrize("kind", [float, np.float32, np.array, jnp.asarray])
def test_a_number_out_of_a_result_is_a_parameter(kind):
    X = np.random.default_rng(0).normal(size=(20, 2))
    model = GeodesicKMedoids(2, distances="graph", sigma=kind(0.5), rho=kind(0.01)).fit(X)
    assert float(model.metric_.sigma) == 0.5


@pytest.mark.parametrize(
    "wrong", [0.0, -1.0, np.nan, np.inf, True, "wide", [0.5], np.ones(1), None]
)
def test_what_is_no_positive_number_is_refused(wrong):
    X = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match=r"'sigma' parameter .* must be a str .* or a float in"):
        GeodesicKMedoids(2, distances="graph", sigma=wrong).fit(X)
