"""Files that are whole or absent: every write goes to a temporary file, is flushed to disk, and renamed into place."""

import io
import json
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from distill.errors import DataError, OutputError
from distill.nn.vector import Array

try:
    import fcntl
except ImportError:  # Windows has no such locks: there two runs into one folder are not told apart
    fcntl = None  # type: ignore[assignment]

HEADER = "model.json"  # the member of a model file that is plain JSON
RUN_MARK = "metrics.jsonl"  # a folder that holds this file was written by a run


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, which replaces `path` only once it is complete and on disk. Parent folders are created."""
    with _as_output_error(path):
        path = _resolve(path)
        if path.exists() and not path.is_file():  # a device or a pipe is written to, never replaced
            with path.open("wb") as file:
                yield file
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as file:
        file.write(text.encode("utf-8", "surrogatepass"))


def to_json(content: Any) -> str:
    """Readable JSON; NaN or infinity in it is a bug of ours and raises ValueError."""
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def check_writable(output: Path, inputs: Iterable[Path]) -> None:
    """Raise OutputError now rather than after an hour of training: for a folder, a place that cannot be written to,
    or an output that would replace one of the inputs."""
    with _as_output_error(output):
        output = _resolve(output)
        if output.is_dir():
            raise OutputError(f"{output}: is a folder; name a file")
        for path in inputs:
            if output.exists() and path.exists() and output.samefile(path):
                raise OutputError(f"{output}: is also an input of this command; choose another name")
        if output.exists() and not output.is_file():
            return
        output.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output.parent).close()


def write_model(path: Path, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """One .npz: the arrays, and the header as the plain JSON member `model.json`. Equal content gives equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(zipfile.ZipInfo(HEADER), json.dumps(header, indent=1, allow_nan=False))
    with atomic(path) as file:
        file.write(buffer.getvalue())


def read_header(path: Path) -> dict[str, Any]:
    """A model file's header, without its arrays. Raises DataError."""
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read(HEADER))
    except Exception as error:  # as in read_npz
        raise DataError(f"{path}: not a model file of distill: {error}; give a teacher.npz or student.npz") from None
    if not isinstance(header, dict):
        raise DataError(
            f"{path}: not a model file of distill: its header is no mapping; give a teacher.npz or student.npz"
        )
    return header


def read_npz(path: Path) -> dict[str, Array]:
    """Every array of an .npz file; raises DataError where the file or one of them cannot be read safely."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns, and goes on, where a header is odd
            if not zipfile.is_zipfile(file):
                raise ValueError("it is no zip archive, or a torn one")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files if name != HEADER}
        if odd := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"{odd[0]!r} in it is no array")
    except Exception as error:  # a torn or hostile file leads NumPy and zipfile to errors of every kind
        reason = str(error) or type(error).__name__
        if "allow_pickle" in reason:
            reason = "it holds Python objects, which are never loaded"
        raise DataError(f"{path}: cannot be read as .npz: {reason}; write it with numpy.savez") from None
    return arrays


class RunFolder:
    """A run's folder: built beside its place as NAME.partial, and moved there only when the run is complete.

    So the last complete run stays until the next one is complete, and what an interrupted run had finished is kept
    apart. A lock keeps a second run out of the same folder while the first is at work.
    """

    def __init__(self, path: Path) -> None:
        with _as_output_error(path):
            self.path = _resolve(path)
            self.partial = self.path.with_name(self.path.name + ".partial")
        self.lock: int | None = None

    def __enter__(self) -> "RunFolder":
        with _as_output_error(self.path):
            if self.path.is_dir() and any(self.path.iterdir()) and not (self.path / RUN_MARK).exists():
                raise OutputError(f"{self.path}: holds files that no run wrote; name another output.folder")
            if self.path.exists() and not self.path.is_dir():
                raise OutputError(f"{self.path}: is a file; name another output.folder")
            self._take_lock()
            for left in self.partial.iterdir():  # what an interrupted run left behind
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        if self.lock is not None:
            os.close(self.lock)

    def __truediv__(self, name: str) -> Path:
        """Where a file is written while the run is at work."""
        return self.partial / name

    def publish(self) -> None:
        """Put the finished files in their place; results.json, which says that the run is complete, comes last."""
        with _as_output_error(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            for file in sorted(self.partial.iterdir(), key=lambda file: file.name == "results.json"):
                file.replace(self.path / file.name)
            self.partial.rmdir()

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


@contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: cannot be written: {reason}; name another place, or make room") from None


def _resolve(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError as error:  # what Python before 3.13 says of a loop of links
        raise OSError(str(error)) from None
