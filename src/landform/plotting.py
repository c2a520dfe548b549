"""Figures of a chart: fields, points, curves, densities, walks, and strips of decoded images.

Every function draws arrays on an axis that it is given, so that figures can be composed at will;
`figure` and `save_figure` make and write figures without pyplot, a display or global state. Colours
are distinguishable without colour vision: points by the palette of Okabe and Ito, fields by
lightness, and the two geometries by `RIEMANNIAN` (orange, solid) and `EUCLIDEAN` (blue, dashed).

Examples
--------
>>> import numpy as np
>>> from landform import plotting
>>> fig, (ax,) = plotting.figure(1)
>>> _ = plotting.points(ax, np.zeros((3, 2)), [0, 0, 1])
>>> len(ax.collections)
2
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from landform._canvas import (
    EUCLIDEAN as EUCLIDEAN,
    FIELD as FIELD,
    INK as INK,
    PALETTE as PALETTE,
    RIEMANNIAN as RIEMANNIAN,
    bounds as bounds,
    draw_field,
    figure as figure,
    grid as grid,
    mosaic as mosaic,
    png_bytes as png_bytes,
    save_figure as save_figure,
    style as style,
)
from landform._maps import (
    SIGNED as SIGNED,
    curvature_map as curvature_map,
    magnification_map as magnification_map,
)

_MARKERS = "osD^vPX<>h"


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
        Smallest and largest colour value; by default the 1st and 99th percentile.
    cmap
        A Matplotlib colour map.
    bar
        Whether to draw the colour bar.

    Returns
    -------
    The image.
    """
    values = np.asarray(values)
    low, high = np.nanpercentile(values, [1, 99]) if limits is None else limits
    return draw_field(
        ax, extent, values, label, bar, cmap=cmap, vmin=low, vmax=high, interpolation="bilinear"
    )[0]


def points(
    ax: Axes, Z, labels=None, *, names=None, size: float = 9.0, alpha: float = 0.85,
    legend: bool = False,
) -> list:  # fmt: skip
    """Points of the plane, classes told apart by colour and by marker.

    Parameters
    ----------
    ax
        The axis.
    Z
        Shape ``(n, 2)``.
    labels
        Classes, shape ``(n,)``; one class when None.
    names
        Names of the sorted classes for the legend; the labels themselves when None.
    size, alpha
        Area of a marker in square points, and its opacity.
    legend
        Whether to draw a legend below the axis.

    Returns
    -------
    One collection for each class.
    """
    Z = np.asarray(Z)
    labels = np.zeros(len(Z), int) if labels is None else np.asarray(labels)
    kinds = np.unique(labels)
    text = ["_points"] if len(kinds) < 2 else list(kinds if names is None else names)
    drawn = []
    with style():
        for i, kind in enumerate(kinds):
            here = Z[labels == kind]
            drawn.append(
                ax.scatter(
                    here[:, 0], here[:, 1], s=size, c=PALETTE[i % len(PALETTE)], alpha=alpha,
                    marker=_MARKERS[i % len(_MARKERS)], linewidths=0.25, edgecolors="white",
                    label=str(text[i]), zorder=2,
                )
            )  # fmt: skip
        if legend and len(kinds) > 1:
            below_legend(ax)
    return drawn


def below_legend(ax: Axes) -> None:
    """The legend in one row under the axis."""
    with style():
        ax.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=6, handletextpad=0.2,
            columnspacing=1.2, markerscale=1.6, borderaxespad=0.0,
        )  # fmt: skip


