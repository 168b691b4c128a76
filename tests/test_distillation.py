"""Distillation proper: every term does what it is for, on the digits; and what may move no bit of a student."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

import distill
from conftest import held, network_of, small
from distill import config, data
from distill.config.schema import LABELS_ONLY, Stage, StudentPlan, Term, layer_pairs, stages_of
from distill.config.terms import LOSS_TRAITS
from distill.data.rows import Data, Rows
from distill.nn.features import FEATURES
from distill.nn.losses import LOSSES
from distill.nn.mlp import MLP
from distill.nn.ops import log_softmax, softmax
from distill.nn.vector import Array, Vector
from distill.student import control_stages, control_terms
from distill.student import student_data as seen_by
from distill.system.rng import stream
from distill.teacher import compute, sources
from distill.train import fit as train
from distill.train import loop
from distill.train.adapters import make_adapters
from distill.train.fit import Run, Trained
from distill.train.objective import Objective, weight_at
from distill.train.outputs import TeacherOutputs
from distill.train.threads import Team, team_of

DEEP, OTHER = (24, 16), (20,)  # the hidden layers of the two teachers
SAME, NARROW = [24, 16], [12, 10]  # those of a student with the widths of the first, and of one with others
LABELS = {"loss": "cross_entropy", "weight": 0.5}


def quiet(name: str, record: dict[str, Any]) -> None:
    """Hears and says nothing."""


@cache
def taught() -> tuple[Data, dict[str, TeacherOutputs]]:
    """321 training rows of the digits (ten batches of 32 and a row), and what two trained teachers say of them."""
    rows = data.load(config.load({}).data, 0.8, 401, 0)
    answers = {}
    for seed, (name, hidden) in enumerate({"deep": DEEP, "other": OTHER}.items()):
        plan = config.load({"teachers": {"teacher": {"hidden": list(hidden), "epochs": 8}}}).teachers["teacher"]
        courses = {"teacher": stages_of(plan, LABELS_ONLY)}
        model = train.fit(courses, plan, rows, {}, Run(seed, quiet), "teacher")["teacher"].model
        layers = list(range(len(hidden) + 1))
        answers[name] = compute.compute_outputs(sources.from_model(name, model), rows.train, layers, 512, None)
    return rows, answers


def student(terms: Sequence[Mapping[str, Any]] = (LABELS,), **keys: Any) -> StudentPlan:
    """A student's plan as the configuration gives it; a term's teacher is `deep` unless it names another."""
    listed = [
        dict(one) | ({"teacher": "deep"} if LOSS_TRAITS[one["loss"]].needs_teacher and "teacher" not in one else {})
        for one in terms
    ]
    everyone = {"loss": "response", "teacher": ["deep", "other"], "weight": 0}  # so that no teacher goes unheard
    plan = {
        "teachers": {"deep": {"hidden": list(DEEP)}, "other": {"hidden": list(OTHER)}},
        "student": {"hidden": SAME, "epochs": 2, "terms": [*listed, everyone]} | keys,
    }
    found = config.load(plan).student
    return dataclasses.replace(
        found, stages=tuple(dataclasses.replace(stage, terms=stage.terms[: len(listed)]) for stage in found.stages)
    )


def fit(
    plan: StudentPlan,
    courses: Mapping[str, Sequence[Stage]] | None = None,
    rows: Data | None = None,
    answers: Mapping[str, TeacherOutputs] | None = None,
    threads: int = 1,
    **more: Any,
) -> dict[str, Trained]:
    """Train the plan's student, or these courses."""
    known, said = taught()
    run = Run(0, quiet, threads)
    return train.fit(courses or {"student": plan.stages}, plan, rows or known, answers or said, run, "student", **more)


def alone(plan: StudentPlan, **more: Any) -> Trained:
    return fit(plan, **more)["student"]


def bits(one: Trained) -> tuple[bytes, bytes, list[dict[str, Any]]]:
    """Everything that training left."""
    return one.model.weights.flat.tobytes(), one.adapters.flat.tobytes(), one.history


def losses(one: Trained) -> list[float]:
    return [record["loss"] for record in one.history]


def adapted(one: Trained, x: Array, t: int, s: int, name: str = "deep") -> Array:
    """The student's layer s on rows x, through its adapter to the teacher's layer t where there is one."""
    h = x if s == 0 else one.model.outputs(x, [s])[1][s]
    found = one.adapters.views.get(f"{name}.{t}-{s}")
    return h if found is None else h @ found[:, :-1].T + found[:, -1]


# --- each term alone lowers its own measure ---------------------------------------------------------------------------

# What a loss on logits is trained with, if not with what the configuration gives it.
ON_LOGITS: list[dict[str, Any]] = [
    *({"loss": name} for name in LOSSES),
    {"loss": "cross_entropy", "smoothing": 0.3},
    {"loss": "response", "temperature": 1.0},
    {"loss": "response", "t_squared": False, "weight": 16},
    {"loss": "soft_cross_entropy", "temperature": 2.0, "teacher": ["deep", "other"]},
    {"loss": "reverse_kl", "temperature": 1.0, "teacher": {"deep": 1, "other": 3}, "combine": "logits"},
    {"loss": "jensen_shannon", "beta": 0.1},
    {"loss": "decoupled", "others": 1.0, "temperature": 1.0},
    {"loss": "dist", "inter": 0.0},
]
ON_LAYERS: list[dict[str, Any]] = [
    *({"loss": name} | ({"margin": 0.0} if name == "novelty" else {}) for name in FEATURES),
    {"loss": "hint", "layers": {2: 1}},
    {"loss": "cosine", "layers": {1: 2, 2: 2}},
    {"loss": "contrast", "layers": {0: 1}},
    {"loss": "hint", "layers": {0: 2}},
    {"loss": "similarity", "layers": {2: 1}},
]
CASES = [(term, SAME) for term in ON_LOGITS] + [(term, hidden) for term in ON_LAYERS for hidden in (SAME, NARROW)]


def measure(term: Term, one: Trained) -> float:
    """The term's own loss on all training rows by its pure function, batch by batch as they stand, in float64."""
    rows, answers = taught()
    x, y = held(rows.train), rows.train.y
    options = {key: value for key, value in term.options.items() if key not in ("combine", "layers")}
    found = []
    for start in range(0, 320, 32):
        batch = slice(start, start + 32)
        if term.layered:
            pairs = layer_pairs(term.options["layers"], 2, 2)
            layers = answers["deep"].layers
            found += [
                FEATURES[term.loss](adapted(one, x[batch], t, s), np.asarray(layers[t][batch]), None, **options)[0]
                for t, s in pairs
            ]
        else:
            z = one.model.outputs(x[batch])[0].astype(np.float64)
            found.append(LOSSES[term.loss](z, together(term, answers, batch), y[batch], **options)[0])
    return float(np.mean(found))


