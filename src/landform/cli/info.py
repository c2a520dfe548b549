"""The command `info`: what is installed, and what a file holds."""

import platform
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from landform.cli._app import app, report
from landform.cli.inputs import read_table


@app.command()
def info(
    file: Annotated[
        Path | None, typer.Argument(help="A .landform file, or a file of data.")
    ] = None,
) -> None:
    """What is installed, or what a file holds.

    Example: `landform info vae.landform`
    """
    import landform as lf

    if file is None:
        report(f"landform {lf.__version__}", _installation())
        return
    if file.suffix.lower() == ".landform":
        facts = lf.describe_file(file)
        rows = {
            "written by": f"landform {facts['landform']}, format {facts['format']}",
            "size": f"{facts['bytes']:,} bytes, {len(facts['arrays'])} arrays",
            **{f"{key}": value for key, value in facts["metadata"].items()},
        }
        report(f"{file}: {facts['class']}", rows)
        return
    table = read_table(file, least=1, ndim=(1, 2, 3, 4))
    rows = {
        "shape": table.X.shape,
        "range": f"{table.X.min():.6g} to {table.X.max():.6g}",
        "constant columns": int((np.ptp(table.X, axis=0) == 0).sum()),
        "columns": ", ".join(table.columns) or "unnamed",
    }
    if table.y is not None:
        kinds, counts = np.unique(table.y, return_counts=True)
        rows["classes"] = ", ".join(f"{k}: {c}" for k, c in zip(kinds, counts, strict=True))
    report(str(file), rows)


def _installation() -> dict[str, object]:
    import importlib.metadata
    import importlib.util

    import jax

    import landform as lf

    def version(name):
        found = importlib.util.find_spec(name) is not None
        return importlib.metadata.version(name) if found else "not installed"

    folder = lf.datasets.data_folder()
    return {
        "Python": platform.python_version(),
        **{name: version(name) for name in ("jax", "equinox", "diffrax", "torch", "panel", "dask")},
        "devices": ", ".join(str(device) for device in jax.devices()),
        "data sets": ", ".join(lf.datasets.names()),
        "LANDFORM_DATA": folder if folder is not None else "not set",
    }
