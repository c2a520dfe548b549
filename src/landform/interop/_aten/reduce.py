"""Sums, means, norms, extrema, sorting and cumulative operations."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from landform.interop._aten._registry import register


def _axes(dim):
    """Axes of ATen's `dim`: None and the empty list mean all axes."""
    if dim is None or dim == []:
        return None
    return tuple(dim) if isinstance(dim, list) else dim


def _reduction(function):
    def reduce(x, dim=None, keepdim=False, dtype=None):
        return function(x, axis=_axes(dim), keepdims=keepdim)

    return reduce


def _whole(function):
    def reduce(x, dtype=None):
        return function(x)

    return reduce


register("sum.dim_IntList")(_reduction(jnp.sum))
register("nansum.default")(_reduction(jnp.nansum))
register("mean.dim")(_reduction(jnp.mean))
register("prod.dim_int")(_reduction(jnp.prod))
register("any.dim", "any.dims")(_reduction(jnp.any))
register("all.dim", "all.dims")(_reduction(jnp.all))
register("logsumexp.default", "special_logsumexp.default")(_reduction(jax.nn.logsumexp))
register("sum.default")(_whole(jnp.sum))
register("mean.default")(_whole(jnp.mean))
register("prod.default")(_whole(jnp.prod))
register("any.default")(_whole(jnp.any))
register("all.default")(_whole(jnp.all))
register("max.default", bends=True)(_whole(jnp.max))
register("min.default", bends=True)(_whole(jnp.min))
register("amax.default", bends=True)(_reduction(jnp.max))
register("amin.default", bends=True)(_reduction(jnp.min))


@register("argmax.default", bends=True)
def argmax(x, dim=None, keepdim=False):
    return jnp.argmax(x, axis=dim, keepdims=keepdim)


@register("argmin.default", bends=True)
def argmin(x, dim=None, keepdim=False):
    return jnp.argmin(x, axis=dim, keepdims=keepdim)


def _extreme(arg):
    def extreme(x, dim, keepdim=False):
        index = arg(x, axis=dim, keepdims=True)
        values = jnp.take_along_axis(x, index, axis=dim)
        return (values, index) if keepdim else (values.squeeze(dim), index.squeeze(dim))

    return extreme


register("max.dim", bends=True)(_extreme(jnp.argmax))
register("min.dim", bends=True)(_extreme(jnp.argmin))


@register("aminmax.default", bends=True)
def aminmax(x, dim=None, keepdim=False):
    return jnp.min(x, axis=dim, keepdims=keepdim), jnp.max(x, axis=dim, keepdims=keepdim)


def _ddof(correction, unbiased=True):
    return correction if correction is not None else int(unbiased)


def _root(x, power=0.5):
    """A power below 1 whose derivative at zero is zero as in torch, not NaN."""
    zero = x == 0
    safe = jnp.where(zero, 1.0, x)
    return jnp.where(zero, 0.0, jnp.sqrt(safe) if power == 0.5 else safe**power)


@register("var.correction")
def var(x, dim=None, correction=None, keepdim=False):
    return jnp.var(x, axis=_axes(dim), ddof=_ddof(correction), keepdims=keepdim)


@register("std.correction")
def std(x, dim=None, correction=None, keepdim=False):
    return _root(var(x, dim, correction, keepdim))


@register("var.dim")
def var_dim(x, dim, unbiased=True, keepdim=False):
    return var(x, dim, int(unbiased), keepdim)


@register("std.dim")
def std_dim(x, dim, unbiased=True, keepdim=False):
    return _root(var(x, dim, int(unbiased), keepdim))


@register("var.default")
def var_all(x, unbiased=True):
    return var(x, None, int(unbiased))


@register("std.default")
def std_all(x, unbiased=True):
    return _root(var(x, None, int(unbiased)))


@register("var_mean.correction")
def var_mean(x, dim=None, correction=None, keepdim=False):
    return var(x, dim, correction, keepdim), jnp.mean(x, axis=_axes(dim), keepdims=keepdim)


@register("std_mean.correction")
def std_mean(x, dim=None, correction=None, keepdim=False):
    return std(x, dim, correction, keepdim), jnp.mean(x, axis=_axes(dim), keepdims=keepdim)


def _order_bends(x, p: Any = 2, *_, ord: Any = None, **__) -> bool:
    """Whether a norm of this order is not twice differentiable where an entry is 0."""
    order = p if ord is None else ord
    return order is not None and not 2 <= order < math.inf


def _distance_bends(x, y, p: Any = 2, *_, **__) -> bool:
    return _order_bends(x, p)


