"""Stage two of training: the decoder's variance, with encoder and mean left as they are."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core.arrays import precise, to_jax
from landform._core.checks import as_count, host_rng
from landform._core.compilation import block_size, map_blocks
from landform._core.typing import PRNGKeyArray
from landform.models.likelihood import bounds_at
from landform.models.loop import clip_nonnegative, fit, keep
from landform.models.networks import MLP, ConvUp, halved
from landform.models.rbf import ConvRBFPrecision, kmeans_centers, rbf_bandwidths
from landform.models.rbf_likelihood import climb_rbf
from landform.models.training import Training, configure
from landform.models.vae import (
    VAE,
    ConstantStd,
    History,
    NetworkStd,
    PrecisionStd,
    flatten_data,
    gaussian_kl,
    gaussian_log_density,
)

_OPTIONS = (
    "variance",
    "num_centers",
    "bandwidth_scale",
    "bandwidth_rule",
    "max_std",
    "min_std",
    "batch_size",
    "learning_rate",
)
_MIN_STD_SHARE = 0.03  # of the data's spread, the smallest deviation where none is given
_HELD_OUT_SHARE = 0.1  # of the data, held out where no rows are known
_BOUND_DRAWS = 8  # of each code, for the bounds of a variance that is not trained


@precise
def fit_variance(
    vae: VAE,
    X,
    *,
    key: PRNGKeyArray,
    training: Training | None = None,
    held_out=None,
    max_iter: int = 300,
    progress: bool = False,
    **options,
) -> VAE:
    """Fit the standard deviation of a decoder and leave everything else untouched.

    Parameters
    ----------
    vae
        A trained model; its encoder and mean are kept as they are.
    X
        Training data in the model's shape.
    key
        Key of the split, of the k-means start and of the latent draws.
    training
        What to fit and how; None for `Training` with batches of 64 and a rate of 3e-3. Only the
        fields that `options` names are used.
    held_out
        The data used to stop early: a share, drawn at random, or rows of `X`, as integers or a
        mask. None for the rows that training held out (`History.held_out`), so that neither stage
        has seen them: `X` must then be the training data. A tenth is drawn if `X` has another
        length, or if the model does not remember the rows.
    max_iter
        Most updates of W, or epochs of the gradient methods; at least 1.
    progress
        Whether to draw a progress bar.
    **options
        Fields of `training` by name: variance, num_centers, bandwidth_scale, bandwidth_rule,
        max_std, min_std; batch_size and learning_rate of the gradient methods.

    Returns
    -------
    VAE
        The same model with a new `std`, and the bounds of this stage in its history.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or unknown, or `X` does not match the model.
    ConvergenceError
        If a gradient method meets NaN.

    Notes
    -----
    With the mean fixed, the likelihood of the RBF model is concave in W. It is climbed by
    ``W ← W · (Vᵀβ⁻¹) / (Vᵀr²)`` with r the residuals and V the basis functions at draws of
    q(z | x): a minorize–maximize step that keeps W ≥ 0, raises the likelihood at every iteration
    and needs no step size. O(n K D) an iteration. Arvanitidis, Hansen and Hauberg 2018
    (arXiv:1710.11379), §4.

    Examples
    --------
    >>> import jax, landform as lf
    >>> X = jax.random.normal(jax.random.key(0), (60, 4))
    >>> vae = lf.train_vae(X, 2, key=jax.random.key(1), hidden=(8,), epochs=2, variance="constant")
    >>> rbf = lf.fit_variance(vae, X, key=jax.random.key(2), num_centers=5, max_std=3.0)
    >>> bool((rbf.mean(rbf.codes[0]) == vae.mean(vae.codes[0])).all())
    True
    >>> float(rbf.std([100.0, 100.0])[0])
    3.0
    """
    if not isinstance(vae, VAE):
        raise TypeError(f"vae must be a VAE, got {type(vae).__name__}")
    default = Training(batch_size=64, learning_rate=3e-3)
    training = configure(training, options, default, _OPTIONS)
    data, single = flatten_data("X", X, vae.shape)
    if single or len(data) < 10:
        raise ValueError(f"X must have at least 10 points, got {1 if single else len(data)}")
    max_iter = as_count("max_iter", max_iter)
    split_key, key = jax.random.split(key)
    if held_out is None:
        held_out = _remembered(vae.history, len(data))
    data = np.asarray(data, vae.codes.dtype)
    train, held = (data[rows] for rows in split(data, held_out, split_key))
    return fit_std(vae, train, held, key, training, max_iter, progress=progress)


def _remembered(history: History | None, count: int):
    """Which of the rows stage one held out, or the share to draw where that is not known."""
    known = None if history is None else history.held_out
    return _HELD_OUT_SHARE if known is None or len(known) != count else np.asarray(known) > 0.0


def split(data: np.ndarray, held_out, key: PRNGKeyArray) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows held out, at least two, in random order.

    Those held out are a share of all, drawn at random, or given: integers or a mask.
    """
    rows, rows_held = _split(len(data), held_out, key)
    if (data[rows] == data[rows[0]]).all():
        if (data == data[0]).all():
            raise ValueError(f"X must vary: all {len(data)} points are equal")
        raise ValueError(
            f"X must vary: all {len(rows)} points to train on are equal, those that differ are "
            "among the held-out ones; take more varied data, another key or a smaller held_out"
        )
    return rows, rows_held


