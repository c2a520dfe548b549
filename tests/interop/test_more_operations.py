"""Further operations agree with torch: factorisations, sampling, antialiasing, running extrema."""

import math

import jax
import numpy as np
import pytest
from scipy.special import erfcx as scipy_erfcx

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402

from landform.interop._aten import OPERATIONS  # noqa: E402
from torch_oracle import Heads, check, rough  # noqa: E402

pytestmark = pytest.mark.torch

T, L = torch, torch.linalg


def _spd(x):
    return x @ x.mT + T.eye(4).to(x)


def _shifted(x):
    return x + 4 * T.eye(4).to(x)


def _rebuilt(values, vectors):
    return vectors @ T.diag_embed(values.sqrt()) @ vectors.mT


def _edges(x):
    return T.tensor([1.0, -1.0, 0.0]).to(x)


def _mask():
    """An attention mask of four positions; the first may attend to none."""
    return T.tensor([[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]], dtype=T.bool)


FACTORS = {
    "qr": lambda x: L.qr(x)[1].abs(),
    "cholesky_solve": lambda x: T.cholesky_solve(x.flip(1), L.cholesky(_spd(x))),
    "cholesky_upper": lambda x: T.cholesky_solve(x, L.cholesky(_spd(x)).mT, upper=True),
    "cholesky_inverse": lambda x: T.cholesky_inverse(L.cholesky(_spd(x))),
    "cholesky_ex": lambda x: L.cholesky_ex(_spd(x))[0],
    "inv_ex": lambda x: L.inv_ex(_shifted(x))[0],
    "pinv": lambda x: L.pinv(_shifted(x)),
    "eigh": lambda x: _rebuilt(*L.eigh(_spd(x))),
    "eigvalsh": lambda x: L.eigvalsh(_spd(x)),
    "svdvals": lambda x: L.svdvals(x),
    "svd": lambda x: (lambda u, s, v: u @ T.diag_embed(s.exp()) @ v)(*L.svd(x)),
    "nuclear": lambda x: L.matrix_norm(x, "nuc"),
    "lu": lambda x: L.lu(_shifted(x))[1] @ L.lu(_shifted(x))[2],
    "lu_solve": lambda x: L.lu_solve(*L.lu_factor(_shifted(x)), x),
    "triangular": lambda x: L.solve_triangular(_shifted(x).triu(), x.flip(1), upper=True),
    "matrix_power": lambda x: L.matrix_power(_shifted(x), -2),
}
OTHERS = {
    "var_of_any_correction": lambda x: x.var(-1, correction=0.5),
    "sorter": lambda x: T.searchsorted(_edges(x), x, sorter=T.tensor([1, 2, 0])).to(x) * x,
    "masked_attention": lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=_mask()),
    "weighted_attention": lambda x: F.scaled_dot_product_attention(
        x, x, x, attn_mask=T.zeros(4, 4).to(x).masked_fill(~_mask(), -math.inf)
    ),
    "cummax": lambda x: x.cummax(-1).values,
    "cummin": lambda x: x.cummin(1)[0],
    "kthvalue": lambda x: x.kthvalue(2, -1).values,
    "quantile": lambda x: T.quantile(x, 0.3, dim=-1),
    "mean_scatter": lambda x: x.scatter_reduce(1, _places(), x.square(), "mean"),
    "amax_scatter": lambda x: x.scatter_reduce(
        1, _places(), x.square(), "amax", include_self=False
    ),
    "as_strided": lambda x: T.as_strided(x.contiguous(), (1, 3, 4), (48, 16, 5)),
    "copysign": lambda x: T.copysign(x.abs() + 0.1, x.flip(-1)),
    "round": lambda x: x + T.round(x.detach(), decimals=1),
    "complex": lambda x: (T.complex(x, x.flip(-1)) * T.exp(1j * x)).angle(),
    "pdist": lambda x: F.pdist(x[0].flatten(1))[None],
    "nansum": lambda x: T.nansum(T.where(x > 0, x.square(), math.nan), 1),
    "erfcx": lambda x: T.special.erfcx(10 * x.abs() - 2),
    "vmap": lambda x: T.func.vmap(lambda v: T.tanh(v) * v.sum())(x),
}
RESIZED = {
    f"{mode}_{size}_{corners}": lambda x, m=mode, s=size, c=corners: F.interpolate(
        x, size=s, mode=m, antialias=True, align_corners=c
    )
    for mode in ("bilinear", "bicubic")
    for size, corners in (((2, 3), False), ((7, 3), False), ((3, 2), True))
} | {
    "aa_factor": lambda x: F.interpolate(x, scale_factor=0.6, mode="bilinear", antialias=True),
    "area": lambda x: F.interpolate(x, size=(3, 3), mode="area"),
}
SAMPLED = {
    f"{mode}_{padding}_{corners}": lambda x, m=mode, p=padding, c=corners: F.grid_sample(
        x, 1.4 * T.tanh(x[:, :2]).permute(0, 2, 3, 1), mode=m, padding_mode=p, align_corners=c
    )
    for mode in ("bilinear", "nearest", "bicubic")
    for padding in ("zeros", "border", "reflection")
    for corners in (True, False)
} | {
    f"volume_{padding}": lambda x, p=padding: F.grid_sample(
        x[:, None],
        1.2 * T.tanh(x[:, None]).permute(0, 3, 4, 1, 2)[..., :3],
        padding_mode=p,
        align_corners=False,
    )
    for padding in ("zeros", "border", "reflection")
}


