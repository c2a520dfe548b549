"""K-means in latent spaces, as in Latent Space Oddity: under the metric and without it."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

import landform as lf
from experiments.oddity import load_images, train_mean, train_std
from experiments.oddity_clusters import (
    Space,
    euclidean,
    exact,
    other_methods,
    riemannian,
    silhouette,
    space_of,
)
from experiments.oddity_kmeans_page import sections
from experiments.write import keep, write
from landform.demo import Sample
from landform.demo.measure import nearest_neighbor_accuracy
from landform.demo.page import folder

TRIPLES = ((0, 1, 2), (3, 4, 7), (5, 6, 9))
PUBLISHED = {(0, 1, 2): (77.57, 94.28), (3, 4, 7): (77.80, 89.54), (5, 6, 9): (64.93, 81.13)}
"""F-measures in percent, linear and Riemannian; second-hand."""


VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "a = 1": {"bandwidth_scale": 1.0},
    "a = 1.5": {"bandwidth_scale": 1.5},
    "K = 32": {"num_centers": 32},
    "K = 128": {"num_centers": 128},
    "largest σ 30": {"max_std": 30.0},
    "first σ learned": {"stage_one_std": None},
    "first σ 0.3": {"stage_one_std": 0.3},
    "100 epochs": {"epochs": 100},
}


@dataclass(frozen=True)
class KMeansSettings:
    """What `python -m experiments oddity-kmeans` computes."""

    data: str | None = None
    groups: tuple[tuple[int, ...], ...] | None = None
    per_class: int = 1000
    seeds: tuple[int, ...] = (0, 1, 2)
    subsets: int = 10
    subset: int = 1000
    widths: tuple[float, ...] = (0.7, 1.0, 2.0)
    training: lf.Training = field(
        default_factory=lambda: lf.Training(hidden=(64, 32), stage_one_std=1.0)
    )
    table_size: int = 128
    exact: int = 0  # subsets that are also solved with exact geodesics, in the first seed
    ablation: bool = False
    variants: tuple[str, ...] = tuple(VARIANTS)  # of the ablation


class Shown(NamedTuple):
    """What the figures draw of one run."""

    images: Sample
    space: Space
    rows: np.ndarray
    euclidean: np.ndarray
    riemannian: np.ndarray
    centers: np.ndarray  # rows of the codes


def groups_of(settings: KMeansSettings) -> tuple[tuple[int, ...], ...]:
    """The sets of classes: those given, the paper's, or all classes of a file without these."""
    if settings.groups is not None:
        return settings.groups
    y = load_images(settings.data).y
    if y is None:
        raise ValueError("data must have classes y: they score the clusters")
    known = {int(label) for label in y}
    if all(set(triple) <= known for triple in TRIPLES):
        return TRIPLES
    return (tuple(sorted(known)),)


def run_kmeans(
    settings: KMeansSettings, out, *, progress: Callable[[str], None] = print
) -> dict[str, Any]:
    """Train, choose the width and cluster, for every set of classes and seed; write the page."""
    if not settings.variants or not set(settings.variants) <= set(VARIANTS):
        raise ValueError(f"variants must be some of {', '.join(VARIANTS)}")
    out, since = folder(out), time.perf_counter()
    runs, shown, ablation = [], {}, {}
    done = ""
    for group in groups_of(settings):
        for seed in settings.seeds:
            progress(f"{name_of(group)}, seed {seed}{done}")
            run, seen = one_run(group, seed, settings)
            runs.append(run)
            keep(out, settings, {"runs": runs, "ablation": ablation})
            flat, curved = (run["mean"][kind] for kind in ("euclidean", "riemannian"))
            done = f" (before: {flat:.1f} to {curved:.1f} %)"
            shown.setdefault(name_of(group), seen)
        if settings.ablation:
            rows = ablation[name_of(group)] = {}
            for name, row in ablate(group, settings, progress):
                rows[name] = row
                keep(out, settings, {"runs": runs, "ablation": ablation})
    results: dict[str, Any] = {"runs": runs, "summary": summary(runs)}
    if ablation:
        results["ablation"] = ablation
    progress("figures")
    write(
        out,
        "Latent Space Oddity: k-means in latent spaces",
        _LEAD,
        sections(results, shown, PUBLISHED),
        [c.format(s=settings, t=settings.training) for c in _CHOICES],
        settings,
        results,
        time.perf_counter() - since,
    )
    return results


