"""The tables that the command line reads and writes: the right columns, the right format."""

import io
import os
import signal
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import landform as lf
from landform.cli import run
from landform.cli.columns import Columns, split
from landform.cli.fitting import _fit_land
from landform.cli.inputs import read_table, write_table


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
    times = np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[ns]").astype(str)
    table = Columns(Path("t.parquet"), ("t", "x"), [times, np.array([1.0, 2.0])])
    with pytest.raises(ValueError, match=r"column t: .*2020-01-01T.* is not a number"):
        split(table, None, None)
    assert split(table, None, "x")[0].tolist() == [[1.0], [2.0]]


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
        mean=np.zeros(2),
        log_normalizer=0.0,
        normalizer_stderr=0.0,
        log_prob=lambda X, **_: np.array([-1.0, np.nan, -3.0]),
    )
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


@pytest.mark.parametrize(
    "names",
    [("1_01", "1_02"), ("007", "012"), ("1E05", "2E07"), ("\u0661", "\u0662"), ("0x1", "2")],
)
def test_identifiers_that_python_reads_as_numbers_are_text(table, names):
    path = table("well,x\n" + "".join(f"{name},0.5\n" for name in names))
    with pytest.raises(ValueError, match=r"column well.*--columns"):
        read_table(path)
    np.testing.assert_array_equal(read_table(path, columns="x").X, [[0.5], [0.5]])


@pytest.mark.parametrize("text", ["1e5", "-0.5", "+.5", "5.", "0", "00.5", "1E-05", "0.0", " 2 "])
def test_numbers_as_programs_write_them_are_read(table, text):
    assert read_table(table(f"x,y\n{text},1\n0.25,2\n")).X[0, 0] == float(text)


@pytest.mark.parametrize("name", ["Unnamed: 0", "Unnamed: 0.1", "...1", "id", "cell_id", "index"])
def test_row_numbers_with_a_name_are_no_coordinate(table, name):
    path = table(f"{name},x\n0,0.5\n1,0.25\n2,0.5\n")
    with pytest.raises(ValueError, match="choose columns with --columns"):
        read_table(path)
    assert read_table(path, columns="x").X.shape == (3, 1)
    assert read_table(path, columns=f"{name},x").X.shape == (3, 2)


def test_a_first_column_that_counts_the_rows_is_no_coordinate(table):
    body = "".join(f"{k},{k / 7},{k % 3}\n" for k in range(1, 9))
    for text in (body, "sample,x,y\n" + body):
        with pytest.raises(ValueError, match="numbers or identifiers of the rows"):
            read_table(table(text))
    assert read_table(table("x,n\n" + "".join(f"{k / 7},{k}\n" for k in range(9)))).X.shape[1] == 2


def test_names_after_a_hash_are_those_that_numpy_writes(tmp_path, rng):
    X = rng.normal(size=(4, 2))
    np.savetxt(tmp_path / "t.csv", X, delimiter=",", header="a note\nx,y")
    found = read_table(tmp_path / "t.csv")
    assert found.columns == ("x", "y")
    np.testing.assert_allclose(found.X, X)


def test_a_table_of_names_alone_says_so(table):
    with pytest.raises(ValueError, match="has no rows, only the names a, b"):
        read_table(table("a,b\n"))


def test_lists_and_indices_of_parquet_files(tmp_path, rng):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    E, path = rng.normal(size=(5, 3)), tmp_path / "e.parquet"
    meta = {b"pandas": b'{"index_columns": ["cell"]}'}
    columns = {"e": pa.array(E.tolist()), "cell": [10, 11, 12, 13, 17]}
    pq.write_table(pa.table(columns).replace_schema_metadata(meta), path)
    with pytest.warns(UserWarning, match="'cell', the index of the table, is left out"):
        found = read_table(path)
    np.testing.assert_array_equal(found.X, E)
    assert found.columns == ("e_0", "e_1", "e_2")
    pq.write_table(pa.table({"e": [[1.0], [1.0, 2.0]]}), path)
    with pytest.raises(ValueError, match="'e' has lists of different lengths"):
        read_table(path)
    pq.write_table(pa.table({"name": ["1", "2"], "x": [1.0, 2.0]}), path)
    assert read_table(path, columns="x").X.shape == (2, 1)
    with pytest.raises(ValueError, match="column name: '1' is text, and not a number"):
        read_table(path)
    pq.write_table(pa.table({"x": np.zeros(10**8)}), path)
    with pytest.raises(ValueError, match="more than 100 times"):
        read_table(path)