def together(term: Term, answers: Mapping[str, TeacherOutputs], batch: Any) -> Array | None:
    """What the term's teachers say of some rows: the textbook's ensemble, in float64."""
    said = [(share, answers[name].logits[batch].astype(np.float64)) for name, share in term.teachers]
    t = term.options.get("temperature", 1.0)
    if len(said) < 2:
        return said[0][1] if said else None
    by_logits = term.options["combine"] == "logits"
    mean: Array = np.sum([share * (z if by_logits else softmax(z, t)) for share, z in said], axis=0)
    return mean if by_logits else t * np.log(mean)


def least(term: Term) -> float:
    """The least value of a loss that cannot be 0: the entropy of its targets."""
    everyone = slice(0, 320)
    if term.loss == "cross_entropy":
        smoothing = term.options["smoothing"]
        p = np.full(10, smoothing / 10)
        p[0] += 1 - smoothing
        return -float((p[p > 0] * np.log(p[p > 0])).sum())
    if term.loss == "soft_cross_entropy":
        said = together(term, taught()[1], everyone)
        assert said is not None
        return LOSSES["soft_cross_entropy"](said, said, **{k: term.options[k] for k in ("temperature", "t_squared")})[0]
    return 0.0


def lowers_its_own_measure(keys: Mapping[str, Any], hidden: Sequence[int]) -> None:
    """Train a student on one term alone: what that term measures falls to half or less of what it may fall by."""
    before, after = (alone(student([keys], hidden=list(hidden), epochs=epochs)) for epochs in (0, 15))
    (term,) = student([keys], hidden=list(hidden)).terms
    floor = least(term)
    first, last = measure(term, before) - floor, measure(term, after) - floor
    assert first > 0.001, "a measure that costs nothing from the start proves nothing"
    assert -1e-6 <= last <= first / 2
    reported = losses(after)
    assert reported[-1] - term.weight * floor < (reported[0] - term.weight * floor)
    assert np.isfinite(reported).all()


@pytest.mark.parametrize(
    ("keys", "hidden"), CASES, ids=lambda one: "-".join(map(str, one.values() if isinstance(one, dict) else one))
)
def test_a_term_alone_lowers_its_own_measure_by_half(keys: dict[str, Any], hidden: list[int]) -> None:
    lowers_its_own_measure(keys, hidden)


def test_every_loss_is_trained_alone_and_is_a_term_that_a_configuration_can_name() -> None:
    assert {keys["loss"] for keys, _ in CASES} == {*LOSSES, *FEATURES} == LOSS_TRAITS.keys()
    assert not LOSSES.keys() & FEATURES.keys()
    for name in FEATURES:
        assert {tuple(hidden) for keys, hidden in CASES if keys["loss"] == name} == {tuple(SAME), tuple(NARROW)}


def closeness(one: Trained, t: int, s: int) -> Array:
    """The cosine of each row's student features, through their adapter, with the teacher's."""
    rows, answers = taught()
    ours, theirs = adapted(one, held(rows.train), t, s), np.asarray(answers["deep"].layers[t])
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return np.divide((ours * theirs).sum(axis=1), norms, out=np.zeros(len(norms)), where=norms > 0)


@pytest.mark.parametrize("hidden", [SAME, NARROW], ids=["as wide", "through an adapter"])
@pytest.mark.parametrize("loss", ["hint", "cosine", "contrast"])
def test_what_pulls_brings_the_features_nearer_to_the_teachers(loss: str, hidden: list[int]) -> None:
    before, after = (alone(student([{"loss": loss}], hidden=hidden, epochs=epochs)) for epochs in (0, 8))
    for layer in (1, 2):
        assert closeness(after, layer, layer).mean() > closeness(before, layer, layer).mean() + 0.1
    said = student([{"loss": loss}], hidden=hidden).terms[0]
    assert measure(said, after) < measure(said, before)


