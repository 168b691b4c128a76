"""Rows that stay on disk: the same numbers as in memory, a documented shuffle, and memory that does not grow."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import distill
from distill import config, data
from distill.data import npy, ondisk
from distill.data.ondisk import DiskArray, DiskRows
from distill.data.scaling import Scaling
from distill.nn.vector import Array


def rows_on_disk(folder: Path, x: Array, y: Array | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    np.save(folder / "X.npy", x)
    if y is not None:
        np.save(folder / "y.npy", y)
    return folder


def example(rows: int = 600, features: int = 5, dtype: str = "float32") -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, rows)
    return (10 * rng.normal(size=(rows, features)) + 20 * y[:, None]).astype(dtype), y


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", ">i2"])
def test_slices_and_indices_read_what_numpy_would(tmp_path: Path, dtype: str) -> None:
    x = example(50)[0].astype(dtype)
    np.save(tmp_path / "X.npy", x)
    array = DiskArray(tmp_path / "X.npy", x.dtype, x.shape, np.load(tmp_path / "X.npy", mmap_mode="r").offset)
    for chosen in (slice(0, 50), slice(7, 9), slice(45, 99), slice(3, 3), np.array([1, 4, 49]), np.array([], int)):
        np.testing.assert_array_equal(array[chosen], x[chosen])
    np.testing.assert_array_equal(np.asarray(array), x)
    assert array[:2].dtype.isnative


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int16"])
def test_a_run_from_disk_sees_the_rows_that_a_run_in_memory_sees(tmp_path: Path, dtype: str) -> None:
    x, y = example(dtype=dtype)
    x[3, 2], x[7:, 4] = 30_000 if dtype != "uint8" else 255, 0  # a value far out, and a sparse feature
    source = rows_on_disk(tmp_path / "set", x, y)
    held, left = (
        data.load(config.load({"data": {"source": str(source), "in_memory_mb": megabytes}}).data, 0.8, None, 0)
        for megabytes in (512, 0)
    )
    assert isinstance(held.train.x, np.ndarray)
    assert isinstance(left.train.x, DiskRows)
    assert isinstance(left.validation.x, DiskRows)
    assert np.abs(held.train.x).max() <= 10
    np.testing.assert_array_equal(left.train.x[:], held.train.x)
    np.testing.assert_array_equal(left.train.x[3], held.train.x[3])
    np.testing.assert_array_equal(left.train.x[np.array([5, 7])][:], held.train.x[[5, 7]])
    np.testing.assert_array_equal(left.validation.y, held.validation.y)
    assert left.fingerprint() == held.fingerprint()


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ondisk, "BLOCK_BYTES", 10 * 4 * 5)  # ten rows of five features
    monkeypatch.setattr(ondisk, "WINDOW", 4)


def disk_rows(tmp_path: Path, rows: int = 203) -> tuple[DiskRows, Array]:
    x = example(rows)[0]
    np.save(tmp_path / "X.npy", x)
    array = DiskArray(tmp_path / "X.npy", x.dtype, x.shape, np.load(tmp_path / "X.npy", mmap_mode="r").offset)
    unchanged = Scaling("none", np.zeros(5), np.ones(5), np.zeros(5))
    return DiskRows(array, np.arange(rows), unchanged), x


@pytest.mark.usefixtures("small_blocks")
def test_an_epoch_takes_every_row_once_in_windows_of_shuffled_blocks(tmp_path: Path) -> None:
    rows, _ = disk_rows(tmp_path, 200)
    rng, orders = np.random.default_rng(0), []
    for _ in range(3):
        order = np.empty(200, np.int64)
        ondisk.shuffle(rows, order, rng)
        assert sorted(order) == list(range(200))
        for start in range(0, 200, 40):
            assert len(set(order[start : start + 40] // 10)) == 4
        orders.append(tuple(order))
    assert len(set(orders)) == 3
    assert any(a > b for a, b in zip(orders[0][:10], orders[0][1:10], strict=False))


@pytest.mark.usefixtures("small_blocks")
def test_gathering_reads_each_block_once_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, x = disk_rows(tmp_path)
    order, out = np.empty(203, np.int64), np.empty((7, 5), np.float32)
    ondisk.shuffle(rows, order, np.random.default_rng(0))
    reads: list[int] = []
    original = DiskArray._read

    def watched(array: DiskArray, start: int, stop: int) -> Array:
        reads.append(start)
        return original(array, start, stop)

    monkeypatch.setattr(DiskArray, "_read", watched)
    for start in range(0, 203, 7):
        ondisk.gather(rows, order[start : start + 7], out)
        np.testing.assert_array_equal(out, x[order[start : start + 7]])
    assert sorted(reads) == list(range(0, 203, 10))


def test_a_file_that_shrinks_during_a_run_is_an_error(tmp_path: Path) -> None:
    rows, _ = disk_rows(tmp_path)
    os.truncate(tmp_path / "X.npy", 1000)
    with pytest.raises(distill.DataError, match=r"X\.npy: ended before row 203; it changed while it was read"):
        rows[:]
    (tmp_path / "X.npy").unlink()
    with pytest.raises(distill.DataError, match=r"X\.npy: cannot be read: No such file"):
        rows[:]


def test_a_value_too_large_for_float32_is_named_when_it_is_read(tmp_path: Path) -> None:
    x, y = example(dtype="float64")
    x[17, 2] = 1e300
    source = rows_on_disk(tmp_path / "set", x, y)
    plan = config.load({"data": {"source": str(source), "in_memory_mb": 0, "scale": "none"}})
    loaded = data.load(plan.data, 0.8, None, 0)
    with pytest.raises(distill.DataError, match=r"X\.npy: \[17, 2\]: 1e\+300 is too large for float32"):
        _ = [rows.x[:] for rows in (loaded.train, loaded.validation)]


def test_plain_idx_files_stay_on_disk_too(tmp_path: Path) -> None:
    x, y = example(40, 6, "uint8")
    for name, array in (("train-images-idx3-ubyte", x.reshape(40, 2, 3)), ("train-labels-idx1-ubyte", y.astype("u1"))):
        header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (tmp_path / name).write_bytes(header + array.tobytes())
    plan = config.load({"data": {"source": str(tmp_path), "in_memory_mb": 0}})
    loaded = data.load(plan.data, 0.8, None, 0)
    assert isinstance(loaded.train.x, DiskRows)
    assert loaded.picture == (2, 3)
    held = data.load(config.load({"data": {"source": str(tmp_path)}}).data, 0.8, None, 0)
    np.testing.assert_array_equal(loaded.train.x[:], held.train.x)


def test_hostile_npy_files_are_named(tmp_path: Path) -> None:
    x, y = example(30)
    faults = {
        "holds Python objects": np.array([[{}], [None]], object),
        r"must be numbers of shape \(rows, features\)": np.arange(5.0),
        r"larger than data.in_memory_mb \(0\)": np.asfortranarray(x),
        "is no number to learn from": np.full((30, 5), np.nan),
        r"float32 of shape \(0, 5\)": x[:0],
        "30 labels for 29 rows": x[:29],
    }
    for said, bad in faults.items():
        source = rows_on_disk(tmp_path / "set", np.zeros(1), y)
        np.save(source / "X.npy", bad, allow_pickle=True)
        with pytest.raises(distill.DataError, match=said):
            npy.read(source, 0)
    for name, said in (("X.npy", "X"), ("y.npy", "y")):
        np.save(source / "X.npy", x)
        with (source / name).open("wb") as file:
            np.savez(file, X=x)
        with pytest.raises(distill.DataError, match=rf"{said}\.npy: is an archive of NumPy arrays; name it \.npz"):
            npy.read(source)
    np.save(source / "y.npy", y)
    (source / "X.npy").write_bytes(b"\x93NUMPY torn")
    with pytest.raises(distill.DataError, match=r"X\.npy: cannot be read as \.npy"):
        npy.read(source)
    np.save(source / "X_test.npy", x)
    np.save(source / "X.npy", x)
    with pytest.raises(distill.DataError, match=r"X_test\.npy and y_test\.npy must come together"):
        npy.read(source)


def test_a_folder_s_test_set_and_a_single_file_of_rows_are_read(tmp_path: Path) -> None:
    x, y = example(60)
    source = rows_on_disk(tmp_path / "set", x, y)
    np.save(source / "X_test.npy", x[:20])
    np.save(source / "y_test.npy", y[:20])
    results = distill.run({"data": {"source": str(source)}, "distillation": {"batch_size": 4}})
    assert results["data"]["rows"]["test"] == 20
    assert npy.read(source / "X_test.npy").rows.y is None
    assert data.read_new(str(source / "X.npy"), results.student.scaling, None, None).x.shape == (60, 5)


@pytest.mark.parametrize("shape", [(60, 6), (60, 2, 3)])
def test_rows_that_are_written_column_by_column_are_read_where_they_fit(tmp_path: Path, shape: tuple[int, ...]) -> None:
    x, y = example(60, 6)
    source = rows_on_disk(tmp_path / "set", np.asfortranarray(x.reshape(shape)), y[:, None])
    loaded = data.load(config.load({"data": {"source": str(source)}}).data, 0.8, None, 0)
    assert loaded.picture == (shape[1:] if len(shape) == 3 else None)
    np.testing.assert_array_equal(loaded.raw.rows.x, x)
    np.testing.assert_array_equal(loaded.raw.rows.y, y)


MEMORY = r"""
import re, sys
import distill
distill.run({"data": {"source": sys.argv[1], "in_memory_mb": 0}, "distillation": {"teacher_hidden": 8,
    "student_hidden": 4, "teacher_epochs": 1, "student_epochs": 1, "batch_size": 256}})
print(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])  # in kilobytes
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is there on Linux alone")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Four times the rows, 40 and 160 MB of features: the window of blocks and the figures per row are held of them."""
    peaks = []
    for rows in (20_000, 80_000):
        rng = np.random.default_rng(0)
        y = rng.integers(0, 2, rows)
        source = rows_on_disk(
            tmp_path / f"{rows}", rng.random((rows, 500), np.float32) + y[:, None].astype(np.float32), y
        )
        done = subprocess.run([sys.executable, "-c", MEMORY, source], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) / 1000)
    assert peaks[1] - peaks[0] < 60
