"""Every gradient against central differences, in float64, through the functions that training calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from conftest import answered, network_of, state_of
from distill import config
from distill.config.schema import Term
from distill.nn import mlp, ops
from distill.nn.features import FEATURES
from distill.nn.losses import LOSSES
from distill.nn.mlp import MLP
from distill.nn.vector import Array, Vector
from distill.train import loop
from distill.train.adapters import adapters
from distill.train.objective import Objective
from distill.train.outputs import TeacherOutputs
from distill.train.threads import team_of

BATCHES = (1, 32)
STACKS: tuple[tuple[int, ...], ...] = ((), (2,))
TOLERANCE = 1e-6


def relative_error(
    f: Callable[[Array], float], at: Array, gradient: Array, seed: int, within: Array | float = 1.0
) -> float:
    """Analytic against numeric slope (fourth-order differences) along one random unit direction, cut to `within`."""
    direction = np.random.default_rng(seed).normal(size=at.shape) * within
    direction /= np.linalg.norm(direction)
    step = 1e-4
    near, far = (f(at + k * step * direction) - f(at - k * step * direction) for k in (1, 2))
    numeric = (8 * near - far) / (12 * step)
    analytic = float(np.vdot(gradient, direction))
    return abs(numeric - analytic) / max(abs(numeric), abs(analytic), 1e-12)


def normal(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def with_ones(x: Array) -> Array:  # (..., C, N) -> (..., C+1, N)
    return np.concatenate([x, np.ones_like(x[..., :1, :])], axis=-2)


def network(sizes: Sequence[int], stack: tuple[int, ...] = ()) -> Vector:
    """Random weights, biases too; every network of a stack has its own."""
    weights = Vector(MLP(sizes).shapes, np.float64, stack=stack)
    for seed, one in enumerate(weights.networks(), start=1):
        network_of(one).initialise(one, np.random.default_rng(seed))
    weights.flat += 0.1 * normal(*weights.flat.shape)
    return weights


# --- the layers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("n", BATCHES)
def test_linear(n: int, stack: tuple[int, ...]) -> None:
    """A line of ones stands for the bias, so that w @ h is the layer and d @ h.T the gradient of w."""
    weights, x, seed = network((5, 3), stack), normal(5, n, seed=2), normal(*stack, 3, n, seed=3)

    def value(flat: Array) -> float:
        tape = mlp.Tape(Vector(weights.shapes, flat=flat), n)
        tape.forward()(with_ones(x))
        return float(np.vdot(seed, tape.z))

    gradient = weights.like()
    np.matmul(seed, with_ones(x).T, out=gradient["w1"])
    assert relative_error(value, weights.flat, gradient.flat, 4) <= TOLERANCE
    plain = weights["w1"][..., :-1] @ x + weights["w1"][..., -1:]
    assert value(weights.flat) == pytest.approx(float(np.vdot(seed, plain)), rel=1e-12)


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("n", BATCHES)
@pytest.mark.parametrize("layer", [1, 2])
def test_linear_and_relu_backwards(layer: int, n: int, stack: tuple[int, ...]) -> None:
    """What backward writes behind a ReLU is the derivative by what the layer computes before it."""
    weights, x, seed = network((6, 8, 7, 4), stack), normal(6, n, seed=2), normal(*stack, 4, n, seed=3)
    tape = mlp.Tape(weights, n)
    tape.forward()(with_ones(x))
    tape.d[3][...] = seed
    tape.backward()()

    def value(before: Array) -> float:
        h = before
        for k in range(layer + 1, 4):
            h = weights[f"w{k}"] @ with_ones(np.maximum(h, 0))
        return float(np.vdot(seed, h))

    below = with_ones(x) if layer == 1 else tape.h[layer - 1]
    assert relative_error(value, weights[f"w{layer}"] @ below, tape.d[layer], 4) <= TOLERANCE


def test_at_the_kink_the_gradient_is_zero() -> None:
    weights = network((2, 3, 2))
    weights["w1"][1] = 0  # this unit's output is 0 whatever comes in
    tape = mlp.Tape(weights, 4)
    tape.forward()(with_ones(normal(2, 4)))
    tape.d[2][...] = 1
    tape.backward()()
    assert not tape.d[1][1].any()
    assert tape.d[1].any()


@pytest.mark.parametrize("n", BATCHES)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_log_softmax_is_the_log_of_the_definition(n: int, temperature: float) -> None:
    z = normal(n, 7)
    p = np.exp(z / temperature) / np.exp(z / temperature).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ops.log_softmax(z, temperature=temperature), np.log(p), rtol=1e-12)


# --- the losses -------------------------------------------------------------------------------------------------------

OPTIONS: list[tuple[str, Mapping[str, object]]] = [
    *(("cross_entropy", {"smoothing": s}) for s in (0.0, 0.1)),
    *((name, {"temperature": t}) for name in ("soft_cross_entropy", "reverse_kl") for t in (1.0, 4.0)),
    *(("jensen_shannon", {"beta": beta, "temperature": 2.0}) for beta in (0.0, 0.1, 0.5, 0.9, 1.0)),
    *(("decoupled", {"target": a, "others": b}) for a, b in ((1.0, 8.0), (1.0, 0.0), (0.0, 1.0))),
    *(("dist", {"inter": a, "intra": b, "temperature": 2.0}) for a, b in ((1.0, 1.0), (1.0, 0.0), (0.0, 2.0))),
    ("logit_mse", {}),
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


def test_the_labels_loss_where_some_rows_have_none() -> None:
    student, labels = normal(32, 5), np.where(np.arange(32) % 3, -1, np.arange(32) % 5)
    _, gradient = LOSSES["cross_entropy"](student, None, labels)
    f = lambda z: LOSSES["cross_entropy"](z, None, labels)[0]  # noqa: E731
    assert relative_error(f, student, gradient, 3) <= TOLERANCE


# --- the whole step ---------------------------------------------------------------------------------------------------

# Plain gradient descent at rate 1: what a step takes off the weights is the gradient that training works with.
PLAIN = replace(config.load({}).student, optimizer="sgd", momentum=0.0, learning_rate=1.0, epochs=1)
LABELS = Term("cross_entropy", 0.3)
TEACHER = Term("response", 0.7, (("t", 1.0),), {"temperature": 4.0, "t_squared": True})
PLAINLY = Term("response", 2.0, (("t", 1.0),), {"temperature": 0.5, "t_squared": False})
OTHER = Term("response", 0.2, (("u", 1.0),), {"temperature": 1.0, "t_squared": True})
TERMS = {
    "labels": (LABELS,),
    "teacher": (TEACHER,),
    "both": (LABELS, TEACHER),
    "three temperatures": (LABELS, TEACHER, PLAINLY, OTHER),
}


def step(weights: Vector, x: Array, objective: Objective, flat: Array) -> tuple[Array, Array]:
    """One step of the training loop over all rows, from the weights `flat`: the losses (R,), and the gradient."""
    moved = Vector(weights.shapes, flat=flat.copy())
    plan = replace(PLAIN, batch_size=len(x))
    with team_of(3 if loop.SHARED_WORK == 0 else 1, paced=False) as team:
        ((losses, rows),) = loop.steps(
            network_of(moved), state_of(moved, np.random.default_rng(0)), x, objective, plan, team
        )
    assert (losses.shape[0], rows) == (1, len(x))
    return losses[0], flat - moved.flat


def check_step(weights: Vector, x: Array, objective: Objective) -> None:
    """Each network's loss along a direction in which its own weights move, the others' too, and the others' alone."""
    _, gradient = step(weights, x, objective, weights.flat)
    gradients = gradient.reshape(-1, gradient.shape[-1])
    for r in range(len(gradients)):
        value = lambda flat, r=r: float(step(weights, x, objective, flat)[0][r])  # noqa: E731
        own = np.zeros_like(gradient)
        own.reshape(gradients.shape)[r] = 1
        assert relative_error(value, weights.flat, own * gradient, 4 + r) <= TOLERANCE
        assert relative_error(value, weights.flat, gradient, 6 + r, within=own) <= TOLERANCE


