"""What a teacher said, kept: in memory, on disk, in a folder for later runs; and never what another one said."""

import contextlib
import errno
import gc
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import distill
from conftest import SMALL, blobs, held
from distill import config, data
from distill.config.schema import Term
from distill.data.ondisk import DiskArray
from distill.data.rows import Data, Rows
from distill.data.scaling import Scaling
from distill.data.source import DIGITS
from distill.errors import DataError, OutputError
from distill.model import Model
from distill.nn.ops import softmax
from distill.nn.vector import Array
from distill.teacher import cache, compute, predictions
from distill.teacher.cache import cache_outputs
from distill.teacher.compute import compute_outputs
from distill.teacher.sources import from_model
from distill.train import outputs
from distill.train.outputs import TeacherOutputs
from test_hostile_configs import FUZZ as MANY
from test_hostile_configs import Answer, ask

FUZZ = settings(MANY, max_examples=30)
CACHED: dict[str, Any] = {"performance": {"cache": "cache"}}
ON_DISK: dict[str, Any] = {"data": {"in_memory_mb": 0}}


@pytest.fixture(autouse=True)
def _workplace(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and one of its own for what is temporary."""
    (in_tmp / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(in_tmp / "scratch"))


@pytest.fixture(scope="module")
def rows() -> Data:
    return data.load(config.load(SMALL).data, 0.8, 200, 0)


@pytest.fixture
def trained(small_run: distill.Results) -> Model:
    """The teacher of the small run, in teacher.npz too."""
    assert small_run.teacher is not None
    small_run.teacher.save("teacher.npz")
    return small_run.teacher


def loaded(path: str = "teacher.npz") -> dict[str, Any]:
    return {"teachers": {"big": {"load": path}}}


def command(plan: dict[str, Any], *words: str) -> Answer:
    """A command on a plan in plan.yaml; `run`, quietly, where no words are given."""
    Path("plan.yaml").write_text(json.dumps({"logging": {"file": None, "level": "ERROR"}} | plan))
    name, *rest = words or ("run", "--quiet")
    return ask(name, "--config", "plan.yaml", *rest)


def entries(folder: str = "cache") -> list[Path]:
    return sorted(Path(folder).iterdir())


def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no teacher answers for all rows of a training."""

    def refuse(*_: object) -> Iterator[Any]:
        raise AssertionError("the teacher was asked again")
        yield

    monkeypatch.setattr(compute, "_named_blocks", refuse)


def prints(results: distill.Results) -> tuple[str, str]:
    return results.student.fingerprint(), results.control.fingerprint()


# --- in memory, or on disk --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("megabytes", "on_disk"), [(0, True), (0.0063, True), (0.0064, False), (512, False)])
def test_answers_are_on_disk_where_they_take_more_than_may_be_in_memory(
    megabytes: float, on_disk: bool, rows: Data, trained: Model
) -> None:
    """160 rows of ten logits are 6,400 bytes."""
    found = compute_outputs(from_model("big", trained), rows.train, [], megabytes, None)
    assert isinstance(found.logits, np.memmap) == on_disk
    assert found.logits.dtype == np.float32
    assert len(list(Path("scratch").iterdir())) == on_disk
    np.testing.assert_array_equal(found.logits, from_model("big", trained).logits(rows.train))
    if on_disk:
        assert not found.logits.flags.writeable


def test_hidden_layers_count_too_and_go_to_disk_with_the_logits(rows: Data, trained: Model) -> None:
    """160 rows of ten logits and 16 units are 16,640 bytes."""
    own = from_model("big", trained)
    for megabytes, on_disk in ((0.0166, True), (0.0167, False)):
        found = compute_outputs(own, rows.train, [0, 1], megabytes, None)
        assert isinstance(found.logits, np.memmap) == isinstance(found.layers[1], np.memmap) == on_disk
        assert found.layers[0] is rows.train.x
        x = np.maximum(held(rows.train) @ trained.weights["w1"][:, :-1].T + trained.weights["w1"][:, -1], 0)
        np.testing.assert_allclose(found.layers[1], x, atol=1e-5)
        del found


def test_a_temporary_folder_lasts_as_long_as_its_answers(rows: Data, trained: Model) -> None:
    found = compute_outputs(from_model("big", trained), rows.train, [], 0, None)
    folder = next(Path("scratch").iterdir())
    assert [one.name for one in folder.iterdir()] == ["logits.npy"]
    child = multiprocessing.get_context("fork").Process(target=cache._remove, args=(folder, os.getpid()))
    child.start()
    child.join()  # what a forked worker would do on its way out
    assert (child.exitcode, folder.exists()) == (0, True)
    del found
    assert not folder.exists()


HINT = {"terms": [{"loss": "hint", "weight": 1}, {"loss": "response", "weight": 1}, {"loss": "cross_entropy"}]}
# Plans whose every part must be as it is in memory, and without a cache.
PLANS: dict[str, dict[str, Any]] = {
    "classic": {},
    "hidden layers": {"student": HINT},
    "input": {"student": {"terms": [{"loss": "similarity", "weight": 1, "layers": {0: 1}}, {"loss": "cross_entropy"}]}},
    "chain": {"teachers": {"a": {}, "b": {"teacher": "a"}}},
    "chain on hidden layers": {
        "teachers": {"a": {}, "b": {"terms": [{"loss": "hint", "weight": 1}, {"loss": "cross_entropy", "weight": 1}]}}
    },
    "ensemble": {"teachers": {"a": {}, "b": {"hidden": 8}, "c": {"hidden": [8, 8]}}},
    "peers": {
        "student": {"peers": 1, "terms": [{"loss": "response", "teacher": name} for name in ("peers", "teacher")]}
    },
    "noise": {"student": {"noise": 0.2}},
    "noise on hidden layers": {"student": HINT | {"noise": 0.2}},
    "fewer rows": {"student": {"labels": 30, "unlabelled": "drop"}},
    "loaded": loaded(),
    "predictions": {"teachers": {"said": {"predictions": "said.npy"}}},
    "seeds": {"evidence": {"seeds": 3, "workers": 2}},
    "one teacher for all seeds": {"evidence": {"seeds": 3, "workers": 2, "share_teacher": True}},
}


@pytest.mark.parametrize("plan", PLANS)
def test_where_answers_are_kept_changes_no_bit(plan: str, trained: Model) -> None:
    with np.load(DIGITS) as file:
        np.save("said.npy", trained.logits(file["X"].reshape(1797, 64)))
    whole = SMALL | PLANS[plan]
    runs = [distill.run(whole | other) for other in ({}, ON_DISK, CACHED, CACHED | ON_DISK)]
    for one in runs:
        assert prints(one) == prints(runs[0])
        assert one["seeds"] == runs[0]["seeds"]
        assert one["history"] == runs[0]["history"]
        assert one["advice"] == runs[0]["advice"]
    assert entries()


@pytest.mark.parametrize("evidence", [{}, {"seeds": 5, "workers": 1}, {"seeds": 5, "workers": 2}], ids=str)
def test_no_temporary_folder_outlives_its_run(evidence: dict[str, Any]) -> None:
    """Neither those of the workers: they hold as much as the answers take, which is why they are not in memory."""
    distill.run(SMALL | ON_DISK | {"evidence": evidence})
    gc.collect()
    assert list(Path("scratch").iterdir()) == []


def test_a_full_disk_is_one_message_that_names_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np.lib.format, "open_memmap", full)
    for plan in (CACHED, ON_DISK):
        answer = command(SMALL | plan)
        assert (answer.code, len(answer.lines)) == (5, 1)
        assert "No space left on device" in answer.lines[0]
        assert "printed" not in answer.lines[0], answer.lines[0]


