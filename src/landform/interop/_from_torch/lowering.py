"""From a `torch.export` program to the text and arrays of a `TorchDecoder`; needs torch."""

import json
import math
import operator
from typing import Any

import jax.numpy as jnp
import torch
from torch._decomp import decomposition_table

from landform._core.arrays import to_jax
from landform.interop._aten import BENDS, BENDS_IF, BENDS_IN, OPERATIONS
from landform.interop._program import short_name

# Results of these depend only on the shape and dtype of the first argument.
_SHAPE_ONLY = {
    *("zeros_like", "ones_like", "full_like", "empty_like"),
    *("new_zeros", "new_ones", "new_full", "new_empty"),
}
_SIZES = {"sym_size", "sym_numel", "sym_stride"}
_VARYING_SIZE = "how many entries it has depends on values; index with fixed positions instead"
_MAX_GUARD = 1e-5  # clamping at a positive number up to this only guards a division or logarithm


class Unsupported(NotImplementedError):
    """The graph has operations without a JAX form; `operations` maps their names to reasons."""

    def __init__(self, operations: dict[str, str]):
        self.operations = operations
        lines = "\n".join(
            f"  - {name}{': ' if why else ''}{why}" for name, why in operations.items()
        )
        super().__init__(
            f"module uses {len(operations)} operation(s) that landform cannot convert:\n{lines}\n"
            "Replace these layers in the module, convert a part of it that does not use them, "
            "or write the decoder in JAX and pass it to landform.from_callable."
        )


def name_of(target: Any) -> str:
    """The name of an operation in the table: ``aten.add.Tensor`` is ``"add.Tensor"``."""
    if target is operator.getitem:
        return "getitem"
    return str(target).removeprefix("aten.")


