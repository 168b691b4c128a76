"""Losses on hidden layers as pure functions: `f(student, teacher, labels, **options) -> (value, gradient)`.

`student` (N,C) and `teacher` (N,D) are what a layer of each says of the same N rows; labels are not looked at. Where a
loss compares unit by unit, C must be D: an adapter, a linear map that is trained along, sees to that. The gradient is
that of the value with respect to `student`. Shapes that do not fit raise ValueError with both shapes. A row of zeros
has no direction: what is measured by direction takes it to be at right angles to everything, and gives it no gradient.
"""

import numpy as np

from distill.nn.losses import Loss
from distill.nn.ops import log_softmax, not_negative
from distill.nn.vector import Array

BLOCK_NUMBERS = 1 << 20  # of the triplets of relation_angle, which would not fit into memory all at once
LEAST_SHARE = 1e-7  # added to the similarities of `probabilistic`, so that none is 0


def hint(student: Array, teacher: Array, labels: Array | None = None) -> tuple[float, Array]:
    """Mean squared difference, over rows and units (FitNets; Romero et al. 2015, equation 3, there half the sum)."""
    _same_units(student, teacher)
    difference = student - teacher
    return float(np.vdot(difference, difference)) / difference.size, difference * (2 / difference.size)


def cosine(student: Array, teacher: Array, labels: Array | None = None) -> tuple[float, Array]:
    """Mean of 1 - cos(student, teacher), from 0 to 2 (as in DistilBERT; Sanh et al. 2019). Two rows of zeros agree."""
    _same_units(student, teacher)
    u, norm = _unit(student)
    v, other = _unit(teacher)
    agreement = np.einsum("nc,nc->n", u, v) + ((norm == 0) & (other == 0))[:, 0]
    return not_negative(float((1 - agreement).sum()) / len(u)), _unit_back(-v / len(u), u, norm)


def attention(student: Array, teacher: Array, labels: Array | None = None) -> tuple[float, Array]:
    """Mean squared distance between the squared activations, scaled to length 1 row by row; from 0 to 2.

    Activation-based attention transfer (AT; Zagoruyko and Komodakis 2017, section 3.1) for vectors: where a picture has
    a map of how active each place is, a vector has its units.
    """
    _same_units(student, teacher)
    own, size = _unit(student)  # the scale of a row makes no difference, and its squares might leave float32
    u, norm = _unit(own * own)
    difference = u - _unit(np.square(_unit(teacher)[0]))[0]
    slope = _unit_back(difference * (2 / len(u)), u, norm) * own * 2
    return float(np.vdot(difference, difference)) / len(u), _unit_back(slope, own, size)


def similarity(student: Array, teacher: Array, labels: Array | None = None) -> tuple[float, Array]:
    """Mean squared difference of the two (N,N) matrices of inner products between rows, each row scaled to length 1.

    Similarity-preserving distillation (Tung and Mori 2019, section 3). The widths may differ.
    """
    _same_rows(student, teacher)
    size, other = (np.abs(x).max() or x.dtype.type(1) for x in (student, teacher))
    own, others = student / size, teacher / other  # one scale for all makes no difference; products may leave float32
    u, norm = _unit(own @ own.T)
    difference = u - _unit(others @ others.T)[0]
    slope = _unit_back(difference * (2 / difference.size), u, norm)
    return float(np.vdot(difference, difference)) / difference.size, (slope + slope.T) @ own / size


def probabilistic(student: Array, teacher: Array, labels: Array | None = None) -> tuple[float, Array]:
    """Mean over rows i of KL(P_i || Q_i) in nats, P_i (teacher) and Q_i (student) being the shares of the other rows in
    i's similarities, (1 + cosine) / 2.

    Probabilistic knowledge transfer (PKT; Passalis and Tefas 2018). The widths may differ; a batch of one or two rows
    has nothing to compare and gives 0.
    """
    _same_rows(student, teacher)
    n = len(student)
    if n < 3:
        return 0.0, np.zeros_like(student)
    u, norm = _unit(student)
    near, far = (_neighbours(x) for x in (u, _unit(teacher)[0]))
    total = near.sum(axis=1, keepdims=True)
    p, q = far / far.sum(axis=1, keepdims=True), near / total
    others = ~np.eye(n, dtype=bool)
    value = float((p[others] * np.log(p[others] / q[others])).sum()) / n
    slope = np.divide(q - p, near, out=np.zeros_like(near), where=others) / n
    return not_negative(value), _unit_back((slope + slope.T) @ u / 2, u, norm)


def relation_distance(student: Array, teacher: Array, labels: Array | None = None) -> tuple[float, Array]:
    """Mean Huber loss between the distances of all pairs of rows, each side's in units of its own mean distance.

    Relational distillation (RKD; Park et al. 2019, section 3.2.1). The widths may differ. One row has no pair and gives
    0; rows that all coincide have distances of 0.
    """
    _same_rows(student, teacher)
    n = len(student)
    if n < 2:
        return 0.0, np.zeros_like(student)
    x = student.astype(np.float64)
    distance, far = _distances(x), _distances(teacher.astype(np.float64))
    pairs = n * (n - 1)
    mean, other = distance.sum() / pairs, far.sum() / pairs
    own = distance / mean if mean else distance
    value, slope = _huber(own - (far / other if other else far))
    if not mean:
        return value / pairs, np.zeros_like(student)
    slope /= pairs
    slope -= float(np.vdot(slope, own)) / pairs  # the mean distance moves too
    pull = np.divide(slope / mean, distance, out=np.zeros_like(slope), where=distance > 0)
    gradient = 2 * (pull.sum(axis=1)[:, None] * x - pull @ x)
    return value / pairs, gradient.astype(student.dtype)


