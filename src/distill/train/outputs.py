"""The outputs of a frozen teacher for the training rows, computed once: in memory, or mapped from disk."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from distill.config.schema import Term
from distill.errors import DataError
from distill.nn.ops import combine
from distill.nn.vector import Array

# Rows (N,D) as a network takes them, and the hidden layers that are needed -> logits (N,M), {layer: (N,C)}
Respond = Callable[[Array, Collection[int]], tuple[Array, dict[int, Array]]]


class Closable(Protocol):
    """Files that the outputs are mapped from, and that end with them."""

    def close(self) -> object:
        """Remove the files."""


@dataclass(frozen=True)
class TeacherOutputs:
    """One teacher's logits (N,M) and hidden layers {k: (N,C)} (0 is the input) for N rows, and the rows' numbers in
    their source (N,).

    `depth` is the number of its hidden layers; `respond` computes its outputs for rows with noise. `files` are those
    that the arrays are mapped from, where they are temporary.
    """

    logits: Array
    layers: Mapping[int, Array]
    ids: Array
    depth: int = 0
    respond: Respond | None = None
    files: Closable | None = None

    def close(self) -> None:
        """Free the disk, which garbage collection might do late, and a killed worker never."""
        if self.files is not None:
            self.files.close()

    def check(self, ids: Array, name: str) -> None:
        """Raise DataError unless these are the outputs for the rows of these numbers, in this order."""
        if not np.array_equal(self.ids, ids):
            first = (
                "" if len(self.ids) != len(ids) else f"; the first that differs is {first_difference(self.ids, ids)}"
            )
            what = f"its answers are to {len(self.ids)} rows, the student has {len(ids)}{first}"
            raise DataError(f"teacher {name!r}: {what}; answer the student's rows, in their order")


def teacher_logits(term: Term, outputs: Mapping[str, TeacherOutputs], rows: Any) -> Array:
    """Return the logits (n,M) of a term's teachers together, for some of the rows, in float64."""
    return ensemble_logits(term, {name: outputs[name].logits[rows] for name, _ in term.teachers}, np.float64)


def ensemble_logits(term: Term, logits: Mapping[str, Array], dtype: Any) -> Array:
    """Combine the logits of a term's teachers, each with its share."""
    members = [logits[name].astype(dtype) for name, _ in term.teachers]
    shares = [share for _, share in term.teachers]
    options = term.options
    return combine(members, shares, options.get("combine", "probabilities"), options.get("temperature", 1.0))


def first_difference(ids: Array, others: Array) -> str:
    """Name the first rows by which two equally long lists of row numbers differ."""
    i = int(np.flatnonzero(ids != others)[0])
    return f"row {ids[i]} against row {others[i]}"
