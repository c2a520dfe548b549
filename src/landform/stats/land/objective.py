"""The likelihood of one component at a mean, with the best covariance for it."""

import warnings
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.spatial import cKDTree

from landform._core.status import ConvergenceError
from landform.geodesics._logarithms import Logarithms, logarithms
from landform.metrics.analytic import AbstractClosedForm
from landform.metrics.base import AbstractMetric, metric_tensor
from landform.stats.land.cut_locus import PathBounds
from landform.stats.land.density import Normalizer, euclidean_logs
from landform.stats.land.normalizer import Grid, Moments, RayTable, make_grid, trace_table
from landform.stats.land.rays import trace_rays
from landform.stats.land.starts import subsample

_GRADIENT_TOL = 1e-12  # in nats of whitened units, at which the covariance is optimal
_MIN_RELATIVE_GAIN = 1e-14  # of a Newton step; smaller ones are rounding
_MIN_VARIANCE_RATIO = 1e-8  # least eigenvalue of a second moment over the largest

_NEIGHBORS = 4  # nodes from which ∂Log/∂μ is interpolated
_MAX_TRACED = 128  # data with rays of their own

_MAX_FAILED = 0.05  # share of the weight without a logarithm, above which a fit fails
_COARSE_DATA = 512  # data in the coarse stage
_COARSE_DIRECTIONS = 64  # in the coarse stage in two dimensions; twice that in more


class FitProblem(NamedTuple):
    """What does not change during a fit, or during one level of it."""

    metric: AbstractMetric
    X: np.ndarray
    grid: Grid
    normalizer: Normalizer
    covariance_type: str
    rtol: float
    floor: float = 0.0  # least variance in any direction, measured by the metric
    accuracy: float = 1e-6
    exact_gradient: bool = True  # with rays to some of the data, not interpolated for all

    def logarithms(self, mean, previous: Logarithms | None = None) -> Logarithms:
        """Log_mean(X) with the accuracy of this level."""
        return logarithms(self.metric, mean, self.X, self.accuracy, previous)

    def coarser(self, weights, seed: int) -> "tuple[FitProblem, np.ndarray, np.ndarray] | None":
        """The problem of the coarse stage, its rows of the data, and their weights.

        It has fewer directions, looser tolerances and at most 512 data; None if it is the same.
        """
        n, d = self.X.shape
        count = _COARSE_DIRECTIONS if d == 2 else 2 * _COARSE_DIRECTIONS
        if d == 1 or (len(self.grid.directions) < 2 * count and n <= _COARSE_DATA):
            return None
        rows, weights = subsample(weights, _COARSE_DATA, np.random.default_rng(seed))
        order = np.argsort(rows)
        rows, weights = rows[order], weights[order]
        level = self._replace(
            X=self.X[rows],
            grid=make_grid(d, min(count, len(self.grid.directions)), seed),
            rtol=max(self.rtol, 1e-3),
            accuracy=max(self.accuracy, 1e-4),
            exact_gradient=False,
        )
        return level, rows, weights


class ComponentFit(NamedTuple):
    """One mean with its logarithms, rays, best covariance and objective."""

    mean: np.ndarray
    logs: Logarithms
    table: RayTable
    whiten: np.ndarray  # correction of the rays' scale to the second moment's square root
    precision: np.ndarray
    moments: Moments
    objective: float  # negative log-likelihood per unit of weight, against dM
    gradient: np.ndarray | None = None  # computed when it is needed

    @property
    def covariance(self) -> np.ndarray:
        """Σ."""
        return np.linalg.inv(self.precision)

    @property
    def slope(self) -> float:
        """The gradient's norm under Σ; half its square is about what a step can gain."""
        assert self.gradient is not None
        return float(np.sqrt(max(self.gradient @ self.covariance @ self.gradient, 0.0)))


def with_gradient(problem: FitProblem, component: ComponentFit, weights) -> ComponentFit:
    """The component with its gradient."""
    gram = np.asarray(metric_tensor(problem.metric, component.mean))
    _, tangents, share = second_moment(problem, component.mean, weights, component.logs, gram)
    found = gradient(
        component.table,
        component.precision,
        component.moments,
        tangents,
        share,
        problem.exact_gradient,
    )
    return component._replace(gradient=found)


def tangents_of(problem: FitProblem, mean, logs: Logarithms) -> np.ndarray:
    """The logarithms in the normalizer's convention."""
    if problem.normalizer == "exact":
        return logs.vectors
    return np.asarray(euclidean_logs(problem.metric, mean, jnp.asarray(logs.vectors)))