def name_of(group: tuple[int, ...]) -> str:
    """Classes joined by commas."""
    return ",".join(map(str, group))


def _images(group, seed: int, settings: KMeansSettings) -> Sample:
    images = load_images(settings.data, classes=group, per_class=settings.per_class, seed=seed)
    if images.y is None:
        raise ValueError("data must have classes y: they score the clusters")
    return images


def _subset(n: int, number: int, seed: int, settings: KMeansSettings) -> np.ndarray:
    """The rows of one random subset."""
    rng = np.random.default_rng([seed, number])
    return rng.permutation(n)[: min(settings.subset, n)]


def one_run(group: tuple[int, ...], seed: int, settings: KMeansSettings):
    """One generator: its width, the clusters of all subsets, and their scores."""
    images, since = _images(group, seed, settings), time.process_time()
    assert images.y is not None
    count = len(group)
    vae, space, candidates = chosen(images.X, count, seed, settings)
    best = max(candidates, key=lambda c: c["silhouette"])
    rows = [_subset(len(images.X), i, seed, settings) for i in range(settings.subsets)]
    table: dict[str, list[float]] = {"euclidean": [], "riemannian": []}
    solved: list[dict[str, float]] = []
    seen = None
    for i, some in enumerate(rows):
        y = images.y[some]
        flat, (curved, centers) = (
            euclidean(space, some, count, seed),
            riemannian(space, some, count),
        )
        table["euclidean"].append(100.0 * lf.f_measure(y, flat))
        table["riemannian"].append(100.0 * lf.f_measure(y, curved))
        if i < settings.exact and seed == settings.seeds[0]:
            found = exact(space, some, centers, seed)
            solved.append(
                {
                    "f": 100.0 * lf.f_measure(y, found["labels"]),
                    "f_graph": table["riemannian"][-1],
                    "same_label": float(np.mean(found["labels"] == curved)),
                    "lost": found["lost"],
                    "converged": found["converged"],
                }
            )
        seen = seen or Shown(images, space, some, flat, curved, centers)
    history = vae.history
    run = {
        "group": name_of(group),
        "seed": seed,
        "images": len(images.X),
        "width": best["width"],
        "silhouette": best["silhouette"],
        "candidates": candidates,
        "held_out_bound": 0.0 if history is None else history.best_held_out_elbo,
        "epochs": 0 if history is None else len(history.elbo),
        "f": table,
        "mean": {name: float(np.mean(values)) for name, values in table.items()},
        "sd": {name: _sd(values) for name, values in table.items()},
        "nearest_neighbor": 100.0 * nearest_neighbor_accuracy(space.codes, images.y),
        "exact": solved,
        "core_seconds": time.process_time() - since,
    }
    return run, seen


def chosen(
    X: np.ndarray, count: int, seed: int, settings: KMeansSettings
) -> tuple[lf.VAE, Space, list[dict[str, float]]]:
    """The generator with the width of basis functions whose clusters stand apart best.

    Encoder and mean are trained once; only the variance depends on the width.
    """
    start, candidates, best = train_mean(X, settings.training, seed), [], None
    for width in settings.widths:
        vae = train_std(
            start, X, dataclasses.replace(settings.training, bandwidth_scale=width), seed
        )
        space = space_of(vae, X, settings.table_size)
        score, history = silhouette(space, np.arange(len(X)), count), vae.history
        candidates.append(
            {
                "width": width,
                "silhouette": score,
                "held_out_bound": 0.0 if history is None else history.best_held_out_elbo,
            }
        )
        if best is None or score > best[0]:
            best = (score, vae, space)
    assert best is not None
    return best[1], best[2], candidates


