"""Distances on a regular grid in at most three dimensions: a check that knows nothing of curves.

The distance from a source solves the eikonal equation ``∇uᵀ M⁻¹ ∇u = 1``. Its semi-Lagrangian
discretisation (Tsitsiklis 1995; for anisotropic metrics Sethian and Vladimirsky 2003, Bornemann and
Rasch 2006) says that a node is reached through a point between nodes on the box around it:
``u(x) = min_z u(z) + |x − z|``, u linear on each face of the box. It is iterated from above to its
fixed point, all nodes at once. Every path on the grid is compared with every other, so that no
shorter one is missed for want of a start; the error is of first order in the spacing, and two grids
together tell its size.
"""

import functools
import itertools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core.checks import as_count
from landform._core.compilation import compiled
from landform._core.linalg import solve_spd
from landform._core.status import Status
from landform.solvers.base import AbstractSolver, Request, Solution
from landform.solvers.lengths import at_shares, segment_lengths

_REACH = {1: 1, 2: 3, 3: 1}  # half the side of the box around a node, in cells
_NEAR = 2  # boxes around the source whose nodes are reached along straight segments
_GRID_SIZE = {1: 501, 2: 101, 3: 21}
_DIRECTIONS = {2: 96, 3: 400}  # in which a path looks for where the wave came from
_MARGIN = 0.25  # of the longest extent of the points, left on every side of them


class Box(NamedTuple):
    """A regular grid."""

    low: np.ndarray
    spacing: np.ndarray
    shape: tuple[int, ...]

    @property
    def high(self) -> np.ndarray:
        """The corner opposite to `low`."""
        return self.low + self.spacing * (np.array(self.shape) - 1)

    @property
    def nodes(self) -> np.ndarray:
        """All nodes, ``(N, d)``, the last axis fastest."""
        axes = np.indices(self.shape).reshape(len(self.shape), -1).T
        return self.low + axes * self.spacing


class GridDistances(NamedTuple):
    """Distances by two grids, the finer with half of the spacing."""

    value: np.ndarray  # extrapolated to spacing zero; infinite where no path was found
    error: np.ndarray  # difference of the two grids


def box_around(points: np.ndarray, size: int) -> Box:
    """A grid of `size` nodes on the longest side, with a margin on every side of the points.

    The margin is the same on all sides: shortest paths between points on a line leave the line.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    pad = _MARGIN * (float((high - low).max()) or 1.0)
    low, high = low - pad, high + pad
    spacing = float((high - low).max()) / (size - 1)
    shape = tuple(int(np.ceil(side / spacing)) + 1 for side in high - low)
    return Box(low, np.full(low.size, spacing), shape)


def halved(box: Box) -> Box:
    """The grid with a node between each two neighbors."""
    return Box(box.low, box.spacing / 2.0, tuple(2 * n - 1 for n in box.shape))


def grid_distances(metric, sources: np.ndarray, targets: np.ndarray, box: Box) -> GridDistances:
    """Distances from every source to every target, ``(k, n)``, by `box` and by `box` halved."""
    coarse = _Grid(metric, box).distances(sources, targets)
    fine = _Grid(metric, halved(box)).distances(sources, targets)
    with np.errstate(invalid="ignore"):  # where neither grid has a path
        gap = np.where(np.isfinite(fine), np.abs(coarse - fine), np.inf)
        value = np.where(np.isfinite(gap), 2.0 * fine - coarse, fine)
    return GridDistances(value, gap)


def stencil(dim: int, reach: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Nodes on the box around a node ``(v, d)``, and its faces: (f, k) rows of them, k = 1..d."""
    cube = np.array(list(itertools.product(range(-reach, reach + 1), repeat=dim)))
    offsets = cube[np.abs(cube).max(axis=1) == reach]
    number = {tuple(o): i for i, o in enumerate(offsets.tolist())}
    faces = [np.arange(len(offsets))[:, None]]
    if dim == 1:
        return offsets, faces
    tops = set()
    for axis, side in itertools.product(range(dim), (-reach, reach)):
        for corner in itertools.product(range(-reach, reach), repeat=dim - 1):
            for order in itertools.permutations(range(dim - 1)):
                chain, at = [], list(corner)  # the simplices of the cell in Kuhn's triangulation
                for step in (None, *order):
                    if step is not None:
                        at[step] += 1
                    chain.append(number[(*at[:axis], side, *at[axis:])])
                tops.add(tuple(sorted(chain)))
    for k in range(2, dim + 1):
        parts = {part for top in tops for part in itertools.combinations(top, k)}
        faces.append(np.array(sorted(parts)))
    return offsets, faces


