"""LAND: the locally adaptive normal distribution, normal in the tangent space of a mean."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import PchipInterpolator

from landform._core import display
from landform._core.arrays import is_traced, precise, to_jax
from landform._core.checks import as_count, as_points, as_positive, seed_of
from landform._core.linalg import solve_spd
from landform._core.status import ConvergenceError, raise_if_failed
from landform._core.typing import Array, Float, Matrix, Point, PRNGKeyArray, Scalar
from landform.geodesics._logarithms import accuracy_for, logarithms
from landform.geodesics.geodesic import geodesic, where_succeeded
from landform.metrics.base import AbstractMetric, check_metric, log_volume, metric_tensor
from landform.stats.land.contours import picture
from landform.stats.land.normalizer import (
    Grid,
    RayTable,
    default_directions,
    make_grid,
    trace_table,
)
from landform.stats.land.rays import trace_rays

_PROPOSAL_BLOCK = 256  # directions proposed together; their rays cut each other
_NUM_FINE_RADII = 400  # at which the density along a ray is tabulated
_MAX_BLOCKS_RATIO = 10  # over the blocks expected, at which sampling gives up

Normalizer = Literal["exact", "paper"]
_BOX_SQUARED_RADIUS = 18.4  # leaves out 1e-4 of a normal density in the plane


class LAND(display.AbstractDisplayed):
    """The locally adaptive normal distribution around a mean on a Riemannian manifold.

    ``p(x) = exp(−½ Log_μ(x)ᵀ Σ⁻¹ Log_μ(x)) / C`` with respect to the volume dM: the density of
    largest entropy for its mean and covariance, a normal distribution whose level sets follow the
    metric.

    Parameters
    ----------
    metric
        The metric.
    mean
        μ, shape ``(d,)``.
    covariance
        Σ, shape ``(d, d)``, of the logarithms in chart coordinates. A covariance S in an
        orthonormal frame E of the tangent space (``Eᵀ M(μ) E = I``) is ``E S Eᵀ``.
    normalizer
        ``"exact"``: C = ∫ exp(…) dM, so that p integrates to one. ``"paper"``: the authors'
        constant, without the Jacobian of Exp, and their logarithm, whose Euclidean norm is the
        length; to stand beside published numbers. It is not a probability density.
    n_directions
        Directions in which the normalizer is integrated, each over all radii; rounded up. None
        takes 2 in one dimension, 256 in two and 1024 from three on.
    key
        A key of `jax.random` for the directions; None for a fixed one. The same directions for all
        means make likelihoods comparable.
    rtol
        Tolerance of the rays' integration; a tenth of it, from 1e-6 to 1e-4, is the relative
        accuracy of the lengths in `log_prob`.
    history, table
        Of a fit: what happened in its steps, and the rays it ended with, which are kept.

    Attributes
    ----------
    log_normalizer, normalizer_stderr
        log C and its standard error: the spread over eight interleaved sets of directions and the
        tolerance of the integration, added in squares, and the unresolved mass. In two dimensions
        the directions form a lattice and the error is an overestimate.
    effective_sample_size
        Effective number of directions, (Σw)² / Σw².
    excluded
        Masses relative to C: ``conjugate_mass`` and ``cut_mass`` beyond conjugate points and the
        detected cut locus, which do not count in C; ``unresolved_mass`` beyond the end of rays that
        could not be followed, as at the end of the chart or where the metric jumps, by continuing
        their volume; ``tail_mass`` near the largest radius (small, or the result is doubtful).
    history
        Of a fit: ``objective`` (negative log-likelihood per point), ``stderr`` of the
        objective, ``step``, ``gradient`` (norm) and ``failures`` of every accepted step.

    Raises
    ------
    TypeError, ValueError
        For a wrong metric, a mean that is not finite or where the metric is not defined, a
        covariance that is not symmetric positive definite, an unknown normalizer, `n_directions`
        that is not a whole number from 1, or `rtol` that is not positive.
    ConvergenceError
        If no ray from the mean can be followed, so that C is not a positive number.

    Notes
    -----
    C is an average over directions of integrals along geodesic rays, with |det D Exp| from the
    linearised geodesic equation. Cost: `n_directions` geodesics with 2d variations. On a flat
    metric M, C = √det M (2π)^{d/2} √det Σ. Arvanitidis, Hansen and Hauberg 2016
    (arXiv:1606.02518), eq. 7.

    Examples
    --------
    >>> import math, numpy as np, landform as lf
    >>> land = lf.LAND(lf.Euclidean(2), [0.0, 0.0], 0.25 * np.eye(2))
    >>> abs(float(land.log_normalizer) - math.log(0.5 * math.pi)) < 1e-9
    True
    """

    metric: AbstractMetric
    mean: Point
    covariance: Matrix
    log_normalizer: Scalar
    normalizer_stderr: Scalar
    effective_sample_size: Scalar
    excluded: dict[str, Array]
    history: dict[str, Array]
    normalizer: Normalizer = eqx.field(static=True)
    n_directions: int = eqx.field(static=True)
    seed: int = eqx.field(static=True)
    rtol: float = eqx.field(static=True)

    @precise
    def __init__(
        self,
        metric,
        mean,
        covariance,
        *,
        normalizer: Normalizer = "exact",
        n_directions: int | None = None,
        key: PRNGKeyArray | None = None,
        rtol: float = 1e-5,
        history=None,
        table: RayTable | None = None,
    ):
        self.metric = check_metric(metric)
        if is_traced(metric, mean, covariance):
            raise ValueError("LAND cannot be made inside a transformation such as jit")
        mean = np.asarray(as_points("mean", mean, metric.dim, ndim=(1,)), dtype=float)
        covariance = check_covariance("covariance", covariance, mean.size)
        check_normalizer(normalizer)
        if not np.isfinite(np.asarray(log_volume(metric, mean))):
            raise ValueError("mean must be where the metric is positive definite")
        self.mean, self.covariance = to_jax(mean), to_jax(covariance)
        self.normalizer, self.seed = normalizer, seed_of(key)
        as_positive("rtol", rtol)
        self.rtol = float(rtol)
        n_directions = default_directions(mean.size) if n_directions is None else n_directions
        self.n_directions = as_count("n_directions", n_directions)
        table = self._table() if table is None else table
        precision = np.linalg.inv(covariance)
        moments = table.moments(precision)
        self.log_normalizer = to_jax(moments.log_normalizer)
        self.normalizer_stderr = to_jax(moments.stderr)
        self.effective_sample_size = to_jax(moments.sample_size)
        excluded = table.excluded(precision)
        self.excluded = {name: to_jax(value) for name, value in excluded.items()}
        self.history = {k: to_jax(v) for k, v in (history or {}).items()}

    @property
    def precision(self) -> Matrix:
        """Σ⁻¹."""
        return solve_spd(self.covariance, jnp.eye(self.mean.size, dtype=self.covariance.dtype))

    @precise
    def log_prob(
        self, x, base: Literal["riemannian", "lebesgue"] = "riemannian", *, throw: bool = True
    ) -> Float[Array, "*batch"]:
        """The log-density at points.

        Parameters
        ----------
        x
            Points, shape ``(d,)`` or ``(n, d)``.
        base
            The density's reference measure: ``"riemannian"``, dM, or ``"lebesgue"``, dx, which has
            log √det M(x) added and is comparable with the density of a Gaussian mixture.
        throw
            Raise if a geodesic from the mean fails; with False its density is NaN.

        Returns
        -------
        Shape ``()`` or ``(n,)``.

        Raises
        ------
        TypeError, ValueError, ConvergenceError
            As `geodesic`.
        """
        if base not in ("riemannian", "lebesgue"):
            raise ValueError(f"base must be 'riemannian' or 'lebesgue', got {base!r}")
        x = as_points("x", x, self.mean.size)
        if is_traced(self, x):
            result = geodesic(self.metric, self.mean, x, throw=False)
            velocity, status = result.velocity, result.status
        else:
            data = np.atleast_2d(np.asarray(x))
            accuracy = accuracy_for(0.1 * self.rtol)
            found = logarithms(self.metric, self.mean, data, accuracy)
            velocity = to_jax(found.velocity).reshape(x.shape)
            status = to_jax(found.status).reshape(x.shape[:-1])
            if throw:
                raise_if_failed("log_prob", status, found)
        vectors = where_succeeded(status, velocity)
        if self.normalizer == "paper":
            vectors = euclidean_logs(self.metric, self.mean, vectors)
        form = jnp.einsum("...i,ij,...j->...", vectors, self.precision, vectors)
        out = -0.5 * form - self.log_normalizer
        return out + log_volume(self.metric, x) if base == "lebesgue" else out

    @precise
    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n d"]:
        """Independent draws, shape ``(n, d)``.

        A direction is drawn by rejection on the mass along it, then a radius from the density along
        the ray; the law is exact up to the cut locus, the integration and the interpolation along
        rays. Cost: about ``n × max/mean`` of the mass over directions in geodesics.
        """
        n = as_count("n", n)
        seeds = np.asarray(jax.random.randint(key, (4,), 0, np.iinfo(np.int32).max))
        return to_jax(sample_points(self, np.random.default_rng(seeds), n))

    @precise
    def total_mass(self, *, size: int = 48) -> float:
        """∫ p dM over a grid of the chart, for d ≤ 2: one, for a density.

        A check of the normalizer that uses no rays: the densities come from `geodesic`, and are
        summed over ``size`` points on a side of the box that holds all but about 1e-4 of the normal
        density.

        Parameters
        ----------
        size
            Grid points on a side, at least 2; the error falls with it until the box counts.

        Returns
        -------
        The sum; NaN where more than 1 % of its geodesics failed. With ``normalizer="paper"`` it is
        as far from one as the paper's constant is from a normalizer.

        Raises
        ------
        ValueError
            In more than two dimensions, or for a size under 2.

        Notes
        -----
        ``size^d`` geodesics. Charts in which the mass reaches to infinity, as that of a wide
        density on a sphere, need more points than there are.
        """
        d = self.mean.size
        if d > 2:
            raise ValueError(f"total_mass is for one or two dimensions, got {d}")
        size = as_count("size", size, 2)
        table = self._table()
        form = np.einsum(
            "kri,ij,krj->kr", table.tangents, np.asarray(self.precision), table.tangents
        )
        inside = np.isfinite(table.rays.points).all(axis=2) & (form < _BOX_SQUARED_RADIUS)
        inside &= table.grid.radii <= table.cut.radius[:, None]
        points = table.rays.points[inside]
        low, high = points.min(axis=0), points.max(axis=0)
        step = (high - low) / size
        axes = [a + s * (np.arange(size) + 0.5) for a, s in zip(low, step, strict=True)]
        places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, d)
        density = np.exp(np.asarray(self.log_prob(places, "lebesgue", throw=False)))
        failed = np.isnan(density)
        if failed.mean() > 0.01:
            return float("nan")
        return float(np.nansum(density) * np.prod(step))

    def _table(self) -> RayTable:
        paper = self.normalizer == "paper"
        grid = make_grid(self.mean.size, self.n_directions, self.seed)
        scale = np.linalg.cholesky(np.asarray(self.covariance))
        return trace_table(
            self.metric, self.mean, scale, grid, euclidean=paper, jacobian=not paper, rtol=self.rtol
        )

    def _summary(self):
        values = display.named(self, "mean", "covariance", "log_normalizer")
        return [*values, f"{self.normalizer} normalizer", type(self.metric).__name__]

    def _picture(self):
        return picture(self)


def euclidean_logs(metric, mean, vectors):
    """Logarithms in the authors' convention: rescaled so that the Euclidean norm is the length."""
    gram = metric_tensor(metric, mean)
    length = jnp.sqrt(jnp.einsum("...i,ij,...j->...", vectors, gram, vectors))
    norm = jnp.linalg.norm(vectors, axis=-1)
    return vectors * jnp.where(norm > 0, length / jnp.where(norm > 0, norm, 1.0), 1.0)[..., None]


