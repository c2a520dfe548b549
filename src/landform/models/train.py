"""Training of variational autoencoders in two stages."""

import math
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core.arrays import precise, to_jax
from landform._core.checks import (
    as_count,
    as_floats,
    as_positive,
    check_choice,
    check_finite,
    check_key,
)
from landform._core.typing import PRNGKeyArray
from landform.models.checkpoint import Checkpoint, digest
from landform.models.loop import fit
from landform.models.networks import MLP, ConvDown, ConvUp, check_activation
from landform.models.units import enter, offsets_of
from landform.models.vae import (
    LIKELIHOODS,
    OUTPUTS,
    VAE,
    ConstantStd,
    Encoder,
    History,
    MeanDecoder,
    gaussian_kl,
    gaussian_log_density,
    posterior_at,
)
from landform.models.variance import VARIANCES, fit_variance_split, split, spread_of

ARCHITECTURES = ("mlp", "conv")
_FINEST = 1e-5  # smallest spread around which a sigmoid in float32 can be fitted
_HIDDEN = {"mlp": (64, 32), "conv": (16, 32)}


@precise
def train_vae(
    X,
    latent_dim: int = 2,
    *,
    key: PRNGKeyArray,
    architecture: str = "mlp",
    hidden=None,
    activation: str = "tanh",
    likelihood: str = "gaussian",
    output: str = "auto",
    variance: str = "rbf",
    num_centers: int = 64,
    a: float = 2.0,
    rule: str = "paper",
    max_std=None,
    min_std=None,
    stage_one_std=None,
    held_out: float = 0.1,
    epochs: int = 200,
    batch_size: int = 32,
    learning_rate: float = 5e-3,
    warmup: int = 20,
    patience: int = 40,
    max_landmarks: int = 1000,
    checkpoint=None,
    checkpoint_every: int = 10,
    progress: bool = False,
) -> VAE:
    """Train a variational autoencoder whose uncertainty grows away from the data.

    Stage one trains the encoder and the mean with a constant variance; stage two then fits the
    variance with both of them fixed (`fit_variance`), because a variance learned from the start
    spoils the mean.

    Parameters
    ----------
    X
        Data: ``(n, D)``, or images ``(n, H, W)`` or ``(n, H, W, C)``; at least 20 points.
    latent_dim
        Dimension d of the latent space, at least 1.
    key
        Key of everything random; one key gives one model.
    architecture
        ``"mlp"``, or ``"conv"`` for images (strided convolutions, transposed in the decoder).
    hidden
        Widths of the encoder's layers, (64, 32) as in the paper, or its channels, (16, 32); the
        decoder has them in reverse. ``()`` makes both affine.
    activation
        Smooth: tanh, softplus, gelu, silu, mish, sigmoid, sin. Kinked ones are refused.
    likelihood
        ``"gaussian"``, or ``"bernoulli"`` for data in [0, 1], of stage one and of the ELBO. The
        variance of stage two is that of the residuals with either.
    output
        Last activation of the mean: ``"identity"``, ``"sigmoid"`` for data in [0, 1], or
        ``"auto"``: a sigmoid exactly if all data are in [0, 1] (and vary by 1e-5 at least).
    variance
        ``"rbf"``, ``"network"`` or ``"constant"``, see `fit_variance`.
    num_centers, a, rule, max_std, min_std
        Of the variance, see `fit_variance`.
    stage_one_std
        Constant deviation of stage one; learned with the rest when None. Larger values pull the
        codes together.
    held_out
        Share of the data on which the ELBO chooses the best iterate.
    epochs, batch_size, learning_rate
        Of Adam, with a cosine schedule.
    warmup
        Epochs over which the KL term is turned on.
    patience
        Epochs without a better held-out ELBO after which training stops.
    max_landmarks
        Most encoded training points that the model keeps as the landmarks of its metric.
    checkpoint
        A file in which the state of the training is kept. A later call with the same data and
        arguments goes on from it, or returns at once if the training had ended, with bit for bit
        the model of a training without interruption. None keeps nothing.
    checkpoint_every
        Epochs between two writings; the file is replaced only when the new one is whole.
    progress
        Whether to draw a progress bar.

    Returns
    -------
    VAE
        The iterate with the best held-out ELBO, with `history`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or is out of range; names the argument. Also if
        `checkpoint` is of another training; says what differs.
    ConvergenceError
        If the loss becomes NaN.

    Notes
    -----
    Stage one runs in float32, which is twice as fast; the model is then converted, and stage two,
    decoding and all geometry are float64. Data enter centerd and divided by one number (their root
    mean variance), so that their units do not matter; in float64 where float32 would round off
    what varies, or not hold its square.

    Learning rate, batch size, epochs, warm-up and the floor `min_std` were chosen by the held-out
    ELBO alone, without labels, on 1500 of scikit-learn's 8 × 8 digits. Stage one, three seeds,
    batches of 64: 10.9, 13.9, 14.8 nats at rates of 1e-3, 3e-3, 1e-2; 12.0 without the warm-up.
    Five seeds at 5e-3: 13.0 with batches of 64, 14.4 with 32; twice the epochs change nothing.
    Stage two, four seeds: 41, 67, 64 nats for a floor of 1, 3, 5 % of the spread (the first
    overfits pixels that are nearly always empty); 66, 67, 64 for K = 32, 64, 128 and 66, 67, 67
    for a = 1.5, 2, 3, so that K and a stay the paper's.

    Arvanitidis, Hansen and Hauberg 2018 (arXiv:1710.11379), §4 and appendix.

    Examples
    --------
    >>> import jax, landform as lf
    >>> X = jax.random.normal(jax.random.key(0), (60, 4))
    >>> vae = lf.train_vae(X, 2, key=jax.random.key(1), hidden=(8,), epochs=2, num_centers=4)
    >>> lf.metric_tensor(vae.metric(), vae.encode(X)).shape
    (60, 2, 2)
    """
    data, shape = _check_data(X)
    output = _check_output(output, likelihood, data)
    hidden = _check_hidden(hidden, architecture, shape)
    check_choice("variance", variance, VARIANCES)
    activation = check_activation("activation", activation)
    counts = {
        "latent_dim": latent_dim,
        "epochs": epochs,
        "batch_size": batch_size,
        "patience": patience,
        "max_landmarks": max_landmarks,
        "checkpoint_every": checkpoint_every,
        "num_centers": num_centers,
    }
    latent_dim, epochs, batch_size, patience, max_landmarks, checkpoint_every, num_centers = (
        as_count(name, value) for name, value in counts.items()
    )
    warmup = as_count("warmup", warmup, 0)
    learning_rate = float(as_positive("learning_rate", learning_rate))
    a = float(as_positive("a", a))
    max_std, min_std, stage_one_std = (
        None if value is None else float(as_positive(name, value))
        for name, value in (
            ("max_std", max_std),
            ("min_std", min_std),
            ("stage_one_std", stage_one_std),
        )
    )
    check_key(key)
    narrowest = min((data.shape[1], *(hidden if architecture == "mlp" else ())))
    if latent_dim > narrowest:
        warnings.warn(
            f"latent_dim = {latent_dim} exceeds the {narrowest} outputs of the narrowest layer: "
            "the mean does not change along some latent directions, and its metric is singular",
            UserWarning,
            stacklevel=3,
        )
    kept = None
    if checkpoint is not None:
        told = {
            "latent_dim": latent_dim,
            "architecture": architecture,
            "hidden": hidden,
            "activation": activation,
            "likelihood": likelihood,
            "output": output,
            "variance": variance,
            "num_centers": num_centers,
            "a": a,
            "rule": rule,
            "max_std": max_std,
            "min_std": min_std,
            "stage_one_std": stage_one_std,
            "held_out": float(held_out),
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "warmup": warmup,
            "patience": patience,
            "key": jax.random.key_data(key).tolist(),
            "data": digest(data, shape),
        }
        kept = Checkpoint(checkpoint, {k: str(v) for k, v in told.items()}, checkpoint_every)
    split_key, net_key, fit_key, variance_key = jax.random.split(key, 4)
    rows, rows_held = split(data, held_out, split_key)
    train, held = data[rows], data[rows_held]
    vae = _stage_one(
        train,
        held,
        shape,
        net_key,
        fit_key,
        latent_dim=latent_dim,
        architecture=architecture,
        hidden=hidden,
        activation=activation,
        likelihood=likelihood,
        output=output,
        stage_one_std=stage_one_std,
        max_landmarks=max_landmarks,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        warmup=warmup,
        patience=patience,
        progress=progress,
        checkpoint=kept,
        held_mask=np.isin(np.arange(len(data)), rows_held),
    )
    return fit_variance_split(
        vae,
        train,
        held,
        key=variance_key,
        variance=variance,
        num_centers=num_centers,
        a=a,
        rule=rule,
        max_std=max_std,
        min_std=min_std,
        max_iter=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        progress=progress,
        checkpoint=kept,
    )


