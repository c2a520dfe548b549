"""The local-variance metric as matrix products, against the sums as the paper writes them.

Both forms in one run and in double precision, compile time apart. Arvanitidis, Hansen and Hauberg
2016 (arXiv:1606.02518): M_jj(x) = 1 / (Σ_n w_n(x) (x_nj − x_j)² + ρ).
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

import landform as lf

SIGMA, RHO = 0.3, 1e-2


def as_written(x, data):
    """The diagonal of M at one point, from the differences to all data."""
    difference = data - x
    weights = jnp.exp(-jnp.sum(difference**2, axis=1) / (2 * SIGMA**2))
    return jnp.diag(1.0 / (weights @ difference**2 + RHO))


def timed(function, *args, repeats: int) -> tuple[jax.Array, float, float]:
    """The value, the time of the first call, and the median time of the later ones, in seconds."""
    start = time.perf_counter()
    value = jax.block_until_ready(function(*args))
    first = time.perf_counter() - start
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        times.append(time.perf_counter() - start)
    return value, first, float(np.median(times))


def main() -> None:
    """Print one line a size of the data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=10_000, help="points at which M is needed")
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    rng = np.random.default_rng(0)
    points = jnp.asarray(rng.normal(size=(options.points, 2)))
    naive = jax.jit(jax.vmap(as_written, in_axes=(0, None)))
    print(
        f"{'data':>6} {'as written':>12} {'landform':>12} {'ratio':>7} {'compile':>9} {'error':>9}"
    )
    for count in (200, 1000):
        data = jnp.asarray(rng.normal(size=(count, 2)))
        metric = lf.LocalVariance(data, sigma=SIGMA, rho=RHO)
        ours = jax.jit(lambda m, x: jax.vmap(m)(x))
        expected, _, slow = timed(naive, points, data, repeats=options.repeats)
        value, first, fast = timed(ours, metric, points, repeats=options.repeats)
        error = float(jnp.max(jnp.abs(value - expected) / (jnp.abs(expected) + RHO)))
        print(
            f"{count:>6} {slow * 1e3:>9.1f} ms {fast * 1e3:>9.1f} ms {slow / fast:>7.1f} "
            f"{first - fast:>7.2f} s {error:>9.1e}"
        )


if __name__ == "__main__":
    main()
