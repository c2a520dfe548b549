"""Data to try things on: scikit-learn's digits, public data from a folder, synthetic curves."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from landform._core import display, numpy_files as _numpy_files
from landform._core.checks import as_count, as_numpy

ENVIRONMENT = "LANDFORM_DATA"
_FILES = {
    "mnist": ("mnist.npz", "handwritten digits, 28 × 28"),
    "fashion": ("fashion900.npz", "pictures of clothes, 28 × 28"),
    "mocap": ("mocap35_walkrun.npz", "joint angles of walking and running"),
    "mocap-frames": ("mocap35_frames.npz", "stick figures of walking and running, 64 × 64"),
    "sleep": ("sleepedf.npz", "band powers of the EEG in sleep"),
    "hematopoiesis": ("sc_hematopoiesis2d.npz", "single cells in two coordinates"),
    "emt": ("sc_emt3d.npz", "single cells in three coordinates"),
    "protease": ("s1a_protease.npz", "aligned protein sequences"),
}
_IMAGES = ("mnist", "fashion", "mocap-frames")


class Dataset(NamedTuple):
    """Data with their labels.

    Attributes
    ----------
    X
        Data, one row (or image) for each point.
    y
        Integer labels, shape ``(n,)``; zeros if the source has none.
    name
        Name of the data set.
    extras
        Everything else in the file, by name.
    """

    X: np.ndarray
    y: np.ndarray
    name: str
    extras: dict[str, np.ndarray]

    __repr__ = display.line


def names() -> tuple[str, ...]:
    """Names that `load` knows.

    Examples
    --------
    >>> import landform as lf
    >>> lf.datasets.names()[0]
    'digits'
    """
    return ("digits", *_FILES)


def find_name(name: str) -> str | None:
    """The name of a data set, from its name or its file's name without the suffix.

    Parameters
    ----------
    name
        As ``"fashion"``, or ``"fashion900"`` after the file ``fashion900.npz``.

    Returns
    -------
    One of `names`, or None.

    Examples
    --------
    >>> import landform as lf
    >>> lf.datasets.find_name("fashion900"), lf.datasets.find_name("clothes")
    ('fashion', None)
    """
    stems = {Path(file).stem: known for known, (file, _) in _FILES.items()}
    return name if name in names() else stems.get(name)


def data_folder() -> Path | None:
    """The folder that the environment variable ``LANDFORM_DATA`` names, or None.

    Raises
    ------
    ValueError
        If the variable is set and there is no such folder.
    """
    if not (value := os.environ.get(ENVIRONMENT)):
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{ENVIRONMENT} must name a folder, but {value!r} is not one")
    return folder


def load(
    name: str = "digits",
    *,
    classes: Sequence[int] | None = None,
    per_class: int | None = None,
    seed: int | None = 0,
) -> Dataset:
    """A data set by name, in random order.

    Parameters
    ----------
    name
        ``"digits"`` needs nothing but scikit-learn: 1797 real handwritten digits of 8 × 8 pixels.
        The others are files in the folder that ``LANDFORM_DATA`` names; ``"mnist"`` is downloaded
        from OpenML if it is not there. The name of a file without its suffix, such as
        ``"fashion900"``, is accepted too; the result has the name in `names`.
    classes
        Labels to keep; all of them when None.
    per_class
        Most points of each class, the first ones in the random order.
    seed
        Seed of the order; None keeps the order of the source, which may be sorted by class.

    Returns
    -------
    Dataset
        Images as floats in [0, 1] of shape ``(n, height, width)``; other data as in their source.

    Raises
    ------
    ValueError
        If `name` or a class is unknown, or the file is unreadable or lacks its arrays.
    FileNotFoundError
        If the data are not in the folder and cannot be downloaded.

    Examples
    --------
    >>> import landform as lf
    >>> digits = lf.datasets.load("digits", classes=(0, 1), per_class=100)
    >>> digits.X.shape, float(digits.X.max()), sorted(set(digits.y.tolist()))
    ((200, 8, 8), 1.0, [0, 1])
    """
    known = find_name(name)
    if known is None:
        raise ValueError(f"name must be one of {', '.join(names())}, got {name!r}")
    name = known
    X, y, extras = _digits() if name == "digits" else _from_file(name)
    rows = choose_rows(y, classes=classes, per_class=per_class, seed=seed)
    extras = {k: v[rows] if len(v) == len(X) else v for k, v in extras.items()}
    return Dataset(X[rows], y[rows], name, extras)


def choose_rows(
    y: np.ndarray,
    *,
    classes: Sequence[int] | None = None,
    per_class: int | None = None,
    seed: int | None = 0,
) -> np.ndarray:
    """Rows of chosen classes in random order, as `load` takes them.

    Parameters
    ----------
    y
        The class of each row, shape ``(n,)``.
    classes, per_class, seed
        As in `load`.

    Returns
    -------
    numpy.ndarray
        Row numbers, at most `per_class` of each class.

    Raises
    ------
    ValueError
        If a class is not in `y`, or `per_class` is not a positive integer.

    Examples
    --------
    >>> import landform as lf
    >>> lf.datasets.choose_rows([4, 7, 7, 4, 9], classes=(7, 9), per_class=1, seed=None)
    array([1, 4])
    """
    y = as_numpy(y)
    order = np.arange(len(y)) if seed is None else np.random.default_rng(seed).permutation(len(y))
    return order[_is_wanted(y[order], classes, per_class)]


def _is_wanted(y: np.ndarray, classes, per_class) -> np.ndarray:
    """A mask of the labels to keep: the first ones of each of the classes."""
    keep = np.ones(len(y), bool)
    if classes is not None:
        wanted, known = np.unique(np.asarray(classes)), np.unique(y)
        unknown = np.setdiff1d(wanted, known)
        if unknown.size or not wanted.size:
            raise ValueError(
                f"classes must be among {', '.join(map(str, known))}, got {list(classes)}"
            )
        keep = np.isin(y, wanted)
    if per_class is not None:
        per_class = as_count("per_class", per_class)
        for label in np.unique(y):
            keep[np.flatnonzero(y == label)[per_class:]] = False
    return keep


def _digits():
    from sklearn.datasets import load_digits

    source = load_digits()
    return source.images / 16.0, source.target.astype(int), {}


def _from_file(name: str):
    folder = data_folder()
    path = None if folder is None else folder / _FILES[name][0]
    if path is None or not path.is_file():
        if name == "mnist":
            return _openml_mnist()
        where = f"set {ENVIRONMENT} to the folder that holds it" if folder is None else str(folder)
        raise FileNotFoundError(f"{_FILES[name][0]} ({_FILES[name][1]}) was not found: {where}")
    arrays = read_npz(path)
    if "X" not in arrays:
        raise ValueError(f"{path} must hold an array X, but holds {', '.join(arrays) or 'none'}")
    X = arrays.pop("X")
    y = arrays.pop("y") if "y" in arrays else arrays.pop("t", np.zeros(len(X)))
    return (_greys(X) if name in _IMAGES else _plain(X)), y.astype(int), arrays


def _greys(X: np.ndarray) -> np.ndarray:
    """Images as floats in [0, 1]; float images are scaled only if they exceed 1."""
    if X.dtype.kind == "f" and X.max(initial=0.0) <= 1.0:
        return X.astype(np.float64)
    return X / 255.0


def _plain(X: np.ndarray) -> np.ndarray:
    """Floats in double precision; integers as `int`."""
    return X.astype(np.float64) if X.dtype.kind == "f" else X.astype(int)


def read_npz(path) -> dict[str, np.ndarray]:
    """All arrays of an .npz file, without pickle.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    A dictionary from names to arrays.

    Raises
    ------
    ValueError
        If the file is not an archive of NumPy arrays, holds pickled objects, or would expand to
        more than 64 MiB and more than 100 times its size.
    """
    try:
        return _numpy_files.read_npz(path)
    except Exception as error:  # a damaged file can raise anything
        raise ValueError(f"{path} could not be read as an .npz file of arrays: {error}") from None


def _openml_mnist():
    from sklearn.datasets import fetch_openml

    try:
        source = fetch_openml("mnist_784", version=1, as_frame=False, parser="liac-arff")
    except Exception as error:
        raise FileNotFoundError(
            f"mnist.npz was not found, and OpenML could not be reached ({error}): "
            f"set {ENVIRONMENT} to the folder that holds it"
        ) from None
    images = np.asarray(source.data, dtype=np.float64).reshape(-1, 28, 28) / 255.0
    return images, np.asarray(source.target).astype(int), {}


def _noise(value) -> float:
    if not np.isfinite(value) or value < 0:
        raise ValueError(f"noise must be at least 0 and finite, got {value!r}")
    return float(value)


def two_moons(n: int = 200, *, noise: float = 0.1, seed: int = 0) -> Dataset:
    """Two interleaved half circles in the plane; scikit-learn's `make_moons`.

    Parameters
    ----------
    n
        Number of points, split evenly.
    noise
        Standard deviation of the normal noise.
    seed
        Seed of the noise and of the order.

    Returns
    -------
    Dataset
        X of shape ``(n, 2)``, y the moon.

    Raises
    ------
    ValueError
        If `n` is less than 2 or `noise` negative.

    Examples
    --------
    >>> import landform as lf
    >>> lf.datasets.two_moons(10, noise=0.0).X.shape
    (10, 2)
    """
    from sklearn.datasets import make_moons

    X, y = make_moons(as_count("n", n, 2), noise=_noise(noise), random_state=seed)
    return Dataset(X, y, "two-moons", {})


def half_ellipse(
    n: int = 200,
    *,
    components: int = 20,
    width: float = 2.0,
    height: float = 1.0,
    noise: float = 0.1,
    seed: int = 0,
) -> Dataset:
    """A mixture of round Gaussians whose means lie on the upper half of an ellipse.

    Parameters
    ----------
    n
        Number of points.
    components
        Number of Gaussians, evenly spaced in the angle.
    width, height
        Half axes of the ellipse.
    noise
        Standard deviation of each Gaussian.
    seed
        Seed of the draws.

    Returns
    -------
    Dataset
        X of shape ``(n, 2)``, y the component; ``extras["angle"]`` its angle.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    The synthetic experiment of Arvanitidis, Hansen and Hauberg 2016 (arXiv:1606.02518), §5.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> X = lf.datasets.half_ellipse(50, noise=0.0).X
    >>> bool(np.allclose((X[:, 0] / 2) ** 2 + X[:, 1] ** 2, 1.0))
    True
    """
    if not (width > 0 and height > 0):
        raise ValueError(f"width and height must be positive, got {width!r} and {height!r}")
    n, components = as_count("n", n), as_count("components", components, 2)
    rng = np.random.default_rng(seed)
    y = rng.integers(components, size=n)
    angle = np.pi * y / (components - 1)
    X = np.stack([width * np.cos(angle), height * np.sin(angle)], axis=1)
    X = X + _noise(noise) * rng.standard_normal(X.shape)
    return Dataset(X, y, "half-ellipse", {"angle": angle})


def noisy_circle(n: int = 200, *, dim: int = 1000, noise: float = 0.1, seed: int = 0) -> Dataset:
    """A circle in the plane, mapped by a random isometry into many dimensions, with noise.

    Parameters
    ----------
    n
        Number of points, at random angles.
    dim
        Ambient dimension, at least 2.
    noise
        Standard deviation of the normal noise on each coordinate.
    seed
        Seed of the angles, of the isometry and of the noise.

    Returns
    -------
    Dataset
        X of shape ``(n, dim)``, y zero. ``extras``: ``angle`` ``(n,)``, ``plane`` ``(n, 2)`` the
        points of the unit circle, ``basis`` ``(2, dim)`` with orthonormal rows. The true geodesic
        distance of two points is the difference of their angles around the circle.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    The experiment of Hauberg 2018 (arXiv:1806.04994): n = 200, D = 1000.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> circle = lf.datasets.noisy_circle(20, dim=30, noise=0.0)
    >>> bool(np.allclose(np.linalg.norm(circle.X, axis=1), 1.0))
    True
    """
    n, dim = as_count("n", n), as_count("dim", dim, 2)
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0.0, 2.0 * np.pi, n)
    plane = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    basis = np.linalg.qr(rng.standard_normal((dim, 2)))[0].T
    X = plane @ basis + _noise(noise) * rng.standard_normal((n, dim))
    extras = {"angle": angle, "plane": plane, "basis": basis}
    return Dataset(X, np.zeros(n, int), "noisy-circle", extras)
