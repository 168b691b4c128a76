"""Losses on logits as pure functions: `f(student, teacher, labels, **options) -> (value, gradient)`.

`student` and `teacher` are logits (N,M), `labels` class numbers (N,), -1 where there is none; a loss ignores what it
has no use for. The value is the mean over the rows of the batch, a float, in nats unless said otherwise; the gradient
is that of the value with respect to `student` (N,M). Shapes that do not fit raise ValueError with both shapes.

Below, p = softmax(teacher / T) and q = softmax(student / T).
"""

from collections.abc import Callable

import numpy as np

from distill.nn.ops import log_softmax, not_negative
from distill.nn.vector import Array

Loss = Callable[..., tuple[float, Array]]


def cross_entropy(
    student: Array, teacher: Array | None, labels: Array, *, smoothing: float = 0.0
) -> tuple[float, Array]:
    """Mean of -sum t log softmax(student) over the labelled rows; a row of label -1 has none and gets no gradient.

    The target t is 1 - s at the label and s / M more on every one of the M classes, s being `smoothing` (Szegedy et al.
    2016); at 0 it is the label alone.
    """
    if labels.shape != student.shape[:1]:
        raise ValueError(f"student logits {student.shape} need labels ({len(student)},), not {labels.shape}")
    rows = np.flatnonzero(labels >= 0)
    n = max(1, len(rows))
    log_p = log_softmax(student)
    value = -(1 - smoothing) * float(log_p[rows, labels[rows]].sum()) / n
    if smoothing:
        value -= smoothing * float(log_p[rows].sum()) / (n * student.shape[1])
    gradient = np.exp(log_p, out=log_p)
    gradient -= smoothing / student.shape[1]
    gradient[rows, labels[rows]] -= 1 - smoothing
    if len(rows) < len(labels):
        gradient[labels < 0] = 0
    gradient /= n
    return not_negative(value), gradient


def response(
    student: Array, teacher: Array, labels: Array | None = None, *, temperature: float = 4.0, t_squared: bool = True
) -> tuple[float, Array]:
    """T^2 * mean KL(p || q) (Hinton, Vinyals and Dean 2015, section 2).

    The gradient of the KL shrinks as 1/T^2, so the factor T^2 keeps the balance against other terms when T changes;
    `t_squared=False` leaves it out. The KL is summed over classes and averaged over rows, never over classes.
    """
    log_q, log_p, scale = _softened(student, teacher, temperature, t_squared)
    p = np.exp(log_p)
    value = scale * float(np.vdot(p, log_p - log_q)) / len(p)
    return not_negative(value), (np.exp(log_q) - p) * (scale / temperature / len(p))


def soft_cross_entropy(
    student: Array, teacher: Array, labels: Array | None = None, *, temperature: float = 4.0, t_squared: bool = True
) -> tuple[float, Array]:
    """T^2 * mean of -sum p log q: `response` plus what does not depend on the student, T^2 times the entropy of p."""
    log_q, log_p, scale = _softened(student, teacher, temperature, t_squared)
    p = np.exp(log_p)
    value = -scale * float(np.vdot(p, log_q)) / len(p)
    return not_negative(value), (np.exp(log_q) - p) * (scale / temperature / len(p))


def reverse_kl(
    student: Array, teacher: Array, labels: Array | None = None, *, temperature: float = 4.0, t_squared: bool = True
) -> tuple[float, Array]:
    """T^2 * mean KL(q || p) (Gu et al. 2024): a student that cannot follow everywhere follows where it is sure."""
    log_q, log_p, scale = _softened(student, teacher, temperature, t_squared)
    value, gradient = _expected(np.exp(log_q), log_q - log_p, scale, temperature)
    return not_negative(value), gradient


def jensen_shannon(
    student: Array,
    teacher: Array,
    labels: Array | None = None,
    *,
    beta: float = 0.5,
    temperature: float = 4.0,
    t_squared: bool = True,
) -> tuple[float, Array]:
    """T^2 * mean of beta KL(p || m) + (1 - beta) KL(q || m) with m = beta p + (1 - beta) q (Agarwal et al. 2024).

    At 0 and 1 that would vanish; there it is its limit after division by beta or 1 - beta: KL(p || q) at beta 0,
    KL(q || p) at beta 1.
    """
    if beta == 0:
        return response(student, teacher, temperature=temperature, t_squared=t_squared)
    if beta == 1:
        return reverse_kl(student, teacher, temperature=temperature, t_squared=t_squared)
    log_q, log_p, scale = _softened(student, teacher, temperature, t_squared)
    log_m = np.logaddexp(log_p + np.log(beta, dtype=log_p.dtype), log_q + np.log1p(-beta, dtype=log_q.dtype))
    value, gradient = _expected(np.exp(log_q), log_q - log_m, (1 - beta) * scale, temperature)
    value += beta * scale * float(np.vdot(np.exp(log_p), log_p - log_m)) / len(log_p)
    return not_negative(value), gradient


def logit_mse(student: Array, teacher: Array, labels: Array | None = None) -> tuple[float, Array]:
    """Half the squared distance between the logits (Ba and Caruana 2014, equation 1), not in nats: the limit of
    `response` for high temperatures, times the number of classes, where the logits of each row sum to 0."""
    _same(student, teacher)
    difference = student - teacher
    return 0.5 * float(np.vdot(difference, difference)) / len(student), difference / len(student)


