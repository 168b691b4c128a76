"""Predictions that another program made: every way to write them down, and every way in which they can be wrong."""

import csv
import gzip
import io
import itertools
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import distill
from conftest import SMALL, blobs
from distill import config, data
from distill.config.schema import DataPlan, Output
from distill.data.labels import difference
from distill.data.rows import Data, Rows
from distill.data.source import DIGITS
from distill.errors import DataError, DistillError
from distill.nn.ops import log_softmax, softmax
from distill.nn.vector import Array
from distill.report.table import predictions_csv
from distill.teacher import predictions
from test_hostile_configs import FUZZ as MANY
from test_hostile_configs import Answer, ask

FUZZ = settings(MANY, max_examples=40)
ROWS = 1797  # of the digits
LEAST = np.log(np.float32(1e-6))


class Digits(NamedTuple):
    """The rows of a small run, and what its teacher says of all rows of the source."""

    data: Data
    teacher: distill.Model
    labels: Array
    p: Array  # probabilities (1797,10)
    z: Array  # logits (1797,10)

    @property
    def trained_on(self) -> Array:
        return self.data.train.ids


@pytest.fixture(scope="module")
def digits(small_run: distill.Results) -> Digits:
    plan = config.load(SMALL)
    with np.load(DIGITS) as file:
        x, y = file["X"].reshape(ROWS, -1), file["y"]
    assert small_run.teacher is not None
    used = data.load(plan.data, 0.8, 200, 0)
    return Digits(used, small_run.teacher, y, small_run.teacher.predict_proba(x), small_run.teacher.logits(x))


