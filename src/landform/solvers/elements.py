"""The energy of a piecewise-polynomial curve, its derivatives, and its Newton systems.

A curve is m elements of degree p in t, given by its values at the Gauss–Lobatto points (T = m p
segments between them). Its energy ½ ∫ ċᵀ M(c) ċ dt is integrated at p + 1 Gauss points of each
element, which makes the discrete minimiser accurate to O(h^{2p}) in length and velocity at the ends
for a smooth metric. One point fewer has the same order, but on a metric rough beside the elements
its minimisers bend between the points: a quarter of them then fail their certificate on the
uncertainty of an RBF decoder. For a pull-back of Euclidean space there is the chord form
½ Σ K_ij ⟨f(x_i), f(x_j)⟩ over the nodes, which needs only Jacobians; with p = 1 it is the classical
½ T Σ |f(x_{t+1}) − f(x_t)|².
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from landform._numerics import gauss, lagrange_matrix, lobatto
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
    gradient: Float[Array, "m p1 d"]
    stiffness: Float[Array, "m n n"]  # the part that is positive definite whatever the curve
    bend: Float[Array, "m n n"]  # the rest of the exact second derivative, or zeros


def split(rule: Rule, x: Any) -> Any:
    """Values at the nodes of every element, ``(…, m, p + 1, d)``, by the library that `x` is of."""
    m, p = rule
    inner = x[..., :-1, :].reshape(*x.shape[:-2], m, p, x.shape[-1])
    last = x[..., p::p, :][..., None, :]
    module = np if isinstance(x, np.ndarray) else jnp
    return module.concatenate([inner, last], axis=-2)


@functools.cache
def interpolation(rule: Rule, count: int) -> np.ndarray:
    """Matrix from values at the nodes to values at `count` equal steps of t, ends included."""
    m, p = rule
    t = np.linspace(0.0, 1.0, count)
    piece = np.minimum((t * m).astype(int), m - 1)
    out = np.zeros((count, m * p + 1))
    columns = piece[:, None] * p + np.arange(p + 1)
    np.put_along_axis(out, columns, lagrange_matrix(lobatto(p)[0], t * m - piece), axis=1)
    return out


def assemble_metric(metric, rule: Rule, x, second_order: bool) -> Assembly:
    """The energy by quadrature of the metric at the Gauss points of every element."""
    m, p = rule
    d = x.shape[1]
    nodes, _, derivative = lobatto(p)
    q = p + 1
    points, weight = gauss(q)
    value = lagrange_matrix(nodes, points)
    slope = value @ derivative
    pieces = split(rule, x)
    # Differences first: a constant curve then has velocity zero to the last bit.
    offset = pieces - pieces[:, :1]
    place = pieces[:, :1] + jnp.einsum("qj,mjd->mqd", jnp.asarray(value, x.dtype), offset)
    v = jnp.einsum("qj,mjd->mqd", jnp.asarray(slope * m, x.dtype), offset)
    terms = jax.vmap(jax.vmap(metric.energy_terms))(place, v)
    momentum = jnp.sum(terms.matrix * v[:, :, None, :], axis=-1)
    w = jnp.asarray(weight, x.dtype)
    energy = 0.5 / m * jnp.sum(w[:, None] * momentum * v)

    def spread(table, values):
        """Σ_q table[q, r] values[m, q, a], trailing axes taken together."""
        table = jnp.asarray(np.asarray(table).reshape(q, -1), x.dtype)
        return jnp.einsum("qr,mqa->mra", table, values.reshape(m, q, -1))

    gradient = spread(weight[:, None] * slope, momentum)
    gradient = gradient + spread(0.5 / m * weight[:, None] * value, terms.gradient)

    def blocks(left, right, values):
        table = np.einsum("q,qj,qk->qjk", weight, left, right)
        return _interleave(spread(table, values).reshape(m, p + 1, p + 1, d, d))

    stiffness = blocks(slope * m, slope, terms.matrix)
    if not second_order:
        return Assembly(energy, gradient, stiffness, jnp.zeros_like(stiffness))
    mixed = blocks(slope, value, terms.cross)
    bend = mixed + jnp.swapaxes(mixed, 1, 2) + blocks(0.5 / m * value, value, terms.hessian)
    return Assembly(energy, gradient, stiffness, bend)


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
    # All that is needed of the ambient space are inner products within elements. Differences to
    # the start keep their digits; the rows of an element but its last node are already together.
    values = values - values[0]
    rows = jnp.concatenate([values[:, None], jacobian], axis=1)
    first = rows[:-1].reshape(m, p * (d + 1), -1)
    last = rows[p::p]
    cross = jnp.einsum("mqD,mrD->mqr", first, last)
    above = jnp.concatenate([jnp.einsum("mqD,mrD->mqr", first, first), cross], axis=2)
    ends = jnp.einsum("mqD,mrD->mqr", last, last)
    below = jnp.concatenate([jnp.swapaxes(cross, 1, 2), ends], axis=2)
    gram = jnp.concatenate([above, below], axis=1).reshape(m, p + 1, d + 1, p + 1, d + 1)
    energy = 0.5 * jnp.sum(stencil * gram[:, :, 0, :, 0])
    gradient = jnp.einsum("jk,mjak->mja", stencil, gram[:, :, 1:, :, 0])
    stiffness = (stencil[:, None, :, None] * gram[:, :, 1:, :, 1:]).reshape(m, (p + 1) * d, -1)
    if not second_order:
        return Assembly(energy, gradient, stiffness, jnp.zeros_like(stiffness))
    total = join(rule, jnp.einsum("jk,mkD->mjD", stencil, split(rule, values)))

    def bent(point, covector):
        return jax.hessian(lambda y: metric.embed(y) @ covector)(point)

    hessian = jax.vmap(bent)(x, total)
    share = np.ones(x.shape[0])
    share[p:-1:p] = 0.5  # a shared node's second derivative is divided between its two elements
    blocks = split(
        rule, (hessian * jnp.asarray(share, x.dtype)[:, None, None]).reshape(x.shape[0], -1)
    )
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
