"""Geodesics beside other solvers and beside the floor, on the same input in one run.

    python benchmarks/geodesics.py [--only moons ...] [--peers] [--pairs 100]

Every curve is measured again by one fine quadrature, and its length is compared with the best that
any solver found for that pair. Times are of calls after the first, the least of five for landform
and of one for the others; compile time is what the first took beyond them. The floor is what the
metric evaluations of the solve cost as bare matrix products: all points at which it evaluated the
metric or the Jacobian, refinements and certificates included, each at the price of the products of
one first derivative.
"""

import argparse
import os
import time

os.environ.setdefault("JAX_ENABLE_X64", "1")

import equinox as eqx
import geodesic_peers as peers
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import make_moons

import landform as lf

SIGMA, RHO = 0.15, 1e-3
REPEATS = 5  # of landform, as of the floor; the others are timed once
FINE = np.linspace(0.0, 1.0, 2001)


def load() -> str:
    """The machine's load, to stand beside every table."""
    return f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores"


def pairs_of(points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random pairs of distinct data points."""
    rng = np.random.default_rng(0)
    rows = np.array([rng.choice(len(points), 2, replace=False) for _ in range(count)])
    return points[rows[:, 0]], points[rows[:, 1]]


def clocked(function):
    """The result with its seconds, on the wall and of all cores."""
    wall, cores = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(function())
    return result, time.perf_counter() - wall, time.process_time() - cores


def twice(function, repeats: int = 1):
    """Result and least seconds of the calls after the first, and what that took beyond them."""
    first = clocked(function)[1]
    result, run, cores = min((clocked(function) for _ in range(repeats)), key=lambda one: one[1])
    return result, run, cores, first - run


def once(function):
    """A row of another solver, which compiles nothing or has done so."""
    (curves, success), run, cores = clocked(function)
    return curves, success, run, cores, 0.0


def bare(function, *args) -> float:
    """The least seconds of a compiled call among several."""
    compiled = jax.jit(function)
    jax.block_until_ready(compiled(*args))
    return min(clocked(lambda: compiled(*args))[1] for _ in range(20))


def table(rows: dict, measure, floor: float):
    """Print one row a solver; rows hold curves, success, seconds, core seconds, compile seconds."""
    lengths = {name: np.array([measure(c) for c in row[0]]) for name, row in rows.items()}
    best = np.min(list(lengths.values()), axis=0)
    ours = rows["landform"][2]
    print(
        f"{'solver':16} {'wall s':>8} {'core s':>8} {'ratio':>7} {'compile':>8}"
        "  length / best: median 90% worst   success (false)"
    )
    for name, (_, success, run, cores, compiled) in rows.items():
        ratio = lengths[name] / best
        false = int(np.sum(np.asarray(success) & (ratio > 1.001)))
        print(
            f"{name:16} {run:8.3f} {cores:8.3f} {run / ours:7.1f} {compiled:8.2f}  "
            f"{np.median(ratio):19.4f} {np.quantile(ratio, 0.9):.4f} {ratio.max():.4f}"
            f"   {int(np.sum(success)):7d} ({false})"
        )
    print(f"{'floor':16} {floor:8.3f} {'':8} {floor / ours:7.2f}", flush=True)


def solved(metric, x, y):
    """A row of landform, its number of iterations and of evaluated points."""
    found, run, cores, compiled = twice(lambda: lf.geodesic(metric, x, y, throw=False), REPEATS)
    curves = np.asarray(found.curve(FINE))
    row = (curves, np.asarray(found.converged), run, cores, compiled)
    return row, *(int(np.sum(found.stats[name])) for name in ("iterations", "evaluations"))


def moons(options):
    """Two moons with LAND's metric: 200 and 1000 data points, single pairs, compile time."""
    for count in options.points:
        data = make_moons(count, noise=0.1, random_state=0)[0]
        metric = lf.LocalVariance(data, SIGMA, RHO)
        x, y = pairs_of(data, options.pairs)
        rows = {}
        rows["landform"], iterations, points_seen = solved(metric, x, y)

        def evaluate(points, data=data):
            square = (points[:, :1] - data[:, 0]) ** 2 + (points[:, 1:] - data[:, 1]) ** 2
            powers = data[:, :1] ** jnp.arange(5), data[:, 1:] ** jnp.arange(5)
            monomials = [
                a[:, i] * b[:, j] for a, b in [powers] for i in range(5) for j in range(5 - i)
            ]
            return jnp.exp(square * (-0.5 / SIGMA**2)) @ jnp.stack(monomials, axis=1)

        points = jnp.asarray(np.resize(data, (512, 2)))
        floor = bare(evaluate, points) / 512 * points_seen
        if options.peers:

            def by_bvp(metric=metric, x=x, y=y):
                return peers.bvp_curves(metric, x, y, FINE)

            peers.bvp_curves(metric, x[:2], y[:2], FINE)
            rows["scipy solve_bvp"] = once(by_bvp)
        if options.peers and peers.installed("stochman", "torch"):
            manifold = peers.stochman_local_variance(metric)

            def by_stochman(manifold=manifold, x=x, y=y):
                return peers.stochman_curves(manifold, x, y, FINE)

            rows["stochman"] = once(by_stochman)
        print(f"\ntwo moons, {count} points, {len(x)} pairs, {iterations} iterations; {load()}")
        lengths = eqx.filter_jit(lambda m, c: lf.curve_length(m, c, order=1))

        table(rows, lambda c, m=metric, f=lengths: float(f(m, jnp.asarray(c))), floor)
        first = clocked(lambda m=metric, a=x, b=y: lf.geodesic(m, a[0], b[0], throw=False))[1]
        single = [
            clocked(lambda m=metric, a=a, b=b: lf.geodesic(m, a, b, throw=False))[1]
            for a, b in zip(x[:50], y[:50], strict=True)
        ]
        print(
            f"one pair: first {first:.2f} s, then median {np.median(single) * 1e3:.1f} ms, "
            f"90% {np.quantile(single, 0.9) * 1e3:.1f} ms"
        )


class Generator(eqx.Module):
    """The decoder of the comparison: mean and standard deviation as one pair."""

    w: dict[str, jax.Array]

    def __call__(self, z):
        """Mean by two hidden layers of 64 tanh, deviation by 64 radial functions."""
        w = self.w
        hidden = jnp.tanh(z @ w["a1"] + w["b1"])
        hidden = jnp.tanh(hidden @ w["a2"] + w["b2"])
        square = jnp.sum((z - w["centers"]) ** 2, axis=-1)
        precision = jnp.exp(-w["rate"] * square) @ w["precision"] + w["floor"]
        return hidden @ w["a3"] + w["b3"], 1.0 / jnp.sqrt(precision)


def decoder(options):
    """A decoder 2–64–64–784 with a deviation that grows off the data, against stochman."""
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(400, 2))
    shapes = {"a1": (2, 64), "a2": (64, 64), "a3": (64, 784)}
    weights = {name: rng.normal(size=s) * 1.5 / np.sqrt(s[0]) for name, s in shapes.items()}
    weights |= {"b1": rng.normal(size=64), "b2": rng.normal(size=64), "b3": rng.normal(size=784)}
    weights |= {"centers": codes[:64], "precision": rng.uniform(0.0, 1.0, (64, 784))}
    weights |= {"rate": np.array(4.0), "floor": np.array(0.05)}
    metric = lf.ExpectedPullback(Generator({k: jnp.asarray(v) for k, v in weights.items()}))
    x, y = pairs_of(codes, options.pairs)
    rows = {}
    rows["landform"], iterations, points_seen = solved(metric, x, y)
    rows["with landmarks"] = solved(lf.ExpectedPullback(metric.mean, landmarks=codes), x, y)[0]
    embed = jax.jit(jax.vmap(metric.embed))

    def length(curve):
        return float(jnp.sum(jnp.linalg.norm(jnp.diff(embed(jnp.asarray(curve)), axis=0), axis=1)))

    if options.peers and peers.installed("stochman", "torch"):
        manifold = peers.stochman_decoder(weights)
        rows["stochman"] = once(lambda: peers.stochman_curves(manifold, x, y, FINE))

    def products(hidden, tangent, radial):
        values = hidden @ jnp.asarray(weights["a2"]), radial @ jnp.asarray(weights["precision"])
        slopes = tangent @ jnp.asarray(weights["a2"]), tangent @ jnp.asarray(weights["precision"])
        return *values, *slopes, hidden @ weights["a3"], tangent @ jnp.asarray(weights["a3"])

    one = bare(products, jnp.ones((512, 64)), jnp.ones((1024, 64)), jnp.ones((512, 64))) / 512
    print(f"\ndecoder 2-64-64-784, {len(x)} pairs, {iterations} iterations; {load()}")
    table(rows, length, one * points_seen)
    if "stochman" in rows:
        theirs = np.array([length(c) for c in rows["stochman"][0]])
        for name in ("landform", "with landmarks"):
            ours = np.array([length(c) for c in rows[name][0]])
            longer = int(np.sum(ours > theirs * (1 + 1e-6)))
            print(f"curves of {name} that are longer than stochman's: {longer}")


