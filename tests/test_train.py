"""The training loop: a literal table of ten steps, the bits that must not move, pairing, divergence."""

import dataclasses
from typing import Any

import numpy as np
import pytest

import distill
from conftest import SMALL, small
from distill import config, data, streams, teacher, train
from distill.config import Term, Training
from distill.data import Data
from distill.evidence import control_terms
from distill.nn import mlp
from distill.nn.vector import Array, Vector
from distill.objective import LABELS_ONLY, formula, objective

PLAN = config.load({"distillation": {"student_hidden": [5, 4], "learning_rate": 0.05, "batch_size": 8}}).student


def ten_steps(plan: Training, terms: tuple[Term, ...]) -> list[float]:
    """The losses of ten steps of a 3-5-4-3 network on 40 fixed rows, in float64."""
    grid = np.arange(40 * 3).reshape(40, 3)
    x, y, teacher = np.sin(grid), np.arange(40) % 3, 3 * np.cos(grid)
    weights = Vector(mlp.shapes((3, *plan.hidden, 3)), np.float64)
    weights.flat[...] = 0.5 * np.sin(1 + np.arange(weights.flat.size))

    class InOrder(np.random.Generator):
        def permutation(self, x: Any, axis: int = 0) -> Array:  # type: ignore[override]
            return np.arange(x)

    rng = InOrder(np.random.PCG64(0))
    loop = train.steps(weights, x, objective(terms, y, {"teacher": teacher}), plan, rng)
    return [loss for (loss, _), _ in zip(loop, range(10), strict=False)]


# The same ten steps in PyTorch 2.13.0, float64: Linear, relu, cross_entropy, kl_div(batchmean), Adam, SGD(momentum=0.9)
TABLE = {
    "adam": [
        0.8487659554269611, 0.9649216228746444, 1.5241948519811457, 0.6631992456692295, 1.1802390589617828,
        0.7729187784431603, 0.9460717139435717, 1.3781901297625458, 0.5957408781302704, 1.1196692933695243,
    ],
    "sgd": [
        0.8487659554269611, 0.9747259856337582, 1.5379352238423623, 0.676092617307381, 1.2085446897740708,
        0.8381883816264226, 0.9614785580092824, 1.5198929538710275, 0.6698412375719438, 1.186511480526953,
    ],
}  # fmt: skip


@pytest.mark.parametrize("optimizer", TABLE)
def test_ten_steps_are_the_literal_table(optimizer: str) -> None:
    plan = dataclasses.replace(PLAN, optimizer=optimizer, momentum=0.9 if optimizer == "sgd" else None)
    np.testing.assert_allclose(ten_steps(plan, PLAN.terms), TABLE[optimizer], rtol=1e-9)


def history(results: distill.Results, name: str) -> Any:
    return results["history"][name]


def test_alpha_0_ignores_the_teacher_bit_for_bit() -> None:
    results = small("distillation.alpha=0")
    assert history(results, "student") == history(results, "control")
    assert results.student.fingerprint() == results.control.fingerprint()
    other_teacher = small("distillation.alpha=0", "distillation.teacher_hidden=8")
    assert other_teacher.student.fingerprint() == results.student.fingerprint()


def test_alpha_1_ignores_the_labels_bit_for_bit() -> None:
    plan = config.load(SMALL, ["distillation.alpha=1"])
    rows = data.load(plan.data, 0.8, 200, 0)
    answers = {"teacher": np.random.default_rng(0).normal(size=(len(rows.train), 10)).astype(np.float32)}
    shuffled = Data(**{**vars(rows), "train": data.Rows(rows.train.x, rows.train.y[::-1].copy())})
    prints = {
        train.fit("student", plan.student, plan.student.terms, one, answers, 0, "student", quiet).model.fingerprint()
        for one in (rows, shuffled)
    }
    assert len(prints) == 1


def quiet(name: str, record: dict[str, Any]) -> None:
    """Hears and says nothing."""


def test_student_and_control_start_from_equal_weights_and_see_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[bytes]] = {}
    original = train.steps

    def watched(weights: Vector, x: Array, value_and_seeds: Any, plan: Training, rng: np.random.Generator) -> Any:
        trace = seen.setdefault(f"{len(seen)}", [weights.flat.tobytes()])

        def note(taps: Any, rows: Array, new: Any) -> Any:
            trace.append(rows.tobytes())
            return value_and_seeds(taps, rows, new)

        return original(weights, x, note, plan, rng)

    monkeypatch.setattr(train, "steps", watched)
    results = small()
    teacher, control, student = seen.values()
    assert control == student
    assert len(student) == 1 + results["timings"]["student"]["steps"]
    assert teacher[0] != student[0]
    assert results.student.fingerprint() != results.control.fingerprint()


