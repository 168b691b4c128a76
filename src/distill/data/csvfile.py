"""CSV files: with or without a header, any of three delimiters, quoted fields, an empty field for a missing number."""

import csv
import io
import math
import re
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import chain
from pathlib import Path

import numpy as np

from distill.config import DataPlan
from distill.data.columns import column_notes, like_labels
from distill.data.labels import Labels, label_fault, label_notes, listing, mark_unlabelled, normal, read_labels, whole
from distill.data.table import Source, Table
from distill.errors import DataError
from distill.nn.vector import Array
from distill.store import gunzip

PLAIN_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
NO_NUMBER = re.compile(r"[-+]?(?:nan|inf|infinity)", re.IGNORECASE)
BLOCK_ROWS = 4096  # rows turned into numbers at a time


@dataclass(frozen=True)
class Sheet:
    """A CSV file's fields: the header if it has one, the rows, and the line on which each row ends."""

    name: str
    header: tuple[str, ...] | None
    rows: list[list[str]]
    lines: list[int]
    plain: bool  # nothing in the file can look like a number to Python but not to a reader

    @property
    def width(self) -> int:
        return len(self.rows[0])

    def place(self, row: int | None, column: int) -> str:
        named = f" ({self.header[column]!r})" if self.header else ""
        at = "" if row is None else f"line {self.lines[row]}, "
        return f"{self.name}: {at}column {column}{named}"


def read(path: Path, plan: DataPlan, learned: Table | None = None) -> Source:
    """Rows and labels; without `data.label` the last column holds it, or in a test set for rows that are `learned` from
    the one of that name. A file to learn from must have labels that can be classes, and is looked through for columns
    that may be no features."""
    sheet = read_sheet(path, plan.header)
    if sheet.width < 2:
        raise DataError(
            f"{sheet.name}: only one column; must hold a label and at least one feature, separated by , or ;"
        )
    last = learned.label if learned and learned.label in (sheet.header or ()) else -1
    column = label_column(sheet, last if plan.label is None else plan.label)
    dropped = dropped_columns(sheet, plan.drop or (), column, strict=learned is None)
    features = [i for i in range(sheet.width) if i != column and i not in dropped]
    place = sheet.place(None, column)

    def settle(labels: Labels) -> Labels:
        known = mark_unlabelled(labels, plan.unlabelled_label, place, negative=False)
        if learned is not None:
            return replace(known, notes=labels.notes)
        if fault := label_fault(known):
            raise DataError(f"{place}: {fault}; {_advice(sheet, {column, *dropped})}")
        return replace(known, notes=known.notes + label_notes(known, place))

    rows = replace(table(sheet, features, column, settle), dropped=dropped)
    odd = column_notes(rows, features) if learned is None else ()
    return Source(replace(rows, notes=rows.notes + odd))


def read_sheet(
    path: Path, header: bool | str, names: Collection[str] = (), same: Callable[[str], str] = normal
) -> Sheet:
    """The file's fields. With `header` auto, the first row is one when it holds all of `names`, each as `same` makes
    it, or has a text where the second row has a number."""
    text = _text(path)
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, lines = [], []
    try:
        for row in reader:
            if row:
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}; check the quotes") from None
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(rows[0]):
            raise DataError(
                f"{path}: line {line}: {len(row)} fields, but line {lines[0]} has {len(rows[0])}; make them alike"
            )
    if header == "auto":
        named = bool(names and rows) and set(map(same, names)) <= set(map(same, rows[0]))
        header = named or _looks_like_header(rows)
    titles = tuple(map(normal, rows[0])) if header and rows else None
    if titles:
        top, rows, lines = lines[0], rows[1:], lines[1:]
        if twice := [name for name in titles if titles.count(name) > 1]:
            raise DataError(f"{path}: line {top}: the column name {twice[0]!r} stands twice; give every column its own")
    if not rows:
        raise DataError(f"{path}: no rows; must hold at least one" + (" under the header" if titles else ""))
    return Sheet(str(path), titles, rows, lines, text.isascii() and "_" not in text)


def label_column(sheet: Sheet, label: int | str) -> int:
    """The index of the label's column, given by name or by index (from 0; negative ones count from the end)."""
    return _column(sheet, label, "data.label")


def dropped_columns(sheet: Sheet, drop: Sequence[int | str], label: int, *, strict: bool = True) -> tuple[int, ...]:
    """The indexes of the columns that data.drop names, in ascending order; unless `strict`, names that the file lacks
    are passed over. Raises DataError for the label, and where no feature is left."""
    places = {name: i for i, name in enumerate(sheet.header or ())}
    named = [places.get(normal(one), one) if isinstance(one, str) else one for one in drop]
    here = [one for one in named if strict or not isinstance(one, str)]
    dropped = sorted({_column(sheet, one, "data.drop") for one in here})
    if label in dropped:
        raise DataError(
            f"{sheet.place(None, label)}: data.drop names the label; leave it, or set data.label to another"
        )
    if len(dropped) > sheet.width - 2:
        raise DataError(f"{sheet.name}: data.drop leaves no feature of {sheet.width} columns; leave at least one")
    return tuple(dropped)


