"""Metrics made of others: fast paths against automatic differentiation, and known geometries."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform.metrics.base import AbstractMetric
from landform.metrics.conformal import EnergyFactor
from oracles import half_plane_points, relative, two_moons

X, V = jnp.array([0.4, 0.9]), jnp.array([0.7, -0.3])
CLOUD = np.random.default_rng(3).normal(size=(40, 2)) * 0.6 + 0.5


def smooth_decoder(z):
    return jnp.array([jnp.tanh(z[0]), z[1] ** 2 + 1.0, jnp.sin(z[0] * z[1]), z[0] + z[1]])


def to_half_plane(z):
    return jnp.array([z[0] + 0.3 * jnp.sin(z[1]), jnp.exp(z[1])])


class Linear(eqx.Module):
    weight: jax.Array

    def __call__(self, z):
        return jnp.tanh(self.weight @ z)


class Quadratic(eqx.Module):
    center: jax.Array

    def __call__(self, x):
        return 0.5 * jnp.sum((x - self.center) ** 2)


MEMBERS = [Linear(jnp.asarray(np.random.default_rng(k).normal(size=(5, 2)))) for k in range(3)]
RADIAL = lf.RBFMetric(CLOUD[:6], 0.7, np.random.default_rng(1).uniform(size=(2, 6)), 0.05)

METRICS = {
    "ambient, closed form": lf.AmbientPullback(to_half_plane, lf.PoincareHalfPlane()),
    "ambient, learned": lf.AmbientPullback(
        lambda z: smooth_decoder(z)[:2], lf.LocalVariance(CLOUD, 0.5, 1e-2)
    ),
    "ambient, embedded": lf.AmbientPullback(
        lambda z: smooth_decoder(z)[:3], lf.StereographicSphere(3)
    ),
    "product": lf.ProductMetric([lf.Pullback(jnp.sin), lf.Pullback(jnp.exp)], dims=(1, 1)),
    "conformal": lf.ConformalMetric(lambda x: jnp.exp(jnp.sin(x[0]) * x[1]), RADIAL),
    "conformal, inverse": lf.ConformalMetric.from_energy(Quadratic(jnp.ones(2)), CLOUD),
    "conformal, affine": lf.ConformalMetric.from_score(lambda x: 1.0 - x, CLOUD, ratio=50.0),
    "radial": RADIAL,
    "ensemble": lf.EnsemblePullback(MEMBERS),
    "ensemble, mixed": lf.EnsemblePullback([smooth_decoder, lambda z: smooth_decoder(2.0 * z)]),
    "gaussian of an ensemble": lf.EnsemblePullback(MEMBERS).gaussian(),
    "scaled to data": lf.Pullback(smooth_decoder).scaled_to(CLOUD),
    "supervised": lf.supervised_metric(smooth_decoder, "categorical-logits", base=RADIAL),
}


@pytest.fixture(params=METRICS, ids=list(METRICS))
def metric(request):
    return METRICS[request.param]


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
        return (*fast, m.energy_gradient(X, V)), (*slow, slow[0].gradient)

    fast, slow = both(metric)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11), fast, slow)


def test_the_geodesic_equation_is_that_of_the_christoffel_symbols(metric):
    @eqx.filter_jit
    def acceleration(m):
        return m.acceleration(X, V)

    expected = -np.einsum("kij,i,j->k", lf.christoffel(metric, X), V, V)
    np.testing.assert_allclose(acceleration(metric), expected, rtol=1e-9, atol=1e-11)


def test_metrics_are_symmetric_and_positive_definite(metric, rng):
    matrices = np.asarray(lf.metric_tensor(metric, rng.normal(size=(30, 2))))
    np.testing.assert_allclose(matrices, np.swapaxes(matrices, 1, 2), rtol=1e-14)
    assert np.linalg.eigvalsh(matrices).min() > 0


def test_the_embedding_pulls_back_to_the_metric(metric):
    if metric.embeds:
        jacobian = jax.jacfwd(metric.embed)(X)
        np.testing.assert_allclose(jacobian.T @ jacobian, metric(X), rtol=1e-12, atol=1e-14)
    else:
        with pytest.raises(NotImplementedError):
            metric.embed(X)


def test_gradients_reach_the_arrays_inside(metric):
    arrays, rest = eqx.partition(metric, eqx.is_inexact_array)

    @jax.jit
    def slopes(parts):
        return jax.grad(lambda p: jnp.sum(eqx.combine(p, rest)(X)))(parts)

    for slope in jax.tree.leaves(slopes(arrays)):
        assert np.isfinite(slope).all()


def test_an_ambient_pullback_by_an_isometry_keeps_distances(rng):
    def shift_and_scale(z):  # an isometry of the half-plane
        return jnp.array([3.0 * z[0] + 1.0, 3.0 * z[1]])

    plane = lf.PoincareHalfPlane()
    metric = lf.AmbientPullback(shift_and_scale, plane)
    x, y = half_plane_points(rng, 10), half_plane_points(rng, 10)
    assert relative(lf.distance(metric, x, y), plane.exact_distance(x, y)) < 1e-6


def test_an_ambient_pullback_of_flat_space_is_the_pullback():
    ambient = lf.AmbientPullback(smooth_decoder, lf.Euclidean(4))
    plain = lf.Pullback(smooth_decoder)
    np.testing.assert_allclose(ambient(X), plain(X), rtol=1e-14)
    assert ambient.embeds
    np.testing.assert_array_equal(ambient.embed(X), plain.embed(X))


def test_squared_distances_of_a_product_add(rng):
    plane, sphere = lf.PoincareHalfPlane(), lf.StereographicSphere(2)
    metric = lf.ProductMetric([plane, sphere])
    x, y = (
        np.concatenate([half_plane_points(rng, 6), 0.4 * rng.normal(size=(6, 2))], axis=1)
        for _ in range(2)
    )
    exact = np.hypot(
        plane.exact_distance(x[:, :2], y[:, :2]), sphere.exact_distance(x[:, 2:], y[:, 2:])
    )
    assert relative(lf.distance(metric, x, y), exact) < 1e-6


def test_the_half_plane_is_conformally_flat(rng):
    metric = lf.ConformalMetric(lambda x: x[1] ** -2.0, lf.Euclidean(2))
    x, y = half_plane_points(rng, 10), half_plane_points(rng, 10)
    assert relative(lf.distance(metric, x, y), lf.PoincareHalfPlane().exact_distance(x, y)) < 1e-6
    below = lf.ConformalMetric(lambda x: x[1], lf.Euclidean(2))
    assert np.isnan(lf.metric_tensor(below, [0.0, -1.0])).any()


def log_density(x):
    gaps = jnp.sum((x - jnp.asarray(MOONS)) ** 2, axis=1)
    return jax.nn.logsumexp(-gaps / (2 * 0.15**2))


MOONS = two_moons(101)[:99]  # an odd number: a median is one of the values


@pytest.mark.parametrize("kind", ["inverse", "affine"])
def test_a_conformal_metric_is_calibrated_on_the_data_and_off_it(kind, rng):
    off = rng.uniform(-6.0, 6.0, size=(501, 2))
    metric = lf.ConformalMetric.from_density(log_density, MOONS, kind=kind, off=off, ratio=1e3)
    on_data = np.asarray(lf.metric_tensor(metric, MOONS))[:, 0, 0]
    assert abs(np.median(on_data) - 1.0) < 1e-10
    off_data = np.asarray(lf.metric_tensor(metric, off))[:, 0, 0]
    if kind == "affine":
        assert abs(np.median(off_data) / 1e3 - 1.0) < 1e-6
    else:
        assert off_data.max() <= 1e3 * (1 + 1e-12)
        np.testing.assert_allclose(lf.metric_tensor(metric, [40.0, 0.0])[0, 0], 1e3, rtol=1e-10)
    assert (on_data > 0).all()
    np.testing.assert_array_equal(metric.landmarks(), MOONS)


def test_the_inverse_factor_is_one_over_a_density_and_a_constant():
    metric = lf.ConformalMetric.from_density(log_density, MOONS, ratio=100.0)
    level = np.median(jax.vmap(log_density)(jnp.asarray(MOONS)))
    density = np.exp(float(log_density(X)) - level)
    np.testing.assert_allclose(metric(X), np.eye(2) / (0.99 * density + 0.01), rtol=1e-12)


def test_geodesics_of_a_conformal_metric_go_along_the_data():
    metric = lf.ConformalMetric.from_density(log_density, MOONS)
    x, y = (MOONS[np.argmin(np.linalg.norm(MOONS - end, axis=1))] for end in ([-1, 0], [1, 0]))
    path = lf.geodesic(metric, x, y)
    assert path.converged
    straight = lf.curve_length(metric, np.stack([x, y]), order=60)
    assert path.length < 0.7 * straight


def test_an_affine_factor_stays_positive_and_smooth_below_the_level():
    factor = EnergyFactor(
        lambda x: x[0], jnp.asarray(0.0), jnp.asarray(1.0), jnp.asarray(1e3), "affine"
    )
    t = np.linspace(-5.0, 5.0, 401)
    values = np.asarray(jax.vmap(factor)(jnp.asarray(t)[:, None]))
    assert (values > 0).all()
    assert (np.diff(values) > 0).all()
    np.testing.assert_allclose(factor(jnp.array([0.0])), 1.0, rtol=1e-12)
    np.testing.assert_allclose(factor(jnp.array([1.0])), 1e3, rtol=1e-12)
    # the slope of the two branches agrees where they meet, u = 0, a little below the level
    at = -0.75 / (1e3 - 0.25 / 1e3 - 0.75)
    low, high = (jax.grad(factor)(jnp.array([at + s]))[0] for s in (-1e-9, 1e-9))
    np.testing.assert_allclose(low, high, rtol=1e-5)


def test_the_radial_metric_is_about_one_on_the_data_and_its_bound_far_away(key):
    metric = lf.fit_rbf_metric(MOONS, 30, key=key, epsilon=1e-2)
    h = 1.0 / np.asarray(lf.metric_tensor(metric, MOONS))[:, 0, 0] - 1e-2
    assert abs(np.mean(h) - 1.0) < 0.05
    assert np.std(h) < 0.25
    np.testing.assert_allclose(lf.metric_tensor(metric, [30.0, 0.0]), 1e2 * np.eye(2), rtol=1e-12)
    # no change of one weight lowers the sum of squares
    gaps = np.sum((MOONS[:, None] - np.asarray(metric.centers)) ** 2, axis=-1)
    features = np.exp(-np.asarray(metric.bandwidths) * gaps)
    slope = features.T @ (features @ np.asarray(metric.weights[0]) - 1.0)
    assert slope.min() > -1e-8
    assert np.abs(slope * np.asarray(metric.weights[0])).max() < 1e-8


def test_the_fit_of_the_radial_metric_does_not_depend_on_the_origin(key):
    here = lf.fit_rbf_metric(MOONS, 10, key=key)
    there = lf.fit_rbf_metric(MOONS + 1e6, 10, key=key)
    expected = lf.metric_tensor(here, MOONS[:20])
    np.testing.assert_allclose(lf.metric_tensor(there, MOONS[:20] + 1e6), expected, rtol=1e-7)
    single = np.asarray(MOONS + 1e3, np.float32)
    metric = lf.fit_rbf_metric(single, 10, key=key)
    same = lf.metric_tensor(lf.fit_rbf_metric(single.astype(float), 10, key=key), single[:20])
    np.testing.assert_allclose(lf.metric_tensor(metric, single[:20]), same, rtol=1e-5)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_largest_volume_on_the_data_is_one_after_scaling(d, rng):
    data = rng.normal(size=(20, d))
    metric = lf.ExpectedPullback(
        lambda z: jnp.concatenate([7.0 * z, jnp.sin(z)]),
        lambda z: jnp.exp(0.1 * jnp.concatenate([z, z])),
    )
    scaled = metric.scaled_to(data)
    np.testing.assert_allclose(np.max(lf.volume(scaled, data)), 1.0, rtol=1e-12)
    ratio = lf.volume(scaled, data[0]) / lf.volume(metric, data[0])
    expected = lf.metric_tensor(metric, data) * ratio ** (2.0 / d)
    np.testing.assert_allclose(lf.metric_tensor(scaled, data), expected, rtol=1e-12, atol=1e-14)


def test_metrics_can_be_saved(tmp_path):
    rbf = lf.RBFPrecision([[0.0, 0.0]], 0.5, [[2.0], [3.0]], max_std=1.0)
    metrics = [
        lf.AmbientPullback(rbf, lf.PoincareHalfPlane()),
        lf.ProductMetric([lf.Euclidean(1), lf.StereographicSphere(1)]),
        RADIAL,
        lf.EnsemblePullback([rbf, lf.RBFPrecision([[1.0, 0.0]], 0.5, [[2.0], [3.0]], max_std=1.0)]),
    ]
    lf.save(tmp_path / "metrics.landform", metrics)
    for again, metric in zip(lf.load(tmp_path / "metrics.landform"), metrics, strict=True):
        np.testing.assert_array_equal(again(X), metric(X))


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: lf.AmbientPullback(3, lf.Euclidean(2)), TypeError, "f must be a callable"),
        (lambda: lf.AmbientPullback(jnp.sin, 3), TypeError, "must be a landform metric"),
        (
            lambda: lf.volume(lf.AmbientPullback(jnp.sin, lf.Euclidean(3)), X),
            ValueError,
            "f must return 3 numbers",
        ),
        (lambda: lf.ProductMetric([]), ValueError, "at least one metric"),
        (lambda: lf.ProductMetric([lf.Pullback(jnp.sin)]), ValueError, "dims must be given"),
        (lambda: lf.ProductMetric([lf.Euclidean(2)], dims=(3,)), ValueError, r"dims\[0\] must be"),
        (lambda: lf.ProductMetric([lf.Euclidean(2)], dims=(2, 1)), ValueError, "one entry"),
        (lambda: lf.ProductMetric([lf.Euclidean(1)], landmarks=CLOUD), ValueError, "1 columns"),
        (lambda: lf.ConformalMetric(1.0, lf.Euclidean(2)), TypeError, "factor must be a callable"),
        (
            lambda: lf.ConformalMetric(jnp.sum, lf.Euclidean(2), landmarks=np.ones((4, 3))),
            ValueError,
            "landmarks must have 2",
        ),
        (
            lambda: lf.volume(lf.ConformalMetric(jnp.sin, lf.Euclidean(2)), X),
            ValueError,
            "one number",
        ),
        (
            lambda: lf.ConformalMetric.from_energy(jnp.sum, CLOUD, kind="log"),
            ValueError,
            "kind must",
        ),
        (
            lambda: lf.ConformalMetric.from_energy(jnp.sum, CLOUD, ratio=1.0),
            ValueError,
            "ratio must be above 1",
        ),
        (
            lambda: lf.ConformalMetric.from_energy(jnp.sum, CLOUD, metric=lf.Euclidean(3)),
            ValueError,
            "3 columns",
        ),
        (
            lambda: lf.ConformalMetric.from_energy(lambda x: jnp.log(x[0] - 9), CLOUD),
            ValueError,
            "NaN or infinite at 40 of 40",
        ),
        (
            lambda: lf.ConformalMetric.from_energy(lambda x: -jnp.sum(x**2), CLOUD, kind="affine"),
            ValueError,
            "higher off the data",
        ),
        (lambda: lf.RBFMetric([[0.0, 0.0]], -1.0, [1.0]), ValueError, "bandwidths must be pos"),
        (lambda: lf.RBFMetric([[0.0, 0.0]], 1.0, [-1.0]), ValueError, "weights must not be neg"),
        (lambda: lf.RBFMetric([[0.0, 0.0]], 1.0, [1.0, 2.0]), ValueError, "weights must have"),
        (lambda: lf.RBFMetric([[0.0, 0.0]], 1.0, [1.0], 0.0), ValueError, "epsilon must be pos"),
        (
            lambda: lf.PoincareHalfPlane().scaled_to([[0.0, -1.0]]),
            ValueError,
            "not at 1 of 1 points",
        ),
    ],
)
def test_bad_input_is_named(build, error, words):
    with pytest.raises(error, match=words):
        build()
