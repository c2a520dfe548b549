"""Decoders written in JAX: shapes, parameters, batches and refusals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf

W = np.arange(6.0).reshape(2, 3)


def test_a_function_of_one_point_is_taken_as_it_is():
    decoder = lf.from_callable(lambda z: jnp.sin(z) @ W, np.zeros((1, 2)))
    z = np.array([0.2, -0.4])
    np.testing.assert_allclose(decoder(z), np.sin(z) @ W, atol=1e-15)
    np.testing.assert_allclose(jax.jacfwd(decoder)(jnp.asarray(z)), W.T * np.cos(z), atol=1e-15)


def test_a_function_of_batches_gets_a_batch_of_one():
    def normalised_rows(z):
        assert z.ndim == 2
        return (z / jnp.linalg.norm(z, axis=1, keepdims=True)) @ W

    decoder = lf.from_callable(normalised_rows, np.ones((4, 2)), batched=True)
    np.testing.assert_allclose(decoder([3.0, 4.0]), np.array([0.6, 0.8]) @ W, atol=1e-15)


def test_params_come_first_and_are_leaves():
    decoder = lf.from_callable(
        lambda p, z: z @ p["w"] + p["b"], W[:, :2], params={"w": W, "b": 1.0}
    )
    gradient = eqx.filter_grad(lambda d: d(jnp.array([1.0, 2.0])).sum())(decoder)
    leaves = jax.tree.leaves(gradient)
    assert [leaf.shape for leaf in leaves] == [(2, 3)]
    np.testing.assert_allclose(leaves[0], [[1.0] * 3, [2.0] * 3])


def test_an_equinox_module_keeps_its_weights_as_leaves():
    net = eqx.nn.MLP(2, 5, 8, 2, activation=jnp.tanh, key=jax.random.key(0))
    decoder = lf.from_callable(net, np.zeros((1, 2)))
    z = jnp.array([0.3, 0.1])
    np.testing.assert_allclose(jax.jit(lambda d, x: d(x))(decoder, z), net(z), rtol=1e-6)
    assert len(jax.tree.leaves(decoder)) == len(jax.tree.leaves(eqx.filter(net, eqx.is_array)))
    np.testing.assert_allclose(decoder.function(z), net(z), rtol=1e-6)


def test_images_are_flattened_and_heads_kept_apart():
    decoder = lf.from_callable(
        lambda z: {"mean": jnp.outer(z, z), "std": jnp.exp(z), "none": None}, np.zeros((3, 2))
    )
    mean, std = decoder(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(mean, [1.0, 2.0, 2.0, 4.0])
    np.testing.assert_allclose(std, np.exp([1.0, 2.0]))


def test_latent_points_may_have_any_shape():
    decoder = lf.from_callable(lambda z: z.sum((1, 2)), np.zeros((5, 4, 1, 1)))
    assert decoder.latent_dim == 4
    np.testing.assert_array_equal(decoder(np.arange(4.0)), np.arange(4.0))


def test_a_metric_of_a_decoder_is_its_pull_back():
    decoder = lf.from_callable(lambda z: z @ W, np.zeros((1, 2)))
    np.testing.assert_allclose(
        lf.metric_tensor(lf.Pullback(decoder), np.ones(2)), W @ W.T, atol=1e-12
    )


def test_double_precision_points_stay_so():
    decoder = lf.from_callable(lambda z: z * 2, np.zeros((1, 2), "float32"))
    assert decoder(np.ones(2)).dtype == np.float64
    assert decoder(np.ones(2, "float32")).dtype == np.float32


@pytest.mark.parametrize(
    ("function", "example", "settings", "error", "message"),
    [
        (3, np.zeros((1, 2)), {}, TypeError, "must be a callable"),
        (lambda z: z, np.zeros(2), {}, ValueError, "must be a batch"),
        (lambda z: z, np.zeros((0, 2)), {}, ValueError, "must be a batch"),
        (lambda z: z, "points", {}, TypeError, "array of real numbers"),
        (lambda z: z @ W, np.zeros((1, 3)), {}, ValueError, "does not accept"),
        (lambda z: z[:, 0], np.zeros((1, 3)), {}, ValueError, "batched=True"),
        (lambda z: z[0] @ W, np.zeros((1, 2)), {"batched": True}, ValueError, "no batch axis"),
        (lambda z: jnp.argmax(z), np.zeros((1, 2)), {}, TypeError, "real floats"),
        (lambda z: None, np.zeros((1, 2)), {}, TypeError, "no array"),
        (lambda z: float(z[0]), np.zeros((1, 2)), {}, ValueError, "does not accept"),
    ],
)
def test_bad_arguments_are_refused_with_what_to_do(function, example, settings, error, message):
    with pytest.raises(error, match=message):
        lf.from_callable(function, example, **settings)


def test_several_points_at_once_are_refused():
    decoder = lf.from_callable(lambda z: z, np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"jax\.vmap"):
        decoder(np.zeros((3, 2)))


def test_a_point_may_be_a_list_of_numbers_or_tracers_but_not_of_texts():
    decoder = lf.from_callable(lambda z: z @ W, np.zeros((1, 2)))
    np.testing.assert_array_equal(decoder([1, 0]), W[0])
    np.testing.assert_array_equal(jax.jit(lambda x: decoder([x, 0.0]))(2.0), 2.0 * W[0])
    with pytest.raises(TypeError, match="z must be an array of real numbers"):
        decoder(["a", "b"])


@pytest.mark.parametrize("dtype", [jnp.uint8, bool, int])
def test_outputs_without_a_derivative_are_refused_with_the_way_out(dtype):
    with pytest.raises(TypeError, match="integers and booleans have no derivative"):
        lf.from_callable(lambda z: (255 * z).astype(dtype), np.zeros((1, 2)))


def test_flax_models_are_taken_with_their_variables():
    linen = pytest.importorskip("flax.linen")
    net = linen.Dense(4)
    variables = net.init(jax.random.key(0), jnp.zeros((1, 2)))
    decoder = lf.from_callable(net.apply, np.zeros((1, 2)), params=variables, batched=True)
    kernel = variables["params"]["kernel"]
    np.testing.assert_allclose(jax.jacfwd(decoder)(jnp.zeros(2)), kernel.T, rtol=1e-6)


def test_a_keras_model_brings_its_weights(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    layers = [keras.layers.Input((2,)), keras.layers.Dense(6, activation="tanh")]
    layers += [keras.layers.BatchNormalization(), keras.layers.Dropout(0.5), keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    decoder = lf.from_callable(model, np.zeros((1, 2)), batched=True)
    assert len(jax.tree.leaves(decoder)) >= 8
    z = np.array([[0.3, -0.7]], "float32")
    np.testing.assert_allclose(decoder(z[0]), model(z, training=False)[0], atol=1e-6)


def test_a_keras_model_on_another_backend_is_refused():
    class Variable:
        value = np.zeros(2)

    class Model:
        trainable_variables, non_trainable_variables, built = (Variable(),), (), True

        def stateless_call(self):
            raise AssertionError

        __call__ = stateless_call

    with pytest.raises(TypeError, match="KERAS_BACKEND=jax"):
        lf.from_callable(Model(), np.zeros((1, 2)), batched=True)


def test_a_bound_linen_module_brings_its_variables():
    linen = pytest.importorskip("flax.linen")
    model = linen.Dense(3)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 2)))
    decoder = lf.from_callable(model.bind(variables), np.zeros((1, 2)), batched=True)
    assert len(jax.tree.leaves(decoder)) == 2
    z = jnp.array([0.3, -0.7])
    np.testing.assert_allclose(decoder(z), model.apply(variables, z), atol=1e-6)
