"""Reading and writing tables for the command line: every flaw is one line that names the file."""

import csv
import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np

from landform.datasets import read_npz

READABLE = (".npy", ".npz", ".csv", ".parquet")
WRITABLE = (".npy", ".npz", ".csv")
_LABELS = ("y", "label", "labels", "class", "target")


class Table(NamedTuple):
    """Data of a file: rows, the classes where the file has them, and the names of the columns."""

    X: np.ndarray
    y: np.ndarray | None
    columns: tuple[str, ...]
    path: Path


def read_table(
    path, *, columns: str | None = None, label: str | None = None, least: int = 2, ndim=(2,)
) -> Table:
    """Numbers from a file.

    Parameters
    ----------
    path
        A .npy, .npz, .csv or .parquet file. An .npz holds X, and y where there are classes, or one
        array under any name; tables may have a column y, label or class.
    columns
        Names or numbers (from 0) of the columns to use, separated by commas; all when None.
    label
        Name of the array or column with the classes.
    least
        Fewest rows.
    ndim
        Numbers of axes allowed.

    Raises
    ------
    FileNotFoundError, ValueError
        With the file's name, and what is wrong with it.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    suffix = path.suffix.lower()
    if suffix not in READABLE:
        raise ValueError(f"{path} must end in one of {', '.join(READABLE)}")
    reader = {".npy": _npy, ".npz": _npz, ".csv": _csv, ".parquet": _parquet}[suffix]
    X, y, names = reader(path, label)
    X, names = _select(X, names, columns, path)
    return Table(_check(X, path, least, ndim, names), _check_labels(y, len(X), path), names, path)


def check_varies(table: Table) -> Table:
    """Refuse columns that are constant: a metric learned from them would be one of 1/ρ alone."""
    constant = np.flatnonzero(np.ptp(table.X, axis=0) == 0)
    if constant.size:
        which = ", ".join(table.columns[i] if table.columns else str(i) for i in constant[:5])
        more = f" and {constant.size - 5} more" if constant.size > 5 else ""
        raise ValueError(
            f"{table.path} has constant columns ({which}{more}), which say nothing about "
            "distances: leave them out with --columns"
        )
    return table


def write_table(path, **arrays) -> None:
    """Write the first array to .npy or .csv, or all of them to .npz."""
    path = Path(path).expanduser()
    main = np.asarray(next(iter(arrays.values())))
    check_output(path, WRITABLE)
    if path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    elif path.suffix == ".npy":
        np.save(path, main)
    else:
        flat = main.reshape(len(main), -1)
        style = "%d" if flat.dtype.kind in "iub" else "%.17g"
        np.savetxt(path, flat, delimiter=",", fmt=style)


def check_output(path, endings=WRITABLE) -> Path:
    """The path, if it can be written; checked before hours of work rather than after."""
    path = Path(path).expanduser()
    if path.suffix.lower() not in endings:
        raise ValueError(f"{path} must end in {' or '.join(endings)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder of {path} does not exist")
    if path.is_dir():
        raise ValueError(f"{path} is a folder")
    return path


def _npy(path: Path, label):
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise ValueError(f"{path} could not be read as a .npy file of numbers") from None
    return array, None, ()


def _npz(path: Path, label):
    arrays = read_npz(path)
    if not arrays:
        raise ValueError(f"{path} holds no array")
    if label is not None and label not in arrays:
        raise ValueError(f"{path} has no array {label!r}, only {', '.join(arrays)}")
    names = [label] if label else [name for name in _LABELS if name in arrays]
    y = arrays.pop(names[0]) if names else None
    if "X" not in arrays and len(arrays) != 1:
        raise ValueError(f"{path} must hold an array X, and has {', '.join(arrays) or 'none'}")
    return arrays.get("X", next(iter(arrays.values()))), y, ()


def _csv(path: Path, label):
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} could not be read as text: {error}") from None
    if not rows:
        raise ValueError(f"{path} is empty")
    header = () if all(_is_number(cell) for cell in rows[0]) else tuple(c.strip() for c in rows[0])
    body = rows[1:] if header else rows
    for number, row in enumerate(body, 2 if header else 1):
        if len(row) != len(rows[0]):
            raise ValueError(
                f"{path}, row {number}: {len(row)} cells where the first row has {len(rows[0])}"
            )
    return _split(np.array(body, dtype=object).reshape(len(body), -1), header, label, path)


def _parquet(path: Path, label):
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError(
            f"{path}: reading .parquet needs the package pyarrow, which is not installed"
        )
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except Exception as error:
        raise ValueError(f"{path} could not be read as a .parquet file: {error}") from None
    columns = [table.column(i).to_numpy(zero_copy_only=False) for i in range(table.num_columns)]
    cells = np.array(columns, dtype=object).reshape(table.num_columns, -1).T
    return _split(cells, tuple(table.column_names), label, path)


def _split(cells: np.ndarray, header: tuple[str, ...], label, path: Path):
    """Numbers and classes of a table of cells."""
    if label is not None and label not in header:
        raise ValueError(f"{path} has no column {label!r}, only {', '.join(header) or 'numbers'}")
    name = label or next((h for h in header if h.lower() in _LABELS[1:]), None)
    y = None
    if name is not None:
        place = header.index(name)
        y, keep = cells[:, place], [i for i in range(len(header)) if i != place]
        cells, header = cells[:, keep], tuple(header[i] for i in keep)
    X = np.empty(cells.shape)
    for i, j in np.ndindex(cells.shape):
        X[i, j] = _number(cells[i, j], i + (2 if header else 1), header[j] if header else j, path)
    return X, y, header


def _is_number(cell) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return not str(cell).strip()
    return True


def _number(cell, row, column, path) -> float:
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return np.nan
    try:
        return float(cell)
    except (TypeError, ValueError):
        raise ValueError(
            f"{path}, row {row}, column {column}: {cell!r} is not a number; choose columns with "
            "--columns, or name the column of classes with --label"
        ) from None


def _select(X, names, columns: str | None, path: Path):
    if columns is None:
        return X, names
    if np.ndim(X) != 2:
        raise ValueError(f"{path} has shape {np.shape(X)}: --columns is for tables")
    chosen = []
    for part in columns.split(","):
        part = part.strip()
        if part in names:
            chosen.append(names.index(part))
        elif part.isdigit() and int(part) < X.shape[1]:
            chosen.append(int(part))
        else:
            known = ", ".join(names) if names else f"numbers from 0 to {X.shape[1] - 1}"
            raise ValueError(f"{path} has no column {part!r}: there are {known}")
    return X[:, chosen], tuple(names[i] for i in chosen) if names else ()


def _check(X, path: Path, least: int, ndim, names) -> np.ndarray:
    X = np.asarray(X)
    if X.dtype.kind not in "fiub":
        raise ValueError(f"{path} must hold real numbers, and has {X.dtype}")
    if X.ndim not in ndim or X.size == 0:
        wanted = " or ".join(
            {2: "(n, d)", 3: "(n, height, width)", 4: "(n, h, w, c)"}[k] for k in ndim
        )
        images = X.ndim > 2 and max(ndim) == 2
        raise ValueError(
            f"{path} must have shape {wanted}, and has {X.shape}"
            + (": landform encode makes points of images" if images else "")
        )
    X = X.astype(np.float64) if X.dtype.kind != "f" or X.dtype.itemsize < 4 else X
    bad = np.argwhere(~np.isfinite(X))
    if bad.size:
        row, column = bad[0][0], bad[0][1]
        where = f"column {names[column] if names else column}"
        raise ValueError(
            f"{path} has {len(bad)} NaN or infinite values, the first in row {row} (from 0), "
            f"{where}: remove or impute them"
        )
    if len(X) < least:
        raise ValueError(f"{path} has {len(X)} rows, and at least {least} are needed")
    return X


def _check_labels(y, count: int, path: Path):
    if y is None:
        return None
    y = np.asarray(y)
    if y.shape != (count,):
        raise ValueError(f"{path}: the classes must have shape ({count},), and have {y.shape}")
    return (
        np.unique(y.astype(str) if y.dtype == object else y, return_inverse=True)[1]
        if (y.dtype.kind not in "iu")
        else y
    )
