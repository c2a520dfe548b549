"""Points, curves, densities, walks and images on an axis of the chart."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from landform._core.checks import as_numpy, check_choice
from landform.plotting.canvas import (
    DASHED,
    EUCLIDEAN,
    INK,
    PALETTE,
    RIEMANNIAN,
    one_each,
    planar,
    style,
)

_MARKERS = "osD^vPX<>h"
_LOST = ("#c4c4c4", ".")  # points without a class
_GEOMETRIES = {"riemannian": (RIEMANNIAN, "-"), "euclidean": (EUCLIDEAN, DASHED)}


def latent_axes(ax: Axes, extent=None, *, title: str = "") -> Axes:
    """Dress an axis as a chart: equal units, few ticks."""
    ax.set_aspect("equal")
    if extent is not None:
        ax.set_xlim(extent[0], extent[1])
        ax.set_ylim(extent[2], extent[3])
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    with style():
        ax.set_xlabel("$z_1$")
        ax.set_ylabel("$z_2$")
        if title:
            ax.set_title(title)
    return ax


def points(
    ax: Axes,
    Z,
    labels=None,
    *,
    names=None,
    size: float = 9.0,
    alpha: float = 0.85,
    legend: bool = False,
) -> list:
    """Points of the plane, classes told apart by colour and by marker.

    Parameters
    ----------
    ax
        The axis.
    Z
        Shape ``(n, 2)``.
    labels
        Classes, shape ``(n,)``; one class when None. An integer has the same colour in every
        figure, its place in the palette, and −1, no class at all, is grey; other labels, and
        integers that would share a colour, such as 0 and 10, take the colours in sorted order. NaN
        is no class either.
    names
        Names of the sorted classes for the legend; the labels themselves when None.
    size, alpha
        Area of a marker in square points, and its opacity.
    legend
        Whether to draw a legend below the axis.

    Returns
    -------
    One collection for each class.

    Raises
    ------
    ValueError
        If the points are not of the plane, or there are too few or too many labels or names.
    """
    Z = planar("Z", Z, {2: "(n, 2)"})
    labels = np.zeros(len(Z), int) if labels is None else as_numpy(labels)
    one_each("labels", labels, len(Z), "points")
    kinds = np.unique(labels)
    if names is not None:
        one_each("names", list(names), len(kinds), "classes")
    text = ["_points"] if len(kinds) < 2 else list(kinds if names is None else names)
    drawn = []
    with style():
        for i, (kind, (colour, marker)) in enumerate(zip(kinds, _looks(kinds), strict=True)):
            here = Z[(labels == kind) if kind == kind else (labels != labels)]
            drawn.append(
                ax.scatter(
                    here[:, 0],
                    here[:, 1],
                    s=size,
                    c=colour,
                    alpha=alpha,
                    marker=marker,
                    linewidths=0.25,
                    edgecolors="white",
                    label=str(text[i]),
                    zorder=2,
                )
            )
        if legend and len(kinds) > 1:
            below_legend(ax)
    return drawn


def _looks(kinds: np.ndarray) -> list[tuple[str, str]]:
    """Colour and marker of each class."""
    count, whole = len(PALETTE), kinds.dtype.kind in "iub"
    lost = (kinds == -1) if whole else (kinds != kinds)
    places = np.arange(len(kinds)) - np.cumsum(lost)
    own = kinds[~lost]
    if whole and own.min(initial=0) >= 0 and len(np.unique(own % count)) == min(len(own), count):
        places = kinds
    looks = [(PALETTE[i % count], _MARKERS[i % count]) for i in map(int, places)]
    return [_LOST if gone else look for gone, look in zip(lost, looks, strict=True)]


def below_legend(ax: Axes) -> None:
    """The legend in one row under the axis."""
    with style():
        ax.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
            ncols=6,
            handletextpad=0.2,
            columnspacing=1.2,
            markerscale=1.6,
            borderaxespad=0.0,
        )


def curves(
    ax: Axes,
    paths,
    *,
    kind: str = "riemannian",
    width: float = 1.6,
    alpha: float = 1.0,
    label: str | None = None,
    ends: bool = True,
) -> None:
    """Curves of the plane: ``"riemannian"`` orange and solid, ``"euclidean"`` blue and dashed.

    Parameters
    ----------
    ax
        The axis.
    paths
        Shape ``(T, 2)`` or ``(n, T, 2)``.
    kind
        Which geometry the curves belong to.
    width, alpha, label
        Of the lines.
    ends
        Whether to mark the end points.

    Raises
    ------
    ValueError
        For any other `kind`, or if the curves are not of the plane.
    """
    paths = planar("paths", paths, {2: "(T, 2)", 3: "(n, T, 2)"})
    paths = paths[None] if paths.ndim == 2 else paths
    check_choice("kind", kind, _GEOMETRIES)
    colour, line = _GEOMETRIES[kind]
    with style():
        for i, path in enumerate(paths):
            ax.plot(
                path[:, 0],
                path[:, 1],
                color=colour,
                linestyle=line,
                linewidth=width,
                alpha=alpha,
                label=label if i == 0 else None,
                zorder=4,
                solid_capstyle="round",
            )
        if ends:
            marks = paths[:, [0, -1]].reshape(-1, 2)
            ax.scatter(
                marks[:, 0], marks[:, 1], s=22, c="white", edgecolors=INK, linewidths=1.0, zorder=5
            )


def strip(ax: Axes, images, *, label: str = "", limits=None, gap: int = 1) -> Any:
    """Images side by side, the frames of an interpolation.

    Parameters
    ----------
    ax
        The axis.
    images
        Shape ``(n, height, width)``, or ``(n, height, width, 1)``, or with 3 colours, floats in
        [0, 1] or integers to 255.
    label
        Text at the left.
    limits
        Values of white and of black, of images without colours; by default 0 and 1, or 255 of
        integers above 1.
    gap
        White pixels between two images.

    Returns
    -------
    The image.
    """
    images = as_numpy(images)
    images = images[..., 0] if images.ndim == 4 and images.shape[-1] == 1 else images
    deep = images.dtype.kind in "iu" and images.max(initial=0) > 1
    low, high = ((0, 255) if deep else (0.0, 1.0)) if limits is None else limits
    pad = [(0, 0), (0, 0), (0, gap)] + [(0, 0)] * (images.ndim - 3)
    white = low if images.ndim == 3 else (255 if images.dtype.kind in "iu" else 1.0)
    row = np.concatenate(list(np.pad(images, pad, constant_values=white)), axis=1)
    with style():
        image = ax.imshow(row[:, :-gap] if gap else row, cmap="gray_r", vmin=low, vmax=high)
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set_visible(False)
        ax.set_ylabel(label, rotation=0, ha="right", va="center", labelpad=6)
    return image


def walk(ax: Axes, path, *, kind: str = "riemannian", inside=None) -> None:
    """The steps of a random walk, with its start; steps outside the support are drawn hollow.

    Parameters
    ----------
    ax
        The axis.
    path
        Shape ``(T, 2)``.
    kind
        ``"riemannian"`` or ``"euclidean"``, which gives the colour.
    inside
        Which steps are in the support, booleans ``(T,)``.

    Raises
    ------
    ValueError
        For any other `kind`, if `path` is not one walk of the plane, or `inside` not of its length.
    """
    path = planar("path", path, {2: "(T, 2)"})
    inside = np.ones(len(path), bool) if inside is None else as_numpy(inside).astype(bool)
    one_each("inside", inside, len(path), "steps")
    check_choice("kind", kind, _GEOMETRIES)
    colour, _ = _GEOMETRIES[kind]
    with style():
        ax.plot(path[:, 0], path[:, 1], color=colour, linewidth=0.3, alpha=0.5, zorder=3)
        ax.scatter(*path[inside].T, s=3.5, c=colour, linewidths=0, alpha=0.7, zorder=4)
        ax.scatter(
            *path[~inside].T, s=6.0, facecolors="none", edgecolors=INK, linewidths=0.5, zorder=4
        )
        ax.scatter(*path[:1].T, s=46, marker="*", c="white", edgecolors=INK, zorder=6)