def _check_data(X) -> tuple[np.ndarray, tuple[int, ...]]:
    data = np.asarray(as_floats("X", X), np.float64)
    if data.ndim not in (2, 3, 4):
        raise ValueError(f"X must have shape (n, D), (n, H, W) or (n, H, W, C), got {data.shape}")
    if len(data) < 20:
        raise ValueError(f"X must have at least 20 points, got {len(data)}")
    if data[0].size == 0:
        raise ValueError(f"X must not be empty, got shape {data.shape}")
    check_finite("X", data)
    flat = data.reshape(len(data), -1)
    if (flat == flat[0]).all():
        raise ValueError("X must vary: all of its points are equal")
    return flat, tuple(int(s) for s in data.shape[1:])


def _check_output(output, likelihood, data) -> str:
    check_choice("likelihood", likelihood, LIKELIHOODS)
    check_choice("output", output, (*OUTPUTS, "auto"))
    unit = bool(((data >= 0.0) & (data <= 1.0)).all())
    if likelihood == "bernoulli":
        if output == "identity":
            raise ValueError("output must be 'sigmoid' with a Bernoulli likelihood, got 'identity'")
        output = "sigmoid"
    if output == "sigmoid" and not unit:
        low, high = data.min(), data.max()
        raise ValueError(
            f"X must lie in [0, 1] for a sigmoid mean, got values from {low:g} to {high:g}; "
            "rescale it or use output='identity' with a Gaussian likelihood"
        )
    fine = likelihood == "gaussian" and spread_of(data) < _FINEST
    if output == "sigmoid" and fine:
        raise ValueError(
            f"X must have a root mean variance of at least {_FINEST:g} for a sigmoid mean, got "
            f"{spread_of(data):g}; rescale it or use output='identity'"
        )
    return ("sigmoid" if unit and not fine else "identity") if output == "auto" else output


