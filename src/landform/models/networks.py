"""Networks of one point, fully connected and convolutional, with smooth activations."""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import promote
from landform._core.checks import host_rng
from landform._core.typing import Array, Float, PRNGKeyArray

SMOOTH = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "mish": jax.nn.mish,
    "sin": jnp.sin,
}
_KINKED = {
    "relu",
    "relu6",
    "leaky_relu",
    "prelu",
    "rrelu",
    "elu",
    "celu",
    "selu",
    "crelu",
    "threshold",
    "hardtanh",
    "hard_tanh",
    "hardsigmoid",
    "hard_sigmoid",
    "hardswish",
    "hard_swish",
    "hard_silu",
    "hardshrink",
    "softshrink",
    "softsign",
    "soft_sign",
    "abs",
}
_KERNEL_SIZE = 4


def check_activation(name: str, value) -> str:
    """The name of a smooth activation; `ValueError` with the reason for one with a kink."""
    choices = ", ".join(SMOOTH)
    if not isinstance(value, str):
        raise TypeError(
            f"{name} must be the name of a smooth activation ({choices}), "
            f"got {type(value).__name__}; names can be saved with the model, functions cannot"
        )
    key = value.lower().replace("-", "_")
    if key in _KINKED and key not in SMOOTH:
        raise ValueError(
            f"{name} must be twice differentiable, and {value!r} is not: the metric of the decoder "
            f"would jump and its geodesics would have no meaning; use one of {choices}"
        )
    if key not in SMOOTH:
        raise ValueError(f"{name} must be one of {choices}, got {value!r}")
    return key


def _glorot(rng, shape, fan_in: float, fan_out: float) -> Array:
    bound = math.sqrt(6.0 / (fan_in + fan_out))
    return jnp.asarray(rng.uniform(-bound, bound, shape), float)


def _zeros(size: int) -> Array:
    return jnp.asarray(np.zeros(size), float)


class MLP(display.AbstractDisplayed):
    """A multi-layer perceptron of one point, linear in its last layer.

    Parameters
    ----------
    key
        Key of the initial weights (Glorot uniform; biases zero).
    sizes
        Widths of all layers, input and output included; two of them make an affine map.
    activation
        Name of a smooth activation.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from landform.models import MLP
    >>> MLP(jax.random.key(0), (2, 8, 5))(jnp.zeros(2)).tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0]
    """

    weights: tuple[Float[Array, "out in"], ...]
    biases: tuple[Float[Array, " out"], ...]
    activation: str = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, sizes, activation: str = "tanh"):
        rng = host_rng(key)
        pairs = list(itertools.pairwise(sizes))
        self.weights = tuple(_glorot(rng, (o, i), i, o) for i, o in pairs)
        self.biases = tuple(_zeros(o) for _, o in pairs)
        self.activation = check_activation("activation", activation)

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        activation = SMOOTH[self.activation]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = activation(weight @ x + bias)
        return self.weights[-1] @ x + self.biases[-1]

    def _summary(self):
        widths = [self.weights[0].shape[-1], *(bias.shape[-1] for bias in self.biases)]
        return [" → ".join(map(str, widths)), self.activation]


