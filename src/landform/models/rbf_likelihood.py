"""Maximum likelihood of the RBF weights by minorize–maximize steps, with early stopping."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core.arrays import to_jax
from landform._core.checks import host_rng
from landform._core.module import AbstractModule
from landform._core.status import ConvergenceError
from landform._core.typing import Array, Float, PRNGKeyArray
from landform.models.rbf import RBFPrecision, even_weights, kmeans_centers, rbf_bandwidths
from landform.models.training import Training
from landform.models.vae import VAE, posterior_at

_CHUNK_ROWS = 1024
_MIN_DRAWS = 4096  # latent draws that W is fitted to; few data points get several each
_CHECK_EVERY = 10
_MIN_GAIN = 1e-2  # nats on the held-out data; stop if a round of steps gains less


class Draws(NamedTuple):
    """Draws of q(z | x), fixed once, in chunks of equal size with a mask."""

    codes: np.ndarray  # (chunks, rows, d)
    data: np.ndarray  # (chunks, rows, D)
    mask: np.ndarray  # (chunks, rows)
    kl: float
    means: np.ndarray  # (n, d)


def draw(vae: VAE, data: np.ndarray, key: PRNGKeyArray) -> Draws:
    """One to eight draws for each data point, more where there are few."""
    mean, std = (np.asarray(part) for part in posterior_at(vae.encoder, to_jax(data)))
    repeats = int(np.clip(-(-_MIN_DRAWS // len(data)), 1, 8))
    noise = host_rng(key).standard_normal((repeats, *mean.shape))
    codes = (mean + std * noise).reshape(-1, mean.shape[1])
    count = len(codes)
    rows = min(_CHUNK_ROWS, count)

    def pack(array):
        padded = np.concatenate([array, np.zeros((-count % rows, *array.shape[1:]))])
        return padded.reshape(-1, rows, *array.shape[1:])

    kl = 0.5 * np.sum(mean**2 + std**2 - 1.0 - 2.0 * np.log(std), axis=1).mean()
    tiled = np.tile(data, (repeats, 1))
    return Draws(pack(codes), pack(tiled), pack(np.ones(count)), float(kl), mean)


class Statistics(AbstractModule):
    """All that the likelihood of W needs: the basis functions V at the draws, and Vᵀr²."""

    features: Float[Array, "chunks rows k"]
    mask: Float[Array, "chunks rows"]
    moments: Float[Array, "D k"]
    total: Float[Array, " D"]

    @property
    def mean_square(self) -> Float[Array, " D"]:
        """Mean squared residual of each output."""
        return self.total / jnp.sum(self.mask)


@eqx.filter_jit
def statistics(mean, centers, bandwidths, draws: Draws, floor) -> Statistics:
    """One pass over the draws; memory of one chunk times the outputs, for any number of draws."""

    def add(total, item):
        codes, data, mask = item
        gaps = jnp.sum((codes[:, None, :] - centers) ** 2, axis=-1)
        features = mask[:, None] * jnp.exp(-bandwidths * gaps)
        squares = mask[:, None] * ((data - jax.vmap(mean)(codes)) ** 2 + floor**2)
        moments, squared = total
        return (moments + squares.T @ features, squared + jnp.sum(squares, axis=0)), features

    size, count = draws.data.shape[-1], centers.shape[0]
    zero = (jnp.zeros((size, count), centers.dtype), jnp.zeros(size, centers.dtype))
    items = tuple(to_jax(part) for part in draws[:3])
    (moments, total), features = jax.lax.scan(add, zero, items)
    return Statistics(features, items[2], moments, total)


def log_likelihood_of_weights(weights, zeta, data: Statistics):
    """Mean over the draws of ``Σ_d log N(x_d; μ_d, 1/β_d)``."""

    def add(total, item):
        features, mask = item
        return total + jnp.sum(mask * jnp.sum(jnp.log(features @ weights.T + zeta), axis=1)), None

    logs, _ = jax.lax.scan(add, jnp.zeros((), weights.dtype), (data.features, data.mask))
    squares = jnp.sum(weights * data.moments) + jnp.sum(zeta * data.total)
    constant = data.total.size * jnp.log(2.0 * jnp.pi)
    return 0.5 * ((logs - squares) / jnp.sum(data.mask) - constant)


@eqx.filter_jit
def climb(weights, zeta, train: Statistics, held: Statistics, steps):
    """`steps` updates ``W ← W · (Vᵀβ⁻¹) / (Vᵀr²)``, and the likelihoods after them.

    Each update maximizes a minorant of the likelihood (Jensen's inequality on the logarithm), so
    that the training likelihood never falls; W stays ≥ 0 because all factors are.
    """
    denominator = jnp.maximum(train.moments, jnp.finfo(weights.dtype).tiny)

    def update(_, weights):
        def add(total, features):
            return total + (1.0 / (features @ weights.T + zeta)).T @ features, None

        numerator, _ = jax.lax.scan(add, jnp.zeros_like(weights), train.features)
        return weights * numerator / denominator

    weights = jax.lax.fori_loop(0, steps, update, weights)
    fitted = log_likelihood_of_weights(weights, zeta, train)
    return weights, fitted, log_likelihood_of_weights(weights, zeta, held)


def climb_rbf(
    vae: VAE,
    train,
    held,
    floor: float,
    key: PRNGKeyArray,
    training: Training,
    max_iter: int,
) -> tuple[RBFPrecision, np.ndarray]:
    """Centers by k-means of the encoded means, then W of maximum likelihood.

    Returns
    -------
    precision, bounds
        The iterate with the best held-out likelihood, and the bounds (training, held out) at each
        check.
    """
    train_key, held_key, center_key = jax.random.split(key, 3)
    inner_draws, outer_draws = draw(vae, train, train_key), draw(vae, held, held_key)
    centers, labels = kmeans_centers(inner_draws.means, training.num_centers, center_key)
    bandwidths = rbf_bandwidths(
        inner_draws.means,
        labels,
        centers,
        bandwidth_scale=training.bandwidth_scale,
        bandwidth_rule=training.bandwidth_rule,
    )
    inner = statistics(vae.mean, to_jax(centers), bandwidths, inner_draws, to_jax(floor))
    outer = statistics(vae.mean, to_jax(centers), bandwidths, outer_draws, to_jax(0.0))
    residual = np.sqrt(np.asarray(inner.total) / inner_draws.mask.sum())
    max_std = 10.0 * residual.max() if training.max_std is None else training.max_std
    weights = even_weights(inner_draws.means, centers, bandwidths, residual)
    best = start = RBFPrecision(centers, bandwidths, weights, max_std)
    zeta = to_jax(np.full(len(residual), float(max_std) ** -2.0))
    weights, bounds, best_value = start.weights, [], -np.inf
    for done in range(0, max_iter, _CHECK_EVERY):
        steps = jnp.asarray(min(_CHECK_EVERY, max_iter - done))
        weights, fitted, value = climb(weights, zeta, inner, outer, steps)
        bounds.append([float(fitted) - inner_draws.kl, float(value) - outer_draws.kl])
        if not np.isfinite(bounds[-1]).all():
            raise ConvergenceError(
                "fitting the RBF precision failed: its likelihood is not finite; raise min_std",
                best,
            )
        gain = bounds[-1][1] - best_value
        if gain > 0.0:
            best, best_value = RBFPrecision(centers, bandwidths, weights, max_std), bounds[-1][1]
        if gain < _MIN_GAIN:
            break
    return best, np.asarray(bounds)
