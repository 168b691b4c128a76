"""The folder of a run: built beside its place, locked while the run is at work, and moved when it is complete."""

import errno
import json
import os
import re
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from distill.errors import OutputError
from distill.report.run_checks import MOUNT_POINT, KeyedPaths, RunPaths
from distill.report.run_files import METRICS, RESULTS, is_run_file, model_files, partial_folder, teacher_file
from distill.system.files import as_output_error, links_and_target, resolve, resolve_output

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, two runs into one folder are not detected
    fcntl = None  # type: ignore[assignment]


class RunFolder:
    """A run's folder: built as NAME.partial, and moved to NAME only when the run is complete.

    The last complete run stays until the next one is complete, and what an interrupted run had finished is kept apart.
    A lock keeps a second run out of the same folder.
    """

    def __init__(
        self,
        path: Path,
        inputs: KeyedPaths | None = None,
        outputs: KeyedPaths | None = None,
        contents: Iterable[Path] = (),
    ) -> None:
        """`inputs` are files that the run reads, `outputs` those that it writes outside of its folder, by the key that
        names them; `contents` are the files that its folder will hold."""
        with as_output_error(f"output.folder: {path}"):
            self.path, self.partial = resolve(path), partial_folder(path)
            resolved = frozenset(self.path / file.name for file in contents)
        self.paths = RunPaths(self.path, self.partial, inputs or {}, outputs or {}, resolved)
        self.lock: int | None = None

    def check(self) -> None:
        """Raise OutputError if no run can be kept here. Touches nothing."""
        self.paths.check()

    def contains(self, path: Path) -> bool:
        """Return whether a path is in the folder."""
        return resolve_output(path).is_relative_to(self.path)

    def __enter__(self) -> "RunFolder":
        """Check the folder, lock it, and remove what an interrupted run left."""
        self.check()
        with ExitStack() as on_failure, as_output_error(self.path):
            self._take_lock()
            on_failure.callback(self.__exit__)
            for leftover in self.partial.iterdir():
                leftover.unlink()
            (self.partial / METRICS).touch()
            if self.path.is_dir():
                self._try_move()
            on_failure.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def __truediv__(self, name: str) -> Path:
        """Return the path of a file while the run is at work."""
        return self.partial / name

    def publish(self) -> None:
        """Move the finished files to their place.

        The old results.json is removed first and the new one is moved last, so that the folder never holds the results
        of one run beside the models of another.
        """
        with as_output_error(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._try_move()  # if this fails, the last complete run stays as it is
            (self.path / METRICS).touch()
            previous_models = self._previous_models()
            (self.path / RESULTS).unlink(missing_ok=True)
            files = sorted(self.partial.iterdir(), key=lambda file: file.name == RESULTS)
            self._remove_models(previous_models - {file.name for file in files})
            for file in files:
                file.replace(self.path / file.name)
            self.partial.rmdir()

    def _try_move(self) -> None:
        """Raise OutputError if no file can be moved to the folder, as between two mounts of one file system."""
        name = f".{os.getpid()}.tmp"
        (self.partial / name).touch()
        try:
            (self.partial / name).replace(self.path / name).unlink()
        except OSError as error:
            raise OutputError(f"{self.path}: {MOUNT_POINT}") if error.errno == errno.EXDEV else error from None

    def _previous_models(self) -> set[str]:
        """Return the names of the last complete run's models, as its results list them."""
        try:
            results = json.loads((self.path / RESULTS).read_text(encoding="utf-8"))
            teachers = results["teachers"]
            models = {
                teacher_file(name, teachers) for name, teacher in teachers.items() if teacher["origin"] == "trained"
            }
            models |= {"student", *(name for name in results["history"] if re.fullmatch(r"peer\d+", name))}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return set()
        return {name for model in models for name in model_files(model) if is_run_file(name)}

    def _remove_models(self, names: Iterable[str]) -> None:
        """Remove models of an earlier run, except those that this run reads."""
        inputs = {place for paths in self.paths.inputs.values() for path in paths for place in links_and_target(path)}
        for name in names:
            if self.path / name not in inputs:
                (self.path / name).unlink(missing_ok=True)

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
                pass  # the other run has moved its files since `mkdir`
            os.close(lock)
