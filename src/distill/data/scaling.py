"""Scaling: fitted on the training rows only, stored with the model, applied to whatever it is asked about."""

from dataclasses import dataclass

import numpy as np

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
            if (missing := np.isnan(block)).any():
                block = np.where(missing, self.fill, block)
            with np.errstate(all="ignore"):
                block -= self.offset
                block *= self.factor
                scaled[start : start + BLOCK_ROWS] = block
        return scaled


def fit(kind: str, x: Array) -> Scaling:
    """Choose offset and factor from the training rows x (N,D).

    none: as it is. standard: mean 0 and standard deviation 1 per feature. minmax: each feature's range becomes 0 to 1.
    auto: for bytes (images), the range of all features together becomes 0 to 1, so that a pixel that is almost always
    dark is not blown up; for everything else, standard. A constant feature becomes 0. A feature without any value, or
    with values too large for a float64 sum of squares, gets figures that are not finite.
    """
    observed = ~np.isnan(x) if x.dtype.kind == "f" else np.ones(x.shape, bool)
    if kind == "auto":
        kind = "pixels" if x.dtype == np.uint8 else "standard"
    with np.errstate(all="ignore"):  # an empty or too large feature shows in the figures, which the caller checks
        fill = np.add.reduce(x, axis=0, where=observed, dtype=np.float64) / observed.sum(axis=0)
        offset, spread = SCALES[kind](x, observed, fill)
        constant = spread <= 1e-12 * np.abs(offset)
        return Scaling(kind, offset, 1 / np.where(constant, 1, spread), fill)


def _none(x: Array, observed: Array, mean: Array) -> tuple[Array, Array]:
    return np.zeros(x.shape[1]), np.ones(x.shape[1])


def _standard(x: Array, observed: Array, mean: Array) -> tuple[Array, Array]:
    squares = np.add.reduce(np.square(x - mean), axis=0, where=observed)
    return mean, np.sqrt(squares / observed.sum(axis=0))


def _minmax(x: Array, observed: Array, mean: Array) -> tuple[Array, Array]:
    low = np.where(observed, x, np.inf).min(axis=0)
    return low, np.where(observed, x, -np.inf).max(axis=0) - low


def _pixels(x: Array, observed: Array, mean: Array) -> tuple[Array, Array]:
    low, high = float(x.min()), float(x.max())
    return np.full(x.shape[1], low), np.full(x.shape[1], high - low)


SCALES = {"none": _none, "standard": _standard, "minmax": _minmax, "pixels": _pixels}