@pytest.fixture(autouse=True)
def _workplace(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISTILL_DATA", raising=False)


def tiny(rows: int = 6, classes: tuple[Any, ...] = ("a", "b", "c"), trained_on: Array | None = None) -> Data:
    """As much of a source as predictions are held against: so many rows, of which all are trained on unless said."""
    ids = np.arange(rows) if trained_on is None else trained_on
    held = Rows(np.zeros((len(ids), 2), np.float32), ids % len(classes), ids)
    scaling = data.Scaling("none", np.zeros(2), np.ones(2), np.zeros(2))
    raw = data.table.Source(data.table.Table(held.x, held.y, lambda row, column: "rows.csv"))
    return Data("rows.csv", held, held, None, classes, scaling, None, None, rows, 0, None, raw, ())


def npy(array: Any, name: str = "said.npy") -> str:
    np.save(name, array)
    return name


def npz(name: str = "said.npz", **content: Any) -> str:
    np.savez(name, **content)
    return name


def sheet(rows: Any, head: Any = None, name: str = "said.csv") -> str:
    with Path(name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(([] if head is None else [head]) + [list(map(repr, row)) for row in np.asarray(rows).tolist()])
    return name


def read(path: str, known: Data, kind: str = "auto") -> predictions.Predictions:
    return predictions.read(path, kind, known, "forest")


def teacher_of(path: str, **keys: Any) -> dict[str, Any]:
    return {"teachers": {"forest": {"predictions": path} | keys}}


def run(path: str, **sections: Any) -> distill.Results:
    return distill.run(SMALL | teacher_of(path) | sections)


def command(plan: dict[str, Any], *words: str) -> Answer:
    """A command on a plan in plan.yaml; `run`, quietly, where no words are given."""
    Path("plan.yaml").write_text(json.dumps({"logging": {"file": None, "level": "ERROR"}} | plan))
    name, *rest = words or ("run", "--quiet")
    return ask(name, "--config", "plan.yaml", *rest)


def probabilities(rows: int = 6, classes: int = 3, seed: int = 0) -> Array:
    return softmax(3 * np.random.default_rng(seed).standard_normal((rows, classes)))


P = probabilities()
Z = np.arange(18.0).reshape(6, 3) - 4
SIX = np.arange(6)


# --- every way to write them down -------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["f8", "f4", "f2", ">f8", ">f4", "g"])
@pytest.mark.parametrize("layout", ["C", "F"])
def test_an_array_may_have_any_width_byte_order_and_layout(form: str, layout: str) -> None:
    p = probabilities()
    found = read(npy(np.array(p, form, order=layout)), tiny())  # type: ignore[call-overload]
    assert (found.kind, found.logits.dtype) == ("probabilities", np.float32)
    np.testing.assert_allclose(found.of(np.arange(6)), np.log(p), atol=2e-2 if form == "f2" else 1e-5)


@pytest.mark.parametrize("form", ["i1", "u1", "i4", ">i8", "u8"])
def test_whole_numbers_are_votes_unless_they_are_one_hot_or_named_or_negative(form: str) -> None:
    votes = np.array([[3, 1, 0], [0, 5, 2], [1, 1, 1], [0, 0, 9], [2, 0, 0], [7, 7, 0]], form)
    with pytest.raises(DataError, match="all are whole, as of percentages or counts; divide each row by its sum, or"):
        read(npy(votes), tiny())
    for found in (read(npy(votes), tiny(), "logits"), read(npz(logits=votes), tiny())):
        np.testing.assert_array_equal(found.logits, votes)
    assert form.startswith("u") or read(npy(-votes), tiny()).kind == "logits"
    sure = np.eye(3, dtype=form)[[0, 1, 2, 2, 1, 0]]
    found = read(npy(sure), tiny())
    assert found.kind == "probabilities"
    np.testing.assert_array_equal(found.logits, np.where(sure == 1, 0, LEAST))


def test_a_probability_of_0_counts_as_a_millionth() -> None:
    p = np.array([[0, 0.25, 0.75], [1e-9, 0, 1 - 1e-9], [1, 0, 0]])
    logits = read(npy(p), tiny(3)).logits
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(np.exp(logits), np.maximum(p, 1e-6), rtol=1e-6)


WAYS: dict[str, Callable[[Digits], str]] = {
    "npy, all rows": lambda d: npy(d.p),
    "npy, training rows": lambda d: npy(d.p[d.trained_on]),
    "npz, any name": lambda d: npz(forest=d.p),
    "npz, probabilities": lambda d: npz(probabilities=d.p, oob_score=np.array(0.9)),
    "npz, training rows": lambda d: npz(probabilities=d.p[d.trained_on]),
    "npz, classes": lambda d: npz(probabilities=d.p, classes=np.arange(10)),
    "npz, classes as floats": lambda d: npz(probabilities=d.p, classes=np.arange(10.0)),
    "npz, classes as texts": lambda d: npz(probabilities=d.p, classes=np.array(list("0123456789"))),
    "npz, numbered": lambda d: npz(p=d.p[::-1], row=np.arange(ROWS)[::-1]),
    "npz, numbered in floats": lambda d: npz(p=d.p[::-1], row=np.arange(ROWS)[::-1].astype(float)),
    "npz, training rows numbered": lambda d: npz(p=d.p[d.trained_on][::-1], row=d.trained_on[::-1], classes=range(10)),
    "csv, header": lambda d: sheet(d.p, range(10)),
    "csv, header of floats": lambda d: sheet(d.p, [f"{i}.0" for i in range(10)]),
    "csv, p_ and floats": lambda d: sheet(d.p, [f"p_{i}.0" for i in range(10)]),
    "csv, no header": lambda d: sheet(d.p),
    "csv, training rows": lambda d: sheet(d.p[d.trained_on], range(10)),
    "csv, row first": lambda d: sheet(np.c_[np.arange(ROWS), d.p][::-1], ["row", *range(10)]),
    "csv, row last": lambda d: sheet(np.c_[d.p, np.arange(ROWS)][::-1], [*range(10), "row"]),
    "csv, p_ and row": lambda d: sheet(np.c_[np.arange(ROWS), d.p], ["row", *(f"p_{i}" for i in range(10))]),
    "csv, class": lambda d: sheet(np.c_[d.p.argmax(axis=1), d.p], ["class", *(f"p_{i}" for i in range(10))]),
    "csv, another name": lambda d: sheet(d.p, range(10), "said.txt"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_documented_way_gives_the_same_student(way: str, digits: Digits) -> None:
    expected = run(npy(digits.p, "expected.npy")).student.fingerprint()
    found = run(WAYS[way](digits))
    assert found.student.fingerprint() == expected
    assert found["teachers"]["forest"]["kind"] == "probabilities"
    all_rows = "training" not in way
    assert (found["teacher_val_accuracy"] is not None) == all_rows


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_csv_may_have_other_separators_spaces_and_be_packed(delimiter: str, packed: bool) -> None:
    p = probabilities()
    lines = [delimiter.join(map(repr, line)) for line in p.tolist()]
    text = "﻿" + "\r\n".join([delimiter.join([" a", "b ", '"c"']), *lines, ""])
    Path("said.csv.gz").write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    np.testing.assert_array_equal(read("said.csv.gz", tiny()).logits, np.log(p).astype(np.float32))


def test_what_predict_writes_of_the_source_can_be_distilled(digits: Digits) -> None:
    digits.teacher.save("teacher.npz")
    assert ask("predict", "--model", "teacher.npz", "--data", "digits", "--output", "said.csv").code == 0
    found = read("said.csv", digits.data)
    assert found.kind == "probabilities"
    np.testing.assert_allclose(found.of(np.arange(ROWS)), np.log(np.maximum(digits.p, 1e-6)), atol=1e-5)
    assert run("said.csv")["teacher_val_accuracy"] == distill.run(SMALL)["teacher_val_accuracy"]


def test_what_predict_writes_of_named_classes_and_columns_can_be_distilled() -> None:
    x, y = blobs()
    lines = [[f"kind {'abc'[c]}", *map(str, row)] for row, c in zip(x.tolist(), y.tolist(), strict=True)]
    Path("rows.csv").write_text("\n".join(map(",".join, [["kind", *"wxyz"], *lines])) + "\n")
    plan = {"data": {"source": "rows.csv", "label": "kind"}}
    assert command(plan).code == 0
    model = "runs/plan/teacher.npz"
    assert ask("predict", "--model", model, "--data", "rows.csv", "--output", "said.csv").code == 0
    assert Path("said.csv").read_text().startswith("class,p_kind a,p_kind b,p_kind c\n")
    first = json.loads(Path("runs/plan/results.json").read_text())
    assert command(plan | teacher_of("said.csv")).code == 0
    results = json.loads(Path("runs/plan/results.json").read_text())
    assert results["teacher_val_accuracy"] == first["teacher_val_accuracy"]
    assert results["teacher_val_ce"] == pytest.approx(first["teacher_val_ce"], rel=1e-4, abs=1e-5)


def test_logits_and_probabilities_of_one_teacher_teach_the_same(digits: Digits) -> None:
    soft, raw = (run(npy(one)) for one in (digits.p, digits.z))
    assert [one["teachers"]["forest"]["kind"] for one in (soft, raw)] == ["probabilities", "logits"]
    assert soft["teacher_val_ce"] == pytest.approx(raw["teacher_val_ce"], rel=1e-5)
    np.testing.assert_allclose(soft.student.weights.flat, raw.student.weights.flat, atol=1e-4)


def test_predictions_of_a_network_teach_as_it_does(digits: Digits) -> None:
    """Bit for bit, where it was asked about the training rows together, as a run asks it."""
    said = npy(digits.teacher.logits(raw(digits.trained_on)))
    assert run(said).student.fingerprint() == distill.run(SMALL).student.fingerprint()


def test_only_what_is_trained_on_need_be_predicted() -> None:
    ids = np.array([1, 2, 5])
    found = read(npz(logits=np.arange(9.0).reshape(3, 3), row=ids), tiny(6, trained_on=ids))
    np.testing.assert_array_equal(found.of(np.array([5, 1])), [[6, 7, 8], [0, 1, 2]])
    assert found.of(np.array([0])) is None
    assert found.of(np.array([1, 2, 5, 3])) is None
    assert found.of(np.array([99])) is None
    assert found.of(np.array([], int)).shape == (0, 3)  # type: ignore[union-attr]


def test_as_many_rows_as_both_source_and_training_rows_are_the_source_s() -> None:
    backwards = np.arange(6)[::-1].copy()
    found = read(npy(Z), tiny(6, trained_on=backwards))
    np.testing.assert_array_equal(found.of(np.array([0])), Z[:1])


def test_a_path_that_is_not_here_is_looked_up_in_the_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("far").mkdir()
    npy(probabilities(), "far/said.npy")
    monkeypatch.setenv("DISTILL_DATA", "far")
    assert read("said.npy", tiny()).kind == "probabilities"


def test_classes_of_an_npz_may_be_bytes_as_its_labels_may() -> None:
    """`data` reads labels of bytes as texts; so should the names of classes be."""
    found = read(npz(p=P, classes=np.array([b"a", b"b", b"c"])), tiny())
    np.testing.assert_array_equal(found.logits, np.log(P).astype(np.float32))


CLASSES: dict[str, Callable[[list[str]], str]] = {
    "npz of texts": lambda names: npz(p=P, classes=np.array(names)),
    "npz of bytes": lambda names: npz(p=P, classes=np.array([name.encode() for name in names])),
    "header": lambda names: sheet(P, names),
    "header of p_": lambda names: sheet(P, [f"p_{name}" for name in names]),
}


@pytest.mark.parametrize("form", [*CLASSES, "npz of floats"])
@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["1.0", "2", "3e0"], (1, 2, 3)),
        (["1", "2", "3"], (1.0, 2.0, 3.0)),
        (["cafe\u0301", "b ", "\xa0c"], ("caf\xe9", "b", "c")),
    ],
)
def test_names_of_classes_match_as_labels_do(form: str, names: list[str], classes: tuple[Any, ...]) -> None:
    if form == "npz of floats":
        path = npz(p=P, classes=np.array(classes, float)) if names[0][0] in "123" else CLASSES["header"](names)
    else:
        path = CLASSES[form](names)
    np.testing.assert_allclose(read(path, tiny(6, classes)).logits, np.log(P), rtol=1e-5)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ([f"{i}" for i in range(300)], [f"{i + (i == 200)}" for i in range(300)]),
        (["a, b", "c"], ["a", "b, c"]),
        (["а", "b"], ["a", "b"]),  # the first is Cyrillic
        (["a b", "c"], ["a\xa0b", "c"]),
    ],
)
def test_no_two_lists_of_classes_look_equal_where_they_differ(theirs: list[str], ours: list[str]) -> None:
    message = difference(theirs, ours)
    assert message is not None
    i = next(i for i, (a, b) in enumerate(zip(theirs, ours, strict=True)) if a != b)
    assert f"the first that differ are {theirs[i]!a} and {ours[i]!a}" in message
    assert difference(ours, ours) is difference(["1", "2"], [1.0, 2]) is None


