"""A source (digits, CSV, NPZ, NPY, IDX) -> Data: classes numbered, rows split by class, features scaled.

Read in this order: `labels` (which labels are one class), `table` (what a file becomes), `columns` (which may be no
features), `sheet`, `csvfile`, `npz`, `npy`, `idx` (the kinds of files), `split`, `scaling`, `ondisk` (rows that are
too many for memory).
"""

import hashlib
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from distill.config.schema import DataPlan
from distill.data import csvfile, idx, npy, npz, table
from distill.data.columns import equal_to_label
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
    spelled,
)
from distill.data.ondisk import DiskArray, DiskRows, gather, shuffle
from distill.data.scaling import FAR, TAILED_BOUND, Scaling, blocks, fit
from distill.data.sheet import counted, read_sheet
from distill.data.split import stratified
from distill.data.table import Source, Table, called, nearest
from distill.errors import DataError
from distill.nn.vector import Array
from distill.system.rng import stream

__all__ = [
    "Data",
    "DiskRows",
    "Rows",
    "Scaling",
    "class_numbers",
    "gather",
    "load",
    "locate",
    "read",
    "read_new",
    "shuffle",
    "spelled",
    "split",
]

LARGE, FEW = 100.0, 10  # larger scaled values, and columns with fewer values, are worth a note
NO_LABELS = "has no labels to learn from; add them (y in NPZ, y.npy beside X.npy, labels beside IDX images)"
DIGITS = Path(__file__).with_name("digits.npz")


@dataclass(frozen=True)
class Rows:
    """Rows ready for a network: x (N,D) float32, in memory or on disk, y (N,) class numbers, -1 where a training row
    has no label, ids (N,) their numbers in the file that they come from, from 0; `tested` where that is the file of a
    test set of its own."""

    x: Array | DiskRows
    y: Array
    ids: Array
    tested: bool = False

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: Array) -> "Rows":
        """Some of them, by place."""
        return replace(self, x=self.x[rows], y=self.y[rows], ids=self.ids[rows])


@dataclass(frozen=True)
class Data:
    """Everything a run learns from and is judged on."""

    source: str
    train: Rows
    validation: Rows
    test: Rows | None
    classes: tuple[Any, ...]  # class number -> label, see `labels`
    scaling: Scaling
    names: tuple[str, ...] | None  # of the features, where the file has them
    label: int | str | None  # the label's column in a CSV, by name where it has a header
    source_rows: int  # of the whole file, used or not; a test set of its own is another file
    missing: int  # empty fields among all features
    picture: tuple[int, ...] | None  # (height, width) where a row is a picture
    raw: Source  # the rows as their files hold them
    notes: tuple[str, ...]  # what was guessed or looks odd, a sentence each

    @property
    def features(self) -> int:
        """Features per row."""
        return int(self.train.x.shape[1])

    def fingerprint(self) -> str:
        """SHA-256 of every row as the networks take it, and of the labels: what changes when the data do."""
        digest = hashlib.sha256()
        for rows in (self.train, *self.judged.values()):
            for some in blocks(*rows.x.shape):
                digest.update(rows.x[some].tobytes())
            digest.update(rows.y.tobytes())
        return digest.hexdigest()

    def unscaled(self, rows: Rows) -> Array:
        """These rows (N,D) as their file holds them, NaN where a value is missing."""
        table = self.raw.test if rows.tested else self.raw.rows
        assert table is not None
        raw: Array = np.asarray(table.x[rows.ids])
        return raw

    @property
    def judged(self) -> dict[str, Rows]:
        """The rows that models are judged on, by the name that results use."""
        return {"val": self.validation} | ({"test": self.test} if self.test else {})


def load(plan: DataPlan, train_ratio: float, max_samples: int | None, seed: int) -> Data:
    """Read the rows of a plan, and split them under one seed. Raises DataError."""
    return split(read(plan), plan, train_ratio, max_samples, seed)


def read(plan: DataPlan) -> Source:
    """The rows of a plan as its files hold them, and those of its test set where it has one. Raises DataError."""
    source = _read(plan.source, plan)
    if len(empty := np.flatnonzero(_present(source.rows, np.arange(len(source.rows.x))) == 0)):
        what = f"no value in any row; remove {'them' if len(empty) > 1 else 'it'}"
        raise DataError(f"{_file(source.rows)}: {_columns(source.rows, empty)}: {what}")
    rows = _noted(source.rows, plan.source, "")  # the source is named beside its notes
    if plan.test is None:
        return Source(rows, source.test)
    if locate(plan.test).samefile(locate(plan.source)):
        raise DataError(f"{plan.test}: the test set is the source itself; name another file, or use data.test_ratio")
    test = _in_order(_read(plan.test, plan, rows).rows, rows, plan.test)
    return Source(rows, _noted(test, plan.test, f"{plan.test}: "))


