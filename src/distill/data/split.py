"""Stratified choices of rows: every class keeps its share, and its place among the training rows."""

import numpy as np

from distill.nn.vector import Array


def stratified(y: Array, chosen: int, rng: np.random.Generator, leave: int = 0) -> Array:  # (N,) -> (N,) bool
    """Mark `chosen` of the rows with class numbers y, by class in proportion, at random within a class.

    Fractions of a row go to the classes with the largest remainders. At least `leave` rows of every class stay
    unmarked; the caller asks for no more than that allows.
    """
    counts = np.bincount(y)
    quota = counts * (chosen / len(y))
    most = counts - leave
    share = np.minimum(quota.astype(int), most)
    while (short := chosen - share.sum()) > 0:
        open_classes = np.flatnonzero(share < most)
        order = open_classes[np.argsort(share[open_classes] - quota[open_classes], kind="stable")]
        share[order[:short]] += 1
    marked = np.zeros(len(y), bool)
    for label, take in enumerate(share):
        marked[rng.permutation(np.flatnonzero(y == label))[:take]] = True
    return marked
