"""The commands of the LAND experiments: synthetic, sleep, motion."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from experiments.commands.options import Out, Quick, Seeds, program
from landform.cli.terminal import report, steps

Train = Annotated[int, typer.Option(help="Training points of each group or set.", min=30)]
Nmf = Annotated[bool, typer.Option("--nmf", help="Non-negative factors, not principal components.")]


@program.command("land-synthetic")
def land_synthetic(
    out: Out = Path("land-synthetic"), seeds: Seeds = 3, train: Train = 500, quick: Quick = False
) -> None:
    """LAND, least squares and Gaussian mixtures on curved and straight point clouds.

    Example: `python -m experiments land-synthetic --out land-synthetic`
    """
    from experiments.synthetic import SyntheticSettings, run_synthetic

    settings = SyntheticSettings(seeds=tuple(range(seeds)), train=train)
    if quick:
        settings = dataclasses.replace(
            settings,
            sets=("half-ellipse", "gaussian"),
            seeds=(0,),
            train=60,
            test=100,
            n_directions=32,
            folds=2,
            grid=16,
            sweep=False,
        )
    with steps() as say:
        found = run_synthetic(settings, out, progress=say)
    rows: dict[str, object] = {
        f"{name}, {method.replace('_', ' ')}": (
            f"{found[name][method]['mean']:.3f} ± {found[name][method]['sd']:.3f}"
        )
        for name in settings.sets
        for method in ("land", "least_squares", "gaussian")
    }
    report("held-out log-density per point, mean ± s.d. over seeds", rows)
    report("the page", {"file": out / "index.html"})


@program.command("land-sleep")
def land_sleep(
    out: Out = Path("land-sleep"),
    seeds: Seeds = 2,
    train: Train = 800,
    nmf: Nmf = False,
    quick: Quick = False,
) -> None:
    """Mixtures of LANDs on sleep stages, person by person; needs LANDFORM_DATA.

    Example: `LANDFORM_DATA=~/data python -m experiments land-sleep --out land-sleep`
    """
    from experiments.groups import GroupSettings, run_sleep

    settings = GroupSettings(
        components=(5,),
        seeds=tuple(range(seeds)),
        train=train,
        test=2000,
        features="nmf" if nmf else "pca",
        bounds=(1e6, 1000.0, 300.0, 100.0, 30.0),
    )
    _groups(run_sleep, settings, out, quick)


@program.command("land-motion")
def land_motion(
    out: Out = Path("land-motion"), seeds: Seeds = 2, train: Train = 200, quick: Quick = False
) -> None:
    """Mixtures of LANDs on poses of walking and running; needs LANDFORM_DATA.

    Example: `LANDFORM_DATA=~/data python -m experiments land-motion --out land-motion`
    """
    from experiments.groups import GroupSettings, run_motion

    settings = GroupSettings(components=(2, 3, 5), seeds=tuple(range(seeds)), train=train)
    _groups(run_motion, settings, out, quick)


def _groups(run, settings, out: Path, quick: bool) -> None:
    if quick:
        settings = dataclasses.replace(
            settings,
            components=(2,),
            seeds=(0,),
            train=80,
            test=60,
            n_directions=32,
            width=1.0,
            bounds=(1e6, 100.0, 10.0, 1.0),
            max_groups=1,
        )
    with steps() as say:
        found = run(settings, out, progress=say)
    for name, summary in found["summary"].items():
        report(name, {key: f"{value:.3f}" for key, value in summary.items()})
    report("the page", {"file": out / "index.html"})
