"""Files of predictions from another program: logits or probabilities as .npy, .npz or .csv, checked against the
data."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill.data import csvfile
from distill.data.labels import difference, listing, spelled
from distill.data.rows import Data
from distill.data.sheet import PLAIN_NUMBER, read_sheet
from distill.data.table import Declared, locate, once_only
from distill.errors import DataError
from distill.nn.vector import Array
from distill.system.arrays import open_npz, read_npy, read_npy_header

LEAST = 1e-6  # what a probability counts as that is smaller, such as a forest's 0
ONE_TOTAL = 0.05  # of their mean that sums of rounded percentages lie within
SUM_WITHIN = 0.02  # of 1, as of many probabilities that were rounded to three decimals
MOST_CLASSES = 1_000_000  # in a file's list of them
ROW = "row"  # the column of a CSV, or the array of an NPZ, with the rows' numbers in the source
KINDS = ("probabilities", "logits")


@dataclass(frozen=True)
class Predictions:
    """Logits (K,M) for some of the source's rows: `place` (N,) says where a row's are, -1 where there are none."""

    logits: Array
    place: Array
    kind: str
    fingerprint: str
    notes: tuple[str, ...] = ()

    def of(self, ids: Array) -> Array | None:
        """Return the logits of the rows of these numbers, or None where a row has none."""
        places = np.where(ids < len(self.place), self.place[np.minimum(ids, len(self.place) - 1)], -1)
        return None if (places < 0).any() else self.logits[places]


def read(path: str, kind: str, data: Data, teacher: str) -> Predictions:
    """Read and check a file of predictions. Raises DataError.

    Its rows are those of the source in their order, or the training rows in theirs, or those that a column or array
    `row` numbers, from 0. Columns are the classes in the order of the data, or in any where the file names them (the
    header of a CSV, the array `classes` of an NPZ). `kind`: probabilities, logits, or auto, which goes by
    the numbers.
    """
    file = locate(path)
    if once_only(file):
        once = "can be read only once, and predictions are read by every seed"
        raise DataError(f"teacher {teacher!r}: {path}: {once}; write them to a file")
    subject = f"teacher {teacher!r}: {path}"
    values, classes, named, ids = READERS.get(file.suffix.lower(), _csv)(file, data, subject)
    _check_shape(values, data, subject)
    places, notes = class_order(subject, data.classes if classes is None else classes, data.classes)
    values = values if places is None else values.take(places, axis=1)
    if named not in (None, *KINDS) or (kind != "auto" and named not in (None, kind)):
        raise DataError(f"{subject}: holds {named}, but kind is {kind}; name the array logits or probabilities")
    logits, kind = as_logits(values, kind if named is None else named, subject)
    total = data.source_rows
    if ids is None:
        if len(values) == total:
            ids = np.arange(total)
        elif len(values) == len(data.train):
            ids = data.train.ids
        else:
            what = f"{len(values)} rows, but the source has {total}, of which {len(data.train)} are trained on"
            raise DataError(f"{subject}: {what}; give either, or number them in a column {ROW!r}")
    ids = _numbers(ids, len(values), total, subject)
    place = np.full(total, -1)
    place[ids] = np.arange(len(ids))
    if (missing := data.train.ids[place[data.train.ids] < 0]).size:
        what = f"{len(values)} rows, and none for row {missing[0]} of the source, which is trained on"
        raise DataError(f"{subject}: {what} ({missing.size} of {len(data.train)} are missing); predict each of them")
    there = np.flatnonzero(place >= 0)
    digest = hashlib.sha256(logits[place[there]].tobytes() + there.tobytes()).hexdigest()
    return Predictions(logits, place, kind, digest, notes)


def class_order(
    subject: str, teacher_classes: Sequence[Any], classes: Sequence[Any]
) -> tuple[Array | None, tuple[str, ...]]:
    """Return where each class of the data stands among those that a teacher names, and a note of it; (None, ()) where
    both have the same order. Raises DataError where they are not the same classes."""
    if (what := difference(teacher_classes, classes)) is None:
        return None, ()
    named, wanted = ([spelled(label) for label in some] for some in (teacher_classes, classes))
    place = {label: i for i, label in enumerate(named)}
    if len(named) == len(wanted) and place.keys() == set(wanted):
        note = f"{subject}: its classes, {listing(named)}, were put into the order of the data's"
        return np.array([place[label] for label in wanted]), (note,)
    lacking = [label for label in wanted if label not in place]
    advice = "name the same classes, in any order"
    if lacking and place.keys() < set(wanted):
        advice = f"fit it on rows of every class, or give it a column for {listing(lacking)} too"
    raise DataError(f"{subject}: {what}; {advice}")


def as_logits(values: Array, kind: str, subject: str) -> tuple[Array, str]:
    """Return logits (N,M) float32 of either kind of numbers, and which kind it is. Raises DataError.

    The logits of probabilities are their logarithms, none smaller than that of 1e-6.
    """
    with np.errstate(over="ignore"):
        small, values = np.asarray(values, np.float32), np.asarray(values, np.float64)
    if not np.isfinite(small).all():
        row = int(np.argwhere(~np.isfinite(small))[0, 0])
        what = f"row {row} is not finite: {values[row].tolist()[:6]}"
        raise DataError(f"{subject}: {what}; give finite numbers of float32")
    sums = values.sum(axis=1)
    in_range = ((values >= 0) & (values <= 1 + SUM_WITHIN)).all(axis=1)
    fits = in_range & (np.abs(sums - 1) <= SUM_WITHIN)
    if kind == "auto" and in_range.all() and not fits.all():
        row = int(np.argmin(fits))
        what = f"numbers from 0 to 1, as of probabilities, but row {row} sums to {sums[row]:.6g}"
        raise DataError(f"{subject}: {what}; set kind to logits or probabilities, and mend the sums")
    if kind == "auto" and not fits.all() and (total := _one_total(values) or _counts(values)):
        what = f"no number is negative and {total}, as of percentages or counts"
        raise DataError(f"{subject}: {what}; divide each row by its sum, or set kind: logits")
    kind = ("probabilities" if fits.all() else "logits") if kind == "auto" else kind
    if kind == "logits":
        return small, kind
    if not fits.all():
        row = int(np.argmin(fits))
        what = f"row {row} is {values[row].tolist()[:6]}, with a sum of {sums[row]:.6g}"
        advice = "divide each row by its sum" if _one_total(values) else "mend them, or give logits as such"
        raise DataError(f"{subject}: {what}; probabilities are from 0 to 1 and sum to 1; {advice}")
    return np.log(np.maximum(values, LEAST)).astype(np.float32), kind


def _one_total(values: Array) -> str:
    """What tells that several rows without a negative number share one sum, to rounding, or no words."""
    sums = values.sum(axis=1)
    least, most = sums.min(initial=np.inf), sums.max(initial=0)
    if len(sums) < 2 or values.min() < 0 or most <= 0 or most - least > ONE_TOTAL * (most + least):
        return ""
    return f"every row sums to {least:.6g}" + (f" to {most:.6g}" if most - least > 1e-6 * most else "")


def _counts(values: Array) -> str:
    """What tells that numbers, none negative, are whole and not just 0 and 1, or no words."""
    counts = values.size and values.min() >= 0 and values.max() > 1 and (values == np.floor(values)).all()
    return "all are whole" if counts else ""


def _check_shape(values: Declared, data: Data, subject: str) -> None:
    """Raise DataError for values of a wrong shape, which need not be read as yet."""
    m = len(data.classes)
    if len(values.shape) != 2 or values.dtype.kind not in "fiu" or values.shape[1] != m:
        what = f"numbers of shape {values.shape} ({values.dtype})"
        raise DataError(f"{subject}: {what}; must be (rows, {m}), a column a class")
    if values.shape[0] > data.source_rows:
        known = f"the source has {data.source_rows}, of which {len(data.train)} are trained on"
        what = f"{values.shape[0]} rows, but {known}"
        raise DataError(f"{subject}: {what}; give either, or number them in a column {ROW!r}")


def _numbers(ids: Array, count: int, total: int, subject: str) -> Array:
    ids = np.asarray(ids)
    _check_numbers(ids, count, subject)
    if not (ids == np.floor(ids)).all():
        raise DataError(f"{subject}: {ROW!r} of {ids.dtype} {ids.shape}; must be {count} whole numbers, a row's each")
    if (outside := ids[(ids < 0) | (ids >= total)]).size:
        what = f"row {outside[0]} is not in the source, whose rows are 0 to {total - 1}"
        raise DataError(f"{subject}: {what}; number the rows as in the source, from 0")
    ids = ids.astype(np.int64)
    numbers, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        row = int(np.argmax(counts > 1))
        raise DataError(f"{subject}: row {numbers[row]} has {counts[row]} predictions; give one")
    return ids


def _check_numbers(ids: Declared, count: int, subject: str) -> None:
    if ids.shape != (count,) or ids.dtype.kind not in "iuf":
        raise DataError(f"{subject}: {ROW!r} of {ids.dtype} {ids.shape}; must be {count} whole numbers, a row's each")


Read = tuple[Array, Sequence[Any] | None, str | None, Array | None]  # values, classes, kind, rows


def _npy(path: Path, data: Data, subject: str) -> Read:
    _check_shape(read_npy_header(path), data, subject)
    return read_npy(path), None, None, None


def _npz(path: Path, data: Data, subject: str) -> Read:
    with open_npz(path) as file:
        named = [name for name in KINDS if name in file.names]
        others = [name for name in file.names if name not in (ROW, "classes")]
        if len(named or others) != 1:
            what = f"holds the arrays {listing(file.names) or 'none'}"
            raise DataError(
                f"{path}: {what}; must have one of probabilities and logits, and may have {ROW} and classes"
            )
        (values,), extras = named or others, [name for name in (ROW, "classes") if name in file.names]
        headers = file.headers([values, *extras])
        if "classes" in extras and (len(shape := headers["classes"].shape) != 1 or shape[0] > MOST_CLASSES):
            raise DataError(f"{path}: classes of shape {shape}; must be a list of {len(data.classes)} names")
        _check_shape(headers[values], data, subject)
        if ROW in extras:
            _check_numbers(headers[ROW], headers[values].shape[0], subject)
        arrays = file.read(headers)
    classes = arrays["classes"].tolist() if "classes" in extras else None
    return arrays[values], classes, named[0] if named else None, arrays.get(ROW)


def _csv(path: Path, data: Data, subject: str) -> Read:
    """Columns named as the classes, or p_CLASS as `predict` writes them; in front perhaps `row` or `class`."""
    names, counts = tuple(map(spelled, data.classes)), (data.source_rows, len(data.train))
    sheet = read_sheet(path, "auto", names, planned=False, same=spelled)
    columns = [i for i in range(sheet.width) if i != sheet.columns.get("class")]
    table = csvfile.table(sheet, columns, None)
    if set(map(spelled, sheet.header or ())) == set(names) and all(map(PLAIN_NUMBER.fullmatch, names)):
        fits, fits_as_row = (len(table.x) + more in counts for more in (0, 1))  # a row of votes may look like the names
        if fits and fits_as_row:
            what = "line 1 can be a header (the classes) or a row, and the number of rows fits either"
            raise DataError(f"{path}: {what}; number the rows in a column {ROW!r}, or name the columns p_CLASS")
        if fits_as_row:
            sheet = read_sheet(path, False)
            table = csvfile.table(sheet, columns, None)
    named, values, ids = table.names, np.asarray(table.x), None
    if ROW in (named or ()):
        at = columns.index(sheet.columns[ROW])
        values, ids = np.delete(values, at, axis=1), values[:, at]
    classes = [name for name in named if name != ROW] if named else None
    prefixed = (
        classes is not None
        and set(map(spelled, classes)) != set(names)
        and all(name.startswith("p_") for name in classes)
    )
    if prefixed and classes:
        classes = [name.removeprefix("p_") for name in classes]
    return values, classes, "probabilities" if prefixed else None, ids


READERS = {".npy": _npy, ".npz": _npz}
