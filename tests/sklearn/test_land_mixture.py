"""Mixtures of LANDs as scikit-learn sees them."""

import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils.estimator_checks import parametrize_with_checks

import landform as lf
from landform.sklearn import LANDMixture, _land


@pytest.mark.heavy
@pytest.mark.slow
@parametrize_with_checks(
    [LANDMixture(metric="euclidean", n_directions=16, max_iter=3, random_state=0)],
    expected_failed_checks=lambda estimator: {},
)
def test_the_estimator_passes_the_checks_of_scikit_learn(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(3)
    first = rng.standard_normal((40, 2)) * [1.0, 0.4]
    return np.concatenate([first, [9.0, 5.0] + rng.standard_normal((60, 2)) * [0.5, 0.8]])


@pytest.fixture(scope="module")
def flat(blobs):
    return LANDMixture(2, metric="euclidean", n_directions=16, tol=1e-9, random_state=0).fit(blobs)


def test_a_flat_metric_gives_the_gaussian_mixture(flat, blobs):
    peer = GaussianMixture(2, tol=1e-9, reg_covar=0.0, random_state=0, n_init=3).fit(blobs)
    order, other = np.argsort(flat.means_[:, 0]), np.argsort(peer.means_[:, 0])
    np.testing.assert_allclose(flat.means_[order], peer.means_[other], atol=1e-6)
    np.testing.assert_allclose(flat.covariances_[order], peer.covariances_[other], atol=1e-6)
    np.testing.assert_allclose(flat.weights_[order], peer.weights_[other], atol=1e-6)
    np.testing.assert_allclose(flat.score_samples(blobs), peer.score_samples(blobs), atol=1e-5)
    assert flat.bic(blobs) == pytest.approx(peer.bic(blobs), abs=1e-3)
    assert flat.aic(blobs) == pytest.approx(peer.aic(blobs), abs=1e-3)


def test_the_likelihood_never_falls(flat):
    assert flat.converged_
    assert flat.n_iter_ == len(flat.lower_bounds_) - 1
    assert np.all(np.diff(flat.lower_bounds_) > -1e-9)


def test_predictions_are_the_most_probable_components(flat, blobs):
    probability = flat.predict_proba(blobs)
    np.testing.assert_allclose(probability.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_array_equal(flat.predict(blobs), probability.argmax(axis=1))
    assert len(set(flat.predict(blobs)[:40])) == len(set(flat.predict(blobs)[40:])) == 1


def test_scores_on_a_curved_metric_are_lebesgue_densities():
    metric = lf.StereographicSphere(2)
    X = 0.5 * np.random.default_rng(0).standard_normal((30, 2))
    model = LANDMixture(metric=metric, n_directions=16, random_state=0).fit(X)
    expected = model.model_.log_prob(X) + np.asarray(lf.log_volume(metric, X))
    np.testing.assert_allclose(model.score_samples(X), expected, atol=1e-12)
    assert model.score(X) == pytest.approx(float(np.mean(expected)))


@pytest.fixture(scope="module")
def plane():
    """A fit on the half-plane, whose chart ends at height 0, with its data."""
    X = np.random.default_rng(0).standard_normal((40, 2)) * 0.3 + [0.0, 2.0]
    return LANDMixture(metric=lf.PoincareHalfPlane(), n_directions=16, random_state=0).fit(X), X


def test_a_point_without_a_geodesic_has_no_density_whatever_stands_beside_it(plane):
    model, X = plane
    outside = [[0.0, -1.0]]
    for batch in (np.array(outside), np.concatenate([outside, X])):
        with pytest.warns(ConvergenceWarning, match=f"1 of {len(batch)} points .* NaN") as notes:
            values = model.score_samples(batch)
        assert len(notes) == 1
        assert np.isnan(values[0])
        with pytest.warns(ConvergenceWarning, match="label is -1"):
            labels = model.predict(batch)
        assert labels[0] == -1
        with pytest.warns(ConvergenceWarning, match="probabilities are NaN"):
            assert np.isnan(model.predict_proba(batch)[0, 0])
    np.testing.assert_allclose(values[1:], model.score_samples(X), rtol=1e-12)
    assert np.all(labels[1:] == 0)


def test_a_mean_is_refused_where_many_points_fail_and_failures_earn_nothing(plane):
    model, X = plane
    with_one = np.concatenate([X, [[0.0, -1.0]]])
    with pytest.warns(ConvergenceWarning, match="do not count"):
        assert model.score(with_one) == pytest.approx(model.score(X))
    with pytest.warns(ConvergenceWarning):
        assert model.aic(with_one) == pytest.approx(-2.0 * 41 * model.score(X) + 10.0)
    with pytest.warns(ConvergenceWarning):
        assert model.bic(with_one) == pytest.approx(-82.0 * model.score(X) + 5.0 * np.log(41))
    many = np.concatenate([X, np.tile([[0.0, -1.0]], (3, 1))])
    for mean in (model.score, model.bic, model.aic):
        with pytest.raises(lf.ConvergenceError, match="3 of 43 points"):
            mean(many)


def test_samples_come_with_their_components(flat):
    points, labels = flat.sample(50)
    assert points.shape == (50, 2)
    assert np.mean(flat.predict(points) == labels) > 0.98


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_metric_that_hardly_varies_is_reported():
    grid = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), axis=-1).reshape(-1, 2)
    model = LANDMixture(sigma=0.3, rho=5.0, n_directions=16, max_iter=1)
    with pytest.warns(UserWarning, match="saturates"):
        model.fit(grid)


