"""Geodesics of a convolutional generator of 64 × 64 images: seconds a pair in a batch.

    python benchmarks/image_decoder.py [--pairs 50] [--epochs 30] [--model vae.landform]

Two ways on the same pairs in one run. Direct: `lf.geodesic` on the expected metric. Tabulated: the
metric on a grid, geodesics on it from all of their starts, and these as the only starts on the
metric itself. Either way the curve is certified on the metric itself. Times are of the second call,
of the wall and of all cores; what the first took beyond it is compilation. The grid is computed
once for all pairs and counts; its time has its own line. The floor is one metric tensor, which is
one Jacobian, at every point where a pair's solve evaluated the generator.

Measured on one core of an AMD EPYC, 50 pairs of the video frames, in double precision: 0.65 core s
a pair and 0.08 for the table, 50 certified, at most 3789 evaluations a pair; 7.3 core s and 42
certified without a table, compilation included. A metric tensor takes 0.21 core ms.

Without a model one is trained on the video frames in LANDFORM_DATA, or where they are not found
on bars at random places and angles.
"""

import argparse
import os

os.environ.setdefault("JAX_ENABLE_X64", "1")

import jax
import jax.numpy as jnp
import numpy as np

import landform as lf
from geodesics import clocked, load, pairs_of
from landform import plotting

SIZE = 64


def images(seed: int = 0) -> np.ndarray:
    """Video frames, or drawn bars where there are none."""
    try:
        return lf.datasets.load("mocap-frames", seed=seed).X
    except FileNotFoundError:
        rng = np.random.default_rng(seed)
        turn, shift = np.pi * rng.random(1000), 16.0 * rng.random(1000) - 8.0
        y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2 + 0.5
        across = x * np.cos(turn)[:, None, None] + y * np.sin(turn)[:, None, None]
        return np.exp(-((across - shift[:, None, None]) ** 2) / 8.0)


def model(X: np.ndarray, epochs: int) -> lf.VAE:
    """A convolutional generator of three layers with two latent dimensions."""
    return lf.train_vae(
        X,
        2,
        key=jax.random.key(0),
        architecture="conv",
        hidden=(8, 16, 32),
        epochs=epochs,
        stage_one_std=0.05,
        bandwidth_scale=1.0,
        bandwidth_rule="pooled",
    )


def direct(metric, x, y, accuracy: float):
    """Nothing but the metric."""
    return lf.geodesic(metric, x, y, accuracy=accuracy, throw=False)


def tabulated(metric, table, x, y, accuracy: float):
    """From the geodesics of a table; straight to the metric's own, without other starts."""
    return lf.geodesic(metric, x, y, guide=table, accuracy=accuracy, throw=False)


def show(name: str, function, pairs: int) -> lf.Geodesic:
    """Run twice and print the second run a pair."""
    first = clocked(function)[1]
    found, wall, cores = clocked(function)
    good = float(np.mean(np.asarray(found.converged)))
    print(
        f"{name:10s} {wall / pairs:7.2f} s a pair, {cores / pairs:7.2f} core s, "
        f"{good:6.1%} certified, {float(np.mean(found.stats['iterations'])):5.1f} iterations, "
        f"{float(np.mean(found.stats['evaluations'])):6.0f} evaluations "
        f"(at most {int(np.max(found.stats['evaluations']))}), "
        f"compile {first - wall:5.1f} s",
        flush=True,
    )
    return found


def main() -> None:
    """Print both ways, and how much longer the curves of either are than the best."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--accuracy", type=float, default=1e-3)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--model", help="a VAE written by lf.save")
    parser.add_argument("--only", nargs="+", default=["direct", "tabulated"])
    options = parser.parse_args()
    X = images()
    vae = lf.load(options.model) if options.model else model(X, options.epochs)
    metric, codes = vae.metric(), np.asarray(vae.encode(X))
    x, y = pairs_of(codes, options.pairs)
    points = jnp.asarray(codes[:64])
    lf.metric_tensor(metric, points)
    cost = clocked(lambda: lf.metric_tensor(metric, points))[2] / len(points)
    print(
        f"{load()}; {len(X)} images of {vae.shape}, {1e3 * cost:.2f} core ms a metric tensor",
        flush=True,
    )
    ends = plotting.bounds(codes, margin=0.2)
    table, wall, cores = clocked(lambda: lf.Tabulated(metric, *ends, size=options.size))
    error = float(np.median(np.asarray(table.error(metric, points))))
    print(
        f"table of {options.size} x {options.size}: {wall / len(x):.2f} s a pair, "
        f"{cores / len(x):.2f} core s, compilation included; median relative error {error:.1g}",
        flush=True,
    )
    ways = {
        "direct": lambda: direct(metric, x, y, options.accuracy),
        "tabulated": lambda: tabulated(metric, table, x, y, options.accuracy),
    }
    found = {name: show(name, ways[name], options.pairs) for name in options.only}
    lengths = np.stack([np.asarray(one.length) for one in found.values()])
    excess = lengths / lengths.min(axis=0) - 1.0
    for name, one in zip(found, excess, strict=True):
        print(f"{name:10s} longer than the best of both by {100 * one.mean():.3f} % in the mean")
    print(load())


if __name__ == "__main__":
    main()
