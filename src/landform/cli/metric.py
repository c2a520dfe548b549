"""The metric or model that a name on the command line stands for, checked against the data."""

import numpy as np

from landform.cli.inputs import Table
from landform.io import load
from landform.metrics.analytic import Euclidean
from landform.metrics.base import AbstractMetric, log_volume
from landform.models.vae import VAE
from landform.stats.land.bandwidth import local_variance


def metric_of(name: str, table: Table, sigma: float | None = None, rho: float | None = None):
    """The metric that a name or a file stands for, checked on the data."""
    if name == "euclidean":
        return Euclidean(table.X.shape[1])
    if name == "local-variance":
        return local_variance(
            table.X,
            "auto" if sigma is None else sigma,
            "auto" if rho is None else rho,
            name=str(table.path),
            columns=table.columns or (),
        )
    if not name.lower().endswith(".landform"):
        raise ValueError(
            f"--metric must be local-variance, euclidean or a .landform file, got {name!r}"
        )
    held = load(name)
    metric = as_metric(held, name)
    _check_columns(held, metric, table, name)
    return check_definite(metric, table, name)


def fitted_in(held, name: str):
    """What a file held; of an estimator, what it has learned."""
    if not hasattr(held, "get_params"):
        return held
    learned = (getattr(held, part, None) for part in ("vae_", "model_", "metric_"))
    found = next((part for part in learned if part is not None), None)
    if found is None:
        raise ValueError(
            f"{name} holds a {type(held).__name__} without a metric: it was not fitted before it "
            "was saved, or to distances"
        )
    return found


def as_metric(held, name: str):
    """The metric in what a file held."""
    learned = fitted_in(held, name)
    if isinstance(learned, VAE):
        return learned.metric()
    parts = getattr(learned, "components", (learned,))
    found = getattr(parts[0], "metric", parts[0])
    if not isinstance(found, AbstractMetric):
        raise ValueError(f"{name} holds a {type(held).__name__}, which has no metric")
    return found


def as_vae(held, name: str) -> VAE:
    """The variational autoencoder in what a file held."""
    learned = fitted_in(held, name)
    if not isinstance(learned, VAE):
        raise ValueError(
            f"{name} holds a {type(held).__name__}, which neither encodes nor decodes: give a VAE, "
            "as of landform fit-vae"
        )
    return learned


def _check_columns(held, metric, table: Table, name: str) -> None:
    """Refuse rows of another dimension than the metric's, such as data of a generator."""
    count, learned = table.X.shape[1], fitted_in(held, name)
    marks = metric.landmarks()
    dim = metric.dim if metric.dim is not None or marks is None else marks.shape[1]
    if dim in (None, count):
        return
    if isinstance(learned, VAE) and count == learned.num_features:
        raise ValueError(
            f"{table.path} has the {count} columns of the data of {name}, whose metric is of its "
            f"{dim} latent dimensions: encode them first with "
            f"landform encode {table.path} --model {name}"
        )
    raise ValueError(f"{table.path} has {count} columns, and the metric of {name} {dim}")


def check_definite(metric, table: Table, name: str):
    """Refuse a metric that is not positive definite, or does not fit, where the data are."""
    try:
        volume = np.asarray(log_volume(metric, table.X))
    except TypeError as error:  # shapes that do not fit surface inside the user's decoder
        raise ValueError(
            f"the metric of {name} does not accept the rows of {table.path}: {error}"
        ) from None
    bad = np.flatnonzero(~np.isfinite(volume))
    if bad.size:
        raise ValueError(
            f"the metric of {name} is not positive definite at {bad.size} of the {len(volume)} "
            f"points of {table.path}, the first being row {bad[0]} (from 0)"
        )
    return metric
