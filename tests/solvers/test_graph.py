"""Graphs over data: connected, symmetric, with the lengths of the metric."""

import itertools

import numpy as np

import landform as lf
from landform.solvers.graph import (
    attach,
    build_graph,
    distances_between,
    find_routes,
    graph_of,
    resample,
    segment_lengths,
)
from oracles import two_moons

FLAT = lf.Euclidean(2)


def test_edges_carry_riemannian_lengths():
    plane = lf.PoincareHalfPlane()
    lengths = segment_lengths(plane, np.array([[0.0, 1.0]]), np.array([[0.0, 2.0]]), order=8)
    np.testing.assert_allclose(lengths, [np.log(2.0)], rtol=1e-9)


def test_components_are_bridged_by_their_closest_pairs(rng):
    left, right = rng.normal(size=(20, 2)) * 0.1, rng.normal(size=(20, 2)) * 0.1 + [5.0, 0.0]
    graph = build_graph(FLAT, np.concatenate([left, right]), neighbours=3)
    crossing = (graph.points[graph.edges][:, :, 0] > 2.5).sum(axis=1) == 1
    assert crossing.sum() == 1
    gaps = np.linalg.norm(left[:, None] - right[None], axis=2)
    np.testing.assert_allclose(graph.lengths[crossing], gaps.min(), rtol=1e-12)


def test_paths_bound_distances_and_approach_them(rng):
    points = rng.uniform(size=(400, 2))
    graph = build_graph(FLAT, points, neighbours=16)
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
    np.testing.assert_allclose(lengths, routes.lengths, rtol=1e-9)
    assert np.all(routes.lengths <= 1.5 * routes.shortest[routes.owner] * (1 + 1e-12))


def test_the_graph_is_built_once_for_a_metric():
    metric = lf.LocalVariance(two_moons(60), 0.3, 1e-2)
    assert graph_of(metric) is graph_of(metric)
    assert graph_of(lf.PoincareHalfPlane()) is None


def test_resampled_paths_have_equal_steps():
    path = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 3.0]])
    curve = resample(FLAT, [path], np.linspace(0, 1, 9))[0]
    np.testing.assert_allclose(np.abs(np.diff(curve, axis=0)).sum(axis=1), 0.5, rtol=1e-12)


def test_explicit_zero_lengths_are_edges(rng):
    points = rng.uniform(size=(30, 2))
    graph = build_graph(FLAT, points, neighbours=4)
    matrix, index, _ = attach(FLAT, graph, points[:1])
    assert (
        distances_between(
            matrix,
            index,
            np.array([int(np.argmin(np.linalg.norm(graph.points - points[0], axis=1)))]),
        )[0, 0]
        < 1e-12
    )
