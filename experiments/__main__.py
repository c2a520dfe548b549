"""The command line of the experiments: `python -m experiments NAME --help`."""

import sys

from experiments import cli_oddity, cli_oddity_paths  # noqa: F401  (they register commands)
from experiments.cli_land import commands
from landform.cli import run


def main(arguments: list[str] | None = None) -> int:
    """Run one experiment and return the exit code: 2 and one line for bad input."""
    return run(sys.argv[1:] if arguments is None else arguments, commands)


if __name__ == "__main__":
    sys.exit(main())
