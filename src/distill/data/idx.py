"""IDX files, the format of MNIST (LeCun et al. 1998): a folder of images and labels, gzip or plain."""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from distill.data.ondisk import DiskArray
from distill.data.table import Place, Source, Table, from_arrays
from distill.errors import DataError
from distill.foreign import GZIP, foreign
from distill.nn.vector import Array

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
LONGEST_HEADER = 4 + 4 * 32
SPELLINGS = ("-images-idx3-ubyte", "-images.idx3-ubyte")


def read(path: Path) -> Source:
    """A folder of files named as MNIST's, or a single file of images without labels."""
    if path.is_file():
        images, picture = _images(path)
        return Source(from_arrays(images, None, _place(path, path), picture))
    rows, test = _pair(path, "train"), _pair(path, "t10k")
    if rows is None:
        raise DataError(f"{path}: no file train{SPELLINGS[0]} or train{SPELLINGS[0]}.gz; name the files as MNIST does")
    return Source(rows, test)


def read_idx(path: Path) -> Array:
    """One IDX file: two zero bytes, a type, the number of dimensions, the dimensions, the numbers."""
    raw = _bytes(path)
    dtype, shape, header = _header(path, raw[:LONGEST_HEADER], len(raw))
    return np.frombuffer(raw, dtype, offset=header).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _images(path: Path) -> tuple[Array | DiskArray, tuple[int, ...] | None]:
    """A file of images, left on disk unless it is compressed; and the shape of a row that is a picture."""
    with _readable(path), path.open("rb") as file:
        start, size = file.read(LONGEST_HEADER), path.stat().st_size
    if start[:2] == GZIP:
        return read_idx(path), None
    dtype, shape, header = _header(path, start, size)
    if len(shape) < 2 or not math.prod(shape):
        return read_idx(path), None
    return DiskArray(path, dtype, shape, header), shape[1:] if len(shape) == 3 else None


def _header(path: Path, raw: bytes, size: int) -> tuple["np.dtype[np.generic]", tuple[int, ...], int]:
    if what := foreign(raw, path.name):
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
    if size != expected:
        raise DataError(f"{path}: its header promises {expected:,} bytes, but it has {size:,}; fetch the file again")
    return dtype, shape, header


def _pair(folder: Path, prefix: str) -> Table | None:
    images = _find(folder, prefix, SPELLINGS)
    labels = _find(folder, prefix, [s.replace("images", "labels").replace("idx3", "idx1") for s in SPELLINGS])
    if images is None and labels is None:
        return None
    if images is None or labels is None:
        missing = "images-idx3" if images is None else "labels-idx1"
        raise DataError(f"{folder}: no {prefix}-{missing}-ubyte beside {labels or images}; add it, gzip or plain")
    rows, picture = _images(images)
    return from_arrays(rows, read_idx(labels), _place(images, labels), picture)


def _find(folder: Path, prefix: str, spellings: Sequence[str]) -> Path | None:
    candidates = (folder / f"{prefix}{spelling}{suffix}" for spelling in spellings for suffix in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _place(images: Path, labels: Path) -> Place:
    def place(row: int | None, column: int | None) -> str:
        at = "" if row is None else f": row {row}"
        return f"{labels}{at}" if column is None else f"{images}{at}" + (f", column {column}" if at else "")

    return place


def _bytes(path: Path) -> bytes:
    with _readable(path):
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == GZIP else raw


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}; fetch the file again") from None
