"""Components of mixtures of LANDs: those of too few points, and the iterations that lead there."""

import numpy as np
import pytest

import landform as lf

FLAT = lf.Euclidean(2)


@pytest.mark.parametrize("estimator", ["likelihood", "least-squares"])
def test_a_component_of_one_point_goes_there_with_the_shape_it_has_and_is_no_fit(estimator):
    X = np.concatenate([np.random.default_rng(0).standard_normal((20, 2)), [[50.0, 0.0]]])
    options = {"n_directions": 64, "estimator": estimator, "tol": 1e-6}
    model = lf.fit_land_mixture(FLAT, X, 2, throw=False, **options)
    assert np.all(np.linalg.eigvalsh(np.stack([c.covariance for c in model.components])) > 0)
    assert np.isfinite(np.asarray(model.log_prob(X))).all()
    far = max(model.components, key=lambda c: float(c.mean[0]))
    np.testing.assert_allclose(far.mean, X[-1], atol=1.0)
    assert float(far.covariance[0, 0]) > 100.0
    assert not model.converged
    with pytest.raises(
        lf.ConvergenceError, match=r"too few points belong to component\(s\) \d for"
    ):
        lf.fit_land_mixture(FLAT, X, 2, **options)


def test_components_of_single_points_have_the_width_that_the_data_set():
    X = np.repeat([[0.0, 0.0], [1.0, 2.0]], 10, axis=0)
    traces = [
        np.trace(lf.fit_land_mixture(FLAT, s * X, 2, n_directions=64).components[0].covariance)
        for s in (1.0, 1e-3)
    ]
    assert traces[1] == pytest.approx(1e-6 * traces[0])
    assert 0.0 < traces[0] < 1e-4
    with pytest.raises(ValueError, match="2 different points, too few for n_components = 3"):
        lf.fit_land_mixture(FLAT, X, 3)


def test_both_levels_of_a_mixture_share_the_iterations_and_keep_their_bounds_apart():
    X = np.random.default_rng(0).standard_normal((800, 2)) * [1.0, 0.5]
    X[400:] = X[400:, ::-1] + 2.0
    options = {"n_directions": 64, "throw": False, "tol": 1e-5}
    one = lf.fit_land_mixture(FLAT, X, 2, max_iter=1, **options)
    assert (int(one.n_iter), bool(one.converged)) == (1, False)
    assert len(one.history["lower_bound"]) == 1
    model = lf.fit_land_mixture(FLAT, X, 2, **options)
    fine, coarse = (np.asarray(model.history[n]) for n in ("lower_bound", "coarse_lower_bound"))
    assert int(model.n_iter) == len(fine) + len(coarse) - 2
    assert np.all(np.diff(fine) > -1e-9)
    assert np.all(np.diff(coarse) > -1e-9)
    assert fine[-1] == pytest.approx(float(np.mean(model.log_prob(X))), abs=1e-6)
