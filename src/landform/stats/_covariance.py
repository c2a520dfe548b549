"""The best covariance of one component for given rays: a convex problem."""

import numpy as np

from landform._results import ConvergenceError
from landform.stats._normalizer import Moments, Table

_SMALL = 1e-12  # gradient, in nats of whitened units, that no step need follow
_SEEN = 1e-14  # gain of a step below which the value is all rounding, relative
_FLAT = 1e-8  # smallest eigenvalue of a second moment, relative to the largest


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


def restricted(moment, kind: str, gram) -> np.ndarray:
    """The best covariance of a kind for a second moment under a flat metric."""
    if kind == "diag":
        return np.diag(np.diag(moment))
    if kind == "spherical":
        return np.linalg.inv(gram) * np.sum(gram * moment) / len(moment)
    return moment


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
    first = back @ restricted(moment, kind, gram) @ back.T
    flat = basis.reshape(len(basis), -1)
    parameters = np.linalg.lstsq(flat.T, np.linalg.inv(first).ravel(), rcond=None)[0]
    nodes = (table.tangents @ back.T).reshape(-1, d)
    features = None  # of all nodes: far more work than their second moment
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
        if np.linalg.norm(gradient) < _SMALL:
            break
        features = _forms(nodes, basis, kind) if features is None else features
        hessian = (features * share[:, None]).T @ features - np.outer(mean, mean)
        step = -np.linalg.lstsq(hessian, gradient, rcond=1e-12)[0]
        gain = -gradient @ step
        if not gain > 1e-20:
            break
        last = gain < _SEEN * (1.0 + abs(value))  # Newton's next one would be its square
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
