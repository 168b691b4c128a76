"""Evidence: statistics against SciPy and scikit-learn, the verdict's words, what the student sees, honest splits."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import distill
from conftest import SMALL, held, small
from distill import cli, config, data, pipeline, student
from distill.config.schema import LABELS_ONLY, stages_of
from distill.data.rows import Rows
from distill.nn import metrics
from distill.nn.losses import cross_entropy
from distill.nn.vector import Array
from distill.report import verdict
from distill.report.page import build
from distill.system import processes
from distill.teacher import sources as teacher
from distill.train.fit import Run, fit

# Of the two trials of the whole verdict; the campaign is TRIALS=20 python -m pytest tests/test_evidence.py
TRIALS = int(os.environ.get("TRIALS", "4"))

# --- measures ---------------------------------------------------------------------------------------------------------

LOGITS = np.round(np.random.default_rng(7).normal(size=(40, 4)) * 2, 2)
LABELS = np.array([int(c) for c in "2210212101111002210111002021022222202222"])


def test_measures_are_scikit_learns() -> None:
    """f1_score(macro), log_loss, brier_score_loss(scale_by_half=False), confusion_matrix of 1.9.1; SciPy's entropy."""
    counts = metrics.confusion(LOGITS, LABELS)
    assert counts.tolist() == [[2, 1, 4, 3], [2, 3, 5, 2], [5, 4, 3, 6], [0, 0, 0, 0]]
    assert metrics.macro_f1(counts) == pytest.approx(0.17763157894736842, rel=1e-12)
    assert metrics.accuracy(LOGITS, LABELS) == pytest.approx(0.2, rel=1e-12)
    assert metrics.cross_entropy(LOGITS, LABELS) == pytest.approx(2.344488150733841, rel=1e-12)
    assert metrics.brier(LOGITS, LABELS) == pytest.approx(1.0390536015550798, rel=1e-12)
    assert metrics.divergence(LOGITS[:20], LOGITS[20:]) == pytest.approx(1.4560031314355704, rel=1e-12)


def test_calibration_error_by_hand() -> None:
    """Two rows at confidence 0.9 of which one is right, two at 0.6 which are both right: 0.5 * 0.4 + 0.5 * 0.4."""
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.6, 0.4]])
    labels = np.array([0, 1, 1, 0])
    bins = metrics.reliability(np.log(p), labels)
    assert [(round(b["share"], 9), round(b["confidence"], 9), round(b["accuracy"], 9)) for b in bins] == [
        (0.5, 0.6, 1.0),
        (0.5, 0.9, 0.5),
    ]
    assert metrics.calibration_error(bins) == pytest.approx(0.4, rel=1e-12)


def test_a_confidence_on_the_border_of_two_bins_belongs_to_the_lower() -> None:
    p = np.array([[10 / 15, 5 / 15], [1.0 - 1e-12, 1e-12]])
    assert [b["share"] for b in metrics.reliability(np.log(p), np.array([0, 0]))] == [0.5, 0.5]


# --- statistics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("won", "lost", "p"),
    [(10, 2, 0.03857421875), (0, 0, 1.0), (5, 5, 1.0), (1, 9, 0.021484375), (30, 12, 0.007915897334896727)],
)
def test_mcnemar_is_scipys_binomtest(won: int, lost: int, p: float) -> None:
    assert verdict.mcnemar(won, lost) == pytest.approx(p, rel=1e-12)
    assert verdict.mcnemar(lost, won) == verdict.mcnemar(won, lost)


def test_mcnemar_takes_many_rows() -> None:
    assert verdict.mcnemar(30_000, 30_000) == 1
    assert 0 <= verdict.mcnemar(31_000, 29_000) < 1e-15


def test_the_paired_interval_by_hand() -> None:
    """(10.5 - 2.5) / 102 -/+ 1.96 sqrt(13 - 64 / 102) / 102 (Agresti and Min 2005)."""
    half = 1.959963984540054 * (13 - 64 / 102) ** 0.5 / 102
    assert verdict.paired_interval(10, 2, 100) == pytest.approx((8 / 102 - half, 8 / 102 + half), rel=1e-12)


@pytest.mark.parametrize("rows", [80, 359, 2000])
@pytest.mark.parametrize(("won", "lost"), [(0.02, 0.0), (0.05, 0.0), (0.02, 0.005), (0.1, 0.02), (0.03, 0.03)])
def test_the_paired_interval_covers_the_true_difference(rows: int, won: float, lost: float) -> None:
    drawn = np.random.default_rng(0).multinomial(rows, [won, lost, 1 - won - lost], 2000)
    found = [verdict.paired_interval(w, m, rows) for w, m in drawn[:, :2].tolist()]
    assert np.mean([low <= won - lost <= high for low, high in found]) >= 0.9


