"""Array type aliases shared by the whole package."""

from typing import TypeAlias

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

ArrayLike: TypeAlias = jax.typing.ArrayLike | np.ndarray
Scalar: TypeAlias = Float[Array, ""]
Point: TypeAlias = Float[Array, " d"]
Points: TypeAlias = Float[Array, "n d"]
Matrix: TypeAlias = Float[Array, "d d"]

__all__ = [
    "Array",
    "ArrayLike",
    "Bool",
    "Float",
    "Int",
    "Matrix",
    "PRNGKeyArray",
    "Point",
    "Points",
    "Scalar",
]
