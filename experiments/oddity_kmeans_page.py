"""The figures of `oddity-kmeans`."""

from typing import Any

import numpy as np

import landform as lf
from landform import plotting
from landform.demo.measure import matched
from landform.demo.page import Section

_MAP = 100


def sections(results: dict[str, Any], shown: dict[str, Any], published) -> list[Section]:
    """The scores, a map for each set of classes, the choice of widths, and the ablation."""
    names = [name for name in results["summary"] if name in shown]
    out = [_scores(results, names, published)]
    out += [_map(name, shown[name], results) for name in names]
    if len(results["runs"][0]["candidates"]) > 1:
        out.append(_widths(results, names))
    if "ablation" in results:
        out.append(_ablation(results["ablation"]))
    return out


def _scores(results, names, published) -> Section:
    table = {
        kind: np.array(
            [
                [run["mean"][kind] for run in results["runs"] if run["group"] == name]
                for name in names
            ]
        )
        for kind in ("euclidean", "riemannian")
    }
    rows = [results["summary"][name] for name in names]
    fig, (ax,) = plotting.figure(width=6.8, height=1.5 + 0.7 * len(names))
    plotting.paired(
        ax,
        names,
        table["euclidean"],
        table["riemannian"],
        xlabel="F-measure of k-means, %",
        ceiling=np.array([row["nearest_neighbor"]["mean"] for row in rows]),
    )
    known = {",".join(map(str, key)): value for key, value in published.items()}
    said = []
    with plotting.style():
        for i, (name, row) in enumerate(zip(names, rows, strict=True)):
            flat, curved = row["euclidean"], row["riemannian"]
            text = f"{name}: {flat['mean']:.1f} to {curved['mean']:.1f}"
            if name in known:
                ax.scatter(
                    known[name],
                    [i + 0.24] * 2,
                    s=26,
                    marker="x",
                    linewidths=1.2,
                    c=[plotting.EUCLIDEAN, plotting.RIEMANNIAN],
                )
                text += f" (paper {known[name][0]} to {known[name][1]})"
            said.append(text)
    return Section(
        "scores",
        "K-means under both distances",
        "Small dots are seeds, large ones their means; crosses are the paper's numbers (quoted "
        "second-hand), the bar is a nearest neighbor that knows the labels.",
        f"{results['summary']['mean_gain']:+.1f} points",
        "mean change of the F-measure. " + "; ".join(said) + " %",
        plotting.png_bytes(fig),
    )


def _map(name: str, seen, results) -> Section:
    codes = seen.space.codes[seen.rows]
    y = seen.images.y[seen.rows]
    low, high = plotting.bounds(seen.space.codes, margin=0.05)
    points, extent = plotting.grid(low, high, size=_MAP)
    values = np.asarray(lf.log_volume(seen.space.table, points)) / np.log(10)
    kmeans = matched(seen.riemannian, y)
    panels = (("Euclidean", matched(seen.euclidean, y)), ("Riemannian", kmeans), ("classes", y))
    fig, axes = plotting.figure(3, width=8.4, height=3.0)
    for ax, (title, labels) in zip(axes, panels, strict=True):
        plotting.field(ax, extent, values, bar=False)
        plotting.points(ax, codes, labels, size=5)
        plotting.latent_axes(ax, extent, title=title)
    axes[1].scatter(
        *seen.space.codes[seen.centers].T, marker="X", s=60, c="white", edgecolors="black", zorder=5
    )
    for ax in axes[1:]:
        ax.set_ylabel("")
    first = next(run for run in results["runs"] if run["group"] == name)
    flat, curved = (first["f"][kind][0] for kind in ("euclidean", "riemannian"))
    return Section(
        f"map-{name.replace(',', '')}",
        f"Classes {name}",
        "The first subset of the first seed over the magnification factor: straight borders "
        "without the metric; with it, clusters that end where the generator changes fast.",
        f"{curved:.1f} %",
        f"F-measure of these Riemannian clusters; {flat:.1f} % of the Euclidean ones",
        plotting.png_bytes(fig),
    )


def _widths(results, names) -> Section:
    fig, axes = plotting.figure(len(names), width=2.6 * max(2, len(names)), height=2.6)
    kept = []
    for ax, name in zip(axes, names, strict=True):
        with plotting.style():
            for run in (run for run in results["runs"] if run["group"] == name):
                x = [c["width"] for c in run["candidates"]]
                y = [c["silhouette"] for c in run["candidates"]]
                ax.plot(x, y, color=plotting.RIEMANNIAN, marker=".", linewidth=1.0)
                ax.scatter(
                    [run["width"]],
                    [run["silhouette"]],
                    s=46,
                    facecolors="none",
                    edgecolors=plotting.INK,
                    zorder=4,
                )
                kept.append(run["width"])
            ax.set_title(name)
            ax.set_xticks(x)
            ax.set_xlabel("a")
    axes[0].set_ylabel("silhouette")
    return Section(
        "widths",
        "The width of the basis functions",
        "The silhouette of clusters under the metric, one line a seed; the circle is the width "
        "that was kept, without labels.",
        f"{np.mean(kept):.2g}",
        "mean of the chosen multipliers a; the paper's is 2",
        plotting.png_bytes(fig),
    )


_METHODS = {
    "Euclidean k-means": (plotting.EUCLIDEAN, "s"),
    "Euclidean spectral": (plotting.PALETTE[4], "D"),
    "Riemannian k-means": (plotting.RIEMANNIAN, "o"),
    "Riemannian spectral": (plotting.PALETTE[1], "^"),
}


def _ablation(ablation) -> Section:
    names, variants = list(ablation), list(next(iter(ablation.values())))
    fig, axes = plotting.figure(len(names), width=8.4, height=0.27 * len(variants) + 1.3)
    for ax, name in zip(axes, names, strict=True):
        with plotting.style():
            for method, (color, marker) in _METHODS.items():
                x = [ablation[name][variant][method] for variant in variants]
                ax.scatter(x, range(len(x)), s=20, c=color, marker=marker, label=method)
            ax.set_yticks(range(len(variants)), variants if name == names[0] else [])
            ax.set_ylim(len(variants) - 0.5, -0.5)
            ax.grid(axis="y", color="#ececec", linewidth=0.6)
            ax.set_axisbelow(True)
            ax.set_title(name)
            ax.set_xlabel("F-measure, %")
    with plotting.style():
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(handles, labels, loc="outside upper center", ncols=4)
    best = {
        name: max(variants, key=lambda v: rows[v]["Riemannian k-means"])
        for name, rows in ablation.items()
    }
    return Section(
        "ablation",
        "What the scores depend on",
        "One choice changed at a time from the paper's (K = 64, a = 2) on one subset of the first "
        "seed; results.json has these numbers, the silhouettes and the held-out bounds.",
        f"{max(ablation[n][v]['Riemannian k-means'] for n, v in best.items()):.1f} %",
        "the best of these scores: "
        + ", ".join(
            f"{ablation[n][v]['Riemannian k-means']:.1f} % with {v} for {n}"
            for n, v in best.items()
        )
        + " (known only with labels)",
        plotting.png_bytes(fig),
    )