DIFFERENCES = np.array([3.1, 2.2, -0.4, 1.7, 0.9, 2.8, 1.1, -1.2, 0.3, 2.0])


def test_sign_flip_and_bootstrap_are_scipys() -> None:
    """SciPy's permutation_test(permutation_type='samples') and bootstrap(method='percentile') of 200,000 samples."""
    assert verdict.sign_flip(DIFFERENCES) == pytest.approx(0.02734375, rel=1e-12)
    low, high = verdict.bootstrap(DIFFERENCES)
    assert low == pytest.approx(0.42, abs=0.03)
    assert high == pytest.approx(2.03, abs=0.03)


def test_sign_flip_of_few_and_of_many() -> None:
    assert verdict.sign_flip(np.array([1.0, 2.0, 3.0])) == 2 / 8
    assert verdict.sign_flip(np.zeros(5)) == 1
    assert verdict.sign_flip(np.ones(10)) == 2 / 2**10
    assert verdict.sign_flip(np.tile(DIFFERENCES, 4)) < 0.001
    drawn = verdict.sign_flip(np.tile([1.0, -1.0, 0.5], 10))
    assert 0.3 < drawn < 0.9


@given(arrays(np.float64, st.integers(2, 9), elements=st.floats(-5, 5)))
def test_the_sign_of_all_differences_does_not_move_p(differences: Array) -> None:
    assert verdict.sign_flip(-differences) == verdict.sign_flip(differences)
    low, high = verdict.bootstrap(differences)
    assert differences.min() - 1e-9 <= low <= high <= differences.max() + 1e-9


# --- the verdict ------------------------------------------------------------------------------------------------------


def seeds(*gains: float, rows: int = 400, won: int = 0, lost: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "split": "val",
            "rows": rows,
            "won": won,
            "lost": lost,
            "teacher_accuracy": 0.97,
            "student_accuracy": 0.9 + gain,
            "control_accuracy": 0.9,
            "student_ce": 0.3 - gain,
            "control_ce": 0.3,
        }
        for gain in gains
    ]


def test_the_verdicts_words() -> None:
    helped = verdict.verdict(seeds(0.02, 0.03, 0.04, 0.03, 0.05, 0.03, 0.04, 0.03))
    assert helped["outcome"] == "helped"
    assert (helped["wins"], helped["seeds"], helped["test"]) == (8, 8, "sign-flip")
    assert helped["text"].startswith("distillation helped: +3.4 points [")
    assert helped["text"].endswith("], 8 of 8 seeds")
    assert helped["p_value"] == 2 / 2**8
    hurt = verdict.verdict(seeds(-0.02, -0.03, -0.04, -0.03, -0.05, -0.03, -0.04, -0.03))
    assert hurt["outcome"] == "hurt"
    assert hurt["text"].startswith("distillation hurt: -3.4 points [-")
    none = verdict.verdict(seeds(0.01, -0.01, 0.02, -0.02, 0.0, 0.01))
    assert none["outcome"] == "no measurable difference"
    assert none["text"].startswith("no measurable difference: +0.2 points [")


def test_five_seeds_that_all_win_are_no_proof() -> None:
    found = verdict.verdict(seeds(*[0.03] * 5))
    assert found["outcome"] == "no measurable difference"
    assert found["p_value"] == 2 / 2**5
    said = verdict.advice(seeds(*[0.03] * 5), found["outcome"], [], None)
    assert said == ["5 seeds cannot give p below 0.062. Use at least 6 for a verdict."]


def test_seeds_of_one_teacher_and_split_must_also_show_it_in_the_rows() -> None:
    gains = [0.010, 0.012, 0.008, 0.011, 0.009, 0.010, 0.012, 0.010]
    measured = seeds(*gains, won=9, lost=5)
    apart, shared = verdict.verdict(measured), verdict.verdict(measured, shared=True)
    assert apart["outcome"] == "helped"
    assert shared["outcome"] == "no measurable difference"
    assert shared["p_value"] == verdict.mcnemar(9, 5)
    assert "8 of 8 seeds of one teacher and split, p = 0.42" in shared["text"]
    assert shared["ci95"][0] < 0 < apart["ci95"][0]
    assert verdict.verdict(seeds(*[0.05] * 8, won=25, lost=5), shared=True)["outcome"] == "helped"


