"""Teachers: obtain them, make sure they are worth listening to, and listen to them once."""

from dataclasses import replace

from distill import metrics
from distill.config import Training
from distill.data import Data, Rows
from distill.errors import DistillError
from distill.nn import mlp
from distill.nn.vector import Array
from distill.objective import LABELS_ONLY
from distill.train import OnEpoch, Trained, fit, judge


def obtain(plan: Training, data: Data, seed: int, on_epoch: OnEpoch, threads: int = 1) -> Trained:
    """Train a teacher on the labels alone, and refuse one that learned nothing.

    Raises DistillError when it is no better than always guessing the commonest class.
    """
    known = data.train.y >= 0
    labelled = data if known.all() else replace(data, train=Rows(data.train.x[known], data.train.y[known]))
    teacher = fit({"teacher": LABELS_ONLY}, plan, labelled, {}, seed, "teacher", on_epoch, threads)["teacher"]
    accuracy = judge(teacher.model.weights, data.validation)["accuracy"]
    guessing = metrics.commonest_share(data.train.y, data.validation.y)
    if guessing == 1:
        raise DistillError(
            "the validation rows hold a single class, so that guessing it is always right and no teacher can be judged;"
            " lower train_ratio, or give more rows of the other classes"
        )
    if accuracy <= guessing:
        raise DistillError(
            f"the teacher learned nothing: {accuracy:.4f} of the validation rows right after {plan.epochs} epochs, "
            f"while always guessing the commonest class gives {guessing:.4f}; nothing was distilled. Try more "
            f"teacher_epochs, another learning_rate (now {plan.learning_rate:g}), or check the label column"
        )
    return teacher


def listen(teacher: Trained, data: Data) -> Array:
    """The frozen teacher's logits (N,M) for every training row; they never change, so they are computed once."""
    return mlp.logits(teacher.model.weights, data.train.x)
