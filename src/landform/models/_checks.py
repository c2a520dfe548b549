"""Arguments that models of a latent space share, checked."""

import jax.numpy as jnp

from landform._core.checks import as_floats, as_positives, check_finite
from landform._core.typing import Array, Float


def check_one_point(z, dim: int) -> None:
    """Raise `ValueError` for many points: they would be broadcast against centers or codes."""
    if jnp.shape(z) != (dim,):
        raise ValueError(
            f"z must be one point of shape ({dim},), got {jnp.shape(z)}; use jax.vmap for many"
        )


def as_rows(name: str, X, count: int) -> Float[Array, "n D"]:
    """Data of `count` rows, each as one vector."""
    data = as_floats(name, X)
    if data.ndim < 2 or data.shape[0] != count or data.size == 0:
        raise ValueError(
            f"{name} must have shape ({count}, D) to match the codes, got {data.shape}"
        )
    check_finite(name, data)
    return data.reshape(count, -1)


def as_lengthscale(value, dim: int) -> Float[Array, " d"]:
    """A positive number, or one for each latent dimension."""
    return jnp.broadcast_to(as_positives("lengthscale", value, dim), (dim,))
