"""LAND: closed forms of the normalizer, densities that integrate to one, and draws of the law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from sklearn.datasets import make_moons

import landform as lf
from landform.stats.land.normalizer import make_grid, panel_weights
from landform.stats.land.objective import _forms, _unit
from landform.stats.land.rays import trace_rays
from oracles import FlatInDisguise

SPHERE, HALF_PLANE = lf.StereographicSphere(2), lf.PoincareHalfPlane()
EYE = np.eye(2)

# ∫ exp(−½ vᵀS⁻¹v) dM for a tangent covariance S in an orthonormal frame.
CLOSED = [
    (SPHERE, 0.05 * EYE, 0.30897526555),
    (SPHERE, 0.25 * EYE, 1.44621421650),
    (SPHERE, 1.0 * EYE, 4.55731800533),
    (SPHERE, np.diag([0.3, 0.1]), 1.01888166298),
    (HALF_PLANE, 0.05 * EYE, 0.31944798908),
    (HALF_PLANE, 0.25 * EYE, 1.70848139834),
    (HALF_PLANE, 1.0 * EYE, 8.86360239423),
    (HALF_PLANE, np.diag([0.3, 0.1]), 1.16421379093),
]
MEANS = {id(SPHERE): ([0.0, 0.0], [0.3, -0.4]), id(HALF_PLANE): ([0.0, 1.0], [2.0, 3.0])}


def in_chart(metric, mean, covariance):
    """A covariance in the orthonormal frame along the axes of a conformal chart."""
    return covariance / np.asarray(lf.metric_tensor(metric, mean))[0, 0]


@pytest.mark.parametrize(("metric", "covariance", "value"), CLOSED)
@pytest.mark.parametrize("where", [0, 1])
def test_the_normalizer_is_the_closed_form_wherever_the_mean_is(metric, covariance, value, where):
    mean = MEANS[id(metric)][where]
    land = lf.LAND(metric, mean, in_chart(metric, mean, covariance), rtol=1e-8)
    assert np.exp(float(land.log_normalizer)) == pytest.approx(value, rel=1e-6)


def test_rays_of_flat_space_are_those_that_are_integrated_in_a_constant_metric():
    grid, mean, linear = make_grid(2, 64), np.array([1.0, -2.0]), np.array([[2.0, 0.5], [0.0, 0.3]])
    arguments = mean, grid.directions @ linear, grid.radii
    with jax.enable_x64(True):
        found = trace_rays(lf.Euclidean(2), *arguments)
        integrated = trace_rays(lf.ScaledMetric(lf.Euclidean(2), 1.0), *arguments)
    for line, ray in zip(found, integrated, strict=True):
        assert (line.shape, line.dtype) == (ray.shape, ray.dtype)
        np.testing.assert_allclose(line, ray, rtol=1e-9, atol=1e-9)


def test_the_forms_of_full_covariances_are_those_of_any_basis(rng):
    pairs = zip(*np.triu_indices(3), strict=True)
    basis = np.array([b / np.linalg.norm(b) for b in (_unit(i, j, 3) for i, j in pairs)])
    nodes = rng.standard_normal((7, 3))
    np.testing.assert_allclose(_forms(nodes, basis, "full"), _forms(nodes, basis, "diag"))


def test_the_standard_error_covers_the_error_with_few_directions():
    covariance, value = CLOSED[3][1:]
    errors, claimed = [], []
    for seed in range(8):
        land = lf.LAND(
            SPHERE,
            [0.3, -0.4],
            in_chart(SPHERE, [0.3, -0.4], covariance),
            n_directions=16,
            key=jax.random.key(seed),
        )
        errors.append(abs(np.exp(float(land.log_normalizer)) / value - 1.0))
        claimed.append(float(land.normalizer_stderr))
    assert all(e < 3.0 * c for e, c in zip(errors, claimed, strict=True))
    assert max(claimed) < 0.05


def test_three_dimensions_are_integrated_past_a_double_conjugate_point():
    value = 4.0 * np.pi * quad(lambda r: np.exp(-0.5 * r**2) * np.sin(r) ** 2, 0.0, np.pi)[0]
    mean = np.array([0.3, 0.2, 0.1])
    covariance = np.eye(3) * (1.0 + mean @ mean) ** 2 / 4.0
    land = lf.LAND(lf.StereographicSphere(3), mean, covariance, n_directions=60)
    assert np.exp(float(land.log_normalizer)) == pytest.approx(value, rel=2e-5)
    assert 1e-4 < float(land.excluded["conjugate_mass"]) < 1e-3


@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_a_flat_metric_gives_the_gaussian_constant(scale):
    covariance = np.array([[0.4, 0.1], [0.1, 0.25]])
    land = lf.LAND(lf.ScaledMetric(lf.Euclidean(2), scale), [1.0, 2.0], covariance)
    expected = scale * 2.0 * np.pi * np.sqrt(np.linalg.det(covariance))
    assert np.exp(float(land.log_normalizer)) == pytest.approx(expected, rel=1e-8)
    x = np.array([[0.5, 1.0], [3.0, 2.0]])
    form = np.einsum("ni,ij,nj->n", x - [1.0, 2.0], np.linalg.inv(covariance), x - [1.0, 2.0])
    gauss = -0.5 * form - np.log(expected / scale)
    np.testing.assert_allclose(land.log_prob(x, "lebesgue"), gauss, atol=1e-8)


@pytest.mark.parametrize(
    ("width", "value", "ratio"),
    [(0.1, 0.062623, 3.97), (0.3, 0.548824, 3.78), (0.5, 1.446214, 3.45), (0.8, 3.263912, 2.92)],
)
def test_the_papers_constant_is_too_large_by_the_known_factors(width, value, ratio):
    exact = lf.LAND(SPHERE, [0.0, 0.0], 0.25 * width**2 * EYE)
    paper = lf.LAND(SPHERE, [0.0, 0.0], width**2 * EYE, normalizer="paper")
    assert np.exp(float(exact.log_normalizer)) == pytest.approx(value, abs=5e-7)
    assert np.exp(float(paper.log_normalizer)) / value == pytest.approx(ratio, abs=5e-3)
    x = np.array([0.1, 0.05])
    same = exact.log_prob(x) + exact.log_normalizer
    assert float(paper.log_prob(x) + paper.log_normalizer) == pytest.approx(float(same), abs=1e-9)


def test_the_normalizer_is_the_same_in_two_charts():
    bent, mean = FlatInDisguise(), np.array([0.4, 0.3])
    covariance = np.array([[0.3, 0.05], [0.05, 0.2]])
    flat = lf.LAND(lf.Euclidean(2), np.asarray(bent.flatten(mean)), covariance)
    back = np.linalg.inv(np.asarray(jax.jacfwd(bent.flatten)(mean)))
    land = lf.LAND(bent, mean, back @ covariance @ back.T, rtol=1e-7)
    assert float(land.log_normalizer) == pytest.approx(float(flat.log_normalizer), abs=1e-6)


@pytest.mark.parametrize("dim", [1, 2])
def test_the_mass_on_a_grid_is_one_for_the_exact_normalizer(dim):
    land = lf.LAND(lf.Euclidean(dim), np.zeros(dim), 0.3 * np.eye(dim), n_directions=32)
    assert land.total_mass() == pytest.approx(1.0, abs=3e-4)


def test_the_mass_on_a_grid_shows_how_wrong_the_papers_constant_is():
    covariance = 0.09 * EYE / 4.0
    exact = lf.LAND(SPHERE, [0.0, 0.0], covariance, n_directions=64)
    assert exact.total_mass() == pytest.approx(1.0, abs=1e-3)
    paper = lf.LAND(SPHERE, [0.0, 0.0], 0.09 * EYE, normalizer="paper", n_directions=64)
    assert paper.total_mass() == pytest.approx(1.0 / 3.78, abs=2e-3)


@pytest.mark.parametrize(("dim", "size", "match"), [(3, 8, "dimensions"), (2, 1, "size")])
def test_masses_that_cannot_be_summed_are_refused(dim, size, match):
    land = lf.LAND(lf.Euclidean(dim), np.zeros(dim), np.eye(dim), n_directions=16)
    with pytest.raises(ValueError, match=match):
        land.total_mass(size=size)


@pytest.fixture(scope="module")
def moon():
    X, y = make_moons(120, noise=0.1, random_state=0)
    metric = lf.LocalVariance(X[y == 0], sigma=0.3, rho=1e-2)
    return lf.LAND(metric, [0.0, 0.9], [[0.15, 0.0], [0.0, 0.03]])


def grid_of(land, low, high, count):
    """Cell centers of a grid, the cell's area, and the density there (0 where it failed)."""
    axes = [
        np.linspace(a, b, count, endpoint=False) + 0.5 * (b - a) / count
        for a, b in zip(low, high, strict=True)
    ]
    x = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    area = np.prod((np.array(high) - np.array(low)) / count)
    density = np.exp(np.asarray(land.log_prob(x, "lebesgue", throw=False)))
    return x, area, np.nan_to_num(density)


