"""What a person sees of an object: one line of values, and a picture where the chart is a plane."""

import base64
import functools
import inspect
import io
import re
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.image import imread

import landform as lf
from landform.models import MLP, ConvRBFPrecision

PLANE = lf.PoincareHalfPlane()
KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(60, 2))
PAIRS = ([[-1.0, 1.0], [0.0, -1.0], [0.0, 1.0]], [1.0, 1.0])


@functools.cache
def vae() -> lf.VAE:
    return lf.train_vae(X @ np.ones((2, 4)), 2, key=KEY, hidden=(4,), epochs=1, num_centers=4)


@functools.cache
def gp() -> lf.GaussianProcessDecoder:
    return lf.GaussianProcessDecoder(X[:5], X[:5], lengthscale=1.0, variance=4.0)


@functools.cache
def network() -> MLP:
    return MLP(KEY, (2, 4, 8))


@functools.cache
def interpolant() -> lf.GeodesicInterpolant:
    return lf.train_interpolant(lf.Euclidean(2), X, key=KEY, epochs=1, guides=0)


@functools.cache
def land() -> lf.LAND:
    return lf.LAND(PLANE, [0.0, 1.0], 0.25 * np.eye(2))


@functools.cache
def mixture() -> lf.LANDMixtureModel:
    return lf.fit_land_mixture(lf.Euclidean(2), X, 2, tol=0.1)


@functools.cache
def made(cls):
    return OBJECTS[cls]()


def doubled(z):
    return 2.0 * z


OBJECTS = {
    lf.Euclidean: lambda: lf.Euclidean(2),
    lf.PoincareHalfPlane: lambda: PLANE,
    lf.StereographicSphere: lambda: lf.StereographicSphere(3),
    lf.LocalVariance: lambda: lf.LocalVariance(X),
    lf.ScaledMetric: lambda: 3.0 * lf.LocalVariance(X),
    lf.SumMetric: lambda: lf.LocalVariance(X) + lf.Euclidean(2),
    lf.Pullback: lambda: lf.Pullback(network(), landmarks=X),
    lf.ExpectedPullback: lambda: vae().metric(),
    lf.EnsemblePullback: lambda: lf.EnsemblePullback([network(), doubled]),
    lf.FisherRaoPullback: lambda: lf.FisherRaoPullback(network(), "bernoulli-logits"),
    lf.AmbientPullback: lambda: lf.AmbientPullback(network(), lf.Euclidean(8)),
    lf.ProductMetric: lambda: lf.ProductMetric([PLANE, lf.LocalVariance(X)]),
    lf.ConformalMetric: lambda: lf.ConformalMetric.from_energy(lambda x: x @ x, X),
    lf.RBFMetric: lambda: lf.RBFMetric(X, 0.5, np.ones(60)),
    lf.Tabulated: lambda: lf.Tabulated(PLANE, [-1.0, 0.5], [1.0, 2.5], size=9),
    lf.PolynomialCurve: lambda: lf.PolynomialCurve(np.zeros((3, 5, 2))),
    lf.Geodesic: lambda: lf.geodesic(PLANE, [-1.0, 1.0], [1.0, 1.0]),
    lf.FreeGeodesic: lambda: lf.free_geodesic(
        lf.Euclidean(2), [3.0, 1.0], lambda s: jnp.array([0.0, s[0]]), end_at=[0.0]
    ),
    lf.FrechetMean: lambda: lf.fit_frechet_mean(PLANE, np.abs(X[:5]) + 0.1),
    lf.JacobiField: lambda: lf.jacobi_field(lf.Euclidean(2), X[:3], X[:3], slope=X[:3]),
    lf.GraphDistances: lambda: lf.graph_distances(lf.Euclidean(2), X, probes=3),
    lf.RandomLength: lambda: lf.random_length(vae().metric(), [[0.0, 0.0], [0.3, 0.4]]),
    lf.LAND: land,
    lf.LANDMixtureModel: mixture,
    lf.Bandwidth: lambda: lf.cv_bandwidth(X[:30], sigmas=[1.0], rhos=[100.0]),
    lf.KMeansResult: lambda: lf.geodesic_kmeans(lf.Euclidean(2), X, 2, key=KEY),
    lf.KMedoidsResult: lambda: lf.kmedoids(np.abs(X[:, :1] - X[:, 0]), 2),
    lf.SpectralClusters: lambda: lf.spectral_clusters(np.abs(X[:, :1] - X[:, 0]), 2),
    lf.RetrainingReport: lambda: lf.retraining_report([lf.Euclidean(2)] * 2, [X[:5], 2 * X[:5]]),
    lf.VAE: vae,
    lf.GaussianProcessDecoder: gp,
    lf.GaussianProcessMetric: lambda: gp().metric(),
    lf.RBFPrecision: lambda: lf.RBFPrecision.from_codes(X, 8, key=KEY, num_centers=4),
    ConvRBFPrecision: lambda: ConvRBFPrecision(
        [[0.0]], 0.5, jnp.ones((4, 1)), [jnp.ones((1, 1, 4, 4))], (4, 4, 1), max_std=10.0
    ),
    lf.Extrapolation: lambda: lf.Extrapolation.from_codes(network(), X, far=0.0, key=KEY),
    lf.GeodesicInterpolant: interpolant,
    lf.InterpolantGap: lambda: interpolant().gap(lf.Euclidean(2), X[:5], X[5:10]),
    lf.Calibration: lambda: lf.calibration(vae(), X @ np.ones((2, 4)), key=KEY, bins=3),
    lf.MarginalLikelihood: lambda: lf.MarginalLikelihood(1.2, 0.1, X[:, 0], X[:, 0], X[:, 0]),
    lf.Solution: lambda: lf.Solution(np.zeros((3, 9, 2)), degree=4),
    lf.Request: lf.Request,
    lf.EnergySolver: lf.EnergySolver,
    lf.EikonalSolver: lf.EikonalSolver,
    lf.GraphSolver: lf.GraphSolver,
    lf.ShootingSolver: lf.ShootingSolver,
    lf.AdaptiveIVP: lf.AdaptiveIVP,
    lf.FixedStepIVP: lf.FixedStepIVP,
    MLP: network,
}


