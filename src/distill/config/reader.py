"""Read nodes into plain values that meet their rules. A value that fails is reported and left out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from distill.config.faults import Faults
from distill.config.rules import Rule, describe
from distill.config.schema import SECTIONS, TOP_LEVEL, Distillation, Training, rules_of
from distill.config.yaml_nodes import REFUSED, Entry, Node

ABSENT = Entry("", Node(None, ""))  # stands for a section that was not written


@dataclass(frozen=True)
class Reading:
    """What is collected while one plan is read, and the short spelling, which supplies what is left out."""

    faults: Faults
    short: Distillation
    used_short_keys: set[str] = field(default_factory=set)
    layer_files: list[str] = field(default_factory=list)

    def short_value(self, name: str) -> Any:
        """Return the value of a key of the short spelling, which is then counted as used."""
        self.used_short_keys.add(name)
        return getattr(self.short, name)


def read_entries(node: Node, path: str, allowed: Iterable[str] | None, faults: Faults) -> dict[str, Entry]:
    """Return the entries of a mapping whose keys are allowed (None allows all); an empty section has none."""
    if not node.valid:
        faults.invalid_paths.add(path)
    if not isinstance(node.value, dict):
        value = plain_value(node)
        if value is not REFUSED and not (value is None and path):
            kind = "keys" if path else f"sections: {', '.join(TOP_LEVEL)}"
            subject = "" if path else "the top level: "
            faults.add(node.where, path, f"{subject}{describe(value)}; must be a mapping of {kind}")
        return {}
    entries = {}
    for name, entry in node.value.items():
        if allowed is None or name in allowed:
            entries[name] = entry
        else:
            what = f"unknown key; {_suggestion(name, allowed)}"
            faults.add(entry.where, f"{path}.{name}" if path else name, what)
    return entries


def read_values(node: Node, path: str, rules: Mapping[str, Rule], faults: Faults) -> dict[str, Any]:
    """Return the values of one section that meet their rules."""
    return {
        name: value
        for name, entry in read_entries(node, path, rules, faults).items()
        if (value := read_value(entry.node, f"{path}.{name}", rules[name], faults)) is not REFUSED
    }


def read_value(node: Node, path: str, rule: Rule, faults: Faults) -> Any:
    """Return one value, or REFUSED where it does not meet its rule."""
    value = plain_value(node)
    if value is REFUSED:
        return REFUSED
    try:
        return rule.read(value)
    except ValueError as error:
        faults.add(node.where, path, str(error))
        return REFUSED


def read_items(node: Node, path: str, what: str, faults: Faults) -> list[Node]:
    """Return the items of a list, which must not be empty; `what` names them."""
    if isinstance(node.value, list) and node.value:
        return node.value
    value = plain_value(node)
    if value is not REFUSED:
        faults.add(node.where, path, f"{describe(value)}; must be a list of {what}")
    return []


def plain_value(node: Node) -> Any:
    """Return the node's value without places, or REFUSED where any part of it was refused."""
    if isinstance(node.value, list):
        items = [plain_value(item) for item in node.value]
        return REFUSED if REFUSED in items else items
    if isinstance(node.value, dict):
        values = {name: plain_value(entry.node) for name, entry in node.value.items()}
        return REFUSED if REFUSED in values.values() else values
    return node.value


def _suggestion(name: str, allowed: Iterable[str]) -> str:
    from difflib import get_close_matches

    allowed = list(allowed)
    if matches := get_close_matches(name, allowed, 1):
        return f"did you mean {matches[0]!r}?"
    homes = [
        f"{section}.{name}" for section, kind in (*SECTIONS.items(), ("student", Training)) if name in rules_of(kind)
    ]
    if homes:
        return f"it belongs in {' or '.join(homes)}"
    return f"allowed: {', '.join(allowed)}"
