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


@register("one_hot.default")
def one_hot(x, num_classes=-1):
    return (x[..., None] == jnp.arange(num_classes)).astype(x.dtype)


@register("bucketize.Tensor", bends=True)
def bucketize(x, boundaries, out_int32=False, right=False):
    return jnp.searchsorted(boundaries, x, side="right" if right else "left")


@register("searchsorted.Tensor", bends=True)
def searchsorted(boundaries, x, out_int32=False, right=False, side=None, sorter=None):
    side = side or ("right" if right else "left")
    if boundaries.ndim == 1:
        return jnp.searchsorted(boundaries, x, side=side)
    compare = jnp.less_equal if side == "right" else jnp.less
    return jnp.sum(compare(boundaries[..., None, :], x[..., :, None]), axis=-1)