def test_a_headerless_file_of_sure_votes_for_the_classes_0_and_1_has_no_header() -> None:
    votes = np.array([[0, 1], [1, 0], [0, 1], [1, 0], [1, 0], [0, 1]])
    Path("said.csv").write_text("".join(f"{a},{b}\n" for a, b in votes))
    assert read("said.csv", tiny(6, (0, 1))).logits.argmax(axis=1).tolist() == votes.argmax(axis=1).tolist()


@pytest.mark.parametrize("kind", ["probabilities", "logits"])
def test_columns_named_as_the_classes_are_just_that_even_where_classes_begin_with_p(kind: str) -> None:
    values = probabilities(6, 2) * (1 if kind == "probabilities" else np.arange(4, 10)[:, None])
    found = read(sheet(values, ["p_a", "p_b"]), tiny(6, ("p_a", "p_b")))
    assert found.kind == kind
    turned = read(sheet(values, ["p_b", "p_a"]), tiny(6, ("p_a", "p_b")))
    np.testing.assert_array_equal(turned.logits, found.logits[:, ::-1])


# --- every way in which they can be wrong -----------------------------------------------------------------------------

# What is wrong -> how it is written, and what the message must say after "teacher 'forest': FILE: ".
WRONG: dict[str, tuple[Callable[[], str], list[str]]] = {
    "too few columns": (lambda: npy(P[:, :2]), ["shape (6, 2)", "(rows, 3)"]),
    "too many columns": (lambda: npy(np.c_[P, P]), ["shape (6, 6)", "(rows, 3)"]),
    "one dimension": (lambda: npy(P[:, 0]), ["shape (6,)", "(rows, 3)"]),
    "three dimensions": (lambda: npy(P[None]), ["shape (1, 6, 3)", "(rows, 3)"]),
    "no dimension": (lambda: npy(np.array(3.0)), ["shape ()", "(rows, 3)"]),
    "no columns": (lambda: npy(np.empty((6, 0))), ["shape (6, 0)", "(rows, 3)"]),
    "texts": (lambda: npy(P.astype(str)), ["<U", "numbers"]),
    "truth values": (lambda: npy(P > 0.5), ["(bool)", "numbers"]),
    "complex": (lambda: npy(P + 0j), ["(complex128)", "numbers"]),
    "dates": (lambda: npy(np.zeros((6, 3), "M8[s]")), ["(datetime64[s])", "numbers"]),
    "records": (lambda: npy(np.zeros(6, [("a", "f8")])), ["shape (6,)", "numbers"]),
    "no rows": (lambda: npy(P[:0]), ["0 rows, but the source has 6, of which 6 are trained on", "'row'"]),
    "too few rows": (lambda: npy(P[:5]), ["5 rows, but the source has 6, of which 6 are trained on", "'row'"]),
    "too many rows": (lambda: npy(np.r_[P, P]), ["12 rows, but the source has 6", "'row'"]),
    "NaN": (
        lambda: npy(np.where(SIX[:, None] == 4, np.nan, P)),
        ["row 4 is not finite: [nan, nan, nan]", "give finite"],
    ),
    "infinite": (lambda: npy(np.where(SIX[:, None] == 4, np.inf, Z)), ["row 4 is not finite: [inf", "give finite"]),
    "sum": (lambda: npy(P * np.where(SIX == 3, 0.9, 1)[:, None]), ["row 3 sums to 0.9", "set kind"]),
    "all 0": (lambda: npy(P * np.where(SIX == 3, 0, 1)[:, None]), ["row 3 sums to 0", "set kind"]),
    "other classes": (lambda: npz(p=P, classes=list("abd")), ["its classes are a, b, d, those of the data a, b, c"]),
    "fewer classes": (lambda: npz(p=P, classes=list("ab")), ["its classes are a, b, those of the data a, b, c"]),
    "more classes": (lambda: npz(p=P, classes=list("abcd")), ["its classes are a, b, c, d, those of the data a, b, c"]),
    "header with other names": (lambda: sheet(P, "xyz"), ["its classes are x, y, z, those of the data a, b, c"]),
    "a column that is no class": (lambda: sheet(np.c_[SIX, P], ["id", *"abc"]), ["shape (6, 4)", "(rows, 3)"]),
    "no column but row": (lambda: sheet(SIX[:, None], ["row"]), ["shape (6, 0)", "(rows, 3)"]),
    "p_ that are logits": (lambda: sheet(Z, ["p_a", "p_b", "p_c"]), ["row 0 is [-4.0, -3.0, -2.0], with a sum of -9"]),
    "named probabilities": (
        lambda: npz(probabilities=Z),
        ["row 0 is [-4.0, -3.0, -2.0], with a sum of -9", "sum to 1"],
    ),
    "an empty field": (lambda: sheet(P, "abc") and cut("said.csv"), ["row 5 is not finite: [", "nan]"]),
    "twice": (lambda: npz(p=P, row=[0, 1, 2, 2, 4, 5]), ["row 2 has 2 predictions"]),
    "outside": (lambda: npz(p=P, row=SIX + 1), ["row 6 is not in the source, whose rows are 0 to 5"]),
    "below 0": (lambda: npz(p=P, row=SIX - 1), ["row -1 is not in the source, whose rows are 0 to 5"]),
    "far outside": (lambda: npz(p=P, row=SIX + 2**62), ["not in the source, whose rows are 0 to 5"]),
    "missing": (lambda: npz(p=P[:4], row=[0, 1, 2, 5]), ["4 rows", "none for row 3", "(2 of 6 are missing)"]),
    "halves": (lambda: npz(p=P, row=SIX + 0.5), ["'row' of float64 (6,)", "6 whole numbers"]),
    "NaN as number": (lambda: npz(p=P, row=np.full(6, np.nan)), ["'row' of float64 (6,)", "6 whole numbers"]),
    "texts as numbers": (lambda: npz(p=P, row=SIX.astype(str)), ["'row' of <U", "6 whole numbers"]),
    "truth values as numbers": (lambda: npz(p=P, row=SIX > 3), ["'row' of bool (6,)", "6 whole numbers"]),
    "too few numbers": (lambda: npz(p=P, row=SIX[:5]), ["'row' of int64 (5,)", "6 whole numbers"]),
    "numbers in a column": (lambda: npz(p=P, row=SIX[:, None]), ["'row' of int64 (6, 1)", "6 whole numbers"]),
    "one number": (lambda: npz(p=P, row=0), ["'row' of int64 ()", "6 whole numbers"]),
    "halves in a csv": (lambda: sheet(np.c_[SIX / 2, P], ["row", *"abc"]), ["'row' of float64 (6,)", "6 whole"]),
    "twice in a csv": (lambda: sheet(np.c_[SIX // 2, P], ["row", *"abc"]), ["row 0 has 2 predictions"]),
}


def cut(path: str) -> str:
    """The file without its very last field."""
    Path(path).write_text(Path(path).read_text().rstrip().rpartition(",")[0] + ",\n")
    return path


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_wrong_is_said_with_both_values(fault: str) -> None:
    write, pieces = WRONG[fault]
    path = write()
    with pytest.raises(DataError) as refused:
        read(path, tiny())
    message = str(refused.value)
    assert message.startswith(f"teacher 'forest': {path}: ")
    assert all(piece in message for piece in pieces), message
    assert message.isprintable()


def test_a_row_that_stands_thrice_is_not_confused_with_one_that_stands_twice() -> None:
    with pytest.raises(DataError, match=r"row 0 has 2 predictions|row 5 has 3 predictions"):
        read(npz(p=P, row=[0, 0, 5, 5, 5, 1]), tiny())


@pytest.mark.parametrize(
    ("numbers", "named"),
    [
        (np.array([np.inf, 1, 2, 3, 4, 5]), "inf"),
        (np.array([1e300, 1, 2, 3, 4, 5]), "1e+300"),
        (np.array([2**64 - 1, 1, 2, 3, 4, 5], np.uint64), "18446744073709551615"),
    ],
    ids=["infinite", "beyond int64", "beyond int64, whole"],
)
def test_a_number_that_no_integer_holds_is_named_as_it_stands(numbers: Array, named: str) -> None:
    with pytest.raises(DataError) as refused:
        read(npz(p=P, row=numbers), tiny())
    assert named in str(refused.value)


@pytest.mark.parametrize("size", [1e39, 1e300, -1e39])
def test_logits_that_float32_cannot_hold_are_refused(size: float) -> None:
    with pytest.raises(DataError, match=r"teacher 'forest': said.npy: row 2 "):
        read(npy(np.where(SIX[:, None] == 2, size, Z)), tiny())


@pytest.mark.parametrize(
    ("kind", "write", "says"),
    [
        ("logits", lambda: npz(probabilities=P), "holds probabilities, but kind is logits"),
        ("probabilities", lambda: npz(logits=Z), "holds logits, but kind is probabilities"),
        ("logits", lambda: sheet(P, ["p_a", "p_b", "p_c"]), "holds probabilities, but kind is logits"),
        ("probabilities", lambda: npy(Z), "row 0 is [-4.0, -3.0, -2.0], with a sum of -9; probabilities are from 0"),
        ("probabilities", lambda: npy(P * 0.9), "with a sum of 0.9; probabilities are from 0 to 1 and sum to 1"),
        ("probabilities", lambda: npy(P + np.array([0.5, -0.5, 0])), "with a sum of 1; probabilities are from 0 to 1"),
    ],
)
def test_a_kind_that_contradicts_the_file_is_refused(kind: str, write: Callable[[], str], says: str) -> None:
    with pytest.raises(DataError) as refused:
        read(write(), tiny(), kind)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "write", "values"),
    [
        ("logits", lambda: npy(P), P),
        ("logits", lambda: npy(P * 0.9), P * 0.9),
        ("logits", lambda: npz(said=P), P),
        ("logits", lambda: sheet(P, "abc"), P),
        ("probabilities", lambda: npz(said=P), np.log(P)),
        ("auto", lambda: npz(logits=P), P),
        ("auto", lambda: npz(logits=P * 0.9), P * 0.9),
        ("probabilities", lambda: npy(P * 1.0009), np.log(P * 1.0009)),
        ("auto", lambda: npy(P * 0.9991), np.log(P * 0.9991)),
    ],
)
def test_a_kind_that_is_given_is_believed(kind: str, write: Callable[[], str], values: Array) -> None:
    found = read(write(), tiny(), kind)
    assert found.kind == ("probabilities" if values.max() <= 0 else "logits")
    np.testing.assert_array_equal(found.logits, values.astype(np.float32))


def header(text: str) -> bytes:
    raw = text.encode()
    return b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw


def of(write: str) -> bytes:
    return Path(write).read_bytes()


DESCR = "{'descr': '<f8', 'fortran_order': False, 'shape': %s, }\n"
# What a file holds that cannot be read at all, and what else the message says.
UNREADABLE: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "empty npy": ("a.npy", lambda: b"", "cannot be read as .npy"),
    "empty npz": ("a.npz", lambda: b"", "cannot be read as .npz"),
    "empty csv": ("a.csv", lambda: b"", "no rows"),
    "blank csv": ("a.csv", lambda: b"\n\n \n"[:2], "no rows"),
    "nothing but a header": ("a.csv", lambda: b"0,1,2,3,4,5,6,7,8,9\n", "no rows"),
    "a text": ("a.npy", lambda: b"hello", "cannot be read as .npy"),
    "a pickle": ("a.npy", lambda: of(npy(np.array([{1: 2}], object))), "cannot be read as .npy"),
    "huge whole numbers": ("a.npy", lambda: of(npy(np.array([[10**30]], object))), "cannot be read as .npy"),
    "a pickle in an npz": ("a.npz", lambda: of(npz(p=np.array([{1: 2}], object))), "never loaded"),
    "torn in the magic": ("a.npy", lambda: of(npy(P))[:5], "cannot be read as .npy"),
    "torn in the header": ("a.npy", lambda: of(npy(P))[:50], "cannot be read as .npy"),
    "torn in the numbers": ("a.npy", lambda: of(npy(P))[:-1], "cannot be read as .npy"),
    "torn npz": ("a.npz", lambda: of(npz(p=P))[:-30], "cannot be read as .npz"),
    "an npz that is called npy": ("a.npy", lambda: of(npz(p=P)), "name it .npz"),
    "a torn npz that is called npy": ("a.npy", lambda: of(npz(p=P))[:100], "name it .npz"),
    "an npy that is called npz": ("a.npz", lambda: of(npy(P)), "name it .npy"),
    "a zip of no arrays": ("a.npz", lambda: zipped("notes.txt"), ""),
    "an open bracket": ("a.npy", lambda: header("((((("), "cannot be read as .npy"),
    "an unhashable key": ("a.npy", lambda: header("{[]: 1}"), "cannot be read as .npy"),
    "an open text": ("a.npy", lambda: header("{'descr': '''"), "cannot be read as .npy"),
    "rows without end": ("a.npy", lambda: header(DESCR % "(10000000000000, 10)"), "cannot be read as .npy"),
    "rows beyond 64 bits": ("a.npy", lambda: header(DESCR % "(18446744073709551616,)"), "cannot be read as .npy"),
    "fewer than no rows": ("a.npy", lambda: header(DESCR % "(-1, 10)"), "cannot be read as .npy"),
    "an npz of nothing": ("a.npz", lambda: of(npz()), "holds the arrays none"),
    "two arrays": ("a.npz", lambda: of(npz(a=P, b=P)), "holds the arrays a, b; must have one of"),
    "both kinds": ("a.npz", lambda: of(npz(logits=P, probabilities=P)), "must have one of probabilities and logits"),
    "only numbers": ("a.npz", lambda: of(npz(row=SIX)), "holds the arrays row; must have one of"),
    "one class": ("a.npz", lambda: of(npz(p=P, classes=3)), "classes"),
    "a text as classes": ("a.npz", lambda: of(npz(p=np.zeros((ROWS, 10)), classes="0123456789")), "classes"),
    "classes of classes": ("a.npz", lambda: of(npz(p=np.zeros((ROWS, 10)), classes=np.eye(10))), "classes"),
    "no utf-8": ("a.csv", lambda: b"0,\xff1\n", "not UTF-8"),
    "an open quote": ("a.csv", lambda: b'"0,1\n', "check the quotes"),
    "lines of two lengths": ("a.csv", lambda: b"0,1\n0\n", "line 2: 1 field, but line 1 has 2"),
    "a name twice": ("a.csv", lambda: b"a,a\n0,1\n", "'a' stands twice"),
    "a text among the numbers": ("a.csv", lambda: b"0,1\n0,x\n1,1\n", "'x' is a text"),
    "NaN among the numbers": ("a.csv", lambda: b"0,1\n0,nan\n", "nan is NaN or infinite"),
    "a number beyond all": ("a.csv", lambda: b"0,1\n0,1e400\n", "1e400 is NaN or infinite"),
}


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "years of work")
    return buffer.getvalue()


