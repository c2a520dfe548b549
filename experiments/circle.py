"""The noisy circle: geodesic lengths and curves of five generators against the true ones."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import landform as lf
from experiments.write import write
from landform import datasets, plotting
from landform.demo.page import Section, folder

NAMES = {
    "deterministic": "deterministic decoder",
    "network": "variance network",
    "rbf": "RBF precision",
    "gp": "Gaussian process",
    "gp_likelihood": "Gaussian process, lengthscale by likelihood",
}
PUBLISHED = {"deterministic": 0.975, "network": 0.975, "rbf": 0.983, "gp": 0.997}
"""Correlations of arXiv:1806.04994 as quoted second-hand: AE, VAE, RBF-VAE, GP-LVM."""


@dataclass(frozen=True)
class CircleSettings:
    """What `python -m experiments noisy-circle` computes."""

    seeds: tuple[int, ...] = (0, 1, 2)
    n: int = 200
    dim: int = 1000
    radius: float = 3.0
    noise: float = 0.02
    pairs: int = 200
    num_centers: int = 16
    bandwidth_scale: float = 2.0
    epochs: int = 200
    accuracy: float = 1e-4
    grid: int = 60


class Learned(NamedTuple):
    """A metric of the latent space, the curve's image in data space, and the codes."""

    metric: lf.AbstractMetric
    mean: Callable
    codes: np.ndarray


class Circle(NamedTuple):
    """Data around a circle of known plane, and the true angles."""

    X: np.ndarray
    angle: np.ndarray
    basis: np.ndarray  # (2, D)
    radius: float


def draw(settings: CircleSettings, seed: int) -> Circle:
    """A circle of the given radius in D dimensions, with noise on every coordinate."""
    data = datasets.noisy_circle(
        settings.n, dim=settings.dim, noise=settings.noise / settings.radius, seed=seed
    )
    X = settings.radius * np.asarray(data.X)
    return Circle(X, data.extras["angle"], data.extras["basis"], settings.radius)


def generators(circle: Circle, settings: CircleSettings, seed: int) -> dict[str, Learned]:
    """The five generators; two of them share the kernel's width, all autoencoders one mean."""
    key = jax.random.key(seed)
    rbf = {
        "num_centers": settings.num_centers,
        "bandwidth_scale": settings.bandwidth_scale,
        "bandwidth_rule": "pooled",
    }
    vae = lf.train_vae(circle.X, 2, key=key, epochs=settings.epochs, **rbf)
    network = lf.fit_variance(vae, circle.X, key=key, variance="network", max_iter=settings.epochs)
    codes = np.asarray(vae.encode(circle.X))
    smooth = lf.train_gplvm(circle.X, 2)
    latent = np.asarray(smooth.codes)
    precision = lf.RBFPrecision.from_codes(latent, 1, key=key, **rbf)
    width = float(np.asarray(precision.bandwidths)[0])
    short = lf.train_gplvm(
        circle.X, 2, codes=latent, learn_codes=False, lengthscale=(2.0 * width) ** -0.5
    )
    return {
        "deterministic": Learned(lf.Pullback(vae.mean, landmarks=codes), vae.mean, codes),
        "network": Learned(network.metric(codes), network.mean, codes),
        "rbf": Learned(vae.metric(codes), vae.mean, codes),
        "gp": Learned(short.metric(), short, latent),
        "gp_likelihood": Learned(smooth.metric(), smooth, latent),
    }


class Measured(NamedTuple):
    """Geodesics of one generator and their errors."""

    lengths: np.ndarray  # (pairs,), NaN where a geodesic failed
    curves: np.ndarray  # (pairs, T, d), in the latent space
    shadows: np.ndarray  # (pairs, T, 2), their images projected onto the plane of the circle
    numbers: dict[str, float]


def measure(generator: Learned, circle: Circle, pairs: np.ndarray, accuracy: float) -> Measured:
    """Solve the pairs and compare with the circle."""
    found = lf.geodesic(
        generator.metric,
        generator.codes[pairs[0]],
        generator.codes[pairs[1]],
        accuracy=accuracy,
        throw=False,
    )
    good = np.asarray(found.converged)
    lengths = np.where(good, np.asarray(found.length), np.nan)
    curves = np.asarray(found.points)
    with jax.enable_x64(True):
        projected = _project(generator.mean, jnp.asarray(curves), jnp.asarray(circle.basis))
    shadows, away = map(np.asarray, projected)
    true = arc_lengths(circle, pairs)
    ends = circle.angle[pairs]
    each = [hausdorff(shadows[i], away[i], circle.radius, ends[:, i]) for i in np.flatnonzero(good)]
    everything = hausdorff(
        shadows[good].reshape(-1, 2), away[good].reshape(-1), circle.radius, None
    )
    inside = np.linalg.norm(shadows, axis=-1).min(axis=1) < 0.5 * circle.radius
    correlation = np.corrcoef(lengths[good], true[good])[0, 1]
    numbers = {
        "correlation": float(correlation),
        "hausdorff": everything,
        "hausdorff to the arc, mean over pairs": float(np.mean(each)),
        "median length over true length": float(np.median(lengths[good] / true[good])),
        "through the hole": float(inside[good].mean()),
        "converged": float(good.mean()),
    }
    return Measured(lengths, curves, shadows, numbers)


