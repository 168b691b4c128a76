"""Atomic files: every write goes to a temporary file, is flushed to disk, and renamed into place. Also checks that an
output can be written, before hours of training."""

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
from distill.system.file_kinds import ZIP, describe_file

MAX_HEADER_BYTES = 100_000_000  # a million names fit
MAX_LINKS = 40  # on the way to a file, as the system allows


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that replaces `path` only once it is complete and on disk. Creates parent folders."""
    with as_output_error(path):
        if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
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
    """Return indented JSON. Raises ValueError for NaN and infinity, which would be a bug."""
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def check_writable(output: Path, taken: Iterable[Path], *, appended: bool = False) -> None:
    """Raise OutputError if `output` cannot be written, or would replace one of the `taken` files. Creates nothing.

    `taken` are the files that the command reads and writes elsewhere. A mounted file cannot be replaced, but can be
    `appended` to.
    """
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
        check_creatable(output.parent)


def check_folder(folder: Path, taken: Iterable[Path]) -> None:
    """Raise OutputError if one of the `taken` files is or will be in the folder's place, or if nothing can be written
    there. Creates nothing."""
    with as_output_error(folder):
        resolved = resolve(folder)
        if any(resolved.is_relative_to(resolve_output(path)) for path in taken):
            raise OutputError(f"{folder}: is a file that this command itself reads or writes; choose another name")
        check_creatable(resolved)


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, unless they exist. Raises OutputError."""
    with as_output_error(folder):
        folder.mkdir(parents=True, exist_ok=True)


def check_creatable(folder: Path) -> None:
    """Raise OSError if no file can be created in a folder, which need not exist yet."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    tempfile.TemporaryFile(dir=folder).close()


def links_and_target(path: Path) -> Iterator[Path]:
    """Yield every link that the system follows to resolve a path, and last the path without links. Raises OSError."""
    remaining, place, links = list(reversed(path.absolute().parts)), Path(path.absolute().anchor), 0
    while remaining:
        part = remaining.pop()
        place = place.parent if part == ".." else place / part
        if place.is_symlink():
            links += 1
            if links > MAX_LINKS:
                raise _too_many_links()
            yield place
            remaining += reversed(place.readlink().parts)
            place = place.parent
    yield place


def write_model(path: Path, header: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write an .npz file: the arrays, and the header as its JSON member model.json. Equal content gives equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # NumPy before 2.1 takes allow_pickle for the name of an array
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(zipfile.ZipInfo(HEADER), json.dumps(header, indent=1, allow_nan=False))
    with atomic(path) as file:
        file.write(buffer.getvalue())


def read_header(path: Path) -> dict[str, Any]:
    """Return a model file's header without reading its arrays. Raises DataError."""
    try:
        if path.exists() and not path.is_file():  # reading from a pipe would wait
            raise OSError("it is no file")
        with zipfile.ZipFile(path) as archive:
            if (size := archive.getinfo(HEADER).file_size) > MAX_HEADER_BYTES:
                raise ValueError(f"{HEADER} takes {size:,} bytes, more than {MAX_HEADER_BYTES:,}")
            header = json.loads(archive.read(HEADER))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror or error}; give a teacher.npz or student.npz"
        ) from None
    except Exception as error:  # as in open_npz
        description = describe_file(path, ZIP)
        reason = f"it {description.partition(';')[0]}" if description else error
        raise DataError(f"{path}: not a model file of distill: {reason}; give a teacher.npz or student.npz") from None
    if not isinstance(header, dict):
        raise DataError(
            f"{path}: not a model file of distill: its header is no mapping; give a teacher.npz or student.npz"
        )
    return header


@contextmanager
def as_output_error(path: Path | str) -> Iterator[None]:
    """Raise OutputError about this path in place of OSError and ValueError."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: cannot be written: {reason}; name another place, or make room") from None


def resolve(path: Path) -> Path:
    """Return the absolute path without links. Raises OSError for a loop of links or an invalid name."""
    try:
        resolved = path.resolve()
    except RuntimeError:  # of a loop of links, before Python 3.13
        raise _too_many_links() from None
    with suppress(FileNotFoundError, NotADirectoryError):
        resolved.stat()  # Python 3.13 and later return a path for a loop of links
    return resolved


def resolve_output(path: Path) -> Path:
    """Return `resolve(path)`, with OutputError about this path in place of OSError."""
    with as_output_error(path):
        return resolve(path)


def _too_many_links() -> OSError:
    return OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def is_mounted(path: Path) -> bool:
    """Return whether the path is a mount point: it cannot be replaced, and nothing can be moved across it."""
    return path.exists() and path.lstat().st_dev != path.parent.stat().st_dev
