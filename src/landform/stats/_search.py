"""One step of the mean after another: BFGS with a line search, the covariance profiled out."""

import numpy as np

from landform._results import ConvergenceError
from landform.stats._profile import Point, Setup, logarithms, profile, with_gradient

_TRIALS = 8  # halvings of a step before the search gives up
_POINTLESS = 0.1  # share of the tolerance that a step must promise to be tried


class History:
    """What happened in every accepted step."""

    def __init__(self):
        self.rows = []

    def add(self, point: Point, step):
        """One more accepted step."""
        failures = int((~point.logs.usable).sum())
        self.rows.append((point.objective, point.moments.stderr, step, point.slope, failures))

    def arrays(self) -> dict[str, np.ndarray]:
        """The columns by name."""
        names = ("objective", "stderr", "step", "gradient", "failures")
        return {n: np.asarray(c) for n, c in zip(names, zip(*self.rows, strict=True), strict=True)}


class Search:
    """BFGS with Σ as the first inverse Hessian, for one mean."""

    def __init__(self):
        self.inverse = None

    def run(self, setup: Setup, point: Point, weights, max_iter: int, tol: float):
        """Steps until one gains less than `tol` and the next promises less; a history with them.

        Without progress, along the gradient too, it ends: converged if what is promised is hidden
        by the objective's own error.
        """
        point = self.prepared(setup, point, weights)
        history = History()
        history.add(point, 0.0)
        hidden = setup.rtol + point.mean.size * setup.accuracy
        for _ in range(max_iter):
            fresh = self.inverse is None
            new, step = self.advance(setup, point, weights, _POINTLESS * tol)
            gain = point.objective - new.objective
            small = 0.5 * new.slope**2 < tol
            point = new
            if step > 0:
                history.add(point, step)
            if small and gain < tol:
                return point, history, True
            if step == 0 and (fresh or 0.5 * point.slope**2 < hidden):
                return point, history, bool(0.5 * point.slope**2 < hidden)
        return point, history, False

    def prepared(self, setup: Setup, point: Point, weights) -> Point:
        """The point with its gradient, computed where it is not known yet."""
        if point.gradient is not None:
            return point
        if setup.normalizer == "paper":
            return self._with_differences(setup, point, weights)
        return with_gradient(setup, point, weights)

    def advance(self, setup: Setup, point: Point, weights, least=0.0) -> tuple[Point, float]:
        """One step that lowers the objective, and its length in standard deviations; or neither.

        Steps that promise a gain under `least` are not tried.
        """
        point = self.prepared(setup, point, weights)
        assert point.gradient is not None
        if self.inverse is None or point.gradient @ self.inverse @ point.gradient <= 0:
            self.inverse = point.covariance
        direction = -self.inverse @ point.gradient
        size = np.sqrt(direction @ point.precision @ direction)
        if size > 1.0:
            direction, size = direction / size, 1.0
        slope, share = direction @ point.gradient, 1.0
        for _ in range(_TRIALS):
            new = self._attempt(setup, point, weights, share * direction)
            shorter = 0.25
            if new is not None:
                rise = new.objective - point.objective
                if rise < 1e-13:
                    new = self.prepared(setup, new, weights)
                    # At the minimum the objective only shows rounding; the gradient then decides.
                    if rise < 0 or new.slope < point.slope:
                        self._update(point, new)
                        return new, float(share * size)
                shorter = np.clip(-0.5 * slope * share / (rise - slope * share), 0.1, 0.5)
            share *= shorter
            if -slope * share < least:
                break
        self.inverse = None
        return point, 0.0

    def _with_differences(self, setup, point: Point, weights) -> Point:
        """The gradient by central differences, a fiftieth of a standard deviation apart.

        The derivative of the paper's constant is not an average that the rays give.
        """
        root = 0.02 * np.linalg.cholesky(point.covariance)
        slopes = np.zeros(len(root))
        for i, move in enumerate(root.T):
            ends = [self._attempt(setup, point, weights, sign * move) for sign in (1.0, -1.0)]
            if ends[0] is not None and ends[1] is not None:
                slopes[i] = 0.5 * (ends[0].objective - ends[1].objective)
        return point._replace(gradient=np.linalg.solve(root.T, slopes))

    def _attempt(self, setup, point: Point, weights, move) -> Point | None:
        mean = point.mean + move
        try:
            logs = logarithms(setup, mean, point.logs)
            return profile(setup, mean, weights, logs, point.whiten)
        except (ConvergenceError, ValueError, np.linalg.LinAlgError):
            return None  # too far: the line search goes on with a shorter step

    def _update(self, old: Point, new: Point):
        assert old.gradient is not None
        assert new.gradient is not None
        s, y = new.mean - old.mean, new.gradient - old.gradient
        if s @ y <= 1e-10 * np.linalg.norm(s) * np.linalg.norm(y) or self.inverse is None:
            return
        rho, eye = 1.0 / (s @ y), np.eye(s.size)
        left = eye - rho * np.outer(s, y)
        self.inverse = left @ self.inverse @ left.T + rho * np.outer(s, s)
