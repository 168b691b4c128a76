"""The names of the files and folders that a run writes."""

import re
from collections.abc import Collection
from pathlib import Path

from distill.errors import OutputError
from distill.system.files import resolve

METRICS, PLAN, RESULTS = "metrics.jsonl", "config.yaml", "results.json"  # RESULTS is written last: the run is complete
MODEL = re.compile(r"(teacher|student|control)(\.full)?\.npz|teacher\.[\w.-]+\.npz|peer\d+(\.full)?\.npz")
UNFINISHED = re.compile(r"[\w.-]+\.last_good\.npz|\..+\.tmp|\.DS_Store")


def is_run_file(name: str) -> bool:
    """Return whether a run leaves a file of this name in its folder."""
    return name in (METRICS, PLAN, RESULTS) or bool(MODEL.fullmatch(name))


def is_unfinished_run_file(name: str) -> bool:
    """Return whether an interrupted run may leave a file of this name in the folder that it was built in."""
    return is_run_file(name) or bool(UNFINISHED.fullmatch(name))


def teacher_file(name: str, teachers: Collection[str]) -> str:
    """Return the file name, without .npz, of one of these teachers in the run's folder."""
    return "teacher" if len(teachers) == 1 else f"teacher.{name}"


def model_files(model: str) -> list[str]:
    """Return the file names of a model: without and with the adapters that it was trained with."""
    return [f"{model}.npz", f"{model}.full.npz"]


def partial_folder(folder: Path) -> Path:
    """Return the folder in which a run is built until it is complete. Raises OutputError for the root."""
    resolved = resolve(folder)
    if not resolved.name:
        raise OutputError(f"output.folder: {folder}: is the root of a file system; name a folder in it")
    return resolved.with_name(resolved.name + ".partial")