def halved(size: tuple[int, int], times: int) -> list[tuple[int, int]]:
    """Image sizes from the full one down to the coarsest, each half of the last, rounded up."""
    sizes = [size]
    for _ in range(times):
        h, w = sizes[-1]
        sizes.append((-(-h // 2), -(-w // 2)))
    return sizes


def down(weight: Float[Array, "out in k k"], image: Float[Array, "in h w"]) -> Array:
    """Convolution with stride two; any size h becomes ceil(h / 2).

    One matrix product, of the blocks of two by two pixels that an output sees and the filter. The
    convolution of XLA is the same, without fast code in double precision or for its gradients.
    """
    out, depth, kernel, _ = weight.shape
    reach = -(-kernel // 2)  # blocks on a side that one output sees
    rows, columns = (-(-size // 2) for size in image.shape[1:])
    image, weight = promote(jnp.moveaxis(image, 0, -1), weight)
    pads = []
    for size, small in zip(image.shape, (rows, columns), strict=False):
        low = max(2 * (small - 1) + kernel - size, 0) // 2
        pads.append((low, 2 * (small + reach - 1) - size - low, 0))
    wide = jax.lax.pad(image, jnp.zeros((), image.dtype), (*pads, (0, 0, 0)))
    blocks = wide.reshape(rows + reach - 1, 2, columns + reach - 1, 2, depth)
    blocks = blocks.transpose(0, 2, 1, 3, 4).reshape(*blocks.shape[::2][:2], 4 * depth)
    near = [blocks[i : i + rows, j : j + columns] for i in range(reach) for j in range(reach)]
    rest = (0, 2 * reach - kernel)
    parts = jnp.pad(weight, ((0, 0), (0, 0), rest, rest))
    parts = parts.reshape(out, depth, reach, 2, reach, 2)
    matrix = parts.transpose(2, 4, 3, 5, 1, 0).reshape(reach * reach * 4 * depth, out)
    return jnp.moveaxis(jnp.concatenate(near, axis=-1) @ matrix, -1, 0)


def up(weight: Float[Array, "out in k k"], image: Float[Array, "in h w"], size) -> Array:
    """Transposed convolution with stride two to the image `size` given, the mirror of `down`.

    One matrix product: the neighborhood of each place times the part of the filter that each of
    the four pixels it becomes sees. A convolution over an image with zeros between its pixels is
    the same, at four times the multiplications and without fast code in double precision.
    """
    out, depth, kernel, _ = weight.shape
    h, w = image.shape[1:]
    reach = -(-kernel // 2)  # places on a side that one new pixel sees
    image, weight = promote(jnp.moveaxis(image, 0, -1), weight)
    rest = (0, 2 * reach - kernel)
    flipped = jnp.pad(weight[:, :, ::-1, ::-1], ((0, 0), (0, 0), rest, rest))
    parts = flipped.reshape(out, depth, reach, 2, reach, 2)
    matrix = parts.transpose(2, 4, 1, 3, 5, 0).reshape(reach * reach * depth, 4 * out)
    margin = (reach - 1, reach - 1)
    wide = jnp.pad(image, (margin, margin, (0, 0)))
    rows, columns = h + reach - 1, w + reach - 1
    near = [
        wide[i : i + rows, j : j + columns]
        for i in reversed(range(reach))
        for j in reversed(range(reach))
    ]
    spread = (jnp.concatenate(near, axis=-1) @ matrix).reshape(rows, columns, 2, 2, out)
    full = spread.transpose(4, 0, 2, 1, 3).reshape(out, 2 * rows, 2 * columns)
    crop = []
    for small, large, have in zip((h, w), size, full.shape[1:], strict=True):
        total = large - (2 * small - 1) + kernel - 1
        low = total - total // 2 - (kernel - 1)
        crop.append((low, large - have - low, 0))
    return jax.lax.pad(full, jnp.zeros((), full.dtype), ((0, 0, 0), *crop))


class ConvDown(display.AbstractDisplayed):
    """An image as a flat vector to a vector: strided convolutions, then an affine map.

    Parameters
    ----------
    key
        Key of the initial weights.
    shape
        Height, width and channels of the image.
    channels
        Channels after each convolution; each halves height and width (rounded up).
    out_size
        Size of the output.
    activation
        Name of a smooth activation.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from landform.models import ConvDown
    >>> ConvDown(jax.random.key(0), (7, 5, 1), (4, 8), 3)(jnp.zeros(35)).shape
    (3,)
    """

    filters: tuple[Float[Array, "out in k k"], ...]
    biases: tuple[Float[Array, " out"], ...]
    head: MLP
    shape: tuple[int, int, int] = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, shape, channels, out_size: int, activation="tanh"):
        height, width, depth = (int(s) for s in shape)
        filter_key, head_key = jax.random.split(key)
        rng = host_rng(filter_key)
        pairs = list(zip((depth, *channels[:-1]), channels, strict=True))
        area = _KERNEL_SIZE**2
        self.filters = tuple(
            _glorot(rng, (o, i, _KERNEL_SIZE, _KERNEL_SIZE), i * area, o * area / 4)
            for i, o in pairs
        )
        self.biases = tuple(_zeros(o) for _, o in pairs)
        h, w = halved((height, width), len(channels))[-1]
        self.head = MLP(head_key, (channels[-1] * h * w, out_size), activation)
        self.shape = (height, width, depth)
        self.activation = check_activation("activation", activation)

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        activation = SMOOTH[self.activation]
        image = jnp.moveaxis(x.reshape(self.shape), -1, 0)
        for weight, bias in zip(self.filters, self.biases, strict=True):
            image = activation(down(weight, image) + bias[:, None, None])
        return self.head(image.ravel())

    def _summary(self):
        return [f"{display.sides(self.shape)} → {self.head.biases[-1].shape[-1]}", self.activation]


class ConvUp(display.AbstractDisplayed):
    """A vector to an image as a flat vector: an affine map, then transposed convolutions.

    Parameters
    ----------
    key
        Key of the initial weights.
    in_size
        Size of the input.
    channels
        Channels before each transposed convolution; each doubles height and width.
    shape
        Height, width and channels of the image, of any size.
    activation
        Name of a smooth activation; the last layer has none.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from landform.models import ConvUp
    >>> ConvUp(jax.random.key(0), 2, (8, 4), (7, 5, 1))(jnp.zeros(2)).shape
    (35,)
    """

    stem: MLP
    filters: tuple[Float[Array, "out in k k"], ...]
    biases: tuple[Float[Array, " out"], ...]
    shape: tuple[int, int, int] = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, in_size: int, channels, shape, activation="tanh"):
        height, width, depth = (int(s) for s in shape)
        filter_key, stem_key = jax.random.split(key)
        rng = host_rng(filter_key)
        pairs = list(zip(channels, (*channels[1:], depth), strict=True))
        area = _KERNEL_SIZE**2
        h, w = halved((height, width), len(channels))[-1]
        self.stem = MLP(stem_key, (in_size, channels[0] * h * w), activation)
        self.filters = tuple(
            _glorot(rng, (o, i, _KERNEL_SIZE, _KERNEL_SIZE), i * area / 4, o * area)
            for i, o in pairs
        )
        self.biases = tuple(_zeros(o) for _, o in pairs)
        self.shape = (height, width, depth)
        self.activation = check_activation("activation", activation)

    def __call__(self, z: Float[Array, " in"]) -> Float[Array, " out"]:
        activation = SMOOTH[self.activation]
        sizes = halved(self.shape[:2], len(self.filters))[::-1]
        image = self.stem(z).reshape(self.filters[0].shape[1], *sizes[0])
        for weight, bias, size in zip(self.filters, self.biases, sizes[1:], strict=True):
            image = up(weight, activation(image), size) + bias[:, None, None]
        return jnp.moveaxis(image, 0, -1).ravel()

    def _summary(self):
        return [f"{self.stem.weights[0].shape[-1]} → {display.sides(self.shape)}", self.activation]
