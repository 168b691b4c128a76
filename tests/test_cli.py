"""The command line as a user runs it: outputs, exit codes, and that no file is lost."""

import contextlib
import csv
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distill
from conftest import blobs
from distill import cli, data
from distill.data import csvfile
from distill.data.sheet import read_sheet
from distill.system import environment
from distill.teacher import compute

SMALL_YAML = "distillation: {max_samples: 200, teacher_hidden: 16, teacher_epochs: 3, student_epochs: 2}\n"
EXPLODING = "student: {optimizer: sgd, learning_rate: 1, weight_decay: 50, epochs: 50}\n"
RUN_FILES = ["config.yaml", "control.npz", "metrics.jsonl", "results.json", "student.npz", "teacher.npz"]


@pytest.fixture
def folder(in_tmp: Path) -> Path:
    (in_tmp / "small.yaml").write_text(SMALL_YAML)
    return in_tmp


def program(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "distill", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def without_timings(path: Path) -> Any:
    results = json.loads(path.read_text())
    del results["timings"]
    return results


# --- run --------------------------------------------------------------------------------------------------------------


def test_a_run_as_a_user_types_it(folder: Path) -> None:
    done = program("--config", "small.yaml", "--output", "deep/er/results.json")
    assert done.returncode == 0
    assert names(folder) == ["deep", "logs", "runs", "small.yaml"]
    assert names(folder / "runs") == ["small"]
    assert names(folder / "runs/small") == RUN_FILES
    results = json.loads((folder / "runs/small/results.json").read_text())
    assert results == json.loads((folder / "deep/er/results.json").read_text())
    rows = {line.rsplit(maxsplit=3)[0]: line.split()[-3:] for line in done.stdout.splitlines()[3:8]}
    for i, name in enumerate(("teacher", "student", "control")):
        assert float(rows["validation accuracy"][i]) == pytest.approx(results[f"{name}_val_accuracy"], abs=5e-5)
        assert float(rows["validation cross-entropy"][i]) == pytest.approx(results[f"{name}_val_ce"], abs=5e-5)
        assert rows["parameters"][i] == f"{results['teacher_params' if name == 'teacher' else 'student_params']:,}"
    assert results["objective"] in done.stdout
    assert "student: 10 steps in" in done.stderr
    assert "steps in" not in done.stdout


def test_the_results_hold_what_is_documented(folder: Path) -> None:
    assert cli.main(["--config", "small.yaml", "--quiet", "--output", "results.json"]) == 0
    results = json.loads((folder / "results.json").read_text())
    assert list(results)[:7] == [
        "teacher_val_accuracy",
        "teacher_val_ce",
        "student_val_accuracy",
        "student_val_ce",
        "teacher_params",
        "student_params",
        "compression_ratio",
    ]
    assert results["schema_version"] == 2
    assert results["teacher_params"] == 64 * 16 + 16 + 16 * 10 + 10
    assert results["student_params"] == 2410
    assert results["compression_ratio"] == results["teacher_params"] / 2410
    assert [len(results["history"][name]) for name in ("teacher", "control", "student")] == [3, 2, 2]
    for name, steps in (("teacher", 15), ("control", 10), ("student", 10)):
        assert results["history"][name][-1]["val_accuracy"] == results[f"{name}_val_accuracy"]
        assert results["history"][name][-1]["val_ce"] == pytest.approx(results[f"{name}_val_ce"], rel=1e-12)
        assert results["timings"][name]["steps"] == steps
        assert 0 < results["timings"][name]["seconds"] < results["timings"]["total_seconds"]
    assert results["versions"]["distill"] == distill.__version__
    assert {"platform", "processor", "cores", "threads", "blas_kernel"} == results["machine"].keys()
    assert 0 <= results["agreement"] <= 1
    lines = [json.loads(line) for line in (folder / "runs/small/metrics.jsonl").read_text().splitlines()]
    for name in ("teacher", "control", "student"):
        assert [{k: v for k, v in line.items() if k != "model"} for line in lines if line["model"] == name] == results[
            "history"
        ][name]


def test_figures_in_the_results_are_those_of_the_saved_models(folder: Path) -> None:
    """Agreement and accuracy, computed again from the model files and the raw digits."""
    assert cli.main(["--config", "small.yaml", "--quiet"]) == 0
    results = json.loads((folder / "runs/small/results.json").read_text())
    models = {name: distill.load_model(f"runs/small/{name}.npz") for name in ("teacher", "control", "student")}
    rows = data.load(distill.load_config("small.yaml").data, 0.8, 200, 0).validation
    scaling = models["student"].scaling
    raw = scaling.undo(rows.x).round()
    choice = {name: model.predict(raw) for name, model in models.items()}
    assert results["agreement"] == pytest.approx((choice["student"] == choice["teacher"]).mean())
    assert results["control_agreement"] == pytest.approx((choice["control"] == choice["teacher"]).mean())
    for name, model in models.items():
        assert results[f"{name}_val_accuracy"] == pytest.approx((choice[name] == rows.y).mean())
        p = model.predict_proba(raw)[np.arange(len(raw)), rows.y]
        assert results[f"{name}_val_ce"] == pytest.approx(-np.log(p).mean(), rel=1e-6)


def test_the_same_command_twice_gives_the_same_results_and_models(folder: Path) -> None:
    for name in ("first", "second"):
        assert (
            program("--config", "small.yaml", "--set", "output.folder=runs/same", "--output", f"{name}.json").returncode
            == 0
        )
        shutil.copytree("runs/same", name)
    assert without_timings(folder / "first.json") == without_timings(folder / "second.json")
    for file in ("teacher.npz", "student.npz", "control.npz", "metrics.jsonl", "config.yaml"):
        assert (folder / "first" / file).read_bytes() == (folder / "second" / file).read_bytes(), file


def test_the_resolved_plan_in_the_run_folder_repeats_the_run(folder: Path) -> None:
    assert cli.main(["--config", "small.yaml", "--quiet", "--set", "distillation.temperature=3"]) == 0
    shutil.copy("runs/small/config.yaml", "again.yaml")
    assert cli.main(["--config", "again.yaml", "--quiet", "--output", "again.json"]) == 0
    assert without_timings(folder / "runs/small/results.json") == without_timings(folder / "again.json")


def test_streams_quiet_json_verbose(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--config", "small.yaml", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert cli.main(["--config", "small.yaml", "--json"]) == 0
    out, _ = capsys.readouterr()
    assert json.loads(out)["student_params"] == 2410
    assert cli.main(["run", "--config", "small.yaml", "--verbose"]) == 0
    _, err = capsys.readouterr()
    assert len(re.findall(r"^(teacher|control|student) +epoch +\d+  loss ", err, re.MULTILINE)) == 7


def test_the_log_file_has_the_documented_format(folder: Path) -> None:
    assert cli.main(["--config", "small.yaml", "--quiet"]) == 0
    pattern = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - distill[.\w]* - (DEBUG|INFO|WARNING|ERROR|CRITICAL) - .+"
    lines = (folder / "logs/app.log").read_text().splitlines()
    assert len(lines) >= 5
    assert all(re.fullmatch(pattern, line) for line in lines)


def test_the_log_file_rotates(folder: Path) -> None:
    (folder / "logs").mkdir()
    (folder / "logs/app.log").write_text("x" * 999_990)
    assert cli.main(["--config", "small.yaml", "--quiet"]) == 0
    assert names(folder / "logs") == ["app.log", "app.log.1"]


def test_the_configuration_may_be_named_by_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILL_CONFIG", "small.yaml")
    assert cli.main(["--quiet"]) == 0
    assert (folder / "runs/small").is_dir()


def test_a_bar_shows_on_a_terminal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks: list[str] = []

    class Bar:
        def __init__(self, **options: Any) -> None:
            ticks.append(f"total {options['total']}")

        def set_description(self, name: str, refresh: bool) -> None:
            ticks.append(name)

        def update(self) -> None:
            """One epoch more."""

        def close(self) -> None:
            ticks.append("closed")

    module = type(sys)("tqdm")
    module.tqdm = Bar  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tqdm", module)
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda self: True)
    assert cli.main(["--config", "small.yaml"]) == 0
    assert ticks == ["total 7", *["teacher"] * 3, *["control", "student"] * 2, "closed"]


# --- threads ----------------------------------------------------------------------------------------------------------


CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
# Networks whose steps are worth sharing.
LARGE = ["teachers.teacher.hidden=[350, 220]", "student.hidden=[350, 220]", "distillation.batch_size=107"]


def env_with(**variables: str) -> dict[str, str]:
    """Return the environment with these variables about threads and no others."""
    names = (*BLAS_THREADS, "DISTILL_THREADS")
    return {name: value for name, value in os.environ.items() if name not in names} | variables


@pytest.mark.parametrize(
    ("environment", "key", "threads"),
    [
        ({}, "auto", CORES),
        ({}, "5", 5),
        ({"DISTILL_THREADS": "2"}, "auto", 2),
        ({"DISTILL_THREADS": "2"}, "5", 2),
        ({"DISTILL_THREADS": ""}, "5", 5),
        ({"DISTILL_THREADS": "auto"}, "5", CORES),
        ({"OPENBLAS_NUM_THREADS": "1"}, "auto", 1),
        ({"OMP_NUM_THREADS": "1"}, "auto", 1),
        ({"OMP_NUM_THREADS": "1000"}, "auto", CORES),
        ({"OPENBLAS_NUM_THREADS": "1"}, "5", 5),
        ({"OPENBLAS_NUM_THREADS": "1", "DISTILL_THREADS": "auto"}, "5", 1),
        ({"OPENBLAS_NUM_THREADS": "1", "DISTILL_THREADS": "3"}, "auto", 3),
    ],
)
def test_the_threads_of_training_are_decided_and_recorded(
    folder: Path, environment: dict[str, str], key: str, threads: int
) -> None:
    done = program("--config", "small.yaml", f"--set=performance.threads={key}", "--json", env=env_with(**environment))
    assert json.loads(done.stdout)["machine"]["threads"] == threads


@pytest.mark.parametrize("command", ["run", "check", "bench", "predict", "evaluate", "report"])
def test_every_command_keeps_blas_to_one_thread_before_numpy_loads(folder: Path, command: str) -> None:
    """BLAS reads its variables once; its own threads would change the rounding, and compete with those of training."""
    if command in ("predict", "evaluate", "report"):
        assert cli.main(["--config", "small.yaml", "--quiet"]) == 0
    words = {
        "bench": ["--config", "small.yaml"],
        "predict": ["--model", "runs/small/student.npz", "--data", "digits"],
        "evaluate": ["--model", "runs/small/student.npz", "--data", "digits"],
        "report": ["runs/small"],
    }.get(command, ["--config", "small.yaml"])
    code = (
        "import os, sys; from distill.cli import main; assert 'numpy' not in sys.modules; code = main(sys.argv[1:]); "
        "from distill.nn import blas; "
        "threads = blas._function('get_num_threads')(); "
        f"print(code, threads, *(os.environ[name] for name in {BLAS_THREADS}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command, *words],
        capture_output=True,
        text=True,
        check=True,
        env=env_with(OPENBLAS_NUM_THREADS="2", OMP_NUM_THREADS="2"),
    )
    assert done.stderr.splitlines()[-1] == "0 1 1 1 1 1"


def test_no_number_of_threads_of_any_kind_changes_a_result(folder: Path) -> None:
    """Not those of training, and not those of BLAS, whether `distill` or another program has loaded NumPy."""
    overrides = [f"--set={override}" for override in (*LARGE, "output.folder=run")]
    outcomes = []
    for i, variables in enumerate(
        ({"DISTILL_THREADS": "1"}, {"DISTILL_THREADS": "3"}, {"DISTILL_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"})
    ):
        code = "from distill.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
        code = code if i < 2 else f"import numpy; {code}"
        done = subprocess.run(
            [sys.executable, "-c", code, "--config", "small.yaml", *overrides, "--json"],
            capture_output=True,
            text=True,
            check=True,
            env=env_with(**variables),
        )
        results = json.loads(done.stdout)
        assert results["machine"].pop("threads") == int(variables["DISTILL_THREADS"])
        del results["timings"]
        models = [(folder / "run" / f"{name}.npz").read_bytes() for name in ("teacher", "student", "control")]
        outcomes.append((results, models))
    assert outcomes[0] == outcomes[1] == outcomes[2]


# --- paths ---------------------------------------------------------------------------------------------------------


def test_a_dash_is_stdin_and_stdout(trained: Path) -> None:
    model, rows = ["--model", "runs/blobs/student.npz"], (trained / "rows.csv").read_text()
    expected = program("predict", *model, "--data", "rows.csv").stdout
    assert expected.startswith("class,p_k0")
    assert program("predict", *model, "--data", "-", "--output", "-", input=rows).stdout == expected
    assert program("evaluate", *model, "--data", "-", input=rows).stdout.startswith("rows")
    assert program("check", "--config", "blobs.yaml", "--rows", "-").stdout.splitlines()[0] == "row,set"
    assert json.loads(program("--config", "blobs.yaml", "--output", "-").stdout)["data"]["features"] == 4
    assert "<html" in program("report", "runs/blobs", "--output", "-").stdout
    assert not (trained / "-").exists()


@pytest.mark.parametrize("source", ['"-"', "/dev/stdin", "pipe"])
def test_a_source_that_can_be_read_once_is_enough_for_all_seeds(trained: Path, source: str) -> None:
    rows = (trained / "rows.csv").read_text()
    if source == "pipe":
        os.mkfifo("pipe")
        threading.Thread(target=lambda: Path("pipe").write_text(rows), daemon=True).start()
    overrides = (f"data.source={source}", "evidence.seeds=2", "output.folder=piped")
    run = program("--config", "blobs.yaml", *(f"--set={text}" for text in overrides), "--json", input=rows)
    assert json.loads(run.stdout)["verdict"]["seeds"] == 2
    page = program("report", "piped", "--output", "-", input=rows)  # waits for no second reading
    assert "could be read only once" in page.stdout


@pytest.mark.parametrize(
    "rows", ["", "1,2,a\n1\n", "1,x,a\n" + "1,2,b\n" * 9, "1,2,a\n" * 9, "1,2,a\n1,2,b\n", "PAR1\x15"]
)
def test_what_is_piped_in_is_called_standard_input(trained: Path, rows: str) -> None:
    model = str(trained / "runs/blobs/student.npz")
    for command in (
        ["check", "--config", "blobs.yaml", "--set=data.source='-'"],
        ["evaluate", "--model", model, "--data=-"],
    ):
        done = program(*command, input=rows)
        assert done.returncode == 4
        assert done.stderr.startswith("error: standard input: ")


@pytest.mark.parametrize("key", ["predictions", "load"])
def test_a_file_that_every_seed_reads_must_not_be_a_pipe(trained: Path, key: str) -> None:
    os.mkfifo("pipe")
    done = program("check", "--config", "blobs.yaml", f"--set=teachers={{t: {{{key}: pipe}}}}", timeout=60)
    assert done.returncode == 4
    assert "pipe: " in done.stderr
    assert "file" in done.stderr


def test_a_tilde_is_the_home_folder(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(trained))
    (trained / "home.yaml").write_text(
        "data: {source: ~/rows.csv, test: ~/runs/../runs/test.csv, label: kind}\nlogging: {file: ~/logs/a.log}\n"
        "output: {folder: ~/kept}\nperformance: {cache: ~/cache}\n"
        "teachers: {a: {load: ~/runs/blobs/teacher.npz}, b: {predictions: ~/guesses.csv}}\n"
    )
    (trained / "runs/test.csv").write_text((trained / "rows.csv").read_text())
    assert cli.main(["predict", "--model=~/runs/blobs/student.npz", "--data=~/rows.csv", "--output=~/guesses.csv"]) == 0
    assert cli.main(["--config=~/home.yaml", "--output=~/out.json", "--quiet"]) == 0
    for name in ("guesses.csv", "kept/student.npz", "logs/a.log", "out.json"):
        assert (trained / name).is_file(), name
    assert not (trained / "~").exists()


def test_predict_and_evaluate_print_what_they_guessed_to_stderr(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", "runs/blobs/student.npz"]
    for command, wanted in ((["predict"], "wxyz"), (["evaluate", "--label=0"], ["kind", *"wxyz"])):
        (trained / "bare.csv").write_text(columns(trained / "rows.csv", list(wanted), header=False))
        assert cli.main([*command, *model, "--data", "bare.csv"]) == 0
        out, err = capsys.readouterr()
        assert err == "note: bare.csv: line 1 is read as a row\n"
        assert "note" not in out
    assert cli.main(["predict", *model, "--data", "rows.csv"]) == 0  # it has the model's names: nothing is guessed
    assert capsys.readouterr().err == ""


# --- check ------------------------------------------------------------------------------------------------------------


def test_check_prints_the_plan_trains_nothing_and_writes_nothing(
    in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_tmp / "plan.yaml").write_text("{}")
    assert cli.main(["check", "--config", "plan.yaml"]) == 0
    out, err = capsys.readouterr()
    assert names(in_tmp) == ["plan.yaml"]
    assert err == ""
    for piece in (
        "digits: 1,438 train, 359 validation rows, 64 features, 10 classes",
        "64 - 128 - 10, 9,610 parameters",
        "64 - 32 - 10, 2,410 parameters",
        "3.98755",
        "0.3 cross_entropy + 0.7 response(teacher, T=4)",
        "folder: runs/plan",
        "hidden: [128]",
    ):
        assert piece in out


# --- predict and evaluate ---------------------------------------------------------------------------------------------


@pytest.fixture
def trained(folder: Path) -> Path:
    """A run on named columns: kind, w, x, y, z."""
    x, y = blobs()
    lines = [",".join([f"k{c}", *(f"{v:.6f}" for v in row)]) for row, c in zip(x, y, strict=True)]
    (folder / "rows.csv").write_text("kind,w,x,y,z\n" + "\n".join(lines) + "\n")
    (folder / "blobs.yaml").write_text("data: {source: rows.csv, label: kind}\n")
    assert cli.main(["--config", "blobs.yaml", "--quiet"]) == 0
    return folder


def columns(path: Path, wanted: list[str], *, header: bool = True) -> str:
    with path.open() as file:
        rows = list(csv.reader(file))
    index = [rows[0].index(name) for name in wanted]
    return "\n".join(",".join(row[i] for i in index) for row in rows[0 if header else 1 :]) + "\n"


def test_predictions_are_those_of_the_model_whatever_the_columns(trained: Path) -> None:
    expected = distill.load_model("runs/blobs/student.npz")
    sheet = csvfile.table(read_sheet(trained / "rows.csv", True), [1, 2, 3, 4], None)
    probabilities = expected.predict_proba(sheet.x)
    (trained / "shuffled.csv").write_text(columns(trained / "rows.csv", ["z", "kind", "y", "x", "w"]))
    (trained / "bare.csv").write_text(columns(trained / "rows.csv", ["w", "x", "y", "z"], header=False))
    np.savez(trained / "rows.npz", X=sheet.x)
    for name in ("rows.csv", "shuffled.csv", "bare.csv", "rows.npz"):
        arguments = ["--model", "runs/blobs/student.npz", "--data", name, "--output", "out/predictions.csv"]
        assert cli.main(["predict", *arguments]) == 0
        with (trained / "out/predictions.csv").open() as file:
            head, *rows = csv.reader(file)
        assert head == ["class", "p_k0", "p_k1", "p_k2"]
        assert [row[0] for row in rows] == expected.predict(sheet.x).tolist()
        np.testing.assert_allclose(np.array([row[1:] for row in rows], float), probabilities, rtol=1e-8, atol=1e-12)


def test_predictions_go_to_stdout_without_an_output(trained: Path) -> None:
    done = program("predict", "--model", "runs/blobs/student.npz", "--data", "rows.csv")
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 121)


def test_a_single_row_with_a_header_can_be_predicted(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (trained / "row.csv").write_text("w,x,y,z\n1,2,3,4\n")
    assert cli.main(["predict", "--model", "runs/blobs/student.npz", "--data", "row.csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize("extra", [[], ["--label", "kind"], ["--label", "0"]])
def test_evaluate_judges_by_the_labels(trained: Path, extra: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "--model", "runs/blobs/teacher.npz", "--data", "rows.csv", *extra]
    assert cli.main([*arguments, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    table = csvfile.table(read_sheet(trained / "rows.csv", True), [1, 2, 3, 4], 0)
    model = distill.load_model("runs/blobs/teacher.npz")
    assert figures["rows"] == 120
    assert figures["accuracy"] == pytest.approx((model.predict(table.x) == table.y).mean())
    assert cli.main(arguments) == 0
    assert re.search(rf"^accuracy +{figures['accuracy']:.4f}$", capsys.readouterr().out, re.MULTILINE)


def test_evaluate_without_a_header_takes_the_labels_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = blobs()
    (folder / "rows.csv").write_text("\n".join(",".join([str(c), *map(str, row)]) for row, c in zip(x, y, strict=True)))
    (folder / "blobs.yaml").write_text("data: {source: rows.csv, label: 0}\n")
    assert cli.main(["--config", "blobs.yaml", "--quiet"]) == 0
    assert cli.main(["evaluate", "--model", "runs/blobs/teacher.npz", "--data", "rows.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] > 0.9


@pytest.fixture
def tested(folder: Path) -> Path:
    """A run on a file with a test set, on which the models are worse."""
    x, y = blobs()
    np.savez(
        folder / "rows.npz",
        X=x,
        y=y.astype(float),
        X_test=x[:60],
        y_test=np.where(y[:60] == 2, 1, y[:60]).astype(float),
    )
    (folder / "blobs.yaml").write_text("data: {source: rows.npz}\n")
    assert cli.main(["--config", "blobs.yaml", "--quiet"]) == 0
    return folder


def test_figures_of_the_test_set_are_those_of_the_test_set(tested: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = json.loads((tested / "runs/blobs/results.json").read_text())
    with np.load("rows.npz") as file:
        x, y = file["X_test"], file["y_test"]
    models = {name: distill.load_model(f"runs/blobs/{name}.npz") for name in ("teacher", "student", "control")}
    for name, model in models.items():
        assert results[f"{name}_test_accuracy"] == pytest.approx((model.predict(x) == y).mean())
        assert results[f"{name}_test_accuracy"] < 0.7 < results[f"{name}_val_accuracy"]
        p = model.predict_proba(x)[np.arange(60), y.astype(int)]
        assert results[f"{name}_test_ce"] == pytest.approx(-np.log(p).mean(), rel=1e-6)
    same = models["student"].predict(x) == models["teacher"].predict(x)
    assert results["test_agreement"] == pytest.approx(same.mean())
    assert (results["verdict"]["split"], results["seeds"][0]["rows"]) == ("test", 60)
    # evaluate uses a file's test set too
    assert cli.main(["evaluate", "--model", "runs/blobs/student.npz", "--data", "rows.npz", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["rows"], figures["accuracy"]) == (60, results["student_test_accuracy"])


def test_whole_labels_match_in_any_type(tested: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = blobs()
    Path("whole.csv").write_text("\n".join(",".join([*map(str, row), str(c)]) for row, c in zip(x, y, strict=True)))
    arguments = ["evaluate", "--model", "runs/blobs/student.npz", "--data", "whole.csv", "--label", "-1", "--json"]
    assert cli.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] > 0.8


def test_the_embedded_digits_can_be_evaluated(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--config", "small.yaml", "--quiet"]) == 0
    assert cli.main(["evaluate", "--model", "runs/small/student.npz", "--data", "digits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 1797


# --- errors and signals ----------------------------------------------------------------------------------------------


def test_a_teacher_that_learned_nothing_stops_the_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--config", "small.yaml", "--set", "distillation.teacher_epochs=0"]) == 1
    err = capsys.readouterr().err
    assert re.search(
        r"error: the teacher learned nothing: 0\.\d{4} .* commonest class gives 0\.\d{4}.*Try more teacher_epochs", err
    )
    assert not (folder / "runs/small").exists()


def test_divergence_ends_with_3_and_keeps_the_last_good_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--config", "small.yaml", "--quiet", "--output", "results.json"]) == 0
    before = (folder / "runs/small/results.json").read_bytes()
    (folder / "bad.yaml").write_text(SMALL_YAML + EXPLODING + "output: {folder: runs/small}\n")
    assert cli.main(["--config", "bad.yaml", "--output", "results.json"]) == 3
    err = capsys.readouterr().err
    assert re.search(r"kept in .*runs/small\.partial: control\.last_good\.npz, teacher\.npz\n", err)
    assert re.search(r"^error: control: the .* epoch \d+", err, re.MULTILINE)
    for name in ("teacher", "control.last_good"):
        assert np.isfinite(distill.load_model(f"runs/small.partial/{name}.npz").weights.flat).all()
    assert (folder / "runs/small/results.json").read_bytes() == before == (folder / "results.json").read_bytes()
    assert "ERROR - control: the" in (folder / "logs/app.log").read_text()


def test_a_teacher_whose_weights_change_fails_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = compute.compute_outputs

    def tamper(trained: Any, *rest: Any) -> Any:
        answers = original(trained, *rest)
        flat = trained.model.weights.flat
        flat.flags.writeable = True
        flat[0] = np.nextafter(flat[0], np.float32(math.inf))
        return answers

    monkeypatch.setattr("distill.teacher.compute.compute_outputs", tamper)
    assert cli.main(["--config", "small.yaml"]) == 1
    assert "a teacher's weights changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--output", "small.yaml"],
        ["--output", "."],
        ["--output", "small.yaml/results.json"],
        ["--set", "output.folder=small.yaml"],
        ["--set", "output.folder=."],
        ["--set", "logging.file=small.yaml/app.log"],
        ["--output", "runs/small/teacher.npz"],
        ["--output", "logs/app.log"],
    ],
)
def test_an_output_that_cannot_be_written_ends_with_5_before_training(
    folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--config", "small.yaml", *arguments]) == 5
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("error: ")
    assert "steps in" not in err
    assert (folder / "small.yaml").read_text() == SMALL_YAML


def test_a_users_folder_named_like_a_partial_run_is_left_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "thesis.partial").mkdir()
    (folder / "thesis.partial/notes.txt").write_text("years of work")
    for command in ("run", "check"):
        assert cli.main([command, "--config", "small.yaml", "--set", "output.folder=thesis"]) == 5
        assert "thesis.partial: holds files that no run wrote" in capsys.readouterr().err
    assert (folder / "thesis.partial/notes.txt").read_text() == "years of work"


def test_bad_data_leaves_what_an_earlier_run_had_kept(folder: Path) -> None:
    (folder / "bad.yaml").write_text(SMALL_YAML + EXPLODING)
    assert cli.main(["--config", "bad.yaml", "--quiet"]) == 3
    assert cli.main(["--config", "bad.yaml", "--quiet", "--set", "data.source=nowhere.csv"]) == 4
    assert (folder / "runs/bad.partial/teacher.npz").exists()
    assert cli.main(["--config", "small.yaml", "--quiet", "--set", "data.source=nowhere.csv"]) == 4
    assert not (folder / "runs/small.partial").exists()


def test_an_override_without_effect_is_a_fault(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--config", "small.yaml", "--quiet"]) == 0
    ineffective = ["temperature=2", "alpha=0", "student_hidden=8", "teacher_epochs=2", "learning_rate=1"]
    overrides = [f"--set=distillation.{text}" for text in ineffective]
    assert cli.main(["check", "--config", "runs/small/config.yaml", *overrides]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert {line.split(": ")[1] for line in lines} == {f"distillation.{text.partition('=')[0]}" for text in ineffective}
    effective = ["--set=distillation.random_seed=3", "--set=student.hidden=8", "--set=distillation.train_ratio=0.7"]
    assert cli.main(["check", "--config", "runs/small/config.yaml", *effective]) == 0
    for text in ineffective:
        assert cli.main(["check", "--config", "small.yaml", f"--set=distillation.{text}"]) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [["run", "--json"], ["check"]])
def test_a_full_disk_behind_stdout_is_one_message(folder: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "distill", *arguments, "--config", "small.yaml", "--set", "logging.level=ERROR"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (5, 1)
    assert "cannot be printed: No space left" in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_reason_to_fail(folder: Path, closed: str) -> None:
    command = f"{sys.executable} -m distill --config small.yaml {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert (folder / "runs/small/results.json").exists()


def test_too_little_memory_is_one_message(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def greedy(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 4 TiB")

    monkeypatch.setattr("distill.pipeline.run", greedy)
    assert cli.main(["--config", "small.yaml"]) == 1
    assert "not enough memory: Unable to allocate 4 TiB; make" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("large", [[], [*LARGE, "performance.threads=3"]], ids=["one thread", "three threads"])
@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_run_with_its_code_and_keeps_the_finished_teacher(
    folder: Path, number: int, exit_code: int, large: list[str]
) -> None:
    # a signal may be ignored where the tests themselves run in the background, and a child inherits that
    code = f"import signal; signal.signal({number:d}, signal.default_int_handler); from distill.cli import main; "
    arguments = ["--config", "small.yaml", *(f"--set={override}" for override in (*large, "student.epochs=1000000"))]
    command = [sys.executable, "-c", f"{code}raise SystemExit(main({arguments}))"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process, contextlib.ExitStack() as at_the_end:
        at_the_end.callback(process.kill)
        deadline = time.monotonic() + 60
        while not (folder / "runs/small.partial/teacher.npz").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == exit_code
    assert "error: stopped by" in err
    assert "Traceback" not in err
    assert distill.load_model(folder / "runs/small.partial/teacher.npz").n_features == 64
    assert not (folder / "runs/small").exists()


def handles_signals(process: int) -> bool:
    """Return whether a process has installed its handlers, of which SIGHUP's is the last."""
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process}/status").read_text())
    return bool(caught and int(caught[1], 16) >> (signal.SIGHUP - 1) & 1)


def children(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to see other processes")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_any_number_of_signals_at_any_time_is_one_message(folder: Path, number: int, workers: int) -> None:
    rng = random.Random(workers + number)
    (folder / "tmp").mkdir()
    epochs = 40 if workers > 1 else 1_000_000  # the first seed is trained before workers are started
    overrides = [
        f"student.epochs={epochs}",
        "evidence.seeds=5000",
        f"evidence.workers={workers}",
        "data.in_memory_mb=0",
    ]
    command = [sys.executable, "-m", "distill", "--config", "small.yaml", "--output", "out.json"]
    for latest in (0.02, 0.3, 1.0, 2.0):
        with (
            subprocess.Popen(
                [*command, *(f"--set={override}" for override in (*overrides, "logging.level=ERROR"))],
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"TMPDIR": str(folder / "tmp")},
                preexec_fn=lambda: [signal.signal(n, signal.SIG_DFL) for n in (signal.SIGINT, signal.SIGHUP)],
            ) as process,
            contextlib.ExitStack() as at_the_end,
        ):
            at_the_end.callback(process.kill)
            while not handles_signals(process.pid):
                time.sleep(0.001)
            time.sleep(rng.uniform(0, latest))
            workers_at_work = children(process.pid)
            for pause in (0, rng.uniform(0, 0.003), rng.uniform(0, 0.05)):
                time.sleep(pause)
                process.send_signal(number)
            _, err = process.communicate(timeout=60)
        by = "Ctrl-C" if number == signal.SIGINT else f"signal {number}"
        assert (process.returncode, err) == (128 + number, f"error: stopped by {by}\n")
        assert not any(Path("/proc", child).exists() for child in workers_at_work)
        assert not list((folder / "tmp").iterdir())
        assert {*names(folder)} <= {"logs", "runs", "small.yaml", "tmp"}


def test_a_signal_that_python_drops_stops_the_command_all_the_same(folder: Path) -> None:
    """As in a callback of the garbage collector, where an exception is printed and forgotten."""
    code = (
        "import os, signal, sys, time; from distill import cli, pipeline\n"
        "class Dropping:\n  def __del__(self): os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.05)\n"
        "def run(*_, **__): Dropping(); time.sleep(60)\n"
        "pipeline.run = run; raise SystemExit(cli.main(['--config', 'small.yaml', '--quiet']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50)
    assert (done.returncode, done.stderr) == (143, "error: stopped by signal 15\n")


def test_a_closed_pipe_behind_stdout_is_no_error(trained: Path) -> None:
    big = "\n".join(["w,x,y,z", *["1,2,3,4"] * 20_000])
    (trained / "big.csv").write_text(big)
    command = f"{sys.executable} -m distill predict --model runs/blobs/student.npz --data big.csv | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("class,p_k0,p_k1,p_k2\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["predict", "--help"], ["--version"]])
def test_help_is_printed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 0
    assert "distill" in capsys.readouterr().out


# --- from Python ------------------------------------------------------------------------------------------------------


def test_a_run_of_a_mapping_writes_no_files(in_tmp: Path) -> None:
    results = distill.run({"distillation": {"max_samples": 200, "student_epochs": 1}})
    assert results["student_val_accuracy"] <= 1
    assert (results.teacher.n_parameters, results.student.n_parameters) == (9610, 2410)
    assert names(in_tmp) == []


def test_a_path_runs_as_on_the_command_line(folder: Path) -> None:
    epochs: list[str] = []
    results = distill.run(
        "small.yaml", ["student.epochs=1"], lambda name, epoch: epochs.append(f"{name} {epoch['epoch']}")
    )
    assert epochs == ["teacher 1", "teacher 2", "teacher 3", "control 1", "student 1"]
    assert json.loads((folder / "runs/small/results.json").read_text()) == results


def test_public_names_are_there_and_others_are_refused_by_name() -> None:
    for name in distill.__all__:
        assert getattr(distill, name) is not None
    assert set(distill.__all__) <= set(dir(distill))
    with pytest.raises(AttributeError, match=r"has no attribute 'runn'; it has .*run"):
        distill.runn  # noqa: B018


def test_a_child_process_is_not_limited_by_the_limit_on_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.BLAS_THREADS:
        monkeypatch.setenv(name, "1")
    assert environment._thread_limit() is None
    monkeypatch.delenv("MKL_NUM_THREADS")
    assert environment._thread_limit() == 1
