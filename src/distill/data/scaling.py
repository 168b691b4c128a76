"""Scaling: fitted on the training rows only, stored with the model, applied to whatever it is asked about."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from distill.nn.vector import Array

BLOCK_NUMBERS = 1 << 19  # read and scaled at a time, so that the float64 intermediate stays small
SAMPLE_NUMBERS = 1 << 21  # of the training rows, for medians

# What a deviation does not measure: values that are nearly all the same; a value so many deviations out; a deviation of
# so many typical distances.
SAME, TAIL = 0.75, 10.0
BOUND, TAILED_BOUND = 10.0, 5.0  # of scaled values, where the training values are all within it, and where some are not
SLOPE = 0.5  # of the logarithm of what is beyond the bound
FAR = 3.0  # times the reach of the training values
LEAST_PIXELS = 49  # bytes in rows of fewer are numbers like others


def blocks(rows: int, features: int) -> Iterator[slice]:
    """The rows, so many at a time that their features are at most BLOCK_NUMBERS."""
    most = max(1, BLOCK_NUMBERS // max(1, features))
    return (slice(start, min(start + most, rows)) for start in range(0, rows, most))


@dataclass(frozen=True)
class Scaling:
    """scaled = (x - offset) * factor, feature by feature; a missing x (NaN) counts as `fill`.

    Beyond +-bound a scaled value grows with its logarithm alone, and no further than that of the training values, whose
    `reach` is how far from 0 they go before that. All of shape (D,); `bound` and `reach` are infinite where there is
    none, or it is not known.
    """

    kind: str
    offset: Array
    factor: Array
    fill: Array
    bound: Array | float = np.inf
    reach: Array | float = np.inf

    def apply(self, x: Array) -> Array:  # (N,D) -> (N,D) float32
        """The rows as the network takes them; infinite where float32 cannot hold them."""
        scaled = np.empty(x.shape, np.float32)
        bounded = np.isfinite(self.bound).any()
        for some in blocks(*x.shape):
            block = x[some].astype(np.float64)
            if (missing := np.isnan(block)).any():
                block = np.where(missing, self.fill, block)
            with np.errstate(all="ignore"):
                block -= self.offset
                block *= self.factor
                scaled[some] = block
            if bounded:
                part = scaled[some]
                part[...] = np.where(np.isfinite(part), self._bounded(part), part)
        return scaled

    def _bounded(self, scaled: Array) -> Array:
        """Values in their bounds: cut off where no training value was, and beyond `bound` in logarithms, which keep the
        order of a long tail."""
        size = np.minimum(np.abs(scaled), np.maximum(self.bound, self.reach))
        beyond = np.maximum(size - self.bound, 0)
        with np.errstate(invalid="ignore"):
            bounded: Array = np.copysign(np.where(beyond > 0, self.bound + SLOPE * np.log1p(beyond), size), scaled)
        return bounded

    def undo(self, x: Array) -> Array:  # (N,D) -> (N,D) float64
        """Raw rows from scaled ones, to within rounding."""
        constant = self.factor == 0
        beyond = np.maximum(np.abs(x) - self.bound, 0)
        x = np.where(beyond > 0, np.copysign(self.bound + np.expm1(beyond / SLOPE), x), x)
        raw: Array = np.where(constant, self.fill, x / np.where(constant, 1, self.factor) + self.offset)
        return raw

    @property
    def tailed(self) -> Array:  # (D,)
        """Whether a feature is scaled by medians, as `_by_medians` says."""
        tailed: Array = np.broadcast_to(np.equal(self.bound, TAILED_BOUND), self.offset.shape)
        return tailed

    def far(self, x: Any) -> Array:  # (N,D) -> (D,)
        """Count, feature by feature, the values that are more than FAR times as far out as any training value."""
        counts, limit = np.zeros(x.shape[1], np.int64), np.where(np.equal(self.reach, 0), np.inf, FAR * self.reach)
        with np.errstate(all="ignore"):
            for some in blocks(*x.shape):
                counts += (np.abs((x[some].astype(np.float64) - self.offset) * self.factor) > limit).sum(axis=0)
        return counts


def fit(kind: str, x: Any, rows: Array, *, pictures: bool = False) -> Scaling:
    """Choose offset and factor from the training rows, those of x (N,D) that `rows` names, which may be `pictures`.

    none: as it is. standard: mean 0 and standard deviation 1 per feature. minmax: each feature's range becomes 0 to 1.
    auto: for pictures of bytes, and rows of LEAST_PIXELS bytes or more, the range of all features together becomes 0 to
    1, so that a pixel that is almost always dark is not blown up; for everything else, standard within +-BOUND, but for
    features that the deviation does not measure (`_by_medians`). Except under none, a feature that is constant in the
    training rows becomes 0, and stays 0 in rows where it is not: the weights that it meets were never trained. So does
    a feature without any value in them, under none too. A feature with values too large for a float64 sum of squares
    gets figures that are not finite.
    """
    auto = kind == "auto"
    if auto:
        kind = "pixels" if x.dtype == np.uint8 and (pictures or x.shape[1] >= LEAST_PIXELS) else "standard"
    with np.errstate(all="ignore"):  # a too large feature shows in the figures, which the caller checks
        count, total = np.zeros(x.shape[1], np.int64), np.zeros(x.shape[1])
        low, high = np.full(x.shape[1], np.inf), np.full(x.shape[1], -np.inf)
        for block, observed in _blocks(x, rows):
            count += np.add.reduce(np.broadcast_to(observed, block.shape), axis=0)
            total += np.add.reduce(block, axis=0, where=observed, dtype=np.float64)
            low = np.fmin(low, np.fmin.reduce(block, axis=0))
            high = np.fmax(high, np.fmax.reduce(block, axis=0))
        empty, count = count == 0, np.maximum(count, 1)
        low, high = np.where(empty, 0, low), np.where(empty, 0, high)
        mean, squares = total / count, np.zeros(x.shape[1])
        if kind == "standard":
            for block, observed in _blocks(x, rows):
                squares += np.add.reduce(np.square(block - mean), axis=0, where=observed)
        offset, spread = SCALES[kind](mean, np.sqrt(squares / count), low, high)
        constant = empty | (spread <= 1e-12 * np.abs(offset))
        factor = np.where(constant, 0, 1 / np.where(constant, 1, spread))
        scaling = Scaling(kind, offset, np.where(np.isfinite(spread), factor, np.nan), mean)
        scaling = _reaching(scaling, low, high)
        return _by_medians(scaling, x, rows, low, high) if auto and kind == "standard" else scaling


def _reaching(scaling: Scaling, low: Array, high: Array) -> Scaling:
    """With the reach of training values from `low` to `high`; of pixels together, so that a dark one may be bright."""
    reach = np.maximum(high - scaling.offset, scaling.offset - low) * scaling.factor
    return replace(scaling, reach=np.full_like(reach, reach.max()) if scaling.kind == "pixels" else reach)


def _by_medians(scaling: Scaling, x: Any, rows: Array, low: Array, high: Array) -> Scaling:
    """Bound a standard scaling, and put the median and the typical distance from it in place of mean and deviation
    where a few values make up the deviation: where more than SAME of them are the same, where one is more than TAIL
    deviations out, or where the deviation is more than TAIL times the typical distance.

    So a word's weight that is 0 in most rows stays 0 there and is about 1 elsewhere, an income is measured by the many
    and not by the richest, and 99999 for an unknown age does not press all ages into one. The typical distance is the
    median distance of those values that are not the median, times 1.4826, which for normal ones is the deviation.
    """
    some = rows[:: -(-len(rows) * x.shape[1] // SAMPLE_NUMBERS)]
    sample = x[some]
    parts = [_typical(sample[:, columns]) for columns in blocks(x.shape[1], len(some))]
    centre, typical, same = (np.concatenate(part) for part in zip(*parts, strict=True))
    widest = np.maximum(high - centre, centre - low)
    typical = np.where(typical > 0, np.maximum(typical, 1e-30 * widest), widest)
    tailed = (same > SAME) | (scaling.reach > TAIL) | (typical * scaling.factor < 1 / TAIL)
    tailed &= (scaling.factor > 0) & np.isfinite(typical)
    offset, fill = (np.where(tailed, centre, usual) for usual in (scaling.offset, scaling.fill))
    factor = np.where(tailed, 1 / np.where(tailed, typical, 1), scaling.factor)
    bound = np.where(tailed, TAILED_BOUND, BOUND)
    return _reaching(Scaling(scaling.kind, offset, factor, fill, bound), low, high)


def _typical(x: Array) -> tuple[Array, Array, Array]:  # (N,D) -> (D,), (D,), (D,)
    """The median of each feature, the typical distance from it, NaN or 0 where no value is away from it, and the share
    of values that are the median."""
    ordered = np.sort(x.astype(np.float64), axis=0)
    count = (~np.isnan(ordered)).sum(axis=0)
    centre = _at(ordered, count // 2)
    distances = np.sort(np.abs(ordered - centre), axis=0)
    same = (distances <= 1e-12 * np.abs(centre)).sum(axis=0)
    return centre, 1.4826 * _at(distances, same + (count - same) // 2), same / np.maximum(count, 1)


def _at(ordered: Array, places: Array) -> Array:  # (N,D), (D,) -> (D,)
    values: Array = np.take_along_axis(ordered, np.minimum(places, len(ordered) - 1)[None], axis=0)[0]
    return values


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
