"""A trained generator with its tabulated metric, and how the demonstration trains one."""

from typing import NamedTuple

import jax
import numpy as np
from scipy.spatial import cKDTree

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
_BLOCK = 512  # points that are decoded together: images of all at once would not fit the memory


class Support:
    """Discs around codes; their radius is twice the nearest neighbor's distance of 99 % of them."""

    def __init__(self, codes: np.ndarray):
        self.tree = cKDTree(codes)
        self.radius = 2.0 * float(np.quantile(self.tree.query(codes, k=2)[0][:, 1], 0.99))

    def __call__(self, points) -> np.ndarray:
        """Which of the points ``(..., d)`` are in a disc; those that are not finite are not."""
        points = np.asarray(points)
        sound = np.isfinite(points).all(axis=-1)
        inside = np.zeros(sound.shape, bool)
        inside[sound] = self.tree.query(points[sound])[0] <= self.radius
        return inside


class Generator(NamedTuple):
    """A generator with a plane of latent codes, its metric and its table, and the codes' support.

    Make one with `generator_of`.
    """

    vae: VAE
    metric: ExpectedPullback
    table: Tabulated
    codes: np.ndarray
    std_at_codes: np.ndarray  # mean over the outputs
    support: Support
    table_error: tuple[float, float]  # median and 99th percentile at the codes, relative

    @property
    def radius(self) -> float:
        """Largest distance of a code from the mean of all."""
        return float(np.linalg.norm(self.codes - self.codes.mean(axis=0), axis=1).max())

    def deviation(self, z) -> np.ndarray:
        """`mean_deviation` of the generator at points ``(..., 2)``."""
        return mean_deviation(self.vae, z)

    def decode(self, z) -> np.ndarray:
        """Mean data at points ``(n, 2)`` as rows ``(n, D)``, block by block."""
        z = np.asarray(z)
        parts = [self.vae.decode(z[i : i + _BLOCK]) for i in range(0, len(z), _BLOCK)]
        return np.concatenate([np.asarray(part).reshape(len(part), -1) for part in parts])

    def certain(self, z, quantile: float = 0.95) -> np.ndarray:
        """Whether σ is below a quantile of its values at the codes, at points ``(..., 2)``."""
        return self.deviation(z) <= np.quantile(self.std_at_codes, quantile)


def generator_of(vae: VAE, codes: np.ndarray, table_size: int) -> Generator:
    """Tabulate the metric of a trained generator around its codes, and measure σ at them."""
    metric, table = vae.metric(), tabulated(vae, codes, table_size)
    median, high = np.quantile(np.asarray(table.error(metric, codes)), [0.5, 0.99])
    error = (float(median), float(high))
    return Generator(vae, metric, table, codes, mean_deviation(vae, codes), Support(codes), error)


def tabulated(vae: VAE, codes: np.ndarray, size: int) -> Tabulated:
    """The expected metric of a generator on a grid around its codes."""
    low, high = plotting.bounds(codes, margin=_MARGIN)
    return Tabulated(vae.metric(), low, high, size=size)


def mean_deviation(vae: VAE, z) -> np.ndarray:
    """Mean over the outputs of a generator's standard deviation at points ``(..., d)``."""
    z = np.asarray(z)
    flat = z.reshape(-1, z.shape[-1])
    blocks = (flat[i : i + _BLOCK] for i in range(0, len(flat), _BLOCK))
    return np.concatenate([_block_deviation(vae, b) for b in blocks]).reshape(z.shape[:-1])


def _block_deviation(vae: VAE, z: np.ndarray) -> np.ndarray:
    padded = np.pad(
        z, ((0, _BLOCK - len(z)), (0, 0)), mode="edge"
    )  # blocks of one size share one compiled program
    std = np.asarray(vae.decode(padded, return_std=True)[1])[: len(z)]
    return std.reshape(len(z), -1).mean(axis=1)


class Model(NamedTuple):
    """The demonstration's generator, and what it is compared with."""

    generator: Generator  # with the RBF uncertainty
    network: VAE  # the same mean with an ordinary variance network
    smooth: Tabulated  # the metric of the paper's wider uncertainty, for means


class Start(NamedTuple):
    """A generator before its narrow uncertainty, and the smooth metric for means."""

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
    smooth = tabulated(wide, codes, settings.table_size // 2)
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
        bandwidth_scale=settings.width,
        bandwidth_rule=settings.rule,
    )
    epochs = min(100, settings.epochs)
    other = fit_variance(start.vae, sample.X, key=network, variance="network", max_iter=epochs)
    generator = generator_of(vae, start.codes, settings.table_size)
    return Model(generator, other, start.smooth)
