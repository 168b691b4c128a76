"""Data: every kind of file, classes and back, the split, the scaling. Bad files: test_hostile_data."""

import gzip
import struct
import tracemalloc
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import blobs, held
from distill import config, data
from distill.data.scaling import Scaling, fit
from distill.data.source import DIGITS
from distill.data.split import stratified
from distill.errors import DataError
from distill.nn import metrics
from distill.nn.vector import Array


def load(source: str | Path, *, ratio: float = 0.8, most: int | None = None, seed: int = 0, **keys: Any) -> data.Data:
    return data.load(config.load({"data": {"source": str(source), **keys}}).data, ratio, most, seed)


def test_the_embedded_digits_are_the_known_ones() -> None:
    """Row, class and pixel counts of the 1,797 test images as the UCI repository and scikit-learn give them."""
    with np.load(DIGITS) as file:
        x, y = file["X"], file["y"]
    assert (x.shape, x.dtype, int(x.min()), int(x.max()), int(x.sum())) == ((1797, 8, 8), np.uint8, 0, 16, 561_718)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert x[0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert DIGITS.stat().st_size < 60_000


def test_digits_load_split_and_scaled() -> None:
    digits = load("digits")
    assert (len(digits.train), len(digits.validation), digits.test) == (1438, 359, None)
    assert digits.classes == tuple(range(10))
    assert digits.scaling.kind == "pixels"
    assert (held(digits.train).min(), held(digits.train).max(), digits.train.x.dtype.name) == (0, 1, "float32")


# --- files ------------------------------------------------------------------------------------------------------------

X, Y = blobs()


def as_csv(labels: list[str], *, header: str = "", delimiter: str = ",", first: bool = False) -> str:
    rows = [[f"{v:.17g}" for v in row] for row in X]
    lines = [delimiter.join([c, *row] if first else [*row, c]) for row, c in zip(rows, labels, strict=True)]
    return "\n".join(([header] if header else []) + lines) + "\n"


PLAIN = [str(c) for c in Y]
CSVS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": (as_csv(PLAIN), {}),
    "label first": (as_csv(PLAIN, first=True), {"label": 0}),
    "label counted from the end": (as_csv(PLAIN), {"label": -1}),
    "header": (as_csv(PLAIN, header="a,b,c,d,kind"), {}),
    "label by name": (as_csv(PLAIN, header="kind,a,b,c,d", first=True), {"label": "kind"}),
    "header said": (as_csv(PLAIN, header="1,2,3,4,5"), {"header": True}),
    "no header said": (as_csv(PLAIN), {"header": False}),
    "semicolons": (as_csv(PLAIN, delimiter=";"), {}),
    "tabs": (as_csv(PLAIN, delimiter="\t", header="a\tb\tc\td\tkind"), {}),
    "bars": (as_csv(PLAIN, delimiter="|", header="a|b|c|d|kind"), {}),
    "more commas in names than semicolons": (
        as_csv(PLAIN, delimiter=";", header='"a, in cm, of 5";"b, in, kg";"c, ,";d,;kind'),
        {},
    ),
    "a separator that Excel is told": (as_csv(PLAIN, delimiter=";", header="sep=;\na;b;c;d;kind"), {}),
    "quoted": (as_csv([f'"{c}"' for c in PLAIN], header='"a, the first","b ""2""",c,d,kind'), {}),
    "windows": ("\ufeff" + as_csv(PLAIN).replace("\n", "\r\n"), {}),
    "blank lines": (as_csv(PLAIN).replace("\n", "\n\n"), {}),
    "spaces": (as_csv([f" {c} " for c in PLAIN]).replace(",", " , "), {}),
}


@pytest.mark.parametrize("name", CSVS)
def test_every_spelling_of_a_csv_is_the_same_data(tmp_path: Path, name: str) -> None:
    text, keys = CSVS[name]
    path = tmp_path / "rows.csv"
    path.write_text(text, encoding="utf-8", newline="")
    np.savez(tmp_path / "rows.npz", X=X, y=Y)
    expected, found = load(tmp_path / "rows.npz"), load(path, **keys)
    np.testing.assert_array_equal(found.train.x, expected.train.x)
    np.testing.assert_array_equal(found.train.y, expected.train.y)
    assert found.classes == (0, 1, 2)


def test_a_gzipped_csv_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(as_csv(PLAIN).encode()))
    assert len(load(tmp_path / "rows.csv.gz").train) == 96


