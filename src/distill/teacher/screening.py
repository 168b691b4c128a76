"""Refuses a teacher from which nothing can be learned, and says why: it is no better than guessing, or its outputs
belong to other rows, or its columns to other classes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from distill.config.schema import Config, TeacherPlan
from distill.data.labels import listing
from distill.data.rows import Data
from distill.errors import DistillError
from distill.nn import metrics
from distill.nn.vector import Array
from distill.system.rng import stream
from distill.teacher import quality
from distill.teacher.quality import Quality
from distill.teacher.teacher import Teacher


def screened(teacher: Teacher, plan: Config, data: Data, seed: int) -> Teacher:
    """Return the teacher, with its weakness where the plan goes on all the same. Raises DistillError for a weak one."""
    fault, advice = _fault(teacher, plan.teachers[teacher.name], data, seed)
    if not fault:
        return teacher
    if plan.distillation.weak_teacher == "refuse":
        further = "or go on all the same with distillation.weak_teacher: warn"
        raise DistillError(f"{fault}; nothing was distilled. {advice}, {further}")
    return replace(teacher, weakness=fault)


def weak_notes(teachers: Mapping[str, Teacher], seeds: Sequence[Mapping[str, Any]], several: bool) -> list[str]:
    """Return a note for each teacher that is used although it is weak: why, or of several seeds under which.
    `seeds` are their figures, `teachers` those of the first."""
    notes = []
    for name, teacher in teachers.items():
        if weak := [figures["seed"] for figures in seeds if name in figures["weak_teachers"]]:
            under = (
                f"under {len(weak)} of {len(seeds)} seeds ({listing(weak)}) {_subject(name)} is no better than chance"
            )
            notes.append(
                f"{under if several else teacher.weakness}; used all the same, as distillation.weak_teacher is warn"
            )
    return notes


def _fault(teacher: Teacher, teacher_plan: TeacherPlan, data: Data, seed: int) -> tuple[str, str]:
    """What speaks against a teacher, and what to do about it; two empty texts where nothing does.

    Its logits must belong to the labelled rows, those trained on included, and be of some use on the validation rows
    alone; test rows have no say.
    """
    known, trained = data.train.y, teacher_plan.origin == "trained"
    sampled = data.train.take(quality.sample_rows(known))
    pairs = [(np.concatenate([outputs[0] for _, outputs in teacher.blocks(sampled)]), sampled.y)]
    held_out = teacher.logits(data.validation)
    pairs += [] if held_out is None else [(held_out, data.validation.y)]
    logits, labels = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    if not trained and (order := quality.column_order(logits, labels)) is not None:
        return _misplaced(teacher.name, order, logits, labels, data.classes)
    judged, where = Quality(*pairs[-1], known), "training" if held_out is None else "validation"
    took_steps = teacher.trained is None or teacher.trained.steps > 0
    required = quality.required_z(len(labels), quality.CLEAR_Z if trained else quality.SURE_Z)
    z, p = quality.permutation_z(logits, labels), 0.0
    belongs = z < required
    if belongs and not trained:
        p = quality.permutation_p(logits, labels, stream(seed, f"shuffles {teacher.name}"))
        belongs = p <= quality.largest_p(required)
    informed = trained and Quality(*pairs[0], sampled.y).informed
    if took_steps and judged.useful and (belongs or informed):
        return "", ""
    what = _weak(teacher.name, teacher_plan, judged, where)
    if not belongs:
        what += f"; its answers to {len(labels):,} labelled rows {_fit_in_words(z, required, p)}"
    if trained:
        rate = f"another learning_rate (now {teacher_plan.learning_rate:g})"
        return what, f"Try more teacher_epochs, {rate}, check the label column"
    return what, (
        "Check that its classes stand in the order of the data's, and its rows in that of the source (a file of the "
        "training rows fits one split alone)"
    )


def _fit_in_words(z: float, required: float, p: float) -> str:
    digits = next((n for n in range(1, 4) if round(-z, n) != round(-required, n)), 4)  # so that the two differ
    direction, most = "worse" if z > 0 else "better", quality.largest_p(required)
    words = f"fit {abs(z):.{digits}f} standard deviations {direction} than in random order"
    if p:
        return f"{words}, but {100 * p:.2g} % of random orders fit as well; must be {100 * most:.2g} % or fewer"
    return f"{words}; must be more than {-required:.{digits}f} better"


def _misplaced(name: str, order: Array, logits: Array, labels: Array, classes: Sequence[Any]) -> tuple[str, str]:
    now, then = (metrics.accuracy(z, labels) for z in (logits, logits[:, np.argsort(order)]))
    fits = f"but its columns fit the order {listing([classes[k] for k in order])}, in which it is right on {then:.4f}"
    return (
        f"{_subject(name)} is right on {now:.4f} of {len(labels):,} labelled rows, {fits}",
        "Put its columns into the order of the data's classes, or name them (classes of an NPZ or an object, the "
        "header of a CSV)",
    )


def _weak(name: str, teacher_plan: TeacherPlan, judged: Quality, where: str) -> str:
    trained = teacher_plan.origin == "trained"
    verdict = "learned nothing" if trained else "knows nothing about these rows"
    after = f" after {teacher_plan.epochs} epochs" if trained else ""
    return (
        f"{_subject(name)} {verdict}: {judged.accuracy:.4f} of the {where} rows right{after} at a cross-entropy of "
        f"{judged.cross_entropy:.4f}, while always guessing the commonest class gives {judged.majority_accuracy:.4f}, "
        f"and the classes' shares give {judged.prior_cross_entropy:.4f}"
    )


def _subject(name: str) -> str:
    return "the teacher" if name == "teacher" else f"the teacher {name!r}"
