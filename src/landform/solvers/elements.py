"""The energy of a piecewise-polynomial curve, its derivatives, and its Newton systems.

A curve is m elements of degree p in t, given by its values at the Gauss–Lobatto points (T = m p
segments between them). Its energy ½ ∫ ċᵀ M(c) ċ dt is integrated at those same points, which makes
the discrete minimiser accurate to O(h^{2p}) in length and velocity at the ends for a smooth metric
(Gauss–Lobatto collocation; p = 1 is the trapezoidal discrete energy, order 2). For a pull-back of
Euclidean space there is the chord form ½ Σ K_ij ⟨f(x_i), f(x_j)⟩, which needs only Jacobians; with
p = 1 it is the classical ½ T Σ |f(x_{t+1}) − f(x_t)|².

Systems are solved by elimination: inner nodes of every element at once, then the shared nodes by
pairs, log₂ m levels deep: O(m (p d)³) operations, nothing of size (T d)².
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from landform._numerics import lobatto
from landform._typing import Array, Float


class Rule(NamedTuple):
    """How a curve is discretised: `elements` pieces of polynomial degree `degree`."""

    elements: int
    degree: int

    @property
    def times(self) -> np.ndarray:
        """The T + 1 parameter values of the nodes."""
        nodes = lobatto(self.degree)[0][:-1]
        starts = np.arange(self.elements)[:, None] / self.elements
        return np.append((starts + nodes / self.elements).ravel(), 1.0)


class Assembly(NamedTuple):
    """The discrete energy with first and second derivatives by element; n = (p + 1) d."""

    energy: Float[Array, ""]
    gradient: Float[Array, "m n"]
    stiffness: Float[Array, "m n n"]  # the part that is positive definite whatever the curve
    bend: Float[Array, "m n n"]  # the rest of the exact second derivative, or zeros


def split(rule: Rule, x: Float[Array, "T1 d"]) -> Float[Array, "m p1 d"]:
    """Values at the nodes of every element, shared nodes repeated."""
    m, p = rule
    inner = x[:-1].reshape(m, p, x.shape[1])
    return jnp.concatenate([inner, x[p::p][:, None]], axis=1)


def velocities(rule: Rule, x: Float[Array, "T1 d"]) -> Float[Array, "m p1 d"]:
    """ċ at the nodes of every element."""
    derivative = lobatto(rule.degree)[2] * rule.elements
    pieces = split(rule, x)
    # Differences first: a constant curve then has velocity zero to the last bit.
    return jnp.einsum("ij,mjd->mid", jnp.asarray(derivative, x.dtype), pieces - pieces[:, :1])


def assemble_metric(metric, rule: Rule, x, second_order: bool) -> Assembly:
    """The energy by quadrature of the metric at the nodes."""
    m, p = rule
    d = x.shape[1]
    n = (p + 1) * d
    h = 1.0 / m
    _, weight, derivative = lobatto(p)
    w, slope = jnp.asarray(weight, x.dtype), jnp.asarray(derivative, x.dtype)
    terms = jax.vmap(jax.vmap(metric.energy_terms))(split(rule, x), velocities(rule, x))
    v = velocities(rule, x)
    momentum = jnp.sum(terms.matrix * v[:, :, None, :], axis=-1)
    energy = 0.5 * h * jnp.sum(w[:, None] * momentum * v)
    gradient = jnp.einsum("ij,mia->mja", w[:, None] * slope, momentum)
    gradient = gradient + 0.5 * h * w[:, None] * terms.gradient
    products = jnp.asarray(
        np.einsum("i,ij,ik->ijk", weight, derivative, derivative) / h, x.dtype
    ).reshape(p + 1, -1)
    stiffness = jnp.einsum("iq,miab->mqab", products, terms.matrix)
    stiffness = _interleave(stiffness.reshape(m, p + 1, p + 1, d, d))
    if not second_order:
        return Assembly(energy, gradient.reshape(m, n), stiffness, jnp.zeros_like(stiffness))
    # [j a, k b] of the mixed derivative: w_k D_kj ∂_b (M v)_a at node k
    mixed = (w[:, None] * slope).T[None, :, :, None, None] * terms.cross[:, None]
    mixed = _interleave(mixed)
    eye = jnp.eye(p + 1, dtype=x.dtype)[None, :, :, None, None]
    curved = 0.5 * h * w[:, None, None] * terms.hessian
    bend = mixed + jnp.swapaxes(mixed, 1, 2) + _interleave(eye * curved[:, None])
    return Assembly(energy, gradient.reshape(m, n), stiffness, bend)


def assemble_chord(metric, rule: Rule, x, second_order: bool) -> Assembly:
    """The energy of the embedded curve, interpolated in the ambient space; Jacobians only."""
    m, p = rule
    d = x.shape[1]
    _, weight, derivative = lobatto(p)
    stencil = jnp.asarray(np.einsum("i,ij,ik->jk", weight, derivative, derivative) * m, x.dtype)
    tangents = jnp.eye(d, dtype=x.dtype)

    def value_and_jacobian(point):
        push = jax.vmap(lambda e: jax.jvp(metric.embed, (point,), (e,)), out_axes=(None, 0))
        return push(tangents)

    values, jacobian = jax.vmap(value_and_jacobian)(x)  # (T1, D), (T1, d, D)
    values = split(rule, values)
    jacobian = split(rule, jacobian.reshape(x.shape[0], -1)).reshape(m, p + 1, d, -1)
    force = jnp.einsum("jk,mkD->mjD", stencil, values - values[:, :1])
    energy = 0.5 * jnp.sum(force * (values - values[:, :1]))
    gradient = jnp.einsum("mjaD,mjD->mja", jacobian, force).reshape(m, -1)
    columns = jacobian.reshape(m, (p + 1) * d, -1)
    gram = jnp.einsum("mqD,mrD->mqr", columns, columns)
    scale = jnp.repeat(jnp.repeat(stencil, d, axis=0), d, axis=1)
    stiffness = scale * gram
    if not second_order:
        return Assembly(energy, gradient, stiffness, jnp.zeros_like(stiffness))
    total = join(rule, force)

    def bent(point, covector):
        return jax.hessian(lambda y: metric.embed(y) @ covector)(point)

    hessian = jax.vmap(bent)(x, total)
    share = np.ones(x.shape[0])
    share[p:-1:p] = 0.5  # a shared node's second derivative is divided between its two elements
    blocks = split(rule, (hessian * share[:, None, None]).reshape(x.shape[0], -1))
    eye = jnp.eye(p + 1, dtype=x.dtype)[None, :, :, None, None]
    bend = _interleave(eye * blocks.reshape(m, 1, p + 1, d, d))
    return Assembly(energy, gradient, stiffness, bend)


def join(rule: Rule, parts: Float[Array, "m p1 D"]) -> Float[Array, "T1 D"]:
    """Sum element-wise values into the nodes; the transpose of `split`."""
    m, p = rule
    width = parts.shape[-1]
    total = parts[:, :-1].reshape(m * p, width)
    total = jnp.concatenate([total, jnp.zeros((1, width), parts.dtype)])
    return total.at[p::p].add(parts[:, -1])


def _interleave(blocks):
    """(m, j, k, a, b) to (m, j a, k b)."""
    m, p1, _, d, _ = blocks.shape
    return jnp.transpose(blocks, (0, 1, 3, 2, 4)).reshape(m, p1 * d, p1 * d)


class _Eliminated(NamedTuple):
    factor: Array  # Cholesky factor of the eliminated block
    coupling: Array  # L⁻¹ H_ib
    load: Array  # L⁻¹ g_i


def _eliminate(inner, coupling, outer, load_inner, load_outer):
    """Schur complement of the inner unknowns of many blocks; NaN where not positive definite."""
    factor = jnp.linalg.cholesky(inner, symmetrize_input=False)
    right = jnp.concatenate([coupling, load_inner[..., None]], axis=-1)
    half = jax.lax.linalg.triangular_solve(factor, right, left_side=True, lower=True)
    z, load = half[..., :-1], half[..., -1]
    reduced = outer - jnp.einsum("...iq,...ir->...qr", z, z)
    return (
        _Eliminated(factor, z, load),
        reduced,
        load_outer - jnp.einsum("...iq,...i->...q", z, load),
    )


def _recover(kept: _Eliminated, u_outer):
    """Inner unknowns of ``H u = −g`` from the outer ones."""
    right = -(kept.load + jnp.einsum("...iq,...q->...i", kept.coupling, u_outer))
    out = jax.lax.linalg.triangular_solve(
        kept.factor, right[..., None], left_side=True, lower=True, transpose_a=True
    )
    return out[..., 0]


class Newton(NamedTuple):
    """Solution of a Newton system with fixed end points."""

    step: Float[Array, "T1 d"]
    decrement: Float[Array, ""]  # gᵀ H⁻¹ g, twice the predicted decrease
    positive: Array  # whether H is positive definite
    boundary: Float[Array, "2d 2d"]  # second derivative of the reduced energy in the end points
    momentum: Float[Array, " 2d"]  # its first derivative


def solve_newton(
    rule: Rule, hessian: Float[Array, "m n n"], gradient: Float[Array, "m n"]
) -> Newton:
    """Solve ``H u = −g`` over the inner nodes by nested elimination."""
    m, p = rule
    d = gradient.shape[1] // (p + 1)
    ends = np.r_[0:d, p * d : (p + 1) * d]
    inner = np.arange(d, p * d)
    decrement = jnp.zeros((), gradient.dtype)
    if p > 1:
        rows = hessian[:, inner]
        bottom, block, load = _eliminate(
            rows[:, :, inner],
            rows[:, :, ends],
            hessian[:, ends][:, :, ends],
            gradient[:, inner],
            gradient[:, ends],
        )
        decrement = decrement + jnp.sum(bottom.load**2)
    else:
        bottom, block, load = None, hessian, gradient
    levels = []
    while block.shape[0] > 1:
        kept, block, load, odd = _merge(block, load, d)
        levels.append((kept, odd))
        decrement = decrement + jnp.sum(kept.load**2)
    boundary, momentum = block[0], load[0]
    u = jnp.zeros((1, 2 * d), gradient.dtype)
    for kept, odd in reversed(levels):
        u = _unmerge(kept, odd, u, d)
    if bottom is not None:
        middle = _recover(bottom, u)
        full = jnp.concatenate([u[:, :d], middle, u[:, d:]], axis=1).reshape(m, p + 1, d)
    else:
        full = u.reshape(m, 2, d)
    step = jnp.concatenate([full[:, :-1].reshape(m * p, d), full[-1:, -1]])
    positive = jnp.isfinite(decrement)
    return Newton(step, decrement, positive, boundary, momentum)


def _merge(block, load, d):
    """Eliminate the node that each two neighbouring elements share; an odd last element stays."""
    pairs = block.shape[0] // 2
    left, right = block[0 : 2 * pairs : 2], block[1 : 2 * pairs : 2]
    a, b = load[0 : 2 * pairs : 2], load[1 : 2 * pairs : 2]
    coupling = jnp.concatenate([left[:, d:, :d], right[:, :d, d:]], axis=-1)
    zero = jnp.zeros_like(left[:, :d, :d])
    outer = jnp.concatenate(
        [
            jnp.concatenate([left[:, :d, :d], zero], axis=-1),
            jnp.concatenate([zero, right[:, d:, d:]], axis=-1),
        ],
        axis=-2,
    )
    kept, merged, force = _eliminate(
        left[:, d:, d:] + right[:, :d, :d],
        coupling,
        outer,
        a[:, d:] + b[:, :d],
        jnp.concatenate([a[:, :d], b[:, d:]], axis=-1),
    )
    odd = block.shape[0] % 2 == 1
    if odd:
        merged = jnp.concatenate([merged, block[-1:]])
        force = jnp.concatenate([force, load[-1:]])
    return kept, merged, force, odd


def _unmerge(kept, odd, u, d):
    """Back to twice as many elements, with the shared nodes filled in."""
    pairs = u[:-1] if odd else u
    shared = _recover(kept, pairs)
    left = jnp.concatenate([pairs[:, :d], shared], axis=-1)
    right = jnp.concatenate([shared, pairs[:, d:]], axis=-1)
    both = jnp.stack([left, right], axis=1).reshape(2 * pairs.shape[0], 2 * d)
    return jnp.concatenate([both, u[-1:]]) if odd else both
