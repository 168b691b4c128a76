"""NPZ files: arrays `X` (rows, features...) and `y` (rows,), and optionally `X_test` and `y_test`. Never a pickle."""

from pathlib import Path

from distill.data.table import Source, Table, from_arrays
from distill.errors import DataError
from distill.nn.vector import Array
from distill.store import read_npz


def read(path: Path) -> Source:
    """The arrays of one file; `y` may be absent where only predictions are wanted."""
    arrays = read_npz(path)
    if "X" not in arrays:
        raise DataError(f"{path}: no array 'X'; holds {', '.join(arrays) or 'none'}, must hold X (and y)")
    if ("X_test" in arrays) != ("y_test" in arrays):
        raise DataError(f"{path}: X_test and y_test must come together; add the other, or remove it")
    return Source(_table(path, arrays, ""), _table(path, arrays, "_test") if "X_test" in arrays else None)


def _table(path: Path, arrays: dict[str, Array], suffix: str) -> Table:
    x, y = f"X{suffix}", f"y{suffix}"

    def place(row: int | None, column: int | None) -> str:
        if row is None:
            return f"{path}: {y if column is None else x}"
        return f"{path}: {y}[{row}]" if column is None else f"{path}: {x}[{row}, {column}]"

    return from_arrays(arrays[x], arrays.get(y), place)