def exponential(options):
    """1000 exps from one point of two moons at 1e-8."""
    data = make_moons(200, noise=0.1, random_state=0)[0]
    metric, x = lf.LocalVariance(data, SIGMA, RHO), data[3]
    rng = np.random.default_rng(0)
    v = rng.normal(size=(1000, 2))
    norm = np.sqrt(np.einsum("na,ab,nb->n", v, lf.metric_tensor(metric, x), v))
    v *= (2.0 * np.abs(rng.normal(size=1000)) / norm)[:, None]
    exact = peers.scipy_exp(metric, x, v[:100], "DOP853", 1e-13)
    shot, run, cores, compiled = twice(lambda: lf.geodesic_ivp(metric, x, v, throw=False), REPEATS)
    error = np.linalg.norm(np.asarray(shot.point)[:100] - exact, axis=1)
    print(f"\n1000 exps on two moons; {load()}")
    print(f"{'integrator':24} {'wall s':>8} {'core s':>8} {'ratio':>7} {'compile':>8}  worst error")
    print(
        f"{'landform':24} {run:8.3f} {cores:8.3f} {1.0:7.1f} {compiled:8.2f}  {error.max():.1e}"
        f"   (estimated {float(np.max(shot.error)):.1e}, {int(np.sum(shot.status == 0))} converged)"
    )
    if options.peers:
        for method, tolerance in (("RK45", None), ("DOP853", 1e-10)):
            found, wall, cores = clocked(
                lambda m=method, t=tolerance: peers.scipy_exp(metric, x, v[:100], m, t)
            )
            error = np.linalg.norm(found - exact, axis=1)
            name = f"scipy {method} {tolerance or 'default'} × 10"
            print(
                f"{name:24} {wall * 10:8.3f} {cores * 10:8.3f} {wall * 10 / run:7.1f} {'':8}  "
                f"{error.max():.1e}",
                flush=True,
            )