def test_a_first_line_that_may_be_classes_or_votes_is_asked_about() -> None:
    """Twenty lines are the source's rows, nineteen below a header those that are trained on."""
    x, y = blobs(20, classes=2)
    np.savez("two.npz", X=x, y=y)
    Path("votes.csv").write_text("0,1\n" + "1,0\n" * 19)
    plan = {"data": {"source": "two.npz"}, "distillation": {"train_ratio": 0.98}}
    answer = command(plan | {"teachers": {"t": {"predictions": "votes.csv"}}})
    assert (answer.code, len(answer.lines)) == (4, 1)
    assert "can be a header (the classes) or a row" in answer.lines[0]


@pytest.mark.parametrize("fault", UNREADABLE)
def test_what_cannot_be_read_ends_with_4_and_one_line(fault: str) -> None:
    name, content, says = UNREADABLE[fault]
    Path(name).write_bytes(content())
    answer = command(SMALL | teacher_of(name))
    assert answer.code == 4
    assert len(answer.lines) == 1
    assert answer.lines[0].startswith(f"error: {name}: ") or f": {name}: " in answer.lines[0]
    assert says in answer.lines[0]
    assert answer.lines[0].isprintable()
    assert "make the networks" not in answer.lines[0]


@pytest.mark.parametrize("name", ["folder", "folder.npy", "folder.npz", "folder.csv"])
def test_a_folder_is_no_file_of_predictions(name: str) -> None:
    Path(name).mkdir()
    answer = command(SMALL | teacher_of(name))
    assert (answer.code, len(answer.lines)) == (4, 1)
    assert "cannot be read" in answer.lines[0]


