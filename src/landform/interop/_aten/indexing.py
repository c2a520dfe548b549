"""Look-ups and scatters with integer indices."""

import jax.numpy as jnp
import numpy as np

from landform.interop._aten._registry import register


@register("embedding.default")
def embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    return weight[indices]


@register("index.Tensor", "_unsafe_index.Tensor")
def index(x, indices):
    return x[tuple(slice(None) if i is None else i for i in indices)]


@register("index_put.default", "_unsafe_index_put.default")
def index_put(x, indices, values, accumulate=False):
    if len(indices) == 1 and indices[0].dtype == bool and values.size == 1:
        mask = indices[0].reshape(indices[0].shape + (1,) * (x.ndim - indices[0].ndim))
        return jnp.where(mask, x + values if accumulate else values, x)
    where = x.at[tuple(slice(None) if i is None else i for i in indices)]
    return where.add(values) if accumulate else where.set(values)


@register("index_select.default")
def index_select(x, dim, index):
    return jnp.take(x, index, axis=dim)


@register("index_add.default")
def index_add(x, dim, index, source, alpha=1):
    moved = jnp.moveaxis(x, dim, 0).at[index].add(alpha * jnp.moveaxis(source, dim, 0))
    return jnp.moveaxis(moved, 0, dim)


@register("index_copy.default")
def index_copy(x, dim, index, source):
    return jnp.moveaxis(jnp.moveaxis(x, dim, 0).at[index].set(jnp.moveaxis(source, dim, 0)), 0, dim)


def _grid(dim, index):
    """Index arrays that address ``x[..., index[...], ...]`` with `index` along `dim`."""
    axes = [
        np.arange(n).reshape([-1 if i == k else 1 for i in range(index.ndim)])
        for k, n in enumerate(index.shape)
    ]
    axes[dim] = index
    return tuple(axes)


@register("gather.default")
def gather(x, dim, index, sparse_grad=False):
    return x[_grid(dim, index)]


@register("take_along_dim.default")
def take_along_dim(x, indices, dim=None):
    return jnp.take_along_axis(x, indices, axis=dim)


@register("scatter.src")
def scatter(x, dim, index, src):
    return x.at[_grid(dim, index)].set(src[tuple(slice(n) for n in index.shape)])


@register("scatter.value")
def scatter_value(x, dim, index, value):
    return x.at[_grid(dim, index)].set(value)


@register("scatter_add.default")
def scatter_add(x, dim, index, src):
    return x.at[_grid(dim, index)].add(src[tuple(slice(n) for n in index.shape)])


@register("scatter_reduce.two", bends=True)
def scatter_reduce(x, dim, index, src, reduce, include_self=True):
    where = _grid(dim, index)
    src = src[tuple(slice(n) for n in index.shape)]
    hit = jnp.zeros(x.shape, x.dtype).at[where].add(1.0)
    neutral = {"prod": 1.0, "amax": -jnp.inf, "amin": jnp.inf}.get(reduce, 0.0)
    start = x if include_self else jnp.where(hit > 0, neutral, x)
    if reduce == "mean":
        return start.at[where].add(src) / jnp.maximum(hit + include_self, 1.0)
    target = start.at[where]
    method = {"sum": "add", "prod": "multiply", "amax": "max", "amin": "min"}[reduce]
    return getattr(target, method)(src)


@register("one_hot.default")
def one_hot(x, num_classes=-1):
    return (x[..., None] == jnp.arange(num_classes)).astype(x.dtype)


@register("bucketize.Tensor", bends=True)
def bucketize(x, boundaries, out_int32=False, right=False):
    return jnp.searchsorted(boundaries, x, side="right" if right else "left")


@register("searchsorted.Tensor", bends=True)
def searchsorted(boundaries, x, out_int32=False, right=False, side=None, sorter=None):
    side = side or ("right" if right else "left")
    if sorter is not None:
        boundaries = jnp.take_along_axis(boundaries, sorter, axis=-1)
    if boundaries.ndim == 1:
        return jnp.searchsorted(boundaries, x, side=side)
    compare = jnp.less_equal if side == "right" else jnp.less
    return jnp.sum(compare(boundaries[..., None, :], x[..., :, None]), axis=-1)


@register("as_strided.default")
def as_strided(x, size, stride, storage_offset=None):
    """Strided view of a contiguous tensor; all tensors are contiguous here."""
    place = np.asarray(storage_offset or 0)
    for n, s in zip(size, stride, strict=True):
        place = place[..., None] + s * np.arange(n)
    return x.ravel()[place]


@register("_new_zeros_with_same_feature_meta.default")
def zeros_of(x, other, self_num_batch_dims=0):
    return jnp.zeros(x.shape[:self_num_batch_dims] + other.shape, other.dtype)
