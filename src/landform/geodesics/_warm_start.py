"""Geodesics that start from those of another metric, each at the resolution that it needs there.

A table of a costly generator knows where its geodesics bend before the generator is asked: a curve
with narrow bends begins with as many elements as they take, in place of finding that out by many
costly iterations on too few; a smooth one does not pay for it.
"""

import dataclasses

import jax
import numpy as np

from landform.geodesics.curve import PolynomialCurve
from landform.solvers.boundary_value import Solved, residual_tolerance, solve
from landform.solvers.elements import Rule, subdivide
from landform.solvers.energy import EnergySolver
from landform.solvers.residual import certify

_SHARE = 0.5  # of the tolerance, for the metric has detail that its table does not show


def guide_accuracy(accuracy: float) -> float:
    """The accuracy of the guide's geodesics: what `_levels` asks of them, they must be able to."""
    return _SHARE**2 * accuracy


def solve_guided(
    metric,
    x,
    y,
    *,
    solver: EnergySolver,
    rule: Rule,
    guide,
    curves: PolynomialCurve,
    accuracy: float,
    **options,
) -> Solved:
    """Solve n concrete pairs from `curves`, geodesics of the metric `guide` between them."""
    x, y = np.asarray(x), np.asarray(y)
    level = _levels(guide, curves, x, y, rule, solver.max_refinements, accuracy)
    rows, parts = [], []
    for doublings in np.unique(level).tolist():
        some = np.flatnonzero(level == doublings)
        finer = Rule(rule.elements * 2**doublings, rule.degree)
        # The guide's word is a guess, which may be corrected once even at the finest level.
        more = max(solver.max_refinements - doublings, min(1, solver.max_refinements))
        left = dataclasses.replace(solver, max_refinements=more)
        start = _at_nodes(curves, finer, x, y)[some]
        rows.append(some)
        parts.append(
            solve(
                metric,
                x[some],
                y[some],
                solver=left,
                rule=finer,
                init=start,
                accuracy=accuracy,
                **options,
            )
        )
    return _join(np.concatenate(rows), parts)


def _levels(guide, curves, x, y, rule: Rule, most: int, accuracy: float) -> np.ndarray:
    """How often the elements double until they carry the guide's geodesic, for every pair."""
    level = np.full(len(x), most)
    open_rows = np.arange(len(x))
    for doublings in range(most):
        finer = Rule(rule.elements * 2**doublings, rule.degree)
        residual = certify(guide, finer, _at_nodes(curves, finer, x, y)[open_rows]).residual
        fits = residual <= _SHARE * residual_tolerance(accuracy)
        level[open_rows[fits]] = doublings
        open_rows = open_rows[~fits]
        if open_rows.size == 0:
            break
    return level


def _at_nodes(curves: PolynomialCurve, rule: Rule, x, y) -> np.ndarray:
    """Values at the nodes of a rule, with the right ends."""
    nodes = np.array(curves(rule.times.astype(x.dtype)), x.dtype)
    nodes[:, 0], nodes[:, -1] = x, y
    return nodes


def _join(rows: np.ndarray, parts: list[Solved]) -> Solved:
    """Results on several rules as one on the finest of them, in the order of the pairs."""
    finest = max(part.rule.elements for part in parts)
    same = []
    for part in parts:
        rule, nodes = part.rule, np.asarray(part.nodes)
        while rule.elements < finest:
            rule, nodes = subdivide(rule, nodes)
        same.append(part._replace(rule=None, nodes=nodes))
    order = np.argsort(rows)
    whole = jax.tree.map(lambda *leaves: np.concatenate(leaves)[order], *same)
    return whole._replace(rule=Rule(finest, parts[0].rule.degree))
