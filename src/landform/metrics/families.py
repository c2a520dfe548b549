"""Likelihoods and their Fisher information, each as a flat embedding or as a root of the matrix.

The information matrix I(η) of a likelihood p(x | η) is the Riemannian metric of its parameters
(Rao 1945). Every family here has it in closed form, and never as a matrix: either as an isometric
embedding φ of its parameters into Euclidean space (``|dφ|² = dηᵀ I dη``), or as a root R with
``RᵀR = I``. A pull-back through either is positive semi-definite by construction.
"""

from collections.abc import Mapping
from typing import get_args

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.special import polygamma

from landform._core.checks import as_count, check_choice
from landform.metrics._counts import NegativeBinomial as NegativeBinomial, Poisson as Poisson
from landform.metrics._family import (
    AbstractFamily,
    AbstractFlat,
    check_classes,
    flat,
    log_positive,
    positive,
    read_array,
    read_classes,
    read_direction,
    read_pair,
    root,
    root_of_classes,
)
from landform.metrics._mises import concentration_slopes, left_of_total, trigamma_excess
from landform.metrics.pullback import Scale, as_std


class Normal(AbstractFamily):
    """Independent normal variables, by mean and standard deviation: half-planes of curvature −½.

    ``I = diag(1, 2) / σ²`` in (μ, σ).

    Parameters
    ----------
    scale
        What the second output is: ``"std"`` σ, ``"log-std"``, ``"variance"`` or ``"log-variance"``.

    Notes
    -----
    The decoder returns the pair (mean, scale), or one array with the means in its first half and
    the scales in its second. A scale that is not positive gives NaN.

    Examples
    --------
    >>> import landform as lf
    >>> metric = lf.FisherRaoPullback(lambda z: (z[0], z[1]), lf.families.Normal())
    >>> lf.metric_tensor(metric, [0.0, 2.0]).tolist()
    [[0.25, 0.0], [0.0, 0.5]]
    """

    scale: Scale = eqx.field(static=True, default="std")

    def __check_init__(self):
        check_choice("scale", self.scale, get_args(Scale))

    def chart(self, output):
        """Mean and standard deviation."""
        mean, scale = read_pair("(mean, std)", output)
        std = as_std(scale, self.scale)
        return mean, std if self.scale.startswith("log") else positive(std)

    def whiten(self, params, tangent):
        """``(dμ / σ, √2 dσ / σ)``."""
        precision = 1.0 / params[1]
        return flat(tangent[0] * precision, jnp.sqrt(2.0) * tangent[1] * precision)


class Bernoulli(AbstractFlat):
    """Independent binary variables, by probability or logit: a flat coordinate each.

    ``I = 1 / (p (1 − p))``, flat in ``φ = 2 arcsin √p``.

    Parameters
    ----------
    logits
        Whether the decoder returns logits. It should, where it can: a probability that rounds to
        0 or 1 has lost its information.

    Examples
    --------
    >>> import landform as lf
    >>> metric = lf.FisherRaoPullback(lambda z: z, lf.families.Bernoulli())
    >>> lf.metric_tensor(metric, [0.5]).round(5).tolist()
    [[4.0]]
    """

    logits: bool = eqx.field(static=True, default=False)

    def chart(self, output):
        """``2 arcsin √p``; from logits the same less π/2, by ``2 arctan e^(l / 2)`` for l < 0."""
        values = read_array(output)
        if self.logits:  # from the side where the slope, √(p (1 − p)), keeps its digits
            sign = jnp.where(values < 0, 1.0, -1.0).astype(values.dtype)
            return sign * (2.0 * jnp.arctan(jnp.exp(0.5 * sign * values)) - 0.5 * jnp.pi)
        return 2.0 * jnp.arctan2(root(values), root(1.0 - values))


class Multinomial(AbstractFlat):
    """Counts of classes in a number of trials, by probabilities or logits: part of a sphere.

    ``I = trials · diag(1 / p)`` on tangents that sum to zero: the sphere of radius ``2 √trials`` in
    the coordinates ``√p``.

    Parameters
    ----------
    trials
        Number of trials of each variable.
    logits
        Whether the decoder returns logits, or probabilities up to a factor.
    classes
        Number of classes, to split a flat output into variables; None takes the last axis.

    Examples
    --------
    >>> import landform as lf
    >>> family = lf.families.Multinomial(trials=10)
    >>> metric = lf.FisherRaoPullback(lambda z: [z[0], 1 - z[0]], family)
    >>> lf.metric_tensor(metric, [0.5]).round(4).tolist()
    [[40.0]]
    """

    trials: int = eqx.field(static=True, default=1)
    logits: bool = eqx.field(static=True, default=False)
    classes: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        as_count("trials", self.trials, 1)
        check_classes(self.classes)

    def chart(self, output):
        """``2 √(trials · p)``."""
        values = read_classes(output, self.classes)
        return 2.0 * jnp.sqrt(1.0 * self.trials) * root_of_classes(values, self.logits)


