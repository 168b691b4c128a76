"""NPY files: a folder with X.npy (rows, features...) and y.npy (rows,), and perhaps X_test.npy and y_test.npy.

The rows stay on disk until they are asked for. A single .npy file is rows without labels.
"""

import math
from pathlib import Path

from distill.data.ondisk import DiskArray
from distill.data.table import Source, Table, check_shapes, from_arrays
from distill.errors import DataError
from distill.system.arrays import read_npy, read_npy_header


def read(path: Path, megabytes: float = math.inf) -> Source:
    """The arrays of a folder, or of one file. Features that are written column by column cannot stay on disk, and must
    take no more than so many megabytes as a network takes them."""
    if path.is_file():
        return Source(_table(path, None, megabytes))
    test = [(path / f"{name}_test.npy").is_file() for name in "Xy"]
    if any(test) and not all(test):
        raise DataError(f"{path}: X_test.npy and y_test.npy must come together; add the other, or remove it")
    y = path / "y.npy"
    rows = _table(path / "X.npy", y if y.is_file() else None, megabytes)
    return Source(rows, _table(path / "X_test.npy", path / "y_test.npy", megabytes) if all(test) else None)


def _table(x: Path, y: Path | None, megabytes: float) -> Table:
    def place(row: int | None, column: int | None) -> str:
        path = y if column is None and y else x
        return f"{path}" if row is None else f"{path}: [{row}]" if column is None else f"{path}: [{row}, {column}]"

    header = read_npy_header(x)
    check_shapes(header, None if y is None else read_npy_header(y), place)
    labels = None if y is None else read_npy(y)
    if not header.by_columns:
        picture = header.shape[1:] if len(header.shape) == 3 else None
        return from_arrays(DiskArray(x, header.dtype, header.shape, header.offset), labels, place, picture)
    if 4 * math.prod(header.shape) > megabytes * 1_000_000:
        what = f"written column by column, and larger than data.in_memory_mb ({megabytes:g})"
        raise DataError(f"{x}: {what}; raise that, or write it with numpy.save(..., numpy.ascontiguousarray(X))")
    return from_arrays(read_npy(x), labels, place)
