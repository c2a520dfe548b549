"""Helpers with nothing geometric in them: precision, checks, quadrature, SPD solves."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from landform._results import AbstractResult
from landform._typing import Array, Bool, Float, PRNGKeyArray

F = TypeVar("F", bound=Callable[..., Any])

MOST_TOGETHER = 2048
_ELIMINATED = 16  # largest order that is eliminated row by row; larger ones are halved
_POOL_CALLS = ("@lapack_", "stablehlo.fft", "@xla_python", "@xla_ffi_python")
_CACHED = 5_000_000  # intermediate numbers, most of which are never stored


def is_traced(*trees) -> bool:
    """Whether any leaf is a JAX tracer, that is, whether we are inside a user's transformation."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees))


def precise(function: F) -> F:
    """Run `function` in a scoped 64-bit mode unless it is called inside a user's transformation.

    A NumPy user has float64 data and must not lose half of the digits because a global flag of JAX
    is off; a JAX user who is already tracing has chosen a precision, which then rules. With the
    flag off, 64-bit results are handed out as NumPy arrays: JAX would cut them to 32 bits in the
    next operation.
    """

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        if is_traced(args, kwargs):
            return function(*args, **kwargs)
        wide = jax.config.read("jax_enable_x64")
        with jax.enable_x64(True):
            out = function(*args, **kwargs)
        return out if wide else _safe_outside(out)

    return wrapped  # type: ignore[return-value]


@functools.cache
def _options() -> dict[str, bool] | None:
    """Options that compile loops over many small arrays in half of the time, where XLA knows them.

    The fusion emitters of XLA's CPU back end compile each fusion through a pipeline of its own,
    which costs seconds in a program with hundreds and brings nothing at these sizes.
    """
    options = {"xla_cpu_use_fusion_emitters": False}
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(jnp.negative, compiler_options=options).lower(jnp.zeros(())).compile()
    except (ValueError, RuntimeError):  # another version of XLA, without the option
        return None
    return options


class _Compiled:
    """`equinox.filter_jit` for the large programs of the solvers, compiled in less time."""

    def __init__(self, function):
        functools.update_wrapper(self, function)
        self._plain = eqx.filter_jit(function)

    @functools.cached_property
    def _quick(self):
        filter_jit: Any = eqx.filter_jit
        return filter_jit(self.__wrapped__, compiler_options=_options())

    def __call__(self, *args, **kwargs):
        # Inside another program only that one has options.
        return (self._plain if is_traced(args, kwargs) else self._quick)(*args, **kwargs)

    def pool_calls(self, *args) -> int:
        """How often the program calls what waits for XLA's pool of workers inside one of them.

        LAPACK, the Fourier transform and Python do. Two such calls at once may wait for each other
        for ever. Lowering is kept: the call that follows, or came before, pays for it.
        """
        module = self._quick.lower(*args).lowered.compiler_ir()
        text = module.operation.get_asm(large_elements_limit=16)
        return sum(text.count(call) for call in _POOL_CALLS)


def compiled(function: Callable[..., Any]) -> _Compiled:
    """`function` as a compiled program, with the options that suit many small arrays."""
    return _Compiled(function)


def signature(*trees) -> int:
    """What a compiled program depends on: the structure, and the shapes of the arrays; hashed."""
    leaves, structure = jax.tree.flatten(trees)
    shapes = [(leaf.shape, str(leaf.dtype)) if hasattr(leaf, "dtype") else leaf for leaf in leaves]
    return hash((structure, *shapes))


def by_structure(function: F) -> F:
    """Call `function` once for all arguments of one structure and shape, for it traces them."""
    known: dict[int, Any] = {}

    @functools.wraps(function)
    def wrapped(*args):
        key = signature(args)
        if key not in known:
            known[key] = function(*args)
        return known[key]

    return wrapped  # type: ignore[return-value]