@pytest.mark.parametrize("case", ["half-plane", "sphere"])
def test_the_density_integrates_to_one_over_the_chart(case):
    metric, mean, low, high = {
        "half-plane": (HALF_PLANE, [0.0, 1.0], [-1.7, 0.25], [1.7, 3.2]),
        "sphere": (SPHERE, [0.2, 0.1], [-1.1, -1.1], [1.5, 1.3]),
    }[case]
    land = lf.LAND(metric, mean, in_chart(metric, mean, np.diag([0.06, 0.09])))
    _, area, density = grid_of(land, low, high, 24)
    assert density.sum() * area == pytest.approx(1.0, abs=2e-3)


def test_the_density_of_a_learned_metric_has_mass_one(moon):
    assert moon.total_mass(size=32) == pytest.approx(1.0, abs=0.01)


def test_draws_and_density_of_a_learned_metric_agree(moon):
    x, area, density = grid_of(moon, [-1.4, 0.0], [1.4, 1.6], 28)
    mass = density * area
    assert mass.sum() == pytest.approx(1.0, abs=0.01)
    draws = np.asarray(moon.sample(jax.random.key(1), 600))
    error = np.sqrt(np.cov(draws.T).diagonal() / 600)
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - mass @ x / mass.sum()), 4.0 * error)
    cells = (x[:, 0] < -0.3).astype(int) + 2 * (x[:, 1] < 0.9)
    found = (draws[:, 0] < -0.3).astype(int) + 2 * (draws[:, 1] < 0.9)
    expected = 600 * np.bincount(cells, mass, 4) / mass.sum()
    chi2 = np.sum((np.bincount(found, minlength=4) - expected) ** 2 / expected)
    assert chi2 < 16.3  # 0.1 % of three degrees of freedom


