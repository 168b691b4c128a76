"""What a run found, as one plain mapping: the content of results.json."""

import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import yaml

from distill import __version__, config, environment, metrics
from distill.config import Config
from distill.data import Data
from distill.evidence import advice, control_terms, verdict
from distill.model import Model
from distill.nn import mlp
from distill.nn.ops import log_softmax
from distill.nn.vector import Array, Vector
from distill.objective import formula
from distill.train import Trained

SCHEMA_VERSION = 1
MODELS = ("teacher", "student", "control")
ROWS_AT_ONCE = 4096  # of the training rows, which may be many
SPLITS = {"val": "validation", "test": "test"}  # in the keys of the results -> in words


class Results(dict[str, Any]):
    """The mapping that results.json holds, with the three models beside it."""

    teacher: Model
    student: Model
    control: Model


@dataclass(frozen=True)
class Experiment:
    """Everything that one seed gave: the data, what the student saw of them, the three networks, the teachers' answers
    (N,M) on the rows that the student saw."""

    seed: int
    data: Data
    seen: Data
    trained: Mapping[str, Trained]
    answers: Mapping[str, Array]

    def logits(self, split: str) -> dict[str, Array]:
        """Every network's logits on one split."""
        x = self.data.judged[split].x
        return {name: mlp.logits(one.model.weights, x) for name, one in self.trained.items()}

    def figures(self) -> dict[str, Any]:
        """What the verdict needs of this seed, on the test set where there is one, else on the validation rows.

        `won` and `lost` count the rows on which only the student, or only the control, is right.
        """
        split = list(self.data.judged)[-1]
        y, logits = self.data.judged[split].y, self.logits(split)
        right = {name: z.argmax(axis=1) == y for name, z in logits.items()}
        figures: dict[str, Any] = {"seed": self.seed, "split": split, "rows": len(y)}
        for name in MODELS:
            figures[f"{name}_accuracy"] = metrics.accuracy(logits[name], y)
            figures[f"{name}_ce"] = metrics.cross_entropy(logits[name], y)
        return figures | {
            "agreement": metrics.agreement(logits["student"], logits["teacher"]),
            "control_agreement": metrics.agreement(logits["control"], logits["teacher"]),
            "won": int((right["student"] & ~right["control"]).sum()),
            "lost": int((right["control"] & ~right["student"]).sum()),
        }


def collect(plan: Config, first: Experiment, seeds: Sequence[Mapping[str, Any]], seconds: float) -> Results:
    """Judge the first seed's networks on the rows that none was trained on, and every seed for the verdict.

    Accuracies and agreements are shares from 0 to 1, cross-entropies are in nats, seconds are wall-clock.
    """
    data, trained = first.data, first.trained
    logits = {split: first.logits(split) for split in data.judged}
    judged = {
        name: {split: metrics.summary(z[name], data.judged[split].y, z["teacher"]) for split, z in logits.items()}
        | {"parameters": trained[name].model.n_parameters, "bytes": trained[name].model.weights.flat.nbytes}
        | _epochs(trained[name])
        for name in MODELS
    }
    found = verdict(seeds, shared=plan.evidence.share_teacher)
    results = Results(
        _headline(judged, list(data.judged))
        | {
            "verdict": found,
            "advice": advice(seeds, found["outcome"], _softness(plan, first), _follows(plan, first)),
            "seeds": list(seeds),
            "objective": formula(plan.student.terms),
            "control_objective": formula(control_terms(plan.student.terms)),
            "models": judged,
            "data": describe(data, first.seen),
            "teacher_sha256": trained["teacher"].model.fingerprint(),
            "history": {name: trained[name].history for name in MODELS},
            "config": config.as_dict(plan),
            "timings": {
                name: {"seconds": trained[name].seconds, "steps": trained[name].steps}
                | _latency(trained[name].model.weights, data.validation.x[:256])
                for name in MODELS
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
            },
        }
    )
    results.teacher, results.student, results.control = (trained[name].model for name in MODELS)
    return results


def describe(data: Data, seen: Data) -> dict[str, Any]:
    """The data in figures, and what the student saw of them; `commonest` is the validation accuracy of always guessing
    the commonest class."""
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
    }


def _headline(judged: Mapping[str, Any], splits: Sequence[str]) -> dict[str, Any]:
    """The flat keys that come first: the three models on every split, by name."""

    def of(name: str, split: str) -> dict[str, float]:
        return {f"{name}_{split}_{key}": judged[name][split][key] for key in ("accuracy", "ce")}

    params = {f"{name}_params": judged[name]["parameters"] for name in ("teacher", "student")}
    facts = of("teacher", "val") | of("student", "val") | params
    facts |= {
        "compression_ratio": params["teacher_params"] / params["student_params"],
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
    """Per term that listens to a teacher, the mean entropy of its soft targets as a share of log M."""
    shares = []
    for term in plan.student.terms:
        if term.weight and term.teacher is not None:
            answers, total = first.answers[term.teacher], 0.0
            for start in range(0, len(answers), ROWS_AT_ONCE):
                some = answers[start : start + ROWS_AT_ONCE].astype(np.float64)
                log_p = log_softmax(some, term.options["temperature"])
                total -= float((np.exp(log_p) * log_p).sum())
            shares.append(total / len(answers) / math.log(answers.shape[1]))
    return shares


def _follows(plan: Config, first: Experiment) -> float | None:
    """The student's agreement with its teacher on the rows that it was trained on."""
    heard = [term.teacher for term in plan.student.terms if term.weight and term.teacher is not None]
    if not heard:
        return None
    weights, x, answers, same = first.trained["student"].model.weights, first.seen.train.x, first.answers[heard[0]], 0.0
    for start in range(0, len(answers), ROWS_AT_ONCE):
        some = slice(start, start + ROWS_AT_ONCE)
        same += metrics.agreement(mlp.logits(weights, x[some]), answers[some]) * len(answers[some])
    return same / len(answers)
