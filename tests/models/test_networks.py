"""Networks: smooth, of any image size, and saved by names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landform._core.checks import check_key
from landform.models import MLP, ConvDown, ConvUp
from landform.models.networks import SMOOTH, check_activation, down, up


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "ELU", "selu", "hard-tanh", "softsign"])
def test_kinked_activations_are_refused_with_the_reason(name):
    with pytest.raises(ValueError, match="activation must be twice differentiable"):
        check_activation("activation", name)


def test_unknown_activations_and_functions_are_refused():
    with pytest.raises(ValueError, match="activation must be one of tanh"):
        check_activation("activation", "swoosh")
    with pytest.raises(TypeError, match="activation must be the name"):
        check_activation("activation", jnp.tanh)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_second_derivative_of_every_activation_is_continuous(name):
    second = jax.vmap(jax.grad(jax.grad(SMOOTH[name])))
    x = jnp.linspace(-4.0, 4.0, 8001)
    assert float(jnp.max(jnp.abs(jnp.diff(second(x))))) < 3e-3


def test_a_network_without_hidden_layers_is_affine(key):
    net = MLP(key, (3, 2))
    x, y = jnp.array([1.0, -2.0, 0.5]), jnp.array([0.3, 0.1, 4.0])
    np.testing.assert_allclose(net(x + y), net(x) + net(y), atol=1e-12)
    assert len(net.weights) == 1


def test_transposed_convolution_is_the_adjoint_of_the_convolution(rng):
    for height, width in ((6, 6), (7, 5), (1, 4)):
        image = rng.standard_normal((2, height, width))
        weight = rng.standard_normal((3, 2, 4, 4))
        small = down(weight, image)
        other = rng.standard_normal(small.shape)
        mirrored = np.flip(np.swapaxes(weight, 0, 1), axis=(2, 3))
        np.testing.assert_allclose(
            jnp.sum(small * other), jnp.sum(image * up(mirrored, other, (height, width)))
        )


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
def test_the_convolution_is_that_of_xla_for_every_size(rng, kernel):
    weight = rng.standard_normal((3, 2, kernel, kernel))
    for size in ((8, 6), (7, 5), (1, 4)):
        image = rng.standard_normal((2, *size))
        pads = []
        for large in size:
            total = max(2 * (-(-large // 2) - 1) + kernel - large, 0)
            pads.append((total // 2, total - total // 2))
        expected = jax.lax.conv_general_dilated(
            jnp.asarray(image)[None], jnp.asarray(weight), (2, 2), pads
        )[0]
        np.testing.assert_allclose(down(weight, image), expected, atol=1e-12)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
def test_transposed_convolution_is_the_convolution_of_the_image_with_zeros_between(rng, kernel):
    weight = rng.standard_normal((3, 2, kernel, kernel))
    for size in ((8, 6), (7, 6), (7, 5)):
        image = rng.standard_normal((2, *(-(-s // 2) for s in size)))
        pads = []
        for small, large in zip(image.shape[1:], size, strict=True):
            total = large - (2 * small - 1) + kernel - 1
            pads.append((total - total // 2, total // 2))
        expected = jax.lax.conv_general_dilated(
            jnp.asarray(image)[None], jnp.asarray(weight), (1, 1), pads, lhs_dilation=(2, 2)
        )[0]
        np.testing.assert_allclose(up(weight, image, size), expected, atol=1e-12)


def test_convolutional_networks_take_images_of_any_size(key):
    for shape in ((8, 8, 1), (7, 5, 3), (3, 9, 1)):
        size = int(np.prod(shape))
        assert ConvDown(key, shape, (2, 3), 4)(jnp.ones(size)).shape == (4,)
        assert ConvUp(key, 2, (3, 2), shape)(jnp.ones(2)).shape == (size,)


def test_the_weights_are_a_function_of_the_key(key):
    one, same, other = MLP(key, (3, 4)), MLP(key, (3, 4)), MLP(jax.random.key(1), (3, 4))
    assert (one.weights[0] == same.weights[0]).all()
    assert not (one.weights[0] == other.weights[0]).any()


@pytest.mark.parametrize("bad", [0, None, "seed", np.zeros(2)])
def test_what_is_not_a_key_is_refused(bad):
    with pytest.raises(TypeError, match="key must be one JAX key"):
        check_key(bad)


def test_keys_of_the_old_style_are_accepted():
    old = jax.random.PRNGKey(3)
    np.testing.assert_array_equal(
        MLP(old, (2, 2)).weights[0], MLP(jax.random.key(3), (2, 2)).weights[0]
    )
