"""The metric: a function from a point of a chart to a symmetric positive-definite matrix."""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import precise
from landform._core.checks import as_points, as_positive
from landform._core.compilation import block_size, map_blocks
from landform._core.linalg import logdet_spd, solve_spd
from landform._core.typing import Array, Float, Matrix, Point, Scalar


class EnergyTerms(NamedTuple):
    """Derivatives of ``q(x, v) = vᵀ M(x) v`` at one point, all that solvers need."""

    matrix: Matrix  # M(x)
    gradient: Point  # ∇_x q
    cross: Matrix  # ∂(M v)_i / ∂x_j
    hessian: Matrix  # ∇²_x q


class AbstractMetric(display.AbstractDisplayed):
    """A Riemannian metric in one chart: a map from a point ``(d,)`` to an SPD matrix ``(d, d)``.

    A subclass gives ``__call__`` for one point; batching is done outside with `jax.vmap`. All
    else here has a default by automatic differentiation, which a metric overrides only where it
    knows something faster. Arrays are pytree leaves, so new data of one shape does not recompile.

    Examples
    --------
    >>> import jax.numpy as jnp, landform as lf
    >>> class Polar(lf.AbstractMetric):
    ...     def __call__(self, x):
    ...         return jnp.diag(jnp.array([1.0, x[0] ** 2]))
    >>> float(lf.volume(Polar(), [2.0, 0.3]))
    2.0
    """

    @abc.abstractmethod
    def __call__(self, x: Point) -> Matrix:
        """The metric tensor M(x)."""

    @property
    def dim(self) -> int | None:
        """Dimension of the chart, or None where any is accepted."""
        return None

    @property
    def embeds(self) -> bool:
        """Whether the metric is the pull-back of Euclidean space by `embed`: chord energies."""
        return False

    def embed(self, x: Point) -> Float[Array, " D"]:
        """The map to Euclidean space whose pull-back this is; only where `embeds` is true."""
        raise NotImplementedError(
            f"{type(self).__name__} is not the pull-back of a known embedding"
        )

    def embed_parts(self, x: Point) -> tuple[Float[Array, " D"], ...]:
        """`embed` in vectors that together are its output; inner products are sums over them.

        A decoder with several outputs spares solvers the copies that joining them would take.
        """
        return (self.embed(x),)

    def landmarks(self) -> Float[Array, "k d"] | None:
        """Points of the chart where the data live, the nodes of graph starts; or None."""
        return None

    def inner(self, x: Point, v: Point, w: Point) -> Scalar:
        """The inner product ``vᵀ M(x) w``."""
        return v @ (self(x) @ w)

    def log_volume(self, x: Point) -> Scalar:
        """``log √det M(x)``, by Cholesky."""
        return 0.5 * logdet_spd(self(x))

    def acceleration(self, x: Point, v: Point) -> Point:
        """The geodesic equation: ``M a = ½ ∇_x(vᵀ M v) − (∂_v M) v``."""
        _, along = jax.jvp(lambda y: self(y) @ v, (x,), (v,))
        return solve_spd(self(x), 0.5 * self.energy_gradient(x, v) - along)

    def energy_gradient(self, x: Point, v: Point) -> Point:
        """The gradient ``∇_x (vᵀ M(x) v)``, twice the force along a curve."""
        return jax.grad(lambda y: self.inner(y, v, v))(x)

    def matrix_and_gradient(self, x: Point, v: Point) -> tuple[Matrix, Point]:
        """M and `energy_gradient`; overridden where they share work."""
        return self(x), self.energy_gradient(x, v)

    def energy_terms(self, x: Point, v: Point) -> EnergyTerms:
        """M and the first and second derivatives of ``vᵀ M(x) v``; by forward over reverse mode."""

        def first(y):
            momentum, pull = jax.vjp(lambda u: self(u) @ v, y)
            return momentum, pull(v)[0]

        def both(y):
            out = first(y)
            return out, out

        (cross, hessian), (_, gradient) = jax.jacfwd(both, has_aux=True)(x)
        return EnergyTerms(self(x), gradient, cross, hessian)

    def scaled_to(self, data) -> "AbstractMetric":
        """The metric times the number that makes its largest volume density on the data 1.

        Distances of decoders with many outputs become comparable with those of the latent space,
        and walks of unit time stay among the data. Geodesics are the same.

        Parameters
        ----------
        data
            Points of the chart, shape ``(n, d)``.

        Raises
        ------
        ValueError
            If the metric is not finite and positive definite at a point of the data.
        """
        from landform.metrics.base import scaled_to

        return scaled_to(self, data)

    def __add__(self, other: "AbstractMetric") -> "AbstractMetric":
        from landform.metrics.base import SumMetric

        return SumMetric([self, other]) if isinstance(other, AbstractMetric) else NotImplemented

    def __mul__(self, factor) -> "AbstractMetric":
        from landform.metrics.base import ScaledMetric

        return NotImplemented if isinstance(factor, AbstractMetric) else ScaledMetric(self, factor)

    __rmul__ = __mul__

    def _picture(self):
        points = self.landmarks()
        return display.Picture(points=points) if display.is_plane(points) else None


