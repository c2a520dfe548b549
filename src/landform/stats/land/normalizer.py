"""Integrals of normal densities over a manifold, by rays of the exponential map.

In polar coordinates of the tangent space, v = s A θ with Σ = A Aᵀ, the normalizer is an average
over directions θ of integrals over s. A ray gives the integrand at all s, so every direction is
integrated by Gauss–Legendre panels up to where it stops to be shortest, and only the average over
directions is a (quasi-) Monte Carlo one. Once the rays are known, another Σ costs no geodesics.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln
from scipy.stats import chi2, norm, qmc

from landform._core.status import ConvergenceError
from landform.metrics.base import AbstractMetric, metric_tensor
from landform.stats.land.cut_locus import BROKEN, Cut, cut_radii
from landform.stats.land.rays import Rays, straight, trace_rays

GROUPS = 8  # interleaved parts of the directions, whose spread gives the standard error
_NUM_PANELS, _ORDER = 10, 5
_ONE_SIDED_ORDER = 8  # nodes of a part panel that has no nodes behind it
_TAIL_MASS = 1e-13  # of a normal density, beyond the last radius


class Grid(NamedTuple):
    """Directions on the unit sphere and radii with weights, in the whitened tangent space."""

    directions: np.ndarray  # (K, d)
    radii: np.ndarray  # (R,)
    weights: np.ndarray  # (R,)
    edges: np.ndarray  # (panels + 1,)
    group: np.ndarray  # (K,) the part of the standard error that a direction belongs to


def make_grid(d: int, count: int, seed: int = 0) -> Grid:
    """About `count` directions, symmetric and with second moment I/d, and the radii.

    One dimension has two directions and two have equal angles. From three on they are the rows of
    orthogonal matrices made from scrambled Sobol points, so that flat space is integrated exactly.
    """
    edges = np.linspace(0.0, np.sqrt(chi2.isf(_TAIL_MASS, d)), _NUM_PANELS + 1)
    nodes, weights = np.polynomial.legendre.leggauss(_ORDER)
    width = edges[1]
    radii = (edges[:-1, None] + 0.5 * width * (nodes + 1.0)).ravel()
    weights = np.tile(0.5 * width * weights, _NUM_PANELS)
    if d == 1:
        return Grid(np.array([[1.0], [-1.0]]), radii, weights, edges, np.zeros(2, dtype=int))
    if d == 2:
        total = 2 * GROUPS * max(1, -(-count // (2 * GROUPS)))
        angle = 2.0 * np.pi * (np.arange(total) + np.random.default_rng(seed).random()) / total
        directions = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return Grid(directions, radii, weights, edges, np.arange(total) % GROUPS)
    blocks = GROUPS * max(1, -(-count // (2 * d * GROUPS)))
    power = int(np.ceil(np.log2(blocks)))
    uniform = qmc.Sobol(d * d, rng=np.random.default_rng(seed)).random_base2(power)[:blocks]
    normal = norm.ppf(np.clip(uniform, 1e-12, 1.0 - 1e-12)).reshape(blocks, d, d)
    q, r = np.linalg.qr(normal)
    q = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
    directions = np.concatenate([q, -q], axis=2).transpose(0, 2, 1).reshape(-1, d)
    group = np.repeat(np.arange(blocks) * GROUPS // blocks, 2 * d)
    return Grid(directions, radii, weights, edges, group)


def default_directions(d: int) -> int:
    """Directions that suffice for most metrics: a lattice in the plane converges fast."""
    return 2 if d == 1 else 256 if d == 2 else 1024


class Moments(NamedTuple):
    """Integrals against the normal density of one precision matrix."""

    log_normalizer: float
    stderr: float  # of C, relative: spread over directions, integration, and what is unresolved
    sample_size: float  # effective number of directions
    probability: np.ndarray  # (K, R): quadrature weight times density, sums to 1
    groups: np.ndarray  # (GROUPS,) estimates of C / exp(log_normalizer)


class RayTable(NamedTuple):
    """The rays from one mean with everything that integrals over the tangent space need."""

    metric: AbstractMetric
    mean: np.ndarray
    scale: np.ndarray  # A, (d, d): directions are A θ
    grid: Grid
    rtol: float
    euclidean: bool  # whether tangents are in the authors' convention
    initial: np.ndarray  # (K, d): velocities of the rays at radius 1
    rays: Rays
    tangents: np.ndarray  # (K, R, d)
    length: np.ndarray  # (K, R)
    cut: Cut
    integrand: np.ndarray  # (K, R): the volume, transported or not
    coefficient: np.ndarray  # (K, R): another density's weights are coefficient × exp(−½q)
    beyond: np.ndarray  # (K, R): the same for what lies beyond the ends of the rays
    doubt: np.ndarray  # (broken, R): error of the coefficients of broken rays
    broken: np.ndarray  # indices of broken rays

    def moments(self, precision) -> Moments:
        """The normalizer ∫ m(v) exp(−½ vᵀPv) dv of a precision matrix P, and what goes with it."""
        form = 0.5 * ((self.tangents @ precision) * self.tangents).sum(axis=2)
        shift = form.min()
        terms = self.coefficient * np.exp(shift - form)
        total = terms.sum()
        if not (np.isfinite(total) and total > 0):
            raise ConvergenceError(
                f"the normalizer is {total:.3g}, not a positive number: no ray from the mean "
                f"{self.mean.tolist()} could be followed; is the metric finite, positive definite "
                "and smooth around it, and rtol not below what double precision can do?"
            )
        by_ray = terms.sum(axis=1)
        group, d = self.grid.group, self.tangents.shape[-1]
        shares = np.bincount(group, by_ray) / np.bincount(group) * len(group) / total
        error = np.hypot(shares.std(ddof=1) / np.sqrt(GROUPS), self.rtol) if d > 1 else self.rtol
        if self.broken.size:
            density = np.exp(shift - form[self.broken])
            doubt = np.abs((self.doubt * density).sum(axis=1))
            error += (_lost(density, self.beyond[self.broken]) + doubt).sum() / total
        size = by_ray.sum() ** 2 / (by_ray**2).sum()
        return Moments(
            float(np.log(total) - shift), float(error), float(size), terms / total, shares
        )

    def excluded(self, precision) -> dict[str, float]:
        """Mass beyond the cuts by reason, and that of the outermost panel, relative to C."""
        form = 0.5 * ((self.tangents @ precision) * self.tangents).sum(axis=2)
        density = np.exp(form.min() - form)
        total = (self.coefficient * density).sum()
        lost = _lost(density, self.beyond) / total
        tail = np.abs(self.coefficient * density)[:, self.grid.radii > self.grid.edges[-2]].sum()
        reason = self.cut.reason
        names = ("conjugate_mass", "cut_mass", "unresolved_mass")
        out = {n: float(lost[reason == i + 1].sum()) for i, n in enumerate(names)}
        return out | {"tail_mass": float(tail / total)}

    def transport(self) -> np.ndarray:
        """−∂Log_μ(x)/∂μ at every node, shape (K, R, d, d); the identity in flat space.

        Not derived for the authors' logarithms, where the identity stands for it, as in the paper.
        """
        rays, d = self.rays, self.tangents.shape[-1]
        eye = np.eye(d)
        if self.euclidean or straight(self.metric):
            return np.broadcast_to(eye, rays.by_mean.shape)
        usable = np.isfinite(rays.by_mean).all(axis=(2, 3)) & (np.abs(self.integrand) > 1e-12)
        left = np.where(usable[..., None, None], rays.by_velocity, eye)
        return np.linalg.solve(left, np.where(usable[..., None, None], rays.by_mean, eye))


def trace_table(
    metric, mean, scale, grid: Grid, *, euclidean=False, jacobian=True, rtol=1e-5
) -> RayTable:
    """Integrate the rays from a mean.

    Parameters
    ----------
    metric, mean
        Where the rays start.
    scale
        Matrix A, shape ``(d, d)``; directions are A θ, so that a covariance near A Aᵀ is resolved.
    grid
        From `make_grid`.
    euclidean
        Whether v has the authors' convention, in which the Euclidean norm of a logarithm is the
        length, in place of Exp's own.
    jacobian
        Whether the volume is transported by det D Exp, as it must be, or left as √det M.
    rtol
        Tolerance of the integration.
    """
    mean, scale = np.asarray(mean), np.asarray(scale)
    d, radii = mean.size, grid.radii
    start = grid.directions @ scale.T
    factor = stretch(metric, mean, start) if euclidean else np.ones(len(start))
    initial = start * factor[:, None]
    rays = trace_rays(metric, mean, initial, radii, rtol=rtol)
    with np.errstate(invalid="ignore"):  # NaN where a ray has left the chart
        volume = np.sqrt(np.maximum(np.linalg.det(rays.matrix), 0.0))
        turning = np.linalg.det(rays.by_velocity)
        begin = np.sqrt(np.linalg.det(np.asarray(metric_tensor(metric, mean))))
    length = rays.speed[:, None] * radii
    cut = cut_radii(metric, rays, length, turning, radii, not jacobian)
    integrand = volume * turning * factor[:, None] ** d if jacobian else volume
    begin = begin * (factor**d if jacobian else np.ones(len(start)))
    return RayTable(
        metric,
        mean,
        scale,
        grid,
        rtol,
        euclidean,
        initial,
        rays,
        start[:, None, :] * radii[None, :, None],
        length,
        cut,
        integrand,
        *_quadrature(grid, scale, integrand, begin, cut, rays.escaped),
    )


def stretch(metric, mean, start) -> np.ndarray:
    """|u| / |u|_M, from the authors' logarithm to the velocity."""
    gram = np.asarray(metric_tensor(metric, mean))
    return np.linalg.norm(start, axis=1) / np.sqrt(np.einsum("ki,ij,kj->k", start, gram, start))


