"""Damped Newton steps on chord energies, with and without a search before each step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform._core.lanes import run
from landform._core.status import Status
from landform.solvers.elements import Rule, assemble_chord, chords
from landform.solvers.energy import EnergyMethod

RULE = Rule(6, 4)


def ridged():
    """A plane under twenty ridges: steep beside what the elements resolve."""
    rng = np.random.default_rng(3)
    waves, phase = jnp.asarray(rng.normal(size=(2, 20)) * 2.0), jnp.asarray(rng.uniform(size=20))
    return lf.Pullback(lambda z: jnp.concatenate([z, 0.25 * jnp.sin(z @ waves + 6.0 * phase)]))


@pytest.fixture(scope="module")
def starts():
    """Straight lines with a bow, some of which start where the second derivative is indefinite."""
    rng = np.random.default_rng(4)
    x, y = rng.uniform(-1.5, 1.5, size=(2, 12, 1, 2))
    t = RULE.times[:, None]
    return x + (y - x) * t + rng.normal(size=(12, 1, 2)) * 0.6 * np.sin(np.pi * t)


def solved(metric, starts, *, search: bool, newton: bool = True, lanes: int = 1, most: int = 400):
    with jax.enable_x64(True):
        method = EnergyMethod(RULE, True, newton, most, 1e-10, search)
        return jax.tree.map(np.asarray, run(method, metric, jnp.asarray(starts), lanes=lanes))


def gradients(metric, curves):
    """Relative size of the energy's derivative at inner nodes."""
    with jax.enable_x64(True):

        def one(curve):
            energy, slope = jax.value_and_grad(lambda c: chords(metric, RULE, c).energy)(curve)
            return jnp.max(jnp.abs(slope[1:-1])) / energy

        return np.asarray(jax.vmap(one)(jnp.asarray(curves)))


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("newton", [True, False])
def test_searched_steps_end_at_minima(lanes, newton, starts):
    metric = ridged()
    found = solved(metric, starts, search=True, newton=newton, lanes=lanes)
    assert (found.status == Status.CONVERGED).all()
    assert gradients(metric, found.curve).max() < 1e-4
    # The energy is that before the last step, which is free.
    with jax.enable_x64(True):
        after = jax.vmap(lambda c: chords(metric, RULE, c).energy)(jnp.asarray(found.curve))
    np.testing.assert_allclose(found.energy, after, rtol=1e-8)
    np.testing.assert_array_equal(found.curve[:, [0, -1]], starts[:, [0, -1]])


def test_a_search_saves_evaluations_and_loses_nothing(starts):
    plain, searched = (solved(ridged(), starts, search=search) for search in (False, True))
    assert (plain.status == Status.CONVERGED).all()
    assert searched.iterations.sum() < 0.8 * plain.iterations.sum()
    assert searched.energy.mean() <= plain.energy.mean() * 1.01


def test_a_known_energy_is_not_computed_again(starts):
    metric, curve = ridged(), jnp.asarray(starts[0])
    known = chords(metric, RULE, curve)
    again = assemble_chord(metric, RULE, curve, True, known)
    for a, b in zip(again, assemble_chord(metric, RULE, curve, True), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    doubled = known._replace(energy=2.0 * known.energy)
    assert float(assemble_chord(metric, RULE, curve, True, doubled).energy) == float(doubled.energy)


def test_a_start_without_numbers_is_reported_at_once(starts):
    wall = lf.Pullback(lambda z: jnp.concatenate([z, jnp.where(z[:1] < 9.0, jnp.nan, z[:1])]))
    found = solved(wall, starts[:2], search=True)
    assert (found.status == Status.BAD_METRIC).all()
    assert (found.iterations == 1).all()


def test_a_search_that_finds_nothing_lower_is_reported_as_stalled(starts):
    """Off the curve that it starts with this generator has no numbers."""
    line = starts[0, :1] + (starts[0, -1:] - starts[0, :1]) * RULE.times[:, None]
    known = jnp.asarray(line)

    def f(z):
        off = jnp.min(jnp.sum((jax.lax.stop_gradient(z) - known) ** 2, axis=1)) > 0.0
        return jnp.where(off, jnp.nan, jnp.stack([z[0], z[1], jnp.sin(3.0 * z[0]) * z[1]]))

    found = solved(lf.Pullback(f), line[None], search=True)
    assert int(found.status[0]) == Status.STALLED
    np.testing.assert_array_equal(found.curve[0], line)


def test_a_search_between_coincident_ends_is_over(starts):
    point = np.broadcast_to(starts[0, :1], starts[0].shape)
    found = solved(ridged(), point[None], search=True)
    assert int(found.status[0]) == Status.CONVERGED
    np.testing.assert_array_equal(found.curve[0], point)


def test_out_of_iterations_is_not_converged(starts):
    found = solved(ridged(), starts, search=True, most=2)
    assert (found.status == Status.MAX_STEPS).any()
    assert (found.iterations <= 2).all()


class Hill(lf.AbstractMetric):
    height: jax.Array

    def __call__(self, x):
        return (1.0 + self.height * jnp.exp(-x @ x)) * jnp.eye(2)


LIFTED = lf.Pullback(lambda z: jnp.array([z[0], z[1], 3.0 * jnp.exp(-z @ z)]))


@pytest.mark.parametrize("metric", [Hill(jnp.asarray(30.0)), LIFTED], ids=["metric", "chord"])
def test_a_line_straight_over_a_hill_is_left_for_the_way_round(metric):
    x, y = np.array([-2.0, 0.0]), np.array([2.0, 0.0])
    over = lf.curve_length(metric, np.linspace(x, y, 65))
    starts = np.array([[x, [0.0, s], y] for s in (0.0, 1.0)])
    found = lf.geodesic(metric, np.stack([x, x]), np.stack([y, y]), init=starts)
    assert found.length[1] < 0.8 * over
    np.testing.assert_allclose(found.length[0], found.length[1], rtol=1e-6)


def test_a_flat_family_of_minima_has_converged():
    sphere, metric = lf.StereographicSphere(2), Hill(jnp.asarray(0.0))
    for one, x, y, length in (
        (sphere, [1.0, 0.0], [-1.0, 0.0], np.pi),
        (metric, [-2.0, 0.0], [2.0, 0.0], 4.0),
    ):
        found = lf.geodesic(one, x, y)
        np.testing.assert_allclose(found.length, length, rtol=1e-8)
