"""The experiments of Latent Space Oddity, on a small scale."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from experiments.commands import program
from experiments.oddity import load_images
from experiments.oddity_clusters import (
    Space,
    euclidean,
    exact,
    other_methods,
    riemannian,
    silhouette,
)
from experiments.oddity_kmeans import KMeansSettings, groups_of, run_kmeans
from experiments.oddity_variance import VarianceSettings, _floored, run_variance
from landform import cli

SMALL = lf.Training(hidden=(16,), epochs=10, num_centers=8, bandwidth_scale=1.0)


def write_images(path, X, **arrays):
    np.savez(path, X=X, **arrays)
    return str(path)


def test_images_of_a_file_come_in_the_unit_interval_and_in_one_order(tmp_path, rng):
    X = rng.integers(0, 200, (30, 4, 4)).astype(np.uint8)
    path = write_images(tmp_path / "some.npz", X, y=np.arange(30) % 3)
    found = load_images(path, classes=(0, 2), per_class=8, seed=1)
    assert found.X.shape == (16, 4, 4)
    assert found.name == "some"
    assert sorted(set(found.y.tolist())) == [0, 2]
    rows = [int(np.flatnonzero((x == X / 255.0).all(axis=(1, 2)))[0]) for x in found.X]
    assert (np.array(rows) % 3 == found.y).all()
    np.testing.assert_array_equal(found.X, load_images(path, classes=(0, 2), per_class=8, seed=1).X)
    assert not np.array_equal(rows, np.sort(rows))


def test_other_values_are_mapped_by_their_range_over_the_file(tmp_path, rng):
    X = rng.uniform(-2.0, 6.0, (30, 4))
    found = load_images(write_images(tmp_path / "a.npz", X))
    assert found.y is None
    assert (found.X.min(), found.X.max()) == (0.0, 1.0)
    unit = write_images(tmp_path / "b.npz", (X + 2.0) / 10.0)
    assert load_images(unit).X.max() < 0.85


def test_flaws_of_a_file_are_named(tmp_path):
    path = tmp_path / "bad.npz"
    with pytest.raises(FileNotFoundError, match="bad"):
        load_images(str(path))
    np.savez(path, Z=np.zeros(3))
    with pytest.raises(ValueError, match="array X"):
        load_images(str(path))
    with pytest.raises(ValueError, match="classes y"):
        load_images(write_images(path, np.zeros((5, 2))), classes=(0,))
    with pytest.raises(ValueError, match="shape"):
        load_images(write_images(path, np.zeros((5, 2)), y=np.zeros(4)))
    with pytest.raises(ValueError, match="finite"):
        load_images(write_images(path, np.full((5, 2), np.nan)))
    with pytest.raises(ValueError, match="must vary: all of its values are -3"):
        load_images(write_images(path, np.full((5, 2), -3.0)))
    with pytest.raises(ValueError, match="among"):
        load_images(write_images(path, np.zeros((5, 2)), y=np.zeros(5)), classes=(7,))


@pytest.fixture(scope="module")
def variance(tmp_path_factory):
    """A small run on scikit-learn's digits, and the folder it wrote."""
    folder = tmp_path_factory.mktemp("variance")
    settings = VarianceSettings(
        data="digits",
        per_class=60,
        seeds=(0,),
        samples=50,
        map_size=20,
        floors=(0.03,),
        training=SMALL,
    )
    return run_variance(settings, folder, progress=lambda text: None), folder


def test_the_variance_study_writes_what_it_found(variance):
    results, folder = variance
    stored = json.loads((folder / "results.json").read_text())
    assert stored["results"]["summary"]["gain"] == results["summary"]["gain"]
    assert stored["settings"]["training"]["num_centers"] == 8
    page = (folder / "index.html").read_text()
    assert "-50.34" in page
    assert "second-hand" in page
    for key in ("evidence", "deviation", "std", "magnification", "calibration", "floor"):
        assert (folder / f"{key}.png").read_bytes().startswith(b"\x89PNG")


