"""Walks against stationary laws, eigenfunctions of the Laplacian and exact solutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform.stats.brownian import field_at, walk_from


class Circle(lf.AbstractMetric):
    """A periodic metric on the line."""

    def __call__(self, x):
        return jnp.exp(1.2 * jnp.sin(x))[:, None]


@pytest.mark.parametrize(("walk", "power"), [(lf.brownian_motion, 0.5), (lf.random_walk, 1.0)])
def test_the_stationary_law_on_a_circle_is_the_volume_only_with_the_drift(walk, power):
    start = np.linspace(0.0, 2.0 * np.pi, 4000, endpoint=False)[:, None]
    walks = walk(Circle(), start, key=jax.random.key(0), time=25.0, num_steps=2500)
    # Powers of M are von Mises densities ∝ exp(κ sin x): their mean of sin x is I₁(κ) / I₀(κ).
    kappa = 1.2 * power
    expected = float(jax.scipy.special.i1(kappa) / jax.scipy.special.i0(kappa))
    found = np.sin(np.asarray(walks)[:, 1000::500]).mean(axis=1)
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() - expected) < 4.0 * error + 5e-3
    assert error < 0.02


def test_the_first_eigenfunction_of_the_sphere_decays_at_its_rate():
    sphere, x0, time = lf.StereographicSphere(3), jnp.array([0.4, -0.2, 0.1]), 0.2
    start = np.tile(x0, (20000, 1))
    walks = lf.brownian_motion(sphere, start, key=jax.random.key(5), time=time, num_steps=100)
    cosine = jax.vmap(sphere.embed)(walks[:, -1]) @ sphere.embed(x0)
    error = float(jnp.std(cosine)) / np.sqrt(20000)
    # ½Δ cos r = −(3/2) cos r on S³
    assert abs(float(jnp.mean(cosine)) - np.exp(-1.5 * time)) < 4.0 * error + 3e-3
    plain = lf.random_walk(sphere, start, key=jax.random.key(5), time=time, num_steps=100)
    wrong = jax.vmap(sphere.embed)(plain[:, -1]) @ sphere.embed(x0)
    assert abs(float(jnp.mean(wrong)) - np.exp(-1.5 * time)) > 6.0 * error


def test_the_squared_distance_grows_by_the_dimension_for_short_times():
    sphere, x0, time = lf.StereographicSphere(3), np.array([0.4, -0.2, 0.1]), 0.01
    walks = lf.brownian_motion(
        sphere, np.tile(x0, (20000, 1)), key=jax.random.key(2), time=time, num_steps=100
    )
    squares = np.asarray(sphere.exact_distance(x0, walks[:, -1])) ** 2
    error = squares.std() / np.sqrt(20000)
    assert abs(squares.mean() - 3.0 * time) < 4.0 * error + 0.02 * time
    assert error < 0.02 * time


def test_the_log_height_in_the_half_plane_falls_by_half_the_time():
    walks = lf.brownian_motion(
        lf.PoincareHalfPlane(),
        np.tile([0.0, 2.0], (20000, 1)),
        key=jax.random.key(3),
        time=0.5,
        num_steps=100,
    )
    height = np.log(np.asarray(walks)[:, -1, 1] / 2.0)
    assert abs(height.mean() + 0.25) < 4.0 * height.std() / np.sqrt(20000) + 2e-3
    assert height.var() == pytest.approx(0.5, rel=0.05)


def test_the_strong_order_is_one_half():
    class Line(lf.AbstractMetric):
        """dx² / x²: Brownian motion is x0 exp(W)."""

        def __call__(self, x):
            return (1.0 / x**2)[:, None]

    numbers = np.random.default_rng(4).normal(size=(4000, 256, 1))
    exact = np.exp(numbers.sum(axis=(1, 2)) / 16.0)
    errors, counts = [], np.array([16, 64, 256])
    for count in counts:
        noise = numbers.reshape(4000, count, -1).sum(axis=2, keepdims=True) * np.sqrt(count / 256)
        points, _ = walk_from(Line(), jnp.ones((4000, 1)), jnp.asarray(noise), 1.0 / count, True)
        errors.append(np.sqrt(np.mean((np.asarray(points)[:, -1, 0] - exact) ** 2)))
    order = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert 0.4 < order < 0.65


def test_the_drift_is_the_contraction_of_christoffel_symbols(rng):
    metric = lf.LocalVariance(rng.normal(size=(30, 3)), sigma=0.8, rho=0.1)
    x = jnp.asarray(rng.normal(size=3))
    field = field_at(metric, x, True)
    inverse = np.linalg.inv(np.asarray(metric(x)))
    expected = -0.5 * np.einsum("ijk,jk->i", lf.christoffel(metric, x), inverse)
    np.testing.assert_allclose(field.drift, expected, rtol=1e-10)
    np.testing.assert_allclose(field.root @ field.root.T, inverse, rtol=1e-10)


def test_one_key_gives_one_walk():
    def walk(seed):
        return lf.brownian_motion(
            Circle(), [[0.0], [1.0]], key=jax.random.key(seed), time=1.0, num_steps=20
        )

    np.testing.assert_array_equal(walk(0), walk(0))
    assert not np.allclose(walk(0), walk(1))
    assert not np.allclose(np.diff(walk(0)[0], axis=0), np.diff(walk(0)[1], axis=0))


def test_shapes_follow_the_start():
    walk = lf.random_walk(Circle(), [0.5], key=jax.random.key(0), time=1.0, num_steps=20)
    assert walk.shape == (21, 1)
    assert walk[0, 0] == 0.5
    assert walk.dtype == np.float64


def test_a_walk_that_leaves_the_domain_is_nan_from_there_and_reported():
    start = np.tile([0.0, 1.0], (50, 1))
    arguments = {"key": jax.random.key(0), "time": 20.0, "num_steps": 40}
    with pytest.raises(lf.ConvergenceError, match="of 50 walk") as caught:
        lf.random_walk(lf.PoincareHalfPlane(), start, **arguments)
    walks = np.asarray(lf.random_walk(lf.PoincareHalfPlane(), start, throw=False, **arguments))
    np.testing.assert_array_equal(caught.value.result, walks)
    gone = np.isnan(walks).any(axis=2)
    assert 0 < gone[:, -1].sum() < 50
    assert (np.diff(gone.astype(int), axis=1) >= 0).all()
    assert (walks[~gone][:, 1] > 0).all()
    np.testing.assert_array_equal(gone, np.isnan(walks).all(axis=2))


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ({"x0": [0.0, np.inf]}, ValueError, "x0"),
        ({"x0": [0.0]}, ValueError, "x0"),
        ({"time": 0.0}, ValueError, "time"),
        ({"num_steps": 0}, ValueError, "num_steps"),
        ({"num_steps": 1.5}, TypeError, "num_steps"),
        ({"metric": np.eye(2)}, TypeError, "metric"),
    ],
)
def test_bad_input_is_refused_by_name(arguments, error, name):
    good = {"metric": lf.PoincareHalfPlane(), "x0": [0.0, 1.0], "time": 1.0, "num_steps": 3}
    with pytest.raises(error, match=f"^{name}"):
        lf.brownian_motion(**(good | arguments), key=jax.random.key(0))