def _noted(table: Table, name: str, prefix: str) -> Table:
    """The table with `prefix` in its notes in place of the file's path."""
    path = f"{called(locate(name))}: "
    return replace(table, notes=tuple(prefix + note.removeprefix(path) for note in table.notes))


def split(source: Source, plan: DataPlan, train_ratio: float, max_samples: int | None, seed: int) -> Data:
    """Number the classes, take `max_samples` rows if given, split by class, scale. Raises DataError.

    Of the labelled rows, data.test_ratio make the test set, 1 - train_ratio - test_ratio the validation rows, and the
    rest are trained on, together with the rows that have no label (class number -1).
    """
    rows, test = source.rows, source.test
    if test is not None and plan.test_ratio:
        raise DataError(f"{plan.source}: has a test set of its own, beside data.test_ratio; remove data.test_ratio")
    classes, y = _number_classes(called(plan.source), rows, max_samples)
    used = np.arange(len(y))
    if max_samples is not None and max_samples < len(y):
        _, groups = np.unique(y, return_inverse=True)
        used = np.flatnonzero(~stratified(groups, len(y) - max_samples, stream(seed, "subsample"), leave=1))
    labelled = used[y[used] >= 0]
    tested = _take(labelled, y, round(len(labelled) * plan.test_ratio), len(classes), stream(seed, "test"))
    left = _without(labelled, tested)
    held_out = max(1, round(len(labelled) * (1 - train_ratio - plan.test_ratio)))
    validation = _take(left, y, held_out, len(classes), stream(seed, "split"))
    training = _without(used, np.concatenate([validation, tested]))
    scaling = fit(plan.scale, rows.x, training, pictures=rows.picture is not None)
    _check_scaling(scaling, rows)
    present = _present(rows, used)
    notes = _scaling_notes(plan.scale, scaling, rows, training, present)
    ready = _ready(scaling, rows, tested, y) if len(tested) else None
    if test is not None:
        ready = _test(test, rows, scaling, classes, plan)
        notes += _far_notes("test set", scaling, test)
    return Data(
        source=plan.source,
        train=_ready(scaling, rows, training, y),
        validation=_ready(scaling, rows, validation, y),
        test=ready,
        classes=classes,
        scaling=scaling,
        names=rows.names,
        label=rows.label,
        source_rows=len(y),
        missing=int((len(used) - present).sum()),
        picture=rows.picture,
        raw=source,
        notes=rows.notes + (test.notes if test else ()) + notes,
    )


def read_new(
    path: str,
    scaling: Scaling,
    names: Sequence[str] | None,
    label: int | str | None,
    asked: int | str | None = None,
    dropped: Sequence[int] = (),
) -> Table:
    """Rows for a finished model with this scaling, with their labels where the file has any. Raises DataError.

    A CSV with the model's feature names is read by name, in any order and among other columns; one without is read by
    position, with or without the label's column. `label` is where the training file had it, `dropped` the columns that
    were left out of it; `asked`, where given, is where the label must be. A file with a test set of its own gives that.
    """
    rows = _new_rows(path, len(scaling.offset), names, label, asked, dropped)
    _scaled(scaling, rows, np.arange(len(rows.x)))
    return replace(rows, notes=rows.notes + _far_notes(called(path), scaling, rows))


