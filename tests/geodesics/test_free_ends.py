"""Geodesics with free ends: closed forms, orthogonality, and honest failure."""

import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf

PLANE = lf.PoincareHalfPlane()


def axis(s):
    return jnp.stack([jnp.zeros_like(s[0]), jnp.exp(s[0])])


def circle(center, radius):
    return lambda s: jnp.asarray(center) + radius * jnp.stack([jnp.cos(s[0]), jnp.sin(s[0])])


def test_distance_to_a_geodesic_of_the_half_plane(rng):
    x = np.stack([rng.uniform(0.2, 2.0, 6), rng.uniform(0.3, 3.0, 6)], axis=1)
    found = lf.free_geodesic(PLANE, x, axis, end_at=[0.0])
    np.testing.assert_allclose(found.geodesic.length, np.arcsinh(x[:, 0] / x[:, 1]), rtol=1e-9)
    np.testing.assert_allclose(found.end_at[:, 0], 0.5 * np.log(np.sum(x**2, axis=1)), atol=1e-5)
    assert found.start_at.shape == (6, 0)
    assert np.all(np.asarray(found.gap) <= 1e-6)


def test_two_free_ends_between_circles():
    first, second = circle([0.0, 0.0], 1.0), circle([3.0, 1.0], 0.5)
    begin = [[1.0], [2.0], [0.0]]
    found = lf.free_geodesic(lf.Euclidean(2), first, second, start_at=begin, end_at=[2.0])
    np.testing.assert_allclose(found.geodesic.length, np.sqrt(10.0) - 1.5, rtol=1e-10)


def test_submanifolds_that_intersect_have_distance_zero():
    up = lambda s: jnp.stack([s[0], s[0]])  # noqa: E731
    down = lambda s: jnp.stack([s[0], 1.0 - s[0]])  # noqa: E731
    found = lf.free_geodesic(lf.Euclidean(2), up, down, start_at=[1.0], end_at=[2.0])
    np.testing.assert_allclose([*found.start_at, *found.end_at], 0.5, atol=1e-9)
    assert float(found.geodesic.length) < 1e-9


def test_no_nearby_end_is_closer():
    ring = circle([0.0, 3.0], 1.0)
    found = lf.free_geodesic(PLANE, [2.0, 1.0], ring, end_at=[1.0])
    near = np.asarray(found.end_at)[0] + np.array([-0.05, -0.01, 0.01, 0.05])
    ends = np.stack([np.asarray(ring(np.array([s]))) for s in near])
    assert np.all(PLANE.exact_distance(np.array([2.0, 1.0]), ends) > found.geodesic.length)


def test_what_is_wrong_is_said():
    with pytest.raises(TypeError, match="must be a function"):
        lf.free_geodesic(PLANE, [0.0, 1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="give end_at"):
        lf.free_geodesic(PLANE, [0.0, 1.0], axis)
    with pytest.raises(ValueError, match="start_at is for"):
        lf.free_geodesic(PLANE, [0.0, 1.0], axis, start_at=[0.0], end_at=[0.0])
    with pytest.raises(ValueError, match=r"shape \(2,\), got \(1,\)"):
        lf.free_geodesic(PLANE, [0.0, 1.0], lambda s: s, end_at=[0.0])
    with pytest.raises(ValueError, match="init"):
        lf.free_geodesic(PLANE, [0.0, 1.0], axis, end_at=[0.0], init=[[0.0, 1.0]])


def test_too_few_steps_are_a_failure_with_its_result():
    options = {"end_at": [3.0], "max_steps": 1}
    with pytest.raises(lf.ConvergenceError) as caught:
        lf.free_geodesic(PLANE, [1.0, 1.0], axis, **options)
    assert float(caught.value.result.gap) > 1e-6
    assert (
        lf.free_geodesic(PLANE, [1.0, 1.0], axis, throw=False, **options).status
        == lf.Status.MAX_STEPS
    )


def test_the_far_side_of_a_circle_is_left_for_the_near_one():
    begin = [[np.pi], [0.5], [0.0]]
    found = lf.free_geodesic(lf.Euclidean(2), [3.0, 0.0], circle([0.0, 0.0], 1.0), end_at=begin)
    np.testing.assert_allclose(found.geodesic.length, 2.0, rtol=1e-9)
    assert found.iterations[2] == 0  # the shortest stays as it is
    assert found.end_at[2, 0] == 0.0
