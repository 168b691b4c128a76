"""The student: one plan, trained on whatever terms it is given."""

from collections.abc import Mapping, Sequence

from distill.config import Student, Term
from distill.data import Data
from distill.nn.vector import Array
from distill.train import OnEpoch, Trained, fit


def learn(
    name: str,
    plan: Student,
    terms: Sequence[Term],
    data: Data,
    answers: Mapping[str, Array],
    seed: int,
    on_epoch: OnEpoch,
) -> Trained:
    """Train the student's network on `terms`. Under one seed every student has the same initial weights and batches,
    whatever its name and terms."""
    return fit(name, plan, terms, data, answers, seed, "student", on_epoch)
