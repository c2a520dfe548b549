"""What all decoders from elsewhere share: one point in, checked, one array or a tuple out."""

import abc

import jax
import jax.numpy as jnp

from landform._core import display
from landform._core.arrays import is_traced, precise
from landform._core.checks import as_floats
from landform._core.typing import Array, Float


class AbstractDecoder(display.AbstractDisplayed):
    """A pure JAX function of one latent point, whose weights are leaves."""

    @property
    @abc.abstractmethod
    def latent_dim(self) -> int:
        """The number of latent coordinates d."""

    @abc.abstractmethod
    def _heads(self, z: Float[Array, " d"]) -> tuple[Array, ...]:
        """The flattened outputs at a floating point `z` of the right shape."""

    # `jax.jit(decoder)` needs a hash; as a function a decoder is only equal to itself
    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    @precise
    def __call__(self, z: Float[Array, " d"]) -> Array | tuple[Array, ...]:
        """Decode one latent point.

        Parameters
        ----------
        z : array, shape (d,)
            The point. Use `jax.vmap` for a batch.

        Returns
        -------
        array of shape (D,), or a tuple of such for several heads.

        Raises
        ------
        TypeError
            If `z` is not numeric.
        ValueError
            If `z` is not one point of the right dimension.
        """
        z = jnp.asarray(z) if is_traced(z) else as_floats("z", z)
        if z.shape != (self.latent_dim,):
            batch = z.ndim == 2 and z.shape[1] == self.latent_dim
            raise ValueError(
                f"z must be one point of shape ({self.latent_dim},), got shape {z.shape}"
                f"{'; use jax.vmap for a batch' if batch else ''}"
            )
        return _run(self, z) if is_traced(self, z) else _run_compiled(self, z)


def _run(decoder: AbstractDecoder, z: Array) -> Array | tuple[Array, ...]:
    if not jnp.issubdtype(z.dtype, jnp.floating):
        z = z.astype(jnp.result_type(float))
    heads = decoder._heads(z)
    return heads[0] if len(heads) == 1 else heads


_run_compiled = jax.jit(_run)
