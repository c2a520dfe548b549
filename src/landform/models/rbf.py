"""Radial basis function precision: a decoder's uncertainty that grows away from its data."""

import abc
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import is_traced, precise
from landform._core.checks import (
    as_count,
    as_floats,
    as_points,
    as_positive,
    as_positives,
    check_choice,
    check_finite,
    check_positive,
    host_rng,
)
from landform._core.typing import Array, ArrayLike, Float, Point, PRNGKeyArray
from landform.models.networks import halved, up

BANDWIDTH_RULES = ("paper", "cluster-std", "pooled")


class AbstractPrecision(display.AbstractDisplayed):
    """A positive precision β(z) of each output of a decoder, with a bounded deviation β^(−½)."""

    centers: eqx.AbstractVar[Float[Array, "k d"]]
    bandwidths: eqx.AbstractVar[Float[Array, " k"]]
    max_std: eqx.AbstractVar[Float[Array, "..."]]

    @abc.abstractmethod
    def __call__(self, z: Point) -> Float[Array, " D"]:
        """The precision β(z) at one point ``(d,)``."""

    def features(self, z: ArrayLike) -> Float[Array, " k"]:
        """The basis functions ``v_k(z) = exp(−λ_k |z − c_k|²)``."""
        if jnp.shape(z) != self.centers.shape[1:]:
            raise ValueError(
                f"z must be one point of shape ({self.centers.shape[1]},), got {jnp.shape(z)}"
            )
        return jnp.exp(-self.bandwidths * jnp.sum((z - self.centers) ** 2, axis=-1))

    @precise
    def std(self, z: Point) -> Float[Array, " D"]:
        """The standard deviation ``σ(z) = β(z)^(−½)``, at most `max_std`."""
        return 1.0 / jnp.sqrt(self(z))


class RBFPrecision(AbstractPrecision):
    """A precision that is high at the data and falls to a floor away from them.

    ``β(z) = W v(z) + ζ`` with ``v_k(z) = exp(−λ_k |z − c_k|²)``, W ≥ 0 and ``ζ = max_std^(−2)``;
    the decoder's standard deviation is ``σ = β^(−½)``. A neural network extrapolates σ to
    arbitrary values; this one is certain to reach `max_std` far from its centers, which is what
    keeps geodesics of the expected metric near the data.

    Parameters
    ----------
    centers
        Centers c_k, shape ``(K, d)``.
    bandwidths
        λ_k > 0, shape ``(K,)`` or a single number; see `rbf_bandwidths` for the paper's rule.
    weights
        W ≥ 0, shape ``(D, K)``.
    max_std
        Largest standard deviation, in the units of the outputs; a number or shape ``(D,)``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not numeric, not finite, of a shape that does not match the centers, or of
        a sign that is not allowed.

    Notes
    -----
    Arvanitidis, Hansen and Hauberg 2018 (arXiv:1710.11379), §4 and appendix. `from_codes` places
    the centers; `fit_variance` finds W by maximum likelihood. O(K (d + D)) per point.

    Examples
    --------
    >>> import landform as lf
    >>> rbf = lf.RBFPrecision([[0.0, 0.0]], 0.5, [[99.0]], max_std=1.0)
    >>> float(rbf([0.0, 0.0])[0])
    100.0
    >>> float(rbf.std([20.0, 0.0])[0])
    1.0
    """

    centers: Float[Array, "k d"]
    bandwidths: Float[Array, " k"]
    weights: Float[Array, "D k"]
    max_std: Float[Array, "..."]

    @precise
    def __init__(self, centers, bandwidths, weights, max_std):
        self.centers = as_points("centers", centers, ndim=(2,))
        count = self.centers.shape[0]
        self.bandwidths = _as_bandwidths(bandwidths, count)
        self.weights = _as_nonnegative("weights", weights, count)
        self.max_std = as_positives("max_std", max_std, self.weights.shape[0])

    @classmethod
    @precise
    def from_codes(
        cls,
        codes,
        num_outputs: int,
        *,
        key: PRNGKeyArray,
        num_centers: int = 64,
        bandwidth_scale: float = 2.0,
        bandwidth_rule: str = "paper",
        std=1.0,
        max_std=None,
    ) -> "RBFPrecision":
        """A precision with its centers at the k-means of latent codes and equal weights.

        Parameters
        ----------
        codes
            Encoded data, shape ``(n, d)``.
        num_outputs
            Number D of outputs of the decoder.
        key
            Key of the k-means start.
        num_centers
            Number of centers; fewer where the codes have fewer distinct points.
        bandwidth_scale, bandwidth_rule
            See `rbf_bandwidths`.
        std
            Typical deviation at the codes: a number or shape ``(D,)``.
        max_std
            Largest standard deviation; ``10 · max(std)`` when None.
        """
        codes = as_points("codes", codes, ndim=(2,))
        num_outputs = as_count("num_outputs", num_outputs)
        std = np.asarray(as_positives("std", std, num_outputs))
        max_std = 10.0 * std.max() if max_std is None else max_std
        centers, labels = kmeans_centers(codes, num_centers, key)
        bandwidths = rbf_bandwidths(
            codes, labels, centers, bandwidth_scale=bandwidth_scale, bandwidth_rule=bandwidth_rule
        )
        weights = even_weights(codes, centers, bandwidths, np.broadcast_to(std, (num_outputs,)))
        return cls(centers, bandwidths, weights, max_std)

    @precise
    def __call__(self, z: Point) -> Float[Array, " D"]:
        """The precision β(z) at one point ``(d,)``."""
        return self.weights @ self.features(jnp.asarray(z)) + self.max_std**-2.0

    def _summary(self):
        outputs = display.counted(self.weights.shape[-2], "output")
        std = f"std at most {display.span(self.max_std)}"
        return [display.rows(self.centers, "center"), outputs, std]


