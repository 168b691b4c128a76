"""A multilayer perceptron: shapes, initialisation, forward, backward. ReLU between the layers, logits at the end.

Inside a network a row of data is a column: h (C,N) holds N rows. Layer k's weights w_k (M,C+1) have the bias as their
last column, and every h a last line of ones, so that w @ h is the whole layer and d @ h.T its whole gradient. Long
contiguous lines are what NumPy is fast on. A stack of R networks has R in front of every shape.
"""

from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from distill.nn.blas import one_thread
from distill.nn.vector import Array, Shape, Vector

EVALUATION_ROWS = 1024  # rows per forward pass outside training, which bounds its memory


def shapes(sizes: Sequence[int]) -> dict[str, Shape]:
    """Names and shapes of the parameters of a network with these layer sizes, input and output included."""
    return {f"w{k}": (m, c + 1) for k, (c, m) in enumerate(pairwise(sizes), start=1)}


def count(sizes: Sequence[int]) -> int:
    """Weights and biases of a network with these layer sizes."""
    return sum(c * m + m for c, m in pairwise(sizes))


def initialise(weights: Vector, rng: np.random.Generator) -> None:
    """Normal weights of variance 2/C before a ReLU (He et al. 2015) and 1/C before the logits; biases 0."""
    depth = len(weights.shapes)
    for k in range(1, depth + 1):
        m, c = weights.shapes[f"w{k}"][0], weights.shapes[f"w{k}"][1] - 1
        weights[f"w{k}"][..., :-1] = rng.standard_normal((c, m)).T * ((2 if k < depth else 1) / c) ** 0.5
        weights[f"w{k}"][..., -1] = 0


class Tape:
    """What N rows leave on their way through the layers: arrays made once and overwritten by every step.

    h[k] (C+1,N) is layer k's output with its line of ones (h[0], the input, is the caller's), z (M,N) the logits.
    d[k] is the derivative of the objective with respect to what layer k computes before its ReLU; for the last layer
    these are the logits. A tapped layer k is one whose output enters the objective itself: seeds[k] (C,N) is the
    derivative that it has from there.
    """

    def __init__(self, weights: Vector, rows: int, tapped: Collection[int] = ()) -> None:
        """For `rows` rows through these weights."""
        dtype = weights.flat.dtype
        self.weights = list(weights.views.values())
        units = [w.shape[-2] for w in self.weights]
        self.h = {k: np.ones((*weights.stack, c + 1, rows), dtype) for k, c in enumerate(units[:-1], start=1)}
        self.d = {k: np.empty((*weights.stack, c, rows), dtype) for k, c in enumerate(units, start=1)}
        self.z = np.empty_like(self.d[len(units)])
        self.seeds = {k: np.zeros_like(self.d[k]) for k in sorted(tapped)}
        self.alive = {k: np.empty_like(self.d[k]) for k in self.h}  # 1 where the ReLU lets through, else 0

    def forward(self, columns: slice = slice(None)) -> Callable[[Array], None]:
        """A function from inputs (D+1,N) of these columns to their h and z."""
        *inner, last = self.weights
        layers = [(w, h[..., :-1, columns], h[..., columns]) for w, h in zip(inner, self.h.values(), strict=True)]
        z, zero = self.z[..., columns], np.zeros((), self.z.dtype)

        def forward(x: Array) -> None:
            h = x
            for w, active, whole in layers:
                np.matmul(w, h, out=active)
                np.maximum(active, zero, out=active)
                h = whole
            np.matmul(last, h, out=z)

        return forward

    def backward(self, columns: slice = slice(None)) -> Callable[[], None]:
        """A function that fills these columns of every d from those of the last, which the objective has set."""
        layers = [
            (
                self.weights[k][..., :-1].swapaxes(-1, -2),
                self.d[k + 1][..., columns],
                self.d[k][..., columns],
                self.h[k][..., :-1, columns],
                self.alive[k][..., columns],
                self.seeds[k][..., columns] if k in self.seeds else None,
            )
            for k in reversed(self.h)
        ]

        def backward() -> None:
            for w, above, d, h, alive, seed in layers:
                np.matmul(w, above, out=d)
                if seed is not None:
                    np.add(d, seed, out=d)
                np.sign(h, out=alive)  # in floats: NumPy multiplies by truth values through a buffer
                np.multiply(d, alive, out=d)

        return backward


def logits(weights: Vector, x: Any) -> Array:  # (N,D) -> (N,M)
    """The logits of any number of rows: the same bits for the same rows, whatever the number of BLAS threads.

    x is an array, or anything whose slices are."""
    return activations(weights, x)[0]


def activations(weights: Vector, x: Any, layers: Collection[int] = ()) -> tuple[Array, dict[int, Array]]:
    """The logits (N,M), and what the hidden layers of these numbers (from 1) put out, (N,C) each."""
    *inner, last = ((w[:, :-1], w[:, -1:]) for w in weights.views.values())
    dtype = weights.flat.dtype
    out = np.empty((len(x), len(last[0])), dtype)
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
            out[rows] = z.T
    return out, hidden
