"""Nodes -> plan. Walks the tree once; what fails is noted and left out, so that one mistake gives one message."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from distill.config.plan import (
    LEVELS,
    SECTIONS,
    TERM_KEYS,
    TERM_OPTIONS,
    TOP_LEVEL,
    Config,
    Distillation,
    Output,
    Student,
    Term,
    Training,
    rules_of,
)
from distill.config.rules import Rule, describe
from distill.config.strict_yaml import REFUSED, Entry, Node
from distill.environment import variable

Network = TypeVar("Network", bound=Training)
NOTHING = Entry("", Node(None, ""))  # a section that was not written


class Reader:
    """Reads one tree; `faults` grows by one message a mistake."""

    def __init__(self, tree: Node, faults: list[str]) -> None:
        self.tree, self.faults = tree, faults
        self.broken: set[str] = set()  # paths at or in which something is wrong

    def fault(self, where: str, path: str, what: str) -> None:
        self.faults.append(f"{where}: {path}: {what}" if path else f"{where}: {what}")
        self.broken.add(path)

    def sound(self, *sections: str) -> bool:
        """Whether nothing is wrong in these sections, so that a check across keys speaks of what was really written."""
        return not any(
            path == one or path.startswith((f"{one}.", f"{one}[")) for one in sections for path in self.broken
        )

    def config(self, folder: str | None) -> Config:
        sections = self.entries(self.tree, "", TOP_LEVEL)
        given = {
            name: self.values(sections[name].node, name, rules_of(section)) if name in sections else {}
            for name, section in SECTIONS.items()
        }
        plain = {name: section(**given[name]) for name, section in SECTIONS.items()}
        base: Distillation = plain["distillation"]
        teachers = self.teachers(sections.get("teachers"), base)
        student = self.student(sections.get("student", NOTHING), base, teachers)
        self.cross_checks(sections, plain, given, [*teachers.values(), student])
        if plain["output"].folder is None:
            plain["output"] = Output(folder)
        if level := variable("DISTILL_LOG_LEVEL"):
            if level.upper() not in LEVELS:
                self.fault("DISTILL_LOG_LEVEL", "", f"{level!r} is no level; must be one of {', '.join(LEVELS)}")
            plain["logging"] = replace(plain["logging"], level=level.upper())
        return Config(teachers=teachers, student=student, **plain)

    def entries(self, node: Node, path: str, allowed: Iterable[str] | None) -> dict[str, Entry]:
        """A mapping's known entries; an empty section (null) has none."""
        if not node.sound:
            self.broken.add(path)
        if not isinstance(node.value, dict):
            bare = _bare(node)
            if bare is not REFUSED and not (bare is None and path):
                kinds = "keys" if path else f"sections: {', '.join(TOP_LEVEL)}"
                self.fault(
                    node.where,
                    path,
                    f"{'' if path else 'the top level: '}{describe(bare)}; must be a mapping of {kinds}",
                )
            return {}
        known = {}
        for name, entry in node.value.items():
            if allowed is None or name in allowed:
                known[name] = entry
            else:
                inner = f"{path}.{name}" if path else name
                self.fault(entry.where, inner, f"unknown key; {_suggest(name, path, allowed)}")
        return known

    def values(self, node: Node, path: str, rules: Mapping[str, Rule]) -> dict[str, Any]:
        """The values of one section that meet their rules."""
        return {
            name: value
            for name, entry in self.entries(node, path, rules).items()
            if (value := self.value(entry.node, f"{path}.{name}", rules[name])) is not REFUSED
        }

    def value(self, node: Node, path: str, rule: Rule) -> Any:
        bare = _bare(node)
        if bare is REFUSED:
            return REFUSED
        try:
            return rule.read(bare)
        except ValueError as error:
            self.fault(node.where, path, str(error))
            return REFUSED

    def teachers(self, entry: Entry | None, base: Distillation) -> dict[str, Training]:
        named = self.entries(entry.node, "teachers", None) if entry else {}
        if entry and len(named) > 1:
            what = f"{len(named)} teachers are given ({', '.join(named)}); must be exactly one"
            self.fault(entry.where, "teachers", what)
        teachers = {}
        for name, one in (named or {"teacher": NOTHING}).items():
            given = self.values(one.node, f"teachers.{name}", rules_of(Training))
            teachers[name] = self.training(Training, given, base, "teacher", one.node, f"teachers.{name}")
        return teachers

    def student(self, entry: Entry, base: Distillation, teachers: Mapping[str, Training]) -> Student:
        rules = rules_of(Student)
        keys = self.entries(entry.node, "student", (*rules, "terms"))
        terms: tuple[Term, ...] = (
            Term("cross_entropy", complement(base.alpha)),
            Term(
                "response",
                base.alpha,
                next(iter(teachers)),
                {n: getattr(base, n) for n in ("temperature", "t_squared")},
            ),
        )
        if listed := keys.pop("terms", None):
            terms = self.terms(listed, base, teachers)
        given = self.values(Node(keys, entry.where), "student", rules)
        return self.training(Student, given | {"terms": terms}, base, "student", entry.node, "student")

    def terms(self, entry: Entry, base: Distillation, teachers: Mapping[str, Training]) -> tuple[Term, ...]:
        items, before = entry.node.value, len(self.faults)
        if not isinstance(items, list) or not items:
            if _bare(entry.node) is not REFUSED:
                what = (
                    f"{describe(_bare(entry.node))}; must be a list of terms, such as [{{loss: response, weight: 1}}]"
                )
                self.fault(entry.node.where, "student.terms", what)
            return ()
        terms = [self.term(item, f"student.terms[{i}]", base, teachers) for i, item in enumerate(items)]
        if len(self.faults) == before and not any(term.weight for term in terms):
            self.fault(entry.node.where, "student.terms", "every weight is 0; at least one must be above 0")
        return tuple(terms)

    def term(self, node: Node, path: str, base: Distillation, teachers: Mapping[str, Training]) -> Term:
        if node.value is None:
            self.fault(node.where, path, f"{describe(None)}; must be a term, such as {{loss: response, weight: 1}}")
        given = self.values(node, path, TERM_KEYS)
        loss = given.pop("loss", None)
        if loss is None:
            if self.sound(path):
                self.fault(node.where, path, f"no loss is named; add loss: {' or '.join(TERM_OPTIONS)}")
            return Term("cross_entropy", 1.0)
        for name in given.keys() - TERM_OPTIONS[loss].keys() - {"weight"}:
            self.fault(node.value[name].where, f"{path}.{name}", f"does not act in {loss}; remove it")
        listens = "teacher" in TERM_OPTIONS[loss]
        weight = given.get("weight", base.alpha if listens else complement(base.alpha))
        if not listens:
            return Term(loss, weight)
        teacher = given.get("teacher", next(iter(teachers)))
        if teacher not in teachers and self.sound("teachers") and "teacher" not in self.broken:
            what = f"there is no teacher {teacher!r}; must be one of {', '.join(teachers)}"
            self.fault(node.value["teacher"].node.where, f"{path}.teacher", what)
        options = {name: given.get(name, getattr(base, name)) for name in TERM_OPTIONS[loss] if name != "teacher"}
        return Term(loss, weight, teacher, options)

    def training(
        self, kind: type[Network], given: dict[str, Any], base: Distillation, role: str, node: Node, path: str
    ) -> Network:
        """A network's plan: its own values, and for the rest those of the short spelling."""
        own = {"hidden": f"{role}_hidden", "epochs": f"{role}_epochs"}
        supplied = {name: getattr(base, own.get(name, name)) for name in rules_of(Training)}
        plan = kind(**(supplied | given))
        if plan.optimizer == "adam" and given.get("momentum") is not None and self.sound(path, "distillation"):
            what = "acts only with optimizer: sgd, but this network uses adam; remove it or set the optimizer"
            self.fault(node.value["momentum"].where, f"{path}.momentum", what)
        momentum = None if plan.optimizer == "adam" else 0.9 if plan.momentum is None else plan.momentum
        return replace(plan, momentum=momentum)

    def acts(self, name: str, sections: Mapping[str, Entry]) -> bool:
        """Whether a key of the short spelling reaches any network, or all give their own."""

        def own(section: str) -> dict[str, Entry]:
            value = sections[section].node.value if section in sections else None
            return value if isinstance(value, dict) else {}

        teachers = [entry.node.value for entry in own("teachers").values() if isinstance(entry.node.value, dict)]
        student, terms = own("student"), own("student").get("terms")
        if name in ("temperature", "t_squared", "alpha"):
            key = "weight" if name == "alpha" else name
            listed = terms.node.value if terms and isinstance(terms.node.value, list) else [Node({}, "")]
            return any(
                isinstance(t.value, dict) and key not in t.value and (key == "weight" or _listens(t)) for t in listed
            )
        role, _, key = name.partition("_")
        if role in ("teacher", "student") and key in ("hidden", "epochs"):
            return key not in student if role == "student" else not teachers or any(key not in t for t in teachers)
        return name not in rules_of(Training) or any(name not in one for one in (student, *(teachers or [{}])))

    def cross_checks(
        self,
        sections: Mapping[str, Entry],
        plain: Mapping[str, Any],
        given: Mapping[str, Mapping[str, Any]],
        networks: list[Training],
    ) -> None:
        """What no single key can tell: a key that would silently do nothing is a fault."""

        def place(section: str, name: str) -> str:
            return str(sections[section].node.value[name].where)

        for name in given["distillation"]:
            where = place("distillation", name)
            if where.startswith("--set") and not self.acts(name, sections):
                what = "does nothing here, as the plan gives its own under teachers and student; set it there"
                self.fault(where, f"distillation.{name}", what)
        sgd = any(network.optimizer == "sgd" for network in networks)
        given_momentum = given["distillation"].get("momentum") is not None
        if given_momentum and not sgd and self.sound("distillation", "teachers", "student"):
            what = "acts only with optimizer: sgd, but every network uses adam; remove it or set the optimizer"
            self.fault(place("distillation", "momentum"), "distillation.momentum", what)
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
            for name, idle in (("label", None), ("header", "auto")):
                if given["data"].get(name, idle) != idle:
                    what = "acts only on CSV files, but the source is digits; remove it"
                    self.fault(place("data", name), f"data.{name}", what)


def _listens(term: Node) -> bool:
    loss = term.value.get("loss")
    return loss is None or loss.node.value != "cross_entropy"


def complement(alpha: float) -> float:
    """1 - alpha, as written: 0.3 for 0.7 rather than 0.30000000000000004."""
    return round(1 - alpha, 12)


def _bare(node: Node) -> Any:
    """The node's value without places; REFUSED as soon as any part was refused."""
    if isinstance(node.value, list):
        items = [_bare(item) for item in node.value]
        return REFUSED if REFUSED in items else items
    if isinstance(node.value, dict):
        inner = {name: _bare(entry.node) for name, entry in node.value.items()}
        return REFUSED if REFUSED in inner.values() else inner
    return node.value


def _suggest(name: str, path: str, allowed: Iterable[str]) -> str:
    from difflib import get_close_matches

    allowed = list(allowed)
    if close := get_close_matches(name, allowed, 1):
        return f"did you mean {close[0]!r}?"
    homes = [
        f"{section}.{name}" for section, kind in (*SECTIONS.items(), ("student", Training)) if name in rules_of(kind)
    ]
    if homes:
        return f"it belongs in {' or '.join(homes)}"
    return f"allowed: {', '.join(allowed)}"
