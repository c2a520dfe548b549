"""Amortised geodesics: what holds by construction, and the gap to known distances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from oracles import FlatInDisguise

METRIC = FlatInDisguise(1.5)
POINTS = np.random.default_rng(0).uniform(-2.0, 2.0, size=(300, 2))
NEW = np.random.default_rng(1).uniform(-1.8, 1.8, size=(2, 40, 2))


@pytest.fixture(scope="module")
def trained():
    return lf.train_interpolant(
        METRIC, POINTS, key=jax.random.key(0), hidden=(32, 32), epochs=12, guides=60
    )


def flat_distance(x, y):
    flatten = jax.vmap(METRIC.flatten)
    return np.linalg.norm(flatten(jnp.asarray(x)) - flatten(jnp.asarray(y)), axis=1)


@pytest.mark.heavy
@pytest.mark.slow
def test_the_gap_to_known_distances_is_small(trained):
    exact = flat_distance(*NEW)
    excess = np.asarray(trained.length(METRIC, *NEW)) / exact - 1.0
    straight = np.asarray(lf.curve_length(METRIC, np.stack(NEW, axis=1), order=60)) / exact - 1.0
    assert excess.min() > -1e-9  # no curve is shorter than the distance
    assert np.median(excess) < 0.01
    assert np.median(excess) < 0.1 * np.median(straight)


@pytest.mark.heavy
@pytest.mark.slow
def test_the_reported_gap_is_the_excess_over_exact_geodesics(trained):
    x, y = NEW[0][:10], NEW[1][:10]
    gap = trained.gap(METRIC, x, y)
    assert gap.converged.all()
    exact = flat_distance(x, y)
    np.testing.assert_allclose(gap.exact, exact, rtol=1e-6)
    np.testing.assert_allclose(gap.excess, trained.length(METRIC, x, y) / exact - 1.0, atol=1e-6)
    straight = lf.curve_length(METRIC, np.stack([x, y], axis=1), order=60)
    np.testing.assert_allclose(gap.straight, straight, rtol=1e-9)
    assert "10 of 10 exact geodesics converged" in gap.summary()


@pytest.mark.heavy
@pytest.mark.slow
def test_training_lowers_the_held_out_energy_and_keeps_the_best(trained):
    history = np.asarray(trained.history)
    assert history.shape == (1 + 6 + 12,)
    assert history.min() < history[0] - 0.05


@pytest.mark.heavy
@pytest.mark.slow
def test_ends_are_exact_and_reversed_curves_are_the_same(trained):
    x, y = NEW[0][:5], NEW[1][:5]
    t = np.linspace(0.0, 1.0, 9)
    there, back = trained(x, y, t), trained(y, x, 1.0 - t)
    np.testing.assert_allclose(there[:, 0], x, rtol=1e-14)
    np.testing.assert_allclose(there[:, -1], y, rtol=1e-14)
    np.testing.assert_allclose(there, back, atol=1e-12)
    np.testing.assert_allclose(trained(x[0], y[0], 0.25), there[0, 2], rtol=1e-13)


@pytest.mark.heavy
@pytest.mark.slow
def test_its_curves_are_starts_for_the_exact_solver(trained):
    x, y = NEW[0][:5], NEW[1][:5]
    start = np.asarray(trained(x, y, np.linspace(0.0, 1.0, 33)))
    path = lf.geodesic(METRIC, x, y, init=start)
    assert path.converged.all()
    np.testing.assert_allclose(path.length, flat_distance(x, y), rtol=1e-6)


@pytest.mark.heavy
@pytest.mark.slow
def test_it_can_be_saved(trained, tmp_path):
    lf.save(tmp_path / "fit.landform", trained)
    again = lf.load(tmp_path / "fit.landform")
    np.testing.assert_array_equal(again(*NEW, 0.5), trained(*NEW, 0.5))


def test_pairs_can_be_coupled():
    x = POINTS[:40]
    fit = lf.train_interpolant(
        lf.Euclidean(2), x, x + 1.0, key=jax.random.key(1), paired=True, epochs=1, guides=0
    )
    gap = fit.gap(lf.Euclidean(2), np.concatenate([x, x[:1]]), np.concatenate([x + 1.0, x[:1]]))
    assert np.abs(gap.excess[:-1]).max() < 0.05
    assert np.isnan(gap.excess[-1])
    assert "nan" not in gap.summary()
    assert "41 of 41 exact geodesics converged" in gap.summary()
    with pytest.raises(ValueError, match="metric must have dimension 2"):
        fit.length(lf.Euclidean(3), x, x + 1.0)
    # pairs that coincide, nearly all here, take no part: those apart are √2 apart at unit energy 2
    y = x.copy()
    y[:2] += 1.0
    few = lf.train_interpolant(
        lf.Euclidean(2), x, y, key=jax.random.key(1), paired=True, epochs=1, guides=0
    )
    np.testing.assert_allclose(few.history[0], np.log(2.0), rtol=1e-12)


def test_a_metric_that_is_not_finite_between_the_points_is_an_error():
    class Holed(lf.AbstractMetric):
        def __call__(self, x):
            return jnp.where(jnp.abs(x[0]) < 0.2, jnp.nan, 1.0) * jnp.eye(2)

    with pytest.raises(lf.ConvergenceError, match="the energy became nan"):
        lf.train_interpolant(Holed(), POINTS, key=jax.random.key(0), epochs=1, guides=0)


def train(**changes):
    arguments = {"metric": METRIC, "x": POINTS, "key": jax.random.key(0), **changes}
    return lf.train_interpolant(arguments.pop("metric"), arguments.pop("x"), **arguments)


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: train(metric=3), TypeError, "must be a landform metric"),
        (lambda: train(x=POINTS[0]), ValueError, "x must have shape"),
        (lambda: train(x=np.ones((5, 2))), ValueError, "two distinct points"),
        (lambda: train(y=POINTS[:3], paired=True), ValueError, "equal shapes"),
        (lambda: train(paired=True), ValueError, "y must be given and differ from x"),
        (lambda: train(y=np.ones((4, 3))), ValueError, "y must have 2"),
        (lambda: train(epochs=0), ValueError, "epochs must be an integer"),
        (lambda: train(guides=-1), ValueError, "guides must be an integer"),
        (lambda: train(learning_rate=0.0), ValueError, "learning_rate must be positive"),
        (lambda: train(activation="relu"), ValueError, "twice differentiable"),
        (lambda: train(key=0), TypeError, "key must be one JAX key"),
    ],
)
def test_bad_input_is_named(build, error, words):
    with pytest.raises(error, match=words):
        build()
