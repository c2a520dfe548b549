"""The application object, the options that commands share, and how their values are read."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from landform.cli.columns import as_number

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
# JAX takes the last 32 bits of a seed: two larger seeds could be the same without notice.
Seed = Annotated[int, typer.Option(help="Seed of everything random.", min=0, max=2**32 - 1)]


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
        if "_" in text:  # int() would ignore it
            raise ValueError
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{name} must be integers separated by commas, got {text!r}") from None
