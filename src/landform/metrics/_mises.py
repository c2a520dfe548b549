"""Moments of the von Mises–Fisher distribution, for any dimension and concentration."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import polygamma

from landform._core.typing import Array

_MIN_ASYMPTOTIC = 30.0  # above this, eight terms reach float64
_ASYMPTOTIC = (1 / 2, 1 / 6, 0.0, -1 / 30, 0.0, 1 / 42, 0.0, -1 / 30)  # times x^(−2), x^(−3), …

_LOG_DENSITY_CUT = 38.0  # cut where the density is e^-38 = 3e-17 of its mode


def concentration_slopes(kappa: Array, p: int) -> tuple[Array, Array]:
    """``A(κ) = I_{p/2}(κ) / I_{p/2−1}(κ)`` and its derivative, the mean and variance of a cosine.

    The cosine ``t = tanh y`` to the mean direction has in y the density ``exp(κ tanh y) sech^q y``
    with q = p − 1: smooth on the line, with a single peak of curvature between q and 2q, where the
    trapezoidal rule converges exponentially. The moments are those of 1 − t, so that nothing
    cancels for concentrated directions, and the mean is ``κ E[1 − t²] / q``, by parts, so that
    nothing does for weak ones; the nodes follow the mode but take no part in derivatives.
    """
    q = p - 1
    offsets = jnp.asarray(_offsets(q), kappa.dtype)
    fixed = jax.lax.stop_gradient(kappa)
    root = jnp.sqrt(q**2 + 4.0 * fixed**2)
    t = 2.0 * fixed / (q + root)
    y = (jnp.log1p(t) + 0.5 * jnp.log((q + root) / (2.0 * q)))[..., None] + offsets
    gap = 2.0 * jax.nn.sigmoid(-2.0 * y)
    log_sech = -(jnp.abs(y) + jnp.log1p(jnp.exp(-2.0 * jnp.abs(y))))
    weight = jax.nn.softmax(q * log_sech - kappa[..., None] * gap, axis=-1)
    mean = jnp.sum(weight * gap, axis=-1)
    variance = jnp.sum(weight * (gap - mean[..., None]) ** 2, axis=-1)
    return kappa / q * jnp.sum(weight * gap * (2.0 - gap), axis=-1), variance


def _offsets(q: int) -> np.ndarray:
    """Nodes around the mode, as far as the slowest tail and as close as the sharpest peak asks.

    On the line shifted by iθ the density is at most ``cos(2θ)^(−q/2)`` times its peak, for any κ,
    which bounds the error of the step h by ``cos(2θ)^(−q/2) e^(−2πθ/h)`` for every θ < π/4.
    """
    ratio = _LOG_DENSITY_CUT / q
    half = ratio + math.log(1.0 + math.sqrt(-math.expm1(-2.0 * ratio)))  # arccosh e^ratio
    theta = np.linspace(0.0, np.pi / 4.0, 400)[1:-1]
    step = np.max(2.0 * np.pi * theta / (_LOG_DENSITY_CUT - 0.5 * q * np.log(np.cos(2.0 * theta))))
    count = math.ceil(half / step)
    return np.linspace(-half, half, 2 * count + 1)


def trigamma_excess(x: Array) -> Array:
    """``ψ′(x) − 1 / x``, of the size of ``1 / (2 x²)`` for large x."""
    return _excess(x, polygamma(1, x))


def _excess(x, trigamma):
    large = x > _MIN_ASYMPTOTIC
    inverse = 1.0 / jnp.where(large, x, _MIN_ASYMPTOTIC)
    series = inverse**2 * jnp.polyval(jnp.asarray(_ASYMPTOTIC[::-1], x.dtype), inverse)
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
