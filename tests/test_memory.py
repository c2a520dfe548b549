"""Memory stays flat over many calls, with new data of one shape and of new shapes."""

import gc
from pathlib import Path

import pytest

import landform as lf

STATUS = Path("/proc/self/status")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not STATUS.exists(), reason="resident memory is read from /proc"),
]


def resident() -> int:
    """Resident memory of this process in MiB."""
    gc.collect()
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) >> 10


def call(rng, n):
    """One cheap call that makes a metric and evaluates it at n points."""
    metric = lf.LocalVariance(rng.normal(size=(50, 2)), sigma=0.5, rho=1e-2)
    lf.metric_tensor(metric, rng.normal(size=(n, 2)))


def test_new_data_of_one_shape_leave_no_memory_behind(rng):
    for _ in range(200):
        call(rng, 100)
    before = resident()
    for _ in range(2000):
        call(rng, 100)
    assert resident() - before < 20


def test_new_shapes_leave_only_their_programs_behind(rng):
    for n in range(1, 51):
        call(rng, n)
    before = resident()
    for n in range(51, 251):
        call(rng, n)
    assert resident() - before < 60
