"""Arrays on their way between NumPy and JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform._numerics import as_floats, chunked, join, on_host, to_jax

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


def test_one_side_in_single_precision_does_not_round_the_distances():
    plane, points = lf.PoincareHalfPlane(), np.array([[0.1, 1.0], [1.1, 1.3]])
    found = lf.pairwise_distances(plane, points[:1].astype(np.float32), points)
    exact = plane.exact_distance(points[:1].astype(np.float32).astype(float), points)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[0], exact, rtol=1e-11)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x: lf.pairwise_distances(FLAT, x, method="graph", neighbours=0), "neighbours"),
        (lambda x: lf.graph_distances(FLAT, x, neighbours=-3), "neighbours"),
        (lambda x: lf.graph_distances(FLAT, x, probes=-1), "probes"),
        (lambda x: lf.curve_length(FLAT, x, order=0), "order"),
        (lambda x: lf.metric_tensor(FLAT, x[None, :0]), "x must not be empty"),
    ],
)
def test_numbers_that_mean_nothing_are_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]))


def test_pieces_of_a_curve_that_are_at_rest_add_nothing_to_the_gradient_of_its_length():
    corners = jnp.array([[0.1, 0.3], [1.3, 1.2], [1.3, 1.2], [0.7, 2.0]])
    slope = jax.grad(lambda x: lf.curve_length(FLAT, x))
    middle = slope(corners[jnp.array([0, 1, 3])])
    np.testing.assert_allclose(slope(corners)[jnp.array([0, 3])], middle[::2], rtol=1e-14)
    np.testing.assert_allclose(slope(corners)[1:3].sum(axis=0), middle[1], rtol=1e-13)
    np.testing.assert_array_equal(slope(jnp.full((3, 2), 1.1)), 0.0)
