"""Losses on logits as pure functions: `f(student, teacher, labels, **options) -> (value, gradient)`.

`student` and `teacher` are logits (N,M), `labels` class numbers (N,); a loss ignores what it has no use for. The value
is the mean over the rows of the batch, a float; the gradient is that of the value with respect to `student` (N,M).
Shapes that do not fit raise ValueError with both shapes.
"""

from collections.abc import Callable

import numpy as np

from distill.nn.ops import log_softmax
from distill.nn.vector import Array

Loss = Callable[..., tuple[float, Array]]


def cross_entropy(student: Array, teacher: Array | None, labels: Array) -> tuple[float, Array]:
    """Mean of -log p(label) over the labelled rows, in nats; a row of label -1 has none and gets no gradient."""
    if labels.shape != student.shape[:1]:
        raise ValueError(f"student logits {student.shape} need labels ({len(student)},), not {labels.shape}")
    rows = np.flatnonzero(labels >= 0)
    n = max(1, len(rows))
    log_p = log_softmax(student)
    value = -float(log_p[rows, labels[rows]].sum()) / n
    gradient = np.exp(log_p, out=log_p)
    gradient[rows, labels[rows]] -= 1
    if len(rows) < len(labels):
        gradient[labels < 0] = 0
    gradient /= n
    return value, gradient


def response(
    student: Array,
    teacher: Array,
    labels: Array | None = None,
    *,
    temperature: float = 4.0,
    t_squared: bool = True,
) -> tuple[float, Array]:
    """T^2 * mean KL(softmax(teacher/T) || softmax(student/T)), in nats (Hinton, Vinyals and Dean 2015, section 2).

    The gradient of the KL shrinks as 1/T^2, so the factor T^2 keeps the balance against other terms when T changes;
    `t_squared=False` leaves it out. The KL is summed over classes and averaged over rows, never over classes.
    """
    if teacher.shape != student.shape:
        raise ValueError(f"student logits {student.shape} and teacher logits {teacher.shape} must have one shape")
    n = len(student)
    log_q = log_softmax(student, temperature)
    log_p = log_softmax(teacher, temperature)
    p = np.exp(log_p)
    scale = temperature * temperature if t_squared else 1.0
    log_p -= log_q
    value = scale * float(np.vdot(p, log_p)) / n
    gradient = np.exp(log_q, out=log_q)
    gradient -= p
    gradient *= scale / temperature / n
    return value, gradient


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "response": response}
