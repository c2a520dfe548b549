"""Every solver on every manifold with a closed form: length and logarithm to stated accuracy."""

import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from oracles import half_plane_points, relative, sphere_pairs

N_PAIRS = 4


def euclidean():
    rng = np.random.default_rng(0)
    metric = lf.Euclidean(2)
    x, y = rng.normal(size=(2, N_PAIRS, 2))
    return metric, x, y, np.linalg.norm(y - x, axis=1), y - x


def half_plane():
    rng = np.random.default_rng(1)
    metric = lf.PoincareHalfPlane()
    x = half_plane_points(rng, N_PAIRS)
    y = np.asarray(metric.exact_exp(x, rng.normal(size=x.shape) * x[:, 1:]))
    return metric, x, y, metric.exact_distance(x, y), metric.exact_log(x, y)


def sphere():
    metric = lf.StereographicSphere(2)
    x, y, v = sphere_pairs(np.random.default_rng(2), N_PAIRS, longest=1.0)
    return metric, x, y, metric.exact_distance(x, y), v


def cylinder():
    """A flat surface that is bent: the one oracle whose energy is that of chords."""
    metric = lf.Pullback(lambda z: jnp.array([jnp.cos(z[0]), jnp.sin(z[0]), z[1]]))
    x, y = np.random.default_rng(3).uniform(-1.0, 1.0, size=(2, N_PAIRS, 2))
    return metric, x, y, np.linalg.norm(y - x, axis=1), y - x


ORACLES = [euclidean, half_plane, sphere, cylinder]

# The relative errors of length and logarithm that 33 points must keep, for each degree.
ACCURACY = {1: (1e-2, 1e-1), 2: (1e-4, 1e-2), 4: (1e-6, 1e-4)}

# A new solver is one line: the solver, and its errors of length and of logarithm.
BOUNDARY_VALUES = {
    **{
        f"{model}, degree {degree}": (lf.EnergySolver(model=model, degree=degree), *errors)
        for model in ("newton", "gauss-newton", "georce")
        for degree, errors in ACCURACY.items()
    },
    "shooting": (lf.ShootingSolver(), 1e-8, 1e-6),
    "grid": (lf.EikonalSolver(41), 5e-2, None),
}

INITIAL_VALUES = {
    "adaptive": (lf.AdaptiveIVP(), 1e-8),
    "adaptive, loose": (lf.AdaptiveIVP(rtol=1e-5, atol=1e-5), 1e-4),
    "64 fixed steps": (lf.FixedStepIVP(64), 1e-6),
}


@pytest.fixture(scope="module", params=ORACLES, ids=lambda oracle: oracle.__name__)
def oracle(request):
    return request.param()


@pytest.mark.parametrize(
    ("solver", "of_length", "of_log"), BOUNDARY_VALUES.values(), ids=BOUNDARY_VALUES
)
def test_lengths_and_logarithms_are_those_of_the_closed_form(oracle, solver, of_length, of_log):
    metric, x, y, length, log = oracle
    if getattr(solver, "model", None) == "gauss-newton" and not metric.embeds:
        pytest.skip("the Gauss-Newton model is for metrics with an embedding")
    accuracy = max(of_length, 1e-6)
    paths = lf.geodesic(metric, x, y, solver=solver, num_points=33, accuracy=accuracy)
    assert relative(paths.length, length) < of_length
    if of_log is not None:
        assert bool(np.all(paths.converged))
        error = np.linalg.norm(np.asarray(paths.velocity) - log, axis=1)
        assert np.max(error / np.linalg.norm(log, axis=1)) < of_log


@pytest.mark.parametrize(("solver", "error"), INITIAL_VALUES.values(), ids=INITIAL_VALUES)
def test_the_exponential_of_the_exact_logarithm_is_the_end(oracle, solver, error):
    metric, x, y, _, log = oracle
    np.testing.assert_allclose(lf.exp(metric, x, log, solver=solver), y, rtol=0, atol=error)
