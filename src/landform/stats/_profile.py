"""The likelihood of one component at a mean, with the best covariance for it."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.spatial import cKDTree

from landform._curve import PolynomialCurve
from landform._geodesic import Geodesic, geodesic
from landform._metric import AbstractMetric, metric_tensor
from landform._numerics import lobatto
from landform._results import ConvergenceError
from landform.stats._cut import Cloud
from landform.stats._normalizer import Grid, Moments, Table
from landform.stats._rays import trace_rays
from landform.stats.land import Normalizer, euclidean_logs

_FAILED = 0.05  # share of the data without a logarithm at which a fit is refused
_NEIGHBOURS = 4
_TRACED = 64  # data with rays of their own in the gradient
_FLAT = 1e-8  # smallest eigenvalue of a second moment, relative to the largest


class Setup(NamedTuple):
    """What does not change during a fit."""

    metric: AbstractMetric
    X: np.ndarray
    grid: Grid
    normalizer: Normalizer
    covariance_type: str
    rtol: float
    floor: float = 0.0  # least variance in any direction, measured by the metric


class Logs(NamedTuple):
    """Logarithms of the data at one mean, with their curves for the next."""

    vectors: np.ndarray  # (N, d); those of failed points are zero
    usable: np.ndarray  # (N,)
    path: PolynomialCurve


def logarithms(setup: Setup, mean, previous=None, old_mean=None) -> Logs:
    """Log_mean(X): from the curves of an earlier mean where there are any, else by a search."""
    init = None if previous is None else _shifted(previous.path, mean - old_mean)
    result = geodesic(setup.metric, mean, setup.X, init=init, throw=False)
    logs = Logs(np.array(result.velocity), np.array(result.converged), result.path)
    if previous is not None and not logs.usable.all():
        logs = search_again(setup, mean, logs, np.flatnonzero(~logs.usable))
    vectors = np.where(logs.usable[:, None], logs.vectors, 0.0)
    return logs._replace(vectors=vectors)


def search_again(setup: Setup, mean, logs: Logs, rows) -> Logs:
    """Replace the logarithms of some points by those of a full search where these are shorter."""
    result: Geodesic = geodesic(setup.metric, mean, setup.X[rows], throw=False)
    gram = np.asarray(metric_tensor(setup.metric, mean))
    old = np.einsum("ni,ij,nj->n", logs.vectors[rows], gram, logs.vectors[rows])
    new = np.asarray(result.length) ** 2
    better = np.asarray(result.converged) & (~logs.usable[rows] | (new < old * (1.0 - 1e-9)))
    return _replaced(logs, rows[better], result, np.flatnonzero(better))


def _replaced(logs: Logs, rows, result: Geodesic, which) -> Logs:
    """Logarithms with some rows taken from others of a result."""
    if rows.size == 0:
        return logs
    vectors, usable, nodes = logs.vectors.copy(), logs.usable.copy(), np.array(logs.path.nodes)
    vectors[rows], usable[rows] = np.asarray(result.velocity)[which], True
    times = _times(logs.path, nodes.shape[1] - 1)
    nodes[rows] = np.asarray(result.path(times))[which]
    return Logs(vectors, usable, PolynomialCurve(nodes, logs.path.degree))


def _times(path: PolynomialCurve, count):
    inner = lobatto(path.degree)[0][:-1]
    pieces = count // path.degree
    return np.append(((np.arange(pieces)[:, None] + inner) / pieces).ravel(), 1.0)


def _shifted(path: PolynomialCurve, move):
    """The curves with their start moved, and the rest in proportion to what is left of the way."""
    times = _times(path, path.nodes.shape[1] - 1)
    return PolynomialCurve(path.nodes + (1.0 - times)[:, None] * jnp.asarray(move), path.degree)


class Point(NamedTuple):
    """One mean with its logarithms, rays, best covariance, objective and gradient."""

    mean: np.ndarray
    logs: Logs
    table: Table
    whiten: np.ndarray  # correction of the rays' scale to the second moment's square root
    precision: np.ndarray
    moments: Moments
    objective: float  # negative log-likelihood per unit of weight, against dM
    gradient: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """Σ."""
        return np.linalg.inv(self.precision)

    @property
    def slope(self) -> float:
        """The gradient's norm under Σ; half its square is about what a step can gain."""
        return float(np.sqrt(max(self.gradient @ self.covariance @ self.gradient, 0.0)))


def tangents_of(setup: Setup, mean, logs: Logs) -> np.ndarray:
    """The logarithms in the normaliser's convention."""
    if setup.normalizer == "exact":
        return logs.vectors
    return np.asarray(euclidean_logs(setup.metric, mean, jnp.asarray(logs.vectors)))