@pytest.mark.parametrize("words", [("run", "--quiet"), ("check",)])
def test_a_file_that_is_not_there_is_found_out_by_run_and_check(words: tuple[str, ...]) -> None:
    """What `check` calls sound must be able to run."""
    answer = command(SMALL | teacher_of("nowhere.npy"), *words)
    assert answer.code == 4
    assert answer.lines[0].startswith("error: nowhere.npy: no such file or folder")


def test_columns_in_another_order_are_found_out_by_the_labels_and_that_order_is_named(digits: Digits) -> None:
    swapped = [0, 1, 2, 4, 3, 5, 6, 7, 8, 9]
    for p in (digits.p, digits.p[digits.trained_on]):
        answer = command(SMALL | teacher_of(npy(p[:, ::-1])))
        assert answer.code == 1
        says = r"error: the teacher 'forest' is right on 0\.\d{4} of [12]\d\d labelled rows, but its columns fit "
        says += (
            r"the order 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, in which it is right on 0\.[5-9]\d{3}; nothing was distilled. Put"
        )
        assert re.match(says, answer.lines[0]), answer.lines[0]
    sure = np.eye(10)[digits.labels][:, swapped]  # right on eight classes of ten
    with pytest.raises(DistillError, match=r"its columns fit the order 0, 1, 2, 4, 3, 5, 6, 7, 8, 9, in which"):
        run(npy(sure))
    names = {"classes": np.array(swapped)}
    expected, found = run(npy(np.eye(10)[digits.labels])), run(npz(probabilities=sure, **names))
    assert (found["seeds"], found["teacher_sha256"]) == (expected["seeds"], expected["teacher_sha256"])
    assert found.student.fingerprint() == expected.student.fingerprint()
    assert [note for note in found["data"]["notes"] if "its classes, 0, 1, 2, 4, 3" in note]


def test_rows_in_another_order_never_pass(digits: Digits) -> None:
    """A shuffled loader, and the training rows of another split."""
    x, y = blobs(150)
    np.savez("rows.npz", X=x, y=y)
    for labels, classes, plan in ((y, 3, {"data": {"source": "rows.npz"}}), (digits.labels, 10, SMALL)):
        sure, rows = np.eye(classes)[labels] * 0.9 + 0.1 / classes, data.load(config.load(plan).data, 0.8, None, 0)
        assert len(rows.train) > 100
        for seed in range(40):
            shuffled = np.random.default_rng(seed).permutation(sure)
            with pytest.raises(
                DistillError, match=r"knows nothing about these rows: .* its rows in that of the source"
            ):
                distill.run(plan | teacher_of(npy(shuffled)), [f"distillation.random_seed={seed}"])
    other = distill.load_data(config.load(SMALL), 1).train.ids
    with pytest.raises(DistillError, match=r"knows nothing about these rows: .*\(a file of the training rows fits"):
        run(npy(np.eye(10)[digits.labels[other]]))


@pytest.mark.parametrize(
    ("values", "tells"),
    [
        (100 * P, "every row sums to 100,"),
        (np.round(500 * P) / 5, "every row sums to 100 to 100.2"),
        (np.eye(3)[SIX % 3] * 30, "every row sums to 30,"),
        (100 * P * (1 + 0.04 * np.cos(SIX))[:, None], "every row sums to 96.* to 104"),
        (np.round(100 * P) + np.eye(3)[SIX % 3] * (SIX % 3)[:, None], "every row sums to (99|100) to 10[12]"),
        (np.array([[1, 0, 0], [0, 2, 0], [0, 1, 1], [0, 0, 3], [5, 5, 1], [0, 0, 0]]), "all are whole"),
    ],
)
def test_percentages_and_votes_are_no_logits(values: Array, tells: str) -> None:
    with pytest.raises(DataError, match=rf"no number is negative and {tells}.* as of percentages or counts; divide "):
        read(npy(values), tiny())
    np.testing.assert_array_equal(read(npy(values), tiny(), "logits").logits, values.astype(np.float32))
    shares = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    assert not shares.sum(axis=1).all() or read(npy(shares), tiny()).kind == "probabilities"


def test_one_lucky_hit_of_a_rare_class_is_no_evidence() -> None:
    """Of so few, a row that happens to be right is many standard deviations."""
    y = (np.arange(500) % 100 == 0).astype(int)
    np.savez("rare.npz", X=np.random.default_rng(0).normal(size=(500, 3)), y=y)
    plan, sure = {"data": {"source": "rare.npz"}}, np.eye(2)[y] * 0.998 + 0.001
    lucky = 0
    for seed in range(60):
        shuffled = np.random.default_rng(seed).permutation(sure)
        with pytest.raises(DistillError, match="knows nothing about these rows") as refused:
            distill.run(plan | teacher_of(npy(shuffled)), [f"distillation.random_seed={seed}"])
        lucky += bool(re.search(r"better than .* but [2-8](\.\d)? % of random orders fit as well", str(refused.value)))
    assert lucky >= 2
    assert distill.run(plan | teacher_of(npy(sure)))["teacher_val_accuracy"] == 1


