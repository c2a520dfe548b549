"""Gaussian-process decoders and their expected metric."""

import jax
import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import is_traced, precise
from landform._core.checks import as_points, as_positive
from landform._core.typing import Array, ArrayLike, Float, Matrix, Point, Scalar
from landform.metrics.base import AbstractMetric, EnergyTerms
from landform.metrics.pullback import as_landmarks
from landform.models._checks import as_lengthscale, as_rows, check_one_point


def _kernel(z: Point, codes: Float[Array, "n d"], lengthscale, variance) -> Float[Array, " n"]:
    """``k(z, z_n) = variance · exp(−½ Σ_i (z_i − z_ni)² / lengthscale_i²)``."""
    return variance * jnp.exp(-0.5 * jnp.sum(((z - codes) / lengthscale) ** 2, axis=-1))


class GaussianProcessDecoder(display.AbstractDisplayed):
    """A decoder whose outputs are Gaussian processes, given data at known latent codes.

    Every output is ``f_j ~ GP(offset_j, k)`` with the squared-exponential kernel
    ``k(z, z') = variance · exp(−½ Σ_i (z_i − z'_i)² / lengthscale_i²)``, observed with noise. Its
    posterior knows what it does not know: the deviation of f returns to that of the prior away
    from the codes, and the Jacobian of f is Gaussian in closed form. `train_gplvm` finds codes and
    parameters.

    Parameters
    ----------
    codes
        Latent codes of the data, shape ``(n, d)``.
    X
        Data, shape ``(n, D)``, or ``(n, ...)`` and flattened.
    lengthscale
        Of the kernel: a number, or one for each latent dimension, shape ``(d,)``.
    variance
        Prior variance of each output, in squared units of the data.
    noise
        Standard deviation of the observations around f.

    Attributes
    ----------
    weights
        ``K⁻¹ (X − offset)`` with K the kernel of the codes plus noise², shape ``(n, D)``.
    root
        Inverse of the lower Cholesky factor of K, shape ``(n, n)``.
    offset
        Mean of the data, to which the decoder returns far from them, shape ``(D,)``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not numeric, not finite, of a shape that does not match or not positive,
        or `noise` is too small for a factorization.

    Notes
    -----
    O(n³ + n² D) once; the mean costs O(n (d + D)) a point, its uncertainty and the metric O(n² d)
    for any D. Tosi et al. 2014 (arXiv:1411.7432), §4; Hauberg 2018 (arXiv:1806.04994).

    Examples
    --------
    >>> import landform as lf
    >>> gp = lf.GaussianProcessDecoder(
    ...     [[0.0], [9.0]], [[1.0], [-1.0]], lengthscale=1.0, variance=4.0, noise=1e-3
    ... )
    >>> round(float(gp([0.0])[0]), 4), round(float(gp.std([90.0])), 4)
    (1.0, 2.0)
    """

    codes: Float[Array, "n d"]
    lengthscale: Float[Array, " d"]
    variance: Scalar
    noise: Scalar
    offset: Float[Array, " D"]
    weights: Float[Array, "n D"]
    root: Float[Array, "n n"]

    @precise
    def __init__(self, codes, X, *, lengthscale, variance=1.0, noise=0.1):
        self.codes = as_points("codes", codes, ndim=(2,))
        data = as_rows("X", X, self.codes.shape[0])
        self.lengthscale = as_lengthscale(lengthscale, self.codes.shape[1])
        self.variance = as_positive("variance", variance)
        self.noise = as_positive("noise", noise)
        self.offset = jnp.mean(data, axis=0)
        factor = jnp.linalg.cholesky(_gram(self.codes, self.lengthscale, self.variance, self.noise))
        if not is_traced(factor) and not np.isfinite(np.asarray(factor)).all():
            raise ValueError(
                f"noise must be larger: with {float(self.noise)} the kernel of the codes cannot be "
                "factorized"
            )
        eye = jnp.eye(len(factor), dtype=factor.dtype)
        self.root = jax.scipy.linalg.solve_triangular(factor, eye, lower=True)
        self.weights = self.root.T @ (self.root @ (data - self.offset))

    @property
    def latent_dim(self) -> int:
        """Number d of latent dimensions."""
        return self.codes.shape[1]

    @property
    def num_features(self) -> int:
        """Number D of outputs."""
        return self.offset.shape[0]

    def kernel(self, z: ArrayLike) -> Float[Array, " n"]:
        """Prior covariance of an output at `z` with its values at the codes."""
        check_one_point(z, self.latent_dim)
        return _kernel(z, self.codes, self.lengthscale, self.variance)

    @precise
    def __call__(self, z: Point) -> Float[Array, " D"]:
        """Posterior mean of the outputs at one point ``(d,)``."""
        return self.offset + self.kernel(jnp.asarray(z)) @ self.weights

    @precise
    def std(self, z: Point) -> Scalar:
        """Posterior deviation of each output (the same for all) at one point, without noise."""
        explained = self.root @ self.kernel(jnp.asarray(z))
        left = self.variance - explained @ explained
        return jnp.sqrt(jnp.maximum(left, jnp.finfo(left.dtype).eps * self.variance))

    @precise
    def jacobian(self, z: Point) -> tuple[Float[Array, "D d"], Float[Array, "d d"]]:
        """The posterior of the Jacobian of f at one point: its mean, and the covariance of a row.

        Rows belong to outputs and are independent, ``J_j ~ N(mean_j, covariance)``.
        """
        slopes = jax.jacfwd(self.kernel)(jnp.asarray(z))  # (n, d)
        explained = self.root @ slopes
        prior = jnp.diag(self.variance / self.lengthscale**2)
        return self.weights.T @ slopes, prior - explained.T @ explained

    @precise
    def metric(self, landmarks=None) -> "GaussianProcessMetric":
        """The expected metric ``E[JᵀJ] = E[J]ᵀE[J] + D · cov(J_j)``.

        Parameters
        ----------
        landmarks
            Points where the data live; the codes when None.
        """
        return GaussianProcessMetric(self, landmarks=landmarks)

    def _summary(self):
        outputs = display.counted(self.num_features, "output")
        return [display.rows(self.codes, "code"), outputs, *display.named(self, "noise")]