WORDS, NUMBERS = ("red", "green", "blue"), ("0", "1", "2")
ASKS = "line 1 can be a header (names {names}) or a row (class '{label}'); set data.header: true or false"
# The first line, the labels below it, and what it is: a header, a row, or a question (or a fault, told as such).
FIRST: dict[str, tuple[str, tuple[str, ...], str]] = {
    "names": ("a,b,c,d,kind", WORDS, "header"),
    "names above numbers": ("a,b,c,d,kind", NUMBERS, "header"),
    "an index without a name": (",b,c,d,kind", WORDS, "header"),
    "names, one of them a year": ("a,2019,c,d,kind", WORDS, "header"),
    "what pandas counts": ("0,1,2,3,4", WORDS, "header"),
    "what pandas counts, above numbers": ("0,1,2,3,4", NUMBERS, "header"),
    "what pandas counts beside its index": (",0,1,2,3", NUMBERS, "header"),
    "what pandas counts, or a row of class 4": ("0,1,2,3,4", ("3", "4"), ASKS),
    "names, but a class and a number": ("a,b,c,4,red", WORDS, ASKS),
    "what pandas counts, with a named label": ("0,1,2,3,kind", NUMBERS, "header"),
    "what pandas counts, or a row of class 1": ("0,1,2,3,1", NUMBERS, "row"),
    "counted from 1": ("1,2,3,4,5", NUMBERS, "header"),
    "counted from 1, or a row of class 5": ("1,2,3,4,5", ("3", "5"), ASKS),
    "no values, or names": ("unknown,missing,n.d.,n.a.,red", WORDS, ASKS),
    "no values, or names, some alike": ("unknown,unknown,n.d.,n.a.,red", WORDS, ASKS),
    "some alike, below which nothing recurs": ("unknown,unknown,n.d.,n.a.,", WORDS, ASKS),
    "some alike, and a rare class": ("unknown,unknown,n.d.,n.a.,rare", (*WORDS * 60, "rare"), ASKS),
    "infinite": ("inf,-inf,inf,-Infinity,red", WORDS, "line 1, column 0: inf is NaN or infinite"),
    "years": ("2019,2020,2021,2022,species", WORDS, ASKS),
    "years above numbers": ("2019,2020,2021,2022,species", NUMBERS, ASKS),
    "years, the last of them the label": ("2019,2020,2021,2022,2023", NUMBERS, ASKS),
    "an odd field, and a label like no other": ("1,two,3,4,kind", WORDS, ASKS),
    "an odd field": ("1,two,3,4,red", WORDS, "line 1, column 1: 'two' is a text in a numeric column"),
    "a question mark": ("?,2,3,4,red", WORDS, "line 1, column 0: '?' is a text in a numeric column"),
    "NA, and two numbers alike": ("NA,2,2,4,red", WORDS, "line 1, column 0: 'NA' is a text in a numeric column"),
    "nothing": (",2,3,4,red", WORDS, "row"),
    "numbers": ("1,2,3,4,red", WORDS, "row"),
    "whole numbers above others": ("1,2,3,4,1", ("0.0", "1.0"), "row"),
    "a letter among numbers": ("1,2,3,4,A", ("1", "2", "A"), "row"),
    "without a label": ("1,2,3,4,", WORDS, "row"),
    "a label that comes again far below": ("1,2,3,4,rare", (*WORDS * 60, "rare"), "row"),
}


@pytest.mark.parametrize(("first", "labels", "expected"), FIRST.values(), ids=FIRST)
def test_whether_the_first_line_is_a_header_is_decided_by_evidence_and_said(
    tmp_path: Path, first: str, labels: tuple[str, ...], expected: str
) -> None:
    path, rows = tmp_path / "rows.csv", max(30, len(labels))
    below = "".join(f"{i / 8},{i * 5 % 7 - 0.5},{i * 3 % 11},{-i},{labels[i % len(labels)]}\n" for i in range(rows))
    path.write_text(f"{first}\n{below}")
    if expected not in ("header", "row"):
        with pytest.raises(DataError) as error:
            load(path)
        assert expected.format(names=first.replace(",", ", "), label=first.rpartition(",")[2]) in str(error.value)
        return
    found = load(path)
    assert (found.source_rows, found.names is None) == ((rows, False) if expected == "header" else (rows + 1, True))
    assert any("line 1 is read as" in note and expected in note and "data.header" in note for note in found.notes)
    told = load(path, header=expected == "header")
    assert (told.source_rows, told.names) == (found.source_rows, found.names)
    assert not any("is read as the header" in note or "is read as a row," in note for note in told.notes)


@pytest.mark.parametrize(
    ("first", "below", "asks"),
    [
        ("0,1,2", "{0}.25,{0}.5,{1}", True),
        ("1,2,3", "{0}.25,{0}.5,{1}", None),
        ("0,1", "{0}.25,{1}", True),
        ("0,1", "{0},{1}", False),
        ("0,kind", "{0}.25,{1}", True),
        ("0,0,1", "{0},{0}.5,{1}", False),
    ],
)
def test_few_columns_that_are_counted_may_have_a_header(tmp_path: Path, first: str, below: str, asks: Any) -> None:
    """None: a header, as its last name is no class."""
    path = tmp_path / "rows.csv"
    path.write_text("\n".join([first, *(below.format(i % 9, i % 3) for i in range(60))]))
    if asks:
        with pytest.raises(DataError, match="line 1 can be a header"):
            load(path)
        return
    assert load(path).source_rows == (60 if asks is None else 61)


@pytest.mark.parametrize("empty", [",,,,\n", ", ,,,\n", '"",,,,\n', ",,,,,,\n"])
@pytest.mark.parametrize("header", ["", "a,b,c,d,kind\n"])
def test_rows_of_separators_alone_are_left_out_and_counted(tmp_path: Path, empty: str, header: str) -> None:
    (tmp_path / "plain.csv").write_text(as_csv(PLAIN, header=header.strip()))
    lines = as_csv(PLAIN).splitlines(keepends=True)
    (tmp_path / "rows.csv").write_text(header + "".join(lines[:30]) + empty + "".join(lines[30:]) + 250 * empty)
    plain, found = load(tmp_path / "plain.csv"), load(tmp_path / "rows.csv")
    np.testing.assert_array_equal(found.train.x, plain.train.x)
    (note,) = set(found.notes) - set(plain.notes)
    assert note == f"251 rows of separators alone are left out (line {31 + bool(header)}, ...)"
    if empty != ",,,,,,\n":  # new rows keep their places: only those at the end are left out
        new = data.read_new(str(tmp_path / "rows.csv"), plain.scaling, plain.names, plain.label)
        assert (len(new.x), bool(np.isnan(new.x[30]).all())) == (len(lines) + 1, True)
        assert any("250 rows of separators alone" in note for note in new.notes)


