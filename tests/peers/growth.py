"""How distill's time and memory grow with rows, steps, width, depth, batch and threads."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from statistics import linear_regression, median
from typing import Any, NamedTuple

from cases import Case
from contest import DISTILL, SCRIPTS
from protocol import Contender

FACTORS = (1, 2, 4, 8, 16)
BASE = Case((64, 32, 10), 32, "adam", epochs=2, rows=4096)
WIDE = Case((784, 400, 400, 10), 128, "adam", epochs=1)


class Series(NamedTuple):
    """What one curve varies, and what it shows of the seconds of a step."""

    title: str
    along: str
    unit: str
    cases: Sequence[tuple[int, Case]]
    figure: Callable[[Case, float], float]


def _series() -> list[Series]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= cores]
    return [
        Series(
            "Time of an epoch over rows (64-32-10, batch 32)",
            "rows",
            "ms per epoch",
            [(n * BASE.rows, replace(BASE, rows=n * BASE.rows)) for n in FACTORS],
            lambda case, seconds: 1e3 * seconds * case.steps / case.epochs,
        ),
        Series(
            "Time of a training over steps (64-32-10, batch 32)",
            "steps",
            "ms",
            [(n * BASE.steps, replace(BASE, epochs=n * BASE.epochs)) for n in FACTORS],
            lambda case, seconds: 1e3 * seconds * case.steps,
        ),
        Series(
            "Time of an epoch over width (784-W-W-10, 1,280 rows, batch 128)",
            "W",
            "ms per epoch",
            [(width, replace(WIDE, sizes=(784, width, width, 10))) for width in (100, 200, 400, 800, 1600)],
            lambda case, seconds: 1e3 * seconds * case.steps / case.epochs,
        ),
        Series(
            "Time of an epoch over hidden layers of 400 (784-400-...-10, 1,280 rows, batch 128)",
            "hidden layers",
            "ms per epoch",
            [(depth, replace(WIDE, sizes=(784, *[400] * depth, 10))) for depth in FACTORS],
            lambda case, seconds: 1e3 * seconds * case.steps / case.epochs,
        ),
        Series(
            "Time of a row over the batch (784-400-400-10, 4,096 rows)",
            "rows in a batch",
            "us per row",
            [(batch, replace(WIDE, batch=batch, rows=4096)) for batch in (8, 16, 32, 64, 128, 256, 512)],
            lambda case, seconds: 1e6 * seconds / case.batch,
        ),
        Series(
            "Time of a step over threads (784-800-800-10, batch 128)",
            "threads",
            "ms per step",
            [(n, replace(WIDE, sizes=(784, 800, 800, 10), epochs=4, threads=n)) for n in threads],
            lambda case, seconds: 1e3 * seconds,
        ),
    ]


def run(python: Path, variables: Mapping[str, str], logs: Path, repeats: int) -> dict[str, Any]:
    """All curves; the points of each are measured in turn."""
    found = []
    with Contender(DISTILL, python, SCRIPTS[DISTILL], variables, logs) as distill:
        for series in _series():
            seconds: dict[int, list[float]] = {value: [] for value, _ in series.cases}
            for turn in range(repeats):
                print(f"{series.title}: turn {turn + 1} of {repeats}", file=sys.stderr, flush=True)
                for value, case in series.cases:
                    distill.setup(case)
                    seconds[value].append(distill.time())
            points = [(value, series.figure(case, median(seconds[value]))) for value, case in series.cases]
            found.append(_curve(series.title, series.along, series.unit, points))
    points = [(n * BASE.steps, _memory(python, variables, logs, n)) for n in FACTORS]
    found.append(_curve("Peak memory over steps, a process each", "steps", "MB", points))
    return {"series": found}


def _memory(python: Path, variables: Mapping[str, str], logs: Path, times: int) -> float:
    """The most memory that a process ever had, in MB, which trained for so many times the steps and did no more."""
    with Contender("distill, memory", python, SCRIPTS[DISTILL], variables, logs) as distill:
        return float(distill.setup(replace(BASE, epochs=times * BASE.epochs))["peak_memory"]) / 1024


def _curve(title: str, along: str, unit: str, points: Sequence[tuple[int, float]]) -> dict[str, Any]:
    slope = 0.0
    if len(points) > 1:
        slope = linear_regression([log(value) for value, _ in points], [log(number) for _, number in points]).slope
    return {"title": title, "along": along, "unit": unit, "points": points, "slope": slope}
