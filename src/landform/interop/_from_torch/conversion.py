"""The steps of `from_torch`: prepare a module, export it, lower it, compare; needs torch."""

import contextlib
import copy
import inspect
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import torch

from landform.interop._from_torch import lowering, outputs
from landform.interop._from_torch.lowering import Unsupported, same_numbers
from landform.interop._program import TorchDecoder, interpret, parse

_ROWS = 3
_TOLERANCE = {
    "float32": (1e-4, 1e-3),
    "float64": (1e-10, 1e-6),
}  # torch itself rounds some constants of its derivatives
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
        self.names: list[str] = []

    def forward(self, z):
        args, kwargs = self.extra
        call = self.module if self.method == "forward" else getattr(self.module, self.method)
        leaves = outputs.flatten(call(z, *args, **kwargs))
        self.names[:] = [name or "0" for name, _ in leaves]
        return tuple(tensor for _, tensor in leaves)


def convert(module, example, args, kwargs, *, check) -> tuple[TorchDecoder, list[str]]:
    """The decoder and a list of warnings to give."""
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
    with _evaluation(owner), _quiet_torch():
        _try_out(flat, rows)
        text, parameters, buffers = _lower(flat, rows[:1])
        decoder = TorchDecoder(parameters, buffers, text)
        if check:
            problems += _compare(flat, decoder, rows, alone=not args and not kwargs)
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
            "for a JAX function use landform.from_callable"
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
    if any(t.is_quantized or t.layout != torch.strided for t in tensors):
        raise ValueError(
            "module has quantised or sparse weights; convert the dense float32 module instead"
        )
    dtype = lowering.dtype_of_module(owner)
    if dtype is not None and dtype not in (torch.float32, torch.float64):
        name = str(dtype).removeprefix("torch.")
        raise ValueError(
            f"module has weights of dtype {name}, too coarse for derivatives; convert it with "
            "module.float() "
            "or module.double() first"
        )
    if any(t.device.type != "cpu" for t in tensors):
        owner = copy.deepcopy(owner).cpu()
    return owner, dtype


def _as_batch(example, dtype: torch.dtype | None) -> torch.Tensor:
    if not isinstance(example, torch.Tensor):
        try:
            example = torch.as_tensor(np.array(example))
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"example must be a batch of latent points, an array of numbers: {error}"
            ) from None
    example = example.detach().cpu()
    if example.is_complex():
        raise TypeError("example must be real")
    if example.ndim < 2 or example.numel() == 0:
        raise ValueError(
            "example must be a batch of latent points of shape (n, d), got shape "
            f"{tuple(example.shape)}; "
            "for one point use example[None]"
        )
    if dtype is None:  # a module without weights takes what it is given
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
    """Put submodules in evaluation mode and set two global switches, and undo it after."""
    modes = [(m, m.training) for m in owner.modules()]
    law = torch.distributions.Distribution
    validate, fast = law._validate_args, torch.backends.mha.get_fastpath_enabled()
    try:
        for m, _ in modes:
            m.training = False
        # checks of arguments branch on values, and the fused attention has no open graph
        law.set_default_validate_args(False)
        torch.backends.mha.set_fastpath_enabled(False)
        yield
    finally:
        for m, mode in modes:
            m.training = mode
        law.set_default_validate_args(validate)
        torch.backends.mha.set_fastpath_enabled(fast)


