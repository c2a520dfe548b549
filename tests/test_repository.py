"""What every file of the repository keeps to: its own voice, plain pins, a README that runs."""

import ast
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import landform

ROOT = Path(__file__).parent.parent
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".txt",
    ".cff",
    ".bib",
    ".cfg",
    ".yml",
    ".yaml",
    ".json",
    ".html",
    "",
}

# Hosts that a file may name: papers, data, licences, standards, and this computer.
HOSTS = {
    "arxiv.org",
    "doi.org",
    "proceedings.mlr.press",
    "www.jmlr.org",
    "openml.org",
    "www.openml.org",
    "www.apache.org",
    "www.w3.org",
    "localhost",
    "127.0.0.1",
}


def tracked() -> list[Path]:
    """The files under version control, or all of a source distribution's."""
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode == 0:
        paths = [ROOT / line for line in listing.stdout.splitlines()]
    else:
        paths = [Path(top) / name for top, _, names in os.walk(ROOT) for name in names]
    return [p for p in paths if p.suffix in TEXT and p.is_file()]


FILES = tracked()


def offences(pattern: str, paths: list[Path] = FILES) -> list[str]:
    expression = re.compile(pattern, re.IGNORECASE)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if expression.search(line)
    ]


def test_every_address_is_of_a_known_host():
    hosts = {
        (host.lower(), str(path.relative_to(ROOT)))
        for path in FILES
        for host in re.findall(r"(?:https?|ftp)://([\w.-]+)", path.read_text())
    }
    assert sorted(pair for pair in hosts if pair[0] not in HOSTS) == []


def test_no_file_says_where_packages_come_from():
    assert offences(r"(index|find|trusted|proxy)[-_](url|links|host)\b") == []
    assert offences(r"^\s*--hash=") == []


def test_no_file_names_a_folder_of_a_machine():
    assert offences(r"(?<![\w.<~])/(root|home|users|opt|mnt|media|workspace)/\w") == []


def test_nothing_is_left_to_be_done():
    assert offences(r"\b(TO[D]O|FIX[M]E|XX[X]|HA[C]K)\b") == []


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-torch.txt"])
def test_a_constraint_is_a_plain_pin(name):
    for line in (ROOT / name).read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line), line


def test_a_normal_installation_does_not_pull_torch():
    pins = (ROOT / "constraints.txt").read_text().lower()
    assert "torch" not in pins
    project = (ROOT / "pyproject.toml").read_text()
    core = project[project.index("dependencies = [") : project.index("[project.optional")]
    assert "torch" not in core


def test_every_direct_dependency_is_pinned_and_has_a_lower_bound():
    project = (ROOT / "pyproject.toml").read_text()
    core = project[project.index("\ndependencies = [") : project.index("[project.optional")]
    pins = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().split()}
    requirements = re.findall(r'"([^"]+)"', core)
    assert requirements
    for requirement in requirements:
        match = re.fullmatch(r"([\w-]+)>=[\d.]+(,!=[\d.]+)*", requirement)
        assert match, f"{requirement} has no lower bound"
        assert match[1].lower() in pins, f"{match[1]} is not pinned"


def test_the_file_of_a_cited_paper_has_what_a_reader_needs():
    entries = (ROOT / "docs" / "references.bib").read_text().split("\n@")
    assert len(entries) > 5
    for entry in entries:
        # where to read it: the preprint, or the journal's own open page
        for field in ("title", "author", "year", "(?:eprint|url)"):
            assert re.search(rf"^\s*{field}\s*=", entry, re.MULTILINE), (
                f"no {field} in {entry[:40]}"
            )


def python_blocks(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


README_BLOCKS = python_blocks(ROOT / "README.md")


def test_the_readme_has_an_example_for_each_kind_of_user():
    assert len(README_BLOCKS) >= 2


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(README_BLOCKS)))
def test_an_example_of_the_readme_runs(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    block = README_BLOCKS[number]
    if "torch" in block:
        torch = pytest.importorskip("torch", reason="pip install 'landform[torch]'")
        torch.manual_seed(0)
        layers = torch.nn.Linear(2, 64), torch.nn.Tanh(), torch.nn.Linear(64, 784)
        torch.save(torch.nn.Sequential(*layers, torch.nn.Sigmoid()), "decoder.pt")
        torch.save(torch.randn(60, 2), "codes.pt")
    exec(compile(block, f"README.md, example {number + 1}", "exec"), {"__name__": "__main__"})


@pytest.mark.heavy
@pytest.mark.slow
def test_the_guide_to_point_clouds_runs_and_its_numbers_are_those_it_names(capsys):
    names = {}
    for block in python_blocks(ROOT / "docs" / "point_clouds.md"):
        exec(compile(block, "point_clouds.md", "exec"), names)
    said = capsys.readouterr().out
    assert "50 of 50 are certified" in said
    assert "LAND -2.53, Gaussian -2.66" in said
    moon = names["moon"][:200]
    agreement = max(np.mean(names["labels"] == moon), np.mean(names["labels"] != moon))
    assert agreement == 0.99
    round_ = names["GeodesicKMeans"](2, random_state=0).fit(names["train"]).labels_
    assert max(np.mean(round_ == moon), np.mean(round_ != moon)) == pytest.approx(0.81, abs=0.02)
    assert names["land"].model_.components[0].total_mass() == pytest.approx(1.0, abs=0.01)


def test_a_file_that_the_readme_points_to_exists():
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (ROOT / target).exists(), f"README.md points to {target}, which does not exist"


def test_the_reference_has_a_theme_for_every_public_name():
    tree = ast.parse((ROOT / "docs" / "conf.py").read_text())
    themes = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "THEMES"
    )
    units = {unit for _, group in ast.literal_eval(themes).values() for unit in group}
    homes = [getattr(value, "__module__", None) or "" for value in vars(landform).values()]
    assert {home.split(".")[1] for home in homes if home.startswith("landform.")} <= units