def curves(
    ax: Axes, paths, *, kind: str = "riemannian", width: float = 1.6, alpha: float = 1.0,
    label: str | None = None, ends: bool = True,
) -> None:  # fmt: skip
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
    """
    paths = np.asarray(paths)
    paths = paths[None] if paths.ndim == 2 else paths
    colour, line = (RIEMANNIAN, "-") if kind == "riemannian" else (EUCLIDEAN, (0, (4, 2)))
    with style():
        for i, path in enumerate(paths):
            ax.plot(
                path[:, 0], path[:, 1], color=colour, linestyle=line, linewidth=width, alpha=alpha,
                label=label if i == 0 else None, zorder=4, solid_capstyle="round",
            )  # fmt: skip
        if ends:
            marks = paths[:, [0, -1]].reshape(-1, 2)
            ax.scatter(
                marks[:, 0], marks[:, 1], s=22, c="white", edgecolors=INK, linewidths=1.0, zorder=5
            )


def strip(ax: Axes, images, *, label: str = "", limits=(0.0, 1.0), gap: int = 1) -> Any:
    """Images side by side, the frames of an interpolation.

    Parameters
    ----------
    ax
        The axis.
    images
        Shape ``(n, height, width)``, or ``(n, height, width, 1)``, or with 3 colours.
    label
        Text at the left.
    limits
        Values of white and of black.
    gap
        White pixels between two images.

    Returns
    -------
    The image.
    """
    images = np.asarray(images)
    images = images[..., 0] if images.ndim == 4 and images.shape[-1] == 1 else images
    low, high = limits
    pad = [(0, 0), (0, 0), (0, gap)] + [(0, 0)] * (images.ndim - 3)
    row = np.concatenate(list(np.pad(images, pad, constant_values=low)), axis=1)
    with style():
        image = ax.imshow(row[:, :-gap] if gap else row, cmap="gray_r", vmin=low, vmax=high)
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set_visible(False)
        ax.set_ylabel(label, rotation=0, ha="right", va="center", labelpad=6)
    return image


def distance_matrix(
    ax: Axes, D, labels=None, *, title: str = "", names=None, limits=None
) -> np.ndarray:
    """A matrix of distances with its rows sorted by class, and lines between the classes.

    Parameters
    ----------
    ax
        The axis.
    D
        Shape ``(n, n)``.
    labels
        Classes, shape ``(n,)``; rows keep their order when None.
    title, names
        Title, and names of the sorted classes.
    limits
        Values of white and of the darkest colour; 0 and the 99th percentile by default.

    Returns
    -------
    The order of the rows.
    """
    D = np.asarray(D)
    labels = np.zeros(len(D), int) if labels is None else np.asarray(labels)
    order = np.argsort(labels, kind="stable")
    kinds, counts = np.unique(labels, return_counts=True)
    edges = np.concatenate([[0], np.cumsum(counts)])
    low, high = (0.0, np.nanpercentile(D, 99)) if limits is None else limits
    with style():
        image = ax.imshow(D[np.ix_(order, order)], cmap=FIELD, vmin=low, vmax=high)
        for edge in edges[1:-1]:
            ax.axhline(edge - 0.5, color="white", linewidth=0.8)
            ax.axvline(edge - 0.5, color="white", linewidth=0.8)
        middles = (edges[1:] + edges[:-1] - 1) / 2
        text = [str(k) for k in kinds] if names is None else list(names)
        ax.set_xticks(middles, text if len(kinds) > 1 else [])
        ax.set_yticks(middles, text if len(kinds) > 1 else [])
        ax.tick_params(length=0)
        ax.set_title(title)
        bar = ax.figure.colorbar(image, ax=ax, shrink=0.75, pad=0.02, aspect=25)
        bar.outline.set_visible(False)  # type: ignore[operator]
    return order


def density(
    ax: Axes, extent, log_density, *, shares: Sequence[float] = (0.95, 0.8, 0.5, 0.2),
    colour: str = RIEMANNIAN, cell: float | None = None,
) -> np.ndarray:  # fmt: skip
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
        Shares of the mass inside each region, largest first.
    colour
        Of the regions; opacity grows inwards.
    cell
        Area of a grid cell; its absolute value does not matter.

    Returns
    -------
    The density levels of the regions, rising.
    """
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
    """
    path = np.asarray(path)
    inside = np.ones(len(path), bool) if inside is None else np.asarray(inside)
    colour = RIEMANNIAN if kind == "riemannian" else EUCLIDEAN
    with style():
        ax.plot(path[:, 0], path[:, 1], color=colour, linewidth=0.3, alpha=0.5, zorder=3)
        ax.scatter(*path[inside].T, s=3.5, c=colour, linewidths=0, alpha=0.7, zorder=4)
        ax.scatter(
            *path[~inside].T, s=6.0, facecolors="none", edgecolors=INK, linewidths=0.5, zorder=4
        )
        ax.scatter(*path[:1].T, s=46, marker="*", c="white", edgecolors=INK, zorder=6)


def profiles(ax: Axes, x, lines: dict[str, Any], *, xlabel: str, ylabel: str) -> None:
    """Curves over one axis, the first two in the colours of the geometries.

    Parameters
    ----------
    ax
        The axis; a logarithmic scale of y is set where values span two decades.
    x
        Shape ``(k,)``.
    lines
        Name to values ``(k,)``, or to ``(low, middle, high)``, ``(3, k)``, drawn as a band.
    xlabel, ylabel
        Labels of the axes.
    """
    styles = [(RIEMANNIAN, "-"), (EUCLIDEAN, (0, (4, 2))), (INK, ":")]
    everything = np.concatenate([np.ravel(v) for v in lines.values()])
    with style():
        for (name, values), (colour, line) in zip(lines.items(), styles, strict=False):
            values = np.asarray(values)
            middle = values[1] if values.ndim == 2 else values
            ax.plot(x, middle, color=colour, linestyle=line, linewidth=1.8, label=name)
            if values.ndim == 2:
                ax.fill_between(x, values[0], values[2], color=colour, alpha=0.15, linewidth=0)
        if everything.min() > 0 and everything.max() > 30 * everything.min():
            ax.set_yscale("log")
        ax.set_xlabel(xlabel)
        ax.set_ylabel(ylabel)
        ax.legend(loc="best")


def paired(ax: Axes, names: Sequence[str], before, after, *, xlabel: str, ceiling=None) -> None:
    """Paired values, one row for each name: Euclidean to Riemannian, all seeds and their means.

    Parameters
    ----------
    ax
        The axis.
    names
        Names of the rows, from the top.
    before, after
        Euclidean and Riemannian values, shape ``(rows, seeds)``.
    xlabel
        What the values are.
    ceiling
        A bound for each row, shape ``(rows,)``, drawn as a bar.
    """
    before, after = np.atleast_2d(before), np.atleast_2d(after)
    with style():
        for i, (b, a) in enumerate(zip(before, after, strict=True)):
            ax.plot([b.mean(), a.mean()], [i, i], color="#b0b0b0", linewidth=2, zorder=1)
            for values, colour, marker in [(b, EUCLIDEAN, "s"), (a, RIEMANNIAN, "o")]:
                ax.scatter(
                    values, np.full(values.size, i), s=10, c=colour, alpha=0.45, linewidths=0
                )
                ax.scatter(
                    values.mean(), i, s=44, c=colour, marker=marker, zorder=3,
                    label={"s": "Euclidean", "o": "Riemannian"}[marker] if i == 0 else None,
                )  # fmt: skip
            if ceiling is not None:
                ax.plot(
                    [ceiling[i]] * 2, [i - 0.28, i + 0.28], color=INK, linewidth=1.2,
                    label="1-NN accuracy" if i == 0 else None,
                )  # fmt: skip
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_xlabel(xlabel)
        ax.grid(axis="x", color="#e6e6e6", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