def check_normalizer(normalizer) -> None:
    """Raise `ValueError` unless the normalizer is known."""
    if normalizer not in ("exact", "paper"):
        raise ValueError(f"normalizer must be 'exact' or 'paper', got {normalizer!r}")


def check_covariance(name, value, d) -> np.ndarray:
    """A symmetric positive-definite matrix as NumPy array, checked."""
    matrix = np.asarray(as_points(name, value, d, ndim=(2,)), dtype=float)
    if matrix.shape != (d, d):
        raise ValueError(f"{name} must have shape ({d}, {d}), got {matrix.shape}")
    if not np.allclose(matrix, matrix.T, rtol=1e-8, atol=1e-12 * np.abs(matrix).max()):
        raise ValueError(f"{name} must be symmetric")
    matrix = 0.5 * (matrix + matrix.T)
    if np.linalg.eigvalsh(matrix)[0] <= 0:
        raise ValueError(f"{name} must be positive definite")
    return matrix


def sample_points(land, rng, n: int) -> np.ndarray:
    """n points drawn from the law of a LAND: directions by rejection, then radii by inversion.

    Raises `ConvergenceError` if the rays carry no mass, or next to none where they are proposed.
    """
    d = land.mean.size
    precision = np.linalg.inv(np.asarray(land.covariance))
    scale = np.linalg.cholesky(np.asarray(land.covariance))
    euclidean = land.normalizer == "paper"

    def table(grid):
        return trace_table(
            land.metric, land.mean, scale, grid, euclidean=euclidean, jacobian=True, rtol=land.rtol
        )

    base = make_grid(d, land.n_directions, land.seed)
    masses = _masses(table(base), precision)
    largest, proposals = 1.05 * masses.max(), []
    if not (np.isfinite(largest) and largest > 0):
        raise ConvergenceError(
            "sample failed: no ray from the mean carries any mass; is the metric finite and "
            "positive definite around it?"
        )
    while True:
        # The bound is the largest mass seen so far; all proposals are judged by the latest bound.
        kept = [u * largest < mass for _, mass, u in proposals]
        if sum(int(k.sum()) for k in kept) >= n:
            break
        expected = n * largest / (masses.mean() * _PROPOSAL_BLOCK)
        if len(proposals) > _MAX_BLOCKS_RATIO * (1.0 + expected):
            raise ConvergenceError(
                f"sample failed: {len(proposals) * _PROPOSAL_BLOCK} directions gave fewer than {n} "
                "draws; nearly all of the mass lies in few directions: raise n_directions"
            )
        direction = rng.standard_normal((_PROPOSAL_BLOCK, d))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        rays = table(
            Grid(direction, base.radii, base.weights, base.edges, np.zeros(_PROPOSAL_BLOCK, int))
        )
        mass = _masses(rays, precision)
        largest = max(largest, 1.05 * mass.max())
        proposals.append((rays, mass, rng.random(_PROPOSAL_BLOCK)))
    drawn = [
        _draw(rays, keep, precision, rng) for (rays, *_), keep in zip(proposals, kept, strict=True)
    ]
    return np.concatenate(drawn)[:n]