@pytest.mark.parametrize("hidden", [SAME, NARROW], ids=["as wide", "through an adapter"])
def test_novelty_pushes_every_row_down_to_its_margin_and_no_further(hidden: list[int]) -> None:
    keys: dict[str, Any] = {"loss": "novelty", "margin": 0.2, "layers": {1: 1}}
    slowly = {"hidden": hidden, "optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.3}
    before, after = (alone(student([keys], epochs=epochs, **slowly)) for epochs in (0, 40))
    near, away = (closeness(one, 1, 1) for one in (before, after))
    (term,) = student([keys], **slowly).terms
    assert near.max() > 0.5, "a start from which there is something to lower"
    assert 0 <= measure(term, after) <= measure(term, before) / 2
    assert away.mean() < near.mean()
    assert 0.2 - 0.02 < away.max() < 0.2 + 0.01, "the last row that is pushed ends at the margin"


def test_novelty_below_its_margin_moves_nothing() -> None:
    plan = student([{"loss": "novelty", "margin": 0.99}], hidden=NARROW)
    start = alone(
        dataclasses.replace(plan, epochs=0, stages=stages_of(dataclasses.replace(plan, epochs=0), plan.terms))
    )
    assert bits(alone(plan))[:2] == bits(start)[:2]
    assert losses(alone(plan)) == [0.0, 0.0]


# --- adapters ---------------------------------------------------------------------------------------------------------


def made(*terms: Mapping[str, Any], hidden: Sequence[int] = NARROW) -> Vector:
    """The adapters of a student of the digits with these terms."""
    plan = student(terms, hidden=list(hidden))
    return make_adapters(plan.every_term, taught()[1], MLP((64, *hidden, 10)), stream(0, "student adapters"))


@pytest.mark.parametrize("loss", sorted(FEATURES))
def test_an_adapter_stands_where_units_are_compared_and_widths_differ(loss: str) -> None:
    assert made({"loss": loss}, hidden=SAME).shapes == {}
    expected = {"deep.1-1": (24, 13), "deep.2-2": (16, 11)} if LOSS_TRAITS[loss].same_units else {}
    assert made({"loss": loss}).shapes == expected
    assert made({"loss": loss}, hidden=[24, 10]).shapes == {k: v for k, v in expected.items() if k == "deep.2-2"}


def test_adapters_are_named_by_teacher_and_layers_and_shared_by_all_losses_on_a_pair() -> None:
    found = made(
        {"loss": "hint", "layers": {2: 1}},
        {"loss": "cosine", "layers": {2: 1, 0: 2}},
        {"loss": "attention", "teacher": "other", "layers": {1: 1}},
        {"loss": "similarity", "layers": {1: 2}},
    )
    assert found.shapes == {"deep.0-2": (64, 11), "deep.2-1": (16, 13), "other.1-1": (20, 13)}


def test_a_term_of_weight_0_makes_no_adapter() -> None:
    assert made(LABELS, {"loss": "hint", "weight": 0}).shapes == {}
    assert made({"loss": "hint", "weight": 0, "final_weight": 1}).shapes.keys() == {"deep.1-1", "deep.2-2"}


def test_an_adapter_starts_with_a_variance_of_one_over_its_width_and_no_bias() -> None:
    found = made({"loss": "hint", "layers": {1: 1, 2: 2, 0: 0}}, hidden=[400, 300])
    assert found.shapes == {"deep.1-1": (24, 401), "deep.2-2": (16, 301)}
    for view in found.views.values():
        assert view[:, :-1].var() == pytest.approx(1 / (view.shape[1] - 1), rel=0.1)
        assert abs(view[:, :-1].mean()) < 0.1 / view.shape[1] ** 0.5
        assert not view[:, -1].any()
    assert found["deep.1-1"].tobytes() == made({"loss": "cosine", "layers": {1: 1}}, hidden=[400, 300])[
        "deep.1-1"
    ].tobytes()  # fmt: skip


def test_an_adapter_has_the_same_numbers_in_whatever_order_the_terms_stand() -> None:
    terms = [{"loss": "hint", "layers": {2: 1}}, {"loss": "cosine", "teacher": "other", "layers": {1: 2, 0: 1}}]
    one, other = made(*terms), made(*reversed(terms))
    assert one.shapes == other.shapes
    assert one.flat.tobytes() == other.flat.tobytes()
    rng, (first, *_) = stream(0, "student adapters"), one.views
    expected = (rng.standard_normal((16, 12)) / 12**0.5).astype(np.float32)
    assert first == "deep.2-1"
    np.testing.assert_allclose(one[first][:, :-1], expected, rtol=1e-6)


def test_adapters_learn_with_the_student_and_belong_to_one_network_only() -> None:
    plan = student([{"loss": "hint"}], hidden=NARROW)
    pair = fit(plan, {"control": control_stages(plan.stages), "student": plan.stages, "twin": plan.stages})
    assert pair["control"].adapters.flat.size == 0
    assert bits(pair["student"]) == bits(pair["twin"])
    first = made({"loss": "hint"})
    for name, view in pair["student"].adapters.views.items():
        assert np.abs(view - first[name]).max() > 0.01
    with pytest.raises(ValueError, match="read-only"):
        pair["student"].adapters.flat[0] = 1


def test_novelty_does_not_move_its_adapter_which_would_be_a_way_out() -> None:
    plan = student([{"loss": "novelty", "margin": 0.0}], hidden=NARROW)
    one = alone(plan)
    assert one.adapters.flat.tobytes() == made({"loss": "novelty"}).flat.tobytes()
    beside = alone(student([{"loss": "novelty", "margin": 0.0}, {"loss": "hint"}], hidden=NARROW))
    assert (beside.adapters.flat != one.adapters.flat).any()


def test_adapters_are_no_part_of_the_model() -> None:
    plan = student([{"loss": "hint"}], hidden=NARROW)
    assert alone(plan).model.n_parameters == MLP((64, *NARROW, 10)).size == alone(student(hidden=NARROW, terms=[
        {"loss": "cross_entropy"}])).model.n_parameters  # fmt: skip


# --- the loop against a textbook's ------------------------------------------------------------------------------------

SHARES = {"constant": lambda e: 0.0, "linear": lambda e: e, "cosine": lambda e: (1 - np.cos(np.pi * e)) / 2}


def textbook(
    plan: StudentPlan, rows: Data, answers: Mapping[str, TeacherOutputs]
) -> tuple[list[float], Array, dict[str, Array]]:
    """Losses, weights and adapters by plain descent in float64, one term and one layer after the other."""
    sizes = (rows.features, *plan.hidden, len(rows.classes))
    start = Vector(MLP(sizes).shapes)
    network_of(start).initialise(start, stream(0, "student weights"))
    w = [view.astype(np.float64) for view in start.views.values()]
    first = make_adapters(plan.every_term, answers, MLP(sizes), stream(0, "student adapters"))
    maps = {name: view.astype(np.float64) for name, view in first.views.items()}
    order, reported, n = stream(0, "student batches"), [], len(rows.train)
    for stage in plan.stages:
        for epoch in range(stage.epochs):
            shuffled, total = order.permutation(n), 0.0
            for at in range(0, n, plan.batch_size):
                batch = shuffled[at : at + plan.batch_size]
                share = epoch / (stage.epochs - 1) if stage.epochs > 1 else 0.0
                total += len(batch) * textbook_step(stage, share, w, maps, rows.train, answers, batch)
            reported.append(total / n)
    return reported, np.concatenate([one.ravel() for one in w]), maps


def textbook_step(
    stage: Stage,
    share: float,
    w: list[Array],
    maps: dict[str, Array],
    rows: Rows,
    answers: Mapping[str, TeacherOutputs],
    batch: Array,
) -> float:
    h, y = [held(rows)[batch].astype(np.float64)], rows.y[batch]
    for k, layer in enumerate(w, start=1):
        z = h[-1] @ layer[:, :-1].T + layer[:, -1]
        h.append(np.maximum(z, 0) if k < len(w) else z)
    down, slopes, total = [np.zeros_like(one) for one in h], {name: np.zeros_like(a) for name, a in maps.items()}, 0.0
    for term in stage.terms:
        weight = term.weight
        if term.final_weight is not None:
            weight += SHARES[term.weight_schedule](share) * (term.final_weight - term.weight)
        options = {key: value for key, value in term.options.items() if key not in ("combine", "layers")}
        if not term.layered:
            value, slope = LOSSES[term.loss](h[-1], together(term, answers, batch), y, **options)
            total, down[-1] = total + weight * value, down[-1] + weight * slope
            continue
        name = term.teachers[0][0]
        pairs = layer_pairs(term.options["layers"], answers[name].depth, len(w) - 1)
        for t, s in pairs if weight else ():
            theirs, ours, part = answers[name].layers[t][batch].astype(np.float64), h[s], weight / len(pairs)
            via = maps.get(f"{name}.{t}-{s}") if LOSS_TRAITS[term.loss].same_units else None
            seen = ours if via is None else ours @ via[:, :-1].T + via[:, -1]
            value, slope = FEATURES[term.loss](seen, theirs, None, **options)
            total += part * value
            if via is not None and term.loss != "novelty":
                slopes[f"{name}.{t}-{s}"] += part * np.column_stack([slope.T @ ours, slope.sum(axis=0)])
            down[s] += part * (slope if via is None else slope @ via[:, :-1])
    d = down[-1]
    for k in reversed(range(len(w))):
        gradient = np.column_stack([d.T @ h[k], d.sum(axis=0)])
        d = (d @ w[k][:, :-1] + down[k]) * (h[k] > 0)
        if stage.train is None or k + 1 in stage.train:
            w[k] -= stage.learning_rate * gradient
    for name, slope in slopes.items():
        maps[name] -= stage.learning_rate * slope
    return total


RECIPES: dict[str, list[dict[str, Any]]] = {
    **{name: [LABELS, {"loss": name, "weight": 0.3}] for name in LOSS_TRAITS if name != "cross_entropy"},
    "smoothed labels": [{"loss": "cross_entropy", "smoothing": 0.2}],
    "two temperatures": [LABELS, {"loss": "response", "temperature": 2}, {"loss": "reverse_kl", "temperature": 1}],
    "an ensemble by probabilities": [{"loss": "reverse_kl", "teacher": {"deep": 1, "other": 2}, "weight": 0.2}],
    "an ensemble by logits": [{"loss": "logit_mse", "teacher": ["deep", "other"], "combine": "logits", "weight": 0.01}],
    "a folded ensemble": [{"loss": "response", "teacher": {"deep": 3, "other": 1}, "weight": 0.2}],
    "a map": [LABELS, {"loss": "hint", "weight": 0.1, "layers": {0: 2, 1: 1, 2: 2}}],
    "two on one pair": [{"loss": "hint", "weight": 0.1}, {"loss": "cosine"}, {"loss": "novelty", "margin": -0.5}],
    "one that needs an adapter beside one that needs none": [{"loss": "hint", "weight": 0.1}, {"loss": "similarity"}],
    "two teachers' layers": [{"loss": "hint", "weight": 0.1}, {"loss": "cosine", "teacher": "other"}],
    "the input": [{"loss": "hint", "weight": 0.1, "layers": {0: 1, 1: 0}}],
    "weights that move": [
        {"loss": "cross_entropy", "weight": 0, "final_weight": 1},
        {"loss": "response", "weight": 0.2, "final_weight": 0, "weight_schedule": "cosine"},
        {"loss": "hint", "weight": 0, "final_weight": 0.3},
        {"loss": "reverse_kl", "weight": 0.1, "final_weight": 0.4, "weight_schedule": "constant"},
    ],
}


def assert_the_textbooks(plan: StudentPlan, rows: Data | None = None) -> None:
    seen = rows or taught()[0]
    one = alone(plan, rows=rows)
    expected, weights, maps = textbook(plan, seen, taught()[1])
    np.testing.assert_allclose(losses(one), expected, rtol=2e-4)
    np.testing.assert_allclose(one.model.weights.flat, weights, rtol=1e-2, atol=2e-4)
    assert one.adapters.views.keys() == maps.keys()
    for name, view in one.adapters.views.items():
        np.testing.assert_allclose(view, maps[name], rtol=1e-2, atol=2e-4)


PLAINLY = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.02, "hidden": NARROW, "epochs": 3}


