"""Safe reading of NPY, NPZ and gzip files: names, types and sizes are checked before anything is unpacked, and nothing
is ever unpickled."""

import gzip
import io
import math
import os
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from distill.errors import DataError
from distill.nn.vector import Array
from distill.system.file_kinds import NPY, ZIP, reject_other_kind

HEADER = "model.json"  # the member of a model file that is plain JSON
PIECE_BYTES = 1 << 24  # unpacked at a time
MAX_UNPACKED, MAX_RATIO = 1 << 28, 100  # a compressed table is at most so many bytes, or so many times its size


@dataclass(frozen=True)
class ArrayHeader:
    """The header of an NPY file or member: type, shape, whether it is stored column by column (Fortran order), and the
    offset of the numbers."""

    dtype: "np.dtype[Any]"
    shape: tuple[int, ...]
    by_columns: bool
    offset: int

    def check(self, name: str, size: int) -> None:
        """Raise ValueError if the array holds Python objects, or if header and numbers do not take `size` bytes."""
        if self.dtype.hasobject:
            advice = f"write it as text, {name}.astype(str), or as numbers, {name}.astype(float)"
            raise ValueError(f"{name} holds Python objects, which are never loaded; {advice}")
        promised = self.offset + math.prod(self.shape) * self.dtype.itemsize
        if promised != size or min(self.shape, default=0) < 0:
            promise = f"the header of {name} promises {self.shape} of {self.dtype}, {promised:,} bytes"
            raise ValueError(f"{promise}, but it has {size:,}; write the file again")


def _read_header(file: IO[bytes]) -> ArrayHeader:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"NPY version {version[0]}.{version[1]}, which is unknown")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(file)
    return ArrayHeader(dtype, shape, by_columns and len(shape) > 1, file.tell())


class Npz:
    """An open .npz file: `names` are those of its arrays; headers and arrays are read on demand."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive, self._path = archive, path
        members = [name for name in archive.namelist() if name != HEADER]
        self._members = {name.removesuffix(".npy"): name for name in members}
        self.names = tuple(self._members)

    def headers(self, names: Iterable[str]) -> dict[str, ArrayHeader]:
        """Return the headers of these arrays. Raises ValueError if one does not fit its member's size."""
        headers = {}
        for name in names:
            with self._archive.open(self._members[name]) as file:
                headers[name] = _read_header(file)
            headers[name].check(name, self._archive.getinfo(self._members[name]).file_size)
        return headers

    def read(self, names: Iterable[str]) -> dict[str, Array]:
        """Return these arrays. Raises DataError if together they take more than this machine's memory."""
        headers = self.headers(names)
        sizes = {name: math.prod(header.shape) * header.dtype.itemsize for name, header in headers.items()}
        check_memory(self._path, sum(sizes.values()), " and ".join(sizes))
        arrays = {}
        for name in headers:
            with self._archive.open(self._members[name]) as file:
                arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
        return arrays


@contextmanager
def open_npz(path: Path) -> Iterator[Npz]:
    """Open an .npz file. Raises DataError if the file or one of its arrays cannot be read safely."""
    with _as_data_error(path, ".npz", "numpy.savez"), path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no zip archive, or a torn one")
        with zipfile.ZipFile(file) as archive:
            yield Npz(archive, path)


def read_npz(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, Array]:
    """Return those arrays of an .npz file that `shapes` names, or all of them.

    Raises DataError if one cannot be read safely, or has another shape than `shapes` says.
    """
    with open_npz(path) as file:
        headers = file.headers(name for name in file.names if shapes is None or name in shapes)
        for name, header in headers.items():
            if shapes is not None and shapes[name] != header.shape:
                raise DataError(f"{path}: {name} has the shape {header.shape}; must be {shapes[name]}")
        return file.read(headers)


def read_npy_header(path: Path) -> ArrayHeader:
    """Return an .npy file's header. Raises DataError if it does not fit the file's size."""
    with _as_data_error(path, ".npy", "numpy.save"), path.open("rb") as file:
        header = _read_header(file)
        header.check(path.stem, os.fstat(file.fileno()).st_size)
        return header


def read_npy(path: Path) -> Array:
    """Return the array of an .npy file. Raises DataError if it cannot be read safely."""
    read_npy_header(path)
    with _as_data_error(path, ".npy", "numpy.save"), path.open("rb") as file:
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
        return array


@contextmanager
def _as_data_error(path: Path, kind: str, writer: str) -> Iterator[None]:
    """Raise DataError in place of any error: a damaged or hostile file makes NumPy and zipfile raise every kind."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy only warns of an odd header
            yield
    except DataError:
        raise
    except Exception as error:
        reject_other_kind(path, {".npz": ZIP, ".npy": NPY}[kind])
        reason = str(error) or type(error).__name__
        advice = "" if "; write " in reason else f"; write it with {writer}"
        raise DataError(f"{path}: cannot be read as {kind}: {reason}{advice}") from None


def gunzip(name: Path | str, raw: bytes) -> bytes:
    """Return the unpacked content of a gzip file's bytes. Raises DataError once it exceeds this machine's memory, or
    grows beyond what a table of so few bytes unpacks to."""
    pieces, size = [], 0
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
        while piece := file.read(PIECE_BYTES):
            pieces.append(piece)
            size += len(piece)
            check_memory(name, size, "what it holds")
            if size > MAX_UNPACKED and size > MAX_RATIO * len(raw):
                problem = f"unpacks to over {MAX_UNPACKED >> 20} MB, {MAX_RATIO} times its size, as no table does"
                raise DataError(f"{name}: {problem}; if this is intended, unpack it first")
    return b"".join(pieces)


def check_memory(path: Path | str, size: int, content: str) -> None:
    """Raise DataError if `size` bytes of a file are more than this machine's memory; `content` names them."""
    if size > (memory := _memory()):
        sizes = f"{size / 1e9:,.1f} GB, and this machine has {memory / 1e9:,.1f} GB of memory"
        advice = "give fewer rows, or a folder of X.npy and y.npy, which stay on disk"
        raise DataError(f"{path}: {content} would take {sizes}; {advice}")


def _memory() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # unknown, as on Windows
        return math.inf
