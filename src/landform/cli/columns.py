"""Columns of .csv and .parquet files: coordinates, classes, identifiers."""

import csv
import decimal
import importlib.util
import json
import re
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from landform._core.numpy_files import check_content_size

LABELS = ("y", "label", "labels", "class", "target")
MISSING = ("", "NA", "N/A", "null", "None")  # cells without a value, as R, Excel and Python write
_SEPARATORS = {";": "semicolons", "\t": "tabs"}
# float() would also take 1_01 and digits of other scripts; 007 is a name made of digits.
_NUMBER = re.compile(
    r"[+-]?(?!0\d+$)([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|infinity|nan)", re.I
)
_WELL = re.compile(
    r"[0-9]+[eE][0-9]+"
)  # 1E05 is a well in row E of a plate: no program writes a number like that
# What pandas and R's readr call a column without a name.
_NAMELESS = re.compile(r"(Unnamed: \d+(\.\d+)*|\.\.\.\d+|__index_level_\d+__)?")
_ROW_NAMES = re.compile(
    r"(.*[_ .])?id|index|idx|key|rows?|row[_ .]?(names?|nr|num|numbers?)|level_\d+|nr|no|#", re.I
)
_BATCH = 4096  # rows of a .parquet file that are read at a time
_FEW_ROWS = 5  # with fewer, whole numbers that follow each other may be a coordinate


class Columns(NamedTuple):
    """A table as it is in a file."""

    path: Path
    names: tuple[str, ...]
    """Names of the columns; empty if the first row holds numbers."""
    cells: list[np.ndarray]
    """One array a column; of rank two where each cell is a list."""
    index: tuple[int, ...] = ()
    """Columns that the file itself calls its index."""
    first: int = 1
    """Number of the first row of cells, as an editor counts."""
    typed: bool = False
    """Whether the file declares which columns are text, even if they hold digits."""

    def name(self, k: int):
        return self.names[k] if self.names else k


def read_csv(path: Path) -> Columns:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} could not be read as text: {error}") from None
    if not rows:
        raise ValueError(f"{path} is empty")
    rows, names, first = _without_comments(rows)
    if not names:
        _check_separator(rows, path)
        names = _header(rows[0], path)
        rows, first = (rows[1:], first + 1) if names else (rows, first)
    width = len(names or rows[0])
    for number, row in enumerate(rows, first):
        if len(row) != width:
            raise ValueError(
                f"{path}, row {number}: {len(row)} cells where the first row has {width}"
            )
    cells = np.array(rows, dtype=object).reshape(len(rows), width)
    return Columns(path, names, list(cells.T), first=first)


def _without_comments(rows: list[list[str]]) -> tuple[list[list[str]], tuple[str, ...], int]:
    """Rows after the first ones with #, and the names in the last of these, as NumPy writes."""
    count = next((i for i, row in enumerate(rows) if not row[0].lstrip().startswith("#")), None)
    count = len(rows) if count is None else count
    if not count:
        return rows, (), 1
    last = [rows[count - 1][0].lstrip().lstrip("#"), *rows[count - 1][1:]]
    names = tuple(cell.strip() for cell in last)
    rest = rows[count:]
    if rest and len(rest[0]) != len(names):
        names = ()
    return rest, names, count + 1


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
    """The names of the columns, if the first row holds names."""
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


def read_parquet(path: Path) -> Columns:
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError(
            f"{path}: reading .parquet needs the package pyarrow, which is not installed: "
            "pip install 'landform[parquet]'"
        )
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            asked, batches = 0, []
            for batch in file.iter_batches(
                batch_size=_BATCH
            ):  # a damaged header may give wrong sizes
                asked += batch.nbytes
                check_content_size(asked, path, "write it without compression and dictionaries")
                batches.append(batch)
            table = pyarrow.Table.from_batches(batches, file.schema_arrow)
        names = table.column_names
        cells = [_cells(column, name) for column, name in zip(table.columns, names, strict=True)]
    except Exception as error:
        raise ValueError(f"{path} could not be read as a .parquet file: {error}") from None
    return Columns(path, tuple(names), cells, _index(table.schema), typed=True)


def _index(schema) -> tuple[int, ...]:
    """The places of the columns that pandas calls the index."""
    try:
        named = json.loads(schema.metadata[b"pandas"])["index_columns"]
    except (TypeError, KeyError, ValueError):  # no metadata, or other
        return ()
    return tuple(k for k, name in enumerate(schema.names) if name in named)


def _cells(column, name: str) -> np.ndarray:
    """A column as an array: one of lists as a matrix, times as text."""
    import pyarrow as pa
    import pyarrow.compute

    if isinstance(column, pa.ChunkedArray):
        chunks = column.chunks or [pa.array([], column.type)]
        column = pa.concat_arrays(chunks)
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        sizes = set(pa.compute.list_value_length(column).to_pylist())
        if len(sizes) != 1 or sizes & {None, 0}:
            raise ValueError(
                f"column {name!r} has lists of different lengths, or none, in its rows, and only "
                "lists of one length are coordinates: leave such rows out"
            )
        return _cells(column.flatten(), name).reshape(len(column), -1)
    cells = column.to_numpy(zero_copy_only=False)
    return cells.astype(str) if cells.dtype.kind in "mM" else cells


