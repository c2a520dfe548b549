"""Training in two stages: what is learned, what is left alone, and how failure is reported."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform.models.loop import _held_out, fit
from landform.models.networks import ConvDown, ConvUp
from landform.models.rbf_likelihood import climb, draw, statistics
from landform.models.train import thin
from landform.models.vae import VAE, ConstantStd, Encoder, MeanDecoder, NetworkStd

SMALL = {"hidden": (16,), "epochs": 12, "num_centers": 12, "warmup": 2}


@pytest.fixture(scope="module")
def digits():
    return lf.datasets.load("digits", classes=(0, 1, 2), per_class=100).X


@pytest.fixture(scope="module")
def vae(digits):
    return lf.train_vae(digits, 2, key=jax.random.key(0), **SMALL)


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array))]


def test_shapes_follow_the_data(vae, digits):
    codes = vae.encode(digits)
    assert codes.shape == (300, 2)
    mean, std = vae.decode(codes, return_std=True)
    assert mean.shape == std.shape == (300, 8, 8)
    assert vae.encode(digits[0]).shape == (2,)
    assert vae.decode(codes[0]).shape == (8, 8)
    np.testing.assert_allclose(vae.encode(digits.reshape(300, 64)), codes)
    assert vae.sample(jax.random.key(0), 5).shape == (5, 8, 8)
    assert (vae.latent_dim, vae.num_features) == (2, 64)


def test_training_improves_both_bounds(vae):
    history = vae.history
    assert history.elbo[-1] > history.elbo[0] + 10.0
    assert history.best_held_out_elbo > float(np.max(history.held_out_elbo))
    assert 0 <= history.best_epoch < len(history.held_out_elbo) == SMALL["epochs"]


@pytest.mark.parametrize(
    ("likelihood", "variance"), [("gaussian", "constant"), ("bernoulli", "rbf")]
)
def test_the_bound_of_a_finished_model_is_that_of_its_likelihood(digits, likelihood, variance):
    options = SMALL | {"likelihood": likelihood, "variance": variance}
    model = lf.train_vae(digits, 2, key=jax.random.key(0), **options)
    held = digits[np.asarray(model.history.held_out) > 0.0]
    found = np.mean(lf.elbo(model, held, key=jax.random.key(1), num_samples=64))
    assert model.history.best_held_out_elbo == pytest.approx(found, abs=1.0)
    assert len(model.history.variance_held_out_elbo) > 0


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


def test_one_key_gives_one_model_and_another_key_another(vae, digits):
    same = lf.train_vae(digits, 2, key=jax.random.key(0), **SMALL)
    for a, b in zip(leaves(vae), leaves(same), strict=True):
        np.testing.assert_array_equal(a, b)
    other = lf.train_vae(digits, 2, key=jax.random.key(1), **SMALL)
    assert not np.allclose(vae.encode(digits), other.encode(digits))


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

    def record(vae, train, held, **options):
        seen.append([np.unique(rows.reshape(len(rows), -1), axis=0) for rows in (train, held)])
        return vae

    monkeypatch.setattr("landform.models.variance.fit_variance_split", record)
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


def test_all_weights_are_double_precision_whatever_the_flag_of_jax(digits):
    with jax.enable_x64(False):
        model = lf.train_vae(digits, 2, key=jax.random.key(0), **SMALL)
        codes = model.encode(digits[:4])
        tensor = lf.metric_tensor(model.metric(), codes)
    for leaf in leaves(model):
        assert leaf.dtype == np.float64
    assert codes.dtype == tensor.dtype == np.float64


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


def test_training_shows_a_progress_bar_only_when_asked(digits, capsys):
    lf.train_vae(digits, 2, key=jax.random.key(0), **SMALL)
    assert capsys.readouterr() == ("", "")
    lf.train_vae(digits, 2, key=jax.random.key(0), progress=True, **SMALL)
    assert "stage one" in capsys.readouterr().out


@pytest.fixture(scope="module")
def plain(digits):
    options = {"key": jax.random.key(0), "output": "identity"} | SMALL
    return options, lf.train_vae(digits.reshape(300, -1), 2, **options)


@pytest.mark.parametrize(
    ("scale", "offset"), [(1e3, 0.0), (1e-20, 0.0), (1e20, 0.0), (1.0, 5e6), (1e-3, -1e6)]
)
def test_units_and_origin_of_the_data_do_not_matter(plain, digits, scale, offset):
    options, one = plain
    rows = digits.reshape(300, -1)
    moved = scale * rows + offset
    other = lf.train_vae(moved, 2, **options)
    np.testing.assert_allclose(one.encode(rows), other.encode(moved), atol=2e-2)
    mean, std = one.decode(one.codes, return_std=True)
    moved_mean, moved_std = other.decode(other.codes, return_std=True)
    np.testing.assert_allclose(mean, (moved_mean - offset) / scale, atol=2e-2)
    np.testing.assert_allclose(std, moved_std / scale, atol=2e-2)
    shift = 64 * np.log(scale)
    for name in ("elbo", "held_out_elbo", "variance_held_out_elbo"):
        bounds = [np.asarray(getattr(model.history, name)) for model in (one, other)]
        np.testing.assert_allclose(bounds[0], bounds[1] + shift, atol=0.5)


def test_a_sigmoid_is_not_fitted_to_what_single_precision_rounds_off(digits):
    options = {"key": jax.random.key(0), "variance": "constant"} | SMALL | {"epochs": 1}
    rows = 0.5 + 1e-7 * digits.reshape(300, -1)
    assert lf.train_vae(rows, 2, **options).mean.output == "identity"
    with pytest.raises(ValueError, match="X must have a root mean variance of at least 1e-05"):
        lf.train_vae(rows, 2, output="sigmoid", **options)


def test_a_fixed_variance_of_stage_one_is_kept(digits):
    options = {"key": jax.random.key(0)} | SMALL | {"epochs": 2}
    start = lf.train_vae(digits, 2, stage_one_std=0.4, variance="constant", **options)
    assert np.isfinite(start.history.held_out_elbo).all()
    learned = lf.train_vae(digits, 2, variance="constant", **options)
    assert not np.allclose(start.encode(digits), learned.encode(digits))


@pytest.mark.slow
def test_bernoulli_and_convolutional_models_train(digits):
    model = lf.train_vae(
        digits,
        3,
        key=jax.random.key(0),
        architecture="conv",
        hidden=(4, 6),
        epochs=3,
        likelihood="bernoulli",
        num_centers=6,
        batch_size=30,
    )
    assert model.encode(digits).shape == (300, 3)
    assert model.decode(np.zeros((2, 3))).shape == (2, 8, 8)
    precision = model.std.precision
    assert all((np.asarray(f) >= 0).all() for f in (precision.weights, *precision.filters))
    np.testing.assert_allclose(precision.std(jnp.full(3, 100.0)), float(precision.max_std))
    assert np.asarray(model.history.variance_held_out_elbo).size > 0
    assert set(np.unique(model.sample(jax.random.key(1), 4))) <= {0.0, 1.0}


def test_thinning_keeps_the_sparse_bridge_between_clusters(rng):
    clusters = np.concatenate([rng.normal(-5, 0.1, (500, 1)), rng.normal(5, 0.1, (500, 1))])
    bridge = np.linspace(-4, 4, 9)[:, None]
    kept = thin(np.concatenate([clusters, bridge]), 40)
    assert kept.shape == (40, 1)
    assert np.isin(bridge, kept).all()
    assert thin(bridge, 40) is bridge


@pytest.mark.parametrize(
    ("change", "error", "name"),
    [
        ({"X": np.full((30, 4), np.nan)}, ValueError, "X has 120 NaN"),
        ({"X": np.ones((30, 4))}, ValueError, "X must vary"),
        ({"X": np.eye(30)[:, [3, 3]], "held_out": 0.5}, ValueError, "all 15 points to"),
        ({"X": np.zeros(30)}, ValueError, "X must have shape"),
        ({"X": 1e200 * np.eye(30)}, ValueError, "squares are finite"),
        ({"X": np.eye(4)}, ValueError, "X must have at least 20"),
        ({"X": [["a"] * 4] * 30}, TypeError, "X must be an array"),
        ({"X": -np.eye(30), "output": "sigmoid"}, ValueError, r"X must lie in \[0, 1\]"),
        ({"X": -np.eye(30), "likelihood": "bernoulli"}, ValueError, r"X must lie in \[0, 1\]"),
        ({"output": "identity", "likelihood": "bernoulli"}, ValueError, "output must be"),
        ({"architecture": "conv"}, ValueError, "X must be images"),
        ({"architecture": "resnet"}, ValueError, "architecture must be one of mlp, conv"),
        ({"latent_dim": 0}, ValueError, "latent_dim"),
        ({"latent_dim": 2.5}, TypeError, "latent_dim"),
        ({"activation": "relu"}, ValueError, "activation"),
        ({"variance": "rbfs"}, ValueError, "variance"),
        ({"likelihood": "poisson"}, ValueError, "likelihood"),
        ({"hidden": (0,)}, ValueError, "hidden"),
        ({"hidden": 64}, TypeError, "hidden"),
        ({"epochs": 0}, ValueError, "epochs"),
        ({"held_out": 0.9}, ValueError, "held_out"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate"),
        ({"min_std": 0.0}, ValueError, "min_std"),
        ({"max_std": 1e-9}, ValueError, "max_std"),
        ({"num_centers": 0}, ValueError, "num_centers"),
        ({"key": 0}, TypeError, "key"),
    ],
)
def test_bad_arguments_are_refused_by_name(change, error, name):
    good = {"X": np.eye(30), "key": jax.random.key(0), "hidden": (), "epochs": 1, "batch_size": 30}
    with pytest.raises(error, match=name):
        lf.train_vae(**(good | change))


def test_a_layer_narrower_than_the_latent_space_is_a_warning(digits):
    with pytest.warns(UserWarning, match="latent_dim = 5 exceeds the 4 outputs"):
        model = lf.train_vae(
            digits, 5, key=jax.random.key(0), hidden=(4,), epochs=1, variance="constant"
        )
    tensor = lf.metric_tensor(lf.Pullback(model.mean), np.zeros(5))
    assert np.linalg.eigvalsh(tensor)[0] < 1e-9


def test_data_of_another_shape_are_refused_by_the_model(vae, digits):
    with pytest.raises(ValueError, match=r"X must have shape \(n, 8, 8\) or \(n, 64\)"):
        vae.encode(digits[:, :7])
    with pytest.raises(ValueError, match="X has 64 NaN"):
        vae.encode(np.full((1, 8, 8), np.nan))
    with pytest.raises(ValueError, match="Z must have 2"):
        vae.decode(np.zeros((4, 3)))
    with pytest.raises(TypeError, match="vae must be a VAE"):
        lf.fit_variance(vae.mean, digits, key=jax.random.key(0))
    with pytest.raises(ValueError, match="landmarks must have 2 coordinate"):
        vae.metric(np.zeros((3, 5)))
