"""The texts of the report: what to see in each figure, and what its number means."""

LEAD = (
    "A variational autoencoder was trained on {count} images ({name}, {shape}) without their "
    "labels, and its latent plane measured with the metric that the generator induces. What is "
    "far for the generator is far on these maps: distances, paths, clusters, distributions and "
    "walks follow the data instead of the chart."
)

CHOICES = (
    "Labels color the figures and score the clusters; nothing was fitted or chosen with them.",
    "Generator: 2-D latent space, tanh layers {hidden}, trained by the held-out bound.",
    "Uncertainty: radial basis functions at {num_centers} k-means centers of the codes, one width "
    "for all, {width} times the mean distance of a code to its center. Layers, centers and width "
    "are those of a few tried, without labels, for which most geodesics between random codes are "
    "certified and more certain than straight lines. The held-out bound alone prefers a wider "
    "uncertainty, which k-means uses below (64 centers, twice their clusters' radius).",
    "The metric E[M] is tabulated on {table_size} × {table_size} points with cubic splines. Its "
    "relative error at the codes: {table_error_median:.1g} in the median, {table_error_99:.1g} at "
    "the 99th percentile.",
    "Standard deviations along curves are averaged by arc length of the metric, for geodesics and "
    "straight lines alike.",
    "All pairwise distances are shortest paths on a neighbor graph: upper bounds, in two "
    "dimensions a few percent too long. The geodesics of the figure are solved exactly.",
    "The support: latent points within {support_radius:.3g} of a code, twice the distance within "
    "which 99 % of the codes have another one. {walks} walks of {walk_steps} steps under each "
    "metric, with steps of one size at a typical code; each is made of {walk_substeps} of the "
    "Euler scheme, with fewer of them a walk now and then jumps across a ridge.",
    "The mixtures are fitted to {land_points} codes and scored on {land_points} others. LAND has "
    "its own metric there, the local variance of the codes, with widths chosen from them; both "
    "densities are drawn by narrow kernels on {draws} samples.",
)


def section(key: str, n: dict[str, float]) -> tuple[str, str, str, str]:
    """Title, sentence, number and meaning of one section."""
    return _SECTIONS[key](n)


def _magnification(n):
    return (
        "Codes over the magnification factor",
        "The codes lie in pale valleys, where the generator changes slowly; the dark ridges around "
        "them are where a small step in the plane is a large step in the images.",
        f"{n['magnification_ratio']:.0f} ×",
        "√det M on the ridges (95th percentile of the map) over its median at the codes",
    )


def _deviation(n):
    return (
        "The generator's uncertainty off the data",
        "Away from the data the radial basis functions let σ rise to its bound; the ordinary "
        "network extrapolates and stays as certain as on the data.",
        f"{n['rbf_std_ratio']:.0f} ×",
        "σ at three data radii over σ on the data; the ordinary network: "
        f"{n['network_std_ratio']:.1f} ×",
    )


def _interpolation(n):
    return (
        "A geodesic beside the straight line",
        "The geodesic bends around the dark gap that the straight line crosses: the pair that "
        "gains most among the distant ones. At the right every dot is a pair of codes, below the "
        "diagonal where the geodesic is more certain.",
        f"{100 * n['geodesics_with_lower_std']:.0f} %",
        "of random pairs have a lower mean σ along the geodesic than along the straight line "
        f"(means {n['mean_std_geodesic']:.3f} and {n['mean_std_straight']:.3f}), "
        f"{100 * n['geodesics_within_two_percent']:.0f} % one that is at most 2 % higher; "
        f"{100 * n['geodesics_converged']:.0f} % of the geodesics are certified",
    )


def _distances(n):
    return (
        "All pairwise distances, sorted by class",
        "Under the metric the blocks on the diagonal are paler against the rest: points of one "
        "class are close, others are far, even where the chart puts them side by side.",
        f"{100 * n['separation_riemannian']:.1f} %",
        "of the comparisons find two points of one class closer than two of different classes; "
        f"{100 * n['separation_euclidean']:.1f} % with Euclidean distances",
    )


def _clusters(n):
    title = "K-means under both distances"
    see = "Euclidean clusters are cut by straight borders, Riemannian ones follow the valleys."
    if "f_riemannian" not in n:
        return title, see, "—", "no classes are known, so there is no score"
    return (
        title,
        see,
        f"{100 * n['f_riemannian']:.1f} %",
        f"F-measure of the Riemannian clusters; {100 * n['f_euclidean']:.1f} % of the Euclidean "
        f"ones. A nearest neighbor that knows the labels reaches "
        f"{100 * n['nearest_neighbor_accuracy']:.1f} %",
    )


def _mixtures(n):
    return (
        "A LAND mixture beside a Gaussian mixture",
        "Gaussian components are ellipses, those of the locally adaptive normal distribution take "
        "the shape of the codes; below, images decoded from samples of each.",
        f"{n['log_density_land'] - n['log_density_gauss']:+.2f} nats",
        f"log-density per held-out point, LAND less the Gaussian mixture "
        f"({n['log_density_land']:.2f} and {n['log_density_gauss']:.2f}); "
        f"{100 * n['samples_in_support_land']:.0f} % of the samples are in the support, against "
        f"{100 * n['samples_in_support_gauss']:.0f} %",
    )


def _walks(n):
    return (
        "Brownian motion under both metrics",
        "With steps of one size at a typical code, the Euclidean walk leaves the data (hollow "
        "dots); the Riemannian one slows down on the ridges around them and does not get across.",
        f"{100 * n['walk_in_support_riemannian']:.1f} %",
        "of the steps under the metric stay in the support; "
        f"{100 * n['walk_in_support_euclidean']:.1f} % of the Euclidean ones",
    )


def _study(n):
    return (
        "K-means on five digit triples, three seeds each",
        "One dot a seed: blue Euclidean, orange Riemannian, joined at their means; the bar is the "
        "accuracy of a nearest neighbor that knows the labels.",
        f"{100 * (n['study_f_riemannian'] - n['study_f_euclidean']):+.1f} points",
        "mean change of the F-measure over all runs: "
        f"{100 * n['study_f_euclidean']:.1f} % to {100 * n['study_f_riemannian']:.1f} %",
    )


_SECTIONS = {
    "magnification": _magnification,
    "deviation": _deviation,
    "interpolation": _interpolation,
    "distances": _distances,
    "clusters": _clusters,
    "mixtures": _mixtures,
    "walks": _walks,
    "study": _study,
}
