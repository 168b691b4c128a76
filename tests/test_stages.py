"""Stages and layer maps: what learns when, epochs counted over all of them, and what a run keeps of adapters."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import distill
from conftest import SMALL, held, network_of
from distill import cli, config, data
from distill.config.schema import LABELS_ONLY, Config, Output, Stage, StudentPlan, Term, layer_pairs
from distill.data.rows import Data
from distill.model import ADAPTER
from distill.nn import optim
from distill.nn.mlp import MLP
from distill.nn.vector import Vector
from distill.report.formula import formula
from distill.student import control_stages
from distill.system.arrays import read_npz
from distill.system.rng import stream
from distill.train import fit as train
from distill.train import loop
from distill.train.adapters import layer_pairs_of, make_adapters
from distill.train.fit import Run, Trained
from distill.train.outputs import TeacherOutputs

HIDDEN = [12, 10]  # of the student; the teacher's layers have other widths
LABELS = {"loss": "cross_entropy"}
HINT = {"loss": "hint", "weight": 0.5}
DEEP = {"distillation": {"teacher_hidden": [16, 14]}}


def quiet(name: str, record: dict[str, Any]) -> None:
    """Hears and says nothing."""


@cache
def taught() -> tuple[Data, dict[str, TeacherOutputs]]:
    """200 digits, of which 160 are trained on, and a made-up teacher of two hidden layers."""
    rows = data.load(config.load({}).data, 0.8, 200, 0)
    rng = np.random.default_rng(0)
    n = len(rows.train)
    layers = {0: held(rows.train)} | {
        k: np.abs(rng.normal(size=(n, width))).astype(np.float32) for k, width in ((1, 16), (2, 14))
    }
    return rows, {"teacher": TeacherOutputs((3 * rng.normal(size=(n, 10))).astype(np.float32), layers, np.arange(n), 2)}


def plan_of(*stages: Mapping[str, Any], **keys: Any) -> StudentPlan:
    return config.load(DEEP | {"student": {"hidden": HIDDEN, "stages": list(stages)} | keys}).student


def fit(
    plan: StudentPlan, courses: Mapping[str, Sequence[Stage]] | None = None, threads: int = 1
) -> dict[str, Trained]:
    rows, answers = taught()
    return train.fit(courses or {"student": plan.stages}, plan, rows, answers, Run(0, quiet, threads), "student")


def alone(plan: StudentPlan) -> Trained:
    return fit(plan)["student"]


def bits(one: Trained) -> tuple[bytes, bytes, list[dict[str, Any]]]:
    """Everything that training left."""
    return one.model.weights.flat.tobytes(), one.adapters.flat.tobytes(), one.history


def initial() -> Vector:
    weights = Vector(MLP((64, *HIDDEN, 10)).shapes)
    network_of(weights).initialise(weights, stream(0, "student weights"))
    return weights


def moved(one: Trained, since: Vector) -> set[int]:
    """The layers of which some bit is not what it was."""
    now = one.model.weights.views
    return {k for k in range(1, 4) if now[f"w{k}"].tobytes() != since[f"w{k}"].tobytes()}


def in_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every step one that is shared: its rows in groups of about 3, its weights in blocks of about 10."""
    monkeypatch.setattr(loop, "SHARED_WORK", 0)
    monkeypatch.setattr("distill.nn.mlp.SHARD_ROWS", 3)
    monkeypatch.setattr("distill.nn.mlp.SHARED_NUMBERS", 10)


# --- what learns ------------------------------------------------------------------------------------------------------

WAYS: dict[str, dict[str, Any]] = {
    "adam": {},
    "adam with weight decay": {"weight_decay": 0.1},
    "sgd": {"optimizer": "sgd"},
    "sgd with weight decay": {"optimizer": "sgd", "weight_decay": 0.1},
    "clipped": {"clip": 0.05},
    "sgd, clipped, with weight decay": {"optimizer": "sgd", "clip": 0.05, "weight_decay": 0.1},
    "row by row": {"batch_size": 1},
    "a schedule": {"schedule": "cosine", "warmup": 0.3},
}


