"""The Riemannian geometry that data and generative models induce.

A **metric** is a function from a point to a symmetric positive-definite matrix, a **curve** is a
function of t in [0, 1], and a **solver** turns a metric and boundary data into a curve and status.
Everything else (exp, log, means, distributions, walks, clustering) calls those three.
"""

__version__ = "0.1.0"

from landform._core import interrupts as _interrupts  # noqa: F401  (before all else)

# isort: split
from landform import datasets as datasets
from landform._core import display as _display
from landform._core.status import (
    ConvergenceError as ConvergenceError,
    MetricError as MetricError,
    Status as Status,
)
from landform.geodesics.curve import (
    AbstractCurve as AbstractCurve,
    PolynomialCurve as PolynomialCurve,
    curve_energy as curve_energy,
    curve_length as curve_length,
)
from landform.geodesics.distances import (
    GraphDistances as GraphDistances,
    graph_distances as graph_distances,
    pairwise_distances as pairwise_distances,
)
from landform.geodesics.exponential import exp as exp, geodesic_ivp as geodesic_ivp
from landform.geodesics.frechet import (
    FrechetMean as FrechetMean,
    fit_frechet_mean as fit_frechet_mean,
    frechet_mean as frechet_mean,
)
from landform.geodesics.free_ends import (
    FreeGeodesic as FreeGeodesic,
    free_geodesic as free_geodesic,
)
from landform.geodesics.geodesic import (
    Geodesic as Geodesic,
    distance as distance,
    geodesic as geodesic,
    log as log,
)
from landform.geodesics.jacobi import (
    JacobiField as JacobiField,
    exp_differential as exp_differential,
    jacobi_field as jacobi_field,
)
from landform.geodesics.random_length import (
    RandomLength as RandomLength,
    expected_speed as expected_speed,
    metric_variance as metric_variance,
    random_length as random_length,
    sample_lengths as sample_lengths,
)
from landform.geodesics.transport import parallel_transport as parallel_transport
from landform.interop import from_callable as from_callable, from_torch as from_torch
from landform.io import (
    describe_file as describe_file,
    load as load,
    register_class as register_class,
    save as save,
)
from landform.metrics import families as families
from landform.metrics.ambient import (
    AmbientPullback as AmbientPullback,
    ProductMetric as ProductMetric,
)
from landform.metrics.analytic import (
    Euclidean as Euclidean,
    PoincareHalfPlane as PoincareHalfPlane,
    StereographicSphere as StereographicSphere,
)
from landform.metrics.base import (
    AbstractMetric as AbstractMetric,
    ScaledMetric as ScaledMetric,
    SumMetric as SumMetric,
    log_volume as log_volume,
    metric_tensor as metric_tensor,
    volume as volume,
)
from landform.metrics.conformal import ConformalMetric as ConformalMetric
from landform.metrics.curvature import (
    christoffel as christoffel,
    gaussian_curvature as gaussian_curvature,
    riemann_curvature as riemann_curvature,
    scalar_curvature as scalar_curvature,
    sectional_curvature as sectional_curvature,
)
from landform.metrics.ensemble import EnsemblePullback as EnsemblePullback
from landform.metrics.fisher import (
    FisherRaoPullback as FisherRaoPullback,
    supervised_metric as supervised_metric,
)
from landform.metrics.local_variance import LocalVariance as LocalVariance
from landform.metrics.pullback import ExpectedPullback as ExpectedPullback, Pullback as Pullback
from landform.metrics.rbf import RBFMetric as RBFMetric
from landform.metrics.tabulated import Tabulated as Tabulated
from landform.models import (
    VAE as VAE,
    BlendedDecoder as BlendedDecoder,
    Calibration as Calibration,
    GaussianProcessDecoder as GaussianProcessDecoder,
    GaussianProcessMetric as GaussianProcessMetric,
    GeodesicInterpolant as GeodesicInterpolant,
    InterpolantGap as InterpolantGap,
    MarginalLikelihood as MarginalLikelihood,
    RBFPrecision as RBFPrecision,
    Training as Training,
    calibration as calibration,
    elbo as elbo,
    fit_variance as fit_variance,
    log_marginal_likelihood as log_marginal_likelihood,
    train_gplvm as train_gplvm,
    train_interpolant as train_interpolant,
    train_vae as train_vae,
)
from landform.models.rbf_metric import fit_rbf_metric as fit_rbf_metric
from landform.solvers.base import (
    AbstractSolver as AbstractSolver,
    Request as Request,
    Solution as Solution,
)
from landform.solvers.boundary_value import EnergySolver as EnergySolver
from landform.solvers.eikonal import EikonalSolver as EikonalSolver
from landform.solvers.ivp import AdaptiveIVP as AdaptiveIVP, FixedStepIVP as FixedStepIVP
from landform.solvers.routes import GraphSolver as GraphSolver
from landform.solvers.shooting import ShootingSolver as ShootingSolver
from landform.stats.brownian import brownian_motion as brownian_motion, random_walk as random_walk
from landform.stats.clustering.kmeans import (
    KMeansResult as KMeansResult,
    geodesic_kmeans as geodesic_kmeans,
)
from landform.stats.clustering.kmedoids import (
    KMedoidsResult as KMedoidsResult,
    geodesic_kmedoids as geodesic_kmedoids,
    kmedoids as kmedoids,
)
from landform.stats.clustering.scores import f_measure as f_measure
from landform.stats.clustering.spectral import (
    SpectralClusters as SpectralClusters,
    geodesic_spectral as geodesic_spectral,
    spectral_clusters as spectral_clusters,
)
from landform.stats.land.bandwidth import auto_rho as auto_rho, auto_sigma as auto_sigma
from landform.stats.land.bandwidth_cv import Bandwidth as Bandwidth, cv_bandwidth as cv_bandwidth
from landform.stats.land.density import LAND as LAND
from landform.stats.land.fit import fit_land as fit_land
from landform.stats.land.least_squares import fit_least_squares as fit_least_squares
from landform.stats.land.mixture import (
    LANDMixtureModel as LANDMixtureModel,
    fit_land_mixture as fit_land_mixture,
)
from landform.stats.retraining import (
    RetrainingReport as RetrainingReport,
    retraining_report as retraining_report,
)


def __getattr__(name: str):
    if name != "plotting":
        raise AttributeError(f"module 'landform' has no attribute {name!r}")
    import landform.plotting  # on first use, with Matplotlib

    return landform.plotting


def __dir__():
    return sorted({*globals(), "plotting"})


def _draw(picture):
    from landform.plotting.preview import preview

    return preview(picture)


_display.draw_with(_draw)