# --- rows that are too many for memory --------------------------------------------------------------------------------


@pytest.fixture
def disk_rows(monkeypatch: pytest.MonkeyPatch) -> tuple[Array, Array]:
    """1,000 rows of four features in the folder `rows`, asked for a hundred at a time."""
    x, y = blobs(1000)
    Path("rows").mkdir()
    np.save("rows/X.npy", x.astype(np.float32))
    np.save("rows/y.npy", y)
    monkeypatch.setattr(data.scaling, "BLOCK_NUMBERS", 400)
    return x.astype(np.float32), y


DISK = {"data": {"source": "rows", "in_memory_mb": 0}, "distillation": {"teacher_epochs": 2, "student_epochs": 1}}


class Forest:
    """A teacher from Python that notes how many rows it is asked about at a time."""

    def __init__(self, model: Model) -> None:
        self.model, self.asked = model, list[int]()

    def predict_proba(self, x: Array) -> Array:
        self.asked.append(len(x))
        return self.model.predict_proba(x)


@pytest.mark.usefixtures("disk_rows")
def test_a_teacher_from_elsewhere_says_of_rows_on_disk_what_it_says_of_rows_in_memory() -> None:
    here = distill.run(DISK)
    assert here.teacher is not None
    here.teacher.save("teacher.npz")
    x = np.load("rows/X.npy")
    said = {"teachers": {"said": {"predictions": "said.npy"}}}
    np.save("said.npy", here.teacher.logits(x))
    assert prints(distill.run(DISK | loaded())) == prints(here)
    predicted = distill.run(DISK | said)
    np.testing.assert_allclose(predicted.student.weights.flat, here.student.weights.flat, atol=1e-4)
    given = distill.run(DISK, teachers={"forest": Forest(here.teacher)})
    assert given["teacher_val_accuracy"] == predicted["teacher_val_accuracy"] == here["teacher_val_accuracy"]
    assert given["teacher_val_ce"] == pytest.approx(here["teacher_val_ce"], abs=1e-4)


