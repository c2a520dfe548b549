"""What a module's Python code reads from tensors, by `.item()`, `if` or `.numpy()`; needs torch.

`torch.export` runs a module on tensors without values, so that code that reads a value fails. A
value that does not depend on the latent point (a counter in a buffer, a constant mask) is recorded
in an ordinary run and returned during export. The positions that a constant mask selects are
recorded in the same way.
"""

import linecache
import os
import sys

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from landform.interop._from_torch import constant_masks as masks

_T = torch.Tensor
_READERS = {
    *(_T.item, _T.tolist, _T.numpy, _T.__array__, _T.__bool__, _T.__int__, _T.__float__),
    *(_T.__index__, _T.equal, _T.allclose, _T.is_nonzero),
    *(torch.equal, torch.allclose, torch.is_nonzero),
}
# The values of these results do not depend on the values of the arguments.
_FRESH = {"zeros_like", "ones_like", "empty_like"}
_FRESH |= {"new_zeros", "new_ones", "new_empty", "size", "dim"}
# Tests for finite numbers are assumed to pass for all latent points.
_FRESH |= {"isnan", "isfinite", "isinf"}
# These take only shape, dtype or device from the first argument.
_NOT_FIRST = {"full_like", "new_full", "new_tensor"}
# These take only shape, dtype or device from the arguments after the first.
_FIRST_ONLY = {"to", "type_as", "expand_as", "view_as", "reshape_as"}
_PACKAGE = torch.__path__[0]


def _tensors(item):
    if isinstance(item, _T):
        yield item
    elif isinstance(item, list | tuple):
        for x in item:
            yield from _tensors(x)
    elif isinstance(item, dict):
        yield from _tensors(list(item.values()))


def _store_of(tensor):
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):
        return None  # inside a transform such as vmap


class Recorder(TorchFunctionMode):
    """Run a module with values and record what it reads.

    Memory counts as constant only if all operations that led to it were recorded and started from
    weights or from no tensor. All other readings may depend on the latent point.
    """

    def __init__(self, tensors):
        super().__init__()
        self.readings: list[tuple[str, bool, object]] = []
        self.places: list[str] = []  # where the module reads what may depend on the latent point
        self.kept = list(tensors)
        self.constant = {_store_of(t) for t in self.kept} - {None}

    def _record(self, name: str, constant: bool, value, place: str) -> None:
        self.readings.append((name, constant, value))
        if not constant:
            self.places.append(place)

    def _is_constant(self, tensors) -> bool:
        return all(_store_of(t) in self.constant for t in tensors)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        given = list(_tensors([args, kwargs]))
        deciding = masks.deciding(name, args, kwargs)
        own = {_store_of(t) for t in given}  # lists and NumPy arrays of flags are not among them
        constant = self._is_constant([t for t in deciding if _store_of(t) in own])
        found = [masks.positions(name, t) for t in deciding] if constant else None
        out = func(*args, **kwargs)
        if func in _READERS:
            place = _place()
            constant = self._is_constant(given) or ": `assert " in place
            self._record(name, constant, out, place)
            return out
        if deciding:
            self._record(name, constant, found, _place())
        elif masks.is_sized(name, args, kwargs):
            self._record(name, self._is_constant(given), out, _place())
        if name in _FRESH:
            given = []
        elif name in _NOT_FIRST:
            given = given[1:]
        elif name in _FIRST_ONLY:
            given = given[:1]
        made = list(_tensors(out))
        if name in ("__setitem__", "set_") or (name.endswith("_") and not name.endswith("__")):
            made += list(_tensors(args[:1]))  # in place
        made += list(_tensors(kwargs.get("out")))
        constant = self._is_constant(given)
        for tensor in made:
            store = _store_of(tensor)
            self.kept.append(tensor)  # so that its memory is not reused
            (self.constant.add if constant else self.constant.discard)(store)
        self.constant.discard(None)
        return out


class Replay(TorchFunctionMode):
    """Return the recorded readings of constants, in the same order, during export."""

    def __init__(self, readings):
        super().__init__()
        self.readings, self.next = readings, 0

    def __enter__(self):
        self.next = 0
        return super().__enter__()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, called = kwargs or {}, getattr(func, "__name__", "")
        deciding = masks.deciding(called, args, kwargs)
        recorded = func in _READERS or deciding or masks.is_sized(called, args, kwargs)
        if recorded and self.next < len(self.readings):
            name, constant, value = self.readings[self.next]
            if name == called:
                self.next += 1
                if constant and deciding:
                    return masks.by_positions(func, name, args, kwargs, value)
                if constant:
                    return value
        return func(*args, **kwargs)


def read(flat, row, tensors) -> tuple[Replay | None, list[str]]:
    """What a module that holds `tensors` reads at one row of the example.

    Returns the mode to export it in, and the places in the code where it reads a value that may
    depend on the row.

    A reading that differs between two runs, such as a random number, is not constant.
    """
    runs = []
    for point in (row, row + 0.1):
        recorder = Recorder(tensors)
        try:
            with torch.no_grad(), recorder:
                flat(point)
        except Exception:  # control-flow operators compile, which is not allowed under a mode
            return None, []
        runs.append(recorder)
        if not recorder.readings:
            return None, []
    first, second = (r.readings for r in runs)
    names = [[name for name, _, _ in r] for r in (first, second)]
    if names[0] != names[1]:
        return None, runs[0].places
    agreed = [
        (name, constant and _same(value, other), value)
        for (name, constant, value), (_, _, other) in zip(first, second, strict=True)
    ]
    return Replay(agreed), runs[0].places


def _same(a, b) -> bool:
    """Whether two readings are equal, NaN where there is NaN."""
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, _T | np.ndarray):
        a, b = np.asarray(a), np.asarray(b)
        numbers = a.dtype.kind in "fc"
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=numbers)
    return repr(a) == repr(b)


def _place() -> str:
    """File, line and text of the innermost frame outside torch and this file."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name != __file__ and not name.startswith(_PACKAGE):
            text = linecache.getline(name, frame.f_lineno).strip()
            return f"{os.path.basename(name)}:{frame.f_lineno}" + (f": `{text}`" if text else "")
        frame = frame.f_back
    return "an unknown place"
