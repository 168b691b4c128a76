"""What a network family answers for the engine: the engine knows logits, labels and hidden layers, and no more.

A family is a frozen dataclass of the numbers that describe one network. Training goes through its tape, evaluation
through `apply`. Positions are what logits stand for: the rows of a table.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from distill.nn.vector import Array, Shape, Vector

EVALUATION_ROWS = 1024  # rows per forward pass outside training, which bounds its memory


@dataclass(frozen=True)
class Block:
    """The numbers `start` to `stop` of a stack's flat weights, and what writes their gradient for batch i."""

    start: int
    stop: int
    differentiate: Callable[[int], None]


class Tape(Protocol):
    """Arrays for batches of N positions through a stack of R networks, made once and overwritten by every step.

    `x` takes the inputs of all batches, one after the other. Of the current batch `z` (R,M,N) are the logits, `d` their
    derivatives, which the objective writes, `hidden` (R,C,N) what the hidden layers put out, and `seeds` (R,C,N) the
    derivatives that a tapped layer has from the objective itself.

    A step is: `forward` for every shard of the positions, the objective, `backward` for every shard, then every block.
    Shards are independent of each other, and so are blocks: threads may share them. Where they are cut depends on the
    shapes alone, so that the bits of a step do not depend on the number of threads.
    """

    @property
    def x(self) -> Array: ...
    @property
    def z(self) -> Array: ...
    @property
    def d(self) -> Array: ...
    @property
    def hidden(self) -> Mapping[int, Array]: ...
    @property
    def seeds(self) -> Mapping[int, Array]: ...
    @property
    def shards(self) -> Sequence[slice]: ...
    @property
    def blocks(self) -> Sequence[Block]: ...

    def forward(self, shard: slice) -> Callable[[int], None]:
        """Return what computes z and hidden of a shard for batch i."""

    def backward(self, shard: slice) -> Callable[[], None]:
        """Return what carries d and seeds of a shard back through the layers."""


@dataclass(frozen=True)
class Network(ABC):
    """The architecture of one network; its weights are a Vector of `shapes`."""

    family: ClassVar[str]

    @classmethod
    @abstractmethod
    def build(cls, features: int, hidden: Sequence[int], classes: int) -> Self:
        """Return the network of this family between so many features and classes."""

    @property
    @abstractmethod
    def shapes(self) -> dict[str, Shape]:
        """Names and shapes of the parameters."""

    @property
    @abstractmethod
    def units(self) -> tuple[int, ...]:
        """Units of every layer, from the input (layer 0) to the logits."""

    @abstractmethod
    def parameters(self, layer: int) -> Collection[str]:
        """Return the names of the parameters that form a layer, from 1 (above the input) to the logits."""

    @abstractmethod
    def initialise(self, weights: Vector, rng: np.random.Generator) -> None:
        """Draw the initial weights of one network, in place."""

    @abstractmethod
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
    ) -> Tape:
        """Return the arrays for `batches` batches of `rows` rows.

        `tapped` are the hidden layers that enter the objective themselves. `shared` steps are cut into shards and
        blocks for several threads. `learns` tells of a network of the stack, by its place, and a parameter whether it
        is trained; the gradient of the others is not needed.
        """

    @abstractmethod
    def apply(self, weights: Vector, x: Any, layers: Collection[int] = ()) -> tuple[Array, dict[int, Array]]:
        """Return the logits (N,M) of rows x (N,D), an array or anything whose slices are, and the outputs (N,C) of
        these hidden layers, from 1.

        The same rows give the same bits, whatever the number of BLAS threads; EVALUATION_ROWS are taken at a time.
        """

    @abstractmethod
    def work(self, rows: int) -> float:
        """Return the floating-point operations of the matrix products in a step on so many rows."""

    @abstractmethod
    def reorder_classes(self, weights: Vector, order: Array) -> None:
        """Put the logits of one network into another order, in place: the first is then the one at order[0]."""

    @property
    def depth(self) -> int:
        """The number of hidden layers."""
        return len(self.units) - 2

    @property
    def size(self) -> int:
        """The number of weights and biases."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def describe(self) -> dict[str, Any]:
        """Return what `restore` makes an equal network of, in terms of JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def restore(cls, description: Mapping[str, Any]) -> Self:
        """Return the network of a description. Raises TypeError or ValueError for what describes none."""
        if not isinstance(description, Mapping):
            raise TypeError(f"a network described by {description!r}")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in description.items()})
