"""Every operation agrees with torch in value and Jacobian; each group is converted once."""

import math

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from torch_oracle import Heads, check, rough  # noqa: E402

pytestmark = pytest.mark.torch

T = torch

UNARY = {
    name: getattr(torch, name)
    for name in (
        "neg exp exp2 expm1 sin cos tan sinh cosh tanh asinh atan erf erfc sigmoid square "
        "reciprocal sinc "
        "abs sign floor ceil round trunc frac deg2rad"
    ).split()
} | {
    "log": lambda x: T.log(x.abs() + 0.1),
    "log2": lambda x: T.log2(x.square() + 0.1),
    "log10": lambda x: T.log10(x.square() + 0.1),
    "log1p": lambda x: T.log1p(x.square()),
    "sqrt": lambda x: T.sqrt(x.square() + 0.1),
    "rsqrt": lambda x: T.rsqrt(x.square() + 0.1),
    "asin": lambda x: T.asin(T.tanh(x)),
    "acos": lambda x: T.acos(T.tanh(x)),
    "atanh": lambda x: T.atanh(0.9 * T.tanh(x)),
    "acosh": lambda x: T.acosh(1.5 + x.square()),
    "erfinv": lambda x: T.erfinv(0.9 * T.tanh(x)),
    "ndtr": T.special.ndtr,
    "log_ndtr": T.special.log_ndtr,
    "lgamma": lambda x: T.lgamma(x.square() + 0.3),
    "i0": T.special.i0,
    "i0e": T.special.i0e,
    "i1": T.special.i1,
    "logit": lambda x: T.logit(T.sigmoid(x)),
    "logit_eps": lambda x: T.logit(T.sigmoid(3 * x), eps=0.1),
    "nan_to_num": T.nan_to_num,
}

