"""Evidence: the control student, which differs from the distilled one in nothing but the teacher."""

from collections.abc import Sequence

from distill.config import Term
from distill.objective import LABELS_ONLY


def control_terms(terms: Sequence[Term]) -> tuple[Term, ...]:
    """The student's terms without the teacher's; the weights of the rest are scaled to sum to 1.

    So the control is the ordinary student of the same labels: with the classic 0.3 cross_entropy + 0.7 response it
    trains on 1 cross_entropy. Where the student hears no labels (alpha 1), the control does.
    """
    own = [term for term in terms if term.teacher is None and term.weight]
    total = sum(term.weight for term in own)
    return tuple(Term(term.loss, term.weight / total) for term in own) or LABELS_ONLY
