"""What the report shows, measured: each function turns a model into numbers and arrays.

A number is a plain float under a name that ends up in ``results.json``; an array is what the figure
of the same section draws.
"""

from typing import Any

import jax
import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.stats import gaussian_kde
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from landform import plotting
from landform.demo.model import ACCURACY, NUM_POINTS, SOLVER, Model
from landform.demo.settings import Sample, Settings
from landform.geodesics.curve import curve_length
from landform.geodesics.distances import pairwise_distances
from landform.geodesics.geodesic import geodesic
from landform.metrics.analytic import Euclidean
from landform.metrics.base import log_volume
from landform.metrics.tabulated import Tabulated
from landform.stats.brownian import brownian_motion
from landform.stats.clustering.kmeans import geodesic_kmeans
from landform.stats.clustering.kmedoids import kmedoids
from landform.stats.clustering.scores import f_measure
from landform.stats.land.bandwidth import local_variance
from landform.stats.land.mixture import fit_land_mixture

Measured = tuple[dict[str, float], dict[str, Any]]


def magnification(model: Model, settings: Settings) -> Measured:
    """√det M over the latent space, and how much larger it is around the codes than at them."""
    points, extent = plotting.grid(*plotting.bounds(model.codes), size=settings.map_size)
    values = np.asarray(log_volume(model.metric, points)) / np.log(10)
    at_codes = np.asarray(log_volume(model.metric, model.codes)) / np.log(10)
    ratio = 10 ** (np.percentile(values, 95) - np.median(at_codes))
    return {"magnification_ratio": float(ratio)}, {"values": values, "extent": extent}


def deviation(model: Model, settings: Settings) -> Measured:
    """The generator's standard deviation on rings around the data, in units of their radius."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    radii = np.linspace(0.0, 4.0, 41)
    places = model.codes.mean(axis=0) + radii[:, None, None] * model.radius * ring
    numbers: dict[str, float] = {}
    arrays: dict[str, Any] = {"radii": radii}
    three = int(np.argmin(np.abs(radii - 3.0)))
    for name, network in (("rbf", False), ("network", True)):
        on_data = float(model.deviation(model.codes, network=network).mean())
        around = model.deviation(places, network=network)
        arrays[name] = np.quantile(around, [0.1, 0.5, 0.9], axis=1)
        arrays[f"{name}_on_data"] = on_data
        numbers[f"{name}_std_on_data"] = on_data
        numbers[f"{name}_std_at_three_radii"] = float(around[three].mean())
        numbers[f"{name}_std_smallest_at_three_radii"] = float(around[three].min())
        numbers[f"{name}_std_ratio"] = float(around[three].mean()) / on_data
    return numbers, arrays


def along(model: Model, paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean standard deviation along curves ``(n, T, 2)``, by arc length, and their lengths."""
    segments = np.stack([paths[:, :-1], paths[:, 1:]], axis=2).reshape(-1, 2, 2)
    lengths = np.asarray(curve_length(model.metric, segments, order=2)).reshape(len(paths), -1)
    middle = model.deviation(0.5 * (paths[:, 1:] + paths[:, :-1]))
    total = lengths.sum(axis=1)
    return (lengths * middle).sum(axis=1) / np.where(total > 0, total, 1.0), total


def random_pairs(codes: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """End points drawn at random among all codes, without a look at their classes."""
    rng = np.random.default_rng(seed + 1)
    rows = np.array([rng.choice(len(codes), 2, replace=False) for _ in range(count)])
    return codes[rows[:, 0]], codes[rows[:, 1]]


def interpolation(model: Model, settings: Settings, *, progress=None) -> Measured:
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
    (low, length), (high, direct) = along(model, curved), along(model, straight)
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


def distances(model: Model, labels: np.ndarray, settings: Settings) -> Measured:
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
    """Clusters renamed after the classes they share most points with, for equal colours.

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


def clusters(smooth: Tabulated, codes: np.ndarray, sample: Sample, settings: Settings) -> Measured:
    """K-means of the codes under both geometries, against the classes."""
    k = sample.classes
    flat = KMeans(k, n_init=10, random_state=settings.seed).fit(codes)
    key = jax.random.key(settings.seed)
    graph = np.asarray(pairwise_distances(smooth, codes, method="graph"))
    start = codes[np.asarray(kmedoids(graph**2, k).medoids)]
    curved = geodesic_kmeans(
        smooth,
        codes,
        k,
        key=key,
        init=start,
        solver=SOLVER,
        num_points=65,
        accuracy=ACCURACY,
        tol=1e-2,
        max_iter=20,
        throw=False,
    )
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


class Support:
    """The discs around codes whose radius is twice what joins 99 in a hundred to another."""

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


def walks(model: Model, settings: Settings) -> Measured:
    """Brownian motions under both metrics, with steps of one size at a typical code."""
    codes = model.codes
    support = Support(codes)
    rng = np.random.default_rng(settings.seed + 2)
    start = codes[rng.choice(len(codes), settings.walks, replace=False)]
    flat_time = model.radius**2 / 2.0  # root mean square displacement of one data radius
    scale = float(np.exp(np.median(np.asarray(log_volume(model.table, codes)))))  # √det M, d = 2
    key = jax.random.key(settings.seed + 2)
    paths = {
        name: brownian_motion(
            metric,
            start,
            key=key,
            time=time,
            num_steps=settings.walk_steps * settings.walk_substeps,
        )
        for name, metric, time in (
            ("riemannian", model.table, flat_time * scale),
            ("euclidean", Euclidean(2), flat_time),
        )
    }
    numbers: dict[str, float] = {"support_radius": support.radius}
    arrays: dict[str, Any] = {}
    shares = {}
    for name, path in paths.items():
        path = np.asarray(path)[:, settings.walk_substeps :: settings.walk_substeps]
        inside = support(path)
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
    """Log-density of many draws on a grid, by narrow kernels: both mixtures are drawn alike."""
    kernel = gaussian_kde(samples.T, bw_method=0.15)
    density = kernel(points.reshape(-1, 2).T)
    return np.log(density + 1e-300).reshape(points.shape[:2])


def mixtures(model: Model, sample: Sample, settings: Settings) -> Measured:
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
    support = Support(codes)
    points, extent = plotting.grid(*plotting.bounds(codes), size=settings.map_size)
    known = np.isfinite(held_out)
    numbers = {
        "log_density_land": float(held_out[known].mean()),
        "log_density_gauss": float(gauss.score(test[known])),
        "log_density_points": float(known.sum()),
    }
    for name, samples in drawn.items():
        numbers[f"samples_in_support_{name}"] = float(support(samples).mean())
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
