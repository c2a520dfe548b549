"""`TorchDecoder`: a graph as JSON text with weights as leaves, and its interpreter."""

import functools
import json
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from landform._core import display
from landform._core.typing import Array, Float
from landform.interop._aten import OPERATIONS
from landform.interop._decoder import AbstractDecoder


class Node(NamedTuple):
    """One operation of a program: its name, its arguments and the dtypes of what it returns."""

    operation: str
    args: list
    kwargs: dict
    dtypes: list


class Plan(NamedTuple):
    """A parsed program; see `TorchDecoder.program` for the text it comes from."""

    dtype: str
    shape: tuple[int, ...]
    nodes: tuple[Node, ...]
    outputs: tuple
    names: tuple[str, ...]
    kinks: tuple[str, ...]


@functools.lru_cache(maxsize=256)
def parse(text: str) -> Plan:
    """Parse the text of a program, which is JSON: hashable, comparable and safe to store."""
    raw = json.loads(text)
    nodes = tuple(Node(*node) for node in raw["nodes"])
    missing = sorted({node.operation for node in nodes} - OPERATIONS.keys())
    if missing:
        raise ValueError(
            f"this program needs operations unknown to this version: {', '.join(missing)}"
        )
    return Plan(
        dtype=raw["dtype"],
        shape=tuple(raw["shape"]),
        nodes=nodes,
        outputs=tuple(raw["outputs"]),
        names=tuple(raw["names"]),
        kinks=tuple(raw["kinks"]),
    )


def _resolve(item: Any, values: list, parameters: dict, buffers: dict) -> Any:
    if isinstance(item, list):
        return [_resolve(x, values, parameters, buffers) for x in item]
    if not isinstance(item, dict):
        return item
    ((kind, key),) = item.items()
    if kind == "value":
        return values[key]
    if kind == "parameter":
        return parameters[key]
    if kind == "buffer":
        return buffers[key]
    if kind == "complex":
        return complex(*key)
    return float(key)  # "float": NaN and infinities, which JSON does not have


def _pick(program: str, heads: tuple) -> tuple[str, set]:
    """The program of the given heads only, and the (kind, key) of all that it refers to."""
    raw = json.loads(program)
    raw["outputs"] = [raw["outputs"][_position(raw["names"], head)] for head in heads]
    raw["names"] = [raw["names"][_position(raw["names"], head)] for head in heads]
    used = _references(raw["outputs"])
    for place in range(len(raw["nodes"]), 0, -1):
        if ("value", place) in used:
            used |= _references(raw["nodes"][place - 1][1:3])
    places = [0, *(k + 1 for k in range(len(raw["nodes"])) if ("value", k + 1) in used)]
    moved = {old: new for new, old in enumerate(places)}
    nodes = [raw["nodes"][k - 1] for k in places[1:]]
    raw["nodes"] = [[n[0], *_moved(n[1:3], moved), n[3]] for n in nodes]
    raw["outputs"] = _moved(raw["outputs"], moved)
    left = {short_name(node[0]) for node in nodes}
    raw["kinks"] = [kink for kink in raw["kinks"] if kink in left or kink.startswith("to_")]
    return json.dumps(raw, separators=(",", ":")), used


def short_name(operation: str) -> str:
    """The readable name of an operation: ``"_relu_.default"`` is ``"relu"``."""
    return operation.split(".")[0].strip("_").removesuffix("_with_indices")


def _position(names: list[str], head: str | int) -> int:
    if isinstance(head, str) and head in names:
        return names.index(head)
    if isinstance(head, int) and not isinstance(head, bool) and 0 <= head < len(names):
        return head
    raise ValueError(
        f"heads must be names or positions of {', '.join(map(repr, names))}, got {head!r}"
    )


def _references(item: Any) -> set:
    """The (kind, key) of all references to values, parameters and buffers in a part of a text."""
    if isinstance(item, list):
        return set().union(*map(_references, item))
    if not isinstance(item, dict):
        return set()
    found = {pair for pair in item.items() if not isinstance(pair[1], list | dict)}
    return found.union(*map(_references, item.values()))


def _moved(item: Any, places: dict[int, int]) -> Any:
    """A part of a text with its values renumbered."""
    if isinstance(item, list):
        return [_moved(x, places) for x in item]
    if not isinstance(item, dict):
        return item
    if item.keys() == {"value"} and isinstance(item["value"], int):
        return {"value": places[item["value"]]}
    return {key: _moved(x, places) for key, x in item.items()}


