"""What is compiled once: new data of one shape and new arrays in a metric need no new program."""

import jax
import numpy as np
import pytest

import landform as lf
from oracles import half_plane_points

TRACE = "/jax/core/compile/jaxpr_trace_duration"
COMPILE = "/jax/core/compile/backend_compile_duration"
FLAT = lf.Euclidean(2)


@pytest.fixture
def events():
    """The names of traces and compilations from now on, in a list that can be cleared."""
    seen = []

    def note(event, duration, **_):
        if event in (TRACE, COMPILE):
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    yield seen
    jax.monitoring.unregister_event_duration_listener(note)


class Draw:
    """Data of one shape, different for every seed."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.x, self.y = half_plane_points(rng, 6), half_plane_points(rng, 6)
        # So near that no curve is refined: which resolutions are needed depends on the data.
        self.plane = (1.0 + seed) * lf.PoincareHalfPlane()
        self.near = self.x * np.exp(rng.uniform(0.1, 0.3, size=(6, 1)))
        self.v, self.w = rng.normal(size=(2, 6, 2)) * 0.3
        self.curve = np.linspace(self.x[0], self.y[0], 9)
        self.metric = lf.LocalVariance(rng.normal(size=(12, 2)), 0.8 + 0.1 * seed, 1e-1)
        self.cloud = np.asarray(self.metric.data)
        self.many = rng.normal(size=(100, 2))
        self.key = jax.random.key(seed)
        self.noisy = lf.ExpectedPullback(_decode, _spread, landmarks=self.cloud)


def _decode(z):
    return jax.numpy.stack([z[0], z[1], z[0] * z[1]])


def _spread(z):
    return 0.1 + 0.01 * z[0] ** 2 * jax.numpy.ones(3)


ENTRY_POINTS = {
    "metric_tensor": lambda d: lf.metric_tensor(d.metric, d.x),
    "volume": lambda d: lf.volume(d.metric, d.x),
    "log_volume": lambda d: lf.log_volume(d.metric, d.x),
    "christoffel": lambda d: lf.christoffel(d.metric, d.x[0]),
    "riemann_curvature": lambda d: lf.riemann_curvature(d.metric, d.x),
    "scalar_curvature": lambda d: lf.scalar_curvature(d.metric, d.x),
    "gaussian_curvature": lambda d: lf.gaussian_curvature(d.metric, d.x),
    "sectional_curvature": lambda d: lf.sectional_curvature(d.metric, d.x, d.v, d.w),
    "curve_length": lambda d: lf.curve_length(d.metric, d.curve),
    "curve_energy": lambda d: lf.curve_energy(d.metric, d.curve),
    "exp": lambda d: lf.exp(d.metric, d.x, d.v),
    "exp, fixed steps": lambda d: lf.exp(d.metric, d.x, d.v, solver=lf.FixedStepIVP(8)),
    "geodesic_ivp": lambda d: lf.geodesic_ivp(d.metric, d.x, d.v),
    "geodesic": lambda d: lf.geodesic(d.plane, d.x, d.near),
    "log": lambda d: lf.log(d.plane, d.x, d.near),
    "distance": lambda d: lf.distance(d.plane, d.x, d.near),
    "shooting": lambda d: lf.distance(
        d.metric, d.cloud[:1], d.cloud[:1] + 0.1, solver=lf.ShootingSolver(), throw=False
    ),
    "pairwise_distances": lambda d: lf.pairwise_distances(d.metric, d.cloud[:4], throw=False),
    "pairwise_distances, graph": lambda d: lf.pairwise_distances(
        d.metric, d.cloud, method="graph", n_neighbors=4
    ),
    "jacobi_field": lambda d: lf.jacobi_field(d.metric, d.x, d.v, slope=d.w),
    "exp_differential": lambda d: lf.exp_differential(d.metric, d.x, d.v),
    "parallel_transport": lambda d: lf.parallel_transport(
        d.plane, lf.geodesic(d.plane, d.x, d.near), d.w
    ),
    "frechet_mean": lambda d: lf.frechet_mean(FLAT, d.cloud),
    "metric_variance": lambda d: lf.metric_variance(d.noisy, d.x),
    "expected_speed": lambda d: lf.expected_speed(d.noisy, d.x, d.v),
    "random_length": lambda d: lf.random_length(d.noisy, d.curve),
    "brownian_motion": lambda d: lf.brownian_motion(
        d.metric, d.x, key=d.key, time=0.1, num_steps=4
    ),
    "random_walk": lambda d: lf.random_walk(d.metric, d.x, key=d.key, time=0.1, num_steps=4),
    "auto_sigma": lambda d: lf.auto_sigma(d.many),
    "kmedoids": lambda d: lf.kmedoids(np.abs(d.x @ d.x.T) * (1 - np.eye(6)), 2),
}


@pytest.mark.parametrize("call", ENTRY_POINTS.values(), ids=ENTRY_POINTS)
def test_new_data_of_one_shape_compile_nothing(call, events):
    draws = [Draw(seed) for seed in range(2)]
    jax.block_until_ready(call(draws[0]))
    events.clear()
    jax.block_until_ready(call(draws[1]))
    assert not events, f"{events.count(TRACE)} traces and {events.count(COMPILE)} compilations"


def test_the_listener_sees_a_new_program(events):
    jax.block_until_ready(jax.jit(lambda x: x * 3.0)(np.ones(17)))
    assert TRACE in events
    assert COMPILE in events
