"""What a teacher said of the training rows, once and for all: in memory, or where that is too much, on disk.

A folder of answers is keyed by who answered and what was asked, so that one teacher is asked about the same rows only
once, whatever the temperature or the loss: logits and hidden layers are kept as they left the teacher.
"""

import hashlib
import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill.config import Term
from distill.errors import DataError
from distill.nn.ops import combine
from distill.nn.vector import Array
from distill.system.arrays import read_npy
from distill.system.files import as_output_error, to_json

# Rows (N,D) as a network takes them, and the hidden layers that are wanted -> logits (N,M), {layer: (N,C)}
Respond = Callable[[Array, Collection[int]], tuple[Array, dict[int, Array]]]
HEADER = "answers.json"


@dataclass(frozen=True)
class Answers:
    """One teacher's answers to N rows: logits (N,M), hidden layers {k: (N,C)} (0 is the input), and the rows' numbers
    in their source (N,). `depth` is how many hidden layers it has; `respond` asks it about rows never seen before.
    """

    logits: Array
    layers: Mapping[int, Array]
    ids: Array
    depth: int = 0
    respond: Respond | None = None
    held: Any = None  # keeps a temporary folder alive as long as its files are mapped

    def end(self) -> None:
        """Give back the disk that they take, which garbage collection might do late, and a killed worker never."""
        if self.held is not None:
            self.held.end()

    def check(self, ids: Array, who: str) -> None:
        """Raise DataError unless these are the answers to the rows of these numbers, in this order."""
        if not np.array_equal(self.ids, ids):
            first = "" if len(self.ids) != len(ids) else f"; the first that differs is {_first(self.ids, ids)}"
            what = f"its answers are to {len(self.ids)} rows, the student has {len(ids)}{first}"
            raise DataError(f"teacher {who!r}: {what}; answer the student's rows, in their order")


def said(term: Term, answers: Mapping[str, Answers], rows: Any) -> Array:
    """The logits (n,M) that a term listens to, for some of the rows, in float64."""
    names = [name for name, _ in term.teachers]
    return together(term, {name: answers[name].logits[rows] for name in names}, np.float64)


def together(term: Term, logits: Mapping[str, Array], dtype: Any) -> Array:
    """The logits of a term's teachers as one."""
    members = [logits[name].astype(dtype) for name, _ in term.teachers]
    shares = [share for _, share in term.teachers]
    options = term.options
    return combine(members, shares, options.get("combine", "probabilities"), options.get("temperature", 1.0))


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


def _first(ours: Array, theirs: Array) -> str:
    i = int(np.flatnonzero(ours != theirs)[0])
    return f"row {ours[i]} against row {theirs[i]}"
