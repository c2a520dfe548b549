"""New metrics from old: sums and positive scalings."""

import jax
import jax.numpy as jnp
import numpy as np

from landform._metric import AbstractMetric, EnergyTerms, check_metric, log_volume
from landform._numerics import as_points, as_positive, precise
from landform._typing import Array, Float, Matrix, Point, Scalar


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
