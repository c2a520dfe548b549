"""LAND against the paper's algorithm and against Gaussian mixtures, in one run.

    python benchmarks/land.py [--only one mixture growth] [--large]

Times are CPU seconds of the second call; compile time is what the first took beyond it. The paper's
algorithm runs inside landform, on the same rays and geodesics as ours, so that only the steps
differ. Quality is the objective (negative log-likelihood per point against dM, ours against theirs)
and, beside a Gaussian mixture, the log-density of other points against Lebesgue measure.
"""

import argparse
import os
import resource
import time
import warnings

os.environ.setdefault("JAX_ENABLE_X64", "1")

import numpy as np
from paper_land import fit_by_the_paper
from sklearn.datasets import make_moons
from sklearn.mixture import GaussianMixture

import landform as lf


def half_moon(n: int, seed: int = 0) -> np.ndarray:
    """One of two moons, n points."""
    X, y = make_moons(2 * n, noise=0.1, random_state=seed)
    return X[y == 0]


def moons(n: int, seed: int = 0) -> np.ndarray:
    """Both moons, n points."""
    return make_moons(n, noise=0.1, random_state=seed)[0]


def sphere_band(n: int, d: int, seed: int = 0) -> np.ndarray:
    """A curved cloud in d dimensions: an arc of the first two, noise in all."""
    rng = np.random.default_rng(seed)
    angle = np.pi * rng.random(n)
    arc = np.zeros((n, d))
    arc[:, 0], arc[:, 1] = np.cos(angle), np.sin(angle)
    return arc + 0.1 * rng.standard_normal((n, d))


def metric_of(X) -> lf.LocalVariance:
    """The metric of a cloud by the rules."""
    sigma = lf.auto_sigma(X)
    return lf.LocalVariance(X, sigma, lf.auto_rho(X, sigma))


def clocked(function):
    """The result with its CPU seconds."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def twice(function):
    """The result, CPU seconds of the second call, and what the first took beyond it."""
    first = clocked(function)[1]
    result, run = clocked(function)
    return result, run, first - run


def line(name: str, run: float, compiled: float, *rest: str) -> None:
    """One row of a table."""
    print(f"{name:<34} {run:8.2f} s  compile {compiled:6.1f} s  {'  '.join(rest)}", flush=True)


def one() -> None:
    """One component on a half-moon: ours and the paper's steps, to convergence or 500 steps."""
    print("\none component, half-moon, n = 100")
    X = half_moon(100)
    for label, metric in (
        ("rule", metric_of(X)),
        ("σ .15 ρ .001", lf.LocalVariance(X, 0.15, 1e-3)),
    ):
        fits = {
            "bfgs": lambda m=metric: lf.fit_land(m, X, throw=False),
            "paper": lambda m=metric: fit_by_the_paper(m, X)[0],
        }
        for algorithm, fit in fits.items():
            land, run, compiled = twice(fit)
            objective = np.asarray(land.history["objective"])
            line(
                f"{label}, {algorithm}",
                run,
                compiled,
                f"{len(objective) - 1} steps",
                f"objective {objective[-1]:.4f} ± {float(land.normalizer_stderr):.0e}",
            )


def mixture() -> None:
    """Two components on two moons, beside a Gaussian mixture."""
    print("\ntwo components, two moons, n = 200; log-density of 1000 other points")
    X, test = moons(200), moons(1000, 1)
    model, run, compiled = twice(lambda: lf.fit_land_mixture(metric_of(X), X, 2, throw=False))
    density = np.asarray(model.log_prob(test, "lebesgue", throw=False))
    line("LAND", run, compiled, f"{np.nanmean(density):.3f}", f"{int(model.n_failed)} failures")
    peer, run, compiled = twice(lambda: GaussianMixture(2, n_init=5, random_state=0).fit(X))
    line("GaussianMixture", run, compiled, f"{peer.score(test):.3f}")


def growth(large: bool) -> None:
    """Time against the number of points, of dimensions, of components and of directions."""
    print("\none component, half-moon, growth with n")
    for n in (100, 400, 1600, *((10_000,) if large else ())):
        X = half_moon(n)
        line(
            f"n = {n}", *twice(lambda X=X: lf.fit_land(metric_of(X), X, throw=False))[1:], memory()
        )
    print("\none component, n = 100, growth with d")
    for d in (1, 2, 3, 5):
        X = sphere_band(100, max(d, 2))[:, :d]
        line(
            f"d = {d}",
            *twice(lambda X=X: lf.fit_land(metric_of(X), X, n_directions=256, throw=False))[1:],
        )
    X = moons(200)
    print("\ntwo moons, n = 200, growth with K")
    for count in (1, 2, 4):
        line(
            f"K = {count}",
            *twice(lambda k=count: lf.fit_land_mixture(metric_of(X), X, k, throw=False))[1:],
        )
    X = half_moon(100)
    print("\none component, half-moon, n = 100, growth with directions")
    for count in (64, 256, 1024):
        land, run, compiled = twice(
            lambda s=count: lf.fit_land(metric_of(X), X, n_directions=s, throw=False)
        )
        line(f"{count} directions", run, compiled, f"stderr {float(land.normalizer_stderr):.0e}")


def memory() -> str:
    """The largest memory the process has had."""
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB"


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=["one", "mixture", "growth"])
    parser.add_argument("--large", action="store_true", help="with n = 10,000")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    parts = {"one": one, "mixture": mixture, "growth": lambda: growth(options.large)}
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    for name in options.only or parts:
        parts[name]()


if __name__ == "__main__":
    main()
