"""Broken and hostile data and model files: each is answered with exit code 4 and one message that names the place."""

import gzip
import io
import json
import pickle
import re
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from distill.system import arrays
from test_hostile_configs import DIGITS, FUZZ, LONG, Answer, ask

Array = NDArray[Any]
ROWS = [f"{i % 2 * 5 + i / 100},{i * 2 % 7},{'ab'[i % 2]}" for i in range(20)]
GOOD = "\n".join(ROWS) + "\n"
NAMED = "u,v,y\n" + GOOD
X = np.array([[i % 2 * 5 + i / 100, i * 2 % 7, i % 3] for i in range(20)])
Y = np.arange(20) % 2
IMAGES = np.arange(80, dtype=np.uint8).reshape(20, 2, 2)
LABELS = Y.astype(np.uint8)


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("CONFIG", "LOG_LEVEL", "THREADS", "DATA"):
        monkeypatch.delenv(f"DISTILL_{name}", raising=False)


def check(source: str, **keys: object) -> Answer:
    """`distill check` of a plan whose data section says this."""
    Path("config.yaml").write_text(json.dumps({"data": {"source": source} | keys}))
    return ask("check")


def write(name: str, content: str | bytes) -> str:
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return name


def assert_refused(answer: Answer, expected: str, codes: tuple[int, ...] = (4,)) -> None:
    """One printable line; it begins so … says this … and that … !not that."""
    assert answer.code in codes, answer
    assert len(answer.lines) == 1, answer.lines
    line = answer.lines[0].removeprefix("error: ")
    start, *pieces = (piece.strip() for piece in expected.split("…"))
    assert line.startswith(start), line
    for piece in pieces:
        assert (piece[1:] not in line) if piece.startswith("!") else (piece in line), line
    assert line.isprintable(), line
    assert answer.out == ""


# --------------------------------------------------------------------------------------------------------- CSV files

# Name -> content, the rest of the data section, and what the message says.
CSV: dict[str, tuple[str | bytes, dict[str, Any], str]] = {
    "empty": ("", {}, "rows.csv: no rows"),
    "blank lines": ("\n\n\r\n", {}, "rows.csv: no rows"),
    "a byte order mark": ("\ufeff", {}, "rows.csv: no rows"),
    "a space": (" \n", {}, "rows.csv: no rows"),
    "separators alone": (",,\n" * 9, {}, "rows.csv: no rows"),
    "only a header": ("u,v,y\n", {"header": True}, "rows.csv: no rows … header"),
    "one column": ("1\n2\n3\n", {}, "rows.csv: only one column"),
    "another delimiter": (GOOD.replace(",", " "), {}, "rows.csv: only one column … blanks"),
    "a row too short": (GOOD + "1,2\n", {}, "rows.csv: line 21 … 2 fields … 3"),
    "a row too long": (NAMED + "1,2,3,a\n", {}, "rows.csv: line 22 … 4 fields … 3"),
    "a comma too many": (GOOD + "1,2,a,\n", {}, "rows.csv: line 21 … 4 fields … 3"),
    "a footer": (GOOD + "20 rows\n", {}, "rows.csv: line 21 … 1 field, … 3"),
    "cut in the middle": (GOOD[:-7], {}, "rows.csv: line 20 … 1 field, … 3"),
    "a comment above": ("# measured in May\n" + GOOD, {}, "rows.csv: … line"),
    "NaN": (GOOD + "1,nan,a\n", {}, "rows.csv: line 21, column 1: nan is NaN"),
    "NaN in a named column": (NAMED + "1,NaN,a\n", {}, "rows.csv: line 22, column 1 ('v'): NaN is NaN"),
    "infinity": (GOOD + "inf,1,a\n", {}, "rows.csv: line 21, column 0: inf"),
    "minus infinity": (GOOD + "1,-Infinity,a\n", {}, "rows.csv: line 21, column 1: -Infinity"),
    "a number beyond floats": (GOOD + "1,1e999,a\n", {}, "rows.csv: line 21, column 1: 1e999"),
    "5000 digits": (GOOD + f"1,{DIGITS},a\n", {}, "rows.csv: line 21, column 1: 999"),
    "200,000 digits": (GOOD + f"1,{'9' * 200_000},a\n", {}, "rows.csv: line 21"),
    "a text": (GOOD + "1,two,a\n", {}, "rows.csv: line 21, column 1: 'two' is a text in a numeric column"),
    "a text in a named column": (NAMED + "1,two,a\n", {}, "rows.csv: line 22, column 1 ('v'): 'two' is a text"),
    "NA": (GOOD + "1,NA,a\n", {}, "rows.csv: line 21, column 1: 'NA'"),
    "a question mark": (GOOD + "?,1,a\n", {}, "rows.csv: line 21, column 0: '?'"),
    "an underscore": (GOOD + "1,1_0,a\n", {}, "rows.csv: line 21, column 1: '1_0'"),
    "hexadecimal": (GOOD + "1,0x10,a\n", {}, "rows.csv: line 21, column 1: '0x10'"),
    "other digits": (GOOD + "1,٤,a\n", {}, "rows.csv: line 21, column 1: '٤'"),
    "a currency": (GOOD + "1,$5,a\n", {}, "rows.csv: line 21, column 1: '$5'"),
    "a decimal comma": ("1,5;2;a\n2,5;3;b\n" * 9, {}, "rows.csv: line 1, column 0: '1,5'"),
    "a thousands separator": (GOOD + '1,"1,000",a\n', {}, "rows.csv: line 21, column 1: '1,000'"),
    "a formula": (GOOD + "1,=A1,a\n", {}, "rows.csv: line 21, column 1: '=A1'"),
    "a control character": (GOOD + "1,\x1b[31m2,a\n", {}, r"rows.csv: line 21, column 1: '\x1b[31m2'"),
    "a line break in quotes": (GOOD + '1,"2\n3",a\n', {}, r"rows.csv: line 22, column 1: '2\n3'"),
    "after a line break in quotes": ('"u\n",v,y\n' + GOOD + "1,x,a\n", {}, "rows.csv: line 23, column 1 ('v'): 'x'"),
    "NUL": (GOOD + "1,2\0,a\n", {}, "rows.csv: line 21"),
    "a quote left open": (GOOD + '"1,2,a\n', {}, "rows.csv: line 21 … quotes"),
    "a text after a quote": (GOOD + '"1"x,2,a\n', {}, "rows.csv: line 21 … quotes"),
    "one class": (GOOD.replace("b", "a"), {}, "rows.csv: column 2: every row has the label 'a'; must"),
    "one row": ("1,2,a\n", {}, "rows.csv: column 2: every row has the label 'a'; must"),
    "a class a row": ("".join(f"{i},{i}\n" for i in range(9)), {}, "rows.csv: 9 rows for 9 classes"),
    "labels that are measurements": (
        "".join(f"{i},{i / 7}\n" for i in range(9)),
        {},
        "rows.csv: column 1: holds fractions such as 0.142857: a regression target",
    ),
    "a column of nothing": ("".join(f",{row}\n" for row in ROWS), {}, "rows.csv: … 0 … no value"),
    "a named column of nothing": (
        "w,u,v,y\n" + "".join(f",{row}\n" for row in ROWS),
        {},
        "rows.csv: … 'w' … no value",
    ),
    "a name twice": ("u,u,y\n" + GOOD, {}, "rows.csv: line 1: the column name 'u' stands twice"),
    "a name twice below blank lines": ("\n\nu,u,y\n" + GOOD, {}, "rows.csv: line 3: the column name 'u' stands twice"),
    "two columns without names": (",,y\n" + GOOD, {"header": True}, "rows.csv: line 1: the column name ''"),
    "a header that is data": ("1,1,a\n" + GOOD, {"header": True}, "rows.csv: line 1: the column name '1' stands twice"),
    "data that are a header": (NAMED, {"header": False}, "rows.csv: line 1, column 0: 'u' is a text"),
    "two headers": ("u,v,y\n" + NAMED, {"header": True}, "rows.csv: line 2, column 0 ('u'): 'u' is a text"),
    "a header again": (NAMED + NAMED, {}, "rows.csv: line 22, column 0 ('u'): 'u' is a text"),
    "no such label": (NAMED, {"label": "class"}, "rows.csv: no column 'class' … u, v, y"),
    "label in another case": (NAMED, {"label": "Y"}, "rows.csv: no column 'Y' … u, v, y"),
    "label by name without names": (GOOD, {"label": "y"}, "rows.csv: … 'y' … no header"),
    "label too far right": (GOOD, {"label": 3}, "rows.csv: … 3 … 3 columns (0 to 2)"),
    "label too far left": (GOOD, {"label": -4}, "rows.csv: … -4 … 3 columns"),
    "label far away": (GOOD, {"label": 10**30}, f"rows.csv: … {10**30} … 3 columns"),
    "label is another column": (NAMED, {"label": "u"}, "rows.csv: column 0 ('u'): … fractions … set data.label: y"),
    "no such label among odd names": ('"u\nw",\x1b[31m,y\n' + GOOD, {"label": "class"}, "rows.csv: no column 'class'"),
    "Latin-1": (GOOD.encode() + b"1,2,\xe9\n", {}, "rows.csv: line 21: byte 0xe9 is not UTF-8"),
    "UTF-16": (GOOD.encode("utf-16"), {}, "rows.csv: is a text in UTF-16; save it as UTF-8"),
    "random bytes": (bytes(range(256)), {}, "rows.csv: line"),
    "a PNG": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", {}, "rows.csv: is a PNG"),
    "gzip of nothing": (gzip.compress(b""), {}, "rows.csv: no rows"),
    "gzip cut short": (gzip.compress(GOOD.encode())[:-9], {}, "rows.csv: cannot be read"),
    "gzip without a body": (b"\x1f\x8b", {}, "rows.csv: cannot be read"),
    "gzip with a wrong checksum": (gzip.compress(GOOD.encode())[:-8] + b"\0" * 8, {}, "rows.csv: cannot be read"),
    "gzip of another method": (b"\x1f\x8b\x07" + b"\0" * 20, {}, "rows.csv: cannot be read"),
    "gzip with garbage inside": (b"\x1f\x8b\x08" + b"\0" * 7 + b"\xff" * 20, {}, "rows.csv: cannot be read"),
    "gzip of a bad row": (gzip.compress(GOOD.encode() + b"1,x,a\n"), {}, "rows.csv: line 21, column 1: 'x'"),
    "decimal commas": (
        "".join(f"{i},5;{i % 7},25;{'ab'[i % 2]}\n" for i in range(20)),
        {},
        "rows.csv: line 1 … '0,5' has a comma … points",
    ),
    "decimal commas below names": (
        "u;v;y\n" + "1,5;2,5;a\n2,5;3,5;b\n" * 9,
        {},
        "rows.csv: line 2, column 0 ('u'): '1,5' has a comma",
    ),
    "columns of texts": (
        "id,when,u,v,y\n" + "".join(f"r{i},2024-01-{i + 1:02},{row}\n" for i, row in enumerate(ROWS)),
        {},
        "rows.csv: 2 columns of texts: column 0 ('id') holds 'r0', column 1 ('when') holds … data.drop: [0, 1]",
    ),
    "a column of texts that is called a label": (
        "class,u,v,w\n" + "".join(f"{'ab'[i % 2]},{row[:-2]},{i % 3}\n" for i, row in enumerate(ROWS)),
        {},
        "rows.csv: 1 column of texts: … if column 0 ('class') is the label, set data.label: class; else leave it out",
    ),
    "the only column of texts that can be a label": (
        "".join(f"r{i},{'ab'[i % 2]},{row[:-2]},{i % 3}\n" for i, row in enumerate(ROWS)),
        {},
        "rows.csv: 2 columns of texts: … if column 1 is the label, set data.label: 1; else … data.drop: [0, 1]",
    ),
    "a column of texts beside a label that is called so": (
        "sex,u,v,class\n" + "".join(f"{'ab'[i % 2]},{row[:-2]},{i % 3}\n" for i, row in enumerate(ROWS)),
        {},
        "rows.csv: 1 column of texts: … data.drop: [0] … !is the label",
    ),
    "one class, and what may be the label": (
        "kind,u,v,y\n" + "".join(f"{'ab'[i % 2]},{row[:-2]},0\n" for i, row in enumerate(ROWS)),
        {},
        "rows.csv: column 3 ('y'): every row has the label 0; … set data.label: kind",
    ),
    "no name twice": (
        ",,u,v,y\n" + "".join(f"{i},{i},{row}\n" for i, row in enumerate(ROWS)),
        {},
        "rows.csv: line 1: the column name '' stands twice",
    ),
    "thirty columns of texts": (
        "".join(f"{'t,' * 30}{row}\n" for row in ROWS),
        {},
        "rows.csv: 30 columns of texts: column 0 holds 't' … (30) … !column 12",
    ),
    "true among numbers": (GOOD + "1,True,a\n", {}, "rows.csv: line 21, column 1: 'True' is a text"),
    "true, false and maybe": (
        "".join(f"{['true', 'maybe', 'false', 'maybe'][i % 4]},{row}\n" for i, row in enumerate(ROWS)),
        {},
        "rows.csv: 1 column of texts: column 0 holds 'maybe'",
    ),
    "too large unscaled": (GOOD + "1,1e300,a\n", {"scale": "none"}, "rows.csv: … line 21, column 1 … 1e+300"),
}