class ConvRBFPrecision(AbstractPrecision):
    """`RBFPrecision` for images: W v(z) is a coarse image, enlarged by non-negative filters.

    β(z) is the coarse image W v(z) after transposed convolutions whose filters are ≥ 0, plus the
    floor ζ; so neighboring pixels share their uncertainty, and β still falls to ζ off the data.

    Parameters
    ----------
    centers, bandwidths
        As in `RBFPrecision`.
    weights
        W ≥ 0, shape ``(channels[0] · h · w, K)`` with (h, w) the coarsest size.
    filters
        Filters ≥ 0 of the transposed convolutions, each ``(out, in, k, k)``.
    shape
        Height, width and channels of the image.
    max_std
        Largest standard deviation.

    Raises
    ------
    TypeError, ValueError
        As `RBFPrecision`; also if the filters do not lead from the coarsest image to `shape`.

    Notes
    -----
    Arvanitidis, Hansen and Hauberg 2018 (arXiv:1710.11379), appendix (convolutional decoders).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from landform.models import ConvRBFPrecision
    >>> filters = [jnp.ones((1, 1, 4, 4))]
    >>> rbf = ConvRBFPrecision([[0.0]], 0.5, jnp.ones((4, 1)), filters, (4, 4, 1), max_std=10.0)
    >>> rbf([0.0]).shape, round(float(rbf.std([50.0])[0]), 6)
    ((16,), 10.0)
    """

    centers: Float[Array, "k d"]
    bandwidths: Float[Array, " k"]
    weights: Float[Array, "m k"]
    filters: tuple[Float[Array, "out in s s"], ...]
    max_std: Float[Array, ""]
    shape: tuple[int, int, int] = eqx.field(static=True)

    @precise
    def __init__(self, centers, bandwidths, weights, filters, shape, max_std):
        self.centers = as_points("centers", centers, ndim=(2,))
        count = self.centers.shape[0]
        self.bandwidths = _as_bandwidths(bandwidths, count)
        self.weights = _as_nonnegative("weights", weights, count)
        self.filters = tuple(
            _check_nonnegative("filters", as_floats("filters", f)) for f in filters
        )
        self.max_std = as_positive("max_std", max_std)
        self.shape = _as_image(shape)
        self._check_channels()

    @precise
    def __call__(self, z: Point) -> Float[Array, " D"]:
        """The precision β(z) at one point ``(d,)``, as a flat image."""
        return self._enlarge(self.weights @ self.features(jnp.asarray(z))) + self.max_std**-2.0

    @precise
    def dense(self) -> "RBFPrecision | ConvRBFPrecision":
        """The same precision as one matrix of the basis functions, where that is less work.

        All of the filters are linear. The matrix has ``H · W · C · K`` entries; where the filters
        take fewer multiplications, for large images and many centers, the precision stays as it is.
        """
        sizes = halved(self.shape[:2], len(self.filters))[::-1]
        # A new pixel sees a quarter of a filter, for the stride is two.
        areas = [h * w / 4 for h, w in sizes[1:]]
        filtering = sum(f.size * area for f, area in zip(self.filters, areas, strict=True))
        if int(np.prod(self.shape)) * self.weights.shape[1] > self.weights.size + filtering:
            return self
        return RBFPrecision(self.centers, self.bandwidths, _columns(self), self.max_std)

    def _check_channels(self) -> None:
        """Whether weights and filters lead from the coarsest image to the shape."""
        for f in self.filters:
            if f.ndim != 4 or f.shape[2] != f.shape[3] or f.size == 0:
                raise ValueError(f"filters must have shape (out, in, k, k), got {f.shape}")
        height, width = halved(self.shape[:2], len(self.filters))[-1]
        channels = [*(f.shape[1] for f in self.filters), self.shape[2]]
        for f, wanted in zip(self.filters, channels[1:], strict=True):
            if f.shape[0] != wanted:
                raise ValueError(
                    f"filters must lead from one to the next, and to the {channels[-1]} "
                    f"channel(s) of shape: {f.shape[0]} outputs meet {wanted}"
                )
        if self.weights.shape[0] != channels[0] * height * width:
            raise ValueError(
                f"weights must have {channels[0] * height * width} rows, the {channels[0]} "
                f"channel(s) of {height} x {width} pixels, got {self.weights.shape[0]}"
            )

    def _enlarge(self, coarse: Float[Array, " m"]) -> Float[Array, " D"]:
        """A coarse image through the filters, flat."""
        sizes = halved(self.shape[:2], len(self.filters))[::-1]
        image = coarse.reshape(-1, *sizes[0])
        for weight, size in zip(self.filters, sizes[1:], strict=True):
            image = up(weight, image, size)
        return jnp.moveaxis(image, 0, -1).ravel()

    def _summary(self):
        std = f"std at most {display.span(self.max_std)}"
        return [display.rows(self.centers, "center"), f"outputs {display.sides(self.shape)}", std]


