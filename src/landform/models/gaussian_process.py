"""Gaussian-process decoders: the expected metric of a generator known only up to a posterior."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from landform._core.arrays import is_traced, precise
from landform._core.checks import as_count, as_floats, as_points, as_positive
from landform._core.status import ConvergenceError
from landform._core.typing import Array, ArrayLike, Float, Matrix, Point, Scalar
from landform.metrics.base import AbstractMetric, EnergyTerms
from landform.metrics.pullback import as_landmarks
from landform.models._checks import as_lengthscale, as_rows, check_one_point

_LEAST_NOISE = 1e-3  # of the data's deviation: less, and K is singular in float64


def _kernel(z: Point, codes: Float[Array, "n d"], lengthscale, variance) -> Float[Array, " n"]:
    """``k(z, z_n) = variance · exp(−½ Σ_i (z_i − z_ni)² / lengthscale_i²)``."""
    return variance * jnp.exp(-0.5 * jnp.sum(((z - codes) / lengthscale) ** 2, axis=-1))


class GaussianProcessDecoder(eqx.Module):
    """A generator whose outputs are Gaussian processes, given data at known latent codes.

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
        Mean of the data, to which the generator returns far from them, shape ``(D,)``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not numeric, not finite, of a shape that does not match or not positive,
        or `noise` is too small for a factorisation.

    Notes
    -----
    O(n³ + n² D) once; the mean costs O(n (d + D)) a point, its uncertainty and the metric O(n² d)
    whatever D. Tosi et al. 2014 (arXiv:1411.7432), §4; Hauberg 2018 (arXiv:1806.04994).

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
                "factorised"
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


def _gram(codes, lengthscale, variance, noise) -> Float[Array, "n n"]:
    gram = jax.vmap(lambda z: _kernel(z, codes, lengthscale, variance))(codes)
    return gram + noise**2 * jnp.eye(len(codes), dtype=codes.dtype)


def _negative_bound(codes, lengthscale, variance, noise, products, outputs, prior=True):
    """``−log p(X | Z) − log p(Z)`` per output up to a constant, and its slopes.

    Fixed codes go without `prior`: for codes of a large unit that constant would take the digits
    by which convergence is judged.
    Needs the data's inner products only. The slopes are those of the codes and of the logarithms
    of the other three, by ``∂/∂K = ½ (K⁻¹ − K⁻¹ S K⁻¹)``.
    """
    squares = np.sum((codes[:, None] - codes[None]) ** 2, axis=-1) / lengthscale**2
    kernel = variance * np.exp(-0.5 * squares)
    factor, _ = cho_factor(kernel + noise**2 * np.eye(len(codes)), lower=True)
    inverse = cho_solve((factor, True), np.eye(len(codes)))
    fitted = inverse @ products / outputs
    value = np.sum(np.log(np.diag(factor))) + 0.5 * np.trace(fitted)
    slope = 0.5 * (inverse - fitted @ inverse)
    pull = slope * kernel
    to_codes = 2.0 * (pull @ codes - pull.sum(axis=1)[:, None] * codes) / lengthscale**2
    slopes = {
        "codes": to_codes + codes / outputs,
        "lengthscale": np.sum(pull * squares),
        "variance": np.sum(pull),
        "noise": 2.0 * noise**2 * np.trace(slope),
    }
    return value + (0.5 * np.sum(codes**2) / outputs if prior else 0.0), slopes


