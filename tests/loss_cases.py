"""Every loss with the options that change its formula, batches to try it on, and how results are compared."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from distill.nn.features import FEATURES
from distill.nn.losses import LOSSES
from distill.nn.vector import Array

# Both computed in float64 by other programs, each for the logits, features and labels of its "fixture".
GOLDEN, AUTOGRAD = (
    json.loads((Path(__file__).parent / "golden" / name).read_text()) for name in ("losses.json", "features.json")
)
CLASSES, UNITS = 5, 6

WITH_LABELS = ("cross_entropy", "decoupled")
ANY_WIDTH = ("similarity", "probabilistic", "relation_distance", "relation_angle")
SOFT = [{}, {"temperature": 0.5}, {"temperature": 2.0, "t_squared": False}]
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "cross_entropy": [{}, {"smoothing": 0.1}, {"smoothing": 1.0}],
    **dict.fromkeys(("response", "soft_cross_entropy", "reverse_kl"), SOFT),
    "jensen_shannon": [*SOFT, *({"beta": beta, "temperature": 1.0} for beta in (0.0, 0.1, 0.9, 1.0))],
    "decoupled": [{}, {"target": 0.0, "temperature": 1.0}, {"others": 0.0, "temperature": 2.0}],
    "dist": [{}, {"inter": 0.0, "temperature": 1.0}, {"intra": 0.5, "temperature": 1.0}],
    "contrast": [{}, {"tau": 0.5}, {"tau": 2.0}],
    "novelty": [{}, {"margin": 0.0}, {"margin": -0.9}],
}


class Case(NamedTuple):
    """A loss with these options. A loss on features gets a teacher of `width` units."""

    loss: str
    options: dict[str, Any]
    width: int = UNITS

    def __call__(self, *arguments: Array | None) -> tuple[float, Array]:
        return (LOSSES | FEATURES)[self.loss](*arguments, **self.options)

    def batch(self, n: int) -> tuple[Array, Array, Array]:
        """Return student, teacher and labels of n rows; from the third row on, every third row has no label."""
        widths = (CLASSES, CLASSES) if self.loss in LOSSES else (UNITS, self.width)
        rng, labels = np.random.default_rng(1), np.arange(n) % CLASSES
        labels[2::3] = -1
        student, teacher = ((2 if self.loss in LOSSES else 1) * rng.normal(size=(n, width)) for width in widths)
        return student, teacher, labels


def cases(*losses: str) -> Iterator[Case]:
    """Yield the cases of these losses."""
    for loss in losses:
        for options in OPTIONS.get(loss, [{}]):
            for width in (UNITS, 4, 9) if loss in ANY_WIDTH else (UNITS,):
                yield Case(loss, options, width)


CASES = list(cases(*LOSSES, *FEATURES))


def assert_close(
    case: object, result: tuple[float, Array], expected: tuple[float, Array], rtol: float = 1e-9, atol: float = 1e-12
) -> None:
    """Assert that value and gradient are as expected, and name the case where they are not."""
    for part, actual, wanted in zip(("value", "gradient"), result, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=rtol, atol=atol, err_msg=f"{part} of {case}")


def assert_slope(
    case: object, f: Callable[[Array], tuple[float, Array]], at: Array, within: Array | float = 1.0, atol: float = 1e-10
) -> None:
    """Assert that the slope of f's gradient along random directions, cut to `within`, is that of central differences
    of its value, of the fourth order."""
    gradient, step = f(at)[1], 2e-4
    for seed in range(3):
        direction = np.random.default_rng(seed).normal(size=at.shape) * within
        direction /= np.linalg.norm(direction)
        near, far = (f(at + k * step * direction)[0] - f(at - k * step * direction)[0] for k in (1, 2))
        analytic, numeric = np.vdot(gradient, direction), (8 * near - far) / (12 * step)
        np.testing.assert_allclose(analytic, numeric, rtol=5e-6, atol=atol, err_msg=f"slope of {case}")
