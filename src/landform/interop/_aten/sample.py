"""Sampling of images and volumes at given coordinates, as spatial transformers and fields do."""

import functools
import itertools

import jax.numpy as jnp
import numpy as np

from landform.interop._aten._registry import register

_ZEROS, _BORDER, _REFLECTION = 0, 1, 2


def _in_cells(x, size, align_corners):
    """Map coordinates from [-1, 1] to units of cells."""
    return (x + 1.0) / 2.0 * (size - 1) if align_corners else ((x + 1.0) * size - 1.0) / 2.0


def _reflect(x, twice_low, twice_high):
    if twice_low == twice_high:
        return jnp.zeros_like(x)
    low, span = twice_low / 2.0, (twice_high - twice_low) / 2.0
    distance = jnp.abs(x - low)
    turns, rest = jnp.floor(distance / span), jnp.fmod(distance, span)
    return jnp.where(turns % 2 == 0, rest + low, span - rest + low)


def _held(x, size, padding_mode, align_corners):
    """Move coordinates back into the image (padding modes "border" and "reflection")."""
    if padding_mode == _REFLECTION:
        ends = (0, 2 * (size - 1)) if align_corners else (-1, 2 * size - 1)
        x = _reflect(x, *ends)
    return x if padding_mode == _ZEROS else jnp.clip(x, 0.0, size - 1.0)


def _fetch(x, places):
    """``x[n, :, i, j, …]`` at integer coordinates of shape (n, …), zero outside the image."""
    inside, index = jnp.ones(places[0].shape, bool), []
    for place, size in zip(places, x.shape[2:], strict=True):
        inside = inside & (place >= 0) & (place < size)
        index.append(jnp.clip(place, 0, size - 1).astype(int))
    rows = np.arange(x.shape[0]).reshape((-1,) + (1,) * (index[0].ndim - 1))
    values = jnp.moveaxis(x[(rows, slice(None), *index)], -1, 1)
    return jnp.where(inside[:, None], values, 0.0)


def _cubic(t, a=-0.75):
    """The four weights of Keys' kernel at distances 1 + t, t, 1 - t, 2 - t."""

    def near(s):
        return ((a + 2) * s - (a + 3)) * s * s + 1

    def far(s):
        return ((a * s - 5 * a) * s + 8 * a) * s - 4 * a

    return far(1 + t), near(t), near(1 - t), far(2 - t)


# The grid lists coordinates from the last axis to the first. The result is linear in the image and
# piecewise smooth in the grid.
@register("grid_sampler.default", "grid_sampler_2d.default", "grid_sampler_3d.default", bends=(1,))
def grid_sampler(x, grid, interpolation_mode, padding_mode, align_corners):
    sizes = x.shape[2:]
    points = [_in_cells(grid[..., -1 - k], n, align_corners) for k, n in enumerate(sizes)]

    def hold(places):
        pairs = zip(places, sizes, strict=True)
        return [_held(p, n, padding_mode, align_corners) for p, n in pairs]

    if interpolation_mode == 1:
        return _fetch(x, [jnp.round(p) for p in hold(points)])
    linear = interpolation_mode == 0
    if linear:
        points = hold(points)
    corners = [jnp.floor(p) for p in points]
    rests = [p - c for p, c in zip(points, corners, strict=True)]
    offsets = (0, 1) if linear else (-1, 0, 1, 2)
    weights = [(1 - r, r) if linear else _cubic(r) for r in rests]
    terms = []
    for taps in itertools.product(range(len(offsets)), repeat=len(sizes)):
        places = [c + offsets[j] for c, j in zip(corners, taps, strict=True)]
        values = _fetch(x, places if linear else hold(places))
        parts = [w[j] for w, j in zip(weights, taps, strict=True)]
        terms.append(values * functools.reduce(jnp.multiply, parts)[:, None])
    return functools.reduce(jnp.add, terms)
