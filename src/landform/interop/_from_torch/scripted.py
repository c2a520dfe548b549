"""Scripted functions (`torch.jit.script`) inside a module; needs torch."""

import contextlib
from typing import Any

import torch


@contextlib.contextmanager
def calls(*, as_python: bool = False):
    """Yield a list that receives the names of the scripted functions that are called.

    With `as_python`, the Python functions that they were made from run in their place: what a
    scripted function reads from tensors cannot be recorded, and torch.export cannot follow it.
    """
    kind: Any = torch.jit.ScriptFunction
    names: list[str] = []
    original = kind.__call__

    def call(function, *args, **kwargs):
        if function.name not in names:
            names.append(function.name)
        python = getattr(function, "_torchdynamo_inline", None)  # set by torch.jit.script
        if as_python and python is not None:
            return python(*args, **kwargs)
        return original(function, *args, **kwargs)

    kind.__call__ = call
    try:
        yield names
    finally:
        kind.__call__ = original


def advice(names, owner) -> str:
    """What to do about scripted parts of a module that cannot be traced, or nothing."""
    parts = [repr(n) for n, m in owner.named_modules() if isinstance(m, torch.jit.ScriptModule)]
    parts += [f"{name}()" for name in names]
    if not parts:
        return ""
    return (
        f"\nParts of the module are compiled by torch.jit.script: {', '.join(parts)}. Set the "
        "environment variable PYTORCH_JIT=0 before the module is built, or use the Python code "
        "that these parts were made from."
    )
