"""What the training under one seed gave, and its figures for the verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distill.config.schema import Config, teacher_weights
from distill.data.rows import Data
from distill.nn import metrics
from distill.nn.ops import combine
from distill.nn.vector import Array
from distill.teacher.teacher import Teacher
from distill.train.fit import Trained
from distill.train.outputs import TeacherOutputs

MODELS = ("teacher", "student", "control")


@dataclass(frozen=True)
class Experiment:
    """Everything under one seed: the data, and as the student saw them, the teachers, the networks that learned from
    them by name, and the teachers' outputs for the student's rows."""

    seed: int
    data: Data
    student_data: Data
    teachers: Mapping[str, Teacher]
    networks: Mapping[str, Trained]
    outputs: Mapping[str, TeacherOutputs]
    plan: Config

    @property
    def used(self) -> dict[str, float]:
        """The teachers of the student's terms, each with its share in the terms on logits. Weights of terms on hidden
        layers have another scale: where there are no others, every teacher counts alike."""
        terms = self.plan.student.every_term
        names = [name for name in teacher_weights(terms) if name in self.teachers]
        on_logits = teacher_weights([term for term in terms if not term.layered])
        weights = {name: on_logits.get(name, 0.0) for name in names}
        total = sum(weights.values())
        return {name: weight / total if total else 1 / len(names) for name, weight in weights.items()}

    @property
    def shares(self) -> dict[str, float]:
        """The members of "the teacher" of the results: all that are used, or the last one, for comparison."""
        used = {name: share for name, share in self.used.items() if share}
        return used or {list(self.teachers)[-1]: 1.0}

    def logits(self, split: str) -> dict[str, Array]:
        """Return the logits of student, control and, where it has some for these rows, "teacher", the ensemble."""
        rows = self.data.judged[split]
        logits = {name: self.networks[name].model.outputs(rows.x)[0] for name in ("student", "control")}
        members = [self.teachers[name].logits(rows) for name in self.shares]
        known = [z for z in members if z is not None]
        if len(known) == len(members):
            logits["teacher"] = combine(known, list(self.shares.values()), "probabilities")
        return logits

    def close(self) -> None:
        """Free the disk that outputs take."""
        for outputs in self.outputs.values():
            outputs.close()

    def figures(self) -> dict[str, Any]:
        """Return what the verdict needs of this seed, on the test set where there is one, else on the validation rows.

        `won` and `lost` count the rows on which only the student, or only the control, is right. The figures of a
        teacher that has no outputs for these rows are None. `weak_teachers` are used although they are no better than
        chance.
        """
        split = list(self.data.judged)[-1]
        y, logits = self.data.judged[split].y, self.logits(split)
        right = {name: z.argmax(axis=1) == y for name, z in logits.items()}
        figures: dict[str, Any] = {"seed": self.seed, "split": split, "rows": len(y)}
        for name in MODELS:
            z = logits.get(name)
            figures[f"{name}_accuracy"] = None if z is None else metrics.accuracy(z, y)
            figures[f"{name}_ce"] = None if z is None else metrics.cross_entropy(z, y)
        for key, name in (("agreement", "student"), ("control_agreement", "control")):
            figures[key] = metrics.agreement(logits[name], logits["teacher"]) if "teacher" in logits else None
        return figures | {
            "won": int((right["student"] & ~right["control"]).sum()),
            "lost": int((right["control"] & ~right["student"]).sum()),
            "weak_teachers": [name for name, teacher in self.teachers.items() if teacher.weakness],
        }
