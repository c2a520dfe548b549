"""Metrics of spaces that carry one already: pull-backs of it by a map, and products."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp

from landform._core import display
from landform._core.arrays import precise
from landform._core.checks import as_count, check_decoder
from landform._core.typing import Array, Float, Matrix, Point, Scalar
from landform.metrics.base import AbstractMetric, EnergyTerms, check_metric
from landform.metrics.inner import AbstractInner
from landform.metrics.pullback import as_landmarks, embedded_acceleration, flatten_output


class AmbientPullback(AbstractInner):
    """The pull-back of a metric of the data space by a decoder, M(z) = Jᵀ M_X(f(z)) J.

    A step in the latent space is as long as the decoder's step in a data space that has a
    geometry of its own: learned from the data, from labels, or known from physics.

    Parameters
    ----------
    f
        A twice differentiable function of one latent point ``(d,)`` to the data space, ``(D,)`` or
        arrays with D entries together.
    metric
        Any metric of dimension D.
    landmarks
        Optional points of the latent space where the data live, shape ``(k, d)``.

    Raises
    ------
    TypeError
        If `f` is not callable or `metric` not a metric.
    ValueError
        Where the metric is evaluated, if the decoder's output has not D entries.

    Notes
    -----
    Arvanitidis, Hauberg and Schölkopf 2021 (arXiv:2008.00565), eq. 3. Costs d(d + 1) inner products
    of the ambient metric at one point. It embeds where `metric` does.

    Examples
    --------
    >>> import jax.numpy as jnp, landform as lf
    >>> line = lambda t: jnp.array([0.0, jnp.exp(t[0])])
    >>> metric = lf.AmbientPullback(line, lf.PoincareHalfPlane())  # a geodesic, by arc length
    >>> lf.metric_tensor(metric, [0.7]).round(5).tolist()
    [[1.0]]
    """

    f: Callable
    metric: AbstractMetric
    points: Float[Array, "k d"] | None

    @precise
    def __init__(self, f: Callable, metric: AbstractMetric, *, landmarks=None):
        self.f = check_decoder("f", f)
        self.metric = check_metric(metric)
        self.points = as_landmarks(landmarks)

    @property
    def embeds(self) -> bool:
        """Whether the ambient metric embeds."""
        return self.metric.embeds

    def embed(self, x: Point) -> Float[Array, " E"]:
        """The embedding of the decoder's output."""
        return self.metric.embed(self._decode(x))

    def landmarks(self) -> Float[Array, "k d"] | None:
        """The landmarks given at construction."""
        return self.points

    def _decode(self, x):
        output = flatten_output(self.f(x))
        if self.metric.dim is not None and output.shape[0] != self.metric.dim:
            raise ValueError(
                f"f must return {self.metric.dim} numbers to match the metric, "
                f"got {output.shape[0]}"
            )
        return output

    def inner(self, x: Point, v: Point, w: Point) -> Scalar:
        """The ambient inner product of the decoder's steps."""
        y, a = jax.jvp(self._decode, (x,), (v,))
        return self.metric.inner(y, a, jax.jvp(self._decode, (x,), (w,))[1])

    def square(self, x: Point, v: Point) -> Scalar:
        """The ambient squared length of the decoder's step."""
        y, a = jax.jvp(self._decode, (x,), (v,))
        return self.metric.inner(y, a, a)

    def __call__(self, x: Point) -> Matrix:
        """Jᵀ M_X J, with every entry an ambient inner product."""
        y, push = jax.linearize(self._decode, x)
        steps = jax.vmap(push)(jnp.eye(x.shape[0], dtype=x.dtype))
        inner = lambda a, b: self.metric.inner(y, a, b)  # noqa: E731
        matrix = jax.vmap(lambda a: jax.vmap(lambda b: inner(a, b))(steps))(steps)
        return 0.5 * (matrix + matrix.T)

    def acceleration(self, x: Point, v: Point) -> Point:
        """The geodesic equation, of an embedded surface where there is an embedding."""
        if self.embeds:
            return embedded_acceleration(self.embed, x, v)
        return super().acceleration(x, v)

    def _summary(self):
        return [*display.named(self, "f", "metric"), *display.landmarks(self.points)]


