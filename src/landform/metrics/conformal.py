"""Conformal metrics: a metric times a function of the point, from a density, energy or score."""

from collections.abc import Callable
from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import precise
from landform._core.checks import as_points, as_positive, check_choice, check_decoder
from landform._core.linalg import solve_spd
from landform._core.typing import Array, Float, Matrix, Point, Scalar
from landform.metrics.analytic import Euclidean
from landform.metrics.base import AbstractMetric, EnergyTerms, check_dtype, check_metric
from landform.metrics.pullback import as_landmarks

Kind = Literal["inverse", "affine"]

_MAX_LANDMARKS = 1000
_NUM_OFF_POINTS = 2000


class ConformalMetric(AbstractMetric):
    """A metric times a positive function of the point, λ(x) M(x).

    Angles stay, lengths change with the place: paths avoid where λ is large. `from_energy`,
    `from_density` and `from_score` make a λ that is 1 on the data and large off it.

    Parameters
    ----------
    factor
        λ, a twice differentiable function of one point ``(d,)`` to a positive number.
    metric
        The metric to multiply.
    landmarks
        Optional points where the data live, shape ``(k, d)``; those of `metric` when None.

    Raises
    ------
    TypeError
        If `factor` is not callable or `metric` not a metric.

    Notes
    -----
    A λ that is not positive gives NaN. Derivatives of M are those of `metric` and of λ by the
    product rule; λ costs a Hessian of one number. Conformal metrics of densities and energies for
    latent spaces: Arvanitidis, Hauberg and Schölkopf 2021 (arXiv:2008.00565).

    Examples
    --------
    >>> import landform as lf
    >>> plane = lf.ConformalMetric(lambda x: x[1] ** -2.0, lf.Euclidean(2))  # the half-plane
    >>> round(float(lf.distance(plane, [0.0, 1.0], [0.0, 2.718281828459045])), 6)
    1.0
    """

    factor: Callable
    metric: AbstractMetric
    points: Float[Array, "k d"] | None

    @precise
    def __init__(self, factor: Callable, metric: AbstractMetric, *, landmarks=None):
        self.factor = check_decoder("factor", factor)
        self.metric = check_metric(metric)
        self.points = as_landmarks(landmarks, self.metric.dim)

    @classmethod
    @precise
    def from_energy(
        cls,
        energy: Callable,
        data,
        *,
        metric: AbstractMetric | None = None,
        off=None,
        kind: Kind = "inverse",
        ratio: float = 1e3,
        temperature: float = 1.0,
        landmarks=None,
    ) -> "ConformalMetric":
        """λ = 1 on the data and `ratio` off it, from an energy that is low on the data.

        Parameters
        ----------
        energy
            E, a twice differentiable function of one point ``(d,)`` to a number, such as a negative
            log-density up to a constant.
        data
            Points that set the level: λ = 1 where E is their median, shape ``(n, d)``.
        metric
            The metric to multiply; Euclidean when None.
        off
            Points off the data, shape ``(m, d)``, for ``kind="affine"``. By default 2000 points
            drawn evenly from the bounding box of the data, twice as large.
        kind
            ``"inverse"``: one over a constant plus the density ``exp(−E / temperature)``, so that λ
            tends to `ratio` where there is no density. ``"affine"``: an affine function of E where
            it is above the data's level, with λ = `ratio` at the median of `off`, without bound
            beyond; smoothly bent below that level so that λ stays positive.
        ratio
            λ off the data, above 1.
        temperature
            Of ``kind="inverse"``: more than 1 evens out the densities of many dimensions.
        landmarks
            By default the data, thinned evenly to at most 1000 points.

        Raises
        ------
        TypeError, ValueError
            If an argument is not of its kind or out of range, the energy is not finite at a point,
            or (affine) no higher off the data than on it.
        """
        check_decoder("energy", energy)
        data = as_points("data", data, ndim=(2,))
        base = Euclidean(data.shape[1]) if metric is None else check_metric(metric)
        if base.dim not in (None, data.shape[1]):
            raise ValueError(
                f"data must have {base.dim} columns to match the metric, got {data.shape}"
            )
        check_choice("kind", kind, get_args(Kind))
        ratio, width = as_positive("ratio", ratio), as_positive("temperature", temperature)
        if not float(ratio) > 1.0:
            raise ValueError(f"ratio must be above 1, got {float(ratio)}")
        level = _median(energy, "data", check_dtype(base, data))
        if kind == "affine":
            off = _around(np.asarray(data)) if off is None else off
            off = as_points("off", off, data.shape[1], ndim=(2,))
            width = _median(energy, "off", check_dtype(base, off)) - level
            if not float(width) > 0.0:
                raise ValueError(
                    "energy must be higher off the data than on it, got medians "
                    f"{float(level):g} on the data and {float(level + width):g} off it"
                )
        factor = EnergyFactor(energy, level, width, ratio, kind)
        stride = -(-data.shape[0] // _MAX_LANDMARKS)
        return cls(factor, base, landmarks=data[::stride] if landmarks is None else landmarks)

    @classmethod
    def from_density(cls, log_density: Callable, data, **kwargs) -> "ConformalMetric":
        """λ from a log-density, up to a constant: `from_energy` of its negative.

        By default ``λ = 1 / ((1 − 1/ratio) p(x)/p₀ + 1/ratio)`` with p₀ the median density of the
        data. `kwargs` are those of `from_energy`.
        """
        return cls.from_energy(
            NegativeLogDensity(check_decoder("log_density", log_density)), data, **kwargs
        )

    @classmethod
    def from_score(cls, score: Callable, data, **kwargs) -> "ConformalMetric":
        """λ from a score s = ∇ log p, ``(d,)`` to ``(d,)``: an affine function of ½|s|².

        Scores point back to the data and grow with the distance, as those of diffusion models do.
        `kwargs` are those of `from_energy`; `kind` is ``"affine"`` unless given.
        """
        squared = HalfSquaredScore(check_decoder("score", score))
        return cls.from_energy(squared, data, **{"kind": "affine", **kwargs})

    @property
    def dim(self) -> int | None:
        """Dimension of the metric that is multiplied."""
        return self.metric.dim

    def landmarks(self) -> Float[Array, "k d"] | None:
        """The landmarks given at construction, or those of the metric that is multiplied."""
        return self.metric.landmarks() if self.points is None else self.points

    def scale(self, x: Point) -> Scalar:
        """λ(x), NaN where it is not positive."""
        value = jnp.asarray(self.factor(x))
        if value.shape != ():
            raise ValueError(f"factor must return one number for a point, got {value.shape}")
        return jnp.where(value > 0, value, jnp.nan) * jnp.ones((), x.dtype)

    def __call__(self, x: Point) -> Matrix:
        """λ(x) M(x)."""
        return self.scale(x) * self.metric(x)

    def inner(self, x: Point, v: Point, w: Point) -> Scalar:
        """λ(x) times the inner product."""
        return self.scale(x) * self.metric.inner(x, v, w)

    def log_volume(self, x: Point) -> Scalar:
        """``½ d log λ`` more than without the factor."""
        return self.metric.log_volume(x) + 0.5 * x.shape[0] * jnp.log(self.scale(x))

    def acceleration(self, x: Point, v: Point) -> Point:
        """The acceleration without λ, and ``(½ |v|² M⁻¹∇λ − (∇λ·v) v) / λ``."""
        scale, slope = jax.value_and_grad(self.scale)(x)
        pull = 0.5 * self.metric.inner(x, v, v) * solve_spd(self.metric(x), slope)
        return self.metric.acceleration(x, v) + (pull - (slope @ v) * v) / scale

    def energy_terms(self, x: Point, v: Point) -> EnergyTerms:
        """The terms without λ and the derivatives of λ, by the product rule."""
        terms = self.metric.energy_terms(x, v)
        scale, slope = jax.value_and_grad(self.scale)(x)
        bend = jax.hessian(self.scale)(x)
        momentum = terms.matrix @ v
        mixed = jnp.outer(slope, terms.gradient)
        return EnergyTerms(
            matrix=scale * terms.matrix,
            gradient=scale * terms.gradient + (momentum @ v) * slope,
            cross=scale * terms.cross + jnp.outer(momentum, slope),
            hessian=scale * terms.hessian + mixed + mixed.T + (momentum @ v) * bend,
        )

    def _summary(self):
        return [*display.named(self, "factor", "metric"), *display.landmarks(self.points)]


class EnergyFactor(display.AbstractDisplayed):
    """λ of an energy: 1 at `level`, `ratio` far above it; see `ConformalMetric.from_energy`."""

    energy: Callable
    level: Scalar
    width: Scalar  # of the energy: the temperature, or the height of the points off the data
    ratio: Scalar
    kind: str = eqx.field(static=True)

    def __call__(self, x: Point) -> Scalar:
        """λ at one point."""
        t = (self.energy(x) - self.level) / self.width
        if self.kind == "inverse":
            return jnp.exp(-jnp.logaddexp(jnp.log1p(-1.0 / self.ratio) - t, -jnp.log(self.ratio)))
        # λ solves λ − c²/λ = u with u affine in t: a hyperbola through (0, 1) and (1, ratio)
        square = 0.25
        start, end = 1.0 - square, self.ratio - square / self.ratio
        u = start + (end - start) * t
        root = jnp.sqrt(u**2 + 4.0 * square)
        safe = jnp.where(u < 0, root - u, 1.0)
        return jnp.where(u < 0, 2.0 * square / safe, 0.5 * (u + root))


class NegativeLogDensity(display.AbstractDisplayed):
    """An energy from a log-density."""

    function: Callable

    def __call__(self, x):
        return -self.function(x)


class HalfSquaredScore(display.AbstractDisplayed):
    """An energy from a score, ½|s|²."""

    function: Callable

    def __call__(self, x):
        value = self.function(x)
        return 0.5 * jnp.sum(value**2)


def _median(energy, name, points) -> Scalar:
    values = jax.vmap(lambda x: jnp.asarray(energy(x)))(points)
    if values.shape != points.shape[:1]:
        raise ValueError(f"energy must return one number for a point, got {values.shape[1:]}")
    bad = int(np.sum(~np.isfinite(np.asarray(values))))
    if bad:
        raise ValueError(f"energy is NaN or infinite at {bad} of {len(values)} points of {name}")
    return jnp.median(values)


def _around(data: np.ndarray) -> np.ndarray:
    """Points drawn evenly from the bounding box of the data, twice as large."""
    low, high = data.min(axis=0), data.max(axis=0)
    middle, reach = 0.5 * (low + high), high - low
    draws = np.random.default_rng(0).uniform(-1.0, 1.0, (_NUM_OFF_POINTS, data.shape[1]))
    return middle + draws * reach
