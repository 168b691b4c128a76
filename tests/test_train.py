"""The training loop: a literal table of ten steps, the bits that must not move, pairing, divergence."""

import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

import distill
from conftest import SMALL, answered, network_of, small, state_of
from distill import config, data
from distill.config.schema import LABELS_ONLY, StudentPlan, Term, Training, stages_of
from distill.data.rows import Data, Rows
from distill.nn import mlp, optim
from distill.nn.mlp import MLP
from distill.nn.network import Network
from distill.nn.vector import Array, Vector
from distill.report.formula import formula
from distill.student import control_terms
from distill.system import rng as streams
from distill.teacher import compute, sources
from distill.train import fit as train
from distill.train import loop
from distill.train.fit import Run
from distill.train.objective import Objective, PrecomputedBatches
from distill.train.state import State
from distill.train.threads import ALONE, Team, team_of

PLAN = config.load({"distillation": {"student_hidden": [5, 4], "learning_rate": 0.05, "batch_size": 8}}).student


class InOrder(np.random.Generator):
    """Leaves the rows as they stand."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def shuffle(self, x: Any, axis: int = 0) -> None:
        """Nothing moves."""


def ten_steps(plan: Training, lists: Sequence[Sequence[Term]], team: Team = ALONE) -> Array:
    """The losses (10,R) of ten steps of 3-5-4-3 networks on 40 fixed rows, in float64."""
    grid = np.arange(40 * 3).reshape(40, 3)
    x, y, answers = np.sin(grid), np.arange(40) % 3, answered({"teacher": 3 * np.cos(grid)})
    sizes = (3, *plan.hidden, 3)
    weights = Vector(MLP(sizes).shapes, np.float64, stack=(len(lists),))
    numbers, at = 0.5 * np.sin(1 + np.arange(MLP(sizes).size)), 0
    for w in weights.views.values():  # the table's weights stand as (in, out), its biases behind them
        units, width = w.shape[1:]
        w[..., :-1] = numbers[at : at + (width - 1) * units].reshape(width - 1, units).T
        w[..., -1] = numbers[at + (width - 1) * units : at + width * units]
        at += width * units
    steps = loop.steps(
        network_of(weights), state_of(weights, InOrder()), x, Objective(lists, y, answers, 3, np.float64), plan, team
    )
    losses: Array = np.concatenate([losses for losses, _ in steps])[:10]
    return losses


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


def with_optimizer(optimizer: str) -> Training:
    return dataclasses.replace(PLAN, optimizer=optimizer, momentum=0.9 if optimizer == "sgd" else None)


@pytest.mark.parametrize("optimizer", TABLE)
def test_ten_steps_are_the_literal_table(optimizer: str) -> None:
    losses = ten_steps(with_optimizer(optimizer), [PLAN.terms])
    np.testing.assert_allclose(losses[:, 0], TABLE[optimizer], rtol=1e-9)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("optimizer", TABLE)
def test_ten_steps_beside_another_network_are_the_table_too(optimizer: str, place: int) -> None:
    lists: list[Sequence[Term]] = [LABELS_ONLY, LABELS_ONLY]
    lists[place] = PLAN.terms
    losses = ten_steps(with_optimizer(optimizer), lists)
    np.testing.assert_allclose(losses[:, place], TABLE[optimizer], rtol=1e-9)
    assert not np.isclose(losses[:, 1 - place], TABLE[optimizer], rtol=1e-3).any()


def in_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every step one that is shared: its rows in groups of about 3, its weights in blocks of about 10."""
    monkeypatch.setattr(loop, "SHARED_WORK", 0)
    monkeypatch.setattr(mlp, "SHARD_ROWS", 3)
    monkeypatch.setattr(mlp, "SHARED_NUMBERS", 10)


