"""The random walks of Latent Space Oddity: a convolutional generator of video frames."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import landform as lf
from experiments.oddity import load_images
from experiments.oddity_generator import Generator, GeneratorSettings, choices_of, each_seed
from experiments.write import write
from landform import datasets, plotting
from landform.demo.figures import strips
from landform.demo.measure import drawn_walks
from landform.demo.page import Section, folder

KINDS = ("brownian", "driftless", "euclidean")
NAMES = {
    "brownian": "Brownian motion",
    "driftless": "walk of the paper",
    "euclidean": "Euclidean walk",
}
_MAX_STEPS_SHOWN = 4000


@dataclass(frozen=True)
class WalkSettings:
    """What `python -m experiments oddity-walk` computes."""

    data: str | None = None
    seeds: tuple[int, ...] = (0, 1)
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(
            architecture="conv",
            table_size=384,
            training=lf.Training(
                hidden=(8, 16, 32),
                epochs=60,
                stage_one_std=0.05,
                num_centers=256,
                bandwidth_scale=1.3,
                bandwidth_rule="pooled",
            ),
        )
    )
    walks: int = 8
    steps: int = 5000
    substeps: int = 64  # fewer jump over the ridges of σ; four times as many change nothing
    strip: int = 13
    map_size: int = 120


def frames_of(data: str | None, seed: int):
    """Images by name or from a file; by default video frames where they are found."""
    folder = datasets.data_folder()
    if data is None and folder is not None and (folder / "mocap35_frames.npz").is_file():
        data = "mocap-frames"
    return load_images(data or "digits", seed=seed)


def run_walk(
    settings: WalkSettings, out, *, progress: Callable[[str], None] = print
) -> dict[str, Any]:
    """Train a generator for every seed, walk in its latent space, and write the page."""
    out, since = folder(out), time.perf_counter()
    results, images, (generator, _, arrays) = each_seed(
        settings,
        lambda seed: frames_of(settings.data, seed),
        lambda generator, _, seed: walk_all(generator, settings, seed),
        "walks",
        progress=progress,
    )
    results = {"data": images.name} | results
    progress("figures")
    write(
        out,
        "Latent Space Oddity: random walks",
        _LEAD.format(name=images.name),
        _sections(generator, arrays, results["summary"], settings),
        choices_of(_CHOICES, settings, results["summary"]),
        settings,
        results,
        time.perf_counter() - since,
    )
    return results


def walk_all(
    generator: Generator, settings: WalkSettings, seed: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """The three walks from the same codes with the same noise, and where their steps are.

    All have steps of one size at a typical code: the Euclidean walk covers one data radius (root
    mean square) in all its steps, and under the metric the time is that by the median √det M.
    """
    codes, radius = generator.codes, generator.radius
    paths, start, time = drawn_walks(
        generator,
        {
            "brownian": (generator.table, True),
            "driftless": (generator.table, False),
            "euclidean": (lf.Euclidean(2), False),
        },
        walks=settings.walks,
        steps=settings.steps,
        substeps=settings.substeps,
        seed=seed,
    )
    numbers = {"radius": radius, "reach": generator.support.radius, "time": time}
    numbers["codes_certain"] = float(generator.certain(codes).mean())
    arrays: dict[str, Any] = {}
    for kind, path in paths.items():
        sound = np.isfinite(path).all(axis=2, keepdims=True)
        path = np.where(sound, path, 1e6)  # count a failed walk as outside the support
        near = generator.support(path)
        numbers[f"in_support_{kind}"] = float(near.mean())
        numbers[f"in_support_{kind}_worst"] = float(near.mean(axis=1).min())
        numbers[f"certain_{kind}"] = float(generator.certain(path).mean())
        numbers[f"below_largest_std_{kind}"] = float(generator.certain(path, 1.0).mean())
        numbers[f"mean_std_{kind}"] = float(generator.deviation(path).mean())
        numbers[f"travelled_{kind}"] = float(
            np.mean(np.linalg.norm(path - start[:, None], axis=2).max(axis=1)) / radius
        )
        numbers[f"visited_{kind}"] = visited(codes, path, generator.support.radius)
        arrays[kind], arrays[f"{kind}_near"] = path, near
    return numbers, arrays


def visited(codes: np.ndarray, paths: np.ndarray, reach: float) -> float:
    """Share of the codes that a walk came near to, averaged over walks."""
    from scipy.spatial import cKDTree

    return float(np.mean([np.mean(cKDTree(path).query(codes)[0] <= reach) for path in paths]))


def _sections(generator: Generator, arrays, summary, settings) -> list[Section]:
    shown = int(np.argsort(arrays["euclidean_near"].mean(axis=1))[settings.walks // 2])
    everything = np.concatenate([generator.codes, *(arrays[kind][shown] for kind in KINDS[:2])])
    extent = np.stack(plotting.bounds(everything, margin=0.1), axis=1).ravel()
    return [
        _support_section(generator, arrays, summary, shown, extent),
        _strip_section(generator, arrays, summary, shown, settings),
        _drift_section(generator, arrays, summary, settings),
        _deviation_section(generator, summary, settings),
    ]


def _support_section(generator, arrays, summary, shown, extent) -> Section:
    fig, axes = plotting.figure(3, width=8.2, height=3.2)
    for ax, kind in zip(axes, KINDS, strict=True):
        ax.scatter(*generator.codes.T, s=5, c="#c4c9cf", linewidths=0, zorder=1)
        step = max(1, arrays[kind].shape[1] // _MAX_STEPS_SHOWN)
        plotting.walk(
            ax,
            arrays[kind][shown][::step],
            inside=arrays[f"{kind}_near"][shown][::step],
            kind="euclidean" if kind == "euclidean" else "riemannian",
        )
        plotting.latent_axes(ax, extent, title=NAMES[kind])
    for ax in axes[1:]:
        ax.set_ylabel("")
    curved, flat = summary["in_support_brownian"], summary["in_support_euclidean"]
    return Section(
        "walks",
        "Three walks with steps of one size",
        "Codes in grey, steps outside the support hollow. Under the metric a step is short where "
        "the generator changes fast or is uncertain, and the walk turns back where the data end.",
        f"{curved['mean']:.1%}",
        f"of the steps of Brownian motion lie near a code (± {curved['sd']:.1%} over seeds); "
        f"{summary['in_support_driftless']['mean']:.1%} of the paper's walk without drift, "
        f"{flat['mean']:.1%} ± {flat['sd']:.1%} of the Euclidean walk",
        plotting.png_bytes(fig),
    )


def _strip_section(generator, arrays, summary, shown, settings) -> Section:
    frames = np.linspace(0, settings.steps - 1, settings.strip).round().astype(int)
    fig, parts = plotting.mosaic([[kind] for kind in KINDS], width=7.6, height=2.1)
    for kind in KINDS:
        images = np.asarray(generator.vae.decode(arrays[kind][shown][frames]))
        strips(parts[kind], images, {"brownian": "Brownian"}.get(kind, kind))
    there = summary["visited_brownian"]["mean"]
    return Section(
        "strips",
        "What the walks decode to",
        "Frames at equal times. Within the support they are images of the data; outside the mean "
        "decodes to nothing in particular.",
        f"{there:.0%}",
        "of all codes have a step of a Brownian motion near them, on average over walks; "
        f"{summary['visited_driftless']['mean']:.0%} for the walk without drift, "
        f"{summary['visited_euclidean']['mean']:.0%} for the Euclidean one",
        plotting.png_bytes(fig),
    )


def _drift_section(generator, arrays, summary, settings) -> Section:
    fig, (ax,) = plotting.figure(width=6.2, height=3.2)
    codes = np.asarray(lf.log_volume(generator.table, generator.codes)) / np.log(10)
    low, high = np.quantile(codes, [0.001, 0.999])
    bins = np.linspace(low - 0.5, high + 1.0, 60)
    middle, lines = 0.5 * (bins[1:] + bins[:-1]), {}
    for kind in KINDS[:2]:
        values = np.asarray(lf.log_volume(generator.table, arrays[kind].reshape(-1, 2))) / np.log(
            10
        )
        lines[NAMES[kind]] = np.histogram(values, bins, density=True)[0]
    lines["codes"] = np.histogram(codes, bins, density=True)[0]
    plotting.profiles(
        ax, middle, lines, xlabel=r"$\log_{10}\sqrt{\det M}$", ylabel="share of steps"
    )
    gap = summary["mean_std_driftless"]["mean"] / summary["mean_std_brownian"]["mean"]
    return Section(
        "drift",
        "With the drift and without it",
        "How often the walks are where the volume is large. Without the drift the walk depends on "
        "the chart; its law is not that of Brownian motion, which visits places by their volume.",
        f"{gap:.2f} ×",
        "mean σ along the paper's walk over that along Brownian motion",
        plotting.png_bytes(fig),
    )


def _deviation_section(generator: Generator, summary, settings) -> Section:
    points, extent = plotting.grid(*plotting.bounds(generator.codes), size=settings.map_size)
    fig, (ax,) = plotting.figure(width=6.2, height=4.7)
    values = np.log10(generator.deviation(points))
    plotting.field(ax, extent, values, label=r"$\log_{10}$ mean σ")
    plotting.points(ax, generator.codes, size=3, alpha=0.5)
    plotting.latent_axes(ax, extent)
    certain = {kind: summary[f"certain_{kind}"]["mean"] for kind in KINDS}
    return Section(
        "deviation",
        "The support by the generator's own uncertainty",
        "σ by non-negative transposed convolutions of radial basis functions. Measured by it the "
        "support ends where σ passes the 95 % quantile at the codes, so that 95 % of the data "
        "themselves lie in it.",
        f"{certain['brownian']:.1%}",
        f"of the steps of Brownian motion are below that σ; {certain['driftless']:.1%} without "
        f"drift, {certain['euclidean']:.1%} of the Euclidean walk; below the largest σ at a code "
        f"{summary['below_largest_std_brownian']['mean']:.1%}, "
        f"{summary['below_largest_std_driftless']['mean']:.1%} and "
        f"{summary['below_largest_std_euclidean']['mean']:.1%}",
        plotting.png_bytes(fig),
    )


def quick(settings: WalkSettings) -> WalkSettings:
    """A small run that shows what would be done."""
    training = dataclasses.replace(
        settings.generator.training, hidden=(4, 8), epochs=4, num_centers=24
    )
    generator = dataclasses.replace(settings.generator, training=training, table_size=48)
    return dataclasses.replace(
        settings, seeds=settings.seeds[:1], generator=generator, walks=2, steps=500, map_size=32
    )


_LEAD = (
    "A convolutional generator was trained on images ({name}) without their labels. Walks in its "
    "latent plane start at codes: Brownian motion of the expected metric, the paper's walk "
    "without drift, and a Euclidean walk of equal steps."
)
_CHOICES = (
    "{s.walks} walks of {s.steps} steps a seed from random codes, seeds {s.seeds}, all kinds with "
    "the same noise. A step is {s.substeps} of the Euler–Maruyama scheme.",
    "Steps are of one size at a typical code: the Euclidean walk's root mean square displacement "
    "after all steps is the largest distance of a code from their mean, and time under the metric "
    "is that by the median √det M at the codes.",
    "The support: latent points within {n[reach][mean]:.3g} of a code, twice the distance within "
    "which 99 % of the codes have another one. The support by σ is given beside it.",
    "Generator: convolutions with {t.hidden} channels, {t.epochs} epochs, constant deviation "
    "{t.stage_one_std} in stage one; {t.num_centers} centers, "
    "a = {t.bandwidth_scale}, rule {t.bandwidth_rule}, so that σ "
    "also rises between neighboring strands of codes. The metric is tabulated on "
    "{s.generator.table_size} points a side, relative error {n[table_error][mean]:.1g} at the 99th "
    "percentile of the codes.",
)