def _split(count: int, held_out, key: PRNGKeyArray) -> tuple[np.ndarray, np.ndarray]:
    order = host_rng(key).permutation(count)
    if np.ndim(held_out) == 0:
        if not 0.0 < held_out <= 0.5:
            raise ValueError(f"held_out must be a share in (0, 0.5], got {held_out}")
        least = max(2, round(held_out * count))
        return order[least:], order[:least]
    rows, mask = np.asarray(held_out), np.zeros(count, bool)
    try:
        mask[rows] = True
    except IndexError as error:
        raise ValueError(f"held_out must be a share or rows of X: {error}") from None
    if not 2 <= mask.sum() <= count // 2:
        raise ValueError(
            f"held_out must be at least 2 rows and at most half of all {count}, got {mask.sum()}"
        )
    return order[~mask[order]], order[mask[order]]


def spread_of(rows: np.ndarray) -> float:
    """Root mean variance of the columns, the unit in which data are measured; may be infinite."""
    with np.errstate(over="ignore"):
        return float(np.sqrt(np.mean(np.var(rows, axis=0))))


def fit_std(
    vae: VAE, train, held, key, training: Training, max_iter: int, *, progress, checkpoint=None
) -> VAE:
    """Stage two on flat rows that are checked and split: the model with a fitted deviation."""
    floor, max_std = training.min_std, training.max_std
    floor = _MIN_STD_SHARE * spread_of(train) if floor is None else floor
    if max_std is not None and max_std <= floor:
        raise ValueError(f"max_std must exceed min_std, got {max_std} and {floor}")
    if training.variance == "rbf" and not isinstance(vae.mean.net, ConvUp):
        precision, bounds = climb_rbf(vae, train, held, floor, key, training, max_iter)
        std = PrecisionStd(precision)
    else:
        residual = _residual(vae, train, floor)
        if training.variance == "constant":
            std = ConstantStd(to_jax(residual))
            bounds = _gaussian_bounds(vae, std, train, held, key)
        else:
            start_key, fit_key = jax.random.split(key)
            if training.variance == "network":
                start = _start_network(vae, residual, floor, start_key)
            else:
                start = _start_conv_rbf(vae, train, residual, start_key, training)
            std, bounds = _descend(
                vae,
                start,
                train,
                held,
                fit_key,
                epochs=max_iter,
                batch_size=training.batch_size,
                learning_rate=training.learning_rate,
                progress=progress,
                checkpoint=checkpoint,
            )
    return _with_std(vae, std, bounds)


def _with_std(vae: VAE, std, bounds: np.ndarray) -> VAE:
    nothing = to_jax(np.zeros(0))
    history = dataclasses.replace(
        vae.history or History(nothing, nothing, nothing, nothing, False),
        variance_elbo=to_jax(bounds[:, 0]),
        variance_held_out_elbo=to_jax(bounds[:, 1]),
        likelihood=vae.likelihood,
    )
    return VAE(vae.encoder, vae.mean, std, vae.codes, history, vae.shape, vae.likelihood)


