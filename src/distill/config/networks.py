"""Nodes -> teachers and student: how each is got, built and trained, and the terms that it learns from."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from distill.config.reader import NOTHING, Reader, bare
from distill.config.rules import describe
from distill.config.schema import (
    INHERITED,
    LABELS_ONLY,
    OPTIONS,
    ORIGINS,
    PEERS,
    RESERVED,
    STAGE_KEYS,
    TERM_KEYS,
    TERM_OPTIONS,
    Distillation,
    Stage,
    StudentPlan,
    TeacherPlan,
    Term,
    Training,
    layer_pairs,
    rules_of,
    stages_of,
    teacher_weights,
)
from distill.config.yaml_nodes import REFUSED, Entry, Node, parse

Network = TypeVar("Network", bound=Training)
NAME = re.compile(r"(?!peer\d+$)(?!.*\.full$)[\w.-]{1,64}")  # of a teacher; its file carries it


@dataclass(frozen=True)
class Around:
    """What the terms of one network depend on."""

    base: Distillation
    teachers: Mapping[str, TeacherPlan]  # those that it may listen to
    default: tuple[str, ...]  # those that it listens to where a term names none
    hidden: tuple[int, ...]  # the network's own
    peers: bool = False

    @property
    def everyone(self) -> tuple[tuple[str, float], ...]:
        """Those that it listens to by default, with equal shares, by name."""
        return tuple((name, 1 / len(self.default)) for name in sorted(self.default))


class Networks(Reader):
    """Reads `teachers` and `student`."""

    def teachers(self, entry: Entry, base: Distillation) -> dict[str, TeacherPlan]:
        teachers: dict[str, TeacherPlan] = {}
        for name, one in (self.entries(entry.node, "teachers", None) or {"teacher": NOTHING}).items():
            path = f"teachers.{name}"
            if not NAME.fullmatch(name) or name in RESERVED:
                what = "a teacher's name is 1 to 64 letters, digits, _, . or -, does not end in .full, and is none of"
                self.fault(one.where, path, f"{what} {', '.join(RESERVED)}, peer1, peer2, ...; choose another")
            plan = self.teacher(one.node, path, base, teachers)
            before: tuple[tuple[str, float], ...] = ()
            for generation in range(1, plan.generations + 1):
                own = name if generation == plan.generations else f"{name}.{generation}"
                if not NAME.fullmatch(own) and NAME.fullmatch(name):
                    what = f"its generations would be called {own!r} and so on, which is too long"
                    self.fault(one.where, path, f"{what}; choose a shorter name")
                if own in teachers:
                    self.fault(one.where, path, f"there is already a teacher {own!r}; choose another name")
                terms = self.classic(base, before) if before else plan.terms
                teachers[own] = replace(plan, generations=1, terms=terms)
                before = ((own, 1.0),)
        return teachers

    def teacher(self, node: Node, path: str, base: Distillation, above: Mapping[str, TeacherPlan]) -> TeacherPlan:
        """A teacher, which may listen to those above it."""
        keys = self.entries(node, path, (*rules_of(TeacherPlan), "teacher", "terms"))
        named, listed = keys.pop("teacher", None), keys.pop("terms", None)
        given = self.values(Node(keys, node.where), path, rules_of(TeacherPlan))
        origins = [name for name in ORIGINS if given.get(name) is not None]
        if origins:
            allowed = {*origins[:1], *(("kind",) if origins[0] == "predictions" else ())}
            for name, entry in (node.value or {}).items():
                if name not in allowed:
                    what = f"does not act on a teacher that comes from {origins[0]}; remove it"
                    self.fault(entry.where, f"{path}.{name}", what)
            nothing: dict[str, Any] = dict.fromkeys(rules_of(Training)) | {"hidden": (), "epochs": 0}
            return TeacherPlan(**(nothing | given))
        if "kind" in given:
            self.fault(keys["kind"].where, f"{path}.kind", "acts only on predictions; remove it")
        plan = self.training(TeacherPlan, given, base, "teacher", node, path)
        terms: tuple[Term, ...] = LABELS_ONLY
        if named and listed:
            self.fault(named.where, f"{path}.teacher", "is given beside terms; name the teachers in the terms")
        elif listed:
            around = Around(base, above, tuple(_leaves(above)), plan.hidden)
            terms = self.terms(listed.node, f"{path}.terms", around)
        elif named:
            teachers = self.value(named.node, f"{path}.teacher", OPTIONS["teacher"][0])
            if teachers is not REFUSED:
                self.known(_named(named.node), above, named.node.where, f"{path}.teacher")
                terms = self.classic(base, teachers)
        return replace(plan, terms=terms)

    def known(self, names: Iterable[str], teachers: Iterable[str], where: str, path: str) -> None:
        """Note every name that no teacher has, also one whose weight is 0."""
        there = list(teachers)
        for name in names:
            if name not in there and self.sound("teachers") and "teacher" not in self.broken:
                choice = f"must be one of {', '.join(there)}" if there else "there is none"
                above = " listed above it" if path.startswith("teachers.") else ""
                self.fault(where, path, f"there is no teacher {name!r}{above}; {choice}")

    def student(self, entry: Entry, base: Distillation, teachers: Mapping[str, TeacherPlan]) -> StudentPlan:
        rules = rules_of(StudentPlan)
        keys = self.entries(entry.node, "student", (*rules, "terms", "stages"))
        listed, staged = keys.pop("terms", None), keys.pop("stages", None)
        given = self.values(Node(keys, entry.where), "student", rules)
        if staged and listed:
            self.fault(listed.where, "student.terms", "is given beside stages; give each stage its own terms")
        if staged and "epochs" in keys:
            self.fault(keys["epochs"].where, "student.epochs", "is given beside stages; give each stage its own epochs")
        unused = self.replaced(staged.node) if staged else set()
        if "learning_rate" in unused and "learning_rate" in keys:
            what = "does nothing, as every stage has its own; remove it"
            self.fault(keys["learning_rate"].where, "student.learning_rate", what)
        short = {"epochs": "student_epochs", "learning_rate": "learning_rate"}
        never = {short[name] for name in unused}
        plan = self.training(StudentPlan, given, base, "student", entry.node, "student", never)
        default = (PEERS,) if plan.peers else tuple(_leaves(teachers))
        around = Around(base, teachers, default, plan.hidden, peers=plan.peers > 0)
        if staged:
            stages = self.stages(staged.node, plan, around)
            epochs, rate = sum(stage.epochs for stage in stages), stages[-1].learning_rate
            return replace(plan, epochs=epochs, learning_rate=rate, stages=stages)
        terms = self.terms(listed.node, "student.terms", around) if listed else self.classic(base, around.everyone)
        return replace(plan, stages=stages_of(plan, terms))

    def replaced(self, node: Node) -> set[str]:
        """Which of epochs and learning_rate every stage gives for itself."""
        stages = [item.value for item in node.value or () if isinstance(item.value, dict)] if _is_list(node) else []
        return {name for name in ("epochs", "learning_rate") if stages and all(name in one for one in stages)}

    def stages(self, node: Node, plan: StudentPlan, around: Around) -> tuple[Stage, ...]:
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
                else self.classic(around.base, around.everyone)
            )
            train = given.pop("train", "all")
            train = [train] if isinstance(train, int) else train
            if train != "all" and (beyond := [k for k in train if k > len(plan.hidden) + 1]):
                what = f"there is no layer {beyond[0]}; must be from 1 to {len(plan.hidden) + 1}, the logits"
                self.fault(keys["train"].node.where, f"{path}.train", what)
            elif train != "all" and terms and min(train) > (reach := _reach(terms, len(plan.hidden))):
                what = f"no term of this stage reaches above layer {reach}, so that layer {min(train)} would not learn"
                self.fault(keys["train"].node.where, f"{path}.train", f"{what}; train a layer from 1 to {reach}")
            stages.append(
                Stage(
                    given.get("epochs", plan.epochs),
                    given.get("learning_rate", plan.learning_rate),
                    terms,
                    None if train == "all" else tuple(sorted(set(train))),
                )
            )
        return tuple(stages) or stages_of(plan, LABELS_ONLY)

    def training(
        self,
        kind: type[Network],
        given: dict[str, Any],
        base: Distillation,
        role: str,
        node: Node,
        path: str,
        unused: Iterable[str] = (),
    ) -> Network:
        """A network's plan: its own values, and for the rest those of the short spelling."""
        own = {"hidden": f"{role}_hidden", "epochs": f"{role}_epochs"}
        supplied = {name: getattr(base, own.get(name, name)) for name in rules_of(Training) if name not in given}
        self.supplied |= {own.get(name, name) for name in supplied} - set(unused)
        plan = kind(**(supplied | given))
        if plan.optimizer == "adam" and given.get("momentum") is not None and self.sound(path, "distillation"):
            what = "acts only with optimizer: sgd, but this network uses adam; remove it or set the optimizer"
            self.fault(node.value["momentum"].where, f"{path}.momentum", what)
        momentum = None if plan.optimizer == "adam" else 0.9 if plan.momentum is None else plan.momentum
        return replace(plan, momentum=momentum)

    def classic(self, base: Distillation, teachers: tuple[tuple[str, float], ...]) -> tuple[Term, ...]:
        """The objective of the short spelling."""
        self.supplied |= {"alpha", "temperature", "t_squared"}
        soft: dict[str, Any] = {"combine": "probabilities"} if len(teachers) > 1 else {}
        soft |= {"temperature": base.temperature, "t_squared": base.t_squared}
        labels = Term("cross_entropy", complement(base.alpha), options={"smoothing": 0.0})
        return labels, Term("response", base.alpha, teachers, soft)

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
            known = [*around.teachers, *([PEERS] if around.peers else [])]
            if not around.peers and any(name == PEERS for name, _ in named):
                what = "there are no peers; set student.peers to 1 or more"
                self.fault(where, f"{path}.teacher", what)
            else:
                self.known(_named(node.value["teacher"].node), known, where, f"{path}.teacher")
        elif not around.default:
            self.fault(where, path, f"{loss} listens to a teacher, and there is none above this one; add one")
            return ()
        teachers: tuple[tuple[str, float], ...] = named or around.everyone
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
                said += (
                    " (which it hears by default, as there are peers)" if named is None and names[0] == PEERS else ""
                )
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
        self.layer_files.append(file)
        before = len(self.faults)
        if file.lower().endswith(".json"):
            text = text.replace(b"\t", b" ")  # JSON may be indented by tabs, YAML not
        tree = parse(text, file, self.faults) or Node(None, file)
        named = tree.value.get(teacher) if isinstance(tree.value, dict) else None
        if named and (isinstance(named.node.value, dict) or not teacher.isdecimal()):  # a name may look like a layer
            tree = named.node
        rule = OPTIONS["layers"][0]
        plain = bare(tree)
        if len(self.faults) == before and plain is not REFUSED:
            if isinstance(plain, dict) and rule.accepts(plain):
                return rule.read(plain)
            what = f"{describe(plain)}; must be a map of the teacher's layers to the student's"
            self.fault(tree.where, path, f"{what}, or a map from teachers' names to such maps with {teacher!r} in it")
        return "auto"


def _is_list(node: Node) -> bool:
    return isinstance(node.value, list)


def _reach(terms: Sequence[Term], hidden: int) -> int:
    """The highest layer that these terms say anything about."""
    reached = [0]
    for term in terms:
        if term.matters and not term.layered:
            reached.append(hidden + 1)
        elif term.matters:
            layers = term.options["layers"]
            reached.append(hidden if layers == "auto" else max(s for _, s in layers))
    return max(reached)


def _named(node: Node) -> list[str]:
    """The names in one name, a list or a map of them."""
    plain = bare(node)
    return list(plain) if isinstance(plain, (dict, list)) else [plain]


def _leaves(teachers: Mapping[str, TeacherPlan]) -> list[str]:
    """The teachers that no other teacher listens to."""
    inner = {name for one in teachers.values() for name in teacher_weights(one.terms)}
    return [name for name in teachers if name not in inner]


def _origin(teachers: Mapping[str, TeacherPlan], name: str) -> str:
    return teachers[name].origin if name in teachers else ""


def complement(alpha: float) -> float:
    """1 - alpha, as written: 0.3 for 0.7 rather than 0.30000000000000004."""
    return round(1 - alpha, 12)
