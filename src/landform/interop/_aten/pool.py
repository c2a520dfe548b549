"""Average and maximum pooling, plain and adaptive."""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from landform.interop._aten._registry import register, tuple_of


def _starts(size, kernel, stride, padding, dilation, ceil_mode):
    """Where the windows of one axis start in the padded input."""
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (math.ceil(span / stride) if ceil_mode else span // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1  # torch drops the last window if it would start in the right padding
    return np.arange(count) * stride


def _settings(x, kernel, stride, padding, dilation, n):
    kernel = tuple_of(kernel, n)
    stride = tuple_of(stride, n) if stride not in (None, []) else kernel
    return kernel, stride, tuple_of(padding, n), tuple_of(dilation, n), x.shape[-n:]


def _window_sums(x, kernel, stride, right):
    lead = x.ndim - len(kernel)
    return lax.reduce_window(
        x,
        np.zeros((), x.dtype),  # concrete, so that JAX sees a plain sum and can differentiate it
        lax.add,
        (1,) * lead + kernel,
        (1,) * lead + stride,
        [(0, 0)] * lead + right,
    )


def _avg_pool(n):
    @register(f"avg_pool{n}d.default")
    def avg_pool(
        x, kernel, stride=None, padding=0, ceil_mode=False, include_pad=True, divisor=None
    ):
        kernel, stride, padding, _, sizes = _settings(x, kernel, stride, padding, 1, n)
        starts = [
            _starts(*v, 1, ceil_mode) for v in zip(sizes, kernel, stride, padding, strict=True)
        ]
        right = [
            (p, int(s[-1]) + k - size - p)
            for s, k, size, p in zip(starts, kernel, sizes, padding, strict=True)
        ]
        sums = _window_sums(x, kernel, stride, right)
        if divisor is not None:
            return sums / divisor
        # the divisor counts the requested padding, but not the padding that ceil_mode adds
        counts = np.ones(())
        for s, k, size, p in zip(starts, kernel, sizes, padding, strict=True):
            low, high = (0, size + 2 * p) if include_pad else (p, size + p)
            counts = counts[..., None] * (np.minimum(s + k, high) - np.maximum(s, low))
        return sums / jnp.asarray(counts, x.dtype)

    return avg_pool


def _max_pool(n):
    @register(f"max_pool{n}d_with_indices.default", bends=True)
    def with_indices(x, kernel, stride=None, padding=0, dilation=1, ceil_mode=False):
        kernel, stride, padding, dilation, sizes = _settings(
            x, kernel, stride, padding, dilation, n
        )
        values = x
        places = jnp.arange(math.prod(sizes)).reshape(sizes)
        places = jnp.broadcast_to(places, x.shape)
        for i, (size, k, s, p, d) in enumerate(
            zip(sizes, kernel, stride, padding, dilation, strict=True)
        ):
            axis = x.ndim - n + i
            starts = _starts(size, k, s, p, d, ceil_mode) - p
            window = starts[:, None] + d * np.arange(k)
            outside = (window < 0) | (window >= size)
            window = np.clip(window, 0, size - 1)
            shape = [1] * (values.ndim + 1)
            shape[axis], shape[axis + 1] = window.shape
            candidates = jnp.take(values, window, axis=axis)
            candidates = jnp.where(outside.reshape(shape), -jnp.inf, candidates)
            best = jnp.argmax(candidates, axis=axis + 1, keepdims=True)
            values = jnp.take_along_axis(candidates, best, axis=axis + 1).squeeze(axis + 1)
            places = jnp.take_along_axis(jnp.take(places, window, axis=axis), best, axis=axis + 1)
            places = places.squeeze(axis + 1)
        return values, places

    @register(f"max_pool{n}d.default", bends=True)
    def max_pool(*args, **kwargs):
        return with_indices(*args, **kwargs)[0]

    return max_pool


def _cells(size, out):
    """torch's adaptive windows: from floor(i n / m) to ceil((i + 1) n / m)."""
    i = np.arange(out)
    return i * size // out, -(-(i + 1) * size // out)


def _adaptive_avg(n):
    @register(f"adaptive_avg_pool{n}d.default", f"_adaptive_avg_pool{n}d.default")
    def adaptive_avg_pool(x, output_size):
        for axis, out in zip(range(x.ndim - n, x.ndim), tuple_of(output_size, n), strict=True):
            size = x.shape[axis]
            low, high = _cells(size, size if out is None else out)
            cell = np.arange(size)
            mean = (cell >= low[:, None]) & (cell < high[:, None])
            mean = jnp.asarray(mean / mean.sum(1, keepdims=True), x.dtype)
            x = jnp.moveaxis(
                jnp.tensordot(x, mean, ([axis], [1]), precision=lax.Precision.HIGHEST), -1, axis
            )
        return x

    return adaptive_avg_pool


def _adaptive_max(n):
    @register(f"adaptive_max_pool{n}d.default", bends=True)
    def adaptive_max_pool(x, output_size):
        values, places = (
            x,
            jnp.broadcast_to(jnp.arange(math.prod(x.shape[-n:])).reshape(x.shape[-n:]), x.shape),
        )
        for axis, out in zip(range(x.ndim - n, x.ndim), tuple_of(output_size, n), strict=True):
            low, high = _cells(values.shape[axis], values.shape[axis] if out is None else out)
            new_values, new_places = [], []
            for a, b in zip(low, high, strict=True):
                part = lax.slice_in_dim(values, int(a), int(b), axis=axis)
                best = jnp.argmax(part, axis=axis, keepdims=True)
                new_values.append(jnp.take_along_axis(part, best, axis=axis))
                part = lax.slice_in_dim(places, int(a), int(b), axis=axis)
                new_places.append(jnp.take_along_axis(part, best, axis=axis))
            values, places = jnp.concatenate(new_values, axis), jnp.concatenate(new_places, axis)
        return values, places

    return adaptive_max_pool


for _n in (1, 2, 3):
    _avg_pool(_n)
    _max_pool(_n)
    _adaptive_avg(_n)
    _adaptive_max(_n)
