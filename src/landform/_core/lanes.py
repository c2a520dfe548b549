"""Batches in lanes: many small iterative problems of uneven length on a fixed number of lanes.

Under ``vmap(while_loop)`` every problem pays for the slowest one. Here a lane that finishes writes
its result and takes the next problem from the queue, all inside one compiled loop. A method has
functions of *one* problem; `init` and `finish` run in every iteration and must be cheap.
"""

import abc
import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from landform._core.arrays import is_traced, join, on_host, to_length
from landform._core.compilation import compiled, signature
from landform._core.module import AbstractModule
from landform._core.process import is_wide, needed_settings
from landform._core.typing import Array

PyTree = Any

_SMALL_BATCH = 8  # batches up to this size use a smaller program, which compiles and runs faster
_SMALL_BATCH_LANES = 2


class AbstractMethod(AbstractModule):
    """An iterative method for one problem: `init`, `step` until `done`, then `finish`."""

    @abc.abstractmethod
    def init(self, args: PyTree, problem: PyTree) -> PyTree:
        """The first state of a problem; without an expensive evaluation."""

    def renew(self, args: PyTree, state: PyTree, problem: PyTree) -> PyTree:
        """The first state of a problem in a lane whose last problem is finished; by default `init`.

        Entries that the first step does not read may keep their values, which saves copies and
        compilation.
        """
        return self.init(args, problem)

    @abc.abstractmethod
    def step(self, args: PyTree, state: PyTree) -> PyTree:
        """One iteration, with one expensive evaluation."""

    @abc.abstractmethod
    def done(self, state: PyTree) -> Array:
        """Whether the problem is finished, successfully or not."""

    @abc.abstractmethod
    def finish(self, state: PyTree) -> PyTree:
        """The result; without an expensive evaluation."""


@compiled
def _run(method, args, problems, count, lanes):
    """Solve the first `count` of the queued problems on `lanes` lanes."""
    capacity = jax.tree.leaves(problems)[0].shape[0]
    step = jax.vmap(lambda state: method.step(args, state))
    if lanes == 1:  # without vmap, branches stay branches and inner loops end early
        step = lambda state: _widen(method.step(args, jax.tree.map(lambda a: a[0], state)))  # noqa: E731

    def take(index):
        return jax.tree.map(lambda a: a[jnp.clip(index, 0, capacity - 1)], problems)

    def renew(over, state, problem):
        fresh = method.renew(args, state, problem)
        return jax.tree.map(lambda a, b: b if a is b else jnp.where(over, a, b), fresh, state)

    # A result is stored as one row, so that each iteration needs one store for all its arrays.
    state = jax.vmap(lambda problem: method.init(args, problem))(take(jnp.arange(lanes)))
    example = jax.tree.map(lambda a: a[0], state)
    shape = jax.eval_shape(lambda s: ravel_pytree(method.finish(s))[0], example)
    unravel = ravel_pytree(
        jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(method.finish, example))
    )[1]

    def body(carry):
        state, index, fetched, results = carry
        state = step(state)
        over = jax.vmap(method.done)(state) & (index < count)
        rows = jax.vmap(lambda s: ravel_pytree(method.finish(s))[0])(state)
        results = results.at[jnp.where(over, index, capacity)].set(rows, mode="drop")
        index = jnp.where(over, fetched + jnp.cumsum(over) - 1, index)
        state = jax.vmap(renew)(over & (index < count), state, take(index))
        return state, index, fetched + jnp.sum(over), results

    def active(carry):
        return jnp.any(carry[1] < count)

    results = jnp.zeros((capacity, *shape.shape), shape.dtype)
    carry = (state, jnp.arange(lanes), jnp.asarray(lanes), results)
    return jax.vmap(unravel)(jax.lax.while_loop(active, body, carry)[3])


