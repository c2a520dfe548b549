"""The steps of `from_torch`: prepare a module, export it, lower it, compare; needs torch."""

import contextlib
import copy
import inspect
import io
import logging
import warnings
from typing import Any

import jax
import numpy as np
import torch

from landform._core.checks import NO_DERIVATIVE, as_floats
from landform.interop._from_torch import compare, constant_reads, lowering, outputs, scripted
from landform.interop._from_torch.lowering import Unsupported
from landform.interop._from_torch.state import Snapshot, depends_on_earlier_calls, reachable
from landform.interop._program import TorchDecoder

_DIFFERS_IN_TRAINING = (
    torch.nn.modules.dropout._DropoutNd,
    torch.nn.modules.batchnorm._NormBase,
    torch.nn.RReLU,
)


class Flat(torch.nn.Module):
    """The module to export: calls the user's decoder and returns a flat tuple of tensors."""

    def __init__(self, owner, method: str, args: tuple, kwargs: dict):
        super().__init__()
        self.module, self.method = owner, method
        self.extra = (args, kwargs)
        self.reads = contextlib.nullcontext()
        self.names: list[str] = []

    def forward(self, z):
        if not torch.compiler.is_compiling():
            z = z.clone()  # the module may change its input
        args, kwargs = self.extra
        call = self.module if self.method == "forward" else getattr(self.module, self.method)
        with self.reads:
            leaves = outputs.flatten(call(z, *args, **kwargs))
        self.names[:] = [name or "0" for name, _ in leaves]
        return tuple(tensor for _, tensor in leaves)


def convert(module, example, args, kwargs, *, check) -> tuple[TorchDecoder, list[str]]:
    """The decoder and a list of warnings to issue."""
    owner, method = _owner_of(module)
    owner, dtype = _prepare(owner)
    rows = _as_batch(example, dtype)
    problems = []
    if any(m.training and _differs(m) for m in owner.modules()):
        problems.append(
            "module is in training mode; it was converted as in evaluation mode (call "
            "module.eval() first)"
        )
    flat = Flat(owner, method, args, kwargs)
    with _evaluation(owner), _quiet_torch(), _unchanged(owner, args, kwargs) as state:
        problems += _try_out(flat, rows, state)
        text, parameters, buffers = _lower(flat, rows[:1])
        decoder = TorchDecoder(parameters, buffers, text)
        if check:
            problems += compare.compare(flat, decoder, rows, alone=not args and not kwargs)
    return decoder, problems


def _owner_of(module) -> tuple[torch.nn.Module, str]:
    method = "forward"
    if inspect.ismethod(module) and isinstance(module.__self__, torch.nn.Module):
        module, method = module.__self__, module.__name__
    if isinstance(module, torch.jit.ScriptModule):
        raise TypeError(
            "module is a TorchScript module; pass the original torch.nn.Module it was made from"
        )
    if isinstance(module, torch.export.ExportedProgram):
        raise TypeError(
            "module is an exported program; pass the original torch.nn.Module it was made from"
        )
    if not isinstance(module, torch.nn.Module):
        raise TypeError(
            f"module must be a torch.nn.Module or a method of one, got {type(module).__name__}; "
            "fixed arguments such as a label go into args and kwargs, one of several outputs is "
            "chosen by .select(...) of the result, weights alone are loaded into their module "
            "first, and other torch code has to be the forward of a module. For a JAX function use "
            "landform.from_callable"
        )
    while True:
        wrapper = "module" if isinstance(module, torch.nn.DataParallel) else "_orig_mod"
        inner = getattr(module, wrapper, None)
        if inner is None:
            return module, method
        module = inner


