"""Data sets: shapes, ranges, order, and clear refusals."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

import landform as lf
from experiments.oddity import load_images
from landform import datasets


def test_the_digits_need_no_folder(monkeypatch):
    monkeypatch.delenv("LANDFORM_DATA", raising=False)
    digits = datasets.load()
    assert digits.X.shape == (1797, 8, 8)
    assert (digits.X.min(), digits.X.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(np.unique(digits.y), np.arange(10))


def test_classes_and_counts_are_what_was_asked_for():
    digits = datasets.load("digits", classes=(3, 8), per_class=50, seed=4)
    assert np.bincount(digits.y).tolist() == [0, 0, 0, 50, 0, 0, 0, 0, 50]
    assert np.count_nonzero(np.diff(digits.y)) > 20


def test_a_seed_gives_one_order_and_none_that_of_the_source():
    first, same = datasets.load(seed=1), datasets.load(seed=1)
    np.testing.assert_array_equal(first.X, same.X)
    assert not np.array_equal(first.y, datasets.load(seed=2).y)
    np.testing.assert_array_equal(datasets.load(seed=None).y[:10], np.arange(10))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"name": "cats"}, "name must be one of digits, mnist"),
        ({"classes": (0, 11)}, "classes must be among 0, 1"),
        ({"classes": ()}, "classes must be among"),
        ({"per_class": 0}, "per_class must be an integer"),
    ],
)
def test_bad_requests_are_refused_by_name(change, match):
    with pytest.raises(ValueError, match=match):
        datasets.load(**change)


def test_a_missing_folder_and_a_missing_file_say_so(monkeypatch, tmp_path):
    monkeypatch.setenv("LANDFORM_DATA", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="LANDFORM_DATA must name a folder"):
        datasets.load("sleep")
    monkeypatch.setenv("LANDFORM_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"sleepedf\.npz .* was not found"):
        datasets.load("sleep")
    monkeypatch.delenv("LANDFORM_DATA")
    with pytest.raises(FileNotFoundError, match="set LANDFORM_DATA"):
        datasets.load("fashion")


def test_unreadable_files_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("LANDFORM_DATA", str(tmp_path))
    path = tmp_path / "sleepedf.npz"
    path.write_text("no archive")
    with pytest.raises(ValueError, match="could not be read"):
        datasets.load("sleep")
    np.savez(path, X=np.array([{}, {}], dtype=object))
    with pytest.raises(ValueError, match="could not be read"):
        datasets.load("sleep")
    np.savez(path, data=np.zeros(3))
    with pytest.raises(ValueError, match="must hold an array X"):
        datasets.load("sleep")


def test_a_file_of_the_folder_is_read_with_its_extras(monkeypatch, tmp_path):
    monkeypatch.setenv("LANDFORM_DATA", str(tmp_path))
    X, y = np.arange(12, dtype=np.uint8).reshape(3, 2, 2) * 20, np.array([4, 7, 4])
    np.savez(tmp_path / "mnist.npz", X=X, y=y, row=np.arange(3), names=np.array(["a", "b"]))
    found = datasets.load("mnist", classes=(4,))
    assert found.X.dtype == np.float64
    rows = found.extras["row"]
    np.testing.assert_allclose(found.X, X[rows] / 255.0)
    assert sorted(rows.tolist()) == [0, 2]
    assert found.extras["names"].tolist() == ["a", "b"]


def test_images_that_are_floats_already_keep_their_greys(monkeypatch, tmp_path):
    monkeypatch.setenv("LANDFORM_DATA", str(tmp_path))
    X = np.linspace(0.0, 1.0, 12, dtype=np.float32).reshape(3, 2, 2)
    for factor in (1, 255):
        np.savez(tmp_path / "mnist.npz", X=factor * X, y=np.arange(3))
        np.testing.assert_allclose(datasets.load("mnist", seed=None).X, X, rtol=1e-6)


def test_a_data_set_is_known_by_the_name_of_its_file_too(monkeypatch, tmp_path):
    monkeypatch.setenv("LANDFORM_DATA", str(tmp_path))
    np.savez(tmp_path / "mocap35_frames.npz", X=np.full((3, 2, 2), 51, np.uint8), y=np.arange(3))
    found = datasets.load("mocap35_frames", seed=None)
    assert found.name == "mocap-frames"
    np.testing.assert_array_equal(found.X, datasets.load("mocap-frames", seed=None).X)
    np.testing.assert_array_equal(load_images("mocap35_frames").X, found.X)
    with pytest.raises(ValueError, match="name must be one of"):
        datasets.load("mocap35_frames.npz")


def test_mnist_comes_from_openml_where_there_is_no_file(monkeypatch):
    import sklearn.datasets

    class Source:
        data, target = np.arange(2 * 784, dtype=np.uint8).reshape(2, 784), np.array(["5", "0"])

    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.delenv("LANDFORM_DATA", raising=False)
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda *args, **kwargs: Source)
    found = datasets.load("mnist", seed=None)
    assert found.X.shape == (2, 28, 28)
    assert found.y.tolist() == [5, 0]
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", offline)
    with pytest.raises(FileNotFoundError, match="no route to host"):
        datasets.load("mnist")


def test_two_moons_without_noise_lie_on_two_half_circles():
    moons = lf.datasets.two_moons(60, noise=0.0)
    centers = np.where(moons.y[:, None] == 0, [[0.0, 0.0]], [[1.0, 0.5]])
    np.testing.assert_allclose(np.linalg.norm(moons.X - centers, axis=1), 1.0)


def test_the_half_ellipse_is_the_upper_half_with_the_noise_asked_for():
    found = lf.datasets.half_ellipse(20_000, components=20, width=2.0, height=1.0, noise=0.1)
    angle = found.extras["angle"]
    curve = np.stack([2.0 * np.cos(angle), np.sin(angle)], axis=1)
    assert (curve[:, 1] >= 0.0).all()
    assert np.std(found.X - curve) == pytest.approx(0.1, rel=0.02)
    assert len(np.unique(found.y)) == 20


def test_the_noisy_circle_is_an_isometric_circle_with_noise():
    clean = lf.datasets.noisy_circle(50, dim=40, noise=0.0)
    angle = clean.extras["angle"]
    chord = np.linalg.norm(clean.X[:, None] - clean.X[None], axis=-1)
    exact = 2.0 * np.abs(np.sin((angle[:, None] - angle[None]) / 2.0))
    np.testing.assert_allclose(chord, exact, atol=1e-7)
    noisy = lf.datasets.noisy_circle(50, dim=400, noise=0.1)
    noise = noisy.X - noisy.extras["plane"] @ noisy.extras["basis"]
    assert np.std(noise) == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize(
    ("make", "options", "name"),
    [
        (datasets.two_moons, {"n": 1}, "n"),
        (datasets.two_moons, {"noise": -1.0}, "noise"),
        (datasets.half_ellipse, {"width": 0.0}, "width"),
        (datasets.half_ellipse, {"components": 1}, "components"),
        (datasets.noisy_circle, {"dim": 1}, "dim"),
        (datasets.noisy_circle, {"noise": np.nan}, "noise"),
    ],
)
def test_bad_parameters_of_the_generators_are_refused_by_name(make, options, name):
    with pytest.raises(ValueError, match=f"{name}.* must be"):
        make(**options)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("mnist", (10000, 28, 28)),
        ("fashion", (450, 28, 28)),
        ("mocap", (1346, 62)),
        ("mocap-frames", (1346, 64, 64)),
        ("sleep", (9779, 14)),
        ("hematopoiesis", (10998, 2)),
        ("emt", (3133, 3)),
        ("protease", (667, 219)),
    ],
)
def test_the_files_of_the_folder_have_the_shapes_their_description_gives(name, shape):
    found = datasets.load(name)
    assert found.X.shape == shape
    assert found.y.shape == shape[:1]
    assert np.isfinite(found.X).all()
    if name in ("mnist", "fashion", "mocap-frames"):
        assert 0.0 <= found.X.min() < found.X.max() <= 1.0


@pytest.mark.data
def test_nearest_neighbors_tell_mnist_digits_apart_so_labels_belong_to_images():
    found = datasets.load("mnist")
    rows = found.X.reshape(len(found.X), -1)
    nearest = KNeighborsClassifier(1).fit(rows[:3000], found.y[:3000])
    assert nearest.score(rows[3000:4000], found.y[3000:4000]) > 0.88
