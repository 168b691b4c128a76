"""Teachers given from Python: what an object must be able to do, and what its answers must be."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from distill.errors import DataError, DistillError
from distill.nn.vector import Array
from distill.parallel import inside_worker
from distill.predictions import as_logits


class TeacherModel(ABC):
    """A teacher of your own: subclass it, and give an instance to `distill.run(..., teachers={name: it})`.

    `classes`, where set, are the labels in the order of the logits, and are held against those of the data. `depth` is
    the number of hidden layers that it can show; above 0 it has a method `features(x, layer)` too, from raw rows (N,D)
    and a layer from 1 to `depth` to what that layer says of them (N,C).
    """

    classes: Sequence[Any] | None = None
    depth: int = 0

    @abstractmethod
    def logits(self, x: Array) -> ArrayLike:  # (N,D) -> (N,M)
        """Logits of raw rows, unscaled, as in the training file. Logarithms of probabilities are logits, too."""


def check_given(teachers: object) -> None:
    """Raise TypeError unless this is a mapping from names to objects that can teach."""
    if not isinstance(teachers, Mapping) or not all(isinstance(name, str) for name in teachers):
        raise TypeError(f"teachers is a {type(teachers).__name__}; must be a mapping from names (texts) to objects")
    for name, one in teachers.items():
        if isinstance(one, type):
            raise TypeError(f"teacher {name!r} is the class {one.__name__}; give an object of it")
        depth = getattr(one, "depth", 0)
        if _shows(one) and (type(depth) is not int or depth < 0):
            raise TypeError(f"teacher {name!r} has a depth of {depth!r}; must be a whole number from 0")
        method_of(name, one)


def method_of(name: str, given: object) -> Callable[[Array, int], Array]:
    """What asks an object about rows (N,D) for logits of so many classes: its `logits`, or its `predict_proba`
    (scikit-learn's protocol). Raises TypeError where a method is missing; to ask it in a worker raises DistillError."""
    if isinstance(given, TeacherModel) and given.depth and not _shows(given):
        what = f"teacher {name!r} is of type {type(given).__name__}, which has a depth and lacks the method features"
        raise TypeError(f"{what}; give it one (rows, layer -> features), or a depth of 0")
    if callable(getattr(given, "logits", None)):
        return _at_home(name, lambda x, m: sound(name, given.logits(x), len(x), m))  # type: ignore[attr-defined]
    if callable(getattr(given, "predict_proba", None)):

        def logits(x: Array, m: int) -> Array:
            shares = sound(name, given.predict_proba(x), len(x), m)  # type: ignore[attr-defined]
            return as_logits(shares, "probabilities", f"teacher {name!r}")[0]

        return _at_home(name, logits)
    what = f"teacher {name!r} is of type {type(given).__name__}, which lacks the method predict_proba"
    raise TypeError(f"{what}; give it one (rows -> probabilities), or subclass distill.TeacherModel")


def _at_home(name: str, ask: Callable[[Array, int], Array]) -> Callable[[Array, int], Array]:
    """The same, but never in a forked worker, where a library may wait for ever for threads that it had started."""

    def guarded(x: Array, m: int) -> Array:
        if inside_worker():
            what = f"teacher {name!r}: an object from Python was asked in a worker process"
            raise DistillError(f"{what}, which is not safe; set evidence.workers: 1")
        return ask(x, m)

    return guarded


def depth_of(given: object) -> int:
    """How many hidden layers an object can show."""
    return int(getattr(given, "depth", 0)) if _shows(given) else 0


def _shows(given: object) -> bool:
    return callable(getattr(given, "features", None))


def sound(name: str, answer: Any, rows: int, width: int | None) -> Array:
    """An answer as a network would give it. Raises DataError."""
    try:
        found = np.asarray(answer)
    except ValueError:  # rows of unequal length
        found = np.asarray(None)
    if found.ndim != 2 or found.dtype.kind not in "fiu" or len(found) != rows or width not in (None, found.shape[1]):
        wanted = f"numbers of shape ({rows}, {width or 'units'})"
        raise DataError(f"teacher {name!r}: answers of {found.dtype} {found.shape}; must be {wanted}")
    with np.errstate(over="ignore"):
        small: Array = found.astype(np.float32)
    if not np.isfinite(small).all():
        row = int(np.argwhere(~np.isfinite(small))[0, 0])
        what = f"its answer to row {row} of {rows} is not finite in float32: {found[row].tolist()[:6]}"
        raise DataError(f"teacher {name!r}: {what}; answer with finite numbers")
    return small