@pytest.mark.parametrize("shared", [False, True], ids=["whole", "in shards"])
@pytest.mark.parametrize("n", BATCHES)
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("hidden", [(), (8,), (8, 6), (5, 4, 3)])
@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
def test_the_mlp_under_the_objective_that_training_uses(
    hidden: Sequence[int],
    terms: Sequence[Term],
    stack: tuple[int, ...],
    n: int,
    shared: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if shared:
        in_shards(monkeypatch)
    weights = network((6, *hidden, 4), stack)
    answers = answered({"t": normal(n, 4, seed=3), "u": normal(n, 4, seed=4)})
    objective = Objective([terms, (LABELS,)][: len(weights.networks())], np.arange(n) % 4, answers, 4, np.float64)
    check_step(weights, normal(n, 6, seed=2), objective)


# --- terms that do not fold -------------------------------------------------------------------------------------------

SOFT: dict[str, dict[str, object]] = {
    "reverse_kl": {"temperature": 2.0, "t_squared": True},
    "jensen_shannon": {"temperature": 2.0, "t_squared": True, "beta": 0.3},
    "logit_mse": {},
    "decoupled": {"temperature": 2.0, "target": 1.0, "others": 8.0},
    "dist": {"temperature": 2.0, "inter": 1.0, "intra": 1.0},
}
HIDDEN: dict[str, dict[str, object]] = {name: {} for name in FEATURES} | {
    "contrast": {"tau": 0.5},
    "novelty": {"margin": -0.9},
}
TO = (("t", 1.0),)
LIVE = {
    **{name: (LABELS, Term(name, 0.7, TO, options)) for name, options in SOFT.items()},
    **{name: (Term(name, 0.7, TO, options | {"layers": ((1, 2), (2, 1))}),) for name, options in HIDDEN.items()},
    "several at once": (
        LABELS,
        TEACHER,
        Term("hint", 0.5, TO, {"layers": "auto"}),
        Term("cosine", 0.5, TO, {"layers": ((2, 1), (0, 2))}),
        Term("reverse_kl", 0.2, TO, SOFT["reverse_kl"]),
    ),
    "an ensemble": (Term("reverse_kl", 1.0, (("t", 0.25), ("u", 0.75)), SOFT["reverse_kl"]),),
    "peers": (LABELS, Term("response", 1.0, (("peers", 1.0),), {"temperature": 2.0, "t_squared": True})),
}


def test_every_live_term_is_checked() -> None:
    assert {term.loss for terms in LIVE.values() for term in terms} == {*LOSSES, *FEATURES} - {"soft_cross_entropy"}


def deep(n: int, x: Array) -> dict[str, TeacherOutputs]:
    """Two teachers with hidden layers of 7 and 5 units, and the input as layer 0."""
    layers = {0: x, 1: np.abs(normal(n, 7, seed=5)), 2: np.abs(normal(n, 5, seed=6))}
    return {
        name: TeacherOutputs(normal(n, 4, seed=seed), layers, np.arange(n), 2)
        for seed, name in enumerate("tu", start=3)
    }


@pytest.mark.parametrize("shared", [False, True], ids=["whole", "in shards"])
@pytest.mark.parametrize("n", [4, 32])
@pytest.mark.parametrize("terms", LIVE.values(), ids=LIVE)
def test_the_mlp_and_its_adapters_under_terms_that_do_not_fold(
    terms: Sequence[Term], n: int, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The student's gradient, beside a network on labels; no peer's logits move with its own weights."""
    if shared:
        in_shards(monkeypatch)
    sizes = (6, 8, 5, 4)
    x, weights = normal(n, 6, seed=2), network(sizes, (2,))
    heard = deep(n, x)
    pair = [terms, terms if "peers" in str(terms) else (LABELS,)]
    objective = Objective(pair, np.arange(n) % 4, heard, 4, np.float64, peers=(0, 1))
    made = adapters([term for term in terms if term.layered], heard, sizes, np.random.default_rng(9))
    first = Vector(made.shapes, flat=made.flat.astype(np.float64))

    def taken(flat: Array, adapted: Array) -> tuple[float, Array, Array]:
        moved, own = Vector(weights.shapes, flat=flat.copy()), Vector(made.shapes, flat=adapted.copy())
        plan = replace(PLAIN, batch_size=n)
        with team_of(3 if shared else 1, paced=False) as team:
            extras = loop.Extras(adapters=[own, Vector({})])
            ((losses, _),) = loop.steps(
                network_of(moved), state_of(moved, np.random.default_rng(0)), x, objective, plan, team, extras
            )
        return float(losses[0, 0]), flat - moved.flat, adapted - own.flat

    _, gradient, slope = taken(weights.flat, first.flat)
    own = np.zeros_like(gradient)
    own[0] = 1
    value = lambda flat: taken(flat, first.flat)[0]  # noqa: E731
    assert relative_error(value, weights.flat, own * gradient, 4, within=own) <= 5 * TOLERANCE
    turning = [term for term in terms if term.loss != "novelty"]
    if made.flat.size and turning == list(terms):
        assert relative_error(lambda flat: taken(weights.flat, flat)[0], first.flat, slope, 5) <= 5 * TOLERANCE
    elif made.flat.size:
        assert not slope.any(), "an adapter does not turn away from the teacher"


@pytest.mark.parametrize("labelled", [[0], [3, 4, 31], []], ids=["one", "three", "none"])
def test_the_mlp_where_some_rows_have_no_label(labelled: list[int]) -> None:
    y = np.full(32, -1)
    y[labelled] = np.arange(len(labelled))
    objective = Objective(
        [(LABELS, TEACHER), (TEACHER, OTHER)], y, answered(dict.fromkeys("tu", normal(32, 4))), 4, np.float64
    )
    check_step(network((6, 8, 4), (2,)), normal(32, 6, seed=2), objective)


def in_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every step one that is shared: its rows in groups of about 5, its weights in blocks of about 20."""
    for name, value in (("SHARED_WORK", 0), ("SHARD_ROWS", 5), ("SHARED_NUMBERS", 20)):
        monkeypatch.setattr(loop, name, value)
