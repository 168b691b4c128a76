"""The multilayer perceptron: ReLU between the layers, logits at the end.

Inside, a row of data is a column: h (C,N) holds N rows. Layer k's weights w_k (M,C+1) have the bias as their last
column, and every h a last line of ones, so that w @ h is the whole layer and d @ h.T its whole gradient. Long
contiguous lines are what NumPy is fast on. A stack of R networks has R in front of every shape.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np

from distill.nn.blas import one_thread
from distill.nn.network import EVALUATION_ROWS, Block, Network
from distill.nn.vector import Array, Shape, Vector

# A shared step's rows are cut into groups of so many, and its weights into blocks of so many numbers. Both are the same
# for every number of threads, so that the bits are.
SHARD_ROWS = 64
SHARED_NUMBERS = 160_000


@dataclass(frozen=True)
class MLP(Network):
    """A perceptron with these layer sizes, input and output included."""

    sizes: tuple[int, ...]
    family: ClassVar[str] = "mlp"

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or not all(type(size) is int and 0 < size < 2**31 for size in self.sizes):
            raise ValueError(f"layers of {self.sizes} units")

    @classmethod
    def build(cls, features: int, hidden: Sequence[int], classes: int) -> Self:
        """Return a perceptron with these hidden layers."""
        return cls((features, *hidden, classes))

    @property
    def shapes(self) -> dict[str, Shape]:
        """w1, w2, ..., one a layer."""
        return {f"w{k}": (m, c + 1) for k, (c, m) in enumerate(pairwise(self.sizes), start=1)}

    @property
    def units(self) -> tuple[int, ...]:
        """The layer sizes."""
        return self.sizes

    def parameters(self, layer: int) -> tuple[str]:
        """Return the name of a layer's weights and biases."""
        return (f"w{layer}",)

    def initialise(self, weights: Vector, rng: np.random.Generator) -> None:
        """Draw normal weights of variance 2/C before a ReLU (He et al. 2015), 1/C before the logits; biases are 0."""
        for k, (c, m) in enumerate(pairwise(self.sizes), start=1):
            variance = (2 if k <= self.depth else 1) / c
            weights[f"w{k}"][..., :-1] = rng.standard_normal((c, m)).T * variance**0.5
            weights[f"w{k}"][..., -1] = 0

    def work(self, rows: int) -> float:
        """A multiplication and an addition for each weight and row: forward, for its gradient, and for the derivative
        of its input, which the first layer leaves out."""
        layers = list(pairwise(self.sizes))
        products = 2 * sum(m * (c + 1) for c, m in layers) + sum(m * c for c, m in layers[1:])
        return 2.0 * rows * products

    def tape(
        self,
        weights: Vector,
        gradient: Vector,
        batches: int,
        rows: int,
        *,
        tapped: Collection[int] = (),
        shared: bool = False,
        learns: Callable[[int, str], bool] = lambda network, name: True,
    ) -> "Tape":
        """Return the arrays for `batches` batches of `rows` rows."""
        return Tape(weights, gradient, batches, rows, tapped, shared, learns)

    def apply(self, weights: Vector, x: Any, layers: Collection[int] = ()) -> tuple[Array, dict[int, Array]]:
        """Return the logits (N,M) of rows x (N,D), and the outputs (N,C) of these hidden layers, from 1."""
        *inner, last = ((w[:, :-1], w[:, -1:]) for w in weights.views.values())
        dtype = weights.flat.dtype
        logits = np.empty((len(x), len(last[0])), dtype)
        hidden = {k: np.empty((len(x), len(inner[k - 1][0])), dtype) for k in layers}
        with one_thread():
            for start in range(0, len(x), EVALUATION_ROWS):
                rows = slice(start, start + EVALUATION_ROWS)
                h = x[rows].T
                for k, (w, bias) in enumerate(inner, start=1):
                    h = w @ h
                    h += bias
                    np.maximum(h, 0, out=h)
                    if k in hidden:
                        hidden[k][rows] = h.T
                z = last[0] @ h
                z += last[1]
                logits[rows] = z.T
        return logits, hidden

    def reorder_classes(self, weights: Vector, order: Array) -> None:
        """Reorder the units of the last layer, in place."""
        last = weights[f"w{self.depth + 1}"]
        last[:] = last[order]


