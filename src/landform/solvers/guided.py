"""Geodesics that start from those of another metric, each at the resolution that it needs there.

A table of a costly decoder knows where its geodesics bend before the decoder is asked: a curve
with narrow bends begins with as many elements as they take, in place of finding that out by many
costly iterations on too few; a smooth one does not pay for it.
"""

import dataclasses

import jax
import numpy as np

from landform.solvers.base import Request, Solution, residual_tolerance
from landform.solvers.boundary_value import EnergySolver, solve_pairs
from landform.solvers.elements import Rule, interpolation, subdivide
from landform.solvers.residual import certify

_TOLERANCE_SHARE = 0.5  # what the guide may use of it, for the metric has detail that it lacks


def solve_guided(metric, x, y, guide, solver: EnergySolver, request: Request) -> Solution:
    """Solve n concrete pairs from the geodesics of the metric `guide` between them."""
    own = EnergySolver(
        max_steps=solver.max_steps, max_refinements=solver.max_refinements, fine_graph=True
    )
    # Twice the points: the chords of a decoder need half of those that its metric does. And what
    # `_levels` asks of these curves they must be able to.
    finer = Request(2 * request.num_points - 1, _TOLERANCE_SHARE**2 * request.accuracy)
    curves = own.solve(guide, x, y, finer)
    rule = solver.rule(metric, request.num_points)
    level = _levels(guide, curves, x, y, rule, solver.max_refinements, request.accuracy)
    rows, parts = [], []
    for doublings in np.unique(level).tolist():
        some = np.flatnonzero(level == doublings)
        refined = Rule(rule.elements * 2**doublings, rule.degree)
        # The guide's level is a guess, which may be corrected once even at the finest one.
        more = max(solver.max_refinements - doublings, min(1, solver.max_refinements))
        left = dataclasses.replace(solver, max_refinements=more)
        starts = _at_nodes(curves, refined, x, y)[some]
        asked = request._replace(init=lambda times, starts=starts: starts)
        rows.append(some)
        parts.append(solve_pairs(metric, x[some], y[some], left, refined, asked))
    return join_solutions(np.concatenate(rows), parts)


def _levels(guide, curves, x, y, rule: Rule, most: int, accuracy: float) -> np.ndarray:
    """How often the elements double until they carry the guide's geodesic, for every pair."""
    level = np.full(len(x), most)
    open_rows = np.arange(len(x))
    for doublings in range(most):
        finer = Rule(rule.elements * 2**doublings, rule.degree)
        residual = certify(guide, finer, _at_nodes(curves, finer, x, y)[open_rows]).residual
        fits = residual <= _TOLERANCE_SHARE * residual_tolerance(accuracy)
        level[open_rows[fits]] = doublings
        open_rows = open_rows[~fits]
        if open_rows.size == 0:
            break
    return level


def _at_nodes(curves: Solution, rule: Rule, x, y) -> np.ndarray:
    """Values at the nodes of a rule, with the right ends."""
    nodes = (interpolation(curves.rule, rule.times) @ np.asarray(curves.nodes)).astype(x.dtype)
    nodes[:, 0], nodes[:, -1] = x, y
    return nodes


def join_solutions(rows: np.ndarray, parts: list[Solution]) -> Solution:
    """Solutions on several rules as one on the finest of them, in the order of the pairs."""
    if len(parts) == 1 and (np.diff(rows) == 1).all():
        return parts[0]
    finest, degree = max(part.rule.elements for part in parts), parts[0].degree
    same = []
    for part in parts:
        rule, nodes = part.rule, np.asarray(part.nodes)
        while rule.elements < finest:
            rule, nodes = subdivide(rule, nodes)
        same.append(part._replace(nodes=nodes, degree=None))
    order = np.argsort(rows)
    whole = jax.tree.map(lambda *leaves: np.concatenate(leaves)[order], *same)
    return whole._replace(degree=degree)
