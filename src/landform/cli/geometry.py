"""Commands that compute with a metric: distances, geodesic, cluster, sample, info."""

import platform
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from landform.cli._app import (
    Columns,
    Data,
    Label,
    MetricName,
    Plot,
    Rho,
    Seed,
    Sigma,
    app,
    bar,
    check_plot,
    data_axes,
    metric_of,
    report,
)
from landform.cli.inputs import check_output, read_table, write_table

Out = Annotated[Path, typer.Option("--out", "-o", help="File to write: .npz, .npy or .csv.")]


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


def _end(text: str, X: np.ndarray, name: str) -> np.ndarray:
    """A point: the number of a row, or coordinates separated by commas."""
    try:
        if text.isdigit():
            return X[int(text)]
        point = np.array([float(part) for part in text.split(",")])
    except (ValueError, IndexError):
        raise ValueError(
            f"{name} must be a row number below {len(X)} or coordinates as in 0.5,1.2, got {text!r}"
        ) from None
    if point.shape != X.shape[1:]:
        raise ValueError(f"{name} must have {X.shape[1]} coordinates, got {point.size}")
    return point


@app.command()
def geodesic(
    data: Data,
    start: Annotated[str, typer.Option("--from", help="Row number, or coordinates as in 0.5,1.2.")],
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
    x, y = _end(start, table.X, "--from"), _end(end, table.X, "--to")
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
    import landform as lf
    from landform import plotting

    points, extent = plotting.grid(*plotting.bounds(np.concatenate([table.X, path])))
    fig, (ax,) = plotting.figure(width=5.0, height=4.4)
    values = np.asarray(lf.log_volume(metric, points)) / np.log(10)
    plotting.field(ax, extent, values, label=r"$\log_{10}\sqrt{\det M}$")
    plotting.points(ax, table.X, table.y, alpha=0.6)
    plotting.curves(ax, path)
    plotting.curves(ax, np.stack([path[0], path[-1]]), kind="euclidean", ends=False)
    data_axes(ax, extent, table)
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


@app.command()
def sample(
    model: Annotated[Path, typer.Argument(help="A .landform file with a VAE, LAND or mixture.")],
    n: Annotated[int, typer.Option("--n", "-n", help="Number of samples.", min=1)] = 100,
    out: Out = Path("samples.npz"),
    seed: Seed = 0,
) -> None:
    """Draw from a fitted distribution or generator.

    Example: `landform sample land.landform --n 500 --out samples.csv`
    """
    import jax

    import landform as lf

    check_output(out)
    fitted = lf.load(model)
    draw = getattr(fitted, "sample", None)
    if draw is None or isinstance(fitted, lf.AbstractMetric):
        raise ValueError(
            f"{model} holds a {type(fitted).__name__}, which nothing can be drawn from"
        )
    drawn = draw(jax.random.key(seed), n)
    samples = np.asarray(drawn[0] if isinstance(drawn, tuple) else drawn)
    write_table(out, X=samples)
    report(f"{n} samples of a {type(fitted).__name__}", {"shape": samples.shape, "written": out})


@app.command()
def info(
    file: Annotated[
        Path | None, typer.Argument(help="A .landform file, or a file of data.")
    ] = None,
) -> None:
    """What is installed, or what a file holds.

    Example: `landform info vae.landform`
    """
    import landform as lf

    if file is None:
        report(f"landform {lf.__version__}", _installation())
        return
    if file.suffix == ".landform":
        facts = lf.describe_file(file)
        rows = {
            "written by": f"landform {facts['landform']}, format {facts['format']}",
            "size": f"{facts['bytes']:,} bytes, {len(facts['arrays'])} arrays",
            **{f"{key}": value for key, value in facts["metadata"].items()},
        }
        report(f"{file}: {facts['class']}", rows)
        return
    table = read_table(file, least=1, ndim=(1, 2, 3, 4))
    rows = {
        "shape": table.X.shape,
        "range": f"{table.X.min():.6g} to {table.X.max():.6g}",
        "constant columns": int((np.ptp(table.X, axis=0) == 0).sum()),
        "columns": ", ".join(table.columns) or "unnamed",
    }
    if table.y is not None:
        kinds, counts = np.unique(table.y, return_counts=True)
        rows["classes"] = ", ".join(f"{k}: {c}" for k, c in zip(kinds, counts, strict=True))
    report(str(file), rows)


def _installation() -> dict[str, object]:
    import importlib.metadata
    import importlib.util

    import jax

    import landform as lf

    def version(name):
        found = importlib.util.find_spec(name) is not None
        return importlib.metadata.version(name) if found else "not installed"

    folder = lf.datasets.data_folder()
    return {
        "Python": platform.python_version(),
        **{name: version(name) for name in ("jax", "equinox", "diffrax", "torch", "panel", "dask")},
        "devices": ", ".join(str(device) for device in jax.devices()),
        "data sets": ", ".join(lf.datasets.names()),
        "LANDFORM_DATA": folder if folder is not None else "not set",
    }
