"""Solvers of geodesics: what each promises, and a solver of one's own."""

import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from oracles import two_moons

PLANE = lf.PoincareHalfPlane()
X, Y = np.array([[-1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 1.0], [0.3, 2.0]])


class Circles(lf.AbstractSolver):
    """Geodesics of the half-plane by its formula, as CONTRIBUTING tells how to add a solver."""

    def solve(self, metric, x, y, request):
        first = metric.exact_log(x, y)
        times = np.arange(0, 65) / 64.0
        nodes = np.stack([metric.exact_exp(x, t * np.asarray(first)) for t in times], axis=1)
        return lf.Solution(nodes, degree=1)


class Nothing(lf.AbstractSolver):
    """A solver that gives up."""

    def solve(self, metric, x, y, request):
        return lf.Solution(np.full((len(x), 3, 2), np.nan), status=lf.Status.STALLED)


def test_a_solver_of_ones_own_is_taken_wherever_a_solver_is():
    solver = Circles()
    path = lf.geodesic(PLANE, X, Y, solver=solver, accuracy=1e-3)
    np.testing.assert_allclose(path.length, PLANE.exact_distance(X, Y), rtol=1e-3)
    options = {"solver": solver, "accuracy": 1e-3}
    np.testing.assert_allclose(lf.distance(PLANE, X, Y, **options), path.length)
    log = lf.log(PLANE, X, Y, **options)
    np.testing.assert_allclose(log, PLANE.exact_log(X, Y), atol=5e-3)
    matrix = lf.pairwise_distances(PLANE, X, Y, **options)
    np.testing.assert_allclose(np.diagonal(matrix), path.length)


def test_the_library_judges_what_a_solver_calls_converged():
    class Straight(lf.AbstractSolver):
        def solve(self, metric, x, y, request):
            return lf.Solution(np.stack([x, y], axis=1))

    found = lf.geodesic(PLANE, X, Y, solver=Straight(), throw=False)
    assert found.status.tolist() == [lf.Status.UNRESOLVED] * 2
    flat = lf.geodesic(lf.Euclidean(2), X, Y, solver=Straight())
    np.testing.assert_allclose(flat.length, np.linalg.norm(Y - X, axis=1))


def test_a_solver_that_gives_up_is_reported_and_nothing_is_put_in_its_place():
    found = lf.geodesic(PLANE, X, Y, solver=Nothing(), throw=False)
    assert not found.converged.any()
    assert np.isnan(lf.distance(PLANE, X, Y, solver=Nothing(), throw=False)).all()
    with pytest.raises(lf.ConvergenceError, match="2 of 2"):
        lf.geodesic(PLANE, X, Y, solver=Nothing())


def test_curves_of_the_wrong_shape_are_refused_with_the_right_one():
    class Wrong(lf.AbstractSolver):
        def solve(self, metric, x, y, request):
            return lf.Solution(np.zeros((len(x), 4, 3)))

    with pytest.raises(ValueError, match=r"shape \(2, T \+ 1, 2\)"):
        lf.geodesic(PLANE, X, Y, solver=Wrong())


def test_shooting_agrees_with_the_closed_form():
    path = lf.geodesic(PLANE, X, Y, solver=lf.ShootingSolver())
    np.testing.assert_allclose(path.length, PLANE.exact_distance(X, Y), rtol=1e-9)
    np.testing.assert_allclose(path.velocity, PLANE.exact_log(X, Y), rtol=1e-6, atol=1e-8)


def test_shooting_that_does_not_arrive_is_a_failure():
    solver = lf.ShootingSolver(max_steps=2)
    path = lf.geodesic(PLANE, [-3.0, 1.0], [3.0, 1.0], solver=solver, throw=False)
    assert path.status == lf.Status.MAX_STEPS
    assert not path.converged