def relation_angle(student: Array, teacher: Array, labels: Array | None = None) -> tuple[float, Array]:
    """Mean Huber loss between the cosines of the angles that all triplets of rows form (RKD; Park et al. 2019,
    section 3.2.2). The widths may differ; fewer than three rows have no angle and give 0. Work grows as N^3."""
    _same_rows(student, teacher)
    n, gradient = len(student), np.zeros_like(student)
    if n < 3:
        return 0.0, gradient
    value, triplets = 0.0, n * (n - 1) * (n - 2)
    block = max(1, BLOCK_NUMBERS // (n * max(n, student.shape[1], teacher.shape[1])))
    for start in range(0, n, block):
        tips = slice(start, start + block)  # where the angles are
        e, norm = _unit(student - student[tips, None])
        f, _ = _unit(teacher - teacher[tips, None])
        part, slope = _huber(e @ e.swapaxes(1, 2) - f @ f.swapaxes(1, 2))
        value += part
        back = _unit_back(2 * (slope / triplets) @ e, e, norm)
        gradient += back.sum(axis=0)
        gradient[tips] -= back.sum(axis=1)
    return value / triplets, gradient


def contrast(student: Array, teacher: Array, labels: Array | None = None, *, tau: float = 0.1) -> tuple[float, Array]:
    """Mean cross-entropy, in nats, of finding each row's own teacher features among those of the whole batch, by their
    cosine divided by `tau` (InfoNCE within the batch, after CRD; Tian et al. 2020). Without any sign it is log N."""
    _same_units(student, teacher)
    u, norm = _unit(student)
    v = _unit(teacher)[0]
    log_p = log_softmax(u @ v.T, tau)
    slope = np.exp(log_p)
    np.einsum("nn->n", slope)[...] -= 1
    return not_negative(-float(np.trace(log_p)) / len(u)), _unit_back(slope @ v / (tau * len(u)), u, norm)


def novelty(student: Array, teacher: Array, labels: Array | None = None, *, margin: float = 0.5) -> tuple[float, Array]:
    """Mean of relu(cos(student, teacher) - margin), from 0 to 1 - margin: what it costs to repeat the teacher's hidden
    layer rather than to find one's own. It pushes away from the teacher, up to the margin and no further."""
    _same_units(student, teacher)
    u, norm = _unit(student)
    v = _unit(teacher)[0]
    above = np.einsum("nc,nc->n", u, v)[:, None] - u.dtype.type(margin)
    return float(np.maximum(above, 0).sum()) / len(u), _unit_back((above > 0) * v / len(u), u, norm)


def _same_rows(student: Array, teacher: Array) -> None:
    if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher):
        raise ValueError(f"student features {student.shape} and teacher features {teacher.shape} must have equal rows")


def _same_units(student: Array, teacher: Array) -> None:
    if student.ndim != 2 or student.shape != teacher.shape:
        what = "must have one shape; an adapter makes the widths equal"
        raise ValueError(f"student features {student.shape} and teacher features {teacher.shape} {what}")


def _unit(x: Array) -> tuple[Array, Array]:
    """Each line (...,C) scaled to length 1, and the lengths; a line of zeros stays as it is."""
    largest = np.abs(x).max(axis=-1, keepdims=True)  # squares of very large or small numbers would leave float32
    scaled = np.divide(x, largest, out=np.zeros_like(x), where=largest > 0)
    norm = np.sqrt(np.einsum("...c,...c->...", scaled, scaled))[..., None]
    return np.divide(scaled, norm, out=np.zeros_like(x), where=norm > 0), norm * largest


def _unit_back(du: Array, u: Array, norm: Array) -> Array:
    """The derivative with respect to x, from that with respect to _unit(x)."""
    across: Array = du - np.einsum("...c,...c->...", du, u)[..., None] * u
    return np.divide(across, norm, out=np.zeros_like(u), where=norm > 0)


def _neighbours(u: Array) -> Array:
    """(1 + cosine) / 2 of every pair of rows (N,N), 0 for a row with itself."""
    near: Array = np.maximum(u @ u.T + 1, 0) / 2 + u.dtype.type(LEAST_SHARE)
    np.fill_diagonal(near, 0)
    return near


def _distances(x: Array) -> Array:
    """Euclidean distances (N,N) in float64, exactly 0 where rows coincide to within rounding."""
    x = x - x.mean(axis=0)
    squares = np.einsum("nc,nc->n", x, x)
    found = squares[:, None] + squares - 2 * (x @ x.T)
    found[found < 1e-13 * (squares[:, None] + squares)] = 0
    np.fill_diagonal(found, 0)
    distances: Array = np.sqrt(found)
    return distances


def _huber(difference: Array) -> tuple[float, Array]:
    """Sum of the Huber loss with its bend at 1 (Huber 1964), and its derivative."""
    slope = np.clip(difference, -1, 1)
    return float((slope * (difference - slope / 2)).sum()), slope


FEATURES: dict[str, Loss] = {
    "hint": hint,
    "cosine": cosine,
    "attention": attention,
    "similarity": similarity,
    "probabilistic": probabilistic,
    "relation_distance": relation_distance,
    "relation_angle": relation_angle,
    "contrast": contrast,
    "novelty": novelty,
}
