"""The discretisation: derivatives, linear systems, and orders of convergence."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform._core.compilation import MAX_BLOCK, block_size, map_blocks
from landform._core.lanes import AbstractMethod, run
from landform._core.quadrature import gauss, lagrange_matrix, lobatto, lobatto_integral
from landform.solvers.block_tridiagonal import solve_newton
from landform.solvers.elements import Rule, assemble_chord, assemble_metric, join, subdivide
from landform.solvers.residual import certify_one

SPHERE = lf.StereographicSphere(2)


def discrete_energy(metric, rule, chord):
    def energy(x):
        assemble = assemble_chord if chord else assemble_metric
        return assemble(metric, rule, x, False).energy

    return energy


def global_matrix(rule, blocks, d):
    """The full second derivative from its element blocks."""
    m, p = rule
    size = (m * p + 1) * d
    out = np.zeros((size, size))
    for e in range(m):
        here = slice(e * p * d, (e * p + p + 1) * d)
        out[here, here] += blocks[e]
    return out


@pytest.mark.parametrize("chord", [False, True], ids=["metric", "chord"])
def test_assembled_derivatives_are_those_of_the_energy(chord, rng):
    rule = Rule(3, 2)
    x = jnp.asarray(rng.normal(size=(7, 2)))

    @jax.jit
    def all_of_it(x):
        energy = discrete_energy(SPHERE, rule, chord)
        assemble = assemble_chord if chord else assemble_metric
        return assemble(SPHERE, rule, x, True), jax.grad(energy)(x), jax.hessian(energy)(x)

    parts, gradient, hessian = all_of_it(x)
    nodal = join(rule, parts.gradient)
    np.testing.assert_allclose(nodal, gradient, rtol=1e-10, atol=1e-11)
    blocks = np.asarray(parts.stiffness + parts.bend)
    full = np.asarray(hessian).reshape(14, 14)
    np.testing.assert_allclose(global_matrix(rule, blocks, 2), full, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("elements", "degree"), [(1, 3), (2, 1), (5, 2), (8, 4)])
def test_nested_elimination_solves_the_full_system(elements, degree, rng):
    rule, d = Rule(elements, degree), 2
    n = (degree + 1) * d
    root = rng.normal(size=(elements, n, n))
    blocks = root @ np.swapaxes(root, 1, 2) + np.eye(n)
    nodal = jnp.asarray(rng.normal(size=(elements, degree + 1, d)))
    newton = jax.jit(lambda h, g: solve_newton(elements, h, g))(jnp.asarray(blocks), nodal)
    matrix = global_matrix(rule, blocks, d)[d:-d, d:-d]
    load = np.asarray(join(rule, nodal)).ravel()[d:-d]
    expected = -np.linalg.solve(matrix, load) if load.size else load
    np.testing.assert_allclose(np.asarray(newton.step)[1:-1].ravel(), expected, rtol=1e-9)
    np.testing.assert_allclose(newton.decrement, -load @ expected, rtol=1e-9)
    assert bool(newton.positive)


def test_an_indefinite_system_is_noticed(rng):
    blocks = jnp.asarray(np.broadcast_to(-np.eye(6), (4, 6, 6)))
    assert not bool(solve_newton(4, blocks, jnp.ones((4, 3, 2))).positive)


# On a great circle away from the chart's center every discretisation has its theoretical order.
@pytest.mark.parametrize(
    ("degree", "elements", "chord", "order"),
    [
        pytest.param(1, (8, 16, 32), False, 2, marks=pytest.mark.slow),
        pytest.param(1, (8, 16, 32), True, 2, marks=pytest.mark.slow),
        pytest.param(2, (4, 8, 16), False, 4, marks=pytest.mark.slow),
        (2, (4, 8, 16), True, 4),
        (3, (2, 4, 8), False, 6),
        pytest.param(3, (2, 4, 8), True, 6, marks=pytest.mark.slow),
    ],
)
def test_energies_converge_with_twice_the_degree(degree, elements, chord, order):
    x, y = np.array([0.8, -0.3]), np.array([-0.2, 0.9])
    exact = 0.5 * float(SPHERE.exact_distance(x, y)) ** 2
    errors = []
    for m in elements:
        solver = lf.EnergySolver("gauss-newton" if chord else "newton", degree, max_refinements=0)
        path = lf.geodesic(SPHERE, x, y, solver=solver, num_points=m * degree + 1, throw=False)
        energy = discrete_energy(SPHERE, Rule(m, degree), chord)(jnp.asarray(path.path.nodes))
        errors.append(abs(float(energy) - exact))
    slope = np.polyfit(np.log(elements), np.log(errors), 1)[0]
    assert -order - 0.8 < slope < -order + 0.5


def test_residual_is_zero_on_a_geodesic_and_not_beside_it():
    times = Rule(16, 4).times
    angle = np.linspace(-0.6, 0.6, 65) * 0 + (times - 0.5) * 1.2
    equator = jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    measure = eqx.filter_jit(lambda c: certify_one(SPHERE, Rule(16, 4), c))
    on = measure(equator)
    assert float(on.residual) < 1e-6
    assert float(on.speed_drift) < 1e-6
    np.testing.assert_allclose(on.length, 1.2, rtol=1e-10)
    np.testing.assert_allclose(on.velocity, [1.2 * np.sin(0.6), 1.2 * np.cos(0.6)], rtol=1e-7)
    off = measure(equator * (1 + 0.05 * np.sin(np.pi * times))[:, None])
    assert float(off.residual) > 0.05


def test_half_the_squared_residual_predicts_the_excess_of_length():
    plane = lf.PoincareHalfPlane()
    path = lf.geodesic(plane, [-0.5, 1.0], [0.5, 1.0])
    times = Rule(path.path.elements, 4).times
    measure = eqx.filter_jit(lambda c: certify_one(plane, Rule(path.path.elements, 4), c))
    bent = jnp.asarray(path.path.nodes) + 0.02 * np.sin(np.pi * times)[:, None] * np.array([0, 1])
    off = measure(bent)
    excess = float(off.energy / path.energy) - 1
    assert 0.5 < excess / float(off.residual) ** 2 < 1.2


def test_subdividing_changes_no_curve(rng):
    nodes = rng.normal(size=(3, 9, 2))
    rule, fine = subdivide(Rule(2, 4), nodes)
    assert rule == Rule(4, 4)
    assert subdivide(Rule(2, 4), nodes.astype(np.float32))[1].dtype == np.float32
    t = np.linspace(0, 1, 23)
    np.testing.assert_allclose(
        lf.PolynomialCurve(fine, 4)(t), lf.PolynomialCurve(nodes, 4)(t), atol=1e-12
    )


@pytest.mark.parametrize("degree", [1, 2, 3, 4, 7])
def test_lobatto_rules_are_exact_for_polynomials(degree):
    nodes, weights, derivative = lobatto(degree)
    for power in range(2 * degree):
        np.testing.assert_allclose(weights @ nodes**power, 1 / (power + 1), rtol=1e-12)
    np.testing.assert_allclose(
        derivative @ nodes**degree, degree * nodes ** (degree - 1), atol=1e-11
    )
    integral = lobatto_integral(degree) @ nodes**degree
    np.testing.assert_allclose(integral, nodes ** (degree + 1) / (degree + 1), atol=1e-12)


def test_interpolation_is_exact_at_nodes_and_between():
    nodes = lobatto(3)[0]
    points = np.concatenate([nodes[:2], [0.3, 0.77], gauss(2)[0]])
    np.testing.assert_allclose(lagrange_matrix(nodes, points) @ nodes**3, points**3, atol=1e-13)


class Countdown(AbstractMethod):
    """Takes as many iterations as it is told to."""

    def init(self, args, problem):
        return problem, jnp.zeros_like(problem)

    def step(self, args, state):
        return state[0], state[1] + 1

    def done(self, state):
        return state[1] >= state[0]

    def finish(self, state):
        return {"asked": state[0], "taken": state[1]}


@pytest.mark.parametrize("n", [1, 3, 16, 50])
def test_lanes_finish_every_problem_in_order(n):
    asked = np.random.default_rng(n).integers(1, 30, size=n)
    progress = []
    result = run(Countdown(), None, jnp.asarray(asked), lanes=4, chunk=32, progress=progress.append)
    np.testing.assert_array_equal(result["asked"], asked)
    np.testing.assert_array_equal(result["taken"], asked)
    assert progress[-1] == n


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("assemble", [assemble_chord, assemble_metric])
def test_single_precision_stays_single(assemble, second_order):
    weights = jnp.asarray([[1.0, 0.5, 2.0], [0.3, 1.0, 0.1]], jnp.float32)
    metric = lf.Pullback(lambda z: jnp.tanh(z @ weights))
    curve = jnp.asarray(np.linspace([0.0, 0.0], [1.0, 0.5], 9), jnp.float32)
    for part in assemble(metric, Rule(2, 4), curve, second_order):
        assert part.dtype == jnp.float32


def test_outputs_in_parts_give_what_they_give_as_one_vector(rng):
    weights = jnp.asarray(rng.normal(size=(2, 5)))
    mean, std = (lambda z: jnp.tanh(z @ weights)), (lambda z: jnp.exp(z @ weights[:, :5] / 4))
    parts = lf.ExpectedPullback(mean, std)
    whole = lf.Pullback(lambda z: jnp.concatenate([mean(z), std(z)]))
    curve = jnp.asarray(rng.normal(size=(9, 2)))
    assert len(parts.embed_parts(curve[0])) == 2
    pairs = [assemble_chord(m, Rule(2, 4), curve, True) for m in (parts, whole)]
    for a, b in zip(*pairs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(parts(curve[1]), whole(curve[1]), rtol=1e-13)


@pytest.mark.parametrize("count", [1, 5, 12, 13])
def test_blocks_are_one_map(count, rng):
    x, y = rng.normal(size=(2, count, 3))
    whole = map_blocks(lambda a, b: (a @ b, a + b), 5, x, y)
    np.testing.assert_allclose(whole[0], np.sum(x * y, axis=1), rtol=1e-6)
    np.testing.assert_allclose(whole[1], x + y, rtol=1e-6)


def test_blocks_shrink_with_the_work_of_inner_programs_too():
    def heavy(z):
        return jax.jit(lambda a: jnp.sum(jnp.outer(jnp.ones(3000) * a[0], jnp.ones(1000))))(z)

    assert block_size(lambda z: jnp.sum(z**2), jnp.zeros(2)) == MAX_BLOCK
    assert 1 <= block_size(heavy, jnp.zeros(2)) <= 2
