"""CSV files: with or without a header, any of four separators, quoted fields, an empty field for a missing number.

`read_sheet` looks at the first rows and decides what separates the fields and whether there is a header; `table` reads
all rows, a block at a time that becomes numbers at once.
"""

import csv
import io
import math
import re
import sys
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from distill.config import DataPlan
from distill.data.columns import column_notes, like_labels
from distill.data.labels import (
    MISSING_WORDS,
    Labels,
    label_fault,
    label_notes,
    listing,
    mark_unlabelled,
    normal,
    read_labels,
    spelled,
    whole,
)
from distill.data.table import STDIN, Place, Source, Table, nearest
from distill.errors import DataError
from distill.foreign import GZIP, foreign
from distill.nn.vector import Array
from distill.store import gunzip

SEPARATORS = ",;\t|"
PLAIN_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
NO_NUMBER = re.compile(r"[-+]?(?:nan|inf|infinity)", re.IGNORECASE)
COMMA_NUMBER = re.compile(r"[-+]?[0-9]+(?:,[0-9]+)+(?:\.[0-9]*)?")
TRUTH = {"true": 1.0, "false": 0.0}
MISSING = {"", ".", "-", *MISSING_WORDS}  # as programs write it
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
        return f"column {index}" + (f" ({self.header[index]!r})" if self.header else "")

    def records(self) -> Iterator[Record]:
        """The rows below the header. Raises DataError."""
        return islice(_records(self.name, self.raw, self.separator), self.skip, None)

    def blocks(self) -> Iterator[tuple[Sequence[int], Sequence[list[str]]]]:
        """The rows below the header, some at a time and all of the same width, and the lines on which they end."""
        records, most, first = self.records(), max(1, BLOCK_FIELDS // self.width), 0
        while block := list(islice(records, most)):
            lines, rows = zip(*block, strict=True)
            first = first or lines[0]
            if {self.width}.symmetric_difference(map(len, rows)):
                line, width = next((line, len(row)) for line, row in block if len(row) != self.width)
                above = "the header has" if self.header else f"line {first} has"
                what = f"{_count(width, 'field')}, but {above} {self.width}"
                raise DataError(f"{self.name}: line {line}: {what}; make them alike")
            yield lines, rows


def read(path: Path, plan: DataPlan, learned: Table | None = None) -> Source:
    """Rows and labels; without `data.label` the last column holds it, or in a test set for rows that are `learned` from
    the one of that name. A file to learn from must have labels that can be classes, and is looked through for columns
    that may be no features."""
    names = learned.names if learned else None
    sheet = read_sheet(path, plan.header, names, -1 if plan.label is None else plan.label)
    next(sheet.blocks())  # a line above the table, such as a comment, is no column
    if sheet.width < 2:
        what = "only one column; must hold a label and at least one feature"
        raise DataError(f"{sheet.name}: {what}, with , ; | or a tab between them (blanks do not separate)")
    last = learned.label if learned and learned.label in sheet.columns else -1
    column = label_column(sheet, last if plan.label is None else plan.label)
    dropped = dropped_columns(sheet, plan.drop or (), column, strict=learned is None)
    left_out = {column, *dropped}
    features = [i for i in range(sheet.width) if i not in left_out]
    place = sheet.place(column)

    def settle(labels: Labels) -> Labels:
        known = mark_unlabelled(labels, plan.unlabelled_label, place, negative=False)
        if learned is not None:
            return replace(known, notes=labels.notes)
        if fault := label_fault(known):
            raise DataError(f"{place}: {fault}; {_advice(sheet, left_out)}")
        return replace(known, notes=known.notes + label_notes(known, place))

    rows = replace(table(sheet, features, column, settle), dropped=dropped)
    odd = column_notes(rows, features) if learned is None else ()
    return Source(replace(rows, notes=rows.notes + odd))


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
    raw, name = _bytes(path), str(path)
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
        raise DataError(f"{name}: line {line}: the column name {twice[0]!r} stands twice; give every column its own")
    if len(head) == 1:
        raise DataError(f"{name}: no rows; must hold at least one under the header")
    return replace(sheet, skip=top + 1, header=tuple(first))


def label_column(sheet: Sheet, label: int | str) -> int:
    """The index of the label's column, given by name or by index (from 0; negative ones count from the end)."""
    return _column(sheet, label, "data.label")


def dropped_columns(sheet: Sheet, drop: Sequence[int | str], label: int, *, strict: bool = True) -> tuple[int, ...]:
    """The indexes of the columns that data.drop names, in ascending order; unless `strict`, names that the file lacks
    are passed over. Raises DataError for the label, and where no feature is left."""
    named = [sheet.columns.get(normal(one), one) if isinstance(one, str) else one for one in drop]
    here = [one for one in named if strict or not isinstance(one, str)]
    dropped = sorted({_column(sheet, one, "data.drop") for one in here})
    if label in dropped:
        raise DataError(f"{sheet.place(label)}: data.drop names the label; leave it, or set data.label to another")
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
        if (name := normal(which)) not in sheet.columns:
            what = f"no column {which!r}" + ("" if key == "data.label" else f", which {key} names")
            raise DataError(f"{sheet.name}: {what}; {nearest(name, sheet.header)}")
        return sheet.columns[name]
    if not -sheet.width <= which < sheet.width:
        raise DataError(f"{sheet.name}: {key} is {which}, but there are {sheet.width} columns (0 to {sheet.width - 1})")
    return which % sheet.width


def _advice(sheet: Sheet, but: Collection[int]) -> str:
    """Which of the other columns look like a label, and how to choose one."""
    header = sheet.header
    columns = enumerate(zip(*(row for _, row in sheet.records()), strict=True))
    likely = like_labels((i, header[i] if header else None, fields) for i, fields in columns if i not in but)[:4]
    if not likely:
        return "no other column looks like a label; name the right one with data.label"
    named = [f"column {i}{f' ({header[i]!r})' if header else ''}, {count} values" for i, count in likely]
    first = likely[0][0]
    key = header[first] if header and whole(header[first]) is None and header[first].isidentifier() else first
    more = f" (or {'; '.join(named[1:])})" if named[1:] else ""
    return f"what looks like one is {named[0]}{more}: set data.label: {key}"


def table(
    sheet: Sheet,
    features: Sequence[int],
    label: int | None,
    settle: Callable[[Labels], Labels] = lambda labels: labels,
) -> Table:
    """Numbers from the feature columns, and labels, which `settle` may judge before a text among the numbers does.
    Raises DataError."""
    x = np.empty((_most_rows(sheet), len(features)))  # what is not filled takes no memory
    lines, codes, labels = array("q"), array("q"), dict[str, int]()
    words: Words = {}
    pick = _picker(features)
    for ends, rows in sheet.blocks():
        at = len(lines)
        lines.extend(ends)
        x[at : len(lines)] = _numbers(list(chain.from_iterable(map(pick, rows))), len(features), at, words)
        if label is not None:
            codes.extend(labels.setdefault(row[label], len(labels)) for row in rows)
    x, place = x[: len(lines)], _place(sheet, features, label, lines)
    known = None
    if label is not None:
        texts = np.array(list(labels))[np.frombuffer(codes, np.int64)]
        known = settle(read_labels(texts, sheet.place(label)))
    truths = _check_words(sheet, features, x, words, place)
    header = sheet.header
    return Table(
        x,
        None if known is None else known.y,
        place,
        names=tuple(header[i] for i in features) if header else None,
        label=header[label] if header and label is not None else label,
        labelled=None if known is None else known.labelled,
        notes=sheet.notes + truths + (() if known is None else known.notes),
    )


# --- bytes and fields -------------------------------------------------------------------------------------------------


def _bytes(path: Path) -> bytes:
    """The whole file, unpacked: it is looked at twice, and may be a pipe. Raises DataError."""
    try:
        raw = sys.stdin.buffer.read() if path == STDIN and sys.stdin else path.read_bytes()
        if raw[:2] == GZIP:
            raw = gunzip(path, raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if what := foreign(raw, path.name):
        raise DataError(f"{path}: {what}")
    return raw.removeprefix(b"\xef\xbb\xbf")


def _records(name: str, raw: bytes, separator: str, *, told: bool = True) -> Iterator[Record]:
    """Every row that holds anything. A fault ends them; it is raised as DataError where it is to be `told`."""
    text = io.TextIOWrapper(io.BytesIO(raw), "utf-8", newline="")
    reader = csv.reader(text, delimiter=separator, strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
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


def _most_rows(sheet: Sheet) -> int:
    """No file has more rows than line ends, nor than its bytes can separate the fields of."""
    ends = sum(sheet.raw.count(end) for end in (b"\n", b"\r")) - sheet.raw.count(b"\r\n")
    return min(ends, len(sheet.raw) // sheet.width) + 1


def _picker(columns: Sequence[int]) -> Callable[[list[str]], Sequence[str]]:
    """Some fields of a row, as quickly as Python can."""
    return itemgetter(*columns) if len(columns) > 1 else lambda row: [row[i] for i in columns]


# --- is the first row a header? ---------------------------------------------------------------------------------------


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
        row = "a row" + ("" if at is None else f" (class {first[at]!r})")
        what = f"line {line} can be a header (names {listing(first)}) or {row}"
        out = "delete the line if it is a header; if it is a row, put the names of the columns above it"
        raise DataError(f"{sheet.name}: {what}; {'set data.header: true or false' if sheet.planned else out}")
    return named, (_note(sheet, line, named),)


def _looks_like_header(sheet: Sheet, head: list[Record], label: int | None) -> bool | None:
    """Whether the first row names the columns; None where it may as well be a row.

    Columns of numbers tell: a text above them is a name, a number a value, and what stands for a missing value is
    neither. So does the label, which is a value where it occurs again; and a program counts columns without names.
    """
    first, *below = [[field.strip() for field in row] for _, row in head if len(row) == sheet.width]
    if not below:
        return all(field and not _is_number(field) for field in first)
    columns = list(zip(*below, strict=True))
    numeric = [i for i, column in enumerate(columns) if i != label and _of_numbers(column)]
    if not numeric:
        return not any(field in column for field, column in zip(first, columns, strict=True))
    texts = sum(not _is_number(first[i]) and first[i].lower() not in MISSING for i in numeric)
    numbers = sum(_is_number(first[i]) for i in numeric)
    if texts > 1 and not numbers:
        return True
    again = None if label is None else _occurs_again(sheet, label, first[label], columns[label])
    counted = [name for name in first if name] == [str(i) for i in range(len(first) - (not first[0]))]
    if texts > numbers:
        return None if again else True
    if again is False:
        return True if counted else None
    if (counted and len(first) > 3) or (texts and not again):
        return None
    return False


def _is_number(field: str) -> bool:
    return field.lower() in TRUTH or any(kind.fullmatch(field) for kind in (PLAIN_NUMBER, COMMA_NUMBER))


def _of_numbers(column: Sequence[str]) -> bool:
    """Whether most of what a column holds are numbers."""
    held = [field for field in column if field.lower() not in MISSING]
    return 2 * sum(map(_is_number, held)) > len(held)


def _occurs_again(sheet: Sheet, at: int, first: str, labels: Sequence[str]) -> bool | None:
    """Whether the first row's label is that of another row; None where labels seldom recur, or it has none."""

    present = [label for label in labels if label]
    if not first or 2 * len(set(present)) > len(present):
        return None
    rows = (row for _, row in islice(sheet.records(), 1, None))
    return first in labels or any(spelled(row[at]) == spelled(first) for row in rows if len(row) > at)


def _note(sheet: Sheet, line: int, named: bool) -> str:
    key = f"; data.header: {str(not named).lower()} decides otherwise" if sheet.planned else ""
    return f"{sheet.name}: line {line} is read as {'the header' if named else 'a row, there is no header'}{key}"


# --- fields to numbers ------------------------------------------------------------------------------------------------


class Word(NamedTuple):
    """How many words of a kind a column holds, and the first of them with its row."""

    total: int
    row: int
    text: str


Words = dict[int, dict[bool, Word]]  # feature -> whether it is a truth value -> such words


def _numbers(fields: list[str], width: int, at: int, words: Words) -> Array:
    """The fields of a block of rows, the first of them row `at`, as numbers; what is none is noted in `words`."""
    text = "".join(fields)
    if text.isascii() and "_" not in text:  # else Python takes for numbers what no reader does
        try:
            x = np.fromiter(map(float, fields), np.float64, len(fields)).reshape(-1, width)
        except ValueError:
            pass  # a missing field, a truth value, or a fault
        else:
            if np.isfinite(x).all():
                return x
    values = {field: _value(field.strip()) for field in set(fields)}
    x = np.array([value if (value := values[field]) is not None else math.nan for field in fields])
    if odd := {field for field, value in values.items() if value is None}:
        for i in (i for i, field in enumerate(fields) if field in odd):
            word = fields[i].strip()
            kinds, truth = words.setdefault(i % width, {}), word.lower() in TRUTH
            before = kinds.get(truth, Word(0, at + i // width, word))
            kinds[truth] = before._replace(total=before.total + 1)
            x[i] = TRUTH.get(word.lower(), math.nan)
    return x.reshape(-1, width)


def _value(field: str) -> float | None:
    """A number, NaN for an empty field, None for a word or a number that is not finite."""
    if not field:
        return math.nan
    value = float(field) if PLAIN_NUMBER.fullmatch(field) else math.inf
    return value if math.isfinite(value) else None


def _check_words(sheet: Sheet, features: Sequence[int], x: Array, words: Words, place: Place) -> tuple[str, ...]:
    """Raise DataError for words in columns of numbers; a note on columns of truth values alone."""
    truths, texts, stray = [], {}, []
    for column, kinds in sorted(words.items()):
        text, truth = kinds.get(False), kinds.get(True)
        numbers = int(np.isfinite(x[:, column]).sum()) - (truth.total if truth else 0)
        if not text and not numbers:
            truths.append(sheet.column(features[column]))
        elif text and text.total > max(1, numbers) and _is_text(text.text):
            texts[features[column]] = text.text
        else:
            first = min(kinds.values(), key=lambda word: word.row)
            stray.append((first.row, column, first.text))
    if texts:
        what = listing([f"{sheet.column(i)} holds {word[:30]!r}" for i, word in texts.items()])
        drop = f"leave them out (data.drop: [{listing(list(texts))}]), or " if sheet.planned else ""
        raise DataError(f"{sheet.name}: {_count(len(texts), 'column')} of texts: {what}; {drop}write numbers")
    if stray:
        row, column, word = min(stray)
        raise DataError(f"{place(row, column)}: {_fault(word, row, sheet)}")
    return (f"{sheet.name}: true and false are read as 1 and 0 in {listing(truths)}",) if truths else ()


def _is_text(word: str) -> bool:
    return not any(kind.fullmatch(word) for kind in (PLAIN_NUMBER, NO_NUMBER, COMMA_NUMBER))


def _fault(word: str, row: int, sheet: Sheet) -> str:
    if COMMA_NUMBER.fullmatch(word):
        return f"{word[:60]!r} has a comma; write decimal points, and nothing between thousands"
    if not _is_text(word):
        return f"{word[:60]} is NaN or infinite; leave the field empty where it is missing"
    doubt = " (if this line is a header, set data.header: true)" if row == 0 and not sheet.header else ""
    what = f"{word[:60]!r} is a text in a numeric column"
    return f"{what}; write a number, or leave the field empty where it is missing{doubt if sheet.planned else ''}"


def _place(sheet: Sheet, features: Sequence[int], label: int | None, lines: Sequence[int]) -> Place:
    """Where a value stands, without a hold on the file's bytes."""
    name, header = sheet.name, sheet.header

    def place(row: int | None, column: int | None) -> str:
        index = features[column] if column is not None else label or 0
        at = "" if row is None else f"line {lines[row]}, "
        return f"{name}: {at}column {index}" + (f" ({header[index]!r})" if header else "")

    return place


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
