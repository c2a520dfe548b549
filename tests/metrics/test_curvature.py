"""Connection and curvature against closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf

SPHERE = lf.StereographicSphere(3)


def test_christoffel_symbols_of_the_half_plane():
    gamma = lf.christoffel(lf.PoincareHalfPlane(), [0.3, 2.0])
    expected = np.zeros((2, 2, 2))
    expected[0, 0, 1] = expected[0, 1, 0] = expected[1, 1, 1] = -0.5
    expected[1, 0, 0] = 0.5
    np.testing.assert_allclose(gamma, expected, atol=1e-14)


def test_curvatures_of_space_forms():
    sphere, plane = lf.StereographicSphere(3), lf.PoincareHalfPlane()
    points = np.array([[0.1, 0.5, -0.3], [1.0, 0.2, 0.4]])
    np.testing.assert_allclose(lf.scalar_curvature(sphere, points), [6.0, 6.0], rtol=1e-9)
    u, v = np.array([[1.0, 0.0, 0.0]] * 2), np.array([[0.3, 1.0, 1.0]] * 2)
    np.testing.assert_allclose(lf.sectional_curvature(sphere, points, u, v), [1, 1], rtol=1e-9)
    assert np.isnan(lf.sectional_curvature(sphere, points[0], u[0], 2 * u[0]))
    np.testing.assert_allclose(lf.gaussian_curvature(4.0 * plane, [0.1, 0.7]), -0.25, rtol=1e-9)
    with pytest.raises(ValueError, match="2 coordinates"):
        lf.gaussian_curvature(sphere, points)


def test_gaussian_curvature_of_a_surface_of_revolution():
    torus = lf.Pullback(
        lambda z: jnp.array(
            [
                (2 + jnp.cos(z[1])) * jnp.cos(z[0]),
                (2 + jnp.cos(z[1])) * jnp.sin(z[0]),
                jnp.sin(z[1]),
            ]
        )
    )
    latitude = 0.8
    expected = np.cos(latitude) / (2 + np.cos(latitude))
    np.testing.assert_allclose(lf.gaussian_curvature(torus, [0.3, latitude]), expected, rtol=1e-10)


def test_riemann_tensor_has_its_symmetries():
    metric = lf.ExpectedPullback(
        lambda z: jnp.array([jnp.tanh(z[0]), z[1] ** 2, jnp.sin(z[0] * z[1]), z[0] + z[1]]),
        lambda z: jnp.array([0.1, 0.2, 0.3, 0.4]) * jnp.exp(0.5 * z @ z),
    )
    x = jnp.array([0.4, 0.9])
    up = np.asarray(lf.riemann_curvature(metric, x))
    low = np.einsum("al,lkij->akij", metric(x), up)
    np.testing.assert_allclose(low, -np.swapaxes(low, 2, 3), atol=1e-10)
    np.testing.assert_allclose(low, -np.swapaxes(low, 0, 1), atol=1e-10)
    np.testing.assert_allclose(low, np.transpose(low, (2, 3, 0, 1)), atol=1e-10)


def test_riemann_is_that_of_constant_curvature():
    rng = np.random.default_rng(4)
    x, u, v, w = rng.normal(size=(4, 3)) * 0.5
    tensor = np.asarray(lf.riemann_curvature(SPHERE, x))
    metric = np.asarray(lf.metric_tensor(SPHERE, x))
    turned = np.einsum("lkij,k,i,j->l", tensor, w, u, v)
    np.testing.assert_allclose(turned, (v @ metric @ w) * u - (u @ metric @ w) * v, atol=1e-9)
    np.testing.assert_allclose(lf.sectional_curvature(SPHERE, x, u, v), 1.0, rtol=1e-9)


def test_christoffel_symbols_are_those_of_a_conformal_metric():
    x = np.array([0.3, -0.2, 0.5])
    slope = -2.0 * x / (1.0 + x @ x)  # of log √λ
    eye = np.eye(3)
    exact = np.einsum("ki,j->kij", eye, slope) + np.einsum("kj,i->kij", eye, slope)
    exact = exact - np.einsum("ij,k->kij", eye, slope)
    np.testing.assert_allclose(lf.christoffel(SPHERE, x), exact, atol=1e-12)
