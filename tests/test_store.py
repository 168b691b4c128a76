"""Files are written atomically, and a run's folder holds one complete run."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from distill.errors import OutputError
from distill.report import run_files, run_folder
from distill.system import files


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    files.write_text(path, "old")

    def break_off() -> None:
        with files.atomic(path) as file:
            file.write(b"half of the ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_parent_folders_are_created(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a/b/c.txt", "x")
    assert (tmp_path / "a/b/c.txt").read_text() == "x"


def test_a_link_is_written_through_and_a_device_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    files.write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "real.txt").read_text() == "new"
    assert (tmp_path / "link.txt").is_symlink()
    files.check_writable(Path(os.devnull), [])
    files.write_text(Path(os.devnull), "x")
    assert not Path(os.devnull).is_file()


def test_nan_never_reaches_json() -> None:
    with pytest.raises(ValueError, match="nan"):
        files.to_json({"loss": float("nan")})


def test_an_output_that_is_an_input_or_a_folder_or_below_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("x")
    for output in (path, tmp_path / "." / "config.yaml", tmp_path, path / "below"):
        with pytest.raises(OutputError):
            files.check_writable(output, [path])
    assert path.read_text() == "x"


def make_run(folder: Path, text: str, *, complete: bool = True) -> None:
    with run_folder.RunFolder(folder) as run:
        for name in (run_files.METRICS, "student.npz", "results.json"):
            files.write_text(run / name, text)
        if complete:
            run.publish()


def test_the_last_complete_run_stays_until_the_next_is_complete(tmp_path: Path) -> None:
    make_run(tmp_path / "run", "first")
    make_run(tmp_path / "run", "broken off", complete=False)
    assert (tmp_path / "run/student.npz").read_text() == "first"
    assert (tmp_path / "run.partial/student.npz").read_text() == "broken off"
    make_run(tmp_path / "run", "third")
    assert {path.read_text() for path in (tmp_path / "run").iterdir()} == {"third"}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_with_other_files_is_never_taken_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="no run wrote"), run_folder.RunFolder(tmp_path):
        pass
    with pytest.raises(OutputError, match="is a file"), run_folder.RunFolder(tmp_path / "thesis.txt"):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_second_run_into_the_same_folder_is_refused_while_the_first_is_at_work(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from distill import errors; from distill.report import run_folder\n"
        "try:\n  with run_folder.RunFolder(Path(sys.argv[1])): pass\n"
        "except errors.OutputError as error: sys.exit(str(error))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    with run_folder.RunFolder(tmp_path / "run"):
        second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "another run is writing here" in second.stderr
    assert subprocess.run(command, check=False).returncode == 0


def test_results_go_first_and_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever publishing is interrupted, FOLDER has no results.json, or that of the models in it."""
    make_run(tmp_path / "run", "old")
    original = Path.replace
    for after in range(5):
        moved: list[Path] = []

        def replace(self: Path, target: Path, moved: list[Path] = moved, after: int = after) -> Path:
            if target.parent == tmp_path / "run":
                if len(moved) == after:
                    raise KeyboardInterrupt
                moved.append(target)
            return original(self, target)

        monkeypatch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            make_run(tmp_path / "run", f"new {after}")
        remaining = {path.name: path.read_text() for path in (tmp_path / "run").iterdir()}
        assert "results.json" not in remaining or set(remaining.values()) == {"old"}
    monkeypatch.setattr(Path, "replace", original)
    make_run(tmp_path / "run", "last")
    assert {path.read_text() for path in (tmp_path / "run").iterdir()} == {"last"}


def test_a_folder_that_nothing_can_be_moved_to_is_refused_before_the_run_and_keeps_its_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a mount of the same file system, which has the same device number."""
    folder, original, at_work = tmp_path / "run", Path.replace, []

    def replace(self: Path, target: Path) -> Path:
        if target.parent == folder and at_work:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return original(self, target)

    make_run(folder, "old")
    before = {path.name: path.read_text() for path in folder.iterdir()}
    monkeypatch.setattr(Path, "replace", replace)
    with run_folder.RunFolder(folder) as run:
        files.write_text(run / "student.npz", "new")
        at_work.append(True)
        with pytest.raises(OutputError, match="run: is a mount point; name a folder in it"):
            run.publish()
    assert (tmp_path / "run.partial/student.npz").read_text() == "new"
    with pytest.raises(OutputError, match="run: is a mount point; name a folder in it"), run_folder.RunFolder(folder):
        pytest.fail("the run began")
    assert {path.name: path.read_text() for path in folder.iterdir()} == before


def test_forged_results_remove_no_file_elsewhere(tmp_path: Path) -> None:
    make_run(tmp_path / "run", "old")
    (tmp_path / "run/teacher.a").mkdir()
    (tmp_path / "precious.npz").write_text("mine")
    teachers = {"a/../../../precious": {"origin": "trained"}, "b": {"origin": "trained"}}
    (tmp_path / "run/results.json").write_text(files.to_json({"teachers": teachers, "history": {}}))
    make_run(tmp_path / "run", "new")
    assert (tmp_path / "precious.npz").read_text() == "mine"


def test_a_complete_file_is_flushed_to_disk_before_it_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    sync, replace = os.fsync, Path.replace

    def flushed(number: int) -> None:
        events.append("flushed")
        sync(number)

    def renamed(self: Path, target: Path) -> Path:
        events.append("renamed")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed)
    files.write_text(tmp_path / "x.txt", "x")
    assert events == ["flushed", "renamed"]
