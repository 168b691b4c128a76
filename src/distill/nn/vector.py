"""Where numbers live: a Vector is one flat array with named views, an Arena hands out the same arrays every step."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]
New = Callable[[Shape], Array]  # where an op's result goes; np.empty is plain float64 mathematics


class Vector:
    """One flat array whose parts are reached by name: `v["w1"]` is a view, `v.flat` is everything.

    Gradients and optimiser states are vectors of the same shapes, so the optimiser, clipping, hashing and saving work
    on one 1-D array.
    """

    def __init__(self, shapes: Mapping[str, Shape], dtype: DTypeLike = np.float32, flat: Array | None = None) -> None:
        """`flat`, shape (sum of all sizes,), is used as it is; without it the vector starts at zero."""
        self.shapes = dict(shapes)
        size = sum(math.prod(shape) for shape in self.shapes.values())
        self.flat: Array = np.zeros(size, dtype) if flat is None else flat
        if self.flat.shape != (size,):
            raise ValueError(f"the shapes {self.shapes} hold {size} numbers, the flat array {self.flat.shape}")
        self.views: dict[str, Array] = {}
        start = 0
        for name, shape in self.shapes.items():
            self.views[name] = self.flat[start : start + math.prod(shape)].reshape(shape)
            start += math.prod(shape)

    def __getitem__(self, name: str) -> Array:
        return self.views[name]

    def like(self) -> "Vector":
        """A vector of the same shapes, all zero."""
        return Vector(self.shapes, self.flat.dtype)

    def frozen(self) -> "Vector":
        """A copy that cannot be written to, neither as a whole nor through its views."""
        flat = self.flat.copy()
        flat.flags.writeable = False
        return Vector(self.shapes, flat=flat)


class Arena:
    """A `new(shape)` for a loop: after `rewind()` the k-th request of a step gets the k-th array of the step before.

    What an arena hands out holds until the next `rewind()`; whatever must outlive the step is copied. A step with
    other shapes (a shorter last batch) gets arrays of its own.
    """

    def __init__(self, dtype: DTypeLike = np.float32) -> None:
        self.dtype = np.dtype(dtype)
        self.arrays: dict[tuple[int, Shape], Array] = {}
        self.request = 0

    def rewind(self) -> None:
        """Begin the next step."""
        self.request = 0

    def __call__(self, shape: Shape) -> Array:
        key = (self.request, shape)
        self.request += 1
        array = self.arrays.get(key)
        if array is None:
            array = self.arrays[key] = np.empty(shape, self.dtype)
        return array
