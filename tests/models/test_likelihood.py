"""Evidence against closed forms, and the expected metric against the random one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import landform as lf
from landform.models import MLP
from landform.models.vae import VAE, ConstantStd, Encoder, MeanDecoder, PrecisionStd

SIZE, DIM, STD = 6, 2, 0.5


def affine(weight, bias):
    net = MLP(jax.random.key(0), (weight.shape[1], weight.shape[0]))
    return eqx.tree_at(
        lambda n: (n.weights, n.biases), net, ((jnp.asarray(weight),), (jnp.asarray(bias),))
    )


@pytest.fixture(scope="module")
def linear():
    """A linear Gaussian model with its exact posterior as the encoder, its evidence, and data."""
    rng = np.random.default_rng(0)
    loading = np.linalg.qr(rng.standard_normal((SIZE, DIM)))[0] * np.array([2.0, 0.7])
    offset = rng.standard_normal(SIZE)
    precision = loading.T @ loading / STD**2 + np.eye(DIM)
    gain = np.linalg.solve(precision, loading.T) / STD**2
    log_std = -0.5 * np.log(np.diag(precision))
    encoder = Encoder(
        affine(
            np.concatenate([gain, np.zeros_like(gain)]), np.concatenate([np.zeros(DIM), log_std])
        ),
        jnp.asarray(offset),
        jnp.asarray(1.0),
    )
    mean = MeanDecoder(
        affine(loading, np.zeros(SIZE)), jnp.asarray(offset), jnp.asarray(1.0), "identity"
    )
    std = ConstantStd(jnp.full(SIZE, STD))
    vae = VAE(encoder, mean, std, jnp.zeros((3, DIM)), None, (SIZE,), "gaussian")
    law = multivariate_normal(offset, loading @ loading.T + STD**2 * np.eye(SIZE))
    X = law.rvs(40, random_state=1)
    return vae, X, law.logpdf(X)


def test_marginal_likelihood_of_a_linear_gaussian_model_is_the_closed_form(linear, key):
    vae, X, exact = linear
    found = lf.log_marginal_likelihood(vae, X, key=key, num_samples=2000)
    assert found.stderr < 0.02
    assert abs(found.mean - exact.mean()) < 4.0 * found.stderr
    errors = (np.asarray(found.values) - exact) / np.asarray(found.stderrs)
    assert 0.6 < np.sqrt(np.mean(errors**2)) < 1.5


def test_a_narrow_and_misplaced_encoder_still_gives_the_marginal_likelihood(linear, key):
    vae, X, exact = linear
    bad = eqx.tree_at(lambda v: v.encoder.net.biases[0], vae, jnp.array([0.4, -0.3, -3.0, -3.0]))
    found = lf.log_marginal_likelihood(bad, X, key=key, num_samples=4000)
    assert abs(found.mean - exact.mean()) < 4.0 * found.stderr
    good = lf.log_marginal_likelihood(vae, X, key=key, num_samples=4000)
    assert found.stderr > good.stderr
    assert float(jnp.median(found.effective_samples)) < float(jnp.median(good.effective_samples))


def test_the_bound_is_tight_for_the_exact_posterior_and_below_for_another(linear, key):
    vae, X, exact = linear
    tight = np.asarray(lf.elbo(vae, X, key=key, num_samples=2000))
    assert tight.mean() == pytest.approx(exact.mean(), abs=0.02)
    shift = 0.3
    moved = eqx.tree_at(
        lambda v: v.encoder.net.biases[0], vae, vae.encoder.net.biases[0].at[0].add(shift)
    )
    variance = float(vae.posterior(X)[1][0, 0]) ** 2
    gap = exact.mean() - float(jnp.mean(lf.elbo(moved, X, key=key, num_samples=2000)))
    assert gap == pytest.approx(0.5 * shift**2 / variance, abs=0.03)


@pytest.mark.slow
def test_the_bound_of_a_trained_model_is_below_its_marginal_likelihood(key):
    X = lf.datasets.load("digits", classes=(0, 1), per_class=100).X
    vae = lf.train_vae(X, 2, key=key, hidden=(16,), epochs=10, num_centers=8)
    bound = np.asarray(lf.elbo(vae, X, key=key, num_samples=64))
    evidence = lf.log_marginal_likelihood(vae, X, key=key, num_samples=400)
    assert bound.mean() < evidence.mean - 3.0 * evidence.stderr
    one = lf.log_marginal_likelihood(vae, X[0], key=key, num_samples=400)
    assert one.values.shape == ()
    assert float(one.values) == pytest.approx(float(evidence.values[0]), abs=0.5)


def test_the_standard_error_falls_with_the_root_of_the_samples(linear, key):
    vae, X, _ = linear
    few = lf.log_marginal_likelihood(vae, X, key=key, num_samples=500).stderr
    many = lf.log_marginal_likelihood(vae, X, key=key, num_samples=8000).stderr
    assert few / many == pytest.approx(4.0, rel=0.15)


def test_bad_arguments_of_the_evidence_are_refused_by_name(linear, key):
    vae, X, _ = linear
    with pytest.raises(ValueError, match="num_samples"):
        lf.log_marginal_likelihood(vae, X, key=key, num_samples=3)
    with pytest.raises(ValueError, match="X must have shape"):
        lf.elbo(vae, X[:, :3], key=key)
    with pytest.raises(TypeError, match="vae must be a VAE"):
        lf.elbo("vae", X, key=key)
    coin = VAE(vae.encoder, vae.mean, vae.std, vae.codes, None, (SIZE,), "bernoulli")
    with pytest.raises(ValueError, match=r"X must lie in \[0, 1\]"):
        lf.elbo(coin, X, key=key)


@pytest.fixture(scope="module")
def decoder():
    """A model with D = 50 outputs whose deviation varies where the data are."""
    rng = np.random.default_rng(3)
    size = 50
    net = MLP(jax.random.key(1), (DIM, 16, size))
    one = jnp.asarray(1.0)
    mean = MeanDecoder(net, jnp.zeros(size), one, "identity")
    centers = rng.standard_normal((12, DIM))
    rbf = lf.RBFPrecision(centers, 0.8, rng.uniform(1.0, 30.0, (size, 12)), max_std=3.0)
    encoder = Encoder(MLP(jax.random.key(2), (size, 2 * DIM)), jnp.zeros(size), one)
    return VAE(encoder, mean, PrecisionStd(rbf), jnp.asarray(centers), None, (size,), "gaussian")


def test_the_expected_metric_is_the_mean_of_the_random_one(decoder, key):
    z = jnp.array([0.6, -1.1])
    mean, std = jax.jacfwd(decoder.mean)(z), jax.jacfwd(decoder.std)(z)
    noise = jax.random.normal(key, (20_000, 50))
    jacobians = mean + noise[:, :, None] * std
    sampled = jnp.einsum("sij,sik->jk", jacobians, jacobians) / len(noise)
    expected = lf.metric_tensor(decoder.metric(), z)
    scale = float(jnp.linalg.norm(expected))
    assert float(jnp.linalg.norm(sampled - expected)) < 5e-3 * scale
    assert float(jnp.linalg.norm(mean.T @ mean - expected)) > 0.05 * scale


def test_the_metric_starts_geodesics_at_the_encoded_data(decoder):
    metric = decoder.metric()
    np.testing.assert_array_equal(metric.landmarks(), decoder.codes)
    np.testing.assert_array_equal(decoder.metric([[0.0, 1.0]]).landmarks(), [[0.0, 1.0]])
    deviation = metric.deviation(decoder.codes)
    assert float(metric.deviation(np.array([30.0, 30.0]))) > 3.0 * float(jnp.max(deviation))


def test_new_weights_of_one_shape_do_not_trace_the_model_again(decoder):
    other = eqx.tree_at(lambda v: v.mean.net.biases[-1], decoder, jnp.ones(50))
    same = jax.tree.structure(decoder) == jax.tree.structure(other)
    assert same
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(decoder))
