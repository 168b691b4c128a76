"""What a label means, whatever file it stands in: which spellings are one class, which rows have none, and whether
these are classes at all.

`spelled` alone decides which labels are the same; everything that compares labels or names of classes goes through it.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from distill.nn.vector import Array

PLAIN = re.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][-+]?[0-9]{1,3})?")  # '03' and '1_000' are no numbers
DECIMAL = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
DIGITS = 18  # of whole numbers that int64 holds for certain; longer ones stay as they are
MISSING_WORDS = {"na", "n/a", "#n/a", "<na>", "nan", "null", "none", "?"}
# Labels of fewer rows or classes, or of more rows a class, are never taken for measurements.
LEAST_ROWS, LEAST_CLASSES, LEAST_PER_CLASS = 20, 10, 5
SHOWN, LONGEST = 12, 60  # names that a message shows, and their characters


@dataclass(frozen=True)
class Labels:
    """Labels y (N,) with one value a class, which rows have one (N,), and notes on what was decided."""

    y: Array
    labelled: Array
    notes: tuple[str, ...] = ()


def normal(text: str) -> str:
    """A text without outer white space and invisible characters (Unicode Cf: marks of direction, joiners, soft
    hyphens, a BOM), its accents composed (NFC), so that what looks alike is alike."""
    if text.isascii():
        return text.strip()
    seen = "".join(character for character in text if unicodedata.category(character) != "Cf")
    return unicodedata.normalize("NFC", seen).strip()


def spelled(label: Any) -> str:
    """A label as a text: 1, 1.0, '1' and '1e0' are one label; '03' and '1_000' stay the texts that they are."""
    plain = label.item() if isinstance(label, np.generic) else label
    text = normal(plain.decode("utf-8", "backslashreplace") if isinstance(plain, bytes) else str(plain))
    number = whole(text)
    return text if number is None else str(number)


def whole(text: str) -> int | None:
    """The whole number that a text stands for, or None."""
    if not PLAIN.fullmatch(text):
        return None
    number = Decimal(text)
    fits = number.adjusted() < DIGITS and number == number.to_integral_value()
    return int(number) if fits else None


def difference(theirs: Sequence[Any], ours: Sequence[Any]) -> str | None:
    """None where two lists of classes are the same in the same order, else both of them, and where they part."""
    left, right = list(map(spelled, theirs)), list(map(spelled, ours))
    if left == right:
        return None
    texts = f"its classes are {listing(left)}, those of the data {listing(right)}"
    if texts.isascii() and listing(left) != listing(right):
        return texts
    place = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), None)
    if place is None:
        return f"{texts}; they are {len(left)} and {len(right)}"
    return f"{texts}; the first that differ are {left[place]!a} and {right[place]!a}"


def quoted(value: object) -> str:
    """A field, or a name, as a message quotes it."""
    return repr(cut(value))


def cut(value: Any) -> Any:
    """A value as it is, but for a long text, of which it is the first characters."""
    return value[: LONGEST - 3] + "..." if isinstance(value, str) and len(value) > LONGEST else value


def listing(names: Iterable[object]) -> str:
    """Names in a message, the first of them where they are many."""
    texts = [cut(str(name)) for name in names]
    more = f", ... ({len(texts):,})" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def read_labels(y: Array, place: str) -> Labels:
    """Labels (N,) of numbers or texts as a file holds them, with one value a class: whole numbers where all are, else
    normalised texts. An empty text is no label."""
    if y.dtype.kind in "iub":
        return Labels(y, np.ones(len(y), bool))
    raw, inverse, counts = np.unique(y, return_inverse=True, return_counts=True)
    texts = list(map(spelled, raw.tolist()))
    labelled = np.array([text != "" for text in texts], bool)[inverse]
    numbers = [whole(text or "0") for text in texts]
    as_held = raw if y.dtype.kind == "f" else np.array(texts)
    values = as_held if None in numbers else np.array(numbers, np.int64)
    return Labels(values[inverse], labelled, _joined(raw.tolist(), texts, counts.tolist(), place))


def _joined(raw: Sequence[Any], texts: Sequence[str], counts: Sequence[int], place: str) -> tuple[str, ...]:
    spellings: dict[str, dict[Any, int]] = {}
    for label, text, count in zip(raw, texts, counts, strict=True):
        if text:
            spellings.setdefault(text, {})[label] = count
    several = [some for some in spellings.values() if len(some) > 1]
    if not several:
        return ()
    rows = sum(sum(some.values()) - max(some.values()) for some in several)
    total, (first, second, *_) = sum(map(len, several)), several[0]
    what = f"{total} spellings are taken for {_plural(len(several), 'class', 'classes')}, such as {cut(first)!a} and"
    return (
        f"{place}: {what} {cut(second)!a}; {_plural(rows, 'row is', 'rows are')} read as the other spelling has it",
    )


def mark_unlabelled(labels: Labels, mark: Any, place: str, *, negative: bool) -> Labels:
    """The labels without those that `mark` names as none.

    `auto` takes -1 for none where `negative` allows it, it is the only negative number, and there are at least two
    other classes; beside a single one it is a class, as in -1 and +1.
    """
    if mark is None or not labels.labelled.any():
        return labels
    auto, key = mark == "auto", "data.unlabelled_label"
    values = np.unique(labels.y[labels.labelled])
    text = "-1" if auto else spelled(mark)
    hits = [i for i, label in enumerate(values.tolist()) if spelled(label) == text]
    if auto and (not hits or values.dtype.kind != "i" or len(values) < 3 or values[0] < -1):
        return labels
    if not hits:
        return _noted(labels, f"{place}: no row has the label {quoted(text)} that {key} names")
    unlabelled = labels.labelled & (labels.y == values[hits[0]])
    count = int(unlabelled.sum())
    if auto and not negative:
        what = f"-1 is taken for a class ({_plural(count, 'row', 'rows')}); where it marks rows without a label, set"
        return _noted(labels, f"{place}: {what} {key}: -1")
    what = f"{_plural(count, 'row counts', 'rows count')} as unlabelled, with {cut(text)} for a label"
    noted = _noted(labels, f"{place}: {what}; {f'for a class of that name set {key}: null' if auto else f'see {key}'}")
    return replace(noted, labelled=labels.labelled & ~unlabelled)


def few_classes(labels: Labels) -> str | None:
    """What says that there is nothing to tell apart, or None."""
    classes = np.unique(labels.y[labels.labelled])[:2].tolist()
    if len(classes) > 1:
        return None
    what = f"every row has the label {quoted(classes[0])}" if classes else "no row has a label"
    return f"{what}; must have at least two classes"


def label_fault(labels: Labels, *, chosen: bool = False) -> str | None:
    """What says that these are no classes to learn, or None. Many classes of few rows are none unless `chosen`."""
    values, counts = np.unique(labels.y[labels.labelled], return_counts=True)
    texts = [text for text in map(str, values.tolist()) if text.casefold() not in MISSING_WORDS]
    if labels.y.dtype.kind in "fU" and all(map(DECIMAL.fullmatch, texts)):
        fractions = [number for number in map(float, texts) if math.isfinite(number) and number % 1]
        if fractions:
            what = f"holds fractions such as {fractions[0]:.6g}: a regression target"
            return f"{what}; distill learns classes, so make ranges of them, and write a word for each"
    rare = int((counts <= 2).sum())
    if not chosen and _many(counts) and 2 * rare > len(counts):
        what = f"{counts.sum()} rows for {len(counts)} classes, {rare} of them with one or two rows"
        return f"{what}: this does not look like a label; distill learns classes"
    return None


def _many(counts: Array) -> bool:
    """Whether classes of so many rows each are rather many for their rows."""
    return bool(LEAST_ROWS <= counts.sum() < LEAST_PER_CLASS * len(counts) and len(counts) >= LEAST_CLASSES)


def label_notes(labels: Labels, place: str) -> tuple[str, ...]:
    """Notes on classes that may not be meant: many with few rows, words for what is missing, and names that differ by
    next to nothing."""
    values, counts = np.unique(labels.y[labels.labelled], return_counts=True)
    notes, alike = [], dict[str, list[str]]()
    if _many(counts):
        what = f"{counts.sum()} rows for {len(counts)} classes, fewer than {LEAST_PER_CLASS} a class"
        notes.append(f"{place}: {what}; where these are measurements, set data.label to another column")
    if labels.y.dtype.kind != "U":
        return tuple(notes)
    for name, count in zip(values.tolist(), counts.tolist(), strict=True):
        alike.setdefault("".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
        if name.casefold() in MISSING_WORDS:
            what = f"{name!a} is taken for a class ({_plural(count, 'row', 'rows')})"
            notes.append(f"{place}: {what}; where it marks rows without a label, set data.unlabelled_label: {name!a}")
    pairs = [" and ".join(ascii(cut(name)) for name in names) for names in alike.values() if len(names) > 1]
    if pairs:
        what = f"{'; '.join(pairs[:3])}{', ...' if len(pairs) > 3 else ''} are different classes"
        notes.append(
            f"{place}: {what}, though they differ only by case or white space; spell them alike if they are one"
        )
    return tuple(notes)


def _noted(labels: Labels, note: str) -> Labels:
    return replace(labels, notes=(*labels.notes, note))


def _plural(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
