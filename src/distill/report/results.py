"""What a run found, as one plain mapping: the content of results.json."""

import hashlib
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import yaml

from distill.config.dump import as_dict
from distill.config.schema import Config, stages_of, teacher_weights
from distill.data import Data
from distill.model import Model
from distill.nn import blas, metrics, mlp
from distill.nn.ops import combine, log_softmax
from distill.nn.vector import Array, Vector
from distill.report.formula import formula
from distill.report.verdict import advice, verdict
from distill.student import control_course
from distill.system import environment
from distill.teacher.sources import Obtained, weak_notes
from distill.train.fit import Trained
from distill.train.outputs import Answers, said
from distill.version import __version__

SCHEMA_VERSION = 2
MODELS = ("teacher", "student", "control")
ROWS_AT_ONCE = 4096  # of the training rows, which may be many
WHENCE = {"load": "a model file", "predictions": "a file of predictions", "python": "an object from Python"}
SPLITS = {"val": "validation", "test": "test"}  # in the keys of the results -> in words


class Results(dict[str, Any]):
    """The mapping that results.json holds, with the models beside it. `teacher` is the one that the student listens to,
    None where that is no network or not a single one; `teachers` are all networks among them, by name."""

    teacher: Model | None
    student: Model
    control: Model
    teachers: dict[str, Model]