def run(
    method: AbstractMethod, args, problems, *, lanes: int = 16, chunk: int = 256, progress=None
):
    """Solve every problem of a batch; results come with a leading batch axis, in order.

    Parameters
    ----------
    method
        The method; its fields other than arrays must be hashable.
    args
        What all problems share, such as the metric.
    problems
        A pytree with a leading axis n.
    lanes
        Problems in flight at once.
    chunk
        Problems per call of the compiled loop; shorter batches are padded to it, so that one
        compilation serves every n, and it bounds the memory of the queue.
    progress
        Called with the number of problems finished after each chunk.
    """
    n = jax.tree.leaves(problems)[0].shape[0]
    if n <= _SMALL_BATCH:
        lanes, chunk = min(lanes, _SMALL_BATCH_LANES), _SMALL_BATCH
    lanes = min(lanes, chunk)
    share = chunk
    if n > _SMALL_BATCH and not is_traced(args, problems):
        # Parts of equal size, in a number that keeps all processors busy to the end.
        rounds = -(-n // (chunk * cores()))
        share = min(chunk, max(lanes, -(-n // (rounds * cores()))))

    def arguments(start):
        count = min(share, n - start)
        queue = jax.tree.map(lambda a: to_length(a[start : start + count], chunk), problems)
        return method, args, queue, jnp.asarray(count), lanes

    problems, parts = on_host(problems), []
    for result in side_by_side(_run, arguments, range(0, n, share)):
        count = min(share, n - len(parts) * share)
        parts.append(jax.tree.map(lambda a, c=count: a[:c], result))
        if progress is not None:
            progress(min(n, len(parts) * share))
    return join(parts)


def cores() -> int:
    """Processors to use: all that this process may use, or at most ``LANDFORM_THREADS``."""
    asked = os.environ.get("LANDFORM_THREADS", "").strip()
    if asked and not (asked.isdecimal() and int(asked) > 0):
        raise ValueError(f"LANDFORM_THREADS must be a positive integer, got {asked!r}")
    return min(_processors(), int(asked)) if asked else _processors()


def _processors() -> int:
    """Processors that this process may use; one if XLA computes on another device."""
    if jax.default_backend() != "cpu":
        return 1
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


_calls: dict[tuple, int] = {}  # for each compiled program, its calls that wait for workers


def side_by_side(program, arguments: Callable[[Any], tuple], items: Iterable) -> Iterable:
    """Results on the host of ``program(*arguments(item))``, in order, on all processors.

    XLA runs a loop over small arrays on a single processor. `program` must come from `compiled`,
    and all arguments must have one structure and shapes. The first item runs alone, so that two
    threads do not compile the same program. A program that waits for workers of XLA's pool, such as
    one with a user's eigendecomposition, always runs alone: two of them may wait for ever.
    """
    items = list(items)
    workers = min(cores(), len(items))
    if not items:
        return
    first = arguments(items[0])
    if is_traced(first):
        yield from (program(*arguments(item)) for item in items)
        return
    known = (program, signature(first))
    if known not in _calls:
        _calls[known] = program.pool_calls(*first) if _pool_workers() > 1 else 0
        if _calls[known] > 1:
            _warn_of_waiting(_calls[known])
        yield on_host(jax.block_until_ready(program(*first)))
        items = items[1:]
    workers = 1 if _calls[known] else min(workers, len(items))
    wide = is_wide()

    def call(item):
        with needed_settings(wide):  # a thread has settings of its own
            return on_host(jax.block_until_ready(program(*arguments(item))))

    if workers < 2:
        yield from map(call, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(call, items)


def _pool_workers() -> int:
    """Workers in XLA's pool; one if XLA does not compute on the processor."""
    asked = os.environ.get("PJRT_NPROC") or os.environ.get("NPROC") or ""
    return int(asked) if asked.isdecimal() and jax.default_backend() == "cpu" else _processors()


def _warn_of_waiting(calls: int) -> None:
    warnings.warn(
        f"the metric calls LAPACK, a Fourier transform or Python ({calls} calls in one program): "
        f"on few cores (here {cores()}) XLA may wait for itself for ever. Start Python with the "
        "environment variable PJRT_NPROC=1, which excludes that, or write small solves as array "
        "operations",
        RuntimeWarning,
        stacklevel=2,
    )


def _widen(state):
    return jax.tree.map(lambda a: jnp.asarray(a)[None], state)
