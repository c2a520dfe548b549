"""The examples of other generators, small: each keeps the promise of its first lines."""

import importlib.util
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, **options) -> dict[str, float]:
    """The numbers of an example, which the tests' path does not reach."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.run(**options)


def test_the_volume_of_a_flow_is_the_inverse_of_its_density():
    numbers = run("flow", per_class=50, steps=300, pairs=6)
    likelihood = "negative log-likelihood"
    assert numbers[f"{likelihood}, flow"] < numbers[f"{likelihood}, Gaussian"]
    assert numbers["largest |log volume - log p(z)/p(x)|"] < 1e-9
    assert numbers["geodesics of the pull-back converged"] >= 0.8
    assert numbers["largest error of a length"] < 1e-3  # those of a flat space


def test_a_gaussian_process_leaves_its_data_at_a_price():
    numbers = run("gaussian_process", per_class=30, pairs=8)
    assert numbers["closed form against samples, in errors"] < 4.5
    assert numbers["deviation far away"] > 3 * numbers["deviation at the codes"]
    assert numbers["volume far away, mean only"] < 1e-2 * numbers["volume far away"]
    assert numbers["geodesics converged"] >= 0.8
    assert numbers["straight over geodesic length, least"] > 1 - 1e-4


def test_an_autoencoder_and_its_ensemble_are_uncertain_off_the_data():
    numbers = run("autoencoder", per_class=60, steps=800, pairs=8, members=3)
    assert numbers["mean squared error of a pixel"] < 0.7 * numbers["variance of a pixel"]
    assert numbers["RBF deviation, off over on the data"] > 5
    assert numbers["ensemble deviation, off over on"] > 3
    for name in ("one decoder", "with RBF", "ensemble"):
        assert numbers[f"converged, {name}"] >= 0.8
        assert numbers[f"least straight over geodesic, {name}"] > 1 - 1e-3


def test_images_of_an_adversarial_generator_change_evenly_along_geodesics():
    numbers = run("gan", per_class=100, steps=1500, pairs=8)
    assert numbers["geodesics converged"] >= 0.7
    assert numbers["straight over geodesic length, least"] > 1 - 1e-3
    steps = "largest over mean step"
    assert numbers[f"{steps}, geodesic"] < 1.2 < numbers[f"{steps}, straight"]
    lowest = "lowest realism"
    assert numbers[f"{lowest}, careful geodesic"] > numbers[f"{lowest}, geodesic"]


@pytest.mark.torch
def test_a_convolutional_decoder_of_torch_finds_the_classes_of_digits():
    numbers = run("torch_conv_vae", per_class=80, epochs=60, points=24, grid=64)
    assert numbers["largest difference to torch, float32"] < 1e-4
    assert numbers["distances that failed"] <= 5
    assert numbers["straight over geodesic length, least"] > 1 - 1e-3
    assert numbers["F-measure, geodesic medoids"] > 0.7


@pytest.mark.torch
def test_an_attention_decoder_of_torch_is_the_same_in_jax():
    numbers = run("torch_attention", per_class=40, epochs=40, pairs=4)
    assert numbers["largest difference of values"] < 1e-12
    assert numbers["largest difference of Jacobians"] < 1e-11
    assert numbers["difference after saving"] == 0.0
    assert numbers["geodesics converged"] >= 0.6
    assert numbers["straight over geodesic length, least"] > 1 - 1e-3


def test_a_keras_decoder_is_brought_in_as_it_is(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip("keras")
    numbers = run("keras_decoder", epochs=40)
    assert numbers["largest difference from Keras"] < 1e-5
    assert numbers["weights as leaves"] == 6
    ratios = [value for name, value in numbers.items() if name.startswith("geodesic")]
    assert min(ratios) > 1 - 1e-4