@dataclass(frozen=True)
class Experiment:
    """Everything that one seed gave: the data, what the student saw of them, the teachers, the networks that learned
    from them, and the teachers' answers to the rows that the student saw."""

    seed: int
    data: Data
    seen: Data
    teachers: Mapping[str, Obtained]
    learned: Mapping[str, Trained]
    answers: Mapping[str, Answers]
    plan: Config

    @property
    def heard(self) -> dict[str, float]:
        """Those that the student listens to, each with its share in the terms on logits. Weights of terms on hidden
        layers have another scale: where there are no others, every teacher counts alike."""
        terms = self.plan.student.every_term
        everyone = [name for name in teacher_weights(terms) if name in self.teachers]
        found = teacher_weights([term for term in terms if not term.layered])
        found = {name: found.get(name, 0.0) for name in everyone}
        total = sum(found.values())
        return {name: share / total if total else 1 / len(everyone) for name, share in found.items()}

    @property
    def shares(self) -> dict[str, float]:
        """What "the teacher" of the results is made of: all that are heard, or the last one, for comparison."""
        found = {name: share for name, share in self.heard.items() if share}
        return found or {list(self.teachers)[-1]: 1.0}

    def logits(self, split: str) -> dict[str, Array]:
        """The logits of student, control and, where it answers for these rows, "teacher": all that the student listens
        to, together."""
        rows = self.data.judged[split]
        found = {name: mlp.logits(self.learned[name].model.weights, rows.x) for name in ("student", "control")}
        said = {name: self.teachers[name].logits(rows) for name in self.shares}
        members = [one for one in said.values() if one is not None]
        if len(members) == len(said):
            found["teacher"] = combine(members, list(self.shares.values()), "probabilities")
        return found

    def end(self) -> None:
        """Give back the disk that answers take."""
        for one in self.answers.values():
            one.end()

    def figures(self) -> dict[str, Any]:
        """What the verdict needs of this seed, on the test set where there is one, else on the validation rows.

        `won` and `lost` count the rows on which only the student, or only the control, is right. What a teacher that
        has no answers for these rows would be judged by is None. `weak_teachers` are heard although they
        are not worth hearing.
        """
        split = list(self.data.judged)[-1]
        y, logits = self.data.judged[split].y, self.logits(split)
        right = {name: z.argmax(axis=1) == y for name, z in logits.items()}
        figures: dict[str, Any] = {"seed": self.seed, "split": split, "rows": len(y)}
        for name in MODELS:
            z = logits.get(name)
            figures[f"{name}_accuracy"] = None if z is None else metrics.accuracy(z, y)
            figures[f"{name}_ce"] = None if z is None else metrics.cross_entropy(z, y)
        for key, name in (("agreement", "student"), ("control_agreement", "control")):
            figures[key] = metrics.agreement(logits[name], logits["teacher"]) if "teacher" in logits else None
        return figures | {
            "won": int((right["student"] & ~right["control"]).sum()),
            "lost": int((right["control"] & ~right["student"]).sum()),
            "weak_teachers": [name for name, one in self.teachers.items() if one.weak],
        }


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
    data, learned = first.data, {name: first.learned[name] for name in ("student", "control")}
    logits = {split: first.logits(split) for split in data.judged}
    judged = {"teacher": _judged_teacher(first, logits)} | {
        name: {split: metrics.summary(z[name], data.judged[split].y, z.get("teacher")) for split, z in logits.items()}
        | {"parameters": one.model.n_parameters, "bytes": one.model.weights.flat.nbytes}
        | _epochs(one)
        for name, one in learned.items()
    }
    found = verdict(seeds, shared=plan.evidence.share_teacher, failed=len(failed))
    heard_alone = first.teachers[next(iter(first.shares))] if len(first.shares) == 1 else None
    networks = {name: one.trained for name, one in first.teachers.items() if one.trained}
    own = {"teacher": heard_alone.trained} if heard_alone and heard_alone.trained else {}
    timed = {**own, **learned}
    notes = [note for one in first.teachers.values() for note in one.notes]
    notes += weak_notes(first.teachers, seeds, plan.evidence.seeds > 1)
    results = Results(
        _headline(judged, list(data.judged))
        | {
            "verdict": found,
            "advice": advice(
                seeds,
                found["outcome"],
                _softness(plan, first),
                _follows(first),
                bool(first.heard),
                [one["seed"] for one in failed],
            ),
            "seeds": list(seeds),
            "failed_seeds": list(failed),
            "objective": formula(plan.student.stages),
            "control_objective": formula(control_course(plan.student.stages)),
            "models": judged,
            "teachers": {name: _teacher(first, name) for name in first.teachers},
            "data": describe(data, first.seen, notes),
            "teacher_sha256": _print(first),
            "history": {name: one.history for name, one in timed.items()}
            | {f"teacher.{name}": one.history for name, one in networks.items() if len(first.teachers) > 1}
            | {name: one.history for name, one in first.learned.items() if name not in learned},
            "config": as_dict(plan),
            "timings": {
                name: {"seconds": one.seconds, "steps": one.steps}
                | _latency(one.model.weights, data.validation.x[:256])
                for name, one in timed.items()
            }
            | {"total_seconds": seconds},
            "versions": {
                "distill": __version__,
                "python": platform.python_version(),
                "numpy": np.__version__,
                "pyyaml": yaml.__version__,
            },
            "machine": {
                "platform": platform.platform(),
                "processor": platform.machine(),
                "cores": os.cpu_count(),
                "threads": environment.threads(plan.performance.threads),
                "blas_kernel": blas.kernel(),
            },
        }
    )
    results.teacher = heard_alone.model if heard_alone else None
    results.student, results.control = (learned[name].model for name in ("student", "control"))
    results.teachers = {name: one.model for name, one in first.teachers.items() if one.model}
    return results


def _judged_teacher(first: Experiment, logits: Mapping[str, Mapping[str, Array]]) -> dict[str, Any]:
    """The figures of all that the student listens to, together."""
    data, members = first.data, [first.teachers[name] for name in first.shares]
    sizes = [one.parameters for one in members]
    parameters = None if None in sizes else sum(size or 0 for size in sizes)
    judged: dict[str, Any] = {
        split: metrics.summary(z["teacher"], data.judged[split].y, z["teacher"]) if "teacher" in z else None
        for split, z in logits.items()
    }
    judged |= {"parameters": parameters, "bytes": None if parameters is None else 4 * parameters}
    trained = members[0].trained if len(members) == 1 else None
    return judged | (_epochs(trained) if trained else {"kept": None, "last": None, "best": None})