@pytest.mark.parametrize(("rho", "advice"), [(0.1, "reaches over all"), (1e9, "; lower rho$")])
def test_a_width_beyond_the_data_is_reported(blobs, rho, advice, monkeypatch):
    def stop(*args, **options):
        raise InterruptedError  # the metric is reported before the fit

    monkeypatch.setattr(_land, "fit_land_mixture", stop)
    model = LANDMixture(sigma=1e4, rho=rho)
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        with pytest.raises(InterruptedError):
            model.fit(blobs)
    assert sum("reaches over all" in str(note.message) for note in notes) == 1
    assert any(re.search(advice, str(note.message)) for note in notes)


def test_cross_validation_is_for_the_same_weights_and_covariances(blobs, monkeypatch):
    asked = {}

    def stop(X, n_components, **options):
        asked.update(options)
        raise InterruptedError

    monkeypatch.setattr(_land, "cv_bandwidth", stop)
    weights = np.arange(100) % 3
    model = LANDMixture(sigma="cv", covariance_type="diag")
    with pytest.raises(InterruptedError):
        model.fit(blobs, sample_weight=weights)
    assert asked["covariance_type"] == "diag"
    np.testing.assert_array_equal(asked["weights"], weights[weights > 0])
    with pytest.raises(ValueError, match="constant feature"):
        model.fit(blobs * [1.0, 0.0])


def test_weights_count_points_several_times(blobs):
    weights = np.arange(100) % 3
    model = LANDMixture(metric="euclidean", n_directions=16).fit(blobs, sample_weight=weights)
    repeated = np.repeat(blobs, weights, axis=0)
    np.testing.assert_allclose(model.means_[0], repeated.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(model.covariances_[0], np.cov(repeated.T, bias=True), atol=1e-6)


def test_a_start_follows_the_points_that_have_a_weight(flat, blobs):
    weights = np.r_[0.0, np.ones(len(blobs) - 1)]
    options = {"metric": "euclidean", "n_directions": 16, "tol": 1e-9, "random_state": 0}
    given = LANDMixture(2, init=np.r_[1, flat.predict(blobs[1:])], **options)
    given.fit(blobs, sample_weight=weights)
    own = LANDMixture(2, **options).fit(blobs[1:])
    assert given.lower_bound_ == pytest.approx(own.lower_bound_, abs=1e-8)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        LANDMixture(2, init=np.zeros(3, int), **options).fit(blobs)


def test_too_few_points_with_a_weight_are_refused(blobs):
    with pytest.raises(ValueError, match="sample_weight"):
        LANDMixture(metric="euclidean").fit(blobs, sample_weight=np.arange(100) == 3)


@pytest.mark.slow
def test_cross_validation_chooses_the_metric(blobs):
    some = blobs[:30]
    model = LANDMixture(sigma="cv", n_directions=8, max_iter=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(some)
        rule = lf.auto_sigma(some)
    widths = np.array([0.7, 1.2, 2.0])
    assert np.min(np.abs(float(model.metric_.sigma) / rule / widths - 1.0)) < 0.05


def test_more_components_than_points_are_refused():
    with pytest.raises(ValueError, match="n_components"):
        LANDMixture(5, metric="euclidean").fit(np.eye(3))


def test_a_metric_is_not_learned_from_a_constant_feature(rng):
    X = rng.normal(size=(30, 2)) * [1.0, 0.0]
    with pytest.raises(ValueError, match=r"X has constant feature\(s\) 1"):
        LANDMixture().fit(X)


@pytest.mark.parametrize(("behind", "count"), [(1.0, 40), (0.1, 40), (1.0, 10)])
def test_a_metric_that_is_worse_than_none_is_reported(behind, count, recwarn):
    X = np.random.default_rng(0).standard_normal((count, 2))
    best = GaussianMixture(1).fit(X).score(X)
    land = SimpleNamespace(
        n_components=1, covariance_type="full", metric_=lf.Euclidean(2), lower_bound_=best - behind
    )
    if behind > 0.3 and count > 20:
        with pytest.warns(UserWarning, match="describes the data better, by 1 nats per point"):
            _land._warn_if_worse(land, X)
    else:
        _land._warn_if_worse(land, X)
        assert not recwarn.list


@pytest.mark.parametrize("kind", ["full", "diag", "spherical"])
@pytest.mark.parametrize("offset", [1e6, 1.7e9])
def test_a_shift_of_the_data_shifts_the_fit(kind, offset, rng):
    X = rng.normal(size=(60, 2)) * [0.5, 0.2]
    here, there = (
        LANDMixture(1, metric="euclidean", covariance_type=kind, random_state=0).fit(data)
        for data in (X, X + offset)
    )
    np.testing.assert_allclose(there.means_ - offset, here.means_, atol=1e-6)
    np.testing.assert_allclose(there.covariances_, here.covariances_, rtol=1e-2, atol=1e-5)


def test_a_comparison_that_fails_leaves_the_fit_alone(monkeypatch, rng):
    def refuse(*_, **__):
        raise ValueError("ill-defined empirical covariance")

    monkeypatch.setattr(_land.GaussianMixture, "fit", refuse)
    land = SimpleNamespace(
        n_components=1, covariance_type="full", metric_=lf.Euclidean(2), lower_bound_=-5.0
    )
    assert _land._warn_if_worse(land, rng.normal(size=(60, 2))) is None
