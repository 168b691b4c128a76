"""Rows for a finished model: matched to its features by name or by position."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from distill.data import csvfile, npz, table
from distill.data.labels import (
    listing,
    normal,
    quoted,
)
from distill.data.prepare import far_notes, scaled_rows
from distill.data.scaling import Scaling
from distill.data.sheet import counted, read_sheet
from distill.data.source import in_memory, locate, reader_of
from distill.data.table import Source, Table, called, nearest
from distill.errors import DataError


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
    scaled_rows(scaling, rows, np.arange(len(rows.x)))
    return replace(rows, notes=rows.notes + far_notes(called(path), scaling, rows))


def _new_rows(
    path: str,
    features: int,
    names: Sequence[str] | None,
    label: int | str | None,
    asked: int | str | None,
    dropped: Sequence[int],
) -> Table:
    found, path = locate(path), called(path)
    if (kind := reader_of(found)) is not csvfile:
        if asked is not None:
            raise DataError(f"{path}: --label names a column of a CSV file, and this is none; remove it")

        def check(x: table.Declared, y: table.Declared | None = None) -> None:
            if (width := math.prod(x.shape[1:])) != features:
                raise DataError(f"{path}: {width} features, but the model takes {features}; give rows of that kind")

        source: Source = npz.read(found, check) if kind is npz else kind.read(found)
        rows = source.test or source.rows
        check(rows.x)
        return in_memory(rows)
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
