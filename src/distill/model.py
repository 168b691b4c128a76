"""A finished network with all it needs to answer about raw rows: scaling, classes, feature names. One .npz file."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from distill.data import Data, Scaling
from distill.data.scaling import SCALES
from distill.errors import DataError
from distill.nn import mlp
from distill.nn.ops import log_softmax
from distill.nn.vector import Array, Vector
from distill.system.arrays import open_npz, read_npz
from distill.system.files import read_header, write_model

FORMAT = 2
LIMITS = ("bound", "reach")  # of the scaling; not in the file where there are none
ADAPTER = "adapter:"  # in front of the name of an adapter's array


@dataclass(frozen=True)
class Model:
    """A trained classifier. Its weights cannot be written to."""

    weights: Vector
    sizes: tuple[int, ...]  # units of every layer, features and classes included
    scaling: Scaling
    classes: tuple[Any, ...]  # the M labels, in the order of the logits
    names: tuple[str, ...] | None = None  # of the features
    label: int | str | None = None  # the label's column in the CSV it was trained on
    dropped: tuple[int, ...] = ()  # the columns that were left out of a CSV without header, from 0

    @property
    def n_parameters(self) -> int:
        """Weights and biases together."""
        return int(self.weights.flat.size)

    @property
    def n_features(self) -> int:
        """Features per row."""
        return self.sizes[0]

    def logits(self, x: ArrayLike) -> Array:  # (N,D) -> (N,M)
        """Logits (N,M), float32, of raw rows x (N,D): unscaled, as in the training file, NaN where a value is missing.

        Raises DataError for another number of features, for what is no number, and for infinities.
        """
        rows = np.asarray(x)
        if rows.dtype.kind not in "fiub" or rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise DataError(
                f"rows of {rows.dtype} {rows.shape}; the model takes numbers of shape (rows, {self.n_features})"
            )
        scaled = self.scaling.apply(rows)
        if not np.isfinite(scaled).all():
            row, column = (int(i) for i in np.argwhere(~np.isfinite(scaled))[0])
            raise DataError(f"x[{row}, {column}] is {rows[row, column]}, which is infinite or too large; replace it")
        with np.errstate(all="ignore"):
            answers = mlp.logits(self.weights, scaled)
        if not np.isfinite(answers).all():
            row = int(np.argwhere(~np.isfinite(answers))[0, 0])
            raise DataError(f"the logits of x[{row}] are not finite: its values, or the model's weights, are too large")
        return answers

    def predict_proba(self, x: ArrayLike) -> Array:  # (N,D) -> (N,M)
        """Probabilities (N,M), float64, one column a class in the order of `classes`; rows sum to 1."""
        probabilities: Array = np.exp(log_softmax(self.logits(x).astype(np.float64)))
        return probabilities

    def predict(self, x: ArrayLike) -> Array:  # (N,D) -> (N,)
        """The most probable class of each row (N,), as its label."""
        predicted: Array = np.array(self.classes)[self.logits(x).argmax(axis=1)]
        return predicted

    def fingerprint(self) -> str:
        """SHA-256 of the weights, in hexadecimal: what changes when any bit of them does."""
        return hashlib.sha256(self.weights.flat.tobytes()).hexdigest()

    def save(self, path: str | Path, adapters: Mapping[str, Array] | None = None) -> None:
        """Write the model to one .npz file, whole or not at all. Raises OutputError.

        With `adapters`, those that it was trained with, (D,C+1) each with the bias last, the file is a full checkpoint:
        a model all the same, and the adapters beside it (`load_adapters`).
        """
        arrays = {"weights": self.weights.flat} | {
            "offset": self.scaling.offset,
            "factor": self.scaling.factor,
            "fill": self.scaling.fill,
        }
        arrays |= {name: limit for name in LIMITS if np.isfinite(limit := getattr(self.scaling, name)).any()}
        write_model(Path(path), _header(self), arrays | {f"{ADAPTER}{k}": a for k, a in (adapters or {}).items()})


def from_training(weights: Vector, sizes: Sequence[int], data: Data) -> Model:
    """A model with a frozen copy of the weights that training left, and the data's scaling and classes."""
    dropped = () if data.names else data.raw.rows.dropped
    return Model(weights.frozen(), tuple(sizes), data.scaling, data.classes, data.names, data.label, dropped)


