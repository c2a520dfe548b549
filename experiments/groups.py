"""Real data with known classes, group by group: sleep stages of people, poses of movements."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from sklearn.decomposition import NMF, PCA

import landform as lf
from experiments.compare import (
    METHODS,
    NAMES,
    RULE_WORDS,
    Rule,
    choose,
    described,
    fit_all,
    score_all,
)
from experiments.synthetic import COLORS
from experiments.write import keep, write
from landform import datasets, plotting
from landform.demo.page import Section, folder

Features = Literal["pca", "nmf"]

_STAGES = np.array([0, 1, 1, 1, 2])  # of W, N1, N2, N3, REM: awake, non-REM, REM


@dataclass(frozen=True)
class GroupSettings:
    """What `python -m experiments land-sleep` and `land-motion` compute."""

    components: tuple[int, ...] = (5,)
    seeds: tuple[int, ...] = (0, 1)
    train: int = 200
    test: int = 300
    folds: int = 2
    n_directions: int = 64
    width: float = 1.5
    bounds: tuple[float, ...] = (1e6, 1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
    rule: Rule = "best"
    features: Features = "pca"
    max_groups: int | None = None


@dataclass(frozen=True)
class Group:
    """Features of one person or recording, and the classes, which only score."""

    name: str
    X: np.ndarray
    y: np.ndarray


def sleep_groups() -> list[Group]:
    """One group a person: band powers standardised in each night; awake, non-REM and REM.

    A night without one of the three classes is left out.
    """
    data = datasets.load("sleep", seed=None)
    X, y = np.asarray(data.X, float), _STAGES[np.asarray(data.y)]
    subject, night = np.asarray(data.extras["subject"]), np.asarray(data.extras["night"])
    scaled, keep = X.copy(), np.zeros(len(X), bool)
    for who, when in sorted(set(zip(subject.tolist(), night.tolist(), strict=True))):
        rows = (subject == who) & (night == when)
        if len(np.unique(y[rows])) < 3:
            continue
        spread = X[rows].std(axis=0)
        scaled[rows] = (X[rows] - X[rows].mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        keep |= rows
    return [
        Group(f"subject {who}", scaled[keep & (subject == who)], y[keep & (subject == who)])
        for who in np.unique(subject[keep])
    ]


def motion_groups() -> list[Group]:
    """One group: joint positions of walking and running, heading removed."""
    data = datasets.load("mocap", seed=None)
    poses = np.asarray(data.extras.get("pos", data.X), float)
    return [Group("subject 35", poses.reshape(len(poses), -1), np.asarray(data.y))]


def run_sleep(settings: GroupSettings, out, *, progress: Callable[[str], None] = print) -> dict:
    """Mixtures of three components on every person's nights."""
    return _run("LAND on sleep", _SLEEP, sleep_groups(), 3, settings, out, progress)


def run_motion(settings: GroupSettings, out, *, progress: Callable[[str], None] = print) -> dict:
    """Mixtures of two components on poses of walking and running."""
    return _run("LAND on motion", _MOTION, motion_groups(), 2, settings, out, progress)


def _run(title, lead, groups, count, settings: GroupSettings, out, progress) -> dict[str, Any]:
    out, since = folder(out), time.perf_counter()
    rows, first = [], None
    for seed in settings.seeds:  # outermost, so that a run that is stopped has all groups
        for d in settings.components:
            for group in groups[: settings.max_groups]:
                progress(f"{group.name}, {d} dimensions, seed {seed}")
                row, shown = _one(group, count, d, seed, settings)
                rows.append(row)
                keep(out, settings, rows)
                first = first or shown
    results = {"runs": rows, "summary": {f"{d}d": _summary(rows, d) for d in settings.components}}
    progress("figures")
    sections = [_paired_section(rows, key) for key in ("f", "density")]
    if first is not None:
        sections.append(_map_section(*first))
    write(
        out,
        title,
        lead,
        sections,
        _choices(settings),
        settings,
        results,
        time.perf_counter() - since,
    )
    return results


def _one(group: Group, count: int, d: int, seed: int, settings: GroupSettings):
    """Choose σ and ρ by cross-validation on training points, fit on them, score on test points."""
    features = reduced(group.X, d, settings.features)
    order = np.random.default_rng(seed).permutation(len(features))
    if len(order) < settings.train + count:
        raise ValueError(
            f"{group.name} has {len(order)} points, too few for {settings.train} and a test"
        )
    fit, test = order[: settings.train], order[settings.train :][: settings.test]
    train = features[fit]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # wide metrics are among the candidates
        sigma = settings.width * lf.auto_sigma(train)
        chosen = choose(
            train,
            count,
            sigmas=[sigma],
            rhos=np.array(settings.bounds) * lf.auto_rho(train, sigma),
            key=jax.random.key(seed),
            n_folds=settings.folds,
            n_directions=settings.n_directions,
            rule=settings.rule,
        )
    fits = fit_all(train, count, chosen, n_directions=settings.n_directions, seed=seed, tol=5e-3)
    scores = score_all(fits, features[test], group.y[test])
    row = {
        "group": group.name,
        "dimensions": d,
        "seed": seed,
        "metric": {name: described(train, found) for name, found in chosen.items()},
        "density": scores.density,
        "f": scores.f,
        "failed": scores.failed,
    }
    return row, (features[test], group.y[test], fits)


