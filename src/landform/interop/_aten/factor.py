"""Factorisations of matrices, and solves with them."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from landform.interop._aten._registry import register
from landform.interop._aten.linear import solve_triangular


def _info(x):
    """LAPACK's status zero; a factorisation that fails returns NaN here."""
    return jnp.zeros(x.shape[:-2], jnp.int32)


def _t(x):
    return jnp.swapaxes(x, -1, -2)


@register("linalg_inv_ex.default")
def inv_ex(x, check_errors=False):
    return jnp.linalg.inv(x), _info(x)


@register("linalg_cholesky_ex.default")
def cholesky_ex(x, upper=False, check_errors=False):
    factor = jnp.linalg.cholesky(x)
    return (_t(factor) if upper else factor), _info(x)


@register("cholesky_solve.default")
def cholesky_solve(b, factor, upper=False):
    lower = _t(factor) if upper else factor
    return solve_triangular(_t(lower), solve_triangular(lower, b, upper=False), upper=True)


@register("cholesky_inverse.default")
def cholesky_inverse(factor, upper=False):
    return cholesky_solve(jnp.eye(factor.shape[-1], dtype=factor.dtype), factor, upper)


@register("triangular_solve.default")
def triangular_solve(b, a, upper=True, transpose=False, unitriangular=False):
    if transpose:
        a, upper = _t(a), not upper
    return solve_triangular(a, b, upper, True, unitriangular), a


@register("linalg_qr.default")
def qr(x, mode="reduced"):
    if mode == "r":
        return jnp.zeros((0,), x.dtype), jnp.linalg.qr(x, mode="r")
    return tuple(jnp.linalg.qr(x, mode=mode))


@register("linalg_lu_factor_ex.default")
def lu_factor_ex(x, pivot=True, check_errors=False):
    factors, pivots, _ = lax.linalg.lu(x)
    return factors, pivots + 1, _info(x)


@register("linalg_lu.default")
def lu(x, pivot=True):
    factors, _, order = lax.linalg.lu(x)
    n, k = x.shape[-2], min(x.shape[-2:])
    places = (jnp.arange(n)[:, None] == order[..., None, :]).astype(x.dtype)
    lower = jnp.tril(factors[..., :k], -1) + jnp.eye(n, k, dtype=x.dtype)
    return places, lower, jnp.triu(factors[..., :k, :])


@register("linalg_lu_solve.default")
def lu_solve(factors, pivots, b, left=True, adjoint=False):
    order = lax.linalg.lu_pivots_to_permutation(pivots - 1, factors.shape[-2])
    lead = jnp.broadcast_shapes(b.shape[:-2], order.shape[:-1])
    order = jnp.broadcast_to(order, (*lead, order.shape[-1]))
    if not left:  # X A = B is Aᵀ Xᵀ = Bᵀ
        return _t(_lu_solve(factors, order, _t(b), not adjoint))
    return _lu_solve(factors, order, b, adjoint)


def _lu_solve(factors, order, b, transposed):
    b = jnp.broadcast_to(b, (*order.shape[:-1], *b.shape[-2:]))
    if transposed:
        y = solve_triangular(_t(factors), b, upper=False)
        y = solve_triangular(_t(factors), y, upper=True, unitriangular=True)
        return jnp.take_along_axis(y, jnp.argsort(order, axis=-1)[..., None], axis=-2)
    y = jnp.take_along_axis(b, order[..., None], axis=-2)
    y = solve_triangular(factors, y, upper=False, unitriangular=True)
    return solve_triangular(factors, y, upper=True)


# Sorted eigenvalues and singular values are not smooth where two of them cross. The signs of the
# vectors are a convention; the comparison at conversion refuses a decoder where torch's differ.
@register("_linalg_eigh.default", "linalg_eigh.default", bends=True)
def eigh(x, UPLO="L", compute_v=True):
    # torch reads one triangle, but differentiates as if both were given
    half = jnp.tril(x, -1) if UPLO == "L" else jnp.triu(x, 1)
    inside = x - jnp.triu(x, 1) - jnp.tril(x, -1)
    other = x - lax.stop_gradient(x) + lax.stop_gradient(half + _t(half) + inside)
    return tuple(jnp.linalg.eigh(other))


@register("linalg_eigvalsh.default", bends=True)
def eigvalsh(x, UPLO="L"):
    return eigh(x, UPLO)[0]


@register("_linalg_svd.default", "linalg_svd.default", bends=True)
def svd(x, full_matrices=False, compute_uv=True, driver=None):
    if not compute_uv:
        empty = jnp.zeros((0,), x.dtype)
        return empty, jnp.linalg.svd(x, compute_uv=False), empty
    return tuple(jnp.linalg.svd(x, full_matrices=full_matrices))


@register("linalg_svdvals.default", bends=True)
def svdvals(x, driver=None):
    return jnp.linalg.svd(x, compute_uv=False)


@register("linalg_pinv.atol_rtol_tensor", "linalg_pinv.atol_rtol_float")
def pinv(x, atol=None, rtol=None, hermitian=False):
    if rtol is None:
        rtol = max(x.shape[-2:]) * np.finfo(x.dtype).eps
    if atol is not None:
        largest = jnp.linalg.svd(lax.stop_gradient(x), compute_uv=False)[..., :1].squeeze(-1)
        rtol = jnp.maximum(rtol, atol / largest)
    return jnp.linalg.pinv(x, rtol=rtol)
