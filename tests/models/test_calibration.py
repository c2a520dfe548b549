"""Calibration of a decoder's deviations against residuals of known law."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform.models.vae import ConstantStd

STDS = np.array([0.1, 0.3, 1.0, 3.0])


@pytest.fixture(scope="module")
def known():
    """A model whose mean ignores z and is zero, with a deviation for each output, and its data."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 4)) * STDS
    vae = lf.train_vae(
        X[:60],
        2,
        key=jax.random.key(0),
        hidden=(),
        epochs=1,
        variance="constant",
        output="identity",
    )
    blind = jax.tree.map(lambda leaf: 0.0 * leaf, vae.mean)
    vae = eqx.tree_at(lambda v: (v.mean, v.std), vae, (blind, ConstantStd(jnp.asarray(STDS))))
    return vae, X


def test_true_deviations_are_calibrated(known, key):
    vae, X = known
    found = lf.calibration(vae, X, key=key, bins=4)
    np.testing.assert_allclose(found.predicted, STDS, rtol=1e-12)
    np.testing.assert_allclose(found.observed, STDS, rtol=0.05)
    np.testing.assert_allclose(found.quantiles, [[0.126, 0.674, 1.645]] * 4, atol=0.05)
    assert found.error < 0.05


def test_deviations_of_half_the_size_are_off_by_a_factor_of_two(known, key):
    vae, X = known
    narrow = eqx.tree_at(lambda v: v.std.value, vae, jnp.asarray(STDS) / 2.0)
    found = lf.calibration(narrow, X, key=key, bins=4)
    np.testing.assert_allclose(found.observed / found.predicted, 2.0, rtol=0.05)
    assert found.error == pytest.approx(np.log(2.0), abs=0.05)


def test_groups_are_no_more_than_the_outputs(known, key):
    vae, X = known
    found = lf.calibration(vae, X[:2], key=key, bins=50)
    assert found.predicted.shape == (8,)
    assert (np.diff(found.predicted) >= 0).all()


@pytest.mark.parametrize(("bins", "error"), [(0, ValueError), (1.5, TypeError), (True, TypeError)])
def test_bins_are_checked(known, key, bins, error):
    vae, X = known
    with pytest.raises(error, match="bins must be an integer"):
        lf.calibration(vae, X, key=key, bins=bins)


def test_other_models_and_data_are_refused(known, key):
    vae, X = known
    with pytest.raises(TypeError, match="VAE"):
        lf.calibration("vae", X, key=key)
    bernoulli = lf.VAE(
        vae.encoder, vae.mean, vae.std, vae.codes, vae.history, vae.shape, "bernoulli"
    )
    with pytest.raises(ValueError, match="vae must have a Gaussian likelihood, got 'bernoulli'"):
        lf.calibration(bernoulli, X, key=key)
    with pytest.raises(ValueError, match="X"):
        lf.calibration(vae, X[:, :3], key=key)
    with pytest.raises(TypeError, match="key must be one JAX key"):
        lf.calibration(vae, X, key=0)
