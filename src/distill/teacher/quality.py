"""Statistics of a teacher's logits: are they better than guessing, does each belong to its row, are the columns in the
order of the classes?"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from distill.nn import metrics
from distill.nn.ops import log_softmax
from distill.nn.vector import Array

SURE_Z = 4.0  # standard deviations that chance does not reach: once in 30,000 tries
CLEAR_Z = 2.0  # ... and that it hardly reaches, for an accuracy above guessing and for networks trained here
SHUFFLES = 2999  # of the labels, to see what chance reaches where its law is skewed
LARGEST_P = 0.001  # share of the shuffles, or of equally likely signs, that may do as well
FEW_MINORITY_ROWS = 10  # rows outside the commonest class that are too few to judge by
MAX_CLASSES = 1000  # whose columns are tried in other orders: a table of every class by every column
MAX_ROWS = 4096  # training rows that are looked at, as many of each class


@dataclass(frozen=True)
class Quality:
    """How good logits (N,M) are for the labels (N,) of their rows, beside guessing by the labels (K,) of the training
    rows, of which those below 0 are unknown."""

    logits: Array
    labels: Array
    known: Array

    @cached_property
    def accuracy(self) -> float:
        """The share of the rows that are right."""
        return metrics.accuracy(self.logits, self.labels)

    @cached_property
    def majority_accuracy(self) -> float:
        """The accuracy of always guessing the commonest class."""
        return metrics.commonest_share(self.known, self.labels)

    @cached_property
    def cross_entropy(self) -> float:
        """Mean of -log p(label), in nats."""
        return metrics.cross_entropy(self.logits, self.labels)

    @cached_property
    def prior_cross_entropy(self) -> float:
        """The cross-entropy of the classes' shares, for every row alike."""
        counts = np.bincount(self.known[self.known >= 0], minlength=self.logits.shape[1])
        with np.errstate(divide="ignore"):
            return float(-np.log(counts[self.labels] / counts.sum()).mean())

    @property
    def informed(self) -> bool:
        """Whether their cross-entropy is below that of the shares, which no logits that are the same for every row of a
        set with these shares reach."""
        return self.cross_entropy < self.prior_cross_entropy

    @property
    def useful(self) -> bool:
        """Whether anything speaks for the logits: their accuracy, their cross-entropy, or that they belong to the rows.

        Where fewer than FEW_MINORITY_ROWS rows are outside the commonest class nothing can be told, and this is True.
        """
        rows, majority_accuracy = len(self.labels), self.majority_accuracy
        clear = self.accuracy - majority_accuracy > CLEAR_Z * math.sqrt(
            majority_accuracy * (1 - majority_accuracy) / rows
        )
        few = round((1 - majority_accuracy) * rows) < FEW_MINORITY_ROWS
        return few or clear or self.informed or permutation_z(self.logits, self.labels) < 0


def permutation_z(logits: Array, labels: Array) -> float:
    """Return the z score of the sum of -log p(label) among all permutations of the labels.

    Far below 0 the logits belong to their rows; 0 is chance, whatever the classes' shares and however confident the
    logits are. Mean and variance over the permutations are exact (Hoeffding 1951). 0 where all give the same.
    """
    loss, rows = -log_softmax(logits.astype(np.float64)), len(labels)
    counts = np.bincount(labels, minlength=loss.shape[1])
    expected = loss @ counts / rows
    centred = loss - expected[:, None]
    centred -= centred.mean(axis=0)
    deviation = math.sqrt(float((np.square(centred) @ counts).sum()) / max(rows - 1, 1))
    if deviation <= 1e-9 * float(np.abs(loss).max()) * math.sqrt(rows):  # nothing but rounding
        return 0.0
    return float(loss[np.arange(rows), labels].sum() - expected.sum()) / deviation


def required_z(rows: int, chance: float = SURE_Z) -> float:
    """Return the z score below which logits belong to so many rows.

    Few rows need less, as not even the right classes of N rows of two classes get further than sqrt(N - 1) deviations.
    """
    return -min(chance, math.sqrt(rows - 1) / 2)


