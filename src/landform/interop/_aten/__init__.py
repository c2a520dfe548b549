"""The ATen operations that a converted decoder may use, written in JAX; one topic a file."""

from landform.interop._aten import (
    attention,
    conv,
    elementwise,
    indexing,
    linear,
    norm,
    pool,
    recurrent,
    reduce,
    resize,
    shape,
)
from landform.interop._aten._registry import BENDS, OPERATIONS

__all__ = [
    "BENDS",
    "OPERATIONS",
    "attention",
    "conv",
    "elementwise",
    "indexing",
    "linear",
    "norm",
    "pool",
    "recurrent",
    "reduce",
    "resize",
    "shape",
]
