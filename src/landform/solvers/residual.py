"""What a curve is worth: its length, and how far it is from being a geodesic.

A curve with momentum p = M ċ is a geodesic exactly when ``p(t) − ∫_0^t ½ ∇_x(ċᵀ M ċ)`` is constant.
The deviation from the best constant, in the norm of M⁻¹ and relative to the curve's energy, is the
dual norm of the first variation of the energy: a residual that does not depend on how the curve was
found or discretised. Half its square bounds, to first order, the relative excess of the length over
the nearest local minimum wherever the second variation is not small.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from landform._core.compilation import block_size, compiled, map_blocks
from landform._core.linalg import root, solve_spd
from landform._core.quadrature import lobatto, lobatto_integral
from landform._core.typing import Array, Float
from landform.solvers.elements import Rule, is_wide, sample
from landform.solvers.lengths import by_blocks, speeds

_FINER = 2  # degrees by which the certificate's nodes are finer than the curve's
_RANDOM_PROBES = {False: 256, True: 32}  # for each curve; fewer where an evaluation is costly
_BLOCKS = (128, 2048)  # points measured together: one program for few points and one for many


class Certificate(NamedTuple):
    """Measurements of one curve on nodes it was not computed with."""

    length: Float[Array, ""]
    energy: Float[Array, ""]
    residual: Float[Array, ""]  # relative dual norm of the first variation
    speed_drift: Float[Array, ""]  # (max − min) / mean of the speed
    velocity: Float[Array, " d"]  # at t = 0, from the conserved momentum
    final_velocity: Float[Array, " d"]  # at t = 1
    finite: Array


class _Local(NamedTuple):
    """What the metric says at points with velocities; NaN where it is not positive definite."""

    matrix: Any  # arrays of NumPy or of JAX
    inverse: Any
    force: Any  # ½ ∇_x(vᵀ M v)


def certify_one(metric, rule: Rule, nodes: Float[Array, "T1 d"]) -> Certificate:
    """Measure one curve; NaN and ``finite=False`` where the metric is not finite on it."""
    x, v = sample(rule, nodes, _places(rule))
    local = jax.vmap(jax.vmap(lambda a, b: _probe_one(metric, a, b)))(x, v)
    return _measure(jnp, rule, v, local)


def certify(metric, rule: Rule, nodes: np.ndarray) -> Certificate:
    """`certify_one` for many concrete curves ``(n, T + 1, d)``, in one program for every rule."""
    x, v = sample(rule, np.asarray(nodes), _places(rule))
    flat = [a.reshape(-1, a.shape[-1]) for a in (x, v)]
    count = flat[0].shape[0]
    few, many = _BLOCKS
    size = few if count <= few or is_wide(metric, x.shape[-1]) else many

    parts = list(by_blocks(_probe, metric, size, *flat))
    whole = [np.concatenate(leaves)[:count] for leaves in zip(*parts, strict=True)]
    local = _Local(*(a.reshape(x.shape[:-1] + a.shape[1:]) for a in whole))
    with np.errstate(all="ignore"):  # a curve off the chart has no numbers, and says so
        return _watched(metric, rule, np.asarray(nodes), _measure(np, rule, v, local))


def _watched(metric, rule: Rule, nodes: np.ndarray, certificate: Certificate) -> Certificate:
    """The certificate with the speeds at random places between the nodes in its drift.

    A ridge of the metric that is thinner than the nodes are apart shows in them alone: a geodesic
    has one speed, wherever it is looked at.
    """
    x, v = sample(rule, nodes, _between(rule, is_wide(metric, nodes.shape[-1])))
    flat = [a.reshape(-1, a.shape[-1]) for a in (x, v)]
    speed = speeds(metric, *flat).reshape(x.shape[0], -1)
    length = certificate.length
    tiny = np.finfo(nodes.dtype).tiny
    mean = length[:, None]  # over t in [0, 1]
    off = np.max(np.abs(speed - mean), axis=1) / (length + tiny)
    drift = np.maximum(certificate.speed_drift, np.where(length > 0.0, off, 0.0))
    finite = certificate.finite & np.isfinite(speed).all(axis=1)
    return certificate._replace(speed_drift=drift.astype(nodes.dtype), finite=finite)


@functools.cache
def _between(rule: Rule, wide: bool) -> np.ndarray:
    """Places at equal steps in an element from a random first one, the same for all its curves."""
    count = -(-_RANDOM_PROBES[wide] // rule.elements)
    return (np.arange(count) + np.random.default_rng(rule.elements).random()) / count


def _places(rule: Rule) -> np.ndarray:
    """Where in an element the certificate measures."""
    return lobatto(rule.degree + _FINER)[0]


def num_probes(rule: Rule) -> int:
    """Points at which measuring one curve evaluates the metric."""
    return rule.elements * (rule.degree + _FINER + 1)


def _probe_one(metric, x, v) -> _Local:
    matrix, gradient = metric.matrix_and_gradient(x, v)
    inverse = solve_spd(matrix, jnp.eye(x.shape[0], dtype=matrix.dtype))
    return _Local(matrix, inverse, 0.5 * gradient)


@compiled
def _probe(metric, x, v):
    block = block_size(metric, x[0]) if metric.embeds else len(x)
    return map_blocks(lambda a, b: _probe_one(metric, a, b), block, x, v)


def _measure(xp, rule: Rule, v, local: _Local) -> Certificate:
    """The certificate from the metric at its nodes; arrays of NumPy or of JAX by `xp`."""
    m, q = rule.elements, rule.degree + _FINER
    dtype = v.dtype
    momentum = xp.sum(local.matrix * v[..., None, :], axis=-1)
    square = xp.sum(momentum * v, axis=-1)
    speed = root(xp, square)
    w = xp.asarray(lobatto(q)[1] / m, dtype)
    integral = xp.asarray(lobatto_integral(q) / m, dtype)
    inside = xp.einsum("rq,...mqd->...mrd", integral, local.force)
    ends = inside[..., -1, :]
    before = xp.cumsum(ends, axis=-2) - ends
    pull = before[..., None, :] + inside
    gap = momentum - pull
    total = xp.einsum("q,...mqab->...ab", w, local.inverse)
    right = xp.einsum("q,...mqab,...mqb->...a", w, local.inverse, gap)
    constant = solve_spd(total, right) if xp is jnp else _solve_sound(total, right)
    off = gap - constant[..., None, None, :]
    residual = xp.einsum("q,...mqa,...mqab,...mqb->...", w, off, local.inverse, off)
    length, twice = xp.einsum("q,...mq->...", w, speed), xp.einsum("q,...mq->...", w, square)
    tiny = xp.finfo(dtype).tiny
    last = constant + pull[..., -1, -1, :]
    velocity = xp.einsum("...ab,...b->...a", local.inverse[..., 0, 0, :, :], constant)
    final = xp.einsum("...ab,...b->...a", local.inverse[..., -1, -1, :, :], last)
    finite = xp.isfinite(length) & xp.isfinite(residual) & xp.all(xp.isfinite(velocity), axis=-1)
    return Certificate(
        length=length,
        energy=0.5 * twice,
        residual=xp.sqrt(xp.maximum(residual, 0.0) / (twice + tiny)),
        speed_drift=(xp.max(speed, axis=(-2, -1)) - xp.min(speed, axis=(-2, -1))) / (length + tiny),
        velocity=velocity,
        final_velocity=final,
        finite=finite,
    )


def _solve_sound(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solutions of small systems, NaN where the matrix is not finite."""
    sound = np.asarray(np.isfinite(matrix).all(axis=(-2, -1)))[..., None]
    safe = np.where(sound[..., None], matrix, np.eye(matrix.shape[-1], dtype=matrix.dtype))
    return np.where(sound, np.linalg.solve(safe, right[..., None])[..., 0], np.nan)
