"""Mixtures of LANDs, by expectation maximisation."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from landform._core import display
from landform._core.arrays import precise, to_jax
from landform._core.checks import as_count, as_numpy, check_choice, seed_of
from landform._core.status import ConvergenceError
from landform._core.typing import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray
from landform.geodesics._logarithms import accuracy_for
from landform.metrics.base import check_metric
from landform.stats.land.bandwidth import tabulated_if_large
from landform.stats.land.contours import picture
from landform.stats.land.data import (
    CovarianceType,
    check_kind,
    check_rays,
    warn_of_unresolved,
    weighted_data,
)
from landform.stats.land.density import LAND, Normalizer, check_normalizer
from landform.stats.land.em import EMState, best_state
from landform.stats.land.fit import land_at
from landform.stats.land.normalizer import default_directions, make_grid
from landform.stats.land.objective import FitProblem
from landform.stats.land.starts import Starts

Estimator = Literal["likelihood", "least-squares"]


class LANDMixtureModel(display.AbstractDisplayed):
    """A mixture of locally adaptive normal distributions on one manifold.

    Attributes
    ----------
    components
        The `LAND` of each component.
    weights
        Their shares, shape ``(K,)``.
    history
        ``lower_bound``: mean log-likelihood per point against dM, before the first and after every
        iteration of the best start. ``coarse_lower_bound`` is that of a coarse stage with fewer
        points or directions, on another scale; empty without one.
    converged, n_iter, n_failed
        Whether the likelihood settled; the number of iterations, with those of the coarse stage;
        and the number of data with a weight that have no geodesic to some mean.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> X = np.array([[-5.0, 0.0], [-4.0, 0.5], [-4.5, -0.5], [5.0, 0.0], [4.0, 0.5], [4.5, -0.5]])
    >>> model = lf.fit_land_mixture(lf.Euclidean(2), X, 2)
    >>> model.weights.round(6).tolist()
    [0.5, 0.5]
    """

    components: tuple[LAND, ...]
    weights: Float[Array, " k"]
    history: dict[str, Array]
    converged: Bool[Array, ""]
    n_iter: Int[Array, ""]
    n_failed: Int[Array, ""]

    @precise
    def log_prob(
        self, x, base: Literal["riemannian", "lebesgue"] = "riemannian", *, throw: bool = True
    ) -> Float[Array, "*batch"]:
        """The log-density at points; arguments as for `LAND.log_prob`."""
        return jax.nn.logsumexp(_joint(self, x, base, throw), axis=-1)

    @precise
    def responsibilities(self, x, *, throw: bool = True) -> Float[Array, "*batch k"]:
        """The posterior probability of each component; NaN where a geodesic failed."""
        return jax.nn.softmax(_joint(self, x, "riemannian", throw), axis=-1)

    @precise
    def sample(self, key: PRNGKeyArray, n: int) -> tuple[Float[Array, "n d"], Int[Array, " n"]]:
        """Independent draws, ``(n, d)``, in random order, with their components, ``(n,)``."""
        n = as_count("n", n)
        choice, draw, order = jax.random.split(key, 3)
        labels = np.asarray(jax.random.categorical(choice, jnp.log(self.weights), shape=(n,)))
        counts = np.bincount(labels, minlength=len(self.components))
        keys = jax.random.split(draw, len(counts))
        used = np.flatnonzero(counts)
        points = [self.components[k].sample(keys[k], int(counts[k])) for k in used]
        shuffle = jax.random.permutation(order, n)
        labels = to_jax(np.repeat(np.arange(len(counts)), counts))
        return jnp.concatenate(points)[shuffle], labels[shuffle]

    def _summary(self):
        means = f"means={display.brief([component.mean for component in self.components])}"
        weights = display.named(self, "weights")
        return [*weights, means, *display.named(self, "converged", "n_failed")]

    def _picture(self):
        return picture(*self.components)


def _joint(model, x, base, throw):
    parts = [c.log_prob(x, base, throw=throw) for c in model.components]
    return jnp.stack(parts, axis=-1) + jnp.log(model.weights)


@precise
def fit_land_mixture(
    metric,
    X,
    n_components: int,
    *,
    weights=None,
    covariance_type: CovarianceType = "full",
    normalizer: Normalizer = "exact",
    estimator: Estimator = "likelihood",
    n_directions: int | None = None,
    max_iter: int = 100,
    tol: float = 1e-3,
    init: str | ArrayLike = "auto",
    n_init: int = 1,
    key: PRNGKeyArray | None = None,
    rtol: float = 1e-5,
    throw: bool = True,
) -> LANDMixtureModel:
    """The maximum-likelihood mixture of LANDs, by expectation maximisation.

    The E-step weighs points by ``r_nk ∝ π_k p_k(x_n)``; the M-step updates every covariance to its
    optimum with the rays at hand and moves every mean by one step that lowers the component's
    objective (`fit_land`), so that the likelihood falls by no more than the normalizer's error.

    Parameters
    ----------
    metric
        The metric.
    X
        Data, shape ``(n, d)``, n ≥ n_components and n ≥ 2.
    n_components
        Number K of components.
    weights
        How often each point counts, shape ``(n,)``; None for once. Points of weight zero are left
        out.
    covariance_type, normalizer, n_directions, rtol
        As for `fit_land`.
    estimator
        ``"likelihood"``; or ``"least-squares"``, the baseline of `fit_least_squares`: the M-step
        takes means towards weighted Fréchet means and covariances as second moments, and the
        likelihood may fall.
    max_iter
        Most iterations of each start, those of the coarse stage included.
    tol
        Gain of the log-likelihood per point, in nats, at which the iterations stop.
    init
        Where to start: ``"auto"``, as `n_init` says; or the component of each point, integers from
        0 to K − 1 of shape ``(n,)``; or memberships ≥ 0 of shape ``(n, K)``, such as
        `LANDMixtureModel.responsibilities` of another fit, where points with NaN for all count for
        all. Every component needs more than d points. What is given is the only start.
    n_init
        Starts by k-medoids under graph distances, from different seeds; one more is by a Gaussian
        mixture in the chart. As many of them are followed to the end, and the best is kept; those
        that fall behind by 0.3 nats per point in the first iteration are given up.
    key
        A key of `jax.random` for the starts and the normalizer's directions; None for a fixed one.
    throw
        Raise if the best start did not converge; with False it is returned.

    Returns
    -------
    `LANDMixtureModel`.

    Raises
    ------
    TypeError, ValueError
        For bad data or options, as `fit_land`, or fewer different points than components.
    ConvergenceError
        If more than 5 % of the geodesics between data and means fail, by weight, or with
        ``throw=True`` without convergence.

    Warns
    -----
    UserWarning
        If rays break before more than 5 % of the mass of a component, so that its densities are too
        high.

    Notes
    -----
    Points without a geodesic to a mean do not count for it. A component that is left with fewer
    than d + 1 points keeps its shape, and the fit has not converged.
    Cost of each iteration: K n geodesics from warm starts and K × `n_directions` rays, fewer in the
    coarse stage. Arvanitidis, Hansen and Hauberg 2016 (arXiv:1606.02518), sec. 3.3.

    Examples
    --------
    >>> import numpy as np, landform as lf
    >>> X = np.array([[-5.0, 0.0], [-4.0, 0.5], [-4.5, -0.5], [5.0, 0.0], [4.0, 0.5], [4.5, -0.5]])
    >>> model = lf.fit_land_mixture(lf.Euclidean(2), X, 2)
    >>> sorted(c.mean[0].round(6).item() for c in model.components)
    [-4.5, 4.5]
    """
    check_metric(metric)
    check_normalizer(normalizer)
    check_kind(covariance_type)
    for name, value in (("n_components", n_components), ("max_iter", max_iter), ("n_init", n_init)):
        as_count(name, value)
    if estimator not in ("likelihood", "least-squares"):
        raise ValueError(f"estimator must be 'likelihood' or 'least-squares', got {estimator!r}")
    if estimator == "least-squares" and covariance_type != "full":
        raise ValueError("covariance_type must be 'full' with estimator='least-squares'")
    if not tol >= 0:
        raise ValueError(f"tol must not be negative, got {tol}")
    rtol, n_directions = check_rays(rtol, n_directions)
    seed = seed_of(key)
    X, weights, kept = weighted_data(metric, X, weights)
    if len(X) < n_components:
        raise ValueError(
            f"X must have at least n_components = {n_components} points, got n_samples={len(X)}"
        )
    if (different := len(np.unique(X, axis=0))) < n_components:
        raise ValueError(
            f"X has {different} different points, too few for n_components = {n_components}"
        )
    n_directions = default_directions(X.shape[1]) if n_directions is None else n_directions
    problem = FitProblem(
        tabulated_if_large(metric, X),
        X,
        make_grid(X.shape[1], n_directions, seed),
        normalizer,
        covariance_type,
        rtol,
        accuracy=accuracy_for(rtol),
    )
    rng = np.random.default_rng(seed)
    coarse, given = problem.coarser(weights, seed), None
    if isinstance(init, str):
        check_choice("init", init, ("auto",))
    else:
        given = memberships(init, kept, n_components, X.shape[1] + 1)
        if coarse is not None and (given[coarse[1]].sum(axis=0) < X.shape[1] + 1).any():
            coarse = None  # some component would have too few of the data
    level, rows, few = (problem, np.arange(len(X)), weights) if coarse is None else coarse
    starts = Starts(level.metric, level.X, rng, X, weights=few, all_weights=weights)
    if given is None:
        several = starts.several(n_components, n_init)
    else:
        several = [(starts.medoids_of(given[rows]), given[rows])]
    best = best_state(
        level,
        several,
        few,
        max_iter,
        tol,
        follow=n_init,
        least_squares=estimator == "least-squares",
    )
    if coarse is not None:
        best.refine(problem, weights)
        best.iterate(max_iter - best.steps, tol)
    if throw and not best.converged:
        raise ConvergenceError(
            f"fit_land_mixture did not converge in {best.steps} iterations; {_advice(best)}, or "
            "pass throw=False to get the result anyway"
        )
    usable = np.all([p.logs.ok for p in best.components], axis=0)
    components = tuple(land_at(problem, metric, p, n_directions, key) for p in best.components)
    warn_of_unresolved(components, stacklevel=3)
    return LANDMixtureModel(
        components=components,
        weights=to_jax(best.shares),
        history={
            "lower_bound": to_jax(best.bounds),
            "coarse_lower_bound": to_jax(np.asarray(best.coarse_bounds)),
        },
        converged=to_jax(best.converged),
        n_iter=to_jax(best.steps),
        n_failed=to_jax((~usable).sum()),
    )


def _advice(best: EMState) -> str:
    """What to do about iterations that did not converge."""
    if not best.frozen.any():
        return "raise max_iter or tol"
    few = ", ".join(str(k) for k in np.flatnonzero(best.frozen))
    return (
        f"too few points belong to component(s) {few} for a shape, which was not fitted: take "
        "fewer components or another init"
    )


def memberships(init, kept, count: int, least: int) -> np.ndarray:
    """Shares ``(n, k)`` that sum to one, from labels or from shares, of the points that are kept.

    Raises
    ------
    ValueError
        If they are neither, if a component has less than `least` of the points with a weight, or if
        two components have the same shares, which nothing would ever tell apart.
    """
    n = len(kept)
    wrong = (
        f"init must be 'auto', labels from 0 to {count - 1} of shape ({n},) or memberships ≥ 0 of "
        f"shape ({n}, {count})"
    )
    try:
        given = as_numpy(init)
    except ValueError as error:
        raise ValueError(f"{wrong}: {error}") from None
    if given.shape == (n,) and given.dtype.kind in "iub":
        labels = given.astype(int)
        if labels.min() < 0 or labels.max() >= count:
            raise ValueError(f"{wrong}, got labels from {labels.min()} to {labels.max()}")
        shares = np.eye(count)[labels]
    elif given.shape == (n, count) and given.dtype.kind in "iuf":
        unknown = np.isnan(given).all(axis=1, keepdims=True)
        shares = np.where(unknown, 1.0, given)
        if not (np.isfinite(shares).all() and (shares >= 0).all() and shares.any(axis=1).all()):
            raise ValueError(f"{wrong}, finite and not all zero for a point")
        shares = shares / shares.max(axis=1, keepdims=True)
        shares = shares / shares.sum(axis=1, keepdims=True)
    else:
        raise ValueError(f"{wrong}, got {given.dtype} of shape {given.shape}")
    shares = shares[kept]
    sizes = shares.sum(axis=0)
    if sizes.min() < least:
        raise ValueError(
            f"init must give every component at least {least} points, which make a shape, and "
            f"component {sizes.argmin()} has {sizes.min():.3g}"
        )
    if np.unique(shares, axis=1).shape[1] < count:
        raise ValueError("init must not give two components the same memberships: they stay equal")
    return shares
