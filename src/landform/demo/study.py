"""K-means over several digit triples and seeds, under both distances."""

import dataclasses
from collections.abc import Callable

import numpy as np

from landform.demo.measure import clusters
from landform.demo.model import train_smooth
from landform.demo.settings import TRIPLES, Settings, load_sample

SEEDS = (0, 1, 2)


def run_study(
    settings: Settings, *, triples=TRIPLES, seeds=SEEDS, progress: Callable[[str], None] = print
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """F-measures of k-means and the ceiling of a nearest neighbor, for every triple and seed.

    Parameters
    ----------
    settings
        Everything but the digits and the seed.
    triples, seeds
        What to cross; each pair trains a generator of its own.
    progress
        Called with the name of each run as it begins.

    Returns
    -------
    Means for ``results.json``, and arrays ``(triples, seeds)`` for the figure.
    """
    shape = (len(triples), len(seeds))
    names = {
        "euclidean": "f_euclidean",
        "riemannian": "f_riemannian",
        "ceiling": "nearest_neighbor_accuracy",
    }
    table = {name: np.zeros(shape) for name in names}
    for i, j in np.ndindex(*shape):
        progress(f"digits {triples[i]}, seed {seeds[j]}")
        chosen = dataclasses.replace(settings, digits=triples[i], seed=seeds[j])
        sample = load_sample(chosen)
        start = train_smooth(sample, chosen)
        numbers, _ = clusters(start.smooth, start.codes, sample, chosen)
        for name, key in names.items():
            table[name][i, j] = numbers[key]
    results = {
        "study_f_euclidean": float(table["euclidean"].mean()),
        "study_f_riemannian": float(table["riemannian"].mean()),
        "study_ceiling": float(table["ceiling"].mean()),
    }
    for i, triple in enumerate(triples):
        name = "".join(map(str, triple))
        for kind in ("euclidean", "riemannian", "ceiling"):
            results[f"study_{name}_{kind}_mean"] = float(table[kind][i].mean())
            results[f"study_{name}_{kind}_std"] = float(
                table[kind][i].std(ddof=min(1, len(seeds) - 1))
            )
    return results, table
