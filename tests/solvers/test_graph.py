"""Graphs over data: connected, symmetric, with the lengths of the metric."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform.solvers.graph import attach, build_graph, distances_between, graph_of
from landform.solvers.lengths import resolved_lengths, segment_lengths
from landform.solvers.routes import Routes, find_routes, resample
from oracles import two_moons

FLAT = lf.Euclidean(2)


def test_edges_carry_riemannian_lengths():
    plane = lf.PoincareHalfPlane()
    lengths = segment_lengths(plane, np.array([[0.0, 1.0]]), np.array([[0.0, 2.0]]), order=8)
    np.testing.assert_allclose(lengths, [np.log(2.0)], rtol=1e-9)


def test_components_are_bridged_by_their_closest_pairs(rng):
    left, right = rng.normal(size=(20, 2)) * 0.1, rng.normal(size=(20, 2)) * 0.1 + [5.0, 0.0]
    graph = build_graph(FLAT, np.concatenate([left, right]), n_neighbors=3)
    crossing = (graph.points[graph.edges][:, :, 0] > 2.5).sum(axis=1) == 1
    assert crossing.sum() == 1
    gaps = np.linalg.norm(left[:, None] - right[None], axis=2)
    np.testing.assert_allclose(graph.lengths[crossing], gaps.min(), rtol=1e-12)


def test_paths_of_a_fine_graph_are_nearer_to_the_distance(rng):
    class Landmarked(lf.AbstractMetric):
        corners: np.ndarray

        def __call__(self, x):
            return jnp.eye(2, dtype=x.dtype)

        def landmarks(self):
            return jnp.asarray(self.corners)

    metric = Landmarked(rng.uniform(size=(40, 2)))
    x, y = rng.uniform(size=(2, 60, 2))
    coarse, fine = (graph_of(metric, fine=which) for which in (False, True))
    assert len(fine.edges) > 1.5 * len(coarse.edges)
    excess = [
        find_routes(metric, graph, x, y).shortest / np.linalg.norm(y - x, axis=1) - 1.0
        for graph in (coarse, fine)
    ]
    assert excess[1].min() >= -1e-9
    assert excess[1].mean() < 0.9 * excess[0].mean()


def test_paths_bound_distances_and_approach_them(rng):
    points = rng.uniform(size=(400, 2))
    graph = build_graph(FLAT, points, n_neighbors=16)
    matrix, index, _ = attach(FLAT, graph, points[:10])
    found = distances_between(matrix, index, index)
    exact = np.linalg.norm(points[:10, None] - points[None, :10], axis=2)
    assert np.all(found >= exact - 1e-12)
    assert np.all(found <= 1.1 * exact + 1e-12)


def test_routes_start_and_end_at_the_pair_and_alternatives_keep_clear():
    metric = lf.LocalVariance(two_moons(), 0.15, 1e-3)
    data = np.asarray(metric.data)
    x, y = data[:8], data[20:28]
    graph = graph_of(metric)
    routes = find_routes(metric, graph, x, y, stretch=1.5)
    clearance = 0.05 * np.linalg.norm(np.ptp(graph.points, axis=0))
    for i in range(8):
        mine = [routes.vertices[k] for k in np.flatnonzero(routes.owner == i)]
        assert all(np.array_equal(r[0], x[i]) and np.array_equal(r[-1], y[i]) for r in mine)
        for a, b in itertools.pairwise(mine):
            gap = np.linalg.norm(b[:, None] - a[None], axis=2).min(axis=1)
            assert gap.max() > clearance
    lengths = np.array([segment_lengths(metric, r[:-1], r[1:]).sum() for r in routes.vertices])
    steps = [np.diff(travelled).min() for travelled in routes.travelled]
    totals = np.array([travelled[-1] for travelled in routes.travelled])
    assert min(steps) > 0.0
    np.testing.assert_allclose(totals, lengths, rtol=1e-9)
    assert np.all(totals <= 1.5 * routes.shortest[routes.owner] * (1 + 1e-12))


def test_the_graph_is_built_once_for_a_metric():
    metric = lf.LocalVariance(two_moons(60), 0.3, 1e-2)
    assert graph_of(metric) is graph_of(metric)
    assert graph_of(metric, fine=True) is graph_of(metric, fine=True)
    assert graph_of(lf.PoincareHalfPlane()) is None


def test_a_single_landmark_makes_no_graph_and_no_failure():
    metric = lf.Pullback(lambda z: 2.0 * z, landmarks=[[0.3, 0.1], [0.3, 0.1]])
    found = lf.geodesic(metric, [0.0, 0.0], [3.0, 4.0])
    assert float(found.length) == pytest.approx(10.0)


def test_resampled_paths_have_equal_steps():
    path = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 3.0]])
    routes = Routes(np.zeros(1, int), [path], [np.array([0.0, 1.0, 4.0])], np.array([4.0]), 0.1)
    curve = resample(routes, np.linspace(0, 1, 9))[0]
    np.testing.assert_allclose(np.abs(np.diff(curve, axis=0)).sum(axis=1), 0.5, rtol=1e-12)


def test_a_point_on_a_vertex_is_that_vertex_and_others_are_joined(rng):
    points = rng.uniform(size=(30, 2))
    graph = build_graph(FLAT, points, n_neighbors=4)
    matrix, index, joined = attach(FLAT, graph, np.stack([points[7], [0.5, 0.5]]))
    assert matrix.shape == (31, 31)
    np.testing.assert_array_equal(joined[index], [points[7], [0.5, 0.5]])
    nearest = np.sort(np.linalg.norm(points - 0.5, axis=1))[0]
    to = np.array([int(np.argmin(np.linalg.norm(graph.points - 0.5, axis=1)))])
    np.testing.assert_allclose(distances_between(matrix, index[1:], to)[0, 0], nearest)


def test_a_coarse_bound_condemns_no_curve_that_was_refined(rng):
    # On a line the geodesic is the segment, as long as any bound is when it is measured well.
    angle = np.pi * rng.random(100)
    X = (np.cos(angle) + 0.1 * rng.standard_normal(100))[:, None]
    sigma = lf.auto_sigma(X)
    metric = lf.LocalVariance(X, sigma, lf.auto_rho(X, sigma))
    x, y = np.zeros_like(X), X
    found = lf.geodesic(metric, x, y, num_points=17, accuracy=1e-5, throw=False)
    assert bool(found.converged.all())
    pieces = np.linspace(x, y, 400)
    true = sum(segment_lengths(metric, pieces[i], pieces[i + 1]) for i in range(399))
    np.testing.assert_allclose(found.length, true, rtol=1e-5)


def test_lengths_across_a_gap_are_resolved_and_condemn_no_geodesic(rng):
    X = np.concatenate([rng.normal(0.0, 1.0, (30, 1)), rng.normal(12.0, 1.0, (30, 1))])
    metric = lf.LocalVariance(X, sigma=lf.auto_sigma(X), rho=0.05)
    x, y = X[:20], X[30:50]
    # On a line the segment is the geodesic, and its length an integral.
    share = np.linspace(0.0, 1.0, 20001)[:, None]
    length = resolved_lengths(metric, x, y, 1e-8)
    points = x[0] + (y[0] - x[0]) * share
    dense = segment_lengths(metric, points[:-1], points[1:]).sum()
    np.testing.assert_allclose(length[0], dense, rtol=1e-9)
    found = lf.geodesic(metric, x, y)
    np.testing.assert_allclose(found.length, length, rtol=1e-6)
    graph = lf.pairwise_distances(metric, X, method="graph")
    np.testing.assert_allclose(np.diag(graph[:20, 30:50]), length, rtol=1e-3)