class Categorical(AbstractFlat):
    """Independent categorical variables, by probabilities or logits: parts of spheres.

    ``I = diag(1 / p)`` on tangents that sum to zero: the sphere of radius 2 in the coordinates
    ``√p``.

    Parameters
    ----------
    logits
        Whether the decoder returns logits, or probabilities up to a factor.
    classes
        Number of classes, to split a flat output into variables; None takes the last axis.

    Examples
    --------
    >>> import landform as lf
    >>> metric = lf.FisherRaoPullback(lambda z: [z[0], 1 - z[0]], lf.families.Categorical())
    >>> lf.metric_tensor(metric, [0.5]).round(5).tolist()
    [[4.0]]
    """

    logits: bool = eqx.field(static=True, default=False)
    classes: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        check_classes(self.classes)

    def chart(self, output):
        """``2 √p``."""
        values = read_classes(output, self.classes)
        return 2.0 * root_of_classes(values, self.logits)


class Gamma(AbstractFamily):
    """Independent gamma variables, by concentration a and rate b, both positive.

    ``I = [[ψ′(a), −1/b], [−1/b, a/b²]]``.

    Notes
    -----
    The decoder returns the pair (a, b), or one array with a in its first half and b in its
    second. The root is ``√a (db/b − da/a)`` beside ``√(ψ′(a) − 1/a) da``.

    Examples
    --------
    >>> import landform as lf
    >>> metric = lf.FisherRaoPullback(lambda z: (1.0, z[0]), lf.families.Gamma())
    >>> lf.metric_tensor(metric, [0.5]).round(5).tolist()
    [[4.0]]
    """

    def chart(self, output):
        """Concentration and logarithm of the rate."""
        concentration, rate = read_pair("(concentration, rate)", output)
        return positive(concentration), log_positive(rate)

    def whiten(self, params, tangent):
        """The two squares that the information is the sum of."""
        a, (da, log_b) = params[0], tangent
        return flat(jnp.sqrt(a) * (log_b - da / a), jnp.sqrt(trigamma_excess(a)) * da)


class Dirichlet(AbstractFamily):
    """Independent Dirichlet variables, by concentrations α > 0 on the last axis.

    ``I = diag(ψ′(α)) − ψ′(Σ α) 1 1ᵀ``.

    Parameters
    ----------
    classes
        Number of concentrations of a variable, to split a flat output; None takes the last axis.

    Notes
    -----
    With ``D = diag(ψ′(α))`` and ``w = D^(−½) 1`` the information is ``D^½ (I − s w wᵀ) D^½``, whose
    middle has the root ``I − c w wᵀ`` with ``(1 − c |w|²)² = 1 − s |w|²``: O(K), no factorisation.

    Examples
    --------
    >>> import jax.numpy as jnp, landform as lf
    >>> metric = lf.FisherRaoPullback(lambda z: z, lf.families.Dirichlet())
    >>> round(float(lf.metric_tensor(metric, [1.0, 1.0])[0, 1]), 5)  # −ψ′(2) = 1 − π²/6
    -0.64493
    """

    classes: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        check_classes(self.classes)

    def chart(self, output):
        """The concentrations."""
        return positive(read_classes(output, self.classes))

    def whiten(self, params, tangent):
        """``D^½ dα − c D^(−½) 1 Σ dα``."""
        mass = jnp.sum(params, axis=-1, keepdims=True)
        d, s = polygamma(1, params), polygamma(1, mass)
        # (1 − √(1 − s |w|²)) / |w|² without its cancellation, nor that below the root
        c = s / (1.0 + jnp.sqrt(left_of_total(params, d, mass, s)))
        total = jnp.sum(tangent, axis=-1, keepdims=True)
        return jnp.ravel(jnp.sqrt(d) * tangent - c * total / jnp.sqrt(d))


class Beta(AbstractFamily):
    """Independent beta variables, by their two concentrations a, b > 0.

    ``I = diag(ψ′(a), ψ′(b)) − ψ′(a + b) 1 1ᵀ``, that of a Dirichlet of two classes.

    Notes
    -----
    The decoder returns the pair (a, b), or one array with a in its first half and b in its
    second.

    Examples
    --------
    >>> import landform as lf
    >>> metric = lf.FisherRaoPullback(lambda z: (z[0], z[1]), "beta")
    >>> round(float(lf.metric_tensor(metric, [1.0, 1.0])[0, 0]), 5)  # ψ′(1) − ψ′(2) = 1
    1.0
    """

    def chart(self, output):
        """Both concentrations, side by side on the last axis."""
        return positive(jnp.stack(read_pair("(a, b)", output), axis=-1))

    def whiten(self, params, tangent):
        """As a Dirichlet's."""
        return Dirichlet().whiten(params, tangent)


