"""K-medoids against brute force, and what it does with geodesics that fail."""

import itertools

import jax
import numpy as np
import pytest

import landform as lf
from landform.stats.clustering.kmedoids import swap_gains


def line(rng, n=14):
    x = rng.normal(size=(n, 2))
    return np.linalg.norm(x[:, None] - x, axis=-1)


def cost(matrix, weights, medoids):
    return weights @ matrix[list(medoids)].min(axis=0)


def test_every_exchange_is_valued_exactly(rng):
    matrix, weights = line(rng), rng.uniform(size=14)
    for medoids in (np.array([3, 8, 11]), np.array([5])):
        gains = swap_gains(matrix, weights, medoids)
        before = cost(matrix, weights, medoids)
        for i, j in itertools.product(range(len(medoids)), range(14)):
            if j in medoids:
                assert gains[i, j] == np.inf
                continue
            after = cost(matrix, weights, [*np.delete(medoids, i), j])
            assert gains[i, j] == pytest.approx(after - before, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_pam_finds_the_best_of_all_medoids_on_small_problems(seed):
    rng = np.random.default_rng(seed)
    matrix, weights = line(rng), rng.uniform(0.5, 1.5, size=14)
    best = min(cost(matrix, weights, m) for m in itertools.combinations(range(14), 3))
    found = lf.kmedoids(
        matrix, 3, weights=weights, init="k-means++", n_init=8, key=jax.random.key(0)
    )
    assert float(found.inertia) == pytest.approx(best, rel=1e-12)
    assert cost(matrix, weights, np.asarray(found.medoids)) == pytest.approx(best)


@pytest.mark.parametrize("method", ["pam", "alternate"])
def test_the_sum_falls_until_nothing_helps(rng, method):
    matrix = line(rng, 60)
    found = lf.kmedoids(matrix, 5, method=method, init=[0, 1, 2, 3, 4])
    assert bool(found.converged)
    assert (np.diff(found.history) < 0).all()
    labels, medoids = np.asarray(found.labels), np.asarray(found.medoids)
    np.testing.assert_array_equal(labels[medoids], np.arange(5))
    np.testing.assert_allclose(found.distances, matrix[medoids].min(axis=0))
    if method == "pam":
        assert swap_gains(matrix, np.ones(60), medoids).min() >= -1e-9


def test_a_point_for_each_cluster_costs_nothing(rng):
    found = lf.kmedoids(line(rng, 6), 6)
    assert float(found.inertia) == 0.0
    np.testing.assert_array_equal(found.labels, np.arange(6))


def test_running_out_of_exchanges_is_reported(rng):
    matrix = line(rng, 60)
    with pytest.raises(lf.ConvergenceError) as caught:
        lf.kmedoids(matrix, 5, init=[0, 1, 2, 3, 4], max_iter=1)
    found = caught.value.result
    assert not found.converged
    assert "limit" in found.reason


def test_a_failed_geodesic_is_bridged_and_counted(monkeypatch):
    x = np.array([[0.0], [1.0], [2.0], [10.0], [11.0]])
    matrix = np.abs(x - x.T)
    matrix[0, 2] = matrix[2, 0] = np.nan
    monkeypatch.setattr(
        "landform.stats.clustering.kmedoids.pairwise_distances", lambda *args, **kwargs: matrix
    )
    with pytest.raises(lf.ConvergenceError):
        lf.geodesic_kmedoids(lf.Euclidean(1), x, 2)
    found = lf.geodesic_kmedoids(lf.Euclidean(1), x, 2, throw=False)
    assert (int(found.n_failed), bool(found.converged)) == (1, False)
    assert float(found.inertia) == 3.0
    matrix[0, 1:] = matrix[1:, 0] = np.nan
    with pytest.raises(lf.ConvergenceError, match="no path"):
        lf.geodesic_kmedoids(lf.Euclidean(1), x, 2, throw=False)


def test_graph_distances_separate_two_moons():
    from sklearn.datasets import make_moons

    X, y = make_moons(160, noise=0.05, random_state=0)
    metric = lf.LocalVariance(X, 0.15, 1e-2)
    found = lf.geodesic_kmedoids(metric, X, 2, distances="graph")
    flat = lf.kmedoids(np.linalg.norm(X[:, None] - X, axis=-1), 2)
    assert lf.f_measure(y, found.labels) > lf.f_measure(y, flat.labels)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"distances": np.zeros((3, 2))}, "distances"),
        ({"distances": np.full((3, 3), np.nan)}, "distances"),
        ({"distances": -np.ones((3, 3))}, "distances must not be negative"),
        ({"distances": np.triu(np.ones((3, 3)), 1)}, "distances must be symmetric"),
        ({"distances": 0.5 + 0.5 * np.eye(3)}, "distances must be 0 from a point to itself"),
        ({"n_clusters": 4}, "n_clusters"),
        ({"n_clusters": 0}, "n_clusters"),
        ({"method": "other"}, "method"),
        ({"init": "other"}, "init"),
        ({"init": [0, 0]}, "init"),
        ({"init": [0, 5]}, "init"),
        ({"init": "k-means++"}, "key"),
        ({"weights": [1.0, -1.0, 1.0]}, "weights"),
        ({"max_iter": 0}, "max_iter"),
    ],
)
def test_bad_input_is_refused_by_name(arguments, name):
    with pytest.raises(ValueError, match=f"^{name}"):
        lf.kmedoids(**({"distances": 1.0 - np.eye(3), "n_clusters": 2} | arguments))
