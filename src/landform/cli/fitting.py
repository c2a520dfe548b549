"""Commands that fit a model to data: fit-land and fit-vae."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from landform.cli.drawing import check_plot, data_axes, plot_codes
from landform.cli.inputs import check_output, read_table
from landform.cli.metric import metric_of
from landform.cli.options import Columns, Data, Label, MetricName, Plot, Rho, Seed, Sigma, app
from landform.cli.terminal import report
from landform.io import save

Model = Annotated[Path, typer.Option("--out", "-o", help="The .landform file to write.")]
_MODELS = (".landform",)


@app.command("fit-vae")
def fit_vae(
    data: Data,
    out: Model = Path("vae.landform"),
    latent_dim: Annotated[int, typer.Option(help="Latent dimensions.", min=1)] = 2,
    architecture: Annotated[str, typer.Option(help="mlp, or conv for images.")] = "mlp",
    likelihood: Annotated[str, typer.Option(help="gaussian, or bernoulli for data in [0, 1].")] = (
        "gaussian"
    ),
    variance: Annotated[str, typer.Option(help="rbf, network or constant.")] = "rbf",
    num_centers: Annotated[int, typer.Option(help="Centers of the RBF variance.", min=1)] = 64,
    bandwidth_scale: Annotated[
        float, typer.Option(help="Width of its kernels, relative to the clusters'.")
    ] = 2.0,
    epochs: Annotated[int, typer.Option(help="Most passes over the data.", min=1)] = 200,
    checkpoint: Annotated[
        Path | None, typer.Option(help="File from which an interrupted training goes on.")
    ] = None,
    columns: Columns = None,
    label: Label = None,
    plot: Plot = None,
    seed: Seed = 0,
) -> None:
    """Train a variational autoencoder whose uncertainty grows off the data.

    Example: `landform fit-vae images.npz --latent-dim 2 --out vae.landform`
    """
    import jax

    import landform as lf

    table = read_table(data, columns=columns, label=label, least=20, ndim=(2, 3, 4))
    check_output(out, _MODELS)
    check_plot(plot)
    if plot and latent_dim != 2:
        raise ValueError("--plot needs --latent-dim 2")
    vae = lf.train_vae(
        table.X,
        latent_dim,
        key=jax.random.key(seed),
        architecture=architecture,
        likelihood=likelihood,
        variance=variance,
        num_centers=num_centers,
        bandwidth_scale=bandwidth_scale,
        epochs=epochs,
        checkpoint=checkpoint,
        progress=True,
    )
    settings = {"data": table.path.name, "rows": len(table.X), "seed": seed}
    save(out, vae, metadata=settings)
    if plot:
        plot_codes(plot, vae, np.asarray(vae.encode(table.X)), table.y)
    history = vae.history
    assert history is not None
    report(
        f"VAE of {len(table.X)} points of shape {vae.shape}",
        {
            "held-out ELBO": f"{history.best_held_out_elbo:.2f} nats per point ({vae.likelihood})",
            "epochs": f"{len(history.elbo)}, the best {history.best_epoch + 1}",
            "written": out,
        },
    )


@app.command("fit-land")
def fit_land(
    data: Data,
    out: Model = Path("land.landform"),
    components: Annotated[int, typer.Option("--components", "-k", help="Components.", min=1)] = 1,
    metric: MetricName = "local-variance",
    normalizer: Annotated[
        str, typer.Option(help="exact, or paper for the authors' numbers.")
    ] = "exact",
    columns: Columns = None,
    label: Label = None,
    sigma: Sigma = None,
    rho: Rho = None,
    plot: Plot = None,
    seed: Seed = 0,
) -> None:
    """Fit a locally adaptive normal distribution, or a mixture of several.

    Example: `landform fit-land points.csv --components 2 --plot density.png --out land.landform`
    """
    table = read_table(data, columns=columns, label=label, least=max(3, 2 * components))
    check_output(out, _MODELS)
    check_plot(plot, table)
    chosen = metric_of(metric, table, sigma, rho)
    fitted, rows = _fit_land(chosen, table.X, components, normalizer, seed)
    settings = {"data": table.path.name, "rows": len(table.X), "seed": seed, "metric": metric}
    save(out, fitted, metadata=settings)
    if plot:
        _plot_density(plot, fitted, table)
    report(
        f"LAND with {components} component(s) of {len(table.X)} points", {**rows, "written": out}
    )


def _fit_land(metric, X: np.ndarray, components: int, normalizer: Any, seed: int):
    """The fitted model, and the lines of the report."""
    import jax

    import landform as lf

    if components == 1:
        land = lf.fit_land(metric, X, normalizer=normalizer, key=jax.random.key(seed))
        rows = {
            "mean": np.asarray(land.mean).round(4).tolist(),
            "normalizer": f"{float(np.exp(land.log_normalizer)):.6g}"
            f" ± {float(land.normalizer_stderr):.1e} (log)",
        }
    else:
        land = lf.fit_land_mixture(
            metric, X, components, normalizer=normalizer, key=jax.random.key(seed)
        )
        rows = {
            "weights": np.asarray(land.weights).round(4).tolist(),
            "iterations": int(land.n_iter),
            "points without a geodesic": int(land.n_failed),
        }
    score = np.asarray(land.log_prob(X, base="lebesgue", throw=False))
    lost = int(np.isnan(score).sum())
    rest = f", without {lost} of {len(X)} points that have none" if lost else ""
    return land, {**rows, "log-density per point": f"{np.nanmean(score):.4f} (Lebesgue){rest}"}


def _plot_density(file: Path, land, table) -> None:
    from landform import plotting

    points, extent = plotting.grid(*plotting.bounds(table.X), size=48)
    flat = points.reshape(-1, 2)
    values = np.asarray(land.log_prob(flat, base="lebesgue", throw=False))
    fig, (ax,) = plotting.figure(width=4.8)
    plotting.density(ax, extent, values.reshape(points.shape[:2]))
    plotting.points(ax, table.X, table.y, size=6, alpha=0.6)
    data_axes(ax, extent, table)
    plotting.save_figure(fig, file)
