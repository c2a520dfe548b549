"""Metrics with closed-form distance, exp and log: the oracles every solver is tested against."""

import abc

import equinox as eqx
import jax.numpy as jnp

from landform._core import display
from landform._core.arrays import precise
from landform._core.checks import as_count, as_points
from landform._core.typing import Array, Float, Matrix, Point, Scalar
from landform.metrics.base import AbstractMetric, EnergyTerms, check_dtype, check_metric


class AbstractClosedForm(AbstractMetric):
    """A metric whose distance, exp and log are known in closed form."""

    @abc.abstractmethod
    def _distance(self, x: Point, y: Point) -> Scalar: ...

    @abc.abstractmethod
    def _exp(self, x: Point, v: Point) -> Point: ...

    @abc.abstractmethod
    def _log(self, x: Point, y: Point) -> Point: ...

    def exact_distance(self, x, y) -> Float[Array, "*batch"]:
        """The geodesic distance in closed form; x, y of shape ``(d,)`` or ``(n, d)``, broadcast."""
        return _closed_form(self, _distance, "()", ("x", x), ("y", y))

    def exact_exp(self, x, v) -> Float[Array, "*batch d"]:
        """The exponential map in closed form; x, v of shape ``(d,)`` or ``(n, d)``, broadcast."""
        return _closed_form(self, _exp, "(d)", ("x", x), ("v", v))

    def exact_log(self, x, y) -> Float[Array, "*batch d"]:
        """The logarithm (initial velocity at t = 0) in closed form; shapes as `exact_distance`."""
        return _closed_form(self, _log, "(d)", ("x", x), ("y", y))


@precise
def _closed_form(metric, method, output, first, second):
    check_metric(metric)
    x, y = (check_dtype(metric, as_points(name, a, metric.dim)) for name, a in (first, second))
    return _closed_form_jit(metric, method, output, x, y)


@eqx.filter_jit
def _closed_form_jit(metric, method, output, x, y):
    return jnp.vectorize(lambda a, b: method(metric, a, b), signature=f"(d),(d)->{output}")(x, y)


def _distance(metric, x, y):
    return _apart(jnp.all(x == y), lambda b: metric._distance(x, b), lambda b: 0.0, x, y)


def _exp(metric, x, v):
    zero = jnp.zeros_like(v)
    return _apart(jnp.all(v == 0.0), lambda w: metric._exp(x, w), lambda w: x + w, zero, v)


def _log(metric, x, y):
    return _apart(jnp.all(x == y), lambda b: metric._log(x, b), lambda b: b - x, x, y)


def _apart(same, formula, limit, a, b):
    """`formula` of b, and the limit's value and derivative where b is a, where it divides by 0."""
    away = formula(jnp.where(same, a.at[-1].add(1.0 + jnp.abs(a[-1])), b))
    return jnp.where(same, limit(b) + 0.0 * away, away)  # NaN off the chart


class Euclidean(AbstractClosedForm):
    """Flat space, M(x) = I.

    Parameters
    ----------
    dim
        Dimension of the space, at least 1.

    Examples
    --------
    >>> import landform as lf
    >>> float(lf.Euclidean(2).exact_distance([0.0, 0.0], [3.0, 4.0]))
    5.0
    """

    _dim: int = eqx.field(static=True)

    def __init__(self, dim: int):
        self._dim = as_count("dim", dim)

    @property
    def dim(self) -> int:
        """Dimension of the space."""
        return self._dim

    @property
    def embeds(self) -> bool:
        """True: flat space is its own embedding."""
        return True

    def embed(self, x: Point) -> Point:
        """The identity."""
        return x

    def __call__(self, x: Point) -> Matrix:
        """The identity matrix."""
        return jnp.eye(self._dim, dtype=x.dtype)

    def _distance(self, x, y):
        return jnp.linalg.norm(y - x)

    def _exp(self, x, v):
        return x + v

    def _log(self, x, y):
        return y - x

    def _summary(self):
        return [display.dimensions(self.dim)]


