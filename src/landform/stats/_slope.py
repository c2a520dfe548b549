"""The derivative of a component's objective by its mean."""

import numpy as np
from scipy.spatial import cKDTree

from landform.stats._normalizer import Table
from landform.stats._rays import trace_rays

_NEIGHBOURS = 4
_TRACED = 128  # data with rays of their own


def gradient(table: Table, precision, moments, tangents, share, exact: bool) -> np.ndarray:
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
    k = min(_NEIGHBOURS, rows.size)
    gap, near = tree.query(tangents @ back.T, k=k)
    near, weight = near.reshape(len(tangents), k), 1.0 / (gap.reshape(len(tangents), k) + 1e-9)
    weight /= weight.sum(axis=1, keepdims=True)
    local = np.einsum("nk,nkij->nij", weight, transport[rows[near], columns[near]])
    values = np.einsum("nij,ni->nj", local, tangents @ precision)
    if not exact:
        return model - share @ values
    stride = max(1, -(-len(tangents) // _TRACED))
    some = np.flatnonzero(share > 0)[::stride]
    traced, known = _transport_of(table, tangents[some])
    some = some[known]
    factor = share.sum() / share[some].sum() if some.size else 1.0
    gap = traced[known] - local[some]
    correction = np.einsum("nij,ni->nj", gap, tangents[some] @ precision)
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
