"""A metric tabulated on a regular grid: costly decoders at the price of a look-up."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import precise, to_jax
from landform._core.checks import as_count, as_points
from landform._core.compilation import block_size
from landform._core.linalg import cholesky, solve_spd
from landform._core.typing import Array, Float, Matrix, Point
from landform.metrics.base import AbstractMetric, EnergyTerms, check_dtype, check_metric

_MAX_NODES = 4_000_000


class Tabulated(AbstractMetric):
    """Another metric, interpolated between its values on a regular grid over a box.

    For decoders with two or three latent dimensions: their metric costs Jacobians of a network
    with many outputs, this one a weighted sum of 4^d table entries, for any decoder. The
    table holds the Cholesky factor of M with the logarithm of its diagonal, interpolated by cubic
    B-splines, so that the metric is positive definite everywhere and twice differentiable.

    Parameters
    ----------
    metric
        The metric to tabulate; positive definite on the box.
    low, high
        Corners of the box, shape ``(d,)``. Beyond it the metric continues with the value at the
        nearest point of the box.
    size
        Grid points on a side, at least 4.
    landmarks
        Points where the data live, shape ``(k, d)``; those of `metric` when None.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit each other, the table would have more than four million
        entries, or the metric is not positive definite somewhere on the grid.

    Notes
    -----
    The error falls as the fourth power of the grid's spacing; `error` measures it. O(size^d)
    evaluations of `metric` at construction.

    Examples
    --------
    >>> import landform as lf
    >>> plane = lf.PoincareHalfPlane()
    >>> table = lf.Tabulated(plane, [-1.0, 0.5], [1.0, 2.5], size=65)
    >>> abs(float(lf.volume(table, [0.3, 1.7])) * 1.7**2 - 1.0) < 1e-6
    True
    """

    coefficients: Float[Array, "*grid entries"]
    low: Point
    high: Point
    points: Float[Array, "k d"] | None

    @precise
    def __init__(self, metric: AbstractMetric, low, high, *, size: int = 128, landmarks=None):
        check_metric(metric)
        low = np.asarray(as_points("low", low, metric.dim, ndim=(1,)), float)
        high = np.asarray(as_points("high", high, low.size, ndim=(1,)), float)
        if not (high > low).all():
            raise ValueError(f"high must exceed low, got {high.tolist()} and {low.tolist()}")
        size = as_count("size", size, 4)
        if float(size) ** low.size > _MAX_NODES:
            raise ValueError(
                f"size must be smaller: {size} points on each of {low.size} sides are too many"
            )
        landmarks = metric.landmarks() if landmarks is None else landmarks
        self.points = (
            None if landmarks is None else as_points("landmarks", landmarks, low.size, ndim=(2,))
        )
        self.low, self.high = to_jax(low), to_jax(high)
        self.coefficients = to_jax(_tabulate(metric, low, high, size))

    @property
    def dim(self) -> int:
        """Dimension of the box."""
        return self.low.shape[0]

    def landmarks(self) -> Float[Array, "k d"] | None:
        """Points where the data live."""
        return self.points

    def __call__(self, x: Point) -> Matrix:
        """M(x) = L Lᵀ with the interpolated factor L."""
        factor = _factor(self._entries(x)[0], self.dim)
        return factor @ factor.T

    def log_volume(self, x: Point) -> Float[Array, ""]:
        """The sum of the logarithms of the diagonal of L."""
        return jnp.sum(self._entries(x)[0][: self.dim])

    def acceleration(self, x: Point, v: Point) -> Point:
        """The geodesic equation, by the derivatives of the splines."""
        terms = self.energy_terms(x, v)
        return solve_spd(terms.matrix, 0.5 * terms.gradient - terms.cross @ v)

    def energy_gradient(self, x: Point, v: Point) -> Point:
        """``∇_x (vᵀ M v)``, by the derivatives of the splines."""
        entries, slope = self._entries(x, 1)
        return jax.grad(lambda e: _quadratic(e, v))(entries) @ slope

    def energy_terms(self, x: Point, v: Point) -> EnergyTerms:
        """The splines' derivatives, joined by the chain rule with those of the factor's entries."""
        entries, slope, bend = self._entries(x, 2)
        factor = _factor(entries, self.dim)
        first, second = jax.grad(_quadratic)(entries, v), jax.hessian(_quadratic)(entries, v)
        momentum = jax.jacfwd(lambda e: _factor(e, self.dim) @ (_factor(e, self.dim).T @ v))
        return EnergyTerms(
            matrix=factor @ factor.T,
            gradient=first @ slope,
            cross=momentum(entries) @ slope,
            hessian=slope.T @ second @ slope + jnp.tensordot(first, bend, axes=1),
        )

    @precise
    def error(self, metric: AbstractMetric, x) -> Float[Array, " n"]:
        """Largest relative error of M against `metric` at points ``(n, d)``, in all directions."""
        check_metric(metric, self.dim)
        x = as_points("x", x, self.dim, ndim=(2,))
        excess = np.asarray(_excess(self, metric, check_dtype(metric, x)))
        known = np.isfinite(excess).all(axis=(1, 2))
        errors = np.full(len(excess), np.nan, dtype=excess.dtype)
        errors[known] = np.linalg.norm(excess[known], ord=2, axis=(1, 2))
        return to_jax(errors)

    def _entries(self, x, order: int = 0):
        """The interpolated entries ``(e,)`` with their derivatives ``(e, d)``, ``(e, d, d)``."""
        d, count = self.dim, self.coefficients.shape[0] - 2
        scale = (count - 1) / (self.high - self.low)
        inside = (x >= self.low) & (x <= self.high)
        place = (x - self.low) * scale
        nearest = jax.lax.stop_gradient(jnp.clip(place, 0.0, count - 1.0))
        # on the border the slope is that of inside; the clip's own would be half of it
        place = jnp.where(inside, place + (nearest - jax.lax.stop_gradient(place)), nearest)
        cell = jnp.clip(jnp.floor(jax.lax.stop_gradient(place)), 0, count - 2).astype(int)
        block = jax.lax.dynamic_slice(
            self.coefficients, (*cell, 0), (4,) * d + self.coefficients.shape[-1:]
        )
        slopes = scale * inside.astype(x.dtype)
        powers = [
            [_basis(place[j] - cell[j], k) * slopes[j] ** k for k in range(order + 1)]
            for j in range(d)
        ]

        def contract(*axes):
            """The block summed against the splines, differentiated once along each of `axes`."""
            out = block
            for j in range(d):
                out = jnp.tensordot(powers[j][axes.count(j)], out, axes=1)
            return out

        values = [contract()]
        if order > 0:
            values.append(jnp.stack([contract(j) for j in range(d)], axis=-1))
        if order > 1:
            rows = [jnp.stack([contract(i, j) for j in range(d)], axis=-1) for i in range(d)]
            values.append(jnp.stack(rows, axis=-1))
        return values

    def _summary(self):
        low, high = (display.brief(corner) for corner in (self.low, self.high))
        grid = display.sides(self.coefficients.shape[:-1])
        return [f"{grid} grid from {low} to {high}", *display.landmarks(self.points)]


def _basis(t, derivative: int = 0):
    """The four cubic B-splines of a cell at t in [0, 1], or their derivatives."""
    s = 1.0 - t
    return (
        jnp.stack(
            [
                [s**3, 3 * t**3 - 6 * t**2 + 4, 3 * s**3 - 6 * s**2 + 4, t**3],
                [-3 * s**2, 9 * t**2 - 12 * t, 12 * s - 9 * s**2, 3 * t**2],
                [6 * s, 18 * t - 12, 18 * s - 12, 6 * t],
            ][derivative]
        )
        / 6.0
    )


def _quadratic(entries, v):
    """``vᵀ L Lᵀ v``."""
    image = _factor(entries, v.shape[0]).T @ v
    return image @ image


def _factor(entries, d: int):
    factor = jnp.diag(jnp.exp(entries[:d]))
    if d == 1:
        return factor
    return factor.at[np.tril_indices(d, -1)].set(entries[d:])


@eqx.filter_jit
def _factors(metric, points):
    d = points.shape[-1]

    def one(x):
        factor = cholesky(metric(x))
        return jnp.concatenate([jnp.log(jnp.diagonal(factor)), factor[np.tril_indices(d, -1)]])

    return jax.lax.map(one, points, batch_size=block_size(metric, points[0]))


@eqx.filter_jit
def _excess(table, metric, x):
    """``L⁻¹ (T − M) L⁻ᵀ`` of the table's tensor T against M = L Lᵀ at every point."""

    def one(point):
        matrix = metric(point)
        whitening = solve_spd(matrix, cholesky(matrix))  # (L⁻¹)ᵀ = M⁻¹ L
        return whitening.T @ (table(point) - matrix) @ whitening

    return jax.lax.map(one, x, batch_size=block_size(metric, x[0]))