def arc_lengths(circle: Circle, pairs: np.ndarray) -> np.ndarray:
    """True geodesic lengths: radius times the angle between the noise-free points."""
    gap = np.abs(circle.angle[pairs[0]] - circle.angle[pairs[1]])
    return circle.radius * np.minimum(gap, 2.0 * np.pi - gap)


def hausdorff(shadow, away, radius: float, ends, resolution: int = 720) -> float:
    """Hausdorff distance between points of the data space and the circle, or an arc of it.

    The points are given by their projection onto the circle's plane, ``(m, 2)``, and their distance
    from it, ``(m,)``. The arc is the shorter one between the two angles `ends`; None: the circle.
    """
    if ends is None:
        angle = np.linspace(0.0, 2.0 * np.pi, resolution, endpoint=False)
    else:
        turn = (ends[1] - ends[0] + np.pi) % (2.0 * np.pi) - np.pi
        angle = ends[0] + turn * np.linspace(0.0, 1.0, resolution // 4)
    arc = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    to_arc, to_points = 0.0, np.full(len(arc), np.inf)
    for start in range(0, len(shadow), 2048):
        block = slice(start, start + 2048)
        squares = np.sum((shadow[block, None] - arc) ** 2, axis=-1) + away[block, None] ** 2
        to_arc = max(to_arc, float(squares.min(axis=1).max()))
        to_points = np.minimum(to_points, squares.min(axis=0))
    return float(np.sqrt(max(to_arc, to_points.max())))


@eqx.filter_jit
def _project(mean, curves, basis):
    """Images of curves: coordinates in the plane of the circle, and distance from that plane."""

    def one(z):
        image = mean(z)
        inside = basis @ image
        return inside, jnp.linalg.norm(image - inside @ basis)

    return jax.lax.map(jax.vmap(one), curves)


def run_circle(
    settings: CircleSettings, out, *, progress: Callable[[str], None] = print
) -> dict[str, Any]:
    """Train the generators, solve the pairs, and write the page."""
    out, since = folder(out), time.perf_counter()
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in NAMES}
    shown: dict[str, tuple[Learned, Measured]] = {}
    first = None
    for seed in settings.seeds:
        progress(f"training, seed {seed}")
        circle = draw(settings, seed)
        models = generators(circle, settings, seed)
        pairs = _pairs(settings, seed)
        for name, generator in models.items():
            progress(f"geodesics of the {NAMES[name]}, seed {seed}")
            measured = measure(generator, circle, pairs, settings.accuracy)
            rows[name].append(measured.numbers)
            if seed == settings.seeds[0]:
                shown[name] = (generator, measured)
                first = (circle, pairs)
    assert first is not None
    results = {name: _summary(some) for name, some in rows.items()}
    results["published"] = {f"correlation {name}": value for name, value in PUBLISHED.items()}
    progress("figures")
    sections = [
        _lengths_section(results, shown, *first),
        _curves_section(results, shown, *first),
        _maps_section(shown, settings, *first),
    ]
    write(
        out,
        "The noisy circle",
        _LEAD,
        sections,
        [c.format(s=settings) for c in _CHOICES],
        settings,
        results,
        time.perf_counter() - since,
    )
    return results


def _pairs(settings: CircleSettings, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, 1])
    first = rng.integers(settings.n, size=settings.pairs)
    other = (first + rng.integers(1, settings.n, size=settings.pairs)) % settings.n
    return np.stack([first, other])


def _summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key in rows[0]:
        values = np.array([row[key] for row in rows])
        spread = float(values.std(ddof=min(1, len(rows) - 1)))
        out[key] = {"mean": float(values.mean()), "sd": spread}
    out["seeds"] = rows
    return out


def _lengths_section(results, shown, circle, pairs) -> Section:
    true = arc_lengths(circle, pairs)
    fig, axes = plotting.figure(len(shown), width=9.6, height=2.5)
    with plotting.style():
        for ax, (name, (_, measured)) in zip(axes, shown.items(), strict=True):
            ax.scatter(true, measured.lengths, s=6, c=plotting.INK, alpha=0.6, linewidths=0)
            ax.set_title(_two_lines(NAMES[name]), fontsize=8)
            ax.set_xlabel(f"true length\ncorrelation {measured.numbers['correlation']:.4f}")
            ax.set_ylim(bottom=0.0)
        axes[0].set_ylabel("length of the geodesic")
    best = results["rbf"]["correlation"]["mean"]
    gp = results["gp"]["correlation"]["mean"]
    plain = results["deterministic"]["correlation"]["mean"]
    return Section(
        "lengths",
        "Estimated against true geodesic lengths",
        "Every dot is a pair of data points of the first seed. Chords bend away from arcs for "
        "distant pairs; generators that are uncertain of the hole stay proportional to the arcs.",
        f"{best:.4f}, {gp:.4f}",
        f"correlation of the RBF precision and of the Gaussian process, mean over seeds; the "
        f"deterministic decoder's is {plain:.4f}",
        plotting.png_bytes(fig),
    )


