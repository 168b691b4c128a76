"""CSV files: with or without a header, any of three delimiters, quoted fields, an empty field for a missing number."""

import csv
import gzip
import io
import math
import re
import zlib
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from distill.data.table import Source, Table
from distill.errors import DataError
from distill.nn.vector import Array

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


def read(path: Path, label: int | str | None, header: bool | str) -> Source:
    """Rows and labels; without `label` the last column holds it."""
    sheet = read_sheet(path, header)
    if sheet.width < 2:
        raise DataError(
            f"{sheet.name}: only one column; must hold a label and at least one feature, separated by , or ;"
        )
    column = label_column(sheet, -1 if label is None else label)
    return Source(table(sheet, [i for i in range(sheet.width) if i != column], column))


def read_sheet(path: Path, header: bool | str, names: tuple[str, ...] | None = None) -> Sheet:
    """The file's fields. With `header` auto, the first row is one when it holds all of `names`, or has a text where the
    second row has a number."""
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
        named = bool(names and rows) and set(names or ()) <= {field.strip() for field in rows[0]}
        header = named or _looks_like_header(rows)
    titles = tuple(field.strip() for field in rows[0]) if header and rows else None
    if titles:
        top, rows, lines = lines[0], rows[1:], lines[1:]
        if twice := [name for name in titles if titles.count(name) > 1]:
            raise DataError(f"{path}: line {top}: the column name {twice[0]!r} stands twice; give every column its own")
    if not rows:
        raise DataError(f"{path}: no rows; must hold at least one" + (" under the header" if titles else ""))
    return Sheet(str(path), titles, rows, lines, text.isascii() and "_" not in text)


def label_column(sheet: Sheet, label: int | str) -> int:
    """The index of the label's column, given by name or by index (from 0; negative ones count from the end)."""
    if isinstance(label, str):
        if sheet.header is None:
            raise DataError(
                f"{sheet.name}: data.label names {label!r}, but there is no header; give an index, or header: true"
            )
        if label not in sheet.header:
            raise DataError(f"{sheet.name}: no column {label!r}; the columns are {', '.join(sheet.header)}")
        return sheet.header.index(label)
    if not -sheet.width <= label < sheet.width:
        raise DataError(
            f"{sheet.name}: data.label is {label}, but there are {sheet.width} columns (0 to {sheet.width - 1})"
        )
    return label % sheet.width


def table(sheet: Sheet, features: list[int], label: int | None) -> Table:
    """Numbers from the feature columns, texts (or whole numbers) from the label's."""
    blocks = range(0, len(sheet.rows), BLOCK_ROWS)
    x = np.concatenate([_numbers(sheet, features, start) for start in blocks])
    header = sheet.header

    def place(row: int | None, column: int | None) -> str:
        return sheet.place(row, features[column] if column is not None else label or 0)

    y, labelled = (None, None) if label is None else _labels(sheet, label)
    return Table(
        x,
        y,
        place,
        names=tuple(header[i] for i in features) if header else None,
        label=header[label] if header and label is not None else label,
        labelled=labelled,
    )


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
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


def _labels(sheet: Sheet, column: int) -> tuple[Array, Array]:
    """The labels, and which rows have one; whole numbers become numbers, so that they sort as such."""
    labels = np.array([row[column].strip() for row in sheet.rows])
    labelled = labels != ""
    # '03' or '1.0' would not come back the same from a number and stay texts.
    if all(re.fullmatch(r"0|-?[1-9][0-9]{0,17}", label) for label in np.unique(labels[labelled])):
        labels = np.where(labelled, labels, "0").astype(np.int64)
    return labels, labelled
