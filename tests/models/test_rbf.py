"""The precision of a decoder: high at the data, low away from them, whatever the clusters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform.models import ConvRBFPrecision, rbf_bandwidths
from landform.models.rbf import kmeans_centers


def test_bandwidth_is_the_inverse_square_of_the_mean_distance_by_hand():
    codes = np.array([[0.0, 0.0], [0.0, 6.0], [10.0, 0.0], [12.0, 0.0], [11.0, 3.0]])
    centers = np.array([[0.0, 2.0], [11.0, 0.0]])
    first, second = (2.0 + 4.0) / 2, (1.0 + 1.0 + 3.0) / 3
    found = rbf_bandwidths(codes, [0, 0, 1, 1, 1], centers, bandwidth_scale=2.0)
    np.testing.assert_allclose(found, [0.5 / (2 * first) ** 2, 0.5 / (2 * second) ** 2])


def test_the_cluster_std_rule_takes_the_root_mean_square():
    codes = np.array([[0.0], [6.0]])
    found = rbf_bandwidths(
        codes, [0, 0], [[2.0]], bandwidth_scale=1.0, bandwidth_rule="cluster-std"
    )
    np.testing.assert_allclose(found, [0.5 / ((4.0 + 16.0) / 2)])


def test_singleton_and_empty_clusters_take_the_median_radius_of_the_others():
    codes = np.array([[-1.0], [1.0], [7.0], [13.0], [30.0]])
    centers = np.array([[0.0], [10.0], [30.0], [50.0]])
    found = rbf_bandwidths(codes, [0, 0, 1, 1, 2], centers, bandwidth_scale=1.0)
    np.testing.assert_allclose(found, [0.5, 0.5 / 9, 0.5 / 4, 0.5 / 4])


def test_clusters_that_are_all_singletons_take_half_the_gap_between_centres():
    centers = np.array([[0.0], [2.0], [10.0]])
    found = rbf_bandwidths(centers, [0, 1, 2], centers, bandwidth_scale=1.0)
    np.testing.assert_allclose(found, [0.5, 0.5, 0.5 / 16])


def test_more_centres_than_distinct_codes_give_as_many_as_there_are(key):
    codes = np.repeat(np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]]), 4, axis=0)
    centers, labels = kmeans_centers(codes, 64, key)
    assert len(centers) == 3
    np.testing.assert_allclose(centers[labels], codes)
    rbf = lf.RBFPrecision.from_codes(codes, 3, key=key, num_centers=64, std=0.5)
    assert np.isfinite(rbf(codes[0])).all()


def test_equal_codes_are_refused(key):
    with pytest.raises(ValueError, match="codes are all equal"):
        lf.RBFPrecision.from_codes(np.ones((9, 2)), 3, key=key)


def test_precision_is_the_weighted_sum_of_bumps_plus_the_floor():
    rbf = lf.RBFPrecision([[0.0, 0.0], [3.0, 0.0]], [0.5, 2.0], [[1.0, 4.0]], max_std=10.0)
    z = np.array([1.0, 1.0])
    expected = np.exp(-0.5 * 2.0) + 4.0 * np.exp(-2.0 * 5.0) + 0.01
    np.testing.assert_allclose(rbf(z), [expected])
    np.testing.assert_allclose(rbf.std(z), [expected**-0.5])


def test_the_deviation_grows_along_every_ray_out_of_the_data_to_its_largest(rng, key):
    codes = rng.standard_normal((300, 2))
    rbf = lf.RBFPrecision.from_codes(codes, 4, key=key, num_centers=16, std=0.1)
    assert float(rbf.max_std) == pytest.approx(1.0)
    outer = np.abs(codes).max() * np.linspace(1.5, 6.0, 30)
    for angle in np.linspace(0.0, 2 * np.pi, 7):
        ray = outer[:, None] * np.array([np.cos(angle), np.sin(angle)])
        std = np.asarray(jax.vmap(rbf.std)(ray))
        assert (np.diff(std, axis=0) >= 0.0).all()
        np.testing.assert_allclose(std[-1], 1.0, rtol=1e-6)
    on_data = np.asarray(jax.vmap(rbf.std)(codes)).mean()
    assert 0.05 < on_data < 0.2


def test_the_convolutional_precision_is_at_least_its_floor_and_equal_to_it_far_away(rng):
    shape, filters = (7, 5, 2), [rng.uniform(size=(3, 4, 4, 4)), rng.uniform(size=(2, 3, 4, 4))]
    weights = rng.uniform(size=(4 * 2 * 2, 6))
    rbf = ConvRBFPrecision(rng.standard_normal((6, 2)), 1.0, weights, filters, shape, max_std=2.0)
    near = np.asarray(rbf(jnp.zeros(2)))
    assert near.shape == (70,)
    assert (near > 0.25).all()
    np.testing.assert_allclose(rbf.std(jnp.full(2, 50.0)), 2.0)


@pytest.mark.parametrize("shape", [(7, 5, 2), (8, 12, 1)])
def test_filters_as_one_matrix_are_the_same_precision(shape, rng):
    filters = [rng.uniform(size=(9, 4, 4, 4)), rng.uniform(size=(shape[2], 9, 4, 4))]
    coarse = 4 * -(-shape[0] // 4) * -(-shape[1] // 4)
    weights, centers = rng.uniform(size=(coarse, 6)), rng.standard_normal((6, 2))
    rbf = ConvRBFPrecision(centers, 0.4, weights, filters, shape, max_std=2.0)
    dense = rbf.dense()
    assert isinstance(dense, lf.RBFPrecision)
    for z in rng.standard_normal((5, 2)):
        np.testing.assert_allclose(dense(z), rbf(z), rtol=1e-13)


def test_filters_stay_filters_where_a_matrix_is_more_work(rng):
    weights, filters = rng.uniform(size=(4, 500)), [rng.uniform(size=(1, 1, 4, 4))]
    rbf = ConvRBFPrecision(
        rng.standard_normal((500, 2)), 1.0, weights, filters, (4, 4, 1), max_std=2.0
    )
    assert rbf.dense() is rbf


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"centers": [[0.0, np.nan]]}, "centers"),
        ({"centers": [0.0, 1.0]}, "centers"),
        ({"bandwidths": [0.0]}, "bandwidths"),
        ({"bandwidths": [1.0, 1.0]}, "bandwidths"),
        ({"weights": [[-1.0]]}, "weights"),
        ({"weights": [[1.0, 2.0]]}, "weights"),
        ({"max_std": 0.0}, "max_std"),
        ({"max_std": [1.0, 1.0]}, "max_std"),
    ],
)
def test_bad_parameters_are_refused_by_name(change, name):
    good = {"centers": [[0.0, 0.0]], "bandwidths": [1.0], "weights": [[1.0]], "max_std": 1.0}
    lf.RBFPrecision(**good)
    with pytest.raises(ValueError, match=name):
        lf.RBFPrecision(**(good | change))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"filters": [np.ones((3, 1, 4, 4))]}, "3 outputs meet 1"),
        ({"filters": [np.ones((2, 1, 4, 4)), np.ones((1, 3, 4, 4))]}, "2 outputs meet 3"),
        ({"filters": [np.ones((1, 4, 4))]}, "filters must have shape"),
        ({"weights": np.ones((3, 1))}, "weights must have 4 rows"),
        ({"shape": (4, 4)}, "shape must be"),
        ({"shape": (4, 0, 1)}, "shape must be"),
    ],
)
def test_filters_that_do_not_lead_to_the_image_are_refused(change, name):
    good = {"weights": np.ones((4, 1)), "filters": [np.ones((1, 1, 4, 4))], "shape": (4, 4, 1)}
    with pytest.raises(ValueError, match=name):
        ConvRBFPrecision([[0.0]], 0.5, max_std=1.0, **(good | change))


def test_a_point_of_the_wrong_shape_and_a_broken_number_of_outputs_are_refused(key):
    rbf = lf.RBFPrecision([[0.0, 0.0]], 1.0, [[1.0]], max_std=1.0)
    for point in ([0.0], 0.0, [[0.0, 0.0]]):
        with pytest.raises(ValueError, match=r"z must be one point of shape \(2,\)"):
            rbf.std(point)
    with pytest.raises(TypeError, match="num_outputs must be an integer"):
        lf.RBFPrecision.from_codes([[0.0], [1.0]], 2.7, key=key)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"bandwidth_scale": 0.0}, "bandwidth_scale must be positive"),
        ({"bandwidth_rule": "guess"}, "bandwidth_rule"),
        ({"labels": [0, 2]}, "labels"),
        ({"labels": [0]}, "labels"),
        ({"centers": [[0.0, 1.0]]}, "centers"),
    ],
)
def test_bad_arguments_of_the_bandwidth_rule_are_refused_by_name(change, name):
    good = {"codes": [[0.0], [1.0]], "labels": [0, 0], "centers": [[0.5]], "bandwidth_scale": 1.0}
    with pytest.raises(ValueError, match=name):
        rbf_bandwidths(**(good | change))
