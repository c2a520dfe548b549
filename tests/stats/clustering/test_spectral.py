"""Spectral clustering from distances: chains that centers cannot find, scales, failures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import SpectralClustering
from sklearn.datasets import make_circles

import landform as lf
from landform.stats.clustering.spectral import local_scales


def distances(points):
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def agreement(labels, truth):
    return float(lf.f_measure(truth, np.asarray(labels)))


@pytest.fixture(scope="module")
def rings():
    return make_circles(200, factor=0.4, noise=0.04, random_state=0)


def test_rings_are_told_apart_that_medoids_cut(rings):
    X, y = rings
    matrix = distances(X)
    for assign in ("cluster_qr", "kmeans", "discretize"):
        found = lf.spectral_clusters(matrix, 2, assign_labels=assign)
        assert agreement(found.labels, y) == 1.0
    assert agreement(lf.kmedoids(matrix, 2).labels, y) < 0.8


def test_labels_are_those_of_scikit_learn_on_the_stated_affinity(rings):
    X, _ = rings
    matrix = distances(X)
    scales = np.sort(matrix, axis=1)[:, 7]
    affinity = np.exp(-(matrix**2) / np.outer(scales, scales))
    found = lf.spectral_clusters(matrix, 3)
    np.testing.assert_allclose(found.affinity, affinity, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.scales, scales)
    theirs = SpectralClustering(
        3, affinity="precomputed", assign_labels="cluster_qr", random_state=0
    ).fit_predict(affinity)
    assert agreement(found.labels, theirs) == 1.0


def test_the_unit_of_the_distances_and_the_order_of_the_points_do_not_matter(rings):
    X, _ = rings
    matrix = distances(X)
    found = lf.spectral_clusters(matrix, 2)
    np.testing.assert_allclose(lf.spectral_clusters(1e4 * matrix, 2).affinity, found.affinity)
    order = np.random.default_rng(0).permutation(len(X))
    again = lf.spectral_clusters(matrix[np.ix_(order, order)], 2)
    assert agreement(again.labels, np.asarray(found.labels)[order]) == 1.0


def test_coincident_points_have_the_scale_of_the_nearest_other_one():
    points = np.array([[0.0]] * 5 + [[2.0]] * 5 + [[7.0]])
    np.testing.assert_array_equal(local_scales(distances(points), 3), [2.0] * 10 + [5.0])
    np.testing.assert_array_equal(local_scales(np.zeros((3, 3)), 7), np.ones(3))
    labels = lf.spectral_clusters(distances(points), 2, n_neighbors=3).labels
    assert len(set(np.asarray(labels)[:5].tolist())) == 1


@pytest.mark.parametrize("assign", ["cluster_qr", "kmeans"])
def test_clusters_too_far_apart_for_any_similarity_are_found(assign):
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(6), 15)
    points = 1e3 * truth[:, None] + rng.normal(size=(90, 2))
    found = lf.spectral_clusters(distances(points), 6, assign_labels=assign)
    assert (np.asarray(found.affinity)[:15, 15:] == 0.0).all()
    assert agreement(found.labels, truth) == 1.0


def test_geodesic_distances_are_those_of_the_metric():
    rng = np.random.default_rng(0)
    data = np.concatenate([rng.normal(-3, 0.3, (8, 2)), rng.normal(3, 0.3, (8, 2))])
    data[:, 1] = np.exp(0.2 * data[:, 1])
    plane = lf.PoincareHalfPlane()
    rows, columns = np.indices((16, 16)).reshape(2, -1)
    exact = np.asarray(plane.exact_distance(data[rows], data[columns])).reshape(16, 16)
    found = lf.geodesic_spectral(plane, data, 2)
    np.testing.assert_allclose(
        found.affinity, lf.spectral_clusters(exact, 2).affinity, rtol=1e-3, atol=1e-9
    )
    assert bool(found.converged)
    assert agreement(found.labels, np.repeat([0, 1], 8)) == 1.0


class Hole(lf.AbstractMetric):
    """Flat, and not a number inside a disc that some pairs cannot avoid on a straight line."""

    radius: jax.Array

    def __call__(self, x):
        return jnp.where(x @ x < self.radius**2, jnp.nan, 1.0) * jnp.eye(2)


def test_failed_pairs_are_bridged_counted_and_reported():
    points = np.array([[-2.0, 0.0], [-1.6, 1.2], [-1.6, -1.2], [2.0, 0.0], [1.6, 1.2], [1.6, -1.2]])
    metric = Hole(jnp.asarray(0.9))
    raw = np.asarray(lf.pairwise_distances(metric, points, throw=False, num_points=9))
    assert np.isnan(raw).any()
    found = lf.geodesic_spectral(metric, points, 2, n_neighbors=1, num_points=9, throw=False)
    assert int(found.n_failed) == np.isnan(raw).sum() // 2
    assert not bool(found.converged)
    assert np.isfinite(found.affinity).all()
    with pytest.raises(lf.ConvergenceError, match="spectral clustering"):
        lf.geodesic_spectral(metric, points, 2, n_neighbors=1, num_points=9)
    with pytest.raises(ValueError, match="NaN"):
        lf.spectral_clusters(raw, 2)


@pytest.mark.parametrize("count", [1, 4])
def test_one_cluster_and_a_cluster_for_each_point_need_no_eigenvectors(count):
    found = lf.spectral_clusters(distances(np.arange(4.0)[:, None]), count)
    assert len(set(np.asarray(found.labels).tolist())) == count


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"distances": np.zeros((2, 3))}, "distances must have shape"),
        ({"distances": -np.ones((3, 3))}, "distances must not be negative"),
        ({"distances": np.triu(np.ones((3, 3)))}, "distances must be symmetric"),
        ({"distances": 0.5 + 0.5 * np.eye(3)}, "distances must be 0 from a point to itself"),
        ({"n_clusters": 9}, "n_clusters must be at most"),
        ({"n_clusters": 0}, "n_clusters"),
        ({"n_neighbors": 0}, "n_neighbors"),
        ({"assign_labels": "best"}, "assign_labels"),
    ],
)
def test_bad_arguments_are_refused_by_name(change, name):
    good = {"distances": distances(np.arange(5.0)[:, None]), "n_clusters": 2}
    with pytest.raises(ValueError, match=name):
        lf.spectral_clusters(**(good | change))
