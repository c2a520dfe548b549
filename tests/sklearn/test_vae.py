"""The autoencoder as a transformer."""

import inspect
import subprocess
import sys

import jax
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

import landform as lf
from landform.sklearn import LatentVAE
from landform.sklearn._base import key_from

SMALL = {"hidden": (4,), "epochs": 2, "num_centers": 4, "warmup": 1, "random_state": 0}

TOO_FEW = "fits 10 points, and an autoencoder refuses fewer than 20"
REASONS = {"check_n_features_in_after_fitting": TOO_FEW, "check_estimators_nan_inf": TOO_FEW}


@pytest.mark.slow
@parametrize_with_checks(
    [LatentVAE(variance="constant", **SMALL)], expected_failed_checks=lambda estimator: REASONS
)
def test_the_estimator_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    return lf.datasets.load("digits", classes=(0, 1), per_class=60).X.reshape(120, 64)


@pytest.fixture(scope="module")
def model(digits):
    return LatentVAE(**SMALL | {"epochs": 40, "hidden": (16,)}).fit(digits)


def test_it_is_the_function_behind_it(model, digits):
    settings = {"hidden": (16,), "epochs": 40, "num_centers": 4, "warmup": 1}
    vae = lf.train_vae(digits, 2, key=key_from(0), **settings)
    np.testing.assert_array_equal(model.transform(digits), vae.encode(digits))


def test_codes_decode_to_what_they_came_from(model, digits):
    back = model.inverse_transform(model.transform(digits))
    assert back.shape == digits.shape
    assert np.mean((back - digits) ** 2) < 0.8 * np.mean((digits - digits.mean(axis=0)) ** 2)


def test_the_metric_is_that_of_the_latent_space(model, digits):
    codes = model.transform(digits)
    assert isinstance(model.metric_, lf.ExpectedPullback)
    jacobian = jax.jacfwd(model.metric_.embed)(codes[0])
    np.testing.assert_allclose(
        lf.metric_tensor(model.metric_, codes[0]), jacobian.T @ jacobian, rtol=1e-9
    )
    far = codes.mean(axis=0) + 50.0
    assert model.metric_.deviation(far) > 3.0 * np.mean(model.metric_.deviation(codes))


def test_the_score_is_the_mean_bound_and_the_same_every_time(model, digits):
    values = model.score_samples(digits)
    assert values.shape == (120,)
    assert model.score(digits) == pytest.approx(values.mean()) == model.score(digits)
    assert model.score(digits) > model.score(1.0 - digits)
    np.testing.assert_allclose(model.score_samples(digits[::-1][:7]), values[::-1][:7])
    evidence = lf.log_marginal_likelihood(model.vae_, digits, key=jax.random.key(0), num_samples=64)
    assert values.mean() < evidence.mean + 3.0 * evidence.stderr


def test_there_are_two_points_or_more_to_a_centre_on_average(digits):
    few = LatentVAE(**SMALL | {"num_centers": 64, "held_out": 0.25}).fit(digits[:40])
    assert few.vae_.std.precision.centers.shape == (15, 2)


def test_its_defaults_are_those_of_training():
    ours = inspect.signature(LatentVAE).parameters
    theirs = inspect.signature(lf.Training).parameters
    shared = set(ours) & set(theirs)
    assert len(shared) > 12
    assert {n: ours[n].default for n in shared} == {n: theirs[n].default for n in shared}


def test_names_of_features_and_pipelines_work(model, digits):
    assert model.get_feature_names_out().tolist() == ["latentvae0", "latentvae1"]
    pipeline = make_pipeline(FunctionTransformer(), clone(model).set_params(epochs=1))
    assert pipeline.fit_transform(digits).shape == (120, 2)


def test_images_are_taken_as_they_are(digits):
    settings = SMALL | {"architecture": "conv", "hidden": (2, 3), "variance": "constant"}
    rows = LatentVAE(image_shape=(8, 8), **settings).fit(digits)
    images = digits.reshape(-1, 8, 8)
    model = LatentVAE(**settings).fit(images)
    assert model.n_features_in_ == 64
    np.testing.assert_array_equal(model.transform(images), rows.transform(digits))
    np.testing.assert_array_equal(model.transform(digits), rows.transform(digits))
    back = model.inverse_transform(model.transform(images[:3]))
    assert back.shape == (3, 8, 8)
    np.testing.assert_array_equal(
        back.reshape(3, 64), rows.inverse_transform(rows.transform(digits[:3]))
    )
    assert model.score(images) == rows.score(digits)
    channel = images[..., None]
    np.testing.assert_array_equal(rows.transform(channel), rows.transform(digits))
    with pytest.raises(ValueError, match="X must have 2 coordinate"):
        model.inverse_transform(np.zeros((2, 5)))


