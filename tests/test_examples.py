"""The worked examples, small: they run, and their numbers make sense."""

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name: str):
    """An example's module, which the tests' path does not reach."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.heavy
@pytest.mark.data
@pytest.mark.slow
def test_a_categorical_decoder_of_proteins_has_a_geometry():
    numbers = example("proteins").run(epochs=60, pairs=12)
    assert numbers["held-out bound, bits a column"] < numbers["column frequencies, bits"] - 0.1
    assert numbers["error of the table"] < 0.05
    assert numbers["geodesics converged"] > 0.9  # a failure is reported, and left out
    assert numbers["straight over geodesic length"] >= 1.0
    assert numbers["3-NN specificity, geodesic"] > 0.6  # five classes of about one size


@pytest.mark.heavy
@pytest.mark.slow
def test_a_bernoulli_decoder_of_digits_finds_their_classes():
    numbers = example("bernoulli_vae").run(per_class=80, epochs=60, seeds=2, points=30, pairs=20)
    assert numbers["F-measure, geodesic medoids"] > 0.8
    assert numbers["share of pairs that failed"] < 0.05
    assert 0.0 < numbers["variation over seeds, geodesic"] < 0.5
