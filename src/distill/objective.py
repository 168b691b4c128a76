"""The objective: a list of terms, `weight * loss(student logits, teacher logits or labels)`, folded for the loop.

Every term here is a cross-entropy, at a temperature T, against targets p that training does not change: the labels, or
what a frozen teacher said. With logits z its gradient is c (softmax(z/T) - p) for some c, so that the sum of all terms
has the gradient sum_T c_T softmax(z/T) - q, and the part that does not change, q, is summed once. `nn.losses` holds the
same terms one by one, as anyone would write them; the tests hold the two together.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import DTypeLike

from distill.config import Term
from distill.nn.ops import log_softmax
from distill.nn.vector import Array

LABELS_ONLY = (Term("cross_entropy", 1.0),)
# A teacher's rows are softened so many at a time, which bounds the memory that it takes.
BLOCK_ROWS = 4096


class Objective:
    """The terms of R networks that train on the same rows.

    `temperatures` (K) are those of all terms, `coefficients` (K,R) the c of each, `targets` (R,N,M) the rows' q, and
    `entropy` (R,N) what they add to the loss whatever the logits. Where some rows have no label, what the labels give
    depends on how many a batch has: `hard` (R,) is then their weight, and neither q nor c holds it.
    A term of weight 0 is left out: it cannot move a single bit.
    """

    def __init__(
        self,
        terms: Sequence[Sequence[Term]],
        labels: Array,
        answers: Mapping[str, Array],
        classes: int,
        dtype: DTypeLike = np.float32,
    ) -> None:
        """`labels` (N,), -1 where there is none, and each teacher's `answers` (N,M) cover all training rows."""
        self.labels, self.classes, self.dtype = labels, classes, np.dtype(dtype)
        active = [[term for term in one if term.weight] for one in terms]
        self.temperatures = sorted({_temperature(term) for one in active for term in one})
        self.targets = np.zeros((len(terms), len(labels), classes), dtype)
        self.entropy = np.zeros((len(terms), len(labels)), dtype)
        self.coefficients = np.zeros((len(self.temperatures), len(terms)))
        self.hard = np.zeros(len(terms))
        for r, one in enumerate(active):
            for term in one:
                if term.teacher is None:
                    self.hard[r] += term.weight
                else:
                    self._soften(r, term, answers[term.teacher])
        if self.hard.any() and len(labels) and labels.min() >= 0:
            for r, weight in enumerate(self.hard):
                self.targets[r, np.arange(len(labels)), labels] += weight
            self.coefficients[self.temperatures.index(1)] += self.hard
            self.hard[:] = 0

    @property
    def numbers_per_row(self) -> int:
        """What a row takes beside its features while it is gathered: targets and logits, for each network."""
        return 2 * len(self.hard) * (self.classes + len(self.temperatures))

    def _soften(self, r: int, term: Term, answers: Array) -> None:
        t = term.options["temperature"]
        c = term.weight * (t if term.options["t_squared"] else 1 / t)
        self.coefficients[self.temperatures.index(t), r] += c
        for start in range(0, len(answers), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            log_p = log_softmax(answers[rows].astype(np.float64), t)
            p = np.exp(log_p)
            self.targets[r, rows] += c * p
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
        self.c[...] = (objective.coefficients / size)[:, :, None]
        self.rest = np.empty((nets, batches * size), objective.dtype)
        self._taken = np.empty((batches * size, objective.classes), objective.dtype)
        self._t = np.array(objective.temperatures, objective.dtype)[:, None, None]
        self._seen: list[tuple[slice, Array, Array]] = []  # columns, logits less each row's largest, sums of exp(z/T)

    def load(self, rows: Array) -> None:
        """Make the batches of these rows (batches * size,) the next to be stepped through."""
        batches, m, nets, size = self.q.shape
        for r in range(nets):
            np.take(self.objective.targets[r], rows, axis=0, out=self._taken, mode="clip")
            np.take(self.objective.entropy[r], rows, out=self.rest[r], mode="clip")
            np.divide(self._taken.reshape(batches, size, m).swapaxes(1, 2), size, out=self.q[:, :, r])
        if self.objective.hard.any():
            self._load_labels(self.objective.labels[rows].reshape(batches, 1, size))

    def _load_labels(self, y: Array) -> None:
        """The labels' part where not all rows have one: the mean is over the rows of a batch that have."""
        labelled, one_hot = y >= 0, y == np.arange(self.q.shape[1])[:, None]
        per_label = labelled / np.maximum(labelled.sum(axis=2, keepdims=True), 1)
        k = self.objective.temperatures.index(1)
        for r, hard in enumerate(self.objective.hard):
            self.q[:, :, r] += one_hot * (hard * per_label)
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
        return value


def _temperature(term: Term) -> float:
    return 1.0 if term.teacher is None else float(term.options["temperature"])


def formula(terms: Sequence[Term]) -> str:
    """The objective as a person writes it: `0.3 cross_entropy + 0.7 response(teacher, T=4)`."""
    return " + ".join(_spell(term) for term in terms if term.weight)


def _spell(term: Term) -> str:
    if term.teacher is None:
        return f"{term.weight:g} {term.loss}"
    without = "" if term.options["t_squared"] else ", without T^2"
    return f"{term.weight:g} {term.loss}({term.teacher}, T={term.options['temperature']:g}{without})"
