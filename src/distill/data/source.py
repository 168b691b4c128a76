"""The files of a plan, read by the reader of their kind."""

import math
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from distill.config.schema import DataPlan
from distill.data import csvfile, idx, npy, npz, table
from distill.data.columns import equal_to_label
from distill.data.labels import (
    Labels,
    label_fault,
    label_notes,
    mark_unlabelled,
    quoted,
)
from distill.data.prepare import column_list, count_present, file_of
from distill.data.table import Source, Table, called
from distill.errors import DataError

NO_LABELS = "has no labels to learn from; add them (y in NPZ, y.npy beside X.npy, labels beside IDX images)"


DIGITS = Path(__file__).with_name("digits.npz")


def read(plan: DataPlan) -> Source:
    """The rows of a plan as its files hold them, and those of its test set where it has one. Raises DataError."""
    source = _read(plan.source, plan)
    if len(empty := np.flatnonzero(count_present(source.rows, np.arange(len(source.rows.x))) == 0)):
        what = f"no value in any row; remove {'them' if len(empty) > 1 else 'it'}"
        raise DataError(f"{file_of(source.rows)}: {column_list(source.rows, empty)}: {what}")
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


def locate(name: str) -> Path:
    """Where the data of a name are: the embedded digits, or a path (see table.locate). Raises DataError."""
    return DIGITS if name == "digits" else table.locate(name)


def _read(name: str, plan: DataPlan, learned: Table | None = None) -> Source:
    """A file to learn from, or a test set for rows that are learned from."""
    path, learn = locate(name), learned is None
    kind = reader_of(path)
    if kind is csvfile:
        return csvfile.read(path, plan, learned)
    if plan.label is not None or plan.header != "auto" or plan.drop:
        raise DataError(f"{name}: data.label, data.header and data.drop act only on CSV files; remove them")

    def check(x: table.Declared, y: table.Declared | None) -> None:
        if y is None and learn:
            raise DataError(f"{name}: {NO_LABELS}")

    keys: dict[Any, dict[str, Any]] = {npy: {"megabytes": plan.in_memory_mb}, npz: {"check": check}}
    source: Source = kind.read(path, **keys.get(kind, {}))
    rows = _labelled(in_memory(source.rows, plan.in_memory_mb), plan.unlabelled_label, learn=learn)
    if source.test is None:
        return Source(rows)
    return Source(rows, _labelled(in_memory(source.test, plan.in_memory_mb), plan.unlabelled_label, learn=False))


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


def in_memory(table: Table, megabytes: float = math.inf) -> Table:
    """The table with its rows in memory, unless they take more than so many megabytes as a network takes them."""
    fits = 4 * table.x.size <= megabytes * 1_000_000
    return replace(table, x=np.asarray(table.x)) if fits else table


def reader_of(path: Path) -> Any:
    """The room that reads this path: a folder with X.npy or a *.npy file is NPY, any other folder or *idx?-ubyte* IDX,
    *.npz NPZ, everything else CSV."""
    if path.suffix.lower() == ".npy" or os.path.isfile(path / "X.npy"):  # noqa: PTH113  unlike Path.is_file, of a closed folder too
        return npy
    if path.is_dir() or re.search(r"idx\d-ubyte", path.name):
        return idx
    return npz if path.suffix.lower() == ".npz" else csvfile


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
