"""The arrays that all contenders start from, made by each from the same seed."""

from itertools import pairwise
from typing import Any

import numpy as np
from cases import Case
from numpy.typing import NDArray

Array = NDArray[Any]
ROWS, WEIGHTS, BATCHES = 1, 2, 3  # seeds


def rows(case: Case) -> tuple[Array, Array, Array]:
    """x (N,D) float32, labels (N,) and the teacher's logits (N,M) float32.

    The teacher is a rule that can be learned, and a tenth of the labels are wrong: losses that only wandered about
    would agree by chance, or by nothing having been learned.
    """
    rng = np.random.default_rng(ROWS)
    features, classes = case.sizes[0], case.sizes[-1]
    x = rng.standard_normal((case.rows, features), dtype=np.float32)
    rule = 3 * rng.standard_normal((features, classes), dtype=np.float32) / np.float32(features**0.5)
    answers = x @ rule
    wrong = rng.random(case.rows) < 0.1
    return x, np.where(wrong, rng.integers(0, classes, case.rows), answers.argmax(axis=1)), answers


def weights(case: Case) -> list[tuple[Array, Array]]:
    """Weights (R,C,M) and biases (R,M) of each layer of R networks, float32; every two networks start alike."""
    rng = np.random.default_rng(WEIGHTS)
    pairs = -(-len(case.alphas) // 2)
    layers = []
    for c, m in pairwise(case.sizes):
        w = rng.standard_normal((pairs, c, m), dtype=np.float32) * np.float32((2 / c) ** 0.5)
        layers.append((w.repeat(2, axis=0)[: len(case.alphas)], np.zeros((len(case.alphas), m), np.float32)))
    return layers


def generator() -> np.random.Generator:
    """What distill shuffles its rows with."""
    return np.random.default_rng(BATCHES)


def batches(case: Case) -> Array:
    """The rows of every step (steps, batch), as distill's loop takes them; that it still does, the losses show."""
    rng = generator()
    order = []
    for _ in range(case.epochs):
        order.append(np.arange(case.rows))
        rng.shuffle(order[-1])
    return np.concatenate(order).reshape(case.steps, case.batch)


def softened(answers: Array, temperature: float) -> Array:
    """softmax(answers / T) (N,M), in float64."""
    p = np.exp((answers - answers.max(axis=1, keepdims=True)).astype(np.float64) / temperature)
    softened: Array = p / p.sum(axis=1, keepdims=True)
    return softened
