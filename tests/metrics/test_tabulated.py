"""The tabulated metric is the original's, to the fourth power of the grid's spacing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf


class Shear(lf.AbstractMetric):
    """A smooth metric with entries off the diagonal, in any dimension."""

    def __call__(self, x):
        lower = jnp.tril(jnp.sin(x[:, None] + 2.0 * x[None, :]), -1)
        factor = lower + jnp.diag(1.5 + jnp.cos(x))
        return factor @ factor.T


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_error_falls_as_the_fourth_power_of_the_spacing(d, rng):
    x = rng.uniform(-0.5, 0.5, (200, d))
    errors = [
        float(jnp.max(lf.Tabulated(Shear(), [-1.0] * d, [1.0] * d, size=n).error(Shear(), x)))
        for n in (21, 41)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4.0, abs=0.5)
    assert errors[1] < 1e-3


def test_a_geodesic_of_the_table_is_one_of_the_metric():
    plane = lf.PoincareHalfPlane()
    table = lf.Tabulated(plane, [-1.5, 0.3], [1.5, 2.5], size=120)
    x, y = [-1.0, 1.0], [1.0, 1.0]
    np.testing.assert_allclose(lf.distance(table, x, y), plane.exact_distance(x, y), rtol=1e-6)


def test_the_metric_is_twice_differentiable_across_the_cells():
    table = lf.Tabulated(Shear(), [-1.0, -1.0], [1.0, 1.0], size=5)
    with jax.enable_x64(True):
        hessian = jax.jit(jax.jacfwd(jax.jacfwd(table)))
        at = lambda s: np.asarray(hessian(jnp.array([0.5 + s, 0.1])))  # noqa: E731
        np.testing.assert_allclose(at(-1e-9), at(1e-9), atol=1e-6)


@pytest.mark.parametrize("d", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_the_derivatives_are_those_of_the_table(d, rng):
    table = lf.Tabulated(Shear(), [-1.0] * d, [1.0] * d, size=9)
    x, v = jnp.asarray(rng.uniform(-0.9, 0.9, d)), jnp.asarray(rng.normal(size=d))
    check = lf.AbstractMetric
    for ours, theirs in zip(table.energy_terms(x, v), check.energy_terms(table, x, v), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(table.energy_gradient(x, v), check.energy_gradient(table, x, v))
    np.testing.assert_allclose(table.acceleration(x, v), check.acceleration(table, x, v))


@pytest.mark.parametrize("corner", [-0.7, 1.1])
def test_on_the_border_the_derivatives_are_those_of_inside(corner):
    table = lf.Tabulated(Shear(), [-0.7, -0.7], [1.1, 1.1], size=9)
    x, inside = np.array([corner, corner]), np.array([corner, corner]) * (1.0 - 1e-10)
    np.testing.assert_allclose(
        lf.gaussian_curvature(table, x), lf.gaussian_curvature(table, inside), rtol=1e-6
    )
    np.testing.assert_allclose(lf.christoffel(table, x), lf.christoffel(table, inside), atol=1e-7)
    v = jnp.array([0.3, -0.8])
    slow = lf.AbstractMetric.acceleration(table, jnp.asarray(x), v)
    np.testing.assert_allclose(table.acceleration(jnp.asarray(x), v), slow, rtol=1e-9)


def test_beyond_the_box_the_nearest_value_holds():
    table = lf.Tabulated(Shear(), [-1.0, -1.0], [1.0, 1.0], size=9)
    np.testing.assert_array_equal(
        lf.metric_tensor(table, [5.0, 0.2]), lf.metric_tensor(table, [1.0, 0.2])
    )


def test_landmarks_are_those_of_the_metric_or_given(rng):
    data = rng.normal(size=(30, 2))
    metric = lf.LocalVariance(data, sigma=0.5, rho=0.1)
    box = ([-3.0, -3.0], [3.0, 3.0])
    np.testing.assert_array_equal(lf.Tabulated(metric, *box, size=8).landmarks(), data)
    np.testing.assert_array_equal(
        lf.Tabulated(metric, *box, size=8, landmarks=data[:3]).landmarks(), data[:3]
    )


def test_bad_arguments_are_named():
    plane = lf.PoincareHalfPlane()
    with pytest.raises(ValueError, match="high must exceed low"):
        lf.Tabulated(plane, [0.0, 1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match=r"positive definite on the box.*grid points"):
        lf.Tabulated(plane, [0.0, -1.0], [1.0, 1.0], size=8)
    with pytest.raises(ValueError, match="size"):
        lf.Tabulated(plane, [0.0, 1.0], [1.0, 2.0], size=3)
    with pytest.raises(ValueError, match="size must be smaller"):
        lf.Tabulated(lf.Euclidean(5), np.zeros(5), np.ones(5))
    with pytest.raises(TypeError, match="metric"):
        lf.Tabulated(lambda x: x, [0.0], [1.0])
    table = lf.Tabulated(plane, [0.0, 1.0], [1.0, 2.0], size=4)
    with pytest.raises(TypeError, match="metric must be a landform metric"):
        table.error(lambda x: x, [[0.5, 1.5]])
    with pytest.raises(ValueError, match="metric must have dimension 2"):
        table.error(lf.Euclidean(3), [[0.5, 1.5]])
