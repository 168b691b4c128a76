"""Optimisers against the papers' formulas written out naively, schedules at their landmarks, clipping."""

from itertools import pairwise

import numpy as np
import pytest

from distill.nn import optim
from distill.nn.vector import Array

RATES = [0.1, 0.05, 0.2, 0.01, 0.1]


def gradients(size: int) -> Array:
    return np.random.default_rng(0).normal(size=(len(RATES), size))


def run(name: str, size: int, *, backwards: bool = False, **options: float) -> Array:
    """The weights after five steps, updated piece by piece as training does it."""
    weights, gradient = np.linspace(-1, 1, size), np.empty(size)
    parts = [(weights[piece], gradient[piece]) for piece in optim.pieces(0, size)]
    update = optim.OPTIMIZERS[name](parts, **options)
    for step, rate in enumerate(RATES):
        gradient[...] = gradients(size)[step]
        for i in sorted(range(len(parts)), reverse=backwards):
            update(i, step, rate)
        gradient[...] = np.nan  # an update leaves nothing of use in it, so the next must not look
    return weights


# Two sizes: within one cache block, and across the border of two.
@pytest.mark.parametrize("size", [5, optim.BLOCK + 3])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam(size: int, decay: float) -> None:
    w, m, v = np.linspace(-1, 1, size), 0.0, 0.0
    for t, (g, rate) in enumerate(zip(gradients(size), RATES, strict=True), start=1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        w = w - rate * decay * w
        w = w - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(run("adam", size, weight_decay=decay), w, rtol=1e-11)


@pytest.mark.parametrize("size", [5, optim.BLOCK + 3])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_sgd(size: int, momentum: float, decay: float) -> None:
    w, v = np.linspace(-1, 1, size), 0.0
    for g, rate in zip(gradients(size), RATES, strict=True):
        v = momentum * v + g + decay * w
        w = w - rate * v
    np.testing.assert_allclose(run("sgd", size, momentum=momentum, weight_decay=decay), w, rtol=1e-11)


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_the_order_in_which_pieces_are_updated_changes_no_bit(name: str) -> None:
    """Threads take the pieces as they come: each has a state of its own, and counts steps by the argument alone."""
    size = 2 * optim.BLOCK + 3
    forwards = run(name, size, weight_decay=0.1)
    assert run(name, size, weight_decay=0.1, backwards=True).tobytes() == forwards.tobytes()


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 0), (0, 1), (7, optim.BLOCK + 7), (7, optim.BLOCK + 8), (3, 5 * optim.BLOCK)]
)
def test_pieces_are_a_range_cut_into_blocks_that_stay_in_the_cache(start: int, stop: int) -> None:
    pieces = optim.pieces(start, stop)
    assert [i for piece in pieces for i in range(piece.start, piece.stop)] == list(range(start, stop))
    assert all(0 < piece.stop - piece.start <= optim.BLOCK for piece in pieces)


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_float32_weights_stay_float32_and_close_to_float64(name: str) -> None:
    weights, gradient = np.linspace(-1, 1, 5, dtype=np.float32), np.empty(5, np.float32)
    update = optim.OPTIMIZERS[name]([(weights, gradient)], weight_decay=0.1)
    for step, rate in enumerate(RATES):
        gradient[...] = gradients(5)[step]
        update(0, step, rate)
    np.testing.assert_allclose(weights, run(name, 5, weight_decay=0.1), rtol=1e-4)


def test_clip_shortens_only_what_is_too_long() -> None:
    gradient = np.array([3.0, 4.0])
    assert optim.clip(gradient, 10) == 5
    np.testing.assert_array_equal(gradient, [3, 4])
    assert optim.clip(gradient, 4.9) == 5
    np.testing.assert_allclose(gradient, [0.98 * 3, 0.98 * 4])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", {0: 1.0, 50: 1.0, 99: 1.0}),
        ("cosine", {0: 1.0, 25: 0.85355339, 50: 0.5, 99: 0.000246720}),
        ("step", {0: 1.0, 49: 1.0, 50: 0.1, 74: 0.1, 75: 0.01, 99: 0.01}),
    ],
)
def test_schedules(schedule: str, expected: dict[int, float]) -> None:
    assert expected.keys() <= set(range(100))
    for step, share in expected.items():
        assert optim.rate_at(step, 100, 2.0, schedule) == pytest.approx(2 * share, rel=1e-5)


def test_warmup_rises_linearly_and_then_leaves_the_schedule_whole() -> None:
    rates = [optim.rate_at(step, 100, 1.0, "cosine", warmup=0.1) for step in range(100)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert all(later <= earlier for earlier, later in pairwise(rates[10:]))
