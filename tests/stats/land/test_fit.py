"""Maximum likelihood of LANDs and their mixtures."""

import functools
import runpy
from pathlib import Path

import jax
import numpy as np
import pytest
from sklearn.datasets import make_moons

import landform as lf
from landform.geodesics._logarithms import connect, logarithms
from landform.stats.land import least_squares
from landform.stats.land.bandwidth import tabulated_if_large
from landform.stats.land.fit import _advice
from landform.stats.land.normalizer import make_grid
from landform.stats.land.objective import FitProblem, profile, reweight, with_gradient
from landform.stats.land.updates import MeanSearch

HALF_PLANE = lf.PoincareHalfPlane()
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def cloud():
    return np.random.default_rng(0).standard_normal((40, 2)) @ [[1.0, 0.3], [0.0, 0.5]] + [3.0, 1.0]


@pytest.fixture(scope="module")
def moon():
    X, y = make_moons(80, noise=0.1, random_state=0)
    return X[y == 0]


@pytest.fixture(scope="module")
def metric(moon):
    return lf.LocalVariance(moon, sigma=0.3, rho=1e-2)


@pytest.fixture(scope="module")
def fitted(metric, moon):
    return lf.fit_land(metric, moon, n_directions=64)


def test_a_flat_metric_gives_the_gaussian_fit(cloud):
    land = lf.fit_land(lf.Euclidean(2), cloud, n_directions=64)
    np.testing.assert_allclose(land.mean, cloud.mean(axis=0), atol=1e-8)
    np.testing.assert_allclose(land.covariance, np.cov(cloud.T, bias=True), atol=1e-8)


def test_a_flat_metric_gives_the_gaussian_fit_in_four_dimensions():
    X = np.random.default_rng(1).standard_normal((60, 4)) * [1.0, 2.0, 0.3, 1.0]
    land = lf.fit_land(lf.ScaledMetric(lf.Euclidean(4), 3.0), X, n_directions=64)
    np.testing.assert_allclose(land.mean, X.mean(axis=0), atol=1e-8)
    np.testing.assert_allclose(land.covariance, np.cov(X.T, bias=True), atol=1e-7)


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("kind", ["diag", "spherical"])
def test_restricted_covariances_are_the_gaussian_ones_in_flat_space(cloud, kind, narrow):
    if narrow:  # along the diagonal, where no covariance of the kind resembles the data's
        cloud = cloud[:, :1] + [0.05, -0.05] * cloud[:, 1:]
    land = lf.fit_land(lf.Euclidean(2), cloud, covariance_type=kind, n_directions=64)
    variance = cloud.var(axis=0)
    variance = variance if kind == "diag" else np.full(2, variance.mean())
    np.testing.assert_allclose(land.covariance, np.diag(variance), atol=1e-8)


def test_weights_count_points_several_times(cloud):
    weights = np.arange(40) % 3
    land = lf.fit_land(lf.Euclidean(2), cloud, weights=weights, n_directions=64)
    repeated = np.repeat(cloud, weights, axis=0)
    np.testing.assert_allclose(land.mean, repeated.mean(axis=0), atol=1e-8)
    np.testing.assert_allclose(land.covariance, np.cov(repeated.T, bias=True), atol=1e-8)


def test_the_objective_falls_in_every_step_and_is_the_likelihood(fitted, moon):
    objective = np.asarray(fitted.history["objective"])
    assert len(objective) > 2
    assert np.all(np.diff(objective) <= 0)
    assert objective[-1] < objective[0] - 0.01
    own = -float(np.mean(fitted.log_prob(moon)))
    assert own == pytest.approx(objective[-1], abs=5 * float(fitted.normalizer_stderr) + 1e-3)
    assert np.asarray(fitted.history["failures"]).max() == 0


def test_no_nearby_parameters_are_more_likely(fitted, metric, moon):
    best = float(np.mean(fitted.log_prob(moon)))
    root = np.linalg.cholesky(np.asarray(fitted.covariance))
    for mean, factor in [
        (fitted.mean + 0.3 * root[:, 0], 1.0),
        (fitted.mean - 0.3 * root[:, 0], 1.0),
        (fitted.mean + 0.3 * root[:, 1], 1.0),
        (fitted.mean - 0.3 * root[:, 1], 1.0),
        (fitted.mean, 1.3),
        (fitted.mean, 0.75),
    ]:
        other = lf.LAND(metric, mean, factor * fitted.covariance, n_directions=64)
        assert float(np.mean(other.log_prob(moon))) < best


