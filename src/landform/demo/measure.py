"""The measurements of the report: each function turns a model into numbers and arrays.

Numbers are plain floats by their name in ``results.json``; arrays are for the section's figure.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import gaussian_kde
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from landform import plotting
from landform._core.status import ConvergenceError
from landform.demo.model import ACCURACY, NUM_POINTS, SOLVER, Generator, mean_deviation
from landform.demo.settings import Sample, Settings
from landform.geodesics.curve import curve_length
from landform.geodesics.distances import pairwise_distances
from landform.geodesics.geodesic import geodesic
from landform.metrics.analytic import Euclidean
from landform.metrics.base import AbstractMetric, log_volume
from landform.metrics.tabulated import Tabulated
from landform.models.vae import VAE
from landform.stats.brownian import brownian_motion
from landform.stats.clustering.kmeans import geodesic_kmeans
from landform.stats.clustering.kmedoids import kmedoids
from landform.stats.clustering.scores import f_measure
from landform.stats.land.bandwidth import local_variance
from landform.stats.land.mixture import fit_land_mixture

Measured = tuple[dict[str, float], dict[str, Any]]


def magnification(model: Generator, settings: Settings) -> Measured:
    """√det M over the latent space, and how much larger it is around the codes than at them."""
    points, extent = plotting.grid(*plotting.bounds(model.codes), size=settings.map_size)
    values = np.asarray(log_volume(model.metric, points)) / np.log(10)
    at_codes = np.asarray(log_volume(model.metric, model.codes)) / np.log(10)
    ratio = 10 ** (np.percentile(values, 95) - np.median(at_codes))
    return {"magnification_ratio": float(ratio)}, {"values": values, "extent": extent}


def deviation(model: Generator, network: VAE) -> Measured:
    """The generator's standard deviation on rings around the data, in units of their radius."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    radii = np.linspace(0.0, 4.0, 41)
    places = model.codes.mean(axis=0) + radii[:, None, None] * model.radius * ring
    numbers: dict[str, float] = {}
    arrays: dict[str, Any] = {"radii": radii}
    three = int(np.argmin(np.abs(radii - 3.0)))
    for name, vae in (("rbf", model.vae), ("network", network)):
        on_data = float(mean_deviation(vae, model.codes).mean())
        around = mean_deviation(vae, places)
        arrays[name] = np.quantile(around, [0.1, 0.5, 0.9], axis=1)
        arrays[f"{name}_on_data"] = on_data
        numbers[f"{name}_std_on_data"] = on_data
        numbers[f"{name}_std_at_three_radii"] = float(around[three].mean())
        numbers[f"{name}_std_smallest_at_three_radii"] = float(around[three].min())
        numbers[f"{name}_std_ratio"] = float(around[three].mean()) / on_data
    return numbers, arrays


def along(metric: AbstractMetric, paths: np.ndarray, std: np.ndarray):
    """Means of σ along curves by arc length, and the curves' lengths.

    Curves ``(n, T, 2)`` and σ at their points ``(n, T)``; means and lengths have shape ``(n,)``.
    """
    segments = np.stack([paths[:, :-1], paths[:, 1:]], axis=2).reshape(-1, 2, 2)
    pieces = np.asarray(curve_length(metric, segments, order=2)).reshape(len(paths), -1)
    middle = 0.5 * (std[:, 1:] + std[:, :-1])
    lengths = pieces.sum(axis=1)
    return (pieces * middle).sum(axis=1) / np.where(lengths > 0.0, lengths, 1.0), lengths


