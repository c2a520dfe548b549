"""Many points as fewer weighted ones with the same sums of smooth functions."""

import itertools

import numpy as np

_STENCIL_WIDTH = 16  # grid points a side on which each data point is laid
_BLOCK_ROWS = 4096  # data points laid at once


def lay_on_grid(data: np.ndarray, weights: np.ndarray, spacing: float):
    """Nodes of a regular grid and weights on them: ``Σ c g(node) ≈ Σ w g(x)`` for smooth g.

    Each point is replaced by the Lagrange weights of the 16 nearest nodes a side, which is exact
    where g is a polynomial of degree 15 in each coordinate; the error falls as the 16th power of
    the spacing.
    """
    d = data.shape[1]
    low = data.min(axis=0) - (_STENCIL_WIDTH // 2) * spacing
    place = (data - low) / spacing
    first = np.floor(place).astype(int) - _STENCIL_WIDTH // 2 + 1
    shape = tuple(first.max(axis=0) + _STENCIL_WIDTH)
    total = np.zeros(int(np.prod(shape)))
    steps = np.array(list(itertools.product(range(_STENCIL_WIDTH), repeat=d)))
    for start in range(0, len(data), _BLOCK_ROWS):
        here = slice(start, start + _BLOCK_ROWS)
        basis = _lagrange(place[here] - first[here])  # (b, d, order)
        share = weights[here, None] * np.prod([basis[:, j, steps[:, j]] for j in range(d)], axis=0)
        nodes = first[here, None, :] + steps
        index = np.ravel_multi_index(tuple(np.moveaxis(nodes, -1, 0)), shape)
        total += np.bincount(index.ravel(), share.ravel(), minlength=total.size)
    used = np.flatnonzero(total)
    nodes = np.stack(np.unravel_index(used, shape), axis=1)
    return low + nodes * spacing, total[used]


def _lagrange(t: np.ndarray) -> np.ndarray:
    """Values at t of the Lagrange polynomials of the nodes 0, 1, …, 15."""
    nodes = np.arange(_STENCIL_WIDTH)
    gaps = nodes[:, None] - nodes + np.eye(_STENCIL_WIDTH)
    scale = 1.0 / np.prod(gaps, axis=1)
    out = np.empty((*t.shape, _STENCIL_WIDTH))
    for k in range(_STENCIL_WIDTH):
        out[..., k] = scale[k] * np.prod(t[..., None] - np.delete(nodes, k), axis=-1)
    return out
