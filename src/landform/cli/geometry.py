"""Commands that measure with a metric: distances, geodesic, cluster."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from landform._core.checks import check_choice
from landform.cli.drawing import check_plot, volume_map
from landform.cli.inputs import check_output, read_table, write_table
from landform.cli.metric import metric_of
from landform.cli.options import (
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
    point_of,
)
from landform.cli.terminal import bar, report


@app.command()
def distances(
    data: Data,
    out: Out = Path("distances.npz"),
    metric: MetricName = "local-variance",
    method: Annotated[
        str,
        typer.Option(
            help="geodesic (exact), graph (fast upper bounds: a few percent too long for 2 "
            "columns, far too long for 8) or grid (up to 3 columns, a check)."
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
    length = float(path.length)
    straight = float(lf.curve_length(chosen, np.linspace(x, y, num_points)))
    longer = f" ({100 * (straight / length - 1):.1f} % longer)" if length > 0 else ""
    write_table(out, points=path.points)
    if plot:
        _plot_path(plot, chosen, table, np.asarray(path.points))
    report(
        "geodesic",
        {
            "length": f"{length:.8g}",
            "straight line": f"{straight:.8g}{longer}",
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


METHODS = ("kmeans", "kmedoids", "spectral")


@app.command()
def cluster(
    data: Data,
    clusters: Annotated[int, typer.Option("--clusters", "-k", help="Number of clusters.", min=1)],
    out: Out = Path("clusters.csv"),
    metric: MetricName = "local-variance",
    method: Annotated[
        str,
        typer.Option(
            help="kmeans (round clusters about a mean), kmedoids (about a row of the data) or "
            "spectral (chains of neighbors of any shape)."
        ),
    ] = "kmeans",
    distances: Annotated[
        str,
        typer.Option(
            help="For kmedoids and spectral: geodesic (solves every pair) or graph (fast upper "
            "bounds: a few percent too long for 2 columns, far too long for 8). kmeans solves "
            "the geodesics that it needs."
        ),
    ] = "geodesic",
    columns: Columns = None,
    label: Label = None,
    sigma: Sigma = None,
    rho: Rho = None,
    plot: Plot = None,
    seed: Seed = 0,
) -> None:
    """Clusters by geodesic distance; where the file has classes, also their F-measure.

    An .npz has the array labels, with the centers of kmeans and kmedoids and the rows that are
    medoids; other files have the labels alone.

    Example: `landform cluster points.csv --clusters 3 --label class --out clusters.csv`

    Example: `landform cluster codes.npz -k 3 -m vae.landform --method spectral --distances graph`
    """
    import landform as lf
    from landform import plotting

    table = read_table(data, columns=columns, label=label)
    check_choice("--method", method, METHODS)
    check_choice("--distances", distances, ("geodesic", "graph"))
    if method == "kmeans" and distances == "graph":
        raise ValueError("--distances graph needs --method kmedoids or spectral")
    check_output(out)
    check_plot(plot, table)
    chosen = metric_of(metric, table, sigma, rho)
    found, arrays, rows = _clusters(method, distances, chosen, table.X, clusters, seed)
    labels = np.asarray(found.labels)
    write_table(out, labels=labels, **arrays)
    if plot:
        fig, ax = volume_map(chosen, table.X, table)
        names = ["none" if kind < 0 else str(kind) for kind in np.unique(labels)]
        plotting.points(ax, table.X, labels, names=names, legend=True)
        plotting.save_figure(fig, plot)
    sizes = ", ".join(str(int((labels == k).sum())) for k in range(clusters))
    rows = {"sizes": sizes, **rows, "written": out}
    if table.y is not None:
        rows["F-measure"] = f"{lf.f_measure(table.y, labels):.4f} against the classes of the file"
    report(f"{clusters} clusters of {len(labels)} points ({method})", rows)


def _clusters(method: str, distances: str, metric, X: np.ndarray, clusters: int, seed: int):
    """The clustering, the arrays to write besides its labels, and the lines of the report."""
    import jax

    import landform as lf

    options: dict[str, Any] = {"key": jax.random.key(seed), "throw": False}
    if method == "kmeans":
        with bar("iterations", 100) as progress:
            found = lf.geodesic_kmeans(metric, X, clusters, progress=progress, **options)
        arrays = {"centers": found.centers}
        rows = {"sum of squared distances": f"{float(found.inertia):.6g}"}
        rows["iterations"] = str(len(found.history) - 1)
        lost = f"{int((np.asarray(found.labels) < 0).sum())} points without a cluster (label -1)"
        return found, arrays, {**rows, "ended": _ending(found, lost)}
    options["distances"] = distances
    with bar("distances", len(X) * (len(X) - 1) // 2) as progress:
        if method == "kmedoids":
            found = lf.geodesic_kmedoids(metric, X, clusters, progress=progress, **options)
        else:
            found = lf.geodesic_spectral(metric, X, clusters, progress=progress, **options)
    bridged = f"{int(found.n_failed)} geodesics replaced by chains of others"
    ended = {"ended": _ending(found, bridged)}
    if isinstance(found, lf.SpectralClusters):
        return found, {}, ended
    medoids = np.asarray(found.medoids)
    rows = {
        "medoids": f"rows {', '.join(map(str, medoids))} (from 0)",
        "sum of distances": f"{float(found.inertia):.6g}",
    }
    return found, {"centers": X[medoids], "medoids": medoids}, {**rows, **ended}


def _ending(found, failures: str) -> str:
    """The reason a clustering ended, and its failures if there were any."""
    return found.reason if failures.startswith("0 ") else f"{found.reason}; {failures}"
