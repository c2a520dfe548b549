"""The command line: files in, files out, and one clear line with exit code 2 for bad input."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import landform as lf
from landform.cli import app, run
from landform.cli.inputs import read_table, write_table
from landform.sklearn import LatentVAE

COMMANDS = [
    "demo",
    "fit-land",
    "fit-vae",
    "encode",
    "decode",
    "distances",
    "geodesic",
    "cluster",
    "walk",
    "sample",
    "info",
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with one good file and many bad ones, made the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("LANDFORM_DEBUG", raising=False)
    X = np.random.default_rng(0).normal(size=(24, 2))
    np.save("ok.npy", X)
    np.save("nan.npy", np.where(np.arange(48).reshape(24, 2) == 7, np.nan, X))
    np.save("one.npy", X[:1])
    np.save("solid.npy", np.random.default_rng(1).normal(size=(24, 3)))
    np.save("constant.npy", X * [1.0, 0.0])
    np.save("vector.npy", X[:, 0])
    np.save("text.npy", np.array(["a", "b"]))
    np.savez("two.npz", a=X, b=X)
    np.savez("objects.npz", X=np.array([{}]), allow_pickle=True)
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3\n")
    (tmp_path / "words.csv").write_text("a,b\n1,2\n3,x\n")
    (tmp_path / "gap.csv").write_text("a,b\n1,2\n3,\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "junk.npy").write_text("hello")
    (tmp_path / "junk.npz").write_text("hello")
    (tmp_path / "junk.landform").write_text("hello")
    lf.save("plane.landform", lf.PoincareHalfPlane())
    lf.save("number.landform", 3)
    return tmp_path


BAD = {
    "distances nan.npy": "nan.npy has 1 NaN or infinite values, the first in row 3",
    "distances gap.csv": "gap.csv has 1 NaN",
    "distances one.npy": "one.npy has 1 rows, and at least 2",
    "distances constant.npy": "constant feature(s) 1",
    "distances vector.npy": "must have shape (n, d), and has (24,)",
    "distances text.npy": "must hold real numbers",
    "distances two.npz": "must hold an array X",
    "distances objects.npz": "could not be read as an .npz",
    "distances ragged.csv": "row 3: 1 cells where the first row has 2",
    "distances words.csv": "row 3, column b: 'x' is not a number",
    "distances empty.csv": "empty.csv is empty",
    "distances binary.csv": "could not be read as text",
    "distances junk.npy": "could not be read as a .npy",
    "distances junk.npz": "could not be read as an .npz",
    "distances nothing.npy": "does not exist",
    "distances plane.landform": "must end in one of",
    "distances ok.npy --out d.txt": "must end in .npy",
    "distances ok.npy --out none/d.npy": "folder of none/d.npy does not exist",
    "distances ok.npy --columns 7": "no column '7'",
    "distances ok.npy -m euclid": "--metric must be",
    "distances ok.npy -m junk.landform": "is not a landform file",
    "distances ok.npy -m number.landform": "holds a int, which has no metric",
    "distances ok.npy -m plane.landform": "not positive definite at",
    "distances ok.npy -m euclidean --method fast": "method must be",
    "distances ok.npy --sigma -1": "sigma must be positive",
    "geodesic ok.npy --from 0 --to 99 -m euclidean": "--to must be a row number below 24",
    "geodesic ok.npy --from 0 --to 1,2,3 -m euclidean": "--to must have 2 coordinates",
    "geodesic solid.npy --from 0 --to 1 --plot p.png": "--plot needs points of the plane",
    "fit-land solid.npy --plot p.png": "solid.npy has 3 columns",
    "geodesic ok.npy --from 0": "Missing option '--to'",
    "cluster ok.npy -k 0": "Invalid value for '--clusters'",
    "cluster ok.npy -k 99 -m euclidean": "n_clusters must be at most",
    "fit-land one.npy": "at least 3",
    "fit-vae ok.npy --architecture cnn": "architecture must be",
    "fit-vae one.npy": "at least 20",
    "fit-vae ok.npy --checkpoint junk.landform": "checkpoint junk.landform cannot be read",
    "fit-vae ok.npy --latent-dim 3 --plot p.png": "--plot needs --latent-dim 2",
    "cluster ok.npy -k 2 --method dbscan": "--method must be one of kmeans, kmedoids, spectral",
    "cluster ok.npy -k 2 --distances fast": "--distances must be one of geodesic, graph",
    "cluster ok.npy -k 2 --distances graph": "needs --method kmedoids or spectral",
    "walk ok.npy": "Missing option '--from'",
    "walk ok.npy --from 24 -m euclidean": "--from must be a row number below 24",
    "walk ok.npy --from 0 --time 0": "--time must be positive",
    "walk ok.npy --from 0 --walks 2 -o w.csv": "several walks do not fit one table",
    "walk solid.npy --from 0 --plot w.png": "--plot needs points of the plane",
    "encode ok.npy": "Missing option '--model'",
    "encode ok.npy -m plane.landform": "holds a PoincareHalfPlane, which neither encodes nor",
    "encode ok.npy -m plane.landform --std -o c.csv": "--std needs an --out that ends in .npz",
    "sample plane.landform": "nothing can be drawn from",
    "info junk.landform": "is not a landform file",
    "demo --digits 0,1,77": "classes must be among",
    "demo --digits a": "--digits must be integers",
    "demo --data none.npz": "does not exist",
    "demo --out ok.npy": "--out must be a folder",
    "--nothing": "No such option",
    "nothing": "No such command",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_one_line_and_exit_code_two(line, folder, capsys):
    assert run(line.split()) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("landform: ")
    assert output.err.count("\n") == 1
    assert BAD[line] in output.err


def test_the_package_runs_as_a_program(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["landform", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("landform", run_name="__main__")
    assert "fit-land" in capsys.readouterr().out


def test_a_parquet_file_needs_pyarrow(folder, capsys):
    (folder / "x.parquet").write_text("no")
    assert run(["distances", "x.parquet"]) == 2
    assert "parquet" in capsys.readouterr().err


def test_a_failed_computation_has_another_exit_code_than_bad_input(folder, capsys, monkeypatch):
    def fail(*args, **kwargs):
        raise lf.ConvergenceError("geodesic failed:\nno path")

    monkeypatch.setattr(lf, "geodesic", fail)
    assert run("geodesic ok.npy --from 0 --to 1 -m euclidean".split()) == 1
    assert capsys.readouterr().err == "landform: geodesic failed: no path\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_an_example(command, capsys):
    assert run([command, "--help"]) == 0
    assert f"Example: landform {command}" in " ".join(capsys.readouterr().out.split())


def test_the_program_is_installed_and_lists_its_commands():
    code = "import sys; from landform.cli import main; main(['--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    for command in COMMANDS:
        assert command in done.stdout


def test_the_page_on_the_command_line_has_every_command():
    text = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text()
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert names == set(COMMANDS)
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_distances_are_those_of_the_library(folder, capsys):
    X = np.load("ok.npy")
    assert run("distances ok.npy -m euclidean -o d.npy --plot d.png".split()) == 0
    expected = np.linalg.norm(X[:, None] - X[None], axis=-1)
    np.testing.assert_allclose(np.load("d.npy"), expected, atol=1e-9)
    assert (folder / "d.png").read_bytes().startswith(b"\x89PNG")
    assert "not converged" in capsys.readouterr().out


def test_a_geodesic_goes_from_a_row_to_a_point(folder, capsys):
    X = np.load("ok.npy")
    line = "geodesic ok.npy --from 2 --to 0.5,0.25 -m euclidean --num-points 5 --plot p.png"
    assert run(line.split()) == 0
    expected = np.linspace(X[2], [0.5, 0.25], 5)
    np.testing.assert_allclose(np.loadtxt("geodesic.csv", delimiter=","), expected, atol=1e-9)
    assert f"{np.linalg.norm(expected[0] - expected[-1]):.8g}" in capsys.readouterr().out


def test_clusters_are_scored_where_classes_are_known(folder, capsys):
    rows = [f"{x},{y},{name}" for name, x in (("a", 0), ("b", 9)) for y in range(4)]
    (folder / "groups.csv").write_text("u,v,class\n" + "\n".join(rows))
    assert run("cluster groups.csv -k 2 -m euclidean".split()) == 0
    assert "1.0000 against the classes" in capsys.readouterr().out
    labels = np.loadtxt("clusters.csv", dtype=int)
    assert len(set(labels[:4])) == len(set(labels[4:])) == 1
    assert labels[0] != labels[4]


def test_a_distribution_is_fitted_drawn_from_and_described(folder, capsys):
    assert run("fit-land ok.npy -m euclidean --plot land.png".split()) == 0
    land = lf.load("land.landform")
    X = np.load("ok.npy")
    np.testing.assert_allclose(land.mean, X.mean(axis=0), atol=1e-5)
    assert run("sample land.landform -n 30 -o s.csv --seed 4".split()) == 0
    drawn = np.loadtxt("s.csv", delimiter=",")
    np.testing.assert_allclose(drawn, land.sample(jax.random.key(4), 30), rtol=1e-12)
    capsys.readouterr()
    assert run(["info", "land.landform"]) == 0
    text = capsys.readouterr().out
    assert "land.landform: LAND" in text
    assert "ok.npy" in text


def test_a_generator_is_trained_and_gives_a_metric(folder, capsys):
    X = np.random.default_rng(1).normal(size=(30, 4))
    np.savez("data.npz", X=X, y=np.arange(30) % 2)
    line = "fit-vae data.npz --epochs 2 --num-centers 4 --plot v.png --seed 3 --checkpoint c"
    assert run(line.split()) == 0
    vae = lf.load("vae.landform")
    assert run([*line.split(), "-o", "again.landform"]) == 0  # goes on from the end
    np.testing.assert_array_equal(lf.load("again.landform").encode(X), vae.encode(X))
    np.save("codes.npy", vae.encode(X))
    assert run("distances codes.npy -m vae.landform --method graph".split()) == 0
    with np.load("distances.npz") as found:
        expected = lf.pairwise_distances(vae.metric(), vae.encode(X), method="graph")
        np.testing.assert_allclose(found["distances"], expected)
    assert run("sample vae.landform -n 3 -o s.npy".split()) == 0
    assert np.load("s.npy").shape == (3, 4)


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    """A folder with a VAE of images of 2 × 2 pixels, its estimator and an unfitted one."""
    path = tmp_path_factory.mktemp("generator")
    images = np.random.default_rng(2).uniform(size=(30, 2, 2))
    model = LatentVAE(hidden=(4,), epochs=2, num_centers=4, random_state=0).fit(images)
    np.savez(path / "images.npz", X=images, y=np.arange(30) % 2)
    np.save(path / "rows.npy", images.reshape(30, 4))
    np.save(path / "three.npy", np.zeros((5, 3)))
    lf.save(path / "vae.landform", model.vae_)
    lf.save(path / "model.landform", model)
    lf.save(path / "new.landform", LatentVAE())
    return path


@pytest.fixture
def latent(generator, tmp_path, monkeypatch):
    """That folder's files in a working folder of the test's own."""
    shutil.copytree(generator, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return lf.load("vae.landform"), np.load("images.npz")["X"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("distances rows.npy -m vae.landform", "landform encode rows.npy --model vae.landform"),
        ("distances rows.npy -m model.landform", "landform encode rows.npy"),
        ("distances three.npy -m vae.landform", "3 columns, and the metric of vae.landform 2"),
        ("distances images.npz -m vae.landform", "landform encode makes points of images"),
        ("distances rows.npy -m new.landform", "holds a LatentVAE without a metric"),
        ("encode three.npy -m vae.landform", "data of shape (3,), and vae.landform was trained on"),
        ("decode three.npy -m vae.landform", "3 columns, and vae.landform 2 latent dimensions"),
    ],
)
def test_data_that_do_not_fit_a_generator_are_refused_with_the_way_out(line, words, latent, capsys):
    assert run(line.split()) == 2
    output = capsys.readouterr().err
    assert output.count("\n") == 1
    assert words in output


@pytest.mark.parametrize("model", ["vae.landform", "model.landform"])
def test_data_are_encoded_as_images_or_rows_and_decoded(model, latent, capsys):
    vae, images = latent
    assert run(f"encode images.npz -m {model} --std --plot c.png".split()) == 0
    with np.load("codes.npz") as codes:
        means, deviations = vae.posterior(images)
        np.testing.assert_array_equal(codes["X"], means)
        np.testing.assert_array_equal(codes["std"], deviations)
        np.testing.assert_array_equal(codes["y"], np.arange(30) % 2)
    assert run(f"encode rows.npy -m {model} -o r.npy".split()) == 0
    np.testing.assert_array_equal(np.load("r.npy"), means)
    assert run(f"decode codes.npz -m {model} --std --plot d.png".split()) == 0
    with np.load("decoded.npz") as found:
        np.testing.assert_array_equal(found["X"], vae.decode(means))
        assert found["std"].shape == images.shape
    assert Path("c.png").exists()
    assert Path("d.png").exists()
    assert "30 decoded points" in capsys.readouterr().out


def test_a_fitted_estimator_is_drawn_from_and_gives_its_metric(latent):
    vae, images = latent
    assert run("sample model.landform -n 3 -o s.npy".split()) == 0
    np.testing.assert_array_equal(np.load("s.npy"), vae.sample(jax.random.key(0), 3))
    np.save("codes.npy", vae.encode(images))
    assert run("distances codes.npy -m model.landform --method graph -o d.npy".split()) == 0
    expected = lf.pairwise_distances(vae.metric(), vae.encode(images), method="graph")
    np.testing.assert_allclose(np.load("d.npy"), expected)


def test_walks_are_those_of_the_library_and_can_be_decoded(latent, capsys):
    vae, images = latent
    codes = np.asarray(vae.encode(images))
    np.save("codes.npy", codes)
    line = "walk codes.npy -m vae.landform --from 3 --time 0.01 --steps 5 --seed 7"
    assert run([*line.split(), "--plot", "w.png"]) == 0
    expected = lf.brownian_motion(
        vae.metric(), codes[3:4], key=jax.random.key(7), time=0.01, num_steps=5
    )
    with np.load("walk.npz") as found:
        np.testing.assert_allclose(found["X"], expected[0])
        np.testing.assert_allclose(found["time"], np.linspace(0.0, 0.01, 6))
    assert Path("w.png").exists()
    assert "1 walk of 5 steps (Brownian motion)" in capsys.readouterr().out
    assert run([*line.split(), "--walks", "2", "--no-drift", "-o", "two.npy"]) == 0
    assert np.load("two.npy").shape == (2, 6, 2)
    assert run("decode two.npy -m vae.landform -o d.csv".split()) == 0
    assert np.loadtxt("d.csv", delimiter=",").shape == (12, 4)


def test_a_walk_takes_by_default_the_time_to_cover_the_spread_of_the_data(folder, capsys):
    assert run("walk ok.npy -m euclidean --from 0 --steps 4".split()) == 0
    X = np.load("ok.npy")
    spread = np.mean(np.sum((X - X.mean(axis=0)) ** 2, axis=1))
    with np.load("walk.npz") as found:
        assert found["time"][-1] == pytest.approx(spread / 2)
    assert f"in which {np.sqrt(spread):.4g} is covered" in capsys.readouterr().out


def test_walks_that_all_leave_the_domain_are_a_failure_and_write_nothing(folder, capsys):
    np.save("up.npy", np.abs(np.load("ok.npy")) + 0.1)
    line = "walk up.npy -m plane.landform --from 0 --steps 3 --time 1e6"
    assert run(line.split()) == 1
    assert "every walk left the domain" in capsys.readouterr().err
    assert not Path("walk.npz").exists()


@pytest.mark.parametrize("method", ["kmeans", "kmedoids", "spectral"])
def test_each_method_of_clustering_separates_groups(method, folder, capsys):
    rng = np.random.default_rng(3)
    X = np.concatenate([rng.normal(size=(9, 2)), rng.normal(size=(9, 2)) + 30.0])
    np.savez("groups.npz", X=X, y=np.repeat([0, 1], 9))
    line = f"cluster groups.npz -k 2 -m euclidean --method {method} -o c.npz --plot c.png"
    assert run(line.split()) == 0
    assert "1.0000 against the classes" in capsys.readouterr().out
    assert Path("c.png").exists()
    with np.load("c.npz") as found:
        assert len(set(found["labels"][:9])) == len(set(found["labels"][9:])) == 1
        if method == "kmedoids":
            np.testing.assert_array_equal(found["centers"], X[found["medoids"]])


def test_info_tells_what_is_installed_and_what_a_file_holds(folder, capsys):
    assert run(["info"]) == 0
    assert lf.__version__ in capsys.readouterr().out
    assert run(["info", "constant.npy"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "shape (24, 2)" in text
    assert "constant columns 1" in text


def test_a_table_is_read_with_its_columns_and_classes(folder):
    (folder / "t.csv").write_text("x,y,label\n1,2,a\n3,4,b\n\n5,6,a\n")
    table = read_table("t.csv")
    np.testing.assert_array_equal(table.X, [[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(table.y, [0, 1, 0])
    assert table.columns == ("x", "y")
    np.testing.assert_array_equal(read_table("t.csv", columns="y").X.ravel(), [2, 4, 6])
    (folder / "plain.csv").write_text("1;2\n".replace(";", ",") * 3)
    assert read_table("plain.csv").X.shape == (3, 2)


@pytest.mark.parametrize("ending", ["npy", "npz", "csv"])
def test_a_written_table_is_read_back_bit_for_bit(folder, ending, rng):
    X = rng.normal(size=(7, 3))
    write_table(f"t.{ending}", X=X)
    np.testing.assert_array_equal(read_table(f"t.{ending}").X, X)


def test_a_warning_of_the_library_is_one_line_after_the_result(folder, capsys):
    np.save("few.npy", np.load("ok.npy")[:6])
    assert run("distances few.npy --method graph".split()) == 0
    for line in capsys.readouterr().err.splitlines():
        assert line.startswith("landform: note: ")