def profile(problem: FitProblem, mean, weights, logs: Logarithms, whiten=None) -> ComponentFit:
    """The best covariance at a mean and the objective there, with new rays.

    The scale of the rays is the root of the second moment, for `diag` and `spherical` of the
    covariance of that kind which it makes, times `whiten`, which a line search keeps fixed, so that
    the objective is one smooth function of the mean.
    """
    gram = np.asarray(metric_tensor(problem.metric, mean))
    if not np.isfinite(gram).all():
        raise ConvergenceError("the metric is not defined at the mean")
    check_lost(weights, logs.ok)
    correction = np.eye(len(gram)) if whiten is None else whiten
    moment = second_moment(problem, mean, weights, logs, gram)[0]
    table = table_at(problem, mean, _root(problem, moment, gram) @ correction)
    logs = _reroute(problem, table, logs, weights, gram)
    component = _assemble(problem, weights, logs, table, correction, gram)
    if whiten is None and not covered(component):
        moment = second_moment(problem, mean, weights, logs, gram)[0]
        root = _root(problem, moment, gram)
        correction = np.linalg.solve(root, np.linalg.cholesky(component.covariance))
        table = table_at(problem, mean, root @ correction)
        component = _assemble(problem, weights, logs, table, correction, gram)
    return component


def _root(problem: FitProblem, moment, gram) -> np.ndarray:
    return np.linalg.cholesky(restricted(moment, problem.covariance_type, gram))


def reweight(problem: FitProblem, component: ComponentFit, weights) -> ComponentFit:
    """The same mean for other weights, with the same rays if they resolve the new covariance."""
    gram = np.asarray(metric_tensor(problem.metric, component.mean))
    check_lost(weights, component.logs.ok)
    try:
        new = _assemble(problem, weights, component.logs, component.table, component.whiten, gram)
        if covered(new):
            return new
    except ConvergenceError:
        pass  # the rays are far too long or too short
    return profile(problem, component.mean, weights, component.logs)


def lifted(problem: FitProblem, component: ComponentFit, weights) -> ComponentFit:
    """A result of the coarse stage, with the curves and rays of `problem`."""
    same = len(component.logs.ok) == len(problem.X)
    logs = problem.logarithms(component.mean, component.logs if same else None)
    return profile(problem, component.mean, weights, logs, component.whiten)


def covered(component: ComponentFit) -> bool:
    """Whether the rays' directions and radii suit the covariance."""
    spread = np.linalg.eigvalsh(
        component.table.scale.T @ component.precision @ component.table.scale
    )
    return bool(spread[0] > 0.4 and spread[-1] < 2.5)


def check_lost(weights, usable) -> None:
    """Raise `ConvergenceError` where more than 5 % of the weight has no logarithm."""
    lost = weights[~usable].sum() / weights.sum()
    if lost > _MAX_FAILED:
        raise ConvergenceError(
            f"{100 * lost:.0f} % of the data have no geodesic to the mean (limit 5 %); the metric "
            "may be too rough: use a larger sigma or rho; or leave out points far from all others"
        )


