"""The default way to a geodesic: good starts, Newton, a certificate, refinement where it asks."""

import itertools
from typing import Literal, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._results import Status
from landform._typing import Array
from landform.solvers.certificate import Certificate, certify, certify_one, subdivide
from landform.solvers.driver import run
from landform.solvers.elements import Rule
from landform.solvers.energy import EnergyMethod, EnergyOutcome
from landform.solvers.graph import STRETCH, find_routes, graph_of, resample, segment_lengths, speeds

Starts = Literal["auto", "straight", "graph"]
Model = Literal["newton", "gauss-newton", "georce"]

Values: TypeAlias = Array | np.ndarray  # solved on the host's schedule, or traced

_TOLERANCE = 1e-10  # relative Newton decrement of the energy at which a curve is at its minimum
_FEW_OUTPUTS = 16  # embeddings with more outputs fill the caches with few curves
_FEW_LANES = 4
_SPREAD = 1.03  # excess of energy on a coarse rule that the fine one may turn round
_SAME = 1e-7  # relative difference of energies below which two curves are one
_FINE_PIECES = 16  # parts of an edge whose length must be certain
_NEIGHBOURS = 1e-7  # distance over coordinates below which a segment is the better curve
_SLACK = 1e-6  # relative excess over a known path that rounding and quadrature may explain