def check_metric(metric, dim: int | None = None) -> AbstractMetric:
    """Raise `TypeError` unless `metric` is an `AbstractMetric`, `ValueError` if not of `dim`."""
    if not isinstance(metric, AbstractMetric):
        raise TypeError(
            f"metric must be a landform metric (an AbstractMetric), got {type(metric).__name__}; "
            "wrap a decoder in lf.Pullback, or subclass lf.AbstractMetric"
        )
    if dim is not None and metric.dim not in (None, dim):
        raise ValueError(f"metric must have dimension {dim}, got {metric.dim}")
    return metric


def check_dtype(metric: AbstractMetric, x: Array) -> Array:
    """`x` in the common precision of the metric's arrays and its own."""
    leaves = [a for a in jax.tree.leaves(metric) if eqx.is_inexact_array(a)]
    return x.astype(jnp.result_type(x, *leaves))


@eqx.filter_jit
def _tensor(metric, x):
    return map_blocks(metric, block_size(metric, x[0]), x)


@eqx.filter_jit
def _log_volume(metric, x):
    return jax.vmap(metric.log_volume)(x)


def _batched(metric, x, function):
    metric = check_metric(metric)
    x = as_points("x", x, metric.dim, ndim=(1, 2, 3))
    x = check_dtype(metric, x)
    flat = function(metric, x.reshape(-1, x.shape[-1]))
    return flat.reshape(x.shape[:-1] + flat.shape[1:])


@precise
def metric_tensor(metric: AbstractMetric, x) -> Float[Array, "*batch d d"]:
    """The metric tensor M at a point or at many.

    Parameters
    ----------
    metric
        The metric.
    x
        Points of the chart, shape ``(d,)``, ``(n, d)`` or ``(m, n, d)``.

    Returns
    -------
    Array of shape ``(..., d, d)``.

    Raises
    ------
    TypeError, ValueError
        If `metric` is not a metric, or `x` is not finite or of the wrong shape.

    Examples
    --------
    >>> import landform as lf
    >>> lf.metric_tensor(lf.PoincareHalfPlane(), [0.0, 2.0]).tolist()
    [[0.25, 0.0], [0.0, 0.25]]
    """
    return _batched(metric, x, _tensor)


@precise
def volume(metric: AbstractMetric, x) -> Float[Array, "*batch"]:
    """The volume density √det M, the magnification factor of a decoder.

    Parameters
    ----------
    metric
        The metric.
    x
        Points of the chart, shape ``(d,)``, ``(n, d)`` or ``(m, n, d)``.

    Returns
    -------
    Array of shape ``(...)``; NaN where M is not positive definite.

    See Also
    --------
    log_volume : the same in logarithms, for decoders with many outputs.

    Examples
    --------
    >>> import landform as lf
    >>> float(lf.volume(lf.PoincareHalfPlane(), [0.0, 2.0]))
    0.25
    """
    return jnp.exp(_batched(metric, x, _log_volume))


@precise
def log_volume(metric: AbstractMetric, x) -> Float[Array, "*batch"]:
    """The logarithm of the volume density, ``log √det M``.

    Parameters
    ----------
    metric
        The metric.
    x
        Points of the chart, shape ``(d,)``, ``(n, d)`` or ``(m, n, d)``.

    Returns
    -------
    Array of shape ``(...)``; NaN where M is not positive definite.

    Examples
    --------
    >>> import landform as lf
    >>> float(lf.log_volume(lf.Euclidean(2), [3.0, 1.0]))
    0.0
    """
    return _batched(metric, x, _log_volume)


