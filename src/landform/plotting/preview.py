"""The small pictures of objects in notebooks."""

import numpy as np

from landform._core.display import Picture
from landform.plotting.canvas import bounds, figure, png_bytes
from landform.plotting.plane import curves, latent_axes, points

_POINTS, _CURVES = 1000, 100  # drawn at most, evenly chosen
_WIDTH, _DPI = 2.4, 110


def preview(picture: Picture) -> bytes | None:
    """A picture as a PNG file; None where nothing in it is finite."""
    cloud, paths, centers = _thinned(picture)
    known = np.concatenate([part.reshape(-1, 2) for part in (cloud, paths, centers)])
    known = known[np.isfinite(known).all(axis=1)]
    if not len(known):
        return None
    fig, (ax,) = figure(1, width=_WIDTH)
    points(ax, cloud, np.full(len(cloud), -1), size=14.0)
    curves(ax, paths, width=1.2, alpha=0.9 if len(paths) < 10 else 0.5, ends=picture.ends)
    points(ax, centers, size=22.0, alpha=1.0)
    low, high = bounds(known)
    latent_axes(ax, (low[0], high[0], low[1], high[1]))
    return png_bytes(fig, dpi=_DPI)


def _thinned(picture: Picture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    def few(array, shape, most):
        array = np.zeros((0, *shape)) if array is None else np.asarray(array, float)
        return array[:: -(-len(array) // most) or 1]

    paths = few(picture.curves, (1, 2), _CURVES)
    return few(picture.points, (2,), _POINTS), paths, few(picture.centers, (2,), _POINTS)
