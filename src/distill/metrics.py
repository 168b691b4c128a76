"""What is measured on held-out rows, from logits (N,M) and class numbers (N,)."""

import numpy as np

from distill.nn import losses
from distill.nn.vector import Array


def accuracy(logits: Array, labels: Array) -> float:
    """Share of rows whose largest logit is the label's, 0 to 1."""
    return float((logits.argmax(axis=1) == labels).mean())


def cross_entropy(logits: Array, labels: Array) -> float:
    """Mean of -log p(label), in nats, computed in float64."""
    return losses.cross_entropy(logits.astype(np.float64), None, labels)[0]


def agreement(logits: Array, others: Array) -> float:
    """Share of rows for which two models (N,M) choose the same class, 0 to 1."""
    return float((logits.argmax(axis=1) == others.argmax(axis=1)).mean())


def commonest_share(train_labels: Array, labels: Array) -> float:
    """The accuracy of always guessing the commonest class of the training rows, 0 to 1."""
    return float((labels == np.bincount(train_labels).argmax()).mean())
