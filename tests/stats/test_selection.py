"""The metric's parameters by cross-validation."""

import numpy as np
import pytest

import landform as lf


@pytest.fixture(scope="module")
def line():
    return np.random.default_rng(0).standard_normal((60, 1))


@pytest.mark.slow
def test_the_pair_with_the_highest_score_is_chosen(line):
    found = lf.cv_bandwidth(line, sigmas=[1.0], rhos=[1.0, 1e6], n_folds=2)
    best = int(np.argmax(found.scores))
    assert (found.sigma, found.rho) == (float(found.sigmas[best]), float(found.rhos[best]))
    np.testing.assert_array_equal(found.rhos, [1.0, 1e6])
    assert np.all(np.isfinite(found.stderr))


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


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"n_folds": 1}, "n_folds"),
        ({"sigmas": [-1.0]}, "sigmas"),
        ({"rhos": []}, "rhos"),
        ({"max_points": 3}, "at least"),
        ({"X": [[0.0, np.nan]]}, "NaN"),
    ],
)
def test_bad_arguments_are_named(line, change, match):
    with pytest.raises(ValueError, match=match):
        lf.cv_bandwidth(**({"X": line} | change))
