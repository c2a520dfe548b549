"""Likelihoods of counts."""

import equinox as eqx
import jax.numpy as jnp

from landform._core.arrays import precise
from landform._core.checks import as_positives
from landform._core.typing import Array, Float
from landform.metrics._family import AbstractFlat, read_array, root


class Poisson(AbstractFlat):
    """Independent counts, by rate or its logarithm: a flat coordinate each.

    ``I = 1 / λ``, flat in ``φ = 2 √λ``.

    Parameters
    ----------
    log_rate
        Whether the decoder returns log λ.

    Examples
    --------
    >>> import landform as lf
    >>> metric = lf.FisherRaoPullback(lambda z: z, lf.families.Poisson())
    >>> lf.metric_tensor(metric, [4.0]).round(5).tolist()
    [[0.25]]
    """

    log_rate: bool = eqx.field(static=True, default=False)

    def chart(self, output):
        """``2 √λ``."""
        values = read_array(output)
        return 2.0 * (jnp.exp(0.5 * values) if self.log_rate else root(values))


class NegativeBinomial(AbstractFlat):
    """Independent counts with more spread than Poisson's, by mean μ: a flat coordinate each.

    The variance is ``μ + μ²/r`` with a given r, such as a dispersion for each gene in a model of
    single cells. ``I = r / (μ (μ + r))``, flat in ``φ = 2 √r arsinh √(μ / r)``.

    Parameters
    ----------
    total_count
        r > 0, a number, or one for each variable; constant over the latent space. Also called
        θ, inverse dispersion or size; invert a dispersion of ``1 / r``.
    log_mean
        Whether the decoder returns log μ.

    Raises
    ------
    ValueError
        If `total_count` is not positive or, where the metric is evaluated, there are not as many as
        the decoder has outputs.

    Notes
    -----
    Select the mean of a decoder with further outputs, such as r itself, first, for example by
    `TorchDecoder.select`. The limit of large r is `Poisson`.

    Examples
    --------
    >>> import landform as lf
    >>> metric = lf.FisherRaoPullback(lambda z: z, lf.families.NegativeBinomial(4.0))
    >>> lf.metric_tensor(metric, [4.0]).round(5).tolist()
    [[0.125]]
    """

    total_count: Float[Array, "*D"]
    log_mean: bool = eqx.field(static=True, default=False)

    @precise
    def __init__(self, total_count, log_mean: bool = False):
        values = as_positives("total_count", total_count)
        self.total_count = values.reshape(-1) if values.ndim else values
        self.log_mean = log_mean

    def chart(self, output):
        """``2 √r arsinh √(μ / r)``."""
        values, size = read_array(output), self.total_count
        if size.ndim and size.shape != values.shape:
            raise ValueError(
                f"total_count must be a number or one for each of the decoder's {values.size} "
                f"outputs, got {size.size}"
            )
        log = self.log_mean
        ratio = jnp.exp(0.5 * (values - jnp.log(size))) if log else root(values / size)
        return 2.0 * jnp.sqrt(size) * jnp.arcsinh(ratio)
