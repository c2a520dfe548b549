"""The default way to a geodesic: good starts, Newton, a certificate, refinement where it asks."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core.lanes import run
from landform._core.status import Status
from landform.solvers.base import (
    AbstractSolver,
    Request,
    Solution,
    judged,
    residual_tolerance,
)
from landform.solvers.elements import Rule, is_alone, is_wide, subdivide
from landform.solvers.energy import EnergyMethod
from landform.solvers.graph import graph_of
from landform.solvers.lengths import fine_length, speeds
from landform.solvers.residual import Certificate, certify, certify_one, num_probes
from landform.solvers.starts import SPREAD, best_of, find_starts, promising

Starts = Literal["auto", "straight", "graph"]
Model = Literal["newton", "gauss-newton", "georce"]

_TOLERANCE = 1e-10  # relative Newton decrement of the energy at which a curve is at its minimum

_SHARP = 1e-4  # relative Newton decrement over the accuracy asked for
_FEW_LANES = 4  # where few curves fill the caches
_COARSE_STEPS = 24  # after which a start shows whether it may be the shortest; it may go on
_NEIGHBOURS = 1e-7  # distance over coordinates below which a segment is the better curve
_ROUGH = 2e4  # the same over the rounding of coordinates, which is more in single precision


class EnergySolver(AbstractSolver):
    """Geodesics by minimising the energy of spectral elements with damped Newton steps.

    Parameters
    ----------
    model
        Second-derivative model of the step. ``"newton"`` is exact and takes fewest iterations on
        all metrics, and is the default; ``"gauss-newton"`` is for pull-backs and needs Jacobians
        only, at two thirds of the cost of an iteration and with some four times as many;
        ``"georce"`` keeps the metric and drops its derivatives (Rygaard and Hauberg 2025, in
        implicit form). Only ``"newton"`` tells a minimum from a saddle, where symmetric problems
        begin.
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
    fine_graph
        Whether the graph has up to 16,000 points between the landmarks and 24 edges a point, in
        place of 1000 and 10: routes miss fewer short ways, for metrics as cheap as tables.

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
    fine_graph: bool = eqx.field(static=True, default=False)

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

    def solve(self, metric, x, y, request: Request) -> Solution:
        """Descents from all starts, the certificate, and refinement where it asks for it."""
        return solve_pairs(metric, x, y, self, self.rule(metric, request.num_points), request)

    def solve_traced(self, metric, x, y, request: Request) -> Solution:
        """One descent on one discretisation, from the straight line or `init`."""
        return _solve_traced(metric, x, y, self, self.rule(metric, request.num_points), request)

    def uses_chords(self, metric) -> bool:
        """Whether the energy is that of chords of the embedding."""
        return metric.embeds and self.model != "georce"

    def rule(self, metric, num_points: int) -> Rule:
        """Elements for curves of `num_points` points; half as many for an embedded metric.

        A chord interpolates the generator's output, which is smoother along a geodesic than the
        metric is, and costs most; where half is not enough, refinement notices.
        """
        segments = num_points - 1
        if metric.embeds and self.max_refinements > 0:
            segments = -(-segments // 2)
        return Rule(max(1, -(-segments // self.degree)), self.degree)

    def method(
        self,
        metric,
        rule: Rule,
        max_steps: int | None = None,
        *,
        tolerance: float = _TOLERANCE,
        search: bool = False,
    ) -> EnergyMethod:
        """The lane method for one discretisation."""
        most = self.max_steps if max_steps is None else max_steps
        model = self.model or "newton"
        if model == "gauss-newton" and not metric.embeds:
            raise ValueError(
                "model 'gauss-newton' needs a metric that is the pull-back of a known embedding; "
                f"{type(metric).__name__} is not: use 'newton' or 'georce'"
            )
        chord = self.uses_chords(metric)
        newton = model == "newton"
        return EnergyMethod(rule, chord, newton, most, tolerance, search and chord)


def _lanes(metric, solver, nodes) -> int:
    """Curves in flight; fewer where each one's evaluation is a large matrix product by itself.

    One alone where not even its own nodes go together through the cache.
    """
    if not is_wide(metric, nodes.shape[-1]):
        return solver.lanes
    return 1 if is_alone(metric, nodes) else min(solver.lanes, _FEW_LANES)


def _sharp(accuracy: float) -> float:
    """The Newton decrement that a relative error `accuracy` of the length is far above.

    The step that it belongs to is still taken, and leaves the square of it.
    """
    return max(_TOLERANCE, _SHARP * accuracy)


def solve_pairs(metric, x, y, solver: EnergySolver, rule: Rule, request: Request) -> Solution:
    """Solve n concrete pairs on the host's schedule; then refine once more what `polish` asks."""
    accuracy = request.accuracy
    init: np.ndarray | None = None if request.init is None else _at_nodes(request.init, rule, x, y)
    first = _first_rule(metric, solver, rule, init)
    starts, owner, bound, known = find_starts(metric, x, y, solver, first, init)
    starts = starts.astype(x.dtype)
    outcome, total, work = _descend(
        metric, solver, rule, first, starts, owner, x.shape[0], accuracy, request.progress
    )
    certificate = certify(metric, rule, outcome.curve)
    work = work + num_probes(rule)
    certificate, ended = _join_neighbors(metric, x, y, certificate, outcome.status)
    status = judged(np, ended, certificate, bound, accuracy)
    result = Solution(
        outcome.curve, rule.degree, status, total, work, outcome.decrement, bound, certificate
    )
    result = _assure(metric, result, known, accuracy)
    for _ in range(solver.max_refinements):
        again = np.flatnonzero(
            np.isin(result.status, (Status.UNRESOLVED, Status.LONGER_THAN_BOUND))
        )
        if again.size == 0:
            break
        result = _refine(metric, solver, result, again, accuracy)
        result = _assure(metric, result, known, accuracy)
    if request.polish is not None and solver.max_refinements > 0:
        rough = result.measured.residual > residual_tolerance(request.polish)
        again = np.flatnonzero((result.status == Status.CONVERGED) & rough)
        if again.size:
            result = _refine(metric, solver, result, again, accuracy, keep=True)
    return result


def _at_nodes(curves, rule: Rule, x, y) -> np.ndarray:
    """Values of start curves at the nodes of a rule, with the right ends."""
    values = np.asarray(curves(rule.times.astype(x.dtype)), dtype=x.dtype)
    nodes = np.array(np.broadcast_to(values, (x.shape[0], *values.shape[-2:])))
    nodes[:, 0], nodes[:, -1] = x, y
    return nodes


def _assure(metric, result: Solution, known: dict, accuracy) -> Solution:
    """Judge curves longer than their bounds again, by bounds that are sure.

    The bounds come from coarse quadrature, which may jump over what makes a path long; before one
    condemns a curve, at whatever refinement, the known paths of its pair are measured finely.
    Measured pairs leave `known`.
    """
    longer = np.flatnonzero(result.status == Status.LONGER_THAN_BOUND)
    longer = longer[[i in known for i in longer.tolist()]]
    if longer.size == 0:
        return result
    bound, status = np.array(result.bound), np.array(result.status)
    bound[longer] = [min(fine_length(metric, path) for path in known.pop(i)) for i in longer]
    certificate = jax.tree.map(lambda leaf: leaf[longer], result.certificate)
    met = np.full(longer.shape, int(Status.CONVERGED))
    status[longer] = judged(np, met, certificate, bound[longer], accuracy)
    return result._replace(bound=bound, status=status)


def _join_neighbors(metric, x, y, certificate: Certificate, status):
    """Measure pairs closer than rounding lets a curve resolve by the segment between them.

    The nodes of such a curve are rounded by more than a solver's tolerance of its length. The
    segment is the geodesic up to the square of its length; how much the metric differs between the
    ends is its speed drift and stands for its residual.
    """
    gap = y - x
    size = np.maximum(np.abs(x), np.abs(y)).max(axis=1)
    length = np.abs(gap).max(axis=1)
    close = max(_NEIGHBOURS, _ROUGH * float(np.finfo(x.dtype).eps))
    near = np.flatnonzero((length > 0.0) & (length < close * size))
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


def _first_rule(metric, solver, rule, init) -> Rule:
    """Half of the elements where a graph offers several starts, most of which will be dropped.

    The same for one pair and for many: a pair's curve does not depend on the others.
    """
    several = init is None and solver.starts != "straight"
    several = several and graph_of(metric, solver.fine_graph) is not None
    if several and solver.max_refinements > 0 and rule.elements % 2 == 0:
        return Rule(rule.elements // 2, rule.degree)
    return rule


def _descend(metric, solver, rule, first, starts, owner, n, accuracy, progress):
    """The best outcome for every pair at the resolution of `rule`, from all of its starts.

    With the iterations of all starts together, and the nodes they evaluated.

    Starts on a coarser rule all descend there, and only what may be the shortest goes on. Where a
    coarse energy turns out to have been flattered, by a metric with more detail than the coarse
    rule sees, all starts of the pair go on.
    """

    def descend(level, nodes, report=None, most=solver.max_steps):
        # Coarse energies are compared with one another, to more digits than are asked for.
        tolerance = _sharp(accuracy) if level == rule else _TOLERANCE
        alone = is_alone(metric, nodes)
        method = solver.method(metric, level, most, tolerance=tolerance, search=alone)
        lanes = _lanes(metric, solver, nodes)
        found = run(method, metric, nodes, lanes=lanes, progress=report)
        return jax.tree.map(np.asarray, found)

    total, work = np.zeros(n, dtype=int), np.zeros(n, dtype=int)

    def count(rule, owner, iterations):
        np.add.at(total, owner, iterations)
        np.add.at(work, owner, iterations * len(rule.times))

    coarse_steps = min(_COARSE_STEPS, solver.max_steps) if first != rule else solver.max_steps
    found = descend(first, starts, progress, coarse_steps)
    count(first, owner, found.iterations)
    if first != rule:
        coarse, fine = found, subdivide(first, found.curve)[1]
        which = promising(coarse, owner, n)
        found = descend(rule, fine[which])
        count(rule, owner[which], found.iterations)
        expected = np.full(n, np.inf)
        np.minimum.at(expected, owner[which], coarse.energy[which])
        leader = best_of(found, owner[which], n)
        flattered = ~(found.energy[leader] <= SPREAD * expected)
        left = np.setdiff1d(np.flatnonzero(flattered[owner]), which)
        if left.size:
            more = descend(rule, fine[left])
            count(rule, owner[left], more.iterations)
            which = np.concatenate([which, left])
            found = jax.tree.map(lambda *parts: np.concatenate(parts), found, more)
        owner = owner[which]
    best = best_of(found, owner, n)
    return jax.tree.map(lambda a: a[best], found), total, work


def _refine(metric, solver, result: Solution, again, accuracy, *, keep: bool = False) -> Solution:
    """Double the elements of some pairs; the others' curves are rewritten exactly.

    With `keep` a pair's curve is replaced only by one that converged with a smaller residual.
    """
    rule, nodes = subdivide(result.rule, np.asarray(result.nodes))
    tolerance = _TOLERANCE if keep else _sharp(accuracy)
    method = solver.method(metric, rule, tolerance=tolerance, search=is_alone(metric, nodes))
    lanes = min(_lanes(metric, solver, nodes), 8)
    outcome = run(method, metric, nodes[again], lanes=lanes, chunk=32)
    outcome = jax.tree.map(np.asarray, outcome)
    fresh = certify(metric, rule, outcome.curve)
    status = judged(np, outcome.status, fresh, np.asarray(result.bound)[again], accuracy)
    iterations, work = np.array(result.iterations), np.array(result.evaluations)
    iterations[again] += outcome.iterations
    work[again] += outcome.iterations * len(rule.times) + num_probes(rule)
    better = np.full(again.shape, True)
    if keep:
        sharper = fresh.residual < result.measured.residual[again]
        better = (status == Status.CONVERGED) & sharper

    def put(old, new):
        out = np.array(old)
        out[again[better]] = new[better]
        return out

    return Solution(
        put(nodes, outcome.curve),
        rule.degree,
        put(result.status, status),
        iterations,
        work,
        put(result.decrement, outcome.decrement),
        result.bound,
        jax.tree.map(put, result.certificate, fresh),
    )


def _solve_traced(metric, x, y, solver: EnergySolver, rule: Rule, request: Request) -> Solution:
    """Solve n pairs inside a user's transformation: one start, one discretisation."""
    times = jnp.asarray(rule.times, x.dtype)
    if request.init is None:
        starts = x[:, None] + (y - x)[:, None] * times[:, None]
    else:
        values = request.init(times)
        starts = jnp.broadcast_to(values, (x.shape[0], *values.shape[-2:])).astype(x.dtype)
        starts = starts.at[:, 0].set(x).at[:, -1].set(y)
    method = solver.method(metric, rule)
    outcome = run(method, metric, starts, lanes=solver.lanes, chunk=max(1, x.shape[0]))
    certificate = jax.lax.map(lambda c: certify_one(metric, rule, c), outcome.curve, batch_size=16)
    bound = jnp.full(x.shape[0], jnp.inf, x.dtype)
    status = judged(jnp, outcome.status, certificate, bound, request.accuracy)
    work = outcome.iterations * len(rule.times) + num_probes(rule)
    return Solution(
        outcome.curve,
        rule.degree,
        status,
        outcome.iterations,
        work,
        outcome.decrement,
        bound,
        certificate,
    )
