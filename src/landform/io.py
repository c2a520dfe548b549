"""Files: one safetensors file for a metric, a distribution, a generator or a curve; no pickle."""

import json
import sys
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import safetensors
from safetensors.numpy import save as to_bytes

from landform._core.archive import Reader, UnknownClass, Writer, is_named_tuple, own_classes
from landform._core.files import write_whole

FORMAT = 1
"""Version of the layout; a reader refuses files with a larger one."""

_HEADER = "landform"
_registered: dict[str, type] = {}


def register_class(cls: type) -> type:
    """Let `save` and `load` know a class of your own: an Equinox module or a named tuple.

    A file names classes. Only classes of landform and classes registered in the running program
    are created, so that a file cannot run code.

    Parameters
    ----------
    cls
        The class; usable as a decorator. Its fields are stored, its `__init__` is not run on
        loading.

    Returns
    -------
    The class.

    Raises
    ------
    TypeError
        If `cls` is neither an Equinox module nor a named tuple.
    ValueError
        If another class of that name is known.

    Examples
    --------
    >>> import jax.numpy as jnp, landform as lf
    >>> @lf.register_class
    ... class Polar(lf.AbstractMetric):
    ...     def __call__(self, x):
    ...         return jnp.diag(jnp.array([1.0, x[0] ** 2]))
    >>> Polar.__name__
    'Polar'
    """
    if not (isinstance(cls, type) and (issubclass(cls, eqx.Module) or is_named_tuple(cls))):
        raise TypeError(f"cls must be an Equinox module or a named tuple class, got {cls!r}")
    known = _classes().get(cls.__name__, cls)
    if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"cls must have a name of its own: {cls.__name__} is {known.__module__}'s")
    _registered[cls.__name__] = cls
    return cls


def save(path, obj: Any, *, metadata: dict[str, Any] | None = None) -> None:
    """Write a metric, distribution, generator, curve, or any pytree of such, to one file.

    Parameters
    ----------
    path
        File to write, usually ``*.landform``. An old file is replaced only after all is written.
    obj
        A landform object, an estimator of `landform.sklearn`, fitted or not, an instance of a class
        registered with `register_class`, or lists, tuples and dictionaries of these, arrays,
        numbers and strings.
    metadata
        Anything that JSON can hold; `describe_file` returns it.

    Raises
    ------
    TypeError
        If `obj` contains something that cannot be saved, such as a Python function. The message
        says where it is.

    Notes
    -----
    The file is in the safetensors format: a JSON header that describes the tree by class and field
    names, then the arrays, bit for bit. Arrays that are shared in `obj` are written once.

    Examples
    --------
    >>> import os, tempfile, landform as lf
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "plane.landform")
    ...     lf.save(path, 4.0 * lf.PoincareHalfPlane())
    ...     float(lf.volume(lf.load(path), [0.0, 1.0]))
    4.0
    """
    writer = Writer(_classes())
    tree = writer.encode(obj, "obj")
    version = sys.modules["landform"].__version__
    header = {"format": FORMAT, "landform": version, "metadata": metadata or {}, "tree": tree}
    try:
        text = json.dumps(header, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"metadata must hold what JSON can hold: {error}") from None
    write_whole(Path(path), to_bytes(writer.tensors, metadata={_HEADER: text}))


def load(path) -> Any:
    """Read a file that `save` wrote.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    The object, with arrays of the precision they were saved in, whatever JAX's 64-bit flag.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read, is not a landform file, is damaged, comes from a newer version,
        needs an unknown class, or would take more than 64 MiB and more than 100 times its size.

    Examples
    --------
    >>> import os, tempfile, landform as lf
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "plane.landform")
    ...     lf.save(path, lf.PoincareHalfPlane())
    ...     type(lf.load(path)).__name__
    'PoincareHalfPlane'
    """
    header, tensors = _read(path, arrays=True)
    try:
        with jax.enable_x64(True):
            return Reader(tensors, _classes(), Path(path).expanduser()).decode(header["tree"])
    except UnknownClass as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from None
    except Exception as error:  # a damaged header can raise anything
        raise ValueError(f"{path} is damaged: {type(error).__name__}: {error}") from None


def describe_file(path) -> dict[str, Any]:
    """Describe a file without reading its arrays.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    A dictionary: ``class``, ``format``, ``landform`` (the version that wrote it), ``metadata``,
    ``arrays`` (name to dtype and shape) and ``bytes``.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load`.

    Examples
    --------
    >>> import os, tempfile, landform as lf
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "plane.landform")
    ...     lf.save(path, lf.PoincareHalfPlane(), metadata={"note": "oracle"})
    ...     facts = lf.describe_file(path)
    >>> facts["class"], facts["metadata"]["note"]
    ('PoincareHalfPlane', 'oracle')
    """
    header, arrays = _read(path, arrays=False)
    tree = header["tree"]
    name = (
        tree.get("class", tree.get("estimator", next(iter(tree), "")))
        if isinstance(tree, dict)
        else type(tree).__name__
    )
    return {
        "class": name,
        "format": header["format"],
        "landform": header.get("landform", "unknown"),
        "metadata": header["metadata"],
        "arrays": arrays,
        "bytes": Path(path).expanduser().stat().st_size,
    }


def _classes() -> dict[str, type]:
    return {**own_classes(), **_registered}


def _read(path, *, arrays: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The checked header, and the arrays or their dtypes and shapes."""
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_HEADER)
            header = None if text is None else json.loads(text)
            if arrays:
                content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            else:
                parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
                content = {k: (s.get_dtype(), tuple(s.get_shape())) for k, s in parts.items()}
    except (
        Exception
    ) as error:  # safetensors raises several kinds, AttributeError for an unknown dtype
        raise ValueError(f"{path} is not a landform file, or is damaged: {error}") from None
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise ValueError(f"{path} is a safetensors file, but landform did not write it")
    if header["format"] > FORMAT:
        raise ValueError(
            f"{path} was written by landform {header.get('landform', '?')} in format "
            f"{header['format']}; this version reads up to {FORMAT}: upgrade landform"
        )
    if "tree" not in header:
        raise ValueError(f"{path} is damaged: its header lacks the tree")
    if not isinstance(header.setdefault("metadata", {}), dict):
        raise ValueError(f"{path} is damaged: its metadata is not a dictionary")
    return header, content
