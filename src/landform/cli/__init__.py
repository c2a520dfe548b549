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
    demo,
    fitting,
    generation,
    geometry,
    info,
    walking,
)
from landform.cli._app import app

__all__ = ["app", "main"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; the entry point of the `landform` program.

    With the environment variable LANDFORM_DEBUG set, errors show where they were raised.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not interrupts.ACTIVE:  # a function call in another program
        sys.exit(run(arguments))
    signal.signal(signal.SIGINT, interrupts.stop)
    try:
        code = run(arguments)
        signal.signal(signal.SIGINT, interrupts.leave)
    except KeyboardInterrupt:  # while an error was being told
        code = fail("interrupted", interrupts.INTERRUPTED)
    if code == interrupts.INTERRUPTED:
        sys.stdout.flush()
        os._exit(code)  # the end of the interpreter would wait for threads at work
    sys.exit(code)


def run(arguments: list[str], app: typer.Typer = app) -> int:
    """Run one command, of another program's too, and return its exit code."""
    from landform._core.status import ConvergenceError, MetricError

    if os.environ.get("LANDFORM_DEBUG"):
        return app(arguments, standalone_mode=False) or 0
    try:
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("default", UserWarning)
            code = app(arguments, standalone_mode=False) or 0
        if code == interrupts.INTERRUPTED:  # typer makes it a code alone
            return fail("interrupted", code)
        for text in dict.fromkeys(str(note.message) for note in notes):
            fail(f"note: {text}", 0)
        return code
    except typer.Exit as leave:
        return leave.exit_code
    except typer.Abort:
        return fail("aborted", 130)
    except MetricError as error:  # the input's fault
        return fail(error, 2)
    except ConvergenceError as error:
        return fail(error, 1)
    except (ValueError, TypeError, OSError) as error:
        return fail(error, 2)
    except KeyboardInterrupt:
        return fail("interrupted", 130)
    except MemoryError as error:
        return fail(f"there is not enough memory: {error}", 1)
    except Exception as error:
        if interrupts.stopped:  # compiled code turns an interrupt into an error of its own
            return fail("interrupted", 130)
        usage = getattr(
            error, "format_message", None
        )  # click's own errors: unknown options and such
        if usage is None:
            raise
        if not usage():  # no arguments: click has printed the help
            return 2
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context is not None else ""
        return fail(f"{usage()}{hint}", 2)


def fail(error, code: int) -> int:
    """One line on stderr, and the exit code."""
    if interrupts.stopped:
        error, code = "interrupted", interrupts.INTERRUPTED
    text = " ".join(str(error).split()) or type(error).__name__
    print(f"landform: {text}", file=sys.stderr)
    return code
