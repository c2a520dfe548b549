"""The metric's parameters by cross-validation."""

import numpy as np
import pytest

import landform as lf
from landform.stats.land import bandwidth_cv as selection
from landform.stats.land.bandwidth_cv import _chosen, _gap


@pytest.fixture(scope="module")
def line():
    return np.random.default_rng(0).standard_normal((60, 1))


@pytest.fixture(scope="module")
def found(line):
    return lf.cv_bandwidth(line, sigmas=[0.5], rhos=[1.0, 1e6], n_folds=2)


def test_the_outcome_is_one_of_the_pairs(found):
    best = int(np.nanargmax(found.scores))
    assert float(found.stderr[best]) == 0.0
    assert float(found.rho) in np.asarray(found.rhos)
    np.testing.assert_array_equal(found.rhos, [1e6, 1.0])
    np.testing.assert_array_equal(found.sigmas, [0.5, 0.5])
    assert int(found.n_scored[best]) == 60


def test_variation_vanishes_with_the_metric(found):
    assert float(found.variation[0]) < 1e-4 < float(found.variation[1])


def test_of_metrics_that_the_data_do_not_tell_apart_the_flattest_is_taken(line, found):
    """On normal data no metric predicts better than a flat one by more than chance."""
    gap = float(np.nanmax(found.scores) - found.scores[0])
    assert gap <= float(found.stderr[0]) + 1e-12
    assert float(found.rho) == 1e6
    again = lf.cv_bandwidth(line, sigmas=[0.5], rhos=[1.0, 1e6], n_folds=2, rule="best")
    assert float(again.rho) == float(again.rhos[int(np.nanargmax(again.scores))])


@pytest.mark.parametrize(
    ("rule", "close", "chosen"),
    [
        ("best", [1, 2, 3], 1),
        ("one-se", [1, 2], 2),
        ("one-se", [1, 2, 3], 3),
        ("one-se", [1], 1),
        ("flat-first", [1, 2], 1),
        ("flat-first", [1, 2, 3], 3),
    ],
)
def test_the_rules_differ_in_what_counts_as_close(rule, close, chosen):
    variation = np.array([0.4, 0.3, 0.1, 1e-6])  # the last is flat, and 1 has the highest score
    assert _chosen(1, close, variation, variation < 1e-3, rule) == chosen


def test_normal_data_have_a_flat_metric_where_it_is_asked_first(line):
    found = lf.cv_bandwidth(line, sigmas=[0.5], rhos=[1.0, 1e6], n_folds=2, rule="flat-first")
    assert float(found.rho) == 1e6


def test_a_flat_metric_scores_as_the_normal_distribution(line):
    found = lf.cv_bandwidth(line, sigmas=[1.0], rhos=[1e6], n_folds=2)
    order = np.random.default_rng(0).permutation(60)
    data = line[order].ravel()
    scores = []
    for k in range(2):
        train, test = data[np.arange(60) % 2 != k], data[np.arange(60) % 2 == k]
        form = (test - train.mean()) ** 2 / train.var()
        scores.append(np.mean(-0.5 * form - 0.5 * np.log(2 * np.pi * train.var())))
    # The fits stop where a step of the mean gains less than 1e-2 nats.
    assert float(found.scores[0]) == pytest.approx(np.mean(scores), abs=1e-2)


