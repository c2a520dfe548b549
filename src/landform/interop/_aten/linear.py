"""Matrix products, small linear algebra and Fourier transforms."""

import jax
import jax.numpy as jnp
from jax import lax

from landform.interop._aten._registry import register

# Metrics need products in full precision; accelerators round the factors by default.
_FULL = lax.Precision.HIGHEST


@register(
    "matmul.default",
    "mm.default",
    "bmm.default",
    "mv.default",
    "dot.default",
    "linalg_vecdot.default",
)
def matmul(x, y):
    return jnp.matmul(x, y, precision=_FULL)


@register("vdot.default")
def vdot(x, y):
    return jnp.vdot(x, y, precision=_FULL)


@register("inner.default")
def inner(x, y):
    return jnp.inner(x, y, precision=_FULL)


@register("outer.default", "ger.default")
def outer(x, y):
    return jnp.outer(x, y)


@register("kron.default")
def kron(x, y):
    return jnp.kron(x, y)


@register("linear.default")
def linear(x, weight, bias=None):
    y = jnp.matmul(x, weight.T, precision=_FULL)
    return y if bias is None else y + bias


@register("bilinear.default", "_trilinear_bilinear.default")
def bilinear(x, y, weight, bias=None):
    out = jnp.einsum("...i,oij,...j->...o", x, weight, y, precision=_FULL)
    return out if bias is None else out + bias


def _plus(x, product, beta, alpha):
    return beta * x + alpha * product


@register("addmm.default", "addmv.default", "baddbmm.default")
def addmm(x, a, b, beta=1, alpha=1):
    return _plus(x, matmul(a, b), beta, alpha)


@register("addbmm.default")
def addbmm(x, a, b, beta=1, alpha=1):
    return _plus(x, matmul(a, b).sum(0), beta, alpha)


@register("addr.default")
def addr(x, a, b, beta=1, alpha=1):
    return _plus(x, jnp.outer(a, b), beta, alpha)


@register("einsum.default")
def einsum(equation, tensors, path=None):
    return jnp.einsum(equation.replace(" ", ""), *tensors, precision=_FULL)


@register("tensordot.default")
def tensordot(x, y, dims_self, dims_other):
    return jnp.tensordot(x, y, (tuple(dims_self), tuple(dims_other)), precision=_FULL)


@register("linalg_multi_dot.default", "chain_matmul.default")
def multi_dot(tensors):
    return jnp.linalg.multi_dot(tensors, precision=_FULL)


@register("cross.default", "linalg_cross.default")
def cross(x, y, dim=-1):
    x, y = jnp.broadcast_arrays(x, y)
    return jnp.cross(x, y, axis=dim)


@register("linalg_inv.default", "inverse.default")
def inverse(x):
    return jnp.linalg.inv(x)


@register("linalg_det.default", "det.default")
def det(x):
    return jnp.linalg.det(x)


@register("linalg_slogdet.default", "slogdet.default")
def slogdet(x):
    return tuple(jnp.linalg.slogdet(x))


@register("logdet.default")
def logdet(x):
    return jnp.log(jnp.linalg.det(x))


@register("linalg_solve.default")
def solve(a, b, left=True):
    if not left:
        return jnp.swapaxes(solve(jnp.swapaxes(a, -1, -2), jnp.swapaxes(b, -1, -2)), -1, -2)
    vector = b.ndim == 1 or (b.ndim == a.ndim - 1 and b.shape == a.shape[:-1])
    return jnp.linalg.solve(a, b[..., None])[..., 0] if vector else jnp.linalg.solve(a, b)


@register("linalg_solve_triangular.default")
def solve_triangular(a, b, upper, left=True, unitriangular=False):
    batch = jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (jnp.broadcast_to(v, batch + v.shape[-2:]) for v in (a, b))
    return lax.linalg.triangular_solve(
        a, b, left_side=left, lower=not upper, unit_diagonal=unitriangular
    )


@register("linalg_cholesky.default", "cholesky.default")
def cholesky(x, upper=False):
    factor = jnp.linalg.cholesky(x)
    return jnp.swapaxes(factor, -1, -2) if upper else factor


@register("linalg_matrix_exp.default", "matrix_exp.default")
def matrix_exp(x):
    if x.ndim == 2:
        return jax.scipy.linalg.expm(x)
    return jax.vmap(jax.scipy.linalg.expm)(x.reshape((-1, *x.shape[-2:]))).reshape(x.shape)


@register("linalg_matrix_power.default", "matrix_power.default")
def matrix_power(x, n):
    return jnp.linalg.matrix_power(x, n)


@register("trace.default")
def trace(x):
    return jnp.trace(x)


def _fourier(name):
    one, many = getattr(jnp.fft, name), getattr(jnp.fft, f"{name}n")

    @register(f"fft_{name}.default")
    def transform(x, n=None, dim=-1, norm=None):
        return one(x, n, dim, norm)

    def transform_many(x, s=None, dim=None, norm=None):
        return many(x, s, dim if dim is None else tuple(dim), norm)

    register(f"fft_{name}n.default")(transform_many)

    @register(f"fft_{name}2.default")
    def transform_two(x, s=None, dim=(-2, -1), norm=None):
        return transform_many(x, s, dim, norm)

    return transform


for _name in ("fft", "ifft", "rfft", "irfft"):
    _fourier(_name)


@register("fft_fftshift.default")
def fftshift(x, dim=None):
    return jnp.fft.fftshift(x, dim)


@register("fft_ifftshift.default")
def ifftshift(x, dim=None):
    return jnp.fft.ifftshift(x, dim)
