"""The command line of the experiments: `python -m experiments NAME --help`."""

from experiments.commands import program
from landform.cli import main

if __name__ == "__main__":
    main(program=program)