ACTIVATIONS = {
    "relu": F.relu,
    "relu_": lambda x: F.relu_(x * 1.0),
    "relu6": F.relu6,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "prelu": nn.PReLU(),
    "prelu_channels": nn.PReLU(3),
    "rrelu": nn.RReLU(),
    "elu": nn.ELU(0.7),
    "selu": F.selu,
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU("tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "softplus": nn.Softplus(),
    "softplus_beta": nn.Softplus(beta=3.0, threshold=2.0),
    "softsign": F.softsign,
    "softshrink": nn.Softshrink(0.3),
    "hardshrink": nn.Hardshrink(0.3),
    "tanhshrink": nn.Tanhshrink(),
    "hardtanh": nn.Hardtanh(-0.5, 0.8),
    "hardswish": F.hardswish,
    "threshold": nn.Threshold(0.1, 0.3),
    "logsigmoid": F.logsigmoid,
    "softmax": nn.Softmax(1),
    "softmin": nn.Softmin(1),
    "softmax2d": nn.Softmax2d(),
    "log_softmax": nn.LogSoftmax(-1),
    "glu": lambda x: F.glu(x, -1),
    "dropout": lambda x: F.dropout(x, 0.3, training=False),
    "dropout2d": nn.Dropout2d(0.4),
    "alpha_dropout": nn.AlphaDropout(0.4),
    "identity": nn.Identity(),
    "sine": lambda x: T.sin(30.0 * x),
    "snake": lambda x: x + T.sin(2.0 * x) ** 2 / 2.0,
    "gumbel_free": lambda x: F.normalize(x, dim=1),
}

BINARY = {
    "add": lambda x: T.add(x, x.flip(-1), alpha=2),
    "sub": lambda x: T.sub(x, x.flip(-1), alpha=0.5),
    "rsub": lambda x: 2.0 - x,
    "div": lambda x: x / (x.square() + 1.0),
    "floor_div": lambda x: x + x.detach() // 0.3,
    "div_trunc": lambda x: T.div(x, 0.3, rounding_mode="trunc"),
    "fmod": lambda x: T.fmod(x, 0.7),
    "remainder": lambda x: T.remainder(x, 0.7),
    "pow_int": lambda x: x**3,
    "pow_negative": lambda x: x**-2,
    "pow_half": lambda x: (x.square() + 0.1) ** 0.5,
    "pow_real": lambda x: (x.square() + 0.1) ** 1.7,
    "pow_base": lambda x: 2.0**x,
    "pow_tensors": lambda x: (x.square() + 0.1) ** x.flip(-1),
    "atan2": lambda x: T.atan2(x, x.flip(-1)),
    "hypot": lambda x: T.hypot(x, x.flip(-1)),
    "maximum": lambda x: T.maximum(x, x.flip(-1) * 0.9),
    "minimum": lambda x: T.minimum(x, x.flip(-1) * 0.9),
    "logaddexp": lambda x: T.logaddexp(x, x.flip(-1)),
    "xlogy": lambda x: T.xlogy(x.square(), x.flip(-1).square() + 0.1),
    "lerp": lambda x: T.lerp(x, x.flip(-1), 0.3),
    "addcmul": lambda x: T.addcmul(x, x, x.flip(-1), value=0.3),
    "addcdiv": lambda x: T.addcdiv(x, x, x.square() + 1, value=0.3),
    "clamp": lambda x: x.clamp(-0.5, 0.5),
    "clamp_tensor": lambda x: x.clamp(min=x.flip(-1) - 0.1),
    "clamp_max": lambda x: x.clamp(max=0.2),
    "where": lambda x: T.where(x > 0, x, x.square()),
    "where_scalar": lambda x: T.where(x > 0, x, 0.5),
    "masked_fill": lambda x: x.masked_fill(x < 0, 0.25),
    "logical": lambda x: x * ((x > 0) & (x < 1) | ~(x > -1)),
    "integers": lambda x: x * (T.arange(4) // 3 + T.arange(4) % 2),
    "int_division": lambda x: x * (T.arange(4) / 3),
    "to_and_back": lambda x: x.to(T.float64) * T.tensor([1, 2, 3, 4]).type_as(x),
}

REDUCTIONS = {
    "sum": lambda x: x.sum((1, 2, 3)),
    "sum_dim": lambda x: x.sum((1, -1)),
    "mean": lambda x: x.mean(2, keepdim=True),
    "prod": lambda x: x.prod(-1),
    "amax": lambda x: x.amax((2, 3)),
    "amin": lambda x: x.amin(1),
    "max_dim": lambda x: x.max(-1).values,
    "min_dim": lambda x: x.min(1, keepdim=True)[0],
    "var": lambda x: x.var(1),
    "var_biased": lambda x: x.var((2, 3), unbiased=False, keepdim=True),
    "std": lambda x: x.std(-1, correction=0),
    "var_mean": lambda x: T.cat(T.var_mean(x, -1, keepdim=True), -1),
    "norm": lambda x: x.norm(dim=1),
    "norm_all": lambda x: x.flatten(1).norm(dim=-1),
    "norm1": lambda x: T.linalg.vector_norm(x, 1, dim=-1),
    "norm3": lambda x: T.linalg.vector_norm(x, 3.0, dim=(-1, -2)),
    "norminf": lambda x: T.linalg.vector_norm(x, math.inf, dim=-1),
    "logsumexp": lambda x: x.logsumexp((1, 2)),
    "cumsum": lambda x: x.cumsum(-1),
    "cumprod": lambda x: x.cumprod(1),
    "sort": lambda x: x.sort(-1, descending=True).values,
    "topk": lambda x: x.topk(2, -1).values,
    "smallest": lambda x: x.topk(2, 1, largest=False)[0],
    "median": lambda x: x.median(-1).values,
    "argmax": lambda x: x * x.argmax(-1, keepdim=True),
    "cosine": lambda x: F.cosine_similarity(x, x.flip(-1), dim=-1),
    "cosine_dim1": lambda x: F.cosine_similarity(x, x.roll(1, -1), dim=1),
    "pairwise": lambda x: F.pairwise_distance(x, x.flip(-1)),
    "cdist": lambda x: T.cdist(x.flatten(2), x.flatten(2).flip(-1) + 1.0),
    "any": lambda x: x * (x > 1.0).any(-1, keepdim=True),
    "all": lambda x: x * (x < 9.0).all(1, keepdim=True),
    "diff": lambda x: x.diff(dim=-1),
}

SHAPES = {
    "view": lambda x: x.view(len(x), -1),
    "flatten": lambda x: x.flatten(1, 2),
    "unflatten": lambda x: x.unflatten(-1, (2, 2)).square(),
    "permute": lambda x: x.permute(0, 3, 1, 2),
    "transpose": lambda x: x.transpose(1, -1),
    "movedim": lambda x: x.movedim(1, -1),
    "mT": lambda x: x.mT,
    "squeeze": lambda x: x[:, :1].squeeze(1),
    "squeeze_all": lambda x: x.unsqueeze(1).squeeze(),
    "unsqueeze": lambda x: x.unsqueeze(-1) * 2,
    "expand": lambda x: x[:, :1].expand(-1, 3, -1, -1),
    "expand_as": lambda x: x[:, :1].expand_as(x) + x,
    "broadcast_to": lambda x: x[:, :1].broadcast_to(x.shape),
    "cat": lambda x: T.cat([x, x.square()], 1),
    "stack": lambda x: T.stack([x, x.square()], -1),
    "hstack": lambda x: T.hstack([x, x * 2]),
    "split": lambda x: T.cat(x.split(2, 1)[::-1], 1),
    "split_sizes": lambda x: x.split([1, 2], 1)[1],
    "chunk": lambda x: T.cat(x.chunk(2, 1)[::-1], 1),
    "tensor_split": lambda x: x.tensor_split(3, -1)[0],
    "unbind": lambda x: x.unbind(1)[2],
    "slice": lambda x: x[:, ::2, 1:, :-1],
    "select": lambda x: x[:, -1, 0],
    "ellipsis": lambda x: x[..., None, 1],
    "narrow": lambda x: x.narrow(-1, 1, 2),
    "repeat": lambda x: x.repeat(1, 2, 1, 1),
    "tile": lambda x: x.tile(2),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 1),
    "roll": lambda x: x.roll((1, 2), (1, 3)),
    "flip": lambda x: x.flip(1, 2),
    "rot90": lambda x: x.rot90(1, (2, 3)),
    "diagonal": lambda x: x.diagonal(0, 2, 3),
    "diag_embed": lambda x: x.diag_embed(1),
    "tril": lambda x: x.tril(-1),
    "triu": lambda x: x.triu(1),
    "unfold": lambda x: x.unfold(-1, 2, 1),
    "im2col": lambda x: F.unfold(x, 2, dilation=1, padding=1, stride=2),
    "col2im": lambda x: F.fold(F.unfold(x, 2, padding=1), (4, 4), 2, padding=1),
    "pad": lambda x: F.pad(x, (1, 2, 0, 1), value=0.3),
    "pad_crop": lambda x: F.pad(x, (-1, 2)),
    "reflect": lambda x: F.pad(x, (1, 1, 2, 1), mode="reflect"),
    "replicate": lambda x: F.pad(x, (1, 1, 2, 1), mode="replicate"),
    "circular": lambda x: F.pad(x, (1, 1, 2, 1), mode="circular"),
    "zeropad": nn.ZeroPad2d(1),
    "reflectionpad": nn.ReflectionPad2d(1),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x, 2),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x.transpose(1, 2), 2),
    "channel_shuffle": lambda x: F.channel_shuffle(x.transpose(1, 2), 2),
    "gather": lambda x: x.gather(1, T.tensor([2, 0])[None, :, None, None].expand(1, 2, 4, 4)),
    "index": lambda x: x[:, T.tensor([2, 0]), T.tensor([0, 3])],
    "index_none": lambda x: x[:, None, T.tensor([2, 0])],
    "mask": lambda x: x[:, T.tensor([True, False, True])],
    "index_select": lambda x: x.index_select(1, T.tensor([2, 1])),
    "take_along": lambda x: T.take_along_dim(x, x.argsort(-1), -1),
    "scatter": lambda x: T.zeros_like(x).scatter(
        1, T.tensor([2, 0, 1])[None, :, None, None].expand(1, 3, 4, 4), x
    ),
    "scatter_add": lambda x: x.scatter_add(
        1, T.tensor([2, 0, 2])[None, :, None, None].expand(1, 3, 4, 4), x.square()
    ),
    "index_add": lambda x: x.index_add(1, T.tensor([0, 0, 2]), x.square()),
    "assign": lambda x: _assigned(x),
    "as_constant": lambda x: x.new_ones(1, 3) * T.linspace(0, 1, 3).to(x) + x[:, :, 0, 0],
    "full_like": lambda x: T.full_like(x, 2.0) * x + T.zeros(1, 1, 1, 4, dtype=x.dtype),
    "meshgrid": lambda x: T.stack(T.meshgrid(x[0, 0, 0], x[0, 1, 1], indexing="ij"))[None],
    "broadcast_tensors": lambda x: T.broadcast_tensors(x, x[:, :1])[1],
    "one_hot": lambda x: x * F.one_hot(T.arange(4), 4).to(x),
    "eye": lambda x: x @ T.eye(4, dtype=x.dtype),
}


