"""Training, epoch by epoch; one function serves teacher, control and student alike."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NoReturn

import numpy as np

from distill.config.schema import Stage, Training, in_stage
from distill.data import Data, Rows
from distill.errors import DivergedError
from distill.model import Model, from_training
from distill.nn import metrics, mlp
from distill.nn.blas import one_thread
from distill.nn.vector import Array, Vector
from distill.system.rng import stream
from distill.train.adapters import adapters
from distill.train.loop import Extras, per_epoch, shared, steps
from distill.train.objective import Objective
from distill.train.outputs import Answers
from distill.train.threads import team_of

OnEpoch = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Trained:
    """A finished, frozen network, its history (one record an epoch), and what its training loop alone took.

    `model` is the last epoch's, or with `patience` that of the best epoch, the one of least validation cross-entropy.
    Networks that are trained together share the seconds in equal parts. `adapters` are those that the model's terms
    on hidden layers were computed with; they are no part of it.
    """

    model: Model
    history: list[dict[str, Any]]
    best_epoch: int  # from 1; 0 without an epoch
    kept_best: bool
    seconds: float
    steps: int
    adapters: Vector


def fit(
    courses: Mapping[str, Sequence[Stage]],
    plan: Training,
    data: Data,
    answers: Mapping[str, Answers],
    seed: int,
    streams: str,
    on_epoch: OnEpoch,
    threads: int = 1,
    *,
    noise: float = 0.0,
    peers: Sequence[str] = (),
) -> dict[str, Trained]:
    """Initialise one network from the seed for each of the named courses, and train them side by side.

    They differ in nothing but the terms and the learning layers of their stages: initial weights and the order of the
    batches are those of `streams`. Only the `peers` after the first of them, which learn from each other, begin with
    weights of their own. `answers` are each teacher's to the training rows. `noise` is the deviation of what is added
    to the features of every batch anew, except to constant ones, which stay 0. `on_epoch(name, record)` hears of every
    epoch. The number of threads changes no bit. Raises DivergedError when a loss becomes NaN or infinite.
    """
    sizes = (data.features, *plan.hidden, len(data.classes))
    shapes = mlp.shapes(sizes)
    stack = Vector(shapes, stack=(len(courses),) if len(courses) > 1 else ())
    for name, weights in zip(courses, stack.networks(), strict=True):
        mlp.initialise(weights, stream(seed, f"{name if name in peers[1:] else streams} weights"))
    group = [r for r, name in enumerate(courses) if name in peers]
    carried = [
        adapters([term for stage in stages for term in stage.terms if term.matters], answers, sizes, rng)
        for stages, rng in ((stages, stream(seed, f"{streams} adapters")) for stages in courses.values())
    ]
    led_up = sum(stage.epochs for stage in next(iter(courses.values()))[:-1])
    active = [
        _Course(name, place, plan, data, weights, one, led_up)
        for place, (name, weights, one) in enumerate(zip(courses, stack.networks(), carried, strict=True))
    ]
    everyone, rng, noises = list(active), stream(seed, f"{streams} batches"), stream(seed, f"{streams} noise")
    deviation = (noise * (data.scaling.factor != 0)).astype(np.float32) if noise else None
    rows = len(data.train)
    helpful = threads if shared(stack, min(rows, plan.batch_size)) else 1
    with np.errstate(all="ignore"), one_thread(), team_of(helpful) as team:  # NaN and infinity show in the losses
        for together in zip(*courses.values(), strict=True):
            during = in_stage(plan, together[0])
            terms = [stage.terms for stage in together]
            objective = Objective(terms, data.train.y, answers, len(data.classes), noisy=noise > 0, peers=group)
            extras = Extras([stage.train for stage in together], carried, deviation, noises)
            loop = steps(stack, data.train.x, objective, during, rng, team, extras)
            for _ in range(during.epochs):
                _epoch(loop, rows, active, on_epoch)
                active = [course for course in active if not course.over]
                if not active:
                    break
    return {course.name: course.trained() for course in everyone}


def _epoch(loop: Iterator[tuple[Array, int]], rows: int, active: Sequence["_Course"], on_epoch: OnEpoch) -> None:
    """Step through one epoch, and let every course that is not over have its share of it."""
    started, taken, before = perf_counter(), 0, 0
    total = np.zeros(1 + max(one.place for one in active))
    while taken < rows:
        losses, size = next(loop)
        finite = np.isfinite(losses)
        bad = [(int(np.argmin(finite[:, one.place])), one) for one in active if not finite[:, one.place].all()]
        if bad:
            step, course = min(bad, key=lambda found: (found[0], found[1].place))
            where = f"epoch {len(course.history) + 1}, step {before + step + 1} of {per_epoch(rows, course.plan)}"
            course.diverged(f"the loss is {losses[step, course.place]} at {where}")
        total += losses.sum(axis=0)[: len(total)] * size
        taken += len(losses) * size
        before += len(losses)
    seconds = (perf_counter() - started) / len(active)
    for course in active:
        course.close(float(total[course.place]) / rows, seconds, on_epoch)


class _Course:
    """One network's way through its training: what became of it, epoch by epoch, and when it is over."""

    def __init__(
        self, name: str, place: int, plan: Training, data: Data, weights: Vector, adapters: Vector, led_up: int
    ) -> None:
        self.name, self.place, self.plan, self.data = name, place, plan, data
        self.weights, self.adapters = weights, adapters
        self.led_up = led_up  # epochs of the stages before the last, whose losses say nothing about the best epoch
        self.history: list[dict[str, Any]] = []
        self.good: Model | None = None  # the last epoch's
        self.best: tuple[Model, Vector] | None = None
        self.best_epoch, self.seconds, self.over = 0, 0.0, False

    def close(self, loss: float, seconds: float, on_epoch: OnEpoch) -> None:
        """Judge and keep what an epoch made of the network."""
        judged, epoch = judge(self.weights, self.data.validation), len(self.history) + 1
        if not math.isfinite(judged["ce"]):
            self.diverged(f"the validation loss is {judged['ce']} after epoch {epoch}")
        self.good = self._model()
        self.seconds += seconds
        self.history.append({"epoch": epoch, "loss": loss} | {f"val_{key}": judged[key] for key in judged})
        on_epoch(self.name, self.history[-1])
        # up to the last stage every epoch is the best so far, so that none can be waited for
        if self.best_epoch <= self.led_up or judged["ce"] < self.history[self.best_epoch - 1]["val_ce"]:
            self.best, self.best_epoch = (self.good, self.adapters.frozen()), epoch
        self.over = self.plan.patience is not None and epoch - self.best_epoch >= self.plan.patience

    def trained(self) -> Trained:
        """What came of it."""
        model, adapters = self.good or self._model(), self.adapters.frozen()
        kept_best = self.plan.patience is not None
        if kept_best and self.best:
            model, adapters = self.best
        steps_taken = per_epoch(len(self.data.train), self.plan) * len(self.history)
        return Trained(model, self.history, self.best_epoch, kept_best, self.seconds, steps_taken, adapters)

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
