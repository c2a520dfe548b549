"""What every likelihood shares: the interface, and the reading of a decoder's output."""

import abc
from typing import Any

import jax
import jax.numpy as jnp

from landform._core import display
from landform._core.checks import as_count
from landform._core.typing import Array, Float
from landform.metrics.pullback import flatten_output

Params = Any  # a pytree of arrays: the coordinates in which the information is simple


class AbstractFamily(display.AbstractDisplayed):
    """A likelihood: how its parameters are read from a decoder's output, and their information.

    A product of independent variables of one kind is one family with arrays for parameters.
    """

    @abc.abstractmethod
    def chart(self, output) -> Params:
        """The parameters, from a decoder's output, in the coordinates that `whiten` expects."""

    @abc.abstractmethod
    def whiten(self, params: Params, tangent: Params) -> Float[Array, " P"]:
        """``R(η) dη``: linear in the tangent, with squared length ``dηᵀ I(η) dη``."""

    @property
    def embeds(self) -> bool:
        """Whether `chart` is an isometry into Euclidean space, and `whiten` thus the identity."""
        return False


class AbstractFlat(AbstractFamily):
    """A family whose parameters embed isometrically in Euclidean space, by `chart`."""

    @property
    def embeds(self) -> bool:
        """True."""
        return True

    def whiten(self, params: Params, tangent: Params) -> Float[Array, " P"]:
        """The tangent as it is."""
        return jnp.ravel(tangent)


def check_classes(classes) -> None:
    """Raise `ValueError` unless `classes` is None or at least two."""
    if classes is not None:
        as_count("classes", classes, 2)


def read_array(output) -> Float[Array, " P"]:
    """All of a decoder's output as one vector."""
    return flatten_output(jax.tree.map(jnp.asarray, output))


def read_pair(names: str, output) -> tuple[Array, Array]:
    """Two vectors of one length, from a pair of outputs or from the halves of one."""
    if isinstance(output, tuple | list):
        if len(output) != 2:
            raise ValueError(f"the decoder must return the pair {names}, got {len(output)} items")
        parts = [jnp.asarray(part) for part in output]
        first, second = jnp.broadcast_arrays(*parts)
        if first.size > max(part.size for part in parts):  # (D,) against (D, 1) would count D times
            raise ValueError(
                f"the decoder must return the pair {names} in shapes that fit, got "
                f"{parts[0].shape} and {parts[1].shape}"
            )
        return jnp.ravel(first), jnp.ravel(second)
    values = jnp.ravel(jnp.asarray(output))
    if values.size % 2:
        raise ValueError(
            f"the decoder must return the pair {names}, or one array of both halves; "
            f"got one of {values.size} entries"
        )
    return values[: values.size // 2], values[values.size // 2 :]


def read_classes(output, classes: int | None) -> Float[Array, "*batch K"]:
    """An array with the classes on the last axis."""
    values = jnp.asarray(output)
    if classes is not None:
        if values.size % classes:
            raise ValueError(
                f"the decoder's {values.size} outputs cannot be split into {classes} classes"
            )
        return values.reshape(-1, classes)
    if values.ndim == 0 or values.shape[-1] < 2:
        raise ValueError(
            "the decoder's last axis must hold at least two classes, got an output of shape "
            f"{values.shape}; give classes= for a flat output"
        )
    return values


def read_direction(output) -> tuple[Array, Array]:
    """Unit directions ``(..., p)`` and concentrations ``(...)``."""
    pair = isinstance(output, tuple | list) and len(output) == 2 and jnp.ndim(output[0]) > 0
    direction = jnp.asarray(output[0] if pair else output)
    if direction.ndim == 0 or direction.shape[-1] < 2:
        raise ValueError(
            f"directions must have at least two coordinates, got shape {direction.shape}"
        )
    length = jnp.linalg.norm(direction, axis=-1)
    if not pair:
        return direction / length[..., None], length
    kappa = jnp.asarray(output[1])
    if kappa.ndim == direction.ndim and kappa.shape[-1] == 1:
        kappa = kappa[..., 0]
    return direction / length[..., None], positive(jnp.broadcast_to(kappa, length.shape))


def positive(values):
    """The values, NaN where they are not positive, so that a solver reports that it left."""
    return jnp.where(values > 0, values, jnp.nan)


def log_positive(values):
    """Logarithms, NaN where there is none."""
    return jnp.log(positive(values))


def root(values):
    """Square roots of probabilities or rates, zero and without slope where these underflow.

    The slope of √p is unbounded at zero, but a decoder's p goes there like an exponential, and
    √p flattens; the limit of its derivatives is zero, where the chain rule finds ∞ · 0.
    """
    floor = jnp.finfo(values.dtype).eps ** 2
    proper = values > floor
    outside = jnp.where(values < 0, jnp.nan, 0.0) * values  # NaN in value and slope
    return jnp.where(proper, jnp.sqrt(jnp.where(proper, values, 1.0)), outside)


def root_of_classes(values, logits: bool):
    """``√p`` with p normalized over the last axis."""
    if logits:
        return jnp.exp(0.5 * jax.nn.log_softmax(values, axis=-1))
    total = jnp.sum(values, axis=-1, keepdims=True)  # below zero for logarithms given by mistake
    return root(values / positive(total))


def flat(*parts) -> Float[Array, " P"]:
    """Arrays side by side as one vector."""
    return jnp.concatenate([jnp.ravel(part) for part in parts])
