"""Where a plan's files stand, and that none of them is in another's way.

A run reads some files, clears and fills a folder, and writes a few files beside it. Whatever would cost a file that is
read, or end a run after its training, is refused before anything is touched.
"""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from distill import data
from distill.config.dump import dump
from distill.config.load import load
from distill.config.schema import Config
from distill.data.table import locate
from distill.errors import ConfigError, DataError, OutputError, printable
from distill.report.run_folder import PLAN, RUN_END, RUN_FILES, RUN_MARK, RunFolder, partial_of, teacher_file
from distill.system.files import check_folder, check_writable

OLD_LOGS = 3  # that a log leaves beside it when it is full
ORIGIN = re.compile("# plan: (.+)\n")  # the first line of the plan in a run's folder


def check(plan: Config, outputs: Mapping[str, str | Path | None]) -> None:
    """Raise OutputError where a run of the plan would lose a file, its own or another's, or could not write one.

    `outputs` are the files that the command writes beside the run's folder, by what names them: logging.file, --output,
    --rows. Raises DataError where a file that the plan reads is not there.
    """
    given = {key: _with_old_logs(key, Path(path)) for key, path in outputs.items() if path is not None}
    folder = run_folder(plan, given)  # first, so that no other file is blamed for what is wrong with its name
    taken = [*(path for some in read_by(plan).values() for path in some), *written_by(plan)]
    for key, some in given.items():
        for path in some:
            check_writable(path, taken, appended=key == "logging.file")
        taken += some
    if plan.performance.cache is not None:
        check_folder(Path(plan.performance.cache), taken)
    if folder:
        folder.check()
        for rows in given.get("--rows", ()):
            if folder.holds(rows) and not (folder.path / RUN_MARK).exists():
                raise OutputError(f"--rows: {rows}: is in output.folder, where no run has been yet; name another place")
        others = {place: before for place, before in _other_plans(plan).items() if before.exists()}
        if others and _by_name(plan):
            raise OutputError(f"output.folder: {_all_plans(plan, others)}; name another folder, or move that one")


def read_by(plan: Config) -> dict[str, list[Path]]:
    """Every file that a run of the plan reads, by the key that names it. Raises DataError for one that is missing."""
    named = {"data.source": plan.data.source, "data.test": plan.data.test}
    found = {key: files(data.locate(name)) for key, name in named.items() if name}
    for name, one in plan.teachers.items():
        for key, path in (("load", one.load), ("predictions", one.predictions)):
            if path:
                found[f"teachers.{name}.{key}"] = files(locate(path))
    found["layers"] = [Path(name) for name in plan.layer_files]
    return found | {"--config": [Path(plan.file)] if plan.file else []}


def files_of(plan: Config) -> list[Path]:
    """What a run of the plan read, as far as it is still there."""
    try:
        return [path for some in read_by(plan).values() for path in some]
    except DataError:
        names = (plan.data.source, plan.data.test, *(one.load or one.predictions for one in plan.teachers.values()))
        return [Path(name) for name in names if name]


def written_by(plan: Config) -> list[Path]:
    """What the run's folder will hold."""
    if plan.output.folder is None:
        return []
    trained = [name for name, one in plan.teachers.items() if one.origin == "trained"]
    models = [*(teacher_file(name, plan.teachers) for name in trained), "control", "student"]
    models += [f"peer{i}" for i in range(1, plan.student.peers + 1)]
    names = [*RUN_FILES, *(f"{model}{full}.npz" for model in models for full in ("", ".full"))]
    return [Path(plan.output.folder) / name for name in names]


def run_folder(plan: Config, outputs: Mapping[str, list[Path]] | None = None) -> RunFolder | None:
    """The folder of a run of the plan, which knows what it must not touch; None where nothing is kept."""
    if plan.output.folder is None:
        return None
    read, kept = read_by(plan), dict(outputs or {})
    if _left_by_a_run(plan):
        del read["--config"]
    if plan.logging.file is not None:
        kept |= {"logging.file": _with_old_logs("logging.file", Path(plan.logging.file))}
    if plan.performance.cache is not None:
        kept |= {"performance.cache": [Path(plan.performance.cache)]}
    return RunFolder(Path(plan.output.folder), read, kept, written_by(plan))


