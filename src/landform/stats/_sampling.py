"""Draws from a normal density on a manifold, by rays of the exponential map."""

import numpy as np
from scipy.interpolate import PchipInterpolator

from landform._results import ConvergenceError
from landform.stats._normalizer import Grid, Table, make_grid
from landform.stats._rays import trace_rays

_BLOCK = 256  # directions proposed together, each other's witnesses of the cut locus
_FINE = 400  # radii at which the density along a ray is tabulated
_PATIENCE = 10  # times the blocks expected, after which no draws are to be hoped for


def sample_tangents(land, rng, n: int) -> np.ndarray:
    """n points drawn from the law of a LAND: directions by rejection, then radii by inversion.

    Raises `ConvergenceError` if the rays carry no mass, or next to none where they are proposed.
    """
    d = land.mean.size
    precision = np.linalg.inv(np.asarray(land.covariance))
    scale = np.linalg.cholesky(np.asarray(land.covariance))
    euclidean = land.normalizer == "paper"

    def table(grid):
        return Table(
            land.metric, land.mean, scale, grid, euclidean=euclidean, jacobian=True, rtol=land.rtol
        )

    base = make_grid(d, land.n_samples, land.seed)
    masses = _masses(table(base), precision)
    largest, proposals = 1.05 * masses.max(), []
    if not (np.isfinite(largest) and largest > 0):
        raise ConvergenceError(
            "sample failed: no ray from the mean carries any mass; is the metric finite and "
            "positive definite around it?"
        )
    while True:
        # The bound is the largest mass seen; all proposals are judged by the last one.
        kept = [u * largest < mass for _, mass, u in proposals]
        if sum(int(k.sum()) for k in kept) >= n:
            break
        expected = n * largest / (masses.mean() * _BLOCK)
        if len(proposals) > _PATIENCE * (1.0 + expected):
            raise ConvergenceError(
                f"sample failed: {len(proposals) * _BLOCK} directions gave fewer than {n} draws; "
                "nearly all of the mass lies in few directions: raise n_samples"
            )
        direction = rng.standard_normal((_BLOCK, d))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        rays = table(Grid(direction, base.radii, base.weights, base.edges, np.zeros(_BLOCK, int)))
        mass = _masses(rays, precision)
        largest = max(largest, 1.05 * mass.max())
        proposals.append((rays, mass, rng.random(_BLOCK)))
    drawn = [
        _draw(rays, keep, precision, rng) for (rays, *_), keep in zip(proposals, kept, strict=True)
    ]
    return np.concatenate(drawn)[:n]


def _masses(table: Table, precision):
    """The mass along each ray, up to a factor common to all tables of one scale."""
    form = np.einsum("kri,ij,krj->kr", table.tangents, precision, table.tangents)
    mass = (table.coefficient * np.exp(-0.5 * form)).sum(axis=1)
    return np.maximum(mass, 0.0) * len(mass)


def _draw(table: Table, keep, precision, rng):
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
        # A ray that broke has a way to go from its last node; all others have nodes to the end.
        end = min(table.cut.radius[k], radii[min(nodes.size, radii.size - 1)])
        fine = np.linspace(0.0, end, _FINE)
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


def _along(table: Table, k, usable, radius):
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
