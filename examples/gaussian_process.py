"""A Gaussian-process latent variable model: a generator known up to a posterior.

    python examples/gaussian_process.py

Fits the model to three classes of scikit-learn's digits. The Jacobian of its generator is Gaussian
in closed form, and with it the expected metric. Its mean part alone vanishes off the data, where
the posterior mean is constant, so that geodesics leave the data; with the covariance they are long
there. Prints how the closed form agrees with sampled Jacobians, and how certain the model is along
geodesics of both.
"""

import jax
import numpy as np

import landform as lf


def sampled_metric(gp, z, draws, seed=0):
    """Mean of JᵀJ over Jacobians drawn from the posterior at z, and its standard error."""
    mean, covariance = (np.asarray(part) for part in gp.jacobian(z))
    noise = np.random.default_rng(seed).normal(size=(draws, *mean.shape))
    jacobians = mean + noise @ np.linalg.cholesky(covariance).T
    metrics = np.einsum("sji,sjk->sik", jacobians, jacobians)
    return metrics.mean(axis=0), metrics.std(axis=0) / np.sqrt(draws)


def run(per_class=50, pairs=20, draws=2000, seed=0) -> dict[str, float]:
    """Fit, measure, and return the numbers."""
    digits = lf.datasets.load("digits", classes=(0, 1, 2), per_class=per_class)
    gp = lf.train_gplvm(digits.X, 2)
    metric = gp.metric()
    codes = np.asarray(gp.codes)

    mean, error = sampled_metric(gp, codes[0] + 0.1, draws)
    exact = np.asarray(lf.metric_tensor(metric, codes[0] + 0.1))

    rows = np.random.default_rng(seed).integers(len(codes), size=(2, pairs))
    x, y = codes[rows[:, rows[0] != rows[1]]]
    found = lf.geodesic(metric, x, y, accuracy=1e-4, throw=False)
    good = np.asarray(found.converged)
    line = np.asarray(lf.curve_length(metric, np.stack([x, y], axis=1), order=64))
    mean_only = lf.Pullback(gp, landmarks=codes)
    loose = lf.geodesic(mean_only, x, y, accuracy=1e-3, throw=False)
    both = good & np.asarray(loose.converged)
    deviation = jax.jit(jax.vmap(jax.vmap(gp.std)))
    away = codes.mean(axis=0) + 2.0 * np.ptp(codes, axis=0)
    return {
        "noise of a pixel": float(gp.noise),
        "closed form against samples, in errors": float(np.max(np.abs(exact - mean) / error)),
        "deviation at the codes": float(np.mean(jax.vmap(gp.std)(gp.codes))),
        "deviation far away": float(gp.std(away)),
        "volume at the codes": float(np.median(lf.volume(metric, codes))),
        "volume far away": float(lf.volume(metric, away)),
        "volume far away, mean only": float(np.nan_to_num(lf.volume(mean_only, away))),
        "geodesics converged": float(good.mean()),
        "straight over geodesic length, least": float(np.min(line[good] / found.length[good])),
        "geodesics of the mean converged": float(np.mean(loose.converged)),
        "largest deviation along geodesics": float(
            deviation(found.points[both]).max(axis=1).mean()
        ),
        "the same, geodesics of the mean": float(deviation(loose.points[both]).max(axis=1).mean()),
    }


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for name, value in run().items():
        print(f"{name:<40}{value:9.4f}")
