"""Arrays between NumPy and JAX, on the host and on the device, and the precision they keep."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from landform._core.process import check_not_forked, is_wide, needed_settings
from landform._core.status import AbstractResult
from landform._core.typing import Array, F


def is_traced(*trees) -> bool:
    """Whether any leaf is a JAX tracer, that is, whether we are inside a user's transformation."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees))


def precise(function: F) -> F:
    """Run `function` with 64 bits, unless it is called inside a user's transformation.

    A NumPy user has float64 data and must not lose half of the digits because a global flag of JAX
    is off; a JAX user who is already tracing has chosen a precision, which then holds. With the
    flag off, 64-bit results are returned as NumPy arrays: JAX would cut them to 32 bits in the next
    operation. Other settings of JAX that the library needs are scoped here as well, and a forked
    process in which JAX would wait for ever is refused.
    """

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        check_not_forked()
        if is_traced(args, kwargs):
            with needed_settings():
                return function(*args, **kwargs)
        wide = is_wide()
        with needed_settings(wide=True):
            out = function(*args, **kwargs)
            return out if wide else _safe_outside(out)

    return wrapped  # type: ignore[return-value]


def _safe_outside(out):
    """Turn 64-bit arrays in containers and results into NumPy's; leave models and metrics alone."""

    def convert(leaf):
        wide = isinstance(leaf, jax.Array) and not is_traced(leaf)
        return np.asarray(leaf) if wide and leaf.dtype in (np.float64, np.int64) else leaf

    def stays(node):
        return isinstance(node, eqx.Module) and not isinstance(node, AbstractResult)

    return jax.tree.map(convert, out, is_leaf=stays)


def to_jax(array) -> Array:
    """Any array as a JAX array; a NumPy array is copied.

    `jax.numpy.asarray` compiles a program for every new shape, which often takes longer than the
    computation on the array.
    """
    if isinstance(array, jax.Array):
        return array
    return jax.device_put(np.array(array))  # device_put may share the memory it is given: copy


def on_host(tree):
    """Arrays in main memory as NumPy's, without a copy; arrays elsewhere unchanged.

    NumPy slices and joins arrays at once; JAX compiles a program for every new shape.
    """

    def convert(leaf):
        concrete = isinstance(leaf, jax.Array) and not is_traced(leaf)
        if not concrete or jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
            return leaf
        near = all(device.platform == "cpu" for device in leaf.devices())
        return np.asarray(leaf) if near else leaf

    return jax.tree.map(convert, tree)


def to_length(array, length: int):
    """`array` padded to `length` with copies of its first row."""
    missing = length - array.shape[0]
    if missing == 0:
        return array
    xp = np if isinstance(array, np.ndarray) else jnp
    return xp.concatenate([array, xp.repeat(array[:1], missing, axis=0)])


def join(parts):
    """Concatenate trees of arrays along the leading axis, into JAX arrays."""

    def one(*pieces):
        if not isinstance(pieces[0], np.ndarray):
            return pieces[0] if len(pieces) == 1 else jnp.concatenate(pieces)
        return jax.device_put(pieces[0] if len(pieces) == 1 else np.concatenate(pieces))

    return jax.tree.map(one, *parts)


def promote(*trees):
    """Cast the floating leaves of several trees to their common dtype."""
    leaves = [x for x in jax.tree.leaves(trees) if eqx.is_inexact_array(x)]
    dtype = jnp.result_type(*leaves) if leaves else jnp.result_type(float)

    def cast(leaf):
        return (
            leaf.astype(dtype)
            if eqx.is_inexact_array(leaf) and not jnp.iscomplexobj(leaf)
            else leaf
        )

    out = jax.tree.map(cast, trees)
    return out if len(trees) > 1 else out[0]


def chunked(function, size, *arrays, ladder: tuple[int, ...] = ()):
    """Apply a batched function in chunks of at most `size`; pad small batches to a power of two.

    Few distinct shapes mean few compilations, and a bounded chunk means bounded memory. With a
    `ladder` a batch is padded to the first of its sizes that holds it, or else to `size`.
    """
    n = arrays[0].shape[0]
    if ladder:
        size = next((step for step in ladder if n <= step), size)
    else:
        size = min(size, 1 << (n - 1).bit_length())
    arrays, parts = on_host(arrays), []
    for start in range(0, n, size):
        count = min(size, n - start)
        block = [to_length(a[start : start + count], size) for a in arrays]
        parts.append(jax.tree.map(lambda leaf, c=count: leaf[:c], on_host(function(*block))))
    return join(parts)
