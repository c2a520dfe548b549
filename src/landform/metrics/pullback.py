"""Metrics that a decoder induces on its latent space."""

import abc
from collections.abc import Callable
from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import is_traced, precise
from landform._core.checks import (
    NO_DERIVATIVE,
    as_points,
    check_choice,
    check_decoder,
    check_key,
)
from landform._core.linalg import solve_spd
from landform._core.module import AbstractModule
from landform._core.typing import Array, ArrayLike, Float, Matrix, Point, PRNGKeyArray
from landform.metrics.base import AbstractMetric, check_dtype

Scale = Literal["std", "log-std", "variance", "log-variance"]
_MAX_CHECKED = 64  # landmarks at which the outputs of a decoder are checked
_MAX_FORWARD_MODE_DIM = 4  # dimensions in which second derivatives are cheaper by forward mode


def flatten_output(output) -> Float[Array, " D"]:
    """All arrays of a decoder's output as one vector.

    Raises
    ------
    TypeError
        If one of them is of complex numbers, integers or booleans. A number of Python's is a
        constant, and allowed.
    """
    for leaf in jax.tree.leaves(output):
        dtype = getattr(leaf, "dtype", type(leaf) if isinstance(leaf, complex) else float)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(f"the decoder must return real numbers, got {dtype}{NO_DERIVATIVE}")
    leaves = [jnp.ravel(leaf) for leaf in jax.tree.leaves(output)]
    return leaves[0] if len(leaves) == 1 else jnp.concatenate(leaves)


def as_std(output: Array, scale: Scale) -> Array:
    """Standard deviations of an output that holds `scale`; NaN for negative variances."""
    if scale.startswith("log"):
        return jnp.exp(0.5 * output if scale == "log-variance" else output)
    return jnp.sqrt(output) if scale == "variance" else output


def as_landmarks(points, dim: int | None = None) -> Float[Array, "k d"] | None:
    """Landmarks as an array of points, of `dim` columns where they are known, or None."""
    return None if points is None else as_points("landmarks", points, dim, ndim=(2,))