def test_draws_have_the_moments_of_the_law():
    covariance = np.diag([0.3, 0.1])
    land = lf.LAND(HALF_PLANE, [0.0, 1.0], covariance)
    vectors = np.asarray(HALF_PLANE.exact_log([0.0, 1.0], land.sample(jax.random.key(0), 3000)))
    table = land._table()
    law = table.moments(np.linalg.inv(covariance)).probability
    second = np.einsum("kr,kri,krj->ij", law, table.tangents, table.tangents)
    assert second[0, 0] > 0.32  # the volume grows outwards: an uncorrected normal would have 0.3
    np.testing.assert_allclose(vectors.T @ vectors / 3000, second, atol=4 * 0.3 * np.sqrt(2 / 3000))
    assert np.abs(vectors.mean(axis=0)).max() < 4 * np.sqrt(0.33 / 3000)


def test_partial_panels_integrate_up_to_the_cut():
    grid = make_grid(2, 16)
    cuts = np.array([0.4, 2.3, 5.0, np.inf])
    weights = panel_weights(grid, cuts, np.ones((4, grid.radii.size), dtype=bool))
    found = weights @ (grid.radii * np.exp(-0.5 * grid.radii**2))
    np.testing.assert_allclose(found, 1.0 - np.exp(-0.5 * cuts**2), atol=1e-5)


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_directions_integrate_the_second_moment_exactly(d):
    directions = make_grid(d, 40).directions
    np.testing.assert_allclose(
        directions.T @ directions / len(directions), np.eye(d) / d, atol=1e-12
    )
    np.testing.assert_allclose(directions.sum(axis=0), 0.0, atol=1e-12)