def test_weights_count_in_the_fits_and_the_held_out_means(line):
    """Under a flat metric: the weighted normal distribution, scored by its weighted mean."""
    weights = np.arange(60.0) % 4
    found = lf.cv_bandwidth(line, weights=weights, sigmas=[1.0], rhos=[1e6], n_folds=2)
    kept = np.flatnonzero(weights)
    order = kept[np.random.default_rng(0).permutation(len(kept))]
    order = order[: len(order) // 2 * 2]
    assert int(found.n_scored[0]) == len(order) < 60
    data, weights, scores = line[order].ravel(), weights[order], []
    fold = np.arange(len(order)) % 2
    for k in range(2):
        train, test = fold != k, fold == k
        mean = np.average(data[train], weights=weights[train])
        variance = np.average((data[train] - mean) ** 2, weights=weights[train])
        form = (data[test] - mean) ** 2 / variance
        scores.extend(weights[test] * (-0.5 * form - 0.5 * np.log(2 * np.pi * variance)))
    assert float(found.scores[0]) == pytest.approx(np.sum(scores) / weights.sum(), abs=1e-2)


def test_the_error_of_a_difference_is_of_its_weighted_mean():
    """Scaled weights change nothing, and equal ones give the error of a mean."""
    rng = np.random.default_rng(0)
    one, other, weights = rng.normal(size=(3, 40))
    one[3], weights = np.nan, 1.0 + weights**2
    np.testing.assert_allclose(
        _gap(one, other, weights), _gap(one, other, 7.0 * weights), rtol=1e-12
    )
    gap = np.delete(one - other, 3)
    expected = gap.mean(), gap.std(ddof=1) / np.sqrt(39)
    np.testing.assert_allclose(_gap(one, other, np.full(40, 0.3)), expected, rtol=1e-12)


def test_the_mixtures_have_the_covariances_that_are_asked_for(line, monkeypatch):
    asked = []

    def refuse(*args, covariance_type, **options):
        asked.append(covariance_type)
        raise lf.ConvergenceError("enough")

    monkeypatch.setattr(selection, "fit_land_mixture", refuse)
    with pytest.raises(lf.ConvergenceError, match="no candidate"):
        lf.cv_bandwidth(line, covariance_type="diag", sigmas=[1.0], rhos=[1e6], n_folds=2)
    assert asked == ["diag"]


def test_a_fold_of_equal_points_is_a_failed_candidate():
    X = np.zeros((30, 1))
    X[0] = 1.0  # missing in the training points of one fold
    with pytest.raises(lf.ConvergenceError, match="copies of one point"):
        lf.cv_bandwidth(X, sigmas=[1.0], rhos=[1.0], n_folds=2)


def test_both_estimators_score_alike_under_a_flat_metric(line):
    pairs = {"sigmas": [1.0], "rhos": [1e6], "n_folds": 2}
    squares = lf.cv_bandwidth(line, estimator="least-squares", **pairs)
    likely = lf.cv_bandwidth(line, **pairs)
    np.testing.assert_allclose(squares.scores, likely.scores, atol=1e-2)


def test_the_rule_tries_a_flat_metric_first_and_gives_up_what_falls_behind(line):
    tried = []
    found = lf.cv_bandwidth(line, sigmas=[0.02, 0.5], n_folds=2, progress=tried.append)
    scores, count = np.asarray(found.scores), np.asarray(found.n_scored)
    assert float(found.variation[0]) < 1e-3
    assert np.all(np.isnan(scores) | (scores == -np.inf) | (count > 0))
    assert tried == list(range(1, len(tried) + 1))
    assert len(tried) < len(scores)  # of the narrow σ the rough ones are not tried
    assert count.max() == 60


def test_folds_see_the_metric_of_all_points(line):
    """The rule's ρ is for all points, however few take part: the sums grow with their number."""
    once = lf.cv_bandwidth(line, sigmas=[0.5], n_folds=2)
    some = lf.cv_bandwidth(line, sigmas=[0.5], n_folds=2, max_points=30)
    np.testing.assert_allclose(some.rhos, once.rhos, rtol=0.5)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"n_folds": 1}, "n_folds"),
        ({"sigmas": [-1.0]}, "sigmas"),
        ({"rhos": []}, "rhos"),
        ({"rule": "worst"}, "rule"),
        ({"estimator": "median"}, "estimator"),
        ({"max_points": 3}, "^max_points must be at least 9"),
        ({"n_folds": 21}, "^X must have at least 63 points with a weight, got 60"),
        ({"n_directions": 0}, "n_directions"),
        ({"weights": -np.ones(60)}, "weights"),
        ({"covariance_type": "tied"}, "covariance_type"),
        ({"covariance_type": "diag", "estimator": "least-squares"}, "covariance_type"),
        ({"X": [[0.0, np.nan]]}, "NaN"),
    ],
)
def test_bad_arguments_are_named(line, change, match):
    with pytest.raises(ValueError, match=match):
        lf.cv_bandwidth(**({"X": line} | change))
