"""What figures are drawn on: their look, colours, sizes, files, and grids of the plane."""

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from landform._core.checks import numpy_floats
from landform._core.files import replaced

RIEMANNIAN = "#d55e00"
EUCLIDEAN = "#0072b2"
DASHED = (0, (4, 2))  # Euclidean lines
INK = "#2b2b2b"
PALETTE = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#7a5195",
    "#8c8c00",
    "#5b4a3f",
    "#9e9e9e",
)
FIELD = LinearSegmentedColormap.from_list(
    "landform", ["#ffffff", "#e4e9ee", "#b9c6d3", "#8298ae", "#4f6b87", "#26405c", "#0e2138"]
)
"""White to dark blue: lightness rises in equal steps."""

_STYLE: Any = {
    "font.size": 9.0,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "axes.titlesize": 10.0,
    "axes.titleweight": "normal",
    "axes.titlelocation": "left",
    "axes.titlepad": 6.0,
    "axes.edgecolor": "#8a8a8a",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": "#5a5a5a",
    "ytick.color": "#5a5a5a",
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "image.interpolation": "nearest",
    "savefig.dpi": 160,
    "figure.facecolor": "white",
}


def style():
    """The look of the figures, a context manager of Matplotlib's settings."""
    return mpl.rc_context(_STYLE)


def figure(
    ncols: int = 1, nrows: int = 1, *, width: float = 7.2, height: float | None = None, **options
) -> tuple[Figure, list[Axes]]:
    """A figure with its axes in reading order.

    Parameters
    ----------
    ncols, nrows
        Number of axes.
    width, height
        Size in inches; the default height makes square axes.
    **options
        Those of `matplotlib.figure.Figure.subplots`, such as ``gridspec_kw``.

    Returns
    -------
    The figure, with an Agg canvas, and the list of axes.
    """
    with style():
        size = (width, width * nrows / ncols if height is None else height)
        fig = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(fig)
        axes = fig.subplots(nrows, ncols, squeeze=False, **options)
    return fig, list(axes.ravel())


def mosaic(layout, *, width: float = 7.2, height: float, **options) -> tuple[Figure, dict]:
    """A figure with named axes, as `matplotlib.figure.Figure.subplot_mosaic` lays them out."""
    with style():
        fig = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(fig)
        axes = fig.subplot_mosaic(layout, **options)
    return fig, axes


def save_figure(fig: Figure, path, *, dpi: int = 160) -> None:
    """Write a figure, whole or not at all; its name ends in the format (.png, .svg, .pdf)."""
    path = Path(path)
    with style(), replaced(path) as file:
        fig.savefig(file, dpi=dpi, format=path.suffix.lower().lstrip(".") or None)


def png_bytes(fig: Figure, *, dpi: int = 160) -> bytes:
    """A figure as the content of a PNG file."""
    buffer = io.BytesIO()
    with style():
        fig.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def grid(low, high, size: int = 120) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Points of a regular grid over a rectangle of the plane, and its extent.

    Parameters
    ----------
    low, high
        Corners, shape ``(2,)``.
    size
        Number of points on a side.

    Returns
    -------
    Points ``(size, size, 2)``, rows from the bottom to the top, and ``(left, right, bottom, top)``.
    """
    (x0, y0), (x1, y1) = numpy_floats("low", low), numpy_floats("high", high)
    x, y = np.linspace(x0, x1, size), np.linspace(y0, y1, size)
    return np.stack(np.meshgrid(x, y), axis=-1), (x0, x1, y0, y1)


def finite(name: str, values: np.ndarray) -> np.ndarray:
    """The finite entries of an array, of which there must be one."""
    known = values[np.isfinite(values)]
    if not known.size:
        raise ValueError(f"{name} must have a finite entry, got none among {values.size}")
    return known


def planar(name: str, value, shapes: dict[int, str]) -> np.ndarray:
    """Points of the plane as an array, whose numbers of axes allowed are the keys of `shapes`."""
    array = numpy_floats(name, value)
    if array.ndim not in shapes or array.shape[-1] != 2:
        raise ValueError(
            f"{name} must have shape {' or '.join(shapes.values())}, got {array.shape}"
        )
    return array


def one_each(name: str, values, count: int, what: str, *, ndim: int = 1) -> None:
    """Raise `ValueError` unless there is an entry for each of so many things."""
    shape = np.shape(values)
    if len(shape) != ndim or shape[0] != count:
        raise ValueError(
            f"{name} must have one entry for each of the {count} {what}, got shape {shape}"
        )


def bounds(Z, margin: float = 0.12) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a square around points of the plane, with a margin relative to its side."""
    Z = numpy_floats("Z", Z)
    center, half = (Z.max(0) + Z.min(0)) / 2, 0.5 * np.ptp(Z, axis=0).max()
    half = (half if half > 0 else 1.0) * (1 + 2 * margin)
    return center - half, center + half


def draw_field(ax: Axes, extent, values, label: str, bar: bool, **options: Any) -> tuple[Any, Any]:
    """An image of values on a grid of the plane, and its colour bar or None."""
    with style():
        image = ax.imshow(values, origin="lower", extent=extent, aspect="equal", **options)
        if not bar:
            return image, None
        colours: Any = ax.figure.colorbar(image, ax=ax, shrink=0.75, pad=0.02, aspect=25)
        colours.outline.set_visible(False)
        colours.set_label(label)
        colours.ax.tick_params(length=2)
    return image, colours