def sphere(options):
    """Logarithms on the 2-sphere in its stereographic chart, 1000 pairs."""
    metric = lf.StereographicSphere(2)
    rng = np.random.default_rng(0)
    x, v = rng.normal(size=(2, 1000, 2)) * 0.5
    v *= rng.uniform(0.1, 2.0, (1000, 1)) / np.linalg.norm(v, axis=1, keepdims=True)
    v *= (1.0 + np.sum(x**2, axis=1, keepdims=True)) / 2.0
    y = np.asarray(metric.exact_exp(x, v))
    near = np.linalg.norm(y, axis=1) < 4.0
    x, y, v = x[near], y[near], v[near]
    found, run, cores, compiled = twice(lambda: lf.log(metric, x, y, throw=False), REPEATS)
    error = np.linalg.norm(np.asarray(found) - v, axis=1) / np.linalg.norm(v, axis=1)
    failed = int(np.sum(~np.isfinite(error)))
    error = error[np.isfinite(error)]
    print(f"\nlog on the 2-sphere, {len(x)} pairs, {failed} reported as failed; {load()}")
    print(
        f"landform   {run / len(x) * 1e3:8.3f} ms a pair ({cores / len(x) * 1e3:.3f} of cores), "
        f"compile {compiled:.2f} s, relative error median {np.median(error):.1e} "
        f"99% {np.quantile(error, 0.99):.1e} worst {error.max():.1e}"
    )
    if options.peers and peers.installed("geomstats", "torch"):
        space, gs = peers.geomstats_sphere()
        walls, errors = [], []
        for a, b, w in list(zip(x, y, v, strict=True))[:10]:
            out, wall, _ = clocked(
                lambda a=a, b=b: np.asarray(space.metric.log(gs.array(b), gs.array(a)))
            )
            walls.append(wall)
            errors.append(np.linalg.norm(out - w) / np.linalg.norm(w))
        print(
            f"geomstats  {np.median(walls) * 1e3:8.3f} ms a pair, ratio "
            f"{np.median(walls) / (run / len(x)):.0f}, relative error "
            f"median {np.median(errors):.1e} worst {np.max(errors):.1e}"
        )


PARTS = {"moons": moons, "decoder": decoder, "exp": exponential, "sphere": sphere}


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), default=list(PARTS))
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--points", nargs="+", type=int, default=[200, 1000], help="of two moons")
    parser.add_argument("--peers", action="store_true", help="run the other solvers as well")
    options = parser.parse_args()
    for name in options.only:
        PARTS[name](options)


if __name__ == "__main__":
    main()
