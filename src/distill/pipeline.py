"""The story of a run: data -> teacher -> student and control -> results."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from distill import config as configuration
from distill import data as rows
from distill.config import Config
from distill.data import Data
from distill.errors import DistillError
from distill.evidence import control_terms
from distill.record import Record
from distill.results import Results, collect
from distill.student import learn
from distill.teacher import listen, obtain
from distill.train import OnEpoch

log = logging.getLogger(__name__)


def run(
    config: Config | Mapping[str, Any] | str | Path,
    overrides: Iterable[str] = (),
    on_epoch: OnEpoch = lambda name, record: None,
) -> Results:
    """Train a teacher, distil a student, train the control, and say what came of it.

    `config` is a Config, a mapping with the keys of a configuration file, or such a file's path; `overrides` are
    texts like "distillation.temperature=2". A file's run is kept in its run folder; a mapping's only where
    `output.folder` names one. `on_epoch(model, record)` hears of every epoch. Raises a DistillError: ConfigError,
    DataError, DivergedError, OutputError, or itself where the teacher learned nothing.
    """
    started = perf_counter()
    plan = config if isinstance(config, Config) else configuration.load(config, overrides)
    seed = plan.distillation.random_seed
    with Record(plan, on_epoch) as record:
        data = load_data(plan)

        (name, teacher_plan), *_ = plan.teachers.items()
        teacher = record.keep("teacher", obtain(teacher_plan, data, seed, record.hear))
        before = teacher.model.fingerprint()
        answers = {name: listen(teacher, data)}

        alone = control_terms(plan.student.terms)
        control = record.keep("control", learn("control", plan.student, alone, data, {}, seed, record.hear))
        terms = plan.student.terms
        student = record.keep("student", learn("student", plan.student, terms, data, answers, seed, record.hear))
        if teacher.model.fingerprint() != before:
            raise DistillError("the teacher's weights changed while the student was trained; this is a bug, report it")

        trained = {"teacher": teacher, "control": control, "student": student}
        results = collect(plan, data, trained, alone, perf_counter() - started)
        record.finish(results)
    return results


def inputs(plan: Config) -> list[Path]:
    """The files and folders that a plan reads, so that no output replaces one of them."""
    named = [plan.data.source, plan.data.test]
    return [rows.locate(name) for name in named if name and name != "digits"]


def load_data(plan: Config) -> Data:
    """The rows of a plan, and a word about them in the log."""
    short = plan.distillation
    data = rows.load(plan.data, short.train_ratio, short.max_samples, short.random_seed)
    log.info("data: %s, %d rows to train on, scale %s", data.source, len(data.train), data.scaling.kind)
    if data.missing:
        log.warning("data: %d empty fields count as their feature's mean over the training rows", data.missing)
    return data