def reduced(X, d: int, kind: Features) -> np.ndarray:
    """Features by principal components or non-negative factors, of mean square one together.

    The factors are of the data above their minima.
    """
    if kind == "pca":
        features = PCA(d, random_state=0).fit_transform(X)
    else:
        factors = NMF(d, init="nndsvda", tol=1e-3, max_iter=2000, random_state=0)
        features = factors.fit_transform(X - X.min(axis=0))
    return (features - features.mean(axis=0)) / features.std(axis=0).mean()


def _summary(rows, d) -> dict[str, Any]:
    """Means over groups, the standard deviation between them, and in how many LAND is best."""
    some = [row for row in rows if row["dimensions"] == d]
    names = list(dict.fromkeys(row["group"] for row in some))
    out: dict[str, Any] = {"groups": float(len(names))}
    for key in ("f", "density"):
        table = {
            m: np.array([np.mean([r[key][m] for r in some if r["group"] == g]) for g in names])
            for m in METHODS
        }
        for method, values in table.items():
            out[f"{key} {NAMES[method]}"] = float(values.mean())
            out[f"{key} {NAMES[method]} sd"] = float(values.std(ddof=min(1, len(values) - 1)))
        others = np.maximum(table["gaussian"], table["least_squares"])
        out[f"{key} groups in which LAND is best"] = float(np.sum(table["land"] > others))
    return out


def _paired_section(rows, key: str) -> Section:
    names = list(dict.fromkeys((row["group"], row["dimensions"]) for row in rows))
    fig, (ax,) = plotting.figure(width=6.8, height=0.45 * len(names) + 1.3)
    wins = 0
    with plotting.style():
        for i, name in enumerate(names):
            some = [row[key] for row in rows if (row["group"], row["dimensions"]) == name]
            base = np.mean([r["gaussian"] for r in some]) if key == "density" else 0.0
            means = {m: np.mean([r[m] for r in some]) for m in METHODS}
            wins += means["land"] > max(means["gaussian"], means["least_squares"])
            for k, method in enumerate(METHODS):
                values = np.array([r[method] for r in some]) - base
                label = NAMES[method] if i == 0 else None
                place = np.full(len(values), i + 0.18 * (k - 1))
                ax.scatter(values, place, s=22, c=COLORS[method], label=label, linewidths=0)
        ax.set_yticks(range(len(names)), [f"{g}, {d}-D" for g, d in names])
        ax.invert_yaxis()
        ax.set_xlabel(
            "F-measure of the components"
            if key == "f"
            else "held-out log-density per point, minus the Gaussian mixture's (nats)"
        )
        ax.legend(loc="best")
    titles = {"f": "Components against classes", "density": "Held-out log-density"}
    see = {
        "f": "Test points go to their most probable component; components are matched to classes "
        "by the best F1. Every dot is a seed.",
        "density": "How well each mixture predicts the test points. Every dot is a seed.",
    }
    return Section(
        key,
        titles[key],
        see[key],
        f"{wins} of {len(names)}",
        "rows in which LAND's mean over seeds is above both others",
        plotting.png_bytes(fig),
    )


def _map_section(X, y, fits) -> Section:
    fig, axes = plotting.figure(2, width=7.2, height=3.4)
    plotting.points(axes[0], X[:, :2], y, size=7)
    axes[0].set_title("classes")
    if fits.land is not None:
        share = np.asarray(fits.land.responsibilities(X, throw=False))
        lost = np.isnan(share).all(axis=1)
        parts = np.where(lost, -1, np.nan_to_num(share, nan=-1.0).argmax(axis=1))
        plotting.points(axes[1], X[:, :2], parts, size=7)
    axes[1].set_title("components of LAND")
    for ax in axes:
        ax.set_xlabel("first principal component")
    return Section(
        "map",
        "The first run, in two of its dimensions",
        "Test points by class and by their most probable component.",
        f"{len(X)}",
        "test points",
        plotting.png_bytes(fig),
    )


_SLEEP = (
    "Thirty-second epochs of sleep, described by the powers of the EEG in five bands on two "
    "channels, their variance and mobility, standardised in each night and reduced to few features "
    "without labels. Mixtures of three components are compared with the stages awake, "
    "non-REM and REM that experts scored."
)
_MOTION = (
    "Poses of a person who walks and runs, by the positions of 31 joints with the heading removed, "
    "reduced by principal components. Mixtures of two components are compared with the two "
    "movements."
)
_CHOICES = (
    "Classes score the components; nothing was fitted or chosen with them.",
    "In every group {s.train} points train and up to {s.test} others are scored; they are drawn at "
    "random, so neighbors in time are in both. σ and ρ are chosen on the training points alone by "
    "{s.folds}-fold cross-validation of the likelihood, for LAND and for least squares apart: σ is "
    "{s.width:g} times the rule's, and ρ goes down from a flat metric, {bounds} times the rule's, "
    "to where held-out points say that it is too rough: {rule}.",
    "Features: {components} {features} fitted without labels, scaled by one "
    "number. Principal components are the default since they keep most of the variance.",
    "The Gaussian mixture is the best of five starts of each of three kinds.",
    "All numbers of all groups and seeds are in results.json, also where LAND loses.",
)


def _choices(settings: GroupSettings) -> list[str]:
    words = {
        "bounds": " or ".join(f"{b:g}" for b in settings.bounds),
        "components": " or ".join(map(str, settings.components)),
        "rule": RULE_WORDS[settings.rule],
        "features": {"pca": "principal components", "nmf": "non-negative factors"}[
            settings.features
        ],
    }
    return [choice.format(s=settings, **words) for choice in _CHOICES]
