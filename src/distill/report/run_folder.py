"""A run's folder: whole or absent, and locked while the run is at work."""

import errno
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from distill.errors import OutputError
from distill.system.files import (
    as_output_error,
    check_creatable,
    is_mounted,
    links_and_target,
    resolve,
    resolve_output,
)

try:
    import fcntl
except ImportError:  # Windows has no such locks: there two runs into one folder are not told apart
    fcntl = None  # type: ignore[assignment]


Places = Mapping[str, Sequence[Path]]  # files by the key that names them
RUN_MARK, PLAN, RUN_END = "metrics.jsonl", "config.yaml", "results.json"  # a run's first file, its plan, its last
RUN_FILES = (RUN_MARK, PLAN, RUN_END)
MOUNTED = "is a mount point; name a folder in it"
RUN_MODEL = re.compile(r"(teacher|student|control)(\.full)?\.npz|teacher\.[\w.-]+\.npz|peer\d+(\.full)?\.npz")


def of_a_run(name: str) -> bool:
    """Whether a file of this name is one that a run leaves in its folder."""
    return name in RUN_FILES or bool(RUN_MODEL.fullmatch(name))


def teacher_file(name: str, teachers: Collection[str]) -> str:
    """What the file of one of these teachers is called in the run's folder, without .npz."""
    return "teacher" if len(teachers) == 1 else f"teacher.{name}"