class SumMetric(AbstractMetric):
    """The sum of several metrics on one chart, M = Σ_k M_k; also written ``a + b``.

    Parameters
    ----------
    metrics
        At least one metric, all of the same dimension.

    Examples
    --------
    >>> import landform as lf
    >>> metric = lf.Euclidean(2) + lf.PoincareHalfPlane()
    >>> lf.metric_tensor(metric, [0.0, 1.0]).tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """

    metrics: tuple[AbstractMetric, ...]

    def __init__(self, metrics):
        self.metrics = tuple(check_metric(m) for m in metrics)
        if not self.metrics:
            raise ValueError("metrics must contain at least one metric")
        dims = {m.dim for m in self.metrics if m.dim is not None}
        if len(dims) > 1:
            raise ValueError(f"metrics must all have the same dimension, got {sorted(dims)}")

    @property
    def dim(self) -> int | None:
        """Dimension of the terms."""
        return next((m.dim for m in self.metrics if m.dim is not None), None)

    @property
    def embeds(self) -> bool:
        """Whether every term embeds."""
        return all(m.embeds for m in self.metrics)

    def embed(self, x: Point) -> Float[Array, " D"]:
        """The terms' embeddings side by side."""
        return jnp.concatenate([m.embed(x) for m in self.metrics])

    def landmarks(self) -> Float[Array, "k d"] | None:
        """The terms' landmarks together."""
        known = [points for m in self.metrics if (points := m.landmarks()) is not None]
        return jnp.concatenate(known) if known else None

    def __call__(self, x: Point) -> Matrix:
        """Σ_k M_k(x)."""
        return jax.tree.reduce(jnp.add, [m(x) for m in self.metrics])

    def inner(self, x: Point, v: Point, w: Point) -> Scalar:
        """Sum of the inner products."""
        return sum((m.inner(x, v, w) for m in self.metrics), start=jnp.zeros((), x.dtype))

    def energy_terms(self, x: Point, v: Point) -> EnergyTerms:
        """Sum of the terms'."""
        terms = [m.energy_terms(x, v) for m in self.metrics]
        return jax.tree.map(lambda *parts: sum(parts[1:], start=parts[0]), *terms)

    def _summary(self):
        return [display.brief(m) for m in self.metrics]


class ScaledMetric(AbstractMetric):
    """A metric times a positive number, c·M; also written ``c * metric``.

    Distances scale by √c, geodesics stay the same.

    Parameters
    ----------
    metric
        The metric to scale.
    factor
        The factor c, positive.

    Examples
    --------
    >>> import landform as lf
    >>> float(lf.volume(4.0 * lf.Euclidean(2), [0.0, 0.0]))
    4.0
    """

    metric: AbstractMetric
    factor: Scalar

    @precise
    def __init__(self, metric: AbstractMetric, factor):
        self.metric = check_metric(metric)
        self.factor = as_positive("factor", factor)

    @property
    def dim(self) -> int | None:
        """Dimension of the scaled metric."""
        return self.metric.dim

    @property
    def embeds(self) -> bool:
        """Whether the scaled metric embeds."""
        return self.metric.embeds

    def embed(self, x: Point) -> Float[Array, " D"]:
        """√c times the embedding."""
        return jnp.sqrt(self.factor) * self.metric.embed(x)

    def landmarks(self) -> Float[Array, "k d"] | None:
        """Those of the scaled metric."""
        return self.metric.landmarks()

    def __call__(self, x: Point) -> Matrix:
        """c·M(x)."""
        return self.factor * self.metric(x)

    def inner(self, x: Point, v: Point, w: Point) -> Scalar:
        """c times the inner product."""
        return self.factor * self.metric.inner(x, v, w)

    def acceleration(self, x: Point, v: Point) -> Point:
        """The same as without the factor."""
        return self.metric.acceleration(x, v)

    def energy_terms(self, x: Point, v: Point) -> EnergyTerms:
        """c times the terms."""
        return jax.tree.map(lambda part: self.factor * part, self.metric.energy_terms(x, v))

    def _summary(self):
        return [f"{display.number(self.factor)} × {display.brief(self.metric)}"]


@precise
def scaled_to(metric: AbstractMetric, data) -> ScaledMetric:
    """`AbstractMetric.scaled_to`: ``c M`` with ``max c^{d/2} √det M = 1`` over the data."""
    data = as_points("data", data, metric.dim, ndim=(2,))
    logs = np.asarray(log_volume(metric, data))
    bad = int(np.sum(~np.isfinite(logs)))
    if bad:
        raise ValueError(
            f"data must lie where the metric is positive definite: it is not at {bad} of "
            f"{len(logs)} points"
        )
    return ScaledMetric(metric, np.exp(-2.0 / data.shape[1] * logs.max()))
