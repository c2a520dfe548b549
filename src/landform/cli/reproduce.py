"""The command `reproduce`: the published experiments of LAND, run again."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from landform.cli._app import app, report

commands = typer.Typer(
    help="Run published experiments again: a page, figures and results.json for each.",
    no_args_is_help=True,
)
app.add_typer(commands, name="reproduce")

Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write.")]
Quick = Annotated[bool, typer.Option("--quick", help="A small run that shows what would be done.")]
Seeds = Annotated[int, typer.Option(help="Number of seeds.", min=1)]
Train = Annotated[int, typer.Option(help="Training points of each group.", min=30)]


@commands.command("land-synthetic")
def land_synthetic(out: Out = None, seeds: Seeds = 3, quick: Quick = False) -> None:
    """LAND, least squares and Gaussian mixtures on curved and straight point clouds.

    Example: `landform reproduce land-synthetic --out land-synthetic`
    """
    from landform.report.reproduce import SyntheticSettings, run_synthetic

    settings = SyntheticSettings(seeds=tuple(range(seeds)))
    if quick:
        settings = dataclasses.replace(
            settings, sets=("half-ellipse", "gaussian"), seeds=(0,), train=60, test=100,
            n_samples=32, folds=2, grid=16, sweep=False,
        )  # fmt: skip
    out = Path("land-synthetic") if out is None else out
    found = _watched(lambda say: run_synthetic(settings, out, progress=say))
    rows: dict[str, object] = {
        f"{name}, {method.replace('_', ' ')}":
        f"{found[name][method]['mean']:.3f} ± {found[name][method]['sd']:.3f}"
        for name in settings.sets for method in ("land", "least_squares", "gaussian")
    }  # fmt: skip
    report("held-out log-density per point, mean ± s.d. over seeds", rows)
    report("the page", {"file": out / "index.html"})


@commands.command("land-sleep")
def land_sleep(out: Out = None, seeds: Seeds = 2, train: Train = 240, quick: Quick = False) -> None:
    """Mixtures of LANDs on sleep stages, person by person; needs LANDFORM_DATA.

    Example: `LANDFORM_DATA=~/data landform reproduce land-sleep --out land-sleep`
    """
    from landform.report.reproduce import GroupSettings, run_sleep

    settings = GroupSettings(components=(5,), seeds=tuple(range(seeds)), train=train)
    _groups(run_sleep, settings, Path("land-sleep") if out is None else out, quick)


@commands.command("land-motion")
def land_motion(
    out: Out = None, seeds: Seeds = 2, train: Train = 240, quick: Quick = False
) -> None:
    """Mixtures of LANDs on poses of walking and running; needs LANDFORM_DATA.

    Example: `LANDFORM_DATA=~/data landform reproduce land-motion --out land-motion`
    """
    from landform.report.reproduce import GroupSettings, run_motion

    settings = GroupSettings(components=(2, 3, 5), seeds=tuple(range(seeds)), train=train)
    _groups(run_motion, settings, Path("land-motion") if out is None else out, quick)


def _groups(run, settings, out: Path, quick: bool) -> None:
    if quick:
        settings = dataclasses.replace(
            settings, components=(2,), seeds=(0,), train=80, validation=40, test=60, n_samples=32,
            widths=(1.0,), bounds=(100.0,), max_groups=1,
        )  # fmt: skip
    found = _watched(lambda say: run(settings, out, progress=say))
    for name, summary in found["summary"].items():
        report(name, {key: f"{value:.3f}" for key, value in summary.items()})
    report("the page", {"file": out / "index.html"})


def _watched(run):
    """Run with the current step on stderr."""
    columns = [SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)
        return run(lambda text: bar.update(task, description=text))