@contextlib.contextmanager
def _quiet_torch():
    """Silence torch's remarks on its own tracing; landform's warnings are given outside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _try_out(flat, rows) -> None:
    """Run the module in torch, so that a wrong shape is told apart from a failure to export."""
    try:
        with torch.no_grad():
            heads = flat(rows[:1])
    except TypeError as error:
        if str(error).startswith("module returns"):
            raise
        raise ValueError(_call_failed(rows, error)) from error
    except Exception as error:
        raise ValueError(_call_failed(rows, error)) from error
    if not heads:
        raise TypeError("module returns no tensor")
    for name, head in zip(flat.names, heads, strict=True):
        if not head.is_floating_point():
            raise TypeError(
                f"output {name!r} of module has dtype {head.dtype}; a decoder's heads must be "
                "real floats"
            )


def _call_failed(rows, error) -> str:
    return (
        "module does not accept a batch of one latent point, a "
        f"{str(rows.dtype).removeprefix('torch.')} tensor "
        f"of shape {tuple(rows[:1].shape)}: {type(error).__name__}: {error}"
    )


def _lower(flat, row) -> tuple[str, dict, dict]:
    try:
        with torch.enable_grad():
            exported = torch.export.export(flat, (row,), strict=False)
            program = lowering.decompose(exported)
    except Unsupported:
        raise
    except Exception as error:
        raise NotImplementedError(
            f"torch.export cannot trace the module: {type(error).__name__}: {_first_lines(error)}\n"
            "Usual causes: a Python `if` or loop that depends on the values of a tensor, "
            "`.item()`, numpy inside "
            "forward, or a distribution built with validate_args=True. Move these out of the "
            "decoder, or write it "
            "in JAX and use landform.from_callable."
        ) from error
    with jax.enable_x64(True):  # otherwise float64 weights would be rounded
        return lowering.Lowering(program).run(list(flat.names))


def _first_lines(error) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:500]


def _reference(flat, row, weights):
    """Heads at one row, the gradient of their weighted sum, and whether torch has one.

    The gradient is None where torch stops it, and where torch has no derivative of some operation.
    """
    row = row[None].clone().requires_grad_(True)
    with torch.enable_grad():
        heads = [h.reshape(-1) for h in flat(row)]
        flat_heads = torch.cat(heads)
        total = (flat_heads * torch.from_numpy(weights).to(flat_heads.dtype)).sum()
        gradient, defined = None, True
        if total.requires_grad:
            try:
                (gradient,) = torch.autograd.grad(total, row, allow_unused=True)
            except RuntimeError:
                defined = False
    values = flat_heads.detach().numpy()
    return values, None if gradient is None else gradient.reshape(-1).numpy(), defined


@jax.jit
def _evaluate(decoder, points, weights):
    """Values and gradients of the weighted sum of the heads at a batch of points, by JAX."""
    plan = parse(decoder.program)

    def weighted(z):
        out = interpret(plan, decoder.parameters, decoder.buffers, z)
        values = jnp.concatenate(out) if isinstance(out, tuple) else out
        return values @ weights.astype(values.dtype), values

    return jax.vmap(jax.grad(weighted, has_aux=True))(points)


def _compare(flat, decoder, rows, *, alone) -> list[str]:
    """Compare values and gradients with torch at rows of the example and beside them."""
    rows = rows[:_ROWS]
    rng = np.random.default_rng(0)
    beside = rows[:2] + torch.from_numpy(0.3 * rng.standard_normal(rows[:2].shape)).to(rows.dtype)
    points = torch.cat([rows, beside])
    with torch.no_grad():
        sizes = [h.numel() for h in flat(rows[:1])]
        batch = flat(rows) if alone and len(rows) > 1 else None
    weights = rng.standard_normal(sum(sizes)) / np.sqrt(sum(sizes))
    with jax.enable_x64(True):
        ours = _evaluate(
            decoder, jnp.asarray(points.reshape(len(points), -1).numpy()), jnp.asarray(weights)
        )
    gradients, values = (np.asarray(v) for v in ours)
    close, close_gradient = _TOLERANCE[parse(decoder.program).dtype]
    stopped = False
    for i, row in enumerate(points):
        expected, slope, defined = _reference(flat, row, weights)
        if not same_numbers(values[i], expected, close):
            _fail("values", values[i], expected)
        # beside the example only: one-sided derivatives at a point like zero are convention
        if i < len(rows) or (
            slope is not None and same_numbers(gradients[i], slope, close_gradient)
        ):
            continue
        stopped |= defined
        if not _agrees_forwards(flat, row, weights, gradients[i]):
            _fail("derivatives", gradients[i], np.nan if slope is None else slope)
    if batch is not None:
        _check_batch(batch, sizes, values[: len(rows)], close)
    if not stopped:
        return []
    return [
        "torch stops gradients inside this module (torch.no_grad or a custom backward); the "
        "converted decoder "
        "has the derivatives of the function itself"
    ]


def _agrees_forwards(flat, row, weights, gradient) -> bool:
    """Whether a gradient agrees with torch's forward mode, which torch.no_grad does not stop.

    Central differences stand in where torch has no forward derivative.
    """
    precise = row.dtype == torch.float64
    direction = torch.from_numpy(np.random.default_rng(1).standard_normal(row.shape)).to(row.dtype)
    scale = torch.from_numpy(weights).to(row.dtype)

    def total(point):
        return (torch.cat([h.reshape(-1) for h in flat(point[None])]) * scale).sum()

    try:
        # the fused kernels of attention have no forward derivative
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            slope = float(torch.func.jvp(total, (row,), (direction,))[1])
    except (NotImplementedError, RuntimeError):
        step = 1e-5 if precise else 1e-2
        with torch.no_grad():
            slope = float(total(row + step * direction) - total(row - step * direction)) / (
                2 * step
            )
    ours = float(gradient @ direction.reshape(-1).numpy())
    return abs(slope - ours) <= (1e-5 if precise else 1e-2) * (1.0 + abs(slope))


def _fail(what, ours, torchs) -> None:
    gap = np.nanmax(np.abs(ours - torchs)) if np.shape(ours) == np.shape(torchs) else "in shape"
    raise RuntimeError(
        f"the converted decoder disagrees with torch in its {what} (largest difference {gap}). "
        "The module may "
        "depend on hidden state or have a custom backward, or this is a defect of landform; "
        "convert with "
        "check=False to look at the difference."
    )


def _check_batch(batch, sizes, values, tolerance) -> None:
    """Refuse a module whose rows depend on each other; heads without a batch axis are let be."""
    start = 0
    for head, size in zip(batch, sizes, strict=True):
        part = values[:, start : start + size]
        start += size
        if head.numel() != part.size:
            continue
        rows = head.detach().numpy().reshape(part.shape)
        if not same_numbers(part, rows, tolerance):
            raise ValueError(
                "module mixes the points of a batch: its output for one point depends on the "
                "others (statistics "
                "over the batch, attention with the batch axis in the wrong place), so it is "
                "no function of one "
                "latent point"
            )