@pytest.mark.parametrize(("content", "keys", "expected"), CSV.values(), ids=CSV)
def test_a_bad_csv_file(content: str | bytes, keys: dict[str, Any], expected: str) -> None:
    assert_refused(check(write("rows.csv", content), **keys), expected)


# What a file really is -> its first bytes, and what is said of it.
FOREIGN: dict[str, tuple[bytes, str]] = {
    "an Excel workbook": (
        b"PK\x03\x04" + b"\0" * 26 + b"[Content_Types].xml" + b"\0" * 40 + b"xl/workbook.xml",
        "export it as CSV",
    ),
    "an old Excel workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 504, "export it as CSV"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
    "a web page": (b"\n<!DOCTYPE html>\n<html><head><title>a, b</title></head></html>\n", "download"),
    "a PDF document": (b"%PDF-1.7\n%\xe2\xe3", "CSV"),
    "a Parquet file": (b"PAR1\x15\x04PAR1", "write it as CSV"),
    "a text in UTF-16": (GOOD.encode("utf-16"), "UTF-8"),
    "an xz file": (b"\xfd7zXZ\0\0\x04", "unpack it"),
    "a pickle": (pickle.dumps(dict.fromkeys("abc")), "numpy.savez"),
    "JSON": (b'\n[\n  {"u": 1, "v": 2}, {"u": 2, "v": 1}\n]\n', "write it as CSV"),
}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind in FOREIGN
        for name in ("rows.csv", "rows.csv.gz", "rows.npy", "t10k-images-idx3-ubyte", "rows.npz", "m.npz")
        if not (name.endswith(".npz") and kind == "an Excel workbook")  # an archive like any .npz, by its first bytes
    ],
)
def test_a_file_that_is_another_kind_is_called_by_it(kind: str, name: str) -> None:
    raw, do = FOREIGN[kind]
    write(name, gzip.compress(raw) if name.endswith(".gz") else raw)
    answer = ask_model("predict", "rows.csv", name) if name == "m.npz" else check(name)
    advice = f"not a model file of distill: it is {kind}" if name == "m.npz" else f"is {kind} … {do}"
    assert_refused(answer, f"{name}: {advice}")


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("book.xlsx", b"PK\x03\x04\x14\0", "is an Excel workbook; export"),
        ("rows.csv.zip", b"PK\x03\x04\x14\0", "is a zip archive; unpack"),
        ("rows.csv", b"PK\x03\x04" + b"\0" * 26 + b"X.npy", "is an archive of NumPy arrays; name it .npz"),
    ],
)
def test_a_zip_archive_is_called_by_its_name_and_members(name: str, raw: bytes, expected: str) -> None:
    assert_refused(check(write(name, raw)), f"{name}: {expected}")


# Characters that other tools take for the end of a line, but CSV does not.
@pytest.mark.parametrize("odd", ["\v", "\f", "\x1c", "\x1e", "\x85", "\u2028", "\u2029"], ids=ascii)
def test_only_line_ends_end_a_line(odd: str) -> None:
    labelled = GOOD.replace("a", f"a{odd}a")
    answer = check(write("rows.csv", labelled))
    assert (answer.code, answer.lines) == (0, [])
    assert "2 classes" in answer.out
    assert_refused(check(write("rows.csv", labelled + "1,x,b\n")), "rows.csv: line 21, column 1: 'x' is a text")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=ascii)
def test_a_line_is_counted_whatever_ends_it(end: str) -> None:
    text = (NAMED + "1,x,a\n").replace("\n", end)
    assert_refused(check(write("rows.csv", text)), "rows.csv: line 22, column 1 ('v'): 'x' is a text")


TESTS: dict[str, tuple[str, str]] = {  # a test file for NAMED, and what is wrong with it
    "empty": ("", "test.csv: no rows"),
    "other columns": ("u,w,y\n1,2,a\n", "test.csv: … column"),
    "a column fewer": ("u,y\n1,a\n", "test.csv: the test set has 1 features … 2"),
    "a column more": ("u,v,w,y\n1,2,3,a\n", "test.csv: the test set has 3 features … 2"),
    "without its label": ("u,v\n1,2\n", "test.csv: "),
    "a new class": ("u,v,y\n1,2,a\n1,2,c\n", "test.csv: line 3, column 2 ('y'): the class 'c' … a, b"),
    "a text": ("u,v,y\n1,x,a\n", "test.csv: line 2, column 1 ('v'): 'x' is a text"),
    "NaN": ("u,v,y\nnan,1,a\n", "test.csv: line 2, column 0 ('u'): nan"),
    "a label missing": ("u,v,y\n1,2,\n", "test.csv: line 2, column 2 ('y'): the label is missing"),
    "ragged": ("u,v,y\n1,2,a\n1,2\n", "test.csv: line 3: 2 fields"),
    "too large": ("u,v,y\n1,2,a\n1,1e300,a\n", "test.csv: line 3, column 1 ('v') … 1e+300"),
}


