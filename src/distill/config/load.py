"""Load a plan from a YAML file or a mapping, with overrides on top. How a section is read is in `sections`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from distill.config.faults import Faults
from distill.config.schema import Config
from distill.config.sections import read_config
from distill.config.yaml_nodes import MAX_BYTES, REFUSED, Entry, Node, from_python, parse
from distill.errors import ConfigError


def load(
    source: str | Path | Mapping[str, Any], overrides: Iterable[str] = (), given: Mapping[str, str] | None = None
) -> Config:
    """Return the plan in a YAML file or a mapping, with overrides `SECTION.KEY=VALUE` applied on top.

    `given` names the teachers that come as objects from Python, and the type of each; those that the plan lacks are
    added to it. Without `output.folder` the run folder of a file is `runs/<file's stem>`, and a mapping has none.

    Raise ConfigError with all faults, in the order of the file.
    """
    faults = Faults()
    file = None if isinstance(source, Mapping) else str(source)
    tree = from_python(source, "config", faults) if isinstance(source, Mapping) else _read_file(Path(source), faults)
    if tree is not None:
        tree = _override(_add_teachers(tree, given or {}), overrides, faults)
        config = read_config(tree, file, faults)
        if not faults:
            return config
    raise ConfigError(faults.in_file_order())


def _read_file(path: Path, faults: Faults) -> Node | None:
    """Return the tree of a YAML file, or None where it is empty or cannot be read."""
    name = str(path)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)  # one byte more than allowed, so that a longer file is recognised
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}; give the path of a YAML file with --config"
        faults.add(name, "", what)
        return None
    before = len(faults)
    tree = parse(text, name, faults)
    if tree is None and len(faults) == before:
        faults.add(name, "", "the file is empty; write at least one section, such as 'distillation: {}'")
    return tree


def _override(tree: Node, overrides: Iterable[str], faults: Faults) -> Node:
    """Return the tree with each override in its place; the same parser reads their values."""
    for text in overrides:
        path, equals, value = text.partition("=")
        where = f"--set {text}"
        names = path.strip().split(".")
        if not equals or not all(names):
            faults.add(where, "", "not an override; write --set SECTION.KEY=VALUE")
            continue
        before = len(faults)
        node = parse(value, where, faults, one_place=True)
        if len(faults) == before:
            try:
                tree = _put(tree, names, node or Node(None, where), where)
            except KeyError as error:
                faults.add(where, "", error.args[0])
    return tree


def _add_teachers(tree: Node, types: Mapping[str, str]) -> Node:
    """Return the tree with the teachers that come as objects from Python in their places."""
    for name, kind in types.items():
        where = f"teachers={{{name!r}: ...}}"
        teacher = Node({"python": Entry(where, Node(kind, where))}, where)
        tree = _put(tree, ["teachers", name], teacher, where)
    return tree


def _put(tree: Node, names: list[str], node: Node, where: str, within: str = "") -> Node:
    """Return the tree with the node under these names.

    Raise KeyError where one of the names leads into a value that may stand there and has no keys. Where a section is no
    mapping, the tree is returned as it is, and that fault is found when the section is read.
    """
    if tree.value is not None and not isinstance(tree.value, dict):
        levels = 2 if within.startswith("teachers.") else 1
        if within.count(".") < levels or tree.value is REFUSED:
            return tree
        kind = "a list" if isinstance(tree.value, list) else "a single value"
        raise KeyError(f"{within} is {kind}, so that nothing in it can be set alone; set all of {within}")
    entries = dict(tree.value or {})
    inner = entries[names[0]].node if names[0] in entries else Node({}, where)
    path = f"{within}.{names[0]}" if within else names[0]
    entries[names[0]] = Entry(where, _put(inner, names[1:], node, where, path) if names[1:] else node)
    return Node(entries, tree.where, tree.valid)
