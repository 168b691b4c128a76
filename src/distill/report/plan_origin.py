"""Which plan a run's folder belongs to: the folder's config.yaml names the file that the plan was read from."""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from distill.config.dump import dump
from distill.config.load import load
from distill.config.schema import Config
from distill.errors import ConfigError, printable
from distill.report.run_files import PLAN, RESULTS, partial_folder

ORIGIN = re.compile("# plan: (.+)\n")  # the first line of the plan in a run's folder


def origin_line(plan: Config) -> str:
    """Return the comment that names the plan's file, relative to the run's folder; "" without a file or a folder."""
    if plan.file is None or plan.output.folder is None or not Path(plan.file).is_file():  # such as a pipe
        return ""
    if is_unedited_copy(plan):
        return _origin_line_in(Path(plan.output.folder))
    try:
        relative = os.path.relpath(Path(plan.file).resolve(), Path(plan.output.folder).resolve())
    except ValueError:  # on another drive
        relative = plan.file
    return f"# plan: {printable(Path(relative).as_posix())}\n"


def plan_file(folder: Path) -> Path | None:
    """Return the file of the plan whose run is in a folder, relative to the working directory; None if unknown."""
    if not (line := _origin_line_in(folder)):
        return None
    path = folder.resolve() / line.removeprefix("# plan: ").rstrip("\n")
    try:
        return Path(os.path.relpath(path))
    except ValueError:  # on another drive
        return path


def is_unedited_copy(plan: Config) -> bool:
    """Return whether the plan was read from its own run's folder, as the run wrote it: it can be replaced."""
    if plan.file is None or plan.output.folder is None:
        return False
    file, copy = Path(plan.file), Path(plan.output.folder) / PLAN
    try:
        if file.resolve() != copy.resolve() or not (copy.parent / RESULTS).exists():
            return False
        return _text(file).removeprefix(_origin_line_in(copy.parent)) == dump(load(file))
    except (OSError, ValueError, RuntimeError, ConfigError):
        return False


def is_default_folder(plan: Config) -> bool:
    """Return whether the run's folder is named after the plan's file; plans of equal names then share it by chance."""
    return plan.file is not None and plan.output.folder == str(Path("runs") / Path(plan.file).stem)


def other_plans(plan: Config) -> dict[Path, Path]:
    """Return the files of other plans by the folder that holds their run: a complete one, or the finished models of a
    stopped one."""
    if plan.file is None or plan.output.folder is None:
        return {}
    folder = Path(plan.output.folder)
    partial = partial_folder(folder)
    folders = [folder] if (folder / RESULTS).exists() else []
    folders += [partial] if any(partial.glob("*.npz")) else []
    return {folder: file for folder in folders if (file := _other_plan(plan, folder))}


def describe_other_plans(plan: Config, others: Mapping[Path, Path]) -> str:
    """Return a sentence that names the runs of other plans and this plan, each with its data."""
    runs = [f"{folder} holds the {_run_and_data(folder, file)}" for folder, file in others.items()]
    return f"{', '.join(runs)}, and this is {plan.file} (data: {plan.data.source})"


def replacement_warning(plan: Config) -> str | None:
    """Return what to say if a run of the plan replaces a run of another plan, or clears its finished models."""
    others = other_plans(plan)
    return f"output.folder: {describe_other_plans(plan, others)}, whose run replaces it" if others else None


def _other_plan(plan: Config, folder: Path) -> Path | None:
    """Return the file of the plan whose run is in a folder, if it is another plan."""
    line, text = _origin_line_in(folder), _text(folder / PLAN)
    if not line or line == origin_line(plan) or text == line + dump(plan):  # an equal plan is the same run
        return None
    return plan_file(folder)


def _run_and_data(folder: Path, file: Path) -> str:
    kind, source = "run" if (folder / RESULTS).exists() else "stopped run", "unknown"
    with suppress(OSError, ValueError, KeyError, TypeError, ConfigError):
        if kind == "run":
            source = json.loads((folder / RESULTS).read_text(encoding="utf-8"))["data"]["source"]
        else:
            source = load(folder / PLAN).data.source
    return f"{kind} of {file} (data: {source})"


def _origin_line_in(folder: Path) -> str:
    match = ORIGIN.match(_text(folder / PLAN))
    return match[0] if match else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
