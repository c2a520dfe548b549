"""The variance study of Latent Space Oddity: radial basis functions against a variance network."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np

import landform as lf
from experiments.oddity import load_images, train_mean, train_std
from experiments.write import write
from landform import plotting
from landform.demo.model import mean_deviation
from landform.demo.page import Section, folder

VARIANCES = ("rbf", "network")
NAMES = {"rbf": "RBF precision", "network": "variance network"}
COLORS = {"rbf": plotting.RIEMANNIAN, "network": plotting.EUCLIDEAN}
PUBLISHED = {"rbf": -50.34, "network": -68.25}  # second-hand
_RADII = np.linspace(0.0, 4.0, 41)
_THREE = int(np.argmin(np.abs(_RADII - 3.0)))


@dataclass(frozen=True)
class VarianceSettings:
    """What `python -m experiments oddity-variance` computes."""

    data: str | None = None
    classes: tuple[int, ...] | None = (0, 1)
    per_class: int | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    test_share: float = 0.1
    training: lf.Training = field(
        default_factory=lambda: lf.Training(hidden=(64, 32), num_centers=32, bandwidth_scale=1.0)
    )
    samples: int = 500
    bins: int = 12
    map_size: int = 120
    floors: tuple[float, ...] = (0.03, 0.1, 0.3)  # the first is the library's default


class Trained(NamedTuple):
    """Both models of one split, with one encoder and one mean, and the test images."""

    models: dict[str, lf.VAE]
    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray | None  # of the training images

    @property
    def codes(self) -> np.ndarray:
        """The encoded training images."""
        return np.asarray(self.models["rbf"].encode(self.train))


def run_variance(
    settings: VarianceSettings, out, *, progress: Callable[[str], None] = print
) -> dict[str, Any]:
    """Train both variances on every split, score them on its test images, and write the page."""
    out, since = folder(out), time.perf_counter()
    rows, shown = [], None
    for seed in settings.seeds:
        progress(f"seed {seed}")
        row, first = _one(seed, settings)
        rows.append(row)
        shown = shown or first
    assert shown is not None
    results = {"runs": rows, "summary": _summary(rows)}
    progress("figures")
    trained, detail = shown
    sections = [
        _evidence_section(rows, detail, results["summary"]),
        _deviation_section(detail, results["summary"]),
        *_map_sections(trained, settings),
        _calibration_section(detail["calibration"], results["summary"]),
        _floor_section(rows, settings),
    ]
    write(
        out,
        "Latent Space Oddity: what the variance knows",
        _LEAD,
        sections,
        [c.format(s=settings, t=settings.training) for c in _CHOICES],
        settings,
        results,
        time.perf_counter() - since,
    )
    return results


def _one(seed: int, settings: VarianceSettings):
    trained = train_both(seed, settings)
    key = jax.random.key(seed + 100)
    found = {
        name: lf.log_marginal_likelihood(vae, trained.test, key=key, num_samples=settings.samples)
        for name, vae in trained.models.items()
    }
    gain = np.asarray(found["rbf"].values) - np.asarray(found["network"].values)
    row: dict[str, Any] = {"seed": seed, "train": len(trained.train), "test": len(trained.test)}
    fits, rings = {}, {}
    for name, vae in trained.models.items():
        rings[name] = rings_of(vae, trained.codes)
        fits[name] = lf.calibration(vae, trained.test, key=key, bins=settings.bins)
        row[name] = {
            "log_marginal": found[name].mean,
            "stderr": found[name].stderr,
            "std_on_data": rings[name]["on_data"],
            "std_at_three_radii": float(rings[name]["mean"][_THREE]),
            "std_smallest_at_three_radii": float(rings[name]["least"][_THREE]),
            "std_ratio": float(rings[name]["mean"][_THREE]) / rings[name]["on_data"],
            "calibration_error": fits[name].error,
        }
    row["gain"] = float(gain.mean())
    row["gain_median"] = float(np.median(gain))
    row["share_better"] = float(np.mean(gain > 0.0))
    row["gain_by_floor"] = {
        f"{floor:g}": row["gain"] if i == 0 else _gain_at(trained, floor, seed, settings)
        for i, floor in enumerate(settings.floors)
    }
    return row, (trained, {"gain": gain, "rings": rings, "calibration": fits})


def train_both(seed: int, settings: VarianceSettings) -> Trained:
    """One encoder and mean on the training images of a split, and both variances on top."""
    images = load_images(
        settings.data, classes=settings.classes, per_class=settings.per_class, seed=seed
    )
    count = max(1, round(settings.test_share * len(images.X)))
    test, train = images.X[:count], images.X[count:]
    start = train_mean(train, settings.training, seed)
    models = {
        name: train_std(start, train, _floored(train, settings), seed, name) for name in VARIANCES
    }
    return Trained(models, train, test, None if images.y is None else images.y[count:])


def _floored(train, settings: VarianceSettings, floor: float | None = None) -> lf.Training:
    """The training with the smallest σ at a share of the images' spread."""
    share = settings.floors[0] if floor is None else floor
    spread = float(np.sqrt(np.mean(np.var(train.reshape(len(train), -1), axis=0))))
    return dataclasses.replace(settings.training, min_std=share * spread)