@compiled
def _matrices(metric, nodes):
    return jax.lax.map(metric, nodes, batch_size=2048)


@compiled
def _inverses(matrix, here, halfway, there, steps, faces):
    """For every node and face the inverse of ``XᵀMX``, X the steps from the face's corners.

    M is averaged along the way by Simpson's rule; with the trapezoidal rule its variation would
    cost more than the interpolation on the faces.
    """

    def one(face):
        sides = 4.0 * matrix[halfway[face]] + matrix[there[face]]
        middle = (matrix[here] + jnp.mean(sides, axis=0)) / 6.0
        step = steps[face]
        form = jnp.einsum("ia,nab,jb->nij", step, middle, step)
        return solve_spd(form, jnp.broadcast_to(jnp.eye(len(step), dtype=form.dtype), form.shape))

    return jax.lax.map(one, faces)  # (f, N, k, k)


@compiled
def _settle(start, neighbor, faces, inverses):
    """Iterate from above to the fixed point."""

    def through(u, face, inverse):
        """Arrival through the inside of a face; infinite where the way leads outside of it."""
        corner = jnp.moveaxis(u[neighbor[face]], 0, -1)  # (N, k)
        base = jnp.min(corner, axis=-1)
        late = corner - base[:, None]
        late = jnp.where(jnp.isfinite(late), late, jnp.nan)
        weight = jnp.sum(inverse, axis=-1)
        bent = jnp.sum(inverse * late[:, None, :], axis=-1)
        a, b = jnp.sum(weight, axis=-1), jnp.sum(bent, axis=-1)
        c = jnp.sum(bent * late, axis=-1) - 1.0
        wait = (b + jnp.sqrt(b * b - a * c)) / a
        inside = jnp.all(weight * wait[:, None] - bent >= 0.0, axis=-1)
        return jnp.where(inside, base + wait, jnp.inf)

    def sweep(carry):
        u, _ = carry
        best = u[:-1]
        for rows, tables in zip(faces, inverses, strict=True):
            arrivals = jax.lax.map(lambda f, u=u: through(u, *f), (rows, tables))
            best = jnp.minimum(best, jnp.min(arrivals, axis=0))
        moved = best < u[:-1] * (1.0 - 1e-12)
        return jnp.append(best, jnp.inf), jnp.any(moved)

    return jax.lax.while_loop(lambda carry: carry[1], sweep, (start, jnp.asarray(True)))[0]


