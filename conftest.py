"""Programs compile quickly; doctests run as a user would run them: JAX's 64-bit flag off."""

import importlib.metadata
import importlib.util
import os
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

# LLVM would take most of the tests' time to optimise programs that run once. XLA ends the process
# at a flag that it does not know, so they are for the version whose flags we have seen.
if importlib.metadata.version("jaxlib") == "0.10.1":
    os.environ.setdefault(
        "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    )

_NEEDS = {
    "torch": ["src/landform/interop/_from_torch/*.py", "tests/torch_*.py"],
}
collect_ignore_glob = [
    path
    for package, paths in _NEEDS.items()
    if importlib.util.find_spec(package) is None
    for path in paths
]


@pytest.fixture(autouse=True)
def _as_a_user_runs_it(request):
    """Doctests see JAX's default precision, whatever the tests in this process have asked for."""
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    import jax
    from jaxtyping import config

    config.update("jaxtyping_disable", True)  # a user's results may be NumPy's
    with jax.enable_x64(False):
        yield
    config.update("jaxtyping_disable", False)


_MOST_MAPS = 40_000  # regions of memory; Linux gives a process 65,530, and XLA ends it without one
_MAPS = Path("/proc/self/maps")


@pytest.fixture(autouse=True, scope="module")
def _room_for_programs():
    """Drop compiled programs between files where they are many: each holds several regions."""
    yield
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > _MOST_MAPS:
        import jax

        jax.clear_caches()
