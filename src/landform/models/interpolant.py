"""Amortized geodesics: one small network in place of a solve for every pair."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import precise
from landform._core.checks import as_floats, as_points
from landform._core.quadrature import gauss
from landform._core.status import AbstractResult
from landform._core.typing import Array, Bool, Float, Point
from landform.geodesics.geodesic import geodesic
from landform.metrics.base import AbstractMetric, check_dtype, check_metric
from landform.models.networks import MLP

_LENGTH_NODES = 64  # Gauss points of a length


class InterpolantGap(AbstractResult):
    """Lengths of amortized curves beside those of exact geodesics.

    Attributes
    ----------
    length, straight
        Lengths of the network's curves and of the straight ones, shape ``(n,)``.
    exact
        Lengths of the geodesics, NaN where they did not converge.
    excess
        ``length / exact − 1``; below zero where the network found a shorter way, NaN where the ends
        coincide.
    converged
        Whether the exact geodesic is one.

    Examples
    --------
    >>> import jax, numpy as np, landform as lf
    >>> x = np.random.default_rng(0).normal(size=(50, 2))
    >>> flat = lf.Euclidean(2)
    >>> fit = lf.train_interpolant(flat, x, key=jax.random.key(0), epochs=1, guides=0)
    >>> gap = fit.gap(flat, x[:5], x[5:10])
    >>> bool(gap.excess.max() < 0.2), bool(gap.converged.all())
    (True, True)
    """

    length: Float[Array, " n"]
    straight: Float[Array, " n"]
    exact: Float[Array, " n"]
    excess: Float[Array, " n"]
    converged: Bool[Array, " n"]

    def summary(self) -> str:
        """One line: the excess over the exact lengths, and how much of the gain is kept."""
        converged = np.asarray(self.converged)
        good = converged & (np.asarray(self.exact) > 0.0)  # no share of the length of a point
        if not good.any():
            return f"{converged.sum()} of {good.size} exact geodesics converged to a length above 0"
        excess = 100.0 * np.asarray(self.excess)[good]
        gain = np.asarray(self.straight)[good] / np.asarray(self.exact)[good] - 1.0
        return (
            f"excess length: median {np.median(excess):.2f} %, 90th percentile "
            f"{np.percentile(excess, 90):.2f} %, largest {excess.max():.2f} % "
            f"(straight lines: median {100.0 * np.median(gain):.2f} %); "
            f"{converged.sum()} of {good.size} exact geodesics converged"
        )

    def _summary(self):
        pairs = display.counted(len(self.converged), "pair")
        return [pairs, f"length={display.span(self.length)}", f"excess={display.span(self.excess)}"]


class GeodesicInterpolant(display.AbstractDisplayed):
    """Approximate geodesics of a metric, by a network of both end points and t.

    ``c(t) = (1 − t) x + t y + t (1 − t) s [φ(x, y, t) + φ(y, x, 1 − t)]``: the ends are exact, the
    curve from y to x is the one from x to y, and a network of zeros gives the straight line. Make
    one with `train_interpolant`.

    Attributes
    ----------
    net
        φ.
    shift, size
        Center and extent s of the points it was trained on.
    history
        Mean logarithm of the energy over held-out pairs after each epoch; the first entry is that
        of straight lines.

    Notes
    -----
    Kapuśniak et al. 2024 (arXiv:2405.14780), §4.1, without the symmetry. Off the distribution of
    pairs it was trained on it is an interpolant like any other; `gap` measures it against exact
    geodesics, and its curves are starts for `geodesic` by ``init=``.

    Examples
    --------
    >>> import jax, numpy as np, landform as lf
    >>> x = np.random.default_rng(0).normal(size=(50, 2))
    >>> fit = lf.train_interpolant(lf.Euclidean(2), x, key=jax.random.key(0), epochs=1, guides=0)
    >>> fit(x[:3], x[3:6], np.linspace(0.0, 1.0, 9)).shape
    (3, 9, 2)
    """

    net: MLP
    shift: Float[Array, " d"]
    size: Float[Array, ""]
    history: Float[Array, " epochs"]

    def at(self, x: Point, y: Point, t) -> Point:
        """The point at one t of the curve of one pair, without checks."""
        a, b = (x - self.shift) / self.size, (y - self.shift) / self.size
        there = self.net(jnp.concatenate([a, b, jnp.atleast_1d(t)]))
        back = self.net(jnp.concatenate([b, a, jnp.atleast_1d(1.0 - t)]))
        return (1.0 - t) * x + t * y + t * (1.0 - t) * self.size * (there + back)

    @precise
    def __call__(self, x, y, t) -> Float[Array, "*batch d"]:
        """Points of the curves from x to y.

        Parameters
        ----------
        x, y
            End points, shape ``(d,)`` or ``(n, d)``.
        t
            A number, or shape ``(k,)``.

        Returns
        -------
        Shape ``(d,)`` or ``(k, d)``, after the batch axis.
        """
        x, y, single = _ends(self, x, y)
        t = as_floats("t", t).astype(x.dtype)
        if t.ndim > 1:
            raise ValueError(f"t must be a number or have shape (k,), got {t.shape}")
        points = points_on(self, x, y, jnp.atleast_1d(t))
        points = points[:, 0] if t.ndim == 0 else points
        return points[0] if single else points

    @precise
    def length(self, metric: AbstractMetric, x, y) -> Float[Array, "*batch"]:
        """Lengths of the curves from x to y under a metric."""
        check_metric(metric, self.shift.shape[0])
        x, y, single = _ends(self, x, y)
        lengths = _lengths(metric, self, x, y)
        return lengths[0] if single else lengths

    @precise
    def gap(self, metric: AbstractMetric, x, y, **kwargs) -> InterpolantGap:
        """How much longer the curves are than exact geodesics, which are solved for it.

        Parameters
        ----------
        metric
            The metric, that of training or another.
        x, y
            End points, shape ``(n, d)``, not those of training.
        **kwargs
            Of `geodesic`; ``throw`` is always False here.
        """
        check_metric(metric, self.shift.shape[0])
        x, y, _ = _ends(self, x, y)
        exact = geodesic(metric, x, y, **{**kwargs, "throw": False})
        length = _lengths(metric, self, x, y)
        converged = jnp.asarray(exact.converged)
        known = jnp.where(converged, jnp.asarray(exact.length), jnp.nan)
        straight = _lengths(metric, _straightened(self), x, y)
        excess = length / jnp.where(known > 0.0, known, jnp.nan) - 1.0
        return InterpolantGap(length, straight, known, excess, converged)

    def _summary(self):
        gain = f"log-energy {display.number(self.history[0])} → {display.number(self.history[-1])}"
        return [display.brief(self.net), display.dimensions(self.shift.shape[-1]), gain]


def _ends(interpolant, x, y):
    dim = interpolant.shift.shape[0]
    x, y = as_points("x", x, dim), as_points("y", y, dim)
    single = x.ndim == 1 and y.ndim == 1
    x, y = jnp.broadcast_arrays(jnp.atleast_2d(x), jnp.atleast_2d(y))
    return check_dtype(interpolant, x), check_dtype(interpolant, y), single


def _straightened(interpolant):
    net = jax.tree.map(jnp.zeros_like, interpolant.net)
    return eqx.tree_at(lambda i: i.net, interpolant, net)


@eqx.filter_jit
def points_on(interpolant, x, y, t):
    """Points of n curves at the same k values of t, ``(n, k, d)``."""
    return jax.vmap(lambda a, b: jax.vmap(lambda s: interpolant.at(a, b, s))(t))(x, y)


def squared_speed(metric, interpolant, x, y, t):
    """The squared speed at one t."""
    point, velocity = jax.jvp(lambda s: interpolant.at(x, y, s), (t,), (jnp.ones_like(t),))
    return metric.inner(point, velocity, velocity)


@eqx.filter_jit
def _lengths(metric, interpolant, x, y):
    nodes, weights = (jnp.asarray(a, x.dtype) for a in gauss(_LENGTH_NODES))

    def one(pair):
        a, b = pair
        squares = jax.vmap(lambda t: squared_speed(metric, interpolant, a, b, t))(nodes)
        return jnp.sum(weights * jnp.sqrt(squares))

    return jax.lax.map(one, (x, y), batch_size=64)
