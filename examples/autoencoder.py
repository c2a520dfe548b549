"""A plain autoencoder: no uncertainty of its own, so one is fitted, or read off an ensemble.

    python examples/autoencoder.py

Trains an encoder with a decoder on scikit-learn's digits, and four more decoders from other seeds
on the same codes. The pull-back of one decoder knows nothing of where the data are; with a radial
basis precision fitted to the residuals, or with the ensemble's disagreement, empty space is dear.
Prints how both uncertainties grow off the data, and how far geodesics of the three metrics stray
from the codes.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import landform as lf
from landform.models import MLP


def adam(loss, params, steps, rate=3e-3):
    """Minimise a function of a pytree; one compiled scan."""
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))

    def step(carry, _):
        params, state = carry
        change, state = optimizer.update(jax.grad(loss)(params), state)
        return (optax.apply_updates(params, change), state), None

    run = eqx.filter_jit(lambda p: jax.lax.scan(step, (p, optimizer.init(p)), None, steps)[0][0])
    return run(params)


def square(decoder, codes, data):
    return jnp.mean((jax.vmap(decoder)(codes) - data) ** 2)


def fit_precision(decoder, codes, data, key, steps):
    """`RBFPrecision` of maximum likelihood, the decoder left as it is; W = exp(·) stays ≥ 0."""
    residuals = np.asarray(data - jax.vmap(decoder)(codes))
    start = lf.RBFPrecision.from_codes(
        codes,
        data.shape[1],
        key=key,
        num_centers=30,
        bandwidth_rule="pooled",
        std=residuals.std() + 1e-3,
    )

    def precision(logs):
        return eqx.tree_at(lambda p: p.weights, start, jnp.exp(logs))

    def loss(logs):
        beta = jax.vmap(precision(logs))(codes)
        return 0.5 * jnp.mean(beta * (residuals**2 + 1e-4) - jnp.log(beta))

    return precision(adam(loss, jnp.log(start.weights), steps, rate=3e-2))


def run(per_class=100, steps=1500, pairs=20, members=5, seed=0) -> dict[str, float]:
    """Train, measure, and return the numbers."""
    digits = lf.datasets.load("digits", classes=(0, 1, 2), per_class=per_class)
    data = jnp.asarray(digits.X.reshape(len(digits.X), -1))
    keys = jax.random.split(jax.random.key(seed), members + 2)
    pair = (MLP(keys[0], (64, 32, 2)), MLP(keys[1], (2, 32, 64)))

    def loss(parts):
        codes = jax.vmap(parts[0])(data)
        return square(parts[1], codes, data) + 1e-3 * jnp.mean(codes**2)

    encoder, decoder = adam(loss, pair, steps)
    codes = jax.vmap(encoder)(data)
    others = [
        adam(lambda f: square(f, codes, data), MLP(key, (2, 32, 64)), steps)
        for key in keys[2 : members + 1]
    ]
    precision = fit_precision(decoder, codes, data, keys[-1], steps // 5)

    points = np.asarray(codes)
    ensemble = lf.EnsemblePullback([decoder, *others], landmarks=points)
    metrics = {
        "one decoder": lf.Pullback(decoder, landmarks=points),
        "with RBF": lf.ExpectedPullback(decoder, precision.std, landmarks=points),
        "ensemble": ensemble,
    }
    spread = jax.vmap(lambda z: jnp.mean(ensemble.moments(z)[1]))
    ring = points.mean(axis=0) + 1.5 * np.ptp(points, axis=0) * np.stack(
        [np.cos(np.arange(12)), np.sin(np.arange(12))], axis=1
    )
    rows = np.random.default_rng(seed).integers(len(points), size=(2, pairs))
    x, y = points[rows[:, rows[0] != rows[1]]]
    numbers = {
        "mean squared error of a pixel": float(square(decoder, codes, data)),
        "variance of a pixel": float(jnp.mean(jnp.var(data, axis=0))),
        "RBF deviation, off over on the data": float(
            jax.vmap(precision.std)(ring).mean() / jax.vmap(precision.std)(codes).mean()
        ),
        "ensemble deviation, off over on": float(spread(ring).mean() / spread(codes).mean()),
    }
    for name, metric in metrics.items():
        found = lf.geodesic(metric, x, y, accuracy=1e-3, throw=False)
        good = np.asarray(found.converged)
        line = np.asarray(lf.curve_length(metric, np.stack([x, y], axis=1), order=64))
        gaps = np.linalg.norm(np.asarray(found.points)[good][:, :, None] - points, axis=-1)
        numbers[f"converged, {name}"] = float(good.mean())
        numbers[f"least straight over geodesic, {name}"] = float(
            np.min(line[good] / found.length[good])
        )
        numbers[f"mean distance to a code, {name}"] = float(gaps.min(axis=-1).mean())
    return numbers


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for name, value in run().items():
        print(f"{name:<44}{value:9.4f}")
