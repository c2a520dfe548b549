"""LAND's metric: the inverse of a local diagonal covariance of the data."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import is_traced, precise, to_jax
from landform._core.checks import as_floats, as_points, as_positive, check_finite
from landform._core.typing import Array, Float, Matrix, Point, Scalar
from landform.metrics._compress import lay_on_grid
from landform.metrics._moments import central, monomials, pick
from landform.metrics.base import AbstractMetric, EnergyTerms

_MAX_LANDMARKS = 1000
_BLOCK_ROWS = 8192  # data points whose weights are held at once for every point evaluated
_MAX_ONE_PASS_DIM = 3  # above it a second pass costs less than all moments at once
_ERROR_PROBES = 200  # points at which a compression is measured, among the data and anywhere
_MAX_SPACINGS = 12  # spacings tried
_MAX_UNROLLED_DIM = 8  # coordinates summed one by one rather than through an (n, d) temporary


class LocalVariance(AbstractMetric):
    """The metric of the locally adaptive normal distribution, learned from data.

    M(x) is diagonal with ``M_jj(x) = 1 / (Σ_n w_n(x) (x_nj − x_j)² + ρ)`` and
    ``w_n(x) = exp(−|x_n − x|² / (2σ²))``: distances are short where data vary and long where there
    are none, with M → I/ρ far away. The kernel carries no normalizing constant.

    Parameters
    ----------
    data
        Points the metric is learned from, shape ``(n, d)``, n ≥ 2.
    sigma
        Width σ of the neighborhood, in the units of the data; see `auto_sigma`. If it is smaller
        than the spacing of the points, the metric is I/ρ between them; if it exceeds the radius of
        the data, the metric depends on their mean and variances alone.
    rho
        Bound ρ on the inverse metric, in squared units of the data: √det M ≤ ρ^(−d/2).
    weights
        Multiplicities of the points, not negative, shape ``(n,)``; ones by default.
    landmarks
        Where graphs over the data have their nodes, shape ``(k, d)``; by default the data, thinned
        evenly to at most 1000 points.

    Raises
    ------
    ValueError
        If the data are not finite, not of shape ``(n, d)``, fewer than two points, or all equal, or
        a parameter is not positive, or weights are negative or all zero.

    Notes
    -----
    O(B n d²) time and O(B n) memory at B points. Sums are in double precision also for data in
    single, except within a user's own `jit` with JAX's 64-bit flag off. Hauberg, Freifeld and Black
    2012; Arvanitidis, Hansen and Hauberg 2016 (arXiv:1606.02518), eq. 3. The authors' code divides
    w by ``(2πσ²)^{d/2}``: its σ and ρ have other values.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> metric = lf.LocalVariance(np.array([[-1.0], [1.0]]), sigma=1.0, rho=0.5)
    >>> expected = 1 / (2 * np.exp(-0.5) + 0.5)
    >>> bool(np.isclose(lf.metric_tensor(metric, [0.0])[0, 0], expected))
    True
    """

    data: Float[Array, "n d"]
    sigma: Scalar
    rho: Scalar
    weights: Float[Array, " n"] | None
    points: Float[Array, "k d"] | None

    @precise
    def __init__(self, data, sigma=0.15, rho=1e-3, *, weights=None, landmarks=None):
        self.data = as_points("data", data, ndim=(2,))
        if self.data.shape[0] < 2:
            raise ValueError(f"data must have at least 2 points, got {self.data.shape[0]}")
        if not is_traced(self.data) and np.ptp(np.asarray(self.data), axis=0).max() == 0.0:
            raise ValueError("data must have at least two different points: all of them are equal")
        self.sigma = as_positive("sigma", sigma).astype(self.data.dtype)
        self.rho = as_positive("rho", rho).astype(self.data.dtype)
        self.weights = None if weights is None else _as_weights(weights, self.data)
        self.points = (
            None
            if landmarks is None
            else as_points("landmarks", landmarks, self.dim, ndim=(2,)).astype(self.data.dtype)
        )

    @property
    def dim(self) -> int:
        """Number of columns of the data."""
        return self.data.shape[1]

    def landmarks(self) -> Float[Array, "k d"]:
        """The landmarks given, or the data, thinned evenly to at most 1000 points."""
        if self.points is not None:
            return self.points
        stride = -(-self.data.shape[0] // _MAX_LANDMARKS)
        return self.data[::stride]

    @precise
    def compress(self, tolerance: float = 1e-8) -> "LocalVariance":
        """The same metric from fewer, weighted points, for data of 10⁴ points and more.

        Each point becomes weights on a regular grid that keep its moments up to degree 15. The
        spacing is reduced until the tolerance is met. The kernel is smooth on the scale σ, so the
        number of nodes does not grow with the number of points.

        Parameters
        ----------
        tolerance
            Largest relative error of M, measured at 400 points: half of them data, half uniform in
            their bounding box.

        Returns
        -------
        A `LocalVariance`; this one if the grid has at least as many nodes as there are points.

        Raises
        ------
        ValueError
            If the data have more than three columns, or the tolerance is not reached.

        Examples
        --------
        >>> import numpy as np, landform as lf
        >>> data = np.random.default_rng(0).uniform(size=(20000, 1))
        >>> metric = lf.LocalVariance(data, sigma=0.1, rho=1e-2)
        >>> small = metric.compress()
        >>> small.data.shape[0] < 200
        True
        >>> ratio = lf.volume(small, [0.3]) / lf.volume(metric, [0.3])
        >>> abs(float(ratio) - 1.0) < 1e-8
        True
        """
        return _compressed(self, float(as_positive("tolerance", tolerance)))

    def __call__(self, x: Point) -> Matrix:
        """The diagonal matrix of inverse local variances."""
        return jnp.diag(1.0 / self.local_variance(x))

    def inner(self, x: Point, v: Point, w: Point) -> Scalar:
        """``Σ_j v_j w_j / S_j(x)``."""
        return jnp.sum(v * w / self.local_variance(x))

    def log_volume(self, x: Point) -> Scalar:
        """``−½ Σ_j log S_j(x)``."""
        return -0.5 * jnp.sum(jnp.log(self.local_variance(x)))

    def local_variance(self, x: Point) -> Point:
        """The inverse of the diagonal, ``S_j(x) = Σ_n w_n(x) (x_nj − x_j)² + ρ``."""

        def sums(data, y, weights):
            return weights @ jnp.concatenate([jnp.ones_like(data[:, :1]), data, data**2], axis=1)

        total, y = self._sum(x, sums)
        d = y.shape[0]
        out = total[1 + d :] - 2.0 * y * total[1 : 1 + d] + y**2 * total[0] + self.rho
        return self._narrow(x, out)

    def acceleration(self, x: Point, v: Point) -> Point:
        """The geodesic equation with the analytic derivative of the metric."""
        moments = self._moments(x)
        variance, slope = moments.variance, moments.slope
        out = v * (v @ slope) / variance - 0.5 * variance * (slope @ (v / variance) ** 2)
        return self._narrow(x, out)

    def energy_gradient(self, x: Point, v: Point) -> Point:
        """``−Σ_j (v_j / S_j)² ∇S_j``."""
        moments = self._moments(x)
        return self._narrow(x, -moments.slope @ (v / moments.variance) ** 2)

    def energy_terms(self, x: Point, v: Point) -> EnergyTerms:
        """Analytic first and second derivatives, from moments of w up to the fourth."""
        moments = self._moments(x, second=True)
        variance, slope = moments.variance, moments.slope
        a = (v / variance) ** 2  # −∂q/∂S_j
        bend = self._bend(x, a, moments) if moments.bend is None else moments.bend @ a
        terms = EnergyTerms(
            matrix=jnp.eye(x.shape[0], dtype=x.dtype) / variance,
            gradient=-slope @ a,
            cross=-(v / variance**2)[:, None] * slope.T,
            hessian=(2.0 * slope * (a / variance)) @ slope.T - bend,
        )
        return self._narrow(x, terms)

    def _narrow(self, x, tree):
        """Arrays in the common precision of a point and the data."""
        return jax.tree.map(lambda a: a.astype(jnp.result_type(x, self.data)), tree)

    def _sum(self, x, sums):
        """Σ_n of what `sums` makes of data, point and weights, and the point, both centered.

        Centering keeps the digits of the raw moments; blocks bound the memory when many points are
        evaluated at once. The moments of order k cancel to one part in (R / σ)^k with R the data's
        radius, which is more than single precision has: sums are in double wherever JAX allows it.
        """
        wide = jnp.promote_types(jnp.result_type(x, self.data), jnp.result_type(float))
        data, x = self.data.astype(wide), jnp.asarray(x, wide)
        center = jnp.mean(data, axis=0)
        data, y = data - center, x - center

        def weigh(part):
            return jnp.exp(_squares(part, y, jnp.ones_like(y)) / (-2.0 * self.sigma**2))

        n, d = data.shape
        if n <= _BLOCK_ROWS:
            weights = weigh(data)
            return sums(data, y, weights if self.weights is None else self.weights * weights), y
        count = -(-n // _BLOCK_ROWS)
        padded = jnp.zeros((count * _BLOCK_ROWS, d), data.dtype).at[:n].set(data)
        counts = jnp.ones(n, data.dtype) if self.weights is None else self.weights
        real = jnp.zeros(count * _BLOCK_ROWS, data.dtype).at[:n].set(counts)

        def add(total, block):
            part, mask = block
            return total + sums(part, y, mask * weigh(part)), None

        blocks = padded.reshape(count, _BLOCK_ROWS, d), real.reshape(count, _BLOCK_ROWS)
        shape = jax.eval_shape(lambda b: sums(b, y, weigh(b)), blocks[0][0])
        return jax.lax.scan(add, jnp.zeros(shape.shape, shape.dtype), blocks)[0], y

    def _moments(self, x, second=False):
        """Variances with their first derivatives; for few coordinates the second ones on demand."""
        d = x.shape[0]
        if d <= _MAX_ONE_PASS_DIM:
            return self._all_moments(x, 4 if second else 3)

        def sums(data, y, weights):
            products = (data[:, :, None] * data[:, None, :]).reshape(-1, d * d)
            cubes = (data[:, :, None] * data[:, None, :] ** 2).reshape(-1, d * d)
            ones = jnp.ones_like(data[:, :1])
            return weights @ jnp.concatenate([ones, data, products, cubes], axis=1)

        total, y = self._sum(x, sums)
        zeroth, first, second, third = jnp.split(total, [1, 1 + d, 1 + d + d * d])
        second, third = second.reshape(d, d), third.reshape(d, d)
        mixed = second - jnp.outer(y, first) - jnp.outer(first, y) + zeroth * jnp.outer(y, y)
        spread = jnp.diagonal(second) - 2.0 * y * first + y**2 * zeroth
        skew = third - 2.0 * second * y + jnp.outer(first, y**2) - jnp.outer(y, spread)
        slope = skew / self.sigma**2 - 2.0 * jnp.diag(first - y * zeroth)  # [i, j] = ∂_i S_j
        return _Moments(zeroth[0], mixed, spread + self.rho, slope, None)

    def _all_moments(self, x, order):
        """All moments up to `order` in one pass over the data."""
        d, square = x.shape[0], self.sigma**2
        raw, y = self._sum(x, lambda data, y, weights: weights @ monomials(data, order))
        about = central(raw, y, order)
        first, spread, mixed, third = (pick(about, d, *k) for k in ((1,), (2,), (1, 1), (1, 2)))
        zeroth, eye = about.reshape(-1)[0], jnp.eye(d, dtype=x.dtype)
        slope = third / square - 2.0 * first * eye
        if order == 3:
            return _Moments(zeroth, mixed, spread + self.rho, slope, None)
        twice = (eye[:, None] + eye[None]) * mixed[:, :, None]  # δ_ij + δ_kj at [i, k, j]
        diagonal = eye[:, :, None] * (2.0 * zeroth * eye[:, None] - spread / square)
        bend = (pick(about, d, 1, 1, 2) / square - 2.0 * twice) / square + diagonal
        return _Moments(zeroth, mixed, spread + self.rho, slope, bend)

    def _bend(self, x, a, moments):
        """``Σ_j a_j ∂_i ∂_k S_j``."""
        d = x.shape[0]

        def sums(data, y, weights):
            products = (data[:, :, None] * data[:, None, :]).reshape(-1, d * d)
            features = jnp.concatenate([jnp.ones_like(data[:, :1]), data, products], axis=1)
            return (weights * _squares(data, y, a)) @ features

        total, y = self._sum(x, sums)
        zeroth, first, second = jnp.split(total, [1, 1 + d])
        outer = second.reshape(d, d) - jnp.outer(y, first) - jnp.outer(first, y)
        outer = outer + zeroth * jnp.outer(y, y)
        square = self.sigma**2
        return (
            outer / square**2
            - jnp.diag(zeroth / square - 2.0 * a * moments.zeroth)
            - 2.0 / square * (a[:, None] + a[None, :]) * moments.mixed
        )

    def _summary(self):
        what = "point" if self.weights is None else "weighted point"
        return [display.rows(self.data, what), *display.named(self, "sigma", "rho")]


def _as_weights(weights, data):
    out = as_floats("weights", weights).astype(data.dtype)
    check_finite("weights", out)
    if out.shape != data.shape[:1]:
        raise ValueError(f"weights must have shape ({data.shape[0]},), got {out.shape}")
    if not is_traced(out) and not (np.min(out) >= 0 and np.max(out) > 0):
        raise ValueError("weights must not be negative, and not all zero")
    return out


@eqx.filter_jit
def _variances(metric, x):
    return jax.lax.map(metric.local_variance, x, batch_size=_ERROR_PROBES)


def _compressed(metric: LocalVariance, tolerance: float) -> LocalVariance:
    data = np.asarray(metric.data)
    n, d = data.shape
    if d > _MAX_ONE_PASS_DIM:
        raise ValueError(f"compress needs data with at most {_MAX_ONE_PASS_DIM} columns, got {d}")
    counts = np.ones(n) if metric.weights is None else np.asarray(metric.weights)
    rng = np.random.default_rng(0)
    box = rng.uniform(data.min(axis=0), data.max(axis=0), (_ERROR_PROBES, d))
    probes = jnp.asarray(np.concatenate([rng.choice(data, _ERROR_PROBES), box]), metric.data.dtype)
    exact = np.asarray(_variances(metric, probes))
    spacing, marks = 0.5 * float(metric.sigma), metric.landmarks()
    for _ in range(_MAX_SPACINGS):
        nodes, weights = lay_on_grid(data, counts, spacing)
        if len(nodes) >= n:
            return metric
        small = LocalVariance(nodes, float(metric.sigma), float(metric.rho), landmarks=marks)
        # Interpolation weights have both signs, which multiplicities of data may not.
        small = eqx.tree_at(
            lambda m: m.weights, small, to_jax(weights), is_leaf=lambda leaf: leaf is None
        )
        if np.max(np.abs(np.asarray(_variances(small, probes)) / exact - 1.0)) <= tolerance:
            return small
        spacing *= 0.8
    raise ValueError(f"tolerance {tolerance} is beyond the precision of these data")


class _Moments(NamedTuple):
    zeroth: Scalar
    mixed: Matrix
    variance: Point
    slope: Matrix
    bend: Float[Array, "d d d"] | None  # [i, k, j] = ∂_i ∂_k S_j


def _squares(data, y, scale):
    """``Σ_j scale_j (x_nj − x_j)²``, coordinate by coordinate: it fuses and keeps the digits."""
    if y.shape[0] > _MAX_UNROLLED_DIM:
        return ((data - y) ** 2) @ scale
    return sum(scale[j] * (data[:, j] - y[j]) ** 2 for j in range(y.shape[0]))
