"""Derivatives of a solved curve in its ends and its metric, without passing through a solver."""

import equinox as eqx
import jax
import jax.numpy as jnp

from landform._core.typing import Array, Float
from landform.solvers.block_tridiagonal import solve_newton
from landform.solvers.elements import Rule, assemble_chord, assemble_metric, join


def differentiable_nodes(
    metric, rule: Rule, chord: bool, x, y, nodes: Float[Array, "T1 d"]
) -> Float[Array, "T1 d"]:
    """`nodes` again, now carrying their derivatives in x, y and the metric's arrays.

    The nodes solve ``∇E(nodes; x, y, metric) = 0``; one Newton step from them leaves their value
    alone and differentiates to ``−H⁻¹ ∂∇E``, which is the implicit function theorem.
    """
    fixed = jax.lax.stop_gradient(nodes)
    arrays, rest = eqx.partition(metric, eqx.is_inexact_array)  # a decoder may be a function
    frozen = eqx.combine(jax.lax.stop_gradient(arrays), rest)
    assemble = assemble_chord if chord else assemble_metric
    at_rest = assemble(frozen, rule, fixed, True)
    hessian = jax.lax.stop_gradient(at_rest.stiffness + at_rest.bend)
    moving = jnp.concatenate([x[None], fixed[1:-1], y[None]])
    force = assemble(metric, rule, moving, False).gradient
    # Forces on the inner nodes only; their value is the solver's small remainder, which is dropped.
    total = join(rule, force)
    inner = (total - jax.lax.stop_gradient(total)).at[jnp.array([0, -1])].set(0.0)
    step = solve_newton(rule.elements, hessian, _share(rule, inner)).step
    return moving + step


def _share(rule: Rule, nodal):
    """Element loads that add up to the given nodal ones."""
    m, p = rule
    parts = nodal[:-1].reshape(m, p, -1)
    last = jnp.zeros((m, 1, nodal.shape[-1]), nodal.dtype).at[-1, 0].set(nodal[-1])
    return jnp.concatenate([parts, last], axis=1)
