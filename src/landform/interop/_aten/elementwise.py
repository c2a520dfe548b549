"""Arithmetic, functions of one variable and comparisons."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy import special

from landform.interop._aten._erfcx import erfcx
from landform.interop._aten._registry import register, register_unary


# The interpreter casts to the dtype recorded for each result, so that these do nothing.
@register(
    "clone.default",
    "alias.default",
    "contiguous.default",
    "lift_fresh_copy.default",
    "_to_copy.default",
    "to.dtype",
    "to.dtype_layout",
    "to.device",
    "to.other",
    "type_as.default",
    "positive.default",
    "resolve_conj.default",
    "resolve_neg.default",
)
def identity(x, *_, **__):
    return x


register("detach.default")(lax.stop_gradient)

register_unary(
    {
        "neg": jnp.negative,
        "exp": jnp.exp,
        "exp2": jnp.exp2,
        "expm1": jnp.expm1,
        "log": jnp.log,
        "log2": jnp.log2,
        "log10": jnp.log10,
        "log1p": jnp.log1p,
        "sqrt": jnp.sqrt,
        "rsqrt": lambda x: 1.0 / jnp.sqrt(x),
        "reciprocal": jnp.reciprocal,
        "square": jnp.square,
        "sin": jnp.sin,
        "cos": jnp.cos,
        "tan": jnp.tan,
        "asin": jnp.arcsin,
        "acos": jnp.arccos,
        "atan": jnp.arctan,
        "sinh": jnp.sinh,
        "cosh": jnp.cosh,
        "tanh": jnp.tanh,
        "asinh": jnp.arcsinh,
        "acosh": jnp.arccosh,
        "atanh": jnp.arctanh,
        "sinc": jnp.sinc,
        "erf": special.erf,
        "erfc": special.erfc,
        "erfinv": special.erfinv,
        "special_erfinv": special.erfinv,
        "special_erfcx": erfcx,
        "special_ndtr": special.ndtr,
        "special_log_ndtr": special.log_ndtr,
        "special_ndtri": special.ndtri,
        "special_i0": special.i0,
        "special_i0e": special.i0e,
        "special_i1": special.i1,
        "special_i1e": special.i1e,
        "i0": special.i0,
        "lgamma": special.gammaln,
        "digamma": special.digamma,
        "deg2rad": jnp.deg2rad,
        "rad2deg": jnp.rad2deg,
        "logical_not": jnp.logical_not,
        "bitwise_not": jnp.bitwise_not,
        "isnan": jnp.isnan,
        "isinf": jnp.isinf,
        "isfinite": jnp.isfinite,
        "real": jnp.real,
        "imag": jnp.imag,
        "_conj": jnp.conj,
        "_conj_physical": jnp.conj,
        "angle": jnp.angle,
        "view_as_real": lambda x: jnp.stack([x.real, x.imag], -1),
        "view_as_complex": lambda x: lax.complex(x[..., 0], x[..., 1]),
        "complex": lax.complex,
        "polar": lambda r, t: lax.complex(r * jnp.cos(t), r * jnp.sin(t)),
    }
)
register_unary(
    {
        "abs": jnp.abs,
        "sign": jnp.sign,
        "sgn": jnp.sign,
        "floor": jnp.floor,
        "ceil": jnp.ceil,
        "round": jnp.round,
        "trunc": jnp.trunc,
        "fix": jnp.trunc,
        "frac": lambda x: x - jnp.trunc(x),
        "signbit": jnp.signbit,
    },
    bends=True,
)


@register("add.Tensor", "add.Scalar")
def add(x, y, alpha=1):
    return jnp.add(x, y if alpha == 1 else y * alpha)


@register("sub.Tensor", "sub.Scalar")
def sub(x, y, alpha=1):
    return jnp.subtract(x, y if alpha == 1 else y * alpha)


@register("rsub.Tensor", "rsub.Scalar")
def rsub(x, y, alpha=1):
    return jnp.subtract(y, x if alpha == 1 else x * alpha)


for _name, _function in {
    "mul": jnp.multiply,
    "div": jnp.true_divide,
    "true_divide": jnp.true_divide,
    "logical_and": jnp.logical_and,
    "bitwise_and": jnp.bitwise_and,
    "bitwise_or": jnp.bitwise_or,
    "bitwise_xor": jnp.bitwise_xor,
    "xlogy": special.xlogy,
}.items():
    register(f"{_name}.Tensor", f"{_name}.Scalar")(_function)

for _name, _function in {
    "atan2": jnp.arctan2,
    "arctan2": jnp.arctan2,
    "logaddexp": jnp.logaddexp,
    "logaddexp2": jnp.logaddexp2,
    "logical_and": jnp.logical_and,
    "logical_or": jnp.logical_or,
    "logical_xor": jnp.logical_xor,
    "special_xlog1py": special.xlog1py,
    "special_xlogy": special.xlogy,
    "ldexp": lambda x, y: x * 2.0**y,
}.items():
    register(f"{_name}.default")(_function)
register("copysign.Tensor", "copysign.Scalar", bends=True)(jnp.copysign)


@register("hypot.default")
@jax.custom_jvp
def hypot(x, y):
    return jnp.hypot(x, y)


@hypot.defjvp
def _hypot_jvp(primals, tangents):
    # JAX branches on the larger argument, so that its second derivative is wrong where x = ±y
    (x, y), (dx, dy) = primals, tangents
    size = hypot(x, y)
    safe = jnp.where(size == 0, 1.0, size)
    return size, x / safe * dx + y / safe * dy


@register("round.decimals", bends=True)
def round_decimals(x, decimals=0):
    return jnp.round(x * 10.0**decimals) / 10.0**decimals


for _name, _function in {
    "floor_divide": jnp.floor_divide,
    "fmod": jnp.fmod,
    "remainder": jnp.remainder,
    "eq": jnp.equal,
    "ne": jnp.not_equal,
    "lt": jnp.less,
    "le": jnp.less_equal,
    "gt": jnp.greater,
    "ge": jnp.greater_equal,
}.items():
    register(f"{_name}.Tensor", f"{_name}.Scalar", bends=True)(_function)
register("floor_divide.default", bends=True)(jnp.floor_divide)
for _name, _function in {
    "maximum": jnp.maximum,
    "minimum": jnp.minimum,
    "fmax": jnp.fmax,
    "fmin": jnp.fmin,
}.items():
    register(f"{_name}.default", bends=True)(_function)
register("max.other", bends=True)(jnp.maximum)
register("min.other", bends=True)(jnp.minimum)


@register("div.Tensor_mode", "div.Scalar_mode", bends=True)
def div_mode(x, y, rounding_mode=None):
    if rounding_mode is None:
        return jnp.true_divide(x, y)
    if rounding_mode == "floor":
        return jnp.floor_divide(x, y)
    return jnp.trunc(jnp.true_divide(x, y))


@register("pow.Tensor_Tensor", "pow.Scalar", "pow.Tensor_Scalar")
def power(x, y):
    if isinstance(y, int | float):
        if float(y).is_integer():
            return lax.integer_pow(x, int(y))
        if y == 0.5:
            return jnp.sqrt(x)
    return jnp.power(x, y)


@register("where.self", "where.ScalarSelf", "where.ScalarOther", "where.Scalar")
def where(condition, x, y):
    return jnp.where(condition, x, y)


@register("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(x, mask, value):
    return jnp.where(mask, value, x)


@register("fill.Scalar", "fill.Tensor")
def fill(x, value):
    return jnp.full(x.shape, value)


@register("clamp.default", "clamp.Tensor", "clip.default", bends=True)
def clamp(x, min=None, max=None):
    if min is not None:
        x = jnp.maximum(x, min)
    return x if max is None else jnp.minimum(x, max)


@register("clamp_min.default", "clamp_min.Tensor", bends=True)
def clamp_min(x, min):
    return jnp.maximum(x, min)


@register("clamp_max.default", "clamp_max.Tensor", bends=True)
def clamp_max(x, max):
    return jnp.minimum(x, max)


@register("nan_to_num.default")
def nan_to_num(x, nan=None, posinf=None, neginf=None):
    return jnp.nan_to_num(x, nan=nan or 0.0, posinf=posinf, neginf=neginf)


@register("lerp.Scalar", "lerp.Tensor")
def lerp(x, end, weight):
    return x + weight * (end - x)


@register("addcmul.default")
def addcmul(x, a, b, value=1):
    return x + value * a * b


@register("addcdiv.default")
def addcdiv(x, a, b, value=1):
    return x + value * a / b


@register("logit.default", "special_logit.default")
def logit(x, eps=None):
    x = x if eps is None else jnp.clip(x, eps, 1.0 - eps)
    return jnp.log(x) - jnp.log1p(-x)


@register("polygamma.default", "special_polygamma.default")
def polygamma(n, x):
    return special.polygamma(n, x)
