"""The mathematics from Python, by the names the field uses: thin faces over the functions that a run is made of.

Arrays may be anything that NumPy takes; whole numbers become float64, float32 stays float32.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from distill.nn import features, losses, ops
from distill.nn.vector import Array


def softmax(logits: ArrayLike, temperature: float = 1.0) -> Array:  # (N,M) -> (N,M)
    """Probabilities of softmax(logits / T), over the last axis; exact for logits of any size.

    Raises ValueError for a temperature that is not above 0.
    """
    z = _floats("logits", logits)
    rows, t = z.reshape(-1, z.shape[-1]).astype(np.float64), _above_0("temperature", temperature)
    with np.errstate(over="ignore"):  # what is beyond float64 has no probability
        return ops.softmax(rows, t).reshape(z.shape).astype(z.dtype)


def kl_divergence(p: ArrayLike, q: ArrayLike) -> float:
    """Mean over rows of KL(p || q) in nats, of probabilities (N,M) or (M,); infinite where q is 0 and p is not.

    Raises ValueError for unequal shapes, with both, and for rows that are no probabilities.
    """
    one, other = np.atleast_2d(_floats("p", p)), np.atleast_2d(_floats("q", q))
    if one.shape != other.shape or one.ndim != 2:
        raise ValueError(f"p {one.shape} and q {other.shape} must have one shape, (N,M) or (M,)")
    for name, array in (("p", one), ("q", other)):
        sums = array.sum(axis=-1, dtype=np.float64)
        if (array < 0).any() or (np.abs(sums - 1) > 1e-3).any():
            row = int(np.argmax(np.abs(sums - 1) + (array < 0).any(axis=-1)))
            raise ValueError(f"row {row} of {name} is {array[row].tolist()}; must be probabilities that sum to 1")
    one, other = one.astype(np.float64), other.astype(np.float64)
    with np.errstate(divide="ignore"):
        ratio = np.log(one, out=np.zeros_like(one), where=one > 0) - np.log(other)
    return ops.not_negative(float(np.where(one > 0, one * np.where(one > 0, ratio, 0), 0).sum()) / len(one))


class DistillationLoss:
    """(1 - alpha) cross_entropy(labels) + alpha T^2 KL(teacher || student) (Hinton, Vinyals and Dean 2015)."""

    def __init__(self, temperature: float = 3.0, alpha: float = 0.7) -> None:
        """`alpha`, from 0 to 1, is the teacher's weight: at 0 it is ignored, at 1 the labels are."""
        self.temperature = _above_0("temperature", temperature)
        self.alpha = _share("alpha", alpha)

    def __call__(self, student_logits: ArrayLike, teacher_logits: ArrayLike, labels: ArrayLike) -> tuple[float, Array]:
        """The loss, a mean over rows in nats, and its gradient (N,M) with respect to the student's logits (N,M).

        `labels` (N,) are class numbers, -1 where there is none. Raises ValueError for shapes that do not fit.
        """
        student, teacher = _floats("student logits", student_logits), _floats("teacher logits", teacher_logits)
        y = _labels(labels, student)
        hard, hard_slope = losses.cross_entropy(student, None, y)
        soft, soft_slope = losses.response(student, teacher.astype(student.dtype), temperature=self.temperature)
        if self.alpha in (0.0, 1.0):  # so that not even an infinite other part can show
            return (soft, soft_slope) if self.alpha else (hard, hard_slope)
        return (1 - self.alpha) * hard + self.alpha * soft, (1 - self.alpha) * hard_slope + self.alpha * soft_slope

    def forward(self, student_logits: ArrayLike, teacher_logits: ArrayLike, labels: ArrayLike) -> float:
        """The loss alone."""
        return self(student_logits, teacher_logits, labels)[0]

    def backward(self, student_logits: ArrayLike, teacher_logits: ArrayLike, labels: ArrayLike) -> Array:
        """The gradient alone, (N,M)."""
        return self(student_logits, teacher_logits, labels)[1]