def _column(sheet: Sheet, which: int | str, key: str) -> int:
    """The index of the column that a key names."""
    if isinstance(which, str):
        if sheet.header is None:
            raise DataError(
                f"{sheet.name}: {key} names {which!r}, but there is no header; give an index, or header: true"
            )
        if (name := normal(which)) not in sheet.header:
            near = get_close_matches(name, sheet.header, 3)
            known = f"did you mean {' or '.join(map(repr, near))}? The" if near else "the"
            what = f"no column {which!r}" + ("" if key == "data.label" else f", which {key} names")
            raise DataError(f"{sheet.name}: {what}; {known} columns are {listing(sheet.header)}")
        return sheet.header.index(name)
    if not -sheet.width <= which < sheet.width:
        raise DataError(f"{sheet.name}: {key} is {which}, but there are {sheet.width} columns (0 to {sheet.width - 1})")
    return which % sheet.width


def _advice(sheet: Sheet, but: Collection[int]) -> str:
    """Which of the other columns look like a label, and how to choose one."""
    header = sheet.header
    others = ((i, header[i] if header else None, _fields(sheet, i)) for i in range(sheet.width) if i not in but)
    likely = like_labels(others)[:4]
    if not likely:
        return "no other column looks like a label; name the right one with data.label"
    named = [f"column {i}{f' ({header[i]!r})' if header else ''}, {count} values" for i, count in likely]
    first = likely[0][0]
    key = header[first] if header and whole(header[first]) is None and header[first].isidentifier() else first
    more = f" (or {'; '.join(named[1:])})" if named[1:] else ""
    return f"what looks like one is {named[0]}{more}: set data.label: {key}"


def table(
    sheet: Sheet, features: list[int], label: int | None, settle: Callable[[Labels], Labels] = lambda labels: labels
) -> Table:
    """Numbers from the feature columns, and labels, which `settle` may judge before a text among the numbers does."""
    known = None if label is None else settle(_labels(sheet, label))
    blocks = range(0, len(sheet.rows), BLOCK_ROWS)
    x = np.concatenate([_numbers(sheet, features, start) for start in blocks])
    header = sheet.header

    def place(row: int | None, column: int | None) -> str:
        return sheet.place(row, features[column] if column is not None else label or 0)

    return Table(
        x,
        None if known is None else known.y,
        place,
        names=tuple(header[i] for i in features) if header else None,
        label=header[label] if header and label is not None else label,
        labelled=None if known is None else known.labelled,
        notes=() if known is None else known.notes,
    )


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gunzip(path, raw)
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        byte = error.object[error.start]
        raise DataError(f"{path}: line {line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _looks_like_header(rows: list[list[str]]) -> bool:
    def is_number(field: str) -> bool:
        return bool(PLAIN_NUMBER.fullmatch(field.strip()))

    return len(rows) > 1 and any(
        above.strip() and not is_number(above) and is_number(below)
        for above, below in zip(rows[0], rows[1], strict=True)
    )


def _numbers(sheet: Sheet, features: list[int], start: int) -> Array:
    rows = sheet.rows[start : start + BLOCK_ROWS]
    shape = len(rows), len(features)
    if sheet.plain:
        fields = chain.from_iterable([row[i] for i in features] for row in rows)
        try:
            x = np.fromiter(map(float, fields), np.float64, shape[0] * shape[1]).reshape(shape)
        except ValueError:
            pass  # a missing field, or a fault to be named below
        else:
            if np.isfinite(x).all():
                return x
    return np.array([[_number(sheet, start + r, i) for i in features] for r in range(len(rows))], np.float64)


def _number(sheet: Sheet, row: int, column: int) -> float:
    field = sheet.rows[row][column].strip()
    if not field:
        return math.nan
    if PLAIN_NUMBER.fullmatch(field):
        if math.isfinite(value := float(field)):
            return value
    elif not NO_NUMBER.fullmatch(field):
        raise DataError(
            f"{sheet.place(row, column)}: {field[:60]!r} is a text in a numeric column; "
            "write a number, or leave the field empty where it is missing"
            + (" (if this line is a header, set data.header: true)" if row == 0 and sheet.header is None else "")
        )
    raise DataError(
        f"{sheet.place(row, column)}: {field[:60]} is NaN or infinite; leave the field empty where it is missing"
    )


def _labels(sheet: Sheet, column: int) -> Labels:
    """The labels of all rows."""
    return read_labels(np.array(_fields(sheet, column)), sheet.place(None, column))


def _fields(sheet: Sheet, column: int) -> list[str]:
    return [row[column] for row in sheet.rows]
