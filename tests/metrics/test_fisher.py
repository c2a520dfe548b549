"""Fisher–Rao metrics against closed-form information, divergences and distances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special as sc

import landform as lf
from landform.metrics._mises import concentration_slopes
from landform.metrics.base import AbstractMetric
from oracles import relative

W = np.random.default_rng(5).normal(size=(6, 2))
SIZES = np.array([0.3, 1.0, 2.5, 8.0, 40.0, 900.0])
Z, V = jnp.array([0.4, -0.3]), jnp.array([0.6, 0.8])


def linear(z, rows=slice(None)):
    return jnp.asarray(W)[rows] @ z + 0.3 * jnp.sin(3.0 * jnp.asarray(W)[rows] @ z)


def positive(z, rows=slice(None)):
    return jnp.exp(linear(z, rows))


def kl_normal(p, q):
    (m, s), (n, t) = p, q
    return np.sum(np.log(t / s) + (s**2 + (m - n) ** 2) / (2 * t**2) - 0.5)


def kl_bernoulli(p, q):
    return np.sum(sc.rel_entr(p, q) + sc.rel_entr(1 - p, 1 - q))


def kl_categorical(p, q):
    return np.sum(sc.rel_entr(p, q))


def kl_poisson(p, q):
    return np.sum(p * np.log(p / q) - p + q)


def kl_negative_binomial(p, q, r=SIZES):
    return np.sum(p * np.log(p / q) - (p + r) * np.log1p((p - q) / (q + r)))


def kl_gamma(p, q):
    (a, b), (c, d) = p, q
    return np.sum(
        (a - c) * sc.digamma(a)
        - sc.gammaln(a)
        + sc.gammaln(c)
        + c * np.log(b / d)
        + a * (d - b) / b
    )


def kl_dirichlet(p, q):
    def log_norm(a):
        return np.sum(sc.gammaln(a)) - sc.gammaln(np.sum(a))

    return log_norm(q) - log_norm(p) + np.sum((p - q) * (sc.digamma(p) - sc.digamma(np.sum(p))))


def kl_beta(p, q):
    return sum(kl_dirichlet(np.array(a), np.array(b)) for a, b in zip(zip(*p), zip(*q)))  # noqa: B905


def kl_mises(p, q):
    (m, k), (n, c) = p, q
    half = m.shape[-1] / 2

    def log_norm(x):
        return (half - 1) * np.log(x) - np.log(sc.ive(half - 1, x)) - x

    mean = sc.ive(half, k) / sc.ive(half - 1, k)
    return np.sum(log_norm(k) - log_norm(c) + mean * (k - c * np.sum(m * n, axis=-1)))


def unit(y):
    return y / jnp.linalg.norm(y, axis=-1, keepdims=True)


def chances(z):
    return jax.nn.softmax(linear(z).reshape(2, 3), axis=-1)


# family, decoder of what the family expects, divergence of two of its outputs
FAMILIES = {
    "normal": ("normal", lambda z: (linear(z, slice(3)), positive(z, slice(3, 6))), kl_normal),
    "bernoulli": ("bernoulli", lambda z: jax.nn.sigmoid(linear(z)), kl_bernoulli),
    "categorical": ("categorical", chances, kl_categorical),
    "multinomial": (
        lf.families.Multinomial(trials=7),
        chances,
        lambda p, q: 7 * kl_categorical(p, q),
    ),
    "poisson": ("poisson", positive, kl_poisson),
    "negative binomial": (
        lf.families.NegativeBinomial(SIZES),
        positive,
        kl_negative_binomial,
    ),
    "gamma": ("gamma", lambda z: (positive(z, slice(3)), positive(z, slice(3, 6))), kl_gamma),
    "beta": ("beta", lambda z: (positive(z, slice(3)), positive(z, slice(3, 6))), kl_beta),
    "dirichlet": ("dirichlet", positive, kl_dirichlet),
    "von Mises–Fisher": (
        "von-mises-fisher",
        lambda z: (unit(linear(z, slice(4)).reshape(2, 2)), positive(z, slice(4, 6))),
        kl_mises,
    ),
    "product": (
        {"height": "normal", "kind": "bernoulli"},
        lambda z: {"height": (linear(z, 0), positive(z, 1)), "kind": jax.nn.sigmoid(linear(z))},
        lambda p, q: kl_normal(p["height"], q["height"]) + kl_bernoulli(p["kind"], q["kind"]),
    ),
}


@pytest.fixture(params=FAMILIES, ids=list(FAMILIES), scope="module")
def case(request):
    family, decoder, divergence = FAMILIES[request.param]
    return lf.FisherRaoPullback(decoder, family), decoder, divergence


def test_the_metric_is_twice_the_divergence_of_a_small_step(case):
    metric, decoder, divergence = case
    matrix = lf.metric_tensor(metric, Z)
    step = 1e-4
    for v in np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-0.8, 0.6]]):
        at = [jax.tree.map(np.asarray, decoder(Z + s * step * v)) for s in (-0.5, 0.0, 0.5, 1.0)]
        expected = v @ matrix @ v
        assert relative(2 * divergence(at[1], at[3]) / step**2, expected) < 1e-3
        # of both directions about the middle of the step the error is of second order
        both = divergence(at[0], at[2]) + divergence(at[2], at[0])
        assert relative(both / step**2, expected) < 1e-6


def test_the_metric_is_positive_definite_everywhere(case, rng):
    matrices = np.asarray(lf.metric_tensor(case[0], rng.normal(size=(200, 2))))
    np.testing.assert_array_equal(matrices, np.swapaxes(matrices, 1, 2))
    assert np.linalg.eigvalsh(matrices).min() > 0


@pytest.mark.parametrize("name", ["normal", "dirichlet", "von Mises–Fisher", "categorical"])
def test_fast_paths_equal_automatic_differentiation_of_the_matrix(name):
    family, decoder, _ = FAMILIES[name]
    metric = lf.FisherRaoPullback(decoder, family)

    @jax.jit
    def both():
        fast = (metric.energy_terms(Z, V), metric.acceleration(Z, V), metric.inner(Z, V, V))
        slow = (
            AbstractMetric.energy_terms(metric, Z, V),
            AbstractMetric.acceleration(metric, Z, V),
            AbstractMetric.inner(metric, Z, V, V),
        )
        return fast, slow

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10), *both())


@pytest.mark.parametrize("name", ["bernoulli", "categorical", "multinomial", "poisson"])
def test_the_embedding_is_isometric(name):
    family, decoder, _ = FAMILIES[name]
    metric = lf.FisherRaoPullback(decoder, family)
    assert metric.embeds
    jacobian = jax.jacfwd(metric.embed)(Z)
    np.testing.assert_allclose(jacobian.T @ jacobian, metric(Z), rtol=1e-12)


def test_information_matrices_are_the_textbook_ones():
    a, b, k = 2.5, 0.7, np.array([0.3, 2.0, 5.0])

    def tensor(family, at, decoder=lambda z: z):
        return lf.metric_tensor(lf.FisherRaoPullback(decoder, family), at)

    trigamma = lambda x: sc.polygamma(1, x)  # noqa: E731
    np.testing.assert_allclose(tensor("normal", [a, b]), np.diag([1, 2]) / b**2, rtol=1e-13)
    expected = [[trigamma(a), -1 / b], [-1 / b, a / b**2]]
    np.testing.assert_allclose(tensor("gamma", [a, b]), expected, rtol=1e-12)
    expected = np.diag(trigamma(k)) - trigamma(k.sum())
    np.testing.assert_allclose(tensor("dirichlet", k), expected, rtol=1e-12)
    two = k[:2]
    expected = np.diag(trigamma(two)) - trigamma(two.sum())
    np.testing.assert_allclose(tensor("beta", two), expected, rtol=1e-12)


@pytest.mark.parametrize("p", [2, 3, 10, 1000])
def test_moments_of_directions_equal_ratios_of_bessel_functions(p):
    kappa = np.geomspace(0.05, 300.0, 9)
    mean, variance = concentration_slopes(jnp.asarray(kappa), p)
    # the continued fraction of I_{p/2} / I_{p/2-1}, from far enough down
    ratio = np.zeros_like(kappa)
    for order in np.arange(3000, 0, -1) + p / 2 - 1:
        ratio = 1.0 / (2.0 * order / kappa + ratio)
    np.testing.assert_allclose(mean, ratio, rtol=1e-11)
    riccati = 1.0 - ratio**2 - (p - 1) / kappa * ratio
    np.testing.assert_allclose(variance, riccati, rtol=1e-9)


def test_directions_of_extreme_concentration_keep_their_digits():
    mean, variance = concentration_slopes(jnp.array([1e6]), 3)  # coth κ − 1/κ and 1/κ² − 1/sinh² κ
    np.testing.assert_allclose(mean, 1 - 1e-6, rtol=1e-15)
    np.testing.assert_allclose(variance, 1e-12, rtol=1e-12)


def test_univariate_normals_are_a_half_plane(rng):
    metric = lf.FisherRaoPullback(lambda z: (z[0], jnp.exp(z[1])), "normal")
    x, y = rng.normal(size=(2, 30, 2))
    plane = lf.PoincareHalfPlane()

    def on_plane(z):
        return np.stack([z[:, 0] / np.sqrt(2.0), np.exp(z[:, 1])], axis=1)

    exact = np.sqrt(2.0) * plane.exact_distance(on_plane(x), on_plane(y))
    result = lf.geodesic(metric, x, y)
    assert result.converged.all()
    assert relative(result.length, exact) < 1e-6
    np.testing.assert_allclose(lf.gaussian_curvature(metric, x[0]), -0.5, rtol=1e-9)


def test_categorical_distances_are_angles(rng):
    def decoder(z):
        return jnp.array([z[0], z[1], -z[0] - z[1]])

    metric = lf.FisherRaoPullback(decoder, "categorical-logits")
    x, y = rng.normal(size=(2, 10, 2))
    p, q = (np.asarray(jax.vmap(lambda z: jax.nn.softmax(decoder(z)))(a)) for a in (x, y))
    exact = 2.0 * np.arccos(np.sum(np.sqrt(p * q), axis=1))
    assert relative(lf.distance(metric, x, y), exact) < 1e-6
    np.testing.assert_allclose(lf.gaussian_curvature(metric, x[0]), 0.25, rtol=1e-9)


def test_bernoulli_and_poisson_distances_are_differences_of_flat_coordinates(rng):
    x, y = rng.uniform(0.05, 0.95, size=(2, 5, 1))
    bernoulli = lf.FisherRaoPullback(lambda z: z, "bernoulli")
    exact = 2.0 * np.abs(np.arcsin(np.sqrt(x)) - np.arcsin(np.sqrt(y)))[:, 0]
    assert relative(lf.distance(bernoulli, x, y), exact) < 1e-6
    poisson = lf.FisherRaoPullback(lambda z: z, "poisson")
    exact = 2.0 * np.abs(np.sqrt(x) - np.sqrt(y))[:, 0]
    assert relative(lf.distance(poisson, x, y), exact) < 1e-6


ALIKE = {
    "bernoulli": ("bernoulli-logits", linear, "bernoulli", lambda z: jax.nn.sigmoid(linear(z))),
    "categorical": (
        "categorical-logits",
        lambda z: linear(z).reshape(2, 3),
        lf.families.Categorical(classes=3),
        lambda z: jnp.ravel(5.0 * chances(z)),
    ),
    "multinomial": ("multinomial", chances, "categorical", chances),
    "poisson": (lf.families.Poisson(log_rate=True), linear, "poisson", positive),
    "negative binomial": (
        lf.families.NegativeBinomial(SIZES, log_mean=True),
        linear,
        lf.families.NegativeBinomial(SIZES[:, None]),
        positive,
    ),
    "many counts": (
        lf.families.NegativeBinomial(1e14),
        positive,
        "poisson",
        positive,
    ),
    "normal, variance": (
        lf.families.Normal("log-variance"),
        linear,
        lf.families.Normal("variance"),
        lambda z: [linear(z, slice(3)), positive(z, slice(3, 6))],
    ),
    "normal, deviation": (
        lf.families.Normal("log-std"),
        linear,
        "normal",
        lambda z: [linear(z, slice(3)), positive(z, slice(3, 6))],
    ),
    "beta": (
        "beta",
        lambda z: positive(z, slice(2)),
        "dirichlet",
        lambda z: positive(z, slice(2)),
    ),
    "directions": (
        "von-mises-fisher",
        lambda z: linear(z, slice(3)),
        "von-mises-fisher",
        lambda z: (linear(z, slice(3)), jnp.linalg.norm(linear(z, slice(3)))[None]),
    ),
    "product": (
        ["poisson", "bernoulli"],
        lambda z: [positive(z), jax.nn.sigmoid(linear(z))],
        {"counts": "poisson", "flags": lf.families.Bernoulli(logits=True)},
        lambda z: {"flags": linear(z), "counts": positive(z)},
    ),
}


@pytest.mark.parametrize("name", ALIKE)
def test_the_metric_does_not_depend_on_the_parametrisation(name):
    family, decoder, other, like = ALIKE[name]
    a, b = lf.FisherRaoPullback(decoder, family), lf.FisherRaoPullback(like, other)
    np.testing.assert_allclose(a(Z), b(Z), rtol=1e-12)
    assert a.embeds == b.embeds


@pytest.mark.parametrize("family", ["bernoulli", "categorical"])
def test_saturated_probabilities_leave_the_metric_finite(family):
    def decoder(z):
        steep = jnp.array([900.0 * z[0], z[1], 0.0])
        return jax.nn.sigmoid(steep) if family == "bernoulli" else jax.nn.softmax(steep)

    metric = lf.FisherRaoPullback(decoder, family)
    terms = metric.energy_terms(jnp.array([1.0, 0.3]), V)
    assert all(np.isfinite(part).all() for part in terms)
    logits = lf.FisherRaoPullback(
        lambda z: jnp.array([900.0 * z[0], z[1], 0.0]), f"{family}-logits"
    )
    x = jnp.array([1.0, 0.3])
    np.testing.assert_allclose(metric(x), logits(x), atol=1e-12)


@pytest.mark.parametrize(
    ("family", "at"),
    [("normal", [0.0, -1.0]), ("gamma", [-1.0, 1.0]), ("bernoulli", [1.5]), ("poisson", [-0.1])],
)
def test_a_parameter_outside_of_its_domain_is_nan(family, at):
    metric = lf.FisherRaoPullback(lambda z: z, family)
    assert np.isnan(lf.metric_tensor(metric, at)).any()


def test_a_supervised_metric_charges_for_a_change_of_the_prediction():
    def classifier(x):
        return jnp.array([4.0 * x[0], 0.0])

    base = lf.Euclidean(2)
    metric = lf.supervised_metric(classifier, "categorical-logits", base=base, weight=3.0)
    x = jnp.array([0.2, 0.5])
    chance = jax.nn.sigmoid(0.8)
    expected = np.diag([1.0 + 3.0 * 16.0 * chance * (1.0 - chance), 1.0])
    np.testing.assert_allclose(metric(x), expected, rtol=1e-13)
    assert metric.embeds
    along = lf.distance(metric, [0.5, 0.0], [0.5, 1.0])
    across = lf.distance(metric, [-0.5, 0.0], [0.5, 0.0])
    np.testing.assert_allclose(along, 1.0, rtol=1e-9)
    turn = 2.0 * np.arctan(np.sinh(1.0))  # ∫ ½ sech(l/2) dl over l from −2 to 2
    assert np.hypot(1.0, np.sqrt(3.0) * turn) < across < 1.0 + np.sqrt(3.0) * turn


def test_a_metric_can_be_saved(tmp_path):
    decoder = lf.RBFPrecision([[0.0, 0.0]], 0.5, [[2.0], [3.0]], max_std=1.0)
    family = {"a": lf.families.NegativeBinomial(SIZES), "b": lf.families.Normal("log-std")}
    metric = lf.FisherRaoPullback(decoder, "poisson", landmarks=np.zeros((3, 2)))
    lf.save(tmp_path / "metric.landform", [metric, lf.families.Product(family)])
    again, product = lf.load(tmp_path / "metric.landform")
    np.testing.assert_array_equal(again(Z), metric(Z))
    np.testing.assert_array_equal(product.parts[0].total_count, SIZES)
    assert product.parts[1].scale == "log-std"


def tensor_of(family, output):
    return lf.metric_tensor(lf.FisherRaoPullback(lambda z: output, family), [0.0, 0.0])


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: lf.FisherRaoPullback(3, "normal"), TypeError, "decoder must be a callable"),
        (lambda: lf.FisherRaoPullback(linear, "gaussian"), ValueError, "family must be one of"),
        (lambda: lf.FisherRaoPullback(linear, 3), TypeError, "family must be a name"),
        (lambda: lf.families.NegativeBinomial([1.0, 0.0]), ValueError, "must be positive"),
        (
            lambda: tensor_of(lf.families.NegativeBinomial([1.0, 2.0]), jnp.ones(3)),
            ValueError,
            "one for each of the decoder's 3 outputs, got 2",
        ),
        (lambda: lf.FisherRaoPullback(linear, "negative-binomial"), ValueError, "NegativeBinomial"),
        (lambda: lf.families.Product([]), ValueError, "at least one family"),
        (lambda: lf.families.Normal("sd"), ValueError, "scale must be one of"),
        (lambda: lf.families.Multinomial(0), ValueError, "trials must be an integer"),
        (lambda: lf.families.Categorical(classes=1), ValueError, "classes must be an integer"),
        (lambda: tensor_of("normal", jnp.ones(3)), ValueError, "both halves"),
        (lambda: tensor_of("beta", (1.0, 2.0, 3.0)), ValueError, r"pair \(a, b\)"),
        (lambda: tensor_of("categorical", jnp.ones(1)), ValueError, "two classes"),
        (
            lambda: tensor_of(lf.families.Categorical(classes=3), jnp.ones(4)),
            ValueError,
            "split into 3",
        ),
        (lambda: tensor_of("von-mises-fisher", jnp.ones(1)), ValueError, "two coordinates"),
        (
            lambda: tensor_of(["normal", "beta"], (jnp.ones(2),)),
            ValueError,
            "must return 2 outputs",
        ),
        (lambda: tensor_of({"a": "beta"}, (jnp.ones(2),)), ValueError, "dictionary of"),
        (
            lambda: lf.supervised_metric(linear, "poisson", base=lf.Euclidean(2), weight=0.0),
            ValueError,
            "weight must be positive",
        ),
        (lambda: lf.supervised_metric(linear, "poisson", base=2), TypeError, "must be a landform"),
    ],
)
def test_bad_input_is_named(build, error, words):
    with pytest.raises(error, match=words):
        build()


@pytest.mark.parametrize(
    "family", ["bernoulli", "poisson", ["bernoulli", "poisson"], lf.families.Normal()]
)
def test_logits_given_as_parameters_are_refused_at_the_landmarks(family):
    def decoder(z):
        return (-z, -z) if isinstance(family, list | lf.families.Normal) else -z

    with pytest.raises(ValueError, match=r"domain of .* at 2 of 3 landmarks.*bernoulli-logits"):
        lf.FisherRaoPullback(decoder, family, landmarks=[[-0.5], [1.0], [2.0]])
    lf.FisherRaoPullback(decoder, family, landmarks=[[-0.5]])
