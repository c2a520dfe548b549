"""Fisher–Rao metrics of saturated, concentrated and nearly uniform distributions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform.metrics._mises import concentration_slopes


@pytest.fixture(scope="module")
def squared_length():
    """``vᵀ I(x) v`` of a family whose parameters are the point itself."""

    @jax.jit
    def both(x, v, family):
        return lf.FisherRaoPullback(lambda z: z, family).inner(x, v, v)

    def at(family, x, v=None):
        x = jnp.asarray(x)
        return float(both(x, x if v is None else jnp.asarray(v, x.dtype), family))

    return at


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saturated_logits_keep_the_digits_of_their_information(dtype):
    metric = lf.FisherRaoPullback(lambda z: z, "bernoulli-logits")
    logits = np.array([[-80.0], [-36.0], [-1.0], [0.0], [2.0], [60.0], [80.0]], dtype)
    found = np.asarray(jax.jit(jax.vmap(metric))(logits))[:, 0, 0]
    expected = 0.25 / np.cosh(0.5 * logits[:, 0].astype(float)) ** 2
    np.testing.assert_allclose(found, expected, rtol=8 * np.finfo(dtype).eps)
    bend = jax.grad(lambda z: metric(z)[0, 0])(jnp.array([-60.0]))  # p (1 − p) falls like e^−|l|
    np.testing.assert_allclose(bend[0], expected[-2], rtol=1e-12)


@pytest.mark.parametrize("a", [29.0, 31.0, 1e4, 1e8, 1e15])
def test_concentrated_gamma_variables_keep_the_information_about_their_spread(a, squared_length):
    # a² ψ′(a) − a: the mean a / b stays
    expected = 0.5 + 1 / (6 * a) - 1 / (30 * a**3) + 1 / (42 * a**5)
    found = squared_length(lf.families.Gamma(), [a, 2.0], [a, 2.0])
    np.testing.assert_allclose(found, expected, rtol=5e-12)


def test_concentrated_gamma_variables_in_single_precision(squared_length):
    x = np.array([1e6, 2.0], np.float32)
    np.testing.assert_allclose(squared_length(lf.families.Gamma(), x), 0.5, rtol=1e-6)


@pytest.mark.parametrize("total", [1e4, 1e10])
def test_concentrated_dirichlet_variables_keep_the_information_about_their_spread(
    total, squared_length
):
    alpha = total * np.array([0.2, 0.3, 0.5])
    expected = 1.0 + np.sum(1 / (6 * alpha)) - 1 / (6 * total)
    found = squared_length(lf.families.Dirichlet(), alpha)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_uneven_beta_variables_keep_their_digits(squared_length):
    large, small = 1e8, 1e-3
    found = squared_length(lf.families.Dirichlet(), [large, small], [1.0, 0.0])
    expected = small / large**2 * (1 + (1 - small) / large)  # ψ′(a) − ψ′(a + b)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("p", [3, 1000])
def test_directions_that_are_nearly_uniform_keep_their_digits(p):
    kappa = np.array([1e-10, 1e-5, 1e-3])
    mean = concentration_slopes(jnp.asarray(kappa), p)[0]
    expected = kappa / p * (1 - kappa**2 / (p * (p + 2)))
    np.testing.assert_allclose(mean, expected, rtol=1e-12)


@pytest.mark.parametrize("family", ["categorical", "multinomial"])
def test_logarithms_given_for_probabilities_are_nan(family):
    metric = lf.FisherRaoPullback(jax.nn.log_softmax, family)
    assert np.isnan(lf.metric_tensor(metric, [0.3, 1.0, -0.5])).all()


@pytest.mark.parametrize("family", ["normal", "gamma"])
def test_pairs_of_columns_and_rows_are_refused(family):
    metric = lf.FisherRaoPullback(lambda z: (jnp.exp(z), jnp.exp(z)[:, None]), family)
    with pytest.raises(ValueError, match=r"shapes that fit, got \(3,\) and \(3, 1\)"):
        lf.metric_tensor(metric, [0.3, 1.0, -0.5])


@pytest.mark.parametrize(
    "family", ["bernoulli", "poisson", ["bernoulli", "poisson"], lf.families.Normal()]
)
def test_logits_given_as_parameters_are_refused_at_the_landmarks(family):
    def decoder(z):
        return (-z, -z) if isinstance(family, list | lf.families.Normal) else -z

    with pytest.raises(ValueError, match=r"domain of .* at 2 of 3 landmarks.*bernoulli-logits"):
        lf.FisherRaoPullback(decoder, family, landmarks=[[-0.5], [1.0], [2.0]])
    lf.FisherRaoPullback(decoder, family, landmarks=[[-0.5]])
