"""Adapters: linear maps from a layer of the student to one of its teacher, beside the network's own weights."""

from collections.abc import Mapping, Sequence

import numpy as np

from distill.config.schema import Term, layer_pairs
from distill.nn.features import SAME_UNITS
from distill.nn.vector import Vector
from distill.train.objective import Objective
from distill.train.outputs import Answers

UNMOVED = ("novelty",)  # turning the adapter away from the teacher would be a way out of it


def pairs_of(term: Term, answers: Mapping[str, Answers], hidden: int) -> list[tuple[int, int]]:
    """The pairs (teacher's layer, student's layer) that a term on hidden layers compares."""
    return layer_pairs(term.options["layers"], answers[term.teachers[0][0]].depth, hidden)


def adapters(
    terms: Sequence[Term], answers: Mapping[str, Answers], sizes: Sequence[int], rng: np.random.Generator
) -> Vector:
    """A map (D,C+1), bias last, for every pair of layers of unequal width C (student) and D that a term compares unit
    by unit; normal with variance 1/C, bias 0. All losses on one pair share its adapter."""
    widths: dict[str, tuple[int, int]] = {}
    for term in terms:
        if term.loss in SAME_UNITS:
            name = term.teachers[0][0]
            for t, s in pairs_of(term, answers, len(sizes) - 2):
                width = answers[name].layers[t].shape[1]
                if width != sizes[s]:
                    widths[adapter_name(name, t, s)] = width, sizes[s] + 1
    found = Vector(dict(sorted(widths.items())))
    for view in found.views.values():
        view[:, :-1] = rng.standard_normal((view.shape[0], view.shape[1] - 1)) / (view.shape[1] - 1) ** 0.5
    return found


def adapter_name(teacher: str, t: int, s: int) -> str:
    """What the adapter between layer t of a teacher and layer s of the student is called."""
    return f"{teacher}.{t}-{s}"


def adapters_that_move(objective: Objective, adapters: Sequence[Vector], hidden: int) -> list[list[str]]:
    """For each network, the names of the adapters that its terms train; the others stay as they are."""
    moved: list[set[str]] = [set() for _ in adapters]
    for r, term in objective.live:
        if term.loss in SAME_UNITS and term.loss not in UNMOVED:
            names = {adapter_name(term.teachers[0][0], t, s) for t, s in pairs_of(term, objective.answers, hidden)}
            moved[r] |= names & adapters[r].views.keys()
    return [sorted(names) for names in moved]
