"""Data: every kind of file, classes and back, the split, the scaling. Bad files: test_hostile_data."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import blobs, held
from distill import config, data, metrics
from distill.data import csvfile
from distill.data.scaling import Scaling, fit
from distill.data.split import stratified
from distill.errors import DataError
from distill.nn.vector import Array


def load(source: str | Path, *, ratio: float = 0.8, most: int | None = None, seed: int = 0, **keys: Any) -> data.Data:
    return data.load(config.load({"data": {"source": str(source), **keys}}).data, ratio, most, seed)


def test_the_embedded_digits_are_the_known_ones() -> None:
    """Row, class and pixel counts of the 1,797 test images as the UCI repository and scikit-learn give them."""
    with np.load(data.DIGITS) as file:
        x, y = file["X"], file["y"]
    assert (x.shape, x.dtype, int(x.min()), int(x.max()), int(x.sum())) == ((1797, 8, 8), np.uint8, 0, 16, 561_718)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert x[0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert data.DIGITS.stat().st_size < 60_000


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


def test_a_row_of_numbers_below_texts_makes_a_header_and_texts_alone_do_not(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("T,1,2\nU,3,4\nT,5,6\n")
    assert csvfile.read_sheet(path, "auto").header is None
    path.write_text("kind,wide,high\nU,3,4\nT,5,6\n")
    assert csvfile.read_sheet(path, "auto").header == ("kind", "wide", "high")
    assert csvfile.read_sheet(path, False).header is None


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "ü, \"x\""], ("a", "b", "ü, \"x\"")),
        (["10", "9", "-1"], (-1, 9, 10)),
        (["01", "1", "2"], ("01", "1", "2")),
        (["1.0", "2.0", "3"], ("1.0", "2.0", "3")),
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
    spelled = [str(found.classes[i]) for i in np.concatenate([found.train.y, found.validation.y])]
    assert sorted(spelled) == sorted(labels[i] for i in Y)


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
    assert [str(found.classes[i]) for i in found.test.y] == [
        str(v.decode() if isinstance(v, bytes) else v) for v in y[:7].tolist()
    ]


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


def test_a_test_file_may_order_its_columns_otherwise(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(as_csv(PLAIN, header="a,b,c,d,kind"))
    order = [4, 2, 0, 3, 1]
    rows = [line.split(",") for line in as_csv(PLAIN, header="a,b,c,d,kind").splitlines()]
    (tmp_path / "test.csv").write_text("\n".join(",".join(row[i] for i in order) for row in rows))
    found = load(tmp_path / "train.csv", label="kind", test=str(tmp_path / "test.csv"))
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
        np.testing.assert_allclose(fitted(kind, x).apply(x), scaled, atol=1e-6)
    assert fitted("auto", x).kind == "pixels"
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
    assert np.abs(scaled).max() <= 5
    many = scaled[ODD[name] == np.median(ODD[name]), 1]
    assert not many.any()  # the zeros of a sparse one stay zeros
    away = np.abs(scaled[~np.isin(scaled[:, 1], [0, 5, -5]), 1])
    assert 0.2 < (np.median(away) if len(away) else 1) < 1.5
    (tmp_path / "rows.csv").write_text(
        "\n".join(["a,odd,kind", *(f"{a},{'' if np.isnan(b) else b},{i % 2}" for i, (a, b) in enumerate(x))])
    )
    assert [
        note for note in load(tmp_path / "rows.csv").notes if note.startswith("column 1 ('odd'): mostly one value, or")
    ]
    assert not load(tmp_path / "rows.csv", scale="minmax").notes


def test_auto_leaves_ordinary_columns_as_standard_has_them() -> None:
    x = np.stack([NORMAL, np.exp(NORMAL / 20), RNG.integers(0, 16, 400), RNG.random(400) < 0.3, NORMAL > 50], axis=1)
    np.testing.assert_array_equal(fitted("auto", x).apply(x), fitted("standard", x).apply(x))


def test_no_training_row_is_too_far_out_for_auto() -> None:
    x = 10 ** RNG.uniform(-300, 100, (400, 2))
    assert np.abs(fitted("auto", x).apply(x)).max() <= 5


def test_an_explicit_scale_is_kept_and_what_it_does_is_noted(tmp_path: Path) -> None:
    x = np.stack([np.arange(20_000) % 50, np.arange(20_000) == 1], axis=1) * 1.0
    np.savez(tmp_path / "rows.npz", X=x, y=np.arange(20_000) % 2)
    found = load(tmp_path / "rows.npz", scale="standard")
    assert np.abs(held(found.train)).max() > 100
    assert found.notes == ("column 1: scaled values of up to 126; data.scale: auto would bound them",)


@pytest.mark.parametrize("kind", ["pixels", "standard", "minmax"])
def test_a_test_set_and_new_rows_far_outside_the_training_rows_are_bounded_and_noted(tmp_path: Path, kind: str) -> None:
    x = RNG.integers(0, 17, (200, 3)).astype(np.uint8 if kind == "pixels" else float)
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
