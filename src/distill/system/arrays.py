"""Arrays in NPY and NPZ files, and what gzip holds, read with distrust: names, types and sizes are looked at before
anything is unpacked, and nothing is ever unpickled."""

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
from distill.system.file_kinds import NPY, ZIP, refuse_foreign

HEADER = "model.json"  # the member of a model file that is plain JSON
PIECE_BYTES = 1 << 24  # unpacked at a time
MOST_UNPACKED, MOST_PACKED = 1 << 28, 100  # bytes of a compressed table of texts, and that one byte holds, if beyond


@dataclass(frozen=True)
class Declared:
    """What the header of an NPY file or member says: type and shape, whether it is written column by column (Fortran's
    order), and where the numbers begin."""

    dtype: "np.dtype[Any]"
    shape: tuple[int, ...]
    by_columns: bool
    offset: int

    def check(self, name: str, size: int) -> None:
        """Raise ValueError where the numbers are Python objects, or take other than `size` bytes with the header."""
        if self.dtype.hasobject:
            advice = f"write it as text, {name}.astype(str), or as numbers, {name}.astype(float)"
            raise ValueError(f"{name} holds Python objects, which are never loaded; {advice}")
        promised = self.offset + math.prod(self.shape) * self.dtype.itemsize
        if promised != size or min(self.shape, default=0) < 0:
            what = (
                f"the header of {name} promises {self.shape} of {self.dtype}, {promised:,} bytes, but it has {size:,}"
            )
            raise ValueError(f"{what}; write the file again")


def _declared(file: IO[bytes]) -> Declared:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"NPY version {version[0]}.{version[1]}, which is unknown")
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = header(file)
    return Declared(dtype, shape, by_columns and len(shape) > 1, file.tell())


class Npz:
    """An open .npz file: the names of its arrays are known, what their headers say can be asked, and only what is asked
    for is unpacked."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive, self._path = archive, path
        members = [name for name in archive.namelist() if name != HEADER]
        self._members = {name.removesuffix(".npy"): name for name in members}
        self.names = tuple(self._members)

    def declared(self, names: Iterable[str]) -> dict[str, Declared]:
        """What the headers of these arrays say. Raises ValueError where one cannot be true."""
        found = {}
        for name in names:
            with self._archive.open(self._members[name]) as file:
                found[name] = _declared(file)
            found[name].check(name, self._archive.getinfo(self._members[name]).file_size)
        return found

    def read(self, names: Iterable[str]) -> dict[str, Array]:
        """These arrays. Raises DataError where together they take more than this machine's memory."""
        declared = self.declared(names)
        sizes = {name: math.prod(one.shape) * one.dtype.itemsize for name, one in declared.items()}
        check_memory(self._path, sum(sizes.values()), " and ".join(sizes))
        arrays = {}
        for name in declared:
            with self._archive.open(self._members[name]) as file:
                arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
        return arrays


@contextmanager
def open_npz(path: Path) -> Iterator[Npz]:
    """An .npz file to read from; raises DataError where the file or one of its arrays cannot be read safely."""
    with _as_data_error(path, ".npz", "numpy.savez"), path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no zip archive, or a torn one")
        with zipfile.ZipFile(file) as archive:
            yield Npz(archive, path)


def read_npz(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, Array]:
    """The arrays of these names and shapes, as far as an .npz file has them, or all of its arrays. Raises DataError
    where one cannot be read safely, or has another shape."""
    with open_npz(path) as file:
        declared = file.declared(name for name in file.names if shapes is None or name in shapes)
        for name, one in declared.items():
            if shapes is not None and shapes[name] != one.shape:
                raise DataError(f"{path}: {name} has the shape {one.shape}; must be {shapes[name]}")
        return file.read(declared)


def declared_npy(path: Path) -> Declared:
    """What an .npy file's header says. Raises DataError where that cannot be true."""
    with _as_data_error(path, ".npy", "numpy.save"), path.open("rb") as file:
        declared = _declared(file)
        declared.check(path.stem, os.fstat(file.fileno()).st_size)
        return declared


def read_npy(path: Path) -> Array:
    """The array of an .npy file. Raises DataError where it cannot be read safely."""
    declared_npy(path)
    with _as_data_error(path, ".npy", "numpy.save"), path.open("rb") as file:
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
        return array


@contextmanager
def _as_data_error(path: Path, kind: str, writer: str) -> Iterator[None]:
    """A torn or hostile file leads NumPy and zipfile to errors of every kind."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns, and goes on, where a header is odd
            yield
    except DataError:
        raise
    except Exception as error:
        refuse_foreign(path, {".npz": ZIP, ".npy": NPY}[kind])
        reason = str(error) or type(error).__name__
        advice = "" if "; write " in reason else f"; write it with {writer}"
        raise DataError(f"{path}: cannot be read as {kind}: {reason}{advice}") from None


def gunzip(name: Path | str, raw: bytes) -> bytes:
    """What the bytes of a gzip file hold. Raises DataError as soon as that is more than this machine's memory, or than
    any table is packed to so few bytes."""
    pieces, size = [], 0
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
        while piece := file.read(PIECE_BYTES):
            pieces.append(piece)
            size += len(piece)
            check_memory(name, size, "what it holds")
            if size > MOST_UNPACKED and size > MOST_PACKED * len(raw):
                what = f"unpacks to over {MOST_UNPACKED >> 20} MB, {MOST_PACKED} times its size, as no table does"
                raise DataError(f"{name}: {what}; if it is meant, unpack it first")
    return b"".join(pieces)


def check_memory(path: Path | str, size: int, what: str) -> None:
    """Raise DataError before so many bytes are read from a file, where this machine's memory does not hold them."""
    if size > (memory := _memory()):
        sizes = f"{size / 1e9:,.1f} GB, and this machine has {memory / 1e9:,.1f} GB of memory"
        advice = "give fewer rows, or a folder of X.npy and y.npy, which stay on disk"
        raise DataError(f"{path}: {what} would take {sizes}; {advice}")


def _memory() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # unknown, as on Windows
        return math.inf
