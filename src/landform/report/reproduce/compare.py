"""LAND, intrinsic least squares and a Gaussian mixture on the same data, scored alike."""

from typing import NamedTuple

import numpy as np
from sklearn.mixture import GaussianMixture

from landform._results import ConvergenceError
from landform.metrics.local import LocalVariance
from landform.stats.mixture import Estimator, LANDMixtureModel, fit_land_mixture
from landform.stats.scores import f_measure

METHODS = ("gaussian", "least_squares", "land")
NAMES = {"gaussian": "Gaussian", "least_squares": "least squares", "land": "LAND"}

_STARTS = 5


class Fits(NamedTuple):
    """The three models of one training set; None where a fit failed."""

    gaussian: GaussianMixture
    least_squares: LANDMixtureModel | None
    land: LANDMixtureModel | None


def fit_all(train, count: int, sigma: float, rho: float, *, n_samples, seed: int, tol=1e-3) -> Fits:
    """Mixtures of `count` components under one metric, and a Gaussian mixture; best of 5 starts."""
    metric = LocalVariance(train, sigma, rho)
    found: dict[str, LANDMixtureModel | None] = {}
    estimators: dict[str, Estimator] = {"least_squares": "least-squares", "land": "likelihood"}
    for name, estimator in estimators.items():
        try:
            found[name] = fit_land_mixture(
                metric, train, count, estimator=estimator, n_samples=n_samples, tol=tol, seed=seed,
                n_init=1 if count == 1 else _STARTS, rtol=1e-4, max_iter=60, throw=False,
            )  # fmt: skip
        except (ConvergenceError, np.linalg.LinAlgError):
            found[name] = None
    gaussian = GaussianMixture(count, n_init=_STARTS, random_state=seed).fit(train)
    return Fits(gaussian, found["least_squares"], found["land"])


class Scores(NamedTuple):
    """Held-out results by method, NaN where a fit failed."""

    density: dict[str, float]  # mean Lebesgue log-density on the points that all methods score
    f: dict[str, float]  # F-measure of the most probable components; empty without classes
    failed: dict[str, int]  # points without a density


def score_all(fits: Fits, test, labels=None) -> Scores:
    """Held-out log-densities, and F-measures where there are labels to compare with."""
    values, groups = {}, {}
    for name, model in zip(METHODS, fits, strict=True):
        if model is None:
            values[name], groups[name] = np.full(len(test), np.nan), np.full(len(test), -1)
        elif not isinstance(model, LANDMixtureModel):
            values[name], groups[name] = model.score_samples(test), model.predict(test)
        else:
            values[name] = np.asarray(model.log_prob(test, "lebesgue", throw=False))
            share = np.asarray(model.responsibilities(test, throw=False))
            lost = np.isnan(share).any(axis=1)
            groups[name] = np.where(lost, -1, np.nan_to_num(share).argmax(axis=1))
    fitted = [name for name, model in zip(METHODS, fits, strict=True) if model is not None]
    known = np.all([np.isfinite(values[name]) for name in fitted], axis=0)
    density = {n: float(values[n][known].mean()) if n in fitted else np.nan for n in METHODS}
    failed = {n: int(np.isnan(values[n]).sum()) for n in METHODS}
    f = {}
    if labels is not None:
        f = {n: f_measure(labels, groups[n]) if n in fitted else np.nan for n in METHODS}
    return Scores(density, {n: float(v) for n, v in f.items()}, failed)
