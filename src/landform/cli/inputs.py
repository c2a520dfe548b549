"""Reading and writing tables for the command line; an error is one line that names the file."""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from landform._core.files import replaced
from landform._core.numpy_files import read_npy
from landform.cli.columns import LABELS, MISSING, Columns, choose, read_csv, read_parquet, split
from landform.datasets import read_npz

READABLE = (".npy", ".npz", ".csv", ".parquet")
WRITABLE = (".npy", ".npz", ".csv")


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
        A .npy, .npz, .csv or .parquet file; compressed ones may take 64 MiB, or 100 times their
        size, and an .npy what it holds. An .npz has X, and y where there are classes, or one array
        under any name; tables may have a column label, class or target, and .parquet columns of
        lists. Identifiers and numbers of rows are refused unless chosen.
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
    path = check_readable(path)
    suffix = path.suffix.lower()
    if suffix in _TABLES:
        X, y, names = split(_TABLES[suffix](path), label, columns)
    else:
        X, y = (_npy if suffix == ".npy" else _npz)(path, label, columns)
        names = ()
    return Table(_check(X, path, least, ndim, names), _check_labels(y, len(X), path), names, path)


def check_readable(path) -> Path:
    """The path, if the file exists and its format can be read."""
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    if path.suffix.lower() not in READABLE:
        raise ValueError(f"{path} must end in one of {', '.join(READABLE)}")
    return path


def read_content(path) -> Columns | dict[str, np.ndarray]:
    """Everything in a file of data, numbers or not: columns, or arrays by name."""
    path = check_readable(path)
    suffix = path.suffix.lower()
    if suffix in _TABLES:
        return _TABLES[suffix](path)
    return read_npz(path) if suffix == ".npz" else {"": _read_npy(path)}


def write_table(path, **arrays) -> None:
    """Write the first array to .npy or .csv, or all to .npz; each whole or not at all."""
    path = check_output(path, WRITABLE)
    main = np.asarray(next(iter(arrays.values())))
    ending = path.suffix.lower()
    with replaced(path) as file:
        if ending == ".npz":
            np.savez_compressed(file, allow_pickle=False, **arrays)
        elif ending == ".npy":
            np.save(file, main, allow_pickle=False)
        else:
            flat = main.reshape(len(main), -1)
            style = "%d" if flat.dtype.kind in "iub" else "%.17g"
            np.savetxt(file, flat, delimiter=",", fmt=style)


def check_output(path, endings=WRITABLE) -> Path:
    """The path, if it can be written; for a check before the work begins."""
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
    return _selected(_read_npy(path), columns, path), None


def _read_npy(path: Path) -> np.ndarray:
    try:
        return read_npy(path)
    except Exception as error:  # a damaged header raises errors of many types
        raise ValueError(f"{path} could not be read as a .npy file of numbers: {error}") from None


def _npz(path: Path, label, columns):
    arrays = read_npz(path)
    if not arrays:
        raise ValueError(f"{path} holds no array")
    if label is not None and label not in arrays:
        raise ValueError(f"{path} has no array {label!r}, only {', '.join(arrays)}")
    names = [label] if label else [name for name in LABELS if name in arrays]
    y = arrays.pop(names[0]) if names else None
    if "X" not in arrays and len(arrays) != 1:
        raise ValueError(f"{path} must hold an array X, and has {', '.join(arrays) or 'none'}")
    return _selected(arrays.get("X", next(iter(arrays.values()))), columns, path), y


def _selected(X: np.ndarray, columns: str | None, path: Path) -> np.ndarray:
    if columns is None:
        return X
    if np.ndim(X) != 2:
        raise ValueError(f"{path} has shape {np.shape(X)}: --columns is for tables")
    return X[:, choose(columns, (), X.shape[1], path)]


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
    single = X.dtype.kind == "f" and X.dtype.itemsize == 4
    X = X.astype(np.float32 if single else np.float64, copy=False)  # in this machine's byte order
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
    if y.dtype.kind not in "iufbUSO":
        raise ValueError(f"{path}: the classes must be numbers or text, and are {y.dtype}")
    if y.shape != (count,):
        raise ValueError(f"{path}: the classes must have shape ({count},), and have {y.shape}")
    if y.dtype.kind not in "iub":
        none = int(np.isin(y.astype(str), [*MISSING, "nan"]).sum())
        if none:
            warnings.warn(
                f"{path}: {none} of {count} rows have no class, and count as a class of their own",
                stacklevel=3,
            )
    if y.dtype.kind in "iu":
        return y.astype(y.dtype.newbyteorder("="), copy=False)
    return np.unique(y.astype(str) if y.dtype == object else y, return_inverse=True)[1]


_TABLES = {".csv": read_csv, ".parquet": read_parquet}