def split(table: Columns, label: str | None, columns: str | None):
    """Coordinates, classes and names of the columns of a table."""
    path, names = table.path, table.names
    if label is not None and label not in names:
        raise ValueError(f"{path} has no column {label!r}, only {', '.join(names) or 'numbers'}")
    name = label or next((h for h in names if h.lower() in LABELS[1:]), None)
    place = None if name is None else names.index(name)
    if not len(table.cells[0] if table.cells else ()):
        raise ValueError(f"{path} has no rows, only the names {', '.join(names)}")
    if columns is None:
        chosen = _without_index(table, [k for k in range(len(table.cells)) if k != place])
    else:
        chosen = choose(columns, names, len(table.cells), path)
        if place in chosen and label is not None:
            raise ValueError(f"--columns must leave out {label!r}, the column of classes")
        place = None if place in chosen else place
    y = None if place is None else table.cells[place]
    parts = [numbers(table, k) for k in chosen]
    if columns is None:
        for k, part in zip(chosen, parts, strict=True):
            _check_row_numbers(table, k, part, alone=len(chosen) == 1)
    X = (
        np.concatenate([p.reshape(len(p), -1) for p in parts], axis=1)
        if parts
        else np.empty((0, 0))
    )
    kept = []
    for k, part in zip(chosen, parts, strict=True) if names else ():
        kept += [names[k]] if part.ndim == 1 else [f"{names[k]}_{i}" for i in range(part.shape[1])]
    return X, y, tuple(kept)


def _without_index(table: Columns, places: list[int]) -> list[int]:
    """Places of the columns other than the index; refuse a column without a name."""
    index = [k for k in places if k in table.index]
    if index:
        warnings.warn(
            f"{table.path}: {', '.join(map(repr, (table.names[k] for k in index)))}, the index of "
            "the table, is left out; choose it with --columns if it is a coordinate",
            stacklevel=4,
        )
    places = [k for k in places if k not in index]
    for k in places if table.names else ():
        if _NAMELESS.fullmatch(table.names[k]):
            called = f", only {table.names[k]!r}," if table.names[k] else ","
            raise ValueError(
                f"{table.path}: column {k} (from 0) has no name{called} as the row numbers that "
                "pandas and R write have none: choose columns with --columns, or name it"
            )
    return places


def _check_row_numbers(table: Columns, k: int, cells: np.ndarray, alone: bool) -> None:
    """Refuse identifiers: different whole numbers so named, or counting the rows."""
    if alone or cells.ndim > 1 or len(cells) < 2 or not np.isfinite(cells).all():
        return
    counts = (
        k == 0 and len(cells) >= _FEW_ROWS and cells[0] in (0, 1) and np.all(np.diff(cells) == 1)
    )
    named = bool(table.names) and _ROW_NAMES.fullmatch(table.names[k]) is not None
    different = named and np.all(cells == np.round(cells)) and np.unique(cells).size == cells.size
    if counts or different:
        raise ValueError(
            f"{table.path}: column {table.name(k)!r} seems to hold the numbers or identifiers of "
            "the rows: choose columns with --columns, this one among them if it is a coordinate"
        )


def numbers(table: Columns, k: int) -> np.ndarray:
    """The numbers of a column; an error names the first cell that is not a number."""
    cells = table.cells[k]
    if cells.dtype.kind in "iufb":
        return cells.astype(np.float64)
    flat = cells.ravel()
    width = cells[0].size if cells.ndim > 1 else 1
    out = np.empty(flat.size)
    for i, cell in enumerate(flat):
        number = None if table.typed and isinstance(cell, str) else as_number(cell)
        if number is None:
            kind = "text, and not a number" if table.typed else "not a number"
            raise ValueError(
                f"{table.path}, row {i // width + table.first}, column {table.name(k)}: "
                f"{str(cell)!r} is {kind}; choose columns with --columns, or name the column of "
                "classes with --label"
            )
        out[i] = number
    texts = [cell for cell in flat if isinstance(cell, str)]
    if len(texts) > 1 and all(_WELL.fullmatch(cell.strip()) for cell in texts):
        raise ValueError(
            f"{table.path}, column {table.name(k)}: {texts[0]!r} and all others are digits, E and "
            "digits, as the wells of a plate are: choose columns with --columns, or write numbers "
            "as 1e+05"
        )
    return out.reshape(cells.shape)


def as_number(cell) -> float | None:
    """A cell as a number, NaN where it is missing; None for text and identifiers."""
    if isinstance(cell, str):
        text = cell.strip()
        if text in MISSING:
            return np.nan
        return float(text) if _NUMBER.fullmatch(text) else None
    if cell is None:
        return np.nan
    known = int | float | np.number | np.bool_ | decimal.Decimal
    return float(cell) if isinstance(cell, known) and not np.iscomplexobj(cell) else None


def _is_number(cell) -> bool:
    return as_number(cell) is not None


def choose(columns: str, names: tuple[str, ...], count: int, path: Path) -> list[int]:
    """Places in the file of columns given by name or number."""
    chosen = []
    for part in map(str.strip, columns.split(",")):
        if names.count(part) > 1:
            raise ValueError(f"{path} has {names.count(part)} columns {part!r}: give numbers")
        if part in names:
            chosen.append(names.index(part))
        elif re.fullmatch("[0-9]{1,9}", part) and int(part) < count:
            chosen.append(int(part))
        else:
            known = ", ".join(names) if names else f"numbers from 0 to {count - 1}"
            raise ValueError(f"{path} has no column {part!r}: there are {known}")
    return chosen
