"""Training, epoch by epoch; one function serves teacher, control and student alike."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NoReturn

import numpy as np

from distill import metrics
from distill.config import Term, Training
from distill.data import Data, Rows
from distill.errors import DivergedError
from distill.loop import per_epoch, shared, steps
from distill.model import Model, from_training
from distill.nn import mlp
from distill.nn.blas import one_thread
from distill.nn.vector import Array, Vector
from distill.objective import Objective
from distill.streams import stream
from distill.team import team_of

OnEpoch = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Trained:
    """A finished, frozen network, its history (one record an epoch), and what its training loop alone took.

    `model` is the last epoch's, or with `patience` that of the best epoch, the one of least validation cross-entropy.
    Networks that are trained together share the seconds in equal parts.
    """

    model: Model
    history: list[dict[str, Any]]
    best_epoch: int  # from 1; 0 without an epoch
    kept_best: bool
    seconds: float
    steps: int


def fit(
    objectives: Mapping[str, Sequence[Term]],
    plan: Training,
    data: Data,
    answers: Mapping[str, Array],
    seed: int,
    streams: str,
    on_epoch: OnEpoch,
    threads: int = 1,
) -> dict[str, Trained]:
    """Initialise one network from the seed for each of the named objectives, and train them side by side.

    They differ in nothing but their terms: initial weights and the order of the batches are those of `streams`.
    `answers` holds each teacher's logits (N,M) for the training rows. `on_epoch(name, record)` hears of every epoch.
    The number of threads changes no bit. Raises DivergedError when a loss becomes NaN or infinite.
    """
    sizes = (data.features, *plan.hidden, len(data.classes))
    first = Vector(mlp.shapes(sizes))
    mlp.initialise(first, stream(seed, f"{streams} weights"))
    flat = first.flat if len(objectives) == 1 else np.tile(first.flat, (len(objectives), 1))
    stack = Vector(first.shapes, flat=flat)
    courses = [_Course(name, plan, data, weights) for name, weights in zip(objectives, stack.networks(), strict=True)]
    rows, active = len(data.train), list(enumerate(courses))
    helpful = threads if shared(stack, min(rows, plan.batch_size)) else 1
    with np.errstate(all="ignore"), one_thread(), team_of(helpful) as team:  # NaN and infinity show in the losses
        objective = Objective(list(objectives.values()), data.train.y, answers, len(data.classes))
        loop = steps(stack, data.train.x, objective, plan, stream(seed, f"{streams} batches"), team)
        for epoch in range(1, plan.epochs + 1):
            started, taken, total, before = perf_counter(), 0, np.zeros(len(courses)), 0
            while taken < rows:
                losses, size = next(loop)
                finite = np.isfinite(losses)
                bad = [(int(np.argmin(finite[:, r])), r) for r, _ in active if not finite[:, r].all()]
                if bad:
                    step, r = min(bad)
                    where = f"epoch {epoch}, step {before + step + 1} of {per_epoch(rows, plan)}"
                    courses[r].diverged(f"the loss is {losses[step, r]} at {where}")
                total += losses.sum(axis=0) * size
                taken += len(losses) * size
                before += len(losses)
            seconds = (perf_counter() - started) / len(active)
            for r, course in active:
                course.close(epoch, float(total[r]) / rows, seconds, on_epoch)
            active = [(r, course) for r, course in active if not course.over]
            if not active:
                break
    return {course.name: course.trained() for course in courses}


class _Course:
    """One network's way through its training: what became of it, epoch by epoch, and when it is over."""

    def __init__(self, name: str, plan: Training, data: Data, weights: Vector) -> None:
        self.name, self.plan, self.data, self.weights = name, plan, data, weights
        self.history: list[dict[str, Any]] = []
        self.good: Model | None = None  # the last epoch's
        self.best: Model | None = None
        self.best_epoch, self.seconds, self.over = 0, 0.0, False

    def close(self, epoch: int, loss: float, seconds: float, on_epoch: OnEpoch) -> None:
        """Judge and keep what an epoch made of the network."""
        judged = judge(self.weights, self.data.validation)
        if not math.isfinite(judged["ce"]):
            self.diverged(f"the validation loss is {judged['ce']} after epoch {epoch}")
        self.good = self._model()
        self.seconds += seconds
        self.history.append({"epoch": epoch, "loss": loss} | {f"val_{key}": judged[key] for key in judged})
        on_epoch(self.name, self.history[-1])
        if self.best_epoch == 0 or judged["ce"] < self.history[self.best_epoch - 1]["val_ce"]:
            self.best, self.best_epoch = self.good, epoch
        self.over = self.plan.patience is not None and epoch - self.best_epoch >= self.plan.patience

    def trained(self) -> Trained:
        """What came of it."""
        kept_best = self.plan.patience is not None
        model = (self.best if kept_best else self.good) or self._model()
        steps_taken = per_epoch(len(self.data.train), self.plan) * len(self.history)
        return Trained(model, self.history, self.best_epoch, kept_best, self.seconds, steps_taken)

    def _model(self) -> Model:
        return from_training(self.weights, (self.data.features, *self.plan.hidden, len(self.data.classes)), self.data)

    def diverged(self, what: str) -> NoReturn:
        """Raise DivergedError with advice and the last good model."""
        advice = f"lower its learning_rate (now {self.plan.learning_rate:g}), or set clip (now {self.plan.clip})"
        raise DivergedError(f"{self.name}: {what}; {advice}", self.name, self.good)


def judge(weights: Vector, rows: Rows) -> dict[str, float]:
    """Accuracy (0 to 1) and cross-entropy (nats) on rows."""
    with np.errstate(all="ignore"):
        logits = mlp.logits(weights, rows.x)
        return {"accuracy": metrics.accuracy(logits, rows.y), "ce": metrics.cross_entropy(logits, rows.y)}
