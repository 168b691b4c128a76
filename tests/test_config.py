"""Configuration: two spellings, strict values, overrides, the effect of every key. Faults: test_hostile_configs."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import distill
from conftest import SMALL, blobs, small
from distill import cli, config
from distill.config.schema import SECTIONS, StudentPlan, TeacherPlan, Term, rules_of
from distill.config.terms import LOSS_TRAITS, OPTIONS, TERM_KEYS
from distill.config.yaml_nodes import scalar
from distill.nn.features import FEATURES
from distill.nn.losses import LOSSES
from distill.system import processes
from distill.train import fit
from distill.train.threads import team_of

ROOT = Path(__file__).parents[1]


def value_of(overrides: str, *path: str) -> Any:
    value: Any = config.as_dict(config.load({}, [overrides]))
    for name in path:
        value = value[name]
    return value


def test_the_shipped_configuration_spells_out_the_defaults() -> None:
    shipped, default = config.load(ROOT / "config.yaml"), config.load({})
    assert shipped.distillation == default.distillation
    assert shipped.logging == default.logging
    assert (shipped.output.folder, default.output.folder) == (str(Path("runs/config")), None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("1E-3", 1e-3), ("1.5e+2", 150.0), (".5", 0.5), ("5.", 5.0), ("-2", -2), ("+2", 2), ("0", 0),
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("017", "017"), ("0o17", "0o17"), ("0x1F", "0x1F"),
        ("1:30", "1:30"), ("1_000", "1_000"), ("2020-01-01", "2020-01-01"), ("=", "="), ("1.2.3", "1.2.3"),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("None", "None"), ("e5", "e5"),
    ],
)  # fmt: skip
def test_a_plain_scalar_is_what_it_plainly_is_or_else_its_text(text: str, value: object) -> None:
    assert (type(scalar(text)), scalar(text)) == (type(value), value)


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("distillation.learning_rate=1e-3", ("distillation", "learning_rate"), 1e-3),
        ("distillation.temperature=2", ("distillation", "temperature"), 2.0),
        ("student.hidden=[64,32]", ("student", "hidden"), [64, 32]),
        ("student.hidden=7", ("student", "hidden"), [7]),
        ("data.source=a=b.csv", ("data", "source"), "a=b.csv"),
        ("data.label=no", ("data", "label"), "no"),
        ("data.label=017", ("data", "label"), "017"),
        ("data.label=-1", ("data", "label"), -1),
        ("logging.file=", ("logging", "file"), None),
        ("logging.file=null", ("logging", "file"), None),
        ("teachers.big.epochs=3", ("teachers", "big", "epochs"), 3),
        ("output.folder='null'", ("output", "folder"), "null"),
    ],
)
def test_overrides_go_through_the_same_parser(override: str, path: tuple[str, ...], value: object) -> None:
    if path == ("data", "label"):
        plan = config.as_dict(config.load({"data": {"source": "x.csv"}}, [override]))
        assert plan["data"]["label"] == value
    else:
        assert value_of(override, *path) == value


def test_the_last_of_several_overrides_wins() -> None:
    plan = config.load({"distillation": {"alpha": 0.1}}, ["distillation.alpha=0.2", "distillation.alpha=0.3"])
    assert plan.distillation.alpha == 0.3


def test_the_long_spelling_refines_the_short_one() -> None:
    plan = config.load(
        {
            "distillation": {"learning_rate": 0.5, "optimizer": "sgd", "momentum": 0.3, "teacher_epochs": 7},
            "teachers": {"big": {"hidden": [9, 8], "optimizer": "adam"}},
            "student": {"learning_rate": 0.25},
        }
    )
    teacher, student = plan.teachers["big"], plan.student
    assert (teacher.hidden, teacher.epochs, teacher.learning_rate) == ((9, 8), 7, 0.5)
    assert (teacher.optimizer, teacher.momentum) == ("adam", None)
    assert (student.hidden, student.learning_rate, student.optimizer, student.momentum) == ((32,), 0.25, "sgd", 0.3)
    assert [term.teachers for term in student.terms] == [(), (("big", 1.0),)]


def test_terms_take_what_they_leave_out_from_the_short_spelling() -> None:
    terms = [{"loss": "response", "t_squared": False}, {"loss": "cross_entropy", "weight": 2}]
    plan = config.load({"distillation": {"alpha": 0.6, "temperature": 3}, "student": {"terms": terms}})
    assert plan.student.terms == (
        Term("response", 0.6, (("teacher", 1.0),), {"temperature": 3.0, "t_squared": False}),
        Term("cross_entropy", 2.0, options={"smoothing": 0.0}),
    )


@pytest.mark.parametrize("loss", LOSS_TRAITS)
def test_the_facts_of_a_loss_are_those_of_its_function(loss: str) -> None:
    traits, function = LOSS_TRAITS[loss], (LOSSES | FEATURES)[loss]
    parameters = signature(function).parameters.values()
    assert set(traits.parameters) == {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}
    assert traits.on == ("hidden layers" if loss in FEATURES else "logits")
    assert ("layers" in traits.options) == (loss in FEATURES)
    wide, narrow = np.eye(5), np.eye(5)[:, :3]
    with pytest.raises(ValueError, match="adapter") if traits.same_units else nullcontext():
        function(narrow, wide if loss in FEATURES else narrow, np.zeros(5, int))
    assert traits.same_units or not traits.trains_adapter


def test_the_table_of_losses_names_each_once_and_those_that_the_engine_treats_apart() -> None:
    assert list(LOSS_TRAITS) == [*LOSSES, *FEATURES]
    precomputable = {loss for loss, traits in LOSS_TRAITS.items() if traits.precomputable}
    assert precomputable == {"cross_entropy", "response", "soft_cross_entropy"}
    adapted = {loss for loss, traits in LOSS_TRAITS.items() if traits.same_units and not traits.trains_adapter}
    assert adapted == {"novelty"}


KEYS = st.fixed_dictionaries(
    {},
    optional={
        "teacher_hidden": st.one_of(st.integers(1, 99), st.lists(st.integers(1, 99), min_size=1, max_size=4)),
        "student_epochs": st.integers(0, 9),
        "temperature": st.floats(1e-6, 1e4),
        "alpha": st.floats(0, 1),
        "learning_rate": st.floats(1e-12, 1000),
        "optimizer": st.sampled_from(["adam", "sgd"]),
        "clip": st.none() | st.floats(1e-9, 1e6),
        "max_samples": st.none() | st.integers(2, 10**6),
        "random_seed": st.integers(0, 2**32 - 1),
    },
)
NAMES = st.text(min_size=1, max_size=8).filter(lambda s: s.strip() and s.isprintable() and "\x85" not in s)


@given(KEYS, NAMES, NAMES)
def test_the_resolved_plan_loads_back_as_itself(
    tmp_path_factory: Any, short: dict[str, Any], folder: str, file: str
) -> None:
    plan = config.load({"distillation": short, "output": {"folder": folder}, "logging": {"file": file}})
    assert config.load(config.as_dict(plan)) == plan
    path = tmp_path_factory.mktemp("plan") / "plan.yaml"
    path.write_text(config.dump(plan), encoding="utf-8")
    assert config.load(path) == plan


def test_an_environment_variable_overrides_the_log_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILL_LOG_LEVEL", "warning")
    assert config.load({"logging": {"level": "DEBUG"}}).logging.level == "WARNING"


# --- every key visibly acts -------------------------------------------------------------------------------------------

Probe = Callable[[distill.Results], Any]


def result(*path: str) -> Probe:
    def probe(results: Any) -> object:
        for name in path:
            results = results[name]
        return results

    return probe


STUDENT, TEACHER = result("student_val_ce"), result("teacher_val_ce")
STEPS = result("timings", "student", "steps")

# key -> (override, what it changes, what it must not change)
ELSEWHERE = ("load", "predictions", "kind", "python", "generations")
ACTS: dict[str, tuple[str, Probe, Probe | None]] = {
    "distillation.teacher_hidden": ("[8, 9]", result("teacher_params"), result("student_params")),
    "distillation.student_hidden": ("7", result("student_params"), result("teacher_params")),
    "distillation.teacher_epochs": ("4", lambda r: len(r["history"]["teacher"]), STEPS),
    "distillation.student_epochs": ("4", lambda r: len(r["history"]["student"]), TEACHER),
    "distillation.temperature": ("2", STUDENT, result("control_val_ce")),
    "distillation.alpha": ("0.5", STUDENT, result("control_val_ce")),
    "distillation.t_squared": ("false", STUDENT, result("control_val_ce")),
    "distillation.learning_rate": ("0.02", STUDENT, STEPS),
    "distillation.batch_size": ("16", STEPS, result("student_params")),
    "distillation.train_ratio": ("0.5", result("data", "rows"), result("student_params")),
    "distillation.max_samples": ("150", result("data", "rows"), result("student_params")),
    "distillation.random_seed": ("1", STUDENT, STEPS),
    "distillation.optimizer": ("sgd", STUDENT, STEPS),
    "distillation.schedule": ("cosine", STUDENT, STEPS),
    "distillation.warmup": ("0.3", STUDENT, STEPS),
    "distillation.weight_decay": ("0.1", STUDENT, STEPS),
    "distillation.clip": ("0.1", STUDENT, STEPS),
    "distillation.patience": ("1", result("models", "student", "kept"), None),
    "data.test_ratio": ("0.1", result("data", "rows"), result("student_params")),
    "student.labels": ("50", result("data", "student_rows"), TEACHER),
    "student.label_noise": ("0.4", STUDENT, TEACHER),
    "evidence.seeds": ("2", lambda r: len(r["seeds"]), STUDENT),
    "data.scale": ("minmax", STUDENT, STEPS),
    **{
        f"{section}.{key}": (override, changes, stays)
        for section, changes, stays in (
            ("teachers.teacher", TEACHER, result("control_val_ce")),
            ("student", STUDENT, TEACHER),
        )
        for key, override in {
            "hidden": "[8]",
            "epochs": "4",
            "learning_rate": "0.02",
            "batch_size": "16",
            "optimizer": "sgd",
            "schedule": "step",
            "warmup": "0.3",
            "weight_decay": "0.1",
            "clip": "0.1",
        }.items()
    },
    **{
        f"{section}.patience": (
            "1",
            result("models", name, "kept"),
            STUDENT if name == "teacher" else TEACHER,
        )
        for section, name in (("teachers.teacher", "teacher"), ("student", "student"))
    },
    "student.noise": ("0.1", STUDENT, TEACHER),
    "student.peers": ("1", STUDENT, TEACHER),
    "student.stages": ("[{epochs: 1}, {epochs: 1, learning_rate: 0.001}]", STUDENT, TEACHER),
    "student.terms": ("[{loss: cross_entropy, weight: 2}]", STUDENT, TEACHER),
    # more than the default, which is one per core
    "performance.threads": (str((os.cpu_count() or 1) + 1), result("machine", "threads"), STUDENT),
}


@pytest.mark.parametrize("key", ACTS)
def test_the_key_acts_and_only_where_it_should(
    key: str, small_run: distill.Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISTILL_THREADS", raising=False)
    value, changes, stays = ACTS[key]
    run = small(f"{key}={value}")
    assert changes(run) != changes(small_run)
    assert stays is None or stays(run) == stays(small_run)


@pytest.mark.parametrize("where", ["distillation", "teachers.teacher", "student"])
def test_momentum_acts_with_sgd(where: str) -> None:
    base = [f"{where}.optimizer=sgd", f"{where}.learning_rate=0.01"]
    probe = TEACHER if where == "teachers.teacher" else STUDENT
    assert probe(small(*base)) == probe(small(*base, f"{where}.momentum=0.9"))
    assert probe(small(*base)) != probe(small(*base, f"{where}.momentum=0.5"))


@pytest.mark.parametrize(
    ("term", "moved"),
    [
        ("{loss: response, weight: 1, temperature: 2}", True),
        ("{loss: response, weight: 1, t_squared: false}", True),
        ("{loss: response, weight: 2}", True),
        ("{loss: cross_entropy, weight: 1}", True),
        ("{loss: response, weight: 1, teacher: teacher}", False),
    ],
)
def test_the_keys_of_a_term_act(term: str, moved: bool) -> None:
    plain = small("student.terms=[{loss: response, weight: 1}]", "student.clip=1")
    assert (STUDENT(small(f"student.terms=[{term}]", "student.clip=1")) != STUDENT(plain)) is moved


def test_unlabelled_rows_are_used_or_dropped() -> None:
    used, dropped = (small("student.labels=50", f"student.unlabelled={what}") for what in ("use", "drop"))
    assert used["data"]["student_rows"] == {"labelled": 50, "unlabelled": 110}
    assert dropped["data"]["student_rows"] == {"labelled": 50, "unlabelled": 0}
    assert STEPS(used) > STEPS(dropped)


def test_a_shared_teacher_keeps_teacher_and_split_over_the_seeds() -> None:
    apart, shared = (small("evidence.seeds=3", f"evidence.share_teacher={what}") for what in ("false", "true"))
    assert len({seed["teacher_ce"] for seed in apart["seeds"]}) == 3
    assert len({seed["teacher_ce"] for seed in shared["seeds"]}) == 1
    assert len({seed["student_ce"] for seed in shared["seeds"]}) == 3


def test_the_number_of_workers_moves_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    original = processes._worker_pool

    def counted(function: Any, workers: int, *rest: Any) -> Any:
        counts.append(workers)
        return original(function, workers, *rest)

    monkeypatch.setattr(processes, "_worker_pool", counted)
    alone, two = (small("evidence.seeds=4", f"evidence.workers={workers}") for workers in (1, 2))
    assert counts == [2]
    assert alone["seeds"] == two["seeds"]
    assert alone["verdict"] == two["verdict"]


def test_training_gets_the_threads_of_the_plan_or_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """So do teacher and student where a step is large enough to be shared, and further seeds in one process."""
    monkeypatch.delenv("DISTILL_THREADS", raising=False)
    counts: list[int] = []

    def counted(threads: int) -> Any:
        counts.append(threads)
        return team_of(threads)

    monkeypatch.setattr(fit, "team_of", counted)
    small("performance.threads=3")
    assert counts == [1, 1]
    monkeypatch.setattr(fit, "is_shared", lambda network, rows: True)
    small("performance.threads=3", "evidence.seeds=3", "evidence.workers=1")
    assert counts[2:] == [3, 3] * 3
    monkeypatch.setenv("DISTILL_THREADS", "2")
    small("performance.threads=3")
    assert counts[8:] == [2, 2]


def csv_file(path: Path, header: str = "", label_first: bool = False) -> Path:
    x, y = blobs()
    rows = [[f"{v:.4f}" for v in row] for row in x]
    lines = [",".join([str(c), *row] if label_first else [*row, str(c)]) for row, c in zip(rows, y, strict=True)]
    path.write_text("\n".join(([header] if header else []) + lines) + "\n")
    return path


def test_the_keys_of_data_act(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last, first = csv_file(in_tmp / "last.csv"), csv_file(in_tmp / "first.csv", label_first=True)
    assert small("data.source=last.csv")["data"]["source"] == "last.csv"
    assert small("data.source=first.csv", "data.label=0")["data"]["classes"] == [0, 1, 2]
    assert STUDENT(small("data.source=first.csv", "data.label=0")) == STUDENT(small("data.source=last.csv"))
    assert small("data.source=last.csv", "data.drop=[0, -2]")["data"]["features"] == 2
    assert small("data.source=last.csv", "data.unlabelled_label=1")["data"]["classes"] == [0, 2]
    named = csv_file(in_tmp / "named.csv", "a,b,kind,d,c")
    named.write_text(named.read_text().replace("kind", "e"))
    assert small("data.source=named.csv", "data.label=c")["data"]["rows"] == {"train": 96, "validation": 24}
    # numbers for names: only `header: true` can tell that the first row is one
    numbered = csv_file(in_tmp / "numbered.csv", "0,1,2,3,4")
    numbered.write_text(numbered.read_text().replace("0,1,2,3,4\n", "0,1,2,3,2\n", 1))

    def count(results: distill.Results) -> int:
        return sum(results["data"]["rows"].values())

    assert count(small("data.source=numbered.csv")) == 121
    numbered.write_text(numbered.read_text().replace("0,1,2,3,2\n", "0,1,2,3,4\n", 1))
    assert count(small("data.source=numbered.csv", "data.header=true")) == 120
    (in_tmp / "test.csv").write_text(last.read_text())
    assert small("data.source=last.csv", "data.test=test.csv")["data"]["rows"]["test"] == 120
    # rows that stay on disk come in another order, that of their blocks
    monkeypatch.setattr("distill.data.ondisk.BLOCK_BYTES", 64)
    (in_tmp / "set").mkdir()
    for name, array in zip("Xy", blobs(), strict=True):
        np.save(in_tmp / "set" / f"{name}.npy", array)
    held, left = (small("data.source=set", f"data.in_memory_mb={most}") for most in (1, 0))
    assert STUDENT(left) != STUDENT(held) == STUDENT(small("data.source=set"))
    assert (left["data"], STEPS(left)) == (held["data"], STEPS(held))
    assert last.exists()
    assert first.exists()


def test_the_keys_of_logging_and_output_act(in_tmp: Path) -> None:
    path = in_tmp / "plan.yaml"
    path.write_text(config.dump(config.load(SMALL)).replace("folder: null", "folder: elsewhere/run"))
    assert cli.main(["--config", str(path), "--quiet", "--set", "logging.file=deep/er/run.log"]) == 0
    quiet = (in_tmp / "deep/er/run.log").read_text()
    assert (in_tmp / "elsewhere/run/results.json").exists()
    assert not (in_tmp / "logs").exists()
    assert " - INFO - " in quiet
    assert " - DEBUG - " not in quiet
    assert cli.main(["--config", str(path), "--quiet", "--set", "logging.level=DEBUG"]) == 0
    assert " - distill.report.record - DEBUG - teacher: epoch 1" in (in_tmp / "logs/app.log").read_text()
    assert cli.main(["--config", str(path), "--quiet", "--set", "logging.file=null", "--set", "output.folder=b"]) == 0
    assert sorted(path.name for path in in_tmp.iterdir()) == ["b", "deep", "elsewhere", "logs", "plan.yaml"]


def test_no_key_is_without_a_test_of_its_effect() -> None:
    tested = set(ACTS)
    tested |= {f"{where}.momentum" for where in ("distillation", "teachers.teacher", "student")}
    tested |= {
        f"data.{key}" for key in ("source", "label", "header", "drop", "unlabelled_label", "test", "in_memory_mb")
    }
    tested |= {"logging.level", "logging.file", "output.folder", "student.unlabelled"}
    tested |= {"evidence.share_teacher", "evidence.workers", "distillation.weak_teacher"}
    tested |= {"teachers.teacher.network", "student.network"}  # tests/test_families.py
    tested |= {"performance.cache"} | {f"teachers.teacher.{key}" for key in ELSEWHERE}  # tests/test_teachers.py
    keys = {f"{section}.{key}" for section, kind in SECTIONS.items() for key in rules_of(kind)}
    keys |= {f"teachers.teacher.{key}" for key in rules_of(TeacherPlan)} | {
        f"student.{key}" for key in rules_of(StudentPlan)
    }
    assert tested == keys | {"student.terms", "student.stages"}
    assert TERM_KEYS.keys() == {"loss", "weight", "final_weight", "weight_schedule", *OPTIONS}
    assert {section.name for section in fields(config.Config)} == {*SECTIONS, "teachers", "student"}
