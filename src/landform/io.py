"""Files: one safetensors file for a metric, a distribution, a generator or a curve; no pickle."""

import enum
import json
import os
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
from safetensors.numpy import save as to_bytes

from landform._numerics import is_traced

FORMAT = 1
"""Version of the layout; a reader refuses files with a larger one."""

_HEADER = "landform"
_STORED = {"bool", "float16", "float32", "float64"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
_registered: dict[str, type] = {}


def register_class(cls: type) -> type:
    """Let `save` and `load` know a class of your own: an Equinox module or a named tuple.

    A file names classes; only those of landform and those registered in the running program are
    ever made from it, so that a file cannot run code.

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
    if not (isinstance(cls, type) and (issubclass(cls, eqx.Module) or _is_named_tuple(cls))):
        raise TypeError(f"cls must be an Equinox module or a named tuple class, got {cls!r}")
    known = {**_own_classes(), **_registered}.get(cls.__name__, cls)
    if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"cls must have a name of its own: {cls.__name__} is {known.__module__}'s")
    _registered[cls.__name__] = cls
    return cls


def save(path, obj: Any, *, metadata: dict[str, Any] | None = None) -> None:
    """Write a metric, distribution, generator, curve, or any pytree of such, to one file.

    Parameters
    ----------
    path
        File to write, by custom ``*.landform``. It is replaced only when all has been written.
    obj
        A landform object, an instance of a class made known with `register_class`, or lists, tuples
        and dictionaries of these, arrays, numbers and strings.
    metadata
        Anything that JSON can hold, kept in the header; `describe_file` returns it.

    Raises
    ------
    TypeError
        If something inside has no place in a file, such as a Python function; says where it is.

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
    writer = _Writer()
    tree = writer.encode(obj, "obj")
    version = sys.modules["landform"].__version__
    header = {"format": FORMAT, "landform": version, "metadata": metadata or {}, "tree": tree}
    try:
        text = json.dumps(header, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"metadata must hold what JSON can hold: {error}") from None
    _write_whole(Path(path), to_bytes(writer.tensors, metadata={_HEADER: text}))


def load(path) -> Any:
    """Read what `save` has written.

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
        If it cannot be read, is no landform file, is damaged, is of a newer version, or needs a
        class that is not known.

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
            return _Reader(tensors).decode(header["tree"])
    except _UnknownClass as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from None
    except Exception as error:  # whatever a damaged header leads to is one kind of failure
        raise ValueError(f"{path} is damaged: {type(error).__name__}: {error}") from None


def describe_file(path) -> dict[str, Any]:
    """What a file holds, without reading its arrays.

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
        tree.get("class", next(iter(tree), "")) if isinstance(tree, dict) else type(tree).__name__
    )
    return {
        "class": name,
        "format": header["format"],
        "landform": header.get("landform", "unknown"),
        "metadata": header.get("metadata", {}),
        "arrays": arrays,
        "bytes": Path(path).stat().st_size,
    }


class _UnknownClass(ValueError):
    pass


def _is_named_tuple(cls: type) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def _own_classes() -> dict[str, type]:
    """Every module and named tuple that landform defines, by name."""
    found, queue = {}, [eqx.Module, tuple]
    while queue:
        for cls in queue.pop().__subclasses__():
            queue.append(cls)
            home = sys.modules.get(cls.__module__)
            if cls.__module__.startswith("landform.") and vars(home).get(cls.__name__) is cls:
                found[cls.__name__] = cls
    return found


def _classes() -> dict[str, type]:
    return {**_own_classes(), **_registered}


def _fields(cls: type) -> tuple[str, ...]:
    if _is_named_tuple(cls):
        return cls._fields  # type: ignore[attr-defined]
    return tuple(cls.__dataclass_fields__)  # type: ignore[attr-defined]


class _Writer:
    """Turns an object into JSON and a table of arrays."""

    def __init__(self):
        self.tensors: dict[str, np.ndarray] = {}
        self._names: dict[
            int, tuple[str, Any]
        ] = {}  # keeps the arrays alive, so that ids are theirs
        self._known = _classes()

    def encode(self, value: Any, where: str) -> Any:
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if np.isfinite(value) else {"float": str(value)}
        if isinstance(value, jax.Array | np.ndarray | np.generic):
            return self._array(value, where)
        cls = type(value)
        if cls in (list, tuple):
            items = [self.encode(item, f"{where}[{i}]") for i, item in enumerate(value)]
            return {cls.__name__: items}
        if cls is dict:
            return {"dict": [self._item(k, v, where) for k, v in value.items()]}
        if self._known.get(cls.__name__) is cls:
            fields = {
                name: self.encode(getattr(value, name), f"{where}.{name}")
                for name in _fields(cls)
                if hasattr(value, name)
            }
            return {"class": cls.__name__, "fields": fields}
        if isinstance(value, enum.IntEnum) and cls.__module__.startswith("landform."):
            return int(value)
        return self._method(value, where)

    def _item(self, key, value, where):
        if type(key) not in (str, int, bool):
            raise TypeError(f"{where} has a key {key!r}: only strings and integers can be saved")
        return [key, self.encode(value, f"{where}[{key!r}]")]

    def _array(self, value, where):
        if is_traced(value):
            raise TypeError(f"{where} is being traced: save outside of jit, grad and vmap")
        known = self._names.get(id(value))
        if known is not None:
            return known[0]
        node: dict[str, Any] = {"array": f"t{len(self.tensors)}", "kind": _kind(value)}
        if node["kind"] == "key":
            node["impl"] = str(jax.random.key_impl(value))
            array = np.asarray(jax.random.key_data(value))
        else:
            array = np.asarray(value)
        if array.dtype.hasobject:
            raise TypeError(f"{where} is an array of Python objects, which cannot be saved")
        array = np.array(array, order="C")
        if array.dtype.name not in _STORED:
            node |= {"dtype": array.dtype.name, "shape": list(array.shape)}
            array = np.frombuffer(array.tobytes(), np.uint8)
        self.tensors[node["array"]] = array
        self._names[id(value)] = (node, value)
        return node

    def _method(self, value, where):
        """A bound method of something that can be saved; everything else ends here."""
        owner, function = getattr(value, "__self__", None), getattr(value, "__func__", None)
        name = getattr(function, "__name__", "")
        if (
            isinstance(owner, eqx.Module)
            and self._known.get(type(owner).__name__) is type(owner)
            and _public_method(type(owner), name)
        ):
            return {"method": name, "self": self.encode(owner, where)}
        if callable(value):
            label = getattr(value, "__qualname__", type(value).__name__)
            raise TypeError(
                f"{where} is {label!r}, a callable that no file can hold without running code; "
                "give its place to an Equinox module made known with lf.register_class, or to a "
                "landform generator such as lf.VAE or lf.from_torch(...)"
            )
        raise TypeError(
            f"{where} is a {type(value).__module__}.{type(value).__name__}, which cannot be saved; "
            "lf.register_class makes modules and named tuples of your own known"
        )


