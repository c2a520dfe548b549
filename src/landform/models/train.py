"""Training of variational autoencoders in two stages."""

import dataclasses
import warnings

import jax
import numpy as np

from landform._core.arrays import precise
from landform._core.checks import as_count, as_floats, check_finite, check_key
from landform._core.typing import PRNGKeyArray
from landform.models.checkpoint import Checkpoint, digest
from landform.models.stage_one import fit_mean
from landform.models.training import Training, configure
from landform.models.vae import VAE
from landform.models.variance import fit_std, split, spread_of

_FIELDS = tuple(field.name for field in dataclasses.fields(Training))
_MIN_SIGMOID_SPREAD = 1e-5  # below it float32 cannot fit a sigmoid to the data
_HIDDEN = {"mlp": (64, 32), "conv": (16, 32)}


@precise
def train_vae(
    X,
    latent_dim: int = 2,
    *,
    key: PRNGKeyArray,
    training: Training | None = None,
    checkpoint=None,
    checkpoint_every: int = 10,
    progress: bool = False,
    **options,
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
    training
        Architecture and schedule; None for the defaults of `Training`.
    checkpoint
        A file that keeps the state of the training. A later call with the same data and arguments
        goes on from it, or returns at once if the training had ended, with bit for bit the model
        of a training without interruption. None keeps nothing.
    checkpoint_every
        Epochs between two writings; the file is replaced only when the new one is whole.
    progress
        Whether to draw a progress bar.
    **options
        Fields of `Training` by name, such as ``epochs=50``; they replace those of `training`.

    Returns
    -------
    VAE
        The iterate with the best held-out ELBO, with `history`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or is out of range; names the argument. TypeError for an
        option that is not a field of `Training`; lists the fields. Also if `checkpoint` belongs to
        another training; says what differs.
    ConvergenceError
        If the loss becomes NaN.

    Notes
    -----
    Stage one runs in float32, stage two, decoding and all geometry in float64. Data are centered
    and divided by one number, so that their units do not matter. Arvanitidis, Hansen and Hauberg
    2018 (arXiv:1710.11379), §4 and appendix.

    Examples
    --------
    >>> import jax, landform as lf
    >>> X = jax.random.normal(jax.random.key(0), (60, 4))
    >>> vae = lf.train_vae(X, 2, key=jax.random.key(1), hidden=(8,), epochs=2, num_centers=4)
    >>> lf.metric_tensor(vae.metric(), vae.encode(X)).shape
    (60, 2, 2)
    """
    training = configure(training, options, Training(), _FIELDS)
    latent_dim = as_count("latent_dim", latent_dim)
    checkpoint_every = as_count("checkpoint_every", checkpoint_every)
    check_key(key)
    data, shape = _check_data(X)
    if training.architecture == "conv" and len(shape) < 2:
        raise ValueError(
            f"X must be images of shape (n, H, W) or (n, H, W, C) for architecture='conv', "
            f"got points of shape {shape}"
        )
    if training.architecture == "conv" and training.hidden == ():
        raise ValueError("hidden must have at least one entry for architecture='conv'")
    training = dataclasses.replace(
        training,
        output=_resolve_output(training.output, training.likelihood, data),
        hidden=_HIDDEN[training.architecture] if training.hidden is None else training.hidden,
    )
    layers = training.hidden if training.architecture == "mlp" else ()
    narrowest = min((data.shape[1], *layers))
    if latent_dim > narrowest:
        warnings.warn(
            f"latent_dim = {latent_dim} exceeds the {narrowest} outputs of the narrowest layer: "
            "the mean does not change along some latent directions, and its metric is singular",
            UserWarning,
            stacklevel=3,
        )
    kept = None
    if checkpoint is not None:
        arguments = {
            **dataclasses.asdict(training),
            "latent_dim": latent_dim,
            "key": jax.random.key_data(key).tolist(),
            "data": digest(data, shape),
        }
        del arguments["max_landmarks"]  # used only after training
        arguments = {name: str(value) for name, value in arguments.items()}
        kept = Checkpoint(checkpoint, arguments, checkpoint_every)
    split_key, net_key, fit_key, variance_key = jax.random.split(key, 4)
    rows, rows_held = split(data, training.held_out, split_key)
    train, held = data[rows], data[rows_held]
    held_mask = np.isin(np.arange(len(data)), rows_held)
    keys = (net_key, fit_key)
    common = {"progress": progress, "checkpoint": kept}
    vae = fit_mean(train, held, held_mask, shape, latent_dim, keys, training, **common)
    return fit_std(vae, train, held, variance_key, training, training.epochs, **common)


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


def _resolve_output(output, likelihood, data) -> str:
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
    fine = likelihood == "gaussian" and spread_of(data) < _MIN_SIGMOID_SPREAD
    if output == "sigmoid" and fine:
        raise ValueError(
            f"X must have a root mean variance of at least {_MIN_SIGMOID_SPREAD:g} for a sigmoid "
            f"mean, got {spread_of(data):g}; rescale it or use output='identity'"
        )
    return ("sigmoid" if unit and not fine else "identity") if output == "auto" else output