def _settle(value: Any, dtypes: list, cast) -> Any:
    if isinstance(value, list | tuple):
        return [_settle(v, [d], cast) for v, d in zip(value, dtypes, strict=False)]
    return cast(jnp.asarray(value), dtypes[0]) if dtypes[0] is not None else value


def interpret(plan: Plan, parameters: dict, buffers: dict, z: Array) -> tuple[Array, ...]:
    """The heads of a program at one point, each flattened.

    Every intermediate result has the dtype that it has in torch, so that integer arithmetic and
    constants are equal to the last bit. Only floating dtypes are raised, to the wider of the
    module's own and that of `z`: a float32 decoder works in float64 throughout at float64
    points, and so does a float64 decoder that calls ``.float()`` in between, because rounding
    there would spoil second derivatives.
    """
    main = jnp.dtype(plan.dtype)
    run = jax.dtypes.canonicalize_dtype(jnp.promote_types(z.dtype, main))

    def cast(x, recorded):
        wanted = jnp.dtype(recorded)
        if jnp.issubdtype(wanted, jnp.inexact):
            wanted = jnp.promote_types(wanted, run)
        wanted = jax.dtypes.canonicalize_dtype(wanted)
        return x if x.dtype == wanted else x.astype(wanted)

    parameters = {name: cast(leaf, leaf.dtype) for name, leaf in parameters.items()}
    buffers = {name: cast(leaf, leaf.dtype) for name, leaf in buffers.items()}
    values: list = [z.astype(run).reshape((1, *plan.shape))]
    for node in plan.nodes:
        args = _resolve(node.args, values, parameters, buffers)
        kwargs = {k: _resolve(v, values, parameters, buffers) for k, v in node.kwargs.items()}
        values.append(_settle(OPERATIONS[node.operation](*args, **kwargs), node.dtypes, cast))
    return tuple(_resolve(o, values, parameters, buffers).ravel().astype(run) for o in plan.outputs)


class TorchDecoder(AbstractDecoder):
    """A PyTorch module as a pure JAX function of one latent point, made by `landform.from_torch`.

    The weights are leaves of the pytree, so they can be trained, vmapped over (ensembles) or
    swapped; the graph is one static JSON string. Torch is not needed to call, save or load it.

    Attributes
    ----------
    parameters : dict of str to array
        The module's parameters under their torch names (those that the graph uses).
    buffers : dict of str to array
        Running statistics and constants, not meant to be trained.
    program : str
        The graph: ``{"dtype", "shape", "nodes", "outputs", "names", "kinks"}`` as JSON. The only
        static field.
    """

    parameters: dict[str, Array]
    buffers: dict[str, Array]
    program: str = eqx.field(static=True)

    def __check_init__(self):
        parse(self.program)

    @property
    def latent_dim(self) -> int:
        """The number of latent coordinates d."""
        return math.prod(parse(self.program).shape)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the heads: keys, fields, parameters of distributions, or positions."""
        return parse(self.program).names

    @property
    def kinks(self) -> tuple[str, ...]:
        """The operations that are not twice differentiable everywhere, such as ``"relu"``."""
        return parse(self.program).kinks

    def select(self, *heads: str | int) -> "TorchDecoder":
        """The decoder of the given heads only, with the operations and weights that they need.

        Parameters
        ----------
        heads
            Names of `output_names`, or positions among them.

        Returns
        -------
        TorchDecoder
            It returns one array for one head, and a tuple in the given order for several. Unlike
            a lambda, it can be saved, and its weights are leaves.

        Raises
        ------
        ValueError
            If a head is unknown, or none is given.

        Examples
        --------
        >>> decoder = lf.from_torch(vae.decode, codes)  # doctest: +SKIP
        >>> decoder.output_names  # doctest: +SKIP
        ('mean', 'logvar')
        >>> metric = lf.Pullback(decoder.select("mean"))  # doctest: +SKIP
        """
        if not heads:
            raise ValueError(f"heads must name at least one of {', '.join(self.output_names)}")
        program, used = _pick(self.program, heads)
        parameters = {k: v for k, v in self.parameters.items() if ("parameter", k) in used}
        buffers = {k: v for k, v in self.buffers.items() if ("buffer", k) in used}
        return TorchDecoder(parameters, buffers, program)

    def _summary(self):
        plan = parse(self.program)
        count = display.counted(display.weights(self.parameters), "parameter")
        latent = display.counted(self.latent_dim, "latent dimension")
        return [latent, f"heads={', '.join(plan.names)}", count, plan.dtype]

    def _heads(self, z: Float[Array, " d"]) -> tuple[Array, ...]:
        return interpret(parse(self.program), self.parameters, self.buffers, z)
