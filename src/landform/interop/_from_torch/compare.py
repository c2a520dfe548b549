"""Compare values and derivatives of a converted decoder with torch at some points; needs torch."""

import jax
import jax.numpy as jnp
import numpy as np
import torch

from landform.interop._program import interpret, parse

_MAX_ROWS = 3  # of the example at which to compare
# Compare beside the example at the first of these distances where the module is not NaN.
_DISTANCES = (0.3, 0.03, 0.003)
# For values and for gradients; torch rounds some constants of its derivatives to single precision.
_TOLERANCE = {"float32": (1e-4, 1e-3), "float64": (1e-10, 1e-6)}


def _reference(flat, row, weights):
    """Heads at one row, the gradient of their weighted sum, and whether torch implements it.

    The gradient is None if torch stops it or does not implement a derivative.
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
        values = jnp.concatenate(out)
        return values @ weights.astype(values.dtype), values

    return jax.vmap(jax.grad(weighted, has_aux=True))(points)


def compare(flat, decoder, rows, *, alone) -> list[str]:
    """Compare values and gradients with torch at rows of the example and beside them."""
    rows = rows[:_MAX_ROWS]
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for i, row in enumerate(rows):
            if _is_nan(flat, row):
                raise ValueError(f"module returns NaN at point {i} of example; leave it out")
        points = torch.cat([rows, *(_beside(flat, row, rng) for row in rows[:2])])
        sizes = [h.numel() for h in flat(rows[:1])]
        batch = _together(flat, points) if alone else None
    weights = rng.standard_normal(sum(sizes)) / np.sqrt(sum(sizes))
    with jax.enable_x64(True):
        ours = _evaluate(
            decoder, jnp.asarray(points.reshape(len(points), -1).numpy()), jnp.asarray(weights)
        )
    gradients, values = (np.asarray(v) for v in ours)
    coarsest = _coarsest(parse(decoder.program))
    close, close_gradient = _TOLERANCE[coarsest]
    stopped = undefined = False
    for i, row in enumerate(points):
        expected, slope, defined = _reference(flat, row, weights)
        if not same_numbers(values[i], expected, close):
            _fail("values", values[i], expected)
        # only beside the example: at points such as zero, one-sided derivatives are a convention
        if i < len(rows):
            continue
        if slope is not None and np.isnan(slope).any() and np.isnan(gradients[i]).any():
            undefined = True
            continue
        if slope is not None and same_numbers(gradients[i], slope, close_gradient):
            continue
        stopped |= defined
        if not _agrees_forwards(flat, row, weights, gradients[i]):
            _fail("derivatives", gradients[i], np.nan if slope is None else slope)
    problems = []
    if batch is not None and _mixes(batch, sizes, values, close):
        mixing = (
            "module mixes the points of a batch: its output for one point depends on the others "
            "(statistics over the batch, attention with the batch axis in the wrong place)"
        )
        if len(rows) > 1:
            raise ValueError(f"{mixing}, so it is no function of one latent point")
        problems.append(f"{mixing}; the converted decoder is its output for one point alone")
    if coarsest != parse(decoder.program).dtype:
        problems.append(
            f"module rounds to {coarsest} in intermediate results; the converted decoder does not, "
            "and agrees with torch only to that precision"
        )
    if undefined:
        problems.append(
            "module has derivatives that are NaN beside the points of example, also in torch, and "
            "a metric is NaN there. Usual causes: a root, logarithm or norm outside its domain "
            "behind torch.where or nan_to_num"
        )
    if stopped:
        problems.append(
            "torch stops gradients inside this module (torch.no_grad or a custom backward); the "
            "converted decoder has the derivatives of the function itself"
        )
    return problems


def _is_nan(flat, row) -> bool:
    return any(bool(torch.isnan(head).any()) for head in flat(row[None]))


def _beside(flat, row, rng) -> torch.Tensor:
    """A random point beside a row where the module is not NaN, shape (1, ...), or an empty batch.

    A logarithm or a root may be undefined at a small distance from the example.
    """
    direction = torch.from_numpy(rng.standard_normal(row.shape)).to(row.dtype)
    near = (row + distance * direction for distance in _DISTANCES)
    return next((point[None] for point in near if not _is_nan(flat, point)), row[None][:0])


def _together(flat, points):
    """The heads of a batch of points, or None if the module accepts only one point."""
    try:
        return flat(points)
    except Exception:  # of any type; a module that accepts no batch does not mix its points
        return None


def _coarsest(plan) -> str:
    """The least precise floating dtype in a program."""
    used = {str(d).replace("complex64", "float32") for n in plan.nodes for d in n.dtypes}
    return min({plan.dtype} | (used & _TOLERANCE.keys()), key=list(_TOLERANCE).index)


def _agrees_forwards(flat, row, weights, gradient) -> bool:
    """Whether a gradient agrees with torch's forward mode, which ignores torch.no_grad.

    Central differences replace a forward derivative that torch stops or does not implement.
    """
    precise = row.dtype == torch.float64
    direction = torch.from_numpy(np.random.default_rng(1).standard_normal(row.shape)).to(row.dtype)
    scale = torch.from_numpy(weights).to(row.dtype)

    def total(point):
        return (torch.cat([h.reshape(-1) for h in flat(point[None])]) * scale).sum()

    ours = float(gradient @ direction.reshape(-1).numpy())

    def agrees(slope):
        return abs(slope - ours) <= (1e-5 if precise else 1e-2) * (1.0 + abs(slope))

    try:
        # the fused kernels of attention have no forward derivative
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            slope = float(torch.func.jvp(total, (row,), (direction,))[1])
        if agrees(slope):
            return True
    except (NotImplementedError, RuntimeError):
        pass
    step = 1e-5 if precise else 1e-2
    with torch.no_grad():
        rise = float(total(row + step * direction) - total(row - step * direction))
    return agrees(rise / (2 * step))


def same_numbers(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    """Whether two arrays agree relative to the larger of 1 and their size; NaN equals nothing."""
    if a.shape != b.shape:
        return False
    scale = max(1.0, float(np.max(np.abs(b[np.isfinite(b)]), initial=0.0)))
    return bool(np.allclose(a, b, rtol=0.0, atol=tolerance * scale))


def _fail(what, ours, torchs) -> None:
    gap = "in shape"
    if np.shape(ours) == np.shape(torchs):
        finite = np.isfinite(ours) & np.isfinite(torchs)
        gap = np.max(np.abs(ours - torchs)[finite], initial=0.0) if finite.all() else "not finite"
    raise RuntimeError(
        f"the converted decoder disagrees with torch in its {what} (largest difference {gap}). "
        "The module may depend on hidden state or have a custom backward, or this is a defect of "
        "landform; convert with check=False to look at the difference."
    )


def _mixes(batch, sizes, values, tolerance) -> bool:
    """Whether the rows of a batch affect each other; heads without a batch axis are ignored."""
    start = 0
    for head, size in zip(batch, sizes, strict=True):
        part = values[:, start : start + size]
        start += size
        if head.numel() != part.size:
            continue
        rows = head.detach().numpy().reshape(part.shape)
        if not same_numbers(part, rows, tolerance):
            return True
    return False