@eqx.filter_jit
def _columns(rbf: ConvRBFPrecision) -> Float[Array, "D k"]:
    """The enlarged image of every basis function."""
    return jax.lax.map(rbf._enlarge, rbf.weights.T).T


def _as_image(shape) -> tuple[int, int, int]:
    if np.shape(shape) != (3,):
        raise ValueError(f"shape must be (height, width, channels), got {shape!r}")
    height, width, depth = (as_count("shape", size) for size in shape)
    return height, width, depth


def _as_bandwidths(bandwidths, count: int):
    values = as_floats("bandwidths", bandwidths)
    if values.ndim > 1 or values.size not in (1, count):
        raise ValueError(f"bandwidths must have shape ({count},), got {values.shape}")
    check_finite("bandwidths", values)
    check_positive("bandwidths", values)
    if is_traced(values):
        return jnp.broadcast_to(values.reshape(-1), (count,))
    return jnp.asarray(np.broadcast_to(np.asarray(values).reshape(-1), (count,)))


def _check_nonnegative(name: str, values):
    check_finite(name, values)
    if not is_traced(values) and not (np.asarray(values) >= 0).all():
        raise ValueError(f"{name} must not be negative: a precision is a sum of positive terms")
    return values


def _as_nonnegative(name: str, weights, count: int):
    values = as_floats(name, weights)
    if values.ndim != 2 or values.shape[1] != count or values.shape[0] == 0:
        raise ValueError(f"{name} must have shape (D, {count}), got {values.shape}")
    return _check_nonnegative(name, values)


def even_weights(codes, centers, bandwidths, std: np.ndarray) -> np.ndarray:
    """Weights ``(D, K)``, equal for all centers, that give about `std` at the codes."""
    gaps = np.asarray(codes)[:, None, :] - np.asarray(centers)[None]
    features = np.exp(-np.asarray(bandwidths) * np.sum(gaps**2, axis=-1))
    level = features.sum(axis=1).mean()
    return np.repeat(std[:, None] ** -2.0 / level, len(centers), axis=1)


