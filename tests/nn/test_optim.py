"""Optimisers against the papers' formulas written out naively, schedules at their landmarks, clipping."""

from itertools import pairwise

import numpy as np
import pytest

from distill.nn import optim
from distill.nn.vector import Array

RATES = [0.1, 0.05, 0.2, 0.01, 0.1]
SIZES = (5, optim.BLOCK + 3, 2 * optim.BLOCK + 3)  # within one cache block, and across the border of two and three
OPTIONS = [("adam", {}), ("adam", {"weight_decay": 0.1}), ("sgd", {}), ("sgd", {"momentum": 0.4, "weight_decay": 0.1})]


def gradients(size: int) -> Array:
    return np.random.default_rng(0).normal(size=(len(RATES), size))


def run(name: str, size: int, options: dict[str, float], *, backwards: bool = False, dtype: str = "f8") -> Array:
    """Return the weights after five steps, updated piece by piece as training does it."""
    weights, gradient = np.linspace(-1, 1, size, dtype=dtype), np.empty(size, dtype)
    parts = [(weights[piece], gradient[piece]) for piece in optim.pieces(0, size)]
    update = optim.OPTIMIZERS[name](parts, **options).update
    for step, rate in enumerate(RATES):
        gradient[...] = gradients(size)[step]
        for i in sorted(range(len(parts)), reverse=backwards):
            update(i, step, rate)
        gradient[...] = np.nan  # an update leaves nothing of use in it, so the next must not look
    return weights


def by_the_paper(name: str, size: int, *, weight_decay: float = 0.0, momentum: float = 0.9) -> Array:
    w, m, v = np.linspace(-1, 1, size), np.zeros(size), np.zeros(size)
    for t, (g, rate) in enumerate(zip(gradients(size), RATES, strict=True), start=1):
        if name == "sgd":
            v = momentum * v + g + weight_decay * w
            w = w - rate * v
        else:
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            w = w - rate * weight_decay * w
            w = w - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return w


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_an_optimiser_takes_the_papers_steps_in_whatever_order_threads_take_the_pieces(
    name: str, options: dict[str, float]
) -> None:
    for size in SIZES:
        weights = run(name, size, options)
        np.testing.assert_allclose(weights, by_the_paper(name, size, **options), 1e-11, 1e-15, err_msg=str(size))
        assert run(name, size, options, backwards=True).tobytes() == weights.tobytes(), size
    np.testing.assert_allclose(run(name, 5, options, dtype="f4"), by_the_paper(name, 5, **options), rtol=1e-4)


def test_pieces_are_a_range_cut_into_blocks_that_stay_in_the_cache() -> None:
    for start, stop in ((0, 0), (0, 1), (7, optim.BLOCK + 7), (7, optim.BLOCK + 8), (3, 5 * optim.BLOCK)):
        pieces = optim.pieces(start, stop)
        assert [i for piece in pieces for i in range(piece.start, piece.stop)] == list(range(start, stop))
        assert all(0 < piece.stop - piece.start <= optim.BLOCK for piece in pieces)


def test_clip_shortens_only_what_is_too_long() -> None:
    for most, shrunk in ((10, 1.0), (4.9, 0.98)):
        gradient = np.array([3.0, 4.0])
        assert optim.clip(gradient, most) == 5
        np.testing.assert_allclose(gradient, [shrunk * 3, shrunk * 4])


def test_schedules_at_their_landmarks() -> None:
    for schedule, expected in (
        ("constant", {0: 1.0, 50: 1.0, 99: 1.0}),
        ("cosine", {0: 1.0, 25: 0.85355339, 50: 0.5, 99: 0.000246720}),
        ("step", {0: 1.0, 49: 1.0, 50: 0.1, 74: 0.1, 75: 0.01, 99: 0.01}),
    ):
        for step, share in expected.items():
            assert optim.rate_at(step, 100, 2.0, schedule) == pytest.approx(2 * share, rel=1e-5), (schedule, step)
    rates = [optim.rate_at(step, 100, 1.0, "cosine", warmup=0.1) for step in range(100)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert (rates[10], rates[55]) == (1.0, pytest.approx(0.5))
    assert all(later <= earlier for earlier, later in pairwise(rates[10:]))