def _teacher(first: Experiment, name: str) -> dict[str, Any]:
    """One teacher by itself: where it comes from, its share in what the student hears, and what it is right about."""
    one, plan = first.teachers[name], first.plan.teachers[name]
    figures: dict[str, Any] = {
        "origin": plan.origin,
        "kind": one.kind,
        "share": first.heard.get(name, 0.0),
        "parameters": one.parameters,
        "objective": formula(stages_of(plan, plan.terms)) if one.trained else None,
    }
    for split, rows in first.data.judged.items():
        z = one.logits(rows)
        figures[f"{split}_accuracy"] = None if z is None else metrics.accuracy(z, rows.y)
        figures[f"{split}_ce"] = None if z is None else metrics.cross_entropy(z, rows.y)
    figures["train_accuracy"] = None
    if figures["val_accuracy"] is None:
        known = first.data.train.take(np.flatnonzero(first.data.train.y >= 0))
        z = one.logits(known)
        figures["train_accuracy"] = None if z is None else metrics.accuracy(z, known.y)
    return figures


def _print(first: Experiment) -> str | None:
    """One SHA-256 for all that the student listens to; that of the weights where it is one network."""
    prints = [first.teachers[name].print for name in sorted(first.shares)]
    if None in prints:
        return None
    return prints[0] if len(prints) == 1 else hashlib.sha256("".join(map(str, prints)).encode()).hexdigest()


def describe(data: Data, seen: Data, notes: Sequence[str] = ()) -> dict[str, Any]:
    """The data in figures, what the student saw of them, and their notes before further `notes`; `commonest` is the
    validation accuracy of always guessing the commonest class."""
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
        found = judged[name][split] or {}
        return {f"{name}_{split}_{key}": found.get(key) for key in ("accuracy", "ce")}

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
    kept = "best" if trained.kept_best else "last"
    return {"kept": kept, "last": trained.history[-1], "best": trained.history[trained.best_epoch - 1]}


def _latency(weights: Vector, x: Array) -> dict[str, float]:
    """Microseconds per row of a forward pass on 1 row and on 256, the median of 15."""
    found = {}
    for rows in (1, 256):
        batch = np.resize(x, (rows, x.shape[1]))
        times = []
        for _ in range(15):
            started = perf_counter()
            mlp.logits(weights, batch)
            times.append(perf_counter() - started)
        found[f"row_us_batch_{rows}"] = 1e6 * sorted(times)[7] / rows
    return found


def _softness(plan: Config, first: Experiment) -> list[float]:
    """Per term with soft targets of teachers, their mean entropy as a share of log M."""
    shares = []
    for term in plan.student.terms:
        if term.matters and "temperature" in term.options and term.teachers[0][0] in first.answers:
            rows, total = len(first.seen.train), 0.0
            classes = len(first.data.classes)
            for start in range(0, rows, ROWS_AT_ONCE):
                some = said(term, first.answers, slice(start, start + ROWS_AT_ONCE))
                log_p = log_softmax(some, term.options["temperature"])
                total -= float((np.exp(log_p) * log_p).sum())
            shares.append(total / rows / math.log(classes))
    return shares


def _follows(first: Experiment) -> float | None:
    """The student's agreement with what it listens to on the rows that it was trained on."""
    if not first.answers:
        return None
    weights, x, rows, same = first.learned["student"].model.weights, first.seen.train.x, len(first.seen.train), 0.0
    for start in range(0, rows, ROWS_AT_ONCE):
        some = slice(start, start + ROWS_AT_ONCE)
        shares = {name: share for name, share in first.shares.items() if name in first.answers}
        heard_here = [first.answers[name].logits[some] for name in shares]
        teacher = combine(heard_here, list(shares.values()), "probabilities")
        same += metrics.agreement(mlp.logits(weights, x[some]), teacher) * len(teacher)
    return same / rows