@pytest.mark.parametrize("shared", [False, True], ids=["whole", "in shards"])
@pytest.mark.parametrize("train_only", [[1], [2], [3], [1, 3], [2, 3]], ids=str)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_layers_that_do_not_learn_keep_their_exact_bits(
    way: dict[str, Any], train_only: list[int], shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shared:
        if way == {"batch_size": 1}:
            way = {"batch_size": 2}
        in_shards(monkeypatch)
    plan = plan_of({"epochs": 1, "train": train_only, "terms": [LABELS, HINT]}, **way)
    pair = fit(plan, {"control": control_stages(plan.stages), "student": plan.stages})
    assert moved(pair["student"], initial()) == set(train_only)
    assert moved(pair["control"], initial()) == {1, 2, 3}


def test_every_network_of_a_stack_learns_its_own_layers_whether_or_not_the_work_is_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = plan_of({"epochs": 1, "terms": [LABELS]}, weight_decay=0.1, clip=1.0)
    only: list[tuple[int, ...] | None] = [(1,), (2, 3), None, (3,)]
    courses = {str(one): (dataclasses.replace(plan.stages[0], train=one),) for one in only}
    for threads in (0, 1, 3):
        if threads:
            in_shards(monkeypatch)
        found = fit(plan, courses, max(1, threads))
        assert [moved(one, initial()) for one in found.values()] == [{1}, {2, 3}, {1, 2, 3}, {3}]
        for name, stages in courses.items():
            assert bits(fit(plan, {name: stages})[name])[0] == bits(found[name])[0], name


def test_what_learns_in_a_stage_is_what_would_learn_beside_it() -> None:
    """With plain descent and no coupling but the logits', freezing the others does not change a single step's move."""
    still = {"optimizer": "sgd", "momentum": 0.0, "batch_size": 1000}
    everything = alone(plan_of({"epochs": 1, "terms": [LABELS]}, **still)).model.weights
    for k in (1, 2, 3):
        one = alone(plan_of({"epochs": 1, "train": [k], "terms": [LABELS]}, **still))
        assert one.model.weights[f"w{k}"].tobytes() == everything[f"w{k}"].tobytes()


def test_the_norm_that_is_clipped_is_that_of_what_learns() -> None:
    """A frozen layer's gradient, however long, does not shorten the others': freezing nothing of weight is seen."""
    keys = {"optimizer": "sgd", "momentum": 0.0, "batch_size": 1000, "learning_rate": 1.0}
    start = initial()
    free = alone(plan_of({"epochs": 1, "train": [3], "terms": [LABELS]}, **keys))
    norm = float(np.linalg.norm(free.model.weights.flat - start.flat))
    assert norm > 0.01
    shorter = alone(plan_of({"epochs": 1, "train": [3], "terms": [LABELS]}, clip=norm / 2, **keys))
    assert np.linalg.norm(shorter.model.weights.flat - start.flat) == pytest.approx(norm / 2, rel=1e-4)
    same = alone(plan_of({"epochs": 1, "train": [3], "terms": [LABELS]}, clip=norm * 1.001, **keys))
    assert bits(same)[0] == bits(free)[0]


@pytest.mark.parametrize("spelled", ["all", [1, 2, 3], [3, 1, 2, 2]], ids=str)
def test_all_layers_is_the_same_as_every_layer_and_as_no_word_about_it(spelled: Any) -> None:
    plain = alone(plan_of({"epochs": 2, "terms": [LABELS, HINT]}))
    assert bits(alone(plan_of({"epochs": 2, "train": spelled, "terms": [LABELS, HINT]}))) == bits(plain)


def test_the_layers_that_learn_are_listed_once_and_in_order() -> None:
    plan = plan_of({"train": [3, 1, 3]}, {"train": "all"}, {}, {"train": 2})
    assert [stage.train for stage in plan.stages] == [(1, 3), None, None, (2,)]


def test_freezing_in_turns_leaves_each_stage_its_layers() -> None:
    stages = [{"epochs": 1, "train": [k], "terms": [LABELS, HINT]} for k in (3, 1, 2)]
    before = initial()
    for last in (1, 2, 3):
        one = alone(plan_of(*stages[:last]))
        assert moved(one, before) == set(stages[last - 1]["train"])
        before = one.model.weights


def test_a_hidden_layers_term_does_not_reach_the_layers_above_it() -> None:
    """Trained on the first layer alone, the others have nothing to learn from, frozen or not."""
    for keys in ({}, {"optimizer": "sgd"}):
        plan = plan_of({"epochs": 2, "terms": [{"loss": "hint", "layers": {1: 1}}]}, **keys)
        assert moved(alone(plan), initial()) == {1}


# --- epochs -----------------------------------------------------------------------------------------------------------


def test_epochs_are_counted_over_all_stages() -> None:
    heard: list[tuple[str, int]] = []
    plan = plan_of({"epochs": 2}, {"epochs": 0}, {"epochs": 1, "terms": [HINT]}, {"epochs": 3})
    rows, answers = taught()
    courses = {"control": control_stages(plan.stages), "student": plan.stages}
    pair = train.fit(
        courses, plan, rows, answers, Run(0, lambda name, one: heard.append((name, one["epoch"]))), "student"
    )
    assert plan.epochs == 6
    for one in pair.values():
        assert [record["epoch"] for record in one.history] == [1, 2, 3, 4, 5, 6]
        assert one.steps == 6 * 5
    assert heard == [(name, epoch) for epoch in range(1, 7) for name in ("control", "student")]


def test_the_history_is_that_of_the_stages_one_after_the_other() -> None:
    stages = [{"epochs": 2, "terms": [HINT]}, {"epochs": 1}, {"epochs": 2, "terms": [LABELS]}]
    whole = alone(plan_of(*stages)).history
    assert alone(plan_of(*stages[:1])).history == whole[:2]
    assert alone(plan_of(*stages[:2])).history == whole[:3]


def test_the_order_of_the_stages_matters() -> None:
    one, other = {"epochs": 1, "terms": [HINT]}, {"epochs": 1, "terms": [LABELS]}
    assert bits(alone(plan_of(one, other)))[0] != bits(alone(plan_of(other, one)))[0]


def test_a_stage_of_no_epoch_changes_no_bit() -> None:
    stages = [{"epochs": 1, "terms": [LABELS]}, {"epochs": 2, "terms": [LABELS, HINT]}]
    empty = {"epochs": 0, "terms": [HINT], "train": [1], "learning_rate": 1000}
    plain = bits(alone(plan_of(*stages)))
    for place in range(3):
        assert bits(alone(plan_of(*stages[:place], empty, *stages[place:]))) == plain, place
    nothing = alone(plan_of(empty, empty))
    assert (nothing.history, nothing.best_epoch, nothing.steps) == ([], 0, 0)
    assert moved(nothing, initial()) == set()


def test_one_stage_is_a_training_without_stages() -> None:
    terms = [LABELS, HINT, {"loss": "response"}]
    keys = {"hidden": HIDDEN, "patience": 1}
    plain = config.load(DEEP | {"student": {"terms": terms, "epochs": 3} | keys}).student
    assert plan_of({"epochs": 3, "terms": terms}, patience=1) == plain
    assert bits(alone(plan_of({"epochs": 3, "terms": terms}, patience=1))) == bits(alone(plain))


def test_cutting_a_stage_in_two_changes_no_bit_where_neither_rate_nor_optimiser_remembers() -> None:
    """Weights, batches and adapters go from stage to stage as they are."""
    keys = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.01}
    terms = [LABELS, HINT, {"loss": "similarity"}]
    whole = alone(plan_of({"epochs": 4, "terms": terms}, **keys))
    for cut in (1, 2, 3):
        parts = plan_of({"epochs": cut, "terms": terms}, {"epochs": 4 - cut, "terms": terms}, **keys)
        assert bits(alone(parts)) == bits(whole)


def test_sixty_four_stages() -> None:
    plan = plan_of(*({"epochs": 1, "train": [1 + i % 3], "terms": [LABELS, HINT]} for i in range(64)), batch_size=80)
    pair = fit(plan, {"control": control_stages(plan.stages), "student": plan.stages})
    assert [len(one.history) for one in pair.values()] == [64, 64]
    assert np.isfinite([record["loss"] for one in pair.values() for record in one.history]).all()
    assert pair["control"].history[-1]["loss"] < pair["control"].history[0]["loss"]


def test_a_stage_without_epochs_of_its_own_has_those_of_the_short_spelling() -> None:
    found = config.load({"distillation": {"student_epochs": 7}, "student": {"stages": [{}, {"epochs": 2}]}}).student
    assert [stage.epochs for stage in found.stages] == [7, 2]
    assert found.epochs == 9


# --- rates ------------------------------------------------------------------------------------------------------------