class Tape:
    """The arrays of a stack's batches, see `network.Tape`.

    `inputs` (N,D+1) are the batches with a 1 behind each row, `h[k]` (C+1,N) is layer k's output with its line of ones,
    `slopes[k]` (C,N) the derivative of the objective by what layer k computes before its ReLU; for the last layer, by
    the logits.
    """

    def __init__(
        self,
        weights: Vector,
        gradient: Vector,
        batches: int,
        rows: int,
        tapped: Collection[int],
        shared: bool,
        learns: Callable[[int, str], bool],
    ) -> None:
        dtype, stack = weights.flat.dtype, weights.stack
        self.weights = list(weights.views.values())
        units = [w.shape[-2] for w in self.weights]
        whole = np.ones((batches * rows, self.weights[0].shape[-1]), dtype)
        self.x = whole[:, :-1]
        self.inputs = list(whole.reshape(batches, rows, whole.shape[1]))
        self.h = {k: np.ones((*stack, c + 1, rows), dtype) for k, c in enumerate(units[:-1], start=1)}
        self.slopes = {k: np.empty((*stack, c, rows), dtype) for k, c in enumerate(units, start=1)}
        self.alive = {k: np.empty_like(self.slopes[k]) for k in self.h}  # 1 where the ReLU lets through, else 0
        self._seeds = {k: np.zeros_like(self.slopes[k]) for k in sorted(tapped)}
        self._logits = np.empty_like(self.slopes[len(units)])
        self.z, self.d = _stacked(self._logits), _stacked(self.slopes[len(units)])
        self.hidden = {k: _stacked(h)[:, :-1] for k, h in self.h.items()}
        self.seeds = {k: _stacked(seed) for k, seed in self._seeds.items()}
        self.shards = _shards(rows) if shared else [slice(0, rows)]
        self.blocks = self._blocks(weights, gradient, learns) if shared else [self._block(weights, gradient)]

    def forward(self, shard: slice) -> Callable[[int], None]:
        """Return what computes h and z of these columns for batch i."""
        *inner, last = self.weights
        layers = [(w, h[..., :-1, shard], h[..., shard]) for w, h in zip(inner, self.h.values(), strict=True)]
        inputs = [x[shard].T for x in self.inputs]
        z, zero = self._logits[..., shard], np.zeros((), self.z.dtype)

        def forward(i: int) -> None:
            h = inputs[i]
            for w, active, whole in layers:
                np.matmul(w, h, out=active)
                np.maximum(active, zero, out=active)
                h = whole
            np.matmul(last, h, out=z)

        return forward

    def backward(self, shard: slice) -> Callable[[], None]:
        """Return what fills these columns of every slope from those of the logits, which the objective has set."""
        layers = [
            (
                self.weights[k][..., :-1].swapaxes(-1, -2),
                self.slopes[k + 1][..., shard],
                self.slopes[k][..., shard],
                self.h[k][..., :-1, shard],
                self.alive[k][..., shard],
                self._seeds[k][..., shard] if k in self._seeds else None,
            )
            for k in reversed(self.h)
        ]

        def backward() -> None:
            for w, above, slope, h, alive, seed in layers:
                np.matmul(w, above, out=slope)
                if seed is not None:
                    np.add(slope, seed, out=slope)
                np.sign(h, out=alive)  # in floats: NumPy multiplies by truth values through a buffer
                np.multiply(slope, alive, out=slope)

        return backward

    def _block(self, weights: Vector, gradient: Vector) -> Block:
        """Everything at once."""
        products = [self._product(gradient, k, (), slice(None)) for k in self.slopes]
        return Block(0, weights.flat.size, _multiply(products))

    def _blocks(self, weights: Vector, gradient: Vector, learns: Callable[[int, str], bool]) -> list[Block]:
        """Some units of one layer of one network each, of all layers that learn."""
        blocks, start = [], 0
        for r, net in enumerate(np.ndindex(weights.stack)):
            for k, (name, (m, width)) in enumerate(weights.shapes.items(), start=1):
                cuts = np.linspace(0, m, max(1, round(m * width / SHARED_NUMBERS)) + 1).astype(int).tolist()
                for first, last in pairwise(cuts) if learns(r, name) else ():
                    product = self._product(gradient, k, net, slice(first, last))
                    blocks.append(Block(start + first * width, start + last * width, _multiply([product])))
                start += m * width
        return blocks

    def _product(
        self, gradient: Vector, k: int, net: tuple[int, ...], units: slice
    ) -> tuple[Array, list[Array], Array]:
        """Slopes and inputs of some units of a layer for every batch, whose product is their gradient; its place."""
        h = self.inputs if k == 1 else [self.h[k - 1][net].swapaxes(-1, -2)] * len(self.inputs)
        return self.slopes[k][net][..., units, :], h, gradient[f"w{k}"][net][..., units, :]


def _multiply(products: Sequence[tuple[Array, list[Array], Array]]) -> Callable[[int], None]:
    def differentiate(i: int) -> None:
        for slope, h, gradient in products:
            np.matmul(slope, h[i], out=gradient)

    return differentiate


def _shards(rows: int) -> list[slice]:
    cuts = np.linspace(0, rows, max(1, rows // SHARD_ROWS) + 1).astype(int).tolist()
    return [slice(*cut) for cut in pairwise(cuts)]


def _stacked(array: Array) -> Array:
    """A network alone is a stack of one."""
    return array if array.ndim == 3 else array[None]
