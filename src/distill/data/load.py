"""The plan's rows under one seed: classes numbered, rows split by class, features scaled."""

from dataclasses import replace
from typing import Any

import numpy as np

from distill.config.schema import DataPlan
from distill.data.classes import class_numbers, number_classes
from distill.data.prepare import check_scaling, count_present, far_notes, ready_rows, scaling_notes
from distill.data.rows import Data, Rows
from distill.data.scaling import Scaling, fit
from distill.data.source import read
from distill.data.split import stratified
from distill.data.table import Source, Table, called
from distill.errors import DataError
from distill.nn.vector import Array
from distill.system.rng import stream


def load(plan: DataPlan, train_ratio: float, max_samples: int | None, seed: int) -> Data:
    """Read the rows of a plan, and split them under one seed. Raises DataError."""
    return split(read(plan), plan, train_ratio, max_samples, seed)


def split(source: Source, plan: DataPlan, train_ratio: float, max_samples: int | None, seed: int) -> Data:
    """Number the classes, take `max_samples` rows if given, split by class, scale. Raises DataError.

    Of the labelled rows, data.test_ratio make the test set, 1 - train_ratio - test_ratio the validation rows, and the
    rest are trained on, together with the rows that have no label (class number -1).
    """
    rows, test = source.rows, source.test
    if test is not None and plan.test_ratio:
        raise DataError(f"{plan.source}: has a test set of its own, beside data.test_ratio; remove data.test_ratio")
    classes, y = number_classes(called(plan.source), rows, max_samples)
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
    check_scaling(scaling, rows)
    present = count_present(rows, used)
    notes = scaling_notes(plan.scale, scaling, rows, training, present)
    ready = ready_rows(scaling, rows, tested, y) if len(tested) else None
    if test is not None:
        ready = _test(test, rows, scaling, classes, plan)
        notes += far_notes("test set", scaling, test)
    return Data(
        source=plan.source,
        train=ready_rows(scaling, rows, training, y),
        validation=ready_rows(scaling, rows, validation, y),
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


def _test(test: Table, rows: Table, scaling: Scaling, classes: tuple[Any, ...], plan: DataPlan) -> Rows:
    """A given test set, used as it is: all of its rows, with the training rows' scaling and classes."""
    if test.y is None:
        raise DataError(f"{plan.test or plan.source}: the test set has no labels; add them")
    if test.x.shape[1] != rows.x.shape[1]:
        raise DataError(
            f"{plan.test or plan.source}: the test set has {test.x.shape[1]} features, "
            f"the training rows have {rows.x.shape[1]}; make them alike"
        )
    ready = ready_rows(scaling, test, np.arange(len(test.x)), class_numbers(test, classes))
    return replace(ready, tested=True)
