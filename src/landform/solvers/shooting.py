"""Geodesics by shooting: Newton's method on the initial velocity."""

import equinox as eqx
import numpy as np

from landform._core.checks import as_count
from landform._core.status import Status
from landform.solvers.base import AbstractSolver, Request, Solution
from landform.solvers.elements import Rule
from landform.solvers.ivp import AdaptiveIVP, integrate

_DEGREE = 4  # of the elements on which a curve is returned
_MISS_RTOL = 1e-9  # distance in coordinates from the end point, over their size, at arrival
_SHORTEST_STEP = 2.0**-10  # share of a Newton step below which no descent is found


class ShootingSolver(AbstractSolver):
    """Geodesics as initial value problems: the velocity at x whose geodesic arrives at y.

    Newton's method with the differential of the exponential map, from the straight line's velocity,
    shortened until the miss becomes smaller. It needs no discretisation of the curve and serves as
    an independent check of `EnergySolver`. It finds geodesics that are not shortest as readily, and
    fails where small changes of the velocity are large changes of the end: on metrics with narrow
    features, over long distances, and where many iterations would be needed.

    Parameters
    ----------
    ivp
        How geodesics are integrated; an `AdaptiveIVP`.
    max_steps
        Integrations for each pair.

    Raises
    ------
    TypeError, ValueError
        If an option is not what it should be.

    Notes
    -----
    Each integration carries d Jacobi fields.

    Examples
    --------
    >>> import landform as lf
    >>> plane, x, y = lf.PoincareHalfPlane(), [-1.0, 1.0], [1.0, 1.0]
    >>> path = lf.geodesic(plane, x, y, solver=lf.ShootingSolver())
    >>> bool(path.converged), round(float(path.length - plane.exact_distance(x, y)), 8)
    (True, 0.0)
    """

    ivp: AdaptiveIVP = eqx.field(static=True, default_factory=AdaptiveIVP)
    max_steps: int = eqx.field(static=True, default=50)

    def __check_init__(self):
        if not isinstance(self.ivp, AdaptiveIVP):
            raise TypeError(f"ivp must be an AdaptiveIVP, got {type(self.ivp).__name__}")
        as_count("max_steps", self.max_steps)

    def solve(self, metric, x, y, request: Request) -> Solution:
        """One initial value problem after another, all pairs together."""
        velocity, status, steps = self._aim(metric, x, y, self._first(x, y, request))
        rule = Rule(max(1, -(-(request.num_points - 1) // _DEGREE)), _DEGREE)
        nodes = x[:, None] + (y - x)[:, None] * rule.times[:, None]
        met = np.flatnonzero(status == Status.CONVERGED)
        if met.size:
            inner = rule.times[1:-1]
            start = np.repeat(x[met], inner.size, axis=0)
            pace = (velocity[met][:, None] * inner[:, None]).reshape(start.shape)
            landed = integrate(metric, np.stack([start, pace], axis=1)[:, :, None], self.ivp)
            points = np.asarray(landed.state)[:, 0, 0].reshape(met.size, inner.size, -1)
            nodes[met, 1:-1] = points
        return Solution(nodes, _DEGREE, status, iterations=steps)

    def _first(self, x, y, request: Request) -> np.ndarray:
        """Initial velocities: of the start curves, or of straight lines."""
        if request.init is None:
            return y - x
        step = 1e-3
        ends = np.asarray(request.init(np.array([0.0, step])), dtype=x.dtype)
        ends = np.broadcast_to(ends, (x.shape[0], *ends.shape[-2:]))
        return (ends[:, 1] - ends[:, 0]) / step

    def _aim(self, metric, x, y, velocity):
        """Velocities that arrive, with the status and the number of integrations of every pair."""
        n, d = x.shape
        size = np.maximum(np.abs(x), np.abs(y)).max(axis=1)
        known, share = np.array(velocity), np.ones(n)
        miss = np.full(n, np.inf)  # of the best velocity so far
        newton = np.zeros((n, d))
        status, steps = np.full(n, int(Status.MAX_STEPS)), np.zeros(n, dtype=int)
        running = np.arange(n)
        for _ in range(self.max_steps):
            tried = known[running] + share[running, None] * newton[running]
            point, differential, arrived = _shoot(metric, x[running], tried, self.ivp)
            steps[running] += 1
            gap = y[running] - point
            off = np.where(arrived, np.abs(gap).max(axis=1), np.inf)
            better = off < miss[running]
            rows = running[better]
            known[rows], miss[rows], share[rows] = tried[better], off[better], 1.0
            newton[rows] = _solve(differential[better], gap[better])
            share[running[~better]] *= 0.5
            status[running[off <= _MISS_RTOL * size[running]]] = int(Status.CONVERGED)
            lost = (share[running] < _SHORTEST_STEP) | ~np.isfinite(newton[running]).all(axis=1)
            lost &= status[running] != Status.CONVERGED
            status[running[lost]] = int(Status.STALLED)
            running = running[status[running] == Status.MAX_STEPS]
            if running.size == 0:
                break
        return known, status, steps


def _shoot(metric, x, v, ivp: AdaptiveIVP):
    """End points ``(n, d)``, their derivatives in v ``(n, d, d)``, and which geodesics arrived."""
    n, d = x.shape
    position = np.concatenate([x[:, None], np.zeros((n, d, d), x.dtype)], axis=1)
    fields = np.broadcast_to(np.eye(d, dtype=x.dtype), (n, d, d))
    states = np.stack([position, np.concatenate([v[:, None], fields], axis=1)], axis=1)
    landed = integrate(metric, states, ivp)
    ends = np.asarray(landed.state)[:, 0]
    arrived = (np.asarray(landed.status) == Status.CONVERGED) & np.isfinite(ends).all(axis=(1, 2))
    return ends[:, 0], np.swapaxes(ends[:, 1:], 1, 2), arrived


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Newton steps; NaN where the differential is singular."""
    out = np.full(right.shape, np.nan)
    regular = np.linalg.matrix_rank(matrix) == matrix.shape[-1]
    if regular.any():
        out[regular] = np.linalg.solve(matrix[regular], right[regular][..., None])[..., 0]
    return out
