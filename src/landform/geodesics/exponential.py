"""The exponential map: geodesics from a point and a velocity."""

import jax

from landform._core.arrays import is_traced, precise
from landform._core.status import raise_if_failed
from landform._core.typing import Array, Float
from landform.geodesics.geodesic import check_pair, where_succeeded
from landform.metrics.base import AbstractMetric, check_metric
from landform.solvers.ivp import AdaptiveIVP, FixedStepIVP, IVPResult, shoot_many


@precise
def exp(
    metric: AbstractMetric,
    x,
    v,
    *,
    solver: AdaptiveIVP | FixedStepIVP | None = None,
    throw: bool = True,
) -> Float[Array, "*batch d"]:
    """The exponential map Exp_x(v): where the geodesic from x with velocity v is at t = 1.

    Parameters
    ----------
    metric
        The metric.
    x, v
        Points and velocities in chart coordinates, shape ``(d,)`` or ``(n, d)``; one of either kind
        is paired with all of the other.
    solver
        `AdaptiveIVP` (the default, tolerance 1e-9) or `FixedStepIVP`.
    throw
        Raise if any geodesic fails; with False the failed ones are NaN.

    Returns
    -------
    Points, shape ``(d,)`` or ``(n, d)``.

    Raises
    ------
    TypeError, ValueError
        For a wrong metric, shapes that do not fit, or values that are not finite.
    ConvergenceError
        With ``throw=True``, where the integration stops, leaves the domain of the metric, or does
        not conserve speed to 1e-3, as happens when the metric jumps (ReLU decoders).

    Notes
    -----
    Integrates ``M a = ½ ∇_x(vᵀ M v) − (∂_v M) v``. The equation as printed in arXiv:1606.02518
    lacks the last term for d ≥ 2. Differentiable; forward mode for the adaptive solver. A batch is
    integrated in lanes with steps of their own, so that it costs the sum of its geodesics.

    Examples
    --------
    >>> import landform as lf
    >>> lf.exp(lf.PoincareHalfPlane(), [0.0, 1.0], [1.0, 0.0]).round(8).tolist()
    [0.76159416, 0.64805427]
    """
    shot = geodesic_ivp(metric, x, v, solver=solver, throw=throw)
    return where_succeeded(shot.status, shot.point)


@precise
def geodesic_ivp(
    metric: AbstractMetric,
    x,
    v,
    *,
    solver: AdaptiveIVP | FixedStepIVP | None = None,
    throw: bool = True,
) -> IVPResult:
    """The end of a geodesic with its velocity, status, speed drift, steps and estimated error.

    Parameters
    ----------
    metric, x, v, solver, throw
        As for `exp`.

    Returns
    -------
    A named tuple ``point, velocity, status, speed_drift, steps, error``, with a leading axis for a
    batch. `error` adds up the estimated errors of the steps in position, not what the geodesics
    themselves make of them later; it is NaN for fixed steps.

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As `exp`.

    Examples
    --------
    >>> import landform as lf
    >>> shot = lf.geodesic_ivp(lf.PoincareHalfPlane(), [0.0, 1.0], [0.0, 1.0])
    >>> shot.velocity.round(6).tolist()
    [0.0, 2.718282]
    """
    check_metric(metric)
    solver = AdaptiveIVP() if solver is None else solver
    if not isinstance(solver, AdaptiveIVP | FixedStepIVP):
        raise TypeError(
            f"solver must be an AdaptiveIVP or FixedStepIVP, got {type(solver).__name__}"
        )
    x, v, single = check_pair(metric, x, v, "v")
    shot = shoot_many(metric, x, v, solver)
    if single:
        shot = jax.tree.map(lambda leaf: leaf[0], shot)
    if throw and not is_traced(shot.status):
        raise_if_failed("exp", shot.status, shot)
    return shot
