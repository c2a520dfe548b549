"""The ATen operations that a converted decoder may use, written in JAX, one file for each topic."""

from landform.interop._aten import (
    activations,
    attention,
    conv,
    elementwise,
    factor,
    indexing,
    linear,
    norm,
    pool,
    recurrent,
    reduce,
    resize,
    sample,
    shape,
)
from landform.interop._aten._registry import BENDS, BENDS_IF, BENDS_IN, OPERATIONS

__all__ = [
    "BENDS",
    "BENDS_IF",
    "BENDS_IN",
    "OPERATIONS",
    "activations",
    "attention",
    "conv",
    "elementwise",
    "factor",
    "indexing",
    "linear",
    "norm",
    "pool",
    "recurrent",
    "reduce",
    "resize",
    "sample",
    "shape",
]
