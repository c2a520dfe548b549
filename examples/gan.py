"""A generative adversarial network: no density and no encoder, but a critic.

    python examples/gan.py

Trains a generator against a critic on scikit-learn's digits. The pull-back of the generator makes
interpolations whose images change evenly, since a geodesic has constant speed in the data space.
It knows nothing of realism; the critic does, and multiplies the metric where it sees fakes. Prints
how even the steps are, and what the critic says along both kinds of geodesics.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import landform as lf
from landform.models import MLP


class Generator(eqx.Module):
    """A latent point to pixels in (0, 1)."""

    net: MLP

    def __call__(self, z):
        return jax.nn.sigmoid(self.net(z))


def train(data, key, latent_dim, steps, batch=64):
    """Both networks in turn by Adam on the non-saturating loss, noise added to all images."""
    keys = jax.random.split(key, 3)
    generator = Generator(MLP(keys[0], (latent_dim, 64, 64, data.shape[1])))
    critic = MLP(keys[1], (data.shape[1], 64, 32, 1))
    optimizer = optax.adam(1e-3, b1=0.5)

    def logits(critic, images, key):
        noisy = images + 0.2 * jax.random.normal(key, images.shape)
        return jax.vmap(critic)(noisy)[:, 0]

    def critic_loss(critic, fake, real, key):
        a, b = jax.random.split(key)
        return jnp.mean(
            jax.nn.softplus(-logits(critic, real, a)) + jax.nn.softplus(logits(critic, fake, b))
        )

    def generator_loss(generator, critic, z, key):
        return jnp.mean(jax.nn.softplus(-logits(critic, jax.vmap(generator)(z), key)))

    def step(carry, key):
        generator, critic, one, two = carry
        a, b, c, d = jax.random.split(key, 4)
        z = jax.random.normal(a, (batch, latent_dim))
        real = data[jax.random.randint(b, (batch,), 0, len(data))]
        slope = jax.grad(critic_loss)(critic, jax.vmap(generator)(z), real, c)
        change, one = optimizer.update(slope, one)
        critic = optax.apply_updates(critic, change)
        change, two = optimizer.update(jax.grad(generator_loss)(generator, critic, z, d), two)
        return (optax.apply_updates(generator, change), critic, one, two), None

    start = (generator, critic, optimizer.init(critic), optimizer.init(generator))
    run = eqx.filter_jit(lambda s: jax.lax.scan(step, s, jax.random.split(keys[2], steps))[0])
    return run(start)[:2]


def unevenness(images):
    """Largest over mean step of the frames of each film, shape (n, T, D)."""
    steps = np.linalg.norm(np.diff(np.asarray(images), axis=1), axis=-1)
    return steps.max(axis=1) / steps.mean(axis=1)


def run(per_class=170, steps=2000, latent_dim=2, pairs=12, seed=0) -> dict[str, float]:
    """Train, measure, and return the numbers."""
    digits = lf.datasets.load("digits", classes=(0, 1, 2), per_class=per_class)
    data = jnp.asarray(digits.X.reshape(len(digits.X), -1))
    generator, critic = train(data, jax.random.key(seed), latent_dim, steps)
    z = np.random.default_rng(seed).normal(size=(300, latent_dim))
    images = jax.vmap(generator)(jnp.asarray(z))
    gaps = np.linalg.norm(np.asarray(data)[:, None] - np.asarray(images)[None], axis=-1)
    apart = np.linalg.norm(np.asarray(data)[:, None] - np.asarray(data)[None], axis=-1)
    np.fill_diagonal(apart, np.inf)

    realism = lambda z: critic(generator(z))[0]  # noqa: E731
    metric = lf.Pullback(generator, landmarks=z)
    careful = lf.ConformalMetric.from_energy(
        lambda z: -realism(z), z, metric=metric, ratio=30.0, landmarks=z
    )
    x, y = z[:pairs], z[pairs : 2 * pairs]
    found = lf.geodesic(metric, x, y, accuracy=1e-3, throw=False)
    other = lf.geodesic(careful, x, y, accuracy=1e-3, throw=False)
    good = np.asarray(found.converged & other.converged)
    t = np.linspace(0.0, 1.0, found.points.shape[1])[None, :, None]
    straight = (x[:, None] + (y - x)[:, None] * t)[good]
    line = np.asarray(lf.curve_length(metric, np.stack([x, y], axis=1), order=64))
    draw = jax.jit(jax.vmap(jax.vmap(generator)))
    judge = lambda p: np.asarray(jax.vmap(jax.vmap(realism))(p)).min(axis=1).mean()  # noqa: E731
    return {
        "a fake's distance to the nearest digit": float(gaps.min(axis=0).mean()),
        "a digit's distance to the next one": float(apart.min(axis=1).mean()),
        "geodesics converged": float(np.mean(found.converged)),
        "careful ones converged": float(np.mean(other.converged)),
        "straight over geodesic length, least": float(np.min(line[good] / found.length[good])),
        "largest over mean step, straight": float(unevenness(draw(straight)).mean()),
        "largest over mean step, geodesic": float(unevenness(draw(found.points[good])).mean()),
        "lowest realism, straight": float(judge(straight)),
        "lowest realism, geodesic": float(judge(found.points[good])),
        "lowest realism, careful geodesic": float(judge(other.points[good])),
    }


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for name, value in run().items():
        print(f"{name:<40}{value:9.4f}")
