"""Detect and escape critical points of the variance that are not minima."""

import numpy as np

from landform.geodesics._logarithms import connect, weighted_variance
from landform.metrics.base import metric_tensor

_MAX_PROBES = 3  # directions along which the curvature is measured
_PROBE_LENGTH = 0.01  # in root mean square distances, as the next one
_ESCAPE_LENGTH = 0.2
_MAX_SADDLE_CURVATURE = -0.01  # below it a critical point is a saddle; flat space has 1


def escape_saddle(metric, data, weights, center, logs, options):
    """A point with less variance near a critical one that is no minimum, with its curves, or None.

    Symmetric problems begin or end there: between two points on the two sides of a hill the best
    place on the line through them is its top. The second derivative is found on a Krylov space of
    a few directions, all of them in as many dimensions, by differences of the gradient.
    """
    size = np.sqrt(weighted_variance(weights, logs) / weights[logs.ok].sum())
    matrix = tensor_at(metric, center)
    if matrix is None or not size > 0.0:
        return None
    frame = np.linalg.inv(np.linalg.cholesky(matrix)).T  # orthonormal columns

    def moved(step):
        """The logs from a point nearby, in units of the frame and the root mean square."""
        point = center + size * frame @ step
        matrix = tensor_at(metric, point)
        if matrix is None:
            return None
        near = connect(metric, point, data, options, logs)
        return point, matrix, near, logs.ok & near.ok

    def slope(matrix, found, ok):
        """The derivative of ½ Σ w d² in the frame's directions."""
        return -frame.T @ matrix @ (weights[ok] @ found.velocity[ok])

    rng = np.random.default_rng(0)
    basis, images = np.zeros((0, center.size)), np.zeros((0, center.size))
    following = rng.normal(size=center.size)
    for _ in range(min(center.size, _MAX_PROBES)):
        following = following - basis.T @ (basis @ following)
        if np.linalg.norm(following) < 1e-3:  # the space is invariant: any other direction
            following = rng.normal(size=center.size)
            following = following - basis.T @ (basis @ following)
        direction = following / np.linalg.norm(following)
        found = moved(_PROBE_LENGTH * direction)
        if found is None:
            return None
        _, there, near, ok = found
        change = slope(there, near, ok) - slope(matrix, logs, ok)
        following = change / (_PROBE_LENGTH * size * weights[ok].sum())
        basis, images = np.vstack([basis, direction]), np.vstack([images, following])
    bend = basis @ images.T
    values, vectors = np.linalg.eigh(0.5 * (bend + bend.T))
    if values[0] > _MAX_SADDLE_CURVATURE:
        return None
    noise = 4.0 * options["accuracy"]
    for sign in (1.0, -1.0):
        for length in (_ESCAPE_LENGTH, 0.1 * _ESCAPE_LENGTH):
            found = moved(sign * length * (vectors[:, 0] @ basis))
            if found is None:
                continue
            point, _, near, ok = found
            if weighted_variance(weights, near, ok) < (1.0 - noise) * weighted_variance(
                weights, logs, ok
            ):
                return point, near
    return None


def tensor_at(metric, point) -> np.ndarray | None:
    """M at one point, or None where it is not finite and positive definite."""
    if not np.isfinite(point).all():
        return None
    matrix = np.asarray(metric_tensor(metric, point))
    if not np.isfinite(matrix).all() or np.linalg.eigvalsh(matrix)[0] <= 0.0:
        return None
    return matrix
