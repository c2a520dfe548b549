"""Decoders that fade off their data: limits, smoothness, and what it does to geodesics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf

ANGLES = np.linspace(0.2, 2 * np.pi - 0.2, 60)
CODES = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


def logits(z):
    return 3.0 * jnp.array([z[0], z[1], z[0] * z[1], 1.0])


@pytest.fixture(scope="module")
def faded():
    return lf.BlendedDecoder.from_codes(
        logits, CODES, key=jax.random.key(0), num_centers=30, threshold=1e-3
    )


def test_the_output_is_the_decoder_on_the_data_and_far_away_the_given_one(faded):
    near = np.asarray(jax.vmap(faded)(jnp.asarray(CODES)))
    np.testing.assert_allclose(near, jax.vmap(logits)(jnp.asarray(CODES)), rtol=2e-3)
    np.testing.assert_array_equal(faded([30.0, 0.0]), 0.0)


def test_the_blend_is_its_definition(faded):
    z = np.array([0.7, 0.2])
    squares = np.sum((np.asarray(faded.centers) - z) ** 2, axis=1)
    total = np.sum(np.exp(-np.asarray(faded.bandwidths) * squares))
    weight = total / (total + 1e-3)
    np.testing.assert_allclose(faded(z), weight * logits(z), rtol=1e-12)


@pytest.mark.slow
def test_geodesics_of_a_faded_generator_stay_with_the_data(faded):
    metric = lf.FisherRaoPullback(faded, "bernoulli-logits", landmarks=CODES)
    plain = lf.FisherRaoPullback(logits, "bernoulli-logits", landmarks=CODES)
    least = []
    for each in (metric, plain):
        path = lf.geodesic(each, CODES[5], CODES[30])
        assert path.converged
        least.append(float(jax.vmap(faded.weight)(path.points).min()))
    assert least[0] > 0.5  # around the hole
    assert least[1] < 1e-6  # through it
    far = lf.volume(metric, [30.0, 0.0])
    assert np.isnan(far) or far < 1e-12  # a constant output has no information


def test_each_output_may_have_its_own_limit():
    both = lf.BlendedDecoder(
        lambda z: (z, jnp.exp(z)), [[0.0, 0.0]], 0.5, far=(0.0, np.array([5.0, 6.0]))
    )
    mean, std = both([50.0, 0.0])
    np.testing.assert_array_equal(mean, 0.0)
    np.testing.assert_array_equal(std, [5.0, 6.0])


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: lf.BlendedDecoder(3, CODES, 1.0), TypeError, "decoder must be a callable"),
        (lambda: lf.BlendedDecoder(logits, CODES, 0.0), ValueError, "bandwidths must be positive"),
        (
            lambda: lf.BlendedDecoder(logits, CODES, [1.0]),
            ValueError,
            "bandwidths must be a number or have shape",
        ),
        (
            lambda: lf.BlendedDecoder(logits, CODES, 1.0, threshold=0.0),
            ValueError,
            "threshold must be positive",
        ),
        (
            lambda: lf.BlendedDecoder(logits, CODES, 1.0, far=(0.0, 1.0))([0.0, 0.0]),
            ValueError,
            "far must be a number",
        ),
        (
            lambda: lf.BlendedDecoder(logits, CODES, 1.0, far=np.zeros((2, 4)))([0.0, 0.0]),
            ValueError,
            r"far must broadcast to the output of shape \(4,\)",
        ),
        (lambda: lf.BlendedDecoder(logits, CODES, 1.0, far=np.nan), ValueError, "far has 1 NaN"),
        (lambda: lf.BlendedDecoder(logits, CODES, np.inf), ValueError, "bandwidths has 1 NaN"),
        (
            lambda: lf.BlendedDecoder(logits, CODES, 1.0)([0.5]),
            ValueError,
            r"z must be one point of shape \(2,\), got \(1,\)",
        ),
    ],
)
def test_bad_input_is_named(build, error, words):
    with pytest.raises(error, match=words):
        build()


def test_it_can_be_built_inside_jit():
    @jax.jit
    def at(bandwidth, z):
        return lf.BlendedDecoder(logits, CODES, bandwidth)(z)

    z = jnp.array([0.7, 0.2])
    np.testing.assert_allclose(at(2.0, z), lf.BlendedDecoder(logits, CODES, 2.0)(z), rtol=1e-12)