@pytest.mark.parametrize("terms", RECIPES.values(), ids=RECIPES)
def test_training_is_the_textbooks(terms: list[dict[str, Any]]) -> None:
    """The last batch of every epoch has a single row."""
    assert_the_textbooks(student(terms, **PLAINLY))


@pytest.mark.parametrize("batch_size", [1, 2, 64, 107, 1000])
def test_training_is_the_textbooks_whatever_the_batch(batch_size: int) -> None:
    terms = [LABELS, {"loss": "decoupled", "weight": 0.05}, {"loss": "contrast", "weight": 0.1}]
    keys = {"batch_size": batch_size, "learning_rate": 0.005, "epochs": 1 if batch_size == 1 else 2}
    assert_the_textbooks(student(terms, **PLAINLY | keys))


def test_training_is_the_textbooks_stage_by_stage() -> None:
    stages = [
        {"epochs": 2, "train": [1], "terms": [{"loss": "hint", "weight": 0.2, "layers": {1: 1}, "teacher": "deep"}]},
        {"epochs": 0, "terms": [{"loss": "cross_entropy"}]},
        {"epochs": 1, "train": [2, 3], "learning_rate": 0.05, "terms": [{"loss": "reverse_kl", "teacher": "deep"}]},
        {
            "epochs": 3,
            "terms": [LABELS, {"loss": "cosine", "teacher": "other", "weight": 0.3, "final_weight": 0}],
        },
    ]
    keys = {key: value for key, value in PLAINLY.items() if key != "epochs"}
    plan = config.load(
        {
            "distillation": {"learning_rate": 0.02},
            "teachers": {"deep": {"hidden": list(DEEP)}, "other": {"hidden": list(OTHER)}},
            "student": keys | {"stages": stages},
        }
    ).student
    assert [len(stage.terms) for stage in plan.stages] == [1, 1, 1, 2]
    assert_the_textbooks(plan)


@pytest.mark.parametrize("labels", [0, 1, 100])
def test_training_is_the_textbooks_where_rows_have_no_label(labels: int) -> None:
    known = taught()[0]
    y = known.train.y.copy()
    y[np.random.default_rng(0).permutation(len(y))[labels:]] = -1
    rows = dataclasses.replace(known, train=dataclasses.replace(known.train, y=y))
    terms: list[dict[str, Any]] = [
        LABELS,
        {"loss": "decoupled", "weight": 0.05},
        {"loss": "contrast", "weight": 0.1},
        {"loss": "response", "weight": 0.1},
    ]
    assert_the_textbooks(student(terms, **PLAINLY | {"epochs": 2}), rows)


def test_rows_without_a_label_are_learned_from_by_terms_with_a_teacher() -> None:
    """Two rows in three have none, and they are what differs."""
    known = taught()[0]
    y = np.where(np.arange(len(known.train)) % 3 > 0, -1, known.train.y)
    rows = dataclasses.replace(known, train=dataclasses.replace(known.train, y=y))
    x = held(rows.train).copy()
    x[y < 0] = 0
    blank = dataclasses.replace(rows, train=dataclasses.replace(rows.train, x=x))
    for loss in ("response", "reverse_kl", "hint", "contrast", "relation_distance"):
        plan = student([LABELS, {"loss": loss}])
        assert bits(alone(plan, rows=rows))[0] != bits(alone(plan, rows=blank))[0], loss


