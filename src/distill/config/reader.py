"""Nodes -> plain values that meet their rules. What fails is noted and left out: one mistake gives one message."""

from collections.abc import Iterable, Mapping
from typing import Any

from distill.config.rules import Rule, describe
from distill.config.schema import SECTIONS, TOP_LEVEL, Training, rules_of
from distill.config.yaml_nodes import REFUSED, Entry, Node

NOTHING = Entry("", Node(None, ""))  # a section that was not written


class Reader:
    """Reads one tree; `faults` grows by one message a mistake."""

    def __init__(self, tree: Node, faults: list[str]) -> None:
        self.tree, self.faults = tree, faults
        self.broken: set[str] = set()  # paths at or in which something is wrong
        self.supplied: set[str] = set()  # keys of the short spelling that reached something
        self.layer_files: list[str] = []  # that were read

    def fault(self, where: str, path: str, what: str) -> None:
        self.faults.append(f"{where}: {path}: {what}" if path else f"{where}: {what}")
        self.broken.add(path)

    def sound(self, *sections: str) -> bool:
        """Whether nothing is wrong in these sections, so that a check across keys speaks of what was really written."""
        return not any(
            path == one or path.startswith((f"{one}.", f"{one}[")) for one in sections for path in self.broken
        )

    def entries(self, node: Node, path: str, allowed: Iterable[str] | None) -> dict[str, Entry]:
        """A mapping's known entries; an empty section (null) has none."""
        if not node.sound:
            self.broken.add(path)
        if not isinstance(node.value, dict):
            plain = bare(node)
            if plain is not REFUSED and not (plain is None and path):
                kinds = "keys" if path else f"sections: {', '.join(TOP_LEVEL)}"
                self.fault(
                    node.where,
                    path,
                    f"{'' if path else 'the top level: '}{describe(plain)}; must be a mapping of {kinds}",
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
        plain = bare(node)
        if plain is REFUSED:
            return REFUSED
        try:
            return rule.read(plain)
        except ValueError as error:
            self.fault(node.where, path, str(error))
            return REFUSED

    def items(self, node: Node, path: str, what: str) -> list[Node]:
        """The items of a list that must not be empty."""
        if isinstance(node.value, list) and node.value:
            return node.value
        if bare(node) is not REFUSED:
            self.fault(node.where, path, f"{describe(bare(node))}; must be a list of {what}")
        return []


def bare(node: Node) -> Any:
    """The node's value without places; REFUSED as soon as any part was refused."""
    if isinstance(node.value, list):
        items = [bare(item) for item in node.value]
        return REFUSED if REFUSED in items else items
    if isinstance(node.value, dict):
        inner = {name: bare(entry.node) for name, entry in node.value.items()}
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
