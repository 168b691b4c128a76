"""The objective: a list of terms, `weight * loss(student logits, teacher logits or labels)`."""

from collections.abc import Callable, Mapping, Sequence

from distill.config import Term
from distill.nn.losses import LOSSES
from distill.nn.vector import Array, New

Objective = Callable[[Mapping[str, Array], Array, New], tuple[float, dict[str, Array]]]
LABELS_ONLY = (Term("cross_entropy", 1.0),)


def objective(terms: Sequence[Term], labels: Array, answers: Mapping[str, Array]) -> Objective:
    """The weighted sum as one function, `(taps, rows, new) -> (value, seeds)`.

    `labels` (N,) and each teacher's `answers` (N,M) cover all training rows; `rows` says which of them the taps belong
    to. A term of weight 0 is not computed, so that it cannot move a single bit.
    """
    active = [term for term in terms if term.weight]

    def value_and_seeds(taps: Mapping[str, Array], rows: Array, new: New) -> tuple[float, dict[str, Array]]:
        total, seeds = 0.0, dict[str, Array]()
        for term in active:
            teacher = None if term.teacher is None else answers[term.teacher][rows]
            value, gradient = LOSSES[term.loss](taps["logits"], teacher, labels[rows], new=new, **term.options)
            total += term.weight * value
            gradient *= term.weight
            if "logits" in seeds:
                seeds["logits"] += gradient
            else:
                seeds["logits"] = gradient
        return total, seeds

    return value_and_seeds


def formula(terms: Sequence[Term]) -> str:
    """The objective as a person writes it: `0.3 cross_entropy + 0.7 response(teacher, T=4)`."""
    return " + ".join(_spell(term) for term in terms if term.weight)


def _spell(term: Term) -> str:
    if term.teacher is None:
        return f"{term.weight:g} {term.loss}"
    without = "" if term.options["t_squared"] else ", without T^2"
    return f"{term.weight:g} {term.loss}({term.teacher}, T={term.options['temperature']:g}{without})"
