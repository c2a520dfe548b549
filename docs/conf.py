"""Configuration of Sphinx; the pages of the reference are written from the public namespace."""

import importlib
import inspect
import re
from pathlib import Path

import landform
import landform.plotting

project = "landform"
author = "The landform developers"
release = version = landform.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinxcontrib.bibtex",
]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
templates_path = ["_templates"]
exclude_patterns = ["_build"]

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"landform {release}"
html_static_path = ["_static"]

THEMES = {
    "metrics": ("Metrics", ("metrics",)),
    "geodesics": ("Curves and geodesics", ("geodesics", "solvers", "_core")),
    "generators": ("Generators", ("models", "interop")),
    "statistics": ("Distributions, walks and clusters", ("stats",)),
    "estimators": ("Estimators", ("sklearn",)),
    "files": ("Data and files", ("datasets", "io")),
    "figures": ("Figures", ("plotting", "demo")),
}
THEMED_MODULES = {
    "landform.metrics.families",
    "landform.datasets",
    "landform.io",
    "landform.plotting",
}
# What is public in these files is read from another module.
HOMES = {
    "landform.metrics.families": {"landform.metrics._counts"},
    "landform.plotting": {
        f"landform.plotting.{name}" for name in ("canvas", "fields", "plane", "profiles")
    },
}
THEME = {unit: theme for theme, (_, units) in THEMES.items() for unit in units}


def public_names():
    """Each public name with the theme of the file that defines it, once."""
    spaces = {"landform": landform}
    if importlib.util.find_spec("landform.sklearn"):
        spaces["landform.sklearn"] = importlib.import_module("landform.sklearn")
    flat = {id(value) for value in vars(landform).values()}
    for value in vars(landform).values():
        if inspect.ismodule(value) and value.__name__ in THEMED_MODULES:
            spaces[value.__name__] = value
    for prefix, space in spaces.items():
        for name, value in vars(space).items():
            home = getattr(value, "__module__", None) or ""
            if name.startswith("_") or inspect.ismodule(value) or not home.startswith("landform."):
                continue
            homes = {prefix, *HOMES.get(prefix, ())}
            if prefix in THEMED_MODULES and (home not in homes or id(value) in flat):
                continue
            yield THEME[home.split(".")[1]], f"{prefix}.{name}"


def write_reference(folder: Path) -> None:
    """One page a theme, with a summary of its names; only what has changed is written."""
    names = sorted(set(public_names()), key=lambda pair: pair[1].lower())
    folder.mkdir(parents=True, exist_ok=True)
    for theme, (title, _) in THEMES.items():
        entries = [name for home, name in names if home == theme]
        if not entries:
            continue
        lines = [
            title,
            "=" * len(title),
            "",
            ".. autosummary::",
            "   :toctree:",
            "   :nosignatures:",
            "",
        ]
        text = "\n".join([*lines, *(f"   {entry}" for entry in entries), ""])
        page = folder / f"{theme}.rst"
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


write_reference(Path(__file__).parent / "api" / "generated")


def escape_bars(app, what, name, obj, options, lines):
    """Let docstrings write |v| for a norm and *batch for an axis without quoting them."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...", "..")):
            parts = re.split(r"(``.*?``|`[^`]*`|\*\*\w+\*\*)", line)
            parts[::2] = [re.sub(r"(?<!\\)(\||\*(?=\w))", r"\\\1", part) for part in parts[::2]]
            lines[number] = "".join(parts)


def setup(app):
    """Connect what this file adds to Sphinx."""
    app.connect("autodoc-process-docstring", escape_bars, priority=900)
