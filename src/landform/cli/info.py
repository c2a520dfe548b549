"""The command `info`: what is installed, and what a file holds."""

import platform
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from landform.cli.columns import LABELS, Columns, numbers
from landform.cli.inputs import read_content
from landform.cli.options import app
from landform.cli.terminal import report


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
    held = read_content(file)
    report(str(file), _columns(held) if isinstance(held, Columns) else _arrays(held))


def _columns(table: Columns) -> dict[str, object]:
    """Facts of a table: its size, its classes, and the range or type of each column."""
    count = len(table.cells[0]) if table.cells else 0
    rows: dict[str, object] = {"shape": (count, len(table.cells))}
    constant = 0
    for k, cells in enumerate(table.cells):
        name = f"column {table.name(k)}"
        is_class = bool(table.names) and table.names[k].lower() in LABELS[1:]
        try:
            values = None if is_class else numbers(table, k)
        except ValueError:
            values = None
        if values is None and cells.ndim == 1:
            kinds, counts = np.unique(cells.astype(str), return_counts=True)
            key = "classes" if is_class else name
            rows[key] = _classes(kinds, counts) if is_class else f"text, {len(kinds)} different"
        elif values is None:
            rows[name] = f"lists of {cells.shape[1]}, not of numbers"
        else:
            note = f"lists of {values.shape[1]}, " if values.ndim == 2 else ""
            rows[name] = note + _range(values)
            constant += int(values.ndim == 1 and _is_constant(values))
    return rows | {"constant columns": constant}


def _arrays(arrays: dict[str, np.ndarray]) -> dict[str, object]:
    """Facts of the arrays of a file, by their names where there are several."""
    rows: dict[str, object] = {}
    for name, array in arrays.items():
        prefix = f"{name} " if len(arrays) > 1 else ""
        rows[f"{prefix}shape"] = array.shape
        if array.dtype.kind not in "iufb":
            rows[f"{prefix}type"] = f"{array.dtype}, not numbers"
        elif name in LABELS and array.ndim == 1 and array.dtype.kind in "iub":
            rows["classes"] = _classes(*np.unique(array, return_counts=True))
        else:
            rows[f"{prefix}range"] = _range(array)
        if array.ndim == 2 and array.size and array.dtype.kind in "iufb":
            rows[f"{prefix}constant columns"] = sum(map(_is_constant, array.T))
    return rows or {"arrays": "none"}


def _is_constant(values: np.ndarray) -> bool:
    return values.size > 0 and bool((values == values[0]).all())


def _range(values: np.ndarray) -> str:
    """Least and greatest number, and how many are NaN or infinite."""
    finite = values[np.isfinite(values)]
    found = f"{finite.min():.6g} to {finite.max():.6g}" if finite.size else "no numbers"
    lost = values.size - finite.size
    return f"{found}, {lost} NaN or infinite" if lost else found


def _classes(kinds: np.ndarray, counts: np.ndarray) -> str:
    more = f" and {len(kinds) - 20} more" if len(kinds) > 20 else ""
    return ", ".join(f"{k}: {c}" for k, c in zip(kinds[:20], counts[:20], strict=True)) + more


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
        **{name: version(name) for name in ("jax", "equinox", "torch")},
        "devices": ", ".join(str(device) for device in jax.devices()),
        "data sets": ", ".join(lf.datasets.names()),
        "LANDFORM_DATA": folder if folder is not None else "not set",
    }
