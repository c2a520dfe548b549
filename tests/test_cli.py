"""The command line as a newcomer meets it: help, results in files, and one line for bad input."""

import numpy as np
import pytest

from landform.cli import main


def run(arguments, capsys):
    """Exit code, standard output and standard error of one command."""
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    out = capsys.readouterr()
    return ended.value.code or 0, out.out, out.err


@pytest.fixture
def points(tmp_path):
    path = tmp_path / "points.csv"
    np.savetxt(path, [[0.0, 0.0], [3.0, 4.0], [0.0, 8.0]], delimiter=",")
    return path


def test_help_names_every_command(capsys):
    code, out, _ = run(["--help"], capsys)
    assert code == 0
    for name in ("demo", "fit-land", "fit-vae", "distances", "geodesic", "cluster", "info"):
        assert name in out


@pytest.mark.parametrize("name", ["demo", "fit-land", "fit-vae", "distances", "info"])
def test_help_of_a_command_has_an_example(name, capsys):
    code, out, _ = run([name, "--help"], capsys)
    assert code == 0
    assert f"landform {name}" in out


def test_distances_of_a_table_are_written(points, tmp_path, capsys):
    target = tmp_path / "distances.csv"
    code, _, _ = run(["distances", points, "--metric", "euclidean", "--out", target], capsys)
    assert code == 0
    matrix = np.loadtxt(target, delimiter=",")
    np.testing.assert_allclose(matrix, [[0, 5, 8], [5, 0, 5], [8, 5, 0]], atol=1e-9)


@pytest.mark.parametrize(
    ("content", "words"),
    [("0,0\nnan,1\n2,2\n", "NaN"), ("a,b\nc,d\n", ""), ("", ""), ("1,2\n", "")],
    ids=["nan", "words", "empty", "one row"],
)
def test_a_bad_table_is_refused_in_one_line(content, words, tmp_path, capsys):
    path = tmp_path / "bad.csv"
    path.write_text(content)
    code, out, err = run(["distances", path, "--out", tmp_path / "d.csv"], capsys)
    assert code == 2
    assert not (tmp_path / "d.csv").exists()
    assert len(err.strip().splitlines()) == 1
    assert words in err
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    "arguments",
    [
        ["distances", "no-such-file.npy"],
        ["info", "no-such-file.landform"],
        ["demo", "--digits", "0,77"],
        ["fit-land", "no-such-file.npy", "--components", "0"],
    ],
    ids=["data", "model", "digits", "components"],
)
def test_bad_arguments_are_refused_in_one_line(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(arguments, capsys)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
