"""The Riemannian geometry that data and generative models induce.

A **metric** is a function from a point to a symmetric positive-definite matrix, a **curve** is a
function of t in [0, 1], and a **solver** turns a metric and boundary data into a curve and status.
Everything else (exp, log, means, distributions, walks, clustering) calls those three.
"""

__version__ = "0.1.0"

from landform import _program as _program

# isort: split
from landform import datasets as datasets
from landform._curvature import (
    gaussian_curvature as gaussian_curvature,
    riemann_curvature as riemann_curvature,
    scalar_curvature as scalar_curvature,
    sectional_curvature as sectional_curvature,
)
from landform._curve import (
    AbstractCurve as AbstractCurve,
    PolynomialCurve as PolynomialCurve,
    curve_energy as curve_energy,
    curve_length as curve_length,
)
from landform._distances import (
    GraphDistances as GraphDistances,
    graph_distances as graph_distances,
    pairwise_distances as pairwise_distances,
)
from landform._exp import exp as exp, shoot as shoot
from landform._geodesic import (
    Geodesic as Geodesic,
    distance as distance,
    geodesic as geodesic,
    log as log,
)
from landform._jacobi import (
    JacobiField as JacobiField,
    exp_differential as exp_differential,
    jacobi_field as jacobi_field,
)
from landform._means import (
    Barycenter as Barycenter,
    barycenter as barycenter,
    frechet_mean as frechet_mean,
)
from landform._metric import (
    AbstractMetric as AbstractMetric,
    christoffel as christoffel,
    log_volume as log_volume,
    metric_tensor as metric_tensor,
    volume as volume,
)
from landform._results import (
    ConvergenceError as ConvergenceError,
    MetricError as MetricError,
    Status as Status,
)
from landform._submanifolds import (
    FreeGeodesic as FreeGeodesic,
    geodesic_between as geodesic_between,
)
from landform._transport import parallel_transport as parallel_transport
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
from landform.metrics.compose import ScaledMetric as ScaledMetric, SumMetric as SumMetric
from landform.metrics.conformal import ConformalMetric as ConformalMetric
from landform.metrics.ensemble import EnsemblePullback as EnsemblePullback
from landform.metrics.fisher import (
    FisherRaoPullback as FisherRaoPullback,
    supervised_metric as supervised_metric,
)
from landform.metrics.local import LocalVariance as LocalVariance
from landform.metrics.pullback import ExpectedPullback as ExpectedPullback, Pullback as Pullback
from landform.metrics.radial import RBFMetric as RBFMetric
from landform.metrics.stochastic import (
    RandomLength as RandomLength,
    expected_speed as expected_speed,
    metric_variance as metric_variance,
    random_length as random_length,
    sample_lengths as sample_lengths,
)
from landform.metrics.tabulated import Tabulated as Tabulated
from landform.models import (
    VAE as VAE,
    Calibration as Calibration,
    Extrapolation as Extrapolation,
    GaussianProcessDecoder as GaussianProcessDecoder,
    GaussianProcessMetric as GaussianProcessMetric,
    GeodesicInterpolant as GeodesicInterpolant,
    InterpolantGap as InterpolantGap,
    MarginalLikelihood as MarginalLikelihood,
    RBFPrecision as RBFPrecision,
    calibration as calibration,
    elbo as elbo,
    fit_variance as fit_variance,
    log_marginal_likelihood as log_marginal_likelihood,
    train_gplvm as train_gplvm,
    train_interpolant as train_interpolant,
    train_vae as train_vae,
)
from landform.solvers.ivp import AdaptiveIVP as AdaptiveIVP, FixedStepIVP as FixedStepIVP
from landform.solvers.policy import EnergySolver as EnergySolver
from landform.stats._fit import fit_land as fit_land
from landform.stats.bandwidth import auto_rho as auto_rho, auto_sigma as auto_sigma
from landform.stats.brownian import brownian_motion as brownian_motion, random_walk as random_walk
from landform.stats.kmeans import KMeans as KMeans, geodesic_kmeans as geodesic_kmeans
from landform.stats.kmedoids import (
    KMedoids as KMedoids,
    geodesic_kmedoids as geodesic_kmedoids,
    kmedoids as kmedoids,
)
from landform.stats.land import LAND as LAND
from landform.stats.least_squares import fit_least_squares as fit_least_squares
from landform.stats.mixture import (
    LANDMixtureModel as LANDMixtureModel,
    fit_land_mixture as fit_land_mixture,
)
from landform.stats.radial import fit_rbf_metric as fit_rbf_metric
from landform.stats.retraining import (
    RetrainingReport as RetrainingReport,
    retraining_report as retraining_report,
)
from landform.stats.scores import f_measure as f_measure
from landform.stats.selection import Bandwidth as Bandwidth, cv_bandwidth as cv_bandwidth
from landform.stats.spectral import (
    SpectralClusters as SpectralClusters,
    geodesic_spectral as geodesic_spectral,
    spectral_clusters as spectral_clusters,
)
