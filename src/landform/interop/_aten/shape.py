"""Views, joins, splits, padding and other rearrangements of entries."""

import math

import jax.numpy as jnp
import numpy as np

from landform.interop._aten._registry import register, tuple_of


@register(
    "view.default",
    "reshape.default",
    "_unsafe_view.default",
    "_reshape_copy.default",
    "view_copy.default",
)
def reshape(x, size):
    return x.reshape(size)


@register("view_as.default", "reshape_as.default")
def reshape_as(x, other):
    return x.reshape(other.shape)


@register("flatten.using_ints")
def flatten(x, start_dim=0, end_dim=-1):
    if x.ndim == 0:
        return x.reshape(1)
    start, end = start_dim % x.ndim, end_dim % x.ndim
    return x.reshape((*x.shape[:start], -1, *x.shape[end + 1 :]))


@register("ravel.default")
def ravel(x):
    return x.ravel()


@register("unflatten.int")
def unflatten(x, dim, sizes):
    dim %= x.ndim
    return x.reshape(x.shape[:dim] + tuple(sizes) + x.shape[dim + 1 :])


@register("expand.default", "expand_copy.default")
def expand(x, size, implicit=False):
    lead = len(size) - x.ndim
    shape = [x.shape[i - lead] if s == -1 else s for i, s in enumerate(size)]
    return jnp.broadcast_to(x, shape)


@register("expand_as.default")
def expand_as(x, other):
    return jnp.broadcast_to(x, other.shape)


@register("broadcast_to.default")
def broadcast_to(x, size):
    return expand(x, size)


@register("broadcast_tensors.default", "meshgrid.default")
def broadcast_tensors(tensors):
    return tuple(jnp.broadcast_arrays(*tensors))


@register("meshgrid.indexing")
def meshgrid(tensors, indexing="ij"):
    return tuple(jnp.meshgrid(*tensors, indexing=indexing))


@register("permute.default", "permute_copy.default")
def permute(x, dims):
    return jnp.transpose(x, [d % x.ndim for d in dims])


@register("transpose.int", "transpose_copy.int", "swapaxes.default", "swapdims.default")
def transpose(x, dim0, dim1):
    return jnp.swapaxes(x, dim0, dim1) if x.ndim else x


@register("t.default", "numpy_T.default")
def t(x):
    return x.T


@register("mT.default", "adjoint.default", "mH.default")
def matrix_transpose(x):
    return jnp.swapaxes(x, -1, -2)


@register("movedim.int", "movedim.intlist", "moveaxis.int", "moveaxis.intlist")
def movedim(x, source, destination):
    return jnp.moveaxis(x, source, destination)


@register("squeeze.default")
def squeeze(x):
    return jnp.squeeze(x)


@register("squeeze.dim", "squeeze.dims", "squeeze_copy.dim", "squeeze_copy.dims")
def squeeze_dims(x, dim):
    dims = dim if isinstance(dim, list) else [dim]
    return jnp.squeeze(
        x, tuple(d for d in {d % max(x.ndim, 1) for d in dims} if x.ndim and x.shape[d] == 1)
    )


@register("unsqueeze.default", "unsqueeze_copy.default")
def unsqueeze(x, dim):
    return jnp.expand_dims(x, dim)


@register("atleast_1d.default")
def atleast_1d(x):
    return jnp.atleast_1d(x)


@register("cat.default", "concat.default", "concatenate.default")
def cat(tensors, dim=0):
    # torch accepts an empty vector among tensors of any shape
    kept = [x for x in tensors if x.shape != (0,)]
    return jnp.concatenate(kept or tensors, axis=dim)


@register("stack.default")
def stack(tensors, dim=0):
    return jnp.stack(tensors, axis=dim)


@register("hstack.default")
def hstack(tensors):
    return jnp.hstack(tensors)


@register("vstack.default", "row_stack.default")
def vstack(tensors):
    return jnp.vstack(tensors)


@register("dstack.default")
def dstack(tensors):
    return jnp.dstack(tensors)


def _cut(x, points, dim):
    return tuple(jnp.split(x, points, axis=dim))


