"""The student: the rows and labels that it sees, and its training on whatever terms it is given."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from distill.config.schema import LABELS_ONLY, Stage, StudentPlan, Term
from distill.data import Data
from distill.data.split import stratified
from distill.system.rng import stream
from distill.train.fit import OnEpoch, Trained, fit
from distill.train.outputs import Answers


def view(plan: StudentPlan, data: Data, seed: int) -> Data:
    """The data as the student and its control see them; validation and test rows stay as they are.

    `labels` keeps the labels of at most so many training rows, by class in proportion; `label_noise` then gives that
    share of the remaining labels another class, each of the others being as likely; `unlabelled: drop` leaves out the
    rows without a label, `use` keeps them for the teacher's terms.
    """
    y = data.train.y.copy()
    labelled = np.flatnonzero(y >= 0)
    if plan.labels is not None and plan.labels < len(labelled):
        _, groups = np.unique(y[labelled], return_inverse=True)
        y[labelled[~stratified(groups, plan.labels, stream(seed, "student labels"))]] = -1
        labelled = np.flatnonzero(y >= 0)
    if plan.label_noise:
        rng = stream(seed, "label noise")
        flipped = rng.permutation(labelled)[: round(plan.label_noise * len(labelled))]
        y[flipped] = (y[flipped] + rng.integers(1, len(data.classes), len(flipped))) % len(data.classes)
    kept = plan.unlabelled == "use" or len(labelled) == len(y)
    seen = replace(data.train, y=y)
    return replace(data, train=seen if kept else seen.take(labelled))


def learn(
    plan: StudentPlan,
    courses: Mapping[str, Sequence[Stage]],
    data: Data,
    answers: Mapping[str, Answers],
    seed: int,
    on_epoch: OnEpoch,
    threads: int = 1,
) -> dict[str, Trained]:
    """Train the student's network once for each of the named courses, on the data as `view` gives them; with `peers`,
    so many more of them as learn from the student and it from them.

    Under one seed every one has the same initial weights and batches, whatever its name and terms, except the peers,
    which begin elsewhere. Raises DataError where a teacher's answers are not those to the student's rows.
    """
    for name, one in answers.items():
        one.check(data.train.ids, name)
    peers = [f"peer{i}" for i in range(1, plan.peers + 1)]
    return fit(
        {**courses, **dict.fromkeys(peers, courses["student"])},
        plan,
        data,
        answers,
        seed,
        "student",
        on_epoch,
        threads,
        noise=plan.noise,
        peers=["student", *peers] if peers else [],
    )


def control_terms(terms: Sequence[Term]) -> tuple[Term, ...]:
    """The student's terms without the teachers'; the weights of the rest, at their largest, are scaled to sum to 1.

    So the control is the ordinary student of the same labels: with the classic 0.3 cross_entropy + 0.7 response it
    trains on 1 cross_entropy. Where the student hears no labels (alpha 1), the control does.
    """
    own = [term for term in terms if not term.teachers and term.matters]
    total = sum(term.most for term in own)
    return tuple(Term(term.loss, term.most / total, options=term.options) for term in own) or LABELS_ONLY


def control_course(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The student's stages as its control goes through them: as many epochs at the same rates, all layers learning.

    In a stage without labels it learns from them all the same, as in the next stage that has some, or else the last.
    """
    own = [stage.terms for stage in stages if any(term.matters and not term.teachers for term in stage.terms)]
    course, left = [], list(own)
    for stage in stages:
        labelled = bool(left) and stage.terms is left[0]
        terms = left[0] if left else own[-1] if own else stage.terms
        course.append(replace(stage, terms=control_terms(terms), train=None))
        left = left[1:] if labelled else left
    return tuple(course)
