"""float64 in, float64 out, in a fresh process with JAX's 64-bit flag off and with it on."""

import json
import os
import subprocess
import sys

import jax
import pytest

pytestmark = pytest.mark.float32

HALF_PLANE_DISTANCE = 0.9624236501192069  # arccosh(1 + 1/2), from (0, 1) to (1, 1)

SCRIPT = """
import json, sys
import numpy as np, jax, landform as lf

x, y, v = np.array([0.0, 1.0]), np.array([1.0, 1.0]), np.array([1.0, 0.0])
cloud = np.random.default_rng(0).normal(size=(30, 2))
many = np.random.default_rng(1).normal(size=(200, 2))
metric = lf.PoincareHalfPlane()
local = lf.LocalVariance(cloud, sigma=0.5, rho=1e-2)
chain = lambda z: jax.numpy.stack([z[0], z[1], z[0] * z[1]])
results = {
    "metric_tensor": lf.metric_tensor(metric, x),
    "metric_tensor of a point cloud": lf.metric_tensor(local, x),
    "metric_tensor of a pull-back": lf.metric_tensor(lf.Pullback(chain), x),
    "metric_tensor of a list": lf.metric_tensor(metric, [0.0, 1.0]),
    "metric_tensor of integers": lf.metric_tensor(metric, np.array([0, 1])),
    "volume": lf.volume(local, cloud),
    "log_volume": lf.log_volume(local, cloud),
    "christoffel": lf.christoffel(metric, x),
    "exp": lf.exp(metric, x, v),
    "log": lf.log(metric, x, y),
    "distance": lf.distance(metric, x, y),
    "distance over a point cloud": lf.distance(local, cloud[0], cloud[1]),
    "points": lf.geodesic(metric, x, y).points,
    "length": lf.geodesic(metric, x, y).length,
    "pairwise_distances": lf.pairwise_distances(metric, np.stack([x, y])),
    "exact_distance": metric.exact_distance(x, y),
    "exact_exp": metric.exact_exp(x, v),
    # Arithmetic on a result's own numbers, which must not warn of truncation.
    "kmedoids": lf.kmedoids(np.ones((3, 3)) - np.eye(3), 2).inertia + 1.0,
    "frechet_mean": lf.frechet_mean(lf.Euclidean(2), cloud) + 1.0,
}
count = 1 + lf.geodesic_kmedoids(lf.Euclidean(2), cloud, 2).n_failed
single = lf.metric_tensor(metric, x.astype(np.float32))
few = cloud.astype(np.float32)
narrow = lf.geodesic(lf.LocalVariance(few, sigma=0.5, rho=1e-2), few[:5], few[5:10])
inside = jax.jit(lambda p: lf.metric_tensor(metric, p))(jax.numpy.asarray([0.0, 1.0]))
json.dump(
    {
        "flag": bool(jax.config.jax_enable_x64),
        "types": {name: str(value.dtype) for name, value in results.items()},
        "distance": float(results["distance"]),
        "exact": float(results["exact_distance"]),
        "single": str(single.dtype),
        "inside": str(inside.dtype),
        # Far from the origin, where single precision has two digits of the distances.
        "sigmas": [lf.auto_sigma(many), lf.auto_sigma(many + 1e5)],
        "narrow": [bool(narrow.converged.all()), float(narrow.length[0])],
        "wide": float(lf.distance(local, cloud[0], cloud[5])),
    },
    sys.stdout,
)
"""


@pytest.fixture(scope="module", params=["0", "1"], ids=["flag off", "flag on"])
def report(request, tmp_path_factory):
    """What a fresh process says of its results."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        capture_output=True,
        text=True,
        cwd=tmp_path_factory.mktemp("precision"),
        env={
            **os.environ,
            "JAX_ENABLE_X64": request.param,
            "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),
            "JAX_COMPILATION_CACHE_MAX_SIZE": str(jax.config.jax_compilation_cache_max_size),
        },
    )
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert report["flag"] == (request.param == "1")
    return report


def test_doubles_stay_doubles(report):
    assert {n: t for n, t in report["types"].items() if t != "float64"} == {}


def test_the_digits_are_those_of_doubles(report):
    assert report["exact"] == pytest.approx(HALF_PLANE_DISTANCE, rel=1e-14)
    assert report["distance"] == pytest.approx(HALF_PLANE_DISTANCE, rel=1e-8)


def test_a_bandwidth_has_the_digits_of_doubles(report):
    here, there = report["sigmas"]
    assert there == pytest.approx(here, rel=1e-9)


def test_singles_are_not_made_doubles(report):
    assert report["single"] == "float32"


def test_inside_a_users_jit_the_ambient_precision_rules(report):
    assert report["inside"] == ("float64" if report["flag"] else "float32")


def test_single_precision_starts_from_the_routes_of_the_data_and_agrees(report):
    converged, length = report["narrow"]
    assert converged
    assert length == pytest.approx(report["wide"], rel=1e-4)
