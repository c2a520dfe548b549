"""The Gaussian-process latent variable model: codes and kernel from data, by L-BFGS."""

import warnings

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from landform._core.arrays import precise
from landform._core.checks import as_count, as_floats, as_points, as_positive
from landform._core.status import ConvergenceError
from landform.models._checks import as_rows
from landform.models.gaussian_process import GaussianProcessDecoder

_MIN_NOISE_SHARE = 1e-3  # of the data's deviation: less, and K is singular in float64


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

    Maximizes ``log p(X | Z) + log p(Z)`` by L-BFGS over the latent codes ``Z ~ N(0, I)`` and the
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
        A number to use with fixed codes instead of the likelihood's. The likelihood prefers the
        longest that explains the data: if the data lie in a plane, the decoder is then certain in
        the whole plane, holes included. A shorter one is uncertain away from the codes.
    max_iter
        Most iterations of L-BFGS; each costs O(n³) for any D. Data without noise need most.
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
        If the kernel of the codes cannot be factorized on the way, or with ``throw=True`` without
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
    centered = flat - flat.mean(axis=0)
    spread = float(np.sqrt(np.mean(centered**2)))
    if spread == 0.0:
        raise ValueError("X must not consist of copies of one point")
    latent_dim, max_iter = as_count("latent_dim", latent_dim), as_count("max_iter", max_iter)
    start = _start(centered, latent_dim) if codes is None else codes
    start = np.asarray(as_points("codes", start, latent_dim, ndim=(2,)), np.float64)
    if len(start) != len(flat):
        raise ValueError(f"codes must have {len(flat)} rows to match X, got {len(start)}")
    if np.ptp(start, axis=0).max() == 0.0:  # the slopes vanish there
        raise ValueError("codes must hold at least two different points")
    products = centered @ centered.T
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
    bounds[1] = (np.log(_MIN_NOISE_SHARE * spread), None)
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


def _start(centered: np.ndarray, latent_dim: int) -> np.ndarray:
    """Whitened principal components."""
    left, values, _ = np.linalg.svd(centered, full_matrices=False)
    if latent_dim > np.sum(values > 1e-9 * values[0]):
        raise ValueError(
            f"latent_dim must be at most the rank of the data, {np.sum(values > 1e-9 * values[0])}"
        )
    return left[:, :latent_dim] * np.sqrt(len(centered))
