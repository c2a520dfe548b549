"""Where the fit of a mixture begins: starts of its own, and those that a user gives."""

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

import landform as lf
from landform.stats.land.starts import Starts, central_point, fully_converged


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(3)
    first = rng.standard_normal((40, 2)) * [1.0, 0.4]
    return np.concatenate([first, [3.0, 1.0] + rng.standard_normal((60, 2)) * [0.5, 0.8]])


@pytest.mark.parametrize("soft", [False, True])
def test_a_start_is_taken_as_it_is_given(blobs, soft):
    labels = (blobs[:, 0] > 2.0).astype(int)
    init = 3.0 * (0.9 * np.eye(2)[labels] + 0.05) if soft else labels
    model = lf.fit_land_mixture(lf.Euclidean(2), blobs, 2, init=init, n_directions=16, tol=1e-10)
    means = np.stack([blobs[labels == k].mean(axis=0) for k in (0, 1)])
    peer = GaussianMixture(2, tol=1e-10, reg_covar=0.0, means_init=means, max_iter=500).fit(blobs)
    # The order of the components is that of the start.
    np.testing.assert_allclose([c.mean for c in model.components], peer.means_, atol=1e-4)
    np.testing.assert_allclose(model.weights, peer.weights_, atol=1e-4)
    assert float(model.history["lower_bound"][-1]) == pytest.approx(peer.lower_bound_, abs=1e-6)


def test_gaussian_mixtures_of_one_optimum_are_equally_likely():
    rng = np.random.default_rng(1)
    clusters = ((1.0, (0.0, 0.0)), (0.5, (1.2, 0.0)), (1.5, (0.0, 1.5)))
    X = np.concatenate([rng.standard_normal((60, 2)) * s + m for s, m in clusters])
    found = [
        GaussianMixture(3, n_init=5, init_params=kind, random_state=0).fit(X)
        for kind in ("kmeans", "k-means++", "random_from_data")
    ]
    assert np.ptp([fit.lower_bound_ for fit in found]) > 5e-3  # by the tolerance, not the optimum
    assert np.ptp([fully_converged(fit, X).lower_bound_ for fit in found]) < 2e-5


def test_a_fit_goes_on_from_the_memberships_of_another(blobs):
    first = lf.fit_land_mixture(lf.Euclidean(2), blobs, 2, n_directions=16, tol=1e-8)
    again = lf.fit_land_mixture(
        lf.Euclidean(2), blobs, 2, init=first.responsibilities(blobs), n_directions=16, tol=1e-6
    )
    best = float(first.history["lower_bound"][-1])
    assert float(again.history["lower_bound"][-1]) == pytest.approx(best, abs=1e-5)
    assert int(again.n_iter) < int(first.n_iter)
    for one, other in zip(again.components, first.components, strict=True):
        np.testing.assert_allclose(one.mean, other.mean, atol=0.01)


def test_points_without_a_weight_or_a_density_do_not_make_a_component(blobs):
    labels = (blobs[:, 0] > 2.0).astype(int)
    with pytest.raises(ValueError, match="component 1 has 0"):
        lf.fit_land_mixture(lf.Euclidean(2), blobs, 2, init=labels, weights=1.0 * (labels == 0))
    shares = np.eye(2)[labels]
    shares[[0, 50]] = np.nan  # as responsibilities are where a geodesic failed
    some = lf.fit_land_mixture(lf.Euclidean(2), blobs, 2, init=shares, n_directions=16, tol=1e-10)
    every = lf.fit_land_mixture(
        lf.Euclidean(2), blobs, 2, init=labels > 0, n_directions=16, tol=1e-10
    )
    np.testing.assert_allclose(some.weights, every.weights, atol=1e-4)


def test_a_small_component_is_not_lost_where_some_of_the_data_are_fitted_first():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2006, 2))
    X[2000:, 0] += 20.0
    labels = np.arange(2006) >= 2000
    model = lf.fit_land_mixture(lf.Euclidean(2), X, 2, init=labels, n_directions=16)
    np.testing.assert_allclose(model.weights, [2000 / 2006, 6 / 2006], atol=1e-6)
    np.testing.assert_allclose(model.components[1].mean, X[2000:].mean(axis=0), atol=0.05)


