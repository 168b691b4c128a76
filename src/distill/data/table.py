"""What every kind of file is read into, and the checks that hold for all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.environment import variable
from distill.errors import DataError
from distill.nn.vector import Array


@dataclass(frozen=True)
class Table:
    """Rows as a file holds them: nothing scaled, nothing split.

    x: (N,D) numbers, NaN where a CSV field is empty; y: (N,) labels, or None; names: the D features' names, where the
    file has them; place: (row, column or None) -> where that value stands, for messages.
    """

    x: Array
    y: Array | None
    names: tuple[str, ...] | None
    place: Callable[[int, int | None], str]


@dataclass(frozen=True)
class Source:
    """What a path held: rows to learn from, and perhaps a test set of its own."""

    rows: Table
    test: Table | None = None


def locate(path: str) -> Path:
    """A path as given; a relative one that the working directory lacks is looked up in the data folder too."""
    here, folder = Path(path), Path(variable("DISTILL_DATA", "../shared/data"))
    if here.exists():
        return here
    if not here.is_absolute() and (folder / here).exists():
        return folder / here
    looked = "" if here.is_absolute() else f" in {Path.cwd()} or in the data folder {folder}"
    raise DataError(f"{path}: no such file or folder{looked}; check the path, or set DISTILL_DATA")


def from_arrays(x: Array, y: Array | None, place: Callable[[int, int | None], str]) -> Table:
    """Check arrays as any program may write them: numbers in rows, one label each, nothing missing."""
    if x.dtype.kind not in "fiub" or x.ndim < 2 or not x.size:
        raise DataError(f"{place(0, None)}: features of {x.dtype} {x.shape}; must be numbers of shape (rows, features)")
    x = x.reshape(len(x), -1)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise DataError(f"{place(row, column)}: {x[row, column]} is no number to learn from; remove or replace it")
    if y is not None:
        if y.dtype.kind not in "iubfUS" or y.ndim != 1:
            raise DataError(f"{place(0, None)}: labels of {y.dtype} {y.shape}; must be numbers or texts, shape (rows,)")
        if len(y) != len(x):
            raise DataError(f"{place(0, None)}: {len(x)} rows of features, but {len(y)} labels; must be as many")
        if y.dtype.kind == "f" and not np.isfinite(y).all():
            row = int(np.flatnonzero(~np.isfinite(y))[0])
            raise DataError(f"{place(row, None)}: the label is {y[row]}; give every row a label")
        if y.dtype.kind == "S":
            y = np.char.decode(y, "utf-8", "replace")
    return Table(x, y, None, place)
