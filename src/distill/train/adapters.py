"""Adapters: linear maps that make a layer of the student as wide as a teacher's, where a loss compares unit by unit.

They are trained beside the network and are no part of it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from distill.config.schema import Term, layer_pairs
from distill.config.terms import LOSS_TRAITS
from distill.nn.network import Network
from distill.nn.vector import Vector
from distill.train.objective import Objective
from distill.train.outputs import TeacherOutputs


def layer_pairs_of(term: Term, outputs: Mapping[str, TeacherOutputs], depth: int) -> list[tuple[int, int]]:
    """Return the pairs (teacher's layer, student's layer) that a term on hidden layers compares, of a student with so
    many of them."""
    return layer_pairs(term.options["layers"], outputs[term.teachers[0][0]].depth, depth)


def make_adapters(
    terms: Sequence[Term], outputs: Mapping[str, TeacherOutputs], network: Network, rng: np.random.Generator
) -> Vector:
    """Return a map (D,C+1), bias last, for every pair of layers of unequal width C (student) and D that a term compares
    unit by unit; normal with variance 1/C, bias 0. All losses on one pair share its adapter."""
    shapes: dict[str, tuple[int, int]] = {}
    for term in terms:
        if LOSS_TRAITS[term.loss].same_units:
            name = term.teachers[0][0]
            for t, s in layer_pairs_of(term, outputs, network.depth):
                width, units = outputs[name].layers[t].shape[1], network.units[s]
                if width != units:
                    shapes[adapter_name(name, t, s)] = width, units + 1
    adapters = Vector(dict(sorted(shapes.items())))
    for weights in adapters.views.values():
        units = weights.shape[1] - 1
        weights[:, :-1] = rng.standard_normal((weights.shape[0], units)) / units**0.5
    return adapters


def adapter_name(teacher: str, t: int, s: int) -> str:
    """Name the adapter between layer t of a teacher and layer s of the student."""
    return f"{teacher}.{t}-{s}"


def trained_adapters(objective: Objective, adapters: Sequence[Vector], depth: int) -> list[list[str]]:
    """Return, for each network, the names of the adapters that its terms train; the others stay as they are."""
    trained: list[set[str]] = [set() for _ in adapters]
    for r, term in objective.per_batch:
        if LOSS_TRAITS[term.loss].trains_adapter:
            pairs = layer_pairs_of(term, objective.outputs, depth)
            names = {adapter_name(term.teachers[0][0], t, s) for t, s in pairs}
            trained[r] |= names & adapters[r].views.keys()
    return [sorted(names) for names in trained]
