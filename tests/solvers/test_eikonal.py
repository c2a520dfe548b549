"""The grid solver against closed forms, and the geodesic solver against the grid."""

import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform.solvers.eikonal import box_around, grid_distances, halved, stencil
from oracles import two_moons

PLANE = lf.PoincareHalfPlane()


@pytest.mark.parametrize(("dim", "reach", "tops"), [(1, 1, 2), (2, 3, 24), (3, 1, 48)])
def test_a_stencil_is_a_closed_surface_around_the_node(dim, reach, tops):
    offsets, faces = stencil(dim, reach)
    assert (np.abs(offsets).max(axis=1) == reach).all()
    assert len(faces) == dim
    assert len(faces[-1]) == tops
    volume = np.abs(np.linalg.det(offsets[faces[-1]].astype(float))).sum()
    factorial = {1: 1, 2: 2, 3: 6}[dim]
    np.testing.assert_allclose(volume / factorial, (2 * reach) ** dim)


def test_distances_converge_with_order_one_and_their_error_is_told():
    rng = np.random.default_rng(0)
    points = np.stack([rng.uniform(-1, 1, 12), rng.uniform(0.5, 2.5, 12)], axis=1)
    exact = np.asarray(PLANE.exact_distance(points[0], points[1:]))
    box = box_around(points, 26)
    errors = []
    for _ in range(2):
        found = grid_distances(PLANE, points[:1], points[1:], box)
        errors.append(np.abs(found.value[0] / exact - 1))
        assert np.all(np.abs(found.value[0] - exact) < 2.0 * found.error[0] + 1e-3)
        box = halved(box)
    assert errors[1].max() < 2e-3
    assert np.median(errors[1]) < 0.6 * np.median(errors[0])


@pytest.mark.parametrize("scale", [1.0, 1e-3])
@pytest.mark.parametrize("rise", [0.0, 1e-4, 0.1])
def test_points_on_a_line_are_not_held_on_it(rise, scale):
    points = scale * np.array([[-1.0, 1.0], [1.0, 1.0 + rise]])
    found = lf.pairwise_distances(PLANE, points, method="grid", grid_size=51)[0, 1]
    np.testing.assert_allclose(found, PLANE.exact_distance(*points), rtol=2e-3)


def test_three_dimensions_and_an_anisotropic_metric():
    stretched = lf.Pullback(lambda z: jnp.array([1.5 * z[0] + 0.5 * z[1], z[1], z[2]]))
    rng = np.random.default_rng(1)
    points = rng.uniform(-1, 1, (5, 3))
    matrix = np.asarray(lf.pairwise_distances(stretched, points, method="grid", grid_size=11))
    shape = np.array([[1.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    flat = points @ shape.T
    exact = np.linalg.norm(flat[:, None] - flat, axis=2)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_allclose(matrix, exact, rtol=0.03)


def test_what_cannot_be_reached_is_reported():
    class Wall(lf.AbstractMetric):
        def __call__(self, x):
            return jnp.eye(2) * jnp.where(jnp.abs(x[0]) < 0.25, jnp.nan, 1.0)

    points = np.array([[-1.0, 0.0], [-0.5, 0.4], [1.0, 0.0]])
    matrix = lf.pairwise_distances(Wall(), points, method="grid", grid_size=41, throw=False)
    np.testing.assert_array_equal(np.isnan(matrix), [[0, 0, 1], [0, 0, 1], [1, 1, 0]])
    np.testing.assert_allclose(matrix[0, 1], np.hypot(0.5, 0.4), rtol=1e-2)
    with pytest.raises(lf.ConvergenceError, match="no path"):
        lf.pairwise_distances(Wall(), points, method="grid", grid_size=41)


@pytest.mark.slow
def test_geodesics_on_two_moons_are_the_shortest_paths():
    data = two_moons()
    metric = lf.LocalVariance(data, 0.15, 1e-3)
    targets = data[5::20]
    found = grid_distances(metric, data[:2], targets, box_around(data, 101))
    for source, value in zip(data[:2], found.value, strict=True):
        length = np.asarray(lf.distance(metric, source, targets))
        np.testing.assert_allclose(length, value, rtol=0.01, atol=0.01)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="at most 3 coordinates"):
        lf.pairwise_distances(lf.Euclidean(4), np.zeros((2, 4)), method="grid")
    with pytest.raises(ValueError, match="grid_size must be an integer"):
        lf.pairwise_distances(PLANE, np.ones((2, 2)), method="grid", grid_size=2)
