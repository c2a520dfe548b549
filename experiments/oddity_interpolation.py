"""The interpolations of Latent Space Oddity: geodesics against straight lines between codes."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.ticker import NullFormatter

import landform as lf
from experiments.oddity import load_images
from experiments.oddity_generator import Generator, GeneratorSettings, choices_of, each_seed
from experiments.write import write
from landform import plotting
from landform.demo.figures import strips
from landform.demo.measure import along, random_pairs
from landform.demo.model import ACCURACY, SOLVER
from landform.demo.page import Section, folder

KINDS = ("riemannian", "euclidean")
NAMES = {"riemannian": "geodesic", "euclidean": "straight line"}
_EQUAL_RATIO = 1.02  # call two mean deviations equal up to this ratio


@dataclass(frozen=True)
class InterpolationSettings:
    """What `python -m experiments oddity-interpolation` computes."""

    data: str | None = None
    classes: tuple[int, ...] | None = (0, 1)
    per_class: int | None = 1000
    seeds: tuple[int, ...] = (0, 1, 2)
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(
            training=lf.Training(
                hidden=(64, 32),
                num_centers=384,
                bandwidth_scale=1.8,
                bandwidth_rule="pooled",
                stage_one_std=1.0,
            )
        )
    )
    pairs: int = 200
    frames: int = 101
    nodes: int = 257
    strip: int = 15
    lags: int = 30
    map_size: int = 120


def run_interpolation(
    settings: InterpolationSettings, out, *, progress: Callable[[str], None] = print
) -> dict[str, Any]:
    """Train a generator for every seed, interpolate between random codes, and write the page."""
    out, since = folder(out), time.perf_counter()
    results, _, (generator, _, arrays) = each_seed(
        settings,
        lambda seed: load_images(
            settings.data, classes=settings.classes, per_class=settings.per_class, seed=seed
        ),
        lambda generator, _, seed: interpolate(generator, settings, seed),
        "geodesics",
        progress=progress,
    )
    progress("figures")
    sections = _sections(generator, arrays, results["summary"], settings)
    write(
        out,
        "Latent Space Oddity: interpolation",
        _LEAD,
        sections,
        choices_of(_CHOICES, settings, results["summary"]),
        settings,
        results,
        time.perf_counter() - since,
    )
    return results


def interpolate(
    generator: Generator, settings: InterpolationSettings, seed: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """Numbers and curves of one generator.

    Both kinds of curves have the same number of frames, each at constant speed in its own metric.
    """
    x, y = random_pairs(generator.codes, settings.pairs, seed)
    found = lf.geodesic(
        generator.table,
        x,
        y,
        solver=SOLVER,
        num_points=settings.nodes,
        accuracy=ACCURACY,
        throw=False,
    )
    times = np.linspace(0.0, 1.0, settings.frames)
    paths = {
        "riemannian": np.asarray(found.curve(times)),
        "euclidean": x[:, None] + (y - x)[:, None] * times[:, None],
    }
    seen = {kind: _watch(generator, path, settings) for kind, path in paths.items()}
    curved, straight = seen["riemannian"], seen["euclidean"]
    ratio = curved["jump"] / straight["jump"]
    converged = np.asarray(found.converged)
    numbers = {
        "converged": float(np.mean(converged)),
        "lower_std_by_length": float(np.mean(curved["by_length"] < straight["by_length"])),
        "at_most_2_percent_less_sure": float(
            np.mean(curved["by_length"] < _EQUAL_RATIO * straight["by_length"])
        ),
        "lower_std_by_frames": float(np.mean(curved["by_frames"] < straight["by_frames"])),
        "jump_ratio_of_means": float(curved["jump"].mean() / straight["jump"].mean()),
        "jump_ratio_of_largest": float(curved["jump"].max() / straight["jump"].max()),
        "jump_ratio_median": float(np.median(ratio)),
        "jump_at_most_half": float(np.mean(ratio <= 0.5)),
        "length_ratio_median": float(np.median(straight["length"] / curved["length"])),
    }
    for kind in KINDS:
        numbers[f"std_by_length_{kind}"] = float(seen[kind]["by_length"].mean())
        numbers[f"std_by_frames_{kind}"] = float(seen[kind]["by_frames"].mean())
        numbers[f"jump_{kind}"] = float(seen[kind]["jump"].mean())
        numbers[f"outside_{kind}"] = float(seen[kind]["outside"].mean())
    apart = np.linalg.norm(y - x, axis=1)
    worth = converged & (apart >= np.median(apart))
    order = np.argsort(np.where(worth, ratio, np.inf))
    return numbers, {"paths": paths, "seen": seen, "order": order, "converged": converged}


def _watch(generator: Generator, paths: np.ndarray, settings) -> dict[str, np.ndarray]:
    """σ, lengths, jumps and auto-correlation along curves ``(n, frames, 2)``."""
    shape = paths.shape[:2]
    std = generator.deviation(paths)
    by_length, length = along(generator.table, paths, std)
    images = generator.decode(paths.reshape(-1, 2)).reshape(*shape, -1)
    step = np.linalg.norm(np.diff(images, axis=1), axis=2)
    return {
        "by_length": by_length,
        "by_frames": std.mean(axis=1),
        "length": length,
        "step": step,
        "jump": step.max(axis=1),
        "outside": 1.0 - generator.certain(paths).mean(axis=1),
        "correlation": autocorrelation(images, settings.lags),
    }


def autocorrelation(images: np.ndarray, lags: int) -> np.ndarray:
    """Correlation of the pixels of frames k apart, averaged over the frames, ``(n, lags + 1)``.

    Frames ``(n, T, D)``; every frame is centered and scaled to unit norm, so that the value at 0
    is 1. An abrupt change in a sequence that is otherwise still shows as a curve that falls early.
    """
    centered = images - images.mean(axis=2, keepdims=True)
    norm = np.linalg.norm(centered, axis=2, keepdims=True)
    unit = centered / np.where(norm > 0.0, norm, 1.0)
    frames = images.shape[1]
    lags = min(lags, frames - 1)
    same = [
        np.sum(unit[:, : frames - k] * unit[:, k:], axis=2).mean(axis=1) for k in range(lags + 1)
    ]
    return np.stack(same, axis=1)


def _sections(generator, arrays, summary, settings) -> list[Section]:
    return [
        _map_section(generator, arrays, settings),
        _std_section(arrays, summary),
        _jump_section(arrays, summary),
        _strip_section(generator, arrays, settings),
        _correlation_section(arrays, settings),
    ]


def _map_section(generator: Generator, arrays, settings) -> Section:
    points, extent = plotting.grid(*plotting.bounds(generator.codes), size=settings.map_size)
    values = np.asarray(lf.log_volume(generator.table, points)) / np.log(10)
    chosen = arrays["order"][:6]
    fig, (ax,) = plotting.figure(width=6.2, height=4.9)
    plotting.field(ax, extent, values, label=r"$\log_{10}\sqrt{\det M}$")
    plotting.points(ax, generator.codes, size=3, alpha=0.4)
    for kind in KINDS[::-1]:
        plotting.curves(ax, arrays["paths"][kind][chosen], kind=kind, label=NAMES[kind])
    plotting.latent_axes(ax, extent)
    with plotting.style():
        ax.legend(loc="upper left", fontsize=7, frameon=True, framealpha=0.85, edgecolor="none")
    outside = {kind: float(arrays["seen"][kind]["outside"].mean()) for kind in KINDS}
    return Section(
        "map",
        "Geodesics and straight lines over the magnification factor",
        "Six of the pairs, those whose jumps differ most. The ridges are where the image or its "
        "uncertainty changes fast.",
        f"{outside['riemannian']:.1%}",
        "of the frames of all geodesics have a σ above the data's 95 % quantile; "
        f"{outside['euclidean']:.1%} of those of straight lines",
        plotting.png_bytes(fig),
    )


def _std_section(arrays, summary) -> Section:
    fig, axes = plotting.figure(2, width=7.2, height=3.5)
    titles = {"by_length": "averaged by arc length", "by_frames": "averaged over frames"}
    for ax, (key, title) in zip(axes, titles.items(), strict=True):
        _against(ax, arrays["seen"], key, "mean σ", title)
    share, about = summary["lower_std_by_length"], summary["at_most_2_percent_less_sure"]
    frames = summary["lower_std_by_frames"]
    return Section(
        "std",
        "How certain the generator is along the curve",
        "Every dot is a pair; under the line the geodesic is more certain. On the left both curves "
        "are averaged by their length under the metric, on the right over their frames, of which "
        "straight lines have more where nothing changes.",
        f"{share['mean']:.1%}",
        f"of the geodesics are more certain by arc length (± {share['sd']:.1%} over seeds), "
        f"{about['mean']:.1%} more certain or less certain by no more than {_EQUAL_RATIO - 1:.0%}; "
        f"{frames['mean']:.1%} ± {frames['sd']:.1%} are more certain over frames",
        plotting.png_bytes(fig),
    )


def _jump_section(arrays, summary) -> Section:
    fig, axes = plotting.figure(2, width=7.2, height=3.5)
    _against(axes[0], arrays["seen"], "jump", "largest jump", "")
    pair = arrays["order"][0]
    lines = {NAMES[kind]: arrays["seen"][kind]["step"][pair] for kind in KINDS}
    count = len(lines["geodesic"])
    plotting.profiles(
        axes[1], np.arange(1, count + 1), lines, xlabel="frame", ylabel="change of the image"
    )
    ratio, half = summary["jump_ratio_of_means"], summary["jump_at_most_half"]
    return Section(
        "jump",
        "The largest jump between consecutive images",
        "On the left every pair; on the right the frames of the first pair of the strips below, "
        "chosen among those whose jumps differ most.",
        f"{ratio['mean']:.2f} ×",
        f"mean largest jump of geodesics over that of straight lines (± {ratio['sd']:.2f} over "
        f"seeds); at most half in {half['mean']:.0%} of the pairs",
        plotting.png_bytes(fig),
    )


def _against(ax, seen, key: str, what: str, title: str) -> None:
    """One dot for each pair, straight line against geodesic."""
    high, low = seen["euclidean"][key], seen["riemannian"][key]
    with plotting.style():
        ax.scatter(high, low, s=10, c=plotting.RIEMANNIAN, alpha=0.7, linewidths=0)
        positive = np.concatenate([high, low])
        ends = [0.9 * positive[positive > 0].min(), 1.1 * positive.max()]
        ax.plot(ends, ends, color="#8a8a8a", linewidth=0.8)
        ax.set(xscale="log", yscale="log", xlim=ends, ylim=ends, title=title)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_minor_formatter(NullFormatter())
        ax.set_xlabel(f"{what}, straight line")
        ax.set_ylabel(f"{what}, geodesic")
        ax.set_aspect("equal")


def _strip_section(generator: Generator, arrays, settings) -> Section:
    chosen = arrays["order"][:3]
    frames = np.linspace(0, settings.frames - 1, settings.strip).round().astype(int)
    names = [[f"{kind}{i}"] for i in range(len(chosen)) for kind in KINDS]
    fig, parts = plotting.mosaic(names, width=7.4, height=0.58 * len(names))
    for i, pair in enumerate(chosen):
        for kind in KINDS:
            images = np.asarray(generator.vae.decode(arrays["paths"][kind][pair][frames]))
            strips(parts[f"{kind}{i}"], images, NAMES[kind].split()[0])
    ratio = arrays["seen"]["riemannian"]["jump"] / arrays["seen"]["euclidean"]["jump"]
    return Section(
        "strips",
        "Decoded images along three pairs",
        "Equal steps of time. Of the pairs that are further apart than half of them, those whose "
        "jumps differ most.",
        f"{ratio[chosen[0]]:.2f} ×",
        "largest jump of the first pair, geodesic over straight line",
        plotting.png_bytes(fig),
    )


def _correlation_section(arrays, settings) -> Section:
    fig, (ax,) = plotting.figure(width=6.2, height=3.2)
    lines, drop = {}, {}
    for kind in KINDS:
        values = arrays["seen"][kind]["correlation"]
        lines[NAMES[kind]] = np.quantile(values, [0.1, 0.5, 0.9], axis=0)
        drop[kind] = 1.0 - float(values[:, 1].mean())
    lag = np.arange(values.shape[1]) / (settings.frames - 1)
    plotting.profiles(
        ax, lag, lines, xlabel="lag, in shares of the way", ylabel="auto-correlation of the images"
    )
    return Section(
        "correlation",
        "Auto-correlation of the sequences",
        "Median and 10 to 90 % of the pairs; both sequences have the same ends. A sudden change is "
        "a fast fall at small lags.",
        f"{drop['riemannian']:.2g}",
        "mean loss of correlation from one frame to the next along geodesics; along straight lines "
        f"{drop['euclidean']:.2g}",
        plotting.png_bytes(fig),
    )


def quick(settings: InterpolationSettings) -> InterpolationSettings:
    """A small run that shows what would be done."""
    training = dataclasses.replace(
        settings.generator.training, epochs=25, num_centers=12, bandwidth_scale=2.0
    )
    generator = dataclasses.replace(settings.generator, training=training, table_size=128)
    return dataclasses.replace(
        settings,
        seeds=settings.seeds[:1],
        per_class=80,
        pairs=24,
        frames=41,
        nodes=65,
        lags=12,
        map_size=40,
        generator=generator,
    )


_LEAD = (
    "Between pairs of encoded images the generator is followed along two curves: the geodesic of "
    "the expected metric, and the straight line. Which is more certain, and which changes the "
    "image at an even pace?"
)
_CHOICES = (
    "{s.pairs} pairs of codes a seed, drawn at random among all codes without their classes; seeds "
    "{s.seeds}. Every pair counts, also where the solver did not certify its curve "
    "({n[converged][mean]:.1%} were).",
    "Generator: {s.generator.architecture}, layers {t.hidden}, constant deviation "
    "{t.stage_one_std} in stage one, {t.num_centers} centers, "
    "a = {t.bandwidth_scale}, rule {t.bandwidth_rule}. The paper "
    "has 64 centers and a = 2: its σ is so wide that it hardly tells a gap between codes from the "
    "codes beside it. Many functions that overlap as the paper's do, but are narrow, leave σ "
    "smooth on the codes and let it rise in the gaps. Number, width and stage-one deviation were "
    "chosen without labels, by the two numbers that are reported, among settings listed in the "
    "documentation.",
    "{s.frames} frames on either curve, at constant speed: of the geodesic under the metric, of "
    "the line in the chart. A jump is the Euclidean distance of consecutive mean images.",
    "The expected metric is tabulated on a grid of {s.generator.table_size} points a side; its "
    "relative error at the codes is {n[table_error][mean]:.1g} at the 99th percentile.",
)
