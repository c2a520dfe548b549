"""The command `demo`: train a generator, measure its geometry, write a page."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table as RichTable

from landform.cli.inputs import read_table
from landform.cli.options import Label, Seed, app
from landform.cli.terminal import console, steps


@app.command()
def demo(
    data: Annotated[
        str, typer.Option(help="digits (embedded), mnist, fashion, or a file of images.")
    ] = "digits",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")] = Path("demo"),
    digits: Annotated[
        str | None,
        typer.Option(
            help="Classes to use, separated by commas; all: every class. By default 0,1,2, and "
            "all of a file."
        ),
    ] = None,
    per_class: Annotated[
        int | None,
        typer.Option(help="Most images of each class, or of all without classes.", min=10),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Add k-means over five digit triples and three seeds.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="A coarse run in a fraction of the time.")
    ] = False,
    label: Label = None,
    seed: Seed = 0,
) -> None:
    """Train a generator on real images, measure its geometry, write a page that shows it.

    Example: `landform demo --data mnist --digits 3,4,7 --out demo`
    """
    from landform import datasets
    from landform.demo import STEPS, load_sample, run_demo

    own = datasets.find_name(data) is None
    settings = _settings(data, digits or ("all" if own else "0,1,2"), per_class, quick, seed)
    table = None
    if own:
        read = read_table(data, label=label, least=30, ndim=(2, 3, 4))
        table = (read.X, read.y)
        if read.y is None and settings.digits:
            raise ValueError(f"--digits needs classes, and {data} has none: give --digits all")
        if full:
            raise ValueError(f"--full needs a data set of digits, and {data} is a file")
    sample = load_sample(settings, table)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out must be a folder, and {out} is a file")
    with steps(STEPS) as say:
        results = run_demo(sample, settings, out, progress=say, study=full)
    _summary(results, out)


def _settings(data: str, digits: str, per_class, quick: bool, seed: int):
    from landform.demo import Settings

    try:
        chosen = () if digits == "all" else tuple(int(part) for part in digits.split(","))
    except ValueError:
        raise ValueError(f"--digits must be integers as in 0,1,2, or all; got {digits!r}") from None
    settings = Settings(data=data, digits=chosen, per_class=per_class, seed=seed)
    if quick:
        settings = dataclasses.replace(
            settings,
            epochs=20,
            num_centers=32,
            table_size=96,
            map_size=40,
            pairs=12,
            matrix_points=120,
            land_points=30,
            draws=200,
            walks=2,
            walk_steps=200,
            per_class=per_class or 40,
        )
    return settings


def _summary(n: dict[str, float], out: Path) -> None:
    """The numbers of the report, Euclidean beside Riemannian."""
    table = RichTable(title="landform demo", title_justify="left", pad_edge=False)
    for name, justify in (("", "left"), ("Euclidean", "right"), ("Riemannian", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]

    def row(name, euclidean, riemannian, style="{:.1%}"):
        if euclidean in n and riemannian in n:
            table.add_row(name, style.format(n[euclidean]), style.format(n[riemannian]))

    row("mean σ along paths between codes", "mean_std_straight", "mean_std_geodesic", "{:.4f}")
    row("same class closer than different", "separation_euclidean", "separation_riemannian")
    row("k-means F-measure", "f_euclidean", "f_riemannian")
    row("held-out log-density (GMM, LAND)", "log_density_gauss", "log_density_land", "{:.3f}")
    row("samples in the support (GMM, LAND)", "samples_in_support_gauss", "samples_in_support_land")
    row("walk in the support", "walk_in_support_euclidean", "walk_in_support_riemannian")
    row("F-measure, five triples", "study_f_euclidean", "study_f_riemannian")
    table.add_section()
    table.add_row(
        "geodesics with lower σ than straight lines", "", f"{n['geodesics_with_lower_std']:.0%}"
    )
    table.add_row(
        "σ at 3 radii over σ on the data",
        f"{n['network_std_ratio']:.1f} (network)",
        f"{n['rbf_std_ratio']:.1f} (RBF)",
    )
    console().print(table)
    console().print(f"{n['seconds_total']:.0f} s; the report is {out / 'index.html'}")
