"""NPZ files: arrays `X` (rows, features...) and `y` (rows,), and optionally `X_test` and `y_test`. Never a pickle."""

import math
from collections.abc import Callable
from pathlib import Path

from distill.data.labels import listing
from distill.data.table import Declared, Place, Source, check_shapes, from_arrays
from distill.errors import DataError
from distill.system.arrays import open_npz


def read(path: Path, check: Callable[[Declared, Declared | None], None] = lambda x, y: None) -> Source:
    """The arrays of one file; `y` may be absent where only predictions are wanted. What is not needed is not read, and
    nothing is before `check` has seen types and shapes of each set's rows and labels."""
    with open_npz(path) as file:
        if "X" not in file.names:
            raise DataError(f"{path}: no array 'X'; holds {listing(file.names) or 'none'}, must hold X (and y)")
        if ("X_test" in file.names) != ("y_test" in file.names):
            raise DataError(f"{path}: X_test and y_test must come together; add the other, or remove it")
        sets = {"X": "y"} | ({"X_test": "y_test"} if "X_test" in file.names else {})
        headers = file.headers([name for pair in sets.items() for name in pair if name in file.names])
        for x, y in sets.items():
            check_shapes(headers[x], headers.get(y), _place(path, x, y))
            check(headers[x], headers.get(y))
        widths = [math.prod(headers[x].shape[1:]) for x in sets]
        if len(set(widths)) > 1:
            raise DataError(f"{path}: X has {widths[0]} features, X_test has {widths[1]}; make them alike")
        arrays = file.read(headers)
    rows, test = (
        from_arrays(arrays[x], arrays.get(y), _place(path, x, y)) if x in arrays else None
        for x, y in (("X", "y"), ("X_test", "y_test"))
    )
    assert rows is not None
    return Source(rows, test)


def _place(path: Path, x: str, y: str) -> Place:
    def place(row: int | None, column: int | None) -> str:
        if row is None:
            return f"{path}: {y if column is None else x}"
        return f"{path}: {y}[{row}]" if column is None else f"{path}: {x}[{row}, {column}]"

    return place
