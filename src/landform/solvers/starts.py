"""Where descents begin: starts for every pair, which of them go on, and which one wins."""

import numpy as np

from landform._core.status import Status
from landform.solvers.energy import EnergyOutcome
from landform.solvers.graph import graph_of
from landform.solvers.lengths import segment_lengths
from landform.solvers.routes import STRETCH, find_routes, is_near, resample

SPREAD = 1.03  # excess of energy on a coarse rule that the fine one may turn round

_SAME = 1e-7  # relative difference of energies below which two curves are one


def find_starts(metric, x, y, solver, rule, init):
    """Start curves, the pair each belongs to, and each pair's known paths with the best length."""
    n = x.shape[0]
    times = rule.times
    if init is not None:
        return init, np.arange(n), np.full(n, np.inf), {}
    straight = x[:, None] + (y - x)[:, None] * times[:, None]
    everyone = np.arange(n)
    if solver.starts == "straight":
        return straight, everyone, np.full(n, np.inf), {}
    graph = graph_of(metric, solver.fine_graph)
    if graph is None:
        if solver.starts == "graph":
            raise ValueError(
                f"starts='graph' needs landmarks, and {type(metric).__name__} has none: give the "
                "metric landmarks=, or use starts='straight'"
            )
        return straight, everyone, np.full(n, np.inf), {}
    routes = find_routes(metric, graph, x, y)
    curves = resample(routes, times) if routes.vertices else straight[:0]
    direct = segment_lengths(metric, x, y, order=16)
    # A straight line much longer than the graph's path descends from far to where a path leads.
    fair = ~(direct > STRETCH * routes.shortest)
    if solver.starts == "graph":
        fair = ~np.isfinite(routes.shortest)
    # A route along the line leads where the line does, which is the smoother start.
    distinct = [
        not (fair[i] and is_near(np.stack([x[i], y[i]]), path, 0.5 * routes.clearance).all())
        for i, path in zip(routes.owner, routes.vertices, strict=True)
    ]
    starts = np.concatenate([curves[distinct], straight[fair]])
    owner = np.concatenate([routes.owner[distinct], everyone[fair]])
    bound = np.fmin(routes.shortest, np.where(np.isfinite(direct), direct, np.inf))
    known = {i: [np.stack([x[i], y[i]])] for i in everyone}
    for i, path in zip(routes.owner, routes.vertices, strict=True):
        known[i].append(path)
    return starts, owner, bound, known


def promising(outcome: EnergyOutcome, owner, n):
    """Of every pair's starts those that may lead to its shortest curve, each curve once."""
    energy = np.where(np.isfinite(outcome.energy), outcome.energy, np.inf)
    failed = outcome.status != Status.CONVERGED
    order = np.lexsort((energy, failed, owner))
    first = order[np.searchsorted(owner[order], np.arange(n))]
    chosen, last = [], -1
    for i in order:
        lead = first[owner[i]]
        near = energy[i] <= SPREAD * energy[lead]
        same = last >= 0 and owner[last] == owner[i] and energy[i] <= (1 + _SAME) * energy[last]
        if i == lead or (near and not same):
            chosen.append(i)
            last = i
    return np.array(chosen)


def best_of(outcome: EnergyOutcome, owner, n):
    """For every pair the best of its starts: converged first, then the lowest energy."""
    failed = (outcome.status != Status.CONVERGED) | ~np.isfinite(outcome.energy)
    order = np.lexsort((outcome.energy, failed, owner))
    return order[np.searchsorted(owner[order], np.arange(n))]
