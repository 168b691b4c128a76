"""The outputs of frozen teachers for the rows that a student is trained on, computed once."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.config.schema import Config, Stage, layer_pairs
from distill.data.rows import Rows
from distill.errors import DataError
from distill.nn.vector import Array
from distill.teacher.cache import cache_outputs
from distill.teacher.teacher import Teacher, block_rows
from distill.train.outputs import Closable, TeacherOutputs


def layers_needed(stages: Sequence[Stage], name: str, depth: int, student_depth: int) -> list[int]:
    """Return the layers of a teacher of this depth that a student's stages compare; 0 is the input.

    Raises DataError.
    """
    terms = [term for stage in stages for term in stage.terms if term.matters and term.layered]
    maps = [term.options["layers"] for term in terms if term.teachers[0][0] == name]
    if not depth and "auto" in maps:
        raise DataError(f"teacher {name!r}: has no hidden layers to look at; use a loss on logits, or another teacher")
    try:
        pairs = [layer_pairs(layers, depth, student_depth) for layers in maps]
    except ValueError as error:
        raise DataError(f"teacher {name!r}: {error}") from None
    return sorted({t for of_term in pairs for t, _ in of_term})


def compute_all(
    teachers: Mapping[str, Teacher], rows: Rows, stages: Sequence[Stage], student_depth: int, plan: Config
) -> dict[str, TeacherOutputs]:
    """Return the outputs of these teachers that a student of this depth needs for its stages."""
    limit, cache = plan.data.in_memory_mb, plan.performance.cache
    return {
        name: compute_outputs(teacher, rows, layers_needed(stages, name, teacher.depth, student_depth), limit, cache)
        for name, teacher in teachers.items()
    }


def compute_outputs(
    teacher: Teacher, rows: Rows, layers: Sequence[int], megabytes: float, cache: str | None
) -> TeacherOutputs:
    """Return a teacher's outputs for these rows: in memory, or mapped from disk where they take more than so many
    megabytes; in the folder `cache` they stay for later runs. Raises DataError."""
    inner = [k for k in layers if k]
    first = teacher.outputs(rows.take(np.arange(1)), inner)
    if first is None:
        raise DataError(f"teacher {teacher.name!r}: has no answers for the rows that the student is trained on")
    n, (logits, hidden) = len(rows), first
    shapes = {"logits": (n, logits.shape[1])} | {f"h{k}": (n, layer.shape[1]) for k, layer in hidden.items()}
    folder = Path(cache) if cache is not None and teacher.cache_key is not None else None
    blocks = _named_blocks(teacher, rows, inner, shapes)
    files: Closable | None = None
    if folder is None and 4 * sum(n * width for _, width in shapes.values()) <= megabytes * 1_000_000:
        arrays: dict[str, Array] = {name: np.empty(shape, np.float32) for name, shape in shapes.items()}
        for name, place, block in blocks:
            arrays[name][place] = block
    else:
        inputs = _inputs_fingerprint(teacher, rows) if folder else ""
        key = {"teacher": teacher.cache_key or "", "rows": inputs, "layers": inner}
        arrays, files = cache_outputs(blocks, shapes, folder, key, rows.ids)
    compared: dict[int, Any] = {k: arrays[f"h{k}"] for k in inner}
    if 0 in layers:
        compared[0] = rows.x
    return TeacherOutputs(arrays["logits"], compared, rows.ids, teacher.depth, teacher.respond_to_noisy, files)


def _named_blocks(
    teacher: Teacher, rows: Rows, layers: Sequence[int], shapes: Mapping[str, tuple[int, int]]
) -> Iterator[tuple[str, slice, Array]]:
    """All outputs block by block, by the names of their arrays."""
    for place, outputs in teacher.blocks(rows, layers):
        assert outputs is not None
        logits, hidden = outputs
        for name, block in {"logits": logits, **{f"h{k}": layer for k, layer in hidden.items()}}.items():
            if block.shape[1] != shapes[name][1]:
                what = f"{block.shape[1]} units of {name}, and {shapes[name][1]} before"
                raise DataError(f"teacher {teacher.name!r}: answers with {what}; must be as many for every row")
            yield name, place, block


def _inputs_fingerprint(teacher: Teacher, rows: Rows) -> str:
    """SHA-256 of what the teacher takes for the rows."""
    digest = hashlib.sha256()
    for start in range(0, len(rows), size := block_rows(rows)):
        inputs = np.asarray(teacher.inputs(rows.take(np.arange(start, min(start + size, len(rows))))))
        digest.update(f"{inputs.dtype} {inputs.shape}".encode() + np.ascontiguousarray(inputs).tobytes())
    return digest.hexdigest()
