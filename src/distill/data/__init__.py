"""A source (digits, CSV, NPZ, IDX) -> Data: classes numbered, rows split by class, features scaled.

Read in this order: `table` (what a file becomes), `csvfile`, `npz`, `idx` (the kinds of files), `split`, `scaling`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill.config import DataPlan
from distill.data import csvfile, idx, npz
from distill.data.scaling import Scaling, fit
from distill.data.split import stratified
from distill.data.table import Source, Table, locate
from distill.errors import DataError
from distill.nn.vector import Array
from distill.streams import stream

__all__ = ["Data", "Rows", "Scaling", "class_numbers", "load", "locate", "read_new"]

DIGITS = Path(__file__).with_name("digits.npz")


@dataclass(frozen=True)
class Rows:
    """Rows ready for a network: x (N,D) float32, y (N,) class numbers."""

    x: Array
    y: Array

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Data:
    """Everything a run learns from and is judged on."""

    source: str
    train: Rows
    validation: Rows
    test: Rows | None
    classes: tuple[Any, ...]  # class number -> label as the file spells it
    scaling: Scaling
    names: tuple[str, ...] | None  # of the features, where the file has them
    label: int | str | None  # the label's column, as the plan names it
    missing: int  # empty fields among all features

    @property
    def features(self) -> int:
        """Features per row."""
        return int(self.train.x.shape[1])

    @property
    def judged(self) -> dict[str, Rows]:
        """The rows that models are judged on, by the name that results use."""
        return {"val": self.validation} | ({"test": self.test} if self.test else {})


def load(plan: DataPlan, train_ratio: float, max_samples: int | None, seed: int) -> Data:
    """Read, number the classes, take `max_samples` rows if given, split by class, scale. Raises DataError."""
    source = _read(plan.source, plan)
    rows, test = source.rows, source.test
    if plan.test is not None:
        test = _read(plan.test, plan).rows
    if rows.y is None:
        raise DataError(
            f"{plan.source}: has no labels to learn from; add them (y in NPZ, a label file beside IDX images)"
        )
    labels, y = np.unique(rows.y, return_inverse=True)
    classes = tuple(labels.tolist())
    _check_classes(plan.source, classes, len(y), max_samples)
    x = rows.x
    if max_samples is not None and max_samples < len(y):
        kept = _every_class(y, max_samples, stream(seed, "subsample"))
        x, y = x[kept], y[kept]
    held_out = round(len(y) * (1 - train_ratio))
    held_out = max(1, min(held_out, len(y) - len(classes)))
    validation = stratified(y, held_out, stream(seed, "split"), leave=1)
    scaling = fit(plan.scale, x[~validation], rows.names)
    return Data(
        source=plan.source,
        train=_ready(scaling, x[~validation], y[~validation], plan),
        validation=_ready(scaling, x[validation], y[validation], plan),
        test=None if test is None else _test(test, rows, scaling, classes, plan),
        classes=classes,
        scaling=scaling,
        names=rows.names,
        label=plan.label,
        missing=int(np.isnan(x).sum()) if x.dtype.kind == "f" else 0,
    )


def read_new(path: str, features: int, names: Sequence[str] | None, label: int | str | None) -> Table:
    """Rows for a finished model of so many features, with their labels where the file has any.

    A CSV with the model's feature names is read by name, in any order and among other columns; one without is read by
    position, with or without the label's column. A file with a test set of its own gives that one.
    """
    place = locate(path)
    if (kind := _kind(place)) is not csvfile:
        source: Source = kind.read(place)
        table = source.test or source.rows
        if table.x.shape[1] != features:
            raise DataError(
                f"{path}: {table.x.shape[1]} features, but the model takes {features}; give it rows of that kind"
            )
        return table
    sheet = csvfile.read_sheet(place, "auto", tuple(names) if names else None)
    header = sheet.header or ()
    column = None
    if names and header:
        if missing := [name for name in names if name not in header]:
            raise DataError(f"{path}: no column {missing[0]!r}; the model needs {', '.join(names)}")
        if label is not None and (not isinstance(label, str) or label in header):
            column = csvfile.label_column(sheet, label)
        wanted = [header.index(name) for name in names]
        return csvfile.table(sheet, wanted, None if column in wanted else column)
    if sheet.width == features + 1:
        column = csvfile.label_column(sheet, -1 if label is None or isinstance(label, str) else label)
    elif sheet.width != features:
        raise DataError(f"{path}: {sheet.width} columns, but the model takes {features} features (and perhaps a label)")
    return csvfile.table(sheet, [i for i in range(sheet.width) if i != column], column)


def class_numbers(table: Table, classes: Sequence[Any]) -> Array:
    """The labels' class numbers, matched as texts, so that 3 in one kind of file is 3 in another."""
    assert table.y is not None
    labels, inverse = np.unique(table.y, return_inverse=True)
    number = {str(name): i for i, name in enumerate(classes)}
    found = np.array([number.get(str(label), -1) for label in labels.tolist()], np.int64)[inverse]
    if (found < 0).any():
        row = int(np.flatnonzero(found < 0)[0])
        known = ", ".join(list(number)[:20]) + (", ..." if len(number) > 20 else "")
        what = f"the class {labels[inverse[row]].item()!r} does not occur among the training rows"
        raise DataError(f"{table.place(row, None)}: {what}; known are {known}")
    return found


