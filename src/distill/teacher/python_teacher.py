"""Teachers given from Python: what an object must be able to do, and what its answers must be."""

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from distill.data.labels import listing, normal
from distill.errors import DataError, DistillError
from distill.nn.vector import Array
from distill.system.processes import inside_worker
from distill.teacher.predictions import as_logits

UNNAMED = re.compile(r"Unnamed: \d+")  # what pandas calls a column without a name


class TeacherModel(ABC):
    """A teacher of your own: subclass it, and give an instance to `distill.run(..., teachers={name: it})`.

    `classes`, where set, are the labels in the order of the logits, which are put into that of the data. `depth` is
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


def method_of(name: str, given: object, names: Sequence[str] | None = None) -> Callable[[Array, int], Array]:
    """What asks an object about rows (N,D) for logits of so many classes: its `logits`, or its `predict_proba`
    (scikit-learn's protocol). `names` are the rows' columns. Raises TypeError where a method is missing."""
    if isinstance(given, TeacherModel) and given.depth and not _shows(given):
        what = f"teacher {name!r} is of type {type(given).__name__}, which has a depth and lacks the method features"
        raise TypeError(f"{what}; give it one (rows, layer -> features), or a depth of 0")
    if callable(getattr(given, "logits", None)):
        ask = _asks(name, given, "logits", names)
        return lambda x, m: sound(name, ask(x), len(x), m)
    if callable(getattr(given, "predict_proba", None)):
        likely = _asks(name, given, "predict_proba", names)

        def logits(x: Array, m: int) -> Array:
            shares = sound(name, likely(x), len(x), m)
            return as_logits(shares, "probabilities", f"teacher {name!r}")[0]

        return logits
    what = f"teacher {name!r} is of type {type(given).__name__}, which lacks the method predict_proba"
    raise TypeError(f"{what}; give it one (rows -> probabilities), or subclass distill.TeacherModel")


def layers_of(name: str, given: object, names: Sequence[str] | None) -> Callable[[Array, int], Array]:
    """What asks an object about rows (N,D) for one of its hidden layers (N,C)."""
    show = _asks(name, given, "features", names)
    return lambda x, layer: sound(name, show(x, layer), len(x), None)


def classes_of(given: object) -> list[Any] | None:
    """The labels that an object names, in the order of its columns, or None."""
    classes = getattr(given, "classes" if hasattr(given, "logits") else "classes_", None)
    return None if classes is None else np.atleast_1d(np.asarray(classes)).tolist()


def _asks(name: str, given: object, method: str, names: Sequence[str] | None) -> Callable[..., Any]:
    """The object's method for rows (N,D), which it gets in the form that it was fitted on. What it raises becomes a
    DistillError that says what to do."""
    dress = _dress(name, given, names)

    def ask(x: Array, *more: Any) -> Any:
        if inside_worker():  # where a library may wait for ever for threads that it had started
            what = f"teacher {name!r}: an object from Python was asked in a worker process"
            raise DistillError(f"{what}, which is not safe; set evidence.workers: 1")
        rows = dress(x)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "X does not have valid feature names")
                return getattr(given, method)(rows, *more)
        except (DistillError, MemoryError):
            raise
        except Exception as error:  # of somebody else's code, and so of any kind
            what = f"{method} of {type(given).__name__} fails on rows {x.shape} of {type(rows).__name__}"
            columns = f"[{listing([repr(column) for column in names or ()]) or '...'}]"
            wrapped = f"SimpleNamespace({method}=lambda x: it.{method}(pandas.DataFrame(x, columns={columns})))"
            advice = f"install pandas where it wants a DataFrame, or wrap it, as in types.{wrapped}"
            raise DistillError(f"teacher {name!r}: {what}: {type(error).__name__}: {error}; {advice}") from error

    return ask


def _dress(name: str, given: object, names: Sequence[str] | None) -> Callable[[Array], Any]:
    """What gives an object the rows as it was fitted on them: where it names its columns, as scikit-learn's do, and the
    rows have names, its columns in its order; as a DataFrame where pandas is there."""
    theirs = _features_of(given)
    if names is None or not theirs:
        return lambda x: x
    places = {normal(column): i for i, column in enumerate(names)}
    keys = ["" if UNNAMED.fullmatch(key) and key not in places else key for key in map(normal, theirs)]
    if lacking := [column for i, column in enumerate(theirs) if keys[i] not in places or keys[i] in keys[:i]]:
        if theirs == [f"{theirs[0].removesuffix('0')}{i}" for i in range(len(theirs))]:
            return lambda x: x  # Column_0, Column_1, ...: what LightGBM calls the columns of an array
        what = f"was fitted on the columns {listing(theirs)}, but the data have {listing(names)}"
        raise DataError(f"teacher {name!r}: {what}, without {lacking[0]!r}; fit it on columns of the data, or wrap it")
    order = [places[key] for key in keys]
    try:
        from pandas import DataFrame
    except ImportError:
        return lambda x: x.take(order, axis=1)
    return lambda x: DataFrame(x.take(order, axis=1), columns=theirs)


def _features_of(given: object) -> list[str]:
    """The columns that an object was fitted on, as it spells them; none where it has no list of names."""
    try:
        columns = np.asarray(getattr(given, "feature_names_in_", None))  # a property may raise anything
        return [str(column) for column in columns] if columns.ndim == 1 else []
    except Exception:
        return []


def depth_of(given: object) -> int:
    """How many hidden layers an object can show."""
    return int(getattr(given, "depth", 0)) if _shows(given) else 0


def _shows(given: object) -> bool:
    return callable(getattr(given, "features", None))


def sound(name: str, answer: Any, rows: int, width: int | None) -> Array:
    """An answer as a network would give it. Raises DataError."""
    try:
        found = np.asarray(answer)
    except Exception:  # rows of unequal length, or an object that cannot become an array
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
