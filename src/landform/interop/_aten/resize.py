"""Nearest, linear and cubic up- and down-sampling by axes, with and without antialiasing."""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax

from landform.interop._aten._registry import register


def _positions(size, out, scale, align_corners):
    """The input coordinate of each output sample; `scale` is the requested factor, if any."""
    i = np.arange(out)
    if align_corners:
        return i * ((size - 1) / (out - 1)) if out > 1 else np.zeros(1)
    step = 1.0 / scale if scale is not None else size / out
    return (i + 0.5) * step - 0.5


def _linear_taps(size, out, scale, align_corners):
    x = np.maximum(_positions(size, out, scale, align_corners), 0.0)
    low = np.minimum(x.astype(int), size - 1)
    fraction = np.clip(x - low, 0.0, 1.0)
    return np.stack([low, np.minimum(low + 1, size - 1)], 1), np.stack(
        [1.0 - fraction, fraction], 1
    )


def _cubic_taps(size, out, scale, align_corners, a=-0.75):
    x = _positions(size, out, scale, align_corners)
    low = np.floor(x).astype(int)
    t = np.abs((x - low)[:, None] - np.arange(-1, 3))
    near = ((a + 2) * t - (a + 3)) * t**2 + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.clip(low[:, None] + np.arange(-1, 3), 0, size - 1), np.where(t <= 1, near, far)


def _triangle(t):
    return np.maximum(0.0, 1.0 - np.abs(t))


def _keys(t, a=-0.5):
    t = np.abs(t)
    near = ((a + 2) * t - (a + 3)) * t**2 + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t < 1, near, np.where(t < 2, far, 0.0))


def _antialias_matrix(size, out, scale, align_corners, kernel, reach):
    """The kernel stretched over the input samples of each output sample; rows sum to 1."""
    if align_corners:
        step = (size - 1) / (out - 1) if out > 1 else 0.0
    else:
        step = 1.0 / scale if scale is not None else size / out
    stretch = max(step, 1.0)
    center = step * (np.arange(out) + 0.5)  # torch does not shift here, even with aligned corners
    low = np.maximum((center - reach * stretch + 0.5).astype(int), 0)
    high = np.minimum((center + reach * stretch + 0.5).astype(int), size)
    place = np.arange(size)
    covered = (place >= low[:, None]) & (place < high[:, None])
    weight = np.where(covered, kernel((place + 0.5 - center[:, None]) / stretch), 0.0)
    return weight / weight.sum(1, keepdims=True)


def _nearest(x, axis, out, scale, exact):
    size = x.shape[axis]
    if out % size == 0 and (scale is None or scale == out // size):
        return x if out == size else jnp.repeat(x, out // size, axis=axis)
    step = 1.0 / scale if scale is not None else size / out
    # torch computes these positions in single precision, and rounding decides ties
    position = (np.arange(out, dtype=np.float32) + np.float32(0.5 * exact)) * np.float32(step)
    return jnp.take(x, np.minimum(position.astype(int), size - 1), axis=axis)


def _interpolate(x, axis, taps):
    index, weight = taps
    shape = [1] * x.ndim
    shape[axis] = -1
    terms = [
        jnp.take(x, index[:, j], axis=axis) * jnp.asarray(weight[:, j], x.dtype).reshape(shape)
        for j in range(index.shape[1])
    ]
    return functools.reduce(jnp.add, terms)


def _sizes(x, output_size, scales):
    n = x.ndim - 2
    scales = [None] * n if scales is None else list(scales)
    if output_size is None:
        output_size = [int(np.floor(s * f)) for s, f in zip(x.shape[2:], scales, strict=True)]
    return list(zip(range(2, n + 2), output_size, scales, strict=True))


def _register_nearest(name, exact):
    def vec(x, output_size, scale_factors=None):
        for axis, out, scale in _sizes(x, output_size, scale_factors):
            x = _nearest(x, axis, out, scale, exact)
        return x

    def default(x, output_size, *scales):
        return vec(x, output_size, scales if any(s is not None for s in scales) else None)

    register(f"{name}.vec")(vec)
    register(f"{name}.default")(default)


def _register_smooth(name, taps):
    def vec(x, output_size, align_corners, scale_factors=None):
        for axis, out, scale in _sizes(x, output_size, scale_factors):
            if out != x.shape[axis] or (scale is not None and scale != 1.0):
                x = _interpolate(x, axis, taps(x.shape[axis], out, scale, align_corners))
        return x

    def default(x, output_size, align_corners, *scales):
        return vec(
            x, output_size, align_corners, scales if any(s is not None for s in scales) else None
        )

    register(f"{name}.vec")(vec)
    register(f"{name}.default")(default)


def _register_antialias(name, kernel, reach):
    def vec(x, output_size, align_corners, scale_factors=None):
        for axis, out, scale in _sizes(x, output_size, scale_factors):
            matrix = _antialias_matrix(x.shape[axis], out, scale, align_corners, kernel, reach)
            weight = jnp.asarray(matrix, x.dtype)
            x = jnp.tensordot(x, weight, ([axis], [1]), precision=lax.Precision.HIGHEST)
            x = jnp.moveaxis(x, -1, axis)
        return x

    def default(x, output_size, align_corners, *scales):
        return vec(
            x, output_size, align_corners, scales if any(s is not None for s in scales) else None
        )

    register(f"{name}.vec")(vec)
    register(f"{name}.default")(default)


for _n in (1, 2, 3):
    _register_nearest(f"upsample_nearest{_n}d", False)
    _register_nearest(f"_upsample_nearest_exact{_n}d", True)
_register_smooth("upsample_linear1d", _linear_taps)
_register_smooth("upsample_bilinear2d", _linear_taps)
_register_smooth("upsample_trilinear3d", _linear_taps)
_register_smooth("upsample_bicubic2d", _cubic_taps)
_register_antialias("_upsample_bilinear2d_aa", _triangle, 1.0)
_register_antialias("_upsample_bicubic2d_aa", _keys, 2.0)
