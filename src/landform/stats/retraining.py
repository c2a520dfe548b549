"""How stable distances are when a model is trained again."""

from collections.abc import Callable, Sequence

import numpy as np

from landform._core import display
from landform._core.arrays import precise, to_jax
from landform._core.checks import as_count, as_numpy, as_points, seed_of
from landform._core.status import AbstractResult
from landform._core.typing import Array, Float, Int, PRNGKeyArray
from landform.geodesics.geodesic import geodesic
from landform.metrics.base import AbstractMetric


class RetrainingReport(AbstractResult):
    """Distances between the same pairs of data under several trainings of one model.

    Attributes
    ----------
    pairs
        Rows of the data, shape ``(m, 2)``.
    geodesic, euclidean
        Distances in each model's latent space, shape ``(S, m)``; NaN where a geodesic failed.
    cv_geodesic, cv_euclidean
        Coefficient of variation over the models, the standard deviation (with S − 1) over the mean,
        shape ``(m,)``; NaN where a geodesic failed under any model, in both.
    shape_cv_geodesic, shape_cv_euclidean
        The same after the distances of each model have been divided by their mean: what is left
        when a latent space may choose its unit of length.
    failed
        Number of pairs left out.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> codes = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    >>> metrics = [lf.Euclidean(2), 0.25 * lf.Euclidean(2)]  # the second space is twice as large
    >>> report = lf.retraining_report(metrics, [codes, 2.0 * codes])
    >>> bool(report.cv_geodesic.max() < 1e-9), round(float(report.cv_euclidean[0]), 4)
    (True, 0.4714)
    """

    pairs: Int[Array, "m 2"]
    geodesic: Float[Array, "S m"]
    euclidean: Float[Array, "S m"]
    cv_geodesic: Float[Array, " m"]
    cv_euclidean: Float[Array, " m"]
    shape_cv_geodesic: Float[Array, " m"]
    shape_cv_euclidean: Float[Array, " m"]
    failed: int

    def summary(self) -> str:
        """A table of the mean coefficients of variation, in percent."""
        models, count = np.shape(self.geodesic)
        rows = [
            ("geodesic", self.cv_geodesic, self.shape_cv_geodesic),
            ("euclidean", self.cv_euclidean, self.shape_cv_euclidean),
        ]
        lines = [f"{'distance':<10}{'mean CV':>10}{'median':>10}{'mean CV of shape':>18}"]
        for name, raw, shape in rows:
            mean, middle, rest = (
                100.0 * float(f(np.asarray(a)))
                for f, a in ((np.nanmean, raw), (np.nanmedian, raw), (np.nanmean, shape))
            )
            lines.append(f"{name:<10}{mean:>9.1f}%{middle:>9.1f}%{rest:>17.1f}%")
        lines.append(f"{models} models, {count - self.failed} pairs, {self.failed} failed")
        return "\n".join(lines)

    def _summary(self):
        models, pairs = self.geodesic.shape
        sizes = f"{display.counted(models, 'model')}, {display.counted(pairs, 'pair')}"
        known = [display.mean(values) for values in (self.cv_geodesic, self.cv_euclidean)]
        return [sizes, f"mean CV geodesic={known[0]} Euclidean={known[1]}", f"failed={self.failed}"]