def summary(runs) -> dict[str, Any]:
    """Means over seeds of the means over subsets, with the deviations of both."""
    out: dict[str, Any] = {}
    for group in dict.fromkeys(run["group"] for run in runs):
        some = [run for run in runs if run["group"] == group]
        row: dict[str, Any] = {}
        for name in ("euclidean", "riemannian"):
            means = [run["mean"][name] for run in some]
            row[name] = {
                "mean": float(np.mean(means)),
                "sd_seeds": _sd(means),
                "sd_subsets": float(np.mean([run["sd"][name] for run in some])),
            }
        ceiling = [run["nearest_neighbor"] for run in some]
        row["nearest_neighbor"] = {"mean": float(np.mean(ceiling)), "sd_seeds": _sd(ceiling)}
        row["gain"] = row["riemannian"]["mean"] - row["euclidean"]["mean"]
        out[group] = row
    out["mean_gain"] = float(np.mean([row["gain"] for row in out.values()]))
    return out


def _sd(values) -> float:
    return float(np.std(values, ddof=min(1, len(values) - 1)))


def ablate(group, settings: KMeansSettings, progress) -> Iterator[tuple[str, dict[str, float]]]:
    """F-measures of the first seed under other choices, one changed at a time, on one subset."""
    seed = settings.seeds[0]
    images = _images(group, seed, settings)
    rows, means = _subset(len(images.X), 0, seed, settings), {}
    assert images.y is not None
    base = dataclasses.replace(settings.training, bandwidth_scale=2.0)
    for name in settings.variants:
        progress(f"{name_of(group)}, {name}")
        training = dataclasses.replace(base, **VARIANTS[name])
        key = (training.stage_one_std, training.epochs)
        if key not in means:
            means[key] = train_mean(images.X, training, seed)
        vae = train_std(means[key], images.X, training, seed)
        space = space_of(vae, images.X, settings.table_size)
        y, k = images.y[rows], len(group)
        row = {
            "Euclidean k-means": lf.f_measure(y, euclidean(space, rows, k, seed)),
            "Riemannian k-means": lf.f_measure(y, riemannian(space, rows, k)[0]),
            **other_methods(space, rows, y, seed),
        }
        yield (
            name,
            {key: 100.0 * value for key, value in row.items()}
            | {
                "silhouette": silhouette(space, rows, k),
                "nearest neighbor": 100.0 * nearest_neighbor_accuracy(space.codes, images.y),
                "held-out bound": 0.0 if vae.history is None else vae.history.best_held_out_elbo,
            },
        )


_LEAD = (
    "A variational autoencoder with a two-dimensional latent space is trained on images of three "
    "kinds, without their labels. The codes are clustered by k-means with Euclidean distances and "
    "means, and with geodesic distances and Fréchet means of the expected metric that the "
    "generator induces; the labels then score both."
)
_CHOICES = (
    "Labels score the clusters and color the maps; nothing was fitted or chosen with them.",
    "As in the paper: up to {s.per_class} images a class, one generator for each set of classes, "
    "layers {t.hidden} with tanh, a sigmoid mean, {t.num_centers} centers, {s.subsets} random "
    "subsets, here of {s.subset} images. The paper's bandwidth multiplier is a = 2; here it is "
    "the one of {s.widths} under which the clusters of all codes have the largest silhouette in "
    "distances under the metric, a number that needs no labels.",
    "Stage one has a constant standard deviation of {t.stage_one_std} on images in [0, 1], at most "
    "{t.epochs} epochs of batches of {t.batch_size}, and keeps the epoch with the best bound on a "
    "tenth of the images held out.",
    "The metric is tabulated on {s.table_size} × {s.table_size} points with cubic splines. "
    "Riemannian k-means minimises the sum of squared distances along a graph over all codes, its "
    "centers among the codes; {s.exact} subsets of the first seed were also solved with exact "
    "geodesics and Fréchet means. Euclidean k-means takes the best of ten starts.",
    "The bar of the first figure is the accuracy of a nearest neighbor that knows the labels of "
    "all other images, in ten folds; a clustering may exceed it a little.",
)
