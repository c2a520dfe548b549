"""Ensembles: the expected metric, its parts, and the energies of the literature."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf

Z = jnp.array([0.4, -0.3])


class Decoder(eqx.Module):
    weight: jax.Array
    bias: jax.Array

    def __call__(self, z):
        return jnp.tanh(self.weight @ z + self.bias)


def members(count, seed=0):
    rng = np.random.default_rng(seed)
    return [
        Decoder(jnp.asarray(rng.normal(size=(5, 2))), jnp.asarray(rng.normal(size=5)))
        for _ in range(count)
    ]


FOUR = members(4)
ENSEMBLE = lf.EnsemblePullback(FOUR)
CURVE = np.stack([np.linspace(-1.0, 1.0, 9), np.linspace(-1.0, 1.0, 9) ** 2], axis=1)


def test_the_metric_is_the_mean_of_the_members():
    expected = np.mean([lf.Pullback(f)(Z) for f in FOUR], axis=0)
    np.testing.assert_allclose(ENSEMBLE(Z), expected, rtol=1e-13)


def test_the_metric_is_that_of_the_mean_and_the_covariance():
    jacobians = np.stack([jax.jacfwd(f)(Z) for f in FOUR])
    mean = jacobians.mean(axis=0)
    departures = np.einsum("kda,kdb->ab", jacobians - mean, jacobians - mean) / 4
    np.testing.assert_allclose(ENSEMBLE(Z), mean.T @ mean + departures, rtol=1e-12)


def test_members_of_one_structure_are_evaluated_together():
    apart = lf.EnsemblePullback([lambda z, f=f: f(z) for f in FOUR])
    assert len(ENSEMBLE.members) == 1
    assert len(apart.members) == 4
    np.testing.assert_allclose(ENSEMBLE(Z), apart(Z), rtol=1e-13)
    np.testing.assert_allclose(ENSEMBLE.outputs(Z), apart.outputs(Z), rtol=1e-14)


def test_equal_members_are_one_decoder():
    metric = lf.EnsemblePullback([FOUR[0]] * 3)
    np.testing.assert_allclose(metric(Z), lf.Pullback(FOUR[0])(Z), rtol=1e-13)
    gaussian = metric.gaussian()
    np.testing.assert_allclose(gaussian(Z), metric(Z), rtol=1e-13)
    assert np.isfinite(gaussian.acceleration(Z, Z)).all()


def test_members_may_be_metrics_with_their_own_uncertainty():
    rbf = lf.RBFPrecision(np.zeros((1, 2)), 0.5, np.ones((5, 1)), max_std=2.0)
    parts = [lf.ExpectedPullback(f, rbf.std, landmarks=CURVE) for f in FOUR]
    metric = lf.EnsemblePullback(parts)
    np.testing.assert_allclose(metric(Z), np.mean([m(Z) for m in parts], axis=0), rtol=1e-13)
    assert metric.landmarks().shape == (4 * 9, 2)


def test_the_gaussian_of_the_ensemble_is_never_longer(rng):
    points = rng.normal(size=(50, 2))
    gap = lf.metric_tensor(ENSEMBLE, points) - lf.metric_tensor(ENSEMBLE.gaussian(), points)
    assert np.linalg.eigvalsh(gap).min() > -1e-12


def test_the_gaussian_of_two_members_loses_nothing():
    two = lf.EnsemblePullback(FOUR[:2])
    np.testing.assert_allclose(two.gaussian()(Z), two(Z), rtol=1e-12)


def test_sampled_metrics_are_the_ensemble_on_average(key):
    keys = jax.random.split(key, 300)
    one = np.mean([ENSEMBLE.sample(k)(Z) for k in keys[:60]], axis=0)
    each = np.stack([lf.Pullback(f)(Z) for f in FOUR])
    assert np.all(np.abs(one - ENSEMBLE(Z)) < 4 * each.std(axis=0) / np.sqrt(60))
    np.testing.assert_allclose(ENSEMBLE.sample(key, 4)(Z), ENSEMBLE(Z), rtol=1e-13)
    apart = lf.EnsemblePullback([lambda z, f=f: f(z) for f in FOUR])
    np.testing.assert_allclose(apart.sample(key, 2)(Z), ENSEMBLE.sample(key, 2)(Z), rtol=1e-13)


def test_the_energy_with_cross_covariance_tends_to_that_of_the_metric():
    def curve(count):
        t = np.linspace(-1.0, 1.0, count + 1)
        return np.stack([t, t**2], axis=1)

    exact = float(lf.curve_energy(ENSEMBLE, curve(2000), order=2))
    errors = [abs(float(ENSEMBLE.energy(curve(n))) / exact - 1.0) for n in (25, 50, 100)]
    rates = np.diff(np.log(errors)) / np.log(0.5)
    assert errors[-1] < 1e-3
    np.testing.assert_allclose(rates, 2.0, atol=0.1)


def test_the_energy_without_cross_covariance_grows_with_the_number_of_points():
    def curve(count):
        t = np.linspace(-1.0, 1.0, count + 1)
        return np.stack([t, t**2], axis=1)

    energies = [float(ENSEMBLE.energy(curve(n), cross_covariance=False)) for n in (100, 200, 400)]
    growth = np.diff(np.log(energies)) / np.log(2.0)
    np.testing.assert_allclose(growth, 2.0, atol=0.05)


@pytest.mark.parametrize("cross_covariance", [True, False])
def test_the_sampled_energy_is_unbiased(cross_covariance, key):
    exact = float(ENSEMBLE.energy(CURVE, cross_covariance=cross_covariance))
    draws = np.array(
        [
            float(ENSEMBLE.energy(CURVE, cross_covariance=cross_covariance, key=k))
            for k in jax.random.split(key, 400)
        ]
    )
    error = draws.std() / np.sqrt(draws.size)
    assert 0.0 < error < 0.1 * exact
    assert abs(draws.mean() - exact) < 4 * error


def test_the_energy_without_cross_covariance_is_the_mean_over_independent_members():
    pairs = [
        np.sum((f(CURVE[t + 1]) - g(CURVE[t])) ** 2) for t in range(8) for f in FOUR for g in FOUR
    ]
    expected = 0.5 * 8 * np.sum(pairs) / 16
    energy = ENSEMBLE.energy(CURVE, cross_covariance=False)
    np.testing.assert_allclose(energy, expected, rtol=1e-12)


def test_geodesics_of_an_ensemble_are_solved_by_chords():
    path = lf.geodesic(ENSEMBLE, [-1.0, 0.5], [1.0, -0.5])
    assert path.converged
    assert path.length < lf.curve_length(ENSEMBLE, [[-1.0, 0.5], [1.0, -0.5]], order=40)


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: lf.EnsemblePullback([]), ValueError, "at least one decoder"),
        (lambda: lf.EnsemblePullback(FOUR[0]), TypeError, "must be a sequence"),
        (lambda: lf.EnsemblePullback([FOUR[0], 3]), TypeError, r"members\[1\] must be a callable"),
        (
            lambda: lf.EnsemblePullback([lf.PoincareHalfPlane()]),
            ValueError,
            "does not embed",
        ),
        (
            lambda: lf.EnsemblePullback([FOUR[0], lambda z: z])(Z),
            ValueError,
            "outputs of one size",
        ),
        (lambda: ENSEMBLE.sample(jax.random.key(0), 5), ValueError, "between 1 and 4"),
        (lambda: ENSEMBLE.energy([[0.0, 0.0]]), ValueError, "at least two corners"),
        (lambda: ENSEMBLE.energy(np.eye(2), key=3), TypeError, "key must be one JAX key"),
        (lambda: ENSEMBLE.sample(3), TypeError, "key must be one JAX key"),
        (lambda: ENSEMBLE.sample(jax.random.key(0), 1.5), TypeError, "size must be an integer"),
    ],
)
def test_bad_input_is_named(build, error, words):
    with pytest.raises(error, match=words):
        build()
