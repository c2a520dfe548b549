"""Where rays of the exponential map stop being shortest: conjugate points and the cut locus."""

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from landform.solvers.lengths import segment_lengths
from landform.stats.land.rays import straight

CONJUGATE, CUT, BROKEN = 1, 2, 3
_NEIGHBORS = 12  # nearest nodes through which a shorter path is sought
_TRAPEZOID_SAFETY = 0.98  # a short segment has at least this share of its trapezoidal length
_CONSTANT_RTOL = 1e-9  # change of the metric along rays, up to which it is constant
_MIN_EXCESS = 1e-3  # relative, over another path; less may be the error of the integration


class Cut(NamedTuple):
    """Where each of K rays ends, in the radius of the rays, infinite where it does not, and why."""

    radius: np.ndarray
    reason: np.ndarray  # 0: not cut, else CONJUGATE, CUT or BROKEN


def cut_radii(metric, rays, length, jacobian, radii, paper: bool) -> Cut:
    """The first conjugate point, proven longer path, or end of the chart of every ray.

    A conjugate point is a change of sign of det D Exp, or a zero of its smallest singular value,
    which also sees even multiplicities. A node is beyond the cut locus if
    a node of another ray joined to it by a straight segment makes a shorter path: a proof, which
    misses nodes that are beyond by less than the gaps between rays.
    """
    count = length.shape[0]
    finite = np.isfinite(rays.points).all(axis=2) & np.isfinite(jacobian)
    finite &= np.isfinite(rays.matrix).all(axis=(2, 3))
    reason = np.zeros(count, dtype=int)
    radius = np.full(count, np.inf)
    if paper:
        return _end_of_chart(finite, rays.reach, radii, radius, reason)
    if straight(metric) or (finite.all() and _is_flat(rays)):
        return Cut(radius, reason)
    folded = finite & ((jacobian <= 0.0) | _touches(rays, finite, radii))
    _end_of_chart(finite, rays.reach, radii, radius, reason)
    determinant = jacobian * radii ** rays.points.shape[2]
    for k in np.flatnonzero(folded.any(axis=1) | (reason > 0)):
        usable = np.flatnonzero(finite[k] & (np.cumsum(~finite[k]) == 0))
        bad = np.flatnonzero(folded[k])
        if rays.escaped[k] and not bad.size:
            continue  # the determinant in the chart goes to infinity with the ray
        first = bad[0] if bad.size else (usable[-1] + 1 if usable.size else 0)
        root = _root(radii, determinant[k], first, usable)
        limit = radii[first] if bad.size else radius[k]
        if np.isfinite(root) and root <= limit:
            radius[k], reason[k] = root, CONJUGATE
        elif bad.size:
            before = radii[first - 1] if first else 0.0
            radius[k], reason[k] = 0.5 * (before + radii[first]), CONJUGATE
    inside = finite & (radii <= radius[:, None])
    for k, node in _overtaken(metric, rays, length, inside):
        if radii[node] < radius[k]:
            radius[k], reason[k] = radii[node], CUT
    return Cut(radius, reason)


def _is_flat(rays) -> bool:
    """Whether the rays are straight lines of a constant metric, which nothing cuts."""
    eye, first = np.eye(rays.points.shape[2]), rays.matrix[0, 0]
    lines = np.abs(rays.by_velocity - eye).max() < _CONSTANT_RTOL
    return bool(lines and np.abs(rays.matrix - first).max() < _CONSTANT_RTOL * np.abs(first).max())


def _end_of_chart(finite, reach, radii, radius, reason):
    for k in np.flatnonzero(~finite.all(axis=1)):
        first = int(np.argmin(finite[k]))
        before = radii[first - 1] if first else 0.0
        radius[k] = reach[k] if before <= reach[k] <= radii[first] else before
        reason[k] = BROKEN
    return Cut(radius, reason)


