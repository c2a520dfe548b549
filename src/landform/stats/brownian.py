"""Random walks on a manifold: Brownian motion, and the walk without drift."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from landform._core.arrays import is_traced, precise
from landform._core.checks import as_count, as_points, as_positive
from landform._core.linalg import cholesky, solve_spd
from landform._core.status import Status, raise_if_failed
from landform._core.typing import Array, Float, Matrix, Point, PRNGKeyArray
from landform.metrics.base import AbstractMetric, check_dtype, check_metric


@precise
def brownian_motion(
    metric: AbstractMetric,
    x0,
    *,
    key: PRNGKeyArray,
    time: float,
    num_steps: int,
    drift: bool = True,
    throw: bool = True,
) -> Float[Array, "*batch steps d"]:
    """Riemannian Brownian motion, the diffusion with generator ½Δ, from one point or many.

    In a chart ``dx^i = −½ M^{jk} Γ^i_{jk} dt + (M^{−1/2} dW)^i``, integrated by the Euler–Maruyama
    method with equal steps. Without the drift it is the walk of `random_walk`.

    Parameters
    ----------
    metric
        The metric.
    x0
        Where the walks start, shape ``(d,)`` or ``(n, d)``.
    key
        A key of `jax.random`; each walk gets its own.
    time
        Total time t > 0. For short times the mean squared geodesic distance from x0 is d · t, in
        the units of the metric.
    num_steps
        Number of steps.
    drift
        Whether the drift is there.
    throw
        Raise if any walk fails; with False the failed ones are NaN from the failure on.

    Returns
    -------
    The walks with their start, shape ``(num_steps + 1, d)`` or ``(n, num_steps + 1, d)``.

    Raises
    ------
    TypeError, ValueError
        For a wrong metric, number of steps or time, or points that are not finite.
    ConvergenceError
        With ``throw=True``, if a walk leaves the domain of the metric, that is, comes to where the
        metric is not finite and positive definite; the error carries the walks as ``result``.

    Notes
    -----
    Weak order 1 and strong order ½ in time / num_steps. On a compact manifold the stationary law is
    the volume √det M. One step costs M and its first derivative. Each ``num_steps`` compiles anew.

    Examples
    --------
    >>> import jax, landform as lf
    >>> start = [[0.0, 1.0], [0.0, 2.0]]
    >>> walks = lf.brownian_motion(
    ...     lf.PoincareHalfPlane(), start, key=jax.random.key(0), time=0.1, num_steps=50
    ... )
    >>> walks.shape, bool((walks[..., 1] > 0).all())
    ((2, 51, 2), True)
    """
    check_metric(metric)
    x0 = check_dtype(metric, as_points("x0", x0, metric.dim))
    total = as_positive("time", time).astype(x0.dtype)
    num_steps = as_count("num_steps", num_steps)
    start = jnp.atleast_2d(x0)
    noise = _noise(key, start, num_steps)
    points, status = walk_from(metric, start, noise, total / num_steps, bool(drift))
    if x0.ndim == 1:
        points, status = points[0], status[0]
    if throw and not is_traced(status):
        raise_if_failed("walk", status, points)
    return points


def random_walk(
    metric: AbstractMetric,
    x0,
    *,
    key: PRNGKeyArray,
    time: float,
    num_steps: int,
    throw: bool = True,
) -> Float[Array, "*batch steps d"]:
    """The walk ``z ← z + √dt M(z)^{−1/2} ε`` of Latent Space Oddity: Brownian motion without drift.

    It depends on the chart: in one dimension its stationary law is ∝ M in place of Brownian
    motion's √M. Use it to reproduce the paper, and `brownian_motion` otherwise.

    Parameters
    ----------
    metric, x0, key, time, num_steps, throw
        As for `brownian_motion`.

    Returns
    -------
    The walks with their start, shape ``(num_steps + 1, d)`` or ``(n, num_steps + 1, d)``.

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As `brownian_motion`.

    Notes
    -----
    Arvanitidis, Hansen and Hauberg 2018 (arXiv:1710.11379), §4.4.

    Examples
    --------
    >>> import jax, landform as lf
    >>> walk = lf.random_walk(
    ...     lf.Euclidean(2), [0.0, 0.0], key=jax.random.key(0), time=1.0, num_steps=10
    ... )
    >>> walk.shape
    (11, 2)
    """
    return brownian_motion(
        metric, x0, key=key, time=time, num_steps=num_steps, drift=False, throw=throw
    )


@eqx.filter_jit
def _noise(key, x0, num_steps):
    keys = jax.random.split(key, x0.shape[0])
    return jax.vmap(lambda k: jax.random.normal(k, (num_steps, x0.shape[1]), x0.dtype))(keys)


@eqx.filter_jit
def walk_from(metric: AbstractMetric, x0: Float[Array, "n d"], noise, step, drift: bool):
    """Walks driven by given standard normal numbers ``(n, num_steps, d)``, and their statuses."""

    def one(x, numbers):
        def advance(carry, number):
            x, field, status = carry
            x = x + jnp.sqrt(step) * (field.root @ number) + step * field.drift
            field = field_at(metric, x, drift)
            lost = (status == int(Status.CONVERGED)) & ~field.finite
            status = jnp.where(lost, int(Status.LEFT_DOMAIN), status)
            x = jnp.where(status == int(Status.CONVERGED), x, jnp.nan)
            return (x, field, status), x

        field = field_at(metric, x, drift)
        code = jnp.where(field.finite, int(Status.CONVERGED), int(Status.BAD_METRIC))
        (_, _, status), points = jax.lax.scan(advance, (x, field, code), numbers)
        return jnp.concatenate([x[None], points]), status

    return jax.vmap(one)(x0, noise)


class _Field(NamedTuple):
    root: Matrix  # R with R Rᵀ = M⁻¹
    drift: Point
    finite: Array


def field_at(metric: AbstractMetric, x: Point, drift: bool) -> _Field:
    """The coefficients of the diffusion at one point."""

    def twice(y):
        matrix = metric(y)
        return matrix, matrix

    if drift:
        slope, matrix = jax.jacfwd(twice, has_aux=True)(x)  # slope[i, j, l] = ∂_l M_ij
    else:
        matrix = metric(x)
    root = solve_spd(matrix, cholesky(matrix))  # (L⁻¹)ᵀ = M⁻¹ L
    inverse = root @ root.T
    push = jnp.zeros_like(x)
    if drift:
        # M^{jk} Γ_{l,jk} = M^{jk} (∂_j M_kl − ½ ∂_l M_jk)
        force = jnp.einsum("jk,klj->l", inverse, slope)
        force = force - 0.5 * jnp.einsum("jk,jkl->l", inverse, slope)
        push = -0.5 * inverse @ force
    finite = jnp.all(jnp.isfinite(root)) & jnp.all(jnp.isfinite(push)) & jnp.all(jnp.isfinite(x))
    return _Field(root, push, finite)
