"""Training in two stages: what is learned, what is left alone, and how failure is reported."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform.models.stage_one import thin


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


def test_training_improves_both_bounds(vae, small):
    history = vae.history
    assert history.elbo[-1] > history.elbo[0] + 10.0
    assert history.best_held_out_elbo > float(np.max(history.held_out_elbo))
    assert 0 <= history.best_epoch < len(history.held_out_elbo) == small["epochs"]


@pytest.mark.parametrize(
    ("likelihood", "variance"), [("gaussian", "constant"), ("bernoulli", "rbf")]
)
def test_the_bound_of_a_finished_model_is_that_of_its_likelihood(
    digits, likelihood, variance, small
):
    options = small | {"likelihood": likelihood, "variance": variance}
    model = lf.train_vae(digits, 2, key=jax.random.key(0), **options)
    held = digits[np.asarray(model.history.held_out) > 0.0]
    found = np.mean(lf.elbo(model, held, key=jax.random.key(1), num_samples=64))
    assert model.history.best_held_out_elbo == pytest.approx(found, abs=1.0)
    assert len(model.history.variance_held_out_elbo) > 0


def test_one_key_gives_one_model_and_another_key_another(vae, digits, small):
    same = lf.train_vae(digits, 2, key=jax.random.key(0), **small)
    for a, b in zip(leaves(vae), leaves(same), strict=True):
        np.testing.assert_array_equal(a, b)
    other = lf.train_vae(digits, 2, key=jax.random.key(1), **small)
    assert not np.allclose(vae.encode(digits), other.encode(digits))


def test_all_weights_are_double_precision_whatever_the_flag_of_jax(digits, small):
    with jax.enable_x64(False):
        model = lf.train_vae(digits, 2, key=jax.random.key(0), **small)
        codes = model.encode(digits[:4])
        tensor = lf.metric_tensor(model.metric(), codes)
    for leaf in leaves(model):
        assert leaf.dtype == np.float64
    assert codes.dtype == tensor.dtype == np.float64


def test_training_shows_a_progress_bar_only_when_asked(digits, capsys, small):
    lf.train_vae(digits, 2, key=jax.random.key(0), **small)
    assert capsys.readouterr() == ("", "")
    lf.train_vae(digits, 2, key=jax.random.key(0), progress=True, **small)
    assert "stage one" in capsys.readouterr().out


@pytest.fixture(scope="module")
def plain(digits, small):
    options = {"key": jax.random.key(0), "output": "identity"} | small
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


def test_a_sigmoid_is_not_fitted_to_what_single_precision_rounds_off(digits, small):
    options = {"key": jax.random.key(0), "variance": "constant"} | small | {"epochs": 1}
    rows = 0.5 + 1e-7 * digits.reshape(300, -1)
    assert lf.train_vae(rows, 2, **options).mean.output == "identity"
    with pytest.raises(ValueError, match="X must have a root mean variance of at least 1e-05"):
        lf.train_vae(rows, 2, output="sigmoid", **options)


def test_a_fixed_variance_of_stage_one_is_kept(digits, small):
    options = {"key": jax.random.key(0)} | small | {"epochs": 2}
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


def test_a_training_and_its_fields_by_name_give_one_model(vae, digits, small):
    training = lf.Training(**small)
    same = lf.train_vae(digits, 2, key=jax.random.key(0), training=training)
    other = lf.train_vae(
        digits, 2, key=jax.random.key(0), training=lf.Training(**small | {"epochs": 99}), epochs=12
    )
    for a, b, c in zip(leaves(vae), leaves(same), leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"epoch": 3}, "unknown option epoch .did you mean epochs.*choose from architecture, hid"),
        ({"a": 1.0}, "unknown option a.*bandwidth_scale"),
        ({"training": {"epochs": 3}}, "training must be a Training, got dict"),
    ],
)
def test_an_unknown_option_is_refused_with_the_known_ones(digits, change, text):
    with pytest.raises(TypeError, match=text):
        lf.train_vae(digits, 2, key=jax.random.key(0), **change)


def test_stage_two_takes_the_options_of_the_variance_alone(vae, digits):
    with pytest.raises(TypeError, match="unknown option hidden: choose from variance, num_centers"):
        lf.fit_variance(vae, digits, key=jax.random.key(0), hidden=(3,))