def kmeans_centers(codes, num_centers: int, key: PRNGKeyArray) -> tuple[np.ndarray, np.ndarray]:
    """Centers of the k-means clusters of latent codes, and the cluster of each code.

    At most as many as there are distinct codes; clusters that end empty are dropped.
    """
    from sklearn.cluster import KMeans

    num_centers = as_count("num_centers", num_centers)
    points = np.asarray(codes, dtype=np.float64)
    count = min(num_centers, len(np.unique(points, axis=0)))
    seed = int(host_rng(key).integers(2**31))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = KMeans(count, n_init=3, random_state=seed).fit_predict(points)
    kept, labels = np.unique(labels, return_inverse=True)
    centers = np.stack([points[labels == k].mean(axis=0) for k in range(len(kept))])
    return centers, labels


@precise
def rbf_bandwidths(
    codes, labels, centers, *, bandwidth_scale=2.0, bandwidth_rule: str = "paper"
) -> Float[Array, " k"]:
    """Bandwidths λ_k of radial basis functions from the spread of the clusters of codes.

    ``λ_k = ½ (a · r_k)^(−2)`` where r_k is the mean distance of cluster k to its center.

    Parameters
    ----------
    codes
        Latent codes, shape ``(n, d)``.
    labels
        Cluster of each code, integers below K, shape ``(n,)``.
    centers
        Centers, shape ``(K, d)``.
    bandwidth_scale
        a, the multiplier of the radius: larger is smoother. The paper's 2.
    bandwidth_rule
        ``"paper"``: r_k is the mean of the distances (not of their squares). ``"cluster-std"``:
        their root mean square. ``"pooled"``: one radius for all clusters, the mean distance of all
        codes to their center; σ is then smooth enough to be narrow, where small clusters would
        give it spikes.

    Returns
    -------
    Array of shape ``(K,)``. A cluster without extent (empty, a single code, or copies of one) takes
    the median radius of the others, or half of the distance to the nearest center where no cluster
    has an extent.

    Raises
    ------
    ValueError
        If all codes are equal, shapes do not match, `bandwidth_scale` is not positive or
        `bandwidth_rule` is unknown.

    Notes
    -----
    Arvanitidis, Hansen and Hauberg 2018 (arXiv:1710.11379), appendix; the mean is of unsquared
    distances.

    Examples
    --------
    >>> import numpy as np
    >>> from landform.models import rbf_bandwidths
    >>> codes = np.array([[-1.0], [1.0], [9.0], [13.0]])
    >>> rbf_bandwidths(codes, [0, 0, 1, 1], [[0.0], [11.0]], bandwidth_scale=1.0).tolist()
    [0.5, 0.125]
    """
    codes = as_points("codes", codes, ndim=(2,))
    centers = as_points("centers", centers, codes.shape[1], ndim=(2,))
    scale = as_positive("bandwidth_scale", bandwidth_scale)
    check_choice("bandwidth_rule", bandwidth_rule, BANDWIDTH_RULES)
    scale, labels = float(scale), np.asarray(labels)
    if labels.shape != (codes.shape[0],) or labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be {codes.shape[0]} integers, got {labels.shape}")
    if labels.min() < 0 or labels.max() >= len(centers):
        raise ValueError(f"labels must be between 0 and {len(centers) - 1}")
    distance = np.linalg.norm(np.asarray(codes) - np.asarray(centers)[labels], axis=1)
    if bandwidth_rule == "pooled":
        labels, distance = np.arange(len(centers)), np.full(len(centers), distance.mean())
    moment = distance**2 if bandwidth_rule == "cluster-std" else distance
    count = np.bincount(labels, minlength=len(centers))
    radius = np.bincount(labels, moment, minlength=len(centers)) / np.maximum(count, 1)
    radius = np.sqrt(radius) if bandwidth_rule == "cluster-std" else radius
    return jnp.asarray(0.5 / (scale * _guard_radius(radius, np.asarray(centers))) ** 2)


def _guard_radius(radius: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Replace the radii of clusters without extent."""
    tiny = 1e-9 * max(float(np.ptp(centers, axis=0).max(initial=0.0)), float(radius.max()))
    proper = radius > tiny
    if proper.all():
        return radius
    if proper.any():
        return np.where(proper, radius, np.median(radius[proper]))
    if len(centers) < 2 or np.ptp(centers, axis=0).max() == 0.0:
        raise ValueError("codes are all equal: they have no spread to take a bandwidth from")
    gap = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
    np.fill_diagonal(gap, np.inf)
    return 0.5 * gap.min(axis=1)
