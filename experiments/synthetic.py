"""Curved and straight point clouds: LAND, least squares and Gaussian mixtures on held-out data."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

import landform as lf
from experiments.compare import (
    METHODS,
    NAMES,
    RULE_WORDS,
    Fits,
    Rule,
    choose,
    described,
    fit_all,
    score_all,
)
from experiments.write import keep, write
from landform import datasets, plotting
from landform.demo.page import Section, folder

COLORS = {"gaussian": plotting.EUCLIDEAN, "least_squares": "#009e73", "land": plotting.RIEMANNIAN}
_MARGIN = 0.25  # around the data, for the tails of the wider models
_FAILED = 0.05  # refuse the mean score if more than this share of points has no density
_SWEEP = np.geomspace(0.35, 4.0, 8)  # times the σ that was chosen


@dataclass(frozen=True)
class SyntheticSettings:
    """What `python -m experiments land-synthetic` computes."""

    sets: tuple[str, ...] = ("half-ellipse", "moons", "spirals", "shapes", "gaussian")
    seeds: tuple[int, ...] = (0, 1, 2)
    train: int = 500
    test: int = 1000
    n_directions: int = 64
    folds: int = 2
    rule: Rule = "flat-first"
    grid: int = 50
    sweep: bool = True


def draw(name: str, n: int, seed: int) -> tuple[np.ndarray, int]:
    """A point cloud of the plane, and the number of its components."""
    rng = np.random.default_rng(seed)
    if name == "half-ellipse":
        return datasets.half_ellipse(n, seed=seed).X, 1
    if name == "moons":
        return datasets.two_moons(n, seed=seed).X, 2
    if name == "spirals":
        turn = 0.6 * np.pi + 1.5 * np.pi * np.sqrt(rng.random(n))
        side = np.where(np.arange(n) % 2, 1.0, -1.0)
        arm = side[:, None] * turn[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1) / 3.0
        return arm + 0.1 * rng.standard_normal((n, 2)), 2
    if name == "shapes":
        kind = np.arange(n) % 3
        angle = np.pi * rng.random(n)
        arc = np.stack([1.5 * np.cos(angle), 1.5 * np.sin(angle)], axis=1)
        line = np.stack([3.5 * rng.random(n) + 2.5, np.zeros(n) + 0.5], axis=1)
        ball = np.array([0.0, -2.5]) + 0.5 * rng.standard_normal((n, 2))
        parts = np.where((kind == 0)[:, None], arc, np.where((kind == 1)[:, None], line, ball))
        return parts + 0.12 * rng.standard_normal((n, 2)), 3
    if name == "gaussian":
        return rng.standard_normal((n, 2)) @ np.array([[1.0, 0.5], [0.0, 0.6]]), 1
    raise ValueError(f"unknown point cloud {name!r}")


def run_synthetic(
    settings: SyntheticSettings, out, *, progress: Callable[[str], None] = print
) -> dict[str, Any]:
    """Fit and score everything, and write the page.

    σ and ρ are chosen by cross-validation on the training points alone, and scored on points that
    took no part in it.
    """
    out, since = folder(out), time.perf_counter()
    shown: dict[str, tuple[np.ndarray, Fits]] = {}
    sweep: dict[str, np.ndarray] = {}
    rows: dict[str, list] = {name: [] for name in settings.sets}
    for seed in settings.seeds:  # outermost, so that a run that is stopped has all sets
        for name in settings.sets:
            progress(f"{name}, seed {seed}")
            train, count = draw(name, settings.train, 2 * seed)
            test, _ = draw(name, settings.test, 2 * seed + 1)
            chosen = choose(
                train, count, n_folds=settings.folds, key=jax.random.key(seed), rule=settings.rule
            )
            fits = fit_all(train, count, chosen, n_directions=settings.n_directions, seed=seed)
            scores = score_all(fits, test)
            metrics = {f"{name} metric": described(train, c) for name, c in chosen.items()}
            rows[name].append({**scores.density, **metrics, "failed": scores.failed["land"]})
            keep(out, settings, rows)
            if seed == settings.seeds[0]:
                shown[name] = (train, fits)
                if settings.sweep and name == "half-ellipse":
                    sweep = _sweep(train, test, count, chosen["land"], settings)
    results: dict[str, Any] = {name: _summary(some) for name, some in rows.items()}
    if sweep:
        results["sigma_sweep"] = {k: v.tolist() for k, v in sweep.items()}
    progress("figures")
    sections = [_scores_section(results, settings), *_density_sections(shown, settings)]
    if sweep:
        sections.append(_sweep_section(sweep))
    choices = [c.format(s=settings, rule=RULE_WORDS[settings.rule]) for c in _CHOICES]
    write(
        out,
        "LAND on synthetic data",
        _LEAD,
        sections,
        choices,
        settings,
        results,
        time.perf_counter() - since,
    )
    return results


def _sweep(train, test, count, chosen, settings) -> dict[str, np.ndarray]:
    sigmas = _SWEEP * chosen.sigma
    values = [held_out(train, test, count, s, chosen.rho, settings.seeds[0]) for s in sigmas]
    return {"sigma": sigmas, "land": np.array(values), "chosen": np.array(chosen.sigma)}


def held_out(train, test, count: int, sigma: float, rho: float, seed: int) -> float:
    """Mean Lebesgue log-density of `test` under a LAND mixture of `train`; −∞ where that fails."""
    try:
        model = lf.fit_land_mixture(
            lf.LocalVariance(train, sigma, rho),
            train,
            count,
            n_directions=64,
            tol=1e-2,
            max_iter=30,
            rtol=1e-3,
            key=jax.random.key(seed),
            throw=False,
        )
    except (lf.ConvergenceError, ValueError, np.linalg.LinAlgError):
        return -np.inf
    density = np.asarray(model.log_prob(test, "lebesgue", throw=False))
    known = np.isfinite(density).mean() >= 1.0 - _FAILED
    return float(np.nanmean(density)) if known else -np.inf


def _summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Means and standard deviations over seeds, and every seed."""
    out: dict[str, Any] = {}
    for name in METHODS:
        values = np.array([row[name] for row in rows])
        out[name] = {
            "mean": float(values.mean()),
            "sd": float(values.std(ddof=min(1, len(rows) - 1))),
        }
    out["seeds"] = rows
    return out


