"""Matrices of distances: exact, by the graph, and with pairs that have none."""

import numpy as np
import pytest

import landform as lf
from oracles import Hole, half_plane_points, relative, two_moons

PLANE = lf.PoincareHalfPlane()


@pytest.fixture(scope="module")
def moons():
    return lf.LocalVariance(two_moons(), sigma=0.15, rho=1e-3)


def test_pairwise_distances_are_symmetric_and_exact():
    points = half_plane_points(np.random.default_rng(1), 12)
    matrix = np.asarray(lf.pairwise_distances(PLANE, points))
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(np.diag(matrix), 0.0)
    rectangle = np.asarray(lf.pairwise_distances(PLANE, points[:5], points))
    np.testing.assert_allclose(rectangle, matrix[:5], atol=1e-8)
    i, j = np.triu_indices(12, 1)
    assert relative(matrix[i, j], PLANE.exact_distance(points[i], points[j])) < 1e-8


def test_graph_distances_bound_the_exact_ones(moons):
    metric = moons
    points = np.asarray(metric.data)[::20]
    graph = np.asarray(lf.pairwise_distances(metric, points, method="graph"))
    exact = np.asarray(lf.pairwise_distances(metric, points))
    np.testing.assert_allclose(graph, graph.T, rtol=1e-14)
    assert np.all(graph >= exact * (1 - 1e-6))
    upper = np.triu_indices(len(points), 1)
    assert np.median(graph[upper] / exact[upper]) < 1.1


def test_graph_distances_come_with_their_error_measured(moons):
    metric = moons
    points = np.asarray(metric.data)[:60]
    found = lf.graph_distances(metric, points, probes=12)
    matrix = np.asarray(found.matrix)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert not np.asarray(found.failed).any()
    exact = np.asarray(lf.distance(metric, points[found.pairs[:, 0]], points[found.pairs[:, 1]]))
    chosen = matrix[tuple(np.asarray(found.pairs).T)]
    np.testing.assert_allclose(found.ratio, chosen / exact, rtol=1e-5)
    assert np.all(np.asarray(found.ratio) > 1 - 1e-6)
    assert np.all(np.diff(found.ratio) >= 0)
    few = lf.graph_distances(metric, points, points[:3], probes=0)
    np.testing.assert_allclose(few.matrix, matrix[:, :3], rtol=1e-12)


def test_failed_pairs_are_nan_in_the_matrix():
    points = np.array([[0.0, 0.0], [0.2, 0.0], [1.0, 0.0]])
    matrix = np.asarray(lf.pairwise_distances(Hole(), points, throw=False))
    np.testing.assert_array_equal(np.isnan(matrix), [[0, 0, 1], [0, 0, 1], [1, 1, 0]])
    with pytest.raises(lf.ConvergenceError, match="2 of 3"):
        lf.pairwise_distances(Hole(), points)


def test_one_side_in_single_precision_does_not_round_the_distances():
    plane, points = lf.PoincareHalfPlane(), np.array([[0.1, 1.0], [1.1, 1.3]])
    found = lf.pairwise_distances(plane, points[:1].astype(np.float32), points)
    exact = plane.exact_distance(points[:1].astype(np.float32).astype(float), points)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[0], exact, rtol=1e-11)
