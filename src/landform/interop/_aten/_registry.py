"""The table from ATen operations to JAX functions, with the operations that are not smooth."""

from collections.abc import Callable
from typing import Any

OPERATIONS: dict[str, Callable[..., Any]] = {}
"""Functions by name with overload (``"add.Tensor"``); arguments have ATen's order and names."""

BENDS: set[str] = set()
"""Operations with a jump in their value or its first or second derivative."""

BENDS_IN: dict[str, tuple[int, ...]] = {}
"""Positions of the arguments in which an operation of `BENDS` is not smooth, if not all."""

BENDS_IF: dict[str, Callable[..., bool]] = {}
"""Whether an operation of `BENDS` is not smooth with the given arguments, if that varies."""


def register(*names: str, bends: bool | tuple[int, ...] | Callable[..., bool] = False):
    """Add a function to the table under one or several names.

    `bends` says whether the function is not smooth: True, the positions of the arguments in which
    it is not, or a function of the arguments.
    """

    def enter(function):
        for name in names:
            if name in OPERATIONS:
                raise ValueError(f"operation {name} is defined twice")
            OPERATIONS[name] = function
            if bends:
                BENDS.add(name)
            if isinstance(bends, tuple):
                BENDS_IN[name] = bends
            elif callable(bends):
                BENDS_IF[name] = bends
        return function

    return enter


def register_unary(table: dict[str, Callable[..., Any]], *, bends: bool = False) -> None:
    """Add functions of one tensor under ``name.default``."""
    for name, function in table.items():
        register(f"{name}.default", bends=bends)(function)


def tuple_of(value, n: int) -> tuple[int, ...]:
    """Expand ATen's sizes: one number, or a list of one, holds for all `n` axes."""
    if isinstance(value, list | tuple):
        return tuple(value) * n if len(value) == 1 else tuple(value)
    return (value,) * n
