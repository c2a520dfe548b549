"""Interpolation, walks and distributions of Latent Space Oddity, on a small scale."""

import json

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from experiments import (
    oddity_interpolation as interpolation,
    oddity_land as distributions,
    oddity_walk as walking,
)
from experiments.commands import program
from experiments.oddity import load_images
from experiments.oddity_generator import GeneratorSettings, over, train_generator
from experiments.oddity_interpolation import (
    InterpolationSettings,
    autocorrelation,
    interpolate,
    run_interpolation,
)
from experiments.oddity_land import LandSettings, run_land
from experiments.oddity_walk import WalkSettings, frames_of, run_walk, visited, walk_all
from landform import cli
from landform.demo.model import generator_of
from landform.models.vae import PrecisionStd

SMALL = GeneratorSettings(
    training=lf.Training(hidden=(16,), epochs=12, num_centers=12, bandwidth_scale=1.0),
    table_size=32,
)


def silent(text):
    pass


@pytest.fixture(scope="module")
def generator():
    """A small generator of scikit-learn's digits 0 and 1."""
    images = load_images("digits", classes=(0, 1), per_class=60)
    return train_generator(images, SMALL, 0), images


def test_the_autocorrelation_of_known_sequences(rng):
    still = np.repeat(rng.standard_normal((1, 1, 9)), 6, axis=1)
    np.testing.assert_allclose(autocorrelation(still, 3), np.ones((1, 4)))
    one, other = np.array([1.0, -1.0, 0.0]), np.array([1.0, 1.0, -2.0])
    jump = np.stack([one, one, other, other])[None]
    np.testing.assert_allclose(autocorrelation(jump, 9)[0], [1.0, 2 / 3, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(autocorrelation(3.0 * jump + 5.0, 2), autocorrelation(jump, 2))


def test_mean_and_deviation_over_seeds():
    found = over([{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 2.0}])
    assert found["a"] == {"mean": 2.0, "sd": pytest.approx(np.sqrt(2.0))}
    assert found["b"]["sd"] == 0.0
    assert over([{"a": 1.0}])["a"] == {"mean": 1.0, "sd": 0.0}


def test_the_support_by_both_measures(generator):
    found, _ = generator
    assert found.certain(found.codes).mean() == pytest.approx(0.95, abs=0.01)
    assert found.support(found.codes).all()
    far = found.codes.mean(axis=0) + np.array([[60.0, 0.0], [0.0, -60.0]])
    assert not found.certain(far).any()
    assert not found.support(far).any()
    np.testing.assert_allclose(
        found.deviation(found.codes), np.asarray(found.metric.deviation(found.codes))
    )


def test_interpolation_is_of_equal_frames_at_constant_speed(generator):
    found, _ = generator
    settings = InterpolationSettings(pairs=8, frames=33, nodes=65, lags=5)
    numbers, arrays = interpolate(found, settings, 0)
    curved, straight = (arrays["paths"][kind] for kind in interpolation.KINDS)
    assert curved.shape == straight.shape == (8, 33, 2)
    np.testing.assert_allclose(curved[:, [0, -1]], straight[:, [0, -1]], atol=1e-12)
    steps = np.linalg.norm(np.diff(straight, axis=1), axis=2)
    np.testing.assert_allclose(steps, steps[:, :1] * np.ones((1, 32)), rtol=1e-9)
    seen = arrays["seen"]
    shorter = seen["riemannian"]["length"] <= seen["euclidean"]["length"] * 1.01
    assert arrays["converged"].sum() >= 4  # of this rough table's; others may be anything
    assert shorter[arrays["converged"]].all()
    images = np.asarray(found.vae.decode(straight[2])).reshape(33, -1)
    jumps = np.linalg.norm(np.diff(images, axis=0), axis=1)
    assert seen["euclidean"]["jump"][2] == pytest.approx(jumps.max())
    assert seen["euclidean"]["by_frames"][2] == pytest.approx(found.deviation(straight[2]).mean())
    ratio = seen["riemannian"]["jump"] / seen["euclidean"]["jump"]
    assert numbers["jump_at_most_half"] == np.mean(ratio <= 0.5)
    assert numbers["jump_ratio_median"] == pytest.approx(np.median(ratio))
    sure = seen["riemannian"]["by_length"] / seen["euclidean"]["by_length"]
    assert numbers["at_most_2_percent_less_sure"] == np.mean(sure < 1.02)


def test_curves_of_a_generator_with_one_ridge_are_surer_than_lines():
    """Codes on three quarters of a ring: lines cross the hole, geodesics do not."""
    angle = np.linspace(0.0, 1.5 * np.pi, 60)
    codes = 3.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    rbf = lf.RBFPrecision(codes, 2.0, np.full((2, 60), 400.0), max_std=5.0)
    exact = lf.VAE(Same(), Plain(), PrecisionStd(rbf), jnp.asarray(codes), None, (2,), "gaussian")  # type: ignore[arg-type]
    found = generator_of(exact, np.asarray(exact.encode(codes)), 128)
    settings = InterpolationSettings(pairs=20, frames=65, nodes=129, lags=5)
    numbers, _ = interpolate(found, settings, 0)
    assert numbers["lower_std_by_length"] >= 0.9
    assert numbers["std_by_length_riemannian"] < 0.5 * numbers["std_by_length_euclidean"]


class Same(eqx.Module):
    """An encoder that changes nothing."""

    def __call__(self, x):
        return x, jnp.ones_like(x)


class Plain(eqx.Module):
    """A mean that changes nothing."""

    def __call__(self, z):
        return z


def test_walks_under_the_metric_stay_and_share_their_noise(generator):
    found, _ = generator
    settings = WalkSettings(walks=3, steps=300, substeps=2)
    numbers, arrays = walk_all(found, settings, 0)
    assert arrays["brownian"].shape == (3, 300, 2)
    assert numbers["in_support_brownian"] > numbers["in_support_euclidean"]
    assert numbers["in_support_driftless"] > numbers["in_support_euclidean"]
    again, same = walk_all(found, settings, 0)
    assert again == numbers
    steps = np.diff(same["euclidean"], axis=1)
    expected = numbers["radius"] / np.sqrt(2 * 300)
    assert np.sqrt(np.mean(steps**2)) == pytest.approx(expected, rel=0.1)


def test_the_share_of_codes_that_walks_come_to():
    codes = np.array([[0.0, 0.0], [1.0, 0.0], [9.0, 0.0], [9.0, 9.0]])
    paths = np.array([[[0.1, 0.0], [0.9, 0.0]], [[9.0, 0.2], [30.0, 0.0]]])
    assert visited(codes, paths, 0.5) == pytest.approx((0.5 + 0.25) / 2)


def test_frames_are_found_or_replaced_by_digits(monkeypatch, tmp_path):
    monkeypatch.setenv("LANDFORM_DATA", str(tmp_path))
    assert frames_of(None, 0).name == "digits"
    np.savez(tmp_path / "mocap35_frames.npz", X=np.zeros((4, 8, 8), np.uint8), y=np.zeros(4))
    assert frames_of(None, 0).name == "mocap-frames"
    assert frames_of("digits", 0).name == "digits"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "small", "settings", "keys"),
    [
        (
            run_interpolation,
            interpolation.quick,
            InterpolationSettings(data="digits"),
            ("map", "std", "jump", "strips", "correlation"),
        ),
        (
            run_land,
            distributions.quick,
            LandSettings(data="digits"),
            ("densities", "groups", "samples"),
        ),
        (
            run_walk,
            walking.quick,
            WalkSettings(data="digits"),
            ("walks", "strips", "drift", "deviation"),
        ),
    ],
    ids=["interpolation", "land", "walk"],
)
def test_the_experiment_writes_what_it_found(run, small, settings, keys, tmp_path):
    results = run(small(settings), tmp_path, progress=silent)
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["results"]["summary"] == results["summary"]
    page = (tmp_path / "index.html").read_text()
    for key in keys:
        assert (tmp_path / f"{key}.png").read_bytes().startswith(b"\x89PNG")
        assert f'id="{key}"' in page


def test_unknown_networks_and_points_without_pixels_are_refused(tmp_path, rng, capsys):
    assert cli.run(["oddity-interpolation", "--network", "deep"], program) == 2
    assert capsys.readouterr().err.startswith("experiments: --network must be")
    path = tmp_path / "points.npz"
    np.savez(path, X=rng.random((40, 5)))
    with pytest.raises(ValueError, match="images for a convolutional"):
        run_walk(WalkSettings(data=str(path), seeds=(0,)), tmp_path / "out", progress=silent)
    with pytest.raises(ValueError, match="two classes"):
        run_land(LandSettings(data=str(path), classes=None), tmp_path / "out", progress=silent)
