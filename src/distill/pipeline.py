"""The story of a run: data -> teachers -> student and control -> results."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from distill.config.dump import as_dict
from distill.config.load import load
from distill.config.schema import Config, Output, teacher_weights
from distill.data.load import split
from distill.data.rows import Data
from distill.data.source import read
from distill.data.table import Source
from distill.errors import ConfigError, DistillError, OutputError
from distill.report import paths
from distill.report.experiment import Experiment
from distill.report.plan_origin import replacement_warning
from distill.report.record import Record
from distill.report.results import Results, collect
from distill.report.run_files import teacher_file
from distill.student import control_stages, student_data, train_student
from distill.system import environment
from distill.system.files import make_folder
from distill.system.processes import map_in_processes
from distill.teacher.compute import compute_all, layers_needed
from distill.teacher.python_teacher import check_python_teachers
from distill.teacher.screening import weak_notes
from distill.teacher.sources import obtain
from distill.train.fit import OnEpoch, Run

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
    `output.folder` names one. `on_epoch(model, record)` is called with every epoch. `teachers` are objects by name,
    anything with `predict_proba` (rows as in the data file -> probabilities) or a TeacherModel; one that the plan does
    not know is added to it. Of several seeds, one that cannot be run is reported and the others go on.

    Raises a DistillError: ConfigError, DataError, DivergedError, OutputError, or itself where a teacher learned
    nothing; TypeError for an object that lacks a method.
    """
    started = perf_counter()
    objects = teachers or {}
    check_python_teachers(objects)
    source = as_dict(config) if isinstance(config, Config) else config
    plan = load(source, overrides, {name: type(teacher).__name__ for name, teacher in objects.items()})
    if isinstance(config, Config):
        plan = plan.read_from(config.file, config.layer_files)
    paths.check(plan, {})
    if plan.performance.cache is not None:
        make_folder(Path(plan.performance.cache))
    if warning := replacement_warning(plan):
        log.warning(warning)
    threads, table = environment.threads(plan.performance.threads), read(plan.data)
    seeds = [plan.distillation.random_seed + i for i in range(plan.evidence.seeds)]
    failed: dict[int, DistillError] = {}
    data = first_that_runs(seeds, failed, lambda seed: load_data(plan, seed, table))
    examine(plan, data, objects)  # before the record, which clears what an interrupted run left
    loaded = {seeds[0]: data}
    with Record(plan, on_epoch) as record:

        def first_experiment(seed: int) -> Experiment:
            record.restart()
            shared = data if plan.evidence.share_teacher else loaded.pop(seed, None)
            run = Run(seed, record.record_epoch, threads)
            return experiment(plan, shared or load_data(plan, seed, table), run, record, objects)

        first = first_that_runs(seeds, failed, first_experiment)
        figures = [first.figures(), *repeat(plan, first, seeds[1:], failed)]
        for note in weak_notes(first.teachers, figures, plan.evidence.seeds > 1):
            log.warning("%s", note)
        errors = [{"seed": seed, "error": str(failed[seed])} for seed in sorted(failed)]
        results = collect(plan, first, figures, perf_counter() - started, errors)
        record.finish(results)
        first.close()
    return results