def test_a_saved_distribution_comes_back(tmp_path, moon):
    lf.save(tmp_path / "a.landform", moon)
    again = lf.load(tmp_path / "a.landform")
    x = np.array([[0.0, 0.9], [0.3, 0.8]])
    np.testing.assert_array_equal(again.log_prob(x), moon.log_prob(x))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"covariance": -EYE}, "covariance"),
        ({"covariance": [[1.0, 0.5], [0.0, 1.0]]}, "covariance"),
        ({"covariance": np.eye(3)}, "covariance"),
        ({"mean": [0.0, np.nan]}, "mean"),
        ({"mean": [0.0, -1.0]}, "mean"),
        ({"normalizer": "none"}, "normalizer"),
        ({"n_directions": 0}, "n_directions"),
        ({"rtol": 0.0}, "rtol"),
        ({"rtol": -1.0}, "rtol"),
    ],
)
def test_bad_arguments_are_named(change, name):
    arguments = {"mean": [0.0, 1.0], "covariance": EYE} | change
    with pytest.raises(ValueError, match=name):
        lf.LAND(HALF_PLANE, **arguments)


def test_the_seed_of_the_directions_is_that_of_the_key():
    flat, about = lf.Euclidean(2), ([0.0, 0.0], EYE)
    assert lf.LAND(flat, *about, key=jax.random.key(7)).seed == 7
    assert lf.LAND(flat, *about).seed == lf.LAND(flat, *about, key=jax.random.key(0)).seed
    with pytest.raises(TypeError, match="key must be one JAX key"):
        lf.fit_land(flat, np.eye(2), key=7)


def test_an_unknown_reference_measure_is_refused(moon):
    with pytest.raises(ValueError, match="base"):
        moon.log_prob([0.0, 0.9], "euclidean")


@pytest.mark.parametrize("count", [0, -1, 2.5, True, "3"])
def test_the_number_of_draws_must_be_a_count(count):
    land = lf.LAND(lf.Euclidean(1), [0.0], [[1.0]])
    model = lf.LANDMixtureModel(
        components=(land,),
        weights=jnp.ones(1),
        history={},
        converged=jnp.asarray(True),
        n_iter=jnp.asarray(1),
        n_failed=jnp.asarray(0),
    )
    for drawn in (land, model):
        with pytest.raises((TypeError, ValueError), match="n must be an integer of at least 1"):
            drawn.sample(jax.random.key(0), count)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"n_directions": 1.7}, TypeError, "n_directions must be an integer"),
        ({"n_directions": True}, TypeError, "n_directions must be an integer"),
        ({"n_directions": 0}, ValueError, "n_directions must be an integer of at least 1"),
        ({"rtol": 0.0}, ValueError, "rtol must be positive and finite"),
        ({"rtol": np.nan}, ValueError, "rtol must be positive and finite"),
        ({"rtol": -1e-5}, ValueError, "rtol must be positive and finite"),
    ],
)
def test_rays_that_cannot_be_are_refused_before_any_work(moon, options, error, match):
    flat = lf.Euclidean(2)
    with pytest.raises(error, match=match):
        lf.LAND(flat, [0.0, 0.0], EYE, **options)
    for fit in (lf.fit_land, lf.fit_least_squares):
        with pytest.raises(error, match=match):
            fit(flat, moon, **options)
    with pytest.raises(error, match=match):
        lf.fit_land_mixture(flat, moon, 2, **options)
