"""How well a clustering agrees with known classes."""

import numpy as np

from landform._core.checks import as_numpy


def f_measure(labels_true, labels_pred, *, noise=-1) -> float:
    """The F-measure of a clustering: each class's best F1 score over the clusters, averaged.

    ``F = Σ_i (n_i / n) max_j F1(i, j)`` with ``F1(i, j) = 2 n_ij / (n_i + m_j)`` for class i of n_i
    points, cluster j of m_j points and n_ij points in both; the harmonic mean of the precision
    n_ij / m_j and the recall n_ij / n_i.

    Parameters
    ----------
    labels_true
        Classes, shape ``(n,)``, of any type that compares.
    labels_pred
        Clusters, shape ``(n,)``.
    noise
        A label in `labels_pred` that says "in no cluster". Such points are no cluster of their own
        but still count in their class, whose recall they lower; the precision of a cluster that a
        wrong point leaves rises. None for no such label.

    Returns
    -------
    A number in [0, 1]; 1 exactly for the same partition. Unlike the adjusted Rand index and the
    mutual information of scikit-learn it is not corrected for chance: one cluster for everything
    scores above zero.

    Raises
    ------
    ValueError
        If the two are not one-dimensional, of one length, and not empty.

    Notes
    -----
    The score in which arXiv:1710.11379 reports k-means in latent spaces.

    Examples
    --------
    >>> import landform as lf
    >>> lf.f_measure([0, 0, 1, 1], [5, 5, 3, 3])
    1.0
    >>> round(lf.f_measure([0, 0, 1, 1], [0, 0, 0, 0]), 6)
    0.666667
    """
    true, pred = as_numpy(labels_true), as_numpy(labels_pred)
    if true.ndim != 1 or true.shape != pred.shape or true.size == 0:
        raise ValueError(
            "labels_true and labels_pred must be one-dimensional, of one length and not empty, "
            f"got shapes {true.shape} and {pred.shape}"
        )
    _, classes, sizes = np.unique(true, return_inverse=True, return_counts=True)
    names, clusters = np.unique(pred, return_inverse=True)
    counts = np.zeros((sizes.size, names.size))
    np.add.at(counts, (classes, clusters), 1)
    if noise is not None:
        counts = counts[:, names != noise]
    if counts.shape[1] == 0:
        return 0.0
    scores = 2.0 * counts / (sizes[:, None] + counts.sum(axis=0))
    return float(np.sum(sizes * scores.max(axis=1)) / true.size)
