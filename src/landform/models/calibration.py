"""Whether a decoder's standard deviations are those of its residuals."""

from typing import NamedTuple

import jax
import numpy as np

from landform._core import display
from landform._core.arrays import precise, to_jax
from landform._core.checks import as_count, check_key
from landform._core.module import reduced
from landform._core.typing import Array, Float, PRNGKeyArray
from landform.models.vae import VAE, flatten_data, posterior_at

_BLOCK_ROWS = 512  # data points decoded together


class Calibration(NamedTuple):
    """Predicted standard deviations against the residuals that came, in groups of equal size.

    Attributes
    ----------
    predicted
        Root mean square of σ in each group, rising, shape ``(bins,)``.
    observed
        Root mean square of the residuals of the same outputs; equal to `predicted` where the
        decoder is calibrated.
    quantiles
        The 10, 50 and 90 % quantiles of ``|x − μ| / σ`` in each group, shape ``(bins, 3)``; those
        of normal residuals are 0.126, 0.674 and 1.645.
    error
        Mean over the groups of ``|log(observed / predicted)|``.

    Examples
    --------
    >>> import landform as lf
    >>> lf.Calibration._fields
    ('predicted', 'observed', 'quantiles', 'error')
    """

    predicted: Float[Array, " bins"]
    observed: Float[Array, " bins"]
    quantiles: Float[Array, "bins 3"]
    error: float

    __repr__ = display.line

    def __reduce__(self):
        return reduced(self)


@precise
def calibration(vae: VAE, X, *, key: PRNGKeyArray, bins: int = 10) -> Calibration:
    """Compare a decoder's standard deviations with its residuals on data, output by output.

    Each data point is decoded at one draw of q(z | x). All its outputs, and those of all the other
    points, are sorted by their predicted σ and cut into groups of equal size.

    Parameters
    ----------
    vae
        The model, with a Gaussian likelihood.
    X
        Data in the model's shape; others than the training data, which flatter the model.
    key
        Key of the draws.
    bins
        Number of groups, at least 1; fewer where there are fewer outputs in all.

    Returns
    -------
    Calibration
        Predicted and observed deviations of each group.

    Raises
    ------
    TypeError, ValueError
        If `vae` is not a VAE with a Gaussian likelihood, `X` does not match it, or `bins` is too
        small.

    Notes
    -----
    Groups by quantiles of the predicted spread: Kuleshov, Fenner and Ermon 2018 (arXiv:1807.00263),
    and Levi, Gispan, Giladi and Fetaya 2022 (arXiv:1905.11659). O(n D log(n D)).

    Examples
    --------
    >>> import jax, landform as lf
    >>> X = jax.random.normal(jax.random.key(0), (80, 4))
    >>> vae = lf.train_vae(X, 2, key=jax.random.key(1), hidden=(8,), epochs=2, num_centers=4)
    >>> lf.calibration(vae, X, key=jax.random.key(2), bins=5).predicted.shape
    (5,)
    """
    if not isinstance(vae, VAE):
        raise TypeError(f"vae must be a VAE, got {type(vae).__name__}")
    if vae.likelihood != "gaussian":
        raise ValueError(
            f"vae must have a Gaussian likelihood, got {vae.likelihood!r}: its outputs have no "
            "deviation apart from their mean to be calibrated"
        )
    bins = as_count("bins", bins)
    data = np.asarray(flatten_data("X", X, vae.shape)[0], vae.codes.dtype)
    shape = len(data), vae.latent_dim
    noise = np.asarray(jax.random.normal(check_key(key), shape, vae.codes.dtype))
    stds, residuals = [], []
    for i in range(0, len(data), _BLOCK_ROWS):
        rows = slice(i, i + _BLOCK_ROWS)
        mean, spread = (np.asarray(p) for p in posterior_at(vae.encoder, to_jax(data[rows])))
        decoded, std = vae.decode(mean + spread * noise[rows], return_std=True)
        stds.append(np.asarray(std).ravel())
        residuals.append(np.abs(data[rows].ravel() - np.asarray(decoded).ravel()))
    return _grouped(np.concatenate(stds), np.concatenate(residuals), bins)


def _grouped(std: np.ndarray, residual: np.ndarray, bins: int) -> Calibration:
    order = np.argsort(std, kind="stable")
    groups = [part for part in np.array_split(order, bins) if part.size]
    predicted = np.array([np.sqrt(np.mean(std[part] ** 2)) for part in groups])
    observed = np.array([np.sqrt(np.mean(residual[part] ** 2)) for part in groups])
    shares = [np.quantile(residual[part] / std[part], [0.1, 0.5, 0.9]) for part in groups]
    tiny = np.finfo(std.dtype).tiny
    error = float(np.mean(np.abs(np.log(np.maximum(observed, tiny) / predicted))))
    return Calibration(to_jax(predicted), to_jax(observed), to_jax(np.stack(shares)), error)
