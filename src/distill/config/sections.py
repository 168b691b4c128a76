"""Nodes -> the whole plan of a run, and the checks that look across its sections."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from distill.config.networks import Networks
from distill.config.reader import NOTHING
from distill.config.schema import (
    LEVELS,
    PEERS,
    SECTIONS,
    TOP_LEVEL,
    Config,
    Distillation,
    Output,
    StudentPlan,
    TeacherPlan,
    rules_of,
    teacher_weights,
)
from distill.config.yaml_nodes import Entry
from distill.system.environment import variable


class Sections(Networks):
    """Reads everything."""

    def config(self, folder: str | None) -> Config:
        sections = self.entries(self.tree, "", TOP_LEVEL)
        given = {
            name: self.values(sections[name].node, name, rules_of(section)) if name in sections else {}
            for name, section in SECTIONS.items()
        }
        plain = {name: section(**given[name]) for name, section in SECTIONS.items()}
        base: Distillation = plain["distillation"]
        teachers = self.teachers(sections.get("teachers", NOTHING), base)
        student = self.student(sections.get("student", NOTHING), base, teachers)
        self.cross_checks(sections, plain, given, teachers, student)
        if plain["output"].folder is None:
            plain["output"] = Output(folder)
        if level := variable("DISTILL_LOG_LEVEL"):
            if level.upper() not in LEVELS:
                self.fault("DISTILL_LOG_LEVEL", "", f"{level!r} is no level; must be one of {', '.join(LEVELS)}")
            plain["logging"] = replace(plain["logging"], level=level.upper())
        return Config(teachers=teachers, student=student, **plain)

    def acts(self, name: str) -> bool:
        """Whether a key of the short spelling reaches anything, or the plan gives its own everywhere."""
        elsewhere = ("train_ratio", "max_samples", "random_seed", "weak_teacher")
        return name in self.supplied or name in elsewhere

    def teaching(
        self,
        sections: Mapping[str, Entry],
        plain: Mapping[str, Any],
        teachers: Mapping[str, TeacherPlan],
        student: StudentPlan,
    ) -> None:
        """Teachers that nobody hears, or that cannot do what the plan asks of them."""
        terms = [term for stage in student.stages for term in stage.terms]
        terms += [term for one in teachers.values() for term in one.terms]
        named = {name for term in terms for name, _ in term.teachers}
        node = sections.get("teachers", NOTHING).node
        for name in teachers if len(teachers) > 1 else ():
            if name not in named:
                where = node.value[name].where if name in node.value else node.where
                self.fault(where, f"teachers.{name}", "no term listens to it; name it in a term, or remove it")
        if student.peers and PEERS not in named:
            where = sections["student"].node.value["peers"].where
            self.fault(where, "student.peers", "no term listens to them; name peers in a term, or set this to 0")
        fixed = [name for name, one in teachers.items() if one.origin != "trained"]
        if fixed and plain["evidence"].seeds > 1 and not plain["evidence"].share_teacher:
            kind = teachers[fixed[0]].origin
            what = f"teacher {fixed[0]!r} comes from {kind}, so it learned on one split, and another seed makes another"
            self.fault(sections["evidence"].where, "evidence", f"{what}; set share_teacher: true, or seeds: 1")
        if student.noise:
            for name in teacher_weights(student.every_term):
                if name in teachers and teachers[name].origin == "predictions":
                    what = f"teacher {name!r} is a file of predictions and cannot answer for rows with noise"
                    where = sections["student"].node.value["noise"].where
                    self.fault(where, "student.noise", f"{what}; set this to 0, or name another teacher")

    def cross_checks(
        self,
        sections: Mapping[str, Entry],
        plain: Mapping[str, Any],
        given: Mapping[str, Mapping[str, Any]],
        teachers: Mapping[str, TeacherPlan],
        student: StudentPlan,
    ) -> None:
        """What no single key can tell: a key that would silently do nothing is a fault."""

        def place(section: str, name: str) -> str:
            return str(sections[section].node.value[name].where)

        for name in given["distillation"]:
            where = place("distillation", name)
            if where.startswith("--set") and not self.acts(name):
                what = "does nothing here, as the plan gives its own under teachers and student; set it there"
                self.fault(where, f"distillation.{name}", what)
        sgd = any(network.optimizer == "sgd" for network in (*teachers.values(), student))
        given_momentum = given["distillation"].get("momentum") is not None
        if given_momentum and not sgd and self.sound("distillation", "teachers", "student"):
            what = "acts only with optimizer: sgd, but every network uses adam; remove it or set the optimizer"
            self.fault(place("distillation", "momentum"), "distillation.momentum", what)
        if self.sound("teachers", "student", "distillation"):
            self.teaching(sections, plain, teachers, student)
        if given["data"].get("test") == plain["data"].source and self.sound("data"):
            what = "is the source itself, so that the model would be tested on its own training rows; name another file"
            self.fault(place("data", "test"), "data.test", what)
        if given["data"].get("test_ratio") and self.sound("data", "distillation"):
            if plain["data"].test is not None:
                what = "is given beside data.test; keep one of the two"
                self.fault(place("data", "test_ratio"), "data.test_ratio", what)
            elif plain["data"].test_ratio + plain["distillation"].train_ratio >= 1:
                total = f"{plain['data'].test_ratio:g} and train_ratio {plain['distillation'].train_ratio:g}"
                what = f"{total} leave no rows for validation; make their sum less than 1"
                self.fault(place("data", "test_ratio"), "data.test_ratio", what)
        if plain["data"].source == "digits" and self.sound("data"):
            for name, idle in (("label", None), ("header", "auto"), ("drop", None)):
                if given["data"].get(name, idle) != idle:
                    what = "acts only on CSV files, but the source is digits; remove it"
                    self.fault(place("data", name), f"data.{name}", what)
