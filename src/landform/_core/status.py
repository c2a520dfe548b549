"""Statuses: how each computation ended, as data that passes through `jit` and `vmap`."""

import enum

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from landform._core import display
from landform._core.typing import Array


class Status(enum.IntEnum):
    """How a solve ended; stored as an integer array in results.

    A status is data: it can be batched, compared (``result.status == Status.CONVERGED``) and turned
    into words with `describe`. Larger values are more serious, so that two statuses are joined by
    their maximum.

    Examples
    --------
    >>> import landform as lf
    >>> lf.Status.CONVERGED.message
    'converged'
    """

    CONVERGED = 0
    APPROXIMATE = 1
    MAX_STEPS = 2
    STALLED = 3
    UNRESOLVED = 4
    LONGER_THAN_BOUND = 5
    DISCONNECTED = 6
    LEFT_DOMAIN = 7
    BAD_METRIC = 8
    BAD_INPUT = 9

    @property
    def message(self) -> str:
        """One line that says what happened and what may be done about it."""
        return _MESSAGES[self]


_MESSAGES = {
    Status.CONVERGED: "converged",
    Status.APPROXIMATE: "a path of a graph or a grid, not a geodesic: its length is an estimate",
    Status.MAX_STEPS: "the iteration limit was reached; raise it (max_steps, max_iter)",
    Status.STALLED: "no step lowers the energy further although the curve is not a geodesic "
    "(the metric is probably not smooth)",
    Status.UNRESOLVED: "the curve is not resolved to the requested accuracy; raise num_points, or "
    "check that the metric is smooth",
    Status.LONGER_THAN_BOUND: "the curve is longer than a known path between its end points",
    Status.DISCONNECTED: "the graph has no path between the end points",
    Status.LEFT_DOMAIN: "the initial value problem could not be integrated to t = 1 "
    "(step limit reached, or the curve left the domain of the metric)",
    Status.BAD_METRIC: "the metric is not finite and positive definite somewhere on the curve",
    Status.BAD_INPUT: "an end point or a velocity is not finite",
}


def succeeded(status):
    """Whether each computation succeeded: a geodesic, or a path of a graph or a grid."""
    return status <= int(Status.APPROXIMATE)


def join(*statuses: Array) -> Array:
    """The most serious of several statuses, elementwise."""
    out = statuses[0]
    for status in statuses[1:]:
        out = jnp.maximum(out, status)
    return out


def describe(status) -> str | list[str]:
    """Turn a status array into its message, or a batch into a list of messages."""
    codes = np.asarray(status)
    if codes.ndim == 0:
        return Status(int(codes)).message
    return [Status(int(code)).message for code in codes.ravel()]


def outcome(status) -> str:
    """A status as a part of a line: whether it converged, and if not why; a batch by `tally`."""
    if isinstance(status, Tracer):
        return "converged=traced"
    if np.ndim(status):
        return tally(status)
    code = int(status)
    return "converged=True" if code == Status.CONVERGED else f"converged=False ({_word(code)})"


def tally(status) -> str:
    """A batch of statuses in words, ``12 of 14 converged, 1 stalled, 1 left domain``."""
    if isinstance(status, Tracer):
        return "converged=traced"
    kinds, counts = np.unique(np.asarray(status), return_counts=True)
    found = dict(zip(kinds.tolist(), counts.tolist(), strict=True))
    converged = f"{found.pop(int(Status.CONVERGED), 0)} of {np.size(status)} converged"
    return ", ".join([converged, *(f"{count} {_word(code)}" for code, count in found.items())])


def _word(code: int) -> str:
    return Status(code).name.lower().replace("_", " ")


class AbstractResult(display.AbstractDisplayed):
    """Numbers for the user, as opposed to a model; `precise` returns their arrays as NumPy's."""


class AbstractOutcome(AbstractResult):
    """A result with a status that says how its computation ended."""

    status: eqx.AbstractVar[Array]

    @property
    def reason(self) -> str | list[str]:
        """The status in words; a list for a batch."""
        return describe(self.status)


class ConvergenceError(RuntimeError):
    """Raised by a public entry point with ``throw=True`` when a computation failed.

    Attributes
    ----------
    result
        What was computed, with its statuses, so that nothing is lost.

    Examples
    --------
    >>> import landform as lf
    >>> issubclass(lf.ConvergenceError, RuntimeError)
    True
    """

    def __init__(self, message: str, result=None):
        super().__init__(message)
        self.result = result


class MetricError(ConvergenceError, ValueError):
    """Raised with ``throw=True`` if every failure is of a metric that is not positive definite.

    It is a `ValueError` too: the caller's metric is not finite and positive definite at a point
    where it was evaluated.

    Examples
    --------
    >>> import landform as lf
    >>> try:
    ...     lf.distance(lf.PoincareHalfPlane(), [0.0, -1.0], [0.0, 1.0])
    ... except ValueError as error:
    ...     print(type(error).__name__)
    MetricError
    """


def raise_if_failed(what: str, status, result=None) -> None:
    """Raise one `ConvergenceError` that counts the failures by reason, if there are any."""
    codes = np.asarray(status).ravel()
    failed = codes[~succeeded(codes)]
    if failed.size == 0:
        return
    kinds, counts = np.unique(failed, return_counts=True)
    error = MetricError if kinds.tolist() == [Status.BAD_METRIC] else ConvergenceError
    if codes.size == 1:
        reason = Status(int(kinds[0])).message
        raise error(f"{what} failed: {reason}. Pass throw=False to get the result anyway.", result)
    reasons = "; ".join(
        f"{n} × {Status(int(k)).message}" for k, n in zip(kinds, counts, strict=True)
    )
    raise error(
        f"{failed.size} of {codes.size} {what} computations failed: {reasons}. "
        "Pass throw=False to get the batch with a status for each.",
        result,
    )
