"""The softmax, and what several come to. The layers themselves stand in `mlp`, beside the arrays they write to."""

from collections.abc import Sequence

import numpy as np

from distill.nn.vector import Array


def log_softmax(z: Array, temperature: float = 1.0) -> Array:  # (N,M) -> (N,M)
    """log of softmax(z / T), row by row; exact for logits of any size, as the row's maximum is taken out first."""
    log_p: Array = (z - np.maximum.reduce(z, axis=1, keepdims=True)) / z.dtype.type(temperature)
    log_p -= np.log(np.add.reduce(np.exp(log_p), axis=1, keepdims=True))
    return log_p


def not_negative(value: float) -> float:
    """What is never below 0 but by rounding; -0.0 becomes 0.0, and NaN stays."""
    return 0.0 if value <= 0 else value


def softmax(z: Array, temperature: float = 1.0) -> Array:  # (N,M) -> (N,M)
    """Probabilities of softmax(z / T), row by row."""
    p: Array = np.exp(log_softmax(z, temperature))
    return p


def combine(logits: Sequence[Array], shares: Sequence[float], how: str, temperature: float = 1.0) -> Array:
    """The logits (N,M) of an ensemble whose members have these logits and shares, which sum to 1.

    `probabilities`: softmax(. / T) of them is the mean of the members' softmax(z / T). `logits`: they are the mean of
    the members' logits. One member alone is what it is. Members of another shape raise ValueError with both shapes.
    """
    for z in logits[1:]:
        if z.shape != logits[0].shape:
            raise ValueError(f"teachers' logits {logits[0].shape} and {z.shape} must have one shape")
    if len(logits) == 1:
        return logits[0]
    weights = np.array(shares)[:, None, None]
    if how == "logits":
        mean: Array = (weights.astype(logits[0].dtype) * np.stack(list(logits))).sum(axis=0)
        return mean
    parts = np.stack([log_softmax(z, temperature) for z in logits])
    parts += np.log(weights).astype(parts.dtype)  # a share that float32 takes for 0 has a logarithm all the same
    largest = parts.max(axis=0)
    together: Array = np.log(np.exp(parts - largest).sum(axis=0)) + largest
    together *= temperature
    return together
