"""What every kind of file is read into, and the checks that hold for all of them."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from distill.data.labels import Labels, listing, quoted, read_labels
from distill.data.ondisk import DiskArray
from distill.data.scaling import blocks
from distill.errors import DataError
from distill.nn.vector import Array
from distill.system.environment import expand_home, variable

STDIN = Path("/dev/stdin")  # where `-` leads

# (row, column) -> where that value stands, for messages. No row: the whole column; no column: the labels.
Place = Callable[[int | None, int | None], str]


@dataclass(frozen=True)
class Table:
    """Rows as a file holds them: nothing scaled, nothing split.

    x: (N,D) numbers, NaN where a CSV field is empty, or a file that holds them; y: (N,) labels, or None; names: the D
    features' names and label: the label's column (by name where there is a header), where the file has them; labelled:
    (N,) whether y holds a label, None where all rows have one; picture: (height, width) of a row that is one; notes:
    what was guessed, or changed, while the file was read; dropped: the columns of a CSV that were left out, from 0.
    """

    x: Array | DiskArray
    y: Array | None
    place: Place
    names: tuple[str, ...] | None = None
    label: int | str | None = None
    labelled: Array | None = None
    picture: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    dropped: tuple[int, ...] = ()


class Declared(Protocol):
    """An array, or what is known of one before it is read."""

    @property
    def dtype(self) -> Any:
        """Of its numbers."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first."""


@dataclass(frozen=True)
class Source:
    """What a path held: rows to learn from, and perhaps a test set of its own."""

    rows: Table
    test: Table | None = None


def locate(path: str) -> Path:
    """A path as given; a relative one that the working directory lacks is looked up in the data folder too. `-` is what
    is piped in."""
    if path == "-":
        return STDIN
    here, folder = Path(path), Path(expand_home(variable("DISTILL_DATA", "../shared/data")))
    if os.path.exists(path):  # noqa: PTH110  unlike Path.exists, it takes 'file/' and impossible names for what they are
        return here
    if not here.is_absolute() and os.path.exists(os.path.join(folder, path)):  # noqa: PTH110, PTH118
        return folder / here
    looked = "" if here.is_absolute() else f" in {Path.cwd()} or in the data folder {folder}"
    raise DataError(f"{path}: no such file or folder{looked}; check the path, or set DISTILL_DATA")


def called(path: Path | str) -> str:
    """A path as messages name it."""
    return "standard input" if path in (STDIN, str(STDIN), "-") else str(path)


def once_only(path: Path) -> bool:
    """Whether what is there can be read only once: a pipe, a terminal, what is piped in."""
    return path == STDIN or (path.exists() and not path.is_file() and not path.is_dir())


def nearest(name: str, names: Sequence[str]) -> str:
    """What to say where none of these is the column of that name: those that come near, and what there is."""
    near = get_close_matches(name, names, 3)
    return (f"did you mean {' or '.join(map(quoted, near))}? The" if near else "the") + f" columns are {listing(names)}"


def check_shapes(x: Declared, y: Declared | None, place: Place) -> None:
    """Raise DataError unless x can be rows of numbers, and y one label for each; both may be unread as yet."""
    if x.dtype.kind not in "fiub" or len(x.shape) < 2 or not math.prod(x.shape):
        raise DataError(f"{place(None, 0)}: {x.dtype} of shape {x.shape}; must be numbers of shape (rows, features)")
    if y is None:
        return
    if y.dtype.kind not in "iubfUS" or len(y.shape) < 1 or math.prod(y.shape[1:]) != 1:
        raise DataError(f"{place(None, None)}: {y.dtype} of shape {y.shape}; must be numbers or texts of shape (rows,)")
    if y.shape[0] != x.shape[0]:
        what = f"{y.shape[0]} labels for {x.shape[0]} rows of features"
        raise DataError(f"{place(None, None)}: {what}; must be as many")


def from_arrays(x: Array | DiskArray, y: Array | None, place: Place, picture: tuple[int, ...] | None = None) -> Table:
    """Check arrays as any program may write them: numbers in rows, one label each, nothing missing."""
    check_shapes(x, y, place)
    if isinstance(x, np.ndarray):
        picture = x.shape[1:] if x.ndim == 3 else None
        x = x.reshape(len(x), -1)
    for some in blocks(len(x) if x.dtype.kind == "f" else 0, x.shape[1]):
        finite = np.isfinite(block := x[some])
        if not finite.all():
            row, column = (int(i) for i in np.argwhere(~finite)[0])
            value = block[row, column]
            raise DataError(
                f"{place(some.start + row, column)}: {value} is no number to learn from; remove or replace it"
            )
    if y is None:
        return Table(x, None, place, picture=picture)
    known = _labels(y.reshape(-1), place)
    return Table(x, known.y, place, picture=picture, notes=known.notes)


def _labels(y: Array, place: Place) -> Labels:
    missing = ~np.isfinite(y) if y.dtype.kind == "f" else np.zeros(len(y), bool)
    if not missing.any():
        known = read_labels(_decoded(y, place) if y.dtype.kind == "S" else y, place(None, None))
        missing = ~known.labelled
    if missing.any():
        row = int(missing.argmax())
        what = f"the label is {quoted(y[row].item())}"
        advice = "give every row a label, or -1 among whole numbers where there is none"
        raise DataError(f"{place(row, None)}: {what}; {advice}")
    return known


def _decoded(y: Array, place: Place) -> Array:
    """Labels of bytes as texts. Raises DataError where they are not UTF-8."""
    try:
        return np.char.decode(y, "utf-8")
    except UnicodeDecodeError as error:
        row = next(i for i, label in enumerate(y.tolist()) if label == error.object)
        what = f"the label {error.object!r} is not UTF-8"
        raise DataError(f"{place(row, None)}: {what}; decode the labels, y = np.char.decode(y, 'latin-1')") from None
