"""Flatten tensors, tuples, dicts and distributions to a list of named tensors."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import distributions

# In the order that landform's metrics expect; one parametrisation of each distribution.
_PARAMETERS: dict[str, tuple[str, ...]] = {
    "Normal": ("mean", "stddev"),
    "Bernoulli": ("probs",),
    "ContinuousBernoulli": ("probs",),
    "Categorical": ("probs",),
    "OneHotCategorical": ("probs",),
    "OneHotCategoricalStraightThrough": ("probs",),
    "Multinomial": ("probs",),
    "Binomial": ("probs",),
    "Geometric": ("probs",),
    "NegativeBinomial": ("total_count", "probs"),
    "RelaxedBernoulli": ("probs",),
    "Beta": ("concentration1", "concentration0"),
    "Gamma": ("concentration", "rate"),
    "Dirichlet": ("concentration",),
    "Exponential": ("rate",),
    "Poisson": ("rate",),
    "Laplace": ("loc", "scale"),
    "LogNormal": ("loc", "scale"),
    "LogisticNormal": ("loc", "scale"),
    "Cauchy": ("loc", "scale"),
    "Gumbel": ("loc", "scale"),
    "HalfNormal": ("scale",),
    "StudentT": ("df", "loc", "scale"),
    "VonMises": ("loc", "concentration"),
    "MultivariateNormal": ("loc", "scale_tril"),
    "LowRankMultivariateNormal": ("loc", "cov_factor", "cov_diag"),
    "Kumaraswamy": ("concentration1", "concentration0"),
    "Weibull": ("scale", "concentration"),
    "Pareto": ("scale", "alpha"),
}


def flatten(output: Any, name: str = "") -> list[tuple[str, Any]]:
    """Named tensors of a decoder's output, in order.

    Inside a container, None, plain numbers and strings (a loss that is not computed, a mode) are
    left out.

    Raises
    ------
    TypeError
        For anything that is not a tensor, a container of tensors or a known distribution.
    """

    def child(key, value):
        if isinstance(value, bool | int | float | str):
            return []
        return flatten(value, f"{name}.{key}" if name else str(key))

    if output is None:
        return []
    if isinstance(output, torch.Tensor):
        return [(name, output)]
    if isinstance(output, distributions.Distribution):
        return _flatten_distribution(output, name)
    if isinstance(output, Mapping):
        return [leaf for key, value in output.items() for leaf in child(key, value)]
    if dataclasses.is_dataclass(output):
        pairs = [(f.name, getattr(output, f.name)) for f in dataclasses.fields(output)]
        return [leaf for key, value in pairs for leaf in child(key, value)]
    if isinstance(output, tuple | list):
        keys = getattr(output, "_fields", range(len(output)))
        return [leaf for key, value in zip(keys, output, strict=True) for leaf in child(key, value)]
    raise TypeError(
        f"module returns a {type(output).__name__}; a decoder must return a tensor, a tuple, a "
        "dict or a torch distribution. Wrap it in a module that returns the tensors you need."
    )


def _flatten_distribution(law, name: str) -> list[tuple[str, Any]]:
    if isinstance(law, distributions.Independent):
        return _flatten_distribution(law.base_dist, name)
    if isinstance(law, distributions.MixtureSameFamily):
        parts = (("mixture", law.mixture_distribution), ("component", law.component_distribution))
        return [
            leaf
            for part, inner in parts
            for leaf in _flatten_distribution(inner, f"{name}.{part}" if name else part)
        ]
    kind = type(law).__name__
    if kind not in _PARAMETERS:
        hint = (
            ", with the transform applied to a tensor" if kind == "TransformedDistribution" else ""
        )
        raise TypeError(
            f"module returns a {kind} distribution, whose parameters landform does not know. "
            f"Wrap the module so that it returns the parameters as a tuple of tensors{hint}."
        )
    return [(f"{name}.{p}" if name else p, getattr(law, p)) for p in _PARAMETERS[kind]]
