"""Decoders of likelihoods that know nothing where they have seen nothing."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from landform._core import display
from landform._core.arrays import precise
from landform._core.checks import (
    as_floats,
    as_points,
    as_positive,
    as_positives,
    check_decoder,
    check_finite,
)
from landform._core.typing import Array, Float, Point, PRNGKeyArray, Scalar
from landform.models._checks import check_one_point
from landform.models.rbf import kmeans_centers, rbf_bandwidths


class BlendedDecoder(display.AbstractDisplayed):
    """A decoder that turns into a fixed output away from its data.

    ``g(z) = w(z) f(z) + (1 − w(z)) far`` with ``w = s / (s + ζ)`` and
    ``s(z) = Σ_k exp(−λ_k |z − c_k|²)``. For logits and ``far = 0`` the likelihood becomes uniform:
    leaving the data then costs information, and geodesics of `FisherRaoPullback` stay among them,
    as those of `ExpectedPullback` do with `RBFPrecision`.

    Parameters
    ----------
    decoder
        f, a function of one latent point ``(d,)``.
    centers
        Centers c_k, shape ``(K, d)``.
    bandwidths
        λ_k > 0, shape ``(K,)`` or a single number.
    far
        The output far away: a number, or arrays in the form of f's output that broadcast to it.
    threshold
        ζ, the sum of basis functions at which both outputs have equal weight.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of its kind, or not positive.

    Notes
    -----
    `from_codes` places the centers. Arvanitidis et al. 2022 (arXiv:2106.05367), §5, blend by the
    distance to the nearest center; the sum over all of them has no kinks.

    Examples
    --------
    >>> import jax.numpy as jnp, landform as lf
    >>> logits = lf.BlendedDecoder(lambda z: jnp.array([4.0]), [[0.0, 0.0]], 0.5, threshold=1e-6)
    >>> round(float(logits([0.0, 0.0])[0]), 4), round(float(logits([9.0, 0.0])[0]), 4)
    (4.0, 0.0)
    """

    decoder: Callable
    centers: Float[Array, "K d"]
    bandwidths: Float[Array, " K"]
    far: Any
    threshold: Scalar

    @precise
    def __init__(self, decoder: Callable, centers, bandwidths, *, far=0.0, threshold=1e-2):
        self.decoder = check_decoder("decoder", decoder)
        self.centers = as_points("centers", centers, ndim=(2,))
        values = as_positives("bandwidths", bandwidths, len(self.centers))
        self.bandwidths = jnp.broadcast_to(values, self.centers.shape[:1])
        self.far = jax.tree.map(lambda a: as_floats("far", a), far)
        for leaf in jax.tree.leaves(self.far):
            check_finite("far", leaf)
        self.threshold = as_positive("threshold", threshold)

    @classmethod
    @precise
    def from_codes(
        cls,
        decoder: Callable,
        codes,
        *,
        key: PRNGKeyArray,
        num_centers: int = 64,
        bandwidth_scale: float = 2.0,
        far=0.0,
        threshold: float = 1e-2,
    ) -> "BlendedDecoder":
        """Centers at the k-means of latent codes, bandwidths by `rbf_bandwidths`.

        Parameters
        ----------
        decoder
            f, a function of one latent point ``(d,)``.
        codes
            Encoded data, shape ``(n, d)``.
        key
            Key of the k-means start.
        num_centers, bandwidth_scale
            Number of centers, and the multiplier of their radii.
        far, threshold
            As of the class.
        """
        codes = as_points("codes", codes, ndim=(2,))
        centers, labels = kmeans_centers(codes, num_centers, key)
        bandwidths = rbf_bandwidths(
            codes, labels, centers, bandwidth_scale=bandwidth_scale, bandwidth_rule="pooled"
        )
        return cls(decoder, centers, bandwidths, far=far, threshold=threshold)

    def weight(self, z: Point) -> Scalar:
        """w(z), the weight of the decoder: about 1 on the data, 0 far from them."""
        check_one_point(z, self.centers.shape[1])
        squares = jnp.sum((z - self.centers) ** 2, axis=1)
        logs = jax.nn.logsumexp(-self.bandwidths * squares)
        return jax.nn.sigmoid(logs - jnp.log(self.threshold))

    @precise
    def __call__(self, z: Point) -> Any:
        """The blended output at one point ``(d,)``."""
        z = jnp.asarray(z)
        output, weight = self.decoder(z), self.weight(z)
        far = self.far
        if jax.tree.structure(far) != jax.tree.structure(output):
            if jax.tree.structure(far) != jax.tree.structure(0.0):
                raise ValueError("far must be a number, or arrays in the form of the output")
            far = jax.tree.map(lambda part: far, output)
        return jax.tree.map(lambda near, away: _blend(weight, near, away), output, far)

    def _summary(self):
        centers = display.rows(self.centers, "center")
        return [*display.named(self, "decoder"), centers, *display.named(self, "threshold")]


def _blend(weight, near, away):
    if jnp.broadcast_shapes(jnp.shape(near), jnp.shape(away)) != jnp.shape(near):
        raise ValueError(
            f"far must broadcast to the output of shape {jnp.shape(near)}, got {jnp.shape(away)}"
        )
    return away + weight * (near - away)
