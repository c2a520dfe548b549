"""The base of the library's objects: modules that keep every bit when they are pickled or copied.

JAX's own arrays are cut to single precision when they are unpickled, or copied, while its 64-bit
flag is off, as it is in a new process.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


class _Kept(NamedTuple):
    """An array of JAX on its way through a pickle; `kind` names the type of a random key."""

    values: np.ndarray
    kind: str | None


def _keep(tree: Any) -> Any:
    """`tree` with NumPy's arrays in place of JAX's."""

    def one(leaf):
        if not isinstance(leaf, jax.Array):
            return leaf
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return _Kept(np.asarray(jax.random.key_data(leaf)), str(jax.random.key_impl(leaf)))
        return _Kept(np.asarray(leaf), None)

    return jax.tree.map(one, tree)


def _restore(tree: Any) -> Any:
    """The inverse of `_keep`, whatever the flags of JAX."""

    def one(leaf):
        if not isinstance(leaf, _Kept):
            return leaf
        if leaf.kind is not None:
            return jax.random.wrap_key_data(jnp.asarray(leaf.values), impl=leaf.kind)
        return jax.device_put(leaf.values)

    with jax.enable_x64(True):
        return jax.tree.map(one, tree, is_leaf=lambda node: isinstance(node, _Kept))


class AbstractModule(eqx.Module):
    """An Equinox module that keeps every bit; a copy of it is itself, for nothing in it changes."""

    def __getstate__(self) -> dict:
        return {name: _keep(value) for name, value in vars(self).items()}

    def __setstate__(self, state: dict) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, _restore(value))

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


def rebuilt(cls, fields: tuple):
    """A named tuple from what `reduced` left of it."""
    return cls(*_restore(fields))


def reduced(record):
    """How a named tuple of arrays is pickled, as its ``__reduce__``."""
    return rebuilt, (type(record), _keep(tuple(record)))
