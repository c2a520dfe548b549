"""Training of amortized geodesics: a few exact curves, then the energy of the network's own."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from landform._core.arrays import precise, promote
from landform._core.checks import as_count, as_points, as_positive, check_key, host_rng
from landform._core.status import ConvergenceError
from landform._core.typing import PRNGKeyArray
from landform.geodesics.geodesic import geodesic
from landform.metrics.base import AbstractMetric, check_dtype, check_metric
from landform.models.interpolant import GeodesicInterpolant, points_on, squared_speed
from landform.models.loop import cosine_rates, progress_bar
from landform.models.networks import MLP

_OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())
_TRAIN_TIMES = 16  # points of a curve in one training step
_STEPS_PER_EPOCH = 100  # training steps in an epoch
_HELD_OUT_PAIRS = 256  # pairs on which the best iterate is chosen
_GUIDE_TIMES = 33  # points of an exact geodesic in the first stage


@precise
def train_interpolant(
    metric: AbstractMetric,
    x,
    y=None,
    *,
    key: PRNGKeyArray,
    paired: bool = False,
    hidden=(64, 64),
    activation: str = "silu",
    guides: int = 200,
    epochs: int = 30,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    progress: bool = False,
) -> GeodesicInterpolant:
    """Train a network to give geodesics of a metric for a distribution of pairs.

    The first stage fits the network to a few exact geodesics, which show on which side of a hole to
    pass; the second lowers the energy of its own curves, for new pairs in every step. The
    objective is the mean *logarithm* of the energy: a pair in an expensive region counts as much as
    one in a cheap one.

    Parameters
    ----------
    metric
        The metric.
    x, y
        Points to draw the ends from, shapes ``(n, d)`` and ``(m, d)``; y = None stands for x.
    key
        Key of everything random.
    paired
        Whether row k of x belongs to row k of y, as in a coupling; else ends are independent.
        Pairs that coincide are left out.
    hidden, activation
        Of the network; a smooth activation.
    guides
        Pairs solved exactly for the first stage; 0 leaves it out.
    epochs
        Epochs of the second stage, 100 steps each; the first has half as many.
    batch_size, learning_rate
        Of Adam, with a cosine schedule.
    progress
        Whether to draw a progress bar.

    Returns
    -------
    GeodesicInterpolant
        The iterate with the lowest held-out energy, never worse there than straight lines.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.
    ConvergenceError
        If the energy becomes NaN, say because curves leave the domain of the metric.

    Notes
    -----
    Metric flow matching (Kapuśniak et al. 2024, arXiv:2405.14780, algorithm 1) has the second stage
    alone, with the energy itself. A step costs 16 × `batch_size` inner products and their gradient.
    `GeodesicInterpolant.gap` measures the error.

    Examples
    --------
    >>> import jax, numpy as np, landform as lf
    >>> x = np.random.default_rng(0).normal(size=(50, 2))
    >>> fit = lf.train_interpolant(lf.Euclidean(2), x, key=jax.random.key(0), epochs=1, guides=0)
    >>> bool(abs(fit.length(lf.Euclidean(2), x[0], x[1]) / np.linalg.norm(x[0] - x[1]) - 1) < 0.1)
    True
    """
    x, y = _check_points(metric, x, y, paired)
    counts = {"guides": (guides, 0), "epochs": (epochs, 1), "batch_size": (batch_size, 1)}
    for name, (value, least) in counts.items():
        as_count(name, value, least)
    rate = float(as_positive("learning_rate", learning_rate))
    net_key, draw_key = jax.random.split(check_key(key))
    pairs = _Pairs(host_rng(draw_key), x, y, bool(paired), int(batch_size))
    fit = _straight(net_key, pairs, tuple(hidden), activation)
    curves = _guides(metric, pairs.draw(guides)) if guides and epochs > 1 else None
    first = 0 if curves is None else epochs // 2
    held = pairs.draw(_HELD_OUT_PAIRS)
    history = [float(_energy(metric, fit, *held))]
    with progress_bar("interpolant", first + epochs, progress, "log-energy") as report:
        for count, targets in ((first, curves), (epochs, None)):
            fit = _stage(metric, fit, pairs, held, targets, count, rate, history, report)
    return eqx.tree_at(lambda i: i.history, fit, jnp.asarray(history))


def _stage(metric, fit, pairs, held, curves, epochs, rate, history, report):
    """Some epochs on exact curves, or on the energy without any; the best iterate so far."""
    best, lowest = fit, min((v for v in history if np.isfinite(v)), default=np.inf)
    state = _OPTIMIZER.init(fit.net)
    for epoch in range(epochs):
        rates = jnp.asarray(cosine_rates(rate, epoch, _STEPS_PER_EPOCH, epochs), fit.shift.dtype)
        if curves is None:
            fit, state = _epoch(metric, fit, state, pairs.batches(), rates)
        else:
            fit, state = _regress(fit, state, curves, pairs.rows(len(curves)), rates)
        value = float(_energy(metric, fit, *held))
        if not np.isfinite(value) and curves is None:
            raise ConvergenceError(
                f"training of the interpolant failed: the energy became {value} in epoch "
                f"{epoch + 1}; lower learning_rate, or check that the metric is finite between "
                "the points",
                best,
            )
        history.append(value)
        if value < lowest:
            best, lowest = fit, value
        report(value)
    return best


class _Pairs(NamedTuple):
    """The distribution of pairs, and the host's random numbers."""

    rng: np.random.Generator
    x: np.ndarray
    y: np.ndarray
    paired: bool
    size: int

    def draw(self, count: int):
        """Ends of random pairs; coincident ones, which have no energy, are drawn again."""
        i, j = self._indices(count)
        for _ in range(100):
            same = np.all(self.x[i] == self.y[j], axis=1)
            if not same.any():
                break
            i[same], j[same] = self._indices(int(same.sum()))
        return jnp.asarray(self.x[i]), jnp.asarray(self.y[j])

    def _indices(self, count):
        i = self.rng.integers(len(self.x), size=count)
        return i, i.copy() if self.paired else self.rng.integers(len(self.y), size=count)

    def batches(self):
        """Ends for the steps of one epoch, and where between its grid points each looks."""
        ends = [
            a.reshape(_STEPS_PER_EPOCH, self.size, -1)
            for a in self.draw(_STEPS_PER_EPOCH * self.size)
        ]
        return (*ends, jnp.asarray(self.rng.uniform(size=_STEPS_PER_EPOCH), ends[0].dtype))

    def rows(self, count: int):
        """Rows of the guides for the steps of one epoch."""
        return self.rng.integers(count, size=(_STEPS_PER_EPOCH, self.size))


