"""From an ATen operation's name to its JAX form, and which of them are not smooth."""

from collections.abc import Callable
from typing import Any

OPERATIONS: dict[str, Callable[..., Any]] = {}
"""Name with overload (``"add.Tensor"``) to function; arguments are in ATen's order and names."""

BENDS: set[str] = set()
"""Operations with a jump in their value or its first or second derivative."""

BENDS_IN: dict[str, tuple[int, ...]] = {}
"""For those that are smooth in some arguments: the positions of the others."""

BENDS_IF: dict[str, Callable[..., bool]] = {}
"""For those that are smooth with some settings: whether they bend with these arguments."""


def register(*names: str, bends: bool | tuple[int, ...] | Callable[..., bool] = False):
    """Enter a function in the table under one or several names.

    `bends` marks it as not smooth, names the arguments in which it is not, or tells it from them.
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
    """Enter functions of one tensor under ``name.default``."""
    for name, function in table.items():
        register(f"{name}.default", bends=bends)(function)


def tuple_of(value, n: int) -> tuple[int, ...]:
    """ATen's convention for sizes: one number (or a list of one) stands for all `n` axes."""
    if isinstance(value, list | tuple):
        return tuple(value) * n if len(value) == 1 else tuple(value)
    return (value,) * n
