"""Activations, softmax and dropout."""

import math

import jax
import jax.numpy as jnp
from jax.scipy import special

from landform.interop._aten._registry import register, register_unary

_SQRT_2_OVER_PI = 0.7978845608028654
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946

register_unary(
    {
        "sigmoid": jax.nn.sigmoid,
        "log_sigmoid": jax.nn.log_sigmoid,
        "silu": jax.nn.silu,
        "mish": lambda x: x * jnp.tanh(jax.nn.softplus(x)),
        "tanhshrink": lambda x: x - jnp.tanh(x),
    }
)
register_unary(
    {
        "relu": jax.nn.relu,
        "relu6": lambda x: jnp.clip(x, 0.0, 6.0),
        "hardswish": lambda x: x * jnp.clip(x + 3.0, 0.0, 6.0) / 6.0,
        "hardsigmoid": lambda x: jnp.clip(x + 3.0, 0.0, 6.0) / 6.0,
        "softsign": lambda x: x / (1.0 + jnp.abs(x)),
        "selu": lambda x: elu(x, _SELU_ALPHA, _SELU_SCALE),
    },
    bends=True,
)


@register("gelu.default")
def gelu(x, approximate="none"):
    if approximate == "tanh":
        return 0.5 * x * (1.0 + jnp.tanh(_SQRT_2_OVER_PI * (x + 0.044715 * x**3)))
    return _gelu(x)


@jax.custom_jvp
def _gelu(x):
    return x * _normal_cdf(x)[0]


@_gelu.defjvp
def _gelu_jvp(primals, tangents):
    # the slope is one factor, computed once for all tangents; this halves the time
    (x,), (dx,) = primals, tangents
    below, density = _normal_cdf(x)
    return x * below, (below + x * density) * dx


def _normal_cdf(x):
    """The standard normal distribution function and density, as torch has them."""
    y = math.sqrt(0.5) * x
    return 0.5 + 0.5 * special.erf(y), jnp.exp(-(y * y)) / math.sqrt(2.0 * math.pi)


@register("softplus.default")
def softplus(x, beta=1.0, threshold=20.0):
    # torch returns x above the threshold; keep its jump, so that values agree
    linear = x * beta > threshold
    safe = jnp.where(linear, 0.0, x * beta)
    return jnp.where(linear, x, jnp.log1p(jnp.exp(safe)) / beta)


@register("elu.default", bends=True)
def elu(x, alpha=1.0, scale=1.0, input_scale=1.0):
    negative = jnp.where(x > 0, 0.0, x * input_scale)
    return scale * jnp.where(x > 0, x, alpha * jnp.expm1(negative))


@register("celu.default", bends=True)
def celu(x, alpha=1.0):
    return elu(x, alpha, 1.0, 1.0 / alpha)


@register("leaky_relu.default", bends=True)
def leaky_relu(x, negative_slope=0.01):
    return jnp.where(x > 0, x, x * negative_slope)


@register("prelu.default", "_prelu_kernel.default", bends=True)
def prelu(x, weight):
    if weight.ndim == 1 and x.ndim > 1:
        weight = weight.reshape((1, -1) + (1,) * (x.ndim - 2))
    return jnp.where(x > 0, x, x * weight)


@register("rrelu.default", bends=True)
def rrelu(x, lower=1 / 8, upper=1 / 3, training=False, generator=None):
    if training:
        raise ValueError("rrelu in training mode is random")
    return jnp.where(x >= 0, x, x * (lower + upper) / 2)


@register("hardtanh.default", bends=True)
def hardtanh(x, min_val=-1.0, max_val=1.0):
    return jnp.clip(x, min_val, max_val)


@register("threshold.default", bends=True)
def threshold(x, threshold, value):
    return jnp.where(x > threshold, x, value)


@register("hardshrink.default", bends=True)
def hardshrink(x, lambd=0.5):
    return jnp.where(jnp.abs(x) > lambd, x, 0.0)


@register("softshrink.default", bends=True)
def softshrink(x, lambd=0.5):
    return jnp.where(x > lambd, x - lambd, jnp.where(x < -lambd, x + lambd, 0.0))


@register("glu.default")
def glu(x, dim=-1):
    a, b = jnp.split(x, 2, axis=dim)
    return a * jax.nn.sigmoid(b)


@register("softmax.int", "_softmax.default", "special_softmax.int")
def softmax(x, dim, *_, **__):
    return jax.nn.softmax(x, axis=dim)


@register("_safe_softmax.default")
def safe_softmax(x, dim, *_, **__):
    """Softmax that is zero instead of NaN where all entries are masked."""
    closed = jnp.all(x == -jnp.inf, axis=dim, keepdims=True)
    return jnp.where(closed, 0.0, softmax(jnp.where(closed, 0.0, x), dim))


@register("log_softmax.int", "_log_softmax.default", "special_log_softmax.int")
def log_softmax(x, dim, *_, **__):
    return jax.nn.log_softmax(x, axis=dim)


@register(
    "dropout.default",
    "native_dropout.default",
    "feature_dropout.default",
    "alpha_dropout.default",
    "feature_alpha_dropout.default",
)
def dropout(x, p, train):
    if train and p > 0:
        raise ValueError("dropout is active")
    return x
