"""The radial-basis metric of metric flow matching: cheap in many dimensions."""

import jax.numpy as jnp

from landform._core import display
from landform._core.arrays import precise
from landform._core.checks import as_floats, as_points, as_positive, check_finite, check_positive
from landform._core.typing import Array, Float, Matrix, Point, Scalar
from landform.metrics.base import AbstractMetric, EnergyTerms


class RBFMetric(AbstractMetric):
    """A diagonal metric that is about 1 near its centers and 1/ε far from them.

    ``M_jj(x) = 1 / (h_j(x) + ε)`` with ``h_j(x) = Σ_k W_jk exp(−λ_k |x − c_k|²)`` and W ≥ 0. With
    `fit_rbf_metric` h is about 1 on the data. It does what `LocalVariance` does at a price that
    does not grow with the data, and stays informative in many dimensions, where local variances do
    not.

    Parameters
    ----------
    centers
        Centers c_k, shape ``(K, d)``.
    bandwidths
        λ_k > 0, shape ``(K,)`` or a single number.
    weights
        W ≥ 0, shape ``(d, K)``, or ``(K,)`` for one h in all directions (a conformal metric).
    epsilon
        ε > 0: M is at most 1/ε.
    landmarks
        Points where the data live, shape ``(k, d)``; the centers when None.

    Raises
    ------
    TypeError, ValueError
        If an argument is not numeric, not finite, of a wrong shape or sign.

    Notes
    -----
    Kapuśniak et al. 2024 (arXiv:2405.14780), §4.2, with the kernel of `RBFPrecision`, so λ here is
    half of theirs. O(K d) per point, O(K d²) with second derivatives.

    Examples
    --------
    >>> import landform as lf
    >>> metric = lf.RBFMetric([[0.0, 0.0]], 0.5, [0.75], epsilon=0.25)
    >>> lf.metric_tensor(metric, [[0.0, 0.0], [50.0, 0.0]])[:, 0, 0].tolist()
    [1.0, 4.0]
    """

    centers: Float[Array, "K d"]
    bandwidths: Float[Array, " K"]
    weights: Float[Array, "d K"]
    epsilon: Scalar
    points: Float[Array, "k d"] | None

    @precise
    def __init__(self, centers, bandwidths, weights, epsilon=1e-3, *, landmarks=None):
        self.centers = as_points("centers", centers, ndim=(2,))
        count, d = self.centers.shape
        self.bandwidths = _as_signed("bandwidths", bandwidths, [(), (count,)], (count,), False)
        self.weights = _as_signed("weights", weights, [(count,), (d, count)], (d, count), True)
        self.epsilon = as_positive("epsilon", epsilon)
        self.points = None if landmarks is None else as_points("landmarks", landmarks, d, ndim=(2,))

    @property
    def dim(self) -> int:
        """Number of columns of the centers."""
        return self.centers.shape[1]

    def landmarks(self) -> Float[Array, "k d"]:
        """The landmarks given at construction, or the centers."""
        return self.centers if self.points is None else self.points

    def inverse(self, x: Point) -> Point:
        """The inverse of the diagonal, h(x) + ε."""
        return self.weights @ self._features(x)[1] + self.epsilon

    def _features(self, x):
        gap = x - self.centers
        return gap, jnp.exp(-self.bandwidths * jnp.sum(gap**2, axis=1))

    def __call__(self, x: Point) -> Matrix:
        """The diagonal matrix of 1 / (h + ε)."""
        return jnp.diag(1.0 / self.inverse(x))

    def inner(self, x: Point, v: Point, w: Point) -> Scalar:
        """``Σ_j v_j w_j / (h_j + ε)``."""
        return jnp.sum(v * w / self.inverse(x))

    def log_volume(self, x: Point) -> Scalar:
        """``−½ Σ_j log(h_j + ε)``."""
        return -0.5 * jnp.sum(jnp.log(self.inverse(x)))

    def _slopes(self, x):
        """h + ε, its derivatives [i, j] = ∂_i h_j, and what they are made of."""
        gap, features = self._features(x)
        pull = -2.0 * (self.bandwidths * features)[:, None] * gap
        return self.weights @ features + self.epsilon, pull.T @ self.weights.T, gap, features

    def acceleration(self, x: Point, v: Point) -> Point:
        """The geodesic equation with the analytic derivative of the metric."""
        inverse, slope, *_ = self._slopes(x)
        return v * (v @ slope) / inverse - 0.5 * inverse * (slope @ (v / inverse) ** 2)

    def energy_gradient(self, x: Point, v: Point) -> Point:
        """``−Σ_j (v_j / (h_j + ε))² ∇h_j``."""
        inverse, slope, *_ = self._slopes(x)
        return -slope @ (v / inverse) ** 2

    def energy_terms(self, x: Point, v: Point) -> EnergyTerms:
        """Analytic first and second derivatives."""
        inverse, slope, gap, features = self._slopes(x)
        a = (v / inverse) ** 2
        share = (a @ self.weights) * features * self.bandwidths
        bend = 4.0 * (gap * (share * self.bandwidths)[:, None]).T @ gap
        bend = bend - 2.0 * jnp.sum(share) * jnp.eye(x.shape[0], dtype=x.dtype)
        return EnergyTerms(
            matrix=jnp.diag(1.0 / inverse),
            gradient=-slope @ a,
            cross=-(v / inverse**2)[:, None] * slope.T,
            hessian=(2.0 * slope * (a / inverse)) @ slope.T - bend,
        )

    def _summary(self):
        return [display.rows(self.centers, "center"), *display.named(self, "epsilon")]


def _as_signed(name: str, values, shapes, full, zero: bool) -> Array:
    """A positive (or non-negative) array of one of the shapes, broadcast to the full one."""
    array = as_floats(name, values)
    if array.shape not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise ValueError(f"{name} must have shape {wanted}, got {array.shape}")
    check_finite(name, array)
    check_positive(name, array, zero=zero)
    return jnp.broadcast_to(array, full)
