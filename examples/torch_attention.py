"""An attention decoder of PyTorch: eight learned queries draw the rows of an image.

    python examples/torch_attention.py

Trains an autoencoder in torch on scikit-learn's digits, whose decoder is a transformer layer over
queries that carry the latent point, with layer norm and softmax inside. Prints how values and
Jacobians of the converted decoder agree with torch's, and how its geodesics compare with straight
lines; the converted decoder is then saved and loaded, for which torch is not needed.
"""

import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

import landform as lf


class Decoder(nn.Module):
    """A latent point (n, 2) to images (n, 8, 8), a row for each query."""

    def __init__(self, width=32):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(8, width))
        self.condition = nn.Linear(2, width)
        layer = nn.TransformerEncoderLayer(width, 4, 64, 0.0, "gelu", batch_first=True)
        self.body = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(width, 8)

    def forward(self, z):
        return self.head(self.body(self.queries + self.condition(z)[:, None])).sigmoid()


def train(images, epochs, seed):
    """Encoder and decoder by Adam on the squared error, the codes kept near the origin."""
    torch.manual_seed(seed)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    decoder = Decoder()
    parts = nn.ModuleList([encoder, decoder])
    optimizer = torch.optim.Adam(parts.parameters(), lr=3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            codes = encoder(images[rows])
            noisy = codes + 0.05 * torch.randn_like(codes)
            loss = (decoder(noisy) - images[rows]).square().mean() + 1e-3 * codes.square().mean()
            loss.backward()
            optimizer.step()
    parts.eval().requires_grad_(False).double()
    return encoder, decoder


def run(per_class=120, epochs=60, pairs=8, seed=0) -> dict[str, float]:
    """Train, convert, measure, and return the numbers."""
    digits = lf.datasets.load("digits", classes=(0, 1, 2), per_class=per_class)
    images = torch.tensor(digits.X, dtype=torch.float32)
    encoder, module = train(images, epochs, seed)
    images = images.double()
    codes = encoder(images)

    decoder = lf.from_torch(module, codes[:8])
    z = jnp.asarray(codes.numpy())
    values = np.asarray(jax.vmap(decoder)(z)) - module(codes).flatten(1).numpy()
    ours = np.asarray(jax.vmap(jax.jacfwd(decoder))(z[:4]))
    theirs = [torch.autograd.functional.jacobian(module, c[None])[0, :, :, 0] for c in codes[:4]]
    slopes = ours - torch.stack(theirs).reshape(ours.shape).numpy()

    with tempfile.TemporaryDirectory() as folder:
        lf.save(Path(folder) / "decoder.landform", decoder)
        again = lf.load(Path(folder) / "decoder.landform")

    metric = lf.Pullback(again, landmarks=z)
    rows = np.random.default_rng(seed).integers(len(z), size=(2, pairs))
    x, y = np.asarray(z)[rows]
    found = lf.geodesic(metric, x, y, accuracy=1e-3, throw=False)
    good = np.asarray(found.converged)
    line = np.asarray(lf.curve_length(metric, np.stack([x, y], axis=1), order=64))
    return {
        "mean squared error of a pixel": float((module(codes) - images).square().mean()),
        "variance of a pixel": float(images.var(dim=0).mean()),
        "largest difference of values": float(np.abs(values).max()),
        "largest difference of Jacobians": float(np.abs(slopes).max()),
        "difference after saving": float(jnp.abs(again(z[0]) - decoder(z[0])).max()),
        "geodesics converged": float(good.mean()),
        "straight over geodesic length, least": float(np.min(line[good] / found.length[good])),
        "straight over geodesic length": float(np.mean(line[good] / found.length[good])),
    }


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for name, value in run().items():
        print(f"{name:<40}{value:12.3g}")
