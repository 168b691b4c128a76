"""Layers as pure pairs: `f` and, under it, `f_back`. No state; results go where `new(shape)` says."""

import numpy as np

from distill.nn.vector import Array, New


def linear(x: Array, w: Array, b: Array, new: New = np.empty) -> Array:  # (N,C) (C,M) (M,) -> (N,M)
    """x @ w + b."""
    y = np.matmul(x, w, out=new((len(x), w.shape[1])))
    y += b
    return y


def linear_back(dy: Array, x: Array, dw: Array, db: Array) -> None:  # (N,M) (N,C) -> (C,M) (M,)
    """Writes the gradients of w and b into dw and db; `linear_back_input` gives that of x where it is needed."""
    np.matmul(x.T, dy, out=dw)
    np.add.reduce(dy, axis=0, out=db)


def linear_back_input(dy: Array, w: Array, new: New = np.empty) -> Array:  # (N,M) (C,M) -> (N,C)
    """The gradient of x. The first layer has no use for it."""
    return np.matmul(dy, w.T, out=new((len(dy), len(w))))


def relu(x: Array, new: New = np.empty) -> Array:  # (N,C) -> (N,C)
    """max(x, 0)."""
    return np.maximum(x, 0, out=new(x.shape))


def relu_back(dy: Array, y: Array, new: New = np.empty) -> Array:  # (N,C) (N,C) -> (N,C)
    """The gradient of x from relu's output y; at the kink it is 0."""
    return np.multiply(dy, y > 0, out=new(dy.shape))


def log_softmax(z: Array, new: New = np.empty, temperature: float = 1.0) -> Array:  # (N,M) -> (N,M)
    """log of softmax(z / T), row by row; exact for logits of any size, as the row's maximum is taken out first."""
    log_p: Array = np.subtract(z, np.maximum.reduce(z, axis=1, keepdims=True), out=new(z.shape))
    if temperature != 1:
        log_p /= temperature
    log_p -= np.log(np.add.reduce(np.exp(log_p, out=new(z.shape)), axis=1, keepdims=True))
    return log_p
