"""Batches in lanes: many small iterative problems of uneven length on a fixed number of lanes.

Under ``vmap(while_loop)`` every problem pays for the slowest one. Here a lane that finishes writes
its result and takes the next problem from the queue, all inside one compiled loop. A method has
functions of *one* problem; `init` and `finish` run in every iteration and must be cheap.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._typing import Array

PyTree = Any

_FEW = 4  # problems that get a small program of their own, so that one pair does not pay for many


class AbstractMethod(eqx.Module):
    """An iterative method for one problem: `init`, `step` until `done`, then `finish`."""

    @abc.abstractmethod
    def init(self, args: PyTree, problem: PyTree) -> PyTree:
        """First state of a problem; no expensive evaluation."""

    @abc.abstractmethod
    def step(self, args: PyTree, state: PyTree) -> PyTree:
        """One iteration, with one expensive evaluation."""

    @abc.abstractmethod
    def done(self, state: PyTree) -> Array:
        """Whether the problem is finished, successfully or not."""

    @abc.abstractmethod
    def finish(self, state: PyTree) -> PyTree:
        """The result; no expensive evaluation."""


def _select(mask, new, old):
    def pick(a, b):
        return jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(pick, new, old)


@eqx.filter_jit
def _run(method, args, problems, count, lanes):
    """Solve the first `count` of the queued problems on `lanes` lanes."""
    capacity = jax.tree.leaves(problems)[0].shape[0]
    init = jax.vmap(lambda problem: method.init(args, problem))
    step = jax.vmap(lambda state: method.step(args, state))

    def take(index):
        return jax.tree.map(lambda a: a[jnp.clip(index, 0, capacity - 1)], problems)

    index = jnp.arange(lanes)
    state = init(take(index))
    empty = jax.tree.map(
        lambda s: jnp.zeros((capacity, *s.shape[1:]), s.dtype),
        jax.eval_shape(jax.vmap(method.finish), state),
    )

    def body(carry):
        state, index, fetched, results = carry
        state = step(state)
        over = jax.vmap(method.done)(state) & (index < count)
        slot = jnp.where(over, index, capacity)
        results = jax.tree.map(
            lambda buffer, value: buffer.at[slot].set(value, mode="drop"),
            results,
            jax.vmap(method.finish)(state),
        )
        following = fetched + jnp.cumsum(over) - 1
        index = jnp.where(over, following, index)
        state = _select(over & (index < count), init(take(index)), state)
        return state, index, fetched + jnp.sum(over), results

    def active(carry):
        return jnp.any(carry[1] < count)

    carry = (state, index, jnp.asarray(lanes), empty)
    return jax.lax.while_loop(active, body, carry)[3]


def run(
    method: AbstractMethod, args, problems, *, lanes: int = 16, chunk: int = 256, progress=None
):
    """Solve every problem of a batch; results come with a leading batch axis, in order.

    Parameters
    ----------
    method
        The method, hashable but for its arrays.
    args
        What all problems share: the metric.
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
    if n <= _FEW:
        lanes = chunk = 1 if n == 1 else _FEW
    parts = []
    for start in range(0, n, chunk):
        part = jax.tree.map(lambda a, s=start: _pad(a[s : s + chunk], chunk), problems)
        count = min(chunk, n - start)
        result = _run(method, args, part, jnp.asarray(count), min(lanes, chunk))
        parts.append(jax.tree.map(lambda a, c=count: a[:c], result))
        if progress is not None:
            progress(start + count)
    if len(parts) == 1:
        return parts[0]
    return jax.tree.map(lambda *pieces: jnp.concatenate(pieces), *parts)


def _pad(array, length):
    missing = length - array.shape[0]
    if missing == 0:
        return array
    module = np if isinstance(array, np.ndarray) else jnp
    return module.concatenate([array, module.repeat(array[:1], missing, axis=0)])
