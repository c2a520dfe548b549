"""Fréchet means against closed forms, symmetry and direct minimisation."""

import numpy as np
import pytest
from scipy.optimize import minimize

import landform as lf

HALF_PLANE = lf.PoincareHalfPlane()
SOLVED = lf.ScaledMetric(HALF_PLANE, 1.0)  # the same without its closed forms
ONCE = lf.EnergySolver(max_refinements=0)  # each refinement would compile anew
SPHERE = lf.StereographicSphere(2)


def half_plane_cloud(rng, n=24):
    return np.stack([2.0 * rng.normal(size=n), np.exp(0.7 * rng.normal(size=n))], axis=1)


def test_the_flat_mean_is_the_weighted_average(rng):
    X, w = rng.normal(size=(24, 2)), rng.uniform(size=24)
    result = lf.fit_frechet_mean(lf.Euclidean(2), X, w)
    mean = w @ X / w.sum()
    np.testing.assert_allclose(result.point, mean, atol=1e-10)
    np.testing.assert_allclose(result.variance, w @ np.sum((X - mean) ** 2, axis=1) / w.sum())
    np.testing.assert_allclose(result.logs, X - mean, atol=1e-9)


def test_on_a_geodesic_it_is_the_weighted_mean_of_arc_length(rng):
    heights, w = rng.normal(size=24), rng.uniform(size=24)
    X = np.stack([np.full(24, 0.3), np.exp(heights)], axis=1)
    mean = lf.frechet_mean(SOLVED, X, w)
    np.testing.assert_allclose(mean, [0.3, np.exp(w @ heights / w.sum())], rtol=1e-7)


def test_the_gradient_vanishes_at_the_mean_and_the_variance_is_the_exact_one(rng):
    X, w = half_plane_cloud(rng), rng.uniform(size=24)
    result = lf.fit_frechet_mean(SOLVED, X, w)
    logs = np.asarray(HALF_PLANE.exact_log(result.point, X))
    distances = np.asarray(HALF_PLANE.exact_distance(result.point, X))
    scale = np.sqrt(w @ distances**2 / w.sum()) * float(result.point[1])
    assert np.linalg.norm(w @ logs / w.sum()) < 1e-7 * scale
    np.testing.assert_allclose(result.variance, w @ distances**2 / w.sum(), rtol=1e-8)
    np.testing.assert_allclose(result.distances, distances, rtol=1e-7)
    np.testing.assert_allclose(result.logs, logs, atol=1e-7)


def test_it_is_where_direct_minimisation_ends(rng):
    X, w = half_plane_cloud(rng), rng.uniform(size=24)

    def total(p):
        point = np.array([p[0], np.exp(p[1])])
        square = np.sum((X - point) ** 2, axis=1)
        return w @ (2.0 * np.arcsinh(0.5 * np.sqrt(square / (X[:, 1] * point[1])))) ** 2

    best = minimize(total, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 0})
    mean = lf.frechet_mean(SOLVED, X, w)
    np.testing.assert_allclose(mean, [best.x[0], np.exp(best.x[1])], atol=1e-6)


def test_curves_that_are_solved_give_the_mean_of_the_closed_form(rng):
    X, w = half_plane_cloud(rng), rng.uniform(size=24)
    a, b = (lf.fit_frechet_mean(metric, X, w) for metric in (HALF_PLANE, SOLVED))
    np.testing.assert_allclose(a.point, b.point, rtol=1e-6)
    np.testing.assert_allclose(a.distances, b.distances, rtol=1e-6)


def test_the_mean_of_symmetric_points_on_the_sphere_is_their_pole(rng):
    half = 0.5 * rng.normal(size=(12, 2))
    pole = np.array([0.2, -0.3])
    tangents = np.concatenate([half, -half])
    X = SPHERE.exact_exp(pole, tangents)
    np.testing.assert_allclose(lf.frechet_mean(SPHERE, X), pole, atol=1e-7)


