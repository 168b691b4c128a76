"""The story of a run: data -> teachers -> student and control -> results."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from distill import data as rows
from distill.config.dump import as_dict
from distill.config.load import load
from distill.config.schema import Config, Output, heard
from distill.data import Data
from distill.data.table import Source
from distill.errors import ConfigError, DistillError, OutputError
from distill.report import paths
from distill.report.plan_origin import replacement_warning
from distill.report.record import Record
from distill.report.results import Experiment, Results, collect
from distill.report.run_files import teacher_file
from distill.student import control_course, learn, view
from distill.system import environment
from distill.system.files import make_folder
from distill.system.processes import map_in_processes
from distill.teacher.python_teacher import check_given
from distill.teacher.sources import listen_to_all, needed, obtain, weak_notes
from distill.train.fit import OnEpoch

log = logging.getLogger(__name__)
T = TypeVar("T")
NO_SEED_HELPS = (ConfigError, OutputError)  # what would stop every seed alike


def run(
    config: Config | Mapping[str, Any] | str | Path,
    overrides: Iterable[str] = (),
    on_epoch: OnEpoch = lambda name, record: None,
    teachers: Mapping[str, object] | None = None,
) -> Results:
    """Train a teacher, distil a student, train the control, and say what came of it.

    `config` is a Config, a mapping with the keys of a configuration file, or such a file's path; `overrides` are
    texts like "distillation.temperature=2". A file's run is kept in its run folder; a mapping's only where
    `output.folder` names one. `on_epoch(model, record)` hears of every epoch. `teachers` are objects by name, anything
    with `predict_proba` (rows as in the data file -> probabilities) or a TeacherModel; one that the plan does not know
    is added to it. Of several seeds, one that cannot be run is reported and the others go on. Raises a DistillError:
    ConfigError, DataError, DivergedError, OutputError, or itself where a teacher learned nothing; TypeError for an
    object that lacks a method.
    """
    started = perf_counter()
    given = teachers or {}
    check_given(given)
    source = as_dict(config) if isinstance(config, Config) else config
    plan = load(source, overrides, {name: type(one).__name__ for name, one in given.items()})
    if isinstance(config, Config):
        plan = plan.read_from(config.file, config.layer_files)
    paths.check(plan, {})
    if plan.performance.cache is not None:
        make_folder(Path(plan.performance.cache))
    if warning := replacement_warning(plan):
        log.warning(warning)
    threads, raw = environment.threads(plan.performance.threads), rows.read(plan.data)
    left = [plan.distillation.random_seed + i for i in range(plan.evidence.seeds)]
    failed: dict[int, DistillError] = {}
    data = first_that_runs(left, failed, lambda seed: load_data(plan, seed, raw))
    examine(plan, data, given)  # before the record, which clears what an interrupted run left
    ready = {left[0]: data}
    with Record(plan, on_epoch) as record:

        def whole(seed: int) -> Experiment:
            record.restart()
            kept = data if plan.evidence.share_teacher else ready.pop(seed, None)
            return experiment(plan, seed, record, kept or load_data(plan, seed, raw), threads=threads, given=given)

        first = first_that_runs(left, failed, whole)
        seeds = [first.figures(), *repeat(plan, first, left[1:], failed)]
        for note in weak_notes(first.teachers, seeds, plan.evidence.seeds > 1):
            log.warning("%s", note)
        lost = [{"seed": seed, "error": str(failed[seed])} for seed in sorted(failed)]
        results = collect(plan, first, seeds, perf_counter() - started, lost)
        record.finish(results)
        first.end()
    return results


def first_that_runs(left: list[int], failed: dict[int, DistillError], make: Callable[[int], T]) -> T:
    """What `make` gives under the first seed that it does not fail for; the seeds before it move from `left` to
    `failed`. Raises the very first error where no seed is left."""
    while True:
        try:
            return make(left[0])
        except NO_SEED_HELPS:
            raise
        except DistillError as error:
            if len(left) == 1 and not failed:
                raise
            _give_up(left.pop(0), error, failed)
        if not left:
            seed, first = min(failed.items())
            again = copy(first)  # its kind and words, without a model: what is on disk is another seed's
            again.args = (f"none of {len(failed)} seeds can be run; seed {seed}: {first}",)
            raise again


def _give_up(seed: int, error: DistillError, failed: dict[int, DistillError]) -> None:
    log.warning("seed %d cannot be run: %s", seed, error)
    failed[seed] = error


def experiment(
    plan: Config,
    seed: int,
    record: Record,
    data: Data,
    shared: Experiment | None = None,
    threads: int = 1,
    given: Mapping[str, object] | None = None,
    first: bool = True,
) -> Experiment:
    """Everything once under one seed; `shared` lends its teachers, and the labels that its student saw. Notes on
    teachers are logged of the `first` seed alone."""
    teachers = dict(shared.teachers) if shared else {}
    for name in plan.teachers if not shared else ():
        teachers[name] = obtain(name, plan, data, teachers, seed, record.record_epoch, threads, (given or {}).get(name))
        for note in teachers[name].notes if first else ():
            log.warning("%s", note)
        if trained := teachers[name].trained:
            record.save_model(teacher_file(name, plan.teachers), trained)
    seen = shared.seen if shared else view(plan.student, data, seed)
    stages = plan.student.stages
    if shared and shared.plan == plan:
        answers = dict(shared.answers)
    else:
        listened = {name: teachers[name] for name in heard(plan.student.every_term) if name in teachers}
        answers = listen_to_all(listened, seen.train, stages, len(plan.student.hidden), plan)

    courses = {"control": control_course(stages), "student": stages}
    try:
        learned = learn(plan.student, courses, seen, answers, seed, record.record_epoch, threads)
    except BaseException:
        for one in answers.values():
            one.end()
        raise
    if not all(one.unchanged() for one in teachers.values()):
        raise DistillError("a teacher's weights changed while the student was trained; this is a bug, report it")
    for name, trained in learned.items():
        record.save_model(name, trained)
    return Experiment(seed, data, seen, teachers, learned, answers, plan)


def examine(plan: Config, data: Data, given: Collection[str] = ()) -> None:
    """Read the teachers that stand in files, and raise as a run would for one that does not fit; so too for an
    object that is not given."""
    seed = plan.distillation.random_seed
    for name, one in plan.teachers.items():
        if one.origin == "python" and name not in given:
            what = f"is an object from Python ({one.python}), and none is given"
            raise ConfigError([f"teachers.{name}: {what}; call distill.run(..., teachers={{{name!r}: it}})"])
        if one.origin in ("load", "predictions"):
            found = obtain(name, plan, data, {}, seed, lambda *_: None)
            needed(plan.student.stages, name, found.depth, len(plan.student.hidden))


def repeat(
    plan: Config, first: Experiment, seeds: Sequence[int], failed: dict[int, DistillError]
) -> Iterator[dict[str, Any]]:
    """The figures of the further seeds, in their order, computed on all cores; those that cannot be run go to
    `failed`."""
    quiet = Record(replace(plan, output=Output(None)), lambda name, epoch: None)
    shared = first if plan.evidence.share_teacher else None

    def once(seed: int) -> dict[str, Any] | DistillError:
        try:
            data = shared.data if shared else load_data(plan, seed, first.data.raw)
            found = experiment(plan, seed, quiet, data, shared, threads, first=False)
            figures = found.figures()
            if not shared:
                found.end()
            return figures
        except NO_SEED_HELPS as error:
            error.args = (f"seed {seed}: {error}",)
            raise
        except DistillError as error:
            return error

    workers = 1 if (asked := _asked_anew(plan)) else plan.evidence.workers
    if asked and seeds:
        log.info("further seeds run in this process: an object from Python (%s) is asked about rows with noise", asked)
    one_by_one = len(seeds) == 1 or workers == 1
    threads = environment.threads(plan.performance.threads) if one_by_one else 1  # else the processes take the cores
    for seed, found in zip(seeds, map_in_processes(once, seeds, workers), strict=True):
        if isinstance(found, DistillError):
            _give_up(seed, found, failed)
        else:
            log.info("seed %(seed)d: student %(student_accuracy).4f, control %(control_accuracy).4f", found)
            yield found


def _asked_anew(plan: Config) -> str:
    """The teachers that are objects from Python and answer for every batch anew. They never do in a forked process: a
    library's threads do not exist there, and it would wait for them for ever."""
    names = heard(plan.student.every_term) if plan.student.noise else ()
    return ", ".join(name for name in names if name in plan.teachers and plan.teachers[name].origin == "python")


def load_data(plan: Config, seed: int | None = None, source: Source | None = None) -> Data:
    """The rows of a plan under one seed, its own where none is given: split, scaled, each with its number in the file.
    They are read unless `source` has them. Raises DataError."""
    short, source = plan.distillation, source or rows.read(plan.data)
    seed = short.random_seed if seed is None else seed
    return rows.split(source, plan.data, short.train_ratio, short.max_samples, seed)
