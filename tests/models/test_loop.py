"""The training loop: the held-out bound in little memory, early stopping, divergence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform.models.loop import _held_out, fit
from landform.models.networks import ConvDown, ConvUp
from landform.models.vae import VAE, ConstantStd, Encoder, MeanDecoder


def _parabola(params, frame, batch, noise):
    target = jnp.mean(batch)
    return -((params - target) ** 2) + 0.0 * jnp.sum(noise), jnp.zeros(())


def _squares(params, frame, batch, noise):
    sums = (params * batch[:, None, :] + frame * noise[:, :, None]) ** 2
    return -jnp.mean(jnp.sum(sums, axis=(1, 2))), jnp.mean(noise**2)


def test_the_bound_of_many_held_out_rows_is_their_mean_in_little_memory(rng):
    data, noise = rng.normal(size=(300, 4000)), rng.normal(size=(8, 300, 2))
    params, frame = jnp.asarray(0.5), jnp.asarray(2.0)
    draws = [float(np.subtract(*_squares(params, frame, data, draw))) for draw in noise]
    found = _held_out(params, _squares, frame, data, noise)
    assert float(found) == pytest.approx(np.mean(draws), rel=1e-12)
    program = jax.make_jaxpr(lambda *a: _held_out(params, _squares, frame, *a))(data, noise)
    assert largest(program.jaxpr) <= 2 * data.size  # of 16 with all at once


def largest(program) -> int:
    """The most numbers in an intermediate result of a program."""
    sizes = [0]
    for equation in program.eqns:
        sizes += [v.aval.size for v in equation.outvars]
        inner = jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns")
        )
        sizes += [
            largest(one.jaxpr if hasattr(one, "jaxpr") else one)
            for one in inner
            if hasattr(one, "eqns")
        ]
    return max(sizes)


def test_many_images_are_encoded_and_decoded_in_little_memory():
    image = (64, 64, 1)
    flat, one = jnp.zeros(4096), jnp.ones(())
    encoder = Encoder(ConvDown(jax.random.key(0), image, (8, 16), 4), flat, one)
    mean = MeanDecoder(ConvUp(jax.random.key(1), 2, (16, 8), image), flat, one, "identity")
    model = VAE(
        encoder, mean, ConstantStd(flat + 1.0), jnp.zeros((3, 2)), None, (4096,), "gaussian"
    )
    rows, codes = jnp.zeros((200, 4096)), jnp.zeros((200, 2))
    for function, given in (
        (model.encode, rows),
        (model.decode, codes),
        (lambda X: lf.elbo(model, X, key=jax.random.key(0), num_samples=2), rows),
    ):
        assert largest(jax.make_jaxpr(function)(given).jaxpr) <= rows.size


def test_early_stopping_returns_the_best_iterate():
    train, held = jnp.ones((8, 1)), jnp.full((4, 1), 0.3)
    fitted = fit(
        _parabola,
        jnp.zeros(()),
        None,
        train,
        held,
        key=jax.random.key(0),
        latent_dim=1,
        epochs=400,
        batch_size=8,
        learning_rate=0.02,
        patience=5,
    )
    best = int(np.argmax(fitted.held_out))
    assert fitted.stopped_early
    assert len(fitted.held_out) == best + 6
    assert float(fitted.params) == pytest.approx(0.3, abs=0.02)
    assert -((float(fitted.params) - 0.3) ** 2) == pytest.approx(fitted.held_out[best], abs=1e-12)


def test_divergence_is_a_failure_that_keeps_the_best_iterate():
    def run(rate):
        return fit(
            _parabola,
            jnp.zeros(()),
            None,
            jnp.ones((8, 1)),
            jnp.ones((4, 1)),
            key=jax.random.key(0),
            latent_dim=1,
            epochs=5,
            batch_size=8,
            learning_rate=rate,
            patience=5,
        )

    with pytest.raises(lf.ConvergenceError, match="training failed: the bound became") as caught:
        run(1e200)
    assert np.isfinite(np.asarray(caught.value.result.params))
