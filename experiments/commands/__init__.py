"""The command line of the experiments: one module a paper, each command a face of a `run_…`."""

from experiments.commands import circle, land, oddity  # noqa: F401  (they register commands)
from experiments.commands.options import program

__all__ = ["program"]
