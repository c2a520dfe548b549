"""Stage two of training: the variance alone, its likelihood, and which rows it may see."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform.models.rbf_likelihood import climb, draw, statistics
from landform.models.vae import NetworkStd


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array))]


def test_weights_of_the_precision_are_not_negative_and_the_mean_is_a_probability(vae, digits):
    precision = vae.std.precision
    assert (np.asarray(precision.weights) >= 0.0).all()
    assert float(precision.max_std) > 0.0
    mean = vae.decode(vae.encode(digits))
    assert 0.0 < float(jnp.min(mean)) < float(jnp.max(mean)) < 1.0


def test_the_deviation_at_three_times_the_radius_is_ten_times_that_on_the_data(vae, digits):
    codes = np.asarray(vae.encode(digits))
    on_data = float(jnp.mean(vae.decode(codes, return_std=True)[1]))
    angle = np.linspace(0.0, 2.0 * np.pi, 60)
    radius = 3.0 * np.linalg.norm(codes - codes.mean(axis=0), axis=1).max()
    circle = codes.mean(axis=0) + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    outside = np.asarray(vae.decode(circle, return_std=True)[1]).mean(axis=(1, 2))
    assert outside.min() >= 10.0 * on_data


@pytest.mark.parametrize("variance", ["rbf", "network", "constant"])
def test_stage_two_leaves_encoder_and_mean_untouched(vae, digits, variance):
    again = lf.fit_variance(
        vae, digits, key=jax.random.key(5), variance=variance, num_centers=8, max_iter=20
    )
    for part in ("encoder", "mean", "codes"):
        for a, b in zip(leaves(getattr(vae, part)), leaves(getattr(again, part)), strict=True):
            np.testing.assert_array_equal(a, b)
    before, after = vae.std(vae.codes[0]), again.std(vae.codes[0])
    assert after.shape == (64,)
    assert not np.allclose(before, after)
    assert (np.asarray(again.history.held_out_elbo) == np.asarray(vae.history.held_out_elbo)).all()


def test_no_more_updates_of_the_weights_are_made_than_asked_for(vae, digits):
    rows = [
        lf.fit_variance(vae, digits, key=jax.random.key(5), num_centers=8, max_iter=count)
        for count in (1, 10, 12)
    ]
    fitted = [np.asarray(model.history.variance_elbo) for model in rows]
    assert [len(bounds) for bounds in fitted] == [1, 1, 2]
    assert fitted[0][-1] < fitted[1][-1] == fitted[2][0] < fitted[2][-1]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"max_iter": 0}, ValueError),
        ({"max_iter": 2.5}, TypeError),
        ({"batch_size": 0}, ValueError),
        ({"learning_rate": -0.5}, ValueError),
        ({"held_out": [1, 300]}, ValueError),
        ({"held_out": [1]}, ValueError),
        ({"held_out": 0.6}, ValueError),
        ({"held_out": [0.5, 1.0]}, ValueError),
    ],
)
def test_bad_arguments_of_stage_two_are_refused_by_name(vae, digits, change, error):
    with pytest.raises(error, match=next(iter(change))):
        lf.fit_variance(vae, digits, key=jax.random.key(0), variance="network", **change)


def test_stage_two_holds_out_the_rows_of_stage_one(vae, digits, monkeypatch):
    seen = []

    def record(vae, train, held, *rest, **options):
        seen.append([np.unique(rows.reshape(len(rows), -1), axis=0) for rows in (train, held)])
        return vae

    monkeypatch.setattr("landform.models.variance.fit_std", record)
    mask = np.asarray(vae.history.held_out) > 0.0
    flat = digits.reshape(300, -1)
    assert mask.shape == (300,)
    assert mask.sum() == 30

    def held_rows(X, **options):
        lf.fit_variance(vae, X, key=jax.random.key(5), **options)
        assert len(seen[-1][0]) + len(seen[-1][1]) == len(np.unique(X.reshape(len(X), -1), axis=0))
        return seen[-1][1]

    np.testing.assert_array_equal(held_rows(digits), np.unique(flat[mask], axis=0))
    np.testing.assert_array_equal(
        held_rows(digits, held_out=[4, 2, 7]), np.unique(flat[[2, 4, 7]], axis=0)
    )
    np.testing.assert_array_equal(held_rows(digits, held_out=mask), np.unique(flat[mask], axis=0))
    assert len(held_rows(digits, held_out=0.2)) == 60
    assert len(held_rows(digits[:200])) == 20


def test_only_the_network_of_a_variance_network_is_trained(vae, digits):
    fitted = lf.fit_variance(vae, digits, key=jax.random.key(5), variance="network", max_iter=20)
    assert isinstance(fitted.std, NetworkStd)
    spread = np.sqrt(digits.reshape(300, -1).var(axis=0).mean())
    assert float(fitted.std.min_std) == pytest.approx(0.03 * spread, rel=0.1)
    assert (np.asarray(fitted.decode(100.0 * fitted.codes, return_std=True)[1]) > 0).all()


def test_each_step_of_stage_two_raises_the_likelihood_of_the_weights(vae, digits):
    rows = digits.reshape(300, -1)
    rbf = vae.std.precision
    draws = draw(vae, rows, jax.random.key(0))
    data = statistics(vae.mean, rbf.centers, rbf.bandwidths, draws, jnp.asarray(0.01))
    weights, values = jnp.ones_like(rbf.weights), []
    for _ in range(25):
        weights, value, _ = climb(weights, rbf.max_std**-2.0 * jnp.ones(64), data, data, 1)
        values.append(float(value))
        assert (np.asarray(weights) >= 0.0).all()
    assert (np.diff(values) >= -1e-9 * np.abs(values[1:])).all()
    assert values[-1] > values[0] + 1.0


def test_one_constant_basis_function_gives_the_inverse_mean_square(vae, digits):
    rows = digits.reshape(300, -1)
    center, flat = jnp.zeros((1, 2)), jnp.full(1, 1e-14)
    draws = draw(vae, rows, jax.random.key(0))
    data = statistics(vae.mean, center, flat, draws, jnp.asarray(0.05))
    zeta = jnp.full(64, 0.1)
    weights, value, held = climb(jnp.ones((64, 1)), zeta, data, data, 300)
    codes, images = draws.codes.reshape(-1, 2), draws.data.reshape(-1, 64)
    real = draws.mask.reshape(-1) > 0
    residual = images[real] - np.asarray(vae.decode(codes[real])).reshape(-1, 64)
    square = np.mean(residual**2, axis=0) + 0.05**2
    np.testing.assert_allclose(weights[:, 0], 1.0 / square - 0.1, rtol=1e-6)
    assert float(value) == pytest.approx(-0.5 * np.sum(1.0 + np.log(2 * np.pi * square)), rel=1e-9)
    assert float(held) == float(value)
