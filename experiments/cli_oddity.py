"""The published experiments of Latent Space Oddity."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from experiments.cli_land import Out, Quick, Seeds, commands
from landform.cli._app import integers, report, steps

Data = Annotated[
    str | None,
    typer.Option(
        help="mnist, digits, fashion, or an .npz file with images X and classes y; by default "
        "mnist where it can be had, else digits."
    ),
]


@commands.command("oddity-variance")
def oddity_variance(
    data: Data = None,
    classes: Annotated[str, typer.Option(help="Classes to use, or all.")] = "0,1",
    out: Out = Path("oddity-variance"),
    seeds: Seeds = 3,
    quick: Quick = False,
) -> None:
    """Radial basis functions against a variance network: evidence and extrapolation.

    Example: `python -m experiments oddity-variance --out oddity-variance`
    """
    from experiments import VarianceSettings, run_variance

    settings = VarianceSettings(
        data=data,
        seeds=tuple(range(seeds)),
        classes=None if classes == "all" else integers("--classes", classes),
    )
    if quick:
        settings = dataclasses.replace(
            settings,
            seeds=(0,),
            per_class=100,
            samples=50,
            map_size=40,
            floors=(0.03, 0.3),
            training=dataclasses.replace(settings.training, epochs=20),
        )
    with steps() as say:
        found = run_variance(settings, out, progress=say)["summary"]
    rows: dict[str, object] = {
        f"{name}, {key.replace('_', ' ')}": (
            f"{found[name][key]['mean']:.4g} ± {found[name][key]['sd']:.2g}"
        )
        for key in ("log_marginal", "std_ratio")
        for name in ("rbf", "network")
    }
    rows["gain in nats"] = f"{found['gain']['mean']:.1f} ± {found['gain']['sd']:.1f}"
    report("mean ± s.d. over seeds", rows)
    report("the page", {"file": out / "index.html"})


@commands.command("oddity-kmeans")
def oddity_kmeans(
    data: Data = None,
    groups: Annotated[
        str | None,
        typer.Option(
            help="Sets of classes, as 0,1,2;3,4,7; by default the paper's triples, or all classes "
            "of a file without these."
        ),
    ] = None,
    out: Out = Path("oddity-kmeans"),
    seeds: Seeds = 3,
    exact: Annotated[
        int, typer.Option(help="Subsets to solve with exact geodesics as well.", min=0)
    ] = 0,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Add what the scores depend on; twice the time.")
    ] = False,
    quick: Quick = False,
) -> None:
    """K-means in latent spaces, under the generator's metric and without it.

    Example: `python -m experiments oddity-kmeans --groups "1,4,8;2,3,6" --out oddity-kmeans`
    """
    from experiments import KMeansSettings, run_kmeans

    chosen = None
    if groups is not None:
        chosen = tuple(integers("--groups", part) for part in groups.split(";"))
    settings = KMeansSettings(
        data=data, groups=chosen, seeds=tuple(range(seeds)), exact=exact, ablation=ablation
    )
    if quick:
        settings = dataclasses.replace(
            settings,
            seeds=(0,),
            per_class=100,
            subsets=2,
            subset=150,
            widths=(1.0, 2.0),
            table_size=64,
            training=dataclasses.replace(settings.training, epochs=40),
        )
    with steps() as say:
        found = run_kmeans(settings, out, progress=say)["summary"]
    rows: dict[str, object] = {}
    for name, row in found.items():
        if name != "mean_gain":
            flat, curved = row["euclidean"], row["riemannian"]
            rows[name] = (
                f"{flat['mean']:.1f} ± {flat['sd_subsets']:.1f} to {curved['mean']:.1f} ± "
                f"{curved['sd_subsets']:.1f} (nearest neighbor "
                f"{row['nearest_neighbor']['mean']:.1f})"
            )
    report("F-measure in %, Euclidean to Riemannian, mean ± s.d. over subsets", rows)
    report("the page", {"file": out / "index.html"})
