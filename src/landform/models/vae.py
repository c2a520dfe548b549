"""The variational autoencoder: encoder, and mean and deviation of the decoder."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import precise
from landform._core.checks import as_floats, as_points, check_finite
from landform._core.compilation import block_size, map_blocks
from landform._core.typing import Array, Float, Point, PRNGKeyArray
from landform.metrics.pullback import ExpectedPullback, as_landmarks
from landform.models.networks import MLP, ConvDown, ConvUp
from landform.models.rbf import AbstractPrecision, ConvRBFPrecision

LIKELIHOODS = ("gaussian", "bernoulli")
OUTPUTS = ("identity", "sigmoid")


class Encoder(display.AbstractDisplayed):
    """q(z | x): mean and standard deviation of the latent code of one data point ``(D,)``."""

    net: MLP | ConvDown
    shift: Float[Array, " D"]
    scale: Float[Array, ""]

    @precise
    def __call__(self, x: Float[Array, " D"]) -> tuple[Point, Point]:
        mean, log_std = jnp.split(self.net((x - self.shift) / self.scale), 2)
        return mean, jnp.exp(log_std)

    def _summary(self):
        return [display.brief(self.net)]


class MeanDecoder(display.AbstractDisplayed):
    """μ(z), the mean of the decoder at one latent point ``(d,)``."""

    net: MLP | ConvUp
    shift: Float[Array, " D"]
    scale: Float[Array, ""]
    output: str = eqx.field(static=True)

    @precise
    def logits(self, z: Point) -> Float[Array, " D"]:
        """The output before its last activation."""
        return self.shift + self.scale * self.net(z)

    @precise
    def __call__(self, z: Point) -> Float[Array, " D"]:
        logits = self.logits(z)
        return jax.nn.sigmoid(logits) if self.output == "sigmoid" else logits

    def _summary(self):
        return [display.brief(self.net), *display.named(self, "output")]


class PrecisionStd(display.AbstractDisplayed):
    """σ(z) = β(z)^(−½) of a precision module."""

    precision: AbstractPrecision

    @precise
    def __call__(self, z: Point) -> Float[Array, " D"]:
        return self.precision.std(z)

    def dense(self) -> "PrecisionStd":
        """The same function, by a single matrix where that is less work."""
        if isinstance(self.precision, ConvRBFPrecision):
            return PrecisionStd(self.precision.dense())
        return self

    def _summary(self):
        return [display.brief(self.precision)]


class NetworkStd(display.AbstractDisplayed):
    """σ(z) = min_std + softplus(shift + net(z)): an ordinary variance network, for comparison."""

    net: MLP | ConvUp
    shift: Float[Array, ""]
    scale: Float[Array, ""]
    min_std: Float[Array, ""]

    @precise
    def __call__(self, z: Point) -> Float[Array, " D"]:
        return self.min_std + self.scale * jax.nn.softplus(self.shift + self.net(z))

    def _summary(self):
        return [display.brief(self.net)]


class ConstantStd(display.AbstractDisplayed):
    """σ that does not depend on z."""

    value: Float[Array, " D"]

    @precise
    def __call__(self, z: Point) -> Float[Array, " D"]:
        return self.value + 0.0 * jnp.sum(z)

    def _summary(self):
        return [f"{display.span(self.value)}", display.counted(self.value.shape[-1], "output")]


class History(display.AbstractDisplayed):
    """What happened during training, in nats per data point.

    Attributes
    ----------
    elbo, held_out_elbo
        Evidence lower bound after each epoch of stage one (encoder, mean, constant variance), on
        the training data (a running mean) and on the data held out.
    variance_elbo, variance_held_out_elbo
        The same for stage two (the variance, everything else fixed), at each check; once for a
        constant variance. Of the Gaussian with the fitted variance, for either likelihood.
    stopped_early
        Whether the held-out bound stopped improving before the epochs were used up.
    likelihood
        Of stage one's bounds, and of the model: ``"gaussian"`` or ``"bernoulli"``.
    held_out
        1 for each row of the data that was held out of stage one, 0 for those trained on; None
        where that is not known.
    """

    elbo: Float[Array, " epochs"]
    held_out_elbo: Float[Array, " epochs"]
    variance_elbo: Float[Array, " checks"]
    variance_held_out_elbo: Float[Array, " checks"]
    stopped_early: bool = eqx.field(static=True)
    likelihood: str = eqx.field(static=True, default="gaussian")
    held_out: Float[Array, " n"] | None = None  # of floats, as all leaves of a model

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights were kept, counted from 0."""
        return int(np.argmax(np.asarray(self.held_out_elbo)))

    @property
    def best_held_out_elbo(self) -> float:
        """Held-out bound of the finished model, under its own likelihood.

        Stage two's for a Gaussian likelihood, stage one's for a Bernoulli one, which has no
        variance; NaN where that is not known.
        """
        last = self.held_out_elbo
        if self.likelihood == "gaussian" and self.variance_held_out_elbo.size:
            last = self.variance_held_out_elbo
        return float(np.max(np.asarray(last))) if last.size else float("nan")

    def _summary(self):
        epochs = display.counted(len(self.elbo), "epoch")
        best = f"best held-out ELBO={display.number(self.best_held_out_elbo)}"
        return [epochs, best, f"stopped_early={self.stopped_early}"]


