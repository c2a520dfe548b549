"""The demonstration's generator: trained without labels, its metric tabulated."""

from typing import NamedTuple

import jax
import numpy as np

from landform import plotting
from landform.demo.settings import Sample, Settings
from landform.metrics.pullback import ExpectedPullback
from landform.metrics.tabulated import Tabulated
from landform.models.train import train_vae
from landform.models.vae import VAE
from landform.models.variance import fit_variance
from landform.solvers.boundary_value import EnergySolver

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


class Start(NamedTuple):
    """A generator before its narrow uncertainty, with the smooth metric that means are taken in."""

    vae: VAE  # with a constant variance
    smooth: Tabulated
    codes: np.ndarray
    keys: jax.Array  # of the RBF uncertainty and of the network


def train_smooth(sample: Sample, settings: Settings) -> Start:
    """Train the generator, and tabulate its metric with the paper's wide uncertainty."""
    keys = jax.random.split(jax.random.key(settings.seed), 3)
    vae = train_vae(
        sample.X,
        2,
        key=keys[0],
        hidden=settings.hidden,
        epochs=settings.epochs,
        variance="constant",
    )
    wide = fit_variance(vae, sample.X, key=keys[1])
    codes = np.asarray(vae.encode(sample.X))
    smooth = _tabulated(wide, codes, settings.table_size // 2)
    return Start(vae, smooth, codes, keys[1:])


def train(sample: Sample, settings: Settings) -> Model:
    """Train the generator, its uncertainty and an ordinary one beside it; tabulate the metric."""
    start = train_smooth(sample, settings)
    rbf, network = start.keys
    vae = fit_variance(
        start.vae,
        sample.X,
        key=rbf,
        num_centers=settings.num_centers,
        a=settings.width,
        rule=settings.rule,
    )
    epochs = min(100, settings.epochs)
    other = fit_variance(start.vae, sample.X, key=network, variance="network", max_iter=epochs)
    return assemble(vae, other, start, settings)


def assemble(vae: VAE, network: VAE, start: Start, settings: Settings) -> Model:
    """Tabulate the metric of a trained generator."""
    codes, metric = start.codes, vae.metric()
    table = _tabulated(vae, codes, settings.table_size)
    error = np.asarray(table.error(metric, codes))
    radius = float(np.linalg.norm(codes - codes.mean(axis=0), axis=1).max())
    median, high = np.quantile(error, [0.5, 0.99])
    return Model(
        vae, network, metric, table, start.smooth, codes, radius, (float(median), float(high))
    )


def _tabulated(vae: VAE, codes: np.ndarray, size: int) -> Tabulated:
    low, high = plotting.bounds(codes, margin=_MARGIN)
    return Tabulated(vae.metric(), low, high, size=size)
