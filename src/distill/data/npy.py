"""NPY files: a folder with X.npy (rows, features...) and y.npy (rows,), and perhaps X_test.npy and y_test.npy.

The rows stay on disk until they are asked for. A single .npy file is rows without labels.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from distill.data.ondisk import DiskArray
from distill.data.table import Source, Table, from_arrays
from distill.errors import DataError
from distill.foreign import NPY, refuse_foreign


def read(path: Path) -> Source:
    """The arrays of a folder, or of one file."""
    if path.is_file():
        return Source(_table(path, None))
    test = [(path / f"{name}_test.npy").is_file() for name in "Xy"]
    if any(test) and not all(test):
        raise DataError(f"{path}: X_test.npy and y_test.npy must come together; add the other, or remove it")
    y = path / "y.npy"
    rows = _table(path / "X.npy", y if y.is_file() else None)
    return Source(rows, _table(path / "X_test.npy", path / "y_test.npy") if all(test) else None)


def _table(x: Path, y: Path | None) -> Table:
    def place(row: int | None, column: int | None) -> str:
        path = y if column is None and y else x
        return f"{path}" if row is None else f"{path}: [{row}]" if column is None else f"{path}: [{row}, {column}]"

    header = load(x, "r")
    if header.ndim < 2 or header.dtype.kind not in "fiub":
        return from_arrays(np.empty(header.shape, header.dtype) if header.size == 0 else header, None, place)
    if not header.flags.c_contiguous:
        raise DataError(f"{x}: written column by column; write it with numpy.save(..., numpy.ascontiguousarray(X))")
    picture = header.shape[1:] if header.ndim == 3 else None
    array = DiskArray(x, header.dtype, header.shape, header.offset) if header.size else header
    return from_arrays(array, None if y is None else load(y, None), place, picture)


def load(path: Path, mode: Literal["r"] | None) -> Any:
    """The array of a file, or with mode "r" one that only knows its header until it is read."""
    refuse_foreign(path, NPY)  # before NumPy opens an archive that it does not close
    try:
        if mode is None:
            with path.open("rb") as file:  # np.load leaves a file open that it finds torn
                array = np.load(file, allow_pickle=False)
        else:
            array = np.load(path, mmap_mode=mode, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            array.close()
            raise ValueError("it is an .npz archive")
        return array
    except Exception as error:  # a torn or hostile file leads NumPy to errors of every kind
        reason = str(error) or type(error).__name__
        if "pickle" in reason or "object" in reason.lower():
            reason = "it holds Python objects, which are never loaded, or is no NPY file"
        raise DataError(f"{path}: cannot be read as .npy: {reason}; write it with numpy.save") from None
