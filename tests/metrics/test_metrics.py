"""Metrics against their definitions, and every fast path against automatic differentiation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform.metrics import local_variance as local
from landform.metrics.base import AbstractMetric


def smooth_decoder(z):
    return jnp.array([jnp.tanh(z[0]), z[1] ** 2, jnp.sin(z[0] * z[1]), z[0] + z[1]])


def smooth_std(z):
    return jnp.array([0.1, 0.2, 0.3, 0.4]) * jnp.exp(0.5 * z @ z)


CLOUD = np.random.default_rng(3).normal(size=(40, 2)) * 0.6 + 0.5

METRICS = {
    "euclidean": lf.Euclidean(2),
    "half-plane": lf.PoincareHalfPlane(),
    "sphere": lf.StereographicSphere(2),
    "local variance": lf.LocalVariance(CLOUD, 0.5, 1e-2),
    "pullback": lf.Pullback(smooth_decoder),
    "expected pullback": lf.ExpectedPullback(smooth_decoder, smooth_std),
    "sum": lf.StereographicSphere(2) + lf.LocalVariance(CLOUD, 0.5, 1e-2),
    "scaled": 3.0 * lf.PoincareHalfPlane(),
}


@pytest.fixture(params=METRICS, ids=list(METRICS))
def metric(request):
    return METRICS[request.param]


X, V = jnp.array([0.4, 0.9]), jnp.array([0.7, -0.3])


def test_fast_paths_equal_automatic_differentiation(metric):
    base = AbstractMetric

    @eqx.filter_jit
    def both(m):
        fast = (m.energy_terms(X, V), m.acceleration(X, V), m.inner(X, V, V), m.log_volume(X))
        slow = (
            base.energy_terms(m, X, V),
            base.acceleration(m, X, V),
            base.inner(m, X, V, V),
            base.log_volume(m, X),
        )
        slope = jax.grad(lambda y: V @ m(y) @ V)(X)
        fast = (*fast, m.energy_gradient(X, V), m.matrix_and_gradient(X, V))
        return fast, (*slow, slope, (m(X), slope))

    fast, slow = both(metric)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), fast, slow)


def test_the_embedding_pulls_back_to_the_metric(metric):
    if not metric.embeds:
        pytest.skip("this metric has no embedding")
    jacobian = jax.jacfwd(metric.embed)(X)
    np.testing.assert_allclose(jacobian.T @ jacobian, metric(X), atol=1e-13)


def test_metrics_are_symmetric_and_positive_definite(metric):
    matrix = np.asarray(metric(X))
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-14)
    assert np.linalg.eigvalsh(matrix).min() > 0


def test_volume_is_the_root_of_the_determinant(metric):
    points = np.stack([X, X + 0.1])
    expected = np.sqrt(np.linalg.det(np.asarray(lf.metric_tensor(metric, points))))
    np.testing.assert_allclose(lf.volume(metric, points), expected, rtol=1e-12)


def test_local_variance_is_its_definition(rng):
    data, sigma, rho = rng.normal(size=(30, 3)), 0.8, 0.05
    metric = lf.LocalVariance(data, sigma, rho)
    x = rng.normal(size=3)
    weights = np.exp(-np.sum((data - x) ** 2, axis=1) / (2 * sigma**2))
    expected = 1 / (weights @ (data - x) ** 2 + rho)
    np.testing.assert_allclose(np.diag(lf.metric_tensor(metric, x)), expected, rtol=1e-12)


def test_local_variance_tends_to_its_bound_far_away():
    metric = lf.LocalVariance(CLOUD, 0.5, 1e-2)
    np.testing.assert_allclose(lf.metric_tensor(metric, [40.0, 40.0]), np.eye(2) / 1e-2)


def test_blocks_of_data_change_nothing(monkeypatch, rng):
    data = rng.normal(size=(50, 2))
    metric = lf.LocalVariance(data, 0.5, 1e-2)
    whole = metric.energy_terms(X, V)
    monkeypatch.setattr(local, "_BLOCK_ROWS", 16)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), metric.energy_terms(X, V), whole
    )


def test_local_variance_keeps_its_digits_far_from_the_origin(rng):
    data = rng.normal(size=(50, 2))
    near = lf.metric_tensor(lf.LocalVariance(data, 0.5, 1e-2), data[:5])
    far = lf.metric_tensor(lf.LocalVariance(data + 1e6, 0.5, 1e-2), data[:5] + 1e6)
    np.testing.assert_allclose(far, near, rtol=1e-8)


def test_expected_metric_is_the_mean_of_sampled_metrics(key):
    metric = METRICS["expected pullback"]

    def tensor(one):
        noise = jax.random.normal(one, (4,))
        jacobian = jax.jacfwd(lambda z: smooth_decoder(z) + smooth_std(z) * noise)(X)
        return jacobian.T @ jacobian

    samples = jax.vmap(tensor)(jax.random.split(key, 20_000))
    error = np.asarray(samples.std(0)) / np.sqrt(20_000)
    assert np.all(np.abs(samples.mean(0) - metric(X)) < 4 * error)


def test_a_sampled_metric_is_a_pullback_with_the_noise_kept(key):
    metric = METRICS["expected pullback"]
    drawn = metric.sample(key, X)
    assert isinstance(drawn, lf.Pullback)
    np.testing.assert_array_equal(drawn(X), drawn(X))
    assert not np.allclose(drawn(X), metric(X))


def test_one_generator_may_return_both_moments():
    joint = lf.ExpectedPullback(lambda z: (smooth_decoder(z), smooth_std(z)))
    np.testing.assert_allclose(joint(X), METRICS["expected pullback"](X), rtol=1e-14)


@pytest.mark.parametrize(
    ("scale", "encode"),
    [
        ("log-std", jnp.log),
        ("variance", jnp.square),
        ("log-variance", lambda std: 2.0 * jnp.log(std)),
    ],
)
def test_a_scale_is_read_as_what_it_is_said_to_be(scale, encode):
    metric = lf.ExpectedPullback(smooth_decoder, lambda z: encode(smooth_std(z)), scale=scale)
    np.testing.assert_allclose(metric(X), METRICS["expected pullback"](X), rtol=1e-12)


def test_a_negative_variance_is_nan_and_the_sign_of_a_deviation_does_not_matter():
    wrong = lf.ExpectedPullback(smooth_decoder, lambda z: -smooth_std(z), scale="variance")
    assert np.isnan(lf.metric_tensor(wrong, X)).any()
    mirrored = lf.ExpectedPullback(smooth_decoder, lambda z: -smooth_std(z))
    np.testing.assert_allclose(mirrored(X), METRICS["expected pullback"](X), rtol=1e-12)


def test_scaling_multiplies_and_sums_add():
    plane = lf.PoincareHalfPlane()
    np.testing.assert_allclose((2.0 * plane + plane)(X), 3.0 * plane(X), rtol=1e-15)


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: lf.LocalVariance([[0.0, np.nan], [1, 1]]), ValueError, "data has 1 NaN"),
        (lambda: lf.LocalVariance([1.0, 2.0]), ValueError, "data must have shape"),
        (lambda: lf.LocalVariance([[1.0, 2.0]]), ValueError, "at least 2 points"),
        (lambda: lf.LocalVariance(CLOUD, sigma=0.0), ValueError, "sigma must be positive"),
        (lambda: lf.LocalVariance(CLOUD, rho=-1.0), ValueError, "rho must be positive"),
        (lambda: lf.LocalVariance(np.array([["a", "b"]])), TypeError, "data must be an array"),
        (lambda: lf.Pullback(3), TypeError, "f must be a callable"),
        (lambda: lf.ExpectedPullback(smooth_decoder, 3), TypeError, "std must be a callable"),
        (
            lambda: lf.ExpectedPullback(smooth_decoder, scale="logvar"),
            ValueError,
            "scale must be one of std, log-std, variance, log-variance",
        ),
        (
            lambda: lf.metric_tensor(lf.Pullback(lambda z: jnp.exp(1j * z)), [0.1, 0.2]),
            TypeError,
            "must return real numbers",
        ),
        (lambda: lf.Euclidean(0), ValueError, "dim must be an integer of at least 1"),
        (lambda: lf.Euclidean(2.0), TypeError, "dim must be an integer"),
        (lambda: lf.SumMetric([lf.Euclidean(2), lf.Euclidean(3)]), ValueError, "same dimension"),
        (lambda: -1.0 * lf.Euclidean(2), ValueError, "factor must be positive"),
        (lambda: lf.metric_tensor("x", [0.0]), TypeError, "metric must be a landform metric"),
        (lambda: lf.metric_tensor(lf.Euclidean(2), [0.0]), ValueError, "x must have 2 coordinate"),
        (lambda: lf.volume(lf.Euclidean(2), [np.inf, 0.0]), ValueError, "x has 1 NaN or infinite"),
    ],
)
def test_bad_input_is_named(build, error, words):
    with pytest.raises(error, match=words):
        build()


@pytest.mark.parametrize("name", ["half-plane", "sphere", "euclidean"])
def test_closed_forms_are_consistent(name, rng):
    metric = METRICS[name]
    x = np.stack([rng.normal(size=20), np.exp(rng.normal(size=20) * 0.5)], axis=1)
    v = rng.normal(size=(20, 2)) * 0.3
    y = metric.exact_exp(x, v)
    np.testing.assert_allclose(metric.exact_log(x, y), v, atol=1e-12)
    length = np.sqrt(np.einsum("na,nab,nb->n", v, lf.metric_tensor(metric, x), v))
    np.testing.assert_allclose(metric.exact_distance(x, y), length, rtol=1e-12)


@pytest.mark.parametrize("name", ["euclidean", "half-plane", "sphere"])
def test_closed_forms_have_the_derivatives_of_their_limits_where_points_coincide(name):
    metric, x, zero = METRICS[name], jnp.array([0.3, 1.2]), jnp.zeros(2)
    by_velocity = jax.jacobian(metric.exact_exp, 1)(x, zero)
    by_ends = jax.jacobian(metric.exact_log, (0, 1))(x, x)
    for found, exact in zip((by_velocity, *by_ends), (1.0, -1.0, 1.0), strict=True):
        np.testing.assert_array_equal(found, exact * np.eye(2))
    np.testing.assert_array_equal(jax.grad(metric.exact_distance)(x, x), zero)


def test_closed_forms_keep_their_digits_far_up_and_for_close_points():
    plane = lf.PoincareHalfPlane()
    for length in (10.0, 20.0, 300.0):
        up = plane.exact_exp([3.0, 2.0], [0.0, 2.0 * length])
        np.testing.assert_allclose(up, [3.0, 2.0 * np.exp(length)], rtol=1e-12)
        np.testing.assert_allclose(plane.exact_log([3.0, 2.0], up), [0.0, 2.0 * length], rtol=1e-12)
    x, step = np.array([0.0, 1.0]), np.array([0.75, -0.5]) * 2.0**-30
    second = np.array([step[0] * step[1], 0.5 * (step[1] ** 2 - step[0] ** 2)])
    log = np.asarray(plane.exact_log(x, x + step))  # v = u − ½ Γ(u, u) and so on, here to |u|³
    np.testing.assert_allclose((log - step + second) / 2.0**-30, 0.0, atol=1e-15)


@pytest.mark.parametrize("gap", [1e-9, 1e-3, 1.0, np.pi - 1e-3, np.pi - 1e-7])
def test_closed_forms_of_the_sphere_from_close_points_to_the_antipode(gap):
    sphere = lf.StereographicSphere(2)
    x, turn = np.array([0.5, 0.2]), np.array([0.28, 0.96])
    v = turn * gap * (1.0 + x @ x) / 2.0
    y = np.asarray(sphere.exact_exp(x, v))
    np.testing.assert_allclose(sphere.exact_distance(x, y), gap, rtol=4e-16 / min(gap, 1.0))
    rounding = 4e-16 / min(gap, np.pi - gap)  # that of y, as seen from x
    np.testing.assert_allclose(sphere.exact_log(x, y), v, atol=rounding)
    back = np.asarray(sphere.exact_log(x, y))
    np.testing.assert_allclose(2.0 * np.hypot(*back) / (1.0 + x @ x), gap, rtol=4e-16 / min(gap, 1))


def test_riemann_tensor_has_its_symmetries():
    metric = METRICS["expected pullback"]
    up = np.asarray(lf.riemann_curvature(metric, X))
    low = np.einsum("al,lkij->akij", metric(X), up)
    np.testing.assert_allclose(low, -np.swapaxes(low, 2, 3), atol=1e-10)
    np.testing.assert_allclose(low, -np.swapaxes(low, 0, 1), atol=1e-10)
    np.testing.assert_allclose(low, np.transpose(low, (2, 3, 0, 1)), atol=1e-10)


def pair(z):
    return smooth_decoder(z), jnp.log(smooth_std(z))


@pytest.mark.parametrize(
    "build",
    [
        lambda marks: lf.ExpectedPullback(pair, landmarks=marks),
        lambda marks: lf.ExpectedPullback(pair, scale="variance", landmarks=marks),
        lambda marks: lf.ExpectedPullback(
            smooth_decoder, lambda z: -smooth_std(z), landmarks=marks
        ),
    ],
)
def test_a_negative_deviation_at_the_landmarks_is_refused_with_the_scale_to_give(build):
    with pytest.raises(ValueError, match=r'negative at 3 of 3 landmarks.*scale="log-variance"'):
        build(np.full((3, 2), 0.2))
    assert jax.jit(lambda marks: build(marks).landmarks())(jnp.ones((3, 2))).shape == (3, 2)


def test_two_heads_of_a_decoder_are_not_taken_for_its_output():
    with pytest.raises(ValueError, match=r"two heads of shape .*use ExpectedPullback\(f, scale="):
        lf.metric_tensor(lf.Pullback(pair), [0.1, 0.2])
    joined = lf.Pullback(lambda z: (smooth_decoder(z), z))
    expected = lf.metric_tensor(lf.Pullback(smooth_decoder), [0.1, 0.2]) + np.eye(2)
    np.testing.assert_allclose(lf.metric_tensor(joined, [0.1, 0.2]), expected, rtol=1e-12)
