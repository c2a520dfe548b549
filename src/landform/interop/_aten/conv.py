"""Convolutions and transposed convolutions in any number of space dimensions."""

import math

import jax.numpy as jnp
from jax import lax

from landform.interop._aten._registry import register, tuple_of

_FULL = lax.Precision.HIGHEST


def _with_batch(function):
    """Let a convolution accept one unbatched sample, as torch does."""

    def wrapped(x, weight, *args, **kwargs):
        if x.ndim == weight.ndim - 1:
            return function(x[None], weight, *args, **kwargs)[0]
        return function(x, weight, *args, **kwargs)

    return wrapped


def _add_bias(y, bias):
    return y if bias is None else y + bias.reshape((1, -1) + (1,) * (y.ndim - 2))


def _correlate(x, weight, strides, padding, dilation, groups, input_dilation=None):
    return lax.conv_general_dilated(
        x,
        weight,
        strides,
        padding,
        lhs_dilation=input_dilation,
        rhs_dilation=dilation,
        feature_group_count=groups,
        precision=_FULL,
    )


@_with_batch
def convolve(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    n = weight.ndim - 2
    stride, dilation = tuple_of(stride, n), tuple_of(dilation, n)
    if padding == "valid":
        padding = 0
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        pads = [(t // 2, t - t // 2) for t in total]
    else:
        pads = [(p, p) for p in tuple_of(padding, n)]
    return _add_bias(_correlate(x, weight, stride, pads, dilation, groups), bias)


@_with_batch
def convolve_transposed(
    x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    n = weight.ndim - 2
    stride, padding, extra, dilation = (
        tuple_of(v, n) for v in (stride, padding, output_padding, dilation)
    )
    if groups == 1 and max(stride) > 1 and max(dilation) == 1 and x.dtype == jnp.float32:
        return _add_bias(_by_phases(x, weight, stride, padding, extra), bias)
    kernel = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    pads = [(k - p, k - p + e) for k, p, e in zip(kernel, padding, extra, strict=True)]
    # torch stores (in, out / groups, ...); XLA wants (out, in / groups, ...), reflected in space
    inner, outer = weight.shape[0] // groups, weight.shape[1] * groups
    w = weight.reshape((groups, inner, weight.shape[1], *weight.shape[2:]))
    w = jnp.swapaxes(w, 1, 2).reshape((outer, inner, *weight.shape[2:]))
    w = jnp.flip(w, range(2, n + 2))
    return _add_bias(_correlate(x, w, (1,) * n, pads, dilation, groups, stride), bias)


def _by_phases(x, weight, stride, padding, extra):
    """A transposed convolution of stride s as one dense convolution with s^n times the channels.

    The output at position s q + r only meets the kernel's entries r, r + s, r + 2 s, …, so each
    phase r is an ordinary convolution and the phases are interleaved afterwards. In single
    precision this avoids XLA's slow path for dilated inputs (about five times slower at stride 2).
    """
    n = len(stride)
    kernel, (inner, outer) = weight.shape[2:], weight.shape[:2]
    taps = [-(-k // s) for k, s in zip(kernel, stride, strict=True)]
    room = [(0, t * s - k) for t, s, k in zip(taps, stride, kernel, strict=True)]
    w = jnp.pad(weight, [(0, 0), (0, 0), *room])
    w = w.reshape((inner, outer, *[v for pair in zip(taps, stride, strict=True) for v in pair]))
    w = w.transpose((1, *(3 + 2 * i for i in range(n)), 0, *(2 + 2 * i for i in range(n))))
    w = jnp.flip(w.reshape((outer * math.prod(stride), inner, *taps)), range(2, n + 2))
    y = _correlate(x, w, (1,) * n, [(t - 1, t - 1) for t in taps], (1,) * n, 1)
    cells = y.shape[2:]
    y = y.reshape((x.shape[0], outer, *stride, *cells))
    y = y.transpose((0, 1, *(v for i in range(n) for v in (2 + n + i, 2 + i))))
    y = y.reshape((x.shape[0], outer, *(c * s for c, s in zip(cells, stride, strict=True))))
    sizes = [
        (h - 1) * s - 2 * p + k + e
        for h, s, p, k, e in zip(x.shape[2:], stride, padding, kernel, extra, strict=True)
    ]
    short = [max(0, p + size - h) for p, size, h in zip(padding, sizes, y.shape[2:], strict=True)]
    y = jnp.pad(y, [(0, 0), (0, 0), *((0, e) for e in short)])
    return y[
        (
            slice(None),
            slice(None),
            *(slice(p, p + size) for p, size in zip(padding, sizes, strict=True)),
        )
    ]


for _n in (1, 2, 3):
    register(f"conv{_n}d.default", f"conv{_n}d.padding")(convolve)
register("conv_transpose1d.default", "conv_transpose2d.input", "conv_transpose3d.input")(
    convolve_transposed
)


@register("convolution.default", "_convolution.default")
def convolution(x, weight, bias, stride, padding, dilation, transposed, output_padding, groups, *_):
    if transposed:
        return convolve_transposed(
            x, weight, bias, stride, padding, output_padding, groups, dilation
        )
    return convolve(x, weight, bias, stride, padding, dilation, groups)
