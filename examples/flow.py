"""A normalizing flow: its volume is the inverse of its density, and its geodesics are known.

    python examples/flow.py

Trains an invertible network on the first two principal components of scikit-learn's digits. A flow
x = f(z) pulls the flat data space back to its base space, so that √det M(z) = |det J(z)| =
p(z) / p(f(z)): the magnification is where the flow has few data. The space stays flat: a geodesic
is the straight line of the data space, and its length the Euclidean distance there, which checks
the solver. In the data space the flow's density makes a metric whose geodesics follow the data.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import landform as lf
from landform.models import MLP


class Coupling(eqx.Module):
    """Half of the coordinates scaled and moved by a function of the other half."""

    net: MLP
    turn: bool = eqx.field(static=True)

    def _parts(self, x):
        return (x[1:], x[:1]) if self.turn else (x[:1], x[1:])

    def _join(self, kept, moved):
        return jnp.concatenate([moved, kept] if self.turn else [kept, moved])

    def forward(self, z):
        kept, moved = self._parts(z)
        scale, shift = jnp.split(self.net(kept), 2)
        return self._join(kept, moved * jnp.exp(jnp.tanh(scale)) + shift)

    def backward(self, x):
        """The inverse, and log |det| of its Jacobian."""
        kept, moved = self._parts(x)
        scale, shift = jnp.split(self.net(kept), 2)
        z = self._join(kept, (moved - shift) * jnp.exp(-jnp.tanh(scale)))
        return z, -jnp.sum(jnp.tanh(scale))


class Flow(eqx.Module):
    """Couplings in a row, from the base to the data."""

    layers: tuple[Coupling, ...]

    def __call__(self, z):
        for layer in self.layers:
            z = layer.forward(z)
        return z

    def log_density(self, x):
        """log p(x), by the change of variables through the inverse."""
        total = 0.0
        for layer in reversed(self.layers):
            x, log_det = layer.backward(x)
            total = total + log_det
        return total + log_normal(x)

    def encode(self, x):
        for layer in reversed(self.layers):
            x, _ = layer.backward(x)
        return x


def log_normal(z):
    return -0.5 * jnp.sum(z**2) - 0.5 * z.size * jnp.log(2.0 * jnp.pi)


def train(data, key, steps, couplings=4):
    """Maximum likelihood by Adam on all data at once."""
    keys = jax.random.split(key, couplings)
    flow = Flow(tuple(Coupling(MLP(k, (1, 24, 2)), i % 2 == 1) for i, k in enumerate(keys)))
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, steps))

    def step(carry, _):
        flow, state = carry
        loss = lambda f: -jnp.mean(jax.vmap(f.log_density)(data))  # noqa: E731
        value, slope = jax.value_and_grad(loss)(flow)
        change, state = optimizer.update(slope, state)
        return (optax.apply_updates(flow, change), state), value

    run = jax.jit(lambda flow: jax.lax.scan(step, (flow, optimizer.init(flow)), None, steps))
    (flow, _), losses = run(flow)
    return flow, float(losses[-1])


def run(per_class=100, steps=500, pairs=12, seed=0) -> dict[str, float]:
    """Train, measure, and return the numbers."""
    digits = lf.datasets.load("digits", classes=(0, 1, 2), per_class=per_class)
    pixels = digits.X.reshape(len(digits.X), -1)
    axes = np.linalg.svd(pixels - pixels.mean(axis=0), full_matrices=False)[2][:2]
    data = jnp.asarray((pixels - pixels.mean(axis=0)) @ axes.T)
    data = data / jnp.std(data)
    flow, loss = train(data, jax.random.key(seed), steps)

    metric = lf.Pullback(flow, landmarks=jax.vmap(flow.encode)(data))
    codes = np.asarray(metric.landmarks())
    by_density = jax.vmap(log_normal)(codes) - jax.vmap(flow.log_density)(data)
    rows = np.random.default_rng(seed).integers(len(codes), size=(2, pairs))
    found = lf.geodesic(metric, codes[rows[0]], codes[rows[1]], accuracy=1e-5, throw=False)
    straight = np.linalg.norm(np.asarray(data)[rows[0]] - np.asarray(data)[rows[1]], axis=1)

    along = lf.ConformalMetric.from_density(flow.log_density, data, ratio=30.0)
    x, y = np.asarray(data)[rows]
    bent = lf.geodesic(along, x, y, accuracy=1e-3, throw=False)
    good = np.asarray(bent.converged)
    t = np.linspace(0.0, 1.0, bent.points.shape[1])[None, :, None]
    lines = x[:, None] + (y - x)[:, None] * t
    density = jax.vmap(jax.vmap(flow.log_density))
    gaussian = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * np.cov(np.asarray(data).T))[1]
    return {
        "negative log-likelihood, flow": loss,
        "negative log-likelihood, Gaussian": float(gaussian),
        "largest |log volume - log p(z)/p(x)|": float(
            np.abs(np.asarray(lf.log_volume(metric, codes)) - np.asarray(by_density)).max()
        ),
        "geodesics of the pull-back converged": float(np.mean(found.converged)),
        "largest error of a length": float(np.nanmax(np.abs(found.length / straight - 1.0))),
        "geodesics of the density converged": float(good.mean()),
        "lowest log-density along them": float(density(bent.points[good]).min(axis=1).mean()),
        "the same, straight lines": float(density(jnp.asarray(lines[good])).min(axis=1).mean()),
    }


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for name, value in run().items():
        print(f"{name:<40}{value:12.3g}")