@register(
    "split_with_sizes.default",
    "split.sizes",
    "split_with_sizes_copy.default",
    "unsafe_split_with_sizes.default",
)
def split_with_sizes(x, split_sizes, dim=0):
    return _cut(x, np.cumsum(split_sizes)[:-1], dim)


@register("split.Tensor", "split_copy.Tensor", "unsafe_split.Tensor")
def split(x, split_size, dim=0):
    return _cut(x, np.arange(split_size, x.shape[dim], split_size), dim)


@register("chunk.default", "unsafe_chunk.default")
def chunk(x, chunks, dim=0):
    return split(x, max(1, math.ceil(x.shape[dim] / chunks)), dim)


@register("tensor_split.sections")
def tensor_split(x, sections, dim=0):
    return tuple(jnp.array_split(x, sections, axis=dim))


@register("tensor_split.indices")
def tensor_split_indices(x, indices, dim=0):
    return _cut(x, np.asarray(indices), dim)


@register("unbind.int", "unbind_copy.int")
def unbind(x, dim=0):
    return tuple(jnp.moveaxis(x, dim, 0))


@register("getitem")
def getitem(values, index):
    return values[index]


def _slice(x, dim, start, end, step):
    window = [slice(None)] * x.ndim
    window[dim] = slice(start, end, step)
    return tuple(window)


@register("slice.Tensor", "slice_copy.Tensor")
def slice_(x, dim=0, start=None, end=None, step=1):
    return x[_slice(x, dim, start, end, step)]


@register("slice_scatter.default")
def slice_scatter(x, src, dim=0, start=None, end=None, step=1):
    return x.at[_slice(x, dim, start, end, step)].set(src)


@register("narrow.default", "narrow_copy.default")
def narrow(x, dim, start, length):
    start %= x.shape[dim] + (start == x.shape[dim])
    return x[_slice(x, dim, start, start + length, 1)]


@register("select.int", "select_copy.int")
def select(x, dim, index):
    return jnp.take(x, index, axis=dim)


@register("select_scatter.default")
def select_scatter(x, src, dim, index):
    window = [slice(None)] * x.ndim
    window[dim] = index
    return x.at[tuple(window)].set(src)


@register("copy.default")
def copy(x, src, non_blocking=False):
    return jnp.broadcast_to(src, x.shape)


@register("repeat.default")
def repeat(x, repeats):
    return jnp.tile(x, repeats)


@register("tile.default")
def tile(x, dims):
    return jnp.tile(x, dims)


@register("repeat_interleave.self_int")
def repeat_interleave(x, repeats, dim=None, output_size=None):
    return jnp.repeat(x, repeats, axis=dim)


@register("roll.default")
def roll(x, shifts, dims=()):
    return jnp.roll(x, shifts, tuple(dims) or None)


@register("flip.default")
def flip(x, dims):
    return jnp.flip(x, dims)


@register("fliplr.default")
def fliplr(x):
    return jnp.fliplr(x)


@register("flipud.default")
def flipud(x):
    return jnp.flipud(x)


@register("rot90.default")
def rot90(x, k=1, dims=(0, 1)):
    return jnp.rot90(x, k, tuple(dims))


@register("diagonal.default", "diagonal_copy.default")
def diagonal(x, offset=0, dim1=0, dim2=1):
    return jnp.diagonal(x, offset, dim1, dim2)


@register("diag_embed.default")
def diag_embed(x, offset=0, dim1=-2, dim2=-1):
    n = x.shape[-1] + abs(offset)
    i = np.arange(x.shape[-1])
    out = (
        jnp.zeros((*x.shape[:-1], n, n), x.dtype)
        .at[..., i + max(-offset, 0), i + max(offset, 0)]
        .set(x)
    )
    return jnp.moveaxis(out, (-2, -1), (dim1, dim2))


@register("diag.default")
def diag(x, diagonal=0):
    return jnp.diag(x, diagonal)


@register("tril.default")
def tril(x, diagonal=0):
    return jnp.tril(x, diagonal)


@register("triu.default")
def triu(x, diagonal=0):
    return jnp.triu(x, diagonal)


