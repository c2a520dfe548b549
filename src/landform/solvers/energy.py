"""Geodesics as minimisers of the discrete energy, by damped Newton steps in lanes."""

from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core.lanes import AbstractMethod
from landform._core.status import Status
from landform._core.typing import Array, Float, Int
from landform.solvers.block_tridiagonal import Newton, solve_newton
from landform.solvers.elements import (
    Assembly,
    Rule,
    assemble_chord,
    assemble_metric,
    chords,
)

Model = Literal["newton", "gauss-newton", "georce"]

_GIVE_UP = 1e10  # damping beyond which no step can lower the energy
_ARMIJO = 1e-4  # share of the predicted decrease that a step must bring
_NUDGE = 1e-3  # of the curve's reach, by which it is moved off a saddle
_LOWER = 1e-9  # relative decrease of the energy that tells a saddle from a flat minimum


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
    doubted: Float[Array, "T1 d"]  # a curve at rest whose second derivative is not yet known
    checking: Array  # whether this iteration looks at the second derivative there, undamped
    nudged: Array  # whether the candidate was moved off a saddle, and may have more energy
    saddle: Float[Array, ""]  # energy of the last saddle, infinite before the first


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

    A curve at rest is a minimum only where K + S is positive definite; with λ > 0 the matrix is so
    at saddles too, where symmetric problems begin: the line over a hill between two points. There
    λ is taken away, and if a saddle shows the curve is nudged and descends again. It has converged
    when that led to nothing lower, which a flat family of minima does.

    With `search`, for the chord energy of costly generators, no step is taken before its energy is
    known, which is a tenth of an evaluation; and λ grows until the matrix is positive definite,
    for a step that knows all of the second derivative is worth the systems solved for it.

    The numbers `max_steps` and `tolerance` are arrays: one compiled program serves all of them.
    """

    rule: Rule = eqx.field(static=True)
    chord: bool = eqx.field(static=True)
    second_order: bool = eqx.field(static=True)
    max_steps: Int[Array, ""] = eqx.field(converter=jnp.asarray)
    tolerance: Float[Array, ""] = eqx.field(converter=jnp.asarray)
    search: bool = eqx.field(static=True, default=False)

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
            x,
            jnp.asarray(False),
            jnp.asarray(False),
            jnp.asarray(jnp.inf, dtype),
        )

    def renew(self, args, state, problem):
        """As `init`; derivatives that the first step replaces are left alone."""
        first = self.init(args, problem)
        accepted = state.accepted._replace(energy=first.accepted.energy)
        return first._replace(accepted=accepted)

    def step(self, args, state):
        """Evaluate the candidate, accept or shorten, and propose the next."""
        if self.search:
            return self._searched(args, state)
        metric = args
        assemble = assemble_chord if self.chord else assemble_metric
        fresh = assemble(metric, self.rule, state.candidate, self.second_order)
        finite = jnp.isfinite(fresh.energy) & (fresh.energy >= 0)
        first = state.iterations == 0
        gained = state.accepted.energy - fresh.energy
        enough = first | state.nudged | (gained >= _ARMIJO * state.predicted)
        accept = finite & enough & ~state.checking
        kept = jax.tree.map(lambda a, b: jnp.where(accept, a, b), fresh, state.accepted)
        curve = jnp.where(accept, state.candidate, state.curve)
        well = accept & (first | ((gained >= 0.5 * state.predicted) & (state.predicted > 0.0)))
        eased = jnp.where(state.damping > 0.02, 0.25 * state.damping, 0.0)
        damping = jnp.where(well, eased, state.damping)
        damping = jnp.where(accept, damping, 4.0 * state.damping + 0.25)
        damping = jnp.where(state.checking | state.nudged & accept, 0.0, damping)

        newton, positive = self._propose(kept, damping)
        tiny = jnp.finfo(curve.dtype).tiny
        relative = newton.decrement / (2.0 * kept.energy + tiny)
        exact = positive & (relative * (1.0 + damping) <= self._tolerance(curve.dtype))
        doubtful, saddle = self._doubts(state, newton, relative, exact, positive, damping)
        lower = kept.energy < (1.0 - _LOWER) * state.saddle
        nudge = saddle & lower
        sound = (exact & ~doubtful) | (state.checking & positive)
        converged = sound | (saddle & ~lower) | (kept.energy == 0.0)
        usable, share, move = _limited(newton, curve)
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
        # Near the minimum Newton's last step is free: it needs no evaluation to be trusted.
        rest = jnp.where(state.checking, state.doubted, moved)
        return _State(
            candidate=jnp.where(nudge, curve + self._nudge(curve), moved),
            curve=jnp.where(converged, rest, curve),
            accepted=kept,
            damping=damping,
            predicted=jnp.where(usable, share * (1.0 - 0.5 * share) * newton.decrement, 0.0),
            decrement=jnp.where(newton.positive, relative, state.decrement),
            iterations=iterations,
            status=status,
            running=~over,
            doubted=jnp.where(doubtful, moved, state.doubted),
            checking=doubtful,
            nudged=nudge,
            saddle=jnp.where(nudge, kept.energy, state.saddle),
        )

    def _doubts(self, state, newton, relative, exact, positive, damping):
        """Whether a curve at rest may be a saddle, and whether it is one."""
        if not self.second_order:
            return jnp.asarray(False), jnp.asarray(False)
        undamped = damping == 0.0
        # What the energy's rounding hides no descent can leave.
        still = newton.positive & (relative <= jnp.finfo(relative.dtype).eps)
        saddle = ~positive & undamped & (still | state.checking)
        return exact & ~undamped, saddle

    def _nudge(self, curve):
        """A small bend, different in every coordinate, so that it is not along the curve alone."""
        t, k = np.pi * self.rule.times[:, None], np.arange(curve.shape[1])
        shape = np.sin(t) * np.cos(1.0 + 2.0 * k) + 0.5 * np.sin(2.0 * t) * np.cos(2.0 + 3.0 * k)
        shape[[0, -1]] = 0.0
        reach = jnp.max(jnp.abs(curve - curve[:1]))
        return _NUDGE * reach * jnp.asarray(shape, curve.dtype)

    def _searched(self, metric, state):
        """Find a better curve by its energy, then its derivatives, which say whether to go on."""
        first = state.iterations == 0
        old = state.accepted
        hessian = old.bend if self.second_order else jnp.zeros_like(old.bend)

        def newton_at(parts, bend, damping):
            plain = (1.0 + damping) * parts.stiffness
            return solve_newton(self.rule.elements, plain + bend, parts.gradient)

        def attempt(carry):
            damping = carry[0]
            newton = newton_at(old, hessian, damping)
            usable, share, move = _limited(newton, state.curve)
            candidate = jnp.where(first, state.curve, state.curve + move)
            unknown = jax.tree.map(lambda a: jnp.full_like(a, jnp.nan), carry[2])
            known = jax.lax.cond(
                usable | first,
                lambda: chords(metric, self.rule, candidate),
                lambda: unknown,
            )
            predicted = share * (1.0 - 0.5 * share) * newton.decrement
            gained = old.energy - known.energy
            fine = jnp.isfinite(known.energy) & (known.energy >= 0)
            good = first | (usable & fine & (gained >= _ARMIJO * predicted))
            well = first | (gained >= 0.5 * predicted)
            grown = jnp.where(usable, 4.0 * damping + 0.25, 2.0 * damping + 0.1)
            damping = jnp.where(good, damping, grown)
            return damping, candidate, known, good, well

        known = jax.eval_shape(lambda x: chords(metric, self.rule, x), state.curve)
        known = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), known)
        no = jnp.asarray(False)
        carry = (state.damping, state.curve, known, no, no)
        damping, candidate, known, good, well = jax.lax.while_loop(
            lambda carry: ~carry[3] & (carry[0] <= _GIVE_UP), attempt, carry
        )
        fresh = jax.lax.cond(
            good,
            lambda: assemble_chord(metric, self.rule, candidate, self.second_order, known),
            lambda: old,
        )
        finite = jnp.isfinite(fresh.energy) & (fresh.energy >= 0)
        curve = jnp.where(good, candidate, state.curve)
        eased = jnp.where(damping > 0.05, 0.1 * damping, 0.0)
        damping = jnp.where(well, eased, damping)

        newton = newton_at(fresh, fresh.bend, damping)
        usable, _, move = _limited(newton, curve)
        relative = newton.decrement / (2.0 * fresh.energy + jnp.finfo(curve.dtype).tiny)
        enough = relative * (1.0 + damping) <= self._tolerance(curve.dtype)
        converged = (good & usable & enough) | (fresh.energy == 0.0)
        bad_start = first & ~finite
        failed = jnp.where(good, int(Status.MAX_STEPS), int(Status.STALLED))
        failed = jnp.where(bad_start, int(Status.BAD_METRIC), failed)
        iterations = state.iterations + 1
        over = converged | bad_start | ~good | (iterations >= self.max_steps)
        return state._replace(
            # Near the minimum Newton's last step is free: it needs no evaluation to be trusted.
            curve=jnp.where(converged & usable, curve + move, curve),
            accepted=fresh,
            damping=damping,
            decrement=jnp.where(newton.positive, relative, state.decrement),
            iterations=iterations,
            status=jnp.where(converged, int(Status.CONVERGED), failed),
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
        return jnp.maximum(self.tolerance, 50.0 * float(jnp.finfo(dtype).eps))


def _limited(newton: Newton, curve):
    """Whether a step can be taken, which part of it, and that part.

    No node goes further in one step than the curve reaches: in charts that put a point of the
    manifold at infinity, energies there are small and a full step would be drawn to it.
    """
    usable = newton.positive & jnp.all(jnp.isfinite(newton.step))
    reach = jnp.max(jnp.abs(curve - curve[:1]))
    tiny = jnp.finfo(curve.dtype).tiny
    share = jnp.minimum(1.0, reach / (jnp.max(jnp.abs(newton.step)) + tiny))
    return usable, share, jnp.where(usable, share * newton.step, 0.0)
