"""The steps of a training: gather, forward, objective, backward, update, with nothing made anew from step to step."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter

import numpy as np

from distill.config.schema import Training
from distill.data import DiskRows, gather, shuffle
from distill.nn.mlp import Tape
from distill.nn.optim import OPTIMIZERS, clip, pieces, rate_at
from distill.nn.vector import Array, Vector
from distill.train.adapters import adapters_that_move
from distill.train.objective import Fold, Objective
from distill.train.per_batch import Live
from distill.train.threads import ALONE, Team

# A step of fewer operations than this is done before a second thread is awake.
SHARED_WORK = 5e7
# A shared step's rows are cut into groups of so many, and its weights into blocks of so many numbers. Both are the same
# for every number of threads, so that the bits are.
SHARD_ROWS = 64
SHARED_NUMBERS = 160_000
# Rows gathered at a time: so many bytes of them, or so many batches where those take more, but not more than MOST.
GATHERED_BYTES, GATHERED_BATCHES, GATHERED_MOST = 1 << 18, 4, 1 << 23


@dataclass(frozen=True)
class Extras:
    """What a plain training has no use for: `train`, the layers of each network that learn (None for all); `adapters`
    of each network; and `noise` (D,), the deviation of what is added to each feature, drawn from `noises`."""

    train: Sequence[Sequence[int] | None] = ()
    adapters: Sequence[Vector] = ()
    noise: Array | None = None
    noises: np.random.Generator | None = None


def steps(
    weights: Vector,
    x: Array | DiskRows,
    objective: Objective,
    plan: Training,
    rng: np.random.Generator,
    team: Team,
    extras: Extras = Extras(),
) -> Iterator[tuple[Array, int]]:
    """Train `weights`, one network or a stack of R, in place on the rows x (N,D).

    Each epoch takes every row once in a new order; the last batch may be smaller. After every few steps their losses
    (steps,R) and the rows of each of them.
    """
    rows = len(x)
    total = per_epoch(rows, plan) * plan.epochs
    learner = _Learner(weights, plan, shared(weights, min(rows, plan.batch_size)), extras, objective)
    team = team if learner.shared else ALONE
    cuts = _cut(rows, plan.batch_size, 4 * (x.shape[1] + objective.numbers_per_row))
    rounds = {shape: _Round(learner, x, objective, *shape, team) for shape in {(n, size) for _, n, size in cuts}}
    order = np.empty(rows, np.int64)
    step = 0
    for epoch in range(plan.epochs):
        objective.advance(epoch / max(1, plan.epochs - 1))
        shuffle(x, order, rng)
        for start, n, size in cuts:
            current = rounds[n, size]
            current.load(order[start : start + n * size])
            started = perf_counter()
            for i in range(n):
                rate = rate_at(step, total, plan.learning_rate, plan.schedule, plan.warmup)
                current.step(i, step, rate)
                step += 1
            team.hear((perf_counter() - started) / (n * size))
            yield current.losses(), size


def per_epoch(rows: int, plan: Training) -> int:
    """Steps of one epoch; the last may have fewer rows."""
    return math.ceil(rows / plan.batch_size)


def shared(weights: Vector, rows: int) -> bool:
    """Whether a step is large enough to be shared; a stack's is cut as that of each of its networks alone."""
    return work(weights.networks()[0], rows) >= SHARED_WORK


def work(weights: Vector, rows: int) -> float:
    """Floating-point operations of one step's matrix products: a multiplication and an addition for each weight and
    row, forward, for its gradient, and for the derivative of its input, which the first layer leaves out."""
    first, *others = weights.views.values()
    asked = sum(w[..., :-1].size for w in others)
    return 2.0 * rows * (2 * (first.size + sum(w.size for w in others)) + asked)


