"""Geodesic k-means against scikit-learn's, and its bounds against brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs, make_moons

import landform as lf
from landform.stats.clustering.kmeans import distances_to, nearest_centers
from landform.stats.clustering.lloyd import DataGraph, Lloyd, plus_plus

FLAT = lf.ScaledMetric(lf.Euclidean(2), 1.0)  # solved, not in closed form
HALF_PLANE = lf.PoincareHalfPlane()
KEY = jax.random.key(0)
ONCE = lf.EnergySolver(max_refinements=0)  # each refinement would compile anew


@pytest.fixture(scope="module")
def blobs():
    X, _ = make_blobs(100, centers=4, cluster_std=1.8, random_state=3)
    return X, KMeans(4, n_init=10, random_state=0, tol=1e-12).fit(X)


@pytest.fixture(scope="module")
def cloud():
    rng = np.random.default_rng(1)
    return np.stack([3.0 * rng.normal(size=150), np.exp(rng.normal(size=150))], axis=1)


@pytest.mark.parametrize("metric", [lf.Euclidean(2), FLAT], ids=["closed", "solved"])
def test_the_flat_metric_gives_the_inertia_of_scikit_learn(blobs, metric):
    X, flat = blobs
    found = lf.geodesic_kmeans(metric, X, 4, key=KEY, n_init=2, solver=ONCE)
    assert bool(found.converged)
    assert float(found.inertia) == pytest.approx(flat.inertia_, rel=1e-6)
    assert int(found.n_failed) == 0


def test_its_centres_are_means_and_its_labels_nearest(cloud):
    found = lf.geodesic_kmeans(HALF_PLANE, cloud, 5, key=KEY, tol=1e-6)
    labels = np.asarray(found.labels)
    all_ = distances_to(HALF_PLANE, found.centers, cloud)
    np.testing.assert_array_equal(labels, all_.argmin(axis=1))
    assert float(found.inertia) == pytest.approx(np.sum(all_.min(axis=1) ** 2), rel=1e-9)
    for j in range(5):
        mean = lf.frechet_mean(HALF_PLANE, cloud[labels == j], init=found.centers[j])
        np.testing.assert_allclose(found.centers[j], mean, rtol=1e-4)


def test_the_inertia_never_rises(cloud):
    for seed in range(3):
        found = lf.geodesic_kmeans(HALF_PLANE, cloud, 5, key=jax.random.key(seed))
        assert (np.diff(found.history) <= 1e-9 * found.history[:-1]).all()
        assert len(found.history) > 3


def test_bounds_spare_most_geodesics_and_change_no_label(cloud):
    state = Lloyd(
        HALF_PLANE, cloud, np.ones(150), cloud[:6], _OPTIONS, DataGraph(HALF_PLANE, cloud)
    )
    state.assign()
    exact = distances_to(HALF_PLANE, cloud[:6], cloud)
    np.testing.assert_array_equal(state.labels, exact.argmin(axis=1))
    assert (state.lower <= exact + 1e-9).all()
    assert state.solved < 0.5 * exact.size
    state.move(tol=1e-3, max_steps=1)
    exact = distances_to(HALF_PLANE, state.centers, cloud)
    assert (state.lower <= exact + 1e-9).all()


_OPTIONS = {"num_points": 33, "accuracy": 1e-4, "solver": lf.EnergySolver()}


def test_an_empty_cluster_restarts_at_the_point_that_is_worst_off():
    X = np.array([[0.0, 0.0], [0.1, 0.0], [5.0, 0.0], [5.1, 0.0], [9.0, 9.0]])
    start = [[0.0, 0.0], [5.0, 0.0], [-90.0, 0.0]]
    found = lf.geodesic_kmeans(lf.Euclidean(2), X, 3, key=KEY, init=start)
    assert len(set(found.labels.tolist())) == 3
    assert float(found.inertia) == pytest.approx(0.01)


def test_weights_stand_for_copies(blobs):
    X, flat = blobs
    w = np.random.default_rng(0).integers(0, 3, size=100)
    start = flat.cluster_centers_
    a = lf.geodesic_kmeans(lf.Euclidean(2), X, 4, key=KEY, init=start, weights=w, tol=1e-6)
    b = lf.geodesic_kmeans(
        lf.Euclidean(2), np.repeat(X, w, axis=0), 4, key=KEY, init=start, tol=1e-6
    )
    assert float(a.inertia) == pytest.approx(float(b.inertia), rel=1e-9)
    np.testing.assert_allclose(a.centers, b.centers, rtol=1e-5)


def test_seeds_are_spread_by_squared_distance():
    X = np.repeat([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]], [80, 3, 3], axis=0)
    square = np.linalg.norm(X[:, None] - X, axis=-1)
    for seed in range(5):
        chosen = plus_plus(np.random.default_rng(seed), np.ones(86), lambda rows: square[rows], 3)
        assert len(np.unique(X[chosen], axis=0)) == 3


def test_more_clusters_than_different_points_still_end():
    X = np.repeat([[0.0, 0.0], [1.0, 0.0]], 4, axis=0)
    found = lf.geodesic_kmeans(lf.Euclidean(2), X, 3, key=KEY)
    assert float(found.inertia) == 0.0


def test_new_points_get_the_nearest_centre(cloud):
    centers, new = cloud[:7], cloud[100:130]
    exact = distances_to(HALF_PLANE, centers, new)
    labels, distances = nearest_centers(HALF_PLANE, centers, new)
    np.testing.assert_array_equal(labels, exact.argmin(axis=1))
    np.testing.assert_allclose(distances, exact.min(axis=1))


@pytest.mark.slow
def test_two_moons_are_told_apart_better_than_by_straight_lines():
    X, y = make_moons(120, noise=0.05, random_state=0)
    metric = lf.LocalVariance(X, 0.15, 1e-2)
    found = lf.geodesic_kmeans(metric, X, 2, key=KEY, throw=False, solver=ONCE)
    flat = KMeans(2, n_init=5, random_state=0).fit_predict(X)
    assert lf.f_measure(y, found.labels) > lf.f_measure(y, flat)
    exact = distances_to(metric, found.centers, X, solver=ONCE)
    agree = np.asarray(found.labels) == np.nanargmin(exact, axis=1)
    assert agree.mean() > 0.98


class Islands(lf.AbstractMetric):
    """Flat for |x| < 1 and |x| > 3, and not defined between."""

    def __call__(self, x):
        gone = (jax.numpy.abs(x[0]) > 1.0) & (jax.numpy.abs(x[0]) < 3.0)
        return jax.numpy.where(gone, jax.numpy.nan, 1.0) * jax.numpy.eye(2, dtype=x.dtype)


def test_a_point_that_no_geodesic_reaches_is_labelled_so_and_reported():
    X = np.array([[0.0, 0.0], [0.1, 0.0], [0.5, 0.0], [0.6, 0.0], [9.0, 0.0]])
    start = X[[0, 2]]
    with pytest.raises(lf.ConvergenceError) as caught:
        lf.geodesic_kmeans(Islands(), X, 2, key=KEY, init=start, solver=ONCE)
    found = caught.value.result
    assert found.labels.tolist() == [0, 0, 1, 1, -1]
    assert np.isnan(found.distances[4])
    assert float(found.inertia) == pytest.approx(0.01)
    assert int(found.n_failed) == 2
    assert "metric" in found.reason


def test_running_out_of_iterations_is_reported(cloud):
    with pytest.raises(lf.ConvergenceError, match="limit"):
        lf.geodesic_kmeans(HALF_PLANE, cloud, 5, key=KEY, max_iter=1)


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ({"X": [[0.0]]}, ValueError, "X"),
        ({"n_clusters": 3}, ValueError, "n_clusters"),
        ({"n_clusters": 1.5}, TypeError, "n_clusters"),
        ({"init": "other"}, ValueError, "init"),
        ({"init": [[0.0, 0.0]]}, ValueError, "init"),
        ({"weights": [1.0]}, ValueError, "weights"),
        ({"tol": -1.0}, ValueError, "tol"),
        ({"n_init": 0}, ValueError, "n_init"),
        ({"metric": None}, TypeError, "metric"),
    ],
)
def test_bad_input_is_refused_by_name(arguments, error, name):
    good = {"metric": lf.Euclidean(2), "X": [[0.0, 0.0], [1.0, 0.0]], "n_clusters": 2}
    with pytest.raises(error, match=f"^{name}"):
        lf.geodesic_kmeans(**(good | arguments), key=KEY)


def test_seeds_are_found_in_data_of_parts_that_no_path_joins():
    class Wall(lf.AbstractMetric):
        def __call__(self, x):
            return jnp.eye(2) * jnp.where(jnp.abs(x[0]) < 1.0, jnp.nan, 1.0)

    X = np.array([[-3.0, 0.0], [-3.1, 0.2], [-2.8, 0.1], [3.0, 0.0], [3.1, 0.2], [2.8, 0.1]])
    for seed in range(3):
        found = lf.geodesic_kmeans(Wall(), X, 2, key=jax.random.key(seed))
        labels = np.asarray(found.labels)
        assert (labels == labels[[0, 0, 0, 3, 3, 3]]).all()
        assert labels[0] != labels[3]


def test_a_geodesic_that_failed_is_tried_again_when_its_centre_has_moved():
    class Hole(lf.AbstractMetric):
        def __call__(self, x):
            return jnp.eye(2) * jnp.where(x @ x < 0.25, jnp.nan, 1.0)

    rng = np.random.default_rng(0)
    near, far = (m + 0.1 * rng.normal(size=(20, 2)) for m in ([1.0, 1.2], [1.5, 6.0]))
    X = np.concatenate([near, far, [[1.5, 0.0]]])  # the last is behind the hole at first
    start = [[-1.5, 0.0], [1.5, 6.0]]
    found = lf.geodesic_kmeans(Hole(), X, 2, key=KEY, init=start)
    np.testing.assert_array_equal(found.labels, [0] * 20 + [1] * 20 + [0])