class RunFolder:
    """A run's folder: built beside its place as NAME.partial, and moved there only when the run is complete.

    So the last complete run stays until the next one is complete, and what an interrupted run had finished is kept
    apart. A lock keeps a second run out of the same folder while the first is at work.
    """

    def __init__(
        self, path: Path, read: Places | None = None, kept: Places | None = None, written: Iterable[Path] = ()
    ) -> None:
        """`read` are files that the run reads, and `kept` those that it writes beside its folder, by the key that names
        them; `written` are the files that its folder will hold."""
        self.read, self.kept = read or {}, kept or {}
        with as_output_error(f"output.folder: {path}"):
            self.path, self.partial = resolve(path), partial_of(path)
            self.written = {self.path / file.name for file in written}
        self.lock: int | None = None

    def check(self) -> None:
        """Raise OutputError where no run can be kept: a file, or a folder with files that no run wrote; and where the
        run would clear or replace a file that it reads or writes elsewhere. Nothing is touched."""
        with as_output_error(self.path):
            for folder in (self.path, self.partial):
                if folder.exists() and not folder.is_dir():
                    raise OutputError(f"{folder}: is a file; name another output.folder")
            if self.path.suffix == ".partial":
                raise OutputError(f"{self.path}: is called like an unfinished run; name another output.folder")
            if blocked := sorted(path for path in self.written if path.is_dir()):
                raise OutputError(f"{blocked[0]}: is a folder where the run leaves a file; name another output.folder")
            if is_mounted(self.path):
                raise OutputError(f"{self.path}: {MOUNTED}")
            if mounted := sorted(filter(is_mounted, {self.partial, *self.written})):
                raise OutputError(f"{mounted[0]}: is a mount point; name another output.folder")
            if self.partial.is_symlink():
                raise OutputError(f"{self.partial}: is a link, and a run clears this folder; remove the link")
            if Path.cwd().is_relative_to(self.path):
                raise OutputError(f"{self.path}: is the working directory, or above it; name another output.folder")
            self._check_read()
            for key, paths in self.kept.items():
                if any(resolve_output(path).is_relative_to(self.partial) for path in paths):
                    what = f"is in {self.partial}, which a run clears"
                    raise OutputError(f"{key}: {paths[0]}: {what}; name another place")
                if any(resolve_output(path) == self.path for path in paths):
                    raise OutputError(f"{key}: {paths[0]}: is the run's folder itself; name another place")
            for folder, strangers in ((self.path, self._strangers()), (self.partial, self._strangers_in_partial())):
                if strangers:
                    what = f"holds files that no run wrote, such as {strangers[0]}"
                    raise OutputError(f"{folder}: {what}; name another output.folder, or move them")
            check_creatable(self.path)
            check_creatable(self.partial)

    def holds(self, path: Path) -> bool:
        """Whether a path is in the folder."""
        return resolve_output(path).is_relative_to(self.path)

    def _check_read(self) -> None:
        advice = "move it, or name another output.folder"
        cleared = _identities(self.partial.iterdir()) if self.partial.is_dir() else set()
        replaced = _identities(self.written)
        for key, path in ((key, path) for key, paths in self.read.items() for path in paths):
            places, same = list(links_and_target(path)), _identities([path])
            if any(place.is_relative_to(self.partial) for place in places):
                raise OutputError(f"{key}: {path} is in {self.partial}, which a run clears; {advice}")
            if self.written.intersection(places):
                what = "is read by the plan, and would be replaced by what the run leaves in its folder"
                raise OutputError(f"{key}: {path} {what}; {advice}")
            if same & (cleared | replaced):  # a hard link, or a spelling that the file system takes for the same
                folder, what = (self.partial, "clears") if same & cleared else (self.path, "replaces")
                raise OutputError(
                    f"{key}: {path} is the same file as one in {folder}, which a run {what}; copy it, and name the copy"
                )
            if key.startswith("data.") and any(place.is_relative_to(self.path) for place in places):
                raise OutputError(f"{key}: {path} is in {self.path}, the run's folder; {advice}")

    def _strangers(self) -> list[str]:
        """Names in a folder that no run has been in yet, but for what the plan itself puts there."""
        if not self.path.exists() or (self.path / RUN_MARK).exists():
            return []
        kept = [resolve_output(path) for paths in self.kept.values() for path in paths]
        expected = {path.relative_to(self.path).parts[0] for path in kept if path.is_relative_to(self.path)}
        return sorted(path.name for path in self.path.iterdir() if path.name not in expected and _has_files(path))

    def _strangers_in_partial(self) -> list[str]:
        there = self.partial.iterdir() if self.partial.exists() else ()
        return sorted(path.name for path in there if path.is_dir() or not _of_an_unfinished_run(path.name))

    def __enter__(self) -> "RunFolder":
        self.check()
        with ExitStack() as on_failure, as_output_error(self.path):
            self._take_lock()
            on_failure.callback(self.__exit__)
            for left in self.partial.iterdir():  # what an interrupted run left behind
                left.unlink()
            (self.partial / RUN_MARK).touch()
            if self.path.is_dir():
                self._try_move()
            on_failure.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def __truediv__(self, name: str) -> Path:
        """Where a file is written while the run is at work."""
        return self.partial / name

    def _try_move(self) -> None:
        """Raise an error where no file can be moved to the run's place, as between two mounts of one file system."""
        name = f".{os.getpid()}.tmp"
        (self.partial / name).touch()
        try:
            (self.partial / name).replace(self.path / name).unlink()
        except OSError as error:
            raise OutputError(f"{self.path}: {MOUNTED}") if error.errno == errno.EXDEV else error from None

    def publish(self) -> None:
        """Put the finished files in their place. results.json says that a run is complete: the old one goes first, the
        new one comes last, so that FOLDER never holds the results of one run beside the models of another."""
        with as_output_error(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._try_move()  # or else the last complete run stays as it is
            (self.path / RUN_MARK).touch()
            before = self._left()
            (self.path / RUN_END).unlink(missing_ok=True)
            files = sorted(self.partial.iterdir(), key=lambda file: file.name == RUN_END)
            read = {place for paths in self.read.values() for path in paths for place in links_and_target(path)}
            for name in before - {file.name for file in files}:
                if self.path / name not in read:
                    (self.path / name).unlink(missing_ok=True)  # of a teacher that this run does not have
            for file in files:
                file.replace(self.path / file.name)
            self.partial.rmdir()

    def _left(self) -> set[str]:
        """The models that the last complete run left, by its own word: other files are not ours to take away."""
        try:
            results = json.loads((self.path / RUN_END).read_text(encoding="utf-8"))
            teachers = results["teachers"]
            names = {teacher_file(name, teachers) for name, one in teachers.items() if one["origin"] == "trained"}
            names |= {"student", *(name for name in results["history"] if re.fullmatch(r"peer\d+", name))}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return set()
        return set(filter(of_a_run, (f"{name}{full}.npz" for name in names for full in ("", ".full"))))

    def _take_lock(self) -> None:
        while True:
            self.partial.mkdir(parents=True, exist_ok=True)
            if fcntl is None:
                return
            lock = os.open(self.partial, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(lock), self.partial.stat()):
                    self.lock = lock
                    return
            except BlockingIOError:
                os.close(lock)
                raise OutputError(f"{self.path}: another run is writing here; wait, or name another folder") from None
            except FileNotFoundError:
                pass  # the other run finished between our two calls
            os.close(lock)


def partial_of(folder: Path) -> Path:
    """Where the files of a run stand until it is complete. Raises OutputError for the root, beside which is nothing."""
    place = resolve(folder)
    if not place.name:
        raise OutputError(f"output.folder: {folder}: is the root of a file system; name a folder in it")
    return place.with_name(place.name + ".partial")


def _of_an_unfinished_run(name: str) -> bool:
    return of_a_run(name) or bool(re.fullmatch(r"[\w.-]+\.last_good\.npz|\..+\.tmp|\.DS_Store", name))


def _has_files(path: Path) -> bool:
    return not path.is_dir() or path.is_symlink() or any(not below.is_dir() for below in path.rglob("*"))


def _identities(paths: Iterable[Path]) -> set[tuple[int, int]]:
    """What the files that are there have in common with their hard links."""
    found = set()
    for path in paths:
        with suppress(OSError):
            found.add((path.stat().st_dev, path.stat().st_ino))
    return found
