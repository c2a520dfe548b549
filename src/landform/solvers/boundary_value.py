"""The default way to a geodesic: good starts, Newton, a certificate, refinement where it asks."""

from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from landform._core.lanes import run
from landform._core.status import Status
from landform._core.typing import Array
from landform.solvers.elements import Rule, is_alone, is_wide, subdivide
from landform.solvers.energy import _TOLERANCE, EnergySolver
from landform.solvers.graph import graph_of
from landform.solvers.lengths import fine_length, speeds
from landform.solvers.residual import Certificate, certify, certify_one, num_probes
from landform.solvers.starts import SPREAD, best_of, find_starts, promising

Values: TypeAlias = Array | np.ndarray  # solved on the host's schedule, or traced

_SHARP = 1e-4  # relative Newton decrement over the accuracy asked for
_FEW_LANES = 4  # where few curves fill the caches
_COARSE_STEPS = 24  # after which a start shows whether it may be the shortest; it may go on
_NEIGHBOURS = 1e-7  # distance over coordinates below which a segment is the better curve
_ROUGH = 2e4  # the same over the rounding of coordinates, which is more in single precision
_SLACK = 1e-6  # relative excess over a known path that rounding and quadrature may explain


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


class Solved(NamedTuple):
    """Curves, their measurements and how they ended, for n pairs."""

    rule: Rule
    nodes: Values  # (n, T + 1, d)
    certificate: Certificate
    status: Values
    iterations: Values
    evaluations: Values  # points at which the metric or the Jacobian was evaluated
    decrement: Values
    bound: Values  # length of the best known path, infinite without one


def solve(
    metric, x, y, *, solver: EnergySolver, rule: Rule, init, accuracy: float, progress, polish=None
) -> Solved:
    """Solve n concrete pairs on the host's schedule; then refine once more what `polish` asks."""
    x, y = np.asarray(x), np.asarray(y)
    first = _first_rule(metric, solver, rule, init, x.shape[0])
    starts, owner, bound, known = find_starts(metric, x, y, solver, first, init)
    starts = starts.astype(x.dtype)
    outcome, total, work = _descend(
        metric, solver, rule, first, starts, owner, x.shape[0], accuracy, progress
    )
    certificate = certify(metric, rule, outcome.curve)
    work = work + num_probes(rule)
    certificate, ended = _join_neighbors(metric, x, y, certificate, outcome.status)
    outcome = outcome._replace(status=ended)
    status = _judge(np, outcome.status, certificate, bound, accuracy)
    result = Solved(rule, outcome.curve, certificate, status, total, work, outcome.decrement, bound)
    result = _assure(metric, result, known, accuracy)
    for _ in range(solver.max_refinements):
        again = np.flatnonzero(
            np.isin(result.status, (Status.UNRESOLVED, Status.LONGER_THAN_BOUND))
        )
        if again.size == 0:
            break
        result = _refine(metric, solver, result, again, accuracy)
        result = _assure(metric, result, known, accuracy)
    if polish is not None and solver.max_refinements > 0:
        rough = result.certificate.residual > residual_tolerance(polish)
        again = np.flatnonzero((result.status == Status.CONVERGED) & rough)
        if again.size:
            result = _refine(metric, solver, result, again, accuracy, keep=True)
    return result


def _assure(metric, result: Solved, known: dict, accuracy) -> Solved:
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
    status[longer] = _judge(np, met, certificate, bound[longer], accuracy)
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


def _first_rule(metric, solver, rule, init, pairs) -> Rule:
    """Half of the elements where a graph offers several starts, most of which will be dropped.

    One pair alone does without: another program to compile costs more than its starts.
    """
    several = init is None and solver.starts != "straight"
    several = several and graph_of(metric, solver.fine_graph) is not None
    if several and pairs > 1 and solver.max_refinements > 0 and rule.elements % 2 == 0:
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
    # A singular metric gives distinct points the distance zero, and has no logarithm there.
    return xp.where(certificate.finite, status, int(Status.BAD_METRIC))


def residual_tolerance(accuracy: float) -> float:
    """The geodesic residual that a relative error `accuracy` of the length allows."""
    return float(np.sqrt(2.0 * accuracy))


def _refine(metric, solver, result: Solved, again, accuracy, *, keep: bool = False) -> Solved:
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
    status = _judge(np, outcome.status, fresh, result.bound[again], accuracy)
    iterations, work = np.array(result.iterations), np.array(result.evaluations)
    iterations[again] += outcome.iterations
    work[again] += outcome.iterations * len(rule.times) + num_probes(rule)
    better = np.full(again.shape, True)
    if keep:
        sharper = fresh.residual < result.certificate.residual[again]
        better = (status == Status.CONVERGED) & sharper

    def put(old, new):
        out = np.array(old)
        out[again[better]] = new[better]
        return out

    return Solved(
        rule,
        put(nodes, outcome.curve),
        jax.tree.map(put, result.certificate, fresh),
        put(result.status, status),
        iterations,
        work,
        put(result.decrement, outcome.decrement),
        result.bound,
    )


def solve_traced(
    metric, x, y, *, solver: EnergySolver, rule: Rule, init, accuracy: float
) -> Solved:
    """Solve n pairs inside a user's transformation: one start, one discretisation."""
    times = jnp.asarray(rule.times, x.dtype)
    starts = x[:, None] + (y - x)[:, None] * times[:, None] if init is None else init
    method = solver.method(metric, rule)
    outcome = run(method, metric, starts, lanes=solver.lanes, chunk=max(1, x.shape[0]))
    certificate = jax.lax.map(lambda c: certify_one(metric, rule, c), outcome.curve, batch_size=16)
    bound = jnp.full(x.shape[0], jnp.inf, x.dtype)
    status = _judge(jnp, outcome.status, certificate, bound, accuracy)
    work = outcome.iterations * len(rule.times) + num_probes(rule)
    return Solved(
        rule, outcome.curve, certificate, status, outcome.iterations, work, outcome.decrement, bound
    )
