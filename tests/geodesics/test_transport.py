"""Parallel transport keeps the inner product and the velocity of a geodesic."""

import numpy as np
import pytest

import landform as lf
from oracles import half_plane_points

PLANE = lf.PoincareHalfPlane()


def test_transport_keeps_lengths_and_angles_and_takes_velocity_to_velocity():
    rng = np.random.default_rng(8)
    x, y = half_plane_points(rng, 8), half_plane_points(rng, 8)
    paths = lf.geodesic(PLANE, x, y)
    v = rng.normal(size=(8, 2))
    w = lf.parallel_transport(PLANE, paths, v)
    before, after = lf.metric_tensor(PLANE, x), lf.metric_tensor(PLANE, y)
    first, last = np.asarray(paths.velocity), np.asarray(paths.final_velocity)

    def inner(tensor, a, b):
        return np.einsum("na,nab,nb->n", a, tensor, b)

    np.testing.assert_allclose(inner(after, w, w), inner(before, v, v), rtol=1e-6)
    np.testing.assert_allclose(inner(after, w, last), inner(before, v, first), atol=1e-5)
    np.testing.assert_allclose(lf.parallel_transport(PLANE, paths, first), last, atol=1e-5)


def test_transport_of_several_vectors_along_one_curve():
    path = lf.geodesic(PLANE, [0.0, 1.0], [0.0, 3.0])
    moved = lf.parallel_transport(PLANE, path, np.eye(2))
    np.testing.assert_allclose(moved, 3.0 * np.eye(2), atol=1e-6)
    with pytest.raises(TypeError, match="geodesic must be a Geodesic"):
        lf.parallel_transport(PLANE, [0.0, 1.0], [1.0, 0.0])
