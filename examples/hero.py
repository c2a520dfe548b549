"""The picture of the README: geodesics beside straight lines over a generator's latent space.

    landform demo --out demo
    python examples/hero.py demo docs/_static/hero.png

Reads the generator and its tabulated metric from the folder of a finished demonstration.
"""

import sys
from pathlib import Path

import numpy as np

import landform as lf
from landform import plotting


def main(folder: str, target: str) -> None:
    """Draw log √det M, the codes, and the pairs whose geodesic gains most on the straight line."""
    metric = lf.load(Path(folder) / "metric.landform")
    codes = np.asarray(metric.landmarks())
    points, extent = plotting.grid(*plotting.bounds(codes), size=160)
    values = np.asarray(lf.log_volume(metric, points)) / np.log(10)
    rng = np.random.default_rng(4)
    pairs = np.array([rng.choice(len(codes), 2, replace=False) for _ in range(40)])
    x, y = codes[pairs[:, 0]], codes[pairs[:, 1]]
    found = lf.geodesic(metric, x, y, accuracy=1e-4, throw=False)
    direct = np.asarray(lf.curve_length(metric, np.stack([x, y], axis=1), order=64))
    gain = np.where(found.converged, direct / np.asarray(found.length), 0.0)
    gain *= np.linalg.norm(x - y, axis=1) > 0.3 * np.ptp(codes, axis=0).max()
    best = np.argsort(gain)[-6:]
    fig, (ax,) = plotting.figure(1, width=6.0, height=4.8)
    plotting.field(ax, extent, values, label=r"$\log_{10}\sqrt{\det M}$")
    plotting.points(ax, codes, size=5.0, alpha=0.6)
    straight = np.stack([x[best], y[best]], axis=1)
    plotting.curves(ax, straight, kind="euclidean", label="straight line")
    plotting.curves(ax, np.asarray(found.points)[best], label="geodesic")
    plotting.latent_axes(ax, extent)
    ax.legend(loc="upper left", fontsize="small")
    plotting.save_figure(fig, target)


if __name__ == "__main__":
    main(*sys.argv[1:3])
