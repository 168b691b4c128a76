"""The contenders' own virtual environment, made once and used again as long as it has what is pinned."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
DEFAULT = Path("~/.cache/distill-peers").expanduser()
# Package -> version; None: whichever fits the others.
PACKAGES = {"torch": "2.13.0", "jax": "0.10.2", "scikit-learn": "1.9.1", "numpy": None, "pyyaml": None}

ASK = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def prepare(folder: Path) -> Path:
    """The environment's Python, with every package in place; what is missing is installed."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        print(f"making an environment in {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
    found = versions(python, PACKAGES)
    missing = [
        name if pinned is None else f"{name}=={pinned}"
        for name, pinned in PACKAGES.items()
        if name not in found or pinned not in (None, found[name].partition("+")[0])  # 2.13.0+cpu is a 2.13.0
    ]
    if missing:
        print(f"installing {', '.join(missing)} into {folder}", file=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", *missing], check=True, stdout=sys.stderr)
    return python


def versions(python: Path, packages: Iterable[str]) -> dict[str, str]:
    """Package -> version of those that this Python has."""
    asked = subprocess.run([python, "-c", ASK, *packages], check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(asked.stdout)
    return found


def variables(scratch: Path) -> dict[str, str]:
    """The environment variables of a contender: ours, less what limits threads, plus where distill lies."""
    sys.path.insert(0, str(SOURCE))
    from distill.system.environment import BLAS_THREADS

    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DISTILL_", "PYTHON"))}
    for name in BLAS_THREADS:
        kept.pop(name, None)
    return kept | {"PYTHONPATH": str(SOURCE), "TMPDIR": str(scratch)}  # what torch compiles lands in TMPDIR