def _places():
    return T.tensor([0, 0, 2])[None, :, None, None].expand(1, 3, 4, 4)


def _spread(kernel, stride, padding, extra):
    """A transposed convolution whose kernels overlap, just meet, or leave gaps."""

    def function(x):
        n = len(kernel)
        x = x.reshape(1, 3, *{1: (16,), 2: (4, 4), 3: (4, 2, 2)}[n])
        weight = T.linspace(-1, 1, 6 * math.prod(kernel)).sin().reshape(3, 2, *kernel).to(x)
        bias = T.tensor([0.5, -0.5]).to(x)
        transposed = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[n - 1]
        return transposed(x, weight, bias, stride, padding, extra)

    return function


SPREAD = {
    f"conv_transpose_{case}": _spread(*case)
    for case in (
        ((3,), (2,), (1,), (1,)),
        ((2,), (3,), (0,), (2,)),
        ((3, 4), (2, 2), (1, 1), (1, 0)),
        ((1, 5), (2, 3), (0, 2), (1, 2)),
        ((2, 2), (2, 1), (1, 0), (0, 0)),
        ((3, 1, 2), (2, 2, 1), (1, 0, 0), (0, 1, 0)),
    )
}


@pytest.mark.parametrize(
    "functions",
    [FACTORS, OTHERS, RESIZED, SAMPLED, SPREAD],
    ids=["factors", "others", "resized", "sampled", "spread"],
)
def test_operations_agree_with_torch(functions):
    check(Heads(functions, (3, 4, 4)).eval(), rough((1, math.prod((3, 4, 4)))))


@pytest.mark.parametrize(("dtype", "lowest"), [(np.float64, -26.6), (np.float32, -9.38)])
def test_the_scaled_error_function_is_exact_to_a_few_units_in_the_last_place(dtype, lowest):
    erfcx, eps = OPERATIONS["special_erfcx.default"], np.finfo(dtype).eps
    x = np.r_[np.linspace(lowest, 12.0, 2001), np.geomspace(12.0, 1e30, 50)].astype(dtype)
    exact = scipy_erfcx(x.astype(np.float64))  # its own error is x² units for negative x
    allowed = 8 * eps + np.where(x < 0, x.astype(np.float64) ** 2, 0.0) * np.finfo(np.float64).eps
    found = np.asarray(erfcx(x), np.float64)
    assert (np.abs(found / exact - 1.0) < allowed).all()
    far = np.array([-1e30, -30.0, lowest + 0.4, -1.0, 0.0, 1.0, 8.0, 1e30], dtype)
    assert np.isfinite(jax.vmap(jax.grad(erfcx))(far)).all()
    np.testing.assert_array_equal(erfcx(dtype([-np.inf, np.inf, np.nan])), [np.inf, 0.0, np.nan])


def test_derivatives_of_roots_at_zero_are_zero_as_in_torch():
    functions = {"std": lambda x: x.std(-1), "norm3": lambda x: x.norm(p=3, dim=-1)}
    for point in (T.zeros(1, 4), T.ones(1, 4)):
        check(Heads(functions).eval(), point.double())


def test_the_second_derivative_of_hypot_is_right_on_the_diagonal():
    hessian = jax.hessian(lambda z: OPERATIONS["hypot.default"](z[0], z[1]))
    for sign in (1.0, -1.0):
        found = hessian(np.array([2.0, 2.0 * sign]))
        expected = np.array([[1.0, -sign], [-sign, 1.0]]) / (4.0 * math.sqrt(2.0))
        np.testing.assert_allclose(found, expected, atol=1e-15)


def test_a_norm_of_nan_is_nan():
    assert np.isnan(OPERATIONS["linalg_vector_norm.default"](np.array([np.nan, 1.0])))
