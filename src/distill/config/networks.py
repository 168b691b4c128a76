"""Read nodes into the plans of teachers and student. Their terms are read in `objectives`."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from distill.config.families import USUAL
from distill.config.objectives import Shares, TermScope, check_teachers_exist, hinton_terms, read_terms
from distill.config.reader import ABSENT, Reading, read_entries, read_items, read_value, read_values
from distill.config.rules import describe
from distill.config.schema import (
    INHERITED,
    LABELS_ONLY,
    ORIGINS,
    PEERS,
    Stage,
    StudentPlan,
    TeacherPlan,
    Term,
    Training,
    rules_of,
    stages_of,
    teacher_weights,
)
from distill.config.terms import OPTIONS
from distill.config.yaml_nodes import REFUSED, Entry, Node

Plan = TypeVar("Plan", TeacherPlan, StudentPlan)
NAME = re.compile(r"(?!peer\d+$)(?!.*\.full$)[\w.-]{1,64}")  # of a teacher; it is part of its file's name
RESERVED = ("student", "control", PEERS)


def read_teachers(entry: Entry, reading: Reading) -> dict[str, TeacherPlan]:
    """Return the teachers by name. A teacher of several generations becomes as many teachers."""
    faults = reading.faults
    teachers: dict[str, TeacherPlan] = {}
    for name, item in (read_entries(entry.node, "teachers", None, faults) or {"teacher": ABSENT}).items():
        path = f"teachers.{name}"
        if not NAME.fullmatch(name) or name in RESERVED:
            what = "a teacher's name is 1 to 64 letters, digits, _, . or -, does not end in .full, and is none of"
            faults.add(item.where, path, f"{what} {', '.join(RESERVED)}, peer1, peer2, ...; choose another")
        plan = _read_teacher(item.node, path, reading, teachers)
        predecessor: Shares = ()
        for generation in range(1, plan.generations + 1):
            full_name = name if generation == plan.generations else f"{name}.{generation}"
            if not NAME.fullmatch(full_name) and NAME.fullmatch(name):
                what = f"its generations would be called {full_name!r} and so on, which is too long"
                faults.add(item.where, path, f"{what}; choose a shorter name")
            if full_name in teachers:
                faults.add(item.where, path, f"there is already a teacher {full_name!r}; choose another name")
            terms = hinton_terms(reading, predecessor) if predecessor else plan.terms
            teachers[full_name] = replace(plan, generations=1, terms=terms)
            predecessor = ((full_name, 1.0),)
    return teachers


def _read_teacher(node: Node, path: str, reading: Reading, above: Mapping[str, TeacherPlan]) -> TeacherPlan:
    """Return one teacher, which may learn from those listed above it."""
    faults = reading.faults
    keys = read_entries(node, path, (*rules_of(TeacherPlan), "teacher", "terms"), faults)
    teacher, terms = keys.pop("teacher", None), keys.pop("terms", None)
    values = read_values(Node(keys, node.where), path, rules_of(TeacherPlan), faults)
    if origins := [name for name in ORIGINS if values.get(name) is not None]:
        return _teacher_from_elsewhere(origins[0], values, node, path, reading)
    if "kind" in values:
        faults.add(keys["kind"].where, f"{path}.kind", "acts only on predictions; remove it")
    plan = _read_training(TeacherPlan, values, node, path, reading)
    if teacher and terms:
        faults.add(teacher.where, f"{path}.teacher", "is given beside terms; name the teachers in the terms")
    elif terms:
        scope = TermScope(reading, above, _final_teachers(above), plan.hidden)
        return replace(plan, terms=read_terms(terms.node, f"{path}.terms", scope))
    elif teacher:
        shares = read_value(teacher.node, f"{path}.teacher", OPTIONS["teacher"][0], faults)
        if shares is not REFUSED:
            check_teachers_exist(teacher.node, above, f"{path}.teacher", faults)
            return replace(plan, terms=hinton_terms(reading, shares))
    return replace(plan, terms=LABELS_ONLY)


def _teacher_from_elsewhere(
    origin: str, values: dict[str, Any], node: Node, path: str, reading: Reading
) -> TeacherPlan:
    """Return a teacher that is not trained in the run, so that no other key acts on it."""
    allowed = (origin, "kind") if origin == "predictions" else (origin,)
    for name, entry in (node.value or {}).items():
        if name not in allowed:
            what = f"does not act on a teacher that comes from {origin}; remove it"
            reading.faults.add(entry.where, f"{path}.{name}", what)
    training: dict[str, Any] = dict.fromkeys(rules_of(Training)) | {"hidden": (), "epochs": 0, "network": USUAL}
    return TeacherPlan(**(training | values))


def read_student(entry: Entry, reading: Reading, teachers: Mapping[str, TeacherPlan]) -> StudentPlan:
    """Return the student, with its objective in one stage or several."""
    faults, rules = reading.faults, rules_of(StudentPlan)
    keys = read_entries(entry.node, "student", (*rules, "terms", "stages"), faults)
    terms, stages = keys.pop("terms", None), keys.pop("stages", None)
    values = read_values(Node(keys, entry.where), "student", rules, faults)
    if stages and terms:
        faults.add(terms.where, "student.terms", "is given beside stages; give each stage its own terms")
    if stages and "epochs" in keys:
        faults.add(keys["epochs"].where, "student.epochs", "is given beside stages; give each stage its own epochs")
    replaced = _keys_of_every_stage(stages.node) if stages else set()
    if "learning_rate" in replaced and "learning_rate" in keys:
        what = "does nothing, as every stage has its own; remove it"
        faults.add(keys["learning_rate"].where, "student.learning_rate", what)
    plan = _read_training(StudentPlan, values, entry.node, "student", reading, replaced)
    default = (PEERS,) if plan.peers else _final_teachers(teachers)
    scope = TermScope(reading, teachers, default, plan.hidden, peers=plan.peers > 0)
    if stages:
        sequence = _read_stages(stages.node, plan, scope)
        epochs, rate = sum(stage.epochs for stage in sequence), sequence[-1].learning_rate
        return replace(plan, epochs=epochs, learning_rate=rate, stages=sequence)
    return replace(plan, stages=stages_of(plan, _terms_or_default(terms, "student.terms", scope)))


def _terms_or_default(entry: Entry | None, path: str, scope: TermScope) -> tuple[Term, ...]:
    if entry:
        return read_terms(entry.node, path, scope)
    return hinton_terms(scope.reading, scope.default_shares)


def _keys_of_every_stage(node: Node) -> set[str]:
    """Return which of epochs and learning_rate are given in every stage, so that the student's own act on none."""
    items = node.value if isinstance(node.value, list) else []
    stages = [item.value for item in items if isinstance(item.value, dict)]
    return {name for name in ("epochs", "learning_rate") if stages and all(name in stage for stage in stages)}


