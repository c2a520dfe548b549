"""Information geometry: the metric that a decoder of likelihoods induces on its latent space."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import is_traced, precise
from landform._core.checks import as_positive, check_decoder
from landform._core.typing import Array, Float, Matrix, Point, Scalar
from landform.metrics.base import AbstractMetric, check_metric
from landform.metrics.families import AbstractFamily, as_family
from landform.metrics.inner import AbstractInner
from landform.metrics.pullback import as_landmarks, embedded_acceleration, values_at

_MAX_UNROLLED_DIM = 4  # latent dimensions up to which dot products beat a product of thin matrices


class FisherRaoPullback(AbstractInner):
    """The Fisher–Rao metric of a likelihood, pulled back by a decoder of its parameters.

    ``M(z) = J_η(z)ᵀ I(η(z)) J_η(z)`` for a decoder η of the parameters of p(x | η) with the
    information matrix I. A step is as long as it changes the distribution of the data:
    ``dzᵀ M dz = 2 KL(p_z ‖ p_{z+dz})`` to second order. It takes the place of `ExpectedPullback`
    where the data are not normal with a known scale: categories, counts, directions, mixed tables.

    Parameters
    ----------
    decoder
        A twice differentiable function of one latent point ``(d,)`` to the parameters.
    family
        Which parameters. ``"normal"``: the pair (mean, std). ``"bernoulli"``: probabilities;
        ``"bernoulli-logits"``: logits. ``"categorical"``, ``"categorical-logits"`` and
        ``"multinomial"``: the same with the classes on the last axis. ``"poisson"``: rates.
        ``"gamma"``: the pair (concentration, rate). ``"beta"``: the pair of concentrations.
        ``"dirichlet"``: concentrations on the last axis. ``"von-mises-fisher"``: the pair (mean
        direction, concentration). Or a member of `lf.families` with its options; or a sequence or
        a dictionary of these for a decoder with as many outputs.
    landmarks
        Optional points of the latent space where the data live, shape ``(k, d)``.

    Raises
    ------
    TypeError, ValueError
        If `decoder` is not callable, `family` is not known, or the parameters at one of up to 64
        landmarks are outside of their domain, as logits given for probabilities are. Where the
        metric is evaluated, if the decoder's outputs are not of the family's form.

    Notes
    -----
    M is ``SᵀS`` with S from the closed form of the information, so it is positive semi-definite by
    construction; the information itself is never built. Bernoulli, categorical, multinomial and
    Poisson likelihoods embed in Euclidean space, ``φ = 2 arcsin √p``, ``2 √p`` or ``2 √λ``, and
    their geodesics are solved by chords like those of a `Pullback`. The parameters of a product of
    D variables cost O(D) beyond d derivatives of the decoder. A parameter outside of its domain
    gives NaN. Arvanitidis et al. 2022 (arXiv:2106.05367).

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> normal = lf.FisherRaoPullback(lambda z: (z[0], z[1]), "normal")  # a half-plane
    >>> length = lf.distance(normal, [0.0, 1.0], [0.0, np.e])
    >>> bool(np.isclose(length, np.sqrt(2.0)))
    True
    """

    decoder: Callable
    family: AbstractFamily
    points: Float[Array, "k d"] | None

    @precise
    def __init__(self, decoder: Callable, family, *, landmarks=None):
        self.decoder = check_decoder("decoder", decoder)
        self.family = as_family(family)
        self.points = as_landmarks(landmarks)
        if not is_traced(self.decoder):
            self._check_domain()

    def _check_domain(self) -> None:
        """Refuse parameters that no likelihood of the family has, where the data live."""

        def proper(z):
            chart = self.family.chart(self.decoder(z))
            return jnp.all(jnp.stack([jnp.all(~jnp.isnan(a)) for a in jax.tree.leaves(chart)]))

        values = values_at(proper, self.points)
        if values is not None and not values.all():
            raise ValueError(
                f"the decoder's output is outside of the domain of {type(self.family).__name__} at "
                f"{np.sum(~values)} of {len(values)} landmarks: if it returns logits or logarithms "
                "in place of probabilities, rates or scales, say so by the family, such as "
                "'bernoulli-logits' or lf.families.Normal(scale='log-variance')"
            )

    @property
    def embeds(self) -> bool:
        """Whether the likelihood's parameters embed isometrically in Euclidean space."""
        return self.family.embeds

    def embed(self, x: Point) -> Float[Array, " P"]:
        """The decoder's output in the family's flat coordinates."""
        if not self.family.embeds:
            return super().embed(x)
        return jnp.ravel(self.family.chart(self.decoder(x)))

    def landmarks(self) -> Float[Array, "k d"] | None:
        """The landmarks given at construction."""
        return self.points

    def whitened(self, x: Point, v: Point) -> Float[Array, " P"]:
        """S(x) v, whose squared length is ``vᵀ M(x) v``."""
        params, tangent = jax.jvp(lambda y: self.family.chart(self.decoder(y)), (x,), (v,))
        return self.family.whiten(params, tangent)

    def __call__(self, x: Point) -> Matrix:
        """``SᵀS``, one derivative of the decoder per latent dimension."""
        eye = jnp.eye(x.shape[0], dtype=x.dtype)
        if x.shape[0] > _MAX_UNROLLED_DIM:
            columns = jax.vmap(lambda v: self.whitened(x, v), out_axes=1)(eye)
            return columns.T @ columns
        rows = [self.whitened(x, v) for v in eye]
        return jnp.stack([jnp.stack([a @ b for b in rows]) for a in rows])

    def inner(self, x: Point, v: Point, w: Point) -> Scalar:
        """``(S v) · (S w)``."""
        return self.whitened(x, v) @ self.whitened(x, w)

    def slopes(self, x: Point, v: Point) -> tuple[Point, Point]:
        """M v and ``∇_x (vᵀ M v)``, pulled back from S v: half the price of the square's."""
        root, pull = jax.vjp(self.whitened, x, v)
        gradient, momentum = pull(root)
        return momentum, 2.0 * gradient

    def acceleration(self, x: Point, v: Point) -> Point:
        """The geodesic equation, of an embedded surface where there is an embedding."""
        if self.embeds:
            return embedded_acceleration(self.embed, x, v)
        return super().acceleration(x, v)

    def _summary(self):
        return [*display.named(self, "decoder", "family"), *display.landmarks(self.points)]