def test_the_precision_grows_off_the_data_and_the_test_images_are_held_out(variance):
    row = variance[0]["runs"][0]
    assert (row["train"], row["test"]) == (108, 12)
    assert row["rbf"]["std_ratio"] > 10.0
    assert row["rbf"]["std_ratio"] > row["network"]["std_ratio"]
    assert row["gain"] == pytest.approx(row["rbf"]["log_marginal"] - row["network"]["log_marginal"])
    assert row["gain_by_floor"] == {"0.03": row["gain"]}


def test_the_smallest_deviation_is_a_share_of_the_spread():
    X = np.random.default_rng(0).standard_normal((500, 3)) * 2.0
    settings = VarianceSettings(floors=(0.1,))
    assert _floored(X, settings).min_std == pytest.approx(0.2, rel=0.05)
    assert _floored(X, settings, 0.3).min_std == pytest.approx(0.6, rel=0.05)


def test_classes_on_the_command_line_are_integers(tmp_path, capsys):
    code = cli.run(["oddity-variance", "--classes", "0,x", "--out", str(tmp_path / "o")], program)
    assert code == 2
    assert "--classes" in capsys.readouterr().err


@pytest.mark.heavy
@pytest.mark.data
@pytest.mark.slow
def test_the_variance_study_reaches_its_targets(data_folder, tmp_path):
    settings = VarianceSettings(data="mnist", seeds=(0,), floors=(0.03,), samples=200)
    row = run_variance(settings, tmp_path, progress=lambda text: None)["runs"][0]
    assert row["gain"] > 15.0
    assert row["rbf"]["std_smallest_at_three_radii"] > 10.0 * row["rbf"]["std_on_data"]


@pytest.fixture(scope="module")
def blobs():
    """Codes in three strips along which distances are short, and their strips."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 30)
    codes = np.stack([rng.uniform(-3.0, 3.0, 90), y + 0.1 * rng.standard_normal(90)], axis=1)
    return codes, y


class Strips(lf.AbstractMetric):
    """Steps along the first axis are cheap, across dear."""

    scale: jax.Array

    @property
    def dim(self):
        return 2

    def __call__(self, x):
        return self.scale * jnp.diag(jnp.array([0.05, 1.0]))


@pytest.fixture(scope="module")
def space(blobs):
    codes, _ = blobs
    table = lf.Tabulated(Strips(jnp.asarray(2.0)), [-5.0, -2.0], [5.0, 4.0], size=8)
    distances = np.asarray(lf.pairwise_distances(table, codes, method="graph"))
    return Space(codes, table, distances)


def test_clusters_under_the_metric_are_the_strips(space, blobs):
    rows = np.arange(len(blobs[1]))
    labels, centers = riemannian(space, rows, 3)
    assert lf.f_measure(blobs[1], labels) == 1.0
    assert sorted(blobs[1][centers]) == [0, 1, 2]
    assert lf.f_measure(blobs[1], euclidean(space, rows, 3, 0)) < 0.9
    others = other_methods(space, rows, blobs[1], 0)
    assert others["Riemannian k-medoids"] == 1.0
    assert others["Euclidean k-medoids"] < 0.9


def test_a_subset_is_clustered_by_its_own_codes(space, blobs):
    rows = np.arange(0, len(blobs[1]), 2)
    labels, centers = riemannian(space, rows, 3)
    assert labels.shape == rows.shape
    assert set(centers) <= set(rows)
    assert lf.f_measure(blobs[1][rows], labels) == 1.0


def test_exact_geodesics_find_the_same_strips(space, blobs):
    rows = np.arange(len(blobs[1]))
    labels, centers = riemannian(space, rows, 3)
    found = exact(space, rows, centers, 0)
    assert found["converged"]
    assert found["lost"] == 0
    np.testing.assert_array_equal(found["labels"], labels)


def test_the_silhouette_is_larger_for_strips_that_are_farther_apart(space, blobs):
    rows = np.arange(len(blobs[1]))
    far = space._replace(distances=space.distances + 5.0 * (blobs[1][:, None] != blobs[1][None]))
    assert silhouette(space, rows, 3) < silhouette(far, rows, 3) <= 1.0


@pytest.fixture(scope="module")
def kmeans(tmp_path_factory):
    """A small run on scikit-learn's digits, and the folder it wrote."""
    folder = tmp_path_factory.mktemp("kmeans")
    settings = KMeansSettings(
        data="digits",
        groups=((0, 1, 2),),
        per_class=60,
        seeds=(0,),
        subsets=2,
        subset=120,
        widths=(1.0, 2.0),
        table_size=48,
        training=SMALL,
        ablation=True,
        variants=("paper", "a = 1"),
    )
    return run_kmeans(settings, folder, progress=lambda text: None), folder


