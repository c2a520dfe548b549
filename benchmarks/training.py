"""Training of variational autoencoders: stage one of train_vae against the same loop in torch.

The same networks (28 × 28 images, two latent dimensions; 64–32 tanh, and 16–32 channels of strided
and transposed 4 × 4 convolutions), batches, draws, optimiser with clipping and cosine schedule,
held-out bound after each epoch with eight draws a point, float32. Both in one run, in turn, compile
time apart, best of the repeats, in seconds of the processor; a ratio below one means that landform
is faster. landform's time includes the encoding of all data in double precision at the end, which
weighs more the fewer the epochs.
"""

import argparse
import math
import time

import jax
import numpy as np
import torch
from torch import nn

import landform as lf

SIDE, DRAWS = 28, 8


def images(count, seed=0):
    """Smooth blobs in [0, 1]: what the pixels show does not matter for the time."""
    rng = np.random.default_rng(seed)
    center, width = rng.uniform(6, 22, (count, 2, 1, 1)), rng.uniform(2, 6, (count, 1, 1))
    row, column = np.indices((SIDE, SIDE))
    return np.exp(-((row - center[:, 0]) ** 2 + (column - center[:, 1]) ** 2) / (2 * width**2))


class Network(nn.Module):
    """Encoder, decoder and one log-deviation."""

    def __init__(self, architecture):
        super().__init__()
        pixels, coarse = SIDE * SIDE, SIDE // 4
        if architecture == "mlp":
            self.encoder = nn.Sequential(
                nn.Flatten(),
                nn.Linear(pixels, 64),
                nn.Tanh(),
                nn.Linear(64, 32),
                nn.Tanh(),
                nn.Linear(32, 4),
            )
            self.decoder = nn.Sequential(
                nn.Linear(2, 32),
                nn.Tanh(),
                nn.Linear(32, 64),
                nn.Tanh(),
                nn.Linear(64, pixels),
                nn.Unflatten(1, (1, SIDE, SIDE)),
            )
        else:
            self.encoder = nn.Sequential(
                nn.Conv2d(1, 16, 4, 2, 1),
                nn.Tanh(),
                nn.Conv2d(16, 32, 4, 2, 1),
                nn.Tanh(),
                nn.Flatten(),
                nn.Linear(32 * coarse**2, 4),
            )
            self.decoder = nn.Sequential(
                nn.Linear(2, 32 * coarse**2),
                nn.Unflatten(1, (32, coarse, coarse)),
                nn.Tanh(),
                nn.ConvTranspose2d(32, 16, 4, 2, 1),
                nn.Tanh(),
                nn.ConvTranspose2d(16, 1, 4, 2, 1),
            )
        self.log_std = nn.Parameter(torch.zeros(()))

    def bound(self, x, noise):
        """Reconstruction and KL, means over the batch."""
        mean, log_std = self.encoder(x).chunk(2, dim=1)
        image = torch.sigmoid(self.decoder(mean + torch.exp(log_std) * noise))
        variance = torch.exp(2 * self.log_std) + 1e-6
        squares = ((x - image) ** 2 / variance + torch.log(2 * math.pi * variance)).flatten(1)
        kl = 0.5 * (mean**2 + torch.exp(2 * log_std) - 1 - 2 * log_std).sum(1)
        return -0.5 * squares.sum(1).mean(), kl.mean()


def in_torch(train, held, architecture, epochs, batch):
    """The loop as one would write it."""
    torch.manual_seed(0)
    network = Network(architecture)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    steps = len(train) // batch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps, 5e-5)
    for epoch in range(epochs):
        order = torch.randperm(len(train))[: steps * batch].view(steps, batch)
        for rows in order:
            optimizer.zero_grad(set_to_none=True)
            reconstruction, kl = network.bound(train[rows], torch.randn(batch, 2))
            loss = -(reconstruction - min(1.0, (epoch + 1) / 21) * kl) / train[0].numel()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            for _ in range(DRAWS):
                network.bound(held, torch.randn(len(held), 2))


def in_landform(data, architecture, epochs, batch):
    """Stage one of `train_vae`; a constant variance takes no second stage."""
    lf.train_vae(
        data,
        2,
        key=jax.random.key(0),
        architecture=architecture,
        output="sigmoid",
        variance="constant",
        epochs=epochs,
        batch_size=batch,
        patience=10**6,
    )


def seconds(function):
    """Seconds of the processor that one call takes."""
    since = time.process_time()
    function()
    return time.process_time() - since


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    data = images(options.images)
    held = round(0.1 * len(data))
    tensor = torch.tensor(data[:, None], dtype=torch.float32)
    print(
        f"{len(data)} images of {SIDE} x {SIDE}, {options.epochs} epochs, seconds of the processor"
    )
    print(f"{'':<6}{'batch':>6}{'first call':>12}{'landform':>10}{'torch':>8}{'ratio':>7}")
    for architecture in ("mlp", "conv"):
        for batch in options.batch:
            common = (architecture, options.epochs, batch)
            once = seconds(lambda c=common: in_landform(data, *c))
            ours, theirs = [], []
            for _ in range(options.repeats):
                ours.append(seconds(lambda c=common: in_landform(data, *c)))
                theirs.append(seconds(lambda c=common: in_torch(tensor[held:], tensor[:held], *c)))
            a, b = min(ours), min(theirs)
            print(f"{architecture:<6}{batch:>6}{once:>12.2f}{a:>10.2f}{b:>8.2f}{a / b:>7.2f}")


if __name__ == "__main__":
    main()