class GaussianProcessMetric(AbstractMetric):
    """The expected metric of a Gaussian-process decoder, ``E[JᵀJ] = E[J]ᵀE[J] + D cov(J_j)``.

    The first term alone is the pull-back of the posterior mean. The second, which the deviation of
    single outputs does not give (it knows nothing of how they change together), grows to the
    constant ``D · variance / lengthscale²`` off the data: there geodesics are long.

    Parameters
    ----------
    decoder
        A `GaussianProcessDecoder`.
    landmarks
        Points where the data live, shape ``(k, d)``; the codes when None.

    Notes
    -----
    With ``G`` the slopes of the kernel, ``M = D · variance / lengthscale² + Gᵀ(AAᵀ − D K⁻¹) G``:
    one n × n matrix, made once, so that the number of outputs does not matter. O(n² d) a point.
    Tosi et al. 2014 (arXiv:1411.7432), §4.

    Examples
    --------
    >>> import landform as lf
    >>> gp = lf.GaussianProcessDecoder([[0.0]], [[0.0] * 5], lengthscale=2.0, variance=4.0)
    >>> lf.metric_tensor(gp.metric(), [50.0]).tolist()
    [[5.0]]
    """

    codes: Float[Array, "n d"]
    lengthscale: Float[Array, " d"]
    variance: Scalar
    form: Float[Array, "n n"]
    outputs: Scalar
    points: Float[Array, "k d"]

    @precise
    def __init__(self, decoder: GaussianProcessDecoder, *, landmarks=None):
        if not isinstance(decoder, GaussianProcessDecoder):
            raise TypeError(
                f"decoder must be a GaussianProcessDecoder, got {type(decoder).__name__}"
            )
        self.codes, self.lengthscale = decoder.codes, decoder.lengthscale
        self.variance = decoder.variance
        self.outputs = jnp.asarray(decoder.num_features, self.codes.dtype)
        inverse = decoder.root.T @ decoder.root
        self.form = decoder.weights @ decoder.weights.T - self.outputs * inverse
        points = as_landmarks(landmarks, self.dim)
        self.points = self.codes if points is None else points

    @property
    def dim(self) -> int:
        """Number of columns of the codes."""
        return self.codes.shape[1]

    def landmarks(self) -> Float[Array, "k d"]:
        """The landmarks given at construction, or the codes."""
        return self.points

    def _kernel(self, x):
        return _kernel(x, self.codes, self.lengthscale, self.variance)

    def _prior(self):
        return self.outputs * self.variance / self.lengthscale**2

    def __call__(self, x: Point) -> Matrix:
        """The tensor from the slopes of the kernel."""
        slopes = jax.jacfwd(self._kernel)(x)
        matrix = jnp.diag(self._prior()) + slopes.T @ (self.form @ slopes)
        return 0.5 * (matrix + matrix.T)

    def energy_gradient(self, x: Point, v: Point) -> Point:
        """``2 (∂_v k)ᵀ Q ∇(∂_v k)`` with Q the form: one pass instead of a Jacobian's."""
        along = lambda y: jax.jvp(self._kernel, (y,), (v,))[1]  # noqa: E731
        step, pull = jax.vjp(along, x)
        return 2.0 * pull(self.form @ step)[0]

    def energy_terms(self, x: Point, v: Point) -> EnergyTerms:
        """Derivatives of the kernel, which cost O(n d³), joined by one product with the form."""
        d = x.shape[0]
        first = jax.jacfwd(self._kernel)  # (n, d)
        second = jax.jacfwd(first)  # (n, d, d)
        slopes, bends = first(x), second(x)
        _, twists = jax.jvp(second, (x,), (v,))  # derivatives of `turns`, (n, d, d)
        turns = bends @ v  # slopes of ∂_v k, (n, d)
        pushed = self.form @ jnp.concatenate([slopes, turns], axis=1)
        image = pushed[:, :d] @ v
        return EnergyTerms(
            matrix=jnp.diag(self._prior()) + slopes.T @ pushed[:, :d],
            gradient=2.0 * turns.T @ image,
            cross=jnp.tensordot(image, bends, axes=1) + slopes.T @ pushed[:, d:],
            hessian=2.0 * turns.T @ pushed[:, d:] + 2.0 * jnp.tensordot(image, twists, axes=1),
        )

    def _summary(self):
        return [display.rows(self.codes, "code"), f"{display.number(self.outputs)} outputs"]


def _gram(codes, lengthscale, variance, noise) -> Float[Array, "n n"]:
    gram = jax.vmap(lambda z: _kernel(z, codes, lengthscale, variance))(codes)
    return gram + noise**2 * jnp.eye(len(codes), dtype=codes.dtype)
