"""What is said of a search for the mean that finds no further step."""

import numpy as np
import pytest

import landform as lf
from landform.stats.land import fit as _fit
from landform.stats.land.normalizer import make_grid
from landform.stats.land.objective import FitProblem, profile, reweight
from landform.stats.land.updates import MeanSearch


@pytest.mark.parametrize("left", [1e-4, 1e-2])
def test_a_stuck_search_warns_of_little_and_fails_for_more(monkeypatch, left):
    X = np.random.default_rng(0).standard_normal((40, 2))
    run = MeanSearch.run

    def stuck(self, *args):
        point, history, _ = run(self, *args)
        gradient = np.linalg.cholesky(point.precision) @ [np.sqrt(2.0 * left), 0.0]
        return point._replace(gradient=gradient), history, False

    monkeypatch.setattr(MeanSearch, "run", stuck)
    if left < 1e-3:
        with pytest.warns(UserWarning, match="no step"):
            land = lf.fit_land(lf.Euclidean(2), X, n_directions=64)
        np.testing.assert_allclose(land.mean, X.mean(axis=0), atol=1e-6)
    else:
        with pytest.raises(lf.ConvergenceError, match="no step"):
            lf.fit_land(lf.Euclidean(2), X, n_directions=64)


def test_a_start_that_fails_when_lifted_makes_room_for_the_next(monkeypatch):
    X = np.random.default_rng(0).standard_normal((40, 2))
    real, tries = _fit.lifted, []

    def fails_at_first(*args):
        tries.append(args)
        if len(tries) == 1:
            raise lf.ConvergenceError("no geodesics")
        return real(*args)

    monkeypatch.setattr(_fit, "lifted", fails_at_first)
    with pytest.raises(lf.ConvergenceError, match="no geodesics"):
        lf.fit_land(lf.Euclidean(2), X, n_directions=256)
    tries.clear()
    land = lf.fit_land(lf.Euclidean(2), X, n_directions=256, n_init=2)
    assert len(tries) == 2
    np.testing.assert_allclose(land.mean, X.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("kind", ["full", "spherical"])
def test_weights_that_leave_the_range_of_the_rays_get_new_ones(kind):
    X = np.concatenate([1e-3 * np.random.default_rng(0).standard_normal((20, 2)), [[50.0, 0.0]]])
    flat, weights = lf.Euclidean(2), np.ones(21)
    problem = FitProblem(flat, X, make_grid(2, 64), "exact", kind, 1e-5)
    mean = np.zeros(2)
    wide = profile(problem, mean, weights, problem.logarithms(mean))
    weights[-1] = 1e-12
    narrow = reweight(problem, wide, weights)
    expected = profile(problem, mean, weights, problem.logarithms(mean))
    assert narrow.objective == pytest.approx(expected.objective, abs=1e-6)
