"""The files that a plan reads and writes, and a check that none of them is lost or cannot be written.

A run reads some files, clears and fills a folder, and writes a few files beside it. Whatever would cost a file that is
read, or end a run after its training, is refused before anything is touched.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from distill.config.schema import Config
from distill.data.source import locate as locate_data
from distill.data.table import locate
from distill.errors import DataError, OutputError
from distill.report.plan_origin import describe_other_plans, is_default_folder, is_unedited_copy, other_plans
from distill.report.run_files import METRICS, PLAN, RESULTS, model_files, teacher_file
from distill.report.run_folder import RunFolder
from distill.system.files import check_folder, check_writable

OLD_LOGS = 3  # that rotation leaves beside a log file


def check(plan: Config, outputs: Mapping[str, str | Path | None]) -> None:
    """Raise OutputError if a run of the plan would lose a file, its own or another's, or could not write one.

    `outputs` are the files that the command writes beside the run's folder, by what names them: logging.file, --output,
    --rows. Raises DataError if a file that the plan reads is missing.
    """
    outputs_by_key = {key: _with_old_logs(key, Path(path)) for key, path in outputs.items() if path is not None}
    folder = run_folder_of(plan, outputs_by_key)  # first, so that an invalid folder name is blamed on no other file
    taken = [*(path for paths in input_files(plan).values() for path in paths), *files_of_run(plan)]
    for key, paths in outputs_by_key.items():
        for path in paths:
            check_writable(path, taken, appended=key == "logging.file")
        taken += paths
    if plan.performance.cache is not None:
        check_folder(Path(plan.performance.cache), taken)
    if folder:
        folder.check()
        _check_rows(folder, outputs_by_key.get("--rows", ()))
        _check_other_plans(plan)


def _check_rows(folder: RunFolder, outputs: Iterable[Path]) -> None:
    """Raise OutputError if --rows names a file in a run folder that no run has used: the run would then refuse it."""
    for path in outputs:
        if folder.contains(path) and not (folder.path / METRICS).exists():
            raise OutputError(f"--rows: {path}: is in output.folder, where no run has been yet; name another place")


def _check_other_plans(plan: Config) -> None:
    """Raise OutputError if a folder named after the plan's file holds the run of another file of that name."""
    others = {folder: file for folder, file in other_plans(plan).items() if file.exists()}
    if others and is_default_folder(plan):
        raise OutputError(f"output.folder: {describe_other_plans(plan, others)}; name another folder, or move that one")


def input_files(plan: Config) -> dict[str, list[Path]]:
    """Return every file that a run of the plan reads, by the key that names it. Raises DataError if one is missing."""
    sources = {"data.source": plan.data.source, "data.test": plan.data.test}
    files = {key: files_in(locate_data(name)) for key, name in sources.items() if name}
    for name, teacher in plan.teachers.items():
        for key, path in (("load", teacher.load), ("predictions", teacher.predictions)):
            if path:
                files[f"teachers.{name}.{key}"] = files_in(locate(path))
    files["layers"] = [Path(name) for name in plan.layer_files]
    return files | {"--config": [Path(plan.file)] if plan.file else []}


def remaining_input_files(plan: Config) -> list[Path]:
    """Return the files that a run of the plan read; only their names as far as one of them is gone."""
    try:
        return [path for paths in input_files(plan).values() for path in paths]
    except DataError:
        teachers = (teacher.load or teacher.predictions for teacher in plan.teachers.values())
        return [Path(name) for name in (plan.data.source, plan.data.test, *teachers) if name]


def files_of_run(plan: Config) -> list[Path]:
    """Return the files that the run's folder will hold."""
    if plan.output.folder is None:
        return []
    trained = [name for name, teacher in plan.teachers.items() if teacher.origin == "trained"]
    models = [*(teacher_file(name, plan.teachers) for name in trained), "control", "student"]
    models += [f"peer{i}" for i in range(1, plan.student.peers + 1)]
    names = [METRICS, PLAN, RESULTS, *(name for model in models for name in model_files(model))]
    return [Path(plan.output.folder) / name for name in names]


def run_folder_of(plan: Config, outputs: Mapping[str, list[Path]] | None = None) -> RunFolder | None:
    """Return the folder of a run of the plan; None without `output.folder`. `outputs` are further files that the
    command writes, by what names them."""
    if plan.output.folder is None:
        return None
    inputs, outputs = input_files(plan), dict(outputs or {})
    if is_unedited_copy(plan):
        del inputs["--config"]
    if plan.logging.file is not None:
        outputs |= {"logging.file": _with_old_logs("logging.file", Path(plan.logging.file))}
    if plan.performance.cache is not None:
        outputs |= {"performance.cache": [Path(plan.performance.cache)]}
    return RunFolder(Path(plan.output.folder), inputs, outputs, files_of_run(plan))


def files_in(path: Path) -> list[Path]:
    """Return the files in a folder, or a list of the path itself if it is none."""
    try:
        return sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
    except OSError:  # reported by whatever reads it
        return [path]


def _with_old_logs(key: str, path: Path) -> list[Path]:
    numbers = range(1, OLD_LOGS + 1) if key == "logging.file" and path.name else ()
    return [path, *(path.with_name(f"{path.name}.{i}") for i in numbers)]