def values_at(function: Callable, points) -> np.ndarray | None:
    """A function of one point at up to 64 landmarks, or None if these are unknown or traced."""
    if points is None or is_traced(points):
        return None
    values = jax.vmap(function)(points[:: -(-len(points) // _MAX_CHECKED)])
    return None if is_traced(values) else np.asarray(values)


def embedded_acceleration(embed: Callable, x: Point, v: Point) -> Point:
    """``−M⁻¹ Jᵀ D²f[v, v]``: an induced metric's geodesics bend only normally to the surface."""

    def push(y):
        return jax.jvp(embed, (y,), (v,))[1]

    _, bend = jax.jvp(push, (x,), (v,))
    jacobian = jax.jacfwd(embed)(x)
    return -solve_spd(jacobian.T @ jacobian, jacobian.T @ bend)


class AbstractEmbedded(AbstractMetric):
    """A metric that is the pull-back of Euclidean space by `embed`: M = JᵀJ."""

    @abc.abstractmethod
    def embed(self, x: Point) -> Float[Array, " D"]:
        """The map to Euclidean space."""

    @property
    def embeds(self) -> bool:
        """True: chord energies are available."""
        return True

    def __call__(self, x: Point) -> Matrix:
        """JᵀJ with the Jacobian by forward mode, one pass per latent dimension."""
        push = jax.vmap(lambda e: jax.jvp(self.embed_parts, (x,), (e,))[1])
        rows = push(jnp.eye(x.shape[0], dtype=x.dtype))
        return jax.tree.reduce(jnp.add, [part @ part.T for part in rows])

    def inner(self, x: Point, v: Point, w: Point):
        """``(J v) · (J w)``, without the Jacobian."""
        push = lambda u: jax.jvp(self.embed_parts, (x,), (u,))[1]  # noqa: E731
        pairs = zip(push(v), push(w), strict=True)
        return jax.tree.reduce(jnp.add, [a @ b for a, b in pairs])

    def matrix_and_gradient(self, x: Point, v: Point) -> tuple[Matrix, Point]:
        """JᵀJ and ``2 D²f[v, ·]ᵀ J v``; in few dimensions by forward mode, which passes J on."""
        if x.shape[0] > _MAX_FORWARD_MODE_DIM:
            return super().matrix_and_gradient(x, v)
        along = lambda y: jax.jvp(self.embed_parts, (y,), (v,))  # noqa: E731
        push = jax.vmap(lambda e: jax.jvp(along, (x,), (e,))[1])
        rows, bends = push(jnp.eye(x.shape[0], dtype=x.dtype))
        pairs = list(zip(rows, bends, strict=True))
        matrix = jax.tree.reduce(jnp.add, [a @ a.T for a, _ in pairs])
        return matrix, jax.tree.reduce(jnp.add, [2.0 * b @ (v @ a) for a, b in pairs])

    def acceleration(self, x: Point, v: Point) -> Point:
        """``−M⁻¹ Jᵀ D²f[v, v]``, the geodesic equation of an induced metric."""
        return embedded_acceleration(self.embed, x, v)


class Pullback(AbstractEmbedded):
    """The metric that a deterministic decoder induces on its latent space, M(z) = JᵀJ.

    Parameters
    ----------
    f
        The decoder: a differentiable function of one latent point ``(d,)`` to an array of any
        shape, or to several arrays, which are joined. Pass an Equinox module, or another pytree, to
        keep its weights as leaves.
    landmarks
        Optional points of the latent space where the data live, shape ``(k, d)``, say encoded
        data. Geodesics then also start from a path through them.

    Raises
    ------
    TypeError
        If `f` is not callable.
    ValueError
        Where the metric is evaluated, if `f` returns a pair of arrays of one shape: such a pair is
        a mean and its deviation, which `ExpectedPullback` takes.

    Notes
    -----
    One evaluation costs d forward passes of derivatives. `f` must be twice differentiable; with
    ReLU the metric jumps and the geodesic equation has no meaning (math of arXiv:1710.11379, §2).

    Examples
    --------
    >>> import jax.numpy as jnp, landform as lf
    >>> metric = lf.Pullback(lambda z: jnp.array([2.0 * z[0], z[1], 0.0]))
    >>> lf.metric_tensor(metric, [0.3, 0.4]).tolist()
    [[4.0, 0.0], [0.0, 1.0]]
    """

    f: Callable
    points: Float[Array, "k d"] | None

    @precise
    def __init__(self, f: Callable, *, landmarks=None):
        self.f = check_decoder("f", f)
        self.points = as_landmarks(landmarks)

    def embed(self, x: Point) -> Float[Array, " D"]:
        """The decoder's output as one vector."""
        output = self.f(x)
        if isinstance(output, tuple | list) and len(output) == 2:
            first, second = (jnp.shape(head) for head in output)
            if first == second:
                raise ValueError(
                    f"f returns two heads of shape {first}: for a mean and its deviation use "
                    "ExpectedPullback(f, scale=...) with scale 'std' or 'log-variance'; for one of "
                    "them return it alone; for one output in two parts join them to one array"
                )
        return flatten_output(output)

    def landmarks(self) -> Float[Array, "k d"] | None:
        """The landmarks given at construction."""
        return self.points

    def _summary(self):
        return [*display.named(self, "f"), *display.landmarks(self.points)]


class ExpectedPullback(AbstractEmbedded):
    """The expected metric of a stochastic decoder f(z) = μ(z) + σ(z) ⊙ ε with ε ~ N(0, I).

    ``E[M] = J_μᵀ J_μ + J_σᵀ J_σ``, which is the pull-back of z ↦ (μ(z), σ(z)). The metric of a
    random generator is itself random; its variance vanishes as the number of outputs grows.

    Parameters
    ----------
    mean
        μ, a function of one latent point ``(d,)``; or, when `std` is None, a function that returns
        the pair (μ(z), σ(z)).
    std
        σ, a function of one latent point with outputs of the same size as μ's. It must grow away
        from the data, or geodesics will take short cuts through empty space: see `RBFPrecision`.
    landmarks
        Optional points of the latent space where the data live, shape ``(k, d)``.
    scale
        What the second output is: ``"std"`` σ, ``"log-std"``, ``"variance"`` or, as of many
        autoencoders, ``"log-variance"``.

    Raises
    ------
    TypeError
        If `mean` or `std` is not callable.
    ValueError
        If `scale` is not known, or a σ or variance is negative at a landmark (up to 64 of them are
        looked at): then it is a logarithm, and `scale` has to say so.

    Notes
    -----
    The sign of σ does not change the metric, and a negative variance gives NaN, where no landmarks
    show that a logarithm was meant. Arvanitidis, Hansen and Hauberg 2018
    (arXiv:1710.11379), theorems 1 and 2; Tosi et al. 2014.

    Examples
    --------
    >>> import jax.numpy as jnp, landform as lf
    >>> metric = lf.ExpectedPullback(lambda z: z, lambda z: 3.0 * z)
    >>> lf.metric_tensor(metric, [0.3, 0.4]).tolist()
    [[10.0, 0.0], [0.0, 10.0]]
    """

    mean: Callable
    std: Callable | None
    points: Float[Array, "k d"] | None
    scale: Scale = eqx.field(static=True, default="std")

    @precise
    def __init__(
        self, mean: Callable, std: Callable | None = None, *, landmarks=None, scale: Scale = "std"
    ):
        check_choice("scale", scale, get_args(Scale))
        self.scale = scale
        self.mean = check_decoder("mean", mean)
        self.std = None if std is None else check_decoder("std", std)
        self.points = as_landmarks(landmarks)
        if not scale.startswith("log") and not is_traced(self.mean, self.std):
            self._check_sign()

    def _check_sign(self) -> None:
        """Refuse a σ or a variance that is negative where the data live."""

        def least(z):
            return jnp.min(self._heads(z)[1] if self.std is None else flatten_output(self.std(z)))

        values = values_at(least, self.points)
        if values is not None and (values < 0.0).any():
            name = "σ" if self.scale == "std" else "the variance"
            raise ValueError(
                f"{name} is negative at {np.sum(values < 0.0)} of {len(values)} landmarks: if this "
                'output is a log-variance, as of many autoencoders, pass scale="log-variance"'
                ' (or "log-std")'
            )

    def moments(self, z: Point) -> tuple[Float[Array, " D"], Float[Array, " D"]]:
        """μ(z) and σ(z), each as one vector."""
        mean, std = self._heads(z)
        return mean, as_std(std, self.scale)

    def _heads(self, z: Point) -> tuple[Float[Array, " D"], Float[Array, " D"]]:
        """Both outputs of the decoder as they are, each as one vector."""
        if self.std is not None:
            mean, std = flatten_output(self.mean(z)), flatten_output(self.std(z))
        else:
            output = self.mean(z)
            if not isinstance(output, tuple | list) or len(output) != 2:
                raise ValueError("mean must return the pair (mean, std) when std is not given")
            mean, std = flatten_output(output[0]), flatten_output(output[1])
        if mean.shape != std.shape:
            raise ValueError(
                f"mean and std must have the same number of outputs, got {mean.size} and {std.size}"
            )
        return mean, std

    def embed(self, x: Point) -> Float[Array, " D2"]:
        """(μ(z), σ(z)) as one vector."""
        return jnp.concatenate(self.moments(x))

    def embed_parts(self, x: Point) -> tuple[Float[Array, " D"], Float[Array, " D"]]:
        """μ(z) and σ(z)."""
        return self.moments(x)

    def landmarks(self) -> Float[Array, "k d"] | None:
        """The landmarks given at construction."""
        return self.points

    @precise
    def deviation(self, z) -> Float[Array, "*batch"]:
        """Mean standard deviation of the decoder's outputs at ``(d,)`` or ``(n, d)`` points.

        Low where the decoder has seen data, high elsewhere.
        """
        z = check_dtype(self, as_points("z", z))
        one = lambda point: jnp.mean(self.moments(point)[1])  # noqa: E731
        return one(z) if z.ndim == 1 else jax.vmap(one)(z)

    @precise
    def sample(self, key: PRNGKeyArray, z: ArrayLike | None = None) -> Pullback:
        """One draw of the random metric: the pull-back of μ + σ ⊙ ε for one fixed ε.

        `z` is any latent point; it only tells the number of outputs, and a landmark will do.
        """
        if z is None:
            if self.points is None:
                raise ValueError("z must be given for a metric without landmarks")
            z = self.points[0]
        check_key(key)
        point = check_dtype(self, as_points("z", z, ndim=(1,)))
        outputs = jax.eval_shape(lambda point: self.moments(point)[0], point)
        noise = jax.random.normal(key, outputs.shape, outputs.dtype)
        return Pullback(_Realization(self, noise), landmarks=self.points)

    def _summary(self):
        functions = display.named(self, "mean", "std")
        scale = [] if self.scale == "std" else display.named(self, "scale")
        return [*functions, *scale, *display.landmarks(self.points)]


class _Realization(AbstractModule):
    """The decoder with its noise fixed."""

    metric: ExpectedPullback
    noise: Float[Array, " D"]

    @precise
    def __call__(self, z):
        mean, std = self.metric.moments(z)
        return mean + std * self.noise