def test_the_gradient_is_the_derivative_of_the_objective(metric, moon):
    problem = FitProblem(metric, moon, make_grid(2, 64), "exact", "full", 1e-7)
    mean, weights = np.array([0.1, 0.85]), np.ones(len(moon))
    here = profile(problem, mean, weights, problem.logarithms(mean))
    found = with_gradient(problem, here, weights).gradient
    for i in range(2):
        ends = []
        for sign in (1.0, -1.0):
            other = mean + sign * 2e-3 * np.eye(2)[i]
            logs = problem.logarithms(other, here.logs)
            ends.append(profile(problem, other, weights, logs, here.whiten).objective)
        slope = (ends[0] - ends[1]) / 4e-3
        assert found[i] == pytest.approx(slope, abs=0.02 * np.linalg.norm(found))


def test_other_weights_cost_no_geodesics(metric, moon):
    problem = FitProblem(metric, moon, make_grid(2, 64), "exact", "full", 1e-5)
    mean = np.array([0.1, 0.85])
    here = profile(problem, mean, np.ones(len(moon)), problem.logarithms(mean))
    weights = 1.0 + 0.1 * np.sin(np.arange(len(moon)))
    again = reweight(problem, here, weights)
    assert again.table is here.table
    fresh = profile(problem, mean, weights, here.logs)
    np.testing.assert_allclose(again.covariance, fresh.covariance, rtol=0.02)


def test_a_step_that_leaves_the_domain_is_shortened():
    X = np.array([[0.0, 0.2], [0.1, 0.3], [-0.1, 0.25], [0.0, 0.4]])
    problem = FitProblem(HALF_PLANE, X, make_grid(2, 64), "exact", "full", 1e-5)
    point = profile(problem, np.array([0.0, 0.25]), np.ones(4), problem.logarithms([0.0, 0.25]))
    wild = point._replace(gradient=np.linalg.solve(point.covariance, [0.0, 5.0]))
    new, _ = MeanSearch().advance(problem, wild, np.ones(4))
    assert new.mean[1] > 0
    assert new.objective <= point.objective


def test_parameters_of_drawn_data_are_recovered():
    truth = lf.LAND(HALF_PLANE, [0.5, 1.0], [[0.2, 0.05], [0.05, 0.1]], n_directions=64)
    means, covariances = [], []
    for seed in range(6):
        X = truth.sample(jax.random.key(seed), 100)
        land = lf.fit_land(HALF_PLANE, X, init=[0.5, 1.0], n_directions=64)
        means.append(np.asarray(land.mean))
        covariances.append(np.asarray(land.covariance)[np.triu_indices(2)])
    for values, true in ((means, truth.mean), (covariances, [0.2, 0.05, 0.1])):
        error = np.std(values, axis=0, ddof=1) / np.sqrt(6)
        assert np.all(np.abs(np.mean(values, axis=0) - true) < 4 * error + 5e-3)


def test_the_papers_steps_lower_the_objective_to_the_same_minimum(cloud):
    X = 0.3 * cloud / np.abs(cloud).max()
    sphere = lf.StereographicSphere(2)
    ours = lf.fit_land(sphere, X, n_directions=64)
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "paper_land.py"))
    paper, converged = benchmark["fit_by_the_paper"](sphere, X, n_directions=64, tol=1e-7)
    assert converged
    objective = np.asarray(paper.history["objective"])
    assert np.all(np.diff(objective) < 0)
    assert objective[-1] == pytest.approx(float(ours.history["objective"][-1]), abs=1e-4)
    np.testing.assert_allclose(paper.mean, ours.mean, atol=1e-2)
    np.testing.assert_allclose(paper.covariance, ours.covariance, rtol=0.05, atol=1e-4)