def _quadrature(grid: Grid, scale, integrand, begin, cut: Cut, escaped):
    """Coefficients, those beyond the ends of the rays, their doubt, and the broken rays.

    What lies beyond the end of broken rays is estimated by their integrand, continued; nothing lies
    beyond rays that go to infinity. `begin` is the integrand at radius zero.
    """
    d, finite = len(scale), np.isfinite(integrand)
    if finite.all():
        continued = integrand
    else:
        continued = _continued(integrand, grid.radii, begin)
        continued[~finite & escaped[:, None]] = 0.0
    integrand = np.where(finite, integrand, 0.0)
    radial = panel_weights(grid, cut.radius, finite)
    broken = np.flatnonzero(cut.reason == BROKEN)
    ends, known = cut.radius[broken], finite[broken]
    radial[broken] = panel_weights(grid, ends, known, _ONE_SIDED_ORDER)
    rough = panel_weights(grid, ends, known, np.clip(known.sum(axis=1) - 1, 1, _ORDER))
    area = np.log(2.0) + 0.5 * d * np.log(np.pi) - gammaln(0.5 * d)
    front = np.exp(area) * np.abs(np.linalg.det(scale)) / len(grid.directions)
    polar = front * grid.radii ** (d - 1)
    coefficient = radial * polar * integrand
    beyond = np.abs(grid.weights * polar * continued) * (grid.radii > cut.radius[:, None])
    beyond[broken] = (grid.weights * polar * continued - coefficient)[broken]
    beyond[(cut.reason == BROKEN) & escaped] = 0.0
    doubt = (radial[broken] - rough) * polar * integrand[broken]
    return coefficient, beyond, doubt, broken


