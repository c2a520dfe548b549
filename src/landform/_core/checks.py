"""Check arguments: arrays of numbers, points, counts, choices, keys."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from landform._core.arrays import is_traced, to_jax
from landform._core.typing import Array, PRNGKeyArray

NO_DERIVATIVE = (
    ": integers and booleans have no derivative, so leave out the cast, rounding or argmax; of "
    "complex numbers return the real and imaginary parts"
)

_REAL = "fiub"  # NumPy's kinds of numbers that are real: floats, integers, booleans


def as_floats(name: str, value) -> Array:
    """`value` as a JAX array of floats, of 32 or 64 bits.

    Taken are arrays of NumPy, JAX and PyTorch (also such that require gradients), of any byte
    order, data frames, sparse matrices, and nested lists of all these. Single precision stays;
    everything else, integers and half precision included, becomes the widest float. A missing
    value of a data frame becomes NaN.

    Raises
    ------
    TypeError
        If `value` is not of real numbers; text is none, though it may be of digits.
    ValueError
        If rows are of different lengths, or values are masked.
    """
    if isinstance(value, list | tuple) and is_traced(value):
        value = jnp.asarray(value)
    if isinstance(value, jax.Array):
        if jnp.issubdtype(value.dtype, jnp.floating):
            return value if value.dtype.itemsize >= 4 else value.astype(float)
        if not (jnp.issubdtype(value.dtype, jnp.integer) or value.dtype == bool):
            raise TypeError(f"{name} must be an array of real numbers, got {value.dtype}")
        return value.astype(float)
    return to_jax(numpy_floats(name, value))


def numpy_floats(name: str, value) -> np.ndarray:
    """`as_floats` without JAX, for use where its 64-bit mode is not known to be on."""
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked values; remove or impute them first")
    try:
        array = as_numpy(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array of numbers: {error}") from None
    is_float = jnp.issubdtype(array.dtype, np.floating)  # also bfloat16, which NumPy does not know
    if not (is_float or array.dtype.kind in _REAL):
        raise TypeError(
            f"{name} must be an array of real numbers, got {type(value).__name__} ({array.dtype})"
        )
    single = is_float and array.dtype.itemsize == 4
    return array.astype(np.float32 if single else np.float64, copy=False)


def as_numpy(value) -> np.ndarray:
    """`numpy.asarray`, also for tensors of PyTorch, sparse matrices and nullable data frames."""
    return np.asarray(_readable(value))


def _readable(value):
    """`value`, or its content in a form that `numpy.asarray` reads as numbers."""
    if isinstance(value, np.ndarray | float | int):  # a view of AnnData too has `toarray`
        return value
    if isinstance(value, list | tuple):
        return [_readable(part) for part in value]
    if hasattr(value, "detach"):  # a tensor of PyTorch, perhaps in a graph or on another device
        tensor = value.detach().cpu()
        tensor = tensor.to_dense() if tensor.is_sparse else tensor
        half = tensor.is_floating_point() and tensor.element_size() < 4
        return (tensor.double() if half else tensor).numpy()
    if hasattr(value, "toarray"):  # a sparse matrix of SciPy
        return value.toarray()
    if hasattr(value, "to_numpy"):  # pandas' columns with missing values are objects to NumPy
        dtypes = list(value.dtypes) if hasattr(value, "columns") else [value.dtype]
        real = all(getattr(dtype, "kind", "O") in _REAL for dtype in dtypes)
        if real and np.asarray(value).dtype == object:
            return value.to_numpy(dtype=float, na_value=np.nan)
    return value


def check_finite(name: str, value) -> None:
    """Raise `ValueError` naming the argument if a concrete array has NaN or infinite entries."""
    if is_traced(value):
        return
    finite = np.isfinite(np.asarray(value))
    if not finite.all():
        bad = int(finite.size - finite.sum())
        raise ValueError(f"{name} has {bad} NaN or infinite value(s); remove or impute them first")


def as_points(name: str, value, dim: int | None = None, *, ndim: tuple[int, ...] = (1, 2)) -> Array:
    """Points of a chart as a floating array of shape ``(d,)`` or ``(n, d)``, checked.

    Raises
    ------
    TypeError
        If `value` is not numeric.
    ValueError
        If the rank is not one of `ndim`, the last axis is not `dim`, or an entry is not finite.
    """
    points = as_floats(name, value)
    wanted = " or ".join({1: "(d,)", 2: "(n, d)", 3: "(m, n, d)"}[k] for k in ndim)
    if points.ndim not in ndim:
        raise ValueError(f"{name} must have shape {wanted}, got {points.shape}")
    if points.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {points.shape}")
    if dim is not None and points.shape[-1] != dim:
        raise ValueError(
            f"{name} must have {dim} coordinate(s) to match the metric, got shape {points.shape}"
        )
    check_finite(name, points)
    return points


def as_count(name: str, value, least: int = 1) -> int:
    """An integer of at least `least`."""
    wrong = f"{name} must be an integer of at least {least}, got {value!r}"
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(wrong)
    if int(value) < least:
        raise ValueError(wrong)
    return int(value)


def check_choice(name: str, value, choices) -> None:
    """Raise `ValueError` unless `value` is one of the strings `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def as_positive(name: str, value) -> Array:
    """A positive finite scalar as a floating array."""
    scalar = as_floats(name, value)
    if scalar.ndim != 0:
        raise ValueError(f"{name} must be a single number, got shape {scalar.shape}")
    if not is_traced(scalar) and not (np.isfinite(np.asarray(scalar)) and float(scalar) > 0):
        raise ValueError(f"{name} must be positive and finite, got {float(scalar)}")
    return scalar


def as_tolerance(name: str, value) -> float:
    """A positive finite number; it must be concrete, also inside a traced function."""
    number = float(value)
    if not (np.isfinite(number) and number > 0.0):
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
    return number


def as_positives(name: str, value, size: int | None = None) -> Array:
    """Positive finite numbers: one, or `size` of them; any shape if `size` is None."""
    array = as_floats(name, value)
    if size is not None and array.shape not in ((), (size,)):
        raise ValueError(f"{name} must be a number or have shape ({size},), got {array.shape}")
    check_finite(name, array)
    check_positive(name, array)
    return array


def check_positive(name: str, array: Array, *, zero: bool = False) -> None:
    """Raise `ValueError` unless all entries are positive; with `zero`, 0 is allowed."""
    if is_traced(array):
        return
    values = np.asarray(array)
    if not (values >= 0 if zero else values > 0).all():
        raise ValueError(f"{name} must {'not be negative' if zero else 'be positive'}")


def as_weights(weights, n: int) -> np.ndarray:
    """Weights of n points as a NumPy array of float64, checked; ones for None."""
    if weights is None:
        return np.ones(n)
    values = np.asarray(as_floats("weights", weights), dtype=float)
    if values.shape != (n,):
        raise ValueError(f"weights must have shape ({n},) to match X, got {values.shape}")
    if not (np.isfinite(values).all() and (values >= 0).all() and (values > 0).any()):
        raise ValueError("weights must be finite, not negative, and not all zero")
    return values


def host_rng(key: PRNGKeyArray) -> np.random.Generator:
    """A NumPy generator seeded by a JAX key, for draws that compile nothing."""
    return np.random.default_rng(np.asarray(jax.random.key_data(check_key(key))).tolist())


def seed_of(key: PRNGKeyArray | None) -> int:
    """A seed for NumPy from a JAX key: k for `jax.random.key(k)`, and 0 for None."""
    if key is None:
        return 0
    words = np.asarray(jax.random.key_data(check_key(key))).tolist()
    return functools.reduce(lambda seed, word: (seed << 32) | word, words, 0)


def check_key(key) -> PRNGKeyArray:
    """One JAX key, typed or raw; raise `TypeError` for anything else."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ():
        return key
    if dtype == np.uint32 and shape == (2,):
        return key
    raise TypeError(f"key must be one JAX key, such as jax.random.key(0), got {key!r}")


def check_decoder(name: str, f) -> Callable:
    """Raise `TypeError` unless `f` is callable, and not a PyTorch module."""
    owner = getattr(f, "__self__", f)
    if any(base.__module__.startswith("torch.nn.") for base in type(owner).__mro__):
        raise TypeError(
            f"{name} is a PyTorch module, which JAX cannot differentiate; convert it first, "
            "landform.from_torch(module, codes)"
        )
    if not callable(f):
        raise TypeError(f"{name} must be a callable of one latent point, got {type(f).__name__}")
    return f
