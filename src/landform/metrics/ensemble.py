"""The expected metric of an ensemble of decoders that were trained alike."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from landform._core import display
from landform._core.arrays import precise
from landform._core.checks import as_count, as_points, check_decoder, check_key
from landform._core.typing import Array, Float, Point, PRNGKeyArray, Scalar
from landform.metrics.base import AbstractMetric, check_dtype
from landform.metrics.pullback import (
    AbstractEmbedded,
    ExpectedPullback,
    as_landmarks,
    flatten_output,
)


class EnsemblePullback(AbstractEmbedded):
    """The expected metric of a decoder drawn from an ensemble, M(z) = (1/K) Σ_k J_kᵀ J_k.

    With μ the mean of the members and J̃_k the Jacobian of member k's departure from it, M is
    ``J_μᵀJ_μ + (1/K) Σ_k J̃_kᵀJ̃_k``: the mean of the members' metrics, or the metric of their mean
    and their covariance, together. Members trained from different seeds agree on the data and part
    elsewhere, so that their departures cost most where there are no data.

    Parameters
    ----------
    members
        K ≥ 1 decoders on one latent space (one encoder): functions of one latent point ``(d,)``
        with outputs of equal sizes, or metrics that embed, such as `Pullback` and
        `ExpectedPullback`. A decoder that returns (mean, std) contributes both.
    landmarks
        Optional points of the latent space where the data live, shape ``(k, d)``; those of the
        members where these are metrics.

    Raises
    ------
    TypeError, ValueError
        If `members` is empty, or a member is neither callable nor a metric that embeds.

    Notes
    -----
    Syrota, Moreno-Muñoz and Hauberg 2024 (arXiv:2408.07507) minimize an energy in which the members
    at neighboring points are drawn independently. It is not the energy of a metric: without the
    covariance between neighbors each step costs the spread of the members, however short it is,
    and the energy of one curve grows with its number of points. `energy` has both forms. Members of
    one structure are evaluated together. One evaluation costs K Jacobians; `sample` draws fewer.

    Examples
    --------
    >>> import landform as lf
    >>> metric = lf.EnsemblePullback([lambda z: z, lambda z: 3.0 * z])
    >>> lf.metric_tensor(metric, [0.3, 0.4]).tolist()
    [[5.0, 0.0], [0.0, 5.0]]
    """

    members: tuple[Any, ...]
    count: int = eqx.field(static=True)
    points: Float[Array, "k d"] | None

    @precise
    def __init__(self, members, *, landmarks=None):
        members = _check_members(members)
        if landmarks is None:
            known = [m.landmarks() for m in members if isinstance(m, AbstractMetric)]
            known = [points for points in known if points is not None]
            landmarks = jnp.concatenate(known) if known else None
        self.points = as_landmarks(landmarks)
        self.count = len(members)
        self.members = _stack(members)

    def landmarks(self) -> Float[Array, "k d"] | None:
        """The landmarks given at construction, or the members'."""
        return self.points

    def outputs(self, z: Point) -> Float[Array, "K D"]:
        """The members' outputs at one point."""
        if len(self.members) == self.count:
            values = [_output(member, z) for member in self.members]
            sizes = sorted({value.size for value in values})
            if len(sizes) > 1:
                raise ValueError(f"members must have outputs of one size, got sizes {sizes}")
            return jnp.stack(values)
        arrays, rest = eqx.partition(self.members[0], eqx.is_inexact_array)
        return jax.vmap(lambda part: _output(eqx.combine(part, rest), z))(arrays)

    def moments(self, z: Point) -> tuple[Float[Array, " D"], Float[Array, " D"]]:
        """Mean and standard deviation of the members' outputs at one point."""
        values = self.outputs(z)
        mean = jnp.mean(values, axis=0)
        square = jnp.mean((values - mean) ** 2, axis=0)
        proper = square > 0  # where all agree the root has no slope to give
        return mean, jnp.where(proper, jnp.sqrt(jnp.where(proper, square, 1.0)), 0.0)

    def embed(self, x: Point) -> Float[Array, " KD"]:
        """The members' outputs side by side, over √K."""
        return jnp.ravel(self.outputs(x)) / jnp.sqrt(1.0 * self.count)

    def gaussian(self) -> ExpectedPullback:
        """The expected metric of ``μ(z) + σ(z) ε`` with the members' mean and deviation.

        Cheaper than the ensemble's for more than two members, and never longer: it forgets that
        members differ in the direction, and not only in the size, of their departures.
        """
        return ExpectedPullback(EnsembleMoments(self), landmarks=self.points)

    def sample(self, key: PRNGKeyArray, size: int = 1) -> "EnsemblePullback":
        """The ensemble of `size` members drawn without replacement: its metric is M on average."""
        if not 1 <= as_count("size", size) <= self.count:
            raise ValueError(f"size must be between 1 and {self.count}, got {size}")
        chosen = jax.random.choice(check_key(key), self.count, (size,), replace=False)
        if len(self.members) == self.count:
            return EnsemblePullback([self.members[int(k)] for k in chosen], landmarks=self.points)
        arrays, rest = eqx.partition(self.members[0], eqx.is_inexact_array)
        parts = [jax.tree.map(lambda a, k=k: a[k], arrays) for k in chosen]
        return EnsemblePullback([eqx.combine(p, rest) for p in parts], landmarks=self.points)

    @precise
    def energy(self, points, *, cross_covariance: bool = True, key=None) -> Scalar:
        """The expected energy ``½ T Σ_t |f(x_{t+1}) − f(x_t)|²`` of a polyline.

        Parameters
        ----------
        points
            Corners of the curve, shape ``(T + 1, d)``.
        cross_covariance
            With it one member decodes the whole curve, and the energy tends to that of the metric
            as T grows. Without it every point has its own: the mean is
            ``½ T Σ_t |Δμ|² + tr Σ(x_{t+1}) + tr Σ(x_t)``, which grows like T² (see Notes).
        key
            With a key, a cheap estimate instead of the mean: members are drawn at random, one for
            the curve or one for each point.

        Returns
        -------
        A number; with `key` an unbiased estimate, at 1/K of the price.
        """
        points = check_dtype(self, as_points("points", points, ndim=(2,)))
        if points.shape[0] < 2:
            raise ValueError(f"points must hold at least two corners, got {points.shape[0]}")
        return _energy(
            self, points, bool(cross_covariance), None if key is None else check_key(key)
        )

    def _summary(self):
        kinds = sorted({display.brief(member) for member in self.members})
        members = f"{display.counted(self.count, 'member')}: {', '.join(kinds)}"
        return [members, *display.landmarks(self.points)]


