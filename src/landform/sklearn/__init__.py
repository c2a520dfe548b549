"""Estimators with scikit-learn's interface; each calls a function of landform."""

from landform._core import archive as _archive
from landform.sklearn._kmeans import GeodesicKMeans as GeodesicKMeans
from landform.sklearn._kmedoids import GeodesicKMedoids as GeodesicKMedoids
from landform.sklearn._land import LANDMixture as LANDMixture
from landform.sklearn._spectral import GeodesicSpectral as GeodesicSpectral
from landform.sklearn._vae import LatentVAE as LatentVAE

_archive.estimators.update(
    {
        cls.__name__: cls
        for cls in (GeodesicKMeans, GeodesicKMedoids, GeodesicSpectral, LANDMixture, LatentVAE)
    }
)
