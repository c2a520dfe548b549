"""Save and restore what a call of a module may change; needs torch."""

import collections
import functools
import random
import types
from typing import Any

import numpy as np
import torch

# Restore only these exact types: subclasses may forbid or convert assignments.
_CONTAINERS = (dict, collections.OrderedDict, collections.defaultdict, list, collections.deque, set)
# Outputs that differ by less, relative to their size, are taken as equal.
_REPEAT_RTOL = 1e-5


def reachable(*roots: Any) -> list:
    """Modules, tensors, containers and functions held by some objects, each once."""
    seen: dict[int, Any] = {}
    stack = list(roots)
    while stack:
        item = stack.pop()
        if id(item) not in seen:
            seen[id(item)] = item
            stack.extend(_held(item))
    return list(seen.values())


def _held(item: Any) -> list:
    if isinstance(item, torch.Tensor):
        return [item.grad] if item.is_leaf and item.grad is not None else []
    if isinstance(item, torch.nn.Module):
        return list(vars(item).values())
    if isinstance(item, dict):
        return list(item.values())
    if isinstance(item, list | tuple | set | collections.deque):
        return list(item)
    if isinstance(item, types.MethodType):
        return [item.__self__, item.__func__]
    if isinstance(item, functools.partial):
        return [item.func, item.args, item.keywords]
    if isinstance(item, types.FunctionType):
        return [content for cell in item.__closure__ or () for content in _contents(cell)]
    return []


class Snapshot:
    """Tensors, attributes, flags and hooks of a module, and global state, to be restored later.

    `from_torch` calls the module itself and restores it afterwards, because a copy is not always
    possible (of weights that were computed from others) and closures would still call the
    original. A snapshot covers submodules, tensors, containers and the closures of functions, but
    not the contents of other objects. Global state is the random state of torch, NumPy and Python
    and torch's default dtype and gradient mode. The cost is one copy of every tensor.
    """

    def __init__(self, *roots: Any):
        self._tensors: list = []
        self._modules: list = []
        self._containers: list = []
        legacy = np.random.get_state()  # noqa: NPY002  a user's module may draw from it
        self._random = (torch.get_rng_state(), legacy, random.getstate())
        self._switches = (torch.is_grad_enabled(), torch.get_default_dtype())
        for item in reachable(*roots):
            if isinstance(item, torch.nn.Module):
                self._modules.append((item, type(item), dict(vars(item))))
            elif type(item) in _CONTAINERS:
                self._containers.append((item, item.copy()))
            elif isinstance(item, torch.Tensor) and _has_plain_memory(item):
                memory, grad = item.detach(), item.grad if item.is_leaf else None
                self._tensors.append((item, memory, memory.clone(), item.requires_grad, grad))

    def changed(self) -> bool:
        """Whether a tensor, an attribute or a container differs from what it was."""
        return (
            any(_replaced(t, m) or not _equal(m, values) for t, m, values, *_ in self._tensors)
            or any(type(m) is not k or not _same_items(vars(m), d) for m, k, d in self._modules)
            or any(not _same_items(c, before) for c, before in self._containers)
        )

    def restore(self) -> None:
        """Restore memory, objects and global state."""
        for module, kind, attributes in self._modules:
            if type(module) is not kind:
                module.__class__ = kind
            if not _same_items(vars(module), attributes):
                vars(module).clear()
                vars(module).update(attributes)
        for container, before in self._containers:
            if not _same_items(container, before):
                container.clear()
                (container.extend if hasattr(container, "extend") else container.update)(before)
        for tensor, memory, values, requires_grad, grad in self._tensors:
            if _replaced(tensor, memory):
                tensor.data = memory
            if not _equal(memory, values):
                memory.data.copy_(values)  # `.data` does not invalidate autograd graphs in use
            if tensor.is_leaf:
                tensor.requires_grad_(requires_grad)
                if tensor.grad is not grad:
                    tensor.grad = grad
        torch.set_rng_state(self._random[0])
        np.random.set_state(self._random[1])  # noqa: NPY002
        random.setstate(self._random[2])
        torch.set_grad_enabled(self._switches[0])
        torch.set_default_dtype(self._switches[1])


def _contents(cell) -> list:
    try:
        return [cell.cell_contents]
    except ValueError:  # not filled yet
        return []


def _has_plain_memory(tensor) -> bool:
    plain = tensor.layout == torch.strided and tensor.device.type != "meta"
    lazy = torch.nn.parameter.is_lazy(tensor)
    return plain and not (lazy or tensor.is_quantized or tensor.is_inference())


def _replaced(tensor, memory) -> bool:
    """Whether a tensor has other memory or another layout than before."""
    return (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) != (
        *(memory.data_ptr(), memory.shape, memory.stride(), memory.dtype),
    )


def _equal(a, b) -> bool:
    """Whether two tensors of one shape hold the same numbers, NaN where there was NaN."""
    return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())


def _same_items(now, before) -> bool:
    """Whether a container holds identical objects in the same order."""
    if len(now) != len(before):
        return False
    if isinstance(now, set):
        return now == before
    if isinstance(now, dict):
        pairs = zip(now.items(), before.items(), strict=True)
        return all(k is m and v is w for (k, v), (m, w) in pairs)
    return all(a is b for a, b in zip(now, before, strict=True))


def depends_on_earlier_calls(flat, rows, state: Snapshot) -> bool:
    """Whether the output of a module for one point depends on the points of earlier calls."""
    row, outputs = rows[:1], []
    # fresh, after one call at a point of the example, and after two calls beside it
    for earlier in ((), (rows[-1:],), (row + 0.1, row + 0.2)):
        state.restore()
        try:
            with torch.no_grad():
                for point in earlier:
                    flat(point)
                torch.manual_seed(0)
                outputs.append(torch.cat([head.reshape(-1).double() for head in flat(row)]))
        except Exception:  # of any type, from the user's code at a point beside the example
            continue
    if len(outputs) < 2:
        return False
    first = outputs[0]
    atol = _REPEAT_RTOL * max(1.0, float(first.abs().max()))
    return not all(a.shape == first.shape and torch.allclose(a, first, 0.0, atol) for a in outputs)
