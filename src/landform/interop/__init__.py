"""Decoders from elsewhere: PyTorch modules and any function written in JAX."""

from landform.interop._program import TorchDecoder as TorchDecoder
from landform.interop.callable import (
    CallableDecoder as CallableDecoder,
    from_callable as from_callable,
)
from landform.interop.torch import KinkWarning as KinkWarning, from_torch as from_torch