def first_that_runs(left: list[int], failed: dict[int, DistillError], make: Callable[[int], T]) -> T:
    """Return what `make` gives under the first seed that it does not fail for; the seeds before it move from `left` to
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
    data: Data,
    run: Run,
    record: Record,
    objects: Mapping[str, object],
    shared: Experiment | None = None,
    quiet: bool = False,
) -> Experiment:
    """Do everything once under one seed. `shared` lends its teachers, and the labels that its student saw; `quiet` logs
    no notes on teachers."""
    teachers = dict(shared.teachers) if shared else {}
    for name in plan.teachers if not shared else ():
        teachers[name] = obtain(name, plan, data, run, teachers, objects.get(name))
        for note in () if quiet else teachers[name].notes:
            log.warning("%s", note)
        if trained := teachers[name].trained:
            record.save_model(teacher_file(name, plan.teachers), trained)
    seen = shared.student_data if shared else student_data(plan.student, data, run.seed)
    stages = plan.student.stages
    if shared and shared.plan == plan:
        outputs = dict(shared.outputs)
    else:
        used = {name: teachers[name] for name in teacher_weights(plan.student.every_term) if name in teachers}
        outputs = compute_all(used, seen.train, stages, len(plan.student.hidden), plan)

    try:
        trained_by_name = {"control": control_stages(stages), "student": stages}
        networks = train_student(plan.student, trained_by_name, seen, outputs, run)
    except BaseException:
        for of_teacher in outputs.values():
            of_teacher.close()
        raise
    if not all(teacher.is_unchanged() for teacher in teachers.values()):
        raise DistillError("a teacher's weights changed while the student was trained; this is a bug, report it")
    for name, trained in networks.items():
        record.save_model(name, trained)
    return Experiment(run.seed, data, seen, teachers, networks, outputs, plan)


def examine(plan: Config, data: Data, objects: Collection[str] = ()) -> None:
    """Read the teachers that stand in files, and raise as a run would for one that does not fit; so too for an object
    from Python that is missing among `objects`."""
    for name, teacher_plan in plan.teachers.items():
        if teacher_plan.origin == "python" and name not in objects:
            what = f"is an object from Python ({teacher_plan.python}), and none is given"
            raise ConfigError([f"teachers.{name}: {what}; call distill.run(..., teachers={{{name!r}: it}})"])
        if teacher_plan.origin in ("load", "predictions"):
            teacher = obtain(name, plan, data, Run(plan.distillation.random_seed), {})
            layers_needed(plan.student.stages, name, teacher.depth, len(plan.student.hidden))


def repeat(
    plan: Config, first: Experiment, seeds: Sequence[int], failed: dict[int, DistillError]
) -> Iterator[dict[str, Any]]:
    """Yield the figures of the further seeds, in their order, computed on all cores; those that cannot be run go to
    `failed`."""
    record = Record(replace(plan, output=Output(None)), lambda name, epoch: None)
    shared = first if plan.evidence.share_teacher else None

    def figures_of(seed: int) -> dict[str, Any] | DistillError:
        try:
            data = shared.data if shared else load_data(plan, seed, first.data.raw)
            repeated = experiment(plan, data, Run(seed, record.record_epoch, threads), record, {}, shared, quiet=True)
            figures = repeated.figures()
            if not shared:
                repeated.close()
            return figures
        except NO_SEED_HELPS as error:
            error.args = (f"seed {seed}: {error}",)
            raise
        except DistillError as error:
            return error

    workers = 1 if (asked := _asked_per_batch(plan)) else plan.evidence.workers
    if asked and seeds:
        log.info("further seeds run in this process: an object from Python (%s) is asked about rows with noise", asked)
    in_turn = len(seeds) == 1 or workers == 1
    threads = environment.threads(plan.performance.threads) if in_turn else 1  # else the processes take the cores
    for seed, figures in zip(seeds, map_in_processes(figures_of, seeds, workers), strict=True):
        if isinstance(figures, DistillError):
            _give_up(seed, figures, failed)
        else:
            log.info("seed %(seed)d: student %(student_accuracy).4f, control %(control_accuracy).4f", figures)
            yield figures


def _asked_per_batch(plan: Config) -> str:
    """The teachers that are objects from Python and compute outputs for every batch anew. They never do in a forked
    process: a library's threads do not exist there, and it would wait for them for ever."""
    names = teacher_weights(plan.student.every_term) if plan.student.noise else ()
    return ", ".join(name for name in names if name in plan.teachers and plan.teachers[name].origin == "python")


def load_data(plan: Config, seed: int | None = None, source: Source | None = None) -> Data:
    """Return the rows of a plan under one seed, its own where none is given: split, scaled, each with its number in the
    file. They are read unless `source` has them. Raises DataError."""
    short, source = plan.distillation, source or read(plan.data)
    seed = short.random_seed if seed is None else seed
    return split(source, plan.data, short.train_ratio, short.max_samples, seed)
