"""Columns of a CSV that may give the answer away, or say nothing, and columns that look like a label.

Every column is learned from unless data.drop names it; what looks odd is a note.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from distill.data.labels import cut, normal, quoted, spelled, whole
from distill.data.scaling import blocks
from distill.data.table import Table
from distill.nn.vector import Array

ID_NAME = re.compile(r"(?:.*[ _.-])?(?:id|idx|index|row|row[ _]?(?:id|nr|no|num|number|names?)|nr|no|#)|unnamed:.*")
LABEL_NAMES = ("label", "class", "target", "y", "species", "labels", "classes", "category", "type", "outcome", "kind")
LEAST_ROWS = 10  # among fewer, a feature may equal the label by chance
LEAST_NUMBERED, GAPS = 20, 1.5  # rows that a column without a telling name may number, and its range for each of them
SURE_NAMES = ("label", "class", "target", "species")  # of a label, whatever the file
ROWS_PER_VALUE, LARGEST = 5, 1000  # of a column that looks like a label; whole numbers beyond are measurements
SAMPLE, SHOWN = 1000, 5


def column_notes(table: Table, columns: Sequence[int]) -> tuple[str, ...]:
    """Sentences about the features of a table, which stand in these columns of its file, that may be no features."""
    x = np.asarray(table.x)
    reasons: dict[int, list[str]] = {}
    lowest, highest = np.fmin.reduce(x, axis=0), np.fmax.reduce(x, axis=0)
    with np.errstate(over="ignore"):
        span = highest - lowest + 1
    dense = (span >= len(x)) & (span < GAPS * len(x)) & (len(x) >= LEAST_NUMBERED)
    count_rows = np.isin(x[0], (0, 1)) & (x[-1] == x[0] + len(x) - 1) & (len(x) > 2)  # as far as the ends say
    for k in range(len(columns)):
        name = None if table.names is None else table.names[k]
        if name == "":
            reasons.setdefault(k, []).append("has no name")
        if name is not None and normal(name).casefold() in SURE_NAMES:
            reasons.setdefault(k, []).append(f"is called {cut(name)}")
        if count_rows[k] and (x[:, k] == x[0, k] + np.arange(len(x))).all():
            reasons.setdefault(k, []).append("counts the rows")
        elif (dense[k] or (name is not None and _is_id(name))) and _numbers_rows(x[:, k]):
            reasons.setdefault(k, []).append("numbers the rows")
    for k in equal_to_label(table):
        reasons.setdefault(k, []).append("equals the label, one to one")
    lines = []
    for k, whys in sorted(reasons.items()):
        what = f"{table.place(None, k)} {' and '.join(whys)}, and is learned from"
        lines.append(f"{what}; to leave it out set data.drop: [{columns[k]}]")
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"{len(lines) - SHOWN} further columns are as odd; see data.drop"]
    constant = np.flatnonzero(lowest == highest).tolist()
    if constant and len(x) > 1:
        names = [_named(table, k, columns[k]) for k in constant[:SHOWN]]
        more = ", ..." if len(constant) > SHOWN else ""
        what = f"{len(constant)} constant feature{'s' if len(constant) > 1 else ''}: {', '.join(names)}{more}"
        drop = "data.drop" if more else f"data.drop: {[columns[k] for k in constant]}"
        lines.append(f"{what}; to leave {'them' if len(constant) > 1 else 'it'} out set {drop}")
    return tuple(lines)


def _named(table: Table, feature: int, column: int) -> str:
    """A column by its name, or by its index where that tells nothing, or is a number and may be taken for one."""
    name = "" if table.names is None else table.names[feature]
    if name and whole(name) is None:
        return str(cut(name))
    return f"column {column}" + ("" if table.names is None else f" ({quoted(name)})")


def equal_to_label(table: Table) -> list[int]:
    """The features of a table in memory that have one value in each class, another in each, where they have any."""
    if not isinstance(x := table.x, np.ndarray) or table.y is None:
        return []
    rows = np.arange(len(x)) if table.labelled is None else np.flatnonzero(table.labelled)
    if len(rows) < LEAST_ROWS:
        return []
    _, y = np.unique(table.y[rows], return_inverse=True)
    some = np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).astype(np.int64)
    equal: list[int] = []
    for part in blocks(x.shape[1], len(some)):
        likely = part.start + np.flatnonzero(_one_value_each(x[rows[some], part], y[some]))
        held = [k for k in likely.tolist() if np.isfinite(x[rows, k]).sum() >= LEAST_ROWS]
        equal += [k for k in held if _one_value_each(x[rows, k : k + 1], y).all()]
    return equal


def _one_value_each(x: Array, y: Array) -> Array:  # -> (D,)
    """Which columns of x (N,D) have one value in each class of y (N,), and different ones, in some rows of two."""
    by_class = np.argsort(y, kind="stable")
    starts = np.flatnonzero(np.diff(y[by_class], prepend=-1))
    lowest, highest = (reduce.reduceat(x[by_class], starts, axis=0) for reduce in (np.fmin, np.fmax))
    values = np.sort(lowest, axis=0)  # a class without a value, NaN, comes last
    held = (values == values).sum(axis=0)
    alike = ((lowest == highest) | (lowest != lowest)).all(axis=0)
    equal: Array = alike & (values[1:] != values[:-1]).all(axis=0) & (held > 1)
    return equal


def is_label_name(name: str) -> bool:
    """Whether a column of this name is likely to be the label."""
    return normal(name).casefold() in LABEL_NAMES


def like_labels(columns: Iterable[tuple[int, str | None, Sequence[str]]]) -> list[tuple[int, int]]:
    """Those of the columns (index, name, fields) that look like a label, and their number of values; likeliest first.

    A label has few values, several rows each: texts, or small whole numbers.
    """
    likely = []
    for i, name, fields in columns:
        most = max(2, len(fields) // ROWS_PER_VALUE)
        if len(set(fields[: most + 1])) > most or not all(map(_of_a_label, fields[:SHOWN])):
            continue
        values = {spelled(field) for field in set(fields)} - {""}
        if 2 <= len(values) <= most and all(map(_of_a_label, values)):
            named = normal(name or "").casefold()
            rank = LABEL_NAMES.index(named) if named in LABEL_NAMES else len(LABEL_NAMES)
            likely.append((rank, i > 0, len(values), i))
    return [(i, count) for _, _, count, i in sorted(likely)]


def _of_a_label(field: str) -> bool:
    text = spelled(field)
    number = whole(text)
    if number is not None:
        return abs(number) <= LARGEST
    try:
        float(text or "x")
    except ValueError:
        return True
    return False


def _is_id(name: str) -> bool:
    return not name or ID_NAME.fullmatch(name.casefold()) is not None


def _numbers_rows(column: Array) -> bool:
    """Whether every row has a whole number that no other has."""
    if len(column) < 3 or not np.isfinite(column).all() or (column % 1).any():
        return False
    return len(np.unique(column)) == len(column)
