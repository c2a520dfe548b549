"""Small positive-definite systems as array operations, and square roots with a derivative at 0."""

import jax
import jax.numpy as jnp
import numpy as np

from landform._core.typing import Array, Bool, Float

_MIN_CURVATURE = 1e-10  # least cosine of the step and the change of gradient in a BFGS update
_MAX_ELIMINATION_ORDER = 16  # larger systems are halved by a Schur complement


def symmetrize(matrix: Array) -> Array:
    """The symmetric part of a matrix, or of a batch of them."""
    return 0.5 * (matrix + jnp.swapaxes(matrix, -1, -2))


def solve_positive(
    matrix: Float[Array | np.ndarray, "*b n n"], rhs: Float[Array, "*b n k"]
) -> tuple[Float[Array, "*b n k"], Bool[Array, "*b"]]:
    """Solve ``matrix @ out = rhs`` by elimination, and say whether all pivots are positive.

    All systems of a batch take the same step at once, as array operations. LAPACK's batched
    kernels split a batch over XLA's pool of workers and wait inside one of them: two programs that
    run side by side on two cores would wait for each other for ever.
    """
    n = matrix.shape[-1]
    if n > _MAX_ELIMINATION_ORDER:
        return _solve_halves(matrix, rhs)
    table = jnp.concatenate([matrix, rhs], axis=-1)
    positive = jnp.ones(table.shape[:-2], dtype=bool)
    rows = jnp.arange(n)

    def eliminate(i, carry):
        table, positive = carry
        row = jax.lax.dynamic_index_in_dim(table, i, table.ndim - 2, keepdims=True)
        pivot = jax.lax.dynamic_index_in_dim(row, i, row.ndim - 1, keepdims=True)
        column = jax.lax.dynamic_index_in_dim(table, i, table.ndim - 1, keepdims=True)
        row = row / pivot
        table = jnp.where((rows == i)[:, None], row, table - column * row)
        return table, positive & (pivot[..., 0, 0] > 0.0)

    table, positive = jax.lax.fori_loop(0, n, eliminate, (table, positive))
    return table[..., n:], positive


def _solve_halves(matrix, rhs):
    """`solve_positive` by the Schur complement of the first half: products do most of the work."""
    n = matrix.shape[-1]
    k = n // 2
    right = jnp.concatenate([matrix[..., :k, k:], rhs[..., :k, :]], axis=-1)
    solved, positive = solve_positive(matrix[..., :k, :k], right)
    coupling, first = solved[..., : n - k], solved[..., n - k :]
    low = matrix[..., k:, :k]
    second, also = solve_positive(
        matrix[..., k:, k:] - low @ coupling, rhs[..., k:, :] - low @ first
    )
    return jnp.concatenate([first - coupling @ second, second], axis=-2), positive & also


def cholesky(matrix: Float[Array | np.ndarray, "*b n n"]) -> Float[Array, "*b n n"]:
    """The lower Cholesky factor by array operations; NaN if the matrix is not positive definite."""
    n = matrix.shape[-1]
    below = jnp.arange(n)

    def column(i, carry):
        left, factor, positive = carry
        pivot = left[..., i, i][..., None]
        new = jnp.where(below >= i, left[..., :, i], 0.0) / jnp.sqrt(pivot)
        factor = factor.at[..., :, i].set(new)
        left = left - new[..., :, None] * new[..., None, :]
        return left, factor, positive & (pivot[..., 0] > 0.0)

    carry = (matrix, jnp.zeros_like(matrix), jnp.ones(matrix.shape[:-2], dtype=bool))
    _, factor, positive = jax.lax.fori_loop(0, n, column, carry)
    return jnp.where(positive[..., None, None], factor, jnp.nan)


def solve_spd(matrix: Array, rhs: Array) -> Array:
    """Solve ``matrix @ out = rhs`` for a symmetric positive-definite matrix; NaN when it is not."""

    def solve(_, columns):
        out, positive = solve_positive(matrix, columns)
        return jnp.where(positive[..., None, None], out, jnp.nan)

    vector = rhs.ndim == matrix.ndim - 1
    columns = rhs[..., None] if vector else rhs
    out = jax.lax.custom_linear_solve(lambda x: matrix @ x, columns, solve, symmetric=True)
    return out[..., 0] if vector else out


@jax.custom_jvp
def logdet_spd(matrix: Array) -> Array:
    """Log-determinant of a symmetric positive-definite matrix; NaN when it is not."""
    diagonal = jnp.diagonal(cholesky(matrix), axis1=-2, axis2=-1)
    return 2.0 * jnp.sum(jnp.log(diagonal), axis=-1)


@logdet_spd.defjvp
def _logdet_derivative(primals, tangents):
    (matrix,), (change,) = primals, tangents
    slope = jnp.trace(solve_spd(matrix, change), axis1=-2, axis2=-1)
    return logdet_spd(matrix), slope


def root(xp, square):
    """Square roots with derivative 0, instead of infinity, at 0.

    The length of a curve at rest, like |x| at 0, has no derivative; 0 is one of its subgradients.
    """
    still = square == 0.0
    return xp.where(still, 0.0, xp.sqrt(xp.where(still, 1.0, square)))


def bfgs_update(inverse: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """The BFGS update of inverse Hessians ``(*b, n, n)`` by steps and changes of the gradient.

    Matrices are unchanged where the curvature along the step is not positive. Uses NumPy.
    """
    curvature = np.sum(step * change, axis=-1)
    size = np.linalg.norm(step, axis=-1) * np.linalg.norm(change, axis=-1)
    sound = np.asarray(curvature > _MIN_CURVATURE * size)[..., None, None]
    rho = 1.0 / np.where(sound, np.asarray(curvature)[..., None, None], 1.0)
    left = np.eye(step.shape[-1]) - rho * step[..., :, None] * change[..., None, :]
    new = left @ inverse @ np.swapaxes(left, -1, -2)
    new = new + rho * step[..., :, None] * step[..., None, :]
    return np.where(sound, new, inverse)