@precise
def train_gplvm(
    X,
    latent_dim: int = 2,
    *,
    codes=None,
    learn_codes: bool = True,
    lengthscale=None,
    max_iter: int = 2000,
    throw: bool = True,
) -> GaussianProcessDecoder:
    """A Gaussian-process latent variable model: codes and kernel of largest posterior probability.

    Maximises ``log p(X | Z) + log p(Z)`` by L-BFGS over the latent codes ``Z ~ N(0, I)`` and the
    variance and the noise; the lengthscale, which only sets the unit of the codes, is 1. With the
    codes fixed it is fitted in their place, unless it is given.

    Parameters
    ----------
    X
        Data, shape ``(n, D)`` or ``(n, ...)``. All outputs share one kernel, so they should have
        one unit.
    latent_dim
        Number d of latent dimensions.
    codes
        Codes to start from, shape ``(n, d)``; the whitened principal components when None.
    learn_codes
        With False the codes stay where they are, and only the kernel is fitted.
    lengthscale
        A number to use with fixed codes instead of the likelihood's. The likelihood takes the
        longest that explains the data: where these lie in a plane, the generator is then certain
        of the whole plane, holes included. A short one is doubtful away from the codes.
    max_iter
        Most iterations of L-BFGS; each costs O(n³), whatever D. Data without noise need the most.
    throw
        Raise if there is no convergence; with False warn and return the best iterate.

    Returns
    -------
    GaussianProcessDecoder
        With the learned codes; the noise is at least a thousandth of the data's deviation.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or the shapes do not fit.
    ConvergenceError
        If the kernel of the codes cannot be factorised on the way, or with ``throw=True`` without
        convergence; it carries the decoder.

    Notes
    -----
    Lawrence 2005 (Journal of Machine Learning Research 6). The objective has many local maxima: the
    result depends on the start. For more than a few thousand points take a subset.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> t = np.linspace(0.0, 3.0, 30)
    >>> gp = lf.train_gplvm(np.stack([np.cos(t), np.sin(t), t], axis=1), 1)
    >>> float(np.abs(np.corrcoef(np.asarray(gp.codes)[:, 0], t)[0, 1])) > 0.99
    True
    """
    data = as_floats("X", X)
    if data.ndim < 2 or data.shape[0] < 3:
        raise ValueError(f"X must have shape (n, D) with n of at least 3, got {data.shape}")
    flat = np.asarray(as_rows("X", data, data.shape[0]), np.float64)
    centerd = flat - flat.mean(axis=0)
    spread = float(np.sqrt(np.mean(centerd**2)))
    if spread == 0.0:
        raise ValueError("X must not consist of copies of one point")
    latent_dim, max_iter = as_count("latent_dim", latent_dim), as_count("max_iter", max_iter)
    start = _start(centerd, latent_dim) if codes is None else codes
    start = np.asarray(as_points("codes", start, latent_dim, ndim=(2,)), np.float64)
    if len(start) != len(flat):
        raise ValueError(f"codes must have {len(flat)} rows to match X, got {len(start)}")
    if np.ptp(start, axis=0).max() == 0.0:  # where the slopes vanish, and no lengthscale is a start
        raise ValueError("codes must hold at least two different points")
    products = centerd @ centerd.T
    # codes and lengthscale may be scaled together: at most one of them is free
    free = "codes" if learn_codes else "lengthscale" if lengthscale is None else None
    extent = np.sqrt(np.mean(np.var(start, axis=0)))
    known = {"codes": start, "lengthscale": 1.0 if learn_codes else extent}
    if lengthscale is not None:
        if learn_codes:
            raise ValueError("lengthscale needs learn_codes=False: learned codes scale with it")
        known["lengthscale"] = float(as_positive("lengthscale", lengthscale))

    def unpack(values):
        found = known | {"variance": np.exp(values[0]), "noise": np.exp(values[1])}
        if free is not None:
            found[free] = values[2:].reshape(start.shape) if learn_codes else np.exp(values[2])
        return found

    def objective(values):
        value, slopes = _negative_bound(
            **unpack(values), products=products, outputs=flat.shape[1], prior=learn_codes
        )
        names = ["variance", "noise"] + ([] if free is None else [free])
        return value, np.concatenate([np.ravel(slopes[name]) for name in names])

    rest = {"codes": start.ravel(), "lengthscale": [np.log(extent)], None: []}[free]
    first = np.concatenate([[2.0 * np.log(spread), np.log(0.3 * spread)], rest])
    bounds = [(None, None)] * len(first)
    bounds[1] = (np.log(_LEAST_NOISE * spread), None)
    try:
        found = minimize(
            objective,
            first,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": max_iter, "maxfun": 20 * max_iter},
        )
    except np.linalg.LinAlgError as error:
        raise ConvergenceError(f"train_gplvm failed: {error}; are codes far apart?", None) from None
    best = unpack(found.x)
    decoder = GaussianProcessDecoder(
        best["codes"],
        flat,
        lengthscale=best["lengthscale"],
        variance=best["variance"],
        noise=best["noise"],
    )
    if not found.success:
        message = (
            f"train_gplvm did not converge in {found.nit} iterations ({found.message}); raise "
            "max_iter, or pass throw=False for the decoder as it is"
        )
        if throw:
            raise ConvergenceError(message, decoder)
        warnings.warn(message, UserWarning, stacklevel=3)
    return decoder


def _start(centerd: np.ndarray, latent_dim: int) -> np.ndarray:
    """Whitened principal components."""
    left, values, _ = np.linalg.svd(centerd, full_matrices=False)
    if latent_dim > np.sum(values > 1e-9 * values[0]):
        raise ValueError(
            f"latent_dim must be at most the rank of the data, {np.sum(values > 1e-9 * values[0])}"
        )
    return left[:, :latent_dim] * np.sqrt(len(centerd))
