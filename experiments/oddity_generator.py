"""Generators of the experiments: trained for each seed, measured, and summed up over seeds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

import landform as lf
from experiments.oddity import train_mean, train_std
from landform.demo import Sample
from landform.demo.model import Generator, generator_of


@dataclass(frozen=True)
class GeneratorSettings:
    """The network of a generator, how it is trained, and how fine its metric is tabulated."""

    architecture: str = "mlp"
    training: lf.Training = field(default_factory=lambda: lf.Training(hidden=(64, 32)))
    table_size: int = 384


def train_generator(images: Sample, settings: GeneratorSettings, seed: int) -> Generator:
    """Train mean and variance without labels, and tabulate the expected metric around the codes."""
    vae = train_network(images.X, settings, seed)
    return generator_of(vae, np.asarray(vae.encode(images.X)), settings.table_size)


def train_network(X: np.ndarray, settings: GeneratorSettings, seed: int) -> lf.VAE:
    """Both stages of the training, of a fully connected or a convolutional network."""
    training = settings.training
    if settings.architecture == "mlp":
        return train_std(train_mean(X, training, seed), X, training, seed)
    if X.ndim < 3:
        raise ValueError(f"data must be images for a convolutional network, got points {X.shape}")
    key, architecture = jax.random.key(seed), settings.architecture
    return lf.train_vae(X, 2, key=key, training=training, architecture=architecture)


def each_seed(
    settings,
    images_of: Callable[[int], Sample],
    measure: Callable,
    what: str,
    *,
    progress: Callable[[str], None],
    fitting: Callable | None = None,
) -> tuple[dict[str, Any], Sample, tuple[Generator, Any, dict[str, Any]]]:
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
        rows.append(numbers | {"table_error": generator.table_error[1]})
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
