"""YAML <-> the plan: the only room that knows a default. Every fault is found, named and placed at once.

Read in this order: `strict_yaml` (text -> nodes with places), `rules` (what a value may be), `plan` (every key and its
default), `reader` (nodes -> values), `networks` (-> teachers and student), `sections` (-> the whole plan).
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from distill.config.schema import (
    Config,
)
from distill.config.sections import Sections
from distill.config.yaml_nodes import MAX_BYTES, REFUSED, Entry, Node, from_python, parse
from distill.errors import ConfigError


def load(
    source: str | Path | Mapping[str, Any], overrides: Iterable[str] = (), given: Mapping[str, str] | None = None
) -> Config:
    """Read a configuration from a YAML file or a mapping, with `SECTION.KEY=VALUE` overrides applied on top.

    `given` are teachers that come as objects from Python, name -> type; those that the plan lacks are added to it.

    Raises ConfigError with every fault found. A file also names its run folder, `runs/<file's stem>`; a mapping has
    none unless `output.folder` gives one.
    """
    faults: list[str] = []
    if isinstance(source, Mapping):
        tree: Node | None = from_python(source, "config", faults)
    else:
        tree = _read_file(Path(source), faults)
    if tree is not None:
        folder = None if isinstance(source, Mapping) else str(Path("runs") / Path(source).stem)
        sections = Sections(_override(_add(tree, given or {}), overrides, faults), faults)
        config = sections.config(folder)
        if not faults:
            return config.read_from(None if isinstance(source, Mapping) else str(source), sections.layer_files)
    raise ConfigError(sorted(faults, key=_in_file_order))


def _in_file_order(fault: str) -> tuple[int, int]:
    place = re.search(r":(\d{1,9}):(\d{1,9}): ", fault)
    return (int(place[1]), int(place[2])) if place else (0, 0)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _read_file(path: Path, faults: list[str]) -> Node | None:
    name = str(path)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)  # one byte more than may be read, so that a longer file is seen as such
    except OSError as error:
        faults.append(f"{name}: cannot be read: {error.strerror or error}; give the path of a YAML file with --config")
        return None
    before = len(faults)
    tree = parse(text, name, faults)
    if tree is None and len(faults) == before:
        faults.append(f"{name}: the file is empty; write at least one section, such as 'distillation: {{}}'")
    return tree


def _override(tree: Node, overrides: Iterable[str], faults: list[str]) -> Node:
    """The tree with each `KEY.PATH=VALUE` put in its place, read by the same parser."""
    for text in overrides:
        path, equals, value = text.partition("=")
        where = f"--set {text}"
        names = path.strip().split(".")
        if not equals or not all(names):
            faults.append(f"{where}: not an override; write --set SECTION.KEY=VALUE")
            continue
        before = len(faults)
        node = parse(value, where, faults, one_place=True)
        if len(faults) == before:
            try:
                tree = _put(tree, names, node or Node(None, where), where)
            except KeyError as error:
                faults.append(f"{where}: {error.args[0]}")
    return tree


def _add(tree: Node, given: Mapping[str, str]) -> Node:
    """The tree with each teacher that is given from Python in its place."""
    for name, kind in given.items():
        where = f"teachers={{{name!r}: ...}}"
        one = Node({"python": Entry(where, Node(kind, where))}, where)
        tree = _put(tree, ["teachers", name], one, where)
    return tree


def _put(tree: Node, names: list[str], node: Node, where: str, within: str = "") -> Node:
    """The tree with the node under these names; KeyError where one of them holds a value that may stand there, and no
    names. Where a section is no mapping, the reader says so."""
    if tree.value is not None and not isinstance(tree.value, dict):
        if within.count(".") < (2 if within.startswith("teachers.") else 1) or tree.value is REFUSED:
            return tree
        kind = "a list" if isinstance(tree.value, list) else "a single value"
        raise KeyError(f"{within} is {kind}, so that nothing in it can be set alone; set all of {within}")
    entries = dict(tree.value or {})
    inner = entries[names[0]].node if names[0] in entries else Node({}, where)
    path = f"{within}.{names[0]}" if within else names[0]
    entries[names[0]] = Entry(where, _put(inner, names[1:], node, where, path) if names[1:] else node)
    return Node(entries, tree.where, tree.sound)
