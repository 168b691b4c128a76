"""Teachers of every kind: trained here, loaded, from Python, together, one after the other, and beside the student."""

import json
import logging
import math
import re
import shutil
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

import distill
from conftest import SMALL, blobs, network_of, small
from distill import config, data
from distill.config.schema import Config, DataPlan, Output
from distill.config.terms import OPTIONS
from distill.data.rows import Data
from distill.data.source import DIGITS
from distill.errors import ConfigError, DataError, DistillError
from distill.model import Model
from distill.nn.ops import combine, softmax
from distill.nn.vector import Array
from distill.teacher import sources
from distill.train.fit import Run
from test_hostile_configs import FUZZ as MANY
from test_hostile_configs import Answer, ask

# Not made smaller: the plans are small, and to make them smaller takes far longer than to find them.
FUZZ = settings(MANY, max_examples=30, phases=[Phase.explicit, Phase.generate])
LABELS = {"loss": "cross_entropy", "weight": 0.5}


@pytest.fixture(autouse=True)
def _workplace(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISTILL_DATA", raising=False)


@pytest.fixture(scope="module")
def rows() -> Data:
    """The rows of the small runs."""
    return data.load(config.load(SMALL).data, 0.8, 200, 0)


@pytest.fixture(scope="module")
def digits() -> tuple[Array, Array]:
    """All digits as their file has them."""
    with np.load(DIGITS) as file:
        return file["X"].reshape(1797, -1), file["y"]


@pytest.fixture
def saved(small_run: distill.Results) -> Model:
    """The teacher of the small run, in teacher.npz too."""
    assert small_run.teacher is not None
    small_run.teacher.save("teacher.npz")
    return small_run.teacher


def loaded(path: str = "teacher.npz", name: str = "teacher") -> dict[str, Any]:
    return {"teachers": {name: {"load": path}}}


def terms(*items: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A student of these terms and of labels."""
    return {"student": {"terms": [LABELS, *items]} | keys}


def command(plan: dict[str, Any], *words: str) -> Answer:
    """A command on a plan in plan.yaml; `run`, quietly, where no words are given."""
    Path("plan.yaml").write_text(json.dumps({"logging": {"file": None, "level": "ERROR"}} | plan))
    name, *rest = words or ("run", "--quiet")
    return ask(name, "--config", "plan.yaml", *rest)


def results_of(folder: str = "runs/plan") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(folder, "results.json").read_text())
    return found


def models(folder: str = "runs/plan") -> dict[str, Model]:
    return {path.name.removesuffix(".npz"): distill.load_model(path) for path in sorted(Path(folder).glob("*.npz"))}


def placeless(plan: Config) -> Config:
    return replace(plan, output=Output(None))


def prints(results: distill.Results) -> tuple[str, str]:
    return results.student.fingerprint(), results.control.fingerprint()


def text_file(name: str, x: Array, labels: Any, names: Sequence[str] = "wxyz") -> None:
    """A CSV with a header, its label in the last column; NaN is an empty field."""
    fields = [["" if math.isnan(v) else repr(v) for v in row] for row in x.tolist()]
    lines = [[*names, "kind"], *([*row, str(label)] for row, label in zip(fields, labels, strict=True))]
    Path(name).write_text("\n".join(map(",".join, lines)) + "\n")


class Nearest:
    """A teacher from Python: the nearer a class's mean, the likelier it is. It notes what it is asked about."""

    def __init__(self, x: Array, y: Array) -> None:
        self.classes_ = np.unique(y)
        self.means = np.array([np.nanmean(x[y == one], axis=0, dtype=float) for one in self.classes_])
        self.spread = np.nanstd(np.asarray(x, float))
        self.asked: list[Array] = []

    def predict_proba(self, x: Array) -> Array:
        self.asked.append(x)
        return self.likely(np.asarray(x, float))

    def likely(self, x: Array) -> Array:
        distances = np.nansum(np.square(x[:, None] - self.means), axis=2)
        return softmax(-distances / self.spread**2)


class Network(distill.TeacherModel):
    """A model as someone else's network, with its hidden layers."""

    def __init__(self, model: Model, depth: int | None = None) -> None:
        self.model, self.classes = model, model.classes
        self.depth = model.network.depth if depth is None else depth

    def logits(self, x: Array) -> Array:
        return self.model.logits(x)

    def features(self, x: Array, layer: int) -> Array:
        return network_of(self.model.weights).apply(self.model.weights, self.model.scaling.apply(x), [layer])[1][layer]


# --- a model file -----------------------------------------------------------------------------------------------------

SAME: dict[str, dict[str, Any]] = {
    "classic": {},
    "hidden layers": terms({"loss": "hint", "weight": 1}, {"loss": "cosine", "weight": 1}),
    "relations": terms({"loss": "relation_distance", "weight": 1}, {"loss": "contrast", "weight": 0.1}),
    "input": terms({"loss": "similarity", "weight": 1, "layers": {0: 1}}),
    "few labels": {"student": {"labels": 40}},
    "labelled rows": {"student": {"labels": 40, "unlabelled": "drop"}},
    "peers": terms({"loss": "response", "teacher": "teacher"}, {"loss": "response", "teacher": "peers"}, peers=1),
    "stages": {"student": {"stages": [{"epochs": 1, "train": [1], "terms": [{"loss": "hint", "weight": 1}]}, {}]}},
    "seeds": {"evidence": {"seeds": 3, "share_teacher": True, "workers": 2}},
}


@pytest.mark.parametrize("plan", SAME)
def test_a_loaded_teacher_gives_the_student_that_it_gave_when_it_was_trained(plan: str, saved: Model) -> None:
    here = distill.run(SMALL | SAME[plan])
    there = distill.run(SMALL | loaded() | SAME[plan])
    assert prints(there) == prints(here)
    assert there["seeds"] == here["seeds"]
    assert there["advice"] == here["advice"]
    assert there["teacher_sha256"] == here["teacher_sha256"] == saved.fingerprint()
    for key in ("teacher_val_accuracy", "teacher_val_ce", "agreement", "teacher_params", "compression_ratio"):
        assert there[key] == here[key]


def test_a_loaded_teacher_is_described_as_such(saved: Model) -> None:
    results = distill.run(SMALL | loaded(name="big"))
    assert results["teachers"]["big"]["origin"] == "load"
    assert results["teachers"]["big"]["parameters"] == saved.n_parameters
    assert results["teachers"]["big"]["share"] == 1
    assert results["teachers"]["big"]["objective"] is results["teachers"]["big"]["kind"] is None
    assert results.teacher is results.teachers["big"]
    assert results.teacher.fingerprint() == saved.fingerprint()
    assert set(results["history"]) == {"student", "control"}
    assert results["models"]["teacher"]["last"] is None


@pytest.mark.parametrize("scale", ["auto", "none", "standard", "minmax"])
def test_a_loaded_teacher_answers_as_it_does_on_raw_rows_however_the_run_scales_them(
    scale: str, saved: Model, rows: Data, digits: tuple[Array, Array]
) -> None:
    results = distill.run(SMALL | loaded() | {"data": {"scale": scale}})
    z = saved.logits(digits[0][rows.validation.ids])
    assert results["teacher_val_accuracy"] == (z.argmax(axis=1) == rows.validation.y).mean()
    p = softmax(z.astype(float))[np.arange(len(z)), rows.validation.y]
    assert results["teacher_val_ce"] == pytest.approx(-np.log(p).mean(), rel=1e-6)
    own = sources.obtain(
        "teacher",
        config.load(SMALL | loaded() | {"data": {"scale": scale}}),
        data.load(DataPlan(scale=scale), 0.8, 200, 0),
        Run(0),
        {},
    )
    found = own.logits(data.load(DataPlan(scale=scale), 0.8, 200, 0).train)
    np.testing.assert_array_equal(found, saved.logits(digits[0][rows.train.ids]))


def test_missing_values_are_filled_by_the_teacher_s_means_and_not_by_the_run_s() -> None:
    x, y = blobs(120)
    text_file("whole.csv", x, y)
    made = distill.run({"data": {"source": "whole.csv"}})
    assert made.teacher is not None
    made.teacher.save("teacher.npz")
    holes = x + 1
    holes[::7, 2] = np.nan
    text_file("holes.csv", holes, y)
    plan = {"data": {"source": "holes.csv"}} | loaded()
    results = distill.run(plan)
    used = data.load(DataPlan("holes.csv"), 0.8, None, 0)
    z = made.teacher.logits(holes[used.validation.ids])
    assert np.isnan(holes[used.validation.ids]).any()
    p = softmax(z.astype(float))[np.arange(len(z)), used.validation.y]
    assert results["teacher_val_ce"] == pytest.approx(-np.log(p).mean(), rel=1e-6)


def idx(path: str, array: Array) -> None:
    magic = b"\0\0\x08" + bytes([array.ndim])
    Path(path).write_bytes(magic + b"".join(struct.pack(">I", n) for n in array.shape) + array.tobytes())


def pictures(rows: int = 150) -> tuple[Array, Array]:
    x, y = blobs(rows, features=16)
    return np.clip(128 + 10 * x, 0, 255).astype(np.uint8).reshape(-1, 4, 4), y.astype(np.uint8)


@pytest.mark.parametrize("megabytes", [512, 0], ids=["in memory", "on disk"])
@pytest.mark.parametrize("kind", ["idx", "npy", "npz"])
def test_a_teacher_from_elsewhere_is_shown_the_rows_as_their_file_has_them(kind: str, megabytes: int) -> None:
    x, y = pictures()
    Path("set").mkdir()
    parts = {"X": x[:100], "y": y[:100], "X_test": x[100:], "y_test": y[100:]}
    if kind == "idx":
        for name, part in zip(("train-images-idx3", "train-labels-idx1"), (x[:100], y[:100]), strict=True):
            idx(f"set/{name}-ubyte", part)
        for name, part in zip(("t10k-images-idx3", "t10k-labels-idx1"), (x[100:], y[100:]), strict=True):
            idx(f"set/{name}-ubyte", part)
    elif kind == "npy":
        for name, part in parts.items():
            np.save(f"set/{name}.npy", part)
    else:
        np.savez("set/all.npz", **parts)
    source = {"data": {"source": "set/all.npz" if kind == "npz" else "set", "in_memory_mb": megabytes}}
    flat = x.reshape(len(x), -1)
    given = Nearest(flat[:100], y[:100])
    results = distill.run(source, teachers={"near": given})
    assert results["teachers"]["near"]["test_accuracy"] == (given.likely(flat[100:]).argmax(axis=1) == y[100:]).mean()
    known = {row.tobytes() for row in flat}
    for asked in given.asked:
        assert asked.dtype == np.uint8
        assert {row.tobytes() for row in asked} <= known
    made = distill.run(source)
    assert made.teacher is not None
    made.teacher.save("teacher.npz")
    assert prints(distill.run(source | loaded())) == prints(made)


def test_a_test_file_with_its_columns_in_another_order_is_put_right() -> None:
    x, y = blobs(150)
    text_file("train.csv", x[:100], y[:100])
    text_file("test.csv", x[100:, ::-1], y[100:], "zyxw")
    source = {"data": {"source": "train.csv", "test": "test.csv"}}
    given = Nearest(x[:100], y[:100])
    results = distill.run(source, teachers={"near": given})
    assert results["teacher_test_accuracy"] == (given.likely(x[100:]).argmax(axis=1) == y[100:]).mean()
    made = distill.run(source)
    assert made.teacher is not None
    made.teacher.save("teacher.npz")
    found = distill.run(source | loaded())
    assert prints(found) == prints(made)
    for key in ("teacher_test_accuracy", "teacher_test_ce", "test_agreement"):
        assert found[key] == made[key]


@pytest.mark.parametrize("plan", [{}, {"student": {"noise": 0.2}}, terms({"loss": "hint", "weight": 1})], ids=str)
def test_a_model_of_the_same_features_in_another_order_is_asked_in_its_own(plan: dict[str, Any]) -> None:
    """By the names, to the bit; and what is cached of one header is not taken for that of another."""
    x, y = blobs(150)
    text_file("rows.csv", x, y, "zyxw")
    plan = plan | {"data": {"source": "rows.csv", "scale": "none"}, "performance": {"cache": "cached"}}
    other_model("wxyz.npz", x[:, ::-1], y)
    plain = distill.load_model("wxyz.npz")
    results = distill.run(plan | loaded("wxyz.npz"))
    asked = distill.load_config(plan | loaded("wxyz.npz"))
    rows = distill.load_data(asked)
    here = sources.obtain("teacher", asked, rows, Run(0), {})
    np.testing.assert_array_equal(here.logits(rows.validation), plain.logits(x[rows.validation.ids][:, ::-1]))
    if plan.get("student", {}).get("noise"):
        assert here.respond_to_noisy is not None
        np.testing.assert_array_equal(
            here.respond_to_noisy(rows.validation.x, ())[0], plain.logits(rows.scaling.undo(rows.validation.x)[:, ::-1])
        )
    assert results["teacher_val_accuracy"] > 0.9
    assert [note for note in results["data"]["notes"] if "the data's columns were put into the order of its" in note]
    text_file("rows.csv", x, y, "wxyz")  # the same numbers, under other names
    unmoved = distill.run(plan | loaded("wxyz.npz"), ["distillation.weak_teacher=warn"])
    plan["performance"] = {}
    again = distill.run(plan | loaded("wxyz.npz"), ["distillation.weak_teacher=warn"])
    assert prints(unmoved) == prints(again) != prints(results)


def other_model(name: str = "teacher.npz", x: Array | None = None, labels: Any = None, names: str = "wxyz") -> None:
    """A trained teacher of other rows."""
    plain, y = blobs()
    x = plain if x is None else x
    text_file("other.csv", x, y if labels is None else labels, names)
    made = distill.run({"data": {"source": "other.csv"}, "distillation": {"student_epochs": 0}})
    assert made.teacher is not None
    made.teacher.save(name)


MISFITS: dict[str, tuple[Callable[[Array, Array], None], list[str]]] = {
    "features": (lambda x, y: other_model(x=x[:, :3], names="wxy"), ["takes 3 features, but the data have 4"]),
    "names": (lambda x, y: other_model(names="abcd"), ["takes the features a, b, c, d, but the data have w, x, y, z"]),
    "fewer classes": (lambda x, y: other_model(labels=y % 2), ["its classes are 0, 1, those of the data 0, 1, 2"]),
    "other classes": (lambda x, y: other_model(labels=y + 1), ["its classes are 1, 2, 3, those of the data 0, 1, 2"]),
    "texts": (lambda x, y: other_model(labels=np.array(list("abc"))[y]), ["its classes are a, b, c, those of the"]),
    "no model": (lambda x, y: np.savez("teacher.npz", X=x), ["not a model file of distill"]),
    "nothing": (lambda x, y: Path("teacher.npz").touch(), ["not a model file of distill"]),
    "torn": (lambda x, y: (other_model(), tear("teacher.npz")), ["teacher.npz: "]),
    "a folder": (lambda x, y: Path("teacher.npz").mkdir(), ["teacher.npz: "]),
    "another format": (lambda x, y: Path("teacher.npz").write_text("{}"), ["not a model file of distill"]),
}


def tear(name: str) -> None:
    Path(name).write_bytes(Path(name).read_bytes()[:-100])


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_model_that_does_not_fit_the_data_is_refused_with_both(misfit: str) -> None:
    x, y = blobs()
    text_file("rows.csv", x, y)
    plan = {"data": {"source": "rows.csv"}}
    assert command(plan).code == 0
    before = {one.name: one.read_bytes() for one in Path("runs/plan").iterdir()}
    spoil, pieces = MISFITS[misfit]
    spoil(x, y)
    answer = command(plan | loaded(name="big"))
    assert (answer.code, len(answer.lines)) == (4, 1), answer
    assert all(piece in answer.lines[0] for piece in pieces), answer.lines
    assert "teacher.npz" in answer.lines[0]
    assert ";" in answer.lines[0]
    assert {one.name: one.read_bytes() for one in Path("runs/plan").iterdir()} == before


def with_last_layer(model: Model, change: Callable[[Array], Array], classes: Sequence[Any]) -> Model:
    weights = type(model.weights)(model.weights.shapes, flat=model.weights.flat.copy())
    weights["w2"][...] = change(weights["w2"]).copy()
    return Model(weights.frozen(), model.network, model.scaling, tuple(classes))


@pytest.mark.parametrize("kind", ["load", "logits", "probabilities"])
def test_named_classes_in_another_order_are_put_right_to_the_bit_and_noted(kind: str, saved: Model) -> None:
    class Turned(Network):
        step = -1

        def logits(self, x: Array) -> Array:
            return self.model.logits(x)[:, :: self.step]

    class Likely:
        def __init__(self, step: int) -> None:
            self.classes_, self.step = np.arange(10)[::step], step

        def predict_proba(self, x: Array) -> Array:
            return saved.predict_proba(x)[:, :: self.step]

    with_last_layer(saved, lambda w: w[::-1], saved.classes[::-1]).save("turned.npz")
    turned_network = Turned(saved)
    turned_network.classes = saved.classes[::-1]
    right, turned = {
        "load": (distill.run(SMALL | loaded(name="it")), distill.run(SMALL | loaded("turned.npz", "it"))),
        "logits": (small_with(it=Network(saved)), small_with(it=turned_network)),
        "probabilities": (small_with(it=Likely(1)), small_with(it=Likely(-1))),
    }[kind]
    assert prints(turned) == prints(right)
    for key in ("seeds", "teachers", "teacher_sha256", "models"):
        assert turned[key] == right[key]
    assert right["data"]["notes"] == []
    assert (
        "its classes, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, were put into the order of the data" in turned["data"]["notes"][0]
    )


def test_a_model_that_knows_other_rows_knows_nothing_of_these(saved: Model) -> None:
    """The less this one thinks of a class, the likelier it calls it."""
    with_last_layer(saved, lambda w: -w, saved.classes).save("n.npz")
    answer = command(SMALL | loaded("n.npz", "big"))
    assert answer.code == 1
    assert "the teacher 'big' knows nothing about these rows: 0." in answer.lines[0]
    assert "nothing was distilled" in answer.lines[0]


# --- which teachers are worth hearing ---------------------------------------------------------------------------------


def rare(rows: int = 2000, share: float = 0.03, seed: int = 0, name: str = "rare.npz") -> tuple[Array, Array]:
    """Rows of which few are of class 1, and those hard to tell: no model that is calibrated ever chooses it."""
    rng = np.random.default_rng(seed)
    y = (rng.random(rows) < share).astype(int)
    x = rng.normal(size=(rows, 4))
    x[:, 0] += 1.4 * y
    np.savez(name, X=x, y=y)
    return x, y


@pytest.mark.parametrize(("rows", "epochs"), [(400, 20), (2000, 5)])
def test_a_teacher_of_a_rare_class_is_heard_though_it_never_chooses_it(rows: int, epochs: int) -> None:
    rare(rows)
    plan = {"data": {"source": "rare.npz"}, "evidence": {"seeds": 20, "workers": 1}}
    short = {"teacher_hidden": 16, "teacher_epochs": epochs, "student_hidden": 4, "student_epochs": 1}
    results = distill.run(plan | {"distillation": short})
    assert len(results["seeds"]) == 20
    assert results["failed_seeds"] == []
    assert sum(one["teacher_accuracy"] <= results["data"]["commonest"] for one in results["seeds"]) > 10


def test_a_teacher_that_is_right_but_far_too_sure_is_heard() -> None:
    """Weights of classes lift the rare one above its share: worse than guessing by accuracy and cross-entropy alike."""
    _, y = rare()

    class Lifted:
        classes_ = (0, 1)

        def predict_proba(self, x: Array) -> Array:
            return softmax(np.c_[0 * x[:, 0], 3 * (x[:, 0] - 0.7)])

    results = distill.run({"data": {"source": "rare.npz"}}, teachers={"it": Lifted()})
    assert results["teacher_val_accuracy"] < results["data"]["commonest"]
    assert results["teacher_val_ce"] > -(y.mean() * np.log(y.mean()) + (1 - y.mean()) * np.log(1 - y.mean()))


WEAK: dict[str, Callable[[Array, Array], dict[str, Any]]] = {
    "untrained": lambda x, y: {"distillation": {"teacher_epochs": 0}},
    "load": lambda x, y: loaded("untrained.npz", "it"),
    "predictions": lambda x, y: {"teachers": {"it": {"predictions": "shuffled.npy"}}},
    "columns": lambda x, y: {"teachers": {"it": {"predictions": "turned.npy"}}},
    "python": lambda x, y: {"teachers": {"it": {"python": "Says"}}},
}


@pytest.mark.parametrize("kind", WEAK)
def test_a_weak_teacher_is_refused_or_heard_with_a_note_as_the_plan_says(
    kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("distill"), "propagate", True)
    x, y = blobs(150)
    np.savez("rows.npz", X=x, y=y)
    np.save("shuffled.npy", np.random.default_rng(0).permutation(np.eye(3)[y]))
    np.save("turned.npy", np.eye(3)[(y + 1) % 3])
    source = {"data": {"source": "rows.npz"}}
    tiny = {"distillation": {"teacher_epochs": 1, "student_epochs": 1, "weak_teacher": "warn"}}
    made = distill.run(source | tiny).teacher
    assert made is not None
    weights = made.weights.like()
    Model(weights, made.network, made.scaling, made.classes).save("untrained.npz")
    plan, given = WEAK[kind](x, y), {"it": Says(lambda n: np.full((n, 3), 1 / 3))} if kind == "python" else {}
    with pytest.raises(DistillError, match=r"nothing was distilled.*distillation.weak_teacher: warn") as refused:
        distill.run(source | plan, teachers=given)
    assert re.search("learned nothing|knows nothing|its columns fit the order 2, 0, 1", str(refused.value))
    with caplog.at_level(logging.WARNING, "distill"):
        results = distill.run(source | plan, ["distillation.weak_teacher=warn"], teachers=given)
    (note,) = results["data"]["notes"]
    assert note.split(";")[0] in str(refused.value)
    assert any(note.split(";")[0] in record.getMessage() for record in caplog.records if record.levelname == "WARNING")


def test_seeds_with_a_weak_teacher_are_named_once_whatever_the_workers(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("distill"), "propagate", True)
    y = np.arange(80) % 2
    x = np.random.default_rng(0).normal(size=(80, 4))
    x[:, 0] += 0.8 * y
    np.savez("rows.npz", X=x, y=y)
    short = {"teacher_epochs": 4, "student_epochs": 1, "teacher_hidden": 4, "student_hidden": 2}
    plan = {"data": {"source": "rows.npz"}, "distillation": short | {"learning_rate": 0.03}}
    weak = [one["seed"] for one in distill.run(plan, ["evidence.seeds=10", "evidence.workers=1"])["failed_seeds"]]
    assert 0 < len(weak) < 10
    assert 0 not in weak, "else the note would be the first seed's own"
    for workers in (1, 2):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "distill"):
            results = distill.run(
                plan, ["evidence.seeds=10", f"evidence.workers={workers}", "distillation.weak_teacher=warn"]
            )
        assert [one["seed"] for one in results["seeds"] if one["weak_teachers"] == ["teacher"]] == weak
        assert [one["weak_teachers"] for one in results["seeds"]].count([]) == 10 - len(weak)
        (note,) = [note for note in results["data"]["notes"] if "teacher" in note]
        listed = ", ".join(map(str, weak))
        assert note.startswith(
            f"under {len(weak)} of 10 seeds ({listed}) the teacher is no better than chance; used all"
        )
        logged = {id(one): one.getMessage() for one in caplog.records}  # a record may reach two handlers of caplog
        assert [words for words in logged.values() if "chance" in words] == [note]


@pytest.mark.parametrize("source", ["digits", "clouds.npz", "rare.npz"])
def test_an_untrained_network_is_never_heard(source: str) -> None:
    """By luck it may well tell clouds of rows apart."""
    x, y = blobs(150)
    np.savez("clouds.npz", X=x, y=y)
    rare()
    plan = {"data": {"source": source}, "distillation": {"teacher_epochs": 0, "max_samples": 300, "student_epochs": 0}}
    with pytest.raises(DistillError, match=r"^none of 40 seeds can be run; seed 0: the teacher learned nothing: "):
        distill.run(plan | {"evidence": {"seeds": 40, "workers": 1}})


def test_validation_rows_of_one_class_leave_the_judgement_to_the_others() -> None:
    x, y = blobs(60, 2)
    y[:] = np.arange(60) >= 3
    x[:, 0] = 9 * y
    np.savez("rows.npz", X=x, y=y)
    plan = {"data": {"source": "rows.npz"}, "distillation": {"train_ratio": 0.9}}
    results = distill.run(plan)
    assert results["data"]["commonest"] == 1
    assert not [note for note in results["data"]["notes"] if "teacher" in note]


@pytest.mark.parametrize("words", [("run", "--quiet"), ("check",)])
def test_a_model_that_is_not_there_is_found_out_by_run_and_check(words: tuple[str, ...]) -> None:
    """What `check` calls sound must be able to run."""
    answer = command(SMALL | loaded("nowhere.npz"), *words)
    assert answer.code == 4
    assert answer.lines[0].startswith("error: nowhere.npz: ")


def test_a_model_is_looked_up_in_the_data_folder_as_the_message_says(
    saved: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("far").mkdir()
    saved.save("far/only_there.npz")
    answer = command(SMALL | loaded("only_there.npz"))
    assert "check the path, or set DISTILL_DATA" in answer.lines[0]
    monkeypatch.setenv("DISTILL_DATA", "far")
    assert command(SMALL | loaded("only_there.npz")).code == 0


def test_any_model_of_a_run_can_teach(saved: Model) -> None:
    assert command(SMALL | terms({"loss": "hint", "weight": 1}, hidden=8, epochs=6)).code == 0
    for name in ("student", "student.full", "control"):
        shutil.copy(f"runs/plan/{name}.npz", "kept.npz")
        assert distill.run(SMALL | loaded("kept.npz"))["teacher_params"] == 610


@pytest.mark.parametrize("name", ["teacher.npz", "teacher.old.npz", "student.npz"])
def test_a_model_in_the_run_s_own_folder_can_be_loaded_again_and_again(name: str, saved: Model) -> None:
    """The file that a run read is not the run's to throw away."""
    assert command(SMALL | {"distillation": SMALL["distillation"] | {"student_epochs": 9}}).code == 0
    if name == "teacher.old.npz":
        shutil.copy("runs/plan/teacher.npz", f"runs/plan/{name}")
    before = Path("runs/plan", name).read_bytes()
    for _ in range(2):
        answer = command(SMALL | loaded(f"runs/plan/{name}"))
        if name == "student.npz":  # the run writes one of its own: it may refuse to, but not fail
            assert answer.code in (0, 4, 5)
            continue
        assert answer.code == 0, answer
        assert Path("runs/plan", name).read_bytes() == before


@pytest.fixture(scope="module")
def deep() -> Model:
    """A teacher with two hidden layers."""
    made = distill.run(SMALL, ["distillation.teacher_hidden=[16, 12]", "distillation.teacher_epochs=6"])
    assert made.teacher is not None
    return made.teacher


@pytest.mark.parametrize("name", ["run", "check", "bench"])
@pytest.mark.parametrize("layers", ["auto", {2: 1}, {1: 1}, {0: 1}, {0: 0}, {2: 0}], ids=str)
def test_layers_of_a_deeper_loaded_teacher(
    name: str, layers: Any, deep: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.bench.SECONDS", 0.001)
    deep.save("deep.npz")
    plan = SMALL | loaded("deep.npz") | terms({"loss": "hint", "weight": 1, "layers": layers})
    assert command(plan, name).code == 0


def test_a_layer_that_a_loaded_teacher_lacks_is_refused_with_those_that_it_has(saved: Model) -> None:
    answer = command(SMALL | loaded() | terms({"loss": "hint", "weight": 1, "layers": {2: 1}}))
    assert answer.code == 4
    assert (
        "teacher 'teacher': there is no layer 2 of the teacher, whose layers are 0 (the input) to 1" in answer.lines[0]
    )


# --- an object from Python --------------------------------------------------------------------------------------------


def test_classifiers_of_scikit_learn_teach_as_they_are(rows: Data, digits: tuple[Array, Array]) -> None:
    ensemble, tree, svm = (pytest.importorskip(f"sklearn.{name}") for name in ("ensemble", "tree", "svm"))
    x, y = digits[0][rows.train.ids], digits[1][rows.train.ids]
    forest = ensemble.RandomForestClassifier(10, random_state=0).fit(x, y)
    results = small_with(forest=forest)
    right = forest.predict_proba(digits[0][rows.validation.ids]).argmax(axis=1) == rows.validation.y
    assert results["teacher_val_accuracy"] == right.mean() > 0.5
    assert results["teacher_params"] is results["teacher_sha256"] is results.teacher is None
    assert results.teachers == {}
    assert results["teachers"]["forest"]["origin"] == "python"
    assert results["config"]["teachers"] == {"forest": {"python": "RandomForestClassifier"}}
    with pytest.raises(TypeError, match=r"teacher 'it' is of type LinearSVC, which lacks the method predict_proba"):
        small_with(it=svm.LinearSVC())
    holes = x.astype(float)
    holes[::6, 20] = np.nan
    text_file("rows.csv", holes, y, [f"pixel{i}" for i in range(64)])
    fitted = tree.DecisionTreeClassifier(random_state=0).fit(holes, y)
    assert distill.run({"data": {"source": "rows.csv"}}, teachers={"it": fitted})["teacher_val_accuracy"] == 1


def small_with(**teachers: object) -> distill.Results:
    return distill.run(SMALL, teachers=teachers)


def test_missing_values_and_text_labels_reach_it_as_they_are() -> None:
    x, y = blobs(150)
    x[::6, 1] = np.nan
    names = np.array(["cat", "dog", "eel"])[y]
    text_file("rows.csv", x, names)
    near = Nearest(x, names)
    assert distill.run({"data": {"source": "rows.csv"}}, teachers={"it": near})["teacher_val_accuracy"] > 0.9
    assert any(np.isnan(asked).any() for asked in near.asked)


@pytest.mark.parametrize("form", ["{}", "{}.0"])
def test_classes_that_it_was_fitted_on_as_floats_are_the_data_s_whole_numbers(form: str) -> None:
    x, y = blobs(150)
    text_file("rows.csv", x, [form.format(c) for c in y])
    near = Nearest(x, y.astype(float))
    results = distill.run({"data": {"source": "rows.csv"}}, teachers={"it": near})
    assert results["teacher_val_accuracy"] > 0.9
    assert results["data"]["classes"] == [0, 1, 2]


def test_a_model_of_ours_and_its_file_teach_the_same(saved: Model, digits: tuple[Array, Array]) -> None:
    hint = terms({"loss": "hint", "weight": 1}, {"loss": "response", "weight": 1})
    assert prints(small_with(it=saved)) == prints(distill.run(SMALL | loaded(name="it")))
    given = distill.run(SMALL | hint, teachers={"it": Network(saved)})
    assert prints(given) == prints(distill.run(SMALL | hint | loaded(name="it")))
    assert small_with(it=saved)["teacher_params"] == saved.n_parameters


def test_probabilities_and_logits_of_one_object_teach_the_same(saved: Model) -> None:
    class Soft:
        def predict_proba(self, x: Array) -> Array:
            return saved.predict_proba(x)

    soft, raw = small_with(it=Soft()), small_with(it=Network(saved, 0))
    np.testing.assert_allclose(soft.student.weights.flat, raw.student.weights.flat, atol=1e-4)
    assert soft["teacher_val_ce"] == pytest.approx(raw["teacher_val_ce"], rel=1e-5)


class Says:
    """An object that answers whatever it is told to."""

    def __init__(self, answer: Callable[[int], Any]) -> None:
        self.answer = answer

    def predict_proba(self, x: Array) -> Any:
        return self.answer(len(x))


class SaysLogits(distill.TeacherModel):
    """The same with logits."""

    def __init__(self, answer: Callable[[int], Any]) -> None:
        self.answer = answer

    def logits(self, x: Array) -> Any:
        return self.answer(len(x))


NONSENSE: dict[str, Callable[[int], Any]] = {
    "one dimension": lambda n: np.full(n, 0.1),
    "three dimensions": lambda n: np.full((2, n, 10), 0.1),
    "one matrix a class": lambda n: [np.full((n, 2), 0.5)] * 10,
    "a number": lambda n: 0.5,
    "nothing": lambda n: None,
    "a text": lambda n: "0.1",
    "texts": lambda n: np.full((n, 10), "0.1"),
    "objects": lambda n: np.full((n, 10), None),
    "complex numbers": lambda n: np.full((n, 10), 0.1 + 0j),
    "ragged rows": lambda n: [[0.1] * 10, [0.1]],
    "no rows": lambda n: np.empty((0, 10)),
    "fewer rows": lambda n: np.full((n - 1, 10), 0.1),
    "more rows": lambda n: np.full((n + 1, 10), 0.1),
    "fewer columns": lambda n: np.full((n, 9), 1 / 9),
    "more columns": lambda n: np.full((n, 11), 1 / 11),
    "columns as rows": lambda n: np.full((10, n), 1 / n),
    "NaN": lambda n: np.full((n, 10), np.nan),
    "one NaN": lambda n: np.where(np.arange(n * 10).reshape(n, 10) == n * 10 - 1, np.nan, 0.1),
    "infinity": lambda n: np.full((n, 10), np.inf),
    "beyond float32": lambda n: np.full((n, 10), 1e300),
}


@pytest.mark.parametrize("kind", [Says, SaysLogits])
@pytest.mark.parametrize("what", NONSENSE)
def test_an_answer_that_is_none_is_refused_by_name(what: str, kind: type) -> None:
    with pytest.raises(DataError, match=r"teacher 'it': "):
        small_with(it=kind(NONSENSE[what]))


@pytest.mark.parametrize(
    "answer",
    [lambda n: np.full((n, 10), 0.2), lambda n: np.tile([1.5, -0.5] + [0] * 8, (n, 1)), lambda n: np.zeros((n, 10))],
)
def test_probabilities_that_are_none_are_refused_with_their_sum(answer: Callable[[int], Any]) -> None:
    with pytest.raises(
        DataError, match=r"teacher 'it': row 0 is \[.*\], with a sum of .*; probabilities are from 0 to 1"
    ):
        small_with(it=Says(answer))


def test_percentages_from_an_object_are_told_what_to_be_divided_by() -> None:
    with pytest.raises(
        DataError, match=r"teacher 'it': row 0 is .*, with a sum of 100; .*; divide each row by its sum$"
    ):
        small_with(it=Says(lambda n: np.full((n, 10), 10.0)))


def test_an_object_that_knows_nothing_is_no_teacher() -> None:
    with pytest.raises(DistillError, match=r"the teacher 'it' knows nothing about these rows: 0.1"):
        small_with(it=Says(lambda n: np.full((n, 10), 0.1)))


def test_what_it_raises_is_told_in_words_and_the_last_run_stays(saved: Model) -> None:
    def fail(n: int) -> Any:
        raise ZeroDivisionError("of its own")

    plan = SMALL | {"output": {"folder": "run"}}
    distill.run(plan)
    before = {one.name: one.read_bytes() for one in Path("run").iterdir()}
    says = (
        r"teacher 'it': predict_proba of Says fails on .*: ZeroDivisionError: of its own; .*types.SimpleNamespace\(pre"
    )
    with pytest.raises(DistillError, match=says) as raised:
        distill.run(plan, teachers={"it": Says(fail)})
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert {one.name: one.read_bytes() for one in Path("run").iterdir()} == before


class Frame:
    """As much of a DataFrame as an object that wants its columns by name looks at."""

    def __init__(self, values: Array, columns: Sequence[str]) -> None:
        self.values, self.columns = values, columns


class ByName(Nearest):
    """A teacher that was fitted on some named columns, and takes nothing else."""

    def __init__(self, x: Array, y: Array, names: Sequence[str], kind: type = Frame) -> None:
        super().__init__(x, y)
        self.feature_names_in_, self.kind = np.array(list(names), object), kind

    def predict_proba(self, x: Any) -> Array:
        if not isinstance(x, self.kind):
            raise ValueError("Specifying the columns using strings is only supported for dataframes")
        assert not isinstance(x, Frame) or list(x.columns) == self.feature_names_in_.tolist()
        return super().predict_proba(x.values if isinstance(x, Frame) else x)


def test_columns_by_name_come_by_name_in_the_order_of_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(150)
    text_file("rows.csv", x, y)
    plan, order = {"data": {"source": "rows.csv"}}, [3, 1, 0]
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=Frame))
    expected = distill.run(plan, teachers={"it": Nearest(x, y)})
    assert prints(distill.run(plan, teachers={"it": ByName(x, y, "wxyz")})) == prints(expected)
    some = ByName(x[:, order], y, "zxw")
    assert distill.run(plan, teachers={"it": some})["teacher_val_accuracy"] > 0.9
    np.testing.assert_array_equal(some.asked[0][0], x[distill.load_data(distill.load_config(plan)).train.ids[0]][order])
    with pytest.raises(
        DataError, match=r"'it': was fitted on the columns w, q, but the data have w, x, y, z, without 'q'"
    ):
        distill.run(plan, teachers={"it": ByName(x, y, "wq")})
    counted = ByName(x, y, [f"Column_{i}" for i in range(4)], np.ndarray)
    assert prints(distill.run(plan, teachers={"it": counted})) == prints(expected)
    monkeypatch.setitem(sys.modules, "pandas", None)
    turned = ByName(x[:, ::-1], y, "zyxw", np.ndarray)
    assert distill.run(plan, teachers={"it": turned})["teacher_val_accuracy"] == expected["teacher_val_accuracy"]
    with pytest.raises(
        DistillError, match=r"teacher 'it': .* only supported for dataframes; install pandas .*columns="
    ):
        distill.run(plan, teachers={"it": ByName(x, y, "wxyz")})
    np.savez("rows.npz", X=x, y=y)
    with pytest.raises(DistillError, match=r"teacher 'it': .* only supported for dataframes; .*columns=\[\.\.\.\]"):
        distill.run({"data": {"source": "rows.npz"}}, teachers={"it": ByName(x, y, "wxyz")})


def test_names_of_columns_match_as_those_of_the_data_do_and_come_in_the_object_s_spelling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Blanks after commas, accents in two pieces, and what pandas calls a column without a name."""
    x, y = blobs(150)
    text_file("rows.csv", x, y, ["", " w", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "z "])
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=Frame))
    plan = {"data": {"source": "rows.csv"}}
    expected = distill.run(plan, teachers={"it": Nearest(x, y)})
    theirs = ["Unnamed: 0", " w", "cafe\N{COMBINING ACUTE ACCENT}", " z"]
    assert prints(distill.run(plan, teachers={"it": ByName(x, y, theirs)})) == prints(expected)
    with pytest.raises(DataError, match="without 'w'; fit it on columns of the data"):
        distill.run(plan, teachers={"it": ByName(x, y, [*theirs, "w"])})


class Raises:
    def __get__(self, *_: object) -> None:
        raise RuntimeError("not fitted")


@pytest.mark.parametrize("names", [None, 3, Raises()], ids=["None", "a number", "raises"])
def test_what_is_no_list_of_names_counts_as_none(names: Any) -> None:
    x, y = blobs(150)
    text_file("rows.csv", x, y)
    kind = type("Odd", (Nearest,), {"feature_names_in_": names})
    plan = {"data": {"source": "rows.csv"}}
    expected = distill.run(plan, teachers={"it": Nearest(x, y)})
    assert prints(distill.run(plan, teachers={"it": kind(x, y)})) == prints(expected)


def test_a_pipeline_of_scikit_learn_by_column_names_teaches_without_a_warning() -> None:
    pandas = pytest.importorskip("pandas")
    compose, linear, pipeline, scaling = (
        pytest.importorskip(f"sklearn.{name}") for name in ("compose", "linear_model", "pipeline", "preprocessing")
    )
    x, y = blobs(150)
    text_file("rows.csv", x, np.array(["cat", "dog", "eel"])[y])
    table = pandas.read_csv("rows.csv")
    chosen = compose.make_column_transformer((scaling.StandardScaler(), ["z", "x"]))
    for model in (pipeline.make_pipeline(chosen, linear.LogisticRegression()), linear.LogisticRegression()):
        model.fit(table[["y", "z", "x", "w"]], table.kind)
        assert distill.run({"data": {"source": "rows.csv"}}, teachers={"it": model})["teacher_val_accuracy"] > 0.9


def test_a_missing_method_is_a_type_error_that_names_it(saved: Model) -> None:
    class Half(distill.TeacherModel):
        pass

    with pytest.raises(TypeError, match=r"logits"):
        Half()  # type: ignore[abstract]
    for nobody in (object(), None, 3, "forest", [], np.zeros(3)):
        with pytest.raises(
            TypeError, match=r"teacher 'it' is of type .*, which lacks the method predict_proba; give it"
        ):
            small_with(it=nobody)

    class Deep(distill.TeacherModel):
        depth = 1

        def logits(self, x: Array) -> Array:
            return saved.logits(x)

    with pytest.raises(TypeError, match=r"teacher 'it' .*features"):
        distill.run(SMALL | terms({"loss": "hint", "weight": 1}), teachers={"it": Deep()})


def test_a_missing_method_is_found_out_before_anything_is_read() -> None:
    with pytest.raises(TypeError, match=r"predict_proba"):
        distill.run({"data": {"source": "nowhere.csv"}}, teachers={"it": object()})


def test_an_object_without_layers_is_not_asked_for_them(saved: Model) -> None:
    hint = terms({"loss": "hint", "weight": 1})
    with pytest.raises(DataError, match=r"teacher 'it': has no hidden layers to look at; use a loss on logits"):
        distill.run(SMALL | hint, teachers={"it": Network(saved, 0)})
    with pytest.raises(DataError, match=r"teacher 'it': there is no layer 1 of the teacher, whose layers are 0"):
        distill.run(SMALL | terms({"loss": "hint", "weight": 1, "layers": {1: 1}}), teachers={"it": Network(saved, 0)})
    with pytest.raises(DataError, match=r"teacher 'it': there is no layer 3 of the teacher, whose layers are 0"):
        distill.run(SMALL | terms({"loss": "hint", "weight": 1, "layers": {3: 1}}), teachers={"it": Network(saved)})


@pytest.mark.parametrize(
    "features",
    [
        lambda x: np.zeros(len(x)),
        lambda x: np.zeros((len(x) + 1, 5)),
        lambda x: np.full((len(x), 5), np.nan),
        lambda x: np.full((len(x), 5), "a"),
        lambda x: None,
        lambda x: np.zeros((len(x), 5 + (len(x) > 1))),
    ],
    ids=["one dimension", "rows", "NaN", "texts", "nothing", "widths that change"],
)
def test_layers_that_are_none_are_refused_by_name(features: Callable[[Array], Any], saved: Model) -> None:
    class Odd(Network):
        def features(self, x: Array, layer: int) -> Any:
            return features(x)

    with pytest.raises(DataError, match=r"teacher 'it': "):
        distill.run(SMALL | terms({"loss": "hint", "weight": 1}), teachers={"it": Odd(saved)})


@pytest.mark.parametrize(
    ("classes", "advice"),
    [
        (range(9), "fit it on rows of every class, or give it a column for 9 too"),
        ([0, 1, 2, 3, 5, 6, 8, 9], "fit it on rows of every class, or give it a column for 4, 7 too"),
        (range(1, 11), "name the same classes, in any order"),
        (list("abcdefghij"), "name the same classes, in any order"),
        ([0, 0, *range(1, 10)], "name the same classes, in any order"),
    ],
    ids=str,
)
def test_classes_that_are_not_the_data_s_are_refused_with_both(classes: Any, advice: str, saved: Model) -> None:
    near = Nearest(np.zeros((10, 64)), np.arange(10))
    near.classes_ = np.array(classes)
    network = Network(saved)
    network.classes = tuple(classes)
    for one in (near, network):
        with pytest.raises(DataError, match=rf"its classes are .*, those of the data 0, 1, 2, .*; {advice}"):
            small_with(it=one)


@pytest.mark.parametrize("classes", [np.arange(10.0), np.array(list("0123456789")), list(range(10))], ids=str)
def test_classes_match_in_any_type(classes: Any, saved: Model) -> None:
    network = Network(saved)
    network.classes = classes
    assert prints(small_with(it=network)) == prints(small_with(it=Network(saved)))


def test_an_object_may_write_into_what_it_is_given_and_answer_in_the_same_array(saved: Model) -> None:
    class Careless(Network):
        def logits(self, x: Array) -> Array:
            self.kept = getattr(self, "kept", {})
            out = self.kept.setdefault(len(x), np.empty((len(x), 10), np.float32))
            out[...] = self.model.logits(x)
            x[...] = 0
            return out

    assert prints(small_with(it=Careless(saved))) == prints(small_with(it=Network(saved)))


def test_an_object_takes_its_place_among_the_teachers_of_the_plan(saved: Model) -> None:
    plan = SMALL | {"teachers": {"small": {"hidden": 8, "epochs": 9}}}
    results = distill.run(plan, teachers={"it": Network(saved)})
    assert {name: one["share"] for name, one in results["teachers"].items()} == {"small": 0.5, "it": 0.5}
    chain = SMALL | {"teachers": {"it": {"python": "Network"}, "heir": {"teacher": "it"}}}
    results = distill.run(chain, teachers={"it": Network(saved)})
    assert {name: one["share"] for name, one in results["teachers"].items()} == {"it": 0, "heir": 1}
    assert "response(it, T=4)" in results["teachers"]["heir"]["objective"]
    results = distill.run(SMALL | {"teachers": {"it": {"hidden": 8}}}, teachers={"it": Network(saved)})
    assert results["teachers"]["it"]["origin"] == "python"
    for name in ("student", "control", "peers", "a b", "", "x" * 65, "a/b"):
        with pytest.raises(ConfigError):
            distill.run(SMALL, teachers={name: Network(saved)})


def test_a_plan_that_is_already_read_takes_objects_too(saved: Model) -> None:
    named = distill.load_config(SMALL | {"teachers": {"it": {"python": "anything"}}})
    assert prints(distill.run(named, teachers={"it": Network(saved)})) == prints(small_with(it=Network(saved)))


def test_from_the_command_line_an_object_is_asked_for_in_words(saved: Model) -> None:
    plan = SMALL | {"teachers": {"it": {"python": "Network"}}}
    for answer in (command(plan), command(plan, "check"), command(plan, "bench")):
        assert (answer.code, len(answer.lines)) == (2, 1)
        assert (
            "teachers.it: is an object from Python (Network), and none is given; call distill.run(" in answer.lines[0]
        )
    results = distill.run("plan.yaml", teachers={"it": Network(saved)})
    assert placeless(distill.load_config("runs/plan/config.yaml")) == placeless(distill.load_config("plan.yaml"))
    again = distill.run("runs/plan/config.yaml", ["output.folder=again"], teachers={"it": Network(saved)})
    assert prints(again) == prints(results)


def test_further_seeds_need_one_split_and_workers_hear_the_object(saved: Model) -> None:
    with pytest.raises(ConfigError, match=r"teacher 'it' comes from python, so it learned on one split"):
        distill.run(SMALL | {"evidence": {"seeds": 2}}, teachers={"it": Network(saved)})
    found = [
        distill.run(SMALL | {"evidence": {"seeds": 3, "share_teacher": True, "workers": n}}, teachers={"it": saved})
        for n in (1, 2)
    ]
    assert found[0]["seeds"] == found[1]["seeds"]


# --- several teachers -------------------------------------------------------------------------------------------------

TWO = {"teachers": {"a": {"hidden": 12}, "b": {"hidden": 20}}}
BACKWARDS = {"teachers": {"b": {"hidden": 20}, "a": {"hidden": 12}}}


def hearing(**keys: Any) -> dict[str, Any]:
    return terms({"loss": "response", "weight": 1} | keys)


def heard(teachers: dict[str, Any], **keys: Any) -> tuple[str, str]:
    return prints(distill.run(SMALL | teachers | hearing(**keys)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"teacher": ["a", "b"]}, {"teacher": ["b", "a"]}),
        ({"teacher": ["a", "b"]}, {"teacher": {"a": 1, "b": 1}}),
        ({"teacher": ["a", "b"]}, {"teacher": ["a", "b", "b", "a"]}),
        ({"teacher": ["a", "b"]}, {}),
        ({"teacher": {"a": 1, "b": 3}}, {"teacher": {"b": 30, "a": 10}}),
        ({"teacher": {"a": 1, "b": 3}}, {"teacher": ["a", "b", "b", "b"]}),
        ({"teacher": {"a": 0.2, "b": 0.8}}, {"teacher": {"a": 2, "b": 8}}),
    ],
    ids=str,
)
def test_order_repetition_and_scale_of_the_weights_change_no_bit(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert heard(TWO, **one) == heard(BACKWARDS, **other)


@pytest.mark.parametrize("named", ["a", ["a"], ["a", "a"], {"a": 3}, {"a": 1, "b": 0}], ids=str)
def test_one_teacher_twice_is_one_teacher(named: Any) -> None:
    rest = {"loss": "response", "weight": 0.1, "teacher": "b"}
    found = [distill.run(SMALL | TWO | terms({"loss": "response", "teacher": one}, rest)) for one in ("a", named)]
    assert prints(found[0]) == prints(found[1])
    assert found[0]["objective"] == found[1]["objective"]


@pytest.mark.parametrize(
    "student",
    [{}, terms({"loss": "response"})["student"], {"stages": [{"epochs": 1}, {"epochs": 1}]}],
    ids=["classic", "terms", "stages"],
)
def test_the_order_in_which_teachers_are_listed_changes_nothing(student: dict[str, Any]) -> None:
    one, other = (config.load(SMALL | teachers | {"student": student}) for teachers in (TWO, BACKWARDS))
    assert one.student == other.student
    assert config.load(config.as_dict(other)) == other


def test_the_mean_is_of_probabilities_or_of_logits(rows: Data, digits: tuple[Array, Array]) -> None:
    found = {how: distill.run(SMALL | TWO | hearing(teacher={"a": 1, "b": 3}, combine=how)) for how in HOW}
    assert found["probabilities"].student.fingerprint() != found["logits"].student.fingerprint()
    for results in found.values():
        z = [results.teachers[name].logits(digits[0][rows.validation.ids]).astype(float) for name in "ab"]
        p = 0.25 * softmax(z[0]) + 0.75 * softmax(z[1])
        y = rows.validation.y
        assert results["teacher_val_accuracy"] == (p.argmax(axis=1) == y).mean()
        assert results["teacher_val_ce"] == pytest.approx(-np.log(p[np.arange(len(y)), y]).mean(), rel=1e-5)
        assert {name: one["share"] for name, one in results["teachers"].items()} == {"a": 0.25, "b": 0.75}
        assert results["teacher_params"] == sum(one.n_parameters for one in results.teachers.values())
        assert results.teacher is None
        assert "0.25 a + 0.75 b" in results["objective"]


HOW = ("probabilities", "logits")


def test_teachers_may_be_heard_in_terms_of_their_own() -> None:
    own = terms(
        {"loss": "response", "weight": 1, "teacher": "a", "temperature": 1},
        {"loss": "response", "weight": 3, "teacher": "b", "temperature": 8},
        {"loss": "hint", "weight": 1, "teacher": "a"},
        {"loss": "hint", "weight": 1, "teacher": "b"},
    )
    results = distill.run(SMALL | TWO | own)
    assert {name: one["share"] for name, one in results["teachers"].items()} == {"a": 1 / 4, "b": 3 / 4}
    assert "1 response(a, T=1) + 3 response(b, T=8) + 1 hint(a) + 1 hint(b)" in results["objective"]


def test_weights_of_terms_on_hidden_layers_are_no_measure_of_who_is_heard() -> None:
    hidden = [{"loss": "hint", "weight": 1, "teacher": "a"}, {"loss": "similarity", "weight": 3000, "teacher": "b"}]
    results = distill.run(SMALL | TWO | terms(*hidden))
    assert {name: one["share"] for name, one in results["teachers"].items()} == {"a": 1 / 2, "b": 1 / 2}
    results = distill.run(SMALL | TWO | terms(*hidden, {"loss": "response", "weight": 1, "teacher": "a"}))
    assert {name: one["share"] for name, one in results["teachers"].items()} == {"a": 1, "b": 0}


def test_of_a_teacher_that_nobody_hears_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    weak = {"teachers": {"weak": {"epochs": 1, "learning_rate": 0.003}}}
    for student in ({"peers": 1, "epochs": 20}, {"terms": [{"loss": "cross_entropy"}], "epochs": 20}):
        results = distill.run(SMALL | weak | {"student": student})
        assert results["teachers"]["weak"]["share"] == 0
        assert results["teacher_val_accuracy"] < results["control_val_accuracy"]
        assert not any("teacher" in sentence for sentence in results["advice"])


def test_what_is_no_object_that_can_teach_is_refused_by_name(saved: Model) -> None:
    class Deep:
        depth = -1

        def features(self, x: Any, layer: int) -> Any:
            return x

        def predict_proba(self, x: Any) -> Any:
            return saved.predict_proba(x)

    for offered, said in (
        ({"it": Network}, "'it' is the class Network"),
        ({1: Network(saved)}, "mapping from names"),
        ([Network(saved)], "is a list; must be a mapping"),
        ({"it": Deep()}, "depth of -1"),
    ):
        with pytest.raises(TypeError, match=said):
            distill.run(SMALL, teachers=offered)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"teacher": ["a", "c"]}, "there is no teacher 'c'; must be one of a, b"),
        ({"teacher": []}, "must be a name, or a list of names"),
        ({"teacher": {}}, "must be a name, or a list of names"),
        ({"teacher": {"a": 0, "b": 0}}, "not all 0"),
        ({"teacher": {"a": -1, "b": 2}}, "must be a name"),
        ({"teacher": {"a": True, "b": 2}}, "must be a name"),
        ({"teacher": {"a": "much", "b": 2}}, "must be a name"),
        ({"teacher": {"a": 1e7, "b": 2}}, "must be a name"),
        ({"teacher": [["a"], "b"]}, "must be a name"),
        ({"teacher": ["a", "b"], "combine": "votes"}, "must be one of probabilities, logits"),
        ({"teacher": ["a", "peers"]}, "there are no peers; set student.peers to 1 or more"),
        ({"teacher": {"a": 1, "ghost": 0}}, "there is no teacher 'ghost'"),
    ],
    ids=str,
)
def test_an_ensemble_that_cannot_be_is_a_fault_with_its_place(keys: dict[str, Any], says: str) -> None:
    rest = {"loss": "response", "weight": 0.1, "teacher": ["a", "b"]}
    answer = command(SMALL | TWO | terms({"loss": "response"} | keys, rest), "check")
    assert answer.code == 2
    assert answer.lines[0].startswith("plan.yaml:1:")
    assert says in answer.lines[0]


def test_members_must_be_of_the_same_classes_and_rows(saved: Model) -> None:
    Model(saved.weights, saved.network, saved.scaling, (*range(9), 10)).save("odd.npz")
    pair = {"teachers": {"a": {"load": "teacher.npz"}, "b": {"load": "odd.npz"}}}
    with pytest.raises(DataError, match=r"teacher 'b': odd.npz: its classes are .*, 10, those of the data .*, 9;"):
        distill.run(SMALL | pair)
    np.save("said.npy", np.eye(10)[np.arange(1000) % 10])
    pair = {"teachers": {"a": {"load": "teacher.npz"}, "b": {"predictions": "said.npy"}}}
    with pytest.raises(DataError, match=r"teacher 'b': said.npy: 1000 rows, but the source has 1797, of which 160"):
        distill.run(SMALL | pair)


@pytest.mark.parametrize("weight", [1e-30, 1e-60, 1e-300])
def test_a_weight_next_to_nothing_is_no_reason_to_warn_or_fail(weight: float) -> None:
    plan = SMALL | TWO | hearing(teacher={"a": 1e6, "b": weight})
    assert command(plan) == Answer(0, "", [])
    assert placeless(distill.load_config("runs/plan/config.yaml")) == placeless(distill.load_config("plan.yaml"))


@FUZZ
@given(
    st.lists(st.integers(1, 99), min_size=1, max_size=4),
    st.integers(0, 99),
    st.sampled_from(HOW),
    st.sampled_from([0.5, 1.0, 4.0]),
    st.sampled_from([np.float32, np.float64]),
    st.randoms(use_true_random=False),
)
def test_an_ensemble_does_not_hear_order_repetition_or_scale(
    weights: list[int], seed: int, how: str, temperature: float, dtype: Any, random: Any
) -> None:
    logits = [5 * np.random.default_rng(seed + i).standard_normal((4, 3)).astype(dtype) for i in range(len(weights))]
    said = combined(logits, weights, how, temperature)
    order = random.sample(range(len(weights)), len(weights))
    twice = [*order, *order]
    for chosen, scale in ((order, 1), (twice, 1), (order, 10)):
        again = combined([logits[i] for i in chosen], [scale * weights[i] for i in chosen], how, temperature)
        np.testing.assert_allclose(again, said, atol=1e-5 if dtype == np.float32 else 1e-12)
    np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-5)


def combined(logits: list[Array], weights: list[int], how: str, temperature: float) -> Array:
    shares = [weight / sum(weights) for weight in weights]
    return softmax(combine(logits, shares, how, temperature), temperature)


@settings(FUZZ, max_examples=100)
@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 10**6) | st.floats(1e-3, 1e3), min_size=1), st.data())
def test_a_map_of_weights_means_the_same_in_any_order(weights: dict[str, float], more: st.DataObject) -> None:
    """The plan, and with it every bit of the run, must not depend on which name was written first."""
    order = more.draw(st.permutations(list(weights)))
    rule = OPTIONS["teacher"][0]
    found, other = rule.read(weights), rule.read({name: weights[name] for name in order})
    assert found == other
    assert [name for name, _ in found] == sorted(weights)
    assert math.fsum(share for _, share in found) == pytest.approx(1, abs=1e-12)
    assert rule.read(dict(found)) == found


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=9))
def test_a_list_of_names_counts_them(names: list[str]) -> None:
    rule = OPTIONS["teacher"][0]
    assert rule.read(names) == rule.read({name: names.count(name) for name in names})
    assert rule.read(names) == rule.read(names[::-1])
    assert dict(rule.read(names)) == {name: names.count(name) / len(names) for name in sorted(set(names))}


# --- one after the other ----------------------------------------------------------------------------------------------

CHAIN = {"teachers": {"top": {"hidden": 24}, "middle": {"teacher": "top"}, "last": {"hidden": 8, "teacher": "middle"}}}


def test_a_chain_keeps_describes_and_tells_apart_each_of_its_teachers() -> None:
    assert command(SMALL | CHAIN).code == 0
    results, found = results_of(), models()
    assert set(found) == {"control", "student", "teacher.last", "teacher.middle", "teacher.top"}
    assert len({one.fingerprint() for one in found.values()}) == 5
    assert [one["objective"] for one in results["teachers"].values()] == [
        "1 cross_entropy",
        "0.3 cross_entropy + 0.7 response(top, T=4)",
        "0.3 cross_entropy + 0.7 response(middle, T=4)",
    ]
    assert [one["share"] for one in results["teachers"].values()] == [0, 0, 1]
    assert results["objective"] == "0.3 cross_entropy + 0.7 response(last, T=4)"
    assert results["teacher_sha256"] == found["teacher.last"].fingerprint()
    assert results["teacher_params"] == found["teacher.last"].n_parameters
    for name in ("top", "middle", "last"):
        assert results["teachers"][name]["parameters"] == found[f"teacher.{name}"].n_parameters
    lines = [json.loads(line)["model"] for line in Path("runs/plan/metrics.jsonl").read_text().splitlines()]
    assert lines == ["top"] * 3 + ["middle"] * 3 + ["last"] * 3 + ["control", "student"] * 2
    shown = command(SMALL | CHAIN, "run").out
    assert all(
        f"{name}: validation accuracy {one['val_accuracy']:.4f}" in shown for name, one in results["teachers"].items()
    )


def test_a_chain_does_not_touch_the_control_and_every_link_matters() -> None:
    plain, chained = distill.run(SMALL), distill.run(SMALL | CHAIN)
    assert chained.control.fingerprint() == plain.control.fingerprint()
    assert chained.student.fingerprint() != plain.student.fingerprint()
    other = distill.run(SMALL | CHAIN, ["teachers.top.epochs=4"])
    for name in ("top", "middle", "last"):
        assert other.teachers[name].fingerprint() != chained.teachers[name].fingerprint()
    alone = distill.run(SMALL | {"teachers": {"top": {"hidden": 24}}})
    assert alone.teachers["top"].fingerprint() == chained.teachers["top"].fingerprint()


@pytest.mark.parametrize("names", [("teacher", "assistant"), ("top", "teacher"), ("student1", "peer1x")])
def test_histories_are_those_of_their_names(names: tuple[str, str]) -> None:
    """`teacher` is the one that the student listens to, whatever the teachers are called."""
    first, second = names
    heard: dict[str, list[dict[str, Any]]] = {}
    results = distill.run(
        SMALL | {"teachers": {first: {}, second: {"teacher": first}}},
        on_epoch=lambda name, epoch: heard.setdefault(name, []).append(epoch),
    )
    assert results["history"]["teacher"] == heard[second]
    assert results["history"]["teacher"][-1] == results["models"]["teacher"]["last"]
    assert results["history"]["teacher"][-1]["val_accuracy"] == results["teacher_val_accuracy"]
    kept = list(results["history"].values())
    assert all(history in kept for history in heard.values())


def test_a_teacher_called_like_a_peer_keeps_its_history() -> None:
    """peer1, heir, peer1 again, student and control: five networks."""
    teachers = {"teachers": {"peer1": {}, "heir": {"teacher": "peer1"}}}
    both = terms({"loss": "response", "teacher": "heir"}, {"loss": "response", "teacher": "peers"}, peers=1)
    try:
        results = distill.run(SMALL | teachers | both)
    except ConfigError:
        return  # a name that is taken may be refused
    assert len({json.dumps(one) for one in results["history"].values()}) == 5


def test_a_chain_may_be_long_and_begin_anywhere(saved: Model, digits: tuple[Array, Array]) -> None:
    links = {f"t{i}": {"teacher": f"t{i - 1}", "epochs": 6} for i in range(1, 8)}
    np.save("said.npy", saved.logits(digits[0]))
    for first in ({"epochs": 6}, {"load": "teacher.npz"}, {"predictions": "said.npy"}):
        results = distill.run(SMALL | {"teachers": {"t0": first, **links}})
        assert len({one.fingerprint() for one in results.teachers.values()}) == len(results.teachers) >= 7
        assert {name: one["share"] for name, one in results["teachers"].items() if one["share"]} == {"t7": 1}


def test_an_assistant_may_hear_several_and_hidden_layers(saved: Model) -> None:
    plan = {
        "teachers": {
            "a": {},
            "b": {"load": "teacher.npz"},
            "c": {"teacher": {"a": 1, "b": 3}},
            "d": {"terms": [LABELS, {"loss": "hint", "teacher": "c"}, {"loss": "response", "teacher": ["a", "c"]}]},
        }
    }
    results = distill.run(SMALL | plan)
    assert results["teachers"]["c"]["objective"] == "0.3 cross_entropy + 0.7 response(0.25 a + 0.75 b, T=4)"
    assert "0.7 hint(c) + 0.7 response(a + c, T=4)" in results["teachers"]["d"]["objective"]
    assert {name: one["share"] for name, one in results["teachers"].items()} == {"a": 0, "b": 0, "c": 0, "d": 1}


@pytest.mark.parametrize(
    ("teachers", "says"),
    [
        ({"a": {"teacher": "b"}, "b": {}}, "teachers.a.teacher: there is no teacher 'b' listed above it"),
        ({"a": {"teacher": "a"}}, "teachers.a.teacher: there is no teacher 'a' listed above it"),
        ({"a": {}, "b": {"teacher": "a", "terms": [LABELS]}}, "teachers.b.teacher: is given beside terms"),
        ({"a": {}, "b": {"teacher": "peers"}}, "teachers.b.teacher: there is no teacher 'peers'"),
        (
            {"a": {"terms": [{"loss": "response", "weight": 1}]}},
            "response needs a teacher, and none is listed above",
        ),
        ({"student": {}}, "teachers.student: a teacher's name is 1 to 64"),
        ({"peers": {}}, "teachers.peers: a teacher's name is 1 to 64"),
        ({"../up": {}}, "teachers.../up: a teacher's name is 1 to 64"),
        ({"a": {"generations": 0}}, "teachers.a.generations: 0 is not allowed"),
        ({"a": {"generations": 101}}, "teachers.a.generations: 101 is not allowed"),
        ({"a": {"generations": 2}, "a.1": {}}, "there is already a teacher 'a.1'"),
        ({"a.1": {}, "a": {"generations": 2}}, "there is already a teacher 'a.1'"),
    ],
    ids=str,
)
def test_a_chain_that_cannot_be_is_a_fault_with_its_place(teachers: dict[str, Any], says: str) -> None:
    answer = command(SMALL | {"teachers": teachers}, "check")
    assert answer.code == 2
    assert answer.lines[0].startswith("plan.yaml:1:")
    assert says in answer.lines[0]


def test_a_teacher_that_nobody_hears_is_a_fault() -> None:
    answer = command(SMALL | TWO | hearing(teacher="a"), "check")
    assert answer.code == 2
    assert "teachers.b: no term uses it; name it in a term, or remove it" in answer.lines[0]


def test_generations_are_a_chain_of_equals_each_with_weights_of_its_own() -> None:
    assert command(SMALL | {"teachers": {"born": {"generations": 3}}}).code == 0
    found, results = models(), results_of()
    assert set(found) == {"control", "student", "teacher.born", "teacher.born.1", "teacher.born.2"}
    assert len({one.fingerprint() for one in found.values()}) == 5
    assert {one.network.units for name, one in found.items() if "teacher" in name} == {(64, 16, 10)}
    assert [one["objective"] for one in results["teachers"].values()] == [
        "1 cross_entropy",
        "0.3 cross_entropy + 0.7 response(born.1, T=4)",
        "0.3 cross_entropy + 0.7 response(born.2, T=4)",
    ]
    spelled = {"born.1": {}, "born.2": {"teacher": "born.1"}, "born": {"teacher": "born.2"}}
    short, long = (config.load(SMALL | {"teachers": one}) for one in ({"born": {"generations": 3}}, spelled))
    assert short == long


def test_no_generation_is_an_alias_of_another() -> None:
    results = distill.run(SMALL | {"teachers": {"born": {"generations": 4}}})
    arrays = [one.weights.flat for one in (*results.teachers.values(), results.student, results.control)]
    for i, one in enumerate(arrays):
        assert not one.flags.writeable
        assert not any(np.shares_memory(one, other) for other in arrays[i + 1 :])


def test_the_first_generation_may_have_a_teacher() -> None:
    plan = config.load(SMALL | {"teachers": {"top": {}, "born": {"generations": 2, "teacher": "top"}}})
    heard_by = {name: [t for term in one.terms for t, _ in term.teachers] for name, one in plan.teachers.items()}
    assert heard_by == {"top": [], "born.1": ["top"], "born": ["born.1"]}


# What a run leaves in its folder, and what it may not touch there.


def test_a_run_leaves_no_teacher_of_an_earlier_one_beside_its_results() -> None:
    """FOLDER never holds the results of one run beside the models of another."""
    for plan, left in (
        (CHAIN, {"teacher.last", "teacher.middle", "teacher.top"}),
        ({}, {"teacher"}),
        (terms({"loss": "hint", "weight": 1}, peers=1) | terms({"loss": "hint"}), {"teacher", "student.full"}),
        (terms({"loss": "response", "teacher": "peers"}, peers=2), {"teacher", "peer1", "peer2"}),
        ({"teachers": {"big": {"generations": 2}}}, {"teacher.big", "teacher.big.1"}),
    ):
        assert command(SMALL | plan).code == 0
        assert set(models()) == left | {"student", "control"}


def test_a_user_s_own_files_in_the_folder_stay(saved: Model) -> None:
    assert command(SMALL).code == 0
    for name in ("teacher_of_mine.npz", "students.npz", "peers.npz", "controls.npz", "notes.txt"):
        Path("runs/plan", name).write_text("years of work")
    assert command(SMALL | CHAIN).code == 0
    for name in ("teacher_of_mine.npz", "students.npz", "peers.npz", "controls.npz", "notes.txt"):
        assert Path("runs/plan", name).read_text() == "years of work"


@pytest.mark.parametrize("after", [1, 2, 4, 6])
def test_a_chain_that_is_killed_while_its_files_move_does_not_block_the_next_run(
    after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, moved = Path.replace, [0]

    def replace_some(self: Path, target: Path) -> Path:
        if self.parent.name.endswith(".partial") and not self.name.endswith(".tmp") and "partial" not in str(target):
            moved[0] += 1
            if moved[0] > after:
                raise KeyboardInterrupt
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace_some)
        assert command(SMALL | CHAIN).code == 130
    assert Path("runs/plan.partial").exists()
    assert command(SMALL | CHAIN).code == 0
    assert not Path("runs/plan.partial").exists()


def test_no_output_replaces_a_model_of_the_run() -> None:
    plan = SMALL | CHAIN | terms({"loss": "hint", "weight": 1})
    assert command(plan).code == 0
    before = {path: path.read_bytes() for path in Path("runs/plan").glob("*.npz")}
    assert len(before) == 6
    for path in before:
        assert command(plan, "run", "--output", str(path)).code == 5, path
    assert ask("report", "runs/plan", "--output", "runs/plan/teacher.top.npz").code == 5
    assert {path: path.read_bytes() for path in before} == before


def test_no_two_teachers_share_a_file() -> None:
    """a.full is a name like any other; the full checkpoint of a is called so too."""
    hint = {"hidden": 8, "terms": [LABELS, {"loss": "hint", "weight": 1, "teacher": "t"}]}
    plan = SMALL | {"teachers": {"t": {}, "a": hint, "a.full": {"hidden": 4, "epochs": 9, "teacher": "t"}}}
    answer = command(plan)
    if answer.code == 2:
        return  # such a name may be refused
    sizes = {name: one.network.units for name, one in models().items()}
    assert sizes["teacher.a"] == (64, 8, 10)
    assert len([one for one in sizes.values() if one == (64, 8, 10)]) == 2
    assert (64, 4, 10) in sizes.values()


def test_what_was_finished_of_a_chain_is_kept_when_it_ends_early() -> None:
    broken = {"teachers": CHAIN["teachers"] | {"last": {"teacher": "middle", "epochs": 0}}}
    answer = command(SMALL | broken)
    assert answer.code == 1
    assert "the teacher 'last' learned nothing" in answer.lines[-1]
    assert {one.name for one in Path("runs/plan.partial").glob("*.npz")} == {"teacher.top.npz", "teacher.middle.npz"}
    assert command(SMALL | CHAIN).code == 0


# --- beside the student -----------------------------------------------------------------------------------------------

MUTUAL = {"loss": "response", "weight": 0.5, "teacher": "peers"}


@pytest.mark.parametrize(
    "sets",
    [
        [],
        ["student.clip=0.1"],
        ["student.optimizer=sgd", "student.momentum=0.5", "student.weight_decay=0.01"],
        ["student.hidden=[16, 8]", "student.batch_size=7", "student.schedule=cosine"],
        ["student.labels=30"],
        ["student.label_noise=0.3"],
        ["student.noise=0.1"],
        ["student.patience=1"],
    ],
    ids=str,
)
def test_peers_change_the_student_and_no_bit_of_its_control(sets: list[str]) -> None:
    alone, one, two = (distill.run(SMALL | terms(*([MUTUAL] if n else []), peers=n), sets) for n in (0, 1, 2))
    assert alone.control.fingerprint() == one.control.fingerprint() == two.control.fingerprint()
    assert len({each.student.fingerprint() for each in (alone, one, two)}) == 3


def test_peers_are_networks_of_their_own_with_files_and_histories() -> None:
    plan = SMALL | terms(MUTUAL, {"loss": "response", "weight": 0.5, "teacher": "teacher"}, peers=3)
    assert command(plan).code == 0
    found, results = models(), results_of()
    assert set(found) == {"teacher", "student", "control", "peer1", "peer2", "peer3"}
    assert len({one.fingerprint() for one in found.values()}) == 6
    assert {one.network.units for name, one in found.items() if name != "teacher"} == {(64, 32, 10)}
    assert {len(results["history"][f"peer{i}"]) for i in (1, 2, 3)} == {2}
    assert results["objective"] == "0.5 cross_entropy + 0.5 response(peers, T=4) + 0.5 response(teacher, T=4)"
    assert results["control_objective"] == "1 cross_entropy"
    assert list(results["teachers"]) == ["teacher"]
    again = distill.run(plan)
    assert again.student.fingerprint() == found["student"].fingerprint()


def test_peers_learn_together_from_the_first_step() -> None:
    """With one step of one batch they have heard each other's first weights only, which differ."""
    once = {"distillation": SMALL["distillation"] | {"student_epochs": 1, "batch_size": 1000}}
    assert command(SMALL | once | terms(MUTUAL, peers=2)).code == 0
    together = models()
    assert command(SMALL | once | terms(MUTUAL, peers=1)).code == 0
    fewer = models()
    assert together["peer1"].fingerprint() != fewer["peer1"].fingerprint()
    assert (
        command(SMALL | {"distillation": once["distillation"] | {"student_epochs": 0}} | terms(MUTUAL, peers=2)).code
        == 0
    )
    untrained = models()
    assert untrained["student"].fingerprint() == untrained["control"].fingerprint()
    assert len({untrained[name].fingerprint() for name in ("student", "peer1", "peer2")}) == 3


@pytest.mark.parametrize(
    ("student", "says"),
    [
        ({"peers": 1, "terms": [LABELS]}, "student.peers: no term uses the peers"),
        ({"peers": -1}, "student.peers: -1 is not allowed"),
        ({"peers": 101}, "student.peers: 101 is not allowed"),
        ({"terms": [MUTUAL]}, "there are no peers; set student.peers to 1 or more"),
        ({"peers": 1, "terms": [MUTUAL | {"teacher": ["peers", "teacher"]}]}, "peers need a term of their own"),
        ({"peers": 1, "terms": [{"loss": "hint", "weight": 1, "teacher": "peers"}]}, "but peers give logits alone"),
    ],
    ids=str,
)
def test_peers_that_cannot_be_are_a_fault_with_their_place(student: dict[str, Any], says: str) -> None:
    answer = command(SMALL | {"student": student}, "check")
    assert answer.code == 2
    assert answer.lines[0].startswith("plan.yaml:1:")
    assert says in answer.lines[0]


# --- noise ------------------------------------------------------------------------------------------------------------


def test_with_noise_a_teacher_is_asked_about_every_batch_anew(saved: Model) -> None:
    class Counting(Network):
        asked = 0

        def logits(self, x: Array) -> Array:
            self.asked += len(x) == 32
            return super().logits(x)

    calm, noisy = Counting(saved), Counting(saved)
    still = distill.run(SMALL, teachers={"it": calm})
    moved = distill.run(SMALL | {"student": {"noise": 0.1}}, teachers={"it": noisy})
    assert (calm.asked, noisy.asked) == (0, 2 * 5)  # 2 epochs of 160 rows
    assert moved.student.fingerprint() != still.student.fingerprint()
    assert moved.control.fingerprint() != still.control.fingerprint()


@pytest.mark.parametrize("scale", ["auto", "standard"])
def test_with_noise_a_teacher_is_asked_about_the_noisy_row_wherever_it_comes_from(scale: str, saved: Model) -> None:
    noise = {"student": {"noise": 0.3}, "data": {"scale": scale}}
    trained = distill.run(SMALL | noise)
    assert trained.teacher is not None
    trained.teacher.save("own.npz")
    for other in (
        distill.run(SMALL | noise | loaded("own.npz")),
        distill.run(SMALL | noise, teachers={"it": trained.teacher}),
    ):
        np.testing.assert_allclose(other.student.weights.flat, trained.student.weights.flat, atol=2e-3)
        assert other.control.fingerprint() == trained.control.fingerprint()


def test_no_noise_is_no_noise() -> None:
    assert prints(small(student={"noise": 0.0})) == prints(small())


# --- every plan, by every command -------------------------------------------------------------------------------------

PLANS: dict[str, dict[str, Any]] = {
    "loaded": loaded(name="big"),
    "loaded, hidden layers": loaded() | terms({"loss": "hint", "weight": 1}),
    "predictions": {"teachers": {"said": {"predictions": "said.npy", "kind": "logits"}}},
    "training rows": {"teachers": {"said": {"predictions": "trained_on.npy"}}},
    "ensemble": TWO | hearing(teacher={"a": 1, "b": 2}, combine="logits"),
    "ensemble by default": BACKWARDS | terms({"loss": "response"}),
    "everything": {
        "teachers": {
            "said": {"predictions": "trained_on.npy"},
            "file": {"load": "teacher.npz"},
            "own": {"generations": 2},
            "1e3": {"teacher": ["said", "file", "own"]},
            "null": {"terms": [LABELS, {"loss": "hint", "teacher": "own", "layers": {1: 1}}]},
        }
    },
    "chain": CHAIN,
    "generations": {"teachers": {"born": {"generations": 3}}},
    "long name": {"teachers": {"b" * 62: {"generations": 2}}},
    "peers": {"student": {"peers": 2}},
    "peers and teacher": terms(MUTUAL, {"loss": "dist", "teacher": "teacher"}, peers=1),
    "noise": {"student": {"noise": 0.1}},
    "stages": TWO | {"student": {"stages": [{"epochs": 1, "train": [1]}, {"epochs": 1, "learning_rate": 0.001}]}},
    "cached": {"performance": {"cache": "cache"}},
}


@pytest.fixture
def files(saved: Model, rows: Data, digits: tuple[Array, Array]) -> None:
    z = saved.logits(digits[0])
    np.save("said.npy", z)
    np.save("trained_on.npy", z[rows.train.ids])


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("name", PLANS)
def test_every_plan_is_checked_run_timed_and_written_as_it_was_meant(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.bench.SECONDS", 0.001)
    plan = SMALL | PLANS[name]
    for words in (("check",), ("bench",), ("run",)):
        answer = command(plan, *words)
        assert (answer.code, answer.lines) == (0, []), words
    assert placeless(distill.load_config("runs/plan/config.yaml")) == placeless(distill.load_config("plan.yaml"))
    results = results_of()
    assert placeless(distill.load_config(results["config"])) == placeless(distill.load_config("plan.yaml"))
    assert set(results["teachers"]) == set(results["config"]["teachers"])
    heard = math.fsum(one["share"] for one in results["teachers"].values())
    assert heard == pytest.approx(0 if results["objective"].endswith("response(peers, T=4)") else 1)
    first = {one: model.fingerprint() for one, model in models().items()}
    shutil.copy("runs/plan/config.yaml", "again.yaml")
    assert ask("run", "--config", "again.yaml", "--quiet", "--set=output.folder=runs/again").code == 0
    assert {one: model.fingerprint() for one, model in models("runs/again").items()} == first
    newest = list(first)[-1]
    assert ask("predict", "--model", f"runs/plan/{newest}.npz", "--data", "digits").out.count("\n") == 1798


@pytest.mark.usefixtures("files")
def test_a_page_shows_every_teacher() -> None:
    plan = PLANS["everything"] | {"evidence": {"seeds": 2, "share_teacher": True}}
    assert command(SMALL | plan).code == 0
    assert ask("report", "runs/plan").code == 0
    page = Path("runs/plan/report.html").read_text()
    assert all(f"<td>{one}</td>" in page for one in plan["teachers"])


@pytest.mark.parametrize("workers", [1, 2])
def test_further_seeds_train_every_teacher_anew_or_share_them_all(workers: int, saved: Model) -> None:
    chain = {"teachers": {"a": {}, "b": {"teacher": "a"}}} | {"evidence": {"seeds": 3, "workers": workers}}
    anew, shared = distill.run(SMALL | chain), distill.run(SMALL | chain, ["evidence.share_teacher=true"])
    assert len({one["teacher_ce"] for one in anew["seeds"]}) == 3
    assert len({one["teacher_ce"] for one in shared["seeds"]}) == 1
    assert anew["seeds"][0] == shared["seeds"][0]
    alone = distill.run(SMALL | chain, ["evidence.seeds=1", "distillation.random_seed=2"])
    assert alone["seeds"][0] == anew["seeds"][2]


TEACHER_NAMES = st.sampled_from(["a", "b", "c", "teacher", "1", "null", "x.y", "Ä-_"])


@st.composite
def any_teachers(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in draw(st.lists(TEACHER_NAMES, min_size=1, max_size=4, unique=True)):
        kinds: list[dict[str, Any]] = [{}, {"hidden": [8, 4]}, {"load": "1e3"}, {"predictions": "null", "kind": "auto"}]
        kinds += [{"python": "Forest"}, {"generations": 2}]
        if found:
            above = draw(st.lists(st.sampled_from(sorted(found)), min_size=1, max_size=3))
            kinds += [{"teacher": above}, {"teacher": {one: i + 1 for i, one in enumerate(above)}, "generations": 2}]
            kinds += [{"terms": [LABELS, {"loss": "response"}, {"loss": "dist", "teacher": above}]}]
        found[name] = draw(st.sampled_from(kinds))
    return found


@FUZZ
@given(any_teachers(), st.sampled_from([{}, {"terms": [{"loss": "response"}]}, {"stages": [{"epochs": 1}]}]))
def test_any_plan_of_teachers_is_written_so_that_it_reads_back(
    teachers: dict[str, Any], student: dict[str, Any]
) -> None:
    try:
        plan = config.load({"teachers": teachers, "student": student})
    except ConfigError:
        assume(False)
    Path("written.yaml").write_text(config.dump(plan))
    assert placeless(config.load("written.yaml")) == plan
    assert config.load(config.as_dict(plan)) == plan


@FUZZ
@given(any_teachers(), st.randoms(use_true_random=False))
def test_the_order_of_independent_teachers_is_no_part_of_what_the_student_hears(
    teachers: dict[str, Any], random: Any
) -> None:
    assume(not any({"teacher", "terms"} & one.keys() for one in teachers.values()))
    names = random.sample(list(teachers), len(teachers))
    for student in ({}, {"terms": [{"loss": "response", "weight": 1}]}):
        one, other = (
            config.load({"teachers": {name: teachers[name] for name in order}, "student": student})
            for order in (list(teachers), names)
        )
        assert one.student == other.student
