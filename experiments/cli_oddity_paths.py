"""Interpolation, walks and distributions in latent spaces."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from experiments.cli_land import Out, Quick, Seeds, commands
from experiments.cli_oddity import Data
from landform.cli._app import integers, report, steps

Classes = Annotated[str, typer.Option(help="Classes to use, or all.")]
Network = Annotated[str, typer.Option(help="mlp or conv.")]


def _chosen(classes: str) -> tuple[int, ...] | None:
    return None if classes == "all" else integers("--classes", classes)


def _rows(summary, names: dict[str, str]) -> dict[str, object]:
    """Lines of the summary: mean ± s.d. over seeds."""
    return {
        text: f"{summary[key]['mean']:.3f} ± {summary[key]['sd']:.3f}"
        for key, text in names.items()
    }


@commands.command("oddity-interpolation")
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
    from experiments import InterpolationSettings, run_interpolation
    from experiments.oddity_interpolation import quick as small
    from experiments.oddity_walk import WalkSettings

    if network not in ("mlp", "conv"):
        raise ValueError(f"--network must be mlp or conv, got {network!r}")
    settings = InterpolationSettings(data=data, classes=_chosen(classes), seeds=tuple(range(seeds)))
    if network == "conv":
        settings = dataclasses.replace(settings, generator=WalkSettings().generator)
    settings = small(settings) if quick else settings
    with steps() as say:
        found = run_interpolation(settings, out, progress=say)["summary"]
    names = {
        "lower_std_by_length": "share surer than straight lines, by length",
        "lower_std_by_frames": "the same over frames",
        "at_most_2_percent_less_sure": "share surer by length, or less sure by at most 2 %",
        "jump_ratio_of_means": "mean largest jump, geodesics over straight lines",
        "jump_at_most_half": "share with at most half the jump",
        "converged": "share certified",
    }
    report("mean ± s.d. over seeds", _rows(found, names))
    report("the page", {"file": out / "index.html"})


@commands.command("oddity-walk")
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
    from experiments import WalkSettings, run_walk
    from experiments.oddity_walk import quick as small

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


@commands.command("oddity-land")
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
    from experiments import LandSettings, run_land
    from experiments.oddity_land import quick as small

    settings = LandSettings(data=data, classes=_chosen(classes), seeds=tuple(range(seeds)))
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
