"""Geodesics on two moons: landform beside other solvers, on the same pairs in one run.

    python benchmarks/geodesics.py [--points 200] [--pairs 100] [--stochman]

Every curve is measured again by one fine quadrature of the metric, and its length is compared with
the best that any solver found for that pair. Compile time is the first call less the second.
`--stochman` needs stochman 0.3.0 and torch in the environment.
"""

import argparse
import os
import time

os.environ.setdefault("JAX_ENABLE_X64", "1")

import jax
import numpy as np
from scipy.integrate import solve_bvp
from sklearn.datasets import make_moons

import landform as lf

SIGMA, RHO = 0.15, 1e-3
FINE = np.linspace(0.0, 1.0, 2001)


def pairs_of(points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random pairs of distinct data points."""
    rng = np.random.default_rng(0)
    rows = np.array([rng.choice(len(points), 2, replace=False) for _ in range(count)])
    return points[rows[:, 0]], points[rows[:, 1]]


def timed(function):
    """Result, seconds of the second call, and what the first took beyond it."""
    clock = time.perf_counter()
    jax.block_until_ready(function())
    first = time.perf_counter() - clock
    clock = time.perf_counter()
    result = jax.block_until_ready(function())
    run = time.perf_counter() - clock
    return result, run, first - run


def length(metric, curve: np.ndarray) -> float:
    """Length of a finely sampled curve by the midpoint rule."""
    middle, step = 0.5 * (curve[1:] + curve[:-1]), np.diff(curve, axis=0)
    inverse = np.array(jax.vmap(metric.local_variance)(jax.numpy.asarray(middle)))
    return float(np.sum(np.sqrt(np.sum(step**2 / inverse, axis=1))))


def by_landform(metric, x, y):
    """All pairs in one call."""
    found, run, compiled = timed(lambda: lf.geodesic(metric, x, y, throw=False))
    curves = np.asarray(found.curve(FINE))
    return [length(metric, c) for c in curves], np.asarray(found.converged), run, compiled


def by_scipy(metric, x, y):
    """`solve_bvp` on the geodesic equation, vectorised over its mesh, pair after pair."""
    field = jax.jit(jax.vmap(metric.acceleration))

    def right(t, state):
        d = state.shape[0] // 2
        position, velocity = state[:d].T, state[d:].T
        size = 1 << (len(t) - 1).bit_length()  # a few shapes, a few compilations
        pad = ((0, size - len(t)), (0, 0))
        bent = field(np.pad(position, pad, mode="edge"), np.pad(velocity, pad, mode="edge"))
        return np.vstack([velocity.T, np.asarray(bent)[: len(t)].T])

    def solve():
        lengths, fine = [], []
        mesh = np.linspace(0.0, 1.0, 30)
        for a, b in zip(x, y, strict=True):
            guess = np.vstack(
                [np.outer(a, 1 - mesh) + np.outer(b, mesh), np.outer(b - a, 1 + 0 * mesh)]
            )

            def ends(start, end, a=a, b=b):
                return np.concatenate([start[: len(a)] - a, end[: len(b)] - b])

            found = solve_bvp(right, ends, mesh, guess, tol=1e-3, max_nodes=1000)
            lengths.append(length(metric, found.sol(FINE)[: len(a)].T))
            fine.append(found.success)
        return np.array(lengths), np.array(fine)

    (lengths, success), run, compiled = timed(solve)
    return lengths, success, run, compiled


def by_stochman(metric, x, y):
    """stochman's local-variance metric and cubic curves, with its own defaults, in one batch."""
    import torch
    from stochman.manifold import LocalVarMetric

    data = torch.tensor(np.asarray(metric.data))
    torch.set_default_dtype(torch.float64)
    manifold = LocalVarMetric(data, SIGMA, RHO)
    ends = torch.tensor(x), torch.tensor(y)

    def solve():
        curve, success = manifold.connecting_geodesic(*ends)
        with torch.no_grad():
            fine = curve(torch.tensor(FINE)).numpy()
        return np.array([length(metric, c) for c in fine]), np.atleast_1d(np.asarray(success))

    (lengths, success), run, compiled = timed(solve)
    return lengths, np.broadcast_to(success, len(x)), run, compiled


def main():
    """Run the comparison and print one row for each solver."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--stochman", action="store_true", help="compare with stochman as well")
    options = parser.parse_args()
    data = make_moons(options.points, noise=0.1, random_state=0)[0]
    metric = lf.LocalVariance(data, SIGMA, RHO)
    x, y = pairs_of(data, options.pairs)
    solvers = {"landform": by_landform, "scipy solve_bvp": by_scipy}
    if options.stochman:
        solvers["stochman"] = by_stochman
    rows = {name: solver(metric, x, y) for name, solver in solvers.items()}
    best = np.min([row[0] for row in rows.values()], axis=0)
    fastest = rows["landform"][2]
    print(f"{options.points} points, {options.pairs} pairs; load {os.getloadavg()[0]:.1f}")
    print(
        f"{'solver':16} {'run s':>8} {'ratio':>7} {'compile':>8}  length / best: median 90% worst"
        "   success (false)"
    )
    for name, (lengths, success, run, compiled) in rows.items():
        ratio = np.asarray(lengths) / best
        false = int(np.sum(np.asarray(success) & (ratio > 1.001)))
        print(
            f"{name:16} {run:8.3f} {run / fastest:7.1f} {compiled:8.2f}  "
            f"{np.median(ratio):19.4f} {np.quantile(ratio, 0.9):.4f} {ratio.max():.4f}"
            f"   {int(np.sum(success)):7d} ({false})"
        )


if __name__ == "__main__":
    main()