def _cut(rows: int, batch_size: int, row_bytes: int) -> list[tuple[int, int, int]]:
    """An epoch's rows, as (start, batches, rows per batch) of what is gathered at a time."""
    size = min(batch_size, rows)
    batch_bytes = size * row_bytes
    most = max(1, min(GATHERED_BATCHES, GATHERED_MOST // batch_bytes), GATHERED_BYTES // batch_bytes)
    full = rows // size
    cuts = [(start * size, min(most, full - start), size) for start in range(0, full, most)]
    return cuts + ([(full * size, 1, rows % size)] if rows % size else [])


@dataclass(frozen=True)
class _Block:
    """Units of one layer of one network, or everything at once: what its gradient and its update need."""

    layers: Sequence[tuple[int, tuple[int, ...], slice]]  # layer, network of the stack (() for all), units
    start: int  # of its numbers in the flat array
    stop: int


def _blocks(weights: Vector, shared: bool, learns: Callable[[int, int], bool]) -> list[_Block]:
    """Of all layers, or where the work is shared, of those that learn."""
    if not shared:
        everything = [(k, (), slice(None)) for k in range(1, len(weights.shapes) + 1)]
        return [_Block(everything, 0, weights.flat.size)]
    blocks, start = [], 0
    for r, net in enumerate(np.ndindex(weights.stack)):
        for k, (m, width) in enumerate(weights.shapes.values(), start=1):
            cuts = np.linspace(0, m, max(1, round(m * width / SHARED_NUMBERS)) + 1).astype(int).tolist()
            for first, last in pairwise(cuts) if learns(r, k) else ():
                units = [(k, net, slice(first, last))]
                blocks.append(_Block(units, start + first * width, start + last * width))
            start += m * width
    return blocks


def _frozen(weights: Vector, learns: Callable[[int, int], bool]) -> list[slice]:
    """The numbers of the flat array that do not learn."""
    frozen, start = [], 0
    for r in range(len(weights.networks())):
        for k, (m, width) in enumerate(weights.shapes.values(), start=1):
            if not learns(r, k):
                frozen.append(slice(start, start + m * width))
            start += m * width
    return frozen


def _between(frozen: Sequence[slice], start: int, stop: int) -> Iterator[tuple[int, int]]:
    """What of start to stop lies between the frozen parts."""
    for part in frozen:
        if start < min(part.start, stop):
            yield start, min(part.start, stop)
        start = max(start, part.stop)
    if start < stop:
        yield start, stop


class _Learner:
    """The weights, their gradient and their optimiser, block by block; and the adapters with theirs."""

    def __init__(self, weights: Vector, plan: Training, shared: bool, extras: Extras, objective: Objective) -> None:
        self.weights, self.gradient, self.shared, self.clip = weights, weights.like(), shared, plan.clip
        self.extras = extras
        train = list(extras.train) or [None] * len(weights.networks())
        learns = lambda r, k: (only := train[r]) is None or k in only  # noqa: E731
        self.blocks, self.frozen = _blocks(weights, shared, learns), _frozen(weights, learns)
        options = {"weight_decay": plan.weight_decay} | ({} if plan.momentum is None else {"momentum": plan.momentum})
        make = OPTIMIZERS[plan.optimizer]
        flat = weights.flat.reshape(-1), self.gradient.flat.reshape(-1)
        parts: list[tuple[Array, Array]] = []
        self.parts = []  # of each block, among all parts
        for block in self.blocks:
            whole = list(_between([] if shared else self.frozen, block.start, block.stop))
            # Threads wait for each other at every call, so theirs are few; a single one gains more from its cache.
            cut = [slice(*one) for one in whole] if shared else [piece for one in whole for piece in pieces(*one)]
            own = [(flat[0][piece], flat[1][piece]) for piece in cut]
            self.parts.append(range(len(parts), len(parts) + len(own)))
            parts += own
        self.update = make(parts, **options) if parts else None
        self.adapters = list(extras.adapters) or [Vector({}) for _ in weights.networks()]
        self.slopes = [one.like() for one in self.adapters]
        moved = adapters_that_move(objective, self.adapters, len(weights.shapes) - 1)
        adapted = [
            (one[name].reshape(-1), slope[name].reshape(-1))
            for one, slope, names in zip(self.adapters, self.slopes, moved, strict=True)
            for name in names
        ]
        self.adapt = make(adapted, **options) if adapted else None
        self.adapted = range(len(adapted))

    def forget_frozen(self) -> None:
        """What does not learn has no gradient, and none that counts towards its norm."""
        flat = self.gradient.flat.reshape(-1)
        for part in self.frozen:
            flat[part] = 0


class _Round:
    """Some batches of one size, gathered at once, and every array and view that stepping through them takes."""

    def __init__(
        self, learner: _Learner, x: Array | DiskRows, objective: Objective, batches: int, size: int, team: Team
    ) -> None:
        self.learner, self.team, self.data = learner, team, x
        weights, width = learner.weights, x.shape[1]
        self.fold = Fold(objective, batches, size)
        self.gathered = np.empty((batches * size, width), weights.flat.dtype)
        self.rows = np.ones((batches * size, width + 1), weights.flat.dtype)
        self.inputs = list(self.rows.reshape(batches, size, width + 1))
        tapped = {s for _, term in objective.live if term.layered for s in range(1, len(weights.shapes))}
        tape = Tape(weights, size, tapped)
        self.live = Live(objective, tape, learner.adapters, learner.slopes) if objective.live else None
        self.extra = np.zeros((batches, len(learner.adapters)))
        self.order = np.empty(batches * size, np.int64)
        count = max(1, size // SHARD_ROWS) if learner.shared else 1
        cuts = np.linspace(0, size, count + 1).astype(int).tolist()
        self.shards = [self._shard(tape, slice(*cut), back=self.live is None) for cut in pairwise(cuts)]
        self.backward = [tape.backward(slice(*cut)) for cut in pairwise(cuts)]
        self.products = [
            [self._product(tape, k, net, units) for k, net, units in block.layers] for block in learner.blocks
        ]
        self.batch = self.moment = 0
        self.rate = 0.0

    def load(self, rows: Array) -> None:
        """Gather these rows (batches * size,)."""
        self.fold.load(rows)
        gather(self.data, rows, self.gathered)
        self.rows[:, :-1] = self.gathered
        self.order[:] = rows
        noise, noises = self.learner.extras.noise, self.learner.extras.noises
        if noise is not None and noises:
            self.rows[:, :-1] += noise * noises.standard_normal(self.gathered.shape, self.gathered.dtype)

    def losses(self) -> Array:  # -> (batches, R)
        """Each batch's loss, once it was stepped through."""
        return self.fold.losses() + self.extra

    def step(self, i: int, moment: int, rate: float) -> None:
        """Learn from batch i, at a step counted from 0 and a learning rate."""
        self.batch, self.moment, self.rate = i, moment, rate
        self.team.run(_call, self.shards)
        if self.live:
            batch = slice(i * self.fold.size, (i + 1) * self.fold.size)
            self.extra[i] = self.live.add(self.order[batch], self.inputs[i][:, :-1])
            self.team.run(_call, self.backward)
        numbers, learner = range(len(self.products)), self.learner
        if learner.clip is None:
            self.team.run(self._learn, numbers)
        else:
            self.team.run(self._differentiate, numbers)
            learner.forget_frozen()
            for gradient in learner.gradient.flat.reshape(-1, learner.gradient.flat.shape[-1]):
                clip(gradient, learner.clip)
            self.team.run(self._update, numbers)
        if learner.adapt:
            for part in learner.adapted:
                learner.adapt(part, moment, rate)

    def _shard(self, tape: Tape, columns: slice, back: bool) -> Callable[[], None]:
        forward, backward = tape.forward(columns), tape.backward(columns)
        stacked = tape.z.reshape(-1, *tape.z.shape[-2:]), tape.d[len(tape.d)].reshape(-1, *tape.z.shape[-2:])
        gradient = self.fold.gradient(*stacked, columns)
        inputs = [x[columns].T for x in self.inputs]

        def shard() -> None:
            forward(inputs[self.batch])
            gradient(self.batch)
            if back:
                backward()

        return shard

    def _product(self, tape: Tape, k: int, net: tuple[int, ...], units: slice) -> tuple[Array, list[Array], Array]:
        """d and h of a block for every batch, whose product is the gradient, and where that goes."""
        h = self.inputs if k == 1 else [tape.h[k - 1][net].swapaxes(-1, -2)] * len(self.inputs)
        return tape.d[k][net][..., units, :], h, self.learner.gradient[f"w{k}"][net][..., units, :]

    def _learn(self, block: int) -> None:
        self._differentiate(block)
        self._update(block)

    def _differentiate(self, block: int) -> None:
        for d, h, gradient in self.products[block]:
            np.matmul(d, h[self.batch], out=gradient)

    def _update(self, block: int) -> None:
        for part in self.learner.parts[block]:
            assert self.learner.update
            self.learner.update(part, self.moment, self.rate)


def _call(job: Callable[[], None]) -> None:
    job()
