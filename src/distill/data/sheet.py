"""A CSV file before its rows are numbers: what separates the fields, and whether the first row is a header.

Both are decided by the first rows, and said; where they tell both, the reader is asked.
"""

import csv
import io
import re
import sys
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

from distill.data.labels import MISSING_WORDS, listing, normal, quoted, spelled
from distill.data.table import STDIN, called
from distill.errors import DataError
from distill.system.arrays import gunzip
from distill.system.file_kinds import GZIP, describe_other_kind

SEPARATORS = ",;\t|"
PLAIN_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
COMMA_NUMBER = re.compile(r"[-+]?[0-9]+(?:,[0-9]+)+(?:\.[0-9]*)?")
TRUTH = {"true": 1.0, "false": 0.0}
MISSING = {"", ".", "-", *MISSING_WORDS}  # as programs write it
NO_VALUE = {*MISSING, *(sign + word for sign in ("", "+", "-") for word in ("inf", "infinity"))}
PLAIN_WHOLE = re.compile(r"[-+]?[0-9]+")
BLOCK_FIELDS = 1 << 14  # become numbers at a time
HEAD_ROWS, HEAD_FIELDS = 101, 1 << 17  # looked at before anything is decided, at most
Record = tuple[int, list[str]]  # the line on which a row ends, and its fields


