"""Objects from Python as teachers: the methods that they need, and the checks of what those return."""

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
    """Base class of your own teachers: pass an instance to `distill.run(..., teachers={name: it})`.

    `classes`, where set, are the labels in the order of the logits, which are put into that of the data. `depth` is
    the number of hidden layers that it can show; above 0 it also has a method `features(x, layer)`, from raw rows (N,D)
    and a layer from 1 to `depth` to that layer's output (N,C).
    """

    classes: Sequence[Any] | None = None
    depth: int = 0

    @abstractmethod
    def logits(self, x: Array) -> ArrayLike:  # (N,D) -> (N,M)
        """Return logits of raw rows, unscaled, as in the training file. Logarithms of probabilities are logits, too."""


def check_python_teachers(teachers: object) -> None:
    """Raise TypeError unless this is a mapping from names to objects with the methods of a teacher."""
    if not isinstance(teachers, Mapping) or not all(isinstance(name, str) for name in teachers):
        raise TypeError(f"teachers is a {type(teachers).__name__}; must be a mapping from names (texts) to objects")
    for name, teacher in teachers.items():
        if isinstance(teacher, type):
            raise TypeError(f"teacher {name!r} is the class {teacher.__name__}; give an object of it")
        depth = getattr(teacher, "depth", 0)
        if _has_features(teacher) and (type(depth) is not int or depth < 0):
            raise TypeError(f"teacher {name!r} has a depth of {depth!r}; must be a whole number from 0")
        method_of(name, teacher)


def method_of(name: str, teacher: object, names: Sequence[str] | None = None) -> Callable[[Array, int], Array]:
    """Return a function from rows (N,D) and a number of classes to logits: the object's `logits`, or its
    `predict_proba` (scikit-learn's protocol). `names` are the rows' columns. Raises TypeError where a method is
    missing."""
    if isinstance(teacher, TeacherModel) and teacher.depth and not _has_features(teacher):
        what = f"teacher {name!r} is of type {type(teacher).__name__}, which has a depth and lacks the method features"
        raise TypeError(f"{what}; give it one (rows, layer -> features), or a depth of 0")
    if callable(getattr(teacher, "logits", None)):
        call = _caller(name, teacher, "logits", names)
        return lambda x, m: check_output(name, call(x), len(x), m)
    if callable(getattr(teacher, "predict_proba", None)):
        probabilities_of = _caller(name, teacher, "predict_proba", names)

        def logits(x: Array, m: int) -> Array:
            shares = check_output(name, probabilities_of(x), len(x), m)
            return as_logits(shares, "probabilities", f"teacher {name!r}")[0]

        return logits
    what = f"teacher {name!r} is of type {type(teacher).__name__}, which lacks the method predict_proba"
    raise TypeError(f"{what}; give it one (rows -> probabilities), or subclass distill.TeacherModel")


def layers_of(name: str, teacher: object, names: Sequence[str] | None) -> Callable[[Array, int], Array]:
    """Return a function from rows (N,D) and a layer to the output (N,C) of that layer."""
    features_of = _caller(name, teacher, "features", names)
    return lambda x, layer: check_output(name, features_of(x, layer), len(x), None)


def classes_of(teacher: object) -> list[Any] | None:
    """Return the labels that an object names, in the order of its columns, or None."""
    classes = getattr(teacher, "classes" if hasattr(teacher, "logits") else "classes_", None)
    return None if classes is None else np.atleast_1d(np.asarray(classes)).tolist()


