"""What is drawn of a LAND in the plane: where its density has fallen by known factors."""

import numpy as np

from landform._core import display
from landform.geodesics.exponential import exp
from landform.metrics.base import metric_tensor

_RADII = (1.0, 2.0)  # standard deviations
_DIRECTIONS = 128


def picture(*lands) -> display.Picture | None:
    """Means, landmarks and contours of one LAND or of several on a metric; None off the plane."""
    if any(land.mean.shape != (2,) for land in lands):
        return None
    return display.Picture(
        points=lands[0].metric.landmarks(),
        curves=np.concatenate([contours(land) for land in lands]),
        centers=np.stack([land.mean for land in lands]),
        ends=False,
    )


def contours(land) -> np.ndarray:
    """Images under Exp of circles of one and of two standard deviations, ``(2, T, 2)``.

    Up to the cut locus these are level sets of the density with respect to dM. NaN where a geodesic
    could not be followed.
    """
    angles = np.linspace(0.0, 2.0 * np.pi, _DIRECTIONS + 1)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    vectors = circle @ np.linalg.cholesky(np.asarray(land.covariance)).T
    vectors = np.concatenate([radius * vectors for radius in _RADII])
    if land.normalizer == "paper":  # whose logarithms are as long in the chart as on the manifold
        gram = np.asarray(metric_tensor(land.metric, land.mean))
        length = np.sqrt(np.einsum("ni,ij,nj->n", vectors, gram, vectors))
        vectors = vectors * (np.linalg.norm(vectors, axis=1) / length)[:, None]
    points = np.asarray(exp(land.metric, land.mean, vectors, throw=False))
    return points.reshape(len(_RADII), len(angles), 2)
