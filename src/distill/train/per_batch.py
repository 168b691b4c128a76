"""The terms that do not fold: computed batch by batch from what the layers say, each by its pure function.

Their gradients are added where they belong: to those of the logits, or as the seed of a hidden layer. An adapter, a
linear map that is trained along, makes a student's layer as wide as the teacher's where a loss compares unit by unit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from distill.config.schema import PEERS, Term
from distill.nn.features import FEATURES, SAME_UNITS
from distill.nn.losses import LOSSES
from distill.nn.mlp import Tape
from distill.nn.vector import Array, Vector
from distill.train.adapters import UNMOVED, adapter_name, pairs_of
from distill.train.objective import Objective
from distill.train.outputs import together

NOT_OPTIONS = ("combine", "layers")  # of a term, which its function has no use for


class Live:
    """The live terms of a stack, on one tape and with the adapters of each network and their gradients."""

    def __init__(self, objective: Objective, tape: Tape, adapters: Sequence[Vector], slopes: Sequence[Vector]) -> None:
        self.objective, self.adapters, self.slopes = objective, adapters, slopes
        self.z, self.d = _stacked(tape.z), _stacked(tape.d[len(tape.d)])
        self.h = {k: _stacked(h) for k, h in tape.h.items()}
        self.seeds = {k: _stacked(seed) for k, seed in tape.seeds.items()}

    def add(self, rows: Array, x: Array) -> Array:  # -> (R,)
        """Add the gradients on these rows (n,), whose inputs are x (n,D), to those of logits and layers; the values."""
        objective, values = self.objective, np.zeros(len(self.objective.lists))
        for array in (*self.seeds.values(), *(one.flat for one in self.slopes)):
            array.fill(0)
        heard = _Heard(objective, rows, x)
        for r, term in objective.live:
            weight = objective.weight(term)
            if weight:
                values[r] += weight * (self._layers if term.layered else self._logits)(r, term, weight, heard)
        return values

    def _logits(self, r: int, term: Term, weight: float, heard: "_Heard") -> float:
        """A term on logits."""
        own = self.z[r].T
        teacher = self._peers(r, term) if term.teachers[0][0] == PEERS else heard.logits(term, own.dtype)
        value, gradient = LOSSES[term.loss](own, teacher, heard.labels, **_options(term))
        self.d[r] += weight * gradient.T
        return value

    def _peers(self, r: int, term: Term) -> Array:
        """The logits of the other networks of the group together, each with the same share."""
        others = {str(p): self.z[p].T for p in self.objective.peers if p != r}
        shares = tuple((name, 1 / len(others)) for name in others)
        return together(Term(term.loss, 1.0, shares, term.options), others, self.z.dtype)

    def _layers(self, r: int, term: Term, weight: float, heard: "_Heard") -> float:
        """A term on hidden layers, the mean over its pairs."""
        name, total, dtype = term.teachers[0][0], 0.0, self.z.dtype
        pairs = pairs_of(term, self.objective.answers, len(self.h))
        for t, s in pairs:
            own = self.h[s][r].T if s else np.hstack([heard.x, np.ones((len(heard.x), 1), dtype)])
            adapter, slope = self._adapter(r, term, name, t, s)
            student = own[:, :-1] if adapter is None else own @ adapter.T
            teacher = heard.layer(name, t).astype(dtype, copy=False)
            value, gradient = FEATURES[term.loss](student, teacher, heard.labels, **_options(term))
            total += value / len(pairs)
            gradient = gradient * (weight / len(pairs))
            if adapter is not None and slope is not None:
                if term.loss not in UNMOVED:
                    slope += gradient.T @ own
                gradient = gradient @ adapter[:, :-1]
            if s:
                self.seeds[s][r] += gradient.T
        return total

    def _adapter(self, r: int, term: Term, name: str, t: int, s: int) -> tuple[Array | None, Array | None]:
        """The adapter of a pair of layers and its gradient, where the term needs one."""
        key, adapters, slopes = adapter_name(name, t, s), self.adapters[r], self.slopes[r]
        return (adapters[key], slopes[key]) if term.loss in SAME_UNITS and key in adapters.views else (None, None)


class _Heard:
    """What the labels and every teacher say of one batch, each asked once."""

    def __init__(self, objective: Objective, rows: Array, x: Array) -> None:
        self.objective, self.rows, self.x, self.labels = objective, rows, x, objective.labels[rows]
        self.fresh: dict[str, tuple[Array, dict[int, Array]]] = {}

    def logits(self, term: Term, dtype: Any) -> Array:
        return together(term, {name: self._answer(name)[0] for name, _ in term.teachers}, dtype)

    def layer(self, name: str, t: int) -> Array:
        if t == 0:
            return self.x
        return self._answer(name)[1][t] if self.objective.noisy else self.objective.answers[name].layers[t][self.rows]

    def _answer(self, name: str) -> tuple[Array, dict[int, Array]]:
        answers = self.objective.answers[name]
        if not self.objective.noisy:
            return answers.logits[self.rows], {}
        if name not in self.fresh:
            assert answers.respond is not None
            self.fresh[name] = answers.respond(self.x, [k for k in answers.layers if k])
        return self.fresh[name]


def _stacked(array: Array) -> Array:
    """One network is a stack of itself."""
    return array.reshape(-1, *array.shape[-2:])


def _options(term: Term) -> dict[str, Any]:
    return {name: value for name, value in term.options.items() if name not in NOT_OPTIONS}
