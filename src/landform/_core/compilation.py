"""Programs: how they are compiled, what identifies them, and how many points they take at once."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from landform._core.arrays import is_traced
from landform._core.typing import F

MOST_TOGETHER = 2048
_POOL_CALLS = ("@lapack_", "stablehlo.fft", "@xla_python", "@xla_ffi_python")
_CACHED = 5_000_000  # intermediate numbers, most of which are never stored


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
        self._function = function
        self._plain = eqx.filter_jit(function)

    @functools.cached_property
    def _quick(self):
        filter_jit: Any = eqx.filter_jit
        return filter_jit(self._function, compiler_options=_options())

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
