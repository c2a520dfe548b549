"""Fit the radial-basis metric of metric flow matching to data."""

import numpy as np
from scipy.optimize import nnls

from landform._core.arrays import precise
from landform._core.checks import as_points, as_positive
from landform._core.typing import PRNGKeyArray
from landform.metrics.rbf import RBFMetric
from landform.models.rbf import kmeans_centers, rbf_bandwidths

_MAX_ROWS = 5000  # data points that take part in the fit of the weights
_MAX_LANDMARKS = 1000


@precise
def fit_rbf_metric(
    data,
    num_centers: int = 100,
    *,
    key: PRNGKeyArray,
    bandwidth_scale: float = 1.5,
    epsilon: float = 1e-3,
) -> RBFMetric:
    """The radial-basis metric with h as close to 1 on the data as non-negative weights allow.

    Centers are those of k-means, bandwidths ``½ (a r_k)^(−2)`` with r_k the mean distance of a
    cluster to its center, and the weights minimize ``Σ_n (1 − h(x_n))²`` exactly. M is then about
    the identity on the data and ``I / ε`` far from them.

    Parameters
    ----------
    data
        Points, shape ``(n, d)``.
    num_centers
        Number of centers; fewer where there are fewer distinct points.
    key
        Key of the k-means start.
    bandwidth_scale
        a, the multiplier of the radius: larger is smoother.
    epsilon
        ε: one over the largest value of the metric.

    Returns
    -------
    `RBFMetric`, with at most 1000 of the data as its landmarks.

    Raises
    ------
    TypeError, ValueError
        If the data are not finite, not ``(n, d)`` or all equal, or a parameter is out of range.

    Notes
    -----
    Kapuśniak et al. 2024 (arXiv:2405.14780), §4.2, train the weights by gradient descent; the
    problem is one of non-negative least squares, the same in every coordinate, and is solved as
    one. O(n K²) on at most 5000 of the points.

    Examples
    --------
    >>> import jax, numpy as np, landform as lf
    >>> angle = np.linspace(0.0, 2.0 * np.pi, 200, endpoint=False)
    >>> circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    >>> metric = lf.fit_rbf_metric(circle, 20, key=jax.random.key(0))
    >>> on, off = lf.metric_tensor(metric, [[1.0, 0.0], [30.0, 0.0]])[:, 0, 0]
    >>> bool(abs(on - 1.0) < 0.1), round(float(off))
    (True, 1000)
    """
    data = as_points("data", data, ndim=(2,))
    as_positive("epsilon", epsilon)
    centers, labels = kmeans_centers(data, num_centers, key)
    bandwidths = rbf_bandwidths(data, labels, centers, bandwidth_scale=bandwidth_scale)
    bandwidths = np.asarray(bandwidths)
    rows = np.asarray(data)[:: -(-data.shape[0] // _MAX_ROWS)]
    middle = np.mean(rows, axis=0, dtype=float)  # squares of points far from the origin cancel
    rows, near = rows - middle, np.asarray(centers) - middle
    gaps = np.sum(rows**2, axis=1)[:, None] + np.sum(near**2, axis=1) - 2.0 * rows @ near.T
    features = np.exp(-bandwidths * np.maximum(gaps, 0.0))
    weights = nnls(features, np.ones(len(rows)))[0]
    thinned = data[:: -(-data.shape[0] // _MAX_LANDMARKS)]
    return RBFMetric(centers, bandwidths, weights, epsilon, landmarks=thinned)
