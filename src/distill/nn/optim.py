"""Optimisers on flat arrays, and schedules as functions of the step.

An optimiser is made once per training for the pieces of the weights and of their gradient, `[(w, g), ...]`, 1-D views.
Its state is `moments`, flat arrays by name, as long as all pieces together. `update(i, step, rate)` changes piece i of
the weights in place, counting steps from 0; it allocates nothing and overwrites g.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np

from distill.nn.vector import Array

# A large model's weights, gradient and moments are walked in pieces that stay in a core's cache.
BLOCK = 32_768


def pieces(start: int, stop: int) -> list[slice]:
    """Return the range in slices of at most BLOCK numbers."""
    return [slice(at, min(at + BLOCK, stop)) for at in range(start, stop, BLOCK)]


class Optimizer:
    """What optimisers share: the pieces, each with its part of every moment."""

    names: ClassVar[tuple[str, ...]]  # of the moments

    def __init__(self, pieces: Sequence[tuple[Array, Array]], moments: Mapping[str, Array] | None = None) -> None:
        """Take up `moments` where a training goes on, else start from zeros."""
        ends = np.cumsum([len(g) for _, g in pieces])
        self.dtype = pieces[0][1].dtype
        # One array for each moment: the system backs a large one with large pages.
        self.moments = dict(moments) if moments else {name: np.zeros(ends[-1], self.dtype) for name in self.names}
        parts = zip(*(np.split(self.moments[name], ends[:-1]) for name in self.names), strict=True)
        self.pieces = [(w, g, *moment) for (w, g), moment in zip(pieces, parts, strict=True)]

    def update(self, i: int, step: int, rate: float) -> None:
        """Change piece i of the weights."""
        raise NotImplementedError

    def _number(self, value: float = 0.0) -> Array:
        """An array without a dimension, which NumPy multiplies by in half the time that it takes for a Python float."""
        return np.array(value, self.dtype)


class SGD(Optimizer):
    """Gradient descent with heavy-ball momentum (Polyak 1964): v = momentum v + g, w -= rate v.

    `weight_decay` is added to the gradient as weight_decay * w, as is usual for this optimiser.
    """

    names = ("v",)

    def __init__(
        self,
        pieces: Sequence[tuple[Array, Array]],
        moments: Mapping[str, Array] | None = None,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(pieces, moments)
        self.momentum, self.decay = self._number(momentum), self._number(weight_decay)
        self.decays, self.rate = weight_decay > 0, self._number()

    def update(self, i: int, step: int, rate: float) -> None:
        """Change piece i of the weights."""
        w, g, v = self.pieces[i]
        np.multiply(v, self.momentum, out=v)
        np.add(v, g, out=v)
        if self.decays:
            np.multiply(w, self.decay, out=g)
            np.add(v, g, out=v)
        self.rate[()] = rate
        np.multiply(v, self.rate, out=g)
        np.subtract(w, g, out=w)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015).

    With `weight_decay` it is AdamW, w -= rate * weight_decay * w, apart from the gradient (Loshchilov and Hutter 2019).
    """

    names = ("m", "v")

    def __init__(
        self,
        pieces: Sequence[tuple[Array, Array]],
        moments: Mapping[str, Array] | None = None,
        *,
        weight_decay: float = 0.0,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(pieces, moments)
        self.betas, self.epsilon, self.weight_decay = (beta1, beta2), epsilon, weight_decay
        self.beta1, self.beta2, self.shrink = self._number(beta1), self._number(beta2), self._number(1)
        self.floor, self.rate = self._number(epsilon), self._number()

    def update(self, i: int, step: int, rate: float) -> None:
        """Change piece i of the weights.

        The moments are held divided by 1 - beta, and every factor that is one number moves to the last lines.
        """
        w, g, m, v = self.pieces[i]
        (beta1, beta2), decay = self.betas, self.weight_decay
        first = (1 - beta1) / (1 - beta1 ** (step + 1))
        second = math.sqrt((1 - beta2) / (1 - beta2 ** (step + 1)))
        np.multiply(m, self.beta1, out=m)
        np.add(m, g, out=m)
        np.multiply(v, self.beta2, out=v)
        np.multiply(g, g, out=g)
        np.add(v, g, out=v)
        if decay:
            self.shrink[()] = 1 - rate * decay
            np.multiply(w, self.shrink, out=w)
        self.floor[()], self.rate[()] = self.epsilon / second, rate * first / second
        np.sqrt(v, out=g)
        np.add(g, self.floor, out=g)
        np.divide(m, g, out=g)
        np.multiply(g, self.rate, out=g)
        np.subtract(w, g, out=w)


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


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adam": Adam, "sgd": SGD}
SCHEDULES: dict[str, Callable[[float], float]] = {"constant": constant, "cosine": cosine, "step": stepped}


def rate_at(step: int, steps: int, rate: float, schedule: str, warmup: float = 0.0) -> float:
    """The learning rate of step `step` (from 0) of `steps`; over the first `warmup` share of them it rises linearly."""
    warm = round(warmup * steps)
    if step < warm:
        return rate * (step + 1) / warm
    return rate * SCHEDULES[schedule]((step - warm) / max(1, steps - warm))