@pytest.mark.parametrize(
    ("init", "match"),
    [
        ("random", "must be one of auto"),
        (np.zeros(99, int), "shape"),
        (np.zeros(100), "float64 of shape"),
        (np.zeros(100, int), "component 1 has 0"),
        (np.arange(100) < 2, "at least 3 points.* component 1 has 2"),
        (np.ones((100, 2)), "same memberships"),
        ([[0.5, 0.5]] * 99 + [[1.0]], "inhomogeneous"),
        (np.full(100, 2), "labels from 2 to 2"),
        (-np.ones((100, 2)), "finite and not all zero"),
        (np.zeros((100, 2)), "not all zero"),
        (np.full((100, 2), np.nan), "same memberships"),
        (np.full((100, 2), [np.nan, 1.0]), "finite"),
        (np.ones((100, 3)), "shape"),
    ],
)
def test_a_wrong_start_is_refused(blobs, init, match):
    with pytest.raises(ValueError, match=match):
        lf.fit_land_mixture(lf.Euclidean(2), blobs, 2, init=init)


def test_a_far_point_founds_no_component_and_clusters_cover_the_data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 2)) + np.repeat([[0.0, 0.0], [9.0, 0.0]], 20, axis=0)
    far = np.concatenate([X, [[1e3, 1e3]]])
    starts = list(Starts(lf.Euclidean(2), far, np.random.default_rng(1)).several(2, 3))
    for centers, shares in starts:
        assert np.abs(centers).max() < 20.0
        np.testing.assert_allclose(shares.sum(axis=1), 1.0)
        assert shares.shape == (41, 2)
        assert shares.sum(axis=0).min() > 15.0


def test_a_far_point_does_not_draw_the_middle_to_its_side():
    X = np.random.default_rng(0).standard_normal((19, 2)) * [1.0, 0.3]
    far = np.concatenate([X, [[100.0, 100.0]]])
    start = Starts(lf.Euclidean(2), far, np.random.default_rng(1)).medoids(1)[0][0]
    rules = lf.LocalVariance(far, sigma=0.5, rho=1e-2)
    for middle in (start, central_point(rules, far, np.ones(20))):
        assert np.abs(middle - X.mean(axis=0)).max() < 0.5


def test_a_point_without_a_geodesic_counts_for_no_component_from_the_start():
    X = np.random.default_rng(0).standard_normal((20, 2)) * 0.2 + [0.0, 3.0]
    X[10:] += [9.0, 0.0]
    X[-1] = [9.0, -1.0]  # not in the half-plane: a tenth of a component, a twentieth of the data
    model = lf.fit_land_mixture(lf.PoincareHalfPlane(), X, 2, n_directions=64)
    assert int(model.n_failed) == 1
    assert sorted(np.round(np.asarray(model.weights), 6)) == [round(9 / 19, 6), round(10 / 19, 6)]


def test_the_start_by_a_gaussian_mixture_knows_elongated_clusters():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 2)) * [10.0, 0.1]
    X[100:, 1] += 1.0
    labels = np.arange(200) >= 100
    found = Starts(lf.Euclidean(2), X, np.random.default_rng(0)).gaussian(2)
    assert found is not None
    agreement = np.mean(found[1].argmax(axis=1) == labels)
    assert max(agreement, 1.0 - agreement) > 0.99
    model = lf.fit_land_mixture(lf.Euclidean(2), X, 2, n_directions=64)
    assert float(np.ptp([c.mean[1] for c in model.components])) == pytest.approx(1.0, abs=0.1)


def test_the_start_by_a_gaussian_mixture_is_of_all_data_where_some_are_fitted():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((400, 2)) * [10.0, 0.2]
    X[200:, 1] += 1.0
    labels, rows = np.arange(400) >= 200, np.arange(0, 400, 33)
    # The likeliest mixture of a dozen points has a component of hardly any.
    assert Starts(lf.Euclidean(2), X[rows], np.random.default_rng(0)).gaussian(2) is None
    found = Starts(lf.Euclidean(2), X[rows], np.random.default_rng(0), X).gaussian(2)
    assert found is not None
    agreement = np.mean(found[1].argmax(axis=1) == labels[rows])
    assert agreement in (0.0, 1.0)
