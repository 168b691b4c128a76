"""How fast training is on this machine: seconds per step beside what its matrix products alone would take."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from distill.config.schema import LABELS_ONLY, Config, Term, Training, stages_of, teacher_weights
from distill.data.rows import Data
from distill.data.table import locate
from distill.model import load_model, network_for
from distill.nn.blas import one_thread
from distill.nn.vector import Array, Vector
from distill.student import control_terms
from distill.system import environment
from distill.system.rng import stream
from distill.train.fit import initial_state
from distill.train.loop import is_shared, steps
from distill.train.objective import Objective
from distill.train.outputs import TeacherOutputs
from distill.train.threads import Team, team_of

SECONDS, REPEATS = 0.3, 5  # each measurement: so long, so often; the median counts


def measure(plan: Config, data: Data) -> dict[str, Any]:
    """Time steps of the plan's teacher, and of student and control together, on the plan's data, for 1 thread and for
    all.

    Times are in microseconds per step, rates in GFLOP/s: the operations of a step's matrix products over its time, and
    over the time of those products alone (`products`). The teacher's outputs are random numbers, as nothing is trained.
    """
    stage = plan.student.stages[-1]
    outputs = {
        name: _random_outputs(plan, name, data) for name in teacher_weights(stage.terms) if name in plan.teachers
    }
    cases: dict[str, tuple[Training, Sequence[Sequence[Term]]]] = {
        name: (teacher, [LABELS_ONLY]) for name, teacher in plan.teachers.items() if teacher.origin == "trained"
    }
    peers = [stage.terms] * plan.student.peers
    together = "student, control and peers" if peers else "student and control"
    cases[together] = (plan.student, [control_terms(stage.terms), stage.terms, *peers])
    most = environment.threads(plan.performance.threads)
    models = {name: _measure(training, terms, data, outputs, most) for name, (training, terms) in cases.items()}
    return {"models": models, "peak_memory_mb": _peak_memory()}


def _measure(
    training: Training,
    terms: Sequence[Sequence[Term]],
    data: Data,
    outputs: Mapping[str, TeacherOutputs],
    most_threads: int,
) -> dict[str, Any]:
    """The figures of the networks that train on these terms side by side."""
    network, rows = network_for(training, data), min(training.batch_size, len(data.train))
    one_stage = {str(r): stages_of(training, tuple(of_network)) for r, of_network in enumerate(terms)}
    flops, figures = network.work(rows), {}
    for threads in sorted({1, most_threads} if is_shared(network, rows) else {1}):
        state = initial_state(one_stage, network, outputs, 0, "bench")
        labels = np.maximum(data.train.y, 0)
        objective = Objective(terms, labels, outputs, len(data.classes), peers=range(1, len(terms)))
        with np.errstate(all="ignore"), one_thread(), team_of(threads, paced=False) as team:
            endless = replace(training, epochs=1_000_000)
            losses = steps(network, state, data.train.x, objective, endless, team)
            step = _seconds(lambda losses=losses: len(next(losses)[0]))  # type: ignore[misc]
            products = _seconds(_products(state.weights, rows, team))
        figures[str(threads)] = {
            "step_us": 1e6 * step,
            "products_us": 1e6 * products,
            "gflops": len(terms) * flops / step / 1e9,
            "products_gflops": len(terms) * flops / products / 1e9,
            "outside_products": max(0.0, 1 - products / step),
        }
    return {
        "sizes": list(network.units),
        "batch_size": rows,
        "mflop": len(terms) * flops / 1e6,
        "threads": figures,
    }


def _random_outputs(plan: Config, name: str, data: Data) -> TeacherOutputs:
    """Numbers in place of a teacher's outputs; of one that comes from elsewhere, as of a network like the student."""
    rng, teacher = stream(0, f"bench {name}"), plan.teachers[name]
    network = network_for(teacher if teacher.origin == "trained" else plan.student, data)
    if teacher.load is not None:
        network = load_model(locate(teacher.load)).network
    rows, (_, *widths, _) = len(data.train), network.units
    layers = {k: rng.standard_normal((rows, width), np.float32) for k, width in enumerate(widths, start=1)}
    logits = rng.standard_normal((rows, len(data.classes)), np.float32)
    return TeacherOutputs(logits, {0: data.train.x, **layers}, data.train.ids, len(widths))  # type: ignore[dict-item]


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