def _lost(density, beyond) -> np.ndarray:
    """The mass beyond the end of each ray."""
    return np.maximum((beyond * density).sum(axis=1), 0.0)


def _continued(integrand, radii, begin) -> np.ndarray:
    """The integrand with lines, not below zero, through the last two nodes of rays that broke.

    `begin` is its value at radius zero, the only one that is known if a ray breaks at once.
    """
    out, at = integrand.copy(), np.concatenate([[0.0], radii])
    for k in np.flatnonzero(~np.isfinite(integrand).all(axis=1)):
        first = int(np.argmin(np.isfinite(integrand[k])))
        known = np.concatenate([[begin[k]], integrand[k, :first]])[-2:]
        gap = np.diff(at[: first + 1][-2:])
        slope = np.diff(known) / gap if first else 0.0
        out[k, first:] = np.maximum(known[-1] + slope * (radii[first:] - at[first]), 0.0)
    return out


def panel_weights(grid: Grid, cut, finite, order=_ORDER) -> np.ndarray:
    """Weights (K, R) of ∫ from 0 to the cut of each ray: whole panels, then a part of one.

    The part is integrated through the polynomial of the `order` usable nodes nearest to it, which
    may lie beyond the cut, since the integrand is smooth there.
    """
    order = np.broadcast_to(order, len(finite))
    upper = grid.edges[1:].repeat(_ORDER)
    weights = np.where(upper <= cut[:, None] * (1.0 + 1e-12), grid.weights, 0.0)
    unit, share = np.polynomial.legendre.leggauss(_ORDER)
    for k in np.flatnonzero(cut < grid.edges[-1]):
        panel = int(np.searchsorted(grid.edges, cut[k], side="right")) - 1
        begin = grid.edges[panel]
        usable = np.flatnonzero(finite[k])
        if usable.size == 0 or cut[k] <= begin:
            continue
        middle = 0.5 * (begin + cut[k])
        near = usable[np.argsort(np.abs(grid.radii[usable] - middle))[: order[k]]]
        at = begin + 0.5 * (cut[k] - begin) * (unit + 1.0)
        gaps = grid.radii[near][:, None] - grid.radii[near][None, :] + np.eye(near.size)
        ratio = (at[:, None, None] - grid.radii[near][None, None, :]) / gaps[None]
        ratio[:, np.arange(near.size), np.arange(near.size)] = 1.0
        weights[k, near] += 0.5 * (cut[k] - begin) * (share @ ratio.prod(axis=2))
    return weights
