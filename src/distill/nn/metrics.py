"""What is measured on held-out rows, from logits (N,M) and class numbers (N,)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from distill.nn import losses
from distill.nn.ops import log_softmax
from distill.nn.vector import Array

CALIBRATION_BINS = 15


def accuracy(logits: Array, labels: Array) -> float:
    """Share of rows whose largest logit is the label's, 0 to 1."""
    return float((logits.argmax(axis=1) == labels).mean())


def cross_entropy(logits: Array, labels: Array) -> float:
    """Mean of -log p(label), in nats, computed in float64."""
    return losses.cross_entropy(logits.astype(np.float64), None, labels)[0]


def agreement(logits: Array, others: Array) -> float:
    """Share of rows for which two models (N,M) choose the same class, 0 to 1."""
    return float((logits.argmax(axis=1) == others.argmax(axis=1)).mean())


def confusion(logits: Array, labels: Array) -> Array:  # -> (M,M)
    """Counts of rows by true class (row) and chosen class (column)."""
    classes = logits.shape[1]
    flat = np.bincount(labels * classes + logits.argmax(axis=1), minlength=classes * classes)
    return flat.reshape(classes, classes)


def macro_f1(counts: Array) -> float:
    """Mean of the classes' F1 from a confusion matrix (M,M), over the classes that occur or were chosen, 0 to 1."""
    hits, both = counts.diagonal(), counts.sum(axis=0) + counts.sum(axis=1)
    return float((2 * hits[both > 0] / both[both > 0]).mean())


def reliability(logits: Array, labels: Array) -> list[dict[str, float]]:
    """Rows by confidence in 15 bins of equal width (Guo et al. 2017): per bin in use its share of the rows, mean
    confidence and accuracy."""
    p = _probabilities(logits)
    confidence, right = p.max(axis=1), logits.argmax(axis=1) == labels
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    inside = [bins == one for one in np.flatnonzero(np.bincount(bins))]
    return [
        {
            "share": float(rows.mean()),
            "confidence": float(confidence[rows].mean()),
            "accuracy": float(right[rows].mean()),
        }
        for rows in inside
    ]


def calibration_error(bins: list[dict[str, float]]) -> float:
    """Expected calibration error (Guo et al. 2017): mean |accuracy - confidence| of the bins by rows, 0 to 1."""
    return sum(one["share"] * abs(one["accuracy"] - one["confidence"]) for one in bins)


def brier(logits: Array, labels: Array) -> float:
    """Mean over rows of the squared distance between probabilities and the label's one-hot row, 0 to 2 (Brier 1950)."""
    p = _probabilities(logits)
    p[np.arange(len(p)), labels] -= 1
    return float(np.square(p).sum(axis=1).mean())


def divergence(teacher: Array, student: Array) -> float:
    """Mean KL(teacher || student) of the probabilities at T = 1, in nats."""
    return losses.response(student.astype(np.float64), teacher.astype(np.float64), temperature=1.0)[0]


def commonest_share(train_labels: Array, labels: Array) -> float:
    """The accuracy of always guessing the commonest class of the training rows, 0 to 1; rows of label -1 have none."""
    return float((labels == np.bincount(train_labels[train_labels >= 0]).argmax()).mean())


def summary(logits: Array, labels: Array, teacher: Array | None) -> Mapping[str, Any]:
    """Every measure of one model on one split, beside its teacher's logits (N,M), None where there are none for these
    rows; retention is in percent."""
    counts, bins = confusion(logits, labels), reliability(logits, labels)
    beside = dict.fromkeys(("agreement", "kl_to_teacher", "retention"))
    if teacher is not None:
        beside = {
            "agreement": agreement(logits, teacher),
            "kl_to_teacher": divergence(teacher, logits),
            "retention": 100 * accuracy(logits, labels) / max(accuracy(teacher, labels), 1e-12),
        }
    return {
        "accuracy": accuracy(logits, labels),
        "macro_f1": macro_f1(counts),
        "ce": cross_entropy(logits, labels),
        "ece": calibration_error(bins),
        "brier": brier(logits, labels),
        **beside,
        "reliability": bins,
        "confusion": counts.tolist(),
    }


def _probabilities(logits: Array) -> Array:
    probabilities: Array = np.exp(log_softmax(logits.astype(np.float64)))
    return probabilities
