"""LAND, intrinsic least squares and a Gaussian mixture on the same data, scored alike."""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import numpy as np
from sklearn.mixture import GaussianMixture

import landform as lf

Rule = Literal["one-se", "flat-first", "best"]
Estimator = Literal["likelihood", "least-squares"]

METHODS = ("gaussian", "least_squares", "land")
RULE_WORDS: dict[Rule, str] = {
    "best": "the highest score",
    "one-se": "the flattest of those within a standard error of the highest score",
    "flat-first": "the flat one if it is within a standard error of the highest score, else the "
    "one with that score",
}
NAMES = {"gaussian": "Gaussian", "least_squares": "least squares", "land": "LAND"}

_ESTIMATORS: dict[str, Estimator] = {"least_squares": "least-squares", "land": "likelihood"}
_STARTS = ("kmeans", "k-means++", "random_from_data")  # of the Gaussian mixture
_TRIES = 5  # starts of each of these kinds
_MAX_STARTS = 2  # of LAND's three starts that may run to the end
_SCORING_FACTOR = 4  # score with this many times the directions of the fit


class Fits(NamedTuple):
    """The three models of one training set; None where a fit failed."""

    gaussian: GaussianMixture
    least_squares: lf.LANDMixtureModel | None
    land: lf.LANDMixtureModel | None


def choose(train, count: int, **options) -> dict[str, lf.Bandwidth]:
    """The metric that suits each of the two estimators best, by its own held-out likelihood.

    All points take part.
    """
    return {
        name: lf.cv_bandwidth(train, count, estimator=estimator, max_points=len(train), **options)
        for name, estimator in _ESTIMATORS.items()
    }


def described(train, found: lf.Bandwidth) -> dict[str, Any]:
    """The σ and ρ chosen, how far their metric is from flat, and all candidates."""
    sigma, rho = float(found.sigma), float(found.rho)
    columns = ("sigmas", "rhos", "scores", "stderr", "variation", "n_scored")
    rows = zip(*(np.asarray(getattr(found, name)).tolist() for name in columns), strict=True)
    return {
        "sigma": sigma,
        "rho": rho,
        "variation": variation(train, sigma, rho),
        "candidates": [dict(zip(columns, row, strict=True)) for row in rows],
    }


def fit_all(train, count: int, chosen, *, n_directions: int, seed: int, tol=1e-3) -> Fits:
    """Mixtures of `count` components under the metrics chosen, and a Gaussian mixture.

    The Gaussian one is the best of five starts of each of three kinds. The normalizers of the
    others are integrated anew for scoring, in other directions than the fit has adapted to.
    """
    found: dict[str, lf.LANDMixtureModel | None] = {}
    for name, estimator in _ESTIMATORS.items():
        metric = lf.LocalVariance(train, float(chosen[name].sigma), float(chosen[name].rho))
        try:
            model = lf.fit_land_mixture(
                metric,
                train,
                count,
                estimator=estimator,
                n_directions=n_directions,
                tol=tol,
                key=jax.random.key(seed),
                n_init=1 if count == 1 else _MAX_STARTS,
                rtol=1e-3,
                max_iter=60,
                throw=False,
            )
            found[name] = renormalized(model, _SCORING_FACTOR * n_directions, seed + 1)
        except (lf.ConvergenceError, np.linalg.LinAlgError):
            found[name] = None
    return Fits(best_gaussian(train, count, seed), found["least_squares"], found["land"])


def best_gaussian(train, count: int, seed: int) -> GaussianMixture:
    """The Gaussian mixture of highest likelihood from starts of three kinds, each to its end."""
    options = {"n_init": _TRIES, "random_state": seed}
    starts = [GaussianMixture(count, init_params=kind, **options).fit(train) for kind in _STARTS]
    return max((_settled(fit, train) for fit in starts), key=lambda fit: fit.lower_bound_)


def _settled(fit: GaussianMixture, train) -> GaussianMixture:
    """A Gaussian mixture iterated on to a gain of 1e-6 nats.

    At scikit-learn's tolerance of 1e-3 mixtures that are on the way to one optimum differ more than
    different optima do, and the likeliest of several starts is a matter of luck.
    """
    return GaussianMixture(
        fit.n_components,
        tol=1e-6,
        max_iter=2000,
        weights_init=fit.weights_,
        means_init=fit.means_,
        precisions_init=fit.precisions_,
    ).fit(train)


def variation(train, sigma: float, rho: float) -> float:
    """Standard deviation of log √det M over the data: how far the metric is from flat."""
    metric = lf.LocalVariance(train, sigma, rho)
    return float(np.std(np.asarray(lf.log_volume(metric, train))))


def renormalized(model: lf.LANDMixtureModel, n_directions: int, seed: int) -> lf.LANDMixtureModel:
    """The same mixture with normalizers integrated in other directions."""
    components = tuple(
        lf.LAND(
            c.metric,
            c.mean,
            c.covariance,
            n_directions=n_directions,
            key=jax.random.key(seed),
            rtol=c.rtol,
        )
        for c in model.components
    )
    return eqx.tree_at(lambda m: m.components, model, components)


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
        elif not isinstance(model, lf.LANDMixtureModel):
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
        f = {n: lf.f_measure(labels, groups[n]) if n in fitted else np.nan for n in METHODS}
    return Scores(density, {n: float(v) for n, v in f.items()}, failed)