def _kind(value) -> str:
    if isinstance(value, np.generic):
        return "scalar"
    if isinstance(value, np.ndarray):
        return "numpy"
    return "key" if jnp.issubdtype(value.dtype, jax.dtypes.prng_key) else "jax"


def _public_method(cls: type, name: str) -> bool:
    return not name.startswith("_") and isinstance(getattr(cls, name, None), types.FunctionType)


class _Reader:
    """Turns JSON and a table of arrays into an object."""

    def __init__(self, tensors: dict[str, np.ndarray]):
        self._tensors = tensors
        self._arrays: dict[str, Any] = {}
        self._known = _classes()

    def decode(self, node: Any) -> Any:
        if node is None or isinstance(node, bool | int | float | str):
            return node
        if not isinstance(node, dict):
            raise ValueError(f"unexpected {type(node).__name__} in the description of the tree")
        if "array" in node:
            return self._array(node)
        if "class" in node:
            return self._object(node["class"], node["fields"])
        if "method" in node:
            return self._method(node)
        ((kind, content),) = node.items()
        if kind == "list":
            return [self.decode(item) for item in content]
        if kind == "tuple":
            return tuple(self.decode(item) for item in content)
        if kind == "dict":
            return {key: self.decode(item) for key, item in content}
        if kind == "float":
            return float(content)
        raise ValueError(f"unknown entry {kind!r}")

    def _array(self, node):
        name = node["array"]
        if name not in self._arrays:
            array = self._tensors[name]
            if "dtype" in node:
                array = np.frombuffer(array.tobytes(), jnp.dtype(node["dtype"]))
                array = array.reshape(node["shape"]).copy()
            if node["kind"] == "key":
                value = jax.random.wrap_key_data(jnp.asarray(array), impl=node["impl"])
            elif node["kind"] == "jax":
                value = jnp.asarray(array)
            else:
                value = array[()] if node["kind"] == "scalar" else array
            self._arrays[name] = value
        return self._arrays[name]

    def _object(self, name, fields):
        cls = self._known.get(name)
        if cls is None:
            raise _UnknownClass(
                f"it needs the class {name!r}, which this version of landform does not have; "
                "a class of your own must be made known with lf.register_class first"
            )
        unknown = sorted(set(fields) - set(_fields(cls)))
        if unknown:
            raise _UnknownClass(f"its {name} has unknown fields: {', '.join(unknown)}")
        values = {key: self.decode(value) for key, value in fields.items()}
        if _is_named_tuple(cls):
            return cls(**values)
        obj = object.__new__(cls)
        for key in _fields(cls):
            if key in values:
                object.__setattr__(obj, key, values[key])
            elif not hasattr(cls, key):
                raise ValueError(f"{name} lacks its field {key}")
        for base in reversed(cls.__mro__):
            if "__check_init__" in vars(base):
                vars(base)["__check_init__"](obj)
        return obj

    def _method(self, node):
        owner = self.decode(node["self"])
        if not (isinstance(owner, eqx.Module) and _public_method(type(owner), node["method"])):
            raise ValueError(f"{type(owner).__name__} has no method {node['method']!r}")
        return getattr(owner, node["method"])


def _write_whole(path: Path, content: bytes) -> None:
    """Write to a temporary file next to `path`, then take its place."""
    path = path.expanduser()
    if path.is_dir():
        raise ValueError(f"path must be a file, and {path} is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"path must lie in a folder that exists, and {path.parent} does not"
        )
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
    except (safetensors.SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a landform file, or is damaged: {error}") from None
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise ValueError(f"{path} is a safetensors file, but landform has not written it")
    if header["format"] > FORMAT:
        raise ValueError(
            f"{path} was written by landform {header.get('landform', '?')} in format "
            f"{header['format']}; this version reads up to {FORMAT}: upgrade landform"
        )
    if "tree" not in header:
        raise ValueError(f"{path} is damaged: its header lacks the tree")
    return header, content