def test_paths_of_graphs_and_grids_are_near_and_called_approximate():
    rng = np.random.default_rng(0)
    landmarks = rng.uniform([-2.0, 0.3], [2.0, 3.0], size=(400, 2))
    metric = lf.ConformalMetric(lambda x: x[1] ** -2.0, lf.Euclidean(2), landmarks=landmarks)
    exact = PLANE.exact_distance(X, Y)
    for solver, excess in ((lf.GraphSolver(), 0.08), (lf.EikonalSolver(61), 0.01)):
        path = lf.geodesic(metric, X, Y, solver=solver)
        assert path.status.tolist() == [lf.Status.APPROXIMATE] * 2
        assert not path.converged.any()
        ratio = np.asarray(path.length / exact)
        assert (ratio > 1.0 - 1e-9).all(), solver
        assert (ratio < 1.0 + excess).all(), solver


@pytest.mark.parametrize(("name", "solver"), [("graph", lf.GraphSolver()), ("grid", None)])
def test_a_short_name_stands_for_its_solver(name, solver):
    solver = lf.EikonalSolver(21) if solver is None else solver
    options = {"grid_size": 21} if name == "grid" else {}
    named = lf.pairwise_distances(PLANE, X, Y, method=name, **options)
    assert np.array_equal(named, lf.pairwise_distances(PLANE, X, Y, solver=solver))
    with pytest.raises(ValueError, match="not both"):
        lf.pairwise_distances(PLANE, X, method=name, solver=solver)


def test_options_of_the_energy_solver_are_refused_for_others():
    with pytest.raises(TypeError, match="max_steps is for an EnergySolver"):
        lf.geodesic(PLANE, X, Y, solver=Circles(), max_steps=3)
    with pytest.raises(TypeError, match="guide= is for an EnergySolver"):
        lf.geodesic(PLANE, X, Y, solver=Circles(), guide=PLANE)


def test_a_curve_of_a_pair_does_not_depend_on_the_other_pairs():
    data = two_moons(120)
    metric = lf.LocalVariance(data, 0.1, 1e-3)
    rng = np.random.default_rng(1)
    x = data[rng.integers(0, len(data), 24)] + 0.05 * rng.normal(size=(24, 2))
    y = data[rng.integers(0, len(data), 24)] + 0.05 * rng.normal(size=(24, 2))
    whole = np.asarray(lf.geodesic(metric, x, y, throw=False).length)
    order = rng.permutation(24)
    mixed = np.asarray(lf.geodesic(metric, x[order], y[order], throw=False).length)
    np.testing.assert_allclose(mixed, whole[order], rtol=1e-9)
    parts = [lf.geodesic(metric, x[i : i + 3], y[i : i + 3], throw=False).length for i in (0, 9)]
    np.testing.assert_allclose(np.concatenate(parts), whole[[0, 1, 2, 9, 10, 11]], rtol=1e-9)


def test_any_curve_is_taken_where_a_curve_is():
    class Arc(lf.AbstractCurve):
        def __call__(self, t):
            return np.sqrt(2.0) * lf_cos_sin(t)

        def velocity(self, t):
            raise NotImplementedError

    def lf_cos_sin(t):
        angle = 0.25 * np.pi * (3.0 - 2.0 * t)
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)])

    exact = float(PLANE.exact_distance(X[0], Y[0]))
    np.testing.assert_allclose(lf.curve_length(PLANE, Arc()), exact, rtol=1e-10)
    path = lf.geodesic(PLANE, X[0], Y[0], init=Arc())
    np.testing.assert_allclose(path.length, exact, rtol=1e-9)
    np.testing.assert_allclose(lf.curve_length(PLANE, path), exact, rtol=1e-7)


@pytest.mark.parametrize("place", [0.0137, -0.31, 0.402])
def test_a_ridge_thinner_than_the_nodes_is_not_overlooked(place):
    metric = lf.ConformalMetric(
        lambda x: 1.0 + 1e6 * jnp.exp(-(((x[0] - place) / 0.001) ** 2)), lf.Euclidean(2)
    )
    path = lf.geodesic(metric, [-1.18, 0.0], [0.82, 0.93], throw=False)
    assert not path.converged
