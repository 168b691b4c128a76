"""Scaling: fitted on the training rows only, stored with the model, applied to whatever it is asked about."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.nn.vector import Array

BLOCK_NUMBERS = 1 << 19  # read and scaled at a time, so that the float64 intermediate stays small


def blocks(rows: int, features: int) -> Iterator[slice]:
    """The rows, so many at a time that their features are at most BLOCK_NUMBERS."""
    most = max(1, BLOCK_NUMBERS // max(1, features))
    return (slice(start, min(start + most, rows)) for start in range(0, rows, most))


@dataclass(frozen=True)
class Scaling:
    """scaled = (x - offset) * factor, feature by feature; a missing x (NaN) counts as `fill`. All of shape (D,)."""

    kind: str
    offset: Array
    factor: Array
    fill: Array

    def apply(self, x: Array) -> Array:  # (N,D) -> (N,D) float32
        """The rows as the network takes them; infinite where float32 cannot hold them."""
        scaled = np.empty(x.shape, np.float32)
        for some in blocks(*x.shape):
            block = x[some].astype(np.float64)
            if (missing := np.isnan(block)).any():
                block = np.where(missing, self.fill, block)
            with np.errstate(all="ignore"):
                block -= self.offset
                block *= self.factor
                scaled[some] = block
        return scaled

    def undo(self, x: Array) -> Array:  # (N,D) -> (N,D) float64
        """Raw rows from scaled ones, to within rounding."""
        constant = self.factor == 0
        raw: Array = np.where(constant, self.fill, x / np.where(constant, 1, self.factor) + self.offset)
        return raw


def fit(kind: str, x: Any, rows: Array) -> Scaling:
    """Choose offset and factor from the training rows, those of x (N,D) that `rows` names.

    none: as it is. standard: mean 0 and standard deviation 1 per feature. minmax: each feature's range becomes 0 to 1.
    auto: for bytes (images), the range of all features together becomes 0 to 1, so that a pixel that is almost always
    dark is not blown up; for everything else, standard. Except under none, a feature that is constant in the training
    rows becomes 0, and stays 0 in rows where it is not: the weights that it meets were never trained. A feature without
    any value, or with values too large for a float64 sum of squares, gets figures that are not finite.
    """
    if kind == "auto":
        kind = "pixels" if x.dtype == np.uint8 else "standard"
    with np.errstate(all="ignore"):  # an empty or too large feature shows in the figures, which the caller checks
        count, total = np.zeros(x.shape[1], np.int64), np.zeros(x.shape[1])
        low, high = np.full(x.shape[1], np.inf), np.full(x.shape[1], -np.inf)
        for block, observed in _blocks(x, rows):
            count += np.add.reduce(np.broadcast_to(observed, block.shape), axis=0)
            total += np.add.reduce(block, axis=0, where=observed, dtype=np.float64)
            low = np.fmin(low, np.fmin.reduce(block, axis=0))
            high = np.fmax(high, np.fmax.reduce(block, axis=0))
        mean, squares = total / count, np.zeros(x.shape[1])
        if kind == "standard":
            for block, observed in _blocks(x, rows):
                squares += np.add.reduce(np.square(block - mean), axis=0, where=observed)
        offset, spread = SCALES[kind](mean, np.sqrt(squares / count), low, high)
        constant = spread <= 1e-12 * np.abs(offset)
        return Scaling(kind, offset, np.where(constant, 0, 1 / np.where(constant, 1, spread)), mean)


def _blocks(x: Any, rows: Array) -> Iterator[tuple[Array, Any]]:
    """The rows, a few at a time, and which of their values are there."""
    for some in blocks(len(rows), x.shape[1]):
        block = x[rows[some]]
        yield block, ~np.isnan(block) if block.dtype.kind == "f" else True


# (mean, deviation, lowest, highest), all (D,) -> offset, spread
SCALES: dict[str, Callable[[Array, Array, Array, Array], tuple[Array, Array]]] = {
    "none": lambda mean, deviation, low, high: (np.zeros_like(mean), np.ones_like(mean)),
    "standard": lambda mean, deviation, low, high: (mean, deviation),
    "minmax": lambda mean, deviation, low, high: (low, high - low),
    "pixels": lambda mean, deviation, low, high: (
        np.full_like(mean, low.min()),
        np.where(high == low, 0, high.max() - low.min()),
    ),
}