@pytest.mark.parametrize("cls", OBJECTS, ids=lambda cls: cls.__name__)
def test_a_repr_is_one_short_line_of_values(cls):
    shown = made(cls)
    text = repr(shown)
    assert type(shown) is cls
    assert text.startswith(f"{cls.__name__}(")
    assert text.endswith(")")
    assert len(text) <= 150
    assert "\n" not in text
    assert not re.search(r"[fi](32|64)\[|Array\(|array\(|object at 0x", text)


def test_every_public_class_has_its_repr_looked_at():
    public = {value for name, value in vars(lf).items() if inspect.isclass(value)}
    kinds = {c for c in public if issubclass(c, eqx.Module | tuple) and not inspect.isabstract(c)}
    assert not kinds - OBJECTS.keys() - {lf.AbstractCurve, lf.AbstractMetric, lf.AbstractSolver}


def test_a_repr_names_what_the_object_is_of():
    assert repr(lf.LocalVariance(X)) == (
        "LocalVariance(60 points in 2 dimensions, sigma=0.15, rho=0.001)"
    )
    assert repr(lf.geodesic(PLANE, [-1.0, 1.0], [1.0, 1.0])) == (
        "Geodesic(length=1.763, converged=True, 65 points in 2 dimensions)"
    )
    assert repr(lf.Pullback(network(), landmarks=X)) == (
        "Pullback(f=MLP(2 → 4 → 8, tanh), 60 landmarks in 2 dimensions)"
    )
    assert repr(land()).startswith("LAND(mean=[0, 1], covariance=[[0.25, 0], [0, 0.25]], log_norm")
    assert repr(vae()).startswith("VAE(4 → 2, gaussian, std=PrecisionStd, held-out ELBO=")
    assert "f=VAE.sample" in repr(lf.Pullback(vae().sample))


def test_a_batch_counts_what_converged_and_why_the_others_did_not():
    batch = repr(lf.geodesic(PLANE, *PAIRS, throw=False))
    assert batch.startswith(
        "Geodesic(3 curves of 65 points in 2 dimensions, 2 of 3 converged, 1 bad metric, length="
    )
    single = repr(lf.geodesic(PLANE, [0.0, -1.0], [1.0, 1.0], throw=False))
    assert "converged=False (bad metric)" in single


def test_batches_that_are_empty_or_without_a_finite_number_have_a_repr():
    whole = lf.geodesic(PLANE, *PAIRS, throw=False)
    empty = jax.tree.map(lambda a: a[:0], whole)
    assert repr(empty).startswith("Geodesic(0 curves of 65 points in 2 dimensions, 0 of 0 conv")
    lost = jax.tree.map(lambda a: a * jnp.nan, whole.length)
    assert "length=nan" in repr(eqx.tree_at(lambda g: g.length, whole, lost))


