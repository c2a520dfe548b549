"""The scaled complementary error function, which neither JAX nor XLA has."""

import functools
import math

import jax.numpy as jnp
from jax import lax
from jax.scipy import special

# Numerator and denominator of the approximation from 1 to 8 of Cephes (S. L. Moshier, ndtr.c).
_ABOVE = (
    2.46196981473530512524e-10,
    5.64189564831068821977e-1,
    7.46321056442269912687,
    4.86371970985681366614e1,
    1.96520832956077098242e2,
    5.26445194995477358631e2,
    9.34528527171957607540e2,
    1.02755188689515710272e3,
    5.57535335369399327526e2,
)
_BELOW = (
    1.0,
    1.32281951154744992508e1,
    8.67072140885989742329e1,
    3.54937778887819891062e2,
    9.75708501743205489753e2,
    1.82390916687909736289e3,
    2.24633760818710981792e3,
    1.65666309194161350182e3,
    5.57535340817727675546e2,
)
# Above 8: terms of the asymptotic series that double precision needs
_TERMS = 16


def erfcx(x):
    """``exp(x²) erfc(x)`` to a few units in the last place, without overflow for positive x.

    Every branch is evaluated where it is finite, so that derivatives are, too.
    """
    x = jnp.asarray(x, jnp.result_type(x, jnp.float32))
    size = jnp.abs(x)
    near, far = size < 1.0, ~(size < 8.0)
    bottom = x < -math.sqrt(
        math.log(0.5 * float(jnp.finfo(x.dtype).max))
    )  # the result overflows below
    inner = jnp.where(near, x, 0.0)
    middle = jnp.where(near | far, 1.0, size)
    middle = _polynomial(_ABOVE, middle) / _polynomial(_BELOW, middle)
    tail = jnp.where(far, _series(1.0 / jnp.where(far, size, 8.0)), middle)
    left = 2.0 * _exp_square(jnp.where((x < 0.0) & ~bottom, x, 0.0)) - tail
    outer = jnp.where(bottom, jnp.inf, jnp.where(x < 0.0, left, tail))
    return jnp.where(near, jnp.exp(inner**2) * special.erfc(inner), outer)


def _polynomial(coefficients, x):
    return functools.reduce(lambda total, c: total * x + c, coefficients)


def _series(inverse):
    """``(1 − u + 3u² − 15u³ + …) / (x √π)`` with ``u = 1 / (2x²)``."""
    total, u = 1.0, 0.5 * inverse**2
    for n in range(_TERMS, 0, -1):
        total = 1.0 - (2 * n - 1) * u * total
    return total * inverse / math.sqrt(math.pi)


def _exp_square(x):
    """``exp(x²)`` with x² in two parts, because exp multiplies the rounding error of x² by x²."""
    steps = 2.0**20 if x.dtype == jnp.float64 else 2.0**7
    lead = lax.stop_gradient(jnp.round(x * steps) / steps)
    most = jnp.exp(lead**2)  # an exact square
    return most + most * jnp.expm1(
        (x - lead) * (x + lead)
    )  # XLA would merge a product of two exponentials
