"""Charts of numbers: profiles, calibration, paired values, and matrices of distances."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from landform._core.checks import as_numpy, numpy_floats
from landform.plotting.canvas import (
    DASHED,
    EUCLIDEAN,
    FIELD,
    INK,
    PALETTE,
    RIEMANNIAN,
    finite,
    one_each,
    style,
)

_OTHERS = [colour for colour in PALETTE if colour not in (RIEMANNIAN, EUCLIDEAN)]
_SERIES = [
    (RIEMANNIAN, "-", "o"),
    (EUCLIDEAN, DASHED, "s"),
    (INK, ":", "^"),
    *((colour, "-.", marker) for colour, marker in zip(_OTHERS, "DvPX<>hp", strict=True)),
]


def _series(name: str, lines: dict[str, Any]) -> Iterator[tuple]:
    """Each line's name and values with its colour, dashes and marker."""
    if len(lines) > len(_SERIES):
        raise ValueError(f"{name} must be at most {len(_SERIES)} to differ, got {len(lines)}")
    for (key, values), look in zip(lines.items(), _SERIES[: len(lines)], strict=True):
        yield key, values, *look


def profiles(ax: Axes, x, lines: dict[str, Any], *, xlabel: str, ylabel: str) -> None:
    """Curves over one axis, the first two in the colours and lines of the geometries.

    Parameters
    ----------
    ax
        The axis; a logarithmic scale of y is set where values differ by a factor of 30.
    x
        Shape ``(k,)``.
    lines
        Name to values ``(k,)``, or to ``(low, middle, high)``, ``(3, k)``, drawn as a band; at most
        11 lines.
    xlabel, ylabel
        Labels of the axes.

    Raises
    ------
    ValueError
        If there are more lines than can be told apart.
    """
    everything = np.concatenate([np.ravel(v) for v in lines.values()])
    everything = everything[np.isfinite(everything)]
    with style():
        for name, values, colour, line, _ in _series("lines", lines):
            values = np.asarray(values)
            middle = values[1] if values.ndim == 2 else values
            ax.plot(x, middle, color=colour, linestyle=line, linewidth=1.8, label=name)
            if values.ndim == 2:
                ax.fill_between(x, values[0], values[2], color=colour, alpha=0.15, linewidth=0)
        least = everything.min(initial=np.inf)
        if least > 0 and everything.max(initial=0.0) > 30 * least:
            ax.set_yscale("log")
        ax.set_xlabel(xlabel)
        ax.set_ylabel(ylabel)
        ax.legend(loc="best")


def calibration(ax: Axes, fits: dict[str, Any]) -> None:
    """Observed against predicted deviations of generators, on logarithmic axes.

    On the diagonal a generator's standard deviations are those of its residuals; above it they are
    too small.

    Parameters
    ----------
    ax
        The axis.
    fits
        Name to what `landform.calibration` returns; at most 11 models.

    Raises
    ------
    ValueError
        If there are more models than can be told apart.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> from landform import plotting
    >>> fit = lf.Calibration(np.array([0.1, 1.0]), np.array([0.2, 0.9]), np.ones((2, 3)), 0.4)
    >>> fig, (ax,) = plotting.figure(1)
    >>> plotting.calibration(ax, {"RBF precision": fit})
    >>> ax.get_ylabel(), len(ax.lines)
    ('observed deviation', 2)
    """
    with style():
        ends = [np.inf, 0.0]
        for name, fit, colour, _, marker in _series("fits", fits):
            x, y = np.asarray(fit.predicted), np.asarray(fit.observed)
            ax.plot(x, y, color=colour, marker=marker, markersize=4.5, linewidth=1.0, label=name)
            low = min(x.min(), np.min(y[y > 0], initial=np.inf))
            ends = [min(ends[0], low), max(ends[1], x.max(), y.max())]
        ends = [0.7 * ends[0], 1.4 * ends[1]]
        ax.plot(ends, ends, color="#8a8a8a", linewidth=0.8)
        ax.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
        ax.set_xlabel("predicted σ")
        ax.set_ylabel("observed deviation")
        ax.legend(loc="upper left")