def test_a_fit_that_is_worse_than_chance_is_not_called_better() -> None:
    y = np.arange(60) % 2
    np.savez("few.npz", X=np.random.default_rng(0).normal(size=(60, 3)), y=y)
    said = np.where(np.arange(60) < 33, 1 - y, y)
    with pytest.raises(
        DistillError, match=r"fit 0\.\d standard deviations worse than .*; must be more than 3\.8 better"
    ):
        distill.run({"data": {"source": "few.npz"}} | teacher_of(npy(np.eye(2)[said] * 0.8 + 0.1)))


def test_a_teacher_that_says_the_same_of_every_row_knows_nothing() -> None:
    with pytest.raises(DistillError, match="knows nothing about these rows"):
        run(npy(np.full((ROWS, 10), 0.1)))


@pytest.mark.parametrize(
    ("keys", "column", "says"),
    [
        ({"hidden": 3}, "hidden", "does not act on a teacher that comes from predictions"),
        ({"load": "x.npz"}, "predictions", "does not act on a teacher that comes from load"),
        ({"kind": "odds"}, "kind", "'odds' is a text; must be one of auto, logits, probabilities"),
        ({"generations": 2}, "generations", "does not act on a teacher that comes from predictions"),
        ({"teacher": "other"}, "teacher", "does not act on a teacher that comes from predictions"),
    ],
)
def test_keys_that_would_do_nothing_are_faults_with_their_place(keys: dict[str, Any], column: str, says: str) -> None:
    answer = command(SMALL | teacher_of("said.npy", **keys))
    assert answer.code == 2
    assert answer.lines[0].startswith("plan.yaml:1:")
    assert f"teachers.forest.{column}: {says}" in answer.lines[0]


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"student": {"noise": 0.1}}, "student.noise: teacher 'forest' is a file of predictions and cannot answer"),
        ({"evidence": {"seeds": 3}}, "evidence: teacher 'forest' comes from predictions, so it learned on one split"),
        ({"student": {"terms": [{"loss": "hint", "weight": 1}]}}, "'forest' is a file with logits alone; name a"),
    ],
)
def test_what_a_file_cannot_do_is_a_fault_of_the_plan(sections: dict[str, Any], says: str) -> None:
    answer = command(SMALL | teacher_of("said.npy") | sections)
    assert answer.code == 2
    assert answer.lines[0].startswith("plan.yaml:1:")
    assert says in answer.lines[0]


# --- a whole run with them --------------------------------------------------------------------------------------------


def test_figures_of_a_teacher_that_knows_all_rows(digits: Digits) -> None:
    results = run(npy(digits.p))
    rows = digits.data.validation
    right = digits.p[rows.ids].argmax(axis=1) == rows.y
    assert results["teacher_val_accuracy"] == results["teachers"]["forest"]["val_accuracy"] == right.mean()
    p = np.maximum(digits.p[rows.ids], 1e-6)[np.arange(len(rows)), rows.y]
    assert results["teacher_val_ce"] == pytest.approx(-np.log(p).mean(), rel=1e-5)
    same = results.student.logits(raw(rows.ids)).argmax(axis=1) == digits.p[rows.ids].argmax(axis=1)
    assert results["agreement"] == same.mean()
    assert results["teachers"]["forest"] | {"val_ce": 0} == {
        "train_accuracy": None,
        "origin": "predictions",
        "kind": "probabilities",
        "share": 1.0,
        "parameters": None,
        "objective": None,
        "val_accuracy": results["teacher_val_accuracy"],
        "val_ce": 0,
    }
    assert (results.teacher, results.teachers) == (None, {})
    assert results["teacher_params"] is results["compression_ratio"] is results["models"]["teacher"]["kept"] is None
    assert len(results["teacher_sha256"]) == 64


def raw(ids: Array) -> Array:
    with np.load(DIGITS) as file:
        x: Array = file["X"].reshape(ROWS, -1)[ids]
    return x


def test_a_teacher_of_the_training_rows_alone_has_no_figures(digits: Digits) -> None:
    npy(digits.p[digits.trained_on])
    plan = SMALL | teacher_of("said.npy")
    shown = command(plan, "run")
    assert shown.code == 0
    table = {line[:34].strip(): line.split()[-3:] for line in shown.out.splitlines()}
    for row in ("validation accuracy", "validation cross-entropy", "parameters", "training seconds"):
        assert table[row][0] == "-", shown.out
        assert "-" not in table[row][1:], shown.out
    assert table["validation agreement with the teacher"[:34].strip()] == ["-", "-", "-"]
    results = json.loads(Path("runs/plan/results.json").read_text())
    for key in ("teacher_val_accuracy", "teacher_val_ce", "agreement", "control_agreement", "teacher_params"):
        assert results[key] is None
    assert results["seeds"][0]["teacher_accuracy"] is results["models"]["teacher"]["val"] is None
    assert results["models"]["student"]["val"]["retention"] is None
    assert ask("report", "runs/plan").code == 0
    page = Path("runs/plan/report.html").read_text()
    assert "forest" in page
    assert "Did distillation help?" in page
    assert sorted(one.name for one in Path("runs/plan").glob("*.npz")) == ["control.npz", "student.npz"]


def test_a_test_set_in_its_own_file_is_none_of_theirs() -> None:
    """Row 7 of the test file is not row 7 of the source, so that even full predictions say nothing of it."""
    x, y = blobs(150)
    np.savez("train.npz", X=x[:100], y=y[:100])
    np.savez("test.npz", X=x[100:], y=y[100:])
    np.savez("both.npz", X=x[:100], y=y[:100], X_test=x[100:], y_test=y[100:])
    said = npy(np.eye(3)[y[:100]] * 5.0 - 1)
    for source in ({"source": "train.npz", "test": "test.npz"}, {"source": "both.npz"}):
        plan = {"data": source} | teacher_of(said)
        shown = command(plan, "run")
        assert shown.code == 0
        results = json.loads(Path("runs/plan/results.json").read_text())
        assert results["teacher_val_accuracy"] == 1
        assert results["teacher_test_accuracy"] is results["test_agreement"] is None
        assert results["student_test_accuracy"] is not None
        assert results["verdict"]["split"] == "test"
        line = next(line for line in shown.out.splitlines() if line.startswith("test accuracy"))
        assert line.split()[2] == "-"
    assert ask("report", "runs/plan").code == 0


def test_test_rows_out_of_the_source_are_theirs(digits: Digits) -> None:
    results = run(npy(digits.p), data={"test_ratio": 0.1})
    assert results["teacher_test_accuracy"] is not None
    assert results["test_agreement"] is not None


