"""The commands of Latent Space Oddity: variance, k-means, interpolation, walk, distributions."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from experiments.commands.options import Classes, Data, Out, Quick, Seeds, classes_of, program
from landform.cli.options import integers
from landform.cli.terminal import report, steps

Network = Annotated[str, typer.Option(help="mlp or conv.")]


@program.command("oddity-variance")
def oddity_variance(
    data: Data = None,
    classes: Classes = "0,1",
    out: Out = Path("oddity-variance"),
    seeds: Seeds = 3,
    quick: Quick = False,
) -> None:
    """Radial basis functions against a variance network: evidence and extrapolation.

    Example: `python -m experiments oddity-variance --out oddity-variance`
    """
    from experiments.oddity_variance import VarianceSettings, run_variance

    settings = VarianceSettings(
        data=data,
        seeds=tuple(range(seeds)),
        classes=classes_of(classes),
    )
    if quick:
        settings = dataclasses.replace(
            settings,
            seeds=(0,),
            per_class=100,
            samples=50,
            map_size=40,
            floors=(0.03, 0.3),
            training=dataclasses.replace(settings.training, epochs=20),
        )
    with steps() as say:
        found = run_variance(settings, out, progress=say)["summary"]
    rows: dict[str, object] = {
        f"{name}, {key.replace('_', ' ')}": (
            f"{found[name][key]['mean']:.4g} ± {found[name][key]['sd']:.2g}"
        )
        for key in ("log_marginal", "std_ratio")
        for name in ("rbf", "network")
    }
    rows["gain in nats"] = f"{found['gain']['mean']:.1f} ± {found['gain']['sd']:.1f}"
    report("mean ± s.d. over seeds", rows)
    report("the page", {"file": out / "index.html"})


@program.command("oddity-kmeans")
def oddity_kmeans(
    data: Data = None,
    groups: Annotated[
        str | None,
        typer.Option(
            help="Sets of classes, as 0,1,2;3,4,7; by default the paper's triples, or all classes "
            "of a file without these."
        ),
    ] = None,
    out: Out = Path("oddity-kmeans"),
    seeds: Seeds = 3,
    exact: Annotated[
        int, typer.Option(help="Subsets to solve with exact geodesics as well.", min=0)
    ] = 0,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Add what the scores depend on; twice the time.")
    ] = False,
    quick: Quick = False,
) -> None:
    """K-means in latent spaces, under the generator's metric and without it.

    Example: `python -m experiments oddity-kmeans --groups "1,4,8;2,3,6" --out oddity-kmeans`
    """
    from experiments.oddity_kmeans import KMeansSettings, run_kmeans

    chosen = None
    if groups is not None:
        chosen = tuple(integers("--groups", part) for part in groups.split(";"))
    settings = KMeansSettings(
        data=data, groups=chosen, seeds=tuple(range(seeds)), exact=exact, ablation=ablation
    )
    if quick:
        settings = dataclasses.replace(
            settings,
            seeds=(0,),
            per_class=100,
            subsets=2,
            subset=150,
            widths=(1.0, 2.0),
            table_size=64,
            training=dataclasses.replace(settings.training, epochs=40),
        )
    with steps() as say:
        found = run_kmeans(settings, out, progress=say)["summary"]
    rows: dict[str, object] = {}
    for name, row in found.items():
        if name != "mean_gain":
            flat, curved = row["euclidean"], row["riemannian"]
            rows[name] = (
                f"{flat['mean']:.1f} ± {flat['sd_subsets']:.1f} to {curved['mean']:.1f} ± "
                f"{curved['sd_subsets']:.1f} (nearest neighbor "
                f"{row['nearest_neighbor']['mean']:.1f})"
            )
    report("F-measure in %, Euclidean to Riemannian, mean ± s.d. over subsets", rows)
    report("the page", {"file": out / "index.html"})


@program.command("oddity-interpolation")
def oddity_interpolation(
    data: Data = None,
    classes: Classes = "0,1",
    network: Network = "mlp",
    out: Out = Path("oddity-interpolation"),
    seeds: Seeds = 3,
    quick: Quick = False,
) -> None:
    """Geodesics against straight lines between codes: uncertainty, jumps, auto-correlation.

    Example: `python -m experiments oddity-interpolation --data mnist --classes 0,1`
    """
    from experiments.oddity_interpolation import (
        InterpolationSettings,
        quick as small,
        run_interpolation,
    )
    from experiments.oddity_walk import WalkSettings

    if network not in ("mlp", "conv"):
        raise ValueError(f"--network must be mlp or conv, got {network!r}")
    settings = InterpolationSettings(
        data=data, classes=classes_of(classes), seeds=tuple(range(seeds))
    )
    if network == "conv":
        settings = dataclasses.replace(settings, generator=WalkSettings().generator)
    settings = small(settings) if quick else settings
    with steps() as say:
        found = run_interpolation(settings, out, progress=say)["summary"]
    names = {
        "lower_std_by_length": "share more certain than straight lines, by length",
        "lower_std_by_frames": "the same over frames",
        "at_most_2_percent_less_sure": "share more certain by length, or less by at most 2 %",
        "jump_ratio_of_means": "mean largest jump, geodesics over straight lines",
        "jump_at_most_half": "share with at most half the jump",
        "converged": "share certified",
    }
    report("mean ± s.d. over seeds", _rows(found, names))
    report("the page", {"file": out / "index.html"})


@program.command("oddity-walk")
def oddity_walk(
    data: Annotated[
        str | None,
        typer.Option(
            help="Name of a data set or an .npz file with images X; by default the video frames "
            "mocap-frames where they are found, else digits."
        ),
    ] = None,
    out: Out = Path("oddity-walk"),
    seeds: Seeds = 2,
    quick: Quick = False,
) -> None:
    """Random walks in the latent plane of a convolutional generator.

    Example: `LANDFORM_DATA=~/data python -m experiments oddity-walk --out oddity-walk`
    """
    from experiments.oddity_walk import WalkSettings, quick as small, run_walk

    settings = WalkSettings(data=data, seeds=tuple(range(seeds)))
    settings = small(settings) if quick else settings
    with steps() as say:
        found = run_walk(settings, out, progress=say)["summary"]
    names = {
        f"{key}_{kind}": f"{text}, {kind}"
        for key, text in (("in_support", "in the support"), ("certain", "σ in the data's 95 %"))
        for kind in ("brownian", "driftless", "euclidean")
    }
    report("shares of steps, mean ± s.d. over seeds", _rows(found, names))
    report("the page", {"file": out / "index.html"})


@program.command("oddity-land")
def oddity_land(
    data: Data = None,
    classes: Classes = "0,1",
    out: Out = Path("oddity-land"),
    seeds: Seeds = 3,
    quick: Quick = False,
) -> None:
    """A LAND mixture against a Gaussian mixture of latent codes.

    Example: `python -m experiments oddity-land --data mnist --classes 0,1 --out oddity-land`
    """
    from experiments.oddity_land import LandSettings, quick as small, run_land

    settings = LandSettings(data=data, classes=classes_of(classes), seeds=tuple(range(seeds)))
    settings = small(settings) if quick else settings
    with steps() as say:
        found = run_land(settings, out, progress=say)["summary"]
    names = {
        f"{key}_{kind}": f"{text}, {kind}"
        for key, text in (
            ("f", "F-measure"),
            ("in_support", "draws in the support"),
            ("log_density", "held-out log-density"),
        )
        for kind in ("land", "gauss")
    }
    report("mean ± s.d. over seeds", _rows(found, names))
    report("the page", {"file": out / "index.html"})


def _rows(summary, names: dict[str, str]) -> dict[str, object]:
    """Lines of the summary: mean ± s.d. over seeds."""
    return {
        text: f"{summary[key]['mean']:.3f} ± {summary[key]['sd']:.3f}"
        for key, text in names.items()
    }
