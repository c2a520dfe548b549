"""Evidence of a model: the variational bound, and the marginal likelihood."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

from landform._core import display
from landform._core.arrays import precise
from landform._core.checks import as_count
from landform._core.compilation import block_size, map_blocks
from landform._core.module import reduced
from landform._core.typing import Array, Float, PRNGKeyArray
from landform.models.vae import VAE, flatten_data, gaussian_kl, log_likelihood

_WIDE_FACTOR = 3.0
_PROPOSAL_SHARES = (0.5, 0.25, 0.25)  # posterior, the same three times as wide, prior
_CHUNK_BYTES = 2**28


class MarginalLikelihood(NamedTuple):
    """An estimate of ``log p(x)``, in nats.

    Attributes
    ----------
    mean
        Average over the data points.
    stderr
        Monte Carlo standard error of `mean` (not the spread between data points).
    values
        One estimate for each data point, shape ``(n,)``.
    stderrs
        Their standard errors, shape ``(n,)``.
    effective_samples
        Effective number of samples behind each estimate, shape ``(n,)``.

    Examples
    --------
    >>> import landform as lf
    >>> lf.MarginalLikelihood._fields
    ('mean', 'stderr', 'values', 'stderrs', 'effective_samples')
    """

    mean: float
    stderr: float
    values: Float[Array, " n"]
    stderrs: Float[Array, " n"]
    effective_samples: Float[Array, " n"]

    __repr__ = display.line

    def __reduce__(self):
        return reduced(self)


def check_data(vae, X):
    """Data as rows in the model's precision, checked, and whether it was one point."""
    if not isinstance(vae, VAE):
        raise TypeError(f"vae must be a VAE, got {type(vae).__name__}")
    data, single = flatten_data("X", X, vae.shape)
    if vae.likelihood == "bernoulli" and not bool(jnp.all((data >= 0.0) & (data <= 1.0))):
        raise ValueError("X must lie in [0, 1] for a Bernoulli likelihood")
    return data.astype(vae.codes.dtype), single


def _bound_at(vae, x, noise):
    mean, std = vae.encoder(x)
    parts = jax.lax.map(lambda e: log_likelihood(vae, x, mean + std * e), noise)
    return jnp.mean(parts) - gaussian_kl(mean, std)


@eqx.filter_jit
def bounds_at(vae: VAE, data: Float[Array, "n D"], key, num_samples: int) -> Float[Array, " n"]:
    """The bound of each row, without checks."""
    one, size = eqx.Partial(_bound_at, vae), (num_samples, vae.latent_dim)
    keys = jax.random.split(key, data.shape[0])
    noise = jax.vmap(lambda key: jax.random.normal(key, size, vae.codes.dtype))(keys)
    return map_blocks(one, block_size(one, data[0], noise[0]), data, noise)


@precise
def elbo(vae: VAE, X, *, key: PRNGKeyArray, num_samples: int = 16) -> Float[Array, " n"]:
    """The evidence lower bound ``E_q[log p(x | z)] − KL(q(z | x) ‖ p(z))`` of each data point.

    Parameters
    ----------
    vae
        The model.
    X
        Data in the model's shape.
    key
        Key of the draws of q(z | x).
    num_samples
        Draws for each data point; the KL term is exact.

    Returns
    -------
    Array of shape ``(n,)`` in nats (a scalar for one point); its mean is a lower bound of the mean
    of `log_marginal_likelihood`, up to sampling error.

    Raises
    ------
    TypeError, ValueError
        If `vae` is not a VAE or `X` does not match it.

    Examples
    --------
    >>> import jax, landform as lf
    >>> X = jax.random.normal(jax.random.key(0), (60, 4))
    >>> vae = lf.train_vae(X, 2, key=jax.random.key(1), hidden=(8,), epochs=2, num_centers=4)
    >>> lf.elbo(vae, X, key=jax.random.key(2)).shape
    (60,)
    """
    data, single = check_data(vae, X)
    values = bounds_at(vae, data, key, as_count("num_samples", num_samples, 1))
    return values[0] if single else values


def _log_density(z, mean, std):
    return jnp.sum(norm.logpdf(z, mean, std), axis=-1)