def reordered(model: Model, places: Array) -> Model:
    """The model with its classes in another order: the first is the one that stood at places[0], and so on."""
    weights = Vector(model.weights.shapes, flat=model.weights.flat.copy())
    last = weights.views[f"w{len(model.sizes) - 1}"]
    last[:] = last[places]
    return replace(model, weights=weights.frozen(), classes=tuple(model.classes[i] for i in places))


def load_model(path: str | Path) -> Model:
    """Read a model that `save` wrote. Raises DataError where the file is missing, torn or not such a model."""
    path = Path(path)
    header = read_header(path)
    if header.get("format") != FORMAT:
        raise DataError(
            f"{path}: model format {header.get('format')!r}; this version reads format {FORMAT}; train it again"
        )
    try:
        sizes, classes, names = tuple(header["sizes"]), tuple(header["classes"]), header["names"]
        if len(sizes) < 2 or not all(type(size) is int and 0 < size < 2**31 for size in sizes):
            raise ValueError(f"layers of {sizes} units")
        shapes = dict.fromkeys(("offset", "factor", "fill", *LIMITS), sizes[:1])
        arrays = read_npz(path, {"weights": (mlp.count(sizes),), **shapes})
        weights = Vector(mlp.shapes(sizes), flat=arrays["weights"]).frozen()
        limits = {name: arrays[name] for name in LIMITS if name in arrays}
        scaling = Scaling(header["scale"], arrays["offset"], arrays["factor"], arrays["fill"], **limits)
        names, dropped = None if names is None else tuple(names), tuple(header.get("dropped", ()))
        model = Model(weights, sizes, scaling, classes, names, header["label"], dropped)
        _check(model, header)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: not a whole model file of distill: {error}; train it again") from None
    return model


def load_adapters(path: str | Path) -> dict[str, Array]:
    """The adapters of a full checkpoint by name, TEACHER.LAYER-LAYER (teacher's, then student's), each (D,C+1): it maps
    C units of the student, and a 1, to D of the teacher. Empty for a plain model. Raises DataError."""
    load_model(path)
    with open_npz(Path(path)) as file:
        arrays = file.read(name for name in file.names if name.startswith(ADAPTER))
    return {name.removeprefix(ADAPTER): array for name, array in arrays.items()}


def _header(model: Model) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "sizes": list(model.sizes),
        "activation": "relu",
        "classes": list(model.classes),
        "names": None if model.names is None else list(model.names),
        "label": model.label,
        "scale": model.scaling.kind,
    } | ({"dropped": list(model.dropped)} if model.dropped else {})


def _check(model: Model, header: dict[str, Any]) -> None:
    """Raise ValueError unless the model's parts fit together and its header is the one that `save` would write."""
    scaling = (model.scaling.offset, model.scaling.factor, model.scaling.fill)
    wrong = {
        "header": _header(model) != header,
        "classes": len(set(map(str, model.classes))) != len(model.classes)
        or len(model.classes) != model.sizes[-1]
        or not all(type(label) in (str, int, float, bool) for label in model.classes),
        "label": type(model.label) not in (type(None), str, int),
        "dropped": (model.names is not None and model.dropped != ())
        or not all(type(column) is int and column >= 0 for column in model.dropped),
        "scale": model.scaling.kind not in SCALES,
        "names": model.names is not None
        and (len(set(model.names)) != model.sizes[0] or not all(type(name) is str for name in model.names)),
        "scaling": not all(
            one.shape == model.sizes[:1] and one.dtype == np.float64 and np.isfinite(one).all() for one in scaling
        ),
        "limits": not all(
            np.shape(limit) in ((), model.sizes[:1])
            and np.asarray(limit).dtype == np.float64
            and np.greater_equal(limit, 0).all()
            for limit in (model.scaling.bound, model.scaling.reach)
        ),
        "weights": model.weights.stack != ()
        or model.weights.flat.dtype != np.float32
        or not np.isfinite(model.weights.flat).all(),
    }
    if faults := [part for part, is_wrong in wrong.items() if is_wrong]:
        raise ValueError(f"its {' and '.join(faults)} cannot be right")
