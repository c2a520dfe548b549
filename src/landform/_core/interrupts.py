"""Interrupts of the `landform` program, from its first import to its last line.

Imported before everything else, since the imports alone take seconds. A program that imports
landform as a library keeps its own handling of signals.
"""

import os
import signal
import sys

from landform._core.files import remove_unfinished

INTERRUPTED = 130
stopped = False  # whether an interrupt has arrived


def is_program() -> bool:
    """Whether this process runs `landform` or `python -m landform`."""
    given = sys.orig_argv
    called = any(given[i : i + 2] == ["-m", "landform"] for i in range(1, len(given)))
    return called or os.path.basename(sys.argv[0] if sys.argv else "") == "landform"


def leave(*_) -> None:
    """End the process at once with one line; leave no half-written file, and wait for no thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    remove_unfinished()
    os.write(2, b"landform: interrupted\n")
    os._exit(INTERRUPTED)


def stop(*_) -> None:
    """Raise, so that progress bars are cleared; a second interrupt ends the process at once."""
    global stopped
    stopped = True
    signal.signal(signal.SIGINT, leave)
    sys.unraisablehook = leave  # where Python would print the exception and go on
    raise KeyboardInterrupt


ACTIVE = is_program()
if ACTIVE:
    signal.signal(signal.SIGINT, leave)
