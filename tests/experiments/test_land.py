"""The published experiments, on a small scale."""

import json

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from experiments.compare import Fits, score_all
from experiments.groups import GroupSettings, reduced, run_motion, sleep_groups
from experiments.synthetic import SyntheticSettings, draw, run_synthetic
from experiments.write import flat
from landform import datasets
from landform.demo.page import folder


@pytest.mark.parametrize("name", SyntheticSettings().sets)
def test_clouds_depend_on_nothing_but_their_seed(name):
    first, count = draw(name, 50, 3)
    again, _ = draw(name, 50, 3)
    np.testing.assert_array_equal(first, again)
    assert first.shape == (50, 2)
    assert 1 <= count <= 3
    assert not np.array_equal(first, draw(name, 50, 4)[0])


def test_an_unknown_cloud_is_refused():
    with pytest.raises(ValueError, match="unknown"):
        draw("torus", 10, 0)


def test_fits_that_failed_score_nan_and_leave_the_others_their_points():
    X = np.random.default_rng(0).standard_normal((40, 2))
    labels = (X[:, 0] > 0).astype(int)
    gaussian = GaussianMixture(2, random_state=0).fit(X)
    scores = score_all(Fits(gaussian, None, None), X, labels)
    assert scores.density["gaussian"] == pytest.approx(gaussian.score(X))
    assert np.isnan(scores.density["land"])
    assert np.isnan(scores.f["land"])
    assert scores.failed == {"gaussian": 0, "least_squares": 40, "land": 40}


def test_nested_numbers_get_joined_names():
    assert flat({"a": {"b": 1, "c": "text"}, "d": 2.5}) == {"a b": 1.0, "d": 2.5}


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(ValueError, match="folder"):
        folder(path)


@pytest.mark.heavy
@pytest.mark.slow
def test_the_synthetic_experiment_writes_a_page_with_its_numbers(tmp_path):
    settings = SyntheticSettings(
        sets=("half-ellipse", "gaussian"),
        seeds=(0,),
        train=60,
        test=100,
        n_directions=32,
        folds=2,
        grid=16,
        sweep=False,
    )
    results = run_synthetic(settings, tmp_path, progress=lambda text: None)
    stored = json.loads((tmp_path / "results.json").read_text())["results"]
    assert stored["half-ellipse"]["land"]["mean"] == results["half-ellipse"]["land"]["mean"]
    assert results["half-ellipse"]["land"]["mean"] > results["half-ellipse"]["gaussian"]["mean"]
    page = (tmp_path / "index.html").read_text()
    assert "half-ellipse land mean" in page
    assert (tmp_path / "density-gaussian.png").stat().st_size > 1000


@pytest.mark.data
def test_nights_without_one_of_the_stages_are_left_out(data_folder):
    data = datasets.load("sleep", seed=None)
    groups = sleep_groups()
    assert len(groups) == len(np.unique(data.extras["subject"]))
    assert sum(len(g.X) for g in groups) < len(data.X)
    for group in groups:
        assert set(group.y) == {0, 1, 2}


@pytest.mark.parametrize("kind", ["pca", "nmf"])
def test_features_have_one_scale_and_no_labels(kind, rng):
    X = rng.random((50, 4)) @ rng.random((4, 9))
    features = reduced(X, 3, kind)
    assert features.shape == (50, 3)
    assert float(features.std(axis=0).mean()) == pytest.approx(1.0)
    np.testing.assert_allclose(features.mean(axis=0), 0.0, atol=1e-12)


@pytest.mark.heavy
@pytest.mark.data
@pytest.mark.slow
def test_the_motion_experiment_reports_every_method(tmp_path, data_folder):
    settings = GroupSettings(
        components=(2,),
        seeds=(0,),
        train=80,
        test=60,
        n_directions=32,
        width=1.0,
        bounds=(1e6, 100.0, 10.0, 1.0),
    )
    kept = []

    def progress(text):
        if text == "figures":  # a run that is stopped here has left its numbers
            kept.extend(json.loads((tmp_path / "results.json").read_text())["unfinished"])

    results = run_motion(settings, tmp_path, progress=progress)
    row = results["runs"][0]
    assert [one["f"] for one in kept] == [row["f"]]
    assert set(row["f"]) == set(row["density"]) == {"gaussian", "least_squares", "land"}
    assert (tmp_path / "f.png").exists()
