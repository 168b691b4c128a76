"""Every backward pass against central differences, in float64, through the functions that training calls."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from distill.config import Term
from distill.nn import mlp, ops
from distill.nn.losses import LOSSES
from distill.nn.vector import Array, Vector
from distill.objective import objective

BATCHES = (1, 32)
TOLERANCE = 1e-6


def relative_error(f: Callable[[Array], float], at: Array, gradient: Array, seed: int) -> float:
    """Analytic against numeric slope (fourth-order differences) along one random unit direction."""
    direction = np.random.default_rng(seed).normal(size=at.shape)
    direction /= np.linalg.norm(direction)
    step = 1e-4
    near, far = (f(at + k * step * direction) - f(at - k * step * direction) for k in (1, 2))
    numeric = (8 * near - far) / (12 * step)
    analytic = float(np.vdot(gradient, direction))
    return abs(numeric - analytic) / max(abs(numeric), abs(analytic), 1e-12)


def normal(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("n", BATCHES)
def test_linear(n: int) -> None:
    x, w, b, seed = normal(n, 5), normal(5, 3, seed=2), normal(3, seed=3), normal(n, 3, seed=4)
    dw, db = np.empty_like(w), np.empty_like(b)
    ops.linear_back(seed, x, dw, db)
    dx = ops.linear_back_input(seed, w)
    assert relative_error(lambda v: float(np.vdot(seed, ops.linear(v, w, b))), x, dx, 5) <= TOLERANCE
    assert relative_error(lambda v: float(np.vdot(seed, ops.linear(x, v, b))), w, dw, 6) <= TOLERANCE
    assert relative_error(lambda v: float(np.vdot(seed, ops.linear(x, w, v))), b, db, 7) <= TOLERANCE


@pytest.mark.parametrize("n", BATCHES)
def test_relu(n: int) -> None:
    x, seed = normal(n, 6), normal(n, 6, seed=2)
    dx = ops.relu_back(seed, ops.relu(x))
    assert relative_error(lambda v: float(np.vdot(seed, ops.relu(v))), x, dx, 3) <= TOLERANCE


@pytest.mark.parametrize("n", BATCHES)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_log_softmax_is_the_log_of_the_definition(n: int, temperature: float) -> None:
    z = normal(n, 7)
    p = np.exp(z / temperature) / np.exp(z / temperature).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ops.log_softmax(z, temperature=temperature), np.log(p), rtol=1e-12)


OPTIONS: list[tuple[str, Mapping[str, object]]] = [
    ("cross_entropy", {}),
    *(
        ("response", {"temperature": t, "t_squared": squared})
        for t in (1.0, 2.0, 4.0, 20.0)
        for squared in (True, False)
    ),
]


def test_every_loss_is_checked() -> None:
    assert {name for name, _ in OPTIONS} == LOSSES.keys()


@pytest.mark.parametrize("n", BATCHES)
@pytest.mark.parametrize(("loss", "options"), OPTIONS)
def test_losses(loss: str, options: Mapping[str, object], n: int) -> None:
    student, teacher, labels = normal(n, 5), normal(n, 5, seed=2), np.arange(n) % 5
    _, gradient = LOSSES[loss](student, teacher, labels, **options)
    f = lambda z: LOSSES[loss](z, teacher, labels, **options)[0]  # noqa: E731
    assert relative_error(f, student, gradient, 3) <= TOLERANCE


CLASSIC = (Term("cross_entropy", 0.3), Term("response", 0.7, "t", {"temperature": 4.0, "t_squared": True}))


@pytest.mark.parametrize("n", BATCHES)
@pytest.mark.parametrize("hidden", [(), (8,), (8, 6), (5, 4, 3)])
@pytest.mark.parametrize("terms", [CLASSIC[:1], CLASSIC[1:], CLASSIC], ids=["labels", "teacher", "both"])
def test_the_mlp_under_the_objective_that_training_uses(hidden: Sequence[int], terms: Sequence[Term], n: int) -> None:
    weights = Vector(mlp.shapes((6, *hidden, 4)), np.float64)
    mlp.initialise(weights, np.random.default_rng(1))
    weights.flat += 0.1 * normal(weights.flat.size)  # biases too
    x, rows = normal(n, 6, seed=2), np.arange(n)
    value_and_seeds = objective(terms, np.arange(n) % 4, {"t": normal(n, 4, seed=3)})

    def value(flat: Array) -> float:
        return value_and_seeds(mlp.forward(Vector(weights.shapes, flat=flat), x), rows, np.empty)[0]

    taps = mlp.forward(weights, x)
    gradient = weights.like()
    mlp.backward(weights, taps, value_and_seeds(taps, rows, np.empty)[1], gradient)
    assert relative_error(value, weights.flat, gradient.flat, 4) <= TOLERANCE


@pytest.mark.parametrize("n", BATCHES)
def test_a_seed_at_a_hidden_tap_adds_to_the_gradient(n: int) -> None:
    weights = Vector(mlp.shapes((6, 8, 7, 4)), np.float64)
    mlp.initialise(weights, np.random.default_rng(1))
    x = normal(n, 6, seed=2)
    seeds = {"h1": normal(n, 8, seed=3), "h2": normal(n, 7, seed=4), "logits": normal(n, 4, seed=5)}

    def value(flat: Array) -> float:
        taps = mlp.forward(Vector(weights.shapes, flat=flat), x)
        return sum(float(np.vdot(seeds[name], taps[name])) for name in seeds)

    gradient = weights.like()
    mlp.backward(weights, mlp.forward(weights, x), {name: seed.copy() for name, seed in seeds.items()}, gradient)
    assert relative_error(value, weights.flat, gradient.flat, 6) <= TOLERANCE
