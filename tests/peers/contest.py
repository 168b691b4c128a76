"""Taking turns: every repeat asks all contenders, one after the other, so that the machine's moods are shared."""

import math
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from cases import Case, cases
from protocol import Contender, ContenderError

DISTILL, LABELS, MACHINE = "distill", "distill, labels only", "matrix products alone"
SKLEARN = "scikit-learn"
# Name -> the file that does it, with its arguments. distill comes first: the others are compared with it.
SCRIPTS = {
    DISTILL: "contender_distill.py",
    "PyTorch eager": "contender_torch.py eager",
    "PyTorch compiled": "contender_torch.py compiled",
    "JAX": "contender_jax.py",
    SKLEARN: "contender_sklearn.py",
    LABELS: "contender_distill.py",
    MACHINE: "machine.py",
}
# Whose losses are held against whose: scikit-learn has labels alone, so distill does its work too.
AGAINST = {"PyTorch eager": DISTILL, "PyTorch compiled": DISTILL, "JAX": DISTILL, SKLEARN: LABELS}
# Losses are the same up to so much, relative and absolute.
TOLERANCE = 1e-4


def run(python: Path, variables: Mapping[str, str], logs: Path, repeats: int, only: str) -> list[dict[str, Any]]:
    """Every case's figures: seconds per step and turn, forms, first calls, and how far losses lie apart."""
    found = []
    with ExitStack() as stack:
        contenders = {
            name: stack.enter_context(Contender(name, python, script, variables, logs))
            for name, script in SCRIPTS.items()
        }
        for case in cases():
            if only in case.name:
                found.append(_case(case, contenders, repeats))
    return found


def _case(case: Case, contenders: Mapping[str, Contender], repeats: int) -> dict[str, Any]:
    ready: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    for name in _taking_part(case):
        _say(f"{case.name}: {name} gets ready")
        own = replace(case, alphas=(0.0,)) if name in (SKLEARN, LABELS) else case
        try:
            ready[name] = contenders[name].setup(own)
        except ContenderError as error:
            failed[name] = str(error)
            _say(f"{case.name}: {name} left out: {error}")
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for turn in range(repeats):
        _say(f"{case.name}: turn {turn + 1} of {repeats}")
        names = list(ready)
        first = turn % len(names)
        for name in names[first:] + names[:first]:  # nobody always follows the same one
            seconds[name].append(contenders[name].time())
    apart = {
        name: _apart(ready[name]["losses"], ready[other]["losses"])
        for name, other in AGAINST.items()
        if name in ready and other in ready
    }
    return {
        "name": case.name,
        "networks": len(case.alphas),
        "operations": case.operations,
        "compared": case.compared,
        "steps": case.steps,
        "seconds": seconds,
        "ready": ready,
        "failed": failed,
        "apart": apart,
        "same": all(most <= TOLERANCE for most in apart.values()),
    }


def _taking_part(case: Case) -> Iterable[str]:
    if len(case.alphas) > 1:
        return (DISTILL, "JAX")
    return [name for name in SCRIPTS if name != MACHINE or not case.small]


def _apart(ours: list[list[float]], theirs: list[list[float]]) -> float:
    """The largest |a - b| / (1 + |b|) over all steps and networks: within TOLERANCE both relative and absolute."""
    pairs = [pair for our, their in zip(ours, theirs, strict=True) for pair in zip(our, their, strict=True)]
    if not all(math.isfinite(loss) for pair in pairs for loss in pair):
        return math.inf  # of NaN and a number `max` may take the number
    return max(abs(a - b) / (1 + abs(b)) for a, b in pairs)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
