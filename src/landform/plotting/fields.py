"""Maps of the plane: fields, densities, and a metric's volume and its curvature."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, SymLogNorm

from landform._core.checks import numpy_floats
from landform.metrics.base import AbstractMetric, log_volume
from landform.metrics.curvature import gaussian_curvature
from landform.plotting.canvas import EUCLIDEAN, FIELD, RIEMANNIAN, draw_field, finite, grid, style

SIGNED = LinearSegmentedColormap.from_list(
    "landform-signed", [EUCLIDEAN, "#9cc4df", "#ffffff", "#edb58a", RIEMANNIAN]
)
"""Blue for negative, white for zero, orange for positive."""


def field(
    ax: Axes, extent, values, *, label: str = "", limits=None, cmap=FIELD, bar: bool = True
) -> Any:
    """A scalar field of the plane as an image with a colour bar, such as log √det M.

    Parameters
    ----------
    ax
        The axis.
    extent
        ``(left, right, bottom, top)`` as returned by `grid`.
    values
        Shape ``(size, size)``, rows from the bottom to the top.
    label
        What the colours mean.
    limits
        Smallest and largest colour value; by default the 1st and 99th percentile of those that are
        finite.
    cmap
        A Matplotlib colour map.
    bar
        Whether to draw the colour bar.

    Returns
    -------
    The image; white where a value is not finite.

    Raises
    ------
    ValueError
        If no value is finite and no limits are given.
    """
    values = numpy_floats("values", values)
    low, high = np.percentile(finite("values", values), [1, 99]) if limits is None else limits
    return draw_field(
        ax, extent, values, label, bar, cmap=cmap, vmin=low, vmax=high, interpolation="bilinear"
    )[0]


def density(
    ax: Axes,
    extent,
    log_density,
    *,
    shares: Sequence[float] = (0.95, 0.8, 0.5, 0.2),
    colour: str = RIEMANNIAN,
    cell: float | None = None,
) -> np.ndarray:
    """A density of the plane as nested regions that hold given shares of the mass.

    Parameters
    ----------
    ax
        The axis.
    extent
        ``(left, right, bottom, top)``.
    log_density
        Values with respect to Lebesgue measure on the grid, shape ``(size, size)``.
    shares
        Shares of the mass inside each region, between 0 and 1, in any order.
    colour
        Of the regions; opacity grows inwards.
    cell
        Area of a grid cell; its absolute value does not matter.

    Returns
    -------
    The density levels of the regions, rising.

    Raises
    ------
    ValueError
        If no value is finite, one is +∞, or a share is no share.
    """
    shares = sorted(shares, reverse=True)
    if not all(0 < share <= 1 for share in shares):
        raise ValueError(f"shares must lie between 0 and 1, got {shares}")
    log_density = numpy_floats("log_density", log_density)
    finite("log_density", log_density)
    if np.isposinf(log_density).any():
        raise ValueError("log_density must be less than infinity: such a peak holds all the mass")
    p = np.exp(np.nan_to_num(log_density - np.nanmax(log_density), nan=-np.inf))
    ranked = np.sort(p.ravel())[::-1]
    mass = np.cumsum(ranked) / ranked.sum()
    levels = np.array([ranked[min(np.searchsorted(mass, s), mass.size - 1)] for s in shares])
    levels = np.maximum.accumulate(levels * (1 + 1e-9 * np.arange(len(shares))))
    x = np.linspace(extent[0], extent[1], p.shape[1])
    y = np.linspace(extent[2], extent[3], p.shape[0])
    with style():
        for level in levels:
            ax.contourf(x, y, p, levels=[level, np.inf], colors=[colour], alpha=0.2, zorder=0)
        ax.contour(x, y, p, levels=np.unique(levels), colors=[colour], linewidths=0.6, zorder=1)
    return levels


def magnification_map(
    ax: Axes, metric: AbstractMetric, low, high, *, size: int = 120, bar: bool = True
) -> np.ndarray:
    """The magnification factor of a metric of the plane, ``log₁₀ √det M``, as an image.

    Volumes of learned metrics span decades, so that only their logarithm shows both the data and
    what lies between them.

    Parameters
    ----------
    ax
        The axis.
    metric
        A metric of two dimensions.
    low, high
        Corners of the rectangle, as `bounds` gives them.
    size
        Points on a side; ``size²`` evaluations of the metric.
    bar
        Whether to draw the colour bar.

    Returns
    -------
    The values, ``(size, size)``, rows from the bottom to the top; NaN, and white, where M is not
    positive definite.
    """
    places, extent = grid(low, high, size)
    values = np.asarray(log_volume(metric, places.reshape(-1, 2))) / np.log(10.0)
    values = values.reshape(size, size)
    limits = None if np.isfinite(values).any() else (0.0, 1.0)
    field(ax, extent, values, label=r"$\log_{10}\sqrt{\det M}$", limits=limits, bar=bar)
    return values


def curvature_map(
    ax: Axes,
    metric: AbstractMetric,
    low,
    high,
    *,
    size: int = 60,
    threshold: float | None = None,
    bar: bool = True,
) -> np.ndarray:
    """The Gaussian curvature of a metric of the plane as an image, on a signed logarithmic scale.

    Blue where geodesics part (negative), orange where they meet (positive). Curvatures of learned
    metrics span decades of both signs; below `threshold` the scale is linear.

    Parameters
    ----------
    ax
        The axis.
    metric
        A metric of two dimensions, three times differentiable.
    low, high
        Corners of the rectangle.
    size
        Points on a side; ``size²`` evaluations of the curvature, which needs second derivatives of
        the metric.
    threshold
        Curvature up to which the scale is linear; None for the median of the absolute values.
    bar
        Whether to draw the colour bar.

    Returns
    -------
    The curvatures, ``(size, size)``, rows from the bottom to the top.
    """
    places, extent = grid(low, high, size)
    values = np.asarray(gaussian_curvature(metric, places.reshape(-1, 2))).reshape(size, size)
    known = np.abs(values[np.isfinite(values)])
    top = float(np.percentile(known, 99)) if known.size and known.max() > 0.0 else 1.0
    middle = float(np.median(known)) if known.size else 0.0
    linear = (middle or top) if threshold is None else float(threshold)
    if not linear > 0.0:
        raise ValueError(f"threshold must be positive, got {threshold}")
    top = max(top, linear)
    norm = SymLogNorm(linear, vmin=-top, vmax=top, base=10)
    _, colours = draw_field(ax, extent, values, "Gaussian curvature", bar, cmap=SIGNED, norm=norm)
    if colours is not None:
        decades = 10.0 ** np.arange(np.ceil(np.log10(2.0 * linear)), np.log10(top) + 1e-9)
        colours.set_ticks([*-decades[::-1], 0.0, *decades])
        colours.minorticks_off()
    return values
