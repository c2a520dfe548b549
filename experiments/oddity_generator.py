"""A trained generator with its tabulated metric, and the support of its data."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np

import landform as lf
from experiments.oddity import Images, Training, train_mean, train_std
from landform import plotting
from landform.demo.measure import Support

_MARGIN = 0.2  # of the codes' extent, on each side of the table
_BLOCK = 512  # points that are decoded together


@dataclass(frozen=True)
class GeneratorSettings:
    """The network of a generator, how it is trained, and how fine its metric is tabulated."""

    architecture: str = "mlp"
    training: Training = field(default_factory=Training)
    table_size: int = 384


class Generator(NamedTuple):
    """A generator with a plane of latent codes, and what is measured on it."""

    vae: lf.VAE
    metric: lf.ExpectedPullback
    table: lf.Tabulated
    codes: np.ndarray
    std_at_codes: np.ndarray  # mean over the outputs
    support: Support
    table_error: float  # 99th percentile at the codes, relative

    def deviation(self, z) -> np.ndarray:
        """Mean over the outputs of σ at points ``(..., 2)``."""
        z = np.asarray(z)
        flat = z.reshape(-1, z.shape[-1])
        blocks = (flat[i : i + _BLOCK] for i in range(0, len(flat), _BLOCK))
        return np.concatenate([self._mean_std(b) for b in blocks]).reshape(z.shape[:-1])

    def _mean_std(self, z: np.ndarray) -> np.ndarray:
        """`deviation` of one block; images of all points at once would not fit the memory."""
        padded = np.pad(z, ((0, _BLOCK - len(z)), (0, 0)), mode="edge")  # one program for all
        std = np.asarray(self.vae.decode(padded, return_std=True)[1])[: len(z)]
        return std.reshape(len(z), -1).mean(axis=1)

    def decode(self, z) -> np.ndarray:
        """Mean images at points ``(n, 2)``, shape ``(n, D)``, block by block."""
        z = np.asarray(z)
        parts = [self.vae.decode(z[i : i + _BLOCK]) for i in range(0, len(z), _BLOCK)]
        return np.concatenate([np.asarray(part).reshape(len(part), -1) for part in parts])

    def certain(self, z, quantile: float = 0.95) -> np.ndarray:
        """Whether σ is below a quantile of its values at the codes, at points ``(..., 2)``."""
        return self.deviation(z) <= np.quantile(self.std_at_codes, quantile)


def train_generator(images: Images, settings: GeneratorSettings, seed: int) -> Generator:
    """Train mean and variance without labels, and tabulate the expected metric around the codes."""
    return tabulate(train_network(images.X, settings, seed), images.X, settings)


def train_network(X: np.ndarray, settings: GeneratorSettings, seed: int) -> lf.VAE:
    """Both stages of the training, of a fully connected or a convolutional network."""
    training = settings.training
    if settings.architecture == "mlp":
        return train_std(train_mean(X, training, seed), X, training, seed)
    if X.ndim < 3:
        raise ValueError(f"data must be images for a convolutional network, got points {X.shape}")
    return lf.train_vae(
        X,
        2,
        key=jax.random.key(seed),
        architecture=settings.architecture,
        hidden=training.hidden,
        epochs=training.epochs,
        batch_size=training.batch_size,
        stage_one_std=training.stage_one_std,
        num_centers=training.num_centers,
        a=training.a,
        rule=training.rule,
        max_std=training.max_std,
        min_std=training.min_std,
    )


def tabulate(vae: lf.VAE, X: np.ndarray, settings: GeneratorSettings) -> Generator:
    """The metric of a trained generator on a grid, and σ at the codes of its data."""
    codes, metric = np.asarray(vae.encode(X)), vae.metric()
    low, high = plotting.bounds(codes, margin=_MARGIN)
    table = lf.Tabulated(metric, low, high, size=settings.table_size)
    error = float(np.quantile(np.asarray(table.error(metric, codes)), 0.99))
    found = Generator(vae, metric, table, codes, np.zeros(0), Support(codes), error)
    return found._replace(std_at_codes=found.deviation(codes))


def each_seed(
    settings,
    images_of: Callable[[int], Images],
    measure: Callable,
    what: str,
    *,
    progress: Callable[[str], None],
    fitting: Callable | None = None,
) -> tuple[dict[str, Any], Images, tuple[Generator, Any, dict[str, Any]]]:
    """Train a generator for every seed and measure it.

    Parameters
    ----------
    settings
        With `seeds` and the settings `generator`.
    images_of
        The images of a seed.
    measure
        From a generator, its images and the seed to numbers and arrays.
    what
        What is measured, for the progress.
    fitting
        From the generator's settings and the number of images to settings that suit it.

    Returns
    -------
    The numbers of all seeds with their summary, the last images, and the generator, classes and
    arrays of the first seed for the figures.
    """
    rows, shown, images = [], None, None
    for seed in settings.seeds:
        progress(f"seed {seed}: training")
        images, chosen = images_of(seed), settings.generator
        chosen = chosen if fitting is None else fitting(chosen, len(images.X))
        generator = train_generator(images, chosen, seed)
        progress(f"seed {seed}: {what}")
        numbers, arrays = measure(generator, images, seed)
        rows.append(numbers | {"table_error": generator.table_error})
        shown = shown or (generator, images.y, arrays)
    assert shown is not None
    assert images is not None
    runs = [{"seed": s} | row for s, row in zip(settings.seeds, rows, strict=True)]
    return {"runs": runs, "summary": over(rows)}, images, shown


def choices_of(texts: tuple[str, ...], settings, summary) -> list[str]:
    """The choices of an experiment in words, with its settings and numbers."""
    training = settings.generator.training
    return [text.format(s=settings, t=training, n=summary) for text in texts]


def over(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over seeds of all numbers that the rows have."""
    found = {}
    for key in rows[0]:
        values = np.array([row[key] for row in rows])
        spread = float(values.std(ddof=min(1, len(values) - 1)))
        found[key] = {"mean": float(values.mean()), "sd": spread}
    return found
