"""Batch, layer, group, instance and root-mean-square normalisation, and weight normalisation."""

import jax.numpy as jnp

from landform.interop._aten._registry import register
from landform.interop._aten.reduce import vector_norm


def _per_channel(v, ndim):
    return v.reshape((1, -1) + (1,) * (ndim - 2))


def _affine(y, weight, bias):
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


def _standardize(x, axes, eps):
    mean = jnp.mean(x, axis=axes, keepdims=True)
    centerd = x - mean
    rstd = 1.0 / jnp.sqrt(jnp.mean(jnp.square(centerd), axis=axes, keepdims=True) + eps)
    return centerd * rstd, mean, rstd


def _by_running(x, weight, bias, mean, var, eps):
    scale = 1.0 / jnp.sqrt(var + eps)
    scale = scale if weight is None else scale * weight
    y = (x - _per_channel(mean, x.ndim)) * _per_channel(scale, x.ndim)
    return y if bias is None else y + _per_channel(bias, x.ndim)


def _by_batch(x, weight, bias, eps):
    y, mean, rstd = _standardize(x, (0, *range(2, x.ndim)), eps)
    weight, bias = (v if v is None else _per_channel(v, x.ndim) for v in (weight, bias))
    return _affine(y, weight, bias), mean.ravel(), rstd.ravel()


@register("batch_norm.default")
def batch_norm(x, weight, bias, mean, var, training, momentum, eps, cudnn=False):
    if training or mean is None:
        return _by_batch(x, weight, bias, eps)[0]
    return _by_running(x, weight, bias, mean, var, eps)


@register("_native_batch_norm_legit_no_training.default")
def batch_norm_inference(x, weight, bias, mean, var, momentum, eps):
    empty = jnp.zeros((0,), x.dtype)
    return _by_running(x, weight, bias, mean, var, eps), empty, empty


@register("native_batch_norm.default")
def native_batch_norm(x, weight, bias, mean, var, training, momentum, eps):
    if training or mean is None:
        return _by_batch(x, weight, bias, eps)
    return batch_norm_inference(x, weight, bias, mean, var, momentum, eps)


@register("_native_batch_norm_legit.no_stats")
def batch_norm_without_stats(x, weight, bias, training, momentum, eps):
    return _by_batch(x, weight, bias, eps)


@register("instance_norm.default")
def instance_norm(x, weight, bias, mean, var, use_input_stats, momentum, eps, cudnn=False):
    if not use_input_stats:
        return _by_running(x, weight, bias, mean, var, eps)
    y, _, _ = _standardize(x, tuple(range(2, x.ndim)), eps)
    weight, bias = (v if v is None else _per_channel(v, x.ndim) for v in (weight, bias))
    return _affine(y, weight, bias)


@register("native_layer_norm.default")
def native_layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    y, mean, rstd = _standardize(x, tuple(range(-len(shape), 0)), eps)
    return _affine(y, weight, bias), mean, rstd


@register("layer_norm.default")
def layer_norm(x, shape, weight=None, bias=None, eps=1e-5, cudnn=False):
    return native_layer_norm(x, shape, weight, bias, eps)[0]


@register("group_norm.default")
def group_norm(x, groups, weight=None, bias=None, eps=1e-5, cudnn=False):
    y = x.reshape((x.shape[0], groups, -1))
    y = _standardize(y, -1, eps)[0].reshape(x.shape)
    weight, bias = (v if v is None else _per_channel(v, x.ndim) for v in (weight, bias))
    return _affine(y, weight, bias)


@register("native_group_norm.default")
def native_group_norm(x, weight, bias, n, c, hxw, groups, eps):
    _, mean, rstd = _standardize(x.reshape((n, groups, -1)), -1, eps)
    return group_norm(x, groups, weight, bias, eps), mean[..., 0], rstd[..., 0]


@register("rms_norm.default")
def rms_norm(x, shape, weight=None, eps=None):
    eps = jnp.finfo(x.dtype).eps if eps is None else eps
    square = jnp.mean(jnp.square(x), axis=tuple(range(-len(shape), 0)), keepdims=True)
    return _affine(x / jnp.sqrt(square + eps), weight, None)


@register("_fused_rms_norm.default")
def fused_rms_norm(x, shape, weight=None, eps=None):
    eps = jnp.finfo(x.dtype).eps if eps is None else eps
    axes = tuple(range(-len(shape), 0))
    rstd = 1.0 / jnp.sqrt(jnp.mean(jnp.square(x), axis=axes, keepdims=True) + eps)
    return _affine(x * rstd, weight, None), rstd


@register("_weight_norm.default")
def weight_norm(v, g, dim=0):
    axes = [i for i in range(v.ndim) if i != dim % v.ndim] if dim != -1 else list(range(v.ndim))
    return v * (g / vector_norm(v, 2, axes, True))


@register("_weight_norm_interface.default")
def weight_norm_interface(v, g, dim=0):
    axes = [i for i in range(v.ndim) if i != dim]
    size = vector_norm(v, 2, axes, True)
    return v * (g / size), size


@register("renorm.default", bends=True)
def renorm(x, p, dim, maxnorm):
    size = vector_norm(x, p, [i for i in range(x.ndim) if i != dim % x.ndim], True)
    return jnp.where(size > maxnorm, x * (maxnorm / (size + 1e-7)), x)
