"""Teachers: obtain them, make sure they are worth listening to, and listen to them once.

A teacher is whatever answers for rows: a network trained here, a model file, a file of predictions, or an object given
from Python.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from distill.config.schema import Config, Stage, TeacherPlan, layer_pairs, stages_of, teacher_weights
from distill.data import Data, Rows
from distill.data.labels import listing, normal
from distill.data.scaling import BLOCK_NUMBERS
from distill.data.table import locate
from distill.errors import DataError, DistillError
from distill.model import Model, load_model, reordered
from distill.nn import metrics, mlp
from distill.nn.vector import Array
from distill.system.rng import stream
from distill.teacher import predictions, quality
from distill.teacher.cache import keep
from distill.teacher.predictions import class_order
from distill.teacher.python_teacher import classes_of, depth_of, layers_of, method_of
from distill.train.fit import OnEpoch, Trained, fit
from distill.train.outputs import Answers, Respond


@dataclass(frozen=True)
class Obtained:
    """A teacher that is ready to answer.

    `look` gives what it sees of some rows: features as the networks take them, raw ones, or the rows' numbers; None
    where it can say nothing. `answer` gives logits (N,M) and the hidden layers asked for, {k: (N,C)}, for those.
    `refresh` answers for features as a network takes them, with noise.
    """

    name: str
    look: Callable[[Rows], Any]
    answer: Respond
    refresh: Respond | None = None
    depth: int = 0
    model: Model | None = None
    trained: Trained | None = None
    parameters: int | None = None
    print: str | None = None  # SHA-256 of its weights, or of its predictions
    key: str | None = None  # SHA-256 of all that its answers depend on, where they may be cached
    kind: str | None = None  # logits or probabilities, where that had to be found out
    notes: tuple[str, ...] = ()  # what was changed about it, a sentence each
    weak: str = ""  # what speaks against it, where it is heard all the same
    judged: dict[bytes, Array | None] = field(default_factory=dict)  # what it said of rows that models are judged on

    def unchanged(self) -> bool:
        """Whether its weights are still those that it was obtained with."""
        return self.model is None or self.model.fingerprint() == self.print

    def logits(self, rows: Rows) -> Array | None:
        """Logits (N,M) of rows that models are judged on, or None where it cannot answer; it is asked but once."""
        key = bytes([rows.tested]) + rows.ids.tobytes()
        if key not in self.judged:
            parts = [found for _, found in self.ask(rows, ())]
            known = all(found is not None for found in parts)
            self.judged[key] = np.concatenate([logits for logits, _ in parts]) if known else None
        return self.judged[key]

    def ask(self, rows: Rows, layers: Collection[int]) -> Iterator[tuple[slice, Any]]:
        """Its answers block by block, each with its place; None in place of an answer that it does not have."""
        for start in range(0, len(rows), block := _block_rows(rows)):
            some = slice(start, min(start + block, len(rows)))
            part = rows if block >= len(rows) else rows.take(np.arange(some.start, some.stop))
            seen = self.look(part)
            yield some, None if seen is None else self.answer(seen, layers)


@dataclass(frozen=True)
class _Wanted:
    """What it takes to obtain one teacher."""

    name: str
    plan: Config
    data: Data
    above: Mapping[str, Obtained]
    seed: int
    on_epoch: OnEpoch
    threads: int
    given: object

    @property
    def own(self) -> TeacherPlan:
        """Its own part of the plan."""
        return self.plan.teachers[self.name]


def obtain(
    name: str,
    plan: Config,
    data: Data,
    above: Mapping[str, Obtained],
    seed: int,
    on_epoch: OnEpoch,
    threads: int = 1,
    given: object = None,
) -> Obtained:
    """Get one teacher of the plan, and judge whether it is worth hearing. `above` are those that it may have learned
    from, `given` the object where it comes from Python.

    Raises DistillError where its answers go no better with the labels than chance or its columns fit another order,
    unless distillation.weak_teacher is warn; DataError where it does not fit the data, TypeError where an object lacks
    a method.
    """
    wanted = _Wanted(name, plan, data, above, seed, on_epoch, threads, given)
    return _judge(OBTAIN[wanted.own.origin](wanted), wanted)


def weak_notes(teachers: Mapping[str, Obtained], seeds: Sequence[Mapping[str, Any]], several: bool) -> list[str]:
    """A note for each teacher that is heard although it is not worth hearing: why, or of several seeds under which.
    `seeds` are their figures, `teachers` those of the first."""
    notes = []
    for name, one in teachers.items():
        if weak := [figures["seed"] for figures in seeds if name in figures["weak_teachers"]]:
            under = f"under {len(weak)} of {len(seeds)} seeds ({listing(weak)}) {_known_as(name)} is not worth hearing"
            notes.append(f"{under if several else one.weak}; heard all the same, as distillation.weak_teacher is warn")
    return notes


def needed(stages: Sequence[Stage], name: str, depth: int, hidden: int) -> list[int]:
    """The layers of a teacher that a network with so many hidden layers looks at; 0 is the input."""
    terms = [term for stage in stages for term in stage.terms if term.matters and term.layered]
    maps = [term.options["layers"] for term in terms if term.teachers[0][0] == name]
    if not depth and "auto" in maps:
        raise DataError(f"teacher {name!r}: has no hidden layers to look at; use a loss on logits, or another teacher")
    try:
        pairs = [layer_pairs(layers, depth, hidden) for layers in maps]
    except ValueError as error:
        raise DataError(f"teacher {name!r}: {error}") from None
    return sorted({t for some in pairs for t, _ in some})


def listen(teacher: Obtained, rows: Rows, layers: Collection[int], megabytes: float, cache: str | None) -> Answers:
    """The frozen teacher's answers to these rows. They never change, so they are computed once: in memory, or on disk
    where they take more than so many megabytes; in the folder `cache` for later runs, too."""
    inner = [k for k in layers if k]
    seen = teacher.look(rows.take(np.arange(1)))
    if seen is None:
        raise DataError(f"teacher {teacher.name!r}: has no answers for the rows that the student is trained on")
    n, (logits, hidden) = len(rows), teacher.answer(seen, inner)
    shapes = {"logits": (n, logits.shape[1])} | {f"h{k}": (n, one.shape[1]) for k, one in hidden.items()}
    folder = Path(cache) if cache is not None and teacher.key is not None else None
    ask = _named_parts(teacher, rows, inner, shapes)
    if folder is None and 4 * sum(n * width for _, width in shapes.values()) <= megabytes * 1_000_000:
        arrays: dict[str, Array] = {name: np.empty(shape, np.float32) for name, shape in shapes.items()}
        held = None
        for name, some, part in ask:
            arrays[name][some] = part
    else:
        key = {"teacher": teacher.key or "", "rows": _print_of(teacher, rows) if folder else "", "layers": inner}
        arrays, held = keep(ask, shapes, folder, key, rows.ids)
    features: dict[int, Any] = {k: arrays[f"h{k}"] for k in inner}
    if 0 in layers:
        features[0] = rows.x
    return Answers(arrays["logits"], features, rows.ids, teacher.depth, teacher.refresh, held)


def listen_to_all(
    teachers: Mapping[str, Obtained], rows: Rows, stages: Sequence[Stage], hidden: int, plan: Config
) -> dict[str, Answers]:
    """What each of these teachers says that a network with so many hidden layers needs for its stages."""
    limit, cache = plan.data.in_memory_mb, plan.performance.cache
    return {
        name: listen(one, rows, needed(stages, name, one.depth, hidden), limit, cache) for name, one in teachers.items()
    }


def _named_parts(
    teacher: Obtained, rows: Rows, layers: Collection[int], shapes: Mapping[str, tuple[int, int]]
) -> Iterator[tuple[str, slice, Array]]:
    """All answers part by part, by the names of their arrays."""
    for some, found in teacher.ask(rows, layers):
        assert found is not None
        parts = {"logits": found[0]} | {f"h{k}": one for k, one in found[1].items()}
        for name, part in parts.items():
            if part.shape[1] != shapes[name][1]:
                what = f"{part.shape[1]} units of {name}, and {shapes[name][1]} before"
                raise DataError(f"teacher {teacher.name!r}: answers with {what}; must be as many for every row")
            yield name, some, part


def _block_rows(rows: Rows) -> int:
    """Rows asked about at a time: all of them where they are in memory, else whole blocks of a network's own."""
    if isinstance(rows.x, np.ndarray):
        return max(1, len(rows))
    own = mlp.EVALUATION_ROWS
    return max(1, BLOCK_NUMBERS // (rows.x.shape[1] * own)) * own


def _print_of(teacher: Obtained, rows: Rows) -> str:
    """SHA-256 of what the teacher sees of the rows."""
    digest = hashlib.sha256()
    for start in range(0, len(rows), block := _block_rows(rows)):
        seen = np.asarray(teacher.look(rows.take(np.arange(start, min(start + block, len(rows))))))
        digest.update(f"{seen.dtype} {seen.shape}".encode() + np.ascontiguousarray(seen).tobytes())
    return digest.hexdigest()


def _judge(teacher: Obtained, wanted: _Wanted) -> Obtained:
    """Refuse a teacher that is not worth hearing, or note it where the plan goes on all the same."""
    fault, advice = _fault(teacher, wanted)
    if not fault:
        return teacher
    if wanted.plan.distillation.weak_teacher == "refuse":
        further = "or go on all the same with distillation.weak_teacher: warn"
        raise DistillError(f"{fault}; nothing was distilled. {advice}, {further}")
    return replace(teacher, weak=fault)


def _fault(teacher: Obtained, wanted: _Wanted) -> tuple[str, str]:
    """What speaks against a teacher, and what to do about it; two empty texts where nothing does.

    Its answers must go with the labelled rows, those trained on included, and be of some use on the validation rows
    alone; test rows have no say.
    """
    data, known, trained = wanted.data, wanted.data.train.y, wanted.own.origin == "trained"
    learned = data.train.take(quality.sample(known))
    pairs = [(np.concatenate([part[0] for _, part in teacher.ask(learned, ())]), learned.y)]
    held_out = teacher.logits(data.validation)
    pairs += [] if held_out is None else [(held_out, data.validation.y)]
    logits, labels = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    if not trained and (order := quality.order(logits, labels)) is not None:
        return _misplaced(teacher.name, order, logits, labels, data.classes)
    judged, where = quality.Worth(*pairs[-1], known), "training" if held_out is None else "validation"
    took_steps = teacher.trained is None or teacher.trained.steps > 0
    asked = quality.least_fit(len(labels), quality.CLEARLY if trained else quality.CHANCE)
    goes = (reached := quality.fit(logits, labels)) < asked
    luck = 0.0
    if goes and not trained:
        luck = quality.luck(logits, labels, stream(wanted.seed, f"shuffles {teacher.name}"))
        goes = luck <= quality.most_luck(asked)
    if took_steps and judged.of_use and (goes or (trained and quality.Worth(*pairs[0], learned.y).informed)):
        return "", ""
    what = _weak(teacher.name, wanted.own, judged, where)
    if not goes:
        what += f"; its answers to {len(labels):,} labelled rows {_fit_in_words(reached, asked, luck)}"
    if trained:
        rate = f"another learning_rate (now {wanted.own.learning_rate:g})"
        return what, f"Try more teacher_epochs, {rate}, check the label column"
    return what, (
        "Check that its classes stand in the order of the data's, and its rows in that of the source (a file of the "
        "training rows fits one split alone)"
    )


def _fit_in_words(reached: float, asked: float, luck: float) -> str:
    digits = next((n for n in range(1, 4) if round(-reached, n) != round(-asked, n)), 4)  # so that the two differ
    direction, most = "worse" if reached > 0 else "better", quality.most_luck(asked)
    words = f"fit {abs(reached):.{digits}f} standard deviations {direction} than in random order"
    if luck:
        return f"{words}, but {100 * luck:.2g} % of random orders fit as well; must be {100 * most:.2g} % or fewer"
    return f"{words}; must be more than {-asked:.{digits}f} better"


def _misplaced(name: str, order: Array, logits: Array, labels: Array, classes: Sequence[Any]) -> tuple[str, str]:
    now, then = (metrics.accuracy(some, labels) for some in (logits, logits[:, np.argsort(order)]))
    fits = f"but its columns fit the order {listing([classes[k] for k in order])}, in which it is right on {then:.4f}"
    return (
        f"{_known_as(name)} is right on {now:.4f} of {len(labels):,} labelled rows, {fits}",
        "Put its columns into the order of the data's classes, or name them (classes of an NPZ or an object, the "
        "header of a CSV)",
    )


def _weak(name: str, plan: TeacherPlan, judged: quality.Worth, where: str) -> str:
    trained = plan.origin == "trained"
    verdict = "learned nothing" if trained else "knows nothing about these rows"
    after = f" after {plan.epochs} epochs" if trained else ""
    return (
        f"{_known_as(name)} {verdict}: {judged.accuracy:.4f} of the {where} rows right{after} at a cross-entropy of "
        f"{judged.cross_entropy:.4f}, while always guessing the commonest class gives {judged.guessing:.4f}, and the "
        f"classes' shares give {judged.shares:.4f}"
    )


def _known_as(name: str) -> str:
    return "the teacher" if name == "teacher" else f"the teacher {name!r}"


def _train(wanted: _Wanted) -> Obtained:
    name, one, data, plan = wanted.name, wanted.own, wanted.data, wanted.plan
    stages = stages_of(one, one.terms)
    heard_by = {teacher: wanted.above[teacher] for teacher in teacher_weights(one.terms)}
    known = data.train.y >= 0
    seen = data if known.all() or heard_by else replace(data, train=data.train.take(np.flatnonzero(known)))
    answers = listen_to_all(heard_by, seen.train, stages, len(one.hidden), plan)
    streams = "teacher" if name == "teacher" else f"teacher {name}"
    try:
        trained = fit({name: stages}, one, seen, answers, wanted.seed, streams, wanted.on_epoch, wanted.threads)[name]
    finally:
        for said in answers.values():
            said.end()
    return of_model(name, trained.model, trained)


def of_model(name: str, model: Model, trained: Trained | None = None) -> Obtained:
    """A network that takes rows as the data has them."""
    own = model.fingerprint()

    def answer(x: Any, layers: Collection[int]) -> tuple[Array, dict[int, Array]]:
        return mlp.activations(model.weights, x, layers)

    depth = len(model.sizes) - 2
    return Obtained(name, lambda rows: rows.x, answer, answer, depth, model, trained, model.n_parameters, own, own)


def _load(wanted: _Wanted) -> Obtained:
    name, data, path = wanted.name, wanted.data, wanted.own.load
    assert path is not None
    model = load_model(locate(path))
    if model.n_features != data.features:
        what = f"takes {model.n_features} features, but the data have {data.features}"
        raise DataError(f"teacher {name!r}: {path}: {what}; give a model of such rows")
    columns, moved = _columns(f"teacher {name!r}: {path}", model.names, data.names)
    if model.dropped and data.raw.rows.dropped and not data.names and model.dropped != data.raw.rows.dropped:
        what = f"was trained without the columns {listing(model.dropped)}, the data are read without"
        raise DataError(f"teacher {name!r}: {path}: {what} {listing(data.raw.rows.dropped)}; set data.drop alike")
    places, notes = class_order(f"teacher {name!r}: {path}", model.classes, data.classes)
    scaling = model.scaling
    model = model if places is None else reordered(model, places)
    own = of_model(name, model)
    parts = [model.weights.flat, scaling.offset, scaling.factor, scaling.fill, np.asarray(scaling.bound)]
    parts += [] if columns is None else [columns]
    key = hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()

    def answer(x: Array, layers: Collection[int]) -> tuple[Array, dict[int, Array]]:
        return own.answer(scaling.apply(x if columns is None else x.take(columns, axis=1)), layers)

    refresh: Respond = lambda x, layers: answer(data.scaling.undo(x), layers)  # noqa: E731
    return replace(own, look=data.unscaled, answer=answer, refresh=refresh, key=key, notes=(*moved, *notes))


def _columns(
    who: str, theirs: Sequence[str] | None, ours: Sequence[str] | None
) -> tuple[Array | None, tuple[str, ...]]:
    """Where each feature of a model stands among the data's, and a note of it; (None, ()) where both have one order, or
    one of them has no names. Raises DataError where they are not the same features."""
    if not theirs or not ours or (wanted := [*map(normal, theirs)]) == (there := [*map(normal, ours)]):
        return None, ()
    if sorted(wanted) != sorted(there):
        what = f"takes the features {listing(theirs)}, but the data have {listing(ours)}"
        raise DataError(f"{who}: {what}; give a model of such rows")
    note = f"{who}: the data's columns were put into the order of its features, {listing(theirs)}"
    return np.array([there.index(name) for name in wanted]), (note,)


def _predictions(wanted: _Wanted) -> Obtained:
    name, own = wanted.name, wanted.own
    assert own.predictions is not None
    found = predictions.read(own.predictions, own.kind, wanted.data, name)
    look = lambda rows: None if rows.tested else found.of(rows.ids)  # noqa: E731
    answer: Respond = lambda logits, layers: (logits, {})  # noqa: E731
    return Obtained(name, look, answer, print=found.print, key=found.print, kind=found.kind, notes=found.notes)


def _python(wanted: _Wanted) -> Obtained:
    name, data, given = wanted.name, wanted.data, wanted.given
    ask, show = method_of(name, given, data.names), layers_of(name, given, data.names)
    named = data.classes if (theirs := classes_of(given)) is None else theirs
    places, notes = class_order(f"teacher {name!r}: {type(given).__name__}", named, data.classes)

    def answer(x: Array, layers: Collection[int]) -> tuple[Array, dict[int, Array]]:
        logits = ask(x, len(data.classes))
        return logits if places is None else logits.take(places, axis=1), {k: show(x, k) for k in layers}

    count = getattr(given, "n_parameters", None)
    refresh: Respond = lambda x, layers: answer(data.scaling.undo(x), layers)  # noqa: E731
    return Obtained(
        name,
        data.unscaled,
        answer,
        refresh,
        depth=depth_of(given),
        parameters=count if type(count) is int and count > 0 else None,
        notes=notes,
    )


OBTAIN: dict[str, Callable[[_Wanted], Obtained]] = {
    "trained": _train,
    "load": _load,
    "predictions": _predictions,
    "python": _python,
}
