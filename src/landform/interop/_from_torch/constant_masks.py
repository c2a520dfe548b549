"""Selections by a constant mask, rewritten with the positions that it selects; needs torch.

`torch.export` knows no values, so how many entries a mask selects is an unknown size to it, with
which little can be computed. Of a constant mask the positions are known, and so is their number.
"""

from typing import Any

import numpy as np
import torch

_T = torch.Tensor
_BY_INDEX = {"__getitem__", "__setitem__", "index_put", "index_put_"}
_BY_MASK = {"masked_select", "masked_scatter", "masked_scatter_"}
# The number of entries of these results depends on values of the arguments.
_SIZED = {"nonzero", "argwhere", "where", "unique", "unique_consecutive", "bincount"}
_SIZED |= {"combinations"}


def is_sized(name: str, args, kwargs) -> bool:
    """Whether a call is one whose result has as many entries as values say."""
    return name in _SIZED and not (name == "where" and len(args) + len(kwargs) > 1)


def deciding(name: str, args, kwargs) -> list[torch.Tensor]:
    """The tensors of a call that decide how many entries it selects, broadcast as it does."""
    if name in _BY_INDEX:
        return [mask for item in _items(args[1]) if (mask := _as_mask(item)) is not None]
    if name in _BY_MASK:
        mask = args[1] if len(args) > 1 else kwargs["mask"]
        return [mask.expand(torch.broadcast_shapes(args[0].shape, mask.shape))]
    if name == "repeat_interleave":
        repeats = args[1] if len(args) > 1 else kwargs.get("repeats")
        return [repeats] if isinstance(repeats, _T) and repeats.ndim else []
    return []


def positions(name: str, tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The entries that one of the deciding tensors selects, one index for each axis."""
    if name == "repeat_interleave":
        return (torch.repeat_interleave(tensor),)
    return tensor.nonzero(as_tuple=True)


def by_positions(func, name: str, args, kwargs, found: list):
    """Call `func` with positions in place of its deciding tensors."""
    if name in _BY_INDEX:
        remaining, index = iter(found), []
        for item in _items(args[1]):
            index += [item] if _as_mask(item) is None else next(remaining)
        return func(args[0], tuple(index), *args[2:], **kwargs)
    (where,) = found
    if name == "repeat_interleave":
        dim = args[2] if len(args) > 2 else kwargs.get("dim")
        x = args[0].reshape(-1) if dim is None else args[0]
        return x.index_select(0 if dim is None else dim, *where)
    mask = args[1] if len(args) > 1 else kwargs["mask"]
    x = args[0].expand(torch.broadcast_shapes(args[0].shape, mask.shape))
    if name == "masked_select":
        return x[where]
    source = args[2] if len(args) > 2 else kwargs["source"]
    out = args[0] if name.endswith("_") else x.clone()
    out[where] = source.reshape(-1)[: len(where[0])]
    return out


def _items(index) -> tuple:
    return tuple(index) if isinstance(index, tuple) else (index,)


def _as_mask(item: Any) -> torch.Tensor | None:
    """An entry of an index as a mask of one axis or more, if it is one."""
    if isinstance(item, list):
        flags = bool(item) and all(isinstance(flag, bool) for flag in item)
        return _as_mask(np.array(item)) if flags else None
    if isinstance(item, np.ndarray) and item.dtype == bool:
        item = torch.from_numpy(item)
    if isinstance(item, _T) and item.dtype in (torch.bool, torch.uint8) and item.ndim:
        return item
    return None