@pytest.mark.parametrize(("content", "expected"), TESTS.values(), ids=TESTS)
def test_a_bad_test_file_is_named_itself(content: str, expected: str) -> None:
    write("rows.csv", NAMED)
    assert_refused(check("rows.csv", test=write("test.csv", content)), expected)


@pytest.mark.parametrize("test", ["nowhere.csv", LONG, ".", "rows.csv/x", "digits.npz"])
def test_a_test_file_that_is_not_there(test: str) -> None:
    assert_refused(check(write("rows.csv", NAMED), test=test), f"{test[:50]} … no")


def test_classes_with_odd_names_do_not_break_the_line() -> None:
    write("rows.csv", GOOD.replace("a\n", '"a\nb\x1b[31m"\n'))
    assert_refused(check("rows.csv", test=write("test.csv", "1,2,c\n")), "test.csv: line 1, column 2: the class 'c'")


# ------------------------------------------------------------------------------------------- labels that are no classes


def measured(kinds: list[str], target: list[str], head: str = "", *, first: bool = True) -> str:
    """Rows of a few measurements with a column of kinds, first or last but one, and a last column that is no label."""
    rng = np.random.default_rng(0)
    lines = [head] if head else []
    for kind, value in zip(kinds, target, strict=True):
        numbers = [f"{number:.2f}" for number in rng.normal(size=4)]
        lines.append(",".join([kind, *numbers, value] if first else [*numbers, kind, value]))
    return "\n".join(lines) + "\n"


WINE = [str(i + 1) for i, count in enumerate((59, 71, 48)) for _ in range(count)]
PROLINE = [str(value // 5 * 5) for value in np.random.default_rng(1).integers(278, 1680, 178)]
REAL = [f"{value:.1f}" for value in np.random.default_rng(2).normal(20, 5, 178)]
WORDS = [["setosa", "virginica"][i % 2] for i in range(178)]
HEAD = "{},a,b,c,d,{}"
WRONG_LABELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "label first": (
        measured(WINE, PROLINE),
        {},
        "rows.csv: column 5: 178 rows for … column 0, 3 values: set data.label: 0",
    ),
    "label first, named": (
        measured(WINE, PROLINE, HEAD.format("cultivar", "proline")),
        {},
        "rows.csv: column 5 ('proline'): … column 0 ('cultivar'), 3 values: set data.label: cultivar",
    ),
    "label first, of words": (measured(WORDS, PROLINE), {}, "rows.csv: column 5: … column 0, 2 values"),
    "label last but one, fractions": (
        measured(WINE, REAL, first=False),
        {},
        "rows.csv: column 5: holds fractions … regression … column 4, 3 values: set data.label: 4",
    ),
    "a column that is called so goes first": (
        measured([f"{word},{i % 7}" for i, word in enumerate(WORDS)], REAL, "sex,class,a,b,c,d,length"),
        {},
        "rows.csv: … is column 1 ('class'), 7 values (or column 0 ('sex'), 2 values): set data.label: class",
    ),
    "nothing like a label": (measured(REAL, PROLINE), {}, "rows.csv: … no other column looks like a label"),
    "what is dropped": (measured(WINE, PROLINE), {"drop": [0]}, "rows.csv: … no other column looks like a label"),
    "fractions, chosen so": (
        measured(WINE, REAL),
        {"label": -1},
        "rows.csv: column 5: holds fractions … make ranges … set data.label: 0",
    ),
    "fractions, some missing": (measured(WINE, ["?", "", *REAL[2:]]), {}, "rows.csv: … fractions … column 0"),
    "a name a row": (
        measured(WINE, [f"r{i}" for i in range(178)]),
        {},
        "rows.csv: … 178 rows for 178 classes … column 0",
    ),
}


@pytest.mark.parametrize(("content", "keys", "expected"), WRONG_LABELS.values(), ids=WRONG_LABELS)
def test_a_column_that_is_no_label_is_told_with_what_looks_like_one(
    content: str, keys: dict[str, Any], expected: str
) -> None:
    assert_refused(check(write("rows.csv", content), **keys), expected)
    config = Path("config.yaml").read_text()
    Path("config.yaml").write_text(json.dumps(json.loads(config) | {"logging": {"file": None}}))
    assert_refused(ask("run", "--quiet"), expected)


@pytest.mark.parametrize("suffix", ["npz", "npy"])
@pytest.mark.parametrize(
    ("y", "expected"),
    [(np.arange(40) / 7, "fractions such as 0.142857: a regression"), (np.arange(40) // 2, "40 rows for 20 classes")],
)
def test_labels_of_an_array_that_are_no_classes(suffix: str, y: Array, expected: str) -> None:
    x = np.zeros((40, 3)) + np.arange(40)[:, None]
    Path("rows").mkdir()
    np.save("rows/X.npy", x), np.save("rows/y.npy", y), np.savez("rows.npz", X=x, y=y)
    name = "rows.npz: y" if suffix == "npz" else "rows/y.npy"
    assert_refused(check("rows.npz" if suffix == "npz" else "rows"), f"{name}: … {expected}")


@pytest.mark.parametrize(
    "y",
    [
        np.arange(16) % 8,
        np.arange(40) % 2 * 1000.0,
        np.r_[np.zeros(100, int), 1, 1, 2, 3, 4],
        np.arange(18) // 2,
        np.arange(3000) % 300,
        np.array([f"{i % 150}.5a" for i in range(1500)]),
        np.array(["9" * 400, "8" * 400])[Y],
    ],
    ids=["two a class", "two classes", "rare classes", "few rows", "hundreds of classes", "texts", "long numbers"],
)
def test_honest_labels_are_believed(y: Array) -> None:
    np.savez("rows.npz", X=np.random.default_rng(0).normal(size=(len(y), 3)), y=y)
    answer = check("rows.npz")
    assert (answer.code, answer.lines) == (0, [])
    assert f"{len(np.unique(y))} classes" in answer.out
    assert "note:" not in answer.out


def test_a_label_that_is_chosen_is_learned_with_a_warning_however_few_rows_a_class_has() -> None:
    answer = check(write("rows.csv", measured(WINE, PROLINE)), label=-1)
    assert re.search(r"column 5: 178 rows for \d+ classes, fewer than 5 a class", " ".join(answer.out.split()))


def test_many_classes_of_few_rows_are_learned_with_a_warning() -> None:
    np.savez("rows.npz", X=np.random.default_rng(0).normal(size=(80, 3)), y=np.arange(80) % 20)
    assert "80 rows for 20 classes, fewer than 5 a class; where these are" in " ".join(check("rows.npz").out.split())


DROPS: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown": (
        NAMED,
        {"drop": ["vv"]},
        "rows.csv: no column 'vv', which data.drop names; did you mean 'v'? … u, v, y",
    ),
    "far off": (
        NAMED,
        {"drop": ["when"]},
        "rows.csv: no column 'when', which data.drop names; the columns are u, v, y",
    ),
    "too far right": (NAMED, {"drop": [3]}, "rows.csv: data.drop is 3, but there are 3 columns (0 to 2)"),
    "without names": (GOOD, {"drop": ["u"]}, "rows.csv: data.drop names 'u', but there is no header"),
    "the label": (NAMED, {"drop": [0, "y"]}, "rows.csv: column 2 ('y'): data.drop names the label"),
    "the label by index": (GOOD, {"drop": [1], "label": 1}, "rows.csv: column 1: data.drop names the label"),
    "a long name": (NAMED, {"drop": ["w" * 99]}, f"rows.csv: no column '{'w' * 57}...', which data.drop names"),
    "a label among long names": (
        f"{'k' * 99},u,v,{'w' * 99}\n" + "".join(f"{'ab'[i % 2]},{row[:-2]},0\n" for i, row in enumerate(ROWS)),
        {},
        f"rows.csv: column 3 ('{'w' * 57}...'): … column 0 ('{'k' * 57}...'), 2 values: set data.label: 0",
    ),
    "everything": (NAMED, {"drop": ["u", 1]}, "rows.csv: data.drop leaves no feature"),
    "many columns": (
        ",".join(f"column_{i}" for i in range(3000)) + "\n" + ",".join("1" * 3000) + "\n",
        {"label": "colum_7", "header": True},
        "rows.csv: no column 'colum_7'; did you mean … column_7 … (3,000) … !column_15",
    ),
}


@pytest.mark.parametrize(("content", "keys", "expected"), DROPS.values(), ids=DROPS)
def test_columns_that_cannot_be_dropped(content: str, keys: dict[str, Any], expected: str) -> None:
    assert_refused(check(write("rows.csv", content), **keys), expected)


def test_numbers_of_opposite_extremes_make_no_warning_of_ours() -> None:
    assert_refused(check(write("rows.csv", NAMED + "-1.7e308,1,a\n1.7e308,2,b\n")), "rows.csv: column 0 ('u'): numbers")


def test_an_empty_list_drops_nothing() -> None:
    np.savez("rows.npz", X=X, y=Y)
    for source in (write("rows.csv", NAMED), "rows.npz"):
        plain, empty = (check(source, drop=drop) for drop in (None, []))
        assert (empty.code, empty.out.replace("drop: []", "drop: null")) == (0, plain.out)


def test_drop_acts_only_on_csv_files() -> None:
    np.savez("rows.npz", X=X, y=Y)
    assert_refused(check("rows.npz", drop=[0]), "rows.npz: … data.drop act only on CSV files")
    answer = check("digits", drop=[0])
    assert answer.code == 2
    assert "data.drop: acts only on CSV files" in answer.lines[0]


# ------------------------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize(
    "source",
    [
        *(".", "/", "..", "nowhere", "nowhere/rows.csv", "rows.csv/x", "rows.csv ", "~no-such-user/rows.csv", "loop"),
        *(
            "/dev/null",
            "Digits",
            "digits.csv",
            "http://example.com/rows.csv",
            "*.csv",
            "empty.npz",
            LONG,
            "x/" * 3000,
        ),
    ],
    ids=lambda source: source[:30],
)
def test_a_source_that_is_not_there(source: str) -> None:
    write("rows.csv", GOOD)
    Path("loop").symlink_to("loop")
    Path("empty.npz").mkdir()
    assert_refused(check(source), source[:50])