class VAE(display.AbstractDisplayed):
    """A variational autoencoder, and the Riemannian geometry of its latent space.

    The decoder is ``x = μ(z) + σ(z) ⊙ ε`` with ``z ~ N(0, I)``. Build one with `train_vae`.

    Attributes
    ----------
    encoder
        x ``(D,)`` ↦ mean and standard deviation of q(z | x), each ``(d,)``.
    mean, std
        μ and σ of the decoder, functions of one latent point ``(d,)`` to ``(D,)``.
    codes
        Encoded training data, thinned to an even cover: the landmarks of `metric`.
    history
        What happened during training, or None.
    shape
        Shape of one data point, ``(D,)`` or ``(H, W)`` or ``(H, W, C)``.
    likelihood
        ``"gaussian"`` or ``"bernoulli"``; the ELBO's and the marginal likelihood's.

    Notes
    -----
    All weights are leaves and float64; the static parts are strings and integers. Arvanitidis,
    Hansen and Hauberg 2018 (arXiv:1710.11379); Kingma and Welling 2014.

    Examples
    --------
    >>> import jax, landform as lf
    >>> X = jax.random.normal(jax.random.key(0), (60, 4))
    >>> vae = lf.train_vae(X, 2, key=jax.random.key(1), hidden=(8,), epochs=2, num_centers=4)
    >>> vae.encode(X).shape, vae.decode([0.0, 0.0]).shape
    ((60, 2), (4,))
    """

    encoder: Encoder
    mean: MeanDecoder
    std: PrecisionStd | NetworkStd | ConstantStd
    codes: Float[Array, "k d"]
    history: History | None
    shape: tuple[int, ...] = eqx.field(static=True)
    likelihood: str = eqx.field(static=True)

    @property
    def latent_dim(self) -> int:
        """Number d of latent dimensions."""
        return self.codes.shape[-1]

    @property
    def num_features(self) -> int:
        """Number D of outputs."""
        return int(np.prod(self.shape))

    @precise
    def encode(self, X) -> Float[Array, "*batch d"]:
        """Means of q(z | x).

        Parameters
        ----------
        X
            Data of shape ``(n, *shape)`` or ``(n, D)``, or one point without the first axis.

        Returns
        -------
        Array of shape ``(n, d)``, or ``(d,)`` for one point.

        Raises
        ------
        ValueError
            If the shape does not match the model's, or a value is not finite.
        """
        return self.posterior(X)[0]

    @precise
    def posterior(self, X) -> tuple[Float[Array, "*batch d"], Float[Array, "*batch d"]]:
        """Means and standard deviations of q(z | x); shapes as in `encode`."""
        data, single = flatten_data("X", X, self.shape)
        mean, std = posterior_at(self.encoder, data.astype(self.codes.dtype))
        return (mean[0], std[0]) if single else (mean, std)

    @precise
    def decode(self, Z, *, return_std: bool = False):
        """Means μ(z), and with `return_std` also σ(z), of the decoder.

        Parameters
        ----------
        Z
            Latent points, shape ``(n, d)`` or ``(d,)``.
        return_std
            Whether to return the standard deviations, too.

        Returns
        -------
        Array of shape ``(n, *shape)`` (no first axis for one point), or two of them.
        """
        Z = as_points("Z", Z, self.latent_dim).astype(self.codes.dtype)
        mean, std = _decode(eqx.Partial(_generate, self.mean, self.std), jnp.atleast_2d(Z))
        shape = Z.shape[:-1] + self.shape
        return (mean.reshape(shape), std.reshape(shape)) if return_std else mean.reshape(shape)

    @precise
    def sample(self, key: PRNGKeyArray, n: int, *, noise: bool = True) -> Float[Array, "n ..."]:
        """Data drawn from the model: z ~ N(0, I), then x | z (its mean without `noise`)."""
        latent_key, noise_key = jax.random.split(key)
        Z = jax.random.normal(latent_key, (n, self.latent_dim), self.codes.dtype)
        mean, std = self.decode(Z, return_std=True)
        if not noise:
            return mean
        if self.likelihood == "bernoulli":
            return jax.random.bernoulli(noise_key, mean).astype(mean.dtype)
        return mean + std * jax.random.normal(noise_key, mean.shape, mean.dtype)

    @precise
    def metric(self, landmarks=None) -> ExpectedPullback:
        """The expected metric ``J_μᵀJ_μ + J_σᵀJ_σ`` of the latent space.

        Parameters
        ----------
        landmarks
            Points where the data live, shape ``(k, d)``; the encoded training data when None.

        Raises
        ------
        ValueError
            If the landmarks do not have d columns, or are not finite.
        """
        points = as_landmarks(landmarks, self.latent_dim)
        # The metric is evaluated by the thousand: filters become one matrix once.
        std = self.std.dense() if isinstance(self.std, PrecisionStd) else self.std
        return ExpectedPullback(self.mean, std, landmarks=self.codes if points is None else points)

    def _summary(self):
        sizes = f"{' × '.join(map(str, self.shape))} → {self.latent_dim}"
        parts = [sizes, self.likelihood, f"std={type(self.std).__name__}"]
        if self.history is not None:
            parts.append(f"held-out ELBO={display.number(self.history.best_held_out_elbo)}")
        return [*parts, display.counted(len(self.codes), "code")]

    def _picture(self):
        return display.Picture(points=self.codes) if display.is_plane(self.codes) else None


