"""Clusters of codes under the metric of their generator and under the Euclidean one."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.metrics import silhouette_score

import landform as lf
from landform.demo.measure import exact_kmeans
from landform.demo.model import tabulated

_NEIGHBOR = 10  # the neighbor whose distance is the width of a spectral affinity


class Space(NamedTuple):
    """The codes of all images, the tabulated metric, and the distances along a graph."""

    codes: np.ndarray  # (n, 2)
    table: lf.Tabulated
    distances: np.ndarray  # (n, n)


def space_of(vae: lf.VAE, X: np.ndarray, size: int) -> Space:
    """The latent space of a generator at some images."""
    codes = np.asarray(vae.encode(X))
    table = tabulated(vae, codes, size)
    return Space(codes, table, np.asarray(lf.pairwise_distances(table, codes, method="graph")))


def silhouette(space: Space, rows: np.ndarray, count: int) -> float:
    """How much nearer the codes are to their own clusters than to the next ones.

    Rousseeuw's silhouette, in [−1, 1], of k-medoids under the metric; no labels enter.
    """
    D, labels = space.distances[np.ix_(rows, rows)], riemannian(space, rows, count)[0]
    return float(silhouette_score(D, labels, metric="precomputed"))


def euclidean(space: Space, rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Labels of k-means of the codes."""
    return KMeans(count, n_init=10, random_state=seed).fit(space.codes[rows]).labels_


def riemannian(space: Space, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of k-means under the metric with its centers among the codes; and the centers.

    The sum of squared distances to the nearest of `count` codes is minimised by exchanges, with
    distances along a graph over all codes. In two dimensions among a thousand codes one is never
    far from the mean of a cluster.
    """
    found = lf.kmedoids(space.distances[np.ix_(rows, rows)] ** 2, count)
    return np.asarray(found.labels), rows[np.asarray(found.medoids)]


def exact(space: Space, rows: np.ndarray, centers: np.ndarray, seed: int) -> dict[str, Any]:
    """Labels of k-means with exact geodesics and Fréchet means, from the centers of `riemannian`.

    A point whose geodesics to all centers failed has the label −1.
    """
    found = exact_kmeans(space.table, space.codes[rows], space.codes[centers], seed)
    labels = np.asarray(found.labels)
    return {"labels": labels, "converged": bool(found.converged), "lost": int(np.sum(labels < 0))}


def spectral(D: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Labels of spectral clustering, each point's affinity as wide as its neighborhood."""
    width = np.partition(D, _NEIGHBOR, axis=1)[:, _NEIGHBOR]
    affinity = np.exp(-(D**2) / (width[:, None] * width[None]))
    model = SpectralClustering(count, affinity="precomputed", random_state=seed)
    return model.fit(affinity).labels_


def other_methods(space: Space, rows: np.ndarray, y: np.ndarray, seed: int) -> dict[str, float]:
    """F-measures of other clusterings of the same codes, by name."""
    count = len(np.unique(y))
    D = space.distances[np.ix_(rows, rows)]
    codes = space.codes[rows]
    flat = np.linalg.norm(codes[:, None] - codes[None], axis=-1)
    labels = {
        "Riemannian k-medoids": np.asarray(lf.kmedoids(D, count).labels),
        "Riemannian spectral": spectral(D, count, seed),
        "Euclidean k-medoids": np.asarray(lf.kmedoids(flat, count).labels),
        "Euclidean spectral": spectral(flat, count, seed),
    }
    return {name: lf.f_measure(y, found) for name, found in labels.items()}
