"""The small pictures of objects in notebooks."""

import numpy as np

from landform._core.display import Picture
from landform.plotting.canvas import bounds, figure, png_bytes
from landform.plotting.plane import curves, latent_axes, points

_POINTS, _CURVES = 1000, 100  # drawn at most, evenly chosen
_WIDTH, _DPI = 2.4, 110


def preview(picture: Picture) -> bytes | None:
    """A picture as a PNG file; None where nothing in it is finite."""
    cloud, centers = (_few(part, (2,), _POINTS) for part in (picture.points, picture.centers))
    paths, failed = (_few(part, (1, 2), _CURVES) for part in (picture.curves, picture.failed))
    known = np.concatenate([part.reshape(-1, 2) for part in (cloud, paths, failed, centers)])
    known = known[np.isfinite(known).all(axis=1)]
    if not len(known):
        return None
    fig, (ax,) = figure(1, width=_WIDTH)
    points(ax, cloud, np.full(len(cloud), -1), size=20.0)
    curves(ax, failed, width=1.0, alpha=0.3, ends=picture.ends)
    curves(ax, paths, width=1.2, alpha=0.9 if len(paths) < 10 else 0.5, ends=picture.ends)
    points(ax, centers, size=22.0, alpha=1.0)
    low, high = bounds(known)
    latent_axes(ax, (low[0], high[0], low[1], high[1]))
    return png_bytes(fig, dpi=_DPI)


def _few(array, shape: tuple[int, ...], most: int) -> np.ndarray:
    """At most so many entries of an array, evenly chosen; none of this shape for None."""
    array = np.zeros((0, *shape)) if array is None else np.asarray(array, float)
    return array[:: max(1, -(-len(array) // most))]