def _prepare(owner) -> tuple[torch.nn.Module, torch.dtype | None]:
    tensors = [*owner.parameters(), *owner.buffers()]
    if any(torch.nn.parameter.is_lazy(t) for t in tensors):
        raise ValueError(
            "module has lazy layers without weights yet; call it once on a batch first"
        )
    if any(t.device.type == "meta" for t in tensors):
        raise ValueError(
            "module has weights on the 'meta' device, that is, without values; load them first"
        )
    quantised = any("quantized" in type(m).__module__ for m in owner.modules())
    if quantised or any(t.is_quantized or t.layout != torch.strided for t in tensors):
        raise ValueError(
            "module has quantised or sparse weights; convert the dense float32 module instead"
        )
    dtype = _main_dtype(owner)
    if dtype is not None and dtype not in (torch.float32, torch.float64):
        name = str(dtype).removeprefix("torch.")
        raise ValueError(
            f"module has weights of dtype {name}, too coarse for derivatives; convert it with "
            "module.float() or module.double() first"
        )
    if any(t.device.type != "cpu" for t in tensors):
        owner = _on_cpu(owner)
    return owner, dtype


def _on_cpu(owner) -> torch.nn.Module:
    """A copy in main memory; in it, tensors computed from others are detached."""
    computed = [t for t in _tensors_of(owner) if not t.is_leaf]
    return copy.deepcopy(owner, {id(t): t.detach().clone() for t in computed}).cpu()


def _tensors_of(*roots) -> list[torch.Tensor]:
    return [item for item in reachable(*roots) if isinstance(item, torch.Tensor)]


def _main_dtype(module) -> Any:
    """The floating dtype of a module's weights, by size; None for a module without any."""
    counts: dict = {}
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.is_floating_point():
            counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.numel()
    return max(counts, key=lambda dtype: counts[dtype]) if counts else None


def _as_batch(example, dtype: torch.dtype | None) -> torch.Tensor:
    if not isinstance(example, torch.Tensor):
        with jax.enable_x64(True):
            example = torch.from_numpy(np.array(as_floats("example", example)))
    example = example.detach().cpu()
    if example.is_complex():
        raise TypeError("example must be real")
    if example.ndim < 2 or example.numel() == 0:
        raise ValueError(
            "example must be a batch of latent points of shape (n, d), got shape "
            f"{tuple(example.shape)}; for one point use example[None]"
        )
    if dtype is None:  # a module without weights keeps the dtype of the example
        dtype = example.dtype if example.dtype == torch.float64 else torch.get_default_dtype()
    example = example.to(dtype)
    if not torch.isfinite(example).all():
        raise ValueError("example has NaN or infinite values")
    return example


def _differs(module) -> bool:
    if isinstance(module, torch.nn.RNNBase | torch.nn.MultiheadAttention):
        return module.dropout > 0
    if isinstance(module, torch.nn.modules.dropout._DropoutNd):
        return module.p > 0
    return isinstance(module, _DIFFERS_IN_TRAINING)


@contextlib.contextmanager
def _evaluation(owner):
    """Put submodules in evaluation mode and set two global switches; undo this on exit."""
    modes = [(m, m.training) for m in owner.modules()]
    law = torch.distributions.Distribution
    validate, fast = law._validate_args, torch.backends.mha.get_fastpath_enabled()
    try:
        for m, _ in modes:
            m.training = False
        # argument checks branch on values, and fused attention cannot be exported
        law.set_default_validate_args(False)
        torch.backends.mha.set_fastpath_enabled(False)
        yield
    finally:
        for m, mode in modes:
            m.training = mode
        law.set_default_validate_args(validate)
        torch.backends.mha.set_fastpath_enabled(fast)


@contextlib.contextmanager
def _unchanged(*roots):
    """Restore on exit what calls of the module change."""
    state = Snapshot(*roots)
    try:
        yield state
    finally:
        state.restore()


