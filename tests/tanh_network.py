"""A third family of networks, in one file: a perceptron with one hidden layer of tanh, in rows, with two matrices."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from distill.nn.network import Block, Network
from distill.nn.vector import Array, Vector


@dataclass(frozen=True)
class Tanh(Network):
    features: int
    width: int
    classes: int
    family = "tanh"

    @classmethod
    def build(cls, features: int, hidden: Sequence[int], classes: int) -> Self:
        return cls(features, *hidden, classes)

    shapes = property(lambda self: {"into": (self.features, self.width), "out": (self.width, self.classes)})
    units = property(lambda self: (self.features, self.width, self.classes))

    def parameters(self, layer: int) -> tuple[str]:
        return (("into", "out")[layer - 1],)

    def initialise(self, weights: Vector, rng: np.random.Generator) -> None:
        for w in weights.views.values():
            w[...] = rng.standard_normal(w.shape) / w.shape[-2] ** 0.5

    def apply(self, weights: Vector, x: Any, layers: Sequence[int] = ()) -> tuple[Array, dict[int, Array]]:
        hidden = np.tanh(x[:] @ weights["into"])
        return hidden @ weights["out"], dict.fromkeys(layers, hidden)

    def work(self, rows: int) -> float:
        return 6.0 * rows * self.size

    def reorder_classes(self, weights: Vector, order: Array) -> None:
        weights["out"][:] = weights["out"][:, order]

    def tape(self, weights: Vector, gradient: Vector, batches: int, rows: int, **options: Any) -> "Tape":
        return Tape(weights, gradient, batches, rows)


class Tape:
    def __init__(self, weights: Vector, gradient: Vector, batches: int, rows: int) -> None:
        self.pairs = list(zip(weights.networks(), gradient.networks(), strict=True))
        (features, width), (_, classes) = weights.shapes.values()
        self.x = np.empty((batches * rows, features), weights.flat.dtype)
        self.z, self.d = np.empty((2, len(self.pairs), classes, rows), weights.flat.dtype)
        self.hidden, self.seeds = ({1: np.zeros((len(self.pairs), width, rows), self.x.dtype)} for _ in range(2))
        self.shards, self.blocks, self.rows = [slice(0, rows)], [Block(0, weights.flat.size, self.differentiate)], rows

    def forward(self, shard: slice) -> Callable[[int], None]:
        def forward(i: int) -> None:
            for (w, _), z, h in zip(self.pairs, self.z, self.hidden[1], strict=True):
                h[...] = np.tanh(self.batch(i) @ w["into"]).T
                z[...] = (h.T @ w["out"]).T

        return forward

    def backward(self, shard: slice) -> Callable[[], None]:
        return lambda: None

    def differentiate(self, i: int) -> None:
        for (w, g), d, h, seed in zip(self.pairs, self.d, self.hidden[1], self.seeds[1], strict=True):
            g["out"][...] = h @ d.T
            g["into"][...] = self.batch(i).T @ ((w["out"] @ d + seed) * (1 - h * h)).T

    def batch(self, i: int) -> Array:
        return self.x[i * self.rows : (i + 1) * self.rows]
