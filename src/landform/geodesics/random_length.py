"""The random metric of a stochastic generator: its spread, and the spread of lengths under it."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import precise
from landform._core.checks import as_count, as_points, check_key
from landform._core.quadrature import gauss
from landform._core.status import AbstractResult
from landform._core.typing import Array, Float, PRNGKeyArray, Scalar
from landform.geodesics.curve import as_polynomial
from landform.metrics.base import check_dtype
from landform.metrics.pullback import ExpectedPullback
from landform.solvers.elements import Rule, sample

# Nodes of the trapezoidal rule in log s: the integrand falls as e^(1.5 u) and e^(−u) at worst, and
# the rule converges as e^(−π² / h).
_NODES = np.arange(-26.0, 36.0, 0.25)


def _check(metric) -> ExpectedPullback:
    if not isinstance(metric, ExpectedPullback):
        raise TypeError(
            f"metric must be the ExpectedPullback of a stochastic generator, got "
            f"{type(metric).__name__}"
        )
    return metric


@precise
def metric_variance(metric: ExpectedPullback, x) -> Float[Array, "*batch d d"]:
    """The variance of each entry of the random metric tensor of a stochastic generator.

    With the rows a of J_μ and b of J_σ, one for each output, ``M = Σ (a + ε b)(a + ε b)ᵀ`` and
    ``Var M_kl = Σ (a_k b_l + a_l b_k)² + 2 b_k² b_l²``. It is a sum over the D outputs like the
    metric itself, so that the deviation relative to the metric falls as ``D^(−½)``: with many
    outputs the expected metric is all there is to know.

    Parameters
    ----------
    metric
        The expected metric.
    x
        Points of the chart, shape ``(d,)`` or ``(n, d)``.

    Returns
    -------
    Array of shape ``(d, d)`` or ``(n, d, d)``.

    Raises
    ------
    TypeError, ValueError
        If `metric` is not an `ExpectedPullback`, or `x` does not fit it.

    Notes
    -----
    One Jacobian a point. Arvanitidis, Hansen and Hauberg 2018 (arXiv:1710.11379), theorem 2.

    Examples
    --------
    >>> import landform as lf
    >>> metric = lf.ExpectedPullback(lambda z: z, lambda z: 2.0 * z)
    >>> lf.metric_variance(metric, [0.3]).tolist()  # of (1 + 2 ε)²: 4 · 2² + 2 · 2⁴
    [[48.0]]
    """
    x = check_dtype(_check(metric), as_points("x", x))
    return _variance(metric, x)


@eqx.filter_jit
def _variance(metric, x):
    def one(z):
        a, b = jax.jacfwd(metric.moments)(z)
        mixed = (a**2).T @ b**2
        cross = (a * b).T @ (a * b)
        return mixed + mixed.T + 2.0 * cross + 2.0 * (b**2).T @ b**2

    return one(x) if x.ndim == 1 else jax.lax.map(one, x)


@precise
def expected_speed(metric: ExpectedPullback, x, v) -> Float[Array, "*batch"]:
    """The expected norm ``E √(vᵀMv)`` of a vector under the random metric of a generator.

    By Jensen's inequality it is less than the norm under the expected metric, and by the gap that
    ``D (√E[vᵀMv] − E√(vᵀMv)) / √E[vᵀMv]`` tends to a constant as the number D of outputs grows. It
    is a Finsler metric: a norm of v that need not come from an inner product.

    Parameters
    ----------
    metric
        The expected metric.
    x, v
        Points and tangent vectors, shape ``(d,)`` or ``(n, d)``.

    Returns
    -------
    Norms, shape ``()`` or ``(n,)``.

    Raises
    ------
    TypeError, ValueError
        If `metric` is not an `ExpectedPullback`, or `x` and `v` do not fit it and each other.

    Notes
    -----
    ``vᵀMv = Q`` is a sum of independent squares of normals, whose Laplace transform is a product,
    and ``√q − E√Q = (4π)^(−½) ∫ (E e^(−sQ) − e^(−sq)) s^(−3/2) ds`` with q = E Q is found by
    quadrature to about 13 digits; no samples are drawn. 248 D operations a point. Pouplin et al.
    2023 (arXiv:2212.10010).

    Examples
    --------
    >>> import landform as lf
    >>> metric = lf.ExpectedPullback(lambda z: 0.0 * z, lambda z: z)
    >>> float(lf.expected_speed(metric, [1.0], [1.0]))  # the mean of |ε|: √(2 / π)
    0.7978845608
    """
    x = check_dtype(_check(metric), as_points("x", x))
    v = check_dtype(metric, as_points("v", v))
    if x.shape != v.shape:
        raise ValueError(f"v must have the shape of x, got {v.shape} and {x.shape}")
    return _expected_speed(metric, x, v)


@eqx.filter_jit
def _expected_speed(metric, x, v):
    def one(z, w):
        speed, gap = _speed_and_gap(*jax.jvp(metric.moments, (z,), (w,))[1])
        return speed - gap

    return one(x, v) if x.ndim == 1 else jax.lax.map(lambda pair: one(*pair), (x, v))


def _speed_and_gap(a, b) -> tuple[Scalar, Scalar]:
    """``√E[Q]`` and ``√E[Q] − E√Q`` for ``Q = Σ (a + ε b)²``, the gap free of cancellation."""
    mean = jnp.sum(a**2 + b**2)
    safe = jnp.where(mean > 0.0, mean, 1.0)
    s = jnp.exp(jnp.asarray(_NODES, a.dtype))

    def excess(s):
        """``log E e^(−s Q / q) + s``, a sum of terms that are not negative."""
        x = 2.0 * s * b**2 / safe
        powers = sum((-1.0) ** k * x**k / k for k in range(2, 14))
        bent = jnp.where(x < 0.1, powers, x - jnp.log1p(x))
        return jnp.sum(0.5 * bent + s * a**2 / safe * x / (1.0 + x))

    g = jax.lax.map(excess, s)
    integral = jnp.sum(-jnp.exp(g - s) * jnp.expm1(-g) / jnp.sqrt(s))
    step = _NODES[1] - _NODES[0]
    speed = jnp.sqrt(mean)
    return speed, speed * step * integral / jnp.sqrt(4.0 * jnp.pi)


class RandomLength(AbstractResult):
    """Length and energy of a curve under the random metric of a generator.

    Attributes
    ----------
    length
        Under the expected metric, what `curve_length` gives: an upper bound of the next.
    expected_length
        ``E ∫ |ċ| dt``, over the draws of the generator.
    length_std
        Standard deviation of the length over these, to leading order in 1/D: the error bar of a
        distance.
    energy
        ``E[½ ∫ |ċ|² dt]``, which is the energy under the expected metric.
    energy_std
        Standard deviation of the energy.

    Examples
    --------
    >>> import landform as lf
    >>> metric = lf.ExpectedPullback(lambda z: z, lambda z: 0.0 * z)
    >>> found = lf.random_length(metric, [[0.0, 0.0], [3.0, 4.0]])
    >>> float(found.length), float(found.expected_length), float(found.length_std)
    (5.0, 5.0, 0.0)
    """

    length: Float[Array, "*batch"]
    expected_length: Float[Array, "*batch"]
    length_std: Float[Array, "*batch"]
    energy: Float[Array, "*batch"]
    energy_std: Float[Array, "*batch"]

    def _summary(self):
        names = ("expected_length", "length_std", "energy", "energy_std")
        return [f"{name}={display.span(getattr(self, name))}" for name in names]


class _Pieces(NamedTuple):
    points: Array  # (q, d)
    velocities: Array  # (q, d)
    weights: Array  # (q,)


def _quadrature(nodes, degree: int, order: int) -> _Pieces:
    rule = Rule((nodes.shape[0] - 1) // degree, degree)
    places, weights = gauss(order)
    x, v = (a.reshape(-1, nodes.shape[1]) for a in sample(rule, nodes, places))
    return _Pieces(x, v, jnp.tile(jnp.asarray(weights, nodes.dtype) / rule.elements, rule.elements))


def _as_curve(metric, curve, order):
    curve = as_polynomial("curve", curve, metric.dim)
    order = curve.degree + 3 if order is None else as_count("order", order)
    return check_dtype(metric, curve.nodes), curve.degree, order


@precise
def random_length(metric: ExpectedPullback, curve, *, order: int | None = None) -> RandomLength:
    """Length and energy of a curve under the random metric of a generator: error bars of distances.

    The curve is fixed, the generator is drawn: ``f(z) = μ(z) + σ(z) ⊙ ε``, with one ε for the whole
    curve. For a geodesic of the expected metric, `length_std` says by how much its length would
    differ under another draw.

    Parameters
    ----------
    metric
        The expected metric.
    curve
        A `Geodesic`, any `AbstractCurve`, or the corners of polylines, ``(T + 1, d)`` or
        ``(n, T + 1, d)``.
    order
        Gauss–Legendre points on each piece, by default its degree plus 3.

    Returns
    -------
    RandomLength
        Every field of shape ``()`` or ``(n,)``.

    Raises
    ------
    TypeError, ValueError
        If `metric` is not an `ExpectedPullback`, or the curve does not fit it.

    Notes
    -----
    The expectations are exact up to quadrature, see `expected_speed`. So is `energy_std`: with a
    and b the derivatives of μ and σ along the curve, the covariance of the squared speeds at s and
    t is the sum of ``4 a_s b_s a_t b_t + 2 b_s² b_t²`` over the outputs. `length_std` divides it by
    the speeds (delta method), and its relative error is O(1/D); `sample_lengths` draws instead.
    O(q² D) for q quadrature points.
    Arvanitidis, Hansen and Hauberg 2018 (arXiv:1710.11379), theorem 2.

    Examples
    --------
    >>> import jax.numpy as jnp, landform as lf
    >>> metric = lf.ExpectedPullback(lambda z: jnp.zeros(400), lambda z: z[0] * jnp.ones(400))
    >>> found = lf.random_length(metric, [[0.0], [1.0]])  # a chi variable of 400 degrees
    >>> float(found.length), round(float(found.expected_length), 4), float(found.length_std) ** 2
    (20.0, 19.9875, 0.5)
    """
    nodes, degree, order = _as_curve(_check(metric), curve, order)
    return _random_length(metric, nodes, degree, order)


@eqx.filter_jit
def _random_length(metric, nodes, degree, order):
    def one(curve):
        x, v, weights = _quadrature(curve, degree, order)
        a, b = jax.vmap(lambda p, w: jax.jvp(metric.moments, (p,), (w,))[1])(x, v)
        speeds, gaps = jax.lax.map(lambda pair: _speed_and_gap(*pair), (a, b))
        covariance = 4.0 * (a * b) @ (a * b).T + 2.0 * b**2 @ (b**2).T
        share = jnp.where(speeds > 0.0, weights / jnp.where(speeds > 0.0, speeds, 1.0), 0.0)
        return RandomLength(
            length=jnp.sum(weights * speeds),
            expected_length=jnp.sum(weights * (speeds - gaps)),
            length_std=0.5 * _root(share @ covariance @ share),
            energy=0.5 * jnp.sum(weights * speeds**2),
            energy_std=0.5 * _root(weights @ covariance @ weights),
        )

    return one(nodes) if nodes.ndim == 2 else jax.lax.map(one, nodes)


def _root(value):
    return jnp.sqrt(jnp.maximum(value, 0.0))


@precise
def sample_lengths(
    metric: ExpectedPullback, curve, key: PRNGKeyArray, n: int, *, order: int | None = None
) -> tuple[Array, Array]:
    """Lengths and energies of a curve under n draws of the random metric of a generator.

    Parameters
    ----------
    metric
        The expected metric.
    curve
        As for `random_length`; all curves see the same draws.
    key
        Key of the draws.
    n
        Number of draws, at least 1.
    order
        As for `random_length`.

    Returns
    -------
    Lengths and energies, each of shape ``(n,)``, or ``(k, n)`` for k curves.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.

    Notes
    -----
    The derivatives of the generator along the curve are computed once: O(n q D) for q quadrature
    points. For geodesics of a draw, take `ExpectedPullback.sample`.

    Examples
    --------
    >>> import jax, landform as lf
    >>> metric = lf.ExpectedPullback(lambda z: z, lambda z: 0.0 * z)
    >>> lengths, _ = lf.sample_lengths(metric, [[0.0, 0.0], [3.0, 4.0]], jax.random.key(0), 2)
    >>> lengths.tolist()
    [5.0, 5.0]
    """
    nodes, degree, order = _as_curve(_check(metric), curve, order)
    n = as_count("n", n)
    return _sample_lengths(metric, nodes, degree, order, jax.random.split(check_key(key), n))


@eqx.filter_jit
def _sample_lengths(metric, nodes, degree, order, keys):
    def one(curve):
        x, v, weights = _quadrature(curve, degree, order)
        a, b = jax.vmap(lambda p, w: jax.jvp(metric.moments, (p,), (w,))[1])(x, v)

        def draw(key):
            squares = jnp.sum((a + b * jax.random.normal(key, a.shape[1:], a.dtype)) ** 2, axis=1)
            return jnp.sum(weights * jnp.sqrt(squares)), 0.5 * jnp.sum(weights * squares)

        return jax.lax.map(draw, keys)

    return one(nodes) if nodes.ndim == 2 else jax.lax.map(one, nodes)
