"""IDX files, the format of MNIST (LeCun et al. 1998): a folder of images and labels, gzip or plain."""

import gzip
import io
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.data.ondisk import DiskArray
from distill.data.table import Place, Source, Table, check_shapes, from_arrays
from distill.errors import DataError
from distill.nn.vector import Array
from distill.system.arrays import check_memory
from distill.system.file_kinds import GZIP, describe_other_kind

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
LONGEST_HEADER = 4 + 4 * 32
MOST_PACKED = 1032  # bytes that gzip makes of one at best
SPELLINGS = ("-images-idx3-ubyte", "-images.idx3-ubyte")


def read(path: Path) -> Source:
    """A folder of files named as MNIST's, or a single file of images without labels."""
    if path.is_file():
        file, place = _open(path), _place(path, path)
        check_shapes(file, None, place)
        rows, picture = _rows(file)
        return Source(from_arrays(rows, None, place, picture))
    train, test = _pair(path, "train"), _pair(path, "t10k")
    if train is None:
        what = f"is a folder with no X.npy, and no train{SPELLINGS[0]} or train{SPELLINGS[0]}.gz"
        raise DataError(f"{path}: {what}; give a file in it, or name its files as NumPy's or MNIST's are")
    return Source(train, test)


@dataclass(frozen=True)
class _File:
    """An IDX file whose header was read."""

    path: Path
    dtype: "np.dtype[np.generic]"
    shape: tuple[int, ...]
    offset: int
    packed: bool

    def read(self) -> Array:
        """Its numbers. Raises DataError unless they are as many as the header promises."""
        size = self.offset + math.prod(self.shape) * self.dtype.itemsize
        check_memory(self.path, size, "its numbers")
        raw = bytearray(size)
        with _readable(self.path), _stream(self.path, packed=self.packed) as file:
            view, at = memoryview(raw), 0
            while at < size and (got := file.readinto(view[at:])):
                at += got
            if at < size or file.read(1):
                more = f"{at:,}" if at < size else "more"
                raise DataError(
                    f"{self.path}: its header promises {size:,} bytes, but it has {more}; fetch the file again"
                )
        numbers = np.frombuffer(raw, self.dtype, offset=self.offset).reshape(self.shape)
        return numbers.astype(self.dtype.newbyteorder("="), copy=False)


def read_idx(path: Path) -> Array:
    """One IDX file: two zero bytes, a type, the number of dimensions, the dimensions, the numbers."""
    return _open(path).read()


def _open(path: Path) -> _File:
    """A file's header, held against its size. Nothing else is read, or unpacked."""
    with _readable(path):
        size = path.stat().st_size
        with path.open("rb") as file:
            packed = file.read(2) == GZIP
        with _stream(path, packed=packed) as stream:
            start = stream.read(LONGEST_HEADER)
    dtype, shape, header = _header(path, start, MOST_PACKED * (size + 1) if packed else size, exact=not packed)
    return _File(path, dtype, shape, header, packed)


def _stream(path: Path, *, packed: bool) -> io.BufferedIOBase:
    return gzip.open(path) if packed else path.open("rb")


def _rows(file: _File) -> tuple[Array | DiskArray, tuple[int, ...] | None]:
    """A file of images, left on disk unless it is compressed; and the shape of a row that is a picture."""
    if file.packed:
        return file.read(), None
    picture = file.shape[1:] if len(file.shape) == 3 else None
    return DiskArray(file.path, file.dtype, file.shape, file.offset), picture


def _header(path: Path, raw: bytes, size: int, *, exact: bool) -> tuple["np.dtype[np.generic]", tuple[int, ...], int]:
    """Type, shape and length of the header that raw begins with, for a file of `size` bytes, or at most so many."""
    if what := describe_other_kind(raw, path.name):
        raise DataError(f"{path}: {what}")
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in TYPES or not 1 <= raw[3] <= 32:
        raise DataError(
            f"{path}: begins with {raw[:4].hex(' ')!r}, which is no IDX magic number; must be 00 00 TYPE DIMENSIONS"
        )
    header = 4 + 4 * raw[3]
    if len(raw) < header:
        raise DataError(f"{path}: ends within its header, after {len(raw)} bytes; fetch the file again")
    shape = struct.unpack(f">{raw[3]}I", raw[4:header])
    dtype = np.dtype(TYPES[raw[2]])
    expected = header + math.prod(shape) * dtype.itemsize
    if expected > size or (exact and size != expected):
        has = f"{size:,}" if exact else f"at most {size:,}"
        raise DataError(f"{path}: its header promises {expected:,} bytes, but it has {has}; fetch the file again")
    return dtype, shape, header


def _pair(folder: Path, prefix: str) -> Table | None:
    images = _find(folder, prefix, SPELLINGS)
    labels = _find(folder, prefix, [s.replace("images", "labels").replace("idx3", "idx1") for s in SPELLINGS])
    if images is None and labels is None:
        return None
    if images is None or labels is None:
        missing = "images-idx3" if images is None else "labels-idx1"
        raise DataError(f"{folder}: no {prefix}-{missing}-ubyte beside {labels or images}; add it, gzip or plain")
    place, x, y = _place(images, labels), _open(images), _open(labels)
    check_shapes(x, y, place)
    rows, picture = _rows(x)
    return from_arrays(rows, y.read(), place, picture)


def _find(folder: Path, prefix: str, spellings: Sequence[str]) -> Path | None:
    candidates = (folder / f"{prefix}{spelling}{suffix}" for spelling in spellings for suffix in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _place(images: Path, labels: Path) -> Place:
    def place(row: int | None, column: int | None) -> str:
        at = "" if row is None else f": row {row}"
        return f"{labels}{at}" if column is None else f"{images}{at}" + (f", column {column}" if at else "")

    return place


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}; fetch the file again") from None
