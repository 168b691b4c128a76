"""Read nodes into the terms of an objective. What each loss takes is in `terms`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.config.faults import Faults
from distill.config.reader import Reading, plain_value, read_items, read_values
from distill.config.rules import as_list, describe
from distill.config.schema import INHERITED, LABELS_ONLY, PEERS, TeacherPlan, Term, layer_pairs
from distill.config.terms import LOSS_TRAITS, OPTIONS, TERM_KEYS, WEIGHT_KEYS
from distill.config.yaml_nodes import REFUSED, Node, parse

Shares = tuple[tuple[str, float], ...]  # (teacher, share of its term), by name


@dataclass(frozen=True)
class TermScope:
    """What the terms of one network may refer to."""

    reading: Reading
    teachers: Mapping[str, TeacherPlan]  # that its terms may name
    default: tuple[str, ...]  # teachers of a term that names none
    hidden: tuple[int, ...]  # widths of the network's own hidden layers
    peers: bool = False  # whether its terms may name the peers

    @property
    def default_shares(self) -> Shares:
        """The default teachers with equal shares."""
        return tuple((name, 1 / len(self.default)) for name in sorted(self.default))


def hinton_terms(reading: Reading, teachers: Shares) -> tuple[Term, ...]:
    """Return the objective of the short spelling: (1 - alpha) cross_entropy + alpha response (Hinton et al., 2015)."""
    alpha = reading.short_value("alpha")
    options: dict[str, Any] = {"combine": OPTIONS["combine"][1]} if len(teachers) > 1 else {}
    options |= {name: reading.short_value(name) for name in ("temperature", "t_squared")}
    labels = Term("cross_entropy", complement(alpha), options={"smoothing": OPTIONS["smoothing"][1]})
    return labels, Term("response", alpha, teachers, options)


def complement(alpha: float) -> float:
    """Return 1 - alpha as one would write it: 0.3 for 0.7 rather than 0.30000000000000004."""
    return round(1 - alpha, 12)


def read_terms(node: Node, path: str, scope: TermScope) -> tuple[Term, ...]:
    """Return the terms of a list, at least one of which must have a weight above 0."""
    faults = scope.reading.faults
    before = len(faults)
    items = read_items(node, path, "terms, such as [{loss: response, weight: 1}]", faults)
    terms = tuple(read_term(item, f"{path}[{i}]", scope) for i, item in enumerate(items))
    if len(faults) == before and not any(term.matters for term in terms):
        faults.add(node.where, path, "every weight is 0; at least one must be above 0")
    return terms


def read_term(node: Node, path: str, scope: TermScope) -> Term:
    """Return one term, with the defaults of what it leaves out."""
    reading, faults = scope.reading, scope.reading.faults
    if node.value is None:
        faults.add(node.where, path, f"{describe(None)}; must be a term, such as {{loss: response, weight: 1}}")
    values = read_values(node, path, TERM_KEYS, faults)
    loss = values.pop("loss", None)
    if loss is None:
        if faults.is_valid(path):
            faults.add(node.where, path, f"no loss is named; add loss: one of {', '.join(LOSS_TRAITS)}")
        return LABELS_ONLY[0]
    traits = LOSS_TRAITS[loss]
    _check_keys(values, node, path, loss, faults)
    options = {name: _option(name, values, reading) for name in traits.options if name != "teacher"}
    weight = values.get("weight")
    if weight is None:
        alpha = reading.short_value("alpha")
        weight = alpha if traits.needs_teacher else complement(alpha)
    teachers = _read_teachers(values.get("teacher"), node, path, loss, scope) if traits.needs_teacher else ()
    if len(teachers) < 2 and options.pop("combine", None) and "combine" in values:
        what = "acts only where a term has several teachers; remove it"
        faults.add(node.value["combine"].where, f"{path}.combine", what)
    if "layers" in options:
        options["layers"] = _read_layers(options["layers"], node, path, teachers, scope)
    return Term(loss, weight, teachers, options, values.get("final_weight"), values.get("weight_schedule", "linear"))


def _check_keys(values: Mapping[str, Any], node: Node, path: str, loss: str, faults: Faults) -> None:
    """Report the keys that would do nothing in this term."""
    for name in sorted(values.keys() - {*LOSS_TRAITS[loss].options, *WEIGHT_KEYS}):
        faults.add(node.value[name].where, f"{path}.{name}", f"does not act in {loss}; remove it")
    if "weight_schedule" in values and values.get("final_weight") is None:
        what = "acts only with final_weight; add it, or remove this"
        faults.add(node.value["weight_schedule"].where, f"{path}.weight_schedule", what)


def _option(name: str, values: Mapping[str, Any], reading: Reading) -> Any:
    if name in values:
        return values[name]
    default = OPTIONS[name][1]
    return reading.short_value(name) if default == INHERITED else default


def _read_teachers(named: Shares | None, node: Node, path: str, loss: str, scope: TermScope) -> Shares:
    """Return the teachers of a term: those that it names, or the default ones of its network."""
    faults, teacher_path = scope.reading.faults, f"{path}.teacher"
    where = node.where if named is None else node.value["teacher"].node.where
    if named is None and not scope.default:
        faults.add(where, path, f"{loss} needs a teacher, and none is listed above this one; add one")
        return ()
    if named is not None:
        if not scope.peers and any(name == PEERS for name, _ in named):
            faults.add(where, teacher_path, "there are no peers; set student.peers to 1 or more")
        else:
            choices = [*scope.teachers, *([PEERS] if scope.peers else [])]
            check_teachers_exist(node.value["teacher"].node, choices, teacher_path, faults)
    teachers = named or scope.default_shares
    names = [name for name, _ in teachers]
    if PEERS in names and len(names) > 1:
        what = f"peers need a term of their own, but {', '.join(names)} are given; write a term for the peers"
        faults.add(where, teacher_path, what)
    if LOSS_TRAITS[loss].on == "hidden layers":
        if len(names) > 1:
            what = f"{loss} compares hidden layers, so it takes one teacher; {', '.join(names)} are given"
            faults.add(where, teacher_path, f"{what}; write a term for each")
        elif logits_only := _why_logits_only(names[0], scope, by_default=named is None):
            what = f"{loss} compares hidden layers, but {logits_only}; name a network"
            faults.add(where, teacher_path, what)
    return teachers


def check_teachers_exist(node: Node, choices: Iterable[str], path: str, faults: Faults) -> None:
    """Report the names in a name, a list or a map of names that are none of the choices, also those of weight 0."""
    choices, names = list(choices), plain_value(node)
    for name in names if isinstance(names, dict) else as_list(names):
        if name not in choices and faults.is_valid("teachers", "teacher"):
            advice = f"must be one of {', '.join(choices)}" if choices else "list it first, or remove this"
            above = " listed above it" if path.startswith("teachers.") else ""
            faults.add(node.where, path, f"there is no teacher {name!r}{above}; {advice}")


def _why_logits_only(name: str, scope: TermScope, by_default: bool) -> str:
    """Return why a teacher has no hidden layers that a term could compare, or '' where it has."""
    if name == PEERS:
        return "peers" + (", the default teacher where there are any," if by_default else "") + " give logits alone"
    if name in scope.teachers and scope.teachers[name].origin == "predictions":
        return f"{name!r} is a file with logits alone"
    return ""


def _read_layers(layers: Any, node: Node, path: str, teachers: Sequence[tuple[str, float]], scope: TermScope) -> Any:
    """Return a layer map, read from its file where one is named, and checked where the teacher's depth is known."""
    faults = scope.reading.faults
    where = node.value["layers"].node.where if "layers" in node.value else node.where
    path, name = f"{path}.layers", teachers[0][0] if len(teachers) == 1 else ""
    if isinstance(layers, str) and layers != "auto":
        layers = _read_layer_file(layers, where, path, name, scope.reading)
    teacher = scope.teachers.get(name)
    if layers != "auto" and teacher:
        depth = len(teacher.hidden) if teacher.origin == "trained" else 64
        try:
            layer_pairs(layers, depth, len(scope.hidden))
        except ValueError as error:
            faults.add(where, path, str(error))
    return layers


