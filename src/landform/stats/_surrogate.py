"""A table in place of a kernel metric over many data, where a fit asks for it millions of times."""

import numpy as np

from landform.metrics.local import LocalVariance
from landform.metrics.tabulated import Tabulated

_MANY = 2000  # data of a kernel metric from which a table pays
_REACH = 6.0  # widths of the kernel around the data that the table covers
_FINE = 8.0  # table points within one width
_SIZES = (64, 768)
_ERROR = 1e-3  # largest relative error of the metric on the data at which the table is used
_PROBES = 2000


def light(metric, X):
    """The metric, or its table for a local variance of more than 2000 data in up to two dimensions.

    The table reaches 6σ beyond the data, where the metric is constant to e^(−18), and is used only
    if its error on the data is under a thousandth.
    """
    if not isinstance(metric, LocalVariance) or metric.dim > 2 or len(metric.data) <= _MANY:
        return metric
    sigma = float(metric.sigma)
    places = np.concatenate([np.asarray(metric.data), np.asarray(X)])
    low, high = places.min(axis=0) - _REACH * sigma, places.max(axis=0) + _REACH * sigma
    size = int(np.clip(np.ceil(_FINE * float(np.max(high - low)) / sigma), *_SIZES))
    table = Tabulated(metric, low, high, size=size)
    probes = places[:: -(-len(places) // _PROBES)]
    return table if float(np.max(np.asarray(table.error(metric, probes)))) < _ERROR else metric
