"""CSV files: a sheet's columns as numbers, truth values and labels, a block of rows at a time."""

import math
import re
from array import array
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from distill.config.schema import DataPlan
from distill.data.columns import column_notes, is_label_name, like_labels
from distill.data.labels import (
    Labels,
    cut,
    few_classes,
    label_fault,
    label_notes,
    listing,
    mark_unlabelled,
    normal,
    quoted,
    read_labels,
)
from distill.data.sheet import COMMA_NUMBER, PLAIN_NUMBER, TRUTH, Sheet, counted, read_sheet
from distill.data.table import Place, Source, Table, nearest
from distill.errors import DataError
from distill.nn.vector import Array

LOOKED_AT = 1 << 21  # fields, for columns that look like a label
NO_NUMBER = re.compile(r"[-+]?(?:nan|inf|infinity)", re.IGNORECASE)


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
    bare = _without_dropped(sheet, learned) if learned else None
    column = label_column(sheet, last if plan.label is None else plan.label) if bare is None else bare
    dropped = () if bare is not None else dropped_columns(sheet, plan.drop or (), column, strict=learned is None)
    left_out = {column, *dropped}
    features = [i for i in range(sheet.width) if i not in left_out]
    place = sheet.place(column)

    def settle(labels: Labels) -> Labels:
        known = mark_unlabelled(labels, plan.unlabelled_label, place, negative=False)
        if learned is not None:
            return replace(known, notes=labels.notes)
        if fault := label_fault(known, chosen=plan.label is not None):
            raise DataError(f"{place}: {fault}; {_advice(sheet, left_out)}")
        if few := few_classes(known):
            raise DataError(f"{place}: {few}; {_advice(sheet, left_out)}")
        return replace(known, notes=known.notes + label_notes(known, place))

    rows = replace(table(sheet, features, column, settle), dropped=dropped)
    odd = column_notes(rows, features) if learned is None else ()
    return Source(replace(rows, notes=rows.notes + odd))


def _without_dropped(sheet: Sheet, learned: Table) -> int | None:
    """Where the label stands in a test set without names that lacks the columns which were dropped from the rows that
    are learned; None where it has them."""
    if sheet.header or not learned.dropped or not isinstance(learned.label, int):
        return None
    features = learned.x.shape[1]
    fitting = layouts(sheet.width, features, learned.label, learned.dropped, None)
    return fitting[0].label if fitting and sheet.width == features + 1 else None


class Layout(NamedTuple):
    """One way to read columns that have no names: what they are, the label's column and the features', in order."""

    what: str
    label: int | None
    features: tuple[int, ...]


def layouts(width: int, features: int, label: int | None, dropped: Sequence[int], asked: int | None) -> list[Layout]:
    """The ways to read a file of `width` columns for a model of so many features, whose training file had its label
    and `dropped` columns there: with or without these, with or without a label, which is at `asked` where that is
    given."""
    others = [i if label is None else i - (i > label) for i in dropped]  # as they stand without the label
    short = label if label is None else label - sum(i < label for i in dropped)
    unlabelled = [] if asked is not None else [(None, " without the label")]
    fitting: list[Layout] = []
    for what, left, at in (("the features", [], short), ("all columns of the training file", others, label)):
        at = at if asked is None else asked
        for label_at, tail in ([] if at is None else [(at, " with the label")]) + unlabelled:
            left_out = {label_at, *(i if label_at is None else i + (i >= label_at) for i in left)}
            kept = tuple(i for i in range(width) if i not in left_out)
            fits = width == features + len(left) + (label_at is not None)
            if fits and kept not in [layout.features for layout in fitting]:
                fitting.append(Layout(what + tail, label_at, kept))
    return fitting


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
                f"{sheet.name}: {key} names {quoted(which)}, but there is no header; give an index, or header: true"
            )
        if (name := normal(which)) not in sheet.columns:
            what = f"no column {quoted(which)}" + ("" if key == "data.label" else f", which {key} names")
            raise DataError(f"{sheet.name}: {what}; {nearest(name, sheet.header)}")
        return sheet.columns[name]
    if not -sheet.width <= which < sheet.width:
        raise DataError(f"{sheet.name}: {key} is {which}, but there are {sheet.width} columns (0 to {sheet.width - 1})")
    return which % sheet.width