def test_images_of_another_shape_are_refused(digits):
    images, settings = digits[:, :48].reshape(-1, 8, 6), SMALL | {"variance": "constant"}
    model = LatentVAE(**settings, image_shape=(8, 6, 1)).fit(images)
    rows = LatentVAE(**settings).fit(digits[:, :48])
    for wrong in (images.reshape(-1, 6, 8), images.reshape(-1, 4, 3, 4), images[..., None, :]):
        with pytest.raises(ValueError, match=r"points of the shape \(8, 6, 1\)"):
            model.transform(wrong)
        with pytest.raises(ValueError, match=r"points of the shape \(48,\)"):
            rows.score(wrong)
    for shape in ((6, 8), (48,), (8, 3, 2)):
        with pytest.raises(ValueError, match=r"image_shape must be .* \(8, 6\), got"):
            LatentVAE(**settings, image_shape=shape).fit(images)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_many_latent_dimensions(digits, likelihood):
    settings = SMALL | {"hidden": (40,), "likelihood": likelihood}
    model = LatentVAE(32, **settings).fit(digits)
    codes = model.transform(digits[:2])
    assert codes.shape == (2, 32)
    assert np.linalg.eigvalsh(lf.metric_tensor(model.metric_, codes)).min() > 0.0
    assert np.isfinite(model.score(digits))
    if likelihood == "bernoulli":
        with pytest.raises(ValueError, match=r"X must lie in \[0, 1\]"):
            model.score(2.0 * digits)


def test_a_fitted_estimator_comes_back_from_a_file(model, digits, tmp_path):
    lf.save(tmp_path / "m.landform", model)
    assert lf.describe_file(tmp_path / "m.landform")["class"] == "LatentVAE"
    back = lf.load(tmp_path / "m.landform")
    assert type(back) is LatentVAE
    assert back.get_params() == model.get_params()
    np.testing.assert_array_equal(back.transform(digits), model.transform(digits))
    np.testing.assert_array_equal(back.score_samples(digits), model.score_samples(digits))
    codes = model.transform(digits[:3])
    np.testing.assert_array_equal(back.inverse_transform(codes), model.inverse_transform(codes))
    np.testing.assert_array_equal(
        lf.metric_tensor(back.metric_, codes), lf.metric_tensor(model.metric_, codes)
    )
    assert (tmp_path / "m.landform").stat().st_size < 2e5  # arrays shared by metric and model once


def test_estimators_are_known_to_a_program_that_has_not_imported_them(model, tmp_path):
    lf.save(tmp_path / "m.landform", [model, LatentVAE(3)])
    code = (
        "import sys, landform as lf; assert 'landform.sklearn' not in sys.modules; "
        "a, b = lf.load(sys.argv[1]); print(type(a).__name__, b.latent_dim)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m.landform")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["LatentVAE", "3"]


def test_every_estimator_with_names_of_features_can_be_saved(tmp_path):
    import landform.sklearn as estimators

    X = np.random.default_rng(0).normal(size=(12, 2))
    medoids = estimators.GeodesicKMedoids(2, metric="euclidean").fit(X)
    medoids.feature_names_in_ = np.array(["a", "b"], dtype=object)
    lf.save(tmp_path / "k.landform", medoids)
    back = lf.load(tmp_path / "k.landform")
    assert back.feature_names_in_.tolist() == ["a", "b"]
    np.testing.assert_array_equal(back.labels_, medoids.labels_)
    np.testing.assert_array_equal(back.cluster_centers_, medoids.cluster_centers_)
    for name in dir(estimators):
        if isinstance(getattr(estimators, name), type):
            lf.save(tmp_path / "e.landform", getattr(estimators, name)())
            assert type(lf.load(tmp_path / "e.landform")).__name__ == name
    with pytest.raises(TypeError, match="random_state"):
        lf.save(tmp_path / "r.landform", LatentVAE(random_state=np.random.RandomState(0)))


def test_images_need_their_shape(digits):
    with pytest.raises(ValueError, match=r"^image_shape"):
        LatentVAE(architecture="conv").fit(digits)
    with pytest.raises(ValueError, match=r"^image_shape"):
        LatentVAE(image_shape=(8, 7)).fit(digits)
    with pytest.raises(ValueError, match="at least 20"):
        LatentVAE().fit(digits[:10])


@pytest.mark.parametrize("method", ["transform", "inverse_transform", "score", "score_samples"])
def test_every_method_asks_for_a_fit_first(method):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(LatentVAE(), method)(np.zeros((3, 2)))
