"""The user's settings of JAX, its threads and its processes."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import landform as lf
from landform._core.lanes import cores

BODY = """
import warnings
warnings.simplefilter("ignore")
import numpy as np, landform as lf
X = np.random.default_rng(0).normal(size=(30, 2))
metric = lf.LocalVariance(X, 0.5, 1e-2)
"""

PAIRS = "print(lf.geodesic(metric, X[:20], X[1:21]).length.tolist())\n"

FORK = """
import os
lf.metric_tensor(metric, X[0])
child = os.fork()
if child == 0:
    try:
        lf.distance(metric, X[0], X[1])
    except RuntimeError as error:
        os._exit(7 if 'get_context("spawn")' in str(error) else 8)
    os._exit(9)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

EARLY = """
import os
import landform as lf
child = os.fork()
if child == 0:
    os._exit(0 if float(lf.volume(lf.Euclidean(2), [0.0, 0.0])) == 1.0 else 9)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def run_alone(code: str, **env) -> subprocess.CompletedProcess:
    """`code` in a fresh process that shares the cache of compiled programs."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir)}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **cache, **env},
    )


@pytest.fixture
def cloud(rng):
    return rng.normal(size=(30, 2))


def settings():
    return {
        "strict dtypes": jax.numpy_dtype_promotion("strict"),
        "no rank promotion": jax.numpy_rank_promotion("raise"),
        "rank promotion warns": jax.numpy_rank_promotion("warn"),
        "no transfers": jax.transfer_guard("disallow"),
        "debug NaN": jax.debug_nans(True),
        "debug infinity": jax.debug_infs(True),
    }


@pytest.mark.parametrize("name", list(settings()))
def test_what_the_user_forbids_of_jax_changes_no_result(name, cloud):
    def results():
        metric = lf.LocalVariance(cloud, 0.5, 1e-2)
        mean = lf.frechet_mean(metric, cloud[:5])
        g = lf.geodesic(metric, cloud[:3], cloud[3:6], throw=False)
        d = lf.pairwise_distances(lf.Pullback(lambda z: z), cloud[:4])
        land = lf.fit_land(lf.Euclidean(2), cloud)
        return [np.asarray(a) for a in (mean, g.length, d, land.log_prob(cloud))]

    want = results()
    with settings()[name]:
        found = results()
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_inside_a_users_transformation_promotion_is_allowed_too(cloud):
    metric = lf.LocalVariance(cloud, 0.5, 1e-2)
    want = lf.metric_tensor(metric, cloud[0])
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        found = jax.jit(lambda x: lf.metric_tensor(metric, x))(cloud[0])
    np.testing.assert_allclose(found, want, rtol=1e-14)


def test_settings_of_the_environment_change_no_result():
    plain = run_alone(BODY + PAIRS)
    assert plain.returncode == 0, plain.stderr
    strict = {
        "JAX_NUMPY_DTYPE_PROMOTION": "strict",
        "JAX_NUMPY_RANK_PROMOTION": "raise",
        "JAX_TRANSFER_GUARD": "disallow",
        "JAX_DEBUG_NANS": "1",
        "JAX_DEBUG_INFS": "1",
        "LANDFORM_THREADS": "1",
    }
    found = run_alone(BODY + PAIRS, **strict)
    assert found.returncode == 0, found.stderr
    assert found.stdout == plain.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_process_forked_behind_the_threads_of_jax_is_told_so():
    assert run_alone(BODY + FORK).returncode == 7


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_process_forked_before_anything_is_computed_works():
    done = run_alone("import warnings; warnings.simplefilter('ignore')\n" + EARLY)
    assert done.returncode == 0, done.stderr


def test_threads_are_limited_by_the_environment(monkeypatch):
    monkeypatch.delenv("LANDFORM_THREADS", raising=False)
    there = cores()
    monkeypatch.setenv("LANDFORM_THREADS", "1")
    assert cores() == 1
    monkeypatch.setenv("LANDFORM_THREADS", "1000")
    assert cores() == there


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_a_limit_of_threads_that_is_none_is_refused(text, monkeypatch):
    monkeypatch.setenv("LANDFORM_THREADS", text)
    with pytest.raises(ValueError, match="LANDFORM_THREADS must be a positive integer"):
        cores()
