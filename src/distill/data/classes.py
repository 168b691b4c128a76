"""Classes: their numbers among the labels of a table."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from distill.data.labels import (
    Labels,
    cut,
    few_classes,
    quoted,
    spelled,
)
from distill.data.source import NO_LABELS
from distill.data.table import Table
from distill.errors import DataError
from distill.nn.vector import Array


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


def number_classes(name: str, rows: Table, max_samples: int | None) -> tuple[tuple[Any, ...], Array]:
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
