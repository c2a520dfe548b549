"""Moments of weighted points about any point, from one matrix product with the monomials."""

import functools
from math import comb

import jax.numpy as jnp
import numpy as np

from landform._core.typing import Array, Float


@functools.cache
def exponents(dim: int, order: int) -> np.ndarray:
    """All multi-indices of total degree up to `order`, ``(count, dim)``."""
    grid = np.indices((order + 1,) * dim).reshape(dim, -1).T
    return grid[grid.sum(axis=1) <= order]


def monomials(data: Float[Array, "n d"], order: int) -> Float[Array, "n count"]:
    """The monomials of the rows, in the order of `exponents`."""
    powers = [jnp.ones_like(data)]
    for _ in range(order):
        powers.append(powers[-1] * data)
    table = jnp.stack(powers)
    chosen = exponents(data.shape[1], order)
    return jnp.prod(table[chosen, :, np.arange(data.shape[1])], axis=1).T


def central(raw: Float[Array, " count"], y: Float[Array, " d"], order: int) -> Array:
    """``C[α] = Σ w (x − y)^α`` from the raw moments, shape ``(order + 1,) * d``, |α| ≤ order.

    The binomial theorem, one coordinate at a time. Cancellation costs |y|^k of the digits, so that
    data and y are centered by the caller.
    """
    d, size = y.shape[0], order + 1
    known = exponents(d, order)
    place = np.full((size,) * d, len(known))
    place[tuple(known.T)] = np.arange(len(known))
    out = jnp.append(raw, 0.0)[place]
    powers = [jnp.ones_like(y)]
    for _ in range(order):
        powers.append(-y * powers[-1])
    table = jnp.stack(powers, axis=1)
    rows, columns = np.indices((size, size))
    binomial = np.array([[comb(a, b) for b in range(size)] for a in range(size)])
    shift = table[:, np.maximum(rows - columns, 0)] * binomial
    for j in range(d):
        # A sum of products fuses with its neighbors, which a product of small matrices does not.
        rows = jnp.moveaxis(out, j, 0).reshape(1, size, -1)
        moved = jnp.sum(shift[j][:, :, None] * rows, axis=1).reshape((size,) * d)
        out = jnp.moveaxis(moved, 0, j)
    return out


def pick(moments: Array, dim: int, *powers: int) -> Array:
    """The moments ``Σ w Π_k u_{i_k}^{powers_k}`` for all indices i, one axis for each power."""
    size = moments.shape[0]
    axes = np.indices((dim,) * len(powers))
    units = np.eye(dim, dtype=int)
    alpha = np.sum([power * units[i] for power, i in zip(powers, axes, strict=True)], axis=0)
    flat = np.ravel_multi_index(np.moveaxis(alpha, -1, 0), (size,) * dim)
    return moments.reshape(-1)[flat]
