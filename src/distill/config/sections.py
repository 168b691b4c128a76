"""Read the whole plan of a run from its nodes, and check keys against each other.

A key that would do nothing is a fault.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from distill.config.faults import Faults
from distill.config.networks import read_student, read_teachers
from distill.config.reader import ABSENT, Reading, read_entries, read_values
from distill.config.schema import LEVELS, PEERS, SECTIONS, TOP_LEVEL, Config, Output, rules_of, teacher_weights
from distill.config.yaml_nodes import Entry, Node
from distill.system.environment import variable

Sections = Mapping[str, Entry]
NOT_OF_A_NETWORK = ("train_ratio", "max_samples", "random_seed", "weak_teacher")  # keys of distillation


def read_config(tree: Node, file: str | None, faults: Faults) -> Config:
    """Return the plan, which is usable only if no fault was added. `file` is the YAML file of the tree, if any."""
    sections = read_entries(tree, "", TOP_LEVEL, faults)
    values: dict[str, dict[str, Any]] = {
        name: read_values(sections[name].node, name, rules_of(section), faults) if name in sections else {}
        for name, section in SECTIONS.items()
    }
    plans = {name: section(**values[name]) for name, section in SECTIONS.items()}
    reading = Reading(faults, plans["distillation"])
    teachers = read_teachers(sections.get("teachers", ABSENT), reading)
    student = read_student(sections.get("student", ABSENT), reading, teachers)
    config = Config(teachers=teachers, student=student, **plans)
    _check_short_keys(values["distillation"], reading, sections)
    _check_momentum(config, values["distillation"], faults, sections)
    if faults.is_valid("teachers", "student", "distillation"):
        _check_teachers(config, faults, sections)
    _check_data(config, values["data"], faults, sections)
    config = _with_log_level(config, faults)
    if config.output.folder is None and file is not None:
        config = replace(config, output=Output(str(Path("runs") / Path(file).stem)))
    return config.read_from(file, reading.layer_files)


def _place(sections: Sections, section: str, name: str) -> str:
    """Return where a key of a section stands."""
    where: str = sections[section].node.value[name].where
    return where


def _check_short_keys(values: Mapping[str, Any], reading: Reading, sections: Sections) -> None:
    """Report overrides of the short spelling that reach no network, as each has its own value."""
    for name in values:
        where = _place(sections, "distillation", name)
        if where.startswith("--set") and name not in reading.used_short_keys and name not in NOT_OF_A_NETWORK:
            what = "does nothing here, as the plan gives its own under teachers and student; set it there"
            reading.faults.add(where, f"distillation.{name}", what)


def _check_momentum(config: Config, values: Mapping[str, Any], faults: Faults, sections: Sections) -> None:
    any_sgd = any(network.optimizer == "sgd" for network in (*config.teachers.values(), config.student))
    if values.get("momentum") is not None and not any_sgd and faults.is_valid("distillation", "teachers", "student"):
        what = "acts only with optimizer: sgd, but every network uses adam; remove it or set the optimizer"
        faults.add(_place(sections, "distillation", "momentum"), "distillation.momentum", what)


def _check_teachers(config: Config, faults: Faults, sections: Sections) -> None:
    """Report teachers that no term uses, and those that cannot do what the plan asks of them."""
    teachers, student = config.teachers, config.student
    lists = [*(stage.terms for stage in student.stages), *(teacher.terms for teacher in teachers.values())]
    used = {name for terms in lists for term in terms for name, _ in term.teachers}
    for name in teachers if len(teachers) > 1 else ():
        if name not in used:
            node = sections["teachers"].node
            where = node.value[name].where if name in node.value else node.where  # a generation is not in the file
            faults.add(where, f"teachers.{name}", "no term uses it; name it in a term, or remove it")
    if student.peers and PEERS not in used:
        what = "no term uses the peers; name peers in a term, or set this to 0"
        faults.add(_place(sections, "student", "peers"), "student.peers", what)
    fixed = [name for name, teacher in teachers.items() if teacher.origin != "trained"]
    if fixed and config.evidence.seeds > 1 and not config.evidence.share_teacher:
        origin = teachers[fixed[0]].origin
        what = f"teacher {fixed[0]!r} comes from {origin}, so it learned on one split, and another seed makes another"
        faults.add(sections["evidence"].where, "evidence", f"{what}; set share_teacher: true, or seeds: 1")
    for name in teacher_weights(student.every_term) if student.noise else ():
        if name in teachers and teachers[name].origin == "predictions":
            what = f"teacher {name!r} is a file of predictions and cannot answer for rows with noise"
            where = _place(sections, "student", "noise")
            faults.add(where, "student.noise", f"{what}; set this to 0, or name another teacher")


def _check_data(config: Config, values: Mapping[str, Any], faults: Faults, sections: Sections) -> None:
    """Report a test set that is none, and keys of CSV files beside the digits."""
    if not faults.is_valid("data"):
        return
    data, train_ratio = config.data, config.distillation.train_ratio
    if values.get("test") == data.source:
        what = "is the source itself, so that the model would be tested on its own training rows; name another file"
        faults.add(_place(sections, "data", "test"), "data.test", what)
    if values.get("test_ratio") and faults.is_valid("data", "distillation"):
        if data.test is not None:
            what = "is given beside data.test; keep one of the two"
            faults.add(_place(sections, "data", "test_ratio"), "data.test_ratio", what)
        elif data.test_ratio + train_ratio >= 1:
            what = f"{data.test_ratio:g} and train_ratio {train_ratio:g} leave no rows for validation"
            faults.add(_place(sections, "data", "test_ratio"), "data.test_ratio", f"{what}; make their sum less than 1")
    if data.source == "digits" and faults.is_valid("data"):
        for name, idle in (("label", None), ("header", "auto"), ("drop", None)):
            if values.get(name, idle) != idle:
                what = "acts only on CSV files, but the source is digits; remove it"
                faults.add(_place(sections, "data", name), f"data.{name}", what)


def _with_log_level(config: Config, faults: Faults) -> Config:
    """Return the plan with the log level of the environment, where that names one."""
    level = variable("DISTILL_LOG_LEVEL")
    if not level:
        return config
    if level.upper() not in LEVELS:
        faults.add("DISTILL_LOG_LEVEL", "", f"{level!r} is no level; must be one of {', '.join(LEVELS)}")
    return replace(config, logging=replace(config.logging, level=level.upper()))
