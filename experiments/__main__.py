"""The command line of the experiments: `python -m experiments NAME --help`."""

from experiments import cli_oddity, cli_oddity_paths  # noqa: F401  (they register commands)
from experiments.cli_land import commands

if __name__ == "__main__":
    commands(prog_name="python -m experiments")