class ProductMetric(AbstractMetric):
    """The product of spaces, M(x₁, x₂, …) = diag(M₁(x₁), M₂(x₂), …).

    The squared distance is the sum of the factors' squared distances, and a curve is a geodesic
    exactly when all of its parts are.

    Parameters
    ----------
    metrics
        At least one metric.
    dims
        Dimension of each factor; needed where a metric does not know its own.
    landmarks
        Optional points of the product where the data live, shape ``(k, Σ d)``.

    Raises
    ------
    TypeError, ValueError
        If a factor is not a metric, or a dimension is missing or contradicts the metric's.

    Examples
    --------
    >>> import landform as lf
    >>> metric = lf.ProductMetric([lf.Euclidean(1), lf.PoincareHalfPlane()])
    >>> lf.metric_tensor(metric, [5.0, 0.0, 2.0]).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.25, 0.0], [0.0, 0.0, 0.25]]
    """

    metrics: tuple[AbstractMetric, ...]
    dims: tuple[int, ...] = eqx.field(static=True)
    points: Float[Array, "k d"] | None

    @precise
    def __init__(self, metrics, *, dims: Sequence[int] | None = None, landmarks=None):
        self.metrics = tuple(check_metric(m) for m in metrics)
        if not self.metrics:
            raise ValueError("metrics must contain at least one metric")
        self.dims = _dims(self.metrics, dims)
        self.points = as_landmarks(landmarks)
        if self.points is not None and self.points.shape[1] != self.dim:
            raise ValueError(f"landmarks must have {self.dim} columns, got {self.points.shape[1]}")

    @property
    def dim(self) -> int:
        """Sum of the factors' dimensions."""
        return sum(self.dims)

    @property
    def embeds(self) -> bool:
        """Whether every factor embeds."""
        return all(m.embeds for m in self.metrics)

    def embed(self, x: Point) -> Float[Array, " E"]:
        """The factors' embeddings side by side."""
        return jnp.concatenate([m.embed(part) for m, part in self._parts(x)])

    def landmarks(self) -> Float[Array, "k d"] | None:
        """The landmarks given at construction."""
        return self.points

    def split(self, x: Point) -> list[Float[Array, " _"]]:
        """The factors' coordinates."""
        stops = [sum(self.dims[: k + 1]) for k in range(len(self.dims) - 1)]
        return jnp.split(x, stops)

    def _parts(self, *vectors):
        return zip(self.metrics, *map(self.split, vectors), strict=True)

    def __call__(self, x: Point) -> Matrix:
        """The block-diagonal matrix of the factors' tensors."""
        return jax.scipy.linalg.block_diag(*[m(part) for m, part in self._parts(x)])

    def inner(self, x: Point, v: Point, w: Point) -> Scalar:
        """Sum of the factors' inner products."""
        parts = [m.inner(*part) for m, *part in self._parts(x, v, w)]
        return jnp.sum(jnp.stack(parts))

    def log_volume(self, x: Point) -> Scalar:
        """Sum of the factors'."""
        return jnp.sum(jnp.stack([m.log_volume(part) for m, part in self._parts(x)]))

    def acceleration(self, x: Point, v: Point) -> Point:
        """The factors' accelerations."""
        return jnp.concatenate([m.acceleration(*part) for m, *part in self._parts(x, v)])

    def energy_gradient(self, x: Point, v: Point) -> Point:
        """The factors' gradients."""
        return jnp.concatenate([m.energy_gradient(*part) for m, *part in self._parts(x, v)])

    def energy_terms(self, x: Point, v: Point) -> EnergyTerms:
        """The factors' terms, block by block."""
        terms = [m.energy_terms(*part) for m, *part in self._parts(x, v)]
        blocks = jax.scipy.linalg.block_diag
        return EnergyTerms(
            matrix=blocks(*[t.matrix for t in terms]),
            gradient=jnp.concatenate([t.gradient for t in terms]),
            cross=blocks(*[t.cross for t in terms]),
            hessian=blocks(*[t.hessian for t in terms]),
        )

    def _summary(self):
        return [*map(display.brief, self.metrics), *display.landmarks(self.points)]


def _dims(metrics, dims) -> tuple[int, ...]:
    known = [m.dim for m in metrics]
    given = known if dims is None else [as_count("dim", d) for d in dims]
    if len(given) != len(known):
        raise ValueError(f"dims must have one entry for each of {len(known)} metrics, got {dims}")
    for k, (wanted, own) in enumerate(zip(given, known, strict=True)):
        if wanted is None:
            raise ValueError(
                f"dims must be given: metrics[{k}], a {type(metrics[k]).__name__}, accepts any"
            )
        if own is not None and wanted != own:
            raise ValueError(f"dims[{k}] must be {own}, the metric's own dimension, got {wanted}")
    return tuple(int(d) for d in given if d is not None)
