"""Variational autoencoders, and decoders whose uncertainty grows off the data."""

from landform.models.amortize import train_interpolant as train_interpolant
from landform.models.blended import BlendedDecoder as BlendedDecoder
from landform.models.calibration import Calibration as Calibration, calibration as calibration
from landform.models.gaussian_process import (
    GaussianProcessDecoder as GaussianProcessDecoder,
    GaussianProcessMetric as GaussianProcessMetric,
)
from landform.models.gplvm import train_gplvm as train_gplvm
from landform.models.interpolant import (
    GeodesicInterpolant as GeodesicInterpolant,
    InterpolantGap as InterpolantGap,
)
from landform.models.likelihood import (
    MarginalLikelihood as MarginalLikelihood,
    elbo as elbo,
    log_marginal_likelihood as log_marginal_likelihood,
)
from landform.models.networks import MLP as MLP, ConvDown as ConvDown, ConvUp as ConvUp
from landform.models.rbf import (
    ConvRBFPrecision as ConvRBFPrecision,
    RBFPrecision as RBFPrecision,
    rbf_bandwidths as rbf_bandwidths,
)
from landform.models.train import train_vae as train_vae
from landform.models.training import Training as Training
from landform.models.vae import VAE as VAE, History as History
from landform.models.variance import fit_variance as fit_variance