@contextlib.contextmanager
def _quiet_torch():
    """Silence torch's messages about tracing; landform warns outside of this context."""
    loggers = [logging.getLogger(name) for name in ("torch.fx", "torch.export", "torch._export")]
    loggers += [
        logging.getLogger(name)
        for name in logging.root.manager.loggerDict
        if name.startswith(("torch.fx.", "torch._export.", "torch.export."))
    ]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _nothing_printed():
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _try_out(flat, rows, state) -> list[str]:
    """Run the module in torch, to tell a wrong call from a failed export; return warnings."""
    try:
        with torch.no_grad():
            heads = flat(rows[:1])
    except TypeError as error:
        if str(error).startswith("module returns"):
            raise
        raise ValueError(_call_failed(flat, rows, error)) from error
    except Exception as error:
        raise ValueError(_call_failed(flat, rows, error)) from error
    if not heads:
        raise TypeError("module returns no tensor")
    for name, head in zip(flat.names, heads, strict=True):
        if not head.is_floating_point():
            raise TypeError(
                f"output {name!r} of module has dtype {head.dtype}; a decoder's heads must be "
                f"real floats{NO_DERIVATIVE}"
            )
    if state.changed() and depends_on_earlier_calls(flat, rows, state):
        raise ValueError(
            "module changes when it is called, and its output for one point depends on the points "
            "before (a layer that initialises itself from the first batch, a hidden state that is "
            "carried over). Call it once on a batch of data so that it is initialised, or reset "
            "the state inside forward"
        )
    return _check_finite(flat.names, heads)


def _check_finite(names, heads) -> list[str]:
    """Raise for NaN, and return warnings for infinities, at the first point of the example."""
    problems = []
    for name, head in zip(names, heads, strict=True):
        if torch.isnan(head).any():
            raise ValueError(
                f"output {name!r} of module is NaN at the first point of example; check the "
                "weights and the point, or leave this output out"
            )
        if torch.isinf(head).any():
            problems.append(
                f"output {name!r} of module is infinite at the first point of example; metrics "
                "need finite derivatives, so leave it out or bound it"
            )
    return problems


_CAUSES = {
    "does not require grad": "takes gradients inside its forward pass, which torch.export cannot "
    "trace; convert the part before them and write their formula in JAX",
    "Expected more than 1 value per channel": "normalises by statistics of the batch, so that "
    "its output for one latent point is not defined; track running statistics, or normalise by "
    "layer or group",
}


def _call_failed(flat, rows, error) -> str:
    for sign, cause in _CAUSES.items():
        if sign in str(error):
            return f"module {cause} ({type(error).__name__}: {error})"
    lacks = isinstance(error, TypeError) and "missing" in str(error)
    hint = "; give further arguments by args and kwargs, as tensors for a batch of one"
    return (
        "module does not accept a batch of one latent point, a "
        f"{str(rows.dtype).removeprefix('torch.')} tensor "
        f"of shape {tuple(rows[:1].shape)}: {type(error).__name__}: {error}"
        f"{hint if lacks or any(flat.extra) else ''}"
    )


def _lower(flat, row) -> tuple[str, dict, dict]:
    """Export and lower; if scripted functions prevent it, run their Python code instead."""
    with scripted.calls() as names:
        try:
            return _lower_once(flat, row)
        except NotImplementedError as error:
            advice = scripted.advice(names, flat.module)
            if not names and not advice:
                raise
            refused = NotImplementedError(f"{error}{advice}")
    with scripted.calls(as_python=True):
        try:
            return _lower_once(flat, row)
        except NotImplementedError as error:
            raise refused from error


def _lower_once(flat, row) -> tuple[str, dict, dict]:
    tensors = _tensors_of(flat.module, flat.extra)
    replay, places = constant_reads.read(flat, row, tensors)
    try:
        flat.reads = replay or flat.reads
        # torch prints the graph of a module if tracing fails
        with torch.enable_grad(), _nothing_printed():
            exported = torch.export.export(flat, (row,), strict=False)
            program = lowering.decompose(exported)
    except Unsupported:
        raise
    except Exception as error:
        seen = "".join(
            f"\nThe module reads a value that may depend on the latent point at {place}"
            for place in dict.fromkeys(places)
        )
        raise NotImplementedError(
            f"torch.export cannot trace the module: {type(error).__name__}: {_first_lines(error)}"
            f"{seen}\nUsual causes: a Python `if` or loop that depends on the values of a tensor, "
            "`.item()`, numpy or a gradient (torch.autograd.grad, torch.func.grad) inside "
            "forward, or a distribution built with validate_args=True. Move these out of the "
            "decoder, or write it in JAX and use landform.from_callable."
        ) from error
    finally:
        flat.reads = contextlib.nullcontext()
    with jax.enable_x64(True):  # otherwise float64 weights would be rounded
        return lowering.Lowering(program).run(list(flat.names))


def _first_lines(error) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:500]
