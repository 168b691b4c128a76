"""Where a teacher comes from: trained here, a model file, a file of predictions, or an object from Python."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from distill.config.schema import Config, TeacherPlan, stages_of, teacher_weights
from distill.data.labels import listing, normal
from distill.data.rows import Data
from distill.data.table import locate
from distill.errors import DataError
from distill.model import Model, load_model, reordered
from distill.nn.vector import Array
from distill.teacher import predictions
from distill.teacher.compute import compute_all
from distill.teacher.predictions import class_order
from distill.teacher.python_teacher import classes_of, depth_of, layers_of, method_of
from distill.teacher.screening import screened
from distill.teacher.teacher import Outputs, Teacher
from distill.train.fit import Run, Trained, fit
from distill.train.outputs import Respond


@dataclass(frozen=True)
class _Request:
    """One teacher of a plan, and what it may be made from."""

    name: str
    plan: Config
    data: Data
    run: Run
    earlier: Mapping[str, Teacher]
    python_object: object

    @property
    def teacher_plan(self) -> TeacherPlan:
        return self.plan.teachers[self.name]


def obtain(
    name: str, plan: Config, data: Data, run: Run, earlier: Mapping[str, Teacher], python_object: object = None
) -> Teacher:
    """Return one teacher of the plan. `earlier` are those that it may learn from.

    Raises DistillError where it is no better than guessing, or its rows or columns are in another order, unless
    distillation.weak_teacher is warn; DataError where it does not fit the data, TypeError where an object lacks a
    method.
    """
    request = _Request(name, plan, data, run, earlier, python_object)
    teacher = SOURCES[request.teacher_plan.origin](request)
    return screened(teacher, plan, data, run.seed)


def from_model(name: str, model: Model, trained: Trained | None = None) -> Teacher:
    """Return a network that takes rows as the data has them."""
    fingerprint, depth = model.fingerprint(), model.network.depth
    return Teacher(
        name,
        lambda rows: rows.x,
        model.outputs,
        model.outputs,
        depth,
        model,
        trained,
        model.n_parameters,
        fingerprint,
        fingerprint,
    )


def _trained(request: _Request) -> Teacher:
    name, training, data = request.name, request.teacher_plan, request.data
    stages = stages_of(training, training.terms)
    teachers = {teacher: request.earlier[teacher] for teacher in teacher_weights(training.terms)}
    labelled = data.train.y >= 0
    if not labelled.all() and not teachers:
        data = replace(data, train=data.train.take(np.flatnonzero(labelled)))
    outputs = compute_all(teachers, data.train, stages, len(training.hidden), request.plan)
    streams = "teacher" if name == "teacher" else f"teacher {name}"
    try:
        trained = fit({name: stages}, training, data, outputs, request.run, streams)[name]
    finally:
        for of_teacher in outputs.values():
            of_teacher.close()
    return from_model(name, trained.model, trained)


def _loaded(request: _Request) -> Teacher:
    name, data, path = request.name, request.data, request.teacher_plan.load
    assert path is not None
    model, subject = load_model(locate(path)), f"teacher {name!r}: {path}"
    if model.n_features != data.features:
        what = f"takes {model.n_features} features, but the data have {data.features}"
        raise DataError(f"{subject}: {what}; give a model of such rows")
    columns, column_notes = _column_order(subject, model.names, data.names)
    if model.dropped and data.raw.rows.dropped and not data.names and model.dropped != data.raw.rows.dropped:
        what = f"was trained without the columns {listing(model.dropped)}, the data are read without"
        raise DataError(f"{subject}: {what} {listing(data.raw.rows.dropped)}; set data.drop alike")
    classes, class_notes = class_order(subject, model.classes, data.classes)
    scaling = model.scaling
    model = model if classes is None else reordered(model, classes)
    parts = [model.weights.flat, scaling.offset, scaling.factor, scaling.fill, np.asarray(scaling.bound)]
    parts += [] if columns is None else [columns]
    key = hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()

    def respond(x: Array, layers: Collection[int]) -> Outputs:
        return model.outputs(scaling.apply(x if columns is None else x.take(columns, axis=1)), layers)

    return replace(
        from_model(name, model),
        inputs=data.unscaled,
        respond=respond,
        respond_to_noisy=_from_scaled(data, respond),
        cache_key=key,
        notes=(*column_notes, *class_notes),
    )


def _column_order(
    subject: str, names: Sequence[str] | None, data_names: Sequence[str] | None
) -> tuple[Array | None, tuple[str, ...]]:
    """Where each feature of a model stands among the data's, and a note of it; (None, ()) where both have one order, or
    one of them has no names. Raises DataError where they are not the same features."""
    if not names or not data_names:
        return None, ()
    wanted, there = ([*map(normal, of_either)] for of_either in (names, data_names))
    if wanted == there:
        return None, ()
    if sorted(wanted) != sorted(there):
        what = f"takes the features {listing(names)}, but the data have {listing(data_names)}"
        raise DataError(f"{subject}: {what}; give a model of such rows")
    note = f"{subject}: the data's columns were put into the order of its features, {listing(names)}"
    return np.array([there.index(name) for name in wanted]), (note,)


def _predicted(request: _Request) -> Teacher:
    path, kind = request.teacher_plan.predictions, request.teacher_plan.kind
    assert path is not None
    predicted = predictions.read(path, kind, request.data, request.name)
    return Teacher(
        request.name,
        inputs=lambda rows: None if rows.tested else predicted.of(rows.ids),
        respond=lambda logits, layers: (logits, {}),
        fingerprint=predicted.fingerprint,
        cache_key=predicted.fingerprint,
        kind=predicted.kind,
        notes=predicted.notes,
    )


def _from_python(request: _Request) -> Teacher:
    name, data, teacher = request.name, request.data, request.python_object
    logits_of, layer_of = method_of(name, teacher, data.names), layers_of(name, teacher, data.names)
    classes = classes_of(teacher)
    subject = f"teacher {name!r}: {type(teacher).__name__}"
    order, notes = class_order(subject, data.classes if classes is None else classes, data.classes)

    def respond(x: Array, layers: Collection[int]) -> Outputs:
        logits = logits_of(x, len(data.classes))
        return logits if order is None else logits.take(order, axis=1), {k: layer_of(x, k) for k in layers}

    count: Any = getattr(teacher, "n_parameters", None)
    return Teacher(
        name,
        inputs=data.unscaled,
        respond=respond,
        respond_to_noisy=_from_scaled(data, respond),
        depth=depth_of(teacher),
        parameters=count if type(count) is int and count > 0 else None,
        notes=notes,
    )


def _from_scaled(data: Data, respond: Respond) -> Respond:
    """What takes features as the networks take them, and responds to raw ones."""
    return lambda x, layers: respond(data.scaling.undo(x), layers)


SOURCES: dict[str, Callable[[_Request], Teacher]] = {
    "trained": _trained,
    "load": _loaded,
    "predictions": _predicted,
    "python": _from_python,
}
