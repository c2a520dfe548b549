"""The application object, and what the commands share: metrics by name, progress bars, tables."""

import contextlib
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

import landform.metrics.base as _metric
from landform.cli.columns import as_number
from landform.cli.inputs import Table, check_output
from landform.io import load
from landform.metrics.analytic import Euclidean
from landform.models.vae import VAE
from landform.stats.land.bandwidth import local_variance

app = typer.Typer(
    name="landform",
    help="The Riemannian geometry that data and generative models induce.\n\n"
    "Points go straight to distances, geodesic, cluster and walk. Images and other data of many "
    "columns go through fit-vae and encode first, and their codes with --metric vae.landform.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Data = Annotated[Path, typer.Argument(help="Points: .npy, .npz (X, y), .csv or .parquet.")]
Columns = Annotated[
    str | None, typer.Option(help="Columns of a table to use: names or numbers, as in x,y or 0,2.")
]
Label = Annotated[str | None, typer.Option(help="Array or column that holds the classes.")]
MetricName = Annotated[
    str,
    typer.Option(
        "--metric",
        "-m",
        help="local-variance (learned from the data), euclidean, or a .landform file with a "
        "metric, a VAE, a fitted distribution or estimator.",
    ),
]
Sigma = Annotated[
    float | None, typer.Option(help="Width σ of the local-variance metric; chosen from the data.")
]
Rho = Annotated[
    float | None, typer.Option(help="Bound ρ of the local-variance metric; chosen from the data.")
]
Plot = Annotated[Path | None, typer.Option(help="A figure to write as well (.png, .pdf, .svg).")]
Out = Annotated[Path, typer.Option("--out", "-o", help="File to write: .npz, .npy or .csv.")]
Start = Annotated[str, typer.Option("--from", help="Row number, or coordinates as in 0.5,1.2.")]
# JAX takes the last 32 bits of a seed: a larger one would silently be another.
Seed = Annotated[int, typer.Option(help="Seed of everything random.", min=0, max=2**32 - 1)]


_FIGURES = (".png", ".pdf", ".svg")


def check_plot(file: Path | None, table: Table | None = None) -> None:
    """Refuse a figure that cannot be written, or drawn of a table's points, before the work."""
    if file is None:
        return
    check_output(file, _FIGURES)
    if table is not None and table.X.shape[1] != 2:
        raise ValueError(
            f"--plot needs points of the plane, and {table.path} has {table.X.shape[1]} columns"
        )


def data_axes(ax, extent, table: Table) -> None:
    """Axes of a table's plane, named after its columns."""
    from landform import plotting

    plotting.latent_axes(ax, extent)
    ax.set_xlabel(table.columns[0] if table.columns else "$x_1$")
    ax.set_ylabel(table.columns[1] if table.columns else "$x_2$")


def volume_map(metric, X: np.ndarray, table: Table):
    """A figure of the metric's volume around points X of a table's plane, and its axis."""
    fig, ax, extent = _map(metric, X, size=120)
    data_axes(ax, extent, table)
    return fig, ax


def _map(metric, X: np.ndarray, size: int):
    from landform import plotting

    points, extent = plotting.grid(*plotting.bounds(X), size=size)
    fig, (ax,) = plotting.figure(width=5.2, height=4.5)
    values = np.asarray(_metric.log_volume(metric, points)) / np.log(10)
    plotting.field(ax, extent, values, label=r"$\log_{10}\sqrt{\det M}$")
    return fig, ax, extent


def plot_codes(file: Path, vae: VAE, codes: np.ndarray, labels) -> None:
    """Codes of the plane, their classes, and the volume of the generator's metric."""
    from landform import plotting

    fig, ax, extent = _map(vae.metric(), codes, size=80)
    plotting.points(ax, codes, labels, legend=True)
    plotting.latent_axes(ax, extent)
    plotting.save_figure(fig, file)


def console() -> Console:
    """Where results go, as they are: brackets in a file's name or notes are no markup."""
    return Console(file=sys.stdout, highlight=False, markup=False)


def metric_of(name: str, table: Table, sigma: float | None = None, rho: float | None = None):
    """The metric that a name or a file stands for, checked on the data."""
    if name == "euclidean":
        return Euclidean(table.X.shape[1])
    if name == "local-variance":
        return local_variance(
            table.X,
            "auto" if sigma is None else sigma,
            "auto" if rho is None else rho,
            name=str(table.path),
            columns=table.columns or (),
        )
    if not name.lower().endswith(".landform"):
        raise ValueError(
            f"--metric must be local-variance, euclidean or a .landform file, got {name!r}"
        )
    held = load(name)
    metric = as_metric(held, name)
    _check_columns(held, metric, table, name)
    return check_definite(metric, table, name)


def fitted_in(held, name: str):
    """What a file held; of an estimator, what it has learned."""
    if not hasattr(held, "get_params"):
        return held
    learned = (getattr(held, part, None) for part in ("vae_", "model_", "metric_"))
    found = next((part for part in learned if part is not None), None)
    if found is None:
        raise ValueError(
            f"{name} holds a {type(held).__name__} without a metric: it was not fitted before it "
            "was saved, or to distances"
        )
    return found


def as_metric(held, name: str):
    """The metric in what a file held."""
    learned = fitted_in(held, name)
    if isinstance(learned, VAE):
        return learned.metric()
    parts = getattr(learned, "components", (learned,))
    found = getattr(parts[0], "metric", parts[0])
    if not isinstance(found, _metric.AbstractMetric):
        raise ValueError(f"{name} holds a {type(held).__name__}, which has no metric")
    return found


def as_vae(held, name: str) -> VAE:
    """The variational autoencoder in what a file held."""
    learned = fitted_in(held, name)
    if not isinstance(learned, VAE):
        raise ValueError(
            f"{name} holds a {type(held).__name__}, which neither encodes nor decodes: give a VAE, "
            "as of landform fit-vae"
        )
    return learned


def _check_columns(held, metric, table: Table, name: str) -> None:
    """Refuse rows that are no points of the metric's chart, such as data of a generator."""
    count, learned = table.X.shape[1], fitted_in(held, name)
    marks = metric.landmarks()
    dim = metric.dim if metric.dim is not None or marks is None else marks.shape[1]
    if dim in (None, count):
        return
    if isinstance(learned, VAE) and count == learned.num_features:
        raise ValueError(
            f"{table.path} has the {count} columns of the data of {name}, whose metric is of its "
            f"{dim} latent dimensions: make codes of them first with "
            f"landform encode {table.path} --model {name}"
        )
    raise ValueError(f"{table.path} has {count} columns, and the metric of {name} {dim}")


def check_definite(metric, table: Table, name: str):
    """Refuse a metric that is not positive definite, or does not fit, where the data are."""
    try:
        volume = np.asarray(_metric.log_volume(metric, table.X))
    except TypeError as error:  # shapes that do not fit surface inside the user's decoder
        raise ValueError(
            f"the metric of {name} does not accept the rows of {table.path}: {error}"
        ) from None
    bad = np.flatnonzero(~np.isfinite(volume))
    if bad.size:
        raise ValueError(
            f"the metric of {name} is not positive definite at {bad.size} of the {len(volume)} "
            f"points of {table.path}, the first being row {bad[0]} (from 0)"
        )
    return metric


@contextlib.contextmanager
def bar(label: str, total: int):
    """A progress bar on stderr, as a function of the number finished."""
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    ]
    screen = Console(stderr=True)
    off = not screen.is_terminal  # even unseen, its end would leave an empty line in a log
    with Progress(*columns, console=screen, transient=True, disable=off) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done: progress.update(task, completed=min(done, total))


