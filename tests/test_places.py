"""What a plan reads is never cleared or replaced, and check and run agree about it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill import cli

ROWS = "a,b,label\n" + "".join(f"{i % 7},{i % 3},{'xyz'[i % 3]}\n" for i in range(60))
PLAN = """\
logging: {file: null, level: ERROR}
data: {source: rows.csv}
distillation: {teacher_hidden: 8, student_hidden: 4, teacher_epochs: 20, student_epochs: 1}
output: {folder: runs/x}
"""
PARTIAL = "runs/x.partial"


@pytest.fixture
def stopped_run(in_tmp: Path) -> Path:
    """Return a folder with data, a plan, its complete run in runs/done, and a stopped run of it in runs/x.partial."""
    (in_tmp / "rows.csv").write_text(ROWS)
    (in_tmp / "config.yaml").write_text(PLAN)
    assert cli.main(["--quiet", "--set=output.folder=runs/done"]) == 0
    shutil.copytree("runs/done", PARTIAL)
    Path(PARTIAL, "results.json").unlink()
    return in_tmp


def tree() -> dict[str, bytes]:
    """Every file below the working directory."""
    return {str(path): path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}


def load(path: str | Path) -> list[str]:
    return [f"teachers.teacher.load={path}"]


def move(name: str, to: str) -> str:
    Path(to).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(name, to)
    return to


def link(to: str, target: str | Path) -> str:
    Path(to).symlink_to(Path(target).absolute())
    return to


def hard_link() -> str:
    os.link(f"{PARTIAL}/teacher.npz", "mine.npz")
    return "mine.npz"


def array_folder(folder: str) -> str:
    Path(folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    np.save(f"{folder}/X.npy", rng.normal(size=(60, 2)))
    np.save(f"{folder}/y.npy", np.arange(60) % 3)
    return folder


def layer_file(name: str) -> list[str]:
    Path(name).write_text("{1: 1}")
    term = f"[{{loss: hint, weight: 1, layers: {name}}}, {{loss: cross_entropy, weight: 1}}]"
    return [f"student.terms={term}"]


def predictions(folder: str) -> list[str]:
    np.save(f"{folder}/student.npy", np.eye(3)[np.arange(60) % 3])
    return [f"teachers.teacher.predictions={folder}/student.npy"]


def blocked() -> str:
    shutil.copytree("runs/done", "runs/x")
    Path("runs/x/student.npz").unlink()
    move("rows.csv", "runs/x/student.npz/rows.csv")
    return "output.folder=runs/x"


def done(name: str) -> list[str]:
    """A complete run in runs/x that was trained as runs/done."""
    shutil.copytree("runs/done", "runs/x")
    return load(f"runs/x/{name}")


# Placement -> what makes it and returns its overrides; the text that the error contains, or None if there is none.
PLACEMENTS: dict[str, tuple[Callable[[], list[str]], str | None]] = {
    "a model in what is cleared": (lambda: load(f"{PARTIAL}/teacher.npz"), "teachers.teacher.load"),
    "another spelling": (lambda: load(f"runs/../{PARTIAL}/./teacher.npz"), "teachers.teacher.load"),
    "an absolute one": (lambda: load(Path(PARTIAL, "teacher.npz").absolute()), "teachers.teacher.load"),
    "a link to it": (lambda: load(link("mine.npz", f"{PARTIAL}/teacher.npz")), "teachers.teacher.load"),
    "a linked folder": (lambda: load(link("mine", PARTIAL) + "/teacher.npz"), "teachers.teacher.load"),
    "a hard link": (lambda: load(hard_link()), "teachers.teacher.load: mine.npz is the same file as one in"),
    "a link in it": (
        lambda: load(link(f"{PARTIAL}/peer1.npz", "runs/done/teacher.npz")),
        "teachers.teacher.load",
    ),
    "predictions in it": (lambda: predictions(PARTIAL), "teachers.teacher.predictions"),
    "data in it": (lambda: ["data.source=" + move("rows.csv", f"{PARTIAL}/rows.csv")], "data.source"),
    "a test set in it": (lambda: ["data.test=" + move("rows.csv", f"{PARTIAL}/rows.csv")], "data.test"),
    "arrays in it": (lambda: ["data.source=" + array_folder(f"{PARTIAL}/arrays")], "data.source"),
    "a layer map in it": (lambda: layer_file(f"{PARTIAL}/map.yaml"), "layers"),
    "a model elsewhere": (lambda: load("runs/done/teacher.npz"), None),
    "a copy of a linked model": (lambda: load(move(f"{PARTIAL}/teacher.npz", "mine.npz")), None),
    "a model that is replaced": (lambda: done("student.npz"), "teachers.teacher.load"),
    "a model that the run would take away": (lambda: done("teacher.npz"), None),
    "data in the run's folder": (lambda: ["data.source=" + move("rows.csv", "runs/x/rows.csv")], "data.source"),
    "data below it": (lambda: ["data.source=" + move("rows.csv", "runs/x/in/rows.csv")], "data.source"),
    "the folder of the arrays": (
        lambda: ["data.source=" + array_folder("arrays"), "output.folder=arrays"],
        "data.source",
    ),
    "the working directory": (lambda: ["output.folder=."], "working directory"),
    "above it": (lambda: ["output.folder=.."], "working directory"),
    "below a file": (lambda: ["output.folder=rows.csv/x"], "rows.csv/x"),
    "a linked run's folder": (lambda: ["output.folder=" + link("other", "runs/done")], None),
    "a file of the user's in what is cleared": (
        lambda: [f"teachers.teacher.hidden={len(move('rows.csv', f'{PARTIAL}/notes.txt'))}"],
        "notes.txt",
    ),
    "a folder for an unfinished run": (lambda: [f"output.folder={PARTIAL}"], "unfinished run"),
    "a folder of the user's for a model": (lambda: [blocked()], "student.npz"),
    "data for an old log": (
        lambda: ["logging.file=x.log", "data.source=" + move("rows.csv", "x.log.2")],
        "x.log.2",
    ),
    "a linked folder to clear": (lambda: [f"output.folder={link('y.partial', PARTIAL)[:1]}"], "y.partial"),
    "a log in the run's folder": (lambda: ["logging.file=runs/x/run.log"], None),
    "a log deep in it": (lambda: ["logging.file=runs/x/logs/run.log"], None),
    "a log in what is cleared": (lambda: [f"logging.file={PARTIAL}/run.log"], "logging.file"),
    "a log for a folder": (lambda: ["logging.file=runs/x"], "runs/x"),
    "a log above it": (lambda: ["logging.file=new", "output.folder=new/x"], "new"),
    "a log for the results": (lambda: ["logging.file=runs/x/results.json"], "results.json"),
    "a log for the data": (lambda: ["logging.file=./rows.csv"], "rows.csv"),
    "a cache in the run's folder": (lambda: ["performance.cache=runs/x/cache"], None),
    "a cache around it": (lambda: ["performance.cache=runs"], None),
    "a cache in what is cleared": (lambda: [f"performance.cache={PARTIAL}/cache"], "performance.cache"),
    "a cache for a folder": (lambda: ["performance.cache=runs/x"], "performance.cache"),
    "a cache for a model": (lambda: ["performance.cache=runs/x/student.npz"], "student.npz"),
    "a cache for a log": (lambda: ["performance.cache=log/x", "logging.file=log/x"], "log/x"),
    "the root": (lambda: ["output.folder=/"], "output.folder: /: is the root"),
    "a folder in a loop of links": (
        lambda: ["logging.file=x.log", f"output.folder={link('loop', 'loop')}/x"],
        "output.folder: loop/x: cannot be written: Too many levels",
    ),
    "a folder of too long a name": (
        lambda: ["logging.file=x.log", f"output.folder={'x' * 300}"],
        f"output.folder: {'x' * 300}: cannot be written: File name too long",
    ),
    "a log in a loop of links": (lambda: [f"logging.file={link('loop', 'loop')}/x"], "error: loop/x: cannot"),
    "a cache below a file": (lambda: ["performance.cache=rows.csv/cache"], "rows.csv/cache"),
}


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_check_accepts_what_a_run_can_keep_and_no_file_is_lost(
    placement: str, stopped_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, message = PLACEMENTS[placement]
    overrides = [f"--set={override}" for override in make()]
    before = tree()
    assert cli.main(["check", *overrides]) == (5 if message else 0), capsys.readouterr().err
    assert tree() == before, "check wrote or removed something"
    checked = capsys.readouterr().err
    assert cli.main(["--quiet", *overrides]) == (5 if message else 0), capsys.readouterr().err
    if message:
        assert capsys.readouterr().err == checked
        assert checked.count("\n") == 1
        assert message in checked
        assert tree() == before
    else:
        loaded = [override.partition("=")[2] for override in overrides if ".load=" in override]
        assert all(Path(path.partition("=")[2]).is_file() for path in loaded)
        assert cli.main(["--quiet", *overrides]) == 0, "only the first run was possible"
        assert Path("rows.csv").read_text() == ROWS


@pytest.mark.parametrize("mounted", ["runs/x", PARTIAL, "runs/x/student.npz", "out.json"])
def test_what_is_mounted_is_refused_before_training(
    mounted: str, stopped_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree("runs/done", "runs/x")
    Path("out.json").touch()
    border, stat, before = Path(mounted).absolute(), os.stat, tree()

    def other_device(path: Any, *words: Any, **options: Any) -> os.stat_result:
        status = stat(path, *words, **options)
        inside = not isinstance(path, int) and Path(path).absolute().is_relative_to(border)
        return os.stat_result([*status[:2], status.st_dev + 1, *status[3:]]) if inside else status

    monkeypatch.setattr(os, "stat", other_device)
    monkeypatch.setattr(os, "lstat", lambda path, **options: other_device(path, follow_symlinks=False, **options))
    for words in (["check", "--rows"], ["run", "--output"]):
        assert cli.main([*words, "out.json" if mounted == "out.json" else "new.json"]) == 5
        assert f"{border}: is a mount point" in capsys.readouterr().err
    assert tree() == before


def test_outputs_of_a_command_replace_nothing(stopped_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree()
    for words in (
        ["run", "--output", f"{PARTIAL}/results.json"],
        ["run", "--output", "runs/x"],
        ["run", "--output", "runs"],
        ["run", "--output", "x.log", "--set=logging.file=x.log"],
        ["run", "--output", "x.log.1", "--set=logging.file=x.log"],
        ["check", "--rows", f"{PARTIAL}/rows.csv"],
        ["check", "--rows", "runs/x/rows.csv"],
        ["check", "--rows", "config.yaml"],
        ["report", "runs/done", "--output", "config.yaml"],
        ["report", "runs/done", "--output", "rows.csv"],
    ):
        assert cli.main(words) == 5, words
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert cli.main(["check", "--rows", "map.yaml", *(f"--set={override}" for override in layer_file("map.yaml"))]) == 5
    array_folder("arrays")
    model = ["--model", "runs/done/student.npz", "--data", "arrays"]
    assert cli.main(["predict", *model, "--output", "arrays/X.npy"]) == 5
    assert {name: content for name, content in tree().items() if name in before} == before
    assert cli.main(["--quiet", "--output", "runs/x/deep/summary.json"]) == 0
    assert json.loads(Path("runs/x/deep/summary.json").read_text())
    assert cli.main(["--quiet", "--output", "runs/x/deep/summary.json"]) == 0


def run_of(path: str, *words: str, command: str = "run", **plan: Any) -> int:
    Path(path).parent.mkdir(exist_ok=True)
    text = "\n".join(line for line in PLAN.splitlines() if "output" not in line)
    Path(path).write_text(text.replace("level: ERROR", "level: WARNING") + "\n" + json.dumps(plan)[1:-1])
    return cli.main([command, "--config", path, *words])


def test_a_plan_does_not_replace_the_run_of_another_of_its_name(
    stopped_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_of("a/config.yaml") == 0
    assert run_of("a/config.yaml", student={"epochs": 2}) == 0, "an edited plan runs again as ever"
    assert run_of("./a/../a/config.yaml", "--set=student.epochs=3") == 0
    assert run_of("b/config.yaml", "--set=student.epochs=3") == 0, "a copy of the plan is the same plan"
    assert run_of("a/config.yaml", "--set=student.epochs=3") == 0
    before = tree()
    shutil.copy("rows.csv", "b/other.csv")
    assert capsys.readouterr().err == ""
    assert run_of("b/config.yaml", "--set=data.source=b/other.csv") == 5
    message = capsys.readouterr().err
    for word in ("runs/config", "a/config.yaml (data: rows.csv)", "b/config.yaml (data: b/other.csv)", "output.folder"):
        assert word in message
    assert cli.main(["check", "--config", "b/config.yaml", "--set=data.source=b/other.csv"]) == 5
    assert capsys.readouterr().err == message
    assert {name: content for name, content in tree().items() if name in before} == before
    assert run_of("b/config.yaml", "--set=output.folder=runs/b") == 0
    assert capsys.readouterr().err == ""
    # Naming the folder, or moving the plan, may be intended: it is done with a warning.
    assert run_of("b/other.yaml", "--set=output.folder=runs/config", "--set=student.epochs=4") == 0
    assert "holds the run of a/config.yaml" in capsys.readouterr().err
    Path("b/other.yaml").rename("c.yaml")
    assert run_of("a/config.yaml") == 0
    assert "holds the run of b/other.yaml" in capsys.readouterr().err


def test_a_plan_does_not_clear_what_another_of_its_name_had_finished(
    stopped_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_of("a/config.yaml") == 0
    Path("runs/config").rename("runs/config.partial")
    Path("runs/config.partial/results.json").unlink()
    before = tree()
    for command in ("check", "run"):
        assert run_of("b/config.yaml", "--set=student.epochs=2", command=command) == 5
        message = capsys.readouterr().err
        for word in ("config.partial holds the stopped run of a/config.yaml (data: rows.csv)", "this is b/config.yaml"):
            assert word in message
    assert {name: content for name, content in tree().items() if name in before} == before
    assert run_of("a/config.yaml", "--set=student.epochs=2", command="check") == 0
    assert capsys.readouterr().err == ""
    assert run_of("b/other.yaml", "--set=output.folder=runs/config", "--set=student.epochs=2") == 0
    assert "holds the stopped run of a/config.yaml" in capsys.readouterr().err
    shutil.copytree("runs/config", "runs/config.partial")
    for model in Path("runs/config.partial").glob("*.npz"):
        model.unlink()
    shutil.rmtree("runs/config")
    assert run_of("a/config.yaml") == 0
    assert capsys.readouterr().err == "", "nothing was finished there"


def test_the_plan_in_a_run_s_folder_runs_again_unless_it_was_edited(
    stopped_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path("runs/done/config.yaml")
    text = copy.read_text()
    for command in ("check", "run"):
        assert cli.main([command, "--config", str(copy), "--set=student.epochs=2"]) == 0
    assert copy.read_text().splitlines()[0] == text.splitlines()[0] == "# plan: ../../config.yaml"
    assert cli.main(["--quiet", "--config", f"{PARTIAL}/config.yaml", "--set=output.folder=runs/x"]) == 5
    assert f"--config: {PARTIAL}/config.yaml is in " in capsys.readouterr().err
    copy.write_text(copy.read_text() + "# a comment\n")
    for command in ("check", "run"):
        assert cli.main([command, "--config", str(copy)]) == 5
        assert "--config: runs/done/config.yaml is read by the plan, and would be replaced" in capsys.readouterr().err
    assert "# a comment" in copy.read_text()
