"""Commands that take data to codes and codes to data: encode, decode."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from landform.cli.drawing import check_plot, plot_codes
from landform.cli.inputs import Table, check_output, read_table, write_table
from landform.cli.metric import as_vae
from landform.cli.options import Columns, Label, Out, Plot, app
from landform.cli.terminal import report
from landform.io import load
from landform.models.vae import VAE

ModelFile = Annotated[
    str,
    typer.Option("--model", "-m", help="A .landform file with a VAE, as of landform fit-vae."),
]


@app.command()
def encode(
    data: Annotated[
        Path, typer.Argument(help="Rows or images: .npy, .npz (X, y), .csv or .parquet.")
    ],
    model: ModelFile,
    out: Out = Path("codes.npz"),
    std: Annotated[
        bool, typer.Option("--std", help="Add to an .npz std, the deviations of the codes.")
    ] = False,
    columns: Columns = None,
    label: Label = None,
    plot: Plot = None,
) -> None:
    """The codes of data: points of a generator's latent space, for the other commands.

    An .npz has the codes X and, where the file has them, the classes y.

    Example: `landform encode images.npz --model vae.landform --out codes.npz --plot codes.png`
    """
    table = read_table(data, columns=columns, label=label, least=1, ndim=(2, 3, 4))
    _check_files(out, std)
    check_plot(plot)
    vae = as_vae(load(model), model)
    if plot and vae.latent_dim != 2:
        raise ValueError(f"--plot needs two latent dimensions, and {model} has {vae.latent_dim}")
    X = _rows(table, vae, model)
    codes, deviations = (np.asarray(part) for part in vae.posterior(X))
    arrays = {"X": codes} | ({} if table.y is None else {"y": table.y})
    write_table(out, **arrays, **({"std": deviations} if std else {}))
    if plot:
        plot_codes(plot, vae, codes, table.y)
    left = np.mean((np.asarray(vae.decode(codes)).reshape(X.shape) - X) ** 2)
    total = np.mean((X - X.mean(axis=0)) ** 2)
    report(
        f"{len(codes)} codes of {vae.latent_dim} dimensions",
        {
            "range": f"{codes.min():.4g} to {codes.max():.4g}",
            "decoded again": f"root mean square error {np.sqrt(left):.4g} a column, "
            f"{np.sqrt(total):.4g} from the mean of the data",
            "median deviation": f"{np.median(deviations):.4g} of a code, given its data",
            "written": out,
        },
    )


def _check_files(out: Path, std: bool) -> None:
    check_output(out)
    if std and out.suffix.lower() != ".npz":
        raise ValueError(f"--std needs an --out that ends in .npz, got {out}")


def _rows(table: Table, vae: VAE, model: str) -> np.ndarray:
    """The data of a table as rows, checked to be what a generator was trained on."""
    size, shape = vae.num_features, table.X.shape[1:]
    flat = len(vae.shape) == 1 and np.prod(shape) == size
    if shape not in (vae.shape, (size,)) and not flat:
        raise ValueError(
            f"{table.path} has data of shape {shape}, and {model} was trained on {vae.shape}"
        )
    return table.X.reshape(len(table.X), size)


@app.command()
def decode(
    codes: Annotated[
        Path, typer.Argument(help="Codes, geodesics or walks: .npy, .npz (X), .csv or .parquet.")
    ],
    model: ModelFile,
    out: Out = Path("decoded.npz"),
    std: Annotated[
        bool, typer.Option("--std", help="Add to an .npz std, the deviations of the decoded data.")
    ] = False,
    columns: Columns = None,
    plot: Plot = None,
) -> None:
    """Decode latent points: the mean of the generator's data at each.

    With --plot of a generator of images, up to twelve of these side by side.

    Example: `landform decode geodesic.csv --model vae.landform --plot interpolation.png`
    """
    table = read_table(codes, columns=columns, least=1, ndim=(2, 3))
    _check_files(out, std)
    check_plot(plot)
    vae = as_vae(load(model), model)
    Z = table.X
    if Z.shape[-1] != vae.latent_dim:
        raise ValueError(
            f"{table.path} has {Z.shape[-1]} columns, and {model} {vae.latent_dim} latent "
            "dimensions"
        )
    if plot and len(vae.shape) == 1:
        raise ValueError(
            f"--plot needs a generator of images, and {model} was trained on rows of "
            f"{vae.num_features} numbers: give landform fit-vae images of shape (n, height, width)"
        )
    mean, deviations = (
        np.asarray(part).reshape(*Z.shape[:-1], *vae.shape)
        for part in vae.decode(Z.reshape(-1, vae.latent_dim), return_std=True)
    )
    one_a_code = out.suffix.lower() == ".csv"
    main = mean.reshape(-1, vae.num_features) if one_a_code else mean
    write_table(out, X=main, **({"std": deviations} if std else {}))
    if plot:
        _plot_strips(plot, mean if Z.ndim == 3 else mean[None])
    report(
        f"{Z[..., 0].size} decoded points",
        {
            "shape": main.shape,
            "range": f"{mean.min():.4g} to {mean.max():.4g}",
            "mean deviation": f"{deviations.mean():.4g}, what the generator adds as noise",
            "written": out,
        },
    )


_MAX_COLUMNS, _MAX_STRIPS = 12, 8  # of pictures in a figure


def _plot_strips(file: Path, images: np.ndarray) -> None:
    """Pictures of sequences ``(k, n, ...)``, each evenly thinned, one strip a sequence."""
    from landform import plotting

    chosen = np.linspace(0, images.shape[1] - 1, min(images.shape[1], _MAX_COLUMNS)).round()
    images = images[:_MAX_STRIPS, chosen.astype(int)]
    low, high = min(0.0, float(images.min())), max(1.0, float(images.max()))
    names = [[f"{number}"] for number in range(len(images))]
    fig, axes = plotting.mosaic(names, width=7.6, height=0.75 * len(images))
    for number, strip in enumerate(images):
        name = f"{number + 1}" if len(images) > 1 else ""
        plotting.strip(axes[f"{number}"], (strip - low) / (high - low), label=name)
    plotting.save_figure(fig, file)