def test_columns_of_true_and_false_are_1_and_0_and_said(tmp_path: Path) -> None:
    rows = [
        f"{v[0]:.3f},{['True', 'False', ''][i % 3]},{['TRUE', 'false'][i % 2]},{y}"
        for i, (v, y) in enumerate(zip(X, Y, strict=True))
    ]
    (tmp_path / "rows.csv").write_text("a,new,old,kind\n" + "\n".join(rows))
    found = load(tmp_path / "rows.csv", scale="none")
    x = np.concatenate([held(found.train), held(found.validation)])[
        np.argsort(np.concatenate([found.train.ids, found.validation.ids]))
    ]
    assert x[:, 2].tolist() == [1, 0] * 60
    assert x[0::3, 1].tolist() == [1] * 40
    assert x[1::3, 1].tolist() == [0] * 40
    assert found.missing == 40
    assert any("1 and 0" in note and "'new'" in note and "'old'" in note for note in found.notes)


def test_a_csv_becomes_numbers_block_by_block(tmp_path: Path) -> None:
    """Whatever the number of rows, few of them are texts at a time."""
    path = tmp_path / "rows.csv"
    line = ",".join(f"{i}.{i}{i}" for i in range(10))
    path.write_text("".join(f"{line},{'ab'[i % 2]}\n" for i in range(20_000)))
    plan = config.load({"data": {"source": str(path)}}).data
    tracemalloc.start()
    try:
        found = data.read(plan)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.rows.x.shape == (20_000, 10)
    assert peak < 8 * path.stat().st_size


def test_wide_tables_take_time_in_proportion_to_their_columns(tmp_path: Path) -> None:
    names = [f"gene_{i}" for i in range(40_000)]
    for file, order in (("train.csv", names), ("test.csv", names[::-1])):
        rows = [[str(int(name[5:]) * 7 % (11 + i)) for name in order] + ["ab"[i % 2]] for i in range(6)]
        (tmp_path / file).write_text("\n".join(map(",".join, [[*order, "kind"], *rows])))
    started = process_time()
    found = load(tmp_path / "train.csv", test=str(tmp_path / "test.csv"))
    new = data.read_new(str(tmp_path / "test.csv"), found.scaling, found.names, found.label)
    assert process_time() - started < 5
    np.testing.assert_array_equal(new.x[:, :3], [[i * 7 % (11 + k) for i in range(3)] for k in range(6)])
    with pytest.raises(DataError, match=r"no column 'Kind'.* did you mean 'kind'\?") as error:
        load(tmp_path / "train.csv", label="Kind")
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "ü, \"x\""], ("a", "b", "ü, \"x\"")),
        (["10", "9", "-1"], (-1, 9, 10)),
        (["01", "1", "2"], ("01", "1", "2")),
        (["1.0", "2e0", "+3"], (1, 2, 3)),
        (["1", "1_000", "2"], ("1", "1_000", "2")),
        (["yes", "no", "true"], ("no", "true", "yes")),
    ],
)  # fmt: skip
def test_labels_of_any_kind_map_to_classes_and_back(
    tmp_path: Path, labels: list[str], classes: tuple[Any, ...]
) -> None:
    path = tmp_path / "rows.csv"
    quoted = ['"' + label.replace('"', '""') + '"' for label in labels]
    path.write_text(as_csv([quoted[i] for i in Y]), encoding="utf-8")
    found = load(path)
    assert found.classes == classes
    back = [data.spelled(found.classes[i]) for i in np.concatenate([found.train.y, found.validation.y])]
    assert sorted(back) == sorted(data.spelled(labels[i]) for i in Y)


@pytest.mark.parametrize(
    "y",
    [
        Y,
        Y.astype(np.uint8),
        Y.astype(np.float32),
        Y == 1,
        np.array(["a", "b", "c"])[Y],
        np.array([b"a", b"b", b"c"])[Y],
    ],
)
def test_npz_labels_of_any_kind(tmp_path: Path, y: Array) -> None:
    np.savez(tmp_path / "rows.npz", X=X.reshape(120, 2, 2), y=y, X_test=X[:7].reshape(7, 2, 2), y_test=y[:7])
    found = load(tmp_path / "rows.npz")
    assert found.test is not None
    assert (found.features, len(found.test)) == (4, 7)
    assert [data.spelled(found.classes[i]) for i in found.test.y] == list(map(data.spelled, y[:7]))


# --- what a label means -----------------------------------------------------------------------------------------------

FRUIT = np.array(["apple", "fig", "pear"])
# How another program may write the labels of Y -> what they are.
SPELLINGS: dict[str, Any] = {
    "floats": [f"{c}.0" for c in Y],
    "mixed": [(f"{c}", f"{c}.", f"{c}.00", f"+{c}", f"{c}e0", f" {c} ")[i % 6] for i, c in enumerate(Y)],
    "npz of float32": Y.astype(np.float32),
    "npz of texts": np.array([f"{c}.0" for c in Y]),
    "npz of bytes": np.array([f"{c}".encode() for c in Y]),
    "npz of both": np.where(np.arange(len(Y)) % 2, [f"{c}" for c in Y], [f"{c}.0" for c in Y]),
    "npz in a column": Y[:, None],
}


def doubts(found: data.Data) -> list[str]:
    """The notes on labels and columns, not those on how the file was read."""
    return [note for note in found.notes if "header" not in note]


def written(folder: Path, labels: Any, name: str = "rows") -> Path:
    """A list of texts as the last column of a CSV, an array as y of an NPZ."""
    path = folder / f"{name}.{'csv' if isinstance(labels, list) else 'npz'}"
    if isinstance(labels, list):
        path.write_text(as_csv(labels), encoding="utf-8")
    else:
        np.savez(path, X=X, y=labels)
    return path


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("other", ["floats", "npz of float32", "npz of texts"])
def test_a_whole_number_is_one_label_however_it_is_written(tmp_path: Path, spelling: str, other: str) -> None:
    test = written(tmp_path, SPELLINGS[other], "test")
    found = load(written(tmp_path, SPELLINGS[spelling]), test=str(test))
    assert found.classes == (0, 1, 2)
    assert all(type(one) is int for one in found.classes)
    assert found.test is not None
    np.testing.assert_array_equal(found.raw.rows.y, Y)
    np.testing.assert_array_equal(found.test.y, Y)
    new = data.read_new(str(test), found.scaling, None, 4)
    for classes in (found.classes, (0.0, 1.0, 2.0), ("0", "1.0", "2")):  # of this model, and of older ones
        np.testing.assert_array_equal(data.class_numbers(new, classes), Y)


