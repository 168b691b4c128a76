"""The objective: a list of terms, `weight * loss(student, the teachers' outputs or the labels)`, computed in advance
where that is possible.

Most terms are a cross-entropy, at a temperature T, against targets p that training does not change: the labels, or
the outputs of a frozen teacher. With logits z its gradient is c (softmax(z/T) - p) for some c, so that the sum of all
such terms has the gradient sum_T c_T softmax(z/T) - q, and the part that does not change, q, is summed once.
`nn.losses` holds the same terms one by one, as anyone would write them; the tests hold the two together. All other
terms are computed batch by batch (`per_batch`).
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import DTypeLike

from distill.config.schema import PEERS, Term
from distill.config.terms import LOSS_TRAITS
from distill.nn.ops import log_softmax
from distill.nn.vector import Array
from distill.train.outputs import TeacherOutputs, teacher_logits

# Soft targets are computed for so many rows at a time, which bounds the memory that it takes.
BLOCK_ROWS = 4096

# The share of its way that a weight has gone, from the share of the epochs that are over.
WEIGHT_SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 0.0,
    "linear": lambda progress: progress,
    "cosine": lambda progress: 0.5 * (1 - math.cos(math.pi * progress)),
}


def weight_at(term: Term, progress: float) -> float:
    """Return a term's weight after this share (0 to 1) of its stage's epochs."""
    if term.final_weight is None:
        return term.weight
    return term.weight + WEIGHT_SCHEDULES[term.weight_schedule](progress) * (term.final_weight - term.weight)


class Objective:
    """The terms of R networks that train on the same rows.

    `temperatures` (K) are those of all precomputed terms, `coefficients` (K,R) the c of each, `targets` (R,N,M) the
    rows' q, and `entropy` (R,N) what they add to the loss whatever the logits. Where some rows have no label, the
    labels' part depends on how many a batch has: `label_weights` (R,) is then their weight, of which
    `smoothing_weights` (R,) goes to all classes alike, and neither q nor c holds it. A term whose weight stays 0 is
    left out: it cannot move a single bit.

    `per_batch` holds the other terms, each with its network; `peers` are the networks that learn from each other. With
    `noisy` rows a teacher's outputs change with every batch, so that every term with a teacher is computed per batch.
    """

    def __init__(
        self,
        terms: Sequence[Sequence[Term]],
        labels: Array,
        outputs: Mapping[str, TeacherOutputs],
        classes: int,
        dtype: DTypeLike = np.float32,
        *,
        noisy: bool = False,
        peers: Sequence[int] = (),
    ) -> None:
        """`labels` (N,), -1 where there is none, and each teacher's outputs cover all training rows."""
        self.labels, self.outputs, self.classes, self.dtype = labels, outputs, classes, np.dtype(dtype)
        self.noisy, self.peers = noisy, peers
        self.terms = [(r, term) for r, of_network in enumerate(terms) for term in of_network if term.matters]
        self.precomputed = [(r, term) for r, term in self.terms if self._is_precomputed(term)]
        self.per_batch = [(r, term) for r, term in self.terms if not self._is_precomputed(term)]
        self.moves = any(term.moves for _, term in self.terms)
        self.temperatures = sorted({_temperature(term) for _, term in self.precomputed} or {1.0})
        self.targets = np.zeros((len(terms), len(labels), classes), dtype)
        self.entropy = np.zeros((len(terms), len(labels)), dtype)
        self.coefficients = np.zeros((len(self.temperatures), len(terms)))
        self.label_weights, self.smoothing_weights = np.zeros(len(terms)), np.zeros(len(terms))
        self.progress = 0.0
        self._precompute()

    @property
    def numbers_per_row(self) -> int:
        """The numbers that a row takes beside its features while it is gathered: targets and logits of each network."""
        return 2 * len(self.label_weights) * (self.classes + len(self.temperatures))

    def weight(self, term: Term) -> float:
        """Return a term's weight at this point of the training."""
        return weight_at(term, self.progress)

    def advance(self, progress: float) -> None:
        """Move the weights to where they are after this share of the epochs."""
        if self.moves and progress != self.progress:
            self.progress = progress
            for array in (self.targets, self.entropy, self.coefficients, self.label_weights, self.smoothing_weights):
                array.fill(0)
            self._precompute()

    def _is_precomputed(self, term: Term) -> bool:
        from_peers = bool(term.teachers) and term.teachers[0][0] == PEERS
        return LOSS_TRAITS[term.loss].precomputable and not from_peers and not (self.noisy and term.teachers)

    def _precompute(self) -> None:
        for r, term in self.precomputed:
            if term.teachers:
                self._add_soft_targets(r, term)
            else:
                self.label_weights[r] += self.weight(term)
                self.smoothing_weights[r] += self.weight(term) * term.options.get("smoothing", 0.0)
        if self.label_weights.any() and len(self.labels) and self.labels.min() >= 0:
            for r, (weight, smoothing) in enumerate(zip(self.label_weights, self.smoothing_weights, strict=True)):
                self.targets[r, np.arange(len(self.labels)), self.labels] += weight - smoothing
                if smoothing:
                    self.targets[r] += smoothing / self.classes
            self.coefficients[self.temperatures.index(1)] += self.label_weights
            self.label_weights[:] = 0

    def _add_soft_targets(self, r: int, term: Term) -> None:
        t = term.options["temperature"]
        c = self.weight(term) * (t if term.options["t_squared"] else 1 / t)
        self.coefficients[self.temperatures.index(t), r] += c
        for start in range(0, len(self.labels), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            log_p = log_softmax(teacher_logits(term, self.outputs, rows), t)
            p = np.exp(log_p)
            self.targets[r, rows] += c * p
            if term.loss == "response":
                self.entropy[r, rows] += c * t * np.einsum("nm,nm->n", p, log_p)


class PrecomputedBatches:
    """The precomputed terms on `batches` batches of `size` rows, in arrays that are made once.

    `load` takes the rows, `gradient` makes the function that a step calls, `losses` are those of all batches, once
    their gradients were computed. The classes come first in every array: sums over them are then sums of long lines.
    """

    def __init__(self, objective: Objective, batches: int, size: int) -> None:
        self.objective, self.size = objective, size
        k, nets = objective.coefficients.shape
        self.q = np.empty((batches, objective.classes, nets, size), objective.dtype)
        self.c = np.empty((batches, k, nets, size), objective.dtype)
        self._set_coefficients()
        self.rest = np.empty((nets, batches * size), objective.dtype)
        self._gathered = np.empty((batches * size, objective.classes), objective.dtype)
        self._temperatures = np.array(objective.temperatures, objective.dtype)[:, None, None]
        # of each shard: its columns, the logits less each row's largest, the sums of exp(z/T)
        self._computed: list[tuple[slice, Array, Array]] = []

    def load(self, rows: Array) -> None:
        """Make the batches of these rows (batches * size,) the next to be stepped through."""
        batches, m, nets, size = self.q.shape
        if self._progress != self.objective.progress:
            self._set_coefficients()
        for r in range(nets):
            np.take(self.objective.targets[r], rows, axis=0, out=self._gathered, mode="clip")
            np.take(self.objective.entropy[r], rows, out=self.rest[r], mode="clip")
            np.divide(self._gathered.reshape(batches, size, m).swapaxes(1, 2), size, out=self.q[:, :, r])
        if self.objective.label_weights.any():
            self._load_labels(self.objective.labels[rows].reshape(batches, 1, size))

    def _set_coefficients(self) -> None:
        """Copy the coefficients at this point of the training."""
        self._progress = self.objective.progress
        self.c[...] = (self.objective.coefficients / self.size)[:, :, None]

    def _load_labels(self, y: Array) -> None:
        """The labels' part where not all rows have one: the mean is over the rows of a batch that have."""
        labelled, one_hot = y >= 0, y == np.arange(self.q.shape[1])[:, None]
        per_label = labelled / np.maximum(labelled.sum(axis=2, keepdims=True), 1)
        k = self.objective.temperatures.index(1)
        weights = zip(self.objective.label_weights, self.objective.smoothing_weights, strict=True)
        for r, (weight, smoothing) in enumerate(weights):
            self.q[:, :, r] += one_hot * ((weight - smoothing) * per_label)
            if smoothing:
                self.q[:, :, r] += smoothing / self.objective.classes * per_label
            self.c[:, k, r] = self.objective.coefficients[k, r] / self.size + weight * per_label[:, 0]

    def gradient(self, z: Array, d: Array, columns: slice = slice(None)) -> Callable[[int], None]:
        """Return a function of i that reads these columns of the logits z (R,M,size) of batch i and writes their
        derivatives into d, of the same shape."""
        z, d = (array[..., columns].swapaxes(0, 1) for array in (z, d))
        (m, nets, n), k, dtype = z.shape, len(self._temperatures), z.dtype
        width = k * nets * n
        # Never one column: NumPy adds up a single one in another order, which would move a network's bits.
        lines, sums = (np.ones((rows, max(2, width)), dtype) for rows in (m, len(self.q)))
        shifted = np.empty((len(self.q), *z.shape), dtype)
        self._computed.append((columns, shifted, sums[:, :width].reshape(-1, k, nets, n)))
        batches = list(
            zip(self.q[..., columns], self.c[..., columns], shifted, sums, self._computed[-1][2], strict=True)
        )
        largest, share = np.empty((1, nets, n), dtype), np.empty((k, nets, n), dtype)
        p, colder = lines[:, :width].reshape(m, k, nets, n), 1 / self._temperatures
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
        """Return each batch's loss, in float64: sum_T c_T T log(sum exp(z/T)) - q z + what does not depend on z."""
        batches, _, nets, size = self.q.shape
        value: Array = self.rest.reshape(nets, batches, size).sum(axis=2, dtype=np.float64).T / size
        for columns, z, sums in self._computed:
            np.log(sums, out=sums)
            sums *= self.c[..., columns]
            sums *= self._temperatures
            z *= self.q[..., columns]
            value += sums.sum(axis=3).sum(axis=1, dtype=np.float64) - z.sum(axis=3).sum(axis=1, dtype=np.float64)
        value[value <= 0] = 0  # by rounding; -0.0 too
        return value


def _temperature(term: Term) -> float:
    return float(term.options["temperature"]) if term.teachers else 1.0