@register("unfold.default")
def unfold(x, dimension, size, step):
    dimension %= x.ndim
    starts = np.arange(0, x.shape[dimension] - size + 1, step)
    windows = jnp.take(x, starts[:, None] + np.arange(size), axis=dimension)
    return jnp.moveaxis(windows, dimension + 1, -1)


def _widths(x, pad):
    """Padding by axis; torch lists (before, after) from the last axis to the first."""
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    return [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]


@register("constant_pad_nd.default")
def constant_pad(x, pad, value=0.0):
    widths = _widths(x, pad)
    x = x[
        tuple(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(widths, x.shape, strict=True))
    ]
    return jnp.pad(x, [(max(a, 0), max(b, 0)) for a, b in widths], constant_values=value)


def _pad_mode(mode):
    def pad_with(x, padding):
        return jnp.pad(x, _widths(x, padding), mode=mode)

    return pad_with


for _axes in (1, 2, 3):
    register(f"reflection_pad{_axes}d.default")(_pad_mode("reflect"))
    register(f"replication_pad{_axes}d.default")(_pad_mode("edge"))


@register("pad.default", "_pad_enum.default")
def pad(x, pad, mode="constant", value=None):
    if mode == "constant":
        return constant_pad(x, pad, 0.0 if value is None else value)
    modes = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    return jnp.pad(x, _widths(x, pad), mode=modes[mode])


@register("pixel_shuffle.default")
def pixel_shuffle(x, upscale_factor):
    r = upscale_factor
    *lead, c, h, w = x.shape
    x = x.reshape((*lead, c // r**2, r, r, h, w))
    k = len(lead)
    x = x.transpose((*range(k), k, k + 3, k + 1, k + 4, k + 2))
    return x.reshape((*lead, c // r**2, h * r, w * r))


@register("pixel_unshuffle.default")
def pixel_unshuffle(x, downscale_factor):
    r = downscale_factor
    *lead, c, h, w = x.shape
    x = x.reshape((*lead, c, h // r, r, w // r, r))
    k = len(lead)
    x = x.transpose((*range(k), k, k + 2, k + 4, k + 1, k + 3))
    return x.reshape((*lead, c * r**2, h // r, w // r))


@register("channel_shuffle.default", "native_channel_shuffle.default")
def channel_shuffle(x, groups):
    n, c = x.shape[:2]
    y = x.reshape((n, groups, c // groups, *x.shape[2:]))
    return jnp.swapaxes(y, 1, 2).reshape(x.shape)


def _windows(size, kernel, stride, padding, dilation):
    """The index into the padded input of each (offset, window), for each axis."""
    starts = np.arange(0, size + 2 * padding - dilation * (kernel - 1), stride)
    return (dilation * np.arange(kernel))[:, None] + starts


@register("im2col.default")
def im2col(x, kernel_size, dilation, padding, stride):
    k, d, p, s = (tuple_of(v, 2) for v in (kernel_size, dilation, padding, stride))
    n, c, h, w = x.shape
    rows, cols = (_windows(size, k[i], s[i], p[i], d[i]) for i, size in enumerate((h, w)))
    x = jnp.pad(x, [(0, 0), (0, 0), (p[0], p[0]), (p[1], p[1])])
    y = x[:, :, rows[:, None, :, None], cols[None, :, None, :]]
    return y.reshape((n, c * k[0] * k[1], -1))


@register("col2im.default")
def col2im(x, output_size, kernel_size, dilation, padding, stride):
    k, d, p, s = (tuple_of(v, 2) for v in (kernel_size, dilation, padding, stride))
    h, w = output_size
    rows, cols = (_windows(size, k[i], s[i], p[i], d[i]) for i, size in enumerate((h, w)))
    n, c = x.shape[0], x.shape[1] // (k[0] * k[1])
    x = x.reshape((n, c, k[0], k[1], rows.shape[1], cols.shape[1]))
    out = jnp.zeros((n, c, h + 2 * p[0], w + 2 * p[1]), x.dtype)
    out = out.at[:, :, rows[:, None, :, None], cols[None, :, None, :]].add(x)
    return out[:, :, p[0] : p[0] + h, p[1] : p[1] + w]
