"""The figures of the report, one function a section, from what `measure` returns."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from landform import plotting
from landform.demo.model import Generator
from landform.demo.settings import TRIPLES

_LABEL = r"$\log_{10}\sqrt{\det M}$"


def magnification(arrays: dict[str, Any], model: Generator, labels: np.ndarray) -> Figure:
    """Codes over the magnification factor."""
    fig, (ax,) = plotting.figure(width=6.2, height=4.9)
    plotting.field(ax, arrays["extent"], arrays["values"], label=_LABEL)
    plotting.points(ax, model.codes, labels, legend=True)
    plotting.latent_axes(ax, arrays["extent"])
    return fig


def deviation(arrays: dict[str, Any]) -> Figure:
    """Standard deviation against the distance from the data's center, for both uncertainties."""
    fig, (ax,) = plotting.figure(width=6.2, height=3.4)
    lines = {"RBF precision": arrays["rbf"], "variance network": arrays["network"]}
    plotting.profiles(
        ax,
        arrays["radii"],
        lines,
        xlabel="distance from the center, in data radii",
        ylabel="mean σ of the decoder",
    )
    ax.axvspan(0, 1, color="#f0f0f0", zorder=-1)
    ax.text(0.5, 0.97, "data", transform=ax.get_xaxis_transform(), ha="center", va="top", size=8)
    return fig


def interpolation(arrays: dict[str, Any], model: Generator, background: dict[str, Any]) -> Figure:
    """One geodesic beside the straight line, and the two strips of decoded images."""
    shown = arrays["shown"]
    fig, parts = plotting.mosaic(
        [["map", "scatter"], ["curved", "curved"], ["straight", "straight"]],
        height_ratios=[3.3, 0.8, 0.8],
        width_ratios=[1.2, 1.0],
        width=7.2,
        height=4.8,
    )
    ax = parts["map"]
    plotting.field(ax, background["extent"], background["values"], label=_LABEL)
    plotting.points(ax, model.codes, size=3, alpha=0.4)
    plotting.curves(ax, arrays["straight"][shown], kind="euclidean", label="straight line")
    plotting.curves(ax, arrays["curves"][shown], label="geodesic")
    plotting.latent_axes(ax, background["extent"])
    with plotting.style():
        ax.legend(loc="upper left", fontsize=7, frameon=True, framealpha=0.85, edgecolor="none")
    ax = parts["scatter"]
    low, high = arrays["low"], arrays["high"]
    with plotting.style():
        ax.scatter(high, low, s=10, c=plotting.RIEMANNIAN, alpha=0.7, linewidths=0)
        ends = [0.9 * min(low.min(), high.min()), 1.1 * max(low.max(), high.max())]
        ax.plot(ends, ends, color="#8a8a8a", linewidth=0.8)
        ax.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.set_xlabel("mean σ, straight line")
        ax.set_ylabel("mean σ, geodesic")
        ax.set_aspect("equal")
    strips(parts["curved"], arrays["strip_curved"], "geodesic")
    strips(parts["straight"], arrays["strip_straight"], "straight")
    return fig


def strips(ax, images: np.ndarray, label: str) -> None:
    """A strip of decoded data; vectors are shown as columns of grey."""
    images = np.asarray(images)
    limits = (0.0, 1.0)
    if images.ndim == 2:
        images = np.repeat(images[:, :, None], max(2, images.shape[1] // 4), axis=2)
        limits = (float(images.min()), float(images.max()))
    plotting.strip(ax, images, label=label, limits=limits)


def distances(arrays: dict[str, Any]) -> Figure:
    """The two matrices of distances, rows sorted by class."""
    fig, axes = plotting.figure(2, width=7.4, height=3.3)
    for ax, name in zip(axes, ("euclidean", "riemannian"), strict=True):
        plotting.distance_matrix(ax, arrays[name], arrays["labels"], title=name.capitalize())
    return fig


def clusters(arrays: dict[str, Any], model: Generator, labels: np.ndarray | None) -> Figure:
    """The clusters of both geometries beside the classes."""
    panels = [("Euclidean k-means", arrays["euclidean"], arrays["euclidean_centers"])]
    panels += [("Riemannian k-means", arrays["riemannian"], arrays["riemannian_centers"])]
    if labels is not None:
        panels += [("classes", labels, None)]
    fig, axes = plotting.figure(len(panels), width=8.2, height=3.0)
    extent = np.stack(plotting.bounds(model.codes), axis=1).ravel()
    for ax, (title, kinds, centers) in zip(axes, panels, strict=True):
        plotting.points(ax, model.codes, kinds, size=5)
        if centers is not None:
            ax.scatter(*centers.T, marker="X", s=70, c="white", edgecolors="black", zorder=5)
        plotting.latent_axes(ax, extent, title=title)
    for ax in axes[1:]:
        ax.set_ylabel("")
    return fig


def mixtures(arrays: dict[str, Any], model: Generator) -> Figure:
    """Both mixtures as densities over the codes, and images decoded from their samples."""
    fig, parts = plotting.mosaic(
        [["gauss", "land"], ["gauss_strip", "gauss_strip"], ["land_strip", "land_strip"]],
        height_ratios=[4.2, 0.8, 0.8],
        width=7.2,
        height=4.9,
    )
    for name, title, colour in (
        ("gauss", "Gaussian mixture", plotting.EUCLIDEAN),
        ("land", "LAND mixture", plotting.RIEMANNIAN),
    ):
        ax = parts[name]
        ax.scatter(*model.codes.T, s=3, c="#9aa3ad", linewidths=0, zorder=2)
        plotting.density(ax, arrays["extent"], arrays[name], colour=colour)
        plotting.latent_axes(ax, arrays["extent"], title=title)
        strips(
            parts[f"{name}_strip"], arrays[f"{name}_strip"], "LAND" if name == "land" else "Gauss"
        )
    return fig


def walks(arrays: dict[str, Any], model: Generator) -> Figure:
    """The walks under both metrics over the codes, and what they decode to."""
    fig, parts = plotting.mosaic(
        [["euclidean", "riemannian"], ["euclidean_strip"] * 2, ["riemannian_strip"] * 2],
        height_ratios=[4.2, 0.8, 0.8],
        width=7.2,
        height=5.0,
    )
    everything = np.concatenate([model.codes, arrays["euclidean"], arrays["riemannian"]])
    extent = np.stack(plotting.bounds(everything, margin=0.03), axis=1).ravel()
    for name in ("euclidean", "riemannian"):
        ax = parts[name]
        ax.scatter(*model.codes.T, s=5, c="#c4c9cf", linewidths=0, zorder=1)
        plotting.walk(ax, arrays[name], kind=name, inside=arrays[f"{name}_inside"])
        plotting.latent_axes(ax, extent, title=f"{name.capitalize()} walk")
        strips(parts[f"{name}_strip"], arrays[f"{name}_strip"], name)
    return fig


def study(table: dict[str, np.ndarray]) -> Figure:
    """F-measures of all triples and seeds."""
    fig, (ax,) = plotting.figure(width=6.4, height=3.4)
    names = ["".join(map(str, triple)) for triple in TRIPLES[: len(table["euclidean"])]]
    plotting.paired(
        ax,
        names,
        table["euclidean"],
        table["riemannian"],
        xlabel="F-measure of k-means",
        ceiling=table["ceiling"].mean(axis=1),
    )
    ax.set_ylabel("digits")
    return fig
