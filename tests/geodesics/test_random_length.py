"""The random metric of a generator against closed forms, sampled generators and its limit in D."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gammaln, hyp1f1

import landform as lf

MARKS = np.random.default_rng(0).uniform(-1.0, 1.0, (20, 2))
X, V = jnp.array([0.3, -0.5]), jnp.array([0.8, 1.1])


def affine(outputs, seed=0, mean=0.5, spread=1.0):
    """μ(z) = A z, σ(z) = 9 + B z with random A and B."""
    rng = np.random.default_rng(seed)
    a, b = mean * rng.normal(size=(outputs, 2)), spread * rng.normal(size=(outputs, 2))
    return lf.ExpectedPullback(lambda z: a @ z, lambda z: 9.0 + b @ z)


def chi_mean(outputs, a, b):
    """The mean of the norm of D normals of mean a and deviation b, a noncentral chi variable."""
    ratio = np.exp(gammaln((outputs + 1) / 2) - gammaln(outputs / 2))
    return np.sqrt(2.0) * b * ratio * hyp1f1(-0.5, outputs / 2, -outputs * a**2 / (2 * b**2))


def even(outputs, a, b):
    return lf.ExpectedPullback(
        lambda z: a * z[0] * jnp.ones(outputs), lambda z: 9.0 + b * z[0] * jnp.ones(outputs)
    )


@pytest.fixture(scope="module")
def draws():
    """Tensors of 4000 sampled metrics at X."""
    metric = affine(30)
    keys = jax.random.split(jax.random.key(0), 4000)
    return np.asarray(jax.jit(jax.vmap(lambda k: metric.sample(k, X)(X)))(keys))


def test_the_variance_is_that_of_sampled_metrics(draws):
    exact = np.asarray(lf.metric_variance(affine(30), X))
    fourth = ((draws - draws.mean(axis=0)) ** 4).mean(axis=0)
    error = np.sqrt((fourth - draws.var(axis=0) ** 2) / len(draws))
    assert (np.abs(draws.var(axis=0) - exact) < 4.0 * error).all()
    assert (error < 0.05 * exact).all()
    both = lf.metric_variance(affine(30), np.stack([X, V]))
    np.testing.assert_allclose(both[0], exact, rtol=1e-12)


def test_the_mean_of_sampled_metrics_is_the_expected_one(draws):
    error = draws.std(axis=0) / np.sqrt(len(draws))
    exact = np.asarray(lf.metric_tensor(affine(30), X))
    assert (np.abs(draws.mean(axis=0) - exact) < 4.0 * error).all()


def test_the_deviation_relative_to_the_metric_falls_as_the_root_of_the_outputs():
    """Exactly so for equal outputs: the variance is D (4 a² b² + 2 b⁴), the mean D (a² + b²)."""
    for outputs in (10, 1000):
        metric = even(outputs, 0.5, 2.0)
        ratio = np.sqrt(lf.metric_variance(metric, [0.3])) / lf.metric_tensor(metric, [0.3])
        np.testing.assert_allclose(ratio, [[6.0 / 4.25 / np.sqrt(outputs)]], rtol=1e-12)
    few, many = affine(100), affine(40_000)
    ratios = [
        np.sqrt(np.asarray(lf.metric_variance(m, X))[0, 0]) / lf.metric_tensor(m, X)[0, 0]
        for m in (few, many)
    ]
    assert ratios[0] / ratios[1] == pytest.approx(20.0, rel=0.2)


def test_a_generator_without_noise_is_not_random():
    metric = lf.ExpectedPullback(lambda z: jnp.sin(z), lambda z: jnp.ones(2))
    assert (np.asarray(lf.metric_variance(metric, X)) == 0.0).all()
    norm = np.sqrt(V @ lf.metric_tensor(metric, X) @ V)
    np.testing.assert_allclose(lf.expected_speed(metric, X, V), norm, rtol=1e-14)
    found = lf.random_length(metric, [X, V])
    np.testing.assert_allclose(found.expected_length, found.length, rtol=1e-14)
    assert float(found.length_std) == float(found.energy_std) == 0.0


@pytest.mark.parametrize("outputs", [1, 2, 7, 300])
@pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (0.5, 1.0), (3.0, 0.2), (1.0, 40.0)])
def test_the_expected_speed_is_the_mean_of_a_noncentral_chi_variable(outputs, a, b):
    found = lf.expected_speed(even(outputs, a, b), [0.0], [1.0])
    np.testing.assert_allclose(found, chi_mean(outputs, a, b), rtol=1e-11)


def test_the_finsler_gap_times_the_number_of_outputs_is_flat():
    gaps = []
    for outputs in (50, 500, 5000):
        found = lf.random_length(even(outputs, 0.5, 1.0), [[0.0], [2.0]])
        gap = float((found.length - found.expected_length) / found.length)
        if outputs == 50:  # beyond, the hypergeometric function of SciPy overflows
            exact = 1.0 - chi_mean(outputs, 0.5, 1.0) / np.sqrt(1.25 * outputs)
            assert gap == pytest.approx(exact, rel=1e-7)
        gaps.append(outputs * gap)
    np.testing.assert_allclose(gaps, 0.24, atol=0.005)


def test_expected_speeds_are_a_norm_below_that_of_the_expected_metric():
    metric = affine(5)
    vectors = np.random.default_rng(1).normal(size=(20, 2))
    places = np.broadcast_to(np.asarray(X), (20, 2))
    speeds = np.asarray(lf.expected_speed(metric, places, vectors))
    tensor = np.asarray(lf.metric_tensor(metric, X))
    assert (speeds < np.sqrt(np.einsum("ni,ij,nj->n", vectors, tensor, vectors))).all()
    np.testing.assert_allclose(lf.expected_speed(metric, places, -3.0 * vectors), 3.0 * speeds)
    sums = lf.expected_speed(metric, places[1:], vectors[1:] + vectors[:-1])
    assert (np.asarray(sums) <= speeds[1:] + speeds[:-1]).all()
    assert float(lf.expected_speed(metric, X, 0.0 * V)) == 0.0


def test_error_bars_of_lengths_are_those_of_sampled_generators():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(200, 2)), rng.normal(size=(200, 2))
    metric = lf.ExpectedPullback(lambda z: jnp.sin(a @ z), lambda z: jnp.exp(0.5 * jnp.cos(b @ z)))
    curve = np.array([[0.0, 0.0], [0.5, 0.8], [1.0, 1.0]])
    found = lf.random_length(metric, curve)
    n = 2000
    lengths, energies = (
        np.asarray(part) for part in lf.sample_lengths(metric, curve, jax.random.key(0), n)
    )
    assert abs(lengths.mean() - found.expected_length) < 4.0 * lengths.std() / np.sqrt(n)
    assert abs(energies.mean() - found.energy) < 4.0 * energies.std() / np.sqrt(n)
    assert float(found.length_std) == pytest.approx(lengths.std(), rel=0.06)
    assert float(found.energy_std) == pytest.approx(energies.std(), rel=0.06)
    np.testing.assert_allclose(found.length, lf.curve_length(metric, curve), rtol=1e-12)
    np.testing.assert_allclose(found.energy, lf.curve_energy(metric, curve), rtol=1e-12)
    both = lf.random_length(metric, np.stack([curve, 2.0 * curve]))
    np.testing.assert_allclose(both.length_std[0], found.length_std, rtol=1e-12)


def test_a_length_under_a_sampled_metric_is_a_sampled_length():
    metric, key = affine(40), jax.random.key(3)
    curve = np.array([[0.0, 0.0], [1.0, 0.5]])
    lengths, energies = lf.sample_lengths(metric, curve, key, 1)
    drawn = metric.sample(jax.random.split(key, 1)[0], X)
    np.testing.assert_allclose(lengths[0], lf.curve_length(drawn, curve), rtol=1e-12)
    np.testing.assert_allclose(energies[0], lf.curve_energy(drawn, curve), rtol=1e-12)


def test_a_sampled_metric_is_smooth_repeatable_and_keeps_its_landmarks():
    mean, std = (lambda z: jnp.concatenate([z, z**2])), (lambda z: jnp.ones(4) * jnp.exp(z[0]))
    metric = lf.ExpectedPullback(mean, std, landmarks=MARKS)
    drawn = metric.sample(jax.random.key(0))
    assert drawn.f.noise.dtype == np.float64
    np.testing.assert_array_equal(drawn.landmarks(), MARKS)
    same, other = metric.sample(jax.random.key(0)), metric.sample(jax.random.key(1))
    tensor = np.asarray(lf.metric_tensor(drawn, X))
    np.testing.assert_array_equal(lf.metric_tensor(same, X), tensor)
    assert not np.allclose(lf.metric_tensor(other, X), tensor)
    assert bool(lf.geodesic(drawn, [0.1, 0.2], [0.5, 0.4]).converged)
    with jax.enable_x64(False):
        assert metric.sample(jax.random.key(0)).f.noise.dtype == np.float64
    whole = lf.ExpectedPullback(mean, std).sample(jax.random.key(0), [0, 1])  # integers are points
    np.testing.assert_array_equal(lf.metric_tensor(whole, X), tensor)
    with pytest.raises(ValueError, match="landmarks"):
        lf.ExpectedPullback(mean, std).sample(jax.random.key(0))


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda m: lf.metric_variance(lf.Euclidean(2), X), TypeError, "metric"),
        (lambda m: lf.metric_variance(m, [[np.nan, 0.0]]), ValueError, "x has 1 NaN"),
        (lambda m: lf.expected_speed(m, X, [1.0]), ValueError, "v must have the shape"),
        (lambda m: lf.random_length(m, [0.0, 1.0]), ValueError, "curve must have shape"),
        (lambda m: lf.random_length(m, [[0.0], [1.0]], order=0), ValueError, "order"),
        (
            lambda m: lf.sample_lengths(m, [[0.0, 0.0], [1.0, 1.0]], jax.random.key(0), 0),
            ValueError,
            "n must be",
        ),
        (
            lambda m: lf.sample_lengths(m, [[0.0, 0.0], [1.0, 1.0]], 0, 5),
            TypeError,
            "key must be one JAX key",
        ),
        (lambda m: lf.random_length(m, np.eye(2), order="5"), TypeError, "order must be an int"),
        (lambda m: m.sample(0, [0.0, 0.0]), TypeError, "key must be one JAX key"),
        (lambda m: m.sample(jax.random.key(0), "z"), TypeError, "z must be an array"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, error, name):
    with pytest.raises(error, match=name):
        call(affine(3))