def test_least_squares_is_the_frechet_mean_with_the_second_moment_of_the_logarithms(cloud):
    X = 0.3 * cloud / np.abs(cloud).max()
    sphere = lf.StereographicSphere(2)
    land = lf.fit_least_squares(sphere, X, n_directions=64)
    logs = np.asarray(sphere.exact_log(np.asarray(land.mean), X))
    np.testing.assert_allclose(logs.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(land.covariance, logs.T @ logs / len(logs), atol=1e-5)
    best = lf.fit_land(sphere, X, n_directions=64)
    assert np.mean(best.log_prob(X)) > np.mean(land.log_prob(X))


def test_least_squares_without_some_of_the_data_says_so():
    X = np.random.default_rng(0).standard_normal((40, 2)) * 0.3 + [0.0, 2.0]
    outside = np.concatenate([X, [[0.0, -1.0]]])  # beyond the end of the half-plane
    with pytest.warns(UserWarning, match="1 of 41 points") as notes:
        land = lf.fit_least_squares(HALF_PLANE, outside, n_directions=16, throw=False)
    assert len(notes) == 1
    assert int(land.history["failures"][0]) == 1
    assert bool(land.history["converged"][0])
    own = lf.fit_least_squares(HALF_PLANE, X, n_directions=16)
    np.testing.assert_allclose(land.mean, own.mean, atol=1e-5)
    assert int(own.history["failures"][0]) == 0
    assert np.all(np.diff(own.history["variance"]) < 0)
    weights = np.r_[np.ones(40), 0.0]  # a point without a weight is not missed
    lf.fit_least_squares(HALF_PLANE, outside, weights=weights, n_directions=16, throw=False)
    with pytest.raises(lf.ConvergenceError, match="7 % of the data have no geodesic"):
        lf.fit_least_squares(
            HALF_PLANE, np.concatenate([X, outside[-1:].repeat(3, axis=0)]), throw=False
        )


def test_least_squares_short_of_the_mean_says_so(monkeypatch):
    X = np.random.default_rng(0).standard_normal((40, 2)) * 0.3 + [0.0, 2.0]
    short = functools.partial(least_squares.fit_frechet_mean, max_steps=1)
    monkeypatch.setattr(least_squares, "fit_frechet_mean", short)
    with pytest.warns(UserWarning, match="did not find the mean"):
        land = lf.fit_least_squares(HALF_PLANE, X, n_directions=16, throw=False)
    assert not bool(land.history["converged"][0])
    assert float(land.history["gradient"][0]) > 1e-5


def test_a_mixture_of_least_squares_is_the_gaussian_mixture_in_flat_space(cloud):
    X = np.concatenate([cloud, cloud[:, ::-1] + 20.0])
    flat = lf.Euclidean(2)
    model = lf.fit_land_mixture(flat, X, 2, estimator="least-squares", n_directions=64, tol=1e-9)
    ours = sorted(model.components, key=lambda c: float(c.mean[0]))
    for component, part in zip(ours, (cloud, cloud[:, ::-1] + 20.0), strict=True):
        np.testing.assert_allclose(component.mean, part.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(component.covariance, np.cov(part.T, bias=True), atol=1e-6)


def test_more_starts_are_at_least_as_good(metric, moon):
    bad = [float(v) for v in moon[np.argmax(moon[:, 0])]]
    one = lf.fit_land(metric, moon, init=bad, n_directions=64, max_iter=3, tol=1e-2, throw=False)
    more = lf.fit_land(
        metric, moon, init=bad, n_directions=64, max_iter=3, tol=1e-2, n_init=2, throw=False
    )
    assert float(more.history["objective"][-1]) <= float(one.history["objective"][-1]) + 1e-9


def test_a_start_that_fails_does_not_count_unless_all_do():
    X = np.array([[0.0, 0.2], [0.1, 0.3], [-0.1, 0.25], [0.0, 0.4]])
    outside = [0.0, -1.0]
    with pytest.raises(lf.ConvergenceError, match="not defined at the mean"):
        lf.fit_land(HALF_PLANE, X, init=outside, n_directions=64)
    land = lf.fit_land(HALF_PLANE, X, init=outside, n_init=2, n_directions=64)
    best = lf.fit_land(HALF_PLANE, X, n_directions=64)
    np.testing.assert_allclose(land.mean, best.mean, atol=0.01)


@pytest.mark.parametrize(("rtol", "converged"), [(1e-5, False), (1e-3, True)])
def test_a_search_without_progress_has_converged_where_its_errors_hide_the_rest(rtol, converged):
    X = np.array([[0.0, 0.2], [0.1, 0.3], [-0.1, 0.25], [0.0, 0.4]])
    problem = FitProblem(HALF_PLANE, X, make_grid(2, 64), "exact", "full", rtol)
    mean = np.array([0.0, 0.25])
    point = profile(problem, mean, np.ones(4), problem.logarithms(mean))
    root = np.linalg.cholesky(point.covariance)
    point = point._replace(gradient=np.linalg.solve(root.T, [np.sqrt(2 * 5e-4), 0.0]))
    tried = []

    class Stuck(MeanSearch):
        def advance(self, problem, point, weights, least=0.0):
            tried.append(self.inverse)
            self.inverse = None
            return point, 0.0

    search = Stuck()
    search.inverse = np.eye(2)
    assert search.run(problem, point, np.ones(4), 9, 1e-4)[2] is converged
    assert len(tried) == (1 if converged else 2)  # along the gradient, too


def test_a_coarse_approach_ends_at_the_optimum_of_all_directions(metric, moon, fitted):
    land = lf.fit_land(metric, moon, n_directions=128)
    assert len(np.asarray(land.history["coarse_objective"])) > 2
    fine = np.asarray(land.history["objective"])
    assert np.all(np.diff(fine) <= 0)
    assert fine[-1] == pytest.approx(float(fitted.history["objective"][-1]), abs=2e-3)
    np.testing.assert_allclose(land.mean, fitted.mean, atol=0.02)


@pytest.mark.parametrize(
    "options",
    [{"covariance_type": "tied"}, {"normalizer": "none"}, {"n_init": 0}],
)
def test_unknown_options_are_named(cloud, options):
    with pytest.raises(ValueError, match=list(options)[-1]):
        lf.fit_land(lf.Euclidean(2), cloud, **options)


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.parametrize("name", ["half-plane", "sphere", "local variance"])
def test_parameters_of_drawn_data_are_recovered_within_three_standard_errors(name, metric):
    manifold, mean = {
        "half-plane": (HALF_PLANE, [0.5, 1.0]),
        "sphere": (lf.StereographicSphere(2), [0.1, -0.2]),
        "local variance": (metric, [0.1, 0.85]),
    }[name]
    gram = np.asarray(lf.metric_tensor(manifold, mean))
    frame = np.linalg.inv(np.linalg.cholesky(gram)).T
    covariance = frame @ np.array([[0.3, 0.05], [0.05, 0.15]]) @ frame.T
    truth = lf.LAND(manifold, mean, covariance, n_directions=64)
    found = []
    for seed in range(20):
        X = truth.sample(jax.random.key(seed), 100)
        land = lf.fit_land(manifold, X, init=mean, n_directions=64, throw=False)
        found.append([*land.mean, *np.asarray(land.covariance)[np.triu_indices(2)]])
    error = np.std(found, axis=0, ddof=1) / np.sqrt(20)
    true = [*mean, *covariance[np.triu_indices(2)]]
    np.testing.assert_array_less(np.abs(np.mean(found, axis=0) - true), 3.0 * error)


def test_points_that_coincide_count_as_often_as_they_are_there(cloud):
    land = lf.fit_land(lf.Euclidean(2), np.concatenate([cloud, cloud]), n_directions=64)
    np.testing.assert_allclose(land.covariance, np.cov(cloud.T, bias=True), atol=1e-8)


def test_two_points_give_a_needle_between_them():
    land = lf.fit_land(lf.Euclidean(2), [[0.0, 0.0], [2.0, 0.0]], n_directions=64)
    np.testing.assert_allclose(land.mean, [1.0, 0.0], atol=1e-6)
    assert float(land.covariance[0, 0]) == pytest.approx(1.0, abs=1e-6)
    assert 0.0 < float(land.covariance[1, 1]) < 1e-6


@pytest.mark.slow
def test_a_far_outlier_without_a_geodesic_is_left_out_and_said_to_be(metric, moon):
    X = np.concatenate([moon, [[40.0, 40.0]]])
    with pytest.warns(UserWarning, match="1 of 41 points of X have no geodesic"):
        land = lf.fit_land(metric, X, n_directions=64, tol=1e-2, throw=False)
    assert np.isfinite(np.asarray(land.log_prob(moon))).all()
    assert np.linalg.norm(np.asarray(land.mean)) < 40.0


def test_a_constant_feature_gives_a_density_without_width_in_it(cloud):
    X = np.stack([cloud[:, 0], np.full(40, 2.0)], axis=1)
    metric = lf.LocalVariance(X, sigma=2.0, rho=0.1)
    land = lf.fit_land(metric, X, n_directions=64, throw=False)
    assert float(land.mean[1]) == pytest.approx(2.0, abs=1e-3)
    assert float(land.covariance[1, 1]) < 1e-6 * float(land.covariance[0, 0])


def test_many_points_are_approached_with_few_and_end_at_the_gaussian_fit():
    X = np.random.default_rng(3).standard_normal((3000, 2)) * [1.0, 0.3]
    land = lf.fit_land(lf.Euclidean(2), X, n_directions=64)
    np.testing.assert_allclose(land.mean, X.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(land.covariance, np.cov(X.T, bias=True), atol=1e-4)


def test_a_metric_of_many_points_is_replaced_by_an_accurate_table():
    X = make_moons(2500, noise=0.1, random_state=0)[0]
    metric = lf.LocalVariance(X, sigma=0.3, rho=0.1)
    table = tabulated_if_large(metric, X)
    assert isinstance(table, lf.Tabulated)
    assert float(np.max(table.error(metric, X[:500]))) < 1e-3
    assert tabulated_if_large(lf.LocalVariance(X[:200], sigma=0.3, rho=0.1), X).dim == 2
    assert not isinstance(tabulated_if_large(lf.LocalVariance(X[:200], sigma=0.3), X), lf.Tabulated)


def test_the_papers_fit_is_scored_by_the_papers_constant(metric, moon, fitted):
    start = [float(v) for v in fitted.mean]
    land = lf.fit_land(
        metric, moon, init=start, normalizer="paper", n_directions=32, max_iter=3, tol=1e-2
    )
    objective = np.asarray(land.history["objective"])
    assert np.all(np.diff(objective) <= 0)
    assert float(np.mean(land.log_prob(moon))) == pytest.approx(-objective[-1], abs=0.02)


@pytest.mark.parametrize(
    ("X", "match"),
    [
        (np.zeros((1, 2)), "at least 2 points"),
        (np.ones((5, 2)), "different"),
        ([[0.0, np.nan], [1.0, 1.0]], "NaN"),
        (np.zeros((4, 3)), "coordinate"),
    ],
)
def test_bad_data_are_refused(X, match):
    with pytest.raises(ValueError, match=match):
        lf.fit_land(lf.Euclidean(2), X)


def test_collinear_data_give_a_needle_along_the_line():
    X = np.outer(np.linspace(-1.0, 1.0, 9), [1.0, 2.0])
    land = lf.fit_land(lf.Euclidean(2), X, n_directions=64)
    values, vectors = np.linalg.eigh(land.covariance)
    assert values[0] < 1e-7 * values[1]
    np.testing.assert_allclose(np.abs(vectors[:, 1]), np.array([1.0, 2.0]) / np.sqrt(5), atol=1e-6)


@pytest.mark.heavy
@pytest.mark.slow
def test_the_mixture_of_two_moons_finds_the_moons():
    X, y = make_moons(100, noise=0.08, random_state=0)
    metric = lf.LocalVariance(X, sigma=0.15, rho=1e-2)
    model = lf.fit_land_mixture(metric, X, 2, n_directions=64, tol=1e-2, throw=False)
    bounds = np.asarray(model.history["lower_bound"])
    assert np.all(np.diff(bounds) > -2e-3)
    assert int(model.n_failed) == 0
    labels = np.asarray(model.responsibilities(X)).argmax(axis=1)
    agreement = np.mean(labels == y)
    assert max(agreement, 1.0 - agreement) > 0.9
    assert float(np.mean(model.log_prob(X))) == pytest.approx(bounds[-1], abs=0.01)


def test_data_in_a_subspace_are_named_where_the_fit_does_not_settle():
    assert "subspace" in _advice(np.outer(np.linspace(0.0, 1.0, 30), [1.0, 2.0]))
    cloud = np.random.default_rng(0).standard_normal((30, 2))
    assert "max_iter" in _advice(cloud)
    assert "raise tol" in _advice(cloud, stuck=True)


def test_a_mixture_that_ran_out_of_iterations_says_so(cloud):
    with pytest.raises(lf.ConvergenceError, match="max_iter"):
        lf.fit_land_mixture(lf.Euclidean(2), cloud, 2, n_directions=64, max_iter=1, tol=0.0)


def test_logarithms_that_few_nodes_do_not_resolve_are_looked_for_from_more():
    X = make_moons(80, noise=0.1, random_state=0)[0]
    rough = lf.LocalVariance(X, sigma=0.06, rho=1e-5)
    ends = X[[35, 1, 2, 3, 4, 5, 6]]
    few = connect(rough, X[0], ends, {"num_points": 17, "accuracy": 1e-4})
    lost = np.flatnonzero(~few.ok)
    assert lost.tolist() == [0]
    found = logarithms(rough, X[0], ends, 1e-4)
    assert found.ok.all()
    assert found.nodes.shape == few.nodes.shape
    exact = lf.geodesic(rough, X[0], ends[lost])
    np.testing.assert_allclose(found.length[lost], exact.length, rtol=1e-3)
    np.testing.assert_allclose(found.nodes[lost][:, [0, -1]], exact.path.nodes[:, [0, -1]])
