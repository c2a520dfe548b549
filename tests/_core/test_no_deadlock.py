"""Nothing waits for ever: entry points under a watchdog, on two cores and with four threads."""

import os
import subprocess
import sys
import textwrap

import pytest

_SECONDS = 400  # a child takes a tenth of it on an idle machine

_PAIRS = """
    import faulthandler, os, sys
    faulthandler.dump_traceback_later({seconds}, exit=True)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    import jax, numpy as np, landform as lf
    rng = np.random.default_rng(0)

    def cloud(d, n=300):
        data = rng.normal(size=(n, d))
        return data, lf.LocalVariance(data, sigma=1.5, rho=30.0)
"""

_LOGARITHMS = """
    for d in map(int, sys.argv[1:]):
        data, metric = cloud(d)
        near = data + 0.01 * rng.normal(size=data.shape)
        for _ in range(2):
            found = lf.log(metric, 0.5 * data[0], near, throw=False, accuracy=1e-4)
            assert np.isfinite(np.asarray(found)).any()
"""

_ENTRY_POINTS = """
    data, metric = cloud(5)
    few, key = data[:30], jax.random.key(0)
    found = lf.geodesic(metric, data, data[::-1], accuracy=1e-3, throw=False)
    assert found.converged.mean() > 0.9
    lf.distance(metric, data, data[::-1], accuracy=1e-3, throw=False)
    lf.exp(metric, data, 0.1 * data[::-1], throw=False)
    lf.parallel_transport(metric, lf.geodesic(metric, few, few[::-1], throw=False), few)
    lf.pairwise_distances(metric, few, accuracy=1e-3, throw=False)
    lf.pairwise_distances(metric, data, method="graph")
    lf.frechet_mean(metric, few, accuracy=1e-3)
    lf.brownian_motion(metric, data, key=key, time=0.1, num_steps=4)
    lf.metric_tensor(metric, data), lf.volume(metric, data), lf.scalar_curvature(metric, data)
    land = lf.fit_land(metric, few, max_iter=2, throw=False)
    land.log_prob(data, throw=False), land.sample(key, 8)
"""


def _run(script, *arguments, **environment):
    code = textwrap.dedent((_PAIRS + script).replace("{seconds}", str(_SECONDS)))
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=_SECONDS + 60,
        env=os.environ | environment,
    )


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no choice of processors")
@pytest.mark.parametrize("environment", [{}, {"PJRT_NPROC": "4"}], ids=["2 cores", "4 threads"])
@pytest.mark.parametrize(
    ("script", "arguments"),
    [(_LOGARITHMS, ("2", "3", "4", "5", "8", "12")), (_ENTRY_POINTS, ())],
    ids=["logarithms", "entry points"],
)
def test_more_pairs_than_a_chunk_holds_come_to_an_end(script, arguments, environment):
    done = _run(script, *arguments, **environment)
    assert done.returncode == 0, done.stderr[-2000:]
