"""A report in a folder: one self-contained HTML page, its figures, and all numbers as JSON."""

import base64
import html
import json
from dataclasses import dataclass
from pathlib import Path
from string import Template

from landform._core.files import write_whole

_CSS = """
:root { --ink: #22262b; --soft: #5d6670; --line: #e3e6ea; --accent: #d55e00; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink);
  font: 17px/1.6 "Charter", "Bitstream Charter", "Source Serif 4", Georgia, serif; }
main { max-width: 46rem; margin: 0 auto; padding: 3.5rem 1.25rem 5rem; }
h1 { font-size: 2.1rem; line-height: 1.15; letter-spacing: -0.01em; margin: 0 0 0.6rem; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 0 0 0.35rem; }
.lead { color: var(--soft); margin: 0 0 2.5rem; }
section { border-top: 1px solid var(--line); padding: 2rem 0 1.6rem; }
section p { margin: 0 0 1rem; }
figure { margin: 0 0 1rem; }
figure img { display: block; width: 100%; height: auto; }
.number { display: flex; gap: 1rem; align-items: baseline; margin: 0; }
.number b { font-size: 1.7rem; line-height: 1.1; color: var(--accent); white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.number span { color: var(--soft); font-size: 0.95rem; line-height: 1.4; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
td, th { text-align: left; padding: 0.3rem 0.6rem 0.3rem 0; border-bottom: 1px solid var(--line); }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
details summary { cursor: pointer; color: var(--soft); }
ul { padding-left: 1.1rem; } li { margin: 0.25rem 0; }
footer { color: var(--soft); font-size: 0.85rem; border-top: 1px solid var(--line);
  padding-top: 1.2rem; }
@media (prefers-color-scheme: dark) { figure img { background: #fff; } }
"""

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$css</style>
</head>
<body>
<main>
<h1>$title</h1>
<p class="lead">$lead</p>
$sections
<section><h2>What was chosen, and how</h2><ul>$choices</ul></section>
<section><details><summary>All numbers</summary><table>$numbers</table></details></section>
<footer>$footer</footer>
</main>
</body>
</html>
""")


@dataclass(frozen=True)
class Section:
    """A figure, the sentence that says what to see, and the number that says it."""

    key: str
    title: str
    see: str
    number: str
    meaning: str
    png: bytes


def write_page(out: Path, page: str, sections: list[Section], described: dict) -> None:
    """Write ``index.html``, a PNG for each section, and what is described to ``results.json``."""
    for section in sections:
        write_whole(out / f"{section.key}.png", section.png)
    write_results(out, described)
    write_whole(out / "index.html", page.encode())


def write_results(out: Path, described: dict) -> None:
    """Write settings and numbers to ``results.json``; arrays become lists."""
    text = json.dumps(described, indent=2, default=lambda array: array.tolist()) + "\n"
    write_whole(out / "results.json", text.encode())


def folder(out) -> Path:
    """The folder of a report, made where it does not exist."""
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"out must be a folder, and {out} is a file")
    out.mkdir(parents=True, exist_ok=True)
    return out


def render(
    title: str,
    lead: str,
    sections: list[Section],
    choices: list[str],
    numbers: dict[str, float],
    footer: str,
) -> str:
    """The text of the page."""
    rows = "".join(
        f"<tr><td>{html.escape(key.replace('_', ' '))}</td><td class='n'>{value:.6g}</td></tr>"
        for key, value in numbers.items()
    )
    return _PAGE.substitute(
        title=html.escape(title),
        css=_CSS,
        lead=html.escape(lead),
        sections="\n".join(_section(s) for s in sections),
        choices="".join(f"<li>{html.escape(c)}</li>" for c in choices),
        numbers=rows,
        footer=html.escape(footer),
    )


def _section(section: Section) -> str:
    data = base64.b64encode(section.png).decode()
    title, see = html.escape(section.title), html.escape(section.see)
    return (
        f'<section id="{section.key}"><h2>{title}</h2><p>{see}</p>'
        f'<figure><img alt="{title}" src="data:image/png;base64,{data}"></figure>'
        f'<p class="number"><b>{html.escape(section.number)}</b>'
        f"<span>{html.escape(section.meaning)}</span></p></section>"
    )
