"""The student and its control: the rows and labels that they see, the control's stages, and their training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from distill.config.schema import LABELS_ONLY, Stage, StudentPlan, Term
from distill.data.rows import Data
from distill.data.split import stratified
from distill.system.rng import stream
from distill.train.fit import Run, Trained, fit
from distill.train.outputs import TeacherOutputs


def student_data(plan: StudentPlan, data: Data, seed: int) -> Data:
    """Return the data as the student and its control see them; validation and test rows stay as they are.

    `labels` leaves the labels of at most so many training rows, by class in proportion; `label_noise` then gives that
    share of the remaining labels another class, each of the others being as likely; `unlabelled: drop` leaves out the
    rows without a label, `use` leaves them in for the teacher's terms.
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
    all_rows = plan.unlabelled == "use" or len(labelled) == len(y)
    train = replace(data.train, y=y)
    return replace(data, train=train if all_rows else train.take(labelled))


def control_terms(terms: Sequence[Term]) -> tuple[Term, ...]:
    """Return the student's terms without the teachers'; the weights of the rest, at their largest, are scaled to sum
    to 1.

    So the control is the ordinary student of the same labels: with the classic 0.3 cross_entropy + 0.7 response it
    trains on 1 cross_entropy. Where the student has no term on labels (alpha 1), the control has one.
    """
    on_labels = [term for term in terms if not term.teachers and term.matters]
    total = sum(term.most for term in on_labels)
    return tuple(Term(term.loss, term.most / total, options=term.options) for term in on_labels) or LABELS_ONLY


def control_stages(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return the student's stages as the control has them: as many epochs at the same rates, with all layers trained.

    In a stage without a term on labels it has those of the next stage with some, or else of the last one.
    """
    with_labels = [stage.terms for stage in stages if any(term.matters and not term.teachers for term in stage.terms)]
    controls, left = [], list(with_labels)
    for stage in stages:
        labelled = bool(left) and stage.terms is left[0]
        terms = left[0] if left else with_labels[-1] if with_labels else stage.terms
        controls.append(replace(stage, terms=control_terms(terms), train=None))
        left = left[1:] if labelled else left
    return tuple(controls)


def train_student(
    plan: StudentPlan,
    stages: Mapping[str, Sequence[Stage]],
    data: Data,
    outputs: Mapping[str, TeacherOutputs],
    run: Run,
) -> dict[str, Trained]:
    """Train the student's network once for each name in `stages`, on the data as `student_data` gives them, and with
    `peers` so many further networks (mutual learning).

    Under one seed all of them have the same initial weights and batches, whatever their names and terms, except the
    peers, which begin elsewhere. Raises DataError where a teacher's outputs are not those for the student's rows.
    """
    for name, of_teacher in outputs.items():
        of_teacher.check(data.train.ids, name)
    peers = [f"peer{i}" for i in range(1, plan.peers + 1)]
    return fit(
        {**stages, **dict.fromkeys(peers, stages["student"])},
        plan,
        data,
        outputs,
        run,
        "student",
        noise=plan.noise,
        peers=["student", *peers] if peers else [],
    )
