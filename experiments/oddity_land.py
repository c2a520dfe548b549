"""The distributions of Latent Space Oddity: a LAND mixture against a Gaussian mixture of codes."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from sklearn.mixture import GaussianMixture

import landform as lf
from experiments.oddity import load_images
from experiments.oddity_generator import Generator, GeneratorSettings, choices_of, each_seed
from experiments.write import write
from landform import plotting
from landform.demo import Sample
from landform.demo.figures import strips
from landform.demo.measure import matched, smoothed
from landform.demo.page import Section, folder

KINDS = ("land", "gauss")
NAMES = {"land": "LAND mixture", "gauss": "Gaussian mixture"}
COLORS = {"land": plotting.RIEMANNIAN, "gauss": plotting.EUCLIDEAN}
_IMAGES_PER_CENTER = 20


@dataclass(frozen=True)
class LandSettings:
    """What `python -m experiments oddity-land` computes."""

    data: str | None = None
    classes: tuple[int, ...] | None = (0, 1)
    per_class: int | None = 1000
    seeds: tuple[int, ...] = (0, 1, 2)
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(
            training=lf.Training(
                hidden=(64, 32), num_centers=64, bandwidth_scale=2.0, stage_one_std=1.0
            ),
            table_size=256,
        )
    )
    points: int = 200
    n_directions: int = 64
    max_iter: int = 30
    starts: int = 3
    draws: int = 1000
    strip: int = 14
    map_size: int = 80


def run_land(
    settings: LandSettings, out, *, progress: Callable[[str], None] = print
) -> dict[str, Any]:
    """Train a generator for every seed, fit both mixtures to its codes, and write the page."""
    out, since = folder(out), time.perf_counter()
    results, _, shown = each_seed(
        settings,
        lambda seed: _separable(settings, seed),
        lambda generator, images, seed: fit_both(generator, images.y, settings, seed),
        "mixtures",
        progress=progress,
        fitting=_fitting,
    )
    progress("figures")
    write(
        out,
        "Latent Space Oddity: distributions",
        _LEAD,
        _sections(*shown, results["summary"], settings),
        choices_of(_CHOICES, settings, results["summary"]),
        settings,
        results,
        time.perf_counter() - since,
    )
    return results


def _separable(settings: LandSettings, seed: int) -> Sample:
    """The images of a seed, of at least two classes."""
    images = load_images(
        settings.data, classes=settings.classes, per_class=settings.per_class, seed=seed
    )
    if images.y is None or len(np.unique(images.y)) < 2:
        raise ValueError("data must have at least two classes to separate")
    return images


def _fitting(settings: GeneratorSettings, count: int) -> GeneratorSettings:
    """At most one center for twenty images: more would fill the metric with ridges."""
    most = max(2, count // _IMAGES_PER_CENTER)
    centers = min(settings.training.num_centers, most)
    training = dataclasses.replace(settings.training, num_centers=centers)
    return dataclasses.replace(settings, training=training)


def fit_both(
    generator: Generator, labels: np.ndarray, settings: LandSettings, seed: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """Both mixtures of the same codes: their F-measure, and the support of what they draw.

    Codes are in random order: the first ones are fitted, and as many others score.
    """
    codes, count = generator.codes, len(np.unique(labels))
    size = min(settings.points, len(codes) // 2)
    train, test = codes[:size], codes[size : 2 * size]
    land = lf.fit_land_mixture(
        generator.table,
        train,
        count,
        n_directions=settings.n_directions,
        max_iter=settings.max_iter,
        n_init=settings.starts,
        key=jax.random.key(seed),
        rtol=1e-3,
        throw=False,
    )
    gauss = GaussianMixture(count, n_init=10, random_state=seed).fit(train)
    share = np.asarray(land.responsibilities(test, throw=False))
    lost = ~np.isfinite(share).all(axis=1)
    groups = {
        "land": np.where(lost, -1, np.nan_to_num(share).argmax(axis=1)),
        "gauss": gauss.predict(test),
    }
    drawn = {
        "land": np.asarray(land.sample(jax.random.key(seed + 3), settings.draws)[0]),
        "gauss": gauss.sample(settings.draws)[0],
    }
    density = np.asarray(land.log_prob(test, base="lebesgue", throw=False))
    known = np.isfinite(density)
    numbers = {
        "without_a_density": float(np.mean(~known)),
        "land_converged": float(bool(land.converged)),
        "log_density_land": float(density[known].mean()),
        "log_density_gauss": float(gauss.score(test[known])),
        "codes_in_support": float(generator.certain(codes).mean()),
    }
    for kind in KINDS:
        numbers[f"f_{kind}"] = lf.f_measure(labels[size : 2 * size], groups[kind])
        numbers[f"in_support_{kind}"] = float(generator.certain(drawn[kind]).mean())
        numbers[f"near_codes_{kind}"] = float(generator.support(drawn[kind]).mean())
        numbers[f"mean_std_{kind}"] = float(generator.deviation(drawn[kind]).mean())
    return numbers, {"drawn": drawn, "groups": groups, "test": test, "rows": slice(size, 2 * size)}


def _sections(generator: Generator, labels, arrays, summary, settings) -> list[Section]:
    return [
        _density_section(generator, arrays, summary, settings),
        _group_section(arrays, labels, summary),
        _strip_section(generator, arrays, summary, settings),
    ]


def _density_section(generator: Generator, arrays, summary, settings) -> Section:
    points, extent = plotting.grid(*plotting.bounds(generator.codes), size=settings.map_size)
    fig, axes = plotting.figure(3, width=8.4, height=3.1)
    volume = np.asarray(lf.log_volume(generator.table, points)) / np.log(10)
    plotting.field(axes[0], extent, volume, label=r"$\log_{10}\sqrt{\det M}$")
    plotting.points(axes[0], generator.codes, size=2, alpha=0.4)
    plotting.latent_axes(axes[0], extent, title="magnification")
    for ax, kind in zip(axes[1:], KINDS, strict=True):
        ax.scatter(*generator.codes.T, s=2, c="#9aa3ad", linewidths=0, zorder=2)
        values = smoothed(arrays["drawn"][kind], points)
        plotting.density(ax, extent, values, colour=COLORS[kind])
        plotting.latent_axes(ax, extent, title=NAMES[kind])
        ax.set_ylabel("")
    land, gauss = summary["in_support_land"], summary["in_support_gauss"]
    return Section(
        "densities",
        "Both mixtures over the codes",
        "Regions that hold 95, 80, 50 and 20 % of what each mixture draws, by narrow kernels. "
        "LANDs bend with the valleys of the metric; Gaussians are ellipses and reach across gaps.",
        f"{land['mean']:.1%}",
        f"of what LAND draws lies in the support, σ below the data's 95 % quantile "
        f"(± {land['sd']:.1%} over seeds); of the Gaussian mixture's draws {gauss['mean']:.1%} ± "
        f"{gauss['sd']:.1%}, of the data {summary['codes_in_support']['mean']:.0%}",
        plotting.png_bytes(fig),
    )


def _group_section(arrays, labels, summary) -> Section:
    classes = labels[arrays["rows"]]
    fig, axes = plotting.figure(3, width=8.2, height=3.0)
    panels = [(NAMES[kind], matched(arrays["groups"][kind], classes)) for kind in KINDS]
    extent = np.stack(plotting.bounds(arrays["test"]), axis=1).ravel()
    for ax, (title, kinds) in zip(axes, [*panels, ("classes", classes)], strict=True):
        plotting.points(ax, arrays["test"], kinds, size=6)
        plotting.latent_axes(ax, extent, title=title)
    for ax in axes[1:]:
        ax.set_ylabel("")
    land, gauss = summary["f_land"], summary["f_gauss"]
    return Section(
        "groups",
        "Most probable components of codes that took no part in the fit",
        "The classes are on the right; neither mixture knew them.",
        f"{land['mean']:.1%}",
        f"F-measure of the LAND mixture (± {land['sd']:.1%} over seeds); of the Gaussian mixture "
        f"{gauss['mean']:.1%} ± {gauss['sd']:.1%}",
        plotting.png_bytes(fig),
    )


def _strip_section(generator: Generator, arrays, summary, settings) -> Section:
    fig, parts = plotting.mosaic([[kind] for kind in KINDS], width=7.4, height=1.3)
    for kind in KINDS:
        drawn = arrays["drawn"][kind][: settings.strip]
        label = "LAND" if kind == "land" else "Gauss"
        strips(parts[kind], np.asarray(generator.vae.decode(drawn)), label)
    return Section(
        "samples",
        "Decoded samples",
        "The first draws of either mixture, decoded.",
        f"{summary['mean_std_land']['mean']:.3f}",
        "mean σ at the draws of LAND; at those of the Gaussian mixture "
        f"{summary['mean_std_gauss']['mean']:.3f}",
        plotting.png_bytes(fig),
    )


def quick(settings: LandSettings) -> LandSettings:
    """A small run that shows what would be done.

    Least squares need more epochs and images than this: a small deviation in stage one instead.
    """
    training = dataclasses.replace(settings.generator.training, epochs=60, stage_one_std=0.1)
    generator = dataclasses.replace(settings.generator, training=training, table_size=192)
    return dataclasses.replace(
        settings,
        seeds=settings.seeds[:1],
        per_class=500,
        generator=generator,
        points=50,
        n_directions=24,
        max_iter=6,
        starts=1,
        draws=100,
        map_size=32,
    )


_LEAD = (
    "A mixture of locally adaptive normal distributions is fitted to latent codes under the "
    "metric that the generator induces, a Gaussian mixture of as many components beside it: which "
    "finds the classes, and which draws codes that the generator knows?"
)
_CHOICES = (
    "{s.points} codes are fitted and as many others scored; seeds {s.seeds}. Both mixtures have as "
    "many components as there are classes; the best of {s.starts} starts for LAND and of 10 for "
    "the Gaussian mixture, by likelihood. Classes only score.",
    "LAND has the expected metric of the generator itself, tabulated on {s.generator.table_size} "
    "points a side, relative error {n[table_error][mean]:.1g} at the 99th percentile of the codes; "
    "exact normalizer along {s.n_directions} directions.",
    "Held-out log-density per code against Lebesgue measure: LAND {n[log_density_land][mean]:.3f}, "
    "Gaussian mixture {n[log_density_gauss][mean]:.3f}; {n[without_a_density][mean]:.1%} of the "
    "codes had no geodesic to some mean, and count as wrong in the F-measure.",
    "Generator: layers {t.hidden}, constant deviation {t.stage_one_std} in stage one, "
    "{t.num_centers} centers but at least twenty images for each, "
    "a = {t.bandwidth_scale}, rule {t.bandwidth_rule}.",
)
