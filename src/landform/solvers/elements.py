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

from landform._core.compilation import block_size, by_structure, map_blocks
from landform._core.quadrature import gauss, lagrange_matrix, lobatto
from landform._core.typing import Array, Float

_FEW_OUTPUTS = 16


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


@by_structure
def is_wide(metric, dim: int) -> bool:
    """Whether the metric embeds the chart with so many outputs that few points fill the caches."""
    if not metric.embeds:
        return False
    point = jax.ShapeDtypeStruct((dim,), float)
    return jax.eval_shape(metric.embed, point).shape[0] > _FEW_OUTPUTS


def is_alone(metric, nodes) -> bool:
    """Whether one curve of ``(n, T + 1, d)`` is too much for the cache, and sets the price."""
    wide = is_wide(metric, nodes.shape[-1])
    return wide and block_size(metric, nodes[0, 0]) < nodes.shape[1]


def split(rule: Rule, x: Any) -> Any:
    """Values at the nodes of every element, ``(…, m, p + 1, d)``, by the library that `x` is of."""
    m, p = rule
    inner = x[..., :-1, :].reshape(*x.shape[:-2], m, p, x.shape[-1])
    last = x[..., p::p, :][..., None, :]
    module = np if isinstance(x, np.ndarray) else jnp
    return module.concatenate([inner, last], axis=-2)


def interpolation(rule: Rule, times: np.ndarray) -> np.ndarray:
    """Matrix ``(k, T + 1)`` from values at the nodes to values at k parameter values."""
    m, p = rule
    piece = np.minimum((times * m).astype(int), m - 1)
    out = np.zeros((times.size, m * p + 1))
    columns = piece[:, None] * p + np.arange(p + 1)
    np.put_along_axis(out, columns, lagrange_matrix(lobatto(p)[0], times * m - piece), axis=1)
    return out


def sample(rule: Rule, nodes: Any, places: np.ndarray) -> tuple[Any, Any]:
    """Points and velocities at the same places of every element, ``(…, m, q, d)`` both.

    By the library that `nodes`, ``(…, T + 1, d)``, are of. Differences to the first node of an
    element come first, so that a curve at rest has velocities of exactly zero.
    """
    m, p = rule
    base, _, derivative = lobatto(p)
    module = np if isinstance(nodes, np.ndarray) else jnp
    value = lagrange_matrix(base, places)
    slope = module.asarray(value @ derivative * m, nodes.dtype)
    pieces = split(rule, nodes)
    first = pieces[..., :1, :]
    offset = pieces - first
    x = first + module.einsum("qj,...mjd->...mqd", module.asarray(value, nodes.dtype), offset)
    return x, module.einsum("qj,...mjd->...mqd", slope, offset)


def assemble_metric(metric, rule: Rule, x, second_order: bool) -> Assembly:
    """The energy by quadrature of the metric at the Gauss points of every element."""
    m, p = rule
    d = x.shape[1]
    nodes, _, derivative = lobatto(p)
    q = p + 1
    points, weight = gauss(q)
    value = lagrange_matrix(nodes, points)
    slope = value @ derivative
    place, v = sample(rule, x, points)
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


class Chords(NamedTuple):
    """An embedded curve's energy, and what its derivatives are made with."""

    energy: Float[Array, ""]
    pull: tuple[Float[Array, "T1 D"], ...]  # derivative of the energy in each output at each node


def chords(metric, rule: Rule, x) -> Chords:
    """The energy of the embedded curve alone: outputs, without derivatives of the generator."""
    _, band = _stencils(rule)
    values = map_blocks(metric.embed_parts, block_size(metric, x[0]), x)  # each (T1, D)
    # Differences to the start keep their digits.
    values = jax.tree.map(lambda part: part - part[0], values)
    pull = jax.tree.map(lambda part: _banded(band, part), values)
    return Chords(0.5 * _sum(jnp.vdot(a, b) for a, b in zip(values, pull, strict=True)), pull)


