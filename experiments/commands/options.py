"""The application object of the experiments, and the options that commands share."""

from pathlib import Path
from typing import Annotated

import typer

from landform.cli.options import integers

program = typer.Typer(
    name="experiments",
    help="Run published experiments again: a page, figures and results.json for each.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")]
Quick = Annotated[bool, typer.Option("--quick", help="A small run that shows what would be done.")]
Seeds = Annotated[int, typer.Option(help="Number of seeds.", min=1)]
Data = Annotated[
    str | None,
    typer.Option(
        help="mnist, digits, fashion, or an .npz file with images X and classes y; by default "
        "mnist where it can be had, else digits."
    ),
]
Classes = Annotated[str, typer.Option(help="Classes to use, or all.")]


def classes_of(text: str) -> tuple[int, ...] | None:
    """The value of --classes; None for all classes."""
    return None if text == "all" else integers("--classes", text)
