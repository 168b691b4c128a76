"""The house stands: a room imports only from floors below its own, and the ground floor stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "distill"
FLOORS = (
    ("errors", "environment", "foreign", "config", "nn.vector"),
    (
        *("streams", "team", "interrupts", "arrays", "store", "parallel", "plots"),
        *("nn.blas", "nn.ops", "nn.losses", "nn.features", "nn.optim", "nn.mlp"),
    ),
    ("data", "answers", "objective", "live", "metrics", "predictions", "given", "faces"),
    ("model", "loop", "places", "worth"),
    ("train", "evidence"),
    ("teacher", "student", "bench"),
    ("results",),
    ("record", "report", "page"),
    ("pipeline",),
    ("cli",),
)
# Rooms whose own order matters: within a folder, or on one floor, these may look down the list.
ORDERED = (
    (
        "errors",
        "foreign",
        "environment",
        "config.strict_yaml",
        "config.rules",
        "config.plan",
        "config.reader",
        "config.networks",
        "config.sections",
        "config",
    ),
    ("arrays", "store"),
    ("interrupts", "parallel"),
    ("nn.vector", "nn.blas", "nn.ops", "nn.losses", "nn.features", "nn.optim", "nn.mlp"),
    (
        "data.split",
        "data.scaling",
        "data.ondisk",
        "data.labels",
        "data.table",
        "data.columns",
        "data.sheet",
        "data.csvfile",
        "data.npz",
        "data.npy",
        "data.idx",
        "data",
        "answers",
        "objective",
        "live",
        "metrics",
        "predictions",
        "given",
    ),
)
LIGHT = ("cli", "config", "errors", "environment")


def modules() -> dict[str, Path]:
    """Every module below `distill`, by its dotted name within it."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return {name: path for name, path in found.items() if name not in ("", "nn", "__main__")}


def imports(path: Path, *, everywhere: bool = True) -> set[str]:
    """The modules that a file imports, `distill.` cut off; without `everywhere` only at module level."""
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
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def room(name: str) -> str:
    """The room of the plan that a module belongs to."""
    rooms = {one for floor in FLOORS for one in floor}
    while name not in rooms and "." in name:
        name = name.rpartition(".")[0]
    return name


def floor(name: str) -> int:
    return next(height for height, rooms in enumerate(FLOORS) if name in rooms)


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_room_imports_only_from_below(name: str) -> None:
    assert room(name) in {one for rooms in FLOORS for one in rooms}, f"{name} stands on no floor"
    known = set(modules())
    for used in imports(modules()[name]):
        if not used.startswith("distill.") or used.removeprefix("distill.") not in known:
            continue
        other = used.removeprefix("distill.")
        if other == name or floor(room(other)) < floor(room(name)):
            continue
        lists = [order for order in ORDERED if name in order and other in order]
        assert lists, f"{name} imports {other}, which is not below it"
        assert lists[0].index(other) < lists[0].index(name), f"{name} imports {other}, which comes after it"


@pytest.mark.parametrize("name", sorted(name for name in modules() if room(name) in LIGHT))
def test_light_rooms_import_no_numpy_at_module_level(name: str) -> None:
    assert not any(used.partition(".")[0] == "numpy" for used in imports(modules()[name], everywhere=False))


def test_help_and_a_configuration_load_without_numpy() -> None:
    code = "import sys, distill.cli, distill.config; distill.config.load({}); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_mathematics_imports_only_numpy_and_itself() -> None:
    allowed = {
        "numpy",
        "distill",
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
        assert name == "cli" or not calls & {"print", "exit", "SystemExit"}, name
