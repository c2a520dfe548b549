"""Nodes, weights and matrices of polynomials on [0, 1]."""

import functools

import numpy as np


@functools.cache
def lobatto(degree: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss–Lobatto–Legendre rule on [0, 1] with ``degree + 1`` nodes.

    Returns
    -------
    nodes, weights, derivative
        The nodes; the quadrature weights (exact to polynomial degree ``2 * degree - 1``); and the
        matrix ``D`` with ``(D @ f)_i = f'(nodes_i)`` for the interpolating polynomial.
    """
    legendre = np.polynomial.legendre.Legendre.basis(degree)
    inner = np.sort(legendre.deriv().roots().real)
    x = np.concatenate([[-1.0], inner, [1.0]])
    values = legendre(x)
    weights = 2.0 / (degree * (degree + 1) * values**2)
    difference = x[:, None] - x[None, :] + np.eye(degree + 1)
    derivative = values[:, None] / values[None, :] / difference
    np.fill_diagonal(derivative, 0.0)
    derivative[0, 0], derivative[-1, -1] = -degree * (degree + 1) / 4, degree * (degree + 1) / 4
    return 0.5 * (x + 1.0), 0.5 * weights, 2.0 * derivative


@functools.cache
def gauss(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss–Legendre nodes and weights on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(order)
    return 0.5 * (x + 1.0), 0.5 * w


def lagrange_matrix(nodes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Matrix that interpolates values at `nodes` to `points` by the Lagrange polynomial."""
    weights = np.array([1.0 / np.prod(np.delete(x - nodes, j)) for j, x in enumerate(nodes)])
    difference = points[:, None] - nodes[None, :]
    exact = np.isclose(difference, 0.0, atol=1e-15)
    safe = np.where(exact, 1.0, difference)
    terms = weights / safe
    hit = np.any(exact, axis=1)
    total = np.where(hit, 1.0, terms.sum(axis=1))
    return np.where(hit[:, None], exact, terms / total[:, None])


@functools.cache
def lobatto_integral(degree: int) -> np.ndarray:
    """Matrix ``Q``: ``(Q @ f)_i = ∫_0^{nodes_i} f`` for the interpolating polynomial on [0, 1]."""
    nodes = lobatto(degree)[0]
    coefficients = np.linalg.inv(np.vander(nodes, increasing=True))
    powers = np.arange(1, degree + 2)
    return (nodes[:, None] ** powers / powers) @ coefficients