@pytest.mark.parametrize("dtype", [">f8", ">f4", ">i4", "f2", np.longdouble, "?"])
def test_numbers_of_any_kind_are_floats_of_this_machine(tmp_path, dtype):
    X = np.array([[0, 1], [1, 0], [1, 1]], dtype)
    np.save(tmp_path / "p.npy", X)
    found = read_table(tmp_path / "p.npy").X
    assert found.dtype == (np.float32 if dtype == ">f4" else np.float64)
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, X.astype(float))


def _npy(shape, dtype="<f8", content=b"") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2**37, 2), "<f8"), ((-1, 2), "<f8"), ((10**9,), "<U0"), ((3, 2), "<f8"), ((2, 2), "|O")],
)
def test_a_header_that_lies_is_refused_before_memory_is_taken(tmp_path, shape, dtype):
    (tmp_path / "p.npy").write_bytes(_npy(shape, dtype, b"1234"))
    with pytest.raises(ValueError, match=r"could not be read as a \.npy"):
        read_table(tmp_path / "p.npy")
    with zipfile.ZipFile(tmp_path / "p.npz", "w") as archive:
        archive.writestr("X.npy", _npy(shape, dtype, b"1234"))
    with pytest.raises(ValueError, match=r"could not be read as an \.npz"):
        read_table(tmp_path / "p.npz")


def test_an_archive_may_not_expand_a_thousandfold(tmp_path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, X=np.zeros((10**7, 2)))
    (tmp_path / "p.npz").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match=r"more than 100 times the file.*numpy.savez"):
        read_table(tmp_path / "p.npz")
    with pytest.raises(ValueError, match="more than 100 times"):
        lf.datasets.read_npz(tmp_path / "p.npz")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "id,gene,x\n1,abc,2.5\n2,abd,3.5\n", ["column gene text, 2 different", "2.5 to"]),
        ("t.csv", "a,b\n", ["shape (0, 2)", "column a no numbers"]),
        ("t.csv", "x,class\n1,u\n2,v\n3,v\n", ["classes u: 1, v: 2"]),
        ("t.csv", "x,y\n1,NA\n2,3\n", ["1 NaN or infinite"]),
    ],
)
def test_info_describes_tables_that_are_not_all_numbers(table, capsys, name, text, said):
    assert run(["info", str(table(text, name))]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(words in shown for words in said), shown


def test_info_describes_every_array_of_an_archive(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", a=np.eye(2), names=np.array(["u", "v"]), y=np.array([1, 1]))
    assert run(["info", str(tmp_path / "a.npz")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in (
        "a shape (2, 2)",
        "a range 0 to 1",
        "names type <U1, not numbers",
        "classes 1: 2",
    ):
        assert words in shown


@pytest.mark.parametrize("name", ["t.npy", "t.npz", "t.csv"])
def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch, name):
    def full(_):
        raise OSError(28, "No space left on device")

    write_table(tmp_path / name, X=np.eye(3))
    before = (tmp_path / name).read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_table(tmp_path / name, X=np.zeros((9, 9)))
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == before


_SLOW_WRITER = """
import sys, time
from pathlib import Path
from landform._core.files import replaced
with replaced(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("there", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_writer_left_is_hidden_and_goes_with_the_next_writing(tmp_path):
    path = tmp_path / "t.npy"
    command = [sys.executable, "-c", _SLOW_WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        writer.stdout.readline()
        write_table(path, X=np.eye(2))  # beside one that is at work
        left = [file.name for file in tmp_path.iterdir() if file.name != path.name]
        assert len(left) == 1
        assert left[0].startswith(".")
        writer.kill()
    write_table(path, X=np.eye(3))
    assert [file.name for file in tmp_path.iterdir()] == ["t.npy"]


@pytest.mark.parametrize("seconds", [0.6, 1.5, 3.0])
@pytest.mark.parametrize("start", [["-m", "landform"], ["landform"]])
def test_an_interrupt_at_any_moment_is_one_line_and_its_code(tmp_path, rng, seconds, start):
    np.save(tmp_path / "p.npy", rng.normal(size=(900, 2)))
    script = tmp_path / "bin" / "landform"
    script.parent.mkdir()
    script.write_text("import sys\nfrom landform.cli import main\nsys.exit(main())\n")
    program = [sys.executable, *(start if len(start) > 1 else [str(script)])]
    command = [*program, "distances", "p.npy", "--out", "D.npy"]
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (said, process.returncode) == ("landform: interrupted\n", 130)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bin", "p.npy"]


def test_damaged_files_are_read_or_refused(capsys):
    import importlib.util

    script = Path(__file__).parents[2] / "benchmarks" / "fuzz_files.py"
    spec = importlib.util.spec_from_file_location("fuzz_files", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    counts = module.fuzz(400, seed=0)
    assert counts["tried"] == 400
    assert counts["crashed"] == 0, capsys.readouterr().out
    assert counts["read"] > 10