def replaced(plan: Config) -> str | None:
    """What to say where a run of the plan replaces a run of another plan, or clears what that had finished."""
    others = _other_plans(plan)
    return f"output.folder: {_all_plans(plan, others)}, whose run replaces it" if others else None


def origin_line(plan: Config) -> str:
    """The comment by which the plan in a run's folder tells the file that it was read from, seen from there."""
    if plan.file is None or plan.output.folder is None or not Path(plan.file).is_file():  # but a pipe
        return ""
    if _left_by_a_run(plan):
        return _origin_line(Path(plan.output.folder))
    try:
        there = os.path.relpath(Path(plan.file).resolve(), Path(plan.output.folder).resolve())
    except ValueError:  # on another drive
        there = plan.file
    return f"# plan: {printable(Path(there).as_posix())}\n"


def plan_file(folder: Path) -> Path | None:
    """The file of the plan whose run is in a folder, seen from the working directory, where the folder tells."""
    if not (line := _origin_line(folder)):
        return None
    there = folder.resolve() / line.removeprefix("# plan: ").rstrip("\n")
    try:
        return Path(os.path.relpath(there))
    except ValueError:  # on another drive
        return there


def files(path: Path) -> list[Path]:
    """A file, or those in a folder."""
    try:
        return sorted(below for below in path.iterdir() if below.is_file()) if path.is_dir() else [path]
    except OSError:  # whoever reads it says so
        return [path]


def _with_old_logs(key: str, path: Path) -> list[Path]:
    old = range(1, OLD_LOGS + 1) if key == "logging.file" else ()
    return [path, *(path.with_name(f"{path.name}.{i}") for i in old if path.name)]


def _left_by_a_run(plan: Config) -> bool:
    """Whether the plan's file is the one in its own run's folder, as the run wrote it: nothing is lost with that."""
    if plan.file is None or plan.output.folder is None:
        return False
    file, own = Path(plan.file), Path(plan.output.folder) / PLAN
    try:
        if file.resolve() != own.resolve() or not (own.parent / RUN_END).exists():
            return False
        return _text(file).removeprefix(_origin_line(own.parent)) == dump(load(file))
    except (OSError, ValueError, RuntimeError, ConfigError):
        return False


def _origin_line(folder: Path) -> str:
    first = ORIGIN.match(_text(folder / PLAN))
    return first[0] if first else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _other_plans(plan: Config) -> dict[Path, Path]:
    """The files of other plans, by the folder that holds a run of theirs: a complete one, or models that are finished
    of one that was stopped."""
    if plan.file is None or plan.output.folder is None:
        return {}
    folder = Path(plan.output.folder)
    partial = partial_of(folder)
    holding = [folder] if (folder / RUN_END).exists() else []
    holding += [partial] if any(partial.glob("*.npz")) else []
    return {place: before for place in holding if (before := _other_plan(plan, place))}


def _other_plan(plan: Config, folder: Path) -> Path | None:
    """The file of the plan whose run is in a folder, where that is another one."""
    line, text = _origin_line(folder), _text(folder / PLAN)
    if not line or line == origin_line(plan) or text == line + dump(plan):  # the same plan is the same run
        return None
    return plan_file(folder)


def _by_name(plan: Config) -> bool:
    """Whether the folder is called after the file, so that nobody may have thought of another plan of that name."""
    return plan.file is not None and plan.output.folder == str(Path("runs") / Path(plan.file).stem)


def _all_plans(plan: Config, others: Mapping[Path, Path]) -> str:
    held = [f"{place} holds the {_run_and_data(place, before)}" for place, before in others.items()]
    return f"{', '.join(held)}, and this is {plan.file} (data: {plan.data.source})"


def _run_and_data(folder: Path, file: Path) -> str:
    """What to call the run of a plan's file in a folder."""
    kind, source = "run" if (folder / RUN_END).exists() else "stopped run", "unknown"
    with suppress(OSError, ValueError, KeyError, TypeError, ConfigError):
        if kind == "run":
            source = json.loads((folder / RUN_END).read_text(encoding="utf-8"))["data"]["source"]
        else:
            source = load(folder / PLAN).data.source
    return f"{kind} of {file} (data: {source})"
