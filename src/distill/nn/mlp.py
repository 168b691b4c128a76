"""A multilayer perceptron: shapes, initialisation, forward, backward. ReLU between the layers, logits at the end."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from distill.nn.blas import one_thread
from distill.nn.ops import linear, linear_back, linear_back_input, relu, relu_back
from distill.nn.vector import Arena, Array, New, Shape, Vector

EVALUATION_ROWS = 1024  # rows per forward pass outside training, which bounds its memory


def shapes(sizes: Sequence[int]) -> dict[str, Shape]:
    """Names and shapes of the parameters of a network with these layer sizes, input and output included."""
    named: dict[str, Shape] = {}
    for k, (c, m) in enumerate(pairwise(sizes), start=1):
        named[f"w{k}"], named[f"b{k}"] = (c, m), (m,)
    return named


def count(sizes: Sequence[int]) -> int:
    """Weights and biases of a network with these layer sizes."""
    return sum(c * m + m for c, m in pairwise(sizes))


def initialise(weights: Vector, rng: np.random.Generator) -> None:
    """Normal weights of variance 2/C before a ReLU (He et al. 2015) and 1/C before the logits; biases 0."""
    depth = len(weights.shapes) // 2
    for k in range(1, depth + 1):
        w = weights[f"w{k}"]
        w[...] = rng.standard_normal(w.shape) * ((2 if k < depth else 1) / len(w)) ** 0.5
        weights[f"b{k}"][...] = 0


def forward(weights: Vector, x: Array, new: New = np.empty) -> dict[str, Array]:  # (N,D) -> taps
    """The taps h0 = x, h1, ..., logits: every layer's output, (N, its units)."""
    depth = len(weights.shapes) // 2
    taps = {"h0": x}
    h = x
    for k in range(1, depth):
        h = relu(linear(h, weights[f"w{k}"], weights[f"b{k}"], new), new)
        taps[f"h{k}"] = h
    taps["logits"] = linear(h, weights[f"w{depth}"], weights[f"b{depth}"], new)
    return taps


def backward(
    weights: Vector, taps: Mapping[str, Array], seeds: Mapping[str, Array], gradient: Vector, new: New = np.empty
) -> None:
    """Writes the gradient of the objective. `seeds` holds its derivatives with respect to taps, `logits` among them."""
    d = seeds["logits"]
    for k in range(len(weights.shapes) // 2, 0, -1):
        h = taps[f"h{k - 1}"]
        linear_back(d, h, gradient[f"w{k}"], gradient[f"b{k}"])
        if k == 1:
            return
        d = linear_back_input(d, weights[f"w{k}"], new)
        if f"h{k - 1}" in seeds:
            d += seeds[f"h{k - 1}"]
        d = relu_back(d, h, new)


def logits(weights: Vector, x: Array) -> Array:  # (N,D) -> (N,M)
    """The logits of any number of rows: the same bits for the same rows, whatever the number of BLAS threads."""
    out = np.empty((len(x), weights.shapes[f"b{len(weights.shapes) // 2}"][0]), weights.flat.dtype)
    new = Arena(weights.flat.dtype)
    with one_thread():
        for start in range(0, len(x), EVALUATION_ROWS):
            new.rewind()
            rows = slice(start, start + EVALUATION_ROWS)
            out[rows] = forward(weights, x[rows], new)["logits"]
    return out