def test_a_half_labelled_column_as_pandas_writes_it_is_of_whole_numbers(tmp_path: Path) -> None:
    half = ["" if i % 3 else f"{c}.0" for i, c in enumerate(np.arange(120) // 40)]
    found = load(written(tmp_path, half))
    assert (found.classes, int((found.train.y < 0).sum()), doubts(found)) == ((0, 1, 2), 80, [])


@given(st.integers(-(10**17), 10**17), st.sampled_from(["{}", "{}.0", " {}.\xa0", "{}e0"]))
def test_a_number_has_one_spelling(number: int, form: str) -> None:
    text = form.format(number)
    assert data.spelled(text) == data.spelled(np.str_(text)) == data.spelled(number) == str(number)
    assert data.spelled(np.int64(number)) == str(number)
    if abs(number) < 2**24:
        assert data.spelled(float(number)) == data.spelled(np.float32(number)) == str(number)


@pytest.mark.parametrize(
    "text", ["03", "1_000", "1,0", "0x1", "1.5", "٣", "1e400", "9" * 30, "-", "1 0", "1.0.0", "True"]
)
def test_other_texts_stay_what_they_are(text: str) -> None:
    assert data.spelled(text) == text


@pytest.mark.parametrize("kind", ["csv", "npz", "bytes"])
def test_classes_that_look_alike_are_one_and_a_note_says_so(tmp_path: Path, kind: str) -> None:
    alike = (
        "cafe\u0301",
        " caf\xe9",
        "caf\xe9\xa0",
        "\u2009caf\xe9\u200b",
        "\u200ecaf\xe9",
        "ca\xadf\u200de\u200c\u0301",
    )
    odd = dict(zip(range(0, 42, 7), alike, strict=True))  # one of seven is "café"
    labels = [odd.get(i, ("caf\xe9", *"abcdef")[i % 7]) for i in range(120)]
    given: Any = {"csv": [f'"{one}"' for one in labels], "npz": np.array(labels)}.get(kind)
    found = load(written(tmp_path, np.char.encode(np.array(labels), "utf-8") if given is None else given))
    assert found.classes == (*"abc", "caf\xe9", *"def")
    (note,) = doubts(found)
    assert "7 spellings are taken for 1 class" in note
    assert "6 rows" in note
    for other in alike:
        assert data.spelled(other) == data.spelled("caf\xe9") == "caf\xe9"


def test_a_column_is_named_without_what_nobody_sees(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(as_csv(PLAIN, header="a,b,c\u200b,d,\u200eki\xadnd"), encoding="utf-8")
    found = load(tmp_path / "rows.csv", label="kind", drop=["c"])
    assert (found.label, found.names) == ("kind", ("a", "b", "d"))


@pytest.mark.parametrize(("pair", "alike"), [("Fig fig", True), ("new_york new__york", False), ("a\xa0b ab", True)])
def test_classes_that_differ_by_case_or_inner_space_stay_two_with_a_warning(
    tmp_path: Path, pair: str, *, alike: bool
) -> None:
    names = [*pair.split(" "), "pear"]
    found = load(written(tmp_path, np.array(names)[Y]))
    assert sorted(found.classes) == sorted(names)
    assert ["differ only by case or white space" in note for note in doubts(found)] == [True] * alike


@pytest.mark.parametrize("word", ["NA", "nan", "?", "NULL", "none"])
def test_a_word_for_what_is_missing_is_a_class_with_a_warning_until_it_is_named(tmp_path: Path, word: str) -> None:
    path = written(tmp_path, [word if i % 10 == 0 else FRUIT[c] for i, c in enumerate(Y)])
    found = load(path)
    assert word in found.classes
    (note,) = doubts(found)
    assert f"data.unlabelled_label: '{word}'" in note
    named = load(path, unlabelled_label=word)
    assert named.classes == tuple(FRUIT)
    assert (named.train.y < 0).sum() == 12
    assert (named.validation.y >= 0).all()


# The labels, the key, and how many rows then have none; None where nothing is said.
MARKS: dict[str, tuple[Any, Any, int | None]] = {
    "-1 beside three": (np.where(Y == 0, -1, np.arange(120) % 4), "auto", 40),
    "-1 in floats": (np.where(Y == 0, -1.0, Y), "auto", 40),
    "-1 and 1": (np.where(Y == 0, -1, 1), "auto", None),
    "-1 among other negatives": (Y - 2, "auto", None),
    "-1 in texts": (np.array(["-1", "a", "b"])[Y], "auto", None),
    "-1 with null": (Y - 1, None, None),
    "-1 in a csv": ([str(c - 1) for c in Y], "auto", 0),
    "-1 in a csv, named": ([str(c - 1) for c in Y], -1, 40),
    "a number": (Y, 2, 40),
    "a number in floats": (Y.astype(float), "2", 40),
    "a text": ([FRUIT[c] for c in Y], "fig ", 40),
    "what is not there": (Y, 99, 0),
}


@pytest.mark.parametrize("name", MARKS)
def test_which_label_says_that_there_is_none(tmp_path: Path, name: str) -> None:
    labels, key, count = MARKS[name]
    found = load(written(tmp_path, labels), unlabelled_label=key)
    assert int((found.train.y < 0).sum()) == (count or 0)
    assert (found.validation.y >= 0).all()
    assert [("unlabelled_label" in note) and (f"{count} rows" in note or not count) for note in doubts(found)] == [
        True
    ] * (count is not None)


def test_a_judged_row_of_the_label_for_none_is_refused(tmp_path: Path) -> None:
    path, test = written(tmp_path, Y - 1), written(tmp_path, Y - 1, "test")
    with pytest.raises(DataError, match=r"test\.npz: y\[0\]: the label is missing"):
        load(path, test=str(test))
    found = load(path)
    with pytest.raises(DataError, match=r"the label is missing"):
        data.class_numbers(data.read_new(str(test), found.scaling, None, None), found.classes)
    assert load(path, test=str(test), unlabelled_label=None).classes == (-1, 0, 1)


# --- columns that are no features -------------------------------------------------------------------------------------

# A further column in front, its name, and what is said of it.
ODD_COLUMNS: dict[str, tuple[Any, str | None, str]] = {
    "pandas' index": (np.arange(120), "", "column 0 ('') has no name and counts the rows"),
    "a shuffled index": (np.arange(120)[::-1], "", "column 0 ('') has no name and numbers the rows"),
    "an index that was read and written": (np.arange(120) + 5, "Unnamed: 0", "numbers the rows"),
    "from 1": (np.arange(1, 121), "a", "column 0 ('a') counts the rows"),
    "without a header": (np.arange(120), None, "column 0 counts the rows"),
    "an id": (np.arange(120) * 7919 % 1009, "customer_id", "column 0 ('customer_id') numbers the rows"),
    "the label": (Y * 2.5 + 1, "a", "column 0 ('a') equals the label, one to one"),
    "row numbers from 1000": (np.arange(1000, 1120), None, "column 0 numbers the rows"),
    "row numbers, shuffled": (np.arange(120) * 7 % 120, None, "column 0 numbers the rows"),
    "row numbers with gaps": (np.delete(np.arange(160), np.s_[::4]), "a", "column 0 ('a') numbers the rows"),
    "the label, missing here and there": (
        np.where(np.arange(120) % 40 == 0, np.nan, Y),
        "a",
        "column 0 ('a') equals the label, one to one",
    ),
    "what is called a label": (np.sin(np.arange(120)), "Species", "column 0 ('Species') is called Species"),
    "a value in one class alone": (np.where(Y == 1, 3, np.nan), "a", "1 constant feature: a;"),
    "a constant": (np.full(120, 3), "a", "1 constant feature: a; to leave it out set data.drop: [0]"),
    "a constant without a header": (np.full(120, 3), None, "1 constant feature: column 0; to"),
    "a constant that a number names": (np.full(120, 3), "7", "1 constant feature: column 0 ('7'); to"),
    "a measurement": (np.arange(120) ** 1.5, "a", ""),
    "a whole measurement": (np.arange(120) * 7919 % 1009, "a", ""),
    "nearly the label": (np.where(np.arange(120) == 50, 9, Y), "a", ""),
    "what two classes share": (Y == 2, "a", ""),
}


@pytest.mark.parametrize("name", ODD_COLUMNS)
def test_a_column_that_may_be_no_feature_is_named_and_can_be_dropped(tmp_path: Path, name: str) -> None:
    column, title, expected = ODD_COLUMNS[name]
    header = "" if title is None else f"{title},b,c,d,e,kind"
    (tmp_path / "plain.csv").write_text(as_csv(PLAIN))
    lines = as_csv(PLAIN).splitlines()
    rows = [f"{'' if np.isnan(value) else f'{value:g}'},{line}" for value, line in zip(column, lines, strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join([header, *rows] if header else rows))
    found = load(tmp_path / "rows.csv", header=title is not None)
    assert [expected in note and "data.drop" in note for note in doubts(found)] == [True] * bool(expected)
    without = load(tmp_path / "rows.csv", header=title is not None, drop=[0])
    assert (doubts(without), without.names) == ([], tuple("bcde") if header else None)
    np.testing.assert_array_equal(without.train.x, load(tmp_path / "plain.csv").train.x)


def test_many_constant_features_are_counted_and_the_first_named(tmp_path: Path) -> None:
    rows = "".join(f"1,2,3,4,5,6,{line}\n" for line in as_csv(PLAIN).splitlines())
    (tmp_path / "rows.csv").write_text(rows)
    (note,) = doubts(load(tmp_path / "rows.csv", header=False))
    assert (
        note
        == "6 constant features: " + "".join(f"column {i}, " for i in range(5)) + "...; to leave them out set data.drop"
    )


def test_a_feature_of_many_rows_that_equals_the_label_but_once_is_no_label(tmp_path: Path) -> None:
    y = np.arange(4000) % 3
    x = np.c_[np.random.default_rng(0).normal(size=4000), y, y]
    x[1, 1] = 7
    np.savez(tmp_path / "rows.npz", X=x, y=y)
    assert [note.partition(": ")[2] for note in doubts(load(tmp_path / "rows.npz"))] == [
        "feature 2 equals the label, one to one"
    ]


def test_a_few_values_may_equal_the_label_by_chance(tmp_path: Path) -> None:
    rows = [
        f"{c if i % 40 > 37 else ''},{line}"
        for i, (c, line) in enumerate(zip(Y, as_csv(PLAIN).splitlines(), strict=True))
    ]
    (tmp_path / "rows.csv").write_text("\n".join(rows))
    assert not any("equals the label" in note for note in load(tmp_path / "rows.csv").notes)
    (tmp_path / "few.csv").write_text("".join(f"{i * 7 % 15},{i % 4},{'ab'[i % 2]}\n" for i in range(15)))
    assert doubts(load(tmp_path / "few.csv", header=False)) == []


def test_the_label_among_the_features_of_an_array_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", X=np.c_[X, 9 - Y], y=Y)
    (note,) = doubts(load(tmp_path / "rows.npz"))
    assert "feature 4 equals the label" in note


def test_columns_are_dropped_by_name_or_index_and_a_test_file_may_lack_them(tmp_path: Path) -> None:
    rows = [f"r{i},{line}" for i, line in enumerate(as_csv(PLAIN).splitlines())]
    (tmp_path / "rows.csv").write_text("\n".join(["name,a,b,c,d,kind", *rows]))
    (tmp_path / "test.csv").write_text(as_csv(PLAIN, header="a,b,c,d,kind"))
    for drop in (["name"], [0], [-6, "name"]):
        found = load(tmp_path / "rows.csv", drop=drop, label="kind")
        assert (found.names, found.features) == (tuple("abcd"), 4)
    assert load(tmp_path / "rows.csv", drop=["name"], test=str(tmp_path / "test.csv")).test is not None


@pytest.mark.parametrize("label", range(7))
def test_new_rows_of_a_file_without_names_may_lack_what_was_dropped_or_the_label(tmp_path: Path, label: int) -> None:
    """By position: the label is at `label`, and two further columns stand in front and in the middle."""
    rows, drop = [line.split(",") for line in as_csv(PLAIN).splitlines()], [0, 3]
    drop = [i + (i >= label) for i in drop]
    full = [["7", *row[:2], "8", *row[2:4]] for row in rows]
    full = [[*line[:label], row[4], *line[label:]] for line, row in zip(full, rows, strict=True)]

    def write(name: str, without: list[int]) -> Path:
        path = tmp_path / name
        path.write_text("\n".join(",".join(f for i, f in enumerate(row) if i not in without) for row in full))
        return path

    train, short = write("train.csv", []), write("short.csv", drop)
    keys: dict[str, Any] = {"label": label, "drop": drop, "header": False}
    found = load(train, **keys, test=str(short))
    assert found.test is not None
    np.testing.assert_array_equal(found.test.x, found.scaling.apply(X))
    np.testing.assert_array_equal(found.test.y, Y)
    for path, labelled in (
        (short, True),
        (train, True),
        (write("features.csv", [label, *drop]), False),
        (write("bare.csv", [label]), False),
    ):
        new = data.read_new(str(path), found.scaling, None, found.label, dropped=drop)
        np.testing.assert_array_equal(new.x, X)
        assert (new.y is not None) == labelled


def idx(array: Array, code: int = 0x08) -> bytes:
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.mark.parametrize("suffix", ["-images-idx3-ubyte", "-images.idx3-ubyte", "-images-idx3-ubyte.gz"])
def test_a_folder_of_idx_files(tmp_path: Path, suffix: str) -> None:
    pictures = (np.arange(60 * 6) % 256).astype(np.uint8).reshape(60, 2, 3)
    pictures[:, 0, 0] = np.arange(60) % 2 * 255
    labels = (np.arange(60) % 3).astype(np.uint8)
    for prefix, rows in (("train", 60), ("t10k", 9)):
        for name, array in (
            (suffix, pictures[:rows]),
            (suffix.replace("images", "labels").replace("idx3", "idx1"), labels[:rows]),
        ):
            raw = idx(array)
            (tmp_path / f"{prefix}{name}").write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    found = load(tmp_path)
    assert (len(found.train), len(found.validation), found.features) == (48, 12, 6)
    assert found.test is not None
    np.testing.assert_array_equal(found.test.y, labels[:9])
    np.testing.assert_allclose(held(found.test), pictures[:9].reshape(9, 6) / 255, atol=1e-6)


@pytest.mark.parametrize(("code", "dtype"), [(0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")])
def test_every_idx_type_is_read(tmp_path: Path, code: int, dtype: str) -> None:
    path, array = tmp_path / "t10k-images-idx3-ubyte", np.array([[-3, 7], [100, 0]], dtype)
    path.write_bytes(idx(array, code))
    np.testing.assert_array_equal(data.idx.read_idx(path), array)


def test_the_data_folder_is_looked_in_after_the_working_directory(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILL_DATA", str(in_tmp / "elsewhere"))
    (in_tmp / "elsewhere").mkdir()
    (in_tmp / "elsewhere/rows.csv").write_text(as_csv(PLAIN))
    assert load("rows.csv").features == 4
    (in_tmp / "rows.csv").write_text(as_csv(PLAIN, first=True))
    assert load("rows.csv", label=0).classes == (0, 1, 2)


def test_an_empty_field_counts_as_the_mean_of_the_training_rows(tmp_path: Path) -> None:
    lines = as_csv(PLAIN, header="a,b,c,d,kind").splitlines()
    for i in range(1, 121, 5):
        lines[i] = "," + lines[i].split(",", 1)[1]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    found = load(tmp_path / "rows.csv")
    assert found.missing == 24
    filled = np.concatenate([found.train.x, found.validation.x])[:, 0]
    assert (np.abs(filled) < 1e-6).sum() == 24
    observed = found.train.x[np.abs(found.train.x[:, 0]) > 1e-6, 0]
    assert abs(observed.mean()) < 1e-6
    assert observed.std() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("label", [{"label": "kind"}, {}])
def test_a_test_file_may_order_its_columns_otherwise(tmp_path: Path, label: dict[str, Any]) -> None:
    (tmp_path / "train.csv").write_text(as_csv(PLAIN, header="a,b,c,d,kind"))
    order = [4, 2, 0, 3, 1]
    rows = [line.split(",") for line in as_csv(PLAIN, header="a,b,c,d,kind").splitlines()]
    (tmp_path / "test.csv").write_text("\n".join(",".join(row[i] for i in order) for row in rows))
    found = load(tmp_path / "train.csv", **label, test=str(tmp_path / "test.csv"))
    assert found.test is not None
    np.testing.assert_array_equal(found.test.x, found.scaling.apply(X))
    np.testing.assert_array_equal(found.test.y, Y)


# --- splitting --------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 4), min_size=12, max_size=200).filter(lambda y: len(set(y)) == max(y) + 1), st.data())
def test_a_stratified_choice_keeps_every_class_in_proportion(y: list[int], drawn: Any) -> None:
    labels = np.array(y)
    counts = np.bincount(labels)
    chosen = drawn.draw(st.integers(1, len(y) - len(counts)))
    marked = stratified(labels, chosen, np.random.default_rng(0), leave=1)
    assert marked.sum() == chosen
    taken = np.bincount(labels[marked], minlength=len(counts))
    assert (counts - taken >= 1).all()
    quota = counts * chosen / len(y)
    free = taken < counts - 1
    assert (taken <= np.ceil(quota) + (len(counts) if not free.all() else 0)).all()
    assert (taken[free] >= np.floor(quota[free])).all()


def rows_of(found: data.Data) -> set[bytes]:
    return {row.tobytes() for row in held(found.validation)}


def test_the_split_follows_the_seed_and_seed_0_is_one_like_any_other() -> None:
    splits = [rows_of(load("digits", seed=seed)) for seed in (0, 0, 1, 2)]
    assert splits[0] == splits[1]
    assert splits[0] != splits[2] != splits[3]


def test_training_and_validation_share_no_row(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", X=np.arange(200.0).reshape(100, 2), y=np.arange(100) % 2)
    found = load(tmp_path / "rows.npz", scale="none")
    both = np.concatenate([found.train.x, found.validation.x])[:, 0]
    assert sorted(both) == list(range(0, 200, 2))


def test_max_samples_keeps_every_class(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", X=np.arange(1000.0).reshape(500, 2), y=np.r_[np.zeros(490, int), [1, 2] * 5])
    found = load(tmp_path / "rows.npz", most=12)
    assert len(found.train) + len(found.validation) == 12
    assert set(found.train.y) == {0, 1, 2}


def test_max_samples_follows_the_seed(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", X=np.arange(1000.0).reshape(500, 2), y=np.arange(500) % 3)
    chosen = [load(tmp_path / "rows.npz", most=100, seed=seed, scale="none") for seed in (0, 0, 1)]
    kept = [set(np.concatenate([one.train.x, one.validation.x])[:, 0].tolist()) for one in chosen]
    assert kept[0] == kept[1] != kept[2]


# --- scaling ----------------------------------------------------------------------------------------------------------


def test_scaling_is_fitted_on_the_training_rows_only() -> None:
    standard = load("digits", scale="standard")
    moving = standard.scaling.factor != 0
    np.testing.assert_allclose(held(standard.train).mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(held(standard.train)[:, moving].std(axis=0), 1, atol=1e-4)
    assert np.abs(held(standard.validation).mean(axis=0)).max() > 1e-3


def fitted(kind: str, x: Array) -> Scaling:
    """The scaling of all rows."""
    return fit(kind, x, np.arange(len(x)))


def test_every_kind_of_scaling(tmp_path: Path) -> None:
    x = np.array([[0, 10, 5], [4, 30, 5]], np.uint8)
    expected: dict[str, Any] = {
        "none": x,
        "standard": [[-1, -1, 0], [1, 1, 0]],
        "minmax": [[0, 0, 0], [1, 1, 0]],
        "auto": [[0, 1 / 3, 0], [4 / 30, 1, 0]],
    }
    for kind, scaled in expected.items():
        scaling = fit(kind, x, np.arange(len(x)), pictures=True)
        np.testing.assert_allclose(scaling.apply(x), scaled, atol=1e-6)
    assert fitted("auto", x).kind == "standard"  # bytes in a table of a few columns are no pixels
    assert fitted("auto", np.tile(x, 20)).kind == "pixels"
    assert fitted("auto", x.astype(float)).kind == fitted("auto", x.astype(np.uint16)).kind == "standard"


def test_a_feature_that_is_constant_but_for_rounding_becomes_0() -> None:
    x = np.array([[0.1 + 0.2], [0.3], [0.3]])
    assert not fitted("standard", x).apply(x).round(5).any()
    assert np.abs(fitted("minmax", x).apply(x)).max() < 1e-6


@pytest.mark.parametrize("kind", ["standard", "minmax", "pixels"])
def test_a_constant_feature_stays_0_where_it_moves(kind: str) -> None:
    scaling = fitted(kind, np.array([[5.0, 1], [5, 2]]))
    np.testing.assert_array_equal(scaling.apply(np.array([[9.0, 1], [-1e300, 1]]))[:, 0], 0)
    assert scaling.undo(scaling.apply(np.array([[5.0, 2]]))).tolist() == [[5, 2]]


RNG = np.random.default_rng(3)
NORMAL = RNG.normal(50, 10, 400)
ODD: dict[str, Array] = {  # what a deviation does not measure
    "a word's weight": np.where(RNG.random(400) < 0.01, RNG.uniform(0.1, 0.9, 400), 0),
    "a rare flag": (np.arange(400) == 7) * 1.0,
    "incomes": np.exp(3 * RNG.normal(size=400)),
    "one value far out": np.where(np.arange(400) == 9, 1e6, NORMAL),
    "99999 for unknown": np.where(RNG.random(400) < 0.05, 99999, NORMAL),
    "a value far out among few": np.where(np.arange(400) < 60, NORMAL, np.nan) + 1e7 * (np.arange(400) == 3),
    "tiny but for a few": np.where(np.arange(400) % 100, 10 ** RNG.uniform(-20, -5, 400), 1),
}


@pytest.mark.parametrize("name", ODD)
def test_auto_measures_the_many_and_bounds_the_few(tmp_path: Path, name: str) -> None:
    """Whatever is in a column, most of its values keep a scale that a network learns from, and none is far out."""
    x = np.stack([NORMAL, ODD[name]], axis=1)
    scaled, usual = fitted("auto", x).apply(x), fitted("standard", x).apply(x)
    assert fitted("auto", x).kind == "standard"
    np.testing.assert_array_equal(scaled[:, 0], usual[:, 0])  # an ordinary column beside it keeps every bit
    assert np.abs(scaled).max() <= 20  # beyond 5 in logarithms
    tail = np.flatnonzero(scaled[:, 1] > 5)
    assert len(np.unique(scaled[tail, 1])) == len(np.unique(x[tail, 1]))  # which keep apart what differs
    many = scaled[ODD[name] == np.median(ODD[name]), 1]
    assert not many.any()  # the zeros of a sparse one stay zeros
    away = np.abs(scaled[(scaled[:, 1] != 0) & (np.abs(scaled[:, 1]) < 5), 1])
    assert 0.2 < (np.median(away) if len(away) else 1) < 1.5
    (tmp_path / "rows.csv").write_text(
        "\n".join(["a,odd,kind", *(f"{a},{'' if np.isnan(b) else b},{i % 2}" for i, (a, b) in enumerate(x))])
    )
    assert [
        note for note in load(tmp_path / "rows.csv").notes if note.startswith("column 1 ('odd'): mostly one value, or")
    ]
    notes = load(tmp_path / "rows.csv", scale="minmax").notes
    assert not [note for note in notes if "mostly one value" in note]


def test_auto_leaves_ordinary_columns_as_standard_has_them() -> None:
    x = np.stack([NORMAL, np.exp(NORMAL / 20), RNG.integers(0, 16, 400), RNG.random(400) < 0.3, NORMAL > 50], axis=1)
    np.testing.assert_array_equal(fitted("auto", x).apply(x), fitted("standard", x).apply(x))


def test_no_training_row_is_too_far_out_for_auto() -> None:
    x = 10 ** RNG.uniform(-300, 100, (400, 2))
    assert np.abs(fitted("auto", x).apply(x)).max() <= 40


def test_an_explicit_scale_is_kept_and_what_it_does_is_noted(tmp_path: Path) -> None:
    x = np.stack([np.arange(20_000) % 50, np.arange(20_000) == 1], axis=1) * 1.0
    np.savez(tmp_path / "rows.npz", X=x, y=np.arange(20_000) % 2)
    found = load(tmp_path / "rows.npz", scale="standard")
    assert np.abs(held(found.train)).max() > 100
    assert found.notes == ("column 1: scaled values of up to 126; data.scale: auto would bound them",)


@pytest.mark.parametrize("kind", ["pixels", "standard", "minmax"])
def test_a_test_set_and_new_rows_far_outside_the_training_rows_are_bounded_and_noted(tmp_path: Path, kind: str) -> None:
    x = RNG.integers(0, 17, (200, 3, 1) if kind == "pixels" else (200, 3))
    x = x.astype(np.uint8 if kind == "pixels" else float)
    far, scale = x[:20].copy(), "minmax" if kind == "minmax" else "auto"
    far[:5, 1], far[7, 2] = 250, 200
    np.savez(tmp_path / "rows.npz", X=x, y=np.arange(200) % 2, X_test=far, y_test=np.arange(20) % 2)
    np.savez(tmp_path / "near.npz", X=x, y=np.arange(200) % 2, X_test=x[:20], y_test=np.arange(20) % 2)
    found = load(tmp_path / "rows.npz", scale=scale)
    assert found.test is not None
    said = "columns 1, 2: 6 values more than 3 times as far out as any training value; check the unit"
    assert found.notes == (f"test set: {said}",)
    assert (np.abs(held(found.test)).max() <= 10) == (kind == "standard")
    path = str(tmp_path / "rows.npz")
    assert data.read_new(path, found.scaling, None, None).notes == (f"{path}: {said}",)
    assert load(tmp_path / "near.npz", scale=scale).notes == ()


RARE = ["w,x,y,kind", *(f"{i % 7},{'' if i % 20 else i},{i % 5},{'ab'[i % 2]}" for i in range(60))]


def test_a_column_without_a_value_among_the_training_rows_counts_as_0(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(RARE))
    seen = set()
    for scale in ("auto", "standard", "minmax", "none"):
        for seed in range(12):
            found = load(path, ratio=0.3, seed=seed, scale=scale)
            lacking = not set(found.train.ids) & {0, 20, 40}
            seen.add(lacking)
            assert np.isfinite(held(found.train)).all()
            assert (lacking and not held(found.validation)[:, 1].any()) or not lacking
            said = "no value among the training rows" if lacking else "fewer than 10 values"
            assert [note for note in found.notes if note.startswith(f"column 1 ('x'): {said}")]
    assert seen == {True, False}


def test_columns_without_a_value_in_any_row_and_those_too_large_are_named_together(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["w,x,y,z,kind", *(f"{i},,,{i % 3},{'ab'[i % 2]}" for i in range(30))]))
    with pytest.raises(DataError, match=r"rows\.csv: columns 1 \('x'\), 2 \('y'\): no value in any row; remove them"):
        data.read(config.load({"data": {"source": str(path)}}).data)
    np.savez(tmp_path / "rows.npz", X=np.ones((30, 4)) * [1, 1e200, 1, -1e200] * RNG.random((30, 4)), y=Y[:30])
    with pytest.raises(DataError, match=r"rows\.npz: columns 1, 3: numbers too large to scale"):
        load(tmp_path / "rows.npz")


def test_the_commonest_class_is_that_of_the_training_rows() -> None:
    assert metrics.commonest_share(np.array([0, 0, 1, -1, -1, -1]), np.array([1, 1, 1, 0])) == 0.25


def test_a_large_offset_does_not_cost_precision() -> None:
    x = 1.6e9 + np.arange(10.0)[:, None]
    np.testing.assert_allclose(fitted("minmax", x).apply(x)[:, 0], np.arange(10) / 9, atol=1e-6)
