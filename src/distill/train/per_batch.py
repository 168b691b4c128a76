"""The terms that cannot be computed in advance: batch by batch, from logits and hidden layers, by pure functions.

Their gradients are added to those of the logits, or become the seed of a hidden layer.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from distill.config.schema import PEERS, Term
from distill.config.terms import LOSS_TRAITS
from distill.nn.features import FEATURES
from distill.nn.losses import LOSSES
from distill.nn.network import Tape
from distill.nn.vector import Array, Vector
from distill.train.adapters import adapter_name, layer_pairs_of
from distill.train.objective import Objective
from distill.train.outputs import ensemble_logits


class PerBatchTerms:
    """These terms of a stack of networks, on one tape, with the adapters of each network and their gradients."""

    def __init__(
        self, objective: Objective, tape: Tape, adapters: Sequence[Vector], adapter_gradients: Sequence[Vector]
    ) -> None:
        self.objective, self.tape, self.adapters, self.adapter_gradients = objective, tape, adapters, adapter_gradients
        # What an adapter takes of a network's hidden layer: its outputs (C,N) above a line of ones.
        layers = tape.hidden.items() if adapters and any(vector.views for vector in adapters) else ()
        self.lines = {k: np.ones((h.shape[1] + 1, h.shape[2]), h.dtype) for k, h in layers}

    def add(self, rows: Array, x: Array) -> Array:  # -> (R,)
        """Add the gradients on these rows (n,), whose inputs are x (n,D), to those of logits and layers; return the
        terms' values, network by network."""
        values = np.zeros(len(self.tape.z))
        for seed in self.tape.seeds.values():
            seed.fill(0)
        for vector in self.adapter_gradients:
            vector.flat.fill(0)
        batch = _TeacherBatch(self.objective, rows, x)
        for r, term in self.objective.per_batch:
            if weight := self.objective.weight(term):
                add = self._add_on_layers if term.layered else self._add_on_logits
                values[r] += weight * add(r, term, weight, batch)
        return values

    def _add_on_logits(self, r: int, term: Term, weight: float, batch: "_TeacherBatch") -> float:
        student = self.tape.z[r].T
        of_peers = term.teachers[0][0] == PEERS
        teacher = self._peer_logits(r, term) if of_peers else batch.logits(term, student.dtype)
        value, gradient = LOSSES[term.loss](student, teacher, batch.labels, **_options(term))
        self.tape.d[r] += weight * gradient.T
        return value

    def _peer_logits(self, r: int, term: Term) -> Array:
        """The logits of the other networks of the group together, each with the same share."""
        others = {str(p): self.tape.z[p].T for p in self.objective.peers if p != r}
        shares = tuple((name, 1 / len(others)) for name in others)
        return ensemble_logits(Term(term.loss, 1.0, shares, term.options), others, self.tape.z.dtype)

    def _add_on_layers(self, r: int, term: Term, weight: float, batch: "_TeacherBatch") -> float:
        """A term on hidden layers, the mean over its pairs."""
        name, value, dtype = term.teachers[0][0], 0.0, self.tape.z.dtype
        pairs = layer_pairs_of(term, self.objective.outputs, len(self.tape.hidden))
        for t, s in pairs:
            key = adapter_name(name, t, s)
            adapted = LOSS_TRAITS[term.loss].same_units and key in self.adapters[r].views
            inputs = self._with_ones(r, s, batch.x) if adapted else None
            student = batch.x if not s else self.tape.hidden[s][r].T
            if inputs is not None:
                student = inputs @ self.adapters[r][key].T
            teacher = batch.layer(name, t).astype(dtype, copy=False)
            part, gradient = FEATURES[term.loss](student, teacher, batch.labels, **_options(term))
            value += part / len(pairs)
            gradient = gradient * (weight / len(pairs))
            if inputs is not None:
                if LOSS_TRAITS[term.loss].trains_adapter:
                    self.adapter_gradients[r][key][...] += gradient.T @ inputs
                gradient = gradient @ self.adapters[r][key][:, :-1]
            if s:
                self.tape.seeds[s][r] += gradient.T
        return value

    def _with_ones(self, r: int, s: int, x: Array) -> Array:  # -> (n,C+1)
        """A layer of a network with a 1 behind every row."""
        if not s:
            return np.hstack([x, np.ones((len(x), 1), self.tape.z.dtype)])
        self.lines[s][:-1] = self.tape.hidden[s][r]
        return self.lines[s].T


class _TeacherBatch:
    """The labels of a batch, and every teacher's outputs for it, each computed once."""

    def __init__(self, objective: Objective, rows: Array, x: Array) -> None:
        self.objective, self.rows, self.x, self.labels = objective, rows, x, objective.labels[rows]
        self.computed: dict[str, tuple[Array, dict[int, Array]]] = {}

    def logits(self, term: Term, dtype: Any) -> Array:
        return ensemble_logits(term, {name: self._outputs(name)[0] for name, _ in term.teachers}, dtype)

    def layer(self, name: str, t: int) -> Array:
        if t == 0:
            return self.x
        return self._outputs(name)[1][t] if self.objective.noisy else self.objective.outputs[name].layers[t][self.rows]

    def _outputs(self, name: str) -> tuple[Array, dict[int, Array]]:
        outputs = self.objective.outputs[name]
        if not self.objective.noisy:
            return outputs.logits[self.rows], {}
        if name not in self.computed:
            assert outputs.respond is not None
            self.computed[name] = outputs.respond(self.x, [k for k in outputs.layers if k])
        return self.computed[name]


def _options(term: Term) -> dict[str, Any]:
    return {name: term.options[name] for name in LOSS_TRAITS[term.loss].parameters if name in term.options}
