"""Read YAML text into a tree of nodes that carry their places. What the values mean is decided elsewhere.

PyYAML's own loader reads `1e-3` as a text, `no` as false, `017` as 15 and `1:30` as 90, lets a second key silently
replace the first, and expands aliases without bound. Here a plain scalar is null, true, false or a decimal number
where it is written like one, and otherwise a text; aliases and tags are refused on the event stream, before they grow.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from distill.config.faults import Faults
from distill.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_NODES = 20_000
MAX_DEPTH = 32

NOT_ALLOWED = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})")
NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}


class Refused:
    """Stand for the value of a refused node, so that one mistake gives one message."""


REFUSED = Refused()


@dataclass(frozen=True)
class Node:
    """A value and its place. `value` is a scalar, a list of nodes, a dict of entries, or REFUSED.

    A node is not `valid` when something inside it was refused; what follows from its absence is not reported again.
    """

    value: Any
    where: str
    valid: bool = True


@dataclass(frozen=True)
class Entry:
    """An item of a mapping: the place of its key, and its value."""

    where: str
    node: Node


def parse(text: str | bytes, name: str, faults: Faults, *, one_place: bool = False) -> Node | None:
    """Read one YAML document. Return None where it is empty or cannot be read to its end; faults go to `faults`.

    `name` is the file's name; places read `name:LINE:COLUMN`, or only `name` with `one_place` (for `--set`).
    """
    if len(text) > MAX_BYTES:
        faults.add(name, "", f"the file has {len(text):,} bytes; at most {MAX_BYTES:,} are read")
        return None
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        place = f"{name}:{_line_and_column(error.object[: error.start].decode())}"
        faults.add(place, "", f"byte 0x{error.object[error.start]:02x} is not UTF-8; save the file as UTF-8")
        return None
    if forbidden := NOT_ALLOWED.search(decoded):
        place = name if one_place else f"{name}:{_line_and_column(decoded[: forbidden.start()])}"
        faults.add(place, "", f"the character U+{ord(forbidden[0]):04X} is not allowed in YAML; remove it")
        return None
    try:
        return _Parser(decoded, name, faults, one_place).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark and not one_place else name
        if mark and decoded[mark.index : mark.index + 1] == "\t":
            faults.add(place, "", "a tab, which YAML does not allow here; indent with spaces")
        else:
            what = error.problem or error.context
            faults.add(place, "", f"this is not YAML: {what}; check quotes, colons and indent")
    except yaml.YAMLError as error:
        faults.add(name, "", f"this is not YAML: {error}; save it as plain UTF-8 text")
    except _HaltError as halt:
        faults.add(halt.where, "", halt.what)
    return None


def _line_and_column(before: str) -> str:
    """Return `LINE:COLUMN` of the character that follows this text."""
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


class _HaltError(Exception):
    """Raised where reading on would be pointless or costly."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(where, what)
        self.where, self.what = where, what


class _Parser:
    """Turn the events of one document into nodes."""

    def __init__(self, text: str, name: str, faults: Faults, one_place: bool) -> None:
        # The parser in Python is the same with and without libyaml, and reads no further than it is asked to, so that
        # our limits are met before its own.
        self.events: Iterator[Any] = iter(yaml.parse(text, Loader=yaml.SafeLoader))
        self.name, self.faults, self.one_place = name, faults, one_place
        self.nodes = 0

    def document(self) -> Node | None:
        next(self.events)  # the stream's start
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None
        node = self.node(next(self.events), 1)
        next(self.events)  # the document's end
        event = next(self.events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise _HaltError(self.where(event), "a second document begins; keep one document per file")
        return node

    def where(self, event: Any) -> str:
        mark = event.start_mark
        return self.name if self.one_place else f"{self.name}:{mark.line + 1}:{mark.column + 1}"

    def node(self, event: Any, depth: int) -> Node:
        where = self.where(event)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _HaltError(where, f"more than {MAX_NODES:,} values; a configuration needs far fewer")
        if depth > MAX_DEPTH:
            raise _HaltError(where, f"nested more than {MAX_DEPTH} levels deep; a configuration needs far fewer")
        before = len(self.faults)
        if isinstance(event, yaml.AliasEvent):
            return self.refuse(where, f"alias *{event.anchor} is refused; write the value out")
        if event.anchor is not None:
            self.faults.add(where, "", f"anchor &{event.anchor} is refused; write the value out where it is needed")
        if event.tag is not None:
            self.faults.add(where, "", f"tag {event.tag} is refused; write the plain value")
        if isinstance(event, yaml.ScalarEvent):
            value: Any = scalar(event.value) if event.implicit[0] else event.value
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self.sequence(depth)
        else:
            value = self.mapping(depth)
        return Node(REFUSED if event.tag is not None else value, where, valid=len(self.faults) == before)

    def refuse(self, where: str, why: str) -> Node:
        self.faults.add(where, "", why)
        return Node(REFUSED, where, valid=False)

    def sequence(self, depth: int) -> list[Node]:
        items = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.node(event, depth + 1))
        return items

    def mapping(self, depth: int) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.node(event, depth + 1)
            value = self.node(next(self.events), depth + 1)
            plain = isinstance(event, yaml.ScalarEvent)
            if plain and event.implicit[0] and event.value == "<<":
                self.refuse(key.where, "merge key << is refused; write the keys out")
            elif not plain or not event.value:
                if key.value is not REFUSED:
                    self.refuse(key.where, "a key must be a word; quote it, or remove the brackets")
            elif event.value in entries:
                first = entries[event.value].where
                self.refuse(key.where, f"duplicate key {event.value!r}, first given at {first}; keep one of the two")
            else:
                entries[event.value] = Entry(key.where, value)
        return entries


def scalar(text: str) -> bool | int | float | str | None:
    """Return what a plain (unquoted) scalar means: null, a bool, a decimal number, else the text itself."""
    if text in WORDS:
        return WORDS[text]
    if INTEGER.fullmatch(text):
        return int(text)
    if NUMBER.fullmatch(text):
        return float(text)
    return text


def from_python(value: object, where: str, faults: Faults, depth: int = 1) -> Node:
    """Return the same tree for plain Python values, so that one set of checks serves YAML and Python alike."""
    if depth > MAX_DEPTH:
        raise ConfigError([f"{where}: nested more than {MAX_DEPTH} levels deep; a configuration needs far fewer"])
    if isinstance(value, Mapping):
        entries = {str(key): Entry(where, from_python(item, where, faults, depth + 1)) for key, item in value.items()}
        return Node(entries, where)
    if isinstance(value, (list, tuple)):
        return Node([from_python(item, where, faults, depth + 1) for item in value], where)
    if value is None or type(value) in (bool, int, float, str):
        return Node(value, where)
    faults.add(where, "", f"a {type(value).__name__} is no configuration value; use plain Python values")
    return Node(REFUSED, where, valid=False)
