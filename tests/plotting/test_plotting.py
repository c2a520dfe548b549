"""Figures: what is drawn is what was given, without a display or global state."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest

import landform as lf
from landform import plotting


@pytest.fixture
def ax():
    return plotting.figure(1)[1][0]


def test_figures_need_no_pyplot_and_change_no_settings(tmp_path):
    code = (
        "import sys, matplotlib as mpl; before = dict(mpl.rcParams); "
        "from landform import plotting; fig, (ax,) = plotting.figure(1); "
        "plotting.points(ax, [[0, 1], [1, 0]], [0, 1], legend=True); "
        "plotting.save_figure(fig, sys.argv[1]); "
        "print('matplotlib.pyplot' in sys.modules, dict(mpl.rcParams) == before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "f.png")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "True"]
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_the_settings_of_a_user_are_left_alone(ax):
    with mpl.rc_context({"font.size": 31.0}):
        plotting.latent_axes(ax, (0, 1, 0, 1), title="t")
        assert mpl.rcParams["font.size"] == 31.0
    assert ax.title.get_fontsize() == pytest.approx(10.0)


def test_a_grid_covers_its_rectangle_with_rows_from_the_bottom():
    points, extent = plotting.grid([0.0, -1.0], [2.0, 3.0], size=5)
    assert points.shape == (5, 5, 2)
    assert extent == (0.0, 2.0, -1.0, 3.0)
    np.testing.assert_array_equal(points[0, 0], [0.0, -1.0])
    np.testing.assert_array_equal(points[-1, 0], [0.0, 3.0])


def test_bounds_are_a_square_that_holds_all_points(rng):
    Z = rng.normal(size=(40, 2)) * [1.0, 5.0]
    low, high = plotting.bounds(Z)
    assert np.all(low < Z)
    assert np.all(high > Z)
    assert np.ptp(high - low) < 1e-12
    low, high = plotting.bounds(np.zeros((3, 2)))
    assert (high > low).all()


def test_a_field_is_drawn_with_its_limits(ax):
    image = plotting.field(ax, (0, 1, 0, 1), np.arange(9.0).reshape(3, 3), limits=(1.0, 7.0))
    assert image.get_clim() == (1.0, 7.0)
    np.testing.assert_array_equal(image.get_array(), np.arange(9.0).reshape(3, 3))


def test_limits_come_from_what_is_finite(ax):
    values = np.arange(101.0)[:, None] * np.ones(101)
    values[0, 0], values[-1, -1], values[1, 1] = -np.inf, np.inf, np.nan
    assert plotting.field(ax, (0, 1, 0, 1), values).get_clim() == pytest.approx((1.0, 99.0))
    plotting.distance_matrix(ax, values)
    assert ax.images[-1].get_clim() == pytest.approx((0.0, 99.0))
    with pytest.raises(ValueError, match="values must have a finite entry"):
        plotting.field(ax, (0, 1, 0, 1), np.full((3, 3), np.nan))


def test_classes_differ_in_colour_and_in_marker(ax, rng):
    drawn = plotting.points(ax, rng.normal(size=(30, 2)), np.arange(30) % 10)
    colours = {tuple(d.get_facecolor()[0]) for d in drawn}
    shapes = {d.get_paths()[0].vertices.tobytes() for d in drawn}
    assert len(drawn) == len(colours) == len(shapes) == 10


def colours(drawn):
    return [mpl.colors.to_hex(d.get_facecolor()[0]) for d in drawn]


def test_an_integer_class_has_one_colour_in_every_figure(ax):
    def drawn(*labels):
        return colours(plotting.points(ax, np.zeros((len(labels), 2)), labels))

    assert drawn(1, 2) == drawn(0, 1, 2)[1:] == list(plotting.PALETTE[1:3])
    assert drawn(-1, 1) == ["#c4c4c4", plotting.PALETTE[1]]
    for others in [(-1, 0, 10), (-1, 1990, 2000)]:
        assert drawn(*others) == ["#c4c4c4", *plotting.PALETTE[:2]]
    for others in ["ab", (-5, -1 + 0.5), (0.0, 1.0), (False, True), (-2, 4)]:
        assert drawn(*others) == list(plotting.PALETTE[:2])
    assert drawn(*range(12))[10:] == list(plotting.PALETTE[:2])


def test_the_palette_keeps_apart_in_lightness_or_hue():
    colours = np.array([mpl.colors.to_rgb(c) for c in plotting.PALETTE])
    gaps = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    assert gaps[~np.eye(10, dtype=bool)].min() > 0.15


def test_the_colour_map_falls_evenly_in_lightness():
    rgb = plotting.FIELD(np.linspace(0, 1, 20))[:, :3]
    light = rgb @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) < 0).all()


def test_geometries_are_told_apart_without_colour(ax):
    path = np.linspace([0, 0], [1, 1], 5)
    plotting.curves(ax, path, kind="riemannian", ends=False)
    plotting.curves(ax, np.stack([path, path]), kind="euclidean")
    styles = [line.get_linestyle() for line in ax.lines]
    assert styles == ["-", "--", "--"]


def test_another_kind_of_curve_is_refused(ax):
    path = np.linspace([0, 0], [1, 1], 5)
    for draw in (plotting.curves, plotting.walk):
        with pytest.raises(ValueError, match="kind must be one of riemannian, euclidean, got"):
            draw(ax, path, kind="Riemannian")


@pytest.mark.parametrize(("dtype", "white"), [(float, 1.0), (np.uint8, 255)])
def test_the_gap_between_coloured_images_is_white(ax, dtype, white):
    image = plotting.strip(ax, np.zeros((2, 3, 4, 3), dtype), gap=2).get_array()
    assert image.shape == (3, 10, 3)
    assert (image[:, 4:6] == white).all()
    assert (image[:, :4] == 0).all()


def test_a_strip_has_one_frame_for_each_image(ax):
    images = np.zeros((4, 3, 5)) + np.arange(4.0)[:, None, None] / 4
    image = plotting.strip(ax, images, gap=2)
    assert image.get_array().shape == (3, 4 * 5 + 3 * 2)
    assert plotting.strip(ax, images[..., None], gap=0).get_array().shape == (3, 20)


def test_a_matrix_is_sorted_by_class(ax):
    labels = np.array([1, 0, 1, 0])
    D = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
    order = plotting.distance_matrix(ax, D, labels, names=("a", "b"))
    np.testing.assert_array_equal(order, [1, 3, 0, 2])
    np.testing.assert_array_equal(ax.images[0].get_array(), D[np.ix_(order, order)])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b"]


def test_density_regions_hold_the_shares_of_the_mass(ax):
    points, extent = plotting.grid([-4, -4], [4, 4], size=161)
    log_density = -0.5 * np.sum(points**2, axis=-1)
    levels = plotting.density(ax, extent, log_density, shares=(0.9, 0.5))
    # A share s of a normal law of the plane lies where its density exceeds (1 − s) of the peak.
    np.testing.assert_allclose(levels, [0.1, 0.5], rtol=0.02)


def test_a_density_with_holes_is_drawn(ax):
    points, extent = plotting.grid([-4, -4], [4, 4], size=31)
    log_density = -0.5 * np.sum(points**2, axis=-1)
    log_density[:5] = np.nan
    assert np.isfinite(plotting.density(ax, extent, log_density)).all()


def test_a_density_without_a_finite_value_is_refused(ax):
    for wrong in (np.nan, -np.inf):
        with pytest.raises(ValueError, match="log_density must have a finite entry"):
            plotting.density(ax, (0, 1, 0, 1), np.full((3, 3), wrong))
    with pytest.raises(ValueError, match="log_density must be less than infinity"):
        plotting.density(ax, (0, 1, 0, 1), [[0.0, np.inf], [0.0, 0.0]])


def test_steps_outside_the_support_are_hollow(ax):
    path = np.linspace([0, 0], [1, 1], 10)
    plotting.walk(ax, path, inside=np.arange(10) < 7)
    assert len(ax.collections[0].get_offsets()) == 7
    assert len(ax.collections[1].get_offsets()) == 3
    assert len(ax.collections[1].get_facecolor()) == 0


def test_profiles_take_a_logarithmic_scale_where_it_is_needed(ax):
    x = np.linspace(0, 1, 5)
    band = np.stack([np.full(5, 0.5), np.ones(5), np.full(5, 2.0)])
    plotting.profiles(ax, x, {"a": band, "b": np.full(5, 1.5)}, xlabel="x", ylabel="y")
    assert ax.get_yscale() == "linear"
    plotting.profiles(ax, x, {"c": 10.0 ** (4 * x)}, xlabel="x", ylabel="y")
    assert ax.get_yscale() == "log"


def test_every_line_is_drawn_and_looks_different(ax):
    lines = {f"line {i}": np.full(5, float(i)) for i in range(11)}
    plotting.profiles(ax, np.arange(5.0), lines, xlabel="x", ylabel="y")
    assert [line.get_label() for line in ax.lines] == list(lines)
    assert len({line.get_color() for line in ax.lines}) == 11
    with pytest.raises(ValueError, match="lines must be at most 11"):
        plotting.profiles(
            ax, np.arange(5.0), lines | {"one more": np.ones(5)}, xlabel="", ylabel=""
        )


def test_calibration_draws_every_model(ax):
    fit = lf.Calibration(np.array([0.1, 1.0]), np.array([0.2, 0.9]), np.ones((2, 3)), 0.4)
    exact = fit._replace(observed=np.zeros(2))
    names = ["one", "two", "three", "four", "no residuals"]
    plotting.calibration(ax, dict.fromkeys(names[:4], fit) | {names[4]: exact})
    assert [line.get_label() for line in ax.lines[:5]] == names
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[0.1, 0.2], [1.0, 0.9]])
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert ax.get_xlim() == ax.get_ylim() == pytest.approx((0.07, 1.4))


def test_pairs_show_every_seed_and_the_mean(ax):
    before, after = np.array([[0.5, 0.7], [0.6, 0.6]]), np.array([[0.8, 0.9], [0.5, 0.7]])
    plotting.paired(ax, ["a", "b"], before, after, xlabel="F", ceiling=[0.95, 0.9])
    means = [c.get_offsets()[0, 0] for c in ax.collections if len(c.get_offsets()) == 1]
    np.testing.assert_allclose(means, [0.6, 0.85, 0.6, 0.6])
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_the_map_of_magnification_is_the_logarithm_of_the_volume(ax):
    low, high = [-1.0, 1.0], [1.0, 3.0]
    values = plotting.magnification_map(ax, lf.PoincareHalfPlane(), low, high, size=7)
    height = np.linspace(1.0, 3.0, 7)[:, None] * np.ones((1, 7))
    np.testing.assert_allclose(values, -2.0 * np.log10(height), atol=1e-12)
    image = ax.images[0]
    np.testing.assert_array_equal(image.get_array(), values)
    assert image.get_extent() == [-1.0, 1.0, 1.0, 3.0]
    assert len(ax.figure.axes) == 2


def test_the_map_of_curvature_has_its_sign_and_is_white_where_it_vanishes(ax):
    low, high = [-1.0, 1.0], [1.0, 3.0]
    bent = plotting.curvature_map(ax, lf.PoincareHalfPlane(), low, high, size=4, threshold=0.1)
    np.testing.assert_allclose(bent, -1.0, atol=1e-9)
    image = ax.images[0]
    assert image.norm(-1.0) == 0.0
    assert image.norm(0.0) == 0.5
    round_ = plotting.curvature_map(ax, lf.StereographicSphere(2), low, high, size=4, bar=False)
    np.testing.assert_allclose(round_, 1.0, atol=1e-9)
    flat = plotting.curvature_map(ax, lf.Euclidean(2), low, high, size=4)
    assert (flat == 0.0).all()
    with pytest.raises(ValueError, match="threshold"):
        plotting.curvature_map(ax, lf.Euclidean(2), low, high, size=2, threshold=0.0)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_grey_images_of_integers_have_their_greys(ax, dtype):
    ramp = np.tile(np.arange(0, 256, 51, dtype=dtype), (2, 3, 1))
    assert plotting.strip(ax, ramp).get_clim() == (0, 255)
    assert plotting.strip(ax, ramp // 255).get_clim() == (0, 1)
    assert plotting.strip(ax, ramp, limits=(0, 300)).get_clim() == (0, 300)


def test_shares_of_a_density_may_come_in_any_order(ax):
    x = np.linspace(-3, 3, 41)
    values = -0.5 * np.add.outer(x**2, x**2)
    levels = [
        plotting.density(ax, (-3, 3, -3, 3), values, shares=s) for s in [(0.2, 0.9), (0.9, 0.2)]
    ]
    np.testing.assert_array_equal(*levels)
    assert levels[0][1] > 2.0 * levels[0][0]
    with pytest.raises(ValueError, match="shares must lie between 0 and 1"):
        plotting.density(ax, (-3, 3, -3, 3), values, shares=(95.0, 50.0))


def test_steps_inside_may_be_told_by_zeros_and_ones(ax, rng):
    path, inside = rng.normal(size=(6, 2)), np.array([1, 0, 0, 1, 1, 0])
    plotting.walk(ax, path, inside=inside)
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), path[inside == 1])
    np.testing.assert_array_equal(ax.collections[1].get_offsets(), path[inside == 0])


def test_points_without_a_class_are_drawn(ax, rng):
    Z, labels = rng.normal(size=(5, 2)), np.array([1.0, np.nan, 2.0, np.nan, 1.0])
    lost = plotting.points(ax, Z, labels)[-1]
    np.testing.assert_array_equal(lost.get_offsets(), Z[[1, 3]])
    grey = plotting.points(ax, Z, [-1, 0, 0, 0, 0])[0]
    np.testing.assert_array_equal(lost.get_facecolor(), grey.get_facecolor())


def test_lines_with_holes_still_choose_their_scale(ax):
    values = np.array([1.0, np.nan, 1e6])
    plotting.profiles(ax, np.arange(3), {"a": values}, xlabel="x", ylabel="y")
    assert ax.get_yscale() == "log"


def test_what_does_not_fit_is_refused_and_not_cut(ax, rng):
    Z, D = rng.normal(size=(6, 2)), np.ones((6, 6))
    kinds = np.arange(6) % 3
    for draw, message in [
        (lambda: plotting.points(ax, rng.normal(size=(6, 3))), r"Z must have shape \(n, 2\)"),
        (lambda: plotting.points(ax, Z, kinds[:, None]), "labels must have one entry for each"),
        (lambda: plotting.points(ax, Z, kinds, names=list("abcd")), "each of the 3 classes"),
        (lambda: plotting.curves(ax, rng.normal(size=(6, 3))), "paths must have shape"),
        (lambda: plotting.walk(ax, Z[None]), "path must have shape"),
        (lambda: plotting.walk(ax, Z, inside=[True]), "each of the 6 steps"),
        (lambda: plotting.distance_matrix(ax, D, kinds[:4]), "each of the 6 rows"),
        (lambda: plotting.distance_matrix(ax, D[:, :3]), r"D must have shape \(n, n\)"),
        (lambda: plotting.paired(ax, "ab", [1, 2], [3, 4], xlabel="x"), "each of the 2 names"),
    ]:
        with pytest.raises(ValueError, match=message):
            draw()
    assert not ax.collections
