"""The gradient of the whole step against central differences, in float64, through the functions that training calls."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from conftest import answered, network_of, state_of
from distill import config
from distill.config.schema import Term
from distill.nn import mlp
from distill.nn.features import FEATURES
from distill.nn.losses import LOSSES
from distill.nn.mlp import MLP
from distill.nn.vector import Array, Vector
from distill.train import loop
from distill.train.adapters import make_adapters
from distill.train.objective import Objective
from distill.train.outputs import TeacherOutputs
from distill.train.threads import team_of
from loss_cases import assert_slope

# Plain gradient descent at rate 1: what a step takes off the weights is the gradient that training works with.
PLAIN = replace(config.load({}).student, optimizer="sgd", momentum=0.0, learning_rate=1.0, epochs=1)
TO = (("t", 1.0),)
LABELS = Term("cross_entropy", 0.3, options={"smoothing": 0.1})
TEACHER = Term("response", 0.7, TO, {"temperature": 4.0, "t_squared": True})
PLAINLY = Term("soft_cross_entropy", 2.0, TO, {"temperature": 0.5, "t_squared": False})
OTHER = Term("response", 0.2, (("u", 1.0),), {"temperature": 1.0, "t_squared": True})


def normal(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def network(sizes: Sequence[int], stack: tuple[int, ...] = ()) -> Vector:
    """Return random weights, biases too; every network of a stack has its mask."""
    weights = Vector(MLP(tuple(sizes)).shapes, np.float64, stack=stack)
    for seed, member in enumerate(weights.networks(), start=1):
        MLP(tuple(sizes)).initialise(member, np.random.default_rng(seed))
    weights.flat += 0.1 * normal(*weights.flat.shape)
    return weights


def step(
    weights: Vector, x: Array, objective: Objective, flat: Array, maps: Vector | None = None
) -> tuple[Array, Array, Array]:
    """Return the losses (R,) of one step of the loop over all rows from the weights `flat`, their gradient, and that of
    the first network's adapters `maps`."""
    moved, turned = Vector(weights.shapes, flat=flat.copy()), maps.flat.copy() if maps else np.zeros(0)
    state = state_of(moved, np.random.default_rng(0), [Vector(maps.shapes, flat=turned), Vector({})] if maps else ())
    with team_of(3 if loop.SHARED_WORK == 0 else 1, paced=False) as team:
        plan = replace(PLAIN, batch_size=len(x))
        ((losses, rows),) = loop.steps(network_of(moved), state, x, objective, plan, team)
    assert (losses.shape[0], rows) == (1, len(x))
    return losses[0], flat - moved.flat, (maps.flat if maps else turned) - turned


def check(weights: Vector, x: Array, objective: Objective) -> None:
    """Each network's loss along a direction in which its own weights move, the others' too, and its own alone."""
    for r in range(len(weights.networks())):
        mask = np.zeros_like(weights.flat)
        mask.reshape(-1, mask.shape[-1])[r] = 1

        def loss(flat: Array, r: int = r, mask: Array = mask) -> tuple[float, Array]:
            losses, gradient, _ = step(weights, x, objective, flat)
            return losses[r], mask * gradient

        assert_slope(r, loss, weights.flat, atol=1e-12)
        assert_slope(r, loss, weights.flat, within=mask, atol=1e-12)