def _masses(table: RayTable, precision):
    """The mass along each ray, up to a factor common to all tables of one scale."""
    form = np.einsum("kri,ij,krj->kr", table.tangents, precision, table.tangents)
    mass = (table.coefficient * np.exp(-0.5 * form)).sum(axis=1)
    return np.maximum(mass, 0.0) * len(mass)


def _draw(table: RayTable, keep, precision, rng):
    """One point on each of the chosen rays, from the density along it."""
    rows = np.flatnonzero(keep)
    d = table.tangents.shape[-1]
    radii = table.grid.radii
    out, radius, last = np.empty((rows.size, d)), np.empty(rows.size), np.empty(rows.size, int)
    start = table.tangents[:, 0] / radii[0]
    for i, k in enumerate(rows):
        usable = np.isfinite(table.integrand[k]) & np.isfinite(table.rays.points[k]).all(axis=1)
        usable &= np.cumsum(~usable) == 0
        nodes = radii[usable]
        last[i] = nodes.size - 1
        # A broken ray goes on beyond its last node; all other rays have nodes up to the end.
        end = min(table.cut.radius[k], radii[min(nodes.size, radii.size - 1)])
        fine = np.linspace(0.0, end, _NUM_FINE_RADII)
        values = table.integrand[k, usable]
        if nodes.size > 1:
            values = PchipInterpolator(nodes, values, extrapolate=True)(fine)
        form = start[k] @ precision @ start[k]
        density = np.maximum(values, 0.0) * fine ** (d - 1) * np.exp(-0.5 * form * fine**2)
        cumulative = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
        radius[i] = np.interp(rng.random() * cumulative[-1], cumulative, fine)
        out[i] = _along(table, k, np.flatnonzero(usable), min(radius[i], nodes[-1]))
    far = np.flatnonzero(radius > radii[last])
    if far.size:
        velocity = table.initial[rows[far]] * radius[far][:, None]
        ends = trace_rays(table.metric, table.mean, velocity, np.ones_like(radii), rtol=table.rtol)
        arrived = np.isfinite(ends.points[:, 0]).all(axis=1)
        out[far[arrived]] = ends.points[arrived, 0]
    return out


def _along(table: RayTable, k, usable, radius):
    """The point on ray k at a radius, by the cubic through the nodes around it."""
    radii, rays = table.grid.radii, table.rays
    after = usable[min(np.searchsorted(radii[usable], radius), usable.size - 1)]
    if after == 0:
        old, slope, begin = table.mean, table.initial[k], 0.0
    else:
        old, slope, begin = rays.points[k, after - 1], rays.velocity[k, after - 1], radii[after - 1]
    width = radii[after] - begin
    t = (radius - begin) / width
    new, last = rays.points[k, after], rays.velocity[k, after]
    rise = (1.0 + 2.0 * t) * (1.0 - t) ** 2 * old + t**2 * (3.0 - 2.0 * t) * new
    return rise + width * t * (1.0 - t) * ((1.0 - t) * slope - t * last)