def _gain_at(trained: Trained, floor: float, seed: int, settings: VarianceSettings) -> float:
    """The gain under a larger smallest σ."""
    training, means = _floored(trained.train, settings, floor), []
    key = jax.random.key(seed + 100)
    for name in VARIANCES:
        vae = train_std(trained.models[name], trained.train, training, seed, name)
        found = lf.log_marginal_likelihood(vae, trained.test, key=key, num_samples=settings.samples)
        means.append(found.mean)
    return means[0] - means[1]


def rings_of(vae: lf.VAE, codes: np.ndarray) -> dict[str, Any]:
    """σ at the codes, and on circles around their mean in units of the largest distance to it."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    radius = float(np.linalg.norm(codes - codes.mean(axis=0), axis=1).max())
    around = mean_deviation(vae, codes.mean(axis=0) + _RADII[:, None, None] * radius * ring)
    return {
        "on_data": float(mean_deviation(vae, codes).mean()),
        "mean": around.mean(axis=1),
        "least": around.min(axis=1),
        "band": np.quantile(around, [0.1, 0.5, 0.9], axis=1),
    }


def _summary(rows) -> dict[str, Any]:
    def over(values) -> dict[str, float]:
        values = np.asarray(values, float)
        return {"mean": float(values.mean()), "sd": float(values.std(ddof=min(1, len(values) - 1)))}

    keys = ("log_marginal", "std_ratio", "calibration_error")
    out: dict[str, Any] = {
        name: {key: over([row[name][key] for row in rows]) for key in keys} for name in VARIANCES
    }
    out["rbf"]["std_ratio_smallest"] = over(
        [row["rbf"]["std_smallest_at_three_radii"] / row["rbf"]["std_on_data"] for row in rows]
    )
    for key in ("gain", "gain_median", "share_better"):
        out[key] = over([row[key] for row in rows])
    floors = rows[0]["gain_by_floor"]
    out["gain_by_floor"] = {f: over([r["gain_by_floor"][f] for r in rows]) for f in floors}
    return out


def _evidence_section(rows, detail, summary) -> Section:
    fig, axes = plotting.figure(2, width=7.2, height=3.0)
    with plotting.style():
        for name in VARIANCES:
            values = [row[name]["log_marginal"] for row in rows]
            axes[0].scatter(
                values,
                range(len(rows)),
                s=36,
                c=COLORS[name],
                label=NAMES[name],
                marker="o" if name == "rbf" else "s",
            )
        axes[0].set_yticks(range(len(rows)), [f"seed {row['seed']}" for row in rows])
        axes[0].set_ylim(len(rows) - 0.5, -0.5)
        axes[0].set_xlabel("test log-marginal per image (nats)")
        axes[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1)
        gain = np.sort(detail["gain"])
        axes[1].plot(gain, np.arange(1, len(gain) + 1) / len(gain), color=plotting.INK)
        axes[1].axvline(0.0, color="#b0b0b0", linewidth=0.8)
        axes[1].set_xscale("symlog", linthresh=10.0)
        axes[1].set_xlabel("gain of an image (nats)")
        axes[1].set_ylabel("share of test images below")
    gain = summary["gain"]
    return Section(
        "evidence",
        "Test log-marginal",
        "Left: the mean over the test images of each split, larger is better. Right: the first "
        "split's gain, image by image.",
        f"{gain['mean']:+.0f} ± {gain['sd']:.0f} nats",
        "RBF precision less variance network, mean ± s.d. over seeds; better on "
        f"{100 * summary['share_better']['mean']:.0f} % of the test images, by "
        f"{summary['gain_median']['mean']:.0f} nats in the median. The paper (quoted second-hand): "
        f"{PUBLISHED['rbf']} against {PUBLISHED['network']}, a gain of "
        f"{PUBLISHED['rbf'] - PUBLISHED['network']:.1f}",
        plotting.png_bytes(fig),
    )


def _deviation_section(detail, summary) -> Section:
    fig, (ax,) = plotting.figure(width=6.2, height=3.2)
    lines = {NAMES[name]: detail["rings"][name]["band"] for name in VARIANCES}
    plotting.profiles(
        ax,
        _RADII,
        lines,
        xlabel="distance from the codes' mean, in data radii",
        ylabel="mean σ of the decoder",
    )
    ax.axvspan(0, 1, color="#f0f0f0", zorder=-1)
    with plotting.style():
        ax.text(0.5, 0.03, "data", transform=ax.get_xaxis_transform(), ha="center", size=8)
    rbf, network = (summary[name]["std_ratio"] for name in VARIANCES)
    return Section(
        "deviation",
        "σ away from the data",
        "The radial basis functions let σ rise to its bound; the network extrapolates. Bands hold "
        "80 % of the directions.",
        f"{rbf['mean']:.0f} ± {rbf['sd']:.0f} ×",
        "σ at three data radii over σ at the codes; the variance network: "
        f"{network['mean']:.1f} ± {network['sd']:.1f} ×",
        plotting.png_bytes(fig),
    )


def _map_sections(trained: Trained, settings: VarianceSettings):
    points, extent = plotting.grid(
        *plotting.bounds(trained.codes, margin=0.35), size=settings.map_size
    )
    fields = {
        "std": ("Maps of the standard deviation", r"$\log_{10}$ mean σ", "the mean σ"),
        "magnification": ("Magnification", r"$\log_{10}\sqrt{\det M}$", "√det M"),
    }
    for key, (title, label, what) in fields.items():
        values = {}
        for name, vae in trained.models.items():
            if key == "std":
                values[name] = np.log10(mean_deviation(vae, points))
            else:
                values[name] = np.asarray(lf.log_volume(vae.metric(), points)) / np.log(10)
        everything = np.concatenate([v.ravel() for v in values.values()])
        limits = tuple(np.percentile(everything, [1, 99]))
        fig, axes = plotting.figure(2, width=7.6, height=3.5)
        for ax, name in zip(axes, VARIANCES, strict=True):
            plotting.field(ax, extent, values[name], label=label, limits=limits)
            plotting.points(ax, trained.codes, trained.labels, size=3, alpha=0.5)
            plotting.latent_axes(ax, extent, title=NAMES[name])
        inside, outside = _levels(trained, values["rbf"], points)
        yield Section(
            key,
            title,
            "One color scale for both; dots are the codes of the training images, by class.",
            f"{10 ** (outside - inside):.3g} ×",
            f"the median of {what} on the map beyond one data radius over that at the nearest "
            "places to the codes, RBF precision, first seed",
            plotting.png_bytes(fig),
        )


def _levels(trained: Trained, values, points) -> tuple[float, float]:
    """Medians of a map near the codes and beyond their radius."""
    codes = trained.codes
    low, high = points[0, 0], points[-1, -1]
    cells = np.round((codes - low) / (high - low) * (np.array(values.shape) - 1)).astype(int)
    distance = np.linalg.norm(points - codes.mean(axis=0), axis=-1)
    radius = np.linalg.norm(codes - codes.mean(axis=0), axis=1).max()
    return float(np.median(values[cells[:, 1], cells[:, 0]])), float(
        np.median(values[distance > radius])
    )


def _calibration_section(fits: dict[str, lf.Calibration], summary) -> Section:
    fig, (ax,) = plotting.figure(width=4.6, height=3.8)
    plotting.calibration(ax, {NAMES[name]: fits[name] for name in VARIANCES})
    rbf, network = (summary[name]["calibration_error"] for name in VARIANCES)
    return Section(
        "calibration",
        "Predicted σ against residuals",
        "Pixels of the test images of the first split in groups of equal size by their predicted "
        "σ: the root mean square of the residuals against that of σ. On the diagonal σ is right; "
        "above it are pixels that are rarely inked, of which both are too certain.",
        f"{100 * (np.exp(rbf['mean']) - 1):.0f} %",
        "typical factor between predicted and observed, RBF precision, mean over groups and seeds; "
        f"the variance network: {100 * (np.exp(network['mean']) - 1):.0f} %",
        plotting.png_bytes(fig),
    )


def _floor_section(rows, settings: VarianceSettings) -> Section:
    fig, (ax,) = plotting.figure(width=5.4, height=2.9)
    floors = 100 * np.asarray(settings.floors)
    table = np.array([list(row["gain_by_floor"].values()) for row in rows])
    with plotting.style():
        ax.plot(floors, table.mean(axis=0), color=plotting.RIEMANNIAN, marker="o", linewidth=1.5)
        for values in table:
            ax.scatter(floors, values, s=10, c=plotting.RIEMANNIAN, alpha=0.45, linewidths=0)
        ax.axhline(0.0, color="#b0b0b0", linewidth=0.8)
        ax.set_xscale("log")
        ax.set_xticks(floors, [f"{f:g}" for f in floors])
        ax.set_xticks([], minor=True)
        ax.set_xlabel("smallest σ of an output, % of the images' spread")
        ax.set_ylabel("gain (nats)")
    least = table.mean(axis=0).min()
    return Section(
        "floor",
        "The same under larger smallest deviations",
        "Pixels that are always empty may be credited with any small σ, which sets the scale of "
        "all log-marginals; the gain under other bounds. Dots are seeds.",
        f"{least:+.0f} nats",
        "the smallest mean gain among these bounds",
        plotting.png_bytes(fig),
    )


_LEAD = (
    "A variational autoencoder with a two-dimensional latent space is trained on images of two "
    "kinds; then its standard deviation is fitted twice, encoder and mean left alone: as a "
    "precision of radial basis functions that falls to zero off the data, and as an ordinary "
    "network. The first describes images it has not seen better, and knows where it has seen none."
)
_CHOICES = (
    "The split: {s.test_share:.0%} of the images are for the test and seen by no training; a tenth "
    "of the others stops it early. Each seed has its own split.",
    "As in the paper: layers {t.hidden} with tanh, {t.num_centers} centers by k-means of the "
    "codes, bandwidths of {t.bandwidth_scale:g} times the clusters' radius. "
    "Not from the paper: Adam at 5e-3, "
    "batches of {t.batch_size}, at most {t.epochs} epochs and the best one by the held-out bound.",
    "Log-marginals by importance sampling with {s.samples} draws an image; their standard error is "
    "in results.json. They are densities on [0, 1], so their level depends on the smallest σ "
    "allowed ({s.floors[0]:.0%} of the images' spread) and only differences are to be compared, "
    "with each other and with the paper's.",
    "Labels color the maps; nothing else uses them.",
)
