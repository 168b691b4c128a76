"""How fast training is on this machine: seconds per step beside what its matrix products alone would take."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from distill.config.schema import LABELS_ONLY, Config, Term, Training, teacher_weights
from distill.data import Data
from distill.data.table import locate
from distill.model import load_model
from distill.nn import mlp
from distill.nn.blas import one_thread
from distill.nn.vector import Array, Vector
from distill.student import control_terms
from distill.system import environment
from distill.system.rng import stream
from distill.train.adapters import adapters
from distill.train.loop import Extras, shared, steps, work
from distill.train.objective import Objective
from distill.train.outputs import Answers
from distill.train.threads import Team, team_of

SECONDS, REPEATS = 0.3, 5  # each measurement: so long, so often; the median counts


def measure(plan: Config, data: Data) -> dict[str, Any]:
    """Steps of the plan's teacher, and of student and control together, on the plan's data, for 1 thread and for all.

    Times are in microseconds per step, rates in GFLOP/s: the operations of a step's matrix products over its time, and
    over the time of those products alone (`products`). The teacher's answers are random numbers, as nothing is trained.
    """
    stage = plan.student.stages[-1]
    answers = {
        name: _random_answers(plan, name, data) for name in teacher_weights(stage.terms) if name in plan.teachers
    }
    most = environment.threads(plan.performance.threads)
    cases: dict[str, tuple[Training, Sequence[Sequence[Term]]]] = {
        name: (one, [LABELS_ONLY]) for name, one in plan.teachers.items() if one.origin == "trained"
    }
    peers = [stage.terms] * plan.student.peers
    together = "student, control and peers" if peers else "student and control"
    cases[together] = (plan.student, [control_terms(stage.terms), stage.terms, *peers])
    found = {}
    for name, (training, objectives) in cases.items():
        sizes = (data.features, *training.hidden, len(data.classes))
        weights = Vector(mlp.shapes(sizes), stack=(len(objectives),) if len(objectives) > 1 else ())
        mlp.initialise(weights, stream(0, "bench weights"))
        rows = min(training.batch_size, len(data.train))
        flops = work(weights, rows)
        labels = np.maximum(data.train.y, 0)
        objective = Objective(objectives, labels, answers, len(data.classes), peers=range(1, len(objectives)))
        terms = [term for one in objectives for term in one if term.matters]
        carried = [adapters(terms, answers, sizes, stream(0, "bench adapters")) for _ in objectives]
        tried = {}
        for threads in sorted({1, most} if shared(weights, rows) else {1}):
            with np.errstate(all="ignore"), one_thread(), team_of(threads, paced=False) as team:
                step = _seconds(_steps(weights, data, objective, training, team, Extras(adapters=carried)))
                products = _seconds(_products(weights, rows, team))
            tried[str(threads)] = {
                "step_us": 1e6 * step,
                "products_us": 1e6 * products,
                "gflops": flops / step / 1e9,
                "products_gflops": flops / products / 1e9,
                "outside_products": max(0.0, 1 - products / step),
            }
        found[name] = {"sizes": list(sizes), "batch_size": rows, "mflop": flops / 1e6, "threads": tried}
    return {"models": found, "peak_memory_mb": _peak_memory()}


def _random_answers(plan: Config, name: str, data: Data) -> Answers:
    """Numbers in place of a teacher's answers; of one that comes from elsewhere, as of a network like the student."""
    rng, one = stream(0, f"bench {name}"), plan.teachers[name]
    widths = one.hidden if one.origin == "trained" else plan.student.hidden
    if one.load is not None:
        widths = load_model(locate(one.load)).sizes[1:-1]
    rows = len(data.train)
    layers = {k: rng.standard_normal((rows, width), np.float32) for k, width in enumerate(widths, start=1)}
    logits = rng.standard_normal((rows, len(data.classes)), np.float32)
    return Answers(logits, {0: data.train.x, **layers}, data.train.ids, len(widths))  # type: ignore[dict-item]


def _steps(
    weights: Vector, data: Data, objective: Objective, plan: Training, team: Team, extras: Extras
) -> Callable[[], int]:
    """A function that takes some steps, gathering, losses and updates included, and says how many."""
    endless = replace(plan, epochs=1_000_000)
    loop = steps(weights, data.train.x, objective, endless, stream(0, "bench batches"), team, extras)
    return lambda: len(next(loop)[0])


def _products(weights: Vector, rows: int, team: Team) -> Callable[[], int]:
    """A function that does one step's matrix products and nothing else, in as many parts as there are threads."""
    parts = len(team.helpers) + 1
    jobs: list[list[tuple[Array, Array, Array]]] = [[] for _ in range(parts)]
    for network in weights.networks():
        for k, w in enumerate(network.views.values()):
            h, d = np.ones((w.shape[1], rows), w.dtype), np.zeros((len(w), rows), w.dtype)
            y, g, back = np.empty_like(d), np.empty_like(w), np.empty((w.shape[1] - 1, rows), w.dtype)
            for part, job in enumerate(jobs):
                columns = slice(rows * part // parts, rows * (part + 1) // parts)
                units = slice(len(w) * part // parts, len(w) * (part + 1) // parts)
                job += [(w, h[:, columns], y[:, columns]), (d[units], h.T, g[units])]
                if k:
                    job.append((w[:, :-1].T, d[:, columns], back[:, columns]))

    def multiply(job: list[tuple[Array, Array, Array]]) -> None:
        for a, b, out in job:
            np.matmul(a, b, out=out)

    def products() -> int:
        team.run(multiply, jobs)
        return 1

    return products


def _seconds(some_steps: Callable[[], int]) -> float:
    """Of one step: the median over REPEATS, after a first call that does not count."""
    some_steps()
    repeats = []
    for _ in range(REPEATS):
        started, done = perf_counter(), 0
        while perf_counter() - started < SECONDS:
            done += some_steps()
        repeats.append((perf_counter() - started) / done)
    return median(repeats)


def _peak_memory() -> float | None:
    """Megabytes of this process at its largest; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak * (1 if sys.platform == "darwin" else 1024) / 1e6)  # bytes there, kilobytes elsewhere
