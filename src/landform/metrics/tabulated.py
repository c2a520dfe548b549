"""A metric tabulated on a regular grid: costly generators at the price of a look-up."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._metric import AbstractMetric, check_metric
from landform._numerics import as_points, precise
from landform._typing import Array, Float, Matrix, Point

_BLOCK = 2048  # points at which the original metric is evaluated together
_MAX_NODES = 4_000_000


class Tabulated(AbstractMetric):
    """Another metric, interpolated between its values on a regular grid over a box.

    For generators with two or three latent dimensions: their metric costs Jacobians of a network
    with many outputs, this one a weighted sum of 4^d table entries, whatever the generator. The
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
        if isinstance(size, bool) or not hasattr(size, "__index__") or int(size) < 4:
            raise ValueError(f"size must be an integer of at least 4, got {size!r}")
        if float(size) ** low.size > _MAX_NODES:
            raise ValueError(
                f"size must be smaller: {size} points on each of {low.size} sides are too many"
            )
        landmarks = metric.landmarks() if landmarks is None else landmarks
        self.points = (
            None if landmarks is None else as_points("landmarks", landmarks, low.size, ndim=(2,))
        )
        self.low, self.high = jnp.asarray(low), jnp.asarray(high)
        self.coefficients = jnp.asarray(_tabulate(metric, low, high, int(size)))

    @property
    def dim(self) -> int:
        """Dimension of the box."""
        return self.low.shape[0]

    def landmarks(self) -> Float[Array, "k d"] | None:
        """Points where the data live."""
        return self.points

    def __call__(self, x: Point) -> Matrix:
        """M(x) = L Lᵀ with the interpolated factor L."""
        factor = _factor(self._entries(x), self.dim)
        return factor @ factor.T

    def log_volume(self, x: Point) -> Float[Array, ""]:
        """The sum of the logarithms of the diagonal of L."""
        return jnp.sum(self._entries(x)[: self.dim])

    @precise
    def error(self, metric: AbstractMetric, x) -> Float[Array, " n"]:
        """Largest relative error of M against `metric` at points ``(n, d)``, in all directions."""
        x = as_points("x", x, self.dim, ndim=(2,))
        return _errors(self, metric, x)

    def _entries(self, x):
        count = self.coefficients.shape[0] - 2
        place = (x - self.low) / (self.high - self.low) * (count - 1)
        place = jnp.clip(place, 0.0, count - 1.0)
        cell = jnp.clip(jnp.floor(jax.lax.stop_gradient(place)), 0, count - 2).astype(int)
        weights = [_basis(place[j] - cell[j]) for j in range(self.dim)]
        start = (*cell, 0)
        block = jax.lax.dynamic_slice(
            self.coefficients, start, (4,) * self.dim + self.coefficients.shape[-1:]
        )
        for weight in weights:
            block = jnp.tensordot(weight, block, axes=1)
        return block


def _basis(t):
    """The four cubic B-splines that do not vanish on a cell, at t in [0, 1]."""
    return jnp.stack(
        [
            (1.0 - t) ** 3 / 6.0,
            (3.0 * t**3 - 6.0 * t**2 + 4.0) / 6.0,
            (-3.0 * t**3 + 3.0 * t**2 + 3.0 * t + 1.0) / 6.0,
            t**3 / 6.0,
        ]
    )


def _factor(entries, d: int):
    factor = jnp.diag(jnp.exp(entries[:d]))
    if d == 1:
        return factor
    return factor.at[np.tril_indices(d, -1)].set(entries[d:])


@eqx.filter_jit
def _factors(metric, points):
    d = points.shape[-1]

    def one(x):
        factor = jnp.linalg.cholesky(metric(x))
        return jnp.concatenate([jnp.log(jnp.diagonal(factor)), factor[np.tril_indices(d, -1)]])

    return jax.lax.map(one, points, batch_size=_BLOCK)


@eqx.filter_jit
def _errors(table, metric, x):
    def one(point):
        factor = jnp.linalg.cholesky(metric(point))
        half = jax.scipy.linalg.solve_triangular(factor, table(point), lower=True)
        ratio = jax.scipy.linalg.solve_triangular(factor, half.T, lower=True)
        return jnp.max(jnp.abs(jnp.linalg.eigvalsh(ratio) - 1.0))

    return jax.lax.map(one, x, batch_size=_BLOCK)


def _tabulate(metric, low: np.ndarray, high: np.ndarray, size: int) -> np.ndarray:
    """B-spline coefficients of the factor's entries."""
    axes = [np.linspace(a, b, size) for a, b in zip(low, high, strict=True)]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    values = np.asarray(_factors(metric, jnp.asarray(nodes.reshape(-1, low.size))))
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