def share_steps(monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    """Make every step one that threads share: its rows in groups of about 5, its weights in blocks of about 20."""
    if shared:
        monkeypatch.setattr(loop, "SHARED_WORK", 0)
        monkeypatch.setattr(mlp, "SHARD_ROWS", 5)
        monkeypatch.setattr(mlp, "SHARED_NUMBERS", 20)


# Every two of: terms, hidden layers, one network or two, batch size, shared or not.
@pytest.mark.parametrize("row", range(16))
def test_the_gradient_of_a_step_is_that_of_central_differences(row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    i, k = divmod(row, 4)
    terms = [(LABELS,), (TEACHER,), (LABELS, TEACHER), (LABELS, TEACHER, PLAINLY, OTHER)][i]
    hidden = [(), (8,), (8, 6), (5, 4, 3)][k]
    stack, n = [(), (2,)][(i + k) % 2], [1, 32][(i // 2 + k) % 2]
    share_steps(monkeypatch, shared=(i + k // 2) % 2 == 1)
    weights, answers = network((6, *hidden, 4), stack), answered({"t": normal(n, 4, seed=3), "u": normal(n, 4, seed=4)})
    objective = Objective([terms, (LABELS,)][: len(weights.networks())], np.arange(n) % 4, answers, 4, np.float64)
    check(weights, normal(n, 6, seed=2), objective)


@pytest.mark.parametrize("labelled", [[0], [3, 4, 31], []], ids=["one", "three", "none"])
def test_where_some_rows_have_no_label_too(labelled: list[int]) -> None:
    y, answers = np.full(32, -1), answered(dict.fromkeys("tu", normal(32, 4)))
    y[labelled] = np.arange(len(labelled))
    objective = Objective([(LABELS, TEACHER), (TEACHER, OTHER)], y, answers, 4, np.float64)
    check(network((6, 8, 4), (2,)), normal(32, 6, seed=2), objective)


def test_at_the_kink_of_the_relu_the_gradient_is_zero() -> None:
    weights = network((2, 3, 2))
    weights["w1"][1] = 0  # this unit's output is 0 whatever comes in
    objective = Objective([(LABELS,)], np.arange(4) % 2, {}, 2, np.float64)
    gradient = Vector(weights.shapes, flat=step(weights, normal(4, 2), objective, weights.flat)[1])
    assert gradient["w1"].any(axis=1).tolist() == [True, False, True]


PRECOMPUTED = ("cross_entropy", "response", "soft_cross_entropy")  # and checked above
LAYERS: dict[str, dict[str, object]] = {name: {"layers": ((1, 2), (2, 1))} for name in FEATURES}
LAYERS["contrast"]["tau"], LAYERS["novelty"]["margin"] = 0.5, -0.9
PER_BATCH = {name: (LABELS, Term(name, 0.7, TO)) for name in LOSSES if name not in PRECOMPUTED}
PER_BATCH |= {name: (Term(name, 0.7, TO, options),) for name, options in LAYERS.items()}
PER_BATCH |= {
    "several at once": (
        LABELS,
        TEACHER,
        Term("hint", 0.5, TO, {"layers": "auto"}),
        Term("cosine", 0.5, TO, {"layers": ((2, 1), (0, 2))}),
        Term("reverse_kl", 0.2, TO),
    ),
    "an ensemble": (Term("reverse_kl", 1.0, (("t", 0.25), ("u", 0.75))),),
    "peers": (LABELS, Term("response", 1.0, (("peers", 1.0),), {"temperature": 2.0, "t_squared": True})),
}


@pytest.mark.parametrize("shared", [False, True], ids=["whole", "in shards"])
@pytest.mark.parametrize("name", PER_BATCH)
def test_terms_that_cannot_be_precomputed_and_their_adapters(
    name: str, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The student's gradient, beside a network on labels; no peer's logits move with its own weights."""
    share_steps(monkeypatch, shared)
    n = 32 if shared else 4 + 28 * (list(PER_BATCH).index(name) % 2)
    terms, sizes, x, weights = PER_BATCH[name], (6, 8, 5, 4), normal(n, 6, seed=2), network((6, 8, 5, 4), (2,))
    layers = {0: x, 1: np.abs(normal(n, 7, seed=5)), 2: np.abs(normal(n, 5, seed=6))}
    answers = {
        to: TeacherOutputs(normal(n, 4, seed=seed), layers, np.arange(n), 2) for seed, to in enumerate("tu", start=3)
    }
    lists = [terms, terms if name == "peers" else (LABELS,)]
    objective = Objective(lists, np.arange(n) % 4, answers, 4, np.float64, peers=(0, 1))
    maps = make_adapters([term for term in terms if term.layered], answers, MLP(sizes), np.random.default_rng(9))
    maps = Vector(maps.shapes, flat=maps.flat.astype(np.float64))
    mask = np.array([[1], [0]])

    def of_weights(flat: Array) -> tuple[float, Array]:
        losses, gradient, _ = step(weights, x, objective, flat, maps)
        return losses[0], mask * gradient

    def of_adapters(flat: Array) -> tuple[float, Array]:
        losses, _, gradient = step(weights, x, objective, weights.flat, Vector(maps.shapes, flat=flat))
        return losses[0], gradient

    assert_slope(name, of_weights, weights.flat, within=mask)
    assert of_weights(weights.flat)[1].any(), "a term that is left out has the right gradient too"
    if name == "novelty":
        assert not of_adapters(maps.flat)[1].any(), "an adapter does not turn away from the teacher"
    elif maps.flat.size:
        assert_slope(name, of_adapters, maps.flat)
