"""The demonstration's generator: trained without labels, its metric tabulated."""

from typing import NamedTuple

import jax
import numpy as np

from landform import plotting
from landform.metrics.pullback import ExpectedPullback
from landform.metrics.tabulated import Tabulated
from landform.models.train import train_vae
from landform.models.vae import VAE
from landform.models.variance import fit_variance
from landform.report.settings import Sample, Settings
from landform.solvers.policy import EnergySolver

SOLVER = EnergySolver(model="newton", max_steps=600, max_refinements=1)
"""Newton steps: cheap on a table, and they resolve the narrow ridges of an RBF uncertainty."""

NUM_POINTS = 257
ACCURACY = 1e-3

_MARGIN = 0.2  # of the codes' extent, on each side of the table


class Model(NamedTuple):
    """A generator with its metric, and what is needed to compare it."""

    vae: VAE  # with the RBF uncertainty
    network: VAE  # the same mean with an ordinary variance network
    metric: ExpectedPullback
    table: Tabulated
    smooth: Tabulated  # with the paper's wider uncertainty, for means
    codes: np.ndarray
    radius: float  # largest distance of a code from their mean
    table_error: tuple[float, float]  # median and 99th percentile at the codes, relative

    def deviation(self, z, *, network: bool = False) -> np.ndarray:
        """Mean over the outputs of the generator's standard deviation at points ``(..., 2)``."""
        z = np.asarray(z)
        vae = self.network if network else self.vae
        _, std = vae.decode(z.reshape(-1, z.shape[-1]), return_std=True)
        return np.asarray(std).reshape(*z.shape[:-1], -1).mean(axis=-1)


def train(sample: Sample, settings: Settings, *, compare: bool = True) -> Model:
    """Train the generator and its uncertainty, and tabulate the expected metric.

    With `compare` an ordinary variance network is trained as well; else it is the same model twice.
    """
    stage_one, rbf, network = jax.random.split(jax.random.key(settings.seed), 3)
    start = train_vae(
        sample.X, 2, key=stage_one, hidden=settings.hidden, epochs=settings.epochs,
        variance="constant",
    )  # fmt: skip
    vae = fit_variance(
        start, sample.X, key=rbf, num_centers=settings.num_centers, a=settings.width,
        rule=settings.rule,
    )  # fmt: skip
    wide = fit_variance(start, sample.X, key=rbf)
    if not compare:
        return assemble(vae, vae, wide, sample, settings)
    epochs = min(100, settings.epochs)
    other = fit_variance(start, sample.X, key=network, variance="network", max_iter=epochs)
    return assemble(vae, other, wide, sample, settings)


def assemble(
    vae: VAE, network: VAE, wide: VAE, sample: Sample, settings: Settings
) -> Model:  # fmt: skip
    """Tabulate the metric of a trained generator."""
    codes = np.asarray(vae.encode(sample.X))
    metric = vae.metric()
    low, high = plotting.bounds(codes, margin=_MARGIN)
    table = Tabulated(metric, low, high, size=settings.table_size)
    smooth = Tabulated(wide.metric(), low, high, size=settings.table_size // 2)
    error = np.asarray(table.error(metric, codes))
    radius = float(np.linalg.norm(codes - codes.mean(axis=0), axis=1).max())
    quantiles = np.quantile(error, [0.5, 0.99])
    return Model(
        vae,
        network,
        metric,
        table,
        smooth,
        codes,
        radius,
        (float(quantiles[0]), float(quantiles[1])),
    )