def _new_rows(
    path: str,
    features: int,
    names: Sequence[str] | None,
    label: int | str | None,
    asked: int | str | None,
    dropped: Sequence[int],
) -> Table:
    found, path = locate(path), called(path)
    if (kind := _kind(found)) is not csvfile:
        if asked is not None:
            raise DataError(f"{path}: --label names a column of a CSV file, and this is none; remove it")

        def check(x: table.Declared, y: table.Declared | None = None) -> None:
            if (width := math.prod(x.shape[1:])) != features:
                raise DataError(f"{path}: {width} features, but the model takes {features}; give rows of that kind")

        source: Source = npz.read(found, check) if kind is npz else kind.read(found)
        rows = source.test or source.rows
        check(rows.x)
        return _held(rows)
    names, label = names and tuple(map(normal, names)), normal(label) if isinstance(label, str) else label
    place, width = asked if asked is not None or isinstance(label, str) else label, features + len(dropped)
    sheet = read_sheet(found, "auto", names, place, width + 1 if asked is None else None, planned=False)
    column = None
    if asked is not None:
        column = csvfile.label_column(sheet, asked)
    elif isinstance(label, str):
        column = sheet.columns.get(label)
    elif label is not None and sheet.width == width + 1:
        column = csvfile.label_column(sheet, label)
    if names and sheet.header:
        if missing := [name for name in names if name not in sheet.columns]:
            what = f"no column {quoted(missing[0])}, which the model needs"
            raise DataError(f"{path}: {what}; {nearest(missing[0], sheet.header)}")
        return csvfile.table(sheet, [sheet.columns[name] for name in names], column)
    trained = label % (width + 1) if isinstance(label, int) else None
    fitting = csvfile.layouts(sheet.width, features, trained, dropped, column if asked is not None else None)
    if len(fitting) == 1:
        return csvfile.table(sheet, fitting[0].features, fitting[0].label)
    if fitting:
        what = f"{sheet.width} columns can be {' or '.join(layout.what for layout in fitting)}"
        advice = f"give the features alone ({features}) or every column ({width + 1}), or name the label with --label"
        raise DataError(
            f"{path}: {what}, as training left out {counted(len(dropped), 'column')} ({listing(dropped)}); {advice}"
        )
    count = counted(sheet.width - (column is not None), "column") + " beside the label's" * (column is not None)
    what = f"the model takes {features} features" + (f", named {listing(names)}; add a header" if names else "")
    without = f" without the columns {listing(dropped)} that training left out, or all of them" if dropped else ""
    raise DataError(f"{path}: {count}, but {what}{without}; give rows of that kind")


def class_numbers(table: Table, classes: Sequence[Any]) -> Array:
    """The labels' class numbers, matched as `spelled` has them, so that 3 in one kind of file is 3 in another."""
    assert table.y is not None
    labels, inverse = np.unique(table.y, return_inverse=True)
    number = {spelled(name): i for i, name in enumerate(classes)}
    if len(number) < len(classes):
        twice = next(name for i, name in enumerate(classes) if number[spelled(name)] != i)
        raise DataError(f"two of the model's classes are one label, {spelled(twice)!r}; train it again")
    found = np.array([number.get(spelled(label), -1) for label in labels.tolist()], np.int64)[inverse]
    missing = np.zeros(len(found), bool) if table.labelled is None else ~table.labelled
    missing |= (found < 0) & (np.array([spelled(label) == "-1" for label in labels.tolist()], bool)[inverse])
    if missing.any():
        row = int(missing.argmax())
        raise DataError(f"{table.place(row, None)}: the label is missing; give every row that is judged a label")
    if (found < 0).any():
        row = int(np.flatnonzero(found < 0)[0])
        known = ", ".join(map(cut, list(number)[:20])) + (", ..." if len(number) > 20 else "")
        what = f"the class {quoted(labels[inverse[row]].item())} does not occur among the training rows"
        raise DataError(f"{table.place(row, None)}: {what}; known are {known}")
    return found


def locate(name: str) -> Path:
    """Where the data of a name are: the embedded digits, or a path (see table.locate). Raises DataError."""
    return DIGITS if name == "digits" else table.locate(name)


def _read(name: str, plan: DataPlan, learned: Table | None = None) -> Source:
    """A file to learn from, or a test set for rows that are learned from."""
    path, learn = locate(name), learned is None
    kind = _kind(path)
    if kind is csvfile:
        return csvfile.read(path, plan, learned)
    if plan.label is not None or plan.header != "auto" or plan.drop:
        raise DataError(f"{name}: data.label, data.header and data.drop act only on CSV files; remove them")

    def check(x: table.Declared, y: table.Declared | None) -> None:
        if y is None and learn:
            raise DataError(f"{name}: {NO_LABELS}")

    keys: dict[Any, dict[str, Any]] = {npy: {"megabytes": plan.in_memory_mb}, npz: {"check": check}}
    source: Source = kind.read(path, **keys.get(kind, {}))
    rows = _labelled(_held(source.rows, plan.in_memory_mb), plan.unlabelled_label, learn=learn)
    if source.test is None:
        return Source(rows)
    return Source(rows, _labelled(_held(source.test, plan.in_memory_mb), plan.unlabelled_label, learn=False))