@pytest.mark.usefixtures("disk_rows")
@pytest.mark.parametrize("origin", ["load", "python"])
def test_asking_about_rows_on_disk_reads_the_file_a_few_times_and_not_once_a_block(
    origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else ten times as many rows take a hundred times as long."""
    here = distill.run(DISK)
    assert here.teacher is not None
    here.teacher.save("teacher.npz")
    reads = []
    original = DiskArray._read

    def count(self: DiskArray, start: int, stop: int) -> Array:
        reads[-1] += stop - start
        return original(self, start, stop)

    monkeypatch.setattr(DiskArray, "_read", count)
    for numbers in (400, 100):
        monkeypatch.setattr(data.scaling, "BLOCK_NUMBERS", numbers)
        reads.append(0)
        distill.run(DISK | loaded()) if origin == "load" else distill.run(DISK, teachers={"f": Forest(here.teacher)})
    assert reads[1] < 1.1 * reads[0]


@pytest.mark.usefixtures("disk_rows")
def test_no_teacher_is_asked_about_more_rows_on_disk_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a file of 10 GB would be in memory, a fifth of it at once, as soon as its validation rows are judged."""
    monkeypatch.setattr("distill.teacher.teacher.BLOCK_NUMBERS", 1)
    for user in ("nn.mlp", "teacher.teacher"):
        monkeypatch.setattr(f"distill.{user}.EVALUATION_ROWS", 100)
    here = distill.run(DISK)
    assert here.teacher is not None
    forest = Forest(here.teacher)
    distill.run(DISK, teachers={"forest": forest})
    assert max(forest.asked) <= 100


# --- a folder of answers ----------------------------------------------------------------------------------------------


def test_a_second_run_answers_from_the_folder(trained: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    first = distill.run(SMALL | loaded() | CACHED)
    content = {one: one.read_bytes() for one in entries()[0].iterdir()}
    assert sorted(one.name for one in content) == ["answers.json", "ids.npy", "logits.npy"]
    deaf(monkeypatch)
    assert prints(distill.run(SMALL | loaded() | CACHED)) == prints(first)
    with pytest.raises(AssertionError, match="asked again"):
        distill.run(SMALL | loaded())
    assert {one: one.read_bytes() for one in entries()[0].iterdir()} == content


def test_one_entry_serves_every_temperature_loss_weight_and_student(
    trained: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    distill.run(SMALL | loaded() | CACHED)
    deaf(monkeypatch)
    for sets in (
        ["distillation.temperature=1"],
        ["distillation.alpha=1", "distillation.t_squared=false"],
        ["student.hidden=8", "student.epochs=1", "student.optimizer=sgd"],
        ["student.terms=[{loss: dist, weight: 1}]"],
        ["student.terms=[{loss: logit_mse, weight: 1}, {loss: decoupled, weight: 2}]"],
        ["student.label_noise=0.2", "student.labels=50"],
        ["student.noise=0.1"],
        ["evidence.seeds=2", "evidence.share_teacher=true"],
        ["student.peers=1", "student.terms=[{loss: response, teacher: peers}, {loss: response}]"],
    ):
        distill.run(SMALL | loaded() | CACHED, sets)
    assert len(entries()) == 1


def test_other_rows_weights_and_layers_have_an_entry_of_their_own(trained: Model) -> None:
    counts = []
    for sets in (
        [],
        ["distillation.random_seed=1"],
        ["distillation.max_samples=201"],
        ["distillation.train_ratio=0.7"],
        ["data.scale=standard"],
        ["student.labels=40", "student.unlabelled=drop"],
        ["student.terms=[{loss: hint, weight: 1}]"],
        ["student.terms=[{loss: hint, weight: 1}, {loss: cosine, weight: 1}]"],
        [],
    ):
        distill.run(SMALL | loaded() | CACHED, sets)
        counts.append(len(entries()))
    # a loaded model sees raw rows, so that the run's scaling makes no difference to it
    assert counts == [1, 2, 3, 4, 4, 5, 6, 6, 6]
    flat = trained.weights.flat.copy()
    flat[0] = np.nextafter(flat[0], np.float32(9))
    altered(trained, flat).save("teacher.npz")
    distill.run(SMALL | loaded() | CACHED)
    assert len(entries()) == 7


def altered(model: Model, flat: Array | None = None, **scaling: Array) -> Model:
    """The model with other weights or another scaling."""
    weights = model.weights if flat is None else type(model.weights)(model.weights.shapes, flat=flat)
    parts = {name: getattr(model.scaling, name) for name in ("offset", "factor", "fill")} | scaling
    return Model(weights, model.network, Scaling("none", **parts), model.classes)


def test_two_models_of_the_same_weights_and_another_scaling_are_two_teachers(trained: Model) -> None:
    """They answer the same rows otherwise, so that neither may hear the other's answers out of the folder."""
    altered(trained, factor=1.5 * trained.scaling.factor).save("steep.npz")
    alone = prints(distill.run(SMALL | loaded("steep.npz")))
    distill.run(SMALL | loaded() | CACHED)
    assert prints(distill.run(SMALL | loaded("steep.npz") | CACHED)) == alone


def test_rows_that_look_alike_once_they_are_scaled_are_other_rows_to_a_loaded_teacher() -> None:
    """In other units the run's own scaling gives the same bits; the teacher has its own, and hears other rows."""
    x, y = blobs()
    np.savez("metres.npz", X=x, y=y)
    np.savez("halves.npz", X=2 * x, y=y)
    metres = {"data": {"source": "metres.npz"}}
    made = distill.run(metres)
    assert made.teacher is not None
    made.teacher.save("teacher.npz")
    halves = {"data": {"source": "halves.npz"}} | loaded()
    alone = distill.run(halves)
    distill.run(metres | loaded() | CACHED)
    found = distill.run(halves | CACHED)
    assert found["teacher_val_ce"] == alone["teacher_val_ce"]
    assert prints(found) == prints(alone)


def test_objects_from_python_have_no_name_to_keep_their_answers_by(trained: Model) -> None:
    assert distill.run(SMALL | CACHED, teachers={"forest": Forest(trained)})["teacher_sha256"] is None
    assert entries() == []


def rewrite(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    if name.endswith(".json"):
        header = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(change(header)))
    else:
        np.save(folder / name, change(np.load(folder / name)))


def signed(folder: Path) -> None:
    """The checksums are those of what is there, so that the damage reaches what reads the arrays."""
    rewrite(folder, "answers.json", lambda h: h | {"sha256": cache._sums(folder)})


def written(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def both(*changes: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: [change(folder) for change in changes]


TORN = b"\x93NUMPY\x01\x00\x05\x00((((("
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "an edited array": (lambda f: rewrite(f, "logits.npy", lambda z: z + 1), "no longer what was written"),
    "a bit": (lambda f: flip(f / "logits.npy"), "no longer what was written"),
    "a torn array": (lambda f: (f / "logits.npy").write_bytes((f / "logits.npy").read_bytes()[:500]), "no longer what"),
    "no array": (lambda f: (f / "logits.npy").unlink(), "no longer what was written"),
    "another array": (written("h1.npy", b""), "no longer what was written"),
    "an empty array": (written("logits.npy", b""), "no longer what was written"),
    "other ids": (lambda f: rewrite(f, "ids.npy", lambda ids: ids + 1), "stale answers, to 160 rows"),
    "ids in another order": (lambda f: rewrite(f, "ids.npy", lambda ids: ids[::-1]), "stale answers"),
    "fewer ids": (lambda f: rewrite(f, "ids.npy", lambda ids: ids[:-1]), "stale answers, to 159 rows that are not the"),
    "no ids": (lambda f: (f / "ids.npy").unlink(), "cannot be read"),
    "torn ids": (written("ids.npy", b"\x93NUM"), "cannot be read"),
    "ids with a torn header": (written("ids.npy", TORN), "cannot be read"),
    "ids that begin like a zip": (written("ids.npy", b"PK\x03\x04..."), "cannot be read"),
    "no header": (lambda f: (f / "answers.json").unlink(), "cannot be read"),
    "an empty header": (written("answers.json", b""), "cannot be read"),
    "half a header": (written("answers.json", b'{"key": {'), "cannot be read"),
    "a header of bytes": (written("answers.json", b"\xff\xfe\x00"), "cannot be read"),
    "a bottomless header": (written("answers.json", b"[" * 100_000), "cannot be read"),
    "a header that is a list": (written("answers.json", b"[]"), "stale answers"),
    "a header without a key": (lambda f: rewrite(f, "answers.json", lambda h: {"sha256": h["sha256"]}), "stale"),
    "a header without sums": (lambda f: rewrite(f, "answers.json", lambda h: {"key": h["key"]}), "no longer what was"),
    "another teacher": (lambda f: rewrite(f, "answers.json", lambda h: key(h, teacher="0" * 64)), "stale answers, to"),
    "other rows": (lambda f: rewrite(f, "answers.json", lambda h: key(h, rows="0" * 64)), "stale answers, to"),
    "other layers": (lambda f: rewrite(f, "answers.json", lambda h: key(h, layers=[1])), "stale answers, to"),
    "a file": (lambda f: (shutil.rmtree(f), f.write_text("years of work")), "cannot be read"),
    "an empty folder": (lambda f: [one.unlink() for one in f.iterdir()], "cannot be read"),
    "answers of another shape": (both(lambda f: rewrite(f, "logits.npy", lambda z: z[:3]), signed), ""),
}


def key(header: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return header | {"key": header["key"] | changes}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def whole(small_run: distill.Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run whose teacher's answers are in `cache`."""
    folder = tmp_path_factory.mktemp("whole")
    with contextlib.chdir(folder):
        assert small_run.teacher is not None
        small_run.teacher.save("teacher.npz")
        assert command(SMALL | loaded() | CACHED).code == 0
    return folder


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_and_stale_answers_are_refused_and_nothing_is_lost(what: str, whole: Path) -> None:
    plan = SMALL | loaded() | CACHED
    shutil.copytree(whole, ".", dirs_exist_ok=True)
    before = {one.name: one.read_bytes() for one in Path("runs/plan").iterdir()}
    folder = entries()[0]
    change, says = DAMAGE[what]
    change(folder)
    left = folder.read_bytes() if folder.is_file() else {one.name: one.read_bytes() for one in folder.iterdir()}
    answer = command(plan)
    assert (answer.code, len(answer.lines)) == (4, 1), answer
    assert answer.lines[0].startswith(f"error: {folder}: ")
    assert says in answer.lines[0]
    assert answer.lines[0].endswith("remove that folder, and the teacher will be asked again")
    assert {one.name: one.read_bytes() for one in Path("runs/plan").iterdir()} == before
    assert left == (folder.read_bytes() if folder.is_file() else {o.name: o.read_bytes() for o in folder.iterdir()})
    folder.unlink() if folder.is_file() else shutil.rmtree(folder)
    assert command(plan).code == 0  # as the message says


def test_answers_to_the_same_rows_under_other_numbers_are_stale(rows: Data, trained: Model) -> None:
    own = from_model("big", trained)
    compute_outputs(own, rows.train, [], 512, "cache")
    moved = Rows(rows.train.x, rows.train.y, rows.train.ids + 1)
    with pytest.raises(DataError, match="stale answers"):
        compute_outputs(own, moved, [], 512, "cache")
    assert len(entries()) == 1


@pytest.mark.parametrize("place", ["file", "file/cache", "file/very/deep", "scratch/loop/cache"])
def test_a_folder_that_cannot_be_made_ends_with_5_and_one_line(place: str, trained: Model) -> None:
    Path("file").write_text("years of work")
    Path("scratch/loop").symlink_to("loop")
    plan = SMALL | loaded()
    assert command(plan).code == 0
    before = {one.name: one.read_bytes() for one in Path("runs/plan").iterdir()}
    answer = command(plan | {"performance": {"cache": place}})
    Path("scratch/loop").unlink()
    assert (answer.code, len(answer.lines)) == (5, 1), answer
    assert answer.lines[0].startswith(f"error: {place}: cannot be written: ")
    assert {one.name: one.read_bytes() for one in Path("runs/plan").iterdir()} == before
    assert Path("file").read_text() == "years of work"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_ends_with_5(trained: Model) -> None:
    Path("closed").mkdir(mode=0o500)
    assert command(SMALL | loaded() | {"performance": {"cache": "closed/cache"}}).code == 5


def test_a_folder_that_cannot_be_made_is_found_out_before_an_hour_of_training() -> None:
    """As any other output is."""
    Path("file").write_text("")
    heard: list[str] = []
    with pytest.raises(OutputError):
        distill.run(SMALL | {"performance": {"cache": "file/cache"}}, on_epoch=lambda name, epoch: heard.append(name))
    assert heard == []


def test_a_teacher_that_fails_leaves_no_half_of_an_entry(rows: Data, trained: Model) -> None:
    own = from_model("big", trained)

    def fail(some: Any, layers: Any) -> Any:
        if len(some) > 1:
            raise RuntimeError("out of paper")
        return own.respond(some, layers)

    broken = replace(own, respond=fail)
    with pytest.raises(RuntimeError, match="out of paper"):
        compute_outputs(broken, rows.train, [], 512, "cache")
    assert entries() == []
    assert len(compute_outputs(own, rows.train, [], 512, "cache").logits) == 160


def test_where_another_run_was_faster_its_entry_counts(rows: Data, trained: Model) -> None:
    own = from_model("big", trained)

    def slowly(some: Any, layers: Any) -> Any:
        if len(some) > 1:
            compute_outputs(own, rows.train, [], 512, "cache")
        return own.respond(some, layers)

    slow = replace(own, respond=slowly)
    found = compute_outputs(slow, rows.train, [], 512, "cache")
    np.testing.assert_array_equal(found.logits, own.logits(rows.train))
    assert len(entries()) == 1
    assert not entries()[0].name.startswith(".")


def test_many_at_once_share_one_entry(rows: Data, trained: Model) -> None:
    own = from_model("big", trained)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: compute_outputs(own, rows.train, [1], 512, "cache"), range(24)))
    for one in found:
        np.testing.assert_array_equal(one.logits, found[0].logits)
        np.testing.assert_array_equal(one.layers[1], found[0].layers[1])
    assert len(entries()) == 1


def test_two_runs_at_once_share_one_folder(trained: Model) -> None:
    plan = SMALL | loaded() | CACHED | {"logging": {"file": None}}
    Path("plan.yaml").write_text(json.dumps(plan))
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "distill", "--config", "plan.yaml", "--quiet", f"--set=output.folder=runs/{i}"],
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    assert [(one.communicate(timeout=60)[1], one.returncode) for one in both] == [("", 0)] * 2
    students = [distill.load_model(f"runs/{i}/student.npz").fingerprint() for i in range(2)]
    assert students[0] == students[1]
    assert len(entries()) == 1


def test_an_earlier_run_that_was_killed_is_in_nobody_s_way(trained: Model) -> None:
    plan = SMALL | loaded() | CACHED
    distill.run(plan)
    left = entries()[0].with_name(f".{entries()[0].name}.abcdef")
    entries()[0].replace(left)
    (left / "answers.json").unlink()
    assert command(plan).code == 0
    assert len([one for one in entries() if not one.name.startswith(".")]) == 1


def test_the_folder_is_in_the_written_plan_and_beside_others_files(trained: Model) -> None:
    Path("cache").mkdir()
    Path("cache/notes.txt").write_text("years of work")
    assert command(SMALL | loaded() | CACHED).code == 0
    assert distill.load_config("runs/plan/config.yaml").performance.cache == "cache"
    assert Path("cache/notes.txt").read_text() == "years of work"
    assert command(SMALL | loaded() | {"performance": {"cache": ""}}).code == 2


# --- whose rows they are ----------------------------------------------------------------------------------------------


def some(ids: Any) -> TeacherOutputs:
    return TeacherOutputs(np.zeros((len(ids), 2)), {}, np.asarray(ids))


def test_answers_to_other_rows_are_refused_with_both() -> None:
    some([3, 4, 9]).check(np.array([3, 4, 9]), "big")
    for ids, says in (
        ([3, 4], "teacher 'big': its answers are to 3 rows, the student has 2"),
        ([3, 9, 4], "the first that differs is row 4 against row 9"),
        ([0, 4, 9], "the first that differs is row 3 against row 0"),
        ([], "its answers are to 3 rows, the student has 0"),
    ):
        with pytest.raises(DataError) as refused:
            some([3, 4, 9]).check(np.array(ids, int), "big")
        assert says in str(refused.value)
        assert "answer the student's rows, in their order" in str(refused.value)


@given(st.lists(st.integers(0, 5), max_size=5), st.lists(st.integers(0, 5), max_size=5))
def test_answers_are_taken_for_exactly_their_rows(ours: list[int], theirs: list[int]) -> None:
    if ours == theirs:
        some(ours).check(np.array(theirs, int), "big")
        return
    with pytest.raises(DataError):
        some(ours).check(np.array(theirs, int), "big")


@FUZZ
@given(
    st.integers(1, 40), st.integers(1, 4), st.integers(0, 3), st.lists(st.integers(1, 39), max_size=4), st.booleans()
)
def test_what_is_kept_is_what_was_said_in_any_number_of_pieces(
    n: int, classes: int, width: int, cuts: list[int], in_folder: bool
) -> None:
    shutil.rmtree("cache", ignore_errors=True)
    rng = np.random.default_rng(n)
    z, h = (rng.standard_normal((n, w)).astype(np.float32) for w in (classes, width + 1))
    edges = sorted({0, n, *(cut for cut in cuts if cut < n)})
    ids = rng.permutation(n)

    def ask() -> Iterator[tuple[str, slice, Array]]:
        for start, stop in pairwise(edges):
            yield "logits", slice(start, stop), z[start:stop]
            yield "h2", slice(start, stop), h[start:stop]

    shapes = {"logits": z.shape, "h2": h.shape}
    folder = Path("cache") if in_folder else None
    for _ in range(2):
        found, alive = cache_outputs(ask(), shapes, folder, {"teacher": "t" * 64, "rows": "r", "layers": [2]}, ids)
        np.testing.assert_array_equal(found["logits"], z)
        np.testing.assert_array_equal(found["h2"], h)
        assert (alive is None) == in_folder
        del found, alive


@FUZZ
@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9), min_size=1, max_size=4),
    st.sampled_from(["probabilities", "logits"]),
    st.sampled_from([0.5, 1.0, 4.0]),
    st.integers(0, 99),
)
def test_a_term_hears_the_weighted_mean_of_its_teachers(
    weights: dict[str, int], how: str, temperature: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    logits = {name: 3 * rng.standard_normal((5, 3)) for name in weights}
    total = sum(weights.values())
    shares = tuple(sorted((name, weight / total) for name, weight in weights.items()))
    term = Term("response", 1.0, shares, {"combine": how, "temperature": temperature})
    heard = {name: TeacherOutputs(z, {}, np.arange(5)) for name, z in logits.items()}
    found = outputs.teacher_logits(term, heard, np.array([4, 0, 2]))
    parts = {name: softmax(z, temperature) if how == "probabilities" else z for name, z in logits.items()}
    mean = sum(share * parts[name] for name, share in shares)[[4, 0, 2]]
    expected = mean if how == "probabilities" else softmax(mean, temperature)
    np.testing.assert_allclose(softmax(found, temperature), expected, atol=1e-12)


def test_predictions_are_kept_by_what_they_say(trained: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with np.load(DIGITS) as file:
        z = trained.logits(file["X"].reshape(1797, 64))
    np.save("said.npy", z)
    plan = SMALL | {"teachers": {"said": {"predictions": "said.npy"}}} | CACHED
    first = distill.run(plan)
    assert len(entries()) == 1
    np.savez("said.npz", logits=z)  # another file with the same content is the same teacher
    same = distill.run(plan | {"teachers": {"said": {"predictions": "said.npz"}}})
    assert (prints(same), len(entries())) == (prints(first), 1)
    np.save("said.npy", 2 * z)
    assert prints(distill.run(plan)) != prints(first)
    assert len(entries()) == 2
    assert predictions.LEAST == 1e-6