def profile(setup: Setup, mean, weights, logs: Logs, whiten=None) -> Point:
    """The best covariance at a mean and the objective there, with new rays.

    The scale of the rays is the root of the second moment times `whiten`, which a line search keeps
    fixed, so that the objective is one smooth function of the mean.
    """
    gram = np.asarray(metric_tensor(setup.metric, mean))
    if not np.isfinite(gram).all():
        raise ConvergenceError("the metric is not defined at the mean")
    _check_lost(weights, logs)
    correction = np.eye(len(gram)) if whiten is None else whiten
    moment = _moment(setup, mean, weights, logs, gram)[0]
    table = _table(setup, mean, np.linalg.cholesky(moment) @ correction)
    logs = _reroute(setup, table, logs, weights, gram)
    point = _assemble(setup, weights, logs, table, correction, gram)
    if whiten is None and not covered(point):
        moment = _moment(setup, mean, weights, logs, gram)[0]
        correction = np.linalg.solve(
            np.linalg.cholesky(moment), np.linalg.cholesky(point.covariance)
        )
        table = _table(setup, mean, np.linalg.cholesky(moment) @ correction)
        point = _assemble(setup, weights, logs, table, correction, gram)
    return point


def reweight(setup: Setup, point: Point, weights) -> Point:
    """The same mean for other weights, with the rays at hand as long as they resolve the result."""
    gram = np.asarray(metric_tensor(setup.metric, point.mean))
    _check_lost(weights, point.logs)
    new = _assemble(setup, weights, point.logs, point.table, point.whiten, gram)
    return new if covered(new) else profile(setup, point.mean, weights, point.logs)


def covered(point: Point) -> bool:
    """Whether the rays' directions and radii suit the covariance."""
    spread = np.linalg.eigvalsh(point.table.scale.T @ point.precision @ point.table.scale)
    return bool(spread[0] > 0.4 and spread[-1] < 2.5)


def _check_lost(weights, logs):
    lost = weights[~logs.usable].sum() / weights.sum()
    if lost > _FAILED:
        raise ConvergenceError(
            f"{100 * lost:.0f} % of the data have no geodesic to the mean (limit 5 %); the metric "
            "may be too rough: use a larger sigma or rho"
        )


def _moment(setup, mean, weights, logs, gram):
    share = weights * logs.usable
    share = share / share.sum()
    tangents = tangents_of(setup, mean, logs)
    moment = (tangents * share[:, None]).T @ tangents
    return floored(moment, gram, setup.floor), tangents, share


def _assemble(setup, weights, logs, table, whiten, gram) -> Point:
    moment, tangents, share = _moment(setup, table.mean, weights, logs, gram)
    precision, moments = best_precision(table, moment, setup.covariance_type, gram)
    objective = float(0.5 * np.sum(precision * moment) + moments.log_normalizer)
    gradient = _gradient(table, precision, moments, tangents, share)
    return Point(table.mean, logs, table, whiten, precision, moments, objective, gradient)


def _table(setup, mean, scale):
    paper = setup.normalizer == "paper"
    return Table(
        setup.metric, mean, scale, setup.grid, euclidean=paper, jacobian=not paper, rtol=setup.rtol
    )


def floored(moment, gram, floor=0.0) -> np.ndarray:
    """A second moment with no eigenvalue under `floor` and 1e-8 of the largest, by the metric."""
    root = np.linalg.cholesky(gram)
    values, vectors = np.linalg.eigh(root.T @ moment @ root)
    least = max(floor, _FLAT * values[-1])
    if not least > 0:
        raise ValueError("X must have spread around the mean: all points of a component are equal")
    if values[0] >= least:
        return moment
    half = np.linalg.solve(root.T, vectors * np.sqrt(np.maximum(values, least)))
    return half @ half.T


