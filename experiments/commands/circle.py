"""The command of the noisy circle."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from experiments.commands.options import Out, Quick, Seeds, program
from landform.cli.terminal import report, steps


@program.command("noisy-circle")
def noisy_circle(
    out: Out = Path("noisy-circle"),
    seeds: Seeds = 3,
    noise: Annotated[float, typer.Option(help="Deviation on every coordinate.", min=0.0)] = 0.02,
    quick: Quick = False,
) -> None:
    """Geodesic lengths of five generators on a circle in 1000 dimensions, against the true ones.

    Example: `python -m experiments noisy-circle --out noisy-circle`
    """
    from experiments.circle import CircleSettings, run_circle

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
