"""The whole default command beside complete scripts in PyTorch and JAX, from the start of Python to the last file."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from contest import DISTILL
from environment import ROOT, SOURCE
from protocol import HERE

DIGITS = SOURCE / "distill" / "data" / "digits.npz"
PROGRAMS = {
    DISTILL: ["-m", "distill", "--config", "config.yaml"],
    "PyTorch": [str(HERE / "whole_torch.py"), str(DIGITS)],
    "JAX": [str(HERE / "whole_jax.py"), str(DIGITS)],
}
# What each must have written, beside the folder of a run where distill keeps it.
FILES = ("results.json", "teacher.npz", "student.npz", "control.npz")


def run(python: Path, variables: Mapping[str, str], scratch: Path, repeats: int) -> dict[str, Any]:
    """Seconds of every turn, and the validation accuracies."""
    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    accuracies: dict[str, dict[str, float]] = {}
    for turn in range(repeats + 1):
        print(f"whole: turn {turn} of {repeats}", file=sys.stderr, flush=True)
        for name, arguments in PROGRAMS.items():
            folder = scratch / f"{name}-{turn}"
            folder.mkdir()
            shutil.copy(ROOT / "config.yaml", folder)
            started = perf_counter()
            subprocess.run([python, *arguments], cwd=folder, env=variables, check=True, capture_output=True)
            if turn:  # the first turn only fills the system's caches
                seconds[name].append(perf_counter() - started)
            kept = folder / "runs" / "config" if name == DISTILL else folder
            assert all((kept / file).stat().st_size for file in FILES)
            results = json.loads((kept / "results.json").read_text())
            accuracies[name] = {model: results[f"{model}_val_accuracy"] for model in ("teacher", "student", "control")}
    return {"seconds": seconds, "accuracies": accuracies}