# --- folded and live --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [
        {"temperature": 1},
        {"temperature": 4},
        {"temperature": 20, "t_squared": False, "weight": 100},
        {"teacher": {"deep": 1, "other": 3}},
        {"teacher": ["deep", "other"], "combine": "logits"},
        {"weight": 0, "final_weight": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("loss", ["response", "soft_cross_entropy"])
def test_a_term_that_folds_is_the_same_when_it_is_computed_live(
    loss: str, keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = student([LABELS, {"loss": loss} | keys], optimizer="sgd", momentum=0.5)
    folded = alone(plan)
    traits = dataclasses.replace(LOSS_TRAITS[loss], precomputable=False)
    monkeypatch.setitem(LOSS_TRAITS, loss, traits)
    assert len(Objective([plan.terms], taught()[0].train.y, taught()[1], 10).per_batch) == 1
    live = alone(plan)
    np.testing.assert_allclose(losses(live), losses(folded), rtol=1e-5)
    np.testing.assert_allclose(live.model.weights.flat, folded.model.weights.flat, rtol=1e-3, atol=1e-5)


def test_which_terms_fold() -> None:
    terms = [student([{"loss": name}]).terms[0] for name in LOSS_TRAITS]
    rows, answers = taught()
    found = {noisy: Objective([terms], rows.train.y, answers, 10, noisy=noisy).per_batch for noisy in (False, True)}
    folded = {noisy: {*LOSS_TRAITS} - {term.loss for _, term in live} for noisy, live in found.items()}
    assert folded == {False: {"cross_entropy", "response", "soft_cross_entropy"}, True: {"cross_entropy"}}


# --- what may move no bit ---------------------------------------------------------------------------------------------

EVERY = [
    LABELS,
    {"loss": "response", "weight": 0.4},
    {"loss": "reverse_kl", "weight": 0.2, "teacher": ["deep", "other"]},
    {"loss": "decoupled", "weight": 0.05},
    {"loss": "dist", "weight": 0.1},
    {"loss": "hint", "weight": 0.1},
    {"loss": "contrast", "weight": 0.1, "teacher": "other"},
    {"loss": "relation_distance", "weight": 0.3},
    {"loss": "novelty", "weight": 0.3, "margin": 0.1},
]


@pytest.mark.parametrize("loss", sorted(LOSS_TRAITS))
def test_a_term_of_weight_0_moves_no_bit(loss: str) -> None:
    keys = {"hidden": NARROW, "epochs": 1}
    plain = alone(student([LABELS], **keys))
    for zero in ({"weight": 0}, {"weight": 0, "final_weight": 0}):
        assert bits(alone(student([LABELS, {"loss": loss} | zero], **keys))) == bits(plain)
        assert bits(alone(student([{"loss": loss} | zero, LABELS], **keys))) == bits(plain)


def shuffled_answers() -> dict[str, TeacherOutputs]:
    """Teachers who say the same things of other rows."""
    turn = np.random.default_rng(5).permutation(321)
    return {
        name: dataclasses.replace(one, logits=one.logits[turn], layers={k: h[turn] for k, h in one.layers.items()})
        for name, one in taught()[1].items()
    }


@pytest.mark.parametrize("batch_size", [1, 5, 32, 1000])
def test_alpha_0_ignores_the_teacher_along_the_whole_training(batch_size: int) -> None:
    terms = [{"loss": "cross_entropy", "weight": 1}, {"loss": "response", "weight": 0}]
    plan = student(terms, batch_size=batch_size)
    found = [alone(plan), alone(plan, answers=shuffled_answers()), alone(plan, answers={"other": taught()[1]["other"]})]
    control = fit(plan, {"control": control_stages(plan.stages)})["control"]
    assert bits(found[0]) == bits(found[1]) == bits(found[2]) == bits(control)


@pytest.mark.parametrize("batch_size", [8, 32, 1000])
@pytest.mark.parametrize(
    "terms",
    [
        [{"loss": "response"}],
        [{"loss": "response", "weight": 1}, {"loss": "cross_entropy", "weight": 0}],
        [{"loss": "reverse_kl"}],
        [{"loss": "hint"}],
        [{"loss": "contrast", "weight": 0.1}, {"loss": "dist"}],
    ],
    ids=lambda terms: "-".join(term["loss"] for term in terms),
)
def test_alpha_1_ignores_the_labels_along_the_whole_training(terms: list[dict[str, Any]], batch_size: int) -> None:
    plan, known = student(terms, batch_size=batch_size), taught()[0]
    turned = dataclasses.replace(known, train=dataclasses.replace(known.train, y=known.train.y[::-1].copy()))
    unknown = dataclasses.replace(known, train=dataclasses.replace(known.train, y=np.full(321, -1)))
    one, *others = (alone(plan, rows=rows) for rows in (known, turned, unknown))
    assert [bits(other) for other in others] == [bits(one)] * 2
    assert bits(alone(plan, answers=shuffled_answers()))[0] != bits(one)[0]


def test_alpha_0_and_1_through_the_command_lines_path() -> None:
    """Nothing of the teacher in the one, nothing of the labels in the other: histories, weights, all figures."""
    zero, other = (small("distillation.alpha=0", f"distillation.teacher_epochs={epochs}") for epochs in (3, 4))
    assert zero["history"]["student"] == zero["history"]["control"] == other["history"]["student"]
    assert zero.student.fingerprint() == other.student.fingerprint() == zero.control.fingerprint()
    one, noisy = (small("distillation.alpha=1", f"student.label_noise={share}") for share in (0, 0.9))
    assert one["history"]["student"] == noisy["history"]["student"]
    assert one.student.fingerprint() == noisy.student.fingerprint()
    assert one.control.fingerprint() != noisy.control.fingerprint()


CONTROLS: dict[str, list[dict[str, Any]]] = {
    "one on logits": [LABELS, {"loss": "dist"}],
    "several temperatures": [LABELS, {"loss": "response", "temperature": 1}, {"loss": "response", "temperature": 9}],
    "hidden layers": [LABELS, {"loss": "hint"}, {"loss": "relation_distance"}],
    "weights that move": [LABELS, {"loss": "response", "weight": 1, "final_weight": 0}],
    "no labels": [{"loss": "contrast"}],
    "everything": EVERY,
}


@pytest.mark.parametrize("keys", [{}, {"batch_size": 8, "epochs": 1}, {"clip": 0.3}, {"optimizer": "sgd"}], ids=str)
def test_nothing_of_the_students_terms_or_stages_moves_a_bit_of_the_control(keys: dict[str, Any]) -> None:
    keys = {"hidden": NARROW} | keys
    plain = bits(fit(student([LABELS], **keys), {"control": stages_of(student(**keys), LABELS_ONLY)})["control"])
    for name, terms in CONTROLS.items():
        plan = student(terms, **keys)
        for train_only in (None, (1,), (3,)):
            stages = tuple(dataclasses.replace(stage, train=train_only) for stage in plan.stages)
            pair = fit(plan, {"control": control_stages(stages), "student": stages})
            assert bits(pair["control"]) == plain, (name, train_only)


def test_nor_do_peers_nor_the_order_of_the_networks() -> None:
    plan = student([LABELS, {"loss": "hint"}], hidden=NARROW)
    control = control_stages(plan.stages)
    plain = bits(fit(plan, {"control": control})["control"])
    peers = Term("response", 1.0, (("peers", 1.0),), {"temperature": 2.0, "t_squared": True})
    stages = tuple(dataclasses.replace(stage, terms=(*stage.terms, peers)) for stage in plan.stages)
    three = {"control": control, "student": stages, "peer1": stages, "peer2": stages}
    for courses in (three, dict(reversed(three.items()))):
        found = fit(plan, courses, peers=["student", "peer1", "peer2"])
        assert bits(found["control"]) == plain
        assert len({bits(found[name])[0] for name in ("student", "peer1", "peer2")}) == 3


def test_the_control_of_a_whole_run_is_one_network_whatever_it_is_compared_to() -> None:
    runs = [
        small(),
        small(student={"terms": [{"loss": "cross_entropy"}, {"loss": "hint"}, {"loss": "dist"}]}),
        small(student={"stages": [{"epochs": 2, "train": [1], "terms": [{"loss": "contrast"}]}]}),
        small(student={"peers": 2, "terms": [{"loss": "cross_entropy"}, {"loss": "response", "teacher": "peers"}]}),
        small("distillation.alpha=1", "distillation.temperature=9"),
    ]
    assert len({one.control.fingerprint() for one in runs}) == 1
    assert len({str(one["history"]["control"]) for one in runs}) == 1
    assert len({one.student.fingerprint() for one in runs}) == len(runs)


def in_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every step one that is shared: its rows in groups of about 3, its weights in blocks of about 10."""
    monkeypatch.setattr(loop, "SHARED_WORK", 0)
    monkeypatch.setattr("distill.nn.mlp.SHARD_ROWS", 3)
    monkeypatch.setattr("distill.nn.mlp.SHARED_NUMBERS", 10)
    monkeypatch.setattr(train, "team_of", partial(team_of, paced=False))


class Counted(Team):
    """Counts the runs that its helpers had a part in."""

    runs = 0

    def run(self, function: Any, jobs: Any) -> None:
        """As every team."""
        Counted.runs += self.is_sharing
        super().run(function, jobs)


SMALLEST = {"hidden": [12, 10], "epochs": 1}


@pytest.mark.parametrize("keys", [{}, {"clip": 0.2}, {"optimizer": "sgd", "weight_decay": 0.01}], ids=str)
def test_the_number_of_threads_changes_no_bit_with_live_terms(
    keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_shards(monkeypatch)
    monkeypatch.setattr("distill.train.threads.Team", Counted)
    plan, found, runs = student(EVERY, **SMALLEST | keys), [], []
    stages = (dataclasses.replace(plan.stages[0], train=(1, 3)),)
    for threads in (1, 2, 3):
        Counted.runs = 0
        pair = fit(plan, {"control": control_stages(stages), "student": stages}, threads=threads)
        found.append({name: bits(one) for name, one in pair.items()})
        runs.append(Counted.runs)
    assert found[0] == found[1] == found[2]
    assert runs[0] == 0 < runs[1] == runs[2]


@pytest.mark.parametrize(
    ("keys", "shards"),
    [
        ({}, False),
        ({}, True),
        ({"batch_size": 3}, False),
        ({"batch_size": 33, "clip": 0.2}, False),
        ({"batch_size": 33, "clip": 0.2}, True),
    ],
    ids=str,
)
def test_a_network_of_a_stack_is_bit_for_bit_the_one_trained_alone_with_live_terms(
    keys: dict[str, Any], shards: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shards:
        in_shards(monkeypatch)
    plan = student(EVERY, **SMALLEST | keys)
    other = student([LABELS, {"loss": "cosine", "layers": {2: 1}}], **SMALLEST | keys)
    courses = {"control": control_stages(plan.stages), "student": plan.stages, "another": other.stages}
    together = fit(plan, courses)
    for name, stages in courses.items():
        one = fit(plan, {name: stages})[name]
        assert bits(together[name])[:2] == bits(one)[:2], name
        for ours, theirs in zip(together[name].history, one.history, strict=True):
            assert ours == theirs | {"loss": pytest.approx(theirs["loss"], rel=1e-12)}


@pytest.mark.parametrize("batches", [1, 3, 1000])
def test_how_many_batches_are_gathered_at_a_time_changes_no_bit_with_live_terms(
    batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = student(EVERY, **SMALLEST)
    usual = bits(alone(plan))
    monkeypatch.setattr(loop, "GATHERED_BYTES", 0)
    monkeypatch.setattr(loop, "GATHERED_BATCHES", batches)
    assert bits(alone(plan))[:2] == usual[:2]


def test_data_and_answers_on_disk_change_no_bit_with_live_terms() -> None:
    terms = [{"loss": "cross_entropy"}, {"loss": "hint", "layers": {0: 1, 1: 1}}, {"loss": "reverse_kl"}]
    held_in, mapped = (small(f"data.in_memory_mb={mb}", student={"terms": terms}) for mb in (512, 0))
    assert held_in.student.fingerprint() == mapped.student.fingerprint()
    assert held_in["history"] == mapped["history"]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    terms = [{"loss": "cross_entropy"}, {"loss": "hint"}]
    one, again, other = (small(f"distillation.random_seed={seed}", student={"terms": terms}) for seed in (0, 0, 1))
    assert one.student.fingerprint() == again.student.fingerprint() != other.student.fingerprint()


# --- weights that move ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [2.0] * 5),
        ("linear", [2.0, 3.0, 4.0, 5.0, 6.0]),
        ("cosine", [2.0, 4 - 2**0.5, 4.0, 4 + 2**0.5, 6.0]),
    ],
)
def test_a_weight_moves_along_its_schedule(schedule: str, expected: list[float]) -> None:
    term = Term("response", 2.0, final_weight=6.0, weight_schedule=schedule)
    assert [weight_at(term, share / 4) for share in range(5)] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize(("first", "last"), [(0.0, 1.0), (1.0, 0.0), (0.3, 0.7), (1e6, 0.0)])
def test_a_weight_begins_and_ends_where_it_should_and_stays_between(first: float, last: float, schedule: str) -> None:
    term = Term("response", first, final_weight=last, weight_schedule=schedule)
    way = [weight_at(term, share) for share in np.linspace(0, 1, 50)]
    assert (way[0], way[-1]) == (first, pytest.approx(last, rel=1e-12))
    assert (np.diff(way) * np.sign(last - first) > 0).all()
    assert weight_at(term, 0.5) == pytest.approx((first + last) / 2)


def test_a_weight_without_a_final_one_stays() -> None:
    assert {weight_at(Term("response", 0.3, weight_schedule="linear"), share) for share in (0, 0.5, 1)} == {0.3}


@pytest.mark.parametrize("loss", ["cross_entropy", "response", "reverse_kl", "hint"])
def test_a_final_weight_equal_to_the_weight_changes_no_bit(loss: str) -> None:
    plain, moving = (
        student([LABELS, {"loss": loss, "weight": 0.3} | more], hidden=NARROW, epochs=3)
        for more in ({}, {"final_weight": 0.3})
    )
    assert bits(alone(plain)) == bits(alone(moving))


@pytest.mark.parametrize("loss", ["cross_entropy", "response", "reverse_kl", "hint"])
def test_epoch_by_epoch_the_loss_has_the_weights_of_the_schedule(loss: str) -> None:
    """At a rate of next to nothing every epoch's loss is the measure of the initial weights, times the weight."""
    still = {"learning_rate": 1e-30, "batch_size": 1000, "epochs": 5, "hidden": NARROW}
    one = losses(alone(student([{"loss": loss, "weight": 1}], **still)))[0]
    for schedule in ("linear", "cosine"):
        keys = {"loss": loss, "weight": 0, "final_weight": 2, "weight_schedule": schedule}
        found = losses(alone(student([keys], **still)))
        assert found == pytest.approx([2 * SHARES[schedule](epoch / 4) * one for epoch in range(5)], rel=1e-5, abs=1e-9)


def test_a_weight_that_begins_at_0_leaves_the_first_epoch_alone() -> None:
    rising = {"weight": 0, "final_weight": 1}
    for loss in ("response", "dist", "hint"):
        for schedule in ("linear", "cosine"):
            keys = {"loss": loss, "weight_schedule": schedule} | rising
            one = alone(student([LABELS, keys], epochs=2))
            plain = alone(student([LABELS], epochs=2))
            assert one.history[0] == plain.history[0]
            assert one.history[1] != plain.history[1]
            assert bits(alone(student([LABELS, keys], epochs=1)))[0] == bits(alone(student([LABELS], epochs=1)))[0]


def test_a_weight_that_ends_at_0_leaves_the_last_epoch_to_the_others() -> None:
    """The last of two epochs after a common first is the labels' alone."""
    stage = student([LABELS, {"loss": "response", "weight": 1, "final_weight": 0}], epochs=2).stages[0]
    still = dataclasses.replace(stage, learning_rate=1e-30)
    one = fit(student(batch_size=1000), {"student": (still,)})["student"]
    labels = fit(student(batch_size=1000), {"student": (dataclasses.replace(still, terms=stage.terms[:1]),)})["student"]
    assert losses(one)[0] > losses(labels)[0] + 0.1
    assert losses(one)[1] == pytest.approx(losses(labels)[1], rel=1e-6)


def test_weights_move_where_some_rows_have_no_label() -> None:
    known = taught()[0]
    y = np.where(np.arange(321) % 2, -1, known.train.y)
    rows = dataclasses.replace(known, train=dataclasses.replace(known.train, y=y))
    terms = [
        {"loss": "cross_entropy", "weight": 1, "final_weight": 0},
        {"loss": "response", "weight": 0, "final_weight": 0.2},
    ]
    assert_the_textbooks(student(terms, **PLAINLY), rows)


def test_the_weights_of_every_stage_move_over_the_epochs_of_that_stage() -> None:
    stage = student([{"loss": "cross_entropy", "weight": 1, "final_weight": 3}], epochs=3, batch_size=1000).stages[0]
    still = dataclasses.replace(stage, learning_rate=1e-30)
    found = losses(fit(student(batch_size=1000), {"student": (still, dataclasses.replace(still, epochs=2))})["student"])
    assert found == pytest.approx([found[0] * weight for weight in (1, 2, 3, 1, 3)], rel=1e-5)


# --- patience ---------------------------------------------------------------------------------------------------------


def judged(monkeypatch: pytest.MonkeyPatch, script: Sequence[float]) -> None:
    """Let a single network be judged as the script says."""
    left = iter(script)
    monkeypatch.setattr(train, "judge", lambda network, weights, rows: {"accuracy": 0.5, "ce": next(left)})


@pytest.mark.parametrize("terms", [[LABELS, {"loss": "hint"}], EVERY], ids=["hint", "everything"])
def test_the_adapters_of_the_best_epoch_come_back_with_it(
    terms: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"hidden": NARROW, "epochs": 6}
    to_best, last = (alone(student(terms, **keys | {"epochs": epochs})) for epochs in (2, 4))
    judged(monkeypatch, [3.0, 1.0, 2.0, 1.5, 0.0])
    one = alone(student(terms, patience=2, **keys))
    assert (one.best_epoch, len(one.history), one.is_best) == (2, 4, True)
    assert one.model.fingerprint() == to_best.model.fingerprint() != last.model.fingerprint()
    assert one.adapters.flat.tobytes() == to_best.adapters.flat.tobytes() != last.adapters.flat.tobytes()
    assert losses(one) == losses(last)


def test_without_patience_the_last_epochs_adapters_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = student([LABELS, {"loss": "hint"}], hidden=NARROW, epochs=3)
    usual = bits(alone(plan))[:2]
    judged(monkeypatch, [1.0, 2.0, 3.0])
    one = alone(plan)
    assert (bits(one)[:2], one.best_epoch, one.is_best) == (usual, 1, False)


# --- the control's terms ----------------------------------------------------------------------------------------------


def test_the_controls_course_is_the_students_without_its_teachers() -> None:
    plan = student([{"loss": "cross_entropy", "weight": 0.2, "smoothing": 0.1}, {"loss": "hint"}])
    stages = (Stage(3, 0.5, plan.terms, (1,)), Stage(0, 0.25, plan.terms[1:]))
    control = control_stages(stages)
    assert [(one.epochs, one.learning_rate, one.train) for one in control] == [(3, 0.5, None), (0, 0.25, None)]
    assert [one.terms for one in control] == [
        (Term("cross_entropy", 1.0, options={"smoothing": 0.1}),),
        (Term("cross_entropy", 1.0, options={"smoothing": 0.1}),),
    ]
    ahead = control_stages((Stage(1, 0.5, plan.terms[1:]), *stages, Stage(1, 0.5, LABELS_ONLY)))
    smoothing = [one.terms[0].options["smoothing"] for one in ahead]
    assert smoothing == [0.1, 0.1, 0.0, 0.0], "labels are those of the next stage that has some"
    assert [one.terms for one in control_stages((stages[1],))] == [LABELS_ONLY]


def test_the_control_keeps_the_smoothing_of_labels_whose_weight_rises_from_0() -> None:
    """It is the student of the same labels; only the teacher is gone."""
    rising = {"loss": "cross_entropy", "smoothing": 0.2, "weight": 0, "final_weight": 1}
    falling = {"loss": "response", "weight": 1, "final_weight": 0}
    (term,) = control_terms(student([rising, falling]).terms)
    assert term.options == {"smoothing": 0.2}


# --- noise and peers --------------------------------------------------------------------------------------------------


def test_noise_asks_the_teacher_about_the_very_rows_that_the_student_sees() -> None:
    """With rows that are nothing but noise, a student of the teacher's answers agrees with the teacher on noise."""
    terms = [{"loss": "response"}]
    quietly, noisy = (small(student={"terms": terms, "noise": noise, "epochs": 8}) for noise in (0, 1.0))
    x = np.random.default_rng(0).uniform(0, 16, (2000, 64))
    agreement = [(one.student.predict(x) == one.teacher.predict(x)).mean() for one in (quietly, noisy)]
    assert noisy.student.fingerprint() != quietly.student.fingerprint()
    assert agreement[1] > agreement[0]


def test_noise_of_next_to_nothing_is_the_training_without() -> None:
    terms = [{"loss": "cross_entropy"}, {"loss": "response"}, {"loss": "hint"}, {"loss": "reverse_kl"}]
    plain, noisy = (small(student={"terms": terms, "noise": noise}) for noise in (0, 1e-12))
    for name in ("student", "control"):
        ours, theirs = (getattr(one, name).weights.flat for one in (plain, noisy))
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3)


def test_with_noise_the_input_as_a_teachers_layer_is_the_input_with_noise() -> None:
    """Compared with itself it costs nothing."""
    results = small(student={"noise": 0.5, "terms": [{"loss": "hint", "layers": {0: 0}}, LABELS | {"weight": 1e-30}]})
    assert [record["loss"] for record in results["history"]["student"]] == pytest.approx([0, 0], abs=1e-20)


@pytest.mark.parametrize("loss", ["response", "reverse_kl", "logit_mse"])
def test_a_peer_listens_to_all_the_others_as_to_an_ensemble_and_not_to_itself(loss: str) -> None:
    """One step over all rows, in which the others' answers are those of their first weights."""
    keys = {"hidden": NARROW, "optimizer": "sgd", "momentum": 0.0, "batch_size": 1000, "epochs": 1}
    plan = student([LABELS], **keys)
    x, peers = held(taught()[0].train), ["student", "peer1", "peer2"]
    options = {} if loss == "logit_mse" else {"temperature": 2.0, "t_squared": True}
    stages = (dataclasses.replace(plan.stages[0], terms=(Term(loss, 0.3, (("peers", 1.0),), options),)),)
    found = fit(plan, dict.fromkeys(peers, stages), peers=peers)
    said = {}
    for name in peers:
        start = Vector(MLP((64, *NARROW, 10)).shapes)
        network_of(start).initialise(start, stream(0, f"{name} weights"))
        said[name] = TeacherOutputs(network_of(start).apply(start, x)[0], {}, np.arange(len(x)))
    others = Term(loss, 0.3, (("peer1", 0.5), ("peer2", 0.5)), options | {"combine": "probabilities"})
    expected = fit(plan, {"student": (dataclasses.replace(stages[0], terms=(others,)),)}, answers=said)["student"]
    np.testing.assert_allclose(found["student"].model.weights.flat, expected.model.weights.flat, rtol=1e-4, atol=1e-6)
    assert losses(found["student"]) == pytest.approx(losses(expected), rel=1e-5)


def test_peers_come_nearer_to_each_other_than_to_the_control() -> None:
    terms = [{"loss": "cross_entropy", "weight": 0.1}, {"loss": "response", "teacher": "peers", "weight": 3}]
    plan = config.load({"student": {"peers": 1, "epochs": 6, "hidden": [16], "terms": terms}}).student
    rows = taught()[0]
    courses = {"control": control_stages(plan.stages), "student": plan.stages, "peer1": plan.stages}
    found = fit(plan, courses, answers={}, peers=["student", "peer1"])
    said = {name: log_softmax(one.model.outputs(held(rows.train))[0]) for name, one in found.items()}
    apart = {name: float(np.abs(np.exp(said["student"]) - np.exp(said[name])).mean()) for name in ("peer1", "control")}
    assert apart["peer1"] < apart["control"] / 2
    assert found["student"].model.fingerprint() != found["peer1"].model.fingerprint()


# --- a whole run ------------------------------------------------------------------------------------------------------


def test_a_run_with_live_terms_leaves_its_teacher_as_it_was() -> None:
    plain = small()
    one = small(student={"terms": [{"loss": "cross_entropy"}, {"loss": "hint"}, {"loss": "similarity"}]})
    assert one.teacher.fingerprint() == plain.teacher.fingerprint()
    assert one["history"]["teacher"] == plain["history"]["teacher"]


def test_a_student_with_live_terms_sees_its_own_labels_and_rows() -> None:
    """Fewer labels, some of them wrong: what the student is trained on is its view, row by row."""
    plan = config.load({"student": {"labels": 50, "label_noise": 0.2, "terms": [{"loss": "decoupled"}]}})
    rows = data.load(plan.data, 0.8, 200, 0)
    seen = seen_by(plan.student, rows, 0)
    assert (seen.train.y >= 0).sum() == 50
    both = small(student={"labels": 50, "terms": [{"loss": "decoupled"}]})
    dropped = small(student={"labels": 50, "unlabelled": "drop", "terms": [{"loss": "decoupled"}]})
    assert both["data"]["student_rows"] == {"labelled": 50, "unlabelled": 110}
    assert dropped["data"]["student_rows"] == {"labelled": 50, "unlabelled": 0}
    assert both.student.fingerprint() != dropped.student.fingerprint()


def test_a_loss_that_explodes_is_named_with_live_terms_too() -> None:
    terms = [{"loss": "logit_mse", "weight": 1e6}]
    with pytest.raises(distill.DivergedError, match=r"^student: the .*loss is .* epoch \d+.*learning_rate"):
        small(student={"terms": terms, "optimizer": "sgd", "learning_rate": 10, "epochs": 20})
