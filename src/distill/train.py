"""The one training loop: it serves teacher, control and student alike."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np

from distill import metrics
from distill.config import Term, Training
from distill.data import Data, Rows
from distill.errors import DivergedError
from distill.model import Model, from_training
from distill.nn import mlp
from distill.nn.optim import OPTIMIZERS, clip, rate_at
from distill.nn.vector import Arena, Array, Vector
from distill.objective import Objective, objective
from distill.streams import stream

OnEpoch = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Trained:
    """A finished, frozen network, its history (one record an epoch), and what its training loop alone took.

    `model` is the last epoch's, or with `patience` that of the best epoch, the one of least validation cross-entropy.
    """

    model: Model
    history: list[dict[str, Any]]
    best_epoch: int  # from 1; 0 without an epoch
    kept_best: bool
    seconds: float
    steps: int


def fit(
    name: str,
    plan: Training,
    terms: Sequence[Term],
    data: Data,
    answers: Mapping[str, Array],
    seed: int,
    streams: str,
    on_epoch: OnEpoch,
) -> Trained:
    """Initialise a network from the seed and train it on `terms`.

    Two networks with one `streams` share their initial weights and the order of their batches. `answers` holds each
    teacher's logits (N,M) for the training rows. `on_epoch(name, record)` hears of every epoch. Raises DivergedError
    when a loss becomes NaN or infinite.
    """
    sizes = (data.features, *plan.hidden, len(data.classes))
    weights = Vector(mlp.shapes(sizes))
    mlp.initialise(weights, stream(seed, f"{streams} weights"))
    rows = len(data.train)
    loop = steps(
        weights, data.train.x, objective(terms, data.train.y, answers), plan, stream(seed, f"{streams} batches")
    )
    per_epoch = math.ceil(rows / plan.batch_size)
    history: list[dict[str, Any]] = []
    seconds, good, best, best_epoch = 0.0, None, None, 0
    for epoch in range(1, plan.epochs + 1):
        started, total = perf_counter(), 0.0
        with np.errstate(all="ignore"):  # a NaN or an infinity is found in the loss
            for step, (loss, size) in enumerate(islice(loop, per_epoch), start=1):
                if not math.isfinite(loss):
                    what = f"the loss is {loss} at epoch {epoch}, step {step} of {per_epoch}"
                    raise _diverged(name, what, plan, good)
                total += loss * size
        seconds += perf_counter() - started
        judged = judge(weights, data.validation)
        if not math.isfinite(judged["ce"]):
            raise _diverged(name, f"the validation loss is {judged['ce']} after epoch {epoch}", plan, good)
        good = from_training(weights, sizes, data)
        history.append({"epoch": epoch, "loss": total / rows} | {f"val_{key}": judged[key] for key in judged})
        on_epoch(name, history[-1])
        if best_epoch == 0 or judged["ce"] < history[best_epoch - 1]["val_ce"]:
            best, best_epoch = good, epoch
        if plan.patience is not None and epoch - best_epoch >= plan.patience:
            break
    model = (good if plan.patience is None else best) or from_training(weights, sizes, data)
    return Trained(model, history, best_epoch, plan.patience is not None, seconds, per_epoch * len(history))


def steps(
    weights: Vector, x: Array, value_and_seeds: Objective, plan: Training, rng: np.random.Generator
) -> Iterator[tuple[float, int]]:
    """Train `weights` in place on the rows x (N,D); after every step, its loss and its number of rows.

    Each epoch takes every row once in a new order; the last batch may be smaller.
    """
    rows, dtype = len(x), weights.flat.dtype
    total = math.ceil(rows / plan.batch_size) * plan.epochs
    options = {"weight_decay": plan.weight_decay} | ({} if plan.momentum is None else {"momentum": plan.momentum})
    update = OPTIMIZERS[plan.optimizer](weights.flat.size, dtype, **options)
    gradient, new = weights.like(), Arena(dtype)
    step = 0
    for _ in range(plan.epochs):
        order = rng.permutation(rows)
        for start in range(0, rows, plan.batch_size):
            batch = order[start : start + plan.batch_size]
            new.rewind()
            inputs = np.take(x, batch, axis=0, out=new((len(batch), x.shape[1])), mode="clip")
            taps = mlp.forward(weights, inputs, new)
            loss, seeds = value_and_seeds(taps, batch, new)
            mlp.backward(weights, taps, seeds, gradient, new)
            if plan.clip is not None:
                clip(gradient.flat, plan.clip)
            update(weights.flat, gradient.flat, rate_at(step, total, plan.learning_rate, plan.schedule, plan.warmup))
            step += 1
            yield loss, len(batch)


def judge(weights: Vector, rows: Rows) -> dict[str, float]:
    """Accuracy (0 to 1) and cross-entropy (nats) on rows."""
    with np.errstate(all="ignore"):
        logits = mlp.logits(weights, rows.x)
        return {"accuracy": metrics.accuracy(logits, rows.y), "ce": metrics.cross_entropy(logits, rows.y)}


def _diverged(name: str, what: str, plan: Training, good: Model | None) -> DivergedError:
    advice = f"lower its learning_rate (now {plan.learning_rate:g}), or set clip (now {plan.clip})"
    return DivergedError(f"{name}: {what}; {advice}", name, good)