@precise
def supervised_metric(
    predictor: Callable, family, *, base: AbstractMetric, weight=1.0
) -> AbstractMetric:
    """A metric in which what a predictor tells apart is far apart: base + weight · Fisher–Rao.

    ``M(x) = M_base(x) + weight · J_η(x)ᵀ I(η(x)) J_η(x)`` with η(x) the parameters of the predicted
    distribution of a label, class or response. Directions that leave the prediction alone cost
    what the base charges; crossing a decision boundary costs more.

    Parameters
    ----------
    predictor
        A twice differentiable function of one point ``(d,)`` to the parameters of its prediction,
        such as the logits of a classifier.
    family
        As for `FisherRaoPullback`: ``"categorical-logits"`` for a classifier with logits,
        ``"bernoulli-logits"`` for one of two classes, ``"normal"`` for a regression.
    base
        The metric that the predictor is added to, such as ``lf.Euclidean(d)`` or a decoder's. The
        information of a predictor alone is seldom positive definite: it does
        not see directions that leave the prediction alone.
    weight
        Positive factor of the predictor's information.

    Returns
    -------
    The sum, an `AbstractMetric` with the landmarks of `base`; it embeds where both terms do.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of its kind, or `weight` is not positive.

    Notes
    -----
    Metrics from labels for latent spaces: Arvanitidis, Hauberg and Schölkopf 2021
    (arXiv:2008.00565); the Fisher information of a conditional density as the metric of its
    argument: Kaski, Sinkkonen and Peltonen 2001 (IEEE Transactions on Neural Networks 12, 936).

    Examples
    --------
    >>> import landform as lf
    >>> logit = lambda x: 4.0 * x[:1]
    >>> metric = lf.supervised_metric(logit, "bernoulli-logits", base=lf.Euclidean(2))
    >>> lf.metric_tensor(metric, [0.0, 7.0]).round(4).tolist()
    [[5.0, 0.0], [0.0, 1.0]]
    """
    term = FisherRaoPullback(check_decoder("predictor", predictor), family)
    return check_metric(base) + as_positive("weight", weight) * term
