"""The objective: a list of terms, `weight * loss(student, what the teachers said or the labels)`, folded for the loop.

Most terms are a cross-entropy, at a temperature T, against targets p that training does not change: the labels, or
what a frozen teacher said. With logits z its gradient is c (softmax(z/T) - p) for some c, so that the sum of all such
terms has the gradient sum_T c_T softmax(z/T) - q, and the part that does not change, q, is summed once. `nn.losses`
holds the same terms one by one, as anyone would write them; the tests hold the two together. Other terms are `live`.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import DTypeLike

from distill.config.schema import PEERS, Term
from distill.nn.ops import log_softmax
from distill.nn.vector import Array
from distill.train.outputs import Answers, said

FOLDED = ("cross_entropy", "response", "soft_cross_entropy")
# A teacher's rows are softened so many at a time, which bounds the memory that it takes.
BLOCK_ROWS = 4096

# The share of its way that a weight has gone, from the share of the epochs that are over.
WEIGHT_SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda share: 0.0,
    "linear": lambda share: share,
    "cosine": lambda share: 0.5 * (1 - math.cos(math.pi * share)),
}


def weight_at(term: Term, share: float) -> float:
    """A term's weight after this share (0 to 1) of its stage's epochs."""
    if term.final_weight is None:
        return term.weight
    return term.weight + WEIGHT_SCHEDULES[term.weight_schedule](share) * (term.final_weight - term.weight)


class Objective:
    """The terms of R networks that train on the same rows.

    `temperatures` (K) are those of all folded terms, `coefficients` (K,R) the c of each, `targets` (R,N,M) the rows' q,
    and `entropy` (R,N) what they add to the loss whatever the logits. Where some rows have no label, what the labels
    give depends on how many a batch has: `hard` (R,) is then their weight, of which `even` (R,) goes to all classes
    alike, and neither q nor c holds it. A term whose weight stays 0 is left out: it cannot move a single bit.

    `live` holds the other terms, each with its network; `peers` are the networks that learn from each other. With
    `noisy` rows no teacher's answer stays the same, so that every term with a teacher is live.
    """

    def __init__(
        self,
        terms: Sequence[Sequence[Term]],
        labels: Array,
        answers: Mapping[str, Answers],
        classes: int,
        dtype: DTypeLike = np.float32,
        *,
        noisy: bool = False,
        peers: Sequence[int] = (),
    ) -> None:
        """`labels` (N,), -1 where there is none, and each teacher's answers cover all training rows."""
        self.labels, self.answers, self.classes, self.dtype = labels, answers, classes, np.dtype(dtype)
        self.noisy, self.peers = noisy, peers
        self.lists = [[term for term in one if term.matters] for one in terms]
        self.live = [(r, term) for r, one in enumerate(self.lists) for term in one if not self._folds(term)]
        self.moves = any(term.moves for one in self.lists for term in one)
        folded = [term for one in self.lists for term in one if self._folds(term)]
        self.temperatures = sorted({_temperature(term) for term in folded} or {1.0})
        self.targets = np.zeros((len(terms), len(labels), classes), dtype)
        self.entropy = np.zeros((len(terms), len(labels)), dtype)
        self.coefficients = np.zeros((len(self.temperatures), len(terms)))
        self.hard, self.even = np.zeros(len(terms)), np.zeros(len(terms))
        self.share = 0.0
        self._fold()

    @property
    def numbers_per_row(self) -> int:
        """What a row takes beside its features while it is gathered: targets and logits, for each network."""
        return 2 * len(self.hard) * (self.classes + len(self.temperatures))

    def weight(self, term: Term) -> float:
        """A term's weight now."""
        return weight_at(term, self.share)

    def advance(self, share: float) -> None:
        """Move the weights to where they are after this share of the epochs."""
        if self.moves and share != self.share:
            self.share = share
            for array in (self.targets, self.entropy, self.coefficients, self.hard, self.even):
                array.fill(0)
            self._fold()

    def _folds(self, term: Term) -> bool:
        from_peers = bool(term.teachers) and term.teachers[0][0] == PEERS
        return term.loss in FOLDED and not from_peers and not (self.noisy and term.teachers)

    def _fold(self) -> None:
        for r, one in enumerate(self.lists):
            for term in filter(self._folds, one):
                if term.teachers:
                    self._soften(r, term)
                else:
                    self.hard[r] += self.weight(term)
                    self.even[r] += self.weight(term) * term.options.get("smoothing", 0.0)
        if self.hard.any() and len(self.labels) and self.labels.min() >= 0:
            for r, (weight, even) in enumerate(zip(self.hard, self.even, strict=True)):
                self.targets[r, np.arange(len(self.labels)), self.labels] += weight - even
                if even:
                    self.targets[r] += even / self.classes
            self.coefficients[self.temperatures.index(1)] += self.hard
            self.hard[:] = 0

    def _soften(self, r: int, term: Term) -> None:
        t = term.options["temperature"]
        c = self.weight(term) * (t if term.options["t_squared"] else 1 / t)
        self.coefficients[self.temperatures.index(t), r] += c
        for start in range(0, len(self.labels), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            log_p = log_softmax(said(term, self.answers, rows), t)
            p = np.exp(log_p)
            self.targets[r, rows] += c * p
            if term.loss == "response":
                self.entropy[r, rows] += c * t * np.einsum("nm,nm->n", p, log_p)


class Fold:
    """The objective on `batches` batches of `size` rows, one after the other: arrays made once and used all along.

    `load` takes the rows, `gradient` makes the function that a step calls, `losses` are those of all batches, once
    their gradients were computed. The classes come first in every array: sums over them are then sums of long lines.
    """

    def __init__(self, objective: Objective, batches: int, size: int) -> None:
        self.objective, self.size = objective, size
        k, nets = objective.coefficients.shape
        self.q = np.empty((batches, objective.classes, nets, size), objective.dtype)
        self.c = np.empty((batches, k, nets, size), objective.dtype)
        self._weigh()
        self.rest = np.empty((nets, batches * size), objective.dtype)
        self._taken = np.empty((batches * size, objective.classes), objective.dtype)
        self._t = np.array(objective.temperatures, objective.dtype)[:, None, None]
        self._seen: list[tuple[slice, Array, Array]] = []  # columns, logits less each row's largest, sums of exp(z/T)

    def load(self, rows: Array) -> None:
        """Make the batches of these rows (batches * size,) the next to be stepped through."""
        batches, m, nets, size = self.q.shape
        if self._share != self.objective.share:
            self._weigh()
        for r in range(nets):
            np.take(self.objective.targets[r], rows, axis=0, out=self._taken, mode="clip")
            np.take(self.objective.entropy[r], rows, out=self.rest[r], mode="clip")
            np.divide(self._taken.reshape(batches, size, m).swapaxes(1, 2), size, out=self.q[:, :, r])
        if self.objective.hard.any():
            self._load_labels(self.objective.labels[rows].reshape(batches, 1, size))

    def _weigh(self) -> None:
        """Take over the coefficients as they are now."""
        self._share = self.objective.share
        self.c[...] = (self.objective.coefficients / self.size)[:, :, None]

    def _load_labels(self, y: Array) -> None:
        """The labels' part where not all rows have one: the mean is over the rows of a batch that have."""
        labelled, one_hot = y >= 0, y == np.arange(self.q.shape[1])[:, None]
        per_label = labelled / np.maximum(labelled.sum(axis=2, keepdims=True), 1)
        k = self.objective.temperatures.index(1)
        for r, (hard, even) in enumerate(zip(self.objective.hard, self.objective.even, strict=True)):
            self.q[:, :, r] += one_hot * ((hard - even) * per_label)
            if even:
                self.q[:, :, r] += even / self.objective.classes * per_label
            self.c[:, k, r] = self.objective.coefficients[k, r] / self.size + hard * per_label[:, 0]

    def gradient(self, z: Array, d: Array, columns: slice = slice(None)) -> Callable[[int], None]:
        """A function of i that reads these columns of the logits z (R,M,size) of batch i and writes their derivatives
        into d, of the same shape."""
        z, d = (array[..., columns].swapaxes(0, 1) for array in (z, d))
        (m, nets, n), k, dtype = z.shape, len(self._t), z.dtype
        width = k * nets * n
        # Never one column: NumPy adds up a single one in another order, which would move a network's bits.
        lines, sums = (np.ones((rows, max(2, width)), dtype) for rows in (m, len(self.q)))
        shifted = np.empty((len(self.q), *z.shape), dtype)
        self._seen.append((columns, shifted, sums[:, :width].reshape(-1, k, nets, n)))
        batches = list(zip(self.q[..., columns], self.c[..., columns], shifted, sums, self._seen[-1][2], strict=True))
        largest, share = np.empty((1, nets, n), dtype), np.empty((k, nets, n), dtype)
        p, colder = lines[:, :width].reshape(m, k, nets, n), 1 / self._t
        warm, *warmer = p.swapaxes(0, 1)

        def gradient(i: int) -> None:
            q, c, centred, flat, total = batches[i]
            np.maximum.reduce(z, axis=0, keepdims=True, out=largest)
            np.subtract(z, largest, out=centred)
            np.multiply(centred[:, None], colder, out=p)
            np.exp(p, out=p)
            np.add.reduce(lines, axis=0, out=flat)
            np.divide(c, total, out=share)
            np.multiply(p, share, out=p)
            np.subtract(warm, q, out=d)
            for more in warmer:
                np.add(d, more, out=d)

        return gradient

    def losses(self) -> Array:  # -> (batches, R)
        """Each batch's loss, in float64: sum_T c_T T log(sum exp(z/T)) - q z + what does not depend on z."""
        batches, _, nets, size = self.q.shape
        value: Array = self.rest.reshape(nets, batches, size).sum(axis=2, dtype=np.float64).T / size
        for columns, z, sums in self._seen:
            np.log(sums, out=sums)
            sums *= self.c[..., columns]
            sums *= self._t
            z *= self.q[..., columns]
            value += sums.sum(axis=3).sum(axis=1, dtype=np.float64) - z.sum(axis=3).sum(axis=1, dtype=np.float64)
        value[value <= 0] = 0  # by rounding; -0.0 too
        return value


def _temperature(term: Term) -> float:
    return float(term.options["temperature"]) if term.teachers else 1.0