def _touches(rays, finite, radii):
    """Whether D Exp is singular between a node and the one before it; only from d = 3 on.

    There det D Exp can touch zero without a change of sign. The smallest singular value, measured
    by the metric at the end, then falls to zero along a line and rises along another.
    """
    out = np.zeros(finite.shape, dtype=bool)
    if rays.points.shape[2] < 3:
        return out
    usable = finite[..., None, None]
    jacobian = np.where(usable, rays.by_velocity, 0.0)
    gram = jacobian.swapaxes(-1, -2) @ np.where(usable, rays.matrix, 0.0) @ jacobian
    width = radii * np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[..., 0], 0.0))
    slope = np.diff(width, axis=1) / np.diff(radii)
    gap = np.diff(radii)[1:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        fall = -width[:, 1:-2] / slope[:, :-2]  # how far after the earlier node the line is zero
        rise = gap - width[:, 2:-1] / slope[:, 2:]
    near = (slope[:, :-2] < 0) & (slope[:, 2:] > 0) & (np.abs(fall - rise) < 0.25 * gap)
    inside = (fall > -0.1 * gap) & (fall < 1.1 * gap)
    every = finite[:, :-3] & finite[:, 3:]
    out[:, 2:-1] = near & inside & every
    return out


def _root(radii, values, first, usable):
    """The zero of the determinant around node `first`, by a cubic through its neighbors."""
    if usable.size < 4:
        return np.inf
    last = min(first, usable[-1])
    near = usable[max(0, np.searchsorted(usable, last) - 3) :][:4]
    begin = radii[max(first - 1, 0)]
    scale = radii[near[-1]] - radii[near[0]]
    fit = np.polyfit((radii[near] - begin) / scale, values[near], len(near) - 1)
    # A double zero, as on spheres of three dimensions, comes out as a complex pair around it.
    roots = np.roots(fit)
    roots = roots.real[(np.abs(roots.imag) < 0.2) & (roots.real >= -1e-9)]
    return begin + scale * roots.min() if roots.size else np.inf


def _overtaken(metric, rays, length, inside):
    """Pairs (ray, node) of the nodes to which another ray's node gives a shorter path."""
    ray, node = np.nonzero(inside)
    if ray.size < 2:
        return
    bounds = PathBounds(metric, rays, length, inside)
    bound, _ = bounds.bound(rays.points[ray, node], length[ray, node], ray, rays.matrix[ray, node])
    for i in np.flatnonzero(bound < length[ray, node] * (1.0 - _MIN_EXCESS)):
        yield ray[i], node[i]


class PathBounds:
    """The nodes of rays as end points of known paths from their mean."""

    def __init__(self, metric, rays, length, inside):
        self.metric = metric
        self.ray, self.node = np.nonzero(inside)
        self.points = rays.points[self.ray, self.node]
        self.matrix = rays.matrix[self.ray, self.node]
        self.length = length[self.ray, self.node]
        spread = np.ptp(self.points, axis=0)
        self.scale = np.where(spread > 0, spread, 1.0)
        self.tree = cKDTree(self.points / self.scale)

    def bound(self, points, length, ray=None, matrix=None):
        """Lengths of shorter paths from the mean to `points`, and the nodes they go through.

        Infinite, and −1, where none is found.

        A path runs along a ray to a node and from there straight to the point; only nodes of other
        rays than `ray` count, and only those that seem to lead to less than `length`, by the metric
        at the node and, where it is given as `matrix`, at the point: other segments need not be
        measured.
        """
        k = min(_NEIGHBORS, self.length.size)
        near = self.tree.query(points / self.scale, k=k)[1].reshape(len(points), k)
        which = np.repeat(np.arange(len(points)), k)
        end = near.ravel()
        goal = length[which] * (1.0 - _MIN_EXCESS)
        usable = self.length[end] < goal
        if ray is not None:
            usable &= self.ray[end] != ray[which]
        which, end, goal = which[usable], end[usable], goal[usable]
        gap = self.points[end] - points[which]
        rough = 0.5 * np.sqrt(np.einsum("ni,nij,nj->n", gap, self.matrix[end], gap))
        if matrix is not None:
            other = np.sqrt(np.einsum("ni,nij,nj->n", gap, matrix[which], gap))
            rough = _TRAPEZOID_SAFETY * (rough + 0.5 * other)
        usable = self.length[end] + rough < goal
        which, end = which[usable], end[usable]
        out, through = np.full(len(points), np.inf), np.full(len(points), -1)
        total = self.length[end] + segment_lengths(self.metric, self.points[end], points[which])
        order = np.argsort(-total, kind="stable")  # the shortest is written last
        out[which[order]], through[which[order]] = total[order], end[order]
        return out, through