def test_one_seed_is_judged_by_its_rows() -> None:
    assert verdict.verdict(seeds(0.02, won=10, lost=2))["outcome"] == "helped"
    assert verdict.verdict(seeds(0.005, won=6, lost=4))["outcome"] == "no measurable difference"
    found = verdict.verdict(seeds(-0.05, won=1, lost=21))
    assert (found["outcome"], found["test"], found["ce_ci95"]) == ("hurt", "McNemar", None)
    assert found["text"].endswith("one seed, p = 1.1e-05")


@pytest.mark.parametrize(
    ("teacher", "control", "outcome", "softness", "follows", "said"),
    [
        (0.90, 0.91, "hurt", [0.5], 0.99, "has nothing to teach"),
        (0.90, 0.91, "helped", [0.5], 0.99, "as from label smoothing"),
        (1.00, 1.00, "no measurable difference", [0.5], 0.99, "half a point or less below"),
        (0.97, 0.90, "no measurable difference", [0.01], 0.99, "Raise the temperature"),
        (0.912, 0.91, "no measurable difference", [0.5], 0.99, "half a point or less below the teacher"),
        (0.97, 0.90, "helped", [0.01], 0.99, None),
        (0.97, 0.90, "helped", [0.99], 0.99, "Lower the temperature"),
        (0.97, 0.90, "hurt", [0.5], 0.80, "follows its teacher on only 80.0 %"),
        (0.97, 0.90, "hurt", [0.5], 0.99, None),
        (0.97, 0.90, "helped", [], None, None),
    ],
)
def test_advice_comes_from_what_was_measured(
    teacher: float, control: float, outcome: str, softness: list[float], follows: float | None, said: str | None
) -> None:
    measured = [one | {"teacher_accuracy": teacher, "control_accuracy": control} for one in seeds(*[0.0] * 8)]
    found = verdict.advice(measured, outcome, softness, follows)
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


# --- what the student sees --------------------------------------------------------------------------------------------


def digits(**keys: Any) -> data.Data:
    return data.load(config.load({"data": keys}).data, 0.8, None, 0)


def seen(**keys: Any) -> Rows:
    return student.student_data(config.load({"student": keys}).student, digits(), 0).train


def test_labels_are_few_stratified_and_true() -> None:
    all_rows = digits().train
    used, dropped = seen(labels=100), seen(labels=100, unlabelled="drop")
    known = used.y >= 0
    assert (known.sum(), len(used), len(dropped)) == (100, 1438, 100)
    np.testing.assert_array_equal(used.y[known], all_rows.y[known])
    np.testing.assert_array_equal(used.x, all_rows.x)
    np.testing.assert_array_equal(used.x[known], dropped.x)
    assert np.bincount(dropped.y).tolist() == [10] * 10


def test_label_noise_flips_exactly_its_share() -> None:
    all_rows, noisy = digits().train, seen(label_noise=0.4)
    flipped = noisy.y != all_rows.y
    assert flipped.sum() == round(0.4 * 1438)
    assert set(noisy.y) == set(range(10))
    both = seen(labels=200, label_noise=0.5)
    known = both.y >= 0
    assert (both.y[known] != all_rows.y[known]).sum() == 100


def test_the_control_sees_the_same_labels_and_the_teacher_sees_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: dict[tuple[str, ...], Rows] = {}

    def watched(courses: Any, plan: Any, rows: data.Data, *rest: Any, **options: Any) -> Any:
        heard[tuple(courses)] = rows.train
        return fit(courses, plan, rows, *rest, **options)

    monkeypatch.setattr(student, "fit", watched)
    monkeypatch.setattr("distill.teacher.sources.fit", watched)
    small("student.labels=50", "student.label_noise=0.2")
    assert heard.keys() == {("teacher",), ("control", "student")}, "each sees the rows of those it is trained beside"
    taught, pair = heard.values()
    assert (taught.y >= 0).all()
    assert len(taught) == len(pair) == 160
    assert (pair.y >= 0).sum() == 50


def test_rows_without_a_label_have_no_part_in_the_labels_loss() -> None:
    z, labels = np.random.default_rng(0).normal(size=(6, 3)), np.array([0, -1, 2, -1, 1, -1])
    value, gradient = cross_entropy(z, None, labels)
    known = labels >= 0
    expected, slope = cross_entropy(z[known], None, labels[known])
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient[known], slope, rtol=1e-12)
    assert not gradient[~known].any()
    value, gradient = cross_entropy(z, None, np.full(6, -1))
    assert value == 0
    assert not gradient.any()


