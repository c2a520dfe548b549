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


def test_a_width_that_says_nothing_warns(rng):
    with pytest.warns(UserWarning, match="hardly varies"):
        lf.auto_sigma(rng.normal(size=(12, 5)))
    with pytest.warns(UserWarning, match="without neighbours"):
        assert lf.auto_rho(rng.normal(size=(50, 2)), 1e-6) == pytest.approx(1e-14)


@pytest.mark.parametrize("X", [[[1.0, 2.0]] * 5, [[np.nan, 1.0]] * 3, [1.0, 2.0]])
def test_data_without_a_scale_are_refused(X):
    with pytest.raises(ValueError, match=r"^X "):
        lf.auto_sigma(X)
