"""One small model that the tests of training share."""

import jax
import pytest

import landform as lf


@pytest.fixture(scope="session")
def digits():
    return lf.datasets.load("digits", classes=(0, 1, 2), per_class=100).X


@pytest.fixture(scope="session")
def small():
    """Options of a training that takes a second."""
    return {"hidden": (16,), "epochs": 12, "num_centers": 12, "warmup": 2}


@pytest.fixture(scope="session")
def vae(digits, small):
    return lf.train_vae(digits, 2, key=jax.random.key(0), **small)