def test_csv_rows_without_a_label_are_trained_on_but_never_judged(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [f"{a:.3f},{b:.3f},{'' if i % 3 else 'ab'[i % 2]}" for i, (a, b) in enumerate(rng.normal(size=(120, 2)))]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    found = data.load(config.load({"data": {"source": str(tmp_path / "rows.csv")}}).data, 0.8, None, 0)
    assert found.classes == ("a", "b")
    assert (found.train.y < 0).sum() == 80
    assert (found.validation.y >= 0).all()
    assert len(found.validation) == 8


# --- honest splits ----------------------------------------------------------------------------------------------------


def test_a_test_ratio_takes_rows_from_validation_not_from_training() -> None:
    plain, tested = digits(), digits(test_ratio=0.1)
    assert tested.test is not None
    assert (len(plain.train), len(tested.train)) == (1438, 1437)
    assert (len(tested.validation), len(tested.test)) == (180, 180)
    parts = [{row.tobytes() for row in held(part)} for part in (tested.train, tested.validation, tested.test)]
    assert len(parts[0] | parts[1] | parts[2]) == sum(map(len, parts))


def test_the_verdict_speaks_of_the_test_set_where_there_is_one() -> None:
    assert small()["verdict"]["split"] == "val"
    results = small("data.test_ratio=0.1")
    assert results["verdict"]["split"] == "test"
    gain = results["student_test_accuracy"] - results["control_test_accuracy"]
    assert results["verdict"]["gain"] == pytest.approx(gain)


def test_patience_stops_early_and_restores_the_best_weights() -> None:
    results = small("student.epochs=60", "student.learning_rate=0.1", "student.patience=3")
    model, history = results["models"]["student"], results["history"]["student"]
    best = min(range(len(history)), key=lambda i: history[i]["val_ce"])
    assert len(history) == best + 1 + 3 < 60
    assert (model["kept"], model["best"], model["last"]) == ("best", history[best], history[-1])
    assert results["student_val_ce"] == pytest.approx(history[best]["val_ce"], rel=1e-9)
    assert results["timings"]["student"]["steps"] == 5 * len(history)
    without = small("student.epochs=5", "student.learning_rate=0.1")
    assert without["models"]["student"]["kept"] == "last"
    assert without["student_val_ce"] == pytest.approx(without["history"]["student"][-1]["val_ce"], rel=1e-9)


# --- the whole: no false help, and true help --------------------------------------------------------------------------


def useless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A teacher that was trained on shuffled labels, and is listened to all the same."""

    def obtain(name: str, plan: Any, rows: data.Data, run: Run, *rest: Any) -> Any:
        shuffled = np.random.default_rng(run.seed).permutation(rows.train.y)
        wrong = replace(rows, train=replace(rows.train, y=shuffled))
        one = plan.teachers[name]
        trained = fit({name: stages_of(one, LABELS_ONLY)}, one, wrong, {}, run, "teacher")[name]
        return teacher.from_model(name, trained.model, trained)

    monkeypatch.setattr(pipeline, "obtain", obtain)


@pytest.mark.parametrize("seed", range(TRIALS))
def test_a_useless_teacher_is_never_said_to_help(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    useless(monkeypatch)
    results = distill.run({"distillation": {"random_seed": seed}})
    assert results["verdict"]["outcome"] in ("hurt", "no measurable difference")


def test_with_noisy_labels_distillation_is_said_to_help() -> None:
    plan = {"student": {"label_noise": 0.4, "epochs": 20}}
    outcomes = [distill.run(plan, [f"distillation.random_seed={seed}"])["verdict"]["outcome"] for seed in range(TRIALS)]
    assert outcomes.count("helped") >= 0.95 * TRIALS


def failing(monkeypatch: pytest.MonkeyPatch, seeds: dict[int, Exception]) -> None:
    """Students of these seeds end with these errors, once their teachers are trained."""
    original = pipeline.train_student

    def train_student(plan: Any, stages: Any, rows: Any, outputs: Any, run: Run) -> Any:
        if run.seed in seeds:
            raise seeds[run.seed]
        return original(plan, stages, rows, outputs, run)

    monkeypatch.setattr(pipeline, "train_student", train_student)


DIVERGED = distill.DivergedError("student: the loss is nan", "student")
REFUSED = distill.DataError("column 2: has no value in any training row")


@pytest.mark.parametrize("share", ["false", "true"])
def test_a_seed_that_cannot_be_run_is_reported_and_the_others_go_on(
    share: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = small("evidence.seeds=5", "evidence.workers=1", f"evidence.share_teacher={share}")
    failing(monkeypatch, {2: DIVERGED, 4: REFUSED})
    found = [
        small("evidence.seeds=5", f"evidence.workers={workers}", f"evidence.share_teacher={share}")
        for workers in (1, 2)
    ]
    for results in found:
        assert results["seeds"] == [one for one in whole["seeds"] if one["seed"] not in (2, 4)]
        assert results["failed_seeds"] == [{"seed": 2, "error": str(DIVERGED)}, {"seed": 4, "error": str(REFUSED)}]
        assert results["verdict"]["seeds"] == 3
        assert "; 2 of 5 seeds could not be run" in results["verdict"]["text"]
        assert results["advice"][0].startswith("Seeds 2, 4 could not be run; where what stops a seed goes with its")
    assert found[0]["verdict"] == found[1]["verdict"]
    assert whole["failed_seeds"] == []
    assert "could not be run" not in whole["verdict"]["text"]


def test_the_headline_is_the_first_seed_that_ran_and_nothing_of_the_others_is_left(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = small("distillation.random_seed=1")
    failing(monkeypatch, {0: DIVERGED, 3: REFUSED})
    Path("plan.yaml").write_text(json.dumps(SMALL | {"evidence": {"seeds": 4, "workers": 1}}))
    assert cli.main(["--config", "plan.yaml"]) == 0
    out, err = capsys.readouterr()
    results = json.loads(Path("runs/plan/results.json").read_text())
    assert results["student_val_ce"] == alone["student_val_ce"]
    assert [one["seed"] for one in results["seeds"]] == [1, 2]
    history = [json.loads(line) for line in Path("runs/plan/metrics.jsonl").read_text().splitlines()]
    assert [one for one in history if one["model"] == "teacher"] == [
        {"model": "teacher"} | one for one in results["history"]["teacher"]
    ]
    assert len(history) == 3 + 2 + 2
    assert "failed:      seed 0: student: the loss is nan\n             seed 3: column 2: has no value" in out
    assert "Figures of one seed are those of seed 1." in out
    assert "seed 0 cannot be run: student: the loss is nan" in err
    pytest.importorskip("matplotlib")
    page = build(Path("runs/plan"))
    assert "Seed 3 could not be run: column 2: has no value in any training row" in page
    assert "are those of seed 1" in page
    assert "Left out" not in page


def test_seeds_of_one_split_keep_it_where_the_first_of_them_cannot_be_run(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of the training rows fits no other."""
    y = data.load(config.load(SMALL).data, 0.8, 200, 0).train.y
    np.save("said.npy", np.eye(10)[y])
    failing(monkeypatch, {0: DIVERGED})
    plan = {"teachers": {"it": {"predictions": "said.npy"}}, "evidence": {"seeds": 3, "share_teacher": True}}
    assert [one["seed"] for one in small("evidence.workers=1", **plan)["seeds"]] == [1, 2]


def test_where_no_seed_can_be_run_the_first_error_is_the_run_s(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, {0: DIVERGED, 1: REFUSED, 2: REFUSED})
    says = r"^none of 3 seeds can be run; seed 0: student: the loss is nan$"
    for workers in (1, 2):
        with pytest.raises(distill.DivergedError, match=says):
            small("evidence.seeds=3", f"evidence.workers={workers}", "output.folder=run")
        assert not Path("run").exists()
    with pytest.raises(distill.DivergedError, match=r"^student: the loss is nan$"):
        small("evidence.seeds=1")


@pytest.mark.parametrize("error", [distill.OutputError("no room"), distill.ConfigError(["no"]), TypeError("no method")])
def test_what_no_other_seed_can_help_ends_the_run_at_once(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in (0, 2):
        failing(monkeypatch, {seed: error})
        for workers in (1, 2):
            with pytest.raises(type(error)):
                small("evidence.seeds=4", f"evidence.workers={workers}")
        monkeypatch.undo()


def test_a_killed_worker_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(one: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return one

    with pytest.raises(distill.DistillError, match="a worker process was killed"):
        list(processes.map_in_processes(killed, [1, 2, 3], 2))


def test_an_interrupt_does_not_wait_for_the_items_in_work() -> None:
    started = time.monotonic()
    results = processes.map_in_processes(lambda one: time.sleep(60 * one), [0, 1, 1], 2)
    next(results)
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
    deadline = started + 30
    while any(child.is_alive() for child in multiprocessing.active_children()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert time.monotonic() < deadline


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see other processes")
def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from distill.system import processes\n"
        "def work(one):\n    open(f'{sys.argv[1]}/{os.getpid()}', 'w').close(); time.sleep(60)\n"
        "list(processes.map_in_processes(work, [1, 2], 2))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as parent:
        deadline = time.monotonic() + 30
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        parent.kill()
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert len(workers) == 2
    while any(map(at_work, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(at_work, workers))


def at_work(process: int) -> bool:
    """Whether a process is there, and no mere entry that nobody has cleared away."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
