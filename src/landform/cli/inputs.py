"""Reading and writing tables for the command line: every flaw is one line that names the file."""

import csv
import importlib.util
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from landform.datasets import read_npz

READABLE = (".npy", ".npz", ".csv", ".parquet")
WRITABLE = (".npy", ".npz", ".csv")
_LABELS = ("y", "label", "labels", "class", "target")
_MISSING = ("", "NA", "N/A", "null", "None")  # cells without a value, as R, Excel and Python write
_SEPARATORS = {";": "semicolons", "\t": "tabs"}


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
        array under any name; tables may have a column label, class or target.
    columns
        Names or numbers (from 0, in the file) of the columns to use, separated by commas; all when
        None. The others need not be numbers.
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
    X, y, names = reader(path, label, columns)
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
    path = check_output(path, WRITABLE)
    main = np.asarray(next(iter(arrays.values())))
    ending = path.suffix.lower()
    with open(path, "wb") as file:  # of a name, NumPy would make another where it is in capitals
        if ending == ".npz":
            np.savez_compressed(file, **arrays)
        elif ending == ".npy":
            np.save(file, main)
        else:
            flat = main.reshape(len(main), -1)
            style = "%d" if flat.dtype.kind in "iub" else "%.17g"
            np.savetxt(file, flat, delimiter=",", fmt=style)


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


def _npy(path: Path, label, columns):
    if label is not None:
        raise ValueError(f"{path} has no array {label!r}: a .npy file is of one array without name")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError):
        raise ValueError(f"{path} could not be read as a .npy file of numbers") from None
    return _selected(array, columns, path), None, ()


def _npz(path: Path, label, columns):
    arrays = read_npz(path)
    if not arrays:
        raise ValueError(f"{path} holds no array")
    if label is not None and label not in arrays:
        raise ValueError(f"{path} has no array {label!r}, only {', '.join(arrays)}")
    names = [label] if label else [name for name in _LABELS if name in arrays]
    y = arrays.pop(names[0]) if names else None
    if "X" not in arrays and len(arrays) != 1:
        raise ValueError(f"{path} must hold an array X, and has {', '.join(arrays) or 'none'}")
    return _selected(arrays.get("X", next(iter(arrays.values()))), columns, path), y, ()


def _csv(path: Path, label, columns):
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} could not be read as text: {error}") from None
    if not rows:
        raise ValueError(f"{path} is empty")
    _check_separator(rows, path)
    header = _header(rows[0], path)
    body = rows[1:] if header else rows
    for number, row in enumerate(body, 2 if header else 1):
        if len(row) != len(rows[0]):
            raise ValueError(
                f"{path}, row {number}: {len(row)} cells where the first row has {len(rows[0])}"
            )
    cells = np.array(body, dtype=object).reshape(len(body), -1)
    return _split(cells, header, label, columns, path)


def _check_separator(rows: list[list[str]], path: Path) -> None:
    """Refuse a table of other separators: its numbers would be text, and decimal commas columns."""
    for mark, name in _SEPARATORS.items():
        counts = {",".join(row).count(mark) for row in rows}
        parts = [part for cell in rows[-1] if mark in cell for part in cell.split(mark)]
        numbers = any(part.strip() and _is_number(part) for part in parts)
        if len(counts) == 1 and numbers:
            raise ValueError(
                f"{path}: its cells seem to be separated by {name}: write it with commas between "
                "cells and points in decimals"
            )


def _header(row: list[str], path: Path) -> tuple[str, ...]:
    """The names of the columns if a first row has them, else none."""
    cells = tuple(cell.strip() for cell in row)
    numbers = tuple(map(str, range(len(cells))))
    if cells == ("", *numbers[:-1]):
        return cells
    if not all(map(_is_number, cells)):
        counted = all(c == n for c, n in zip(cells, numbers, strict=True) if _is_number(c))
        if not counted and any(cell and _is_number(cell) for cell in cells):
            warnings.warn(
                f"{path}: its first row, {','.join(cells)}, is read as the names of the columns "
                "and not as a point, since it has text; if it is a point, put a row of names above",
                stacklevel=2,
            )
        return cells
    if cells == numbers and len(cells) > 1:
        warnings.warn(
            f"{path}: its first row, {','.join(cells)}, is read as a point; if it has the numbers "
            "of the columns, leave it out",
            stacklevel=2,
        )
    return ()


