"""Values and derivatives of torch modules, and how far a converted decoder is from them."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

from landform.interop import KinkWarning, from_torch


class Heads(nn.Module):
    """Several functions of one input as heads of one module, to share a conversion."""

    def __init__(self, functions: dict, shape=None):
        super().__init__()
        self.functions = functions
        self.shape = shape
        self.layers = nn.ModuleList(f for f in functions.values() if isinstance(f, nn.Module))

    def forward(self, z):
        x = z if self.shape is None else z.reshape(len(z), *self.shape)
        return {name: function(x) for name, function in self.functions.items()}


def convert(module, example, **settings):
    """`from_torch` without the warnings on kinks and batches, for tests about something else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KinkWarning)
        warnings.filterwarnings("ignore", message="module mixes the points")
        return from_torch(module, example, **settings)


def torch_heads(module, point):
    """The flattened heads of a module at one point of shape (...)."""
    output = module(point[None])
    if isinstance(output, dict):
        output = tuple(output.values())
    if not isinstance(output, tuple | list):
        output = (output,)
    return tuple(head.reshape(-1) for head in output)


def torch_jacobian(module, point):
    """Jacobians of all heads by torch's reverse mode, shape (D, d) each."""
    jacobians = torch.autograd.functional.jacobian(lambda z: torch_heads(module, z), point)
    return [j.reshape(j.shape[0], -1).numpy() for j in jacobians]


def as_tuple(output):
    return output if isinstance(output, tuple) else (output,)


@jax.jit
def value_and_jacobian(decoder, z):
    """Heads and their Jacobians at one point."""
    heads = as_tuple(decoder(z))
    return heads, as_tuple(jax.jacfwd(decoder)(z))


def errors(module, decoder, point):
    """For every head, the largest error of values and of Jacobians, relative to 1 or their size."""
    with torch.no_grad():
        heads = [h.numpy() for h in torch_heads(module, point)]
    jacobians = torch_jacobian(module, point)
    ours, our_jacobians = value_and_jacobian(decoder, jnp.asarray(point.reshape(-1).numpy()))
    report = {}
    for name, a, b, j, k in zip(
        decoder.output_names, heads, ours, jacobians, our_jacobians, strict=True
    ):
        assert b.shape == a.shape, name
        assert str(b.dtype) == str(a.dtype), name
        report[name] = (_gap(a, b), _gap(j, k))
    return report


def _gap(expected, found):
    expected, found = np.asarray(expected), np.asarray(found)
    if not np.array_equal(np.isnan(expected), np.isnan(found)):
        return np.inf
    scale = max(1.0, np.max(np.abs(expected), initial=0.0))
    return float(np.max(np.abs(expected - found), initial=0.0)) / scale


def check(module, example, *, value=1e-12, jacobian=1e-12, **settings):
    """Convert a module and assert that values and Jacobians agree at the first point."""
    decoder = convert(module, example, **settings)
    bad = {
        name: gaps
        for name, gaps in errors(module, decoder, example[0]).items()
        if not (gaps[0] <= value and gaps[1] <= jacobian)
    }
    assert not bad, bad
    return decoder


def rough(shape, *, dtype=torch.float64, seed=0):
    """Random points without ties or special values."""
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    ).to(dtype)


def second_difference(module, point, v, w, weights, step=1e-5):
    """``d²/ds dt`` of the weighted heads along v and w: torch's gradient, differenced once."""

    def slope(t):
        z = (point + t * v).clone().requires_grad_(True)
        total = (torch.cat(torch_heads(module, z)) * weights).sum()
        (gradient,) = torch.autograd.grad(total, z)
        return float((gradient * w).sum())

    return (slope(step) - slope(-step)) / (2 * step)