def _advice(sheet: Sheet, but: Collection[int]) -> str:
    """Which of the other columns look like a label, and how to choose one."""
    likely = _like_labels(sheet, set(range(sheet.width)) - set(but))[:4]
    if not likely:
        return "no other column looks like a label; name the right one with data.label"
    named = [f"{sheet.column(i)}, {count} values" for i, count in likely]
    more = f" (or {'; '.join(named[1:])})" if named[1:] else ""
    return f"what looks like one is {named[0]}{more}: set data.label: {_key(sheet, likely[0][0])}"


def _like_labels(sheet: Sheet, columns: Collection[int]) -> list[tuple[int, int]]:
    """Those of these columns that look like a label by the first rows, and their number of values; likeliest first."""
    rows = [row for _, row in islice(sheet.records(), max(LOOKED_AT // sheet.width, 100)) if len(row) == sheet.width]
    header = sheet.header or (None,) * sheet.width
    return like_labels((i, header[i], [row[i] for row in rows]) for i in sorted(columns))


def _key(sheet: Sheet, column: int) -> int | str:
    """A column as a plan may name it."""
    name = sheet.header[column] if sheet.header else ""
    return name if name.isidentifier() and cut(name) == name else column


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
    empty = array("q")
    for ends, rows in sheet.blocks(empty):
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
    truths = _check_words(sheet, features, label, x, words, place)
    header = sheet.header
    return Table(
        x,
        None if known is None else known.y,
        place,
        names=tuple(header[i] for i in features) if header else None,
        label=header[label] if header and label is not None else label,
        labelled=None if known is None else known.labelled,
        notes=sheet.notes + _empty_rows(sheet, empty) + truths + (() if known is None else known.notes),
    )


def _empty_rows(sheet: Sheet, lines: Sequence[int]) -> tuple[str, ...]:
    """A note on the rows that hold nothing, which end on these lines."""
    if not lines:
        return ()
    rows = "1 row of separators alone is" if len(lines) == 1 else f"{len(lines):,} rows of separators alone are"
    return (f"{sheet.name}: {rows} left out (line {lines[0]}{', ...' if len(lines) > 1 else ''})",)


def _most_rows(sheet: Sheet) -> int:
    """No file has more rows than line ends, nor than its bytes can separate the fields of."""
    ends = sum(sheet.raw.count(end) for end in (b"\n", b"\r")) - sheet.raw.count(b"\r\n")
    return min(ends, len(sheet.raw) // sheet.width) + 1


def _picker(columns: Sequence[int]) -> Callable[[list[str]], Sequence[str]]:
    """Some fields of a row, as quickly as Python can."""
    return itemgetter(*columns) if len(columns) > 1 else lambda row: [row[i] for i in columns]


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


def _check_words(
    sheet: Sheet, features: Sequence[int], label: int | None, x: Array, words: Words, place: Place
) -> tuple[str, ...]:
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
        them = "it" if len(texts) == 1 else "them"
        drop = f"leave {them} out (data.drop: [{', '.join(map(str, texts))}]), or " if sheet.planned else ""
        label_first = _label_among(sheet, texts, label) if sheet.planned else ""
        raise DataError(
            f"{sheet.name}: {counted(len(texts), 'column')} of texts: {what}; {label_first}{drop}write numbers"
        )
    if stray:
        row, column, word = min(stray)
        raise DataError(f"{place(row, column)}: {_fault(word, row, sheet)}")
    return (f"{sheet.name}: true and false are read as 1 and 0 in {listing(truths)}",) if truths else ()


def _label_among(sheet: Sheet, texts: Collection[int], label: int | None) -> str:
    """What to say first where one of the columns of texts looks like the label, more than the one that is taken for it:
    by its name, or because no other does."""
    likely = [i for i, _ in _like_labels(sheet, texts)]
    named = [i for i in likely if sheet.header and is_label_name(sheet.header[i])]
    taken_by_name = sheet.header and label is not None and is_label_name(sheet.header[label])
    if taken_by_name or not (named or len(likely) == 1):
        return ""
    first = (named or likely)[0]
    return f"if {sheet.column(first)} is the label, set data.label: {_key(sheet, first)}; else "


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
        return f"{name}: {at}column {index}" + (f" ({quoted(header[index])})" if header else "")

    return place
