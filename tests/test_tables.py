"""The tables that the command line reads and writes: the right columns, the right format."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import landform as lf
from landform.cli import run
from landform.cli.fitting import _fit_land
from landform.cli.inputs import _parted, read_table, write_table


@pytest.fixture
def table(tmp_path):
    """A function that writes text to a table."""

    def write(text, name="t.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_columns_that_are_not_chosen_may_be_text(table):
    path = table("name,x,y\nanna,1,2\nben,3,4\n")
    np.testing.assert_array_equal(read_table(path, columns="x,y").X, [[1, 2], [3, 4]])
    with pytest.raises(ValueError, match="'anna' is not a number; choose columns"):
        read_table(path)


def test_numbers_of_columns_count_the_class_too(table):
    path = table("class,a,b,c\n0,1,2,3\n1,4,5,6\n")
    chosen = read_table(path, columns="1,2")
    assert chosen.columns == ("a", "b")
    np.testing.assert_array_equal(chosen.X, [[1, 2], [4, 5]])
    np.testing.assert_array_equal(chosen.y, [0, 1])
    with pytest.raises(ValueError, match="no column '4'"):
        read_table(path, columns="4")


def test_a_chosen_column_is_no_class_unless_the_user_says_so(table):
    path = table("x,target\n1,2\n3,4\n")
    assert read_table(path).y is not None
    chosen = read_table(path, columns="x,target")
    assert chosen.y is None
    np.testing.assert_array_equal(chosen.X, [[1, 2], [3, 4]])
    with pytest.raises(ValueError, match="--columns must leave out 'target'"):
        read_table(path, columns="x,target", label="target")


@pytest.mark.parametrize(
    ("names", "chosen"), [(",x,y", "x,y"), (",0,1", "0,1"), ('"","x","y"', "1,2")]
)
def test_row_numbers_without_a_name_are_no_coordinate(table, names, chosen):
    path = table(f"{names}\n0,0.5,2.5\n1,3.5,4.5\n")
    with pytest.raises(ValueError, match=r"column 0 \(from 0\) has no name"):
        read_table(path)
    np.testing.assert_array_equal(read_table(path, columns=chosen).X, [[0.5, 2.5], [3.5, 4.5]])


def test_a_first_row_that_may_number_the_columns_is_mentioned(table, recwarn):
    with pytest.warns(UserWarning, match=r"first row, 0,1, is read as a point"):
        read_table(table("0,1\n0.5,2.5\n3.5,4.5\n"))
    recwarn.clear()
    read_table(table("0,2\n0.5,2.5\n"))
    read_table(table("0\n0.5\n"))
    assert not recwarn.list


def test_a_first_row_with_numbers_that_is_read_as_names_is_mentioned(table):
    with pytest.warns(UserWarning, match=r"first row, 5.1,3.5,setosa, is read as the names"):
        found = read_table(table("5.1,3.5,setosa\n4.9,3.0,setosa\n4.7,3.2,setosa\n"), columns="0,1")
    np.testing.assert_array_equal(found.X, [[4.9, 3.0], [4.7, 3.2]])


def test_names_that_number_the_columns_are_no_point(table):
    found = read_table(table("0,1,size\n4.9,3.0,1\n4.7,3.2,0\n"))
    np.testing.assert_array_equal(found.X, [[4.9, 3.0, 1.0], [4.7, 3.2, 0.0]])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a;b\n1.5;2\n3;4\n", "semicolons"),
        ("a;b\n1,5;2,5\n3,5;4,5\n", "semicolons"),
        ("1,5;2,5\n3,5;4,5\n", "semicolons"),
        ("a\tb\n1\t2\n3\t4\n", "tabs"),
    ],
)
def test_a_table_of_other_separators_is_refused_as_such(table, text, name):
    with pytest.raises(ValueError, match=f"seem to be separated by {name}"):
        read_table(table(text))
    path = table("x,note\n1,a;b\n2,c\n3,d;e\n")
    np.testing.assert_array_equal(read_table(path, columns="x").X[:, 0], [1, 2, 3])


@pytest.mark.parametrize("text", ["a,b\n1,NA\n3,4\n", "1,N/A\n3,4\n", "a,b\n1,null\n3,4\n"])
def test_a_missing_value_is_reported_as_such(table, text):
    with pytest.raises(ValueError, match=r"1 NaN or infinite values, the first in row 0"):
        read_table(table(text))


def test_rows_without_a_class_are_mentioned(table):
    with pytest.warns(UserWarning, match="2 of 4 rows have no class"):
        read_table(table("x,class\n1,a\n2,\n3,NA\n4,b\n"))


def test_times_of_a_parquet_file_are_no_numbers():
    times = np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[ns]")
    parts = [times, np.array([1.0, 2.0])]
    with pytest.raises(ValueError, match=r"column t: '2020-01-01T.* is not a number"):
        _parted(parts, ["t", "x"], None, None, Path("t.parquet"))
    assert _parted(parts, ["t", "x"], None, "x", Path("t.parquet"))[0].tolist() == [[1.0], [2.0]]


def test_a_name_that_two_columns_have_is_refused(table):
    path = table("x,x,y\n1,2,3\n4,5,6\n")
    with pytest.raises(ValueError, match="2 columns 'x': give numbers"):
        read_table(path, columns="x,y")
    np.testing.assert_array_equal(read_table(path, columns="1,2").X, [[2, 3], [5, 6]])


@pytest.mark.parametrize("name", ["T.NPZ", "T.NPY", "T.CSV"])
def test_an_ending_in_capitals_is_the_same_format(tmp_path, rng, name):
    X = rng.normal(size=(5, 2))
    write_table(tmp_path / name, X=X)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    np.testing.assert_array_equal(read_table(tmp_path / name).X, X)


def test_a_geodesic_to_its_own_start_has_no_length_to_compare(tmp_path, monkeypatch, capsys, rng):
    monkeypatch.chdir(tmp_path)
    np.save("p.npy", rng.normal(size=(6, 2)))
    assert run("geodesic p.npy --from 2 --to 2 --metric euclidean".split()) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "length 0 straight line 0 residual" in text


def test_seeds_that_jax_would_cut_are_refused(tmp_path, capsys):
    np.save(tmp_path / "p.npy", np.eye(3))
    arguments = ["cluster", str(tmp_path / "p.npy"), "-k", "2", "--seed", str(2**32)]
    assert run(arguments) == 2
    assert "--seed" in capsys.readouterr().err


def test_a_demonstration_of_a_file_says_what_it_cannot_do(tmp_path, capsys, rng):
    images = rng.uniform(size=(40, 4, 4))
    np.savez(tmp_path / "plain.npz", X=images)
    demo = ["demo", "--data", str(tmp_path / "plain.npz"), "--out", str(tmp_path / "out")]
    for more, message in [
        (["--digits", "0,1,2"], "has none: give --digits all"),
        (["--full"], "--full is of the data sets of digits"),
    ]:
        assert run([*demo, *more]) == 2
        assert message in capsys.readouterr().err
    np.savez(tmp_path / "plain.npz", X=images, y=np.arange(40) % 2)
    assert run([*demo, "--digits", "0,1,2"]) == 2
    assert "digits must be among 0, 1" in capsys.readouterr().err


def test_brackets_in_names_and_notes_are_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "[bold]").mkdir()
    lf.save("[bold]/m.landform", lf.Euclidean(2), metadata={"note": "[/red]"})
    assert run(["info", "[bold]/m.landform"]) == 0
    text = capsys.readouterr().out
    assert "[bold]/m.landform: Euclidean" in text
    assert "[/red]" in text


def test_a_label_that_a_file_cannot_have_is_refused(tmp_path, rng):
    np.save(tmp_path / "p.npy", rng.normal(size=(4, 2)))
    with pytest.raises(ValueError, match="has no array 'class'"):
        read_table(tmp_path / "p.npy", label="class")


def test_a_mean_over_some_of_the_points_says_so(monkeypatch):
    found = SimpleNamespace(
        mean=np.zeros(2), log_normalizer=0.0, normalizer_stderr=0.0,
        log_prob=lambda X, **_: np.array([-1.0, np.nan, -3.0]),
    )  # fmt: skip
    monkeypatch.setattr(lf, "fit_land", lambda *_, **__: found)
    _, rows = _fit_land(lf.Euclidean(2), np.zeros((3, 2)), 1, "exact", 0)
    assert (
        rows["log-density per point"] == "-2.0000 (Lebesgue), without 1 of 3 points that have none"
    )


def test_an_interrupted_command_says_so(tmp_path, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(lf, "pairwise_distances", interrupt)
    np.save(tmp_path / "p.npy", np.eye(3))
    out = tmp_path / "D.npz"
    arguments = ["distances", str(tmp_path / "p.npy"), "--metric", "euclidean", "--out", str(out)]
    assert run(arguments) == 130
    assert capsys.readouterr().err == "landform: interrupted\n"
    assert not out.exists()
