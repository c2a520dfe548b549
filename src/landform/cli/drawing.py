"""Figures that commands write: maps of a metric's volume under points, paths and codes."""

from pathlib import Path

import numpy as np

from landform.cli.inputs import Table, check_output
from landform.metrics.base import log_volume
from landform.models.vae import VAE

_FIGURES = (".png", ".pdf", ".svg")


def check_plot(file: Path | None, table: Table | None = None) -> None:
    """Check before the work that a figure can be written, and drawn of a table's points."""
    if file is None:
        return
    check_output(file, _FIGURES)
    if table is not None and table.X.shape[1] != 2:
        raise ValueError(
            f"--plot needs points of the plane, and {table.path} has {table.X.shape[1]} columns"
        )


def data_axes(ax, extent, table: Table) -> None:
    """Axes of a table's plane, named after its columns."""
    from landform import plotting

    plotting.latent_axes(ax, extent)
    ax.set_xlabel(table.columns[0] if table.columns else "$x_1$")
    ax.set_ylabel(table.columns[1] if table.columns else "$x_2$")


def volume_map(metric, X: np.ndarray, table: Table):
    """A figure of the metric's volume around points X of a table's plane, and its axis."""
    fig, ax, extent = _map(metric, X, size=120)
    data_axes(ax, extent, table)
    return fig, ax


def _map(metric, X: np.ndarray, size: int):
    from landform import plotting

    points, extent = plotting.grid(*plotting.bounds(X), size=size)
    fig, (ax,) = plotting.figure(width=5.2, height=4.5)
    values = np.asarray(log_volume(metric, points)) / np.log(10)
    plotting.field(ax, extent, values, label=r"$\log_{10}\sqrt{\det M}$")
    return fig, ax, extent


def plot_codes(file: Path, vae: VAE, codes: np.ndarray, labels) -> None:
    """Codes of the plane, their classes, and the volume of the generator's metric."""
    from landform import plotting

    fig, ax, extent = _map(vae.metric(), codes, size=80)
    plotting.points(ax, codes, labels, legend=True)
    plotting.latent_axes(ax, extent)
    plotting.save_figure(fig, file)
