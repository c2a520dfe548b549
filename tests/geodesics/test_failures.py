"""What cannot be solved, or hardly, is solved right or reported; high dimensions on the way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from oracles import relative, two_moons

SPHERE = lf.StereographicSphere(2)


@pytest.fixture(scope="module")
def moons():
    return lf.LocalVariance(two_moons(100), 0.3, 1e-2)


def honest(paths, exact, accuracy=1e-5):
    """No curve is called converged that is shorter than the distance or not a geodesic."""
    good = np.asarray(paths.converged)
    length = np.asarray(paths.length)
    assert np.all(length[good] >= np.asarray(exact)[good] * (1 - accuracy))
    assert np.all(np.asarray(paths.stats["residual"])[good] < 2e-3)
    return good


def test_points_at_a_rounding_error_are_at_their_distance(moons):
    x = np.asarray(moons.data)[:4]
    step = 1e-13 * np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-1.0, 0.0]])
    y = x + step
    paths = lf.geodesic(moons, x, y)
    gap = y - x  # what is left of the step after rounding
    exact = np.sqrt(np.einsum("na,nab,nb->n", gap, lf.metric_tensor(moons, x), gap))
    np.testing.assert_allclose(paths.length, exact, rtol=1e-6)
    np.testing.assert_allclose(paths.velocity, gap, rtol=1e-9)


def test_end_points_far_outside_the_data_are_joined_or_reported(moons):
    x = np.asarray(moons.data)[:3]
    y = np.array([[40.0, 0.0], [-30.0, 25.0], [1e4, 1e4]])
    paths = lf.geodesic(moons, x, y, throw=False)
    # Nothing shortens a path by more than the data's own disc; outside M = I / ρ.
    least = (np.linalg.norm(y - x, axis=1) - 6.0) / np.sqrt(1e-2)
    good = honest(paths, least)
    flat = np.linalg.norm(y - x, axis=1) / np.sqrt(1e-2)
    assert np.all(np.asarray(paths.length)[good] <= flat[good] * (1 + 1e-6))
    assert np.all(np.isfinite(np.asarray(paths.length)))


@pytest.mark.slow
def test_data_in_two_far_parts_are_bridged_or_reported():
    data = np.concatenate([two_moons(60), two_moons(60) + np.array([20.0, 0.0])])
    metric = lf.LocalVariance(data, 0.3, 1e-2)
    paths = lf.geodesic(metric, data[:2], data[60:62], throw=False)
    good = honest(paths, np.full(2, 15.0 / 0.1))
    bound = np.asarray(paths.stats["bound"])
    assert np.all(np.isfinite(bound))
    assert np.all(np.asarray(paths.length)[good] <= bound[good] * (1 + 1e-6))
    # The data's own parts are short in arc length beside the gap, and few elements fall on them.
    assert np.all(np.isin(paths.status, (lf.Status.CONVERGED, lf.Status.UNRESOLVED)))


def test_conjugate_and_nearly_conjugate_points_are_at_distance_pi_or_reported():
    x = np.array([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
    y = -x + np.array([[0.0, 0.0], [1e-6, 1e-6], [0.0, 1e-3]])
    exact = np.asarray(SPHERE.exact_distance(x, y))
    paths = lf.geodesic(SPHERE, x, y, throw=False)
    good = honest(paths, exact)
    np.testing.assert_allclose(np.asarray(paths.length)[good], exact[good], rtol=1e-5)


@pytest.mark.slow
def test_a_way_through_the_infinity_of_the_chart_is_not_cut_short():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 8)
    x = rng.uniform(1.5, 6.0, (8, 1)) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    y = -x + 0.3 * rng.normal(size=(8, 2))
    honest(lf.geodesic(SPHERE, x, y, throw=False), SPHERE.exact_distance(x, y))


@pytest.mark.parametrize("dim", [10, pytest.param(50, marks=pytest.mark.slow)])
def test_many_dimensions_keep_the_accuracy(dim):
    rng = np.random.default_rng(dim)
    sphere = lf.StereographicSphere(dim)
    x, y = rng.normal(size=(2, 2, dim)) * 0.5 / np.sqrt(dim)
    paths = lf.geodesic(sphere, x, y, num_points=33)
    assert relative(paths.length, sphere.exact_distance(x, y)) < 1e-8
    np.testing.assert_allclose(paths.velocity, sphere.exact_log(x, y), atol=1e-6)


def test_a_decoder_of_many_dimensions_is_solved_by_jacobians():
    rng = np.random.default_rng(1)
    first, second = jnp.asarray(rng.normal(size=(10, 32)) * 0.4), rng.normal(size=(32, 40))
    metric = lf.Pullback(lambda z: jnp.tanh(z @ first) @ jnp.asarray(second))
    x, y = rng.normal(size=(2, 3, 10)) * 0.5
    paths = lf.geodesic(metric, x, y, num_points=33)
    straight = lf.curve_length(metric, np.linspace(x, y, 65).swapaxes(0, 1))
    ends = np.stack([jax.vmap(metric.embed)(a) for a in (jnp.asarray(x), jnp.asarray(y))])
    assert np.all(np.asarray(paths.length) <= np.asarray(straight) * (1 + 1e-9))
    assert np.all(np.asarray(paths.length) >= np.linalg.norm(ends[1] - ends[0], axis=1))


@pytest.mark.parametrize("y", [[0.0, 1.0], [0.0, 0.0]])
def test_a_singular_metric_gives_no_distance_of_zero(y):
    flattened = lf.Pullback(lambda z: jnp.array([z[0], 0.0 * z[1]]))
    path = lf.geodesic(flattened, [0.0, 0.0], y, throw=False)
    assert path.status == lf.Status.BAD_METRIC
    with pytest.raises(lf.MetricError, match="positive definite"):
        lf.log(flattened, [0.0, 0.0], y)


def test_near_points_in_single_precision_are_at_their_distance():
    rng = np.random.default_rng(0)
    x = rng.uniform(50.0, 100.0, size=(12, 2)).astype(np.float32)
    y = (x + 0.05 * rng.normal(size=(12, 2))).astype(np.float32)
    plane = lf.PoincareHalfPlane()
    exact = plane.exact_distance(x.astype(float), y.astype(float))
    np.testing.assert_allclose(lf.distance(plane, x, y), exact, rtol=1e-6)


def test_a_start_in_single_precision_does_not_round_the_ends():
    plane, x, y = lf.PoincareHalfPlane(), np.array([0.1, 1.0]), np.array([1.1, 1.3])
    start = np.array([x, [0.6, 1.3], y], np.float32)
    path = lf.geodesic(plane, x, y, init=start)
    assert (np.asarray(path.curve(0.0)) == x).all()
    np.testing.assert_allclose(path.length, plane.exact_distance(x, y), rtol=1e-12)
