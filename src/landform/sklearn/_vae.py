"""A variational autoencoder with the geometry of its latent space, as a transformer."""

from numbers import Integral, Real
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from landform._core.arrays import chunked, precise
from landform._core.checks import as_points
from landform.models.likelihood import check_data
from landform.models.train import train_vae
from landform.models.training import ARCHITECTURES, VARIANCES, Training
from landform.models.vae import LIKELIHOODS, OUTPUTS, gaussian_kl, log_likelihood
from landform.sklearn._base import Positive, key_from, validate_data

_COUNT = Interval(Integral, 1, None, closed="left")
_DRAWS = 64
_CHUNK = 256


class LatentVAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A variational autoencoder whose latent space has a metric that knows where the data are.

    `transform` encodes, `inverse_transform` decodes, and `metric_` is the expected metric
    ``J_μᵀJ_μ + J_σᵀJ_σ``, ready for geodesics, means, clusters and densities of the codes.

    Parameters
    ----------
    latent_dim : int, default=2
        Dimension of the latent space.
    architecture : {"mlp", "conv"}, default="mlp"
        Fully connected, or convolutional for images of shape `image_shape`.
    variance : {"rbf", "network", "constant"}, default="rbf"
        The decoder's deviation: growing off the data, an ordinary network's, or one number a
        feature.
    hidden : tuple of int, default=None
        Widths or channels of the encoder's layers; (64, 32) or (16, 32) when None.
    image_shape : tuple of int, default=None
        Shape (H, W) or (H, W, C) of an image whose rows of X are the flattened pixels; not needed
        where X is given as images, of shape ``(n_samples, H, W)`` or ``(n_samples, H, W, C)``.
        Images of any other shape are refused, by `fit` and by every other method.
    activation : str, default="tanh"
        A smooth activation; kinked ones have no metric and are refused.
    likelihood : {"gaussian", "bernoulli"}, default="gaussian"
        The likelihood of the bound.
    output : {"auto", "identity", "sigmoid"}, default="auto"
        Last activation of the mean; "auto" takes a sigmoid for data in [0, 1].
    num_centers : int, default=64
        Radial basis functions of the precision; half as many as there are points outside of
        `held_out` where that is less, so that there are two to each on average.
    bandwidth_scale : float, default=2.0
        Their widths, in mean distances of a cluster.
    bandwidth_rule : str, default="paper"
        How these are formed; see `landform.rbf_bandwidths`.
    stage_one_std : float, default=None
        Constant deviation of the first stage; learned when None.
    held_out : float, default=0.1
        Share of the data on which the bound chooses the best iterate.
    epochs, batch_size : int, default=200, 32
        Passes over the data, and points in a step.
    learning_rate : float, default=5e-3
        Of Adam.
    warmup, patience : int, default=20, 40
        Epochs until the whole KL term counts, and without gain until training stops.
    random_state : int, RandomState instance or None, default=None
        Seed of everything random.

    Attributes
    ----------
    vae_ : landform.VAE
        The trained model.
    metric_ : landform.ExpectedPullback
        The metric of its latent space.
    n_iter_ : int
        Epochs of the first stage.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, where X has names.

    See Also
    --------
    GeodesicKMeans : Clusters the codes with ``metric=model.metric_``.
    landform.train_vae : The function behind this class.

    Notes
    -----
    Data enter centered and divided by one number, so no scaler is needed; one per feature changes
    the metric. Arvanitidis, Hansen and Hauberg 2018 (arXiv:1710.11379).

    Examples
    --------
    >>> import numpy as np
    >>> from landform.sklearn import LatentVAE
    >>> X = np.random.default_rng(0).uniform(size=(60, 4))
    >>> model = LatentVAE(hidden=(8,), epochs=2, num_centers=4, random_state=0).fit(X)
    >>> Z = model.transform(X)
    >>> Z.shape, model.inverse_transform(Z).shape
    ((60, 2), (60, 4))
    """

    _parameter_constraints: ClassVar[dict] = {
        "latent_dim": [_COUNT],
        "architecture": [StrOptions(set(ARCHITECTURES))],
        "variance": [StrOptions(set(VARIANCES))],
        "hidden": [tuple, list, None],
        "image_shape": [tuple, list, None],
        "activation": [str],
        "likelihood": [StrOptions(set(LIKELIHOODS))],
        "output": [StrOptions({*OUTPUTS, "auto"})],
        "num_centers": [_COUNT],
        "bandwidth_scale": [Positive()],
        "bandwidth_rule": [str],
        "stage_one_std": [Positive(), None],
        "held_out": [Interval(Real, 0, 1, closed="neither")],
        "epochs": [_COUNT],
        "batch_size": [_COUNT],
        "learning_rate": [Positive()],
        "warmup": [Interval(Integral, 0, None, closed="left")],
        "patience": [_COUNT],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        latent_dim=2,
        *,
        architecture="mlp",
        variance="rbf",
        hidden=None,
        image_shape=None,
        activation="tanh",
        likelihood="gaussian",
        output="auto",
        num_centers=64,
        bandwidth_scale=2.0,
        bandwidth_rule="paper",
        stage_one_std=None,
        held_out=0.1,
        epochs=200,
        batch_size=32,
        learning_rate=5e-3,
        warmup=20,
        patience=40,
        random_state=None,
    ):
        self.latent_dim = latent_dim
        self.architecture = architecture
        self.variance = variance
        self.hidden = hidden
        self.image_shape = image_shape
        self.activation = activation
        self.likelihood = likelihood
        self.output = output
        self.num_centers = num_centers
        self.bandwidth_scale = bandwidth_scale
        self.bandwidth_rule = bandwidth_rule
        self.stage_one_std = stage_one_std
        self.held_out = held_out
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.warmup = warmup
        self.patience = patience
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Train on X, at least 20 points as rows or as images; `y` is ignored."""
        X, shape = _rows(X)
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2, ensure_min_features=2)
        if len(X) < 20:
            raise ValueError(f"X must have at least 20 points, got n_samples={len(X)}")
        self._key = key_from(self.random_state)
        self._shape = self._check_shape(X, shape)
        self._output_shape = (X.shape[1],) if shape is None else shape
        kept = len(X) - max(1, round(self.held_out * len(X)))
        training = Training(
            architecture=self.architecture,
            hidden=self.hidden,
            activation=self.activation,
            likelihood=self.likelihood,
            output=self.output,
            variance=self.variance,
            bandwidth_scale=self.bandwidth_scale,
            bandwidth_rule=self.bandwidth_rule,
            num_centers=min(self.num_centers, kept // 2),
            stage_one_std=self.stage_one_std,
            held_out=self.held_out,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            warmup=self.warmup,
            patience=self.patience,
        )
        rows = X.reshape(len(X), *self._shape)
        self.vae_ = train_vae(rows, int(self.latent_dim), key=self._key, training=training)
        self.metric_ = self.vae_.metric()
        history = self.vae_.history
        self.n_iter_ = 0 if history is None else len(history.elbo)
        self._n_features_out = int(self.latent_dim)
        return self

    def transform(self, X):
        """Codes of X, shape ``(n_samples, latent_dim)``: means of the approximate posterior."""
        rows = self._checked(X)  # before `vae_`, which there is not before `fit`
        return np.asarray(self.vae_.encode(rows))

    def inverse_transform(self, X):
        """What the decoder makes of codes X on average: rows, or images where `fit` saw some."""
        check_is_fitted(self)
        codes = as_points("X", X, int(self.latent_dim))
        return np.asarray(self.vae_.decode(codes)).reshape(-1, *self._output_shape)

    def score_samples(self, X):
        """A lower bound of the log-density of each row of X, in nats.

        Its expectation over codes is taken with 64 draws, the same for every row and call.
        `landform.log_marginal_likelihood` on `vae_` gives the log-density itself. A Bernoulli
        likelihood has none outside of [0, 1]: such values raise `ValueError`.
        """
        rows = self._checked(X)
        return _bounds(self.vae_, rows, self._key)

    def score(self, X, y=None):
        """The mean of `score_samples`; `y` is ignored."""
        return float(np.mean(self.score_samples(X)))

    def _checked(self, X):
        check_is_fitted(self)
        X, seen = _rows(X)
        if seen is not None and _plain(seen) != _plain(self._shape):
            raise ValueError(
                f"X must hold points of the shape {self._shape} that fit has seen, or their pixels "
                f"as rows, got images of shape {seen}"
            )
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return X.reshape(len(X), *self._shape)

    def _check_shape(self, X, seen) -> tuple[int, ...]:
        """The shape of one data point: given, or that of the images in `fit`, or that of a row."""
        given = seen if self.image_shape is None else tuple(int(s) for s in self.image_shape)
        if given is None:
            if self.architecture == "conv":
                raise ValueError(
                    "image_shape must be given with architecture='conv', or X as images of shape "
                    "(n_samples, H, W) or (n_samples, H, W, C)"
                )
            return (X.shape[1],)
        if seen is not None and _plain(given) != _plain(seen):
            raise ValueError(f"image_shape must be that of the images in X, {seen}, got {given}")
        if int(np.prod(given)) != X.shape[1]:
            raise ValueError(
                f"image_shape must have as many pixels as X has features, got {given} and "
                f"{X.shape[1]}"
            )
        return given


def _rows(X):
    """Images as rows of pixels, with their shape; anything else as it is, with None."""
    if getattr(X, "ndim", 2) not in (3, 4) or 0 in X.shape:
        return X, None
    images = np.asarray(X)
    return images.reshape(len(images), -1), images.shape[1:]


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an image without an axis for its only channel."""
    return shape[:2] if shape[2:] == (1,) else shape


@precise
def _bounds(vae, X, key) -> np.ndarray:
    """The evidence lower bound of each row, with draws that do not depend on its company."""
    noise = jax.random.normal(key, (_DRAWS, vae.latent_dim), vae.codes.dtype)
    rows, _ = check_data(vae, X)
    return np.asarray(chunked(lambda block: _bounds_jit(vae, block, noise), _CHUNK, rows))


@eqx.filter_jit
def _bounds_jit(vae, rows, noise):
    def one(x):
        mean, std = vae.encoder(x)
        draws = jax.vmap(lambda e: log_likelihood(vae, x, mean + std * e))(noise)
        return jnp.mean(draws) - gaussian_kl(mean, std)

    return jax.lax.map(one, rows)