@dataclass(frozen=True)
class Sheet:
    """A CSV file before its rows are numbers: the bytes, what separates the fields, the header if it has one."""

    name: str
    raw: bytes
    separator: str
    width: int
    skip: int  # records above the first row: a line sep=; and the header
    header: tuple[str, ...] | None
    notes: tuple[str, ...]
    planned: bool  # a plan names the file, so that its keys can say how it is read

    @cached_property
    def columns(self) -> dict[str, int]:
        """Name -> index, empty without a header."""
        return {name: i for i, name in enumerate(self.header or ())}

    def place(self, index: int) -> str:
        """A whole column as messages name it."""
        return f"{self.name}: {self.column(index)}"

    def column(self, index: int) -> str:
        """The same without the file."""
        return f"column {index}" + (f" ({quoted(self.header[index])})" if self.header else "")

    def records(self, empty: "array[int] | None" = None) -> Iterator[Record]:
        """The rows below the header; the lines of rows without a value are added to `empty`. Raises DataError."""
        records = _records(self.name, self.raw, self.separator, empty=empty, between=not self.planned)
        return islice(records, self.skip, None)

    def blocks(self, empty: "array[int] | None" = None) -> Iterator[tuple[Sequence[int], Sequence[list[str]]]]:
        """The rows below the header, some at a time and all of the same width, and the lines on which they end."""
        records, most, first = self.records(empty), max(1, BLOCK_FIELDS // self.width), 0
        while block := list(islice(records, most)):
            lines, rows = zip(*block, strict=True)
            first = first or lines[0]
            if {self.width}.symmetric_difference(map(len, rows)):
                line, width = next((line, len(row)) for line, row in block if len(row) != self.width)
                above = "the header has" if self.header else f"line {first} has"
                what = f"{counted(width, 'field')}, but {above} {self.width}"
                raise DataError(f"{self.name}: line {line}: {what}; make them alike")
            yield lines, rows


def read_sheet(
    path: Path,
    header: bool | str,
    names: Collection[str] | None = None,
    label: int | str | None = None,
    width: int | None = None,
    *,
    same: Callable[[str], str] = normal,
    planned: bool = True,
) -> Sheet:
    """What separates a file's fields, and its header, by its first rows. Raises DataError.

    With `header` auto the first row is one where it holds all of `names`, each as `same` makes it, or the name of the
    `label`; else the columns below it decide, and where they tell both, DataError asks. `width` is that of a file with
    a label, where one without is read too; `planned`: the file is one of a plan, whose key data.header can answer.
    """
    raw, name = _bytes(path), called(path)
    separator, top = _separator(raw)
    head = _head(islice(_records(name, raw, separator), top, None))
    if not head:
        raise DataError(f"{name}: no rows; must hold at least one")
    line, first = head[0][0], list(map(normal, head[0][1]))
    sheet = Sheet(name, raw, separator, len(first), top, None, (), planned)
    named = bool(header)
    if header == "auto":
        known = bool(names) and set(map(same, names or ())) <= set(map(same, first))
        named, notes = _decide(sheet, head, label, width, known=known)
        sheet = replace(sheet, notes=notes)
    if not named:
        return sheet
    if twice := [column for column, count in Counter(first).items() if count > 1]:
        raise DataError(
            f"{name}: line {line}: the column name {quoted(twice[0])} stands twice; give every column its own"
        )
    if len(head) == 1:
        raise DataError(f"{name}: no rows; must hold at least one under the header")
    return replace(sheet, skip=top + 1, header=tuple(first))


def _bytes(path: Path) -> bytes:
    """The whole file, unpacked: it is looked at twice, and may be a pipe. Raises DataError."""
    try:
        raw = sys.stdin.buffer.read() if path == STDIN and sys.stdin else path.read_bytes()
        if raw[:2] == GZIP:
            raw = gunzip(called(path), raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{called(path)}: cannot be read: {error}") from None
    if what := describe_other_kind(raw, path.name):
        raise DataError(f"{called(path)}: {what}")
    return raw.removeprefix(b"\xef\xbb\xbf")


def _records(
    name: str,
    raw: bytes,
    separator: str,
    *,
    told: bool = True,
    empty: "array[int] | None" = None,
    between: bool = False,
) -> Iterator[Record]:
    """Every row that holds anything; the lines of those of separators alone, as spreadsheets write them at the end, are
    added to `empty`. With `between`, those between others are rows, as of a file whose rows are predicted one by one. A
    fault ends the rows; it is raised as DataError where it is to be `told`."""
    text = io.TextIOWrapper(io.BytesIO(raw), "utf-8", newline="")
    reader = csv.reader(text, delimiter=separator, strict=True)
    pending: list[Record] = []
    try:
        for row in reader:
            if any(map(str.strip, row)):
                yield from pending
                pending.clear()
                yield reader.line_num, row
            elif len(row) > 1 and between:
                pending.append((reader.line_num, row))
            elif len(row) > 1 and empty is not None:
                empty.append(reader.line_num)
        if empty is not None:
            empty.extend(line for line, _ in pending)
    except csv.Error as error:
        if told:
            raise DataError(f"{name}: line {reader.line_num}: {error}; check the quotes") from None
    except UnicodeDecodeError:
        if told:
            _check_utf8(name, raw)


def _check_utf8(name: str, raw: bytes) -> None:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        what = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        raise DataError(f"{name}: line {line}: {what}; save the file as UTF-8") from None


def _head(records: Iterable[Record]) -> list[Record]:
    """The first records: so many that something can be told from them, and two in any case."""
    head: list[Record] = []
    fields = 0
    for line, row in records:
        head.append((line, row))
        fields += len(row)
        if len(head) == HEAD_ROWS or (fields > HEAD_FIELDS and len(head) > 1):
            break
    return head


def _separator(raw: bytes) -> tuple[str, int]:
    """What separates the fields, and the number of records that only say so (Excel's sep=;).

    It is what cuts the most of the first rows into one and the same number of fields, then what cuts them into the
    most; a comma between digits, which may be a decimal comma, comes last.
    """
    if told := re.match(rb'"?sep=([\x20-\x7e\t])"?\r?\n', raw, re.IGNORECASE):
        return told[1].decode(), 1

    def merit(separator: str) -> tuple[int, int, bool]:
        widths = Counter(len(row) for _, row in _head(_records("", raw, separator, told=False)))
        width, count = widths.most_common(1)[0] if widths else (1, 0)
        return count if width > 1 else 0, width, separator != "," or not re.search(rb"[0-9],[0-9]", raw[:HEAD_FIELDS])

    return max(SEPARATORS, key=merit), 0


def _decide(
    sheet: Sheet, head: list[Record], label: int | str | None, width: int | None, *, known: bool
) -> tuple[bool, tuple[str, ...]]:
    """Whether the first row is a header, as it is `known` to be by its names, and a note that says so. Raises DataError
    where nothing decides it."""
    line, first = head[0][0], list(map(normal, head[0][1]))
    if known or (isinstance(label, str) and normal(label) in first):
        return True, (_note(sheet, line, True),) if sheet.planned else ()
    inside = isinstance(label, int) and -len(first) <= label < len(first) and width in (None, len(first))
    at = label % len(first) if isinstance(label, int) and inside else None
    named = _looks_like_header(sheet, head, at)
    if named is None:
        row = "a row" + ("" if at is None else f" (class {quoted(first[at])})")
        what = f"line {line} can be a header (names {listing(first)}) or {row}"
        out = "delete the line if it is a header; if it is a row, put the names of the columns above it"
        raise DataError(f"{sheet.name}: {what}; {'set data.header: true or false' if sheet.planned else out}")
    return named, (_note(sheet, line, named),)


def _looks_like_header(sheet: Sheet, head: list[Record], label: int | None) -> bool | None:
    """Whether the first row names the columns; None where it may as well be a row.

    Columns of numbers tell: a text above them is a name, a number a value, and what stands for a missing value is
    neither. So does the label, which is a value where it occurs again; a program counts columns without names, and no
    two of them have the same.
    """
    first, *below = [[field.strip() for field in row] for _, row in head if len(row) == sheet.width]
    if not below:
        return all(field and not is_number(field) for field in first)
    columns = list(zip(*below, strict=True))
    numeric = [i for i, column in enumerate(columns) if i != label and _of_numbers(column)]
    names = [name for name in first if name]
    twice = len(set(names)) < len(names)
    if not numeric:
        return not twice and not any(field in column for field, column in zip(first, columns, strict=True))
    texts = sum(not is_number(first[i]) and first[i].lower() not in NO_VALUE for i in numeric)
    numbers = sum(is_number(first[i]) for i in numeric)
    named = texts > 1 and not numbers and not twice  # the first rows then tell
    again = None if label is None else _occurs_again(sheet, label, first, below, everywhere=not named)
    if texts > numbers:
        return None if again or (twice and label is not None and again is None) else True
    if again is False:
        return True if _counted(first, columns) or _counted(first, columns, label) else None
    return None if _counted(first, columns) or (texts and not again) else False


def _counted(first: Sequence[str], columns: Sequence[Sequence[str]], but: int | None = None) -> bool:
    """Whether the first row counts the columns, from 0 or 1 and perhaps beside an index without a name, all `but` one.
    Of two columns it does where they hold no such whole number below."""
    names = [name for i, name in enumerate(first) if i != but and (name or i)]
    if len(first) == 2 and any(PLAIN_WHOLE.fullmatch(field) for field in columns[0]):
        return False
    return len(names) > 1 and any(names == [str(start + i) for i in range(len(names))] for start in (0, 1))


def is_number(field: str) -> bool:
    return field.lower() in TRUTH or any(kind.fullmatch(field) for kind in (PLAIN_NUMBER, COMMA_NUMBER))


def _of_numbers(column: Sequence[str]) -> bool:
    """Whether most of what a column holds are numbers."""
    held = [field for field in column if field.lower() not in MISSING]
    return 2 * sum(map(is_number, held)) > len(held)


def _occurs_again(
    sheet: Sheet, at: int, first: list[str], head: Sequence[list[str]], *, everywhere: bool
) -> bool | None:
    """Whether the first row's label is that of another row, of the first ones or `everywhere`; None where labels seldom
    recur, or it has none. A header of words that stands again among the rows is no row."""
    present = [row[at] for row in head if row[at]]
    if not first[at] or 2 * len(set(present)) > len(present):
        return None
    label, rows = spelled(first[at]), islice(sheet.records(), 1, None if everywhere else HEAD_ROWS)
    others = ([field.strip() for field in row] for _, row in rows if len(row) > at and spelled(row[at]) == label)
    return any(row != first or any(map(is_number, row)) for row in others)


def _note(sheet: Sheet, line: int, named: bool) -> str:
    key = f"; data.header: {str(not named).lower()} decides otherwise" if sheet.planned else ""
    return f"{sheet.name}: line {line} is read as {'the header' if named else 'a row'}{key}"


def counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