@pytest.mark.parametrize("folder", ["", LONG, "nowhere", "nowhere.csv", "/", "loop"], ids=lambda folder: folder[:30])
def test_a_data_folder_that_does_not_help(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("loop").symlink_to("loop")
    monkeypatch.setenv("DISTILL_DATA", folder)
    assert_refused(check("nowhere.csv"), "nowhere.csv")


@pytest.mark.parametrize("keys", [{"label": 3}, {"label": "y"}, {"header": True}, {"header": False}], ids=str)
@pytest.mark.parametrize("kind", ["npz", "idx"])
def test_keys_for_csv_files_on_other_files(kind: str, keys: dict[str, Any]) -> None:
    if kind == "npz":
        np.savez("rows.npz", X=X, y=Y)
    else:
        write_idx("rows")
    assert_refused(check("rows.npz" if kind == "npz" else "rows", **keys), "rows … only on CSV files")


@pytest.mark.parametrize("most", [2, 3])
def test_fewer_rows_asked_for_than_classes(most: int) -> None:
    write("rows.csv", GOOD.replace("1,b", "1,c"))
    Path("config.yaml").write_text(f"data: {{source: rows.csv}}\ndistillation: {{max_samples: {most}}}\n")
    assert_refused(ask("check"), f"rows.csv: … max_samples is {most} … 3 classes")


# --------------------------------------------------------------------------------------------------------- NPZ files


def at(row: int, column: int, value: float, array: Array = X) -> Array:
    changed = array.astype(np.float64)
    changed[row, column] = value
    return changed


LABELS_WITH_NAN = np.where(np.arange(20) == 7, np.nan, Y)
NPZ: dict[str, tuple[Mapping[str, Any], str]] = {
    "no arrays": ({}, "rows.npz: "),
    "no X": ({"x": X, "y": Y}, "rows.npz: no array 'X' … x, y"),
    "no y": ({"X": X}, "rows.npz: … no labels"),
    "X of objects": ({"X": X.astype(object), "y": Y}, "rows.npz: … Python objects"),
    "y of objects": ({"X": X, "y": Y.astype(object)}, "rows.npz: … Python objects"),
    "y of Latin-1": (
        {"X": X, "y": np.array([b"caf\xe9", b"caf\xe8"])[Y]},
        r"rows.npz: y[0]: the label b'caf\xe9' is not UTF-8; … np.char.decode(y, 'latin-1')",
    ),
    "X ragged": ({"X": np.array([[1], [1, 2]], object), "y": Y[:2]}, "rows.npz: … Python objects"),
    "X of one dimension": ({"X": X[:, 0], "y": Y}, "rows.npz: X … (20,) … (rows, features) … !y[0]"),
    "X a number": ({"X": np.array(1.0), "y": Y}, "rows.npz: X … () … !y[0]"),
    "X without rows": ({"X": X[:0], "y": Y[:0]}, "rows.npz: X … (0, 3) … !y[0]"),
    "X without features": ({"X": X[:, :0], "y": Y}, "rows.npz: X … (20, 0) … !y[0]"),
    "X of texts": ({"X": X.astype(str), "y": Y}, "rows.npz: X … !y[0]"),
    "X complex": ({"X": X + 1j, "y": Y}, "rows.npz: X … complex128 … !y[0]"),
    "X of dates": ({"X": X.astype("M8[s]"), "y": Y}, "rows.npz: X … datetime64 … !y[0]"),
    "X of records": ({"X": np.zeros((20, 1), [("a", "f4")]), "y": Y}, "rows.npz: X … !y[0]"),
    "NaN": ({"X": at(3, 1, np.nan), "y": Y}, "rows.npz: X[3, 1]: nan"),
    "infinity": ({"X": at(19, 2, -np.inf), "y": Y}, "rows.npz: X[19, 2]: -inf"),
    "NaN in float16": ({"X": at(3, 1, np.nan).astype(np.float16), "y": Y}, "rows.npz: X[3, 1]: nan"),
    "labels fewer": ({"X": X, "y": Y[:-1]}, "rows.npz: … 20 rows … 19 labels"),
    "labels in a row": ({"X": X, "y": Y[None]}, "rows.npz: y … (1, 20) … (rows,)"),
    "labels one-hot": ({"X": X, "y": np.eye(2)[Y]}, "rows.npz: y … (20, 2) … (rows,)"),
    "label of dates": ({"X": X, "y": Y.astype("M8[s]")}, "rows.npz: y … datetime64"),
    "label NaN": ({"X": X, "y": LABELS_WITH_NAN}, "rows.npz: y[7]: the label is"),
    "label empty": ({"X": X, "y": np.where(Y == 1, "", "a")}, "rows.npz: y[1]: … label"),
    "one class": ({"X": X, "y": Y * 0}, "rows.npz: every row has the label 0"),
    "a class a row": ({"X": X, "y": np.arange(20)}, "rows.npz: y: 20 rows for 20 classes"),
    "X_test alone": ({"X": X, "y": Y, "X_test": X}, "rows.npz: X_test and y_test must come together"),
    "y_test alone": ({"X": X, "y": Y, "y_test": Y}, "rows.npz: X_test and y_test must come together"),
    "test of other width": (
        {"X": X, "y": Y, "X_test": X[:, 1:], "y_test": Y},
        "rows.npz: X has 3 features, X_test has 2",
    ),
    "test with a new class": ({"X": X, "y": Y, "X_test": X, "y_test": Y + 1}, "rows.npz: y_test[1]: the class 2"),
    "test with NaN": ({"X": X, "y": Y, "X_test": at(5, 0, np.nan), "y_test": Y}, "rows.npz: X_test[5, 0]: nan"),
    "test empty": ({"X": X, "y": Y, "X_test": X[:0], "y_test": Y[:0]}, "rows.npz: X_test … (0, 3)"),
    "test labels fewer": ({"X": X, "y": Y, "X_test": X, "y_test": Y[1:]}, "rows.npz: … 20 rows … 19 labels"),
}


@pytest.mark.parametrize(("arrays", "expected"), NPZ.values(), ids=NPZ)
def test_a_bad_npz_file(arrays: Mapping[str, Any], expected: str) -> None:
    np.savez("rows.npz", allow_pickle=True, **arrays)
    assert_refused(check("rows.npz"), expected)


def npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npy_with(header: str, body: bytes = b"\0" * 480) -> bytes:
    raw = header.encode() + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(raw)) + raw + body


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def poke(raw: bytes, after: bytes, offset: int, byte: int) -> bytes:
    """The bytes with one of them, so far behind the first occurrence of `after`, set to another value."""
    place = raw.index(after) + offset
    return raw[:place] + bytes([byte]) + raw[place + 1 :]


