"""The demonstration from data to page: measure, draw, write."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from landform.demo import figures, measure
from landform.demo.model import Model, train
from landform.demo.page import Section, folder, render, write_page
from landform.demo.settings import Sample, Settings
from landform.demo.words import CHOICES, LEAD, section
from landform.io import save
from landform.plotting import png_bytes

STEPS = (
    "training",
    "magnification",
    "deviation",
    "interpolation",
    "distances",
    "clusters",
    "mixtures",
    "walks",
    "writing",
)


def run_demo(
    sample: Sample,
    settings: Settings,
    out: Path,
    *,
    progress: Callable[[str], None] = print,
    study: bool = False,
) -> dict[str, float]:
    """Run every part, write the page, its figures, ``results.json`` and the model into a folder.

    Parameters
    ----------
    sample, settings
        The data and what to compute.
    out
        Folder; made where it does not exist.
    progress
        Called with the name of each of `STEPS` as it begins.
    study
        Whether to add k-means over several digit triples and seeds, which takes minutes.

    Returns
    -------
    All numbers, by name.
    """
    out = folder(out)
    clock = _Clock(progress)
    clock("training")
    model = train(sample, settings)
    results, pngs = _measure(model, sample, settings, clock)
    if study:
        from landform.demo.study import run_study

        clock("study")
        numbers, arrays = run_study(settings, progress=progress)
        results |= numbers
        pngs["study"] = png_bytes(figures.study(arrays))
    clock("writing")
    save(
        out / "vae.landform",
        model.generator.vae,
        metadata={"data": sample.name, "seed": settings.seed},
    )
    save(out / "metric.landform", model.generator.table)
    clock.stop()
    results |= {f"seconds_{name}": seconds for name, seconds in clock.seconds.items()}
    results["seconds_total"] = sum(clock.seconds.values())
    _write(out, sample, settings, results, pngs)
    return results


def _measure(model: Model, sample: Sample, settings: Settings, clock):
    """Numbers of all sections, and their figures as PNGs."""
    generator = model.generator
    results: dict[str, float] = {
        "points": float(len(sample.X)),
        "table_error_median": generator.table_error[0],
        "table_error_99": generator.table_error[1],
    }
    pngs: dict[str, bytes] = {}

    def add(key, measured, draw):
        numbers, arrays = measured
        results.update(numbers)
        pngs[key] = png_bytes(draw(arrays))
        return arrays

    clock("clusters")
    grouped = measure.clusters(model.smooth, generator.codes, sample, settings)
    labels = grouped[1]["riemannian"] if sample.y is None else sample.y
    clock("magnification")
    background = add(
        "magnification",
        measure.magnification(generator, settings),
        lambda a: figures.magnification(a, generator, labels),
    )
    clock("deviation")
    add("deviation", measure.deviation(generator, model.network), figures.deviation)
    clock("interpolation")
    add(
        "interpolation",
        measure.interpolation(generator, settings),
        lambda a: figures.interpolation(a, generator, background),
    )
    clock("distances")
    add("distances", measure.distances(generator, labels, settings), figures.distances)
    add("clusters", grouped, lambda a: figures.clusters(a, generator, sample.y))
    clock("mixtures")
    add(
        "mixtures",
        measure.mixtures(generator, sample, settings),
        lambda a: figures.mixtures(a, generator),
    )
    clock("walks")
    add("walks", measure.walks(generator, settings), lambda a: figures.walks(a, generator))
    return results, pngs


def _write(out: Path, sample, settings, results, pngs) -> None:
    sections = [Section(key, *section(key, results), png) for key, png in pngs.items()]
    page = render(
        "The shape of a latent space",
        LEAD.format(
            count=len(sample.X), name=sample.name, shape=" × ".join(map(str, sample.X.shape[1:]))
        ),
        sections,
        [text.format(**dataclasses.asdict(settings), **results) for text in CHOICES],
        results,
        f"Written by landform in {results['seconds_total']:.0f} seconds; seed {settings.seed}.",
    )
    described = {"settings": dataclasses.asdict(settings), "data": sample.name, "numbers": results}
    write_page(out, page, sections, described)


class _Clock:
    """Seconds spent in each step."""

    def __init__(self, progress):
        self.seconds: dict[str, float] = {}
        self._progress, self._name, self._since = progress, "", time.perf_counter()

    def __call__(self, name: str) -> None:
        self.stop()
        self._progress(name)
        self._name, self._since = name, time.perf_counter()

    def stop(self) -> None:
        if self._name:
            spent = time.perf_counter() - self._since
            self.seconds[self._name] = self.seconds.get(self._name, 0.0) + spent
        self._name = ""
