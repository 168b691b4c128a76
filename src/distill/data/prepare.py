"""Rows of a table -> rows as networks take them: scaled and checked, with notes on what looks odd."""

import numpy as np

from distill.data.ondisk import DiskArray, DiskRows
from distill.data.rows import Rows
from distill.data.scaling import FAR, TAILED_BOUND, Scaling, blocks
from distill.data.table import Table
from distill.errors import DataError
from distill.nn.vector import Array

LARGE, FEW = 100.0, 10  # larger scaled values, and columns with fewer values, are worth a note


def count_present(table: Table, rows: Array) -> Array:  # -> (D,)
    """How many of these rows have a value, column by column; rows on disk always have one."""
    present = np.full(table.x.shape[1], len(rows))
    if isinstance(table.x, np.ndarray) and table.x.dtype.kind == "f":
        for some in blocks(len(rows), table.x.shape[1]):
            present -= np.isnan(table.x[rows[some]]).sum(axis=0)
    return present


def check_scaling(scaling: Scaling, rows: Table) -> None:
    finite = np.isfinite([scaling.offset, scaling.factor, scaling.fill]).all(axis=0)
    if len(large := np.flatnonzero(~finite)):
        what = "numbers too large to scale; divide them by a constant"
        raise DataError(f"{file_of(rows)}: {column_list(rows, large)}: {what}")


def scaling_notes(asked: str, scaling: Scaling, rows: Table, training: Array, present: Array) -> tuple[str, ...]:
    """What came of the scaling that the plan asks for; `present` are the values among all rows that are used."""
    empty, few = count_present(rows, training) == 0, present < min(FEW, present.max())
    large = np.greater(scaling.reach, LARGE) & (asked != "auto")
    medians = f"divides by the typical distance from the median, and takes logarithms beyond {TAILED_BOUND:g}"
    notes = {
        "no value among the training rows; counts as 0": empty,
        f"fewer than {FEW} values; counts as 0 under a seed whose training rows have none": few & ~empty,
        f"mostly one value, or some far out; data.scale: auto {medians}": scaling.tailed,
        f"scaled values of up to {np.max(scaling.reach):,.0f}; data.scale: auto would bound them": large,
    }
    told = [f"{column_list(rows, np.flatnonzero(here))}: {what}" for what, here in notes.items() if here.any()]
    if asked == "auto" and scaling.kind == "pixels" and rows.picture is None:
        told.append("bytes are taken for pixels, of one scale; data.scale: standard gives each feature its own")
    return tuple(told)


def far_notes(what: str, scaling: Scaling, rows: Table) -> tuple[str, ...]:
    """What lies far outside of what the training rows hold."""
    counts = scaling.far(rows.x)
    columns, count = np.flatnonzero(counts), int(counts.sum())
    values = f"{count:,} value{'s' if count > 1 else ''} more than {FAR:g} times as far out as any training value"
    return (f"{what}: {column_list(rows, columns)}: {values}; check the unit",) if count else ()


def file_of(rows: Table) -> str:
    return rows.place(None, 0).partition(": ")[0]


def column_list(rows: Table, columns: Array, most: int = 5) -> str:
    """Columns as their file counts and names them, and how many more there are."""
    places = [(rows.place(None, number), number) for number in columns[:most].tolist()]
    shown = [place.partition(": column ")[2] or str(number) for place, number in places]
    more = f" and {len(columns) - most:,} more" if len(columns) > most else ""
    return f"column{'s' if len(columns) > 1 else ''} {', '.join(shown)}{more}"


def ready_rows(scaling: Scaling, table: Table, used: Array, y: Array) -> Rows:
    """The used rows of a table, in ascending order; y (N,) covers all of its rows."""
    labels = y[used].astype(np.int64)
    if isinstance(table.x, DiskArray):
        return Rows(DiskRows(table.x, used, scaling, table.place), labels, used)
    return Rows(scaled_rows(scaling, table, used), labels, used)


def scaled_rows(scaling: Scaling, table: Table, used: Array) -> Array:
    scaled = np.empty((len(used), table.x.shape[1]), np.float32)
    for some in blocks(*scaled.shape):
        scaled[some] = scaling.apply(table.x[used[some]])
    if not np.isfinite(scaled).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(scaled))[0])
        place, value = table.place(int(used[row]), column), table.x[used[row], column]
        raise DataError(f"{place}: {value:g} is too large for float32 with scale {scaling.kind}; remove or replace it")
    return scaled