SOUND = {"X.npy": npy(X), "y.npy": npy(Y)}
CENTRAL = b"PK\x01\x02"  # where a zip file's directory begins
SHAPED = "{'descr': '<f8', 'fortran_order': False, 'shape': %s, }"
TORN: dict[str, bytes] = {
    "empty": b"",
    "two letters": b"PK",
    "a beginning": b"PK\x03\x04",
    "an empty zip cut short": b"PK\x05\x06",
    "zeros": b"\0" * 100,
    "a text": GOOD.encode(),
    "an .npy by another name": npy(X),
    "a pickle": b"\x80\x04N.",
    "a pickle that would print": b"cbuiltins\nprint\n(S'owned'\ntR.",
    "half a file": zipped(SOUND)[:600],
    "all but its end": zipped(SOUND)[:-1],
    "its end only": zipped(SOUND)[600:],
    "a bit turned": poke(zipped(SOUND), b"NUMPY", 200, 0xFF),
    "another method": poke(zipped(SOUND), CENTRAL, 10, 99),
    "a broken bzip2": poke(zipped(SOUND), CENTRAL, 10, zipfile.ZIP_BZIP2),
    "a broken LZMA": poke(zipped(SOUND), CENTRAL, 10, zipfile.ZIP_LZMA),
    "a broken deflate": poke(zipped(SOUND), CENTRAL, 10, zipfile.ZIP_DEFLATED),
    "a torn LZMA": poke(zipped(SOUND, zipfile.ZIP_LZMA), b"X.npy", 30, 0xEE),
    "a torn deflate": poke(zipped(SOUND, zipfile.ZIP_DEFLATED), b"X.npy", 30, 0xEE),
    "a password": poke(zipped(SOUND), CENTRAL, 8, 1),
    "a gzip": gzip.compress(zipped(SOUND)),
    "members that are no arrays": zipped({"X": b"hello", "y": b"world"}),
    "X is no array": zipped(SOUND | {"X.npy": b"hello"}),
    "y is no array": zipped(SOUND | {"y.npy": b""}),
    "X in a folder": zipped({"data/X.npy": npy(X), "data/y.npy": npy(Y)}),
    "X cut short": zipped(SOUND | {"X.npy": npy(X)[:-8]}),
    "X of version 9": zipped(SOUND | {"X.npy": poke(npy(X), b"NUMPY", 5, 9)}),
    "X of 10**12 rows": zipped(SOUND | {"X.npy": npy_with(SHAPED % "(1000000000000, 3)")}),
    "X of 10**29 rows": zipped(SOUND | {"X.npy": npy_with(SHAPED % f"({10**29}, 3)")}),
    "X of 2**63 - 1 rows": zipped(SOUND | {"X.npy": npy_with(SHAPED % f"({2**63 - 1}, 3)")}),
    "X of 5000 digits rows": zipped(SOUND | {"X.npy": npy_with(SHAPED % f"({DIGITS}, 3)")}),
    "X of -1 rows": zipped(SOUND | {"X.npy": npy_with(SHAPED % "(-1, 3)")}),
    "X of True rows": zipped(SOUND | {"X.npy": npy_with(SHAPED % "(True, 3)")}),
    "X of 100 dimensions": zipped(SOUND | {"X.npy": npy_with(SHAPED % str((1,) * 100))}),
    "a shape left open": zipped(
        SOUND | {"X.npy": npy_with("{'descr': '<f8', 'fortran_order': False, 'shape': (20, 3")}
    ),
    "3000 brackets": zipped(SOUND | {"X.npy": npy_with("(" * 3000)}),
    "a header with a list for a key": zipped(SOUND | {"X.npy": npy_with("{[]: 1}")}),
    "a header with indents": zipped(SOUND | {"X.npy": npy_with("  x\n y\n  z")}),
    "a header that is a number": zipped(SOUND | {"X.npy": npy_with("5")}),
    "a header with NUL": zipped(SOUND | {"X.npy": npy_with("\0")}),
    "a header that calls": zipped(SOUND | {"X.npy": npy_with("__import__('os').system('echo owned')")}),
    "a header that asks for objects": zipped(SOUND | {"X.npy": npy_with(SHAPED.replace("<f8", "|O") % "(20, 3)")}),
    "a header with an odd type": zipped(SOUND | {"X.npy": npy_with(SHAPED.replace("<f8", "zz") % "(20, 3)")}),
}


