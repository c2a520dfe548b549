"""The checker of annotated shapes that jaxtyping's import hook puts on the package in the tests."""

import typing

from beartype import beartype
from jaxtyping import AbstractArray, PRNGKeyArray


def names_a_shape(annotation) -> bool:
    """Whether an annotation is or contains an array of jaxtyping, other than a key."""
    if annotation in typing.get_args(PRNGKeyArray):
        return False
    if isinstance(annotation, type) and issubclass(annotation, AbstractArray):
        return True
    return any(names_a_shape(part) for part in typing.get_args(annotation))


def checked(function):
    """Check the arguments and results whose annotation names a shape, and no others.

    Pyright checks the other annotations, and what a user passes in place of them is refused by the
    package itself, in its own words, which have their own tests.
    """
    annotations = {
        name: annotation
        for name, annotation in function.__annotations__.items()
        if names_a_shape(annotation)
    }
    if not annotations:
        return function
    function.__annotations__ = annotations
    return beartype(function)
