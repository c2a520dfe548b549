"""The origin and the units of the data, and what of them single precision can hold."""

from typing import NamedTuple

import numpy as np

from landform.models.variance import spread_of

_MAX_CENTER_FLOAT32 = 1e3  # spreads from zero: float32 then keeps five digits of what varies
_SPREAD_RANGE_FLOAT32 = (1e-12, 1e12)  # between these float32 holds all squares and precisions


def offsets_of(train, output: str) -> tuple:
    """Shifts and scales of the data, fixed during training."""
    center, spread = np.mean(train, axis=0), np.asarray(spread_of(train))
    if not 0.0 < spread < np.inf:
        raise ValueError(
            f"X must vary, by numbers whose squares are finite, in the rows that are not held out: "
            f"their root mean variance is {spread:g}"
        )
    if output == "identity":
        return center, spread, center, spread
    level = np.clip(center, 0.01, 0.99)
    return center, spread, np.log(level) - np.log1p(-level), np.ones(())


class Entry(NamedTuple):
    """The data as stage one sees them, in float32, and the units it computes in."""

    rows: tuple  # to train on, held out
    offsets: tuple  # of the networks
    unit: float  # of what is reconstructed


def enter(train, held, offsets: tuple, output: str) -> Entry:
    """Data as they are, or centered and scaled before float32 rounds off what varies in them.

    Those of a sigmoid mean are between 0 and 1, and stay.
    """
    center, spread, *_ = offsets
    near = (
        np.abs(center).max() <= _MAX_CENTER_FLOAT32 * spread
        and _SPREAD_RANGE_FLOAT32[0] < spread < _SPREAD_RANGE_FLOAT32[1]
    )
    if near or output == "sigmoid":
        return Entry((train, held), offsets, 1.0)
    rows = ((train - center) / spread, (held - center) / spread)
    zero, one = np.zeros_like(center), np.ones(())
    return Entry(rows, (zero, one, zero, one), float(spread))
