"""A finished network with all it needs to predict from raw rows: scaling, classes, feature names. One .npz file."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from distill.config.families import FAMILIES, USUAL
from distill.config.schema import Training
from distill.data.rows import Data
from distill.data.scaling import SCALES, Scaling
from distill.errors import DataError
from distill.nn.network import Network
from distill.nn.ops import log_softmax
from distill.nn.vector import Array, Vector
from distill.system.arrays import open_npz, read_npz
from distill.system.files import read_header, write_model

FORMAT = 3
READ = (2, 3)  # a file of format 2 names no family: it holds a perceptron
LIMITS = ("bound", "reach")  # of the scaling; not in the file where there are none
ADAPTER = "adapter:"  # in front of the name of an adapter's array


@dataclass(frozen=True)
class Model:
    """A trained classifier. Its weights cannot be written to."""

    weights: Vector
    network: Network
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
    def sizes(self) -> tuple[int, ...]:
        """Units of every layer, features and classes included."""
        return self.network.units

    @property
    def n_features(self) -> int:
        """Features per row."""
        return self.network.units[0]

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
        logits, _ = self.outputs(scaled)
        if not np.isfinite(logits).all():
            row = int(np.argwhere(~np.isfinite(logits))[0, 0])
            raise DataError(f"the logits of x[{row}] are not finite: its values, or the model's weights, are too large")
        return logits

    def outputs(self, scaled: Any, layers: Collection[int] = ()) -> tuple[Array, dict[int, Array]]:
        """Return the logits (N,M) of scaled rows (N,D), and the outputs (N,C) of these hidden layers, from 1."""
        with np.errstate(all="ignore"):
            return self.network.apply(self.weights, scaled, layers)

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


def family(name: str) -> type[Network]:
    """Return the class of a family of networks. Raises KeyError."""
    module, _, inside = FAMILIES[name].partition(":")
    network: type[Network] = getattr(import_module(module), inside)
    return network


def network_for(training: Training, data: Data) -> Network:
    """Return the network that a plan describes, between the data's features and classes."""
    return family(training.network).build(data.features, training.hidden, len(data.classes))


def model_of(network: Network, weights: Vector, data: Data) -> Model:
    """Return a model with a frozen copy of the weights that training left, and the data's scaling and classes."""
    dropped = () if data.names else data.raw.rows.dropped
    return Model(weights.frozen(), network, data.scaling, data.classes, data.names, data.label, dropped)


def reordered(model: Model, order: Array) -> Model:
    """Return the model with its classes in another order: the first is then the one at order[0], and so on."""
    weights = Vector(model.weights.shapes, flat=model.weights.flat.copy())
    model.network.reorder_classes(weights, order)
    return replace(model, weights=weights.frozen(), classes=tuple(model.classes[i] for i in order))


def load_model(path: str | Path) -> Model:
    """Read a model that `save` wrote. Raises DataError where the file is missing, torn or not such a model."""
    path = Path(path)
    header = read_header(path)
    if header.get("format") not in READ:
        raise DataError(
            f"{path}: model format {header.get('format')!r}; this version reads format {FORMAT}; train it again"
        )
    try:
        network, classes, names = _network(header), tuple(header["classes"]), header["names"]
        shapes = dict.fromkeys(("offset", "factor", "fill", *LIMITS), network.units[:1])
        arrays = read_npz(path, {"weights": (network.size,), **shapes})
        weights = Vector(network.shapes, flat=arrays["weights"]).frozen()
        limits = {name: arrays[name] for name in LIMITS if name in arrays}
        scaling = Scaling(header["scale"], arrays["offset"], arrays["factor"], arrays["fill"], **limits)
        names, dropped = None if names is None else tuple(names), tuple(header.get("dropped", ()))
        model = Model(weights, network, scaling, classes, names, header["label"], dropped)
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


def _network(header: Mapping[str, Any]) -> Network:
    """The network that a header describes. Raises KeyError, TypeError or ValueError where it describes none."""
    if header["format"] == 2:
        return family(USUAL).restore({"sizes": header["sizes"]})
    if header["family"] not in FAMILIES:
        raise ValueError(f"the family {header['family']!r} is not one of {', '.join(FAMILIES)}")
    return family(header["family"]).restore(header["network"])


def _header(model: Model, version: int = FORMAT) -> dict[str, Any]:
    network: dict[str, Any] = {"family": model.network.family, "network": model.network.describe()}
    if version == 2:
        network = {"sizes": list(model.network.units), "activation": "relu"}
    return {
        "format": version,
        **network,
        "classes": list(model.classes),
        "names": None if model.names is None else list(model.names),
        "label": model.label,
        "scale": model.scaling.kind,
    } | ({"dropped": list(model.dropped)} if model.dropped else {})


def _check(model: Model, header: dict[str, Any]) -> None:
    """Raise ValueError unless the model's parts fit together and its header is the one that `save` would write."""
    scaling = (model.scaling.offset, model.scaling.factor, model.scaling.fill)
    wrong = {
        "header": _header(model, header["format"]) != header,
        "classes": len(set(map(str, model.classes))) != len(model.classes)
        or len(model.classes) != model.network.units[-1]
        or not all(type(label) in (str, int, float, bool) for label in model.classes),
        "label": type(model.label) not in (type(None), str, int),
        "dropped": (model.names is not None and model.dropped != ())
        or not all(type(column) is int and column >= 0 for column in model.dropped),
        "scale": model.scaling.kind not in SCALES,
        "names": model.names is not None
        and (len(set(model.names)) != model.n_features or not all(type(name) is str for name in model.names)),
        "scaling": not all(
            array.shape == (model.n_features,) and array.dtype == np.float64 and np.isfinite(array).all()
            for array in scaling
        ),
        "limits": not all(
            np.shape(limit) in ((), (model.n_features,))
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