def test_rows_without_a_label_or_a_value_are_predicted_like_any() -> None:
    x, y = blobs(90)
    fields = [[f"{v:.3f}" for v in row] + ["abc"[c]] for row, c in zip(x, y, strict=True)]
    for i in range(0, 90, 9):
        fields[i][4] = ""
        fields[i + 1][i % 4] = ""
    Path("rows.csv").write_text("\n".join(map(",".join, [[*"wxyz", "kind"], *fields])) + "\n")
    said = np.eye(3)[y] * 5 - 1
    source = {"data": {"source": "rows.csv"}}
    used = data.load(DataPlan("rows.csv"), 0.8, None, 0)
    assert (used.train.y < 0).sum() == 10
    whole = distill.run(source | teacher_of(npy(said)))
    assert whole["data"]["student_rows"]["unlabelled"] == whole["data"]["missing"] == 10
    assert whole["teacher_val_accuracy"] == 1
    part = distill.run(source | teacher_of(npy(said[used.train.ids])))
    assert part.student.fingerprint() == whole.student.fingerprint()
    dropped = distill.run(source | teacher_of(npy(said)) | {"student": {"unlabelled": "drop"}})
    assert dropped["data"]["student_rows"]["unlabelled"] == 0
    labelled = np.flatnonzero(used.train.y >= 0)
    with pytest.raises(DataError, match=r"which is trained on \(10 of \d+ are missing\)"):
        distill.run(source | teacher_of(npz(p=said[used.train.ids[labelled]], row=used.train.ids[labelled])))


def test_rows_on_disk_may_have_predictions() -> None:
    x, y = blobs(120)
    Path("rows").mkdir()
    npy(x.astype(np.float32), "rows/X.npy")
    npy(y, "rows/y.npy")
    said = teacher_of(npy(np.eye(3)[y] * 5 - 1))
    found = [distill.run({"data": {"source": "rows", "in_memory_mb": mb}} | said) for mb in (0, 512)]
    assert found[0]["teacher_val_accuracy"] == found[1]["teacher_val_accuracy"] == 1
    assert found[0]["data"]["sha256"] == found[1]["data"]["sha256"]


def test_further_seeds_hear_the_same_file(digits: Digits) -> None:
    evidence = {"seeds": 3, "share_teacher": True}
    found = [run(npy(digits.p), evidence=evidence | {"workers": workers}) for workers in (1, 2)]
    assert found[0]["seeds"] == found[1]["seeds"]
    assert len({one["student_ce"] for one in found[0]["seeds"]}) == 3
    assert len({one["teacher_ce"] for one in found[0]["seeds"]}) == 1
    training = run(npy(digits.p[digits.trained_on]), evidence=evidence | {"workers": 1})
    assert [one["student_ce"] for one in training["seeds"]] == [one["student_ce"] for one in found[0]["seeds"]]
    assert [one["teacher_ce"] for one in training["seeds"]] == [None] * 3


@pytest.mark.parametrize(
    "student",
    [
        {"labels": 40},
        {"labels": 40, "unlabelled": "drop"},
        {"label_noise": 0.3},
        {"terms": [{"loss": "dist", "weight": 1}]},
        {"terms": [{"loss": "logit_mse", "weight": 1}, {"loss": "cross_entropy", "weight": 1}]},
        {"terms": [{"loss": "hint", "weight": 1, "layers": {0: 1}}]},
    ],
    ids=str,
)
def test_any_student_may_listen_to_a_file(student: dict[str, Any], digits: Digits) -> None:
    plan = SMALL | teacher_of(npy(digits.p)) | {"student": student}
    if student.get("terms", [{}])[0].get("loss") == "hint":
        assert command(plan).code == 2  # the input is a layer of nobody's
        return
    assert command(plan).code == 0
    assert loads_back("runs/plan/config.yaml", plan)


def loads_back(written: str, plan: dict[str, Any]) -> bool:
    """Whether the plan in the run's folder is the plan that ran."""
    Path("again.yaml").write_text(json.dumps({"logging": {"file": None, "level": "ERROR"}} | plan))
    again = config.load(written)
    return replace(again, output=Output(None)) == replace(config.load("again.yaml"), output=Output(None))


@pytest.mark.parametrize("kind", ["auto", "probabilities"])
def test_the_written_plan_repeats_the_run(kind: str, digits: Digits) -> None:
    plan = SMALL | teacher_of(npy(digits.p), kind=kind)
    assert command(plan).code == 0
    assert loads_back("runs/plan/config.yaml", plan)
    shutil.copy("runs/plan/config.yaml", "repeated.yaml")
    first = json.loads(Path("runs/plan/results.json").read_text())
    assert ask("run", "--config", "repeated.yaml", "--quiet").code == 0
    assert json.loads(Path("runs/plan/results.json").read_text()) | {"timings": 0} == first | {"timings": 0}
    assert command(plan, "check").code == 0


def test_the_order_of_numbered_rows_is_no_part_of_the_results(digits: Digits) -> None:
    order = np.random.default_rng(1).permutation(ROWS)
    npz(p=digits.p, row=np.arange(ROWS))
    first = run("said.npz")
    npz(p=digits.p[order], row=order)
    second = run("said.npz")
    assert second.student.fingerprint() == first.student.fingerprint()
    assert {k for k in first if k != "timings" and first[k] != second[k]} == set()


def test_the_fingerprint_changes_with_any_number(digits: Digits) -> None:
    changed = digits.z.copy()
    changed[digits.trained_on[3], 2] = np.nextafter(changed[digits.trained_on[3], 2], np.float32(9))
    prints = {read(npy(one), digits.data).fingerprint for one in (digits.z, changed, digits.z[:, ::-1], digits.z[::-1])}
    assert len(prints) == 4


@pytest.mark.parametrize("fault", [lambda d: npy(d.p[:, :9]), lambda d: npy(d.p[:, ::-1]), lambda d: npy(d.p * 0.5)])
def test_bad_predictions_leave_the_last_run_as_it_was(fault: Callable[[Digits], str], digits: Digits) -> None:
    plan = SMALL | teacher_of(npy(digits.p))
    assert command(plan).code == 0
    before = {one.name: one.read_bytes() for one in Path("runs/plan").iterdir()}
    fault(digits)
    assert command(plan).code in (1, 4)
    assert {one.name: one.read_bytes() for one in Path("runs/plan").iterdir()} == before


def test_bad_predictions_leave_what_an_interrupted_run_had_finished(digits: Digits) -> None:
    """As bad data do: an hour of training is not swept away by a file that cannot be used."""
    bad = "student: {optimizer: sgd, learning_rate: 1, weight_decay: 50, epochs: 50}\n"
    Path("bad.yaml").write_text(bad + "distillation: {max_samples: 200}\nlogging: {file: null, level: ERROR}\n")
    assert ask("run", "--config", "bad.yaml", "--quiet").code == 3
    assert Path("runs/bad.partial/teacher.npz").exists()
    said = f"--set=teachers.forest.predictions={npy(digits.p[:, :9])}"
    assert ask("run", "--config", "bad.yaml", "--quiet", said).code == 4
    assert Path("runs/bad.partial/teacher.npz").exists()


@pytest.mark.parametrize("words", [("--output", "said.npy"), ("--output", "./deep/../said.npy")])
def test_an_output_never_replaces_the_predictions(words: tuple[str, ...], digits: Digits) -> None:
    npy(digits.p)
    Path("deep").mkdir()
    before = Path("said.npy").read_bytes()
    answer = command(SMALL | teacher_of("said.npy"), "run", *words)
    assert (answer.code, Path("said.npy").read_bytes()) == (5, before)
    assert "reads or writes" in answer.lines[0]
    assert command(SMALL | teacher_of("said.npy") | {"logging": {"file": "said.npy"}}, "run").code == 5
    assert Path("said.npy").read_bytes() == before


# --- properties -------------------------------------------------------------------------------------------------------