@eqx.filter_jit
def _importance(vae, data, keys, counts):
    """Log-mean of the importance weights of each point, its standard error, effective samples."""

    def one(x, key):
        mean, std = vae.encoder(x)
        prior = (jnp.zeros_like(mean), jnp.ones_like(std))
        components = ((mean, std), (mean, _WIDE_FACTOR * std), prior)
        noise = jax.random.normal(key, (sum(counts), mean.size), mean.dtype)
        parts, start = [], 0
        for (center, width), count in zip(components, counts, strict=True):
            parts.append(center + width * noise[start : start + count])
            start += count
        draws = jnp.concatenate(parts)
        densities = jnp.stack([_log_density(draws, m, s) for m, s in components])
        shares = jnp.log(jnp.asarray(counts, mean.dtype) / sum(counts))
        proposal = jax.nn.logsumexp(densities + shares[:, None], axis=0)
        likelihoods = jax.vmap(lambda z: log_likelihood(vae, x, z))(draws)
        logs = likelihoods + _log_density(draws, *prior) - proposal
        total = jax.nn.logsumexp(logs)
        share = jnp.exp(logs - total)
        estimate = total - jnp.log(len(logs))
        return estimate, _stratified_error(share, counts), 1.0 / jnp.sum(share**2)

    return jax.vmap(one)(data, keys)


def _stratified_error(share, counts):
    """Relative standard error of a sum of weights drawn in strata of fixed sizes."""
    variance, start = 0.0, 0
    for count in counts:
        part = share[start : start + count]
        variance, start = variance + count * jnp.var(part, ddof=1), start + count
    return jnp.sqrt(variance)


@precise
def log_marginal_likelihood(
    vae: VAE, X, *, key: PRNGKeyArray, num_samples: int = 1000
) -> MarginalLikelihood:
    """``log p(x) = log ∫ p(x | z) p(z) dz`` by importance sampling, with its standard error.

    Half of the draws come from q(z | x), a quarter from the same density three times as wide and a
    quarter from the prior, each weighted against the mixture of all three. The weights are then
    bounded by ``4 p(x | z)`` where q is too narrow or misplaced, so that the error estimate can be
    trusted.

    Parameters
    ----------
    vae
        The model.
    X
        Data in the model's shape.
    key
        Key of the draws.
    num_samples
        Draws for each data point, at least 8. The error falls as ``num_samples^(−½)``; a bias of
        ``−½ stderrs²`` remains.

    Returns
    -------
    MarginalLikelihood
        ``mean``, ``stderr``, and for each point ``values``, ``stderrs``, ``effective_samples``.

    Raises
    ------
    TypeError, ValueError
        If `vae` is not a VAE, `X` does not match it, or `num_samples` is too small.

    Notes
    -----
    Burda, Grosse and Salakhutdinov 2016 (arXiv:1509.00519); the deterministic mixture weights are
    Veach and Guibas's balance heuristic. O(n · num_samples) decoder evaluations, in chunks.

    Examples
    --------
    >>> import jax, landform as lf
    >>> X = jax.random.normal(jax.random.key(0), (60, 4))
    >>> vae = lf.train_vae(X, 2, key=jax.random.key(1), hidden=(8,), epochs=2, num_centers=4)
    >>> evidence = lf.log_marginal_likelihood(vae, X, key=jax.random.key(2), num_samples=200)
    >>> bool(evidence.stderr < 0.05)
    True
    """
    data, single = check_data(vae, X)
    total = as_count("num_samples", num_samples, 8)
    counts = [max(2, round(share * total)) for share in _PROPOSAL_SHARES[1:]]
    counts = (total - sum(counts), *counts)
    keys = jax.random.split(key, len(data))
    rows = max(1, _CHUNK_BYTES // (8 * total * (4 * data.shape[1])))
    parts = [
        _importance(vae, data[i : i + rows], keys[i : i + rows], counts)
        for i in range(0, len(data), rows)
    ]
    values, errors, effective = (jnp.concatenate(column) for column in zip(*parts, strict=True))
    mean = float(jnp.mean(values))
    stderr = float(jnp.sqrt(jnp.sum(errors**2)) / len(data))
    if single:
        values, errors, effective = values[0], errors[0], effective[0]
    return MarginalLikelihood(mean, stderr, values, errors, effective)
