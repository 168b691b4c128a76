"""Optimisers on flat vectors, schedules as functions of the step.

An optimiser is made once per training, `make(size, dtype, **options) -> update`, and holds its own state;
`update(weights, gradient, rate)` changes the weights in place and allocates nothing.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from distill.nn.vector import Array

Update = Callable[[Array, Array, float], None]

# A large model's weights, gradient and state are walked in blocks that stay in a core's cache.
BLOCK = 32_768


def _blocks(size: int) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, size, BLOCK)]


def sgd(size: int, dtype: DTypeLike, *, momentum: float = 0.9, weight_decay: float = 0.0) -> Update:
    """Gradient descent with heavy-ball momentum (Polyak 1964): v = momentum v + g, w -= rate v.

    `weight_decay` is added to the gradient as weight_decay * w, as is usual for this optimiser.
    """
    velocity = np.zeros(size, dtype)
    scratch = np.empty(min(size, BLOCK), dtype)
    blocks = _blocks(size)

    def update(weights: Array, gradient: Array, rate: float) -> None:
        for block in blocks:
            w, g, v = weights[block], gradient[block], velocity[block]
            s = scratch[: len(w)]
            v *= momentum
            v += g
            if weight_decay:
                v += np.multiply(w, weight_decay, out=s)
            w -= np.multiply(v, rate, out=s)

    return update


def adam(
    size: int,
    dtype: DTypeLike,
    *,
    weight_decay: float = 0.0,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> Update:
    """Adam (Kingma and Ba 2015).

    With `weight_decay` it is AdamW, w -= rate * weight_decay * w, apart from the gradient (Loshchilov and Hutter 2019).
    """
    first, second = np.zeros(size, dtype), np.zeros(size, dtype)
    scratch = np.empty(min(size, BLOCK), dtype)
    blocks = _blocks(size)
    step = 0

    def update(weights: Array, gradient: Array, rate: float) -> None:
        nonlocal step
        step += 1
        bias1, bias2 = 1 - beta1**step, math.sqrt(1 - beta2**step)
        for block in blocks:
            w, g, m, v = weights[block], gradient[block], first[block], second[block]
            s = scratch[: len(w)]
            m *= beta1
            m += np.multiply(g, 1 - beta1, out=s)
            v *= beta2
            np.multiply(g, g, out=s)
            s *= 1 - beta2
            v += s
            if weight_decay:
                w *= 1 - rate * weight_decay
            # m/bias1 / (sqrt(v)/bias2 + epsilon), with the two corrections moved into scalars
            np.sqrt(v, out=s)
            s += epsilon * bias2
            np.divide(m, s, out=s)
            s *= rate * bias2 / bias1
            w -= s

    return update


def clip(gradient: Array, most: float) -> float:
    """Scale the gradient in place to at most this Euclidean norm (Pascanu et al. 2013); returns the norm it had."""
    norm = math.sqrt(float(gradient @ gradient))
    if norm > most:
        gradient *= most / norm
    return norm


def constant(share: float) -> float:
    """The full rate throughout."""
    return 1.0


def cosine(share: float) -> float:
    """From the full rate to 0 along half a cosine (Loshchilov and Hutter 2017)."""
    return 0.5 * (1 + math.cos(math.pi * share))


def stepped(share: float) -> float:
    """A tenth after half of the steps, a hundredth after three quarters."""
    return 1.0 if share < 0.5 else 0.1 if share < 0.75 else 0.01


OPTIMIZERS: dict[str, Callable[..., Update]] = {"adam": adam, "sgd": sgd}
SCHEDULES: dict[str, Callable[[float], float]] = {"constant": constant, "cosine": cosine, "step": stepped}


def rate_at(step: int, steps: int, rate: float, schedule: str, warmup: float = 0.0) -> float:
    """The learning rate of step `step` (from 0) of `steps`; over the first `warmup` share of them it rises linearly."""
    warm = round(warmup * steps)
    if step < warm:
        return rate * (step + 1) / warm
    return rate * SCHEDULES[schedule]((step - warm) / max(1, steps - warm))
