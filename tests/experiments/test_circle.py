"""The noisy circle: what its numbers measure, and that the experiment leaves a page."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

import landform as lf
from experiments.circle import (
    Circle,
    CircleSettings,
    Learned,
    arc_lengths,
    draw,
    hausdorff,
    measure,
    run_circle,
)

SMALL = CircleSettings(seeds=(0,), n=80, dim=60, pairs=20, epochs=100, num_centers=10, grid=16)


def ring(radius, count=4000):
    angle = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def test_the_hausdorff_distance_of_known_sets():
    larger = ring(3.4)
    assert hausdorff(larger, np.zeros(4000), 3.0, None) == pytest.approx(0.4, abs=1e-3)
    lifted = hausdorff(ring(3.0), np.full(4000, 0.3), 3.0, None)
    assert lifted == pytest.approx(0.3, abs=1e-3)
    half = ring(3.0)[:2001]  # the other half is missing: a quarter turn away
    assert hausdorff(half, np.zeros(2001), 3.0, None) == pytest.approx(3.0 * np.sqrt(2), abs=2e-2)
    chord = np.stack([np.linspace(3.0, -3.0, 2001), np.zeros(2001)], axis=1)
    ends = np.array([0.0, np.pi - 1e-9])
    assert hausdorff(chord, np.zeros(2001), 3.0, ends) == pytest.approx(3.0, abs=1e-2)


def test_an_arc_across_the_branch_cut_is_the_short_one():
    ends = np.array([np.pi - 0.2, -np.pi + 0.2])
    angle = np.pi + np.linspace(-0.2, 0.2, 500)
    arc = 2.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert hausdorff(arc, np.zeros(500), 2.0, ends) < 1e-2
    circle = Circle(arc, np.array([np.pi - 0.2, -np.pi + 0.2]), np.eye(2), 2.0)
    np.testing.assert_allclose(arc_lengths(circle, np.array([[0], [1]])), [0.8])


def test_data_have_the_radius_and_the_noise_asked_for():
    circle = draw(CircleSettings(dim=500, radius=3.0, noise=0.1), 0)
    clean = 3.0 * np.stack([np.cos(circle.angle), np.sin(circle.angle)], axis=1) @ circle.basis
    assert np.std(circle.X - clean) == pytest.approx(0.1, rel=0.02)


def test_a_generator_that_is_the_plane_has_chords_and_its_numbers_say_so():
    circle = draw(CircleSettings(n=100, dim=30, noise=1e-9), 0)
    basis = jnp.asarray(circle.basis)
    plane = Learned(
        lf.Pullback(lambda z: z @ basis), lambda z: z @ basis, circle.X @ circle.basis.T
    )
    pairs = np.stack([np.arange(50), np.arange(50, 100)])
    found = measure(plane, circle, pairs, 1e-6)
    gap = arc_lengths(circle, pairs) / circle.radius
    np.testing.assert_allclose(found.lengths, 2.0 * circle.radius * np.sin(gap / 2.0), rtol=1e-6)
    assert found.numbers["converged"] == 1.0
    deepest = circle.radius * (1.0 - np.cos(gap / 2.0)).max()
    assert found.numbers["hausdorff"] >= deepest - 1e-2
    assert found.numbers["through the hole"] == np.mean(np.cos(gap / 2.0) < 0.5)


@pytest.mark.slow
def test_the_experiment_writes_a_page_and_uncertain_generators_follow_the_arcs(tmp_path):
    results = run_circle(SMALL, tmp_path, progress=lambda text: None)
    stored = json.loads((tmp_path / "results.json").read_text())["results"]
    assert stored["rbf"]["correlation"] == results["rbf"]["correlation"]
    for name in ("rbf", "gp"):
        assert results[name]["correlation"]["mean"] > 0.98
        through = results[name]["through the hole"]["mean"]
        assert through < results["deterministic"]["through the hole"]["mean"]
    for name in ("deterministic", "network", "gp_likelihood"):
        assert results[name]["hausdorff"]["mean"] > 2.0
    assert "Hausdorff" in (tmp_path / "index.html").read_text()
    for name in ("lengths", "curves", "maps"):
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
