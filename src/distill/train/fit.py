"""Training, epoch by epoch; one function serves teacher, control and student alike."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NoReturn

import numpy as np

from distill.config.schema import Stage, Training, in_stage
from distill.data.rows import Data, Rows
from distill.errors import DivergedError
from distill.model import Model, model_of, network_for
from distill.nn import metrics
from distill.nn.blas import one_thread
from distill.nn.network import Network
from distill.nn.vector import Array, Vector
from distill.system.rng import stream
from distill.train.adapters import make_adapters
from distill.train.loop import is_shared, steps, steps_per_epoch
from distill.train.objective import Objective
from distill.train.outputs import TeacherOutputs
from distill.train.state import Progress, State
from distill.train.threads import Team, team_of

OnEpoch = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Run:
    """What all trainings under one seed share: the seed, what is called with every epoch of every network,
    `on_epoch(name, record)`, and the number of threads, which changes no bit."""

    seed: int
    on_epoch: OnEpoch = lambda name, record: None
    threads: int = 1


@dataclass(frozen=True)
class Trained:
    """A finished, frozen network, its history (a record for each epoch), and what its training loop alone took.

    `model` is the last epoch's, or with `patience` that of the best epoch, which has the least validation
    cross-entropy. Networks that are trained together share the seconds in equal parts. `adapters` are those that the
    model's terms on hidden layers were computed with; they are no part of it.
    """

    model: Model
    history: list[dict[str, Any]]
    best_epoch: int  # from 1; 0 without an epoch
    is_best: bool
    seconds: float
    steps: int
    adapters: Vector


def fit(
    stages: Mapping[str, Sequence[Stage]],
    training: Training,
    data: Data,
    outputs: Mapping[str, TeacherOutputs],
    run: Run,
    streams: str,
    *,
    noise: float = 0.0,
    peers: Sequence[str] = (),
) -> dict[str, Trained]:
    """Initialise a network from the seed for each name in `stages`, and train them side by side.

    They differ in nothing but the terms and the trained layers of their stages: initial weights and the order of the
    batches are those of `streams`. Only the `peers` after the first of them, which learn from each other, begin with
    weights of their own. `outputs` are each teacher's for the training rows. `noise` is the deviation of what is added
    to the features of every batch anew, except to constant ones, which stay 0. Raises DivergedError when a loss becomes
    NaN or infinite.
    """
    network = network_for(training, data)
    state = initial_state(stages, network, outputs, run.seed, streams, peers)
    fitting = _Fitting(stages, network, training, data, outputs, run, noise, peers, state)
    threads = run.threads if is_shared(network, min(len(data.train), training.batch_size)) else 1
    with np.errstate(all="ignore"), one_thread(), team_of(threads) as team:  # NaN and infinity show in the losses
        fitting.train(team)
    return fitting.trained()


def initial_state(
    stages: Mapping[str, Sequence[Stage]],
    network: Network,
    outputs: Mapping[str, TeacherOutputs],
    seed: int,
    streams: str,
    peers: Sequence[str] = (),
) -> State:
    """Return the state before the first step."""
    weights = Vector(network.shapes, stack=(len(stages),) if len(stages) > 1 else ())
    for name, vector in zip(stages, weights.networks(), strict=True):
        network.initialise(vector, stream(seed, f"{name if name in peers[1:] else streams} weights"))
    adapters = [
        make_adapters(
            [term for stage in of_network for term in stage.terms if term.matters],
            outputs,
            network,
            stream(seed, f"{streams} adapters"),
        )
        for of_network in stages.values()
    ]
    batches, noise = stream(seed, f"{streams} batches"), stream(seed, f"{streams} noise")
    return State(weights, adapters, batches, noise, [Progress() for _ in stages])


class _Fitting:
    """A training under way: what stays as it is, beside the state, which is all that changes."""

    def __init__(
        self,
        stages: Mapping[str, Sequence[Stage]],
        network: Network,
        training: Training,
        data: Data,
        outputs: Mapping[str, TeacherOutputs],
        run: Run,
        noise: float,
        peers: Sequence[str],
        state: State,
    ) -> None:
        self.stages, self.network, self.training, self.data = list(stages.values()), network, training, data
        self.names, self.outputs, self.run, self.state = list(stages), outputs, run, state
        self.peers = [r for r, name in enumerate(self.names) if name in peers]
        self.noise = (noise * (data.scaling.factor != 0)).astype(np.float32) if noise else None
        # Epochs of the stages before the last, whose losses say nothing about the best epoch.
        self.epochs_before_last_stage = sum(stage.epochs for stage in self.stages[0][:-1])

    def train(self, team: Team) -> None:
        """Go on from the state, stage by stage, until every network is over or the last epoch done."""
        state = self.state
        while state.stage < len(self.stages[0]) and self._active():
            stages = [of_network[state.stage] for of_network in self.stages]
            training = in_stage(self.training, stages[0])
            losses = steps(
                self.network,
                state,
                self.data.train.x,
                self._objective(stages),
                training,
                team,
                trained_layers=[stage.train for stage in stages],
                noise=self.noise,
            )
            while state.epoch < training.epochs and self._active():
                self._epoch(losses)
            state.next_stage()

    def trained(self) -> dict[str, Trained]:
        """Return the finished networks by name."""
        per_epoch = steps_per_epoch(len(self.data.train), self.training)
        trained = {}
        for r, (name, progress) in enumerate(zip(self.names, self.state.networks, strict=True)):
            model, adapters = progress.last or self._model(r), self.state.adapters[r].frozen()
            is_best = self.training.patience is not None
            if is_best and progress.best:
                model, adapters = progress.best
            history, best = progress.history, progress.best_epoch
            taken = per_epoch * len(history)
            trained[name] = Trained(model, history, best, is_best, progress.seconds, taken, adapters)
        return trained

    def _active(self) -> list[int]:
        """The places of the networks that are not over."""
        return [r for r, progress in enumerate(self.state.networks) if not progress.over]

    def _objective(self, stages: Sequence[Stage]) -> Objective:
        return Objective(
            [stage.terms for stage in stages],
            self.data.train.y,
            self.outputs,
            len(self.data.classes),
            noisy=self.noise is not None,
            peers=self.peers,
        )

    def _epoch(self, losses_by_step: Iterator[tuple[Array, int]]) -> None:
        """Step through an epoch, and judge every network that is not over."""
        started, active, rows = perf_counter(), self._active(), len(self.data.train)
        done, first_step = 0, 0
        total = np.zeros(len(self.names))
        while done < rows:
            losses, size = next(losses_by_step)
            self._check_finite(losses, active, first_step)
            total += losses.sum(axis=0) * size
            done += len(losses) * size
            first_step += len(losses)
        seconds = (perf_counter() - started) / len(active)
        self.state.epoch += 1
        for r in active:
            self._judge(r, float(total[r]) / rows, seconds)

    def _check_finite(self, losses: Array, active: Sequence[int], first_step: int) -> None:
        """Raise DivergedError for the first step whose loss is none."""
        finite = np.isfinite(losses)
        bad = [(int(np.argmin(finite[:, r])), r) for r in active if not finite[:, r].all()]
        if bad:
            step, r = min(bad)
            epoch, steps = len(self.state.networks[r].history) + 1, steps_per_epoch(len(self.data.train), self.training)
            where = f"epoch {epoch}, step {first_step + step + 1} of {steps}"
            self._diverged(r, f"the loss is {losses[step, r]} at {where}")

    def _judge(self, r: int, loss: float, seconds: float) -> None:
        """Record what an epoch made of a network."""
        progress, name = self.state.networks[r], self.names[r]
        epoch = len(progress.history) + 1
        judged = judge(self.network, self.state.weights.networks()[r], self.data.validation)
        if not math.isfinite(judged["ce"]):
            self._diverged(r, f"the validation loss is {judged['ce']} after epoch {epoch}")
        progress.last = self._model(r)
        progress.seconds += seconds
        progress.history.append({"epoch": epoch, "loss": loss} | {f"val_{key}": judged[key] for key in judged})
        self.run.on_epoch(name, progress.history[-1])
        # up to the last stage every epoch is the best so far, so that patience does not run out
        before = progress.best_epoch <= self.epochs_before_last_stage
        if before or judged["ce"] < progress.history[progress.best_epoch - 1]["val_ce"]:
            progress.best, progress.best_epoch = (progress.last, self.state.adapters[r].frozen()), epoch
        patience = self.training.patience
        progress.over = patience is not None and epoch - progress.best_epoch >= patience

    def _model(self, r: int) -> Model:
        return model_of(self.network, self.state.weights.networks()[r], self.data)

    def _diverged(self, r: int, what: str) -> NoReturn:
        """Raise DivergedError with advice and the last good model."""
        training, name = self.training, self.names[r]
        advice = f"lower its learning_rate (now {training.learning_rate:g}), or set clip (now {training.clip})"
        raise DivergedError(f"{name}: {what}; {advice}", name, self.state.networks[r].last)


def judge(network: Network, weights: Vector, rows: Rows) -> dict[str, float]:
    """Return accuracy (0 to 1) and cross-entropy (nats) on rows."""
    with np.errstate(all="ignore"):
        logits, _ = network.apply(weights, rows.x)
        return {"accuracy": metrics.accuracy(logits, rows.y), "ce": metrics.cross_entropy(logits, rows.y)}