@pytest.mark.parametrize("clip", [None, 1e9])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("optimizer", TABLE)
def test_ten_shared_steps_are_the_table_too(
    optimizer: str, threads: int, clip: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_shards(monkeypatch)
    plan = dataclasses.replace(with_optimizer(optimizer), clip=clip)
    with team_of(threads, paced=False) as team:
        losses = ten_steps(plan, [PLAN.terms, LABELS_ONLY], team)
    np.testing.assert_allclose(losses[:, 0], TABLE[optimizer], rtol=1e-9)


# --- bits -------------------------------------------------------------------------------------------------------------


def history(results: distill.Results, name: str) -> Any:
    return results["history"][name]


def quiet(name: str, record: dict[str, Any]) -> None:
    """Hears and says nothing."""


def digits(**keys: Any) -> tuple[StudentPlan, Data, dict[str, Array]]:
    """A student's plan on 200 digits, some without a label where `labels` says so, and made-up answers."""
    plan = config.load({"distillation": {"max_samples": 200, "student_epochs": 2}, "student": keys})
    rows = data.load(plan.data, 0.8, 200, 0)
    rng = np.random.default_rng(0)
    if plan.student.labels is not None:
        y = np.where(rng.random(len(rows.train)) < 0.4, -1, rows.train.y)
        rows = dataclasses.replace(rows, train=dataclasses.replace(rows.train, y=y))
    return plan.student, rows, {"teacher": (3 * rng.normal(size=(len(rows.train), 10))).astype(np.float32)}


def fit(
    objectives: Mapping[str, Sequence[Term]],
    fixture: tuple[Training, Data, dict[str, Array]],
    threads: int = 1,
    streams: str = "student",
    on_epoch: train.OnEpoch = quiet,
) -> dict[str, train.Trained]:
    plan, rows, logits = fixture
    courses = {name: stages_of(plan, tuple(terms)) for name, terms in objectives.items()}
    return train.fit(courses, plan, rows, answered(logits), Run(0, on_epoch, threads), streams)


@pytest.mark.parametrize("batch_size", [1, 5, 16, 32, 33])
def test_alpha_0_ignores_the_teacher_bit_for_bit(batch_size: int) -> None:
    chosen = ("distillation.alpha=0", f"student.batch_size={batch_size}")
    results = small(*chosen)
    assert history(results, "student") == history(results, "control")
    assert results.student.fingerprint() == results.control.fingerprint()
    other_teacher = small(*chosen, "distillation.teacher_hidden=8")
    assert other_teacher.teacher.fingerprint() != results.teacher.fingerprint()
    assert other_teacher.student.fingerprint() == results.student.fingerprint()


def test_alpha_1_ignores_the_labels_bit_for_bit() -> None:
    plan = config.load(SMALL, ["distillation.alpha=1"])
    rows = data.load(plan.data, 0.8, 200, 0)
    answers = {"teacher": np.random.default_rng(0).normal(size=(len(rows.train), 10)).astype(np.float32)}
    shuffled = dataclasses.replace(rows, train=dataclasses.replace(rows.train, y=rows.train.y[::-1].copy()))
    pairs = [
        fit({"control": LABELS_ONLY, "student": plan.student.terms}, (plan.student, one, answers))
        for one in (rows, shuffled)
    ]
    assert pairs[0]["control"].model.fingerprint() != pairs[1]["control"].model.fingerprint()
    assert pairs[0]["student"].model.fingerprint() == pairs[1]["student"].model.fingerprint()


# Batches with and without a smaller last one, a single row, no number of rows that BLAS likes; steps that are too small
# to be shared, large enough to be, and of a size that only two networks together would have.
STACKS: dict[str, dict[str, Any]] = {
    "32 rows": {"batch_size": 32},
    "33 rows": {"batch_size": 33},
    "5 rows": {"batch_size": 5},
    "1 row": {"batch_size": 1, "epochs": 1},
    "all rows": {"batch_size": 1000},
    "a last row alone": {"batch_size": 53},
    "no unit a round number": {"hidden": [33, 17], "batch_size": 31},
    "one unit": {"hidden": [1], "batch_size": 7},
    "sgd": {"optimizer": "sgd", "weight_decay": 0.01, "batch_size": 13},
    "clipped": {"clip": 0.1, "batch_size": 13},
    "unlabelled rows": {"labels": 60, "batch_size": 13},
    "unlabelled rows, one by one": {"labels": 60, "batch_size": 1, "epochs": 1},
    "shared": {"hidden": [512, 256], "batch_size": 64},
    "shared and clipped": {"hidden": [512, 256], "batch_size": 75, "clip": 0.1},
    "shared only if two were counted as one": {"hidden": [256, 128], "batch_size": 150},
}


@pytest.mark.parametrize("keys", STACKS.values(), ids=STACKS)
def test_the_networks_of_a_stack_are_bit_for_bit_those_trained_alone(keys: dict[str, Any]) -> None:
    fixture = digits(**keys)
    terms = fixture[0].terms
    both = {"control": LABELS_ONLY, "student": terms}
    together = fit(both, fixture)
    assert list(together) == ["control", "student"]
    for name in both:
        alone = fit({name: both[name]}, fixture)[name]
        assert together[name].model.weights.flat.tobytes() == alone.model.weights.flat.tobytes()
        for one, other in zip(together[name].history, alone.history, strict=True):
            assert one == other | {"loss": pytest.approx(other["loss"], rel=1e-12)}
    turned = fit(dict(reversed(both.items())), fixture)
    assert {name: one.model.fingerprint() for name, one in turned.items()} == {
        name: one.model.fingerprint() for name, one in together.items()
    }


@pytest.mark.parametrize("batch_size", [5, 32, 160])
def test_nothing_of_the_students_terms_moves_the_control(batch_size: int) -> None:
    """Neither weights nor temperatures nor their number: the control is one network, whatever it is compared to."""
    fixture = digits(batch_size=batch_size)
    said = [
        Term("response", 1.0, (("teacher", 1.0),), {"temperature": t, "t_squared": squared})
        for t, squared in ((1.0, True), (4.0, True), (9.0, False))
    ]
    prints = {
        fit({"control": LABELS_ONLY, "student": terms}, fixture)["control"].model.fingerprint()
        for terms in (LABELS_ONLY, said[:1], said[1:2], said, [*LABELS_ONLY, *said])
    }
    assert len(prints) == 1


def large(**keys: Any) -> tuple[StudentPlan, Data, dict[str, Array]]:
    """Steps that are worth sharing, the last of an epoch smaller than the rest."""
    fixture = digits(hidden=[350, 220], batch_size=107, learning_rate=0.001, **keys)
    weights = Vector(MLP((64, 350, 220, 10)).shapes)
    assert network_of(weights).work(107) >= loop.SHARED_WORK
    return fixture


class Counted(Team):
    """Counts the runs that its helpers had a part in."""

    runs = 0

    def run(self, function: Any, jobs: Any) -> None:
        """As every team."""
        Counted.runs += self.is_sharing
        super().run(function, jobs)


@pytest.mark.parametrize("keys", [{}, {"clip": 0.1}, {"labels": 60}, {"optimizer": "sgd"}], ids=str)
def test_the_number_of_threads_changes_no_bit(keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill.train.threads.Team", Counted)
    monkeypatch.setattr(train, "team_of", partial(team_of, paced=False))
    fixture, found, runs = large(**keys), [], []
    for threads in (1, 2, 3):
        Counted.runs = 0
        pair = fit({"control": LABELS_ONLY, "student": fixture[0].terms}, fixture, threads)
        found.append({name: (one.model.weights.flat.tobytes(), one.history) for name, one in pair.items()})
        runs.append(Counted.runs)
    assert found[0] == found[1] == found[2]
    assert runs[0] == 0 < runs[1] == runs[2]


def test_a_small_step_wakes_no_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill.train.threads.Team", Counted)
    monkeypatch.setattr(train, "team_of", partial(team_of, paced=False))
    Counted.runs = 0
    fixture = digits()
    assert fit({"student": LABELS_ONLY}, fixture, 3)["student"].steps == 10
    assert Counted.runs == 0


class Moody(Team):
    """Works together and alone by turns."""

    def record_time(self, seconds: float) -> None:
        """Whatever it took."""
        self.is_sharing = not self.is_sharing


def test_helpers_that_come_and_go_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A team lets them rest where another program keeps the cores busy, which no result may show."""
    monkeypatch.setattr(loop, "GATHERED_BATCHES", 1)
    monkeypatch.setattr(loop, "GATHERED_BYTES", 0)
    fixture, found = large(), []
    for kind in (Team, Moody):
        monkeypatch.setattr("distill.train.threads.Team", kind)
        found.append(fit({"student": fixture[0].terms}, fixture, 3)["student"].model.fingerprint())
    assert found[0] == found[1]


@pytest.mark.parametrize("keys", [{"batch_size": 8}, {"batch_size": 9, "labels": 60}], ids=str)
def test_how_many_batches_are_gathered_at_a_time_changes_no_bit(
    keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fixture, found = digits(**keys), []
    monkeypatch.setattr(loop, "GATHERED_BYTES", 0)
    for batches in (1, 3, 1000):
        monkeypatch.setattr(loop, "GATHERED_BATCHES", batches)
        pair = fit({"control": LABELS_ONLY, "student": fixture[0].terms}, fixture)
        found.append({name: (one.model.fingerprint(), one.history) for name, one in pair.items()})
    exact = [{name: one[0] for name, one in pair.items()} for pair in found]
    assert exact[0] == exact[1] == exact[2]
    for name, (_, records) in found[0].items():
        losses = [[record["loss"] for record in pair[name][1]] for pair in found]
        np.testing.assert_allclose(losses[1:], [[record["loss"] for record in records]] * 2, rtol=1e-12)


def test_no_thread_is_left_behind() -> None:
    before = set(threading.enumerate())
    fit({"student": LABELS_ONLY}, large(), 3)
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive()


def test_clipping_looks_at_each_network_alone() -> None:
    """A neighbour with a gradient of any length leaves a network's own, which is below the limit, as it is."""
    steep = [Term("response", 1e5, (("teacher", 1.0),), {"temperature": 1.0, "t_squared": True})]
    free, clipped = (fit({"control": LABELS_ONLY, "student": steep}, digits(**keys)) for keys in ({}, {"clip": 100.0}))
    assert free["control"].model.fingerprint() == clipped["control"].model.fingerprint()
    assert free["student"].model.fingerprint() != clipped["student"].model.fingerprint()


# --- pairing ----------------------------------------------------------------------------------------------------------


class Noted(PrecomputedBatches):
    """Notes the rows that are loaded, by objective."""

    taken: dict[int, list[Array]]

    def load(self, rows: Array) -> None:
        """As every fold."""
        self.taken.setdefault(id(self.objective), []).append(rows.copy())
        super().load(rows)


def test_student_and_control_start_from_equal_weights_and_see_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[Array] = []
    original = loop.steps

    def watched(network: Network, state: State, *rest: Any, **options: Any) -> Any:
        starts.append(state.weights.flat.copy())
        return original(network, state, *rest, **options)

    Noted.taken = {}
    monkeypatch.setattr(train, "steps", watched)
    monkeypatch.setattr(loop, "PrecomputedBatches", Noted)
    results = small()
    taught, pair = starts
    assert (taught.ndim, pair.shape) == (1, (2, results.student.n_parameters))
    assert pair[0].tobytes() == pair[1].tobytes()
    # one list of batches for the teacher, one that control and student have in common
    batches = [np.concatenate(rows) for rows in Noted.taken.values()]
    assert [len(rows) for rows in batches] == [3 * 160, 2 * 160]
    assert batches[0][:160].tobytes() != batches[1][:160].tobytes()
    assert results.student.fingerprint() != results.control.fingerprint()


def test_a_name_changes_nothing_and_a_stream_everything() -> None:
    fixture = digits()
    prints = {name: fit({name: LABELS_ONLY}, fixture)[name].model.fingerprint() for name in ("control", "student")}
    assert prints["control"] == prints["student"]
    other = fit({"student": LABELS_ONLY}, fixture, streams="teacher")["student"].model
    assert other.fingerprint() != prints["student"]


@pytest.mark.parametrize("gathered", [1, 1000])
def test_every_epoch_takes_every_row_once_in_a_new_order(gathered: int, monkeypatch: pytest.MonkeyPatch) -> None:
    Noted.taken = {}
    monkeypatch.setattr(loop, "PrecomputedBatches", Noted)
    monkeypatch.setattr(loop, "GATHERED_BYTES", 0)
    monkeypatch.setattr(loop, "GATHERED_BATCHES", gathered)
    plan = config.load({"distillation": {"student_epochs": 3, "batch_size": 8}}).student
    weights = Vector(MLP((2, 3, 2)).shapes)
    objective = Objective([LABELS_ONLY], np.arange(21) % 2, {}, 2)
    steps = loop.steps(
        network_of(weights),
        state_of(weights, np.random.default_rng(0)),
        np.zeros((21, 2), np.float32),
        objective,
        plan,
        ALONE,
    )
    sizes = [size for losses, size in steps for _ in losses]
    assert sizes == [8, 8, 5] * 3
    epochs = np.concatenate(Noted.taken[id(objective)]).reshape(3, 21)
    assert all(sorted(epoch) == list(range(21)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_order_of_the_rows_is_that_of_their_stream() -> None:
    """Pinned, as a run must repeat under another version too: the stream's own permutation, epoch by epoch."""
    Noted.taken = {}
    plan = config.load({"distillation": {"student_epochs": 2, "batch_size": 8}}).student
    objective = Objective([LABELS_ONLY], np.arange(21) % 2, {}, 2)
    rng, x = np.random.default_rng(7), np.zeros((21, 2), np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "PrecomputedBatches", Noted)
        list(
            loop.steps(
                network_of(Vector(MLP((2, 3, 2)).shapes)),
                state_of(Vector(MLP((2, 3, 2)).shapes), rng),
                x,
                objective,
                plan,
                ALONE,
            )
        )
    expected = np.random.default_rng(7)
    np.testing.assert_array_equal(
        np.concatenate(Noted.taken[id(objective)]), np.concatenate([expected.permutation(21) for _ in range(2)])
    )


def test_the_reported_loss_is_the_mean_over_rows_not_over_batches() -> None:
    """With a learning rate of next to nothing the epoch's loss is that of the initial weights on all rows."""
    plan = config.load({"student": {"epochs": 1, "learning_rate": 1e-30, "batch_size": 100}})
    rows = data.load(plan.data, 0.8, None, 0)
    doubled = [Term("cross_entropy", 2.0)]
    pair = fit({"once": LABELS_ONLY, "twice": doubled}, (plan.student, rows, {}))
    expected = train.judge(pair["once"].model.network, pair["once"].model.weights, rows.train)["ce"]
    assert pair["once"].history[0]["loss"] == pytest.approx(expected, rel=1e-5)
    assert pair["twice"].history[0]["loss"] == pytest.approx(2 * expected, rel=1e-5)


def test_networks_that_train_together_share_the_seconds_and_have_steps_of_their_own() -> None:
    fixture = digits(epochs=3)
    pair = fit({"control": LABELS_ONLY, "student": fixture[0].terms}, fixture)
    assert 0 < pair["control"].seconds == pair["student"].seconds
    assert [one.steps for one in pair.values()] == [15, 15]


def test_epochs_are_heard_of_in_their_order_each_with_its_network() -> None:
    heard: list[tuple[str, int]] = []
    note = lambda name, record: heard.append((name, record["epoch"]))  # noqa: E731
    fit({"control": LABELS_ONLY, "student": LABELS_ONLY}, digits(), on_epoch=note)
    assert heard == [("control", 1), ("student", 1), ("control", 2), ("student", 2)]


def test_no_epoch_leaves_the_initial_weights() -> None:
    pair = fit({"control": LABELS_ONLY, "student": LABELS_ONLY}, digits(epochs=0))
    weights = Vector(MLP((64, 32, 10)).shapes)
    network_of(weights).initialise(weights, streams.stream(0, "student weights"))
    for one in pair.values():
        assert one.model.weights.flat.tobytes() == weights.flat.tobytes()
        assert (one.history, one.best_epoch, one.steps) == ([], 0, 0)


def test_streams_are_independent_of_each_other_and_of_the_order_in_which_they_are_asked_for() -> None:
    first = [streams.stream(0, name).random() for name in ("split", "student weights")]
    again = [streams.stream(0, name).random() for name in ("a new consumer", "student weights", "split")]
    assert first == again[:0:-1]
    assert len({streams.stream(seed, "split").random() for seed in range(50)}) == 50
    purposes: tuple[str, ...] = (
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


# --- divergence -------------------------------------------------------------------------------------------------------

EXPLODING = ("student.optimizer=sgd", "student.learning_rate=1", "student.weight_decay=50", "student.epochs=50")


def test_a_diverging_network_is_named_with_epoch_and_step_and_keeps_its_last_good_weights() -> None:
    said = r"^control: the (loss is (nan|inf) at epoch \d+, step \d of 5|.* after epoch \d+); .*learning_rate \(now 1\)"
    with pytest.raises(distill.DivergedError, match=said) as caught:
        small(*EXPLODING)
    assert caught.value.name == "control"
    assert np.isfinite(caught.value.model.weights.flat).all()
    assert caught.value.model.weights.flat.any()


def test_of_a_pair_the_network_that_diverges_is_named() -> None:
    steep, fixture = [Term("cross_entropy", 1e30)], digits(optimizer="sgd", epochs=20)
    pairs: list[dict[str, Sequence[Term]]] = [
        {"control": LABELS_ONLY, "student": steep},
        {"student": steep, "control": LABELS_ONLY},
    ]
    for pair in pairs:
        with pytest.raises(
            distill.DivergedError, match=r"^student: the .* epoch \d+.*; lower its learning_rate"
        ) as caught:
            fit(pair, fixture)
        assert caught.value.name == "student"
    assert fit({"control": LABELS_ONLY}, fixture)["control"].history[-1]["val_ce"] < 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["teacher", "control", "student"])
def test_a_loss_that_is_no_number_names_model_epoch_and_step(
    name: str, bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "GATHERED_BYTES", 0)
    monkeypatch.setattr(loop, "GATHERED_BATCHES", 2)  # so that losses come as 2, 2 and 1 an epoch
    original = loop.steps
    place = {"teacher": 0, "control": 0, "student": 1}[name]

    def broken(network: Network, state: State, *rest: Any, **options: Any) -> Iterator[tuple[Array, int]]:
        hit = (len(state.weights.stack) == 0) == (name == "teacher")
        before = 0
        for losses, size in original(network, state, *rest, **options):
            if hit and before <= 7 < before + len(losses):
                losses[7 - before, place] = bad
            before += len(losses)
            yield losses, size

    monkeypatch.setattr(train, "steps", broken)
    with pytest.raises(
        distill.DivergedError, match=rf"^{name}: the loss is {bad} at epoch 2, step 3 of 5; lower"
    ) as caught:
        small()
    monkeypatch.undo()
    good = small(f"{'teachers.teacher' if name == 'teacher' else 'student'}.epochs=1")
    assert caught.value.name == name
    assert caught.value.model.fingerprint() == getattr(good, name).fingerprint(), "not the weights of epoch 1"


def test_of_two_networks_that_diverge_the_earlier_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = loop.steps

    def broken(network: Network, state: State, *rest: Any, **options: Any) -> Iterator[tuple[Array, int]]:
        for losses, size in original(network, state, *rest, **options):
            if state.weights.stack:
                losses[2:, 0], losses[1:, 1] = np.nan, np.inf
            yield losses, size

    monkeypatch.setattr(train, "steps", broken)
    with pytest.raises(distill.DivergedError, match=r"^student: the loss is inf at epoch 1, step 2 of 5"):
        small()


@pytest.mark.parametrize(("name", "call"), [("teacher", 1), ("control", 4), ("student", 5)])
def test_a_validation_loss_that_is_no_number_is_found_too(
    name: str, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher is judged after each of its three epochs."""
    calls: list[int] = []
    original = train.judge

    def judge(network: Network, weights: Vector, rows: Rows) -> dict[str, float]:
        calls.append(1)
        return {"accuracy": 0.5, "ce": float("inf")} if len(calls) >= call else original(network, weights, rows)

    monkeypatch.setattr(train, "judge", judge)
    with pytest.raises(
        distill.DivergedError, match=rf"^{name}: the validation loss is inf after epoch 1; lower"
    ) as caught:
        small()
    assert (caught.value.name, caught.value.model) == (name, None)


@pytest.mark.parametrize("threads", [1, 3])
def test_numpy_does_not_grumble_about_a_diverging_network_from_any_thread(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warnings are errors here, and would come in place of the one that names the network."""
    monkeypatch.setattr(train, "team_of", partial(team_of, paced=False))
    plan, rows, _ = large(optimizer="sgd")
    plan = dataclasses.replace(plan, learning_rate=1e30, epochs=10)
    for _ in range(5):
        with pytest.raises(distill.DivergedError, match=r"^student: the loss is (nan|inf) at epoch 1"):
            fit({"student": LABELS_ONLY}, (plan, rows, {}), threads)


def test_nor_about_terms_that_float32_cannot_hold() -> None:
    plan, rows, answers = digits()
    cold = [Term("response", 1.0, (("teacher", 1.0),), {"temperature": 1e-40, "t_squared": False})]
    with pytest.raises(distill.DivergedError, match=r"^student: the loss is "):
        fit({"student": cold}, (plan, rows, answers))


def test_the_steps_rates_are_those_of_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def noted(step: int, total: int, *rest: Any) -> float:
        asked.append((step, total))
        return optim.rate_at(step, total, *rest)

    monkeypatch.setattr(loop, "rate_at", noted)
    small()
    assert asked[:15] == [(step, 15) for step in range(15)]
    assert asked[15:] == [(step, 10) for step in range(10)]


def test_the_steps_are_as_long_as_the_rates_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain descent at rates of 1, 0 and 0: the second and third step leave the weights, and so the losses, alone."""
    rates = [1.0, 0.0, 0.0, 1.0, 0.0]
    monkeypatch.setattr(loop, "rate_at", lambda step, *rest: rates[step])
    plan, rows, _ = digits(optimizer="sgd", momentum=0.0, batch_size=1000, epochs=5, schedule="cosine", warmup=0.3)
    losses = [record["loss"] for record in fit({"student": LABELS_ONLY}, (plan, rows, {}))["student"].history]
    assert losses[1:4] == pytest.approx([losses[1]] * 3, rel=1e-5)
    assert losses[0] > losses[1] > losses[4]


# --- patience ---------------------------------------------------------------------------------------------------------

# Validation losses by epoch: with a patience of 2 the first is best at epoch 2 and over after 4, the second goes on.
SCRIPT = {"control": [3.0, 2.0, 2.5, 2.5, 0.1, 0.1], "student": [5.0, 4.0, 3.0, 2.0, 1.0, 1.5]}


def scripted(monkeypatch: pytest.MonkeyPatch, names: Sequence[str]) -> None:
    """Let each network be judged as the script says; those of a stack are told apart by their weights."""
    seen: dict[int, tuple[str, list[float]]] = {}

    def judge(network: Network, weights: Vector, rows: Rows) -> dict[str, float]:
        name, left = seen.setdefault(weights.flat.ctypes.data, (names[len(seen) % len(names)], []))
        left.append(SCRIPT[name][len(left)])
        return {"accuracy": 0.5, "ce": left[-1]}

    monkeypatch.setattr(train, "judge", judge)


def test_one_network_of_a_pair_may_stop_before_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["control", "student"]
    heard: list[tuple[str, int]] = []
    plan, rows, answers = digits(patience=2, epochs=6)
    both = {"control": LABELS_ONLY, "student": plan.terms}
    free = fit(both, (dataclasses.replace(plan, patience=None), rows, answers))
    after = {epochs: fit(both, (dataclasses.replace(plan, patience=None, epochs=epochs), rows, answers))
             for epochs in (2, 5)}  # fmt: skip
    scripted(monkeypatch, names)
    note = lambda name, record: heard.append((name, record["epoch"]))  # noqa: E731
    pair = fit(both, (plan, rows, answers), on_epoch=note)
    assert [(one.best_epoch, len(one.history), one.steps) for one in pair.values()] == [(2, 4, 20), (5, 6, 30)]
    assert heard == [(name, epoch) for epoch in range(1, 5) for name in names] + [("student", 5), ("student", 6)]
    assert all(one.is_best for one in pair.values())
    # each is the network of its own best epoch, bit for bit what it would be without a word about patience
    assert pair["control"].model.fingerprint() == after[2]["control"].model.fingerprint()
    assert pair["student"].model.fingerprint() == after[5]["student"].model.fingerprint()
    losses = {name: [record["loss"] for record in one.history] for name, one in free.items()}
    assert [record["loss"] for record in pair["student"].history] == losses["student"]
    assert [record["loss"] for record in pair["control"].history] == losses["control"][:4]
    assert pair["control"].seconds < pair["student"].seconds


def test_what_becomes_of_a_network_that_has_stopped_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is carried along, and may explode."""
    original = loop.steps

    def broken(*arguments: Any, **options: Any) -> Iterator[tuple[Array, int]]:
        for epoch, (losses, size) in enumerate(original(*arguments, **options), start=1):  # an epoch of one batch
            if epoch > 4:
                losses[:, 0] = np.nan
            yield losses, size

    monkeypatch.setattr(train, "steps", broken)
    scripted(monkeypatch, ["control", "student"])
    plan, rows, answers = digits(patience=2, epochs=6, batch_size=1000)
    pair = fit({"control": LABELS_ONLY, "student": plan.terms}, (plan, rows, answers))
    assert [len(one.history) for one in pair.values()] == [4, 6]
    assert np.isfinite([record["loss"] for record in pair["control"].history]).all()


def test_training_ends_when_the_last_network_has_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    original = loop.steps

    def counted(*arguments: Any, **options: Any) -> Iterator[tuple[Array, int]]:
        for losses, size in original(*arguments, **options):
            taken.append(len(losses))
            yield losses, size

    monkeypatch.setattr(train, "steps", counted)
    monkeypatch.setitem(SCRIPT, "student", [1.0, 2.0, 3.0])
    scripted(monkeypatch, ["control", "student"])
    plan, rows, answers = digits(patience=2, epochs=100)
    pair = fit({"control": LABELS_ONLY, "student": plan.terms}, (plan, rows, answers))
    assert [len(one.history) for one in pair.values()] == [4, 3]
    assert sum(taken) == 4 * 5


# --- what a network is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stack", [(), (2,)])
def test_initial_weights_have_the_stated_variance(stack: tuple[int, ...]) -> None:
    whole = Vector(MLP((200, 300, 100, 50)).shapes, np.float64, stack=stack)
    whole.flat += 7
    network_of(whole).initialise(whole, np.random.default_rng(0))
    for weights in whole.networks():
        assert {name: w.shape for name, w in weights.views.items()} == {
            "w1": (300, 201),
            "w2": (100, 301),
            "w3": (50, 101),
        }
        for name, variance in (("w1", 2 / 200), ("w2", 2 / 300), ("w3", 1 / 100)):
            assert weights[name][:, :-1].var() == pytest.approx(variance, rel=0.05)
            assert abs(weights[name][:, :-1].mean()) < 0.1 * variance**0.5
            assert not weights[name][:, -1].any(), "the biases"


@pytest.mark.parametrize("sizes", [(3, 2), (3, 4, 2), (7, 5, 4, 3)])
def test_the_count_is_that_of_the_numbers(sizes: tuple[int, ...]) -> None:
    weights = Vector(MLP(sizes).shapes)
    assert weights.flat.size == MLP(sizes).size
    assert len(weights.views) == len(sizes) - 1


def forward(weights: Vector, x: Array) -> Array:  # (N,D) -> (N,M)
    """The textbook's forward pass, row by row."""
    h = x.astype(np.float64)
    for k, w in enumerate(weights.views.values(), start=1):
        h = h @ w[:, :-1].T + w[:, -1]
        h = np.maximum(h, 0) if k < len(weights.views) else h
    return h


@pytest.mark.parametrize("rows", [0, 1, 1023, 1024, 1025, 5000])
def test_every_row_has_its_logits_whatever_the_block(rows: int) -> None:
    weights = Vector(MLP((3, 4, 2)).shapes)
    network_of(weights).initialise(weights, np.random.default_rng(0))
    weights.flat += 0.1
    x = np.random.default_rng(1).normal(size=(rows, 3)).astype(np.float32)
    tape = MLP((3, 4, 2)).tape(weights, weights.like(), 1, rows)
    tape.x[...] = x
    tape.forward(slice(None))(0)
    for found in (network_of(weights).apply(weights, x)[0], tape.z[0].T):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, forward(weights, x), rtol=1e-4, atol=1e-5)


def test_the_teacher_is_listened_to_on_the_rows_that_the_student_sees() -> None:
    plan = config.load({})
    rows = data.load(plan.data, 0.8, 200, 0)
    trained = fit({"teacher": LABELS_ONLY}, (plan.teachers["teacher"], rows, {}))["teacher"]
    heard = sources.from_model("teacher", trained.model)
    answers = compute.compute_outputs(heard, rows.train, [], 512, None).logits
    assert isinstance(rows.train.x, np.ndarray)
    np.testing.assert_allclose(answers, forward(trained.model.weights, rows.train.x), rtol=1e-3, atol=1e-4)


def test_clipping_and_a_lower_rate_are_advice_that_works() -> None:
    assert small(*EXPLODING, "student.learning_rate=0.01", "student.clip=1")["student_val_ce"] < 10


def test_the_formula_names_weights_teacher_and_temperature() -> None:
    assert formula(config.load({}).student.stages) == "0.3 cross_entropy + 0.7 response(teacher, T=4)"
    without = config.load({"distillation": {"alpha": 1, "t_squared": False}}).student.stages
    assert formula(without) == "1 response(teacher, T=4, without T^2)"


def test_the_control_has_the_students_terms_without_the_teachers() -> None:
    assert control_terms(config.load({}).student.terms) == LABELS_ONLY
    assert control_terms(config.load({"distillation": {"alpha": 1}}).student.terms) == LABELS_ONLY