finite = st.floats(-30, 30, width=32)
logits_of_rows = arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(2, 5)), elements=finite)


@given(logits_of_rows)
def test_the_logits_of_probabilities_softmax_back_to_them(z: Array) -> None:
    p = softmax(z)
    logits, kind = predictions.as_logits(p, "auto", "it")
    back = softmax(logits.astype(np.float64))
    assert kind == "probabilities"
    np.testing.assert_allclose(back, p, atol=1e-6 * z.shape[1] + 1e-6)
    sure = p > 1e-5
    np.testing.assert_allclose(back[sure], p[sure], rtol=1e-5 * z.shape[1])


@given(logits_of_rows, st.sampled_from(["logits", "auto"]))
def test_logits_stay_the_numbers_that_they_are(z: Array, kind: str) -> None:
    sums = z.sum(axis=1)
    assume(kind == "logits" or z.min() < 0 or (z.max() > 1.01 and np.ptp(sums) > 0.2 * sums.max() and (z % 1).any()))
    found, is_kind = predictions.as_logits(z, kind, "it")
    assert is_kind == "logits"
    np.testing.assert_array_equal(found, z.astype(np.float32))


@given(arrays(np.float64, (3, 3), elements=st.floats(-2, 2) | st.sampled_from([0, 1, 0.5, 0.25, np.nan, np.inf])))
def test_auto_says_probabilities_logits_or_no(values: Array) -> None:
    within, totals = predictions.SUM_WITHIN, values.sum(axis=1)
    rows_fit = (values >= 0).all(axis=1) & (np.abs(totals - 1) <= within)
    shares = ((values >= 0) & (values <= 1 + within)).all()
    if not np.isfinite(values).all():
        with pytest.raises(DataError, match="is not finite"):
            predictions.as_logits(values, "auto", "it")
        return
    one_total = totals.max() > 0 and np.ptp(totals) <= 0.05 * (totals.max() + totals.min())
    counts = values.max() > 1 and not (values % 1).any()
    try:
        logits, kind = predictions.as_logits(values, "auto", "it")
    except DataError:
        refused = True
    else:
        refused = False
    assert refused == (
        not np.isfinite(values).all()
        or (not rows_fit.all() and bool(shares or (values.min() >= 0 and (one_total or counts))))
    )
    if refused:
        return
    assert np.isfinite(logits).all()
    assert kind == ("probabilities" if rows_fit.all() else "logits")
    assert kind == "probabilities" or not shares


@FUZZ
@given(st.permutations(range(8)), st.integers(0, 99), st.sampled_from(["npz", "csv"]))
def test_rows_may_come_in_any_order_with_their_numbers(order: list[int], seed: int, kind: str) -> None:
    p = probabilities(8, 3, seed)
    known = tiny(8, trained_on=np.array([1, 4, 6]))
    path = npz(p=p[order], row=order) if kind == "npz" else sheet(np.c_[order, p[order]], ["row", *"abc"])
    expected = read(npy(p), known)
    found = read(path, known)
    for ids in (np.arange(8), known.train.ids, np.array([7, 0])):
        np.testing.assert_array_equal(found.of(ids), expected.of(ids))


@FUZZ
@given(st.lists(st.integers(-2, 9), min_size=6, max_size=6) | st.permutations(range(6)))
def test_numbers_are_taken_where_each_row_has_one(numbers: list[int]) -> None:
    known = tiny(8, trained_on=np.array([0, 3]))
    sound = len(set(numbers)) == 6 and min(numbers) >= 0 and max(numbers) < 8 and {0, 3} <= set(numbers)
    path = npz(p=P, row=np.array(numbers))
    if not sound:
        with pytest.raises(DataError):
            read(path, known)
        return
    np.testing.assert_array_equal(read(path, known).of(np.array(numbers)), np.log(P).astype(np.float32))


names = st.text("abzäß0189 _.-+%,\"'#é", min_size=1, max_size=8).map(str.strip).filter(bool)


@FUZZ
@given(st.lists(names, min_size=2, max_size=5, unique_by=data.spelled), st.booleans(), st.integers(0, 9))
def test_a_csv_that_names_its_classes_is_read_whatever_they_are_called(
    classes: list[str], prefixed: bool, seed: int
) -> None:
    assume(not any(one.startswith("p_") for one in classes))
    assume(not all(one.replace(".", "").isdigit() for one in classes) or not prefixed)
    p = probabilities(5, len(classes), seed)
    found = read(sheet(p, [f"p_{one}" for one in classes] if prefixed else classes), tiny(5, tuple(classes)))
    np.testing.assert_array_equal(found.logits, np.log(np.maximum(p, 1e-6)).astype(np.float32))
    swapped = (classes[1], classes[0], *classes[2:])
    again = read("said.csv", tiny(5, swapped))
    np.testing.assert_array_equal(again.logits, found.logits[:, [1, 0, *range(2, len(classes))]])
    assert found.notes == ()
    assert again.notes[0].startswith("teacher 'forest': said.csv: its classes, ")
    with pytest.raises(DataError):  # its classes are others, or, where those are numbers, it has a row too many
        read("said.csv", tiny(5, (*classes[1:], "another")))


@FUZZ
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: b"\x93NUMPY\x01\x00" + tail), st.data())
def test_no_bytes_are_more_than_a_refusal(content: bytes, more: st.DataObject) -> None:
    name = more.draw(st.sampled_from(["a.npy", "a.npz", "a.csv", "a.gz"]))
    Path(name).write_bytes(content)
    with pytest.raises(DataError):
        read(name, tiny(6, tuple(range(400))))


@FUZZ
@given(st.sampled_from(["npy", "npz", "csv"]), st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_a_damaged_file_is_read_or_refused(kind: str, place: int, byte: int, torn: bool) -> None:
    path = {"npy": lambda: npy(P), "npz": lambda: npz(p=P, row=SIX), "csv": lambda: sheet(P, "abc")}[kind]()
    content = bytearray(Path(path).read_bytes())
    content[place % len(content)] = byte
    Path(path).write_bytes(content[: place % len(content)] if torn else content)
    try:
        found = read(path, tiny())
    except DataError:
        pass
    else:
        assert found.logits.shape == (6, 3)
        assert np.isfinite(found.logits).all()


@given(logits_of_rows)
def test_what_predict_writes_reads_back(z: Array) -> None:
    classes = tuple(range(z.shape[1]))
    text = predictions_csv(classes, softmax(z))
    path = Path("written.csv").absolute()
    path.write_text(text)
    found = read(str(path), tiny(len(z), classes))
    assert found.kind == "probabilities"
    np.testing.assert_allclose(softmax(found.logits.astype(float)), softmax(z), atol=1e-5)
    assert log_softmax(found.logits).shape == z.shape


def test_every_way_to_be_wrong_is_still_a_way_to_exit_with_4(digits: Digits) -> None:
    """A few of the refusals above as a user meets them, all with one line and no trace in the working directory."""
    npy(digits.p)
    for fault in itertools.islice(WRONG, 0, None, 9):
        path = WRONG[fault][0]()
        answer = command(SMALL | teacher_of(path) | {"output": {"folder": "out"}})
        assert (answer.code, len(answer.lines)) == (4, 1), fault
        assert not os.path.exists("out"), fault  # noqa: PTH110
