"""Rules for the parameters of the local-variance metric."""

import numpy as np
import pytest

import landform as lf


def test_the_rules_are_equivariant_and_ignore_copies(rng):
    X = rng.normal(size=(300, 2))
    sigma = lf.auto_sigma(X)
    assert lf.auto_sigma(3.0 * X + 1.0) == pytest.approx(3.0 * sigma)
    assert lf.auto_sigma(np.concatenate([X, X[:50]])) == pytest.approx(sigma)
    assert lf.auto_rho(3.0 * X + 1.0, 3.0 * sigma) == pytest.approx(9.0 * lf.auto_rho(X, sigma))


def test_steps_far_away_are_ten_times_those_on_the_data(rng):
    X = rng.normal(size=(300, 2))
    sigma = lf.auto_sigma(X)
    metric = lf.LocalVariance(X, sigma, lf.auto_rho(X, sigma))
    here = np.median(np.einsum("nii->ni", lf.metric_tensor(metric, X)))
    far = float(lf.metric_tensor(metric, [100.0, 100.0])[0, 0])
    assert far / here == pytest.approx(101.0, rel=0.02)


def test_far_outliers_change_neither_rule(rng):
    X = rng.normal(size=(300, 2))
    far = np.concatenate([X, [[1000.0, 1000.0], [60.0, -60.0]]])
    sigma = lf.auto_sigma(far)  # of 302 points, too, the neighbor is the 18th
    assert sigma == pytest.approx(np.mean(np.sort(_distances(X), axis=1)[:, 18]), rel=1e-6)
    assert lf.auto_rho(far, sigma) == pytest.approx(lf.auto_rho(X, sigma), rel=0.05)


def test_constant_coordinates_do_not_count(rng):
    X = rng.normal(size=(300, 2))
    more = np.concatenate([X, np.full((300, 3), 7.0)], axis=1)
    assert lf.auto_sigma(more) == pytest.approx(lf.auto_sigma(X))
    assert lf.auto_rho(more, 0.6) == pytest.approx(lf.auto_rho(X, 0.6))


def test_a_heavy_tail_is_no_outlier():
    """All points of a sample count, however far apart its last ones are beside the first."""
    X = np.random.default_rng(1).normal(size=(500, 1))
    reach = np.sort(_distances(X), axis=1)[:, 23]
    assert reach.max() > 10.0 * np.median(reach)
    assert lf.auto_sigma(X) == pytest.approx(reach.mean(), rel=1e-6)


def _distances(X):
    return np.linalg.norm(X[:, None] - X, axis=-1)


def test_a_width_without_neighbors_or_with_all_points_for_neighbors_warns(rng):
    X = rng.normal(size=(50, 2))
    with pytest.warns(UserWarning, match="more than half"):
        lf.auto_sigma(rng.normal(size=(12, 5)))
    for data in (X, np.repeat(X, 2, axis=0)):  # copies are no neighbors
        with pytest.warns(UserWarning, match="without neighbors"):
            assert lf.auto_rho(data, 1e-6) == pytest.approx(1e-14)
    for sigma in (3.0, 1e4):
        with pytest.warns(UserWarning, match=r"reaches over all .* smaller sigma"):
            rho = lf.auto_rho(X, sigma)
    assert rho == pytest.approx(0.01 * np.median(np.sum((X[:, None] - X) ** 2, axis=0)), rel=1e-5)


def test_a_wide_metric_is_that_of_the_mean_and_the_variances(rng):
    """As the guide and the class say: it is not constant."""
    X = rng.normal(size=(50, 2))
    x = np.array([2.0, -1.0])
    wide = lf.metric_tensor(lf.LocalVariance(X, 1e4, 0.1), x)
    expected = 50 * (X.var(axis=0) + (X.mean(axis=0) - x) ** 2) + 0.1
    np.testing.assert_allclose(np.diag(wide), 1.0 / expected, rtol=1e-5)


@pytest.mark.parametrize("X", [[[1.0, 2.0]] * 5, [[np.nan, 1.0]] * 3, [1.0, 2.0]])
def test_data_without_a_scale_are_refused(X):
    with pytest.raises(ValueError, match=r"^X "):
        lf.auto_sigma(X)