class EnergySolver(eqx.Module):
    """Geodesics by minimising the energy of spectral elements with damped Newton steps.

    Parameters
    ----------
    model
        Second-derivative model of the step. ``"newton"`` is exact and takes fewest iterations on
        all metrics, and is the default; ``"gauss-newton"`` is for pull-backs and needs Jacobians
        only, at two thirds of the cost of an iteration and with some four times as many;
        ``"georce"`` keeps the metric and drops its derivatives (Rygaard and Hauberg 2025, in
        implicit form).
    degree
        Polynomial degree p of the elements; errors in length fall as T^(−2p) on smooth metrics.
        1 gives the classical discrete energy.
    starts
        ``"straight"``: the chart's straight line. ``"graph"``: routes through the graph over the
        metric's landmarks. ``"auto"``: the graph's routes where there is a graph and the straight
        line where it is not much longer, the best result kept.
    max_steps
        Iterations for each start and refinement, one evaluation each.
    max_refinements
        How often the number of elements may double where the accuracy asks for it.
    lanes
        Curves in flight at once; at most 4 for generators with many outputs.

    Examples
    --------
    >>> import landform as lf
    >>> solver = lf.EnergySolver(model="georce", degree=1)
    >>> path = lf.geodesic(lf.Euclidean(2), [0.0, 0.0], [3.0, 4.0], solver=solver)
    >>> round(float(path.length), 12)
    5.0
    """

    model: Model | None = eqx.field(static=True, default=None)
    degree: int = eqx.field(static=True, default=4)
    starts: Starts = eqx.field(static=True, default="auto")
    max_steps: int = eqx.field(static=True, default=200)
    max_refinements: int = eqx.field(static=True, default=3)
    lanes: int = eqx.field(static=True, default=16)

    def __check_init__(self):
        if self.model not in (None, "newton", "gauss-newton", "georce"):
            raise ValueError(
                f"model must be 'newton', 'gauss-newton', 'georce' or None, got {self.model!r}"
            )
        if self.starts not in ("auto", "straight", "graph"):
            raise ValueError(f"starts must be 'auto', 'straight' or 'graph', got {self.starts!r}")
        for name in ("degree", "max_steps", "lanes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.max_refinements < 0:
            raise ValueError(f"max_refinements must not be negative, got {self.max_refinements}")

    def rule(self, metric, num_points: int) -> Rule:
        """Elements for curves of `num_points` points; half as many for an embedded metric.

        A chord interpolates the generator's output, which is smoother along a geodesic than the
        metric is, and costs most; where half is not enough, refinement notices.
        """
        segments = num_points - 1
        if metric.embeds and self.max_refinements > 0:
            segments = -(-segments // 2)
        return Rule(max(1, -(-segments // self.degree)), self.degree)

    def method(self, metric, rule: Rule, dim: int) -> EnergyMethod:
        """The lane method for one discretisation."""
        model = self.model or "newton"
        if model == "gauss-newton" and not metric.embeds:
            raise ValueError(
                "model 'gauss-newton' needs a metric that is the pull-back of a known embedding; "
                f"{type(metric).__name__} is not: use 'newton' or 'georce'"
            )
        chord = metric.embeds and model != "georce"
        return EnergyMethod(rule, chord, model == "newton", self.max_steps, _TOLERANCE)


def _lanes(metric, solver, dim: int) -> int:
    """Curves in flight; fewer where each one's evaluation is a large matrix product by itself."""
    return min(solver.lanes, _FEW_LANES) if _outputs(metric, dim) > _FEW_OUTPUTS else solver.lanes


def _outputs(metric, dim: int) -> int:
    """Number of outputs of the embedding, 0 without one."""
    if not metric.embeds:
        return 0
    return jax.eval_shape(metric.embed, jax.ShapeDtypeStruct((dim,), float)).shape[0]


class Solved(NamedTuple):
    """Curves, their measurements and how they ended, for n pairs."""

    rule: Rule
    nodes: Values  # (n, T + 1, d)
    certificate: Certificate
    status: Values
    iterations: Values
    decrement: Values
    bound: Values  # length of the best known path, infinite without one


def solve(
    metric, x, y, *, solver: EnergySolver, rule: Rule, init, accuracy: float, progress
) -> Solved:
    """Solve n concrete pairs on the host's schedule."""
    x, y = np.asarray(x), np.asarray(y)
    first = _first_rule(metric, solver, rule, init, x.shape[0])
    starts, owner, bound, known = _starts(metric, x, y, solver, first, init)
    starts = starts.astype(x.dtype)
    outcome, total = _descend(metric, solver, rule, first, starts, owner, x.shape[0], progress)
    certificate = certify(metric, rule, outcome.curve)
    certificate, ended = _join_neighbours(metric, x, y, certificate, outcome.status)
    outcome = outcome._replace(status=ended)
    status = _judge(np, outcome.status, certificate, bound, accuracy)
    longer = np.flatnonzero(status == Status.LONGER_THAN_BOUND)
    if longer.size:
        # The bounds come from coarse quadrature: before they condemn a curve they are made sure of.
        bound[longer] = [min(_fine_length(metric, path) for path in known[i]) for i in longer]
        status = _judge(np, outcome.status, certificate, bound, accuracy)
    result = Solved(rule, outcome.curve, certificate, status, total, outcome.decrement, bound)
    for _ in range(solver.max_refinements):
        again = np.flatnonzero(
            np.isin(result.status, (Status.UNRESOLVED, Status.LONGER_THAN_BOUND))
        )
        if again.size == 0:
            break
        result = _refine(metric, solver, result, again, accuracy)
    return result


def _join_neighbours(metric, x, y, certificate: Certificate, status):
    """Measure pairs closer than rounding lets a curve resolve by the segment between them.

    The nodes of such a curve are rounded by more than a solver's tolerance of its length. The
    segment is the geodesic up to the square of its length; how much the metric differs between the
    ends is its speed drift and stands for its residual.
    """
    gap = y - x
    size = np.maximum(np.abs(x), np.abs(y)).max(axis=1)
    length = np.abs(gap).max(axis=1)
    near = np.flatnonzero((length > 0.0) & (length < _NEIGHBOURS * size))
    if near.size == 0:
        return certificate, status
    ends = np.stack([speeds(metric, a[near], gap[near]) for a in (x, y)])
    mean = ends.mean(axis=0)
    drift = np.abs(ends[1] - ends[0]) / mean
    values = (mean, 0.5 * mean**2, drift, drift, gap[near], gap[near], np.isfinite(drift))
    out = Certificate._make(np.array(a) for a in certificate)
    for whole, part in zip(out, values, strict=True):
        whole[near] = part
    status = np.array(status)
    status[near] = int(Status.CONVERGED)
    return out, status


def _first_rule(metric, solver, rule, init, pairs) -> Rule:
    """Half of the elements where a graph offers several starts, most of which will be dropped.

    One pair alone does without: another program to compile costs more than its starts.
    """
    several = init is None and solver.starts != "straight" and graph_of(metric) is not None
    if several and pairs > 1 and solver.max_refinements > 0 and rule.elements % 2 == 0:
        return Rule(rule.elements // 2, rule.degree)
    return rule


def _descend(metric, solver, rule, first, starts, owner, n, progress):
    """The best outcome for every pair at the resolution of `rule`, from all of its starts.

    Starts on a coarser rule all descend there, and only what may be the shortest goes on. Where a
    coarse energy turns out to have been flattered, by a metric with more detail than the coarse
    rule sees, all starts of the pair go on.
    """

    def descend(rule, nodes, report=None):
        method = solver.method(metric, rule, nodes.shape[-1])
        lanes = _lanes(metric, solver, nodes.shape[-1])
        found = run(method, metric, nodes, lanes=lanes, progress=report)
        return jax.tree.map(np.asarray, found)

    total = np.zeros(n, dtype=int)
    found = descend(first, starts, progress)
    np.add.at(total, owner, found.iterations)
    if first != rule:
        coarse, fine = found, subdivide(first, found.curve)[1]
        which = _promising(coarse, owner, n)
        found = descend(rule, fine[which])
        np.add.at(total, owner[which], found.iterations)
        expected = np.full(n, np.inf)
        np.minimum.at(expected, owner[which], coarse.energy[which])
        leader = _best(found, owner[which], n)
        flattered = ~(found.energy[leader] <= _SPREAD * expected)
        left = np.setdiff1d(np.flatnonzero(flattered[owner]), which)
        if left.size:
            more = descend(rule, fine[left])
            np.add.at(total, owner[left], more.iterations)
            which = np.concatenate([which, left])
            found = jax.tree.map(lambda *parts: np.concatenate(parts), found, more)
        owner = owner[which]
    best = _best(found, owner, n)
    return jax.tree.map(lambda a: a[best], found), total


def _promising(outcome: EnergyOutcome, owner, n):
    """Of every pair's starts those that may lead to its shortest curve, each curve once."""
    energy = np.where(np.isfinite(outcome.energy), outcome.energy, np.inf)
    failed = outcome.status != Status.CONVERGED
    order = np.lexsort((energy, failed, owner))
    first = order[np.searchsorted(owner[order], np.arange(n))]
    chosen, last = [], -1
    for i in order:
        lead = first[owner[i]]
        near = energy[i] <= _SPREAD * energy[lead]
        same = last >= 0 and owner[last] == owner[i] and energy[i] <= (1 + _SAME) * energy[last]
        if i == lead or (near and not same):
            chosen.append(i)
            last = i
    return np.array(chosen)


def _starts(metric, x, y, solver, rule, init):
    """Start curves, the pair each belongs to, and each pair's known paths with the best length."""
    n = x.shape[0]
    times = rule.times
    if init is not None:
        return init, np.arange(n), np.full(n, np.inf), {}
    straight = x[:, None] + (y - x)[:, None] * times[:, None]
    everyone = np.arange(n)
    if solver.starts == "straight":
        return straight, everyone, np.full(n, np.inf), {}
    graph = graph_of(metric)
    if graph is None:
        if solver.starts == "graph":
            raise ValueError(
                f"starts='graph' needs landmarks, and {type(metric).__name__} has none: give the "
                "metric landmarks=, or use starts='straight'"
            )
        return straight, everyone, np.full(n, np.inf), {}
    routes = find_routes(metric, graph, x, y)
    curves = resample(metric, routes.vertices, times) if routes.vertices else straight[:0]
    direct = segment_lengths(metric, x, y, order=16)
    # A straight line much longer than the graph's path descends from far to where a path leads.
    fair = ~(direct > STRETCH * routes.shortest)
    if solver.starts == "graph":
        fair = ~np.isfinite(routes.shortest)
    starts = np.concatenate([curves, straight[fair]])
    owner = np.concatenate([routes.owner, everyone[fair]])
    bound = np.fmin(routes.shortest, np.where(np.isfinite(direct), direct, np.inf))
    known = {i: [np.stack([x[i], y[i]])] for i in everyone}
    for i, path in zip(routes.owner, routes.vertices, strict=True):
        known[i].append(path)
    return starts, owner, bound, known


def _fine_length(metric, path: np.ndarray) -> float:
    """Length of a polyline by a quadrature that resolves what its edges jump over."""
    share = np.linspace(0.0, 1.0, _FINE_PIECES + 1)[:, None]
    points = np.concatenate([a + (b - a) * share for a, b in itertools.pairwise(path)])
    return float(np.sum(segment_lengths(metric, points[:-1], points[1:])))


def _best(outcome: EnergyOutcome, owner, n):
    """For every pair the best of its starts: converged first, then the lowest energy."""
    failed = (outcome.status != Status.CONVERGED) | ~np.isfinite(outcome.energy)
    order = np.lexsort((outcome.energy, failed, owner))
    return order[np.searchsorted(owner[order], np.arange(n))]


def _judge(xp, status, certificate: Certificate, bound, accuracy):
    """The status that the curve deserves, whatever the method says; by NumPy or JAX."""
    tolerance = residual_tolerance(accuracy)
    sharp = (certificate.residual <= tolerance) & (certificate.speed_drift <= 30.0 * tolerance)
    still = certificate.length == 0.0
    status = xp.where(
        (status == Status.CONVERGED) & ~sharp & ~still, int(Status.UNRESOLVED), status
    )
    longer = certificate.length > (1.0 + _SLACK + accuracy) * bound
    status = xp.where((status == Status.CONVERGED) & longer, int(Status.LONGER_THAN_BOUND), status)
    return xp.where(certificate.finite | still, status, int(Status.BAD_METRIC))


def residual_tolerance(accuracy: float) -> float:
    """The geodesic residual that a relative error `accuracy` of the length allows."""
    return float(np.sqrt(2.0 * accuracy))


def _refine(metric, solver, result: Solved, again, accuracy) -> Solved:
    """Double the elements of some pairs; the others' curves are rewritten exactly."""
    rule, nodes = subdivide(result.rule, np.asarray(result.nodes))
    method = solver.method(metric, rule, nodes.shape[-1])
    lanes = min(_lanes(metric, solver, nodes.shape[-1]), 8)
    outcome = run(method, metric, nodes[again], lanes=lanes, chunk=32)
    outcome = jax.tree.map(np.asarray, outcome)
    fresh = certify(metric, rule, outcome.curve)
    status = _judge(np, outcome.status, fresh, result.bound[again], accuracy)

    def put(old, new):
        out = np.array(old)
        out[again] = new
        return out

    return Solved(
        rule,
        put(nodes, outcome.curve),
        jax.tree.map(put, result.certificate, fresh),
        put(result.status, status),
        put(result.iterations, result.iterations[again] + outcome.iterations),
        put(result.decrement, outcome.decrement),
        result.bound,
    )


def solve_traced(
    metric, x, y, *, solver: EnergySolver, rule: Rule, init, accuracy: float
) -> Solved:
    """Solve n pairs inside a user's transformation: one start, one discretisation."""
    times = jnp.asarray(rule.times, x.dtype)
    starts = x[:, None] + (y - x)[:, None] * times[:, None] if init is None else init
    method = solver.method(metric, rule, x.shape[-1])
    outcome = run(method, metric, starts, lanes=solver.lanes, chunk=max(1, x.shape[0]))
    certificate = jax.lax.map(lambda c: certify_one(metric, rule, c), outcome.curve, batch_size=16)
    bound = jnp.full(x.shape[0], jnp.inf, x.dtype)
    status = _judge(jnp, outcome.status, certificate, bound, accuracy)
    return Solved(
        rule, outcome.curve, certificate, status, outcome.iterations, outcome.decrement, bound
    )
