"""The softmax, in logarithms. The layers themselves stand in `mlp`, beside the arrays that they write to."""

import numpy as np

from distill.nn.vector import Array


def log_softmax(z: Array, temperature: float = 1.0) -> Array:  # (N,M) -> (N,M)
    """log of softmax(z / T), row by row; exact for logits of any size, as the row's maximum is taken out first."""
    log_p: Array = (z - np.maximum.reduce(z, axis=1, keepdims=True)) / z.dtype.type(temperature)
    log_p -= np.log(np.add.reduce(np.exp(log_p), axis=1, keepdims=True))
    return log_p
