"""Array type aliases shared by the whole package."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

ArrayLike: TypeAlias = jax.typing.ArrayLike | np.ndarray
Scalar: TypeAlias = Float[Array, ""]
Point: TypeAlias = Float[Array | np.ndarray, " d"]  # NumPy's too, as a user may give it
Points: TypeAlias = Float[Array, "n d"]
Matrix: TypeAlias = Float[Array, "d d"]
F = TypeVar("F", bound=Callable[..., Any])

__all__ = [
    "Array",
    "ArrayLike",
    "Bool",
    "F",
    "Float",
    "Int",
    "Matrix",
    "PRNGKeyArray",
    "Point",
    "Points",
    "Scalar",
]
