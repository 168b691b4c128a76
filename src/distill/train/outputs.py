"""What a teacher said of the training rows, once and for all: in memory, or where that is too much, on disk.

A folder of answers is keyed by who answered and what was asked, so that one teacher is asked about the same rows only
once, whatever the temperature or the loss: logits and hidden layers are kept as they left the teacher.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.config.schema import Term
from distill.errors import DataError
from distill.nn.ops import combine
from distill.nn.vector import Array

# Rows (N,D) as a network takes them, and the hidden layers that are wanted -> logits (N,M), {layer: (N,C)}
Respond = Callable[[Array, Collection[int]], tuple[Array, dict[int, Array]]]


@dataclass(frozen=True)
class Answers:
    """One teacher's answers to N rows: logits (N,M), hidden layers {k: (N,C)} (0 is the input), and the rows' numbers
    in their source (N,). `depth` is how many hidden layers it has; `respond` asks it about rows never seen before.
    """

    logits: Array
    layers: Mapping[int, Array]
    ids: Array
    depth: int = 0
    respond: Respond | None = None
    held: Any = None  # keeps a temporary folder alive as long as its files are mapped

    def end(self) -> None:
        """Give back the disk that they take, which garbage collection might do late, and a killed worker never."""
        if self.held is not None:
            self.held.end()

    def check(self, ids: Array, who: str) -> None:
        """Raise DataError unless these are the answers to the rows of these numbers, in this order."""
        if not np.array_equal(self.ids, ids):
            first = "" if len(self.ids) != len(ids) else f"; the first that differs is {_first(self.ids, ids)}"
            what = f"its answers are to {len(self.ids)} rows, the student has {len(ids)}{first}"
            raise DataError(f"teacher {who!r}: {what}; answer the student's rows, in their order")


def said(term: Term, answers: Mapping[str, Answers], rows: Any) -> Array:
    """The logits (n,M) that a term listens to, for some of the rows, in float64."""
    names = [name for name, _ in term.teachers]
    return together(term, {name: answers[name].logits[rows] for name in names}, np.float64)


def together(term: Term, logits: Mapping[str, Array], dtype: Any) -> Array:
    """The logits of a term's teachers as one."""
    members = [logits[name].astype(dtype) for name, _ in term.teachers]
    shares = [share for _, share in term.teachers]
    options = term.options
    return combine(members, shares, options.get("combine", "probabilities"), options.get("temperature", 1.0))


def _first(ours: Array, theirs: Array) -> str:
    i = int(np.flatnonzero(ours != theirs)[0])
    return f"row {ours[i]} against row {theirs[i]}"
