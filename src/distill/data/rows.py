"""Rows as networks take them, and everything that a run learns from and is judged on."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from distill.data.ondisk import DiskRows
from distill.data.scaling import Scaling, blocks
from distill.data.table import Source
from distill.nn.vector import Array


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
