"""The house stands: a room imports only from floors below its own, and the ground floor stays light."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "distill"
# From the ground up; a folder or file uses those of the floors below, and those before it on its own.
FLOORS = (
    ("version", "errors", "nn", "system"),
    ("config",),
    ("data", "model"),
    ("train",),
    ("teacher", "student"),
    ("report",),
    ("pipeline", "bench", "losses", "cli"),
)
LIGHT = ("cli", "config", "errors", "system.environment", "version")


def modules() -> dict[str, Path]:
    """Every module below `distill`, by its dotted name within it."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return {name: path for name, path in found.items() if name not in ("", "nn", "__main__")}


def imports(path: Path, *, everywhere: bool = True, whole: bool = True) -> set[str]:
    """The names that a file imports with their modules; without `everywhere` only at module level, `whole` with the
    module of each name too."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and isinstance(branch.test, ast.Name) and branch.test.id == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    nodes = ast.walk(tree) if everywhere else iter(tree.body)
    found = set()
    for node in nodes:
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules_too = {node.module} if whole else set()
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | modules_too
    return found


def uses() -> dict[str, set[str]]:
    """The modules below `distill` that each of them imports."""
    files = {name: path for name, path in modules().items() if path.stem != "__init__"}
    imported = {name: {used.removeprefix("distill.") for used in imports(path)} for name, path in files.items()}
    return {name: {used for used in names if used in files and used != name} for name, names in imported.items()}


def test_a_folder_imports_only_from_those_below_it() -> None:
    order = [folder for floor in FLOORS for folder in floor]
    folders = {name: name.partition(".")[0] for name in modules()}
    assert set(folders.values()) == set(order)
    upwards = [
        f"{name} imports {used}"
        for name, some in uses().items()
        for used in sorted(some)
        if order.index(folders[used]) > order.index(folders[name])
    ]
    assert not upwards


def test_no_two_modules_import_each_other_and_none_a_package() -> None:
    list(TopologicalSorter(uses()).static_order())
    packages = {name for name, path in modules().items() if path.stem == "__init__"} | {"nn"}
    through_package = {
        f"{name} imports {used}"
        for name, path in modules().items()
        if path.stem != "__init__"
        for used in imports(path, whole=False)
        if used.removeprefix("distill.").rpartition(".")[0] in packages
        and used.removeprefix("distill.") not in modules()
    }
    assert not through_package, "import from the file that defines it"


@pytest.mark.parametrize("name", sorted(name for name in modules() if name.startswith(LIGHT)))
def test_light_rooms_import_no_numpy_at_module_level(name: str) -> None:
    assert not any(used.partition(".")[0] == "numpy" for used in imports(modules()[name], everywhere=False))


def test_help_and_a_configuration_load_without_numpy() -> None:
    code = "import sys, distill.cli, distill.config; distill.config.load({}); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_mathematics_imports_only_numpy_and_itself() -> None:
    allowed = {
        "numpy",
        "distill",
        "abc",
        "dataclasses",
        "math",
        "collections",
        "itertools",
        "typing",
        "functools",
        "contextlib",
        "ctypes",
        "pathlib",
    }
    for name, path in modules().items():
        if name.startswith("nn."):
            used = imports(path)
            assert {one.partition(".")[0] for one in used} <= allowed, name
            assert all(one.startswith("distill.nn") for one in used if one.startswith("distill")), name


def test_only_the_command_line_prints_and_exits() -> None:
    for name, path in modules().items():
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert name.startswith("cli") or not calls & {"print", "exit", "SystemExit"}, name
