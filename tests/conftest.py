"""What all tests share: double precision, fixed seeds, and the reasons for skipping a test."""

import importlib.util
import os
from pathlib import Path

import hypothesis
import jax
import numpy as np
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)

# Annotated shapes are checked at every call, which costs nothing inside a compiled program. Models
# and decoders of `interop` are left out: they refuse points of a wrong shape in their own words. So
# are `precise` and the fits that warn: a check adds frames, and warnings count them to the user's.
CHECKED = (
    "_core.checks _core.compilation _core.lanes _core.linalg _core.quadrature geodesics io metrics "
    "plotting sklearn solvers stats.brownian stats.clustering stats.land.density stats.land.em "
    "stats.land.normalizer stats.land.objective stats.land.rays"
)
install_import_hook([f"landform.{name}" for name in CHECKED.split()], "shapes.checked")

hypothesis.settings.register_profile(
    "fixed", derandomize=True, database=None, deadline=None, max_examples=25
)
hypothesis.settings.load_profile("fixed")

DATA = os.environ.get("LANDFORM_DATA")


CACHE_BYTES = 1 << 32  # a bound makes JAX lock the folder, so that workers can share it


def pytest_configure(config):
    """Keep compiled programs for all workers and for the next run."""
    folder = config.rootpath / ".cache" / "jax"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def pytest_collection_modifyitems(items):
    """Skip what this machine cannot run, and say why."""
    absent = {}
    if importlib.util.find_spec("torch") is None:
        absent["torch"] = "torch is not installed: pip install 'landform[torch]'"
    if DATA is None:
        absent["data"] = "LANDFORM_DATA does not name the folder with the data sets"
    elif not Path(DATA).is_dir():
        absent["data"] = f"LANDFORM_DATA names {DATA}, which is not a folder"
    for item in items:
        for marker, reason in absent.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def rng() -> np.random.Generator:
    """A NumPy generator with a fixed seed, new for each test."""
    return np.random.default_rng(0)


@pytest.fixture
def key() -> jax.Array:
    """A JAX key with a fixed seed."""
    return jax.random.key(0)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with the data sets; only for tests marked `data`."""
    if DATA is None:
        pytest.skip("LANDFORM_DATA does not name the folder with the data sets")
    return Path(DATA)
