"""Metrics known by their inner product: everything from one derivative of a decoder at a time."""

import abc

import jax
import jax.numpy as jnp

from landform._core.linalg import solve_spd, symmetrize
from landform._core.typing import Matrix, Point, Scalar
from landform.metrics.base import AbstractMetric, EnergyTerms


class AbstractInner(AbstractMetric):
    """A metric whose inner product costs less than its matrix.

    For a decoder ``vᵀ M(x) w`` needs two directional derivatives and no Jacobian. The derivatives
    that solvers ask for then come from one reverse pass over that number and d forward passes over
    the reverse one, where differentiating the matrix would repeat all of it d times more.
    """

    @abc.abstractmethod
    def inner(self, x: Point, v: Point, w: Point) -> Scalar:
        """The inner product ``vᵀ M(x) w``."""

    def __call__(self, x: Point) -> Matrix:
        """The inner products of the coordinate directions."""
        eye = jnp.eye(x.shape[0], dtype=x.dtype)
        rows = jax.vmap(lambda v: jax.vmap(lambda w: self.inner(x, v, w))(eye))
        return symmetrize(rows(eye))

    def square(self, x: Point, v: Point) -> Scalar:
        """The squared norm ``vᵀ M(x) v``."""
        return self.inner(x, v, v)

    def energy_gradient(self, x: Point, v: Point) -> Point:
        """The gradient ``∇_x (vᵀ M(x) v)``, by one reverse pass."""
        return self.slopes(x, v)[1]

    def slopes(self, x: Point, v: Point) -> tuple[Point, Point]:
        """M v and ``∇_x (vᵀ M v)``, by one reverse pass."""
        gradient, twice = jax.grad(self.square, argnums=(0, 1))(x, v)
        return 0.5 * twice, gradient

    def acceleration(self, x: Point, v: Point) -> Point:
        """The geodesic equation, by one forward pass over the reverse one."""
        (_, gradient), (along, _) = jax.jvp(lambda y: self.slopes(y, v), (x,), (v,))
        return solve_spd(self(x), 0.5 * gradient - along)

    def energy_terms(self, x: Point, v: Point) -> EnergyTerms:
        """M and the derivatives of ``vᵀ M v``, by forward over reverse mode."""

        def both(y):
            slopes = self.slopes(y, v)
            return slopes, slopes[1]

        (cross, hessian), gradient = jax.jacfwd(both, has_aux=True)(x)
        return EnergyTerms(self(x), gradient, cross, hessian)
