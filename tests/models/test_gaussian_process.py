"""Gaussian-process decoders against their textbook posterior, and what their metric measures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform.models import gplvm

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(25, 2))
DATA = np.stack(
    [np.sin(CODES[:, 0]), CODES[:, 1], CODES[:, 0] * CODES[:, 1], np.cos(CODES[:, 1])], axis=1
)
SCALE, VARIANCE, NOISE = np.array([1.0, 1.3]), 2.0, 0.1
POINT = np.array([0.4, -0.7])


@pytest.fixture(scope="module")
def gp():
    return lf.GaussianProcessDecoder(CODES, DATA, lengthscale=SCALE, variance=VARIANCE, noise=NOISE)


def kernel(a, b):
    return VARIANCE * np.exp(-0.5 * np.sum(((a[:, None] - b[None]) / SCALE) ** 2, axis=-1))


def posterior(points):
    """Mean (m, D) and covariance (m, m) of the outputs at points, as in the textbook."""
    gram = kernel(CODES, CODES) + NOISE**2 * np.eye(len(CODES))
    cross = kernel(points, CODES)
    mean = DATA.mean(axis=0) + cross @ np.linalg.solve(gram, DATA - DATA.mean(axis=0))
    return mean, kernel(points, points) - cross @ np.linalg.solve(gram, cross.T)


def test_mean_and_deviation_are_the_posterior(gp):
    mean, covariance = posterior(POINT[None])
    np.testing.assert_allclose(gp(POINT), mean[0], rtol=1e-10)
    np.testing.assert_allclose(gp.std(POINT), np.sqrt(covariance[0, 0]), rtol=1e-8)


def test_far_from_the_data_it_knows_the_prior_only(gp):
    far = np.array([60.0, -60.0])
    np.testing.assert_allclose(gp(far), DATA.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(gp.std(far), np.sqrt(VARIANCE), rtol=1e-12)
    np.testing.assert_allclose(
        lf.metric_tensor(gp.metric(), far), np.diag(4 * VARIANCE / SCALE**2), rtol=1e-12
    )


def test_the_metric_is_the_mean_of_sampled_ones(gp):
    """Functions drawn from the posterior around a point, their Jacobians by differences."""
    h, draws = 1e-3, 4000
    stencil = POINT + h * np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    mean, covariance = posterior(stencil)
    difference = np.array([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]]) / (2 * h)
    spread = np.linalg.cholesky(difference @ covariance @ difference.T)
    noise = np.random.default_rng(1).normal(size=(draws, 4, 2))
    jacobians = (difference @ mean).T + noise @ spread.T
    sampled = np.einsum("sji,sjk->sik", jacobians, jacobians)
    error = sampled.std(axis=0) / np.sqrt(draws)
    exact = np.asarray(lf.metric_tensor(gp.metric(), POINT))
    assert (np.abs(sampled.mean(axis=0) - exact) < 4 * error).all()
    assert (error < 0.02 * exact[0, 0]).all()


def test_the_metric_is_made_of_the_posterior_of_the_jacobian(gp):
    mean, covariance = gp.jacobian(POINT)
    expected = mean.T @ mean + 4 * covariance
    np.testing.assert_allclose(gp.metric()(jnp.asarray(POINT)), expected, rtol=1e-10)
    assert np.linalg.eigvalsh(covariance).min() > 0


def test_the_analytic_derivatives_are_those_of_the_tensor(gp):
    metric, x, v = gp.metric(), jnp.asarray(POINT), jnp.array([0.7, 0.4])
    found = metric.energy_terms(x, v)
    general = lf.AbstractMetric.energy_terms(metric, x, v)
    for a, b in zip(found, general, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(metric.energy_gradient(x, v), general.gradient, rtol=1e-9)


def test_the_slope_of_the_objective_is_that_of_its_differences():
    values = {"codes": CODES, "lengthscale": 1.3, "variance": 0.7, "noise": 0.4}
    products = DATA @ DATA.T

    def bound(**changed):
        return gplvm._negative_bound(**{**values, **changed}, products=products, outputs=4)

    slopes, h = bound()[1], 1e-5
    for name in ("lengthscale", "variance", "noise"):
        up, down = (bound(**{name: values[name] * np.exp(s * h)})[0] for s in (1, -1))
        np.testing.assert_allclose((up - down) / (2 * h), slopes[name], rtol=1e-6)
    step = np.zeros_like(CODES)
    step[3, 1] = h
    difference = (bound(codes=CODES + step)[0] - bound(codes=CODES - step)[0]) / (2 * h)
    np.testing.assert_allclose(difference, slopes["codes"][3, 1], rtol=1e-6)


def test_training_finds_the_noise_and_the_angles_of_a_circle():
    circle = lf.datasets.noisy_circle(60, dim=400, noise=0.1)
    gp = lf.train_gplvm(circle.X, 2)
    np.testing.assert_allclose(gp.noise, 0.1, rtol=0.03)
    codes, angle = np.asarray(gp.codes), circle.extras["angle"]
    order = np.argsort(angle)
    turn = np.unwrap(np.arctan2(*(codes - codes.mean(axis=0)).T)[order])
    assert abs(np.corrcoef(turn, angle[order])[0, 1]) > 0.99


def test_with_fixed_codes_only_the_kernel_is_fitted():
    codes = np.linspace(-4.0, 4.0, 40)[:, None]
    data = np.concatenate([np.sin(codes), np.cos(codes)], axis=1)
    gp = lf.train_gplvm(data, 1, codes=codes, learn_codes=False)
    np.testing.assert_array_equal(gp.codes, codes)
    np.testing.assert_allclose(gp([0.5]), [np.sin(0.5), np.cos(0.5)], atol=1e-2)
    tensor = lf.metric_tensor(gp.metric(), [0.5])
    np.testing.assert_allclose(tensor, [[1.0]], atol=0.02)  # a circle, by arc length


def test_the_fit_to_fixed_codes_depends_on_neither_their_unit_nor_their_origin():
    codes = np.linspace(0.0, 3.0, 30)[:, None]
    noise = np.random.default_rng(0).normal(size=(30, 2))
    data = np.concatenate([np.sin(codes), np.cos(codes)], axis=1) + 0.05 * noise
    here = lf.train_gplvm(data, 1, codes=codes, learn_codes=False)
    for there, unit in ((1e6 * codes, 1e6), (codes + 1e4, 1.0)):
        found = lf.train_gplvm(data, 1, codes=there, learn_codes=False)
        np.testing.assert_allclose(found.lengthscale, unit * here.lengthscale, rtol=1e-3)
        np.testing.assert_allclose(found.variance, here.variance, rtol=1e-2)
        np.testing.assert_allclose(found.noise, here.noise, rtol=1e-3)


def test_a_given_lengthscale_is_kept_and_the_rest_has_the_largest_likelihood():
    gp = lf.train_gplvm(DATA, 2, codes=CODES, learn_codes=False, lengthscale=0.8)
    assert gp.lengthscale.tolist() == [0.8, 0.8]
    centered = DATA - DATA.mean(axis=0)
    found = {"codes": CODES, "lengthscale": 0.8, "products": centered @ centered.T, "outputs": 4}
    best = {"variance": float(gp.variance), "noise": float(gp.noise)}
    value, slopes = gplvm._negative_bound(**found, **best)
    assert abs(slopes["variance"]) < 1e-3
    for name, factor in (("variance", 0.8), ("variance", 1.25), ("noise", 1.25)):
        worse = best | {name: best[name] * factor}
        assert gplvm._negative_bound(**found, **worse)[0] > value
    with pytest.raises(ValueError, match=r"^lengthscale"):
        lf.train_gplvm(DATA, 2, lengthscale=0.8)


def test_a_training_that_did_not_converge_says_so_and_hands_out_its_decoder():
    with pytest.raises(lf.ConvergenceError, match=r"in 2 iterations .*max_iter") as caught:
        lf.train_gplvm(DATA, 2, codes=CODES, learn_codes=False, max_iter=2)
    with pytest.warns(UserWarning, match="did not converge"):
        gp = lf.train_gplvm(DATA, 2, codes=CODES, learn_codes=False, max_iter=2, throw=False)
    np.testing.assert_array_equal(gp.weights, caught.value.result.weights)
    with pytest.raises(ValueError, match=r"^max_iter"):
        lf.train_gplvm(DATA, 2, max_iter=0)


def test_a_decoder_and_its_metric_come_back_from_a_file(gp, tmp_path):
    lf.save(tmp_path / "gp.landform", {"gp": gp, "metric": gp.metric()})
    back = lf.load(tmp_path / "gp.landform")
    np.testing.assert_array_equal(back["gp"](POINT), gp(POINT))
    for a, b in zip(jax.tree.leaves(back["metric"]), jax.tree.leaves(gp.metric()), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"lengthscale": 0.0}, "lengthscale"),
        ({"lengthscale": [1.0, 1.0, 1.0]}, "lengthscale"),
        ({"variance": -1.0}, "variance"),
        ({"noise": 0.0}, "noise"),
        ({"X": DATA[:3]}, "X"),
        ({"codes": CODES.ravel()}, "codes"),
        ({"codes": CODES * 0.0, "noise": 1e-12}, "noise"),
    ],
)
def test_bad_arguments_are_named(change, name):
    arguments = {"codes": CODES, "X": DATA, "lengthscale": 1.0, **change}
    with pytest.raises(ValueError, match=f"^{name} must"):
        lf.GaussianProcessDecoder(**arguments)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((DATA[:2],), "X"),
        ((DATA * 0.0,), "X"),
        ((DATA, 0), "latent_dim"),
        ((DATA, 5), "latent_dim"),
    ],
)
def test_bad_arguments_of_the_training_are_named(arguments, name):
    with pytest.raises(ValueError, match=f"^{name} must"):
        lf.train_gplvm(*arguments)


def test_a_metric_is_made_of_a_gaussian_process_only():
    with pytest.raises(TypeError, match="decoder"):
        lf.GaussianProcessMetric(lambda z: z)


def test_many_points_are_not_taken_for_one(gp):
    for at in (gp, gp.std, gp.jacobian):
        with pytest.raises(ValueError, match=r"z must be one point of shape \(2,\), got \(25, 2\)"):
            at(CODES)  # of the shape of the codes, which it would be paired with
        with pytest.raises(ValueError, match=r"got \(1,\)"):
            at([0.3])
    many = jax.vmap(gp)(CODES[:3])
    np.testing.assert_allclose(many, np.stack([gp(z) for z in CODES[:3]]), rtol=1e-12)


def test_the_slope_in_the_lengthscale_comes_through_the_factorisation():
    @jax.jit
    @jax.value_and_grad
    def first(scale):
        decoder = lf.GaussianProcessDecoder(CODES, DATA, lengthscale=scale, noise=NOISE)
        return decoder(jnp.asarray(POINT))[0]

    (low, _), (high, _), (_, slope) = (first(s) for s in (1.0 - 1e-5, 1.0 + 1e-5, 1.0))
    np.testing.assert_allclose(slope, (high - low) / 2e-5, rtol=1e-6)


def test_training_needs_codes_that_differ():
    for learn in (True, False):
        with pytest.raises(ValueError, match="codes must hold at least two different points"):
            lf.train_gplvm(DATA[:6], 2, codes=np.ones((6, 2)), learn_codes=learn)
    with pytest.raises(TypeError, match="codes must be an array of real numbers"):
        lf.train_gplvm(DATA[:6], 2, codes="codes")


def test_landmarks_have_the_dimension_of_the_codes(gp):
    with pytest.raises(ValueError, match="landmarks must have 2 coordinate"):
        gp.metric(np.zeros((3, 5)))
