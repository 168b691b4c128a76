"""The content of results.json: one plain mapping of everything that a run measured."""

import hashlib
import math
import os
import platform
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import yaml

from distill.config.dump import as_dict
from distill.config.schema import Config, stages_of
from distill.data.rows import Data
from distill.model import Model
from distill.nn import blas, metrics
from distill.nn.ops import combine, log_softmax
from distill.nn.vector import Array
from distill.report.experiment import MODELS, Experiment
from distill.report.formula import formula
from distill.report.verdict import advice, verdict
from distill.student import control_stages
from distill.system import environment
from distill.teacher.screening import weak_notes
from distill.train.fit import Trained
from distill.train.outputs import teacher_logits
from distill.version import __version__

SCHEMA_VERSION = 2
ROWS_AT_ONCE = 4096  # of the training rows, which may be many
WHENCE = {"load": "a model file", "predictions": "a file of predictions", "python": "an object from Python"}
SPLITS = {"val": "validation", "test": "test"}  # in the keys of the results -> in words


class Results(dict[str, Any]):
    """The mapping that results.json holds, with the models beside it.

    `teacher` is the one that the student learned from, None where that is no network or not a single one; `teachers`
    are all networks among them, by name.
    """

    def __init__(
        self,
        content: Mapping[str, Any],
        teacher: Model | None,
        student: Model,
        control: Model,
        teachers: Mapping[str, Model],
    ) -> None:
        super().__init__(content)
        self.teacher, self.student, self.control, self.teachers = teacher, student, control, dict(teachers)


def collect(
    plan: Config,
    first: Experiment,
    seeds: Sequence[Mapping[str, Any]],
    seconds: float,
    failed: Sequence[Mapping[str, Any]] = (),
) -> Results:
    """Judge the first seed's networks on the rows that none was trained on, and every seed for the verdict. `failed`
    are the seeds that could not be run, each with its error.

    Accuracies and agreements are shares from 0 to 1, cross-entropies are in nats, seconds are wall-clock. What cannot
    be known of a teacher, such as the size of one that is a file of predictions, is None.
    """
    data, student = first.data, {name: first.networks[name] for name in ("student", "control")}
    logits = {split: first.logits(split) for split in data.judged}
    judged = {"teacher": _ensemble_figures(first, logits)} | {
        name: {split: metrics.summary(z[name], data.judged[split].y, z.get("teacher")) for split, z in logits.items()}
        | {"parameters": trained.model.n_parameters, "bytes": trained.model.weights.flat.nbytes}
        | _epochs(trained)
        for name, trained in student.items()
    }
    outcome = verdict(seeds, shared=plan.evidence.share_teacher, failed=len(failed))
    single = first.teachers[next(iter(first.shares))] if len(first.shares) == 1 else None
    timed = ({"teacher": single.trained} if single and single.trained else {}) | student
    notes = [note for teacher in first.teachers.values() for note in teacher.notes]
    notes += weak_notes(first.teachers, seeds, plan.evidence.seeds > 1)
    content = _headline(judged, list(data.judged)) | {
        "verdict": outcome,
        "advice": advice(
            seeds,
            outcome["outcome"],
            _softness(plan, first),
            _agreement_in_training(first),
            bool(first.used),
            [figures["seed"] for figures in failed],
        ),
        "seeds": list(seeds),
        "failed_seeds": list(failed),
        "objective": formula(plan.student.stages),
        "control_objective": formula(control_stages(plan.student.stages)),
        "models": judged,
        "teachers": {name: _teacher_figures(first, name) for name in first.teachers},
        "data": describe(data, first.student_data, notes),
        "teacher_sha256": _fingerprint(first),
        "history": _histories(first, timed),
        "config": as_dict(plan),
        "timings": {
            name: {"seconds": trained.seconds, "steps": trained.steps}
            | _latency(trained.model, data.validation.x[:256])
            for name, trained in timed.items()
        }
        | {"total_seconds": seconds},
        "versions": _versions(),
        "machine": _machine(plan),
    }
    networks = {name: teacher.model for name, teacher in first.teachers.items() if teacher.model}
    return Results(
        content, single.model if single else None, student["student"].model, student["control"].model, networks
    )


def _histories(first: Experiment, timed: Mapping[str, Trained]) -> dict[str, Any]:
    """Every network's epochs by name."""
    networks = {name: teacher.trained for name, teacher in first.teachers.items() if teacher.trained}
    return (
        {name: trained.history for name, trained in timed.items()}
        | {f"teacher.{name}": trained.history for name, trained in networks.items() if len(first.teachers) > 1}
        | {name: trained.history for name, trained in first.networks.items() if name not in timed}
    )


def _versions() -> dict[str, str]:
    return {
        "distill": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pyyaml": yaml.__version__,
    }


def _machine(plan: Config) -> dict[str, Any]:
    return {
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": environment.threads(plan.performance.threads),
        "blas_kernel": blas.kernel(),
    }


def _ensemble_figures(first: Experiment, logits: Mapping[str, Mapping[str, Array]]) -> dict[str, Any]:
    """The figures of "the teacher": all that the student learned from, together."""
    data, members = first.data, [first.teachers[name] for name in first.shares]
    sizes = [teacher.parameters for teacher in members]
    parameters = None if None in sizes else sum(size or 0 for size in sizes)
    judged: dict[str, Any] = {
        split: metrics.summary(z["teacher"], data.judged[split].y, z["teacher"]) if "teacher" in z else None
        for split, z in logits.items()
    }
    judged |= {"parameters": parameters, "bytes": None if parameters is None else 4 * parameters}
    trained = members[0].trained if len(members) == 1 else None
    return judged | (_epochs(trained) if trained else {"kept": None, "last": None, "best": None})