@precise
def retraining_report(
    models: Sequence,
    X,
    *,
    pairs=None,
    num_pairs: int = 100,
    key: PRNGKeyArray | None = None,
    progress: Callable[[int], None] | None = None,
    **kwargs,
) -> RetrainingReport:
    """How much distances change when the model is trained again, geodesic against Euclidean.

    Latent coordinates are not identified: another seed bends and stretches them. A distance that
    means something survives that. For every pair of data points the report compares the geodesic
    distance of each trained model with the straight one in its latent space, by their coefficients
    of variation over the models.

    Parameters
    ----------
    models
        At least two trainings of one model: objects with ``encode(X)`` and ``metric()``, such as
        `VAE`; or metrics.
    X
        The data that models encode; for metrics the codes of one set of data under each, a sequence
        of arrays ``(n, d)``, or one such array where the models share a latent space.
    pairs
        Rows of the data to compare, integers of shape ``(m, 2)``.
    num_pairs, key
        Where `pairs` is None: this many distinct pairs (all, if there are no more), drawn with this
        key of `jax.random`; None for a fixed one.
    progress
        Called with the number of models finished.
    **kwargs
        Of `geodesic`, such as ``accuracy``; ``throw`` is always False here.

    Returns
    -------
    `RetrainingReport`.

    Raises
    ------
    TypeError, ValueError
        If the models are fewer than two or of the wrong kind, or shapes do not fit.

    Notes
    -----
    Syrota, Moreno-Muñoz and Hauberg 2024 (arXiv:2408.07507) compare ensembles this way. The mean of
    ratios is blind to how long a pair is; coincident codes are left out. S · m geodesics.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> codes = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    >>> report = lf.retraining_report([lf.Euclidean(2), 4.0 * lf.Euclidean(2)], codes)
    >>> report.geodesic.round(6).tolist()[1][:2], report.failed
    ([2.0, 4.0], 0)
    """
    models = list(models)
    if len(models) < 2:
        raise ValueError(f"models must hold at least two trainings, got {len(models)}")
    kwargs.pop("throw", None)
    metrics, codes = _latent(models, X)
    both = enumerate(zip(codes, metrics, strict=True))
    codes = [as_points(f"X[{k}]", Z, metric.dim, ndim=(2,)) for k, (Z, metric) in both]
    counts = sorted({Z.shape[0] for Z in codes})
    if len(counts) > 1 or counts[0] < 2:
        raise ValueError(f"X must hold the same points under each model, got {counts} rows")
    pairs = _pairs(pairs, counts[0], num_pairs, seed_of(key))
    lengths, straight = [], []
    for done, (metric, Z) in enumerate(zip(metrics, codes, strict=True), 1):
        x, y = Z[pairs[:, 0]], Z[pairs[:, 1]]
        found = geodesic(metric, x, y, throw=False, **kwargs)
        lengths.append(np.where(np.asarray(found.converged), np.asarray(found.length), np.nan))
        straight.append(np.linalg.norm(np.asarray(x - y), axis=1))
        if progress is not None:
            progress(done)
    lengths, straight = np.stack(lengths), np.stack(straight)
    good = np.isfinite(lengths).all(axis=0) & (lengths > 0).all(axis=0) & (straight > 0).all(axis=0)
    return RetrainingReport(
        pairs=to_jax(pairs),
        geodesic=to_jax(lengths),
        euclidean=to_jax(straight),
        cv_geodesic=_variation(lengths, good),
        cv_euclidean=_variation(straight, good),
        shape_cv_geodesic=_variation(_relative(lengths, good), good),
        shape_cv_euclidean=_variation(_relative(straight, good), good),
        failed=int(np.sum(~good)),
    )


def _latent(models, X):
    """The metric of every model and the codes of the data in its latent space."""
    if all(isinstance(model, AbstractMetric) for model in models):
        many = isinstance(X, list | tuple) or np.ndim(X) == 3
        parts = list(X) if many and np.ndim(X[0]) == 2 else [X] * len(models)
        if len(parts) != len(models):
            raise ValueError(f"X must hold codes for each of {len(models)} metrics: {len(parts)}")
        return models, parts
    for k, model in enumerate(models):
        if not (hasattr(model, "encode") and hasattr(model, "metric")):
            raise TypeError(
                f"models[{k}] must be a metric, or have encode(X) and metric() like lf.VAE, "
                f"got {type(model).__name__}"
            )
    return [model.metric() for model in models], [model.encode(X) for model in models]


def _relative(lengths, good):
    """Each model's distances over their mean."""
    return lengths / np.mean(lengths[:, good], axis=1, keepdims=True) if good.any() else lengths


def _variation(lengths, good):
    safe = np.where(good, lengths, 1.0)
    return to_jax(np.where(good, np.std(safe, axis=0, ddof=1) / np.mean(safe, axis=0), np.nan))


def _pairs(pairs, n: int, num_pairs: int, seed: int) -> np.ndarray:
    if pairs is not None:
        pairs = as_numpy(pairs)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu" or not len(pairs):
            raise ValueError(f"pairs must be integers of shape (m, 2), got shape {pairs.shape}")
        if pairs.min() < 0 or pairs.max() >= n:
            raise ValueError(f"pairs must be rows of the data, between 0 and {n - 1}")
        return pairs
    num_pairs = as_count("num_pairs", num_pairs)
    total = n * (n - 1) // 2
    chosen = np.random.default_rng(seed).choice(total, min(num_pairs, total), replace=False)
    chosen = np.sort(chosen)
    starts = np.concatenate([[0], np.cumsum(np.arange(n - 1, 0, -1))])
    first = np.searchsorted(starts, chosen, side="right") - 1
    return np.stack([first, chosen - starts[first] + first + 1], axis=1)
