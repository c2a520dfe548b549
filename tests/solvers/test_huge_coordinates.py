"""Coordinates near the ends of the range of floats have a status of their own."""

import numpy as np
import pytest

import landform as lf

HUGE = [1e101, 1e160, -1e160, 1e308, 1.7e308]


@pytest.fixture
def cloud(rng):
    return rng.normal(size=(60, 2))


@pytest.mark.parametrize("far", HUGE)
def test_a_huge_end_point_fails_alone(cloud, far):
    metric = lf.LocalVariance(cloud, sigma=0.5, rho=1e-2)
    found = lf.geodesic(metric, [[0.0, 0.0], [far, 0.0]], [[1.0, 1.0], [1.0, 1.0]], throw=False)
    alone = lf.geodesic(metric, [0.0, 0.0], [1.0, 1.0])
    assert found.converged.tolist() == [True, False]
    np.testing.assert_allclose(found.length[0], alone.length, rtol=1e-6)


@pytest.mark.parametrize("far", HUGE)
def test_a_huge_landmark_takes_no_part_in_the_graph(cloud, far):
    landmarks = np.concatenate([cloud, [[far, 0.0]]])
    metric = lf.Pullback(lambda z: z, landmarks=landmarks)
    found = lf.geodesic(metric, cloud[:2], cloud[2:4])
    np.testing.assert_allclose(found.length, np.linalg.norm(cloud[:2] - cloud[2:4], axis=1))


@pytest.mark.parametrize("far", [1e160, 1e308])
@pytest.mark.parametrize("method", ["graph", "geodesic"])
def test_distances_to_a_huge_point_are_missing_and_the_others_are_there(cloud, far, method):
    metric = lf.LocalVariance(cloud, sigma=0.5, rho=1e-2)
    points = np.concatenate([cloud[:3], [[far, far]]])
    found = np.asarray(lf.pairwise_distances(metric, points, method=method, throw=False))
    assert np.isfinite(found[:3, :3]).all()
    assert not np.isfinite(found[3, :3]).any()


@pytest.mark.parametrize("size", [5e-324, 1e-310, 1e-200])
def test_tiny_distances_between_points_end_with_a_status(cloud, size):
    metric = lf.LocalVariance(cloud, sigma=0.5, rho=1e-2)
    found = lf.geodesic(metric, [[0.0, 0.0], [0.0, 0.0]], [[size, 0.0], [1.0, 1.0]], throw=False)
    assert bool(found.converged[1])
    assert float(found.length[0]) < 1e-100


def test_all_points_equal_have_distance_zero(cloud):
    metric = lf.LocalVariance(cloud, sigma=0.5, rho=1e-2)
    equal = np.repeat(cloud[:1], 4, axis=0)
    np.testing.assert_array_equal(lf.pairwise_distances(metric, equal), np.zeros((4, 4)))