def _labelled(table: Table, mark: Any, *, learn: bool) -> Table:
    """The table with those rows unlabelled that `mark` says; to `learn` from, its labels must be able to be classes."""
    if table.y is None or (mark == "auto" and not learn):
        return table
    place = table.place(None, None)
    known = mark_unlabelled(Labels(table.y, np.ones(len(table.y), bool)), mark, place, negative=True)
    if learn and (fault := label_fault(known)):
        raise DataError(f"{place}: {fault}")
    table = replace(table, labelled=None if known.labelled.all() else known.labelled)
    if not learn:
        return table
    equal = [f"{table.place(None, 0)}: feature {k} equals the label, one to one" for k in equal_to_label(table)[:3]]
    return replace(table, notes=(*table.notes, *known.notes, *label_notes(known, place), *equal))


def _held(table: Table, megabytes: float = math.inf) -> Table:
    """The table with its rows in memory, unless they take more than so many megabytes as a network takes them."""
    fits = 4 * table.x.size <= megabytes * 1_000_000
    return replace(table, x=np.asarray(table.x)) if fits else table


def _present(table: Table, rows: Array) -> Array:  # -> (D,)
    """How many of these rows have a value, column by column; rows on disk always have one."""
    present = np.full(table.x.shape[1], len(rows))
    if isinstance(table.x, np.ndarray) and table.x.dtype.kind == "f":
        for some in blocks(len(rows), table.x.shape[1]):
            present -= np.isnan(table.x[rows[some]]).sum(axis=0)
    return present


def _kind(path: Path) -> Any:
    """The room that reads this path: a folder with X.npy or a *.npy file is NPY, any other folder or *idx?-ubyte* IDX,
    *.npz NPZ, everything else CSV."""
    if path.suffix.lower() == ".npy" or os.path.isfile(path / "X.npy"):  # noqa: PTH113  unlike Path.is_file, of a closed folder too
        return npy
    if path.is_dir() or re.search(r"idx\d-ubyte", path.name):
        return idx
    return npz if path.suffix.lower() == ".npz" else csvfile


def _number_classes(name: str, rows: Table, max_samples: int | None) -> tuple[tuple[Any, ...], Array]:
    """The classes, and every row's class number, -1 where it has no label."""
    if rows.y is None:
        raise DataError(f"{name}: {NO_LABELS}")
    labelled = np.ones(len(rows.y), bool) if rows.labelled is None else rows.labelled
    labels, inverse = np.unique(rows.y[labelled], return_inverse=True)
    classes, count = tuple(labels.tolist()), int(labelled.sum())
    if few := few_classes(Labels(rows.y, labelled)):
        raise DataError(f"{name}: {few}")
    if count <= len(classes):
        what = "is the label column the right one?"
        raise DataError(f"{name}: {count} rows for {len(classes)} classes; must have more rows than classes; {what}")
    if max_samples is not None and max_samples <= len(classes):
        what = f"max_samples is {max_samples} for {len(classes)} classes; must be more than the classes"
        raise DataError(f"{name}: {what}")
    y = np.full(len(rows.y), -1)
    y[labelled] = inverse
    return classes, y


def _take(rows: Array, y: Array, count: int, classes: int, rng: np.random.Generator) -> Array:
    """Choose `count` of the rows (indices into y), by class in proportion; every class keeps at least one row."""
    if not count:
        return rows[:0]
    _, groups = np.unique(y[rows], return_inverse=True)
    return rows[stratified(groups, min(count, len(rows) - classes), rng, leave=1)]


def _without(rows: Array, taken: Array) -> Array:
    """The rows that are not taken, both as ascending indices; np.setdiff1d would load numpy.ma for this."""
    left = np.zeros(rows.max(initial=-1) + 1, bool)
    left[rows] = True
    left[taken] = False
    return np.flatnonzero(left)


def _check_scaling(scaling: Scaling, rows: Table) -> None:
    finite = np.isfinite([scaling.offset, scaling.factor, scaling.fill]).all(axis=0)
    if len(large := np.flatnonzero(~finite)):
        what = "numbers too large to scale; divide them by a constant"
        raise DataError(f"{_file(rows)}: {_columns(rows, large)}: {what}")