def _tabulate(metric, low: np.ndarray, high: np.ndarray, size: int) -> np.ndarray:
    """B-spline coefficients of the factor's entries."""
    axes = [np.linspace(a, b, size) for a, b in zip(low, high, strict=True)]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    values = np.asarray(_factors(metric, to_jax(nodes.reshape(-1, low.size))))
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        where = nodes.reshape(-1, low.size)[np.argmax(bad)]
        raise ValueError(
            f"metric must be positive definite on the box from low to high, and is not at "
            f"{bad.sum()} of {bad.size} grid points, {where.round(4).tolist()} for one"
        )
    table = values.reshape((size,) * low.size + (-1,))
    system = _spline_system(size)
    for axis in range(low.size):
        first = np.moveaxis(table, axis, 0)
        padded = np.concatenate([np.zeros_like(first[:1]), first, np.zeros_like(first[:1])])
        solved = np.linalg.solve(system, padded.reshape(size + 2, -1)).reshape(padded.shape)
        table = np.moveaxis(solved, 0, axis)
    return table


def _spline_system(size: int) -> np.ndarray:
    """Coefficients to values at the nodes, with a vanishing fourth difference at either end."""
    rows = np.arange(size)
    system = np.zeros((size + 2, size + 2))
    for offset, weight in ((0, 1 / 6), (1, 4 / 6), (2, 1 / 6)):
        system[rows + 1, rows + offset] = weight
    ending = (1.0, -4.0, 6.0, -4.0, 1.0)
    system[0, :5], system[-1, -5:] = ending, ending
    return system
