"""Geodesics against closed forms, and their honesty where there is nothing to find."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from oracles import FlatInDisguise, Hole, half_plane_points, relative, sphere_pairs, two_moons

PLANE = lf.PoincareHalfPlane()


@pytest.fixture(scope="module")
def plane_pairs():
    rng = np.random.default_rng(1)
    return half_plane_points(rng, 200), half_plane_points(rng, 200)


@pytest.fixture(scope="module")
def plane_paths(plane_pairs):
    return lf.geodesic(PLANE, *plane_pairs)


@pytest.fixture(scope="module")
def sphere():
    x, y, v = sphere_pairs(np.random.default_rng(2), 200)
    return x, y, v, lf.geodesic(lf.StereographicSphere(2), x, y)


@pytest.fixture(scope="module")
def moons():
    data = two_moons()
    metric = lf.LocalVariance(data, sigma=0.15, rho=1e-3)
    pairs = np.random.default_rng(0).integers(0, 200, size=(30, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    x, y = data[pairs[:, 0]], data[pairs[:, 1]]
    return metric, x, y, lf.geodesic(metric, x, y)


def test_half_plane_distances_are_exact(plane_pairs, plane_paths):
    assert bool(np.all(plane_paths.converged))
    assert relative(plane_paths.length, PLANE.exact_distance(*plane_pairs)) < 1e-8


def test_half_plane_logarithms_are_exact(plane_pairs, plane_paths):
    exact = PLANE.exact_log(*plane_pairs)
    np.testing.assert_allclose(plane_paths.velocity, exact, rtol=0, atol=1e-6)


def test_sphere_distances_and_logarithms_are_exact(sphere):
    x, y, v, paths = sphere
    assert bool(np.all(paths.converged))
    assert relative(paths.length, lf.StereographicSphere(2).exact_distance(x, y)) < 1e-6
    error = np.linalg.norm(np.asarray(paths.velocity) - v, axis=1) / np.linalg.norm(v, axis=1)
    assert np.median(error) < 1e-9
    assert error.max() < 1e-4


def test_logarithms_are_polished(sphere):
    x, y, v, _ = sphere
    error = np.linalg.norm(np.asarray(lf.log(lf.StereographicSphere(2), x, y)) - v, axis=1)
    assert (error / np.linalg.norm(v, axis=1)).max() < 1e-8


def test_evaluations_are_the_nodes_of_all_iterations_and_the_points_measured(plane_paths):
    stats = plane_paths.stats
    resolved = np.asarray(stats["evaluations"]) - 65 * np.asarray(stats["iterations"]) == 16 * 7
    assert resolved.mean() > 0.5  # the others were refined
    assert bool(np.all(np.asarray(stats["evaluations"])[~resolved] > 16 * 7))


def test_polish_must_be_positive():
    with pytest.raises(ValueError, match="polish must be positive"):
        lf.geodesic(PLANE, [0.0, 1.0], [1.0, 1.0], polish=0.0)


def test_few_points_are_enough_for_three_digits(plane_pairs):
    coarse = lf.geodesic(PLANE, *plane_pairs, num_points=17, accuracy=1e-3)
    assert relative(coarse.length, PLANE.exact_distance(*plane_pairs)) < 1e-3


def test_exp_of_log_is_the_identity(plane_pairs, plane_paths):
    arrived = lf.exp(PLANE, plane_pairs[0], plane_paths.velocity)
    np.testing.assert_allclose(arrived, plane_pairs[1], rtol=1e-6, atol=1e-6)


def test_log_of_exp_is_the_identity():
    metric = FlatInDisguise()
    rng = np.random.default_rng(5)
    x, v = rng.normal(size=(16, 2)), rng.normal(size=(16, 2))
    back = lf.log(metric, x, lf.exp(metric, x, v))
    np.testing.assert_allclose(back, v, atol=1e-6)


def test_length_of_the_logarithm_is_the_distance(moons):
    metric, x, _, paths = moons
    tensor = lf.metric_tensor(metric, x)
    norm = np.sqrt(np.einsum("na,nab,nb->n", paths.velocity, tensor, paths.velocity))
    np.testing.assert_allclose(norm, paths.length, rtol=2e-3)


def test_known_distances_in_a_disguised_flat_space():
    metric = FlatInDisguise()
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(16, 2)) * 2, rng.normal(size=(16, 2)) * 2
    flat = [np.asarray(jax.vmap(metric.flatten)(jnp.asarray(a))) for a in (x, y)]
    expected = np.linalg.norm(flat[0] - flat[1], axis=1)
    assert relative(lf.distance(metric, x, y), expected) < 1e-6


def test_points_start_and_end_where_asked(plane_pairs, plane_paths):
    assert plane_paths.points.shape == (200, 65, 2)
    np.testing.assert_array_equal(plane_paths.points[:, 0], plane_pairs[0])
    np.testing.assert_array_equal(plane_paths.points[:, -1], plane_pairs[1])
    np.testing.assert_allclose(plane_paths.curve(0.5), plane_paths.points[:, 32], atol=1e-12)


def test_geodesics_have_constant_speed_and_length_bounds_energy(moons):
    _, _, _, paths = moons
    assert bool(np.all(paths.converged))
    assert np.max(paths.stats["speed_drift"]) < 0.05
    assert np.all(paths.length**2 <= 2 * paths.energy * (1 + 1e-12))


def test_a_geodesic_is_never_longer_than_the_graph(moons):
    _, _, _, paths = moons
    assert np.all(np.isfinite(paths.stats["bound"]))
    assert np.all(paths.length <= paths.stats["bound"] * (1 + 1e-6))


def test_geodesics_solve_the_initial_value_problem(moons):
    metric, x, y, paths = moons
    near = np.asarray(paths.length) < 2.0
    arrived = lf.exp(metric, x[near], np.asarray(paths.velocity)[near])
    assert np.max(np.abs(arrived - y[near])) < 1e-3


def test_reversing_a_geodesic_keeps_its_length(moons):
    metric, x, y, paths = moons
    back = lf.geodesic(metric, y, x)
    assert relative(back.length, paths.length) < 1e-5
    tolerance = 1e-3 * np.abs(np.asarray(paths.final_velocity)).max()
    np.testing.assert_allclose(back.velocity, -np.asarray(paths.final_velocity), atol=tolerance)


def test_single_and_batched_results_agree(moons):
    metric, x, y, paths = moons
    single = lf.geodesic(metric, x[0], y[0])
    assert single.points.shape == (65, 2)
    assert single.length.shape == ()
    assert relative(single.length, paths.length[0]) < 1e-9


def test_one_point_pairs_with_many(plane_pairs):
    x, y = plane_pairs
    fan = lf.distance(PLANE, x[0], y)
    np.testing.assert_allclose(fan, PLANE.exact_distance(x[0], y), rtol=1e-8)


@pytest.mark.parametrize("model", ["newton", "gauss-newton", "georce"])
def test_every_model_finds_the_same_geodesic(model):
    x, y, _ = sphere_pairs(np.random.default_rng(3), 16, longest=1.5)
    sphere = lf.StereographicSphere(2)
    paths = lf.geodesic(sphere, x, y, solver=lf.EnergySolver(model=model))
    assert relative(paths.length, sphere.exact_distance(x, y)) < 1e-6


def test_a_warm_start_from_the_answer_takes_one_step(plane_pairs, plane_paths):
    again = lf.geodesic(PLANE, *plane_pairs, init=plane_paths)
    assert np.max(again.stats["iterations"]) <= 2
    np.testing.assert_allclose(again.length, plane_paths.length, rtol=1e-9)


def test_geodesics_of_another_metric_are_starts_like_any_other(moons):
    metric, x, y, paths = moons
    straight = lf.EnergySolver(starts="straight")
    alone = lf.geodesic(metric, x, y, solver=straight, throw=False)
    guided = lf.geodesic(metric, x, y, solver=straight, guide=metric * 2.0)
    assert np.max(alone.length / paths.length) > 1.05
    np.testing.assert_allclose(guided.length, paths.length, rtol=1e-4)
    assert np.max(guided.stats["iterations"]) <= 3
    with pytest.raises(TypeError, match="guide= works on values"):
        jax.jit(lambda a: lf.distance(metric, a, y[0], guide=metric))(x[0])
    with pytest.raises(TypeError, match="had by guide="):
        lf.geodesic(metric, x, y, init=metric)


def test_a_guide_leaves_room_for_what_it_does_not_show(moons):
    """Its own geodesics are sharp enough for the choice of a resolution to be by the bends."""
    metric, x, y, _ = moons
    table = lf.Tabulated(metric, [-3.0, -3.0], [4.0, 4.0], size=100)
    paths = lf.geodesic(metric, x, y, guide=table, accuracy=1e-3, throw=False)
    assert np.mean(paths.converged) > 0.9
    direct = lf.geodesic(metric, x, y, accuracy=1e-3)
    assert np.median(paths.length / direct.length) < 1.001
    assert np.sum(paths.stats["evaluations"]) < np.sum(direct.stats["evaluations"])


@pytest.mark.parametrize(("most", "elements"), [(0, 2), (1, 8)])
def test_a_guide_may_be_corrected_once(most, elements, moons):
    metric, x, y, _ = moons
    solver = lf.EnergySolver(max_refinements=most)
    paths = lf.geodesic(
        metric, x, y, guide=metric, solver=solver, num_points=9, accuracy=1e-5, throw=False
    )
    assert paths.path.nodes.shape[1] == 4 * elements + 1


def test_fewer_steps_keep_the_rest_of_a_solver(moons):
    metric, x, y, paths = moons
    solver = lf.EnergySolver(starts="straight", fine_graph=True)
    few = lf.geodesic(metric, x, y, solver=solver, max_steps=150, throw=False)
    assert np.max(few.length / paths.length) > 1.05


def test_less_accuracy_takes_less_work_and_is_still_reached(plane_pairs, plane_paths):
    rough = lf.geodesic(PLANE, *plane_pairs, accuracy=1e-2)
    assert bool(np.all(rough.converged))
    assert np.sum(rough.stats["evaluations"]) < np.sum(plane_paths.stats["evaluations"])
    assert relative(rough.length, PLANE.exact_distance(*plane_pairs)) < 1e-2


def test_coincident_points_are_at_distance_zero(moons):
    metric, x, _, _ = moons
    paths = lf.geodesic(metric, x[:2], x[:2])
    assert bool(np.all(paths.converged))
    np.testing.assert_array_equal(paths.length, 0.0)
    np.testing.assert_allclose(paths.velocity, 0.0, atol=1e-12)


def test_a_metric_that_is_not_finite_fails_alone():
    x = np.zeros((3, 2))
    y = np.array([[0.2, 0.3], [1.0, 0.0], [0.3, 0.1]])
    paths = lf.geodesic(Hole(), x, y, throw=False)
    np.testing.assert_array_equal(paths.converged, [True, False, True])
    assert paths.reason[1] == lf.Status.BAD_METRIC.message
    np.testing.assert_allclose(np.asarray(paths.length)[[0, 2]], np.hypot(*y[[0, 2]].T), rtol=1e-12)
    with pytest.raises(lf.ConvergenceError, match="1 of 3 geodesic computations failed") as caught:
        lf.geodesic(Hole(), x, y)
    assert caught.value.result.points.shape == (3, 65, 2)
    assert np.isnan(lf.distance(Hole(), x, y, throw=False)[1])


def test_an_indefinite_metric_is_refused_not_solved():
    class Saddle(lf.AbstractMetric):
        def __call__(self, x):
            return jnp.diag(jnp.array([1.0, -1.0]))

    path = lf.geodesic(Saddle(), [0.0, 0.0], [0.0, 1.0], throw=False)
    assert not bool(path.converged)
    with pytest.raises(ValueError, match="the metric is not finite and positive definite") as found:
        lf.geodesic(Saddle(), [0.0, 0.0], [0.0, 1.0])
    assert isinstance(found.value, lf.MetricError)


def test_a_jumping_metric_is_not_called_a_geodesic():
    step = lf.Pullback(
        lambda z: jnp.array([z[0], z[1], 6.0 * jax.nn.relu(z[0] - 0.51 + 0.3 * z[1])])
    )
    path = lf.geodesic(step, [0.0, 0.0], [1.0, 0.4], throw=False)
    assert not bool(path.converged)
    assert int(path.status) in (lf.Status.UNRESOLVED, lf.Status.STALLED, lf.Status.MAX_STEPS)


def test_an_iteration_limit_is_reported():
    path = lf.geodesic(PLANE, [-3.0, 0.1], [3.0, 0.1], max_steps=1, throw=False)
    assert int(path.status) == lf.Status.MAX_STEPS
    assert "max_steps" in path.reason


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": [np.nan, 1.0]}, ValueError, "x has 1 NaN"),
        ({"y": [1.0, 1.0, 1.0]}, ValueError, "y must have 2 coordinate"),
        ({"x": np.ones((2, 2)), "y": np.ones((3, 2))}, ValueError, "must pair up"),
        ({"num_points": 1}, ValueError, "num_points must be an integer of at least 2"),
        ({"num_points": 2.5}, TypeError, "num_points must be an integer"),
        ({"accuracy": 0.0}, ValueError, "accuracy must be positive"),
        ({"solver": "newton"}, TypeError, "solver must be an AbstractSolver"),
        ({"init": np.ones((3, 5, 2))}, ValueError, "init must hold one curve"),
        ({"solver": lf.EnergySolver("gauss-newton")}, ValueError, "pull-back of a known embedding"),
        ({"solver": lf.EnergySolver(starts="graph")}, ValueError, "needs landmarks"),
    ],
)
def test_bad_input_is_named(change, error, words):
    arguments = {"x": [0.0, 1.0], "y": [1.0, 1.0]} | change
    with pytest.raises(error, match=words):
        lf.geodesic(PLANE, arguments.pop("x"), arguments.pop("y"), **arguments)


def test_gradients_of_the_distance_are_those_of_the_closed_form():
    x, y = jnp.array([0.0, 1.0]), jnp.array([1.0, 1.5])
    solve = jax.jit(jax.value_and_grad(lambda a, b: lf.distance(PLANE, a, b), (0, 1)))
    exact = jax.value_and_grad(PLANE._distance, (0, 1))(x, y)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7), solve(x, y), exact)
    # Of a point from itself, where the distance has none, 0: squares and losses have theirs there.
    jax.tree.map(lambda a: np.testing.assert_array_equal(a, 0.0), solve(y, y))


@pytest.mark.slow
def test_gradients_in_the_metric_and_of_the_logarithm_match_finite_differences():
    data = two_moons()
    x, y = jnp.asarray(data[0]), jnp.asarray(data[7])

    @eqx.filter_jit
    def outcome(sigma):
        metric = eqx.tree_at(lambda m: m.sigma, lf.LocalVariance(data, 0.2, 1e-2), sigma)
        path = lf.geodesic(metric, x, y)
        return jnp.concatenate([path.length[None], path.velocity])

    slope = jax.jacfwd(outcome)(0.2)
    step = 1e-5
    finite = (outcome(0.2 + step) - outcome(0.2 - step)) / (2 * step)
    np.testing.assert_allclose(slope, finite, rtol=1e-4)


def test_a_decoder_that_is_a_function_passes_through_jit_and_grad():
    metric = lf.Pullback(lambda z: jnp.array([z[0], z[1] + z[0] ** 2]))  # flat in disguise
    x, y = jnp.array([0.0, 1.0]), jnp.array([1.0, 2.0])
    value, slope = jax.jit(jax.value_and_grad(lambda b: lf.distance(metric, x, b)))(y)
    np.testing.assert_allclose(value, np.sqrt(5.0), rtol=1e-9)
    np.testing.assert_allclose(slope, np.array([5.0, 2.0]) / np.sqrt(5.0), rtol=1e-7)


def test_tracing_happens_once_for_every_batch_size():
    traces = []

    class Counted(lf.AbstractMetric):
        def __call__(self, x):
            traces.append(1)
            return jnp.eye(2) * (1 + x @ x)

    rng = np.random.default_rng(0)
    lf.geodesic(Counted(), rng.normal(size=(20, 2)), rng.normal(size=(20, 2)))
    first = len(traces)
    lf.geodesic(Counted(), rng.normal(size=(20, 2)), rng.normal(size=(20, 2)))
    lf.geodesic(Counted(), rng.normal(size=(27, 2)), rng.normal(size=(27, 2)))
    assert first > 0
    assert len(traces) == first
