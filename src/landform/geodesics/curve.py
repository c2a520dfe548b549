"""Curves: functions of t in [0, 1], with their length, energy and speed under a metric."""

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import precise
from landform._core.checks import as_count, as_floats, as_points
from landform._core.linalg import root
from landform._core.quadrature import gauss, lobatto
from landform._core.typing import Array, Float
from landform.metrics.base import AbstractMetric, check_dtype, check_metric
from landform.solvers.elements import Rule, sample

_INTERPOLATION = Rule(32, 8)  # of a curve that is only a function; smooth ones to rounding
_PICTURED = 101  # points of a curve in its picture


class AbstractCurve(display.AbstractDisplayed):
    """A curve in a chart, a function of t in [0, 1].

    Examples
    --------
    >>> import jax.numpy as jnp, landform as lf
    >>> class Circle(lf.AbstractCurve):
    ...     def __call__(self, t):
    ...         return jnp.array([jnp.cos(t), jnp.sin(t)])
    ...     def velocity(self, t):
    ...         return jnp.array([-jnp.sin(t), jnp.cos(t)])
    >>> Circle()(0.0).tolist()
    [1.0, 0.0]
    """

    @abc.abstractmethod
    def __call__(self, t) -> Float[Array, "*batch d"]:
        """The point at parameter t."""

    @abc.abstractmethod
    def velocity(self, t) -> Float[Array, "*batch d"]:
        """The derivative in t."""


class PolynomialCurve(AbstractCurve):
    """A continuous curve of polynomial pieces, given by its values at Gauss–Lobatto points.

    Parameters
    ----------
    nodes
        Values at the nodes, shape ``(T + 1, d)`` or, for n curves, ``(n, T + 1, d)``, T a multiple
        of `degree`. Pieces are equally long in t; the nodes of each are its Gauss–Lobatto points.
    degree
        Degree of the pieces. 1 is a polyline with equally spaced vertices.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> curve = lf.PolynomialCurve(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]), degree=1)
    >>> curve(0.25).tolist(), curve.velocity(0.75).tolist()
    ([0.5, 0.0], [0.0, 2.0])
    """

    nodes: Float[Array, "*batch T1 d"]
    degree: int = eqx.field(static=True)

    @precise
    def __init__(self, nodes, degree: int = 1):
        self.nodes = as_floats("nodes", nodes)
        self.degree = int(degree)
        if self.degree < 1:
            raise ValueError(f"degree must be at least 1, got {degree}")
        if self.nodes.ndim not in (2, 3):
            raise ValueError(
                f"nodes must have shape (T + 1, d) or (n, T + 1, d), got {self.nodes.shape}"
            )
        segments = self.nodes.shape[-2] - 1
        if segments < 1 or segments % self.degree:
            raise ValueError(
                f"nodes must hold a multiple of degree = {self.degree} segments, got {segments}"
            )

    @property
    def elements(self) -> int:
        """Number of polynomial pieces."""
        return (self.nodes.shape[-2] - 1) // self.degree

    def __call__(self, t) -> Float[Array, "*batch d"]:
        """Points at t, a number or ``(k,)``: shape ``(d,)`` or ``(k, d)``, after the batch axis."""
        return _evaluate(self, t, 0)

    def velocity(self, t) -> Float[Array, "*batch d"]:
        """Derivatives at t; at a joint of two pieces, that of the later piece."""
        return _evaluate(self, t, 1)

    def _summary(self):
        *batch, _, dim = self.nodes.shape
        curves = [display.counted(math.prod(batch), "curve")] if batch else []
        pieces = display.counted(self.elements, "piece")
        return [*curves, f"{pieces} of degree {self.degree} in {display.dimensions(dim)}"]

    def _picture(self):
        if not display.is_plane(self.nodes):
            return None
        points = self(np.linspace(0.0, 1.0, _PICTURED))
        return display.Picture(curves=np.reshape(points, (-1, _PICTURED, 2)))


@precise
def _evaluate(curve, t, order):
    t = as_floats("t", t).astype(curve.nodes.dtype)
    if t.ndim > 1:
        raise ValueError(f"t must be a number or have shape (k,), got {t.shape}")
    return _evaluate_jit(curve, t, order)


