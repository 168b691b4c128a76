"""A teacher that is ready to be asked, whatever it comes from: logits and hidden layers for rows."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from distill.data.rows import Rows
from distill.data.scaling import BLOCK_NUMBERS
from distill.model import Model
from distill.nn.network import EVALUATION_ROWS
from distill.nn.vector import Array
from distill.train.fit import Trained
from distill.train.outputs import Respond

Outputs = tuple[Array, dict[int, Array]]  # logits (N,M), hidden layers {k: (N,C)}


@dataclass(frozen=True)
class Teacher:
    """A teacher and what is known about it.

    `inputs` gives what it takes for some rows: features as the networks take them, raw ones, or its predictions for
    them; None where it has no outputs. `respond` computes its outputs from those, `respond_to_noisy` from features with
    noise as the networks take them.
    """

    name: str
    inputs: Callable[[Rows], Any]
    respond: Respond
    respond_to_noisy: Respond | None = None
    depth: int = 0  # hidden layers that it can show
    model: Model | None = None
    trained: Trained | None = None
    parameters: int | None = None
    fingerprint: str | None = None  # SHA-256 of its weights, or of its predictions
    cache_key: str | None = None  # SHA-256 of all that its outputs depend on, where they may be cached
    kind: str | None = None  # logits or probabilities, where that was read from the numbers
    notes: tuple[str, ...] = ()  # what was changed about it, a sentence each
    weakness: str = ""  # why it would be refused, where distillation.weak_teacher lets it pass
    evaluated: dict[bytes, Array | None] = field(default_factory=dict)  # its logits for rows that models are judged on

    def is_unchanged(self) -> bool:
        """Whether its weights are still those that it began with."""
        return self.model is None or self.model.fingerprint() == self.fingerprint

    def outputs(self, rows: Rows, layers: Collection[int] = ()) -> Outputs | None:
        """Return its outputs for rows, or None where it has none for them."""
        inputs = self.inputs(rows)
        return None if inputs is None else self.respond(inputs, layers)

    def blocks(self, rows: Rows, layers: Collection[int] = ()) -> Iterator[tuple[slice, Any]]:
        """Yield its outputs block by block, each with its place; None in place of outputs that it does not have."""
        for start in range(0, len(rows), size := block_rows(rows)):
            place = slice(start, min(start + size, len(rows)))
            block = rows if size >= len(rows) else rows.take(np.arange(place.start, place.stop))
            yield place, self.outputs(block, layers)

    def logits(self, rows: Rows) -> Array | None:
        """Return its logits (N,M) for rows that models are judged on, computed once; None where it has none."""
        key = bytes([rows.tested]) + rows.ids.tobytes()
        if key not in self.evaluated:
            blocks = [outputs for _, outputs in self.blocks(rows)]
            complete = all(outputs is not None for outputs in blocks)
            self.evaluated[key] = np.concatenate([logits for logits, _ in blocks]) if complete else None
        return self.evaluated[key]


def block_rows(rows: Rows) -> int:
    """Return how many rows to take at a time: all where they are in memory, else whole evaluation blocks of a network,
    so that their bits are the same."""
    if isinstance(rows.x, np.ndarray):
        return max(1, len(rows))
    return max(1, BLOCK_NUMBERS // (rows.x.shape[1] * EVALUATION_ROWS)) * EVALUATION_ROWS