@contextlib.contextmanager
def steps(names: Collection[str] = ()):
    """What is being done, on stderr, as a function of its name; in a log each gets a line.

    With `names` the bar advances with each of them.
    """
    columns = [TextColumn("{task.description:<16}"), BarColumn(), TimeElapsedColumn()]
    screen = Console(stderr=True, highlight=False, markup=False)
    off = not screen.is_terminal
    with Progress(*columns, console=screen, transient=True, disable=off) as progress:
        task = progress.add_task("starting", total=len(names) or None)

        def say(name: str) -> None:
            if off:
                screen.print(f"{name} ...")
            progress.update(task, description=name, advance=float(name in names))

        yield say


@contextlib.contextmanager
def working(label: str):
    """A sign of life on a terminal's stderr, for work that does not tell how far it is."""
    screen = Console(stderr=True)
    with screen.status(label) if screen.is_terminal else contextlib.nullcontext():
        yield


def point_of(text: str, X: np.ndarray, name: str) -> np.ndarray:
    """A point: the number of a row, or coordinates separated by commas."""
    try:
        if text.isdigit():
            return X[int(text)]
        point = np.array([as_number(part) for part in text.split(",")], float)
    except (ValueError, TypeError, IndexError):
        raise ValueError(
            f"{name} must be a row number below {len(X)} or coordinates as in 0.5,1.2, got {text!r}"
        ) from None
    if not np.isfinite(point).all():
        raise ValueError(f"{name} must be finite numbers as in 0.5,1.2, got {text!r}")
    if point.shape != X.shape[1:]:
        raise ValueError(f"{name} must have {X.shape[1]} coordinates, got {point.size}")
    return point


def integers(name: str, text: str) -> tuple[int, ...]:
    """Integers separated by commas."""
    try:
        if "_" in text:  # which int() would read over
            raise ValueError
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{name} must be integers separated by commas, got {text!r}") from None


def report(title: str, rows: dict[str, object]) -> None:
    """A table of two columns on stdout."""
    console().print(title)
    table = RichTable(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for key, value in rows.items():
        table.add_row(key, str(value))
    console().print(table)
