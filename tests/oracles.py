"""Manifolds with known distance, exp and log, and the draws the tests share."""

import jax
import jax.numpy as jnp
import numpy as np

import landform as lf


class FlatInDisguise(lf.AbstractMetric):
    """Flat space in the chart x = φ(u), φ(u) = (u₁, u₂ + a sin u₁): every distance is known."""

    bend: float = 0.7

    def flatten(self, x):
        """The flat coordinates of a point of the chart."""
        return jnp.array([x[0], x[1] + self.bend * jnp.sin(x[0])])

    def __call__(self, x):
        """JᵀJ of the flattening map."""
        jacobian = jax.jacfwd(self.flatten)(x)
        return jacobian.T @ jacobian


class Hole(lf.AbstractMetric):
    """Flat space, undefined for x₁ in (0.4, 0.6)."""

    def __call__(self, x):
        """I, and NaN in the strip."""
        broken = (x[0] > 0.4) & (x[0] < 0.6)
        return jnp.eye(2) * jnp.where(broken, jnp.nan, 1.0)


class Wrong(lf.AbstractMetric):
    """The half-plane with the geodesic equation as misprinted, without its last term."""

    def __call__(self, x):
        """I / x₂²."""
        return lf.PoincareHalfPlane()(x)

    def acceleration(self, x, v):
        """The equation as printed for d ≥ 2: a gradient alone, with its sign."""
        gradient = jax.grad(lambda y: self.inner(y, v, v))(x)
        return -0.5 * x[1] ** 2 * gradient


def half_plane_points(rng, n):
    """Points of the half-plane with log-normal heights."""
    x = rng.normal(size=(n, 2))
    return np.stack([x[:, 0], np.exp(x[:, 1])], axis=1)


def sphere_pairs(rng, n, dim=2, longest=2.0):
    """Pairs on the sphere at distances up to `longest`, not near infinity, with the exact log."""
    sphere = lf.StereographicSphere(dim)
    x = rng.normal(size=(4 * n, dim)) * 0.5
    v = rng.normal(size=(4 * n, dim))
    length = rng.uniform(0.1, longest, size=4 * n)
    v *= (length * (1 + np.sum(x**2, axis=1)) / 2 / np.linalg.norm(v, axis=1))[:, None]
    y = np.asarray(sphere.exact_exp(x, v))
    near = np.flatnonzero(np.linalg.norm(y, axis=1) < 4.0)[:n]
    return x[near], y[near], v[near]


def relative(value, exact):
    """Largest relative error."""
    value, exact = np.asarray(value), np.asarray(exact)
    return float(np.max(np.abs(value - exact) / np.abs(exact)))


def two_moons(n=200, noise=0.1, seed=0):
    """The benchmark's data."""
    from sklearn.datasets import make_moons

    return make_moons(n, noise=noise, random_state=seed)[0]
