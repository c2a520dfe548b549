"""The training loop: whole epochs in one compiled scan, early stopping, the best iterate kept."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from landform._core.checks import host_rng
from landform._core.compilation import block_size, map_blocks
from landform._core.status import ConvergenceError
from landform._core.typing import PRNGKeyArray
from landform.models.checkpoint import Checkpoint

_OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())
_HELD_OUT_DRAWS = 8


class Fitted(NamedTuple):
    """Parameters after training, and the bounds per data point after each epoch."""

    params: Any
    train: np.ndarray
    held_out: np.ndarray
    stopped_early: bool


def keep(params):
    """No constraint on the parameters."""
    return params


def clip_nonnegative(params):
    """Every parameter at least zero."""
    return jax.tree.map(lambda leaf: jnp.maximum(leaf, 0.0), params)


_start = eqx.filter_jit(_OPTIMIZER.init)


@eqx.filter_jit
def _epoch(params, state, bound, project, frame, data, rows, noise, rates, kl_weight):
    """One pass over the data, a batch for each row of `rows`; returns also the mean bound."""
    scale = 1.0 / sum(leaf[0].size for leaf in jax.tree.leaves(data))

    def objective(params, batch, noise):
        reconstruction, kl = bound(params, frame, batch, noise)
        return -scale * (reconstruction - kl_weight * kl), reconstruction - kl

    def step(carry, item):
        params, state = carry
        batch_rows, batch_noise, rate = item
        batch = jax.tree.map(lambda leaf: leaf[batch_rows], data)
        (_, value), gradient = jax.value_and_grad(objective, has_aux=True)(
            params, batch, batch_noise
        )
        updates, state = _OPTIMIZER.update(gradient, state)
        params = jax.tree.map(lambda p, u: p - rate * u, params, updates)
        return (project(params), state), value

    (params, state), values = jax.lax.scan(step, (params, state), (rows, noise, rates))
    return params, state, jnp.mean(values)


def _row_bound(bound, params, frame, row, noise):
    """The bound of one row, the mean of its draws ``(draws, latent_dim)``."""
    batch = jax.tree.map(lambda leaf: leaf[None], row)
    reconstruction, kl = jax.vmap(lambda draw: bound(params, frame, batch, draw[None]))(noise)
    return jnp.mean(reconstruction - kl)


@eqx.filter_jit
def _held_out(params, bound, frame, data, noise):
    one, by_row = eqx.Partial(_row_bound, bound, params, frame), jnp.swapaxes(noise, 0, 1)
    block = block_size(one, jax.tree.map(lambda leaf: leaf[0], data), by_row[0])
    if len(by_row) > block:
        return jnp.mean(map_blocks(one, block, data, by_row))
    reconstruction, kl = jax.vmap(lambda draw: bound(params, frame, data, draw))(noise)
    return jnp.mean(reconstruction - kl)


def cosine_rates(peak: float, epoch: int, steps: int, epochs: int) -> np.ndarray:
    """Learning rates of one epoch: a cosine from `peak` to a hundredth of it over all epochs."""
    progress = (epoch * steps + np.arange(steps)) / (epochs * steps)
    return peak * (0.01 + 0.99 * 0.5 * (1.0 + np.cos(np.pi * progress)))


@contextlib.contextmanager
def progress_bar(label: str, total: int, show: bool, what: str = "held-out bound"):
    """A function to call with a value after each epoch, drawing a bar only when asked."""
    if not show:
        yield lambda value: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()]
    with Progress(*columns, TextColumn("{task.fields[note]}")) as bar:
        task = bar.add_task(label, total=total, note="")
        yield lambda value: bar.update(task, advance=1, note=f"{what} {value:.2f}")


def fit(
    bound: Callable,
    params,
    frame,
    train,
    held_out,
    *,
    key: PRNGKeyArray,
    latent_dim: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    patience: int,
    warmup: int = 0,
    project: Callable = keep,
    label: str = "training",
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
) -> Fitted:
    """Maximize a variational bound by Adam with a cosine schedule, and keep the best iterate.

    Parameters
    ----------
    bound
        ``(params, frame, batch, noise) -> (reconstruction, kl)``, means over the batch in nats,
        with standard normal noise ``(rows, latent_dim)``. A function of module level, so that a
        second call with arrays of one shape compiles nothing.
    params, frame
        Trained and fixed pytrees.
    train, held_out
        Pytrees of arrays with the data along the first axis.
    warmup
        Epochs over which the weight of the KL term rises from 0 to 1.
    patience
        Epochs after the warm-up without a better held-out bound before training stops.
    checkpoint
        Where to keep the state of this training under its label, and to go on from.

    Raises
    ------
    ConvergenceError
        If the bound or a parameter becomes NaN or infinite; its `result` is the best `Fitted`.
    """
    count = jax.tree.leaves(train)[0].shape[0]
    batch_size = min(batch_size, count)
    steps = count // batch_size
    dtype = jax.tree.leaves(params)[0].dtype
    state = _start(params)
    rng = host_rng(key)
    rows_held = jax.tree.leaves(held_out)[0].shape[0]
    held_noise = _noise(rng, (_HELD_OUT_DRAWS, rows_held, latent_dim), dtype)
    best, best_epoch, history = params, 0, []
    saved = None if checkpoint is None else checkpoint.get(label, (params, state, best))
    if saved is not None:
        (params, state, best), notes = saved
        best_epoch, history = notes["best_epoch"], [tuple(row) for row in notes["history"]]
        rng.bit_generator.state = notes["rng"]
        if notes["finished"]:
            return _fitted(best, history, notes["stopped_early"])
    best_value = history[best_epoch][1] if history else -np.inf
    with progress_bar(label, epochs, progress) as report:
        for _, value in history:
            report(value)
        for epoch in range(len(history), epochs):
            rates = jnp.asarray(cosine_rates(learning_rate, epoch, steps, epochs), dtype)
            weight = jnp.asarray(min(1.0, (epoch + 1) / (warmup + 1)), dtype)
            rows = rng.permutation(count)[: steps * batch_size].reshape(steps, batch_size)
            noise = _noise(rng, (steps, batch_size, latent_dim), dtype)
            params, state, mean = _epoch(
                params, state, bound, project, frame, train, rows, noise, rates, weight
            )
            value = float(_held_out(params, bound, frame, held_out, held_noise))
            history.append((float(mean), value))
            if not np.isfinite(history[-1]).all():
                raise ConvergenceError(
                    f"{label} failed: the bound became {value} in epoch {epoch + 1}; lower "
                    "learning_rate, or check the scale of the data",
                    _fitted(best, history, False),
                )
            if value > best_value:
                best, best_value, best_epoch = params, value, epoch
            report(value)
            stopped = bool(epoch - max(best_epoch, warmup) >= patience)
            finished = stopped or epoch + 1 == epochs
            if checkpoint is not None and (finished or (epoch + 1) % checkpoint.every == 0):
                notes = {
                    "best_epoch": best_epoch,
                    "history": history,
                    "finished": finished,
                    "stopped_early": stopped,
                    "rng": rng.bit_generator.state,
                }
                checkpoint.put(label, (params, state, best), notes)
            if stopped:
                return _fitted(best, history, True)
    return _fitted(best, history, False)


def _noise(rng: np.random.Generator, shape, dtype):
    return jnp.asarray(rng.standard_normal(shape, np.float32), dtype)


def _fitted(params, history, stopped_early) -> Fitted:
    table = np.asarray(history, dtype=np.float64).reshape(-1, 2)
    return Fitted(params, table[:, 0], table[:, 1], stopped_early)
