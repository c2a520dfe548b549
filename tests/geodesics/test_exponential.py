"""The exponential map against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from landform.solvers.ivp import FlightMethod
from oracles import Wrong, half_plane_points, sphere_pairs

PLANE = lf.PoincareHalfPlane()


@pytest.fixture(scope="module")
def shots():
    rng = np.random.default_rng(4)
    return half_plane_points(rng, 64), rng.normal(size=(64, 2))


def test_exp_is_the_closed_form(shots):
    x, v = shots
    v = v * x[:, 1:]
    np.testing.assert_allclose(lf.exp(PLANE, x, v), PLANE.exact_exp(x, v), rtol=1e-7, atol=1e-7)


def test_exp_of_the_textbook_example_and_not_of_the_misprint():
    right = np.array([np.tanh(1.0), 1.0 / np.cosh(1.0)])
    np.testing.assert_allclose(lf.exp(PLANE, [0.0, 1.0], [1.0, 0.0]), right, atol=1e-8)
    wrong = lf.exp(Wrong(), [0.0, 1.0], [1.0, 0.0], throw=False)
    assert not np.allclose(wrong, right, atol=1e-2)


def test_fixed_steps_converge_with_order_four():
    x, y, v = sphere_pairs(np.random.default_rng(7), 8, longest=1.0)
    sphere = lf.StereographicSphere(2)
    steps = np.array([8, 16, 32])
    errors = [
        np.max(np.abs(lf.exp(sphere, x, v, solver=lf.FixedStepIVP(int(k))) - y)) for k in steps
    ]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert -4.6 < slope < -3.6


def test_speed_is_conserved(shots):
    x, v = shots
    shot = lf.geodesic_ivp(PLANE, x, v * x[:, 1:])
    assert np.max(shot.speed_drift) < 1e-6
    assert np.all(np.asarray(shot.status) == lf.Status.CONVERGED)


def test_a_chart_of_small_coordinates_is_integrated_as_well(shots):
    x, v = shots
    end = 1e-9 * np.asarray(PLANE.exact_exp(x, 3.0 * v * x[:, 1:]))
    found = lf.exp(PLANE, 1e-9 * x, 3e-9 * v * x[:, 1:])
    np.testing.assert_allclose(found, end, rtol=1e-6, atol=1e-15)


def test_a_batch_of_any_size_is_the_single_ones(shots):
    x, v = shots
    v = v * x[:, 1:]
    batch = lf.geodesic_ivp(PLANE, x, v)
    few = lf.geodesic_ivp(PLANE, x[:5], v[:5])
    np.testing.assert_allclose(batch.point[:5], few.point, rtol=1e-13)
    np.testing.assert_array_equal(batch.steps[:5], few.steps)
    one = lf.geodesic_ivp(PLANE, x[4], v[4])
    np.testing.assert_allclose(one.point, few.point[4], rtol=1e-13)


def test_the_estimated_error_covers_the_true_one_and_follows_the_tolerance(shots):
    x, v = shots
    v = v * x[:, 1:]
    exact = np.asarray(PLANE.exact_exp(x, v))
    totals = []
    for tolerance in (1e-6, 1e-9):
        shot = lf.geodesic_ivp(PLANE, x, v, solver=lf.AdaptiveIVP(rtol=tolerance, atol=tolerance))
        wrong = np.linalg.norm(np.asarray(shot.point) - exact, axis=1)
        assert np.median(wrong / np.asarray(shot.error)) < 1.0
        assert np.max(wrong) < 300 * tolerance
        totals.append(int(np.sum(shot.steps)))
    assert totals[0] < totals[1] < 4 * totals[0]


def test_a_step_has_order_eight():
    v = np.random.default_rng(7).normal(size=(64, 2))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    x = np.tile([0.0, 1.0], (64, 1))
    method = FlightMethod(1.0, 1.0, 10)

    @jax.jit
    def moved(t):
        def one(a, b):
            state = method.init(PLANE, jnp.stack([a[None], b[None]]))
            return method.step(PLANE, state._replace(time=1.0 - t, step=t)).state[0, 0]

        return jax.vmap(one)(x, v)

    times = np.array([0.4, 0.3, 0.2])
    errors = [np.sqrt(np.mean((moved(t) - PLANE.exact_exp(x, t * v)) ** 2)) for t in times]
    slope = np.polyfit(np.log(times), np.log(errors), 1)[0]
    assert 8.7 < slope < 9.8  # one step errs by one order more than many together


def test_infinity_of_a_chart_is_passed_by_or_reported():
    sphere = lf.StereographicSphere(2)
    # Along a line through the chart's center at infinity, and past it at a small distance.
    v = np.array([[1.0, 0.0], [1.0, 1e-3]]) * 2.0
    x = np.array([[1.0, 0.0], [1.0, 0.0]])
    shot = lf.geodesic_ivp(sphere, x, v, throw=False)
    exact = np.asarray(sphere.exact_exp(x, v))
    for point, status, right in zip(shot.point, shot.status, exact, strict=True):
        if int(status) == lf.Status.CONVERGED:
            np.testing.assert_allclose(point, right, rtol=1e-4)
        else:
            assert int(status) in (lf.Status.LEFT_DOMAIN, lf.Status.UNRESOLVED)


def test_leaving_the_domain_fails_alone():
    class Strip(lf.AbstractMetric):
        def __call__(self, x):
            return jnp.eye(2) * jnp.where(x[0] < 1.0, 1.0, jnp.nan)

    v = np.array([[0.5, 0.0], [2.0, 0.0]])
    arrived = np.asarray(lf.exp(Strip(), np.zeros((2, 2)), v, throw=False))
    np.testing.assert_allclose(arrived[0], [0.5, 0.0], atol=1e-9)
    assert np.isnan(arrived[1]).all()
    with pytest.raises(lf.ConvergenceError, match="1 of 2 exp computations failed"):
        lf.exp(Strip(), np.zeros((2, 2)), v)


def test_a_zero_velocity_stays():
    np.testing.assert_array_equal(lf.exp(PLANE, [0.3, 2.0], [0.0, 0.0]), [0.3, 2.0])


def test_exp_is_differentiable():
    def end(v):
        return lf.exp(PLANE, jnp.array([0.0, 1.0]), v)

    v = jnp.array([0.7, -0.2])
    exact = jax.jacfwd(lambda w: PLANE._exp(jnp.array([0.0, 1.0]), w))(v)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(end))(v), exact, rtol=1e-6)


def test_bad_input_is_named():
    with pytest.raises(TypeError, match="solver must be an AdaptiveIVP"):
        lf.exp(PLANE, [0.0, 1.0], [1.0, 0.0], solver="rk4")
    with pytest.raises(ValueError, match="v has 1 NaN"):
        lf.exp(PLANE, [0.0, 1.0], [np.nan, 0.0])


@pytest.mark.parametrize(
    ("solver", "options"),
    [
        (lf.FixedStepIVP, {"num_steps": -1}),
        (lf.FixedStepIVP, {"num_steps": 0}),
        (lf.FixedStepIVP, {"num_steps": 2.5}),
        (lf.AdaptiveIVP, {"rtol": -1.0}),
        (lf.AdaptiveIVP, {"atol": 0.0}),
        (lf.AdaptiveIVP, {"max_steps": 0}),
    ],
)
def test_settings_of_integrators_that_mean_nothing_are_named(solver, options):
    with pytest.raises((TypeError, ValueError), match=f"{next(iter(options))} must be"):
        solver(**options)
