"""Whether a teacher's answers are worth hearing: more than guessing, each beside its row, in the classes' order."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from distill.nn import metrics
from distill.nn.ops import log_softmax
from distill.nn.vector import Array

CHANCE = 4.0  # standard deviations that chance does not reach: once in 30,000 tries
CLEARLY = 2.0  # ... and that it hardly reaches, for an accuracy above guessing and for networks trained here
SHUFFLES = 2999  # of the labels, to see what chance reaches where its law is skewed
LUCK = 0.001  # share of the shuffles, or of equally likely signs, that may do as well
FEW_OTHERS = 10  # rows outside the commonest class that are too few to judge by
MOST_CLASSES = 1000  # whose columns are tried in other orders: a table of every class by every column
MOST_ROWS = 4096  # training rows that are looked at, as many of each class


@dataclass(frozen=True)
class Worth:
    """Logits (N,M) beside the labels (N,) of their rows, and beside guessing by the labels (K,) of the training rows,
    of which those below 0 are unknown."""

    logits: Array
    labels: Array
    known: Array

    @cached_property
    def accuracy(self) -> float:
        """Share of the rows that are right."""
        return metrics.accuracy(self.logits, self.labels)

    @cached_property
    def guessing(self) -> float:
        """The accuracy of always guessing the commonest class."""
        return metrics.commonest_share(self.known, self.labels)

    @cached_property
    def cross_entropy(self) -> float:
        """Mean of -log p(label), in nats."""
        return metrics.cross_entropy(self.logits, self.labels)

    @cached_property
    def shares(self) -> float:
        """The cross-entropy of always answering with the classes' shares."""
        counts = np.bincount(self.known[self.known >= 0], minlength=self.logits.shape[1])
        with np.errstate(divide="ignore"):
            return float(-np.log(counts[self.labels] / counts.sum()).mean())

    @property
    def informed(self) -> bool:
        """Whether their cross-entropy is below that of the shares. No answer that is the same for all of the rows whose
        shares these are gets there."""
        return self.cross_entropy < self.shares

    @property
    def of_use(self) -> bool:
        """Whether anything speaks for the answers: their accuracy, their cross-entropy, or that they go with the rows.

        Where fewer than FEW_OTHERS rows are outside the commonest class they cannot tell, and this is True.
        """
        rows, guessing = len(self.labels), self.guessing
        clear = self.accuracy - guessing > CLEARLY * math.sqrt(guessing * (1 - guessing) / rows)
        few = round((1 - guessing) * rows) < FEW_OTHERS
        return few or clear or self.informed or fit(self.logits, self.labels) < 0


def fit(logits: Array, labels: Array) -> float:
    """How the sum of -log p(label) compares with its law over all orders of the labels, in standard deviations.

    Far below 0 the answers belong to their rows; 0 is chance, whatever the classes' shares and however sure the answers
    are. Mean and variance over the orders are exact (Hoeffding 1951). Where every order gives the same, 0.
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


def least_fit(rows: int, chance: float = CHANCE) -> float:
    """What the fit of answers that go with so many rows is below. Of few rows less is asked, as not even right answers
    to N rows of two classes get further than sqrt(N - 1) deviations."""
    return -min(chance, math.sqrt(rows - 1) / 2)


def luck(logits: Array, labels: Array, rng: np.random.Generator) -> float:
    """Share of SHUFFLES of the labels that fit these answers as well; those that fit just as well count half (mid-p).

    Of a rare class, one lucky hit is many standard deviations, which says little. Of many rows a sample is looked at.
    """
    if len(labels) > 2 * MOST_ROWS:
        logits, labels = (part[sample(labels)] for part in (logits, labels))
    loss, rows = -log_softmax(logits.astype(np.float64)), len(labels)
    loss -= loss.min(axis=1, keepdims=True)
    flat, starts = loss.ravel(), loss.shape[1] * np.arange(rows)
    reached = flat[starts + labels].sum()
    sums = np.array([flat[starts + rng.permutation(labels)].sum() for _ in range(SHUFFLES)])
    same = np.isclose(sums, reached, rtol=1e-9, atol=0)
    return float((same / 2 + (~same & (sums < reached))).mean())


def most_luck(fit: float) -> float:
    """The largest share of shuffles that may do as well where such a fit is asked for: more where that is small, as few
    rows have few orders."""
    return max(LUCK, math.erfc(-fit / math.sqrt(2)))


def order(logits: Array, labels: Array) -> Array | None:
    """The class that each column speaks of (M,), where that is clearly another order than 0, 1, ..., M - 1, else None.

    Clear is an order in which most rows of the classes that it moves are right, while hardly any of them are in this
    one, by a sign test of the rows that are right in either; or while the answers as a whole do not go with the rows in
    this one, and do in that one by more than the best of all orders would by chance. More than MOST_CLASSES are not
    tried.
    """
    if logits.shape[1] > MOST_CLASSES:
        return None
    columns = _favourites(logits, labels)
    moved = (columns != np.arange(len(columns)))[labels]
    if not moved.any():
        return None
    chosen = logits.argmax(axis=1)[moved]
    then, now = int((chosen == columns[labels[moved]]).sum()), int((chosen == labels[moved]).sum())
    swapped = 4 * now < then and _sign_test(now, then + now) <= LUCK
    choices = math.sqrt(2 * math.lgamma(len(columns) + 1))  # how far the best of so many orders gets by chance
    fitting = fit(logits, labels) >= least_fit(len(labels)) and fit(logits[:, columns], labels) < -CHANCE - choices
    return np.argsort(columns) if 2 * then > len(chosen) and (swapped or fitting) else None


def _sign_test(fewer: int, count: int) -> float:
    """How likely at most so many of these are heads, of a fair coin."""
    ways = (math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in range(fewer + 1))
    return math.fsum(math.exp(way - count * math.log(2)) for way in ways)


def _favourites(logits: Array, labels: Array) -> Array:
    """The column that each class's rows favour (M,), every column once: greedily, the clearest preference first."""
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


def sample(labels: Array) -> Array:
    """Places of some labelled rows, at most MOST_ROWS, evenly spaced among those of each class: rare ones are kept."""
    by_class = np.argsort(labels, kind="stable")
    counts = np.bincount(labels[labels >= 0])
    ends = len(labels) - counts[::-1].cumsum()[::-1] + counts
    each = max(1, MOST_ROWS // len(counts))
    places = [
        by_class[end - n + np.linspace(0, n - 1, min(n, each)).astype(int)] for n, end in zip(counts, ends, strict=True)
    ]
    return np.sort(np.concatenate(places))
