"""The F-measure of a clustering."""

import numpy as np
import pytest

import landform as lf


def by_definition(true, pred):
    total = 0.0
    for i in set(true):
        scores = []
        for j in set(pred) - {-1}:
            both = sum(a == i and b == j for a, b in zip(true, pred, strict=True))
            precision, recall = both / pred.count(j), both / true.count(i)
            scores.append(2 * precision * recall / (precision + recall) if both else 0.0)
        total += true.count(i) / len(true) * max(scores, default=0.0)
    return total


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_weighted_best_harmonic_mean_of_precision_and_recall(seed):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 3, 40).tolist()
    pred = rng.integers(-1, 4, 40).tolist()
    assert lf.f_measure(true, pred) == pytest.approx(by_definition(true, pred), rel=1e-12)


def test_names_of_labels_do_not_matter():
    assert lf.f_measure(["a", "a", "b"], [7, 7, 2]) == 1.0
    assert lf.f_measure(["a", "a", "b"], ["x", "x", "y"]) == 1.0


def test_leaving_points_out_costs_recall_and_mends_precision():
    true = np.repeat([0, 1], 10)
    pred = true.copy()
    pred[:4] = -1
    assert lf.f_measure(true, pred) == pytest.approx(0.5 * (2 * 6 / 16) + 0.5)
    assert lf.f_measure(true, np.full(20, -1)) == 0.0
    wrong = np.r_[true[:19], 0]  # the last point is a blemish of the other cluster
    assert lf.f_measure(true, np.r_[true[:19], -1]) > lf.f_measure(true, wrong)
    assert lf.f_measure(true, np.where(true == 0, -1, 1), noise=None) == 1.0


@pytest.mark.parametrize(("a", "b"), [([0, 1], [0]), ([], []), ([[0]], [[0]])])
def test_labels_that_do_not_match_are_refused(a, b):
    with pytest.raises(ValueError, match="labels_true and labels_pred"):
        lf.f_measure(a, b)
