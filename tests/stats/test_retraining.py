"""The report on retraining: exact cases, failures, and a pair of models that bend one space."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from oracles import FlatInDisguise, half_plane_points

CODES = np.random.default_rng(0).normal(size=(12, 2))


def bent(metric, points):
    """The chart coordinates whose flat coordinates are `points`."""
    x = points[:, 0]
    return np.stack([x, points[:, 1] - metric.bend * np.sin(x)], axis=1)


def test_geodesic_distances_survive_a_change_of_coordinates_and_straight_ones_do_not():
    metrics = [FlatInDisguise(bend) for bend in (0.0, 0.7, 1.5)]
    report = lf.retraining_report(metrics, [bent(m, CODES) for m in metrics], num_pairs=15)
    assert report.failed == 0
    exact = np.linalg.norm(np.subtract(*CODES[np.asarray(report.pairs).T]), axis=1)
    np.testing.assert_allclose(report.geodesic, np.tile(exact, (3, 1)), rtol=1e-6)
    assert report.cv_geodesic.max() < 1e-6
    assert report.cv_euclidean.mean() > 0.05
    assert "15 pairs, 0 failed" in report.summary()


def test_coefficients_are_those_of_known_distances():
    metrics = [s**2 * lf.Euclidean(2) for s in (1.0, 2.0, 3.0)]
    report = lf.retraining_report(metrics, CODES, num_pairs=10)
    np.testing.assert_allclose(report.cv_geodesic, 0.5, rtol=1e-8)  # sd 1 over mean 2
    np.testing.assert_allclose(report.shape_cv_geodesic, 0.0, atol=1e-8)
    np.testing.assert_allclose(report.cv_euclidean, 0.0, atol=1e-12)


def test_pairs_are_distinct_and_all_of_them_where_few():
    report = lf.retraining_report([lf.Euclidean(2)] * 2, CODES[:5])
    np.testing.assert_array_equal(report.pairs, np.stack(np.triu_indices(5, 1), axis=1))
    some = lf.retraining_report([lf.Euclidean(2)] * 2, CODES, num_pairs=20, key=jax.random.key(3))
    assert len({tuple(p) for p in np.asarray(some.pairs).tolist()}) == 20
    assert (some.pairs[:, 0] < some.pairs[:, 1]).all()


def test_a_pair_that_fails_under_one_model_is_left_out_of_both(rng):
    class Holed(lf.AbstractMetric):
        def __call__(self, x):
            hole = jnp.sum((x - jnp.array([0.0, 2.0])) ** 2) < 0.05
            return jnp.where(hole, jnp.nan, 1.0) * jnp.eye(2)

    points = np.array([[-1.0, 2.0], [1.0, 2.0], [1.0, 3.0]])
    pairs = np.array([[0, 1], [1, 2]])
    report = lf.retraining_report([lf.Euclidean(2), Holed()], points, pairs=pairs)
    assert report.failed == 1
    assert np.isnan(report.cv_geodesic[0])
    assert np.isnan(report.cv_euclidean[0])
    np.testing.assert_allclose(report.cv_geodesic[1], 0.0, atol=1e-9)


def test_models_encode_the_data_themselves(rng):
    class Model:
        def __init__(self, scale):
            self.scale = scale

        def encode(self, X):
            return np.asarray(X) * self.scale

        def metric(self):
            return lf.PoincareHalfPlane()

    X = half_plane_points(rng, 6)
    report = lf.retraining_report([Model(1.0), Model(5.0)], X)  # scalings are isometries
    assert report.cv_geodesic.max() < 1e-6
    assert report.cv_euclidean.min() > 0.5


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: lf.retraining_report([lf.Euclidean(2)], CODES), ValueError, "at least two"),
        (lambda: lf.retraining_report([1, 2], CODES), TypeError, r"models\[0\] must be a metric"),
        (
            lambda: lf.retraining_report([lf.Euclidean(2)] * 2, [CODES, CODES[:3]]),
            ValueError,
            "the same points",
        ),
        (
            lambda: lf.retraining_report([lf.Euclidean(2)] * 2, [CODES] * 3),
            ValueError,
            "codes for each of 2",
        ),
        (
            lambda: lf.retraining_report([lf.Euclidean(2)] * 2, CODES, pairs=[[0, 12]]),
            ValueError,
            "between 0 and 11",
        ),
        (
            lambda: lf.retraining_report([lf.Euclidean(2)] * 2, CODES, pairs=[0, 1]),
            ValueError,
            "shape",
        ),
        (
            lambda: lf.retraining_report([lf.Euclidean(2)] * 2, CODES, num_pairs=0),
            ValueError,
            "num_pairs",
        ),
        (
            lambda: lf.retraining_report([lf.Euclidean(3)] * 2, CODES),
            ValueError,
            r"X\[0\] must have 3",
        ),
    ],
)
def test_bad_input_is_named(build, error, words):
    with pytest.raises(error, match=words):
        build()
