"""Scaling: fitted on the training rows only, stored with the model, applied to whatever it is asked about."""

from dataclasses import dataclass

import numpy as np

from distill.errors import DataError
from distill.nn.vector import Array

BLOCK_ROWS = 4096  # rows scaled at a time, so that the float64 intermediate stays small


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
        for start in range(0, len(x), BLOCK_ROWS):
            block = x[start : start + BLOCK_ROWS].astype(np.float64)
            if np.isnan(block.sum()):
                block = np.where(np.isnan(block), self.fill, block)
            block -= self.offset
            block *= self.factor
            with np.errstate(over="ignore"):
                scaled[start : start + BLOCK_ROWS] = block
        return scaled


def fit(kind: str, x: Array, names: tuple[str, ...] | None) -> Scaling:
    """Choose offset and factor from the training rows x (N,D).

    none: as it is. standard: mean 0 and standard deviation 1 per feature. minmax: each feature's range becomes 0 to 1.
    auto: for bytes (images), the range of all features together becomes 0 to 1, so that a pixel that is almost always
    dark is not blown up; for everything else, standard. A constant feature becomes 0.
    """
    observed = ~np.isnan(x) if x.dtype.kind == "f" else np.ones(x.shape, bool)
    if not observed.any(axis=0).all():
        column = int(np.flatnonzero(~observed.any(axis=0))[0])
        name = f" ({names[column]!r})" if names else ""
        raise DataError(f"feature {column}{name} has no value in any training row; remove the column")
    fill = x.mean(axis=0, where=observed, dtype=np.float64)
    if kind == "auto":
        kind = "pixels" if x.dtype == np.uint8 else "standard"
    offset, spread = _SCALES[kind](x, observed, fill)
    constant = spread <= 1e-12 * np.abs(offset)
    return Scaling(kind, offset, 1 / np.where(constant, 1, spread), fill)


def _none(x: Array, observed: Array, mean: Array) -> tuple[Array, Array]:
    return np.zeros(x.shape[1]), np.ones(x.shape[1])


def _standard(x: Array, observed: Array, mean: Array) -> tuple[Array, Array]:
    return mean, x.std(axis=0, where=observed, dtype=np.float64)


def _minmax(x: Array, observed: Array, mean: Array) -> tuple[Array, Array]:
    low = np.where(observed, x, np.inf).min(axis=0)
    return low, np.where(observed, x, -np.inf).max(axis=0) - low


def _pixels(x: Array, observed: Array, mean: Array) -> tuple[Array, Array]:
    low, high = float(x.min()), float(x.max())
    return np.full(x.shape[1], low), np.full(x.shape[1], high - low)


_SCALES = {"none": _none, "standard": _standard, "minmax": _minmax, "pixels": _pixels}
