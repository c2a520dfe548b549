"""What a person sees of an object: one line of values, and a small picture of the plane.

A class gives the parts of its line by `_summary`, and what to draw by `_picture`. Nothing is
computed for a line beyond the range of a batch of numbers, and nothing in it fails on traced values
or on an object that a transformation has taken apart.
"""

import base64
import contextlib
import functools
import html
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from landform._core.module import AbstractModule

_LONGEST = 150  # characters of a line
_INNER = 80  # characters of an object within the line of another
_ENTRIES = {1: 6, 2: 4}  # of a vector and of a matrix that are shown by their numbers
_FEW = 3  # items of a tuple that are shown one by one


class Picture(NamedTuple):
    """What to draw of an object in the plane: plain arrays, of which any may be missing."""

    points: Any = None  # (n, 2)
    curves: Any = None  # (n, T, 2)
    failed: Any = None  # (m, T, 2), curves that are not what was asked for, drawn faintly
    centers: Any = None  # (k, 2), drawn above all else
    ends: bool = True  # whether the end points of the curves are marked


class AbstractDisplayed(AbstractModule):
    """An object with a line of values for a repr, in place of the tree of its arrays."""

    def _summary(self) -> Sequence[str]:
        """The parts of the line; by default each field in words."""
        return fields(self)

    def _picture(self) -> Picture | None:
        """What to draw in a notebook, or None."""
        return None

    def __repr__(self) -> str:
        return line(self)

    def _repr_html_(self) -> str | None:
        return page(self)


def line(self) -> str:
    """An object as ``Name(part, part)``, of its `_summary` or of its fields."""
    parts = getattr(self, "_summary", functools.partial(fields, self))
    text = "…"  # of deleted arrays
    with contextlib.suppress(RuntimeError):
        try:
            text = ", ".join(parts())
        except (TypeError, ValueError, AttributeError, IndexError):
            # Transformations put other things than arrays into fields: axes, flags, None.
            text = ", ".join(fields(self))
    text = " ".join(f"{type(self).__name__}({text})".split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 2] + "…)"


def fields(shown) -> list[str]:
    """``name=value`` for every field."""
    return named(shown, *(getattr(shown, "_fields", None) or shown.__dataclass_fields__))


def named(shown, *names: str) -> list[str]:
    """``name=value`` for some of the fields, but those that are None."""
    values = ((name.lstrip("_"), getattr(shown, name, None)) for name in names)
    return [f"{name}={brief(value)}" for name, value in values if value is not None]


def brief(value) -> str:
    """Anything in a few words: a number, the shape of an array, the name of a function."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return numbers(value)
    if isinstance(value, AbstractDisplayed):
        text = repr(value)
        return text if len(text) <= _INNER else f"{type(value).__name__}(…)"
    if isinstance(value, str):
        return repr(value if len(value) <= _INNER else value[:_INNER] + "…")
    if value is None or isinstance(value, bool | int | float | complex):
        return number(value)
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        if len(value) <= _FEW:
            return f"({', '.join(map(brief, value))})"
        return counted(len(value), "item")
    if isinstance(value, dict):
        return counted(len(value), "entry", "entries")
    if isinstance(value, functools.partial):
        return f"partial({brief(value.func)})"
    name = getattr(value, "__name__", type(value).__name__)
    owner = getattr(value, "__self__", None)
    return f"{type(owner).__name__}.{name}" if isinstance(owner, AbstractModule) else name


def number(value) -> str:
    """A number to four digits; integers with all of theirs."""
    if isinstance(value, Tracer):
        return "traced"
    if hasattr(value, "dtype"):
        value = np.asarray(value).item()
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value) if isinstance(value, int) else brief(value)


def numbers(array) -> str:
    """An array by its numbers where they are few, and else by its shape."""
    shape = tuple(array.shape)
    if isinstance(array, Tracer) or jnp.issubdtype(array.dtype, jax.dtypes.extended):
        kind = "traced" if isinstance(array, Tracer) else "key"
        return f"{kind} {sides(shape)}" if shape else kind
    if not hasattr(array, "__array__"):  # a shape without values
        return sides(shape) or "number"
    if not shape:
        return number(array)
    if not 0 < math.prod(shape) <= _ENTRIES.get(len(shape), 0):
        return sides(shape)
    return f"[{', '.join(map(numbers, np.asarray(array)))}]"


def span(values) -> str:
    """A number, or the range of those of a batch that are finite."""
    if isinstance(values, Tracer) or np.ndim(values) == 0:
        return number(values)
    values = np.asarray(values)
    known = values[np.isfinite(values)]
    if not known.size:
        return "nan" if values.size else "none"
    low, high = number(known.min()), number(known.max())
    return low if low == high else f"{low} to {high}"


def sides(shape) -> str:
    """A shape in words, ``300 × 2``."""
    return f"{shape[0]} numbers" if len(shape) == 1 else " × ".join(map(str, shape))


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number of things, ``1 point`` or ``300 points``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def dimensions(dim: int | None) -> str:
    """The dimension of a chart in words."""
    return "any dimension" if dim is None else counted(dim, "dimension")


def rows(array, one: str = "point", many: str | None = None) -> str:
    """An array ``(n, d)`` in words, ``300 points in 2 dimensions``; leading axes multiply n."""
    *count, dim = array.shape
    return f"{counted(math.prod(count), one, many)} in {dimensions(dim)}"


def polylines(array) -> str:
    """Points of one curve ``(T, d)``, or of a batch of them, in words."""
    *batch, count, dim = array.shape
    words = f"{counted(count, 'point')} in {dimensions(dim)}"
    return f"{counted(math.prod(batch), 'curve')} of {words}" if batch else words


def landmarks(points) -> list[str]:
    """Landmarks in words, as a part of a line; no part where there are none."""
    return [] if points is None else [rows(points, "landmark")]


def weights(tree) -> int:
    """How many numbers the arrays of a tree hold."""
    return sum(math.prod(np.shape(leaf)) for leaf in jax.tree.leaves(tree))


def mean(values) -> str:
    """The mean of the finite numbers of a batch."""
    if isinstance(values, Tracer):
        return "traced"
    known = np.asarray(values)[np.isfinite(values)]
    return number(known.mean()) if known.size else "nan"


_painters: list[Callable[[Picture], bytes | None]] = []


def draw_with(painter: Callable[[Picture], bytes | None]) -> None:
    """Have pictures drawn by `painter`, which gives a PNG file, or None where it sees nothing.

    This module knows what is to be seen but not how to draw, and loads no plotting library.
    """
    _painters[:] = [painter]


def page(shown) -> str | None:
    """The line and the picture as HTML; None, which leaves it to the repr, without a picture."""
    if not _painters or any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(shown)):
        return None
    try:
        picture = shown._picture()
        drawn = None if picture is None else _painters[0](picture)
    except (ImportError, RuntimeError, ValueError):  # no Matplotlib, or nothing that can be drawn
        return None
    if drawn is None:
        return None
    text = html.escape(repr(shown))
    data = base64.b64encode(drawn).decode("ascii")
    image = f'<img alt="{text}" src="data:image/png;base64,{data}" style="max-width: 260px">'
    return f"<div><code>{text}</code><br>{image}</div>"


def is_plane(array) -> bool:
    """Whether an array holds points of the plane, of which there is at least one."""
    shape = getattr(array, "shape", ())
    return len(shape) > 1 and shape[-1] == 2 and 0 not in shape