def random_pairs(codes: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """End points drawn at random among all codes, regardless of classes."""
    rng = np.random.default_rng(seed + 1)
    rows = np.array([rng.choice(len(codes), 2, replace=False) for _ in range(count)])
    return codes[rows[:, 0]], codes[rows[:, 1]]


def interpolation(model: Generator, settings: Settings, *, progress=None) -> Measured:
    """Geodesics and straight lines between random codes: the uncertainty of what they decode to."""
    x, y = random_pairs(model.codes, settings.pairs, settings.seed)
    found = geodesic(
        model.table,
        x,
        y,
        solver=SOLVER,
        num_points=NUM_POINTS,
        accuracy=ACCURACY,
        throw=False,
        progress=progress,
    )
    curved = np.asarray(found.points)
    t = np.linspace(0.0, 1.0, curved.shape[1])[:, None]
    straight = x[:, None] + (y - x)[:, None] * t
    low, length = along(model.metric, curved, model.deviation(curved))
    high, direct = along(model.metric, straight, model.deviation(straight))
    gain = high / low
    apart = np.linalg.norm(y - x, axis=1)
    worth = np.asarray(found.converged) & (apart >= np.median(apart))
    shown = int(np.argmax(np.where(worth, gain, 0.0)))
    numbers = {
        "geodesics_with_lower_std": float(np.mean(low < high)),
        "geodesics_within_two_percent": float(np.mean(low < 1.02 * high)),
        "geodesics_converged": float(np.mean(np.asarray(found.converged))),
        "mean_std_geodesic": float(low.mean()),
        "mean_std_straight": float(high.mean()),
        "geodesics_shorter": float(np.mean(length <= direct * (1 + 1e-6))),
        "median_length_ratio": float(np.median(direct / length)),
    }
    frames = np.linspace(0, curved.shape[1] - 1, settings.frames).round().astype(int)
    arrays = {
        "curves": curved,
        "straight": straight,
        "low": low,
        "high": high,
        "shown": shown,
        "strip_curved": np.asarray(model.vae.decode(curved[shown][frames])),
        "strip_straight": np.asarray(model.vae.decode(straight[shown][frames])),
    }
    return numbers, arrays


def separation(D: np.ndarray, labels: np.ndarray) -> float:
    """The share of (same class, different classes) pairs of pairs in which the first is closer."""
    rows, columns = np.triu_indices(len(D), 1)
    same = labels[rows] == labels[columns]
    values = D[rows, columns]
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(1, len(values) + 1)
    n_same, n_other = int(same.sum()), int((~same).sum())
    above = ranks[~same].sum() - n_other * (n_other + 1) / 2
    return float(above / (n_same * n_other))


def distances(model: Generator, labels: np.ndarray, settings: Settings) -> Measured:
    """All distances between codes under both geometries, and how well they tell classes apart."""
    rows = np.arange(min(len(model.codes), settings.matrix_points))
    Z, labels = model.codes[rows], labels[rows]
    riemannian = np.asarray(pairwise_distances(model.table, Z, method="graph"))
    euclidean = np.linalg.norm(Z[:, None] - Z[None], axis=-1)
    numbers = {
        "separation_euclidean": separation(euclidean, labels),
        "separation_riemannian": separation(riemannian, labels),
    }
    return numbers, {"euclidean": euclidean, "riemannian": riemannian, "labels": labels}


def nearest_neighbor_accuracy(codes: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy of the nearest neighbor in the latent space, leave-one-out by ten folds."""
    folds = min(10, int(np.unique(labels, return_counts=True)[1].min()))
    predicted = cross_val_predict(KNeighborsClassifier(1), codes, labels, cv=folds)
    return float(np.mean(predicted == labels))


def matched(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Clusters renamed after the classes they share most points with, for equal colors.

    Points without a cluster keep their −1.
    """
    lost = labels == -1
    if lost.all():
        return labels
    kinds, found = np.unique(classes), np.unique(labels[~lost])
    shared = np.array([[np.sum((labels == f) & (classes == k)) for k in kinds] for f in found])
    rows, columns = linear_sum_assignment(-shared)
    names = int(kinds.max()) + 1 + np.arange(len(found))
    names[rows] = kinds[columns]
    return np.where(lost, -1, names[np.searchsorted(found, labels)])


def exact_kmeans(table: Tabulated, codes: np.ndarray, centers: np.ndarray, seed: int):
    """K-means of codes with exact geodesics and Fréchet means under a tabulated metric."""
    return geodesic_kmeans(
        table,
        codes,
        len(centers),
        key=jax.random.key(seed),
        init=centers,
        solver=SOLVER,
        num_points=65,
        accuracy=ACCURACY,
        tol=1e-2,
        max_iter=20,
        throw=False,
    )


def clusters(smooth: Tabulated, codes: np.ndarray, sample: Sample, settings: Settings) -> Measured:
    """K-means of the codes under both geometries, against the classes."""
    k = sample.classes
    flat = KMeans(k, n_init=10, random_state=settings.seed).fit(codes)
    graph = np.asarray(pairwise_distances(smooth, codes, method="graph"))
    start = codes[np.asarray(kmedoids(graph**2, k).medoids)]
    curved = exact_kmeans(smooth, codes, start, settings.seed)
    labels = np.asarray(curved.labels)
    classes = flat.labels_ if sample.y is None else sample.y
    arrays = {
        "euclidean": matched(flat.labels_, classes),
        "euclidean_centers": flat.cluster_centers_,
        "riemannian": matched(labels, classes),
        "riemannian_centers": np.asarray(curved.centers),
    }
    numbers = {"kmeans_failed_pairs": float(curved.n_failed)}
    if sample.y is not None:
        numbers["f_euclidean"] = f_measure(sample.y, flat.labels_)
        numbers["f_riemannian"] = f_measure(sample.y, labels)
        numbers["nearest_neighbor_accuracy"] = nearest_neighbor_accuracy(codes, sample.y)
    return numbers, arrays


def drawn_walks(
    generator: Generator,
    kinds: Mapping[str, tuple[AbstractMetric, bool]],
    *,
    walks: int,
    steps: int,
    substeps: int,
    seed: int,
) -> tuple[dict[str, np.ndarray], np.ndarray, float]:
    """Random walks from the same codes with the same noise, their steps alike at a typical code.

    The root mean square displacement of a walk under a flat metric is the codes' radius; time under
    another metric is that time by the median √det M at the codes.

    Parameters
    ----------
    kinds
        By name, the metric and whether the walk has the drift of Brownian motion.
    walks, steps, substeps
        Number of walks, of the steps that are kept, and of Euler–Maruyama steps in each of them.

    Returns
    -------
    Paths ``(walks, steps, 2)`` by name, NaN where a walk broke down; the starts ``(walks, 2)``; and
    the time under the generator's metric.
    """
    codes = generator.codes
    rng = np.random.default_rng(seed + 2)
    start = codes[rng.choice(len(codes), walks, replace=False)]
    flat_time = generator.radius**2 / codes.shape[1]
    scale = float(np.exp(np.median(np.asarray(log_volume(generator.table, codes)))))
    paths = {}
    for name, (metric, drift) in kinds.items():
        path = brownian_motion(
            metric,
            start,
            key=jax.random.key(seed + 2),
            time=flat_time * (1.0 if isinstance(metric, Euclidean) else scale),
            num_steps=steps * substeps,
            drift=drift,
            throw=False,
        )
        paths[name] = np.asarray(path)[:, substeps::substeps]
    return paths, start, flat_time * scale


def walks(model: Generator, settings: Settings) -> Measured:
    """Brownian motions under both metrics, with steps of one size at a typical code."""
    paths, _, _ = drawn_walks(
        model,
        {"riemannian": (model.table, True), "euclidean": (Euclidean(2), True)},
        walks=settings.walks,
        steps=settings.walk_steps,
        substeps=settings.walk_substeps,
        seed=settings.seed,
    )
    numbers: dict[str, float] = {"support_radius": model.support.radius}
    arrays: dict[str, Any] = {}
    shares = {}
    for name, path in paths.items():
        if not np.isfinite(path).all():
            raise ConvergenceError(f"a {name} walk left the domain of the metric")
        inside = model.support(path)
        shares[name] = inside.mean(axis=1)
        numbers[f"walk_in_support_{name}"] = float(inside.mean())
        numbers[f"walk_in_support_{name}_worst"] = float(shares[name].min())
        numbers[f"walk_mean_std_{name}"] = float(model.deviation(path).mean())
        arrays[name], arrays[f"{name}_inside"] = path, inside
    shown = int(np.argsort(shares["euclidean"])[settings.walks // 2])
    frames = np.linspace(0, settings.walk_steps - 1, settings.frames).round().astype(int)
    for name in paths:
        arrays[name] = arrays[name][shown]
        arrays[f"{name}_inside"] = arrays[f"{name}_inside"][shown]
        arrays[f"{name}_strip"] = np.asarray(model.vae.decode(arrays[name][frames]))
    return numbers, arrays


def smoothed(samples: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Log-density of many draws on a grid by narrow kernels, the same for both mixtures."""
    kernel = gaussian_kde(samples.T, bw_method=0.15)
    density = kernel(points.reshape(-1, 2).T)
    return np.log(density + 1e-300).reshape(points.shape[:2])


def mixtures(model: Generator, sample: Sample, settings: Settings) -> Measured:
    """A LAND mixture and a Gaussian mixture of the codes: held-out density and decoded samples.

    LAND has its own metric, the local variance of the codes it is fitted to.
    """
    codes, k = model.codes, sample.classes
    count = min(settings.land_points, len(codes) // 2)
    train, test = codes[:count], codes[count : 2 * count]
    metric = local_variance(train)
    land = fit_land_mixture(
        metric,
        train,
        k,
        key=jax.random.key(settings.seed),
        n_directions=64,
        rtol=1e-3,
        max_iter=20,
        throw=False,
    )
    gauss = GaussianMixture(k, random_state=settings.seed, n_init=5).fit(train)
    held_out = np.asarray(land.log_prob(test, base="lebesgue", throw=False))
    key = jax.random.key(settings.seed + 3)
    drawn = {
        "land": np.asarray(land.sample(key, settings.draws)[0]),
        "gauss": gauss.sample(settings.draws)[0],
    }
    points, extent = plotting.grid(*plotting.bounds(codes), size=settings.map_size)
    known = np.isfinite(held_out)
    numbers = {
        "log_density_land": float(held_out[known].mean()),
        "log_density_gauss": float(gauss.score(test[known])),
        "log_density_points": float(known.sum()),
    }
    for name, samples in drawn.items():
        numbers[f"samples_in_support_{name}"] = float(model.support(samples).mean())
    arrays = {
        "land": smoothed(drawn["land"], points),
        "gauss": smoothed(drawn["gauss"], points),
        "extent": extent,
        "land_strip": np.asarray(model.vae.decode(drawn["land"][: settings.frames])),
        "gauss_strip": np.asarray(model.vae.decode(drawn["gauss"][: settings.frames])),
        "land_samples": drawn["land"],
        "gauss_samples": drawn["gauss"],
        "mixture": land,
    }
    return numbers, arrays