class PoincareHalfPlane(AbstractClosedForm):
    """The hyperbolic plane of curvature −1 in the half-plane chart, M(x) = I / x₂², x₂ > 0.

    The metric is NaN for x₂ ≤ 0, where the chart ends, so that solvers report that they left it.
    The distance is ``arccosh(1 + |x − y|² / (2 x₂ y₂))``.

    Examples
    --------
    >>> import landform as lf
    >>> half_plane = lf.PoincareHalfPlane()
    >>> round(float(half_plane.exact_distance([0.0, 1.0], [0.0, 2.718281828459045])), 9)
    1.0
    """

    @property
    def dim(self) -> int:
        """Two."""
        return 2

    def __call__(self, x: Point) -> Matrix:
        """I / x₂²."""
        height = jnp.where(x[1] > 0, x[1], jnp.nan)
        return jnp.eye(2, dtype=x.dtype) / height**2

    def _distance(self, x, y):
        # The arcsinh form keeps all digits for close points, where arccosh(1 + tiny) loses half.
        return 2.0 * jnp.arcsinh(0.5 * jnp.linalg.norm(y - x) / jnp.sqrt(_height(x) * _height(y)))

    def _exp(self, x, v):
        """The unit vertical geodesic from (0, 1), rotated, scaled and shifted by isometries."""
        height = _height(x)
        speed = jnp.linalg.norm(v) / height
        safe = jnp.where(speed > 0, speed, 1.0)
        sin, cos = v[0] / (height * safe), v[1] / (height * safe)
        # exp(s) at height 1 for the direction (sin, cos): both entries share one denominator,
        # cosh s − cos sinh s, which upwards is a small difference of large numbers as it stands.
        upward = cos > 0
        versine = jnp.where(upward, sin**2 / (1.0 + jnp.where(upward, cos, 0.0)), 1.0 - cos)
        denominator = jnp.exp(-speed) + versine * jnp.sinh(speed)
        point = jnp.array([sin * jnp.sinh(speed), 1.0]) / denominator
        return jnp.where(speed > 0, jnp.array([x[0] + height * point[0], height * point[1]]), x)

    def _log(self, x, y):
        height, other = _height(x), _height(y)
        gap = (y[0] - x[0]) / height
        ratio = other / height
        length = self._distance(x, y)
        # Direction at (0, 1) towards (gap, ratio), from exp's formulas solved for sin and cos, with
        # cosh − 1 / ratio as a sum that keeps its digits for close points.
        sinh = jnp.sinh(length)
        safe = jnp.where(sinh > 0, sinh, 1.0)
        rise = (other - height) / height
        sin = gap / ratio / safe
        cos = 0.5 * (gap**2 + rise * (ratio + 1.0)) / ratio / safe
        return jnp.where(length > 0, length * height * jnp.array([sin, cos]), jnp.zeros_like(x))

    def _summary(self):
        return [display.dimensions(self.dim)]


def _height(x):
    return jnp.where(x[1] > 0, x[1], jnp.nan)


class StereographicSphere(AbstractClosedForm):
    """The unit sphere S^d in the stereographic chart, M(x) = 4 / (1 + |x|²)² I.

    The origin is the pole projected to the center of the chart; the opposite pole is at infinity.

    Parameters
    ----------
    dim
        Dimension d of the sphere, at least 1.

    Examples
    --------
    >>> import math, landform as lf
    >>> sphere = lf.StereographicSphere(2)
    >>> abs(float(sphere.exact_distance([0.0, 0.0], [1.0, 0.0])) - math.pi / 2) < 1e-12
    True
    """

    _dim: int = eqx.field(static=True)

    def __init__(self, dim: int):
        self._dim = as_count("dim", dim)

    @property
    def dim(self) -> int:
        """Dimension of the sphere."""
        return self._dim

    @property
    def embeds(self) -> bool:
        """True: the unit sphere of Euclidean space."""
        return True

    def embed(self, x: Point) -> Float[Array, " d+1"]:
        """The point of the unit sphere, (2x, 1 − |x|²) / (1 + |x|²)."""
        square = x @ x
        return jnp.concatenate([2.0 * x, jnp.array([1.0 - square])]) / (1.0 + square)

    def __call__(self, x: Point) -> Matrix:
        """4 / (1 + |x|²)² I."""
        return (4.0 / (1.0 + x @ x) ** 2) * jnp.eye(self._dim, dtype=x.dtype)

    def energy_terms(self, x: Point, v: Point) -> EnergyTerms:
        """Closed form: q = λ |v|² with λ = 4 (1 + |x|²)⁻²."""
        base = 1.0 + x @ x
        scale, speed, eye = 4.0 / base**2, v @ v, jnp.eye(self._dim, dtype=x.dtype)
        slope = -16.0 / base**3 * x
        bend = -16.0 / base**3 * eye + 96.0 / base**4 * jnp.outer(x, x)
        return EnergyTerms(scale * eye, speed * slope, jnp.outer(v, slope), speed * bend)

    def _distance(self, x, y):
        return 2.0 * self._difference(x, y)[0]

    def _exp(self, x, v):
        """The Möbius sum of x and ``tan(|v|_x / 2) v / |v|``, multiplied out."""
        size = jnp.linalg.norm(v)
        angle = size / (1.0 + x @ x)
        direction = v / jnp.where(size > 0, size, 1.0)
        sin, cos = jnp.sin(angle), jnp.cos(angle)
        along = x @ direction
        across = x - along * direction
        top = jnp.cos(2.0 * angle) - along * jnp.sin(2.0 * angle)
        step = (1.0 + x @ x) * sin * cos * direction
        return (top * x + step) / ((cos - along * sin) ** 2 + sin**2 * (across @ across))

    def _log(self, x, y):
        half, way = self._difference(x, y)
        size = jnp.linalg.norm(way)
        return (1.0 + x @ x) * half * way / jnp.where(size > 0, size, 1.0)

    def _difference(self, x, y):
        """Half of the distance, and a vector along the geodesic.

        The Möbius difference of y and x is ``|y − x| w / |w|²``, its length the tangent of half
        the distance; w keeps its digits for close points and towards the antipode.
        """
        size = jnp.linalg.norm(y - x)
        direction = (y - x) / jnp.where(size > 0, size, 1.0)
        way = (1.0 + x @ x) * direction + size * x
        return jnp.arctan2(size, jnp.linalg.norm(way)), way

    def _summary(self):
        return [display.dimensions(self.dim)]