def _scores_section(results, settings) -> Section:
    fig, (ax,) = plotting.figure(width=6.8, height=0.5 * len(settings.sets) + 1.2)
    with plotting.style():
        for i, name in enumerate(settings.sets):
            base = results[name]["gaussian"]["mean"]
            for k, method in enumerate(METHODS):
                values = [row[method] - base for row in results[name]["seeds"]]
                label = NAMES[method] if i == 0 else None
                place = np.full(len(values), i + 0.18 * (k - 1))
                ax.scatter(values, place, s=22, c=COLORS[method], label=label, linewidths=0)
        ax.axvline(0.0, color="#b0b0b0", linewidth=0.8, zorder=-1)
        ax.set_yticks(range(len(settings.sets)), settings.sets)
        ax.invert_yaxis()
        ax.set_xlabel("held-out log-density per point, minus the Gaussian mixture's mean (nats)")
        ax.legend(loc="lower right")
    curved = [name for name in settings.sets if name != "gaussian"]
    means = {n: [results[n][m]["mean"] for m in METHODS] for n in curved}
    better = sum(gauss < squares < land for gauss, squares, land in means.values())
    meaning = "curved sets on which LAND > least squares > Gaussian in held-out log-density"
    if "gaussian" in results:
        loss = results["gaussian"]["gaussian"]["mean"] - results["gaussian"]["land"]["mean"]
        meaning += f"; on truly Gaussian data LAND loses {loss:.3f} nats"
    return Section(
        "scores",
        "Held-out log-density at equal numbers of components",
        "Every dot is a seed. To the right of the line a model predicts new points better than the "
        "Gaussian mixture with as many components.",
        f"{better} of {len(curved)}",
        meaning,
        plotting.png_bytes(fig),
    )


def _density_sections(shown, settings):
    for name, (train, fits) in shown.items():
        low, high = plotting.bounds(train, margin=_MARGIN)
        points, extent = plotting.grid(low, high, size=settings.grid)
        places = points.reshape(-1, 2)
        fig, axes = plotting.figure(3, width=7.6, height=2.9)
        for ax, method, model in zip(axes, METHODS, fits, strict=True):
            plotting.points(ax, train, size=4, alpha=0.5)
            if model is not None:
                if method == "gaussian":
                    values = model.score_samples(places)
                else:
                    values = np.asarray(model.log_prob(places, "lebesgue", throw=False))
                values = values.reshape(settings.grid, settings.grid)
                plotting.density(ax, extent, values, colour=COLORS[method])
            ax.set_title(NAMES[method])
            ax.set_xticks([])
            ax.set_yticks([])
            ax.set_aspect("equal")
        yield Section(
            f"density-{name}",
            name.capitalize(),
            "Nested regions hold 95, 80, 50 and 20 % of each model's mass on the map.",
            f"{len(train)}",
            "training points of the first seed",
            plotting.png_bytes(fig),
        )


def _sweep_section(sweep) -> Section:
    fig, (ax,) = plotting.figure(width=6.2, height=3.0)
    finite = np.isfinite(sweep["land"])
    plotting.profiles(
        ax,
        sweep["sigma"][finite],
        {"LAND": sweep["land"][finite]},
        xlabel="σ",
        ylabel="held-out log-density",
    )
    ax.axvline(float(sweep["chosen"]), color="#b0b0b0", linewidth=0.8)
    return Section(
        "sweep",
        "The width of the metric",
        "Held-out log-density of LAND on the half ellipse under other σ at one ρ; the line is the "
        "cross-validated σ.",
        f"{float(sweep['chosen']):.3g}",
        "σ by cross-validation on the training points",
        plotting.png_bytes(fig),
    )


_LEAD = (
    "Point clouds of the plane, drawn twice: one sample to learn from, one to be scored on. The "
    "locally adaptive normal distribution and its mixtures are compared with intrinsic least "
    "squares under the same metric and with Gaussian mixtures of as many components."
)
_CHOICES = (
    "Log-densities are against Lebesgue measure, which makes all three comparable.",
    "σ and ρ of the local-variance metric: by {s.folds}-fold cross-validation of the likelihood "
    "on the {s.train} training points, for LAND and for least squares apart, down from a flat "
    "metric: {rule}. Scored on {s.test} others.",
    "Normalizer: exact, along {s.n_directions} directions of the tangent space.",
    "Gaussian mixtures: scikit-learn's, the best of five starts of each of three kinds.",
)