@pytest.mark.parametrize("raw", TORN.values(), ids=TORN)
def test_a_torn_npz_file(raw: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    # NumPy's and zipfile's own complaints differ from version to version; that it is one, and names the file, does not.
    assert_refused(check(write("rows.npz", raw)), "rows.npz: ")
    assert "owned" not in capfd.readouterr().out


@pytest.mark.parametrize(
    "arrays",
    [
        {"X": X * 1e200},
        {"X": at(3, 1, 1.7e308)},
        {"X": np.full((20, 3), 1.7e308)},
        {"X": at(3, 1, 1e300), "scale": "minmax"},
        {"X": at(3, 1, 1.7e308, at(4, 1, -1.7e308)), "scale": "minmax"},
        {"X": at(3, 1, 1.7e308, at(4, 1, -1.7e308)), "scale": "none"},
        {"X": X * 1e-310},
        {"X": X * 5e-324, "scale": "minmax"},
        {"X": X.astype(np.longdouble) * np.longdouble("1e4000")},
        {"X": X * 1e-200, "X_test": X * 1e200, "y_test": Y},
        {"X": X * 1e-30, "X_test": X * 1e300, "y_test": Y},
        {"X": np.zeros((20, 3))},
        {"X": X > 1, "scale": "minmax"},
        {"X": X.astype(np.float16)},
        {"X": np.full((20, 2), 2**64 - 1, np.uint64)},
    ],
    ids=lambda arrays: ", ".join(arrays),
)
def test_extreme_numbers_are_used_or_refused_but_never_grumbled_about(arrays: dict[str, Any]) -> None:
    # Warnings are errors here, so an overflow that NumPy would mention on stderr fails this.
    scale = arrays.get("scale", "standard")
    np.savez("rows.npz", y=Y, **{name: array for name, array in arrays.items() if name != "scale"})
    answer = check("rows.npz", scale=scale)
    if answer.code != 0:
        assert_refused(answer, "rows.npz: ")
    assert len(answer.lines) == (answer.code != 0)


# --------------------------------------------------------------------------------------------------------- IDX files


def idx(array: Array, code: int = 8, shape: tuple[int, ...] | None = None) -> bytes:
    shape = array.shape if shape is None else shape
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + array.tobytes()


def write_idx(folder: str, **files: bytes | None) -> str:
    """A sound folder; each keyword replaces a file, or with None leaves it out."""
    Path(folder).mkdir(exist_ok=True)
    sound = {"train_images_idx3_ubyte": idx(IMAGES), "train_labels_idx1_ubyte": idx(LABELS)}
    for name, raw in (sound | files).items():
        if raw is not None:
            write(f"{folder}/{name.replace('_', '-')}", raw)
    return folder


NAN_IMAGES = idx(np.where(np.arange(60).reshape(20, 3) == 7, np.nan, 1).astype(">f4"), 0x0D)
IDX: dict[str, tuple[dict[str, bytes | None], str]] = {
    "images: empty": ({"train_images_idx3_ubyte": b""}, "mn/train-images-idx3-ubyte: … magic"),
    "images: three bytes": ({"train_images_idx3_ubyte": b"\0\0\x08"}, "mn/train-images-idx3-ubyte: … magic"),
    "images: magic wrong": ({"train_images_idx3_ubyte": b"\0\1" + idx(IMAGES)[2:]}, "mn/train-images … 00 01 08 03"),
    "images: type unknown": ({"train_images_idx3_ubyte": idx(IMAGES, 7)}, "mn/train-images … 00 00 07 03 … magic"),
    "images: no dimensions": ({"train_images_idx3_ubyte": b"\0\0\x08\0"}, "mn/train-images … magic"),
    "images: header cut": ({"train_images_idx3_ubyte": idx(IMAGES)[:10]}, "mn/train-images … header"),
    "images: a byte short": ({"train_images_idx3_ubyte": idx(IMAGES)[:-1]}, "mn/train-images … 96 bytes … 95"),
    "images: a byte long": ({"train_images_idx3_ubyte": idx(IMAGES) + b"x"}, "mn/train-images … 96 bytes … 97"),
    "images: huge": (
        {"train_images_idx3_ubyte": idx(IMAGES, 8, (2**32 - 1,) * 3)},
        "mn/train-images … promises",
    ),
    "images: 100 dimensions": ({"train_images_idx3_ubyte": idx(IMAGES[:1, 0, 0], 8, (1,) * 100)}, "mn/train-images"),
    "images: 255 dimensions of 0": ({"train_images_idx3_ubyte": idx(IMAGES[:0], 8, (0,) * 255)}, "mn/train-images"),
    "images: no rows": ({"train_images_idx3_ubyte": idx(IMAGES[:0])}, "mn/train-images … (0, 2, 2) … !labels-idx1"),
    "images: flat": ({"train_images_idx3_ubyte": idx(IMAGES[:, 0, 0])}, "mn/train-images … (20,) … !labels-idx1"),
    "images: NaN": ({"train_images_idx3_ubyte": NAN_IMAGES}, "mn/train-images-idx3-ubyte: row 2, column 1: nan"),
    "images: gzip cut": ({"train_images_idx3_ubyte": gzip.compress(idx(IMAGES))[:-3]}, "mn/train-images … cannot be r"),
    "images: gzip checksum": (
        {"train_images_idx3_ubyte": gzip.compress(idx(IMAGES))[:-8] + b"\0" * 8},
        "mn/train-images-idx3-ubyte: cannot be read",
    ),
    "images: gzip of a wrong magic": (
        {"train_images_idx3_ubyte": gzip.compress(b"\0\0\0\0")},
        "mn/train-images … magic",
    ),
    "images: gzip twice": (
        {"train_images_idx3_ubyte": gzip.compress(gzip.compress(idx(IMAGES)))},
        "mn/train-images … gzip",
    ),
    "images: a text": ({"train_images_idx3_ubyte": b"404: not found"}, "mn/train-images-idx3-ubyte: … magic"),
    "images: labels by mistake": ({"train_images_idx3_ubyte": idx(LABELS)}, "mn/train-images … (20,) … !labels-idx1"),
    "images: missing": ({"train_images_idx3_ubyte": None}, "mn: no train-images-idx3-ubyte beside mn/train-labels"),
    "labels: missing": ({"train_labels_idx1_ubyte": None}, "mn: no train-labels-idx1-ubyte beside mn/train-images"),
    "labels: empty": ({"train_labels_idx1_ubyte": b""}, "mn/train-labels-idx1-ubyte: … magic"),
    "labels: fewer": ({"train_labels_idx1_ubyte": idx(LABELS[1:])}, "mn/train-labels … 20 rows … 19 labels"),
    "labels: one-hot": ({"train_labels_idx1_ubyte": idx(np.eye(2, dtype="u1")[LABELS])}, "mn/train-labels … (20, 2)"),
    "labels: one class": ({"train_labels_idx1_ubyte": idx(LABELS * 0)}, "mn: every row has the label 0"),
    "labels: NaN": (
        {"train_labels_idx1_ubyte": idx(LABELS_WITH_NAN.astype(">f8"), 0x0E)},
        "mn/train-labels-idx1-ubyte: row 7: the label is",
    ),
    "all missing": (
        {"train_images_idx3_ubyte": None, "train_labels_idx1_ubyte": None},
        "mn: is a folder with no X.npy, and no train-images-idx3-ubyte … give a file in it",
    ),
    "test: images alone": ({"t10k_images_idx3_ubyte": idx(IMAGES)}, "mn: no t10k-labels-idx1-ubyte beside mn/t10k-im"),
    "test: labels alone": ({"t10k_labels_idx1_ubyte": idx(LABELS)}, "mn: no t10k-images-idx3-ubyte beside mn/t10k-la"),
    "test: other size": (
        {"t10k_images_idx3_ubyte": idx(IMAGES[:, :1]), "t10k_labels_idx1_ubyte": idx(LABELS)},
        "mn: the test set has 2 features … 4",
    ),
    "test: a new class": (
        {"t10k_images_idx3_ubyte": idx(IMAGES), "t10k_labels_idx1_ubyte": idx(LABELS + 1)},
        "mn/t10k-labels-idx1-ubyte: row 1: the class 2 … 0, 1",
    ),
    "test: cut": (
        {"t10k_images_idx3_ubyte": idx(IMAGES)[:-1], "t10k_labels_idx1_ubyte": idx(LABELS)},
        "mn/t10k-images-idx3-ubyte: … 96 bytes … 95",
    ),
}


@pytest.mark.parametrize(("files", "expected"), IDX.values(), ids=IDX)
def test_bad_idx_files(files: dict[str, bytes | None], expected: str) -> None:
    assert_refused(check(write_idx("mn", **files)), expected)


def test_images_without_labels_are_nothing_to_learn_from() -> None:
    write_idx("mn")
    assert_refused(check("mn/train-images-idx3-ubyte"), "mn/train-images-idx3-ubyte: has no labels")


# ------------------------------------------------------------------------------------------------------- model files


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a sound model of the columns u and v with the label y."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "rows.csv").write_text(NAMED)
    plan = {
        "logging": {"file": None},
        "data": {"source": str(folder / "rows.csv"), "label": "y"},
        "teachers": {"t": {"hidden": 4, "epochs": 9, "learning_rate": 0.1, "batch_size": 4}},
        "student": {"hidden": 3, "epochs": 3, "batch_size": 4},
        "output": {"folder": str(folder / "run")},
    }
    (folder / "config.yaml").write_text(json.dumps(plan))
    answer = ask("run", "--quiet", "--config", str(folder / "config.yaml"))
    assert (answer.code, answer.lines) == (0, [])
    return (folder / "run" / "student.npz").read_bytes()


def ask_model(command: str = "evaluate", data: str = "rows.csv", model: str = "m.npz", *options: str) -> Answer:
    if not Path("rows.csv").exists():
        write("rows.csv", NAMED)
    return ask(command, "--model", model, "--data", data, *options)


def parts(raw: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    with np.load(io.BytesIO(raw)) as file:
        arrays = {name: file[name] for name in file.files if name != "model.json"}
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return json.loads(archive.read("model.json")), arrays


def assembled(header: object, arrays: Mapping[str, Array]) -> bytes:
    """A model file of these parts; a header that is bytes goes in as it is."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return zipped({"model.json": head} | {f"{name}.npy": npy(array) for name, array in arrays.items()})


Change = Callable[[dict[str, Any], dict[str, Array]], object]
HEADERS: dict[str, list[Any]] = {
    "format": [1, 3, 0, "2", None, [2], {}, 2.5],
    "sizes": [
        *(
            [],
            [2],
            [2, 3],
            [2, 3, 3],
            [2, 3, 2, 2],
            [3, 3, 2],
            "232",
            ["2", "3", "2"],
            [2.5, 3, 2],
            [2.0, 3, 2],
            [2, -3, 2],
        ),
        *([2, 0, 2], [2, 10**30, 2], [2, 10**12, 2], [[2, 3, 2]], None, 5, {}, [2, None, 2], [2, True, 2]),
    ],
    "activation": ["tanh", None, 5],
    "classes": [[], ["a"], ["a", "b", "c"], ["a", "a"], [["a"], ["b"]], "ab", 5, None, {"a": 0, "b": 1}, [None, "a"]],
    "names": [["u"], ["u", "v", "w"], ["u", "u"], [1, 2], [["u"], ["v"]], "uv", 5, {"u": 0, "v": 1}, ["u", None]],
    "label": [1.5, [], {}, True, ["y"]],
    "scale": [5, None, [], {}],
    "dropped": [[], [0], [-1], [1.5], [True], ["u"], 5, None, "ab", {"u": 0}],
}
VECTORS: dict[str, Callable[[Array], Array]] = {
    "too short": lambda a: a[:-1],
    "too long": lambda a: np.append(a, 0),
    "of two dimensions": lambda a: a[None],
    "a number": lambda a: np.array(0.0, a.dtype),
    "empty": lambda a: a[:0],
    "NaN": lambda a: a * np.nan,
    "infinite": lambda a: np.full_like(a, np.inf),
    "texts": lambda a: a.astype(str),
    "complex": lambda a: a + 1j,
    "dates": lambda a: a.astype("M8[s]"),
    "records": lambda a: np.zeros(a.shape, [("a", "f4")]),
}


@pytest.mark.parametrize("command", ["evaluate", "predict"])
@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in HEADERS.items() for value in values], ids=ascii
)
def test_a_model_with_a_wrong_header(name: str, value: object, command: str, trained: bytes) -> None:
    header, arrays = parts(trained)
    write("m.npz", assembled(header | {name: value}, arrays))
    assert_refused(ask_model(command), "m.npz: ")


@pytest.mark.parametrize("name", ["format", "sizes", "activation", "classes", "names", "label", "scale"])
def test_a_model_that_lacks_a_part_of_its_header(name: str, trained: bytes) -> None:
    header, arrays = parts(trained)
    del header[name]
    write("m.npz", assembled(header, arrays))
    assert_refused(ask_model(), "m.npz: ")


@pytest.mark.parametrize("name", ["weights", "offset", "factor", "fill"])
@pytest.mark.parametrize("change", [*VECTORS, "missing", "bytes"])
def test_a_model_with_a_wrong_array(name: str, change: str, trained: bytes) -> None:
    header, arrays = parts(trained)
    array = arrays.pop(name)
    if change in VECTORS:
        arrays[name] = VECTORS[change](array)
    raw = assembled(header, arrays)
    if change == "bytes":
        with zipfile.ZipFile(buffer := io.BytesIO(raw), "a") as archive:
            archive.writestr(name, b"hello")
        raw = buffer.getvalue()
    write("m.npz", raw)
    assert_refused(ask_model(), "m.npz: ")


@pytest.mark.parametrize(
    ("sizes", "vectors"),
    [([], ()), ([2], (2,)), ([2, 0, 2], (2,)), ([0, 2], (0,))],
    ids=["none", "one", "gap", "no input"],
)
def test_a_model_of_degenerate_sizes_that_fit_together(
    sizes: list[int], vectors: tuple[int, ...], trained: bytes
) -> None:
    header, _ = parts(trained)
    count = {0: 0, 1: 0, 2: 2, 3: 2}[len(sizes)]
    arrays = {name: np.ones(vectors) for name in ("offset", "factor", "fill")} | {"weights": np.ones(count, np.float32)}
    classes = header["classes"] if sizes else []
    write("m.npz", assembled(header | {"sizes": sizes, "classes": classes}, arrays))
    assert_refused(ask_model("predict"), "m.npz: ")


RAW_HEADERS = {
    "empty": b"",
    "a list": b"[]",
    "null": b"null",
    "a number": b"1",
    "a text": b'"x"',
    "NaN": b"NaN",
    "cut": b'{"format": 2',
    "only the format": b'{"format": 2}',
    "twice": b"{}{}",
    "deep": b"[" * 100_000,
    "5000 digits": b'{"format": ' + DIGITS.encode() + b"}",
    "Latin-1": b'{"format": "\xe9"}',
    "UTF-16": '{"format": 2}'.encode("utf-16"),
    "a pickle": b"\x80\x04N.",
}


@pytest.mark.parametrize("raw", RAW_HEADERS.values(), ids=RAW_HEADERS)
def test_a_model_whose_header_is_no_header(raw: bytes, trained: bytes) -> None:
    write("m.npz", assembled(raw, parts(trained)[1]))
    assert_refused(ask_model(), "m.npz: ")


@pytest.mark.parametrize("keep", [0, 1, 2, 4, 30, 100, 500, -200, -30, -22, -21, -1])
def test_a_model_file_cut_short(keep: int, trained: bytes) -> None:
    write("m.npz", trained[:keep])
    assert_refused(ask_model(), "m.npz: ")


@pytest.mark.parametrize(
    "model",
    ["nowhere.npz", "", ".", "/", LONG, "loop", "rows.csv", "rows.csv/x", "rows.npz", "/dev/null", "\udcff.npz"],
)
@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_what_is_no_model_file(model: str, command: str) -> None:
    np.savez("rows.npz", X=X, y=Y)
    Path("loop").symlink_to("loop")
    assert_refused(ask_model(command, "rows.csv", model), "… give a teacher.npz or student.npz")


def test_a_model_file_with_junk_around_it_is_read_or_refused(trained: bytes) -> None:
    for raw in (b"junk" + trained, trained + b"junk"):
        write("m.npz", raw)
        answer = ask_model()
        if answer.code != 0:
            assert_refused(answer, "m.npz: ")


@pytest.mark.parametrize(
    ("name", "value"), [("weights", 3e38), ("factor", 1.7e308), ("offset", 1.7e308), ("fill", 1e308)]
)
def test_a_model_of_huge_numbers_gives_no_nonsense(name: str, value: float, trained: bytes) -> None:
    header, arrays = parts(trained)
    arrays[name] = np.full_like(arrays[name], value)
    write("m.npz", assembled(header, arrays))
    answer = ask_model("predict")
    assert answer.code in (0, 4)
    assert len(answer.lines) == (answer.code != 0)
    assert "nan" not in answer.out


# ------------------------------------------------------------------------------------- little that would become a lot

HUGE = 1 << 27  # bytes, of zeros


def bomb(promised: str, size: int = HUGE) -> bytes:
    """An NPY member of so many bytes of zeros behind a header."""
    return npy_with(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {promised}, }}", b"") + bytes(size)


def packed(members: Mapping[str, bytes]) -> bytes:
    return zipped(members, zipfile.ZIP_DEFLATED)


def gzipped_idx(array: Array, shape: tuple[int, ...], more: int = 0) -> bytes:
    return gzip.compress(idx(array, shape=shape) + bytes(more), 1)


LABELLED = {"train-labels-idx1-ubyte": idx(LABELS)}
# Files by name, the command, and what is said: each within a fraction of the memory that the file could become.
BOMBS: dict[str, tuple[Callable[[bytes], dict[str, bytes]], str, str]] = {
    "no X": (lambda m: {"a.npz": packed({"x.npy": bomb(f"({HUGE},)")})}, "check", "no array 'X'; holds x"),
    "X without y": (lambda m: {"a.npz": packed({"X.npy": bomb(f"({HUGE >> 3}, 8)")})}, "check", "no labels"),
    "labels for other rows": (
        lambda m: {"a.npz": packed(SOUND | {"y.npy": bomb(f"({HUGE},)")})},
        "check",
        "y: 134217728 labels for 20 rows",
    ),
    "a test set of another width": (
        lambda m: {
            "a.npz": packed(
                SOUND | {"X_test.npy": bomb(f"({HUGE >> 3},8)"), "y_test.npy": bomb(f"({HUGE >> 3},)", HUGE >> 3)}
            )
        },
        "check",
        "X has 3 features, X_test has 8",
    ),
    "more than X promises": (
        lambda m: {"a.npz": packed(SOUND | {"X.npy": bomb("(20, 3)")})},
        "check",
        "X promises (20, 3) of uint8, … but it has 134,217,",
    ),
    "an .npy that promises more": (
        lambda m: {"a/X.npy": bomb(f"({HUGE}, 3)", 9), "a/y.npy": npy(Y)},
        "check",
        "X promises (134217728, 3) of uint8, 402,653,",
    ),
    "rows of another width": (
        lambda m: {"a.npz": packed({"X.npy": bomb(f"({HUGE >> 3}, 8)")})},
        "predict",
        "8 features",
    ),
    "images beyond the header": (
        lambda m: LABELLED | {"train-images-idx3-ubyte.gz": gzipped_idx(IMAGES, IMAGES.shape, HUGE)},
        "check",
        "its header promises 96 bytes, but it has more",
    ),
    "images that no gzip holds": (
        lambda m: LABELLED | {"train-images-idx3-ubyte.gz": gzipped_idx(IMAGES, (2**32 - 1, 28, 28))},
        "check",
        "its header promises 3,367,254,359,296 bytes, but it has at most",
    ),
    "image labels for other rows": (
        lambda m: {
            "train-images-idx3-ubyte.gz": gzipped_idx(IMAGES, IMAGES.shape),
            "train-labels-idx1-ubyte.gz": gzipped_idx(LABELS, (HUGE + 20,), HUGE),
        },
        "check",
        "134217748 labels for 20 rows",
    ),
    "weights that the layers do not have": (
        lambda m: {"m.npz": packed(members(m) | {"weights.npy": bomb(f"({HUGE},)")})},
        "model",
        "weights has the shape (134217728,); must be",
    ),
    "a header": (
        lambda m: {"m.npz": packed(members(m) | {"model.json": bytes(HUGE)})},
        "model",
        "model.json takes 134,",
    ),
    "predictions of other classes": (
        lambda m: {"said.npz": packed({"p.npy": bomb(f"({HUGE},1)")})},
        "said",
        "(134217728, 1)",
    ),
    "predictions of other rows": (
        lambda m: {"said.npz": packed({"p.npy": bomb(f"({HUGE >> 1},2)")})},
        "said",
        "67108864 rows, but the source has 20",
    ),
    "numbers of other rows": (
        lambda m: {"said.npz": packed({"p.npy": npy(np.eye(2)[Y]), "row.npy": bomb(f"({HUGE},)")})},
        "said",
        "'row' of uint8 (134217728,)",
    ),
}


def members(raw: bytes) -> dict[str, bytes]:
    """What a zip file holds."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("name", BOMBS)
def test_nothing_is_unpacked_before_names_and_sizes_are_looked_at(name: str, trained: bytes) -> None:
    make, command, expected = BOMBS[name]
    for file, raw in make(trained).items():
        write(file if "/" in file or file.endswith("npz") else f"mn/{file}", raw)
    np.savez("rows.npz", X=X, y=Y)
    source = next((path for path in ("a.npz", "a", "mn") if Path(path).exists()), "rows.npz")
    if command == "predict":
        write("m.npz", trained)
    teachers = {"teachers": {"t": {"predictions": "said.npz"}}} if command == "said" else {}
    write("config.yaml", json.dumps({"data": {"source": source}} | teachers))
    tracemalloc.start()
    answer = ask_model("predict", source) if command in ("model", "predict") else ask("check")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert_refused(answer, f"… {expected}")
    assert peak < HUGE / 8


def test_a_table_packed_beyond_belief_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    name = write("rows.csv.gz", gzip.compress(b"0,1,a\n1,0,b\n" * 10_000))
    assert check(name).code == 0
    monkeypatch.setattr("distill.system.arrays.MOST_UNPACKED", 100_000)
    assert_refused(check(name), "rows.csv.gz: unpacks to over … 100 times its size … unpack it first")


def test_what_is_not_needed_is_not_read() -> None:
    content = SOUND | {"huge.npy": bomb(f"({HUGE},)"), "objects.npy": b"\x93NUMPY torn", "notes.txt": b"hello"}
    write("rows.npz", packed(content))
    tracemalloc.start()
    answer = check("rows.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (answer.code, answer.lines) == (0, [])
    assert peak < HUGE / 8


def test_arrays_beyond_this_machine_s_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez("rows.npz", X=X, y=Y)
    monkeypatch.setattr(arrays, "_memory", lambda: X.nbytes)
    assert_refused(check("rows.npz"), "rows.npz: X and y would take … memory; give fewer rows, or a folder of X.npy")
    write("rows.csv", gzip.compress(GOOD.encode() * 10))
    assert_refused(check("rows.csv"), "rows.csv: what it holds would take … memory; give fewer rows")


# ---------------------------------------------------------------------------------------------------------- new rows

NEW: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "new.csv: no rows"),
    "only a header": ("u,v\n", "new.csv: no rows"),
    "a column fewer": ("u,y\n1,a\n", "new.csv: … column … 'v'"),
    "a column misspelt": ("u,V,y\n1,2,a\n", "new.csv: … column … 'v'"),
    "other columns": ("a,b\n1,2\n", "new.csv: … column … 'u'"),
    "too few numbers": ("1\n", "new.csv: 1 column, … 2 features"),
    "too many numbers": ("1,2,3,4\n", "new.csv: 4 columns, … 2 features"),
    "NaN": ("u,v\n1,nan\n", "new.csv: line 2, column 1 ('v'): nan"),
    "a text": ("v,u\n1,x\n", "new.csv: line 2, column 1 ('u'): 'x' is a text"),
    "a text among other columns": ("w,v,z,u\n?,1,?,x\n", "new.csv: line 2, column 3 ('u'): 'x' is a text"),
    "ragged": ("u,v\n1,2\n1\n", "new.csv: line 3: … but the header has"),
    "a name twice": ("u,v,u\n1,2,3\n", "new.csv: line 1: the column name 'u' stands twice"),
    "too large": ("u,v\n1,2\n1,1e300\n", "new.csv: line 3, column 1 ('v') … 1e+300"),
    "far too large": ("u,v\n1.7e308,1.7e308\n1.7e308,-1.7e308\n", "new.csv: line 2, column 0 ('u')"),
    "bad UTF-8": (b"u,v\n1,\xff\n", "new.csv: line 2: byte 0xff"),
    "a quote left open": ('u,v\n1,"2\n', "new.csv: line 2"),
    "gzip cut short": (gzip.compress(b"u,v\n1,2\n")[:-4], "new.csv: cannot be read"),
}


@pytest.mark.parametrize("command", ["predict", "evaluate"])
@pytest.mark.parametrize(("content", "expected"), NEW.values(), ids=NEW)
def test_bad_new_rows(content: str | bytes, expected: str, command: str, trained: bytes) -> None:
    write("m.npz", trained)
    if command == "evaluate" and isinstance(content, str) and content.startswith(("u,v\n", "v,u\n")):
        head, *lines = content.split("\n")
        content = "\n".join([f"{head},y", *(f"{line},a" if line else line for line in lines)])
    assert_refused(ask_model(command, write("new.csv", content)), expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("u,v,y\n1,2,a\n1,2,c\n", "new.csv: line 3, column 2 ('y'): the class 'c' … a, b"),
        ("u,v,y\n1,2,A\n", "new.csv: line 2, column 2 ('y'): the class 'A' … a, b"),
        ("u,v,y\n1,2,\n", "new.csv: line 2, column 2 ('y'): the label is missing"),
        ("u,v\n1,2\n", "new.csv: … no labels"),
        ("1,2\n", "new.csv: … no labels"),
        ("1,2,c\n", "new.csv: "),
    ],
)
def test_bad_labels_of_new_rows(content: str, expected: str, trained: bytes) -> None:
    write("m.npz", trained)
    assert_refused(ask_model("evaluate", write("new.csv", content)), expected)