def paired(ax: Axes, names: Sequence[str], before, after, *, xlabel: str, ceiling=None) -> None:
    """Paired values, one row for each name: Euclidean to Riemannian, all seeds and their means.

    Parameters
    ----------
    ax
        The axis.
    names
        Names of the rows, from the top.
    before, after
        Euclidean and Riemannian values, shape ``(rows, seeds)``.
    xlabel
        What the values are.
    ceiling
        A bound for each row, shape ``(rows,)``, drawn as a bar.

    Raises
    ------
    ValueError
        If there is no row of values, or no bound, for each name.
    """
    before, after = np.atleast_2d(before), np.atleast_2d(after)
    one_each("before", before, len(names), "names", ndim=2)
    one_each("after", after, len(names), "names", ndim=2)
    if ceiling is not None:
        one_each("ceiling", ceiling, len(names), "names")
    with style():
        for i, (b, a) in enumerate(zip(before, after, strict=True)):
            ax.plot([b.mean(), a.mean()], [i, i], color="#b0b0b0", linewidth=2, zorder=1)
            for values, colour, marker in [(b, EUCLIDEAN, "s"), (a, RIEMANNIAN, "o")]:
                ax.scatter(
                    values, np.full(values.size, i), s=10, c=colour, alpha=0.45, linewidths=0
                )
                ax.scatter(
                    values.mean(),
                    i,
                    s=44,
                    c=colour,
                    marker=marker,
                    zorder=3,
                    label={"s": "Euclidean", "o": "Riemannian"}[marker] if i == 0 else None,
                )
            if ceiling is not None:
                ax.plot(
                    [ceiling[i]] * 2,
                    [i - 0.28, i + 0.28],
                    color=INK,
                    linewidth=1.2,
                    label="1-NN accuracy" if i == 0 else None,
                )
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_xlabel(xlabel)
        ax.grid(axis="x", color="#e6e6e6", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)


def distance_matrix(
    ax: Axes, D, labels=None, *, title: str = "", names=None, limits=None
) -> np.ndarray:
    """A matrix of distances with its rows sorted by class, and lines between the classes.

    Parameters
    ----------
    ax
        The axis.
    D
        Shape ``(n, n)``.
    labels
        Classes, shape ``(n,)``; rows keep their order when None.
    title, names
        Title, and names of the sorted classes.
    limits
        Values of white and of the darkest colour; 0 and the 99th percentile of those
        that are finite by default.

    Returns
    -------
    The order of the rows.

    Raises
    ------
    ValueError
        If D is not square, or there are too few or too many labels or names.
    """
    D = numpy_floats("D", D)
    if D.ndim != 2 or D.shape[0] != D.shape[1]:
        raise ValueError(f"D must have shape (n, n), got {D.shape}")
    labels = np.zeros(len(D), int) if labels is None else as_numpy(labels)
    one_each("labels", labels, len(D), "rows")
    order = np.argsort(labels, kind="stable")
    kinds, counts = np.unique(labels, return_counts=True)
    if names is not None:
        one_each("names", list(names), len(kinds), "classes")
    edges = np.concatenate([[0], np.cumsum(counts)])
    low, high = (0.0, np.percentile(finite("D", D), 99)) if limits is None else limits
    with style():
        image = ax.imshow(D[np.ix_(order, order)], cmap=FIELD, vmin=low, vmax=high)
        for edge in edges[1:-1]:
            ax.axhline(edge - 0.5, color="white", linewidth=0.8)
            ax.axvline(edge - 0.5, color="white", linewidth=0.8)
        middles = (edges[1:] + edges[:-1] - 1) / 2
        text = [str(k) for k in kinds] if names is None else list(names)
        ax.set_xticks(middles, text if len(kinds) > 1 else [])
        ax.set_yticks(middles, text if len(kinds) > 1 else [])
        ax.tick_params(length=0)
        ax.set_title(title)
        bar = ax.figure.colorbar(image, ax=ax, shrink=0.75, pad=0.02, aspect=25)
        bar.outline.set_visible(False)  # type: ignore[operator]
    return order
