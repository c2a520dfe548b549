"""Lengths of curves, and their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np

import landform as lf

FLAT = lf.Euclidean(2)


def test_pieces_of_a_curve_that_are_at_rest_add_nothing_to_the_gradient_of_its_length():
    corners = jnp.array([[0.1, 0.3], [1.3, 1.2], [1.3, 1.2], [0.7, 2.0]])
    slope = jax.grad(lambda x: lf.curve_length(FLAT, x))
    middle = slope(corners[jnp.array([0, 1, 3])])
    np.testing.assert_allclose(slope(corners)[jnp.array([0, 3])], middle[::2], rtol=1e-14)
    np.testing.assert_allclose(slope(corners)[1:3].sum(axis=0), middle[1], rtol=1e-13)
    np.testing.assert_array_equal(slope(jnp.full((3, 2), 1.1)), 0.0)