@eqx.filter_jit
def _energy(metric, points, cross_covariance, key):
    steps = points.shape[0] - 1
    if key is None:
        values = jax.vmap(metric.outputs)(points)  # (T + 1, K, D)
        if cross_covariance:
            return 0.5 * steps * jnp.sum(jnp.diff(values, axis=0) ** 2) / metric.count
        mean = jnp.mean(values, axis=1)
        spread = jnp.sum((values - mean[:, None]) ** 2, axis=(1, 2)) / metric.count
        chords = jnp.sum(jnp.diff(mean, axis=0) ** 2, axis=1)
        return 0.5 * steps * jnp.sum(chords + spread[1:] + spread[:-1])
    shape = () if cross_covariance else (steps + 1,)
    chosen = jnp.broadcast_to(jax.random.randint(key, shape, 0, metric.count), (steps + 1,))
    values = jax.vmap(lambda z, k: _one_output(metric, z, k))(points, chosen)
    return 0.5 * steps * jnp.sum(jnp.diff(values, axis=0) ** 2)


def _one_output(metric, z, k):
    """The output of member k alone."""
    if len(metric.members) == metric.count:
        branches = [lambda z, m=m: _output(m, z) for m in metric.members]
        return jax.lax.switch(k, branches, z)
    arrays, rest = eqx.partition(metric.members[0], eqx.is_inexact_array)
    return _output(eqx.combine(jax.tree.map(lambda a: a[k], arrays), rest), z)


class EnsembleMoments(display.AbstractDisplayed):
    """The members' mean and deviation as one decoder."""

    ensemble: EnsemblePullback

    def __call__(self, z):
        return self.ensemble.moments(z)


def _output(member, z):
    return member.embed(z) if isinstance(member, AbstractMetric) else flatten_output(member(z))


def _check_members(members) -> tuple:
    if callable(members) or not hasattr(members, "__iter__"):
        raise TypeError(f"members must be a sequence of decoders, got {type(members).__name__}")
    members = tuple(members)
    if not members:
        raise ValueError("members must contain at least one decoder")
    for k, member in enumerate(members):
        if not isinstance(member, AbstractMetric):
            check_decoder(f"members[{k}]", member)
        elif not member.embeds:
            raise ValueError(
                f"members[{k}] is a {type(member).__name__}, which does not embed; the mean of any "
                "metrics is a sum, (1 / K) * lf.SumMetric(metrics)"
            )
    return members


def _stack(members: tuple) -> tuple:
    """Members of one structure as a single one with a leading axis on its arrays."""
    parts = [eqx.partition(member, eqx.is_inexact_array) for member in members]
    (first, rest), *others = parts
    like = jax.tree.map(lambda a: (a.shape, a.dtype), first)
    same = bool(jax.tree.leaves(first)) and all(
        jax.tree.map(lambda a: (a.shape, a.dtype), arrays) == like
        and bool(eqx.tree_equal(fixed, rest))
        for arrays, fixed in others
    )
    if not same or len(members) == 1:
        return members
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[arrays for arrays, _ in parts])
    return (eqx.combine(stacked, rest),)
