"""Differences of trigamma functions, where the functions themselves would cancel."""

import jax.numpy as jnp
from jax.scipy.special import polygamma

from landform._typing import Array

_LARGE = 30.0  # from where eight terms are all of float64
_SERIES = (1 / 2, 1 / 6, 0.0, -1 / 30, 0.0, 1 / 42, 0.0, -1 / 30)  # times x^(−2), x^(−3), …


def trigamma_excess(x: Array) -> Array:
    """``ψ′(x) − 1 / x``, of the size of ``1 / (2 x²)`` for large x."""
    return _excess(x, polygamma(1, x))


def _excess(x, trigamma):
    large = x > _LARGE
    inverse = 1.0 / jnp.where(large, x, _LARGE)
    series = inverse**2 * jnp.polyval(jnp.asarray(_SERIES[::-1], x.dtype), inverse)
    return jnp.where(large, series, trigamma - 1.0 / x)


def left_of_total(alpha: Array, d: Array, total: Array, s: Array) -> Array:
    """``1 − s Σ 1 / d`` over the last axis, which is kept; d = ψ′(α), A = Σ α and s = ψ′(A).

    What is left of the variance of a Dirichlet's logarithms along their sum: about ``(K − 1) / 2A``
    for large concentrations. With ``1 / ψ′(x) = x − r(x)`` the sums of the α themselves drop out.
    """
    direct = 1.0 - s * jnp.sum(1.0 / d, axis=-1, keepdims=True)
    parts = jnp.sum(_rest(alpha, d), axis=-1, keepdims=True)
    return jnp.where(total > 1.0, s * (parts - _rest(total, s)), direct)


def _rest(x, trigamma):
    """``x − 1 / ψ′(x)``, between 0 and ½."""
    return x * _excess(x, trigamma) / trigamma
