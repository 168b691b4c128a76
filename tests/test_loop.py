"""The steady state of the loop: no array is made and no page is touched for the first time."""

import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from conftest import answered, network_of, state_of
from distill import config
from distill.config.schema import LABELS_ONLY, Term
from distill.nn.blas import one_thread
from distill.nn.mlp import MLP
from distill.nn.vector import Array, Vector
from distill.train import loop
from distill.train.objective import Objective
from distill.train.threads import Team, team_of

resource = pytest.importorskip("resource")

CLASSIC = (Term("cross_entropy", 0.3), Term("response", 0.7, (("t", 1.0),), {"temperature": 4.0, "t_squared": True}))
# A step's own arrays are far larger here than the buffers of at most 8,192 numbers an operand through which NumPy walks
# what does not lie in one piece: they hold a number per row, or 1,024 units of 64 rows, or the weights between them.
LEAST = 256 * 1024
CASES: dict[str, tuple[tuple[int, ...], int, dict[str, Any]]] = {
    "many rows": ((8, 4, 3), 65_536, {}),
    "many rows, sgd with decay": ((8, 4, 3), 65_536, {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01}),
    "many rows, clipped": ((8, 4, 3), 65_536, {"clip": 1.0}),
    "many weights": ((512, 1024, 1024, 4), 64, {"schedule": "cosine", "warmup": 0.1}),
    "many weights, clipped": ((512, 1024, 1024, 4), 64, {"clip": 1.0, "optimizer": "sgd"}),
}


def trained(sizes: tuple[int, ...], batch: int, options: dict[str, Any], team: Team) -> Iterator[tuple[Array, int]]:
    """The steps of a stack of student and control on four batches of random rows."""
    rng, rows = np.random.default_rng(0), 4 * batch
    x, y = rng.random((rows, sizes[0]), np.float32), rng.integers(0, sizes[-1], rows)
    answers = answered({"t": rng.standard_normal((rows, sizes[-1]), np.float32)})
    plan = config.load({"student": {"hidden": list(sizes[1:-1]), "batch_size": batch, "epochs": 50} | options}).student
    weights = Vector(MLP(sizes).shapes, stack=(2,))
    network_of(weights).initialise(weights, rng)
    return loop.steps(
        network_of(weights),
        state_of(weights, rng),
        x,
        Objective([CLASSIC, LABELS_ONLY], y, answers, sizes[-1]),
        plan,
        team,
    )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_a_steady_step_makes_no_array(case: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, batch, options = CASES[case]
    made: list[int] = []
    original = loop._Batches.step

    def watched(self: Any, i: int, number: int, rate: float) -> None:
        if number < 8:
            return original(self, i, number, rate)
        tracemalloc.start()
        try:
            original(self, i, number, rate)
            made.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()

    monkeypatch.setattr(loop._Batches, "step", watched)
    with one_thread(), team_of(threads, paced=False) as team:
        steps = trained(sizes, batch, options, team)
        while len(made) < 8:
            next(steps)
    assert max(made) < LEAST


def test_the_count_would_see_an_array() -> None:
    tracemalloc.start()
    kept = np.empty(LEAST, np.uint8)
    assert tracemalloc.get_traced_memory()[1] >= kept.nbytes
    tracemalloc.stop()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_steady_epochs_touch_no_new_page(case: str, threads: int) -> None:
    """Counted for this process over two epochs, gathering and losses included; a helper's pages count as well."""
    sizes, batch, options = CASES[case]
    with one_thread(), team_of(threads, paced=False) as team:
        steps = trained(sizes, batch, options, team)
        rounds = 0
        for losses, _ in steps:
            rounds += len(losses)
            if rounds >= 12:
                break
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for losses, _ in steps:
            rounds += len(losses)
            if rounds >= 44:
                break
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults <= 8  # the interpreter's own few; one array would touch 64 pages a step