def assemble_chord(
    metric, rule: Rule, x, second_order: bool, known: Chords | None = None
) -> Assembly:
    """The energy of the embedded curve, interpolated in the ambient space.

    Jacobians and, with `second_order`, the second derivative of one combination of the outputs at
    each node. Outputs are long beside the rest: they are read as few times as can be, part by part,
    and only inner products within elements are kept. `known` is what `chords` gave for this curve.
    """
    m, p = rule
    d = x.shape[1]
    stencil, _ = _stencils(rule)
    block = block_size(metric, x[0])
    energy, pull = chords(metric, rule, x) if known is None else known
    tangents = jnp.eye(d, dtype=x.dtype)

    def first(point, covector):
        slope = lambda e: jax.jvp(metric.embed_parts, (point,), (e,))[1]  # noqa: E731
        rows = jax.vmap(slope)(tangents)
        return _sum(a @ c for a, c in zip(rows, covector, strict=True)), rows

    def both(point, covector):
        """What `first` gives, and the derivative of the gradient."""

        def at(y):
            outputs, back = jax.vjp(metric.embed_parts, y)
            return outputs, back(covector)[0]

        push = jax.vmap(lambda e: jax.jvp(at, (point,), (e,)), out_axes=((None, None), 0))
        (_, gradient), (jacobian, hessian) = push(tangents)
        return gradient, jacobian, hessian

    # A shared node's derivatives are divided between its two elements.
    share = np.ones((x.shape[0], 1))
    share[p:-1:p] = 0.5
    by_element = lambda part: split(rule, part * jnp.asarray(share, x.dtype))  # noqa: E731
    gradient, jacobian, *hessian = map_blocks(both if second_order else first, block, x, pull)
    gradient = by_element(gradient)
    gram = _sum(_gram(rule, part) for part in jacobian)
    table = jnp.asarray(stencil, x.dtype)[:, None, :, None]
    stiffness = (table * gram).reshape(m, (p + 1) * d, -1)
    if not second_order:
        return Assembly(energy, gradient, stiffness, jnp.zeros_like(stiffness))
    blocks = by_element(hessian[0].reshape(x.shape[0], -1))
    eye = jnp.eye(p + 1, dtype=x.dtype)[None, :, :, None, None]
    bend = _interleave(eye * blocks.reshape(m, 1, p + 1, d, d))
    return Assembly(energy, gradient, stiffness, bend)


@functools.cache
def _stencils(rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """∫ ċᵀċ dt as a form of the nodal values: of one element, and the bands of all, (T1, 2 p + 1).

    Band k of row t multiplies the value at node t + k − p.
    """
    m, p = rule
    _, weight, derivative = lobatto(p)
    stencil = np.einsum("i,ij,ik->jk", weight, derivative, derivative) * m
    band = np.zeros((m * p + 1, 2 * p + 1))
    for start in range(0, m * p, p):
        for j in range(p + 1):
            band[start + j, p - j : 2 * p + 1 - j] += stencil[j]
    return stencil, band


def _banded(band: np.ndarray, values: Float[Array, "T1 D"]) -> Float[Array, "T1 D"]:
    """The banded matrix times nodal values, in one pass over them."""
    reach = band.shape[1] // 2
    wide = jnp.pad(values, ((reach, reach), (0, 0)))
    columns = jnp.asarray(band, values.dtype).T[:, :, None]
    return _sum(c * wide[k : k + len(values)] for k, c in enumerate(columns))


def _sum(parts) -> Array:
    return functools.reduce(jnp.add, parts)


def _gram(rule: Rule, jacobian: Float[Array, "T1 d D"]) -> Float[Array, "m p1 d p1 d"]:
    """Inner products of all derivatives within each element."""
    m, p = rule
    d = jacobian.shape[1]
    # The rows of an element but its last node are already together.
    first = jacobian[:-1].reshape(m, p * d, -1)
    last = jacobian[p::p]
    cross = jnp.einsum("mqD,mrD->mqr", first, last)
    above = jnp.concatenate([jnp.einsum("mqD,mrD->mqr", first, first), cross], axis=2)
    ends = jnp.einsum("mqD,mrD->mqr", last, last)
    below = jnp.concatenate([jnp.swapaxes(cross, 1, 2), ends], axis=2)
    return jnp.concatenate([above, below], axis=1).reshape(m, p + 1, d, p + 1, d)


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


def subdivide(rule: Rule, nodes: np.ndarray) -> tuple[Rule, np.ndarray]:
    """The same curves on twice as many elements, exactly."""
    m, p = rule
    base = lobatto(p)[0]
    halves = np.stack([lagrange_matrix(base, 0.5 * base), lagrange_matrix(base, 0.5 * base + 0.5)])
    inner = nodes[..., :-1, :].reshape(*nodes.shape[:-2], m, p, nodes.shape[-1])
    last = nodes[..., p::p, :][..., None, :]
    pieces = np.concatenate([inner, last], axis=-2)
    fine = np.einsum("hqj,...mjd->...mhqd", halves, pieces)
    flat = fine[..., :-1, :].reshape(*nodes.shape[:-2], 2 * m * p, nodes.shape[-1])
    whole = np.concatenate([flat, nodes[..., -1:, :]], axis=-2)
    return Rule(2 * m, p), whole.astype(nodes.dtype)
