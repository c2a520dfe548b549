"""The demonstration, on a configuration small enough for a test."""

import base64
import dataclasses
import json
import re

import numpy as np
import pytest

import landform as lf
from landform import demo as report
from landform.demo import measure, model, page, study
from landform.demo.words import section

TINY = report.Settings(
    per_class=25,
    epochs=6,
    num_centers=12,
    width=2.0,
    table_size=96,
    map_size=16,
    pairs=6,
    matrix_points=40,
    land_points=30,
    draws=60,
    walks=2,
    walk_steps=50,
    frames=5,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One run of the tiny demonstration: its folder, its numbers and the steps it went through."""
    out, steps = tmp_path_factory.mktemp("demo") / "new" / "folder", []
    results = report.run_demo(report.load_sample(TINY), TINY, out, progress=steps.append)
    return out, results, steps


@pytest.mark.heavy
@pytest.mark.slow
def test_the_demonstration_writes_everything_it_promises(finished):
    out, results, steps = finished
    sections = {
        "magnification",
        "deviation",
        "interpolation",
        "distances",
        "clusters",
        "mixtures",
        "walks",
    }
    assert {p.stem for p in out.glob("*.png")} == sections
    assert sorted(steps) == sorted(report.STEPS)
    stored = json.loads((out / "results.json").read_text())
    assert stored["numbers"] == results
    assert stored["settings"]["digits"] == [0, 1, 2]
    assert all(np.isfinite(v) for v in results.values())


@pytest.mark.heavy
@pytest.mark.slow
def test_the_page_needs_no_other_file(finished):
    out, _, _ = finished
    text = (out / "index.html").read_text()
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    assert len(images) == 7
    for image, name in zip(images, re.findall(r'<section id="(\w+)"', text), strict=True):
        assert base64.b64decode(image) == (out / f"{name}.png").read_bytes()
    assert "http" not in text
    assert "<script" not in text
    assert "{" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)


@pytest.mark.heavy
@pytest.mark.slow
def test_the_saved_model_is_the_one_that_was_measured(finished):
    out, results, _ = finished
    vae, table = lf.load(out / "vae.landform"), lf.load(out / "metric.landform")
    codes = vae.encode(report.load_sample(TINY).X)
    error = np.asarray(table.error(vae.metric(), codes))
    assert np.median(error) == pytest.approx(results["table_error_median"], rel=1e-6)


@pytest.mark.heavy
@pytest.mark.slow
def test_every_number_of_a_section_is_in_the_results(finished):
    _, results, _ = finished
    for key in ("magnification", "deviation", "interpolation", "distances", "clusters", "walks"):
        title, see, number, meaning = section(key, results)
        assert title
        assert see.endswith(".")
        assert re.search(r"\d", number)
        assert meaning
    unlabelled = {k: v for k, v in results.items() if not k.startswith("f_")}
    assert section("clusters", unlabelled)[2] == "—"


@pytest.mark.heavy
@pytest.mark.slow
def test_the_rbf_is_unsure_off_the_data_in_every_direction(finished):
    _, results, _ = finished
    assert results["rbf_std_ratio"] > 3
    smallest = results["rbf_std_smallest_at_three_radii"]
    assert smallest == pytest.approx(results["rbf_std_at_three_radii"], rel=1e-3)


@pytest.mark.heavy
@pytest.mark.slow
def test_geodesics_are_never_longer_than_straight_lines_when_certified(finished):
    _, results, _ = finished
    assert results["geodesics_shorter"] >= results["geodesics_converged"] > 0


@pytest.mark.heavy
@pytest.mark.slow
def test_labels_change_no_number_but_the_scores():
    sample = report.load_sample(TINY)
    small = dataclasses.replace(TINY, epochs=2)
    blind = dataclasses.replace(sample, y=None)
    codes = [model.train_smooth(s, small).codes for s in (sample, blind)]
    np.testing.assert_array_equal(*codes)


def test_separation_is_one_for_far_clusters_and_half_for_none():
    labels = np.repeat([0, 1], 40)
    x = np.where(labels == 0, 0.0, 100.0) + np.arange(80) % 40
    assert measure.separation(np.abs(x[:, None] - x), labels) == 1.0
    x = np.random.default_rng(0).normal(size=80)
    assert measure.separation(np.abs(x[:, None] - x), labels) == pytest.approx(0.5, abs=0.03)


def test_clusters_take_the_names_of_their_classes():
    classes = np.array([3, 3, 7, 7, 9, 9])
    np.testing.assert_array_equal(measure.matched(np.array([2, 2, 0, 0, 1, 1]), classes), classes)
    renamed = measure.matched(np.array([0, 1, 2, 2, 3, 3]), classes)
    assert len(np.unique(renamed)) == 4
    np.testing.assert_array_equal(renamed[2:], classes[2:])
    lost = measure.matched(np.array([1, -1, 2, 2, 0, 0]), classes)
    np.testing.assert_array_equal(lost, [3, -1, 7, 7, 9, 9])


def test_the_support_joins_evenly_spaced_codes():
    codes = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), -1).reshape(-1, 2)
    support = model.Support(codes)
    assert support.radius == pytest.approx(2.0)
    points = [[[2.5, 2.5], [6.1, 4.0]], [[-2.1, 0.0], [np.nan, 0.0]]]
    np.testing.assert_array_equal(support(points), [[True, False], [False, False]])


@pytest.mark.heavy
@pytest.mark.slow
def test_the_study_crosses_triples_and_seeds():
    small = dataclasses.replace(TINY, epochs=2, per_class=20)
    numbers, table = study.run_study(small, triples=((0, 1, 2),), seeds=(0, 1), progress=str)
    assert table["riemannian"].shape == (1, 2)
    assert numbers["study_f_riemannian"] == pytest.approx(table["riemannian"].mean())
    assert 0 < numbers["study_012_euclidean_mean"] <= 1


def test_data_of_a_user_are_shuffled_scaled_and_chosen(rng):
    X, y = rng.uniform(0, 255, (40, 4, 4)), np.repeat([0, 1], 20)
    settings = dataclasses.replace(TINY, digits=(1,))
    sample = report.load_sample(settings, (X, y))
    assert sample.X.shape == (20, 4, 4)
    assert sample.X.min() == 0.0
    assert sample.X.max() == 1.0
    with pytest.raises(ValueError, match=r"classes must be among 0, 1, got \[5\]"):
        report.load_sample(dataclasses.replace(TINY, digits=(5,)), (X, y))
    assert report.load_sample(TINY, (X, None)).y is None
    few = report.load_sample(dataclasses.replace(TINY, digits=(), per_class=5), (X, y))
    assert few.y is not None
    np.testing.assert_array_equal(np.bincount(few.y), [5, 5])
    assert len(report.load_sample(dataclasses.replace(TINY, per_class=5), (X, None)).X) == 5


def test_no_digits_are_all_of_them():
    sample = report.load_sample(dataclasses.replace(TINY, digits=(), per_class=3))
    assert sample.y is not None
    np.testing.assert_array_equal(np.bincount(sample.y), np.full(10, 3))


def test_text_is_escaped_on_the_page():
    text = page.render(
        "<b>", "&", [page.Section("k", "<t>", "see", "1", "n", b"png")], ["<c>"], {"a_b": 1.5}, "f"
    )
    assert "<b>" not in text.split("<main>")[1].split("</h1>")[0]
    assert "&lt;t&gt;" in text
    assert "<td>a b</td><td class='n'>1.5</td>" in text
