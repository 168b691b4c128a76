"""What a run found, as one plain mapping: the content of results.json."""

import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from distill import __version__, config, environment, metrics
from distill.config import Config, Term
from distill.data import Data
from distill.model import Model
from distill.nn import mlp
from distill.objective import formula
from distill.train import Trained

SCHEMA_VERSION = 1


class Results(dict[str, Any]):
    """The mapping that results.json holds, with the three models beside it."""

    teacher: Model
    student: Model
    control: Model


def collect(
    plan: Config,
    data: Data,
    trained: Mapping[str, Trained],
    control_terms: Sequence[Term],
    total_seconds: float,
) -> Results:
    """Judge teacher, student and control on the rows that none of them was trained on, and write down the rest.

    Accuracies and agreements are shares from 0 to 1, cross-entropies are in nats, seconds are wall-clock.
    """
    judged = {split: _judge(data, trained, split) for split in data.judged}
    models = {name: one.model for name, one in trained.items()}
    sizes = {f"{name}_params": models[name].n_parameters for name in ("teacher", "student")}
    facts = {key: judged["val"][key] for key in _HEADLINE} | sizes
    results = Results(
        facts
        | {"compression_ratio": sizes["teacher_params"] / sizes["student_params"], "schema_version": SCHEMA_VERSION}
        | {key: value for split in judged.values() for key, value in split.items() if key not in facts}
        | {
            "objective": formula(plan.student.terms),
            "control_objective": formula(control_terms),
            "data": describe(data),
            "teacher_sha256": models["teacher"].fingerprint(),
            "history": {name: one.history for name, one in trained.items()},
            "config": config.as_dict(plan),
            "timings": {name: {"seconds": one.seconds, "steps": one.steps} for name, one in trained.items()}
            | {"total_seconds": total_seconds},
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
                "blas_threads": environment.threads(),
            },
        }
    )
    results.teacher, results.student, results.control = models["teacher"], models["student"], models["control"]
    return results


_HEADLINE = ("teacher_val_accuracy", "teacher_val_ce", "student_val_accuracy", "student_val_ce")


def describe(data: Data) -> dict[str, Any]:
    """The data in figures; `commonest` is the validation accuracy of always guessing the commonest class."""
    rows = {"train": len(data.train)} | {
        {"val": "validation"}.get(name, name): len(r) for name, r in data.judged.items()
    }
    return {
        "source": data.source,
        "rows": rows,
        "features": data.features,
        "missing": data.missing,
        "classes": list(data.classes),
        "scale": data.scaling.kind,
        "commonest": metrics.commonest_share(data.train.y, data.validation.y),
    }


def _judge(data: Data, trained: Mapping[str, Trained], split: str) -> dict[str, float]:
    """Every figure of one split. The keys of the validation rows' agreements stay short: they are the headline's."""
    rows = data.judged[split]
    logits = {name: mlp.logits(one.model.weights, rows.x) for name, one in trained.items()}
    figures = {}
    for name, z in logits.items():
        figures[f"{name}_{split}_accuracy"] = metrics.accuracy(z, rows.y)
        figures[f"{name}_{split}_ce"] = metrics.cross_entropy(z, rows.y)
    prefix = "" if split == "val" else f"{split}_"
    figures[f"{prefix}agreement"] = metrics.agreement(logits["student"], logits["teacher"])
    figures[f"{prefix}control_agreement"] = metrics.agreement(logits["control"], logits["teacher"])
    return figures
