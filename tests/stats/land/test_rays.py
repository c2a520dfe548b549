"""Rays that end too early: what is integrated, what is reported missing, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest, norm

import landform as lf
from landform.stats.land import density as _sampling


class Within(lf.AbstractMetric):
    """The line with M = 1 for |x| < edge and another value, or none, beyond."""

    edge: jax.Array
    beyond: jax.Array

    @property
    def dim(self):
        """One."""
        return 1

    def __call__(self, x):
        """1 or `beyond`."""
        return jnp.where(jnp.abs(x[0]) < self.edge, 1.0, self.beyond) * jnp.eye(1)


def within(edge, beyond):
    return Within(jnp.asarray(edge), jnp.asarray(beyond))


def on_sphere(dim, width):
    return lf.LAND(lf.StereographicSphere(dim), np.zeros(dim), 0.25 * width**2 * np.eye(dim))


@pytest.mark.parametrize(("dim", "width"), [(1, 1.0), (1, 3.0), (2, 1.5), (2, 3.0)])
def test_rays_to_infinity_of_the_chart_count_up_to_there(dim, width):
    def volume(r):
        return np.exp(-0.5 * (r / width) ** 2) * np.sin(r) ** (dim - 1)

    value = {1: 2.0, 2: 2.0 * np.pi}[dim] * quad(volume, 0.0, np.pi)[0]
    land = on_sphere(dim, width)
    error = abs(np.exp(float(land.log_normalizer)) / value - 1.0)
    assert error < 3.0 * float(land.normalizer_stderr)
    assert float(land.normalizer_stderr) < 1e-3
    assert float(land.excluded["unresolved_mass"]) == 0.0  # nothing lies behind infinity


@pytest.mark.parametrize("beyond", [np.nan, 4.0])
def test_mass_behind_the_end_of_rays_is_reported_and_an_error(beyond):
    land = lf.LAND(within(0.5, beyond), [0.0], [[1.0]])
    inside = norm.cdf(0.5) - norm.cdf(-0.5)
    missing = (1.0 - inside) / inside
    # Where the metric jumps a ray is known to be good up to the last node before that.
    slack = 1e-3 if np.isnan(beyond) else 0.3
    value = np.sqrt(2.0 * np.pi) * inside
    assert np.exp(float(land.log_normalizer)) == pytest.approx(value, rel=slack)
    assert float(land.excluded["unresolved_mass"]) == pytest.approx(missing, rel=3.0 * slack)
    assert float(land.normalizer_stderr) >= float(land.excluded["unresolved_mass"])


def test_fits_warn_of_mass_that_no_ray_reaches():
    X = np.linspace(-0.45, 0.45, 12)[:, None]
    edge = within(0.5, np.nan)
    with pytest.warns(UserWarning, match=r"% of the mass lies where no ray from its mean") as one:
        land = lf.fit_land(edge, X)
    assert float(land.excluded["unresolved_mass"]) > 0.05
    with pytest.warns(UserWarning, match="missing in its normalizer") as mixture:
        lf.fit_land_mixture(edge, X, 1)
    assert {w.filename for w in [*one, *mixture]} == {__file__}  # they point at the user's line


def test_a_mean_that_no_ray_leaves_has_no_normalizer():
    with pytest.raises(lf.ConvergenceError, match="normalizer is 0, not a positive number"):
        lf.LAND(within(1e-9, np.nan), [0.0], [[1.0]])


def test_draws_come_from_all_of_rays_to_infinity():
    width = 3.0
    draws = np.asarray(on_sphere(1, width).sample(jax.random.key(0), 2000))[:, 0]
    low, high = norm.cdf([-np.pi / width, np.pi / width])
    law = lambda r: (norm.cdf(r / width) - low) / (high - low)  # noqa: E731
    assert kstest(2.0 * np.arctan(draws), law).pvalue > 1e-3


@pytest.mark.parametrize("after", [0, 1])
def test_draws_that_never_come_are_given_up(monkeypatch, after):
    calls, masses = [], _sampling._masses

    def vanish(table, precision):
        calls.append(1)
        return masses(table, precision) * (len(calls) <= after)

    monkeypatch.setattr(_sampling, "_masses", vanish)
    land = lf.LAND(within(10.0, 1.0), [0.0], [[1.0]])
    with pytest.raises(lf.ConvergenceError, match="sample failed"):
        land.sample(jax.random.key(0), 5)
    assert len(calls) < 30