# --label wins over what the model knows, so it must not be passed over in silence either.
@pytest.mark.parametrize("data", ["rows.csv", "plain.csv"])
@pytest.mark.parametrize("label", ["class", "Y", "9", "-4", "²", "--5", "-", "1.5", DIGITS, "u v", "\x1b[31m"])
def test_a_label_that_is_not_there(label: str, data: str, trained: bytes) -> None:
    write("m.npz", trained)
    write("plain.csv", GOOD)
    answer = ask_model("evaluate", data, "m.npz", f"--label={label}")
    assert_refused(answer, f"… {label[:20]}" if label.isprintable() else "", (2, 4))


@pytest.mark.parametrize("label", ["u", "0"])
def test_a_label_that_is_a_feature(label: str, trained: bytes) -> None:
    write("m.npz", trained)
    assert_refused(ask_model("evaluate", "rows.csv", "m.npz", f"--label={label}"), "rows.csv: … !no labels", (2, 4))


def test_a_label_for_what_is_no_csv_file(trained: bytes) -> None:
    write("m.npz", trained)
    np.savez("rows.npz", X=X[:, :2], y=np.array(["a", "b"])[Y])
    assert ask_model("evaluate", "rows.npz").code == 0
    assert_refused(ask_model("evaluate", "rows.npz", "m.npz", "--label=y"), "… label … CSV", (2, 4))


