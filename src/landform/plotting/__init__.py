"""Figures of a chart: fields, points, curves, densities, walks, and strips of decoded images.

Every function draws arrays on an axis that it is given, so that figures can be composed at will;
`figure` and `save_figure` make and write figures without pyplot, a display or global state. Colours
are distinguishable without colour vision: points by the palette of Okabe and Ito, fields by
lightness, and the two geometries by `RIEMANNIAN` (orange, solid) and `EUCLIDEAN` (blue, dashed).

Examples
--------
>>> import numpy as np
>>> from landform import plotting
>>> fig, (ax,) = plotting.figure(1)
>>> _ = plotting.points(ax, np.zeros((3, 2)), [0, 0, 1])
>>> len(ax.collections)
2
"""

from landform.plotting.canvas import (
    EUCLIDEAN as EUCLIDEAN,
    FIELD as FIELD,
    INK as INK,
    PALETTE as PALETTE,
    RIEMANNIAN as RIEMANNIAN,
    bounds as bounds,
    figure as figure,
    grid as grid,
    mosaic as mosaic,
    png_bytes as png_bytes,
    save_figure as save_figure,
    style as style,
)
from landform.plotting.fields import (
    SIGNED as SIGNED,
    curvature_map as curvature_map,
    density as density,
    field as field,
    magnification_map as magnification_map,
)
from landform.plotting.plane import (
    below_legend as below_legend,
    curves as curves,
    latent_axes as latent_axes,
    points as points,
    strip as strip,
    walk as walk,
)
from landform.plotting.profiles import (
    calibration as calibration,
    distance_matrix as distance_matrix,
    paired as paired,
    profiles as profiles,
)
