"""Checks of the places that a run reads and writes, before anything is touched: a run that passes them can keep its
results, and replaces nothing but an earlier run."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from distill.errors import OutputError
from distill.report.run_files import METRICS, is_unfinished_run_file
from distill.system.files import as_output_error, check_creatable, is_mounted, links_and_target, resolve_output

KeyedPaths = Mapping[str, Sequence[Path]]  # files by the key that names them

OTHER_FOLDER = "name another output.folder"
MOVE_INPUT = "move it, or name another output.folder"
MOUNT_POINT = "is a mount point; name a folder in it"


@dataclass(frozen=True)
class RunPaths:
    """The places of one run: its folder, the folder that it is built in, the files that it reads, those that it writes
    outside of its own (logs, a cache), and those that its folder will hold."""

    folder: Path
    partial: Path
    inputs: KeyedPaths
    outputs: KeyedPaths
    contents: frozenset[Path]

    def check(self) -> None:
        """Raise OutputError if the run could not be kept, or would clear or replace other files than an earlier run's.

        Touches nothing.
        """
        with as_output_error(self.folder):
            for problems in CHECKS:
                for problem in problems(self):
                    raise OutputError(problem)
            check_creatable(self.folder)
            check_creatable(self.partial)


def _files_in_place_of_folders(paths: RunPaths) -> Iterator[str]:
    for folder in (paths.folder, paths.partial):
        if folder.exists() and not folder.is_dir():
            yield f"{folder}: is a file; {OTHER_FOLDER}"


def _name_of_an_unfinished_run(paths: RunPaths) -> Iterator[str]:
    if paths.folder.suffix == ".partial":
        yield f"{paths.folder}: has the name of an unfinished run; {OTHER_FOLDER}"


def _folders_in_place_of_files(paths: RunPaths) -> Iterator[str]:
    for path in sorted(paths.contents):
        if path.is_dir():
            yield f"{path}: is a folder where the run leaves a file; {OTHER_FOLDER}"


def _mount_points(paths: RunPaths) -> Iterator[str]:
    if is_mounted(paths.folder):
        yield f"{paths.folder}: {MOUNT_POINT}"
    for path in sorted({paths.partial, *paths.contents}):
        if is_mounted(path):
            yield f"{path}: is a mount point; {OTHER_FOLDER}"


def _linked_partial_folder(paths: RunPaths) -> Iterator[str]:
    if paths.partial.is_symlink():
        yield f"{paths.partial}: is a link, and a run clears this folder; remove the link"


def _working_directory(paths: RunPaths) -> Iterator[str]:
    if Path.cwd().is_relative_to(paths.folder):
        yield f"{paths.folder}: is the working directory, or above it; {OTHER_FOLDER}"


def _lost_inputs(paths: RunPaths) -> Iterator[str]:
    """Yield the files that the run reads and would itself clear or replace, by whatever links they are named."""
    cleared = _identities(paths.partial.iterdir()) if paths.partial.is_dir() else set()
    replaced = _identities(paths.contents)
    for key, path in ((key, path) for key, inputs in paths.inputs.items() for path in inputs):
        places, identities = list(links_and_target(path)), _identities([path])
        if any(place.is_relative_to(paths.partial) for place in places):
            yield f"{key}: {path} is in {paths.partial}, which a run clears; {MOVE_INPUT}"
        if paths.contents.intersection(places):
            problem = "is read by the plan, and would be replaced by what the run leaves in its folder"
            yield f"{key}: {path} {problem}; {MOVE_INPUT}"
        if identities & (cleared | replaced):  # a hard link, or another spelling that the file system accepts
            folder, verb = (paths.partial, "clears") if identities & cleared else (paths.folder, "replaces")
            problem = f"is the same file as one in {folder}, which a run {verb}"
            yield f"{key}: {path} {problem}; copy it, and name the copy"
        if key.startswith("data.") and any(place.is_relative_to(paths.folder) for place in places):
            yield f"{key}: {path} is in {paths.folder}, the run's folder; {MOVE_INPUT}"


def _lost_outputs(paths: RunPaths) -> Iterator[str]:
    for key, outputs in paths.outputs.items():
        resolved = [resolve_output(path) for path in outputs]
        if any(path.is_relative_to(paths.partial) for path in resolved):
            yield f"{key}: {outputs[0]}: is in {paths.partial}, which a run clears; name another place"
        if paths.folder in resolved:
            yield f"{key}: {outputs[0]}: is the run's folder itself; name another place"


def _files_of_others(paths: RunPaths) -> Iterator[str]:
    for folder, names in ((paths.folder, _other_names(paths)), (paths.partial, _other_names_in_partial(paths))):
        if names:
            yield f"{folder}: holds files that no run wrote, such as {names[0]}; {OTHER_FOLDER}, or move them"


CHECKS: Sequence[Callable[[RunPaths], Iterator[str]]] = (
    _files_in_place_of_folders,
    _name_of_an_unfinished_run,
    _folders_in_place_of_files,
    _mount_points,
    _linked_partial_folder,
    _working_directory,
    _lost_inputs,
    _lost_outputs,
    _files_of_others,
)


def _other_names(paths: RunPaths) -> list[str]:
    """Return the names in a folder that holds no run yet, except those of the plan's own outputs."""
    if not paths.folder.exists() or (paths.folder / METRICS).exists():
        return []
    outputs = [resolve_output(path) for some in paths.outputs.values() for path in some]
    expected = {path.relative_to(paths.folder).parts[0] for path in outputs if path.is_relative_to(paths.folder)}
    return sorted(path.name for path in paths.folder.iterdir() if path.name not in expected and _holds_files(path))


def _other_names_in_partial(paths: RunPaths) -> list[str]:
    entries = paths.partial.iterdir() if paths.partial.exists() else ()
    return sorted(path.name for path in entries if path.is_dir() or not is_unfinished_run_file(path.name))


def _holds_files(path: Path) -> bool:
    """Return whether a path is a file, a link, or a folder with a file somewhere below it."""
    return not path.is_dir() or path.is_symlink() or any(not below.is_dir() for below in path.rglob("*"))


def _identities(paths: Iterable[Path]) -> set[tuple[int, int]]:
    """Return device and inode of the files that exist; hard links of one file have them in common."""
    identities = set()
    for path in paths:
        with suppress(OSError):
            status = path.stat()
            identities.add((status.st_dev, status.st_ino))
    return identities
