"""Checkpoints of training: everything that the next epoch depends on, in one file."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save as to_bytes

from landform._core.files import write_whole

_HEADER = "landform-checkpoint"


class Checkpoint:
    """The states of the stages of one training, written whole or not at all.

    Parameters
    ----------
    path
        The file. If it exists, it must have been written by a training with the same arguments.
    arguments
        What decides the result, by name, as text.
    every
        Epochs between two writings.

    Raises
    ------
    ValueError
        If the file is no checkpoint, is damaged, or belongs to another training; names the
        arguments that differ.
    """

    def __init__(self, path, arguments: dict[str, str], every: int):
        self.path = Path(path).expanduser()
        self.arguments = {"landform": sys.modules["landform"].__version__} | arguments
        self.every = every
        self._stages: dict[str, dict[str, Any]] = {}
        self._arrays: dict[str, np.ndarray] = {}
        if self.path.is_dir() or not self.path.parent.is_dir():
            raise ValueError(f"checkpoint must be a file in a folder that exists, got {self.path}")
        if self.path.exists():
            self._read()

    def _read(self) -> None:
        try:
            with safe_open(self.path, "numpy") as file:
                text = (file.metadata() or {}).get(_HEADER)
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = None if text is None else json.loads(text)
        except (
            Exception
        ) as error:  # the package has no one error: an unknown type is AttributeError
            raise ValueError(
                f"checkpoint {self.path} cannot be read ({error}): delete it to start again"
            ) from None
        if header is None:
            raise ValueError(f"checkpoint {self.path} is a file of another kind: give another path")
        theirs = header.get("arguments") if isinstance(header, dict) else None
        if not isinstance(theirs, dict) or not isinstance(header.get("stages"), dict):
            raise self._damaged()
        names = [n for n in {**theirs, **self.arguments} if theirs.get(n) != self.arguments.get(n)]
        if names:
            difference = "; ".join(
                "other data"
                if n == "data"
                else f"{n} = {theirs.get(n)} there, {self.arguments.get(n)} here"
                for n in names
            )
            raise ValueError(
                f"checkpoint {self.path} belongs to another training ({difference}): repeat its "
                "arguments to go on with it, or give another path"
            )
        self._stages, self._arrays = header["stages"], arrays

    def _damaged(self) -> ValueError:
        return ValueError(f"checkpoint {self.path} is damaged: delete it to start again")

    def get(self, stage: str, like) -> tuple[Any, dict[str, Any]] | None:
        """A stage's state, in the form of the tree `like`, and its notes; None at the start."""
        if stage not in self._stages:
            return None
        leaves, form = jax.tree.flatten(like)
        found = [self._arrays.get(f"{stage}/{i}") for i in range(len(leaves))]
        if any(array is None for array in found):
            raise self._damaged()
        return form.unflatten([jnp.asarray(array) for array in found]), self._stages[stage]

    def put(self, stage: str, state, notes: dict[str, Any]) -> None:
        """Replace the state of a stage, and the file."""
        leaves = {f"{stage}/{i}": np.asarray(x) for i, x in enumerate(jax.tree.leaves(state))}
        self._arrays |= {name: np.array(leaf, order="C") for name, leaf in leaves.items()}
        self._stages[stage] = notes
        header = json.dumps({"arguments": self.arguments, "stages": self._stages})
        write_whole(self.path, to_bytes(self._arrays, metadata={_HEADER: header}))


def digest(*arrays) -> str:
    """A fingerprint of arrays: their shapes and bytes."""
    found = hashlib.sha256()
    for array in arrays:
        plain = np.ascontiguousarray(array)
        found.update(f"{plain.dtype}{plain.shape}".encode())
        found.update(plain.tobytes())
    return found.hexdigest()