class _Grid:
    """One grid: the metric at its nodes, and what the faces of all boxes need of it."""

    def __init__(self, metric, box: Box):
        self.metric, self.box = metric, box
        d = len(box.shape)
        self.reach = _REACH[d]
        self.nodes = box.nodes
        offsets, faces = stencil(d, self.reach)
        self.faces = tuple(jnp.asarray(rows) for rows in faces)
        count, double = len(self.nodes), halved(box)
        matrix = _matrices(metric, jnp.asarray(double.nodes))
        matrix = jnp.concatenate([matrix, jnp.full_like(matrix[:1], jnp.nan)])
        place = np.indices(box.shape).reshape(d, -1)
        there = place[None] + offsets[:, :, None]  # (v, d, N)
        inside = np.all((there >= 0) & (there < np.array(box.shape)[:, None]), axis=1)

        def index(places, shape, outside):
            flat = np.ravel_multi_index(np.moveaxis(places, 1, 0), shape, mode="clip")
            return jnp.asarray(np.where(inside, flat, outside))

        self.neighbor = index(there, box.shape, count)
        last = len(matrix) - 1
        halfway = index(place[None] + there, double.shape, last)
        corner = index(2 * there, double.shape, last)
        here = jnp.asarray(np.ravel_multi_index(2 * place, double.shape))
        steps = jnp.asarray(offsets * box.spacing)
        self.inverses = tuple(
            _inverses(matrix, here, halfway, corner, steps, rows) for rows in self.faces
        )

    def distances(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """From every source to every target, ``(k, n)``; infinite without a path."""
        return np.stack([self._from(source, targets) for source in sources])

    def _settled(self, source) -> np.ndarray:
        """Arrival times at all nodes."""
        start = np.full(len(self.nodes) + 1, np.inf)
        near = self._close(source, self.nodes)
        start[near] = self._straight(source, self.nodes[near])
        settled = _settle(jnp.asarray(start), self.neighbor, self.faces, self.inverses)
        return np.asarray(settled)[:-1]

    def _from(self, source, targets):
        out = self._interpolate(self._settled(source), targets)
        near = self._close(source, targets)
        out[near] = self._straight(source, targets[near])
        return out

    def _close(self, source, points):
        gap = np.abs(points - source) / self.box.spacing
        return np.flatnonzero(gap.max(axis=1) <= _NEAR * self.reach)

    def _straight(self, source, points):
        lengths = segment_lengths(self.metric, np.broadcast_to(source, points.shape), points)
        return np.where(np.isfinite(lengths), lengths, np.inf)

    def _interpolate(self, values, targets):
        """Linear in the cell of every target; a corner of weight zero has no say."""
        d = len(self.box.shape)
        cell = np.floor((targets - self.box.low) / self.box.spacing).astype(int)
        cell = np.clip(cell, 0, np.array(self.box.shape) - 2)
        share = (targets - self.box.low) / self.box.spacing - cell
        total, reached = np.zeros(len(targets)), np.zeros(len(targets), dtype=bool)
        for corner in itertools.product((0, 1), repeat=d):
            weight = np.prod(np.where(corner, share, 1.0 - share), axis=1)
            arrival = values[np.ravel_multi_index((cell + corner).T, self.box.shape)]
            total += np.where(weight > 0.0, weight, 0.0) * np.where(weight > 0.0, arrival, 0.0)
            reached |= weight > 0.0
        return np.where(reached, total, np.inf)

    def paths(self, source, targets: np.ndarray) -> list[np.ndarray | None]:
        """A polyline from the source to every target, against the arrival times; None without."""
        values = self._settled(source)
        return [self._descend(values, source, target) for target in targets]

    def _descend(self, values, source, target):
        """Steps to the place around from which the wave came, until the source is near."""
        step = self.reach * float(self.box.spacing[0])
        around = step * _directions(len(self.box.shape))
        path, here, arrival = [target], target, np.inf
        while not self._close(source, here[None]).size:
            places = here + around
            inside = np.all((places >= self.box.low) & (places <= self.box.high), axis=1)
            times = np.full(len(places), np.inf)
            times[inside] = self._interpolate(values, places[inside])
            ahead = np.flatnonzero(times < arrival)
            if ahead.size == 0:
                return None
            through = times[ahead] + self._straight(here, places[ahead])
            best = ahead[int(np.argmin(through))]
            here, arrival = places[best], times[best]
            path.append(here)
        return np.stack([*path, source][::-1])


@functools.cache
def _directions(dim: int) -> np.ndarray:
    """Unit vectors in all directions of one, two or three dimensions, evenly spread."""
    if dim == 1:
        return np.array([[-1.0], [1.0]])
    turn = np.arange(_DIRECTIONS[dim]) + 0.5
    if dim == 2:
        angle = 2.0 * np.pi * turn / turn.size
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    height = 1.0 - 2.0 * turn / turn.size
    angle = np.pi * (1.0 + np.sqrt(5.0)) * turn  # a spiral by the golden ratio
    radius = np.sqrt(1.0 - height**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)


class EikonalSolver(AbstractSolver):
    """Shortest paths by the eikonal equation on a regular grid, in at most three dimensions.

    Every path in a box around the end points and the metric's landmarks is compared with every
    other, so that none is missed for want of a start. Distances of `pairwise_distances` are
    extrapolated from two grids and some tenths of a percent off; curves follow the gradient of the
    arrival times of the finer grid, are longer by the grid's resolution and no geodesics: their
    status is `Status.APPROXIMATE`.

    Parameters
    ----------
    grid_size
        Nodes on the longest side of the coarser grid; None for 501, 101 and 21 in one, two and
        three dimensions.

    Raises
    ------
    TypeError, ValueError
        Unless `grid_size` is an integer of at least 5; in `solve` in more than three dimensions.

    Notes
    -----
    Seconds for each source. Tsitsiklis 1995; Sethian and Vladimirsky 2003.

    Examples
    --------
    >>> import landform as lf
    >>> x, y, solver = [-1.0, 1.0], [1.0, 1.0], lf.EikonalSolver(51)
    >>> path = lf.geodesic(lf.PoincareHalfPlane(), x, y, solver=solver)
    >>> exact = lf.PoincareHalfPlane().exact_distance(x, y)
    >>> lf.Status(int(path.status)).name, bool(abs(path.length / exact - 1.0) < 0.01)
    ('APPROXIMATE', True)
    """

    grid_size: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if self.grid_size is not None:
            as_count("grid_size", self.grid_size, 5)

    def _box(self, metric, *points: np.ndarray) -> Box:
        dim = points[0].shape[-1]
        if dim > max(_GRID_SIZE):
            raise ValueError(f"a grid needs points with at most 3 coordinates, got {dim}")
        landmarks = metric.landmarks()
        known = points if landmarks is None else (*points, np.asarray(landmarks))
        size = _GRID_SIZE[dim] if self.grid_size is None else int(self.grid_size)
        return box_around(np.concatenate(known), size)

    def solve(self, metric, x, y, request: Request) -> Solution:
        """A path for each pair on a grid of its own, at equal shares of its length."""
        times = np.linspace(0.0, 1.0, request.num_points)
        nodes = x[:, None] + (y - x)[:, None] * times[:, None]
        status = np.full(x.shape[0], int(Status.DISCONNECTED))
        grids: dict[bytes, _Grid] = {}  # pairs among the landmarks share theirs
        for i in range(x.shape[0]):
            box = halved(self._box(metric, x[i, None], y[i, None]))
            key = b"".join(np.asarray(part).tobytes() for part in box)
            grids = grids if key in grids else {key: _Grid(metric, box)}
            path = grids[key].paths(x[i], y[i, None])[0]
            if path is not None:
                lengths = segment_lengths(metric, path[:-1], path[1:])
                travelled = np.append(0.0, np.cumsum(lengths))
                nodes[i] = at_shares(path, travelled, times)
                status[i] = int(Status.APPROXIMATE)
        return Solution(nodes, 1, status)

    def distances(self, metric, X, Y):
        """Distances between all points, by two grids that hold all of them."""
        distances = grid_distances(metric, X, Y, self._box(metric, X, Y)).value
        if X is Y:
            distances = 0.5 * (distances + distances.T)
            np.fill_diagonal(distances, 0.0)
        reached = np.isfinite(distances)
        status = np.where(reached, int(Status.APPROXIMATE), int(Status.DISCONNECTED))
        return np.where(reached, distances, np.nan), status
