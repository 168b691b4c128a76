"""The comparison with other frameworks, as far as it goes without them: questions, answers of distill, operations."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PEERS = Path(__file__).parent / "peers"


@pytest.fixture(autouse=True)
def beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PEERS))


def asked(script: str, tmp_path: Path, **changes: Any) -> tuple[dict[str, Any], float]:
    """What a contender says of a small case, and its time."""
    import os
    from dataclasses import replace

    from cases import Case
    from protocol import Contender

    case = replace(Case((12, 8, 4), 16, "sgd", epochs=2, rows=64), **changes)
    with Contender(script, Path(sys.executable), script, os.environ, tmp_path) as contender:
        return contender.setup(case), contender.time()


def test_the_command_says_what_it_can_do() -> None:
    done = subprocess.run([sys.executable, PEERS, "--help"], capture_output=True, text=True, check=True)
    assert all(option in done.stdout for option in ("--env", "--repeats", "--whole", "--growth", "--json"))


@pytest.mark.parametrize("alphas", [(0.7,), (0.0, 0.7)])
def test_distill_does_the_case_that_it_is_asked_for(tmp_path: Path, alphas: tuple[float, ...]) -> None:
    answer, seconds = asked("contender_distill.py", tmp_path, alphas=alphas)
    losses = np.array(answer["losses"])
    assert losses.shape == (8, len(alphas))
    assert np.isfinite(losses).all()
    assert 0 < seconds < 1


def test_the_first_loss_is_the_objective_at_the_first_weights(tmp_path: Path) -> None:
    """From the definitions, on the rows and weights that every contender is given."""
    from cases import ALPHA, TEMPERATURE, Case
    from rows import batches, rows, weights

    from distill.nn.losses import cross_entropy, response

    case = Case((12, 8, 4), 16, "sgd", epochs=2, rows=64)
    x, labels, answers = rows(case)
    (w1, b1), (w2, b2) = [(w[0].astype(float), b[0].astype(float)) for w, b in weights(case)]
    first = batches(case)[0]
    z = np.maximum(x[first] @ w1 + b1, 0) @ w2 + b2
    soft = response(z, answers[first].astype(float), temperature=TEMPERATURE)[0]
    expected = (1 - ALPHA) * cross_entropy(z, None, labels[first])[0] + ALPHA * soft
    assert asked("contender_distill.py", tmp_path)[0]["losses"][0][0] == pytest.approx(expected, rel=1e-5)


def test_the_machine_s_rate_is_of_as_many_operations_as_a_step_has(tmp_path: Path) -> None:
    answer, seconds = asked("machine.py", tmp_path)
    assert answer["tried"].keys() >= {"steps shared"}
    assert 0 < seconds < 1


def test_losses_that_differ_are_not_the_same_work() -> None:
    import contest

    assert contest._apart([[1.0], [2.0]], [[1.0], [2.0]]) == 0
    assert contest._apart([[1.0], [2.0]], [[1.0], [2.001]]) > contest.TOLERANCE
    assert not contest._apart([[math.nan]], [[1.0]]) <= contest.TOLERANCE