class VonMisesFisher(AbstractFamily):
    """Independent directions on spheres, by mean direction and concentration κ.

    With μ the unit direction in p dimensions and ``A(κ) = I_{p/2}(κ) / I_{p/2−1}(κ)``, a step has
    the squared length ``A′(κ) dκ² + κ A(κ) |dμ|²``.

    Notes
    -----
    The decoder returns the pair (direction, κ): directions of any length, shape ``(..., p)``, and
    κ > 0 of shape ``(...)`` or ``(..., 1)``; or one array ``(..., p)``, the natural parameter κμ.
    A and A′ are moments of the cosine to μ, by a quadrature to 1e-14 for any p and κ.

    Examples
    --------
    >>> import jax.numpy as jnp, landform as lf
    >>> circle = lambda t: (jnp.array([jnp.cos(t[0]), jnp.sin(t[0]), 0.0]), 2.0)
    >>> metric = lf.FisherRaoPullback(circle, lf.families.VonMisesFisher())
    >>> round(float(lf.metric_tensor(metric, [0.3])[0, 0]), 5)  # 2 coth 2 − 1
    1.07463
    """

    def chart(self, output):
        """Unit directions and concentrations."""
        return read_direction(output)

    def whiten(self, params, tangent):
        """``(√A′ dκ, √(κ A) dμ)``."""
        (direction, kappa), (turn, stretch) = params, tangent
        mean, variance = concentration_slopes(kappa, direction.shape[-1])
        return flat(jnp.sqrt(variance) * stretch, jnp.sqrt(kappa * mean)[..., None] * turn)


class Product(AbstractFamily):
    """Independent variables of several kinds: their informations side by side.

    Parameters
    ----------
    parts
        Families or their names, as a sequence or a dictionary; the decoder returns a sequence or
        a dictionary of as many outputs.

    Examples
    --------
    >>> import landform as lf
    >>> family = lf.families.Product(["normal", "poisson"])
    >>> metric = lf.FisherRaoPullback(lambda z: ((z[0], 1.0), z[1]), family)
    >>> lf.metric_tensor(metric, [0.0, 4.0]).round(5).tolist()
    [[1.0, 0.0], [0.0, 0.25]]
    """

    parts: tuple[AbstractFamily, ...]
    names: tuple[str, ...] | None = eqx.field(static=True)

    def __init__(self, parts):
        names = tuple(parts) if isinstance(parts, Mapping) else None
        values = parts.values() if isinstance(parts, Mapping) else parts
        self.parts, self.names = tuple(as_family(part) for part in values), names
        if not self.parts:
            raise ValueError("parts must name at least one family")

    @property
    def embeds(self) -> bool:
        """Whether all parts embed."""
        return all(part.embeds for part in self.parts)

    def chart(self, output):
        """The parts' parameters."""
        outputs = self._outputs(output)
        charts = tuple(part.chart(out) for part, out in zip(self.parts, outputs, strict=True))
        return jnp.concatenate([jnp.ravel(c) for c in charts]) if self.embeds else charts

    def whiten(self, params, tangent):
        """The parts' whitened tangents."""
        if self.embeds:
            return jnp.ravel(tangent)
        rows = zip(self.parts, params, tangent, strict=True)
        return jnp.concatenate([part.whiten(at, along) for part, at, along in rows])

    def _outputs(self, output):
        if self.names is not None:
            if not isinstance(output, Mapping) or set(output) != set(self.names):
                raise ValueError(f"the decoder must return a dictionary of {list(self.names)}")
            return [output[name] for name in self.names]
        if not isinstance(output, tuple | list) or len(output) != len(self.parts):
            raise ValueError(f"the decoder must return {len(self.parts)} outputs, one a family")
        return output


_NAMED: dict[str, AbstractFamily] = {
    "normal": Normal(),
    "bernoulli": Bernoulli(),
    "bernoulli-logits": Bernoulli(logits=True),
    "categorical": Categorical(),
    "categorical-logits": Categorical(logits=True),
    "multinomial": Multinomial(),
    "poisson": Poisson(),
    "gamma": Gamma(),
    "beta": Beta(),
    "dirichlet": Dirichlet(),
    "von-mises-fisher": VonMisesFisher(),
}


def as_family(family) -> AbstractFamily:
    """A family from its name, from several of them, or as it is."""
    if isinstance(family, AbstractFamily):
        return family
    if isinstance(family, str):
        if family not in _NAMED:
            raise ValueError(
                f"family must be one of {', '.join(_NAMED)}, or a member of lf.families such as "
                f"lf.families.NegativeBinomial(total_count), got {family!r}"
            )
        return _NAMED[family]
    if isinstance(family, tuple | list | Mapping):
        return Product(family)
    raise TypeError(
        "family must be a name, a member of lf.families, or a sequence or dictionary of these, "
        f"got {type(family).__name__}"
    )