def _gaussian_bounds(vae, std, train, held, key) -> np.ndarray:
    """The bounds (training, held out) with one deviation, as the one row of a history."""
    model = VAE(vae.encoder, vae.mean, std, vae.codes, None, vae.shape, "gaussian")
    values = np.asarray(bounds_at(model, to_jax(np.concatenate([train, held])), key, _BOUND_DRAWS))
    return np.array([[values[: len(train)].mean(), values[len(train) :].mean()]])


def _residual(vae, train, floor: float) -> np.ndarray:
    """Root mean square of the residual of each output, at the encoded means."""
    error = train - np.asarray(vae.decode(vae.encode(train))).reshape(train.shape)
    return np.sqrt(np.mean(error**2, axis=0) + floor**2)


def _start_network(vae, residual, floor, key):
    """A network like the mean's, whose first value is the typical residual."""
    level = to_jax(np.sqrt(np.mean(residual**2)))
    net = vae.mean.net
    if isinstance(net, ConvUp):
        channels = tuple(f.shape[1] for f in net.filters)
        fresh = ConvUp(key, vae.latent_dim, channels, net.shape, net.activation)
    else:
        sizes = (vae.latent_dim, *(len(b) for b in net.biases))
        fresh = MLP(key, sizes, net.activation)
    shift = jnp.asarray(np.log(np.expm1(1.0)), level.dtype)
    return NetworkStd(fresh, shift, level, jnp.asarray(floor, level.dtype))


def _start_conv_rbf(vae, train, residual, key, training: Training):
    """Centers as in the fully connected model, filters that give about the residual."""
    net = vae.mean.net
    codes = vae.encode(train)
    center_key, filter_key = jax.random.split(key)
    centers, labels = kmeans_centers(codes, training.num_centers, center_key)
    bandwidths = rbf_bandwidths(
        codes,
        labels,
        centers,
        bandwidth_scale=training.bandwidth_scale,
        bandwidth_rule=training.bandwidth_rule,
    )
    max_std = 10.0 * residual.max() if training.max_std is None else training.max_std
    h, w = halved(net.shape[:2], len(net.filters))[-1]
    rng = host_rng(filter_key)
    filters = [
        rng.uniform(0.5, 1.5, f.shape) / (f.shape[1] * f.shape[2] ** 2 / 4) for f in net.filters
    ]
    weights = np.ones((net.filters[0].shape[1] * h * w, len(centers)))
    rbf = ConvRBFPrecision(centers, bandwidths, weights, filters, net.shape, max_std)
    level = jnp.mean(map_blocks(rbf, block_size(rbf, codes[0]), codes)) - rbf.max_std**-2.0
    filters[-1] = filters[-1] / (np.mean(residual**2) * float(level))
    return PrecisionStd(ConvRBFPrecision(centers, bandwidths, weights, filters, net.shape, max_std))


def _trainable(std):
    """Which leaves of a deviation module the gradient methods change."""
    frozen = jax.tree.map(lambda _: False, std)
    if isinstance(std, NetworkStd):
        return eqx.tree_at(lambda s: s.net, frozen, jax.tree.map(lambda _: True, std.net))
    where = lambda s: (s.precision.weights, s.precision.filters)  # noqa: E731
    return eqx.tree_at(where, frozen, jax.tree.map(lambda _: True, where(std)))


def _bound(params, frame, batch, noise):
    """Reconstruction and KL of one batch, as a function of the variance's parameters alone."""
    std, mean = frame
    std = eqx.combine(params, std)
    data, codes, spread = batch
    draws = codes + spread * noise
    one = lambda x, z: gaussian_log_density(x, mean(z), std(z))  # noqa: E731
    kl = jax.vmap(gaussian_kl)(codes, spread)
    return jnp.mean(jax.vmap(one)(data, draws)), jnp.mean(kl)


def _descend(vae, start, train, held, key, **options):
    """Train a deviation module by gradients, the encoder and the mean left as they are."""
    is_rbf = isinstance(start, PrecisionStd)
    params, fixed = eqx.partition(start, _trainable(start))
    fitted = fit(
        _bound,
        params,
        (fixed, vae.mean),
        (train, *vae.posterior(train)),
        (held, *vae.posterior(held)),
        key=key,
        latent_dim=vae.latent_dim,
        patience=20,
        project=clip_nonnegative if is_rbf else keep,
        label="stage two",
        **options,
    )
    return eqx.combine(fitted.params, fixed), np.stack([fitted.train, fitted.held_out], axis=1)