def _teacher_figures(first: Experiment, name: str) -> dict[str, Any]:
    """A teacher by itself: where it comes from, its share in what the student learned from, and how good it is."""
    teacher, plan = first.teachers[name], first.plan.teachers[name]
    figures: dict[str, Any] = {
        "origin": plan.origin,
        "kind": teacher.kind,
        "share": first.used.get(name, 0.0),
        "parameters": teacher.parameters,
        "objective": formula(stages_of(plan, plan.terms)) if teacher.trained else None,
    }
    for split, rows in first.data.judged.items():
        z = teacher.logits(rows)
        figures[f"{split}_accuracy"] = None if z is None else metrics.accuracy(z, rows.y)
        figures[f"{split}_ce"] = None if z is None else metrics.cross_entropy(z, rows.y)
    figures["train_accuracy"] = None
    if figures["val_accuracy"] is None:
        known = first.data.train.take(np.flatnonzero(first.data.train.y >= 0))
        z = teacher.logits(known)
        figures["train_accuracy"] = None if z is None else metrics.accuracy(z, known.y)
    return figures


def _fingerprint(first: Experiment) -> str | None:
    """SHA-256 of all that the student learned from; that of the weights where it is a single network."""
    members = [first.teachers[name].fingerprint for name in sorted(first.shares)]
    if None in members:
        return None
    return members[0] if len(members) == 1 else hashlib.sha256("".join(map(str, members)).encode()).hexdigest()


def describe(data: Data, seen: Data, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Return the data in figures, what the student saw of them, and their notes before further `notes`; `commonest` is
    the validation accuracy of always guessing the commonest class."""
    rows = {"train": len(data.train), "validation": len(data.validation)}
    return {
        "source": data.source,
        "rows": rows | ({"test": len(data.test)} if data.test else {}),
        "student_rows": {"labelled": int((seen.train.y >= 0).sum()), "unlabelled": int((seen.train.y < 0).sum())},
        "features": data.features,
        "missing": data.missing,
        "sha256": data.fingerprint(),
        "classes": list(data.classes),
        "scale": data.scaling.kind,
        "commonest": metrics.commonest_share(data.train.y, data.validation.y),
        "notes": [*data.notes, *notes],
    }


def _headline(judged: Mapping[str, Any], splits: Sequence[str]) -> dict[str, Any]:
    """The flat keys that come first: the three models on every split, by name."""

    def of(name: str, split: str) -> dict[str, float | None]:
        figures = judged[name][split] or {}
        return {f"{name}_{split}_{key}": figures.get(key) for key in ("accuracy", "ce")}

    params = {f"{name}_params": judged[name]["parameters"] for name in ("teacher", "student")}
    facts: dict[str, Any] = of("teacher", "val") | of("student", "val") | params
    known = params["teacher_params"] is not None
    facts |= {
        "compression_ratio": params["teacher_params"] / params["student_params"] if known else None,
        "schema_version": SCHEMA_VERSION,
    }
    for split in splits:
        prefix = "" if split == "val" else f"{split}_"
        for name in MODELS:
            facts |= of(name, split)
        facts[f"{prefix}agreement"] = judged["student"][split]["agreement"]
        facts[f"{prefix}control_agreement"] = judged["control"][split]["agreement"]
    return facts


def _epochs(trained: Trained) -> dict[str, Any]:
    """The last and the best epoch (by validation cross-entropy), and which of the two the model is."""
    if not trained.history:
        return {"kept": "initial", "last": None, "best": None}
    kept = "best" if trained.is_best else "last"
    return {"kept": kept, "last": trained.history[-1], "best": trained.history[trained.best_epoch - 1]}


def _latency(model: Model, x: Array) -> dict[str, float]:
    """Microseconds per row of a forward pass on 1 row and on 256, the median of 15."""
    latency = {}
    for rows in (1, 256):
        batch = np.resize(x, (rows, x.shape[1]))
        times = []
        for _ in range(15):
            started = perf_counter()
            model.outputs(batch)
            times.append(perf_counter() - started)
        latency[f"row_us_batch_{rows}"] = 1e6 * sorted(times)[7] / rows
    return latency


def _softness(plan: Config, first: Experiment) -> list[float]:
    """Per term with soft targets of teachers, their mean entropy as a share of log M."""
    shares = []
    for term in plan.student.terms:
        if term.matters and "temperature" in term.options and term.teachers[0][0] in first.outputs:
            rows, total = len(first.student_data.train), 0.0
            classes = len(first.data.classes)
            for start in range(0, rows, ROWS_AT_ONCE):
                logits = teacher_logits(term, first.outputs, slice(start, start + ROWS_AT_ONCE))
                log_p = log_softmax(logits, term.options["temperature"])
                total -= float((np.exp(log_p) * log_p).sum())
            shares.append(total / rows / math.log(classes))
    return shares


def _agreement_in_training(first: Experiment) -> float | None:
    """The student's agreement with its teachers on the rows that it was trained on."""
    if not first.outputs:
        return None
    model, x, rows = first.networks["student"].model, first.student_data.train.x, len(first.student_data.train)
    shares, same = {name: share for name, share in first.shares.items() if name in first.outputs}, 0.0
    for start in range(0, rows, ROWS_AT_ONCE):
        block = slice(start, start + ROWS_AT_ONCE)
        members = [first.outputs[name].logits[block] for name in shares]
        teacher = combine(members, list(shares.values()), "probabilities")
        same += metrics.agreement(model.outputs(x[block])[0], teacher) * len(teacher)
    return same / rows