def test_the_clustering_writes_what_it_found(kmeans):
    results, folder = kmeans
    stored = json.loads((folder / "results.json").read_text())
    assert stored["results"]["summary"] == results["summary"]
    page = (folder / "index.html").read_text()
    assert "94.28" in page
    assert "second-hand" in page
    for key in ("scores", "map-012", "widths"):
        assert (folder / f"{key}.png").read_bytes().startswith(b"\x89PNG")


def test_the_ablation_changes_one_choice_at_a_time(kmeans):
    results, folder = kmeans
    rows = results["ablation"]["0,1,2"]
    assert list(rows) == ["paper", "a = 1"]
    # The same encoder and mean, another metric.
    assert rows["paper"]["Euclidean k-means"] == rows["a = 1"]["Euclidean k-means"]
    assert rows["paper"]["silhouette"] != rows["a = 1"]["silhouette"]
    best = max(row["Riemannian k-means"] for row in rows.values())
    assert f"{best:.1f} %" in (folder / "index.html").read_text()
    assert (folder / "ablation.png").read_bytes().startswith(b"\x89PNG")


def test_the_width_is_the_one_with_the_largest_silhouette(kmeans):
    run = kmeans[0]["runs"][0]
    best = max(run["candidates"], key=lambda c: c["silhouette"])
    assert run["width"] == best["width"]
    assert [c["width"] for c in run["candidates"]] == [1.0, 2.0]
    assert len(run["f"]["riemannian"]) == 2
    assert run["f"]["riemannian"][0] != run["f"]["riemannian"][1]
    assert run["mean"]["riemannian"] == pytest.approx(np.mean(run["f"]["riemannian"]))
    row = kmeans[0]["summary"]["0,1,2"]
    assert row["gain"] == pytest.approx(row["riemannian"]["mean"] - row["euclidean"]["mean"])


@pytest.mark.parametrize("variants", [(), ("a = 7",)])
def test_an_unknown_choice_of_the_ablation_is_refused_at_once(variants, tmp_path):
    with pytest.raises(ValueError, match="variants must be some of paper, a = 1"):
        run_kmeans(KMeansSettings(data="digits", variants=variants), tmp_path)


def test_a_file_without_the_papers_classes_is_one_group(tmp_path, rng):
    path = write_images(tmp_path / "two.npz", rng.random((20, 3)), y=np.arange(20) % 2)
    assert groups_of(KMeansSettings(data=path)) == ((0, 1),)
    assert groups_of(KMeansSettings(data="digits"))[2] == (5, 6, 9)
    with pytest.raises(ValueError, match="classes y"):
        groups_of(KMeansSettings(data=write_images(tmp_path / "x.npz", rng.random((20, 3)))))


@pytest.mark.heavy
@pytest.mark.data
@pytest.mark.slow
def test_clusters_under_the_metric_beat_the_papers(data_folder, tmp_path):
    settings = KMeansSettings(data="mnist", groups=((5, 6, 9),), seeds=(0,), subsets=3)
    row = run_kmeans(settings, tmp_path, progress=lambda text: None)["summary"]["5,6,9"]
    assert row["riemannian"]["mean"] > 81.1
    assert row["gain"] > 10.0
