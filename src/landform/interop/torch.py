"""`from_torch`: a PyTorch decoder as a JAX function; torch is imported only when it is called."""

import warnings
from collections.abc import Sequence
from typing import Any

from landform.interop._program import TorchDecoder


class KinkWarning(UserWarning):
    """A decoder is not twice differentiable, so geodesic equations on it may be wrong."""


def from_torch(
    module: Any,
    example: Any,
    *,
    args: Sequence[Any] = (),
    kwargs: dict[str, Any] | None = None,
    check: bool = True,
) -> TorchDecoder:
    r"""A PyTorch decoder as a pure JAX function of one latent point.

    `torch.export` traces the module once on a batch of one. The graph is stored as text and run by
    JAX, so that torch is not needed to call, differentiate, save or load the result. Weights keep
    their dtype and become leaves of the pytree. At points of a wider dtype than its own, the
    decoder computes in the wider one throughout.

    Parameters
    ----------
    module : torch.nn.Module, or a method of one
        The decoder. A method (``vae.decode``) is called instead of ``forward``. It is run in
        evaluation mode, and afterwards everything that its calls changed is put back: weights,
        buffers, attributes, flags and the state of random generators. A module on another device
        is copied to the CPU first.
    example : tensor or array, shape (n, d) or (n, ...)
        A batch of latent points, used to trace the module and to check the result. Everything
        after the first axis is one latent point and is flattened: a generator of
        ``(n, 100, 1, 1)`` has d = 100. Converted to the dtype of the module.
    args, kwargs : optional
        Further fixed arguments of the module for a batch of one, such as a class label.
    check : bool, default True
        Compare values and derivatives with torch at a few of the points and near them.

    Returns
    -------
    TorchDecoder
        A callable ``(d,) -> (D,)``, or ``(d,) -> tuple`` of such if the module returns several
        tensors: tuples, dicts, dataclasses and distributions (a `Normal` gives its mean and
        standard deviation). Each head is flattened.

    Raises
    ------
    ImportError
        If torch is not installed.
    TypeError
        If `module` is not a module, or returns anything but real floating tensors.
    ValueError
        If `example` is not a batch that the module accepts, if the module mixes the points of a
        batch, returns NaN at `example`, or depends on earlier calls (layers that initialise
        themselves from the first batch), or if weights are lazy or of half precision.
    NotImplementedError
        If the graph has operations without a JAX form, or cannot be traced. The message names all
        of them and says what to do.
    RuntimeError
        If the result disagrees with torch.

    Warns
    -----
    KinkWarning
        If operations such as ReLU act on the latent point. The pull-back metric then jumps, and
        solvers of the geodesic equation may succeed with a wrong curve; energy and graph methods
        do not need derivatives of the metric.
    UserWarning
        If the module was in training mode, stops gradients, rounds to a lower precision, has
        infinite outputs or derivatives that are NaN, or if it mixes the points of a batch and
        `example` is one point.

    Notes
    -----
    Conversion takes a few seconds, most of it in torch and in compiling the check. Means over the
    batch (batch norm in training mode) are refused: they are not a function of one point.

    Examples
    --------
    >>> import torch, landform as lf  # doctest: +SKIP
    >>> net = torch.nn.Linear(2, 3)  # doctest: +SKIP
    >>> decoder = lf.from_torch(net, torch.zeros(1, 2))  # doctest: +SKIP
    >>> decoder(jax.numpy.zeros(2)).shape  # doctest: +SKIP
    (3,)
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ImportError("from_torch needs PyTorch: pip install 'landform[torch]'") from error
    from landform.interop._from_torch import conversion

    decoder, problems = conversion.convert(
        module, example, tuple(args), dict(kwargs or {}), check=check
    )
    for message in problems:
        warnings.warn(message, UserWarning, stacklevel=2)
    if decoder.kinks:
        warnings.warn(kink_message(decoder.kinks), KinkWarning, stacklevel=2)
    return decoder


def kink_message(kinks: Sequence[str]) -> str:
    """The warning about a decoder with these operations."""
    return (
        f"the decoder is not twice differentiable everywhere ({', '.join(kinks)}): its "
        "pull-back metric is not smooth, and a solver of the geodesic equation (shooting, exp) can "
        "report success with a wrong curve. Use the energy solver or method='graph', or smooth "
        "activations such as GELU, SiLU, softplus or tanh."
    )