def _read_stages(node: Node, plan: StudentPlan, scope: TermScope) -> tuple[Stage, ...]:
    what = "stages, such as [{epochs: 5, train: [1]}]"
    items = read_items(node, "student.stages", what, scope.reading.faults)
    stages = tuple(_read_stage(item, f"student.stages[{i}]", plan, scope) for i, item in enumerate(items))
    return stages or stages_of(plan, LABELS_ONLY)


def _read_stage(node: Node, path: str, plan: StudentPlan, scope: TermScope) -> Stage:
    """Return one stage; what it leaves out comes from the student."""
    faults, rules = scope.reading.faults, rules_of(Stage)
    if node.value is None:
        faults.add(node.where, path, f"{describe(None)}; must be a stage, such as {{epochs: 5, train: [1]}}")
    keys = read_entries(node, path, (*rules, "terms"), faults)
    entry = keys.pop("terms", None)
    values = read_values(Node(keys, node.where), path, rules, faults)
    terms = _terms_or_default(entry, f"{path}.terms", scope)
    stage = Stage(values.get("epochs", plan.epochs), values.get("learning_rate", plan.learning_rate), terms)
    train = values.get("train", "all")
    if train == "all":
        return stage
    layers = (train,) if isinstance(train, int) else train
    if what := _why_layers_cannot_learn(layers, terms, len(plan.hidden)):
        faults.add(keys["train"].node.where, f"{path}.train", what)
    return replace(stage, train=tuple(sorted(set(layers))))


def _why_layers_cannot_learn(layers: Sequence[int], terms: Sequence[Term], hidden: int) -> str:
    """Return what is wrong with the layers that a stage trains, or ''."""
    if missing := [layer for layer in layers if layer > hidden + 1]:
        return f"there is no layer {missing[0]}; must be from 1 to {hidden + 1}, the logits"
    reach, lowest = _reach(terms, hidden), min(layers)
    if terms and lowest > reach:
        what = f"no term of this stage reaches above layer {reach}, so that layer {lowest} would not learn"
        return f"{what}; train a layer from 1 to {reach}"
    return ""


def _reach(terms: Sequence[Term], hidden: int) -> int:
    """Return the highest layer that these terms depend on."""
    reached = [0]
    for term in terms:
        if term.matters and not term.layered:
            reached.append(hidden + 1)
        elif term.matters:
            layers = term.options["layers"]
            reached.append(hidden if layers == "auto" else max(s for _, s in layers))
    return max(reached)


def _read_training(
    kind: type[Plan],
    values: dict[str, Any],
    node: Node,
    path: str,
    reading: Reading,
    replaced: Collection[str] = (),
) -> Plan:
    """Return a network's plan from its own values and, for the rest, those of the short spelling.

    Every stage replaces the `replaced` keys, so that those of the short spelling do not count as used.
    """
    role = "teacher" if kind is TeacherPlan else "student"
    names = [field.name for field in fields(Training) if field.default == INHERITED]
    short_keys = {name: f"{role}_{name}" if name in ("hidden", "epochs") else name for name in names}
    inherited = {name: getattr(reading.short, short) for name, short in short_keys.items() if name not in values}
    reading.used_short_keys.update(short_keys[name] for name in inherited if name not in replaced)
    plan = kind(**(inherited | values))
    acts = plan.optimizer == "sgd" or values.get("momentum") is None
    if not acts and reading.faults.is_valid(path, "distillation"):
        what = "acts only with optimizer: sgd, but this network uses adam; remove it or set the optimizer"
        reading.faults.add(node.value["momentum"].where, f"{path}.momentum", what)
    momentum = None if plan.optimizer == "adam" else 0.9 if plan.momentum is None else plan.momentum
    return replace(plan, momentum=momentum)


def _final_teachers(teachers: Mapping[str, TeacherPlan]) -> tuple[str, ...]:
    """Return the teachers that no other teacher learns from."""
    used = {name for teacher in teachers.values() for name in teacher_weights(teacher.terms)}
    return tuple(name for name in teachers if name not in used)
