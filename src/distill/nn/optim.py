"""Optimisers on flat arrays, schedules as functions of the step.

An optimiser is made once per training, `make(parts, **options) -> update`, for the pieces of the weights and of their
gradient, `[(w, g), ...]`, 1-D views; it holds its own state. `update(i, step, rate)` changes piece i of the weights in
place, counting steps from 0; it allocates nothing, and leaves in g nothing of use.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from distill.nn.vector import Array

Parts = Sequence[tuple[Array, Array]]
Update = Callable[[int, int, float], None]

# A large model's weights, gradient and state are walked in pieces that stay in a core's cache.
BLOCK = 32_768


def pieces(start: int, stop: int) -> list[slice]:
    """The range in slices of at most BLOCK numbers."""
    return [slice(at, min(at + BLOCK, stop)) for at in range(start, stop, BLOCK)]


def sgd(parts: Parts, *, momentum: float = 0.9, weight_decay: float = 0.0) -> Update:
    """Gradient descent with heavy-ball momentum (Polyak 1964): v = momentum v + g, w -= rate v.

    `weight_decay` is added to the gradient as weight_decay * w, as is usual for this optimiser.
    """
    velocities = _zeros(parts)
    keep, decay, speed = _numbers(parts, momentum, weight_decay, 0)

    def update(i: int, step: int, rate: float) -> None:
        (w, g), v = parts[i], velocities[i]
        np.multiply(v, keep, out=v)
        np.add(v, g, out=v)
        if weight_decay:
            np.multiply(w, decay, out=g)
            np.add(v, g, out=v)
        speed[()] = rate
        np.multiply(v, speed, out=g)
        np.subtract(w, g, out=w)

    return update


def adam(
    parts: Parts, *, weight_decay: float = 0.0, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
) -> Update:
    """Adam (Kingma and Ba 2015).

    With `weight_decay` it is AdamW, w -= rate * weight_decay * w, apart from the gradient (Loshchilov and Hutter 2019).
    """
    # The moments are kept divided by 1 - beta, and every factor that is one number moves to the last lines.
    moments = list(zip(_zeros(parts), _zeros(parts), strict=True))
    keep1, keep2, shrink, floor, speed = _numbers(parts, beta1, beta2, 1, epsilon, 0)

    def update(i: int, step: int, rate: float) -> None:
        (w, g), (m, v) = parts[i], moments[i]
        first = (1 - beta1) / (1 - beta1 ** (step + 1))
        second = math.sqrt((1 - beta2) / (1 - beta2 ** (step + 1)))
        np.multiply(m, keep1, out=m)
        np.add(m, g, out=m)
        np.multiply(v, keep2, out=v)
        np.multiply(g, g, out=g)
        np.add(v, g, out=v)
        if weight_decay:
            shrink[()] = 1 - rate * weight_decay
            np.multiply(w, shrink, out=w)
        floor[()], speed[()] = epsilon / second, rate * first / second
        np.sqrt(v, out=g)
        np.add(g, floor, out=g)
        np.divide(m, g, out=g)
        np.multiply(g, speed, out=g)
        np.subtract(w, g, out=w)

    return update


def _zeros(parts: Parts) -> list[Array]:
    """A zero for every weight, in one array: the system backs a large one with large pages."""
    ends = np.cumsum([len(g) for _, g in parts])
    return np.split(np.zeros(ends[-1], parts[0][1].dtype), ends[:-1])


def _numbers(parts: Parts, *values: float) -> list[Array]:
    """Arrays without a dimension, which NumPy multiplies by in half the time that it takes for a Python float."""
    return [np.array(value, parts[0][1].dtype) for value in values]


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