def permutation_p(logits: Array, labels: Array, rng: np.random.Generator) -> float:
    """Return the share of SHUFFLES of the labels that fit the logits better; those that fit as well count half (mid-p).

    A single hit in a rare class is many standard deviations, which says little. Many rows are sampled.
    """
    if len(labels) > 2 * MAX_ROWS:
        logits, labels = (part[sample_rows(labels)] for part in (logits, labels))
    loss, rows = -log_softmax(logits.astype(np.float64)), len(labels)
    loss -= loss.min(axis=1, keepdims=True)
    flat, starts = loss.ravel(), loss.shape[1] * np.arange(rows)
    reached = flat[starts + labels].sum()
    sums = np.array([flat[starts + rng.permutation(labels)].sum() for _ in range(SHUFFLES)])
    same = np.isclose(sums, reached, rtol=1e-9, atol=0)
    return float((same / 2 + (~same & (sums < reached))).mean())


def largest_p(z: float) -> float:
    """Return the largest share of shuffles that may do as well where such a z score is required: more where that is
    small, as few rows have few permutations."""
    return max(LARGEST_P, math.erfc(-z / math.sqrt(2)))


def column_order(logits: Array, labels: Array) -> Array | None:
    """Return the class that each column stands for (M,), where that is clearly another order than 0, 1, ..., M - 1,
    else None.

    Clear is an order in which most rows of the classes that it moves are right, while hardly any of them are in the
    present one, by a sign test of the rows that are right in either; or while the logits as a whole do not belong to
    the rows in the present order, and do in that one by more than the best of all orders would by chance. More than
    MAX_CLASSES are not tried.
    """
    if logits.shape[1] > MAX_CLASSES:
        return None
    columns = _preferred_columns(logits, labels)
    moved = (columns != np.arange(len(columns)))[labels]
    if not moved.any():
        return None
    chosen = logits.argmax(axis=1)[moved]
    then, now = int((chosen == columns[labels[moved]]).sum()), int((chosen == labels[moved]).sum())
    swapped = 4 * now < then and _sign_test(now, then + now) <= LARGEST_P
    choices = math.sqrt(2 * math.lgamma(len(columns) + 1))  # how far the best of so many orders gets by chance
    now_z, then_z = permutation_z(logits, labels), permutation_z(logits[:, columns], labels)
    fitting = now_z >= required_z(len(labels)) and then_z < -SURE_Z - choices
    return np.argsort(columns) if 2 * then > len(chosen) and (swapped or fitting) else None


def _sign_test(fewer: int, count: int) -> float:
    """The probability of at most so many heads of a fair coin."""
    ways = (math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in range(fewer + 1))
    return math.fsum(math.exp(way - count * math.log(2)) for way in ways)


def _preferred_columns(logits: Array, labels: Array) -> Array:
    """The column that each class's rows prefer (M,), every column once: greedily, the clearest preference first."""
    classes = logits.shape[1]
    loss = np.zeros((classes, classes))
    np.add.at(loss, labels, -log_softmax(logits.astype(np.float64)))
    loss /= np.maximum(np.bincount(labels, minlength=classes), 1)[:, None]
    loss -= loss.mean(axis=1, keepdims=True)
    loss -= loss.mean(axis=0)
    columns, taken = np.full(classes, -1), np.zeros(classes, bool)
    for cell in np.argsort(loss, axis=None, kind="stable").tolist():
        label, column = divmod(cell, classes)
        if columns[label] < 0 and not taken[column]:
            columns[label], taken[column] = column, True
    return columns


def sample_rows(labels: Array) -> Array:
    """Return the places of some labelled rows, at most MAX_ROWS, evenly spaced among those of each class: rare classes
    stay."""
    by_class = np.argsort(labels, kind="stable")
    counts = np.bincount(labels[labels >= 0])
    ends = len(labels) - counts[::-1].cumsum()[::-1] + counts
    each = max(1, MAX_ROWS // len(counts))
    places = [
        by_class[end - n + np.linspace(0, n - 1, min(n, each)).astype(int)] for n, end in zip(counts, ends, strict=True)
    ]
    return np.sort(np.concatenate(places))