def _read_layer_file(file: str, where: str, path: str, teacher: str, reading: Reading) -> Any:
    """Return the layer map in a JSON or YAML file, or the one under the teacher's name in it."""
    faults = reading.faults
    try:
        text = Path(file).read_bytes()
    except OSError as error:
        what = f"{file} cannot be read: {error.strerror or error}; name a JSON or YAML file"
        faults.add(where, path, what)
        return "auto"
    reading.layer_files.append(file)
    before = len(faults)
    if file.lower().endswith(".json"):
        text = text.replace(b"\t", b" ")  # JSON may be indented by tabs, YAML not
    tree = parse(text, file, faults) or Node(None, file)
    entry = tree.value.get(teacher) if isinstance(tree.value, dict) else None
    if entry and (isinstance(entry.node.value, dict) or not teacher.isdecimal()):  # a name may look like a layer
        tree = entry.node
    rule = OPTIONS["layers"][0]
    value = plain_value(tree)
    if len(faults) == before and value is not REFUSED:
        if isinstance(value, dict) and rule.accepts(value):
            return rule.read(value)
        what = f"{describe(value)}; must be a map of the teacher's layers to the student's"
        faults.add(tree.where, path, f"{what}, or a map from teachers' names to such maps with {teacher!r} in it")
    return "auto"
