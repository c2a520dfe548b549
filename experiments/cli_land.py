"""The published experiments of LAND, run again."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from landform.cli._app import report, steps

commands = typer.Typer(
    help="Run published experiments again: a page, figures and results.json for each.",
    no_args_is_help=True,
)

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")]
Quick = Annotated[bool, typer.Option("--quick", help="A small run that shows what would be done.")]
Seeds = Annotated[int, typer.Option(help="Number of seeds.", min=1)]
Train = Annotated[int, typer.Option(help="Training points of each group or set.", min=30)]
Nmf = Annotated[bool, typer.Option("--nmf", help="Non-negative factors, not principal components.")]


@commands.command("land-synthetic")
def land_synthetic(
    out: Out = Path("land-synthetic"), seeds: Seeds = 3, train: Train = 500, quick: Quick = False
) -> None:
    """LAND, least squares and Gaussian mixtures on curved and straight point clouds.

    Example: `python -m experiments land-synthetic --out land-synthetic`
    """
    from experiments import SyntheticSettings, run_synthetic

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


@commands.command("land-sleep")
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
    from experiments import GroupSettings, run_sleep

    settings = GroupSettings(
        components=(5,),
        seeds=tuple(range(seeds)),
        train=train,
        test=2000,
        features="nmf" if nmf else "pca",
        bounds=(1e6, 1000.0, 300.0, 100.0, 30.0),
    )
    _groups(run_sleep, settings, out, quick)


@commands.command("land-motion")
def land_motion(
    out: Out = Path("land-motion"), seeds: Seeds = 2, train: Train = 200, quick: Quick = False
) -> None:
    """Mixtures of LANDs on poses of walking and running; needs LANDFORM_DATA.

    Example: `LANDFORM_DATA=~/data python -m experiments land-motion --out land-motion`
    """
    from experiments import GroupSettings, run_motion

    settings = GroupSettings(components=(2, 3, 5), seeds=tuple(range(seeds)), train=train)
    _groups(run_motion, settings, out, quick)


@commands.command("noisy-circle")
def noisy_circle(
    out: Out = Path("noisy-circle"),
    seeds: Seeds = 3,
    noise: Annotated[float, typer.Option(help="Deviation on every coordinate.", min=0.0)] = 0.02,
    quick: Quick = False,
) -> None:
    """Geodesic lengths of five generators on a circle in 1000 dimensions, against the true ones.

    Example: `python -m experiments noisy-circle --out noisy-circle`
    """
    from experiments import CircleSettings, run_circle

    settings = CircleSettings(seeds=tuple(range(seeds)), noise=noise)
    if quick:
        settings = dataclasses.replace(
            settings, seeds=(0,), n=80, dim=60, pairs=20, epochs=100, num_centers=10, grid=16
        )
    with steps() as say:
        found = run_circle(settings, out, progress=say)
    rows: dict[str, object] = {
        name: f"{one['correlation']['mean']:.4f}, {one['hausdorff']['mean']:.2f}"
        for name, one in found.items()
        if "correlation" in one
    }
    report("correlation with the true lengths, Hausdorff distance to the circle", rows)
    report("the page", {"file": out / "index.html"})


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
