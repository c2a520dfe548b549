"""The folder that an experiment leaves: a page, its figures, and all numbers in one file."""

import dataclasses
import json
from pathlib import Path

from landform._core.files import write_whole
from landform.demo.page import Section, render


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
    """Write ``index.html``, one PNG a section and ``results.json`` into a folder."""
    for section in sections:
        write_whole(out / f"{section.key}.png", section.png)
    described = {"settings": dataclasses.asdict(settings), "seconds": seconds, "results": results}
    text = json.dumps(described, indent=2, default=_plain) + "\n"
    write_whole(out / "results.json", text.encode())
    numbers = {key: value for key, value in flat(results).items() if value == value}
    footer = f"Written by landform in {seconds:.0f} seconds; results.json has every number."
    page = render(title, lead, sections, choices, numbers, footer)
    write_whole(out / "index.html", page.encode())


def keep(out: Path, settings, rows: list | dict) -> None:
    """What there is so far, in ``results.json``: a long run that is stopped leaves its numbers."""
    described = {"settings": dataclasses.asdict(settings), "unfinished": rows}
    text = json.dumps(described, indent=2, default=_plain) + "\n"
    write_whole(out / "results.json", text.encode())


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


def _plain(value):
    return value.tolist()


def prepared(out) -> Path:
    """The folder, made where it does not exist."""
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"out must be a folder, and {out} is a file")
    out.mkdir(parents=True, exist_ok=True)
    return out
