"""A convolutional VAE of PyTorch: from a trained module to geodesic distances and clusters.

    python examples/torch_conv_vae.py

Trains a variational autoencoder with transposed convolutions in torch on scikit-learn's digits.
One call brings its decoder in; the latent space is then measured as that of any other generator,
with a decoder that fades to grey off its data. Prints how the conversion agrees with torch, and
how well medoids find the digits' classes by geodesic and by straight distances.
"""

import jax
import numpy as np
import torch
from torch import nn

import landform as lf


class VAE(nn.Module):
    """Images of 8 × 8 pixels, logits of Bernoulli pixels."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(128, 4),
        )
        self.decoder = nn.Sequential(
            nn.Linear(2, 128),
            nn.SiLU(),
            nn.Unflatten(1, (32, 2, 2)),
            nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1),
        )

    def forward(self, x):
        mean, log_std = self.encoder(x).chunk(2, dim=1)
        logits = self.decoder(mean + log_std.exp() * torch.randn_like(mean))
        fit = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = 0.5 * (mean**2 + (2 * log_std).exp() - 1 - 2 * log_std).sum()
        return (fit + kl) / len(x)


def train(images, epochs, seed):
    """Adam on the evidence lower bound."""
    torch.manual_seed(seed)
    vae = VAE()
    optimizer = torch.optim.Adam(vae.parameters(), lr=3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            loss = vae(images[rows])
            loss.backward()
            optimizer.step()
    return vae.eval().requires_grad_(False), loss.item()


def run(per_class=120, epochs=60, points=40, grid=96, seed=0) -> dict[str, float]:
    """Train, convert, measure, and return the numbers."""
    digits = lf.datasets.load("digits", classes=(0, 1, 2), per_class=per_class)
    images = torch.tensor(digits.X[:, None], dtype=torch.float32)
    vae, loss = train(images, epochs, seed)
    codes = vae.encoder(images)[:, :2]

    decoder = lf.from_torch(vae.decoder, codes[:8])
    ours = jax.vmap(decoder)(np.asarray(codes.numpy()))
    error = np.abs(np.asarray(ours) - vae.decoder(codes).flatten(1).numpy()).max()

    z = codes.numpy().astype(np.float64)
    generator = lf.BlendedDecoder.from_codes(
        decoder, z, key=jax.random.key(0), num_centers=30, threshold=1e-3
    )
    exact = lf.FisherRaoPullback(generator, "bernoulli-logits", landmarks=z)
    margin = 0.2 * np.ptp(z, axis=0)  # a table makes hundreds of distances cheap
    metric = lf.Tabulated(exact, z.min(axis=0) - margin, z.max(axis=0) + margin, size=grid)
    far = lf.pairwise_distances(metric, z[:points], accuracy=1e-3, throw=False)
    straight = np.linalg.norm(z[:points, None] - z[None, :points], axis=-1)
    lines = np.asarray(
        lf.curve_length(
            metric, np.stack([z[:points], np.roll(z[:points], 1, axis=0)], axis=1), order=64
        )
    )
    paths = np.asarray(far)[np.arange(points), np.arange(points) - 1]

    def score(distances):
        found = lf.kmedoids(distances, 3, key=jax.random.key(0))
        return float(lf.f_measure(digits.y[:points], found.labels))

    return {
        "negative bound of the last batch": loss,
        "largest difference to torch, float32": float(error),
        "median error of the table": float(np.median(metric.error(exact, z[:100]))),
        "distances that failed": float(np.isnan(far).sum() / 2),
        "straight over geodesic length, least": float(np.nanmin(lines / paths)),
        "straight over geodesic length": float(np.nanmean(lines / paths)),
        "F-measure, geodesic medoids": score(np.nan_to_num(far, nan=np.nanmax(far))),
        "F-measure, straight medoids": score(straight),
    }


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for name, value in run().items():
        print(f"{name:<40}{value:12.3g}")
