"""Jacobi fields and the differential of Exp against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform.geodesics.transport import connection
from oracles import half_plane_points, sphere_pairs, two_moons

PLANE, SPHERE = lf.PoincareHalfPlane(), lf.StereographicSphere(3)


@pytest.fixture(scope="module")
def plane():
    rng = np.random.default_rng(3)
    x = half_plane_points(rng, 16)
    v, start, slope = (rng.normal(size=(16, 2)) * x[:, 1:] for _ in range(3))
    return x, v, start, slope


@pytest.fixture(scope="module")
def moons():
    metric = lf.LocalVariance(two_moons(60), 0.3, 1e-2)
    rng = np.random.default_rng(5)
    x = np.asarray(metric.data)[:6]
    v, a, b, c, d = (rng.normal(size=(6, 2)) * 0.2 for _ in range(5))
    return metric, x, v, (a, b), (c, d)


def inner(metric, x, a, b):
    return np.einsum("na,nab,nb->n", a, lf.metric_tensor(metric, x), b)


def test_the_differential_of_exp_is_that_of_the_closed_form(plane):
    x, v, _, _ = plane
    exact = jax.vmap(jax.jacfwd(PLANE._exp, argnums=1))(jnp.asarray(x), jnp.asarray(v))
    found = lf.exp_differential(PLANE, x, v)
    np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-6)
    single = lf.exp_differential(PLANE, x[3], v[3])
    np.testing.assert_allclose(single, exact[3], rtol=1e-6, atol=1e-6)


def test_fields_are_variations_of_geodesics_in_start_and_velocity(plane):
    x, v, start, slope = (jnp.asarray(a) for a in plane)
    rate = slope - jax.vmap(lambda p, u, w: connection(PLANE, p, u, w))(x, v, start)
    exact = jax.vmap(lambda *a: jax.jvp(PLANE._exp, a[:2], a[2:])[1])(x, v, start, rate)
    found = lf.jacobi_field(PLANE, x, v, start=start, slope=slope)
    np.testing.assert_allclose(found.field, exact, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.point, PLANE.exact_exp(x, v), rtol=1e-8)


def test_on_the_sphere_fields_across_a_geodesic_are_sines_and_cosines():
    x, _, v = sphere_pairs(np.random.default_rng(2), 8, dim=3)
    across = np.cross(v, np.random.default_rng(9).normal(size=v.shape))  # conformal: orthogonal
    angle = np.sqrt(inner(SPHERE, x, v, v))
    from_point = lf.jacobi_field(SPHERE, x, v, slope=across)
    size = np.sqrt(inner(SPHERE, x, across, across))
    there = from_point.point
    norms = [np.sqrt(inner(SPHERE, there, a, a)) for a in from_point[2:4]]
    np.testing.assert_allclose(norms[0], size * np.sin(angle) / angle, rtol=1e-7)
    np.testing.assert_allclose(norms[1], size * np.abs(np.cos(angle)), rtol=1e-6, atol=1e-7)
    abreast = lf.jacobi_field(SPHERE, x, v, start=across)
    norms = [np.sqrt(inner(SPHERE, there, a, a)) for a in abreast[2:4]]
    np.testing.assert_allclose(norms[0], size * np.abs(np.cos(angle)), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(norms[1], size * angle * np.sin(angle), rtol=1e-6)


def test_two_fields_keep_their_wronskian(moons):
    metric, x, v, first, second = moons
    one = lf.jacobi_field(metric, x, v, start=first[0], slope=first[1])
    two = lf.jacobi_field(metric, x, v, start=second[0], slope=second[1])
    before = inner(metric, x, first[0], second[1]) - inner(metric, x, first[1], second[0])
    after = inner(metric, one.point, one.field, two.derivative)
    after = after - inner(metric, one.point, one.derivative, two.field)
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6 * np.abs(before).max())


def test_the_differential_matches_differences_of_exp_on_a_learned_metric(moons):
    metric, x, v, _, _ = moons
    found = lf.exp_differential(metric, x, v)
    step = 1e-4
    for j, e in enumerate(np.eye(2) * step):
        slope = (lf.exp(metric, x, v + e) - lf.exp(metric, x, v - e)) / (2 * step)
        np.testing.assert_allclose(found[:, :, j], slope, atol=1e-4)


def test_conjugate_points_are_where_the_differential_is_singular():
    sphere = lf.StereographicSphere(2)
    angle = np.array([0.8, np.pi, 3.6])
    v = np.stack([0.0 * angle, angle], axis=1)  # along the equator, where the chart is isometric
    factor = np.linalg.det(np.asarray(lf.exp_differential(sphere, [1.0, 0.0], v)))
    np.testing.assert_allclose(factor, np.sin(angle) / angle, atol=1e-7)


def test_a_field_that_leaves_the_domain_fails_alone():
    x = np.array([[0.0, 0.0], [0.0, 0.0]])

    class Strip(lf.AbstractMetric):
        def __call__(self, x):
            return jnp.eye(2) * jnp.where(x[0] < 1.0, 1.0, jnp.nan)

    v = np.array([[0.5, 0.0], [2.0, 0.0]])
    field = lf.jacobi_field(Strip(), x, v, slope=[0.0, 1.0], throw=False)
    np.testing.assert_allclose(field.field[0], [0.0, 1.0], atol=1e-9)
    assert np.isnan(field.field[1]).all()
    with pytest.raises(lf.ConvergenceError, match="1 of 2 jacobi_field"):
        lf.jacobi_field(Strip(), x, v)


def test_bad_input_is_named():
    with pytest.raises(TypeError, match="solver must be an AdaptiveIVP"):
        lf.exp_differential(PLANE, [0.0, 1.0], [1.0, 0.0], solver=lf.FixedStepIVP(8))
    with pytest.raises(ValueError, match="slope must have 2 coordinate"):
        lf.jacobi_field(PLANE, [0.0, 1.0], [1.0, 0.0], slope=[1.0, 0.0, 0.0])


def test_across_a_jump_of_the_metric_there_is_no_field():
    class Jump(lf.AbstractMetric):
        def __call__(self, x):
            return jnp.where(x[0] > 0.5, 4.0, 1.0) * jnp.eye(2)

    x, v = np.zeros((2, 2)), np.array([[0.4, 0.0], [1.0, 0.0]])
    for compute in (lf.exp_differential, lf.jacobi_field):
        with pytest.raises(lf.ConvergenceError, match=r"1 of 2 .* not resolved"):
            compute(Jump(), x, v)
    found = lf.exp_differential(Jump(), x, v, throw=False)
    np.testing.assert_allclose(found[0], np.eye(2), atol=1e-9)
    assert np.isnan(found[1]).all()
