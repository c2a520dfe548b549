"""What a solver is: boundary values in, curves with statuses out."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from landform._core import display
from landform._core.module import AbstractModule
from landform._core.status import Status
from landform._core.typing import Array
from landform.solvers.elements import Rule
from landform.solvers.residual import Certificate, certify, num_probes

Values: TypeAlias = Array | np.ndarray  # NumPy's on the host, JAX's inside a transformation

_BOUND_RTOL = 1e-6  # excess over a known path that rounding and quadrature may explain


class Request(NamedTuple):
    """What the caller of `geodesic` asks of a solver; a solver uses what it can.

    Attributes
    ----------
    num_points
        Points on a curve, the resolution to begin with.
    accuracy
        Relative error of the length at which a curve counts as resolved.
    polish
        Relative error of the length to which converged curves are refined once more, or None.
    init
        Start curves, a function of the parameter values ``(k,)`` to points ``(n, k, d)``; or None.
    progress
        Called with the number of curves finished; or None.

    Examples
    --------
    >>> import landform as lf
    >>> lf.Request().num_points
    65
    """

    num_points: int = 65
    accuracy: float = 1e-6
    polish: float | None = None
    init: Callable[[Any], Any] | None = None
    progress: Callable[[int], None] | None = None

    __repr__ = display.line


class Solution(NamedTuple):
    """Curves between n pairs of points, and what the solver knows of them.

    Attributes
    ----------
    nodes
        Values of every curve at its nodes, shape ``(n, T + 1, d)``, T a multiple of `degree`: the
        Gauss–Lobatto points of elements that are equally long in t.
    degree
        Degree of the elements; 1 for polylines with equally spaced vertices.
    status
        A `Status` code, or one for each curve. Curves that the solver calls converged are measured
        by the library, which judges them by their residual and by `bound`.
    iterations, evaluations
        What each curve took: iterations, and points at which the metric was evaluated.
    decrement
        Relative energy that the last step predicted to gain; NaN where there is no such thing.
    bound
        Length of the best path that is known for each pair; infinite without one.
    certificate
        The library's measurements, where the solver has made them and judged by them.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> lf.Solution(np.zeros((3, 9, 2)), degree=4).rule.elements
    2
    """

    nodes: Values
    degree: int = 1
    status: Values | int = Status.CONVERGED
    iterations: Values | int = 0
    evaluations: Values | int = 0
    decrement: Values | float = np.nan
    bound: Values | float = np.inf
    certificate: Certificate | None = None

    @property
    def measured(self) -> Certificate:
        """The certificate of a solution that has been measured."""
        assert self.certificate is not None
        return self.certificate

    @property
    def rule(self) -> Rule:
        """How the curves are discretised."""
        return Rule((self.nodes.shape[-2] - 1) // self.degree, self.degree)

    __repr__ = display.line


class AbstractSolver(AbstractModule):
    """A way to geodesics between points: what ``solver=`` of `geodesic` and its kin accepts.

    A solver turns a metric and end points into curves. It need not measure them: the library
    certifies every curve that a solver calls converged, in the same way whatever the solver, and
    calls it unresolved where it is no geodesic.

    Examples
    --------
    Geodesics of a flat metric are straight, and those of the half-plane are not:

    >>> import numpy as np, landform as lf
    >>> class Straight(lf.AbstractSolver):
    ...     def solve(self, metric, x, y, request):
    ...         return lf.Solution(np.stack([x, y], axis=1))
    >>> bool(lf.geodesic(lf.Euclidean(2), [0.0, 0.0], [3.0, 4.0], solver=Straight()).converged)
    True
    >>> x, y = [-1.0, 1.0], [1.0, 1.0]
    >>> found = lf.geodesic(lf.PoincareHalfPlane(), x, y, solver=Straight(), throw=False)
    >>> lf.Status(int(found.status)).name
    'UNRESOLVED'
    """

    @abc.abstractmethod
    def solve(self, metric, x: np.ndarray, y: np.ndarray, request: Request) -> Solution:
        """Curves from the rows of x to those of y, both ``(n, d)`` and finite.

        A pair's curve must not depend on the other pairs. A failure is a status, not an exception.
        """

    def solve_traced(self, metric, x, y, request: Request) -> Solution:
        """The same inside a user's transformation, on traced arrays; refused unless overridden."""
        raise TypeError(
            f"{type(self).__name__} works on the values of its arguments, which a traced function "
            "such as one under jax.jit does not have: use an EnergySolver there"
        )

    def distances(self, metric, X: np.ndarray, Y: np.ndarray):
        """All distances at once, ``(n, m)``, with statuses; None for one solve for each pair."""
        return None

    def uses_chords(self, metric) -> bool:
        """Whether a curve interpolates the image of the embedding, not the metric."""
        return metric.embeds


def judged(xp, status, certificate: Certificate, bound, accuracy: float):
    """The status that a curve deserves, whatever its solver says; by NumPy or by JAX.

    A status that is not `Status.CONVERGED` stays, but for a metric that is none on the curve.
    """
    tolerance = residual_tolerance(accuracy)
    sharp = (certificate.residual <= tolerance) & (certificate.speed_drift <= 30.0 * tolerance)
    still = certificate.length == 0.0
    status = xp.where(
        (status == Status.CONVERGED) & ~sharp & ~still, int(Status.UNRESOLVED), status
    )
    longer = certificate.length > (1.0 + _BOUND_RTOL + accuracy) * bound
    status = xp.where((status == Status.CONVERGED) & longer, int(Status.LONGER_THAN_BOUND), status)
    # A singular metric gives distinct points the distance zero, and has no logarithm there.
    return xp.where(certificate.finite, status, int(Status.BAD_METRIC))


def residual_tolerance(accuracy: float) -> float:
    """The geodesic residual that a relative error `accuracy` of the length allows."""
    return float(np.sqrt(2.0 * accuracy))


def certified(metric, x: np.ndarray, y: np.ndarray, solution: Solution, accuracy) -> Solution:
    """A solver's solution, checked for its shape, measured and judged."""
    nodes = np.asarray(solution.nodes, dtype=x.dtype)
    n, d = x.shape
    degree = solution.degree
    if (
        nodes.ndim != 3
        or (nodes.shape[0], nodes.shape[2]) != (n, d)
        or (nodes.shape[1] < 2 or (nodes.shape[1] - 1) % degree)
    ):
        raise ValueError(
            f"a solver must return nodes of shape ({n}, T + 1, {d}) with T a multiple of degree = "
            f"{degree}, got {nodes.shape}"
        )
    nodes = nodes.copy()
    nodes[:, 0], nodes[:, -1] = x, y

    def each(value, dtype=None):
        return np.array(np.broadcast_to(np.asarray(value, dtype), (n,)))

    status, bound = each(solution.status, int), each(solution.bound, x.dtype)
    rule = solution._replace(nodes=nodes).rule
    certificate, evaluations = solution.certificate, each(solution.evaluations, int)
    if certificate is None:
        finite = np.asarray(np.isfinite(nodes).all(axis=(1, 2)))
        known = np.where(finite[:, None, None], nodes, x[:, None])  # a curve at rest at its start
        certificate = certify(metric, rule, known)
        status = np.where(~finite & (status == Status.CONVERGED), int(Status.STALLED), status)
        status = judged(np, status, certificate, bound, accuracy)
        evaluations = evaluations + num_probes(rule)
    return Solution(
        nodes,
        degree,
        status,
        each(solution.iterations, int),
        evaluations,
        each(solution.decrement, x.dtype),
        bound,
        certificate,
    )
