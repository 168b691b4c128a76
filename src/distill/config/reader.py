"""Nodes -> plan. Walks the tree once; what fails is noted and left out, so that one mistake gives one message."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from distill.config.plan import (
    INHERITED,
    LABELS_ONLY,
    LEVELS,
    OPTIONS,
    ORIGINS,
    PEERS,
    RESERVED,
    SECTIONS,
    STAGE_KEYS,
    TERM_KEYS,
    TERM_OPTIONS,
    TOP_LEVEL,
    Config,
    Distillation,
    Output,
    Stage,
    Student,
    Teacher,
    Term,
    Training,
    heard,
    layer_pairs,
    rules_of,
    stages_of,
)
from distill.config.rules import Rule, describe
from distill.config.strict_yaml import REFUSED, Entry, Node, parse
from distill.environment import variable

Network = TypeVar("Network", bound=Training)
NOTHING = Entry("", Node(None, ""))  # a section that was not written
NAME = re.compile(r"[\w.-]{1,64}")  # of a teacher; its file carries it


@dataclass(frozen=True)
class Around:
    """What the terms of one network depend on."""

    base: Distillation
    teachers: Mapping[str, Teacher]  # those that it may listen to
    default: tuple[str, ...]  # those that it listens to where a term names none
    hidden: tuple[int, ...]  # the network's own
    peers: bool = False


class Reader:
    """Reads one tree; `faults` grows by one message a mistake."""

    def __init__(self, tree: Node, faults: list[str]) -> None:
        self.tree, self.faults = tree, faults
        self.broken: set[str] = set()  # paths at or in which something is wrong
        self.supplied: set[str] = set()  # keys of the short spelling that reached something

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

    def teachers(self, entry: Entry, base: Distillation) -> dict[str, Teacher]:
        teachers: dict[str, Teacher] = {}
        for name, one in (self.entries(entry.node, "teachers", None) or {"teacher": NOTHING}).items():
            path = f"teachers.{name}"
            if not NAME.fullmatch(name) or name in RESERVED:
                what = f"a teacher's name is 1 to 64 letters, digits, _, . or -, and none of {', '.join(RESERVED)}"
                self.fault(one.where, path, f"{what}; choose another")
            plan = self.teacher(one.node, path, base, teachers)
            before: tuple[tuple[str, float], ...] = ()
            for generation in range(1, plan.generations + 1):
                own = name if generation == plan.generations else f"{name}.{generation}"
                if own in teachers:
                    self.fault(one.where, path, f"there is already a teacher {own!r}; choose another name")
                terms = self.classic(base, before) if before else plan.terms
                teachers[own] = replace(plan, generations=1, terms=terms)
                before = ((own, 1.0),)
        return teachers

    def teacher(self, node: Node, path: str, base: Distillation, above: Mapping[str, Teacher]) -> Teacher:
        """A teacher, which may listen to those above it."""
        keys = self.entries(node, path, (*rules_of(Teacher), "teacher", "terms"))
        named, listed = keys.pop("teacher", None), keys.pop("terms", None)
        given = self.values(Node(keys, node.where), path, rules_of(Teacher))
        origins = [name for name in ORIGINS if given.get(name) is not None]
        if origins:
            allowed = {*origins[:1], *(("kind",) if origins[0] == "predictions" else ())}
            for name, entry in (node.value or {}).items():
                if name not in allowed:
                    what = f"does not act on a teacher that comes from {origins[0]}; remove it"
                    self.fault(entry.where, f"{path}.{name}", what)
            nothing: dict[str, Any] = dict.fromkeys(rules_of(Training)) | {"hidden": (), "epochs": 0}
            return Teacher(**(nothing | given))
        if "kind" in given:
            self.fault(keys["kind"].where, f"{path}.kind", "acts only on predictions; remove it")
        plan = self.training(Teacher, given, base, "teacher", node, path)
        terms: tuple[Term, ...] = LABELS_ONLY
        if named and listed:
            self.fault(named.where, f"{path}.teacher", "is given beside terms; name the teachers in the terms")
        elif listed:
            around = Around(base, above, tuple(_leaves(above)), plan.hidden)
            terms = self.terms(listed.node, f"{path}.terms", around)
        elif named:
            teachers = self.value(named.node, f"{path}.teacher", OPTIONS["teacher"][0])
            if teachers is not REFUSED:
                self.known(teachers, above, named.node.where, f"{path}.teacher")
                terms = self.classic(base, teachers)
        return replace(plan, terms=terms)

    def known(self, names: Sequence[tuple[str, float]], teachers: Mapping[str, Teacher], where: str, path: str) -> None:
        for name, _ in names:
            if name not in teachers and self.sound("teachers") and "teacher" not in self.broken:
                there = f"must be one of {', '.join(teachers)}" if teachers else "there is none"
                above = " listed above it" if path.startswith("teachers.") else ""
                self.fault(where, path, f"there is no teacher {name!r}{above}; {there}")

    def classic(self, base: Distillation, teachers: tuple[tuple[str, float], ...]) -> tuple[Term, ...]:
        """The objective of the short spelling."""
        self.supplied |= {"alpha", "temperature", "t_squared"}
        soft: dict[str, Any] = {"combine": "probabilities"} if len(teachers) > 1 else {}
        soft |= {"temperature": base.temperature, "t_squared": base.t_squared}
        labels = Term("cross_entropy", complement(base.alpha), options={"smoothing": 0.0})
        return labels, Term("response", base.alpha, teachers, soft)

    def student(self, entry: Entry, base: Distillation, teachers: Mapping[str, Teacher]) -> Student:
        rules = rules_of(Student)
        keys = self.entries(entry.node, "student", (*rules, "terms", "stages"))
        listed, staged = keys.pop("terms", None), keys.pop("stages", None)
        given = self.values(Node(keys, entry.where), "student", rules)
        if staged and listed:
            self.fault(listed.where, "student.terms", "is given beside stages; give each stage its own terms")
        if staged and "epochs" in keys:
            self.fault(keys["epochs"].where, "student.epochs", "is given beside stages; give each stage its own epochs")
        plan = self.training(Student, given, base, "student", entry.node, "student")
        default = (PEERS,) if plan.peers else tuple(_leaves(teachers))
        around = Around(base, teachers, default, plan.hidden, peers=plan.peers > 0)
        if staged:
            stages = self.stages(staged.node, plan, around)
            return replace(plan, epochs=sum(stage.epochs for stage in stages), stages=stages)
        if listed:
            terms = self.terms(listed.node, "student.terms", around)
        else:
            terms = self.classic(base, tuple((name, 1 / len(default)) for name in sorted(default)))
        return replace(plan, stages=stages_of(plan, terms))

    def stages(self, node: Node, plan: Student, around: Around) -> tuple[Stage, ...]:
        stages = []
        for i, item in enumerate(self.items(node, "student.stages", "stages, such as [{epochs: 5, train: [1]}]")):
            path = f"student.stages[{i}]"
            if item.value is None:
                self.fault(item.where, path, f"{describe(None)}; must be a stage, such as {{epochs: 5, train: [1]}}")
            keys = self.entries(item, path, (*STAGE_KEYS, "terms"))
            listed = keys.pop("terms", None)
            given = self.values(Node(keys, item.where), path, STAGE_KEYS)
            terms = (
                self.terms(listed.node, f"{path}.terms", around)
                if listed
                else self.classic(around.base, tuple((name, 1 / len(around.default)) for name in around.default))
            )
            train = given.pop("train", "all")
            if train != "all" and (beyond := [k for k in train if k > len(plan.hidden) + 1]):
                what = f"there is no layer {beyond[0]}; must be from 1 to {len(plan.hidden) + 1}, the logits"
                self.fault(keys["train"].node.where, f"{path}.train", what)
            stages.append(
                Stage(
                    given.get("epochs", plan.epochs),
                    given.get("learning_rate", plan.learning_rate),
                    terms,
                    None if train == "all" else tuple(sorted(set(train))),
                )
            )
        return tuple(stages) or stages_of(plan, LABELS_ONLY)

    def items(self, node: Node, path: str, what: str) -> list[Node]:
        """The items of a list that must not be empty."""
        if isinstance(node.value, list) and node.value:
            return node.value
        if _bare(node) is not REFUSED:
            self.fault(node.where, path, f"{describe(_bare(node))}; must be a list of {what}")
        return []

    def terms(self, node: Node, path: str, around: Around) -> tuple[Term, ...]:
        before = len(self.faults)
        items = self.items(node, path, "terms, such as [{loss: response, weight: 1}]")
        terms = [self.term(item, f"{path}[{i}]", around) for i, item in enumerate(items)]
        if len(self.faults) == before and not any(term.matters for term in terms):
            self.fault(node.where, path, "every weight is 0; at least one must be above 0")
        return tuple(terms)

    def term(self, node: Node, path: str, around: Around) -> Term:
        if node.value is None:
            self.fault(node.where, path, f"{describe(None)}; must be a term, such as {{loss: response, weight: 1}}")
        given = self.values(node, path, TERM_KEYS)
        loss = given.pop("loss", None)
        if loss is None:
            if self.sound(path):
                self.fault(node.where, path, f"no loss is named; add loss: one of {', '.join(TERM_OPTIONS)}")
            return LABELS_ONLY[0]
        weighing = {"weight", "final_weight", "weight_schedule"}
        for name in sorted(given.keys() - {*TERM_OPTIONS[loss], *weighing}):
            self.fault(node.value[name].where, f"{path}.{name}", f"does not act in {loss}; remove it")
        if "weight_schedule" in given and given.get("final_weight") is None:
            what = "acts only with final_weight; add it, or remove this"
            self.fault(node.value["weight_schedule"].where, f"{path}.weight_schedule", what)
        listens = "teacher" in TERM_OPTIONS[loss]
        if "weight" not in given:
            self.supplied.add("alpha")
        alpha = around.base.alpha
        options = {}
        for name in TERM_OPTIONS[loss]:
            if name != "teacher":
                default = OPTIONS[name][1]
                if default == INHERITED and name not in given:
                    self.supplied.add(name)
                options[name] = given.get(name, getattr(around.base, name) if default == INHERITED else default)
        teachers = self.listened(given, node, path, loss, around) if listens else ()
        if len(teachers) < 2 and options.pop("combine", None) and "combine" in given:
            what = "acts only where a term listens to several teachers; remove it"
            self.fault(node.value["combine"].where, f"{path}.combine", what)
        if "layers" in options:
            options["layers"] = self.layers(options["layers"], node, path, teachers, around)
        return Term(
            loss,
            given.get("weight", alpha if listens else complement(alpha)),
            teachers,
            options,
            given.get("final_weight"),
            given.get("weight_schedule", "linear"),
        )

    def listened(
        self, given: Mapping[str, Any], node: Node, path: str, loss: str, around: Around
    ) -> tuple[tuple[str, float], ...]:
        """The teachers of a term, those it names or those that its network listens to by default."""
        named, where = given.get("teacher"), node.where
        if named is not None:
            where = node.value["teacher"].node.where
            known = {**around.teachers, **({PEERS: None} if around.peers else {})}
            if not around.peers and any(name == PEERS for name, _ in named):
                what = "there are no peers; set student.peers to 1 or more"
                self.fault(where, f"{path}.teacher", what)
            else:
                self.known(named, known, where, f"{path}.teacher")  # type: ignore[arg-type]
        elif not around.default:
            self.fault(where, path, f"{loss} listens to a teacher, and there is none above this one; add one")
            return ()
        teachers: tuple[tuple[str, float], ...] = named or tuple((n, 1 / len(around.default)) for n in around.default)
        names = [name for name, _ in teachers]
        if PEERS in names and len(names) > 1:
            self.fault(
                where, f"{path}.teacher", f"peers are heard in a term of their own; {', '.join(names)} are given"
            )
        if "layers" in TERM_OPTIONS[loss]:
            if len(names) > 1:
                what = f"{loss} compares hidden layers, so it listens to one teacher; {', '.join(names)} are given"
                self.fault(where, f"{path}.teacher", f"{what}; write a term for each")
            elif names[0] == PEERS or _origin(around.teachers, names[0]) == "predictions":
                said = "of peers it hears" if names[0] == PEERS else f"{names[0]!r} is a file with"
                what = f"{loss} compares hidden layers, and {said} logits alone"
                self.fault(where, f"{path}.teacher", f"{what}; name a network")
        return teachers

    def layers(self, given: Any, node: Node, path: str, teachers: Sequence[tuple[str, float]], around: Around) -> Any:
        """A layer map, from its file where one is named, checked where the teacher's depth is known already."""
        where = node.value["layers"].node.where if "layers" in node.value else node.where
        path, name = f"{path}.layers", teachers[0][0] if len(teachers) == 1 else ""
        if given == "auto":
            return given
        if isinstance(given, str):
            given = self.layer_file(given, where, path, name)
        teacher = around.teachers.get(name)
        if given != "auto" and teacher:
            most = len(teacher.hidden) if teacher.origin == "trained" else 64
            try:
                layer_pairs(given, most, len(around.hidden))
            except ValueError as error:
                self.fault(where, path, str(error))
        return given

    def layer_file(self, file: str, where: str, path: str, teacher: str) -> Any:
        """The map in a JSON or YAML file, or the one under the teacher's name in it."""
        try:
            text = Path(file).read_bytes()
        except OSError as error:
            self.fault(where, path, f"{file} cannot be read: {error.strerror or error}; name a JSON or YAML file")
            return "auto"
        before = len(self.faults)
        tree = parse(text, file, self.faults) or Node(None, file)
        if isinstance(tree.value, dict) and teacher in tree.value:
            tree = tree.value[teacher].node
        rule = OPTIONS["layers"][0]
        bare = _bare(tree)
        if len(self.faults) == before and bare is not REFUSED:
            if isinstance(bare, dict) and rule.accepts(bare):
                return rule.read(bare)
            what = f"{describe(bare)}; must be a map of the teacher's layers to the student's"
            self.fault(tree.where, path, f"{what}, or a map from teachers' names to such maps with {teacher!r} in it")
        return "auto"

    def training(
        self, kind: type[Network], given: dict[str, Any], base: Distillation, role: str, node: Node, path: str
    ) -> Network:
        """A network's plan: its own values, and for the rest those of the short spelling."""
        own = {"hidden": f"{role}_hidden", "epochs": f"{role}_epochs"}
        supplied = {name: getattr(base, own.get(name, name)) for name in rules_of(Training) if name not in given}
        self.supplied |= {own.get(name, name) for name in supplied}
        plan = kind(**(supplied | given))
        if plan.optimizer == "adam" and given.get("momentum") is not None and self.sound(path, "distillation"):
            what = "acts only with optimizer: sgd, but this network uses adam; remove it or set the optimizer"
            self.fault(node.value["momentum"].where, f"{path}.momentum", what)
        momentum = None if plan.optimizer == "adam" else 0.9 if plan.momentum is None else plan.momentum
        return replace(plan, momentum=momentum)

    def acts(self, name: str) -> bool:
        """Whether a key of the short spelling reaches anything, or the plan gives its own everywhere."""
        elsewhere = ("train_ratio", "max_samples", "random_seed")
        return name in self.supplied or name in elsewhere

    def teaching(
        self, sections: Mapping[str, Entry], plain: Mapping[str, Any], teachers: Mapping[str, Teacher], student: Student
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
            for name in heard(student.every_term):
                if name in teachers and teachers[name].origin == "predictions":
                    what = f"teacher {name!r} is a file of predictions and cannot answer for rows with noise"
                    where = sections["student"].node.value["noise"].where
                    self.fault(where, "student.noise", f"{what}; set this to 0, or name another teacher")

    def cross_checks(
        self,
        sections: Mapping[str, Entry],
        plain: Mapping[str, Any],
        given: Mapping[str, Mapping[str, Any]],
        teachers: Mapping[str, Teacher],
        student: Student,
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
            for name, idle in (("label", None), ("header", "auto")):
                if given["data"].get(name, idle) != idle:
                    what = "acts only on CSV files, but the source is digits; remove it"
                    self.fault(place("data", name), f"data.{name}", what)


def _leaves(teachers: Mapping[str, Teacher]) -> list[str]:
    """The teachers that no other teacher listens to."""
    inner = {name for one in teachers.values() for name in heard(one.terms)}
    return [name for name in teachers if name not in inner]


def _origin(teachers: Mapping[str, Teacher], name: str) -> str:
    return teachers[name].origin if name in teachers else ""


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