@eqx.filter_jit
def posterior_at(encoder: Encoder, data: Float[Array, "n D"]):
    """Means and deviations of q(z | x), without checks."""
    return map_blocks(encoder, block_size(encoder, data[0]), data)


def _generate(mean, std, z: Point):
    return mean(z), std(z)


@eqx.filter_jit
def _decode(decoder, latents):
    return map_blocks(decoder, block_size(decoder, latents[0]), latents)


def flatten_data(name: str, X, shape: tuple[int, ...]) -> tuple[Float[Array, "n D"], bool]:
    """Data as rows, checked against the shape of one point; and whether it was one point."""
    data = as_floats(name, X)
    size = int(np.prod(shape))
    for single, tail in ((False, data.shape[1:]), (True, data.shape)):
        if data.ndim > 0 and tail in (tuple(shape), (size,)) and data.size > 0:
            check_finite(name, data)
            return data.reshape(-1, size), single
    wanted = f"(n, {', '.join(map(str, shape))})" + (f" or (n, {size})" if len(shape) > 1 else "")
    raise ValueError(f"{name} must have shape {wanted} to match the model, got {data.shape}")


def log_likelihood(vae: VAE, x: Float[Array, " D"], z: Point) -> Float[Array, ""]:
    """``log p(x | z)`` of one data point at one latent point."""
    if vae.likelihood == "bernoulli":
        logits = vae.mean.logits(z)
        return jnp.sum(x * logits - jax.nn.softplus(logits))
    return gaussian_log_density(x, vae.mean(z), vae.std(z))


def gaussian_log_density(x, mean, std):
    """Log-density of independent normals, summed."""
    return -0.5 * jnp.sum(((x - mean) / std) ** 2 + 2.0 * jnp.log(std) + jnp.log(2.0 * jnp.pi))


def gaussian_kl(mean, std):
    """``KL(N(mean, std²) ‖ N(0, I))``."""
    return 0.5 * jnp.sum(mean**2 + std**2 - 1.0 - 2.0 * jnp.log(std))