def decoupled(
    student: Array, teacher: Array, labels: Array, *, target: float = 1.0, others: float = 8.0, temperature: float = 4.0
) -> tuple[float, Array]:
    """T^2 * mean of `target` TCKD + `others` NCKD (DKD; Zhao et al. 2022, equation 7, there alpha and beta).

    TCKD is the KL of the label's class against all others together, NCKD that of the others among themselves.
    `response` is the same with 1 - p[label] in place of `others`. A row of label -1 has no part in it.
    """
    _same(student, teacher)
    if labels.shape != student.shape[:1]:
        raise ValueError(f"student logits {student.shape} need labels ({len(student)},), not {labels.shape}")
    rows = np.flatnonzero(labels >= 0)
    gradient = np.zeros_like(student)
    if not len(rows):
        return 0.0, gradient
    is_label = labels[rows, None] == np.arange(student.shape[1])
    q, n_q, log_b, log_n = _split(student[rows], is_label, temperature)
    _, n_p, log_a, log_m = _split(teacher[rows], is_label, temperature)
    scale = temperature * temperature / len(rows)
    a = np.exp(log_a)  # the teacher's shares (n,2) of the label's class and of all others
    value = scale * (target * float(np.vdot(a, log_a - log_b)) + others * float(np.vdot(n_p, log_m - log_n)))
    slope = target * q
    slope[is_label] -= target * a[:, 0]
    slope[~is_label] += (others * (n_q - n_p) - target * a[:, 1:] * n_q).ravel()
    gradient[rows] = slope * (scale / temperature)
    return not_negative(value), gradient


def dist(
    student: Array,
    teacher: Array,
    labels: Array | None = None,
    *,
    inter: float = 1.0,
    intra: float = 1.0,
    temperature: float = 4.0,
) -> tuple[float, Array]:
    """T^2 * (`inter` (1 - mean correlation of q and p row by row) + `intra` (the same class by class over the batch)).

    DIST, Huang et al. 2022, with Pearson's correlation; not in nats. Where a row or a class does not vary there is no
    correlation, and that row or class has no part in it, such as every class in a batch of one row.
    """
    log_q, log_p, scale = _softened(student, teacher, temperature, t_squared=True)
    q, p = np.exp(log_q), np.exp(log_p)
    by_row, row_slope = _uncorrelated(q, p)
    by_class, class_slope = _uncorrelated(q.T, p.T)
    slope = inter * row_slope + intra * class_slope.T
    gradient = q * (slope - np.einsum("nm,nm->n", q, slope)[:, None]) * (scale / temperature)
    return not_negative(scale * (inter * by_row + intra * by_class)), gradient


def _same(student: Array, teacher: Array) -> None:
    if teacher.shape != student.shape:
        raise ValueError(f"student logits {student.shape} and teacher logits {teacher.shape} must have one shape")


def _softened(student: Array, teacher: Array, temperature: float, t_squared: bool) -> tuple[Array, Array, float]:
    """log q, log p, and the factor T^2 or 1."""
    _same(student, teacher)
    scale = temperature * temperature if t_squared else 1.0
    return log_softmax(student, temperature), log_softmax(teacher, temperature), scale


def _expected(q: Array, what: Array, scale: float, temperature: float) -> tuple[float, Array]:
    """The mean of sum q what, and its gradient, for a `what` whose own change adds up to none, as a log q / m does."""
    rows = np.einsum("nm,nm->n", q, what)
    gradient = q * (what - rows[:, None]) * (scale / temperature / len(q))
    return scale * float(rows.sum()) / len(q), gradient


def _split(z: Array, is_label: Array, temperature: float) -> tuple[Array, Array, Array, Array]:
    """Softmax (N,M), softmax among the others (N,M-1), log shares (N,2) of label and others, log of the second."""
    log_p = log_softmax(z, temperature)
    rest = log_p[~is_label].reshape(len(z), -1)
    log_n = log_softmax(rest)
    log_b = np.concatenate([log_p[is_label][:, None], rest[:, :1] - log_n[:, :1]], axis=1)
    return np.exp(log_p), np.exp(log_n), log_b, log_n


def _uncorrelated(a: Array, b: Array) -> tuple[float, Array]:
    """1 - Pearson's correlation of each row of a with that of b, their mean, and its gradient with respect to a."""
    least = 10 * np.finfo(a.dtype).eps
    # By the range, which is exact: the mean is not, and would make rounding look like variation.
    defined = (np.ptp(a, axis=1, keepdims=True) > least) & (np.ptp(b, axis=1, keepdims=True) > least)
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    norm_a, norm_b = (np.sqrt(np.einsum("nm,nm->n", x, x))[:, None] for x in (a, b))
    a, b = (np.divide(x, norm, out=np.zeros_like(x), where=defined) for x, norm in ((a, norm_a), (b, norm_b)))
    correlation = np.einsum("nm,nm->n", a, b)[:, None]
    slope = np.divide(correlation * a - b, norm_a, out=np.zeros_like(a), where=defined) / len(a)
    return float((1 - correlation)[defined].sum()) / len(a), slope


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "response": response,
    "soft_cross_entropy": soft_cross_entropy,
    "reverse_kl": reverse_kl,
    "jensen_shannon": jensen_shannon,
    "logit_mse": logit_mse,
    "decoupled": decoupled,
    "dist": dist,
}
