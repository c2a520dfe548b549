"""Arrays on their way between NumPy and JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform._core.arrays import chunked, join, on_host, to_jax
from landform._core.checks import as_floats
from landform._core.compilation import compiled
from landform._core.linalg import cholesky, logdet_spd, solve_spd

FLAT = lf.Euclidean(2)


def aligned(shape) -> np.ndarray:
    """An array where XLA would share the memory of one it is given."""
    room = np.zeros(int(np.prod(shape)) + 16)
    start = (-room.ctypes.data // 8) % 8
    return room[start : start + int(np.prod(shape))].reshape(shape)


def test_later_changes_of_the_users_array_change_nothing():
    X = aligned((5000, 2))
    X[:] = np.random.default_rng(0).standard_normal(X.shape)
    first = float(X[0, 0])
    array, metric = to_jax(X), lf.LocalVariance(X, sigma=0.5, rho=1e-2)
    here = np.array(lf.metric_tensor(metric, [0.3, 0.1]))
    X[:] = 7.0
    assert float(array[0, 0]) == first
    np.testing.assert_array_equal(lf.metric_tensor(metric, [0.3, 0.1]), here)


def test_parts_of_a_batch_join_in_order_and_stay_jax_arrays():
    x = jnp.arange(10.0).reshape(10, 1)
    for size, ladder in ((4, ()), (16, ()), (4, (2, 3))):
        out = chunked(lambda a: (2.0 * a, a[:, 0]), size, x, ladder=ladder)
        np.testing.assert_array_equal(out[0], 2.0 * x)
        assert all(isinstance(part, jax.Array) for part in out)
    np.testing.assert_array_equal(join([{"a": x[:3]}, {"a": x[3:]}])["a"], x)


def test_keys_and_traced_arrays_stay_where_they_are():
    key = jax.random.key(0)
    assert on_host(key) is key
    out = jax.jit(lambda a: join([on_host(a)[:1], on_host(a)[1:]]))(jnp.arange(3.0))
    np.testing.assert_array_equal(out, [0.0, 1.0, 2.0])


def test_masked_and_complex_numbers_are_not_taken_for_real_ones():
    masked = np.ma.masked_greater([[0.0, 1.0], [0.0, 999.0]], 100.0)
    with pytest.raises(ValueError, match="data has masked values"):
        lf.LocalVariance(masked, sigma=0.5, rho=1e-2)
    np.testing.assert_array_equal(as_floats("x", np.ma.array([1.0, 2.0])), [1.0, 2.0])
    for number in (np.array([1.0, 2.0 + 1j]), jnp.array([1.0, 2.0 + 1j])):
        with pytest.raises(TypeError, match="x must be an array of real numbers"):
            as_floats("x", number)
    np.testing.assert_array_equal(as_floats("x", jnp.array([True, False])), [1.0, 0.0])


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x: lf.pairwise_distances(FLAT, x, method="graph", n_neighbors=0), "neighbors"),
        (lambda x: lf.graph_distances(FLAT, x, n_neighbors=-3), "neighbors"),
        (lambda x: lf.graph_distances(FLAT, x, probes=-1), "probes"),
        (lambda x: lf.curve_length(FLAT, x, order=0), "order"),
        (lambda x: lf.metric_tensor(FLAT, x[None, :0]), "x must not be empty"),
    ],
)
def test_numbers_that_mean_nothing_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]))


@pytest.mark.parametrize("order", [1, 2, 7, 16, 17, 40])
def test_systems_solved_without_lapack_agree_with_numpy(order, rng):
    root = rng.normal(size=(5, order, order))
    matrix = root @ np.swapaxes(root, -1, -2) + 0.1 * np.eye(order)
    right = rng.normal(size=(5, order, 3))
    np.testing.assert_allclose(solve_spd(matrix, right), np.linalg.solve(matrix, right), rtol=1e-9)
    np.testing.assert_allclose(cholesky(matrix), np.linalg.cholesky(matrix), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(logdet_spd(matrix), np.linalg.slogdet(matrix)[1], rtol=1e-10)


def test_a_matrix_that_is_not_positive_definite_has_no_solution_and_spoils_no_other():
    matrix = np.stack([np.eye(2), np.diag([1.0, -1.0]), np.zeros((2, 2))])
    known = [True, False, False]
    assert np.isfinite(solve_spd(matrix, np.ones((3, 2, 1)))).all(axis=(1, 2)).tolist() == known
    assert np.isfinite(cholesky(matrix)).all(axis=(1, 2)).tolist() == known
    assert np.isfinite(logdet_spd(matrix)).tolist() == known


def test_derivatives_of_solves_and_determinants_are_those_of_the_closed_form(rng):
    root = rng.normal(size=(4, 4))
    matrix, right = root @ root.T + np.eye(4), rng.normal(size=4)
    inverse = np.linalg.inv(matrix)
    np.testing.assert_allclose(jax.grad(logdet_spd)(matrix), inverse, rtol=1e-10)
    slope = jax.grad(lambda m: right @ solve_spd(m, right))(matrix)
    np.testing.assert_allclose(slope, -np.outer(inverse @ right, inverse @ right), rtol=1e-9)
    second = jax.hessian(lambda t: logdet_spd(matrix * t))(1.0)
    np.testing.assert_allclose(second, -4.0, rtol=1e-9)


def test_programs_that_wait_for_xlas_workers_are_known_and_ours_is_none():
    ours, theirs = compiled(solve_spd), compiled(jnp.linalg.inv)
    matrix = jnp.eye(3)[None]
    assert ours.pool_calls(matrix, matrix) == 0
    assert theirs.pool_calls(matrix) > 0
