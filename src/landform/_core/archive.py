"""Trees of objects as JSON and a table of arrays, and back; only known classes are created."""

import enum
import importlib
import sys
import types
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core.arrays import is_traced, to_jax
from landform._core.module import AbstractModule
from landform._core.numpy_files import check_content_size

_STORED = {"bool", "float16", "float32", "float64"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}


estimators: dict[str, type] = {}
"""Estimators by name: saved with all attributes, created without running `__init__`."""


class UnknownClass(ValueError):
    """A file needs a class, or a field of one, that is not known."""


def is_named_tuple(cls: type) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def own_classes() -> dict[str, type]:
    """Every module and named tuple that landform defines, by name."""
    found, queue = {}, [eqx.Module, tuple]
    while queue:
        for cls in queue.pop().__subclasses__():
            queue.append(cls)
            home = sys.modules.get(cls.__module__)
            ours = cls.__module__.startswith("landform.") and cls is not AbstractModule
            if ours and vars(home).get(cls.__name__) is cls:
                found[cls.__name__] = cls
    return found


def _fields(cls: type) -> tuple[str, ...]:
    if is_named_tuple(cls):
        return cls._fields  # type: ignore[attr-defined]
    return tuple(cls.__dataclass_fields__)  # type: ignore[attr-defined]


class Writer:
    """Turns an object into JSON and a table of arrays."""

    def __init__(self, known: dict[str, type]):
        self.tensors: dict[str, np.ndarray] = {}
        # Hold the arrays, so that no other object gets their ids.
        self._names: dict[int, tuple[dict[str, Any], Any]] = {}
        self._known = known

    def encode(self, value: Any, where: str) -> Any:
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if np.isfinite(value) else {"float": str(value)}
        if isinstance(value, np.str_):
            return str(value)
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
        if estimators.get(cls.__name__) is cls:
            state = {name: self.encode(v, f"{where}.{name}") for name, v in vars(value).items()}
            module = cls.__module__.rpartition(".")[0]
            return {"estimator": cls.__name__, "module": module, "state": state}
        if isinstance(value, enum.IntEnum) and cls.__module__.startswith("landform."):
            return int(value)
        return self._method(value, where)

    def _item(self, key, value, where):
        if type(key) not in (str, int, bool):
            raise TypeError(f"{where} has a key {key!r}: only strings and integers can be saved")
        return [key, self.encode(value, f"{where}[{key!r}]")]

    def _array(self, value, where):
        if isinstance(value, np.ma.MaskedArray):
            raise TypeError(f"{where} is a masked array: save its data and its mask")
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
        if array.dtype.kind == "U":
            shape = list(array.shape)
            return {"names": array.tolist(), "dtype": array.dtype.str, "shape": shape}
        if array.dtype.hasobject and all(type(item) is str for item in array.ravel()):
            return {"names": array.tolist()}
        if array.dtype.hasobject:
            raise TypeError(f"{where} is an array of Python objects, which cannot be saved")
        if issubclass(array.dtype.type, np.bytes_ | np.void):  # not bfloat16, also of kind V
            raise TypeError(
                f"{where} is an array of {array.dtype}, which cannot be saved: give text as "
                "strings, array.astype(str), and the fields of a record one by one"
            )
        array = np.array(array, order="C")
        if array.dtype.name not in _STORED or not array.dtype.isnative:
            added = array.dtype.isbuiltin == 2  # such as bfloat16, identified by its name only
            name = array.dtype.name if added else array.dtype.str
            node |= {"dtype": name, "shape": list(array.shape)}
            array = np.frombuffer(array.tobytes(), np.uint8)
        self.tensors[node["array"]] = array
        self._names[id(value)] = (node, value)
        return node

    def _method(self, value, where):
        """Encode a bound method of an object that can be saved; refuse anything else."""
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
                "use an Equinox module registered with lf.register_class instead, or a "
                "landform generator such as lf.VAE or lf.from_torch(...)"
            )
        raise TypeError(
            f"{where} is a {type(value).__module__}.{type(value).__name__}, which cannot be saved; "
            "lf.register_class registers modules and named tuples of your own"
        )


def _kind(value) -> str:
    if isinstance(value, np.generic):
        return "scalar"
    if isinstance(value, np.ndarray):
        return "numpy"
    return "key" if jnp.issubdtype(value.dtype, jax.dtypes.prng_key) else "jax"


def _public_method(cls: type, name: str) -> bool:
    return not name.startswith("_") and isinstance(getattr(cls, name, None), types.FunctionType)


class Reader:
    """Turns JSON and a table of arrays into an object."""

    def __init__(self, tensors: dict[str, np.ndarray], known: dict[str, type], path):
        self._tensors = tensors
        self._path = path
        self._arrays: dict[str, Any] = {}
        self._known = known

    def decode(self, node: Any) -> Any:
        if node is None or isinstance(node, bool | int | float | str):
            return node
        if not isinstance(node, dict):
            raise ValueError(f"unexpected {type(node).__name__} in the description of the tree")
        if "array" in node:
            return self._array(node)
        if "names" in node:
            return self._names(node)
        if "class" in node:
            return self._object(node["class"], node["fields"])
        if "estimator" in node:
            return self._estimator(node)
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
                value = jax.random.wrap_key_data(to_jax(array), impl=node["impl"])
            elif node["kind"] == "jax":
                value = to_jax(array)
            else:
                value = array[()] if node["kind"] == "scalar" else array
            self._arrays[name] = value
        return self._arrays[name]

    def _names(self, node):
        """Text; its width in the file is not trusted, since it may ask for gigabytes."""
        names, dtype = np.array(node["names"], dtype=object), np.dtype(node.get("dtype", object))
        if dtype.kind not in "OU":
            raise ValueError(f"text cannot have type {dtype}")
        check_content_size(names.size * dtype.itemsize, self._path, "landform did not write it")
        return names.astype(dtype).reshape(node.get("shape", names.shape))

    def _object(self, name, fields):
        cls = self._known.get(name)
        if cls is None:
            raise UnknownClass(
                f"it needs the class {name!r}, which this version of landform does not have; "
                "register a class of your own with lf.register_class first"
            )
        unknown = sorted(set(fields) - set(_fields(cls)))
        if unknown:
            raise UnknownClass(f"its {name} has unknown fields: {', '.join(unknown)}")
        values = {key: self.decode(value) for key, value in fields.items()}
        if is_named_tuple(cls):
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

    def _estimator(self, node):
        name = node["estimator"]
        if name not in estimators:
            importlib.import_module("landform.sklearn")  # it is not imported with landform
        if name not in estimators:
            raise UnknownClass(
                f"it needs the estimator {name!r}, which this version of landform does not have"
            )
        cls: Any = estimators[name]
        lacking = sorted(set(cls().get_params(deep=False)) - set(node["state"]))
        if lacking:
            raise UnknownClass(f"its {name} lacks the parameters {', '.join(lacking)}")
        obj = object.__new__(cls)
        vars(obj).update({key: self.decode(value) for key, value in node["state"].items()})
        return obj

    def _method(self, node):
        owner = self.decode(node["self"])
        if not (isinstance(owner, eqx.Module) and _public_method(type(owner), node["method"])):
            raise ValueError(f"{type(owner).__name__} has no method {node['method']!r}")
        return getattr(owner, node["method"])