def _is_random(target: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(target, "tags", ())


def _reason(target: Any) -> str:
    if _is_random(target):
        return "it draws random numbers; convert the deterministic part, without sampling"
    if isinstance(target, torch._ops.HigherOrderOperator):
        return "control flow inside the module"
    if name_of(target) == "_local_scalar_dense.default":
        return "Python code reads a number that depends on the latent point (.item(), float())"
    sized = name_of(target).split(".")[0] in _SIZES
    if sized or torch.Tag.dynamic_output_shape in getattr(target, "tags", ()):
        return _VARYING_SIZE
    return ""


def decompose(exported):
    """The functional form of a program, with unknown operations decomposed where torch can.

    Only operations on the latent point are decomposed: torch computes the constants, and its
    kernels round differently from its decompositions.
    """
    program = exported.run_decompositions({})
    tried: set = set()
    while True:
        calls = [n for n in program.graph.nodes if n.op == "call_function"]
        moving = _depending_on(_latent_of(program), calls)
        unknown = {n.target for n in moving if n.op == "call_function"} - tried
        unknown = {op for op in unknown if name_of(op) not in OPERATIONS}
        table = {op: rule for op, rule in _decompositions().items() if op in unknown}
        if not table:
            return program
        tried |= unknown
        program = program.run_decompositions(table)


def _latent_of(program):
    """The placeholder of the latent point, the only input that is not a weight or a constant."""
    (name,) = program.graph_signature.user_inputs
    return next(n for n in program.graph.nodes if n.name == name)


def _depending_on(latent, calls) -> set:
    """The nodes whose values change with the latent point."""
    moving = {latent}
    for node in calls:
        shape_only = name_of(node.target).split(".")[0] in _SHAPE_ONLY
        if not shape_only and any(n in moving for n in node.all_input_nodes):
            moving.add(node)
    return moving


def _decompositions() -> dict:
    rules: dict = dict(decomposition_table)
    rules.update(torch.export.default_decompositions())
    return rules


def to_array(tensor) -> Any:
    """A torch tensor as a JAX array of the same dtype."""
    tensor = tensor.detach().resolve_conj().resolve_neg().cpu()
    if tensor.dtype == torch.bfloat16:
        return jnp.asarray(tensor.float().numpy(), dtype=jnp.bfloat16)
    return to_jax(tensor.numpy())  # copies, since the module may be trained further


class Lowering:
    """One pass over an exported graph.

    Torch computes nodes that depend on neither the latent point nor a parameter, and they are
    stored as constants. Masks, grids and encodings thus equal torch's to the last bit.
    """

    def __init__(self, program):
        self.program = program
        self.signature = program.graph_signature
        self.values: dict = {}  # node -> torch value, for nodes that do not depend on z
        self.trainable: set = set()  # nodes of `values` that depend on a parameter
        self.references: dict = {}  # node -> reference in the program's text
        self.parameters: dict[str, Any] = {}
        self.buffers: dict[str, Any] = {}
        self.nodes: list = []
        self.kinks: list[str] = []
        self.latent: Any = None

    def run(self, names: list[str]) -> tuple[str, dict, dict]:
        graph = self.program.graph
        self._read_inputs(graph)
        needed = self._needed(graph)
        calls = [n for n in graph.nodes if n.op == "call_function" and n in needed]
        self._refuse_unknown(calls)
        self._fold(calls)
        for node in calls:
            if node not in self.values or self._stays(node):
                self._emit(node)
        outputs = [self._encode(node) for node in self._outputs(graph)]
        text = {
            "dtype": _dtype_name(self.latent.meta["val"].dtype),
            "shape": list(self.latent.meta["val"].shape[1:]),
            "nodes": self.nodes,
            "outputs": outputs,
            "names": names,
            "kinks": sorted(set(self.kinks)),
        }
        return json.dumps(text, separators=(",", ":")), self.parameters, self.buffers

    def _read_inputs(self, graph) -> None:
        specs = {s.arg.name: s for s in self.signature.input_specs}
        kinds = torch.export.graph_signature.InputKind
        for node in graph.nodes:
            if node.op != "placeholder":
                continue
            spec = specs[node.name]
            if spec.kind == kinds.USER_INPUT:
                self.latent = node
                self.references[node] = {"value": 0}
                continue
            if spec.kind == kinds.TOKEN:
                continue
            if spec.kind not in (kinds.PARAMETER, kinds.BUFFER, kinds.CONSTANT_TENSOR):
                raise Unsupported(
                    {f"input {spec.target}": f"a {spec.kind.name.lower()} is not a tensor"}
                )
            store = self.program.state_dict
            if spec.target not in store:
                store = self.program.constants
            self.values[node] = store[spec.target]
            if spec.kind == kinds.PARAMETER:
                self.trainable.add(node)

    def _outputs(self, graph) -> list:
        kinds = torch.export.graph_signature.OutputKind
        (last,) = (n for n in graph.nodes if n.op == "output")
        specs = self.signature.output_specs
        return [n for n, s in zip(last.args[0], specs, strict=True) if s.kind == kinds.USER_OUTPUT]

    def _needed(self, graph) -> set:
        needed, stack = set(), list(self._outputs(graph))
        while stack:
            node = stack.pop()
            if node not in needed:
                needed.add(node)
                stack.extend(node.all_input_nodes)
        return needed

    def _refuse_unknown(self, calls) -> None:
        self.moving = _depending_on(self.latent, calls)
        bad: dict[str, str] = {}
        for node in calls:
            name = name_of(node.target)
            unknown = node in self.moving and name not in OPERATIONS
            if unknown or (name not in OPERATIONS and _is_random(node.target)):
                bad[name] = _reason(node.target)
            elif (train := _training_flag(node)) is not None:
                bad[name] = train
            elif node in self.moving and (half := _half_precision(node.meta["val"])):
                bad[name] = (
                    f"it computes in {half}, which is too coarse for derivatives; leave out the "
                    "cast or the torch.autocast around it"
                )
            elif self._has_moving_mask(name, node):
                bad[name] = (
                    "a mask that depends on the latent point selects a varying number of entries; "
                    "use torch.where(mask, a, b)"
                )
        if bad:
            raise Unsupported(bad)

    def _has_moving_mask(self, name: str, node) -> bool:
        """Whether a boolean index depends on the latent point, except to fill with one number."""
        if name.split(".")[0].strip("_").removeprefix("unsafe_") not in ("index", "index_put"):
            return False
        indices = node.args[1]
        values = node.args[2].meta["val"].shape if len(node.args) > 2 else (None,)
        if len(indices) == 1 and all(isinstance(n, int) and n == 1 for n in values):
            return False
        return any(i in self.moving and i.meta["val"].dtype == torch.bool for i in indices)

    def _fold(self, calls) -> None:
        """Compute all nodes that do not depend on the latent point with torch."""

        def concrete(arg):
            if isinstance(arg, torch.fx.Node):
                if arg in self.values:
                    return self.values[arg]
                if not all(isinstance(size, int) for size in arg.meta["val"].shape):
                    raise Unsupported({name_of(arg.target): _VARYING_SIZE})
                return torch.zeros(arg.meta["val"].shape, dtype=arg.meta["val"].dtype)
            return arg

        with torch.no_grad():
            for node in calls:
                if node not in self.moving:
                    args, kwargs = torch.fx.map_arg((node.args, node.kwargs), concrete)
                    self.values[node] = node.target(*args, **kwargs)
                    if any(n in self.trainable for n in node.all_input_nodes):
                        self.trainable.add(node)

    def _stays(self, node) -> bool:
        """Whether a computation on parameters alone stays in the program, for training."""
        if name_of(node.target) == "getitem" and not self._stays(node.args[0]):
            return False  # one result of an operation that only torch can compute
        return node in self.trainable and name_of(node.target) in OPERATIONS

    def _emit(self, node) -> None:
        name = name_of(node.target)
        if self._bends(name, node):
            self.kinks.append(short_name(name))
        elif node in self.moving and _rounds(node):
            self.kinks.append(f"to_{_dtype_name(node.meta['val'].dtype)}")
        args, kwargs = (
            self._encode(list(node.args)),
            {k: self._encode(v) for k, v in node.kwargs.items()},
        )
        if name.startswith(("index.", "index_put.", "_unsafe_index.", "_unsafe_index_put.")):
            args[1] = self._encode(self._integer_indices(node.args[1]))
        self.nodes.append([name, args, kwargs, _dtypes(node.meta["val"])])
        self.references[node] = {"value": len(self.nodes)}

    def _bends(self, name: str, node) -> bool:
        if node not in self.moving or name not in BENDS or _is_guard(name, node):
            return False
        if name in BENDS_IF and not BENDS_IF[name](*node.args, **node.kwargs):
            return False
        places = BENDS_IN.get(name)
        return places is None or any(node.args[k] in self.moving for k in places)

    def _integer_indices(self, indices) -> list:
        """Replace constant masks by positions: shapes must not depend on values in JAX."""
        out: list = []
        for item in indices:
            value: Any = self.values.get(item)
            if isinstance(value, torch.Tensor) and value.dtype in (torch.bool, torch.uint8):
                out.extend(value.nonzero(as_tuple=True))
            else:
                out.append(item)
        return out

    def _encode(self, item: Any) -> Any:
        if isinstance(item, torch.fx.Node):
            if isinstance(self.values.get(item), bool | int | float):  # a size read from a constant
                return self._encode(self.values[item])
            if item not in self.references:
                self.references[item] = self._store(
                    item.name, self.values[item], item in self.trainable, item
                )
            return self.references[item]
        if isinstance(item, torch.Tensor):
            return self._store("index", item, False, None)
        if isinstance(item, list | tuple):
            return [self._encode(x) for x in item]
        if isinstance(item, bool | int | str) or item is None:
            return item
        if isinstance(item, float):
            return item if math.isfinite(item) else {"float": str(item)}
        if isinstance(item, torch.dtype | torch.device | torch.layout | torch.memory_format):
            return None
        if isinstance(item, complex):
            return {"complex": [item.real, item.imag]}
        raise Unsupported({f"argument {item!r}": "only numbers, strings and tensors can be stored"})

    def _store(self, name: str, value: Any, trainable: bool, node) -> dict:
        target = None
        if node is not None and node.op == "placeholder":
            spec = next(s for s in self.signature.input_specs if s.arg.name == node.name)
            target = spec.target.removeprefix("module.")
        table, kind = (self.parameters, "parameter") if trainable else (self.buffers, "buffer")
        key = target or f"constant.{name}"
        while key in table:
            key += "_"
        table[key] = to_array(value)
        return {kind: key}


def _dtype_name(dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _dtypes(value: Any) -> list:
    if isinstance(value, list | tuple):
        return [_dtypes(v)[0] if v is not None else None for v in value]
    return [_dtype_name(value.dtype) if isinstance(value, torch.Tensor) else None]


def _half_precision(value: Any) -> str:
    """The name of the first floating dtype of at most 16 bits in the results of a node, or ""."""
    for item in value if isinstance(value, list | tuple) else [value]:
        if isinstance(item, torch.Tensor) and item.is_floating_point() and item.itemsize < 4:
            return _dtype_name(item.dtype)
    return ""


def _is_guard(name: str, node) -> bool:
    """Whether a node only clamps at a tiny positive number, which does not count as a kink."""
    if not name.startswith(("clamp", "clip", "maximum")) or name.startswith("clamp_max"):
        return False
    bounds = list(node.args[1:3]) + list(node.kwargs.values())
    bounds = [b for b in bounds if b is not None]
    return len(bounds) == 1 and isinstance(bounds[0], float | int) and 0 < bounds[0] <= _MAX_GUARD


def _rounds(node) -> bool:
    """Whether a node casts floats to integers or booleans."""
    if name_of(node.target).split(".")[0] not in ("_to_copy", "to", "type_as"):
        return False
    before, after = (n.meta["val"].dtype for n in (node.args[0], node))
    return before.is_floating_point and not after.is_floating_point and not after.is_complex


def _training_flag(node) -> str | None:
    """Why an operation is refused, if it runs in its training form."""
    name = name_of(node.target).split(".")[0]
    if "dropout" in name and len(node.args) > 2 and node.args[2] and node.args[1] > 0:
        return "dropout is active although the module is in evaluation mode"
    if name == "scaled_dot_product_attention":
        rate = node.args[4] if len(node.args) > 4 else node.kwargs.get("dropout_p", 0.0)
        return (
            "its dropout is active although the module is in evaluation mode" if rate > 0 else None
        )
    if name == "rrelu" and len(node.args) > 3 and node.args[3]:
        return "it is random in training mode"
    if name in ("lstm", "gru", "rnn_tanh", "rnn_relu") and len(node.args) > 6:
        return "its dropout is active" if node.args[5] > 0 and node.args[6] else None
    return None