class EnsembleDistiller:
    """Several teachers as one: the weighted mean of their softened probabilities, or softmax of their mean logits."""

    def __init__(
        self, weights: Sequence[float] | None = None, temperature: float = 3.0, combine: str = "probabilities"
    ) -> None:
        """`weights`, one a teacher, are scaled to sum to 1; None weighs all alike. `combine`: probabilities, logits."""
        if combine not in ("probabilities", "logits"):
            raise ValueError(f"combine is {combine!r}; must be probabilities or logits")
        if weights is not None and (not len(weights) or min(weights) < 0 or not 0 < sum(weights) < np.inf):
            raise ValueError(f"weights are {list(weights)}; must be numbers from 0, not all 0")
        self.weights = None if weights is None else [float(weight) / sum(weights) for weight in weights]
        self.temperature, self.how = _above_0("temperature", temperature), combine

    def combine(self, logits: Sequence[ArrayLike]) -> Array:
        """The soft targets (N,M) of teachers with these logits (N,M) each, at the temperature. Raises ValueError."""
        return ops.softmax(self._together(logits), self.temperature)

    def __call__(
        self, student_logits: ArrayLike, logits: Sequence[ArrayLike], labels: ArrayLike, alpha: float = 0.7
    ) -> tuple[float, Array]:
        """As DistillationLoss, with the teachers together in the teacher's place."""
        return DistillationLoss(self.temperature, alpha)(student_logits, self._together(logits), labels)

    def forward(
        self, student_logits: ArrayLike, logits: Sequence[ArrayLike], labels: ArrayLike, alpha: float = 0.7
    ) -> float:
        """The loss alone."""
        return self(student_logits, logits, labels, alpha)[0]

    def backward(
        self, student_logits: ArrayLike, logits: Sequence[ArrayLike], labels: ArrayLike, alpha: float = 0.7
    ) -> Array:
        """The gradient alone, (N,M)."""
        return self(student_logits, logits, labels, alpha)[1]

    def _together(self, logits: Sequence[ArrayLike]) -> Array:
        members = [_floats(f"logits of teacher {i}", one) for i, one in enumerate(logits)]
        if not members or (self.weights is not None and len(self.weights) != len(members)):
            count = "at least one" if self.weights is None else f"{len(self.weights)}, as there are weights"
            raise ValueError(f"{len(members)} teachers' logits are given; must be {count}")
        weights = self.weights or [1 / len(members)] * len(members)
        heard = [(one, weight) for one, weight in zip(members, weights, strict=True) if weight]
        for one in members[1:]:
            if one.shape != members[0].shape:
                raise ValueError(f"teachers' logits {members[0].shape} and {one.shape} must have one shape")
        if members[0].ndim != 2:
            raise ValueError(f"teachers' logits {members[0].shape}; must be a list of arrays (N,M)")
        return ops.combine([one for one, _ in heard], [weight for _, weight in heard], self.how, self.temperature)


