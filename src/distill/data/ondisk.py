"""Rows that stay on disk: read block by block, so that memory does not grow with the file.

Nothing is mapped into memory: the system would count every page that was touched as ours, and a file that shrinks
during a run would kill the process instead of being an error.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from distill.data.scaling import Scaling
from distill.errors import DataError
from distill.nn.vector import Array

# A block holds the rows of so many bytes as the networks take them; a window, so many blocks, is shuffled at a time.
BLOCK_BYTES, WINDOW = 2 << 20, 16


class DiskArray:
    """The array (N,D) that a file holds from `offset` on, row after row. Slices and index arrays are read at once."""

    def __init__(self, path: Path, dtype: Any, shape: tuple[int, ...], offset: int) -> None:
        """A file's rows of any shape, each of them as one line of numbers."""
        self.path, self.dtype, self.offset = path, np.dtype(dtype), offset
        self.shape = (shape[0], int(np.prod(shape[1:], dtype=np.int64)))
        self.ndim, self.size = 2, self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: Any) -> Array:
        """The rows of a slice, or of ascending indices, in the machine's byte order. Raises DataError."""
        if isinstance(chosen, slice):
            start, stop, _ = chosen.indices(len(self))
            return self._read(start, max(start, stop))
        rows, at = np.asarray(chosen), 0
        picked = np.empty((len(rows), self.shape[1]), self.dtype.newbyteorder("="))
        while at < len(rows):  # what lies between them is read too, but never much at a time
            first = int(rows[at])
            end = int(np.searchsorted(rows, first + max(1, BLOCK_BYTES // (self.shape[1] * self.dtype.itemsize))))
            picked[at:end] = self._read(first, int(rows[end - 1]) + 1)[rows[at:end] - first]
            at = end
        return picked

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self[:].astype(dtype or self.dtype.newbyteorder("="), copy=False)

    def _read(self, start: int, stop: int) -> Array:
        width = self.shape[1]
        try:
            at = self.offset + start * width * self.dtype.itemsize
            read = np.fromfile(self.path, self.dtype, (stop - start) * width, offset=at)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror or error}") from None
        if len(read) != (stop - start) * width:
            raise DataError(f"{self.path}: ended before row {stop}; it changed while it was read, run again")
        return read.reshape(-1, width).astype(self.dtype.newbyteorder("="), copy=False)


class DiskRows:
    """Chosen rows of a DiskArray as a network takes them: scaled when they are read. Stands where x (N,D) stands."""

    def __init__(
        self, array: DiskArray, rows: Array, scaling: Scaling, place: Callable[[int, int], str] | None = None
    ) -> None:
        """`rows` are ascending indices; `place` names a value's place in the file."""
        self.array, self.rows, self.scaling, self.place = array, rows, scaling, place
        self.shape, self.dtype = (len(rows), array.shape[1]), np.dtype(np.float32)
        self.block = max(1, BLOCK_BYTES // (4 * array.shape[1]))
        self._cached: dict[int, Array] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen: Any) -> Any:
        """A slice is read, a row is read, an array of indices or truth values makes a smaller DiskRows."""
        if isinstance(chosen, slice):
            return self._scaled(self.rows[chosen])
        if isinstance(chosen, np.ndarray):
            return DiskRows(self.array, self.rows[chosen], self.scaling, self.place)
        return self._scaled(self.rows[chosen : chosen + 1])[0]

    def shuffle(self, order: Array, rng: np.random.Generator) -> None:
        """Order the rows anew: blocks of neighbours in a random order, and the rows of every WINDOW blocks mixed."""
        starts = rng.permutation(np.arange(0, len(self), self.block))
        at = 0
        for first in range(0, len(starts), WINDOW):
            begin = at
            for start in starts[first : first + WINDOW].tolist():
                stop = min(start + self.block, len(self))
                order[at : at + stop - start] = np.arange(start, stop)
                at += stop - start
            rng.shuffle(order[begin:at])

    def take(self, rows: Array, out: Array) -> None:
        """Gather rows into out; the blocks that a window holds are kept, so that each is read once an epoch."""
        blocks = rows // self.block
        for number in np.unique(blocks).tolist():
            here = np.flatnonzero(blocks == number)
            out[here] = self._block(number)[rows[here] - number * self.block]

    def _block(self, number: int) -> Array:
        if number not in self._cached:
            while len(self._cached) >= 2 * WINDOW:  # a batch may reach from one window into the next
                del self._cached[next(iter(self._cached))]
            self._cached[number] = self[number * self.block : (number + 1) * self.block]
        return self._cached[number]

    def _scaled(self, rows: Array) -> Array:
        raw = self.array[rows]
        scaled = self.scaling.apply(raw)
        if not np.isfinite(scaled).all():
            row, column = (int(i) for i in np.argwhere(~np.isfinite(scaled))[0])
            at = self.place(int(rows[row]), column) if self.place else f"{self.array.path}: row {rows[row]}"
            raise DataError(f"{at}: {raw[row, column]:g} is too large for float32; remove or replace it")
        return scaled


def shuffle(x: Array | DiskRows, order: Array, rng: np.random.Generator) -> None:
    """Fill `order` (N,) with the numbers of the rows in a new random order."""
    if isinstance(x, DiskRows):
        x.shuffle(order, rng)
    else:
        order.fill(1)  # 0, 1, 2, ... without a second array of that length
        order[:1] = 0
        np.cumsum(order, out=order)
        rng.shuffle(order)


def gather(x: Array | DiskRows, rows: Array, out: Array) -> None:
    """Write these rows of x (N,D) into out."""
    if isinstance(x, DiskRows):
        x.take(rows, out)
    else:
        np.take(x, rows, axis=0, out=out, mode="clip")
