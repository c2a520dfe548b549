"""The command line: one module a group of commands, each a thin face of the library.

Bad input ends with exit code 2 and one line on stderr; a computation that failed with 1.
"""

import os
import signal
import sys
import warnings

import typer

from landform._core import interrupts
from landform.cli import (  # noqa: F401  (they register commands)
    coding,
    demo,
    fitting,
    geometry,
    info,
    sampling,
)
from landform.cli.options import app

__all__ = ["app", "main"]


def main(arguments: list[str] | None = None, program: typer.Typer = app) -> None:
    """Run a command line and exit; the entry point of the `landform` program.

    With the environment variable LANDFORM_DEBUG set, errors show where they were raised. Another
    `program` gets the same exit codes and lines of error, under its own name.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not interrupts.ACTIVE:  # called as a function of another program
        sys.exit(run(arguments, program))
    signal.signal(signal.SIGINT, interrupts.stop)
    try:
        code = run(arguments, program)
        signal.signal(signal.SIGINT, interrupts.leave)
    except KeyboardInterrupt:  # while an error was being printed
        code = fail("interrupted", interrupts.INTERRUPTED, program)
    if code == interrupts.INTERRUPTED:
        sys.stdout.flush()
        os._exit(code)  # the end of the interpreter would wait for threads at work
    sys.exit(code)


def run(arguments: list[str], program: typer.Typer = app) -> int:
    """Run one command and return its exit code."""
    from landform._core.status import ConvergenceError, MetricError

    if os.environ.get("LANDFORM_DEBUG"):
        return program(arguments, standalone_mode=False) or 0
    try:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("default", UserWarning)
            code = program(arguments, standalone_mode=False) or 0
        if code == interrupts.INTERRUPTED:  # typer turns an interrupt into a code
            return fail("interrupted", code, program)
        for text in dict.fromkeys(str(note.message) for note in notes):
            fail(f"note: {text}", 0, program)
        return code
    except typer.Exit as leave:
        return leave.exit_code
    except typer.Abort:
        return fail("aborted", 130, program)
    except MetricError as error:  # the input's fault
        return fail(error, 2, program)
    except ConvergenceError as error:
        return fail(error, 1, program)
    except (ValueError, TypeError, OSError) as error:
        return fail(error, 2, program)
    except KeyboardInterrupt:
        return fail("interrupted", 130, program)
    except MemoryError as error:
        return fail(f"there is not enough memory: {error}", 1, program)
    except Exception as error:
        if interrupts.stopped:  # compiled code turns an interrupt into an error of its own
            return fail("interrupted", 130, program)
        usage = getattr(error, "format_message", None)  # click's errors, such as unknown options
        if usage is None:
            raise
        if not usage():  # no arguments: click has printed the help
            return 2
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context is not None else ""
        return fail(f"{usage()}{hint}", 2, program)


def fail(error, code: int, program: typer.Typer) -> int:
    """Print one line on stderr, and return the exit code."""
    if interrupts.stopped:
        error, code = "interrupted", interrupts.INTERRUPTED
    text = " ".join(str(error).split()) or type(error).__name__
    print(f"{program.info.name}: {text}", file=sys.stderr)
    return code
