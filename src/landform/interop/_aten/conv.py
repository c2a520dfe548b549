"""Convolutions and transposed convolutions in any number of space dimensions."""

import jax.numpy as jnp
from jax import lax

from landform.interop._aten._registry import register, tuple_of

_FULL = lax.Precision.HIGHEST


def _with_batch(function):
    """Make a convolution accept one unbatched sample, as torch does."""

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
    if groups == 1 and max(stride) > 1 and max(dilation) == 1:
        y = _spread(x, weight, stride)
        y = _crop(y, x.shape[2:], weight.shape[2:], stride, padding, extra)
        return _add_bias(y, bias)
    kernel = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    pads = [(k - p, k - p + e) for k, p, e in zip(kernel, padding, extra, strict=True)]
    # torch stores (in, out / groups, ...); XLA wants (out, in / groups, ...), reflected in space
    inner, outer = weight.shape[0] // groups, weight.shape[1] * groups
    w = weight.reshape((groups, inner, weight.shape[1], *weight.shape[2:]))
    w = jnp.swapaxes(w, 1, 2).reshape((outer, inner, *weight.shape[2:]))
    w = jnp.flip(w, range(2, n + 2))
    return _add_bias(_correlate(x, w, (1,) * n, pads, dilation, groups, stride), bias)


def _spread(x, weight, stride):
    """A transposed convolution as one matrix product whose overlapping results are added.

    Every input position spreads one kernel for each output channel. XLA is several times slower
    with dilated inputs, and in double precision has no fast convolution at all.
    """
    n, (inner, outer) = len(stride), weight.shape[:2]
    y = lax.dot_general(
        x.reshape(*x.shape[:2], -1),
        weight.reshape(inner, -1),
        (((1,), (0,)), ((), ())),
        precision=_FULL,
    )
    y = y.reshape(x.shape[0], *x.shape[2:], outer, *weight.shape[2:])
    y = y.transpose((0, *range(n + 1, 2 * n + 2), *range(1, n + 1)))
    for s in stride:  # each step removes the first axis of the kernel and widens one space axis
        y = _overlap(y, 2, n + 1, s)
    return y


def _overlap(y, kernel, space, stride):
    """Add entry j of a kernel's axis to position stride i + j of a space axis, i counted there.

    The kernel's axis comes first and is gone in the result, where `space` counts the axes.
    """
    taps = -(-y.shape[kernel] // stride)
    phases = []
    for first in range(stride):
        total = 0.0
        for t, j in enumerate(range(first, y.shape[kernel], stride)):
            piece = lax.index_in_dim(y, j, kernel, keepdims=False)
            room = [(0, 0)] * piece.ndim
            room[space] = (t, taps - 1 - t)
            total = total + jnp.pad(piece, room)
        phases.append(total)
    like = phases[0]  # not empty even if the kernel is shorter than the stride
    y = jnp.stack([jnp.broadcast_to(p, like.shape) for p in phases], space + 1)
    return y.reshape(*like.shape[:space], -1, *like.shape[space + 1 :])


def _crop(y, space, kernel, stride, padding, extra):
    """Crop the full result by the padding and extend it by the output padding."""
    sizes = [
        (h - 1) * s - 2 * p + k + e
        for h, s, p, k, e in zip(space, stride, padding, kernel, extra, strict=True)
    ]
    short = [max(0, p + size - h) for p, size, h in zip(padding, sizes, y.shape[2:], strict=True)]
    y = jnp.pad(y, [(0, 0), (0, 0), *((0, e) for e in short)])
    return y[(..., *(slice(p, p + size) for p, size in zip(padding, sizes, strict=True)))]


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
