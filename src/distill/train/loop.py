"""The steps of a training: gather, forward, objective, backward, update. A steady step allocates nothing."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from time import perf_counter

import numpy as np

from distill.config.schema import Training
from distill.data.ondisk import DiskRows, gather, shuffle
from distill.nn.network import Block, Network, Tape
from distill.nn.optim import OPTIMIZERS, Optimizer, clip, pieces, rate_at
from distill.nn.vector import Array
from distill.train.adapters import trained_adapters
from distill.train.objective import Objective, PrecomputedBatches
from distill.train.per_batch import PerBatchTerms
from distill.train.state import State
from distill.train.threads import ALONE, Team

# A step of fewer operations than this is done before a second thread is awake.
SHARED_WORK = 5e7
# Rows gathered at a time: so many bytes of them, or so many batches where those take more, but not more than MOST.
GATHERED_BYTES, GATHERED_BATCHES, GATHERED_MOST = 1 << 18, 4, 1 << 23


def steps(
    network: Network,
    state: State,
    x: Array | DiskRows,
    objective: Objective,
    training: Training,
    team: Team,
    *,
    trained_layers: Sequence[Collection[int] | None] = (),
    noise: Array | None = None,
) -> Iterator[tuple[Array, int]]:
    """Train the state's networks in place on the rows x (N,D), from its epoch to the last of the training.

    Each epoch takes every row once in a new order; the last batch may be smaller. `trained_layers` are the layers of
    each network that learn, None for all; `noise` (D,) is the deviation of what is added to each feature of every batch
    anew. Yields, after every few steps, their losses (steps,R) and the rows of each of them.
    """
    rows = len(x)
    total = steps_per_epoch(rows, training) * training.epochs
    shared = is_shared(network, min(rows, training.batch_size))
    learner = _Learner(network, state, objective, training, shared, trained_layers)
    team = team if shared else ALONE
    chunks = _chunks(rows, training.batch_size, 4 * (x.shape[1] + objective.numbers_per_row))
    batches = {shape: _Batches(learner, x, noise, *shape, team) for shape in {(n, size) for _, n, size in chunks}}
    order = np.empty(rows, np.int64)
    for epoch in range(state.epoch, training.epochs):
        objective.advance(epoch / max(1, training.epochs - 1))
        shuffle(x, order, state.batches)
        for start, n, size in chunks:
            current = batches[n, size]
            current.load(order[start : start + n * size])
            started = perf_counter()
            for i in range(n):
                rate = rate_at(state.step, total, training.learning_rate, training.schedule, training.warmup)
                current.step(i, state.step, rate)
                state.step += 1
            team.record_time((perf_counter() - started) / (n * size))
            yield current.losses(), size


def steps_per_epoch(rows: int, training: Training) -> int:
    """Return the steps of an epoch; the last may have fewer rows."""
    return math.ceil(rows / training.batch_size)


def is_shared(network: Network, rows: int) -> bool:
    """Whether a step is large enough for several threads; a stack is cut as each of its networks alone would be."""
    return network.work(rows) >= SHARED_WORK


def _chunks(rows: int, batch_size: int, row_bytes: int) -> list[tuple[int, int, int]]:
    """An epoch's rows, as (start, batches, rows per batch) of what is gathered at a time."""
    size = min(batch_size, rows)
    batch_bytes = size * row_bytes
    most = max(1, min(GATHERED_BATCHES, GATHERED_MOST // batch_bytes), GATHERED_BYTES // batch_bytes)
    full = rows // size
    chunks = [(start * size, min(most, full - start), size) for start in range(0, full, most)]
    return chunks + ([(full * size, 1, rows % size)] if rows % size else [])


class _Learner:
    """The networks' weights and adapters with their gradients and optimisers, all of it there once."""

    def __init__(
        self,
        network: Network,
        state: State,
        objective: Objective,
        training: Training,
        shared: bool,
        trained_layers: Sequence[Collection[int] | None],
    ) -> None:
        self.network, self.state, self.objective = network, state, objective
        self.weights, self.adapters, self.shared, self.clip = state.weights, state.adapters, shared, training.clip
        self.gradient = self.weights.like()
        self.adapter_gradients = [vector.like() for vector in self.adapters]
        self.frozen_names = [
            set() if layers is None else set(network.shapes).difference(*map(network.parameters, layers))
            for layers in trained_layers or [None] * len(self.weights.networks())
        ]
        self.frozen = list(self._frozen())
        self.options = {"weight_decay": training.weight_decay}
        if training.momentum is not None:
            self.options["momentum"] = training.momentum
        self.make = OPTIMIZERS[training.optimizer]
        names = trained_adapters(objective, self.adapters, network.depth)
        self.adapter_optimizer = self._optimizer(
            "adapters",
            [
                (vector[name].reshape(-1), gradient[name].reshape(-1))
                for vector, gradient, trained in zip(self.adapters, self.adapter_gradients, names, strict=True)
                for name in trained
            ],
        )
        self.optimizer: Optimizer | None = None
        self.pieces: list[range] = []  # of each block, among all pieces of the weights

    def learns(self, network: int, name: str) -> bool:
        """Whether a parameter of one of the networks is trained."""
        return name not in self.frozen_names[network]

    def attach(self, blocks: Sequence[Block]) -> None:
        """Make the optimiser for these blocks of the weights, unless it is there."""
        if self.pieces:
            return
        weights, gradient = self.weights.flat.reshape(-1), self.gradient.flat.reshape(-1)
        parts: list[tuple[Array, Array]] = []
        for block in blocks:
            whole = list(_between([] if self.shared else self.frozen, block.start, block.stop))
            # Threads wait for each other at every call, so theirs are few; a single one gains more from its cache.
            cut = whole if self.shared else [piece for part in whole for piece in pieces(part.start, part.stop)]
            self.pieces.append(range(len(parts), len(parts) + len(cut)))
            parts += [(weights[piece], gradient[piece]) for piece in cut]
        self.optimizer = self._optimizer("weights", parts)

    def clip_gradient(self) -> None:
        """Clip each network's gradient; what is not trained has none that counts towards its norm."""
        assert self.clip is not None
        flat = self.gradient.flat.reshape(-1)
        for part in self.frozen:
            flat[part] = 0
        for gradient in self.gradient.flat.reshape(-1, self.gradient.flat.shape[-1]):
            clip(gradient, self.clip)

    def _optimizer(self, name: str, parts: Sequence[tuple[Array, Array]]) -> Optimizer | None:
        if not parts:
            return None
        optimizer = self.make(parts, self.state.moments.get(name), **self.options)
        self.state.moments[name] = optimizer.moments
        return optimizer

    def _frozen(self) -> Iterator[slice]:
        """The numbers of the flat array that are not trained."""
        start = 0
        for names in self.frozen_names:
            for name, shape in self.weights.shapes.items():
                stop = start + math.prod(shape)
                if name in names:
                    yield slice(start, stop)
                start = stop


def _between(frozen: Sequence[slice], start: int, stop: int) -> Iterator[slice]:
    """What of start to stop lies between the frozen parts."""
    for part in frozen:
        if start < min(part.start, stop):
            yield slice(start, min(part.start, stop))
        start = max(start, part.stop)
    if start < stop:
        yield slice(start, stop)


class _Batches:
    """Some batches of one size, gathered at once, and every array and view that stepping through them takes."""

    def __init__(
        self, learner: _Learner, x: Array | DiskRows, noise: Array | None, batches: int, size: int, team: Team
    ) -> None:
        self.learner, self.data, self.noise, self.size, self.team = learner, x, noise, size, team
        objective, network = learner.objective, learner.network
        tapped = range(1, network.depth + 1) if any(term.layered for _, term in objective.per_batch) else ()
        self.tape: Tape = network.tape(
            learner.weights,
            learner.gradient,
            batches,
            size,
            tapped=tapped,
            shared=learner.shared,
            learns=learner.learns,
        )
        learner.attach(self.tape.blocks)
        self.precomputed = PrecomputedBatches(objective, batches, size)
        self.per_batch: PerBatchTerms | None = None
        if objective.per_batch:
            self.per_batch = PerBatchTerms(objective, self.tape, learner.adapters, learner.adapter_gradients)
        self.gathered = np.empty((batches * size, x.shape[1]), learner.weights.flat.dtype)
        self.rows = np.empty(batches * size, np.int64)
        self.per_batch_losses = np.zeros((batches, len(learner.adapters)))
        self.shards = [self._shard(shard, back=self.per_batch is None) for shard in self.tape.shards]
        self.backward = [self.tape.backward(shard) for shard in self.tape.shards]
        self.blocks = range(len(self.tape.blocks))
        self.batch = self.number = 0
        self.rate = 0.0

    def load(self, rows: Array) -> None:
        """Gather these rows (batches * size,)."""
        self.precomputed.load(rows)
        gather(self.data, rows, self.gathered)
        self.tape.x[...] = self.gathered
        self.rows[:] = rows
        if self.noise is not None:
            random = self.learner.state.noise.standard_normal(self.gathered.shape, self.gathered.dtype)
            self.tape.x[...] += self.noise * random

    def losses(self) -> Array:  # -> (batches, R)
        """Return each batch's loss, once it was stepped through."""
        return self.precomputed.losses() + self.per_batch_losses

    def step(self, i: int, number: int, rate: float) -> None:
        """Learn from batch i, in a step counted from 0, at a learning rate."""
        self.batch, self.number, self.rate = i, number, rate
        team, learner = self.team, self.learner
        team.run(_call, self.shards)
        if self.per_batch:
            batch = slice(i * self.size, (i + 1) * self.size)
            self.per_batch_losses[i] = self.per_batch.add(self.rows[batch], self.tape.x[batch])
            team.run(_call, self.backward)
        if learner.clip is None:
            team.run(self._learn, self.blocks)
        else:
            team.run(self._differentiate, self.blocks)
            learner.clip_gradient()
            team.run(self._update, self.blocks)
        if optimizer := learner.adapter_optimizer:
            for piece in range(len(optimizer.pieces)):
                optimizer.update(piece, number, rate)

    def _shard(self, shard: slice, back: bool) -> Callable[[], None]:
        """Forward, the precomputed terms and, unless other terms come between, backward."""
        forward, backward = self.tape.forward(shard), self.tape.backward(shard)
        gradient = self.precomputed.gradient(self.tape.z, self.tape.d, shard)

        def run() -> None:
            forward(self.batch)
            gradient(self.batch)
            if back:
                backward()

        return run

    def _learn(self, block: int) -> None:
        self._differentiate(block)
        self._update(block)

    def _differentiate(self, block: int) -> None:
        self.tape.blocks[block].differentiate(self.batch)

    def _update(self, block: int) -> None:
        for piece in self.learner.pieces[block]:
            assert self.learner.optimizer
            self.learner.optimizer.update(piece, self.number, self.rate)


def _call(job: Callable[[], None]) -> None:
    job()