def _scaling_notes(asked: str, scaling: Scaling, rows: Table, training: Array, present: Array) -> tuple[str, ...]:
    """What came of the scaling that the plan asks for; `present` are the values among all rows that are used."""
    empty, few = _present(rows, training) == 0, present < min(FEW, present.max())
    large = np.greater(scaling.reach, LARGE) & (asked != "auto")
    medians = f"divides by the typical distance from the median, and takes logarithms beyond {TAILED_BOUND:g}"
    notes = {
        "no value among the training rows; counts as 0": empty,
        f"fewer than {FEW} values; counts as 0 under a seed whose training rows have none": few & ~empty,
        f"mostly one value, or some far out; data.scale: auto {medians}": scaling.tailed,
        f"scaled values of up to {np.max(scaling.reach):,.0f}; data.scale: auto would bound them": large,
    }
    told = [f"{_columns(rows, np.flatnonzero(here))}: {what}" for what, here in notes.items() if here.any()]
    if asked == "auto" and scaling.kind == "pixels" and rows.picture is None:
        told.append("bytes are taken for pixels, of one scale; data.scale: standard gives each feature its own")
    return tuple(told)


def _far_notes(what: str, scaling: Scaling, rows: Table) -> tuple[str, ...]:
    """What lies far outside of what the training rows hold."""
    counts = scaling.far(rows.x)
    columns, count = np.flatnonzero(counts), int(counts.sum())
    values = f"{count:,} value{'s' if count > 1 else ''} more than {FAR:g} times as far out as any training value"
    return (f"{what}: {_columns(rows, columns)}: {values}; check the unit",) if count else ()


def _file(rows: Table) -> str:
    return rows.place(None, 0).partition(": ")[0]


def _columns(rows: Table, columns: Array, most: int = 5) -> str:
    """Columns as their file counts and names them, and how many more there are."""
    places = [(rows.place(None, number), number) for number in columns[:most].tolist()]
    shown = [place.partition(": column ")[2] or str(number) for place, number in places]
    more = f" and {len(columns) - most:,} more" if len(columns) > most else ""
    return f"column{'s' if len(columns) > 1 else ''} {', '.join(shown)}{more}"


def _ready(scaling: Scaling, table: Table, used: Array, y: Array) -> Rows:
    """The used rows of a table, in ascending order; y (N,) covers all of its rows."""
    labels = y[used].astype(np.int64)
    if isinstance(table.x, DiskArray):
        return Rows(DiskRows(table.x, used, scaling, table.place), labels, used)
    return Rows(_scaled(scaling, table, used), labels, used)


def _scaled(scaling: Scaling, table: Table, used: Array) -> Array:
    scaled = np.empty((len(used), table.x.shape[1]), np.float32)
    for some in blocks(*scaled.shape):
        scaled[some] = scaling.apply(table.x[used[some]])
    if not np.isfinite(scaled).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(scaled))[0])
        place, value = table.place(int(used[row]), column), table.x[used[row], column]
        raise DataError(f"{place}: {value:g} is too large for float32 with scale {scaling.kind}; remove or replace it")
    return scaled


def _test(test: Table, rows: Table, scaling: Scaling, classes: tuple[Any, ...], plan: DataPlan) -> Rows:
    """A given test set, used as it is: all of its rows, with the training rows' scaling and classes."""
    if test.y is None:
        raise DataError(f"{plan.test or plan.source}: the test set has no labels; add them")
    if test.x.shape[1] != rows.x.shape[1]:
        raise DataError(
            f"{plan.test or plan.source}: the test set has {test.x.shape[1]} features, "
            f"the training rows have {rows.x.shape[1]}; make them alike"
        )
    ready = _ready(scaling, test, np.arange(len(test.x)), class_numbers(test, classes))
    return replace(ready, tested=True)


def _in_order(test: Table, rows: Table, name: str) -> Table:
    """A test set from a file of its own, its columns in the order of the training file's where both have names."""
    if not rows.names or not test.names or rows.names == test.names or len(rows.names) != len(test.names):
        return test
    if odd := sorted(set(rows.names) ^ set(test.names)):
        raise DataError(f"{name}: the column {quoted(odd[0])} is in only one of the training and the test file")
    at = {column: i for i, column in enumerate(test.names)}
    order = [at[column] for column in rows.names]
    original = test.place
    place = lambda row, column: original(row, None if column is None else order[column])  # noqa: E731
    return replace(test, x=np.asarray(test.x)[:, order], names=rows.names, place=place)
