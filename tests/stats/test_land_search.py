"""What is said of a search for the mean that finds no further step."""

import numpy as np
import pytest

import landform as lf
from landform.stats._search import Search


@pytest.mark.parametrize("left", [1e-4, 1e-2])
def test_a_stuck_search_warns_of_little_and_fails_for_more(monkeypatch, left):
    X = np.random.default_rng(0).standard_normal((40, 2))
    run = Search.run

    def stuck(self, *args):
        point, history, _ = run(self, *args)
        gradient = np.linalg.cholesky(point.precision) @ [np.sqrt(2.0 * left), 0.0]
        return point._replace(gradient=gradient), history, False

    monkeypatch.setattr(Search, "run", stuck)
    if left < 1e-3:
        with pytest.warns(UserWarning, match="no step"):
            land = lf.fit_land(lf.Euclidean(2), X, n_samples=64)
        np.testing.assert_allclose(land.mean, X.mean(axis=0), atol=1e-6)
    else:
        with pytest.raises(lf.ConvergenceError, match="no step"):
            lf.fit_land(lf.Euclidean(2), X, n_samples=64)