@eqx.filter_jit
def _evaluate_jit(curve, t, order):
    m, p = curve.elements, curve.degree
    flat = jnp.atleast_1d(t)
    piece = jnp.clip(jnp.floor(flat * m), 0, m - 1).astype(int)
    local = flat * m - piece
    powers = local[:, None] ** jnp.arange(p + 1)
    coefficients = _monomials(p)  # values at the nodes to monomial coefficients
    if order == 1:
        powers = jnp.concatenate(
            [jnp.zeros_like(powers[:, :1]), powers[:, :-1] * jnp.arange(1, p + 1) * m], axis=1
        )
    rows = powers @ jnp.asarray(coefficients, flat.dtype)
    index = piece[:, None] * p + jnp.arange(p + 1)
    values = curve.nodes[..., index, :]
    out = jnp.einsum("kj,...kjd->...kd", rows, values)
    return out[..., 0, :] if t.ndim == 0 else out


def _monomials(degree):
    return np.linalg.inv(np.vander(lobatto(degree)[0], increasing=True))


def as_polynomial(name: str, curve, dim: int | None = None) -> PolynomialCurve:
    """What stands for a curve as a `PolynomialCurve`: the argument `name` of a public function.

    A `Geodesic` stands for its path, points for the polyline through them; another curve is
    interpolated on 32 elements of degree 8.
    """
    curve = getattr(curve, "path", curve)  # of a `Geodesic`
    if not isinstance(curve, PolynomialCurve):
        if isinstance(curve, AbstractCurve):
            times = jnp.asarray(_INTERPOLATION.times)
            nodes = as_points(name, jax.vmap(curve)(times), dim, ndim=(2, 3))
            if nodes.ndim == 3:  # (t, n, d) of n curves
                nodes = jnp.swapaxes(nodes, 0, 1)
            return PolynomialCurve(nodes, _INTERPOLATION.degree)
        return PolynomialCurve(as_points(name, curve, dim, ndim=(2, 3)), degree=1)
    if dim is not None and curve.nodes.shape[-1] != dim:
        raise ValueError(
            f"{name} must have {dim} coordinate(s) to match the metric, got {curve.nodes.shape[-1]}"
        )
    return curve


@eqx.filter_jit
def _measure(metric, nodes, degree, order):
    def one(curve):
        rule = Rule((curve.shape[0] - 1) // degree, degree)
        places, weights = gauss(order)
        x, v = sample(rule, curve, places)
        speed = root(jnp, jax.vmap(jax.vmap(lambda a, b: metric.inner(a, b, b)))(x, v))
        weights = jnp.asarray(weights, curve.dtype) / rule.elements
        return jnp.sum(weights * speed), 0.5 * jnp.sum(weights * speed**2)

    return one(nodes) if nodes.ndim == 2 else jax.lax.map(one, nodes, batch_size=64)


@precise
def _length_and_energy(metric, curve, order):
    check_metric(metric)
    curve = as_polynomial("curve", curve, metric.dim)
    nodes = check_dtype(metric, curve.nodes)
    order = curve.degree + 3 if order is None else as_count("order", order)
    return _measure(metric, nodes, curve.degree, order)


def curve_length(
    metric: AbstractMetric, curve, *, order: int | None = None
) -> Float[Array, "*batch"]:
    """The Riemannian length ∫ |ċ| dt of a curve.

    Parameters
    ----------
    metric
        The metric.
    curve
        A `Geodesic`, any `AbstractCurve`, or the corners of polylines, ``(T + 1, d)`` or
        ``(n, T + 1, d)``.
    order
        Gauss–Legendre points on each piece, by default its degree plus 3.

    Returns
    -------
    Lengths, shape ``()`` or ``(n,)``; NaN where the metric is not finite on the curve.

    Examples
    --------
    >>> import landform as lf
    >>> round(float(lf.curve_length(lf.PoincareHalfPlane(), [[0.0, 1.0], [0.0, 2.0]], order=9)), 9)
    0.693147181
    """
    return _length_and_energy(metric, curve, order)[0]


def curve_energy(
    metric: AbstractMetric, curve, *, order: int | None = None
) -> Float[Array, "*batch"]:
    """The energy ½ ∫ |ċ|² dt of a curve; half the squared length at constant speed.

    Parameters
    ----------
    metric
        The metric.
    curve
        A `Geodesic`, any `AbstractCurve`, or the corners of polylines, ``(T + 1, d)`` or
        ``(n, T + 1, d)``.
    order
        Gauss–Legendre points on each piece, by default its degree plus 3.

    Returns
    -------
    Energies, shape ``()`` or ``(n,)``; NaN where the metric is not finite on the curve.

    Examples
    --------
    >>> import landform as lf
    >>> float(lf.curve_energy(lf.Euclidean(2), [[0.0, 0.0], [3.0, 4.0]]))
    12.5
    """
    return _length_and_energy(metric, curve, order)[1]