def _straight(key, pairs: _Pairs, hidden, activation) -> GeodesicInterpolant:
    """The interpolant before training: a network whose last layer is zero."""
    points = np.concatenate([pairs.x, pairs.y])
    d = points.shape[1]
    net = promote(MLP(key, (2 * d + 1, *hidden, d), activation), jnp.asarray(points[:1]))[0]
    net = eqx.tree_at(lambda n: n.weights[-1], net, jnp.zeros_like(net.weights[-1]))
    size = jnp.asarray(np.sqrt(np.mean(np.var(points, axis=0))))
    return GeodesicInterpolant(net, jnp.asarray(points.mean(axis=0)), size, jnp.zeros(0))


def _check_points(metric, x, y, paired):
    check_metric(metric)
    x = as_points("x", x, metric.dim, ndim=(2,))
    y = x if y is None else as_points("y", y, x.shape[1], ndim=(2,))
    if paired and x.shape != y.shape:
        raise ValueError(f"x and y must have equal shapes to be paired, got {x.shape}, {y.shape}")
    x, y = (np.asarray(check_dtype(metric, a)) for a in (x, y))
    if np.ptp(np.concatenate([x, y]), axis=0).max() == 0.0:
        raise ValueError("x and y must hold at least two distinct points")
    if not paired:
        return x, y
    apart = np.any(x != y, axis=1)  # a pair that coincides has no energy
    if not apart.any():
        raise ValueError("y must be given and differ from x: each of the pairs coincides")
    return x[apart], y[apart]


def _guides(metric, ends):
    """Points of exact geodesics, ``(n, times, d)``; None where none converged."""
    found = geodesic(metric, *ends, num_points=_GUIDE_TIMES, accuracy=1e-3, throw=False)
    good = np.asarray(found.converged)
    return jnp.asarray(np.asarray(found.points)[good]) if good.any() else None


def _log_energy(net, fit, metric, x, y, times):
    fit = eqx.tree_at(lambda i: i.net, fit, net)

    def one(a, b):
        squares = jax.vmap(lambda t: squared_speed(metric, fit, a, b, t))(times)
        return jnp.log(jnp.mean(squares) + jnp.finfo(a.dtype).tiny)

    return jnp.mean(jax.vmap(one)(x, y))


@eqx.filter_jit
def _energy(metric, fit, x, y):
    times = (jnp.arange(4 * _TRAIN_TIMES, dtype=x.dtype) + 0.5) / (4 * _TRAIN_TIMES)
    return _log_energy(fit.net, fit, metric, x, y, times)


def _scan(fit, state, loss, items, rates):
    def step(carry, item):
        net, state = carry
        rate, item = item
        updates, state = _OPTIMIZER.update(jax.grad(loss)(net, *item), state)
        return (jax.tree.map(lambda p, u: p - rate * u, net, updates), state), None

    (net, state), _ = jax.lax.scan(step, (fit.net, state), (rates, items))
    return eqx.tree_at(lambda i: i.net, fit, net), state


@eqx.filter_jit
def _epoch(metric, fit, state, batches, rates):
    def loss(net, x, y, offset):
        times = (jnp.arange(_TRAIN_TIMES, dtype=x.dtype) + offset) / _TRAIN_TIMES
        return _log_energy(net, fit, metric, x, y, times)

    return _scan(fit, state, loss, batches, rates)


@eqx.filter_jit
def _regress(fit, state, curves, rows, rates):
    times = jnp.linspace(0.0, 1.0, curves.shape[1], dtype=curves.dtype)

    def loss(net, rows):
        moving = eqx.tree_at(lambda i: i.net, fit, net)
        targets = curves[rows]
        values = points_on(moving, targets[:, 0], targets[:, -1], times)
        return jnp.mean(jnp.sum((values - targets) ** 2, axis=-1)) / fit.size**2

    return _scan(fit, state, loss, (rows,), rates)