def _assigned(x):
    y = x.clone()
    y[:, 0] = 2.0 * y[:, 1]
    y[:, 2, 1:] += 1.0
    y.mul_(0.5)
    return y


PRODUCTS = {
    "matmul": lambda x: x @ x.mT,
    "bmm": lambda x: T.bmm(x[:, 0], x[:, 1]),
    "mv": lambda x: T.mv(x[0, 0], x[0, 1, 0])[None],
    "dot": lambda x: T.dot(x[0, 0, 0], x[0, 1, 0])[None],
    "addmm": lambda x: T.addmm(x[0, 0], x[0, 1], x[0, 2], beta=0.5, alpha=2)[None],
    "baddbmm": lambda x: T.baddbmm(x[:, 0], x[:, 1], x[:, 2]),
    "outer": lambda x: T.outer(x[0, 0, 0], x[0, 1, 1])[None],
    "einsum": lambda x: T.einsum("bcij,bcjk->bik", x, x),
    "einsum_trace": lambda x: T.einsum("b c i i -> b c", x),
    "einsum_ellipsis": lambda x: T.einsum("...ij,...kj->...ik", x, x),
    "tensordot": lambda x: T.tensordot(x, x[0], dims=([3], [2]))[:, :, :, 0],
    "bilinear": lambda x: F.bilinear(
        x[..., 0, :], x[..., 1, :], T.arange(48.0).reshape(3, 4, 4).to(x)
    ),
    "linear": nn.Linear(4, 3),
    "linear_plain": nn.Linear(4, 3, bias=False),
    "cross": lambda x: T.linalg.cross(x, x.flip(-1) + 0.5, dim=1),
    "inverse": lambda x: T.linalg.inv(x + 4 * T.eye(4, dtype=x.dtype)),
    "det": lambda x: T.linalg.det(x),
    "slogdet": lambda x: T.linalg.slogdet(x)[1],
    "solve": lambda x: T.linalg.solve(x + 4 * T.eye(4, dtype=x.dtype), x.flip(1)),
    "triangular": lambda x: T.linalg.solve_triangular(
        x.tril() + 4 * T.eye(4, dtype=x.dtype), x.flip(1), upper=False
    ),
    "cholesky": lambda x: T.linalg.cholesky(x @ x.mT + T.eye(4, dtype=x.dtype)),
    "matrix_exp": lambda x: T.linalg.matrix_exp(0.3 * x),
    "kron": lambda x: T.kron(x[0, 0], x[0, 1])[None],
    "fft": lambda x: T.fft.fft2(x).abs().square(),
    "irfft": lambda x: T.fft.irfft(T.complex(x, x.flip(-1)), n=6),
    "rfft_filter": lambda x: T.fft.irfft2(
        T.fft.rfft2(x) * T.tensor([1.0, 0.5, 0.2], dtype=x.dtype), s=(4, 4)
    ),
    "fft_ortho": lambda x: T.view_as_real(T.fft.fft(x, norm="ortho")),
}


def _double(functions):
    for f in functions.values():
        if isinstance(f, nn.Module):
            f.double()
    return functions


GROUPS = {
    "unary": (UNARY, (3, 4)),
    "activations": (ACTIVATIONS, (3, 2, 4)),
    "binary": (BINARY, (3, 4)),
    "reductions": (REDUCTIONS, (3, 4, 4)),
    "shapes": (SHAPES, (3, 4, 4)),
    "products": (PRODUCTS, (3, 4, 4)),
}


@pytest.mark.parametrize("group", GROUPS)
def test_operations_agree_with_torch(group):
    functions, shape = GROUPS[group]
    torch.manual_seed(0)
    module = Heads(_double(functions), shape).eval()
    check(module, rough((1, math.prod(shape))), value=1e-12, jacobian=1e-12)