def test_each_stage_has_its_own_rate() -> None:
    stages = [{"epochs": 1, "terms": [LABELS]}, {"epochs": 1, "terms": [LABELS], "learning_rate": 1e-30}]
    one = alone(plan_of(*stages))
    assert np.abs(one.model.weights.flat - alone(plan_of(*stages[:1])).model.weights.flat).max() < 1e-20
    usual = alone(plan_of(*({"epochs": 1, "terms": [LABELS]} for _ in stages)))
    assert bits(one)[0] != bits(usual)[0]
    assert bits(alone(plan_of(stages[0], stages[1] | {"learning_rate": 0.01})))[0] == bits(usual)[0], "the default"


def test_the_rates_of_a_stage_are_those_of_its_own_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, float, str, float]] = []

    def noted(step: int, total: int, rate: float, schedule: str, warmup: float) -> float:
        asked.append((step, total, rate, schedule, warmup))
        return optim.rate_at(step, total, rate, schedule, warmup)

    monkeypatch.setattr(loop, "rate_at", noted)
    alone(
        plan_of({"epochs": 2}, {"epochs": 1, "learning_rate": 0.5}, learning_rate=0.25, schedule="cosine", warmup=0.2)
    )
    assert asked == [(step, 10, 0.25, "cosine", 0.2) for step in range(10)] + [
        (step, 5, 0.5, "cosine", 0.2) for step in range(5)
    ]


def test_the_controls_rates_and_epochs_are_the_students() -> None:
    plan = plan_of({"epochs": 1, "learning_rate": 1e-30, "train": [1]}, {"epochs": 2, "terms": [HINT]})
    control = control_stages(plan.stages)
    assert [(one.epochs, one.learning_rate) for one in control] == [(1, 1e-30), (2, 0.01)]
    assert all(one.train is None and one.terms == LABELS_ONLY for one in control)
    found = fit(plan, {"control": control, "student": plan.stages})
    assert len(found["control"].history) == len(found["student"].history) == 3
    first = alone(plan_of({"epochs": 1, "learning_rate": 1e-30, "terms": [LABELS | {"weight": 1}]}))
    assert found["control"].history[0] == first.history[0]


@pytest.mark.parametrize(
    "others",
    [
        [{"epochs": 2, "train": [1], "terms": [HINT]}, {"epochs": 1, "train": [3], "terms": [{"loss": "response"}]}],
        [{"epochs": 2, "terms": [{"loss": "contrast"}]}, {"epochs": 1, "terms": [LABELS, {"loss": "dist"}]}],
        [{"epochs": 2, "terms": [LABELS | {"weight": 9}]}, {"epochs": 1}],
    ],
    ids=["frozen", "live", "short"],
)
@pytest.mark.parametrize("keys", [{}, {"clip": 0.1}, {"optimizer": "sgd", "weight_decay": 0.01}], ids=str)
def test_the_control_is_one_network_whatever_the_students_stages_of_as_many_epochs(
    others: list[dict[str, Any]], keys: dict[str, Any]
) -> None:
    plain = plan_of({"epochs": 2, "terms": [LABELS]}, {"epochs": 1, "terms": [LABELS]}, **keys)
    expected = bits(fit(plain, {"control": control_stages(plain.stages)})["control"])
    plan = plan_of(*others, **keys)
    pair = fit(plan, {"control": control_stages(plan.stages), "student": plan.stages})
    assert bits(pair["control"]) == expected
    assert bits(pair["student"])[0] != expected[0]


# --- patience ---------------------------------------------------------------------------------------------------------


def judged(monkeypatch: pytest.MonkeyPatch, script: Sequence[float]) -> None:
    """Let a single network be judged as the script says."""
    left = iter(script)
    monkeypatch.setattr(train, "judge", lambda network, weights, rows: {"accuracy": 0.5, "ce": next(left)})