def test_every_epoch_takes_every_row_once_in_a_new_order() -> None:
    taken: list[Array] = []

    def note(taps: Any, rows: Array, new: Any) -> Any:
        taken.append(rows.copy())
        return 0.0, {"logits": np.zeros_like(taps["logits"])}

    plan = config.load({"distillation": {"student_epochs": 3, "batch_size": 8}}).student
    weights = Vector(mlp.shapes((2, 3, 2)))
    sizes = [
        size for _, size in train.steps(weights, np.zeros((21, 2), np.float32), note, plan, np.random.default_rng(0))
    ]
    assert sizes == [8, 8, 5] * 3
    epochs = np.concatenate(taken).reshape(3, 21)
    assert all(sorted(epoch) == list(range(21)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_reported_loss_is_the_mean_over_rows_not_over_batches() -> None:
    """With a learning rate of next to nothing the epoch's loss is that of the initial weights on all rows."""
    plan = config.load({"student": {"epochs": 1, "learning_rate": 1e-30, "batch_size": 100}})
    rows = data.load(plan.data, 0.8, None, 0)
    trained = train.fit("student", plan.student, LABELS_ONLY, rows, {}, 0, "student", quiet)
    assert trained.history[0]["loss"] == pytest.approx(train.judge(trained.model.weights, rows.train)["ce"], rel=1e-5)


def test_streams_are_independent_of_each_other_and_of_the_order_in_which_they_are_asked_for() -> None:
    first = [streams.stream(0, name).random() for name in ("split", "student weights")]
    again = [streams.stream(0, name).random() for name in ("a new consumer", "student weights", "split")]
    assert first == again[:0:-1]
    assert len({streams.stream(seed, "split").random() for seed in range(50)}) == 50
    purposes = (
        "subsample",
        "test",
        "split",
        "teacher weights",
        "teacher batches",
        "student weights",
        "student batches",
    )
    purposes += ("student labels", "label noise", "sign flips", "bootstrap")
    assert len({streams.stream(0, purpose).random() for purpose in purposes}) == len(purposes)


def test_the_teacher_moves_nothing_of_the_control() -> None:
    assert (
        small().control.fingerprint()
        == small("teachers.big.hidden=[40,30]", "teachers.big.epochs=5").control.fingerprint()
    )


EXPLODING = ("student.optimizer=sgd", "student.learning_rate=1", "student.weight_decay=50", "student.epochs=50")


def test_a_diverging_network_is_named_with_epoch_and_step_and_keeps_its_last_good_weights() -> None:
    said = r"^control: the (loss is (nan|inf) at epoch \d+, step \d of 5|.* after epoch \d+); .*learning_rate \(now 1\)"
    with pytest.raises(distill.DivergedError, match=said) as caught:
        small(*EXPLODING)
    assert caught.value.name == "control"
    assert np.isfinite(caught.value.model.weights.flat).all()
    assert caught.value.model.weights.flat.any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_no_number_names_model_epoch_and_step(bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    original = train.steps

    def broken(*arguments: Any) -> Any:
        for i, (loss, size) in enumerate(original(*arguments)):
            yield (bad if i == 7 else loss), size

    monkeypatch.setattr(train, "steps", broken)
    with pytest.raises(
        distill.DivergedError, match=rf"^teacher: the loss is {bad} at epoch 2, step 3 of 5; lower"
    ) as caught:
        small()
    assert caught.value.model.n_parameters == 64 * 16 + 16 + 16 * 10 + 10


def test_a_validation_loss_that_is_no_number_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "judge", lambda weights, rows: {"accuracy": 0.5, "ce": float("inf")})
    with pytest.raises(
        distill.DivergedError, match=r"^teacher: the validation loss is inf after epoch 1; lower"
    ) as caught:
        small()
    assert caught.value.model is None


def test_the_steps_rates_are_those_of_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    original = train.rate_at
    monkeypatch.setattr(
        train, "rate_at", lambda step, total, *rest: asked.append((step, total)) or original(step, total, *rest)
    )
    small()
    assert asked[:15] == [(step, 15) for step in range(15)]
    assert asked[15:] == [(step, 10) for step in range(10)] * 2


def test_initial_weights_have_the_stated_variance() -> None:
    weights = Vector(mlp.shapes((200, 300, 100, 50)), np.float64)
    mlp.initialise(weights, np.random.default_rng(0))
    for name, variance in (("w1", 2 / 200), ("w2", 2 / 300), ("w3", 1 / 100)):
        assert weights[name].var() == pytest.approx(variance, rel=0.05)
        assert abs(weights[name].mean()) < 0.1 * variance**0.5
    assert not any(weights[name].any() for name in ("b1", "b2", "b3"))


@pytest.mark.parametrize("rows", [0, 1, 1023, 1024, 1025, 5000])
def test_every_row_has_its_logits_whatever_the_block(rows: int) -> None:
    weights = Vector(mlp.shapes((3, 4, 2)))
    mlp.initialise(weights, np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(rows, 3)).astype(np.float32)
    np.testing.assert_allclose(mlp.logits(weights, x), mlp.forward(weights, x)["logits"], rtol=1e-4, atol=1e-5)


def test_the_teacher_is_listened_to_on_the_rows_that_the_student_sees() -> None:
    plan = config.load({})
    rows = data.load(plan.data, 0.8, 200, 0)
    trained = train.fit("teacher", plan.teachers["teacher"], LABELS_ONLY, rows, {}, 0, "teacher", quiet)
    answers = teacher.listen(trained, rows)
    np.testing.assert_allclose(
        answers, mlp.forward(trained.model.weights, rows.train.x)["logits"], rtol=1e-3, atol=1e-4
    )


def test_clipping_and_a_lower_rate_are_advice_that_works() -> None:
    assert small(*EXPLODING, "student.learning_rate=0.01", "student.clip=1")["student_val_ce"] < 10


def test_the_formula_names_weights_teacher_and_temperature() -> None:
    assert formula(config.load({}).student.terms) == "0.3 cross_entropy + 0.7 response(teacher, T=4)"
    without = config.load({"distillation": {"alpha": 1, "t_squared": False}}).student.terms
    assert formula(without) == "1 response(teacher, T=4, without T^2)"


def test_the_control_has_the_students_terms_without_the_teachers() -> None:
    assert control_terms(config.load({}).student.terms) == LABELS_ONLY
    assert control_terms(config.load({"distillation": {"alpha": 1}}).student.terms) == LABELS_ONLY
