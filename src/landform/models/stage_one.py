"""Stage one of training: encoder and mean, with a constant variance, in single precision."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core.arrays import to_jax
from landform.models.loop import fit
from landform.models.networks import MLP, ConvDown, ConvUp
from landform.models.training import Training
from landform.models.units import enter, offsets_of
from landform.models.vae import (
    VAE,
    ConstantStd,
    Encoder,
    History,
    MeanDecoder,
    gaussian_kl,
    gaussian_log_density,
    posterior_at,
)


def _networks(key, shape, latent_dim: int, training: Training):
    """Encoder and decoder networks with fresh weights."""
    down_key, up_key = jax.random.split(key)
    size, hidden, activation = math.prod(shape), training.hidden, training.activation
    if training.architecture == "mlp":
        encoder = MLP(down_key, (size, *hidden, 2 * latent_dim), activation)
        return encoder, MLP(up_key, (latent_dim, *hidden[::-1], size), activation)
    image = (*shape, 1)[:3]
    encoder = ConvDown(down_key, image, hidden, 2 * latent_dim, activation)
    return encoder, ConvUp(up_key, latent_dim, hidden[::-1], image, activation)


def _assemble(nets, frame, output: str) -> tuple[Encoder, MeanDecoder]:
    center, spread, shift, scale = frame
    return Encoder(nets[0], center, spread), MeanDecoder(nets[1], shift, scale, output)


def _draw_bound(params, frame, batch, noise, output, reconstruct):
    (down, up, log_std), (offsets, floor) = params, frame
    encoder, mean = _assemble((down, up), offsets, output)
    code, spread = jax.vmap(encoder)(batch)
    draws = code + spread * noise
    std = jnp.sqrt(jnp.exp(2.0 * log_std) + floor**2)
    parts = jax.vmap(lambda x, z: reconstruct(mean, std, x, z))(batch, draws)
    return jnp.mean(parts), jnp.mean(jax.vmap(gaussian_kl)(code, spread))


def _gaussian(mean, std, x, z):
    return gaussian_log_density(x, mean(z), std)


def _bernoulli(mean, std, x, z):
    logits = mean.logits(z)
    return jnp.sum(x * logits - jax.nn.softplus(logits)) + 0.0 * std


def _gaussian_identity(params, frame, batch, noise):
    return _draw_bound(params, frame, batch, noise, "identity", _gaussian)


def _gaussian_sigmoid(params, frame, batch, noise):
    return _draw_bound(params, frame, batch, noise, "sigmoid", _gaussian)


def _bernoulli_sigmoid(params, frame, batch, noise):
    return _draw_bound(params, frame, batch, noise, "sigmoid", _bernoulli)


_BOUNDS = {
    ("gaussian", "identity"): _gaussian_identity,
    ("gaussian", "sigmoid"): _gaussian_sigmoid,
    ("bernoulli", "sigmoid"): _bernoulli_sigmoid,
}


def _fixed_std(params, frame, batch, noise):
    """The Gaussian bounds with the deviation among the fixed arrays instead of the trained ones."""
    bound, log_std, inner = frame
    return bound((*params, log_std), inner, batch, noise)


def _cast(tree, dtype):
    def one(leaf):
        return to_jax(np.asarray(leaf, dtype)) if eqx.is_inexact_array_like(leaf) else leaf

    return jax.tree.map(one, tree)


def fit_mean(
    train,
    held,
    held_mask,
    shape,
    latent_dim: int,
    keys,
    training: Training,
    *,
    progress,
    checkpoint=None,
) -> VAE:
    """Encoder and mean with a constant variance, in float32; the model in float64.

    `train` and `held` are flat rows of data of `shape`, `held_mask` says which of all rows are
    held out, and `training` has its `hidden` and `output` resolved.
    """
    output, stage_one_std = training.output, training.stage_one_std
    offsets = offsets_of(train, output)
    entry = enter(train, held, offsets, output)
    floor = 1e-3 * offsets[1] / entry.unit
    start = np.log((offsets[1] if stage_one_std is None else stage_one_std) / entry.unit)
    bound = _BOUNDS[training.likelihood, output]
    with jax.enable_x64(False):
        nets = _networks(keys[0], shape, latent_dim, training)
        small = _cast((entry.offsets, floor, start, entry.rows), jnp.float32)
        offsets32, floor32, start32, (train32, held32) = small
        if stage_one_std is None:
            params, frame = (*nets, start32), (offsets32, floor32)
        else:
            params, frame = nets, (bound, start32, (offsets32, 0.0 * floor32))
            bound = _fixed_std
        fitted = fit(
            bound,
            params,
            frame,
            train32,
            held32,
            key=keys[1],
            latent_dim=latent_dim,
            epochs=training.epochs,
            batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            warmup=training.warmup,
            patience=training.patience,
            label="stage one",
            progress=progress,
            checkpoint=checkpoint,
        )
    params = _cast(fitted.params, jnp.float64)
    log_std = float(params[2]) if stage_one_std is None else start
    std = np.sqrt(np.exp(2.0 * log_std) + (floor**2 if stage_one_std is None else 0.0))
    std, shift = entry.unit * std, train.shape[1] * np.log(entry.unit)  # back in the data's units
    encoder, mean = _assemble(params[:2], _cast(offsets, jnp.float64), output)
    constant = ConstantStd(to_jax(np.full(train.shape[1], std)))
    history = History(
        elbo=to_jax(fitted.train - shift),
        held_out_elbo=to_jax(fitted.held_out - shift),
        variance_elbo=to_jax(np.zeros(0)),
        variance_held_out_elbo=to_jax(np.zeros(0)),
        stopped_early=fitted.stopped_early,
        likelihood=training.likelihood,
        held_out=to_jax(held_mask.astype(np.float64)),
    )
    landmarks = to_jax(thin(posterior_at(encoder, train)[0], training.max_landmarks))
    return VAE(encoder, mean, constant, landmarks, history, shape, training.likelihood)


def thin(points, count: int) -> np.ndarray:
    """At most `count` points that cover all of them evenly: greedy farthest-point selection.

    Starts from the point nearest to the mean; O(n · count). Sparse bridges between clusters keep
    their points, which a random subset would lose.
    """
    cloud = np.asarray(points)
    if len(cloud) <= count:
        return cloud
    chosen = [int(np.argmin(np.linalg.norm(cloud - cloud.mean(axis=0), axis=1)))]
    distance = np.full(len(cloud), np.inf)
    for _ in range(count - 1):
        distance = np.minimum(distance, np.sum((cloud - cloud[chosen[-1]]) ** 2, axis=1))
        chosen.append(int(np.argmax(distance)))
    return cloud[chosen]