@pytest.mark.parametrize(
    ("script", "best", "length"),
    [
        ([0.1, 0.1, 5.0, 4.0, 4.5, 4.5, 0.0], 4, 6),  # better before, which does not count
        ([0.1, 9.0, 5.0, 6.0, 7.0, 0.0], 3, 5),  # the last stage's first epoch is its best
        ([9.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0], 7, 7),  # never over
        ([1.0, 1.0, 2.0, 2.0, 2.0, 0.0], 3, 5),  # an equal one is not better
    ],
)
def test_patience_counts_in_the_last_stage_alone(
    script: list[float], best: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = [{"epochs": 2, "terms": [HINT]}, {"epochs": 5, "terms": [LABELS, HINT]}]
    to_best = alone(plan_of(stages[0], stages[1] | {"epochs": best - 2}))
    judged(monkeypatch, script)
    one = alone(plan_of(*stages, patience=2))
    assert (one.best_epoch, len(one.history), one.is_best) == (best, length, True)
    assert one.model.fingerprint() == to_best.model.fingerprint()
    assert one.adapters.flat.tobytes() == to_best.adapters.flat.tobytes()
    assert one.steps == 5 * length


def test_an_earlier_stage_is_gone_through_however_bad_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    one = alone(plan_of({"epochs": 5, "terms": [HINT]}, {"epochs": 2, "terms": [LABELS]}, patience=1))
    assert (one.best_epoch, len(one.history)) == (6, 7)


def test_a_last_stage_without_an_epoch_keeps_what_the_others_led_to(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = alone(plan_of({"epochs": 3, "terms": [LABELS]}))
    judged(monkeypatch, [1.0, 2.0, 3.0])
    one = alone(plan_of({"epochs": 3, "terms": [LABELS]}, {"epochs": 0}, patience=1))
    assert (one.best_epoch, len(one.history)) == (3, 3)
    assert one.model.fingerprint() == usual.model.fingerprint()


def test_of_a_pair_one_may_stop_in_the_last_stage_before_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    script = {"control": [9.0, 1.0, 2.0, 0.1], "student": [0.1, 3.0, 2.0, 1.0]}
    seen: dict[int, list[float]] = {}

    def judge(network: Any, weights: Vector, rows: object) -> dict[str, float]:
        left = seen.setdefault(
            weights.flat.ctypes.data, list(script[list(script)[len(seen) % 2]]) if len(seen) < 2 else []
        )
        return {"accuracy": 0.5, "ce": left.pop(0)}

    monkeypatch.setattr(train, "judge", judge)
    plan = plan_of({"epochs": 1, "terms": [HINT]}, {"epochs": 3, "terms": [LABELS, HINT]}, patience=1)
    pair = fit(plan, {"control": control_stages(plan.stages), "student": plan.stages})
    assert {name: (one.best_epoch, len(one.history)) for name, one in pair.items()} == {
        "control": (2, 3),
        "student": (4, 4),
    }


# --- adapters from stage to stage -------------------------------------------------------------------------------------


def test_adapters_go_from_stage_to_stage_and_stay_where_nothing_needs_them() -> None:
    """A stage without their term leaves them as they are; the next takes up where they were left."""
    hint, labels = {"epochs": 1, "terms": [HINT]}, {"epochs": 2, "terms": [LABELS]}
    after = alone(plan_of(hint))
    assert alone(plan_of(hint, labels)).adapters.flat.tobytes() == after.adapters.flat.tobytes()
    again = alone(plan_of(hint, labels, hint))
    assert again.adapters.flat.tobytes() != after.adapters.flat.tobytes()
    assert again.history[3]["loss"] < 0.9 * after.history[0]["loss"]


def first_adapters(plan: StudentPlan) -> Vector:
    return make_adapters(plan.every_term, taught()[1], MLP((64, *HIDDEN, 10)), stream(0, "student adapters"))


@pytest.mark.parametrize("rate", [0.01, 0.5])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_in_a_stage_without_their_term_adapters_do_nothing_but_decay(optimizer: str, rate: float) -> None:
    """They have no gradient there; what an optimiser leaves in the place of one is none."""
    stages = [
        {"epochs": 0, "terms": [HINT]},
        {"epochs": 12, "terms": [LABELS], "learning_rate": rate, "train": [3]},
    ]
    plan = plan_of(*stages, optimizer=optimizer, weight_decay=0.001, clip=0.1)
    before, after = first_adapters(plan).flat, alone(plan).adapters.flat
    decayed, velocity = 1.0, 0.0
    for _ in range(12 * 5):
        velocity = 0.9 * velocity + 0.001 * decayed if optimizer == "sgd" else 0.001 * decayed
        decayed -= rate * velocity
    left = float(before @ after) / float(before @ before)
    assert left == pytest.approx(1, rel=1e-6) or left == pytest.approx(decayed, rel=1e-4)
    np.testing.assert_allclose(after, left * before, rtol=1e-4, atol=1e-6)


def test_the_adapters_of_all_stages_are_made_at_the_start() -> None:
    plan = plan_of(
        {"epochs": 1, "terms": [{"loss": "hint", "layers": {1: 1}}]},
        {"epochs": 0, "terms": [{"loss": "cosine", "layers": {2: 1}}]},
        {"epochs": 1, "terms": [LABELS, {"loss": "hint", "layers": {2: 2}, "weight": 0}]},
    )
    one = alone(plan)
    assert one.adapters.shapes == {"teacher.1-1": (16, 13), "teacher.2-1": (14, 13)}
    assert one.adapters["teacher.2-1"].tobytes() == first_adapters(plan)["teacher.2-1"].tobytes()


def test_adapters_learn_whichever_layers_do() -> None:
    plan = plan_of({"epochs": 1, "train": [3], "terms": [HINT, LABELS]})
    one = alone(plan)
    assert len(moved(one, initial())) == 1
    assert one.adapters.flat.tobytes() != first_adapters(plan).flat.tobytes()


# --- layer maps -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("teacher", "student", "expected"),
    [
        (1, 1, [(1, 1)]),
        (2, 1, [(2, 1)]),
        (3, 1, [(3, 1)]),
        (2, 2, [(1, 1), (2, 2)]),
        (4, 2, [(2, 1), (4, 2)]),
        (3, 2, [(2, 1), (3, 2)]),
        (5, 2, [(2, 1), (5, 2)]),
        (1, 2, [(0, 1), (1, 2)]),
        (1, 3, [(0, 1), (1, 2), (1, 3)]),
        (2, 3, [(1, 1), (1, 2), (2, 3)]),
        (8, 3, [(3, 1), (5, 2), (8, 3)]),
        (10, 4, [(2, 1), (5, 2), (8, 3), (10, 4)]),
    ],
)
def test_auto_pairs_that_were_worked_out_by_hand(teacher: int, student: int, expected: list[tuple[int, int]]) -> None:
    assert layer_pairs("auto", teacher, student) == expected


@given(st.integers(1, 64), st.integers(1, 64))
def test_auto_pairs_are_the_formula_and_end_at_the_top(teacher: int, student: int) -> None:
    pairs = layer_pairs("auto", teacher, student)
    assert pairs == [(round(s * teacher / student), s) for s in range(1, student + 1)]
    assert pairs[-1] == (teacher, student)
    assert all(0 <= t <= teacher for t, _ in pairs)
    assert [t for t, _ in pairs] == sorted(t for t, _ in pairs)
    assert all(abs(t - s * teacher / student) <= 0.5 for t, s in pairs)


@given(st.integers(1, 8), st.integers(1, 8), st.dictionaries(st.integers(0, 9), st.integers(0, 9), min_size=1))
def test_a_given_map_is_taken_as_it_is_or_the_bad_index_named(
    teacher: int, student: int, given_map: dict[int, int]
) -> None:
    pairs = tuple(given_map.items())
    bad_t, bad_s = [t for t, _ in pairs if t > teacher], [s for _, s in pairs if s > student]
    if not bad_t and not bad_s:
        assert layer_pairs(pairs, teacher, student) == list(pairs)
        return
    who, index, most = ("teacher", bad_t[0], teacher) if bad_t else ("student", bad_s[0], student)
    said = rf"there is no layer {index} of the {who}, whose layers are 0 \(the input\) to {most};"
    with pytest.raises(ValueError, match=said):
        layer_pairs(pairs, teacher, student)


def mapped(layers: Any, **teachers: Any) -> Config:
    term = {"loss": "hint", "layers": layers, "teacher": "deep"}
    named = {"deep": {"hidden": [30, 20, 10, 9]}} | teachers
    return config.load({"teachers": named, "student": {"hidden": [8, 7], "terms": [term]}})


def test_the_map_of_the_documentation() -> None:
    plan = mapped({0: 0, 2: 1, 4: 2})
    (term,) = plan.student.terms
    assert term.options["layers"] == ((0, 0), (2, 1), (4, 2))
    answers = {"deep": TeacherOutputs(np.zeros((1, 10)), {}, np.arange(1), 4)}
    assert layer_pairs_of(term, answers, 2) == [(0, 0), (2, 1), (4, 2)]


FLAT = {"0": 0, "2": 1, "4": 2}
FILES: dict[str, tuple[str, str]] = {
    "flat JSON": ("map.json", json.dumps(FLAT)),
    "indented JSON": ("map.json", json.dumps(FLAT, indent=2)),
    "JSON indented by tabs": ("map.json", json.dumps(FLAT, indent="\t")),
    "flat YAML": ("map.yaml", "0: 0\n2: 1\n4: 2\n"),
    "YAML on one line": ("map.yml", "{0: 0, 2: 1, 4: 2}"),
    "JSON by teacher": ("map.json", json.dumps({"other": {"1": 1}, "deep": FLAT})),
    "YAML by teacher": ("map.yaml", "deep: {0: 0, 2: 1, 4: 2}\nother:\n  1: 1\n"),
    "no ending": ("map", "# the teacher's: the student's\n0: 0\n2: 1\n4: 2\n"),
}


@pytest.mark.parametrize(("name", "text"), FILES.values(), ids=FILES)
def test_a_map_from_a_file_is_the_map_that_it_holds(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    plan = mapped(str(tmp_path / name))
    assert plan == mapped({0: 0, 2: 1, 4: 2})
    assert config.load(config.as_dict(plan)) == plan, "the plan holds the map, not the file's name"


def test_each_teacher_finds_its_own_map_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "maps.json").write_text(json.dumps({"deep": {"4": 2}, "other": {"1": 1}}))
    terms = [{"loss": "hint", "teacher": name, "layers": str(tmp_path / "maps.json")} for name in ("deep", "other")]
    teachers = {"deep": {"hidden": [9, 9, 9, 9]}, "other": {"hidden": 9}}
    plan = config.load({"teachers": teachers, "student": {"hidden": [8, 7], "terms": terms}})
    assert [term.options["layers"] for term in plan.student.terms] == [((4, 2),), ((1, 1),)]


def test_a_teachers_own_map_counts_where_teachers_have_numbers_for_names(tmp_path: Path) -> None:
    """A flat map for a teacher that is called 1: the key 1 is a layer, as its value is no map."""
    (tmp_path / "map.yaml").write_text("{0: 0, 1: 1}")
    term = {"loss": "hint", "layers": str(tmp_path / "map.yaml")}
    plan = config.load({"teachers": {"1": {"hidden": 9}}, "student": {"terms": [term]}})
    assert plan.student.terms[0].options["layers"] == ((0, 0), (1, 1))


def faults(*lines: str, files: Mapping[str, str] | None = None) -> list[str]:
    """What is wrong with a configuration of these lines, in the current folder, with these files beside it."""
    for name, text in (files or {}).items():
        Path(name).write_text(text)
    Path("plan.yaml").write_text("\n".join(lines) + "\n")
    with pytest.raises(distill.ConfigError) as caught:
        config.load("plan.yaml")
    return str(caught.value).splitlines()


TERM = "student: {hidden: [8, 7], terms: [{loss: hint, layers: %s}]}"
AT = "plan.yaml:1:56: student.terms[0].layers: "
NO_MAP = "must be a map of the teacher's layers to the student's"
BAD_MAPS: dict[str, tuple[str, str | None, str]] = {
    "a layer that the teacher has not": (
        "{2: 1}", None, AT + "there is no layer 2 of the teacher, whose layers are 0 (the input) to 1"),
    "one that the student has not": (
        "{1: 3}", None, AT + "there is no layer 3 of the student, whose layers are 0 (the input) to 2"),
    "the second of two": ("{1: 1, 0: 9}", None, AT + "there is no layer 9 of the student"),
    "a bad layer in a file": ("map.json", '{"5": 1}', AT + "there is no layer 5 of the teacher"),
    "one under the teacher's name": ("map.json", '{"teacher": {"1": 4}}', AT + "there is no layer 4 of the student"),
    "no such file": ("nowhere.json", None, AT + "nowhere.json cannot be read: No such file or directory"),
    "a folder": (".", None, AT + ". cannot be read: Is a directory"),
    "no map": ("{}", None, AT + "a mapping is given"),
    "a list": ("[1, 2]", None, AT + "a list is given"),
    "a number": ("1", None, AT + "1 is not allowed"),
    "negative": ("{1: -1}", None, AT + "a mapping is given"),
    "a word": ("{one: 1}", None, AT + "a mapping is given"),
    "a fraction": ("{1: 0.5}", None, AT + "a mapping is given"),
    "an empty file": ("map.json", "", f"map.json: student.terms[0].layers: nothing is given (null); {NO_MAP}"),
    "a text in the file": (
        "map.json", '"auto"', f"map.json:1:1: student.terms[0].layers: 'auto' is a text; {NO_MAP}"),
    "a list in the file": ("map.json", "[[1, 1]]", "map.json:1:1: student.terms[0].layers: a list is given"),
    "only another's map": (
        "map.json", '{"other": {"1": 1}}', "map.json:1:1: student.terms[0].layers: a mapping is given"),
    "no map under the name": (
        "map.yaml", "teacher: all\n", "map.yaml:1:10: student.terms[0].layers: 'all' is a text"),
    "no YAML": ("map.yaml", "{1: 1", "map.yaml:1:6: this is not YAML"),
    "a key twice": ("map.yaml", "1: 1\n1: 0\n", "map.yaml:2:1: "),
}  # fmt: skip


@pytest.mark.parametrize(("layers", "file", "expected"), BAD_MAPS.values(), ids=BAD_MAPS)
def test_a_bad_map_is_one_fault_at_its_place(layers: str, file: str | None, expected: str, in_tmp: Path) -> None:
    found = faults(TERM % layers, files={} if file is None else {layers: file})
    assert len(found) == 1, found
    assert found[0].startswith(expected), found


def test_what_a_file_should_hold_is_said_with_the_teachers_name(in_tmp: Path) -> None:
    (found,) = faults(TERM % "map.json", files={"map.json": '{"other": {"1": 1}}'})
    assert found.endswith("or a map from teachers' names to such maps with 'teacher' in it")


def test_the_depth_of_a_teacher_from_elsewhere_is_known_when_it_is_there(in_tmp: Path) -> None:
    distill.run(SMALL | {"output": {"folder": "first"}})
    plan = SMALL | {"teachers": {"old": {"load": "first/teacher.npz"}}}
    plan = {name: section for name, section in plan.items() if name != "output"}
    hint = {"loss": "hint", "layers": {3: 1}}
    with pytest.raises(distill.DataError, match=r"teacher 'old': there is no layer 3 of the teacher.* to 1;"):
        distill.run(plan | {"student": {"terms": [LABELS, hint]}})
    found = distill.run(plan | {"student": {"terms": [LABELS, hint | {"layers": {1: 1}}]}})
    assert found.teacher.fingerprint() == distill.load_model("first/teacher.npz").fingerprint()


def test_a_teacher_without_hidden_layers_to_show_is_refused_by_name() -> None:
    class Guess(distill.TeacherModel):
        """Knows the logits of another model, and nothing of how it came to them."""

        def logits(self, x: np.ndarray) -> np.ndarray:
            return known.student.logits(x)

    known = distill.run(SMALL)
    with pytest.raises(distill.DataError, match=r"teacher 'guess': has no hidden layers to look at"):
        distill.run(
            SMALL | {"student": {"terms": [LABELS, {"loss": "cosine"}]}},
            teachers={"guess": Guess()},
        )


# --- the configuration of stages --------------------------------------------------------------------------------------

STAGE_FAULTS: dict[str, tuple[list[str], list[str]]] = {
    "a layer that is not there": (
        ["student:", "  hidden: [8, 7]", "  stages:", "    - {epochs: 1, train: [1, 4]}"],
        ["plan.yaml:4:26: student.stages[0].train: there is no layer 4; must be from 1 to 3, the logits"],
    ),
    "layer 0": (
        ["student:", "  stages: [{train: [0]}]"],
        ["plan.yaml:2:20: student.stages[0].train: a list is given: [0]; must be all, or a whole number"],
    ),
    "no layer": (["student: {stages: [{train: []}]}"], ["plan.yaml:1:28: student.stages[0].train: a list is given"]),
    "a layer that is none": (
        ["student: {stages: [{train: 66}]}"],
        ["plan.yaml:1:28: student.stages[0].train: 66 is not allowed; must be all, or a whole number"],
    ),
    "another word": (
        ["student: {stages: [{train: none}]}"],
        ["plan.yaml:1:28: student.stages[0].train: 'none' is a text; must be all, or a whole number"],
    ),
    "terms beside stages": (
        ["student:", "  terms: [{loss: cross_entropy}]", "  stages: [{epochs: 1}]"],
        ["plan.yaml:2:3: student.terms: is given beside stages; give each stage its own terms"],
    ),
    "epochs beside stages": (
        ["student:", "  epochs: 3", "  stages: [{epochs: 1}]"],
        ["plan.yaml:2:3: student.epochs: is given beside stages; give each stage its own epochs"],
    ),
    "no stage": (
        ["student: {stages: []}"],
        ["plan.yaml:1:19: student.stages: a list is given; must be a list of stages"],
    ),
    "no list": (
        ["student: {stages: {epochs: 1}}"],
        ["plan.yaml:1:19: student.stages: a mapping is given; must be a list of stages"],
    ),
    "nothing": (["student:", "  stages:"], ["plan.yaml:2:10: student.stages: nothing is given (null); must be"]),
    "an empty item": (
        ["student:", "  stages:", "    - epochs: 1", "    -"],
        ["plan.yaml:4:6: student.stages[1]: nothing is given (null); must be a stage, such as {epochs: 5, train: [1]}"],
    ),
    "an unknown key": (
        ["student: {stages: [{epoch: 1}]}"],
        ["plan.yaml:1:21: student.stages[0].epoch: unknown key; did you mean 'epochs'?"],
    ),
    "a key of the network": (
        ["student: {stages: [{batch_size: 1}]}"],
        ["plan.yaml:1:21: student.stages[0].batch_size: unknown key; "],
    ),
    "no epoch count": (
        ["student: {stages: [{epochs: -1}]}"],
        ["plan.yaml:1:29: student.stages[0].epochs: -1 is not allowed; must be a whole number from 0 to"],
    ),
    "no rate": (
        ["student: {stages: [{learning_rate: 0}]}"],
        ["plan.yaml:1:36: student.stages[0].learning_rate: 0 is not allowed; must be a number above 0"],
    ),
    "an unknown loss": (
        ["student:", "  stages:", "    - terms: [{loss: hintt}]"],
        ["plan.yaml:3:22: student.stages[0].terms[0].loss: 'hintt' is a text; must be one of"],
    ),
    "no term": (
        ["student: {stages: [{terms: []}]}"],
        ["plan.yaml:1:28: student.stages[0].terms: a list is given; must be a list of terms"],
    ),
    "every weight 0": (
        ["student: {stages: [{}, {terms: [{loss: response, weight: 0}]}]}"],
        ["plan.yaml:1:32: student.stages[1].terms: every weight is 0; at least one must be above 0"],
    ),
    "a map in a stage": (
        ["student:", "  stages:", "    - {terms: [{loss: hint, layers: {1: 7}}]}"],
        ["plan.yaml:3:37: student.stages[0].terms[0].layers: there is no layer 7 of the student"],
    ),
    "several at once": (
        ["student:", "  stages:", "    - {epochs: x, train: [9]}", "    - {learning_rate: -1}"],
        [
            "plan.yaml:3:16: student.stages[0].epochs: 'x' is a text",
            "plan.yaml:3:26: student.stages[0].train: there is no layer 9",
            "plan.yaml:4:23: student.stages[1].learning_rate: -1 is not allowed",
        ],
    ),
    "a schedule without an end": (
        ["student: {stages: [{terms: [{loss: response, weight_schedule: cosine}]}]}"],
        ["plan.yaml:1:46: student.stages[0].terms[0].weight_schedule: acts only with final_weight; add it"],
    ),
}


@pytest.mark.parametrize(("lines", "expected"), STAGE_FAULTS.values(), ids=STAGE_FAULTS)
def test_a_fault_of_a_stage_is_told_with_its_place(lines: list[str], expected: list[str], in_tmp: Path) -> None:
    found = faults(*lines)
    assert len(found) == len(expected), found
    for one, start in zip(found, expected, strict=True):
        assert one.startswith(start), found


def test_which_layers_may_learn_is_said_in_numbers(in_tmp: Path) -> None:
    (found,) = faults("student: {stages: [{train: [0]}]}")
    assert re.search(r"must be all, or a whole number from 1 to 65, or a list", found), found


TERMS = st.lists(
    st.sampled_from(
        [
            {"loss": "cross_entropy", "weight": 1, "smoothing": 0.1},
            {"loss": "response", "weight": 0.5, "final_weight": 0, "weight_schedule": "cosine"},
            {"loss": "hint", "weight": 2, "layers": {0: 0, 2: 1}, "teacher": "b"},
            {"loss": "novelty", "weight": 1, "margin": -0.5, "teacher": "a"},
            {"loss": "reverse_kl", "weight": 1, "teacher": {"a": 1, "b": 3}, "combine": "logits"},
        ]
    ),
    min_size=1,
    max_size=3,
)
STAGES = st.lists(
    st.fixed_dictionaries(
        {"epochs": st.integers(0, 5)},
        optional={
            "terms": TERMS,
            "learning_rate": st.floats(1e-9, 10),
            "train": st.just("all") | st.lists(st.integers(1, 3), min_size=1, max_size=4),
        },
    ),
    min_size=1,
    max_size=4,
)


@given(STAGES, st.permutations(["a", "b"]))
def test_a_plan_with_stages_loads_back_as_itself(
    tmp_path_factory: Any, stages: list[dict[str, Any]], order: list[str]
) -> None:
    everyone = {"epochs": 0, "terms": [{"loss": "response", "teacher": ["a", "b"]}]}
    for stage in stages:  # a term on logits reaches every layer, so that any of them may be trained alone
        stage["terms"] = [*stage.get("terms", []), {"loss": "cross_entropy", "weight": 1}]
    teachers = {name: {"hidden": [9, 8]} for name in order}
    plan = config.load({"teachers": teachers, "student": {"hidden": [6, 5], "stages": [*stages, everyone]}})
    assert config.load(config.as_dict(plan)) == plan
    path = tmp_path_factory.mktemp("plan") / "plan.yaml"
    path.write_text(config.dump(dataclasses.replace(plan, output=Output("here"))), encoding="utf-8")
    assert dataclasses.replace(config.load(path), output=plan.output) == plan


@pytest.mark.parametrize(
    ("layers", "train"), [("{1: 1}", "[2]"), ("{1: 1}", "[2, 3]"), ("auto", "[3]"), ("{2: 0}", "1")]
)
def test_layers_that_no_term_of_the_stage_reaches_cannot_be_trained_alone(layers: str, train: str) -> None:
    stage = f"student.stages=[{{train: {train}, terms: [{{loss: similarity, weight: 1, layers: {layers}}}]}}]"
    shapes = {"distillation": {"teacher_hidden": [9, 8], "student_hidden": [6, 5]}}
    with pytest.raises(
        distill.ConfigError, match=r"stages\[0\].train: no term of this stage reaches above layer [012]"
    ):
        config.load(shapes, [stage])
    assert config.load(shapes, [stage.replace(f"train: {train}", "epochs: 1")])


def test_a_rate_that_no_stage_uses_is_a_fault() -> None:
    stages = {"student": {"stages": [{"epochs": 1, "learning_rate": 0.1}]}}
    for override in ("student.learning_rate=0.5", "distillation.learning_rate=0.5", "distillation.student_epochs=9"):
        both = [override, *(["teachers.teacher.learning_rate=0.1"] if "distillation.learning" in override else [])]
        with pytest.raises(distill.ConfigError, match="does nothing"):
            config.load(stages, both)
    assert config.load(stages | {"distillation": {"learning_rate": 0.5}}).student.learning_rate == 0.1


@pytest.mark.parametrize("name", ["terms.0.weight", "stages.0.epochs", "hidden.0", "epochs.x"])
def test_an_override_inside_a_list_or_a_value_is_a_fault(name: str) -> None:
    what = name.partition(".")[0]
    values = {"terms": [{"loss": "response"}], "stages": [{"epochs": 1}], "hidden": [3], "epochs": 2}
    with pytest.raises(distill.ConfigError, match=rf"student.{what} is a .* set all of student.{what}"):
        config.load({"student": {what: values[what]}}, [f"student.{name}=3"])


@pytest.mark.parametrize("stages", [None, [{"epochs": 1}, {"epochs": 1, "terms": [{"loss": "reverse_kl"}]}]], ids=str)
def test_a_term_lists_its_teachers_by_name_in_whatever_order_they_stand(stages: list[dict[str, Any]] | None) -> None:
    student = {"stages": stages} if stages else {"terms": [{"loss": "response"}]}
    plan = config.load({"teachers": {"b": {}, "a": {}}, "student": student})
    for term in plan.student.every_term:
        assert [name for name, _ in term.teachers] in ([], ["a", "b"])


def test_a_term_whose_weight_never_leaves_0_counts_as_one_of_weight_0() -> None:
    with pytest.raises(distill.ConfigError, match="every weight is 0"):
        config.load({"student": {"terms": [
            {"loss": "response", "weight": 0, "final_weight": 1, "weight_schedule": "constant"}]}})  # fmt: skip


def test_check_prints_the_stages_and_a_run_keeps_a_plan_that_runs_again(
    in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("two.yaml").write_text(
        "distillation: {max_samples: 200, teacher_hidden: [16, 12], teacher_epochs: 3, student_hidden: [9, 8]}\n"
        "student:\n"
        "  stages:\n"
        "    - {epochs: 2, train: [1], terms: [{loss: hint, weight: 1, layers: {1: 1}}]}\n"
        "    - {epochs: 1, learning_rate: 0.005}\n"
    )
    assert cli.main(["check", "--config", "two.yaml"]) == 0
    shown = capsys.readouterr().out
    said = "2 epochs of 1 hint(teacher, layers={1: 1}) (layers 1), then 1 epoch of 0.3 cross_entropy + 0.7 response"
    assert said in " ".join(shown.split())
    assert formula(config.load("two.yaml").student.stages).startswith(said)
    assert cli.main(["--config", "two.yaml", "--quiet"]) == 0
    kept = config.load("runs/two/config.yaml")
    assert kept == config.load("two.yaml")
    again = distill.run(dataclasses.replace(kept, output=Output(None)))
    assert again.student.fingerprint() == distill.load_model("runs/two/student.npz").fingerprint()


# --- what a run keeps -------------------------------------------------------------------------------------------------

ADAPTED: dict[str, Any] = {
    "distillation": SMALL["distillation"] | {"teacher_hidden": [16, 14], "student_hidden": [9, 8]},
    "student": {"stages": [{"epochs": 1, "train": [1], "terms": [HINT]}, {"epochs": 1, "terms": [LABELS, HINT]}]},
    "output": {"folder": "run"},
}


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_run_with_adapters_keeps_a_full_checkpoint_beside_the_student(in_tmp: Path) -> None:
    results = distill.run(ADAPTED)
    assert names("run") == [
        "config.yaml",
        "control.npz",
        "metrics.jsonl",
        "results.json",
        "student.full.npz",
        "student.npz",
        "teacher.npz",
    ]
    found = distill.load_adapters("run/student.full.npz")
    assert {name: view.shape for name, view in found.items()} == {"teacher.1-1": (16, 10), "teacher.2-2": (14, 9)}
    assert all(view.dtype == np.float32 and np.isfinite(view).all() for view in found.values())
    full, plain = (distill.load_model(f"run/student{kind}.npz") for kind in (".full", ""))
    assert full.fingerprint() == plain.fingerprint() == results.student.fingerprint()
    x = np.random.default_rng(0).uniform(0, 16, (50, 64))
    np.testing.assert_array_equal(full.logits(x), plain.logits(x))
    history = results["history"]["student"]
    assert [record["epoch"] for record in history] == [1, 2]
    assert [record["epoch"] for record in results["history"]["control"]] == [1, 2]


def test_the_adapters_that_are_kept_make_the_students_layer_the_teachers(in_tmp: Path) -> None:
    longer = {"epochs": 20, "terms": [{"loss": "hint", "layers": {1: 1}}]}
    results = distill.run(ADAPTED | {"student": {"stages": [longer]}})
    assert results.teacher is not None
    rows = data.load(config.load(ADAPTED).data, 0.8, 200, 0).train
    ours = network_of(results.student.weights).apply(results.student.weights, held(rows), [1])[1][1]
    theirs = network_of(results.teacher.weights).apply(results.teacher.weights, held(rows), [1])[1][1]
    kept = distill.load_adapters("run/student.full.npz")["teacher.1-1"]
    apart = float(((ours @ kept[:, :-1].T + kept[:, -1] - theirs) ** 2).mean())
    assert apart < 0.5 * float(((theirs - theirs.mean(axis=0)) ** 2).mean()), "more than a bias would do"


def test_adapters_are_neither_in_the_exported_student_nor_in_its_size(in_tmp: Path) -> None:
    results = distill.run(ADAPTED)
    count = MLP((64, 9, 8, 10)).size
    assert results["student_params"] == results["models"]["student"]["parameters"] == count
    assert results["models"]["student"]["bytes"] == 4 * count
    assert results.student.n_parameters == distill.load_model("run/student.full.npz").n_parameters == count
    assert results["compression_ratio"] == results["teacher_params"] / count
    arrays = {kind: read_npz(Path(f"run/student{kind}.npz")) for kind in ("", ".full")}
    assert not any(name.startswith(ADAPTER) for name in arrays[""])
    assert arrays[".full"].keys() - arrays[""].keys() == {f"{ADAPTER}teacher.1-1", f"{ADAPTER}teacher.2-2"}
    assert distill.load_adapters("run/student.npz") == {}
    assert distill.load_adapters("run/control.npz") == {}


def test_predict_takes_either_file(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    distill.run(ADAPTED)
    x = np.random.default_rng(0).integers(0, 17, (5, 64))
    np.savetxt("rows.csv", x, fmt="%d", delimiter=",")
    said = []
    for model in ("run/student.npz", "run/student.full.npz"):
        assert cli.main(["predict", "--model", model, "--data", "rows.csv"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert len(said[0].splitlines()) == 6


def test_adapters_of_what_is_no_model_are_refused(in_tmp: Path) -> None:
    np.savez("some.npz", **{f"{ADAPTER}teacher.1-1": np.zeros((2, 3))})
    for path in ("some.npz", "nowhere.npz"):
        with pytest.raises(distill.DataError, match=path):
            distill.load_adapters(path)


def test_no_full_checkpoint_without_adapters(in_tmp: Path) -> None:
    distill.run(SMALL | {"student": {"hidden": 16, "terms": [LABELS, HINT]}, "output": {"folder": "run"}})
    assert "student.full.npz" not in names("run")


def test_a_later_run_leaves_no_full_checkpoint_of_an_earlier_one(in_tmp: Path) -> None:
    """A folder never holds one run's results beside another's models."""
    distill.run(ADAPTED)
    distill.run(SMALL | {"output": {"folder": "run"}})
    assert "student.full.npz" not in names("run")


def test_what_an_interrupted_publishing_leaves_does_not_block_the_next_run(in_tmp: Path) -> None:
    distill.run(ADAPTED)
    Path("run.partial").mkdir()
    for name in ("student.full.npz", "student.npz", "teacher.npz", "results.json"):  # metrics.jsonl had been moved
        Path("run", name).rename(Path("run.partial", name))
    distill.run(ADAPTED)
    assert not Path("run.partial").exists()
    assert "student.full.npz" in names("run")


def test_an_output_must_not_replace_the_full_checkpoint(in_tmp: Path) -> None:
    Path("two.yaml").write_text(config.dump(config.load(ADAPTED)))
    assert cli.main(["--config", "two.yaml", "--quiet", "--output", "run/student.full.npz"]) != 0


def test_peers_and_teachers_with_adapters_keep_theirs_too(in_tmp: Path) -> None:
    plan = {
        "distillation": SMALL["distillation"],
        "teachers": {"first": {"hidden": [16]}, "second": {"hidden": [12], "terms": [LABELS, HINT]}},
        "student": {"hidden": [9], "peers": 1, "terms": [LABELS, {"loss": "response", "teacher": "peers"}, HINT | {
            "teacher": "second"}]},
        "output": {"folder": "run"},
    }  # fmt: skip
    distill.run(plan)
    kept = {name: distill.load_adapters(f"run/{name}.full.npz") for name in ("teacher.second", "student", "peer1")}
    assert {name: list(one) for name, one in kept.items()} == {
        "teacher.second": ["first.1-1"],
        "student": ["second.1-1"],
        "peer1": ["second.1-1"],
    }
    assert kept["student"]["second.1-1"].tobytes() != kept["peer1"]["second.1-1"].tobytes()


def test_the_formula_names_epochs_and_layers_of_each_stage() -> None:
    term = Term("hint", 1.0, (("teacher", 1.0),), {"layers": "auto"})
    assert formula((Stage(2, 0.1, (term,), (1, 2)), Stage(1, 0.1, (Term("cross_entropy", 1.0),)))) == (
        "2 epochs of 1 hint(teacher) (layers 1, 2), then 1 epoch of 1 cross_entropy"
    )
