"""Weights of data in fits of LANDs: how often each point counts."""

import jax
import numpy as np
import pytest

import landform as lf
from landform.stats.land.starts import Starts, subsample

FLAT = lf.Euclidean(2)


@pytest.fixture(scope="module")
def cloud():
    return np.random.default_rng(0).standard_normal((2000, 2))


@pytest.fixture(scope="module")
def heavy(cloud):
    """Weights of a cloud, one of which is five times all others; that point is far out."""
    X, weights = cloud.copy(), np.ones(2000)
    X[7], weights[7] = [3.0, 3.0], 1e4
    return X, weights


def test_one_component_is_fitted_to_the_fewest_points():
    X = np.array([[0.0, 0.0], [1.0, 2.0]])
    model = lf.fit_land_mixture(FLAT, X, 1, n_directions=64)
    assert model.converged
    np.testing.assert_allclose(model.components[0].mean, [0.5, 1.0], atol=1e-4)
    np.testing.assert_allclose(model.components[0].covariance, np.cov(X.T, bias=True), atol=1e-3)


def test_one_component_is_fitted_to_points_of_uneven_weight(cloud):
    X, weights = cloud[:100] + 4.0 * (np.arange(100) < 2)[:, None], np.ones(100)
    weights[:2] = 1000.0
    model = lf.fit_land_mixture(FLAT, X, 1, weights=weights, n_directions=64)
    np.testing.assert_allclose(
        model.components[0].mean, np.average(X, axis=0, weights=weights), atol=1e-3
    )


@pytest.mark.parametrize("fit", ["one", "mixture"])
def test_a_heavy_point_counts_where_some_of_the_data_are_fitted_first(heavy, fit):
    X, weights = heavy
    if fit == "one":
        found = lf.fit_land(FLAT, X, weights=weights, n_directions=64)
    else:
        found = lf.fit_land_mixture(FLAT, X, 1, weights=weights, n_directions=64).components[0]
    np.testing.assert_allclose(found.mean, np.average(X, axis=0, weights=weights), atol=0.01)


@pytest.mark.parametrize("seed", [0, 1])
def test_points_of_weight_zero_are_not_there(cloud, seed):
    weights = 1.0 * (np.arange(2000) < 5)
    land = lf.fit_land(FLAT, cloud, weights=weights, n_directions=64, key=jax.random.key(seed))
    alone = lf.fit_land(FLAT, cloud[:5], n_directions=64, key=jax.random.key(seed))
    np.testing.assert_array_equal(land.mean, alone.mean)
    with pytest.raises(ValueError, match="two different points"):
        lf.fit_land(FLAT, cloud, weights=1.0 * (np.arange(2000) == 3))


def test_a_cluster_of_weight_zero_founds_no_component(cloud):
    X = np.concatenate([cloud[:30], cloud[:30], cloud[:60]])
    X[:, 0] += np.repeat([0.0, 6.0, 300.0], [30, 30, 60])
    weights = np.repeat([1.0, 0.0], 60)
    for init in ("auto", np.repeat([0, 1, 0], [30, 30, 60])):
        model = lf.fit_land_mixture(FLAT, X, 2, weights=weights, init=init, n_directions=64)
        some = init if isinstance(init, str) else init[:60]
        alone = lf.fit_land_mixture(FLAT, X[:60], 2, init=some, n_directions=64)
        for one, other in zip(model.components, alone.components, strict=True):
            np.testing.assert_array_equal(one.mean, other.mean)


def test_failures_count_by_weight():
    X = np.random.default_rng(0).standard_normal((40, 2)) * 0.2 + [0.0, 3.0]
    X[:4, 1] = -1.0  # not in the half-plane: a tenth of the points, of hardly any weight
    weights = np.where(X[:, 1] < 0, 1e-3, 1.0)
    model = lf.fit_land_mixture(lf.PoincareHalfPlane(), X, 1, weights=weights, n_directions=64)
    assert int(model.n_failed) == 4
    with pytest.raises(lf.ConvergenceError, match="10 %"):
        lf.fit_land_mixture(lf.PoincareHalfPlane(), X, 1, n_directions=64)


def test_rows_are_drawn_by_weight_and_stand_for_all():
    rng = np.random.default_rng(0)
    weights = np.r_[500.0, 300.0, np.full(500, 1.0), np.full(500, 0.1)]
    counts = np.zeros(1002)
    for _ in range(200):
        rows, share = subsample(weights, 100, rng)
        assert len(set(rows)) == 100
        assert share.sum() == pytest.approx(weights.sum())
        np.testing.assert_array_equal(share[:2], weights[:2])
        counts[rows] += 1
    assert counts[:2].tolist() == [200, 200]
    assert counts[2:502].sum() / counts[502:].sum() == pytest.approx(10.0, rel=0.1)
    rows, share = subsample(np.ones(1000), 100, np.random.default_rng(1))
    uniform = np.random.default_rng(1).choice(1000, 100, replace=False)
    np.testing.assert_array_equal(rows, uniform)
    np.testing.assert_allclose(share, 10.0)
    assert subsample(weights, 2000, rng)[0].tolist() == list(range(1002))


def test_starts_lie_amid_the_weight():
    X = np.stack([np.arange(11.0), np.zeros(11)], axis=1)
    weights = np.where(np.arange(11) == 9, 100.0, 1.0)
    starts = Starts(FLAT, X, np.random.default_rng(0), weights=weights)
    assert starts.medoids(1)[0].tolist() == [[9.0, 0.0]]
    assert starts.medoids_of(np.ones((11, 1))).tolist() == [[9.0, 0.0]]


def test_the_start_by_a_gaussian_mixture_knows_the_weights(cloud):
    X = cloud[:240] + np.repeat([[0.0, 0.0], [5.0, 0.0], [0.0, 9.0]], 80, axis=0)
    weights = np.repeat([1.0, 1.0, 1e-4], 80)
    found = Starts(FLAT, X, np.random.default_rng(0), weights=weights).gaussian(2)
    assert found is not None
    assert np.abs(found[0][:, 1]).max() < 4.0