def _parquet(path: Path, label, columns):
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError(
            f"{path}: reading .parquet needs the package pyarrow, which is not installed"
        )
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except Exception as error:
        raise ValueError(f"{path} could not be read as a .parquet file: {error}") from None
    parts = [table.column(i).to_numpy(zero_copy_only=False) for i in range(table.num_columns)]
    return _parted(parts, table.column_names, label, columns, path)


def _parted(parts: list, names: list[str], label, columns, path: Path):
    """A table of columns: times stay times, which among other objects would be nanoseconds."""
    parts = [part.astype(str) if part.dtype.kind in "mM" else part for part in parts]
    cells = np.array(parts, dtype=object).reshape(len(parts), -1).T
    header = tuple("" if name.startswith("__index_level_") else name for name in names)
    return _split(cells, header, label, columns, path)


def _split(cells: np.ndarray, header: tuple[str, ...], label, columns: str | None, path: Path):
    """Numbers and classes of a table of cells."""
    if label is not None and label not in header:
        raise ValueError(f"{path} has no column {label!r}, only {', '.join(header) or 'numbers'}")
    name = label or next((h for h in header if h.lower() in _LABELS[1:]), None)
    place = None if name is None else header.index(name)
    if columns is None:
        chosen = [i for i in range(cells.shape[1]) if i != place]
        unnamed = [i for i in chosen if header and not header[i]]
        if unnamed:
            raise ValueError(
                f"{path}: column {unnamed[0]} (from 0) has no name, as the row numbers that pandas "
                "and R write have none: choose columns with --columns, or name it"
            )
    else:
        chosen = _chosen(columns, header, cells.shape[1], path)
        if place in chosen and label is not None:
            raise ValueError(f"--columns must leave out {label!r}, the column of classes")
        place = None if place in chosen else place
    y = None if place is None else cells[:, place]
    first = 2 if header else 1
    X = np.empty((len(cells), len(chosen)))
    for j, k in enumerate(chosen):
        for i, cell in enumerate(cells[:, k]):
            X[i, j] = _number(cell, i + first, header[k] if header else k, path)
    return X, y, tuple(header[k] for k in chosen) if header else ()


def _is_number(cell) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return str(cell).strip() in _MISSING
    return True


def _number(cell, row, column, path) -> float:
    if cell is None or (isinstance(cell, str) and cell.strip() in _MISSING):
        return np.nan
    try:
        return float(cell)
    except (TypeError, ValueError):
        raise ValueError(
            f"{path}, row {row}, column {column}: {cell!r} is not a number; choose columns with "
            "--columns, or name the column of classes with --label"
        ) from None


def _selected(X: np.ndarray, columns: str | None, path: Path) -> np.ndarray:
    if columns is None:
        return X
    if np.ndim(X) != 2:
        raise ValueError(f"{path} has shape {np.shape(X)}: --columns is for tables")
    return X[:, _chosen(columns, (), X.shape[1], path)]


def _chosen(columns: str, names: tuple[str, ...], count: int, path: Path) -> list[int]:
    """Places in the file of columns given by name or number."""
    chosen = []
    for part in map(str.strip, columns.split(",")):
        if names.count(part) > 1:
            raise ValueError(f"{path} has {names.count(part)} columns {part!r}: give numbers")
        if part in names:
            chosen.append(names.index(part))
        elif part.isdecimal() and int(part) < count:
            chosen.append(int(part))
        else:
            known = ", ".join(names) if names else f"numbers from 0 to {count - 1}"
            raise ValueError(f"{path} has no column {part!r}: there are {known}")
    return chosen


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
    if y.dtype.kind not in "iub":
        none = int(np.isin(y.astype(str), [*_MISSING, "nan"]).sum())
        if none:
            warnings.warn(
                f"{path}: {none} of {count} rows have no class, and count as a class of their own",
                stacklevel=3,
            )
    return (
        np.unique(y.astype(str) if y.dtype == object else y, return_inverse=True)[1]
        if (y.dtype.kind not in "iu")
        else y
    )