def _check_hidden(hidden, architecture, shape) -> tuple[int, ...]:
    check_choice("architecture", architecture, ARCHITECTURES)
    sizes = _HIDDEN[architecture] if hidden is None else hidden
    if not isinstance(sizes, tuple | list):
        raise TypeError(f"hidden must be a tuple of integers, got {sizes!r}")
    for size in sizes:
        as_count("hidden", size, 1)
    if architecture == "conv" and len(shape) < 2:
        raise ValueError(
            f"X must be images of shape (n, H, W) or (n, H, W, C) for architecture='conv', "
            f"got points of shape {shape}"
        )
    if architecture == "conv" and not sizes:
        raise ValueError("hidden must have at least one entry for architecture='conv'")
    return tuple(int(s) for s in sizes)


def _networks(key, shape, latent_dim, architecture, hidden, activation):
    """Encoder and decoder networks with fresh weights."""
    down_key, up_key = jax.random.split(key)
    size = math.prod(shape)
    if architecture == "mlp":
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


def _stage_one(
    train,
    held,
    shape,
    net_key,
    fit_key,
    *,
    latent_dim,
    architecture,
    hidden,
    activation,
    likelihood,
    output,
    stage_one_std,
    max_landmarks,
    held_mask,
    **options,
) -> VAE:
    """Encoder and mean with a constant variance, in float32; the model in float64."""
    offsets = offsets_of(train, output)
    entry = enter(train, held, offsets, output)
    floor = 1e-3 * offsets[1] / entry.unit
    start = np.log((offsets[1] if stage_one_std is None else stage_one_std) / entry.unit)
    bound = _BOUNDS[likelihood, output]
    with jax.enable_x64(False):
        nets = _networks(net_key, shape, latent_dim, architecture, hidden, activation)
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
            key=fit_key,
            latent_dim=latent_dim,
            label="stage one",
            **options,
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
        likelihood=likelihood,
        held_out=to_jax(held_mask.astype(np.float64)),
    )
    landmarks = to_jax(thin(posterior_at(encoder, train)[0], max_landmarks))
    return VAE(encoder, mean, constant, landmarks, history, shape, likelihood)


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