def _caller(name: str, teacher: object, method: str, names: Sequence[str] | None) -> Callable[..., Any]:
    """The object's method, called with rows (N,D) in the form that it was fitted on. What it raises becomes a
    DistillError that says what to do."""
    as_fitted = _rows_as_fitted(name, teacher, names)

    def call(x: Array, *more: Any) -> Any:
        if inside_worker():  # where a library may wait for ever for threads that it had started
            what = f"teacher {name!r}: an object from Python was asked in a worker process"
            raise DistillError(f"{what}, which is not safe; set evidence.workers: 1")
        rows = as_fitted(x)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "X does not have valid feature names")
                return getattr(teacher, method)(rows, *more)
        except (DistillError, MemoryError):
            raise
        except Exception as error:  # of somebody else's code, and so of any kind
            what = f"{method} of {type(teacher).__name__} fails on rows {x.shape} of {type(rows).__name__}"
            columns = f"[{listing([repr(column) for column in names or ()]) or '...'}]"
            wrapped = f"SimpleNamespace({method}=lambda x: it.{method}(pandas.DataFrame(x, columns={columns})))"
            advice = f"install pandas where it wants a DataFrame, or wrap it, as in types.{wrapped}"
            raise DistillError(f"teacher {name!r}: {what}: {type(error).__name__}: {error}; {advice}") from error

    return call


def _rows_as_fitted(name: str, teacher: object, names: Sequence[str] | None) -> Callable[[Array], Any]:
    """A function from rows (N,D) to the form that an object was fitted on: where both it and the rows name their
    columns, its columns in its order, as a DataFrame where pandas is installed."""
    fitted_names = _features_of(teacher)
    if names is None or not fitted_names:
        return lambda x: x
    places = {normal(column): i for i, column in enumerate(names)}
    keys = ["" if UNNAMED.fullmatch(key) and key not in places else key for key in map(normal, fitted_names)]
    if missing := [column for i, column in enumerate(fitted_names) if keys[i] not in places or keys[i] in keys[:i]]:
        if fitted_names == [f"{fitted_names[0].removesuffix('0')}{i}" for i in range(len(fitted_names))]:
            return lambda x: x  # Column_0, Column_1, ...: what LightGBM calls the columns of an array
        what = f"was fitted on the columns {listing(fitted_names)}, but the data have {listing(names)}"
        raise DataError(f"teacher {name!r}: {what}, without {missing[0]!r}; fit it on columns of the data, or wrap it")
    order = [places[key] for key in keys]
    try:
        from pandas import DataFrame
    except ImportError:
        return lambda x: x.take(order, axis=1)
    return lambda x: DataFrame(x.take(order, axis=1), columns=fitted_names)


def _features_of(teacher: object) -> list[str]:
    """The names of the columns that an object was fitted on; none where it has no list of names."""
    try:
        columns = np.asarray(getattr(teacher, "feature_names_in_", None))  # a property may raise anything
        return [str(column) for column in columns] if columns.ndim == 1 else []
    except Exception:
        return []


def depth_of(teacher: object) -> int:
    """Return the number of hidden layers that an object can show."""
    return int(getattr(teacher, "depth", 0)) if _has_features(teacher) else 0


def _has_features(teacher: object) -> bool:
    return callable(getattr(teacher, "features", None))


def check_output(name: str, output: Any, rows: int, width: int | None) -> Array:
    """Return what a method gave as float32 (N,width). Raises DataError."""
    try:
        array = np.asarray(output)
    except Exception:  # rows of unequal length, or an object that cannot become an array
        array = np.asarray(None)
    if array.ndim != 2 or array.dtype.kind not in "fiu" or len(array) != rows or width not in (None, array.shape[1]):
        wanted = f"numbers of shape ({rows}, {width or 'units'})"
        raise DataError(f"teacher {name!r}: answers of {array.dtype} {array.shape}; must be {wanted}")
    with np.errstate(over="ignore"):
        small: Array = array.astype(np.float32)
    if not np.isfinite(small).all():
        row = int(np.argwhere(~np.isfinite(small))[0, 0])
        what = f"its answer to row {row} of {rows} is not finite in float32: {array[row].tolist()[:6]}"
        raise DataError(f"teacher {name!r}: {what}; answer with finite numbers")
    return small
