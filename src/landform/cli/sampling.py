"""Commands that draw at random: sample, walk."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from landform.cli.drawing import check_plot, volume_map
from landform.cli.inputs import check_output, read_table, write_table
from landform.cli.metric import fitted_in, metric_of
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
from landform.cli.terminal import report, working
from landform.io import load


@app.command()
def sample(
    model: Annotated[
        Path, typer.Argument(help="A .landform file with a VAE, LAND, mixture or estimator.")
    ],
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
    fitted = fitted_in(load(model), str(model))
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
def walk(
    data: Data,
    start: Start,
    out: Out = Path("walk.npz"),
    metric: MetricName = "local-variance",
    time: Annotated[
        float | None,
        typer.Option(
            help="Total time t, in which a walk gets about √(columns · t) away, in the metric's "
            "units. By default so long that this is the spread of the data."
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option(help="Steps; too few jump over narrow ridges of the metric.", min=1)
    ] = 2000,
    walks: Annotated[int, typer.Option(help="Walks from this start.", min=1)] = 1,
    drift: Annotated[
        bool,
        typer.Option(
            help="Brownian motion, or without the drift the walk of Latent Space Oddity, which "
            "depends on the coordinates."
        ),
    ] = True,
    columns: Columns = None,
    label: Label = None,
    sigma: Sigma = None,
    rho: Rho = None,
    plot: Plot = None,
    seed: Seed = 0,
) -> None:
    """Brownian motion under a metric: random walks, in short steps where the metric is large.

    An .npz has the array X, one walk of shape (steps + 1, columns) or several of (walks, steps + 1,
    columns), and time, that of each step.

    Example: `landform walk codes.npz --metric vae.landform --from 0 --walks 3 --plot walk.png`
    """
    import jax

    import landform as lf
    from landform.demo.model import Support

    table = read_table(data, columns=columns, label=label)
    check_output(out)
    check_plot(plot, table)
    if walks > 1 and out.suffix.lower() == ".csv":
        raise ValueError(f"{out}: several walks do not fit one table, give --out an .npz or .npy")
    x = point_of(start, table.X, "--from")
    if time is not None and not (np.isfinite(time) and time > 0):
        raise ValueError(f"--time must be positive and finite, got {time}")
    chosen = metric_of(metric, table, sigma, rho)
    time = _crossing_time(chosen, table.X) if time is None else time
    with working("walking"):
        paths = np.asarray(
            lf.brownian_motion(
                chosen,
                np.tile(x, (walks, 1)),
                key=jax.random.key(seed),
                time=time,
                num_steps=steps,
                drift=drift,
                throw=False,
            )
        )
    sound = np.isfinite(paths).all(axis=(1, 2))
    if not sound.any():
        raise lf.ConvergenceError(
            "every walk left the domain of the metric: start where there are data, raise --steps "
            "or lower --time"
        )
    write_table(out, X=paths[0] if walks == 1 else paths, time=np.linspace(0.0, time, steps + 1))
    inside = Support(table.X)(paths)
    if plot:
        _plot_walks(plot, chosen, table, paths, inside)
    average = ", on average" if walks > 1 else ""
    flat = np.linalg.norm(paths[sound, -1] - x, axis=1)
    kind = "Brownian motion" if drift else "without drift"
    reach = np.sqrt(len(x) * time)
    report(
        f"{walks} walk{'s' if walks > 1 else ''} of {steps} steps ({kind})",
        {
            "time": f"{time:.6g}, in which {reach:.4g} is covered where the metric is constant",
            "near the data": f"{100 * inside[sound].mean():.1f} % of the steps",
            "start to end": f"{flat.mean():.4g} on a straight line in coordinates{average}",
            "left the domain": f"{(~sound).sum()} (NaN from there on)"
            if walks > sound.sum()
            else "none",
            "written": out,
        },
    )


def _crossing_time(metric, X: np.ndarray) -> float:
    """The time of a walk from the middle to the edge of the data where the metric is typical."""
    import landform as lf

    spread = np.mean(np.sum((X - X.mean(axis=0)) ** 2, axis=1))
    scale = np.exp(2.0 * np.median(np.asarray(lf.log_volume(metric, X))) / X.shape[1])
    time = float(spread * scale / X.shape[1])
    if not time > 0:
        raise ValueError("--time must be given: the rows of the data are all the same")
    return time


_MAX_STEPS_SHOWN = 400  # of a walk in a figure; more would overlap


def _plot_walks(file: Path, metric, table, paths: np.ndarray, inside: np.ndarray) -> None:
    from landform import plotting

    steps = paths.reshape(-1, 2)
    everything = np.concatenate([table.X, steps[np.isfinite(steps).all(axis=1)]])
    fig, ax = volume_map(metric, everything, table)
    plotting.points(ax, table.X, table.y, alpha=0.6)
    skip = -(-paths.shape[1] // _MAX_STEPS_SHOWN)
    for path, here in zip(paths[:, ::skip], inside[:, ::skip], strict=True):
        plotting.walk(ax, path, inside=here)
    style: dict[str, Any] = {"linestyle": "none", "markeredgecolor": plotting.INK}
    ax.plot([], [], "*", label="start", markerfacecolor="white", markersize=7, **style)
    ax.plot([], [], "o", label="step near data", color=plotting.RIEMANNIAN, markersize=3)
    if not inside.all():
        ax.plot([], [], "o", label="step off data", markerfacecolor="none", markersize=3, **style)
    plotting.below_legend(ax)
    plotting.save_figure(fig, file)
