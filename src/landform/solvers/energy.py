"""Geodesics as minimisers of the discrete energy, by damped Newton steps in lanes."""

from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from landform._results import Status
from landform._typing import Array, Float, Int
from landform.solvers.driver import AbstractMethod
from landform.solvers.elements import (
    Assembly,
    Rule,
    assemble_chord,
    assemble_metric,
)
from landform.solvers.systems import solve_newton

Model = Literal["newton", "gauss-newton", "georce"]

_GIVE_UP = 1e10  # damping beyond which no step can lower the energy
_ARMIJO = 1e-4  # share of the predicted decrease that a step must bring


class _State(NamedTuple):
    candidate: Float[Array, "T1 d"]
    curve: Float[Array, "T1 d"]  # the best curve so far
    accepted: Assembly
    damping: Float[Array, ""]
    predicted: Float[Array, ""]  # decrease of the energy the candidate should bring
    decrement: Float[Array, ""]  # relative Newton decrement at the best curve
    iterations: Int[Array, ""]
    status: Int[Array, ""]
    running: Array


class EnergyOutcome(NamedTuple):
    """What the energy method leaves of one problem."""

    curve: Float[Array, "T1 d"]
    energy: Float[Array, ""]
    decrement: Float[Array, ""]
    iterations: Int[Array, ""]
    status: Int[Array, ""]


class EnergyMethod(AbstractMethod):
    """Damped Newton on the energy: one evaluation an iteration, accept the step or shorten it.

    The step solves ``((1 + λ) K + S) u = −g`` where K is the positive-definite part of the second
    derivative and S the rest. λ = 0 is Newton's method. Where that matrix is not positive definite
    the step is ``−((1 + λ) K)⁻¹ g``, the one of the Gauss–Newton (chord energy) or GEORCE (metric)
    method, which always descends; λ grows when a step is refused.
    """

    rule: Rule = eqx.field(static=True)
    chord: bool = eqx.field(static=True)
    second_order: bool = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    tolerance: float = eqx.field(static=True)

    def init(self, args, problem):
        """From a start curve; nothing is evaluated yet."""
        x = problem
        m, p1, d, dtype = self.rule.elements, self.rule.degree + 1, x.shape[1], x.dtype
        n = p1 * d
        blank = Assembly(
            jnp.asarray(jnp.inf, dtype),
            jnp.zeros((m, p1, d), dtype),
            jnp.zeros((m, n, n), dtype),
            jnp.zeros((m, n, n), dtype),
        )
        zero = jnp.zeros((), dtype)
        return _State(
            x,
            x,
            blank,
            zero,
            zero,
            jnp.asarray(jnp.inf, dtype),
            jnp.asarray(0),
            jnp.asarray(int(Status.MAX_STEPS)),
            jnp.asarray(True),
        )

    def renew(self, args, state, problem):
        """As `init`; derivatives that the first step replaces are left alone."""
        first = self.init(args, problem)
        accepted = state.accepted._replace(energy=first.accepted.energy)
        return first._replace(accepted=accepted)

    def step(self, args, state):
        """Evaluate the candidate, accept or shorten, and propose the next."""
        metric = args
        assemble = assemble_chord if self.chord else assemble_metric
        fresh = assemble(metric, self.rule, state.candidate, self.second_order)
        finite = jnp.isfinite(fresh.energy) & (fresh.energy >= 0)
        first = state.iterations == 0
        gained = state.accepted.energy - fresh.energy
        enough = first | (gained >= _ARMIJO * state.predicted)
        accept = finite & enough
        kept = jax.tree.map(lambda a, b: jnp.where(accept, a, b), fresh, state.accepted)
        curve = jnp.where(accept, state.candidate, state.curve)
        well = accept & (first | ((gained >= 0.5 * state.predicted) & (state.predicted > 0.0)))
        eased = jnp.where(state.damping > 0.02, 0.25 * state.damping, 0.0)
        damping = jnp.where(well, eased, state.damping)
        damping = jnp.where(accept, damping, 4.0 * state.damping + 0.25)

        newton, positive = self._propose(kept, damping)
        tiny = jnp.finfo(curve.dtype).tiny
        relative = newton.decrement / (2.0 * kept.energy + tiny)
        exact = positive & (relative * (1.0 + damping) <= self._tolerance(curve.dtype))
        converged = exact | (kept.energy == 0.0)
        usable = newton.positive & jnp.all(jnp.isfinite(newton.step))
        # No node goes further in one step than the curve reaches: in charts that put a point of the
        # manifold at infinity, energies there are small and a full step would be drawn to it.
        reach = jnp.max(jnp.abs(curve - curve[:1]))
        share = jnp.minimum(1.0, reach / (jnp.max(jnp.abs(newton.step)) + tiny))
        move = jnp.where(usable, share * newton.step, 0.0)
        damping = jnp.where(usable, damping, 4.0 * damping + 0.25)
        bad_start = first & ~finite
        stuck = damping > _GIVE_UP
        status = jnp.where(
            converged,
            int(Status.CONVERGED),
            jnp.where(
                bad_start,
                int(Status.BAD_METRIC),
                jnp.where(stuck, int(Status.STALLED), int(Status.MAX_STEPS)),
            ),
        )
        iterations = state.iterations + 1
        over = converged | bad_start | stuck | (iterations >= self.max_steps)
        moved = curve + move
        return _State(
            candidate=moved,
            # Near the minimum Newton's last step is free: it needs no evaluation to be trusted.
            curve=jnp.where(converged, moved, curve),
            accepted=kept,
            damping=damping,
            predicted=jnp.where(usable, share * (1.0 - 0.5 * share) * newton.decrement, 0.0),
            decrement=jnp.where(newton.positive, relative, state.decrement),
            iterations=iterations,
            status=status,
            running=~over,
        )

    def _propose(self, parts: Assembly, damping):
        """The damped Newton step, or the step of the positive part where that is not a descent.

        Also whether the exact second derivative is positive: only there is a minimum one.
        """
        plain = (1.0 + damping) * parts.stiffness
        if not self.second_order:
            newton = solve_newton(self.rule.elements, plain, parts.gradient)
            return newton, newton.positive
        both = jnp.stack([plain + parts.bend, plain])
        newton = jax.vmap(lambda h: solve_newton(self.rule.elements, h, parts.gradient))(both)
        exact = newton.positive[0]
        return jax.tree.map(lambda a: jnp.where(exact, a[0], a[1]), newton), exact

    def done(self, state):
        """Converged, failed, or out of iterations."""
        return ~state.running

    def finish(self, state):
        """The best curve and how it was reached."""
        return EnergyOutcome(
            state.curve, state.accepted.energy, state.decrement, state.iterations, state.status
        )

    def _tolerance(self, dtype):
        return max(self.tolerance, 50.0 * float(jnp.finfo(dtype).eps))
