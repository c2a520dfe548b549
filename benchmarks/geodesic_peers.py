r"""The other solvers of `benchmarks/geodesics.py`, each on the input of landform's.

They live in an environment of their own, for geomstats wants an older NumPy; from the repository:

    grep -v '^numpy\|^scipy' constraints.txt > peers.txt
    pip install -c peers.txt torch==2.13.0 'numpy<2.4' stochman==0.3.0 geomstats -e .

Without them their rows are left out.
"""

import importlib.util

import jax
import numpy as np
from scipy.integrate import solve_bvp, solve_ivp


def installed(*names: str) -> bool:
    """Whether packages can be imported."""
    return all(importlib.util.find_spec(name) is not None for name in names)


def bvp_curves(metric, x, y, times):
    """`solve_bvp` on the geodesic equation, vectorised over its mesh, pair after pair."""
    field = jax.jit(jax.vmap(lambda a, b: metric.acceleration(a, b)))

    def right(t, state):
        d = state.shape[0] // 2
        position, velocity = state[:d].T, state[d:].T
        size = 1 << (len(t) - 1).bit_length()  # a few shapes, a few compilations
        pad = ((0, size - len(t)), (0, 0))
        bent = field(np.pad(position, pad, mode="edge"), np.pad(velocity, pad, mode="edge"))
        return np.vstack([velocity.T, np.asarray(bent)[: len(t)].T])

    curves, success = [], []
    mesh = np.linspace(0.0, 1.0, 30)
    for a, b in zip(x, y, strict=True):
        line = np.outer(a, 1 - mesh) + np.outer(b, mesh)
        guess = np.vstack([line, np.outer(b - a, 1 + 0 * mesh)])

        def ends(start, end, a=a, b=b):
            return np.concatenate([start[: len(a)] - a, end[: len(b)] - b])

        found = solve_bvp(right, ends, mesh, guess, tol=1e-3, max_nodes=1000)
        curves.append(found.sol(times)[: len(a)].T)
        success.append(found.success)
    return np.array(curves), np.array(success)


def stochman_curves(manifold, x, y, times):
    """stochman's cubic splines by Adam with its own defaults, all pairs in one batch."""
    import torch

    torch.set_default_dtype(torch.float64)
    curve, success = manifold.connecting_geodesic(torch.tensor(x), torch.tensor(y))
    with torch.no_grad():
        fine = curve(torch.tensor(times)).numpy()
    return fine, np.broadcast_to(np.atleast_1d(np.asarray(success)), len(x))


def stochman_local_variance(metric):
    """stochman's metric of the same data."""
    import torch
    from stochman.manifold import LocalVarMetric

    torch.set_default_dtype(torch.float64)
    data = torch.tensor(np.asarray(metric.data))
    return LocalVarMetric(data, float(metric.sigma), float(metric.rho))


def stochman_decoder(weights: dict[str, np.ndarray]):
    """stochman's embedded manifold of (mean, standard deviation) with the same weights."""
    import torch
    from stochman.manifold import EmbeddedManifold

    torch.set_default_dtype(torch.float64)
    w = {name: torch.tensor(value) for name, value in weights.items()}

    class Decoder(EmbeddedManifold):
        def embed(self, points, jacobian=False):
            hidden = torch.tanh(points @ w["a1"] + w["b1"])
            hidden = torch.tanh(hidden @ w["a2"] + w["b2"])
            mean = hidden @ w["a3"] + w["b3"]
            square = ((points[..., None, :] - w["centers"]) ** 2).sum(-1)
            precision = torch.exp(-w["rate"] * square) @ w["precision"] + w["floor"]
            return torch.cat([mean, precision**-0.5], dim=-1)

    return Decoder()


def scipy_exp(metric, x, v, method, tolerance):
    """`solve_ivp`, one geodesic after another."""
    field = jax.jit(lambda a, b: metric.acceleration(a, b))

    def right(t, state):
        position, velocity = np.split(state, 2)
        return np.concatenate([velocity, np.asarray(field(position, velocity))])

    options = {} if tolerance is None else {"rtol": tolerance, "atol": tolerance}
    right(0.0, np.concatenate([x, v[0]]))
    return np.array(
        [
            solve_ivp(right, (0.0, 1.0), np.concatenate([x, u]), method, **options).y[: len(x), -1]
            for u in v
        ]
    )


def geomstats_sphere():
    """The 2-sphere as the pull-back of its stereographic chart, to be solved numerically."""
    import os

    os.environ.setdefault("GEOMSTATS_BACKEND", "pytorch")
    import geomstats.backend as gs
    from geomstats.geometry.base import ImmersedSet
    from geomstats.geometry.euclidean import Euclidean

    class Chart(ImmersedSet):
        def __init__(self):
            super().__init__(dim=2, equip=True)

        def _define_embedding_space(self):
            return Euclidean(dim=3)

        def immersion(self, point):
            square = gs.sum(point**2, axis=-1, keepdims=True)
            return gs.concatenate([2.0 * point, 1.0 - square], axis=-1) / (1.0 + square)

    return Chart(), gs
