"""Files that are whole or absent: every write goes to a temporary file, is flushed to disk, and renamed into place."""

import errno
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from distill.errors import DataError, OutputError
from distill.system.arrays import HEADER
from distill.system.file_kinds import ZIP, told_by_bytes

HEADER_BYTES = 100_000_000  # at most, which holds a million names
MOST_LINKS = 40  # on the way to a file, as the system allows


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, which replaces `path` only once it is complete and on disk. Parent folders are created."""
    with as_output_error(path):
        if path.exists() and not path.is_file():  # a device or a pipe is written to, never replaced
            with path.open("wb") as file:
                yield file
            return
        path = resolve(path)
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


def check_writable(output: Path, taken: Iterable[Path], *, appended: bool = False) -> None:
    """Raise OutputError now rather than after an hour of training: for a folder, a place that cannot be written to,
    or an output that would replace a file that the command reads or writes itself; and unless it is only `appended` to,
    for a mounted file, which nothing can replace. Nothing is created."""
    with as_output_error(output):
        if output.is_dir():
            raise OutputError(f"{output}: is a folder; name a file")
        if output.exists() and not output.is_file():
            return
        output = resolve(output)
        if not appended and is_mounted(output):
            raise OutputError(f"{output}: is a mount point, and cannot be replaced; name another file")
        for path in taken:
            other = resolve_output(path)
            nested = output.is_relative_to(other) or other.is_relative_to(output)
            if nested or (output.exists() and path.exists() and output.samefile(path)):
                raise OutputError(f"{output}: is a file that this command itself reads or writes; choose another name")
        check_room(output.parent)


def check_folder(folder: Path, taken: Iterable[Path]) -> None:
    """Raise OutputError where no folder can be, as one of these files is or will be there, or nothing can be written
    there. Nothing is created."""
    with as_output_error(folder):
        resolved = resolve(folder)
        if any(resolved.is_relative_to(resolve_output(path)) for path in taken):
            raise OutputError(f"{folder}: is a file that this command itself reads or writes; choose another name")
        check_room(resolved)


def make_folder(folder: Path) -> None:
    """A folder, and those above it, unless it is there."""
    with as_output_error(folder):
        folder.mkdir(parents=True, exist_ok=True)


def check_room(folder: Path) -> None:
    """Raise OSError unless a file can be made in a folder that may not be there yet."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    tempfile.TemporaryFile(dir=folder).close()


def places_passed(path: Path) -> Iterator[Path]:
    """Every place that a look-up of the path passes: the path without its links, and whatever they lead through."""
    left, at, links = list(reversed(path.absolute().parts)), Path(path.absolute().anchor), 0
    while left:
        part = left.pop()
        at = at.parent if part == ".." else at / part
        if at.is_symlink():
            links += 1
            if links > MOST_LINKS:
                raise _too_many_links()
            yield at
            left += reversed(at.readlink().parts)
            at = at.parent
    yield at


def write_model(path: Path, header: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """One .npz: the arrays, and the header as the plain JSON member `model.json`. Equal content gives equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # without allow_pickle, which NumPy before 2.1 takes for the name of an array
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(zipfile.ZipInfo(HEADER), json.dumps(header, indent=1, allow_nan=False))
    with atomic(path) as file:
        file.write(buffer.getvalue())


def read_header(path: Path) -> dict[str, Any]:
    """A model file's header, without its arrays. Raises DataError."""
    try:
        if path.exists() and not path.is_file():  # a pipe would have us wait
            raise OSError("it is no file")
        with zipfile.ZipFile(path) as archive:
            if (size := archive.getinfo(HEADER).file_size) > HEADER_BYTES:
                raise ValueError(f"{HEADER} takes {size:,} bytes, more than {HEADER_BYTES:,}")
            header = json.loads(archive.read(HEADER))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror or error}; give a teacher.npz or student.npz"
        ) from None
    except Exception as error:  # as in open_npz
        what = told_by_bytes(path, ZIP)
        reason = f"it {what.partition(';')[0]}" if what else error
        raise DataError(f"{path}: not a model file of distill: {reason}; give a teacher.npz or student.npz") from None
    if not isinstance(header, dict):
        raise DataError(
            f"{path}: not a model file of distill: its header is no mapping; give a teacher.npz or student.npz"
        )
    return header


@contextmanager
def as_output_error(path: Path | str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: cannot be written: {reason}; name another place, or make room") from None


def resolve(path: Path) -> Path:
    """The path without links. Raises OSError for a loop of links and a name that no system takes."""
    try:
        resolved = path.resolve()
    except RuntimeError:  # what Python before 3.13 says of a loop of links
        raise _too_many_links() from None
    with suppress(FileNotFoundError, NotADirectoryError):
        resolved.stat()  # which Python from 3.13 on leaves to us
    return resolved


def resolve_output(path: Path) -> Path:
    """As `resolve`, but raises OutputError about this path, whatever else is being looked at."""
    with as_output_error(path):
        return resolve(path)


def _too_many_links() -> OSError:
    return OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def is_mounted(path: Path) -> bool:
    """Whether another file system begins here: nothing is moved across its border, and it is not replaced."""
    return path.exists() and path.lstat().st_dev != path.parent.stat().st_dev