@by_structure
def block_size(function, *args) -> int:
    """How many evaluations of a function of one point go together through a processor's cache.

    A generator of images has millions of intermediate numbers a point, and many points at once only
    move them through memory; a small network is a matrix product that wants many. Between 1 and
    `MOST_TOGETHER`, by the numbers in all intermediate results of one evaluation.
    """
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(jnp.shape(a), jnp.result_type(a)), args)
    work = _count(jax.make_jaxpr(lambda *a: function(*a))(*shapes).jaxpr)
    return int(min(max(_CACHED // max(work, 1), 1), MOST_TOGETHER))


def _count(jaxpr) -> int:
    """Numbers in the results of all operations of a program, those of inner programs included."""
    total = 0
    for equation in jaxpr.eqns:
        total += sum(v.aval.size for v in equation.outvars if hasattr(v.aval, "size"))
        inner = jax.tree.leaves(list(equation.params.values()), is_leaf=_program)
        total += sum(_count(getattr(one, "jaxpr", one)) for one in inner if _program(one))
    return total


def _program(value) -> bool:
    return hasattr(value, "eqns")


def map_blocks(function, block: int, *args):
    """`jax.vmap` over leading axes; where there are more, about `block` entries at a time."""
    count = jax.tree.leaves(args)[0].shape[0]
    if count <= block:
        return jax.vmap(function)(*args)
    even = max(b for b in range(1, block + 1) if count % b == 0)
    block = even if 4 * even >= block else block  # a rest would be a second program to compile
    return jax.lax.map(lambda one: function(*one), args, batch_size=block)


def _safe_outside(out):
    """64-bit arrays as NumPy's, in containers and results, but not inside models and metrics."""

    def convert(leaf):
        wide = isinstance(leaf, jax.Array) and not is_traced(leaf)
        return np.asarray(leaf) if wide and leaf.dtype in (np.float64, np.int64) else leaf

    def stays(node):
        return isinstance(node, eqx.Module) and not isinstance(node, AbstractResult)

    return jax.tree.map(convert, out, is_leaf=stays)


def to_jax(array) -> Array:
    """Any array as JAX's; NumPy's are copied.

    `jax.numpy.asarray` compiles a program for every new shape, which takes longer than most of
    what is done with the array.
    """
    if isinstance(array, jax.Array):
        return array
    return jax.device_put(np.array(array))  # it may share the memory it is given, so a private copy


def on_host(tree):
    """Arrays that lie in the main memory as NumPy's, without a copy; others as they are.

    NumPy slices and joins them, where JAX would compile a program for every new shape.
    """

    def convert(leaf):
        concrete = isinstance(leaf, jax.Array) and not is_traced(leaf)
        if not concrete or jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
            return leaf
        near = all(device.platform == "cpu" for device in leaf.devices())
        return np.asarray(leaf) if near else leaf

    return jax.tree.map(convert, tree)


def to_length(array, length: int):
    """`array` with copies of its first row behind it until it has `length`."""
    missing = length - array.shape[0]
    if missing == 0:
        return array
    xp = np if isinstance(array, np.ndarray) else jnp
    return xp.concatenate([array, xp.repeat(array[:1], missing, axis=0)])


def join(parts):
    """Trees of arrays, one behind the other along the leading axis; as JAX's arrays."""

    def one(*pieces):
        if not isinstance(pieces[0], np.ndarray):
            return pieces[0] if len(pieces) == 1 else jnp.concatenate(pieces)
        return jax.device_put(pieces[0] if len(pieces) == 1 else np.concatenate(pieces))

    return jax.tree.map(one, *parts)


def as_floats(name: str, value) -> Array:
    """`value` as a JAX array of floats; integers and lists become the widest float."""
    if isinstance(value, jax.Array):
        if jnp.issubdtype(value.dtype, jnp.floating):
            return value
        if not (jnp.issubdtype(value.dtype, jnp.integer) or value.dtype == bool):
            raise TypeError(f"{name} must be an array of real numbers, got {value.dtype}")
        return value.astype(float)
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked values; remove or impute them first")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array of numbers: {error}") from None
    if hasattr(value, "toarray") or array.dtype.kind not in "fiub":
        raise TypeError(
            f"{name} must be an array of real numbers, got {type(value).__name__} ({array.dtype})"
        )
    if array.dtype.kind != "f" or array.dtype.itemsize < 4:
        array = array.astype(np.float64)
    return to_jax(array)


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


def as_positives(name: str, value, size: int | None = None) -> Array:
    """Positive finite numbers: one, or `size` of them; of any shape where that is None."""
    array = as_floats(name, value)
    if size is not None and array.shape not in ((), (size,)):
        raise ValueError(f"{name} must be a number or have shape ({size},), got {array.shape}")
    check_finite(name, array)
    check_positive(name, array)
    return array


def check_positive(name: str, array: Array, *, zero: bool = False) -> None:
    """Raise unless all are positive, or with `zero` not negative."""
    if is_traced(array):
        return
    values = np.asarray(array)
    if not (values >= 0 if zero else values > 0).all():
        raise ValueError(f"{name} must {'not be negative' if zero else 'be positive'}")


def host_rng(key: PRNGKeyArray) -> np.random.Generator:
    """A NumPy generator seeded by a JAX key, for draws on the host: they compile nothing."""
    return np.random.default_rng(np.asarray(jax.random.key_data(check_key(key))).tolist())


def check_key(key) -> PRNGKeyArray:
    """One key of JAX, of the new style or the old; `TypeError` for anything else."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and shape == ():
        return key
    if dtype == np.uint32 and shape == (2,):
        return key
    raise TypeError(f"key must be one JAX key, such as jax.random.key(0), got {key!r}")


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


def symmetrize(matrix: Array) -> Array:
    """The symmetric part of a matrix, or of a batch of them."""
    return 0.5 * (matrix + jnp.swapaxes(matrix, -1, -2))


def solve_positive(
    matrix: Float[Array, "*b n n"], rhs: Float[Array, "*b n k"]
) -> tuple[Float[Array, "*b n k"], Bool[Array, "*b"]]:
    """Solve ``matrix @ out = rhs`` by elimination, and say whether all pivots are positive.

    Written as array operations, the same step in all systems of a batch at once. LAPACK's batched
    kernels split a batch over XLA's pool of workers and wait inside one of them, so that two
    programs that run side by side on two cores wait for each other for ever.
    """
    n = matrix.shape[-1]
    if n > _ELIMINATED:
        return _solve_halves(matrix, rhs)
    table = jnp.concatenate([matrix, rhs], axis=-1)
    positive = jnp.ones(table.shape[:-2], dtype=bool)
    rows = jnp.arange(n)

    def eliminate(i, carry):
        table, positive = carry
        row = jax.lax.dynamic_index_in_dim(table, i, table.ndim - 2, keepdims=True)
        pivot = jax.lax.dynamic_index_in_dim(row, i, row.ndim - 1, keepdims=True)
        column = jax.lax.dynamic_index_in_dim(table, i, table.ndim - 1, keepdims=True)
        row = row / pivot
        table = jnp.where((rows == i)[:, None], row, table - column * row)
        return table, positive & (pivot[..., 0, 0] > 0.0)

    table, positive = jax.lax.fori_loop(0, n, eliminate, (table, positive))
    return table[..., n:], positive


def _solve_halves(matrix, rhs):
    """`solve_positive` by the Schur complement of the first half: products do most of the work."""
    n = matrix.shape[-1]
    k = n // 2
    right = jnp.concatenate([matrix[..., :k, k:], rhs[..., :k, :]], axis=-1)
    solved, positive = solve_positive(matrix[..., :k, :k], right)
    coupling, first = solved[..., : n - k], solved[..., n - k :]
    low = matrix[..., k:, :k]
    second, also = solve_positive(
        matrix[..., k:, k:] - low @ coupling, rhs[..., k:, :] - low @ first
    )
    return jnp.concatenate([first - coupling @ second, second], axis=-2), positive & also


def cholesky(matrix: Float[Array, "*b n n"]) -> Float[Array, "*b n n"]:
    """The lower Cholesky factor by array operations; NaN where the matrix has none."""
    n = matrix.shape[-1]
    below = jnp.arange(n)

    def column(i, carry):
        left, factor, positive = carry
        pivot = left[..., i, i][..., None]
        new = jnp.where(below >= i, left[..., :, i], 0.0) / jnp.sqrt(pivot)
        factor = factor.at[..., :, i].set(new)
        left = left - new[..., :, None] * new[..., None, :]
        return left, factor, positive & (pivot[..., 0] > 0.0)

    carry = (matrix, jnp.zeros_like(matrix), jnp.ones(matrix.shape[:-2], dtype=bool))
    _, factor, positive = jax.lax.fori_loop(0, n, column, carry)
    return jnp.where(positive[..., None, None], factor, jnp.nan)


def solve_spd(matrix: Array, rhs: Array) -> Array:
    """Solve ``matrix @ out = rhs`` for a symmetric positive-definite matrix; NaN when it is not."""

    def solve(_, columns):
        out, positive = solve_positive(matrix, columns)
        return jnp.where(positive[..., None, None], out, jnp.nan)

    vector = rhs.ndim == matrix.ndim - 1
    columns = rhs[..., None] if vector else rhs
    out = jax.lax.custom_linear_solve(lambda x: matrix @ x, columns, solve, symmetric=True)
    return out[..., 0] if vector else out


@jax.custom_jvp
def logdet_spd(matrix: Array) -> Array:
    """Log-determinant of a symmetric positive-definite matrix; NaN when it is not."""
    diagonal = jnp.diagonal(cholesky(matrix), axis1=-2, axis2=-1)
    return 2.0 * jnp.sum(jnp.log(diagonal), axis=-1)


@logdet_spd.defjvp
def _logdet_derivative(primals, tangents):
    (matrix,), (change,) = primals, tangents
    slope = jnp.trace(solve_spd(matrix, change), axis1=-2, axis2=-1)
    return logdet_spd(matrix), slope


def root(xp, square):
    """Square roots, whose derivative at 0 is 0 instead of infinite: that of a curve at rest.

    There the length, like |x|, has many slopes and no derivative, but its square has one.
    """
    still = square == 0.0
    return xp.where(still, 0.0, xp.sqrt(xp.where(still, 1.0, square)))


def chunked(function, size, *arrays, ladder: tuple[int, ...] = ()):
    """Apply a batched function in chunks of at most `size`; short ones padded to a power of two.

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