@pytest.mark.parametrize("data", ["nowhere.csv", LONG, "", ".", "loop", "m.npz", "rows.csv/x", "/dev/null", "\udcff"])
@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_new_rows_that_are_not_there(data: str, command: str, trained: bytes) -> None:
    write("m.npz", trained)
    Path("loop").symlink_to("loop")
    assert_refused(ask_model(command, data), "")


def test_new_rows_of_another_width(trained: bytes) -> None:
    write("m.npz", trained)
    np.savez("rows.npz", X=X, y=Y)
    assert_refused(ask_model("predict", "rows.npz"), "rows.npz: 3 features … 2")
    assert_refused(ask_model("evaluate", write_idx("mn")), "mn: 4 features … 2")


def test_the_file_that_a_model_was_trained_on_can_be_judged_without_naming_its_label() -> None:
    # The label was the last column because none was named; the same holds for the same file afterwards.
    write("rows.csv", NAMED)
    plan = "logging: {file: null}\ndata: {source: rows.csv}\noutput: {folder: run}\ndistillation: {teacher_hidden: 4, "
    write("config.yaml", plan + "teacher_epochs: 9, student_epochs: 1, learning_rate: 0.1, batch_size: 4}\n")
    assert ask("run", "--quiet")[::2] == (0, [])
    assert ask("evaluate", "--model", "run/teacher.npz", "--data", "rows.csv")[::2] == (0, [])


@pytest.mark.parametrize(
    "output", [".", "", LONG, "loop", "rows.csv", "./rows.csv", "m.npz", "rows.csv/x", "shared/only.csv", "link.csv"]
)
def test_predictions_that_cannot_be_written(output: str, trained: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    write("m.npz", trained)
    write("rows.csv", NAMED)
    write("shared/only.csv", NAMED)
    Path("loop").symlink_to("loop")
    Path("link.csv").symlink_to("rows.csv")
    monkeypatch.setenv("DISTILL_DATA", "shared")
    data = "only.csv" if output == "shared/only.csv" else "rows.csv"
    answer = ask_model("predict", data, "m.npz", "--output", output)
    assert (Path("rows.csv").read_text(), Path("shared/only.csv").read_text()) == (NAMED, NAMED), (
        "data were overwritten"
    )
    assert Path("m.npz").read_bytes() == trained
    assert_refused(answer, "", (5,))


# ---------------------------------------------------------------------------------------------- whatever comes to mind


@st.composite
def damaged(draw: st.DrawFn, raw: bytes, extra: tuple[bytes, ...] = ()) -> bytes:
    """The bytes with one to three places overwritten, cut out or put in; sometimes cut short."""
    pieces = st.binary(min_size=1, max_size=4)
    if extra:
        pieces |= st.sampled_from(extra)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(raw)))
        piece = draw(st.just(b"") | pieces)
        raw = raw[:start] + piece + raw[start + draw(st.sampled_from([0, 1, len(piece), len(piece), 3])) :]
    return raw[: draw(st.integers(0, len(raw)))] if draw(st.integers(0, 9)) == 0 else raw


def assert_used_or_refused(answer: Answer, start: str) -> None:
    assert answer.code in (0, 4), answer
    if answer.code == 4:
        assert_refused(answer, start)
    else:  # a field may have become empty, which is mentioned
        assert answer.lines == [] or (len(answer.lines) == 1 and " empty fields count as " in answer.lines[0])


@FUZZ
@given(st.data())
def test_a_damaged_model_file(trained: bytes, data: st.DataObject) -> None:
    write("m.npz", data.draw(damaged(trained)))
    assert_used_or_refused(ask_model("predict"), "")


@FUZZ
@given(st.data())
def test_a_model_file_of_damaged_parts(trained: bytes, data: st.DataObject) -> None:
    # Its checksums are right again, so that the damage reaches what reads the parts.
    with zipfile.ZipFile(io.BytesIO(trained)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = data.draw(st.sampled_from(sorted(members)))
    words = (
        b"null",
        b"[]",
        b"{}",
        b"-1",
        b"1e999",
        b"0",
        b'"',
        b",",
        b"(",
        b"'",
        b"True",
        b"|O8",
        b"<U4",
        b">f4",
        b"<c8",
    )
    write("m.npz", zipped(members | {name: data.draw(damaged(members[name], words))}))
    assert_used_or_refused(ask_model("predict"), "")


@FUZZ
@given(st.data())
def test_a_damaged_npz_file(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([None, "X.npy", "y.npy"]))
    raw = data.draw(damaged(zipped(SOUND))) if name is None else zipped(SOUND | {name: data.draw(damaged(SOUND[name]))})
    assert_used_or_refused(check(write("rows.npz", raw)), "rows.npz")


@FUZZ
@given(damaged(idx(IMAGES)) | damaged(gzip.compress(idx(IMAGES), mtime=0)), damaged(idx(LABELS)) | st.just(idx(LABELS)))
def test_damaged_idx_files(images: bytes, labels: bytes) -> None:
    folder = write_idx("mn", train_images_idx3_ubyte=images, train_labels_idx1_ubyte=labels)
    assert_used_or_refused(check(folder), "mn")


@settings(FUZZ, max_examples=250)
@given(
    damaged(NAMED.encode(), (b",", b"\n", b'"', b"\r", b"\0", b";", b"e", b"-", b".", b"nan", b"\t", b"\x85", b"\v"))
)
def test_a_damaged_csv_file(raw: bytes) -> None:
    assert_used_or_refused(check(write("rows.csv", raw), label="y", header=True), "rows.csv")