def test_a_start_where_the_variance_has_a_saddle_is_left():
    pole = np.array([1.0, 0.0])  # where the metric is the identity
    X = SPHERE.exact_exp(pole, [[2.0, 0.0], [-2.0, 0.0]])  # both nearer to its antipode
    result = lf.fit_frechet_mean(SPHERE, X, init=pole)
    np.testing.assert_allclose(result.point, -pole, atol=1e-7)
    assert float(result.variance) == pytest.approx((np.pi - 2.0) ** 2, rel=1e-9)
    assert (np.diff(result.history) < 1e-12).all()


def test_each_step_lowers_the_variance(rng):
    result = lf.fit_frechet_mean(SOLVED, half_plane_cloud(rng), init=[5.0, 6.0])
    history = np.asarray(result.history)
    assert history.size > 3
    assert (np.diff(history) < 1e-9 * history[:-1]).all()
    assert history[-1] == pytest.approx(float(result.variance), rel=1e-9)


def test_a_weight_of_two_is_a_point_twice_and_of_zero_none(rng):
    X = half_plane_cloud(rng)
    w = np.ones(24)
    w[3], w[:2] = 2.0, 0.0
    twice = np.concatenate([X[2:], X[3:4]])
    a, b = lf.frechet_mean(HALF_PLANE, X, w), lf.frechet_mean(HALF_PLANE, twice)
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_one_point_is_its_own_mean():
    for metric in (HALF_PLANE, SOLVED):
        np.testing.assert_allclose(lf.frechet_mean(metric, [[0.3, 0.1]]), [0.3, 0.1], rtol=1e-15)
        mean = lf.frechet_mean(metric, [[0.3, 0.1]] * 3)
        np.testing.assert_allclose(mean, [0.3, 0.1], rtol=1e-14)


def test_the_mean_of_a_ring_with_a_hole_stays_on_the_ring():
    angle = np.linspace(-1.7, 1.7, 40)
    X = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    metric = lf.LocalVariance(X, sigma=0.15, rho=1e-3)
    mean = lf.frechet_mean(metric, X, accuracy=1e-4, num_points=33, solver=ONCE)
    assert abs(np.linalg.norm(mean) - 1.0) < 0.2
    assert abs(np.arctan2(mean[1], mean[0])) < 0.05
    assert np.linalg.norm(X.mean(axis=0)) < 0.7


def test_a_point_whose_geodesic_fails_is_left_out_and_reported():
    wall = Walled()
    X = np.array([[-1.0, 0.0], [-0.5, 0.0], [0.1, 0.0], [9.0, 0.0]])
    with pytest.raises(lf.ConvergenceError) as caught:
        lf.fit_frechet_mean(wall, X, init=[-0.2, 0.0], solver=ONCE)
    result = caught.value.result
    np.testing.assert_array_equal(np.isnan(result.distances), [False, False, False, True])
    assert result.statuses[3] == result.status != lf.Status.CONVERGED
    np.testing.assert_allclose(result.point, X[:3].mean(axis=0), atol=1e-8)
    mean = lf.frechet_mean(wall, X, init=[-0.2, 0.0], throw=False, solver=ONCE)
    assert np.isnan(mean).all()


class Walled(lf.AbstractMetric):
    """Flat, and not defined in a strip."""

    def __call__(self, x):
        import jax.numpy as jnp

        return jnp.where(jnp.abs(x[0] - 4.0) < 2.0, jnp.nan, 1.0) * jnp.eye(2, dtype=x.dtype)


def test_running_out_of_steps_is_reported(rng):
    with pytest.raises(lf.ConvergenceError, match="limit"):
        lf.frechet_mean(SOLVED, half_plane_cloud(rng), max_steps=1)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"X": [[0.0, 1.0, 2.0]]}, "X"),
        ({"X": [[np.nan, 1.0]]}, "X"),
        ({"weights": [1.0]}, "weights"),
        ({"weights": [-1.0, 2.0]}, "weights"),
        ({"weights": [0.0, 0.0]}, "weights"),
        ({"init": [0.0]}, "init"),
        ({"tol": 0.0}, "tol"),
        ({"max_steps": -1}, "max_steps"),
    ],
)
def test_bad_input_is_refused_by_name(arguments, name):
    with pytest.raises(ValueError, match=f"^{name}"):
        lf.frechet_mean(HALF_PLANE, **({"X": [[0.0, 1.0], [0.0, 2.0]]} | arguments))
