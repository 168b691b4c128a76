"""Outputs of teachers on disk: mapped, and in the folder of `performance.cache` verified and kept for later runs."""

import hashlib
import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from distill.errors import DataError
from distill.nn.vector import Array
from distill.system.arrays import read_npy
from distill.system.files import as_output_error, to_json
from distill.train.outputs import _first

HEADER = "answers.json"


def keep(
    ask: Iterator[tuple[str, slice, Array]],
    shapes: Mapping[str, tuple[int, ...]],
    folder: Path | None,
    key: Mapping[str, Any],
    ids: Array,
) -> tuple[dict[str, Array], Any]:
    """Arrays of these shapes on disk, mapped, filled from `ask` (name, rows, numbers) unless the folder has them; and
    what keeps them alive.

    Without a folder they stand in a temporary one. Raises DataError where the folder's answers are not those to the
    key, or to the rows of these ids, or no longer what was written.
    """
    if folder is None:
        with as_output_error(Path(tempfile.gettempdir())):
            scratch = _Scratch()
            _fill(scratch.path, ask, shapes)
            return _mapped(scratch.path, shapes), scratch
    with as_output_error(folder):
        found = folder / f"{key['teacher'][:16]}-{_digest(json.dumps(key, sort_keys=True).encode())[:16]}"
        if not found.exists():
            with _new_folder(found) as building:
                _fill(building, ask, shapes)
                np.save(building / "ids.npy", ids)
                header = {"key": dict(key), "sha256": _sums(building)}
                (building / HEADER).write_text(to_json(header), encoding="utf-8")
        _verify(found, key, ids, shapes)
        return _mapped(found, shapes), None


class _Scratch:
    """A temporary folder that ends with this object, in the process that made it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="distill-answers-"))
        self.end = weakref.finalize(self, _clear, self.path, os.getpid())


def _clear(path: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(path, ignore_errors=True)


def _verify(found: Path, key: Mapping[str, Any], ids: Array, shapes: Mapping[str, tuple[int, ...]]) -> None:
    advice = "remove that folder, and the teacher will be asked again"
    try:
        header = json.loads((found / HEADER).read_text(encoding="utf-8"))
        kept = read_npy(found / "ids.npy")
        sums = _sums(found)
    except Exception as error:  # a torn or hostile file leads NumPy and json to errors of every kind
        what = f"{type(error).__name__} {error}"
        raise DataError(f"{found}: the cached answers cannot be read: {what}; {advice}") from None
    header = header if isinstance(header, dict) else {"key": header}
    if header.get("key") != dict(key):
        raise DataError(f"{found}: stale answers, to {header.get('key')} and not to {dict(key)}; {advice}")
    if not np.array_equal(kept, ids):
        first = f", from {_first(kept, ids)} on" if kept.shape == ids.shape else ""
        what = f"to {kept.size} rows that are not the {len(ids)} of this run{first}"
        raise DataError(f"{found}: stale answers, {what}; {advice}")
    recorded = header.get("sha256")
    written: dict[str, Any] = recorded if isinstance(recorded, dict) else {}
    if wrong := sorted(name for name in {*sums, *written} if sums.get(name) != written.get(name)):
        raise DataError(f"{found}: the cached answers are no longer what was written, in {', '.join(wrong)}; {advice}")
    there = {name: array.shape for name, array in _mapped(found, shapes).items()}
    if there != dict(shapes):
        raise DataError(f"{found}: stale answers, of shapes {there} and not {dict(shapes)}; {advice}")


def _fill(folder: Path, ask: Iterator[tuple[str, slice, Array]], shapes: Mapping[str, tuple[int, ...]]) -> None:
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, shape)
        for name, shape in shapes.items()
    }
    for name, rows, part in ask:
        arrays[name][rows] = part
    for array in arrays.values():
        array.flush()


def _mapped(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in shapes}


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """A folder that is whole or absent; where another process was faster, its own counts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield building
        building.replace(path)
    except OSError:
        if not path.exists():
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _sums(folder: Path) -> dict[str, str]:
    return {path.name: _digest(path) for path in sorted(folder.glob("*.npy"))}


def _digest(what: bytes | Path) -> str:
    if isinstance(what, bytes):
        return hashlib.sha256(what).hexdigest()
    with what.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
