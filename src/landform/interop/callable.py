"""`from_callable`: a decoder written in JAX, with its parameters as leaves."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import precise
from landform._core.checks import NO_DERIVATIVE, as_floats, check_decoder
from landform._core.typing import Array, Float
from landform.interop._decoder import AbstractDecoder


class CallableDecoder(AbstractDecoder):
    """A JAX function as a decoder of one latent point, made by `landform.from_callable`.

    Attributes
    ----------
    parameters : pytree
        All arrays: those in `params` and those inside the function itself.
    latent_shape : tuple of int
        Shape of one point as the function receives it.
    batched : bool
        Whether the function maps batches; it then receives a batch of one.
    """

    parameters: Any
    _static: tuple = eqx.field(static=True)
    _structure: Any = eqx.field(static=True)
    latent_shape: tuple[int, ...] = eqx.field(static=True)
    batched: bool = eqx.field(static=True)

    @property
    def latent_dim(self) -> int:
        """The number of latent coordinates d."""
        return int(np.prod(self.latent_shape, dtype=int))

    @property
    def function(self) -> Callable:
        """The original function with the present arrays."""
        return self._combined()[0]

    def _combined(self):
        static = jax.tree.unflatten(self._structure, self._static)
        return eqx.combine(self.parameters, static)

    def _raw(self, z: Array) -> Any:
        function, params = self._combined()
        x = z.reshape((1, *self.latent_shape) if self.batched else self.latent_shape)
        return function(x) if params is None else function(params, x)

    def _heads(self, z: Float[Array, " d"]) -> tuple[Array, ...]:
        return tuple(head.ravel() for head in _arrays(self._raw(z)))

    def _summary(self):
        latent = display.counted(self.latent_dim, "latent dimension")
        weights = display.counted(display.weights(self.parameters), "parameter")
        return [display.brief(self.function), latent, weights]


class _KerasCall:
    """A Keras model as a function of its variables; hashed by identity, as a static part."""

    def __init__(self, model: Any):
        self.model = model

    def __call__(self, variables: tuple, z: Array) -> Any:
        return self.model.stateless_call(*variables, z, training=False)[0]


def _without_state(model: Any) -> tuple[_KerasCall, tuple]:
    """A Keras model's function and its variables, so that the weights are leaves."""
    kinds = (model.trainable_variables, model.non_trainable_variables)
    variables = tuple([v.value for v in kind] for kind in kinds)
    if not all(isinstance(v, jax.Array) for kind in variables for v in kind):
        raise TypeError(
            "function is a Keras model on another backend than JAX: set the environment variable "
            "KERAS_BACKEND=jax before keras is imported, and load the model again"
        )
    if not model.built:
        raise ValueError("function is a Keras model without weights yet; call it once on a batch")
    return _KerasCall(model), variables


def _arrays(output: Any) -> list:
    """The arrays of an output in order; dictionaries in insertion order."""
    if output is None:
        return []
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if isinstance(output, tuple | list):
        return [head for item in output for head in _arrays(item)]
    return jax.tree.leaves(output)


def from_callable(
    function: Callable,
    example: Any,
    *,
    params: Any = None,
    batched: bool = False,
) -> CallableDecoder:
    """A decoder written in JAX, Flax, Equinox, Haiku or Keras (on JAX), with its shapes checked.

    Parameters
    ----------
    function : callable
        ``function(z)``, or ``function(params, z)`` if `params` is given; traceable by JAX. An
        Equinox module is a pytree: its arrays become leaves of the result, as do the weights of a
        Flax NNX module, of a bound Flax linen module and of a Keras model (on the JAX backend,
        called in inference mode). Arrays that a plain Python function closes over stay constants;
        pass them as `params` to train them. Put an NNX module in evaluation mode first
        (``model.eval()``): batch norm over a batch of one does not define a decoder.
    example : array, shape (n, d) or (n, ...)
        A batch of latent points. What follows the first axis is one point and is flattened.
    params : pytree, optional
        First argument of `function`, such as the variables of a Flax or Haiku model.
    batched : bool, default False
        True if the function expects a batch (n, ...) and returns batches: most Flax, Haiku and
        Keras models.

    Returns
    -------
    CallableDecoder
        A pytree that maps (d,) to (D,), or to a tuple of such if the function returns a tuple, list
        or dictionary of arrays. Every head is flattened.

    Raises
    ------
    TypeError
        If `function` is not callable, `example` is not numeric, or an output is not a real
        floating array: integers and booleans have no derivative.
    ValueError
        If `example` is not a batch, or `function` does not accept one point of it.

    Notes
    -----
    Only shapes are computed: nothing is compiled or run.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import landform as lf
    >>> decoder = lf.from_callable(lambda z: jnp.array([z[0], z[1], z[0] * z[1]]), [[1.0, 2.0]])
    >>> print(decoder([3.0, 4.0]))
    [ 3.  4. 12.]
    """
    check_decoder("function", function)
    shape = _latent_shape(example)
    if params is None and hasattr(function, "stateless_call"):
        function, params = _without_state(function)
    elif params is None and (unbind := getattr(function, "unbind", None)):
        module, params = unbind()  # a Flax linen module with its variables
        function = module.apply
    arrays, static = eqx.partition((function, params), eqx.is_array)
    leaves, structure = jax.tree.flatten(static)
    try:
        hash((tuple(leaves), structure))
    except TypeError as error:
        raise TypeError(
            f"function and params may hold arrays and hashable values only: {error}; convert "
            "lists or NumPy objects inside them to arrays"
        ) from None
    decoder = CallableDecoder(arrays, tuple(leaves), structure, shape, batched)
    _check(decoder)
    return decoder


@precise
def _latent_shape(example: Any) -> tuple[int, ...]:
    shape = as_floats("example", example).shape
    if len(shape) < 2 or 0 in shape:
        raise ValueError(
            f"example must be a batch of latent points of shape (n, d), got shape {shape}; "
            "for one point use example[None]"
        )
    return tuple(shape[1:])


def _check(decoder: CallableDecoder) -> None:
    point = jax.ShapeDtypeStruct((decoder.latent_dim,), jnp.result_type(float))
    given = ("a batch of one, " if decoder.batched else "") + str(
        (1, *decoder.latent_shape) if decoder.batched else decoder.latent_shape
    )
    try:
        output = jax.eval_shape(lambda d, z: d._raw(z), decoder, point)
    except Exception as error:
        other = "batched=False" if decoder.batched else "batched=True"
        raise ValueError(
            f"function does not accept {given}: {type(error).__name__}: "
            f"{str(error).splitlines()[0]}. "
            f"If it expects {'one point' if decoder.batched else 'a batch'}, pass {other}; "
            "if it takes parameters first, pass params=."
        ) from error
    heads = _arrays(output)
    if not heads:
        raise TypeError("function returns no array")
    for i, head in enumerate(heads):
        if not hasattr(head, "dtype") or not jnp.issubdtype(head.dtype, jnp.floating):
            raise TypeError(
                f"output {i} of function has type {getattr(head, 'dtype', type(head))}; it must "
                f"be real floats{NO_DERIVATIVE}"
            )
        if decoder.batched and (head.ndim == 0 or head.shape[0] != 1):
            raise ValueError(
                f"output {i} of function has shape {head.shape} for {given}: it has no batch axis. "
                "Pass batched=False if the function maps one point, or return one row for each "
                "point."
            )
