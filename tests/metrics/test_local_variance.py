"""The local-variance metric of many points: weights, compression, all moments in one pass."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform.metrics._compress import lay_on_grid
from landform.metrics.base import AbstractMetric
from oracles import two_moons

SLOW = [pytest.param(dim, marks=pytest.mark.slow) for dim in (1, 4)]


@pytest.mark.parametrize("dim", [2, 3, *SLOW])
def test_energy_terms_are_those_of_automatic_differentiation(dim):
    rng = np.random.default_rng(dim)
    weights = rng.integers(1, 4, size=40)
    metric = lf.LocalVariance(rng.normal(size=(40, dim)), 0.5, 1e-2, weights=weights)
    x, v = jnp.asarray(rng.normal(size=(2, dim)))
    fast, slow = metric.energy_terms(x, v), AbstractMetric.energy_terms(metric, x, v)
    for ours, theirs in zip(fast, slow, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())


def test_a_weight_of_two_is_a_point_twice(rng):
    data = rng.normal(size=(30, 2))
    once = lf.LocalVariance(data, 0.4, 1e-2, weights=np.r_[np.full(10, 2.0), np.ones(20)])
    twice = lf.LocalVariance(np.concatenate([data[:10], data]), 0.4, 1e-2)
    x = rng.normal(size=(20, 2))
    np.testing.assert_allclose(lf.metric_tensor(once, x), lf.metric_tensor(twice, x), rtol=1e-12)


def test_laying_on_a_grid_keeps_moments_to_degree_fifteen(rng):
    data, weights = rng.uniform(size=(50, 2)), rng.uniform(size=50)
    nodes, share = lay_on_grid(data, weights, 0.1)
    for powers in ((0, 0), (15, 0), (7, 15), (15, 15)):
        exact = weights @ np.prod(data**powers, axis=1)
        np.testing.assert_allclose(share @ np.prod(nodes**powers, axis=1), exact, rtol=1e-9)


@pytest.mark.parametrize("tolerance", [1e-5, 1e-8])
def test_a_compressed_metric_is_the_same_within_its_tolerance(tolerance):
    data = two_moons(20_000)
    metric = lf.LocalVariance(data, 0.2, 1e-3)
    small = metric.compress(tolerance)
    assert small.data.shape[0] < 0.4 * data.shape[0]
    points = np.random.default_rng(8).uniform([-1.0, -0.5], [2.0, 1.0], (300, 2))
    ratio = np.array(lf.metric_tensor(small, points))[:, [0, 1], [0, 1]]
    ratio /= np.array(lf.metric_tensor(metric, points))[:, [0, 1], [0, 1]]
    assert np.max(np.abs(ratio - 1)) < 3 * tolerance
    np.testing.assert_array_equal(small.landmarks(), metric.landmarks())


@pytest.mark.slow
def test_geodesics_of_a_compressed_metric_are_those_of_all_data():
    data = two_moons(12_000)
    metric = lf.LocalVariance(data, 0.3, 1e-2)
    small = metric.compress()
    paths = lf.geodesic(small, data[:3], data[3:6])
    lengths = lf.curve_length(metric, paths.path)
    np.testing.assert_allclose(lengths, paths.length, rtol=1e-7)


def test_little_data_is_left_alone_and_many_columns_are_refused(rng):
    few = lf.LocalVariance(rng.normal(size=(50, 2)), 0.1, 1e-2)
    assert few.compress() is few
    with pytest.raises(ValueError, match="at most 3 columns"):
        lf.LocalVariance(rng.normal(size=(50, 4)), 0.1, 1e-2).compress()
    with pytest.raises(ValueError, match="weights must have shape"):
        lf.LocalVariance(rng.normal(size=(50, 2)), weights=np.ones(3))
    for weights in (-np.ones(6), np.zeros(6)):
        with pytest.raises(ValueError, match="weights must not be negative, and not all zero"):
            lf.LocalVariance(rng.normal(size=(6, 2)), weights=weights)
    with pytest.raises(ValueError, match="data must have at least two different points"):
        lf.LocalVariance(np.ones((5, 2)))


def test_weights_and_landmarks_survive_a_file(tmp_path, rng):
    marks = rng.normal(size=(5, 2))
    metric = lf.LocalVariance(rng.normal(size=(9, 2)), weights=np.arange(9.0), landmarks=marks)
    lf.save(tmp_path / "m.landform", metric)
    back = lf.load(tmp_path / "m.landform")
    jax.tree.map(np.testing.assert_array_equal, back, metric)
    np.testing.assert_array_equal(back.landmarks(), marks)


@pytest.mark.parametrize("d", [2, 5])
def test_data_in_single_precision_give_the_metric_to_single_precision(d, rng):
    clusters = np.concatenate([rng.normal(size=(20, d)), rng.normal(size=(20, d)) + 100.0])
    single = clusters.astype(np.float32)
    x, v = single[3] + np.float32(0.25), rng.normal(size=d).astype(np.float32)

    @eqx.filter_jit
    def all_of(metric, x, v):
        parts = (metric.local_variance(x), metric.energy_gradient(x, v), metric.acceleration(x, v))
        return (*parts, metric.energy_terms(x, v).hessian)

    exact = all_of(lf.LocalVariance(single.astype(float), 1.0), x.astype(float), v.astype(float))
    metric = lf.LocalVariance(single, 1.0)
    for ours, expected in zip(all_of(metric, x, v), exact, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    mixed = all_of(metric, x.astype(float), v.astype(float))  # but for ρ the same numbers
    for ours, expected in zip(mixed, exact, strict=True):
        assert ours.dtype == np.float64
        np.testing.assert_allclose(ours, expected, atol=1e-7 * np.abs(expected).max())
