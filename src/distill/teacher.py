"""Teachers: obtain them, make sure they are worth listening to, and listen to them once."""

from distill import metrics
from distill.config import Training
from distill.data import Data
from distill.errors import DistillError
from distill.nn import mlp
from distill.nn.vector import Array
from distill.objective import LABELS_ONLY
from distill.train import OnEpoch, Trained, fit, judge


def obtain(plan: Training, data: Data, seed: int, on_epoch: OnEpoch) -> Trained:
    """Train a teacher on the labels alone, and refuse one that learned nothing.

    Raises DistillError when it is no better than always guessing the commonest class.
    """
    teacher = fit("teacher", plan, LABELS_ONLY, data, {}, seed, "teacher", on_epoch)
    accuracy = judge(teacher.model.weights, data.validation)["accuracy"]
    guessing = metrics.commonest_share(data.train.y, data.validation.y)
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
