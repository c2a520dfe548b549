"""Logarithms of many data at one mean, from the curves of the mean before."""

from typing import NamedTuple

import numpy as np

from landform._metric import AbstractMetric
from landform._spokes import Spokes, solve_options, solve_spokes, thinned

_NUM_POINTS = 33  # nodes of the curves to data at first; those that need more are refined
_FEW_POINTS = 17  # the same for a loose accuracy
_LOOSE = 0.9e-5
_CHUNK = 1024  # data whose geodesics are solved together; bounds the memory


def accuracy_for(rtol: float) -> float:
    """The relative error of lengths that goes with the tolerance of the rays in a fit.

    A length that is wrong by ε of itself changes a log-density by ε times the squared logarithm,
    which is d on average: a normaliser of tolerance ε is no better.
    """
    return float(np.clip(rtol, 1e-6, 1e-4))


class Logs(NamedTuple):
    """Logarithms of the data at one mean, with their curves for the next."""

    vectors: np.ndarray  # (N, d); those of failed points are zero
    usable: np.ndarray  # (N,)
    spokes: Spokes


def find_logs(metric: AbstractMetric, mean, X, accuracy: float, previous=None) -> Logs:
    """Log_mean(X): from earlier `Logs` of the same data where there are any, else by a search."""
    mean = np.asarray(mean, dtype=float)
    known = None if previous is None else previous.spokes
    return logs_of(solve_chunks(metric, mean, X, accuracy, known))


def solve_chunks(metric, mean, X, accuracy: float, known: Spokes | None = None) -> Spokes:
    """Geodesics from a mean to data, 1024 at a time.

    Those that known curves do not lead to, or that a loose accuracy's few nodes, however often
    refined, do not resolve, are looked for once more: afresh, and from more nodes.
    """
    count = _NUM_POINTS if accuracy < _LOOSE else _FEW_POINTS
    spokes = _solve_chunks(metric, mean, X, count, accuracy, known)
    lost = np.flatnonzero(~spokes.ok)
    if lost.size == 0 or (known is None and count == _NUM_POINTS):
        return spokes
    afresh = _solve_chunks(metric, mean, X[lost], _NUM_POINTS, accuracy)
    return replaced(spokes, lost, thinned(afresh, spokes.nodes.shape[1]), afresh.ok)


def _solve_chunks(metric, mean, X, count: int, accuracy: float, known: Spokes | None = None):
    """`solve_chunks` from one number of nodes."""
    options = solve_options(count, accuracy, None)
    parts = [
        solve_spokes(
            metric, mean, X[i : i + _CHUNK], options,
            None if known is None else known.take(slice(i, i + _CHUNK)),
        )
        for i in range(0, len(X), _CHUNK)
    ]  # fmt: skip
    return parts[0] if len(parts) == 1 else Spokes(*map(np.concatenate, zip(*parts, strict=True)))


def logs_of(spokes: Spokes) -> Logs:
    """The logarithms that curves begin with."""
    return Logs(np.where(spokes.ok[:, None], spokes.velocity, 0.0), spokes.ok, spokes)


def replaced(spokes: Spokes, rows, others: Spokes, which) -> Spokes:
    """Spokes with some rows taken from others."""
    parts = [a.copy() for a in spokes]
    for part, new in zip(parts, others, strict=True):
        part[rows[which]] = new[which]
    return Spokes(*parts)
