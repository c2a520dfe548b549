"""Compile programs, identify them, and choose how many points they evaluate at once."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from landform._core.arrays import is_traced
from landform._core.typing import F

MAX_BLOCK = 2048  # points evaluated at once
_POOL_CALLS = ("@lapack_", "stablehlo.fft", "@xla_python", "@xla_ffi_python")
_MAX_INTERMEDIATES = 5_000_000  # numbers in a block; XLA fuses most of them away


@functools.cache
def _options() -> dict[str, bool] | None:
    """Options that halve the compilation time of loops over small arrays; None if XLA lacks them.

    The fusion emitters of XLA's CPU backend compile each fusion in a separate pipeline. A program
    with hundreds of fusions takes seconds more, and runs no faster at these sizes.
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
        self._function = function
        self._plain = eqx.filter_jit(function)

    @functools.cached_property
    def _quick(self):
        filter_jit: Any = eqx.filter_jit
        return filter_jit(self._function, compiler_options=_options())

    def __call__(self, *args, **kwargs):
        # Options apply to the outermost program only.
        return (self._plain if is_traced(args, kwargs) else self._quick)(*args, **kwargs)

    def pool_calls(self, *args) -> int:
        """How many calls of the program run inside a worker of XLA's pool and wait for others.

        LAPACK, Fourier transforms and Python callbacks do. Two such calls at once may wait for each
        other for ever. JAX caches the lowering, so that the program is not lowered twice.
        """
        module = self._quick.lower(*args).lowered.compiler_ir()
        text = module.operation.get_asm(large_elements_limit=16)
        return sum(text.count(call) for call in _POOL_CALLS)


def compiled(function: Callable[..., Any]) -> _Compiled:
    """Compile `function`, with options for loops over many small arrays."""
    return _Compiled(function)


def signature(*trees) -> int:
    """A hash of what a compiled program depends on: tree structure, shapes and dtypes."""
    leaves, structure = jax.tree.flatten(trees)
    shapes = [(leaf.shape, str(leaf.dtype)) if hasattr(leaf, "dtype") else leaf for leaf in leaves]
    return hash((structure, *shapes))


def by_structure(function: F) -> F:
    """Cache `function` by the structure and shapes of its arguments: it only traces them."""
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
    """How many points a function of one point should evaluate at once, from 1 to `MAX_BLOCK`.

    A generator of images has millions of intermediate numbers for each point, and evaluating many
    points at once moves them all through memory. A small network is faster in large batches. The
    size follows from the count of numbers in all intermediate results of one evaluation.
    """
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(jnp.shape(a), jnp.result_type(a)), args)
    work = _count(jax.make_jaxpr(lambda *a: function(*a))(*shapes).jaxpr)
    return int(min(max(_MAX_INTERMEDIATES // max(work, 1), 1), MAX_BLOCK))


def _count(jaxpr) -> int:
    """Numbers in the results of all operations of a program, inner programs included."""
    total = 0
    for equation in jaxpr.eqns:
        total += sum(v.aval.size for v in equation.outvars if hasattr(v.aval, "size"))
        inner = jax.tree.leaves(list(equation.params.values()), is_leaf=_program)
        total += sum(_count(getattr(one, "jaxpr", one)) for one in inner if _program(one))
    return total


def _program(value) -> bool:
    return hasattr(value, "eqns")


def map_blocks(function, block: int, *args):
    """`jax.vmap` over leading axes, in blocks of about `block` entries."""
    count = jax.tree.leaves(args)[0].shape[0]
    if count <= block:
        return jax.vmap(function)(*args)
    even = max(b for b in range(1, block + 1) if count % b == 0)
    block = even if 4 * even >= block else block  # a remainder would compile a second program
    return jax.lax.map(lambda one: function(*one), args, batch_size=block)