@register("linalg_vector_norm.default", bends=_order_bends)
def vector_norm(x, ord: float = 2, dim=None, keepdim=False, dtype=None):
    axis = _axes(dim)
    if ord == 2:
        return _root(jnp.sum(jnp.square(x), axis=axis, keepdims=keepdim))
    x = jnp.abs(x)
    if ord == math.inf:
        return jnp.max(x, axis=axis, keepdims=keepdim)
    if ord == -math.inf:
        return jnp.min(x, axis=axis, keepdims=keepdim)
    if ord == 0:
        return jnp.sum(x != 0, axis=axis, keepdims=keepdim)
    total = jnp.sum(x**ord, axis=axis, keepdims=keepdim)
    return _root(total, 1.0 / ord) if ord > 1 else total ** (1.0 / ord)


@register("norm.Scalar", bends=_order_bends)
def norm_all(x, p=2):
    return vector_norm(x, p)


@register("norm.ScalarOpt_dim", "norm.ScalarOpt_dim_dtype", bends=_order_bends)
def norm_dim(x, p, dim, keepdim=False, dtype=None):
    return vector_norm(x, 2 if p is None else p, dim, keepdim)


@register("frobenius_norm.dim")
def frobenius_norm(x, dim, keepdim=False):
    return vector_norm(x, 2, dim, keepdim)


@register("cosine_similarity.default")
def cosine_similarity(x, y, dim=1, eps=1e-8):
    nx, ny = (jnp.maximum(vector_norm(v, 2, dim, True), eps) for v in (x, y))
    return jnp.sum((x / nx) * (y / ny), axis=dim)


@register("pairwise_distance.default", bends=_distance_bends)
def pairwise_distance(x, y, p=2.0, eps=1e-6, keepdim=False):
    return vector_norm(x - y + eps, p, [-1], keepdim)


@register("cdist.default", "_cdist_forward.default", bends=_distance_bends)
def cdist(x, y, p=2.0, compute_mode=None):
    return vector_norm(x[..., :, None, :] - y[..., None, :, :], p, [-1])


@register("dist.default", bends=_distance_bends)
def dist(x, y, p=2):
    return vector_norm(x - y, p)


@register("cumsum.default")
def cumsum(x, dim, dtype=None):
    return jnp.cumsum(x, axis=dim)


@register("cumprod.default")
def cumprod(x, dim, dtype=None):
    return jnp.cumprod(x, axis=dim)


def _running(better):
    """Running extrema and their positions; torch returns the last position of equal values."""

    def cumulative(x, dim):
        def later(a, b):
            keep = better(a[0], b[0])
            return jnp.where(keep, a[0], b[0]), jnp.where(keep, a[1], b[1])

        places = jax.lax.broadcasted_iota(jnp.int64, x.shape, dim % x.ndim)
        return jax.lax.associative_scan(later, (x, places), axis=dim % x.ndim)

    return cumulative


register("cummax.default", bends=True)(_running(jnp.greater))
register("cummin.default", bends=True)(_running(jnp.less))


@register("kthvalue.default", bends=True)
def kthvalue(x, k, dim=-1, keepdim=False):
    order = jnp.argsort(x, axis=dim)
    index = jnp.take(order, jnp.array([k - 1]), axis=dim)
    values = jnp.take_along_axis(x, index, axis=dim)
    return (values, index) if keepdim else (values.squeeze(dim), index.squeeze(dim))


@register("_pdist_forward.default", "pdist.default", bends=_order_bends)
def pdist(x, p=2.0):
    i, j = np.triu_indices(x.shape[0], 1)
    return vector_norm(x[i] - x[j], p, [-1])


@register("logcumsumexp.default")
def logcumsumexp(x, dim):
    return jax.lax.cumlogsumexp(x, axis=dim % x.ndim)


@register("diff.default")
def diff(x, n=1, dim=-1, prepend=None, append=None):
    return jnp.diff(x, n, dim, prepend, append)


@register("sort.default", bends=True)
def sort(x, dim=-1, descending=False):
    return sort_stable(x, stable=True, dim=dim, descending=descending)


@register("sort.stable", bends=True)
def sort_stable(x, stable=None, dim=-1, descending=False):
    order = jnp.argsort(x, axis=dim, stable=True, descending=descending)
    return jnp.take_along_axis(x, order, axis=dim), order


@register("argsort.default", bends=True)
def argsort(x, dim=-1, descending=False):
    return jnp.argsort(x, axis=dim, descending=descending)


@register("topk.default", bends=True)
def topk(x, k, dim=-1, largest=True, sorted=True):
    order = jnp.argsort(x, axis=dim, stable=True, descending=largest)
    order = jnp.take(order, jnp.arange(k), axis=dim)
    return jnp.take_along_axis(x, order, axis=dim), order


@register("median.dim", bends=True)
def median_dim(x, dim, keepdim=False):
    order = jnp.argsort(x, axis=dim)
    index = jnp.take(order, jnp.array([(x.shape[dim] - 1) // 2]), axis=dim)
    values = jnp.take_along_axis(x, index, axis=dim)
    return (values, index) if keepdim else (values.squeeze(dim), index.squeeze(dim))


@register("median.default", bends=True)
def median(x):
    return jnp.sort(x.ravel())[(x.size - 1) // 2]
