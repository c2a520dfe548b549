"""What a person sees in the terminal: progress bars on stderr, tables on stdout."""

import contextlib
import sys
from collections.abc import Collection

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable


def console() -> Console:
    """The console of results; it does not read brackets in names as markup."""
    return Console(file=sys.stdout, highlight=False, markup=False)


@contextlib.contextmanager
def bar(label: str, total: int):
    """Show a progress bar on stderr; yields a function of the number finished."""
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    ]
    screen = Console(stderr=True)
    off = not screen.is_terminal  # disabled, or a hidden bar would end with an empty line in a log
    with Progress(*columns, console=screen, transient=True, disable=off) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done: progress.update(task, completed=min(done, total))


@contextlib.contextmanager
def steps(names: Collection[str] = ()):
    """Show the current step on stderr; yields a function of its name. A log gets a line for each.

    With `names`, the bar advances at each of these.
    """
    columns = [TextColumn("{task.description:<16}"), BarColumn(), TimeElapsedColumn()]
    screen = Console(stderr=True, highlight=False, markup=False)
    off = not screen.is_terminal
    with Progress(*columns, console=screen, transient=True, disable=off) as progress:
        task = progress.add_task("starting", total=len(names) or None)

        def say(name: str) -> None:
            if off:
                screen.print(f"{name} ...")
            progress.update(task, description=name, advance=float(name in names))

        yield say


@contextlib.contextmanager
def working(label: str):
    """Show a spinner on a terminal's stderr, for work that does not report its progress."""
    screen = Console(stderr=True)
    with screen.status(label) if screen.is_terminal else contextlib.nullcontext():
        yield


def report(title: str, rows: dict[str, object]) -> None:
    """Print a table of two columns on stdout."""
    console().print(title)
    table = RichTable(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for key, value in rows.items():
        table.add_row(key, str(value))
    console().print(table)