def test_a_repr_works_under_transformations():
    lines = []

    @jax.jit
    def length(x):
        found = lf.geodesic(PLANE, x, jnp.ones(2), throw=False)
        lines.extend(map(repr, (found, found.path, lf.LocalVariance(X * x[0]))))
        assert found._repr_html_() is None
        return found.length

    length(jnp.array([-1.0, 1.0]))
    jax.vmap(length)(jnp.ones((3, 2)))
    assert lines[0] == "Geodesic(length=traced, converged=traced, 65 points in 2 dimensions)"
    assert lines[2] == "LocalVariance(60 points in 2 dimensions, sigma=traced, rho=traced)"


@pytest.mark.parametrize("filling", [None, 0, True, "text", object()])
@pytest.mark.parametrize("cls", OBJECTS, ids=lambda cls: cls.__name__)
def test_an_object_taken_apart_by_a_transformation_has_a_repr(cls, filling):
    text = repr(jax.tree.map(lambda leaf: filling, made(cls)))
    assert text.startswith(f"{cls.__name__}(")
    assert len(text) <= 150


def test_a_metric_of_a_user_has_a_line_of_its_fields_and_is_not_evaluated():
    class Never(lf.AbstractMetric):
        scale: jax.Array
        nodes: np.ndarray

        def __call__(self, x):
            raise AssertionError("a repr evaluates no metric")

    text = repr(Never(jnp.asarray(2.0), np.zeros((1000, 1000))))
    assert text == "Never(scale=2, nodes=1000 × 1000)"


PICTURED = [
    lambda: lf.LocalVariance(X),
    lambda: vae().metric(),
    vae,
    lambda: lf.geodesic(PLANE, [-1.0, 1.0], [1.0, 1.0]),
    lambda: lf.geodesic(PLANE, *PAIRS, throw=False),
    lambda: lf.geodesic(PLANE, *PAIRS, throw=False).path,
    land,
    lambda: lf.LAND(PLANE, [0.0, 1.0], np.eye(2), normalizer="paper"),
    mixture,
]


@pytest.mark.parametrize("make", PICTURED)
def test_an_object_of_the_plane_has_a_picture_in_a_notebook(make):
    page = make()._repr_html_()
    image = imread(io.BytesIO(base64.b64decode(re.search('base64,([^"]+)"', page).group(1))))
    assert 200 < image.shape[0] < 400
    assert image[..., :3].min() < 0.5
    assert len(page) < 100_000


@pytest.mark.parametrize(
    "make",
    [
        lambda: lf.Euclidean(2),
        lambda: lf.LocalVariance(X[:, [0, 0, 1]]),
        lambda: lf.geodesic(lf.Euclidean(3), np.zeros(3), np.ones(3)),
        lambda: lf.PolynomialCurve(np.full((5, 2), np.nan)),
        lambda: lf.LAND(lf.Euclidean(1), [0.0], [[1.0]]),
        network,
    ],
)
def test_an_object_that_is_not_of_the_plane_leaves_notebooks_its_line(make):
    assert make()._repr_html_() is None


@pytest.mark.parametrize("normalizer", ["exact", "paper"])
def test_contours_of_a_land_are_where_its_density_has_fallen_by_known_factors(normalizer):
    model = lf.LAND(PLANE, [0.0, 1.0], 0.25 * np.eye(2), normalizer=normalizer)
    one, two = model._picture().curves
    top = model.log_prob([0.0, 1.0])
    np.testing.assert_allclose(model.log_prob(one[::16]), top - 0.5, atol=1e-5)
    np.testing.assert_allclose(model.log_prob(two[::16]), top - 2.0, atol=1e-5)


def test_plotting_is_an_attribute_that_is_loaded_on_first_use(tmp_path):
    code = (
        "import sys, landform as lf\n"
        "print('matplotlib' in sys.modules, 'plotting' in dir(lf), repr(lf.Euclidean(2)))\n"
        "print(lf.plotting.__name__, 'matplotlib' in sys.modules, hasattr(lf, 'plots'))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert result.stdout.split("\n")[:2] == [
        "False True Euclidean(2 dimensions)",
        "landform.plotting True False",
    ]