def _reroute(setup, table, logs: Logs, weights, gram) -> Logs:
    """Shorter logarithms for data to which a ray leads on a shorter way than the one at hand."""
    length = np.sqrt(np.einsum("ni,ij,nj->n", logs.vectors, gram, logs.vectors))
    inside = np.isfinite(table.rays.points).all(axis=2)
    inside &= table.grid.radii <= table.cut.radius[:, None]
    rows = np.flatnonzero(logs.usable & (weights > 0))
    cloud = Cloud(setup.metric, table.rays, table.length, inside)
    bound, through = cloud.bound(setup.X[rows], length[rows])
    shorter = bound < length[rows] * (1.0 - 1e-3)
    if not shorter.any():
        return logs
    nodes = np.array(logs.path.nodes)
    times = _times(logs.path, nodes.shape[1] - 1)
    for row, node, total in zip(rows[shorter], through[shorter], bound[shorter], strict=True):
        ray, last = cloud.ray[node], cloud.node[node] + 1
        way = np.concatenate([table.mean[None], table.rays.points[ray, :last], setup.X[row][None]])
        at = np.concatenate([[0.0], table.length[ray, :last], [total]]) / total
        nodes[row] = np.stack([np.interp(times, at, column) for column in way.T], axis=1)
    start = PolynomialCurve(nodes, logs.path.degree)
    result = geodesic(setup.metric, table.mean, setup.X, init=start, throw=False)
    better = np.asarray(result.converged) & (np.asarray(result.length) < length * (1.0 - 1e-9))
    better[~logs.usable] = False
    return _replaced(logs, np.flatnonzero(better), result, np.flatnonzero(better))


def best_precision(table: Table, moment, kind: str, gram) -> tuple[np.ndarray, Moments]:
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
    flat = basis.reshape(len(basis), -1)
    parameters = np.linalg.lstsq(flat.T, np.linalg.inv(target).ravel(), rcond=None)[0]
    nodes = table.tangents @ back.T
    features = 0.5 * np.einsum("kri,bij,krj->krb", nodes, basis, nodes).reshape(-1, len(basis))
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
        mean = share @ features
        gradient = goal - mean
        hessian = (features * share[:, None]).T @ features - np.outer(mean, mean)
        step = -np.linalg.lstsq(hessian, gradient, rcond=1e-12)[0]
        gain = -gradient @ step
        if not gain > 1e-20:
            break
        for halving in range(30):
            trial = parameters + 0.5**halving * step
            lower, found, matrix = evaluate(trial)
            if found is not None and lower <= value + 1e-15 * abs(value):
                break
        else:
            break
        parameters, value, moments, inner = trial, lower, found, matrix
    precision = back.T @ inner @ back
    return 0.5 * (precision + precision.T), moments


def _unit(i, j, d):
    out = np.zeros((d, d))
    out[i, j] = out[j, i] = 1.0
    return out


def _gradient(table: Table, precision, moments, tangents, share):
    """∂ of the objective by the mean, at fixed chart components of Σ.

    Since C = ∫ exp(−½|Log_μ x|²) dM, both terms are averages of Tᵀ Σ⁻¹ Log with T = −∂Log/∂μ: over
    the model's law, at the rays' nodes, minus over the data. For the data T is interpolated between
    nodes, and the mean error of that is measured on some of them by rays of their own.
    """
    transport = table.transport()
    pull = np.einsum("krij,ip,krp->krj", transport, precision, table.tangents)
    model = np.einsum("kr,krj->j", moments.probability, pull)
    if table.euclidean:
        return model - precision @ (share @ tangents)
    back = np.linalg.inv(table.scale)
    rows, columns = np.nonzero(np.abs(table.coefficient) > 0)
    tree = cKDTree(table.tangents[rows, columns] @ back.T)
    k = min(_NEIGHBOURS, rows.size)
    gap, near = tree.query(tangents @ back.T, k=k)
    near, weight = near.reshape(len(tangents), k), 1.0 / (gap.reshape(len(tangents), k) + 1e-9)
    weight /= weight.sum(axis=1, keepdims=True)
    local = np.einsum("nk,nkij->nij", weight, transport[rows[near], columns[near]])
    stride = max(1, -(-len(tangents) // _TRACED))
    some = np.flatnonzero(share > 0)[::stride]
    exact, known = _transport_of(table, tangents[some])
    some = some[known]
    factor = share.sum() / share[some].sum() if some.size else 1.0
    values = np.einsum("nij,ip,np->nj", local, precision, tangents)
    correction = np.einsum("nij,ip,np->nj", exact[known] - local[some], precision, tangents[some])
    return model - share @ values - factor * (share[some] @ correction)


def _transport_of(table: Table, vectors):
    """T at given velocities, and the indices where it is known."""
    radii = np.ones_like(table.grid.radii)  # one radius, in the shape of the program that is there
    rays = trace_rays(table.metric, table.mean, vectors, radii, rtol=table.rtol)
    left, right = rays.by_velocity[:, 0], rays.by_mean[:, 0]
    known = np.flatnonzero(np.isfinite(left).all(axis=(1, 2)) & np.isfinite(right).all(axis=(1, 2)))
    known = known[np.abs(np.linalg.det(left[known])) > 1e-9]
    out = np.zeros_like(left)
    out[known] = np.linalg.solve(left[known], right[known])
    return out, known
