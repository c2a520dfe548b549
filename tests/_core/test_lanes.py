"""Batches in lanes: every problem's own result in order, on however many processors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from landform._core import lanes as driver
from landform._core.compilation import compiled
from landform._core.lanes import AbstractMethod, run, side_by_side

TRACES = []


class Roots(AbstractMethod):
    """Square roots by Newton's method, with as many steps as each number takes."""

    def init(self, args, problem):
        return problem, problem, jnp.asarray(jnp.inf, problem.dtype), jnp.asarray(0)

    def step(self, args, state):
        TRACES.append(1)
        number, root, _, steps = state
        better = 0.5 * (root + number / root)
        return number, better, jnp.abs(better - root), steps + 1

    def done(self, state):
        return state[2] <= 1e-12 * state[1]

    def finish(self, state):
        return state[1], state[3]


def test_every_problem_has_its_own_result_in_order(monkeypatch, rng):
    numbers = 10.0 ** rng.uniform(-6, 6, 77)
    for count in (1, 2, 3):
        monkeypatch.setattr(driver, "cores", lambda c=count: c)
        seen = []
        roots, steps = run(Roots(), None, numbers, lanes=4, chunk=32, progress=seen.append)
        np.testing.assert_allclose(roots, np.sqrt(numbers), rtol=1e-12)
        assert len(np.unique(steps)) > 3
        assert seen[-1] == 77
        assert seen == sorted(seen)


def test_threads_share_one_program(monkeypatch, rng):
    monkeypatch.setattr(driver, "cores", lambda: 4)
    TRACES.clear()
    run(Roots(), None, rng.uniform(1, 2, 90), lanes=3, chunk=19)
    once = len(TRACES)
    run(Roots(), None, rng.uniform(1, 2, 50), lanes=3, chunk=19)
    assert once == len(TRACES) > 0


@pytest.mark.parametrize("wide", [True, False])
def test_threads_have_the_precision_of_their_caller(monkeypatch, wide):
    monkeypatch.setattr(driver, "cores", lambda: 2)
    with jax.enable_x64(wide):
        program = compiled(lambda x: x + 1.0)
        each = lambda i: (jnp.asarray(float(i)),)  # noqa: E731
        found = [*side_by_side(program, each, range(3)), *side_by_side(program, each, range(4))]
    assert {part.dtype for part in found} == {np.dtype(np.float64 if wide else np.float32)}


def test_an_exception_of_a_thread_reaches_the_caller(monkeypatch):
    monkeypatch.setattr(driver, "cores", lambda: 2)

    def arguments(i):
        if i == 3:
            raise ValueError("third")
        return (np.zeros(1),)

    with pytest.raises(ValueError, match="third"):
        list(side_by_side(compiled(jnp.negative), arguments, range(5)))


def test_a_program_that_waits_for_xlas_workers_runs_alone_and_says_so(monkeypatch):
    monkeypatch.setattr(driver, "cores", lambda: 2)
    monkeypatch.delenv("PJRT_NPROC", raising=False)
    monkeypatch.delenv("NPROC", raising=False)
    monkeypatch.setattr(driver, "ThreadPoolExecutor", None)
    program = compiled(lambda a: jnp.linalg.eigvalsh(a) + jnp.diagonal(jnp.linalg.inv(a)))
    with pytest.warns(RuntimeWarning, match="PJRT_NPROC=1"):
        found = list(side_by_side(program, lambda i: (i * np.eye(2),), [1.0, 2.0, 3.0]))
    np.testing.assert_allclose(found, [[2.0, 2.0], [2.5, 2.5], [10.0 / 3.0] * 2])