class ProgressiveDistiller:
    """Hidden layers against hidden layers: mean squared error plus 1 - cosine for each pair, and the logits at the end.

    Where a student's layer is not as wide as its teacher's, a linear adapter maps it there. It is made when the pair is
    first seen, and learns with `step`: `adapters[i]` (D,C+1), bias last, for pair i, `slopes[i]` its last gradient.
    """

    def __init__(
        self, layer_weights: Sequence[float] | None = None, temperature: float = 3.0, random_seed: int = 0
    ) -> None:
        """`layer_weights`, one a pair of layers; None weighs every pair with 1 over their number."""
        if layer_weights is not None and not (len(layer_weights) and all(0 <= one < np.inf for one in layer_weights)):
            raise ValueError(f"layer_weights are {list(layer_weights)}; must be numbers from 0, one for each pair")
        self.layer_weights = None if layer_weights is None else [float(weight) for weight in layer_weights]
        self.temperature = _above_0("temperature", temperature)
        self.adapters: dict[int, Array] = {}
        self.slopes: dict[int, Array] = {}
        self._rng = np.random.default_rng(random_seed)

    def distill_layer(self, student_layer: ArrayLike, teacher_layer: ArrayLike, pair: int = 0) -> tuple[float, Array]:
        """Loss of one pair of layers (N,C) and (N,D), and its gradient (N,C) with respect to the student's.

        Raises ValueError for unequal rows, with both shapes.
        """
        student, teacher = _floats("student layer", student_layer), _floats("teacher layer", teacher_layer)
        if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher):
            raise ValueError(f"student layer {student.shape} and teacher layer {teacher.shape} must have equal rows")
        teacher = teacher.astype(student.dtype)
        if student.shape == teacher.shape:
            self.slopes.pop(pair, None)
            return _both(student, teacher)
        adapter = self._adapter(pair, student, teacher)
        own = np.concatenate([student, np.ones((len(student), 1), student.dtype)], axis=1)
        value, slope = _both(own @ adapter.T, teacher)
        self.slopes[pair] = slope.T @ own
        gradient: Array = slope @ adapter[:, :-1]
        return value, gradient

    def forward(
        self,
        student_layers: Sequence[ArrayLike],
        teacher_layers: Sequence[ArrayLike],
        student_logits: ArrayLike | None = None,
        teacher_logits: ArrayLike | None = None,
    ) -> tuple[float, list[Array]]:
        """The weighted sum over pairs of layers, and its gradient with respect to each student's layer; with logits,
        T^2 KL(teacher || student) is added, and its gradient comes last. Raises ValueError."""
        if not len(student_layers) or len(student_layers) != len(teacher_layers):
            what = f"{len(student_layers)} student layers and {len(teacher_layers)} teacher layers"
            raise ValueError(f"{what}; must be pairs, at least one")
        self.slopes.clear()
        weights = self.layer_weights or [1 / len(student_layers)] * len(student_layers)
        if len(weights) != len(student_layers):
            raise ValueError(f"{len(weights)} layer_weights for {len(student_layers)} pairs of layers; must be as many")
        total, gradients = 0.0, []
        for i, (student, teacher, weight) in enumerate(zip(student_layers, teacher_layers, weights, strict=True)):
            value, gradient = self.distill_layer(student, teacher, i)
            if i in self.slopes:
                self.slopes[i] = weight * self.slopes[i]
            total += weight * value
            gradients.append(weight * gradient)
        if (student_logits is None) != (teacher_logits is None):
            raise ValueError("logits of only one of student and teacher are given; give both, or none")
        if student_logits is not None and teacher_logits is not None:
            z, t = _floats("student logits", student_logits), _floats("teacher logits", teacher_logits)
            if z.ndim != 2 or len(z) != len(gradients[0]):
                what = f"student logits {z.shape} and teacher logits {t.shape}"
                raise ValueError(f"{what}; must be (N,M) both, with a row for each of the layers' {len(gradients[0])}")
            value, gradient = losses.response(z, t.astype(z.dtype), temperature=self.temperature)
            total += value
            gradients.append(gradient)
        return total, gradients

    __call__ = forward

    def step(self, learning_rate: float) -> None:
        """Move every adapter against its last gradient."""
        _above_0("learning_rate", learning_rate)
        for pair, slope in self.slopes.items():
            self.adapters[pair] -= learning_rate * slope

    def _adapter(self, pair: int, student: Array, teacher: Array) -> Array:
        shape = (teacher.shape[1], student.shape[1] + 1)
        if pair not in self.adapters:
            adapter = np.zeros(shape, student.dtype)
            adapter[:, :-1] = self._rng.standard_normal((shape[0], shape[1] - 1)) / max(1, shape[1] - 1) ** 0.5
            self.adapters[pair] = adapter
        if self.adapters[pair].shape != shape:
            known = self.adapters[pair].shape
            what = f"its adapter maps {known[1] - 1} units to {known[0]}"
            raise ValueError(f"pair {pair}: {what}, the layers are {student.shape} and {teacher.shape}; keep the width")
        return self.adapters[pair]


def _both(student: Array, teacher: Array) -> tuple[float, Array]:
    (mse, slope), (turn, other) = features.hint(student, teacher), features.cosine(student, teacher)
    return mse + turn, slope + other


def _floats(name: str, array: ArrayLike) -> Array:
    found = np.asarray(array)
    if found.dtype.kind not in "fiub" or found.ndim < 1 or not found.size:
        raise ValueError(f"{name} of {found.dtype} {found.shape}; must be numbers, at least one")
    if found.dtype not in (np.float32, np.float64):
        found = found.astype(np.float64)
    if not np.isfinite(found).all():
        raise ValueError(f"{name} of shape {found.shape} hold {found[~np.isfinite(found)][0]}; must be finite")
    return found


def _labels(labels: ArrayLike, student: Array) -> Array:
    y = np.asarray(labels)
    if student.ndim != 2 or y.shape != student.shape[:1] or y.dtype.kind not in "iu":
        what = f"labels of {y.dtype} {y.shape} for student logits {student.shape}"
        raise ValueError(f"{what}; must be class numbers (N,)")
    if y.size and not -1 <= y.min() <= y.max() < student.shape[1]:
        what = f"labels from {y.min()} to {y.max()} for {student.shape[1]} classes"
        raise ValueError(f"{what}; must be from 0 to {student.shape[1] - 1}, or -1 where there is none")
    return y.astype(np.int64)


def _above_0(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 < value < np.inf:
        raise ValueError(f"{name} is {value}; must be a number above 0")
    return float(value)


def _share(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; must be a number from 0 to 1")
    return float(value)
