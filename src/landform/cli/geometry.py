"""Commands that compute with a metric: distances, geodesic, cluster."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from landform.cli._app import (
    Columns,
    Data,
    Label,
    MetricName,
    Out,
    Plot,
    Rho,
    Seed,
    Sigma,
    Start,
    app,
    bar,
    check_plot,
    metric_of,
    point_of,
    report,
    volume_map,
)
from landform.cli.inputs import check_output, read_table, write_table


@app.command()
def distances(
    data: Data,
    out: Out = Path("distances.npz"),
    metric: MetricName = "local-variance",
    method: Annotated[
        str,
        typer.Option(
            help="geodesic (exact), graph (fast, upper bounds) or grid (to 3 columns, a check)."
        ),
    ] = "geodesic",
    columns: Columns = None,
    label: Label = None,
    sigma: Sigma = None,
    rho: Rho = None,
    plot: Plot = None,
) -> None:
    """All distances between the rows of a file.

    Example: `landform distances points.csv --metric local-variance --out distances.npz`
    """
    import landform as lf

    table = read_table(data, columns=columns, label=label)
    check_output(out)
    check_plot(plot)
    chosen = metric_of(metric, table, sigma, rho)
    pairs = len(table.X) * (len(table.X) - 1) // 2
    with bar("distances", pairs) as progress:
        D = np.asarray(
            lf.pairwise_distances(chosen, table.X, method=method, throw=False, progress=progress)  # type: ignore[arg-type]
        )
    failed = int(np.isnan(D[np.triu_indices(len(D), 1)]).sum())
    write_table(out, distances=D, **({} if table.y is None else {"y": table.y}))
    if plot:
        from landform import plotting

        fig, (ax,) = plotting.figure(width=4.5)
        plotting.distance_matrix(ax, D, table.y, title=f"distances, {metric}")
        plotting.save_figure(fig, plot)
    upper = D[np.triu_indices(len(D), 1)]
    report(
        f"{len(D)} points, {pairs} distances ({method})",
        {
            "median": f"{np.nanmedian(upper):.6g}",
            "largest": f"{np.nanmax(upper):.6g}",
            "not converged": f"{failed} (NaN in the matrix)" if failed else "none",
            "written": out,
        },
    )


@app.command()
def geodesic(
    data: Data,
    start: Start,
    end: Annotated[str, typer.Option("--to", help="Row number, or coordinates.")],
    out: Out = Path("geodesic.csv"),
    metric: MetricName = "local-variance",
    num_points: Annotated[int, typer.Option(help="Points on the curve.", min=2)] = 65,
    columns: Columns = None,
    label: Label = None,
    sigma: Sigma = None,
    rho: Rho = None,
    plot: Plot = None,
) -> None:
    """The shortest curve between two points.

    Example: `landform geodesic points.csv --from 0 --to 25 --plot path.png`
    """
    import landform as lf

    table = read_table(data, columns=columns, label=label)
    check_output(out)
    check_plot(plot, table)
    chosen = metric_of(metric, table, sigma, rho)
    x, y = point_of(start, table.X, "--from"), point_of(end, table.X, "--to")
    path = lf.geodesic(chosen, x, y, num_points=num_points)
    length = max(float(path.length), 1e-300)
    straight = float(lf.curve_length(chosen, np.linspace(x, y, num_points)))
    write_table(out, points=path.points)
    if plot:
        _plot_path(plot, chosen, table, np.asarray(path.points))
    report(
        "geodesic",
        {
            "length": f"{length:.8g}",
            "straight line": f"{straight:.8g} ({100 * (straight / length - 1):.1f} % longer)",
            "residual": f"{float(path.stats['residual']):.1e}",
            "written": out,
        },
    )


def _plot_path(file: Path, metric, table, path: np.ndarray) -> None:
    from landform import plotting

    fig, ax = volume_map(metric, np.concatenate([table.X, path]), table)
    plotting.points(ax, table.X, table.y, alpha=0.6)
    plotting.curves(ax, path, label="geodesic")
    line = np.stack([path[0], path[-1]])
    plotting.curves(ax, line, kind="euclidean", ends=False, label="straight line")
    plotting.below_legend(ax)
    plotting.save_figure(fig, file)


@app.command()
def cluster(
    data: Data,
    clusters: Annotated[int, typer.Option("--clusters", "-k", help="Number of clusters.", min=1)],
    out: Out = Path("clusters.csv"),
    metric: MetricName = "local-variance",
    columns: Columns = None,
    label: Label = None,
    sigma: Sigma = None,
    rho: Rho = None,
    seed: Seed = 0,
) -> None:
    """K-means with geodesic distances; where the file has classes, also its F-measure.

    Example: `landform cluster points.csv --clusters 3 --label class --out clusters.csv`
    """
    import jax

    import landform as lf

    table = read_table(data, columns=columns, label=label)
    check_output(out)
    chosen = metric_of(metric, table, sigma, rho)
    with bar("iterations", 100) as progress:
        found = lf.geodesic_kmeans(
            chosen, table.X, clusters, key=jax.random.key(seed), throw=False, progress=progress
        )
    labels = np.asarray(found.labels)
    write_table(out, labels=labels, centers=found.centers)
    rows: dict[str, object] = {
        "sizes": ", ".join(str(int((labels == k).sum())) for k in range(clusters)),
        "inertia": f"{float(found.inertia):.6g}",
        "iterations": len(found.history) - 1,
        "ended": found.reason,
        "written": out,
    }
    if table.y is not None:
        rows["F-measure"] = f"{lf.f_measure(table.y, labels):.4f} against the classes of the file"
    report(f"{clusters} clusters of {len(labels)} points", rows)
