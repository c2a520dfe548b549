"""Jacobians of a batch: a converted decoder against torch.func.vmap(jacfwd) of the original.

Both in one run on the same points, compile time apart, best of the repeats each. A ratio above one
means that the converted decoder is faster.
"""

import argparse
import itertools
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

import landform as lf
from landform.interop import KinkWarning


def mlp():
    """Three hidden layers, flattened images of 28 × 28."""
    widths = [2, 64, 128, 256, 784]
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.GELU()]
    return nn.Sequential(*layers[:-1], nn.Sigmoid()), 2


def conv_vae():
    """The usual decoder of images of 28 × 28, by transposed convolutions."""
    return (
        nn.Sequential(
            nn.Linear(2, 64 * 7 * 7),
            nn.Unflatten(1, (64, 7, 7)),
            nn.GELU(),
            nn.ConvTranspose2d(64, 32, 3, stride=2, padding=1, output_padding=1),
            nn.GELU(),
            nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
            nn.Sigmoid(),
        ),
        2,
    )


def upsampling():
    """Group norm, nearest up-sampling and convolutions, images of 3 × 16 × 16."""
    return (
        nn.Sequential(
            nn.Linear(4, 32 * 16),
            nn.Unflatten(1, (32, 4, 4)),
            nn.GroupNorm(4, 32),
            nn.SiLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(32, 16, 3, padding=1),
            nn.SiLU(),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(16, 3, 3, padding=1),
        ),
        4,
    )


class Attention(nn.Module):
    """Eight learned queries that attend to the latent point, then two layers among themselves."""

    def __init__(self):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(8, 32))
        self.condition = nn.Linear(2, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, "gelu", batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 16)

    def forward(self, z):
        return self.head(self.body(self.queries + self.condition(z)[:, None])).flatten(1)


def attention():
    torch.backends.mha.set_fastpath_enabled(False)  # it has no forward derivative either
    return Attention(), 2


DECODERS = {build.__name__: build for build in (mlp, conv_vae, upsampling, attention)}


def best(function, repeats: int) -> float:
    """The shortest time of a call, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def compare(build, dtype, count: int, repeats: int) -> dict:
    """Times of both sides and the largest difference of their Jacobians."""
    torch.manual_seed(0)
    module, dim = build()
    module = module.to(dtype).eval().requires_grad_(False)
    points = torch.randn(count, dim, dtype=dtype)
    start = time.perf_counter()
    decoder = lf.from_torch(module, points[:4])
    conversion = time.perf_counter() - start

    def one(z):
        return module(z[None]).reshape(-1)

    theirs = torch.func.vmap(torch.func.jacfwd(one))
    ours = jax.jit(lambda d, z: jax.vmap(jax.jacfwd(d))(z))
    z = jnp.asarray(points.numpy())
    start = time.perf_counter()
    jacobian = jax.block_until_ready(ours(decoder, z))
    first = time.perf_counter() - start
    # the fused kernels of torch's attention have no forward derivative
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        expected = theirs(points).detach().numpy()
        slow = best(lambda: theirs(points), repeats)
    fast = best(lambda: jax.block_until_ready(ours(decoder, z)), repeats)
    return {
        "conversion": conversion,
        "first": first,
        "torch": slow,
        "landform": fast,
        "error": float(np.max(np.abs(np.asarray(jacobian) - expected))),
    }


def main() -> None:
    """Print one line for each decoder and precision."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=256, help="latent points in the batch")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--decoders", nargs="+", choices=list(DECODERS), default=list(DECODERS))
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore", KinkWarning)
    print(
        f"{'decoder':<12} {'dtype':<8} {'convert':>9} {'first':>9} {'torch':>11} {'landform':>11} "
        f"{'ratio':>6} {'error':>8}"
    )
    for build in (DECODERS[name] for name in options.decoders):
        for dtype in (torch.float64, torch.float32):
            row = compare(build, dtype, options.points, options.repeats)
            print(
                f"{build.__name__:<12} {str(dtype)[6:]:<8} {row['conversion']:>7.2f} s "
                f"{row['first']:>7.2f} s {row['torch'] * 1e3:>8.1f} ms "
                f"{row['landform'] * 1e3:>8.1f} ms {row['torch'] / row['landform']:>6.2f} "
                f"{row['error']:>8.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