def warn_of_lost(usable, stacklevel: int) -> None:
    """Warn of points without a logarithm, if there are any, from the caller's line."""
    if lost := int((~usable).sum()):
        warnings.warn(
            f"{lost} of {len(usable)} points of X have no geodesic to the mean and were left out, "
            "as points far from all others may be",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def second_moment(problem: FitProblem, mean, weights, logs: Logarithms, gram):
    """The weighted second moment of the logarithms, the logarithms, and the weights' shares."""
    share = weights * logs.ok
    share = share / share.sum()
    tangents = tangents_of(problem, mean, logs)
    moment = (tangents * share[:, None]).T @ tangents
    return floored(moment, gram, problem.floor), tangents, share


def _assemble(problem, weights, logs, table, whiten, gram) -> ComponentFit:
    moment = second_moment(problem, table.mean, weights, logs, gram)[0]
    precision, moments = best_precision(table, moment, problem.covariance_type, gram)
    objective = float(0.5 * np.sum(precision * moment) + moments.log_normalizer)
    return ComponentFit(table.mean, logs, table, whiten, precision, moments, objective)


def table_at(problem: FitProblem, mean, scale) -> RayTable:
    """New rays from a mean."""
    paper = problem.normalizer == "paper"
    return trace_table(
        problem.metric,
        mean,
        scale,
        problem.grid,
        euclidean=paper,
        jacobian=not paper,
        rtol=problem.rtol,
    )


def _reroute(problem, table, logs: Logarithms, weights, gram) -> Logarithms:
    """Logarithms along shorter paths, for data to which a ray of the table leads on one."""
    if isinstance(problem.metric, AbstractClosedForm):
        return logs
    length = np.sqrt(np.einsum("ni,ij,nj->n", logs.vectors, gram, logs.vectors))
    inside = np.isfinite(table.rays.points).all(axis=2)
    inside &= table.grid.radii <= table.cut.radius[:, None]
    rows = np.flatnonzero(logs.ok & (weights > 0))
    bounds = PathBounds(problem.metric, table.rays, table.length, inside)
    bound, through = bounds.bound(problem.X[rows], length[rows])
    found = np.flatnonzero(bound < length[rows] * (1.0 - 1e-3))
    if found.size == 0:
        return logs
    nodes = logs.nodes[rows[found]].copy()
    for i, k in enumerate(found):
        ray, last, row = bounds.ray[through[k]], bounds.node[through[k]] + 1, rows[k]
        way = np.concatenate(
            [table.mean[None], table.rays.points[ray, :last], problem.X[row][None]]
        )
        at = np.concatenate([[0.0], table.length[ray, :last], [bound[k]]]) / bound[k]
        nodes[i] = np.stack([np.interp(logs.rule.times, at, column) for column in way.T], axis=1)
    rows = rows[found]
    known = logs.take(rows)._replace(nodes=nodes)
    fresh = logarithms(problem.metric, table.mean, problem.X[rows], problem.accuracy, known)
    better = fresh.ok & (fresh.length < length[rows] * (1.0 - 1e-9))
    return logs.replaced(rows, fresh, better)


def gradient(table: RayTable, precision, moments, tangents, share, exact: bool) -> np.ndarray:
    """∂ of the objective by the mean, at fixed chart components of Σ.

    Since C = ∫ exp(−½|Log_μ x|²) dM, both terms are averages of Tᵀ Σ⁻¹ Log with T = −∂Log/∂μ: over
    the model's law, at the rays' nodes, minus over the data. For the data T is interpolated between
    nodes; with `exact` the mean error of that is measured on some of them by rays of their own.
    """
    transport = table.transport()
    force = moments.probability[..., None] * (table.tangents @ precision)
    model = np.einsum("krij,kri->j", transport, force)
    if table.euclidean:
        return model - precision @ (share @ tangents)
    back = np.linalg.inv(table.scale)
    rows, columns = np.nonzero(np.abs(table.coefficient) > 0)
    tree = cKDTree(table.tangents[rows, columns] @ back.T)
    k = min(_NEIGHBORS, rows.size)
    gap, near = tree.query(tangents @ back.T, k=k)
    near, weight = near.reshape(len(tangents), k), 1.0 / (gap.reshape(len(tangents), k) + 1e-9)
    weight /= weight.sum(axis=1, keepdims=True)
    local = np.einsum("nk,nkij->nij", weight, transport[rows[near], columns[near]])
    values = np.einsum("nij,ni->nj", local, tangents @ precision)
    if not exact:
        return model - share @ values
    stride = max(1, -(-len(tangents) // _MAX_TRACED))
    some = np.flatnonzero(share > 0)[::stride]
    traced, known = _transport_of(table, tangents[some])
    some = some[known]
    factor = share.sum() / share[some].sum() if some.size else 1.0
    gap = traced[known] - local[some]
    correction = np.einsum("nij,ni->nj", gap, tangents[some] @ precision)
    return model - share @ values - factor * (share[some] @ correction)


def _transport_of(table: RayTable, vectors):
    """T at given velocities, and the indices where it is known."""
    radii = np.ones_like(table.grid.radii)  # one radius, repeated: this shape is compiled already
    rays = trace_rays(table.metric, table.mean, vectors, radii, rtol=table.rtol)
    left, right = rays.by_velocity[:, 0], rays.by_mean[:, 0]
    known = np.flatnonzero(np.isfinite(left).all(axis=(1, 2)) & np.isfinite(right).all(axis=(1, 2)))
    known = known[np.abs(np.linalg.det(left[known])) > 1e-9]
    out = np.zeros_like(left)
    out[known] = np.linalg.solve(left[known], right[known])
    return out, known


def floored(moment, gram, floor=0.0) -> np.ndarray:
    """A second moment with no eigenvalue under `floor` and 1e-8 of the largest, by the metric."""
    root = np.linalg.cholesky(gram)
    values, vectors = np.linalg.eigh(root.T @ moment @ root)
    least = max(floor, _MIN_VARIANCE_RATIO * values[-1])
    if not least > 0:
        raise ValueError("X must have spread around the mean: all points of a component are equal")
    if values[0] >= least:
        return moment
    half = np.linalg.solve(root.T, vectors * np.sqrt(np.maximum(values, least)))
    return half @ half.T


def restricted(moment, kind: str, gram) -> np.ndarray:
    """The best covariance of a kind for a second moment under a flat metric."""
    if kind == "diag":
        return np.diag(np.diag(moment))
    if kind == "spherical":
        return np.linalg.inv(gram) * np.sum(gram * moment) / len(moment)
    return moment


def best_precision(table: RayTable, moment, kind: str, gram) -> tuple[np.ndarray, Moments]:
    """The precision P that minimises ½ tr(P S) + log C(P): a convex problem, by Newton's method.

    P is linear in its parameters for all three kinds, and log C is the cumulant function of
    −½ v vᵀ, so the gradient is a difference of moments and the Hessian a covariance.
    """
    scale, d = table.scale, len(moment)
    if kind == "full":
        basis = [_unit(i, j, d) for i in range(d) for j in range(i, d)]
    elif kind == "diag":
        basis = [scale.T @ _unit(i, i, d) @ scale for i in range(d)]
    else:
        basis = [scale.T @ gram @ scale]
    basis = np.array([b / np.linalg.norm(b) for b in basis])
    back = np.linalg.inv(scale)
    target = back @ moment @ back.T
    first = back @ restricted(moment, kind, gram) @ back.T
    flat = basis.reshape(len(basis), -1)
    parameters = np.linalg.lstsq(flat.T, np.linalg.inv(first).ravel(), rcond=None)[0]
    nodes = (table.tangents @ back.T).reshape(-1, d)
    features = None  # computed only if a step is needed: far more work than the second moment
    goal = 0.5 * flat @ target.ravel()

    def evaluate(p) -> tuple[float, Moments | None, np.ndarray]:
        inner = np.tensordot(p, basis, 1)
        if np.linalg.eigvalsh(inner)[0] < 0.05:
            return np.inf, None, inner
        moments = table.moments(back.T @ inner @ back)
        return p @ goal + moments.log_normalizer, moments, inner

    value, moments, inner = evaluate(parameters)
    if moments is None:
        parameters = np.linalg.lstsq(flat.T, np.eye(d).ravel(), rcond=None)[0]
        value, moments, inner = evaluate(parameters)
    if moments is None:
        raise ConvergenceError("the covariance is not in the range that the rays resolve")
    for _ in range(50):
        share = moments.probability.ravel()
        mean = 0.5 * flat @ ((nodes * share[:, None]).T @ nodes).ravel()
        gradient = goal - mean
        if np.linalg.norm(gradient) < _GRADIENT_TOL:
            break
        features = _forms(nodes, basis, kind) if features is None else features
        hessian = (features * share[:, None]).T @ features - np.outer(mean, mean)
        step = -np.linalg.lstsq(hessian, gradient, rcond=1e-12)[0]
        gain = -gradient @ step
        if not gain > 1e-20:
            break
        # Newton's method converges quadratically: the next gain would be about the square.
        last = gain < _MIN_RELATIVE_GAIN * (1.0 + abs(value))
        for halving in range(30):
            trial = parameters + 0.5**halving * step
            lower, found, matrix = evaluate(trial)
            if found is not None and lower <= value + 1e-15 * abs(value):
                break
        else:
            break
        parameters, value, moments, inner = trial, lower, found, matrix
        if last:
            break
    precision = back.T @ inner @ back
    return 0.5 * (precision + precision.T), moments


def _forms(nodes, basis, kind: str) -> np.ndarray:
    """½ vᵀBv for all nodes v and matrices B of the basis, shape ``(n, len(basis))``."""
    d = nodes.shape[1]
    if kind == "full":
        rows, columns = np.triu_indices(d)
        return nodes[:, rows] * nodes[:, columns] * np.where(rows == columns, 0.5, np.sqrt(0.5))
    products = (nodes[:, :, None] * nodes[:, None, :]).reshape(-1, d * d)
    return 0.5 * products @ basis.reshape(len(basis), -1).T


def _unit(i, j, d):
    out = np.zeros((d, d))
    out[i, j] = out[j, i] = 1.0
    return out