def _curves_section(results, shown, circle, pairs) -> Section:
    fig, axes = plotting.figure(len(shown), width=9.6, height=2.4)
    order = np.argsort(arc_lengths(circle, pairs))[::-1]
    data = circle.X @ circle.basis.T
    for ax, (name, (_, measured)) in zip(axes, shown.items(), strict=True):
        good = order[np.isfinite(measured.lengths[order])][:: max(1, len(order) // 12)]
        plotting.points(ax, data, size=3, alpha=0.4)
        plotting.curves(ax, measured.shadows[good], width=0.9, alpha=0.8, ends=False)
        with plotting.style():
            ax.set_title(_two_lines(NAMES[name]), fontsize=8)
            ax.set_xlabel(f"Hausdorff {measured.numbers['hausdorff']:.2f}")
            ax.set_xticks([])
            ax.set_yticks([])
            ax.set_aspect("equal")
    plain = results["deterministic"]["hausdorff"]["mean"]
    return Section(
        "curves",
        "Geodesics in data space",
        "A dozen geodesics of each generator, decoded and projected onto the plane of the circle, "
        "over the data.",
        f"{results['rbf']['hausdorff']['mean']:.2f}, {results['gp']['hausdorff']['mean']:.2f}",
        f"Hausdorff distance between all decoded geodesics and the circle (radius "
        f"{circle.radius:g}), RBF precision and Gaussian process; the deterministic decoder's is "
        f"{plain:.2f}",
        plotting.png_bytes(fig),
    )


def _maps_section(shown, settings, circle, pairs) -> Section:
    fig, axes = plotting.figure(len(shown), width=9.6, height=2.4)
    true = arc_lengths(circle, pairs)
    far = int(np.argmax(true))
    across = {}
    for ax, (name, (generator, measured)) in zip(axes, shown.items(), strict=True):
        codes = generator.codes
        places, extent = plotting.grid(*plotting.bounds(codes), size=settings.grid)
        values = np.asarray(lf.log_volume(generator.metric, places.reshape(-1, 2))) / np.log(10.0)
        plotting.field(ax, extent, values.reshape(settings.grid, settings.grid), bar=False)
        plotting.points(ax, codes, size=2, alpha=0.5)
        good = np.flatnonzero(np.isfinite(measured.lengths))[:8]
        plotting.curves(ax, measured.curves[good], width=0.8, ends=False)
        line = lf.curve_length(generator.metric, codes[pairs[:, far]], order=64)
        across[name] = float(line) / measured.lengths[far]
        with plotting.style():
            ax.set_title(_two_lines(NAMES[name]), fontsize=8)
            ax.set_xlabel(f"straight across: {across[name]:.2f}")
            ax.set_xticks([])
            ax.set_yticks([])
    return Section(
        "maps",
        "The latent spaces",
        "The magnification factor log √det M, white to dark, with the codes and some geodesics. "
        "Below each, the length of the straight line between the two most distant points, which "
        "crosses the hole, over that of the geodesic.",
        f"{across['rbf']:.2f}, {across['gp']:.2f}",
        f"straight line over geodesic for the most distant pair, RBF precision and Gaussian "
        f"process; {across['deterministic']:.2f} for the deterministic decoder",
        plotting.png_bytes(fig),
    )


def _two_lines(name: str) -> str:
    return name.replace(", ", ",\n").replace("deterministic ", "deterministic\n")


_LEAD = (
    "Points around a circle in a random plane of a space of many dimensions, with noise on every "
    "coordinate. Generators with a two-dimensional latent space learn it; the latent space has a "
    "hole in which there are no data. A generator that is certain there has geodesics that "
    "are chords of the circle; one that knows what it does not know follows the arcs, whose "
    "lengths are known."
)
_CHOICES = (
    "n = {s.n} points, D = {s.dim}, radius {s.radius}, noise of deviation {s.noise} on every "
    "coordinate; {s.pairs} random pairs a seed, seeds {s.seeds}. True length: radius times angle.",
    "Hausdorff distance: between the images of all geodesics under the mean of the generator and "
    "the circle without noise, in data space, the larger of the two directions. The same for each "
    "pair and the arc between its points, averaged, is among the numbers.",
    "The three autoencoders share encoder and mean. RBF: {s.num_centers} centers, "
    "a = {s.bandwidth_scale}, one "
    "bandwidth for all centers (rule 'pooled').",
    "Gaussian process: codes of largest posterior probability, then variance and noise by "
    "likelihood under a kernel as wide as the radial basis functions, by the same rule on its own "
    "codes. With the likelihood's lengthscale, beside it, the plane of the circle is one linear "
    "map of which the process is certain, hole included.",
)
