"""Newton systems of a curve: block tridiagonal by element, solved without anything of size (T d)².

The inner nodes of every element are eliminated at once; the shared nodes then by cyclic reduction
in its parallel form (Hockney 1965; every node eliminates its neighbors at distance 1, 2, 4, ...),
which is one short loop whatever the number of elements: O(m (p d)³ + m d³ log m) operations and one
program to compile for all m.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from landform._core.linalg import solve_positive
from landform._core.typing import Array, Float


class Newton(NamedTuple):
    """Solution of a Newton system with fixed end points."""

    step: Float[Array, "T1 d"]
    decrement: Float[Array, ""]  # gᵀ H⁻¹ g, twice the predicted decrease; NaN unless positive
    positive: Array  # whether H is positive definite


def solve_newton(
    elements: int, hessian: Float[Array, "m n n"], gradient: Float[Array, "m p1 d"]
) -> Newton:
    """Solve ``H u = −g`` over the inner nodes; g by element, as H is."""
    m, p1, d = gradient.shape
    p = p1 - 1
    load = gradient.reshape(m, p1 * d, 1)
    table = jnp.concatenate([hessian, load], axis=2)
    block, positive = table, jnp.asarray(True)
    if p > 1:
        rows, low, high = table[:, d:-d], table[:, :d], table[:, -d:]
        right = jnp.concatenate([rows[:, :, :d], rows[:, :, -d - 1 :]], axis=2)
        kept, pivots = solve_positive(rows[:, :, d : p * d], right)
        positive = jnp.all(pivots)
        outer = jnp.concatenate([low, high], axis=1)
        reduced = jnp.concatenate([outer[:, :, :d], outer[:, :, -d - 1 :]], axis=2)
        block = reduced - outer[:, :, d : p * d] @ kept
    block, force = block[:, :, :-1], block[:, :, -1]
    shared, also = _solve_shared(block, force, d)
    zero = jnp.zeros((1, d), gradient.dtype)
    nodes = jnp.concatenate([zero, shared, zero])
    if p > 1:
        u = jnp.concatenate([nodes[:-1], nodes[1:], jnp.ones((m, 1), nodes.dtype)], axis=1)
        middle = -jnp.einsum("miq,mq->mi", kept, u).reshape(m, p - 1, d)
        pieces = jnp.concatenate([nodes[:-1, None], middle], axis=1).reshape(m * p, d)
        nodes = jnp.concatenate([pieces, zero])
    positive = positive & also
    # Forces on the end points do no work, for those do not move.
    inside = jnp.sum(gradient[:, 1:-1] * nodes[:-1].reshape(m, p, d)[:, 1:])
    between = jnp.sum((gradient[:-1, -1] + gradient[1:, 0]) * nodes[p:-1:p])
    decrement = -inside - between
    return Newton(nodes, jnp.where(positive, decrement, jnp.nan), positive)


def _solve_shared(block, force, d):
    """The nodes between elements, ``(m − 1, d)``, from what elimination left of every element."""
    count = block.shape[0] - 1
    if count == 0:
        return jnp.zeros((0, d), force.dtype), jnp.asarray(True)
    middle = block[:-1, d:, d:] + block[1:, :d, :d]
    load = -(force[:-1, d:] + force[1:, :d])
    zero = jnp.zeros((1, d, d), force.dtype)
    after = jnp.concatenate([block[1:-1, :d, d:], zero])
    before = jnp.concatenate([zero, jnp.swapaxes(block[1:-1, :d, d:], 1, 2)])
    index = jnp.arange(count)

    def reduce(level, carry):
        middle, before, after, load, _, positive = carry
        right = jnp.concatenate([before, after, load[..., None]], axis=2)
        solved, pivots = solve_positive(middle, right)
        stride = 2**level
        left = before @ solved[jnp.maximum(index - stride, 0)]
        right = after @ solved[jnp.minimum(index + stride, count - 1)]
        middle = middle - left[:, :, d : 2 * d] - right[:, :, :d]
        load = load - left[:, :, -1] - right[:, :, -1]
        u = solved[:, :, -1]
        positive = positive & jnp.all(pivots)
        return middle, -left[:, :, :d], -right[:, :, d : 2 * d], load, u, positive

    levels = int(np.ceil(np.log2(count))) + 1
    carry = (middle, before, after, load, load, jnp.asarray(True))
    carry = jax.lax.fori_loop(0, levels, reduce, carry)
    return carry[4], carry[5]