def _read(name: str, plan: DataPlan) -> Source:
    path = DIGITS if name == "digits" else locate(name)
    kind = _kind(path)
    if kind is csvfile:
        return csvfile.read(path, plan.label, plan.header)
    if plan.label is not None or plan.header != "auto":
        raise DataError(f"{name}: data.label and data.header act only on CSV files; remove them")
    source: Source = kind.read(path)
    return source


def _kind(path: Path) -> Any:
    """The room that reads this path: a folder or *idx?-ubyte* is IDX, *.npz NPZ, everything else CSV."""
    if path.is_dir() or re.search(r"idx\d-ubyte", path.name):
        return idx
    return npz if path.suffix.lower() == ".npz" else csvfile


def _check_classes(name: str, classes: tuple[Any, ...], rows: int, max_samples: int | None) -> None:
    if len(classes) < 2:
        raise DataError(f"{name}: every row has the label {classes[0]!r}; must have at least two classes")
    if rows <= len(classes):
        what = "is the label column the right one?"
        raise DataError(f"{name}: {rows} rows for {len(classes)} classes; must have more rows than classes; {what}")
    if max_samples is not None and max_samples <= len(classes):
        raise DataError(
            f"{name}: max_samples is {max_samples} for {len(classes)} classes; must be more than the classes"
        )


def _every_class(y: Array, most: int, rng: np.random.Generator) -> Array:
    """Mark `most` rows, at least one of every class."""
    return ~stratified(y, len(y) - most, rng, leave=1)


def _ready(scaling: Scaling, x: Array, y: Array, plan: DataPlan) -> Rows:
    scaled = scaling.apply(x)
    if not np.isfinite(scaled).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(scaled))[0])
        raise DataError(
            f"{plan.source}: {x[row, column]:g} in feature {column} is too large for float32 with scale: {plan.scale}; "
            "use scale: standard, or remove it"
        )
    return Rows(scaled, y.astype(np.int64))


def _test(test: Table, rows: Table, scaling: Scaling, classes: tuple[Any, ...], plan: DataPlan) -> Rows:
    """A given test set, used as it is: all of its rows, with the training rows' scaling and classes."""
    if test.y is None:
        raise DataError(f"{plan.test or plan.source}: the test set has no labels; add them")
    if test.x.shape[1] != rows.x.shape[1]:
        raise DataError(
            f"{plan.test or plan.source}: the test set has {test.x.shape[1]} features, "
            f"the training rows have {rows.x.shape[1]}; make them alike"
        )
    x = test.x
    if rows.names and test.names and rows.names != test.names:
        if set(rows.names) != set(test.names):
            odd = sorted(set(rows.names) ^ set(test.names))[0]
            raise DataError(f"{plan.test}: the column {odd!r} is in only one of the training and the test file")
        x = x[:, [test.names.index(name) for name in rows.names]]
    return _ready(scaling, x, class_numbers(test, classes), plan)
