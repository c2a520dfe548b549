"""The folder that an experiment leaves: a page, its figures, and all numbers in one file."""

import dataclasses
from pathlib import Path

from landform.demo.page import Section, render, write_page, write_results


def write(
    out: Path,
    title: str,
    lead: str,
    sections: list[Section],
    choices: list[str],
    settings,
    results: dict,
    seconds: float,
) -> None:
    """Write ``index.html``, a PNG for each section, and ``results.json`` into a folder."""
    numbers = {key: value for key, value in flat(results).items() if value == value}
    footer = f"Written by landform in {seconds:.0f} seconds; results.json has every number."
    page = render(title, lead, sections, choices, numbers, footer)
    described = {"settings": dataclasses.asdict(settings), "seconds": seconds, "results": results}
    write_page(out, page, sections, described)


def keep(out: Path, settings, rows: list | dict) -> None:
    """Write the numbers so far to ``results.json``, for a long run that may be stopped."""
    write_results(out, {"settings": dataclasses.asdict(settings), "unfinished": rows})


def flat(tree: dict, prefix: str = "") -> dict[str, float]:
    """Nested numbers under joined names; what is not a number is left out."""
    out: dict[str, float] = {}
    for key, value in tree.items():
        name = f"{prefix} {key}".strip()
        if isinstance(value, dict):
            out |= flat(value, name)
        elif isinstance(value, int | float):
            out[name] = float(value)
    return out
